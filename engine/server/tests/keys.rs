//! Keys over a trunk: as telephone-events, as tones, by SIP INFO. Each that is pressed arrives once, whichever way it is told.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Finished, Running, Sipp};
use support::tone::level;
use support::{free_port, tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const LIMIT: Duration = Duration::from_secs(40);
/// 5 and 9 (ITU-T Q.23): a low and a high tone each.
const FIVE: [f64; 2] = [770.0, 1_336.0];
const NINE: [f64; 2] = [852.0, 1_477.0];

fn server(dtmf: &str, port: u16) -> Server {
    let tables = format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"anonymous\", \"api\"]\ntrunk = \"carrier\"\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [\"{CARRIER}:{port}\"]\nallow = [\"9*\"]\noptions_interval = \"0s\"\n\
         dtmf = \"{dtmf}\"\n[media]\ncodecs = [\"PCMU\"]\n"
    );
    Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() })
}

/// A callee that is told so many keys by INFO.
fn callee(server: &Server, port: u16, rtp: &Rtp, keys: usize) -> Running {
    let info = "<recv request=\"INFO\" timeout=\"20000\"/>\n<send>\n<![CDATA[\n@reply 200 OK@\nContent-Length: 0\n\n]]>\n</send>\n";
    let me = "<sip:sipp@[local_ip]:[local_port];transport=[transport]>";
    let reply = format!(
        "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContact: {me}"
    );
    let infos = info.replace("@reply 200 OK@", &reply).repeat(keys);
    let values = [("@INFOS@", infos.as_str()), ("@KEYS@", "some")];
    let (scenario, port, rtp) = ("callee_told_keys.xml", Some(port), rtp.port());
    Sipp { scenario, host: CARRIER, port, rtp, values: &values, limit: LIMIT, ..Sipp::default() }
        .start(server)
}

fn well(running: Running) -> Finished {
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    finished
}

/// Presses of a key in a sound: how often both its tones begin, each about as loud as all there is. A voice has them too now
/// and then, among others.
fn tones(pcm: &[i16], key: [f64; 2]) -> usize {
    let there = |frame: &[i16]| {
        let power =
            frame.iter().map(|s| (f64::from(*s) / 32_768.0).powi(2)).sum::<f64>() / frame.len() as f64;
        let all = 10.0 * (2.0 * power).max(1e-9).log10();
        key.iter().all(|hz| level(frame, 8_000, *hz) > (all - 7.0).max(-30.0))
    };
    let heard: Vec<bool> = pcm.chunks_exact(320).map(there).collect();
    heard.windows(2).filter(|pair| !pair[0] && pair[1]).count()
}

/// Events (RFC 4733) in what came: packets of one press share their timestamp.
fn events(rtp: &Rtp) -> usize {
    let mut starts: Vec<u32> = rtp
        .packets()
        .iter()
        .filter(|packet| packet.payload_type == 101)
        .map(|packet| packet.timestamp)
        .collect();
    starts.dedup();
    starts.len()
}

/// Two keys pressed by us over a trunk, and the same two by a caller who is joined with it.
fn pressed(dtmf: &str, check: impl Fn(&str, &Rtp, Option<&Finished>)) {
    let by_info = if dtmf == "info" { 2 } else { 0 };
    // By the operator, on a call of ours.
    let port = free_port();
    let server_ = server(dtmf, port);
    let other = Rtp::bind(Answer::sine(500));
    let called = callee(&server_, port, &other, by_info);
    let (status, begun) = server_.post("/v1/calls", &json!({"to": "9555", "ring": "10s"}));
    assert_eq!(status, 202, "{begun}");
    server_.wait_events("call.answered", 1, Duration::from_secs(10));
    let call = begun["id"].as_str().expect("an id").to_owned();
    wait_for("sound both ways", Duration::from_secs(5), || (!other.packets().is_empty()).then_some(()));
    // A tone at the very beginning of what is heard would not be seen to begin.
    std::thread::sleep(Duration::from_millis(700));
    let (status, answer) = server_.post(&format!("/v1/calls/{call}/keys"), &json!({"keys": "59"}));
    assert!((200..300).contains(&status), "{answer}");
    std::thread::sleep(Duration::from_secs(2));
    let path = format!("http://{}/v1/calls/{call}", server_.http());
    assert!(ureq::delete(path).call().expect("the API answers").status().is_success());
    check("by us", &other, Some(&well(called)));

    // By a caller, as telephone-events.
    let port = free_port();
    let server_ = server(dtmf, port);
    let (one, other) = (Rtp::bind(Answer::sine(500)), Rtp::bind(Answer::sine(600)));
    let called = callee(&server_, port, &other, by_info);
    let values = [("@HOLD@", "5000")];
    let calling = Sipp { service: "9555", rtp: one.port(), values: &values, limit: LIMIT, ..Sipp::default() };
    let calling = calling.start(&server_);
    server_.wait_events("bridge.started", 2, Duration::from_secs(10));
    std::thread::sleep(Duration::from_millis(700));
    for key in [5, 9] {
        one.press(key);
        std::thread::sleep(Duration::from_millis(600));
    }
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(server_.of_type("dtmf").len(), 2, "each is told once");
    well(calling);
    check("by a caller", &other, Some(&well(called)));
}

#[test]
fn keys_go_by_info_where_the_trunk_wants_that() {
    if tool_missing(TOOLS) {
        return;
    }
    pressed("info", |who, rtp, finished| {
        let finished = finished.expect("it ran");
        assert_eq!(finished.received("INFO"), 2, "{who}: {}", finished.messages);
        for key in ["Signal=5", "Signal=9"] {
            assert_eq!(finished.messages.matches(key).count(), 1, "{who}, {key}: {}", finished.messages);
        }
        assert!(finished.line("Content-Type: ").is_some(), "{who}: {}", finished.messages);
        assert!(finished.messages.contains("application/dtmf-relay"), "{who}: {}", finished.messages);
        assert_eq!((events(rtp), tones(&rtp.heard(), FIVE)), (0, 0), "{who}: nothing of it is in the media");
    });
}

#[test]
fn keys_go_as_tones_where_the_trunk_wants_that() {
    if tool_missing(TOOLS) {
        return;
    }
    pressed("inband", |who, rtp, _| {
        let heard = rtp.heard();
        assert_eq!((tones(&heard, FIVE), tones(&heard, NINE)), (1, 1), "{who}");
        assert_eq!(events(rtp), 0, "{who}: not as events too");
    });
}

#[test]
fn keys_go_as_events_otherwise() {
    if tool_missing(TOOLS) {
        return;
    }
    pressed("rfc4733", |who, rtp, finished| {
        assert_eq!(events(rtp), 2, "{who}");
        assert_eq!(tones(&rtp.heard(), FIVE), 0, "{who}: not as tones too");
        assert_eq!(finished.expect("it ran").received("INFO"), 0, "{who}");
    });
}
