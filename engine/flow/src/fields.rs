//! The keys of a map, read with every problem reported where it stands.

use std::time::Duration;

use antiphon_engine_call::Span;

use crate::problem::{Problems, nearest};
use crate::yaml::{Entry, Node, Place, Value};

/// The entries of a map whose keys have been checked.
pub struct Fields<'a> {
    pub(crate) at: Place,
    pub(crate) entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// Reports keys that are not among `allowed`; `None` where the node is no map.
    pub fn read(problems: &mut Problems, node: &'a Node, what: &str, allowed: &[&str]) -> Option<Self> {
        let entries = entries(problems, node, what)?;
        for entry in entries.iter().filter(|entry| !allowed.contains(&entry.key.as_str())) {
            let meant = nearest(&entry.key, allowed.iter().copied());
            problems.error_meant(entry.at, format!("unknown key `{}` in {what}", entry.key), meant);
        }
        Some(Self { at: node.at, entries })
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The text under a key, if the key is there; anything else is reported.
    pub fn text(&self, problems: &mut Problems, key: &str) -> Option<String> {
        let node = self.get(key)?;
        let found = text(node).filter(|text| !text.trim().is_empty());
        if found.is_none() {
            problems.error(node.at, format!("`{key}` wants a text, found {}", node.kind()));
        }
        found.map(str::to_owned)
    }

    /// The number under a key, from `low` to `high`.
    pub fn number(&self, problems: &mut Problems, key: &str, low: f64, high: f64) -> Option<f64> {
        let node = self.get(key)?;
        let found = text(node).and_then(|text| text.parse::<f64>().ok()).filter(|n| (low..=high).contains(n));
        if found.is_none() {
            problems.error(node.at, format!("`{key}` wants a number from {low} to {high}"));
        }
        found
    }

    /// The whole number under a key, from `low` to `high`.
    pub fn count(&self, problems: &mut Problems, key: &str, low: u32, high: u32) -> Option<u32> {
        let number = self.number(problems, key, f64::from(low), f64::from(high))?;
        if number.fract() != 0.0 {
            problems.error(self.get(key)?.at, format!("`{key}` wants a whole number"));
            return None;
        }
        Some(number as u32)
    }

    /// The truth value under a key.
    pub fn flag(&self, problems: &mut Problems, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        match text(node) {
            Some("true" | "yes") => Some(true),
            Some("false" | "no") => Some(false),
            _ => {
                problems.error(node.at, format!("`{key}` wants `true` or `false`"));
                None
            }
        }
    }

    /// The time under a key, from `low` to `high`.
    pub fn duration(
        &self,
        problems: &mut Problems,
        key: &str,
        low: Duration,
        high: Duration,
    ) -> Option<Duration> {
        let node = self.get(key)?;
        let found = text(node).and_then(duration);
        match found {
            Some(duration) if (low..=high).contains(&duration) => return Some(duration),
            Some(_) => problems.error(node.at, format!("`{key}` wants a time from {low:?} to {high:?}")),
            None => problems.error(node.at, format!("`{key}` wants a time such as `700ms` or `5s`")),
        }
        None
    }

    pub(crate) fn span(&self, problems: &mut Problems, key: &str) -> Option<Span> {
        self.duration(problems, key, Duration::from_millis(100), Duration::from_secs(120)).map(Span::from)
    }
}

/// The entries of a map; none for an empty node; `None`, reported, for anything else.
pub fn entries<'a>(problems: &mut Problems, node: &'a Node, what: &str) -> Option<&'a [Entry]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        _ if node.is_null() => Some(&[]),
        _ => {
            problems.error(node.at, format!("`{what}` wants a map, found {}", node.kind()));
            None
        }
    }
}

/// The items of a list; a single value counts as a list of one.
#[must_use]
pub fn items(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ if node.is_null() => &[],
        _ => std::slice::from_ref(node),
    }
}

/// The text of a single value that is not null.
#[must_use]
pub fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } if !node.is_null() => Some(text),
        _ => None,
    }
}

/// Where in the file the character `offset` of a text stands; as near as can be said for texts of several lines.
#[must_use]
pub fn within(node: &Node, offset: usize) -> Place {
    match &node.value {
        Value::Scalar { plain: true, text } if !text.contains('\n') => {
            Place { line: node.at.line, column: node.at.column + offset }
        }
        Value::Scalar { text, .. } if !text.contains('\n') => {
            Place { line: node.at.line, column: node.at.column + offset + 1 }
        }
        _ => node.at,
    }
}

/// A time such as `700ms`, `5s` or `2m`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..split].parse().ok()?;
    let seconds = match text[split..].trim() {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}
