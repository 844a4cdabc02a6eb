//! Other programs' clients against the built server: their messages over real sockets, with real speech.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::server::{Options, Server};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

const PATIENCE: Duration = Duration::from_secs(60);

fn server() -> Server {
    Server::start(Options { engine: "pocketsphinx", ..Options::default() })
}

/// Speech of the server's own voice: 16 kHz, 16 bits, with its header.
fn spoken(server: &Server, text: &str) -> Vec<u8> {
    let url = format!("http://{}/v1/audio/speech", server.http());
    let asked = json!({ "model": "tts-1", "voice": "alloy", "input": text, "response_format": "wav" });
    let mut answer = ureq::post(url).send_json(asked).expect("spoken");
    assert_eq!(answer.headers()["content-type"], "audio/wav");
    let wav = answer.body_mut().with_config().limit(10 << 20).read_to_vec().expect("sound");
    assert_eq!((&wav[..4], &wav[36..40]), (&b"RIFF"[..], &b"data"[..]));
    wav
}

type Socket = WebSocketStream<TcpStream>;

async fn open(http: SocketAddr, path: &str) -> Socket {
    let stream = TcpStream::connect(http).await.expect("the server listens");
    let request = format!("ws://{http}{path}").into_client_request().expect("a URL");
    tokio_tungstenite::client_async(request, stream).await.expect("a WebSocket").0
}

async fn say(socket: &mut Socket, value: &Value) {
    socket.send(Message::Text(value.to_string().into())).await.expect("sent");
}

/// The next message, or `None` at the end.
async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time")? {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).expect("JSON")),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

