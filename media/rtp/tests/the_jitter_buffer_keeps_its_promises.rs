//! Order, delay, loss and recovery of the jitter buffer.

mod stream;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_rtp::{Pull, Received, Receiver, ReceiverConfig, RtpPacket};
use antiphon_media_testkit::Impairment;
use proptest::prelude::*;
use stream::{Step, Stream, steady};

fn clean() -> Impairment {
    Impairment { delay: Span::from_millis(30), ..Impairment::default() }
}

#[test]
fn a_clean_stream_plays_every_packet_once_in_order() {
    let mut stream = Stream::new(1, 0.0, clean());
    // Long enough that sequence numbers (and the timestamps, which start near the end) wrap.
    stream.run(Span::from_secs(1_400), steady(160));
    let played: Vec<_> = stream.outputs.iter().map(|output| output.played).collect();
    assert!(played.iter().enumerate().all(|(n, played)| *played == Some(n as u32)));
    let figures = stream.receiver.figures();
    assert!(figures.received > 69_990, "{figures:?}");
    assert_eq!((figures.lost, figures.late, figures.dropped, figures.concealed_ticks), (0, 0, 0, 0));
    assert!(figures.delay <= Span::from_millis(80), "{figures:?}");
}

#[test]
fn every_packet_time_from_10_to_60_ms_works_and_may_change() {
    for ticks in [80, 160, 240, 320, 480] {
        let mut stream = Stream::new(2, 0.0, clean());
        stream.run(Span::from_secs(20), steady(ticks));
        let figures = stream.receiver.figures();
        assert_eq!(
            (figures.lost, figures.late, figures.dropped, figures.concealed_ticks),
            (0, 0, 0, 0),
            "{ticks}"
        );
        assert!(figures.delay <= Span::from_millis(150), "{ticks}: {figures:?}");
    }
    let mut stream = Stream::new(3, 0.0, clean());
    let sizes = [160, 480, 80, 240];
    stream.run(Span::from_secs(40), |local| Step {
        ticks: sizes[(local.millis() / 2_000) as usize % sizes.len()],
        talks: true,
    });
    let played = stream.outputs.iter().filter(|output| output.played.is_some()).count();
    assert!(played + 10 > stream.captured.len(), "{played} of {}", stream.captured.len());
    for pair in stream.outputs.windows(2) {
        let end = pair[0].at + Span::from_nanos(u64::from(pair[0].ticks) * 125_000);
        assert!(pair[1].at.offset_from(end) > -1_000_001, "{pair:?}");
    }
}

#[test]
fn a_lost_packet_is_concealed_in_its_place() {
    let lossy = Impairment { loss: 0.05, ..clean() };
    let mut stream = Stream::new(4, 0.0, lossy);
    stream.run(Span::from_secs(60), steady(160));
    let figures = stream.receiver.figures();
    assert!((100..200).contains(&figures.lost), "{figures:?}");
    assert_eq!(figures.concealed_ticks, figures.lost * 160);
    for pair in stream.outputs.windows(2) {
        assert!((pair[1].at.offset_from(pair[0].at) - 20_000_000).abs() < 1_000, "{pair:?}");
    }
}

#[test]
fn a_pause_of_the_sender_is_no_loss() {
    let mut stream = Stream::new(5, 0.0, clean());
    stream.run(Span::from_secs(60), |local| Step { ticks: 160, talks: local.millis() % 4_000 < 2_000 });
    let figures = stream.receiver.figures();
    assert_eq!((figures.lost, figures.late), (0, 0));
    // The end of a talkspurt is not announced: at most 100 ms are made up for each of the fifteen.
    assert!(figures.concealed_ticks <= 16 * 800, "{figures:?}");
    assert!(stream.errors_ms(Span::from_millis(30)).iter().all(|(_, error)| error.abs() < 1.0));
}

#[test]
fn jitter_raises_the_delay_until_hardly_a_packet_is_late() {
    let jittery = Impairment { jitter: Span::from_millis(120), ..clean() };
    let mut stream = Stream::new(6, 0.0, jittery);
    stream.run(Span::from_secs(30), steady(160));
    let early = stream.receiver.figures();
    stream.run(Span::from_secs(60), steady(160));
    let figures = stream.receiver.figures();
    assert!(figures.late - early.late <= 30, "{early:?} then {figures:?}");
    assert!(figures.target_delay >= Span::from_millis(60), "{figures:?}");
    assert!(figures.delay <= Span::from_millis(200), "{figures:?}");
}

