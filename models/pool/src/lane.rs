//! One stream without threads: endpointing, one recogniser, and the clock they share.

use std::collections::VecDeque;

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_models_speech::{Hints, Recognition, RecognizeError, Recognizer};

use crate::endpoint::{Endpointer, Verdict};
use crate::engine::{Fault, Guarded};
use crate::recent::Recent;
use crate::{Endpointing, StreamEvent};

/// Frame times that differ from the running clock by less than this are rounding, not gaps.
const TOLERANCE: Span = Span::from_millis(2);
/// A clock set back further than this is a new clock; anything less is old audio come late.
const SET_BACK: Span = Span::from_secs(1);
/// No engine needs more; it bounds the silence made up at an endpoint.
const LONGEST_TAIL: Span = Span::from_secs(2);
/// An engine that has this much to say to one push is looping; the rest waits for the next push.
const POLLS: usize = 256;
/// Failures in a row after which a stream is given up.
const PATIENCE: u32 = 3;

/// One stream: frames in, events out. Knows no thread and no clock but the frames'.
///
/// The recogniser hears each utterance from [`Endpointing::pre_roll`] before its first active frame to its own
/// [`Recognizer::tail`] after the last one, and nothing outside utterances. Pauses inside an utterance are heard whole.
/// A tail longer than the endpoint is made up of zeros, so that nobody waits for it.
pub struct Lane {
    engine: Guarded,
    rate: SampleRate,
    tail: Span,
    endpointer: Endpointer,
    /// Inactive or undecided audio: the next utterance's pre-roll, or the present pause.
    recent: Recent,
    /// Up to when the recogniser has heard the utterance under way.
    fed: MediaTime,
    /// The end of the last audio taken in.
    clock: Option<MediaTime>,
    listening: bool,
    /// The recogniser failed in this utterance and hears no more of it.
    deaf: bool,
    failures: u32,
    closed: bool,
    events: VecDeque<StreamEvent>,
    zeros: Vec<i16>,
}

impl Lane {
    /// A stream that begins with its first frame.
    #[must_use]
    pub fn new(recognizer: Box<dyn Recognizer>, endpointing: Endpointing) -> Self {
        let rate = recognizer.rate();
        Self {
            rate,
            tail: recognizer.tail().min(LONGEST_TAIL),
            engine: Guarded::new(recognizer),
            endpointer: Endpointer::new(endpointing),
            recent: Recent::new(rate),
            fed: MediaTime::ZERO,
            clock: None,
            listening: true,
            deaf: false,
            failures: 0,
            closed: false,
            events: VecDeque::new(),
            zeros: Vec::new(),
        }
    }

    /// Takes the next frame, with its activity mark. Poll until empty after each push: events are kept until polled.
    ///
    /// A frame whose time jumps ahead is bridged with silence or ends the utterance, by [`Endpointing::bridge`]; a frame
    /// that lies in the past is discarded. A frame at another rate than the recogniser's counts as its failure.
    pub fn push(&mut self, frame: AudioFrame<'_>) {
        if self.closed || frame.pcm.is_empty() {
            return;
        }
        if frame.rate != self.rate {
            let error = RecognizeError::Rate { expected: self.rate, found: frame.rate };
            return self.fault(Fault::Error(error));
        }
        if self.align(frame.at) {
            self.hear(frame);
        }
    }

