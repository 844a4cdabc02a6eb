//! A shard on loopback with a phone that is nothing but a socket.
#![expect(clippy::disallowed_methods, reason = "sockets live in real time")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use antiphon_media_codec::{CodecKind, Decoder, Encoder, GateConfig};
use antiphon_media_frame::{Direction, Doorbell, MediaTime, SampleRate, Span, track_ring};
use antiphon_media_plane::{
    Clip, ClipEnd, ClipId, Format, HearId, Leg, LegCommand, LegConfig, LegEvent, LegFigures, LegHandle,
    PortPool, QUEUE, RecordWriter, Shard, ShardConfig, ShardError, Shards, Sound, Tap, TapId, Taps,
};
use antiphon_media_record::{GapCause, RecordingSummary, read_all};
use antiphon_media_rtp::{Sender, is_rtcp, parse};
use antiphon_media_testkit::{correlate, speech_like};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Each test has ports of its own, for they run at the same time.
fn pool(test: u16) -> PortPool {
    PortPool::new(43_000 + test * 40..=43_039 + test * 40).expect("pairs")
}

fn shard() -> Shard {
    Shard::start(ShardConfig { name: "shard".into(), legs: 64 }).expect("a thread")
}

fn config(codec: CodecKind, remote: SocketAddr) -> LegConfig {
    LegConfig {
        format: Format { telephone_event: Some(101), ..Format::new(codec) },
        remote: Some(remote),
        remote_rtcp: Some(remote),
        send: true,
        receive: true,
        gate: GateConfig::default(),
        barge_in: Span::from_millis(200),
        silence: Span::from_millis(400),
        ssrc: 77,
        first_sequence: 1,
        first_timestamp: 1,
        cname: "test".into(),
        wallclock: Duration::from_secs(1_700_000_000),
        ..LegConfig::new(codec)
    }
}

struct Call {
    handle: Option<LegHandle>,
    events: Receiver<LegEvent>,
    /// Where the leg receives.
    address: SocketAddr,
    rate: SampleRate,
}

impl Call {
    fn place(shard: &Shard, ports: &PortPool, config: LegConfig, taps: Taps) -> Self {
        let pair = ports.bind(HOST).expect("free ports");
        let address = pair.address().expect("bound");
        let (tell, events) = channel();
        let leg = Leg::new(config, taps, MediaTime::ZERO);
        let rate = leg.rate();
        let hear = Box::new(move |event| {
            let _ = tell.send(event);
        });
        let handle = shard.add(pair, leg, Instant::now(), hear).expect("room");
        Self { handle: Some(handle), events, address, rate }
    }

    fn send(&self, command: LegCommand) {
        self.handle.as_ref().expect("open").send(command).expect("sent");
    }

    fn play(&self, id: u32, pcm: &[i16]) {
        let sound = Sound::Whole(pcm.into(), self.rate);
        self.send(LegCommand::Play(Clip { id: ClipId(id), sound, interruptible: false, repeat: false }));
    }

    fn wait<T>(&self, what: &str, mut find: impl FnMut(&LegEvent) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    if let Some(found) = find(&event) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in five seconds"),
                Err(RecvTimeoutError::Disconnected) => panic!("the leg ended without {what}"),
            }
        }
    }

    fn close(mut self) -> LegFigures {
        self.handle = None;
        let figures = self.wait("end", |event| match event {
            LegEvent::Closed { figures, .. } => Some(**figures),
            _ => None,
        });
        assert!(self.events.recv().is_err(), "nothing follows the end");
        figures
    }
}

/// A phone of the test.
struct Phone {
    socket: UdpSocket,
    sender: Sender,
    encoder: Encoder,
    decoder: Decoder,
    codec: CodecKind,
    heard: Vec<i16>,
    reports: u32,
    said: usize,
}

