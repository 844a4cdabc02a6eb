//! The WebSocket of vosk-server: a `config`, PCM, an `eof`; one answer to each message of sound.

use std::collections::VecDeque;

use antiphon_media_frame::{SampleRate, Span};
use antiphon_models_speech::{Hints, Utterance};
use antiphon_models_text::Style;
use serde_json::{Value, json};

use crate::dialect::{self, reason, secs};
use crate::{Coding, Demand, Dialect, Format, Heard, Identify, Incoming, Outgoing, Refusal, Settings};

/// A connection. Its clients wait for one answer to each message of sound before they send the next: the newest partial, or
/// a result where one has come since.
pub struct Vosk {
    settings: Settings,
    words: bool,
    partial: String,
    results: VecDeque<Utterance>,
    began: bool,
}

impl Default for Vosk {
    fn default() -> Self {
        Self {
            settings: Settings {
                format: Format { coding: Coding::Linear16, rate: SampleRate::HZ_8000, channels: 1 },
                language: None,
                hints: Hints::default(),
                endpoint: None,
                identify: Identify::No,
                // As the recogniser says it: vosk writes nothing.
                style: Style::spoken(),
                idle: None,
            },
            words: true,
            partial: String::new(),
            results: VecDeque::new(),
            began: false,
        }
    }
}

impl Vosk {
    fn configure(&mut self, config: &Value) -> Result<Vec<Demand>, Refusal> {
        if let Some(rate) = config.get("sample_rate") {
            // Clients send 8000, 8000.0 and "8000".
            let hz = rate.as_f64().or_else(|| rate.as_str()?.parse().ok());
            let hz = hz.filter(|hz| hz.fract() == 0.0 && (0.0..1e6).contains(hz));
            let hz = hz.ok_or_else(|| Refusal::of("sample_rate", &rate.to_string(), "a whole number"))?;
            let format = Format::new(Coding::Linear16, hz as u64, 1)?;
            if self.began && format != self.settings.format {
                return Err(Refusal::new("sample_rate cannot change once audio has come"));
            }
            self.settings.format = format;
        }
        if let Some(words) = config.get("words") {
            self.words = words.as_bool().or_else(|| Some(words.as_i64()? != 0)).unwrap_or(self.words);
        }
        if let Some(list) = config.get("phrase_list") {
            let list = match list {
                // Some clients send the list as text.
                Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
                other => other.clone(),
            };
            let phrases: Option<Vec<String>> = list
                .as_array()
                .and_then(|list| list.iter().map(|one| Some(one.as_str()?.to_owned())).collect());
            let phrases = phrases.ok_or_else(|| Refusal::new("phrase_list must be a list of texts"))?;
            // vosk hears nothing but the phrases; "[unk]" among them lets other words through as unknown.
            let closed = !phrases.iter().any(|phrase| phrase == "[unk]");
            let phrases = phrases.into_iter().filter(|phrase| phrase != "[unk]").take(Hints::LIMIT).collect();
            self.settings.hints = Hints { phrases, digits: false, closed };
        }
        if config.get("max_alternatives").and_then(Value::as_i64).is_some_and(|count| count > 0) {
            return Err(Refusal::new("max_alternatives above 0 is not available"));
        }
        Ok(vec![Demand::Set(Box::new(self.settings.clone()))])
    }

    fn answer(&mut self) -> Outgoing {
        let answer = match self.results.pop_front() {
            Some(words) => self.result(&words),
            None => json!({ "partial": self.partial }),
        };
        Outgoing::Text(answer.to_string())
    }

    fn result(&self, said: &Utterance) -> Value {
        if !self.words || said.words.is_empty() {
            return json!({ "text": said.text });
        }
        let word = |word: &antiphon_models_speech::Word| json!({ "conf": word.confidence, "start": secs(word.start), "end": secs(word.end), "word": word.text });
        json!({ "result": said.words.iter().map(word).collect::<Vec<_>>(), "text": said.text })
    }
}

impl Dialect for Vosk {
    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    fn receive(&mut self, message: Incoming<'_>) -> Result<Vec<Demand>, Refusal> {
        let text = match message {
            Incoming::Binary(audio) => {
                self.began = true;
                return Ok(vec![Demand::Audio(audio.to_vec()), Demand::Say(self.answer())]);
            }
            Incoming::Text(text) => text,
        };
        let value = dialect::json(text)?;
        if let Some(config) = value.get("config") {
            return self.configure(config);
        }
        if value.get("eof").is_some() {
            return Ok(vec![Demand::Finish]);
        }
        if value.get("reset").is_some() {
            return Ok(vec![Demand::Flush]);
        }
        Err(Refusal::new("a text message must have the member config, eof or reset"))
    }

    fn report(&mut self, _: usize, heard: Heard) -> Vec<Outgoing> {
        match heard {
            Heard::Partial(hypothesis) => self.partial = hypothesis.text,
            Heard::Final(words) => {
                self.partial.clear();
                self.results.push_back(words);
            }
            Heard::Started(_) | Heard::Ended { .. } | Heard::Flushed => {}
        }
        Vec::new()
    }

    /// The last answer has all the words that no answer had yet.
    fn close(&mut self, _: Span) -> Vec<Outgoing> {
        let left: Vec<Utterance> = self.results.drain(..).collect();
        let last = match (left.first(), left.last()) {
            (Some(first), Some(last)) => Utterance {
                text: Utterance::joined(&left),
                words: left.iter().flat_map(|said| said.words.clone()).collect(),
                start: first.start,
                end: last.end,
                confidence: last.confidence,
                language: None,
            },
            _ => Utterance {
                text: String::new(),
                words: Vec::new(),
                start: Default::default(),
                end: Default::default(),
                confidence: 0.0,
                language: None,
            },
        };
        vec![
            Outgoing::Text(self.result(&last).to_string()),
            Outgoing::Close { code: 1000, reason: String::new() },
        ]
    }

    fn refuse(&mut self, refusal: &Refusal) -> Vec<Outgoing> {
        vec![Outgoing::Close { code: 1008, reason: reason(&refusal.to_string()) }]
    }
}
