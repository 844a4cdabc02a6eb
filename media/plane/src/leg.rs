//! One media endpoint without I/O: packets and ticks in, packets and events out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use antiphon_media_codec::{CodecKind, Concealer, Decoder, Edge, Encoder, Gate, GateConfig};
use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_media_rtp::packet;
use antiphon_media_rtp::source::{SourceConfig, SourceLock, Verdict};
use antiphon_media_rtp::telephone_event::KeyStep;
use antiphon_media_rtp::{
    KeyReceiver, KeySender, NtpTime, Pull, Receiver, ReceiverConfig, RtcpSession, RtpPacket, Sender, is_rtcp,
};

use crate::egress::{Egress, Played, audible};
use crate::{ClipEnd, LegCommand, LegEvent, LegFigures, Taps};

/// What is played, tapped and sent at once.
pub(crate) const FRAME: Span = Span::from_millis(20);
/// The longest packet, decoded: 60 ms, with room for what ill-behaved senders put into one.
const LONGEST_PACKET: Span = Span::from_millis(120);
/// Events waiting to be fetched. They are fetched after every call, so this is never reached by a living owner.
const EVENTS: usize = 256;
/// RTP header plus 20 ms of the widest codec.
const DATAGRAM: usize = 512;
/// How long a key is held, and the pause before the next: what every receiver takes (ITU-T Q.24 wants 40 ms each).
const KEY: Span = Span::from_millis(100);
const KEY_GAP: Span = Span::from_millis(100);
/// Keys waiting to be sent.
const KEYS: usize = 256;
/// Silent frames made up for in one tick, so that a pause is caught up with soon but not in a burst.
const SILENT_FRAMES: usize = 8;

/// Where a leg's packets go.
pub trait Transmit {
    /// Sends an RTP packet.
    fn rtp(&mut self, to: SocketAddr, datagram: &[u8]);
    /// Sends a compound RTCP packet.
    fn rtcp(&mut self, to: SocketAddr, datagram: &[u8]);
}

/// What a leg is made with.
#[derive(Clone, Debug)]
pub struct LegConfig {
    /// The codec agreed on, both ways.
    pub codec: CodecKind,
    /// Its RTP payload type.
    pub payload_type: u8,
    /// Payload type of telephone-events (RFC 4733), if agreed.
    pub telephone_event: Option<u8>,
    /// Where SDP says the far side receives RTP; media goes there until its packets show otherwise.
    pub remote: Option<SocketAddr>,
    /// Where it receives RTCP.
    pub remote_rtcp: Option<SocketAddr>,
    /// Whether we may send.
    pub send: bool,
    /// Whether we expect to receive.
    pub receive: bool,
    /// The activity gate on what we receive.
    pub gate: GateConfig,
    /// Voice needed before an interruptible clip is cut.
    pub barge_in: Span,
    /// Nothing received for this long is told as [`LegEvent::Silent`].
    pub silence: Span,
    /// Our SSRC, first sequence number and first timestamp: random (RFC 3550 section 5.1).
    pub ssrc: u32,
    /// See `ssrc`.
    pub first_sequence: u16,
    /// See `ssrc`.
    pub first_timestamp: u32,
    /// Canonical name for RTCP (RFC 3550 section 6.5.1).
    pub cname: String,
    /// Time since the Unix epoch at time zero of the leg's clock, for sender reports.
    pub wallclock: Duration,
}

