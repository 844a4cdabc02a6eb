//! Built-in grammars, by their addresses (VoiceXML 2.0 appendix P), read by the dialogue's own understanding of values.

use antiphon_engine_flow::{Reading, Slot};
use antiphon_models_speech::{Hints, Language};
use antiphon_models_text::{Kind, Normalizer};
use serde_json::Value;

use super::rules::Mode;
use super::{Fit, Meaning};

/// Most figures of a string of digits.
const MOST_DIGITS: usize = 40;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A string of digits.
    Digits,
    /// Yes or no.
    Boolean,
    /// A number.
    Number,
    /// A telephone number.
    Phone,
    /// A day.
    Date,
    /// Money.
    Currency,
    /// A time of the day.
    Time,
}

/// A built-in grammar and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builtin {
    /// Words or keys.
    pub mode: Mode,
    /// What is read.
    pub what: What,
    min: usize,
    max: usize,
    yes: char,
    no: char,
}

impl Builtin {
    /// `builtin:grammar/<what>` or `builtin:speech/<what>` for words, `builtin:dtmf/<what>` for keys; then `minlength`,
    /// `maxlength` and `length` of digits, `y` and `n` of boolean, apart by `;` or `&`.
    pub(super) fn parse(uri: &str) -> Option<Self> {
        let path = uri.trim().strip_prefix("builtin:")?;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (kind, name) = path.split_once('/')?;
        let mode = match kind {
            "grammar" | "speech" => Mode::Voice,
            "dtmf" => Mode::Dtmf,
            _ => return None,
        };
        let what = match name {
            "digits" => What::Digits,
            "boolean" => What::Boolean,
            "number" => What::Number,
            "phone" => What::Phone,
            "date" => What::Date,
            "currency" => What::Currency,
            "time" => What::Time,
            _ => return None,
        };
        let (min, max) = if what == What::Phone { (3, 20) } else { (1, MOST_DIGITS) };
        let mut builtin = Self { mode, what, min, max, yes: '1', no: '2' };
        for parameter in query.split([';', '&']).filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=')?;
            let length = value.parse::<usize>().ok().filter(|length| (1..=MOST_DIGITS).contains(length));
            let key = value.chars().next().filter(|key| value.len() == 1 && key.is_ascii_digit());
            match (what, name) {
                (What::Digits, "length") => (builtin.min, builtin.max) = (length?, length?),
                (What::Digits, "minlength") => builtin.min = length?,
                (What::Digits, "maxlength") => builtin.max = length?,
                (What::Boolean, "y") => builtin.yes = key?,
                (What::Boolean, "n") => builtin.no = key?,
                _ => return None,
            }
        }
        (builtin.min <= builtin.max && builtin.yes != builtin.no).then_some(builtin)
    }

    pub(super) fn hints(&self, language: &Language) -> Hints {
        if self.mode == Mode::Dtmf {
            return Hints::default();
        }
        let phrases = self.slot().map(|slot| slot.samples(language)).unwrap_or_default();
        match self.what {
            What::Digits | What::Phone => Hints { phrases: Vec::new(), digits: true, closed: true },
            What::Boolean => Hints { phrases, digits: false, closed: false },
            _ => Hints { phrases, digits: true, closed: false },
        }
    }

    pub(super) fn fit_words(&self, said: &str, language: &Language, today: Option<&str>) -> Fit {
        let value = match self.slot() {
            Some(slot) => {
                let Some(reading) = slot.read(said, language, today) else {
                    return self.begun(said, language);
                };
                // Words beside it mean that it was not all that was said; yes and no are said in many words.
                let polite = |word: &String| POLITE.contains(&word.as_str());
                let beside = reading.rest.iter().filter(|word| !polite(word)).count();
                if beside > 0 && (self.what != What::Boolean || beside > 4) {
                    return Fit::No;
                }
                self.written(reading)
            }
            None => time(said, language).map(Value::String),
        };
        let Some(value) = value else { return Fit::No };
        let more = match (&value, self.what) {
            (Value::String(digits), What::Digits | What::Phone) => digits.len() < self.max,
            _ => false,
        };
        Fit::Whole { meaning: Meaning { value, input: said.to_owned() }, more }
    }

    /// Too few digits are the beginning of more.
    fn begun(&self, said: &str, language: &Language) -> Fit {
        let few = Slot::Digits { min: 1, max: self.min.saturating_sub(1) };
        let digits = matches!(self.what, What::Digits | What::Phone);
        if digits && self.min > 1 && few.read(said, language, None).is_some() { Fit::Begun } else { Fit::No }
    }

    fn slot(&self) -> Option<Slot> {
        Some(match self.what {
            What::Digits | What::Phone => Slot::Digits { min: self.min, max: self.max },
            What::Boolean => Slot::YesNo,
            What::Number => Slot::Number,
            What::Date => Slot::Date,
            What::Currency => Slot::Amount,
            What::Time => return None,
        })
    }

    /// A value as VoiceXML wants it.
    fn written(&self, reading: Reading) -> Option<Value> {
        let value = match self.what {
            What::Date => reading.value.as_str()?.replace('-', ""),
            What::Currency => {
                format!("{}{:.2}", reading.currency.unwrap_or_default(), reading.value.as_f64()?)
            }
            _ => match reading.value {
                Value::String(text) => text,
                other => other.to_string(),
            },
        };
        Some(Value::String(value))
    }

    pub(super) fn fit_keys(&self, keys: &str) -> Fit {
        if keys.is_empty() || keys.len() > MOST_DIGITS {
            return Fit::No;
        }
        let whole = |value: String, more: bool| Fit::Whole {
            meaning: Meaning { value: Value::String(value), input: keys.to_owned() },
            more,
        };
        let digits = keys.bytes().all(|key| key.is_ascii_digit());
        // A star is a point.
        let decimal = || {
            let number = keys.replacen('*', ".", 1);
            number.parse::<f64>().is_ok_and(f64::is_finite).then_some(number)
        };
        match self.what {
            What::Digits if digits && keys.len() < self.min => Fit::Begun,
            What::Digits if digits && keys.len() <= self.max => whole(keys.to_owned(), keys.len() < self.max),
            What::Boolean if keys == self.yes.to_string() => whole("true".to_owned(), false),
            What::Boolean if keys == self.no.to_string() => whole("false".to_owned(), false),
            What::Number => match decimal() {
                Some(number) if !number.ends_with('.') => whole(number, true),
                Some(_) => Fit::Begun,
                None => {
                    if keys == "*" {
                        Fit::Begun
                    } else {
                        Fit::No
                    }
                }
            },
            What::Currency => match decimal() {
                Some(number) if !number.ends_with('.') => {
                    number.parse().map_or(Fit::No, |value: f64| whole(format!("{value:.2}"), true))
                }
                Some(_) => Fit::Begun,
                None => {
                    if keys == "*" {
                        Fit::Begun
                    } else {
                        Fit::No
                    }
                }
            },
            // A star stands before the extension.
            What::Phone => {
                let mut parts = keys.splitn(2, '*');
                let (number, extension) = (parts.next().unwrap_or_default(), parts.next());
                let figures = |text: &str| text.bytes().all(|key| key.is_ascii_digit());
                match extension {
                    _ if !figures(number) || !extension.is_none_or(figures) => Fit::No,
                    None if number.len() < self.min => Fit::Begun,
                    Some("") => Fit::Begun,
                    None => whole(number.to_owned(), true),
                    Some(extension) => whole(format!("{number}x{extension}"), true),
                }
            }
            What::Date if digits && keys.len() < 8 => Fit::Begun,
            What::Date if digits && keys.len() == 8 => {
                let day = format!("{}-{}-{}", &keys[..4], &keys[4..6], &keys[6..]);
                match Slot::Date.read(&day, &Language::english(), None) {
                    Some(_) => whole(keys.to_owned(), false),
                    None => Fit::No,
                }
            }
            What::Time if digits && keys.len() < 4 => Fit::Begun,
            What::Time if digits && keys.len() == 4 => {
                let valid = clock(&keys[..2], &keys[2..]);
                valid.map_or(Fit::No, |(hour, minute)| {
                    whole(format!("{hour:02}{minute:02}{}", if hour > 12 { 'h' } else { '?' }), false)
                })
            }
            _ => Fit::No,
        }
    }
}

