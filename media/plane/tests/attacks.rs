//! What strangers may try on a leg's port, and what it costs.
#![expect(clippy::disallowed_methods, reason = "a flood is measured in real time")]

use std::net::SocketAddr;
use std::time::Instant;

use antiphon_media_codec::CodecKind;
use antiphon_media_frame::{Doorbell, MediaTime, SampleRate, Span, TrackReader, track_ring};
use antiphon_media_link::{Link, LinkConfig, Protection, SrtpKeys, Suite};
use antiphon_media_plane::{
    Clip, ClipId, Leg, LegCommand, LegConfig, LegEvent, PortError, PortPool, Sound, Tap, Taps, Transmit,
};
use antiphon_media_rtp::{NtpTime, Receiver, ReceiverConfig, RtcpSession, Sender, is_rtcp};

const RATE: SampleRate = SampleRate::HZ_8000;

fn peer() -> SocketAddr {
    ([203, 0, 113, 5], 4_000).into()
}

fn stranger() -> SocketAddr {
    ([198, 51, 100, 66], 9_000).into()
}

/// Who is sent what.
#[derive(Default)]
struct Sent(Vec<(SocketAddr, bool)>);

impl Transmit for Sent {
    fn rtp(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.0.push((to, is_rtcp(datagram)));
    }

    fn rtcp(&mut self, to: SocketAddr, _: &[u8]) {
        self.0.push((to, true));
    }
}

struct Call {
    leg: Leg,
    sent: Sent,
    ticks: i64,
    heard: TrackReader,
    events: Vec<LegEvent>,
}

/// A sender whose every sample has one value, so that what is heard tells who said it.
struct Voice {
    sender: Sender,
    octet: u8,
}

impl Voice {
    fn new(ssrc: u32, sequence: u16, octet: u8) -> Self {
        Self { sender: Sender::new(ssrc, sequence, 1_000, 8_000), octet }
    }

    fn packet(&mut self) -> Vec<u8> {
        let payload = [self.octet; 160];
        let mut wire = vec![0; 172];
        let length = self.sender.packet(0, 160, &payload).write(&mut wire).expect("room");
        wire.truncate(length);
        wire
    }
}

/// µ-law octets far from silence, of opposite sign.
const PEER: u8 = 0x90;
const STRANGER: u8 = 0x10;

impl Call {
    fn new(config: LegConfig) -> Self {
        Self::over(config, Link::plain())
    }

    fn over(config: LegConfig, link: Link) -> Self {
        let (writer, heard) = track_ring(RATE, 512, Span::from_millis(20), Doorbell::new());
        let taps = Taps { received: vec![Tap::new(RATE, writer)], sent: Vec::new() };
        let mut leg = Leg::new(config, taps, MediaTime::ZERO).over(link);
        let prompt = Sound::Whole(vec![1_000; 80_000].into(), RATE);
        let clip = Clip { id: ClipId(1), sound: prompt, interruptible: false, repeat: true };
        leg.command(MediaTime::ZERO, LegCommand::Play(clip));
        Self { leg, sent: Sent::default(), ticks: 0, heard, events: Vec::new() }
    }

    fn now(&self) -> MediaTime {
        MediaTime::from_millis(self.ticks * 20)
    }

    fn receive(&mut self, from: SocketAddr, mut datagram: Vec<u8>) {
        self.leg.handle_rtp(self.now(), from, &mut datagram);
    }

    fn tick(&mut self) {
        self.leg.tick(self.now(), &mut self.sent);
        self.ticks += 1;
        while let Some(event) = self.leg.poll_event() {
            self.events.push(event);
        }
    }

    /// Packets of sound sent to somebody.
    fn bled(&self, to: SocketAddr) -> usize {
        self.sent.0.iter().filter(|(whom, report)| *whom == to && !report).count()
    }

