//! Names of calls, legs and tracks, and the wrapper that keeps personal data out of logs.

use std::fmt;
use std::str::FromStr;

/// One call, unique across machines: 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u128);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCallId;

impl fmt::Display for InvalidCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a call id is 32 hexadecimal digits")
    }
}

impl std::error::Error for InvalidCallId {}

impl FromStr for CallId {
    type Err = InvalidCallId;

    fn from_str(text: &str) -> Result<Self, InvalidCallId> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidCallId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidCallId)
    }
}

/// One media endpoint of this process; never reused while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// Which way sound flows, seen from Antiphon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// What the far side says.
    Received,
    /// What we say to it.
    Sent,
}

/// One direction of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId {
    /// The leg.
    pub leg: LegId,
    /// The direction.
    pub direction: Direction,
}

/// Personal data: numbers, names, transcripts. `Debug` and `Display` redact it; [`Pii::expose`] is the one way in,
/// so that every place that shows it can be found.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    /// Wraps personal data.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The data itself. Do not log it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Unwraps the data. Do not log it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_does_not_print() {
        let number = Pii::new("13800138000");
        assert_eq!(
            format!("{number} {number:?} {:?}", Some(&number)),
            "[redacted] [redacted] Some([redacted])"
        );
        assert_eq!(*number.expose(), "13800138000");
    }

    #[test]
    fn call_ids_round_trip_and_refuse_rubbish() {
        let id = CallId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "12", "+0000000000000000000000000000001", "zz000000000000000000000000000000"] {
            assert_eq!(bad.parse::<CallId>(), Err(InvalidCallId), "{bad}");
        }
    }
}
