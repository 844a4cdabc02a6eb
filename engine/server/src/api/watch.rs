//! Events as they happen, over WebSocket; what one call has come to so far, as JSON lines.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Event, EventBody};
use axum::body::Body;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout};

use super::guard::{BEARER, Rights, wants_websocket};
use super::listing::parse;
use super::pass::Watching;
use super::problem::{Problem, catalogue};
use super::{Api, Limits, assist};

/// The subprotocol to name beside `bearer.TOKEN`: a browser wants one of its offers back.
const PROTOCOL: &str = "antiphon.events.v1";
/// Watchers have nothing to say but pongs and a close.
const FROM_CLIENT: usize = 4 * 1024;
/// Events of one piece of an answer in JSON lines.
const PIECE: usize = 128;

pub(super) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// `GET /v1/calls/{id}/events`
pub(super) async fn call(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let id = parse(&id)?;
    let page = rights.pass().is_some();
    let watching = match rights.pass().filter(|_| wants_websocket(&headers)) {
        Some(pass) => Some(pass.watch().ok_or_else(|| Problem::of(catalogue::WATCHERS))?),
        None => None,
    };
    let (mut history, live) = api.calls.watch(id).ok_or_else(|| Problem::of(catalogue::CALL_UNKNOWN))?;
    if page {
        history.retain(|event| is_for_pages(event));
    }
    if wants_websocket(&headers) {
        accept(api, upgrade, Feed::Events(Events { history, live, single: true, page, watching }))
    } else {
        Ok(lines(history))
    }
}

/// `GET /v1/events`
pub(super) async fn all(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    if !wants_websocket(&headers) {
        return Err(Problem::of(catalogue::UPGRADE_REQUIRED));
    }
    let live = api.calls.watch_all();
    let events = Events { history: Vec::new(), live, single: false, page: false, watching: None };
    accept(api, upgrade, Feed::Events(events))
}

/// What a watcher is told.
pub(super) enum Feed {
    /// What happens to calls.
    Events(Events),
    /// What an agent is helped with.
    Assist(crate::assist::Watch),
}

/// Events of calls for a watcher.
pub(super) struct Events {
    history: Vec<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    /// Of one call: over with its end.
    single: bool,
    /// Told to a page, by a token that is for its calls alone.
    page: bool,
    /// The page's own place among watchers.
    watching: Option<Watching>,
}

/// What whoever speaks on a web page may know of the call: what is heard, and whether it goes on. How a flow decides,
/// what it asks of other services and where our files lie is not for the public.
pub(super) fn is_for_pages(event: &Event) -> bool {
    match event.body {
        EventBody::CallStarted { .. }
        | EventBody::CallRinging
        | EventBody::CallEarly { .. }
        | EventBody::CallAnswered { .. }
        | EventBody::CodecChanged { .. }
        | EventBody::HoldStarted { .. }
        | EventBody::HoldEnded { .. }
        | EventBody::BridgeStarted { .. }
        | EventBody::BridgeEnded { .. }
        | EventBody::SpeechStarted { .. }
        | EventBody::SpeechPartial { .. }
        | EventBody::SpeechFinal { .. }
        | EventBody::SpeechEnded { .. }
        | EventBody::PromptStarted { .. }
        | EventBody::PromptStopped { .. }
        | EventBody::Dtmf { .. }
        | EventBody::Media { .. }
        | EventBody::CallEnded { .. } => true,
        EventBody::CallRefused { .. }
        | EventBody::CallRedirected { .. }
        | EventBody::TransferStarted { .. }
        | EventBody::TransferFinished { .. }
        | EventBody::SupervisionStarted { .. }
        | EventBody::SupervisionEnded { .. }
        | EventBody::FlowStep { .. }
        | EventBody::Intent { .. }
        | EventBody::Slot { .. }
        | EventBody::NoInput { .. }
        | EventBody::NoMatch { .. }
        | EventBody::ActionStarted { .. }
        | EventBody::ActionFinished { .. }
        | EventBody::QaAlert(_)
        | EventBody::QaJudged { .. }
        | EventBody::Response(_)
        | EventBody::Recording { .. } => false,
    }
}

/// Why a watcher is let go.
#[derive(Debug)]
pub(super) enum Farewell {
    Ended,
    Stopping,
    Behind(u64),
    Quiet,
}

impl Farewell {
    fn frame(&self) -> CloseFrame {
        let (code, reason): (_, Cow<'static, str>) = match self {
            Self::Ended => (close_code::NORMAL, "call.ended".into()),
            Self::Stopping => (close_code::AWAY, "server.stopping".into()),
            Self::Behind(missed) => (
                close_code::AGAIN,
                format!("watcher.behind: {missed} events were missed; connect again").into(),
            ),
            Self::Quiet => (close_code::POLICY, "watcher.quiet: no pong came".into()),
        };
        CloseFrame { code, reason: reason.as_ref().into() }
    }
}

