//! The WebSocket of FunASR's runtime, two-pass: quick words first, better ones at the end of each sentence.

use antiphon_media_frame::{SampleRate, Span};
use antiphon_models_speech::{Hints, Utterance};
use antiphon_models_text::Style;
use serde_json::{Value, json};

use crate::dialect::{self, language, reason};
use crate::{Coding, Demand, Dialect, Format, Heard, Identify, Incoming, Outgoing, Refusal, Settings};

/// Which passes the client wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Final words of everything, at the end.
    Offline,
    /// Words as they come.
    Online,
    /// Words as they come, then each sentence anew.
    TwoPass,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::TwoPass => "2pass",
        }
    }
}

/// A connection.
pub struct FunAsr {
    settings: Settings,
    mode: Mode,
    /// Whether numbers are written in figures.
    itn: bool,
    name: String,
    began: bool,
    /// Interim words already sent of the sentence under way: clients put the pieces together.
    sent: String,
    said: Vec<Utterance>,
}

impl Default for FunAsr {
    fn default() -> Self {
        Self {
            settings: Settings {
                format: Format { coding: Coding::Linear16, rate: SampleRate::HZ_16000, channels: 1 },
                language: None,
                hints: Hints::default(),
                endpoint: None,
                identify: Identify::No,
                style: style(true),
                idle: None,
            },
            mode: Mode::TwoPass,
            itn: true,
            name: "microphone".to_owned(),
            began: false,
            sent: String::new(),
            said: Vec::new(),
        }
    }
}

impl FunAsr {
    fn begin(&mut self, value: &Value) -> Result<(), Refusal> {
        if let Some(mode) = value.get("mode") {
            self.mode = match mode.as_str() {
                Some("offline") => Mode::Offline,
                Some("online") => Mode::Online,
                Some("2pass") => Mode::TwoPass,
                _ => return Err(Refusal::of("mode", &mode.to_string(), "offline, online or 2pass")),
            };
        }
        if let Some(name) = value["wav_name"].as_str() {
            self.name = name.chars().take(128).collect();
        }
        if let Some(format) = value["wav_format"].as_str()
            && !matches!(format, "pcm" | "PCM" | "wav" | "others")
        {
            return Err(Refusal::of("wav_format", format, "pcm: decode the file before sending it"));
        }
        if let Some(rate) = value.get("audio_fs") {
            let hz =
                rate.as_u64().ok_or_else(|| Refusal::of("audio_fs", &rate.to_string(), "a whole number"))?;
            let format = Format::new(Coding::Linear16, hz, 1)?;
            if self.began && format != self.settings.format {
                return Err(Refusal::new("audio_fs cannot change once audio has come"));
            }
            self.settings.format = format;
        }
        if let Some(itn) = value.get("itn") {
            let itn = itn.as_bool().ok_or_else(|| Refusal::of("itn", &itn.to_string(), "true or false"))?;
            self.itn = itn;
        }
        if let Some(tag) = value["svs_lang"].as_str() {
            self.settings.language = language("svs_lang", tag)?;
            self.settings.identify =
                if self.settings.language.is_none() { Identify::WhereAble } else { Identify::No };
        }
        if let Some(itn) = value["svs_itn"].as_bool() {
            self.itn = itn;
        }
        // Pieces of a text that is still growing cannot be taken back: they come as they are said.
        let style = if self.mode == Mode::Online { Style::spoken() } else { style(self.itn) };
        if self.began && style != self.settings.style {
            return Err(Refusal::new("mode and itn cannot change once audio has come"));
        }
        self.settings.style = style;
        if let Some(words) = value.get("hotwords") {
            self.settings.hints.phrases = hotwords(words);
        }
        Ok(())
    }

    fn message(&self, pass: &str, text: &str, is_final: bool) -> Value {
        let mode = if self.mode == Mode::TwoPass { format!("2pass-{pass}") } else { pass.to_owned() };
        json!({ "mode": mode, "text": text, "wav_name": self.name, "is_final": is_final })
    }

