//! One media endpoint without I/O: packets and ticks in, packets and events out.

use std::net::SocketAddr;

use antiphon_media_codec::{Edge, Gate};
use antiphon_media_frame::{AudioFrame, Direction, MediaTime, SampleRate, Span};
use antiphon_media_rtp::source::{SourceConfig, SourceLock, Verdict};
use antiphon_media_rtp::{NtpTime, ReceiverFigures, RtcpSession, RtpPacket, is_rtcp, packet};

use crate::config::{LegConfig, Transmit};
use crate::egress::{Egress, Played};
use crate::event::Events;
use crate::ingress::Ingress;
use crate::keys::{Presses, Way};
use crate::outgoing::Outgoing;
use crate::{ClipEnd, Format, LegCommand, LegEvent, LegFigures, Tap, Taps};

/// What is played, tapped and sent at once.
pub(crate) const FRAME: Span = Span::from_millis(20);
/// How many times longer than otherwise a silent far side is believed to be there while the call is on hold.
const HOLD: u64 = 20;

/// One media endpoint.
///
/// # Realtime safety
/// [`Leg::handle_rtp`] and [`Leg::tick`] allocate nothing in the steady state; RTCP does, every few seconds, and so do
/// commands and a change of codec.
pub struct Leg {
    config: LegConfig,
    source: SourceLock,
    ingress: Ingress,
    /// What the far side will send instead, from its first packet on.
    next: Option<Format>,
    /// What the ingresses before the present one came to.
    earlier: ReceiverFigures,
    ear: Ear,
    outgoing: Outgoing,
    presses: Presses,
    last_packet: MediaTime,
    silence_told: bool,
    /// The lock that was told last.
    locked: Option<SocketAddr>,
    invalid: u64,
    /// When the last tick was.
    ticked: Option<MediaTime>,
    rtcp: RtcpSession,
    taps: Taps,
    events: Events,
    closed: bool,
}

impl Leg {
    /// Makes a leg at `now` and takes all its memory.
    #[must_use]
    pub fn new(config: LegConfig, taps: Taps, now: MediaTime) -> Self {
        Self {
            source: SourceLock::new(config.remote, SourceConfig::default()),
            ingress: Ingress::new(config.format, now),
            next: None,
            earlier: ReceiverFigures::default(),
            ear: Ear::new(&config),
            outgoing: Outgoing::new(&config),
            presses: Presses::new(),
            last_packet: now,
            silence_told: false,
            locked: None,
            invalid: 0,
            ticked: None,
            rtcp: RtcpSession::new(config.ssrc, &config.cname, u64::from(config.ssrc), now),
            taps,
            events: Events::new(),
            closed: false,
            config,
        }
    }

