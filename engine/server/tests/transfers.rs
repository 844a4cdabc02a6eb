//! Calls that are handed on: by us and by the far side, blind (REFER, RFC 3515) and attended (Replaces, RFC 3891), with
//! what becomes of each, and the caller back where it fails.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test waits, and says who heard whom")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Finished, Running, Sipp};
use support::tone::wait_heard;
use support::{free_port, tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
const HANDED_ON: &str = include_str!("scenarios/handed_on.yaml");
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const TONES: [f64; 3] = [500.0, 900.0, 1_300.0];
const LIMIT: Duration = Duration::from_secs(40);

/// Callers at 127.0.0.1 are an exchange that is trusted; 9 leads to a carrier, 7 to a desk.
fn tables(carrier: u16, desk: u16) -> String {
    let trunk = |name: &str, digit: u8, port: u16| {
        format!(
            "[[trunk]]\nname = \"{name}\"\nhosts = [\"{CARRIER}:{port}\"]\nallow = [\"{digit}*\"]\noptions_interval = \"0s\"\n\
             [[route]]\ncalled = \"{digit}*\"\nfrom = [\"trunk:pbx\", \"api\"]\ntrunk = \"{name}\"\n"
        )
    };
    format!(
        "[[trunk]]\nname = \"pbx\"\nmatch = [\"127.0.0.1\"]\ntrusted = true\n{}{}",
        trunk("carrier", 9, carrier),
        trunk("desk", 7, desk)
    )
}

fn server(flow: &str, carrier: u16, desk: u16) -> Server {
    Server::start(Options { flow: Some(flow), tables: &tables(carrier, desk), ..Options::default() })
}

fn callee(server: &Server, scenario: &str, port: u16, rtp: &Rtp, values: &[(&str, &str)]) -> Running {
    let (port, rtp) = (Some(port), rtp.port());
    Sipp { scenario, host: CARRIER, port, rtp, values, limit: LIMIT, ..Sipp::default() }.start(server)
}

fn well(running: Running) -> Finished {
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    finished
}

fn hears(what: &str, rtp: &Rtp, expected: f64) {
    wait_heard(what, &TONES, &[expected], || (rtp.heard_last(0.7), 8_000));
}

fn outcome(server: &Server) -> String {
    let finished = server.wait_events("transfer.finished", 1, Duration::from_secs(12));
    finished[0]["outcome"].as_str().expect("an outcome").to_owned()
}

#[test]
fn a_caller_who_is_sent_elsewhere_reports_how_it_went() {
    if tool_missing(TOOLS) {
        return;
    }
    for (result, outcome_told, prompt) in [
        ("200 OK", "completed", None),
        ("486 Busy Here", "busy", Some("Everybody is busy.")),
        ("603 Decline", "declined", Some("Nobody wants to speak with you.")),
        ("480 Temporarily Unavailable", "no_answer", Some("Nobody is there.")),
        ("408 Request Timeout", "no_answer", Some("Nobody is there.")),
        ("404 Not Found", "failed", Some("That did not work.")),
    ] {
        let flow = HANDED_ON.replace("@TO@", "2002").replace("@HOW@", "refer");
        let server = Server::start(Options { flow: Some(&flow), ..Options::default() });
        let values = [("@RESULT@", result)];
        let sipp = Sipp { scenario: "referred.xml", values: &values, limit: LIMIT, ..Sipp::default() };
        let finished = sipp.pass(&server);
        assert!(
            finished.line("Refer-To: ").is_some_and(|to| to.contains("sip:2002@")),
            "{}",
            finished.messages
        );
        assert_eq!(outcome(&server), outcome_told, "{result}");
        let cause = if prompt.is_some() { "call.hangup.flow" } else { "call.hangup.transferred" };
        assert_eq!(server.cause(), cause, "{result}");
        let said: Vec<_> = server.of_type("prompt.started");
        if let Some(prompt) = prompt {
            assert_eq!(said[0]["text"], prompt, "{result}");
        }
    }
}

#[test]
fn a_caller_who_will_not_be_sent_elsewhere_is_told_so_by_the_flow() {
    if tool_missing(TOOLS) {
        return;
    }
    let flow = HANDED_ON.replace("@TO@", "2002").replace("@HOW@", "refer");
    let server = Server::start(Options { flow: Some(&flow), ..Options::default() });
    Sipp { scenario: "referred_not.xml", limit: LIMIT, ..Sipp::default() }.pass(&server);
    assert!(["declined", "failed"].contains(&outcome(&server).as_str()));
    assert_eq!(server.cause(), "call.hangup.flow");
}

#[test]
fn a_flow_hands_the_caller_to_somebody_and_has_him_back_afterwards() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let flow = HANDED_ON.replace("@TO@", "9555").replace("@HOW@", "bridge");
    let server = server(&flow, port, free_port());
    let (caller, agent) = (Rtp::bind(Answer::sine(500)), Rtp::bind(Answer::sine(900)));
    let called = callee(&server, "callee_ends.xml", port, &agent, &[("@HOLD@", "2500")]);
    let sipp = Sipp { scenario: "ends_or_is_ended.xml", rtp: caller.port(), limit: LIMIT, ..Sipp::default() };
    let calling = sipp.start(&server);
    server.wait_events("bridge.started", 2, Duration::from_secs(8));
    std::thread::sleep(Duration::from_millis(1_800));
    hears("joined", &caller, 900.0);
    hears("joined", &agent, 500.0);
    well(called);
    well(calling);
    assert_eq!(outcome(&server), "completed");
    let said: Vec<_> = server.of_type("prompt.started").iter().map(|prompt| prompt["text"].clone()).collect();
    assert_eq!(said, ["You are back.", "Goodbye."]);
}

