//! What may reach the stack: every datagram and stream message is judged here first, without state.
//!
//! The stack trusts its input further than the open Internet deserves: it takes messages without the headers its
//! later stages need, keeps a transaction for whatever it parsed, and a panic in its one receive loop would end the
//! agent. So the gate checks the grammar that matters, answers what is wrong with the right status, and finally
//! lets the stack's own parsers run once under `catch_unwind`.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::catch_unwind;

use rsipstack::sip::headers::typed::RecordRoute;
use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
use rsipstack::sip::{Method, SipMessage, Transport};
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transport::SipConnection;

use crate::address::{NameAddr, has_headers, is_uri, is_via};
use crate::message::{Message, content_length};

/// What this user agent understands (RFC 3261 §20.5).
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY";
/// Extensions a request may insist on.
const EXTENSIONS: [&str; 3] = ["100rel", "replaces", "timer"];
/// Seconds after which a refused caller may try again.
pub(crate) const RETRY_AFTER: &str = "5";

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The stack may have it, as given or completed.
    Pass(Vec<u8>),
    /// This answer goes back where it came from.
    Answer(Vec<u8>),
    /// Nothing can be said to it.
    Drop(&'static str),
}

/// How much is going on, which decides what may still come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Everything is taken.
    Normal,
    /// No new calls.
    Busy,
    /// Nothing that would need memory.
    Overrun,
}

/// What is taken at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Longest message, in bytes.
    pub(crate) max_message: usize,
    /// Whether REGISTER is served.
    pub(crate) registrar: bool,
}

impl Rules {
    fn allow(&self) -> Cow<'static, str> {
        if self.registrar { format!("{ALLOW}, REGISTER").into() } else { ALLOW.into() }
    }
}

/// Judges one message.
pub(crate) fn admit(raw: &[u8], rules: &Rules, load: Load) -> Verdict {
    // Some senders start with empty lines, which are to be ignored (RFC 3261 §7.5).
    let blank = raw.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let raw = &raw[blank..];
    let Some(message) = Message::scan(raw) else {
        return Verdict::Drop("no SIP message");
    };
    if message.start.starts_with("SIP/") {
        return response(raw, &message, rules.max_message);
    }
    match request(raw, &message, rules, load) {
        Ok(bytes) => Verdict::Pass(bytes),
        Err(refusal) => {
            let extra: Vec<(&str, &str)> = refusal.extra.iter().map(|(n, v)| (*n, v.as_str())).collect();
            match message.response(refusal.status, refusal.reason, &extra) {
                Some(answer) => Verdict::Answer(answer),
                None => Verdict::Drop(refusal.reason),
            }
        }
    }
}

struct Refusal {
    status: u16,
    reason: &'static str,
    extra: Vec<(&'static str, String)>,
}

fn refuse<T>(status: u16, reason: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, reason, extra: Vec::new() })
}

fn refuse_with<T>(
    status: u16,
    reason: &'static str,
    name: &'static str,
    value: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal { status, reason, extra: vec![(name, value.into())] })
}

fn response(raw: &[u8], message: &Message<'_>, max_message: usize) -> Verdict {
    let mut parts = message.start.splitn(3, ' ');
    let version = parts.next();
    let status = parts.next().filter(|s| s.len() == 3).and_then(|s| s.parse::<u16>().ok());
    if raw.len() > max_message
        || version != Some("SIP/2.0")
        || !status.is_some_and(|s| (100..700).contains(&s))
        || message.values("via").next().is_none()
        || ["from", "to", "call-id", "cseq"].iter().any(|name| message.single(name).is_none())
        || content_length(message).is_some_and(|n| n.is_err())
        || raw[..raw.len() - message.body.len()].contains(&0)
    {
        return Verdict::Drop("malformed response");
    }
    if stack_accepts(raw) { Verdict::Pass(raw.to_vec()) } else { Verdict::Drop("unreadable response") }
}

