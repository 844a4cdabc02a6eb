//! One media endpoint without I/O: packets and ticks in, packets and events out.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_media_frame::{Direction, MediaTime, SampleRate, Span};
use antiphon_media_link::{Input, Link, Remote};
use antiphon_media_rtp::source::{SourceConfig, SourceLock, Verdict};
use antiphon_media_rtp::{NtpTime, ReceiverFigures, RtcpSession, RtpPacket, mos, packet};

use crate::config::{LegConfig, Transmit};
use crate::ear::Ear;
use crate::egress::Played;
use crate::event::Events;
use crate::ingress::{Emit, Ingress};
use crate::keys::Way;
use crate::outgoing::Outgoing;
use crate::wire::Wire;
use crate::{ClipEnd, Format, LegCommand, LegEvent, LegFigures, Taps};

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
    link: Link,
    source: SourceLock,
    ingress: Ingress,
    /// What the far side will send instead, from its first packet on.
    next: Option<Format>,
    /// What the ingresses before the present one came to.
    earlier: ReceiverFigures,
    ear: Ear,
    outgoing: Outgoing,
    last_packet: MediaTime,
    silence_told: bool,
    /// The lock that was told last.
    locked: Option<SocketAddr>,
    invalid: u64,
    /// When the last tick was.
    ticked: Option<MediaTime>,
    rtcp: RtcpSession,
    taps: Taps,
    /// When the last quality was told, and packets received, lost and late by then.
    rated: (MediaTime, [u64; 3]),
    events: Events,
    closed: bool,
}

impl Leg {
    /// Makes a leg at `now` and takes all its memory.
    #[must_use]
    pub fn new(config: LegConfig, taps: Taps, now: MediaTime) -> Self {
        Self {
            link: Link::plain(),
            source: SourceLock::new(
                config.remote,
                SourceConfig { latch: config.nat, ..SourceConfig::default() },
            )
            .signalled_from(config.signaller),
            ingress: Ingress::new(config.format, now),
            next: None,
            earlier: ReceiverFigures::default(),
            ear: Ear::new(&config),
            outgoing: Outgoing::new(&config),
            last_packet: now,
            silence_told: false,
            locked: None,
            invalid: 0,
            ticked: None,
            rtcp: RtcpSession::new(config.ssrc, &config.cname, u64::from(config.ssrc), now),
            taps,
            rated: (now, [0; 3]),
            events: Events::new(),
            closed: false,
            config,
        }
    }

    /// Sends and receives over `link` instead of plainly.
    #[must_use]
    pub fn over(mut self, link: Link) -> Self {
        self.link = link;
        self
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

    /// Takes a datagram from the RTP socket or from a connection; what is protected is opened in place.
    pub fn handle_rtp(&mut self, now: MediaTime, from: impl Into<Remote>, datagram: &mut [u8]) {
        if self.closed {
            return;
        }
        let from = from.into();
        match self.link.handle(now, from, datagram) {
            Input::Rtp(packet) => self.take_rtp(now, from, packet),
            Input::Rtcp(reports) => self.take_rtcp(now, from.address(), reports),
            Input::Nothing => {}
        }
    }

    /// Whether it is worth looking for another datagram after one that came `age` ago. It is not where a packet comes a tick:
    /// one that came less than a packet's time ago is the newest, unless packets come in bursts, and then the rest can wait
    /// for the next tick as long as what is to be played is here.
    #[must_use]
    pub fn wants_more(&self, age: Span) -> bool {
        let packet = self.ingress.receiver.packet_span();
        packet < FRAME || age >= packet || !self.ingress.receiver.is_ready()
    }

    /// Takes a datagram from the RTCP socket. Reports of strangers are ignored.
    pub fn handle_rtcp(&mut self, now: MediaTime, from: SocketAddr, datagram: &mut [u8]) {
        if self.closed {
            return;
        }
        if let Input::Rtcp(reports) = self.link.handle(now, from, datagram) {
            self.take_rtcp(now, from, reports);
        }
    }

    /// Whether the far side has shown by a signed check that it is at `remote`.
    #[must_use]
    pub fn knows(&self, remote: Remote) -> bool {
        self.link.knows(remote)
    }

    /// Takes note that a connection has ended.
    pub fn gone(&mut self, now: MediaTime, remote: Remote) {
        self.link.gone(remote, now);
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
            LegCommand::Link { link, rtcp_mux } => {
                self.config.rtcp_mux = rtcp_mux;
                if let Err(error) = self.link.change(*link, now) {
                    self.events.tell(LegEvent::LinkRefused { why: error.to_string() });
                }
            }
            LegCommand::Candidates(candidates) => self.link.candidates(&candidates, now),
            LegCommand::InbandKeys(on) => self.ear.listen_for_keys(on, self.ingress.rate()),
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
        self.serve_link(now);
        self.listen(|ingress, emit| ingress.play(now, emit), now);
        if let Some(event) = self.ingress.keys.poll(now) {
            self.press(now, Way::Event, event.key, event.at, event.duration);
        }
        // Before the frame, so that the report's timestamp is the one that belongs to `now`.
        self.report(now, transmit);
        let to = self.target().filter(|_| self.config.send);
        let mut wire = Wire::new(&mut self.link, transmit, self.config.rtcp_mux);
        wire.flush();
        self.outgoing.frame(now, to, &mut wire, &mut self.events, &mut self.taps.sent);
        self.watch_silence(now);
        self.rate_quality(now);
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
            Wire::new(&mut self.link, transmit, self.config.rtcp_mux).rtcp(to, goodbye);
        }
        self.taps = Taps::default();
        self.events.tell(LegEvent::Closed { at: now, figures });
    }

