//! A stereo WAV file that grows with the call.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use antiphon_media_frame::{AudioFrame, MediaTime, SampleRate, Span};

use crate::timeline::{Channel, Gap, Timeline};
use crate::wav;

/// Why a recording could not be opened or go on.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system said no. What was placed stays in memory and the next call tries again.
    #[error("cannot write the recording {path}: {source}")]
    Io {
        /// The recording.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A frame at another rate than the recording's.
    #[error("audio at {found} written into a recording of {expected}")]
    Rate {
        /// The recording's.
        expected: SampleRate,
        /// The frame's.
        found: SampleRate,
    },
    /// A time so far ahead that it must be a mistake; nothing was written for it.
    #[error("time jumps from {latest} to {at}, more than {limit}")]
    Jump {
        /// The latest time known of.
        latest: MediaTime,
        /// The time given.
        at: MediaTime,
        /// How far ahead is believed.
        limit: Span,
    },
    /// The file would pass the 4 GiB a WAV file can hold (18 hours at 16 kHz). What is written stays valid.
    #[error("the recording would be longer than a WAV file can hold ({limit})")]
    TooLong {
        /// The longest recording at this rate.
        limit: Span,
    },
}

/// What one channel came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSummary {
    /// Stretches that are not what the speaker sent, in order; at most 20 000 are listed.
    pub gaps: Vec<Gap>,
    /// Further gaps, only counted.
    pub gaps_unlisted: u64,
    /// Sound that came after its place had been settled and is not in the file.
    pub trimmed: Span,
}

/// What a recording came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingSummary {
    /// Where the file lies.
    pub path: PathBuf,
    /// Its rate.
    pub rate: SampleRate,
    /// How long it is; both channels alike.
    pub duration: Span,
    /// The left channel.
    pub caller: TrackSummary,
    /// The right channel.
    pub machine: TrackSummary,
}

/// A stereo recording in the making: 16-bit WAV, left [`Channel::Caller`], right [`Channel::Machine`].
///
/// Frames are placed by [`AudioFrame::at`]; the first sample of the file is time 0. Offsets under 10 ms are absorbed
/// without adding up, gaps are filled with silence and noted, late frames fill the holes they left for as long as those
/// are not settled, and what comes later still is trimmed. No allocation a frame once warm: the window between settled
/// and newest holds 0.9 s before it grows (at most 45 s, when one channel runs ahead or no time is told).
#[derive(Debug)]
pub struct StereoRecording {
    file: File,
    path: PathBuf,
    rate: SampleRate,
    timeline: Timeline,
}

impl StereoRecording {
    /// How long frames may come late: everything older than this before `now` is settled by [`Self::advance`]. A jitter buffer
    /// holds sound back for 200 ms at most and a codec's last words come within 300 ms; what is not settled is most of what a
    /// recording keeps in memory.
    pub const SLACK: Span = Span::from_millis(500);
    /// How far one [`Self::advance`] may jump: a disk may stall for minutes, not for hours.
    pub const LONGEST_JUMP: Span = Span::from_secs(600);
    /// Settling in pieces of this length keeps the window from being moved at every frame.
    const PIECE: Span = Span::from_millis(200);
    /// Samples of both channels that become octets at a time.
    const AT_ONCE: usize = 8_192;

