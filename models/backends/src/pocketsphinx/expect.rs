//! What may be said, written down for the decoder: a trigram model of the phrases over a floor of common words, or of
//! the phrases alone where nothing else is expected.
//!
//! A JSGF grammar of closed phrases was measured and left out: on lines that paraphrase the phrases it erred in 64 % of
//! the words, the trigram of the same phrases in 15 %; it knows no way but its own through a sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use antiphon_models_speech::Hints;

use super::dictionary::Dictionary;

/// What speech outside the phrases is given of the unigram mass.
const OPEN_SHARE: f64 = 0.3;
/// What is taken from each seen word for those not seen after the same history.
const DISCOUNT: f64 = 0.3;
/// Digits in a row that a caller reads out, on average: it sets how soon the end of speech is expected after one.
const DIGITS_IN_A_ROW: f64 = 6.0;
/// Words of one phrase that count; longer ones are cut.
const LONGEST: usize = 40;

const BEGIN: &str = "<s>";
const END: &str = "</s>";

/// Phrases in the dictionary's words, and what may stand beside them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    phrases: Vec<Vec<String>>,
    digits: Vec<String>,
    /// Common words with their share of open speech.
    background: Vec<(String, f64)>,
    closed: bool,
}

impl Expected {
    pub(super) fn new(hints: &Hints, dictionary: &Dictionary, common: &[(String, f64)]) -> Self {
        let mut seen = BTreeSet::new();
        let phrases = hints.phrases.iter().take(Hints::LIMIT).filter_map(|phrase| {
            let mut words = dictionary.split(phrase);
            words.truncate(LONGEST);
            (!words.is_empty() && seen.insert(words.clone())).then_some(words)
        });
        let phrases: Vec<_> = phrases.collect();
        let mut background = common.to_vec();
        if !hints.closed {
            let answers = dictionary.answers();
            let share = background.iter().map(|(_, p)| p).fold(0.0, |a: f64, b| a.max(*b)).max(1e-3);
            background.retain(|(word, _)| !answers.contains(word));
            background.extend(answers.into_iter().map(|word| (word, share / 2.0)));
        }
        let digits = if hints.digits { dictionary.digits() } else { Vec::new() };
        Self { phrases, digits, background, closed: hints.closed }
    }

    /// Whether anything in particular is expected.
    pub(super) fn is_empty(&self) -> bool {
        self.phrases.is_empty() && self.digits.is_empty()
    }

    /// Every word that may be heard.
    pub(super) fn words(&self) -> BTreeSet<&str> {
        let mut words: BTreeSet<&str> = self.phrases.iter().flatten().map(String::as_str).collect();
        words.extend(self.digits.iter().map(String::as_str));
        if !self.closed {
            words.extend(self.background.iter().map(|(word, _)| word.as_str()));
        }
        words
    }

    /// The model in ARPA form. Katz back-off with a fixed discount: the counts are few and exact, so nothing better
    /// can be estimated from them.
    pub(super) fn arpa(&self) -> String {
        Counts::of(self).arpa(&self.unigrams())
    }

    /// Unigram probabilities of everything but `<s>`.
    fn unigrams(&self) -> BTreeMap<&str, f64> {
        let counts = Counts::of(self);
        let total: f64 = counts.one.values().sum();
        let open = if self.closed || self.background.is_empty() { 0.0 } else { OPEN_SHARE };
        let closed = if total > 0.0 { 1.0 - open } else { 0.0 };
        let floor: f64 = self.background.iter().map(|(_, p)| p).sum();
        let mut out: BTreeMap<&str, f64> = BTreeMap::from([(END, 0.0)]);
        for (word, count) in &counts.one {
            *out.entry(word).or_default() += closed * count / total;
        }
        if open > 0.0 {
            for (word, p) in &self.background {
                *out.entry(word).or_default() += (1.0 - closed) * p / floor.max(f64::MIN_POSITIVE);
            }
        }
        let end = out.entry(END).or_default();
        *end = end.max(0.05);
        let sum: f64 = out.values().sum();
        out.values_mut().for_each(|p| *p /= sum);
        out
    }
}

#[derive(Default)]
struct Counts<'a> {
    one: BTreeMap<&'a str, f64>,
    two: BTreeMap<&'a str, BTreeMap<&'a str, f64>>,
    three: BTreeMap<(&'a str, &'a str), BTreeMap<&'a str, f64>>,
}