impl Phone {
    fn new(codec: CodecKind, ssrc: u32) -> Self {
        let socket = UdpSocket::bind((HOST, 0)).expect("a port");
        socket.set_nonblocking(true).expect("set");
        Self {
            socket,
            sender: Sender::new(ssrc, 100, 1_000, 8_000),
            encoder: Encoder::new(codec),
            decoder: Decoder::new(codec),
            codec,
            heard: Vec::new(),
            reports: 0,
            said: 0,
        }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    /// Speaks and listens in real time for `millis`.
    fn talk(&mut self, to: SocketAddr, pcm: &[i16], millis: u64) {
        let samples = self.codec.sample_rate().samples(Span::from_millis(20));
        let start = Instant::now();
        for n in 0..millis / 20 {
            let mut frame = vec![0; samples];
            for (out, sample) in frame.iter_mut().zip(pcm.iter().skip(self.said)) {
                *out = *sample;
            }
            self.said += samples;
            let (mut payload, mut wire) = ([0; 160], [0; 400]);
            self.encoder.encode(&frame, &mut payload).expect("it fits");
            let packet = self.sender.packet(self.codec.payload_type(), 160, &payload);
            let length = packet.write(&mut wire).expect("it fits");
            self.socket.send_to(&wire[..length], to).expect("sent");
            self.listen();
            std::thread::sleep(
                (start + Duration::from_millis((n + 1) * 20)).saturating_duration_since(Instant::now()),
            );
        }
        self.listen();
    }

    /// Takes what has come; says how many packets of sound.
    fn listen(&mut self) -> usize {
        let mut buffer = [0; 2_000];
        let mut packets = 0;
        while let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
            if is_rtcp(&buffer[..length]) {
                self.reports += 1;
                continue;
            }
            let packet = parse(&buffer[..length]).expect("the leg sends RTP");
            let mut pcm = [0; 320];
            let count = self.decoder.decode(packet.payload, &mut pcm).expect("room");
            self.heard.extend_from_slice(&pcm[..count]);
            packets += 1;
        }
        packets
    }
}

/// How alike two recordings are anywhere within half a second of each other.
fn alike(said: &[i16], heard: &[i16], codec: CodecKind) -> f64 {
    correlate(said, heard, codec.sample_rate().samples(Span::from_millis(500))).1
}

#[test]
fn sound_goes_round_and_both_sides_are_recorded() {
    let (shard, ports, writer) = (shard(), pool(0), RecordWriter::start().expect("a thread"));
    for codec in [CodecKind::Pcmu, CodecKind::G722] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("call.wav");
        let (done, recorded) = channel();
        let rate = codec.sample_rate();
        let tracks = writer
            .record(path.clone(), rate, Box::new(move |result| done.send(result).expect("awaited")))
            .expect("room");
        let taps =
            Taps { received: vec![Tap::new(rate, tracks.received)], sent: vec![Tap::new(rate, tracks.sent)] };
        let mut phone = Phone::new(codec, 5);
        let call = Call::place(&shard, &ports, config(codec, phone.address()), taps);
        let (prompt, voice) =
            (speech_like(1, rate, Span::from_millis(1_500)), speech_like(2, rate, Span::from_millis(1_800)));
        call.play(1, &prompt);
        phone.talk(call.address, &voice, 2_400);
        call.wait("lock", |event| (*event == LegEvent::Locked { remote: phone.address() }).then_some(()));
        call.wait("end of the prompt", |event| match event {
            LegEvent::PlayStopped { id: ClipId(1), played, end: ClipEnd::Completed, .. } => Some(*played),
            _ => None,
        });
        let figures = call.close();
        std::thread::sleep(Duration::from_millis(50));
        phone.listen();
        assert!(figures.received >= 115 && figures.sent >= 110, "{figures:?}");
        assert_eq!((figures.lost, figures.strangers, figures.invalid, figures.tap_refused), (0, 0, 0, 0));
        assert!(phone.reports >= 1, "it says goodbye");
        assert!(alike(&prompt, &phone.heard, codec) > 0.9, "{codec}");
        let summary: RecordingSummary =
            recorded.recv_timeout(Duration::from_secs(5)).expect("told").expect("recorded");
        assert!((2_200..3_200).contains(&summary.duration.millis()), "{}", summary.duration);
        let pcm = read_all(&path).expect("readable");
        // A busy machine paces the phone badly, and what comes too late is made up; another voice is below 0.2.
        let heard = alike(&voice, &pcm.channels[0], codec);
        assert!(heard > 0.4, "{codec}: {heard}, {figures:?}");
        assert!(alike(&prompt, &pcm.channels[1], codec) > 0.95, "{codec}");
    }
}

