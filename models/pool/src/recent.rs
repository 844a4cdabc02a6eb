//! The audio that was heard but not (yet) given to the recogniser, as one stretch on the clock.

use antiphon_media_frame::{MediaTime, SampleRate, Span};

/// A contiguous stretch of samples that ends now.
pub(crate) struct Recent {
    pcm: Vec<i16>,
    rate: SampleRate,
    end: MediaTime,
}

impl Recent {
    pub(crate) fn new(rate: SampleRate) -> Self {
        Self { pcm: Vec::new(), rate, end: MediaTime::ZERO }
    }

    /// Adds samples that end at `end` and continue what is there.
    pub(crate) fn append(&mut self, pcm: &[i16], end: MediaTime) {
        self.pcm.extend_from_slice(pcm);
        self.end = end;
    }

    /// Forgets all but the last `span`.
    pub(crate) fn trim(&mut self, span: Span) {
        let excess = self.pcm.len().saturating_sub(self.rate.samples(span));
        self.pcm.drain(..excess);
    }

    pub(crate) fn clear(&mut self) {
        self.pcm.clear();
    }

    /// When the stretch begins.
    pub(crate) fn start(&self) -> MediaTime {
        self.end - self.rate.span(self.pcm.len())
    }

    /// The samples from `from` to `to`, as far as they are there, and when they begin.
    pub(crate) fn between(&self, from: MediaTime, to: MediaTime) -> (MediaTime, &[i16]) {
        let start = self.start();
        let first = self.rate.samples(from.since(start)).min(self.pcm.len());
        let last = self.rate.samples(to.since(start)).min(self.pcm.len()).max(first);
        (start + self.rate.span(first), &self.pcm[first..last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_knows_its_place_on_the_clock() {
        let mut recent = Recent::new(SampleRate::HZ_8000);
        recent.append(&[1; 160], MediaTime::from_millis(120));
        recent.append(&[2; 160], MediaTime::from_millis(140));
        assert_eq!(recent.start(), MediaTime::from_millis(100));
        let (at, pcm) = recent.between(MediaTime::from_millis(110), MediaTime::from_millis(130));
        assert_eq!((at, pcm.len()), (MediaTime::from_millis(110), 160));
        assert_eq!((pcm[79], pcm[80]), (1, 2));
        recent.trim(Span::from_millis(10));
        assert_eq!(recent.start(), MediaTime::from_millis(130));
        let (_, all) = recent.between(MediaTime::from_nanos(i64::MIN), MediaTime::from_nanos(i64::MAX));
        assert_eq!(all, [2; 80]);
        let (_, none) = recent.between(MediaTime::from_millis(500), MediaTime::from_millis(100));
        assert!(none.is_empty());
    }
}
