//! Calls against a peer that types its messages: forks, reliable responses, challenges, timers, glare.
#![allow(clippy::disallowed_methods, reason = "tests own tasks")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_media_sip::{
    Agent, AgentConfig, CallRequest, Credentials, Dialog, DialogEvent, IncomingCall, OutgoingCall,
    OutgoingEvent,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const SDP_TYPE: &str = "Content-Type: application/sdp\r\n";

async fn agent(change: impl FnOnce(&mut AgentConfig)) -> (Agent, Receiver<IncomingCall>) {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = AgentConfig { udp: vec![free], ..AgentConfig::default() };
    change(&mut config);
    Agent::bind(config).await.expect("loopback can be bound")
}

/// A message that came in.
struct Message(String);

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.0.split("\r\n").skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn is(&self, method: &str) -> bool {
        self.0.starts_with(&format!("{method} "))
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

/// The far side.
struct Peer {
    socket: UdpSocket,
    agent: SocketAddr,
    /// To header with our agent's tag, once it is known (calls of this peer).
    to: String,
}

impl Peer {
    async fn new(agent: &Agent) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        Self { socket, agent: agent.udp()[0], to: "<sip:a@127.0.0.1>".to_owned() }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    async fn call(&self, agent: &Agent, change: impl FnOnce(&mut CallRequest)) -> OutgoingCall {
        let mut request =
            CallRequest::new(&format!("sip:4711@{}", self.address()), "sip:0815@127.0.0.1", SDP.to_owned());
        change(&mut request);
        agent.call(request).await.expect("placed")
    }

    async fn any(&self) -> Message {
        let mut buffer = [0; 16_384];
        let len = timeout(LIMIT, self.socket.recv(&mut buffer))
            .await
            .expect("a message in time")
            .expect("loopback");
        Message(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    /// The next request of this method; whatever else comes is passed over.
    async fn request(&self, method: &str) -> Message {
        loop {
            let message = self.any().await;
            if message.is(method) {
                return message;
            }
        }
    }

    /// The next response to this method that is not 100.
    async fn response(&self, method: &str) -> Message {
        loop {
            let message = self.any().await;
            let fits = message.header("CSeq").is_some_and(|cseq| cseq.ends_with(method));
            if message.0.starts_with("SIP/2.0") && message.status() != 100 && fits {
                return message;
            }
        }
    }

    async fn respond(&self, request: &Message, status: &str, tag: &str, extra: &str, body: &str) {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            text.push_str(&format!("{name}: {}\r\n", request.header(name).expect("a full request")));
        }
        let to = request.header("To").expect("a To header");
        let suffix =
            if to.contains("tag=") || tag.is_empty() { String::new() } else { format!(";tag={tag}") };
        text.push_str(&format!(
            "To: {to}{suffix}\r\nContact: <sip:peer-{tag}@{}>\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            self.address(),
            body.len(),
        ));
        self.send(&text).await;
    }

    async fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.agent).await.expect("loopback");
    }

    /// A request of this peer in its own call `id`.
    fn text(&self, id: &str, method: &str, seq: u32, extra: &str, body: &str) -> String {
        let me = self.address();
        let branch = if method == "CANCEL" { "INVITE" } else { method };
        format!(
            "{method} sip:a@{} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bK{id}{seq}{branch}\r\n\
             From: <sip:me@127.0.0.1>;tag={id}\r\nTo: {}\r\nCall-ID: {id}\r\nCSeq: {seq} {method}\r\n\
             Max-Forwards: 70\r\nContact: <sip:me@{me}>\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            self.agent,
            self.to,
            body.len()
        )
    }

    /// Notes our agent's tag from a response.
    fn learn(&mut self, response: &Message) {
        self.to = response.header("To").expect("a To header").to_owned();
    }

    /// Calls our agent, is answered and acknowledges.
    async fn establish(
        &mut self,
        id: &str,
        calls: &mut Receiver<IncomingCall>,
        extra: &str,
    ) -> (Dialog, Message) {
        self.send(&self.text(id, "INVITE", 1, &format!("{SDP_TYPE}{extra}"), SDP)).await;
        let dialog = take(calls).await.answer(SDP).expect("still wanted");
        let ok = self.response("INVITE").await;
        assert_eq!(ok.status(), 200, "{}", ok.0);
        self.learn(&ok);
        self.send(&self.text(id, "ACK", 1, "", "")).await;
        (dialog, ok)
    }
}

