//! Whole recordings in one request.

use std::io::{Seek, Write};
use std::sync::Arc;

use antiphon_engine_service::deepgram::{self, Options};
use antiphon_engine_service::openai::{self, Transcription};
use antiphon_engine_service::{Coding, Format, Identify, Query, Refusal, Settings};
use antiphon_media_frame::Span;
use antiphon_media_record::AudioReader;
use antiphon_models_pool::{Class, PoolError, StreamEvent};
use antiphon_models_speech::{Language, Utterance, append};
use antiphon_models_text::Style;
use axum::Json;
use axum::body::Body;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Extension, Multipart, OriginalUri, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tempfile::NamedTempFile;

use super::super::Api;
use super::super::guard::Rights;
use super::super::problem::whole_seconds;
use super::{ask, query, request_id};
use crate::ahead::read_ahead;
use crate::hearing::{Hearing, HearingError};
use crate::setup::retry_after;
use crate::shared::Shared;

/// The largest file: a recording of three hours in stereo at 16 kHz.
pub(in super::super) const FILE: u64 = 1 << 30;
/// The largest field of a form that is not the file.
const FIELD: usize = 64 * 1024;

/// Why a recording was not heard.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("{0}")]
    Refused(Refusal),
    #[error("the file is larger than {} MiB", FILE >> 20)]
    TooLarge,
    #[error("the recording cannot be read: {0}")]
    File(String),
    #[error("the request broke off")]
    BrokeOff,
    #[error("cannot keep the recording while it is heard: {0}")]
    Disk(#[from] std::io::Error),
    #[error(transparent)]
    Hearing(#[from] HearingError),
}

impl PostError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Refused(_) | Self::File(_) | Self::BrokeOff | Self::Hearing(HearingError::Identify(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Hearing(HearingError::Pool(PoolError::Refused(_))) => StatusCode::TOO_MANY_REQUESTS,
            Self::Disk(_) | Self::Hearing(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// When to come back, in seconds.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Hearing(HearingError::Pool(error)) => retry_after(error).map(whole_seconds),
            _ => None,
        }
    }

    fn respond(&self, body: serde_json::Value) -> Response {
        let mut response = (self.status(), Json(body)).into_response();
        if let Some(after) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        response
    }
}

/// `POST /v1/listen`
pub(in super::super) async fn listen(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    OriginalUri(uri): OriginalUri,
    body: Body,
) -> Response {
    let id = request_id();
    let heard = async {
        let shared = api.shared().map_err(|_| HearingError::Deaf)?;
        let options = Options::recorded(&query(&uri)).map_err(PostError::Refused)?;
        let file = keep(body).await?;
        let recording = hear(shared, &rights, options.settings(), &file).await?;
        Ok::<_, PostError>(deepgram::recorded(&options, &id, recording.duration, &recording.channels))
    };
    match heard.await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => error.respond(deepgram::error("Bad Request", &Refusal::new(error.to_string()), &id)),
    }
}

/// `POST /v1/audio/transcriptions`
pub(in super::super) async fn transcriptions(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let heard = async {
        let shared = api.shared().map_err(|_| HearingError::Deaf)?;
        let form = form.map_err(|error| PostError::Refused(Refusal::new(error.body_text())))?;
        let (fields, file) = take_apart(form).await?;
        let asked = Transcription::read(&fields).map_err(PostError::Refused)?;
        let settings = settings(asked.language.clone(), asked.hints.clone());
        let Recording { duration, channels } = hear(shared, &rights, &settings, &file).await?;
        let mut said: Vec<Utterance> = channels.into_iter().flatten().collect();
        said.sort_by_key(|said| said.start);
        let found = longest(&said).or_else(|| asked.language.clone());
        let language = found.unwrap_or_else(|| shared.language(&ask(shared, &rights, Class::Batch).tenant));
        Ok::<_, PostError>((asked, language, duration, said))
    };
    match heard.await {
        Ok((asked, _, _, said)) if asked.stream => events(&said),
        Ok((asked, language, duration, said)) => {
            let (answer, kind) = asked.answer(&name(&language), duration, &said);
            ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], answer).into_response()
        }
        Err(error) => {
            let kind = match error.status() {
                StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
                status if status.is_server_error() => "server_error",
                _ => "invalid_request_error",
            };
            error.respond(openai::error(kind, &error.to_string(), None, None))
        }
    }
}

/// The language most was said in, where it was found out.
fn longest(said: &[Utterance]) -> Option<Language> {
    let mut spans: Vec<(&Language, Span)> = Vec::new();
    for said in said {
        let Some(language) = &said.language else { continue };
        match spans.iter_mut().find(|(known, _)| *known == language) {
            Some((_, sum)) => *sum += said.span(),
            None => spans.push((language, said.span())),
        }
    }
    spans.into_iter().max_by_key(|(_, span)| *span).map(|(language, _)| language.clone())
}

