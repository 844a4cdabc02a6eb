//! Inverse text normalisation of Chinese: what was said in characters is written in figures where nothing else can be
//! meant. It works on characters; the words of the recogniser, however it cuts them, are found again afterwards.

mod amount;
mod code;
mod lexicon;
mod number;
mod when;

use std::ops::Range;

use crate::token::{Kind, Piece, is_wide};
use lexicon::{plain, simplified};

/// One character of a Chinese word, or a whole word of another script.
#[derive(Clone, Copy, Debug)]
struct Unit<'a> {
    /// As it came.
    raw: &'a str,
    /// For comparison: simplified, `\0` for a word of another script.
    c: char,
    word: usize,
}

/// The units of an utterance.
struct Line<'a> {
    units: Vec<Unit<'a>>,
}

/// What a rule found: the written form and the unit after it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    text: String,
    end: usize,
    kind: Kind,
}

impl Found {
    fn new(text: impl Into<String>, end: usize, kind: Kind) -> Self {
        Self { text: text.into(), end, kind }
    }
}

/// Writes `words` as one reads them. Linear in their characters: no rule looks further than a bounded way ahead.
pub(crate) fn write(words: &[&str]) -> Vec<Piece> {
    let line = Line::new(words);
    let mut pieces: Vec<Piece> = Vec::with_capacity(words.len());
    let mut i = 0;
    // Where the last time of day ended, for "八点二十到九点".
    let mut time_end = None;
    while i < line.units.len() {
        if let Some(length) = plain(|k| line.at(i + k)) {
            for k in i..i + length {
                line.keep(&mut pieces, k);
            }
            i += length;
            continue;
        }
        let after_time = i > 0 && time_end == Some(i - 1) && matches!(line.before(i), '到' | '至');
        match line.rule(i, after_time) {
            Some(found) => {
                time_end = (found.kind == Kind::Time).then_some(found.end);
                let words = line.units[i].word..line.units[found.end - 1].word + 1;
                push(&mut pieces, &found.text, words, found.kind, false);
                i = found.end;
            }
            None => {
                let end = line.numerals(i).max(i + 1);
                for k in i..end {
                    line.keep(&mut pieces, k);
                }
                i = end;
            }
        }
    }
    pieces
}

/// Adds a piece; one that shares a word with the piece before becomes a part of it.
fn push(pieces: &mut Vec<Piece>, text: &str, words: Range<usize>, kind: Kind, spaced: bool) {
    match pieces.last_mut() {
        Some(last) if last.words.end > words.start => {
            if spaced {
                last.text.push(' ');
            }
            last.text.push_str(text);
            last.words.end = last.words.end.max(words.end);
            if last.kind == Kind::Word {
                last.kind = kind;
            }
        }
        _ => pieces.push(Piece::new(text, words, kind)),
    }
}

impl<'a> Line<'a> {
    fn new(words: &[&'a str]) -> Self {
        let mut units = Vec::with_capacity(words.iter().map(|word| word.len() / 3 + 1).sum());
        for (index, &word) in words.iter().enumerate() {
            if !word.chars().any(is_wide) {
                units.push(Unit { raw: word, c: '\0', word: index });
                continue;
            }
            for (at, c) in word.char_indices() {
                units.push(Unit { raw: &word[at..at + c.len_utf8()], c: simplified(c), word: index });
            }
        }
        Self { units }
    }

    /// The character at `i`; `\0` for other scripts and past the end.
    fn at(&self, i: usize) -> char {
        self.units.get(i).map_or('\0', |unit| unit.c)
    }

    /// The character before `i`.
    fn before(&self, i: usize) -> char {
        if i == 0 { '\0' } else { self.at(i - 1) }
    }

    /// Whether the characters from `i` on are those of `text`.
    fn has(&self, i: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(k, c)| self.at(i + k) == c)
    }

    /// Whether the characters before `i` are those of `text`.
    fn ends_in(&self, i: usize, text: &str) -> bool {
        let length = text.chars().count();
        i >= length && self.has(i - length, text)
    }

    /// The word of another script at `i`.
    fn latin(&self, i: usize) -> Option<&'a str> {
        self.units.get(i).filter(|unit| unit.c == '\0').map(|unit| unit.raw)
    }

    fn keep(&self, pieces: &mut Vec<Piece>, i: usize) {
        let unit = &self.units[i];
        push(pieces, unit.raw, unit.word..unit.word + 1, Kind::Word, false);
    }

    /// The first rule that is sure of the units from `i` on.
    fn rule(&self, i: usize, after_time: bool) -> Option<Found> {
        if self.latin(i).is_some() {
            return self.address(i).or_else(|| self.code(i));
        }
        let c = self.at(i);
        // "very", unless ten minutes or tenths follow.
        if c == '十' && self.at(i + 1) == '分' && !matches!(self.at(i + 2), '钟' | '之') {
            return None;
        }
        if !(lexicon::numeral(c) || matches!(c, '负' | '第')) {
            return None;
        }
        self.address(i)
            .or_else(|| self.share(i))
            .or_else(|| self.date(i))
            .or_else(|| self.time(i, after_time))
            .or_else(|| self.ordinal(i))
            .or_else(|| self.digits(i))
            .or_else(|| self.amount(i))
    }
}
