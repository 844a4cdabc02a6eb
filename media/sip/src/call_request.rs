//! What is asked for in a call that goes out, checked, and the INVITE made of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::sip::headers::make_header;
use rsipstack::sip::{Header, Method, Request, Transport, Uri, Version};
use rsipstack::transaction::{make_tag, make_uuid_v4};

use crate::address::unescape;
use crate::agent::{Core, SipError};
use crate::credentials::Credentials;
use crate::flow::SipTransport;
use crate::gate::ALLOW;
use crate::leg::Nat;
use crate::replaces::Replaces;
use crate::timers::SessionExpires;

/// Proxies a call may be sent through.
const MAX_ROUTES: usize = 8;

/// A call to place.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// Whom to call: `sip:user@host[:port]`.
    pub to_uri: Pii<String>,
    /// Who calls: `sip:user@host`.
    pub from: Pii<String>,
    /// Name to show for the caller.
    pub display_name: Option<Pii<String>>,
    /// Session description offered. Without one the far side offers: its offer comes with [`OutgoingEvent::Answered`](crate::OutgoingEvent::Answered), and
    /// [`Dialog::acknowledge`](crate::Dialog::acknowledge) answers it.
    pub sdp: Option<String>,
    /// Further headers, name and value. Names the protocol itself writes (Via, From, Route, Contact, Authorization,
    /// Content-Type …) are refused.
    pub headers: Vec<(String, String)>,
    /// How long it may go unanswered before it is cancelled.
    pub ring_timeout: Duration,
    /// What carries the signalling.
    pub transport: SipTransport,
    /// For the far side's challenges, by 401 and 407.
    pub credentials: Option<Credentials>,
    /// Where the request goes on the wire, whatever `to_uri` says; for a registered phone, where it registered from.
    pub destination: Option<SocketAddr>,
    /// Proxies on the way, nearest first: an outbound proxy (`sip:host[:port]`), or the `path` of a
    /// [`Binding`](crate::Binding). Without a `destination` the call is sent to the first.
    pub routes: Vec<String>,
    /// The caller as this side vouches for it (P-Asserted-Identity, RFC 3325): `sip:user@host` or `tel:…`.
    pub asserted_identity: Option<Pii<String>>,
    /// The dialog of the far side that this call takes the place of (RFC 3891).
    pub replaces: Option<Replaces>,
    /// Who caused this call by a transfer (RFC 3892): an address, or the whole header value that came with the REFER.
    pub referred_by: Option<Pii<String>>,
    /// Whether the far side is where its Contact says.
    pub nat: Nat,
}

impl CallRequest {
    /// A call over UDP that may ring for a minute.
    #[must_use]
    pub fn new(to_uri: &str, from: &str, sdp: String) -> Self {
        Self {
            to_uri: Pii::new(to_uri.to_owned()),
            from: Pii::new(from.to_owned()),
            display_name: None,
            sdp: Some(sdp),
            headers: Vec::new(),
            ring_timeout: Duration::from_secs(60),
            transport: SipTransport::Udp,
            credentials: None,
            destination: None,
            routes: Vec::new(),
            asserted_identity: None,
            replaces: None,
            referred_by: None,
            nat: Nat::Auto,
        }
    }
}

/// What stays the same in every INVITE of one call.
pub(crate) struct Draft {
    pub(crate) callee: Uri,
    pub(crate) routes: Vec<Uri>,
    pub(crate) from: String,
    pub(crate) call_id: String,
    pub(crate) contact: Uri,
    pub(crate) extra: Vec<Header>,
    pub(crate) sdp: Option<String>,
    pub(crate) interval: Option<Duration>,
    pub(crate) least: Duration,
    pub(crate) nat: Nat,
}

