//! The sound of a recording: one file of some channels, or two files of one side each, as blocks of equal length.

use std::path::{Path, PathBuf};

use antiphon_media_codec::Resampler;
use antiphon_media_frame::{SampleRate, Span};
use antiphon_media_record::{AudioReader, ReadError, wav_mono};

/// More channels than that are no conversation.
const MOST: usize = 8;

/// Why a recording has no sound.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoundError {
    /// One of its files cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It has more channels than a conversation has sides.
    #[error("{path} has {count} channels; at most {MOST} are heard")]
    Channels {
        /// The file.
        path: PathBuf,
        /// Its channels.
        count: usize,
    },
    /// Nothing is in it.
    #[error("{path} holds no sound at all")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A recording that is being read.
pub(crate) struct Sound {
    parts: Vec<Part>,
    rate: SampleRate,
    channels: usize,
}

/// One file.
struct Part {
    path: PathBuf,
    reader: AudioReader,
    /// One a channel, where its rate is not the recording's.
    resamplers: Vec<Resampler>,
    /// What was read and not handed out yet, by channel.
    waiting: Vec<Vec<i16>>,
    ended: bool,
}

impl Sound {
    /// Opens the files of a recording: each gives all its channels, in this order.
    ///
    /// # Errors
    /// [`SoundError`].
    pub(crate) fn open(files: &[PathBuf]) -> Result<Self, SoundError> {
        let mut parts = Vec::with_capacity(files.len());
        for path in files {
            let reader = AudioReader::open(path)?;
            let waiting = vec![Vec::new(); reader.channels()];
            parts.push(Part { path: path.clone(), reader, resamplers: Vec::new(), waiting, ended: false });
        }
        let rate = parts.iter().map(|part| part.reader.rate()).max_by_key(|rate| rate.hz());
        let rate = rate.unwrap_or(SampleRate::HZ_8000);
        for part in &mut parts {
            let own = part.reader.rate();
            if own != rate {
                part.resamplers = part.waiting.iter().map(|_| Resampler::new(own, rate)).collect();
            }
        }
        let channels = parts.iter().map(|part| part.waiting.len()).sum();
        if channels > MOST {
            let path = files.first().cloned().unwrap_or_default();
            return Err(SoundError::Channels { path, count: channels });
        }
        Ok(Self { parts, rate, channels })
    }

    pub(crate) fn rate(&self) -> SampleRate {
        self.rate
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// How long the longest file says it is.
    pub(crate) fn duration(&self) -> Option<Span> {
        self.parts.iter().filter_map(|part| part.reader.duration()).max()
    }

    /// What was wrong with the files, where something was but sound came of them.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |part: &Part| {
            part.reader.warning().map(|warning| format!("only partly read: {}: {warning}", name(&part.path)))
        };
        self.parts.iter().filter_map(warning).collect()
    }

    /// The next block of every channel, all equally long: a file that ends before the others is silent from then on.
    /// `None` behind the end of all.
    ///
    /// # Errors
    /// [`SoundError`].
    pub(crate) fn next_block(&mut self) -> Result<Option<Vec<Vec<i16>>>, SoundError> {
        for part in &mut self.parts {
            part.fill()?;
        }
        let going = self.parts.iter().filter(|part| !part.ended).map(Part::ready);
        let length = match going.min() {
            Some(length) => length,
            None => self.parts.iter().map(Part::ready).max().unwrap_or(0),
        };
        if length == 0 {
            return Ok(None);
        }
        let mut block = Vec::with_capacity(self.channels);
        for channel in self.parts.iter_mut().flat_map(|part| &mut part.waiting) {
            let mut piece: Vec<i16> = channel.drain(..length.min(channel.len())).collect();
            piece.resize(length, 0);
            block.push(piece);
        }
        Ok(Some(block))
    }
}

impl Part {
    fn ready(&self) -> usize {
        self.waiting.first().map_or(0, Vec::len)
    }

