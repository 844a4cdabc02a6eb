//! What a leg's far side hears of other tracks, judged on the packets it is sent.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_media_codec::{CodecKind, Decoder, GateConfig, mix::level_db, tone::sine};
use antiphon_media_frame::{
    AudioFrame, Direction, Doorbell, FrameKind, MediaTime, SampleRate, Span, TrackWriter, track_ring,
};
use antiphon_media_plane::{
    Clip, ClipId, Format, HearId, Leg, LegCommand, LegConfig, LegEvent, SOURCES, Sound, TapId, Taps, Transmit,
};
use antiphon_media_rtp::{Sender, parse};
use antiphon_media_testkit::{correlate, speech_like};

const RATE: SampleRate = SampleRate::HZ_8000;
const FRAME: Span = Span::from_millis(20);

fn phone() -> SocketAddr {
    ([127, 0, 0, 1], 4_000).into()
}

/// What the far side is sent, decoded.
struct Ear {
    decoder: Decoder,
    heard: Vec<i16>,
}

impl Transmit for Ear {
    fn rtp(&mut self, _: SocketAddr, datagram: &[u8]) {
        let packet = parse(datagram).expect("the leg sends RTP");
        let mut pcm = [0; 960];
        let count = self.decoder.decode(packet.payload, &mut pcm).expect("room");
        self.heard.extend_from_slice(&pcm[..count]);
    }

    fn rtcp(&mut self, _: SocketAddr, _: &[u8]) {}
}

struct Call {
    leg: Leg,
    ear: Ear,
    ticks: i64,
    events: Vec<LegEvent>,
}

impl Call {
    fn new() -> Self {
        let codec = CodecKind::Pcma;
        let config = LegConfig {
            format: Format::new(codec),
            remote: Some(phone()),
            remote_rtcp: None,
            send: true,
            receive: true,
            gate: GateConfig::default(),
            barge_in: Span::from_millis(200),
            silence: Span::from_secs(1_000),
            ssrc: 7,
            first_sequence: 1,
            first_timestamp: 1,
            cname: "test".into(),
            wallclock: Duration::ZERO,
            ..LegConfig::new(codec)
        };
        Self {
            leg: Leg::new(config, Taps::default(), MediaTime::ZERO),
            ear: Ear { decoder: Decoder::new(codec), heard: Vec::new() },
            ticks: 0,
            events: Vec::new(),
        }
    }

    fn now(&self) -> MediaTime {
        MediaTime::from_millis(self.ticks * 20)
    }

    fn ask(&mut self, command: LegCommand) {
        self.leg.command(self.now(), command);
    }

    fn tick(&mut self) {
        self.leg.tick(self.now(), &mut self.ear);
        self.ticks += 1;
        while let Some(event) = self.leg.poll_event() {
            self.events.push(event);
        }
    }

    /// Lets it hear a new ring at `rate`.
    fn hear(&mut self, id: u64, rate: SampleRate, gain: f32) -> Track {
        let (writer, reader) = track_ring(rate, 64, FRAME, Doorbell::new());
        self.ask(LegCommand::Hear { source: HearId(id), reader, gain });
        Track { writer, said: 0 }
    }

    fn ended(&self, id: u64) -> usize {
        self.events.iter().filter(|event| **event == LegEvent::HearEnded { source: HearId(id) }).count()
    }
}

/// The producing end of what is heard.
struct Track {
    writer: TrackWriter,
    said: usize,
}

impl Track {
    /// Writes the next frame of `pcm`, as long as anybody listens.
    fn say(&mut self, pcm: &[i16]) {
        let rate = self.writer.rate();
        let samples = rate.samples(FRAME);
        let frame = AudioFrame {
            pcm: &pcm[self.said..self.said + samples],
            rate,
            at: MediaTime::ZERO + rate.span(self.said),
            kind: FrameKind::Voice,
            active: true,
            retracted: false,
        };
        self.said += samples;
        if !self.writer.abandoned() {
            self.writer.push(frame).expect("room");
        }
    }
}

/// The largest step between two samples.
fn step(pcm: &[i16]) -> i32 {
    pcm.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
}

#[test]
fn another_track_is_heard_at_once_whatever_its_rate() {
    for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_48000] {
        let mut call = Call::new();
        let said = speech_like(3, rate, Span::from_secs(4));
        let mut track = call.hear(1, rate, 1.0);
        for _ in 0..200 {
            track.say(&said);
            call.tick();
        }
        let wanted = antiphon_media_codec::resample(&said, rate, RATE);
        let (lag, peak) = correlate(&wanted[8_000..16_000], &call.ear.heard[8_000..16_000], 400);
        // What the filter of the conversion takes.
        assert!((0..=40).contains(&lag) && peak > 0.99, "{rate}: {lag} samples late, {peak} alike");
    }
}

