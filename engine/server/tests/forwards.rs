//! Telephones that answer 3xx (RFC 3261 section 8.1.3.4): where their calls go then, and where they must not. SIPp calls,
//! registers, and is called.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Finished, Running, Sipp};
use support::tone::within;
use support::{HOST, free_port, tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
/// Where the carrier lives, so that it is told from the callers.
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CALLER_HZ: u16 = 500;
const CALLEE_HZ: u16 = 900;
const LIMIT: Duration = Duration::from_secs(30);

/// Anna is reached by 700 and Bert by 701, from anywhere; Anna's telephones may call 95 and what follows over the carrier,
/// one call at once. The passwords are hashes by MD5, all that SIPp knows, of `NAME:antiphon:a long password`.
fn server(carrier: u16, annas: &str) -> Server {
    let tables = format!(
        "[registrar]\nenabled = true\n\
         [[user]]\nname = \"anna\"\nha1 = \"2c9dd54fb465bb2ad31bd5513ccb7703\"\nnumber = \"1001\"\n\
         may_dial = [\"95*\"]\nmax_calls = 1\n{annas}\n\
         [[user]]\nname = \"bert\"\nha1 = \"3106eb2137fe19a1b71b2f31f5321b1f\"\n\
         [[route]]\ncalled = \"700\"\nuser = \"anna\"\n\
         [[route]]\ncalled = \"701\"\nuser = \"bert\"\n\
         [[route]]\ncalled = \"9*\"\nfrom = [\"user:anna\"]\ntrunk = \"carrier\"\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [\"{CARRIER}:{carrier}\"]\nallow = [\"9*\"]\n\
         options_interval = \"0s\"\n"
    );
    Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() })
}

/// A telephone of a user's that is registered; says its port.
fn telephone(server: &Server, user: &str) -> u16 {
    let port = free_port();
    let digest = Some((user, "a long password"));
    Sipp { scenario: "registers.xml", service: user, port: Some(port), digest, ..Sipp::default() }
        .pass(server);
    port
}

/// A telephone that sends every call on to these places.
fn forwarding(server: &Server, port: u16, calls: usize, contacts: &[String]) -> Running {
    let header: Vec<_> = contacts.iter().map(|contact| format!("Contact: {contact}")).collect();
    let header = header.join("\n");
    let values = [("@HEADER@", header.as_str())];
    let scenario = "forwards.xml";
    Sipp { scenario, port: Some(port), calls, values: &values, limit: LIMIT, ..Sipp::default() }.start(server)
}

fn well(running: Running) -> Finished {
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    finished
}

/// A leg: whom it tried, its status, and what became of each place it was sent on to.
type Leg = (String, Value, Vec<String>);

/// The legs of the calls that went out so far, the newest call's first.
fn legs(server: &Server, calls: usize) -> Vec<Vec<Leg>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let leg = |leg: &Value| {
        let redirections = leg["redirections"].as_array().expect("a list").iter();
        (text(&leg["to"]), leg["sip_status"].clone(), redirections.map(|one| text(&one["result"])).collect())
    };
    wait_for("the records", Duration::from_secs(10), || {
        let page = server.fetch("/v1/cdr");
        let records = page["records"].as_array().expect("records").iter();
        let out: Vec<Vec<Leg>> = records
            .filter(|record| record["direction"] == "outbound")
            .map(|record| record["legs"].as_array().expect("legs").iter().map(leg).collect())
            .collect();
        (out.len() == calls).then_some(out)
    })
}

#[test]
fn a_call_follows_a_telephone_that_forwards_and_both_hear_each_other() {
    if tool_missing(TOOLS) {
        return;
    }
    let carrier = free_port();
    let server = server(carrier, "");
    let port = telephone(&server, "anna");
    let (one, other) = (Rtp::bind(Answer::sine(CALLER_HZ)), Rtp::bind(Answer::sine(CALLEE_HZ)));
    let moved = forwarding(&server, port, 1, &[format!("<sip:9555@{HOST};user=phone>")]);
    let callee = Sipp {
        scenario: "callee.xml",
        host: CARRIER,
        port: Some(carrier),
        rtp: other.port(),
        values: &[("@RING@", "300")],
        limit: LIMIT,
        ..Sipp::default()
    };
    let callee = callee.start(&server);
    let values = [("@HOLD@", "2000")];
    Sipp { service: "700", rtp: one.port(), values: &values, limit: LIMIT, ..Sipp::default() }.pass(&server);
    let tones = [f64::from(CALLER_HZ), f64::from(CALLEE_HZ)];
    assert_eq!(within(&one.heard_last(1.0), 8_000, &tones), [tones[1]], "the caller hears the callee alone");
    assert_eq!(
        within(&other.heard_last(1.0), 8_000, &tones),
        [tones[0]],
        "the callee hears the caller alone"
    );
    well(moved);
    let callee = well(callee);
    let asked = callee.line("INVITE ").unwrap_or_default();
    assert!(asked.starts_with(&format!("sip:9555@{CARRIER}:{carrier} ")), "{asked}");
    let from = callee.line("From:").unwrap_or_default();
    assert!(from.contains("sip:1001@"), "the carrier is shown Anna's number: {from}");
    server.wait_events("call.ended", 2, Duration::from_secs(5));
    let legs = legs(&server, 1);
    let followed = vec!["followed".to_owned()];
    let expected = [("anna".to_owned(), json!(302), followed), ("9555".to_owned(), json!(200), Vec::new())];
    assert_eq!(legs[0], expected);
    let told = &server.of_type("call.redirected")[0];
    assert_eq!((&told["status"], &told["results"]), (&json!(302), &json!(["followed"])), "{told}");
    assert_eq!(server.active(), 0);
}

