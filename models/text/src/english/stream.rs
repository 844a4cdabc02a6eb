//! English words as tokens: hyphenated numbers apart, marks aside, each with the word it came from.

use super::lexicon::{Class, class};

/// One token: a word, or a part of a hyphenated number.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    /// In lower case, without the marks behind it.
    low: String,
    /// As it came, with everything.
    pub(super) raw: &'a str,
    /// The marks behind it.
    pub(super) marks: &'a str,
    class: Class,
    /// The word it came from.
    pub(super) word: usize,
}

/// All tokens of an utterance.
pub(super) struct Stream<'a> {
    tokens: Vec<Token<'a>>,
}

fn bare(word: &str) -> &str {
    word.trim_end_matches([',', '.', '?', '!', ';', ':'])
}

impl<'a> Stream<'a> {
    pub(super) fn new(words: &[&'a str]) -> Self {
        let mut tokens = Vec::with_capacity(words.len() + 4);
        for (index, &word) in words.iter().enumerate() {
            let text = bare(word);
            let marks = &word[text.len()..];
            if text.contains('-') && text.split('-').count() <= 8 {
                let parts: Vec<&str> = text.split('-').collect();
                let number = |part: &&str| {
                    let class = class(&part.to_ascii_lowercase());
                    class.numeric() || matches!(class, Class::Ordinal(_)) || *part == "and"
                };
                if parts.iter().all(number) {
                    let last = parts.len() - 1;
                    tokens.extend(parts.into_iter().enumerate().map(|(i, part)| {
                        let low = part.to_ascii_lowercase();
                        let class = class(&low);
                        Token {
                            low,
                            raw: part,
                            marks: if i == last { marks } else { "" },
                            class,
                            word: index,
                        }
                    }));
                    continue;
                }
            }
            let low = text.to_lowercase();
            let class = class(&low);
            // "p.m." and "a." keep their stop; it ends no sentence that we know of.
            tokens.push(Token { low, raw: word, marks, class, word: index });
        }
        Self { tokens }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn token(&self, i: usize) -> &Token<'a> {
        &self.tokens[i]
    }

    /// Whether token `i` is a part of a hyphenated number.
    pub(super) fn part_of_word(&self, i: usize) -> bool {
        let word = self.tokens[i].word;
        (i > 0 && self.tokens[i - 1].word == word)
            || self.tokens.get(i + 1).is_some_and(|next| next.word == word)
    }

    /// The token in lower case without marks; empty past the end.
    pub(super) fn low(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |token| token.low.as_str())
    }

    pub(super) fn is(&self, i: usize, word: &str) -> bool {
        self.low(i) == word
    }

    pub(super) fn class(&self, i: usize) -> Class {
        self.tokens.get(i).map_or(Class::Word, |token| token.class)
    }

    /// The class of the token behind `i`, where no mark stands between them.
    pub(super) fn class_after(&self, i: usize) -> Class {
        if self.joined(i + 1) { self.class(i + 1) } else { Class::Word }
    }

    /// Whether token `i` exists and no mark stands between it and the one before.
    pub(super) fn joined(&self, i: usize) -> bool {
        i < self.tokens.len()
            && (i == 0
                || self.tokens[i - 1].marks.is_empty()
                || (self.tokens[i - 1].marks == "." && matches!(self.tokens[i - 1].class, Class::Letter(_))))
    }

    /// Up to `most` tokens from `i` on that no mark parts, in lower case.
    pub(super) fn run(&self, i: usize, most: usize) -> Vec<&str> {
        let mut words = Vec::with_capacity(most);
        let mut at = i;
        while words.len() < most && at < self.tokens.len() && (at == i || self.joined(at)) {
            words.push(self.low(at));
            at += 1;
        }
        words
    }
}
