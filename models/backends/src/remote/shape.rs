//! What each service wants to be sent over its WebSocket, and what it answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Asked, Said, SaidWord};
use crate::settings::RemoteShape;

/// A message to a service.
#[derive(Debug)]
pub(super) enum Message {
    Text(String),
    Binary(Vec<u8>),
}

/// What an answer means.
#[derive(Debug)]
pub(super) enum Meaning {
    Nothing,
    Partial(String),
    /// A part of the utterance is final; more may come.
    Part(Said),
    /// All of it has been told.
    Done,
    Refused(String),
}

/// The URL with everything that a service wants to read there.
pub(super) fn url(asked: &Asked) -> String {
    let base = &asked.settings.url;
    if asked.settings.shape != RemoteShape::Deepgram {
        return base.clone();
    }
    let mut url = format!("{base}{}", if base.contains('?') { '&' } else { '?' });
    url.push_str(&format!(
        "encoding=linear16&sample_rate={}&channels=1&interim_results=true&endpointing=false&language={}",
        asked.rate.hz(),
        escaped(&asked.language)
    ));
    if let Some(model) = &asked.settings.model {
        url.push_str(&format!("&model={}", escaped(model)));
    }
    for phrase in asked.phrases.iter().take(100) {
        url.push_str(&format!("&keywords={}", escaped(phrase)));
    }
    url
}

/// Percent-encoding of a parameter (RFC 3986, section 2.1).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What the header Authorization says, where there is a key.
pub(super) fn authorization(asked: &Asked) -> Option<String> {
    let key = asked.settings.key.expose();
    let scheme = if asked.settings.shape == RemoteShape::Deepgram { "Token" } else { "Bearer" };
    (!key.is_empty()).then(|| format!("{scheme} {key}"))
}

/// What comes before the sound.
pub(super) fn opening(asked: &Asked) -> Vec<Message> {
    let text = |value: Value| vec![Message::Text(value.to_string())];
    let phrases: Vec<&String> = asked.phrases.iter().take(500).collect();
    match asked.settings.shape {
        RemoteShape::Deepgram | RemoteShape::Openai => Vec::new(),
        RemoteShape::Vosk => {
            // A list would shut everything else out.
            text(json!({ "config": { "sample_rate": asked.rate.hz(), "words": true } }))
        }
        RemoteShape::Funasr => {
            let hot: serde_json::Map<String, Value> =
                phrases.iter().map(|p| ((*p).clone(), json!(20))).collect();
            text(json!({
                "mode": "2pass",
                "chunk_size": [5, 10, 5],
                "chunk_interval": 10,
                "wav_name": "call",
                "wav_format": "pcm",
                "audio_fs": asked.rate.hz(),
                "is_speaking": true,
                "hotwords": Value::Object(hot).to_string(),
                "itn": false,
            }))
        }
        RemoteShape::Realtime => text(json!({
            "type": "session.update",
            "session": {
                "type": "transcription",
                "audio": { "input": {
                    "format": { "type": "audio/pcm", "rate": 24_000 },
                    "transcription": {
                        "model": asked.settings.model.as_deref().unwrap_or("gpt-4o-transcribe"),
                        "language": asked.language.split('-').next(),
                        "prompt": phrases.iter().map(|p| p.as_str()).collect::<Vec<_>>().join(", "),
                    },
                    "turn_detection": Value::Null,
                } },
            },
        })),
    }
}

/// Sound as the service takes it.
pub(super) fn sound(asked: &Asked, pcm: &[i16]) -> Message {
    if asked.settings.shape != RemoteShape::Realtime {
        return Message::Binary(pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect());
    }
    // It takes 24 kHz alone: three samples for one of 8 kHz, three for two of 16 kHz, on the line between neighbours.
    let ratio = f64::from(asked.rate.hz()) / 24_000.0;
    let count = (pcm.len() as f64 / ratio) as usize;
    let at = |n: usize| f64::from(pcm[n.min(pcm.len() - 1)]);
    let octets: Vec<u8> = (0..count)
        .flat_map(|n| {
            let place = n as f64 * ratio;
            let (index, part) = (place as usize, place.fract());
            ((at(index) * (1.0 - part) + at(index + 1) * part) as i16).to_le_bytes()
        })
        .collect();
    let audio = STANDARD.encode(octets);
    Message::Text(json!({ "type": "input_audio_buffer.append", "audio": audio }).to_string())
}

/// What says that nothing follows.
pub(super) fn ending(asked: &Asked) -> Message {
    let value = match asked.settings.shape {
        RemoteShape::Deepgram | RemoteShape::Openai => json!({ "type": "CloseStream" }),
        RemoteShape::Vosk => json!({ "eof": 1 }),
        RemoteShape::Funasr => json!({ "is_speaking": false }),
        RemoteShape::Realtime => json!({ "type": "input_audio_buffer.commit" }),
    };
    Message::Text(value.to_string())
}