#[test]
fn a_stall_never_becomes_permanent_delay() {
    for (stall_ms, delay_after_ms) in [(150, 120), (1_000, 120), (5_000, 120)] {
        let mut stream = Stream::new(7, 0.0, clean());
        stream.run(Span::from_secs(20), steady(160));
        stream.network.impair(Impairment { delay: Span::from_millis(30 + stall_ms), ..clean() });
        stream.run(Span::from_millis(40), steady(160));
        stream.network.impair(clean());
        // The queue behind the stall arrives at once; within two seconds after it the delay is back.
        stream.run(Span::from_millis(stall_ms + 2_000), steady(160));
        let delay = stream.receiver.figures().delay;
        let target = stream.receiver.figures().target_delay;
        let bound = (target + Span::from_millis(60)).max(Span::from_millis(delay_after_ms));
        assert!(delay <= bound, "{stall_ms} ms of stall left {delay} (target {target})");
        stream.run(Span::from_secs(60), steady(160));
        let delay = stream.receiver.figures().delay;
        assert!(delay <= Span::from_millis(delay_after_ms), "{stall_ms} ms of stall left {delay}");
        assert!(
            stream
                .outputs
                .iter()
                .all(|o| o.played.is_none() || o.pulled.offset_from(o.at) <= 200_000_000 + 21_000_000)
        );
    }
}

#[test]
fn in_silence_the_excess_goes_at_once() {
    let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
    let mut number = 0u16;
    let mut send = |receiver: &mut Receiver, now: i64| {
        let packet = RtpPacket {
            payload_type: 0,
            marker: false,
            sequence: number,
            timestamp: u32::from(number) * 160,
            ssrc: 1,
            payload: &[0; 160],
        };
        number += 1;
        receiver.receive(MediaTime::from_millis(now), packet, 160)
    };
    for n in 0..100 {
        assert_eq!(send(&mut receiver, n * 20), Received::Queued);
        receiver.pull(MediaTime::from_millis(n * 20));
    }
    // The plane misses four pulls.
    for n in 100..104 {
        send(&mut receiver, n * 20);
    }
    assert_eq!(receiver.figures().dropped, 0);
    receiver.set_quiet(true);
    send(&mut receiver, 104 * 20);
    receiver.pull(MediaTime::from_millis(104 * 20));
    let figures = receiver.figures();
    assert!(figures.dropped >= 3, "{figures:?}");
    assert!(figures.delay <= Span::from_millis(60), "{figures:?}");
}

#[test]
fn clocks_that_drift_neither_fill_nor_starve_the_buffer() {
    for ppm in [-500.0, 500.0] {
        let mut stream = Stream::new(8, ppm, clean());
        stream.run(Span::from_secs(600), steady(160));
        let figures = stream.receiver.figures();
        assert!(figures.delay <= Span::from_millis(120), "{figures:?}");
        // 600 s at 500 ppm are 15 packets.
        assert!(figures.dropped <= 20 && figures.late == 0, "{ppm}: {figures:?}");
        assert!(figures.concealed_ticks <= 20 * 160, "{ppm}: {figures:?}");
    }
}

#[test]
fn events_between_audio_are_not_lost_packets() {
    let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
    for n in 0..100u16 {
        let event = (40..60).contains(&n);
        let packet = RtpPacket {
            payload_type: if event { 101 } else { 0 },
            marker: false,
            sequence: n,
            timestamp: if event { 40 * 160 } else { u32::from(n) * 160 },
            ssrc: 1,
            payload: &[0; 160],
        };
        let now = MediaTime::from_millis(i64::from(n) * 20);
        let got = receiver.receive(now, packet, if event { 0 } else { 160 });
        assert_eq!(got, if event { Received::NoAudio } else { Received::Queued });
        receiver.pull(now);
    }
    let figures = receiver.figures();
    assert_eq!((figures.lost, figures.late, figures.received), (0, 0, 100));
    assert!(figures.concealed_ticks <= 800, "{figures:?}");
}

#[test]
fn silence_is_settled_behind_what_may_still_be_played() {
    let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
    let now = MediaTime::from_millis;
    assert_eq!(receiver.pull(now(0)), Pull::Wait);
    assert_eq!(receiver.settled(now(0)), now(0));
    let mut last = now(0);
    for n in 0..500i64 {
        let talks = n % 100 < 50;
        if talks {
            let packet = RtpPacket {
                payload_type: 0,
                marker: n % 100 == 0,
                sequence: (n / 100 * 50 + n % 100) as u16,
                timestamp: n as u32 * 160,
                ssrc: 1,
                payload: &[0; 160],
            };
            assert_eq!(receiver.receive(now(n * 20), packet, 160), Received::Queued);
        }
        match receiver.pull(now(n * 20)) {
            Pull::Play { at, .. } | Pull::Conceal { at, .. } => {
                assert!(at.offset_from(last) > -1_000_000, "{at} after {last}");
                last = at + Span::from_millis(20);
            }
            Pull::Wait => {
                let settled = receiver.settled(now(n * 20));
                assert!(settled >= last, "{settled} after {last}");
                assert!(settled <= now(n * 20));
                last = settled;
            }
        }
    }
    assert!(last > now(499 * 20 - 120), "silence goes on in the pause: {last}");
}

