//! OpenAI's `/v1/audio/transcriptions` and `/v1/audio/speech`: forms in, JSON, text or subtitles out.

use antiphon_media_frame::{SampleRate, Span};
use antiphon_models_speech::{Hints, Language, SpeechRequest, Utterance};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dialect::{bare, language, phrases, secs};
use crate::subtitles::{srt, vtt};
use crate::{Query, Refusal};

/// What a transcription is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"text": ...}`
    Json,
    /// With segments and, where asked for, words.
    Verbose,
    /// The bare text.
    Text,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
}

/// What a request for a transcription asks for, besides its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcription {
    /// What is spoken; the server's own where the client does not say.
    pub language: Option<Language>,
    /// Words of the prompt, as hints.
    pub hints: Hints,
    /// What is answered.
    pub shape: Shape,
    /// Whether words with times are wanted.
    pub words: bool,
    /// Whether the answer comes as events while it is made.
    pub stream: bool,
}

impl Transcription {
    /// Reads the fields of the form that are not the file.
    ///
    /// # Errors
    /// A field that is out of range or asks for what we cannot do.
    pub fn read(form: &Query) -> Result<Self, Refusal> {
        let shape = match form.value("response_format") {
            None | Some("json") => Shape::Json,
            Some("verbose_json") => Shape::Verbose,
            Some("text") => Shape::Text,
            Some("srt") => Shape::Srt,
            Some("vtt") => Shape::Vtt,
            Some(other) => {
                return Err(Refusal::of("response_format", other, "json, verbose_json, text, srt or vtt"));
            }
        };
        let mut words = false;
        for name in ["timestamp_granularities[]", "timestamp_granularities"] {
            for value in form.all(name) {
                match value {
                    "word" => words = true,
                    "segment" => {}
                    other => return Err(Refusal::of("timestamp_granularities", other, "word or segment")),
                }
            }
        }
        if words && shape != Shape::Verbose {
            return Err(Refusal::new("timestamp_granularities needs response_format=verbose_json"));
        }
        let stream = form.flag("stream")?;
        if stream && !matches!(shape, Shape::Json | Shape::Text) {
            return Err(Refusal::new("stream needs response_format json or text"));
        }
        for (name, value) in form.pairs() {
            match name {
                "response_format"
                | "timestamp_granularities[]"
                | "timestamp_granularities"
                | "stream"
                | "prompt"
                | "language" => {}
                // The server's recogniser stands for every model, and cuts by itself.
                "model" => {}
                "chunking_strategy" if value == "auto" => {}
                "temperature" if value.parse() == Ok(0.0) => {}
                "temperature" => {
                    return Err(Refusal::of(name, value, "0: nothing is left to chance in recognition here"));
                }
                other => return Err(Refusal::unavailable(other)),
            }
        }
        Ok(Self {
            language: language("language", form.value("language").unwrap_or_default())?,
            hints: Hints {
                phrases: form.value("prompt").map(phrases).unwrap_or_default(),
                digits: false,
                closed: false,
            },
            shape,
            words,
            stream,
        })
    }

    /// The answer and its media type.
    #[must_use]
    pub fn answer(&self, language: &str, duration: Span, said: &[Utterance]) -> (String, &'static str) {
        match self.shape {
            Shape::Json => (json!({ "text": Utterance::joined(said) }).to_string(), "application/json"),
            Shape::Text => (Utterance::joined(said) + "\n", "text/plain; charset=utf-8"),
            Shape::Srt => (srt(said), "application/x-subrip"),
            Shape::Vtt => (vtt(said), "text/vtt; charset=utf-8"),
            Shape::Verbose => {
                let segment = |(n, said): (usize, &Utterance)| {
                    let confidence = f64::from(said.confidence);
                    json!({
                        "id": n,
                        "seek": 0,
                        "start": secs(said.start),
                        "end": secs(said.end),
                        "text": said.text,
                        "tokens": [],
                        "temperature": 0.0,
                        "avg_logprob": confidence.max(1e-6).ln(),
                        "compression_ratio": 1.0,
                        "no_speech_prob": 1.0 - confidence,
                    })
                };
                let mut answer = json!({
                    "task": "transcribe",
                    "language": language,
                    "duration": duration.secs_f64(),
                    "text": Utterance::joined(said),
                    "segments": said.iter().enumerate().map(segment).collect::<Vec<_>>(),
                });
                if self.words {
                    let words = said.iter().flat_map(|said| &said.words).map(
                        |word| json!({ "word": bare(&word.text), "start": secs(word.start), "end": secs(word.end) }),
                    );
                    answer["words"] = words.collect();
                }
                (answer.to_string(), "application/json")
            }
        }
    }
}