    fn sentence(&self, said: &[Utterance], is_final: bool) -> Value {
        let mut message = self.message("offline", &Utterance::joined(said), is_final);
        let stamps: Vec<[i64; 2]> = said
            .iter()
            .flat_map(|said| &said.words)
            .map(|word| [word.start.millis(), word.end.millis()])
            .collect();
        if !stamps.is_empty() {
            // A text with a list in it, as FunASR has it.
            message["timestamp"] = Value::String(json!(stamps).to_string());
            let sentence = |said: &Utterance| json!({ "text_seg": said.text, "punc": "", "start": said.start.millis(), "end": said.end.millis() });
            message["stamp_sents"] = said.iter().map(sentence).collect();
        }
        message
    }
}

/// FunASR's second pass puts marks always, and figures where they are wanted.
fn style(itn: bool) -> Style {
    Style { punctuation: true, numbers: itn, ..Style::spoken() }
}

/// `{"word": 20}`, that as a text, or words with spaces between them.
fn hotwords(value: &Value) -> Vec<String> {
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    let words = match value {
        Value::String(text) => {
            let parsed = serde_json::from_str::<Value>(text).ok();
            parsed
                .as_ref()
                .and_then(keys)
                .unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect())
        }
        other => keys(other).unwrap_or_default(),
    };
    words.into_iter().take(Hints::LIMIT).collect()
}

impl Dialect for FunAsr {
    fn partials(&self) -> bool {
        self.mode != Mode::Offline
    }

    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    fn receive(&mut self, message: Incoming<'_>) -> Result<Vec<Demand>, Refusal> {
        let text = match message {
            Incoming::Binary(audio) => {
                self.began = true;
                return Ok(vec![Demand::Audio(audio.to_vec())]);
            }
            Incoming::Text(text) => text,
        };
        let value = dialect::json(text)?;
        self.begin(&value)?;
        if value["is_speaking"] == Value::Bool(false) {
            return Ok(vec![Demand::Finish]);
        }
        Ok(vec![Demand::Set(Box::new(self.settings.clone()))])
    }

    fn report(&mut self, _: usize, heard: Heard) -> Vec<Outgoing> {
        match heard {
            // It was no speech: what was sent of it stands for nothing, and what is said next begins anew.
            Heard::Partial(hypothesis) if hypothesis.text.is_empty() => {
                let shown = !std::mem::take(&mut self.sent).is_empty();
                match self.mode {
                    Mode::TwoPass if shown => vec![Outgoing::Text(self.sentence(&[], false).to_string())],
                    _ => Vec::new(),
                }
            }
            Heard::Partial(hypothesis) if self.mode != Mode::Offline => {
                // Only what goes on from what was sent can be sent: pieces cannot be taken back.
                match hypothesis.text.strip_prefix(&self.sent) {
                    Some(piece) if !piece.is_empty() => {
                        let message = self.message("online", piece, false);
                        self.sent = hypothesis.text.clone();
                        vec![Outgoing::Text(message.to_string())]
                    }
                    _ => Vec::new(),
                }
            }
            Heard::Final(words) => {
                let sent = std::mem::take(&mut self.sent);
                match self.mode {
                    Mode::Offline => {
                        self.said.push(words);
                        Vec::new()
                    }
                    Mode::TwoPass => vec![Outgoing::Text(self.sentence(&[words], false).to_string())],
                    Mode::Online => {
                        // What differs from the words sent cannot be taken back; what goes beyond them is sent.
                        let same = sent.chars().zip(words.text.chars()).take_while(|(a, b)| a == b).count();
                        let rest: String = words.text.chars().skip(same).collect();
                        let message =
                            |text: &str| Outgoing::Text(self.message("online", text, false).to_string());
                        if rest.is_empty() { Vec::new() } else { vec![message(&rest)] }
                    }
                }
            }
            Heard::Partial(_) | Heard::Started(_) | Heard::Ended { .. } | Heard::Flushed => Vec::new(),
        }
    }

    fn close(&mut self, _: Span) -> Vec<Outgoing> {
        let last = match self.mode {
            Mode::Offline | Mode::TwoPass => self.sentence(&self.said, true),
            Mode::Online => self.message("online", "", true),
        };
        vec![Outgoing::Text(last.to_string()), Outgoing::Close { code: 1000, reason: String::new() }]
    }

    fn refuse(&mut self, refusal: &Refusal) -> Vec<Outgoing> {
        let message =
            json!({ "mode": self.mode.name(), "wav_name": self.name, "error": refusal.to_string() });
        vec![
            Outgoing::Text(message.to_string()),
            Outgoing::Close { code: 1008, reason: reason(&refusal.to_string()) },
        ]
    }
}
