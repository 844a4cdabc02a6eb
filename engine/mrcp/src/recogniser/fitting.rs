//! Which of the grammars in force what was said or pressed fits.

use std::sync::Arc;

use antiphon_models_speech::{Hints, Language};
use serde_json::Value;

use crate::grammar::{Fit, Grammar, Mode};
use crate::nlsml::Interpretation;

/// A grammar in force.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The address that results name it by.
    pub(super) uri: String,
    pub(super) weight: f32,
    pub(super) grammar: Arc<Grammar>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// It fits, the best first.
    Whole(Vec<Interpretation>),
    /// It is the beginning of something.
    Begun(Vec<Interpretation>),
    /// It fits nothing.
    Nothing,
}

impl Outcome {
    /// Whether it fits and is sure enough.
    pub(super) fn sure(&self, threshold: f32) -> bool {
        matches!(self, Self::Whole(all) if all.iter().any(|one| one.confidence >= threshold))
    }
}

/// What a recogniser should expect: what any of them allows.
pub(super) fn hints(grammars: &[Named], language: &Language) -> Hints {
    let mut all = Hints { phrases: Vec::new(), digits: false, closed: true };
    for named in grammars.iter().filter(|named| named.grammar.mode() == Mode::Voice) {
        let hints = named.grammar.hints(language);
        all.closed &= hints.closed;
        all.digits |= hints.digits;
        all.phrases.extend(hints.phrases);
    }
    let mut seen = std::collections::HashSet::new();
    all.phrases.retain(|phrase| seen.insert(phrase.clone()));
    all.closed &= all.phrases.len() <= Hints::LIMIT;
    all.phrases.truncate(Hints::LIMIT);
    all
}

pub(super) fn takes_keys(grammars: &[Named]) -> bool {
    grammars.iter().any(|named| named.grammar.mode() == Mode::Dtmf)
}

/// What words come to. The confidence is that of the least sure part.
pub(super) fn words(
    grammars: &[Named],
    said: &[(String, f32)],
    language: &Language,
    today: Option<&str>,
) -> Outcome {
    let text = said.iter().map(|(text, _)| text.trim()).collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return Outcome::Nothing;
    }
    let confidence = said.iter().map(|(_, confidence)| *confidence).fold(1.0, f32::min);
    let fits = |grammar: &Grammar| grammar.fit_words(&text, language, today);
    best(grammars, fits, &text, confidence, false).0
}

/// What keys come to, and whether more could follow.
pub(super) fn keys(grammars: &[Named], pressed: &str) -> (Outcome, bool) {
    best(grammars, |grammar| grammar.fit_keys(pressed), pressed, 1.0, true)
}

fn best(
    grammars: &[Named],
    fit: impl Fn(&Grammar) -> Fit,
    input: &str,
    confidence: f32,
    keys: bool,
) -> (Outcome, bool) {
    let (mut whole, mut begun, mut more_follows) = (Vec::new(), Vec::new(), false);
    for named in grammars {
        let interpretation = |value| Interpretation {
            grammar: named.uri.clone(),
            confidence,
            value,
            input: input.to_owned(),
            keys,
        };
        match fit(&named.grammar) {
            Fit::Whole { meaning, more } => {
                more_follows |= more;
                whole.push((named.weight, interpretation(meaning.value)));
            }
            Fit::Begun => {
                more_follows = true;
                begun.push(interpretation(Value::Null));
            }
            Fit::No => {}
        }
    }
    // Stable: of equal weights the first named.
    whole.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let outcome = if !whole.is_empty() {
        Outcome::Whole(whole.into_iter().map(|(_, one)| one).collect())
    } else if !begun.is_empty() {
        Outcome::Begun(begun)
    } else {
        Outcome::Nothing
    };
    (outcome, more_follows)
}
