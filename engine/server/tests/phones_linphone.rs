//! linphone's telephone against ours: it registers, calls and is called, holds and resumes, presses keys; over UDP and
//! TCP, in the clear and with keys in SDP. Both sides hear each other after each of these.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::linphone::{Linphone, Setup};
use support::server::{Options, Server};
use support::tone::{sine, wait_heard, within};
use support::wav::Wav;
use support::{free_port, tool_missing};

const TOOLS: &[&str] = &["linphonec"];
const TONE: &str = include_str!("scenarios/uncut_tone.yaml");
const PASSWORD: &str = "a-long-random-text";
const PHONE_HZ: f64 = 600.0;
const OUR_HZ: f64 = 1_000.0;
const TONES: [f64; 2] = [PHONE_HZ, OUR_HZ];
const PATIENCE: Duration = Duration::from_secs(15);

/// One way of calling.
#[derive(Clone, Copy)]
struct Way {
    codec: (&'static str, u32),
    transport: &'static str,
    srtp: bool,
}

fn meet(way: Way) -> (Server, Linphone) {
    meet_at(way, None, "")
}

/// A telephone with this SIP port, and a server with further tables.
fn meet_at(way: Way, port: Option<u16>, more: &str) -> (Server, Linphone) {
    let dir = tempfile::tempdir().expect("a folder");
    Wav::write(&dir.path().join("tone.wav"), 16_000, &sine(OUR_HZ, 16_000, 60.0));
    let tone = std::fs::read(dir.path().join("tone.wav")).expect("written");
    let tables = format!(
        "[media]\ncodecs = [\"opus\", \"PCMU\", \"PCMA\"]\n[registrar]\nenabled = true\n[security]\nanonymous = false\n\
         [[user]]\nname = \"anna\"\npassword = \"{PASSWORD}\"\n{more}"
    );
    let files = [("tone.wav", tone.as_slice())];
    let server =
        Server::start(Options { flow: Some(TONE), tables: &tables, files: &files, ..Options::default() });
    let registrar = format!("{};transport={}", server.sip(), way.transport);
    let phone = Linphone::start(Setup {
        codec: way.codec,
        says: &sine(PHONE_HZ, 16_000, 120.0),
        srtp: way.srtp,
        account: ("anna", PASSWORD),
        registrar: &registrar,
        port,
    });
    (server, phone)
}

fn phone_hears(phone: &Linphone, when: &str) {
    wait_heard(&format!("the telephone, {when}"), &TONES, &[OUR_HZ], || {
        let heard = phone.heard();
        let from = heard.channels[0].len().saturating_sub(heard.rate_hz as usize);
        (heard.channels[0][from..].to_vec(), heard.rate_hz)
    });
}

/// Holds and resumes from either side; each side is heard before and after.
fn hold(server: &Server, phone: &mut Linphone) {
    phone_hears(phone, "at first");
    phone.command("pause");
    phone.wait_said("is now paused", 1);
    server.wait_events("hold.started", 1, PATIENCE);
    phone.command("resume");
    server.wait_events("hold.ended", 1, PATIENCE);
    phone.play();
    phone_hears(phone, "after its hold");
    // Long enough for a second of it in the recording.
    std::thread::sleep(Duration::from_millis(1_500));
}

/// What the recording of the one call has to hold, and what was agreed on.
fn check(server: &Server, way: Way) {
    let answered = &server.of_type("call.answered")[0];
    assert!(
        answered["codec"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(way.codec.0)),
        "{answered}"
    );
    assert_eq!(answered["security"], if way.srtp { "sdes" } else { "none" });
    let recording = server.recording();
    let second = recording.rate_hz as usize;
    for (channel, hz) in [(0, PHONE_HZ), (1, OUR_HZ)] {
        let pcm = &recording.channels[channel];
        let last = pcm.len() - second - second / 4;
        for (when, from) in [("at first", second), ("after the hold", last)] {
            let heard = within(&pcm[from..from + second * 4 / 5], recording.rate_hz, &TONES);
            assert_eq!(heard, [hz], "our recording's channel {channel}, {when}");
        }
    }
    assert_eq!(server.errors(), [""; 0], "a plain call meets no error");
}

fn calls_us(way: Way) {
    if tool_missing(TOOLS) {
        return;
    }
    let (server, mut phone) = meet(way);
    phone.command(&format!("call sip:line@{}", server.sip()));
    phone.wait_said("connected", 1);
    server.wait_events("prompt.started", 1, PATIENCE);
    hold(&server, &mut phone);
    phone.command("terminate");
    assert_eq!(server.cause(), "call.hangup.caller");
    check(&server, way);
}

fn is_called(way: Way) {
    if tool_missing(TOOLS) {
        return;
    }
    let (server, mut phone) = meet(way);
    talks(&server, &mut phone, "user:anna", way);
}

/// The telephone is called by this name, holds and resumes, and hangs up.
fn talks(server: &Server, phone: &mut Linphone, to: &str, way: Way) {
    phone.command("autoanswer enable");
    let (status, reply) = server.post("/v1/calls", &json!({"to": to, "flow": "line"}));
    assert_eq!(status, 202, "{reply}");
    server.wait_events("prompt.started", 1, PATIENCE);
    hold(server, phone);
    phone.command("terminate");
    assert_eq!(server.cause(), "call.hangup.caller");
    check(server, way);
}

#[test]
fn linphone_calls_by_pcmu_over_udp_in_the_clear() {
    calls_us(Way { codec: ("PCMU", 8_000), transport: "udp", srtp: false });
}

#[test]
fn linphone_calls_by_opus_over_tcp_with_keys_in_the_offer() {
    calls_us(Way { codec: ("opus", 48_000), transport: "tcp", srtp: true });
}

#[test]
fn linphone_is_called_by_opus_over_udp_in_the_clear() {
    is_called(Way { codec: ("opus", 48_000), transport: "udp", srtp: false });
}

#[test]
fn linphone_is_called_by_pcma_over_tcp_in_the_clear() {
    is_called(Way { codec: ("PCMA", 8_000), transport: "tcp", srtp: false });
}

#[test]
fn linphone_is_called_over_a_trunk_with_keys_in_our_offer() {
    if tool_missing(TOOLS) {
        return;
    }
    // It takes nothing without them.
    for transport in ["udp", "tcp"] {
        let way = Way { codec: ("opus", 48_000), transport, srtp: true };
        let port = free_port();
        let trunk = format!(
            "[[route]]\ncalled = \"9*\"\nfrom = [\"api\"]\ntrunk = \"desk\"\n[[trunk]]\nname = \"desk\"\n\
             hosts = [\"127.0.0.1:{port};transport={transport}\"]\nmatch = [\"192.0.2.77\"]\nallow = [\"9*\"]\n\
             options_interval = \"0s\"\nsrtp = \"required\"\n"
        );
        let (server, mut phone) = meet_at(way, Some(port), &trunk);
        talks(&server, &mut phone, "9555", way);
    }
}

#[test]
fn keys_of_linphone_come_once_each() {
    if tool_missing(TOOLS) {
        return;
    }
    let (server, mut phone) = meet(Way { codec: ("PCMU", 8_000), transport: "udp", srtp: false });
    phone.command(&format!("call sip:line@{}", server.sip()));
    phone.wait_said("connected", 1);
    server.wait_events("prompt.started", 1, PATIENCE);
    for (n, key) in ["5", "#", "0"].iter().enumerate() {
        phone.command(key);
        server.wait_events("dtmf", n + 1, PATIENCE);
    }
    // A key that came twice would have done so by now.
    std::thread::sleep(Duration::from_secs(2));
    phone.command("terminate");
    server.cause();
    let keys: String = server.of_type("dtmf").iter().filter_map(|event| event["key"].as_str()).collect();
    assert_eq!(keys, "5#0");
}
