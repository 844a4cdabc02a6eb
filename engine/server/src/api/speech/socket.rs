//! Live audio over WebSockets.

use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_service::deepgram::{self, Listen, Options};
use antiphon_engine_service::funasr::FunAsr;
use antiphon_engine_service::realtime::Realtime;
use antiphon_engine_service::vosk::Vosk;
use antiphon_engine_service::{Demand, Dialect, Heard, Incoming, Outgoing, Refusal, Settings};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_pool::{Ask, Class, StreamEvent};
use axum::Json;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, OriginalUri, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::super::Api;
use super::super::guard::{BEARER, Rights, wants_websocket};
use super::super::problem::{Problem, catalogue};
use super::{ask, query, request_id};
use crate::hearing::{Hearing, HearingError, Words};
use crate::shared::Shared;

/// The largest message: ten seconds of eight channels at 48 kHz fit.
const MESSAGE: usize = 8 << 20;
/// A client that says nothing at all for so long is gone, where its dialect has no limit of its own.
const IDLE: Duration = Duration::from_secs(60);
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(60);

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// `GET /v1/listen`
pub(in super::super) async fn listen(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    let id = request_id();
    let options = match Options::live(&query(&uri)) {
        Ok(options) => options,
        Err(refusal) if wants_websocket(&headers) => {
            let body = Json(deepgram::error("INVALID_QUERY_PARAMETER", &refusal, &id));
            return (StatusCode::BAD_REQUEST, body).into_response();
        }
        Err(_) => return Problem::of(catalogue::UPGRADE_REQUIRED).into_response(),
    };
    let mut response = open(&api, &rights, &headers, upgrade, Box::new(Listen::new(options, &id)));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("dg-request-id", id);
    }
    response
}

/// `GET /v1/realtime`
pub(in super::super) async fn realtime(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    open(&api, &rights, &headers, upgrade, Box::new(Realtime::new(&request_id())))
}

/// `GET /v1/vosk`
pub(in super::super) async fn vosk(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    open(&api, &rights, &headers, upgrade, Box::new(Vosk::default()))
}

/// `GET /v1/funasr`
pub(in super::super) async fn funasr(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Response {
    open(&api, &rights, &headers, upgrade, Box::new(FunAsr::default()))
}

fn open(
    api: &Arc<Api>,
    rights: &Rights,
    headers: &HeaderMap,
    upgrade: Upgrade,
    dialect: Box<dyn Dialect>,
) -> Response {
    if !wants_websocket(headers) {
        return Problem::of(catalogue::UPGRADE_REQUIRED).into_response();
    }
    let shared = match api.shared() {
        Ok(shared) => Arc::clone(shared),
        Err(problem) => return problem.into_response(),
    };
    let mut upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(error) => return Problem::because(catalogue::UPGRADE_INVALID, error.body_text()).into_response(),
    };
    let Ok(place) = Arc::clone(&api.watchers).try_acquire_owned() else {
        return Problem::of(catalogue::WATCHERS).into_response();
    };
    // Whatever a client offers beside a token is what it wants to speak: Deepgram's `token`, OpenAI's `realtime`, `binary`.
    let ours = |name: &&HeaderValue| {
        let known: [&[u8]; 4] = [b"realtime", b"binary", b"token", b"bearer"];
        known.contains(&name.as_bytes()) || name.as_bytes().starts_with(BEARER.as_bytes())
    };
    let chosen = upgrade.requested_protocols().find(ours);
    if let Some(protocol) = chosen.cloned() {
        upgrade.set_selected_protocol(protocol);
    }
    let ask = ask(&shared, rights, Class::Live);
    let (send, mut stopping) = (api.limits.send, api.stopping.clone());
    let upgrade = upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE);
    upgrade.on_upgrade(move |socket| async move {
        let _place = place;
        let mut client = Client { socket, dialect, send };
        let stopped = tokio::select! {
            () = client.serve(&shared, &ask) => false,
            _ = stopping.wait_for(|stopping| *stopping) => true,
        };
        if stopped {
            let reason = "server.stopping".to_owned();
            let _ = client.say(vec![Outgoing::Close { code: 1001, reason }]).await;
        }
    })
}

