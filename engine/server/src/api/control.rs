//! Calls placed, moved, joined and supervised over the API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Cause, Dialogue, Hearing, Pii, Prompt, TransferKind, TransferRequest};
use antiphon_engine_flow::Session;
use antiphon_media_frame::CallId;
use antiphon_models_speech::Language;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::{Json, response::IntoResponse, response::Response};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Api;
use super::guard::Rights;
use super::listing::parse;
use super::problem::{Problem, catalogue};
use crate::config::{Length, Scope};
use crate::conversation::{Command, Happening, Leaving};
use crate::dial::{self, Ticket};
use crate::inbound::FlowDialogue;
use crate::line::Plan;
use crate::quiet::Quiet;
use crate::setup::retry_after;
use crate::shared::Shared;
use crate::switch::{Mode, SwitchError};
use crate::trunks::Origin;

/// Keys of one request.
const MOST_KEYS: usize = 64;
/// Characters of a text to be spoken.
const LONGEST_TEXT: usize = 1_000;

/// What a client sent, or why it cannot be read.
pub(super) type Sent<T> = Result<Json<T>, JsonRejection>;

pub(super) fn read<T>(body: Sent<T>) -> Result<T, Problem> {
    body.map(|Json(body)| body).map_err(|e| Problem::because(catalogue::BODY_INVALID, e.body_text()))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::because(catalogue::BODY_INVALID, detail)
}

/// `POST /v1/calls`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCall {
    /// A number, `user:NAME` or a SIP address.
    to: String,
    /// The number shown.
    from: Option<String>,
    /// The trunk, where the routes are not to decide.
    trunk: Option<String>,
    /// The number whose flow speaks with whoever answers, as if it had called it; `bridge` is the other way.
    flow: Option<String>,
    /// The call that whoever answers is joined with.
    bridge: Option<String>,
    #[serde(default = "ring")]
    ring: Length,
    /// Variables for the flow.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

fn ring() -> Length {
    Length(Duration::from_secs(30))
}

/// The call that was begun.
#[derive(Serialize)]
pub(super) struct Begun {
    id: String,
}

/// Places a call; its events tell what becomes of it.
pub(super) async fn place(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    body: Sent<NewCall>,
) -> Result<(StatusCode, Json<Begun>), Problem> {
    let asked = read(body)?;
    let shared = api.shared()?;
    if shared.calls.stopping() {
        return Err(Problem::of(catalogue::STOPPING));
    }
    if shared.calls.active() >= shared.config.call.concurrent {
        return Err(Problem::of(catalogue::CALLS));
    }
    check_ring(asked.ring)?;
    let plan = match &asked.trunk {
        Some(trunk) => shared.plan_over(trunk, &asked.to, asked.from.as_deref()),
        None => shared.plan(&Origin::Api, &asked.to, asked.from.as_deref()),
    };
    let plan = plan.map_err(|outcome| Problem::because(catalogue::TARGET_REFUSED, outcome.name()))?;
    let id = match (&asked.flow, &asked.bridge) {
        (Some(_), Some(_)) => return Err(invalid("`flow` and `bridge` exclude each other")),
        (_, Some(other)) => {
            let with = answered(shared, other)?;
            let (ready, picked_up) = oneshot::channel();
            let quiet = Quiet::new(Vec::new(), false, Some(ready));
            let id = run(shared, ticket(plan, &asked, &rights, Leaving::WithPartner, quiet))?;
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                if picked_up.await.is_ok()
                    && let Err(error) = shared.switch.bridge(with, id)
                {
                    tracing::info!(call = %id, %error, "whoever answered finds nobody to be joined with");
                    // It may be over already.
                    let _ = shared.calls.end(id, Cause::PARTNER_HUNG_UP);
                }
            });
            id
        }
        (flow, None) => {
            let flow = shared.flows().of(flow.as_deref().unwrap_or_default());
            let mut variables = asked.variables.clone();
            for (name, value) in [
                ("caller", asked.to.clone()),
                ("called", asked.from.clone().unwrap_or_default()),
                ("flow", flow.name().to_owned()),
                ("today", jiff::Zoned::now().date().to_string()),
            ] {
                variables.entry(name.to_owned()).or_insert(value);
            }
            let (language, name) = (flow.language().clone(), flow.name().to_owned());
            let dialogue = FlowDialogue(Session::new(flow));
            let mut ticket = ticket(plan, &asked, &rights, Leaving::ByItself, dialogue);
            (ticket.language, ticket.variables, ticket.flow) = (language, variables, Some(name));
            run(shared, ticket)?
        }
    };
    Ok((StatusCode::ACCEPTED, Json(Begun { id: id.to_string() })))
}

