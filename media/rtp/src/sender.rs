//! One direction of sent media: numbers, timestamps and counters.

use crate::packet::RtpPacket;

/// Counters of a sender, for sender reports and for display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderFigures {
    /// Our SSRC.
    pub ssrc: u32,
    /// Packets sent.
    pub packets: u64,
    /// Octets of payload sent.
    pub octets: u64,
    /// The timestamp of the next packet: what belongs to "now".
    pub timestamp: u32,
}

/// Numbers the packets of one stream.
#[derive(Clone, Debug)]
pub struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    clock_hz: u32,
    talking: bool,
    packets: u64,
    octets: u64,
}

impl Sender {
    /// Starts a stream; number and timestamp should be random (RFC 3550 section 5.1).
    #[must_use]
    pub fn new(ssrc: u32, first_sequence: u16, first_timestamp: u32, clock_hz: u32) -> Self {
        Self {
            ssrc,
            sequence: first_sequence,
            timestamp: first_timestamp,
            clock_hz,
            talking: false,
            packets: 0,
            octets: 0,
        }
    }

    /// The next packet, lasting `ticks`; the marker is set on the first one and after each [`Sender::skip`].
    pub fn packet<'a>(&mut self, payload_type: u8, ticks: u32, payload: &'a [u8]) -> RtpPacket<'a> {
        let packet = self.stamped(payload_type, !self.talking, self.timestamp, payload);
        self.talking = true;
        self.timestamp = self.timestamp.wrapping_add(ticks);
        packet
    }

    /// A packet at a timestamp of its own that takes no time: a telephone-event, which keeps the timestamp of its
    /// key's start while [`Sender::skip`] lets the time pass.
    pub fn stamped<'a>(
        &mut self,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        payload: &'a [u8],
    ) -> RtpPacket<'a> {
        let packet =
            RtpPacket { payload_type, marker, sequence: self.sequence, timestamp, ssrc: self.ssrc, payload };
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.octets += payload.len() as u64;
        packet
    }

    /// Lets time pass in which nothing is sent.
    pub fn skip(&mut self, ticks: u32) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.talking = false;
    }

    /// Goes on as another stream on a clock of `clock_hz`, with an SSRC of its own (RFC 7160 section 4.1). The counters go
    /// on.
    pub fn restart(&mut self, clock_hz: u32) {
        // As hard to guess as the one before, and never the same.
        self.ssrc = self.ssrc.wrapping_mul(0x9e37_79b1).rotate_left(13) ^ 0x85eb_ca6b;
        self.clock_hz = clock_hz;
        self.talking = false;
    }

    /// The timestamp of the next packet.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Our SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Ticks a second.
    #[must_use]
    pub fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    /// Counters so far.
    #[must_use]
    pub fn figures(&self) -> SenderFigures {
        SenderFigures {
            ssrc: self.ssrc,
            packets: self.packets,
            octets: self.octets,
            timestamp: self.timestamp,
        }
    }
}
