//! TLS and WebSocket, as listener and as client.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests own tasks, and fail by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_sip::sdp::{LocalMedia, Offer, answer, offer};
use antiphon_media_sip::{
    Agent, AgentConfig, CallRequest, Dialog, DialogEvent, IncomingCall, OutgoingEvent, SipError,
    SipTransport, TlsIdentity, TlsTrust,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const LIMIT: Duration = Duration::from_secs(10);
const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A certificate for 127.0.0.1 and the authority that signed it.
struct Signed {
    authority: String,
    chain: String,
    key: String,
}

fn signed() -> Signed {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = params.signed_by(&key, &issuer).unwrap();
    Signed { authority: authority.pem(), chain: own.pem(), key: key.serialize_pem() }
}

fn identity(signed: &Signed) -> Arc<TlsIdentity> {
    TlsIdentity::from_pem(signed.chain.as_bytes(), signed.key.as_bytes()).unwrap()
}

async fn secure(identity: &Arc<TlsIdentity>, trust: TlsTrust) -> (Agent, Receiver<IncomingCall>) {
    let config = AgentConfig {
        tls: vec![FREE],
        wss: vec![FREE],
        tls_identity: Some(Arc::clone(identity)),
        tls_trust: trust,
        ..AgentConfig::default()
    };
    Agent::bind(config).await.unwrap()
}

fn sdp(port: u16) -> LocalMedia {
    LocalMedia::new(Ipv4Addr::LOCALHOST.into(), port, 1)
}

fn request(to: SocketAddr, transport: SipTransport) -> CallRequest {
    let to = format!("sip:bob@{to}");
    CallRequest { transport, ..CallRequest::new(&to, "sip:me@127.0.0.1", offer(&sdp(4_000))) }
}

async fn accepted(calls: &mut Receiver<IncomingCall>) -> (IncomingCall, String) {
    let call = timeout(LIMIT, calls.recv()).await.expect("a call in time").expect("an agent");
    let offered = Offer::parse(call.offer().unwrap()).unwrap();
    let text = answer(&offered, &sdp(5_000)).unwrap().0;
    (call, text)
}

async fn established(agent: &Agent, to: SocketAddr, transport: SipTransport) -> Dialog {
    let mut call = agent.call(request(to, transport)).await.unwrap();
    loop {
        match timeout(LIMIT, call.next()).await.expect("an event in time") {
            OutgoingEvent::Ringing | OutgoingEvent::Progress { .. } => {}
            OutgoingEvent::Answered { dialog, .. } => return dialog,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_over_tls_and_secure_websocket_and_end_from_both_sides() {
    let signed = signed();
    let trust = TlsTrust::roots(signed.authority.as_bytes()).unwrap();
    let (caller, _) = secure(&identity(&signed), trust.clone()).await;
    let (called, mut calls) = secure(&identity(&signed), trust).await;
    for (to, transport) in [(called.tls()[0], SipTransport::Tls), (called.wss()[0], SipTransport::Wss)] {
        for ended_by_caller in [true, false] {
            let answering = async {
                let (call, text) = accepted(&mut calls).await;
                assert_eq!(call.transport(), transport);
                let contact = call.headers("Contact").next().unwrap().to_lowercase();
                assert!(
                    !contact.contains("sips:")
                        && contact.contains("transport=tls") | contact.contains("transport=ws")
                );
                call.answer(&text).unwrap()
            };
            let (mut ours, mut theirs) = tokio::join!(established(&caller, to, transport), answering);
            if ended_by_caller {
                ours.hang_up(None).await.unwrap();
                assert!(matches!(timeout(LIMIT, theirs.next()).await.unwrap(), DialogEvent::Bye { .. }));
            } else {
                theirs.hang_up(None).await.unwrap();
                assert!(matches!(timeout(LIMIT, ours.next()).await.unwrap(), DialogEvent::Bye { .. }));
            }
        }
    }
    assert_eq!(caller.stats().connections, 2, "each is used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_a_stranger_is_refused_unless_told_otherwise() {
    let (signed, other) = (signed(), signed());
    let (called, _calls) = secure(&identity(&signed), TlsTrust::system()).await;
    let stranger = TlsTrust::roots(other.authority.as_bytes()).unwrap();
    let (caller, _) = secure(&identity(&other), stranger.clone()).await;
    let to = called.tls()[0];
    let error = caller.call(request(to, SipTransport::Tls)).await.expect_err("no trust");
    assert!(matches!(&error, SipError::Tls { host, .. } if host == "127.0.0.1"), "{error:?}");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    let (careless, _) = secure(&identity(&other), stranger.and_unverified("127.0.0.1")).await;
    careless.call(request(to, SipTransport::Tls)).await.expect("told to");
    let config = AgentConfig { tls: vec![FREE], ..AgentConfig::default() };
    assert!(matches!(Agent::bind(config).await, Err(SipError::NoIdentity)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_without_a_restart() {
    let (first, second) = (signed(), signed());
    let shown = identity(&first);
    let (called, _calls) = secure(&shown, TlsTrust::system()).await;
    let to = called.tls()[0];
    let trusting = |signed: &Signed| TlsTrust::roots(signed.authority.as_bytes()).unwrap();
    let (early, _) = secure(&identity(&first), trusting(&first)).await;
    early.call(request(to, SipTransport::Tls)).await.expect("the first certificate");
    shown.reload(second.chain.as_bytes(), second.key.as_bytes()).unwrap();
    let (late, _) = secure(&identity(&first), trusting(&first)).await;
    assert!(matches!(late.call(request(to, SipTransport::Tls)).await, Err(SipError::Tls { .. })));
    let (late, _) = secure(&identity(&first), trusting(&second)).await;
    late.call(request(to, SipTransport::Tls)).await.expect("the second certificate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_client_trust_only_those_who_show_a_certificate_get_in() {
    let (ours, stranger) = (signed(), signed());
    let trust = TlsTrust::roots(ours.authority.as_bytes()).unwrap();
    let config = AgentConfig {
        tls: vec![FREE],
        tls_identity: Some(identity(&ours)),
        tls_clients: Some(trust.clone()),
        ..AgentConfig::default()
    };
    let (called, mut calls) = Agent::bind(config).await.unwrap();
    let to = called.tls()[0];
    let (caller, _) = secure(&identity(&ours), trust.clone()).await;
    caller.call(request(to, SipTransport::Tls)).await.unwrap();
    drop(timeout(LIMIT, calls.recv()).await.expect("a call in time"));
    // In TLS 1.3 a client learns of the refusal with the first read: its call fails or was never placed.
    let (caller, _) = secure(&identity(&stranger), trust).await;
    if let Ok(mut call) = caller.call(request(to, SipTransport::Tls)).await {
        call.cancel();
    }
    assert!(timeout(Duration::from_millis(500), calls.recv()).await.is_err(), "a call of a stranger");
}

type Browser = WebSocketStream<TcpStream>;

async fn browser(to: SocketAddr, protocol: &str, origin: &str) -> Result<Browser, Error> {
    let stream = TcpStream::connect(to).await.unwrap();
    let mut request = format!("ws://{to}/").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    request.headers_mut().insert("Origin", origin.parse().unwrap());
    client_async(request, stream).await.map(|(socket, response)| {
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
        socket
    })
}

async fn next(browser: &mut Browser) -> String {
    loop {
        match timeout(LIMIT, browser.next()).await.expect("a message in time").expect("a connection").unwrap()
        {
            Message::Text(text) if !text.starts_with("SIP/2.0 100") => return text.as_str().to_owned(),
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_calls_and_is_called_over_its_websocket() {
    let config = AgentConfig {
        ws: vec![FREE],
        ws_origins: vec!["https://phone.example".to_owned()],
        ..AgentConfig::default()
    };
    let (agent, mut calls) = Agent::bind(config).await.unwrap();
    let to = agent.ws()[0];
    for (protocol, origin, status) in
        [("sip", "https://evil.example", 403), ("chat", "https://phone.example", 400)]
    {
        match browser(to, protocol, origin).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), status),
            other => panic!("{other:?}"),
        }
    }
    let mut socket = browser(to, "chat, sip", "https://phone.example").await.unwrap();
    let me = socket.get_ref().local_addr().unwrap();
    socket.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(next(&mut socket).await, "\r\n");

    // It calls.
    let text = |method: &str, tag: &str| {
        let body = if method == "INVITE" { offer(&sdp(4_000)) } else { String::new() };
        format!(
            "{method} sip:a@agent.invalid SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bK{method}\r\n\
             From: <sip:me@x.invalid>;tag=1\r\nTo: <sip:a@agent.invalid>{tag}\r\nCall-ID: b\r\nCSeq: 1 {method}\r\n\
             Max-Forwards: 70\r\nContact: <sip:me@x.invalid;transport=ws>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    socket.send(Message::text(text("INVITE", ""))).await.unwrap();
    let (call, sdp) = accepted(&mut calls).await;
    assert_eq!((call.transport(), call.source()), (SipTransport::Ws, me));
    let dialog = call.answer(&sdp).unwrap();
    let ok = next(&mut socket).await;
    assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
    let tag = ok.lines().find(|line| line.starts_with("To:")).unwrap();
    let tag = &tag[tag.find(";tag=").unwrap()..];
    socket.send(Message::text(text("ACK", tag))).await.unwrap();
    let ended = tokio::spawn(dialog.hang_up(None));
    let bye = next(&mut socket).await;
    assert!(bye.starts_with("BYE sip:me@x.invalid"), "the BYE takes the way of the call: {bye}");
    assert!(bye.contains("Via: SIP/2.0/WS "), "{bye}");
    socket.send(Message::text(reply(&bye, ""))).await.unwrap();
    timeout(LIMIT, ended).await.unwrap().unwrap().unwrap();

    // It is called.
    let mut ringing = agent.call(request(me, SipTransport::Ws)).await.unwrap();
    let invite = next(&mut socket).await;
    assert!(invite.starts_with("INVITE sip:bob@"), "{invite}");
    socket.send(Message::text(reply(&invite, ";tag=2").replace("200 OK", "486 Busy Here"))).await.unwrap();
    let event = timeout(LIMIT, ringing.next()).await.unwrap();
    assert!(matches!(event, OutgoingEvent::Failed { status: 486, .. }), "{event:?}");
    next(&mut socket).await;

    // It is gone.
    drop(socket);
    for _ in 0..100 {
        if agent.stats().connections == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(agent.call(request(me, SipTransport::Ws)).await.is_err(), "nobody listens there");
}

/// A 200 to a request.
fn reply(request: &str, tag: &str) -> String {
    let mut text = "SIP/2.0 200 OK\r\n".to_owned();
    for line in request.lines() {
        let kept = ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name));
        if kept {
            text.push_str(&format!("{line}\r\n"));
        } else if line.starts_with("To:") {
            text.push_str(&format!("{line}{tag}\r\n"));
        }
    }
    text + "Content-Length: 0\r\n\r\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_websocket_messages_close_the_connection() {
    let (agent, _calls) =
        Agent::bind(AgentConfig { ws: vec![FREE], ..AgentConfig::default() }).await.unwrap();
    let mut socket = browser(agent.ws()[0], "sip", "https://any.example").await.unwrap();
    socket.send(Message::text("x".repeat(100_000))).await.ok();
    let closed = async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    timeout(LIMIT, closed).await.expect("closed");
}