/// OpenAI calls languages by their names.
fn name(language: &Language) -> String {
    let primary = language.primary();
    let name = match primary.as_str() {
        "ar" => "arabic",
        "de" => "german",
        "en" => "english",
        "es" => "spanish",
        "fr" => "french",
        "it" => "italian",
        "ja" => "japanese",
        "ko" => "korean",
        "nl" => "dutch",
        "pt" => "portuguese",
        "ru" => "russian",
        "yue" => "cantonese",
        "zh" => "chinese",
        other => other,
    };
    name.to_owned()
}

fn events(said: &[Utterance]) -> Response {
    let mut text = String::new();
    let mut whole = String::new();
    for said in said {
        let before = whole.len();
        append(&mut whole, &said.text);
        text.push_str(&format!("data: {}\n\n", openai::delta(&whole[before..])));
    }
    text.push_str(&format!("data: {}\n\n", openai::done(&whole)));
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))], text).into_response()
}

fn settings(language: Option<Language>, hints: antiphon_models_speech::Hints) -> Settings {
    let rate = antiphon_media_frame::SampleRate::HZ_16000;
    let format = Format { coding: Coding::Linear16, rate, channels: 1 };
    let identify = if language.is_none() { Identify::WhereAble } else { Identify::No };
    Settings { format, language, identify, hints, endpoint: None, style: Style::default(), idle: None }
}

/// The fields of a form as text, and its file on disk.
async fn take_apart(mut form: Multipart) -> Result<(Query, NamedTempFile), PostError> {
    let (mut fields, mut file) = (Vec::new(), None);
    let broken = |error: axum::extract::multipart::MultipartError| {
        PostError::Refused(Refusal::new(format!("the form cannot be read: {}", error.body_text())))
    };
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" {
            let mut kept = NamedTempFile::new()?;
            let mut size = 0;
            while let Some(piece) = field.chunk().await.map_err(broken)? {
                size += piece.len() as u64;
                if size > FILE {
                    return Err(PostError::TooLarge);
                }
                kept.write_all(&piece)?;
            }
            file = Some(kept);
        } else {
            let mut text = Vec::new();
            while let Some(piece) = field.chunk().await.map_err(broken)? {
                if text.len() + piece.len() > FIELD || fields.len() >= 100 {
                    let refusal =
                        Refusal::new(format!("the field {name} is larger than {} KiB", FIELD >> 10));
                    return Err(PostError::Refused(refusal));
                }
                text.extend_from_slice(&piece);
            }
            fields.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    let file = file.ok_or_else(|| PostError::Refused(Refusal::new("the form has no field `file`")))?;
    Ok((Query::new(fields), file))
}

async fn keep(body: Body) -> Result<NamedTempFile, PostError> {
    let mut file = NamedTempFile::new()?;
    let mut stream = body.into_data_stream();
    let mut size = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| PostError::BrokeOff)?;
        size += piece.len() as u64;
        if size > FILE {
            return Err(PostError::TooLarge);
        }
        file.write_all(&piece)?;
    }
    if size == 0 {
        return Err(PostError::File("there is nothing in it".to_owned()));
    }
    file.rewind()?;
    Ok(file)
}

/// What was said in a recording.
struct Recording {
    duration: Span,
    channels: Vec<Vec<Utterance>>,
}

/// Hears a file through the pool, as batch work.
async fn hear(
    shared: &Arc<Shared>,
    rights: &Rights,
    settings: &Settings,
    file: &NamedTempFile,
) -> Result<Recording, PostError> {
    let path = file.path().to_owned();
    let open = move || AudioReader::open(&path).map_err(|error| PostError::File(error.to_string()));
    let reader = tokio::task::spawn_blocking(open).await.map_err(|_| PostError::BrokeOff)??;
    let format = Format { coding: Coding::Linear16, rate: reader.rate(), channels: reader.channels() };
    let settings = Settings { format, ..settings.clone() };
    let ask = ask(shared, rights, Class::Batch);
    let (means, language) = (shared.means(&ask.tenant), shared.language(&ask.tenant));
    let (mut hearing, mut told) = Hearing::open(means, language, &ask, &settings).await?;
    hearing.want_partials(false);
    let (mut blocks, _reading) = read_ahead(reader, |reader| {
        let mut block = Vec::new();
        let read = reader.next_block(&mut block);
        read.map(|more| more.then_some(block)).map_err(|error| PostError::File(error.to_string()))
    });
    let mut channels = vec![Vec::new(); format.channels];
    let mut take = |(channel, event): (usize, StreamEvent)| {
        if let (StreamEvent::Final(words), Some(channel)) = (event, channels.get_mut(channel)) {
            channel.push(words);
        }
    };
    while let Some(block) = blocks.recv().await {
        hearing.push_pcm(&block?).await?;
        while let Some(event) = told.try_recv() {
            take(event);
        }
    }
    let duration = hearing.duration();
    hearing.finish().await?;
    while let Some(event) = told.recv().await {
        take(event);
    }
    Ok(Recording { duration, channels })
}
