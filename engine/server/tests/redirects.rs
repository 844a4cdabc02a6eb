//! Hosts of a trunk that answer 3xx (RFC 3261 section 8.1.3.4): where a call goes then, and where it must not. SIPp calls, SIPp
//! is called.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Finished, Running, Sipp};
use support::tone::within;
use support::{free_port, tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
/// Where the carrier lives, so that it is told from the callers.
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CALLER_HZ: u16 = 500;
const CALLEE_HZ: u16 = 900;
const LIMIT: Duration = Duration::from_secs(30);

/// 9 leads to a carrier of these hosts, which may be called for numbers that begin with 95 or 96.
fn server(ports: &[u16], more: &str) -> Server {
    let hosts: Vec<_> = ports.iter().map(|port| format!("\"{CARRIER}:{port}\"")).collect();
    let tables = format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"anonymous\", \"api\"]\ntrunk = \"carrier\"\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [{}]\nallow = [\"95*\", \"96*\"]\noptions_interval = \"0s\"\n{more}\n",
        hosts.join(", ")
    );
    Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() })
}

/// A host that answers every call with a 302 to these places.
fn redirecting(server: &Server, port: u16, contacts: &[String]) -> Running {
    let header: Vec<_> = contacts.iter().map(|contact| format!("Contact: {contact}")).collect();
    let header = header.join("\n");
    let values = [("@STATUS@", "302 Moved Temporarily"), ("@HEADER@", header.as_str())];
    called("callee_refuses.xml", port, &values).start(server)
}

fn called<'a>(scenario: &'a str, port: u16, values: &'a [(&'a str, &'a str)]) -> Sipp<'a> {
    Sipp { scenario, host: CARRIER, port: Some(port), values, limit: LIMIT, ..Sipp::default() }
}

fn well(running: Running) -> Finished {
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    finished
}

/// A leg: whom it tried and where, its status, and the places it was sent on to, with what became of each.
type Leg = (String, Value, Vec<(String, String)>);

