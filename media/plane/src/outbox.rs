//! What some legs send in a tick, kept until all of them have played.

use std::net::SocketAddr;

use crate::Transmit;
use crate::sockets::Sockets;
use crate::streams::Streams;

/// Datagrams of some legs, leg by leg.
///
/// # Realtime safety
/// No allocation once as much has been sent at once as ever will be.
#[derive(Default)]
pub(crate) struct Outbox {
    octets: Vec<u8>,
    datagrams: Vec<Datagram>,
    /// How many datagrams there were when each leg was done.
    legs: Vec<usize>,
}

struct Datagram {
    to: SocketAddr,
    /// Where its octets end; they begin where those of the one before do.
    end: usize,
    /// Whether it goes out of the RTCP socket.
    report: bool,
}

impl Outbox {
    /// Takes what a leg sends; what goes over its connections does so at once.
    pub(crate) fn of<'a>(&'a mut self, streams: &'a mut Streams) -> Desk<'a> {
        Desk { outbox: self, streams }
    }

    /// What comes next is another leg's.
    pub(crate) fn seal(&mut self) {
        self.legs.push(self.datagrams.len());
    }

    /// Sends everything, in order: one pair of sockets for each leg.
    pub(crate) fn send<'s>(&mut self, sockets: impl Iterator<Item = &'s Sockets>) {
        let (mut from, mut start) = (0, 0);
        for (end, sockets) in self.legs.drain(..).zip(sockets) {
            for datagram in &self.datagrams[from..end] {
                let socket = if datagram.report { &sockets.rtcp } else { &sockets.rtp };
                // UDP may lose it anyway; a full send buffer or a port closed at the far side is not worth more.
                let _ = socket.send_to(&self.octets[start..datagram.end], datagram.to);
                start = datagram.end;
            }
            from = end;
        }
        self.datagrams.clear();
        self.octets.clear();
    }

    fn put(&mut self, to: SocketAddr, datagram: &[u8], report: bool) {
        self.octets.extend_from_slice(datagram);
        self.datagrams.push(Datagram { to, end: self.octets.len(), report });
    }
}

/// Where one leg hands in what it sends.
pub(crate) struct Desk<'a> {
    outbox: &'a mut Outbox,
    streams: &'a mut Streams,
}

impl Transmit for Desk<'_> {
    fn rtp(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.outbox.put(to, datagram, false);
    }

    fn rtcp(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.outbox.put(to, datagram, true);
    }

    fn stream(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.streams.send(to, datagram);
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_leg_sends_from_its_own_sockets_and_in_its_order() {
        let socket = || UdpSocket::bind("127.0.0.1:0").expect("a port");
        let far = socket();
        far.set_read_timeout(Some(Duration::from_secs(2))).expect("set");
        let to = far.local_addr().expect("bound");
        let mut legs: Vec<_> =
            (0..3).map(|_| Sockets { rtp: socket(), rtcp: socket(), streams: Streams::default() }).collect();
        let mut outbox = Outbox::default();
        for round in 0..2u8 {
            for (n, sockets) in (0u8..).zip(&mut legs) {
                let mut desk = outbox.of(&mut sockets.streams);
                // The second has nothing to say.
                if n != 1 {
                    desk.rtp(to, &[round, n, 0]);
                    desk.rtcp(to, &[round, n, 1, 1]);
                    desk.rtp(to, &[round, n, 2]);
                }
                outbox.seal();
            }
            outbox.send(legs.iter());
            let mut buffer = [0; 16];
            for (n, nth) in [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2)] {
                let (length, from) = far.recv_from(&mut buffer).expect("it comes");
                let expected = &[round, n, nth, 1][..if nth == 1 { 4 } else { 3 }];
                assert_eq!(&buffer[..length], expected);
                let own = &legs[usize::from(n)];
                let socket = if nth == 1 { &own.rtcp } else { &own.rtp };
                assert_eq!(from, socket.local_addr().expect("bound"));
            }
        }
    }
}
