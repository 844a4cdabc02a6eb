//! Amounts: money, shares, measures, fractions, and ranges of them.

use super::Dialect;
use super::lexicon::{Class, closes_price, counted, unit};
use super::number::{Quantity, grouped};
use super::stream::Stream;
use super::when::Found;
use crate::token::Kind;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Percent,
    /// The sign before the number.
    Money(&'static str),
    /// Written behind the number.
    Unit(&'static str),
    /// The word after it stays as it is.
    Named,
}

impl Stream<'_> {
    /// An amount from token `i`.
    pub(super) fn amount(&self, i: usize, dialect: Dialect) -> Option<Found> {
        if i > 0 && self.joined(i) && self.class(i - 1).numeric() {
            return None;
        }
        if let Some(found) = self.fraction(i) {
            return Some(found);
        }
        if let Some(found) = self.bare_point(i) {
            return Some(found);
        }
        if self.is(i, "half")
            && self.joined(i + 1)
            && self.is(i + 1, "a")
            && self.joined(i + 2)
            && self.is(i + 2, "percent")
        {
            return Some(Found::new("0.5%", i + 3, Kind::Percent));
        }
        if self.is(i, "a") && self.is(i + 1, "dollar") && self.joined(i + 1) {
            return self
                .cents(i + 2, dialect)
                .map(|(cents, end)| Found::new(format!("$1.{cents:02}"), end, Kind::Money));
        }
        let first = self.quantity(i)?;
        if let Some(found) = self.range(&first, dialect) {
            return Some(found);
        }
        let (counts, end) = self.counts(first.end, dialect)?;
        match counts {
            Counts::Percent => Some(Found::new(format!("{}%", first.text), end, Kind::Percent)),
            Counts::Money(sign) => Some(self.money(&first, sign, end, dialect)),
            Counts::Unit(sign) => (!first.vague || first.whole != 0)
                .then(|| Found::new(format!("{}{sign}", first.text), end, Kind::Measure)),
            // "one pound", "one foot": as often no measure.
            Counts::Named => (!(first.vague || first.small && first.whole == 1))
                .then(|| Found::new(first.text, first.end, Kind::Measure)),
        }
    }

    /// What is counted by the number that ends before token `at`, and the token after it.
    fn counts(&self, at: usize, dialect: Dialect) -> Option<(Counts, usize)> {
        if !self.joined(at) {
            return None;
        }
        match self.low(at) {
            "percent" => return Some((Counts::Percent, at + 1)),
            "per" if self.joined(at + 1) && self.is(at + 1, "cent") => {
                return Some((Counts::Percent, at + 2));
            }
            "dollar" | "dollars" => return Some((Counts::Money("$"), at + 1)),
            "euro" | "euros" => return Some((Counts::Money("€"), at + 1)),
            "pound" | "pounds" => {
                let sterling = self.joined(at + 1) && self.is(at + 1, "sterling");
                if sterling {
                    return Some((Counts::Money("£"), at + 2));
                }
                let pence = self.pence(at + 1).is_some();
                if dialect.sterling || pence {
                    return Some((Counts::Money("£"), at + 1));
                }
            }
            _ => {}
        }
        if let Some((sign, taken)) = unit(&self.run(at, 3)) {
            return Some((Counts::Unit(sign), at + taken));
        }
        counted(self.low(at)).then_some((Counts::Named, at))
    }

    fn money(&self, amount: &Quantity, sign: &str, end: usize, dialect: Dialect) -> Found {
        let text = amount.text.strip_prefix('-').map_or(amount.text.as_str(), |text| text);
        let minus = if text.len() < amount.text.len() { "-" } else { "" };
        let whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
        if !whole {
            return Found::new(format!("{minus}{sign}{text}"), end, Kind::Money);
        }
        let units = grouped(amount.whole, 1_000);
        match self.cents(end, dialect) {
            Some((cents, end)) => Found::new(format!("{minus}{sign}{units}.{cents:02}"), end, Kind::Money),
            None => Found::new(format!("{minus}{sign}{units}"), end, Kind::Money),
        }
    }

    /// "and fifty cents", "fifty cents", "fifty", "oh five" behind an amount of dollars, euros or pounds.
    fn cents(&self, at: usize, _dialect: Dialect) -> Option<(u64, usize)> {
        if !self.joined(at) {
            return None;
        }
        if let Some(found) = self.pence(at) {
            return Some(found);
        }
        let (cents, end) = if self.class(at) == Class::Oh {
            let Class::Digit(digit) = self.class_after(at) else { return None };
            (u64::from(digit), at + 2)
        } else {
            let (cents, end) = self.below_hundred(at)?;
            if cents < 10 {
                return None;
            }
            (cents, end)
        };
        let over = !self.joined(end) || closes_price(self.low(end));
        over.then_some((cents, end))
    }

    fn pence(&self, at: usize) -> Option<(u64, usize)> {
        if !self.joined(at) {
            return None;
        }
        let start = if self.is(at, "and") && self.joined(at + 1) { at + 1 } else { at };
        let (cents, end) = self.below_hundred(start)?;
        let named = self.joined(end) && matches!(self.low(end), "cents" | "cent" | "pence" | "p");
        named.then_some((cents, end + 1))
    }

    /// "five to ten percent", "ten to fifteen people", "eight or ten".
    fn range(&self, first: &Quantity, dialect: Dialect) -> Option<Found> {
        let joint = first.end;
        if first.vague || !self.joined(joint) || !self.joined(joint + 1) {
            return None;
        }
        let to = match self.low(joint) {
            "to" => true,
            "or" => false,
            _ => return None,
        };
        let second = self.quantity(joint + 1)?;
        if second.vague || second.whole <= first.whole && first.scaled == second.scaled {
            return None;
        }
        if self.joined(second.end) && self.class(second.end).numeric() {
            return None;
        }
        match (self.counts(second.end, dialect), to) {
            (Some((Counts::Percent, end)), true) => {
                Some(Found::new(format!("{}-{}%", first.text, second.text), end, Kind::Percent))
            }
            (Some((Counts::Money(sign), end)), true) => {
                let text = format!("{sign}{}-{sign}{}", first.text, second.text);
                Some(Found::new(text, end, Kind::Money))
            }
            (Some((Counts::Unit(sign), end)), true) => {
                Some(Found::new(format!("{}-{}{sign}", first.text, second.text), end, Kind::Measure))
            }
            (Some((Counts::Named, _)), _) => {
                let joint = self.low(joint);
                Some(Found::new(format!("{} {joint} {}", first.text, second.text), second.end, Kind::Measure))
            }
            (Some(_), false) => None,
            // Among plain numbers a small first one is written like the second.
            (None, _) if first.small && !second.small && !self.time_follows(second.end) => {
                let joint = self.low(joint);
                Some(Found::new(format!("{} {joint} {}", first.text, second.text), second.end, Kind::Number))
            }
            (None, _) => None,
        }
    }

    fn time_follows(&self, at: usize) -> bool {
        self.joined(at) && matches!(self.low(at), "am" | "pm" | "o'clock" | "a" | "p" | "o")
    }

    /// "two thirds", "three quarters", "one half of".
    fn fraction(&self, i: usize) -> Option<Found> {
        let (over, end) = self.below_hundred(i)?;
        if !self.joined(end) {
            return None;
        }
        let plural = |word: &str| {
            Some(match word {
                "halves" => 2,
                "thirds" => 3,
                "quarters" | "fourths" => 4,
                "fifths" => 5,
                "sixths" => 6,
                "sevenths" => 7,
                "eighths" => 8,
                "ninths" => 9,
                "tenths" => 10,
                "twelfths" => 12,
                "sixteenths" => 16,
                "hundredths" => 100,
                _ => return None,
            })
        };
        let word = self.low(end);
        if over > 1 {
            let under = plural(word)?;
            let quarters = matches!(word, "quarters")
                && i > 0
                && self.joined(i)
                && matches!(self.low(i - 1), "last" | "past" | "next" | "first" | "all" | "the" | "of");
            return (!quarters).then(|| Found::new(format!("{over}/{under}"), end + 1, Kind::Number));
        }
        // One third may be the third one: only a part "of" something is sure.
        if !(self.joined(end + 1) && self.is(end + 1, "of")) {
            return None;
        }
        let under = match word {
            "half" => 2,
            "quarter" => 4,
            _ => match self.class(end) {
                Class::Ordinal(under @ 3..=20) => under,
                _ => return None,
            },
        };
        Some(Found::new(format!("1/{under}"), end + 1, Kind::Number))
    }

    /// "point five percent", with nothing before the point.
    fn bare_point(&self, i: usize) -> Option<Found> {
        if !self.is(i, "point") || !self.joined(i + 1) {
            return None;
        }
        let run = self.digits(i + 1)?;
        if run.singles != run.text.len() {
            return None;
        }
        let (counts, end) = self.counts(run.end, Dialect::default())?;
        match counts {
            Counts::Percent => Some(Found::new(format!("0.{}%", run.text), end, Kind::Percent)),
            Counts::Unit(sign) => Some(Found::new(format!("0.{}{sign}", run.text), end, Kind::Measure)),
            Counts::Money(_) | Counts::Named => None,
        }
    }
}
