//! The codec of a call changes under way: the clock, the recording and what is being said go on.

use std::net::SocketAddr;

use antiphon_media_codec::{CodecKind, Decoder, Encoder, mix::level_db, resample, tone::sine};
use antiphon_media_frame::{Doorbell, MediaTime, SampleRate, Span, TrackReader, track_ring};
use antiphon_media_plane::{
    Clip, ClipEnd, ClipId, Format, Leg, LegCommand, LegConfig, LegEvent, Sound, Tap, Taps, Transmit,
};
use antiphon_media_rtp::{Sender, parse};

const RATE: SampleRate = SampleRate::HZ_8000;

fn phone() -> SocketAddr {
    ([127, 0, 0, 1], 4_000).into()
}

/// What the far side is sent: its payload types, its SSRCs, and the sound at 8 kHz.
#[derive(Default)]
struct Ear {
    decoder: Option<Decoder>,
    types: Vec<u8>,
    ssrcs: Vec<u32>,
    heard: Vec<i16>,
}

impl Transmit for Ear {
    fn rtp(&mut self, _: SocketAddr, datagram: &[u8]) {
        let packet = parse(datagram).expect("the leg sends RTP");
        self.types.push(packet.payload_type);
        self.ssrcs.push(packet.ssrc);
        let Some(codec) = codec_of(packet.payload_type) else { return };
        let decoder = self.decoder.take().filter(|decoder| decoder.kind() == codec);
        let mut decoder = decoder.unwrap_or_else(|| Decoder::new(codec));
        let mut pcm = [0; 960];
        let count = decoder.decode(packet.payload, &mut pcm).expect("room");
        self.decoder = Some(decoder);
        self.heard.extend(resample(&pcm[..count], codec.sample_rate(), RATE));
    }

    fn rtcp(&mut self, _: SocketAddr, _: &[u8]) {}
}

fn codec_of(payload_type: u8) -> Option<CodecKind> {
    CodecKind::ALL.into_iter().find(|codec| codec.payload_type() == payload_type)
}

struct Call {
    leg: Leg,
    ear: Ear,
    ticks: i64,
    events: Vec<LegEvent>,
    /// Received, then sent.
    tracks: [TrackReader; 2],
    /// The same on the clock, at 8 kHz; `None` where nothing was written.
    heard: [Vec<Option<i16>>; 2],
    encoder: Encoder,
    sender: Sender,
    said: usize,
    tone: Vec<i16>,
}

impl Call {
    fn new(codec: CodecKind) -> Self {
        let config = LegConfig {
            format: Format { telephone_event: Some(101), ..Format::new(codec) },
            remote: Some(phone()),
            silence: Span::from_secs(1_000),
            ssrc: 7,
            ..LegConfig::new(codec)
        };
        let native = codec.sample_rate();
        let ring = || track_ring(RATE, 64, Span::from_millis(25), Doorbell::new());
        let ((received, a), (sent, b)) = (ring(), ring());
        let taps = Taps { received: vec![Tap::new(native, received)], sent: vec![Tap::new(native, sent)] };
        Self {
            leg: Leg::new(config, taps, MediaTime::ZERO),
            ear: Ear::default(),
            ticks: 0,
            events: Vec::new(),
            tracks: [a, b],
            heard: [Vec::new(), Vec::new()],
            encoder: Encoder::new(codec),
            sender: Sender::new(9, 65_500, 1, codec.rtp_clock_hz()),
            said: 0,
            tone: sine(500.0, -12.0, SampleRate::HZ_16000, Span::from_secs(60)),
        }
    }

    fn now(&self) -> MediaTime {
        MediaTime::from_millis(self.ticks * 20)
    }

    fn play(&mut self) {
        let sound = Sound::Whole(sine(500.0, -12.0, RATE, Span::from_secs(8)).into(), RATE);
        let clip = Clip { id: ClipId(1), sound, interruptible: false, repeat: false };
        self.leg.command(self.now(), LegCommand::Play(clip));
    }

    fn agree(&mut self, codec: CodecKind) {
        let format = Format { telephone_event: Some(101), ..Format::new(codec) };
        self.leg.command(self.now(), LegCommand::Codec(format));
    }

    /// The far side encodes with another codec from here on.
    fn recode(&mut self, codec: CodecKind) {
        self.encoder = Encoder::new(codec);
        if self.sender.clock_hz() != codec.rtp_clock_hz() {
            self.sender.restart(codec.rtp_clock_hz());
        }
    }

