//! The way out of a leg: its link's protection, then its sockets.

use antiphon_media_link::{Link, OVERHEAD, Remote};
use antiphon_media_rtp::RtpPacket;

use crate::Transmit;

/// What a network takes in one piece.
const DATAGRAM: usize = 1_500;

/// Protects what is sent.
pub(crate) struct Wire<'a> {
    link: &'a mut Link,
    transmit: &'a mut dyn Transmit,
    /// Whether RTCP goes the way of RTP.
    mux: bool,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(link: &'a mut Link, transmit: &'a mut dyn Transmit, mux: bool) -> Self {
        Self { link, transmit, mux }
    }

    /// Sends a packet, unless it is one that cannot be written or protected.
    pub(crate) fn rtp(&mut self, to: Remote, packet: &RtpPacket<'_>) {
        let mut datagram = [0; DATAGRAM + OVERHEAD];
        let Ok(length) = packet.write(&mut datagram[..DATAGRAM]) else { return };
        if let Some(length) = self.link.protect_rtp(&mut datagram, length) {
            send(self.transmit, to, &datagram[..length]);
        }
    }

    pub(crate) fn rtcp(&mut self, to: Remote, mut report: Vec<u8>) {
        let length = report.len();
        report.resize(length + OVERHEAD, 0);
        let Some(length) = self.link.protect_rtcp(&mut report, length) else { return };
        match to {
            Remote::Udp(to) if !self.mux => self.transmit.rtcp(to, &report[..length]),
            to => send(self.transmit, to, &report[..length]),
        }
    }

    /// Sends what the link itself has to say.
    pub(crate) fn flush(&mut self) {
        while let Some((to, datagram)) = self.link.poll_transmit() {
            send(self.transmit, to, datagram);
        }
    }
}

fn send(transmit: &mut dyn Transmit, to: Remote, datagram: &[u8]) {
    match to {
        Remote::Udp(to) => transmit.rtp(to, datagram),
        Remote::Tcp(to) => transmit.stream(to, datagram),
    }
}
