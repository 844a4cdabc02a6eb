//! Call records, and what webhooks were told.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Api;
use super::paging::{page_length, place};
use super::problem::{Problem, catalogue};
use crate::cdr::{Direction, Records};
use antiphon_engine_store::{CallFilter, Delivery, DeliveryState};

/// Which records are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    direction: Option<Direction>,
    trunk: Option<String>,
    user: Option<String>,
    from: Option<String>,
    to: Option<String>,
    cause: Option<String>,
    answered: Option<bool>,
    limit: Option<usize>,
    after: Option<String>,
}

/// A page of records, the one that ended last first.
#[derive(Serialize)]
pub(super) struct Page {
    records: Vec<Value>,
    /// What to send as `after` for the next page; `None` on the last.
    next: Option<String>,
}

/// `GET /v1/cdr`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(filter) = filter.map_err(|error| Problem::because(catalogue::CDR_QUERY, error.body_text()))?;
    let limit = page_length(filter.limit, catalogue::CDR_QUERY)?;
    let before = filter.after.as_deref().map(|after| place(after, catalogue::CDR_QUERY)).transpose()?;
    let wanted = CallFilter {
        since_ms: filter.since.map(Timestamp::as_millisecond),
        until_ms: filter.until.map(Timestamp::as_millisecond),
        direction: filter.direction.map(Direction::name),
        trunk: filter.trunk,
        user: filter.user,
        from: filter.from,
        to: filter.to,
        cause: filter.cause,
        answered: filter.answered,
        before,
    };
    let page = records(&api)?.store().calls(&wanted, limit).await?;
    Ok(Json(Page { records: page.records, next: page.next.map(|(at, id)| format!("{at}-{id}")) }))
}

/// `GET /v1/cdr/{id}`
pub(super) async fn find(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = super::listing::parse(&id)?.to_string();
    let record = records(&api)?.store().call(&id).await?;
    record.map(Json).ok_or_else(|| Problem::of(catalogue::CDR_UNKNOWN))
}

/// Which deliveries are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryFilter {
    state: Option<DeliveryState>,
    webhook: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

/// A delivery as the API shows it: without what is sent, which may be personal.
#[derive(Serialize)]
pub(super) struct Shown {
    id: String,
    webhook: String,
    event: String,
    state: DeliveryState,
    created_at: String,
    attempts: i64,
    /// `None` once it was given up.
    next_attempt_at: Option<String>,
    last_status: Option<i64>,
    last_error: Option<String>,
}

/// A page of deliveries, the newest first.
#[derive(Serialize)]
pub(super) struct Deliveries {
    deliveries: Vec<Shown>,
    /// What to send as `after` for the next page; `None` on the last.
    next: Option<String>,
}

/// `GET /v1/webhooks/deliveries`
pub(super) async fn deliveries(
    State(api): State<Arc<Api>>,
    filter: Result<Query<DeliveryFilter>, QueryRejection>,
) -> Result<Json<Deliveries>, Problem> {
    let kind = catalogue::DELIVERY_QUERY;
    let Query(filter) = filter.map_err(|error| Problem::because(kind, error.body_text()))?;
    let limit = page_length(filter.limit, kind)?;
    let before = filter.after.as_deref().map(|after| place(after, kind)).transpose()?;
    let store = records(&api)?.store();
    // One more than is shown tells whether there is a next page.
    let mut listed = store.deliveries(filter.state, filter.webhook.as_deref(), before, limit + 1).await?;
    let more = listed.len() > limit;
    listed.truncate(limit);
    let next = listed.last().filter(|_| more).map(|last| format!("{}-{}", last.created_ms, last.id));
    Ok(Json(Deliveries { deliveries: listed.into_iter().map(shown).collect(), next }))
}

/// `POST /v1/webhooks/deliveries/{id}/retry`
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    let delivery = records(&api)?.retry(&id).await?;
    let delivery = delivery.ok_or_else(|| Problem::of(catalogue::DELIVERY_UNKNOWN))?;
    Ok((StatusCode::ACCEPTED, Json(shown(delivery))))
}

fn records(api: &Api) -> Result<&Arc<Records>, Problem> {
    api.calls.records().ok_or_else(|| Problem::of(catalogue::RECORDS_OFF))
}

fn shown(delivery: Delivery) -> Shown {
    let time =
        |millis| Timestamp::from_millisecond(millis).map_or_else(|_| String::new(), |at| at.to_string());
    Shown {
        created_at: time(delivery.created_ms),
        next_attempt_at: (delivery.state == DeliveryState::Pending).then(|| time(delivery.next_ms)),
        id: delivery.id,
        webhook: delivery.hook,
        event: delivery.event,
        state: delivery.state,
        attempts: delivery.attempts,
        last_status: delivery.last_status,
        last_error: delivery.last_error,
    }
}
