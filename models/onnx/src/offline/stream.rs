//! One stream: an utterance's features kept until it is over.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::batch::Said;
use antiphon_models_speech::{Hints, Language, Partials, Recognition, RecognizeError, Recognizer};

use super::{Model, NAME};
use crate::intake::{Intake, RATE};
use crate::tokens::Heard;

/// Silence wanted after the last sound: two input frames that hear the last one's end.
const TAIL: Span = Span::from_millis(120);
/// New sound between two computations of interim words where they are thinned.
const THINNED: Span = Span::from_secs(1);
/// A longer utterance is cut in two: the cost of self-attention grows with its square.
const LONGEST: Span = Span::from_secs(30);
/// Utterances over and not computed; a worker so far behind has lost its caller.
const BEHIND: usize = 16;
/// Each interim computation waits until the utterance has grown by this fraction at least, so that all of them together
/// cost at most a few times the last.
const GROWTH: usize = 4;

struct Segment {
    intake: Intake,
    over: bool,
    /// Samples that the last interim words were made of.
    looked: usize,
}

pub(super) struct Stream {
    model: Arc<Model>,
    language: i64,
    /// How much more must have been said until interim words are computed; zero: none.
    every: Span,
    segments: VecDeque<Segment>,
    said: Said,
}

impl Stream {
    pub(super) fn new(model: Arc<Model>, language: &Language) -> Self {
        let language = model.layout.language(&language.primary());
        let every = model.options.partial_every;
        Self { model, language, every, segments: VecDeque::new(), said: Said::default() }
    }

    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub(super) fn language(&self) -> i64 {
        self.language
    }

    /// The features of the utterance to be computed next.
    pub(super) fn features(&self) -> &[f32] {
        self.segments.front().map_or(&[], |s| &s.intake.features)
    }

    /// Takes what was heard in it.
    pub(super) fn commit(&mut self, heard: &[Heard]) {
        let Some(front) = self.segments.front_mut() else { return };
        let (tokens, stride) = (&self.model.tokens, self.model.layout.stride());
        if front.over {
            self.said.last(front.intake.utterance(tokens, heard, stride));
            self.segments.pop_front();
            return;
        }
        front.looked = front.intake.samples();
        self.said.interim(front.intake.interim(tokens, heard));
    }

    fn end_segment(&mut self) {
        if let Some(back) = self.segments.back_mut().filter(|s| !s.over) {
            back.over = true;
            if !back.intake.loud() {
                self.segments.pop_back();
            }
        }
    }
}

impl Segment {
    fn owed(&self, every: Span) -> bool {
        let step = RATE.samples(every).max(self.looked / GROWTH);
        self.over || (self.intake.loud() && every > Span::ZERO && self.intake.samples() >= self.looked + step)
    }
}

impl Recognizer for Stream {
    fn rate(&self) -> SampleRate {
        RATE
    }

    fn tail(&self) -> Span {
        TAIL
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        self.said.admit(NAME, RATE, &frame, self.segments.len() > BEHIND)?;
        if frame.pcm.is_empty() {
            return Ok(());
        }
        if self.segments.back().is_none_or(|s| s.over) {
            let intake = Intake::new(&self.model.bank);
            self.segments.push_back(Segment { intake, over: false, looked: 0 });
        }
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        segment.intake.push(&frame);
        if segment.intake.lasts(LONGEST) {
            self.end_segment();
        }
        Ok(())
    }

    fn poll(&mut self) -> Option<Recognition> {
        self.said.poll()
    }

    /// These models take no hints; they are accepted and do nothing.
    fn hint(&mut self, _: &Hints) -> Result<(), RecognizeError> {
        Ok(())
    }

    fn partials(&mut self, wanted: Partials) {
        self.every = wanted.every(self.model.options.partial_every, THINNED);
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        self.said.stands(NAME)?;
        self.end_segment();
        Ok(())
    }

    fn reset(&mut self) {
        self.segments.clear();
        self.said.clear();
    }

    fn owed(&self) -> usize {
        self.segments.iter().filter(|s| s.owed(self.every)).count()
    }

    fn step(&mut self) -> Result<(), RecognizeError> {
        let model = Arc::clone(&self.model);
        model.step(&mut [self])
    }
}
