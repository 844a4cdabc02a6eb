//! MRCPv2 against the built server: a small client of our own that sets sessions up by SIP, steers by TCP, speaks and hears
//! by RTP.
#![allow(clippy::disallowed_methods, reason = "a client in real time")]

mod support;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon_engine_mrcp::{Decoder, Message, RequestState, Start};
use antiphon_media_codec::{CodecKind, Decoder as Ear, Encoder as Voice};
use antiphon_media_sip::{Agent, AgentConfig, CallRequest, Dialog, OutgoingEvent};
use serde_json::{Value, json};
use support::server::{Options, Server};
use support::wav::Wav;
use support::{HOST, free_port};
use tokio::runtime::Runtime;

/// The payload type (RFC 3551); its clock counts 8,000 a second.
const G722: u8 = 9;
const PATIENCE: Duration = Duration::from_secs(40);
/// Samples of 20 ms at 16 kHz.
const FRAME: usize = 320;

/// A telephone's media in G.722: says what it is given, else silence, and keeps what it hears.
struct Phone {
    port: u16,
    shared: Arc<Media>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Media {
    says: Mutex<VecDeque<i16>>,
    keys: Mutex<VecDeque<u8>>,
    heard: Mutex<Vec<i16>>,
    peer: Mutex<Option<SocketAddr>>,
    stop: AtomicBool,
}

impl Phone {
    fn new() -> Self {
        let socket = UdpSocket::bind((HOST, free_port())).expect("a port");
        let port = socket.local_addr().expect("bound").port();
        socket.set_read_timeout(Some(Duration::from_millis(2))).expect("a time");
        let shared: Arc<Media> = Arc::default();
        let kept = Arc::clone(&shared);
        Self { port, shared, thread: Some(thread::spawn(move || run(&socket, &kept))) }
    }

    fn say(&self, pcm: &[i16]) {
        self.shared.says.lock().expect("whole").extend(pcm);
    }

    fn press(&self, keys: &[u8]) {
        self.shared.keys.lock().expect("whole").extend(keys);
    }

