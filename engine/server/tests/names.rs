//! Trunks by name: SRV records (RFC 3263) say where calls go, in which order, and whose calls are the trunk's.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use support::dns::{Dns, Record};
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{Running, Sipp};
use support::{free_port, tool_missing};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SPARE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const LIMIT: Duration = Duration::from_secs(30);

fn srv(priority: u16, weight: u16, port: u16, target: &'static str) -> (&'static str, Record) {
    ("_sip._udp.carrier.test", Record::Srv { priority, weight, port, target })
}

fn hosts() -> [(&'static str, Record); 2] {
    [("one.carrier.test", Record::A(CARRIER)), ("two.carrier.test", Record::A(SPARE))]
}

/// A server with a trunk that is a domain.
fn server(dns: &Dns) -> Server {
    let tables = "[[route]]\ncalled = \"9*\"\nfrom = [\"anonymous\"]\ntrunk = \"carrier\"\n\
                  [[trunk]]\nname = \"carrier\"\nhosts = [\"carrier.test\"]\nallow = [\"9*\"]\noptions_interval = \"0s\"\n\
                  try_limit = \"500ms\"\n";
    let sip = format!("name_servers = [\"{}\"]\n", dns.address());
    Server::start(Options { flow: Some(LINE), tables, sip: &sip, ..Options::default() })
}

fn callee(
    server: &Server,
    scenario: &str,
    host: Ipv4Addr,
    port: u16,
    rtp: &Rtp,
    values: &[(&str, &str)],
) -> Running {
    let (port, rtp) = (Some(port), rtp.port());
    Sipp { scenario, host, port, rtp, values, limit: LIMIT, ..Sipp::default() }.start(server)
}

fn call(server: &Server) {
    let rtp = Rtp::bind(Answer::sine(500));
    let values = [("@HOLD@", "800")];
    Sipp { service: "9555", rtp: rtp.port(), values: &values, limit: LIMIT, ..Sipp::default() }.pass(server);
}

fn well(running: Running) -> String {
    let finished = running.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    finished.messages
}

const RINGS: &[(&str, &str)] = &[("@RING@", "200")];

#[test]
fn a_dead_or_overloaded_server_gives_way_to_the_next_priority() {
    if tool_missing(TOOLS) {
        return;
    }
    for status in [None, Some("503 Service Unavailable")] {
        let (first, second) = (free_port(), free_port());
        // The heavier one is the worse one: priority comes first.
        let records = [srv(20, 100, second, "two.carrier.test"), srv(10, 1, first, "one.carrier.test")];
        let dns = Dns::start(records.into_iter().chain(hosts()).collect());
        let server = server(&dns);
        let rtp = Rtp::bind(Answer::sine(900));
        let values = [("@STATUS@", status.unwrap_or_default()), ("@HEADER@", "X-Nothing: 1")];
        let refusing = status.map(|_| callee(&server, "callee_refuses.xml", CARRIER, first, &rtp, &values));
        let spare = callee(&server, "callee.xml", SPARE, second, &rtp, RINGS);
        let begun = Instant::now();
        call(&server);
        assert!(begun.elapsed() < Duration::from_secs(8), "{status:?}: {:?}", begun.elapsed());
        let messages = well(spare);
        // The name stays in the Request-URI; only the way is another.
        assert!(messages.contains("INVITE sip:9555@carrier.test SIP/2.0"), "{messages}");
        if let Some(refusing) = refusing {
            well(refusing);
        }
    }
}

#[test]
fn calls_are_spread_over_equals_by_their_weights() {
    if tool_missing(TOOLS) {
        return;
    }
    let (first, second) = (free_port(), free_port());
    let records = [srv(10, 0, first, "one.carrier.test"), srv(10, 65_535, second, "two.carrier.test")];
    let dns = Dns::start(records.into_iter().chain(hosts()).collect());
    let server = server(&dns);
    let rtp = Rtp::bind(Answer::sine(900));
    let light = callee(&server, "callee.xml", CARRIER, first, &rtp, RINGS);
    for _ in 0..3 {
        let heavy = callee(&server, "callee.xml", SPARE, second, &rtp, RINGS);
        call(&server);
        well(heavy);
    }
    // One call in 65,536 would be its.
    assert_eq!(light.stop().received("INVITE"), 0);
}

#[test]
fn a_call_from_a_server_of_the_domain_is_the_trunks() {
    if tool_missing(TOOLS) {
        return;
    }
    let dns = Dns::start([srv(10, 1, 5060, "two.carrier.test")].into_iter().chain(hosts()).collect());
    let tables = "[[route]]\ncalled = \"700\"\nfrom = [\"trunk:carrier\"]\nflow = \"@DIR@/flow.yaml\"\n\
                  [[route]]\ncalled = \"700\"\nreject = 403\n\
                  [[trunk]]\nname = \"carrier\"\nhosts = [\"carrier.test\"]\noptions_interval = \"0s\"\n";
    let sip = format!("name_servers = [\"{}\"]\n", dns.address());
    let server = Server::start(Options { flow: Some(LINE), tables, sip: &sip, ..Options::default() });
    support::wait_for("the names to be looked up", Duration::from_secs(10), || {
        let values = [("@HOLD@", "200")];
        let sipp = Sipp { service: "700", host: SPARE, values: &values, limit: LIMIT, ..Sipp::default() };
        sipp.run(&server).well.then_some(())
    });
    let values = [("@STATUS@", "403")];
    Sipp { scenario: "refused.xml", service: "700", host: CARRIER, values: &values, ..Sipp::default() }
        .pass(&server);
}
