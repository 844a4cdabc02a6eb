//! What agents are helped with: a call's stream, what they say of it, and the knowledge by itself.

use std::convert::Infallible;
use std::sync::Arc;

use antiphon_engine_assist::Verdict;
use antiphon_engine_knowledge::{Answer, Filter};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocket;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{self, error::RecvError};

use super::control::{Sent, read};
use super::guard::{Rights, wants_websocket};
use super::listing::parse;
use super::problem::{Problem, catalogue};
use super::watch::{self, Farewell, Feed, Source, Upgrade};
use super::{Api, Limits};
use crate::assist::{Desk, Told, Watch};

/// Answers where the client does not say how many.
const ANSWERS: usize = 5;
/// Answers at most.
const MOST_ANSWERS: usize = 50;
/// Octets of a question.
const LONGEST: usize = 2_000;

/// A call whose agent is helped.
#[derive(Serialize)]
pub(super) struct DeskShown {
    /// The customer's call.
    call: String,
    /// Those of the agents, in the order in which they were joined.
    agents: Vec<String>,
    /// The entry of `[[assist]]`.
    assist: String,
    began_at: String,
    over: bool,
}

/// All of them, the newest first.
#[derive(Serialize)]
pub(super) struct Desks {
    calls: Vec<DeskShown>,
}

/// Which calls are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeskFilter {
    /// Those that are over too.
    #[serde(default)]
    over: bool,
}

/// `GET /v1/assist`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    filter: Result<Query<DeskFilter>, QueryRejection>,
) -> Result<Json<Desks>, Problem> {
    let Query(filter) =
        filter.map_err(|error| Problem::because(catalogue::ASSIST_QUERY, error.body_text()))?;
    let tenant = tenant(&api, &rights);
    let mut desks = api.calls.desks();
    desks.retain(|desk| is_open_to(desk, tenant.as_deref()) && (filter.over || !desk.is_over()));
    desks.sort_by_key(|desk| std::cmp::Reverse(desk.began_at));
    let calls = desks.iter().map(|desk| DeskShown {
        call: desk.call.to_string(),
        agents: desk.agents().iter().map(ToString::to_string).collect(),
        assist: desk.profile.name().to_owned(),
        began_at: desk.began_at.to_string(),
        over: desk.is_over(),
    });
    Ok(Json(Desks { calls: calls.collect() }))
}

/// Where a client goes on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// The number of the last event it has.
    after: Option<u64>,
}

/// `GET /v1/calls/{id}/assist`
pub(super) async fn follow(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let Query(from) = from.map_err(|error| Problem::because(catalogue::ASSIST_QUERY, error.body_text()))?;
    let desk = desk(&api, &rights, &id)?;
    // What a browser sends of itself when it connects again.
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let after = last.or(from.after).unwrap_or(0);
    if wants_websocket(&headers) {
        return watch::accept(api, upgrade, Feed::Assist(desk.watch(after)));
    }
    let streams = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if streams.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream")) {
        return events(&api, desk.watch(after));
    }
    let (told, _) = desk.watch(after);
    let lines = told.into_iter().map(|told| Ok::<_, Infallible>(told.text.clone() + "\n"));
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(stream::iter(lines))).into_response())
}

/// What an agent says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    /// Of this suggestion…
    suggestion: Option<u32>,
    /// … whether it helped.
    verdict: Option<Verdict>,
    /// As what the call is filed: one of the book's dispositions.
    disposition: Option<String>,
}