    /// What it came to so far.
    #[must_use]
    pub fn figures(&self) -> LegFigures {
        let (before, now) = (self.earlier, self.ingress.figures());
        let sent = self.outgoing.sender.figures();
        let link = self.link.figures();
        LegFigures {
            received: before.received + now.received,
            lost: before.lost + now.lost,
            late: before.late + now.late,
            duplicate: before.duplicate + now.duplicate,
            drained: before.dropped + now.dropped,
            jitter: Span::from_nanos((now.jitter_ms * 1e6) as u64),
            concealed: Span::from_nanos(before.concealed_ticks) + self.ingress.concealed(),
            strangers: self.source.refused(),
            invalid: self.invalid + before.stray + now.stray + link.dropped,
            forged: link.bad_tags + link.replays,
            delay: now.delay,
            drift_ppm: now.drift_ppm as f32,
            mos: self.mos(
                share(before.lost + now.lost + before.late + now.late, before.received + now.received),
                now.delay,
            ),
            remote_mos: self.rtcp.remote().map(|remote| self.mos(remote.loss, now.delay)),
            sent: sent.packets,
            sent_octets: sent.octets,
            round_trip: self.rtcp.round_trip(),
            remote_loss: self.rtcp.remote().map(|remote| remote.loss as f32),
            remote_jitter: self.rtcp.remote().map(|remote| {
                let clock = u64::from(self.config.format.codec.rtp_clock_hz());
                Span::from_nanos(u64::from(remote.jitter) * 1_000_000_000 / clock)
            }),
            tap_refused: self.taps.refused(),
        }
    }