    /// Creates the file (and its directory), readable by the owner only; an older file there is replaced.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn create(path: &Path, rate: SampleRate) -> Result<Self, RecordError> {
        let open = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(path)?;
            file.write_all(&wav::header(rate, 2, 0))?;
            Ok(file)
        };
        let file = open().map_err(|source| RecordError::Io { path: path.to_owned(), source })?;
        Ok(Self { file, path: path.to_owned(), rate, timeline: Timeline::new(rate) })
    }

    /// Places a frame on the call's clock.
    ///
    /// # Errors
    /// [`RecordError::Rate`]; [`RecordError::Jump`] for a frame more than 30 s ahead of both channels and the time told
    /// last; [`RecordError::TooLong`]; [`RecordError::Io`] when the window had to be written and could not be. The frame
    /// is not in the recording then.
    pub fn write(&mut self, channel: Channel, frame: AudioFrame<'_>) -> Result<(), RecordError> {
        if frame.rate != self.rate {
            return Err(RecordError::Rate { expected: self.rate, found: frame.rate });
        }
        let end = self.timeline.sample_at(frame.end()).max(0) as u64;
        let jump = |latest| RecordError::Jump { latest, at: frame.at, limit: Timeline::AHEAD };
        let latest = self.timeline.latest();
        if end > latest + self.timeline.samples(Timeline::AHEAD) {
            return Err(jump(self.timeline.time_of(latest)));
        }
        self.fits(end)?;
        let window = self.timeline.samples(Timeline::WINDOW);
        if end > self.timeline.settled() + window {
            self.settle(end - window + self.timeline.samples(Span::from_secs(1)))?;
        }
        self.timeline.place(channel, frame).map_err(|ahead| jump(ahead.latest))
    }

    /// Names the recorder's own ring as the cause of the channel's next hole: call it when the ring's count of refused
    /// frames has risen, before the frame that follows.
    pub fn refused(&mut self, channel: Channel) {
        self.timeline.blame_refusal(channel);
    }

    /// Tells the time. Everything before `now` - [`Self::SLACK`] is settled and written, unless it was (in pieces of 200 ms), both
    /// channels padded with silence up to there.
    ///
    /// # Errors
    /// [`RecordError::Jump`] when `now` is more than [`Self::LONGEST_JUMP`] ahead of everything known;
    /// [`RecordError::TooLong`]; [`RecordError::Io`].
    pub fn advance(&mut self, now: MediaTime) -> Result<(), RecordError> {
        let latest = self.timeline.latest();
        let told = self.timeline.sample_at(now).max(0) as u64;
        if told > latest + self.timeline.samples(Self::LONGEST_JUMP) {
            let latest = self.timeline.time_of(latest);
            return Err(RecordError::Jump { latest, at: now, limit: Self::LONGEST_JUMP });
        }
        self.timeline.tell(now);
        let due = told.saturating_sub(self.timeline.samples(Self::SLACK));
        if due < self.timeline.settled() + self.timeline.samples(Self::PIECE) {
            return Ok(());
        }
        self.fits(due)?;
        self.settle(due)
    }

    /// Hands everything placed so far, settled or not, to the system and makes the header's sizes right: after this the
    /// file is readable to the newest sample even if the process is killed. It does not wait for the disk.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        let newest = self.timeline.newest();
        self.put(newest)?;
        self.patch(newest)
    }

    /// Ends the recording at `end`, or at the newest sound where that is later: both channels become equally long, the
    /// header is right and the data is on the disk.
    ///
    /// An `end` more than [`Self::LONGEST_JUMP`] ahead of everything known is taken for a mistake and ignored.
    ///
    /// # Errors
    /// [`RecordError::Io`], [`RecordError::TooLong`].
    pub fn finish(mut self, end: MediaTime) -> Result<RecordingSummary, RecordError> {
        let newest = self.timeline.newest();
        let asked = self.timeline.sample_at(end).max(0) as u64;
        let believed = self.timeline.latest() + self.timeline.samples(Self::LONGEST_JUMP);
        let last = if asked > believed { newest } else { asked.max(newest) };
        self.fits(last)?;
        self.settle(last)?;
        self.patch(last)?;
        self.file.sync_all().map_err(|source| self.io(source))?;
        let track = |channel| TrackSummary {
            gaps: self.timeline.gaps(channel).collect(),
            gaps_unlisted: self.timeline.gaps_unlisted(channel),
            trimmed: self.timeline.trimmed(channel),
        };
        Ok(RecordingSummary {
            caller: track(Channel::Caller),
            machine: track(Channel::Machine),
            duration: self.rate.span(last as usize),
            rate: self.rate,
            path: self.path,
        })
    }

    /// Samples per second.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long the recording is so far: up to the newest sample of either channel.
    #[must_use]
    pub fn duration(&self) -> Span {
        self.rate.span(self.timeline.newest() as usize)
    }

    /// Pads both channels up to `sample`, writes, and lets go of everything before it.
    fn settle(&mut self, sample: u64) -> Result<(), RecordError> {
        let step = self.timeline.samples(Span::from_secs(1)).max(1);
        // Second by second, so that a long pause does not become a large window.
        while self.timeline.settled() < sample {
            let next = sample.min(self.timeline.settled() + step);
            self.timeline.pad_both(next);
            self.put(next)?;
            self.timeline.retire(next);
        }
        Ok(())
    }

    /// Writes what has changed before `sample` since it was written.
    fn put(&mut self, sample: u64) -> Result<(), RecordError> {
        let (from, changed) = self.timeline.unwritten(sample);
        if changed.is_empty() {
            return Ok(());
        }
        let mut at = wav::HEADER as u64 + from * 4;
        // On the stack, for all recordings of a thread: each with a second's worth of its own would be the larger part
        // of what a recorded call takes.
        let mut bytes = [0; Self::AT_ONCE * 2];
        for piece in changed.chunks(Self::AT_ONCE) {
            for (octets, sample) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(piece) {
                *octets = sample.to_le_bytes();
            }
            let bytes = &bytes[..piece.len() * 2];
            write_at(&self.file, bytes, at).map_err(|source| self.io(source))?;
            at += bytes.len() as u64;
        }
        self.timeline.written(sample);
        Ok(())
    }

    /// Makes the header say `samples`.
    fn patch(&mut self, samples: u64) -> Result<(), RecordError> {
        // `fits` has refused everything a 32-bit size cannot say.
        let header = wav::header(self.rate, 2, (samples * 4) as u32);
        write_at(&self.file, &header, 0).map_err(|source| self.io(source))
    }

    fn fits(&self, samples: u64) -> Result<(), RecordError> {
        let most = u64::from(wav::MOST_DATA) / 4;
        if samples > most {
            return Err(RecordError::TooLong { limit: self.rate.span(most as usize) });
        }
        Ok(())
    }

    fn io(&self, source: io::Error) -> RecordError {
        RecordError::Io { path: self.path.clone(), source }
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};

    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_wav_file_cannot_hold_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("call.wav");
        let recording = StereoRecording::create(&path, SampleRate::HZ_16000).expect("created");
        let most = u64::from(wav::MOST_DATA) / 4;
        recording.fits(most).expect("it fits");
        let Err(RecordError::TooLong { limit }) = recording.fits(most + 1) else { panic!("4 GiB passed") };
        assert_eq!(limit.millis() / 3_600_000, 18);
        // The header of the longest recording still says its true size.
        let header = wav::header(SampleRate::HZ_16000, 2, (most * 4) as u32);
        assert_eq!(
            u32::from_le_bytes([header[40], header[41], header[42], header[43]]),
            wav::MOST_DATA / 4 * 4
        );
    }
}