    /// The far side goes on with its tone while the leg ticks.
    fn run(&mut self, frames: usize) {
        for _ in 0..frames {
            let codec = self.encoder.kind();
            let wide = &self.tone[self.said..self.said + 320];
            self.said += 320;
            let pcm = resample_frame(wide, codec.sample_rate());
            let (mut payload, mut wire) = ([0; 400], [0; 500]);
            let length = self.encoder.encode(&pcm, &mut payload).expect("room");
            let ticks = codec.ticks_of(pcm.len());
            let packet = self.sender.packet(codec.payload_type(), ticks, &payload[..length]);
            let length = packet.write(&mut wire).expect("room");
            self.leg.handle_rtp(self.now(), phone(), &mut wire[..length]);
            self.leg.tick(self.now(), &mut self.ear);
            self.ticks += 1;
            while let Some(event) = self.leg.poll_event() {
                self.events.push(event);
            }
            for (reader, heard) in self.tracks.iter_mut().zip(&mut self.heard) {
                while reader
                    .pop(|frame| {
                        assert_eq!(frame.rate, RATE);
                        let at = (frame.at.nanos().max(0) as usize + 62_500) / 125_000;
                        heard.resize(heard.len().max(at + frame.pcm.len()), None);
                        for (place, sample) in heard[at..].iter_mut().zip(frame.pcm) {
                            *place = Some(*sample);
                        }
                    })
                    .is_some()
                {}
            }
        }
    }
}

/// Every second sample for 8 kHz: a tone of 500 Hz needs no filter.
fn resample_frame(wide: &[i16], rate: SampleRate) -> Vec<i16> {
    wide.iter().step_by(16_000 / rate.hz() as usize).copied().collect()
}

/// Asserts that a track is whole between two times: written everywhere, and a tone in every 10 ms.
fn assert_whole(track: &[Option<i16>], from_ms: usize, to_ms: usize, what: &str) {
    for (n, part) in track[from_ms * 8..to_ms * 8].chunks(80).enumerate() {
        let at = from_ms + n * 10;
        let holes = part.iter().filter(|sample| sample.is_none()).count();
        // Two samples for the rounding of times.
        assert!(holes <= 2, "{what}: {holes} samples are missing at {at} ms");
        let pcm: Vec<i16> = part.iter().map(|sample| sample.unwrap_or(0)).collect();
        let level = level_db(&pcm);
        assert!((-22.0..-8.0).contains(&level), "{what}: {level} dB at {at} ms");
    }
}

#[test]
fn both_tracks_go_on_through_every_change_of_codec() {
    let mut all = Vec::new();
    for from in [CodecKind::Pcmu, CodecKind::G722, CodecKind::Opus] {
        for to in [CodecKind::Pcma, CodecKind::G722, CodecKind::Opus, CodecKind::Pcmu] {
            if from != to {
                all.push((from, to));
            }
        }
    }
    for (from, to) in all {
        let what = format!("{from} to {to}");
        let mut call = Call::new(from);
        call.play();
        call.run(100);
        call.agree(to);
        // What was under way in the old codec is still heard.
        call.run(5);
        call.recode(to);
        call.run(95);
        let sent_types = call.ear.types.clone();
        assert_eq!(sent_types[..100], [from.payload_type(); 100], "{what}");
        assert_eq!(sent_types[100..], [to.payload_type(); 100], "{what}");
        // Opus needs a moment to start, at the far end as here.
        let joint = if to == CodecKind::Opus { Some(2_100..2_200) } else { None };
        match joint {
            Some(joint) => {
                assert_whole(&call.heard[0], 200, joint.start, &what);
                assert_whole(&call.heard[0], joint.end, 3_900, &what);
                let holes = call.heard[0][1_600..31_200].iter().filter(|sample| sample.is_none()).count();
                assert!(holes <= 4, "{what}: {holes} samples are missing");
            }
            None => assert_whole(&call.heard[0], 200, 3_900, &what),
        }
        assert_whole(&call.heard[1], 20, 3_900, &what);
        let another = from.rtp_clock_hz() != to.rtp_clock_hz();
        assert_eq!(call.ear.ssrcs[0] != call.ear.ssrcs[199], another, "{what}: one SSRC a clock");
        let figures = call.leg.figures();
        assert_eq!((figures.received, figures.lost, figures.invalid, figures.late), (200, 0, 0, 0), "{what}");
        assert_eq!(figures.tap_refused, 0);
    }
}

