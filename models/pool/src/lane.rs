//! One stream without threads: endpointing, one recogniser, and the clock they share.

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::{Hints, Recognizer};

use crate::ear::{Ear, Fate};
use crate::segment::Segmenter;
use crate::{Endpointing, StreamEvent};

/// One stream: frames in, events out. Knows no thread and no clock but the frames', and computes at once.
///
/// The recogniser hears each utterance from [`Endpointing::pre_roll`] before its first active frame to its own
/// [`Recognizer::tail`] after the last one, and nothing outside utterances. Pauses inside an utterance are heard whole.
/// A tail longer than the endpoint is made up of zeros, so that nobody waits for it.
pub struct Lane {
    segmenter: Segmenter,
    ear: Ear,
}

impl Lane {
    /// A stream that begins with its first frame.
    #[must_use]
    pub fn new(recognizer: Box<dyn Recognizer>, endpointing: Endpointing) -> Self {
        let segmenter = Segmenter::new(recognizer.rate(), recognizer.tail(), endpointing);
        Self { segmenter, ear: Ear::new(recognizer, 0) }
    }

    /// Takes the next frame, with its activity mark. Poll until empty after each push: events are kept until polled.
    ///
    /// A frame whose time jumps ahead is bridged with silence or ends the utterance, by [`Endpointing::bridge`]; a frame
    /// that lies in the past is discarded. A frame at another rate than the recogniser's counts as its failure.
    pub fn push(&mut self, frame: AudioFrame<'_>) {
        self.segmenter.push(frame);
        self.compute();
    }

    /// The next event, oldest first.
    pub fn poll(&mut self) -> Option<StreamEvent> {
        self.ear.events.pop_front()
    }

    /// Ends the utterance under way now, without waiting for the endpoint.
    pub fn flush(&mut self) {
        self.segmenter.flush();
        self.compute();
    }

    /// Changes what may be said, from the next utterance on (at once where the engine can). A refusal is reported as
    /// [`StreamEvent::Failed`] and leaves the old hints in force.
    pub fn hint(&mut self, hints: &Hints) {
        self.segmenter.hint(hints.clone());
        self.compute();
    }

    /// Says whether interim words are wanted; without being told otherwise they are. Engines that compute for them alone
    /// save that.
    pub fn want_partials(&mut self, wanted: bool) {
        self.ear.want_partials(wanted);
    }

    /// Changes the silence that ends an utterance, the present one included; 50 ms to 10 s.
    pub fn set_endpoint(&mut self, endpoint: Span) {
        self.segmenter.set_endpoint(endpoint);
    }

    /// Opens or shuts the ear. Shutting it ends the utterance under way; while it is shut, audio only moves the clock.
    pub fn listen(&mut self, on: bool) {
        self.segmenter.listen(on);
        self.compute();
    }

    /// Ends the utterance under way and closes the stream; the last event is [`StreamEvent::Closed`]. Later calls do
    /// nothing.
    pub fn finish(&mut self) {
        self.segmenter.finish();
        self.compute();
    }

    /// The rate of the frames it takes.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.segmenter.rate()
    }

    /// Whether the stream has ended: nothing is taken in any more.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.ear.closed()
    }

    fn compute(&mut self) {
        loop {
            self.ear.tell(&mut self.segmenter.orders);
            let Some(mut work) = self.ear.take(&mut self.segmenter.orders, Span::from_nanos(u64::MAX)) else {
                return;
            };
            work.run();
            if self.ear.give_back(work, &mut self.segmenter.orders) != Fate::Well {
                self.segmenter.abort();
            }
        }
    }
}

#[cfg(test)]
mod tests;
