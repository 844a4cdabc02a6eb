//! Lengths of time as a person writes them.

use std::str::FromStr;
use std::time::Duration;

use antiphon_media_frame::Span;
use serde::{Deserialize, Serialize};

/// A length of time in configuration: `"20ms"`, `"5s"`, `"2m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length(pub(crate) Duration);

impl Length {
    pub(crate) const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub(crate) fn span(self) -> Span {
        self.0.into()
    }
}

impl Serialize for Length {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        match (millis % 60_000, millis % 1_000) {
            (0, _) if millis > 0 => serializer.collect_str(&format_args!("{}m", millis / 60_000)),
            (_, 0) => serializer.collect_str(&format_args!("{}s", millis / 1_000)),
            _ => serializer.collect_str(&format_args!("{millis}ms")),
        }
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_length(text)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no length of time; write \"20ms\", \"5s\", \"2m\" or \"1h\""))
    }
}

pub(crate) fn parse_length(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let unit = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = number.checked_mul(unit)?;
    // A year; longer is a slip of the pen and would overflow clocks.
    (millis <= 365 * 86_400_000).then(|| Duration::from_millis(millis))
}
