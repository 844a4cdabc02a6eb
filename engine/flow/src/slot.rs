//! The understanding of values for programs that bring their own dialogue.

use antiphon_models_speech::Language;
use serde_json::Value;

use crate::entity::calendar::Date;
use crate::entity::{SlotKind, Tongue, forms, money};
use crate::session::samples;
use crate::text::tokens;

/// A kind of value that people say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A string of digits of `min` to `max` figures.
    Digits {
        /// The fewest.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A number.
    Number,
    /// Money.
    Amount,
    /// A day, as `2026-03-05`.
    Date,
    /// Yes or no.
    YesNo,
}

/// A value that was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The value: a string, a number, true or false.
    pub value: Value,
    /// The currency of an amount, where it was named (ISO 4217).
    pub currency: Option<&'static str>,
    /// The words beside those it was read from.
    pub rest: Vec<String>,
    /// The words it was read from: indices into [`tokens_at`](crate::tokens_at) of what was said.
    pub at: std::ops::Range<usize>,
}

impl Slot {
    /// Reads a value from what was said, in Chinese or else in English. Relative dates need `today` as `2026-11-22`.
    #[must_use]
    pub fn read(self, said: &str, language: &Language, today: Option<&str>) -> Option<Reading> {
        let (words, tongue) = (tokens(said), tongue(language));
        let today = today.and_then(Date::parse);
        let found = self.kind().find(&words, tongue, today)?;
        let currency = if self == Self::Amount { money(&words, tongue) } else { None };
        let (before, after) = (&words[..found.start], &words[found.end..]);
        Some(Reading {
            value: found.value,
            currency,
            rest: [before, after].concat(),
            at: found.start..found.end,
        })
    }

    /// A few things that people say for it, so that a recogniser knows the words.
    #[must_use]
    pub fn samples(self, language: &Language) -> Vec<String> {
        let tongue = tongue(language);
        if self == Self::YesNo { forms(tongue) } else { samples(&self.kind(), tongue) }
    }

    fn kind(self) -> SlotKind {
        let (min, max) = (f64::NEG_INFINITY, f64::INFINITY);
        match self {
            Self::Digits { min, max } => SlotKind::Digits { min, max },
            Self::Number => SlotKind::Number { min, max },
            Self::Amount => SlotKind::Amount { currency: String::new(), min, max },
            Self::Date => SlotKind::Date,
            Self::YesNo => SlotKind::YesNo,
        }
    }
}

fn tongue(language: &Language) -> Tongue {
    match language.primary().as_str() {
        "zh" | "yue" | "cmn" => Tongue::Chinese,
        _ => Tongue::English,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(slot: Slot, said: &str, tag: &str) -> Option<Reading> {
        slot.read(said, &Language::parse(tag).expect("a tag"), Some("2026-11-22"))
    }

    #[test]
    fn values_are_read_without_a_flow() {
        let digits = Slot::Digits { min: 4, max: 6 };
        let value = |slot, said, tag| read(slot, said, tag).map(|reading| reading.value);
        assert_eq!(value(digits, "four two double seven", "en"), Some("4277".into()));
        assert_eq!(value(digits, "四二七七", "zh"), Some("4277".into()));
        assert_eq!(value(digits, "one", "en"), None);
        assert_eq!(value(Slot::YesNo, "不是", "zh-CN"), Some(false.into()));
        assert_eq!(value(Slot::Date, "tomorrow", "en-US"), Some("2026-11-23".into()));
        let amount = read(Slot::Amount, "um twenty five dollars", "en").expect("an amount");
        assert_eq!((amount.value, amount.currency), (25.into(), Some("USD")));
        assert_eq!(amount.rest, ["um"]);
    }
}
