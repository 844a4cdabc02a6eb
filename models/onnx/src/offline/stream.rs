//! One stream: an utterance's features kept until it is over.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::{
    Axis, Hints, Hypothesis, Language, Recognition, RecognizeError, Recognizer, Utterance,
};

use super::{Model, NAME, RATE, failed};
use crate::bank::BankStream;
use crate::tokens::{Heard, join};
use crate::utterance::utterance;

/// Sound that is heard as words is louder than this somewhere (about -56 dBFS); what is not says nothing.
const QUIET: u16 = 50;
/// Silence wanted after the last sound: two input frames that hear the last one's end.
const TAIL: Span = Span::from_millis(120);
/// A longer utterance is cut in two: the cost of self-attention grows with its square.
const LONGEST: Span = Span::from_secs(30);
/// Utterances over and not computed; a worker so far behind has lost its caller.
const BEHIND: usize = 16;
/// Each interim computation waits until the utterance has grown by this fraction at least, so that all of them together
/// cost at most a few times the last.
const GROWTH: usize = 4;

struct Segment {
    axis: Axis,
    bank: BankStream,
    features: Vec<f32>,
    over: bool,
    loud: bool,
    /// Samples that the last interim words were made of.
    looked: usize,
    revision: u32,
    told: String,
}

pub(super) struct Stream {
    model: Arc<Model>,
    language: i64,
    segments: VecDeque<Segment>,
    partial: Option<Hypothesis>,
    finals: VecDeque<Utterance>,
    failed: bool,
}

impl Stream {
    pub(super) fn new(model: Arc<Model>, language: &Language) -> Self {
        let language = model.layout.language(&language.primary());
        Self {
            model,
            language,
            segments: VecDeque::new(),
            partial: None,
            finals: VecDeque::new(),
            failed: false,
        }
    }

    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub(super) fn language(&self) -> i64 {
        self.language
    }

    /// The features of the utterance to be computed next.
    pub(super) fn features(&self) -> &[f32] {
        self.segments.front().map_or(&[], |s| &s.features)
    }

    /// Takes what was heard in it.
    pub(super) fn commit(&mut self, heard: &[Heard]) {
        let Some(front) = self.segments.front_mut() else { return };
        let (tokens, stride) = (&self.model.tokens, self.model.layout.stride());
        if front.over {
            self.finals.extend(utterance(tokens, heard, stride, &front.axis));
            self.partial = None;
            self.segments.pop_front();
            return;
        }
        front.looked = front.axis.samples();
        let words = tokens.spell(heard);
        let text = join(words.iter().map(|w| w.text.as_str()));
        if text != front.told && !text.is_empty() {
            front.revision += 1;
            front.told.clone_from(&text);
            self.partial = Some(Hypothesis { revision: front.revision, text, start: front.axis.start() });
        }
    }

    fn end_segment(&mut self) {
        if let Some(back) = self.segments.back_mut().filter(|s| !s.over) {
            back.over = true;
            if !back.loud {
                self.segments.pop_back();
            }
        }
    }

    fn behind(&self) -> RecognizeError {
        failed(NAME, &"its sound was not computed in time; reset the stream")
    }
}

impl Segment {
    fn owed(&self, every: Span) -> bool {
        let step = RATE.samples(every).max(self.looked / GROWTH);
        self.over || (self.loud && every > Span::ZERO && self.axis.samples() >= self.looked + step)
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
        if frame.rate != RATE {
            return Err(RecognizeError::Rate { expected: RATE, found: frame.rate });
        }
        if self.failed || self.segments.len() > BEHIND {
            self.failed = true;
            return Err(self.behind());
        }
        if frame.pcm.is_empty() {
            return Ok(());
        }
        if self.segments.back().is_none_or(|s| s.over) {
            self.segments.push_back(Segment {
                axis: Axis::new(RATE),
                bank: BankStream::new(Arc::clone(&self.model.bank)),
                features: Vec::new(),
                over: false,
                loud: false,
                looked: 0,
                revision: 0,
                told: String::new(),
            });
        }
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        segment.axis.push(&frame);
        segment.loud |= frame.pcm.iter().any(|s| s.unsigned_abs() > QUIET);
        segment.bank.push(frame.pcm, &mut segment.features);
        if segment.axis.samples() >= RATE.samples(LONGEST) {
            self.end_segment();
        }
        Ok(())
    }

    fn poll(&mut self) -> Option<Recognition> {
        if let Some(utterance) = self.finals.pop_front() {
            return Some(Recognition::Final(utterance));
        }
        self.partial.take().map(Recognition::Partial)
    }

    /// These models take no hints; they are accepted and do nothing.
    fn hint(&mut self, _: &Hints) -> Result<(), RecognizeError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        if self.failed {
            return Err(self.behind());
        }
        self.end_segment();
        Ok(())
    }

    fn reset(&mut self) {
        self.segments.clear();
        self.partial = None;
        self.finals.clear();
        self.failed = false;
    }

    fn owed(&self) -> usize {
        let every = self.model.options.partial_every;
        self.segments.iter().filter(|s| s.owed(every)).count()
    }

    fn step(&mut self) -> Result<(), RecognizeError> {
        let model = Arc::clone(&self.model);
        model.step(&mut [self])
    }
}
