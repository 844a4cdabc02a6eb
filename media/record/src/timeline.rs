//! Where on the call's clock each sample belongs: two tracks, one window of unsettled sound.

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use serde::{Deserialize, Serialize};

/// One channel of a stereo recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The far side: left.
    Caller = 0,
    /// Our side: right.
    Machine = 1,
}

impl Channel {
    /// Left, then right.
    pub const BOTH: [Self; 2] = [Self::Caller, Self::Machine];
}

/// Why a stretch of a channel is not what the speaker sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// Nothing came for it: lost, not yet begun, or a clock that runs slow. Silence in the file.
    Missing,
    /// The recorder was behind and the ring refused it. Silence in the file.
    Refused,
    /// Made up by loss concealment.
    Concealed,
    /// Nothing was sent: discontinuous transmission, hold, or nothing to say.
    Silence,
}

impl GapCause {
    /// Whether the file holds nothing of the frame's own there, so that a late frame may fill it.
    fn is_hole(self) -> bool {
        matches!(self, Self::Missing | Self::Refused)
    }
}

/// A stretch of a channel that is not what the speaker sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins on the call's clock.
    pub from: MediaTime,
    /// Where it ends.
    pub to: MediaTime,
    /// Why.
    pub cause: GapCause,
}

/// A frame further ahead of everything known than [`Timeline::AHEAD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooFarAhead {
    pub(crate) latest: MediaTime,
}

/// A gap in samples; `from..to`.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: u64,
    to: u64,
    cause: GapCause,
}

#[derive(Debug)]
struct Track {
    /// One past the newest sample placed or padded.
    cursor: u64,
    /// Whether the sample before the cursor is part of a frame (and not padding).
    contiguous: bool,
    /// Value of the sample before the cursor.
    last: i16,
    /// In order, disjoint.
    gaps: Vec<Stretch>,
    /// Gaps beyond [`Timeline::GAPS`], not kept one by one.
    gaps_unlisted: u64,
    /// The cause of the next hole.
    blame: GapCause,
    /// Samples that came after their place had been settled.
    trimmed: u64,
}

/// Two tracks and the window between what is settled and the newest sample. Pure.
#[derive(Debug)]
pub(crate) struct Timeline {
    rate: SampleRate,
    /// Interleaved samples from `settled` on.
    window: Vec<i16>,
    /// Samples that no frame can change any more.
    settled: u64,
    /// The first sample of the window that has changed since it was written, or the end of the window.
    unwritten: u64,
    /// The latest time told, in samples.
    now: u64,
    tracks: [Track; 2],
}

impl Timeline {
    /// How far a frame may lie ahead of everything known. A jump within it costs at most silence, because the frames that
    /// belong before it still find their place.
    pub(crate) const AHEAD: Span = Span::from_secs(30);
    /// How much is kept changeable when nobody tells the time.
    pub(crate) const WINDOW: Span = Span::from_secs(45);
    /// Offsets below this are absorbed: half a 20 ms frame.
    const TOLERANCE: Span = Span::from_millis(10);
    /// Over how long a step in the signal is smoothed, so that it does not click.
    const RAMP: Span = Span::from_millis(2);
    /// The window as it is made: the usual 500 ms of slack, a piece of 200 ms that is not settled yet, and as much again for
    /// a writer that comes late.
    const WARM: Span = Span::from_millis(900);
    /// Gaps listed a channel; further ones are only counted.
    pub(crate) const GAPS: usize = 20_000;
    /// Gaps that fit without an allocation; most calls have fewer, and who writes files may allocate.
    const GAPS_WARM: usize = 16;

    pub(crate) fn new(rate: SampleRate) -> Self {
        let track = || Track {
            cursor: 0,
            contiguous: false,
            last: 0,
            gaps: Vec::with_capacity(Self::GAPS_WARM),
            gaps_unlisted: 0,
            blame: GapCause::Missing,
            trimmed: 0,
        };
        let window = Vec::with_capacity(rate.samples(Self::WARM) * 2);
        Self { rate, window, settled: 0, unwritten: 0, now: 0, tracks: [track(), track()] }
    }

