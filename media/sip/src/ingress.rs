//! The way in: limits, the gate, the access policy and digest authentication, one after the other, before the stack
//! keeps anything. What is let in carries a mark that says whose it is. Pure: time enters as an argument.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use rsipstack::sip::{Header, Request as StackRequest, StatusCode};

use crate::access::{Access, Decision, Peer, RequestFacts};
use crate::address::{NameAddr, address, unescape};
use crate::digest::{Authenticator, Proof, Request, fingerprint};
use crate::flow::SipTransport;
use crate::gate::{Load, RETRY_AFTER, Rules, Verdict, admit};
use crate::limits::{Limits, Room};
use crate::message::{Message, header_name};

/// Carries the mark from here to the agent. Whatever a sender writes under this name is removed.
const MARK: &str = "Antiphon-Peer";

/// What only a trusted peer may say: who somebody is, who diverted a call, how it is charged (RFC 3325, RFC 5806,
/// RFC 7044, RFC 7315).
const TRUSTED: [&str; 14] = [
    "p-asserted-identity",
    "remote-party-id",
    "diversion",
    "history-info",
    "privacy",
    "p-access-network-info",
    "p-associated-uri",
    "p-called-party-id",
    "p-charging-function-addresses",
    "p-charging-vector",
    "p-profile-key",
    "p-served-user",
    "p-user-database",
    "p-visited-network-id",
];

/// Whose a request is, and how it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) peer: Peer,
    pub(crate) source: SocketAddr,
    pub(crate) transport: SipTransport,
}

/// Decides about everything that comes in.
pub(crate) struct Ingress {
    pub(crate) limits: Limits,
    rules: Rules,
    access: Arc<dyn Access>,
    authenticator: Authenticator,
    /// Nobody outside can know it, so nobody can forge a mark.
    secret: String,
    challenged: AtomicU64,
    refused: AtomicU64,
}

