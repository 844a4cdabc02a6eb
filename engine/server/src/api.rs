//! The HTTP API: list, watch and end calls, fetch recordings, figures for monitoring. `docs/API.md` tells how to
//! use it.

mod assist;
mod cdr;
mod control;
mod example;
mod guard;
mod ice;
mod listener;
mod listing;
mod metrics;
mod page;
mod paging;
mod pass;
pub(crate) mod pool;
mod problem;
mod qa;
mod speech;
mod trunks;
mod watch;
mod webrtc;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_plane::ShardFigures;
use antiphon_models_pool::PoolFigures;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, patch, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::calls::Calls;
use crate::config::{IceServer, Scope, Token};
use crate::qa::Inspection;
use crate::shared::Shared;
use pass::Passes;
use problem::{Problem, catalogue};

/// Serves the API until `shutdown` is ready; then WebSockets are told to go and requests under way are finished.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    inspection: Arc<Inspection>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let calls = Arc::clone(&shared.calls);
    let all = shared.config.http.token.clone().map(|secret| Token {
        name: "http.token".to_owned(),
        secret: Some(secret),
        secret_env: None,
        secret_file: None,
        scopes: vec![Scope::Admin],
        tenant: None,
    });
    let tokens: Vec<_> = all.into_iter().chain(shared.config.tokens.iter().cloned()).collect();
    let desk = Arc::clone(&shared);
    let readings = move || Readings {
        shard: shared.shards.total(),
        pool: shared.pool.figures(),
        uptime: shared.started.elapsed(),
        engine: shared.config.recognizer.engine.clone(),
        hints: shared.recognizers.first_of("").is_some_and(|engine| engine.heeds_hints()),
        calls: shared.config.call.concurrent,
    };
    run(calls, Some((desk, inspection)), Box::new(readings), tokens, Limits::default(), listener, shutdown)
        .await;
    Ok(())
}

/// How much clients may take, and how long.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at once that are not WebSockets; further ones wait in the backlog of the system.
    connections: usize,
    /// WebSockets at once; the next is refused.
    watchers: usize,
    /// For the head of a request, and between requests of one connection.
    head: Duration,
    /// For bytes that the client does not take.
    send: Duration,
    /// Between pings to a WebSocket.
    ping: Duration,
    /// A WebSocket that says nothing for this long, not even a pong, is gone.
    quiet: Duration,
    /// For requests under way and closing handshakes.
    farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            watchers: 256,
            head: Duration::from_secs(10),
            send: Duration::from_secs(20),
            ping: Duration::from_secs(20),
            quiet: Duration::from_secs(65),
            farewell: Duration::from_secs(3),
        }
    }
}

/// What the API needs to know of the engine besides its calls.
struct Readings {
    shard: ShardFigures,
    pool: PoolFigures,
    uptime: Duration,
    /// The recogniser's name.
    engine: String,
    /// Whether it heeds hints.
    hints: bool,
    /// Calls allowed at once.
    calls: usize,
}

type Read = Box<dyn Fn() -> Readings + Send + Sync>;

/// What every handler sees.
struct Api {
    calls: Arc<Calls>,
    /// Nothing where only lists are served.
    desk: Option<Arc<Shared>>,
    /// Nothing where no recordings are inspected.
    inspection: Option<Arc<Inspection>>,
    readings: Read,
    /// None: whoever is on this machine may come in.
    tokens: Vec<Token>,
    /// Tokens that we made for web pages.
    passes: Passes,
    limits: Limits,
    /// One permit a WebSocket.
    watchers: Arc<Semaphore>,
    /// True from shutdown on.
    stopping: tokio::sync::watch::Receiver<bool>,
}

async fn run(
    calls: Arc<Calls>,
    desk: Option<(Arc<Shared>, Arc<Inspection>)>,
    readings: Read,
    tokens: Vec<Token>,
    limits: Limits,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let watchers = Arc::new(Semaphore::new(limits.watchers));
    let (passes, places) = (Passes::default(), Arc::clone(&watchers));
    let (desk, inspection) = desk.unzip();
    let api = Arc::new(Api {
        calls,
        desk,
        inspection,
        readings,
        tokens,
        passes,
        limits,
        watchers: places,
        stopping,
    });
    listener::run(router(api), limits, listener, stop, shutdown).await;
    // All permits are back once the last WebSocket has closed; each closes within its own limits.
    let all = u32::try_from(limits.watchers).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(limits.farewell * 2, watchers.acquire_many(all)).await;
}

impl Api {
    /// Whether the example page is served.
    fn examples(&self) -> bool {
        self.desk.as_ref().is_some_and(|shared| shared.config.http.examples)
    }

    /// Pages from elsewhere that may ask.
    fn origins(&self) -> &[String] {
        self.desk.as_ref().map_or(&[], |shared| &shared.config.http.origins)
    }

    /// What web pages find their way to us by.
    fn ice_servers(&self) -> &[IceServer] {
        self.desk.as_ref().map_or(&[], |shared| &shared.config.ice_servers)
    }

    /// What calls are placed and moved with.
    fn shared(&self) -> Result<&Arc<Shared>, Problem> {
        self.desk.as_ref().ok_or_else(|| Problem::of(catalogue::STOPPING))
    }
}

type Route = (&'static str, &'static [Method], MethodRouter<Arc<Api>>);