    /// Places a frame by its time.
    pub(crate) fn place(&mut self, channel: Channel, frame: AudioFrame<'_>) -> Result<(), TooFarAhead> {
        if frame.pcm.is_empty() {
            return Ok(());
        }
        let target = self.sample_at(frame.at);
        if target.saturating_add(frame.pcm.len() as i64) > (self.latest() + self.samples(Self::AHEAD)) as i64
        {
            return Err(TooFarAhead { latest: self.time_of(self.latest()) });
        }
        let tolerance = self.samples(Self::TOLERANCE) as i64;
        let track = &self.tracks[channel as usize];
        let cursor = track.cursor as i64;
        // Silence is where realigning is free, so it is placed exactly; so is what follows a gap.
        let absorbed = track.contiguous
            && frame.kind != FrameKind::Silence
            && target.saturating_sub(cursor).saturating_abs() < tolerance;
        let start = if absorbed { cursor } else { target };
        let end = start + frame.pcm.len() as i64;

        let floor = self.settled as i64;
        if start < floor {
            self.tracks[channel as usize].trimmed += (end.min(floor) - start) as u64;
        }
        if start < cursor && frame.kind == FrameKind::Voice {
            let (from, to) = (start.max(floor), end.min(cursor));
            if from < to {
                let late = &frame.pcm[(from - start) as usize..(to - start) as usize];
                self.fill_holes(channel, from as u64, late);
            }
        }
        if start > cursor {
            self.pad(channel, start as u64, Some(frame.pcm[0]));
        }
        if end > cursor {
            let from = start.max(cursor);
            let smooth = start < cursor && self.tracks[channel as usize].contiguous;
            self.append(channel, from as u64, &frame.pcm[(from - start) as usize..], frame.kind, smooth);
        }
        Ok(())
    }

    /// Names the ring's refusal as the cause of the channel's next hole.
    pub(crate) fn blame_refusal(&mut self, channel: Channel) {
        self.tracks[channel as usize].blame = GapCause::Refused;
    }

    /// Notes the time, so that frames may follow it.
    pub(crate) fn tell(&mut self, now: MediaTime) {
        self.now = self.now.max(self.sample_at(now).max(0) as u64);
    }

    /// Pads both tracks up to `sample`, so that everything before it can be written.
    pub(crate) fn pad_both(&mut self, sample: u64) {
        for channel in Channel::BOTH {
            if self.tracks[channel as usize].cursor < sample {
                self.pad(channel, sample, None);
            }
        }
    }

    /// Forgets everything before `sample`, which has been written for good.
    pub(crate) fn retire(&mut self, sample: u64) {
        let count = (sample.saturating_sub(self.settled) as usize * 2).min(self.window.len());
        self.window.drain(..count);
        // A call that rang for long began with as long a window; it is not to keep it.
        let warm = self.samples(Self::WARM) as usize * 2;
        if self.window.capacity() > warm && self.window.len() <= warm / 4 * 3 {
            self.window.shrink_to(warm);
        }
        self.settled += (count / 2) as u64;
        self.unwritten = self.unwritten.max(self.settled);
    }

    /// What has changed before `sample` since it was written, interleaved, and where it begins: some samples in between may
    /// be the same still.
    pub(crate) fn unwritten(&self, sample: u64) -> (u64, &[i16]) {
        let place = |sample: u64| ((sample - self.settled) as usize * 2).min(self.window.len());
        (self.unwritten, &self.window[place(self.unwritten.min(sample))..place(sample)])
    }

    /// Everything before `sample` is written.
    pub(crate) fn written(&mut self, sample: u64) {
        self.unwritten = self.unwritten.max(sample.min(self.newest()));
    }

    /// Samples settled.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// One past the newest sample of either channel.
    pub(crate) fn newest(&self) -> u64 {
        self.settled + (self.window.len() / 2) as u64
    }

    /// The latest sample known of: placed, or told as the time.
    pub(crate) fn latest(&self) -> u64 {
        self.now.max(self.newest())
    }

