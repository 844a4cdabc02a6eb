//! Reading YAML within bounds.

use std::fmt;

use antiphon_media_frame::Span;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// Octets of a book or a persona.
const LARGEST: usize = 256 << 10;
/// Entries of one list.
pub(crate) const MOST: usize = 500;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is too long.
    #[error("{bytes} bytes, at most {LARGEST} are read")]
    TooLarge {
        /// What it has.
        bytes: usize,
    },
    /// It is no YAML, or not of this shape; the text says where.
    #[error("{0}")]
    Shape(String),
    /// A value that cannot be.
    #[error("{at}: {what}")]
    Value {
        /// Where, as a path of keys: `script[2].done`.
        at: String,
        /// What is wrong and what is wanted.
        what: String,
    },
}

pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, FileError> {
    if text.len() > LARGEST {
        return Err(FileError::TooLarge { bytes: text.len() });
    }
    serde_saphyr::from_str(text).map_err(|error| FileError::Shape(error.to_string()))
}

pub(crate) fn wrong(at: impl fmt::Display, what: impl Into<String>) -> FileError {
    FileError::Value { at: at.to_string(), what: what.into() }
}

/// Names that are used once, in a list that is not too long.
pub(crate) fn names<'a>(list: &str, ids: impl Iterator<Item = &'a str>) -> Result<(), FileError> {
    let mut seen = std::collections::HashSet::new();
    for (n, id) in ids.enumerate() {
        if n == MOST {
            return Err(wrong(list, format!("at most {MOST}")));
        }
        if id.trim().is_empty() || id.len() > 100 {
            return Err(wrong(format_args!("{list}[{n}].id"), "1 to 100 characters"));
        }
        if !seen.insert(id) {
            return Err(wrong(format_args!("{list}[{n}].id"), format!("`{id}` is there twice")));
        }
    }
    Ok(())
}

/// `500ms`, `8s`, `2m`, up to an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Span);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text.trim()[digits.len()..] {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            _ => None,
        };
        unit.zip(digits.parse::<u64>().ok())
            .and_then(|(unit, count)| count.checked_mul(unit))
            .filter(|millis| *millis <= 3_600_000)
            .map(|millis| Self(Span::from_millis(millis)))
            .ok_or_else(|| {
                serde::de::Error::custom(format!("`{text}` is no time up to an hour such as 500ms, 8s or 2m"))
            })
    }
}