/// Reads an answer. `ended`: the end has been said.
pub(super) fn read(asked: &Asked, text: &str, ended: bool) -> Meaning {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Meaning::Refused("the service answers with something that is no JSON".to_owned());
    };
    match asked.settings.shape {
        RemoteShape::Deepgram | RemoteShape::Openai => deepgram(&value),
        RemoteShape::Vosk => vosk(&value, ended),
        RemoteShape::Funasr => funasr(&value),
        RemoteShape::Realtime => realtime(&value),
    }
}

fn deepgram(value: &Value) -> Meaning {
    match value["type"].as_str() {
        Some("Results") => {
            let best = &value["channel"]["alternatives"][0];
            let text = best["transcript"].as_str().unwrap_or_default().to_owned();
            if value["is_final"] == false {
                return if text.is_empty() { Meaning::Nothing } else { Meaning::Partial(text) };
            }
            let words = list(&best["words"], |word| {
                let text = word["punctuated_word"].as_str().or_else(|| word["word"].as_str())?;
                timed(text, &word["start"], &word["end"], &word["confidence"])
            });
            Meaning::Part(Said { text, words, confidence: number(&best["confidence"]) as f32 })
        }
        Some("Metadata") => Meaning::Done,
        Some("Error") => {
            Meaning::Refused(value["description"].as_str().unwrap_or("it does not say why").to_owned())
        }
        _ => Meaning::Nothing,
    }
}

fn vosk(value: &Value, ended: bool) -> Meaning {
    if let Some(text) = value["partial"].as_str() {
        return if text.is_empty() { Meaning::Nothing } else { Meaning::Partial(text.to_owned()) };
    }
    let Some(text) = value["text"].as_str() else { return Meaning::Nothing };
    let words = list(&value["result"], |word| {
        timed(word["word"].as_str()?, &word["start"], &word["end"], &word["conf"])
    });
    let confidence = words.iter().map(|word| word.confidence).sum::<f32>() / words.len().max(1) as f32;
    let said = Said { text: text.to_owned(), words, confidence };
    // After the end there is one result, which is the last; the socket closes behind it.
    if ended && said.text.is_empty() { Meaning::Done } else { Meaning::Part(said) }
}

fn funasr(value: &Value) -> Meaning {
    let text = value["text"].as_str().unwrap_or_default().to_owned();
    let mode = value["mode"].as_str().unwrap_or_default();
    if let Some(error) = value["error"].as_str() {
        return Meaning::Refused(error.to_owned());
    }
    if mode.ends_with("online") {
        return if text.is_empty() { Meaning::Nothing } else { Meaning::Partial(text) };
    }
    if text.is_empty() {
        return if value["is_final"] == true { Meaning::Done } else { Meaning::Nothing };
    }
    let stamps: Vec<(f64, f64)> = value["timestamp"]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .map(|list: Vec<(f64, f64)>| list.into_iter().map(|(a, b)| (a / 1e3, b / 1e3)).collect())
        .unwrap_or_default();
    // A stamp for each word, or for each character of languages written without spaces.
    let spaced: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let each: Vec<String> = text.chars().filter(|c| c.is_alphanumeric()).map(String::from).collect();
    let pieces = if spaced.len() == stamps.len() { spaced } else { each };
    let words = if pieces.len() == stamps.len() {
        pieces
            .into_iter()
            .zip(stamps)
            .map(|(text, (start, end))| SaidWord { text, start, end, confidence: 1.0 })
            .collect()
    } else {
        Vec::new()
    };
    Meaning::Part(Said { text, words, confidence: 1.0 })
}

fn realtime(value: &Value) -> Meaning {
    match value["type"].as_str().unwrap_or_default() {
        "conversation.item.input_audio_transcription.delta" => {
            Meaning::Partial(value["delta"].as_str().unwrap_or_default().to_owned())
        }
        "conversation.item.input_audio_transcription.completed" => Meaning::Part(Said {
            text: value["transcript"].as_str().unwrap_or_default().trim().to_owned(),
            words: Vec::new(),
            confidence: 1.0,
        }),
        "conversation.item.input_audio_transcription.failed" | "error" => {
            Meaning::Refused(value["error"]["message"].as_str().unwrap_or("it does not say why").to_owned())
        }
        _ => Meaning::Nothing,
    }
}

pub(super) fn list(value: &Value, read: impl Fn(&Value) -> Option<SaidWord>) -> Vec<SaidWord> {
    value.as_array().map(|list| list.iter().filter_map(read).collect()).unwrap_or_default()
}

pub(super) fn timed(text: &str, start: &Value, end: &Value, confidence: &Value) -> Option<SaidWord> {
    let confidence = confidence.as_f64().unwrap_or(1.0) as f32;
    Some(SaidWord { text: text.to_owned(), start: start.as_f64()?, end: end.as_f64()?, confidence })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(1.0)
}
