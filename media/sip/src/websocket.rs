//! SIP over WebSocket (RFC 7118): the handshake, and a connection's messages between peer and stack.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rsipstack::transport::TransportEvent;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

use crate::tls::HANDSHAKE_LIMIT;
use crate::transport::{Arrived, Pipe, WRITE_LIMIT, Wire};

const PROTOCOL: &str = "sip";
/// How often a peer is asked whether it is still there.
const PING: Duration = Duration::from_secs(25);
/// Pings in a row that may go without any answer.
const UNANSWERED: u32 = 2;

pub(crate) type Socket = WebSocketStream<Box<dyn Wire>>;

/// Shakes hands with a browser. `origins` are the pages that may connect; none means all. A client that is no browser
/// sends no origin and is not asked for one.
pub(crate) async fn accept(
    stream: Box<dyn Wire>,
    origins: &Arc<[String]>,
    max_message: usize,
) -> io::Result<Socket> {
    // Its size is the library's choice.
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, mut response: Response| {
        check(request, origins)?;
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(PROTOCOL));
        Ok(response)
    };
    let handshake = accept_hdr_async_with_config(stream, check, Some(config(max_message)));
    done(timeout(HANDSHAKE_LIMIT, handshake).await)
}

/// Shakes hands with a server. `authority` is host and port.
pub(crate) async fn connect(
    stream: Box<dyn Wire>,
    authority: &str,
    secure: bool,
    max_message: usize,
) -> io::Result<Socket> {
    let scheme = if secure { "wss" } else { "ws" };
    let mut request = format!("{scheme}://{authority}/").into_client_request().map_err(io::Error::other)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(PROTOCOL));
    let handshake = async {
        let (socket, _) = client_async_with_config(request, stream, Some(config(max_message))).await?;
        Ok(socket)
    };
    done(timeout(HANDSHAKE_LIMIT, handshake).await)
}

/// Carries messages both ways until one side is gone.
pub(crate) async fn run(mut socket: Socket, mut pipe: Pipe) {
    let mut heard = Instant::now();
    let mut silent = 0;
    let mut ping = tokio::time::interval(PING);
    ping.tick().await;
    loop {
        tokio::select! {
            biased;
            out = pipe.from_stack.recv() => match out {
                Some(TransportEvent::Incoming(message, ..)) => {
                    if !send(&mut socket, text(message.to_bytes())).await {
                        return;
                    }
                }
                Some(_) => {}
                None => return,
            },
            _ = ping.tick() => {
                silent += 1;
                if silent > UNANSWERED || heard.elapsed() > pipe.idle() {
                    return;
                }
                if !send(&mut socket, Message::Ping(Vec::new().into())).await {
                    return;
                }
            }
            received = socket.next() => {
                silent = 0;
                let raw = match received {
                    Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
                    Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                        // The library answers pings itself. Many of them are a flood all the same.
                        if !pipe.paced().await {
                            return;
                        }
                        continue;
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => {
                        timeout(WRITE_LIMIT, socket.close(None)).await.ok();
                        return;
                    }
                };
                heard = Instant::now();
                if raw.iter().all(|b| matches!(b, b'\r' | b'\n')) {
                    if raw.len() >= 4 && !send(&mut socket, Message::text("\r\n")).await {
                        return;
                    }
                    continue;
                }
                match pipe.arrived(&raw).await {
                    Arrived::Taken => {}
                    Arrived::Answer(answer) => {
                        if !send(&mut socket, text(answer)).await {
                            return;
                        }
                    }
                    Arrived::Over => {
                        timeout(WRITE_LIMIT, socket.close(None)).await.ok();
                        return;
                    }
                }
            }
        }
    }
}

// Its size is the library's choice.
#[allow(clippy::result_large_err)]
fn check(request: &Request, origins: &[String]) -> Result<(), ErrorResponse> {
    let refuse = |status: StatusCode, why: &str| {
        let mut response = ErrorResponse::new(Some(why.to_owned()));
        *response.status_mut() = status;
        Err(response)
    };
    let protocols = request.headers().get_all("Sec-WebSocket-Protocol");
    let speaks_sip = protocols
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(PROTOCOL));
    if !speaks_sip {
        return refuse(StatusCode::BAD_REQUEST, "ask for the subprotocol sip");
    }
    let Some(origin) = request.headers().get("Origin") else { return Ok(()) };
    let known =
        |given: &str| origins.iter().any(|origin| origin.trim_end_matches('/').eq_ignore_ascii_case(given));
    if !origins.is_empty() && !origin.to_str().is_ok_and(known) {
        return refuse(StatusCode::FORBIDDEN, "this origin is not in the list of origins");
    }
    Ok(())
}

fn config(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1_024)
        .write_buffer_size(0)
        .max_write_buffer_size(max_message * 4)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
}

fn text(bytes: Vec<u8>) -> Message {
    match String::from_utf8(bytes) {
        Ok(text) => Message::text(text),
        Err(error) => Message::binary(error.into_bytes()),
    }
}

async fn send(socket: &mut Socket, message: Message) -> bool {
    matches!(timeout(WRITE_LIMIT, socket.send(message)).await, Ok(Ok(())))
}

fn done<T>(outcome: Result<Result<T, tungstenite::Error>, tokio::time::error::Elapsed>) -> io::Result<T> {
    match outcome {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(tungstenite::Error::Io(error))) => Err(error),
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
