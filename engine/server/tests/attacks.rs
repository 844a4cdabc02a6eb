//! Attacks on the built program, over its own sockets: what they get, what they cost, and that the next caller is served.
//! docs/SECURITY.md lists all attacks with the test of each.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use support::server::{Options, Server};
use support::sipp::Sipp;
use support::{HOST, free_port, free_ports, tool_missing, wait_for};

const TOOLS: &[&str] = &["sipp"];
const LINE: &str = include_str!("scenarios/line.yaml");
const CARRIER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9998 RTP/AVP 0\r\n";
/// What a server may grow by under an attack, in bytes: buffers of the system and of connections, and no more.
const GROWTH: u64 = 48 << 20;

/// A line that anybody may call, and a carrier that users alone may reach.
fn server(port: u16) -> Server {
    let tables = format!(
        "[[route]]\ncalled = \"9*\"\nfrom = [\"user\"]\ntrunk = \"carrier\"\n\
         [[route]]\ncalled = \"7*\"\nfrom = [\"anonymous\"]\ntrunk = \"carrier\"\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [\"{CARRIER}:{port}\"]\nallow = [\"9*\", \"7*\"]\noptions_interval = \"0s\"\n\
         [registrar]\nenabled = true\n[[user]]\nname = \"anna\"\npassword = \"a long password\"\n"
    );
    Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() })
}

/// Memory that the server has taken, in bytes.
fn resident(server: &Server) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system tells");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}

/// A request outside a dialog, up to its last header.
fn request(
    method: &str,
    user: &str,
    server: SocketAddr,
    here: SocketAddr,
    id: &str,
    transport: &str,
) -> String {
    format!(
        "{method} sip:{user}@{server} SIP/2.0\r\nVia: SIP/2.0/{transport} {here};branch=z9hG4bK{id};rport\r\n\
         From: <sip:mallory@{here}>;tag=m{id}\r\nTo: <sip:{user}@{server}>\r\nCall-ID: {id}@{here}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:mallory@{here}>\r\nMax-Forwards: 70\r\n"
    )
}

/// Somebody with a UDP socket and bad intentions.
struct Stranger {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Stranger {
    fn new(server: &Server) -> Self {
        let socket = UdpSocket::bind((HOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
        Self { socket, server: server.sip() }
    }

    /// Sends a request; the final status of what comes back.
    fn ask(&self, method: &str, user: &str, id: &str, rest: &str) -> u16 {
        let here = self.socket.local_addr().expect("bound");
        let text = request(method, user, self.server, here, id, "UDP") + rest;
        self.socket.send_to(text.as_bytes(), self.server).expect("sent");
        let mut buffer = [0; 16_384];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).expect("an answer");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
            if text.contains(&format!("Call-ID: {id}@")) && status >= 200 {
                return status;
            }
        }
    }
}

/// Somebody calls the line, is answered and hangs up.
fn serves(server: &Server) {
    let values = [("@HOLD@", "300")];
    Sipp { values: &values, limit: Duration::from_secs(30), ..Sipp::default() }.pass(server);
}

/// A multipart body of a recording session (RFC 7866): a description and metadata.
fn recording_session(metadata: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}a=label:1\r\n\r\n--b\r\n\
         Content-Type: application/rs-metadata+xml\r\n\r\n{metadata}\r\n--b--\r\n"
    )
}

#[test]
fn metadata_of_a_recording_session_that_is_a_bomb_is_refused_and_costs_nothing() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = server(free_port());
    serves(&server);
    let before = resident(&server);
    let deep = "<a>".repeat(2_000);
    let entities = (0..9).fold(String::from("<!DOCTYPE r [<!ENTITY e0 \"ha\">"), |text, n| {
        format!("{text}<!ENTITY e{} \"{}\">", n + 1, format!("&e{n};").repeat(10))
    }) + "]><r>&e9;</r>";
    let multipart = "Content-Type: multipart/mixed;boundary=b\r\n";
    for (n, metadata) in [deep.as_str(), entities.as_str(), "<recording/>"].into_iter().enumerate() {
        for (k, require) in ["", "Require: siprec\r\n"].into_iter().enumerate() {
            let body = recording_session(metadata);
            // Over a stream: a datagram of this size would be dropped unread.
            let mut stream = TcpStream::connect(server.sip()).expect("connected");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
            let here = stream.local_addr().expect("bound");
            let id = format!("siprec{n}{k}");
            let head = request("INVITE", "bank", server.sip(), here, &id, "TCP");
            let text = format!("{head}{require}{multipart}Content-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(text.as_bytes()).expect("sent");
            let mut status = 0;
            for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                let told = line.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
                status = told.unwrap_or(status);
                if status >= 200 {
                    break;
                }
            }
            assert!((400..500).contains(&status), "{n} {require:?}: {status}");
        }
    }
    // A length that nobody could want: the connection ends before the bomb is there.
    let mut stream = TcpStream::connect(server.sip()).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a time");
    let here = stream.local_addr().expect("bound");
    let head = request("INVITE", "bank", server.sip(), here, "huge", "TCP");
    stream
        .write_all(format!("{head}{multipart}Content-Length: 1073741824\r\n\r\n").as_bytes())
        .expect("sent");
    let piece = vec![b'<'; 1 << 16];
    let mut swallowed = 0;
    while swallowed < 256 << 20 && stream.write_all(&piece).is_ok() {
        swallowed += piece.len();
    }
    assert!(swallowed < 64 << 20, "{swallowed} bytes were taken");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < GROWTH, "grown by {grown} bytes");
    serves(&server);
    assert_eq!(server.errors(), Vec::<String>::new());
}

