//! Jobs that come in: as JSON, or as a form with the recordings in it.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::Field;
use axum::extract::{Extension, FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::super::Api;
use super::super::control::{Sent, read};
use super::super::guard::Rights;
use super::super::problem::{Problem, catalogue};
use super::{inspection, own_job};
use crate::qa::job::{CardName, FileRequest, JobRequest, Manifest, Words};
use crate::qa::source::Source;
use crate::qa::{Inspection, OfferError, upload_name};

/// The largest description of a job: 50,000 files of 300 octets.
const DESCRIPTION: usize = 16 << 20;
/// The longest idempotency key.
const KEY: usize = 255;

/// A job that was taken in.
#[derive(Serialize)]
pub(in super::super) struct Accepted {
    id: String,
    href: String,
    /// Whether it was there before under the same idempotency key.
    repeated: bool,
}

/// `POST /v1/qa/jobs`
pub(in super::super) async fn submit(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    request: Request,
) -> Result<Response, Problem> {
    let inspection = inspection(&api)?;
    let key = key(request.headers())?;
    let id = format!("{:032x}", rand::random::<u128>());
    let folder = inspection.job_folder(&id);
    let taken = async {
        let job = take(inspection, &folder, request).await?;
        offer(inspection, &api, &rights, &id, key, &job).await
    };
    let taken = taken.await;
    // What was uploaded for a job that is not taken in, or was there before, is of no use.
    if !taken.as_ref().is_ok_and(|known| *known == id) {
        let _ = tokio::fs::remove_dir_all(&folder).await;
    }
    let known = taken?;
    let repeated = known != id;
    let href = format!("/v1/qa/jobs/{known}");
    let location = HeaderValue::from_str(&href).ok();
    let mut response = (StatusCode::ACCEPTED, Json(Accepted { id: known, href, repeated })).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Scorecards to judge by again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Rescore {
    scorecards: Vec<CardName>,
    #[serde(default)]
    callback: Option<String>,
}

/// `POST /v1/qa/jobs/{id}/rescore`: a job of its own, of what this one has heard.
pub(in super::super) async fn rescore(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Sent<Rescore>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let asked = read(body)?;
    let inspection = inspection(&api)?;
    let job = own_job(&api, &rights, &id).await?;
    let mut files = Vec::new();
    loop {
        let filter = antiphon_engine_store::FileFilter {
            state: Some(antiphon_engine_store::FileState::Done),
            after: files.last().map(|(n, _)| *n),
        };
        let page = inspection.store().files(&job.id, filter, 1_000).await?;
        if page.is_empty() {
            break;
        }
        files.extend(page.into_iter().map(|file| {
            let source = Source::Result { job: job.id.clone(), n: file.n };
            let request = FileRequest {
                source,
                name: Some(file.name),
                language: None,
                channels: None,
                metadata: Default::default(),
            };
            (file.n, request)
        }));
    }
    if files.is_empty() {
        return Err(Problem::of(catalogue::QA_NOTHING));
    }
    let request = JobRequest {
        scorecards: asked.scorecards,
        files: files.into_iter().map(|(_, file)| file).collect(),
        manifest: None,
        language: None,
        hints: Vec::new(),
        channels: None,
        words: Words::default(),
        priority: job.priority,
        callback: asked.callback,
        metadata: Default::default(),
    };
    let id = format!("{:032x}", rand::random::<u128>());
    let known = offer(inspection, &api, &rights, &id, key(&headers)?, &request).await?;
    let (repeated, href) = (known != id, format!("/v1/qa/jobs/{known}"));
    Ok((StatusCode::ACCEPTED, Json(Accepted { id: known, href, repeated })))
}

async fn offer(
    inspection: &Inspection,
    api: &Api,
    rights: &Rights,
    id: &str,
    key: Option<String>,
    job: &JobRequest,
) -> Result<String, Problem> {
    let owner = rights.token().unwrap_or_default();
    let token = api.tokens.iter().find(|known| known.name == owner);
    let tenant = token.and_then(|token| token.tenant.as_deref()).unwrap_or_default();
    inspection.offer(id, &owner, tenant, key, job).await.map_err(|error| {
        let detail = error.to_string();
        match error {
            OfferError::Invalid(_) => Problem::because(catalogue::QA_INVALID, detail),
            OfferError::Forbidden(_) => Problem::because(catalogue::QA_FORBIDDEN, detail),
            OfferError::Key(_) => Problem::because(catalogue::QA_KEY, detail),
            OfferError::Full { .. } => Problem::because(catalogue::QA_FULL, detail),
            OfferError::Store(error) => error.into(),
        }
    })
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=KEY).contains(&key.len()));
    let key = key.ok_or_else(|| {
        Problem::because(catalogue::QA_INVALID, format!("Idempotency-Key is 1 to {KEY} visible characters"))
    })?;
    Ok(Some(key.to_owned()))
}

