//! One pass over a turn for all phrases of a scorecard.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

use crate::model::{Condition, Kind, Term};
use crate::said::Said;

/// All phrases of a scorecard, compiled together.
pub(crate) struct Patterns {
    automaton: Option<AhoCorasick>,
}

/// A turn and the phrases in it.
pub(crate) struct Scanned {
    pub(crate) said: Said,
    /// Pattern, first token, token after the last; in order.
    found: Vec<(usize, usize, usize)>,
}

impl Patterns {
    /// Numbers the phrases of the conditions and compiles them.
    pub(crate) fn new(conditions: &mut [Condition]) -> Result<Self, BuildError> {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut written: Vec<String> = Vec::new();
        let mut number = |term: &mut Term| {
            let end = if term.open { "" } else { " " };
            let pattern = format!(" {}{end}", term.tokens.join(" "));
            term.pattern = *numbers.entry(pattern.clone()).or_insert_with(|| {
                written.push(pattern);
                written.len() - 1
            });
        };
        for condition in conditions {
            match &mut condition.kind {
                Kind::Phrase(terms) => terms.iter_mut().for_each(&mut number),
                Kind::Near { terms, .. } => terms.iter_mut().flatten().for_each(&mut number),
                _ => {}
            }
        }
        if written.is_empty() {
            return Ok(Self { automaton: None });
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&written)?;
        Ok(Self { automaton: Some(automaton) })
    }

    pub(crate) fn scan(&self, text: &str) -> Scanned {
        let said = Said::new(text);
        let mut found = Vec::new();
        if let Some(automaton) = &self.automaton {
            for hit in automaton.find_overlapping_iter(&said.spaced) {
                // A pattern begins with the space before its first token.
                let first = said.starts.partition_point(|start| *start <= hit.start());
                let end = said.starts.partition_point(|start| *start < hit.end());
                found.push((hit.pattern().as_usize(), first, end));
            }
            found.sort_unstable();
        }
        Scanned { said, found }
    }
}

impl Scanned {
    /// Where a phrase stands.
    pub(crate) fn places(&self, term: &Term) -> impl Iterator<Item = Range<usize>> + '_ {
        let pattern = term.pattern;
        let from = self.found.partition_point(|(number, ..)| *number < pattern);
        self.found[from..]
            .iter()
            .take_while(move |(number, ..)| *number == pattern)
            .map(|(_, start, end)| *start..*end)
    }

    /// Whether no phrase stands in it.
    pub(crate) const fn is_blank(&self) -> bool {
        self.found.is_empty()
    }
}
