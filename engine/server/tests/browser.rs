//! Calls from Chromium by the example page, with a file for a microphone: what each side hears and is told.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test waits, and says what it measured or left out"
)]

mod support;

use std::time::Duration;

use base64::Engine as _;
use support::chromium::Chromium;
use support::server::{Options, Server};
use support::softphone::speak;
use support::tool_missing;
use support::wav::{Wav, correlate, pad};
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

/// What a browser does to speech is not on trial: processing off.
const AS_IT_IS: &str = "{
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = () =>
        open({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
}";
/// Keeps what the page receives, at 16 kHz.
const LISTEN: &str = "{
    window.heard = [];
    window.ears = new AudioContext({ sampleRate: 16000 });
    const source = ears.createMediaStreamSource(document.getElementById('sound').srcObject);
    const tap = ears.createScriptProcessor(4096, 1, 1);
    tap.onaudioprocess = ({ inputBuffer }) => heard.push(Float32Array.from(inputBuffer.getChannelData(0)));
    source.connect(tap).connect(ears.destination);
}";
/// What was kept, as base64 of 16 bit PCM.
const HEARD: &str = "{
    const all = Int16Array.from(heard.flatMap((part) => [...part]), (s) => Math.max(-1, Math.min(1, s)) * 32767);
    const bytes = new Uint8Array(all.buffer);
    let text = '';
    for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
    btoa(text);
}";

fn click(page: &mut Chromium, what: &str) {
    page.run(&format!("document.querySelector({what:?}).click()"));
}

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
    page.run(AS_IT_IS);
    click(&mut page, "#call");
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
    page.run(LISTEN);
    server.wait_events("intent", 1, PATIENCE);
    page.wait_until("document.getElementById('lines').innerText.includes('understood you well')");
    let words = page.run("document.getElementById('lines').innerText");
    assert!(words.as_str().is_some_and(|words| words.contains(PHRASE)), "the page shows both sides: {words}");
    if let Some(folder) = std::env::var_os("ANTIPHON_SCREENSHOTS") {
        page.screenshot(&std::path::Path::new(&folder).join("browser-call.png"));
    }
    std::thread::sleep(Duration::from_secs(2));
    let heard = page.run(HEARD);
    click(&mut page, "#hangup");
    assert_eq!(server.cause(), "call.hangup.caller");
    page.wait_until("document.getElementById('trouble').textContent === 'You hung up.'");

    let answered = &server.of_type("call.answered")[0];
    assert_eq!((answered["codec"].as_str(), answered["security"].as_str()), (Some("opus"), Some("dtls")));
    let recording = server.recording();
    assert_eq!((recording.rate_hz, recording.channels.len()), (RATE_HZ, 2));
    let (at, alike) = correlate(&speech, &recording.channels[0], RATE_HZ);
    eprintln!("the page's words: correlation {alike:.4} at {at}");
    assert!(alike > ALIKE, "the page's words correlate with {alike}");
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(heard.as_str().expect("sound")).expect("base64");
    let heard: Vec<_> = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
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
fn keys_of_a_page_come_once_each_and_the_flow_can_hang_up() {
    if tool_missing(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (server, mut page) = meet(&dir, &pad(60.0, &[], 0.0, RATE_HZ));
    server.wait_events("prompt.stopped", 1, PATIENCE);
    click(&mut page, "#keys");
    for (n, key) in ["5", "#"].iter().enumerate() {
        click(&mut page, &format!("#pad [data-key='{key}']"));
        server.wait_events("dtmf", n + 1, PATIENCE);
    }
    click(&mut page, "#pad [data-key='0']");
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