    /// The native rate of what is sent, and of what is received unless the codec is changing just now.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.outgoing.rate()
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<LegEvent> {
        self.events.pop()
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
        let kind = self.kind(packet.payload_type);
        if kind == Kind::Other {
            self.handle_other(now, from, packet);
            return;
        }
        if self.source.accept(from, &packet, now) != Verdict::Accepted {
            return;
        }
        self.tell_lock();
        self.last_packet = now;
        self.silence_told = false;
        match kind {
            Kind::Next => {
                self.switch(now);
                self.ingress.receive(now, packet);
            }
            Kind::Key => self.handle_key(now, packet),
            Kind::Sound | Kind::Other => self.ingress.receive(now, packet),
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
                if let Err(refused) = self.outgoing.egress.play(clip) {
                    let end = ClipEnd::Cancelled;
                    self.events.tell(LegEvent::PlayStopped {
                        id: refused.id,
                        at: now,
                        played: Span::ZERO,
                        end,
                    });
                }
            }
            LegCommand::Stop => self.stop(now, ClipEnd::Cancelled),
            LegCommand::Hear { source, reader, gain } => {
                if !self.outgoing.hearing.add(source, reader, gain) {
                    self.events.tell(LegEvent::HearEnded { source });
                }
            }
            LegCommand::Unhear { source } => self.outgoing.hearing.remove(source),
            LegCommand::Gain { source, gain } => self.outgoing.hearing.gain(source, gain),
            LegCommand::Hold(held) => self.outgoing.hearing.hold(held),
            LegCommand::Tap { id, track, writer } => {
                let native = match track {
                    Direction::Received => self.ingress.rate(),
                    Direction::Sent => self.outgoing.rate(),
                };
                if !self.taps.add(id, track, native, writer) {
                    tracing::warn!(limit = crate::TAPS, "a leg takes no more taps");
                }
            }
            LegCommand::Untap { id } => self.taps.remove(id),
            LegCommand::Keys(keys) => self.dial(&keys, false),
            LegCommand::KeysInband(keys) => self.dial(&keys, true),
            LegCommand::KeyFromSignalling { key, duration } => {
                self.press(now, Way::Signalling, key, now, duration);
            }
            LegCommand::Remote { rtp, rtcp } => {
                self.config.remote_rtcp = Some(rtcp);
                if self.config.remote != Some(rtp) {
                    self.config.remote = Some(rtp);
                    self.source.signal(Some(rtp));
                    self.locked = None;
                }
            }
            LegCommand::Codec(format) => self.change(now, format),
            LegCommand::Flow { send, receive } => {
                self.config.send = send;
                self.config.receive = receive;
                self.last_packet = now;
                self.silence_told = false;
            }
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
        self.listen(|ingress, emit| ingress.play(now, emit), now);
        if let Some(event) = self.ingress.keys.poll(now) {
            self.press(now, Way::Event, event.key, event.at, event.duration);
        }
        // Before the frame, so that the report's timestamp is the one that belongs to `now`.
        self.report(now, transmit);
        let to = self.source.remote().filter(|to| self.config.send && !to.ip().is_unspecified());
        self.outgoing.frame(now, to, transmit, &mut self.events, &mut self.taps.sent);
        self.watch_silence(now);
    }

    /// Ends everything: clips are told as closed, RTCP says goodbye, the last event is [`LegEvent::Closed`].
    pub fn close(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.stop(now, ClipEnd::Closed);
        let figures = Box::new(self.figures());
        self.listen(|ingress, emit| ingress.flush(now, emit), now);
        if let Some(to) = self.rtcp_target() {
            let wall = self.wall(now);
            let goodbye =
                self.rtcp.bye(now, wall, &self.outgoing.sender.figures(), &mut self.ingress.receiver);
            transmit.rtcp(to, &goodbye);
        }
        self.taps = Taps::default();
        self.events.tell(LegEvent::Closed { at: now, figures });
    }

    /// What it came to so far.
    #[must_use]
    pub fn figures(&self) -> LegFigures {
        let (before, now) = (self.earlier, self.ingress.figures());
        let sent = self.outgoing.sender.figures();
        LegFigures {
            received: before.received + now.received,
            lost: before.lost + now.lost,
            late: before.late + now.late,
            duplicate: before.duplicate + now.duplicate,
            drained: before.dropped + now.dropped,
            jitter: Span::from_nanos((now.jitter_ms * 1e6) as u64),
            concealed: Span::from_nanos(before.concealed_ticks) + self.ingress.concealed(),
            strangers: self.source.refused(),
            invalid: self.invalid + before.stray + now.stray,
            sent: sent.packets,
            sent_octets: sent.octets,
            round_trip: self.rtcp.round_trip(),
            remote_loss: self.rtcp.remote().map(|remote| remote.loss as f32),
            tap_refused: self.taps.refused(),
        }
    }

    /// What a payload type stands for just now.
    fn kind(&self, payload_type: u8) -> Kind {
        let formats = [Some(&self.ingress.format), self.next.as_ref()];
        if self.ingress.decodes(payload_type) {
            Kind::Sound
        } else if self.next.is_some_and(|next| next.payload_type == payload_type) {
            Kind::Next
        } else if formats.iter().flatten().any(|format| format.telephone_event == Some(payload_type)) {
            Kind::Key
        } else {
            Kind::Other
        }
    }