    /// Frames heard of the peer and of the stranger.
    fn voices(&mut self) -> [usize; 2] {
        let mut frames = [0; 2];
        while self
            .heard
            .pop(|frame| {
                let mean = frame.pcm.iter().map(|s| i32::from(*s)).sum::<i32>() / frame.pcm.len() as i32;
                frames[0] += usize::from(mean > 2_000);
                frames[1] += usize::from(mean < -2_000);
            })
            .is_some()
        {}
        frames
    }
}

fn config() -> LegConfig {
    LegConfig { remote: Some(peer()), ssrc: 77, cname: "test".into(), ..LegConfig::new(CodecKind::Pcmu) }
}

#[test]
fn a_spray_before_the_peer_speaks_gets_and_says_next_to_nothing() {
    let mut call = Call::new(config());
    let (mut real, mut spray) = (Voice::new(5, 100, PEER), Voice::new(6, 7_000, STRANGER));
    // A scan: five packets, then on to the next port. Then the peer begins, and the scan comes round again and again.
    for n in 0..500 {
        if n % 50 < 5 {
            call.receive(stranger(), spray.packet());
        }
        if n > 60 {
            call.receive(peer(), real.packet());
        }
        call.tick();
    }
    let [heard, injected] = call.voices();
    assert!(heard > 420, "{heard}");
    assert_eq!((injected, call.bled(stranger())), (0, 0));
}

#[test]
fn a_stranger_who_was_believed_first_is_gone_with_the_peers_first_packet() {
    let mut call = Call::new(config());
    let (mut real, mut spray) = (Voice::new(5, 100, PEER), Voice::new(6, 7_000, STRANGER));
    for _ in 0..50 {
        call.receive(stranger(), spray.packet());
        call.tick();
    }
    let [_, believed] = call.voices();
    assert!(believed > 30, "who is not where it said is heard: {believed}");
    for _ in 0..500 {
        call.receive(stranger(), spray.packet());
        call.receive(peer(), real.packet());
        call.tick();
    }
    let [heard, injected] = call.voices();
    assert!(heard > 480, "{heard}");
    // What was in the jitter buffer.
    assert!(injected < 5, "{injected}");
    assert_eq!(call.bled(stranger()), 0, "and its sound goes where it said");
    assert_eq!(call.bled(peer()), 550);
    assert_eq!(call.leg.figures().strangers, 500 - 1);
}

#[test]
fn behind_a_nat_the_peer_is_answered_and_a_stranger_gets_fewer_than_five_packets() {
    // The peer describes an address of its own network, and signals from where its network is seen.
    let inside: SocketAddr = ([192, 168, 1, 5], 4_000).into();
    let config = LegConfig { remote: Some(inside), signaller: Some(peer().ip()), ..config() };
    let mut call = Call::new(config);
    let (mut real, mut spray) = (Voice::new(5, 100, PEER), Voice::new(6, 7_000, STRANGER));
    for n in 0..500 {
        call.receive(stranger(), spray.packet());
        if n >= 49 {
            call.receive(peer(), real.packet());
        }
        call.tick();
    }
    let [heard, _] = call.voices();
    assert!(heard > 440, "{heard}");
    assert!(call.bled(stranger()) < 5, "{}", call.bled(stranger()));
    assert!(call.bled(peer()) > 440, "{}", call.bled(peer()));
}

#[test]
fn a_peer_whose_media_comes_from_nowhere_it_named_is_answered_after_a_second() {
    // Behind a NAT and a proxy: neither the description nor the signalling leads there.
    let inside: SocketAddr = ([192, 168, 1, 5], 4_000).into();
    let proxy = [203, 0, 113, 200].into();
    let mut call = Call::new(LegConfig { remote: Some(inside), signaller: Some(proxy), ..config() });
    let mut real = Voice::new(5, 100, PEER);
    for _ in 0..500 {
        call.receive(peer(), real.packet());
        call.tick();
    }
    assert!(call.voices()[0] > 480);
    assert_eq!(call.bled(peer()), 500 - 50);
}

