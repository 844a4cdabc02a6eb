//! Calls that leave over a trunk: failover, passwords, limits, what the far side is told. SIPp calls, SIPp is called.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test waits, and says who heard whom")]

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Finished, Running, Sipp};
use support::tone::within;
use support::{free_port, tool_missing};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
/// Where the carrier lives, so that it is told from the callers.
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CALLER_HZ: u16 = 500;
const CALLEE_HZ: u16 = 900;

/// A trunk of these hosts, for numbers that begin with 9, and a route that lets everybody use it.
fn carrier(ports: &[u16], more: &str) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("\"{CARRIER}:{port}\"")).collect();
    format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"anonymous\"]\ntrunk = \"carrier\"\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [{}]\nallow = [\"9*\"]\noptions_interval = \"0s\"\ntry_limit = \"500ms\"\n{more}\n",
        hosts.join(", ")
    )
}

fn server(ports: &[u16], more: &str) -> Server {
    Server::start(Options { flow: Some(LINE), tables: &carrier(ports, more), ..Options::default() })
}

fn callee<'a>(scenario: &'a str, port: u16, values: &'a [(&'a str, &'a str)]) -> Sipp<'a> {
    let limit = Duration::from_secs(30);
    Sipp { scenario, host: CARRIER, port: Some(port), values, limit, ..Sipp::default() }
}

/// Somebody calls 9555, is answered, and hangs up after two seconds; both hear each other all along.
fn talks(server: &Server, callee: &Sipp<'_>) -> (Finished, Finished) {
    let (one, other) = (Rtp::bind(Answer::sine(CALLER_HZ)), Rtp::bind(Answer::sine(CALLEE_HZ)));
    let callee = Sipp { rtp: other.port(), ..*callee }.start(server);
    let caller = Sipp {
        service: "9555",
        rtp: one.port(),
        values: &[("@HOLD@", "2000")],
        limit: Duration::from_secs(30),
        ..Sipp::default()
    }
    .pass(server);
    let tones = [f64::from(CALLER_HZ), f64::from(CALLEE_HZ)];
    assert_eq!(within(&one.heard_last(1.0), 8_000, &tones), [tones[1]], "the caller hears the callee alone");
    assert_eq!(
        within(&other.heard_last(1.0), 8_000, &tones),
        [tones[0]],
        "the callee hears the caller alone"
    );
    (caller, well(callee))
}

fn well(running: Running) -> Finished {
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    finished
}

/// Somebody calls 9555 and is refused.
fn refused(server: &Server, status: &str) -> Finished {
    let values = [("@STATUS@", status)];
    let limit = Duration::from_secs(40);
    Sipp { scenario: "refused.xml", service: "9555", values: &values, limit, ..Sipp::default() }.pass(server)
}

const CHALLENGE: &[(&str, &str)] =
    &[("@STATUS@", "401 Unauthorized"), ("@CHALLENGE@", "WWW-Authenticate"), ("@ALGORITHM@", "MD5")];
const RINGS: &[(&str, &str)] = &[("@RING@", "300")];

#[test]
fn a_call_goes_out_over_a_trunk_and_both_hear_each_other() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "");
    let (_, callee) = talks(&server, &callee("callee.xml", port, RINGS));
    assert!(
        callee.line("INVITE ").is_some_and(|uri| uri.starts_with("sip:9555@127.0.0.2")),
        "{}",
        callee.messages
    );
    // Nothing of one side is shown to the other.
    assert!(!callee.messages.contains("a=tool") && !callee.messages.contains("rsip"), "{}", callee.messages);
    server.wait_events("call.ended", 2, Duration::from_secs(5));
    assert_eq!(server.active(), 0);
}