    /// The sample that belongs at `at`; negative before the clock's start.
    pub(crate) fn sample_at(&self, at: MediaTime) -> i64 {
        let scaled = i128::from(at.nanos()) * i128::from(self.rate.hz());
        // 2^63 ns at 192 kHz is below 2^51 samples.
        (scaled + 500_000_000).div_euclid(1_000_000_000) as i64
    }

    /// When `sample` is.
    pub(crate) fn time_of(&self, sample: u64) -> MediaTime {
        MediaTime::ZERO + self.rate.span(sample as usize)
    }

    /// Samples of one channel in `span`.
    pub(crate) fn samples(&self, span: Span) -> u64 {
        self.rate.samples(span) as u64
    }

    /// The channel's gaps, in order.
    pub(crate) fn gaps(&self, channel: Channel) -> impl Iterator<Item = Gap> {
        self.tracks[channel as usize].gaps.iter().map(|s| Gap {
            from: self.time_of(s.from),
            to: self.time_of(s.to),
            cause: s.cause,
        })
    }

    /// Gaps counted but not listed.
    pub(crate) fn gaps_unlisted(&self, channel: Channel) -> u64 {
        self.tracks[channel as usize].gaps_unlisted
    }

    /// How much sound came too late for its place.
    pub(crate) fn trimmed(&self, channel: Channel) -> Span {
        self.rate.span(self.tracks[channel as usize].trimmed as usize)
    }

    /// Puts late sound where the channel has holes, and nowhere else.
    fn fill_holes(&mut self, channel: Channel, at: u64, pcm: &[i16]) {
        let end = at + pcm.len() as u64;
        let mut i = self.tracks[channel as usize].gaps.len();
        while i > 0 {
            i -= 1;
            let gap = self.tracks[channel as usize].gaps[i];
            if gap.to <= at {
                break;
            }
            if gap.from >= end || !gap.cause.is_hole() {
                continue;
            }
            let (from, to) = (gap.from.max(at), gap.to.min(end));
            for sample in from..to {
                *self.cell(channel, sample) = pcm[(sample - at) as usize];
            }
            let track = &mut self.tracks[channel as usize];
            match (gap.from < from, to < gap.to) {
                (false, false) => {
                    track.gaps.remove(i);
                }
                (true, false) => track.gaps[i].to = from,
                (false, true) => track.gaps[i].from = to,
                (true, true) => {
                    track.gaps[i].to = from;
                    track.gaps.insert(i + 1, Stretch { from: to, ..gap });
                }
            }
            if to == track.cursor {
                track.contiguous = true;
                track.last = pcm[(to - 1 - at) as usize];
            }
        }
    }

    /// Silence from the cursor to `until`, noted. It decays from the last sample, and rises to `next`, the first that
    /// follows, so that neither edge clicks; the frames themselves stay as they came.
    fn pad(&mut self, channel: Channel, until: u64, next: Option<i16>) {
        self.grow(until);
        let track = &self.tracks[channel as usize];
        let (from, last, cause) = (track.cursor, track.last, track.blame);
        let ramp = self.samples(Self::RAMP).min((until - from) / 2) as i64;
        for step in 0..ramp {
            let faded = |edge: i16| (i64::from(edge) * (ramp - step) / (ramp + 1)) as i16;
            *self.cell(channel, from + step as u64) = faded(last);
            if let Some(next) = next {
                *self.cell(channel, until - 1 - step as u64) = faded(next);
            }
        }
        self.note(channel, Stretch { from, to: until, cause });
        let track = &mut self.tracks[channel as usize];
        track.cursor = until;
        track.contiguous = false;
        track.last = 0;
    }