/// Every path, the methods it answers, and what answers it.
fn routes() -> Vec<Route> {
    const GET: &[Method] = &[Method::GET];
    const POST: &[Method] = &[Method::POST];
    vec![
        ("/", GET, get(page::index)),
        ("/healthz", GET, get(page::health)),
        ("/readyz", GET, get(page::readiness)),
        ("/metrics", GET, get(metrics::render)),
        ("/openapi.json", GET, get(page::openapi)),
        ("/v1/calls", &[Method::GET, Method::POST], get(listing::list).post(control::place)),
        ("/v1/calls/{id}", &[Method::GET, Method::DELETE], get(listing::find).delete(listing::end)),
        ("/v1/calls/{id}/events", GET, get(watch::call)),
        ("/v1/calls/{id}/assist", GET, get(assist::follow)),
        ("/v1/calls/{id}/assist/feedback", POST, post(assist::feedback)),
        ("/v1/calls/{id}/recording", GET, get(listing::recording)),
        ("/v1/calls/{id}/sidecar", GET, get(listing::sidecar)),
        ("/v1/calls/{id}/transfer", POST, post(control::transfer)),
        ("/v1/calls/{id}/bridge", POST, post(control::bridge)),
        ("/v1/calls/{id}/hold", POST, post(control::hold)),
        ("/v1/calls/{id}/resume", POST, post(control::resume)),
        ("/v1/calls/{id}/keys", POST, post(control::keys)),
        ("/v1/calls/{id}/supervise", POST, post(control::supervise)),
        ("/v1/cdr", GET, get(cdr::list)),
        ("/v1/cdr/{id}", GET, get(cdr::find)),
        ("/v1/conferences", GET, get(control::conferences)),
        ("/v1/conferences/{name}", POST, post(control::confer)),
        ("/v1/events", GET, get(watch::all)),
        ("/v1/assist", GET, get(assist::list)),
        ("/v1/knowledge/search", GET, get(assist::search)),
        ("/v1/audio/speech", POST, post(speech::speech)),
        (
            "/v1/audio/transcriptions",
            POST,
            // Its handler counts for itself.
            post(speech::transcriptions).layer(DefaultBodyLimit::disable()),
        ),
        ("/v1/funasr", GET, get(speech::funasr)),
        ("/v1/listen", &[Method::GET, Method::POST], get(speech::listen).post(speech::post_listen)),
        ("/v1/realtime", GET, get(speech::realtime)),
        ("/v1/vosk", GET, get(speech::vosk)),
        ("/v1/pool", GET, get(pool::report)),
        (
            "/v1/qa/jobs",
            &[Method::GET, Method::POST],
            // Its handler counts for itself.
            get(qa::list).post(qa::submit).layer(DefaultBodyLimit::disable()),
        ),
        ("/v1/qa/jobs/{id}", &[Method::GET, Method::DELETE], get(qa::find).delete(qa::forget)),
        ("/v1/qa/jobs/{id}/cancel", POST, post(qa::cancel)),
        ("/v1/qa/jobs/{id}/retry", POST, post(qa::retry)),
        ("/v1/qa/jobs/{id}/rescore", POST, post(qa::rescore)),
        ("/v1/qa/jobs/{id}/results", GET, get(qa::stream)),
        ("/v1/qa/jobs/{id}/files", GET, get(qa::files)),
        ("/v1/qa/jobs/{id}/files/{n}", GET, get(qa::file)),
        ("/v1/qa/jobs/{id}/files/{n}/clip", GET, get(qa::clip)),
        ("/v1/qa/jobs/{id}/files/{n}/report", GET, get(qa::report)),
        ("/v1/qa/jobs/{id}/files/{n}/reviews", POST, post(qa::review)),
        ("/v1/qa/insight", GET, get(qa::figures)),
        ("/v1/qa/insight/page", GET, get(qa::page)),
        ("/v1/qa/insight/rules", GET, get(qa::rules)),
        ("/v1/qa/insight/topics", GET, get(qa::topics)),
        ("/v1/qa/insight/reasons", GET, get(qa::reasons)),
        ("/v1/qa/insight/calls", GET, get(qa::calls)),
        ("/v1/qa/agreement", GET, get(qa::agreement)),
        ("/v1/qa/calls/{id}/clip", GET, get(qa::live_clip)),
        ("/v1/trunks", GET, get(trunks::list)),
        ("/v1/webhooks/deliveries", GET, get(cdr::deliveries)),
        ("/v1/webhooks/deliveries/{id}/retry", POST, post(cdr::retry)),
        ("/v1/webrtc", POST, post(webrtc::open)),
        ("/v1/webrtc/tokens", POST, post(webrtc::issue)),
        ("/v1/webrtc/{id}", &[Method::PATCH, Method::DELETE], patch(webrtc::trickle).delete(webrtc::close)),
        ("/browser-call", GET, get(example::bare)),
        ("/browser-call/", GET, get(example::index)),
        ("/browser-call/{file}", GET, get(example::file)),
        ("/agent-desk", GET, get(example::bare_desk)),
        ("/agent-desk/", GET, get(example::desk)),
        ("/agent-desk/{file}", GET, get(example::desk_file)),
    ]
}

fn router(api: Arc<Api>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, _, methods)| router.route(path, methods))
        .fallback(async || Problem::of(catalogue::ROUTE_UNKNOWN))
        .method_not_allowed_fallback(async || Problem::of(catalogue::ROUTE_METHOD))
        .layer(from_fn_with_state(Arc::clone(&api), guard::guard))
        .with_state(api)
}