fn lines(history: Vec<Arc<Event>>) -> Response {
    let mut rest = VecDeque::from(history);
    // Written piece by piece, as the client takes them: the events are shared, their text would not be.
    let pieces = std::iter::from_fn(move || {
        let piece: Vec<_> = rest.drain(..PIECE.min(rest.len())).collect();
        if piece.is_empty() {
            return None;
        }
        let text: String = piece.iter().filter_map(|event| text(event)).map(|line| line + "\n").collect();
        Some(Ok::<_, Infallible>(text))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(stream::iter(pieces))).into_response()
}

fn text(event: &Event) -> Option<String> {
    serde_json::to_string(event)
        .inspect_err(
            |error| tracing::error!(call = %event.call, %error, "an event cannot be written as JSON"),
        )
        .ok()
}

/// Makes a WebSocket of a request, and tells it all there is.
pub(super) fn accept(api: Arc<Api>, upgrade: Upgrade, feed: Feed) -> Result<Response, Problem> {
    let mut upgrade =
        upgrade.map_err(|error| Problem::because(catalogue::UPGRADE_INVALID, error.body_text()))?;
    let Ok(place) = Arc::clone(&api.watchers).try_acquire_owned() else {
        return Err(Problem::of(catalogue::WATCHERS));
    };
    let named = |name: &&HeaderValue| name.as_bytes() == PROTOCOL.as_bytes();
    let bearer = |name: &&HeaderValue| name.as_bytes().starts_with(BEARER.as_bytes());
    let chosen =
        upgrade.requested_protocols().find(named).or_else(|| upgrade.requested_protocols().find(bearer));
    if let Some(protocol) = chosen.cloned() {
        upgrade.set_selected_protocol(protocol);
    }
    let upgrade = upgrade.max_message_size(FROM_CLIENT).max_frame_size(FROM_CLIENT);
    Ok(upgrade.on_upgrade(move |socket| follow(socket, feed, api, place)))
}

async fn follow(mut socket: WebSocket, feed: Feed, api: Arc<Api>, _place: OwnedSemaphorePermit) {
    let mut stopping = api.stopping.clone();
    let telling = async {
        match feed {
            Feed::Events(events) => tell(&mut socket, events, &api.limits).await,
            Feed::Assist(watch) => assist::tell(&mut socket, watch, &api.limits).await,
        }
    };
    let farewell = tokio::select! {
        farewell = telling => farewell,
        _ = stopping.wait_for(|stopping| *stopping) => Some(Farewell::Stopping),
    };
    let Some(farewell) = farewell else { return };
    tracing::debug!(?farewell, "a watcher is let go");
    let goodbye = async {
        // The client's own close frame, or its going, ends the connection; leaving first could lose our words.
        if socket.send(Message::Close(Some(farewell.frame()))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    let _ = timeout(api.limits.farewell, goodbye).await;
}

/// Tells all there is. `None`: the client is gone.
async fn tell(socket: &mut WebSocket, events: Events, limits: &Limits) -> Option<Farewell> {
    let Events { history, live, single, page, watching: _watching } = events;
    let mut last = 0;
    for event in history {
        last = event.seq;
        if let Some(text) = text(&event) {
            say(socket, text, limits.send).await?;
        }
        if is_last(&event) {
            return Some(Farewell::Ended);
        }
    }
    keep_telling(socket, limits, Source::Events { live, single, page, last }).await
}

/// What a watcher is told next.
enum Next {
    Text(String),
    /// And nothing after it.
    Last(String),
    Nothing,
    Over(Farewell),
}

/// Where it comes from.
pub(super) enum Source {
    Events { live: broadcast::Receiver<Arc<Event>>, single: bool, page: bool, last: u64 },
    Assist(broadcast::Receiver<Arc<crate::assist::Told>>),
}

impl Source {
    /// May be given up and asked again at any time.
    async fn next(&mut self) -> Next {
        let error = match self {
            Self::Events { live, single, page, last } => match live.recv().await {
                Ok(event) if *single && event.seq <= *last || *page && !is_for_pages(&event) => {
                    return Next::Nothing;
                }
                Ok(event) if *single && is_last(&event) => {
                    return Next::Last(text(&event).unwrap_or_default());
                }
                Ok(event) => return text(&event).map_or(Next::Nothing, Next::Text),
                Err(error) => error,
            },
            Self::Assist(live) => match live.recv().await {
                Ok(told) => return Next::Text(told.text.clone()),
                Err(error) => error,
            },
        };
        Next::Over(match error {
            RecvError::Lagged(missed) => Farewell::Behind(missed),
            RecvError::Closed => Farewell::Ended,
        })
    }
}

/// Tells what comes, and looks whether somebody is still there. `None`: the client is gone.
pub(super) async fn keep_telling(
    socket: &mut WebSocket,
    limits: &Limits,
    mut source: Source,
) -> Option<Farewell> {
    let mut ping = tokio::time::interval_at(Instant::now() + limits.ping, limits.ping);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            next = source.next() => match next {
                Next::Text(text) => say(socket, text, limits.send).await?,
                Next::Last(text) => {
                    say(socket, text, limits.send).await?;
                    return Some(Farewell::Ended);
                }
                Next::Nothing => {}
                Next::Over(farewell) => return Some(farewell),
            },
            // A close is answered by reading on, until there is nothing more.
            message = socket.recv() => match message {
                Some(Ok(_)) => heard = Instant::now(),
                Some(Err(_)) | None => return None,
            },
            _ = ping.tick() => {
                if heard.elapsed() > limits.quiet {
                    return Some(Farewell::Quiet);
                }
                send(socket, Message::Ping(Vec::new().into()), limits.send).await?;
            }
        }
    }
}

fn is_last(event: &Event) -> bool {
    matches!(event.body, EventBody::CallEnded { .. })
}

/// Sends a text; `None`: the client is gone, or takes nothing.
pub(super) async fn say(socket: &mut WebSocket, text: String, limit: Duration) -> Option<()> {
    send(socket, Message::Text(text.into()), limit).await
}

async fn send(socket: &mut WebSocket, message: Message, limit: Duration) -> Option<()> {
    timeout(limit, socket.send(message)).await.ok()?.ok()
}
