//! One telephone of the load: a socket that talks in a loop and counts what comes back.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use antiphon_media_frame::MediaTime;
use antiphon_media_link::{Input, Link};
use antiphon_media_rtp::{Sender, parse};

use super::sound::Loop;

/// Datagrams taken in one turn, so that a flood at one phone does not stop the others.
const BURST: usize = 256;
/// Longest datagram looked at.
const LONGEST: usize = 2_048;

/// What a phone needs to know.
pub(super) struct Line {
    /// Bound; where the far side was told to send to.
    pub(super) socket: UdpSocket,
    /// Where the far side listens.
    pub(super) remote: SocketAddr,
    /// How media is protected.
    pub(super) link: Link,
    /// Payload type of the codec, both ways.
    pub(super) payload_type: u8,
    /// Tells its packets from those of others.
    pub(super) ssrc: u32,
    /// When the call was answered.
    pub(super) answered: Instant,
}

/// What one phone saw. Counts only what is sound: keys, comfort noise and RTCP are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) sent: u64,
    /// Packets the system did not take: its queue was full, or nobody listens there.
    pub(super) unsent: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    /// From the answer to the first packet; nothing where none came.
    pub(super) first: Option<Duration>,
}

pub(super) struct Phone {
    line: Line,
    sender: Sender,
    next: usize,
    sent: u64,
    unsent: u64,
    first: Option<Duration>,
    /// Streams that ended before the present one: received, lost.
    before: (u64, u64),
    stream: Option<Stream>,
}

impl Phone {
    /// From here on only what comes from `line.remote` is heard.
    pub(super) fn new(line: Line, sound: &Loop) -> std::io::Result<Self> {
        line.socket.set_nonblocking(true)?;
        line.socket.connect(line.remote)?;
        // Each phone is elsewhere in the loop: nobody talks in chorus.
        let next = line.ssrc as usize % 399;
        let sender = Sender::new(line.ssrc, line.ssrc as u16, line.ssrc, sound.clock_hz);
        Ok(Self { line, sender, next, sent: 0, unsent: 0, first: None, before: (0, 0), stream: None })
    }

    /// Whether it has heard anything yet.
    pub(super) fn hears(&self) -> bool {
        self.first.is_some()
    }

    /// Sends the next packet.
    pub(super) fn talk(&mut self, sound: &Loop) {
        let mut wire = [0; LONGEST];
        let packet = self.sender.packet(self.line.payload_type, sound.ticks, sound.packet(self.next));
        self.next += 1;
        // The longest packet of any codec leaves room for what protection adds.
        let len = packet.write(&mut wire).ok().and_then(|len| self.line.link.protect_rtp(&mut wire, len));
        if len.is_some_and(|len| self.line.socket.send(&wire[..len]).is_ok()) {
            self.sent += 1;
        } else {
            self.unsent += 1;
        }
    }

    /// Takes in what has come, up to `most` datagrams.
    pub(super) fn hear(&mut self, most: usize) {
        let mut buffer = [0; LONGEST];
        for _ in 0..most.min(BURST) {
            match self.line.socket.recv(&mut buffer) {
                Ok(len) => self.take(&mut buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Nobody listens there (any more): the socket goes on.
                Err(_) => {}
            }
        }
    }

    /// Takes in the rest and sums up.
    pub(super) fn close(mut self) -> Figures {
        self.hear(BURST);
        let (received, lost) = self.stream.as_ref().map_or((0, 0), Stream::counts);
        Figures {
            sent: self.sent,
            unsent: self.unsent,
            received: self.before.0 + received,
            lost: self.before.1 + lost,
            first: self.first,
        }
    }

    fn take(&mut self, datagram: &mut [u8]) {
        let elapsed = self.line.answered.elapsed();
        let now = MediaTime::ZERO + elapsed.into();
        let Input::Rtp(packet) = self.line.link.handle(now, self.line.remote, datagram) else { return };
        let Ok(packet) = parse(packet) else { return };
        if packet.payload_type != self.line.payload_type {
            return;
        }
        if self.first.is_none() {
            self.first = Some(elapsed);
        }
        match &mut self.stream {
            Some(stream) if stream.ssrc == packet.ssrc => stream.take(packet.sequence),
            stream => {
                let (received, lost) = stream.as_ref().map_or((0, 0), Stream::counts);
                self.before = (self.before.0 + received, self.before.1 + lost);
                *stream = Some(Stream::new(packet.ssrc, packet.sequence));
            }
        }
    }
}

/// What came of one synchronisation source.
struct Stream {
    ssrc: u32,
    highest: u16,
    /// Numbers from the first to the highest.
    expected: u64,
    received: u64,
    /// The 128 numbers up to the highest: bit 0 is the highest itself.
    seen: u128,
}

impl Stream {
    fn new(ssrc: u32, sequence: u16) -> Self {
        Self { ssrc, highest: sequence, expected: 1, received: 1, seen: 1 }
    }

    fn take(&mut self, sequence: u16) {
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead != 0 && ahead < 0x8000 {
            self.seen = self.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.highest = sequence;
            self.expected += u64::from(ahead);
            self.received += 1;
            return;
        }
        // Late, or a second time; what lies further back than the window, or before the first, is not counted.
        let behind = u32::from(self.highest.wrapping_sub(sequence));
        let Some(bit) = 1u128.checked_shl(behind) else { return };
        if u64::from(behind) < self.expected && self.seen & bit == 0 {
            self.seen |= bit;
            self.received += 1;
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.received, self.expected - self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sequence: impl IntoIterator<Item = u16>) -> (u64, u64) {
        let mut numbers = sequence.into_iter();
        let mut stream = Stream::new(1, numbers.next().expect("one"));
        numbers.for_each(|number| stream.take(number));
        stream.counts()
    }

    #[test]
    fn holes_are_lost_and_late_packets_fill_them() {
        assert_eq!(counts([1, 2, 5]), (3, 2));
        assert_eq!(counts([1, 2, 5, 3, 4]), (5, 0));
    }

    #[test]
    fn a_packet_that_comes_twice_hides_no_loss() {
        assert_eq!(counts([1, 2, 2, 4, 4, 2]), (3, 1));
        assert_eq!(counts([7, 6, 5, 8]), (2, 0), "what lies before the first was never expected");
    }

    #[test]
    fn numbers_wrap() {
        assert_eq!(counts((0..70_000u32).map(|n| (n + 65_000) as u16)), (70_000, 0));
        assert_eq!(counts([65_535, 1]), (2, 1));
        assert_eq!(counts([0, 500, 0]), (2, 499), "beyond the window nothing is counted twice");
    }
}
