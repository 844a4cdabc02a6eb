//! Messages written by hand and by others, against one agent.
#![allow(clippy::disallowed_methods, reason = "tests own tasks")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use antiphon_media_sip::sdp::{Codec, LocalMedia, Offer, accept_answer, answer, offer};
use antiphon_media_sip::{Agent, AgentConfig, CallRequest, DialogEvent, IncomingCall, OutgoingEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);

async fn agent(t1: Duration) -> (Agent, Receiver<IncomingCall>) {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = AgentConfig { udp: vec![free], tcp: vec![free], t1, ..AgentConfig::default() };
    Agent::bind(config).await.expect("loopback can be bound")
}

fn sdp(port: u16) -> LocalMedia {
    LocalMedia::new(Ipv4Addr::LOCALHOST.into(), port, 1)
}

fn accept(call: IncomingCall) -> antiphon_media_sip::Dialog {
    let offered = Offer::parse(call.offer().expect("an offer")).expect("well-formed");
    call.answer(&answer(&offered, &sdp(5_000)).expect("a common codec").0).expect("still wanted")
}

/// A phone that types its messages.
struct Phone {
    socket: UdpSocket,
    id: &'static str,
    to_tag: String,
}

impl Phone {
    async fn new(agent: &Agent, id: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        socket.connect(agent.udp()[0]).await.expect("loopback");
        Self { socket, id, to_tag: String::new() }
    }

    fn message(&self, method: &str, seq: u32, extra: &str, body: &str) -> String {
        let me = self.socket.local_addr().expect("bound");
        let id = self.id;
        let branch = if method == "CANCEL" { "INVITE" } else { method };
        format!(
            "{method} sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bK{id}{seq}{branch}\r\n\
             From: <sip:me@127.0.0.1>;tag={id}\r\nTo: <sip:a@127.0.0.1>{}\r\nCall-ID: {id}\r\n\
             CSeq: {seq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:me@{me}>\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            self.to_tag,
            body.len()
        )
    }

    async fn send(&self, text: &str) {
        self.socket.send(text.as_bytes()).await.expect("loopback");
    }

    /// The next response that is no 100, whole.
    async fn receive(&self) -> String {
        let mut buffer = [0; 8_192];
        loop {
            let received = timeout(LIMIT, self.socket.recv(&mut buffer)).await.expect("a message in time");
            let text = String::from_utf8_lossy(&buffer[..received.expect("loopback")]).into_owned();
            if !text.starts_with("SIP/2.0 100") {
                return text;
            }
        }
    }

    async fn invite(&self) {
        self.send(&self.message("INVITE", 1, "Content-Type: application/sdp\r\n", &offer(&sdp(4_000)))).await;
    }

    async fn answered(&mut self) {
        let ok = self.receive().await;
        assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
        let to = ok.lines().find(|line| line.starts_with("To:")).expect("a To header");
        self.to_tag = to[to.find(";tag=").expect("a tag")..].trim().to_owned();
        self.send(&self.message("ACK", 1, "", "")).await;
    }
}

