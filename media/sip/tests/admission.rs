//! Who gets in: passwords, policies, limits, floods.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests own tasks, and fail by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_sip::sdp::{LocalMedia, offer};
use antiphon_media_sip::{
    Access, Agent, AgentConfig, Decision, Gone, IncomingCall, LimitConfig, Peer, Registrar, RegistrarConfig,
    RegistrarEvent, RequestFacts, Secret, SipTransport,
};
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);
const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const REALM: &str = "pbx.test";

/// Users have passwords; the number 900 is a trunk's, 666 is nobody's, 404 does not exist.
struct Policy;

impl Access for Policy {
    fn decide(&self, facts: &RequestFacts<'_>) -> Decision {
        match (facts.method, facts.target.user.expose().as_str()) {
            (_, "900") => Decision::Accept(Peer::Trunk("carrier".into())),
            (_, "666") => Decision::Drop,
            (_, "404") => Decision::Refuse(404),
            ("OPTIONS", _) => Decision::Accept(Peer::Anonymous),
            _ => Decision::Authenticate { realm: REALM.into() },
        }
    }

    fn secret(&self, user: &str, _realm: &str) -> Option<Secret> {
        ["bob", "eve"].contains(&user).then(|| Secret::Password(format!("{user}-secret")))
    }
}

async fn agent(limits: LimitConfig) -> (Agent, Receiver<IncomingCall>, Arc<Registrar>) {
    let registrar = Registrar::new(RegistrarConfig::default());
    let config = AgentConfig {
        udp: vec![FREE],
        tcp: vec![FREE],
        access: Arc::new(Policy),
        registrar: Some(Arc::clone(&registrar)),
        limits,
        ..AgentConfig::default()
    };
    let (agent, calls) = Agent::bind(config).await.unwrap();
    (agent, calls, registrar)
}

/// Limits that hold for the loopback too.
fn strict() -> LimitConfig {
    LimitConfig { loopback: true, ..LimitConfig::default() }
}

struct Phone {
    socket: UdpSocket,
    user: &'static str,
    seq: u32,
}

impl Phone {
    async fn new(agent: &Agent, user: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(agent.udp()[0]).await.unwrap();
        Self { socket, user, seq: 0 }
    }

    fn text(&mut self, method: &str, target: &str, extra: &str) -> String {
        self.seq += 1;
        let (seq, user, me) = (self.seq, self.user, self.socket.local_addr().unwrap());
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;rport;branch=z9hG4bK{}{seq}\r\n\
             From: <sip:{user}@{REALM}>;tag=1\r\nTo: <sip:{user}@{REALM}>\r\nCall-ID: {user}{}\r\nCSeq: {seq} {method}\r\n\
             Max-Forwards: 70\r\nContact: <sip:{user}@10.0.0.9>\r\n{extra}Content-Length: 0\r\n\r\n",
            me.port(),
            me.port()
        )
    }

    async fn send(&self, text: &str) {
        self.socket.send(text.as_bytes()).await.unwrap();
    }

    /// The next message that is no 100, within a moment.
    async fn receive(&self) -> Option<String> {
        let mut buffer = [0; 8_192];
        loop {
            let received = timeout(Duration::from_millis(700), self.socket.recv(&mut buffer)).await.ok()?;
            let text = String::from_utf8_lossy(&buffer[..received.unwrap()]).into_owned();
            if !text.starts_with("SIP/2.0 100") && !text.trim().is_empty() {
                return Some(text);
            }
        }
    }

    async fn ask(&mut self, method: &str, target: &str, extra: &str) -> String {
        let text = self.text(method, target, extra);
        self.send(&text).await;
        self.receive().await.expect("an answer")
    }

    /// Sends a request, and again with the answer to the challenge.
    async fn prove(&mut self, method: &str, target: &str, password: &str, extra: &str) -> (String, String) {
        let challenge = self.ask(method, target, extra).await;
        assert!(challenge.starts_with("SIP/2.0 401"), "{challenge}");
        let authorization = authorization(&challenge, self.user, password, method, target);
        let request = self.text(method, target, &format!("{authorization}{extra}"));
        self.send(&request).await;
        (self.receive().await.expect("an answer"), request)
    }
}

