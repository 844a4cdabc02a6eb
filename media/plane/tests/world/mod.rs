//! Two legs, two clocks and a network between them, on virtual time. Both record.
#![allow(dead_code, reason = "each test uses its part")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use antiphon_media_codec::{CodecKind, GateConfig};
use antiphon_media_frame::{Doorbell, MediaTime, Span, TrackReader, track_ring};
use antiphon_media_plane::{
    Clip, ClipId, Format, Leg, LegCommand, LegConfig, LegEvent, LegFigures, Sound, Tap, Taps, Transmit,
};
use antiphon_media_record::{Channel, Pcm, RecordingSummary, StereoRecording, read_all};
use antiphon_media_rtp::{RtpPacket, is_rtcp, parse};
use antiphon_media_testkit::{Impairment, Network, SkewedClock};

pub(crate) const KEYS: u8 = 101;
const TICK: Span = Span::from_millis(20);

/// Sends packets of another length than the leg makes.
struct Repacket {
    millis: u64,
    base: Option<(MediaTime, u32)>,
    bytes: Vec<u8>,
    packets: u64,
}

impl Repacket {
    /// How long a packet waits for its last frame beyond 20 ms.
    fn latency(&self) -> Span {
        Span::from_millis(self.millis.saturating_sub(20).div_ceil(20) * 20)
    }

    /// `now` is the sender's own time.
    fn send(&mut self, now: MediaTime, datagram: &[u8], clock: SkewedClock, network: &mut Network) {
        let packet = parse(datagram).expect("the leg sends RTP");
        let (base, timestamp) = *self.base.get_or_insert((now, packet.timestamp));
        self.bytes.extend_from_slice(packet.payload);
        let length = self.millis as usize * 8;
        while self.bytes.len() >= length {
            let ideal = base + Span::from_millis(self.packets * self.millis) + self.latency();
            let mut wire = [0; 1_500];
            let one = RtpPacket {
                sequence: self.packets as u16,
                timestamp: timestamp.wrapping_add((self.packets as usize * length) as u32),
                payload: &self.bytes[..length],
                ..packet
            };
            let written = one.write(&mut wire).expect("it fits");
            network.send(clock.truth(ideal.max(now)), &wire[..written]);
            self.bytes.drain(..length);
            self.packets += 1;
        }
    }
}

/// The way out of one leg.
struct Wire {
    network: Network,
    repacket: Option<Repacket>,
    clock: SkewedClock,
    now: MediaTime,
    reports: u32,
}

impl Transmit for Wire {
    fn rtp(&mut self, _: SocketAddr, datagram: &[u8]) {
        match &mut self.repacket {
            Some(repacket) => {
                repacket.send(self.clock.shows(self.now), datagram, self.clock, &mut self.network);
            }
            None => self.network.send(self.now, datagram),
        }
    }

    fn rtcp(&mut self, _: SocketAddr, datagram: &[u8]) {
        assert!(is_rtcp(datagram));
        self.reports += 1;
        self.network.send(self.now, datagram);
    }
}

/// One end.
pub(crate) struct Side {
    pub(crate) leg: Leg,
    pub(crate) clock: SkewedClock,
    /// What the leg told, and when by its own clock.
    pub(crate) events: Vec<(MediaTime, LegEvent)>,
    address: SocketAddr,
    ticks: i64,
    wire: Wire,
    tracks: [(Channel, TrackReader); 2],
    recording: StereoRecording,
    path: PathBuf,
    /// Times of the received frames, for the order they came in.
    pub(crate) received: Vec<(MediaTime, usize)>,
    _folder: tempfile::TempDir,
}

/// How one end is made.
#[derive(Clone, Copy)]
pub(crate) struct Make {
    pub(crate) codec: CodecKind,
    pub(crate) ppm: f64,
    pub(crate) impairment: Impairment,
    /// Milliseconds a packet; 0 as the leg makes them.
    pub(crate) packet: u64,
    pub(crate) seed: u64,
    pub(crate) barge_in: Span,
}

impl Default for Make {
    fn default() -> Self {
        Self {
            codec: CodecKind::Pcmu,
            ppm: 0.0,
            impairment: Impairment { delay: Span::from_millis(30), ..Impairment::default() },
            packet: 0,
            seed: 1,
            barge_in: Span::from_millis(200),
        }
    }
}

pub(crate) fn config(codec: CodecKind, remote: SocketAddr, seed: u64, barge_in: Span) -> LegConfig {
    LegConfig {
        format: Format { telephone_event: Some(KEYS), ..Format::new(codec) },
        remote: Some(remote),
        remote_rtcp: Some(SocketAddr::new(remote.ip(), remote.port() + 1)),
        send: true,
        receive: true,
        gate: GateConfig::default(),
        barge_in,
        silence: Span::from_secs(10),
        ssrc: seed as u32,
        first_sequence: 65_500,
        first_timestamp: 0xffff_f000,
        cname: "test".into(),
        wallclock: Duration::from_secs(1_700_000_000),
        ..LegConfig::new(codec)
    }
}

