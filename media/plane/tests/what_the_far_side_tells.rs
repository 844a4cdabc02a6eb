//! Keys in the sound, comfort noise, reports: what comes besides speech.

use std::net::SocketAddr;

use antiphon_media_codec::{CodecKind, ComfortNoise, Encoder, NoiseEncoder, mix::level_db, tone};
use antiphon_media_frame::{Doorbell, FrameKind, MediaTime, SampleRate, Span, TrackReader, track_ring};
use antiphon_media_plane::{
    ClipEnd, Format, Leg, LegCommand, LegConfig, LegEvent, LegFigures, Tap, Taps, Transmit,
};
use antiphon_media_rtp::{NtpTime, Receiver, ReceiverConfig, RtcpSession, Sender, is_rtcp, parse};
use antiphon_media_testkit::speech_like;

const RATE: SampleRate = SampleRate::HZ_8000;
const FRAME: Span = Span::from_millis(20);

fn phone() -> SocketAddr {
    ([127, 0, 0, 1], 4_000).into()
}

/// What is sent on each socket.
#[derive(Default)]
struct Sent {
    rtp: Vec<Vec<u8>>,
    rtcp: Vec<Vec<u8>>,
}

impl Transmit for Sent {
    fn rtp(&mut self, _: SocketAddr, datagram: &[u8]) {
        self.rtp.push(datagram.to_vec());
    }

    fn rtcp(&mut self, _: SocketAddr, datagram: &[u8]) {
        self.rtcp.push(datagram.to_vec());
    }
}

struct Call {
    leg: Leg,
    sent: Sent,
    ticks: i64,
    track: TrackReader,
    events: Vec<LegEvent>,
    encoder: Encoder,
    sender: Sender,
}

impl Call {
    fn new(config: LegConfig) -> Self {
        let (writer, track) = track_ring(RATE, 2_000, FRAME, Doorbell::new());
        let taps = Taps { received: vec![Tap::new(RATE, writer)], sent: Vec::new() };
        Self {
            leg: Leg::new(config, taps, MediaTime::ZERO),
            sent: Sent::default(),
            ticks: 0,
            track,
            events: Vec::new(),
            encoder: Encoder::new(CodecKind::Pcma),
            sender: Sender::new(9, 1, 1, 8_000),
        }
    }

    fn now(&self) -> MediaTime {
        MediaTime::from_millis(self.ticks * 20)
    }

    fn tick(&mut self) {
        self.leg.tick(self.now(), &mut self.sent);
        self.ticks += 1;
        while let Some(event) = self.leg.poll_event() {
            self.events.push(event);
        }
    }

    /// The far side says this, a frame a tick.
    fn say(&mut self, pcm: &[i16]) {
        for frame in pcm.chunks_exact(160) {
            self.send(frame);
            self.tick();
        }
    }

    fn send(&mut self, frame: &[i16]) {
        let (mut payload, mut wire) = ([0; 160], [0; 200]);
        self.encoder.encode(frame, &mut payload).expect("room");
        let length = self.sender.packet(8, 160, &payload).write(&mut wire).expect("room");
        self.leg.handle_rtp(self.now(), phone(), &mut wire[..length]);
    }

    fn keys(&self) -> Vec<(char, MediaTime, Span)> {
        let key = |event: &LegEvent| match event {
            LegEvent::Key { key, at, duration } => Some((*key, *at, *duration)),
            _ => None,
        };
        self.events.iter().filter_map(key).collect()
    }

    fn qualities(&self) -> Vec<(MediaTime, LegFigures)> {
        let quality = |event: &LegEvent| match event {
            LegEvent::Quality { at, figures } => Some((*at, **figures)),
            _ => None,
        };
        self.events.iter().filter_map(quality).collect()
    }
}

fn config() -> LegConfig {
    LegConfig {
        format: Format { telephone_event: Some(101), ..Format::new(CodecKind::Pcma) },
        remote: Some(phone()),
        silence: Span::from_secs(1_000),
        ssrc: 77,
        cname: "test".into(),
        ..LegConfig::new(CodecKind::Pcma)
    }
}