    /// A payload type that is not ours to decode, which still takes a number of the sequence.
    fn handle_other(&mut self, now: MediaTime, from: SocketAddr, packet: RtpPacket<'_>) {
        // It may keep a lock, but not win one.
        let locked = self.source.remote() == Some(from) && self.source.ssrc() == Some(packet.ssrc);
        let comfort = self.ingress.format.is_comfort_noise(packet.payload_type);
        if !locked || !comfort {
            self.invalid += 1;
        }
        if locked && self.source.accept(from, &packet, now) == Verdict::Accepted {
            self.ingress.count(now, packet);
            if comfort {
                self.last_packet = now;
                self.silence_told = false;
            }
        }
    }

    fn handle_key(&mut self, now: MediaTime, packet: RtpPacket<'_>) {
        let event = self.ingress.keys.push(packet.timestamp, packet.marker, packet.payload, now);
        self.ingress.count(now, packet);
        if let Some(event) = event {
            self.press(now, Way::Event, event.key, event.at, event.duration);
        }
    }

    /// Tells a press of the far side, unless it was told before.
    fn press(&mut self, now: MediaTime, way: Way, key: char, at: MediaTime, duration: Span) {
        let key = key.to_ascii_uppercase();
        if !matches!(key, '0'..='9' | '*' | '#' | 'A'..='D') || !self.presses.is_new(way, key, at, duration) {
            return;
        }
        let events = &mut self.events;
        self.outgoing.egress.interrupt(now, ClipEnd::Key, |played| events.tell(played.into()));
        events.tell(LegEvent::Key { key, at, duration });
    }

    fn dial(&mut self, keys: &[char], inband: bool) {
        if !self.outgoing.dial.ask(keys, inband) {
            self.events.tell(LegEvent::KeysRefused);
        }
    }

    /// Sends in the new format from here on and expects it.
    fn change(&mut self, now: MediaTime, format: Format) {
        let rate = self.outgoing.rate();
        if self.outgoing.change(format) {
            self.rtcp.rename(self.outgoing.sender.ssrc());
        }
        if self.outgoing.rate() != rate {
            self.taps.change(Direction::Sent, self.outgoing.rate());
        }
        let present = self.ingress.format;
        self.config.format = format;
        self.next = None;
        if format.codec == present.codec {
            self.ingress.renumber(format);
        } else {
            self.next = Some(format);
            if format.codec.rtp_clock_hz() != present.codec.rtp_clock_hz() {
                // Another clock may bring another SSRC, as it does from us.
                self.source.expect_restart();
            }
            if self.ingress.decodes(format.payload_type) {
                // One number for both: nobody can tell when the far side changes.
                self.switch(now);
            }
        }
    }

    /// Receives the next format from here on.
    fn switch(&mut self, now: MediaTime) {
        let Some(format) = self.next.take() else { return };
        self.listen(|ingress, emit| ingress.flush(now, emit), now);
        let next = self.ingress.successor(format);
        let rate = next.rate();
        let before = std::mem::replace(&mut self.ingress, next);
        self.remember(&before);
        if rate != before.rate() {
            self.taps.change(Direction::Received, rate);
        }
        if self.ear.change(rate, &self.config) {
            let at = self.ingress.until();
            self.events.tell(LegEvent::VoiceEnded { at });
        }
    }

    fn remember(&mut self, over: &Ingress) {
        let (sum, figures) = (&mut self.earlier, over.figures());
        sum.received += figures.received;
        sum.lost += figures.lost;
        sum.late += figures.late;
        sum.duplicate += figures.duplicate;
        sum.dropped += figures.dropped;
        sum.stray += figures.stray;
        // On clocks that differ only time adds up.
        sum.concealed_ticks += over.concealed().nanos();
    }