/// The job of a request; recordings that come along are kept in the folder.
async fn take(inspection: &Inspection, folder: &FilePath, request: Request) -> Result<JobRequest, Problem> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "multipart/form-data" => {
            let form = Multipart::from_request(request, &()).await;
            let form = form.map_err(|error| Problem::because(catalogue::QA_INVALID, error.body_text()))?;
            form_of(inspection, folder, form).await
        }
        "application/json" => {
            let body = axum::body::to_bytes(request.into_body(), DESCRIPTION).await;
            let body = body.map_err(|_| Problem::of(catalogue::BODY_TOO_LARGE))?;
            parse(&body)
        }
        _ => Err(Problem::because(catalogue::BODY_TYPE, "application/json or multipart/form-data")),
    }
}

fn parse(body: &[u8]) -> Result<JobRequest, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::because(catalogue::QA_INVALID, error.to_string()))
}

/// A form: `job` (JSON), `manifest` (a file of CSV or JSONL) and any number of `file`.
async fn form_of(
    inspection: &Inspection,
    folder: &FilePath,
    mut form: Multipart,
) -> Result<JobRequest, Problem> {
    let broken = |error: axum::extract::multipart::MultipartError| {
        Problem::because(catalogue::QA_INVALID, format!("the form cannot be read: {}", error.body_text()))
    };
    let invalid = |detail: String| Problem::because(catalogue::QA_INVALID, detail);
    let (mut job, mut manifest, mut uploads) = (None, None, Vec::new());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        match field.name().unwrap_or_default() {
            "job" => job = Some(parse(&text(field).await?)?),
            "manifest" => {
                let lines = field.file_name().is_some_and(|name| name.ends_with("l"));
                let body = text(field).await?;
                let body =
                    String::from_utf8(body.to_vec()).map_err(|_| invalid("manifest is not UTF-8".into()))?;
                manifest = Some(if lines { Manifest::Jsonl(body) } else { Manifest::Csv(body) });
            }
            "file" => {
                let name = field.file_name().filter(|name| !name.is_empty()).map(str::to_owned);
                let name = name.ok_or_else(|| invalid("a `file` has no filename".into()))?;
                if uploads.contains(&name) {
                    return Err(invalid(format!("two files are named {}", name.escape_debug())));
                }
                keep(inspection, folder, &name, field).await?;
                uploads.push(name);
            }
            other => {
                return Err(invalid(format!(
                    "the form has a field `{}`; it takes job, manifest and file",
                    other.escape_debug()
                )));
            }
        }
    }
    let mut job: JobRequest = job.ok_or_else(|| invalid("the form has no field `job`".into()))?;
    if manifest.is_some() {
        job.manifest = manifest;
    }
    // What came along and is named nowhere is a recording of the job as it is.
    let named = named_uploads(&job);
    job.files.extend(uploads.into_iter().filter(|name| !named.contains(name)).map(|name| FileRequest {
        source: Source::Upload(name),
        name: None,
        language: None,
        channels: None,
        metadata: Default::default(),
    }));
    Ok(job)
}

fn named_uploads(job: &JobRequest) -> Vec<String> {
    fn collect(source: &Source, names: &mut Vec<String>) {
        match source {
            Source::Upload(name) => names.push(name.clone()),
            Source::Sides { customer, agent } => {
                collect(customer, names);
                collect(agent, names);
            }
            _ => {}
        }
    }
    let mut names = Vec::new();
    // A manifest that cannot be read is told when the job is looked at.
    for (file, _) in job.all_files().unwrap_or_default() {
        collect(&file.source, &mut names);
    }
    names
}

async fn text(mut field: Field<'_>) -> Result<Bytes, Problem> {
    let mut text = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(|_| Problem::of(catalogue::BODY_INVALID))? {
        if text.len() + piece.len() > DESCRIPTION {
            return Err(Problem::of(catalogue::BODY_TOO_LARGE));
        }
        text.extend_from_slice(&piece);
    }
    Ok(text.into())
}

/// Writes a recording into the job's folder.
async fn keep(
    inspection: &Inspection,
    folder: &FilePath,
    name: &str,
    mut field: Field<'_>,
) -> Result<PathBuf, Problem> {
    let cannot = |error: std::io::Error| {
        tracing::error!(%error, "an uploaded recording could not be kept");
        Problem::of(catalogue::STORE_FAILED)
    };
    tokio::fs::create_dir_all(folder).await.map_err(cannot)?;
    let path = folder.join(upload_name(name));
    let mut file = tokio::fs::File::create(&path).await.map_err(cannot)?;
    let (mut size, largest) = (0_u64, inspection.config().largest_mib << 20);
    while let Some(piece) = field.chunk().await.map_err(|_| Problem::of(catalogue::BODY_INVALID))? {
        size += piece.len() as u64;
        if size > largest {
            return Err(Problem::because(
                catalogue::BODY_TOO_LARGE,
                format!("{} is larger than qa.largest_mib", name.escape_debug()),
            ));
        }
        file.write_all(&piece).await.map_err(cannot)?;
    }
    file.flush().await.map_err(cannot)?;
    Ok(path)
}
