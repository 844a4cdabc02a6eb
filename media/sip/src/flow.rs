//! Flows: connected streams to a peer, reused while they stand (RFC 5626), opened with the gate in front.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rsipstack::platform::CancellationToken;
use rsipstack::sip::Transport;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agent::{Core, SipError};
use crate::tls;
use crate::transport::{Carrier, Wire, attach};
use crate::websocket;

/// How long a connection may take to stand.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// What carries the signalling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SipTransport {
    /// Datagrams.
    #[default]
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket under TLS.
    Wss,
}

impl SipTransport {
    /// Whether it runs over a connection: everything but UDP.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether it is encrypted.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The port taken where none is named (RFC 3261 §19.1.2, RFC 7118 §5.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// The `transport` parameter of a SIP address.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    pub(crate) const fn stack(self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Tcp => Transport::Tcp,
            Self::Tls => Transport::Tls,
            Self::Ws => Transport::Ws,
            Self::Wss => Transport::Wss,
        }
    }

    pub(crate) const fn of_stack(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Tls => Self::Tls,
            Transport::Ws => Self::Ws,
            Transport::Wss => Self::Wss,
            // SCTP is never bound.
            Transport::Udp | Transport::Sctp | Transport::TlsSctp => Self::Udp,
        }
    }
}

impl fmt::Display for SipTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SipTransport {
    type Err = SipError;

    fn from_str(text: &str) -> Result<Self, SipError> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|transport| transport.name().eq_ignore_ascii_case(text))
            .ok_or(SipError::Invalid { what: "transport: write udp, tcp, tls, ws or wss" })
    }
}

/// The connections that stand, so that requests go over one that is there: phones behind NAT and browsers are reached
/// no other way.
#[derive(Default)]
pub(crate) struct Flows {
    standing: Mutex<HashMap<(SipTransport, SocketAddr), (u64, CancellationToken)>>,
    next: AtomicU64,
}

impl Flows {
    /// Notes a connection; a later one with the same ends takes its place.
    pub(crate) fn add(&self, transport: SipTransport, peer: SocketAddr, token: CancellationToken) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.standing().insert((transport, peer), (id, token));
        id
    }

    /// Forgets a connection; whether it was still the one in use.
    pub(crate) fn remove(&self, transport: SipTransport, peer: SocketAddr, id: u64) -> bool {
        let mut standing = self.standing();
        let current = standing.get(&(transport, peer)).is_some_and(|(at, _)| *at == id);
        if current {
            standing.remove(&(transport, peer));
        }
        current
    }

    /// Cancelled when the connection breaks; `None` if there is none.
    pub(crate) fn token(&self, transport: SipTransport, peer: SocketAddr) -> Option<CancellationToken> {
        let standing = self.standing();
        let (_, token) = standing.get(&(transport, peer))?;
        (!token.is_cancelled()).then(|| token.clone())
    }

    fn standing(&self) -> MutexGuard<'_, HashMap<(SipTransport, SocketAddr), (u64, CancellationToken)>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes sure that there is a connection to a peer, before the stack would open one past the gate. `host` is the name
/// that the peer's certificate has to carry.
pub(crate) async fn flow(
    core: &Arc<Core>,
    transport: SipTransport,
    address: SocketAddr,
    host: &str,
) -> Result<(), SipError> {
    if !transport.is_stream() || core.guard.flows.token(transport, address).is_some() {
        return Ok(());
    }
    let failed = |error| SipError::Socket { address, error };
    let stream = timeout(CONNECT_LIMIT, TcpStream::connect(address))
        .await
        .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    stream.set_nodelay(true).ok();
    let wire: Box<dyn Wire> = if transport.is_secure() {
        let config = &core.config;
        let shaken = tls::connect(stream, host, &config.tls_trust, config.tls_identity.as_ref()).await;
        Box::new(shaken.map_err(|error| SipError::Tls { host: host.to_owned(), error })?)
    } else {
        Box::new(stream)
    };
    let carrier = match transport {
        SipTransport::Ws | SipTransport::Wss => {
            let authority = format!("{host}:{}", address.port());
            let max_message = core.config.max_message;
            let socket = websocket::connect(wire, &authority, transport.is_secure(), max_message).await;
            Carrier::WebSocket(Box::new(socket.map_err(failed)?))
        }
        SipTransport::Udp | SipTransport::Tcp | SipTransport::Tls => Carrier::Stream(wire),
    };
    attach(carrier, address, transport, &core.guard, &core.stop, None).await.map(drop).ok_or(SipError::Over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_connections_the_later_is_used() {
        let flows = Flows::default();
        let peer = SocketAddr::from(([192, 0, 2, 1], 5_060));
        let (one, two) = (CancellationToken::new(), CancellationToken::new());
        let first = flows.add(SipTransport::Tls, peer, one);
        let second = flows.add(SipTransport::Tls, peer, two.clone());
        assert!(!flows.remove(SipTransport::Tls, peer, first));
        assert!(
            flows.token(SipTransport::Tls, peer).is_some() && flows.token(SipTransport::Tcp, peer).is_none()
        );
        two.cancel();
        assert!(flows.token(SipTransport::Tls, peer).is_none(), "broken");
        assert!(flows.remove(SipTransport::Tls, peer, second));
    }

    #[test]
    fn a_transport_is_read_as_it_is_written() {
        for transport in
            [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls, SipTransport::Ws, SipTransport::Wss]
        {
            assert_eq!(transport.name().to_uppercase().parse::<SipTransport>().unwrap(), transport);
            assert_eq!(SipTransport::of_stack(transport.stack()), transport);
        }
        assert!("sctp".parse::<SipTransport>().is_err());
    }
}