    fn take_rtp(&mut self, now: MediaTime, from: Remote, datagram: &[u8]) {
        let Ok(packet) = packet::parse(datagram) else {
            self.invalid += 1;
            return;
        };
        let kind = self.kind(packet.payload_type);
        if kind == Kind::Other {
            self.handle_other(now, from, packet);
            return;
        }
        if !self.believes(now, from, &packet) {
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

    fn take_rtcp(&mut self, now: MediaTime, from: SocketAddr, datagram: &[u8]) {
        let known =
            self.link.authenticates() || self.source.remote().is_some_and(|remote| remote.ip() == from.ip());
        if known && self.source.is_locked() {
            // What is malformed in a report says nothing about the media.
            let heard = self.rtcp.handle(datagram, self.source.ssrc(), now, self.wall(now));
            if heard.is_ok() && !self.config.receive {
                // On hold reports are the only sign of life.
                self.last_packet = now;
            }
            if let Some(remote) = self.rtcp.remote() {
                self.outgoing.adapt(remote.loss);
            }
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
    fn handle_other(&mut self, now: MediaTime, from: Remote, packet: RtpPacket<'_>) {
        // It may keep a lock, but not win one.
        let locked = self.source.heard() == Some(from.address()) && self.source.ssrc() == Some(packet.ssrc);
        let comfort = self.ingress.format.is_comfort_noise(packet.payload_type);
        if !locked || !comfort {
            self.invalid += 1;
        }
        if locked && self.believes(now, from, &packet) {
            if comfort {
                self.ingress.comfort(now, packet);
                self.last_packet = now;
                self.silence_told = false;
            } else {
                self.ingress.count(now, packet);
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
        self.ear.press(now, way, key, (at, duration), &mut self.outgoing.egress, &mut self.events);
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
    fn listen(&mut self, make: impl FnOnce(&mut Ingress, &mut Emit<'_>), now: MediaTime) {
        let Self { ingress, ear, outgoing, events, taps, config, .. } = self;
        make(ingress, &mut |frame, coded| {
            ear.hear((frame, coded), now, config, &mut outgoing.egress, events, &mut taps.received)
        });
    }

    fn tell_lock(&mut self) {
        let locked = self.source.heard();
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
            Wire::new(&mut self.link, transmit, self.config.rtcp_mux).rtcp(to, report);
        }
    }

    /// Where media goes: where it comes from, by what ICE found out or by what was heard.
    fn target(&self) -> Option<Remote> {
        let heard = || self.source.remote().map(Remote::Udp);
        let to = if self.link.ready() { self.link.remote().or_else(heard) } else { None };
        to.filter(|to| is_somewhere(to.address()))
    }

    /// Whether a packet belongs to the call.
    fn believes(&mut self, now: MediaTime, from: Remote, packet: &RtpPacket<'_>) -> bool {
        if self.link.authenticates() || self.link.remote() == Some(from) {
            self.source.trust(from.address(), packet, now);
            return true;
        }
        self.source.accept(from.address(), packet, now) == Verdict::Accepted
    }

    fn serve_link(&mut self, now: MediaTime) {
        if self.link.poll_timeout().is_some_and(|due| due <= now) {
            self.link.handle_timeout(now);
        }
        while let Some(event) = self.link.poll_event() {
            self.events.tell(LegEvent::Link(event));
        }
    }

    /// What a listener would say with this share of packets lost; the jitter buffer's delay, half the round trip and a
    /// packet make up the way from mouth to ear.
    fn mos(&self, loss: f64, delay: Span) -> f32 {
        if self.last_packet_came() {
            let trip = self.rtcp.round_trip().map_or(0, |trip| trip.nanos() / 2);
            mos(self.ingress.format.codec.name(), loss, delay + Span::from_nanos(trip) + FRAME) as f32
        } else {
            0.0
        }
    }

    fn last_packet_came(&self) -> bool {
        self.earlier.received + self.ingress.figures().received > 0
    }

    fn rate_quality(&mut self, now: MediaTime) {
        let (since, before) = self.rated;
        if self.config.quality == Span::ZERO || now.since(since) < self.config.quality {
            return;
        }
        let mut figures = Box::new(self.figures());
        let present = [figures.received, figures.lost, figures.late];
        self.rated = (now, present);
        let [received, lost, late] = [0, 1, 2].map(|n| present[n].saturating_sub(before[n]));
        figures.mos =
            if received + lost > 0 { self.mos(share(lost + late, received), figures.delay) } else { 0.0 };
        self.events.tell(LegEvent::Quality { at: now, figures });
    }

    /// Where the far side takes RTCP: the signalled port at the address its media really comes from.
    fn rtcp_target(&self) -> Option<Remote> {
        if self.config.rtcp_mux || self.link.remote().is_some() {
            return self.target();
        }
        if !self.link.ready() {
            return None;
        }
        let signalled = self.config.remote_rtcp?;
        let to = match self.source.remote() {
            Some(locked) if Some(locked) != self.config.remote => {
                SocketAddr::new(locked.ip(), locked.port().saturating_add(1))
            }
            _ => signalled,
        };
        is_somewhere(to).then_some(Remote::Udp(to))
    }

    fn wall(&self, now: MediaTime) -> NtpTime {
        NtpTime::from_unix(self.config.wallclock + Duration::from(now.since(MediaTime::ZERO)))
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

fn is_somewhere(address: SocketAddr) -> bool {
    !address.ip().is_unspecified() && address.port() != 0
}

/// The share of packets that are missing: `lost` of those and `received` together.
fn share(lost: u64, received: u64) -> f64 {
    if lost + received == 0 { 0.0 } else { lost as f64 / (lost + received) as f64 }
}