/// The client is gone, or has been told to go.
struct Gone;

enum Next {
    Message(Message),
    /// Nothing came for so long.
    Idle(Duration),
    Gone,
}

/// Waits for the next message. Nothing is lost where the wait is given up.
async fn message(socket: &mut WebSocket, settings: &Settings) -> Next {
    let idle = settings.idle.map_or(IDLE, Duration::from);
    match timeout(idle, socket.recv()).await {
        Ok(Some(Ok(message))) => Next::Message(message),
        Ok(Some(Err(_)) | None) => Next::Gone,
        Err(_) => Next::Idle(idle),
    }
}

struct Client {
    socket: WebSocket,
    dialect: Box<dyn Dialect>,
    /// For octets that the client does not take.
    send: Duration,
}

impl Client {
    async fn serve(&mut self, shared: &Arc<Shared>, ask: &Ask) {
        let greeting = self.dialect.greet();
        if self.say(greeting).await.is_err() {
            return;
        }
        let mut heard: Option<(Hearing, Words)> = None;
        loop {
            let step = match &mut heard {
                None => self.before_audio(shared, ask, &mut heard).await,
                Some((hearing, told)) => self.during_audio(hearing, told).await,
            };
            match step {
                Ok(false) => {}
                Ok(true) => break,
                Err(Gone) => return,
            }
        }
        let mut duration = Span::ZERO;
        if let Some((hearing, mut told)) = heard.take() {
            duration = hearing.duration();
            let finished = hearing.finish().await;
            if finished.is_err() || self.last_words(&mut told).await.is_err() {
                return;
            }
        }
        let farewell = self.dialect.close(duration);
        let _ = self.say(farewell).await;
    }

    /// Settings until the first sound comes. Returns whether nothing follows.
    async fn before_audio(
        &mut self,
        shared: &Arc<Shared>,
        ask: &Ask,
        heard: &mut Option<(Hearing, Words)>,
    ) -> Result<bool, Gone> {
        let message = message(&mut self.socket, &self.dialect.settings()).await;
        for demand in self.take(message).await? {
            match demand {
                Demand::Audio(octets) => {
                    if heard.is_none() {
                        let (means, language) = (shared.means(&ask.tenant), shared.language(&ask.tenant));
                        match Hearing::open(means, language, ask, &self.dialect.settings()).await {
                            Ok(opened) => {
                                opened.0.want_partials(self.dialect.partials());
                                *heard = Some(opened);
                            }
                            Err(error) => return self.fail(&error).await,
                        }
                    }
                    if let Some((hearing, _)) = heard
                        && let Err(error) = hearing.push(&octets).await
                    {
                        return self.fail(&error).await;
                    }
                }
                Demand::Say(out) => self.say(vec![out]).await?,
                Demand::Flush => {
                    let out = self.dialect.report(0, Heard::Flushed);
                    self.say(out).await?;
                }
                Demand::Finish => return Ok(true),
                Demand::Set(_) => {}
            }
        }
        Ok(false)
    }

    async fn during_audio(&mut self, hearing: &mut Hearing, told: &mut Words) -> Result<bool, Gone> {
        let settings = self.dialect.settings();
        tokio::select! {
            event = told.recv() => {
                // Without an end of its own: the engine gave up.
                let Some((channel, event)) = event else { return self.fail(&HearingError::Stuck).await };
                self.tell(channel, event).await?;
                while let Some((channel, event)) = told.try_recv() {
                    self.tell(channel, event).await?;
                }
            }
            message = message(&mut self.socket, &settings) => {
                for demand in self.take(message).await? {
                    let done = match demand {
                        Demand::Audio(octets) => hearing.push(&octets).await,
                        Demand::Flush => hearing.flush().await,
                        Demand::Set(settings) => {
                            hearing.hint(&settings.hints);
                            Ok(())
                        }
                        Demand::Say(out) => {
                            self.say(vec![out]).await?;
                            Ok(())
                        }
                        Demand::Finish => return Ok(true),
                    };
                    if let Err(error) = done {
                        return self.fail(&error).await;
                    }
                }
                let out = self.dialect.clock(MediaTime::ZERO + hearing.duration());
                self.say(out).await?;
            }
        }
        Ok(false)
    }

