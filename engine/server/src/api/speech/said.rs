//! Text to speech.

use std::sync::Arc;

use antiphon_engine_service::openai::{self, Audio, PCM_RATE, Speech};
use antiphon_media_codec::resample;
use antiphon_media_record::wav_mono;
use antiphon_models_speech::SynthesizeError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::Api;
use crate::mouth::MouthError;

/// `POST /v1/audio/speech`
pub(in super::super) async fn speech(State(api): State<Arc<Api>>, body: Bytes) -> Response {
    let refuse = |message: &str, param: Option<&str>| {
        let body = openai::error("invalid_request_error", message, param, None);
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    };
    let asked = match Speech::read(&body) {
        Ok(asked) => asked,
        Err(refusal) => return refuse(&refusal.to_string(), None),
    };
    if !matches!(asked.response_format, Audio::Wav | Audio::Pcm) {
        return refuse(
            "response_format must be wav or pcm: this server codes no others",
            Some("response_format"),
        );
    }
    let shared = match api.shared() {
        Ok(shared) => Arc::clone(shared),
        Err(problem) => return problem.into_response(),
    };
    let request = asked.request(&shared.language());
    let made = tokio::task::spawn_blocking(move || {
        let mut stream = shared.mouth.speak(&request)?;
        let mut pcm = Vec::new();
        while let Some(chunk) = stream.next_chunk()? {
            pcm.extend(chunk.pcm);
        }
        Ok::<_, MouthError>((pcm, stream.rate()))
    });
    let (pcm, rate) = match made.await {
        Ok(Ok(made)) => made,
        Ok(Err(MouthError::Synthesize(
            error @ (SynthesizeError::Voice { .. } | SynthesizeError::Text { .. }),
        ))) => return refuse(&error.to_string(), Some("voice")),
        Ok(Err(error @ MouthError::NoVoice { .. })) => return refuse(&error.to_string(), None),
        Ok(Err(error)) => return failed(&error.to_string()),
        Err(_) => return failed("the voice broke down"),
    };
    let kind = HeaderValue::from_static(asked.response_format.media_type());
    let octets = match asked.response_format {
        Audio::Pcm => octets(&resample(&pcm, rate, PCM_RATE)),
        _ => match wav_mono(&pcm, rate) {
            Ok(octets) => octets,
            Err(error) => return failed(&error.to_string()),
        },
    };
    ([(header::CONTENT_TYPE, kind)], octets).into_response()
}

fn failed(message: &str) -> Response {
    let body = openai::error("server_error", message, None, None);
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

fn octets(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}