/// Words that say nothing beside a value.
const POLITE: &[&str] = &[
    "please", "um", "uh", "er", "well", "the", "it", "is", "that", "my", "number", "on", "for", "to", "of",
    "a", "so", "thanks", "thank", "you", "就", "是", "的", "嗯", "啊", "呃", "请", "我", "要", "吧", "呢",
    "在", "谢",
];

/// A time of the day as `hhmm` and `a`, `p`, `h` (of 24 hours) or `?`.
fn time(said: &str, language: &Language) -> Option<String> {
    let normalizer = Normalizer::new(language);
    let chinese = language.primary() == "zh";
    let words: Vec<String> = if chinese {
        said.chars().filter(|c| c.is_alphanumeric()).map(String::from).collect()
    } else {
        said.split_whitespace().map(str::to_lowercase).collect()
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let pieces = normalizer.pieces(&words);
    let piece = pieces.iter().find(|piece| piece.kind == Kind::Time)?;
    let text = piece.text.to_lowercase();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let (hour, minute) = clock(numbers.next()?, numbers.next().unwrap_or("0"))?;
    let around = format!("{} {text}", words.join(if chinese { "" } else { " " }));
    let says = |parts: &[&str]| parts.iter().any(|part| around.contains(part));
    let half = if hour > 12 || hour == 0 {
        'h'
    } else if says(&["a.m", " am", "morning", "上午", "早上", "凌晨"]) {
        'a'
    } else if says(&["p.m", " pm", "afternoon", "evening", "at night", "下午", "晚上", "中午"]) {
        'p'
    } else {
        '?'
    };
    Some(format!("{hour:02}{minute:02}{half}"))
}

fn clock(hour: &str, minute: &str) -> Option<(u32, u32)> {
    let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some((hour, minute))
}
