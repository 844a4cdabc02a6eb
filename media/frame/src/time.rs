//! Instants, lengths and rates: three types, so that none is mistaken for another.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Samples per second of a signal, 1 Hz to 192 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleRate(u32);

impl SampleRate {
    /// Narrowband telephony (G.711).
    pub const HZ_8000: Self = Self(8_000);
    /// Wideband telephony (G.722) and most recognisers.
    pub const HZ_16000: Self = Self(16_000);
    /// Opus and browsers.
    pub const HZ_48000: Self = Self(48_000);
    /// What speech services take and give.
    pub const HZ_24000: Self = Self(24_000);

    /// Returns `None` for 0 and for rates above 192 kHz.
    #[must_use]
    pub const fn new(hz: u32) -> Option<Self> {
        if hz == 0 || hz > 192_000 { None } else { Some(Self(hz)) }
    }

    /// Samples per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        self.0
    }

    /// Samples in `span`, rounded to the nearest.
    #[must_use]
    pub const fn samples(self, span: Span) -> usize {
        ((span.0 as u128 * self.0 as u128 + NANOS_PER_SECOND as u128 / 2) / NANOS_PER_SECOND as u128) as usize
    }

    /// How long `samples` last, rounded to the nearest nanosecond.
    #[must_use]
    pub const fn span(self, samples: usize) -> Span {
        Span(((samples as u128 * NANOS_PER_SECOND as u128 + self.0 as u128 / 2) / self.0 as u128) as u64)
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.0)
    }
}

/// A length of time, nanosecond resolution, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A length of whole nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A length of whole microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros * 1_000)
    }

    /// A length of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// A length of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * NANOS_PER_SECOND)
    }

    /// Whole nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Seconds.
    #[must_use]
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SECOND as f64
    }

    /// `self - other`, or zero where `other` is longer.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self * factor`, at most the longest length there is.
    #[must_use]
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Duration::from(*self), f)
    }
}

/// An instant on a call's clock, in nanoseconds since the clock's start.
///
/// It may be negative: a packet sent before the call was answered lies there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The clock's start.
    pub const ZERO: Self = Self(0);

    /// An instant `nanos` after the start (before it, where negative).
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// An instant `millis` after the start.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000_000)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Milliseconds since the start, rounded towards the past.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Seconds since the start.
    #[must_use]
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SECOND as f64
    }

    /// The time from `earlier` to `self`; zero where `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        let nanos = self.0.saturating_sub(earlier.0);
        if nanos < 0 { Span::ZERO } else { Span(nanos as u64) }
    }

    /// Signed nanoseconds from `other` to `self`.
    #[must_use]
    pub const fn offset_from(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }

    /// Shifts by signed nanoseconds.
    #[must_use]
    pub const fn shifted(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl Add<Span> for MediaTime {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }
}

impl AddAssign<Span> for MediaTime {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for MediaTime {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub_unsigned(span.0))
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_spans_agree_at_telephony_rates() {
        for hz in [8_000, 16_000, 48_000, 44_100] {
            let rate = SampleRate::new(hz).expect("a valid rate");
            for n in [0usize, 1, 159, 160, 320, 960, 44_100, 10_000_000] {
                assert_eq!(rate.samples(rate.span(n)), n, "{n} samples at {hz} Hz");
            }
        }
    }

    #[test]
    fn instants_do_not_wrap() {
        assert_eq!(MediaTime::from_nanos(i64::MAX) + Span::from_secs(1), MediaTime::from_nanos(i64::MAX));
        assert_eq!(MediaTime::ZERO.since(MediaTime::from_millis(5)), Span::ZERO);
        assert_eq!(MediaTime::from_millis(-1).millis(), -1);
        assert_eq!(MediaTime::from_nanos(-1).millis(), -1);
    }

    #[test]
    fn impossible_rates_are_refused() {
        assert_eq!(SampleRate::new(0), None);
        assert_eq!(SampleRate::new(192_001), None);
    }
}
