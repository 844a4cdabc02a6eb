//! Where a leg's two tracks go besides the wire.

use antiphon_media_codec::Resampler;
use antiphon_media_frame::{
    AudioFrame, Coded, Direction, FrameKind, MediaTime, Refused, SampleRate, TrackWriter,
};

/// Names a tap in commands; unique within its leg, chosen by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TapId(pub u64);

/// Taps of a leg at once, over both tracks; more are refused.
pub const TAPS: usize = 48;

/// One consumer of one track, at its own rate.
pub struct Tap {
    /// Those that were there from the start have none.
    id: Option<TapId>,
    writer: TrackWriter,
    resampler: Option<Resampler>,
    out: Vec<i16>,
    /// Samples at the start of a new resampler that the one before has given already.
    skip: usize,
    /// The end of what was pushed.
    until: MediaTime,
}

impl Tap {
    /// A tap on a track of `native` rate into `writer`, resampled where the rates differ.
    #[must_use]
    pub fn new(native: SampleRate, writer: TrackWriter) -> Self {
        let rate = writer.rate();
        let resampler = (rate != native).then(|| Resampler::new(native, rate));
        // Twice the longest frame: a resampler may owe a sample or two from the frame before.
        Self {
            id: None,
            out: Vec::with_capacity(rate.hz() as usize / 25),
            resampler,
            writer,
            skip: 0,
            until: MediaTime::ZERO,
        }
    }

    /// Goes on with a track of another rate: what the old resampler still holds is written, and what the new one would
    /// write before it is left out.
    fn change(&mut self, native: SampleRate) {
        if let Some(old) = &mut self.resampler {
            self.out.clear();
            let silence = [0; 1_024];
            let held = old.from().samples(old.delay()).min(silence.len());
            let at = self.until - old.delay();
            old.process(&silence[..held], &mut self.out);
            let rate = self.writer.rate();
            let rest = AudioFrame {
                pcm: &self.out,
                rate,
                at,
                kind: FrameKind::Voice,
                active: false,
                retracted: false,
            };
            // A full ring is counted by itself.
            let _ = self.writer.push(rest);
        }
        let rate = self.writer.rate();
        self.resampler = (rate != native).then(|| Resampler::new(native, rate));
        self.skip = self.resampler.as_ref().map_or(0, |new| rate.samples(new.delay()));
    }

    /// Hands the frame on, and its payload where the ring carries it and nothing is converted. A consumer that is behind loses it and sees a gap in time; one that is gone (a
    /// recording that failed) is no loss.
    ///
    /// # Realtime safety
    /// No allocation once warm.
    pub(crate) fn push(&mut self, frame: AudioFrame<'_>, coded: Option<Coded<'_>>) {
        if self.writer.abandoned() {
            return;
        }
        self.until = frame.end();
        let result = match &mut self.resampler {
            None => self.writer.push_coded(frame, coded),
            Some(resampler) => {
                self.out.clear();
                resampler.process(frame.pcm, &mut self.out);
                let rate = self.writer.rate();
                let skipped = self.skip.min(self.out.len());
                self.skip -= skipped;
                let at = frame.at - resampler.delay() + rate.span(skipped);
                self.writer.push(AudioFrame { pcm: &self.out[skipped..], rate, at, ..frame })
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
    /// Adds a tap in mid-call; one of the same name goes. Says no where there are too many.
    pub(crate) fn add(
        &mut self,
        id: TapId,
        track: Direction,
        native: SampleRate,
        writer: TrackWriter,
    ) -> bool {
        self.remove(id);
        // Those whose consumers are gone make room.
        for taps in [&mut self.received, &mut self.sent] {
            taps.retain(|tap| !tap.writer.abandoned());
        }
        if self.received.len() + self.sent.len() >= TAPS {
            return false;
        }
        let tap = Tap { id: Some(id), ..Tap::new(native, writer) };
        match track {
            Direction::Received => self.received.push(tap),
            Direction::Sent => self.sent.push(tap),
        }
        true
    }

    /// The received or the sent track goes on at another rate.
    pub(crate) fn change(&mut self, track: Direction, native: SampleRate) {
        let taps = match track {
            Direction::Received => &mut self.received,
            Direction::Sent => &mut self.sent,
        };
        taps.iter_mut().for_each(|tap| tap.change(native));
    }

    pub(crate) fn remove(&mut self, id: TapId) {
        for taps in [&mut self.received, &mut self.sent] {
            taps.retain(|tap| tap.id != Some(id));
        }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.received.iter().chain(&self.sent).map(Tap::refused).sum()
    }
}
