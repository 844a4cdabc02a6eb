//! What the recogniser is told to expect at a question.

use antiphon_engine_call::Effect;
use antiphon_models_speech::Hints;

use super::Session;
use crate::entity::{SlotKind, Tongue, forms};
use crate::model::Ask;
use crate::template::{Part, Style, Template};
use crate::text::{join, tokens};

/// Most names of one choice that an example is spelt out with.
const MOST_SPELT: usize = 8;

impl Session {
    /// Tells the recogniser what may be said now, if that has changed.
    pub(super) fn listen(&mut self, ask: &Ask, confirming: bool) {
        let source = &self.flow.source;
        let mut phrases = Vec::new();
        let kind = ask.slot.as_ref().and_then(|target| source.slots.get(&target.slot)).map(|slot| &slot.kind);
        if confirming || matches!(kind, Some(SlotKind::YesNo)) {
            phrases.extend(forms(source.tongue));
        }
        if let Some(SlotKind::Choice(values)) = kind {
            phrases.extend(values.iter().flat_map(|value| value.names.iter().cloned()));
        }
        let mut digits = kind.is_some_and(|kind| matches!(kind, SlotKind::Digits { .. }));
        phrases.extend(kind.map(|kind| samples(kind, source.tongue)).unwrap_or_default());
        for (intent, _) in self.routes(ask) {
            let intent = &source.intents[intent];
            for example in &intent.examples {
                phrases.extend(self.spelt_out(example));
            }
            phrases.extend(intent.keywords.iter().map(|words| join(words)));
            digits |=
                intent.slots.iter().any(|slot| matches!(source.slots[slot].kind, SlotKind::Digits { .. }));
        }
        let mut seen = std::collections::HashSet::new();
        phrases.retain(|phrase| !phrase.is_empty() && seen.insert(phrase.clone()));
        phrases.truncate(Hints::LIMIT);
        let hints = Hints { phrases, digits, closed: false };
        let wanted = Some((hints, ask.endpoint));
        if self.listening != wanted
            && let Some((hints, endpoint)) = wanted.clone()
        {
            self.listening = wanted;
            let language = source.language.clone();
            self.effects.push_back(Effect::Listen { hints, language, endpoint });
        }
    }

    /// An example with its slots replaced by things people say for them.
    fn spelt_out(&self, example: &str) -> Vec<String> {
        let source = &self.flow.source;
        let Ok(template) = Template::parse(example, None) else { return Vec::new() };
        let mut texts = vec![String::new()];
        for part in &template.parts {
            let fillings = match part {
                Part::Text(text) => vec![text.clone()],
                Part::Variable { name, style: Style::Spoken } => {
                    match source.slots.get(name).map(|slot| &slot.kind) {
                        Some(SlotKind::Choice(values)) => values
                            .iter()
                            .flat_map(|value| value.names.iter().cloned())
                            .take(MOST_SPELT)
                            .collect(),
                        Some(kind) => samples(kind, source.tongue),
                        None => Vec::new(),
                    }
                }
                _ => Vec::new(),
            };
            if fillings.is_empty() {
                continue;
            }
            texts = texts
                .iter()
                .flat_map(|text| fillings.iter().map(move |filling| format!("{text}{filling}")))
                .take(MOST_SPELT * MOST_SPELT)
                .collect();
        }
        texts.iter().map(|text| join(&tokens(text))).collect()
    }
}

/// A few things people say for a slot, so that a recogniser knows the words.
pub(crate) fn samples(kind: &SlotKind, tongue: Tongue) -> Vec<String> {
    let list: &[&str] = match (kind, tongue) {
        (SlotKind::Amount { .. } | SlotKind::Number { .. }, Tongue::English) => &[
            "fifty dollars",
            "one hundred dollars",
            "two hundred dollars",
            "two hundred and fifty dollars",
            "three hundred and twenty dollars",
            "five hundred dollars",
            "one thousand dollars",
            "twelve hundred dollars",
        ],
        (SlotKind::Amount { .. } | SlotKind::Number { .. }, Tongue::Chinese) => {
            &["五十块", "一百元", "两百五十块", "五百块钱", "一千元", "三千五", "两万元", "一万五"]
        }
        (SlotKind::Date, Tongue::English) => &[
            "today",
            "tomorrow",
            "the day after tomorrow",
            "on monday",
            "next tuesday",
            "this wednesday",
            "next friday",
            "on the fifth of march",
        ],
        (SlotKind::Date, Tongue::Chinese) => {
            &["今天", "明天", "后天", "周五", "下周一", "下周三", "三月五号", "下个月五号"]
        }
        _ => &[],
    };
    list.iter().map(|sample| (*sample).to_owned()).collect()
}
