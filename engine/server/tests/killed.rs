//! A server killed in mid-call leaves a recording that any player reads.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test owns processes, threads and clocks"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::server::{Options, Server};
use support::wav::Wav;
use support::{Process, free_port};

const BINARY: &str = env!("CARGO_BIN_EXE_antiphon");

#[test]
fn real_call_killed_in_mid_call_loses_less_than_a_second() {
    let server = Server::start(Options::default());
    let caller = Command::new(BINARY)
        .args(["call", &format!("sip:bank@{}", server.sip()), "--engine", "none", "--ring", "20"])
        .args(["--say", "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut caller = Process(caller);
    let answered = server.wait_events("call.answered", 1, Duration::from_secs(20));
    let seen = Instant::now();
    let at = answered[0]["at"].as_f64().expect("a time");
    std::thread::sleep(Duration::from_secs(5));
    let kill = Command::new("kill").args(["-9", &server.pid().to_string()]).status().expect("kill runs");
    let expected = at + seen.elapsed().as_secs_f64();
    assert!(kill.success());
    std::thread::sleep(Duration::from_millis(200));

    // As a player meets it: nothing has repaired it yet.
    let recording = server.recording();
    let seconds = recording.seconds();
    assert!(seconds > expected - 1.0, "{seconds:.2} s of {expected:.2} s are left");
    let loud = recording.channels[1].iter().filter(|s| s.unsigned_abs() > 1_000).count();
    assert!(loud > 8_000, "our voice is in it: {loud} loud samples");
    caller.terminate(Duration::from_secs(5));

    // The next server mends what the size in the header does not tell.
    let path = wav_of(&server);
    let mended = next_server_says(&server.data());
    assert!(
        mended.iter().any(|line| line.contains("mended")) || Wav::read(&path).seconds() >= seconds,
        "{mended:?}"
    );
    assert!(Wav::read(&path).seconds() >= seconds);
}

fn wav_of(server: &Server) -> PathBuf {
    let days = std::fs::read_dir(server.data().join("recordings")).expect("recordings");
    let files = days.flatten().flat_map(|day| std::fs::read_dir(day.path()).expect("a day").flatten());
    let mut wavs = files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "wav"));
    wavs.next().expect("a recording")
}

/// Starts another server on the same data and returns its log up to "ready".
fn next_server_says(data: &std::path::Path) -> Vec<String> {
    let (sip, http) = (free_port(), free_port());
    let child = Command::new(BINARY)
        .args(["serve", "--engine", "none", "--sip", &format!("127.0.0.1:{sip}")])
        .args(["--http", &format!("127.0.0.1:{http}"), "--data"])
        .arg(data)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut process = Process(child);
    let stderr = process.0.stderr.take().expect("piped");
    let mut lines = Vec::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let ready = line.contains("ready");
        lines.push(line);
        if ready {
            break;
        }
    }
    process.terminate(Duration::from_secs(10));
    lines
}

#[test]
fn real_call_an_interrupted_caller_hangs_up() {
    let server = Server::start(Options::default());
    let caller = Command::new(BINARY)
        .args(["call", &format!("sip:bank@{}", server.sip()), "--engine", "none", "--say", "never said"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut caller = Process(caller);
    server.wait_events("call.answered", 1, Duration::from_secs(20));
    let interrupt =
        Command::new("kill").args(["-INT", &caller.id().to_string()]).status().expect("kill runs");
    assert!(interrupt.success());
    assert_eq!(server.cause(), "call.hangup.caller", "the BYE left before the caller did");
    assert!(caller.terminate(Duration::from_secs(10)).is_some());
}