#[test]
fn a_stranger_who_sprays_packets_is_neither_heard_nor_answered() {
    let (shard, ports) = (shard(), pool(1));
    let codec = CodecKind::Pcma;
    let (mut phone, mut stranger) = (Phone::new(codec, 5), Phone::new(codec, 6));
    let call = Call::place(&shard, &ports, config(codec, phone.address()), Taps::default());
    phone.talk(call.address, &[], 200);
    let (to, noise) = (call.address, speech_like(9, codec.sample_rate(), Span::from_secs(2)));
    let spray = std::thread::spawn(move || {
        stranger.talk(to, &noise, 800);
        stranger.listen()
    });
    phone.talk(call.address, &[], 1_000);
    assert_eq!(spray.join().expect("no panic"), 0, "nothing is sent to a stranger");
    let mut voices = 0;
    while let Ok(event) = call.events.try_recv() {
        voices += usize::from(matches!(event, LegEvent::VoiceStarted { .. }));
    }
    let figures = call.close();
    assert_eq!(voices, 0);
    assert_eq!(figures.strangers, 40);
    assert!((55..=61).contains(&figures.received), "{figures:?}");
}

#[test]
fn hold_stops_what_is_sent_and_resume_goes_on() {
    let (shard, ports) = (shard(), pool(2));
    let mut phone = Phone::new(CodecKind::Pcmu, 5);
    let call = Call::place(&shard, &ports, config(CodecKind::Pcmu, phone.address()), Taps::default());
    phone.talk(call.address, &[], 300);
    call.send(LegCommand::Flow { send: false, receive: false });
    std::thread::sleep(Duration::from_millis(60));
    phone.listen();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(phone.listen(), 0, "nothing is sent on hold");
    let silent = call.events.try_iter().any(|event| matches!(event, LegEvent::Silent { .. }));
    assert!(!silent, "nothing is expected on hold");
    call.send(LegCommand::Flow { send: true, receive: true });
    std::thread::sleep(Duration::from_millis(300));
    assert!(phone.listen() >= 10);
    call.wait("silence", |event| matches!(event, LegEvent::Silent { .. }).then_some(()));
}

#[test]
fn the_far_side_moves() {
    let (shard, ports) = (shard(), pool(3));
    let (mut first, mut second) = (Phone::new(CodecKind::Pcmu, 5), Phone::new(CodecKind::Pcmu, 6));
    let call = Call::place(&shard, &ports, config(CodecKind::Pcmu, first.address()), Taps::default());
    first.talk(call.address, &[], 200);
    call.wait("lock", |event| (*event == LegEvent::Locked { remote: first.address() }).then_some(()));
    call.send(LegCommand::Remote { rtp: second.address(), rtcp: second.address() });
    std::thread::sleep(Duration::from_millis(60));
    first.listen();
    second.talk(call.address, &[], 200);
    call.wait("lock", |event| (*event == LegEvent::Locked { remote: second.address() }).then_some(()));
    assert_eq!(first.listen(), 0, "nothing is sent to where it was");
    assert!(!second.heard.is_empty());
}

#[test]
fn silence_of_the_far_side_is_told_once() {
    let (shard, ports) = (shard(), pool(4));
    let mut phone = Phone::new(CodecKind::Pcmu, 5);
    let call = Call::place(&shard, &ports, config(CodecKind::Pcmu, phone.address()), Taps::default());
    phone.talk(call.address, &[], 300);
    std::thread::sleep(Duration::from_millis(1_200));
    phone.talk(call.address, &[], 100);
    std::thread::sleep(Duration::from_millis(700));
    let since: Vec<_> = call
        .events
        .try_iter()
        .filter_map(|event| if let LegEvent::Silent { since } = event { Some(since.millis()) } else { None })
        .collect();
    assert_eq!(since.len(), 2, "{since:?}");
    assert!((200..500).contains(&since[0]) && (1_500..2_200).contains(&since[1]), "{since:?}");
}