    /// The next event, oldest first.
    pub fn poll(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    /// Ends the utterance under way now, without waiting for the endpoint.
    pub fn flush(&mut self) {
        if let Some(now) = self.clock {
            self.end_utterance(now);
        }
    }

    /// Changes what may be said, from the next utterance on (at once where the engine can). A refusal is reported as
    /// [`StreamEvent::Failed`] and leaves the old hints in force.
    pub fn hint(&mut self, hints: &Hints) {
        if self.closed {
            return;
        }
        match self.engine.call(|engine| engine.hint(hints)) {
            Ok(()) => {}
            Err(Fault::Error(error)) => self.events.push_back(StreamEvent::Failed(error)),
            Err(panic) => self.fault(panic),
        }
    }

    /// Changes the silence that ends an utterance, the present one included; 50 ms to 10 s.
    pub fn set_endpoint(&mut self, endpoint: Span) {
        self.endpointer.set_endpoint(endpoint);
    }

    /// Opens or shuts the ear. Shutting it ends the utterance under way; while it is shut, audio only moves the clock.
    pub fn listen(&mut self, on: bool) {
        if !on {
            self.flush();
            self.endpointer.rest();
            self.recent.clear();
        }
        self.listening = on;
    }

    /// Ends the utterance under way and closes the stream; the last event is [`StreamEvent::Closed`]. Later calls do
    /// nothing.
    pub fn finish(&mut self) {
        if !self.closed {
            self.flush();
            self.close();
        }
    }

    /// The rate of the frames it takes.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Whether the stream has ended: nothing is taken in any more.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Brings the clock to `at`. Returns whether the frame there is to be heard.
    fn align(&mut self, at: MediaTime) -> bool {
        let Some(clock) = self.clock else {
            self.clock = Some(at);
            return true;
        };
        if at + TOLERANCE < clock {
            if clock.since(at) < SET_BACK {
                return false;
            }
            self.interrupt(clock, at);
            return !self.closed;
        }
        let gap = at.since(clock);
        if gap <= TOLERANCE {
            return true;
        }
        if gap <= self.endpointer.rules().bridge {
            let zeros = self.silence(gap);
            self.hear(AudioFrame {
                pcm: &zeros,
                rate: self.rate,
                at: clock,
                kind: FrameKind::Silence,
                active: false,
            });
            self.zeros = zeros;
        } else {
            self.interrupt(at, at);
        }
        !self.closed
    }

    /// The clock jumps to `at`: nothing before it has anything to do with what follows.
    fn interrupt(&mut self, decided_at: MediaTime, at: MediaTime) {
        self.end_utterance(decided_at);
        self.endpointer.rest();
        self.recent.clear();
        self.clock = Some(at);
    }

    fn hear(&mut self, frame: AudioFrame<'_>) {
        let end = frame.end();
        self.clock = Some(end);
        if !self.listening {
            return;
        }
        match self.endpointer.judge(frame.at, end, frame.active) {
            Verdict::Quiet => {
                self.recent.append(frame.pcm, end);
                self.recent.trim(self.endpointer.memory());
            }
            Verdict::Begin(began) => {
                self.deaf = false;
                self.events.push_back(StreamEvent::SpeechStarted { at: began });
                self.fed = self.recent.start().max(began - self.endpointer.rules().pre_roll);
                self.feed_speech(frame);
            }
            Verdict::Speech => self.feed_speech(frame),
            Verdict::Cut => {
                self.feed_speech(frame);
                self.end_utterance(end);
                self.endpointer.cut();
            }
            verdict @ (Verdict::Pause | Verdict::End) => {
                self.recent.append(frame.pcm, end);
                let last = self.endpointer.last_active().unwrap_or(end);
                self.feed_recent(end.min(last + self.tail));
                if verdict == Verdict::End {
                    self.end_utterance(end);
                }
            }
        }
    }

    /// Gives the recogniser an active frame and, before it, what was withheld.
    fn feed_speech(&mut self, frame: AudioFrame<'_>) {
        self.feed_recent(frame.at);
        self.feed(frame);
        self.recent.clear();
        self.fed = frame.end();
    }

    /// Gives the recogniser what it has not heard yet of the recent audio, up to `to`.
    fn feed_recent(&mut self, to: MediaTime) {
        if to <= self.fed {
            return;
        }
        // Taken out for the call, so that the samples need not be copied; it comes back below.
        let recent = std::mem::replace(&mut self.recent, Recent::new(self.rate));
        let (at, pcm) = recent.between(self.fed, to);
        let end = at + self.rate.span(pcm.len());
        if !pcm.is_empty() {
            self.feed(AudioFrame { pcm, rate: self.rate, at, kind: FrameKind::Voice, active: false });
            self.fed = end;
        }
        self.recent = recent;
    }

    fn feed(&mut self, frame: AudioFrame<'_>) {
        // Less silence than a sample is missing, where times were rounded.
        if self.deaf || self.closed || frame.pcm.is_empty() {
            return;
        }
        match self.engine.call(|engine| engine.push(frame)) {
            Ok(()) => self.collect(),
            Err(fault) => self.fault(fault),
        }
    }

    /// Queues what the recogniser has to say. Partials coalesce to the newest.
    fn collect(&mut self) {
        for _ in 0..POLLS {
            match self.engine.call(|engine| Ok(engine.poll())) {
                Ok(Some(Recognition::Partial(hypothesis))) => {
                    if let Some(StreamEvent::Partial(_)) = self.events.back() {
                        self.events.pop_back();
                    }
                    self.events.push_back(StreamEvent::Partial(hypothesis));
                }
                Ok(Some(Recognition::Final(utterance))) => {
                    self.events.push_back(StreamEvent::Final(utterance));
                }
                Ok(None) => return,
                Err(fault) => return self.fault(fault),
            }
        }
    }

    /// Ends the utterance under way, if any: the rest of the tail, the final words, the end.
    fn end_utterance(&mut self, decided_at: MediaTime) {
        let Some(last) = self.endpointer.last_active() else {
            return;
        };
        self.feed_recent(decided_at.min(last + self.tail));
        let missing = (last + self.tail).since(self.fed);
        if missing > Span::ZERO && !self.deaf {
            let zeros = self.silence(missing);
            let at = self.fed;
            self.feed(AudioFrame {
                pcm: &zeros,
                rate: self.rate,
                at,
                kind: FrameKind::Silence,
                active: false,
            });
            self.zeros = zeros;
        }
        if !self.deaf && !self.closed {
            match self.engine.call(|engine| engine.flush()) {
                Ok(()) => {
                    let before = self.failures;
                    self.collect();
                    if self.failures == before {
                        self.failures = 0;
                    }
                }
                Err(fault) => self.fault(fault),
            }
        }
        // A fault may have closed the stream, and with it the utterance.
        if !self.closed {
            self.events.push_back(StreamEvent::SpeechEnded { at: last, decided_at });
            self.endpointer.rest();
            self.recent.trim(self.endpointer.memory());
        }
    }

    fn fault(&mut self, fault: Fault) {
        let (error, fatal) = match fault {
            Fault::Error(error) => {
                self.failures += 1;
                (error, self.failures >= PATIENCE)
            }
            Fault::Panic(error) => (error, true),
        };
        self.events.push_back(StreamEvent::Failed(error));
        self.deaf = true;
        if fatal {
            return self.close();
        }
        if let Err(fault) = self.engine.call(|engine| {
            engine.reset();
            Ok(())
        }) {
            self.fault(fault);
        }
    }

    fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        let until = self.clock.unwrap_or_default();
        if let Some(at) = self.endpointer.last_active() {
            self.events.push_back(StreamEvent::SpeechEnded { at, decided_at: until });
            self.endpointer.rest();
        }
        self.events.push_back(StreamEvent::Closed { until });
        self.engine.discard();
        self.recent = Recent::new(self.rate);
        self.zeros = Vec::new();
    }

    /// Takes out the zeros buffer with `span` of silence in it; the caller puts it back.
    fn silence(&mut self, span: Span) -> Vec<i16> {
        let mut zeros = std::mem::take(&mut self.zeros);
        zeros.resize(self.rate.samples(span), 0);
        zeros
    }
}

#[cfg(test)]
mod tests;
