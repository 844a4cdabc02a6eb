//! Calls of SIPp that use the corners of SIP: extensions, changes in mid-call, keys, races.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test waits, and says who heard whom")]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Finished, OFFER, Sipp};
use support::tone::within;
use support::tool_missing;

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
fn line() -> Server {
    Server::start(Options { flow: Some(LINE), ..Options::default() })
}

/// Runs a scenario against a line of its own; the server afterwards.
fn passes(sipp: Sipp<'_>) -> (Server, Finished) {
    // Callers without media have time to refresh their sessions.
    let call = "rtp_silence = \"5m\"";
    let server = Server::start(Options { call, flow: Some(LINE), ..Options::default() });
    let finished = sipp.pass(&server);
    assert_eq!(server.cause(), "call.hangup.caller");
    assert_eq!(server.errors(), [""; 0], "nothing of this is an error");
    (server, finished)
}

/// Two seconds of a tone at each end of a recording: what the caller said at its beginning and at its end.
fn said_at_both_ends(server: &Server, hz: f64) {
    let recording = server.recording();
    let pcm = &recording.channels[0];
    let second = recording.rate_hz as usize;
    // The first second may lack what was sent before the source was locked, the last what waits in the jitter buffer.
    for (end, part) in
        [("first", &pcm[second / 2..second]), ("last", &pcm[pcm.len() - second..pcm.len() - second / 2])]
    {
        assert_eq!(within(part, recording.rate_hz, &[hz]), [hz], "the {end} words");
    }
}

#[test]
fn provisional_answers_come_reliably_to_those_who_want_them() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = line();
    let values = [("@EXTENSION@", "Require: 100rel"), ("@STATUS@", "180"), ("@HOLD@", "300")];
    let finished = Sipp { scenario: "prack.xml", values: &values, ..Sipp::default() }.pass(&server);
    let required = finished.line("Require: ").unwrap_or_default();
    assert!(required.contains("100rel"), "{}", finished.messages);
    assert_eq!(server.cause(), "call.hangup.caller");
}

#[test]
fn an_extension_that_nobody_has_is_named_and_refused() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = line();
    Sipp { scenario: "extension.xml", ..Sipp::default() }.pass(&server);
    assert_eq!(server.active(), 0);
    assert!(server.of_type("call.answered").is_empty());
}

#[test]
fn a_session_is_refreshed_by_us() {
    if tool_missing(TOOLS) {
        return;
    }
    let limit = Duration::from_secs(80);
    passes(Sipp { scenario: "refreshed_by_us.xml", limit, ..Sipp::default() });
}

#[test]
fn a_session_is_refreshed_by_a_re_invite_that_survives_glare() {
    if tool_missing(TOOLS) {
        return;
    }
    let limit = Duration::from_secs(80);
    passes(Sipp { scenario: "refreshed_by_reinvite.xml", limit, ..Sipp::default() });
}

#[test]
fn a_caller_who_stops_refreshing_is_hung_up() {
    if tool_missing(TOOLS) {
        return;
    }
    let server =
        Server::start(Options { call: "rtp_silence = \"5m\"", flow: Some(LINE), ..Options::default() });
    let limit = Duration::from_secs(110);
    Sipp { scenario: "refreshed_by_caller.xml", limit, ..Sipp::default() }.pass(&server);
    let ended = &server.wait_events("call.ended", 1, Duration::from_secs(5))[0];
    let seconds = ended["duration_ms"].as_u64().expect("a length") / 1_000;
    // RFC 4028 section 10: 90 s less a third of them, but at most 32 s, after the refresh.
    assert!((57..=92).contains(&seconds), "{ended}");
    assert_eq!(ended["cause"], "sip.session_expired");
}

#[test]
fn a_session_timer_that_is_too_small_is_answered_with_the_smallest() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = line();
    Sipp { scenario: "timer_too_small.xml", ..Sipp::default() }.pass(&server);
    let ended = server.wait_events("call.ended", 1, Duration::from_secs(5));
    assert_eq!(ended.len(), 1, "what was answered with 422 is no call: {ended:?}");
}

/// Offers something else in mid-call; what came to which of the two endpoints, in order.
fn changed(scenario: &str, offer: &str, rtp: &Rtp, changed: &str) -> Server {
    let values = [("@CHANGED@", changed), ("@HOLD@", "1500")];
    let (server, _) = passes(Sipp { scenario, offer, rtp: rtp.port(), values: &values, ..Sipp::default() });
    server
}

#[test]
fn the_codec_changes_in_mid_call() {
    if tool_missing(TOOLS) {
        return;
    }
    for scenario in ["changed.xml", "updated.xml"] {
        let rtp = Rtp::bind(Answer::sine(700));
        let other = OFFER.replace("o=sipp 1 1", "o=sipp 1 2").replace("RTP/AVP 0 ", "RTP/AVP 8 ");
        let server = changed(scenario, OFFER, &rtp, &other.replace("0 PCMU/8000", "8 PCMA/8000"));
        let types: Vec<_> = rtp.packets().iter().map(|packet| packet.payload_type).collect();
        let changes = types.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!((types.first(), types.last(), changes), (Some(&0), Some(&8), 1), "{scenario}");
        said_at_both_ends(&server, 700.0);
        let seconds = server.recording().seconds();
        assert!((2.7..4.0).contains(&seconds), "{scenario}: the clock goes on: {seconds} s");
    }
}

