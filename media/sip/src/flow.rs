//! Flows: connected streams to a peer, reused while they stand (RFC 5626), opened with the gate in front.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::Transport;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agent::{Core, SipError};
use crate::transport::attach;

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

/// Connects before the stack would, so that the stream has the gate in front.
pub(crate) async fn flow(
    core: &Arc<Core>,
    transport: SipTransport,
    address: SocketAddr,
    _host: &str,
) -> Result<(), SipError> {
    if transport != SipTransport::Tcp {
        return Err(SipError::NoTransport);
    }
    let failed = |error| SipError::Socket { address, error };
    let stream = timeout(CONNECT_LIMIT, TcpStream::connect(address))
        .await
        .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    attach(stream, address, &core.guard, &core.stop, None).await.map(drop).ok_or(SipError::Over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_is_read_as_it_is_written() {
        for transport in
            [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls, SipTransport::Ws, SipTransport::Wss]
        {
            assert_eq!(transport.name().to_uppercase().parse::<SipTransport>().unwrap(), transport);
        }
        assert!("sctp".parse::<SipTransport>().is_err());
    }
}
