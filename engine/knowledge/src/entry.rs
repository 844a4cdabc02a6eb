//! What is found.

use serde::Serialize;

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Source {
    /// The file, relative to the folder, with `/` between its parts.
    pub file: String,
    /// The headings it stands under, the outermost first.
    pub headings: Vec<String>,
    /// The line it begins on, counted from 1.
    pub line: u32,
}

/// A passage that answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The question it answers, or the headings it stands under.
    pub title: String,
    /// The whole of it, as plain text.
    pub text: String,
    /// The part of it that fits best: at most 160 characters.
    pub snippet: String,
    /// Where it stands.
    pub source: Source,
    /// `zh`, `en` or what the file says.
    pub language: String,
    /// Its tags, as the file has them.
    pub tags: Vec<String>,
    /// How well it fits, 0 to 1.
    pub score: f32,
}

/// Which entries may answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Only of this language (`zh`, `en`; of `zh-CN` the part before the hyphen counts); any if `None`.
    pub language: Option<String>,
    /// Only entries that have all of these tags, whatever their case.
    pub tags: Vec<String>,
    /// Answers below this score are left out: 0 to 1. [`Filter::FLOOR`] keeps greetings and small talk unanswered.
    pub floor: f32,
}

impl Filter {
    /// Chosen on the spoken queries of `tests/quality`: above what small talk reaches, below what right answers do.
    pub const FLOOR: f32 = 0.3;
}

impl Default for Filter {
    fn default() -> Self {
        Self { language: None, tags: Vec::new(), floor: Self::FLOOR }
    }
}

/// An entry as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) title: String,
    /// Other ways to ask the same.
    pub(crate) variants: Vec<String>,
    pub(crate) text: String,
    pub(crate) source: Source,
    pub(crate) language: String,
    pub(crate) tags: Vec<String>,
}

/// The language of a text by its script: `zh` where at least a fifth of its letters are Chinese, else `en`.
pub(crate) fn language_of(text: &str) -> String {
    let (mut han, mut other) = (0_usize, 0_usize);
    for c in text.chars().take(2_000).filter(|c| c.is_alphabetic()) {
        if crate::analysis::is_han(c) {
            han += 1;
        } else {
            other += 1;
        }
    }
    if han > 0 && han * 4 >= other { "zh" } else { "en" }.to_owned()
}

/// `zh` of `zh-CN` and `zh_CN`.
pub(crate) fn primary(language: &str) -> String {
    language.split(['-', '_']).next().unwrap_or_default().trim().to_lowercase()
}
