//! An utterance in one HTTP request, as OpenAI's `/v1/audio/transcriptions` takes it.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::shape::{authorization, list, timed};
use super::{Asked, News, Said, Teller, figures};
use crate::wav;

/// Separates the parts of the form; no WAV of ours contains it.
const BOUNDARY: &str = "----antiphon-9f1c2e7b54a04c0d";
/// How long until it is tried again; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits for the whole utterance, then asks. There are no interim words.
pub(super) async fn utterance(asked: &Asked, mut pieces: mpsc::Receiver<Vec<i16>>, tell: &Teller) {
    figures::requested();
    let mut pcm = Vec::new();
    while let Some(piece) = pieces.recv().await {
        pcm.extend(piece);
    }
    let asked = asked.clone();
    let outcome = tokio::task::spawn_blocking(move || ask(&asked, &pcm)).await;
    let news = match outcome {
        Ok(Ok(said)) => News::Final(said),
        Ok(Err((message, late))) => {
            figures::gave_up(late);
            News::Failed(message)
        }
        Err(_) => News::Failed("the request's thread broke down".to_owned()),
    };
    tell.last(news).await;
}

#[expect(clippy::disallowed_methods, reason = "a request that failed waits before it is made again")]
fn ask(asked: &Asked, pcm: &[i16]) -> Result<Said, (String, bool)> {
    let body = form(asked, pcm);
    let mut pause = PAUSE;
    for attempt in 0.. {
        figures::sent(asked.rate.span(pcm.len()));
        let (message, again, late) = match post(asked, &body) {
            Ok(answer) => return Ok(read(&answer)),
            Err(failure) => failure,
        };
        if !again || attempt >= asked.settings.retries {
            return Err((message, late));
        }
        figures::tried_again();
        std::thread::sleep(pause);
        pause *= 2;
    }
    Err(("no attempt was made".to_owned(), false))
}

/// Why it failed, whether another attempt may do better, and whether it was for want of time.
type Failure = (String, bool, bool);

fn post(asked: &Asked, body: &[u8]) -> Result<Value, Failure> {
    let mut request = ureq::post(&asked.settings.url)
        .config()
        .timeout_connect(Some(asked.settings.connect().into()))
        .timeout_global(Some(
            Duration::from(asked.settings.connect()) + Duration::from(asked.settings.answer()),
        ))
        .http_status_as_error(false)
        .build()
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
    if let Some(value) = authorization(asked) {
        request = request.header("authorization", value);
    }
    let mut answer = match request.send(body) {
        Ok(answer) => answer,
        Err(ureq::Error::Timeout(which)) => {
            return Err((format!("no answer in time ({which})"), false, true));
        }
        Err(error) => return Err((error.to_string(), true, false)),
    };
    let status = answer.status();
    let text = answer.body_mut().read_to_string().map_err(|error| (error.to_string(), true, false))?;
    let value: Option<Value> = serde_json::from_str(&text).ok();
    if status.is_success() {
        return value.ok_or(("the service answers with something that is no JSON".to_owned(), false, false));
    }
    let message = value.as_ref().and_then(|value| value["error"]["message"].as_str()).unwrap_or_default();
    let again = status.is_server_error() || status.as_u16() == 429;
    Err((
        format!("the service answers {status} {}", message.chars().take(200).collect::<String>()),
        again,
        false,
    ))
}

fn read(value: &Value) -> Said {
    let words = list(&value["words"], |word| {
        timed(word["word"].as_str()?, &word["start"], &word["end"], &Value::Null)
    });
    let segments = value["segments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let likely: f64 =
        segments.iter().filter_map(|segment| segment["avg_logprob"].as_f64()).map(f64::exp).sum();
    let confidence = if segments.is_empty() { 1.0 } else { likely / segments.len() as f64 };
    Said {
        text: value["text"].as_str().unwrap_or_default().trim().to_owned(),
        words,
        confidence: confidence as f32,
    }
}

fn form(asked: &Asked, pcm: &[i16]) -> Vec<u8> {
    let mut body = Vec::with_capacity(pcm.len() * 2 + 1_024);
    let mut field = |name: &str, value: &str| {
        let part =
            format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    };
    field("model", asked.settings.model.as_deref().unwrap_or("whisper-1"));
    field("response_format", "verbose_json");
    field("timestamp_granularities[]", "word");
    if let Some(language) = asked.language.split('-').next() {
        field("language", language);
    }
    if !asked.phrases.is_empty() {
        // The service reads some 220 tokens of it.
        let prompt: String = asked.phrases.join(", ").chars().take(600).collect();
        field("prompt", &prompt);
    }
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"utterance.wav\"\r\n\
         content-type: audio/wav\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&wav::header(asked.rate, (pcm.len() * 2) as u32));
    body.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}