#[test]
fn a_host_that_is_dead_or_overloaded_or_redirects_gives_way_to_the_next() {
    if tool_missing(TOOLS) {
        return;
    }
    for status in [None, Some("503 Service Unavailable"), Some("302 Moved Temporarily")] {
        let (first, second) = (free_port(), free_port());
        let server = server(&[first, second], "");
        let values = [
            ("@STATUS@", status.unwrap_or_default()),
            ("@HEADER@", "Contact: <sip:+1900555@127.0.0.3:5060>"),
        ];
        let refusing = status.map(|_| callee("callee_refuses.xml", first, &values).start(&server));
        let begun = Instant::now();
        talks(&server, &callee("callee.xml", second, RINGS));
        if let Some(refusing) = refusing {
            well(refusing);
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{status:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn what_the_called_one_says_no_with_reaches_the_caller() {
    if tool_missing(TOOLS) {
        return;
    }
    for (status, code) in [("486 Busy Here", "486"), ("603 Decline", "603"), ("404 Not Found", "404")] {
        let (first, second) = (free_port(), free_port());
        let server = server(&[first, second], "");
        let values = [("@STATUS@", status), ("@HEADER@", "X-Nothing: 1")];
        let refusing = callee("callee_refuses.xml", first, &values).start(&server);
        let other = callee("callee.xml", second, RINGS).start(&server);
        refused(&server, code);
        well(refusing);
        let other = other.stop();
        assert_eq!(
            other.received("INVITE"),
            0,
            "{status} is no reason to try another host: {}",
            other.messages
        );
    }
}

#[test]
fn a_caller_who_gives_up_stops_the_ringing() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "");
    let ringing = callee("callee_silent.xml", port, &[]).start(&server);
    let values = [("@HOLD@", "800")];
    Sipp { scenario: "gives_up.xml", service: "9555", values: &values, ..Sipp::default() }.pass(&server);
    well(ringing);
    server.wait_events("call.ended", 1, Duration::from_secs(5));
    assert_eq!(server.active(), 0);
}

#[test]
fn a_password_is_told_to_a_trunk_that_asks_for_it_and_knows_it() {
    if tool_missing(TOOLS) {
        return;
    }
    let login = "credentials = { user = \"ours\", password = \"between us\" }";
    // SIPp verifies what comes in `Authorization` alone; tests/registrars.rs has a proxy that asks by 407.
    let port = free_port();
    let server = server(&[port], login);
    let (_, callee) = talks(&server, &callee("callee_challenges.xml", port, CHALLENGE));
    assert!(!callee.messages.contains("between us"), "the password itself is never told");
}

#[test]
fn a_stale_nonce_is_answered_anew() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "credentials = { user = \"ours\", password = \"between us\" }");
    let values = [CHALLENGE, &[("@STALE@", ", stale=true")]].concat();
    talks(&server, &callee("callee_challenges_again.xml", port, &values));
}

#[test]
fn a_trunk_that_asks_for_ever_is_given_up() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "credentials = { user = \"ours\", password = \"between us\" }");
    let asking = callee("callee_challenges_ever.xml", port, CHALLENGE).start(&server);
    let begun = Instant::now();
    // Whatever it was: the caller is told that it is on our side of the trunk.
    let caller =
        Sipp { scenario: "refused.xml", service: "9555", values: &[("@STATUS@", "502")], ..Sipp::default() }
            .run(&server);
    let status = caller.line("SIP/2.0 5").or(caller.line("SIP/2.0 4"));
    assert!(status.is_some(), "refused: {}", caller.messages);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let asked = well(asking).received("INVITE");
    assert_eq!(asked, 2, "one answer to one challenge");
}

#[test]
fn nobody_is_answered_a_challenge_that_was_not_asked_for_credentials() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "");
    let asking = callee("callee_challenges.xml", port, CHALLENGE).start(&server);
    let caller =
        Sipp { scenario: "refused.xml", service: "9555", values: &[("@STATUS@", "407")], ..Sipp::default() }
            .run(&server);
    assert!(!caller.messages.contains("Digest"), "a carrier's challenge is no business of the caller");
    let asked = asking.stop();
    assert_eq!(asked.received("INVITE"), 1, "{}", asked.messages);
    assert!(!asked.messages.contains("Authorization:"), "{}", asked.messages);
}

