//! Web pages behind firewalls: through a relay (coturn, with credentials that we made for that call), and over TCP.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test waits, and says what it left out"
)]

mod support;

use std::time::Duration;

use support::certificate::Certificate;
use support::chromium::{Chromium, HEARD_HZ};
use support::coturn::{Coturn, SECRET};
use support::server::{Options, Server};
use support::tone::{sine, wait_heard, within};
use support::wav::Wav;
use support::{free_port, tool_missing, wait_for};

const TOOLS: &[&str] = &["chromium", "turnserver"];
const TONE: &str = include_str!("scenarios/uncut_tone.yaml");
const PAGE_HZ: f64 = 600.0;
const OUR_HZ: f64 = 1_000.0;
const TONES: [f64; 2] = [PAGE_HZ, OUR_HZ];
const PATIENCE: Duration = Duration::from_secs(20);

/// Lets the page use relays alone, and keeps its connection where a test finds it.
const RELAY_ONLY: &str = "{
    const Real = RTCPeerConnection;
    window.RTCPeerConnection = class extends Real {
        constructor(settings) {
            super({ ...settings, iceTransportPolicy: 'relay' });
            window.peer = this;
        }
    };
}";
/// Keeps the connection where a test finds it.
const KEPT: &str = "{
    const Real = RTCPeerConnection;
    window.RTCPeerConnection = class extends Real {
        constructor(settings) {
            super(settings);
            window.peer = this;
        }
    };
}";
/// Hides our candidates over UDP from the page, as a firewall that drops what goes there.
const TCP_ONLY: &str = "{
    const Real = RTCPeerConnection;
    window.RTCPeerConnection = class extends Real {
        constructor(settings) {
            super(settings);
            window.peer = this;
        }
        setRemoteDescription({ type, sdp }) {
            const lines = sdp.split('\\r\\n').filter((line) => !/^a=candidate:.* udp /i.test(line));
            return super.setRemoteDescription({ type, sdp: lines.join('\\r\\n') });
        }
    };
}";
/// The way that media takes: our candidate's type, and how the relay is reached.
const WAY: &str = "peer.getStats().then((all) => {
    const reports = [...all.values()];
    const pair = reports.find((report) => report.type === 'candidate-pair' && report.nominated);
    const local = all.get(pair.localCandidateId);
    return `${local.candidateType} ${local.relayProtocol ?? local.protocol}`;
})";

/// A page whose connections are changed by a script calls a line that plays a tone: which way its media took, and that
/// both sides were heard.
fn call(tables: &str, script: &str, way: &str) -> Server {
    let server = call_despite(tables, script, way, |_| {});
    assert_eq!(server.errors(), [""; 0], "a plain call meets no error");
    server
}

/// The same after `first`, whatever the server calls an error; without a `way`, by any but a relay.
fn call_despite(tables: &str, script: &str, way: &str, first: impl FnOnce(&Server)) -> Server {
    let dir = tempfile::tempdir().expect("a folder");
    let (ours, microphone) = (dir.path().join("tone.wav"), dir.path().join("microphone.wav"));
    Wav::write(&ours, 16_000, &sine(OUR_HZ, 16_000, 60.0));
    Wav::write(&microphone, 48_000, &sine(PAGE_HZ, 48_000, 90.0));
    let tone = std::fs::read(ours).expect("written");
    let server = Server::start(Options {
        flow: Some(TONE),
        http: "examples = true",
        tables: &format!("[log]\nlevel = \"info,antiphon=debug\"\n{tables}"),
        files: &[("tone.wav", tone.as_slice())],
        ..Options::default()
    });
    first(&server);
    let mut page = Chromium::start_with(&microphone, &["--ignore-certificate-errors"]);
    page.open(&format!("http://{}/browser-call/", server.http()));
    page.wait_until("document.getElementById('status').textContent === 'Ready'");
    page.unprocessed();
    page.run(script);
    page.click("#call");
    page.wait_until("document.getElementById('status').textContent === 'Connected'");
    let taken = page.run(WAY);
    match way {
        "" => assert!(taken.as_str().is_some_and(|taken| !taken.starts_with("relay")), "{taken}"),
        way => assert_eq!(taken, way),
    }
    page.listen();
    wait_heard("the page", &TONES, &[OUR_HZ], || (page.heard(1.0), HEARD_HZ));
    server.wait_events("prompt.started", 1, PATIENCE);
    std::thread::sleep(Duration::from_secs(1));
    page.click("#hangup");
    assert_eq!(server.cause(), "call.hangup.caller");
    let recording = server.recording();
    let second = recording.rate_hz as usize;
    let page = &recording.channels[0];
    let heard =
        within(&page[page.len() - second * 5 / 4..page.len() - second / 4], recording.rate_hz, &TONES);
    assert_eq!(heard, [PAGE_HZ], "what we heard");
    server
}

fn through(way: &str) {
    if tool_missing(TOOLS) {
        return;
    }
    let relay = Coturn::start(&Certificate::new());
    let tables = format!("[[ice_server]]\nurls = [\"{}\"]\nsecret = \"{SECRET}\"\n", relay.url(way));
    let server = call(&tables, RELAY_ONLY, &format!("relay {way}"));
    let told: Vec<_> = server.log().into_iter().filter(|line| line.contains(SECRET)).collect();
    assert_eq!(told, [""; 0], "what is shared with the relay is in no log");
}

#[test]
fn a_page_that_udp_does_not_reach_calls_over_tcp() {
    if tool_missing(&["chromium"]) {
        return;
    }
    let tables = format!("[media]\nice_tcp = \"127.0.0.1:{}\"\n", free_port());
    // Chromium finds its own address there by the answers to its checks.
    call(&tables, TCP_ONLY, "prflx tcp");
}

#[test]
fn a_relay_with_another_secret_is_named_in_the_log_and_pages_that_need_none_call() {
    if tool_missing(TOOLS) {
        return;
    }
    let relay = Coturn::start(&Certificate::new());
    let urls: Vec<_> = ["udp", "tcp"].iter().map(|way| format!("{:?}", relay.url(way))).collect();
    let tables =
        format!("[[ice_server]]\nurls = [{}]\nsecret = \"not what the relay knows\"\n", urls.join(", "));
    let server = call_despite(&tables, KEPT, "", |server| {
        let told = wait_for("both ways to the relay to be tried", PATIENCE, || {
            let told = server.errors();
            (told.len() >= 2).then_some(told)
        });
        assert!(
            told.iter().all(|line| line.contains("static-auth-secret") && line.contains("turn:127.0.0.1"))
        );
    });
    let told: Vec<_> = server.log().into_iter().filter(|line| line.contains("not what the relay")).collect();
    assert_eq!(told, [""; 0], "the secret is in no log");
    assert_eq!(server.errors().len(), 2, "the trials, and nothing of the call");
}

#[test]
fn a_page_calls_through_a_relay_over_udp() {
    through("udp");
}

#[test]
fn a_page_calls_through_a_relay_over_tcp() {
    through("tcp");
}

#[test]
fn a_page_calls_through_a_relay_over_tls() {
    through("tls");
}