#[test]
fn a_telephone_sends_calls_no_further_than_its_user_may_dial() {
    if tool_missing(TOOLS) {
        return;
    }
    // Beyond `may_dial`, where no route of Anna's leads, no number at all, and without leave to forward.
    for (annas, to, result, status) in [
        ("", "9900", "forbidden", "403"),
        ("", "12345", "route", "403"),
        ("", "a%00b", "number", "480"),
        ("redirects = 0", "9555", "off", "480"),
    ] {
        let carrier = free_port();
        let server = server(carrier, annas);
        let port = telephone(&server, "anna");
        let tempting = Sipp {
            scenario: "callee.xml",
            host: CARRIER,
            port: Some(carrier),
            values: &[("@RING@", "300")],
            limit: LIMIT,
            ..Sipp::default()
        };
        let tempting = tempting.start(&server);
        // Whose host it names makes no difference.
        let moved = forwarding(&server, port, 1, &[format!("<sip:{to}@{CARRIER}:{carrier}>")]);
        let values = [("@STATUS@", status)];
        Sipp { scenario: "refused.xml", service: "700", values: &values, ..Sipp::default() }.pass(&server);
        well(moved);
        assert_eq!(tempting.stop().received("INVITE"), 0, "{to}: never dialled");
        let legs = legs(&server, 1);
        assert_eq!(legs[0], [("anna".to_owned(), json!(302), vec![result.to_owned()])], "{to}");
    }
}

#[test]
fn telephones_that_forward_to_each_other_are_left_after_one_turn() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = server(free_port(), "");
    let (annas, berts) = (telephone(&server, "anna"), telephone(&server, "bert"));
    let one = forwarding(&server, annas, 1, &[format!("<sip:701@{HOST}>")]);
    let other = forwarding(&server, berts, 1, &[format!("<sip:700@{HOST}>")]);
    let values = [("@STATUS@", "480")];
    Sipp { scenario: "refused.xml", service: "700", values: &values, ..Sipp::default() }.pass(&server);
    assert_eq!(well(one).received("INVITE"), 1);
    assert_eq!(well(other).received("INVITE"), 1);
    let legs = legs(&server, 1);
    let results: Vec<_> = legs[0].iter().map(|(to, _, results)| (to.as_str(), results.as_slice())).collect();
    assert_eq!(results, [("anna", &["followed".to_owned()][..]), ("bert", &["again".to_owned()][..])]);
}

#[test]
fn a_users_other_telephone_rings_on_while_one_forwards() {
    if tool_missing(TOOLS) {
        return;
    }
    let carrier = free_port();
    let server = server(carrier, "");
    let (desk, home) = (telephone(&server, "anna"), telephone(&server, "anna"));
    let moved = forwarding(&server, desk, 1, &[format!("<sip:9555@{HOST}>")]);
    let values = [("@STATUS@", "486 Busy Here"), ("@HEADER@", "X-Nothing: 1")];
    let busy = Sipp {
        scenario: "callee_refuses.xml",
        host: CARRIER,
        port: Some(carrier),
        values: &values,
        limit: LIMIT,
        ..Sipp::default()
    };
    let busy = busy.start(&server);
    let other = Rtp::bind(Answer::sine(CALLEE_HZ));
    let rings = Sipp {
        scenario: "callee.xml",
        user: "anna",
        port: Some(home),
        rtp: other.port(),
        values: &[("@RING@", "1200")],
        limit: LIMIT,
        ..Sipp::default()
    };
    let rings = rings.start(&server);
    let values = [("@HOLD@", "500")];
    Sipp { service: "700", values: &values, limit: LIMIT, ..Sipp::default() }.pass(&server);
    [moved, busy, rings].into_iter().for_each(|running| drop(well(running)));
    let legs = legs(&server, 1);
    let mut statuses: Vec<_> = legs[0].iter().map(|(to, status, _)| (to.as_str(), status.as_u64())).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [("9555", Some(486)), ("anna", Some(200)), ("anna", Some(302))]);
}

#[test]
fn forwarded_calls_are_counted_as_the_users_own() {
    if tool_missing(TOOLS) {
        return;
    }
    let carrier = free_port();
    let server = server(carrier, "");
    let port = telephone(&server, "anna");
    let moved = forwarding(&server, port, 2, &[format!("<sip:9555@{HOST}>")]);
    let callee = Sipp {
        scenario: "callee.xml",
        host: CARRIER,
        port: Some(carrier),
        values: &[("@RING@", "200")],
        limit: LIMIT,
        ..Sipp::default()
    };
    let callee = callee.start(&server);
    let (status, first) = server.post("/v1/calls", &json!({"to": "user:anna"}));
    assert_eq!(status, 202, "{first}");
    server.wait_events("call.answered", 1, Duration::from_secs(10));
    let (status, second) = server.post("/v1/calls", &json!({"to": "user:anna"}));
    assert_eq!(status, 202, "{second}");
    well(moved);
    server.wait_events("call.ended", 1, Duration::from_secs(10));
    let path = format!("http://{}/v1/calls/{}", server.http(), first["id"].as_str().expect("an id"));
    assert!(ureq::delete(&path).call().expect("the API answers").status().is_success());
    well(callee);
    let mut results: Vec<_> = legs(&server, 2).into_iter().map(|legs| legs[0].2.clone()).collect();
    results.sort();
    assert_eq!(results, [["followed".to_owned()], ["forbidden".to_owned()]]);
}