/// The legs of the one call that went out.
fn legs(server: &Server) -> Vec<Leg> {
    let record = wait_for("the record", Duration::from_secs(10), || {
        let page = server.fetch("/v1/cdr");
        let records = page["records"].as_array().expect("records").clone();
        records.into_iter().find(|record| record["direction"] == "outbound")
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let redirection = |value: &Value| (text(&value["target"]), text(&value["result"]));
    let leg = |leg: &Value| {
        let redirections = leg["redirections"].as_array().expect("a list").iter().map(redirection).collect();
        (format!("{}@{}", text(&leg["to"]), text(&leg["host"])), leg["sip_status"].clone(), redirections)
    };
    record["legs"].as_array().expect("legs").iter().map(leg).collect()
}

#[test]
fn a_call_goes_where_it_is_sent_in_the_order_of_q_and_both_hear_each_other() {
    if tool_missing(TOOLS) {
        return;
    }
    let (first, busy, taken) = (free_port(), free_port(), free_port());
    let server = server(&[first], "");
    let (one, other) = (Rtp::bind(Answer::sine(CALLER_HZ)), Rtp::bind(Answer::sine(CALLEE_HZ)));
    let contacts = [
        format!("<sip:9602@{CARRIER}:{taken}>;q=0.2"),
        format!("<sip:9601@{CARRIER}:{busy};user=phone>;q=0.8"),
        // A premium number, at a host of the trunk and at another.
        format!("<sip:9900@{CARRIER}:{taken}>;q=0.9"),
        "<sip:9601@127.0.0.3>;q=0.9".to_owned(),
    ];
    let moved = redirecting(&server, first, &contacts);
    let values = [("@STATUS@", "486 Busy Here"), ("@HEADER@", "X-Nothing: 1")];
    let busy_one = called("callee_refuses.xml", busy, &values).start(&server);
    let callee =
        Sipp { rtp: other.port(), ..called("callee.xml", taken, &[("@RING@", "300")]) }.start(&server);
    let values = [("@HOLD@", "2000")];
    Sipp { service: "9555", rtp: one.port(), values: &values, limit: LIMIT, ..Sipp::default() }.pass(&server);
    let tones = [f64::from(CALLER_HZ), f64::from(CALLEE_HZ)];
    assert_eq!(within(&one.heard_last(1.0), 8_000, &tones), [tones[1]], "the caller hears the callee alone");
    assert_eq!(
        within(&other.heard_last(1.0), 8_000, &tones),
        [tones[0]],
        "the callee hears the caller alone"
    );
    well(moved);
    well(busy_one);
    let callee = well(callee);
    let asked = callee.line("INVITE ").unwrap_or_default();
    assert!(asked.starts_with(&format!("sip:9602@{CARRIER}:{taken} ")), "{asked}");

    server.wait_events("call.ended", 2, Duration::from_secs(5));
    let legs = legs(&server);
    let tried: Vec<_> = legs.iter().map(|(at, status, _)| (at.as_str(), status.as_u64())).collect();
    let at = |number: &str, port: u16| format!("{number}@{CARRIER}:{port}");
    let (a, b, c) = (at("9555", first), at("9601", busy), at("9602", taken));
    assert_eq!(tried, [(a.as_str(), Some(302)), (b.as_str(), Some(486)), (c.as_str(), Some(200))]);
    let result = |part: &str| {
        let found = legs[0].2.iter().find(|(target, _)| target.contains(part));
        found.map(|(_, result)| result.as_str())
    };
    assert_eq!(result("9602@"), Some("followed"));
    assert_eq!(result(&format!("9601@{CARRIER}")), Some("followed"));
    assert_eq!((result("9900@"), result("127.0.0.3")), (Some("forbidden"), Some("host")));
    let told = &server.of_type("call.redirected")[0];
    assert_eq!(told["to"].as_array().map(Vec::len), told["results"].as_array().map(Vec::len), "{told}");
    assert_eq!(server.active(), 0);
}

#[test]
fn hosts_that_send_a_call_round_in_a_circle_are_left_after_one_turn() {
    if tool_missing(TOOLS) {
        return;
    }
    let (first, second) = (free_port(), free_port());
    let server = server(&[first], "");
    let one = redirecting(&server, first, &[format!("<sip:9555@{CARRIER}:{second}>")]);
    let other = redirecting(&server, second, &[format!("<sip:9555@{CARRIER}:{first}>")]);
    let (status, begun) = server.post("/v1/calls", &json!({"to": "9555"}));
    assert_eq!(status, 202, "{begun}");
    assert_eq!(well(one).received("INVITE"), 1);
    assert_eq!(well(other).received("INVITE"), 1);
    let legs = legs(&server);
    assert_eq!(legs.len(), 2, "{legs:?}");
    assert!(
        legs[1].2.iter().any(|(to, result)| to.contains(&first.to_string()) && result == "again"),
        "{legs:?}"
    );
}

#[test]
fn a_chain_of_redirections_ends_after_five_targets() {
    if tool_missing(TOOLS) {
        return;
    }
    let ports: Vec<_> = (0..6).map(|_| free_port()).collect();
    let server = server(&ports[..1], "");
    let next = |n: usize| vec![format!("<sip:960{n}@{CARRIER}:{}>", ports[n])];
    let hosts: Vec<_> = (0..5).map(|n| redirecting(&server, ports[n], &next(n + 1))).collect();
    let last = called("callee.xml", ports[5], &[("@RING@", "300")]).start(&server);
    let (status, begun) = server.post("/v1/calls", &json!({"to": "9555"}));
    assert_eq!(status, 202, "{begun}");
    hosts.into_iter().for_each(|host| drop(well(host)));
    let legs = legs(&server);
    assert_eq!(legs.len(), 5, "{legs:?}");
    assert!(legs[4].2.iter().any(|(to, result)| to.contains("9605@") && result == "limit"), "{legs:?}");
    assert_eq!(last.stop().received("INVITE"), 0, "the sixth is not called");
}

#[test]
fn a_redirection_that_is_refused_says_why_and_the_caller_hears_403() {
    if tool_missing(TOOLS) {
        return;
    }
    // With and without leave to follow any.
    for (more, result, status) in [("", "forbidden", "403"), ("redirects = 0", "off", "480")] {
        let (first, premium) = (free_port(), free_port());
        let server = server(&[first], more);
        let moved = redirecting(&server, first, &[format!("<sip:9900@{CARRIER}:{premium}>")]);
        let tempting = called("callee.xml", premium, &[("@RING@", "300")]).start(&server);
        let values = [("@STATUS@", status)];
        Sipp { scenario: "refused.xml", service: "9555", values: &values, ..Sipp::default() }.pass(&server);
        well(moved);
        assert_eq!(tempting.stop().received("INVITE"), 0, "never dialled");
        let legs = legs(&server);
        assert_eq!(legs.len(), 1, "{legs:?}");
        assert!(legs[0].2.iter().any(|(to, why)| to.contains("9900@") && why == result), "{legs:?}");
    }
}