/// An event of an answer that comes while it is made.
#[must_use]
pub fn delta(text: &str) -> Value {
    json!({ "type": "transcript.text.delta", "delta": text })
}

/// Its last event.
#[must_use]
pub fn done(text: &str) -> Value {
    json!({ "type": "transcript.text.done", "text": text })
}

/// An error as clients of OpenAI read it. `kind` is `invalid_request_error`, `rate_limit_error` or `server_error`.
#[must_use]
pub fn error(kind: &str, message: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
}

/// The coding of spoken answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audio {
    /// MPEG-1 Audio Layer III, the default of OpenAI's clients.
    Mp3,
    /// Ogg Opus.
    Opus,
    /// ADTS.
    Aac,
    /// FLAC.
    Flac,
    /// RIFF with 16 bits.
    Wav,
    /// 16 bits, 24 kHz, mono, little-endian, without a header.
    Pcm,
}

impl Audio {
    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
            Self::Aac => "audio/aac",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
            Self::Pcm => "audio/pcm",
        }
    }
}

/// The rate of [`Audio::Pcm`].
pub const PCM_RATE: SampleRate = SampleRate::HZ_24000;

/// The body of a request for speech.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Speech {
    /// What is to be said; at most 4096 characters, as with OpenAI.
    pub input: String,
    /// Which model; ours is chosen by language.
    #[serde(default)]
    pub model: String,
    /// Which voice; the names of OpenAI's voices stand for the server's own.
    #[serde(default)]
    pub voice: Value,
    /// The coding of the answer; the server's best where the client does not say, which is MP3 with OpenAI.
    #[serde(default)]
    pub response_format: Option<Audio>,
    /// 0.25 to 4.
    #[serde(default = "usual_speed")]
    pub speed: f64,
}

fn usual_speed() -> f64 {
    1.0
}

/// Voices of OpenAI, for which the server's own stand in.
const THEIR_VOICES: [&str; 13] = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer",
    "verse",
];
/// The longest text.
const LONGEST: usize = 4_096;

impl Speech {
    /// Reads a body.
    ///
    /// # Errors
    /// No JSON of this shape, an empty or too long text, a speed that no voice of ours has.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let speech: Self = serde_json::from_slice(body)
            .map_err(|e| Refusal::new(format!("the body is no request for speech: {e}")))?;
        let length = speech.input.chars().count();
        if speech.input.trim().is_empty() || length > LONGEST {
            return Err(Refusal::new(format!("input has {length} characters; 1 to {LONGEST} are taken")));
        }
        if (speech.speed - 1.0).abs() > 1e-3 {
            return Err(Refusal::of("speed", &speech.speed.to_string(), "1: voices speak at their own pace"));
        }
        Ok(speech)
    }

    /// What is to be said, in `usual` where the text does not tell its language.
    #[must_use]
    pub fn request(&self, usual: &Language) -> SpeechRequest {
        let han = self.input.chars().filter(|c| ('\u{4e00}'..='\u{9fff}').contains(c)).count();
        let language = if han > 0 { Language::parse("zh") } else { None };
        let voice = self.voice.as_str().filter(|name| !name.is_empty() && !THEIR_VOICES.contains(name));
        SpeechRequest {
            text: self.input.clone(),
            language: language.unwrap_or_else(|| usual.clone()),
            voice: voice.map(str::to_owned),
        }
    }
}