#[test]
fn the_first_of_two_telephones_that_answer_has_the_call() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "");
    let callee = Sipp { literal: true, ..callee("callee_forks.xml", port, &[]) };
    talks(&server, &callee);
}

#[test]
fn a_progress_that_comes_reliably_is_acknowledged() {
    if tool_missing(TOOLS) {
        return;
    }
    let prack = "<recv request=\"PRACK\">\n<action>\n<ereg regexp=\"77 [0-9]+ INVITE\" search_in=\"hdr\" \
                 header=\"RAck:\" check_it=\"true\" assign_to=\"rack\"/>\n<log message=\"[$rack]\"/>\n</action>\n</recv>\n\
                 <send>\n<![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n\
                 Content-Length: 0\n\n]]>\n</send>";
    for (extension, prack) in [("X-Nothing: 1", ""), ("Require: 100rel\nRSeq: 77", prack)] {
        let port = free_port();
        let server = server(&[port], "");
        let values = [("@EXTENSION@", extension), ("@PRACK@", prack), ("@RING@", "400")];
        talks(&server, &callee("callee_early.xml", port, &values));
    }
}

#[test]
fn no_more_calls_leave_over_a_trunk_than_it_may_carry() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "max_calls = 1");
    let first = callee("callee.xml", port, RINGS).start(&server);
    let values = [("@HOLD@", "3000")];
    let caller = Sipp { service: "9555", values: &values, ..Sipp::default() }.start(&server);
    server.wait_events("call.answered", 2, Duration::from_secs(8));
    refused(&server, "503");
    well(caller);
    well(first);
    // The place is free again once both calls are wound down.
    server.wait_events("call.ended", 2, Duration::from_secs(10));
    talks(&server, &callee("callee.xml", port, RINGS));
}

#[test]
fn numbers_that_the_trunk_may_not_carry_reach_nobody() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(&[port], "deny = [\"9555\"]");
    let other = callee("callee.xml", port, RINGS).start(&server);
    refused(&server, "403");
    let other = other.stop();
    assert_eq!(other.received("INVITE"), 0, "{}", other.messages);
}

#[test]
fn a_stranger_reaches_a_flow_and_no_trunk() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let tables = carrier(&[port], "").replace("from = [\"anonymous\"]", "from = [\"user\"]");
    let server = Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() });
    let other = callee("callee.xml", port, RINGS).start(&server);
    let values = [("@HOLD@", "500")];
    Sipp { service: "9555", values: &values, ..Sipp::default() }.pass(&server);
    let other = other.stop();
    assert_eq!(other.received("INVITE"), 0, "{}", other.messages);
    assert_eq!(server.of_type("prompt.started").len(), 1, "the flow answers");
}

#[test]
fn the_trunk_is_told_what_its_rules_say() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let more = "trusted = true\nheaders_out = { X-Account = \"{caller}/{trunk}\" }\n\
                [[trunk.caller]]\nmatch = \"10*\"\nfrom = \"+4420700000$1\"\nasserted = \"+4420700000$1\"\n\
                [[trunk.called]]\nmatch = \"9*\"\nstrip = 1\nprefix = \"00\"\n";
    let server = server(&[port], more);
    let running = callee("callee.xml", port, RINGS).start(&server);
    let values = [("@HOLD@", "500")];
    Sipp { user: "1042", service: "9555", values: &values, ..Sipp::default() }.pass(&server);
    let called = well(running);
    assert!(called.line("INVITE ").is_some_and(|uri| uri.starts_with("sip:00555@")), "{}", called.messages);
    assert!(
        called.line("From: ").is_some_and(|from| from.contains("sip:+442070000042@")),
        "{}",
        called.messages
    );
    let asserted = called.line("P-Asserted-Identity: ");
    assert!(asserted.is_some_and(|from| from.contains("sip:+442070000042@")), "{}", called.messages);
    assert_eq!(called.line("X-Account: "), Some("1042/carrier"), "{}", called.messages);
}