#[test]
fn without_nat_a_stranger_is_never_heard_nor_answered() {
    let mut call = Call::new(LegConfig { nat: false, ..config() });
    let mut spray = Voice::new(6, 7_000, STRANGER);
    for _ in 0..500 {
        call.receive(stranger(), spray.packet());
        call.tick();
    }
    assert_eq!((call.voices(), call.bled(stranger())), ([0, 0], 0));
    assert_eq!(call.bled(peer()), 500);
}

#[test]
fn injection_with_the_right_numbers_from_a_wrong_address_is_refused() {
    let mut call = Call::new(config());
    let mut real = Voice::new(5, 100, PEER);
    let mut copy = Voice::new(5, 101, STRANGER);
    for _ in 0..300 {
        call.receive(peer(), real.packet());
        // Right SSRC, right number and timestamp, a moment before the real one.
        call.receive(stranger(), copy.packet());
        call.tick();
    }
    let [heard, injected] = call.voices();
    assert!(heard > 290 && injected == 0, "{heard}, {injected}");
    assert_eq!((call.bled(stranger()), call.leg.figures().strangers), (0, 300));
}

#[test]
fn another_ssrc_from_a_forged_address_does_not_take_the_stream_over() {
    let mut call = Call::new(config());
    let (mut real, mut forged) = (Voice::new(5, 100, PEER), Voice::new(99, 500, STRANGER));
    for _ in 0..300 {
        call.receive(peer(), real.packet());
        (0..5).for_each(|_| call.receive(peer(), forged.packet()));
        call.tick();
    }
    let [heard, injected] = call.voices();
    assert!(heard > 290 && injected < 5, "{heard}, {injected}");
}

#[test]
fn a_flood_of_garbage_costs_little_and_ends_nothing() {
    let mut call = Call::new(config());
    let mut real = Voice::new(5, 100, PEER);
    let mut garbage: Vec<Vec<u8>> = Vec::new();
    let mut state = 1u32;
    for n in 0..256usize {
        let mut octets = vec![0; n * 5 % 1_400];
        for octet in &mut octets {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *octet = (state >> 24) as u8;
        }
        // A third looks like RTP, a third like RTCP.
        if let Some(first) = octets.first_mut().filter(|_| n % 3 > 0) {
            *first = 0x80;
        }
        if let Some(second) = octets.get_mut(1).filter(|_| n % 3 == 2) {
            *second = 200 + (n % 5) as u8;
        }
        garbage.push(octets);
    }
    let mut spent = std::time::Duration::ZERO;
    let mut buffer = [0; 1_400];
    for _ in 0..300 {
        call.receive(peer(), real.packet());
        let now = call.now();
        let start = Instant::now();
        for octets in &garbage {
            for from in [stranger(), peer()] {
                let one = &mut buffer[..octets.len()];
                one.copy_from_slice(octets);
                call.leg.handle_rtp(now, from, one);
                one.copy_from_slice(octets);
                call.leg.handle_rtcp(now, from, one);
            }
        }
        spent += start.elapsed();
        call.tick();
    }
    let [heard, _] = call.voices();
    assert!(heard > 280, "{heard}, {:?}", call.leg.figures());
    let each = spent.as_nanos() / (300 * 1_024);
    assert!(each < 20_000, "{each} ns for a datagram of garbage");
}

#[test]
fn a_goodbye_of_a_neighbour_ends_nothing() {
    let mut call = Call::new(config());
    let mut real = Voice::new(5, 100, PEER);
    let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
    let goodbye = |ssrc: u32| {
        let mut session = RtcpSession::new(ssrc, "x", 1, MediaTime::ZERO);
        let sender = Sender::new(ssrc, 1, 1, 8_000).figures();
        session.bye(MediaTime::ZERO, NtpTime::default(), &sender, &mut receiver)
    };
    let goodbyes = [5, 6, 77].map(goodbye);
    for n in 0..300 {
        call.receive(peer(), real.packet());
        if n > 50 {
            for from in [stranger(), ([203, 0, 113, 5], 4_001).into(), peer()] {
                for goodbye in &goodbyes {
                    let now = call.now();
                    call.leg.handle_rtcp(now, from, &mut goodbye.clone());
                }
            }
        }
        call.tick();
    }
    assert!(call.voices()[0] > 290);
    assert!(!call.events.iter().any(|event| matches!(event, LegEvent::Closed { .. })));
    assert_eq!(call.bled(peer()), 300);
}

