//! One direction of received media: sequence, clock and jitter buffer joined.

use antiphon_media_frame::{MediaTime, Span};

use crate::jitter::{Incoming, Inserted, JitterBuffer, JitterConfig, Pull};
use crate::packet::RtpPacket;
use crate::sequence::{Arrival, Sequence};
use crate::time::TimeMap;

/// The longest payload that is believed, in milliseconds: Opus packs at most 120 ms into a packet.
const LONGEST_MS: u64 = 250;

/// How a receiver is made.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverConfig {
    /// Ticks a second of the RTP clock (8000 for G.711 and for G.722).
    pub clock_hz: u32,
    /// The jitter buffer.
    pub jitter: JitterConfig,
}

impl ReceiverConfig {
    /// The usual jitter buffer on a clock of `clock_hz`.
    #[must_use]
    pub fn new(clock_hz: u32) -> Self {
        Self { clock_hz: if clock_hz == 0 { 8_000 } else { clock_hz }, jitter: JitterConfig::default() }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It waits to be played.
    Queued,
    /// It carries no audio (`ticks` was 0): counted, nothing queued.
    NoAudio,
    /// Its place on the clock is over.
    Late,
    /// It was here before.
    Duplicate,
    /// Its sequence number or timestamp fits nowhere.
    Stray,
    /// Its payload or its duration is longer than any codec makes.
    Oversize,
}

/// Counters of a receiver since its start, over all SSRCs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReceiverFigures {
    /// Packets that came, without duplicates and strays.
    pub received: u64,
    /// Octets of payload in them.
    pub octets: u64,
    /// Packets that never came (or have not yet).
    pub lost: u64,
    /// Packets that came after their place was over.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets whose numbers fit nowhere, and oversized ones.
    pub stray: u64,
    /// Packets played.
    pub played: u64,
    /// Packets dropped to shorten the delay, or because the buffer was full.
    pub dropped: u64,
    /// Packets waiting.
    pub buffered: usize,
    /// Ticks of sound made up.
    pub concealed_ticks: u64,
    /// Times the timestamps jumped or the SSRC changed, the first packet not counted.
    pub reanchored: u64,
    /// Interarrival jitter (RFC 3550 section 6.4.1), in milliseconds.
    pub jitter_ms: f64,
    /// How far behind the fastest packets the last one was played.
    pub delay: Span,
    /// The delay the buffer aims at.
    pub target_delay: Span,
    /// The sender's clock against ours in parts per million, positive where the sender is slow; 0 until known.
    pub drift_ppm: f64,
}

impl ReceiverFigures {
    /// Share of packets lost or too late, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f64 {
        let expected = self.received + self.lost;
        if expected == 0 { 0.0 } else { (self.lost + self.late) as f64 / expected as f64 }
    }
}

/// A reception report block without what only RTCP knows (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reception {
    /// The source reported on.
    pub ssrc: u32,
    /// Packets lost since the last report, of 256.
    pub fraction_lost: u8,
    /// Packets lost since the source began; negative where duplicates outweigh.
    pub cumulative_lost: i32,
    /// Highest sequence number with its cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
}

/// Receives one stream.
///
/// # Realtime safety
/// No call locks or reads a clock. Memory for waiting packets is taken the first time that so many wait, and kept.
#[derive(Debug)]
pub struct Receiver {
    clock_hz: u32,
    sequence: Sequence,
    map: TimeMap,
    buffer: JitterBuffer,
    octets: u64,
    strays: u64,
    duplicates: u64,
    reanchored: u64,
}

impl Receiver {
    /// Makes a receiver.
    #[must_use]
    pub fn new(config: ReceiverConfig) -> Self {
        let clock_hz = if config.clock_hz == 0 { 8_000 } else { config.clock_hz };
        Self {
            clock_hz,
            sequence: Sequence::new(),
            map: TimeMap::new(clock_hz),
            buffer: JitterBuffer::new(clock_hz, &config.jitter),
            octets: 0,
            strays: 0,
            duplicates: 0,
            reanchored: 0,
        }
    }