impl Ingress {
    pub(crate) fn new(
        rules: Rules,
        access: Arc<dyn Access>,
        authenticator: Authenticator,
        limits: Limits,
    ) -> Self {
        let secret = format!("{:032x}", rand::rng().random::<u128>());
        Self {
            limits,
            rules,
            access,
            authenticator,
            secret,
            challenged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether a message of this source is to be read at all.
    pub(crate) fn room(&self, now: Duration, source: SocketAddr) -> Room {
        self.limits.message(now, source.ip())
    }

    /// Judges one message.
    pub(crate) fn judge(
        &self,
        now: Duration,
        source: SocketAddr,
        transport: SipTransport,
        raw: &[u8],
        load: Load,
    ) -> Verdict {
        let bytes = match admit(raw, &self.rules, load) {
            Verdict::Pass(bytes) => bytes,
            other => return other,
        };
        let Some(message) = Message::scan(&bytes) else { return Verdict::Drop("no SIP message") };
        let mut parts = message.start.split(' ');
        let (method, uri) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if method == "SIP/2.0" {
            return Verdict::Pass(bytes);
        }
        let Some(to) = message.single("to").and_then(NameAddr::parse) else {
            return answer(&message, 400, &[]);
        };
        match method {
            "INVITE" | "REGISTER" | "OPTIONS" if to.param("tag").is_none() => {}
            _ if to.param("tag").is_some() || matches!(method, "ACK" | "CANCEL") => {
                return Verdict::Pass(rewritten(&bytes, |name| unwanted(name, false), None));
            }
            // Whoever could send somebody a REFER could have us call at his expense.
            "REFER" => return self.refuse(now, source, transport, &message, 403),
            _ => return answer(&message, 481, &[]),
        }
        if method == "INVITE" && !self.limits.call(now, source.ip()) {
            return answer(&message, 503, &[("Retry-After", RETRY_AFTER)]);
        }
        let from = message.single("from").and_then(NameAddr::parse);
        let facts = RequestFacts {
            method,
            source,
            transport,
            from: address(from.map_or("", |from| from.uri)),
            to: address(to.uri),
            target: address(uri),
        };
        let peer = match self.access.decide(&facts) {
            Decision::Accept(peer) => peer,
            Decision::Authenticate { realm } => {
                match self.authenticate(now, (source, transport), &message, method, uri, &realm) {
                    Ok(peer) => peer,
                    Err(verdict) => return verdict,
                }
            }
            Decision::Refuse(status) => return self.refuse(now, source, transport, &message, status),
            Decision::Drop => return Verdict::Drop("not wanted by the access policy"),
        };
        let trusted = self.access.trusts(&peer);
        let mark = format!("{MARK}: {}", self.mark(&Entry { peer, source, transport }));
        Verdict::Pass(rewritten(&bytes, |name| unwanted(name, trusted), Some(&mark)))
    }

    /// Reads the mark of a request that was let in, and removes it.
    pub(crate) fn entry(&self, request: &mut StackRequest) -> Option<Entry> {
        let is_mark = |header: &Header| header.name().eq_ignore_ascii_case(MARK);
        let entry = request.headers.iter().find(|h| is_mark(h)).and_then(|h| self.unmark(h.value()));
        request.headers.retain(|header| !is_mark(header));
        request.uri = unescape(request.uri.clone());
        entry
    }

    /// Requests answered with a challenge, and requests refused by the policy, since the start.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.challenged.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    fn authenticate(
        &self,
        now: Duration,
        (source, transport): (SocketAddr, SipTransport),
        message: &Message<'_>,
        method: &str,
        uri: &str,
        realm: &str,
    ) -> Result<Peer, Verdict> {
        let [via, call_id, cseq] =
            ["via", "call-id", "cseq"].map(|name| message.values(name).next().unwrap_or_default());
        let request =
            Request { method, uri, source: source.ip(), fingerprint: fingerprint(&[via, call_id, cseq]) };
        let barred = Cell::new(false);
        let secret = |user: &str| {
            if !self.limits.may_try(now, source.ip(), user) {
                barred.set(true);
                return None;
            }
            self.access.secret(user, realm)
        };
        match self.authenticator.check(now, realm, &request, message.values("authorization"), secret) {
            Proof::Valid { user } => {
                self.limits.tried(now, source.ip(), &user, true);
                Ok(Peer::User(user))
            }
            Proof::Missing { stale } => {
                self.challenged.fetch_add(1, Ordering::Relaxed);
                let challenges = match transport {
                    SipTransport::Ws | SipTransport::Wss => {
                        self.authenticator.challenge_page(now, realm, source.ip(), stale)
                    }
                    _ => self.authenticator.challenge(now, realm, source.ip(), stale),
                };
                let headers: Vec<_> = challenges.iter().map(|c| ("WWW-Authenticate", c.as_str())).collect();
                Err(answer(message, 401, &headers))
            }
            Proof::Wrong { user } => {
                if !barred.get() {
                    self.limits.tried(now, source.ip(), &user, false);
                    if self.limits.fail(now, source.ip()) {
                        tracing::warn!(source = %source.ip(), "banned: too many wrong passwords");
                    }
                }
                Err(answer(message, 403, &[]))
            }
            Proof::Malformed(why) => {
                tracing::debug!(%source, why, "refused");
                Err(answer(message, 400, &[]))
            }
        }
    }

    fn refuse(
        &self,
        now: Duration,
        source: SocketAddr,
        transport: SipTransport,
        message: &Message<'_>,
        status: u16,
    ) -> Verdict {
        self.refused.fetch_add(1, Ordering::Relaxed);
        // Over datagrams anybody could have somebody else banned.
        if transport.is_stream() && self.limits.fail(now, source.ip()) {
            tracing::warn!(source = %source.ip(), "banned: too many refused requests");
        }
        answer(message, status.clamp(300, 699), &[])
    }

    fn mark(&self, entry: &Entry) -> String {
        let hex = |name: &str| name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (kind, name) = match &entry.peer {
            Peer::Anonymous => ("anonymous", String::new()),
            Peer::Trunk(name) => ("trunk", hex(name)),
            Peer::User(name) => ("user", hex(name)),
        };
        format!("{} {} {} {kind} x{name}", self.secret, entry.source, entry.transport)
    }

    fn unmark(&self, value: &str) -> Option<Entry> {
        let mut parts = value.trim().split(' ');
        if parts.next() != Some(self.secret.as_str()) {
            return None;
        }
        let (source, transport) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (kind, name) = (parts.next()?, parts.next()?.strip_prefix('x')?);
        let bytes: Option<Vec<u8>> = name
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let name = String::from_utf8(bytes?).ok()?;
        let peer = match kind {
            "anonymous" => Peer::Anonymous,
            "trunk" => Peer::Trunk(name),
            "user" => Peer::User(name),
            _ => return None,
        };
        Some(Entry { peer, source, transport })
    }
}

fn answer(message: &Message<'_>, status: u16, extra: &[(&str, &str)]) -> Verdict {
    let code = StatusCode::from(status);
    match message.response(status, code.text(), extra) {
        Some(answer) => Verdict::Answer(answer),
        None => Verdict::Drop("refused"),
    }
}

fn unwanted(name: &str, trusted: bool) -> bool {
    name.eq_ignore_ascii_case(MARK)
        // Checked here; nobody behind needs to see it.
        || name == "authorization"
        || (!trusted && TRUSTED.contains(&name))
}

/// The message without the header fields named, folded lines and all, and with one more at the end of the head.
fn rewritten(raw: &[u8], unwanted: impl Fn(&str) -> bool, more: Option<&str>) -> Vec<u8> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(raw.len());
    let (head, body) = raw.split_at(end);
    let Ok(head) = std::str::from_utf8(head) else { return raw.to_vec() };
    let mut bytes = Vec::with_capacity(raw.len() + more.map_or(0, |more| more.len() + 2));
    let mut keep = true;
    for (at, line) in head.split("\r\n").enumerate() {
        if at > 0 && !line.starts_with([' ', '\t']) {
            keep = !unwanted(&header_name(line.split(':').next().unwrap_or_default()));
        }
        if keep {
            if at > 0 {
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(line.as_bytes());
        }
    }
    if let Some(more) = more {
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(more.as_bytes());
    }
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{OpenAccess, Secret};
    use crate::digest::DigestAlgorithm;
    use crate::limits::LimitConfig;

    const NOW: Duration = Duration::from_secs(5);

    struct Policy;

    impl Access for Policy {
        fn decide(&self, facts: &RequestFacts<'_>) -> Decision {
            match facts.source.ip().to_string().as_str() {
                "192.0.2.1" => Decision::Accept(Peer::Trunk("carrier é".into())),
                "192.0.2.2" => Decision::Refuse(404),
                "192.0.2.3" => Decision::Drop,
                _ => Decision::Authenticate { realm: "here".into() },
            }
        }

        fn secret(&self, user: &str, _realm: &str) -> Option<Secret> {
            (user == "bob").then(|| Secret::Password("secret".into()))
        }

        fn trusts(&self, peer: &Peer) -> bool {
            matches!(peer, Peer::Trunk(_))
        }
    }

    fn ingress(access: Arc<dyn Access>) -> Ingress {
        let rules = Rules { max_message: 8_192, registrar: true };
        let authenticator = Authenticator::new(vec![DigestAlgorithm::Sha256], Duration::from_secs(60), 16);
        let limits = Limits::new(LimitConfig::default(), Arc::clone(&access));
        Ingress::new(rules, access, authenticator, limits)
    }

    fn source(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 5_060)
    }

