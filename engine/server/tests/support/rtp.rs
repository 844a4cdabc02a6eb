//! A bare RTP endpoint (RFC 3550) for SIPp's calls: notes what comes, answers with a tone in µ-law.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{HOST, free_port};

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
}

/// An endpoint on a port of its own.
pub(crate) struct Rtp {
    port: u16,
    packets: Arc<Mutex<Vec<Packet>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
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
        let (packets, stop) = (Arc::default(), Arc::default());
        let (kept, stopping) = (Arc::clone(&packets), Arc::clone(&stop));
        let thread = thread::spawn(move || run(&socket, answer, &kept, &stopping));
        Self { port, packets, stop, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn packets(&self) -> Vec<Packet> {
        self.packets.lock().expect("no panic while receiving").clone()
    }
}

impl Drop for Rtp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(socket: &UdpSocket, answer: Answer, packets: &Mutex<Vec<Packet>>, stop: &AtomicBool) {
    let mut buffer = [0; 2_048];
    let mut peer = None;
    let (mut sequence, mut timestamp, mut due) = (0_u16, 0_u32, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer)
            && length >= 12
            && buffer[0] >> 6 == 2
        {
            let packet = Packet {
                from,
                payload_type: buffer[1] & 0x7f,
                sequence: u16::from_be_bytes([buffer[2], buffer[3]]),
                timestamp: u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]),
                payload_bytes: length - 12,
            };
            packets.lock().expect("no panic while receiving").push(packet);
            if peer.is_none() {
                due = Instant::now();
            }
            peer = Some(from);
        }
        let (Some(peer), Answer::Tone { ptime_ms }) = (peer, answer) else { continue };
        while Instant::now() >= due {
            let samples = ptime_ms * 8;
            let mut packet = vec![0x80, 0];
            packet.extend(sequence.to_be_bytes());
            packet.extend(timestamp.to_be_bytes());
            packet.extend(0x5eed_u32.to_be_bytes());
            packet.extend((0..u32::from(samples)).map(|n| mu_law(tone(timestamp.wrapping_add(n)))));
            // A call that has just ended takes no more.
            let _ = socket.send_to(&packet, peer);
            sequence = sequence.wrapping_add(1);
            timestamp = timestamp.wrapping_add(samples.into());
            due += Duration::from_millis(ptime_ms.into());
        }
    }
}

/// 400 Hz at 8 kHz: the twenty samples of a period, over and over.
fn tone(n: u32) -> i16 {
    let phase = f64::from(n % 20) / 20.0 * std::f64::consts::TAU;
    (phase.sin() * 8_000.0) as i16
}

/// ITU-T G.711, µ-law.
fn mu_law(sample: i16) -> u8 {
    let magnitude = (u32::from(sample.unsigned_abs()) + 132).min(32_767);
    let segment = magnitude.ilog2() - 7;
    let code = segment << 4 | (magnitude >> (segment + 3) & 0x0f);
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(code as u8 | sign)
}
