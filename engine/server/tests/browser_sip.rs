//! A telephone in a web page: SIP.js in Chromium over WebSocket, in the clear and encrypted. It registers, calls, is called,
//! holds, presses keys and hangs up; both sides hear each other after each of these.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test waits, and says what it left out"
)]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use support::certificate::Certificate;
use support::chromium::{Chromium, HEARD_HZ};
use support::npm::{Package, fetch};
use support::server::{Options, Server};
use support::softphone::{Setup, Softphone};
use support::tone::{sine, wait_heard, within};
use support::wav::Wav;
use support::{free_port, site, tool_missing, wait_for};
use tempfile::TempDir;

const TOOLS: &[&str] = &["chromium", "npm"];
const SIP_JS: Package = Package {
    name: "sip.js",
    version: "0.21.2",
    digest: "tSqTcIgrOd2IhP/rd70JablvAp+fSfLSxO4hGNY6LkWRY1SKygTO7OtJEV/BQb8oIxtMRx0LE7nUF2MaqGbFzA==",
};
const PAGE: &str = include_str!("scenarios/telephone.html");
const TONE: &str = include_str!("scenarios/uncut_tone.yaml");
const PASSWORD: &str = "a-long-random-text";
/// By their passwords, as which browsers are asked by MD5 and others by SHA-256 too.
const BY_PASSWORD: &str = "[[user]]\nname = \"anna\"\npassword = \"a-long-random-text\"\n";
/// By MD5 of their passwords: baresip gives up where SHA-256 is offered besides.
const BY_MD5: &str = "[[user]]\nname = \"anna\"\nha1 = \"a2722c1b67445875e6f3575dbd979edb\"\n\
                      [[user]]\nname = \"bert\"\nha1 = \"63a6c4b260dadda7dafaa681b6450258\"\n\
                      [[route]]\ncalled = \"anna\"\nuser = \"anna\"\n\
                      [[route]]\ncalled = \"bert\"\nuser = \"bert\"\n";
const PAGE_HZ: f64 = 600.0;
const PHONE_HZ: f64 = 900.0;
const OUR_HZ: f64 = 1_300.0;
const TONES: [f64; 3] = [PAGE_HZ, PHONE_HZ, OUR_HZ];
const PATIENCE: Duration = Duration::from_secs(15);

/// A server with two users, and a page in which one of them has a telephone that is registered.
struct Desk {
    server: Server,
    page: Chromium,
    _dir: TempDir,
}

impl Desk {
    /// `None` where something is not installed, which has been said then.
    fn open(users: &str, secure: bool, rtp_keys: bool) -> Option<Self> {
        if tool_missing(TOOLS) {
            return None;
        }
        let site = site::serve(PAGE, library()?);
        let certificate = Certificate::new();
        let dir = tempfile::tempdir().expect("a folder");
        let (ours, microphone) = (dir.path().join("tone.wav"), dir.path().join("microphone.wav"));
        Wav::write(&ours, 16_000, &sine(OUR_HZ, 16_000, 60.0));
        Wav::write(&microphone, 48_000, &sine(PAGE_HZ, 48_000, 150.0));
        let ws = free_port();
        let tables = format!(
            "[media]\ncodecs = [\"opus\", \"G722\", \"PCMU\"]\n[registrar]\nenabled = true\n[security]\nanonymous = false\n\
             [ws]\nlisten = \"127.0.0.1:{ws}\"\nsecure = {secure}\norigins = [\"http://{site}\"]\n\
             [tls]\ncertificate = \"@DIR@/server.pem\"\nkey = \"@DIR@/server.key\"\n{users}"
        );
        let tone = std::fs::read(ours).expect("written");
        let files = [
            ("tone.wav", tone.as_slice()),
            ("server.pem", certificate.pem.as_bytes()),
            ("server.key", certificate.key.as_bytes()),
        ];
        let server =
            Server::start(Options { flow: Some(TONE), tables: &tables, files: &files, ..Options::default() });
        // The certificate is its own issuer.
        let mut page = Chromium::start_with(&microphone, &["--ignore-certificate-errors"]);
        page.open(&format!("http://{site}/"));
        page.wait_until("window.ready");
        page.unprocessed();
        let scheme = if secure { "wss" } else { "ws" };
        page.run(&format!(
            "begin('{scheme}://127.0.0.1:{ws}', 'sip:anna@127.0.0.1', 'anna', '{PASSWORD}', {rtp_keys})"
        ));
        page.wait_until("told.includes('registered')");
        Some(Self { server, page, _dir: dir })
    }

