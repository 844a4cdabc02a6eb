//! OpenAI's Realtime API, transcription sessions (`/v1/realtime?intent=transcription`): audio in base64, words as items.

use std::collections::VecDeque;

use antiphon_media_frame::{SampleRate, Span};
use antiphon_models_speech::{Hints, Language, append};
use antiphon_models_text::Style;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::dialect::{self, language, phrases};
use crate::{Coding, Demand, Dialect, Format, Heard, Identify, Incoming, Outgoing, Refusal, Settings};

/// Items that are still being told, at most.
const OPEN: usize = 64;

/// A session.
pub struct Realtime {
    settings: Settings,
    id: String,
    /// Of the last event and the last item.
    events: u64,
    items: u64,
    /// The item under way.
    item: Option<String>,
    last: Option<String>,
    text: String,
    /// Items that the client committed and whose words are not out yet.
    committed: VecDeque<String>,
    /// Whether the server finds the ends of turns.
    vad: bool,
    began: bool,
}

impl Realtime {
    /// `id` names the session.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            settings: Settings {
                format: Format { coding: Coding::Linear16, rate: SampleRate::HZ_24000, channels: 1 },
                language: None,
                hints: Hints::default(),
                endpoint: Some(Span::from_millis(500)),
                identify: Identify::WhereAble,
                style: Style::default(),
                idle: None,
            },
            id: format!("sess_{id}"),
            events: 0,
            items: 0,
            item: None,
            last: None,
            text: String::new(),
            committed: VecDeque::new(),
            vad: true,
            began: false,
        }
    }

    fn event(&mut self, kind: &str, members: Value) -> Outgoing {
        self.events += 1;
        let mut event = json!({ "type": kind, "event_id": format!("event_{}", self.events) });
        if let (Some(event), Value::Object(members)) = (event.as_object_mut(), members) {
            event.extend(members);
        }
        Outgoing::Text(event.to_string())
    }

    fn session(&self) -> Value {
        let format = match self.settings.format.coding {
            Coding::Mulaw => json!({ "type": "audio/pcmu" }),
            Coding::Alaw => json!({ "type": "audio/pcma" }),
            Coding::Linear16 | Coding::Float32 => json!({ "type": "audio/pcm", "rate": 24_000 }),
        };
        let silence = self.settings.endpoint.map_or(500, Span::millis);
        let detection = if self.vad {
            json!({ "type": "server_vad", "silence_duration_ms": silence })
        } else {
            Value::Null
        };
        json!({ "session": {
            "id": self.id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": { "input": {
                "format": format,
                "turn_detection": detection,
                "transcription": { "language": self.settings.language.as_ref().map(Language::tag) },
            } },
        } })
    }

    /// Takes the new nested form and the flat one of the beta.
    fn update(&mut self, session: &Value) -> Result<(), Refusal> {
        let input = &session["audio"]["input"];
        let format = session.get("input_audio_format").or_else(|| input.get("format"));
        if let Some(format) = format.filter(|format| !format.is_null()) {
            let name = format.as_str().or_else(|| format["type"].as_str()).unwrap_or_default();
            let known = match name {
                "pcm16" | "audio/pcm" => (Coding::Linear16, format["rate"].as_u64().unwrap_or(24_000)),
                "g711_ulaw" | "audio/pcmu" => (Coding::Mulaw, 8_000),
                "g711_alaw" | "audio/pcma" => (Coding::Alaw, 8_000),
                other => return Err(Refusal::of("format", other, "audio/pcm, audio/pcmu or audio/pcma")),
            };
            let format = Format::new(known.0, known.1, 1)?;
            if self.began && format != self.settings.format {
                return Err(Refusal::new("the format cannot change once audio has come"));
            }
            self.settings.format = format;
        }
        let transcription = session.get("input_audio_transcription").or_else(|| input.get("transcription"));
        if let Some(transcription) = transcription {
            if let Some(tag) = transcription["language"].as_str() {
                self.settings.language = language("language", tag)?;
                self.settings.identify =
                    if self.settings.language.is_none() { Identify::WhereAble } else { Identify::No };
            }
            if let Some(prompt) = transcription["prompt"].as_str() {
                self.settings.hints.phrases = phrases(prompt);
            }
        }
        if let Some(detection) = session.get("turn_detection").or_else(|| input.get("turn_detection")) {
            self.vad = !detection.is_null();
            if let Some(millis) = detection["silence_duration_ms"].as_u64() {
                self.settings.endpoint = Some(Span::from_millis(millis.clamp(200, 5_000)));
            }
            if !self.vad {
                // The client says where a turn ends; a pause does not.
                self.settings.endpoint = Some(Span::from_secs(5));
            }
        }
        Ok(())
    }

    /// The item that words go to now.
    fn open(&mut self, out: &mut Vec<Outgoing>) -> String {
        if let Some(item) = &self.item {
            return item.clone();
        }
        self.items += 1;
        let item = format!("item_{}", self.items);
        let previous = self.last.replace(item.clone());
        self.item = Some(item.clone());
        let members = json!({
            "previous_item_id": previous,
            "item": {
                "id": item,
                "object": "realtime.item",
                "type": "message",
                "status": "in_progress",
                "role": "user",
                "content": [{ "type": "input_audio", "transcript": Value::Null }],
            },
        });
        out.push(self.event("conversation.item.created", members));
        item
    }

    /// What has been said since the text had `before` octets.
    fn delta(&mut self, before: usize, out: &mut Vec<Outgoing>) {
        let piece = self.text[before..].to_owned();
        if piece.is_empty() {
            return;
        }
        let item = self.open(out);
        let members = json!({ "item_id": item, "content_index": 0, "delta": piece });
        out.push(self.event("conversation.item.input_audio_transcription.delta", members));
    }

    /// The item is complete.
    fn complete(&mut self, out: &mut Vec<Outgoing>) {
        let text = std::mem::take(&mut self.text);
        let item = self.open(out);
        self.item = None;
        let members = json!({ "item_id": item, "content_index": 0, "transcript": text });
        out.push(self.event("conversation.item.input_audio_transcription.completed", members));
    }
}