async fn take(calls: &mut Receiver<IncomingCall>) -> IncomingCall {
    timeout(LIMIT, calls.recv()).await.expect("a call in time").expect("an agent")
}

async fn next(call: &mut OutgoingCall) -> OutgoingEvent {
    timeout(LIMIT, call.next()).await.expect("an event in time")
}

async fn event(dialog: &mut Dialog) -> DialogEvent {
    timeout(LIMIT, dialog.next()).await.expect("an event in time")
}

async fn answered(call: &mut OutgoingCall) -> Dialog {
    loop {
        match next(call).await {
            OutgoingEvent::Ringing | OutgoingEvent::Progress { .. } => {}
            OutgoingEvent::Answered { dialog, .. } => return dialog,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_two_forks_wins_and_the_other_is_hung_up() {
    let (agent, _) = agent(|_| {}).await;
    let peer = Peer::new(&agent).await;
    let mut call = peer.call(&agent, |_| {}).await;
    let invite = peer.request("INVITE").await;
    peer.respond(&invite, "183 Session Progress", "one", SDP_TYPE, SDP).await;
    peer.respond(&invite, "183 Session Progress", "two", SDP_TYPE, SDP).await;
    for expected in ["one", "two"] {
        let OutgoingEvent::Progress { fork, .. } = next(&mut call).await else { panic!("no early media") };
        assert_eq!(fork, expected);
    }
    peer.respond(&invite, "200 OK", "two", SDP_TYPE, SDP).await;
    let dialog = answered(&mut call).await;
    assert_eq!(dialog.id().remote_tag, "two");
    let ack = peer.request("ACK").await;
    assert!(
        ack.0.starts_with("ACK sip:peer-two@") && ack.header("To").unwrap().ends_with("tag=two"),
        "{}",
        ack.0
    );
    peer.respond(&invite, "200 OK", "one", SDP_TYPE, SDP).await;
    let ack = peer.request("ACK").await;
    assert!(ack.header("To").unwrap().ends_with("tag=one"), "{}", ack.0);
    let bye = peer.request("BYE").await;
    assert!(
        bye.0.starts_with("BYE sip:peer-one@") && bye.header("To").unwrap().ends_with("tag=one"),
        "{}",
        bye.0
    );
    peer.respond(&bye, "200 OK", "", "", "").await;
    // The winner's answer once more: it is only acknowledged again.
    peer.respond(&invite, "200 OK", "two", SDP_TYPE, SDP).await;
    assert!(peer.request("ACK").await.header("To").unwrap().ends_with("tag=two"));
    let hanging_up = tokio::spawn(dialog.hang_up(None));
    let bye = peer.request("BYE").await;
    assert!(bye.header("To").unwrap().ends_with("tag=two"));
    peer.respond(&bye, "200 OK", "", "", "").await;
    hanging_up.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_is_answered_once_and_never_twice() {
    let (agent, _) = agent(|_| {}).await;
    let peer = Peer::new(&agent).await;
    let credentials = || Some(Credentials::new("alice", "secret"));
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256\r\n\
                     WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=MD5\r\n";
    let mut call = peer.call(&agent, |request| request.credentials = credentials()).await;
    let first = peer.request("INVITE").await;
    assert_eq!(first.header("Authorization"), None);
    peer.respond(&first, "401 Unauthorized", "x", challenge, "").await;
    let second = peer.request("INVITE").await;
    let answer = second.header("Authorization").expect("an answer").to_owned();
    assert!(answer.contains("algorithm=SHA-256") && answer.contains("nc=00000001"), "{answer}");
    assert!(!second.0.contains("secret"));
    // Stale: once more with the new nonce.
    let stale =
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", stale=true, qop=\"auth\", algorithm=MD5\r\n";
    peer.respond(&second, "401 Unauthorized", "x", stale, "").await;
    let third = peer.request("INVITE").await;
    assert!(third.header("Authorization").unwrap().contains("nonce=\"n2\""));
    // And a proxy on top.
    let proxy = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n3\"\r\n";
    peer.respond(&third, "407 Proxy Authentication Required", "x", proxy, "").await;
    let fourth = peer.request("INVITE").await;
    assert!(fourth.header("Proxy-Authorization").unwrap().contains("nonce=\"n3\""));
    assert!(fourth.header("Authorization").unwrap().contains("nc=00000002"), "the server is still answered");
    // The same nonce again means that the password is wrong.
    peer.respond(&fourth, "407 Proxy Authentication Required", "x", proxy, "").await;
    assert!(matches!(next(&mut call).await, OutgoingEvent::Failed { status: 407, .. }));

    let mut call = peer.call(&agent, |_| {}).await;
    let invite = loop {
        let invite = peer.request("INVITE").await;
        if invite.header("Call-ID") == Some(call.call_id()) {
            break invite;
        }
    };
    peer.respond(&invite, "401 Unauthorized", "x", challenge, "").await;
    assert!(
        matches!(next(&mut call).await, OutgoingEvent::Failed { status: 401, .. }),
        "nothing to answer with"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reliable_response_is_repeated_until_its_prack() {
    let (agent, mut calls) = agent(|config| config.t1 = Duration::from_millis(100)).await;
    let mut peer = Peer::new(&agent).await;
    peer.send(&peer.text("r", "INVITE", 1, &format!("{SDP_TYPE}Require: 100rel\r\n"), SDP)).await;
    let mut call = take(&mut calls).await;
    call.progress(Some(SDP)).unwrap();
    let early = peer.response("INVITE").await;
    assert_eq!((early.status(), early.header("Require")), (183, Some("100rel")), "{}", early.0);
    let rseq: u32 = early.header("RSeq").expect("a number").parse().unwrap();
    let again = peer.response("INVITE").await;
    assert_eq!(again.header("RSeq"), early.header("RSeq"), "repeated");
    peer.learn(&early);
    let prack =
        |peer: &Peer, seq, rack: String| peer.text("r", "PRACK", seq, &format!("RAck: {rack}\r\n"), "");
    peer.send(&prack(&peer, 2, format!("{} 1 INVITE", rseq + 7))).await;
    assert_eq!(peer.response("PRACK").await.status(), 481);
    // The answer has to wait for the confirmation.
    let dialog = call.answer(SDP).unwrap();
    assert_eq!(peer.response("INVITE").await.status(), 183);
    peer.send(&prack(&peer, 3, format!("{rseq} 1 INVITE"))).await;
    let (mut pracked, mut accepted) = (false, false);
    while !(pracked && accepted) {
        let message = peer.any().await;
        pracked |= message.status() == 200 && message.header("CSeq") == Some("3 PRACK");
        accepted |= message.status() == 200 && message.header("CSeq") == Some("1 INVITE");
    }
    peer.send(&peer.text("r", "ACK", 1, "", "")).await;
    drop(dialog);
    assert!(peer.request("BYE").await.header("To").unwrap().contains("tag=r"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_in_a_reliable_response_is_answered_in_its_prack_and_not_made_again() {
    let (agent, mut calls) = agent(|_| {}).await;
    let mut peer = Peer::new(&agent).await;
    peer.send(&peer.text("o", "INVITE", 1, "Supported: 100rel\r\n", "")).await;
    let mut call = take(&mut calls).await;
    assert!(call.offer().is_none() && call.confirms_early());
    call.progress(Some(SDP)).unwrap();
    let early = peer.response("INVITE").await;
    assert_eq!((early.status(), early.header("Require")), (183, Some("100rel")), "{}", early.0);
    assert!(early.0.contains("m=audio"), "our offer: {}", early.0);
    let rack = format!("{SDP_TYPE}RAck: {} 1 INVITE\r\n", early.header("RSeq").expect("a number"));
    peer.learn(&early);
    peer.send(&peer.text("o", "PRACK", 2, &rack, SDP)).await;
    assert_eq!(peer.response("PRACK").await.status(), 200);
    let answer = tokio::time::timeout(Duration::from_secs(2), call.early_answer()).await;
    assert!(answer.expect("in time").is_some_and(|sdp| sdp.contains("m=audio")));
    let dialog = call.answer(SDP).unwrap();
    let accepted = loop {
        let response = peer.response("INVITE").await;
        if response.status() == 200 {
            break response;
        }
    };
    assert!(!accepted.0.contains("m=audio"), "no other offer: {}", accepted.0);
    peer.send(&peer.text("o", "ACK", 1, "", "")).await;
    drop(dialog);
    peer.request("BYE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_answers_no_early_offer() {
    let (agent, mut calls) = agent(|_| {}).await;
    let peer = Peer::new(&agent).await;
    peer.send(&peer.text("g", "INVITE", 1, "Supported: 100rel\r\n", "")).await;
    let mut call = take(&mut calls).await;
    call.progress(Some(SDP)).unwrap();
    assert_eq!(peer.response("INVITE").await.status(), 183);
    peer.send(&peer.text("g", "CANCEL", 1, "", "")).await;
    let answer = tokio::time::timeout(Duration::from_secs(2), call.early_answer()).await;
    assert!(answer.expect("in time").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reliable_response_nobody_confirms_ends_the_call() {
    let (agent, mut calls) = agent(|config| config.t1 = Duration::from_millis(10)).await;
    let peer = Peer::new(&agent).await;
    peer.send(&peer.text("u", "INVITE", 1, &format!("{SDP_TYPE}Supported: 100rel\r\n"), SDP)).await;
    let mut call = take(&mut calls).await;
    call.progress(Some(SDP)).unwrap();
    loop {
        let response = peer.response("INVITE").await;
        if response.status() == 504 {
            break;
        }
        assert_eq!(response.status(), 183);
    }
    timeout(LIMIT, call.cancelled()).await.expect("the call is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reliable_responses_are_confirmed_in_order_and_once() {
    let (agent, _) = agent(|_| {}).await;
    let peer = Peer::new(&agent).await;
    let mut call = peer.call(&agent, |_| {}).await;
    let invite = peer.request("INVITE").await;
    assert!(invite.header("Supported").unwrap().contains("100rel"));
    let reliable = |rseq: u32| format!("{SDP_TYPE}Require: 100rel\r\nRSeq: {rseq}\r\n");
    peer.respond(&invite, "183 Session Progress", "x", &reliable(41), SDP).await;
    let prack = peer.request("PRACK").await;
    assert!(
        prack.header("RAck").unwrap().starts_with("41 ")
            && prack.header("RAck").unwrap().ends_with(" INVITE")
    );
    assert!(prack.0.starts_with("PRACK sip:peer-x@"), "{}", prack.0);
    peer.respond(&prack, "200 OK", "", "", "").await;
    assert!(matches!(next(&mut call).await, OutgoingEvent::Progress { .. }));
    // Out of order: passed over. The repeated one and the one after the gap are not confirmed either.
    peer.respond(&invite, "183 Session Progress", "x", &reliable(43), SDP).await;
    peer.respond(&invite, "180 Ringing", "x", "Require: 100rel\r\nRSeq: 42\r\n", "").await;
    let prack = peer.request("PRACK").await;
    assert!(prack.header("RAck").unwrap().starts_with("42 "), "{}", prack.0);
    peer.respond(&prack, "200 OK", "", "", "").await;
    assert!(matches!(next(&mut call).await, OutgoingEvent::Ringing));
    peer.respond(&invite, "486 Busy Here", "x", "Retry-After: 120\r\n", "").await;
    let OutgoingEvent::Failed { status: 486, retry_after, .. } = next(&mut call).await else {
        panic!("not busy")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(120)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_is_answered_inside_and_with_media_by_the_holder() {
    let (agent, mut calls) = agent(|_| {}).await;
    let mut peer = Peer::new(&agent).await;
    let (mut dialog, _) = peer.establish("u", &mut calls, "").await;
    peer.send(&peer.text("u", "UPDATE", 2, "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n", ""))
        .await;
    let ok = peer.response("UPDATE").await;
    assert_eq!((ok.status(), ok.header("Session-Expires")), (200, Some("600;refresher=uac")), "{}", ok.0);
    peer.send(&peer.text("u", "UPDATE", 3, SDP_TYPE, SDP)).await;
    let DialogEvent::ReInvite { sdp: Some(offer), responder } = event(&mut dialog).await else {
        panic!("no offer")
    };
    assert_eq!(offer, SDP);
    // One at a time.
    peer.send(&peer.text("u", "INVITE", 4, SDP_TYPE, SDP)).await;
    let refused = peer.response("INVITE").await;
    assert_eq!(refused.status(), 500);
    assert!(refused.header("Retry-After").is_some());
    responder.answer("v=0\r\n").await.unwrap();
    let ok = peer.response("UPDATE").await;
    assert_eq!((ok.status(), ok.body()), (200, "v=0\r\n"));
    // A number that was used before.
    peer.send(&peer.text("u", "INFO", 3, "", "")).await;
    assert_eq!(peer.response("INFO").await.status(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_meets_ours_is_refused_with_491() {
    let (agent, mut calls) = agent(|_| {}).await;
    let mut peer = Peer::new(&agent).await;
    let (dialog, _) = peer.establish("g", &mut calls, "").await;
    let control = dialog.control();
    let asked = tokio::spawn(async move { control.reinvite(SDP).await });
    let ours = peer.request("INVITE").await;
    peer.send(&peer.text("g", "INVITE", 2, SDP_TYPE, SDP)).await;
    assert_eq!(peer.response("INVITE").await.status(), 491);
    peer.send(&peer.text("g", "UPDATE", 3, SDP_TYPE, SDP)).await;
    assert_eq!(peer.response("UPDATE").await.status(), 491);
    // Theirs is refused with 491 as well: ours comes again.
    peer.respond(&ours, "491 Request Pending", "", "", "").await;
    let again = loop {
        let again = peer.request("INVITE").await;
        if again.header("CSeq") != ours.header("CSeq") {
            break again;
        }
    };
    peer.respond(&again, "200 OK", "", SDP_TYPE, SDP).await;
    assert_eq!(timeout(LIMIT, asked).await.unwrap().unwrap().unwrap(), SDP);
    assert_eq!(
        peer.request("ACK").await.header("CSeq").map(|seq| seq.replace("ACK", "INVITE")).as_deref(),
        again.header("CSeq")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_nobody_refreshes_expires() {
    let quick = |config: &mut AgentConfig| config.min_se = Duration::from_secs(1);
    let (agent, mut calls) = agent(quick).await;
    let mut peer = Peer::new(&agent).await;
    let wish = "Supported: timer\r\nSession-Expires: 2;refresher=uac\r\n";
    let (mut dialog, ok) = peer.establish("x", &mut calls, wish).await;
    assert_eq!(ok.header("Session-Expires"), Some("2;refresher=uac"));
    assert_eq!(ok.header("Require"), Some("timer"));
    let bye = peer.request("BYE").await;
    assert!(bye.header("Reason").unwrap().contains("408"));
    assert!(matches!(event(&mut dialog).await, DialogEvent::Expired));
    assert!(matches!(event(&mut dialog).await, DialogEvent::Expired), "the end stays the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_interval_too_small_is_refused_and_a_refusal_obeyed() {
    let (agent, mut calls) = agent(|_| {}).await;
    let mut peer = Peer::new(&agent).await;
    let small = format!("{SDP_TYPE}Supported: timer\r\nSession-Expires: 60\r\n");
    peer.send(&peer.text("s", "INVITE", 1, &small, SDP)).await;
    let refused = peer.response("INVITE").await;
    assert_eq!((refused.status(), refused.header("Min-SE")), (422, Some("90")), "{}", refused.0);
    assert!(calls.try_recv().is_err(), "no call");

    let mut call = peer.call(&agent, |_| {}).await;
    let invite = peer.request("INVITE").await;
    assert_eq!((invite.header("Session-Expires"), invite.header("Min-SE")), (Some("1800"), Some("90")));
    peer.respond(&invite, "422 Session Interval Too Small", "x", "Min-SE: 3600\r\n", "").await;
    let invite = peer.request("INVITE").await;
    assert_eq!((invite.header("Session-Expires"), invite.header("Min-SE")), (Some("3600"), Some("3600")));
    peer.respond(&invite, "200 OK", "x", &format!("{SDP_TYPE}Session-Expires: 3600;refresher=uas\r\n"), SDP)
        .await;
    let dialog = answered(&mut call).await;
    peer.learn(&invite);
    assert!(!dialog.control().is_over());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_is_refreshed_by_what_the_far_side_takes() {
    let quick = |config: &mut AgentConfig| {
        config.session_expires = Some(Duration::from_secs(2));
        config.min_se = Duration::from_secs(1);
    };
    let (agent, _) = agent(quick).await;
    let peer = Peer::new(&agent).await;
    for (allow, method) in [("Allow: INVITE, UPDATE\r\n", "UPDATE"), ("Allow: INVITE\r\n", "INVITE")] {
        let mut call = peer.call(&agent, |_| {}).await;
        let invite = loop {
            let invite = peer.request("INVITE").await;
            if invite.header("Call-ID") == Some(call.call_id()) {
                break invite;
            }
        };
        let extra = format!("{SDP_TYPE}{allow}Require: timer\r\nSession-Expires: 2;refresher=uac\r\n");
        peer.respond(&invite, "200 OK", "x", &extra, SDP).await;
        let dialog = answered(&mut call).await;
        let refresh = loop {
            let refresh = peer.request(method).await;
            if refresh.header("CSeq") != invite.header("CSeq") {
                break refresh;
            }
        };
        assert_eq!(refresh.header("Session-Expires"), Some("2;refresher=uac"), "{}", refresh.0);
        assert_eq!(refresh.body(), if method == "INVITE" { SDP } else { "" });
        let body = if method == "INVITE" { SDP } else { "" };
        peer.respond(&refresh, "200 OK", "", "Session-Expires: 2;refresher=uac\r\n", body).await;
        drop(dialog);
        let bye = peer.request("BYE").await;
        peer.respond(&bye, "200 OK", "", "", "").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_transfer_is_refused_while_one_is_under_way() {
    let (agent, mut calls) = agent(|_| {}).await;
    let mut peer = Peer::new(&agent).await;
    let (mut dialog, _) = peer.establish("t", &mut calls, "").await;
    let refer = |peer: &Peer, seq| peer.text("t", "REFER", seq, "Refer-To: <sip:bob@127.0.0.1>\r\n", "");
    peer.send(&refer(&peer, 2)).await;
    let DialogEvent::Refer { responder, .. } = event(&mut dialog).await else { panic!("no REFER") };
    peer.send(&refer(&peer, 3)).await;
    assert_eq!(peer.response("REFER").await.status(), 491);
    let notify = responder.accept().unwrap();
    assert_eq!(peer.response("REFER").await.status(), 202);
    let first = peer.request("NOTIFY").await;
    assert_eq!(first.header("Event"), Some("refer"));
    assert!(first.header("Subscription-State").unwrap().starts_with("active"));
    assert_eq!(first.body(), "SIP/2.0 100 Trying\r\n");
    peer.respond(&first, "200 OK", "", "", "").await;
    notify.done(486);
    let last = loop {
        let last = peer.request("NOTIFY").await;
        if last.header("CSeq") != first.header("CSeq") {
            break last;
        }
    };
    assert!(last.header("Subscription-State").unwrap().starts_with("terminated"));
    assert_eq!(last.body(), "SIP/2.0 486 Busy Here\r\n");
    peer.respond(&last, "200 OK", "", "", "").await;
    peer.send(&peer.text("t", "REFER", 4, "", "")).await;
    assert_eq!(peer.response("REFER").await.status(), 400, "whom to call is missing");
    peer.send(&peer.text("t", "NOTIFY", 5, "Event: refer\r\nSubscription-State: active\r\n", "")).await;
    assert_eq!(peer.response("NOTIFY").await.status(), 481, "nothing was asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_comes_too_late_leaves_no_call() {
    let (agent, _) = agent(|_| {}).await;
    let peer = Peer::new(&agent).await;
    let mut call = peer.call(&agent, |_| {}).await;
    let invite = peer.request("INVITE").await;
    // Nothing heard yet: the CANCEL waits (RFC 3261 §9.1).
    call.cancel();
    peer.respond(&invite, "180 Ringing", "x", "", "").await;
    let cancel = peer.request("CANCEL").await;
    assert_eq!(cancel.header("Via"), invite.header("Via"));
    assert_eq!(cancel.header("To"), invite.header("To"));
    peer.respond(&cancel, "200 OK", "x", "", "").await;
    peer.respond(&invite, "200 OK", "x", SDP_TYPE, SDP).await;
    assert!(peer.request("ACK").await.header("To").unwrap().ends_with("tag=x"));
    let bye = peer.request("BYE").await;
    peer.respond(&bye, "200 OK", "", "", "").await;
    // The ringing may have been read before the wish to cancel.
    let end = loop {
        match next(&mut call).await {
            OutgoingEvent::Ringing => {}
            other => break other,
        }
    };
    assert!(matches!(end, OutgoingEvent::Failed { status: 487, .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_side_that_rings_and_never_ends_gives_its_place_back() {
    let (agent, _) = agent(|config| config.t1 = Duration::from_millis(20)).await;
    let peer = Peer::new(&agent).await;
    let mut call = peer.call(&agent, |_| {}).await;
    let invite = peer.request("INVITE").await;
    peer.respond(&invite, "180 Ringing", "x", "", "").await;
    call.cancel();
    // It is cancelled and says nothing more, neither to the CANCEL nor to the INVITE.
    peer.request("CANCEL").await;
    let over = async {
        while agent.stats().calls > 0 || agent.stats().dialogs > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, over).await.expect("no call is kept for somebody who never ends it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_busy_gives_way_to_the_route_and_names_show_as_configured() {
    let (agent, mut calls) = agent(|config| config.user_agent = None).await;
    let mut peer = Peer::new(&agent).await;
    let proxy = peer.address();
    let mut call = peer
        .call(&agent, |request| {
            request.to_uri = antiphon_media_frame::Pii::new("sip:bob@far.example".to_owned());
            request.routes = vec![format!("sip:{proxy}")];
            request.asserted_identity = Some(antiphon_media_frame::Pii::new("tel:+491234".to_owned()));
            request.display_name = Some(antiphon_media_frame::Pii::new("Our Bank".to_owned()));
        })
        .await;
    let invite = peer.request("INVITE").await;
    assert!(invite.0.starts_with("INVITE sip:bob@far.example SIP/2.0\r\n"), "{}", invite.0);
    assert_eq!(invite.header("Route"), Some(format!("<sip:{proxy};lr>").as_str()));
    assert_eq!(invite.header("P-Asserted-Identity"), Some("<tel:+491234>"));
    assert!(invite.header("From").unwrap().starts_with("\"Our Bank\" <sip:0815@127.0.0.1>"));
    assert_eq!((invite.header("User-Agent"), invite.header("Server")), (None, None));
    peer.respond(&invite, "503 Service Unavailable", "x", "", "").await;
    assert!(matches!(next(&mut call).await, OutgoingEvent::Failed { status: 503, .. }));
    let (_dialog, ok) = peer.establish("n", &mut calls, "").await;
    assert_eq!((ok.header("User-Agent"), ok.header("Server")), (None, None));
    assert!(!ok.0.to_lowercase().contains("rsip"));
}
