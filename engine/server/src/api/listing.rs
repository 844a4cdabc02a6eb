//! Calls one by one and in pages; their recordings.

use std::convert::Infallible;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use antiphon_engine_call::Cause;
use antiphon_media_frame::CallId;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::Api;
use super::guard::Rights;
use super::paging::page_length;
use super::problem::{Problem, catalogue};
use crate::calls::{CallState, CallSummary, EndError};
use crate::config::Scope;

/// Which calls are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<Wanted>,
    limit: Option<usize>,
    after: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Ringing,
    Answered,
    Ended,
}

/// One page of calls, the newest first.
#[derive(Serialize)]
pub(super) struct Page {
    calls: Vec<CallSummary>,
    /// What to send as `after` for the next page; `None` on the last.
    next: Option<String>,
}

/// `GET /v1/calls`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(filter) =
        filter.map_err(|error| Problem::because(catalogue::QUERY_INVALID, error.body_text()))?;
    let limit = page_length(filter.limit, catalogue::QUERY_INVALID)?;
    let mut calls = newest_first(api.calls.list());
    if let Some(after) = &filter.after {
        let id = parse(after)?.to_string();
        // Looked for among all calls: its state may have changed since it was listed.
        let Some(place) = calls.iter().position(|call| call.id == id) else {
            return Err(Problem::of(catalogue::PAGE_GONE));
        };
        calls.drain(..=place);
    }
    if let Some(wanted) = filter.state {
        let state = match wanted {
            Wanted::Ringing => CallState::Ringing,
            Wanted::Answered => CallState::Answered,
            Wanted::Ended => CallState::Ended,
        };
        calls.retain(|call| call.state == state);
    }
    let more = calls.len() > limit;
    calls.truncate(limit);
    let next = calls.last().filter(|_| more).map(|call| call.id.clone());
    Ok(Json(Page { calls, next }))
}

/// `GET /v1/calls/{id}`
pub(super) async fn find(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<CallSummary>, Problem> {
    lookup(&api, &id).map(Json)
}

/// `DELETE /v1/calls/{id}`: the call ends soon after, which its events tell.
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<CallSummary>), Problem> {
    let cause = match rights.need(Scope::CallsWrite) {
        Ok(()) => Cause::OPERATOR_HUNG_UP,
        Err(missing) => {
            rights.need(Scope::SuperviseControl).map_err(|_| missing)?;
            Cause::SUPERVISOR_HUNG_UP
        }
    };
    let call = lookup(&api, &id)?;
    match api.calls.end_for(rights.token(), parse(&id)?, cause) {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(call))),
        Err(EndError::Unknown) => Err(Problem::of(catalogue::CALL_UNKNOWN)),
        Err(EndError::AlreadyEnded) => Err(Problem::of(catalogue::CALL_ENDED)),
    }
}

/// `GET /v1/calls/{id}/recording`: WAV, with ranges (RFC 9110, section 14).
pub(super) async fn recording(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (call, path) = recorded(&api, &id)?;
    send(&path, "audio/wav", &format!("{}.wav", call.id), request).await
}

/// `GET /v1/calls/{id}/sidecar`: the JSON beside the recording.
pub(super) async fn sidecar(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (call, path) = recorded(&api, &id)?;
    // It is written after the recording is complete and before the call is over.
    if call.state != CallState::Ended {
        return Err(Problem::of(catalogue::RECORDING_UNFINISHED));
    }
    send(&path.with_extension("json"), "application/json", &format!("{}.json", call.id), request).await
}

/// The call of a path's id.
pub(super) fn parse(id: &str) -> Result<CallId, Problem> {
    id.parse().map_err(|_| Problem::of(catalogue::CALL_ID))
}

/// Calls in the order they came in, the last first.
pub(super) fn newest_first(mut calls: Vec<CallSummary>) -> Vec<CallSummary> {
    // The text does not sort: its fraction of a second has as many digits as it needs.
    calls.sort_by_cached_key(|call| {
        let started = call.started_at.parse().unwrap_or(jiff::Timestamp::MIN);
        (std::cmp::Reverse(started), call.id.clone())
    });
    calls
}

fn lookup(api: &Api, id: &str) -> Result<CallSummary, Problem> {
    api.calls.find(parse(id)?).ok_or_else(|| Problem::of(catalogue::CALL_UNKNOWN))
}

fn recorded(api: &Api, id: &str) -> Result<(CallSummary, PathBuf), Problem> {
    let call = lookup(api, id)?;
    match &call.recording {
        Some(path) => {
            let path = PathBuf::from(path);
            Ok((call, path))
        }
        None if call.state == CallState::Ended => Err(Problem::of(catalogue::RECORDING_NONE)),
        None => Err(Problem::of(catalogue::RECORDING_UNFINISHED)),
    }
}

async fn send(
    path: &FilePath,
    kind: &'static str,
    name: &str,
    request: Request,
) -> Result<Response, Problem> {
    let Ok(response): Result<_, Infallible> = ServeFile::new(path).oneshot(request).await;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(Problem::of(catalogue::RECORDING_GONE));
    }
    let mut response = response.map(Body::new).into_response();
    let good = response.status().is_success();
    let headers = response.headers_mut();
    if good {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Ok(value) = HeaderValue::from_str(&format!("inline; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