#[test]
fn the_caller_moves_to_another_address_in_mid_call() {
    if tool_missing(TOOLS) {
        return;
    }
    for scenario in ["changed.xml", "updated.xml"] {
        let (first, second) = (Rtp::bind(Answer::sine(700)), Rtp::bind(Answer::sine(700)));
        let moved = OFFER.replace("o=sipp 1 1", "o=sipp 1 2").replace("@RTP@", &second.port().to_string());
        let server = changed(scenario, OFFER, &first, &moved);
        let (before, after) = (first.packets().len(), second.packets().len());
        assert!((55..=95).contains(&before), "{scenario}: {before} packets before");
        assert!((60..=95).contains(&after), "{scenario}: {after} packets after");
        said_at_both_ends(&server, 700.0);
    }
}

#[test]
fn a_hold_of_any_kind_stops_our_sound_and_is_told() {
    if tool_missing(TOOLS) {
        return;
    }
    let again = OFFER.replace("o=sipp 1 1", "o=sipp 1 2");
    let kinds = [
        ("inactive", again.replace("sendrecv", "inactive")),
        ("sendonly", again.replace("sendrecv", "sendonly")),
        ("0.0.0.0", again.replace("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0")),
    ];
    for (kind, held) in kinds {
        let server = line();
        let rtp = Rtp::bind(Answer::sine(700));
        let held = held.replace("@RTP@", &rtp.port().to_string());
        let values = [("@HELD@", held.as_str())];
        Sipp { scenario: "reinvited.xml", rtp: rtp.port(), values: &values, ..Sipp::default() }.pass(&server);
        assert_eq!(server.cause(), "call.hangup.caller");
        let packets = rtp.packets();
        let gap = packets.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp)).max();
        // 0.8 s on hold at 8 kHz; the clock of the stream goes on meanwhile (RFC 3550 section 5.1).
        assert!(gap.is_some_and(|gap| (4_800..=16_000).contains(&gap)), "{kind}: {gap:?}");
        assert!((70..=100).contains(&packets.len()), "{kind}: {} packets", packets.len());
        for event in ["hold.started", "hold.ended"] {
            let told: Vec<Value> = server.of_type(event);
            assert!(told.len() == 1 && told[0]["by_far_side"] == true, "{kind}: {event}: {told:?}");
        }
        said_at_both_ends(&server, 700.0);
    }
}

#[test]
fn an_invitation_without_an_offer_gets_ours_at_the_start_and_in_mid_call() {
    if tool_missing(TOOLS) {
        return;
    }
    for scenario in ["delayed.xml", "reoffered_by_us.xml"] {
        let rtp = Rtp::bind(Answer::sine(700));
        let values = [("@HOLD@", "1600")];
        let (server, _) = passes(Sipp { scenario, rtp: rtp.port(), values: &values, ..Sipp::default() });
        assert!(rtp.packets().len() > 50, "{scenario}: {} packets", rtp.packets().len());
        said_at_both_ends(&server, 700.0);
    }
}

#[test]
fn a_cancel_that_crosses_the_answer_leaves_a_call_that_ends_well() {
    if tool_missing(TOOLS) {
        return;
    }
    passes(Sipp { scenario: "cancelled_late.xml", ..Sipp::default() });
}

#[test]
fn keys_by_info_come_once_each() {
    if tool_missing(TOOLS) {
        return;
    }
    let (server, _) = passes(Sipp { scenario: "keyed.xml", values: &[("@HOLD@", "500")], ..Sipp::default() });
    let keys: Vec<_> =
        server.of_type("dtmf").iter().filter_map(|key| key["key"].as_str().map(str::to_owned)).collect();
    assert_eq!(keys, ["5", "9"]);
}

#[test]
fn a_key_that_comes_in_two_ways_is_one_key() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = line();
    let rtp = Rtp::bind(Answer::sine(700));
    let sipp = Sipp {
        scenario: "keyed_twice.xml",
        rtp: rtp.port(),
        values: &[("@HOLD@", "2000")],
        ..Sipp::default()
    };
    let running = sipp.start(&server);
    server.wait_events("call.answered", 1, Duration::from_secs(5));
    std::thread::sleep(Duration::from_millis(1_450));
    rtp.press(5);
    // The same key again, by telephone-event alone, is a second press.
    std::thread::sleep(Duration::from_millis(1_200));
    rtp.press(5);
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    assert_eq!(server.cause(), "call.hangup.caller");
    let keys = server.of_type("dtmf");
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(keys.iter().all(|key| key["key"] == "5"), "{keys:?}");
}
