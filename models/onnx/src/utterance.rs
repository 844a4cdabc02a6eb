//! Words on the call's clock, made of tokens in output frames.

use antiphon_models_speech::{Axis, Utterance, Word};

use crate::bank::SHIFT;
use crate::tokens::{Heard, Tokens, join};

/// A word whose successor is far away lasts this many output frames beyond its last token's first.
const HOLD: usize = 5;

/// The words of an utterance; `stride` feature frames make one output frame. `None` without words.
pub(crate) fn utterance(tokens: &Tokens, heard: &[Heard], stride: usize, axis: &Axis) -> Option<Utterance> {
    let spelt = tokens.spell(heard);
    let frame = stride * SHIFT;
    // Tokens found in the silence after the last sample belong to it.
    let latest = axis.samples().saturating_sub(frame.min(axis.samples()));
    let mut words = Vec::with_capacity(spelt.len());
    for (n, word) in spelt.iter().enumerate() {
        let start = (word.first * frame).min(latest);
        let held = word.last + HOLD;
        let next = spelt.get(n + 1).map_or(held, |next| next.first.clamp(word.last + 1, held));
        let end = (next * frame).clamp(start + 1, axis.samples().max(start + 1));
        words.push(Word {
            text: word.text.clone(),
            start: axis.at(start),
            end: axis.until(end),
            confidence: word.surety,
        });
    }
    let (start, end) = (words.first()?.start, words.last()?.end);
    let text = join(words.iter().map(|w| w.text.as_str()));
    let confidence = words.iter().map(|w| w.confidence).sum::<f32>() / words.len() as f32;
    Some(Utterance { text, words, start, end, confidence })
}