#[test]
fn ports_that_are_all_taken_are_refused_and_come_back() {
    let host = [127, 0, 0, 1].into();
    // Other programs hold ports too: the first stretch that is free as a whole.
    let stretch = |n: u16| {
        let pool = PortPool::new(12_000 + 40 * n..=12_039 + 40 * n).expect("pairs");
        let pairs: Option<Vec<_>> = (0..pool.capacity()).map(|_| pool.bind(host).ok()).collect();
        Some((pool, pairs?))
    };
    let (pool, mut pairs) = (0..100).find_map(stretch).expect("forty free ports in a row");
    for _ in 0..3 {
        for _ in 0..100 {
            assert!(matches!(pool.bind(host), Err(PortError::Exhausted { .. })));
        }
        drop(pairs);
        pairs = (0..pool.capacity()).map(|_| pool.bind(host).expect("free again")).collect();
    }
}

fn keys(octet: u8) -> SrtpKeys {
    let suite = Suite::AesCm128HmacSha1_80;
    SrtpKeys::new(suite, &vec![octet; suite.key_len()], &vec![octet; suite.salt_len()])
        .expect("right lengths")
}

#[test]
fn srtp_hears_and_answers_nobody_without_the_keys() {
    let protection = Protection::Sdes { local: keys(1), remote: keys(2) };
    let link = LinkConfig { protection, ..LinkConfig::default() };
    let own = Link::new(link.clone(), MediaTime::ZERO).expect("no DTLS");
    let mut call = Call::over(config(), own);
    let mut far = Link::sdes(keys(2), keys(1));
    let mut wrong = Link::sdes(keys(3), keys(1));
    let seal = |link: &mut Link, mut packet: Vec<u8>| {
        let length = packet.len();
        packet.resize(length + antiphon_media_link::OVERHEAD, 0);
        let length = link.protect_rtp(&mut packet, length).expect("sealed");
        packet.truncate(length);
        packet
    };
    let (mut real, mut forged) = (Voice::new(5, 65_400, PEER), Voice::new(5, 65_400, STRANGER));
    let mut kept = Vec::new();
    for n in 0..300 {
        // Before and beside the peer: plain packets, packets of other keys, and the peer's own again.
        let (plain, other) = (forged.packet(), forged.packet());
        call.receive(stranger(), plain);
        let other = seal(&mut wrong, other);
        (0..3).for_each(|_| call.receive(stranger(), other.clone()));
        if n > 20 {
            let packet = seal(&mut far, real.packet());
            kept.push(packet.clone());
            call.receive(peer(), packet);
        }
        if let Some(again) = kept.first().filter(|_| n > 30) {
            call.receive(stranger(), again.clone());
        }
        // A re-INVITE that repeats the keys resets nothing, neither before nor behind the roll-over at 65,535.
        if n % 100 == 50 {
            let now = call.now();
            call.leg.command(now, LegCommand::Link { link: Box::new(link.clone()), rtcp_mux: false });
        }
        call.tick();
    }
    let [heard, injected] = call.voices();
    assert!(heard > 270 && injected == 0, "{heard}, {injected}");
    assert_eq!(call.bled(stranger()), 0);
    let figures = call.leg.figures();
    assert!(figures.forged > 1_000, "{figures:?}");
    assert_eq!((figures.received, figures.lost), (279, 0), "{figures:?}");
    assert!(!call.events.iter().any(|event| matches!(event, LegEvent::Closed { .. })));
}