    /// Takes a packet that came at `now` and lasts `ticks`. Packets that carry no audio (telephone-event, comfort
    /// noise) belong here too, with 0 ticks: otherwise their sequence numbers would count as lost.
    pub fn receive(&mut self, now: MediaTime, packet: RtpPacket<'_>, ticks: u32) -> Received {
        if u64::from(ticks) * 1_000 > u64::from(self.clock_hz) * LONGEST_MS {
            self.strays += 1;
            return Received::Oversize;
        }
        let (number, fresh) = match self.sequence.observe(packet.ssrc, packet.sequence) {
            Arrival::Fresh(number) | Arrival::Restarted(number) => (number, true),
            Arrival::Older(number) => (number, false),
            Arrival::Duplicate => {
                self.duplicates += 1;
                return Received::Duplicate;
            }
            Arrival::Stray => {
                self.strays += 1;
                return Received::Stray;
            }
        };
        self.octets += packet.payload.len() as u64;
        if ticks == 0 {
            return Received::NoAudio;
        }
        let first = self.map.is_empty();
        let Some(placed) = self.map.observe(now, packet.ssrc, packet.timestamp, ticks, packet.marker, fresh)
        else {
            self.strays += 1;
            return Received::Stray;
        };
        if placed.reanchored && !first {
            self.reanchored += 1;
        }
        let length = Span::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(self.clock_hz));
        self.buffer.delay.observe(placed.lateness_ns, length, placed.reanchored);
        let incoming = Incoming {
            number,
            position: placed.position,
            ticks,
            payload_type: packet.payload_type,
            payload: packet.payload,
        };
        match self.buffer.insert(&incoming) {
            Inserted::Queued => Received::Queued,
            Inserted::Late => Received::Late,
            Inserted::Duplicate => Received::Duplicate,
            Inserted::Oversize => Received::Oversize,
        }
    }

    /// What comes next. To be called whenever less than a tick of decoded sound is left: none, once or several
    /// times a tick. Places never run backwards: each begins where the one before ended (less at most eight ticks
    /// while drift is corrected) or later.
    pub fn pull(&mut self, now: MediaTime) -> Pull<'_> {
        self.buffer.pull(now, &mut self.map, &self.sequence)
    }

    /// Up to where silence may be written after a [`Pull::Wait`]: nothing will be played before it any more.
    pub fn settled(&mut self, now: MediaTime) -> MediaTime {
        self.buffer.settle(now, &mut self.map)
    }

    /// The sender says that it says nothing from `timestamp` on (comfort noise, RFC 3389): what does not come then is no
    /// loss.
    pub fn pause(&mut self, timestamp: u32) {
        self.buffer.silent_from = self.map.position_of(timestamp);
    }

    /// Whether the packet that [`Receiver::pull`] would play next, sooner or later, is here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.buffer.is_ready()
    }

    /// How long the packet played last was: how far apart packets come. Zero before the first.
    #[must_use]
    pub fn packet_span(&self) -> Span {
        Span::from_nanos(self.buffer.packet_ns().max(0) as u64)
    }

    /// Tells the buffer that the track is quiet just now, so that it may drop or wait unheard.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.buffer.set_quiet(quiet);
    }

    /// The SSRC heard last.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.sequence.ssrc()
    }

    /// Ticks a second.
    #[must_use]
    pub fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    /// When a received timestamp lies on the call's clock by the newest estimate, `None` before the first audio
    /// packet. Says when a packet that shares the audio's timestamps began, not when it came.
    #[must_use]
    pub fn time_of(&self, timestamp: u32) -> Option<MediaTime> {
        self.map.time_of(timestamp)
    }

    /// Counters so far.
    #[must_use]
    pub fn figures(&self) -> ReceiverFigures {
        let (expected, received) = self.sequence.totals();
        let counters = self.buffer.counters;
        ReceiverFigures {
            received,
            octets: self.octets,
            lost: expected.saturating_sub(received),
            late: counters.late,
            duplicate: self.duplicates + counters.duplicate,
            stray: self.strays + counters.oversize,
            played: counters.played,
            dropped: counters.dropped,
            buffered: self.buffer.buffered(),
            concealed_ticks: counters.concealed_ticks,
            reanchored: self.reanchored,
            jitter_ms: self.buffer.delay.jitter_ns() / 1e6,
            delay: self.buffer.current_delay(),
            target_delay: Span::from_nanos(self.buffer.delay.target_ns().max(0) as u64),
            drift_ppm: self.map.drift_ppm(),
        }
    }

    /// Data for a reception report; begins a new interval for the fraction lost.
    pub fn report_block(&mut self) -> Option<Reception> {
        let jitter = self.buffer.delay.jitter_ns() * f64::from(self.clock_hz) / 1e9;
        let (ssrc, fraction_lost, cumulative_lost, highest_sequence) = self.sequence.report()?;
        Some(Reception { ssrc, fraction_lost, cumulative_lost, highest_sequence, jitter: jitter as u32 })
    }
}
