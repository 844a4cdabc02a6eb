//! A bare RTP endpoint (RFC 3550) for SIPp's calls: notes what comes, answers with a tone in G.711, presses keys.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{HOST, free_port};

/// What the way from the endpoint to the other side does to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Impairment {
    /// So many of a hundred packets are lost.
    pub(crate) loss_percent: u8,
    /// Each packet is late by up to so much: what is late by more than a packet's length is overtaken.
    pub(crate) jitter: Duration,
}

/// A packet that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload_bytes: usize,
}

/// What the endpoint sends back once it has heard from the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Nothing,
    /// A tone of 400 Hz at -12 dB, in packets of so many milliseconds.
    Tone {
        ptime_ms: u16,
    },
    /// A tone of so many hertz at -20 dB, in packets of 20 ms, over a way of this kind.
    Sine {
        hz: u16,
        way: Impairment,
    },
}

impl Answer {
    /// A tone over a way without faults.
    pub(crate) fn sine(hz: u16) -> Self {
        Self::Sine { hz, way: Impairment::default() }
    }
}

/// An endpoint on a port of its own.
pub(crate) struct Rtp {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    packets: Mutex<Vec<Packet>>,
    sound: Mutex<Vec<i16>>,
    keys: Mutex<VecDeque<u8>>,
    /// Whom to speak to before anything has come.
    peer: Mutex<Option<SocketAddr>>,
    stop: AtomicBool,
}

impl Rtp {
    pub(crate) fn bind(answer: Answer) -> Self {
        let (port, socket) = (0..100)
            .find_map(|_| {
                let port = free_port();
                UdpSocket::bind((HOST, port)).ok().map(|socket| (port, socket))
            })
            .expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(2))).expect("a valid time");
        let shared: Arc<Shared> = Arc::default();
        let kept = Arc::clone(&shared);
        let thread = thread::spawn(move || run(&socket, answer, &kept));
        Self { port, shared, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn packets(&self) -> Vec<Packet> {
        self.shared.packets.lock().expect("no panic while receiving").clone()
    }

    /// The G.711 that came, in the order in which it came; 8 kHz.
    pub(crate) fn heard(&self) -> Vec<i16> {
        self.shared.sound.lock().expect("no panic while receiving").clone()
    }

    /// The last so many seconds of what came.
    pub(crate) fn heard_last(&self, seconds: f64) -> Vec<i16> {
        let sound = self.heard();
        sound[sound.len().saturating_sub((seconds * 8_000.0) as usize)..].to_vec()
    }

    /// Speaks to this port of ours although nothing has come from there.
    pub(crate) fn speak_to(&self, port: u16) {
        *self.shared.peer.lock().expect("no panic while sending") = Some(SocketAddr::from((HOST, port)));
    }

    /// Presses a key for 100 ms as payload type 101 (RFC 4733): 0 to 9, 10 for `*`, 11 for `#`.
    pub(crate) fn press(&self, event: u8) {
        self.shared.keys.lock().expect("no panic while sending").push_back(event);
    }
}

impl Drop for Rtp {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One stream on its way out.
struct Sender {
    answer: Answer,
    /// Another one for each endpoint (RFC 3550 section 8).
    source: u32,
    /// That of the last packet that came: the one that was agreed upon.
    a_law: bool,
    sequence: u16,
    timestamp: u32,
    due: Instant,
    /// Event, and packets of it sent so far.
    key: Option<(u8, u16)>,
    /// Packets on their way: when they arrive.
    under_way: Vec<(Instant, Vec<u8>)>,
    random: u32,
}

fn run(socket: &UdpSocket, answer: Answer, shared: &Shared) {
    let mut buffer = [0; 2_048];
    let mut peer: Option<SocketAddr> = None;
    let mut sender = Sender {
        answer,
        source: rand::random(),
        a_law: false,
        sequence: 0,
        timestamp: 0,
        due: Instant::now(),
        key: None,
        under_way: Vec::new(),
        random: 0x2545_f491,
    };
    while !shared.stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer)
            && length >= 12
            && buffer[0] >> 6 == 2
            // RTCP on the same port (RFC 5761).
            && !(192..=223).contains(&buffer[1])
        {
            let packet = Packet {
                from,
                payload_type: buffer[1] & 0x7f,
                sequence: u16::from_be_bytes([buffer[2], buffer[3]]),
                timestamp: u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]),
                payload_bytes: length - 12,
            };
            shared.packets.lock().expect("no panic while receiving").push(packet);
            let payload = &buffer[12..length];
            let mut sound = shared.sound.lock().expect("no panic while receiving");
            match packet.payload_type {
                0 => sound.extend(payload.iter().map(|code| from_mu_law(*code))),
                8 => sound.extend(payload.iter().map(|code| from_a_law(*code))),
                _ => {}
            }
            drop(sound);
            if matches!(packet.payload_type, 0 | 8) {
                sender.a_law = packet.payload_type == 8;
            }
            if peer.is_none() {
                sender.due = Instant::now();
            }
            peer = Some(from);
        }
        if let Some(told) = shared.peer.lock().expect("no panic while sending").take() {
            (peer, sender.due) = (Some(told), Instant::now());
        }
        let Some(peer) = peer else { continue };
        while answer != Answer::Nothing && Instant::now() >= sender.due {
            sender.step(shared);
        }
        let now = Instant::now();
        for (_, packet) in sender.under_way.extract_if(.., |(at, _)| *at <= now) {
            // A call that has just ended takes no more.
            let _ = socket.send_to(&packet, peer);
        }
    }
}