    /// Puts `pcm` at `at`, the cursor.
    fn append(&mut self, channel: Channel, at: u64, pcm: &[i16], kind: FrameKind, smooth: bool) {
        let end = at + pcm.len() as u64;
        self.grow(end);
        self.unwritten = self.unwritten.min(at);
        let place = (at - self.settled) as usize * 2;
        let (cells, _) = self.window[place..].as_chunks_mut::<2>();
        for (cell, value) in cells.iter_mut().zip(pcm) {
            cell[channel as usize] = *value;
        }
        if smooth {
            let step = i64::from(self.tracks[channel as usize].last) - i64::from(pcm[0]);
            let ramp = self.samples(Self::RAMP).min(pcm.len() as u64) as i64;
            for n in 0..ramp {
                let bridged = i64::from(pcm[n as usize]) + step * (ramp - n) / (ramp + 1);
                *self.cell(channel, at + n as u64) =
                    bridged.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16;
            }
        }
        let cause = match kind {
            FrameKind::Voice => None,
            FrameKind::Concealed => Some(GapCause::Concealed),
            FrameKind::Silence => Some(GapCause::Silence),
        };
        if let Some(cause) = cause {
            self.note(channel, Stretch { from: at, to: end, cause });
        }
        let track = &mut self.tracks[channel as usize];
        track.cursor = end;
        track.contiguous = true;
        track.last = pcm[pcm.len() - 1];
        track.blame = GapCause::Missing;
    }

    fn note(&mut self, channel: Channel, stretch: Stretch) {
        let shortest = self.samples(Self::TOLERANCE);
        let track = &mut self.tracks[channel as usize];
        if let Some(before) = track.gaps.last_mut()
            && before.to == stretch.from
            && before.cause == stretch.cause
        {
            before.to = stretch.to;
        } else if stretch.cause.is_hole() && stretch.to - stretch.from < shortest {
            // A realignment, not a loss.
        } else if track.gaps.len() < Self::GAPS {
            track.gaps.push(stretch);
        } else {
            track.gaps_unlisted += 1;
        }
    }

    fn grow(&mut self, until: u64) {
        let len = (until.saturating_sub(self.settled) * 2) as usize;
        if len > self.window.len() {
            self.unwritten = self.unwritten.min(self.newest());
            self.window.resize(len, 0);
        }
    }