#[test]
fn a_full_queue_and_the_end_leave_no_clip_untold() {
    let (shard, ports) = (shard(), pool(5));
    let phone = Phone::new(CodecKind::Pcmu, 5);
    let call = Call::place(&shard, &ports, config(CodecKind::Pcmu, phone.address()), Taps::default());
    let clips = QUEUE as u32 + 3;
    for id in 0..clips {
        call.play(id, &[100; 80_000]);
    }
    let mut ends = Vec::new();
    while ends.len() < 2 {
        if let LegEvent::PlayStopped { id, end, .. } =
            call.events.recv_timeout(Duration::from_secs(5)).expect("told")
        {
            ends.push((id.0, end));
        }
    }
    assert!(ends.iter().all(|(id, end)| *id >= QUEUE as u32 && *end == ClipEnd::Cancelled), "{ends:?}");
    let Call { handle, events, .. } = call;
    drop(handle);
    let rest = events.iter().filter_map(|event| match event {
        LegEvent::PlayStopped { id, end, .. } => Some((id.0, end)),
        _ => None,
    });
    ends.extend(rest);
    let mut ids: Vec<_> = ends.iter().map(|end| end.0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..clips).collect::<Vec<_>>(), "each exactly once");
}

#[test]
fn a_shard_takes_no_more_than_it_may_and_tells_everybody_of_its_end() {
    let ports = pool(6);
    let shard = Shard::start(ShardConfig { name: "small".into(), legs: 3 }).expect("a thread");
    let phone = Phone::new(CodecKind::Pcmu, 5);
    // At once, before the shard's next tick takes any of them in.
    let calls: Vec<_> = (0..3)
        .map(|_| Call::place(&shard, &ports, config(CodecKind::Pcmu, phone.address()), Taps::default()))
        .collect();
    let leg = Leg::new(config(CodecKind::Pcmu, phone.address()), Taps::default(), MediaTime::ZERO);
    let refused = shard.add(ports.bind(HOST).expect("free"), leg, Instant::now(), Box::new(|_| ()));
    assert!(matches!(refused, Err(ShardError::Full { limit: 3 })));
    drop(shard);
    for call in calls {
        assert!(matches!(call.events.iter().last(), Some(LegEvent::Closed { .. })));
        let handle = call.handle.as_ref().expect("open");
        assert!(matches!(handle.send(LegCommand::Stop), Err(ShardError::Stopped)));
    }
}

#[cfg(unix)]
fn fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(made.success());
}

#[cfg(unix)]
#[test]
fn a_disk_that_hangs_delays_no_call() {
    let (shard, ports, writer) = (shard(), pool(7), RecordWriter::start().expect("a thread"));
    let folder = tempfile::tempdir().expect("a folder");
    let (stuck, good) = (folder.path().join("stuck.wav"), folder.path().join("good.wav"));
    // Opening a pipe nobody reads hangs, and with it everything else the writer has to do.
    fifo(&stuck);
    let (done, recorded) = channel();
    let codec = CodecKind::Pcmu;
    let rate = codec.sample_rate();
    let first = writer.record(stuck.clone(), rate, Box::new(|_| ())).expect("room");
    let tracks =
        writer.record(good, rate, Box::new(move |result| done.send(result).expect("awaited"))).expect("room");
    let taps =
        Taps { received: vec![Tap::new(rate, tracks.received)], sent: vec![Tap::new(rate, tracks.sent)] };
    let mut phone = Phone::new(codec, 5);
    let call = Call::place(&shard, &ports, config(codec, phone.address()), taps);
    let before = shard.figures();
    // Longer than the rings hold.
    phone.talk(call.address, &speech_like(3, rate, Span::from_secs(4)), 4_000);
    let after = shard.figures();
    assert!((190..=210).contains(&(after.ticks - before.ticks)), "{after:?}");
    assert_eq!(after.skipped, 0, "{after:?}");
    // Somebody reads: the pipe opens, what it holds cannot be sought in, and that recording fails.
    let drain = std::thread::spawn(move || std::fs::read(stuck));
    std::thread::sleep(Duration::from_millis(500));
    phone.talk(call.address, &[], 400);
    let figures = call.close();
    drop(first);
    assert!(figures.tap_refused > 50, "{figures:?}");
    let summary = recorded.recv_timeout(Duration::from_secs(5)).expect("told").expect("recorded");
    let holes: u64 = summary
        .caller
        .gaps
        .iter()
        .filter(|gap| gap.cause == GapCause::Refused)
        .map(|gap| gap.to.since(gap.from).millis())
        .sum();
    assert!(holes > 500, "{:?}", summary.caller.gaps);
    assert!(summary.duration.millis() > 4_700, "time is kept: {}", summary.duration);
    drop(writer);
    drain.join().expect("no panic").expect("read");
}

