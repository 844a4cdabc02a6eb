//! Frames become orders: where utterances begin and end, and which sound belongs to them.

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_models_speech::Hints;

use crate::Endpointing;
use crate::endpoint::{Endpointer, Left, Verdict};
use crate::order::{Order, Orders, Sound};
use crate::recent::Recent;

/// Frame times that differ from the running clock by less than this are rounding, not gaps.
const TOLERANCE: Span = Span::from_millis(2);
/// A clock set back further than this is a new clock; anything less is old audio come late.
const SET_BACK: Span = Span::from_secs(1);
/// No engine needs more; it bounds the silence made up at an endpoint.
const LONGEST_TAIL: Span = Span::from_secs(2);

/// One stream's frames as utterances. Knows no thread, no recogniser and no clock but the frames'.
///
/// Each utterance is heard from [`Endpointing::pre_roll`] before its first active frame to the recogniser's
/// [`tail`](antiphon_models_speech::Recognizer::tail) after the last one, and nothing outside utterances. Pauses inside an
/// utterance are heard whole. A tail longer than the endpoint is made up of zeros, so that nobody waits for it.
pub(crate) struct Segmenter {
    rate: SampleRate,
    tail: Span,
    endpointer: Endpointer,
    /// Inactive or undecided audio: the next utterance's pre-roll, or the present pause.
    pub(crate) recent: Recent,
    /// Up to when the utterance under way has been ordered to be heard.
    fed: MediaTime,
    /// The end of the last audio taken in.
    clock: Option<MediaTime>,
    listening: bool,
    closed: bool,
    pub(crate) zeros: Vec<i16>,
    pub(crate) orders: Orders,
}

impl Segmenter {
    /// A stream that begins with its first frame, for a recogniser of `rate` that wants `tail`.
    pub(crate) fn new(rate: SampleRate, tail: Span, endpointing: Endpointing) -> Self {
        Self {
            rate,
            tail: tail.min(LONGEST_TAIL),
            endpointer: Endpointer::new(endpointing),
            recent: Recent::new(rate),
            fed: MediaTime::ZERO,
            clock: None,
            listening: true,
            closed: false,
            zeros: Vec::new(),
            orders: Orders::default(),
        }
    }

    /// Takes the next frame, with its activity mark. Poll until empty after each push: events are kept until polled.
    ///
    /// A frame whose time jumps ahead is bridged with silence or ends the utterance, by [`Endpointing::bridge`]; a frame
    /// that lies in the past is discarded. A frame at another rate than the recogniser's counts as its failure.
    pub(crate) fn push(&mut self, frame: AudioFrame<'_>) {
        if self.closed || frame.pcm.is_empty() {
            return;
        }
        if frame.rate != self.rate {
            self.orders.push(Order::Misfit { expected: self.rate, found: frame.rate });
            return;
        }
        if self.align(frame.at) {
            self.hear(frame);
        }
    }

    /// Ends the utterance under way now, without waiting for the endpoint.
    pub(crate) fn flush(&mut self) {
        if let Some(now) = self.clock {
            self.end_utterance(now);
        }
    }

    /// The same, and says when it is done.
    pub(crate) fn flush_on_request(&mut self) {
        self.flush();
        if !self.closed {
            self.orders.push(Order::Flushed);
        }
    }

    /// Changes what may be said.
    pub(crate) fn hint(&mut self, hints: Hints) {
        if !self.closed {
            self.orders.push(Order::Hint(hints));
        }
    }

    /// Changes the silence that ends an utterance, the present one included; 50 ms to 10 s.
    pub(crate) fn set_endpoint(&mut self, endpoint: Span) {
        self.endpointer.set_endpoint(endpoint);
    }

    /// Opens or shuts the ear. Shutting it ends the utterance under way; while it is shut, audio only moves the clock.
    pub(crate) fn listen(&mut self, on: bool) {
        if !on {
            self.flush();
            self.endpointer.rest();
            self.recent.clear();
        }
        self.listening = on;
    }

