//! How times stand in JSON: in seconds, whole milliseconds of them, rounded towards the past.

use antiphon_media_frame::{MediaTime, Span};
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// A century: more is no time of a call.
const FARTHEST_S: f64 = 3_155_760_000.0;

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    if seconds.abs() > FARTHEST_S {
        return Err(D::Error::custom(format!("{seconds} is no time of a call: seconds are wanted")));
    }
    Ok((seconds * 1000.0).round() as i64)
}

pub(crate) mod time {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(at: &MediaTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(at.millis() as f64 / 1000.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MediaTime, D::Error> {
        read(deserializer).map(MediaTime::from_millis)
    }
}

pub(crate) mod length {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(span.millis() as f64 / 1000.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let millis = read(deserializer)?;
        let millis =
            u64::try_from(millis).map_err(|_| D::Error::custom("a length of time is not below zero"))?;
        Ok(Span::from_millis(millis))
    }
}

pub(crate) mod maybe_length {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(span: &Option<Span>, serializer: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => length::serialize(span, serializer),
            None => serializer.serialize_none(),
        }
    }
}
