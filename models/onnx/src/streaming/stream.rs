//! One stream: sound kept until a chunk is complete, utterances in the order they were spoken.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::batch::Said;
use antiphon_models_speech::{Hints, Recognition, RecognizeError, Recognizer};

use super::{Head, Model, NAME};
use crate::context::Contexts;
use crate::ctc::Ctc;
use crate::encoder::State;
use crate::intake::{Intake, RATE};
use crate::tokens::Heard;
use crate::transducer::Beam;

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
    /// Its features are those from the first frame of the next chunk on.
    intake: Intake,
    /// Chunks computed.
    done: usize,
    /// Chunks in all, where the utterance is over.
    chunks: Option<usize>,
    state: State,
    found: Found,
}

pub(super) struct Stream {
    model: Arc<Model>,
    hints: Option<Arc<Contexts>>,
    paths: usize,
    segments: VecDeque<Segment>,
    said: Said,
}

impl Stream {
    pub(super) fn new(model: Arc<Model>, hints: &Hints) -> Self {
        let mut out = Self { model, hints: None, paths: 1, segments: VecDeque::new(), said: Said::default() };
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
        self.segments.front().map_or(&[], |s| &s.intake.features[..wanted])
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
        let used = (encoder.chunk * encoder.bins).min(front.intake.features.len());
        front.intake.features.drain(..used);
        let (tokens, heard) = (&self.model.tokens, heard(&self.model, &front.found));
        if front.chunks == Some(front.done) {
            self.said.last(front.intake.utterance(tokens, heard, self.model.stride()));
            self.segments.pop_front();
        } else if front.intake.loud() {
            self.said.interim(front.intake.interim(tokens, heard));
        }
    }

    fn take_hints(&mut self, hints: &Hints) {
        let new = self.model.contexts(hints);
        if let Some(old) = &self.hints {
            for segment in &mut self.segments {
                match &mut segment.found {
                    Found::Beam(beam) => beam.leave(old),
                    Found::Ctc(ctc) => ctc.leave(old),
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
                intake: Intake::new(&self.model.bank),
                done: 0,
                chunks: None,
                state: self.model.encoder.state(),
                found: match self.model.head {
                    Head::Transducer(_) => Found::Beam(Beam::new()),
                    Head::Ctc => Found::Ctc(Ctc::new(0)),
                },
            });
        }
    }

    fn end_segment(&mut self) {
        let encoder = &self.model.encoder;
        let Some(back) = self.segments.back_mut().filter(|s| s.chunks.is_none()) else { return };
        if !back.intake.loud() {
            self.segments.pop_back();
            return;
        }
        // Every frame of the sound is in some chunk; what a chunk sees beyond them is silence.
        let chunks = self.model.bank.frames(back.intake.samples()).div_ceil(encoder.chunk).max(1);
        back.intake.pad((chunks - 1) * encoder.chunk + encoder.sight);
        back.chunks = Some(chunks.max(back.done));
        if back.done >= chunks {
            let heard = heard(&self.model, &back.found);
            self.said.last(back.intake.utterance(&self.model.tokens, heard, self.model.stride()));
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
                let frames = self.intake.features.len() / encoder.bins;
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
        let behind = self.owed() > BEHIND;
        self.said.admit(NAME, RATE, &frame, behind)?;
        if frame.pcm.is_empty() {
            return Ok(());
        }
        self.open_segment();
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

    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError> {
        self.take_hints(hints);
        Ok(())
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
        self.segments.iter().map(|s| s.owed(&self.model)).sum()
    }

    fn step(&mut self) -> Result<(), RecognizeError> {
        let model = Arc::clone(&self.model);
        model.step(&mut [self])
    }
}
