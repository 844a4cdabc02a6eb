//! What has to be the case: said, found by a rule, known.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_engine_measure::Role;
use serde::Deserialize;

use crate::file::{FileError, MOST, wrong};
use crate::words::Phrase;

/// Conditions within conditions.
const DEEPEST: usize = 8;
/// What is known of a call, by name: more is not kept.
const MOST_KNOWN: usize = 1_000;

/// A condition as it is written: exactly one of `said`, `hit`, `kept`, `slot`, `all`, `any`, `not`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    #[serde(default)]
    said: Option<Vec<String>>,
    #[serde(default)]
    by: Option<Role>,
    #[serde(default)]
    hit: Option<String>,
    #[serde(default)]
    kept: Option<String>,
    #[serde(default)]
    slot: Option<String>,
    #[serde(default)]
    is: Option<String>,
    #[serde(default)]
    all: Option<Vec<Written>>,
    #[serde(default)]
    any: Option<Vec<Written>>,
    #[serde(default)]
    not: Option<Box<Written>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// One of these was said. `mark` is its place among all such of a file.
    Said {
        phrases: Vec<Phrase>,
        by: Option<Role>,
        mark: usize,
    },
    /// That rule found something.
    Hit(String),
    /// What that rule asks for was done.
    Kept(String),
    Slot {
        name: String,
        is: Option<String>,
    },
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

/// Reads the conditions of a file and counts what may be said.
#[derive(Debug)]
pub(crate) struct Reader {
    marks: usize,
    /// Whether there are rules and slots to ask for.
    words_only: bool,
}

impl Reader {
    pub(crate) fn new(words_only: bool) -> Self {
        Self { marks: 0, words_only }
    }

    pub(crate) fn read(&mut self, at: &str, written: Written) -> Result<Condition, FileError> {
        self.descend(at, written, 0)
    }

    fn descend(&mut self, at: &str, written: Written, depth: usize) -> Result<Condition, FileError> {
        if depth > DEEPEST {
            return Err(wrong(at, format!("more than {DEEPEST} conditions within each other")));
        }
        if written.by.is_some() && written.said.is_none() {
            return Err(wrong(at, "`by` goes with `said`"));
        }
        if written.is.is_some() && written.slot.is_none() {
            return Err(wrong(at, "`is` goes with `slot`"));
        }
        let more = [&written.hit, &written.kept, &written.slot].into_iter().any(Option::is_some);
        if self.words_only && (more || written.by.is_some()) {
            return Err(wrong(
                at,
                "a partner hears the trainee and nothing else: `said`, `all`, `any` and `not` can be asked",
            ));
        }
        let Written { said, by, hit, kept, slot, is, all, any, not } = written;
        let mut found = Vec::new();
        if let Some(said) = said {
            found.push(self.said(at, &said, by)?);
        }
        found.extend(hit.map(Condition::Hit));
        found.extend(kept.map(Condition::Kept));
        found.extend(slot.map(|name| Condition::Slot { name, is }));
        if let Some(all) = all {
            found.push(Condition::All(self.list(&format!("{at}.all"), all, depth)?));
        }
        if let Some(any) = any {
            found.push(Condition::Any(self.list(&format!("{at}.any"), any, depth)?));
        }
        if let Some(not) = not {
            found.push(Condition::Not(Box::new(self.descend(&format!("{at}.not"), *not, depth + 1)?)));
        }
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(wrong(at, "write exactly one of `said`, `hit`, `kept`, `slot`, `all`, `any` and `not`")),
        }
    }

    fn said(&mut self, at: &str, said: &[String], by: Option<Role>) -> Result<Condition, FileError> {
        if said.is_empty() || said.len() > MOST {
            return Err(wrong(format_args!("{at}.said"), format!("1 to {MOST} phrases")));
        }
        let phrases = said.iter().enumerate().map(|(n, text)| {
            Phrase::parse(text).ok_or_else(|| wrong(format_args!("{at}.said[{n}]"), "a phrase without words"))
        });
        let phrases = phrases.collect::<Result<_, _>>()?;
        self.marks += 1;
        Ok(Condition::Said { phrases, by, mark: self.marks - 1 })
    }

    fn list(&mut self, at: &str, list: Vec<Written>, depth: usize) -> Result<Vec<Condition>, FileError> {
        if list.is_empty() || list.len() > MOST {
            return Err(wrong(at, format!("1 to {MOST} conditions")));
        }
        list.into_iter()
            .enumerate()
            .map(|(n, one)| self.descend(&format!("{at}[{n}]"), one, depth + 1))
            .collect()
    }
}

/// What is known of a call by now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    said: BTreeSet<usize>,
    hit: BTreeSet<String>,
    kept: BTreeSet<String>,
    slots: BTreeMap<String, String>,
}

impl Known {
    pub(crate) fn hit(&mut self, rule: &str) {
        if self.hit.len() < MOST_KNOWN {
            self.hit.insert(rule.to_owned());
        }
    }

    pub(crate) fn kept(&mut self, rule: &str) {
        if self.kept.len() < MOST_KNOWN {
            self.kept.insert(rule.to_owned());
        }
    }

    /// Whether that is news.
    pub(crate) fn slot(&mut self, name: &str, value: &str) -> bool {
        let room = self.slots.len() < MOST_KNOWN || self.slots.contains_key(name);
        room && self.slots.insert(name.to_owned(), value.to_owned()).is_none_or(|before| before != value)
    }
}

impl Condition {
    /// Marks what was said now.
    pub(crate) fn hear(&self, who: Role, said: &[String], known: &mut Known) {
        match self {
            Self::Said { phrases, by, mark } => {
                let asked = by.is_none_or(|by| by == who) && !known.said.contains(mark);
                if asked && phrases.iter().any(|phrase| phrase.is_in(said)) {
                    known.said.insert(*mark);
                }
            }
            Self::All(all) | Self::Any(all) => all.iter().for_each(|one| one.hear(who, said, known)),
            Self::Not(not) => not.hear(who, said, known),
            Self::Hit(_) | Self::Kept(_) | Self::Slot { .. } => {}
        }
    }

    pub(crate) fn holds(&self, known: &Known) -> bool {
        match self {
            Self::Said { mark, .. } => known.said.contains(mark),
            Self::Hit(rule) => known.hit.contains(rule),
            Self::Kept(rule) => known.kept.contains(rule),
            Self::Slot { name, is } => known
                .slots
                .get(name)
                .is_some_and(|value| is.as_ref().is_none_or(|is| is.to_lowercase() == value.to_lowercase())),
            Self::All(all) => all.iter().all(|one| one.holds(known)),
            Self::Any(any) => any.iter().any(|one| one.holds(known)),
            Self::Not(not) => !not.holds(known),
        }
    }
}
