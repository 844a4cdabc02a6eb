use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use antiphon_media_frame::{AudioBuf, MediaTime};
use antiphon_models_speech::Language;
use tokio_tungstenite::tungstenite::{self, Message};

use super::*;

/// What a service of these tests does with a connection.
type Play = Box<dyn FnOnce(&mut tungstenite::WebSocket<std::net::TcpStream>) + Send>;

/// A service that takes as many connections as there are plays, one after another.
fn service(plays: Vec<Play>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let thread = std::thread::spawn(move || {
        for play in plays {
            let (stream, _) = listener.accept().expect("a client");
            let mut socket = tungstenite::accept(stream).expect("a WebSocket");
            play(&mut socket);
        }
    });
    (address, thread)
}

fn settings(shape: RemoteShape, url: String) -> RemoteSettings {
    RemoteSettings { shape, url, answer_s: 1.0, connect_s: 1.0, ..RemoteSettings::default() }
}

fn stream(settings: &RemoteSettings) -> (Remote, Box<dyn Recognizer>) {
    let engine = Remote::open(settings).expect("settings");
    let config = StreamConfig {
        language: Language::english(),
        hints: Hints { phrases: vec!["check my balance".into()], ..Hints::default() },
        source_rate: SampleRate::HZ_8000,
    };
    let stream = engine.open(&config).expect("a stream");
    (engine, stream)
}

/// Half a second of sound at `at`.
fn say(stream: &mut dyn Recognizer, at: i64) {
    for n in 0..25 {
        let mut frame = AudioBuf::voice(vec![1_000; 160], SampleRate::HZ_8000);
        frame.at = MediaTime::from_millis(at + n * 20);
        stream.push(frame.frame()).expect("taken");
    }
}

/// Computes what is owed and returns what was said.
fn answer(engine: &Remote, stream: &mut dyn Recognizer) -> Result<Vec<Recognition>, RecognizeError> {
    stream.flush()?;
    let until = Instant::now() + Duration::from_secs(20);
    while stream.owed() > 0 {
        assert!(Instant::now() < until, "it gives up in time");
        engine.step(&mut [&mut *stream])?;
    }
    Ok(std::iter::from_fn(|| stream.poll()).collect())
}

fn finals(said: &[Recognition]) -> Vec<&Utterance> {
    said.iter()
        .filter_map(|said| match said {
            Recognition::Final(utterance) => Some(utterance),
            Recognition::Partial(_) => None,
        })
        .collect()
}

/// Reads until the end is said; returns the octets of sound.
fn hear(socket: &mut tungstenite::WebSocket<std::net::TcpStream>, end: &str) -> usize {
    let mut octets = 0;
    loop {
        match socket.read().expect("a message") {
            Message::Binary(sound) => octets += sound.len(),
            Message::Text(text) if text.contains(end) => return octets,
            _ => {}
        }
    }
}

fn tell(socket: &mut tungstenite::WebSocket<std::net::TcpStream>, text: &str) {
    socket.send(Message::Text(text.to_owned().into())).expect("told");
}