impl Sender {
    fn step(&mut self, shared: &Shared) {
        let (ptime_ms, way) = match self.answer {
            Answer::Nothing => return,
            Answer::Tone { ptime_ms } => (ptime_ms, Impairment::default()),
            Answer::Sine { way, .. } => (20, way),
        };
        let samples = u32::from(ptime_ms) * 8;
        let key = self.key.take().or_else(|| {
            shared.keys.lock().expect("no panic while sending").pop_front().map(|event| (event, 0))
        });
        let packet = match key {
            Some((event, sent)) => {
                // Five packets of 20 ms, the last one three times (RFC 4733 section 2.5.1.4); the timestamp stays.
                let (end, duration) = (sent >= 5, (sent + 1).min(5) * 160);
                let start = self.timestamp.wrapping_sub(u32::from(sent) * samples);
                let marker = if sent == 0 { 0x80 } else { 0 };
                let mut packet = self.header(101 | marker, start);
                packet.extend([event, if end { 0x8a } else { 0x0a }]);
                packet.extend(duration.to_be_bytes());
                self.key = (sent < 7).then_some((event, sent + 1));
                packet
            }
            None => {
                let mut packet = self.header(if self.a_law { 8 } else { 0 }, self.timestamp);
                for n in 0..samples {
                    let sample = self.sample(self.timestamp.wrapping_add(n));
                    packet.push(if self.a_law { a_law(sample) } else { mu_law(sample) });
                }
                packet
            }
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(samples);
        let lost = self.random(100) < u32::from(way.loss_percent);
        let late = self.random(way.jitter.as_millis() as u32 + 1);
        if !lost {
            self.under_way.push((self.due + Duration::from_millis(late.into()), packet));
        }
        self.due += Duration::from_millis(ptime_ms.into());
    }

    fn header(&self, payload_type: u8, timestamp: u32) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.source.to_be_bytes());
        packet
    }

    fn sample(&self, n: u32) -> i16 {
        let (hz, peak) = match self.answer {
            Answer::Sine { hz, .. } => (f64::from(hz), 3_277.0),
            _ => (400.0, 8_000.0),
        };
        let phase = f64::from(n % 8_000) * hz / 8_000.0 * std::f64::consts::TAU;
        (phase.sin() * peak) as i16
    }

    /// 0 up to, without, `below`: the same row in every run (xorshift).
    fn random(&mut self, below: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random % below
    }
}

/// ITU-T G.711, µ-law.
fn mu_law(sample: i16) -> u8 {
    let magnitude = (u32::from(sample.unsigned_abs()) + 132).min(32_767);
    let segment = magnitude.ilog2() - 7;
    let code = segment << 4 | (magnitude >> (segment + 3) & 0x0f);
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(code as u8 | sign)
}

fn from_mu_law(code: u8) -> i16 {
    let code = !code;
    let (segment, step) = (code >> 4 & 7, i32::from(code & 0x0f));
    let magnitude = (((step << 3) + 132) << segment) - 132;
    (if code & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

/// ITU-T G.711, A-law.
fn a_law(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0, !sample as u16) } else { (0x80, sample as u16) };
    let magnitude = magnitude >> 3;
    let segment = if magnitude < 32 { 0 } else { magnitude.ilog2() - 4 };
    let step = magnitude >> segment.max(1) & 0x0f;
    (sign | (segment as u8) << 4 | step as u8) ^ 0x55
}

fn from_a_law(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = (code >> 4 & 7, i32::from(code & 0x0f) << 4);
    let magnitude = if segment == 0 { step + 8 } else { (step + 264) << (segment - 1) };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

#[test]
fn what_the_endpoint_says_it_hears_as_said() {
    for sample in [0, 5, -5, 100, -100, 1_000, -1_000, 8_000, -8_000, 30_000, -30_000_i16] {
        for back in [from_mu_law(mu_law(sample)), from_a_law(a_law(sample))] {
            let off = (i32::from(back) - i32::from(sample)).abs();
            assert!(off <= i32::from(sample.unsigned_abs()) / 16 + 16, "{sample} comes back as {back}");
        }
    }
}