#[test]
fn a_flow_has_the_caller_back_where_nobody_can_be_reached() {
    if tool_missing(TOOLS) {
        return;
    }
    for (status, told, prompt) in [
        ("486 Busy Here", "busy", "Everybody is busy."),
        ("603 Decline", "declined", "Nobody wants to speak with you."),
        ("480 Temporarily Unavailable", "no_answer", "Nobody is there."),
        ("404 Not Found", "failed", "That did not work."),
        ("silence", "no_answer", "Nobody is there."),
    ] {
        let port = free_port();
        let flow = HANDED_ON.replace("@TO@", "9555").replace("@HOW@", "bridge");
        let server = server(&flow, port, free_port());
        let rtp = Rtp::bind(Answer::Nothing);
        let values = [("@STATUS@", status), ("@HEADER@", "X-Nothing: 1")];
        let scenario = if status == "silence" { "callee_silent.xml" } else { "callee_refuses.xml" };
        let called = callee(&server, scenario, port, &rtp, &values);
        Sipp { scenario: "ends_or_is_ended.xml", limit: LIMIT, ..Sipp::default() }.pass(&server);
        well(called);
        assert_eq!(outcome(&server), told, "{status}");
        assert_eq!(server.of_type("prompt.started")[0]["text"], prompt, "{status}");
    }
}

#[test]
fn a_number_that_no_route_leads_to_is_forbidden_to_a_flow_too() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let flow = HANDED_ON.replace("@TO@", "+1900555").replace("@HOW@", "bridge");
    let server = server(&flow, port, free_port());
    let rtp = Rtp::bind(Answer::Nothing);
    let called = callee(&server, "callee.xml", port, &rtp, &[("@RING@", "100")]);
    Sipp { scenario: "ends_or_is_ended.xml", limit: LIMIT, ..Sipp::default() }.pass(&server);
    assert!(["failed", "forbidden"].contains(&outcome(&server).as_str()));
    assert_eq!(called.stop().received("INVITE"), 0);
}

/// A and B are joined; A sends B to the desk.
fn refers(desk_scenario: &str, values: &[(&str, &str)], result: &str) -> (Server, [Rtp; 3], [Running; 3]) {
    let (carrier, desk) = (free_port(), free_port());
    let server = server(LINE, carrier, desk);
    let rtp = [500, 900, 1_300].map(|hz| Rtp::bind(Answer::sine(hz)));
    let called = callee(&server, "callee.xml", carrier, &rtp[1], &[("@RING@", "100")]);
    let desk = callee(&server, desk_scenario, desk, &rtp[2], values);
    let target = format!("sip:7001@{}", server.sip());
    let values = [("@TARGET@", target.as_str()), ("@RESULT@", result), ("@HOLD@", "6000")];
    let calling = Sipp {
        scenario: "refers.xml",
        service: "9555",
        rtp: rtp[0].port(),
        values: &values,
        limit: LIMIT,
        ..Sipp::default()
    }
    .start(&server);
    server.wait_events("bridge.started", 2, Duration::from_secs(8));
    std::thread::sleep(Duration::from_millis(1_600));
    hears("before the transfer", &rtp[0], 900.0);
    hears("before the transfer", &rtp[1], 500.0);
    (server, rtp, [calling, called, desk])
}

#[test]
fn the_far_side_sends_its_partner_to_somebody_who_answers() {
    if tool_missing(TOOLS) {
        return;
    }
    let (server, rtp, [calling, called, desk]) = refers("callee.xml", &[("@RING@", "300")], "200");
    well(calling);
    std::thread::sleep(Duration::from_millis(1_800));
    hears("after the transfer", &rtp[1], 1_300.0);
    hears("after the transfer", &rtp[2], 900.0);
    desk.stop();
    called.stop();
    drop(server);
}

#[test]
fn the_far_side_is_told_that_its_partner_could_not_be_sent_away() {
    if tool_missing(TOOLS) {
        return;
    }
    for (status, code) in
        [("486 Busy Here", "486"), ("603 Decline", "603"), ("480 Temporarily Unavailable", "480")]
    {
        let values = [("@STATUS@", status), ("@HEADER@", "X-Nothing: 1")];
        let (_server, _rtp, [calling, called, desk]) = refers("callee_refuses.xml", &values, code);
        well(desk);
        // The two are still joined: the end of one ends the other.
        let told = well(calling);
        assert!(told.messages.contains(&format!("\r\nSIP/2.0 {code}")), "{}", told.messages);
        well(called);
    }
}