impl Side {
    fn new(make: Make, address: SocketAddr, remote: SocketAddr) -> Self {
        let rate = make.codec.sample_rate();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("call.wav");
        let ring = || track_ring(rate, 64, Span::from_millis(20), Doorbell::new());
        let ((received, caller), (sent, machine)) = (ring(), ring());
        let taps = Taps { received: vec![Tap::new(rate, received)], sent: vec![Tap::new(rate, sent)] };
        let repacket = (make.packet > 0).then(|| Repacket {
            millis: make.packet,
            base: None,
            bytes: Vec::new(),
            packets: 0,
        });
        Self {
            leg: Leg::new(config(make.codec, remote, make.seed, make.barge_in), taps, MediaTime::ZERO),
            clock: SkewedClock { ppm: make.ppm },
            events: Vec::new(),
            address,
            ticks: 0,
            wire: Wire {
                network: Network::new(make.seed, make.impairment),
                repacket,
                clock: SkewedClock { ppm: make.ppm },
                now: MediaTime::ZERO,
                reports: 0,
            },
            tracks: [(Channel::Caller, caller), (Channel::Machine, machine)],
            recording: StereoRecording::create(&path, rate).expect("created"),
            path,
            received: Vec::new(),
            _folder: folder,
        }
    }

    /// When the next tick is, on the true clock.
    fn due(&self) -> MediaTime {
        self.clock.truth(MediaTime::from_millis(self.ticks * 20))
    }

    pub(crate) fn local(&self) -> MediaTime {
        MediaTime::from_millis(self.ticks * 20)
    }

    pub(crate) fn play(&mut self, id: u32, pcm: &[i16], interruptible: bool) {
        let sound = Sound::Whole(pcm.into(), self.leg.rate());
        let clip = Clip { id: ClipId(id), sound, interruptible, repeat: false };
        self.leg.command(self.local(), LegCommand::Play(clip));
    }

    fn tick(&mut self) {
        let now = self.local();
        self.wire.now = self.due();
        self.ticks += 1;
        self.leg.tick(now, &mut self.wire);
        self.take(now);
    }

    fn take(&mut self, now: MediaTime) {
        while let Some(event) = self.leg.poll_event() {
            self.events.push((now, event));
        }
        for (channel, reader) in &mut self.tracks {
            while let Some(written) = reader.pop(|frame| {
                if *channel == Channel::Caller {
                    self.received.push((frame.at, frame.pcm.len()));
                }
                self.recording.write(*channel, frame)
            }) {
                written.expect("recorded");
            }
        }
        self.recording.advance(now).expect("recorded");
    }

    pub(crate) fn started(&self, id: u32) -> Option<MediaTime> {
        self.events.iter().find_map(|(_, event)| match event {
            LegEvent::PlayStarted { id: ClipId(found), at } if *found == id => Some(*at),
            _ => None,
        })
    }

    /// Leaves ticks out, as a stalled shard does.
    pub(crate) fn stall(&mut self, span: Span) {
        self.ticks += (span.nanos() / TICK.nanos()) as i64;
    }

    pub(crate) fn reports(&self) -> u32 {
        self.wire.reports
    }

    /// Closes the leg and reads the recording: caller, then machine.
    pub(crate) fn finish(mut self) -> Finished {
        let now = self.local();
        self.wire.now = self.due();
        self.leg.close(now, &mut self.wire);
        self.take(now);
        assert!(
            self.tracks.iter().all(|(_, reader)| reader.finished()),
            "a closed leg lets go of its tracks"
        );
        let summary = self.recording.finish(now).expect("finished");
        let pcm = read_all(&self.path).expect("readable");
        Finished { summary, pcm, events: self.events, received: self.received }
    }
}

pub(crate) struct Finished {
    pub(crate) summary: RecordingSummary,
    pub(crate) pcm: Pcm,
    pub(crate) events: Vec<(MediaTime, LegEvent)>,
    pub(crate) received: Vec<(MediaTime, usize)>,
}

impl Finished {
    pub(crate) fn figures(&self) -> LegFigures {
        match self.events.last() {
            Some((_, LegEvent::Closed { figures, .. })) => **figures,
            other => panic!("the last event is {other:?}"),
        }
    }
}

pub(crate) struct World {
    pub(crate) sides: [Side; 2],
    pub(crate) now: MediaTime,
}

impl World {
    /// Each side's network is the one it sends into.
    pub(crate) fn new(makes: [Make; 2]) -> Self {
        let addresses = [([127, 0, 0, 1], 4_000).into(), ([127, 0, 0, 1], 5_000).into()];
        let side = |n: usize| {
            let make = Make { seed: makes[n].seed * 2 + n as u64 + 1, ..makes[n] };
            Side::new(make, addresses[n], addresses[1 - n])
        };
        Self { sides: [side(0), side(1)], now: MediaTime::ZERO }
    }

    /// Runs until `end` on the true clock; `each` sees the world after every tick.
    pub(crate) fn run_until(&mut self, end: MediaTime, mut each: impl FnMut(&mut Self)) {
        loop {
            let due = self.sides[0].due().min(self.sides[1].due());
            if due > end {
                return;
            }
            for to in 0..2 {
                while let Some((at, mut bytes)) = self.sides[1 - to].wire.network.recv_timed(due) {
                    let from = self.sides[1 - to].address;
                    let now = self.sides[to].clock.shows(at);
                    self.sides[to].leg.handle_rtp(now, from, &mut bytes);
                }
            }
            self.now = due;
            for side in &mut self.sides {
                if side.due() == due {
                    side.tick();
                }
            }
            each(self);
        }
    }

    pub(crate) fn run(&mut self, millis: i64) {
        self.run_until(self.now + Span::from_millis(millis as u64), |_| ());
    }

    /// What a packet needs at least from `from` to the other side.
    pub(crate) fn latency(from: &Make) -> Span {
        let wait = Span::from_millis(from.packet.saturating_sub(20).div_ceil(20) * 20);
        from.impairment.delay + if from.packet == 0 { Span::ZERO } else { wait }
    }
}