#[derive(Clone, Debug)]
enum Operation {
    Receive { sequence: i16, timestamp_off: i32, ticks: u32, size: usize, ssrc: u32 },
    Pull,
    Advance(u16),
    Quiet(bool),
    Settle,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (-5i16..8, prop_oneof![9 => Just(0i32), 1 => any::<i32>()], prop_oneof![Just(80u32), Just(160), Just(480), Just(0)],
            0usize..1_600, prop_oneof![30 => Just(1u32), 1 => Just(2u32)])
            .prop_map(|(sequence, timestamp_off, ticks, size, ssrc)| Operation::Receive { sequence, timestamp_off, ticks, size, ssrc }),
        8 => Just(Operation::Pull),
        8 => (0u16..60).prop_map(Operation::Advance),
        1 => any::<bool>().prop_map(Operation::Quiet),
        1 => Just(Operation::Settle),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_times_are_monotone_and_packets_accounted_for(
        operations in proptest::collection::vec(operation(), 1..400),
        start in any::<u16>(),
    ) {
        let mut receiver = Receiver::new(ReceiverConfig::new(8_000));
        let mut now = MediaTime::ZERO;
        let mut next = start;
        let mut last = MediaTime::from_nanos(i64::MIN);
        let (mut queued, mut late, mut played) = (0u64, 0u64, 0u64);
        for operation in operations {
            match operation {
                Operation::Receive { sequence, timestamp_off, ticks, size, ssrc } => {
                    let number = next.wrapping_add_signed(sequence);
                    let timestamp = u32::from(number.wrapping_sub(start)).wrapping_mul(160).wrapping_add_signed(timestamp_off);
                    let payload = vec![0; size];
                    let packet = RtpPacket { payload_type: 0, marker: size % 7 == 0, sequence: number, timestamp, ssrc, payload: &payload };
                    match receiver.receive(now, packet, ticks) {
                        Received::Queued => queued += 1,
                        Received::Late => late += 1,
                        Received::NoAudio => prop_assert_eq!(ticks, 0),
                        _ => {}
                    }
                    next = next.wrapping_add(1);
                }
                Operation::Pull => match receiver.pull(now) {
                    Pull::Play { at, ticks, .. } => {
                        prop_assert!(at >= last, "{at} after {last}");
                        prop_assert!(ticks > 0);
                        last = at;
                        played += 1;
                        let figures = receiver.figures();
                        prop_assert!(figures.delay <= Span::from_millis(200), "{figures:?}");
                    }
                    Pull::Conceal { at, ticks, .. } => {
                        prop_assert!(at >= last && ticks <= 800, "{at} after {last}");
                        last = at;
                    }
                    Pull::Wait => {}
                },
                Operation::Advance(millis) => now += Span::from_millis(u64::from(millis)),
                Operation::Quiet(quiet) => receiver.set_quiet(quiet),
                Operation::Settle => {
                    receiver.settled(now);
                }
            }
            let figures = receiver.figures();
            prop_assert_eq!(figures.played, played);
            prop_assert_eq!(figures.late, late);
            prop_assert_eq!(queued, figures.played + figures.dropped + figures.buffered as u64);
        }
    }

    #[test]
    fn on_a_bad_network_every_packet_in_time_is_played_once(
        seed: u64, loss in 0.0f64..0.2, jitter in 0u64..80, reorder in 0.0f64..0.1, duplicate in 0.0f64..0.1,
        ppm in -300.0f64..300.0,
    ) {
        let bad = Impairment { loss, jitter: Span::from_millis(jitter), reorder, duplicate, ..clean() };
        let mut stream = Stream::new(seed, ppm, bad);
        stream.run(Span::from_secs(20), steady(160));
        let numbers: Vec<_> = stream.outputs.iter().filter_map(|output| output.played).collect();
        prop_assert!(numbers.windows(2).all(|w| w[0] < w[1]), "in order, once");
        let figures = stream.receiver.figures();
        prop_assert_eq!(numbers.len() as u64, figures.played);
        prop_assert_eq!(figures.received, figures.played + figures.late + figures.dropped + figures.stray + figures.buffered as u64);
        let heard = numbers.len() as f64 / stream.captured.len() as f64;
        prop_assert!(heard > 1.0 - loss - 0.12, "{heard} heard at {loss} loss: {figures:?}");
        prop_assert!(stream.now() >= MediaTime::from_millis(20_000));
    }
}
