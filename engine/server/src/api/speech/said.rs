//! Text to speech, sent while it is made.

mod coder;
mod flac;
mod mp3;
mod ogg_opus;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_service::openai::{self, Audio, Speech};
use antiphon_media_frame::AudioBuf;
use antiphon_models_pool::Class;
use antiphon_models_speech::{SpeechRequest, SpeechStream, SynthesizeError};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};

use super::super::Api;
use super::super::guard::Rights;
use super::ask;
use crate::mouth::MouthError;
use crate::shared::Shared;
use coder::Coder;

/// Pieces of sound that wait for the client.
const PIECES: usize = 8;
/// A client that takes nothing for this long is gone.
const STALL: Duration = Duration::from_secs(30);

/// `POST /v1/audio/speech`
pub(in super::super) async fn speech(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    body: Bytes,
) -> Response {
    let asked = match Speech::read(&body) {
        Ok(asked) => asked,
        Err(refusal) => return refuse(&refusal.to_string(), None),
    };
    let format = match (asked.response_format, mp3::available()) {
        (Some(Audio::Aac), _) => {
            let message = "response_format must be mp3, opus, flac, wav or pcm: aac is not written here";
            return refuse(message, Some("response_format"));
        }
        (Some(Audio::Mp3), false) => {
            let message = "response_format must be opus, flac, wav or pcm: mp3 wants the library libmp3lame on the server \
                           (Debian: libmp3lame0)";
            return refuse(message, Some("response_format"));
        }
        (Some(format), _) => format,
        // OpenAI's own default; where it cannot be, what every player knows, and the media type says so.
        (None, true) => Audio::Mp3,
        (None, false) => Audio::Wav,
    };
    let shared = match api.shared() {
        Ok(shared) => Arc::clone(shared),
        Err(problem) => return problem.into_response(),
    };
    let request = asked.request(&shared.language(&ask(&shared, &rights, Class::Live).tenant));
    let (begun, beginning) = oneshot::channel();
    let (pieces, coded) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || match begin(&shared, &request, format) {
        Ok(speaking) => {
            if begun.send(Ok(())).is_ok() {
                speaking.run(&pieces);
            }
        }
        Err(error) => drop(begun.send(Err(error))),
    });
    match beginning.await {
        Ok(Ok(())) => {}
        Ok(Err(MouthError::Synthesize(
            error @ (SynthesizeError::Voice { .. } | SynthesizeError::Text { .. }),
        ))) => return refuse(&error.to_string(), Some("voice")),
        Ok(Err(error @ MouthError::NoVoice { .. })) => return refuse(&error.to_string(), None),
        Ok(Err(error)) => return failed(&error.to_string()),
        Err(_) => return failed("the voice broke down"),
    }
    let kind = HeaderValue::from_static(format.media_type());
    let pieces = stream::unfold(coded, async |mut coded| coded.recv().await.map(|piece| (piece, coded)));
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response()
}

fn refuse(message: &str, param: Option<&str>) -> Response {
    let body = openai::error("invalid_request_error", message, param, None);
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

fn failed(message: &str) -> Response {
    let body = openai::error("server_error", message, None, None);
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// Speech whose first sound is there.
struct Speaking {
    first: Option<AudioBuf>,
    stream: Box<dyn SpeechStream>,
    coder: Coder,
}

/// Waits for the first sound, so that what is known before it is answered with an error.
fn begin(shared: &Shared, request: &SpeechRequest, format: Audio) -> Result<Speaking, MouthError> {
    let mut stream = shared.mouth.speak(request)?;
    let first = stream.next_chunk()?;
    let coder = Coder::new(format, stream.rate())
        .map_err(|message| SynthesizeError::Engine { engine: "coder", message })?;
    Ok(Speaking { first, stream, coder })
}

impl Speaking {
    /// Speaks until the end or until nobody listens any more.
    fn run(mut self, pieces: &mpsc::Sender<Result<Bytes, io::Error>>) {
        let runtime = tokio::runtime::Handle::current();
        let send = |piece: Result<Bytes, io::Error>| {
            runtime.block_on(async {
                matches!(tokio::time::timeout(STALL, pieces.send(piece)).await, Ok(Ok(())))
            })
        };
        let mut out = Vec::new();
        let mut next: Result<_, SynthesizeError> = Ok(self.first.take());
        let mut done = false;
        while !done {
            let coded = match next {
                Ok(Some(chunk)) => self.coder.add(&chunk.pcm, &mut out),
                Ok(None) => {
                    done = true;
                    self.coder.finish(&mut out)
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = coded {
                // The body ends without its end, by which the client knows.
                tracing::warn!(%error, "speech broke off");
                send(Err(io::Error::other(error)));
                return;
            }
            if !out.is_empty() && !send(Ok(std::mem::take(&mut out).into())) {
                return;
            }
            next = if done { Ok(None) } else { self.stream.next_chunk() };
        }
    }
}