fn ticket<D>(plan: Plan, asked: &NewCall, rights: &Rights, leaving: Leaving, dialogue: D) -> Ticket<D> {
    Ticket {
        plan,
        from: Pii::new(asked.from.clone().unwrap_or_default()),
        to: Pii::new(asked.to.clone()),
        ring: asked.ring.0,
        parent: None,
        token: rights.token(),
        flow: None,
        language: Language::english(),
        leaving,
        variables: BTreeMap::new(),
        dialogue,
        tell: None,
    }
}

fn run<D>(shared: &Arc<Shared>, ticket: Ticket<D>) -> Result<CallId, Problem>
where
    D: Dialogue + Send + 'static,
{
    // Its events tell whether it was answered.
    let (placing, _) = dial::place(shared, ticket).map_err(|error| {
        let problem = Problem::because(catalogue::RECOGNIZERS, error.to_string());
        match retry_after(&error) {
            Some(after) => problem.retry(after),
            None => problem,
        }
    })?;
    let id = placing.id();
    tokio::spawn(placing.run());
    Ok(id)
}

/// `POST /v1/calls/{id}/transfer`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    /// A number, `user:NAME` or a SIP address.
    to: Option<String>,
    /// Another call of ours, whose far side the far side is to have (attended, by REFER with Replaces).
    to_call: Option<String>,
    #[serde(default)]
    kind: TransferKind,
    #[serde(default = "ring")]
    ring: Length,
    caller_id: Option<String>,
    /// Spoken to whoever answers before the two are joined.
    announce: Option<String>,
    /// Do not join with a machine that answers.
    #[serde(default)]
    screen: bool,
}

/// Hands a call on; its events tell what becomes of it.
pub(super) async fn transfer(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    body: Sent<Transfer>,
) -> Result<StatusCode, Problem> {
    let asked = read(body)?;
    let shared = api.shared()?;
    check_ring(asked.ring)?;
    let command = match (asked.to, asked.to_call) {
        (Some(to), None) => {
            let request = TransferRequest {
                to,
                kind: asked.kind,
                ring: asked.ring.0,
                caller_id: asked.caller_id,
                music: Vec::new(),
                announce: spoken(asked.announce)?,
                screen: asked.screen,
            };
            Command::Transfer { request, origin: Origin::Api, notify: None }
        }
        (None, Some(other)) => Command::ReferTo { other: answered(shared, &other)? },
        _ => return Err(invalid("one of `to` and `to_call` is needed")),
    };
    tell(shared, &id, command)
}

/// `POST /v1/calls/{id}/bridge`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bridge {
    /// The other call.
    with: String,
}