#[test]
fn keys_in_the_sound_are_told_where_that_is_wanted_and_cut_a_prompt() {
    let mut call = Call::new(config());
    let mut sound = vec![0; 8_000];
    for key in "15*1".chars() {
        sound.extend(tone::dtmf(key, RATE, Span::from_millis(80)).expect("a key"));
        sound.extend([0; 640]);
    }
    sound.extend([0; 4_000]);
    call.say(&sound);
    assert_eq!(call.keys(), [], "nobody asked");
    call.leg.command(call.now(), LegCommand::InbandKeys(true));
    let prompt = antiphon_media_plane::Sound::Whole(vec![500; 800_000].into(), RATE);
    let clip = antiphon_media_plane::Clip {
        id: antiphon_media_plane::ClipId(1),
        sound: prompt,
        interruptible: true,
        repeat: false,
    };
    call.leg.command(call.now(), LegCommand::Play(clip));
    let before = call.now();
    call.say(&sound);
    let keys = call.keys();
    assert_eq!(keys.iter().map(|key| key.0).collect::<String>(), "15*1");
    for (n, (_, at, duration)) in keys.iter().enumerate() {
        let pressed = before + Span::from_millis(1_000 + 160 * n as u64);
        assert!(at.offset_from(pressed).abs() < 25_000_000, "key {n} at {at}, pressed at {pressed}");
        assert!((60..=100).contains(&duration.millis()), "{duration}");
    }
    let cut = call.events.iter().find_map(|event| match event {
        LegEvent::PlayStopped { at, end, .. } => Some((*at, *end)),
        _ => None,
    });
    let (at, end) = cut.expect("cut");
    assert_eq!(end, ClipEnd::Key);
    // Within the key, not behind it: 45 ms of it and the jitter buffer.
    assert!(at.since(before).millis() < 1_130, "{}", at.since(before));
}

#[test]
fn a_key_that_is_heard_and_comes_as_an_event_too_is_told_once() {
    let mut call = Call::new(config());
    call.leg.command(MediaTime::ZERO, LegCommand::InbandKeys(true));
    call.say(&[0; 1_600]);
    for key in [3u8, 3] {
        // A gateway that leaves the tone in the sound and sends the event beside it.
        let pcm = tone::dtmf('3', RATE, Span::from_millis(100)).expect("a key");
        let at = call.sender.timestamp();
        for (n, frame) in pcm.chunks_exact(160).enumerate() {
            let [d0, d1] = (160 * (n as u16 + 1)).to_be_bytes();
            let payload = [key, if n == 4 { 0x8a } else { 10 }, d0, d1];
            let mut wire = [0; 40];
            let length = call.sender.stamped(101, n == 0, at, &payload).write(&mut wire).expect("room");
            call.leg.handle_rtp(call.now(), phone(), &mut wire[..length]);
            call.send(frame);
            call.tick();
        }
        call.say(&[0; 1_280]);
    }
    call.say(&[0; 8_000]);
    assert_eq!(call.keys().iter().map(|key| key.0).collect::<String>(), "33");
}

#[test]
fn a_pause_that_is_described_sounds_like_its_description() {
    let mut call = Call::new(config());
    call.say(&speech_like(3, RATE, Span::from_secs(2)));
    let mut noise = NoiseEncoder::new(0);
    let mut background = vec![0; 16_000];
    ComfortNoise::new(1).fill(&mut background, -40.0);
    background.chunks_exact(160).for_each(|frame| noise.hear(frame));
    let mut payload = [0; NoiseEncoder::LONGEST];
    let length = noise.encode(&mut payload);
    let mut wire = [0; 60];
    let timestamp = call.sender.timestamp();
    let written =
        call.sender.stamped(13, false, timestamp, &payload[..length]).write(&mut wire).expect("room");
    call.leg.handle_rtp(call.now(), phone(), &mut wire[..written]);
    while call.track.pop(|_| ()).is_some() {}
    for _ in 0..100 {
        call.sender.skip(160);
        call.tick();
    }
    let mut levels = Vec::new();
    while call
        .track
        .pop(|frame| {
            if frame.kind == FrameKind::Silence {
                levels.push(level_db(frame.pcm));
            }
        })
        .is_some()
    {}
    assert!(levels.len() > 80, "{}", levels.len());
    let wanted = level_db(&background);
    let mean = levels[20..].iter().sum::<f32>() / (levels.len() - 20) as f32;
    assert!((mean - wanted).abs() < 3.0, "{mean} dB for {wanted} dB");
    // Speech ends it, and a pause that nobody describes is silent.
    call.say(&speech_like(3, RATE, Span::from_secs(1)));
    let mut last = 0.0;
    for _ in 0..50 {
        call.tick();
    }
    while call.track.pop(|frame| last = level_db(frame.pcm)).is_some() {}
    assert_eq!(last, -96.0);
    assert_eq!(call.leg.figures().lost, 0);
}

