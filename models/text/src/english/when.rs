//! Dates and times of day as English says them.

use super::lexicon::{Class, month, time_cue, unit, year_cue};
use super::stream::Stream;
use crate::token::Kind;

/// What a rule found: the written form and the token after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

impl Found {
    pub(super) fn new(text: impl Into<String>, end: usize, kind: Kind) -> Self {
        Self { text: text.into(), end, kind }
    }
}

/// `21st`, `3rd`, `12th`.
pub(super) fn ordinal_text(value: u64) -> String {
    let suffix = match (value % 10, value % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{value}{suffix}")
}

impl Stream<'_> {
    /// An ordinal from token `i`: the value and the token after it.
    pub(super) fn ordinal(&self, i: usize) -> Option<(u64, usize)> {
        if let Class::Ordinal(value) = self.class(i) {
            return (value < 100).then_some((value, i + 1));
        }
        if let Class::Tens(tens) = self.class(i)
            && let Class::Ordinal(unit @ 1..=9) = self.class_after(i)
        {
            return Some((u64::from(tens) + unit, i + 2));
        }
        // "one hundred and twenty first", "five hundredth".
        let cardinal = self.cardinal(i)?;
        let mut at = cardinal.end;
        if !self.joined(at) || cardinal.vague {
            return None;
        }
        if let Class::Ordinal(scale @ (100 | 1_000 | 1_000_000)) = self.class(at) {
            return (cardinal.value < 1_000 && cardinal.value > 0).then(|| (cardinal.value * scale, at + 1));
        }
        if cardinal.value == 0 {
            return None;
        }
        // The cardinal may have taken the tens: "one hundred twenty" + "first".
        let room = if cardinal.value.is_multiple_of(100) {
            100
        } else if cardinal.value.is_multiple_of(10) && cardinal.value % 100 >= 20 {
            10
        } else {
            return None;
        };
        if self.is(at, "and") && room == 100 {
            at += 1;
        }
        let (rest, end) = match self.class(at) {
            Class::Ordinal(value) if value < 100 => (value, at + 1),
            Class::Tens(tens) => match self.class_after(at) {
                Class::Ordinal(unit @ 1..=9) => (u64::from(tens) + unit, at + 2),
                _ => return None,
            },
            _ => return None,
        };
        (self.joined(at) && rest < room && cardinal.value >= 100).then_some((cardinal.value + rest, end))
    }

    /// A year behind a month or a day, told from a time or an amount that follows it.
    fn year_of_date(&self, i: usize) -> Option<(u64, usize)> {
        if !self.joined(i) {
            return None;
        }
        let (year, end, _) = self.year(i)?;
        let noon = self.joined(end) && self.half_day(end).is_some();
        ((1_000..=2_199).contains(&year) && !noon).then_some((year, end))
    }

    /// A date from token `i`: from its month, its day, or a year alone.
    pub(super) fn date(&self, i: usize) -> Option<Found> {
        if let Some(name) = month(self.low(i)) {
            return self.date_from_month(i, name);
        }
        if let Some((day @ 1..=31, end)) = self.ordinal(i)
            && self.joined(end)
            && self.joined(end + 1)
            && self.is(end, "of")
            && let Some(name) = month(self.low(end + 1))
        {
            let day = ordinal_text(day);
            return Some(match self.year_of_date(end + 2) {
                Some((year, end)) => Found::new(format!("{day} of {name} {year}"), end, Kind::Date),
                None => Found::new(format!("{day} of {name}"), end + 2, Kind::Date),
            });
        }
        self.lone_year(i)
    }

    fn date_from_month(&self, i: usize, name: &str) -> Option<Found> {
        let verb = matches!(name, "May" | "March");
        let mut at = i + 1;
        if !self.joined(at) {
            return None;
        }
        if let Some((year, end)) = self.year_of_date(at)
            && (end >= at + 3 || self.year(at).is_some_and(|(_, _, sure)| sure) || !verb)
            && !self.is_amount(end)
        {
            return Some(Found::new(format!("{name} {year}"), end, Kind::Date));
        }
        let the = self.is(at, "the");
        if the {
            at += 1;
        }
        if let Some((day @ 1..=31, end)) = self.ordinal(at)
            && self.joined(at)
            // "may second that" is no date.
            && (!verb
                || day >= 10
                || the
                || self.date_ends(end)
                || i > 0 && matches!(self.low(i - 1), "on" | "of"))
        {
            let day = ordinal_text(day);
            return Some(match self.year_of_date(end) {
                Some((year, end)) => Found::new(format!("{name} {day}, {year}"), end, Kind::Date),
                None => Found::new(format!("{name} {day}"), end, Kind::Date),
            });
        }
        if the {
            return None;
        }
        let (day, end) = self.below_hundred(at)?;
        let scaled = self.joined(end) && matches!(self.class(end), Class::Hundred | Class::Scale(_));
        if !(1..=31).contains(&day) || scaled {
            return None;
        }
        match self.year_of_date(end) {
            Some((year, end)) => Some(Found::new(format!("{name} {day}, {year}"), end, Kind::Date)),
            None if verb || self.is_amount(end) || (self.joined(end) && self.class(end).numeric()) => None,
            None => Some(Found::new(format!("{name} {day}"), end, Kind::Date)),
        }
    }

    /// Whether a date that ended before token `i` is over: nothing follows that a verb would want.
    fn date_ends(&self, i: usize) -> bool {
        !self.joined(i)
            || self.class(i).numeric()
            || matches!(
                self.low(i),
                "at" | "and" | "or" | "to" | "is" | "was" | "through" | "until" | "for" | "in"
            )
    }

    /// Whether token `i` says that the number before it counts something.
    fn is_amount(&self, i: usize) -> bool {
        self.joined(i)
            && (matches!(
                self.low(i),
                "percent"
                    | "dollars"
                    | "euros"
                    | "pounds"
                    | "people"
                    | "times"
                    | "dollar"
                    | "cents"
                    | "minutes"
                    | "hours"
                    | "days"
                    | "weeks"
                    | "months"
                    | "years"
                    | "per"
            ) || unit(&self.run(i, 3)).is_some())
    }

    fn lone_year(&self, i: usize) -> Option<Found> {
        if i > 0 && self.joined(i) && self.class(i - 1).numeric() {
            return None;
        }
        let (year, end, sure) = self.year(i)?;
        let spoken_as_year = matches!(self.class(i), Class::Teen(_) | Class::Tens(20))
            && !matches!(self.class(i + 1), Class::Scale(_));
        let cued = i > 0 && self.joined(i) && year_cue(self.low(i - 1));
        if !spoken_as_year || !(sure || cued) || self.is_amount(end) {
            return None;
        }
        if self.joined(end) && (self.class(end).numeric() || self.half_day(end).is_some()) {
            return None;
        }
        Some(Found::new(year.to_string(), end, Kind::Date))
    }

    /// "nineteen nineties", "eighteen hundreds".
    pub(super) fn decade(&self, i: usize) -> Option<Found> {
        let first = match self.class(i) {
            Class::Teen(value) if value >= 15 => u64::from(value),
            Class::Tens(20) => 20,
            _ => return None,
        };
        if !self.joined(i + 1) {
            return None;
        }
        let decade = match self.low(i + 1) {
            "hundreds" => 0,
            "tens" => 10,
            "twenties" => 20,
            "thirties" => 30,
            "forties" => 40,
            "fifties" => 50,
            "sixties" => 60,
            "seventies" => 70,
            "eighties" => 80,
            "nineties" => 90,
            _ => return None,
        };
        Some(Found::new(format!("{}s", first * 100 + decade), i + 2, Kind::Date))
    }

    /// "am", "p m", "p.m." from token `i`: how it is written and the token after it.
    fn half_day(&self, i: usize) -> Option<(&'static str, usize)> {
        match self.low(i) {
            "am" | "a.m" if !self.is(i + 1, "i") => Some(("am", i + 1)),
            "pm" | "p.m" => Some(("pm", i + 1)),
            "a" if self.joined(i + 1) && self.is(i + 1, "m") => Some(("am", i + 2)),
            "p" if self.joined(i + 1) && self.is(i + 1, "m") => Some(("pm", i + 2)),
            _ => None,
        }
    }

    fn hour(&self, i: usize, most: u64) -> Option<(u64, usize)> {
        let (hour, end) = self.below_hundred(i)?;
        (hour <= most).then_some((hour, end))
    }

    /// Minutes as they follow an hour: "thirty", "oh five", "forty five".
    fn minute(&self, i: usize) -> Option<(u64, usize)> {
        if !self.joined(i) {
            return None;
        }
        if matches!(self.class(i), Class::Oh | Class::Letter(b'O')) {
            return match self.class_after(i) {
                Class::Digit(digit) if digit > 0 => Some((u64::from(digit), i + 2)),
                _ => None,
            };
        }
        let (minute, end) = self.below_hundred(i)?;
        ((10..60).contains(&minute)).then_some((minute, end))
    }

    /// A time of day from token `i`. `after_time` tells that the piece before "to" or "and" was one.
    pub(super) fn time(&self, i: usize, after_time: bool) -> Option<Found> {
        if let Some(found) = self.past_the_hour(i) {
            return Some(found);
        }
        let (hour, end) = self.hour(i, 24)?;
        if i > 0 && self.joined(i) && self.class(i - 1).numeric() {
            return None;
        }
        if self.joined(end) && self.is(end, "o'clock") {
            return (hour <= 12).then(|| self.with_half_day(format!("{hour} o'clock"), end + 1));
        }
        if self.joined(end) && self.is(end, "o") && self.joined(end + 1) && self.is(end + 1, "clock") {
            return (hour <= 12).then(|| self.with_half_day(format!("{hour} o'clock"), end + 2));
        }
        if let Some((minute, after)) = self.minute(end) {
            if self.joined(after) && hour <= 12 && self.half_day(after).is_some() {
                return Some(self.with_half_day(format!("{hour}:{minute:02}"), after));
            }
            let cued = (i > 0 && self.joined(i) && time_cue(self.low(i - 1))) || after_time;
            let free = !self.joined(after)
                || !(self.class(after).numeric()
                    || self.is_amount(after)
                    || matches!(self.low(after), "an" | "each" | "percent" | "bucks" | "cents" | "point"));
            return (cued && free).then(|| Found::new(format!("{hour}:{minute:02}"), after, Kind::Time));
        }
        if hour <= 12 && self.joined(end) && self.half_day(end).is_some() {
            return Some(self.with_half_day(hour.to_string(), end));
        }
        None
    }

    fn with_half_day(&self, text: String, end: usize) -> Found {
        match self.joined(end).then(|| self.half_day(end)).flatten() {
            Some((half, end)) => Found::new(format!("{text} {half}"), end, Kind::Time),
            None => Found::new(text, end, Kind::Time),
        }
    }

    /// "half past five", "quarter to six", "twenty five minutes past two".
    fn past_the_hour(&self, i: usize) -> Option<Found> {
        let (minutes, mut at, plain) = match self.low(i) {
            "half" => (30, i + 1, false),
            "quarter" => (15, i + 1, false),
            _ => {
                let (minutes, end) = self.below_hundred(i)?;
                (minutes, end, true)
            }
        };
        if plain && !(1..30).contains(&minutes) {
            return None;
        }
        let said = plain && self.joined(at) && matches!(self.low(at), "minutes" | "minute");
        at += usize::from(said);
        if !self.joined(at) {
            return None;
        }
        let past = match self.low(at) {
            "past" => true,
            "to" | "till" | "of" if self.is(i, "quarter") => false,
            "to" if said => false,
            // "ten to five" is as well a range; only a time is told "at".
            "to" if plain
                && matches!(minutes, 5 | 10 | 20 | 25)
                && i > 0
                && matches!(self.low(i - 1), "at" | "it's") =>
            {
                false
            }
            _ => return None,
        };
        if plain && past && !said && !matches!(minutes, 5 | 10 | 20 | 25) {
            return None;
        }
        let (hour, end) = self.joined(at + 1).then(|| self.hour(at + 1, 12)).flatten()?;
        if self.joined(end) && (self.class(end).numeric() || self.is_amount(end)) {
            return None;
        }
        let (hour, minutes) = match (past, hour) {
            (true, hour) => (hour, minutes),
            (false, 1) => (12, 60 - minutes),
            (false, hour) => (hour - 1, 60 - minutes),
        };
        Some(self.with_half_day(format!("{hour}:{minutes:02}"), end))
    }
}
