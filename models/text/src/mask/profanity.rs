//! Words that are not for every ear: the built-in lists and the user's.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};

use super::scan::{Hit, Scan};
use super::{Category, Policy, PolicyError};
use crate::token::is_wide;

const ENGLISH: &str = include_str!("../../data/profanity-en.txt");
const CHINESE: &str = include_str!("../../data/profanity-zh.txt");

/// All lists as one automaton.
#[derive(Clone, Debug)]
pub(super) struct Profanity {
    words: Arc<AhoCorasick>,
}

fn lines(list: &'static str) -> impl Iterator<Item = String> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned)
}

impl Profanity {
    pub(super) fn new(own: &[String]) -> Result<Self, PolicyError> {
        let error = || PolicyError::Words { found: own.len(), most: Policy::MOST_WORDS };
        let fits = |word: &String| (1..=64).contains(&word.trim().chars().count());
        if own.len() > Policy::MOST_WORDS || !own.iter().all(fits) {
            return Err(error());
        }
        let own = own.iter().map(|word| word.trim().to_lowercase());
        let words = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(lines(ENGLISH).chain(lines(CHINESE)).chain(own))
            .map_err(|_| error())?;
        Ok(Self { words: Arc::new(words) })
    }

    pub(super) fn find(&self, scan: &Scan, hits: &mut Vec<Hit>) {
        let text = &scan.lower;
        let mut at = 0;
        while let Some(found) = self.words.find(aho_corasick::Input::new(text).range(at..)) {
            let letters = |c: char| c.is_alphanumeric() && !is_wide(c);
            let inside = |outer: Option<char>, inner: Option<char>| {
                outer.is_some_and(letters) && inner.is_some_and(letters)
            };
            // English words are words, not parts of "Scunthorpe".
            let word = &text[found.start()..found.end()];
            let part = inside(text[..found.start()].chars().next_back(), word.chars().next())
                || inside(text[found.end()..].chars().next(), word.chars().next_back());
            if part {
                at = found.start() + word.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            hits.push(Hit { start: found.start(), end: found.end(), category: Category::Profanity });
            at = found.end();
        }
    }
}