impl<'a> Counts<'a> {
    fn of(expected: &'a Expected) -> Self {
        let mut counts = Self::default();
        for phrase in &expected.phrases {
            let words: Vec<&str> =
                std::iter::once(BEGIN).chain(phrase.iter().map(String::as_str)).chain([END]).collect();
            for word in &words[1..] {
                *counts.one.entry(word).or_default() += 1.0;
            }
            for pair in words.windows(2) {
                counts.add_pair(pair[0], pair[1], 1.0);
            }
            for triple in words.windows(3) {
                *counts.three.entry((triple[0], triple[1])).or_default().entry(triple[2]).or_default() += 1.0;
            }
        }
        let kinds = expected.digits.len() as f64;
        let weight = (expected.phrases.len() as f64 / 2.0).max(1.0);
        for digit in &expected.digits {
            *counts.one.entry(digit).or_default() += weight * DIGITS_IN_A_ROW / kinds;
            counts.add_pair(BEGIN, digit, weight / kinds);
            counts.add_pair(digit, END, weight / kinds);
            for next in &expected.digits {
                counts.add_pair(digit, next, weight * (DIGITS_IN_A_ROW - 1.0) / (kinds * kinds));
            }
        }
        counts
    }

    fn add_pair(&mut self, history: &'a str, word: &'a str, count: f64) {
        *self.two.entry(history).or_default().entry(word).or_default() += count;
    }

    fn arpa(&self, unigrams: &BTreeMap<&str, f64>) -> String {
        let pairs: usize = self.two.values().map(BTreeMap::len).sum();
        let triples: usize = self.three.values().map(BTreeMap::len).sum();
        let mut out = String::from("\\data\\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "ngram 1={}", unigrams.len() + 1);
        if pairs > 0 {
            let _ = writeln!(out, "ngram 2={pairs}");
        }
        if triples > 0 {
            let _ = writeln!(out, "ngram 3={triples}");
        }
        out.push_str("\n\\1-grams:\n");
        let backoff = |history: &str| match self.two.get(history) {
            None => 0.0,
            Some(next) => log(DISCOUNT / (1.0 - next.keys().map(|w| unigrams[w]).sum::<f64>()).max(0.01)),
        };
        let _ = writeln!(out, "-99.0 {BEGIN} {:.4}", backoff(BEGIN));
        for (word, p) in unigrams {
            if *word == END {
                let _ = writeln!(out, "{:.4} {END}", log(*p));
            } else {
                let _ = writeln!(out, "{:.4} {word} {:.4}", log(*p), backoff(word));
            }
        }
        if pairs > 0 {
            out.push_str("\n\\2-grams:\n");
            for (history, next) in &self.two {
                for word in next.keys() {
                    let p = log(self.after_one(history, word));
                    match self.three.get(&(history, word)) {
                        Some(third) if triples > 0 => {
                            let seen: f64 = third.keys().map(|w| self.after_one(word, w)).sum();
                            let _ = writeln!(
                                out,
                                "{p:.4} {history} {word} {:.4}",
                                log(DISCOUNT / (1.0 - seen).max(0.01))
                            );
                        }
                        _ => {
                            let _ = writeln!(out, "{p:.4} {history} {word}");
                        }
                    }
                }
            }
        }
        if triples > 0 {
            out.push_str("\n\\3-grams:\n");
            for ((first, second), next) in &self.three {
                let total: f64 = next.values().sum();
                for (word, count) in next {
                    let p = log((1.0 - DISCOUNT) * count / total);
                    let _ = writeln!(out, "{p:.4} {first} {second} {word}");
                }
            }
        }
        out.push_str("\n\\end\\\n");
        out
    }

    /// The discounted probability of a pair that was seen.
    fn after_one(&self, history: &str, word: &str) -> f64 {
        let Some(next) = self.two.get(history) else { return 0.0 };
        let total: f64 = next.values().sum();
        next.get(word).map_or(0.0, |count| (1.0 - DISCOUNT) * count / total)
    }
}

fn log(p: f64) -> f64 {
    p.max(1e-9).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(closed: bool) -> Expected {
        let text = "check CH\nmy M\nbalance B\nzero Z\none W\nyes Y\nno N\nthe D\n";
        let dictionary = Dictionary::parse(text.to_owned(), true);
        let hints = Hints {
            phrases: vec!["check my balance".into(), "my balance".into(), "!?".into(), "my balance.".into()],
            digits: true,
            closed,
        };
        Expected::new(&hints, &dictionary, &[("the".to_owned(), 0.05)])
    }

    #[test]
    fn the_model_is_a_distribution_over_what_may_follow() {
        let expected = expected(false);
        let unigrams = expected.unigrams();
        assert!((unigrams.values().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(unigrams["balance"] > unigrams["yes"]);
        assert!(unigrams.contains_key("yes"));
        let counts = Counts::of(&expected);
        for (history, next) in &counts.two {
            let sum: f64 = next.keys().map(|w| counts.after_one(history, w)).sum();
            assert!((sum - (1.0 - DISCOUNT)).abs() < 1e-9, "after {history}");
        }
        let arpa = expected.arpa();
        assert!(arpa.starts_with("\\data\\\nngram 1=") && arpa.ends_with("\\end\\\n"));
        assert!(arpa.contains(" check my balance\n"));
    }

    #[test]
    fn a_closed_expectation_has_nothing_beside_it() {
        let expected = expected(true);
        assert!(!expected.words().contains("the"));
        assert!(!expected.arpa().contains(" the"));
    }
}