#[test]
fn nobody_but_users_and_trusted_trunks_may_refer() {
    if tool_missing(TOOLS) {
        return;
    }
    let desk = free_port();
    let tables = tables(free_port(), desk).replace("trusted = true", "");
    let server = Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() });
    let rtp = Rtp::bind(Answer::Nothing);
    let waiting = callee(&server, "callee.xml", desk, &rtp, &[("@RING@", "100")]);
    let target = format!("sip:7001@{}", server.sip());
    for (scenario, status) in [("refer_refused.xml", "603"), ("refer_stranger.xml", "403")] {
        let values = [("@TARGET@", target.as_str()), ("@STATUS@", status)];
        let finished = Sipp { scenario, values: &values, ..Sipp::default() }.run(&server);
        let refused = finished.received("SIP/2.0 403")
            + finished.received("SIP/2.0 405")
            + finished.received("SIP/2.0 603");
        assert_eq!(refused, 1, "{scenario}: {}", finished.messages);
    }
    assert_eq!(waiting.stop().received("INVITE"), 0);
}

#[test]
fn an_invitation_takes_the_place_of_a_call() {
    if tool_missing(TOOLS) {
        return;
    }
    let carrier = free_port();
    let server = server(LINE, carrier, free_port());
    let rtp = [500, 900, 1_300].map(|hz| Rtp::bind(Answer::sine(hz)));
    let called = callee(&server, "callee.xml", carrier, &rtp[1], &[("@RING@", "100")]);
    let first = Sipp {
        scenario: "replaced.xml",
        service: "9555",
        rtp: rtp[0].port(),
        limit: LIMIT,
        ..Sipp::default()
    };
    let first = first.start(&server);
    server.wait_events("bridge.started", 2, Duration::from_secs(8));
    let seen = wait_for("the 200", Duration::from_secs(3), || {
        let messages = first.messages();
        messages.contains("ACK sip:").then_some(messages)
    });
    let value = |name: &str, inside: &str| -> String {
        let mut lines = seen.lines().map(str::trim).filter_map(|line| line.strip_prefix(name));
        lines
            .find(|line| line.contains(inside))
            .unwrap_or_else(|| panic!("{name} {inside}: {seen}"))
            .to_owned()
    };
    let tag = |header: String| header.rsplit("tag=").next().expect("a tag").to_owned();
    let (call_id, from, to) =
        (value("Call-ID: ", ""), tag(value("From: ", "tag=")), tag(value("To: ", "tag=")));
    let replaces = format!("{call_id};to-tag={to};from-tag={from}");
    let stranger = format!("{call_id}x;to-tag={to};from-tag={from}");
    Sipp { scenario: "replacing_nothing.xml", values: &[("@REPLACES@", &stranger)], ..Sipp::default() }
        .pass(&server);
    let values = [("@REPLACES@", replaces.as_str()), ("@HOLD@", "2500")];
    let second = Sipp { scenario: "replacing.xml", rtp: rtp[2].port(), values: &values, ..Sipp::default() };
    let second = second.start(&server);
    well(first);
    std::thread::sleep(Duration::from_millis(1_900));
    hears("after the replacement", &rtp[1], 1_300.0);
    hears("after the replacement", &rtp[2], 900.0);
    well(second);
    well(called);
}

#[test]
fn two_calls_of_ours_are_joined_by_their_own_sides() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = Server::start(Options { flow: Some(LINE), ..Options::default() });
    let other = Sipp { user: "other", scenario: "ends_or_is_ended.xml", limit: LIMIT, ..Sipp::default() };
    let other = other.start(&server);
    server.wait_events("call.answered", 1, Duration::from_secs(5));
    let values = [("@RESULT@", "200 OK")];
    let referred =
        Sipp { user: "first", scenario: "referred.xml", values: &values, limit: LIMIT, ..Sipp::default() };
    let referred = referred.start(&server);
    let answered = server.wait_events("call.answered", 2, Duration::from_secs(5));
    let started = server.of_type("call.started");
    let call = |from: &str| {
        let event = started.iter().find(|event| event["from"] == from).expect("it has begun");
        event["call"].as_str().expect("an id").to_owned()
    };
    assert_eq!(answered.len(), 2);
    let (status, answer) =
        server.post(&format!("/v1/calls/{}/transfer", call("first")), &json!({"to_call": call("other")}));
    assert_eq!(status, 202, "{answer}");
    let finished = well(referred);
    let target = finished.line("Refer-To: ").unwrap_or_default();
    assert!(target.contains("sip:other@127.0.0.1") && target.contains("Replaces="), "{}", finished.messages);
    assert_eq!(outcome(&server), "completed");
    other.stop();
}