#[test]
fn quality_is_told_every_five_seconds_and_is_that_of_the_time_since() {
    let mut call = Call::new(config());
    let pcm = speech_like(3, RATE, Span::from_secs(20));
    for (n, frame) in pcm.chunks_exact(160).enumerate() {
        // A tenth is lost between the tenth and the fifteenth second.
        if (500..750).contains(&n) && n % 10 == 0 {
            call.sender.stamped(8, false, 0, &[]);
            call.sender.skip(160);
        } else {
            call.send(frame);
        }
        call.tick();
    }
    let told = call.qualities();
    let times: Vec<_> = told.iter().map(|(at, _)| at.millis()).collect();
    assert_eq!(times, [5_000, 10_000, 15_000]);
    let mos: Vec<_> = told.iter().map(|(_, figures)| figures.mos).collect();
    assert!(mos[0] > 4.2 && mos[1] > 4.2 && mos[2] < 3.5, "{mos:?}");
    let last = call.leg.figures();
    assert_eq!(last.lost, 25);
    assert!(last.mos > mos[2] && last.mos < mos[0], "{last:?}");
    assert!((19..=61).contains(&last.delay.millis()), "{last:?}");
}

#[test]
fn reports_share_the_port_where_that_was_agreed_and_tell_the_round_trip() {
    for mux in [false, true] {
        let mut call = Call::new(LegConfig {
            rtcp_mux: mux,
            remote_rtcp: Some(([127, 0, 0, 1], 4_001).into()),
            ..config()
        });
        let mut far = RtcpSession::new(9, "far", 5, MediaTime::ZERO);
        let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
        let pcm = speech_like(3, RATE, Span::from_secs(20));
        let wall = |now: MediaTime| NtpTime::from_unix(now.since(MediaTime::ZERO).into());
        for frame in pcm.chunks_exact(160) {
            call.send(frame);
            call.tick();
            let now = call.now();
            for datagram in call.sent.rtp.drain(..).chain(call.sent.rtcp.drain(..)) {
                if is_rtcp(&datagram) {
                    far.handle(&datagram, Some(77), now, wall(now)).expect("a compound");
                } else {
                    receiver.receive(now, parse(&datagram).expect("RTP"), 160);
                }
            }
            // 60 ms on the way back.
            if let Some(mut report) = far.poll(now, wall(now), &call.sender.figures(), &mut receiver) {
                let later = now + Span::from_millis(60);
                if mux {
                    call.leg.handle_rtp(later, phone(), &mut report);
                } else {
                    call.leg.handle_rtcp(later, ([127, 0, 0, 1], 4_001).into(), &mut report);
                }
            }
        }
        let figures = call.leg.figures();
        let trip = figures.round_trip.expect("measured").millis();
        assert!((60..=85).contains(&trip), "{trip} ms, mux {mux}");
        assert!(figures.remote_mos.is_some_and(|mos| mos > 4.0), "{figures:?}");
        assert_eq!(figures.remote_loss, Some(0.0));
        // Every packet was taken in a moment before it was due, the first one apart.
        assert!(figures.remote_jitter.is_some_and(|jitter| jitter.millis() < 20), "{figures:?}");
    }
}

#[test]
fn reports_go_where_they_were_agreed_to_go() {
    for mux in [false, true] {
        let rtcp = ([127, 0, 0, 1], 4_001).into();
        let mut call = Call::new(LegConfig { rtcp_mux: mux, remote_rtcp: Some(rtcp), ..config() });
        call.say(&[0; 160_000]);
        let reports = call.sent.rtp.iter().filter(|datagram| is_rtcp(datagram)).count();
        assert_eq!((reports > 0, call.sent.rtcp.is_empty()), (mux, mux));
    }
}