#[test]
fn words_come_back_on_the_callers_clock() {
    let (address, service) = service(vec![Box::new(|socket| {
        assert_eq!(hear(socket, "eof"), 8_000, "all of half a second");
        tell(socket, r#"{"partial": "check"}"#);
        tell(
            socket,
            r#"{"text": "check it", "result": [{"word": "check", "start": 0.1, "end": 0.2, "conf": 0.5}, {"word": "it", "start": 0.2, "end": 9.0, "conf": 1.0}]}"#,
        );
    })]);
    let (engine, mut stream) = stream(&settings(RemoteShape::Vosk, format!("ws://{address}")));
    say(&mut *stream, 61_000);
    let said = answer(&engine, &mut *stream).expect("heard");
    let [said] = finals(&said)[..] else { panic!("{said:?}") };
    let times: Vec<_> = said.words.iter().map(|word| (word.start.millis(), word.end.millis())).collect();
    assert_eq!((said.text.as_str(), &times[..]), ("check it", &[(61_100, 61_200), (61_200, 61_500)][..]));
    service.join().expect("the service is content");
}

#[test]
fn a_broken_connection_is_opened_again_and_given_everything() {
    let before = figures();
    let (address, service) = service(vec![
        Box::new(|socket| {
            // Breaks after the first sound, without a word.
            while !matches!(socket.read().expect("a message"), Message::Binary(_)) {}
        }),
        Box::new(|socket| {
            assert_eq!(hear(socket, "CloseStream"), 8_000, "from the beginning");
            tell(
                socket,
                r#"{"type":"Results","is_final":true,"channel":{"alternatives":[{"transcript":"check my","confidence":0.9,"words":[{"word":"check","start":0.0,"end":0.1,"confidence":0.9},{"word":"my","start":0.1,"end":0.2,"confidence":0.9}]}]}}"#,
            );
            tell(
                socket,
                r#"{"type":"Results","is_final":true,"channel":{"alternatives":[{"transcript":"balance","confidence":0.8,"words":[{"word":"balance","start":0.2,"end":0.4,"confidence":0.8}]}]}}"#,
            );
            tell(socket, r#"{"type":"Metadata"}"#);
        }),
    ]);
    let (engine, mut stream) = stream(&settings(RemoteShape::Deepgram, format!("ws://{address}/v1/listen")));
    say(&mut *stream, 0);
    let said = answer(&engine, &mut *stream).expect("heard");
    assert_eq!(finals(&said).iter().map(|said| said.text.as_str()).collect::<Vec<_>>(), ["check my balance"]);
    assert_eq!(finals(&said)[0].words.len(), 3);
    let after = figures();
    assert!(after.again > before.again && after.requests > before.requests, "{after:?}");
    service.join().expect("the service is content");
}

#[test]
fn a_service_that_says_nothing_is_given_up_and_one_that_refuses_is_not_asked_again() {
    let (address, _service) = service(vec![Box::new(|socket| {
        hear(socket, "eof");
        std::thread::sleep(Duration::from_secs(3));
    })]);
    let (engine, mut stream) = self::stream(&settings(RemoteShape::Vosk, format!("ws://{address}")));
    say(&mut *stream, 0);
    let late = answer(&engine, &mut *stream).expect_err("no answer").to_string();
    assert_eq!(late, "remote: no answer within 1 s");
    assert_eq!(stream.owed(), 0, "and nothing is owed for it");

    let (address, service) = service(vec![Box::new(|socket| {
        let frame =
            tungstenite::protocol::CloseFrame { code: 1008.into(), reason: "no such language".into() };
        socket.close(Some(frame)).expect("closed");
        while socket.read().is_ok() {}
    })]);
    let (engine, mut stream) = self::stream(&settings(RemoteShape::Vosk, format!("ws://{address}")));
    say(&mut *stream, 0);
    let refused = answer(&engine, &mut *stream).expect_err("refused").to_string();
    assert!(refused.contains("1008 no such language"), "{refused}");
    service.join().expect("one connection");
}

#[test]
fn nobody_there_is_told_after_the_last_attempt() {
    let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let (engine, mut stream) = stream(&settings(RemoteShape::Funasr, format!("ws://{address}")));
    say(&mut *stream, 0);
    let said = answer(&engine, &mut *stream).expect_err("nobody").to_string();
    assert!(said.starts_with("remote: ") && said.contains("refused"), "{said}");
}

#[test]
fn pieces_of_funasr_and_of_realtime_sessions_are_put_together() {
    let (address, service) = service(vec![
        Box::new(|socket| {
            let Message::Text(start) = socket.read().expect("a message") else { panic!("no start") };
            assert!(start.contains("2pass") && start.contains("check my balance"), "{start}");
            hear(socket, "\"is_speaking\":false");
            tell(socket, r#"{"mode":"2pass-online","text":"我要","is_final":false}"#);
            tell(socket, r#"{"mode":"2pass-online","text":"挂失","is_final":false}"#);
            tell(
                socket,
                r#"{"mode":"2pass-offline","text":"我要挂失","timestamp":"[[0,100],[100,200],[200,300],[300,400]]","is_final":false}"#,
            );
            tell(socket, r#"{"mode":"2pass-offline","text":"","is_final":true}"#);
        }),
        Box::new(|socket| {
            let mut samples = 0;
            loop {
                let Message::Text(text) = socket.read().expect("a message") else { panic!("no text") };
                let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                match value["type"].as_str() {
                    Some("input_audio_buffer.append") => {
                        use base64::Engine as _;
                        let audio = value["audio"].as_str().expect("sound");
                        samples +=
                            base64::engine::general_purpose::STANDARD.decode(audio).expect("base64").len()
                                / 2;
                    }
                    Some("input_audio_buffer.commit") => break,
                    _ => {}
                }
            }
            assert_eq!(samples, 12_000, "half a second of 24 kHz");
            tell(socket, r#"{"type":"conversation.item.input_audio_transcription.delta","delta":"check "}"#);
            tell(
                socket,
                r#"{"type":"conversation.item.input_audio_transcription.completed","transcript":"check it"}"#,
            );
        }),
    ]);
    let (engine, mut stream) = stream(&settings(RemoteShape::Funasr, format!("ws://{address}")));
    say(&mut *stream, 0);
    let said = answer(&engine, &mut *stream).expect("heard");
    assert!(matches!(&said[0], Recognition::Partial(partial) if partial.text == "我要挂失"), "{said:?}");
    assert_eq!((finals(&said)[0].text.as_str(), finals(&said)[0].words.len()), ("我要挂失", 4));
    let (engine, mut stream) = self::stream(&settings(RemoteShape::Realtime, format!("ws://{address}")));
    say(&mut *stream, 0);
    let said = answer(&engine, &mut *stream).expect("heard");
    assert_eq!(finals(&said)[0].text, "check it");
    service.join().expect("the service is content");
}

#[test]
fn an_utterance_is_posted_and_posted_again_where_the_service_is_busy() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let service = std::thread::spawn(move || {
        for (status, body) in [
            ("503 Busy", r#"{"error":{"message":"later"}}"#),
            (
                "200 OK",
                r#"{"text":" check it ","words":[{"word":"check","start":0.0,"end":0.2},{"word":"it","start":0.2,"end":0.3}],"segments":[{"avg_logprob":-0.1}]}"#,
            ),
        ] {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
            let (mut length, mut key) = (0, String::new());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                if lower.starts_with("authorization:") {
                    key = line.trim().to_owned();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            assert!(key.ends_with("Bearer sesame"), "{key}");
            let mut form = vec![0; length];
            reader.read_exact(&mut form).expect("the form");
            assert!(form.windows(4).any(|w| w == b"RIFF") && length > 8_000, "a WAV of half a second");
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
    let url = format!("http://{address}/v1/audio/transcriptions");
    let settings = RemoteSettings { key: "sesame".to_owned().into(), ..settings(RemoteShape::Openai, url) };
    assert!(!format!("{settings:?}").contains("sesame"));
    let (engine, mut stream) = stream(&settings);
    say(&mut *stream, 5_000);
    let said = answer(&engine, &mut *stream).expect("heard");
    let [said] = finals(&said)[..] else { panic!("{said:?}") };
    assert_eq!((said.text.as_str(), said.words[1].start.millis()), ("check it", 5_200));
    service.join().expect("the service is content");
}

#[test]
fn settings_that_lead_nowhere_are_named() {
    for (shape, url, part) in [
        (RemoteShape::Deepgram, "https://api.deepgram.com", "ws:// or wss://"),
        (RemoteShape::Openai, "", "http:// or https://"),
    ] {
        let refused = Remote::open(&settings(shape, url.to_owned())).map(|_| ()).expect_err(url);
        assert!(refused.to_string().contains(part), "{refused}");
    }
    let missing = RemoteSettings {
        key_env: Some("ANTIPHON_NO_SUCH_KEY".to_owned()),
        ..settings(RemoteShape::Vosk, "ws://127.0.0.1:1".to_owned())
    };
    let refused = Remote::open(&missing).map(|_| ()).expect_err("no key").to_string();
    assert!(refused.contains("ANTIPHON_NO_SUCH_KEY"), "{refused}");
}
