//! Calls over a bad network: loss, jitter and reordering on the way to us. The call stays up, the figures say what was
//! done to it, and the sound is still the sound.
#![allow(clippy::print_stderr, reason = "a test says what it measured")]

mod support;

use std::time::Duration;

use support::rtp::{Answer, Impairment, Rtp};
use support::server::{Options, Server};
use support::sipp::Sipp;
use support::tone::level;
use support::tool_missing;

const LINE: &str = include_str!("scenarios/line.yaml");
const HZ: u16 = 700;
const SECONDS: f64 = 12.0;

/// What the call's last figures say of its caller's packets, and the quietest 200 ms of the recorded tone, in dB.
fn over(way: Impairment) -> (serde_json::Value, f64) {
    let server = Server::start(Options { flow: Some(LINE), ..Options::default() });
    let rtp = Rtp::bind(Answer::Sine { hz: HZ, way });
    let hold = format!("{}", SECONDS * 1_000.0);
    let values = [("@HOLD@", hold.as_str())];
    let limit = Duration::from_secs(30);
    Sipp { rtp: rtp.port(), values: &values, limit, ..Sipp::default() }.pass(&server);
    assert_eq!(server.cause(), "call.hangup.caller");
    assert_eq!(server.errors(), [""; 0], "a bad network is no error of ours");
    let figures =
        server.of_type("media").into_iter().rfind(|event| event["side"] == "caller").expect("figures");
    let recording = server.recording();
    let seconds = recording.seconds();
    assert!((SECONDS - 0.5..SECONDS + 1.0).contains(&seconds), "the recording's clock: {seconds} s");
    let pcm = &recording.channels[0];
    let rate = recording.rate_hz as usize;
    let parts = pcm[rate..pcm.len() - rate].chunks_exact(rate / 5);
    let quietest = parts.map(|part| level(part, recording.rate_hz, HZ.into())).fold(0.0, f64::min);
    eprintln!("{way:?}: {figures}; quietest 200 ms {quietest:.1} dB");
    (figures, quietest)
}

#[test]
fn a_call_over_a_good_network_loses_nothing() {
    if tool_missing(&["sipp"]) {
        return;
    }
    let (figures, quietest) = over(Impairment::default());
    assert_eq!(figures["lost"], 0, "{figures}");
    // A machine with other things to do may take a packet too late.
    assert!(figures["late"].as_u64().is_some_and(|late| late <= 3), "{figures}");
    // The tone is at -20 dB.
    assert!(quietest > -26.0, "{quietest} dB");
}

#[test]
fn a_call_that_loses_one_packet_in_twenty_is_heard_and_told() {
    if tool_missing(&["sipp"]) {
        return;
    }
    let (figures, quietest) = over(Impairment { loss_percent: 5, jitter: Duration::ZERO });
    let packets = SECONDS * 50.0;
    let lost = figures["lost"].as_f64().expect("a number") / packets;
    assert!((0.025..0.085).contains(&lost), "{lost} of the packets lost: {figures}");
    let concealed = figures["concealed_ms"].as_f64().expect("a number") / 1_000.0 / SECONDS;
    assert!((0.02..0.1).contains(&concealed), "{concealed} of the sound concealed: {figures}");
    // One packet of ten in a stretch, concealed, takes little from it.
    assert!(quietest > -26.0, "{quietest} dB");
}

#[test]
fn a_call_whose_packets_overtake_each_other_is_heard_in_order() {
    if tool_missing(&["sipp"]) {
        return;
    }
    let (figures, quietest) = over(Impairment { loss_percent: 0, jitter: Duration::from_millis(40) });
    // RFC 3550's jitter of delays spread evenly over 40 ms: the mean difference of two is a third of that.
    let jitter = figures["jitter_ms"].as_f64().expect("a number");
    assert!((6.0..22.0).contains(&jitter), "{figures}");
    let lost = figures["lost"].as_f64().expect("a number") + figures["late"].as_f64().expect("a number");
    assert!(lost / (SECONDS * 50.0) < 0.04, "the jitter buffer grows with the jitter: {figures}");
    assert!(quietest > -27.0, "{quietest} dB");
}

#[test]
fn a_call_over_a_bad_network_stays_up() {
    if tool_missing(&["sipp"]) {
        return;
    }
    let (figures, quietest) = over(Impairment { loss_percent: 5, jitter: Duration::from_millis(40) });
    let lost = figures["lost"].as_f64().expect("a number") / (SECONDS * 50.0);
    assert!((0.025..0.1).contains(&lost), "{figures}");
    assert!(quietest > -30.0, "{quietest} dB");
}
