//! Civil dates, as far as a telephone call needs them.

use std::fmt;

/// A day of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    pub(crate) year: i32,
    pub(crate) month: u32,
    pub(crate) day: u32,
}

impl Date {
    /// `None` where there is no such day, or it lies outside the years 1 to 9999.
    pub(crate) fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let valid = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day);
        valid.then_some(Self { year, month, day })
    }

    /// Reads `2026-03-05`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let date =
            Self::new(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        if parts.next().is_none() { date } else { None }
    }

    /// The day `days` later (earlier, where negative); stays where it would leave the calendar.
    pub(crate) fn plus(self, days: i64) -> Self {
        Self::from_ordinal(self.ordinal().saturating_add(days)).unwrap_or(self)
    }

    /// 0 for Monday to 6 for Sunday.
    pub(crate) fn weekday(self) -> i64 {
        // 1 January of the year 1 was a Monday.
        (self.ordinal() - 1).rem_euclid(7)
    }

    /// The same day `months` later, or the month's last day where it is shorter.
    pub(crate) fn plus_months(self, months: i32) -> Option<Self> {
        let month = self.year * 12 + self.month as i32 - 1 + months;
        let (year, month) = (month.div_euclid(12), month.rem_euclid(12) as u32 + 1);
        Self::new(year, month, self.day.min(days_in(year, month)))
    }

    /// The last day of this month.
    pub(crate) fn month_end(self) -> Self {
        Self { day: days_in(self.year, self.month), ..self }
    }

    /// Days since 31 December of the year 0.
    fn ordinal(self) -> i64 {
        let years = i64::from(self.year) - 1;
        let months: i64 = (1..self.month).map(|month| i64::from(days_in(self.year, month))).sum();
        years * 365 + years / 4 - years / 100 + years / 400 + months + i64::from(self.day)
    }

    fn from_ordinal(ordinal: i64) -> Option<Self> {
        if !(1..=3_652_059).contains(&ordinal) {
            return None;
        }
        let mut year = (ordinal * 400 / 146_097) as i32 + 1;
        while (Self { year, month: 1, day: 1 }).ordinal() > ordinal {
            year -= 1;
        }
        let mut date = Self { year, month: 1, day: 1 };
        while date.month < 12 && (Self { month: date.month + 1, ..date }).ordinal() <= ordinal {
            date.month += 1;
        }
        date.day = (ordinal - date.ordinal() + 1) as u32;
        Self::new(date.year, date.month, date.day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

fn days_in(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekdays_and_steps_agree_with_the_wall_calendar() {
        let date = Date::new(2026, 11, 22).expect("a day");
        assert_eq!(date.weekday(), 6, "a Sunday");
        assert_eq!(date.plus(10).to_string(), "2026-12-02");
        assert_eq!(date.plus(-400).to_string(), "2025-10-18");
        assert_eq!(Date::new(2024, 2, 28).map(|d| d.plus(1).to_string()).as_deref(), Some("2024-02-29"));
        assert_eq!(Date::new(2025, 2, 29), None);
        assert_eq!(Date::new(2026, 1, 31).and_then(|d| d.plus_months(1)), Date::new(2026, 2, 28));
        let mut day = Date::new(1999, 12, 31).expect("a day");
        for _ in 0..20_000 {
            let next = day.plus(1);
            assert_eq!(next.ordinal(), day.ordinal() + 1);
            assert!(next > day);
            day = next;
        }
    }
}