/// Calls that are refused at once, each of them two long events; by how much the server grew, and how long the slowest
/// took.
fn flood(server: &Server, calls: usize) -> (u64, Duration) {
    let before = resident(server);
    let stranger = Stranger::new(server);
    // The called name is told in the events.
    let name = "x".repeat(2_000);
    let mut slowest = Duration::ZERO;
    for n in 0..calls {
        let asked = Instant::now();
        let rest = "Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nm=\r\n";
        let status = stranger.ask("INVITE", &name, &format!("w{n}"), rest);
        assert!((400..500).contains(&status), "{status}");
        slowest = slowest.max(asked.elapsed());
    }
    (resident(server).saturating_sub(before), slowest)
}

#[test]
fn a_watcher_who_reads_nothing_delays_no_call_and_is_let_go() {
    if tool_missing(TOOLS) {
        return;
    }
    const CALLS: usize = 4_000;
    // What the calls themselves cost.
    let (alone, _) = flood(&server(free_port()), CALLS);
    let server = server(free_port());
    let mut watcher = TcpStream::connect(server.http()).expect("connected");
    watcher.set_read_timeout(Some(Duration::from_secs(40))).expect("a time");
    let upgrade = format!(
        "GET /v1/events HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.http()
    );
    watcher.write_all(upgrade.as_bytes()).expect("sent");
    let mut line = String::new();
    let mut byte = [0];
    while !line.ends_with("\r\n\r\n") {
        watcher.read_exact(&mut byte).expect("an answer");
        line.push(char::from(byte[0]));
    }
    assert!(line.starts_with("HTTP/1.1 101"), "{line}");
    // Nobody reads what is told of these calls: more than fits into the buffers of the system.
    let (watched, slowest) = flood(&server, CALLS);
    assert!(watched < alone + GROWTH, "{watched} bytes, {alone} without a watcher");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    serves(&server);
    // Whoever takes nothing for 20 s is cut off; what was on the way is read to its end.
    std::thread::sleep(Duration::from_secs(25));
    let mut buffer = vec![0; 1 << 16];
    let ended = loop {
        match watcher.read(&mut buffer) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    assert!(ended, "a watcher who takes nothing is let go");
}

#[test]
fn requests_that_nobody_asked_for_are_refused_without_a_challenge_or_a_trace() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = server(free_port());
    let stranger = Stranger::new(&server);
    let event = "Event: dialog\r\nContent-Length: 0\r\n\r\n";
    for (method, rest) in [
        ("MESSAGE", "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"),
        ("SUBSCRIBE", event),
        ("PUBLISH", event),
        ("NOTIFY", event),
        ("REFER", "Refer-To: <sip:+1900555@127.0.0.1>\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let status = stranger.ask(method, "bank", &format!("u{method}"), rest);
        assert!((400..500).contains(&status) && !matches!(status, 401 | 407), "{method}: {status}");
    }
    assert_eq!(server.active(), 0);
    assert_eq!(server.fetch("/v1/calls")["calls"].as_array().map(Vec::len), Some(0));
    serves(&server);
}

#[test]
fn whoever_claims_to_be_somebody_in_a_header_is_not_believed() {
    if tool_missing(TOOLS) {
        return;
    }
    let port = free_port();
    let server = server(port);
    let claims = "P-Asserted-Identity: <sip:+442070000042@127.0.0.1>\r\nRemote-Party-ID: <sip:anna@127.0.0.1>\r\n\
                  P-Preferred-Identity: <sip:anna@127.0.0.1>\r\nDiversion: <sip:anna@127.0.0.1>\r\n\
                  P-Charging-Vector: icid-value=1\r\nX-Account: admin\r\n";
    let rest = format!("{claims}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}", SDP.len());
    let callee = Sipp {
        scenario: "callee_refuses.xml",
        host: CARRIER,
        port: Some(port),
        values: &[("@STATUS@", "486 Busy Here"), ("@HEADER@", "X-Nothing: 1")],
        ..Sipp::default()
    };
    let callee = callee.start(&server);
    let stranger = Stranger::new(&server);
    // 9 is for users: a claim to be one leads to the line that answers everybody, and not out.
    assert_eq!(stranger.ask("INVITE", "9555", "claim", &rest), 200);
    // 7 is for everybody, and the carrier hears of no claim.
    assert_eq!(stranger.ask("INVITE", "7555", "passed", &rest), 486);
    let callee = callee.finish();
    assert!(callee.well, "{}", callee.messages);
    assert_eq!(callee.received("INVITE"), 1, "{}", callee.messages);
    for claim in
        ["442070000042", "Remote-Party-ID", "P-Preferred", "Diversion", "P-Charging", "X-Account", "anna"]
    {
        assert!(!callee.messages.contains(claim), "{claim}: {}", callee.messages);
    }
    // That to the line ends by itself: its 200 is never acknowledged, and its record comes then.
    let records = wait_for("the records", Duration::from_secs(15), || {
        let page = server.fetch("/v1/cdr");
        let records = page["records"].as_array().expect("records").clone();
        (records.len() >= 2).then_some(records)
    });
    for record in records {
        assert!(
            !record.to_string().contains("anna") && !record.to_string().contains("442070000042"),
            "{record}"
        );
    }
}

#[test]
fn extensions_and_passwords_are_not_found_out_by_trying() {
    if tool_missing(TOOLS) {
        return;
    }
    let server = server(free_port());
    let stranger = Stranger::new(&server);
    let register = |user: &str, id: &str, authorization: &str| {
        let rest = format!("{authorization}Expires: 60\r\nContent-Length: 0\r\n\r\n");
        stranger.ask("REGISTER", user, id, &rest)
    };
    // One who is there is answered like one who is not.
    assert_eq!(register("anna", "r1", ""), 401);
    assert_eq!(register("nobody", "r2", ""), 401);
    let guess = |user: &str| {
        format!(
            "Authorization: Digest username=\"{user}\", realm=\"antiphon\", nonce=\"guess\", uri=\"sip:antiphon\", \
             response=\"00000000000000000000000000000000\", algorithm=MD5\r\n"
        )
    };
    let known: Vec<u16> = (0..5).map(|n| register("anna", &format!("k{n}"), &guess("anna"))).collect();
    let unknown: Vec<u16> = (0..5).map(|n| register("nobody", &format!("n{n}"), &guess("nobody"))).collect();
    assert_eq!(known, unknown, "the two are told apart");
    assert!(known.iter().all(|status| (400..500).contains(status)), "{known:?}");
    // Numbers that lead nowhere are no oracle either, and none of them is called.
    for number in ["1000", "1001", "00441900555", "9001900555"] {
        let rest = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}", SDP.len());
        let status = stranger.ask("INVITE", number, &format!("e{number}"), &rest);
        // The line answers, whatever it is: nobody else does.
        assert_eq!(status, 200, "{number}");
    }
    assert!(server.of_type("bridge.started").is_empty() && server.of_type("transfer.started").is_empty());
    serves(&server);
}

#[test]
fn a_call_without_a_free_port_is_refused_and_there_is_room_again_afterwards() {
    if tool_missing(TOOLS) {
        return;
    }
    let first = free_ports(4);
    let tables = format!("[media]\nrtp_ports = [{first}, {}]\n", first + 3);
    let server = Server::start(Options { flow: Some(LINE), tables: &tables, ..Options::default() });
    let values = [("@HOLD@", "5000")];
    for round in 1..=2 {
        let held: Vec<_> =
            (0..2).map(|_| Sipp { values: &values, ..Sipp::default() }.start(&server)).collect();
        server.wait_events("call.answered", 2 * round, Duration::from_secs(10));
        let refused = [("@STATUS@", "503")];
        Sipp { scenario: "refused.xml", values: &refused, ..Sipp::default() }.pass(&server);
        for call in held {
            let finished = call.finish();
            assert!(finished.well, "{}", finished.errors);
        }
        let ended = server.wait_events("call.ended", 3 * round, Duration::from_secs(10));
        let without = ended.iter().filter(|event| event["cause"] == "limit.rtp_ports").count();
        assert_eq!((without, ended.len()), (round, 3 * round), "{ended:?}");
    }
}
