//! Positions on the call's clock stay true for an hour, whatever clocks and network do.

mod stream;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_rtp::TimeMap;
use antiphon_media_testkit::Impairment;
use stream::{Step, Stream, steady};

fn worst(errors: &[(MediaTime, f64)], after_s: i64) -> f64 {
    let late = errors.iter().filter(|(at, _)| at.millis() >= after_s * 1_000);
    late.map(|(_, error)| error.abs()).fold(0.0, f64::max)
}

const DELAY: Span = Span::from_millis(30);

#[test]
fn an_hour_of_drift_jitter_loss_and_pauses_keeps_5_ms() {
    for ppm in [-200.0, 200.0] {
        let bad = Impairment {
            loss: 0.02,
            burst_loss: 0.01,
            jitter: Span::from_millis(40),
            reorder: 0.01,
            duplicate: 0.01,
            delay: DELAY,
        };
        let mut stream = Stream::new(11, ppm, bad);
        // Talks four seconds of seven.
        stream
            .run(Span::from_secs(3_600), |local| Step { ticks: 160, talks: local.millis() % 7_000 < 4_000 });
        assert_eq!(stream.now().millis(), 3_600_000);
        let errors = stream.errors_ms(DELAY);
        assert!(errors.len() > 90_000, "{} played", errors.len());
        let (all, settled) = (worst(&errors, 0), worst(&errors, 60));
        assert!(all < 20.0, "{all} ms off at {ppm} ppm");
        assert!(settled < 5.0, "{settled} ms off at {ppm} ppm after a minute, {all} in all");
        let drift = stream.receiver.figures().drift_ppm;
        assert!((drift + ppm).abs() < 30.0, "{drift} ppm measured of {}", -ppm);
    }
}

#[test]
fn ten_minutes_at_500_ppm_keep_one_frame() {
    for ppm in [-500.0, 500.0] {
        let jitter = Impairment { jitter: Span::from_millis(60), delay: DELAY, ..Impairment::default() };
        let mut stream = Stream::new(5, ppm, jitter);
        stream.run(Span::from_secs(600), steady(160));
        // In the first moments nobody can tell 60 ms of jitter from 60 ms of path.
        let off = worst(&stream.errors_ms(DELAY), 2);
        assert!(off < 20.0, "{off} ms off at {ppm} ppm");
    }
}

#[test]
fn a_delayed_first_packet_does_not_offset_the_track() {
    let mut map = TimeMap::new(8_000);
    let mut end = 0.0;
    for n in 0..500i64 {
        // The first packet comes 150 ms late, together with those after it.
        let sent = MediaTime::from_millis(n * 20);
        let arrived = sent.max(MediaTime::from_millis(150));
        let placed = map.observe(arrived, 1, n as u32 * 160, 160, n == 0, true).expect("in order");
        if n >= 8 {
            end = map.place(placed.position - 8 * 160, 160).offset_from(MediaTime::from_millis((n - 8) * 20))
                as f64;
            assert!(end.abs() < 1e6, "{end} ns off at packet {n}");
        }
    }
    assert!(end.abs() < 1e3);
}

#[test]
fn a_correction_is_never_heard_as_a_jump() {
    let jitter = Impairment { jitter: Span::from_millis(60), delay: DELAY, ..Impairment::default() };
    let mut stream = Stream::new(6, 300.0, jitter);
    stream.run(Span::from_secs(120), steady(160));
    let mut joined = 0;
    for pair in stream.outputs.windows(2) {
        let step = pair[1].at.offset_from(pair[0].at + Span::from_nanos(u64::from(pair[0].ticks) * 125_000));
        // Dropping to drain leaves whole packets out; everything else joins within a millisecond.
        if step < 15_000_000 {
            assert!(step.abs() <= 1_000_000, "{step} ns between two packets");
            joined += 1;
        }
    }
    assert!(joined > 5_500, "{joined}");
}

#[test]
fn after_a_minute_of_silence_the_track_is_where_it_should_be() {
    let mut stream = Stream::new(8, 200.0, Impairment { delay: DELAY, ..Impairment::default() });
    stream.run(Span::from_secs(200), |local| Step {
        ticks: 160,
        talks: !(60_000..180_000).contains(&local.millis()),
    });
    let off = worst(&stream.errors_ms(DELAY), 0);
    assert!(off < 5.0, "{off} ms off");
}

#[test]
fn timestamps_that_jump_are_joined_by_arrival() {
    let mut map = TimeMap::new(8_000);
    let mut last = MediaTime::from_millis(-20);
    let mut jumps = 0;
    for n in 0..400i64 {
        let timestamp = match n {
            0..100 => n as u32 * 160,
            100..200 => 0x9000_0000u32.wrapping_add(n as u32 * 160),
            200..300 => 12_345u32.wrapping_add(n as u32 * 160),
            _ => n as u32 * 160 + 77,
        };
        let ssrc = if n < 300 { 1 } else { 2 };
        let now = MediaTime::from_millis(n * 20);
        let placed = map.observe(now, ssrc, timestamp, 160, false, true).expect("fresh");
        jumps += i32::from(placed.reanchored);
        let at = map.place(placed.position, 160);
        assert!(at.offset_from(now).abs() < 2_000_000, "packet {n} at {at}, not {now}");
        assert!(at > last);
        last = at;
    }
    assert_eq!(jumps, 4, "the first packet, two jumps and an SSRC");
}

#[test]
fn a_sender_that_stops_its_timestamps_in_silence_is_followed() {
    for marker in [true, false] {
        let mut map = TimeMap::new(8_000);
        let mut off = 0;
        for n in 0..300i64 {
            // Three seconds of silence after the hundredth packet, in which the timestamp stands still.
            let now = MediaTime::from_millis(n * 20 + if n >= 100 { 3_000 } else { 0 });
            let placed = map.observe(now, 1, n as u32 * 160, 160, marker && n == 100, true).expect("fresh");
            off = map.place(placed.position, 160).offset_from(now);
            assert!(!marker || off.abs() < 2_000_000, "packet {n} is {off} ns off");
        }
        assert!(off.abs() < 2_000_000, "{off} ns off");
    }
}

#[test]
fn a_stall_that_catches_up_moves_nothing() {
    let mut map = TimeMap::new(8_000);
    for n in 0..300i64 {
        let sent = MediaTime::from_millis(n * 20);
        let now = if (100..150).contains(&n) { MediaTime::from_millis(3_000) } else { sent };
        let placed = map.observe(now, 1, n as u32 * 160, 160, false, true).expect("fresh");
        assert!(!placed.reanchored || n == 0, "packet {n}");
        assert!(map.place(placed.position, 160).offset_from(sent).abs() < 1_000_000);
    }
}
