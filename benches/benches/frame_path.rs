//! What 20 ms of a call cost on the shard, without the system calls: a packet in, a frame out, all consumers fed.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_media_codec::{CodecKind, Encoder, GateConfig};
use antiphon_media_frame::{Doorbell, MediaTime, SampleRate, Span, TrackReader, track_ring};
use antiphon_media_plane::{Clip, ClipId, Format, Leg, LegCommand, LegConfig, Sound, Tap, Taps, Transmit};
use antiphon_media_rtp::Sender;
use antiphon_media_testkit::speech_like;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const FRAME: Span = Span::from_millis(20);

fn main() {
    divan::main();
}

struct Nowhere;

impl Transmit for Nowhere {
    fn rtp(&mut self, _: SocketAddr, datagram: &[u8]) {
        divan::black_box(datagram);
    }
    fn rtcp(&mut self, _: SocketAddr, _: &[u8]) {}
}

struct Call {
    leg: Leg,
    readers: Vec<TrackReader>,
    from: SocketAddr,
    sender: Sender,
    payloads: Vec<[u8; 160]>,
    now: MediaTime,
    n: usize,
    codec: CodecKind,
}

impl Call {
    fn new(codec: CodecKind, tapped: bool) -> Self {
        let rate = codec.sample_rate();
        let mut readers = Vec::new();
        let mut taps = Taps::default();
        if tapped {
            let mut tap = |to: SampleRate| {
                let (writer, reader) = track_ring(to, 16, Span::from_millis(25), Doorbell::new());
                readers.push(reader);
                Tap::new(rate, writer)
            };
            taps.received = vec![tap(rate), tap(SampleRate::HZ_16000)];
            taps.sent = vec![tap(rate)];
        }
        let from: SocketAddr = ([127, 0, 0, 1], 4_000).into();
        let config = LegConfig {
            format: Format { telephone_event: Some(101), ..Format::new(codec) },
            remote: Some(from),
            remote_rtcp: None,
            send: true,
            receive: true,
            gate: GateConfig::default(),
            barge_in: Span::from_millis(200),
            silence: Span::from_secs(10),
            ssrc: 1,
            first_sequence: 1,
            first_timestamp: 1,
            cname: "bench".into(),
            wallclock: Duration::ZERO,
            quality: Span::ZERO,
            ..LegConfig::new(codec)
        };
        let mut encoder = Encoder::new(codec);
        let payloads = speech_like(1, rate, Span::from_secs(20))
            .chunks_exact(rate.samples(FRAME))
            .map(|pcm| {
                let mut payload = [0; 160];
                encoder.encode(pcm, &mut payload).expect("it fits");
                payload
            })
            .collect();
        let sender = Sender::new(9, 65_000, 5, codec.rtp_clock_hz());
        let leg = Leg::new(config, taps, MediaTime::ZERO);
        let mut call = Self { leg, readers, from, sender, payloads, now: MediaTime::ZERO, n: 0, codec };
        let prompt = speech_like(2, rate, Span::from_secs(600)).into();
        let clip =
            Clip { id: ClipId(1), sound: Sound::Whole(prompt, rate), interruptible: false, repeat: false };
        call.leg.command(MediaTime::ZERO, LegCommand::Play(clip));
        (0..100).for_each(|_| call.step());
        call
    }

    fn step(&mut self) {
        self.now += FRAME;
        self.n = (self.n + 1) % self.payloads.len();
        let mut wire = [0; 256];
        let packet = self.sender.packet(self.codec.payload_type(), 160, &self.payloads[self.n]);
        let length = packet.write(&mut wire).expect("it fits");
        self.leg.handle_rtp(self.now, self.from, &mut wire[..length]);
        self.leg.tick(self.now, &mut Nowhere);
        while self.leg.poll_event().is_some() {}
        for reader in &mut self.readers {
            while reader.pop(|frame| divan::black_box(frame.pcm[0])).is_some() {}
        }
    }
}

/// Both ways, activity gate, two record rings and a recogniser at 16 kHz.
#[divan::bench(args = CodecKind::SAMPLE_BASED)]
fn frame_with_recorder_and_recogniser(bencher: Bencher<'_, '_>, codec: CodecKind) {
    let mut call = Call::new(codec, true);
    bencher.bench_local(|| call.step());
}

/// Both ways and the gate, nobody listening.
#[divan::bench(args = CodecKind::SAMPLE_BASED)]
fn frame_alone(bencher: Bencher<'_, '_>, codec: CodecKind) {
    let mut call = Call::new(codec, false);
    bencher.bench_local(|| call.step());
}
