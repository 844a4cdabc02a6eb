//! Reading header fields of messages that came in.

use rsipstack::sip::headers::typed::{RecordRoute, Route};
use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
use rsipstack::sip::{Request, Response, Uri};

use crate::address::unescape;
use crate::timers::{SessionExpires, Wish, seconds};

/// What a request says about session timers.
pub(crate) fn wish(message: &impl HeadersExt) -> Wish {
    Wish {
        expires: message
            .header_value("Session-Expires")
            .or_else(|| message.header_value("x"))
            .and_then(|value| SessionExpires::parse(&value)),
        min: message.header_value("Min-SE").and_then(|value| seconds(&value)),
        supported: has_token(message, "Supported", "timer") || has_token(message, "Require", "timer"),
    }
}

/// Whether one of the comma-separated headers of this name holds a token.
pub(crate) fn has_token(message: &impl HeadersExt, name: &str, token: &str) -> bool {
    message
        .headers()
        .iter()
        .filter(|header| header.name().eq_ignore_ascii_case(name))
        .flat_map(|header| header.value().split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// Record-Route as a list of Route values, topmost first.
pub(crate) fn record_route(message: &impl HeadersExt) -> Vec<String> {
    message
        .record_route_headers()
        .into_iter()
        .filter_map(|header| RecordRoute::parse_header_list(header.value()).ok())
        .flatten()
        .map(|entry| {
            Route { display_name: entry.display_name, uri: entry.uri, params: entry.params }.to_string()
        })
        .collect()
}

/// The tag of the To header.
pub(crate) fn to_tag(response: &Response) -> Option<String> {
    Some(response.to_header().ok()?.tag().ok()??.value().to_owned())
}

/// The number in the CSeq header.
pub(crate) fn cseq(message: &impl HeadersExt) -> Option<u32> {
    message.cseq_header().ok()?.seq().ok()
}

/// The body of a message as a session description, if it has one.
pub(crate) fn session_description(body: &[u8]) -> Option<String> {
    (!body.is_empty()).then(|| String::from_utf8_lossy(body).into_owned())
}

/// The value of a Contact header's first address.
pub(crate) fn contact_of(request: &Request) -> Option<Uri> {
    let typed = request.contact_header().ok()?.typed().ok()?;
    Some(unescape(typed.uri))
}
