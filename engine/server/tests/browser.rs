//! Calls from Chromium by the example page, with a file for a microphone: what each side hears and is told.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test waits, and says what it measured or left out"
)]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use support::chromium::{Chromium, HEARD_HZ};
use support::rtp::{Answer, Rtp};
use support::server::{Options, Server};
use support::sipp::Sipp;
use support::softphone::{Setup, Softphone, speak};
use support::tone::{sine, wait_heard};
use support::wav::{Wav, correlate, pad};
use support::{free_port, tool_missing};
use tempfile::TempDir;

const TOOLS: &[&str] = &["chromium", "flite"];
const LINE: &str = include_str!("scenarios/line.yaml");
const PHRASE: &str = "what is my account balance";
const RATE_HZ: u32 = 16_000;
/// Opus keeps what speech sounds like, not its wave, and a busy machine loses some of it: 0.89 to 0.94 were measured.
const ALIKE: f64 = 0.7;
/// When the microphone's file begins to speak: after the greeting.
const LEAD: f64 = 6.0;
const PATIENCE: Duration = Duration::from_secs(20);

const PASSWORD: &str = "a-long-random-text";
/// MD5 of `bert:antiphon:` and the password: baresip gives up where SHA-256 is offered besides.
const HA1: &str = "63a6c4b260dadda7dafaa681b6450258";
const KEY: &str = "a-key-of-some-length";
const PAGE_HZ: f64 = 600.0;
const PHONE_HZ: f64 = 900.0;
const TONES: [f64; 2] = [PAGE_HZ, PHONE_HZ];

/// A server that serves the page, and a browser that shows it and is about to call.
fn meet(dir: &TempDir, pcm: &[i16]) -> (Server, Chromium) {
    let server = Server::start(Options {
        engine: "scripted",
        recognizer: "[recognizer.scripted]\nutterances = [\"what is my account balance\"]",
        flow: Some(LINE),
        http: "examples = true",
        ..Options::default()
    });
    let microphone = dir.path().join("microphone.wav");
    Wav::write(&microphone, RATE_HZ, pcm);
    let mut page = Chromium::start(&microphone);
    page.open(&format!("http://{}/browser-call/", server.http()));
    page.wait_until("document.getElementById('status').textContent === 'Ready'");
    page.unprocessed();
    page.click("#call");
    page.wait_until("document.getElementById('status').textContent === 'Connected'");
    page.wait_until("document.getElementById('sound').srcObject");
    (server, page)
}

