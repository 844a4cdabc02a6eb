//! One media endpoint without I/O: packets and ticks in, packets and events out.

use std::collections::VecDeque;
use std::net::SocketAddr;

use antiphon_media_codec::{Concealer, Decoder, Edge, Encoder, Gate};
use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_media_rtp::packet;
use antiphon_media_rtp::source::{SourceConfig, SourceLock, Verdict};
use antiphon_media_rtp::telephone_event::KeyStep;
use antiphon_media_rtp::{
    JitterConfig, KeyReceiver, NtpTime, Pull, Receiver, ReceiverConfig, RtcpSession, RtpPacket, Sender,
    is_rtcp,
};

use crate::config::{LegConfig, Transmit};
use crate::dial::{Dial, DialStep};
use crate::egress::{Egress, Played, audible};
use crate::hear::Hearing;
use crate::pending::Pending;
use crate::{ClipEnd, LegCommand, LegEvent, LegFigures, Taps};

/// What is played, tapped and sent at once.
pub(crate) const FRAME: Span = Span::from_millis(20);
/// The longest packet that is taken: senders use 60 ms at most, so this is twice what is needed. All codecs carry eight
/// octets a millisecond.
const LONGEST_PACKET: Span = Span::from_millis(120);
const LONGEST_PAYLOAD: usize = 960;
/// Comfort noise (RFC 3389): sent in pauses, with numbers of its own in the sequence.
const COMFORT_NOISE: u8 = 13;
/// Events waiting to be fetched. They are fetched after every call, so this is never reached by a living owner.
const EVENTS: usize = 256;
/// RTP header plus 20 ms of the widest codec.
const DATAGRAM: usize = 512;
/// Silent frames made up for in one tick, so that a pause is caught up with soon but not in a burst.
const SILENT_FRAMES: usize = 8;

