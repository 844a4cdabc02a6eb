//! Voices over HTTP: sent while they speak, and borrowed from another server.
#![expect(clippy::disallowed_methods, reason = "the service of these tests has a thread of its own")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use support::server::{Options, Server};

const PATIENCE: Duration = Duration::from_secs(60);
const TEXT: &str = "Good morning. Your balance is forty two dollars.";

/// A server whose voice is elsewhere.
fn borrowing(url: &str, more: &str) -> Server {
    let tables =
        format!("[voice]\nengines = {{ \"*\" = \"remote\" }}\n[voice.remote]\nurl = \"{url}\"\n{more}\n");
    Server::start(Options { tables: &tables, ..Options::default() })
}

fn ask(server: SocketAddr, format: &str) -> ureq::http::Response<ureq::Body> {
    let asked = json!({ "model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": format });
    let request = ureq::post(format!("http://{server}/v1/audio/speech"));
    request
        .config()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .send_json(asked)
        .expect("answered")
}

fn spoken(server: SocketAddr, format: &str) -> (String, Vec<u8>) {
    let mut answer = ask(server, format);
    assert_eq!(answer.status(), 200, "{format}");
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    (kind, answer.body_mut().with_config().limit(10 << 20).read_to_vec().expect("sound"))
}

/// A service that begins to speak, and goes on once it is told to or breaks off where nobody can tell it any more.
fn halting(wanted: usize) -> (SocketAddr, Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (go, wait) = channel();
    let service = std::thread::spawn(move || {
        for _ in 0..wanted {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
            read_request(&stream);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).expect("sent");
            let half = vec![0x11; 24_000];
            let mut chunk = |octets: &[u8]| {
                let _ = write!(stream, "{:x}\r\n", octets.len());
                let _ = stream.write_all(octets).and_then(|()| stream.write_all(b"\r\n"));
            };
            chunk(&half);
            if wait.recv_timeout(PATIENCE).is_ok() {
                chunk(&half);
                chunk(&[]);
            }
        }
    });
    (address, go, service)
}

fn read_request(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).expect("a line") > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).expect("a body");
}

#[test]
fn speech_is_sent_while_it_is_spoken() {
    let (address, go, service) = halting(1);
    let server = borrowing(&format!("http://{address}/v1/audio/speech"), "");
    let mut body = ask(server.http(), "pcm").into_body().into_reader();
    let mut first = [0; 4_800];
    body.read_exact(&mut first).expect("the first sound, while the voice waits for us");
    go.send(()).expect("it waits");
    let mut rest = Vec::new();
    body.read_to_end(&mut rest).expect("the rest");
    assert!((42_000..44_000).contains(&rest.len()), "{}", rest.len());
    service.join().expect("asked once");
}

#[test]
fn speech_that_breaks_off_is_no_whole_answer() {
    let (address, go, service) = halting(1);
    let server = borrowing(&format!("http://{address}/v1/audio/speech"), "");
    let mut body = ask(server.http(), "pcm").into_body().into_reader();
    body.read_exact(&mut [0; 4_800]).expect("the first sound");
    drop(go);
    assert!(body.read_to_end(&mut Vec::new()).is_err());
    service.join().expect("asked once");
}

#[test]
fn a_server_lends_its_voice_to_another() {
    let lender = Server::start(Options::default());
    let url = format!("http://{}/v1/audio/speech", lender.http());
    let own = spoken(lender.http(), "pcm").1.len();
    for format in ["pcm", "wav"] {
        let server = borrowing(&url, &format!("format = \"{format}\""));
        let (kind, borrowed) = spoken(server.http(), "pcm");
        assert_eq!(kind, "audio/pcm");
        assert!(borrowed.len().abs_diff(own) < 2_000, "{format}: {} {own}", borrowed.len());
        assert!(own > 48_000, "a second and more");
    }
}

#[test]
fn every_coding_that_is_offered_begins_as_it_should() {
    let server = Server::start(Options::default());
    for (format, kind, begin) in
        [("wav", "audio/wav", &b"RIFF"[..]), ("opus", "audio/ogg", b"OggS"), ("flac", "audio/flac", b"fLaC")]
    {
        let (found, octets) = spoken(server.http(), format);
        assert_eq!(found, kind);
        assert!(octets.starts_with(begin) && octets.len() > 4_000, "{format}: {}", octets.len());
    }
    let mut answer = ask(server.http(), "aac");
    assert_eq!(answer.status(), 400);
    let body: Value = answer.body_mut().read_json().expect("JSON");
    assert_eq!(body["error"]["param"], "response_format", "{body}");
}

#[test]
fn a_client_that_names_no_coding_gets_one_that_it_can_play() {
    let server = Server::start(Options::default());
    let asked = json!({ "model": "tts-1", "voice": "alloy", "input": TEXT });
    let url = format!("http://{}/v1/audio/speech", server.http());
    let mut answer = ureq::post(url).send_json(asked).expect("spoken");
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    let octets = answer.body_mut().read_to_vec().expect("sound");
    let explicit = ask(server.http(), "mp3");
    if kind == "audio/wav" {
        assert!(octets.starts_with(b"RIFF"));
        assert_eq!(explicit.status(), 400, "there is no libmp3lame here");
        return;
    }
    // A frame of Layer III begins with eleven bits of one.
    assert_eq!((kind.as_str(), octets[0], octets[1] & 0xe0), ("audio/mpeg", 0xff, 0xe0));
    assert!(octets.len() > 16_000, "two seconds and more at 64 kbit/s: {}", octets.len());
    assert_eq!(explicit.status(), 200);
}

#[test]
fn a_service_that_refuses_is_told_of() {
    let (address, _go, service) = halting(0);
    service.join().expect("nobody is served");
    let server = borrowing(&format!("http://{address}/v1/audio/speech"), "retries = 0");
    let mut answer = ask(server.http(), "pcm");
    assert_eq!(answer.status(), 503);
    let body: Value = answer.body_mut().read_json().expect("JSON");
    assert!(
        body["error"]["message"].as_str().is_some_and(|message| message.starts_with("remote: ")),
        "{body}"
    );
}