    fn cell(&mut self, channel: Channel, sample: u64) -> &mut i16 {
        self.unwritten = self.unwritten.min(sample);
        &mut self.window[(sample - self.settled) as usize * 2 + channel as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::HZ_8000;

    fn frame(pcm: &[i16], micros: i64, kind: FrameKind) -> AudioFrame<'_> {
        AudioFrame {
            pcm,
            rate: RATE,
            at: MediaTime::from_nanos(micros * 1_000),
            kind,
            active: false,
            retracted: false,
        }
    }

    fn voice(line: &mut Timeline, value: i16, millis: i64) {
        line.place(Channel::Caller, frame(&[value; 160], millis * 1_000, FrameKind::Voice))
            .expect("believed");
    }

    fn left(line: &Timeline) -> Vec<i16> {
        line.window.iter().step_by(2).copied().collect()
    }

    fn gaps(line: &Timeline) -> Vec<(i64, i64, GapCause)> {
        line.gaps(Channel::Caller).map(|g| (g.from.millis(), g.to.millis(), g.cause)).collect()
    }

    #[test]
    fn what_is_written_is_not_to_be_written_again_until_it_changes() {
        let mut line = Timeline::new(RATE);
        voice(&mut line, 1, 0);
        voice(&mut line, 3, 40);
        assert_eq!((line.unwritten(480).0, line.unwritten(480).1.len()), (0, 960));
        line.written(480);
        assert_eq!(line.unwritten(480), (480, &[][..]));
        // What comes late changes the middle, and the other track what lies beside it.
        voice(&mut line, 2, 20);
        assert_eq!((line.unwritten(480).0, line.unwritten(480).1.len()), (160, 640));
        line.written(320);
        assert_eq!((line.unwritten(480).0, line.unwritten(480).1.len()), (320, 320));
        line.written(480);
        line.place(Channel::Machine, frame(&[7; 160], 0, FrameKind::Voice)).expect("believed");
        assert_eq!((line.unwritten(480).0, line.unwritten(160).1), (0, [[1, 7]; 160].as_flattened()));
        line.written(480);
        line.pad_both(800);
        assert_eq!(
            (line.unwritten(800).0, line.unwritten(800).1.len()),
            (160, 1_280),
            "padded from there on"
        );
    }

    #[test]
    fn a_lost_frame_is_silence_and_noted() {
        let mut line = Timeline::new(RATE);
        voice(&mut line, 1, 0);
        voice(&mut line, 3, 40);
        assert_eq!(left(&line)[160 + 16..320 - 16], [0; 128]);
        assert_eq!(left(&line)[320..], [3; 160]);
        assert_eq!(gaps(&line), [(20, 40, GapCause::Missing)]);
    }

    #[test]
    fn a_late_frame_fills_its_own_hole_and_no_more() {
        let mut line = Timeline::new(RATE);
        voice(&mut line, 1, 0);
        voice(&mut line, 5, 80);
        voice(&mut line, 3, 40);
        assert_eq!(gaps(&line), [(20, 40, GapCause::Missing), (60, 80, GapCause::Missing)]);
        voice(&mut line, 2, 20);
        voice(&mut line, 4, 60);
        voice(&mut line, 9, 0);
        assert_eq!(gaps(&line), []);
        let expected: Vec<i16> = (1..=5).flat_map(|n| [n; 160]).collect();
        assert_eq!(left(&line), expected);
    }

    #[test]
    fn edges_of_a_gap_do_not_click_and_frames_stay_as_they_came() {
        let mut line = Timeline::new(RATE);
        voice(&mut line, 16_000, 0);
        voice(&mut line, -16_000, 60);
        let left = left(&line);
        let steepest = left.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max();
        assert!(steepest.expect("samples") <= 1_000, "{steepest:?}");
        assert!(left[..160].iter().all(|s| *s == 16_000) && left[480..].iter().all(|s| *s == -16_000));
    }

    #[test]
    fn sound_older_than_the_file_is_trimmed() {
        let mut line = Timeline::new(RATE);
        voice(&mut line, 1, -10);
        assert_eq!(left(&line), [1; 80]);
        line.pad_both(8_000);
        line.retire(8_000);
        voice(&mut line, 2, 500);
        voice(&mut line, 3, 990);
        assert_eq!((left(&line), line.settled()), (vec![3; 80], 8_000));
        assert_eq!(line.trimmed(Channel::Caller), Span::from_millis(10 + 20 + 10));
    }

    #[test]
    fn a_refusal_is_blamed_on_the_ring_once() {
        let mut line = Timeline::new(RATE);
        voice(&mut line, 1, 0);
        line.blame_refusal(Channel::Caller);
        voice(&mut line, 2, 60);
        voice(&mut line, 3, 120);
        assert_eq!(gaps(&line), [(20, 60, GapCause::Refused), (80, 120, GapCause::Missing)]);
    }

    #[test]
    fn concealed_and_silent_stretches_are_noted_whole() {
        let mut line = Timeline::new(RATE);
        for (n, kind) in
            [FrameKind::Concealed, FrameKind::Concealed, FrameKind::Silence].into_iter().enumerate()
        {
            line.place(Channel::Caller, frame(&[7; 160], n as i64 * 20_000, kind)).expect("believed");
        }
        assert_eq!(gaps(&line), [(0, 40, GapCause::Concealed), (40, 60, GapCause::Silence)]);
    }

    #[test]
    fn an_absurd_time_is_refused_and_costs_nothing() {
        let mut line = Timeline::new(RATE);
        voice(&mut line, 1, 0);
        for micros in [3_600_000_000, i64::MAX / 1_000] {
            let far = frame(&[1; 160], micros, FrameKind::Voice);
            assert!(line.place(Channel::Caller, far).is_err());
        }
        line.place(Channel::Caller, frame(&[1; 160], i64::MIN / 1_000, FrameKind::Voice)).expect("trimmed");
        assert_eq!(line.window.len(), 320);
    }

    #[test]
    fn a_jump_that_is_believed_leaves_room_for_what_belongs_before_it() {
        let mut line = Timeline::new(RATE);
        voice(&mut line, 1, 0);
        voice(&mut line, 9, 20_000);
        voice(&mut line, 2, 20);
        voice(&mut line, 3, 40);
        let left = left(&line);
        assert_eq!((left[160], left[320], left[479]), (2, 3, 3));
    }
}
