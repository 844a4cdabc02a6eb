//! The terms that occur, how rare each is, and which are near what was heard.

use std::collections::HashMap;
use std::sync::Arc;

use crate::analysis::{TermId, is_han, sound};

/// A folder of few entries says little about how rare a word is: never fewer than these are counted.
const FEWEST: f32 = 50.0;
/// Shorter English words have too many neighbours.
const SHORTEST_FUZZY: usize = 4;
/// A longer word may be two letters off.
const TWO_OFF: usize = 8;
/// As many neighbours of one word are looked up.
const NEIGHBOURS: usize = 3;
/// A single Chinese character means little by itself.
const SINGLE: f32 = 0.35;

#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    entries: f32,
    found_in: HashMap<TermId, u32>,
    by_sound: HashMap<String, Vec<Arc<str>>>,
    by_letter: HashMap<char, Vec<Arc<str>>>,
}

impl Vocabulary {
    /// Of so many entries, with the terms of each (once).
    pub(crate) fn count<'a>(entries: usize, terms: impl Iterator<Item = &'a TermId>) -> Self {
        let mut found_in = HashMap::new();
        for term in terms {
            *found_in.entry(*term).or_insert(0) += 1;
        }
        Self { entries: (entries as f32).max(FEWEST), found_in, ..Self::default() }
    }

    /// Lets a term be found by what is near it.
    pub(crate) fn add(&mut self, term: &str) {
        if !self.knows(TermId::of(term)) {
            return;
        }
        let mut chars = term.chars();
        let Some(first) = chars.next() else { return };
        if is_han(first) {
            let chars: Vec<char> = term.chars().collect();
            if (2..=4).contains(&chars.len())
                && let Some(sound) = sound(&chars)
            {
                self.by_sound.entry(sound).or_default().push(term.into());
            }
        } else if term.len() >= SHORTEST_FUZZY && term.is_ascii() && !term.bytes().any(|b| b.is_ascii_digit())
        {
            self.by_letter.entry(first).or_default().push(term.into());
        }
    }

    pub(crate) fn knows(&self, term: TermId) -> bool {
        self.found_in.contains_key(&term)
    }

    /// How much a term tells: near 0 where every entry has it, 1 where one has.
    pub(crate) fn weight(&self, term: TermId) -> f32 {
        let found = self.found_in.get(&term).map_or(1.0, |&n| n as f32);
        let rarest = ((self.entries + 1.0) / 1.5).ln();
        (((self.entries + 1.0) / (found + 0.5)).ln() / rarest).clamp(0.02, 1.0)
    }

    /// As [`Vocabulary::weight`], less for a single character.
    pub(crate) fn weight_of(&self, term: &str, id: TermId) -> f32 {
        let mut chars = term.chars();
        let single = chars.next().is_some_and(is_han) && chars.next().is_none();
        self.weight(id) * if single { SINGLE } else { 1.0 }
    }

    /// The known words that sound like these characters, other than they are.
    pub(crate) fn homophones(&self, chars: &[char]) -> Vec<Arc<str>> {
        let Some(words) = sound(chars).and_then(|key| self.by_sound.get(&key)) else {
            return Vec::new();
        };
        words
            .iter()
            .filter(|word| !word.chars().eq(chars.iter().copied()))
            .take(NEIGHBOURS)
            .cloned()
            .collect()
    }

    /// The known words that are spelt like this one, the nearest first, with how many letters they are off.
    pub(crate) fn neighbours(&self, term: &str) -> Vec<(Arc<str>, usize)> {
        let length = term.len();
        let Some(first) = term.chars().next().filter(|_| length >= SHORTEST_FUZZY && term.is_ascii()) else {
            return Vec::new();
        };
        let off = if length >= TWO_OFF { 2 } else { 1 };
        let mut near: Vec<_> = self
            .by_letter
            .get(&first)
            .into_iter()
            .flatten()
            .filter(|word| word.len().abs_diff(length) <= off)
            .filter_map(|word| {
                distance(term.as_bytes(), word.as_bytes(), off).map(|off| (Arc::clone(word), off))
            })
            .collect();
        near.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        near.truncate(NEIGHBOURS);
        near
    }
}

/// Letters put in, left out, changed or swapped with the next: at most so many, else `None`.
fn distance(a: &[u8], b: &[u8], most: usize) -> Option<usize> {
    let width = b.len() + 1;
    let mut rows = [vec![0; width], (0..width).collect::<Vec<_>>(), vec![0; width]];
    for (i, &x) in a.iter().enumerate() {
        rows[2][0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let mut cost = (rows[1][j] + usize::from(x != y)).min(rows[1][j + 1] + 1).min(rows[2][j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                cost = cost.min(rows[0][j - 1] + 1);
            }
            rows[2][j + 1] = cost;
        }
        if rows[2].iter().all(|&cost| cost > most) {
            return None;
        }
        rows.rotate_left(1);
    }
    Some(rows[1][width - 1]).filter(|&cost| cost <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(terms: &[&str]) -> Vocabulary {
        let ids: Vec<_> = terms.iter().map(|term| TermId::of(term)).collect();
        let mut vocabulary = Vocabulary::count(100, ids.iter());
        for term in terms {
            vocabulary.add(term);
        }
        vocabulary
    }

    #[test]
    fn letters_off_are_counted() {
        assert_eq!(distance(b"mortgag", b"morgag", 2), Some(1));
        assert_eq!(distance(b"claim", b"calim", 1), Some(1));
        assert_eq!(distance(b"claim", b"blame", 1), None);
        assert_eq!(distance(b"", b"ab", 2), Some(2));
    }

    #[test]
    fn the_nearest_word_comes_first() {
        let vocabulary = vocabulary(&["mortgag", "mortal", "claim"]);
        assert_eq!(vocabulary.neighbours("morgag")[0], ("mortgag".into(), 1));
        assert!(vocabulary.neighbours("claw").is_empty());
    }

    #[test]
    fn a_homophone_is_found_by_its_sound() {
        let vocabulary = vocabulary(&["理财", "挂失"]);
        assert_eq!(vocabulary.homophones(&['理', '材']), ["理财".into()]);
        assert!(vocabulary.homophones(&['理', '财']).is_empty());
    }

    #[test]
    fn the_rarer_a_term_the_more_it_tells() {
        let (common, rare) = (TermId::of("common"), TermId::of("rare"));
        let vocabulary = Vocabulary::count(100, std::iter::repeat_n(&common, 90).chain([&rare]));
        assert!((vocabulary.weight(rare) - 1.0).abs() < 0.01);
        assert!(vocabulary.weight(common) < 0.1);
    }
}
