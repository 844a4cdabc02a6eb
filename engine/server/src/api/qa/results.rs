//! What came of a job's files.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_qa::{Review as Said, Verdict};
use antiphon_engine_store::{FileFilter, FileState, InspectionFile, JobState, Noted, Review, Revised};
use antiphon_media_frame::Span;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::Api;
use super::super::control::{Sent, read};
use super::super::guard::Rights;
use super::super::paging::page_length;
use super::super::problem::{Problem, catalogue};
use super::{inspection, own_job, time};
use crate::qa::job::Facts;
use crate::qa::{self, FileResult, Inspection, sound};

/// The longest clip.
const LONGEST_CLIP: Duration = Duration::from_secs(600);
/// The longest comment of a reviewer, in octets.
const LONGEST_COMMENT: usize = 4_096;
/// Results that are read ahead of a client.
const AHEAD: usize = 8;
/// A look for results without being told of any.
const ROUND: Duration = Duration::from_secs(5);

/// A job's id and the number of one of its files.
type FilePath = Result<Path<(String, i64)>, PathRejection>;

/// A file as the API shows it.
#[derive(Serialize)]
pub(in super::super) struct FileShown {
    n: i64,
    name: String,
    state: FileState,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passed: Option<bool>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Reason>,
    metadata: BTreeMap<String, String>,
    attempts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    begun_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
}

#[derive(Serialize)]
struct Reason {
    code: String,
    message: String,
}

/// A file with what was heard and found.
#[derive(Serialize)]
pub(in super::super) struct WholeFile {
    #[serde(flatten)]
    file: FileShown,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<Value>,
}

/// A page of files, in their order.
#[derive(Serialize)]
pub(in super::super) struct FilePage {
    files: Vec<FileShown>,
    /// What to send as `after` for the next page; `None` on the last.
    next: Option<i64>,
}

/// Which files are listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Filter {
    state: Option<FileState>,
    limit: Option<usize>,
    after: Option<i64>,
}

/// `GET /v1/qa/jobs/{id}/files`
pub(in super::super) async fn files(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<FilePage>, Problem> {
    let Query(filter) = filter.map_err(|error| Problem::because(catalogue::QA_QUERY, error.body_text()))?;
    let limit = page_length(filter.limit, catalogue::QA_QUERY)?;
    let job = own_job(&api, &rights, &id).await?;
    let wanted = FileFilter { state: filter.state, after: filter.after };
    let mut files = inspection(&api)?.store().files(&job.id, wanted, limit + 1).await?;
    let more = files.len() > limit;
    files.truncate(limit);
    let next = files.last().filter(|_| more).map(|file| file.n);
    Ok(Json(FilePage { files: files.into_iter().map(shown).collect(), next }))
}

/// `GET /v1/qa/jobs/{id}/files/{n}`
pub(in super::super) async fn file(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    path: FilePath,
) -> Result<Json<WholeFile>, Problem> {
    let found = own_file(&api, &rights, path).await?;
    Ok(Json(whole(inspection(&api)?, found).await?))
}

async fn whole(inspection: &Inspection, file: InspectionFile) -> Result<WholeFile, Problem> {
    let result = inspection.store().result(&file.job, file.n).await?;
    let parse = |text: &str| serde_json::from_str(text).ok();
    let (conversation, result) = match result {
        Some((conversation, result)) => (parse(&conversation), parse(&result)),
        None => (None, None),
    };
    Ok(WholeFile { file: shown(file), result, conversation })
}

/// Which files are followed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Followed {
    state: Option<FileState>,
    after: Option<i64>,
}

/// `GET /v1/qa/jobs/{id}/results`: every file with its result, a JSON object a line, as they come to an end; it ends with
/// the job.
pub(in super::super) async fn stream(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
    filter: Result<Query<Followed>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(filter) = filter.map_err(|error| Problem::because(catalogue::QA_QUERY, error.body_text()))?;
    let job = own_job(&api, &rights, &id).await?;
    let inspection = Arc::clone(inspection(&api)?);
    let (send, lines) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(AHEAD);
    let stopping = api.stopping.clone();
    tokio::spawn(async move { follow(&inspection, &job.id, filter, &send, stopping).await });
    let lines = futures_util::stream::unfold(lines, async |mut lines| Some((lines.recv().await?, lines)));
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response())
}

