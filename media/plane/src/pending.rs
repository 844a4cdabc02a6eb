//! Decoded sound on its way to becoming frames.

use antiphon_media_frame::{MediaTime, SampleRate, Span};

/// Steps below this between two packets are corrections of the clock; larger ones are holes.
const STEP: Span = Span::from_millis(10);

/// Decoded samples and the time of the first.
pub(crate) struct Pending {
    rate: SampleRate,
    pcm: Vec<i16>,
    at: MediaTime,
    /// Whether any of it was made up.
    concealed: bool,
}

impl Pending {
    /// Nothing yet; `room` samples fit without an allocation.
    pub(crate) fn new(rate: SampleRate, room: usize, now: MediaTime) -> Self {
        Self { rate, pcm: Vec::with_capacity(room), at: now, concealed: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.pcm.len()
    }

    /// When the first sample belongs, `None` where there is none.
    pub(crate) fn at(&self) -> Option<MediaTime> {
        (!self.pcm.is_empty()).then_some(self.at)
    }

    /// When the last sample ends, `None` where there is none.
    pub(crate) fn end(&self) -> Option<MediaTime> {
        self.at().map(|at| at + self.rate.span(self.pcm.len()))
    }

    pub(crate) fn pcm(&self) -> &[i16] {
        &self.pcm
    }

    pub(crate) fn is_concealed(&self) -> bool {
        self.concealed
    }

    /// Whether a packet placed at `at` leaves a hole behind what is here.
    pub(crate) fn ends_before(&self, at: MediaTime) -> bool {
        !self.pcm.is_empty() && at.since(self.at + self.rate.span(self.pcm.len())) > STEP
    }

    /// Adds a packet placed at `at`. The newest packet's place is the best known, so what is left of the one before
    /// moves with it.
    pub(crate) fn append(&mut self, pcm: &[i16], at: MediaTime, concealed: bool) {
        self.at = at - self.rate.span(self.pcm.len());
        self.concealed |= concealed;
        self.pcm.extend_from_slice(pcm);
    }

    /// Lets go of the first `count` samples.
    pub(crate) fn consume(&mut self, count: usize) {
        self.pcm.drain(..count);
        self.at += self.rate.span(count);
        if self.pcm.is_empty() {
            self.concealed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_carries_what_is_left_of_the_one_before_but_not_over_a_hole() {
        let mut pending = Pending::new(SampleRate::HZ_8000, 1_000, MediaTime::ZERO);
        assert_eq!(pending.at(), None);
        pending.append(&[1; 240], MediaTime::from_millis(100), false);
        pending.consume(160);
        assert_eq!(pending.at(), Some(MediaTime::from_millis(120)));
        assert!(!pending.ends_before(MediaTime::from_millis(131)));
        assert!(pending.ends_before(MediaTime::from_millis(160)));
        pending.append(&[2; 240], MediaTime::from_millis(131), true);
        assert_eq!(pending.at(), Some(MediaTime::from_millis(121)));
        assert!(pending.is_concealed());
        pending.consume(320);
        assert!(pending.len() == 0 && !pending.is_concealed());
    }
}