fn request(raw: &[u8], message: &Message<'_>, rules: &Rules, load: Load) -> Result<Vec<u8>, Refusal> {
    let mut parts = message.start.split(' ');
    let (Some(method), Some(uri), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return refuse(400, "Bad Request-Line");
    };
    if raw.len() > rules.max_message {
        return refuse(513, "Message Too Large");
    }
    if version != "SIP/2.0" {
        return refuse(505, "Version Not Supported");
    }
    if message.values("via").next().is_none()
        || ["from", "to", "call-id", "cseq"].iter().any(|name| message.single(name).is_none_or(str::is_empty))
    {
        return refuse(400, "Missing Or Repeated Header");
    }
    if !message.values("via").all(is_via)
        || ["from", "to"].iter().any(|name| message.single(name).and_then(NameAddr::parse).is_none())
    {
        return refuse(400, "Bad Via, From Or To");
    }
    if !is_uri(uri) || has_headers(uri) {
        return refuse(400, "Bad Request-URI");
    }
    let cseq = message.single("cseq").and_then(|cseq| cseq.split_once([' ', '\t']));
    if !cseq.is_some_and(|(n, m)| {
        is_number(n) && n.parse::<u32>().is_ok_and(|n| n < 1 << 31) && m.trim() == method
    }) {
        return refuse(400, "Bad CSeq");
    }
    let body = body(message)?;
    let allow = rules.allow();
    if !allow.split(", ").any(|known| known == method) {
        return refuse_with(405, "Method Not Allowed", "Allow", allow);
    }
    if raw[..raw.len() - message.body.len()].contains(&0) {
        return refuse(400, "Null In Header");
    }
    let scheme = uri.split(':').next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return refuse(416, "Unsupported URI Scheme");
    }
    if message.single("max-forwards").is_none_or(|hops| !is_number(hops) || hops.parse::<u8>().is_err()) {
        return refuse(400, "Bad Max-Forwards");
    }
    let required: Vec<&str> = message
        .values("require")
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|option| {
            !option.is_empty() && !EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(option))
        })
        .collect();
    if !required.is_empty() && method != "ACK" && method != "CANCEL" {
        return refuse_with(420, "Bad Extension", "Unsupported", required.join(", "));
    }
    if method == "INVITE" {
        invite(message, body)?;
    }
    let in_dialog = message.single("to").is_some_and(|to| to.to_ascii_lowercase().contains(";tag="));
    match load {
        Load::Overrun if method != "ACK" && method != "CANCEL" => {
            return refuse_with(503, "Service Unavailable", "Retry-After", RETRY_AFTER);
        }
        Load::Busy if !in_dialog && matches!(method, "INVITE" | "OPTIONS" | "REGISTER") => {
            return refuse_with(503, "Service Unavailable", "Retry-After", RETRY_AFTER);
        }
        _ => {}
    }
    let bytes = complete(raw, message, body);
    if stack_accepts(&bytes) {
        return Ok(bytes);
    }
    match Message::scan(&bytes).map(|message| message.plain()) {
        Some(plain) if stack_accepts(&plain) => Ok(plain),
        _ => refuse(400, "Bad Request"),
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The body that Content-Length names; without it, over datagrams, the rest (RFC 3261 §18.3).
fn body<'a>(message: &Message<'a>) -> Result<&'a [u8], Refusal> {
    match content_length(message) {
        None => Ok(message.body),
        Some(Err(())) => refuse(400, "Bad Content-Length"),
        Some(Ok(length)) => match message.body.get(..length) {
            Some(body) => Ok(body),
            None => refuse(400, "Content-Length Exceeds Message"),
        },
    }
}

fn invite(message: &Message<'_>, body: &[u8]) -> Result<(), Refusal> {
    if message.single("contact").and_then(NameAddr::parse).is_none_or(|contact| contact.uri == "*") {
        return refuse(400, "Bad Contact");
    }
    if let Some(encoding) = message.values("content-encoding").next()
        && !encoding.eq_ignore_ascii_case("identity")
    {
        return refuse_with(415, "Unsupported Media Type", "Accept-Encoding", "identity");
    }
    let kind = message.values("content-type").next().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !body.is_empty() && !kind.eq_ignore_ascii_case("application/sdp") {
        return refuse_with(415, "Unsupported Media Type", "Accept", "application/sdp");
    }
    Ok(())
}