/// One media endpoint.
///
/// # Realtime safety
/// [`Leg::handle_rtp`] and [`Leg::tick`] allocate nothing in the steady state; RTCP does, every few seconds.
pub struct Leg {
    config: LegConfig,
    rate: SampleRate,
    /// Samples in a frame.
    samples: usize,
    source: SourceLock,
    receiver: Receiver,
    decoder: Decoder,
    concealer: Concealer,
    gate: Gate,
    keys_in: KeyReceiver,
    /// Decoded sound not yet a frame.
    pending: Pending,
    scratch: Vec<i16>,
    frame: Vec<i16>,
    /// Where the next received frame begins; frames never run backwards.
    received_until: MediaTime,
    /// Consecutive active frames.
    voice: Span,
    last_packet: MediaTime,
    silence_told: bool,
    locked_told: bool,
    invalid: u64,
    encoder: Encoder,
    sender: Sender,
    egress: Egress,
    keys_out: VecDeque<char>,
    /// The key being sent and the timestamp it began at.
    key_out: Option<(KeySender, u32)>,
    out: Vec<i16>,
    datagram: [u8; DATAGRAM],
    payload: [u8; DATAGRAM],
    rtcp: RtcpSession,
    taps: Taps,
    events: VecDeque<LegEvent>,
    closed: bool,
}

/// Decoded samples with the time of the first.
struct Pending {
    pcm: Vec<i16>,
    at: MediaTime,
    /// Whether any of it was made up.
    concealed: bool,
}

impl Leg {
    /// Makes a leg at `now` and takes all its memory.
    #[must_use]
    pub fn new(config: LegConfig, taps: Taps, now: MediaTime) -> Self {
        let rate = config.codec.sample_rate();
        let samples = rate.samples(FRAME);
        let longest = rate.samples(LONGEST_PACKET);
        Self {
            rate,
            samples,
            source: SourceLock::new(config.remote, SourceConfig::default()),
            receiver: Receiver::new(ReceiverConfig::new(config.codec.rtp_clock_hz())),
            decoder: Decoder::new(config.codec),
            concealer: Concealer::new(rate),
            gate: Gate::new(rate, config.gate),
            keys_in: KeyReceiver::new(config.codec.rtp_clock_hz()),
            pending: Pending { pcm: Vec::with_capacity(longest + samples), at: now, concealed: false },
            scratch: vec![0; longest],
            frame: vec![0; samples],
            received_until: now,
            voice: Span::ZERO,
            last_packet: now,
            silence_told: false,
            locked_told: false,
            invalid: 0,
            encoder: Encoder::new(config.codec),
            sender: Sender::new(
                config.ssrc,
                config.first_sequence,
                config.first_timestamp,
                config.codec.rtp_clock_hz(),
            ),
            egress: Egress::new(rate),
            keys_out: VecDeque::with_capacity(KEYS),
            key_out: None,
            out: vec![0; samples],
            datagram: [0; DATAGRAM],
            payload: [0; DATAGRAM],
            rtcp: RtcpSession::new(config.ssrc, &config.cname, u64::from(config.ssrc), now),
            taps,
            events: VecDeque::with_capacity(EVENTS),
            closed: false,
            config,
        }
    }