#[test]
fn sources_and_prompt_are_mixed_and_each_goes_alone() {
    let mut call = Call::new();
    let tones = [500.0, 900.0, 1_700.0].map(|hz| sine(hz, -20.0, RATE, Span::from_secs(4)));
    let mut tracks = [call.hear(1, RATE, 1.0), call.hear(2, RATE, 0.5)];
    let sound = Sound::Whole(tones[2].clone().into(), RATE);
    call.ask(LegCommand::Play(Clip { id: ClipId(1), sound, interruptible: false, repeat: false }));
    let mut second = Vec::new();
    for part in 0..4 {
        match part {
            1 => call.ask(LegCommand::Unhear { source: HearId(1) }),
            2 => call.ask(LegCommand::Hold(true)),
            3 => call.ask(LegCommand::Hold(false)),
            _ => {}
        }
        for _ in 0..25 {
            tracks.iter_mut().zip(&tones).for_each(|(track, tone)| track.say(tone));
            call.tick();
        }
        second.push(call.ear.heard[part * 4_000 + 800..(part + 1) * 4_000].to_vec());
    }
    let amplitude = |pcm: &[i16], hz: f64| {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in pcm.iter().enumerate() {
            let angle = std::f64::consts::TAU * hz * n as f64 / 8_000.0;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        let amplitude = 2.0 * (re * re + im * im).sqrt() / pcm.len() as f64;
        // -20 dBFS is 4634 in amplitude.
        (20.0 * (amplitude.max(1.0) / 4_634.0).log10()).round() as i32
    };
    let levels: Vec<_> =
        second.iter().map(|pcm| [500.0, 900.0, 1_700.0].map(|hz| amplitude(pcm, hz))).collect();
    assert_eq!(levels[0], [0, -6, 0]);
    assert!(levels[1][0] < -40 && levels[1][1..] == [-6, 0], "{levels:?}");
    assert!(levels[2][0] < -40 && levels[2][1] < -40 && levels[2][2] == 0, "{levels:?}");
    assert!(levels[3][0] < -40 && levels[3][1..] == [-6, 0], "{levels:?}");
    assert_eq!(call.ended(1), 0, "an Unhear is no end");
}

#[test]
fn a_backlog_is_drained_at_once_and_without_a_click() {
    let mut call = Call::new();
    let tone = sine(400.0, -12.0, RATE, Span::from_secs(20));
    let mut track = call.hear(1, RATE, 1.0);
    for _ in 0..20 {
        track.say(&tone);
        call.tick();
    }
    // A stall: ten frames come at once.
    (0..10).for_each(|_| track.say(&tone));
    let before = call.ear.heard.len();
    for _ in 0..20 {
        track.say(&tone);
        call.tick();
    }
    let natural = step(&tone[4_000..8_000]);
    let worst = step(&call.ear.heard[before - 320..]);
    assert!(worst <= natural * 5 / 4 + 64, "a step of {worst} where the tone has {natural}");
    // 400 Hz repeats every 20 samples, so speech tells how late it is.
    let mut call = Call::new();
    let said = speech_like(5, RATE, Span::from_secs(4));
    let mut track = call.hear(1, RATE, 1.0);
    for n in 0..150 {
        if n == 20 {
            (0..10).for_each(|_| track.say(&said));
        }
        track.say(&said);
        call.tick();
    }
    let heard = &call.ear.heard[150 * 160 - 8_000..];
    let (lag, peak) = correlate(&said[160 * 160 - 8_000..160 * 160], heard, 1_600);
    assert!(lag.abs() < 16 && peak > 0.98, "{lag} samples late, {peak} alike");
}

#[test]
fn a_missing_frame_is_made_up_and_the_frame_it_delays_is_made_up_for() {
    let mut call = Call::new();
    let tone = sine(400.0, -12.0, RATE, Span::from_secs(20));
    let mut track = call.hear(1, RATE, 1.0);
    for n in 0..100 {
        if n != 50 {
            track.say(&tone);
        }
        call.tick();
    }
    let natural = step(&tone[4_000..8_000]);
    let worst = step(&call.ear.heard[800..]);
    assert!(worst <= natural * 5 / 4 + 64, "a step of {worst} where the tone has {natural}");
    let quietest = call.ear.heard[800..].chunks(160).map(level_db).fold(0.0, f32::min);
    assert!(quietest > -20.0, "{quietest} dB");
    // It comes after all: the frame too much goes within a second and a half, for it would be delay.
    let said = speech_like(5, RATE, Span::from_secs(8));
    let mut track = call.hear(1, RATE, 1.0);
    let from = call.ear.heard.len();
    for n in 0..300 {
        match n {
            50 => {}
            51 => (0..2).for_each(|_| track.say(&said)),
            _ => track.say(&said),
        }
        call.tick();
    }
    let heard = &call.ear.heard[from..][200 * 160..250 * 160];
    let (lag, peak) = correlate(&said[200 * 160..250 * 160], heard, 1_600);
    assert!(lag.abs() < 16 && peak > 0.98, "{lag} samples late, {peak} alike");
}

#[test]
fn frames_that_come_two_and_two_lose_nothing() {
    let mut call = Call::new();
    let said = speech_like(5, RATE, Span::from_secs(8));
    let mut track = call.hear(1, RATE, 1.0);
    for n in 0..300 {
        if n % 2 == 1 {
            (0..2).for_each(|_| track.say(&said));
        }
        call.tick();
    }
    let (lag, peak) = correlate(&said[8_000..40_000], &call.ear.heard[8_000..40_000], 800);
    assert!((0..=320).contains(&lag) && peak > 0.98, "{lag} samples late, {peak} alike");
}

#[test]
fn the_end_of_a_track_is_told_once_and_too_many_are_refused() {
    let mut call = Call::new();
    let tone = sine(400.0, -12.0, RATE, Span::from_secs(20));
    let mut tracks: Vec<_> = (0..SOURCES as u64).map(|id| call.hear(id, RATE, 0.05)).collect();
    drop(call.hear(99, RATE, 1.0));
    for _ in 0..10 {
        tracks.iter_mut().for_each(|track| track.say(&tone));
        call.tick();
    }
    assert_eq!(call.ended(99), 1, "refused at once");
    let mut last = tracks.remove(3);
    last.say(&tone);
    drop(last);
    for _ in 0..10 {
        tracks.iter_mut().for_each(|track| track.say(&tone));
        call.tick();
    }
    assert_eq!(call.ended(3), 1);
    assert_eq!(call.events.len(), 2, "{:?}", call.events);
    // Its place is free again, and a source of the same name takes the old one's.
    let _again = call.hear(3, RATE, 1.0);
    let _other = call.hear(4, RATE, 1.0);
    call.tick();
    assert_eq!(call.events.len(), 2, "{:?}", call.events);
}

#[test]
fn hold_music_repeats_until_it_is_stopped() {
    let mut call = Call::new();
    let music = speech_like(8, RATE, Span::from_millis(310));
    let sound = Sound::Whole(music.clone().into(), RATE);
    call.ask(LegCommand::Play(Clip { id: ClipId(1), sound, interruptible: false, repeat: true }));
    (0..200).for_each(|_| call.tick());
    assert!(!call.events.iter().any(|event| matches!(event, LegEvent::PlayStopped { .. })));
    let at = music.len() * 9;
    let (lag, peak) = correlate(&music[400..1_400], &call.ear.heard[at + 400..at + 1_400], 80);
    assert!(lag == 0 && peak > 0.99, "{lag}, {peak}");
    call.ask(LegCommand::Stop);
    call.tick();
    let played = call.events.iter().find_map(|event| match event {
        LegEvent::PlayStopped { played, .. } => Some(*played),
        _ => None,
    });
    assert_eq!(played, Some(Span::from_secs(4)));
}

#[test]
fn taps_come_and_go_in_mid_call() {
    let mut call = Call::new();
    let mut sender = Sender::new(9, 1, 1, 8_000);
    let said = sine(700.0, -12.0, RATE, Span::from_secs(4));
    let prompt = sine(1_200.0, -12.0, RATE, Span::from_secs(10));
    let sound = Sound::Whole(prompt.into(), RATE);
    call.ask(LegCommand::Play(Clip { id: ClipId(1), sound, interruptible: false, repeat: false }));
    let mut encoder = antiphon_media_codec::Encoder::new(CodecKind::Pcma);
    let mut speak = |call: &mut Call, frames: usize| {
        for pcm in said.chunks(160).take(frames) {
            let (mut payload, mut wire) = ([0; 160], [0; 200]);
            encoder.encode(pcm, &mut payload).expect("room");
            let packet = sender.packet(CodecKind::Pcma.payload_type(), 160, &payload);
            let length = packet.write(&mut wire).expect("room");
            call.leg.handle_rtp(call.now(), phone(), &mut wire[..length]);
            call.tick();
        }
    };
    speak(&mut call, 50);
    let ring = |rate| track_ring(rate, 200, Span::from_millis(25), Doorbell::new());
    let ((received, mut caller), (sent, mut machine)) = (ring(SampleRate::HZ_16000), ring(RATE));
    call.ask(LegCommand::Tap { id: TapId(1), track: Direction::Received, writer: received });
    call.ask(LegCommand::Tap { id: TapId(2), track: Direction::Sent, writer: sent });
    speak(&mut call, 50);
    for (reader, rate) in [(&mut caller, SampleRate::HZ_16000), (&mut machine, RATE)] {
        assert_eq!(reader.rate(), rate);
        let (mut frames, mut loudest) = (0, -96f32);
        while reader.pop(|frame| loudest = loudest.max(level_db(frame.pcm))).is_some() {
            frames += 1;
        }
        assert!((48..=50).contains(&frames) && (-14.0..-10.0).contains(&loudest), "{frames}, {loudest}");
    }
    call.ask(LegCommand::Untap { id: TapId(1) });
    speak(&mut call, 5);
    assert!(caller.finished());
    assert_eq!(machine.ready(), 5);
    assert!(!machine.finished());
}
