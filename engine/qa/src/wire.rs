//! How values of other crates are written in results: seconds with milliseconds, roles as words.

use antiphon_engine_measure::Role;
use antiphon_media_frame::MediaTime;

/// The word for a role.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Customer => "customer",
        Role::Agent => "agent",
        Role::Other => "other",
    }
}

/// The role of a word.
pub(crate) fn role_named(name: &str) -> Option<Role> {
    match name {
        "customer" => Some(Role::Customer),
        "agent" => Some(Role::Agent),
        "other" => Some(Role::Other),
        _ => None,
    }
}

/// Whole milliseconds: what a result can say, so that it reads back equal.
pub(crate) const fn whole(at: MediaTime) -> MediaTime {
    MediaTime::from_millis(at.millis())
}

pub(crate) mod seconds {
    use antiphon_media_frame::MediaTime;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(at: &MediaTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(at.millis() as f64 / 1000.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MediaTime, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if !(-1e9..=1e9).contains(&seconds) {
            return Err(D::Error::custom("a time of more than a thousand million seconds"));
        }
        Ok(MediaTime::from_millis((seconds * 1000.0).round() as i64))
    }
}

pub(crate) mod words {
    //! Text that people said.
    use antiphon_media_frame::Pii;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(text: &Pii<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pii<String>, D::Error> {
        String::deserialize(deserializer).map(Pii::new)
    }
}
