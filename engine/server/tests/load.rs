//! `antiphon load` against `antiphon serve`: what it counts is what happened.

mod support;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::server::{Options, Server};

/// A line that talks for longer than the calls last.
const TALKS: &str = "version: 1
name: talks
revision: 1
settings: {language: en-US}
steps:
  main:
    say: Please hold the line until somebody has time for you. Somebody will be with you as soon as possible.
    interruptible: false
  again:
    say: Please hold the line until somebody has time for you. Somebody will be with you as soon as possible.
    interruptible: false
  bye:
    hang_up: Goodbye.
";

fn load(server: &Server, options: &[&str]) -> Output {
    let target = format!("sip:talks@{}", server.sip());
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command.args(["load", "--target", &target, "--json"]).args(options).stdin(Stdio::null());
    command.output().expect("the built binary runs")
}

fn figures(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

#[test]
fn every_call_of_a_load_is_answered_and_heard_both_ways() {
    let server = Server::start(Options { flow: Some(TALKS), ..Options::default() });
    let pid = server.pid().to_string();
    let output = load(
        &server,
        &["--total", "12", "--rate", "6", "--concurrent", "12", "--duration", "3s", "--pid", &pid],
    );
    let figures = figures(&output);
    assert!(output.status.success(), "{figures}");
    assert_eq!((&figures["attempted"], &figures["answered"]), (&12.into(), &12.into()), "{figures}");
    assert_eq!(figures["media"]["one_way_calls"], 0);
    let number = |pointer: &str| figures.pointer(pointer).and_then(Value::as_f64).expect(pointer);
    assert!((100.0..=170.0).contains(&(number("/media/packets_received") / 12.0)), "{figures}");
    assert!(number("/first_rtp_ms/p95") < 2_000.0 && number("/set_up_ms/p95") < 2_000.0, "{figures}");
    assert!(number("/server/memory_per_call") > 0.0 && number("/server/cpu_seconds") > 0.0, "{figures}");
    // The server saw the same calls, and heard each of them.
    let ended = server.wait_events("call.ended", 12, std::time::Duration::from_secs(15));
    assert!(ended.iter().all(|event| event["cause"] == "call.hangup.caller"), "{ended:?}");
    let heard: Vec<u64> = server
        .of_type("media")
        .iter()
        .filter(|event| event["side"] == "caller")
        .filter_map(|event| event["packets"].as_u64())
        .collect();
    assert_eq!(heard.len(), 12);
    assert!(heard.iter().all(|packets| *packets > 100), "{heard:?}");
}

#[test]
fn a_load_beyond_the_limit_says_how_calls_failed() {
    let server = Server::start(Options { flow: Some(TALKS), call: "concurrent = 2", ..Options::default() });
    let output = load(&server, &["--total", "5", "--rate", "20", "--duration", "2s", "--no-media"]);
    let figures = figures(&output);
    assert!(!output.status.success(), "{figures}");
    assert_eq!((&figures["answered"], &figures["failed"]["503"]), (&2.into(), &3.into()), "{figures}");
    assert_eq!(figures["media"]["calls"], 0);
}
