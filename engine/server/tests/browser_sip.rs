//! A telephone in a web page: SIP.js and JsSIP in Chromium over WebSocket, in the clear and encrypted. It registers, calls, is called,
//! holds, presses keys and hangs up; both sides hear each other after each of these.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test waits, and says what it left out"
)]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use support::certificate::Certificate;
use support::chromium::{Chromium, HEARD_HZ};
use support::coturn::Coturn;
use support::npm::{Package, fetch};
use support::server::{Options, Server};
use support::softphone::{Setup, Softphone};
use support::tone::{sine, wait_heard, within};
use support::wav::Wav;
use support::{HOST, free_port, site, tool_missing, wait_for};
use tempfile::TempDir;

const TOOLS: &[&str] = &["chromium", "npm"];
const SIP_JS: Package = Package {
    name: "sip.js",
    version: "0.21.2",
    digest: "tSqTcIgrOd2IhP/rd70JablvAp+fSfLSxO4hGNY6LkWRY1SKygTO7OtJEV/BQb8oIxtMRx0LE7nUF2MaqGbFzA==",
};
/// JsSIP, and what it needs.
const JS_SIP: [Package; 5] = [
    Package {
        name: "jssip",
        version: "3.10.1",
        digest: "V82JW6fZF02VInHMKgTO9oEXbkZwqezGj9SNaQPh+btriC16FfSPsRBnD+i9IhU9C86JA9le6Z8AZirYnbKi2g==",
    },
    Package {
        name: "debug",
        version: "4.4.3",
        digest: "RGwwWnwQvkVfavKVt22FGLw+xYSdzARwm0ru6DhTVA3umU5hZc28V3kO4stgYryrTlLpuvgI9GiijltAjNbcqA==",
    },
    Package {
        name: "ms",
        version: "2.1.3",
        digest: "6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==",
    },
    Package {
        name: "events",
        version: "3.3.0",
        digest: "mQw+2fkQbALzQ7V0MY0IqdnXNOeTtP4r0lN9z7AAawCXgqea7bDii20AYrIBrFd/Hx0M2Ocz6S111CaFkUcb0Q==",
    },
    Package {
        name: "sdp-transform",
        version: "2.15.0",
        digest: "KrOH82c/W+GYQ0LHqtr3caRpM3ITglq3ljGUIb8LTki7ByacJZ9z+piSGiwZDsRyhQbYBOBJgr2k6X4BZXi3Kw==",
    },
];
/// A page that registers, calls and is called, and where its library lies once that is fetched.
type Telephone = (&'static str, fn() -> Option<PathBuf>);
const BY_SIP_JS: Telephone = (include_str!("scenarios/telephone.html"), sip_js);
const BY_JS_SIP: Telephone = (include_str!("scenarios/telephone_jssip.html"), js_sip);
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
        Self::open_with(BY_SIP_JS, users, secure, rtp_keys, "")
    }

    /// The same with another telephone and lines of `[media]`.
    fn open_with(
        telephone: Telephone,
        users: &str,
        secure: bool,
        rtp_keys: bool,
        media: &str,
    ) -> Option<Self> {
        if tool_missing(TOOLS) {
            return None;
        }
        let (html, library) = telephone;
        let site = site::serve(html, library()?);
        let certificate = Certificate::new();
        let dir = tempfile::tempdir().expect("a folder");
        let (ours, microphone) = (dir.path().join("tone.wav"), dir.path().join("microphone.wav"));
        Wav::write(&ours, 16_000, &sine(OUR_HZ, 16_000, 60.0));
        Wav::write(&microphone, 48_000, &sine(PAGE_HZ, 48_000, 150.0));
        let ws = free_port();
        let tables = format!(
            "[media]\ncodecs = [\"opus\", \"G722\", \"PCMU\"]\n{media}\n[registrar]\nenabled = true\n[security]\nanonymous = false\n\
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

/// Keeps what the page is told of our end.
const NOTES: &str = "{
    window.seen = [];
    const real = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function (description) {
        seen.push(description.sdp);
        return real.call(this, description);
    };
}";

/// Address translation between somebody and a STUN server: where to ask, and at which port the server then sees whoever asks.
fn translation(server: SocketAddr) -> (SocketAddr, u16) {
    let socket = || {
        let socket = UdpSocket::bind((HOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a valid time");
        socket
    };
    let (inside, outside) = (socket(), socket());
    let place = inside.local_addr().expect("bound");
    let port = outside.local_addr().expect("bound").port();
    // Ends with the test's process.
    std::thread::spawn(move || {
        let mut buffer = [0; 2_048];
        loop {
            let Ok((length, asker)) = inside.recv_from(&mut buffer) else { continue };
            outside.send_to(&buffer[..length], server).expect("sent");
            if let Ok((length, _)) = outside.recv_from(&mut buffer) {
                inside.send_to(&buffer[..length], asker).expect("sent");
            }
        }
    });
    (place, port)
}

/// The page calls a flow, is called, and hears and is heard both times; what it was told of our end.
fn calls_and_is_called(desk: &mut Desk) -> Vec<String> {
    desk.page.run(NOTES);
    desk.page.run("phone.call('sip:line@127.0.0.1')");
    desk.told("answered", 1);
    desk.server.wait_events("prompt.started", 1, PATIENCE);
    desk.page.listen();
    desk.page_hears("calling", &[OUR_HZ]);
    std::thread::sleep(Duration::from_secs(1));
    desk.page.run("phone.hangup()");
    desk.told("over", 1);
    let (status, begun) = desk.server.post("/v1/calls", &json!({"to": "user:anna"}));
    assert_eq!(status, 202, "{begun}");
    desk.told("answered", 2);
    desk.server.wait_events("prompt.started", 2, PATIENCE);
    desk.page_hears_anew("called", &[OUR_HZ]);
    std::thread::sleep(Duration::from_secs(1));
    desk.page.run("phone.hangup()");
    desk.server.wait_events("call.ended", 2, PATIENCE);
    for call in desk.server.calls().keys() {
        let recording = desk.server.recording_of(call);
        let (second, page) = (recording.rate_hz as usize, &recording.channels[0]);
        let said = &page[page.len() - second * 5 / 4..page.len() - second / 4];
        assert_eq!(within(said, recording.rate_hz, &TONES), [PAGE_HZ], "what we heard in {call}");
    }
    let seen = desk.page.run("seen");
    seen.as_array().expect("a list").iter().filter_map(|sdp| Some(sdp.as_str()?.to_owned())).collect()
}

#[test]
fn a_telephone_in_a_page_is_told_where_others_see_us_in_answers_and_offers() {
    if tool_missing(&["turnserver"]) {
        return;
    }
    let relay = Coturn::start(&Certificate::new());
    let (stun, port) = translation(relay.stun());
    let Some(mut desk) = Desk::open_with(BY_SIP_JS, BY_PASSWORD, false, true, &format!("stun = \"{stun}\""))
    else {
        return;
    };
    let seen = calls_and_is_called(&mut desk);
    assert_eq!(seen.len(), 2, "an answer and an offer: {seen:?}");
    for sdp in seen {
        let reflexive = format!(" 127.0.0.1 {port} typ srflx");
        assert!(sdp.contains(&reflexive) && sdp.contains("typ host"), "{reflexive} is not in {sdp}");
        assert!(!sdp.contains("a=ice-lite"), "whoever is behind a NAT sends checks: {sdp}");
    }
    assert_eq!(desk.server.errors(), [""; 0], "plain calls meet no error");
}

#[test]
fn a_stun_server_that_says_nothing_costs_a_moment_and_no_call() {
    let silent = UdpSocket::bind((HOST, 0)).expect("a port");
    let stun = format!("stun = \"{}\"", silent.local_addr().expect("bound"));
    let Some(mut desk) = Desk::open_with(BY_SIP_JS, BY_PASSWORD, false, true, &stun) else { return };
    let seen = calls_and_is_called(&mut desk);
    assert!(seen.iter().all(|sdp| sdp.contains("typ host") && !sdp.contains("srflx")), "{seen:?}");
    let told = desk
        .server
        .log()
        .iter()
        .filter(|line| line.contains("media.stun") && line.contains("did not answer"))
        .count();
    assert_eq!(told, 2, "each call says why it has no other address");
}

fn sip_js() -> Option<PathBuf> {
    Some(fetch(&SIP_JS)?.join("lib"))
}

fn js_sip() -> Option<PathBuf> {
    let mut folders = JS_SIP.iter().map(fetch).collect::<Option<Vec<_>>>()?;
    folders.pop()?.parent().map(PathBuf::from)
}

fn phone_hears(phone: &Softphone, when: &str, expected: &[f64]) {
    wait_heard(&format!("the telephone, {when}"), &TONES, expected, || {
        let heard = phone.heard();
        let from = heard.channels[0].len().saturating_sub(heard.rate_hz as usize);
        (heard.channels[0][from..].to_vec(), heard.rate_hz)
    });
}

/// The page calls a flow, is heard and hears, holds and resumes, presses keys, hangs up.
fn calls_a_flow(telephone: Telephone, secure: bool, rtp_keys: bool) {
    let Some(mut desk) = Desk::open_with(telephone, BY_PASSWORD, secure, rtp_keys, "") else { return };
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
    calls_a_flow(BY_SIP_JS, false, true);
}

#[test]
fn a_page_calls_a_flow_over_encrypted_websocket_with_keys_by_info() {
    calls_a_flow(BY_SIP_JS, true, false);
}

#[test]
fn a_page_of_another_library_calls_a_flow_with_keys_in_the_media() {
    calls_a_flow(BY_JS_SIP, false, true);
}

#[test]
fn a_page_of_another_library_calls_a_flow_encrypted_with_keys_by_info() {
    calls_a_flow(BY_JS_SIP, true, false);
}

#[test]
fn a_page_of_another_library_is_called() {
    let Some(mut desk) = Desk::open_with(BY_JS_SIP, BY_PASSWORD, false, true, "") else { return };
    let seen = calls_and_is_called(&mut desk);
    assert_eq!(seen.len(), 2, "an answer and an offer: {seen:?}");
    assert_eq!(desk.server.errors(), [""; 0], "plain calls meet no error");
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
