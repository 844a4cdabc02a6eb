//! What SIPp, a scripted SIP peer, gets to see of `antiphon serve`: signalling by the book and beside it.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{OFFER, Sipp};
use support::{tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];

/// How often each cause ended a call.
fn causes(server: &Server) -> BTreeMap<String, usize> {
    let mut causes = BTreeMap::new();
    for event in server.of_type("call.ended") {
        *causes.entry(event["cause"].as_str().expect("a code").to_owned()).or_default() += 1;
    }
    causes
}

fn figures(server: &Server, side: &str) -> Vec<Value> {
    server.of_type("media").into_iter().filter(|event| event["side"] == side).collect()
}

/// The share of 20 ms frames, from the first loud one on, that carry the tone of [`Answer::Tone`]. What waits in the
/// jitter buffer when the call ends, 60 ms or so, is not heard any more.
fn toned(pcm: &[i16]) -> f64 {
    let loud: Vec<bool> = pcm
        .chunks_exact(160)
        .map(|frame| frame.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 160.0 > 4_000.0_f64.powi(2))
        .collect();
    let first = loud.iter().position(|loud| *loud).expect("the tone is in the recording");
    loud[first..].iter().filter(|loud| **loud).count() as f64 / (loud.len() - first) as f64
}

#[test]
fn a_real_call_is_answered_recorded_and_ended() {
    if tool_missing(TOOLS) {
        return;
    }
    for tcp in [false, true] {
        let server = Server::start(Options::default());
        let rtp = Rtp::bind(Answer::Tone { ptime_ms: 20 });
        Sipp { rtp: rtp.port(), values: &[("@HOLD@", "2000")], tcp, ..Sipp::default() }.pass(&server);
        assert_eq!(server.cause(), "call.hangup.caller");
        let answered = &server.of_type("call.answered")[0];
        assert_eq!(
            (answered["codec"].as_str(), answered["sample_rate_hz"].as_u64()),
            (Some("PCMU"), Some(8_000))
        );
        let sidecar = &server.sidecars()[0];
        assert_eq!((sidecar["from"].as_str(), sidecar["to"].as_str()), (Some("sipp"), Some("bank")));
        assert_eq!(
            (sidecar["codec"].as_str(), sidecar["cause"].as_str()),
            (Some("PCMU"), Some("call.hangup.caller"))
        );
        let recording = server.recording();
        assert_eq!((recording.rate_hz, recording.channels.len()), (8_000, 2));
        assert!((1.9..3.0).contains(&recording.seconds()), "{} s", recording.seconds());
        let heard = toned(&recording.channels[0]);
        assert!(heard > 0.93, "the tone fills {heard} of the recording");
        // Our side greets from the first second on, in packets of 20 ms without a hole.
        let packets = rtp.packets();
        assert!((85..=115).contains(&packets.len()), "{} packets in 2 s", packets.len());
        assert!(packets.windows(2).all(|w| w[1].sequence == w[0].sequence.wrapping_add(1)));
        assert!(packets.windows(2).all(|w| w[1].timestamp == w[0].timestamp.wrapping_add(160)));
        assert_eq!(server.active(), 0);
    }
}

#[test]
fn a_real_call_cancelled_while_it_rings_gets_487() {
    if tool_missing(TOOLS) {
        return;
    }
    // Without decoders kept for the next call, each call loads its models while it rings.
    let recognizer = "[recognizer.pocketsphinx]\nidle_decoders = 0\n";
    let server = Server::start(Options { engine: "pocketsphinx", recognizer, ..Options::default() });
    Sipp { scenario: "cancelled.xml", ..Sipp::default() }.pass(&server);
    assert_eq!(server.cause(), "call.cancelled");
    assert!(server.of_type("call.answered").is_empty());
    assert_eq!(server.active(), 0);
}

#[test]
fn real_call_offers_that_cannot_be_taken_are_refused_with_the_right_status() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options::default());
    let malformed = OFFER.replace("t=0 0", "t=yesterday");
    let encrypted = OFFER.replace("RTP/AVP", "RTP/SAVP")
        + "\na=crypto:1 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    let unknown = OFFER.replace("RTP/AVP 0 101", "RTP/AVP 18 101").replace("0 PCMU/8000", "18 G729/8000");
    let video = OFFER.replace("m=audio", "m=video").replace("0 PCMU/8000", "0 H261/90000");
    let cases = [
        (malformed, "400", "sdp.invalid"),
        (encrypted, "488", "sdp.unsupported"),
        (unknown, "488", "sdp.codec"),
        (video, "488", "sdp.unsupported"),
    ];
    let mut expected = BTreeMap::new();
    for (count, (offer, status, cause)) in cases.iter().enumerate() {
        let sipp =
            Sipp { scenario: "refused.xml", offer, values: &[("@STATUS@", status)], ..Sipp::default() };
        let finished = sipp.pass(&server);
        let warning = finished.line("Warning: ").unwrap_or_else(|| panic!("{cause}: no Warning header"));
        // RFC 3261 section 20.43: a code of three digits, an agent, a quoted text.
        let (code, rest) = warning.split_once(' ').expect("a code");
        assert!(code.len() == 3 && code.parse::<u16>().is_ok() && rest.trim().ends_with('"'), "{warning}");
        server.wait_events("call.ended", count + 1, Duration::from_secs(5));
        *expected.entry((*cause).to_owned()).or_default() += 1;
        assert_eq!(causes(&server), expected);
    }
    assert!(server.of_type("call.answered").is_empty());
    assert_eq!(server.active(), 0);
}

