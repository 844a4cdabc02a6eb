//! What headers set for recognitions, and what holds where nobody says.

use antiphon_media_frame::Span;
use antiphon_models_speech::Language;

use crate::message::Message;
use crate::parameters::{Wrong, flag, fraction, millis, read};

/// Headers of any request.
pub(super) const ALWAYS: &[&str] =
    &["Channel-Identifier", "Content-Type", "Vendor-Specific-Parameters", "Logging-Tag"];

const NAMES: [&str; 12] = [
    "Confidence-Threshold",
    "DTMF-Buffer-Time",
    "DTMF-Interdigit-Timeout",
    "DTMF-Term-Char",
    "DTMF-Term-Timeout",
    "N-Best-List-Length",
    "No-Input-Timeout",
    "Recognition-Mode",
    "Recognition-Timeout",
    "Speech-Complete-Timeout",
    "Speech-Incomplete-Timeout",
    "Speech-Language",
];

/// Interpretations at most.
const MOST_BEST: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) confidence: f32,
    pub(super) n_best: usize,
    pub(super) no_input: Span,
    /// From the beginning of speech on, or of the recognition for hotwords.
    pub(super) longest: Span,
    /// The silence after words that fit; the server's own where it is not said.
    pub(super) complete: Option<Span>,
    /// Further silence after words that are the beginning of something.
    pub(super) incomplete: Span,
    pub(super) interdigit: Span,
    pub(super) term: Span,
    pub(super) term_char: Option<char>,
    pub(super) key_buffer: Span,
    pub(super) hotword: bool,
    pub(super) language: Option<Language>,
    /// Whether the time for the first word runs from the beginning. Of one request.
    pub(super) timers: bool,
    /// Whether keys that were pressed before are forgotten. Of one request.
    pub(super) clear_keys: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            confidence: 0.0,
            n_best: 1,
            no_input: Span::from_secs(10),
            longest: Span::from_secs(20),
            complete: None,
            incomplete: Span::from_secs(1),
            interdigit: Span::from_secs(5),
            term: Span::from_secs(10),
            term_char: None,
            key_buffer: Span::from_secs(10),
            hotword: false,
            language: None,
            timers: true,
            clear_keys: false,
        }
    }
}

impl Settings {
    pub(super) fn knows(name: &str) -> bool {
        NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// These, with what a message says instead.
    pub(super) fn with(&self, message: &Message) -> Result<Self, Wrong> {
        let new = self.clone();
        let span = |header, before: Span| Ok::<_, Wrong>(read(message, header, millis)?.unwrap_or(before));
        let best = |text: &str| text.parse::<usize>().ok().filter(|n| (1..=MOST_BEST).contains(n));
        let mode = |text: &str| match text.to_ascii_lowercase().as_str() {
            "normal" => Some(false),
            "hotword" => Some(true),
            _ => None,
        };
        // An empty value takes the key away again.
        let key = |text: &str| {
            let mut keys = text.chars();
            match (keys.next(), keys.next()) {
                (None, _) => Some(None),
                (Some(key), None) if matches!(key, '0'..='9' | '*' | '#' | 'A'..='D') => Some(Some(key)),
                _ => None,
            }
        };
        Ok(Self {
            confidence: read(message, "Confidence-Threshold", fraction)?.unwrap_or(new.confidence),
            n_best: read(message, "N-Best-List-Length", best)?.unwrap_or(new.n_best),
            no_input: span("No-Input-Timeout", new.no_input)?,
            longest: span("Recognition-Timeout", new.longest)?,
            complete: read(message, "Speech-Complete-Timeout", millis)?.or(new.complete),
            incomplete: span("Speech-Incomplete-Timeout", new.incomplete)?,
            interdigit: span("DTMF-Interdigit-Timeout", new.interdigit)?,
            term: span("DTMF-Term-Timeout", new.term)?,
            term_char: read(message, "DTMF-Term-Char", key)?.unwrap_or(new.term_char),
            key_buffer: span("DTMF-Buffer-Time", new.key_buffer)?,
            hotword: read(message, "Recognition-Mode", mode)?.unwrap_or(new.hotword),
            language: read(message, "Speech-Language", Language::parse)?.or(new.language),
            timers: read(message, "Start-Input-Timers", flag)?.unwrap_or(true),
            clear_keys: read(message, "Clear-DTMF-Buffer", flag)?.unwrap_or(false),
        })
    }

    /// Puts what a message asks for into the response: all where it names nothing.
    pub(super) fn tell(&self, asked: &Message, mut response: Message) -> Message {
        let wants = |name: &str| asked.headers.value(name).is_some();
        let all = !NAMES.iter().any(|name| wants(name));
        for name in NAMES.into_iter().filter(|name| all || wants(name)) {
            response = response.with(name, self.value(name));
        }
        response
    }

    fn value(&self, name: &str) -> String {
        let millis = |span: Span| span.millis().to_string();
        match name {
            "Confidence-Threshold" => format!("{:.2}", self.confidence),
            "DTMF-Buffer-Time" => millis(self.key_buffer),
            "DTMF-Interdigit-Timeout" => millis(self.interdigit),
            "DTMF-Term-Char" => self.term_char.map(String::from).unwrap_or_default(),
            "DTMF-Term-Timeout" => millis(self.term),
            "N-Best-List-Length" => self.n_best.to_string(),
            "No-Input-Timeout" => millis(self.no_input),
            "Recognition-Mode" => if self.hotword { "hotword" } else { "normal" }.to_owned(),
            "Recognition-Timeout" => millis(self.longest),
            "Speech-Complete-Timeout" => self.complete.map(millis).unwrap_or_default(),
            "Speech-Incomplete-Timeout" => millis(self.incomplete),
            _ => self.language.as_ref().map(|language| language.tag().to_owned()).unwrap_or_default(),
        }
    }
}