/// How many times longer than otherwise a silent far side is believed to be there while the call is on hold.
const HOLD: u64 = 20;
/// The most sound that waits in the jitter buffer when a leg closes.
const LAST_WORDS: Span = Span::from_millis(300);

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
    /// Where the newest received frame begins; frames never run backwards.
    received_at: MediaTime,
    /// Where it ends, and silence would go on.
    received_until: MediaTime,
    /// Consecutive active frames.
    voice: Span,
    last_packet: MediaTime,
    silence_told: bool,
    /// The lock that was told last.
    locked: Option<SocketAddr>,
    invalid: u64,
    encoder: Encoder,
    sender: Sender,
    egress: Egress,
    hearing: Hearing,
    dial: Dial,
    /// When the last tick was.
    ticked: Option<MediaTime>,
    out: Vec<i16>,
    datagram: [u8; DATAGRAM],
    payload: [u8; DATAGRAM],
    rtcp: RtcpSession,
    taps: Taps,
    events: VecDeque<LegEvent>,
    closed: bool,
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
            receiver: Receiver::new(ReceiverConfig {
                jitter: JitterConfig { max_payload: LONGEST_PAYLOAD, ..JitterConfig::default() },
                ..ReceiverConfig::new(config.codec.rtp_clock_hz())
            }),
            decoder: Decoder::new(config.codec),
            concealer: Concealer::new(rate),
            gate: Gate::new(rate, config.gate),
            keys_in: KeyReceiver::new(config.codec.rtp_clock_hz()),
            pending: Pending::new(rate, longest + samples, now),
            scratch: vec![0; longest],
            frame: vec![0; samples],
            received_at: now,
            received_until: now,
            voice: Span::ZERO,
            last_packet: now,
            silence_told: false,
            locked: None,
            invalid: 0,
            encoder: Encoder::new(config.codec),
            sender: Sender::new(
                config.ssrc,
                config.first_sequence,
                config.first_timestamp,
                config.codec.rtp_clock_hz(),
            ),
            egress: Egress::new(rate),
            hearing: Hearing::new(rate),
            dial: Dial::new(config.codec.rtp_clock_hz()),
            ticked: None,
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
        if self.closed {
            return;
        }
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
            self.handle_other(now, from, packet);
            return;
        }
        if self.source.accept(from, &packet, now) != Verdict::Accepted {
            return;
        }
        let locked = self.source.remote().filter(|_| self.source.is_locked());
        if locked != self.locked
            && let Some(remote) = locked
        {
            self.locked = locked;
            self.tell(LegEvent::Locked { remote });
        }
        self.last_packet = now;
        self.silence_told = false;
        if is_key {
            self.handle_key(now, packet);
        } else {
            let ticks = self.config.codec.ticks(packet.payload);
            self.receiver.receive(now, packet, ticks);
        }
    }

    /// Takes a datagram from the RTCP socket. Reports of strangers are ignored.
    pub fn handle_rtcp(&mut self, now: MediaTime, from: SocketAddr, datagram: &[u8]) {
        let known = self.source.remote().is_some_and(|remote| remote.ip() == from.ip());
        if known && self.source.is_locked() && !self.closed {
            // What is malformed in a report says nothing about the media.
            let heard = self.rtcp.handle(datagram, self.source.ssrc(), now, self.wall(now));
            if heard.is_ok() && !self.config.receive {
                // On hold reports are the only sign of life.
                self.last_packet = now;
            }
        }
    }

    /// Does what the owner asks.
    pub fn command(&mut self, now: MediaTime, command: LegCommand) {
        if self.closed {
            return;
        }
        match command {
            LegCommand::Play(clip) => {
                if let Err(refused) = self.egress.play(clip) {
                    let end = ClipEnd::Cancelled;
                    self.tell(LegEvent::PlayStopped { id: refused.id, at: now, played: Span::ZERO, end });
                }
            }
            LegCommand::Stop => self.stop(now, ClipEnd::Cancelled),
            LegCommand::Keys(keys) => {
                if self.config.telephone_event.is_none() || !self.dial.ask(&keys) {
                    self.tell(LegEvent::KeysRefused);
                }
            }
            LegCommand::Remote { rtp, rtcp } => {
                self.config.remote_rtcp = Some(rtcp);
                if self.config.remote != Some(rtp) {
                    self.config.remote = Some(rtp);
                    self.source.signal(Some(rtp));
                    self.locked = None;
                }
            }
            LegCommand::PayloadTypes { audio, telephone_event } => {
                self.config.payload_type = audio;
                self.config.telephone_event = telephone_event;
            }
            LegCommand::Flow { send, receive } => {
                self.config.send = send;
                self.config.receive = receive;
                self.last_packet = now;
                self.silence_told = false;
            }
            LegCommand::Hear { source, reader, gain } => {
                if !self.hearing.add(source, reader, gain) {
                    self.tell(LegEvent::HearEnded { source });
                }
            }
            LegCommand::Unhear { source } => self.hearing.remove(source),
            LegCommand::Gain { source, gain } => self.hearing.gain(source, gain),
            LegCommand::Hold(held) => self.hearing.hold(held),
            LegCommand::Tap { id, track, writer } => {
                if !self.taps.add(id, track, self.rate, writer) {
                    tracing::warn!(limit = crate::TAPS, "a leg takes no more taps");
                }
            }
            LegCommand::Untap { id } => self.taps.remove(id),
            // Needs somewhere to send the goodbye: `Leg::close`.
            LegCommand::Close => {}
        }
    }

    /// Plays, taps and sends one frame. To be called every 20 ms of the leg's clock; ticks left out show as silence to
    /// the far side, not as delay.
    pub fn tick(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        if self.closed {
            return;
        }
        self.pass_missed(now);
        self.play_received(now);
        if let Some(event) = self.keys_in.poll(now) {
            self.key(now, event.key, event.at, event.duration);
        }
        // Before the frame, so that the report's timestamp is the one that belongs to `now`.
        self.report(now, transmit);
        self.send_frame(now, transmit);
        self.watch_silence(now);
    }

    /// Ends everything: clips are told as closed, RTCP says goodbye, the last event is [`LegEvent::Closed`].
    pub fn close(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.stop(now, ClipEnd::Closed);
        let figures = Box::new(self.figures());
        // What has come and was held back for its turn belongs to the call: the last word before the hang-up.
        let mut later = now;
        while self.receiver.figures().buffered > 0 && later.since(now) < LAST_WORDS {
            later += FRAME;
            self.play_received(later);
        }
        if let Some(to) = self.rtcp_target() {
            let wall = self.wall(now);
            let goodbye = self.rtcp.bye(now, wall, &self.sender.figures(), &mut self.receiver);
            transmit.rtcp(to, &goodbye);
        }
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

    /// A payload type that is not ours to decode, which still takes a number of the sequence.
    fn handle_other(&mut self, now: MediaTime, from: SocketAddr, packet: RtpPacket<'_>) {
        // It may keep a lock, but not win one.
        let locked = self.source.remote() == Some(from) && self.source.ssrc() == Some(packet.ssrc);
        let comfort = packet.payload_type == COMFORT_NOISE;
        if !locked || !comfort {
            self.invalid += 1;
        }
        if locked && self.source.accept(from, &packet, now) == Verdict::Accepted {
            self.receiver.receive(now, packet, 0);
            if comfort {
                self.last_packet = now;
                self.silence_told = false;
            }
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

    /// Lets the sender's timestamps pass over ticks that were left out.
    fn pass_missed(&mut self, now: MediaTime) {
        if let Some(last) = self.ticked.replace(now) {
            let steps = (now.since(last).nanos() + FRAME.nanos() / 2) / FRAME.nanos();
            if steps > 1 {
                self.sender.skip(self.frame_ticks().wrapping_mul((steps - 1) as u32));
            }
        }
    }

    fn play_received(&mut self, now: MediaTime) {
        while self.pending.len() < self.samples {
            let (count, at, concealed) = match self.receiver.pull(now) {
                Pull::Play { payload, at, .. } => {
                    // A payload longer than the longest packet is refused by the receiver.
                    let Ok(decoded) = self.decoder.decode(payload, &mut self.scratch) else { continue };
                    self.concealer.good(&mut self.scratch[..decoded]);
                    (decoded, at, false)
                }
                Pull::Conceal { at, ticks } => {
                    let samples = self.config.codec.samples(ticks).min(self.scratch.len());
                    self.concealer.conceal(&mut self.scratch[..samples]);
                    (samples, at, true)
                }
                Pull::Wait => break,
            };
            if self.pending.ends_before(at) {
                // What is left of the packet before the hole keeps its place, as a frame of its own.
                let left = self.pending.len();
                self.take_pending(now, left, left);
            }
            self.pending.append(&self.scratch[..count], at, concealed);
        }
        if self.pending.len() >= self.samples {
            self.take_pending(now, self.samples, self.samples);
            return;
        }
        // Nothing will be played before `settled` any more, so silence up to there is the truth. What is left of the
        // last packet comes first.
        let settled = self.receiver.settled(now);
        for _ in 0..SILENT_FRAMES {
            let next = self.pending.at().unwrap_or(self.received_until);
            if settled.since(next) < FRAME {
                break;
            }
            self.take_pending(now, self.pending.len(), self.samples);
        }
    }

    /// Hands on a frame of `length` samples: `count` decoded ones and silence for the rest.
    fn take_pending(&mut self, now: MediaTime, count: usize, length: usize) {
        self.frame[..count].copy_from_slice(&self.pending.pcm()[..count]);
        self.frame[count..length].fill(0);
        // A sender whose clock runs fast brings more sound than time: frames overlap by what its clock is corrected by,
        // instead of sliding away from the truth.
        let at = self.pending.at().unwrap_or(self.received_until).max(self.received_at);
        let kind = match (count, self.pending.is_concealed()) {
            (0, _) => FrameKind::Silence,
            (_, true) => FrameKind::Concealed,
            (_, false) => FrameKind::Voice,
        };
        self.pending.consume(count);
        let decision = self.gate.push(&self.frame[..length]);
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
            (true, voice) => voice + self.rate.span(length),
        };
        if self.voice >= self.config.barge_in && self.egress.interruptible() {
            let events = &mut self.events;
            // The sound is cut now, some jitter delay after it was interrupted.
            self.egress.interrupt(now, ClipEnd::BargeIn, |played| events.push_back(played.into()));
        }
        let pcm = &self.frame[..length];
        let frame = AudioFrame { pcm, rate: self.rate, at, kind, active: decision.active };
        for tap in &mut self.taps.received {
            tap.push(frame);
        }
        self.received_at = at;
        self.received_until = frame.end();
    }

    /// Sends a key, or else sound. While neither may be sent (hold) and while keys are, clips wait: what was never on
    /// the wire was not said.
    fn send_frame(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        let to = self.source.remote().filter(|to| self.config.send && !to.ip().is_unspecified());
        let speak_to = to.filter(|to| !self.send_key(*to, transmit));
        let events = &mut self.events;
        let mut spoke = false;
        if speak_to.is_some() {
            spoke = self.egress.fill(&mut self.out, now, |played| events.push_back(played.into()));
        }
        // Others go on speaking while nothing of it may be sent.
        spoke |= self.hearing.mix(&mut self.out, |source| events.push_back(LegEvent::HearEnded { source }));
        if speak_to.is_none() {
            self.egress.rest(&mut self.out);
            spoke = false;
        }
        let kind = if spoke { FrameKind::Voice } else { FrameKind::Silence };
        let active = spoke && audible(&self.out);
        let frame = AudioFrame { pcm: &self.out, rate: self.rate, at: now, kind, active };
        for tap in &mut self.taps.sent {
            tap.push(frame);
        }
        let Some(to) = speak_to else {
            self.sender.skip(self.frame_ticks());
            return;
        };
        // The buffers hold a frame of the widest codec, so neither step fails.
        let Ok(length) = self.encoder.encode(&self.out, &mut self.payload) else { return };
        let ticks = self.config.codec.ticks_of(self.samples);
        if length == 0 {
            // Silence that the codec leaves unsent.
            self.sender.skip(ticks);
            return;
        }
        let packet = self.sender.packet(self.config.payload_type, ticks, &self.payload[..length]);
        if let Ok(length) = packet.write(&mut self.datagram) {
            transmit.rtp(to, &self.datagram[..length]);
        }
    }

    /// Sends what is due of a key instead of sound; says whether a key is under way.
    fn send_key(&mut self, to: SocketAddr, transmit: &mut dyn Transmit) -> bool {
        let Some(payload_type) = self.config.telephone_event else { return false };
        match self.dial.step(self.sender.timestamp()) {
            DialStep::Idle => false,
            DialStep::Done => {
                self.tell(LegEvent::KeysSent);
                false
            }
            DialStep::Key(KeyStep::Gap, _) => true,
            DialStep::Key(KeyStep::Send(part), started) => {
                let timestamp = started.wrapping_add(part.timestamp_offset);
                let packet = self.sender.stamped(payload_type, part.marker, timestamp, &part.payload);
                if let Ok(length) = packet.write(&mut self.datagram) {
                    transmit.rtp(to, &self.datagram[..length]);
                }
                true
            }
        }
    }

    /// RTP ticks of a frame.
    fn frame_ticks(&self) -> u32 {
        self.config.codec.ticks_of(self.samples)
    }

    fn report(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        if now < self.rtcp.due() {
            return;
        }
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
        let longest =
            if self.config.receive { self.config.silence } else { self.config.silence.saturating_mul(HOLD) };
        if !self.silence_told && now.since(self.last_packet) >= longest {
            self.silence_told = true;
            self.tell(LegEvent::Silent { since: self.last_packet });
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
