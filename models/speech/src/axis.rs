//! Samples pushed, mapped onto the call's clock.

use antiphon_media_frame::{AudioFrame, MediaTime, SampleRate};

/// Jumps smaller than this are rounding of frame times, not gaps.
const JITTER_NANOS: i64 = 2_000_000;
/// Jumps remembered in one utterance. A track with more is broken; its later words follow the last jump.
const JUMPS: usize = 1_024;

/// Where each pushed sample of one utterance lies on the call's clock, gaps included. For engines that count samples.
#[derive(Clone, Debug)]
pub struct Axis {
    rate: SampleRate,
    /// Sample index and the instant it begins at, ascending in both.
    anchors: Vec<(usize, MediaTime)>,
    samples: usize,
}

impl Axis {
    /// An axis without samples, of sound at `rate`.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        Self { rate, anchors: Vec::new(), samples: 0 }
    }

    /// Begins the next utterance.
    pub fn clear(&mut self) {
        self.anchors.clear();
        self.samples = 0;
    }

    /// Takes a frame's samples; returns how many samples were missing before it.
    pub fn push(&mut self, frame: &AudioFrame<'_>) -> usize {
        let mut missing = 0;
        match self.anchors.last() {
            None => self.anchors.push((0, frame.at)),
            Some(_) => {
                let expected = self.end();
                let jump = frame.at.offset_from(expected);
                // A frame that lies before the last one's end is an overlap: time never runs backwards here.
                if jump > JITTER_NANOS && self.anchors.len() < JUMPS {
                    missing = self.rate.samples(frame.at.since(expected));
                    self.anchors.push((self.samples, frame.at));
                }
            }
        }
        self.samples += frame.pcm.len();
        missing
    }

    /// Samples pushed since the utterance began.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// When the first sample began; the clock's start where nothing was pushed.
    #[must_use]
    pub fn start(&self) -> MediaTime {
        self.at(0)
    }

    /// When the last sample ended.
    #[must_use]
    pub fn end(&self) -> MediaTime {
        self.until(self.samples)
    }

    /// When sample `index` begins.
    #[must_use]
    pub fn at(&self, index: usize) -> MediaTime {
        let index = index.min(self.samples);
        let after = self.anchors.partition_point(|(first, _)| *first <= index);
        match self.anchors[..after].last() {
            Some((first, at)) => *at + self.rate.span(index - first),
            None => MediaTime::ZERO,
        }
    }

    /// When the sample before `index` ends: differs from [`Axis::at`] only at a gap, which it leaves out.
    #[must_use]
    pub fn until(&self, index: usize) -> MediaTime {
        let index = index.min(self.samples);
        let after = self.anchors.partition_point(|(first, _)| *first < index);
        match self.anchors[..after].last() {
            Some((first, at)) => *at + self.rate.span(index - first),
            None => self.at(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_media_frame::{AudioBuf, Span};

    use super::*;

    fn push(axis: &mut Axis, millis: i64) -> usize {
        let mut frame = AudioBuf::voice(vec![0; 160], SampleRate::HZ_8000);
        frame.at = MediaTime::from_millis(millis);
        axis.push(&frame.frame())
    }

    #[test]
    fn gaps_stay_on_the_clock() {
        let mut axis = Axis::new(SampleRate::HZ_8000);
        assert_eq!(push(&mut axis, 1_000), 0);
        assert_eq!(push(&mut axis, 1_020), 0);
        assert_eq!(push(&mut axis, 2_000), 7_680);
        assert_eq!(axis.start().millis(), 1_000);
        assert_eq!(axis.at(319).millis(), 1_039);
        assert_eq!(axis.until(320).millis(), 1_040);
        assert_eq!(axis.at(320).millis(), 2_000);
        assert_eq!(axis.end(), MediaTime::from_millis(2_020));
        assert_eq!(axis.at(usize::MAX), axis.end());
    }

    #[test]
    fn overlaps_never_run_backwards() {
        let mut axis = Axis::new(SampleRate::HZ_8000);
        push(&mut axis, 100);
        assert_eq!(push(&mut axis, 0), 0);
        assert_eq!(axis.end(), MediaTime::from_millis(100) + Span::from_millis(40));
    }
}
