//! What an agent of one service is helped with.

use antiphon_engine_knowledge::Filter;
use antiphon_engine_measure::Role;
use antiphon_media_frame::Span;
use serde::Deserialize;

use crate::condition::{Condition, Reader, Written};
use crate::file::{FileError, Time, names, parse, wrong};

/// A script, dispositions, and when knowledge is suggested: read from YAML, see `docs/ASSIST.md`.
#[derive(Clone, Debug)]
pub struct Book {
    pub(crate) id: String,
    pub(crate) suggest: Suggest,
    pub(crate) script: Vec<Step>,
    pub(crate) dispositions: Vec<Disposition>,
}

/// When knowledge is suggested.
#[derive(Clone, Debug)]
pub(crate) struct Suggest {
    pub(crate) filter: Filter,
    /// At most so many at a time.
    pub(crate) shown: usize,
    /// For how long without being asked for again.
    pub(crate) keep: Span,
    /// Whose words are looked up.
    pub(crate) from: Vec<Role>,
}

/// One step of a script.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) say: String,
    /// `None`: always.
    pub(crate) when: Option<Condition>,
    pub(crate) done: Condition,
}

/// One way in which a call may be filed.
#[derive(Clone, Debug)]
pub(crate) struct Disposition {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) when: Condition,
}

impl Book {
    /// A suggestion has to be this good where the book does not say: a little above what is found for small talk that
    /// happens to share a word.
    pub const THRESHOLD: f32 = 0.45;

    /// Reads a book.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let file: File = parse(text)?;
        names("assist", std::iter::once(file.assist.as_str()))?;
        names("script", file.script.iter().map(|step| step.id.as_str()))?;
        names("dispositions", file.dispositions.iter().map(|one| one.id.as_str()))?;
        let mut reader = Reader::new(false);
        let mut script = Vec::new();
        for (n, step) in file.script.into_iter().enumerate() {
            if step.say.trim().is_empty() {
                return Err(wrong(format_args!("script[{n}].say"), "says nothing"));
            }
            script.push(Step {
                when: step.when.map(|when| reader.read(&format!("script[{n}].when"), when)).transpose()?,
                done: reader.read(&format!("script[{n}].done"), step.done)?,
                id: step.id,
                say: step.say,
            });
        }
        let mut dispositions = Vec::new();
        for (n, one) in file.dispositions.into_iter().enumerate() {
            dispositions.push(Disposition {
                when: reader.read(&format!("dispositions[{n}].when"), one.when)?,
                name: one.name.unwrap_or_else(|| one.id.clone()),
                id: one.id,
            });
        }
        let suggest = file.suggest.unwrap_or_default();
        let threshold = suggest.threshold.unwrap_or(Self::THRESHOLD);
        if !(0.0..=1.0).contains(&threshold) {
            return Err(wrong("suggest.threshold", "from 0 to 1"));
        }
        let shown = suggest.shown.unwrap_or(3);
        if !(1..=10).contains(&shown) {
            return Err(wrong("suggest.shown", "from 1 to 10"));
        }
        Ok(Self {
            id: file.assist,
            suggest: Suggest {
                filter: Filter { language: suggest.language, tags: suggest.tags, floor: threshold },
                shown,
                keep: suggest.keep.map_or(Span::from_secs(120), |keep| keep.0),
                from: suggest.from.unwrap_or_else(|| vec![Role::Customer]),
            },
            script,
            dispositions,
        })
    }

    /// What it is called.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A book without a script: nothing but what its name is.
    #[must_use]
    pub fn empty(id: &str) -> Self {
        let suggest = Suggest {
            filter: Filter { floor: Self::THRESHOLD, ..Filter::default() },
            shown: 3,
            keep: Span::from_secs(120),
            from: vec![Role::Customer],
        };
        Self { id: id.to_owned(), suggest, script: Vec::new(), dispositions: Vec::new() }
    }

    /// Every condition in it.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let steps = self.script.iter().flat_map(|step| step.when.iter().chain([&step.done]));
        steps.chain(self.dispositions.iter().map(|one| &one.when))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    assist: String,
    #[serde(default)]
    suggest: Option<SuggestFile>,
    #[serde(default)]
    script: Vec<StepFile>,
    #[serde(default)]
    dispositions: Vec<DispositionFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuggestFile {
    #[serde(default)]
    threshold: Option<f32>,
    #[serde(default)]
    shown: Option<usize>,
    #[serde(default)]
    keep: Option<Time>,
    #[serde(default)]
    from: Option<Vec<Role>>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    language: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    id: String,
    say: String,
    #[serde(default)]
    when: Option<Written>,
    done: Written,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DispositionFile {
    id: String,
    #[serde(default)]
    name: Option<String>,
    when: Written,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, part) in [
            ("assist: a\nscirpt: []", "scirpt"),
            ("assist: ''", "assist[0].id: 1 to 100"),
            ("assist: a\nscript: [{id: x, say: hi, done: {}}]", "script[0].done: write exactly one"),
            (
                "assist: a\nscript: [{id: x, say: hi, done: {said: [x], hit: y}}]",
                "script[0].done: write exactly one",
            ),
            (
                "assist: a\nscript: [{id: x, say: hi, done: {said: ['?']}}]",
                "script[0].done.said[0]: a phrase without words",
            ),
            ("assist: a\nscript: [{id: x, say: hi, done: {hit: r, by: agent}}]", "`by` goes with `said`"),
            (
                "assist: a\nscript: [{id: x, say: hi, done: {hit: r}}, {id: x, say: hi, done: {hit: r}}]",
                "script[1].id: `x` is there twice",
            ),
            ("assist: a\ndispositions: [{id: x, when: {all: []}}]", "dispositions[0].when.all: 1 to 500"),
            ("assist: a\nsuggest: {threshold: 2}", "suggest.threshold: from 0 to 1"),
            ("assist: a\nsuggest: {keep: soon}", "`soon` is no time"),
            ("assist: a\nsuggest: {from: [boss]}", "boss"),
        ] {
            let error = Book::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let deep = format!(
            "assist: a\ndispositions: [{{id: x, when: {}{{hit: r}}{}}}]",
            "{not: ".repeat(20),
            "}".repeat(20)
        );
        assert!(Book::parse(&deep).is_err());
        assert!(matches!(Book::parse(&"#".repeat(300_000)), Err(FileError::TooLarge { .. })));
    }
}
