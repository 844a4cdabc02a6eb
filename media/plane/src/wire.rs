//! The way out of a leg: its link's protection, then its sockets.

use std::net::SocketAddr;

use antiphon_media_link::{Link, OVERHEAD};
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
    pub(crate) fn rtp(&mut self, to: SocketAddr, packet: &RtpPacket<'_>) {
        let mut datagram = [0; DATAGRAM + OVERHEAD];
        let Ok(length) = packet.write(&mut datagram[..DATAGRAM]) else { return };
        if let Some(length) = self.link.protect_rtp(&mut datagram, length) {
            self.transmit.rtp(to, &datagram[..length]);
        }
    }

    pub(crate) fn rtcp(&mut self, to: SocketAddr, mut report: Vec<u8>) {
        let length = report.len();
        report.resize(length + OVERHEAD, 0);
        let Some(length) = self.link.protect_rtcp(&mut report, length) else { return };
        if self.mux {
            self.transmit.rtp(to, &report[..length]);
        } else {
            self.transmit.rtcp(to, &report[..length]);
        }
    }

    /// Sends what the link itself has to say.
    pub(crate) fn flush(&mut self) {
        while let Some((to, datagram)) = self.link.poll_transmit() {
            self.transmit.rtp(to, datagram);
        }
    }
}