#[test]
fn a_prompt_is_played_to_its_end_and_its_length_is_told() {
    let mut call = Call::new(CodecKind::Pcma);
    call.play();
    call.run(100);
    call.agree(CodecKind::G722);
    call.recode(CodecKind::G722);
    call.run(100);
    call.agree(CodecKind::Pcmu);
    call.recode(CodecKind::Pcmu);
    call.run(250);
    let stopped = call.events.iter().find_map(|event| match event {
        LegEvent::PlayStopped { at, played, end, .. } => Some((*at, *played, *end)),
        _ => None,
    });
    let (at, played, end) = stopped.expect("it ended");
    assert_eq!(end, ClipEnd::Completed);
    // What a converter holds back is lost at each change, at most a frame.
    assert!((7_960..=8_000).contains(&played.millis()), "{played}");
    assert!((7_960..=8_020).contains(&at.millis()), "{at}");
}

#[test]
fn payload_types_change_under_way_without_a_loss() {
    let mut call = Call::new(CodecKind::Pcma);
    call.run(50);
    let format = Format { payload_type: 96, telephone_event: Some(97), ..Format::new(CodecKind::Pcma) };
    call.leg.command(call.now(), LegCommand::Codec(format));
    // Still under the old number.
    call.run(50);
    let now = call.now();
    for (n, end) in [(1u16, 0), (2, 0x80)] {
        let mut wire = [0; 100];
        let at = call.sender.timestamp();
        let [d0, d1] = (160 * n).to_be_bytes();
        let payload = [5, end, d0, d1];
        let length = call.sender.stamped(97, n == 1, at, &payload).write(&mut wire).expect("room");
        call.leg.handle_rtp(now, phone(), &mut wire[..length]);
    }
    call.run(5);
    assert!(
        call.events.iter().any(|event| matches!(event, LegEvent::Key { key: '5', .. })),
        "{:?}",
        call.events
    );
    let figures = call.leg.figures();
    assert_eq!((figures.lost, figures.invalid), (0, 0), "{figures:?}");
    assert_whole(&call.heard[0], 200, 1_900, "renumbered");
}

#[test]
fn keys_without_telephone_events_are_sent_as_tones() {
    let mut call = Call::new(CodecKind::Pcma);
    let mut format = Format::new(CodecKind::Pcma);
    call.leg.command(MediaTime::ZERO, LegCommand::Codec(format));
    call.leg.command(MediaTime::ZERO, LegCommand::Keys(vec!['5', '9']));
    call.run(25);
    assert!(call.events.contains(&LegEvent::KeysSent), "{:?}", call.events);
    let power = |from_ms: usize, hz: f64| {
        let pcm = &call.ear.heard[from_ms * 8..(from_ms + 60) * 8];
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in pcm.iter().enumerate() {
            let angle = std::f64::consts::TAU * hz * n as f64 / 8_000.0;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        (re * re + im * im).sqrt() / pcm.len() as f64
    };
    for (from_ms, present, absent) in [(20, [770.0, 1_336.0], 1_477.0), (220, [852.0, 1_477.0], 1_336.0)] {
        assert!(present.iter().all(|hz| power(from_ms, *hz) > 1_000.0), "{from_ms}");
        assert!(power(from_ms, absent) < 300.0, "{from_ms}");
    }
    // A-law has no zero.
    assert!(level_db(&call.ear.heard[130 * 8..190 * 8]) < -70.0, "a pause between them");
    // Asked for as tones they are tones although events were agreed on.
    format.telephone_event = Some(101);
    call.leg.command(call.now(), LegCommand::Codec(format));
    let before = call.ear.types.len();
    call.leg.command(call.now(), LegCommand::KeysInband(vec!['1']));
    call.run(10);
    assert!(call.ear.types[before..].iter().all(|payload_type| *payload_type == 8));
    call.leg.command(call.now(), LegCommand::Keys(vec!['1']));
    call.run(10);
    assert!(call.ear.types.contains(&101));
}

#[test]
fn a_key_that_comes_by_signalling_as_well_is_told_once() {
    let mut call = Call::new(CodecKind::Pcma);
    call.run(20);
    let at = call.sender.timestamp();
    for (n, end) in [(1u16, 0), (2, 0x80), (2, 0x80)] {
        let mut wire = [0; 100];
        let [d0, d1] = (160 * n).to_be_bytes();
        let payload = [7, end, d0, d1];
        let length = call.sender.stamped(101, n == 1, at, &payload).write(&mut wire).expect("room");
        call.leg.handle_rtp(call.now(), phone(), &mut wire[..length]);
    }
    call.run(10);
    let held = Span::from_millis(40);
    for key in ['7', '7', 'x', 'd'] {
        call.leg.command(call.now(), LegCommand::KeyFromSignalling { key, duration: held });
    }
    call.run(1);
    let told: Vec<_> = call
        .events
        .iter()
        .filter_map(|event| if let LegEvent::Key { key, .. } = event { Some(*key) } else { None })
        .collect();
    // The second 7 by signalling is a press of its own, the x is no key.
    assert_eq!(told, ['7', '7', 'D']);
}
