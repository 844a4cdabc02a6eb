//! A leg that receives, plays, records and feeds a recogniser takes no memory once it runs.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_media_codec::{CodecKind, Encoder, GateConfig};
use antiphon_media_frame::{Doorbell, MediaTime, SampleRate, Span, TrackReader, track_ring};
use antiphon_media_plane::{Clip, ClipId, Format, Leg, LegCommand, LegConfig, Sound, Tap, Taps, Transmit};
use antiphon_media_rtp::Sender;
use antiphon_media_testkit::{CountingAllocator, speech_like};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const KEYS: u8 = 101;

struct Sink(u64);

impl Transmit for Sink {
    fn rtp(&mut self, _: SocketAddr, _: &[u8]) {
        self.0 += 1;
    }
    fn rtcp(&mut self, _: SocketAddr, _: &[u8]) {}
}

struct Call {
    leg: Leg,
    /// Recorder's two and the recogniser's.
    readers: [TrackReader; 3],
    from: SocketAddr,
    sender: Sender,
    payloads: Vec<Vec<u8>>,
    sink: Sink,
    codec: CodecKind,
    frames: u64,
}

impl Call {
    fn new(codec: CodecKind) -> Self {
        let rate = codec.sample_rate();
        let from: SocketAddr = ([127, 0, 0, 1], 4_000).into();
        let ring = |rate| track_ring(rate, 16, Span::from_millis(25), Doorbell::new());
        let ((received, a), (sent, b), (heard, c)) = (ring(rate), ring(rate), ring(SampleRate::HZ_16000));
        let taps = Taps {
            received: vec![Tap::new(rate, received), Tap::new(rate, heard)],
            sent: vec![Tap::new(rate, sent)],
        };
        let config = LegConfig {
            format: Format { telephone_event: Some(KEYS), ..Format::new(codec) },
            remote: Some(from),
            // Reports allocate, once in five seconds; they are not part of the steady state.
            remote_rtcp: None,
            send: true,
            receive: true,
            gate: GateConfig::default(),
            barge_in: Span::from_millis(200),
            silence: Span::from_secs(10),
            ssrc: 1,
            first_sequence: 1,
            first_timestamp: 1,
            cname: "test".into(),
            wallclock: Duration::ZERO,
            quality: Span::ZERO,
            ..LegConfig::new(codec)
        };
        let mut encoder = Encoder::new(codec);
        let payloads = speech_like(1, rate, Span::from_secs(20))
            .chunks_exact(rate.samples(Span::from_millis(20)))
            .map(|pcm| {
                let mut payload = vec![0; 160];
                encoder.encode(pcm, &mut payload).expect("it fits");
                payload
            })
            .collect();
        let leg = Leg::new(config, taps, MediaTime::ZERO);
        Self {
            leg,
            readers: [a, b, c],
            from,
            sender: Sender::new(9, 65_000, 5, 8_000),
            payloads,
            sink: Sink(0),
            codec,
            frames: 0,
        }
    }

    /// One tick; one packet in fifty is lost, one in two hundred is a key's.
    fn step(&mut self, n: usize) {
        let now = MediaTime::from_millis(n as i64 * 20);
        let mut wire = [0; 512];
        let length = if n % 200 == 150 {
            self.sender.skip(160);
            let at = self.sender.timestamp();
            self.sender.stamped(KEYS, true, at, &[5, 0x8a, 3, 32]).write(&mut wire)
        } else {
            self.sender
                .packet(self.codec.payload_type(), 160, &self.payloads[n % self.payloads.len()])
                .write(&mut wire)
        };
        let length = length.expect("it fits");
        if n % 50 != 49 {
            self.leg.handle_rtp(now, self.from, &mut wire[..length]);
        }
        self.leg.tick(now, &mut self.sink);
        while self.leg.poll_event().is_some() {}
        for reader in &mut self.readers {
            while reader.pop(|_| ()).is_some() {
                self.frames += 1;
            }
        }
    }
}

#[test]
fn receiving_playing_and_tapping_allocate_nothing() {
    for codec in CodecKind::SAMPLE_BASED {
        let mut call = Call::new(codec);
        let pcm: std::sync::Arc<[i16]> = speech_like(2, codec.sample_rate(), Span::from_secs(30)).into();
        let clip = Clip {
            id: ClipId(1),
            sound: Sound::Whole(pcm, codec.sample_rate()),
            interruptible: false,
            repeat: false,
        };
        call.leg.command(MediaTime::ZERO, LegCommand::Play(clip));
        (0..200).for_each(|n| call.step(n));
        let before = call.frames;
        let ((), allocations) = CountingAllocator::count(|| (200..2_200).for_each(|n| call.step(n)));
        assert!(call.frames - before > 5_800, "{} frames", call.frames - before);
        assert!(call.sink.0 > 2_100);
        let figures = call.leg.figures();
        assert!(figures.received > 2_000 && figures.concealed.millis() > 300, "{figures:?}");
        assert_eq!(allocations, 0, "{codec}");
    }
}
