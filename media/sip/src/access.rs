//! Who may do what: the one hook through which every request outside a dialog passes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use antiphon_media_frame::Pii;

use crate::flow::SipTransport;

/// Decides about every INVITE, REGISTER and OPTIONS outside a dialog, before anything is kept for it. Called on the
/// receiving task: it has to answer at once.
pub trait Access: Send + Sync + 'static {
    /// What becomes of a request.
    fn decide(&self, facts: &RequestFacts<'_>) -> Decision;

    /// What `user` proves to be itself with, or `None` for a user that does not exist.
    fn secret(&self, user: &str, realm: &str) -> Option<Secret>;

    /// Whether a source is never limited nor banned, besides those of [`LimitConfig::allow`](crate::LimitConfig): a carrier
    /// sends as fast as people call.
    fn exempts(&self, _source: IpAddr) -> bool {
        false
    }

    /// Whether a peer's word on identities counts: P-Asserted-Identity, Diversion, Privacy and their like are
    /// removed from the requests of all others (RFC 3325 §8). Nobody is trusted unless this says so.
    fn trusts(&self, _peer: &Peer) -> bool {
        false
    }
}

/// Lets everybody in as [`Peer::Anonymous`]: what an agent does without another policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenAccess;

impl Access for OpenAccess {
    fn decide(&self, _facts: &RequestFacts<'_>) -> Decision {
        Decision::Accept(Peer::Anonymous)
    }

    fn secret(&self, _user: &str, _realm: &str) -> Option<Secret> {
        None
    }
}

/// What is known of a request before it is let in. All but `source` and `transport` is what the sender claims.
#[derive(Clone, Debug)]
pub struct RequestFacts<'a> {
    /// `INVITE`, `REGISTER` or `OPTIONS`.
    pub method: &'a str,
    /// Where it came from on the wire.
    pub source: SocketAddr,
    /// What carried it.
    pub transport: SipTransport,
    /// Address in the From header.
    pub from: Address,
    /// Address in the To header: at a REGISTER, who is registered.
    pub to: Address,
    /// The Request-URI: where it was really sent to.
    pub target: Address,
}

impl RequestFacts<'_> {
    /// Whether it came from a browser, most likely.
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        matches!(self.transport, SipTransport::Ws | SipTransport::Wss)
    }
}

/// User and host of a SIP address. Both are empty where it could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// User part, escapes undone; empty for an address without one.
    pub user: Pii<String>,
    /// Host part in lower case, without port.
    pub host: String,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is let in, as this peer's.
    Accept(Peer),
    /// It is let in once it proves to be a user's (RFC 7616): it becomes [`Peer::User`].
    Authenticate {
        /// The realm that passwords belong to.
        realm: String,
    },
    /// It is answered with this status, from 300 to 699.
    Refuse(u16),
    /// It is not answered at all.
    Drop,
}

/// Who sent a request, as far as it is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Anybody.
    #[default]
    Anonymous,
    /// A trunk, by its configured name.
    Trunk(String),
    /// A user who gave the right password.
    User(String),
}

/// What a user proves to be itself with.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password in clear.
    Password(String),
    /// `H(user:realm:password)` in lower-case hexadecimal, for the algorithms it is known for (RFC 7616 §3.4.2).
    Ha1 {
        /// 32 digits.
        md5: Option<String>,
        /// 64 digits.
        sha256: Option<String>,
    },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