    /// Runs what makes received frames, hears them and hands them on.
    fn listen(
        &mut self,
        make: impl FnOnce(&mut Ingress, &mut dyn FnMut(AudioFrame<'_>) -> bool),
        now: MediaTime,
    ) {
        let Self { ingress, ear, outgoing, events, taps, config, .. } = self;
        make(ingress, &mut |frame| {
            ear.hear(frame, now, config, &mut outgoing.egress, events, &mut taps.received)
        });
    }

    fn tell_lock(&mut self) {
        let locked = self.source.remote().filter(|_| self.source.is_locked());
        if locked != self.locked
            && let Some(remote) = locked
        {
            self.locked = locked;
            self.events.tell(LegEvent::Locked { remote });
        }
    }

    fn stop(&mut self, now: MediaTime, end: ClipEnd) {
        let events = &mut self.events;
        self.outgoing.egress.stop(now, end, |played| events.tell(played.into()));
    }

    /// Lets the sender's timestamps pass over ticks that were left out.
    fn pass_missed(&mut self, now: MediaTime) {
        if let Some(last) = self.ticked.replace(now) {
            let steps = (now.since(last).nanos() + FRAME.nanos() / 2) / FRAME.nanos();
            if steps > 1 {
                let ticks = self.outgoing.frame_ticks().wrapping_mul((steps - 1) as u32);
                self.outgoing.sender.skip(ticks);
            }
        }
    }

    fn report(&mut self, now: MediaTime, transmit: &mut dyn Transmit) {
        if now < self.rtcp.due() {
            return;
        }
        let Some(to) = self.rtcp_target() else { return };
        let wall = self.wall(now);
        if let Some(report) =
            self.rtcp.poll(now, wall, &self.outgoing.sender.figures(), &mut self.ingress.receiver)
        {
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
            self.events.tell(LegEvent::Silent { since: self.last_packet });
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

/// What a payload type stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sound,
    /// Sound in the format that was agreed on last.
    Next,
    Key,
    Other,
}

/// Listens for voices in what is received.
struct Ear {
    gate: Gate,
    active: bool,
    /// Consecutive active frames.
    voice: Span,
}

impl Ear {
    fn new(config: &LegConfig) -> Self {
        let gate = Gate::new(config.format.codec.sample_rate(), config.gate);
        Self { gate, active: false, voice: Span::ZERO }
    }

    /// Listens at another rate from here on; says whether a voice was speaking that would have to speak up again.
    fn change(&mut self, rate: SampleRate, config: &LegConfig) -> bool {
        self.gate = Gate::new(rate, config.gate);
        self.voice = Span::ZERO;
        std::mem::take(&mut self.active)
    }

    /// Hears a frame, cuts a prompt where a voice speaks over it, and hands the frame on; says whether somebody speaks.
    fn hear(
        &mut self,
        frame: AudioFrame<'_>,
        now: MediaTime,
        config: &LegConfig,
        egress: &mut Egress,
        events: &mut Events,
        taps: &mut [Tap],
    ) -> bool {
        let decision = self.gate.push(frame.pcm);
        self.active = decision.active;
        match decision.edge {
            Some(Edge::Start) => events.tell(LegEvent::VoiceStarted { at: frame.at - config.gate.start }),
            Some(Edge::End) => events.tell(LegEvent::VoiceEnded { at: frame.at - config.gate.hangover }),
            None => {}
        }
        // The gate itself needed `start` of voice before it said so.
        self.voice = match (decision.active, self.voice) {
            (false, _) => Span::ZERO,
            (true, Span::ZERO) => config.gate.start,
            (true, voice) => voice + frame.span(),
        };
        if self.voice >= config.barge_in && egress.interruptible() {
            // The sound is cut now, some jitter delay after it was interrupted.
            egress.interrupt(now, ClipEnd::BargeIn, |played| events.tell(played.into()));
        }
        for tap in taps {
            tap.push(AudioFrame { active: decision.active, ..frame });
        }
        decision.active
    }
}
