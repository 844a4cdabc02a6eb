//! Trunks behind address translation, and those that are not: whose sound is believed, and where requests go.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::{OFFER, Sipp};
use support::tone::within;
use support::{free_port, tool_missing};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const LIMIT: Duration = Duration::from_secs(30);
const HZ: u16 = 900;

fn server(nat: &str, port: u16) -> Server {
    let tables = format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"anonymous\", \"api\"]\ntrunk = \"carrier\"\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [\"{CARRIER}:{port}\"]\nallow = [\"9*\"]\noptions_interval = \"0s\"\n\
         nat = \"{nat}\"\n[media]\ncodecs = [\"PCMU\"]\n"
    );
    Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() })
}

#[test]
fn sound_from_elsewhere_is_believed_unless_the_trunk_signals_true_addresses() {
    if tool_missing(TOOLS) {
        return;
    }
    for (nat, believed) in [("auto", true), ("on", true), ("off", false)] {
        let server = server(nat, free_port());
        // Its description names a port that nobody speaks from: the translator made another of it.
        let (described, real) = (free_port(), Rtp::bind(Answer::sine(HZ)));
        let offer = OFFER.replace("@RTP@", &described.to_string());
        let values = [("@HOLD@", "3000")];
        let sipp = Sipp { host: CARRIER, offer: &offer, values: &values, limit: LIMIT, ..Sipp::default() };
        let calling = sipp.start(&server);
        server.wait_events("call.answered", 1, Duration::from_secs(8));
        // What makes the endpoint speak to us: a packet from our port would, but ours go where the description says.
        let ours = calling.messages();
        let port =
            ours.split("message received").skip(1).flat_map(str::lines).find_map(|line| {
                line.trim().strip_prefix("m=audio ")?.split(' ').next()?.parse::<u16>().ok()
            });
        real.speak_to(port.expect("our port"));
        let finished = calling.finish();
        assert!(finished.well, "{}", finished.errors);
        server.wait_events("call.ended", 1, Duration::from_secs(5));
        let recording = server.recording();
        let pcm = &recording.channels[0];
        let middle = &pcm[pcm.len() / 2..pcm.len() / 2 + 6_400];
        let heard = within(middle, recording.rate_hz, &[f64::from(HZ)]);
        assert_eq!(!heard.is_empty(), believed, "{nat}");
        assert_eq!(!real.packets().is_empty(), believed, "{nat}: what is said to it");
    }
}

#[test]
fn requests_go_to_where_the_trunk_is_seen_if_its_contact_leads_nowhere() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server("on", port);
    let rtp = Rtp::bind(Answer::sine(HZ));
    // A public address (RFC 5737) that does not lead back.
    let values = [
        ("@RING@", "200"),
        (
            "Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>",
            "Contact: <sip:sipp@203.0.113.77:5060>",
        ),
    ];
    let called = Sipp {
        scenario: "callee.xml",
        host: CARRIER,
        port: Some(port),
        rtp: rtp.port(),
        values: &values,
        limit: LIMIT,
        ..Sipp::default()
    };
    let called = called.start(&server);
    let values = [("@HOLD@", "1500")];
    let caller = Rtp::bind(Answer::sine(500));
    Sipp { service: "9555", rtp: caller.port(), values: &values, limit: LIMIT, ..Sipp::default() }
        .pass(&server);
    // The ACK and the BYE have come.
    let finished = called.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
    assert!(finished.messages.contains("BYE sip:sipp@203.0.113.77:5060 SIP/2.0"), "{}", finished.messages);
}