async fn follow(
    inspection: &Inspection,
    job: &str,
    filter: Followed,
    send: &tokio::sync::mpsc::Sender<Result<Bytes, Infallible>>,
    mut stopping: tokio::sync::watch::Receiver<bool>,
) {
    let mut news = inspection.news();
    let mut after = filter.after;
    loop {
        news.mark_unchanged();
        let over = match inspection.store().job(job).await {
            Ok(Some(job)) => matches!(job.state, JobState::Finished | JobState::Cancelled),
            // It was forgotten, or the store fails: the client sees the stream end early.
            Ok(None) | Err(_) => return,
        };
        let page = inspection.store().files(job, FileFilter { state: None, after }, AHEAD).await;
        let Ok(page) = page else { return };
        let last_page = page.len() < AHEAD;
        let mut waits = false;
        for file in page {
            if matches!(file.state, FileState::Queued | FileState::Running) {
                waits = true;
                break;
            }
            let n = file.n;
            if filter.state.is_none_or(|state| state == file.state) {
                let Ok(whole) = whole(inspection, file).await else { return };
                let Ok(mut line) = serde_json::to_vec(&whole) else { return };
                line.push(b'\n');
                if send.send(Ok(line.into())).await.is_err() {
                    return;
                }
            }
            after = Some(n);
        }
        if over && last_page && !waits {
            return;
        }
        if waits || last_page {
            tokio::select! {
                _ = news.changed() => {}
                () = tokio::time::sleep(ROUND) => {}
                () = send.closed() => return,
                _ = stopping.wait_for(|stop| *stop) => return,
            }
        }
    }
}

/// `GET /v1/qa/jobs/{id}/files/{n}/report`: a page that needs nothing else.
pub(in super::super) async fn report(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    path: FilePath,
) -> Result<Html<String>, Problem> {
    let file = own_file(&api, &rights, path).await?;
    let stored = inspection(&api)?.store().result(&file.job, file.n).await?;
    let (conversation, result) = stored.ok_or_else(|| Problem::of(catalogue::QA_NO_RESULT))?;
    let broken = |error: serde_json::Error| {
        tracing::error!(%error, "a result in the store cannot be read");
        Problem::of(catalogue::STORE_FAILED)
    };
    let conversation = serde_json::from_str(&conversation).map_err(broken)?;
    let result: FileResult = serde_json::from_str(&result).map_err(broken)?;
    let files: Vec<PathBuf> =
        file.sound.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let page = tokio::task::spawn_blocking(move || qa::report::page(&conversation, &result, &files)).await;
    page.map(Html).map_err(|_| Problem::of(catalogue::STORE_FAILED))
}

/// Which piece of a recording.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Piece {
    /// Seconds.
    start: f64,
    /// Seconds.
    end: f64,
}

/// `GET /v1/qa/jobs/{id}/files/{n}/clip`: WAV, both sides mixed.
pub(in super::super) async fn clip(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    path: FilePath,
    piece: Result<Query<Piece>, QueryRejection>,
) -> Result<Response, Problem> {
    let piece = Piece::of(piece)?;
    let file = own_file(&api, &rights, path).await?;
    let files: Option<Vec<PathBuf>> = file.sound.as_deref().and_then(|text| serde_json::from_str(text).ok());
    cut(files.ok_or_else(|| Problem::of(catalogue::QA_NO_SOUND))?, piece).await
}

impl Piece {
    pub(super) fn of(piece: Result<Query<Self>, QueryRejection>) -> Result<Self, Problem> {
        let query = |detail: String| Problem::because(catalogue::QA_QUERY, detail);
        let Query(piece) = piece.map_err(|error| query(error.body_text()))?;
        let longest = LONGEST_CLIP.as_secs_f64();
        let fits = piece.start >= 0.0 && piece.end > piece.start && piece.end - piece.start <= longest;
        if !fits || piece.end > 1e7 {
            return Err(query(format!("start and end are seconds, at most {longest} apart")));
        }
        Ok(piece)
    }
}

/// A piece of a recording, WAV.
pub(super) async fn cut(files: Vec<PathBuf>, piece: Piece) -> Result<Response, Problem> {
    let span = |seconds: f64| Span::from_millis((seconds * 1_000.0).round() as u64);
    let cutting =
        tokio::task::spawn_blocking(move || sound::clip(&files, span(piece.start), span(piece.end)));
    let wav =
        cutting.await.ok().and_then(Result::ok).ok_or_else(|| Problem::of(catalogue::RECORDING_GONE))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"))], wav).into_response())
}