#[test]
fn a_page_and_the_line_hear_each_other() {
    if tool_missing(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let speech = speak(PHRASE);
    let (server, mut page) = meet(&dir, &pad(LEAD, &speech, 60.0, RATE_HZ));
    page.listen();
    server.wait_events("intent", 1, PATIENCE);
    page.wait_until("document.getElementById('lines').innerText.includes('understood you well')");
    let words = page.run("document.getElementById('lines').innerText");
    assert!(words.as_str().is_some_and(|words| words.contains(PHRASE)), "the page shows both sides: {words}");
    if let Some(folder) = std::env::var_os("ANTIPHON_SCREENSHOTS") {
        page.screenshot(&std::path::Path::new(&folder).join("browser-call.png"));
    }
    std::thread::sleep(Duration::from_secs(2));
    let heard = page.heard(60.0);
    page.click("#hangup");
    assert_eq!(server.cause(), "call.hangup.caller");
    page.wait_until("document.getElementById('trouble').textContent === 'You hung up.'");

    let answered = &server.of_type("call.answered")[0];
    assert_eq!((answered["codec"].as_str(), answered["security"].as_str()), (Some("opus"), Some("dtls")));
    let recording = server.recording();
    assert_eq!((recording.rate_hz, recording.channels.len()), (RATE_HZ, 2));
    let (at, alike) = correlate(&speech, &recording.channels[0], RATE_HZ);
    eprintln!("the page's words: correlation {alike:.4} at {at}");
    assert!(alike > ALIKE, "the page's words correlate with {alike}");
    // The answer: the greeting began before anybody listened.
    let prompt = &server.of_type("prompt.started")[1];
    let from = ((prompt["at"].as_f64().expect("a time") + 0.2) * f64::from(RATE_HZ)) as usize;
    let ours = &recording.channels[1][from..from + RATE_HZ as usize];
    let (at, alike) = correlate(ours, &heard, RATE_HZ);
    eprintln!("our words {}: correlation {alike:.4} at {at}", prompt["text"]);
    assert!(alike > ALIKE, "our words {prompt} correlate with {alike}");
    assert_eq!(server.errors(), [""; 0], "a plain call meets no error");
}

#[test]
fn a_page_hears_the_flow_before_it_is_answered_and_what_is_called_for_it() {
    if tool_missing(&["chromium", "sipp"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = |hz: f64, seconds: f64| {
        let path = dir.path().join("tone.wav");
        Wav::write(&path, RATE_HZ, &sine(hz, RATE_HZ, seconds));
        std::fs::read(path).expect("written")
    };
    let (before, after) = (file(1_000.0, 6.0), file(1_700.0, 30.0));
    let port = free_port();
    let tables = format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"api\"]\ntrunk = \"carrier\"\n[[trunk]]\nname = \"carrier\"\n\
         hosts = [\"127.0.0.2:{port}\"]\nallow = [\"9*\"]\noptions_interval = \"0s\"\n"
    );
    let server = Server::start(Options {
        flow: Some(include_str!("scenarios/early.yaml")),
        http: "examples = true",
        tables: &tables,
        files: &[("before.wav", before.as_slice()), ("after.wav", after.as_slice())],
        ..Options::default()
    });
    let microphone = dir.path().join("microphone.wav");
    Wav::write(&microphone, 48_000, &sine(PAGE_HZ, 48_000, 150.0));
    let mut page = Chromium::start(&microphone);
    page.open(&format!("http://{}/browser-call/", server.http()));
    page.wait_until("document.getElementById('status').textContent === 'Ready'");
    page.unprocessed();
    let hears = |page: &mut Chromium, when: &str, hz: f64| {
        // 425 Hz is our ringing.
        let tones = [425.0, PAGE_HZ, PHONE_HZ, 1_000.0, 1_700.0];
        wait_heard(&format!("the page, {when}"), &tones, &[hz], || (page.heard(0.8), HEARD_HZ));
    };
    page.click("#call");
    server.wait_events("call.early", 1, PATIENCE);
    page.wait_until("document.getElementById('status').textContent === 'Ringing …'");
    page.listen();
    hears(&mut page, "before the answer", 1_000.0);
    assert!(server.of_type("call.answered").is_empty(), "not answered yet");
    server.wait_events("call.answered", 1, PATIENCE);
    hears(&mut page, "after the answer", 1_700.0);
    page.click("#hangup");
    assert_eq!(server.cause(), "call.hangup.caller");

    let machine = Rtp::bind(Answer::sine(900));
    let values = [("@EXTENSION@", "X-Nothing: 1"), ("@PRACK@", ""), ("@RING@", "9000")];
    let called = Sipp {
        scenario: "callee_early.xml",
        host: Ipv4Addr::new(127, 0, 0, 2),
        port: Some(port),
        rtp: machine.port(),
        values: &values,
        limit: Duration::from_secs(60),
        ..Sipp::default()
    }
    .start(&server);
    page.run("document.getElementById('to').value = '9555'");
    page.click("#call");
    page.wait_until("document.getElementById('status').textContent === 'Ringing …'");
    page.listen();
    hears(&mut page, "before the called one answers", 900.0);
    let tones = [425.0, PAGE_HZ, 900.0];
    wait_heard("the called one, before it answers", &tones, &[PAGE_HZ], || (machine.heard_last(0.7), 8_000));
    assert_eq!(server.of_type("call.answered").len(), 1, "the first call alone");
    server.wait_events("call.answered", 3, PATIENCE);
    std::thread::sleep(Duration::from_secs(1));
    hears(&mut page, "after the called one answered", 900.0);
    page.click("#hangup");
    let finished = called.finish();
    assert!(finished.well, "{}\n{}", finished.errors, finished.messages);
}

#[test]
fn keys_of_a_page_come_once_each_and_the_flow_can_hang_up() {
    if tool_missing(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (server, mut page) = meet(&dir, &pad(60.0, &[], 0.0, RATE_HZ));
    server.wait_events("prompt.stopped", 1, PATIENCE);
    page.click("#keys");
    for (n, key) in ["5", "#"].iter().enumerate() {
        page.click(&format!("#pad [data-key='{key}']"));
        server.wait_events("dtmf", n + 1, PATIENCE);
    }
    page.click("#pad [data-key='0']");
    page.wait_until("document.getElementById('status').textContent === 'Call ended'");
    assert_eq!(page.run("document.getElementById('trouble').textContent"), "The line has ended the call.");
    assert_eq!(server.cause(), "call.hangup.flow");
    let pressed = server.of_type("dtmf");
    let keys: String = pressed.iter().filter_map(|event| event["key"].as_str()).collect();
    assert_eq!(keys, "5#0");
}

#[test]
fn a_page_that_is_closed_ends_its_call() {
    if tool_missing(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (server, mut page) = meet(&dir, &pad(60.0, &[], 0.0, RATE_HZ));
    server.wait_events("prompt.started", 1, PATIENCE);
    page.open("about:blank?");
    assert_eq!(server.cause(), "call.hangup.caller");
}

/// A token of a page that may place so many calls to the telephone of `bert`, made as a server of a web site makes it.
fn token(server: &Server, calls: usize) -> String {
    let url = format!("http://{}/v1/webrtc/tokens", server.http());
    let body = json!({ "to": ["user:bert"], "from": "4711", "calls": calls });
    let mut reply = ureq::post(url)
        .header("Authorization", format!("Bearer {KEY}"))
        .send_json(&body)
        .expect("the API answers");
    let reply: Value = reply.body_mut().read_json().expect("JSON");
    reply["token"].as_str().expect("a token").to_owned()
}

fn page_hears(page: &mut Chromium, when: &str, expected: &[f64]) {
    wait_heard(&format!("the page, {when}"), &TONES, expected, || (page.heard(1.0), HEARD_HZ));
}

fn phone_hears(phone: &Softphone, when: &str, expected: &[f64]) {
    wait_heard(&format!("the telephone, {when}"), &TONES, expected, || {
        let heard = phone.heard();
        let from = heard.channels[0].len().saturating_sub(heard.rate_hz as usize);
        (heard.channels[0][from..].to_vec(), heard.rate_hz)
    });
}

#[test]
fn a_page_with_a_token_of_its_own_calls_a_telephone_and_either_hangs_up() {
    if tool_missing(&["chromium", "baresip"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(Options {
        http: &format!("examples = true\ntoken = \"{KEY}\""),
        tables: &format!("[registrar]\nenabled = true\n[[user]]\nname = \"bert\"\nha1 = \"{HA1}\"\n"),
        ..Options::default()
    });
    let says = sine(PHONE_HZ, 16_000, 150.0);
    let registrar = server.sip().to_string();
    let account = Some(("bert", PASSWORD, registrar.as_str()));
    let mut phone = Softphone::with(Setup { account, ..Setup::of("G722", &says) });
    phone.wait_registration("OK");
    let microphone = dir.path().join("microphone.wav");
    Wav::write(&microphone, 48_000, &sine(PAGE_HZ, 48_000, 150.0));
    let mut page = Chromium::start(&microphone);
    page.open(&format!("http://{}/browser-call/", server.http()));
    page.wait_until("document.getElementById('status').textContent === 'Ready'");
    page.unprocessed();
    let token = token(&server, 2);
    page.run(&format!("document.getElementById('token').value = '{token}'"));
    page.run("document.getElementById('to').value = 'user:bert'");

    page.click("#call");
    page.wait_until("document.getElementById('status').textContent === 'Ringing …'");
    phone.wait_event("CALL_INCOMING", PATIENCE);
    phone.command("accept", "");
    page.wait_until("document.getElementById('status').textContent === 'Connected'");
    page.listen();
    page_hears(&mut page, "at first", &[PHONE_HZ]);
    phone_hears(&phone, "at first", &[PAGE_HZ]);
    page.click("#mute");
    phone_hears(&phone, "while the page is mute", &[]);
    page.click("#mute");
    phone_hears(&phone, "afterwards", &[PAGE_HZ]);
    page.click("#keys");
    page.click("#pad [data-key='7']");
    assert_eq!(server.wait_events("dtmf", 1, PATIENCE)[0]["key"], "7");
    if let Some(folder) = std::env::var_os("ANTIPHON_SCREENSHOTS") {
        page.screenshot(&std::path::Path::new(&folder).join("browser-phone.png"));
    }
    page.click("#hangup");
    phone.wait_event("CALL_CLOSED", PATIENCE);
    page.wait_until("document.getElementById('trouble').textContent === 'You hung up.'");

    phone.forget();
    page.click("#call");
    phone.wait_event("CALL_INCOMING", PATIENCE);
    phone.command("accept", "");
    page.wait_until("document.getElementById('status').textContent === 'Connected'");
    page.listen();
    page_hears(&mut page, "the second time", &[PHONE_HZ]);
    phone_hears(&phone, "the second time", &[PAGE_HZ]);
    phone.hang_up();
    page.wait_until("document.getElementById('trouble').textContent === 'The other side hung up.'");

    page.click("#call");
    page.wait_until(
        "document.getElementById('trouble').textContent === 'This token has placed all its calls.'",
    );
    assert_eq!(server.errors(), [""; 0], "plain calls meet no error");
}