async fn rest(socket: &mut Socket) -> Vec<Value> {
    let mut all = Vec::new();
    while let Some(value) = next(socket).await {
        all.push(value);
    }
    all
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_recording_is_transcribed_for_clients_of_openai_and_deepgram() {
    let server = server();
    let wav = spoken(&server, "yes please");
    let boundary = "antiphon-boundary";
    let part = |name: &str, value: &str| {
        format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            .into_bytes()
    };
    let mut form = part("model", "whisper-1");
    form.extend(part("response_format", "verbose_json"));
    form.extend(part("timestamp_granularities[]", "word"));
    form.extend(part("prompt", "yes please, no thank you"));
    form.extend(
        format!("--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n")
            .bytes(),
    );
    form.extend(&wav);
    form.extend(format!("\r\n--{boundary}--\r\n").bytes());
    let url = format!("http://{}/v1/audio/transcriptions", server.http());
    let kind = format!("multipart/form-data; boundary={boundary}");
    let answer: Value = ureq::post(url)
        .content_type(kind)
        .send(&form[..])
        .expect("served")
        .body_mut()
        .read_json()
        .expect("JSON");
    assert_eq!(answer["text"], "Yes, please.", "{answer}");
    let words: Vec<&str> =
        answer["words"].as_array().expect("words").iter().filter_map(|w| w["word"].as_str()).collect();
    assert_eq!(words, ["Yes", "please"]);
    assert!(answer["duration"].as_f64().is_some_and(|seconds| (0.5..3.0).contains(&seconds)), "{answer}");

    let url =
        format!("http://{}/v1/listen?model=nova-3&keywords=yes%20please:2&utterances=true", server.http());
    let answer: Value = ureq::post(url).send(&wav[..]).expect("served").body_mut().read_json().expect("JSON");
    assert_eq!(answer["results"]["channels"][0]["alternatives"][0]["transcript"], "yes please", "{answer}");

    let broken = ureq::post(format!("http://{}/v1/listen", server.http()))
        .config()
        .http_status_as_error(false)
        .build()
        .send(&b"no sound at all"[..]);
    let mut broken = broken.expect("answered");
    let told: Value = broken.body_mut().read_json().expect("JSON");
    assert_eq!(
        (broken.status().as_u16(), told["err_msg"].as_str().map(|m| m.contains("cannot be read"))),
        (400, Some(true)),
        "{told}"
    );
    // Recordings are batch work.
    let pool: Value = ureq::get(format!("http://{}/v1/pool", server.http()))
        .call()
        .expect("served")
        .body_mut()
        .read_json()
        .expect("JSON");
    let batch = &pool["classes"][2];
    assert!(batch["class"] == "batch" && batch["turns"].as_u64().is_some_and(|turns| turns > 0), "{pool}");
}

#[test]
fn two_channels_of_a_live_stream_keep_their_words_apart() {
    let server = server();
    let (left, right) = (spoken(&server, "yes please"), spoken(&server, "no thank you"));
    let (left, right) = (&left[44..], &right[44..]);
    let sets = left.len().max(right.len()) / 2 + 16_000;
    let sample = |pcm: &[u8], n: usize| {
        [pcm.get(2 * n).copied().unwrap_or(0), pcm.get(2 * n + 1).copied().unwrap_or(0)]
    };
    let stereo: Vec<u8> = (0..sets).flat_map(|n| [sample(left, n), sample(right, n)]).flatten().collect();
    let heard = runtime().block_on(async {
        let path = "/v1/listen?encoding=linear16&sample_rate=16000&channels=2&multichannel=true&interim_results=true\
                    &keywords=yes%20please&keywords=no%20thank%20you";
        let mut socket = open(server.http(), path).await;
        // Pieces that are no whole number of samples.
        for piece in stereo.chunks(3_333) {
            socket.send(Message::Binary(piece.to_vec().into())).await.expect("sent");
        }
        say(&mut socket, &json!({ "type": "CloseStream" })).await;
        rest(&mut socket).await
    });
    let finals = |channel: u64| -> String {
        let of = |m: &&Value| m["is_final"] == true && m["channel_index"][0] == channel;
        heard
            .iter()
            .filter(of)
            .filter_map(|m| m["channel"]["alternatives"][0]["transcript"].as_str())
            .collect()
    };
    assert_eq!((finals(0).as_str(), finals(1).as_str()), ("yes please", "no thank you"), "{heard:?}");
    assert!(heard.iter().any(|m| m["is_final"] == false), "interim results were asked for");
    let last = heard.last().expect("messages");
    assert_eq!((&last["type"], &last["channels"]), (&json!("Metadata"), &json!(2)));
}

#[test]
fn clients_of_vosk_funasr_and_the_realtime_api_are_understood() {
    let server = server();
    let wav = spoken(&server, "yes please");
    let pcm = &wav[44..];
    runtime().block_on(async {
        let mut vosk = open(server.http(), "/v1/vosk").await;
        say(&mut vosk, &json!({ "config": { "sample_rate": 16000, "phrase_list": ["yes please", "no thank you", "[unk]"] } })).await;
        let mut answers = 0;
        for piece in pcm.chunks(8_000) {
            vosk.send(Message::Binary(piece.to_vec().into())).await.expect("sent");
            assert!(next(&mut vosk).await.is_some(), "one answer to each message");
            answers += 1;
        }
        say(&mut vosk, &json!({ "eof": 1 })).await;
        let rest = rest(&mut vosk).await;
        assert_eq!((rest.len(), &rest[0]["text"]), (1, &json!("yes please")), "{rest:?} after {answers}");

        let mut funasr = open(server.http(), "/v1/funasr").await;
        let start = json!({ "mode": "2pass", "chunk_size": [5, 10, 5], "is_speaking": true, "audio_fs": 16000, "hotwords": "{\"yes please\": 20}" });
        say(&mut funasr, &start).await;
        for piece in pcm.chunks(3_200) {
            funasr.send(Message::Binary(piece.to_vec().into())).await.expect("sent");
        }
        say(&mut funasr, &json!({ "is_speaking": false })).await;
        let all = self::rest(&mut funasr).await;
        let sentence = all.iter().find(|m| m["mode"] == "2pass-offline").expect("a sentence");
        assert_eq!(sentence["text"], "yes, please.", "{all:?}");
        assert_eq!(all.last().expect("messages")["is_final"], true);

        let mut realtime = open(server.http(), "/v1/realtime?intent=transcription").await;
        assert_eq!(next(&mut realtime).await.expect("a greeting")["type"], "session.created");
        let input = json!({ "format": { "type": "audio/pcm", "rate": 16000 }, "transcription": { "prompt": "yes please, no" } });
        say(&mut realtime, &json!({ "type": "session.update", "session": { "audio": { "input": input } } })).await;
        assert_eq!(next(&mut realtime).await.expect("told")["type"], "session.updated");
        let silence = vec![0u8; 48_000];
        for piece in pcm.chunks(6_400).chain(silence.chunks(6_400)) {
            let audio = base64(piece);
            say(&mut realtime, &json!({ "type": "input_audio_buffer.append", "audio": audio })).await;
        }
        let done = loop {
            let event = next(&mut realtime).await.expect("an event");
            if event["type"] == "conversation.item.input_audio_transcription.completed" {
                break event;
            }
        };
        assert_eq!(done["transcript"], "Yes, please.");
    });
}

#[test]
fn a_client_is_told_what_is_wrong_and_when_to_come_back() {
    let token = "a-secret-of-sixteen-characters";
    let tables = format!(
        "[[tenant]]\nname = \"small\"\nlive = 1\n[[token]]\nname = \"desk\"\nsecret = \"{token}\"\nscopes = [\"speech\"]\ntenant = \"small\"\n"
    );
    let server = Server::start(Options { engine: "scripted", tables: &tables, ..Options::default() });
    let http = server.http();
    let answered = |request: &str| {
        let answer = ureq::get(format!("http://{http}{request}"))
            .header("authorization", format!("Token {token}"))
            .config()
            .http_status_as_error(false)
            .build()
            .call();
        answer.expect("answered").status().as_u16()
    };
    assert_eq!(answered("/v1/calls"), 403, "the token is for speech alone");
    assert_eq!(answered("/v1/listen"), 426);
    runtime().block_on(async {
        let connect = async || {
            let stream = TcpStream::connect(http).await.expect("the server listens");
            let mut request = format!("ws://{http}/v1/vosk").into_client_request().expect("a URL");
            let value = format!("Token {token}").parse().expect("a header");
            request.headers_mut().insert("authorization", value);
            tokio_tungstenite::client_async(request, stream).await.expect("a WebSocket").0
        };
        let mut first = connect().await;
        first.send(Message::Binary(vec![0; 320].into())).await.expect("sent");
        assert_eq!(next(&mut first).await, Some(json!({ "partial": "" })));
        let mut second = connect().await;
        second.send(Message::Binary(vec![0; 320].into())).await.expect("sent");
        let closed = loop {
            match tokio::time::timeout(PATIENCE, second.next()).await.expect("in time") {
                Some(Ok(Message::Close(Some(frame)))) => break frame,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(u16::from(closed.code), 1013);
        assert!(closed.reason.contains("has all its 1 streams in use"), "{}", closed.reason);
        let mut third = connect().await;
        third.send(Message::Text("{\"config\":{\"sample_rate\":\"fast\"}}".into())).await.expect("sent");
        assert!(next(&mut third).await.is_none(), "closed with the reason");
    });
}

/// One Antiphon recognises for another: the second one has no ears of its own.
#[test]
fn a_server_lends_its_ears_to_another() {
    let ears = server();
    let wav = spoken(&ears, "yes please");
    for (shape, path) in [
        ("deepgram", "ws://@/v1/listen"),
        ("vosk", "ws://@/v1/vosk"),
        ("funasr", "ws://@/v1/funasr"),
        ("realtime", "ws://@/v1/realtime"),
        ("openai", "http://@/v1/audio/transcriptions"),
    ] {
        let url = path.replace('@', &ears.http().to_string());
        let recognizer = format!("[recognizer.remote]\nshape = \"{shape}\"\nurl = \"{url}\"\n");
        let mouth =
            Server::start(Options { engine: "remote", recognizer: &recognizer, ..Options::default() });
        let url =
            format!("http://{}/v1/listen?keywords=yes%20please&keywords=no%20thank%20you", mouth.http());
        let answer: Value =
            ureq::post(url).send(&wav[..]).expect("served").body_mut().read_json().expect("JSON");
        let best = &answer["results"]["channels"][0]["alternatives"][0];
        // Whatever the shape can carry of the hints: vosk's can carry none.
        let heard = best["transcript"].as_str().unwrap_or_default();
        assert!(heard.contains("please"), "{shape}: {answer}");
        if shape != "realtime" {
            let words = best["words"].as_array().expect("words");
            let end = words.last().and_then(|word| word["end"].as_f64()).expect("a time");
            assert!((0.4..2.0).contains(&end), "{shape}: {answer}");
        }
    }
}

fn base64(octets: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

/// The recogniser of the whole server is PocketSphinx; one tenant has another.
#[test]
fn each_tenant_is_heard_by_its_own_recogniser() {
    let token = |name: &str, tenant: &str| {
        format!(
            "[[token]]\nname = \"{name}\"\nsecret = \"{name}-0123456789abcdef\"\nscopes = [\"admin\"]\n{tenant}\n"
        )
    };
    let tables = [
        "[recognizer.scripted]\nutterances = [\"this is acme\"]\nrepeat = true\n".to_owned(),
        "[[tenant]]\nname = \"acme\"\nengine = \"scripted\"\nlanguage = \"de\"\n".to_owned(),
        "[[trunk]]\nname = \"acme\"\nmatch = [\"127.0.0.1\"]\ntenant = \"acme\"\noptions_interval = \"0s\"\n"
            .to_owned(),
        token("acme", "tenant = \"acme\""),
        token("other", ""),
    ];
    let flow = Some(include_str!("scenarios/line.yaml"));
    let server = Server::start(Options {
        engine: "pocketsphinx",
        flow,
        tables: &tables.concat(),
        ..Options::default()
    });
    let post = |token: &str, path: &str, kind: &str, body: &[u8]| -> Vec<u8> {
        let request = ureq::post(format!("http://{}{path}", server.http()))
            .header("authorization", format!("Bearer {token}-0123456789abcdef"))
            .header("content-type", kind)
            .config()
            .http_status_as_error(false)
            .build();
        let mut answer = request.send(body).expect("an answer");
        let octets = answer.body_mut().with_config().limit(10 << 20).read_to_vec().expect("a body");
        assert!(answer.status().is_success(), "{path}: {}", String::from_utf8_lossy(&octets));
        octets
    };
    let asked =
        json!({ "model": "tts-1", "voice": "alloy", "input": "yes please", "response_format": "wav" })
            .to_string();
    let wav = post("other", "/v1/audio/speech", "application/json", asked.as_bytes());
    let heard = |token: &str| -> Value {
        let path = "/v1/listen?keywords=yes%20please:2";
        let answer: Value = serde_json::from_slice(&post(token, path, "audio/wav", &wav)).expect("JSON");
        answer["results"]["channels"][0]["alternatives"][0]["transcript"].clone()
    };
    assert_eq!((heard("acme"), heard("other")), (json!("this is acme"), json!("yes please")));

    // On a call of its trunk, too.
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("caller.yaml");
    std::fs::write(&script, "language: en\nsteps:\n  - say: Yes please\n  - pause: 2s\n").expect("written");
    let called = std::process::Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["call", &format!("sip:bank@{}", server.sip()), "--engine", "none", "--script"])
        .arg(&script)
        .output()
        .expect("the binary runs");
    server.wait_events("call.ended", 1, PATIENCE);
    let said = server.of_type("speech.final");
    let said: Vec<_> =
        said.iter().filter(|event| event["side"] == "caller").map(|event| &event["text"]).collect();
    assert!(said.contains(&&json!("this is acme")), "{said:?} {}", String::from_utf8_lossy(&called.stderr));
}