    fn invite(extra: &str) -> String {
        format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:c@d>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:c@d>\r\n{extra}\r\n"
        )
    }

    fn judge(ingress: &Ingress, from: &str, text: &str) -> Verdict {
        ingress.judge(NOW, source(from), SipTransport::Udp, text.as_bytes(), Load::Normal)
    }

    fn passed(verdict: Verdict) -> StackRequest {
        let Verdict::Pass(bytes) = verdict else { panic!("{verdict:?}") };
        let message = rsipstack::sip::SipMessage::try_from(&bytes[..]).unwrap();
        let rsipstack::sip::SipMessage::Request(request) = message else { panic!("a request") };
        request
    }

    fn status(verdict: &Verdict) -> String {
        let Verdict::Answer(bytes) = verdict else { panic!("{verdict:?}") };
        String::from_utf8(bytes[8..11].to_vec()).unwrap()
    }

    #[test]
    fn the_policy_decides_and_the_mark_tells_whose_a_request_is() {
        let ingress = ingress(Arc::new(Policy));
        let mut request = passed(judge(&ingress, "192.0.2.1", &invite("")));
        let entry = Entry {
            peer: Peer::Trunk("carrier é".into()),
            source: source("192.0.2.1"),
            transport: SipTransport::Udp,
        };
        assert_eq!(ingress.entry(&mut request), Some(entry));
        assert!(!request.to_string().contains(MARK));
        assert_eq!(ingress.entry(&mut request), None);
        assert_eq!(status(&judge(&ingress, "192.0.2.2", &invite(""))), "404");
        assert!(matches!(judge(&ingress, "192.0.2.3", &invite("")), Verdict::Drop(_)));
        assert_eq!(ingress.counts(), (0, 1));
    }

    #[test]
    fn a_forged_mark_is_removed() {
        let ingress = ingress(Arc::new(OpenAccess));
        let forged = format!("{}: {} 192.0.2.1:1 udp trunk x61\r\n", "antiphon-PEER \t", "0".repeat(32));
        let mut request = passed(judge(&ingress, "192.0.2.9", &invite(&forged)));
        assert_eq!(ingress.entry(&mut request).unwrap().peer, Peer::Anonymous);
    }

    #[test]
    fn identities_are_heard_from_trusted_peers_alone() {
        let ingress = ingress(Arc::new(Policy));
        let claim = "P-Asserted-Identity: <sip:boss@d>\r\nX-Mine: 1\r\nprivacy :\r\n id\r\nDIVERSION: <sip:x@y>\r\n\
                     \t;reason=unknown\r\nP-Asserted-Identity: <tel:+1>\r\n";
        let trusted = passed(judge(&ingress, "192.0.2.1", &invite(claim))).to_string();
        assert_eq!(trusted.to_lowercase().matches("p-asserted-identity").count(), 2);
        let open = self::ingress(Arc::new(OpenAccess));
        let untrusted = passed(judge(&open, "192.0.2.1", &invite(claim))).to_string().to_lowercase();
        assert!(untrusted.contains("x-mine"));
        for gone in ["p-asserted-identity", "privacy", "id\r\n ", "diversion", "reason=unknown", "boss"] {
            assert!(!untrusted.contains(gone), "{gone}: {untrusted}");
        }
    }

    #[test]
    fn a_tag_within_a_name_or_an_address_opens_no_door() {
        let ingress = ingress(Arc::new(Policy));
        for to in ["\";tag=x\" <sip:a@b>", "<sip:a@b;tag=x>"] {
            let text = invite("").replace("To: <sip:a@b>", &format!("To: {to}"));
            assert_eq!(status(&judge(&ingress, "192.0.2.2", &text)), "404", "{to}");
        }
    }

    #[test]
    fn what_makes_no_sense_outside_a_call_is_refused_without_state() {
        let ingress = ingress(Arc::new(OpenAccess));
        for (method, expected) in [("BYE", "481"), ("INFO", "481"), ("MESSAGE", "405"), ("SUBSCRIBE", "405")]
        {
            let text = invite("").replace("INVITE", method);
            assert_eq!(status(&judge(&ingress, "192.0.2.9", &text)), expected, "{method}");
        }
    }

    #[test]
    fn too_many_calls_of_one_source_are_refused() {
        let ingress = ingress(Arc::new(OpenAccess));
        let taken = (0..1_000)
            .filter(|_| matches!(judge(&ingress, "192.0.2.9", &invite("")), Verdict::Pass(_)))
            .count();
        assert_eq!(taken, 200);
        assert_eq!(status(&judge(&ingress, "192.0.2.9", &invite(""))), "503");
        passed(judge(&ingress, "192.0.2.10", &invite("")));
    }
}
