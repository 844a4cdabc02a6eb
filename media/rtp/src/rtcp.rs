//! Reports to and from the far side (RFC 3550 section 6): when to send, what they say, what they tell.

use std::time::Duration;

use antiphon_media_frame::{MediaTime, Span};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet::Packet;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};

use crate::receiver::{Receiver, Reception};
use crate::sender::SenderFigures;

/// RFC 3550 section 6.2: never more often than this on average, however few take part.
const INTERVAL: Span = Span::from_secs(5);
/// e - 3/2: timer reconsideration shortens the interval by this (section 6.3.1).
const COMPENSATION: f64 = 1.218_28;
/// A datagram longer than this holds more reports than two parties need.
const LONGEST: usize = 1_500;
/// A round trip above this is a broken clock, not a network.
const LONGEST_ROUND_TRIP: u32 = 60 << 16;

/// Wall-clock time as NTP has it: seconds since 1900 in the upper half, their fraction in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// From the time since the Unix epoch.
    #[must_use]
    pub fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(2_208_988_800);
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The middle 32 bits, in units of 1/65536 s.
    #[must_use]
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// What an incoming compound said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Report blocks about us.
    pub reports: u32,
    /// The source says good-bye.
    pub bye: bool,
}

/// The octets are no RTCP compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// Longer than one datagram of reports may be.
    #[error("{0} octets of rtcp in one datagram")]
    Long(usize),
    /// A packet inside is cut off, of another version, or malformed.
    #[error("a malformed rtcp packet at octet {0}")]
    Malformed(usize),
}

/// What the far side says of what we send.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RemoteFigures {
    /// Share of our packets lost in the last interval, 0 to 1.
    pub loss: f64,
    /// Our packets lost in all.
    pub lost: i32,
    /// Jitter of our packets there, in ticks of the RTP clock.
    pub jitter: u32,
}

/// One RTP session's reports. Sans-IO: time, wall clock and datagrams are arguments.
#[derive(Debug)]
pub struct RtcpSession {
    ssrc: u32,
    cname: Bytes,
    random: SmallRng,
    due: MediaTime,
    sent_packets: u64,
    /// Source, middle of the NTP time, and arrival of its last sender report.
    last_report: Option<(u32, u32, MediaTime)>,
    round_trip: Option<Span>,
    remote: Option<RemoteFigures>,
}

impl RtcpSession {
    /// A session that starts at `now`. `cname` is our canonical name: random, not personal, at most 255 octets (the
    /// rest is cut). `seed` spreads the intervals of many calls.
    #[must_use]
    pub fn new(ssrc: u32, cname: &str, seed: u64, now: MediaTime) -> Self {
        let mut end = cname.len().min(255);
        while !cname.is_char_boundary(end) {
            end -= 1;
        }
        let mut session = Self {
            ssrc,
            cname: Bytes::copy_from_slice(&cname.as_bytes()[..end]),
            random: SmallRng::seed_from_u64(seed),
            due: now,
            sent_packets: 0,
            last_report: None,
            round_trip: None,
            remote: None,
        };
        session.schedule(now, 0.5);
        session
    }

    /// Goes on for another stream of ours: what the far side said of the old one is forgotten.
    pub fn rename(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
        self.round_trip = None;
        self.remote = None;
    }

    /// Returns a compound to send when one is due: a sender report if anything was sent since the last one, else a
    /// receiver report, with our canonical name.
    pub fn poll(
        &mut self,
        now: MediaTime,
        wall: NtpTime,
        sender: &SenderFigures,
        receiver: &mut Receiver,
    ) -> Option<Vec<u8>> {
        if now < self.due {
            return None;
        }
        self.schedule(now, 1.0);
        Some(self.compound(now, wall, sender, receiver, false))
    }

    /// The last compound, with BYE.
    pub fn bye(
        &mut self,
        now: MediaTime,
        wall: NtpTime,
        sender: &SenderFigures,
        receiver: &mut Receiver,
    ) -> Vec<u8> {
        self.compound(now, wall, sender, receiver, true)
    }

    /// When [`RtcpSession::poll`] has something to send.
    #[must_use]
    pub fn due(&self) -> MediaTime {
        self.due
    }

    /// Takes a datagram of the far side. `source` is the SSRC media comes from; only its BYE counts.
    ///
    /// # Errors
    /// [`RtcpError`] for what is no compound; what came before the malformed packet has been taken.
    pub fn handle(
        &mut self,
        datagram: &[u8],
        source: Option<u32>,
        now: MediaTime,
        wall: NtpTime,
    ) -> Result<Heard, RtcpError> {
        if datagram.len() > LONGEST {
            return Err(RtcpError::Long(datagram.len()));
        }
        let mut heard = Heard::default();
        let mut rest = datagram;
        while !rest.is_empty() {
            let offset = datagram.len() - rest.len();
            let Some((&[flags, kind, l0, l1], _)) = rest.split_first_chunk::<4>() else {
                return Err(RtcpError::Malformed(offset));
            };
            let length = (usize::from(u16::from_be_bytes([l0, l1])) + 1) * 4;
            let Some((one, behind)) = rest.split_at_checked(length).filter(|_| flags >> 6 == 2) else {
                return Err(RtcpError::Malformed(offset));
            };
            // Only what is used reaches the library: reports (200, 201) and BYE (203).
            if matches!(kind, 200 | 201 | 203) {
                let mut one = one;
                let packets =
                    rtc_rtcp::packet::unmarshal(&mut one).map_err(|_| RtcpError::Malformed(offset))?;
                for packet in &packets {
                    self.take(packet.as_ref(), source, now, wall, &mut heard);
                }
            }
            rest = behind;
        }
        Ok(heard)
    }

