//! Who is served first and who gets how much: classes, shares, tenants, day and night.

use std::time::Duration;

/// How urgent a stream is. Live before outbound before batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A caller is waiting: dialogue, agent assist, live inspection.
    Live,
    /// A call that we placed: as quick once it runs, refused sooner before it begins.
    Outbound,
    /// Recordings: as fast as what is left allows.
    Batch,
}

impl Class {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Live, Self::Outbound, Self::Batch];

    /// Its name in configuration, figures and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Outbound => "outbound",
            Self::Batch => "batch",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What batch work gets of a device, and what it may cost the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// The part of the computing time that batch work gets whatever else there is to do. 0 to 0.9.
    pub batch: f64,
    /// By what part batch rows may lengthen a step of live rows. 0 to 1.
    pub lengthening: f64,
    /// By how much a step of batch rows alone may keep an expected live chunk waiting. At most a second.
    pub overrun: Duration,
    /// The longest step: what a live chunk that nobody expected may have to wait. 1 ms to 10 s.
    pub longest: Duration,
    /// Batch work gets its guaranteed part and nothing beyond it.
    pub paused: bool,
}

impl Default for Shares {
    /// A twentieth guaranteed; steps of at most 80 ms, lengthened by a twentieth, 10 ms late.
    fn default() -> Self {
        Self {
            batch: 0.05,
            lengthening: 0.05,
            overrun: Duration::from_millis(10),
            longest: Duration::from_millis(80),
            paused: false,
        }
    }
}

/// Rules for one tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Its name; the empty one is everybody who has none.
    pub name: std::sync::Arc<str>,
    /// Its weight among the tenants with batch work.
    pub weight: f64,
    /// Streams at once, by class in the order of [`Class::ALL`]; `None` for as many as there are.
    pub streams: [Option<usize>; 3],
    /// New streams a minute, all classes together, saved up for a minute.
    pub streams_per_minute: Option<u32>,
}

impl Tenant {
    /// A tenant without limits.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), weight: 1.0, streams: [None; 3], streams_per_minute: None }
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::named("")
    }
}

/// Shares that hold at a time of day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Period {
    /// From this minute of the local day on, 0 to 1439.
    pub from: u16,
    /// Up to this minute, which is not part of it; before `from` where it goes past midnight.
    pub to: u16,
    /// What holds then.
    pub shares: Shares,
}

impl Period {
    /// Whether `minute` of the day lies in it.
    #[must_use]
    pub fn holds(&self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// The shares that hold at `minute` of the day: those of the first period it lies in, or `otherwise`.
#[must_use]
pub fn shares_at(minute: u16, periods: &[Period], otherwise: Shares) -> Shares {
    periods.iter().find(|period| period.holds(minute)).map_or(otherwise, |period| period.shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_goes_past_midnight() {
        let night = Shares { batch: 0.5, ..Shares::default() };
        let periods = [Period { from: 20 * 60, to: 7 * 60, shares: night }];
        for (minute, batch) in [(0, 0.5), (6 * 60 + 59, 0.5), (7 * 60, 0.05), (12 * 60, 0.05), (20 * 60, 0.5)]
        {
            assert_eq!(shares_at(minute, &periods, Shares::default()).batch, batch, "{minute}");
        }
    }
}
