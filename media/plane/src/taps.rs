//! Where a leg's two tracks go besides the wire.

use antiphon_media_codec::Resampler;
use antiphon_media_frame::{AudioFrame, Refused, SampleRate, TrackWriter};

/// One consumer of one track, at its own rate.
pub struct Tap {
    writer: TrackWriter,
    resampler: Option<Resampler>,
    out: Vec<i16>,
}

impl Tap {
    /// A tap on a track of `native` rate into `writer`, resampled where the rates differ.
    #[must_use]
    pub fn new(native: SampleRate, writer: TrackWriter) -> Self {
        let rate = writer.rate();
        let resampler = (rate != native).then(|| Resampler::new(native, rate));
        // Twice the longest frame: a resampler may owe a sample or two from the frame before.
        Self { out: Vec::with_capacity(rate.hz() as usize / 25), resampler, writer }
    }

    /// Hands the frame on. A consumer that is behind loses it and sees a gap in time; one that is gone (a
    /// recording that failed) is no loss.
    ///
    /// # Realtime safety
    /// No allocation once warm.
    pub(crate) fn push(&mut self, frame: AudioFrame<'_>) {
        if self.writer.abandoned() {
            return;
        }
        let result = match &mut self.resampler {
            None => self.writer.push(frame),
            Some(resampler) => {
                self.out.clear();
                resampler.process(frame.pcm, &mut self.out);
                let at = frame.at - resampler.delay();
                self.writer.push(AudioFrame { pcm: &self.out, rate: self.writer.rate(), at, ..frame })
            }
        };
        debug_assert_ne!(result, Err(Refused::Misfit), "the ring was made for another rate or length");
    }

    pub(crate) fn refused(&self) -> u64 {
        self.writer.refused()
    }
}

/// All consumers of a leg.
#[derive(Default)]
pub struct Taps {
    /// Consumers of what the far side says.
    pub received: Vec<Tap>,
    /// Consumers of what we say.
    pub sent: Vec<Tap>,
}

impl Taps {
    pub(crate) fn refused(&self) -> u64 {
        self.received.iter().chain(&self.sent).map(Tap::refused).sum()
    }
}