/// What a person says of a finding.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ReviewRequest {
    /// The scorecard; it may be left out where there is one.
    scorecard: Option<String>,
    hit: String,
    /// Who says so; by default the client's token.
    reviewer: Option<String>,
    verdict: Verdict,
    #[serde(default)]
    comment: Option<String>,
}

/// `POST /v1/qa/jobs/{id}/files/{n}/reviews`
pub(in super::super) async fn review(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    path: FilePath,
    body: Sent<ReviewRequest>,
) -> Result<(StatusCode, Json<WholeFile>), Problem> {
    let asked = read(body)?;
    let reviewer = asked.reviewer.or_else(|| rights.token()).unwrap_or_else(|| "anonymous".to_owned());
    if reviewer.len() > 256 || asked.comment.as_ref().is_some_and(|comment| comment.len() > LONGEST_COMMENT) {
        let detail = format!("reviewer is at most 256 octets, comment at most {LONGEST_COMMENT}");
        return Err(Problem::because(catalogue::BODY_INVALID, detail));
    }
    let file = own_file(&api, &rights, path).await?;
    let n = file.n;
    let inspection = inspection(&api)?;
    let stored = inspection.store().result(&file.job, n).await?;
    let result: Option<FileResult> = stored.and_then(|(_, result)| serde_json::from_str(&result).ok());
    let result = result.ok_or_else(|| Problem::of(catalogue::QA_NO_RESULT))?;
    let card = match (asked.scorecard, &result.judgements[..]) {
        (Some(card), _) => card,
        (None, [only]) => only.scorecard.clone(),
        (None, _) => {
            return Err(Problem::because(
                catalogue::BODY_INVALID,
                "several scorecards: say which in scorecard",
            ));
        }
    };
    let now = Timestamp::now();
    let said = Said {
        hit: asked.hit.clone(),
        reviewer: reviewer.clone(),
        verdict: asked.verdict,
        comment: asked.comment.clone(),
        at: Some(now.to_string()),
    };
    let verdict = serde_json::to_value(asked.verdict).ok();
    let kept = Review {
        card: card.clone(),
        hit: asked.hit,
        reviewer,
        verdict: verdict.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(),
        comment: asked.comment,
        at_ms: now.as_millisecond(),
    };
    let revise = |text: &str| -> Result<Revised, String> {
        let mut result: FileResult = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let judged = result.judgements.iter_mut().find(|judged| judged.scorecard == card);
        let judged = judged.ok_or_else(|| format!("there is no judgement by the scorecard {card}"))?;
        judged.review(said).map_err(|error| error.to_string())?;
        let verdict = qa::insight::verdict(judged);
        let (score, passed) = result.score();
        let result = serde_json::to_string(&result).map_err(|error| error.to_string())?;
        Ok(Revised { result, score, passed, verdict })
    };
    match inspection.store().review(&file.job, n, &kept, revise).await? {
        Noted::Kept => {}
        Noted::Unknown => return Err(Problem::of(catalogue::QA_NO_RESULT)),
        Noted::Refused(detail) => return Err(Problem::because(catalogue::QA_NO_HIT, detail)),
    }
    let file = inspection.store().file(&file.job, n).await?;
    let file = file.ok_or_else(|| Problem::of(catalogue::QA_UNKNOWN))?;
    Ok((StatusCode::CREATED, Json(whole(inspection, file).await?)))
}

async fn own_file(api: &Api, rights: &Rights, path: FilePath) -> Result<InspectionFile, Problem> {
    // What is no number is the number of no file.
    let Path((id, n)) = path.map_err(|_| Problem::of(catalogue::QA_UNKNOWN))?;
    let job = own_job(api, rights, &id).await?;
    let file = inspection(api)?.store().file(&job.id, n).await?;
    file.ok_or_else(|| Problem::of(catalogue::QA_UNKNOWN))
}

fn shown(file: InspectionFile) -> FileShown {
    let facts: Facts = serde_json::from_str(&file.facts).unwrap_or_default();
    FileShown {
        n: file.n,
        name: file.name,
        state: file.state,
        score: file.score,
        passed: file.passed,
        duration: file.audio_ms.map(|ms| ms as f64 / 1_000.0),
        error: file.code.map(|code| Reason { code, message: file.detail.unwrap_or_default() }),
        metadata: facts.metadata,
        attempts: file.attempts,
        begun_at: file.begun_ms.map(time),
        ended_at: file.ended_ms.map(time),
    }
}
