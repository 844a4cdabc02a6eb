//! The API over real connections.

mod documents;
mod pages;
mod records;
mod requests;
mod watching;
mod webrtc;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Cause, EventBody};
use antiphon_media_frame::{CallId, MediaTime, Pii, Span};
use antiphon_media_plane::ShardFigures;
use antiphon_models_pool::PoolFigures;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use super::{Limits, Readings, run};
use crate::calls::{Calls, EventLog};
use crate::cdr::Records;
use crate::config::{Config, Scope, Secret, Token};
use crate::qa::Inspection;
use crate::shared::Shared;

/// Whatever a test waits for comes well before this.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    calls: Arc<Calls>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(None, Limits::default()).await
    }

    async fn start_with(token: Option<&str>, limits: Limits) -> Self {
        let tokens = token.map(|token| Token {
            tenant: None,
            name: "test".into(),
            secret: Some(Secret::new(token.to_owned())),
            secret_env: None,
            secret_file: None,
            scopes: vec![Scope::Admin],
        });
        Self::start_as(tokens.into_iter().collect(), limits).await
    }

    async fn start_as(tokens: Vec<Token>, limits: Limits) -> Self {
        let calls = Calls::new().expect("a thread");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let done = tokio::spawn(run(
            Arc::clone(&calls),
            None,
            Box::new(readings),
            tokens,
            limits,
            listener,
            shutdown,
        ));
        Self { address, calls, stop, done }
    }

    /// A server with everything behind it but ears and voices.
    async fn open(mut config: Config) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        config.recognizer.engine = "none".into();
        config.voice.engines.clear();
        config.data = data.path().to_owned();
        let opened = tokio::task::spawn_blocking(move || Shared::open(config));
        let shared = opened.await.expect("no panic").expect("open");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let calls = Arc::clone(&shared.calls);
        let records = Records::start(&shared.config).await.expect("a store");
        calls.keep_records(Arc::clone(&records));
        let inspection = Inspection::start(&shared, &records).await.expect("started");
        let done = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            super::serve(shared, Arc::clone(&inspection), listener, shutdown).await.expect("served");
            inspection.shutdown().await;
            drop(data);
        });
        Self { address, calls, stop, done }
    }

    /// A call that goes on until its log is dropped or told otherwise.
    fn call(&self, id: u128) -> (EventLog, mpsc::Receiver<&'static Cause>) {
        let (end, ends) = mpsc::channel(4);
        let started = format!("2026-11-22T01:02:{:02}.5Z", id % 60);
        let mut log = self.calls.begin(CallId(id), "inbound", started, None, end);
        let (from, to) = (Pii::new("13800138000".to_owned()), Pii::new("bank".to_owned()));
        log.write(MediaTime::ZERO, EventBody::CallStarted { from, to, direction: "inbound" });
        (log, ends)
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }

    /// A request; `Host` is the server's address unless the headers hold one.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(method, path, headers, "").await
    }

    /// A request with a body, whose length the headers tell.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all((head + "\r\n" + body).as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
        read.expect("an answer in time").expect("an answer");
        Reply::parse(&bytes)
    }

    /// A WebSocket, or the status that refused it.
    async fn watch(&self, path: &str, headers: &[(&str, &str)]) -> Result<WebSocketStream<TcpStream>, u16> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().expect("a request");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        let stream = TcpStream::connect(self.address).await.expect("connected");
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Stops the server, which must not take long.
    async fn stop(self) {
        self.stop.send(()).expect("it runs");
        tokio::time::timeout(PATIENCE, self.done).await.expect("stopped in time").expect("no panic");
    }
}

fn readings() -> Readings {
    Readings {
        shard: ShardFigures { ticks: 50, worst_delay: Duration::from_millis(3), ..ShardFigures::default() },
        pool: PoolFigures {
            limit: 10,
            audio: Span::from_millis(1_500),
            busy: vec![Duration::from_millis(250), Duration::from_secs(2)],
            ..PoolFigures::default()
        },
        uptime: Duration::from_secs(7),
        engine: "scripted".into(),
        hints: true,
        calls: 3,
    }
}

/// An answer of the server.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// In lower case.
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let split = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..split].to_vec()).expect("text").to_ascii_lowercase();
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        let mut body = bytes[split + 4..].to_vec();
        if head.contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Self { status, head, body }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error answer, whose form is checked.
    fn code(&self) -> String {
        let json = self.json();
        let error = json["error"].as_object().expect("an error");
        assert!(error.len() == 3 && error["message"].is_string() && error["advice"].is_string(), "{json}");
        error["code"].as_str().expect("a code").to_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|w| w == b"\r\n").expect("a chunk's head");
        let size = std::str::from_utf8(&bytes[..line]).expect("text");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 4 + size..];
    }
}

fn ended() -> EventBody {
    EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 2_500 }
}
