//! What streams of both engines do with an utterance: its features as they come, and the words of its tokens.

use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::{Axis, Hypothesis, Utterance, join};

use crate::bank::{Bank, BankStream};
use crate::tokens::{Heard, Tokens};
use crate::utterance::utterance;

/// The rate of every model's sound.
pub(crate) const RATE: SampleRate = SampleRate::HZ_16000;
/// Sound that is heard as words is louder than this somewhere (about -56 dBFS); what is not says nothing.
const QUIET: u16 = 50;

/// The sound of one utterance, and the interim words that were told of it.
pub(crate) struct Intake {
    axis: Axis,
    bank: BankStream,
    pub(crate) features: Vec<f32>,
    loud: bool,
    revision: u32,
    told: String,
}

impl Intake {
    pub(crate) fn new(bank: &Arc<Bank>) -> Self {
        Self {
            axis: Axis::new(RATE),
            bank: BankStream::new(Arc::clone(bank)),
            features: Vec::new(),
            loud: false,
            revision: 0,
            told: String::new(),
        }
    }

    pub(crate) fn push(&mut self, frame: &AudioFrame<'_>) {
        self.axis.push(frame);
        self.loud |= frame.pcm.iter().any(|s| s.unsigned_abs() > QUIET);
        self.bank.push(frame.pcm, &mut self.features);
    }

    /// Adds silence until there are `frames` feature frames in all.
    pub(crate) fn pad(&mut self, frames: usize) {
        self.bank.pad(frames, &mut self.features);
    }

    /// Samples taken in.
    pub(crate) fn samples(&self) -> usize {
        self.axis.samples()
    }

    /// Whether it lasts as long as an utterance may.
    pub(crate) fn lasts(&self, longest: Span) -> bool {
        self.samples() >= RATE.samples(longest)
    }

    /// Whether anything in it is loud enough for words.
    pub(crate) fn loud(&self) -> bool {
        self.loud
    }

    /// The words of tokens so far, where they are others than were told last.
    pub(crate) fn interim(&mut self, tokens: &Tokens, heard: &[Heard]) -> Option<Hypothesis> {
        let words = tokens.spell(heard);
        let text = join(words.iter().map(|w| w.text.as_str()));
        if text == self.told || text.is_empty() {
            return None;
        }
        self.revision += 1;
        self.told.clone_from(&text);
        Some(Hypothesis { revision: self.revision, text, start: self.axis.start() })
    }

    /// All its words; `stride` feature frames make one output frame.
    pub(crate) fn utterance(&self, tokens: &Tokens, heard: &[Heard], stride: usize) -> Option<Utterance> {
        utterance(tokens, heard, stride, &self.axis)
    }
}