impl Dialect for Realtime {
    /// Deltas add up to the transcript, and what was said in the interim may be written otherwise in the end.
    fn partials(&self) -> bool {
        false
    }

    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    fn greet(&mut self) -> Vec<Outgoing> {
        let session = self.session();
        vec![self.event("session.created", session)]
    }

    fn receive(&mut self, message: Incoming<'_>) -> Result<Vec<Demand>, Refusal> {
        let Incoming::Text(text) = message else {
            return Err(Refusal::new("audio comes in input_audio_buffer.append, in base64"));
        };
        let value = dialect::json(text)?;
        match value["type"].as_str().unwrap_or_default() {
            "session.update" | "transcription_session.update" => {
                self.update(&value["session"])?;
                let session = self.session();
                let said = self.event("session.updated", session);
                Ok(vec![Demand::Set(Box::new(self.settings.clone())), Demand::Say(said)])
            }
            "input_audio_buffer.append" => {
                let audio = value["audio"].as_str().and_then(|text| STANDARD.decode(text).ok());
                let audio = audio.ok_or_else(|| Refusal::new("audio is not base64"))?;
                self.began = true;
                Ok(vec![Demand::Audio(audio)])
            }
            "input_audio_buffer.commit" => {
                if self.committed.len() >= OPEN {
                    return Err(Refusal::new("too many commits wait for their words"));
                }
                let mut said = Vec::new();
                let item = self.open(&mut said);
                self.committed.push_back(item.clone());
                said.push(self.event("input_audio_buffer.committed", json!({ "item_id": item })));
                Ok(said.into_iter().map(Demand::Say).chain([Demand::Flush]).collect())
            }
            "input_audio_buffer.clear" => {
                let said = self.event("input_audio_buffer.cleared", json!({}));
                Ok(vec![Demand::Say(said)])
            }
            other => Err(Refusal::of(
                "type",
                other,
                "session.update, input_audio_buffer.append, .commit or .clear",
            )),
        }
    }

    fn report(&mut self, _: usize, heard: Heard) -> Vec<Outgoing> {
        let mut out = Vec::new();
        match heard {
            Heard::Started(at) => {
                if self.vad {
                    let item = self.open(&mut out);
                    let members = json!({ "audio_start_ms": at.millis(), "item_id": item });
                    out.push(self.event("input_audio_buffer.speech_started", members));
                }
            }
            Heard::Partial(_) => {}
            Heard::Final(words) => {
                let before = self.text.len();
                append(&mut self.text, &words.text);
                self.delta(before, &mut out);
            }
            Heard::Ended { at, .. } => {
                if self.vad {
                    let item = self.open(&mut out);
                    let members = json!({ "audio_end_ms": at.millis(), "item_id": item });
                    out.push(self.event("input_audio_buffer.speech_stopped", members));
                    if self.committed.is_empty() {
                        out.push(self.event("input_audio_buffer.committed", json!({ "item_id": item })));
                    }
                    self.committed.clear();
                    self.complete(&mut out);
                }
            }
            Heard::Flushed => {
                if self.committed.pop_front().is_some() {
                    self.complete(&mut out);
                }
            }
        }
        out
    }

    fn close(&mut self, _: Span) -> Vec<Outgoing> {
        let mut out = Vec::new();
        if !self.text.is_empty() || !self.committed.is_empty() {
            self.committed.clear();
            self.complete(&mut out);
        }
        out.push(Outgoing::Close { code: 1000, reason: String::new() });
        out
    }

    /// A mistake does not end a session.
    fn refuse(&mut self, refusal: &Refusal) -> Vec<Outgoing> {
        let error = json!({ "error": {
            "type": "invalid_request_error",
            "code": "invalid_request",
            "message": refusal.to_string(),
            "param": Value::Null,
        } });
        vec![self.event("error", error)]
    }
}
