//! Words on the call's clock, made of tokens in output frames.

use antiphon_models_speech::{Axis, Language, Utterance, Word};

use crate::bank::SHIFT;
use crate::tokens::{Heard, Tokens};

/// A word whose successor is far away lasts this many output frames beyond its last token's first.
const HOLD: usize = 5;

/// The words of an utterance; `stride` feature frames make one output frame. `None` without words. A token such as
/// `<|zh|>` at the beginning tells the language.
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
    let tag = heard.first().and_then(|first| tokens.text(first.token).strip_prefix("<|")?.strip_suffix("|>"));
    Utterance::of(words, tag.and_then(Language::parse))
}

#[cfg(test)]
mod tests {
    use antiphon_media_frame::{AudioBuf, SampleRate};

    use super::*;

    #[test]
    fn the_first_token_tells_the_language() {
        let tokens = Tokens::parse("<blank> 0\n<|zh|> 1\n你 2\n好 3\n").expect("a vocabulary");
        let mut axis = Axis::new(SampleRate::HZ_16000);
        axis.push(&AudioBuf::voice(vec![0; 32_000], SampleRate::HZ_16000).frame());
        let heard = |texts: &[&str]| -> Vec<Heard> {
            let token = |text: &&str| tokens.id(text).expect("known");
            texts
                .iter()
                .map(token)
                .zip(0..)
                .map(|(token, frame)| Heard { token, frame, surety: 1.0 })
                .collect()
        };
        let said = utterance(&tokens, &heard(&["<|zh|>", "你", "好"]), 6, &axis).expect("words");
        assert_eq!((said.text.as_str(), said.language), ("你好", Language::parse("zh")));
        let said = utterance(&tokens, &heard(&["你", "好"]), 6, &axis).expect("words");
        assert_eq!(said.language, None);
    }
}