    /// The newest round trip, `None` before the far side has answered a sender report of ours.
    #[must_use]
    pub fn round_trip(&self) -> Option<Span> {
        self.round_trip
    }

    /// What the far side says of our stream, `None` before its first report.
    #[must_use]
    pub fn remote(&self) -> Option<RemoteFigures> {
        self.remote
    }

    fn take(
        &mut self,
        packet: &dyn Packet,
        source: Option<u32>,
        now: MediaTime,
        wall: NtpTime,
        heard: &mut Heard,
    ) {
        if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
            if source.is_none_or(|source| source == report.ssrc) {
                self.last_report = Some((report.ssrc, NtpTime(report.ntp_time).middle(), now));
                self.take_blocks(&report.reports, wall, heard);
            }
        } else if let Some(report) = packet.as_any().downcast_ref::<ReceiverReport>() {
            if source.is_none_or(|source| source == report.ssrc) {
                self.take_blocks(&report.reports, wall, heard);
            }
        } else if let Some(bye) = packet.as_any().downcast_ref::<Goodbye>() {
            heard.bye |= source.is_some_and(|source| bye.sources.contains(&source));
        }
    }

    fn take_blocks(&mut self, blocks: &[ReceptionReport], wall: NtpTime, heard: &mut Heard) {
        for block in blocks.iter().filter(|block| block.ssrc == self.ssrc) {
            heard.reports += 1;
            // 24 bits, signed.
            let lost = (block.total_lost << 8) as i32 >> 8;
            self.remote = Some(RemoteFigures {
                loss: f64::from(block.fraction_lost) / 256.0,
                lost,
                jitter: block.jitter,
            });
            if block.last_sender_report == 0 {
                continue;
            }
            let trip = wall.middle().wrapping_sub(block.last_sender_report).wrapping_sub(block.delay);
            // A far side that rounds its delay up can make a loopback trip a hair negative.
            let trip = if trip > u32::MAX - 0x1000 { 0 } else { trip };
            if trip <= LONGEST_ROUND_TRIP {
                self.round_trip = Some(Span::from_nanos((u64::from(trip) * 1_000_000_000) >> 16));
            }
        }
    }

    fn compound(
        &mut self,
        now: MediaTime,
        wall: NtpTime,
        sender: &SenderFigures,
        receiver: &mut Receiver,
        bye: bool,
    ) -> Vec<u8> {
        let reports: Vec<_> = receiver.report_block().map(|r| self.block(&r, now)).into_iter().collect();
        let mut packets: Vec<Box<dyn Packet>> = Vec::with_capacity(3);
        if sender.packets > self.sent_packets {
            packets.push(Box::new(SenderReport {
                ssrc: self.ssrc,
                ntp_time: wall.0,
                rtp_time: sender.timestamp,
                packet_count: sender.packets as u32,
                octet_count: sender.octets as u32,
                reports,
                profile_extensions: Bytes::new(),
            }));
        } else {
            packets.push(Box::new(ReceiverReport {
                ssrc: self.ssrc,
                reports,
                profile_extensions: Bytes::new(),
            }));
        }
        self.sent_packets = sender.packets;
        let name = SourceDescriptionItem { sdes_type: SdesType::SdesCname, text: self.cname.clone() };
        packets.push(Box::new(SourceDescription {
            chunks: vec![SourceDescriptionChunk { source: self.ssrc, items: vec![name] }],
        }));
        if bye {
            packets.push(Box::new(Goodbye { sources: vec![self.ssrc], reason: Bytes::new() }));
        }
        rtc_rtcp::packet::marshal(&packets)
            .expect("one report block, a name of at most 255 octets and one source always fit")
            .to_vec()
    }

    fn block(&self, reception: &Reception, now: MediaTime) -> ReceptionReport {
        let (last_sender_report, delay) = match self.last_report {
            Some((ssrc, middle, came)) if ssrc == reception.ssrc => {
                let delay = u128::from(now.since(came).nanos()) * 65_536 / 1_000_000_000;
                (middle, u32::try_from(delay).unwrap_or(u32::MAX))
            }
            _ => (0, 0),
        };
        ReceptionReport {
            ssrc: reception.ssrc,
            fraction_lost: reception.fraction_lost,
            total_lost: reception.cumulative_lost as u32 & 0xff_ffff,
            last_sequence_number: reception.highest_sequence,
            jitter: reception.jitter,
            last_sender_report,
            delay,
        }
    }

    fn schedule(&mut self, now: MediaTime, factor: f64) {
        let spread = self.random.random_range(0.5..1.5);
        let nanos = INTERVAL.nanos() as f64 * factor * spread / COMPENSATION;
        self.due = now + Span::from_nanos(nanos as u64);
    }
}
