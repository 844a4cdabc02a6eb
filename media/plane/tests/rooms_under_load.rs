//! Many rooms on several shards while the machine has far too much to do: everybody is heard by everybody else, however
//! the commands of joining came to lie across the shards.
#![expect(clippy::disallowed_methods, reason = "sockets live in real time")]

use std::f64::consts::TAU;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use antiphon_media_codec::{CodecKind, Decoder, Encoder};
use antiphon_media_frame::{Direction, MediaTime, SampleRate};
use antiphon_media_plane::{
    HearId, Leg, LegCommand, LegConfig, LegHandle, PortPool, ShardConfig, Shards, TapId, Taps, bridge_ring,
};
use antiphon_media_rtp::{Sender, is_rtcp, parse};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: usize = 8;
/// One tone a member.
const TONES: [f64; 4] = [500.0, 900.0, 1_300.0, 1_700.0];
/// Threads that do nothing, as fast as they can, for each processor.
const BUSY: usize = 4;
/// A member who is not heard by then is not heard at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Samples that are listened to: 0.8 s.
const KEPT: usize = 6_400;

/// A telephone that says its tone and keeps the last second of what it hears.
struct Phone {
    socket: UdpSocket,
    heard: Mutex<Vec<i16>>,
}

impl Phone {
    fn ring(tone: f64, leg: SocketAddr, socket: UdpSocket, stop: &Arc<AtomicBool>) -> Arc<Self> {
        socket.set_nonblocking(true).expect("set");
        let phone = Arc::new(Self { socket, heard: Mutex::default() });
        let (talking, stop) = (Arc::clone(&phone), Arc::clone(stop));
        thread::spawn(move || talking.talk(tone, leg, &stop));
        phone
    }

