//! Who a datagram comes from and goes to.

use std::net::SocketAddr;

/// An address of the far side, and what carries datagrams between it and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remote {
    /// UDP, by the leg's own socket.
    Udp(SocketAddr),
    /// A connection that was opened from there (RFC 6544, RFC 4571).
    Tcp(SocketAddr),
}

impl Remote {
    /// The address, whatever carries its datagrams.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Udp(address) | Self::Tcp(address) => address,
        }
    }
}

impl From<SocketAddr> for Remote {
    fn from(address: SocketAddr) -> Self {
        Self::Udp(address)
    }
}
