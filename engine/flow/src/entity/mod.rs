//! Values in a sentence: digits, numbers, amounts, dates, yes and no, choices, patterns. English and Chinese.

mod amount;
mod answer;
pub(crate) mod calendar;
mod chinese;
mod date;
mod english;
mod number;

use regex::Regex;
use serde_json::Value;

use crate::text::{join, tokens};
pub(crate) use answer::forms;
use calendar::Date;

/// The grammars there are. A flow in another language is read with the English one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    English,
    Chinese,
}

/// A value and the tokens it was read from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a slot takes.
#[derive(Clone, Debug)]
pub(crate) enum SlotKind {
    /// A string of digits of `min` to `max` figures.
    Digits { min: usize, max: usize },
    /// A number within bounds.
    Number { min: f64, max: f64 },
    /// Money; the currency meant where none is named.
    Amount { currency: String, min: f64, max: f64 },
    /// A day, as `2026-03-05`.
    Date,
    /// True or false.
    YesNo,
    /// One of a list; each value with the tokens of its names.
    Choice(Vec<ChoiceValue>),
    /// A group of a regular expression over the normalised sentence.
    Pattern { pattern: Regex, group: usize },
}

/// One value of a choice.
#[derive(Clone, Debug)]
pub(crate) struct ChoiceValue {
    pub(crate) value: String,
    pub(crate) names: Vec<String>,
    pub(crate) tokens: Vec<Vec<String>>,
}

impl SlotKind {
    /// Reads a value of this kind from the sentence.
    pub(crate) fn find(&self, words: &[String], tongue: Tongue, today: Option<Date>) -> Option<Found<Value>> {
        match self {
            Self::Digits { min, max } => find_digits(words, tongue, *min, *max),
            Self::Number { min, max } => number::numbers(words, tongue)
                .into_iter()
                .find(|number| (*min..=*max).contains(&number.value))
                .map(|number| number.map(number_value)),
            Self::Amount { min, max, .. } => amount::amount(words, tongue)
                .filter(|money| (*min..=*max).contains(&money.value.value))
                .map(|money| money.map(|money| number_value(money.value))),
            Self::Date => {
                date::date(words, tongue, today).map(|date| date.map(|date| date.to_string().into()))
            }
            Self::YesNo => answer::yes_no(words, tongue).map(|answer| answer.map(Value::Bool)),
            Self::Choice(values) => find_choice(words, values),
            Self::Pattern { pattern, group } => find_pattern(words, pattern, *group),
        }
    }

    /// The order in which kinds take their part of a sentence: the most particular first.
    pub(crate) fn precedence(&self) -> u8 {
        match self {
            Self::Pattern { .. } => 0,
            Self::Date => 1,
            Self::Amount { .. } => 2,
            Self::Digits { .. } => 3,
            Self::Number { .. } => 4,
            Self::Choice(_) => 5,
            Self::YesNo => 6,
        }
    }

    /// Whether keys can fill it.
    pub(crate) fn takes_digits(&self) -> bool {
        matches!(self, Self::Digits { .. } | Self::Number { .. } | Self::Amount { .. })
    }

    /// The value of pressed keys.
    pub(crate) fn pressed(&self, keys: &str) -> Option<Value> {
        if keys.is_empty() || !keys.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        match self {
            Self::Digits { min, max } => (*min..=*max).contains(&keys.len()).then(|| keys.into()),
            Self::Number { min, max } | Self::Amount { min, max, .. } => {
                let value = keys.parse::<f64>().ok().filter(|value| (*min..=*max).contains(value))?;
                Some(number_value(value))
            }
            _ => None,
        }
    }
}

impl<T> Found<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        Found { value: change(self.value), start: self.start, end: self.end }
    }
}

/// The currency of the amount in the sentence, where it is named (ISO 4217).
pub(crate) fn money(words: &[String], tongue: Tongue) -> Option<&'static str> {
    amount::amount(words, tongue)?.value.currency
}

/// All digits in the sentence, in order.
pub(crate) fn all_digits(words: &[String], tongue: Tongue) -> String {
    number::digit_strings(words, tongue).into_iter().map(|found| found.value).collect()
}

/// A JSON number, whole where it can be.
pub(crate) fn number_value(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { Value::from(value as i64) } else { Value::from(value) }
}

fn find_digits(words: &[String], tongue: Tongue, min: usize, max: usize) -> Option<Found<Value>> {
    let strings = number::digit_strings(words, tongue);
    let fits = |digits: &str| (min..=max).contains(&digits.len());
    if let Some(found) = strings.iter().find(|found| fits(&found.value)) {
        return Some(found.clone().map(Value::from));
    }
    // People pause, and say a word in between.
    let all: String = strings.iter().map(|found| found.value.as_str()).collect();
    let (first, last) = (strings.first()?, strings.last()?);
    fits(&all).then(|| Found { value: all.into(), start: first.start, end: last.end })
}

fn find_choice(words: &[String], values: &[ChoiceValue]) -> Option<Found<Value>> {
    let mut best: Option<(usize, Found<Value>)> = None;
    for value in values {
        for name in value.tokens.iter().filter(|name| !name.is_empty() && name.len() <= words.len()) {
            let Some(start) = words.windows(name.len()).position(|window| window == name.as_slice()) else {
                continue;
            };
            if best.as_ref().is_none_or(|(length, _)| name.len() > *length) {
                let found = Found { value: value.value.clone().into(), start, end: start + name.len() };
                best = Some((name.len(), found));
            }
        }
    }
    best.map(|(_, found)| found)
}

fn find_pattern(words: &[String], pattern: &Regex, group: usize) -> Option<Found<Value>> {
    let text = join(words);
    let found = pattern.captures(&text)?.get(group)?;
    let start = tokens(&text[..found.start()]).len().min(words.len());
    let end = (start + tokens(found.as_str()).len()).min(words.len());
    Some(Found { value: found.as_str().into(), start, end })
}

#[cfg(test)]
mod tests;