    /// Ends the utterance under way and the stream. Later calls do nothing.
    pub(crate) fn finish(&mut self) {
        if !self.closed {
            self.flush();
            self.orders.push(Order::Close { until: self.clock.unwrap_or_default() });
            self.closed = true;
            self.recent = Recent::new(self.rate);
            self.zeros = Vec::new();
        }
    }

    /// The recogniser is gone: what was ordered of it is left out, all else is told.
    pub(crate) fn abort(&mut self) {
        let mut kept = Orders::default();
        while let Some(order) = self.orders.pop() {
            if matches!(order, Order::Begin(_) | Order::End { .. } | Order::Flushed | Order::Close { .. }) {
                kept.push(order);
            }
        }
        self.orders = kept;
        if let Some(at) = self.endpointer.last_active()
            && !self.closed
        {
            self.orders.push(Order::End { at, decided_at: self.clock.unwrap_or_default() });
            self.endpointer.rest();
        }
        self.finish();
    }

    pub(crate) fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Another recogniser hears from now on; it wants another tail.
    pub(crate) fn set_tail(&mut self, tail: Span) {
        self.tail = tail.min(LONGEST_TAIL);
    }

    /// Whether an utterance is under way.
    pub(crate) fn speaking(&self) -> bool {
        self.endpointer.last_active().is_some()
    }

    /// Whether nothing is taken in any more.
    pub(crate) fn closed(&self) -> bool {
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
                retracted: false,
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
        if frame.retracted {
            self.retract(frame.at);
        }
        match self.endpointer.judge(frame.at, end, frame.active) {
            Verdict::Quiet => {
                self.recent.append(frame.pcm, end);
                self.recent.trim(self.endpointer.memory());
            }
            Verdict::Begin(began) => {
                self.orders.push(Order::Begin(began));
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

    /// What was taken for speech up to `now` since the last quiet was none, and the utterance is over: without words where
    /// there is nothing else in it, else with those of what came before, which is heard again alone.
    fn retract(&mut self, now: MediaTime) {
        match self.endpointer.retract() {
            None => self.recent.clear(),
            Some(Left::Nothing(at)) => {
                self.orders.push(Order::Retract { keep: None });
                self.orders.push(Order::End { at, decided_at: at.max(now) });
                self.recent.clear();
            }
            Some(Left::Before(from)) => {
                self.orders.push(Order::Retract { keep: Some(from) });
                self.recent.clear();
                self.fed = from;
                // Nothing can go on from there without a hole.
                self.end_utterance(now);
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
            self.feed(AudioFrame {
                pcm,
                rate: self.rate,
                at,
                kind: FrameKind::Voice,
                active: false,
                retracted: false,
            });
            self.fed = end;
        }
        self.recent = recent;
    }

    fn feed(&mut self, frame: AudioFrame<'_>) {
        // Less silence than a sample is missing, where times were rounded.
        if !frame.pcm.is_empty() {
            self.orders.push(Order::Hear(Sound::of(frame)));
        }
    }

    /// Ends the utterance under way, if any: the rest of the tail, the final words, the end.
    fn end_utterance(&mut self, decided_at: MediaTime) {
        let Some(last) = self.endpointer.last_active() else {
            return;
        };
        self.feed_recent(decided_at.min(last + self.tail));
        let missing = (last + self.tail).since(self.fed);
        if missing > Span::ZERO {
            let zeros = self.silence(missing);
            let at = self.fed;
            self.feed(AudioFrame {
                pcm: &zeros,
                rate: self.rate,
                at,
                kind: FrameKind::Silence,
                active: false,
                retracted: false,
            });
            self.zeros = zeros;
        }
        self.orders.push(Order::End { at: last, decided_at });
        self.endpointer.rest();
        self.recent.trim(self.endpointer.memory());
    }

    /// Takes out the zeros buffer with `span` of silence in it; the caller puts it back.
    fn silence(&mut self, span: Span) -> Vec<i16> {
        let mut zeros = std::mem::take(&mut self.zeros);
        zeros.resize(self.rate.samples(span), 0);
        zeros
    }
}