    /// What a message asks for.
    async fn take(&mut self, next: Next) -> Result<Vec<Demand>, Gone> {
        let outcome = match &next {
            Next::Message(Message::Text(text)) => self.dialect.receive(Incoming::Text(text.as_str())),
            Next::Message(Message::Binary(octets)) => self.dialect.receive(Incoming::Binary(octets)),
            Next::Message(Message::Ping(_) | Message::Pong(_)) => Ok(Vec::new()),
            Next::Message(Message::Close(_)) | Next::Gone => return Err(Gone),
            Next::Idle(limit) => {
                let reason = format!("NET-0001 neither sound nor a message came for {} s", limit.as_secs());
                self.say(vec![Outgoing::Close { code: 1011, reason }]).await?;
                return Err(Gone);
            }
        };
        match outcome {
            Ok(demands) => Ok(demands),
            Err(refusal) => {
                let out = self.dialect.refuse(&refusal);
                self.say(out).await?;
                Ok(Vec::new())
            }
        }
    }

    async fn tell(&mut self, channel: usize, event: StreamEvent) -> Result<(), Gone> {
        let heard = match event {
            StreamEvent::SpeechStarted { at } => Heard::Started(at),
            StreamEvent::Partial(hypothesis) => Heard::Partial(hypothesis),
            StreamEvent::Final(utterance) => Heard::Final(utterance),
            StreamEvent::SpeechEnded { at, decided_at } => Heard::Ended { at, decided_at },
            StreamEvent::Flushed => Heard::Flushed,
            StreamEvent::Failed(error) => {
                tracing::error!(%error, "the recogniser failed in a stream of a client");
                return Ok(());
            }
            StreamEvent::TakenOver { .. } | StreamEvent::Thinned { .. } | StreamEvent::Closed { .. } => {
                return Ok(());
            }
        };
        let out = self.dialect.report(channel, heard);
        self.say(out).await
    }

    /// Everything up to the end of all channels.
    async fn last_words(&mut self, told: &mut Words) -> Result<(), Gone> {
        let all = async {
            while let Some((channel, event)) = told.recv().await {
                self.tell(channel, event).await?;
            }
            Ok(())
        };
        timeout(LAST_WORDS, all).await.unwrap_or(Err(Gone))
    }

    async fn fail(&mut self, error: &HearingError) -> Result<bool, Gone> {
        tracing::warn!(%error, "a client's sound is not heard");
        let mut out = self.dialect.refuse(&Refusal::new(error.to_string()));
        // 1013: try again later (the IANA registry of closing codes).
        let reason: String = error.to_string().chars().filter(char::is_ascii).take(120).collect();
        out.retain(|out| !matches!(out, Outgoing::Close { .. }));
        out.push(Outgoing::Close { code: 1013, reason });
        let _ = self.say(out).await;
        Err(Gone)
    }

    async fn say(&mut self, out: Vec<Outgoing>) -> Result<(), Gone> {
        for out in out {
            let message = match out {
                Outgoing::Text(text) => Message::Text(text.into()),
                Outgoing::Close { code, reason } => {
                    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
                }
            };
            let closes = matches!(message, Message::Close(_));
            let sent = timeout(self.send, self.socket.send(message)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Err(Gone);
            }
            if closes {
                // The client's own close frame, or its going, ends the connection.
                let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
                let _ = timeout(Duration::from_secs(3), rest).await;
                return Err(Gone);
            }
        }
        Ok(())
    }
}