impl Draft {
    pub(crate) fn new(core: &Arc<Core>, request: &CallRequest) -> Result<Self, SipError> {
        let invalid = |what| SipError::Invalid { what };
        let callee = uri(request.to_uri.expose()).ok_or(invalid("called address"))?;
        let caller = uri(request.from.expose()).ok_or(invalid("caller address"))?;
        let name = match &request.display_name {
            Some(name) if name.expose().contains(['"', '\\']) || !is_text(name.expose()) => {
                return Err(invalid("display name"));
            }
            Some(name) => format!("\"{}\" ", name.expose()),
            None => String::new(),
        };
        let route = |text: &String| uri(text.trim().trim_start_matches('<').trim_end_matches('>'));
        let routes: Option<Vec<Uri>> = request.routes.iter().map(route).collect();
        let routes = routes.filter(|routes| routes.len() <= MAX_ROUTES).ok_or(invalid("route"))?;
        let mut extra = Vec::new();
        if let Some(identity) = &request.asserted_identity {
            let value = identity.expose();
            if !is_address(value) {
                return Err(invalid("asserted identity"));
            }
            extra.push(Header::PAssertedIdentity(format!("<{value}>").into()));
        }
        if let Some(by) = &request.referred_by {
            let value = by.expose();
            if !is_text(value) || value.is_empty() {
                return Err(invalid("referring address"));
            }
            let value = if value.contains('<') { value.clone() } else { format!("<{value}>") };
            extra.push(Header::ReferredBy(value.into()));
        }
        if let Some(replaces) = &request.replaces {
            extra.push(Header::Replaces(replaces.value().ok_or(invalid("replaced dialog"))?.into()));
            extra.push(Header::Require("replaces".into()));
        }
        for (name, value) in &request.headers {
            if !is_free_header(name) || !is_text(value) {
                return Err(invalid("header"));
            }
            extra.push(make_header(name, value.clone()));
        }
        let tag = make_tag().to_string();
        Ok(Self {
            from: format!("{name}<{caller}>;tag={tag}"),
            callee,
            routes,
            call_id: make_uuid_v4(),
            contact: core.contact(request.transport.stack())?,
            extra,
            sdp: request.sdp.clone(),
            interval: core.config.session_expires,
            least: core.config.min_se,
            nat: request.nat,
        })
    }

    pub(crate) fn invite(
        &self,
        core: &Core,
        transport: Transport,
        seq: u32,
        authorization: Vec<Header>,
    ) -> Result<Request, SipError> {
        let mut headers = vec![
            Header::Via(core.via(transport)?.into()),
            Header::MaxForwards(70.into()),
            Header::From(self.from.clone().into()),
            Header::To(format!("<{}>", self.callee).into()),
            Header::CallId(self.call_id.clone().into()),
            Header::CSeq(format!("{seq} INVITE").into()),
            Header::Contact(format!("<{}>", self.contact).into()),
            Header::Allow(ALLOW.into()),
            Header::Supported(core.supported().into()),
        ];
        for route in &self.routes {
            let loose = if route.to_string().to_ascii_lowercase().contains(";lr") { "" } else { ";lr" };
            headers.push(Header::Route(format!("<{route}{loose}>").into()));
        }
        if let Some(interval) = self.interval {
            let expires = SessionExpires { interval: interval.max(self.least), refresher: None };
            headers.push(Header::SessionExpires(expires.value().into()));
            headers.push(Header::MinSE(self.least.as_secs().to_string().into()));
        }
        headers.extend(self.extra.iter().cloned());
        headers.extend(authorization);
        let body = self.sdp.as_deref().unwrap_or_default().as_bytes().to_vec();
        if !body.is_empty() {
            headers.push(Header::ContentType("application/sdp".into()));
        }
        headers.push(Header::ContentLength(u32::try_from(body.len()).unwrap_or(u32::MAX).into()));
        Ok(Request {
            method: Method::Invite,
            uri: self.callee.clone(),
            headers: headers.into(),
            body,
            version: Version::V2,
        })
    }
}

/// A `sip:` or `sips:` address that can stand between angle brackets.
pub(crate) fn uri(text: &str) -> Option<Uri> {
    let scheme = text.split(':').next().unwrap_or_default();
    if !(scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")) || !is_address(text) {
        return None;
    }
    Uri::try_from(text).ok().map(unescape)
}

fn is_address(text: &str) -> bool {
    text.contains(':') && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b))
}

pub(crate) fn is_text(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whether a header may be added to a call: a token, and not one the protocol writes itself.
fn is_free_header(name: &str) -> bool {
    const OWN: [&str; 40] = [
        "via",
        "v",
        "from",
        "f",
        "to",
        "t",
        "call-id",
        "i",
        "cseq",
        "max-forwards",
        "contact",
        "m",
        "route",
        "record-route",
        "content-length",
        "l",
        "content-type",
        "c",
        "content-encoding",
        "e",
        "allow",
        "supported",
        "k",
        "require",
        "proxy-require",
        "authorization",
        "proxy-authorization",
        "www-authenticate",
        "proxy-authenticate",
        "session-expires",
        "x",
        "min-se",
        "rseq",
        "rack",
        "replaces",
        "refer-to",
        "r",
        "event",
        "user-agent",
        "server",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    !name.is_empty() && name.bytes().all(token) && !OWN.iter().any(|own| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_protocol_cannot_be_smuggled() {
        for name in [
            "Via",
            "v",
            "FROM",
            "route",
            "Contact",
            "Content-Length",
            "l",
            "Authorization",
            "",
            "A B",
            "X:",
            "X\r\nVia",
        ] {
            assert!(!is_free_header(name), "{name:?}");
        }
        for name in ["X-Campaign", "Diversion", "History-Info", "P-Preferred-Identity", "Subject"] {
            assert!(is_free_header(name), "{name:?}");
        }
        assert!(!is_text("a\r\nVia: b") && !is_text("a\0"));
    }
}