async fn status(phone: &Phone, text: &str) -> String {
    phone.send(text).await;
    phone.receive().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_outside_calls_are_answered() {
    let (agent, _calls) = agent(Duration::from_millis(500)).await;
    let phone = Phone::new(&agent, "o").await;
    let options = status(&phone, &phone.message("OPTIONS", 1, "", "")).await;
    assert!(options.starts_with("SIP/2.0 200") && options.contains("\r\nAllow: INVITE"), "{options}");
    assert!(options.contains("\r\nAccept: application/sdp"), "{options}");
    let register = status(&phone, &phone.message("REGISTER", 2, "", "")).await;
    assert!(register.starts_with("SIP/2.0 405") && register.contains("\r\nAllow: INVITE"), "{register}");
    assert!(status(&phone, &phone.message("BYE", 3, "", "")).await.starts_with("SIP/2.0 481"));
    assert!(status(&phone, &phone.message("CANCEL", 4, "", "")).await.starts_with("SIP/2.0 481"));
    let text = phone.message("INVITE", 5, "Content-Type: text/plain\r\n", "hello");
    let refused = status(&phone, &text).await;
    assert!(
        refused.starts_with("SIP/2.0 415") && refused.contains("\r\nAccept: application/sdp"),
        "{refused}"
    );
    let extension = status(&phone, &phone.message("INVITE", 6, "Require: teleport\r\n", "")).await;
    assert!(
        extension.starts_with("SIP/2.0 420") && extension.contains("\r\nUnsupported: teleport"),
        "{extension}"
    );
    let long = phone.message("INVITE", 7, &format!("X-Long: {}\r\n", "x".repeat(9_000)), "");
    assert!(status(&phone, &long).await.starts_with("SIP/2.0 513"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_invite_is_one_call_and_its_answer_is_repeated() {
    let (agent, mut calls) = agent(Duration::from_millis(100)).await;
    let mut phone = Phone::new(&agent, "r").await;
    phone.invite().await;
    phone.invite().await;
    let call = timeout(LIMIT, calls.recv()).await.unwrap().unwrap();
    phone.invite().await;
    let mut dialog = accept(call);
    let first = phone.receive().await;
    assert_eq!(phone.receive().await, first, "the 200 is repeated until the ACK");
    phone.answered().await;
    assert!(timeout(Duration::from_millis(300), calls.recv()).await.is_err(), "a second call");

    // Hold, resume and keys inside the call.
    let held = offer(&sdp(4_000)).replace("sendrecv", "sendonly");
    phone.send(&phone.message("INVITE", 2, "Content-Type: application/sdp\r\n", &held)).await;
    let DialogEvent::ReInvite { sdp: Some(wanted), responder } = timeout(LIMIT, dialog.next()).await.unwrap()
    else {
        panic!("no re-INVITE");
    };
    let (text, negotiated) = answer(&Offer::parse(&wanted).unwrap(), &sdp(5_000)).unwrap();
    assert!(!negotiated.direction.sends());
    responder.answer(&text).await.unwrap();
    let ok = loop {
        let text = phone.receive().await;
        if text.contains("CSeq: 2 INVITE") {
            break text;
        }
    };
    assert!(ok.starts_with("SIP/2.0 200") && ok.contains("a=recvonly"), "{ok}");
    phone.send(&phone.message("ACK", 2, "", "")).await;
    phone.send(&phone.message("INVITE", 3, "Content-Type: application/sdp\r\n", &held)).await;
    let DialogEvent::ReInvite { responder, .. } = timeout(LIMIT, dialog.next()).await.unwrap() else {
        panic!("no re-INVITE");
    };
    drop(responder);
    let refused = loop {
        let text = phone.receive().await;
        if text.contains("CSeq: 3 INVITE") {
            break text;
        }
    };
    assert!(refused.starts_with("SIP/2.0 488"), "{refused}");
    let ack = phone.message("ACK", 3, "", "").replace("3ACK", "3INVITE");
    phone.send(&ack).await;
    phone.send(&phone.message("INFO", 4, "Content-Type: application/dtmf-relay\r\n", "Signal=5\r\n")).await;
    let DialogEvent::Info { content_type, body } = timeout(LIMIT, dialog.next()).await.unwrap() else {
        panic!("no INFO");
    };
    assert_eq!((content_type.as_str(), &body[..]), ("application/dtmf-relay", &b"Signal=5\r\n"[..]));
    assert!(phone.receive().await.starts_with("SIP/2.0 200"));
    assert!(status(&phone, &phone.message("OPTIONS", 5, "", "")).await.starts_with("SIP/2.0 200"));
    let bye = phone.message("BYE", 6, "Reason: Q.850;cause=16\r\n", "");
    assert!(status(&phone, &bye).await.starts_with("SIP/2.0 200"));
    let end = timeout(LIMIT, dialog.next()).await.unwrap();
    assert!(matches!(end, DialogEvent::Bye { reason: Some(reason) } if reason == "Q.850;cause=16"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_ack_the_call_is_lost_and_an_early_bye_ends_it() {
    let (agent, mut calls) = agent(Duration::from_millis(10)).await;
    let phone = Phone::new(&agent, "n").await;
    phone.invite().await;
    let mut dialog = accept(timeout(LIMIT, calls.recv()).await.unwrap().unwrap());
    assert!(matches!(timeout(LIMIT, dialog.next()).await.unwrap(), DialogEvent::Lost));

    let mut phone = Phone::new(&agent, "e").await;
    phone.invite().await;
    let mut dialog = accept(timeout(LIMIT, calls.recv()).await.unwrap().unwrap());
    let ok = phone.receive().await;
    let to = ok.lines().find(|line| line.starts_with("To:")).unwrap();
    phone.to_tag = to[to.find(";tag=").unwrap()..].trim().to_owned();
    phone.send(&phone.message("BYE", 2, "", "")).await;
    assert!(matches!(timeout(LIMIT, dialog.next()).await.unwrap(), DialogEvent::Bye { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torture_and_garbage_leave_the_agent_working() {
    let (agent, mut calls) = agent(Duration::from_millis(500)).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let folder = Path::new("/work/shared/conformance/rfc4475");
    let mut messages: Vec<Vec<u8>> =
        vec![b"\0".to_vec(), vec![0xff; 2_000], b"\r\n\r\n".to_vec(), b"INVITE".to_vec()];
    if let Ok(files) = folder.read_dir() {
        let dat = files
            .filter_map(|f| f.ok().map(|f| f.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "dat"));
        messages.extend(dat.map(|path| std::fs::read(path).unwrap()));
        assert!(messages.len() >= 50, "the torture messages are all there");
    }
    for message in &messages {
        socket.send_to(message, agent.udp()[0]).await.unwrap();
        // Each on a stream of its own, half of it in a second write.
        let mut stream = TcpStream::connect(agent.tcp()[0]).await.unwrap();
        let (head, tail) = message.split_at(message.len() / 2);
        stream.write_all(head).await.unwrap();
        stream.write_all(tail).await.ok();
        // The few valid INVITEs among them are calls: refused by being dropped.
        while calls.try_recv().is_ok() {}
    }
    let mut stream = TcpStream::connect(agent.tcp()[0]).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    timeout(LIMIT, stream.read_exact(&mut pong)).await.expect("a keep-alive in time").unwrap();
    assert_eq!(&pong, b"\r\n");

    while timeout(Duration::from_millis(200), calls.recv()).await.is_ok() {}
    let mut phone = Phone::new(&agent, "t").await;
    phone.invite().await;
    let mut dialog = accept(timeout(LIMIT, calls.recv()).await.unwrap().unwrap());
    phone.answered().await;
    assert!(status(&phone, &phone.message("BYE", 2, "", "")).await.starts_with("SIP/2.0 200"));
    assert!(matches!(timeout(LIMIT, dialog.next()).await.unwrap(), DialogEvent::Bye { .. }));
}

async fn sipp(arguments: &[&str]) -> Option<bool> {
    let mut command = Command::new("sipp");
    command.args(arguments).args(["-nostdin", "-timeout", "20", "-timeout_error"]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command.stderr(std::process::Stdio::null()).kill_on_drop(true);
    match command.status().await {
        Ok(status) => Some(status.success()),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "a skipped test has to say so")]
async fn sipp_calls_and_is_called() {
    let (agent, mut calls) = agent(Duration::from_millis(500)).await;
    let answering = tokio::spawn(async move {
        for _ in 0..10 {
            let mut dialog = accept(calls.recv().await.expect("a call"));
            assert!(matches!(dialog.next().await, DialogEvent::Bye { .. }));
        }
    });
    let udp = agent.udp()[0].to_string();
    let tcp = agent.tcp()[0].to_string();
    let common = ["-sn", "uac", "-m", "5", "-r", "50", "-l", "1", "-d", "20", "-i", "127.0.0.1"];
    let Some(over_udp) = sipp(&[&common[..], &[udp.as_str()]].concat()).await else {
        eprintln!("skipped: sipp is not installed");
        return;
    };
    assert!(over_udp, "five calls over UDP");
    assert_eq!(sipp(&[&common[..], &["-t", "t1", &tcp]].concat()).await, Some(true), "five calls over TCP");
    timeout(LIMIT, answering).await.expect("ten calls in time").unwrap();

    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = free.port().to_string();
    let serving =
        tokio::spawn(async move { sipp(&["-sn", "uas", "-m", "1", "-i", "127.0.0.1", "-p", &port]).await });
    // SIPp may not listen yet: the INVITE is repeated until it does.
    let request = CallRequest::new(&format!("sip:service@{free}"), "sip:me@127.0.0.1", offer(&sdp(4_000)));
    let mut call = agent.call(request).await.unwrap();
    let dialog = loop {
        match timeout(LIMIT, call.next()).await.expect("an event in time") {
            OutgoingEvent::Ringing => {}
            OutgoingEvent::Answered { sdp: text, dialog } => {
                assert_eq!(accept_answer(&sdp(4_000), &text).unwrap().codec, Codec::Pcmu);
                break dialog;
            }
            other => panic!("{other:?}"),
        }
    };
    dialog.hang_up(None).await.unwrap();
    assert_eq!(timeout(LIMIT, serving).await.expect("sipp ends").unwrap(), Some(true));
}
