//! Values that headers set, for a request or for a session (RFC 6787 sections 6.2, 8.4 and 9.4).

use antiphon_media_frame::Span;

use crate::message::Message;

/// Response codes (RFC 6787 section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done, or begun.
    Success,
    /// The method does not exist here.
    NotAllowed,
    /// Not now.
    NotValidInState,
    /// A header is unknown or cannot be set.
    UnsupportedHeader,
    /// A header has a value that it cannot have.
    IllegalValue,
    /// No such channel.
    NoResource,
    /// A header is missing.
    MissingHeader,
    /// It failed.
    Failed,
    /// The body cannot be used.
    UnsupportedEntity,
    /// A header has a value that is not served.
    UnsupportedValue,
    /// The number of the request is not above the last.
    OutOfOrder,
}

impl Status {
    /// Its number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::NotAllowed => 401,
            Self::NotValidInState => 402,
            Self::UnsupportedHeader => 403,
            Self::IllegalValue => 404,
            Self::NoResource => 405,
            Self::MissingHeader => 406,
            Self::Failed => 407,
            Self::UnsupportedEntity => 408,
            Self::UnsupportedValue => 409,
            Self::OutOfOrder => 410,
        }
    }
}

/// A header that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) status: Status,
    pub(crate) header: &'static str,
}

/// Reads the value of a header.
pub(crate) fn read<T>(
    message: &Message,
    header: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Wrong> {
    match message.headers.value(header) {
        None => Ok(None),
        Some(value) => match parse(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Wrong { status: Status::IllegalValue, header }),
        },
    }
}

/// Milliseconds, up to a day.
pub(crate) fn millis(text: &str) -> Option<Span> {
    text.parse().ok().filter(|ms| *ms <= 86_400_000).map(Span::from_millis)
}

/// 0 to 1.
pub(crate) fn fraction(text: &str) -> Option<f32> {
    text.parse().ok().filter(|value| (0.0..=1.0).contains(value))
}

/// `true` or `false`.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Numbers of requests, apart by commas.
pub(crate) fn ids(text: &str) -> Option<Vec<u32>> {
    text.split(',').map(|id| id.trim().parse().ok()).take(65).collect()
}

/// Numbers of requests as they are written.
pub(crate) fn list(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
