//! One stream: sound kept until a chunk is complete, utterances in the order they were spoken.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::{Axis, Hints, Hypothesis, Recognition, RecognizeError, Recognizer, Utterance};

use super::{Head, Model, NAME, RATE, failed};
use crate::bank::BankStream;
use crate::context::Contexts;
use crate::ctc::Ctc;
use crate::encoder::State;
use crate::tokens::{Heard, join};
use crate::transducer::Beam;
use crate::utterance::utterance;

/// Sound that is heard as words is louder than this somewhere (about -56 dBFS); what is not says nothing.
const QUIET: u16 = 50;
/// Silence wanted after the last sound: the models say a word up to this much after its end.
const TAIL: Span = Span::from_millis(320);
/// Chunks that may be owed: a worker so far behind has lost its caller.
const BEHIND: usize = 200;
/// A longer utterance is ended: nobody speaks that long without a pause, and its tokens would grow for ever.
const LONGEST: Span = Span::from_secs(300);

/// What an utterance has said so far.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Beam(Beam),
    Ctc(Ctc),
}

/// One chunk's work: what the search goes on from.
pub(super) struct Job {
    pub(super) found: Found,
    pub(super) hints: Option<Arc<Contexts>>,
    pub(super) paths: usize,
    /// Chunks of the utterance before this one.
    pub(super) chunk: usize,
}

/// An utterance under way, or one that is over and not yet computed to its end.
struct Segment {
    axis: Axis,
    bank: BankStream,
    /// Features from the first frame of the next chunk on.
    features: Vec<f32>,
    /// Chunks computed.
    done: usize,
    /// Chunks in all, where the utterance is over.
    chunks: Option<usize>,
    loud: bool,
    state: State,
    found: Found,
    revision: u32,
    told: String,
}

pub(super) struct Stream {
    model: Arc<Model>,
    hints: Option<Arc<Contexts>>,
    paths: usize,
    segments: VecDeque<Segment>,
    partial: Option<Hypothesis>,
    finals: VecDeque<Utterance>,
    failed: bool,
}

impl Stream {
    pub(super) fn new(model: Arc<Model>, hints: &Hints) -> Self {
        let mut out = Self {
            model,
            hints: None,
            paths: 1,
            segments: VecDeque::new(),
            partial: None,
            finals: VecDeque::new(),
            failed: false,
        };
        out.take_hints(hints);
        out
    }

    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What the next owed step begins with; `None` where nothing is owed.
    pub(super) fn job(&self) -> Option<Job> {
        let front = self.segments.front().filter(|s| s.owed(&self.model) > 0)?;
        Some(Job {
            found: front.found.clone(),
            hints: self.hints.clone(),
            paths: self.paths,
            chunk: front.done,
        })
    }

    /// The next chunk's features. Only where a step is owed.
    pub(super) fn features(&self) -> &[f32] {
        let wanted = self.model.encoder.sight * self.model.encoder.bins;
        self.segments.front().map_or(&[], |s| &s.features[..wanted])
    }

    /// The encoder's state before the next chunk. Only where a step is owed.
    pub(super) fn state(&self) -> &State {
        &self.segments.front().expect("a step is owed, so there is an utterance").state
    }

    /// Takes what a step computed.
    pub(super) fn commit(&mut self, found: Found, state: State) {
        let Some(front) = self.segments.front_mut() else { return };
        front.found = found;
        front.state = state;
        front.done += 1;
        let encoder = &self.model.encoder;
        front.features.drain(..(encoder.chunk * encoder.bins).min(front.features.len()));
        if front.chunks == Some(front.done) {
            let said = utterance(
                &self.model.tokens,
                heard(&self.model, &front.found),
                self.model.stride(),
                &front.axis,
            );
            self.finals.extend(said);
            self.partial = None;
            self.segments.pop_front();
        } else if front.loud {
            let words = self.model.tokens.spell(heard(&self.model, &front.found));
            let text = join(words.iter().map(|w| w.text.as_str()));
            if text != front.told && !text.is_empty() {
                front.revision += 1;
                front.told.clone_from(&text);
                self.partial = Some(Hypothesis { revision: front.revision, text, start: front.axis.start() });
            }
        }
    }

    fn take_hints(&mut self, hints: &Hints) {
        let new = self.model.contexts(hints);
        if let Some(old) = &self.hints {
            for segment in &mut self.segments {
                if let Found::Beam(beam) = &mut segment.found {
                    beam.leave(old);
                }
            }
        }
        let options = &self.model.options;
        self.paths = if new.is_some() { options.hinted_paths } else { options.paths }.clamp(1, 32);
        self.hints = new;
    }

    fn open_segment(&mut self) {
        if self.segments.back().is_none_or(|s| s.chunks.is_some()) {
            self.segments.push_back(Segment {
                axis: Axis::new(RATE),
                bank: BankStream::new(Arc::clone(&self.model.bank)),
                features: Vec::new(),
                done: 0,
                chunks: None,
                loud: false,
                state: self.model.encoder.state(),
                found: match self.model.head {
                    Head::Transducer(_) => Found::Beam(Beam::new()),
                    Head::Ctc => Found::Ctc(Ctc::new(0)),
                },
                revision: 0,
                told: String::new(),
            });
        }
    }

    fn end_segment(&mut self) {
        let encoder = &self.model.encoder;
        let Some(back) = self.segments.back_mut().filter(|s| s.chunks.is_none()) else { return };
        if !back.loud {
            self.segments.pop_back();
            return;
        }
        // Every frame of the sound is in some chunk; what a chunk sees beyond them is silence.
        let chunks = self.model.bank.frames(back.axis.samples()).div_ceil(encoder.chunk).max(1);
        back.bank.pad((chunks - 1) * encoder.chunk + encoder.sight, &mut back.features);
        back.chunks = Some(chunks.max(back.done));
        if back.done >= chunks {
            let said = utterance(
                &self.model.tokens,
                heard(&self.model, &back.found),
                self.model.stride(),
                &back.axis,
            );
            self.finals.extend(said);
            self.partial = None;
            self.segments.pop_back();
        }
    }
}

impl Segment {
    fn owed(&self, model: &Model) -> usize {
        let encoder = &model.encoder;
        match self.chunks {
            Some(chunks) => chunks - self.done,
            None => {
                let frames = self.features.len() / encoder.bins;
                frames.checked_sub(encoder.sight).map_or(0, |rest| 1 + rest / encoder.chunk)
            }
        }
    }
}

fn heard<'a>(model: &Model, found: &'a Found) -> &'a [Heard] {
    match (found, &model.head) {
        (Found::Beam(beam), Head::Transducer(transducer)) => beam.best(transducer.context()),
        (Found::Beam(beam), Head::Ctc) => beam.best(0),
        (Found::Ctc(ctc), _) => &ctc.heard,
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
        if self.failed || self.owed() > BEHIND {
            self.failed = true;
            return Err(failed(NAME, &"its sound was not computed in time; reset the stream"));
        }
        if frame.pcm.is_empty() {
            return Ok(());
        }
        self.open_segment();
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

    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError> {
        self.take_hints(hints);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        if self.failed {
            return Err(failed(NAME, &"its sound was not computed in time; reset the stream"));
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
        self.segments.iter().map(|s| s.owed(&self.model)).sum()
    }

    fn step(&mut self) -> Result<(), RecognizeError> {
        let model = Arc::clone(&self.model);
        model.step(&mut [self])
    }
}