    /// Reads on until something is ready or the file has ended.
    fn fill(&mut self) -> Result<(), SoundError> {
        let mut block = Vec::new();
        while !self.ended && self.ready() == 0 {
            if self.reader.next_block(&mut block)? {
                for (channel, (waiting, pcm)) in self.waiting.iter_mut().zip(&block).enumerate() {
                    match self.resamplers.get_mut(channel) {
                        Some(resampler) => resampler.process(pcm, waiting),
                        None => waiting.extend_from_slice(pcm),
                    }
                }
            } else {
                self.ended = true;
                if self.reader.position() == Span::ZERO {
                    return Err(SoundError::Empty { path: self.path.clone() });
                }
            }
        }
        Ok(())
    }
}

/// What people call a file.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A piece of a recording, its channels mixed, as a WAV file: what a finding's clip plays.
///
/// # Errors
/// [`SoundError`]; a piece behind the end is empty.
pub(crate) fn clip(files: &[PathBuf], from: Span, to: Span) -> Result<Vec<u8>, SoundError> {
    let mut sound = Sound::open(files)?;
    let rate = sound.rate();
    let (from, to) = (rate.samples(from), rate.samples(to));
    let (mut at, mut mixed) = (0, Vec::new());
    while at < to
        && let Some(block) = sound.next_block()?
    {
        let length = block.first().map_or(0, Vec::len);
        let wanted = from.saturating_sub(at).min(length)..to.saturating_sub(at).min(length);
        for n in wanted {
            let sum: i32 = block.iter().map(|channel| i32::from(channel[n])).sum();
            mixed.push(sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16);
        }
        at += length;
    }
    let error = |source| ReadError::Io { path: files.first().cloned().unwrap_or_default(), source };
    Ok(wav_mono(&mixed, rate).map_err(error)?)
}

#[cfg(test)]
mod tests {
    use antiphon_media_record::{read_all, write_wav_mono};

    use super::*;

    fn file(dir: &Path, name: &str, pcm: &[i16], rate: SampleRate) -> PathBuf {
        let path = dir.join(name);
        write_wav_mono(&path, pcm, rate).expect("written");
        path
    }

    fn all(files: &[PathBuf]) -> Vec<Vec<i16>> {
        let mut sound = Sound::open(files).expect("opened");
        let mut channels = vec![Vec::new(); sound.channels()];
        while let Some(block) = sound.next_block().expect("read") {
            assert!(block.iter().all(|channel| channel.len() == block[0].len()));
            channels.iter_mut().zip(block).for_each(|(channel, piece)| channel.extend(piece));
        }
        channels
    }

    #[test]
    fn two_files_are_two_channels_and_the_shorter_one_is_silent_at_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let long = file(dir.path(), "long.wav", &vec![1_000; 30_000], SampleRate::HZ_8000);
        let short = file(dir.path(), "short.wav", &vec![2_000; 10_000], SampleRate::HZ_8000);
        let channels = all(&[long, short]);
        assert_eq!(channels.iter().map(Vec::len).collect::<Vec<_>>(), [30_000, 30_000]);
        assert_eq!((channels[1][9_999], channels[1][10_000]), (2_000, 0));
    }

    #[test]
    fn files_of_different_rates_share_the_higher_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let wide = file(dir.path(), "wide.wav", &vec![1_000; 32_000], SampleRate::HZ_16000);
        let narrow = file(dir.path(), "narrow.wav", &vec![2_000; 16_000], SampleRate::HZ_8000);
        let channels = all(&[narrow, wide]);
        assert_eq!((channels[0].len(), channels[1].len()), (32_000, 32_000));
        assert!(channels[0][16_000].abs_diff(2_000) < 20, "{}", channels[0][16_000]);
    }

    #[test]
    fn a_clip_is_the_piece_that_was_asked_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let ramp: Vec<i16> = (0..16_000).map(|n| n as i16).collect();
        let files = [file(dir.path(), "call.wav", &ramp, SampleRate::HZ_8000)];
        let clip = clip(&files, Span::from_millis(500), Span::from_millis(750)).expect("cut");
        let path = dir.path().join("clip.wav");
        std::fs::write(&path, clip).expect("written");
        let pcm = read_all(&path).expect("a WAV file");
        assert_eq!(pcm.channels[0], (4_000..6_000).map(|n| n as i16).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_without_sound_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = [file(dir.path(), "empty.wav", &[], SampleRate::HZ_8000)];
        let said = match Sound::open(&files) {
            Ok(mut sound) => sound.next_block().expect_err("nothing in it").to_string(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains("empty.wav"), "{said}");
    }
}