    /// The native rate of both tracks.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<LegEvent> {
        self.events.pop_front()
    }

    /// Takes a datagram from the RTP socket.
    pub fn handle_rtp(&mut self, now: MediaTime, from: SocketAddr, datagram: &[u8]) {
        if is_rtcp(datagram) {
            self.handle_rtcp(now, from, datagram);
            return;
        }
        let Ok(packet) = packet::parse(datagram) else {
            self.invalid += 1;
            return;
        };
        let is_key = self.config.telephone_event == Some(packet.payload_type);
        if !is_key && packet.payload_type != self.config.payload_type {
            self.invalid += 1;
            return;
        }
        if self.source.accept(from, &packet, now) != Verdict::Accepted {
            return;
        }
        if !self.locked_told
            && self.source.is_locked()
            && let Some(remote) = self.source.remote()
        {
            self.locked_told = true;
            self.tell(LegEvent::Locked { remote });
        }
        self.last_packet = now;
        self.silence_told = false;
        if is_key {
            self.handle_key(now, packet);
        } else {
            let ticks = self.config.codec.ticks(packet.payload.len());
            self.receiver.receive(now, packet, ticks);
        }
    }

    /// Takes a datagram from the RTCP socket. Reports of strangers are ignored.
    pub fn handle_rtcp(&mut self, now: MediaTime, from: SocketAddr, datagram: &[u8]) {
        let known = self.source.remote().is_some_and(|remote| remote.ip() == from.ip());
        if known && self.source.is_locked() {
            // What is malformed in a report says nothing about the media.
            let _ = self.rtcp.handle(datagram, self.source.ssrc(), now, self.wall(now));
        }
    }

    /// Does what the owner asks.
    pub fn command(&mut self, now: MediaTime, command: LegCommand) {
        match command {
            LegCommand::Play(clip) => {
                if let Err(refused) = self.egress.play(clip) {
                    let end = ClipEnd::Cancelled;
                    self.tell(LegEvent::PlayStopped { id: refused.id, at: now, played: Span::ZERO, end });
                }
            }
            LegCommand::Stop => self.stop(now, ClipEnd::Cancelled),
            LegCommand::Keys(keys) => {
                self.keys_out.extend(keys.into_iter().take(KEYS - self.keys_out.len()));
            }
            LegCommand::Remote { rtp, rtcp } => {
                if self.config.remote != Some(rtp) {
                    self.config.remote = Some(rtp);
                    self.config.remote_rtcp = Some(rtcp);
                    self.source.signal(Some(rtp));
                    self.locked_told = false;
                }
            }
            LegCommand::Flow { send, receive } => {
                self.config.send = send;
                self.config.receive = receive;
                self.last_packet = now;
            }
            LegCommand::Close => {}
        }
    }

    /// Plays, taps and sends one frame. To be called every 20 ms of the leg's clock.
    pub fn tick(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        self.play_received(now);
        if let Some(event) = self.keys_in.poll(now) {
            self.key(now, event.key, event.at, event.duration);
        }
        self.send_frame(now, transmit);
        self.report(now, transmit);
        self.watch_silence(now);
    }

    /// Ends everything: clips are told as closed, RTCP says goodbye, the last event is [`LegEvent::Closed`].
    pub fn close(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.stop(now, ClipEnd::Closed);
        if let Some(to) = self.rtcp_target() {
            let wall = self.wall(now);
            let goodbye = self.rtcp.bye(now, wall, &self.sender.figures(), &mut self.receiver);
            transmit.rtcp(to, &goodbye);
        }
        let figures = Box::new(self.figures());
        self.taps = Taps::default();
        self.tell(LegEvent::Closed { at: now, figures });
    }

    /// What it came to so far.
    #[must_use]
    pub fn figures(&self) -> LegFigures {
        let received = self.receiver.figures();
        let sent = self.sender.figures();
        let clock = u64::from(self.receiver.clock_hz());
        LegFigures {
            received: received.received,
            lost: received.lost,
            late: received.late,
            duplicate: received.duplicate,
            drained: received.dropped,
            jitter: Span::from_nanos((received.jitter_ms * 1e6) as u64),
            concealed: Span::from_nanos(received.concealed_ticks * 1_000_000_000 / clock),
            strangers: self.source.refused(),
            invalid: self.invalid + received.stray,
            sent: sent.packets,
            sent_octets: sent.octets,
            round_trip: self.rtcp.round_trip(),
            remote_loss: self.rtcp.remote().map(|remote| remote.loss as f32),
            tap_refused: self.taps.refused(),
        }
    }

    fn tell(&mut self, event: LegEvent) {
        if self.events.len() < EVENTS || matches!(event, LegEvent::Closed { .. }) {
            self.events.push_back(event);
        }
    }

    fn handle_key(&mut self, now: MediaTime, packet: RtpPacket<'_>) {
        let event = self.keys_in.push(packet.timestamp, packet.marker, packet.payload, now);
        self.receiver.receive(now, packet, 0);
        if let Some(event) = event {
            self.key(now, event.key, event.at, event.duration);
        }
    }

    fn key(&mut self, now: MediaTime, key: char, at: MediaTime, duration: Span) {
        let events = &mut self.events;
        self.egress.interrupt(now, ClipEnd::Key, |played| events.push_back(played.into()));
        self.tell(LegEvent::Key { key, at, duration });
    }

    fn stop(&mut self, now: MediaTime, end: ClipEnd) {
        let events = &mut self.events;
        self.egress.stop(now, end, |played| events.push_back(played.into()));
    }

    fn play_received(&mut self, now: MediaTime) {
        while self.pending.pcm.len() < self.samples {
            match self.receiver.pull(now) {
                Pull::Play { payload, at, .. } => {
                    // A payload longer than the longest packet is refused by the receiver.
                    let decoded = self.decoder.decode(payload, &mut self.scratch).unwrap_or(0);
                    if decoded == 0 {
                        continue;
                    }
                    let pcm = &mut self.scratch[..decoded];
                    self.concealer.good(pcm);
                    self.pending.append(pcm, at, self.rate, false);
                }
                Pull::Conceal { at, ticks } => {
                    let samples = self.config.codec.samples(ticks).min(self.scratch.len());
                    let pcm = &mut self.scratch[..samples];
                    self.concealer.conceal(pcm);
                    self.pending.append(pcm, at, self.rate, true);
                }
                Pull::Wait => break,
            }
        }
        if self.pending.pcm.len() >= self.samples {
            self.take_pending(self.samples);
            return;
        }
        // Nothing will be played before `settled` any more, so silence up to there is the truth. What is left of the
        // last packet comes first.
        let settled = self.receiver.settled(now);
        for _ in 0..SILENT_FRAMES {
            let have = self.pending.pcm.len();
            let next = if have > 0 { self.pending.at } else { self.received_until };
            if settled.since(next) < FRAME {
                break;
            }
            self.take_pending(have);
        }
    }

    /// Hands on one frame: `count` decoded samples and silence for the rest.
    fn take_pending(&mut self, count: usize) {
        self.frame[..count].copy_from_slice(&self.pending.pcm[..count]);
        self.frame[count..].fill(0);
        let at = if count > 0 { self.pending.at.max(self.received_until) } else { self.received_until };
        let kind = match (count, self.pending.concealed) {
            (0, _) => FrameKind::Silence,
            (_, true) => FrameKind::Concealed,
            (_, false) => FrameKind::Voice,
        };
        self.pending.consume(count, self.rate);
        let decision = self.gate.push(&self.frame);
        self.receiver.set_quiet(!decision.active);
        match decision.edge {
            Some(Edge::Start) => self.tell(LegEvent::VoiceStarted { at: at - self.config.gate.start }),
            Some(Edge::End) => self.tell(LegEvent::VoiceEnded { at: at - self.config.gate.hangover }),
            None => {}
        }
        // The gate itself needed `start` of voice before it said so.
        self.voice = match (decision.active, self.voice) {
            (false, _) => Span::ZERO,
            (true, Span::ZERO) => self.config.gate.start,
            (true, voice) => voice + FRAME,
        };
        if self.voice >= self.config.barge_in && self.egress.interruptible() {
            let events = &mut self.events;
            self.egress.interrupt(at, ClipEnd::BargeIn, |played| events.push_back(played.into()));
        }
        let frame = AudioFrame { pcm: &self.frame, rate: self.rate, at, kind, active: decision.active };
        for tap in &mut self.taps.received {
            tap.push(frame);
        }
        self.received_until = frame.end();
    }

    fn send_frame(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        let events = &mut self.events;
        let spoke = self.egress.fill(&mut self.out, now, |played| events.push_back(played.into()));
        let kind = if spoke { FrameKind::Voice } else { FrameKind::Silence };
        let active = spoke && audible(&self.out);
        let frame = AudioFrame { pcm: &self.out, rate: self.rate, at: now, kind, active };
        for tap in &mut self.taps.sent {
            tap.push(frame);
        }
        let to = self.source.remote().or(self.config.remote).filter(|to| !to.ip().is_unspecified());
        let (true, Some(to)) = (self.config.send, to) else {
            self.sender.skip(self.config.codec.ticks(self.config.codec.payload_len(self.samples)));
            return;
        };
        if self.send_key(to, transmit) {
            return;
        }
        // The buffers hold a frame of the widest codec, so neither step fails.
        let Ok(length) = self.encoder.encode(&self.out, &mut self.payload) else { return };
        let ticks = self.config.codec.ticks(length);
        let packet = self.sender.packet(self.config.payload_type, ticks, &self.payload[..length]);
        if let Ok(length) = packet.write(&mut self.datagram) {
            transmit.rtp(to, &self.datagram[..length]);
        }
    }

    /// Sends what is due of a key instead of sound; says whether a key is under way.
    fn send_key(&mut self, to: SocketAddr, transmit: &mut dyn Transmit) -> bool {
        let Some(payload_type) = self.config.telephone_event else {
            if !self.keys_out.is_empty() {
                self.keys_out.clear();
                self.tell(LegEvent::KeysRefused);
            }
            return false;
        };
        loop {
            if self.key_out.is_none() {
                let Some(key) = self.keys_out.pop_front() else { return false };
                let timestamp = self.sender.figures().timestamp;
                self.key_out = KeySender::new(key, KEY, KEY_GAP, self.config.codec.rtp_clock_hz())
                    .map(|sender| (sender, timestamp));
            }
            let Some((key, started)) = &mut self.key_out else { continue };
            match key.step() {
                None => {
                    self.key_out = None;
                    if self.keys_out.is_empty() {
                        self.tell(LegEvent::KeysSent);
                        return false;
                    }
                }
                Some(step) => {
                    if let KeyStep::Send(part) = step {
                        let timestamp = started.wrapping_add(part.timestamp_offset);
                        let packet = self.sender.stamped(payload_type, part.marker, timestamp, &part.payload);
                        if let Ok(length) = packet.write(&mut self.datagram) {
                            transmit.rtp(to, &self.datagram[..length]);
                        }
                    }
                    self.sender.skip(self.config.codec.ticks(self.config.codec.payload_len(self.samples)));
                    return true;
                }
            }
        }
    }

    fn report(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        let Some(to) = self.rtcp_target() else { return };
        let wall = self.wall(now);
        if let Some(report) = self.rtcp.poll(now, wall, &self.sender.figures(), &mut self.receiver) {
            transmit.rtcp(to, &report);
        }
    }

    /// Where the far side takes RTCP: the signalled port at the address its media really comes from.
    fn rtcp_target(&self) -> Option<SocketAddr> {
        let signalled = self.config.remote_rtcp?;
        let to = match self.source.remote() {
            Some(locked) if Some(locked) != self.config.remote => {
                SocketAddr::new(locked.ip(), locked.port().saturating_add(1))
            }
            _ => signalled,
        };
        (!to.ip().is_unspecified() && to.port() != 0).then_some(to)
    }

    fn wall(&self, now: MediaTime) -> NtpTime {
        NtpTime::from_unix(self.config.wallclock + now.since(MediaTime::ZERO).into())
    }

    fn watch_silence(&mut self, now: MediaTime) {
        if self.config.receive && !self.silence_told && now.since(self.last_packet) >= self.config.silence {
            self.silence_told = true;
            self.tell(LegEvent::Silent { since: self.last_packet });
        }
    }
}

impl Pending {
    fn append(&mut self, pcm: &[i16], at: MediaTime, rate: SampleRate, concealed: bool) {
        self.at = at - rate.span(self.pcm.len());
        self.concealed |= concealed;
        self.pcm.extend_from_slice(pcm);
    }

    fn consume(&mut self, count: usize, rate: SampleRate) {
        self.pcm.drain(..count);
        self.at += rate.span(count);
        if self.pcm.is_empty() {
            self.concealed = false;
        }
    }
}

impl From<Played> for LegEvent {
    fn from(played: Played) -> Self {
        match played {
            Played::Started { id, at } => Self::PlayStarted { id, at },
            Played::Stopped { id, at, played, end } => Self::PlayStopped { id, at, played, end },
        }
    }
}