    fn heard(&self) -> Vec<i16> {
        self.shared.heard.lock().expect("whole").clone()
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(socket: &UdpSocket, media: &Media) {
    let (mut voice, mut ear) = (Voice::open(CodecKind::G722).expect("G.722"), Ear::new(CodecKind::G722));
    let (mut sequence, mut timestamp, mut due) = (0_u16, 0_u32, Instant::now());
    let mut key: Option<(u8, u32, u16)> = None;
    let mut buffer = [0; 2_048];
    while !media.stop.load(Ordering::Relaxed) {
        if let Ok((length, _)) = socket.recv_from(&mut buffer)
            && length > 12
            && buffer[1] & 0x7f == G722
        {
            let mut pcm = vec![0; 2 * (length - 12)];
            let count = ear.decode(&buffer[12..length], &mut pcm).expect("G.722");
            media.heard.lock().expect("whole").extend(&pcm[..count]);
        }
        let Some(peer) = *media.peer.lock().expect("whole") else {
            due = Instant::now();
            continue;
        };
        if Instant::now() < due {
            continue;
        }
        due += Duration::from_millis(20);
        let next_key = || media.keys.lock().expect("whole").pop_front();
        key = key.or_else(|| next_key().map(|event| (event, timestamp, 0)));
        let header = |kind: u8, stamp: u32| {
            let mut packet = vec![0x80, kind];
            packet.extend(sequence.to_be_bytes());
            packet.extend(stamp.to_be_bytes());
            packet.extend([1, 2, 3, 4]);
            packet
        };
        // Five packets of 20 ms, the last three times (RFC 4733 section 2.5.1.4), then two of silence.
        let packet = match key {
            Some((event, began, sent)) if sent < 7 => {
                let mut packet = header(101, began);
                packet.extend([event, if sent >= 4 { 0x8a } else { 0x0a }]);
                packet.extend(((sent + 1).min(5) * 160).to_be_bytes());
                packet
            }
            _ => {
                let mut frame = [0_i16; FRAME];
                let mut says = media.says.lock().expect("whole");
                frame.iter_mut().for_each(|sample| *sample = says.pop_front().unwrap_or(0));
                let mut packet = header(G722, timestamp);
                let mut payload = [0; FRAME];
                let length = voice.encode(&frame, &mut payload).expect("G.722");
                packet.extend(&payload[..length]);
                packet
            }
        };
        key = key.map(|(event, began, sent)| (event, began, sent + 1)).filter(|(_, _, sent)| *sent < 9);
        sequence = sequence.wrapping_add(1);
        timestamp = timestamp.wrapping_add(160);
        // A session that is over takes no more.
        let _ = socket.send_to(&packet, peer);
    }
}

/// A client of MRCP in one session.
struct Client {
    runtime: Runtime,
    dialog: Option<Dialog>,
    _agent: Agent,
    phone: Phone,
    answer: String,
    stream: TcpStream,
    decoder: Decoder,
    next: u32,
}

fn offer(port: u16, resources: &[&str]) -> String {
    let mut sdp = format!("v=0\r\no=ivr 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n");
    for resource in resources {
        sdp += &format!(
            "m=application 9 TCP/MRCPv2 1\r\na=setup:active\r\na=connection:existing\r\na=resource:{resource}\r\na=cmid:1\r\n"
        );
    }
    sdp + &format!(
        "m=audio {port} RTP/AVP 9 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=mid:1\r\na=sendrecv\r\n"
    )
}

/// Calls the server; the status where it refuses.
fn call(server: &Server, port: u16, resources: &[&str]) -> Result<(Runtime, Agent, Dialog, String), u16> {
    let runtime = Runtime::new().expect("a runtime");
    let called = runtime.block_on(async {
        let udp = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        let (agent, _) = Agent::bind(AgentConfig { udp, ..AgentConfig::default() }).await.expect("a port");
        let to = format!("sip:mrcp@{}", server.sip());
        let request = CallRequest::new(&to, "sip:ivr@127.0.0.1", offer(port, resources));
        let mut call = agent.call(request).await.expect("called");
        loop {
            match call.next().await {
                OutgoingEvent::Answered { sdp, dialog } => return Ok((agent, dialog, sdp)),
                OutgoingEvent::Failed { status, .. } => return Err(status),
                OutgoingEvent::TimedOut => return Err(408),
                _ => {}
            }
        }
    });
    let (agent, dialog, sdp) = called?;
    Ok((runtime, agent, dialog, sdp))
}

impl Client {
    fn open(server: &Server, resources: &[&str]) -> Self {
        let phone = Phone::new();
        let (runtime, agent, dialog, answer) = call(server, phone.port, resources).expect("answered");
        let lines: Vec<Vec<&str>> =
            answer.lines().filter_map(|line| Some(line.strip_prefix("m=")?.split(' ').collect())).collect();
        assert_eq!(lines.len(), resources.len() + 1, "an answer to each: {answer}");
        let audio: u16 = lines[resources.len()][1].parse().expect("a port");
        *phone.shared.peer.lock().expect("whole") = Some(SocketAddr::from((HOST, audio)));
        let port: u16 = lines[0][1].parse().expect("a port");
        let stream = TcpStream::connect((HOST, port)).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        Self {
            runtime,
            dialog: Some(dialog),
            _agent: agent,
            phone,
            answer,
            stream,
            decoder: Decoder::default(),
            next: 1,
        }
    }

    fn channel(&self, resource: &str) -> String {
        let mut all = self.answer.lines().filter_map(|line| line.strip_prefix("a=channel:"));
        all.find(|channel| channel.ends_with(&format!("@{resource}"))).expect("a channel").to_owned()
    }

    /// Asks for something; the request's number.
    fn ask(&mut self, resource: &str, method: &str, dress: impl FnOnce(Message) -> Message) -> u32 {
        let id = self.next;
        self.next += 1;
        let message = Message::request(method, id).with("Channel-Identifier", self.channel(resource));
        self.stream.write_all(&dress(message).encode()).expect("sent");
        id
    }

    /// The next message.
    fn hear(&mut self) -> Message {
        let begun = Instant::now();
        let mut buffer = [0; 4_096];
        loop {
            if let Some(message) = self.decoder.next_message().expect("MRCP") {
                return message;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server hung up"),
                Ok(length) => self.decoder.push(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    assert!(begun.elapsed() < PATIENCE, "nothing comes");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The answer to a request, which has to be next.
    fn answered(&mut self, id: u32) -> (u16, RequestState, Message) {
        let message = self.hear();
        match message.start {
            Start::Response { id: of, status, state } if of == id => (status, state, message),
            ref other => panic!("no answer to {id}: {other:?}"),
        }
    }

    fn done(&mut self, id: u32) -> Message {
        let (status, state, message) = self.answered(id);
        assert_eq!((status, state), (200, RequestState::Complete));
        message
    }

    fn begun(&mut self, id: u32) {
        let (status, state, message) = self.answered(id);
        assert_eq!(
            (status, state),
            (200, RequestState::InProgress),
            "{:?}",
            message.headers.value("Completion-Reason")
        );
    }

    /// The next event, which has to be this one; its cause and its body.
    fn event(&mut self, expected: &str, of: u32) -> (String, String) {
        let message = self.hear();
        match &message.start {
            Start::Event { name, id, .. } => assert_eq!((name.as_str(), *id), (expected, of)),
            other => panic!("no {expected}: {other:?}"),
        }
        let cause = message.headers.value("Completion-Cause").unwrap_or_default().to_owned();
        (cause, String::from_utf8(message.body).expect("text"))
    }

    fn hang_up(&mut self) {
        if let Some(dialog) = self.dialog.take() {
            self.runtime.block_on(dialog.hang_up(None)).expect("hung up");
        }
    }
}

fn server(engine: &'static str, tables: &str) -> Server {
    let listen = free_port();
    let tables = format!("[mrcp]\nlisten = \"127.0.0.1:{listen}\"\n{tables}");
    Server::start(Options { engine, tables: &tables, ..Options::default() })
}

/// Speech of the server's own voice, 16 kHz.
fn spoken(server: &Server, text: &str) -> Vec<i16> {
    let url = format!("http://{}/v1/audio/speech", server.http());
    let asked = json!({ "model": "tts-1", "voice": "alloy", "input": text, "response_format": "wav" });
    let mut answer = ureq::post(url).send_json(asked).expect("spoken");
    let wav = answer.body_mut().with_config().limit(10 << 20).read_to_vec().expect("sound");
    assert_eq!(wav[24..28], 16_000_u32.to_le_bytes(), "16 kHz");
    wav[44..].chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect()
}

/// What the server's own ears hear in sound of 16 kHz, other phrases being as likely.
fn transcribed(server: &Server, pcm: &[i16]) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("heard.wav");
    Wav::write(&path, 16_000, pcm);
    let phrases =
        ["welcome to the bank of tomorrow", "please leave a message", "somebody will call you back"];
    let phrases: String =
        phrases.iter().map(|phrase| format!("&keywords={}:2", phrase.replace(' ', "%20"))).collect();
    let url = format!("http://{}/v1/listen?model=nova-3{phrases}", server.http());
    let wav = std::fs::read(&path).expect("readable");
    let mut answer = ureq::post(url).send(&wav[..]).expect("served");
    let answer: serde_json::Value = answer.body_mut().read_json().expect("JSON");
    let said = &answer["results"]["channels"][0]["alternatives"][0]["transcript"];
    said.as_str().unwrap_or_default().to_owned()
}

const ACCOUNTS: &str = "<?xml version=\"1.0\"?>\n<grammar xmlns=\"http://www.w3.org/2001/06/grammar\" version=\"1.0\" \
    xml:lang=\"en-US\" root=\"main\" tag-format=\"semantics/1.0\">\n<rule id=\"main\"><one-of>\
    <item>my savings account<tag>out.account='SAV'</tag></item>\
    <item>my checking account<tag>out.account='CHK'</tag></item>\
    <item>speak to an agent<tag>out.agent=true</tag></item></one-of></rule></grammar>";

#[test]
fn an_ivr_speaks_and_understands() {
    let server = server(
        "pocketsphinx",
        "allow = [\"127.0.0.1\"]\ntenant = \"ivr\"\n[[tenant]]\nname = \"ivr\"\nlive = 1\n",
    );
    let mut client = Client::open(&server, &["speechsynth", "speechrecog"]);
    assert_eq!(client.answer.matches("a=setup:passive").count(), 2, "{}", client.answer);
    assert_eq!(client.answer.matches("a=connection:new").count(), 2, "none stands yet: {}", client.answer);

    // It speaks, and is heard.
    let ssml = "<speak version=\"1.0\"><s>Welcome to the bank of tomorrow</s><mark name=\"end\"/></speak>";
    let speak = client.ask("speechsynth", "SPEAK", |m| m.with_body("application/ssml+xml", ssml));
    client.begun(speak);
    client.event("SPEECH-MARKER", speak);
    assert_eq!(client.event("SPEAK-COMPLETE", speak).0, "000 normal");
    thread::sleep(Duration::from_millis(300));
    let heard = transcribed(&server, &client.phone.heard());
    // Of six words a small recogniser may take one for another.
    let words = ["welcome", "to", "the", "bank", "of", "tomorrow"];
    let found = words.iter().filter(|word| heard.split(' ').any(|said| said == **word)).count();
    assert!(found >= 5, "{heard}");

    // It listens while it speaks; the caller cuts it short, and is understood.
    let define = client.ask("speechrecog", "DEFINE-GRAMMAR", |m| {
        m.with("Content-ID", "<accounts@bank>").with_body("application/srgs+xml", ACCOUNTS)
    });
    client.done(define);
    let long = "Please tell me which of your accounts you would like to hear about today. \
                You may choose your savings account, your checking account, or speak to an agent. \
                If you are not sure, please stay on the line, and somebody will be with you shortly.";
    let speak = client.ask("speechsynth", "SPEAK", |m| m.with_body("text/plain", long));
    client.begun(speak);
    let recognise = client.ask("speechrecog", "RECOGNIZE", |m| {
        m.with("No-Input-Timeout", "20000").with_body("text/uri-list", "session:accounts@bank")
    });
    client.begun(recognise);

    // The tenant has one live stream.
    let mut other = Client::open(&server, &["speechrecog"]);
    assert!(other.answer.contains("a=connection:existing"), "one stands: {}", other.answer);
    let refused = other.ask("speechrecog", "RECOGNIZE", |m| m.with_body("application/srgs+xml", ACCOUNTS));
    let (status, _, message) = other.answered(refused);
    assert_eq!((status, message.headers.value("Completion-Cause")), (407, Some("006 recognizer-error")));
    other.hang_up();

    thread::sleep(Duration::from_millis(500));
    client.phone.say(&spoken(&server, "my checking account"));
    assert_eq!(client.event("START-OF-INPUT", recognise).0, "");
    assert_eq!(client.event("SPEAK-COMPLETE", speak).0, "001 barge-in");
    let (cause, result) = client.event("RECOGNITION-COMPLETE", recognise);
    assert_eq!(cause, "000 success", "{result}");
    assert!(result.contains("<account>CHK</account>"), "{result}");
    assert!(result.contains("grammar=\"session:accounts@bank\""), "{result}");
    assert!(result.contains("<input mode=\"speech\">my checking account</input>"), "{result}");

    // Its place in the pool is free again.
    let digits = client
        .ask("speechrecog", "RECOGNIZE", |m| m.with_body("text/uri-list", "builtin:grammar/digits?length=4"));
    client.begun(digits);
    // A new ear has to know the line for the soft beginning of a "four".
    thread::sleep(Duration::from_millis(500));
    client.phone.say(&spoken(&server, "four two seven one"));
    client.event("START-OF-INPUT", digits);
    let (cause, result) = client.event("RECOGNITION-COMPLETE", digits);
    assert_eq!(cause, "000 success", "{result}");
    assert!(result.contains("<instance>4271</instance>"), "{result}");
    client.hang_up();

    // Both sessions are on record and counted; what was said is in neither.
    let records = records(&server, 2);
    let [other, main] = [0, 1].map(|n| {
        let fits = |record: &&Value| record["mrcp"]["resources"].as_array().map(Vec::len) == Some(n + 1);
        records.iter().find(fits).expect("a record").clone()
    });
    assert_eq!(
        other["mrcp"],
        json!({ "resources": ["speechrecog"], "recognitions": 0, "understood": 0, "speeches": 0 })
    );
    let resources = ["speechsynth", "speechrecog"];
    let used = json!({ "resources": resources, "recognitions": 2, "understood": 2, "speeches": 2 });
    assert_eq!((&main["mrcp"], &main["cause"]), (&used, &json!("call.hangup.caller")));
    let leg = &main["legs"][0];
    assert_eq!((&leg["codecs"][0]["codec"], &leg["sip_status"]), (&json!("G722"), &json!(200)));
    assert!(leg["received"]["packets"].as_u64().is_some_and(|packets| packets > 100), "{leg}");
    assert!(!main.to_string().contains("account"), "{main}");
    let url = format!("http://{}/metrics", server.http());
    let metrics = ureq::get(url).call().expect("served").body_mut().read_to_string().expect("text");
    for line in [
        "antiphon_mrcp_sessions 0",
        "antiphon_mrcp_sessions_ended_total{cause=\"call.hangup.caller\"} 2",
        "antiphon_mrcp_recognitions_total{cause=\"success\"} 2",
        "antiphon_mrcp_speeches_total{cause=\"barge-in\"} 1",
        "antiphon_mrcp_speeches_total{cause=\"normal\"} 1",
        "antiphon_mrcp_requests_refused_total{status=\"407\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    assert!(server.errors().is_empty(), "{:?}", server.errors());
}

/// The records of sessions that are over, once there are so many.
fn records(server: &Server, wanted: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = server.fetch("/v1/cdr");
        let records = page["records"].as_array().expect("records").clone();
        if records.len() >= wanted {
            return records;
        }
        assert!(Instant::now() < deadline, "{page}");
        thread::sleep(Duration::from_millis(50));
    }
}

const MENU: &str = "<grammar xmlns=\"http://www.w3.org/2001/06/grammar\" version=\"1.0\" mode=\"dtmf\" root=\"menu\" \
    tag-format=\"semantics/1.0-literals\"><rule id=\"menu\"><one-of><item>1<tag>balance</tag></item>\
    <item>2 3<tag>transfer</tag></item></one-of></rule></grammar>";

#[test]
fn keys_time_outs_and_stops_are_told() {
    let mut server = server("none", "allow = [\"127.0.0.0/8\"]\n");
    let mut client = Client::open(&server, &["speechrecog", "speakverify"]);
    assert!(
        client.answer.contains("\nm=application 0 TCP/MRCPv2 1"),
        "what is not served is off: {}",
        client.answer
    );

    let keys = client.ask("speechrecog", "RECOGNIZE", |m| m.with_body("application/srgs+xml", MENU));
    client.begun(keys);
    client.phone.press(&[2, 3]);
    client.event("START-OF-INPUT", keys);
    let (cause, result) = client.event("RECOGNITION-COMPLETE", keys);
    assert_eq!(cause, "000 success", "{result}");
    assert!(result.contains("<instance>transfer</instance>") && result.contains("mode=\"dtmf\""), "{result}");

    let silent = client.ask("speechrecog", "RECOGNIZE", |m| {
        m.with("No-Input-Timeout", "400").with_body("application/srgs+xml", MENU)
    });
    client.begun(silent);
    assert_eq!(client.event("RECOGNITION-COMPLETE", silent).0, "002 no-input-timeout");

    let stopped = client.ask("speechrecog", "RECOGNIZE", |m| m.with_body("application/srgs+xml", MENU));
    client.begun(stopped);
    let stop = client.ask("speechrecog", "STOP", |m| m);
    let told = client.done(stop);
    assert_eq!(told.headers.value("Active-Request-Id-List"), Some(stopped.to_string().as_str()));

    // Without a recogniser a voice is refused with its reason.
    let voice =
        client.ask("speechrecog", "RECOGNIZE", |m| m.with_body("text/uri-list", "builtin:grammar/boolean"));
    let (status, _, message) = client.answered(voice);
    assert_eq!(status, 407);
    assert!(
        message.headers.value("Completion-Reason").is_some_and(|reason| reason.contains("no recogniser"))
    );

    // When the session is over its channels are.
    client.hang_up();
    let begun = Instant::now();
    loop {
        let late = client.ask("speechrecog", "STOP", |m| m);
        let (status, _, _) = client.answered(late);
        if status == 405 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "the channel is still there");
        thread::sleep(Duration::from_millis(20));
    }
    // What is no MRCP ends the connection.
    client.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    client.stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    let end = client.stream.read(&mut [0; 64]);
    assert!(matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "closed");

    assert_eq!(call(&server, 40_000, &["speakverify"]).err(), Some(488), "nothing of it is served");
    let _open = Client::open(&server, &["speechsynth"]);
    assert!(server.stop(), "a session does not keep the server from ending");
}

#[test]
fn strangers_get_neither_sessions_nor_connections() {
    let server = server("none", "allow = [\"192.0.2.1\"]\n[security]\nanonymous = true\n");
    assert_eq!(call(&server, 40_000, &["speechrecog"]).err(), Some(403));
}
