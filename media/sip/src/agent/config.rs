//! How an agent listens, and its limits.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{Access, OpenAccess};
use crate::digest::DigestAlgorithm;
use crate::limits::LimitConfig;
use crate::registrar::Registrar;
use crate::tls::{TlsIdentity, TlsTrust};

/// How to listen, and the limits.
#[derive(Clone)]
pub struct AgentConfig {
    /// UDP addresses; port 0 takes a free one.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses; port 0 takes a free one.
    pub tcp: Vec<SocketAddr>,
    /// TLS addresses; port 0 takes a free one. They need [`AgentConfig::tls_identity`].
    pub tls: Vec<SocketAddr>,
    /// WebSocket addresses (RFC 7118); port 0 takes a free one.
    pub ws: Vec<SocketAddr>,
    /// WebSocket addresses under TLS; port 0 takes a free one. They need [`AgentConfig::tls_identity`].
    pub wss: Vec<SocketAddr>,
    /// Who this side is: shown by TLS listeners, and to peers that ask who connects.
    pub tls_identity: Option<Arc<TlsIdentity>>,
    /// Whom this side trusts where it connects.
    pub tls_trust: TlsTrust,
    /// Whom it trusts where others connect: with it, each has to show a certificate.
    pub tls_clients: Option<TlsTrust>,
    /// Origins of the pages that may connect by WebSocket, like `https://phone.example`; none means all.
    pub ws_origins: Vec<String>,
    /// Value of the User-Agent and Server headers; without one there are none.
    pub user_agent: Option<String>,
    /// Longest message taken, in bytes. Datagrams are cut at 8192 in any case.
    pub max_message: usize,
    /// Calls in any state at once, both ways; one more is refused with 503.
    pub max_calls: usize,
    /// TCP connections taken at once; one more waits in the listener's backlog.
    pub max_connections: usize,
    /// Transactions held at once, finished ones included, before new calls are refused with 503. At twice as many
    /// every request is.
    pub max_transactions: usize,
    /// Calls that may wait to be taken from the receiver of [`Agent::bind`](crate::Agent::bind); one more is refused with 503.
    pub incoming_queue: usize,
    /// How long an incoming call may stay undecided before it is refused with 480.
    pub ring_limit: Duration,
    /// How long a TCP connection may be silent.
    pub stream_idle: Duration,
    /// RFC 3261 T1. The other timers follow: no ACK within 64 T1 ends a call.
    pub t1: Duration,
    /// Session interval asked for and granted (RFC 4028): a side that is gone is noticed within it. `None` asks for
    /// none; what callers ask for is obeyed all the same.
    pub session_expires: Option<Duration>,
    /// Least session interval asked for and taken; a shorter one is refused with 422. RFC 4028 §4 wants 90 s; less is
    /// for tests.
    pub min_se: Duration,
    /// Who may do what.
    pub access: Arc<dyn Access>,
    /// Where phones register; without one REGISTER is not served. Only users who gave their password may register,
    /// and only themselves: [`AgentConfig::access`] has to say [`Decision::Authenticate`](crate::Decision).
    pub registrar: Option<Arc<Registrar>>,
    /// Rates, failures and bans for each source.
    pub limits: LimitConfig,
    /// What passwords are asked for with, in order of preference (RFC 8760).
    pub digest_algorithms: Vec<DigestAlgorithm>,
    /// How long a nonce is taken before a phone is asked with a new one.
    pub nonce_lifetime: Duration,
    /// Name servers to ask for SRV records and addresses; the system's, and its own ways to find hosts, where there are
    /// none.
    pub name_servers: Vec<SocketAddr>,
}

impl fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConfig")
            .field("udp", &self.udp)
            .field("tcp", &self.tcp)
            .field("tls", &self.tls)
            .field("ws", &self.ws)
            .field("wss", &self.wss)
            .field("max_calls", &self.max_calls)
            .finish_non_exhaustive()
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            tls: Vec::new(),
            ws: Vec::new(),
            wss: Vec::new(),
            tls_identity: None,
            tls_trust: TlsTrust::system(),
            tls_clients: None,
            ws_origins: Vec::new(),
            user_agent: Some(concat!("antiphon/", env!("CARGO_PKG_VERSION")).to_owned()),
            max_message: 8_192,
            max_calls: 1_000,
            max_connections: 1_024,
            max_transactions: 20_000,
            incoming_queue: 512,
            ring_limit: Duration::from_secs(180),
            stream_idle: Duration::from_secs(3_600),
            t1: Duration::from_millis(500),
            session_expires: Some(Duration::from_secs(1_800)),
            min_se: Duration::from_secs(90),
            access: Arc::new(OpenAccess),
            registrar: None,
            limits: LimitConfig::default(),
            digest_algorithms: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
            nonce_lifetime: Duration::from_secs(300),
            name_servers: Vec::new(),
        }
    }
}
