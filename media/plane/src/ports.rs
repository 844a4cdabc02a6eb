//! RTP and RTCP socket pairs from a configured range.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Protocol, Socket, Type};

/// No pair could be bound.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Every even port of the range, or its odd neighbour, is in use.
    #[error("every RTP port pair from {first} to {last} on {address} is in use")]
    Exhausted {
        /// Local address.
        address: IpAddr,
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// The address cannot be bound at all.
    #[error("cannot bind RTP sockets on {address}: {source}")]
    Bind {
        /// Local address.
        address: IpAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The range holds no even port with an odd neighbour.
    #[error("the RTP port range {first} to {last} holds no pair of an even and the next odd port")]
    Range {
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
}

/// An even RTP port and the next odd one for RTCP (RFC 3550 section 11), bound and non-blocking.
pub struct SocketPair {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
}

impl SocketPair {
    /// Where RTP is received.
    ///
    /// # Errors
    /// The system's, if the socket has been closed under us.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.rtp.local_addr()
    }
}

/// Hands out socket pairs, round robin so that a port just closed rests before it is used again.
pub struct PortPool {
    first: u16,
    pairs: u32,
    next: AtomicU32,
}

/// Room for a quarter of a second of RTP while the shard is away.
const RECEIVE_BUFFER: usize = 128 * 1024;

impl PortPool {
    /// Takes the pairs inside `range`.
    ///
    /// # Errors
    /// [`PortError::Range`] where there is none.
    pub fn new(range: RangeInclusive<u16>) -> Result<Self, PortError> {
        let (start, last) = (*range.start(), *range.end());
        let first = start.checked_add(start % 2).filter(|f| *f > 0 && last > *f);
        let Some(first) = first else { return Err(PortError::Range { first: start, last }) };
        let pairs = (u32::from(last) - u32::from(first)).div_ceil(2);
        Ok(Self { first, pairs, next: AtomicU32::new(0) })
    }

    /// How many calls the range can carry at once.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.pairs
    }

    /// Binds a free pair on `address`.
    ///
    /// # Errors
    /// [`PortError::Exhausted`] when all are taken, [`PortError::Bind`] when the address itself is no good.
    pub fn bind(&self, address: IpAddr) -> Result<SocketPair, PortError> {
        for _ in 0..self.pairs {
            let pair = self.next.fetch_add(1, Ordering::Relaxed) % self.pairs;
            let port = self.first + (pair * 2) as u16;
            match (bind(address, port), bind(address, port + 1)) {
                (Ok(rtp), Ok(rtcp)) => return Ok(SocketPair { rtp, rtcp }),
                (Err(source), _) | (_, Err(source)) => {
                    if source.kind() != std::io::ErrorKind::AddrInUse {
                        return Err(PortError::Bind { address, source });
                    }
                }
            }
        }
        let last = self.first + (self.pairs * 2 - 1) as u16;
        Err(PortError::Exhausted { address, first: self.first, last })
    }
}

fn bind(address: IpAddr, port: u16) -> std::io::Result<UdpSocket> {
    let socket =
        Socket::new(Domain::for_address(SocketAddr::new(address, port)), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // A smaller buffer only shortens how long the shard may be late; not worth refusing a call.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    crate::sockets::note_arrivals(&socket);
    socket.bind(&SocketAddr::new(address, port).into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn pairs_are_even_and_odd_and_run_out_cleanly() {
        let pool = PortPool::new(42_001..=42_006).expect("two pairs");
        assert_eq!(pool.capacity(), 2);
        let pairs: Vec<_> = (0..2).map(|_| pool.bind(LOOPBACK).expect("a free pair")).collect();
        for pair in &pairs {
            let port = pair.address().expect("bound").port();
            assert_eq!(port % 2, 0);
            assert_eq!(pair.rtcp.local_addr().expect("bound").port(), port + 1);
        }
        assert!(matches!(pool.bind(LOOPBACK), Err(PortError::Exhausted { .. })));
        drop(pairs);
        assert!(pool.bind(LOOPBACK).is_ok());
    }

    #[test]
    fn ranges_without_a_pair_are_refused() {
        for range in [5_001..=5_002, 5_000..=5_000, 65_535..=65_535, 0..=0] {
            assert!(matches!(PortPool::new(range), Err(PortError::Range { .. })));
        }
    }

    #[test]
    fn an_address_that_is_not_ours_is_named() {
        let pool = PortPool::new(42_010..=42_019).expect("pairs");
        let elsewhere = "192.0.2.1".parse().expect("an address");
        assert!(matches!(pool.bind(elsewhere), Err(PortError::Bind { .. })));
    }
}