/// Joins two calls.
pub(super) async fn bridge(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    body: Sent<Bridge>,
) -> Result<StatusCode, Problem> {
    let shared = api.shared()?;
    let (one, other) = (parse(&id)?, parse(&read(body)?.with)?);
    shared.switch.bridge(one, other).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/calls/{id}/hold`
pub(super) async fn hold(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    tell(api.shared()?, &id, Command::Hold(true))
}

/// `POST /v1/calls/{id}/resume`
pub(super) async fn resume(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    tell(api.shared()?, &id, Command::Hold(false))
}

/// `POST /v1/calls/{id}/keys`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    keys: String,
}

/// Presses keys towards the far side.
pub(super) async fn keys(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    body: Sent<Keys>,
) -> Result<StatusCode, Problem> {
    let keys: Vec<char> = read(body)?.keys.to_ascii_uppercase().chars().collect();
    if keys.is_empty() || keys.len() > MOST_KEYS || !keys.iter().all(|key| "0123456789*#ABCD".contains(*key))
    {
        return Err(invalid(format!("`keys` is 1 to {MOST_KEYS} of 0-9, *, # and A-D")));
    }
    tell(api.shared()?, &id, Command::Keys(keys))
}

/// `POST /v1/calls/{id}/supervise`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Supervise {
    /// The supervisor's own call.
    supervisor: String,
    mode: Mode,
    #[serde(default)]
    hearing: Hearing,
}

/// Lets one call listen to, whisper into, barge into or take over another.
pub(super) async fn supervise(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
    body: Sent<Supervise>,
) -> Result<StatusCode, Problem> {
    let asked = read(body)?;
    rights.need(match asked.mode {
        Mode::Listen => Scope::SuperviseListen,
        Mode::Whisper => Scope::SuperviseWhisper,
        Mode::Barge => Scope::SuperviseBarge,
        Mode::TakeOver => Scope::SuperviseControl,
    })?;
    let (target, supervisor) = (parse(&id)?, parse(&asked.supervisor)?);
    api.shared()?.switch.supervise(supervisor, target, asked.mode, asked.hearing).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/conferences/{name}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enter {
    call: String,
}

/// Brings a call into a conference.
pub(super) async fn confer(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    body: Sent<Enter>,
) -> Result<StatusCode, Problem> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !fits {
        return Err(invalid("a conference's name is 1 to 64 letters, digits, hyphens, dots and underscores"));
    }
    let call = parse(&read(body)?.call)?;
    api.shared()?.switch.confer(call, &name).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// One conference.
#[derive(Serialize)]
pub(super) struct Conference {
    name: String,
    /// Calls in it.
    calls: Vec<String>,
}

/// `GET /v1/conferences`
pub(super) async fn conferences(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let all = api.shared()?.switch.conferences().into_iter();
    let all: Vec<_> = all
        .map(|(name, calls)| Conference { name, calls: calls.iter().map(|(id, _)| id.to_string()).collect() })
        .collect();
    Ok(Json(serde_json::json!({ "conferences": all })).into_response())
}

fn check_ring(ring: Length) -> Result<(), Problem> {
    let fits = (Duration::from_secs(1)..=Duration::from_secs(180)).contains(&ring.0);
    if fits { Ok(()) } else { Err(invalid("`ring` is 1s to 3m")) }
}

fn spoken(text: Option<String>) -> Result<Vec<Prompt>, Problem> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if text.trim().is_empty() || text.chars().count() > LONGEST_TEXT {
        return Err(invalid(format!("a text to be spoken has 1 to {LONGEST_TEXT} characters")));
    }
    Ok(vec![Prompt::Text { text, language: Language::english(), voice: None }])
}

/// The id of a call that is answered and not over.
fn answered(shared: &Shared, id: &str) -> Result<CallId, Problem> {
    let call = parse(id)?;
    shared.switch.inlet(call).map(|_| call).ok_or_else(|| Problem::of(catalogue::CALL_NOT_ANSWERED))
}

fn tell(shared: &Shared, id: &str, command: Command) -> Result<StatusCode, Problem> {
    let call = parse(id)?;
    if shared.calls.find(call).is_none() {
        return Err(Problem::of(catalogue::CALL_UNKNOWN));
    }
    let inlet = shared.switch.inlet(call).ok_or_else(|| Problem::of(catalogue::CALL_NOT_ANSWERED))?;
    inlet.tell(Happening::Command(command));
    Ok(StatusCode::ACCEPTED)
}

fn refused(error: SwitchError) -> Problem {
    match error {
        SwitchError::Absent(_) => Problem::of(catalogue::CALL_NOT_ANSWERED),
        other => Problem::because(catalogue::NOT_JOINED, other.to_string()),
    }
}
