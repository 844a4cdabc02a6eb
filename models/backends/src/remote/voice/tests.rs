use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Instant;

use antiphon_models_speech::Language;

use super::*;

/// What a service of these tests answers a request with; it is given the body that was sent.
type Play = Box<dyn FnOnce(TcpStream, &str) + Send>;

/// A service that takes as many connections as there are plays, one after another.
fn service(plays: Vec<Play>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let thread = std::thread::spawn(move || {
        for play in plays {
            let (stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let begun = head.len();
                reader.read_line(&mut head).expect("a line");
                let line = head[begun..].trim().to_ascii_lowercase();
                if line.is_empty() {
                    break;
                }
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            play(stream, &format!("{head}{}", String::from_utf8(body).expect("UTF-8")));
        }
    });
    (address, thread)
}

fn settings(address: SocketAddr) -> RemoteVoiceSettings {
    RemoteVoiceSettings {
        url: format!("http://{address}/v1/audio/speech"),
        connect_s: 1.0,
        answer_s: 0.5,
        ..RemoteVoiceSettings::default()
    }
}

fn request(voice: Option<&str>) -> SpeechRequest {
    SpeechRequest {
        text: "Good morning.".into(),
        language: Language::english(),
        voice: voice.map(str::to_owned),
    }
}

fn speak(settings: &RemoteVoiceSettings) -> Result<Box<dyn SpeechStream>, SynthesizeError> {
    RemoteVoice::open(settings).expect("settings").speak(&request(None))
}

fn all(stream: &mut dyn SpeechStream) -> Result<Vec<i16>, SynthesizeError> {
    let mut pcm = Vec::new();
    while let Some(chunk) = stream.next_chunk()? {
        pcm.extend(chunk.pcm);
    }
    Ok(pcm)
}

fn octets(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn head(kind: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n")
}

fn chunk(stream: &mut TcpStream, octets: &[u8]) {
    let _ = stream.write_all(format!("{:x}\r\n", octets.len()).as_bytes());
    let _ = stream.write_all(octets);
    let _ = stream.write_all(b"\r\n");
    let _ = stream.flush();
}

/// One answer with a length and nothing after it.
fn answer(status: &'static str, kind: &'static str, body: Vec<u8>) -> Play {
    Box::new(move |mut stream, _| {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body);
    })
}

#[test]
fn sound_is_heard_while_it_comes() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (address, service) = service(vec![Box::new(move |mut stream, asked| {
        for wanted in [
            "authorization: bearer secret",
            "\"response_format\":\"pcm\"",
            "\"voice\":\"alloy\"",
            "Good morning.",
        ] {
            assert!(asked.contains(wanted) || asked.to_lowercase().contains(wanted), "{asked}");
        }
        let _ = stream.write_all(head("audio/pcm").as_bytes());
        // Half a sample first.
        chunk(&mut stream, &octets(&[1, 2, 3])[..5]);
        wait.recv().expect("the first sound was heard");
        chunk(&mut stream, &octets(&[1, 2, 3, 4])[5..]);
        chunk(&mut stream, &[]);
    })]);
    let settings =
        RemoteVoiceSettings { key: String::from("secret").into(), answer_s: 5.0, ..settings(address) };
    let mut stream = speak(&settings).expect("speech");
    let first = stream.next_chunk().expect("no failure").expect("sound");
    assert_eq!((first.pcm, stream.rate().hz()), (vec![1, 2], 24_000));
    go.send(()).expect("it waits");
    assert_eq!(all(&mut *stream).expect("the rest"), [3, 4]);
    service.join().expect("it was asked as it should be");
}

#[test]
fn a_header_says_the_rate_and_where_the_sound_ends() {
    for (bytes, after) in [(6, &b"LISTjunk"[..]), (u32::MAX, &b""[..]), (0, &b""[..])] {
        let mut body = wav::header(SampleRate::HZ_16000, bytes).to_vec();
        body.extend(octets(&[7, 8, 9]));
        body.extend(after);
        let (address, service) = service(vec![answer("200 OK", "audio/wav", body)]);
        let settings = RemoteVoiceSettings { format: RemoteFormat::Wav, ..settings(address) };
        let mut stream = speak(&settings).expect("speech");
        assert_eq!(stream.rate(), SampleRate::HZ_16000);
        assert_eq!(all(&mut *stream).expect("sound"), [7, 8, 9], "{bytes}");
        service.join().expect("answered");
    }
}