    /// What the page is told of next, `n` times in all.
    fn told(&mut self, what: &str, n: usize) {
        self.page.wait_until(&format!("told.filter((word) => word === '{what}').length >= {n}"));
    }

    /// The same in another call, whose sound comes by another stream.
    fn page_hears_anew(&mut self, when: &str, expected: &[f64]) {
        self.page.listen();
        self.page_hears(when, expected);
    }

    fn page_hears(&mut self, when: &str, expected: &[f64]) {
        let what = format!("the page, {when}");
        wait_heard(&what, &TONES, expected, || (self.page.heard(1.0), HEARD_HZ));
    }
}

fn library() -> Option<PathBuf> {
    Some(fetch(&SIP_JS)?.join("lib"))
}

fn phone_hears(phone: &Softphone, when: &str, expected: &[f64]) {
    wait_heard(&format!("the telephone, {when}"), &TONES, expected, || {
        let heard = phone.heard();
        let from = heard.channels[0].len().saturating_sub(heard.rate_hz as usize);
        (heard.channels[0][from..].to_vec(), heard.rate_hz)
    });
}

/// The page calls a flow, is heard and hears, holds and resumes, presses keys, hangs up.
fn calls_a_flow(secure: bool, rtp_keys: bool) {
    let Some(mut desk) = Desk::open(BY_PASSWORD, secure, rtp_keys) else { return };
    desk.page.run("phone.call('sip:line@127.0.0.1')");
    desk.told("answered", 1);
    desk.server.wait_events("prompt.started", 1, PATIENCE);
    desk.page.listen();
    desk.page_hears("at first", &[OUR_HZ]);
    desk.page.run("phone.hold()");
    desk.told("held", 1);
    desk.server.wait_events("hold.started", 1, PATIENCE);
    desk.page.run("phone.unhold()");
    desk.told("resumed", 1);
    desk.server.wait_events("hold.ended", 1, PATIENCE);
    desk.page_hears("after the hold", &[OUR_HZ]);
    for (n, key) in ["5", "#"].iter().enumerate() {
        desk.page.run(&format!("phone.sendDTMF('{key}')"));
        desk.server.wait_events("dtmf", n + 1, PATIENCE);
    }
    // A key that came twice would have done so by now.
    std::thread::sleep(Duration::from_secs(2));
    desk.page.run("phone.hangup()");
    assert_eq!(desk.server.cause(), "call.hangup.caller");
    desk.told("over", 1);

    let server = &desk.server;
    let keys: String = server.of_type("dtmf").iter().filter_map(|event| event["key"].as_str()).collect();
    assert_eq!(keys, "5#");
    let answered = &server.of_type("call.answered")[0];
    assert_eq!((answered["codec"].as_str(), answered["security"].as_str()), (Some("opus"), Some("dtls")));
    let recording = server.recording();
    let second = recording.rate_hz as usize;
    let page = &recording.channels[0];
    let (first, last) = (&page[second..second * 2], &page[page.len() - 2 * second..page.len() - second]);
    for (when, pcm) in [("at first", first), ("after the hold", last)] {
        assert_eq!(within(pcm, recording.rate_hz, &TONES), [PAGE_HZ], "we, {when}");
    }
    assert_eq!(server.errors(), [""; 0], "a plain call meets no error");
    desk.page.run("phone.unregister()");
    desk.told("unregistered", 1);
}

#[test]
fn a_page_calls_a_flow_over_websocket_with_keys_in_the_media() {
    calls_a_flow(false, true);
}

#[test]
fn a_page_calls_a_flow_over_encrypted_websocket_with_keys_by_info() {
    calls_a_flow(true, false);
}