#[test]
fn a_recording_that_cannot_be_made_is_told_and_the_call_goes_on() {
    let (shard, ports, writer) = (shard(), pool(8), RecordWriter::start().expect("a thread"));
    let folder = tempfile::tempdir().expect("a folder");
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, b"no folder").expect("written");
    let (done, recorded) = channel();
    let rate = CodecKind::Pcmu.sample_rate();
    let tracks = writer
        .record(
            blocked.join("call.wav"),
            rate,
            Box::new(move |result| done.send(result.is_err()).expect("awaited")),
        )
        .expect("room");
    let taps =
        Taps { received: vec![Tap::new(rate, tracks.received)], sent: vec![Tap::new(rate, tracks.sent)] };
    let mut phone = Phone::new(CodecKind::Pcmu, 5);
    let call = Call::place(&shard, &ports, config(CodecKind::Pcmu, phone.address()), taps);
    assert_eq!(recorded.recv_timeout(Duration::from_secs(5)), Ok(true));
    phone.talk(call.address, &[], 400);
    let figures = call.close();
    assert!(figures.sent >= 15 && figures.received >= 15, "{figures:?}");
    assert_eq!(figures.tap_refused, 0, "a recording that is gone takes nothing and misses nothing");
}

#[test]
fn two_people_hear_each_other_across_shards() {
    let ports = pool(9);
    let shards = Shards::start(&ShardConfig { name: "two".into(), legs: 4 }, 2).expect("threads");
    let codecs = [CodecKind::Pcmu, CodecKind::G722];
    let mut phones = [Phone::new(codecs[0], 5), Phone::new(codecs[1], 6)];
    let mut handles = Vec::new();
    let mut addresses = Vec::new();
    for (phone, codec) in phones.iter().zip(codecs) {
        let pair = ports.bind(HOST).expect("free");
        addresses.push(pair.address().expect("bound"));
        let leg = Leg::new(config(codec, phone.address()), Taps::default(), MediaTime::ZERO);
        handles.push(shards.add(pair, leg, Instant::now(), Box::new(|_| ())).expect("room"));
    }
    assert!(shards.figures().all(|figures| figures.legs == 1), "one each");
    for (from, to) in [(0, 1), (1, 0)] {
        let rate = codecs[from].sample_rate();
        let (writer, reader) = track_ring(rate, 16, Span::from_millis(25), Doorbell::new());
        let track = Direction::Received;
        handles[from].control().send(LegCommand::Tap { id: TapId(1), track, writer }).expect("sent");
        let source = HearId(from as u64);
        handles[to].control().send(LegCommand::Hear { source, reader, gain: 1.0 }).expect("sent");
    }
    let said = [0, 1].map(|n| speech_like(n as u64 + 1, codecs[n].sample_rate(), Span::from_secs(3)));
    std::thread::scope(|scope| {
        for ((phone, pcm), address) in phones.iter_mut().zip(&said).zip(&addresses) {
            scope.spawn(move || phone.talk(*address, pcm, 3_000));
        }
    });
    for (from, to) in [(0, 1), (1, 0)] {
        let wanted =
            antiphon_media_codec::resample(&said[from], codecs[from].sample_rate(), codecs[to].sample_rate());
        // A busy machine paces the phones badly, so that not all of it lies at one lag.
        let part = codecs[to].sample_rate().samples(Span::from_millis(500));
        let said = wanted.chunks_exact(part).zip(phones[to].heard.chunks_exact(part));
        let heard = said.map(|(said, heard)| correlate(said, heard, part / 2).1).fold(0.0, f64::max);
        assert!(heard > 0.7, "{from} heard by {to}: {heard}");
    }
    assert_eq!(shards.total().legs, 2);
    drop(handles);
}