fn hash(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn authorization(challenge: &str, user: &str, password: &str, method: &str, target: &str) -> String {
    let line = challenge.lines().find(|line| line.contains("algorithm=MD5")).expect("a challenge for MD5");
    let nonce = line.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let secret = hash(&format!("{user}:{REALM}:{password}"));
    let what = hash(&format!("{method}:{target}"));
    let response = hash(&format!("{secret}:{nonce}:00000001:abc:auth:{what}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{target}\", \
         response=\"{response}\", algorithm=MD5, cnonce=\"abc\", qop=auth, nc=00000001\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_registers_with_its_password_and_leaves() {
    let (agent, _calls, registrar) = agent(LimitConfig::default()).await;
    let mut events = registrar.subscribe();
    let mut phone = Phone::new(&agent, "bob").await;
    let (ok, request) = phone.prove("REGISTER", "sip:pbx.test", "bob-secret", "Expires: 600\r\n").await;
    assert!(ok.starts_with("SIP/2.0 200") && ok.contains("<sip:bob@10.0.0.9>;expires=600"), "{ok}");
    let found = registrar.lookup("bob");
    assert_eq!(
        (found[0].destination, found[0].transport),
        (phone.socket.local_addr().unwrap(), SipTransport::Udp)
    );
    assert!(matches!(events.recv().await, Ok(RegistrarEvent::Registered(_))));
    assert_eq!(agent.stats().registered, 1);

    // Whoever heard it cannot say it again, neither from there nor from elsewhere.
    let replay =
        request.replace("branch=z9hG4bK", "branch=z9hG4bKother").replace("Call-ID: bob", "Call-ID: robber");
    phone.send(&replay).await;
    assert!(phone.receive().await.unwrap().starts_with("SIP/2.0 401"));
    // What only got lost is repeated by the sender and answered.
    phone.send(&request).await;
    let repeated = phone.receive().await.unwrap();
    assert!(repeated.starts_with("SIP/2.0 200"), "{repeated}");

    let (ok, _) = phone.prove("REGISTER", "sip:pbx.test", "bob-secret", "Expires: 0\r\n").await;
    assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
    assert!(registrar.is_empty());
    assert!(matches!(events.recv().await, Ok(RegistrarEvent::Gone { why: Gone::Unregistered, .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_registers_another_or_too_briefly() {
    let (agent, _calls, registrar) = agent(LimitConfig::default()).await;
    let mut phone = Phone::new(&agent, "bob").await;
    let challenge = phone.ask("REGISTER", "sip:pbx.test", "").await;
    let authorization = authorization(&challenge, "eve", "eve-secret", "REGISTER", "sip:pbx.test");
    assert!(phone.ask("REGISTER", "sip:pbx.test", &authorization).await.starts_with("SIP/2.0 403"));
    let (brief, _) = phone.prove("REGISTER", "sip:pbx.test", "bob-secret", "Expires: 5\r\n").await;
    assert!(brief.starts_with("SIP/2.0 423") && brief.contains("Min-Expires: 60"), "{brief}");
    assert!(registrar.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_passwords_ends_in_a_ban() {
    let (agent, _calls, _) = agent(LimitConfig { failures: 3, ..strict() }).await;
    let mut phone = Phone::new(&agent, "bob").await;
    for _ in 0..3 {
        let (refused, _) = phone.prove("INVITE", "sip:1@pbx.test", "guess", "").await;
        assert!(refused.starts_with("SIP/2.0 403"), "{refused}");
        let ack = phone.text("ACK", "sip:1@pbx.test", "");
        phone.send(&ack).await;
    }
    let options = phone.text("OPTIONS", "sip:1@pbx.test", "");
    phone.send(&options).await;
    assert_eq!(phone.receive().await, None, "banned");
    let bans = agent.bans();
    assert_eq!((bans.len(), bans[0].0), (1, IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert!(
        TcpStream::connect(agent.tcp()[0]).await.unwrap().read(&mut [0]).await.is_ok_and(|n| n == 0),
        "closed"
    );
    assert!(agent.unban(bans[0].0));
    assert!(phone.ask("OPTIONS", "sip:1@pbx.test", "").await.starts_with("SIP/2.0 200"));
    let stats = agent.stats();
    assert_eq!((stats.limits.failures, stats.limits.bans), (3, 1));
    assert!(stats.challenged >= 3 && stats.limits.banned >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_who_he_proved_to_be() {
    let (agent, mut calls, _) = agent(LimitConfig::default()).await;
    let mut phone = Phone::new(&agent, "bob").await;
    let extra = "P-Asserted-Identity: <sip:boss@pbx.test>\r\nX-Mine: 1\r\n";
    let challenge = phone.ask("INVITE", "sip:1@pbx.test", extra).await;
    let authorization = authorization(&challenge, "bob", "bob-secret", "INVITE", "sip:1@pbx.test");
    let again = phone.text("INVITE", "sip:1@pbx.test", &format!("{authorization}{extra}"));
    phone.send(&again).await;
    let call = timeout(LIMIT, calls.recv()).await.unwrap().unwrap();
    assert_eq!(call.peer(), &Peer::User("bob".into()));
    assert_eq!(call.source(), phone.socket.local_addr().unwrap());
    assert_eq!(call.headers("X-Mine").next(), Some("1"));
    for gone in ["Authorization", "P-Asserted-Identity", "Antiphon-Peer"] {
        assert_eq!(call.headers(gone).next(), None, "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_is_told_by_its_answers() {
    let (agent, mut calls, _) = agent(LimitConfig::default()).await;
    let mut phone = Phone::new(&agent, "mallory").await;
    assert!(phone.ask("INVITE", "sip:404@pbx.test", "").await.starts_with("SIP/2.0 404"));
    let dropped = phone.text("INVITE", "sip:666@pbx.test", "");
    phone.send(&dropped).await;
    assert_eq!(phone.receive().await, None);
    // A trunk is not asked for a password, and its digest of something else is no business of anybody's.
    let trunk =
        phone.text("INVITE", "sip:900@pbx.test", "Authorization: Digest username=\"x\", realm=\"y\"\r\n");
    phone.send(&trunk).await;
    let call = timeout(LIMIT, calls.recv()).await.unwrap().unwrap();
    assert_eq!(call.peer(), &Peer::Trunk("carrier".into()));
    drop(call);
    assert!(phone.receive().await.unwrap().starts_with("SIP/2.0 480"));
    for (method, status) in [("MESSAGE", 405), ("SUBSCRIBE", 405), ("PUBLISH", 405), ("BYE", 481)] {
        let answer = phone.ask(method, "sip:900@pbx.test", "").await;
        assert!(answer.starts_with(&format!("SIP/2.0 {status}")), "{answer}");
    }
    assert_eq!(agent.stats().refused, 1);
    // The one that still waits for the ACK of its 480.
    assert!(agent.stats().transactions <= 1, "refusals leave nothing behind");
}

/// The digest leak: who is called hangs up, and the caller asks him for his password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_cannot_make_this_side_prove_anything() {
    let (agent, mut calls, _) = agent(LimitConfig::default()).await;
    let mut phone = Phone::new(&agent, "mallory").await;
    let sdp = offer(&LocalMedia::new(Ipv4Addr::LOCALHOST.into(), 4_000, 1));
    let body = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    let invite = phone.text("INVITE", "sip:900@pbx.test", "").replace("Content-Length: 0\r\n\r\n", &body);
    phone.send(&invite).await;
    let call = timeout(LIMIT, calls.recv()).await.unwrap().unwrap();
    let dialog = call.answer(&sdp).unwrap();
    let ok = phone.receive().await.unwrap();
    let tag = ok.lines().find(|l| l.starts_with("To:")).unwrap();
    let tag = &tag[tag.find(";tag=").unwrap()..];
    phone.seq -= 1;
    let ack = phone.text("ACK", "sip:900@pbx.test", "").replacen(
        &format!("To: <sip:mallory@{REALM}>"),
        &format!("To: <sip:mallory@{REALM}>{tag}"),
        1,
    );
    phone.send(&ack.replacen("branch=z9hG4bK", "branch=z9hG4bKack", 1)).await;
    let ended = tokio::spawn(dialog.hang_up(None));
    let bye = loop {
        let text = phone.receive().await.expect("a BYE");
        if text.starts_with("BYE ") {
            break text;
        }
    };
    let mut challenge = "SIP/2.0 407 Proxy Authentication Required\r\n".to_owned();
    for line in
        bye.lines().filter(|l| ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|n| l.starts_with(n)))
    {
        challenge.push_str(&format!("{line}\r\n"));
    }
    challenge.push_str(&format!(
        "Proxy-Authenticate: Digest realm=\"{REALM}\", nonce=\"1\", algorithm=MD5, qop=\"auth\"\r\nContent-Length: 0\r\n\r\n"
    ));
    phone.send(&challenge).await;
    while let Some(text) = phone.receive().await {
        assert!(!text.to_lowercase().contains("authorization"), "{text}");
    }
    timeout(LIMIT, ended).await.expect("over all the same").unwrap().ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlong_numbers_tags_and_branches_break_nothing() {
    let (agent, mut calls, _) = agent(LimitConfig::default()).await;
    let mut phone = Phone::new(&agent, "bob").await;
    let invite = phone.text("INVITE", "sip:900@pbx.test", "");
    for (from, to, status) in [
        ("CSeq: 1 ", "CSeq: 2147483648 ", "400"),
        ("CSeq: 1 ", "CSeq: 4294967297 ", "400"),
        ("CSeq: 1 ", "CSeq: 99999999999999999999999999 ", "400"),
        ("Max-Forwards: 70", "Max-Forwards: 300", "400"),
        ("Content-Length: 0", "Content-Type: multipart/mixed\r\nContent-Length: 2\r\n\r\n--", "415"),
        (
            "Content-Length: 0",
            "Content-Type: multipart/mixed;boundary=\"\0\"\r\nContent-Length: 9\r\n\r\n--\r\n--\r\n-",
            "400",
        ),
    ] {
        phone.send(&invite.replace(from, to)).await;
        let answer = phone.receive().await.expect("an answer");
        assert!(answer.starts_with(&format!("SIP/2.0 {status}")), "{to}: {answer}");
    }
    // As long as fits: taken, and the same tag comes back.
    let long = "a".repeat(3_000);
    let text = invite
        .replace(";tag=1", &format!(";tag={long}"))
        .replace("branch=z9hG4bK", &format!("branch=z9hG4bK{long}"));
    phone.send(&text).await;
    let call = timeout(LIMIT, calls.recv()).await.unwrap().unwrap();
    call.reject(486, "", "").unwrap();
    let refused = phone.receive().await.unwrap();
    assert!(refused.starts_with("SIP/2.0 486") && refused.contains(&long), "{refused}");
    // Hundreds of headers are no message.
    let many = "X: y\r\n".repeat(1_000);
    let mut other = Phone::new(&agent, "eve").await;
    let options = other.text("OPTIONS", "sip:1@pbx.test", &many);
    other.send(&options).await;
    assert_eq!(other.receive().await, None);
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn invite(i: u32) -> String {
    format!(
        "INVITE sip:900@pbx.test SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.9;branch=z9hG4bKf{i}\r\nFrom: <sip:x@y>;tag={i}\r\n\
         To: <sip:900@pbx.test>\r\nCall-ID: flood{i}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:x@y>\r\n\
         X-Padding: {}\r\nContent-Length: 0\r\n\r\n",
        "p".repeat(4_000)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_invites_over_tcp_is_bounded_in_memory_and_calls() {
    let (agent, mut calls, _) = agent(LimitConfig { calls_per_second: 10, call_burst: 20, ..strict() }).await;
    let taking = tokio::spawn(async move {
        let mut taken = 0;
        while let Ok(Some(call)) = timeout(Duration::from_secs(1), calls.recv()).await {
            taken += 1;
            drop(call);
        }
        taken
    });
    let before = resident();
    let stream = TcpStream::connect(agent.tcp()[0]).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut sink = vec![0; 65_536];
        while read.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    });
    // 80 megabytes, or as much as is taken within three seconds.
    let flood = async {
        for i in 0..20_000u32 {
            if write.write_all(invite(i).as_bytes()).await.is_err() {
                break;
            }
        }
    };
    timeout(Duration::from_secs(3), flood).await.ok();
    let grown = resident().saturating_sub(before);
    let stats = agent.stats();
    let mut phone = Phone::new(&agent, "bob").await;
    drop(write);
    reading.abort();
    let taken = taking.await.unwrap();
    assert!((20..=60).contains(&taken), "{taken} calls of the flood got in");
    assert!(grown < 48 << 20, "{grown} bytes more");
    assert!(stats.transactions + stats.finished <= 200, "{stats:?}");
    // Once the source's bucket has filled again, others behind it are served.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(phone.ask("OPTIONS", "sip:1@pbx.test", "").await.starts_with("SIP/2.0 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_datagrams_from_one_source_is_dropped_and_leaves_others_room() {
    let limits = LimitConfig { messages_per_second: 100, message_burst: 200, ..strict() };
    let (agent, _calls, _) = agent(limits).await;
    let phone = Phone::new(&agent, "bob").await;
    let before = resident();
    for i in 0..50_000u32 {
        phone.send(&invite(i)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stats = agent.stats();
    assert!(stats.limits.limited > 1_000, "{stats:?}");
    assert!(stats.transactions + stats.finished <= 500, "{stats:?}");
    assert!(resident().saturating_sub(before) < 48 << 20);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut other = Phone::new(&agent, "eve").await;
    assert!(other.ask("OPTIONS", "sip:1@pbx.test", "").await.starts_with("SIP/2.0 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_source_gets_so_many_connections_and_no_more() {
    let (agent, _calls, _) = agent(LimitConfig { connections: 3, ..strict() }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(agent.tcp()[0]).await.unwrap());
    }
    let mut fourth = TcpStream::connect(agent.tcp()[0]).await.unwrap();
    assert_eq!(timeout(LIMIT, fourth.read(&mut [0])).await.unwrap().unwrap(), 0, "closed");
    held.pop();
    for _ in 0..100 {
        let mut next = TcpStream::connect(agent.tcp()[0]).await.unwrap();
        next.write_all(b"\r\n\r\n").await.ok();
        if timeout(LIMIT, next.read(&mut [0; 2])).await.unwrap().is_ok_and(|n| n > 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of a closed connection is not given back");
}