#[test]
fn a_telephone_calls_a_page_and_either_hangs_up() {
    if tool_missing(&["baresip"]) {
        return;
    }
    let Some(mut desk) = Desk::open(BY_MD5, true, true) else { return };
    let says = sine(PHONE_HZ, 8_000, 150.0);
    let registrar = desk.server.sip().to_string();
    let setup = Setup { account: Some(("bert", PASSWORD, &registrar)), ..Setup::of("PCMU", &says) };
    let mut phone = Softphone::with(setup);
    phone.wait_registration("OK");

    phone.dial(&format!("sip:anna@{registrar}"));
    desk.told("answered", 1);
    desk.page.listen();
    desk.page_hears("at first", &[PHONE_HZ]);
    phone_hears(&phone, "at first", &[PAGE_HZ]);
    desk.page.run("phone.hold()");
    desk.told("held", 1);
    phone_hears(&phone, "while the page holds", &[]);
    desk.page.run("phone.unhold()");
    desk.told("resumed", 1);
    desk.page_hears("after its hold", &[PHONE_HZ]);
    phone_hears(&phone, "after the page's hold", &[PAGE_HZ]);
    phone.command("hold", "");
    desk.page_hears("while the telephone holds", &[]);
    phone.command("resume", "");
    desk.page_hears("after the telephone's hold", &[PHONE_HZ]);
    phone_hears(&phone, "after its own hold", &[PAGE_HZ]);
    desk.page.run("phone.hangup()");
    phone.wait_event("CALL_CLOSED", PATIENCE);

    phone.forget();
    phone.dial(&format!("sip:anna@{registrar}"));
    desk.told("answered", 2);
    desk.page_hears_anew("the second time", &[PHONE_HZ]);
    phone_hears(&phone, "the second time", &[PAGE_HZ]);
    phone.hang_up();
    desk.told("over", 2);
    wait_for("the end of all calls", PATIENCE, || {
        (desk.server.of_type("call.ended").len() == desk.server.of_type("call.started").len()).then_some(())
    });
    assert_eq!(desk.server.errors(), [""; 0], "plain calls meet no error");
}

#[test]
fn a_page_calls_a_telephone() {
    if tool_missing(&["baresip"]) {
        return;
    }
    let Some(mut desk) = Desk::open(BY_MD5, false, true) else { return };
    let says = sine(PHONE_HZ, 16_000, 150.0);
    let registrar = desk.server.sip().to_string();
    let account = Some(("bert", PASSWORD, registrar.as_str()));
    let mut phone = Softphone::with(Setup { account, answers: true, ..Setup::of("G722", &says) });
    phone.wait_registration("OK");
    desk.page.run("phone.call('sip:bert@127.0.0.1')");
    desk.told("answered", 1);
    phone.wait_event("CALL_ESTABLISHED", PATIENCE);
    desk.page.listen();
    desk.page_hears("calling", &[PHONE_HZ]);
    phone_hears(&phone, "called", &[PAGE_HZ]);
    phone.hang_up();
    desk.told("over", 1);
    assert_eq!(desk.server.errors(), [""; 0], "a plain call meets no error");
}

#[test]
fn a_page_of_another_origin_and_a_wrong_password_are_refused() {
    let Some(mut desk) = Desk::open(BY_PASSWORD, false, true) else { return };
    let origin = desk.page.run("location.origin");
    let other = origin.as_str().expect("an origin").replace("127.0.0.1", "localhost");
    let address = desk.page.run("phone.sessionManager.userAgent.transport.server");
    let address = address.as_str().expect("an address").to_owned();
    desk.page.open(&format!("{other}/"));
    desk.page.wait_until("window.ready");
    let refused = desk.page.run(&format!(
        "begin('{address}', 'sip:anna@127.0.0.1', 'anna', '{PASSWORD}', true).then(() => '', (error) => String(error))"
    ));
    assert_ne!(refused, "", "a page of another origin is not taken");

    desk.page.open(&format!("{}/?", origin.as_str().expect("an origin")));
    desk.page.wait_until("window.ready && location.hostname === '127.0.0.1'");
    desk.page.run(&format!("begin('{address}', 'sip:anna@127.0.0.1', 'anna', 'a guess', true)"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(desk.page.run("told.includes('registered')"), false);
}