/// The stack reads no body without a Content-Length, so a datagram that lacks one gets it.
fn complete(raw: &[u8], message: &Message<'_>, body: &[u8]) -> Vec<u8> {
    if body.is_empty() || content_length(message).is_some() {
        return raw.to_vec();
    }
    let head = raw.len() - message.body.len() - 2;
    let mut bytes = raw[..head].to_vec();
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Runs everything in the stack that reads a message before any task of its own does.
fn stack_accepts(raw: &[u8]) -> bool {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
    catch_unwind(|| {
        let message = SipMessage::try_from(raw).ok()?;
        message.from_header().ok()?.typed().ok()?.tag()?;
        message.to_header().ok()?.typed().ok()?;
        message.cseq_header().ok()?.typed().ok()?;
        for route in message.record_route_headers() {
            RecordRoute::parse_header_list(route.value()).ok()?;
        }
        match &message {
            SipMessage::Request(request) => {
                TransactionKey::from_request(request, TransactionRole::Server).ok()?;
                SipConnection::parse_target_from_via(request.via_header().ok()?).ok()?;
                if request.method == Method::Invite && request.typed_contact_headers().ok()?.len() != 1 {
                    return None;
                }
            }
            SipMessage::Response(response) => {
                TransactionKey::from_response(response, TransactionRole::Client).ok()?;
                response.has_multiple_vias();
                response.typed_contact_headers().ok()?;
            }
        }
        SipConnection::update_msg_received(message, here, Transport::Udp).ok()
    })
    .is_ok_and(|read| read.is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 8_192;
    const RULES: Rules = Rules { max_message: MAX, registrar: false };

    fn options(change: impl Fn(String) -> String) -> Verdict {
        let text = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h:5060;branch=z9hG4bKx\r\nFrom: <sip:c@d>;tag=1\r\n\
                    To: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 7 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
        admit(change(text.to_owned()).as_bytes(), &RULES, Load::Normal)
    }

    fn status(verdict: &Verdict) -> u16 {
        match verdict {
            Verdict::Pass(_) => 200,
            Verdict::Drop(_) => 0,
            Verdict::Answer(bytes) => {
                String::from_utf8_lossy(bytes).split(' ').nth(1).unwrap().parse().unwrap()
            }
        }
    }

    #[test]
    fn each_fault_has_its_status() {
        let cases: [(&str, &str, u16); 14] = [
            ("", "", 200),
            ("Max-Forwards: 70\r\n", "", 400),
            ("Max-Forwards: 70", "Max-Forwards: 256", 400),
            ("From: <sip:c@d>;tag=1\r\n", "", 0),
            ("From: <sip:c@d>;tag=1", "From: <sip:c@d>", 400),
            ("Call-ID: x", "Call-ID: x\r\nCall-ID: y", 400),
            ("7 OPTIONS", "7 INVITE", 400),
            ("7 OPTIONS", "9999999999 OPTIONS", 400),
            ("SIP/2.0\r\nVia", "SIP/3.0\r\nVia", 505),
            ("Content-Length: 0", "Content-Length: 9", 400),
            ("Content-Length: 0", "Content-Length: -1", 400),
            ("sip:a@b SIP", "tel:+123 SIP", 416),
            ("Content-Length: 0", "Require: nothing-known\r\nContent-Length: 0", 420),
            ("sip:a@b SIP", "sip: a@b SIP", 400),
        ];
        for (from, to, expected) in cases {
            assert_eq!(status(&options(|text| text.replacen(from, to, 1))), expected, "{from:?} -> {to:?}");
        }
        assert_eq!(status(&options(|text| text.replace("OPTIONS", "REGISTER"))), 405);
        assert_eq!(status(&options(|text| text.replace("OPTIONS", "NEWFANGLED"))), 405);
        assert_eq!(
            status(&options(|text| text.replace("Call-ID: x", &format!("Call-ID: {}", "x".repeat(MAX))))),
            513
        );
    }

    #[test]
    fn a_datagram_without_length_gets_one() {
        let Verdict::Pass(bytes) = options(|text| text.replace("Content-Length: 0\r\n\r\n", "\r\nhello"))
        else {
            panic!("refused");
        };
        assert!(bytes.ends_with(b"\r\nContent-Length: 5\r\n\r\nhello"));
    }

    #[test]
    fn a_busy_agent_refuses_calls_and_not_their_ends() {
        let invite = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:c@d>;tag=1\r\n\
                      To: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:c@d>\r\n\r\n";
        let bye = invite.replace("INVITE", "BYE").replace("To: <sip:a@b>", "To: <sip:a@b>;tag=2");
        let busy = admit(invite.as_bytes(), &RULES, Load::Busy);
        assert_eq!(status(&busy), 503);
        let Verdict::Answer(bytes) = busy else { unreachable!() };
        assert!(String::from_utf8(bytes).unwrap().contains("\r\nRetry-After: 5\r\n"));
        assert_eq!(status(&admit(bye.as_bytes(), &RULES, Load::Busy)), 200);
        assert_eq!(status(&admit(bye.as_bytes(), &RULES, Load::Overrun)), 503);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(raw in proptest::collection::vec(any::<u8>(), 0..600)) {
            admit(&raw, &RULES, Load::Normal);
        }

        #[test]
        fn no_damaged_message_panics(at in 0usize..300, with in "[ -~\r\n\u{e9}]{0,6}", cut in 0usize..40) {
            options(|text| {
                let at = at.min(text.len());
                let end = (at + cut).min(text.len());
                format!("{}{with}{}", &text[..at], &text[end..])
            });
        }
    }
}
