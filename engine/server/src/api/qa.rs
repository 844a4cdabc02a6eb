//! Inspection of recordings: jobs in, results out. `docs/QA.md` tells how to use it.

mod insight;
mod results;
mod submit;

pub(super) use insight::{agreement, calls, figures, live_clip, page, reasons, rules, topics};
pub(super) use results::{clip, file, files, report, review, stream};
pub(super) use submit::{rescore, submit};

use std::sync::Arc;

use antiphon_engine_store::{Counts, InspectionJob, JobState};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Api;
use super::guard::Rights;
use super::paging::{page_length, place};
use super::problem::{Problem, catalogue};
use crate::config::Scope;
use crate::qa::Inspection;

/// The largest request: many recordings in one form.
pub(super) const LARGEST: u64 = 64 << 30;
/// The largest request that holds scorecards alone; the framework reads no more of one.
pub(super) const CARDS: u64 = 2 << 20;

/// A job as the API shows it.
#[derive(Serialize)]
pub(super) struct JobShown {
    id: String,
    state: JobState,
    priority: i64,
    created_at: String,
    finished_at: Option<String>,
    files: Counts,
    scorecards: Vec<String>,
}

/// A page of jobs, the newest first.
#[derive(Serialize)]
pub(super) struct JobPage {
    jobs: Vec<JobShown>,
    /// What to send as `after` for the next page; `None` on the last.
    next: Option<String>,
}

/// Which jobs are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobFilter {
    limit: Option<usize>,
    after: Option<String>,
}

/// `GET /v1/qa/jobs`
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    filter: Result<Query<JobFilter>, QueryRejection>,
) -> Result<Json<JobPage>, Problem> {
    let Query(filter) = filter.map_err(|error| Problem::because(catalogue::QA_QUERY, error.body_text()))?;
    let limit = page_length(filter.limit, catalogue::QA_QUERY)?;
    let before = filter.after.as_deref().map(|after| place(after, catalogue::QA_QUERY)).transpose()?;
    let own = owner(&rights);
    // One more than is shown tells whether there is a next page.
    let mut jobs = inspection(&api)?.store().jobs(own.as_deref(), before, limit + 1).await?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().filter(|_| more).map(|job| format!("{}-{}", job.created_ms, job.id));
    Ok(Json(JobPage { jobs: jobs.iter().map(shown).collect(), next }))
}

/// `GET /v1/qa/jobs/{id}`
pub(super) async fn find(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
) -> Result<Json<JobShown>, Problem> {
    Ok(Json(shown(&own_job(&api, &rights, &id).await?)))
}

/// `POST /v1/qa/jobs/{id}/cancel`
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
) -> Result<Json<JobShown>, Problem> {
    let job = own_job(&api, &rights, &id).await?;
    if !inspection(&api)?.cancel(&job.id).await? {
        return Err(Problem::of(catalogue::QA_OVER));
    }
    Ok(Json(shown(&own_job(&api, &rights, &id).await?)))
}

/// `POST /v1/qa/jobs/{id}/retry`
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<JobShown>), Problem> {
    let job = own_job(&api, &rights, &id).await?;
    if inspection(&api)?.retry(&job.id).await? == 0 {
        return Err(Problem::of(catalogue::QA_NOTHING));
    }
    Ok((StatusCode::ACCEPTED, Json(shown(&own_job(&api, &rights, &id).await?))))
}

/// `DELETE /v1/qa/jobs/{id}`
pub(super) async fn forget(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let job = own_job(&api, &rights, &id).await?;
    if !inspection(&api)?.forget(&job.id).await? {
        return Err(Problem::of(catalogue::QA_RUNNING));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn inspection(api: &Api) -> Result<&Arc<Inspection>, Problem> {
    api.inspection.as_ref().ok_or_else(|| Problem::of(catalogue::RECORDS_OFF))
}

/// Whose jobs the client sees; `None` sees all.
fn owner(rights: &Rights) -> Option<String> {
    if rights.need(Scope::Admin).is_ok() { None } else { Some(rights.token().unwrap_or_default()) }
}

/// A job that the client may see. Of others it is not told that they exist.
async fn own_job(api: &Api, rights: &Rights, id: &str) -> Result<InspectionJob, Problem> {
    let job = inspection(api)?.store().job(id).await?;
    let own = owner(rights);
    job.filter(|job| own.is_none_or(|own| own == job.owner)).ok_or_else(|| Problem::of(catalogue::QA_UNKNOWN))
}

fn shown(job: &InspectionJob) -> JobShown {
    let spec: Option<crate::qa::job::Spec> = serde_json::from_str(&job.spec).ok();
    let cards = spec.map(|spec| spec.scorecards).unwrap_or_default();
    JobShown {
        id: job.id.clone(),
        state: job.state,
        priority: job.priority,
        created_at: time(job.created_ms),
        finished_at: job.finished_ms.map(time),
        files: job.counts,
        scorecards: cards.iter().filter_map(|card| Some(card.read().ok()?.id().to_owned())).collect(),
    }
}

fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| String::new(), |at| at.to_string())
}