    fn talk(&self, tone: f64, leg: SocketAddr, stop: &AtomicBool) {
        let mut encoder = Encoder::new(CodecKind::Pcmu);
        let mut decoder = Decoder::new(CodecKind::Pcmu);
        let mut sender = Sender::new(tone as u32, 1, 1, 8_000);
        let (mut due, mut n) = (Instant::now(), 0u32);
        let (mut payload, mut buffer) = ([0; 160], [0; 2_048]);
        while !stop.load(Ordering::Relaxed) {
            while Instant::now() >= due {
                let sample = |k: u32| (3_277.0 * (TAU * tone * f64::from(n + k) / 8_000.0).sin()) as i16;
                let pcm: Vec<i16> = (0..160).map(sample).collect();
                let length = encoder.encode(&pcm, &mut payload).expect("G.711 has room");
                let packet = sender.packet(0, 160, &payload[..length]);
                let written = packet.write(&mut buffer).expect("it fits");
                // A leg that is gone takes no more.
                let _ = self.socket.send_to(&buffer[..written], leg);
                n += 160;
                due += Duration::from_millis(20);
            }
            while let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
                let datagram = &buffer[..length];
                if let (false, Ok(packet)) = (is_rtcp(datagram), parse(datagram)) {
                    let mut heard = self.heard.lock().expect("no panic while listening");
                    let mut pcm = [0; 320];
                    let length = decoder.decode(packet.payload, &mut pcm).expect("a packet of 20 ms");
                    heard.extend_from_slice(&pcm[..length]);
                    let surplus = heard.len().saturating_sub(KEPT);
                    heard.drain(..surplus);
                }
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Forgets what was heard so far.
    fn forget(&self) {
        self.heard.lock().expect("no panic while listening").clear();
    }

    /// Which tones are in the last 0.8 s; none before so much has come.
    fn hears(&self) -> Vec<f64> {
        let pcm = self.heard.lock().expect("no panic while listening").clone();
        if pcm.len() < KEPT {
            return Vec::new();
        }
        TONES.into_iter().filter(|tone| level(&pcm, *tone) > -38.0).collect()
    }
}

/// The level of a tone, in dB of full scale (Goertzel with a Hann window).
fn level(pcm: &[i16], hz: f64) -> f64 {
    let count = pcm.len().max(1) as f64;
    let factor = 2.0 * (TAU * hz / 8_000.0).cos();
    let (mut one, mut two) = (0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let window = 0.5 - 0.5 * (TAU * n as f64 / count).cos();
        (two, one) = (one, f64::from(*sample) * window + factor * one - two);
    }
    let power = one * one + two * two - factor * one * two;
    20.0 * (power.max(0.0).sqrt() * 4.0 / count / 32_768.0).max(1e-6).log10()
}

struct Member {
    leg: LegHandle,
    phone: Arc<Phone>,
}

/// Lays the wires between all members; `from` leaves and joins anew where it is given.
fn join(room: &[Member], wires: &mut u64, only: Option<usize>, old: &mut Vec<(usize, usize, u64)>) {
    let ours = |from: usize, to: usize| only.is_none_or(|only| from == only || to == only);
    for (from, to, number) in old.extract_if(.., |(from, to, _)| ours(*from, *to)) {
        room[to].leg.send(LegCommand::Unhear { source: HearId(number) }).expect("sent");
        room[from].leg.send(LegCommand::Untap { id: TapId(number) }).expect("sent");
    }
    for from in 0..room.len() {
        for to in (0..room.len()).filter(|to| *to != from && ours(from, *to)) {
            *wires += 1;
            let (writer, reader) = bridge_ring(SampleRate::HZ_8000);
            let tap = LegCommand::Tap { id: TapId(*wires), track: Direction::Received, writer };
            let hear = LegCommand::Hear { source: HearId(*wires), reader, gain: 1.0 };
            // Either may be first: the ring waits for both.
            if wires.is_multiple_of(2) {
                room[from].leg.send(tap).expect("sent");
                room[to].leg.send(hear).expect("sent");
            } else {
                room[to].leg.send(hear).expect("sent");
                room[from].leg.send(tap).expect("sent");
            }
            old.push((from, to, *wires));
        }
    }
}

#[test]
fn everybody_in_every_room_hears_all_others_on_a_machine_that_has_no_time() {
    let stop = Arc::new(AtomicBool::new(false));
    let threads = thread::available_parallelism().map_or(2, usize::from) * BUSY;
    for _ in 0..threads {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    let shards =
        Shards::start(&ShardConfig { name: "shard".into(), legs: ROOMS * TONES.len() }, 3).expect("threads");
    let ports = PortPool::new(44_000..=44_199).expect("pairs");
    let mut rooms: Vec<Vec<Member>> = Vec::new();
    for _ in 0..ROOMS {
        let members = TONES.map(|tone| {
            let socket = UdpSocket::bind((HOST, 0)).expect("a port");
            let remote = socket.local_addr().expect("bound");
            let pair = ports.bind(HOST).expect("free ports");
            let address = pair.address().expect("bound");
            // Some have begun to speak before their leg is there.
            let phone = Phone::ring(tone, address, socket, &stop);
            let config = LegConfig {
                remote: Some(remote),
                remote_rtcp: Some(remote),
                send: true,
                receive: true,
                ssrc: 7,
                ..LegConfig::new(CodecKind::Pcmu)
            };
            let leg = Leg::new(config, Taps::default(), MediaTime::ZERO);
            let leg = shards.add(pair, leg, Instant::now(), Box::new(|_| ())).expect("room");
            Member { leg, phone }
        });
        rooms.push(members.into());
    }
    let joined: Vec<_> = rooms
        .into_iter()
        .map(|room| {
            thread::spawn(move || {
                let (mut wires, mut laid) = (0, Vec::new());
                join(&room, &mut wires, None, &mut laid);
                // Comings and goings, each before the one before can have been heard.
                for round in 0..20 {
                    join(&room, &mut wires, Some(round % TONES.len()), &mut laid);
                    thread::sleep(Duration::from_millis(7 * (round as u64 % 3)));
                }
                room
            })
        })
        .collect();
    let rooms: Vec<_> = joined.into_iter().map(|room| room.join().expect("joined")).collect();
    rooms.iter().flatten().for_each(|member| member.phone.forget());
    let deadline = Instant::now() + PATIENCE;
    for (n, room) in rooms.iter().enumerate() {
        for (k, member) in room.iter().enumerate() {
            let others: Vec<f64> = TONES.into_iter().filter(|tone| *tone != TONES[k]).collect();
            let mut heard = member.phone.hears();
            while heard != others && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(50));
                heard = member.phone.hears();
            }
            assert_eq!(heard, others, "member {k} of room {n}; the shards: {:?}", shards.total());
        }
    }
    stop.store(true, Ordering::Relaxed);
}
