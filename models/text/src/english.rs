//! Inverse text normalisation of English: what was said in words is written in figures where nothing else can be meant.

mod amount;
mod code;
mod lexicon;
mod number;
mod stream;
mod when;

use std::ops::Range;

use lexicon::{Class, cue};
use stream::Stream;
use when::Found;

use crate::token::{Kind, Piece};

/// Which dialect decides where two readings compete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Pounds are money.
    pub(crate) sterling: bool,
}

/// Writes `words` as one reads them. Linear in their count: no rule looks further than a bounded way ahead.
pub(crate) fn write(words: &[&str], dialect: Dialect) -> Vec<Piece> {
    let stream = Stream::new(words);
    let mut addresses = stream.addresses().into_iter().peekable();
    let mut pieces: Vec<Piece> = Vec::with_capacity(stream.len());
    let mut after_time = false;
    let mut i = 0;
    while i < stream.len() {
        while addresses.next_if(|(at, _)| *at < i).is_some() {}
        let found = match addresses.next_if(|(at, _)| *at == i) {
            Some((_, found)) => Some(found),
            None => stream.rule(i, after_time, dialect),
        };
        match found {
            Some(found) => {
                let mut text = found.text;
                text.push_str(stream.token(found.end - 1).marks);
                after_time = found.kind == Kind::Time;
                let words = stream.token(i).word..stream.token(found.end - 1).word + 1;
                push(&mut pieces, text, words, found.kind);
                i = found.end;
            }
            None => {
                let token = stream.token(i);
                after_time &= matches!(stream.low(i), "to" | "and" | "until" | "till" | "or");
                let text = if stream.part_of_word(i) {
                    format!("{}{}", token.raw, token.marks)
                } else {
                    token.raw.to_owned()
                };
                push(&mut pieces, text, token.word..token.word + 1, Kind::Word);
                i += 1;
            }
        }
    }
    pieces
}

/// Adds a piece. Where it shares a word with the one before, the two halves of a hyphenated word meet again.
fn push(pieces: &mut Vec<Piece>, text: String, words: Range<usize>, kind: Kind) {
    match pieces.last_mut() {
        Some(last) if last.words.end > words.start => {
            last.text.push('-');
            last.text.push_str(&text);
            last.words.end = last.words.end.max(words.end);
            if last.kind == Kind::Word {
                last.kind = kind;
            }
        }
        _ => pieces.push(Piece::new(text, words, kind)),
    }
}

impl Stream<'_> {
    /// The first rule that is sure of the tokens from `i` on.
    fn rule(&self, i: usize, after_time: bool, dialect: Dialect) -> Option<Found> {
        let class = self.class(i);
        if let Class::Letter(_) | Class::Word | Class::Times(_) = class {
            if let Some(found) = self.code(i) {
                return Some(found);
            }
            if class == Class::Word
                && lexicon::month(self.low(i)).is_none()
                && !matches!(self.low(i), "minus" | "negative" | "half" | "quarter" | "point" | "oh")
            {
                return None;
            }
        }
        self.date(i)
            .or_else(|| self.decade(i))
            .or_else(|| self.time(i, after_time))
            .or_else(|| self.long_digits(i))
            .or_else(|| self.code(i))
            .or_else(|| self.amount(i, dialect))
            .or_else(|| self.short_digits(i))
            .or_else(|| self.written_ordinal(i))
            .or_else(|| self.plain_cardinal(i))
    }

    /// A run of digits that can be nothing but a number read out.
    fn long_digits(&self, i: usize) -> Option<Found> {
        if i > 0 && self.joined(i) && self.class(i - 1).numeric() {
            return None;
        }
        let run = self.digits(i)?;
        let cued = i > 0 && self.cued(i);
        let starts_oh = self.class(i) == Class::Oh;
        if !(run.sure() || cued && run.elements >= 2 && run.singles >= 1) || starts_oh && run.elements < 3 {
            return None;
        }
        // "one two three point five" and "four two seven percent" are something else, and said by nobody.
        if self.joined(run.end) && (self.is(run.end, "point") || self.is(run.end, "dot")) && run.elements < 3
        {
            return None;
        }
        // A price or a share is no string of digits: "ninety nine point nine".
        if run.singles < 2 && !run.repeated && !cued {
            return None;
        }
        Some(Found::new(run.text, run.end, Kind::Digits))
    }

    /// Whether a cue word stands before token `i`, or before an "is" or "number" before it.
    fn cued(&self, i: usize) -> bool {
        let mut at = i;
        for _ in 0..3 {
            if at == 0 || !self.joined(at) {
                return false;
            }
            at -= 1;
            if cue(self.low(at)) {
                return true;
            }
            if !matches!(self.low(at), "is" | "number" | "in" | "code" | "the") {
                return false;
            }
        }
        false
    }

    /// Small numbers behind "press", "room", "gate".
    fn short_digits(&self, i: usize) -> Option<Found> {
        if i == 0 || !self.joined(i) || !cue(self.low(i - 1)) {
            return None;
        }
        let quantity = self.quantity(i)?;
        let end = quantity.end;
        // "press one of the keys".
        if quantity.vague || (self.joined(end) && matches!(self.low(end), "of" | "or")) {
            let alternatives = self.is(end, "or") && self.joined(end + 1) && self.class(end + 1).numeric();
            if !alternatives {
                return None;
            }
        }
        if self.joined(end) && self.class(end).numeric() {
            return None;
        }
        Some(Found::new(quantity.text, end, Kind::Number))
    }

    fn written_ordinal(&self, i: usize) -> Option<Found> {
        if i > 0 && self.joined(i) && self.class(i - 1).numeric() {
            return None;
        }
        let (value, end) = self.ordinal(i)?;
        if value < 10 {
            return None;
        }
        // "twenty second delay" is a delay of twenty seconds.
        if self.is(end - 1, "second")
            && !(i > 0
                && self.joined(i)
                && matches!(self.low(i - 1), "the" | "my" | "our" | "his" | "her" | "your"))
            && !(self.joined(end)
                && matches!(self.low(end), "of" | "century" | "floor" | "birthday" | "street"))
        {
            return None;
        }
        Some(Found::new(when::ordinal_text(value), end, Kind::Ordinal))
    }

    fn plain_cardinal(&self, i: usize) -> Option<Found> {
        if i > 0
            && self.joined(i)
            && (self.class(i - 1).numeric() || matches!(self.class(i - 1), Class::Times(_)))
        {
            return None;
        }
        let quantity = self.quantity(i)?;
        let next = quantity.end;
        if self.joined(next) {
            if self.class(next).numeric() {
                return self.round_the_clock(i);
            }
            // A cardinal with an ordinal behind it is an ordinal or a fraction that no rule was sure of.
            if matches!(self.class(next), Class::Ordinal(_)) && !self.is(next, "first") {
                return None;
            }
            if matches!(self.low(next), "something" | "ish" | "odd" | "some") {
                return None;
            }
        }
        if quantity.vague || quantity.small {
            return None;
        }
        Some(Found::new(quantity.text, next, Kind::Number))
    }

    /// "twenty four seven".
    fn round_the_clock(&self, i: usize) -> Option<Found> {
        let said = self.is(i, "twenty") && self.is(i + 1, "four") && self.is(i + 2, "seven");
        let over = !self.joined(i + 3) || !self.class(i + 3).numeric();
        (said && over).then(|| Found::new("24/7", i + 3, Kind::Number))
    }
}