#[test]
fn a_real_call_whose_invite_is_repeated_is_one_call() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options::default());
    Sipp { scenario: "retransmitted.xml", literal: true, ..Sipp::default() }.pass(&server);
    assert_eq!(server.cause(), "call.hangup.caller");
    assert_eq!(server.of_type("call.started").len(), 1);
}

#[test]
fn a_real_call_that_is_never_acknowledged_is_hung_up_after_32_seconds() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options { call: "rtp_silence = \"2m\"", ..Options::default() });
    let limit = Duration::from_secs(45);
    let finished = Sipp { scenario: "lost_ack.xml", literal: true, limit, ..Sipp::default() }.pass(&server);
    // T1 doubling up to T2 (RFC 3261 section 13.3.1.4): 0, 0.5, 1.5, 3.5, 7.5, 11.5 … 31.5 s.
    assert!((9..=12).contains(&finished.received("SIP/2.0 200")), "{}", finished.messages);
    assert_eq!(server.cause(), "sip.lost");
}

#[test]
fn requests_beside_a_real_call_are_answered_by_the_book() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options::default());
    let options = Sipp { scenario: "options.xml", ..Sipp::default() }.pass(&server);
    assert!(options.line("Allow: ").is_some_and(|allow| allow.contains("INVITE") && allow.contains("BYE")));
    let unknown = Sipp { scenario: "unknown_method.xml", ..Sipp::default() }.pass(&server);
    assert!(unknown.line("Allow: ").is_some_and(|allow| allow.contains("INVITE")));
    Sipp { scenario: "stray_bye.xml", ..Sipp::default() }.pass(&server);
    assert!(server.events().is_empty(), "none of these is a call");
}

#[test]
fn a_real_call_without_media_is_hung_up() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options { call: "rtp_silence = \"2s\"", ..Options::default() });
    Sipp { scenario: "ended_by_server.xml", ..Sipp::default() }.pass(&server);
    assert_eq!(server.cause(), "call.media.silent");
    let ms = server.of_type("call.ended")[0]["duration_ms"].as_u64().expect("a length");
    assert!((1_900..2_600).contains(&ms), "{ms} ms");
    assert_eq!(figures(&server, "caller")[0]["packets"], 0);
}

#[test]
fn a_real_call_may_bring_packets_of_any_length() {
    if tool_missing(TOOLS) {
        return;
    }
    for ptime_ms in [10, 30, 40, 60] {
        let server = Server::start(Options::default());
        let rtp = Rtp::bind(Answer::Tone { ptime_ms });
        let offer = format!("{OFFER}\na=ptime:{ptime_ms}");
        let sipp = Sipp { offer: &offer, rtp: rtp.port(), values: &[("@HOLD@", "2000")], ..Sipp::default() };
        let finished = sipp.pass(&server);
        assert_eq!(server.cause(), "call.hangup.caller");
        let promised: usize =
            finished.line("a=ptime:").and_then(|ptime| ptime.parse().ok()).expect("a=ptime");
        for packet in rtp.packets() {
            assert_eq!((packet.payload_type, packet.payload_bytes), (0, promised * 8), "offered {ptime_ms}");
        }
        let received = &figures(&server, "caller")[0];
        let expected = 2_000.0 / f64::from(ptime_ms);
        let packets = received["packets"].as_f64().expect("a number");
        assert!((packets / expected - 1.0).abs() < 0.15, "{ptime_ms} ms: {received}");
        assert_eq!(received["lost"], 0, "{ptime_ms} ms: {received}");
        let heard = toned(&server.recording().channels[0]);
        assert!(heard > 0.93, "{ptime_ms} ms: the tone fills {heard} of the recording; {received}");
    }
}

