//! Events as clients see them.

use antiphon_engine_call::Side;
use antiphon_media_frame::Pii;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::*;

const EVENTS: &str = "/v1/calls/00000000000000000000000000000001/events";

/// What a watcher was told, and the code and reason of the close.
async fn all(mut socket: WebSocketStream<TcpStream>) -> (Vec<Value>, Option<(u16, String)>) {
    let mut events = Vec::new();
    let read = async {
        while let Some(message) = socket.next().await {
            match message {
                Ok(Message::Text(text)) => events.push(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(frame)) => {
                    return frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    };
    let close = tokio::time::timeout(PATIENCE, read).await.expect("a close in time");
    (events, close)
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time");
        if let Message::Text(text) = message.expect("open").expect("no error") {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().expect("a number")).collect()
}

fn words(bytes: usize) -> EventBody {
    EventBody::SpeechPartial {
        side: Side::Caller,
        text: Pii::new("x".repeat(bytes)),
        revision: 1,
        start: 0.0,
    }
}

/// Waits until no WebSocket is open.
async fn until_alone(server: &Server) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !server.get("/metrics").await.text().contains("antiphon_http_websockets 0\n") {
        assert!(tokio::time::Instant::now() < deadline, "a WebSocket stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn without_a_websocket_the_events_so_far_are_lines() {
    let server = Server::start().await;
    let (mut log, _ends) = server.call(1);
    for count in 1..=300 {
        log.write(MediaTime::ZERO, EventBody::NoInput { count });
    }
    let reply = server.get(EVENTS).await;
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let events: Vec<Value> =
        reply.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(seqs(&events), (1..=301).collect::<Vec<_>>());
    assert_eq!(server.get("/v1/calls/00000000000000000000000000000002/events").await.code(), "call.unknown");
    assert_eq!(server.get("/v1/calls/2/events").await.code(), "call.id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_watcher_comes_it_sees_each_event_once() {
    let server = Server::start().await;
    let (mut log, _ends) = server.call(1);
    let writer = tokio::spawn(async move {
        for count in 2..1_000 {
            log.write(MediaTime::ZERO, EventBody::NoInput { count });
            if count % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        log.write(MediaTime::ZERO, ended());
    });
    let mut watchers = Vec::new();
    for _ in 0..8 {
        watchers.push(tokio::spawn(all(server.watch(EVENTS, &[]).await.expect("let in"))));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    writer.await.expect("written");
    watchers.push(tokio::spawn(all(server.watch(EVENTS, &[]).await.expect("let in"))));
    for watcher in watchers {
        let (events, close) = watcher.await.expect("no panic");
        assert_eq!(seqs(&events), (1..=1_000).collect::<Vec<_>>());
        assert_eq!(close, Some((1000, "call.ended".into())));
    }
    until_alone(&server).await;
}

#[tokio::test]
async fn all_calls_are_watched_from_now_on() {
    let server = Server::start().await;
    let (mut one, _ends) = server.call(1);
    let mut socket = server.watch("/v1/events", &[]).await.expect("let in");
    one.write(MediaTime::ZERO, EventBody::NoInput { count: 1 });
    let (mut two, _ends) = server.call(2);
    one.write(MediaTime::ZERO, ended());
    two.write(MediaTime::ZERO, EventBody::NoMatch { count: 1 });
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = next(&mut socket).await;
        seen.push((event["call"].as_str().expect("an id").ends_with('1'), event["seq"].as_u64()));
    }
    assert_eq!(seen, [(true, Some(2)), (false, Some(1)), (true, Some(3)), (false, Some(2))]);
}

#[tokio::test]
async fn who_falls_behind_is_told() {
    let server = Server::start().await;
    let (mut log, _ends) = server.call(1);
    let mut socket = server.watch(EVENTS, &[]).await.expect("let in");
    assert_eq!(next(&mut socket).await["seq"], 1);
    // All on one thread: the server cannot send in between.
    for count in 0..5_000 {
        log.write(MediaTime::ZERO, EventBody::NoInput { count });
    }
    let (_, close) = all(socket).await;
    let (code, reason) = close.expect("a close frame");
    assert_eq!(code, 1013);
    assert!(reason.starts_with("watcher.behind: ") && reason.contains("904 events"), "{reason}");
}

#[tokio::test]
async fn who_takes_nothing_is_let_go() {
    let limits = Limits { send: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start_with(None, limits).await;
    let (mut log, _ends) = server.call(1);
    for _ in 0..1_500 {
        log.write(MediaTime::ZERO, words(32 * 1024));
    }
    let _socket = server.watch(EVENTS, &[]).await.expect("let in");
    until_alone(&server).await;
}

#[tokio::test]
async fn watchers_are_pinged_and_the_silent_are_let_go() {
    let quick = Duration::from_millis(50);
    let limits = Limits { ping: quick, quiet: 4 * quick, ..Limits::default() };
    let server = Server::start_with(None, limits).await;
    let _call = server.call(1);
    let mut lively = server.watch(EVENTS, &[]).await.expect("let in");
    // Reading answers pings; not reading does not.
    let mut dead = server.watch(EVENTS, &[]).await.expect("let in");
    let pings = async {
        let mut pings = 0;
        while pings < 10 {
            if let Some(Ok(Message::Ping(_))) = lively.next().await {
                pings += 1;
            }
        }
    };
    tokio::time::timeout(PATIENCE, pings).await.expect("still pinged after many times the limit");
    let mut close = None;
    while let Some(Ok(message)) = dead.next().await {
        if let Message::Close(frame) = message {
            close = frame.map(|frame| u16::from(frame.code));
        }
    }
    assert_eq!(close, Some(1008));
}

#[tokio::test]
async fn websockets_are_bounded() {
    let server = Server::start_with(None, Limits { watchers: 2, ..Limits::default() }).await;
    let mut first = server.watch("/v1/events", &[]).await.expect("let in");
    let _second = server.watch("/v1/events", &[]).await.expect("let in");
    assert_eq!(server.watch("/v1/events", &[]).await.err(), Some(503));
    first.close(None).await.expect("closed");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.watch("/v1/events", &[]).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the place stays taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn chatter_and_giants_from_a_watcher_do_no_harm() {
    let server = Server::start().await;
    let (mut log, _ends) = server.call(1);
    let mut socket = server.watch(EVENTS, &[]).await.expect("let in");
    for _ in 0..100 {
        socket.send(Message::text("hello?")).await.expect("sent");
    }
    assert_eq!(next(&mut socket).await["seq"], 1);
    log.write(MediaTime::ZERO, EventBody::NoInput { count: 1 });
    assert_eq!(next(&mut socket).await["seq"], 2);
    let _ = socket.send(Message::text("x".repeat(1 << 20))).await;
    until_alone(&server).await;
}

#[tokio::test]
async fn a_browser_brings_the_token_as_a_subprotocol() {
    let server = Server::start_with(Some("s3cret"), Limits::default()).await;
    let (mut log, _ends) = server.call(1);
    log.write(MediaTime::ZERO, ended());
    for wrong in [&[][..], &[("Sec-WebSocket-Protocol", "antiphon.events.v1, bearer.wrong")]] {
        // The client checks that one of its offers comes back, so `Ok` says that the server chose.
        assert_eq!(server.watch(EVENTS, wrong).await.err(), Some(401));
    }
    for right in ["antiphon.events.v1, bearer.s3cret", "bearer.s3cret"] {
        let socket = server.watch(EVENTS, &[("Sec-WebSocket-Protocol", right)]).await.expect("let in");
        assert_eq!(all(socket).await.0.len(), 2);
    }
    let plain = server.ask("GET", "/v1/calls", &[("Sec-WebSocket-Protocol", "bearer.s3cret")]).await;
    assert_eq!(plain.status, 401);
}

#[tokio::test]
async fn stopping_tells_watchers_and_ends_connections() {
    let server = Server::start().await;
    let _call = server.call(1);
    let sockets = [server.watch(EVENTS, &[]).await, server.watch("/v1/events", &[]).await];
    let mut idle = TcpStream::connect(server.address).await.expect("connected");
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    idle.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let watchers = sockets.map(|socket| tokio::spawn(all(socket.expect("let in"))));
    let address = server.address;
    server.stop().await;
    for watcher in watchers {
        assert_eq!(watcher.await.expect("no panic").1, Some((1001, "server.stopping".into())));
    }
    let mut rest = String::new();
    idle.read_to_string(&mut rest).await.expect("closed");
    assert!(rest.ends_with("ok\n"));
    assert!(TcpStream::connect(address).await.is_err());
}