/// `POST /v1/calls/{id}/assist/feedback`
pub(super) async fn feedback(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
    said: Sent<Said>,
) -> Result<StatusCode, Problem> {
    let desk = desk(&api, &rights, &id)?;
    let said = read(said)?;
    let refuse = |what: String| Err(Problem::because(catalogue::ASSIST_FEEDBACK, what));
    match (said.suggestion, said.verdict, said.disposition) {
        (Some(id), Some(verdict), None) => {
            if !desk.rate(id, verdict) {
                return refuse(format!("suggestion {id} was never made in this call"));
            }
        }
        (None, None, Some(disposition)) => {
            if !desk.file(&disposition) {
                let name: String = disposition.chars().take(100).collect();
                return refuse(format!("the book has no disposition `{}`", name.escape_debug()));
            }
        }
        _ => return refuse("write suggestion and verdict, or disposition".to_owned()),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What is asked of the knowledge.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// In the words of a conversation.
    q: String,
    limit: Option<usize>,
    /// The entry of `[[assist]]` whose folders are asked; all without it.
    assist: Option<String>,
    language: Option<String>,
    /// Only entries with all of these, commas between.
    tags: Option<String>,
    /// Answers below this are left out: 0 to 1.
    floor: Option<f32>,
}

/// The best first.
#[derive(Serialize)]
pub(super) struct Answers {
    answers: Vec<Answer>,
}

/// `GET /v1/knowledge/search`
pub(super) async fn search(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<Answers>, Problem> {
    let Query(asked) =
        question.map_err(|error| Problem::because(catalogue::ASSIST_QUERY, error.body_text()))?;
    let limit = asked.limit.unwrap_or(ANSWERS);
    let refuse = |what: &str| Err(Problem::because(catalogue::ASSIST_QUERY, what));
    if !(1..=MOST_ANSWERS).contains(&limit) {
        return refuse("limit is 1 to 50");
    }
    if asked.q.trim().is_empty() || asked.q.len() > LONGEST {
        return refuse("q is 1 to 2000 octets of text");
    }
    let floor = asked.floor.unwrap_or(Filter::FLOOR);
    if !(0.0..=1.0).contains(&floor) {
        return refuse("floor is 0 to 1");
    }
    let shared = Arc::clone(api.shared()?);
    let tenant = tenant(&api, &rights);
    let tags = asked.tags.iter().flat_map(|tags| tags.split(',')).map(|tag| tag.trim().to_owned());
    let filter =
        Filter { language: asked.language, tags: tags.filter(|tag| !tag.is_empty()).collect(), floor };
    // A few milliseconds, but nobody else's.
    let found = tokio::task::spawn_blocking(move || {
        let profiles = shared.assist.open_to(tenant.as_deref(), asked.assist.as_deref());
        let mut known = false;
        let mut answers = Vec::new();
        for profile in profiles {
            known = true;
            answers.extend(profile.search(&asked.q, limit, &filter)?);
        }
        answers.sort_by(|a: &Answer, b: &Answer| b.score.total_cmp(&a.score));
        answers.dedup_by(|a, b| a.title == b.title && a.text == b.text);
        answers.truncate(limit);
        Ok::<_, antiphon_engine_knowledge::KnowledgeError>(known.then_some(answers))
    });
    match found.await {
        Ok(Ok(Some(answers))) => Ok(Json(Answers { answers })),
        Ok(Ok(None)) => Err(Problem::of(catalogue::ASSIST_OFF)),
        Ok(Err(error)) => {
            tracing::error!(%error, "knowledge could not be searched");
            Err(Problem::of(catalogue::ASSIST_OFF))
        }
        Err(error) => {
            tracing::error!(%error, "knowledge could not be searched");
            Err(Problem::of(catalogue::ASSIST_OFF))
        }
    }
}

/// Whose calls the client sees; `None` sees all.
fn tenant(api: &Api, rights: &Rights) -> Option<String> {
    let name = rights.token()?;
    api.tokens.iter().find(|token| token.name == name)?.tenant.clone()
}

fn is_open_to(desk: &Desk, tenant: Option<&str>) -> bool {
    tenant.is_none_or(|tenant| *tenant == *desk.tenant)
}

/// The desk of a call that the client may see. Of others it is not told that they exist.
fn desk(api: &Api, rights: &Rights, id: &str) -> Result<Arc<Desk>, Problem> {
    let desk = api.calls.desk(parse(id)?);
    let tenant = tenant(api, rights);
    desk.filter(|desk| is_open_to(desk, tenant.as_deref()))
        .ok_or_else(|| Problem::of(catalogue::ASSIST_UNKNOWN))
}

/// Tells all there is over a WebSocket. `None`: the client is gone.
pub(super) async fn tell(socket: &mut WebSocket, watch: Watch, limits: &Limits) -> Option<Farewell> {
    let (told, live) = watch;
    for told in told {
        watch::say(socket, told.text.clone(), limits.send).await?;
    }
    let Some(live) = live else { return Some(Farewell::Ended) };
    watch::keep_telling(socket, limits, Source::Assist(live)).await
}

/// The same as server-sent events.
fn events(api: &Arc<Api>, watch: Watch) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&api.watchers).try_acquire_owned() else {
        return Err(Problem::of(catalogue::WATCHERS));
    };
    let stopping = api.stopping.clone();
    let events = sent(watch, stopping, place);
    let alive = KeepAlive::new().interval(api.limits.ping);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

struct Sending {
    told: std::vec::IntoIter<Arc<Told>>,
    live: Option<broadcast::Receiver<Arc<Told>>>,
    stopping: tokio::sync::watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

fn sent(
    (told, live): Watch,
    stopping: tokio::sync::watch::Receiver<bool>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let sending = Sending { told: told.into_iter(), live, stopping, _place: place };
    stream::unfold(sending, async |mut sending| {
        let told = match sending.told.next() {
            Some(told) => told,
            None => {
                let live = sending.live.as_mut()?;
                let next = tokio::select! {
                    next = live.recv() => next,
                    _ = sending.stopping.wait_for(|stopping| *stopping) => return None,
                };
                match next {
                    Ok(told) => told,
                    // The client connects again and goes on behind the last it has.
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
                }
            }
        };
        let event = sse::Event::default().id(told.number.to_string()).data(&told.text);
        Some((Ok(event), sending))
    })
}
