//! Hours, days, weeks and months of a time zone.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde::Deserialize;

/// How long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Per {
    Hour,
    Day,
    /// From Monday on (ISO 8601).
    Week,
    Month,
}

/// A period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    /// Milliseconds since 1970.
    pub(crate) start_ms: i64,
    /// Milliseconds since 1970; not of it any more.
    pub(crate) end_ms: i64,
    /// `2026-11-22T14:00+08:00`, `2026-11-22`, `2026-W47`, `2026-11`: in the order of time.
    pub(crate) label: String,
}

/// Finds the period of a time; each is reckoned once.
pub(crate) struct Calendar {
    zone: TimeZone,
    per: Per,
    known: BTreeMap<i64, Period>,
}

impl Calendar {
    pub(crate) fn new(zone: TimeZone, per: Per) -> Self {
        Self { zone, per, known: BTreeMap::new() }
    }

    /// The period of a time; `None` for times that no calendar has.
    pub(crate) fn period(&mut self, at_ms: i64) -> Option<&Period> {
        let start = self.known.range(..=at_ms).next_back().filter(|(_, period)| at_ms < period.end_ms);
        let start = match start {
            Some((start, _)) => *start,
            None => {
                let period = self.reckon(at_ms)?;
                let start = period.start_ms;
                self.known.insert(start, period);
                start
            }
        };
        self.known.get(&start)
    }

    /// Every period that was asked for, by label.
    pub(crate) fn periods(self) -> BTreeMap<String, Period> {
        self.known.into_values().map(|period| (period.label.clone(), period)).collect()
    }

    fn reckon(&self, at_ms: i64) -> Option<Period> {
        let at = Timestamp::from_millisecond(at_ms).ok()?.to_zoned(self.zone.clone());
        let (start, end, form) = match self.per {
            Per::Hour => {
                let start = at.with().minute(0).second(0).subsec_nanosecond(0).build().ok()?;
                let end = start.checked_add(1.hour()).ok()?;
                (start, end, "%Y-%m-%dT%H:%M%:z")
            }
            Per::Day => {
                let start = at.start_of_day().ok()?;
                (start.clone(), day(&start, 1.day())?, "%Y-%m-%d")
            }
            Per::Week => {
                let back = i64::from(at.weekday().to_monday_zero_offset());
                let start = day(&at, -back.days())?;
                (start.clone(), day(&start, 1.week())?, "%G-W%V")
            }
            Per::Month => {
                let start = at.first_of_month().ok()?.start_of_day().ok()?;
                (start.clone(), day(&start, 1.month())?, "%Y-%m")
            }
        };
        let millis = |at: &Zoned| at.timestamp().as_millisecond();
        let label = start.strftime(form).to_string();
        Some(Period { start_ms: millis(&start), end_ms: millis(&end), label })
    }
}

/// The beginning of the day that is so far away.
fn day(at: &Zoned, far: jiff::Span) -> Option<Zoned> {
    at.checked_add(far).ok()?.start_of_day().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(zone: &str, per: Per, at: &str) -> (String, String, String) {
        let zone = TimeZone::get(zone).expect("a zone of this machine");
        let mut calendar = Calendar::new(zone, per);
        let at: Timestamp = at.parse().expect("a time");
        let period = calendar.period(at.as_millisecond()).expect("a period").clone();
        assert_eq!(calendar.period(period.start_ms), Some(&period));
        assert_eq!(calendar.period(period.end_ms - 1), Some(&period));
        assert_ne!(calendar.period(period.end_ms), Some(&period));
        let text = |ms| Timestamp::from_millisecond(ms).expect("a time").to_string();
        (period.label, text(period.start_ms), text(period.end_ms))
    }

    fn of(label: &str, start: &str, end: &str) -> (String, String, String) {
        (label.into(), start.into(), end.into())
    }

    #[test]
    fn periods_are_those_of_the_time_zone() {
        let late = "2026-11-22T20:30:00Z";
        assert_eq!(
            told("Asia/Shanghai", Per::Day, late),
            of("2026-11-23", "2026-11-22T16:00:00Z", "2026-11-23T16:00:00Z")
        );
        assert_eq!(
            told("UTC", Per::Week, late),
            of("2026-W47", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z")
        );
        assert_eq!(
            told("Asia/Shanghai", Per::Week, late),
            of("2026-W48", "2026-11-22T16:00:00Z", "2026-11-29T16:00:00Z")
        );
        assert_eq!(
            told("UTC", Per::Month, late),
            of("2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
        );
        assert_eq!(
            told("Asia/Kolkata", Per::Hour, late),
            of("2026-11-23T02:00+05:30", "2026-11-22T20:30:00Z", "2026-11-22T21:30:00Z")
        );
    }

    #[test]
    fn a_day_of_twenty_five_hours_is_one_day() {
        assert_eq!(
            told("America/New_York", Per::Day, "2026-11-01T05:30:00Z"),
            of("2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z")
        );
        // The hour that comes twice is two.
        let first = told("America/New_York", Per::Hour, "2026-11-01T05:30:00Z");
        let second = told("America/New_York", Per::Hour, "2026-11-01T06:30:00Z");
        assert_eq!((first.2, second.0), (second.1, "2026-11-01T01:00-05:00".to_owned()));
    }
}
