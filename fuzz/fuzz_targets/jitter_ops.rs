//! Any order of packets and pulls on a receiver: places never run backwards and nothing is pulled for ever.
#![no_main]

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_rtp::{Pull, Receiver, ReceiverConfig, RtpPacket};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const CLOCK_HZ: u32 = 8_000;

#[derive(Arbitrary, Debug)]
enum Op {
    /// The next packet of an ordinary sender, some milliseconds later.
    Next {
        after_ms: u8,
        marker: bool,
    },
    /// A packet that lies anywhere.
    Stray {
        after_ms: u8,
        sequence: i16,
        timestamp: i32,
        ticks: u16,
        marker: bool,
        octets: u8,
    },
    /// The sender starts again from another source.
    Restart {
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
    },
    /// Time passes.
    Wait {
        ms: u16,
    },
    /// All that is due is pulled.
    Pull,
    /// Silence is written.
    Settle,
    Quiet(bool),
}

fuzz_target!(|ops: Vec<Op>| {
    let config = ReceiverConfig::new(CLOCK_HZ);
    let slots = config.jitter.slots;
    let mut receiver = Receiver::new(config);
    let (mut ssrc, mut sequence, mut timestamp) = (1u32, 0u16, 0u32);
    let mut now = MediaTime::ZERO;
    let mut placed: Option<MediaTime> = None;
    let payload = [0u8; 256];
    for op in ops.iter().take(2_000) {
        match *op {
            Op::Next { after_ms, marker } => {
                now += Span::from_millis(u64::from(after_ms));
                sequence = sequence.wrapping_add(1);
                timestamp = timestamp.wrapping_add(160);
                let packet = RtpPacket {
                    payload_type: 0,
                    marker,
                    sequence,
                    timestamp,
                    ssrc,
                    payload: &payload[..160],
                };
                receiver.receive(now, packet, 160);
            }
            Op::Stray { after_ms, sequence: number, timestamp: place, ticks, marker, octets } => {
                now += Span::from_millis(u64::from(after_ms));
                let packet = RtpPacket {
                    payload_type: 0,
                    marker,
                    sequence: sequence.wrapping_add_signed(number),
                    timestamp: timestamp.wrapping_add_signed(place),
                    ssrc,
                    payload: &payload[..usize::from(octets)],
                };
                receiver.receive(now, packet, u32::from(ticks));
            }
            Op::Restart { ssrc: source, sequence: number, timestamp: place } => {
                (ssrc, sequence, timestamp) = (source, number, place);
            }
            Op::Wait { ms } => now += Span::from_millis(u64::from(ms)),
            Op::Pull => drain(&mut receiver, now, &mut placed),
            Op::Settle => {
                drain(&mut receiver, now, &mut placed);
                let settled = receiver.settled(now);
                if let Some(end) = placed {
                    assert!(settled + slack() >= end, "silence to {settled} over what was placed to {end}");
                }
                placed = placed.max(Some(settled));
            }
            Op::Quiet(quiet) => receiver.set_quiet(quiet),
        }
        let figures = receiver.figures();
        assert!(figures.buffered <= slots);
        assert!((0.0..=1.0).contains(&figures.loss()), "loss of {}", figures.loss());
    }
});

/// Drift is corrected by eight ticks at most.
fn slack() -> Span {
    Span::from_nanos(9 * 1_000_000_000 / u64::from(CLOCK_HZ))
}

fn drain(receiver: &mut Receiver, now: MediaTime, placed: &mut Option<MediaTime>) {
    for _ in 0..1_000 {
        let (at, ticks) = match receiver.pull(now) {
            Pull::Play { at, ticks, .. } | Pull::Conceal { at, ticks, .. } => (at, ticks),
            Pull::Wait => return,
        };
        if let Some(end) = *placed {
            assert!(at + slack() >= end, "a place at {at} after one that ended at {end}");
        }
        *placed = (*placed)
            .max(Some(at + Span::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(CLOCK_HZ))));
    }
    panic!("something is always due");
}