#[test]
fn a_real_call_on_hold_is_quiet_and_goes_on_afterwards() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options::default());
    let rtp = Rtp::bind(Answer::Tone { ptime_ms: 20 });
    let held = OFFER.replace("o=sipp 1 1", "o=sipp 1 2").replace("sendrecv", "inactive");
    let held = held.replace("@RTP@", &rtp.port().to_string());
    let sipp =
        Sipp { scenario: "reinvited.xml", rtp: rtp.port(), values: &[("@HELD@", &held)], ..Sipp::default() };
    let finished = sipp.pass(&server);
    assert_eq!(finished.line("a=inactive"), Some(""), "{}", finished.messages);
    assert_eq!(server.cause(), "call.hangup.caller");
    // 0.8 s of talk, 0.8 s of hold, 0.8 s of talk.
    let packets = rtp.packets().len();
    assert!((70..=95).contains(&packets), "{packets} packets");
}

#[test]
fn a_real_call_beyond_the_limit_is_refused_until_there_is_room() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options { call: "concurrent = 2", ..Options::default() });
    let two = Sipp { calls: 2, values: &[("@HOLD@", "3000")], ..Sipp::default() };
    let running = two.start(&server);
    server.wait_events("call.answered", 2, Duration::from_secs(5));
    let values = [("@STATUS@", "503")];
    let refused = Sipp { scenario: "refused.xml", values: &values, ..Sipp::default() }.pass(&server);
    let warning = refused.line("Warning: ").unwrap_or_default();
    assert!(warning.contains("limit of concurrent calls"), "{}", refused.messages);
    assert!(refused.line("Retry-After: ").is_some(), "{}", refused.messages);
    let finished = running.finish();
    assert!(finished.well, "{}", finished.errors);
    server.wait_events("call.ended", 3, Duration::from_secs(5));
    assert_eq!(causes(&server), [("call.hangup.caller".into(), 2), ("limit.calls".into(), 1)].into());
    Sipp { values: &[("@HOLD@", "200")], ..Sipp::default() }.pass(&server);
}

#[test]
fn a_real_call_ends_when_the_operator_says_so() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options::default());
    let running = Sipp { scenario: "ended_by_server.xml", ..Sipp::default() }.start(&server);
    let answered = server.wait_events("call.answered", 1, Duration::from_secs(5));
    let id = answered[0]["call"].as_str().expect("an id").to_owned();
    let response = ureq::delete(format!("http://{}/v1/calls/{id}", server.http())).call();
    assert!(response.expect("taken").status().is_success());
    let finished = running.finish();
    assert!(finished.well, "{}", finished.errors);
    assert_eq!(server.cause(), "call.hangup.operator");
}

#[test]
fn a_real_call_ends_with_a_bye_when_the_server_is_stopped() {
    if tool_missing(TOOLS) {
        return;
    }
    let mut server = Server::start(Options::default());
    let running = Sipp { scenario: "ended_by_server.xml", ..Sipp::default() }.start(&server);
    server.wait_events("call.answered", 1, Duration::from_secs(5));
    assert!(server.stop(), "a clean end");
    let finished = running.finish();
    assert!(finished.well, "{}", finished.errors);
    assert_eq!(server.cause(), "call.hangup.shutdown");
    assert_eq!(server.sidecars()[0]["cause"], "call.hangup.shutdown");
}

#[test]
fn a_flood_of_real_calls_leaves_nothing_behind() {
    if tool_missing(TOOLS) {
        return;
    }
    const CALLS: usize = 200;
    let server = Server::start(Options { call: "concurrent = 8", ..Options::default() });
    Sipp { values: &[("@HOLD@", "200")], ..Sipp::default() }.pass(&server);
    server.wait_events("call.ended", 1, Duration::from_secs(5));
    let (files, threads) = server.resources();
    let values = [("@HOLD@", "500")];
    let limit = Duration::from_secs(60);
    let flood = Sipp {
        scenario: "answered_or_busy.xml",
        calls: CALLS,
        rate: 20,
        values: &values,
        limit,
        ..Sipp::default()
    };
    flood.pass(&server);
    server.wait_events("call.ended", CALLS + 1, Duration::from_secs(10));
    let causes = causes(&server);
    let (answered, refused) = (causes["call.hangup.caller"], causes.get("limit.calls").copied().unwrap_or(0));
    assert_eq!(answered + refused, CALLS + 1, "{causes:?}");
    assert!(answered > CALLS / 4, "{causes:?}");
    assert!(refused > 0, "eight at once are fewer than the flood needs: {causes:?}");
    assert_eq!(server.active(), 0);
    assert_eq!(server.sidecars().len(), answered);
    assert_eq!(server.errors(), [""; 0], "nothing of this is an error");
    // Threads that block rest for ten seconds before they end.
    wait_for("files and threads to be given back", Duration::from_secs(20), || {
        let now = server.resources();
        (now.0 <= files + 2 && now.1 <= threads + 2).then_some(())
    });
    Sipp { values: &[("@HOLD@", "200")], ..Sipp::default() }.pass(&server);
    server.wait_events("call.ended", CALLS + 2, Duration::from_secs(5));
}