#[test]
fn a_service_that_is_busy_is_asked_again() {
    let (address, service) = service(vec![
        answer("503 Service Unavailable", "text/plain", Vec::new()),
        answer("200 OK", "application/octet-stream", octets(&[5])),
    ]);
    assert_eq!(all(&mut *speak(&settings(address)).expect("speech")).expect("sound"), [5]);
    service.join().expect("asked twice");
}

#[test]
fn what_a_service_says_against_us_is_told() {
    let said = |status, body: &'static str| {
        let (address, service) = service(vec![answer(status, "application/json", body.into())]);
        let refused = speak(&settings(address)).map(|_| ()).expect_err("refused");
        service.join().expect("asked once");
        refused
    };
    let refused = said("401 Unauthorized", r#"{"error":{"message":"wrong key"}}"#).to_string();
    assert!(refused.contains("401") && refused.contains("wrong key"), "{refused}");
    let refused = said("400 Bad Request", r#"{"error":{"message":"no such voice"}}"#);
    assert!(matches!(refused, SynthesizeError::Voice { .. }), "{refused}");
    assert!(said("200 OK", "{}").to_string().contains("application/json"));
    assert!(said("302 Found", "").to_string().contains("302"));
}

#[test]
fn services_that_stall_are_given_up_in_time() {
    let (address, service) = service(vec![
        Box::new(|stream, _| {
            std::thread::sleep(Duration::from_millis(1_500));
            drop(stream);
        }),
        Box::new(|mut stream, _| {
            let _ = stream.write_all(head("audio/pcm").as_bytes());
            chunk(&mut stream, &octets(&[1; 100]));
            std::thread::sleep(Duration::from_millis(1_500));
        }),
    ]);
    let begun = Instant::now();
    let refused = speak(&settings(address)).map(|_| ()).expect_err("silence").to_string();
    assert!(refused.contains("in time"), "{refused}");
    assert!(begun.elapsed() < Duration::from_millis(1_400), "{:?}", begun.elapsed());
    let mut stream = speak(&RemoteVoiceSettings { answer_s: 1.4, ..settings(address) }).expect("it begins");
    let refused = all(&mut *stream).expect_err("it stalls").to_string();
    assert!(refused.contains("broke off"), "{refused}");
    service.join().expect("both were asked");
}

#[test]
fn sound_that_breaks_off_is_a_failure_and_not_an_end() {
    let (address, service) = service(vec![
        Box::new(|mut stream, _| {
            let _ = stream.write_all(head("audio/pcm").as_bytes());
            chunk(&mut stream, &octets(&[1; 100]));
        }),
        Box::new(|mut stream, _| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n0123456789");
        }),
    ]);
    for _ in 0..2 {
        let mut stream = speak(&settings(address)).expect("it begins");
        assert!(all(&mut *stream).is_err());
    }
    service.join().expect("both were asked");
}

#[test]
fn an_answer_without_sound_is_a_failure() {
    let (address, service) = service(vec![answer("200 OK", "audio/pcm", Vec::new())]);
    let refused = speak(&settings(address)).map(|_| ()).expect_err("nothing").to_string();
    assert!(refused.contains("no sound"), "{refused}");
    service.join().expect("asked");
}

#[test]
fn speech_that_does_not_end_is_ended() {
    let mut stream = Stream::over(std::io::repeat(1), RemoteFormat::Pcm, SampleRate::HZ_8000).expect("begun");
    let refused = all(&mut stream).expect_err("ended").to_string();
    assert!(refused.contains("does not end"), "{refused}");
}

#[test]
fn settings_are_checked_and_show_no_key() {
    let usual = settings(SocketAddr::from(([127, 0, 0, 1], 9)));
    for (settings, what) in [
        (RemoteVoiceSettings { url: "ftp://x".into(), ..usual.clone() }, "http:// or https://"),
        (RemoteVoiceSettings { rate_hz: 1, ..usual.clone() }, "rate_hz is 1"),
        (
            RemoteVoiceSettings { key_env: Some("ANTIPHON_NO_SUCH".into()), ..usual.clone() },
            "ANTIPHON_NO_SUCH",
        ),
    ] {
        let refused = RemoteVoice::open(&settings).map(|_| ()).expect_err("refused").to_string();
        assert!(refused.contains(what), "{refused}");
    }
    let settings = RemoteVoiceSettings { key: String::from("secret").into(), ..usual };
    assert!(!format!("{settings:?}").contains("secret"));
}
