//! Every codec, kind of protection and transport that baresip has, against ours: both sides hear each other, before a
//! hold and after it. No call is one-way.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test waits, and says what it found")]

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use support::certificate::Certificate;
use support::server::{Options, Server};
use support::softphone::{Setup, Softphone, rate_of};
use support::tone::{sine, within};
use support::wav::Wav;
use support::{free_port, tool_missing};

const TOOLS: &[&str] = &["baresip"];
const TONE: &str = include_str!("scenarios/tone.yaml");
const PHONE_HZ: f64 = 600.0;
const OUR_HZ: f64 = 1_000.0;

/// Ours, as a file.
fn our_tone() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("tone.wav");
    Wav::write(&path, 16_000, &sine(OUR_HZ, 16_000, 30.0));
    fs::read(path).expect("written")
}

/// A part of a sound, from the beginning (positive) or from the end, in seconds.
fn part(pcm: &[i16], rate_hz: u32, from: f64, length: f64) -> &[i16] {
    let at = |seconds: f64| (seconds * f64::from(rate_hz)) as usize;
    let start = if from < 0.0 { pcm.len().saturating_sub(at(-from)) } else { at(from).min(pcm.len()) };
    &pcm[start..(start + at(length)).min(pcm.len())]
}

/// One cell of the matrix.
fn talk(codec: &str, security: &str, ice: bool, transport: &str, certificate: &Certificate) {
    let tls = free_port();
    let tables = format!(
        "[media]\ncodecs = [\"opus\", \"G722\", \"PCMU\", \"PCMA\"]\n\
         [tls]\nlisten = \"127.0.0.1:{tls}\"\ncertificate = \"@DIR@/server.pem\"\nkey = \"@DIR@/server.key\"\n"
    );
    let tone = our_tone();
    let files = [
        ("tone.wav", tone.as_slice()),
        ("server.pem", certificate.pem.as_bytes()),
        ("server.key", certificate.key.as_bytes()),
    ];
    let server =
        Server::start(Options { flow: Some(TONE), tables: &tables, files: &files, ..Options::default() });
    let what = format!("{codec} {security} {transport}");
    let says = sine(PHONE_HZ, rate_of(codec), 60.0);
    let trust = certificate.path();
    let mut phone = Softphone::with(Setup { security, ice, trust: Some(&trust), ..Setup::of(codec, &says) });
    let port = if transport == "tls" { tls } else { server.sip().port() };
    phone.dial(&format!("sip:bank@127.0.0.1:{port};transport={transport}"));
    server.wait_events("prompt.started", 1, Duration::from_secs(10));
    std::thread::sleep(Duration::from_millis(2_500));
    let before = phone.heard();
    let heard = part(&before.channels[0], before.rate_hz, -1.0, 0.8);
    assert_eq!(within(heard, before.rate_hz, &[PHONE_HZ, OUR_HZ]), [OUR_HZ], "{what}: the phone, at first");
    phone.command("hold", "");
    std::thread::sleep(Duration::from_secs(1));
    phone.command("resume", "");
    std::thread::sleep(Duration::from_millis(2_500));
    phone.hang_up();
    assert_eq!(server.cause(), "call.hangup.caller", "{what}");

    let answered = &server.of_type("call.answered")[0];
    assert!(answered["codec"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(codec)), "{answered}");
    let secured = match security {
        "" => "none",
        "srtp-mand" => "sdes",
        _ => "dtls",
    };
    assert_eq!(answered["security"], secured, "{answered}");
    let after = phone.heard();
    let heard = part(&after.channels[0], after.rate_hz, -1.2, 0.8);
    assert_eq!(
        within(heard, after.rate_hz, &[PHONE_HZ, OUR_HZ]),
        [OUR_HZ],
        "{what}: the phone, after the hold"
    );
    let recording = server.recording();
    for (when, from) in [("at first", 1.2), ("after the hold", -1.2)] {
        for (channel, hz) in [(0, PHONE_HZ), (1, OUR_HZ)] {
            let pcm = part(&recording.channels[channel], recording.rate_hz, from, 0.8);
            let there = within(pcm, recording.rate_hz, &[PHONE_HZ, OUR_HZ]);
            assert_eq!(there, [hz], "{what}: our recording's channel {channel}, {when}");
        }
    }
    assert_eq!(server.errors(), [""; 0], "{what}: a plain call meets no error");
}

/// A row of the matrix: one codec and protection over every transport.
fn row(codec: &str, security: &str, ice: bool) {
    if tool_missing(TOOLS) {
        return;
    }
    let certificate = Certificate::new();
    let mut line = format!(
        "| {codec} | {}{} |",
        if security.is_empty() { "none" } else { security },
        if ice { " with ICE" } else { "" }
    );
    for transport in ["udp", "tcp", "tls"] {
        talk(codec, security, ice, transport, &certificate);
        line += " both ways |";
    }
    // The rows are files, so that tests may run side by side.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("phones");
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join(format!("{codec}-{security}-{ice}.md")), line.clone() + "\n").expect("written");
    println!("| codec | protection | UDP | TCP | TLS |\n{line}");
}

macro_rules! rows {
    ($($name:ident: $codec:literal, $security:literal, $ice:literal;)*) => {
        $(#[test]
        fn $name() {
            row($codec, $security, $ice);
        })*
    };
}

rows! {
    pcmu_in_the_clear: "PCMU", "", false;
    pcma_in_the_clear: "PCMA", "", false;
    g722_in_the_clear: "G722", "", false;
    opus_in_the_clear: "OPUS", "", false;
    pcmu_with_keys_in_the_offer: "PCMU", "srtp-mand", false;
    g722_with_keys_in_the_offer: "G722", "srtp-mand", false;
    opus_with_keys_in_the_offer: "OPUS", "srtp-mand", false;
    pcmu_with_keys_by_dtls: "PCMU", "dtls_srtp", false;
    g722_with_keys_by_dtls: "G722", "dtls_srtp", false;
    opus_with_keys_by_dtls: "OPUS", "dtls_srtp", false;
    pcmu_in_the_clear_by_ice: "PCMU", "", true;
    g722_with_keys_in_the_offer_by_ice: "G722", "srtp-mand", true;
    opus_with_keys_by_dtls_and_ice: "OPUS", "dtls_srtp", true;
}
