//! What every dialect is: messages in, demands out; words in, messages out.

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Hints, Hypothesis, Language, Utterance};
use antiphon_models_text::Style;
use serde_json::Value;

use crate::Format;

/// What a stream is opened with, as far as the client has said it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How its audio arrives.
    pub format: Format,
    /// What is spoken; the server's own where the client does not say.
    pub language: Option<Language>,
    /// Whether it is to be found out what is spoken.
    pub identify: Identify,
    /// What is likely to be said.
    pub hints: Hints,
    /// The silence that ends an utterance; the server's own where the client does not say.
    pub endpoint: Option<Span>,
    /// How final words are written, and what is hidden in them.
    pub style: Style,
    /// How long a client may say nothing at all; `None` for the server's own limit.
    pub idle: Option<Span>,
}

/// Whether it is to be found out what is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identify {
    /// It is known.
    #[default]
    No,
    /// Where the engine can; otherwise the server's own language is meant.
    WhereAble,
    /// By an engine that can, or not at all.
    Must,
}

/// A message of the client.
#[derive(Clone, Copy, Debug)]
pub enum Incoming<'a> {
    /// Text.
    Text(&'a str),
    /// Octets.
    Binary(&'a [u8]),
}

/// What a dialect wants of the recogniser.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// Hear this, in the [`Format`] of the settings.
    Audio(Vec<u8>),
    /// The settings are others from here on; before the first audio all of them, later hints only.
    Set(Box<Settings>),
    /// End the utterance under way on all channels, and report [`Heard::Flushed`].
    Flush,
    /// Nothing follows: hear what there is, then call [`Dialect::close`].
    Finish,
    /// Say this.
    Say(Outgoing),
}

/// A message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Text.
    Text(String),
    /// The connection ends.
    Close {
        /// RFC 6455, section 7.4.
        code: u16,
        /// For people, at most 123 octets.
        reason: String,
    },
}

/// What was heard on a channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Speech began.
    Started(MediaTime),
    /// Interim words.
    Partial(Hypothesis),
    /// Final words, in the style of the settings; its words are the written ones.
    Final(Utterance),
    /// Speech ended; all its words have been told.
    Ended {
        /// When its last sound ended.
        at: MediaTime,
        /// The audio that decided it.
        decided_at: MediaTime,
    },
    /// A flush is done.
    Flushed,
}

/// A client's message that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    /// With what is wrong and what would be right.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What we cannot do, by its name.
    pub(crate) fn unavailable(name: &str) -> Self {
        let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        Self(format!("{shown} is not available"))
    }

    pub(crate) fn of(name: &str, value: &str, wanted: &str) -> Self {
        let shown: String = value.chars().take(40).flat_map(char::escape_debug).collect();
        Self(format!("{name} is `{shown}`, but must be {wanted}"))
    }
}

/// One connection in one client's language. Times are those of the audio: its first sample is at zero.
pub trait Dialect: Send {
    /// What is to be opened. Asked before the first audio; the newest answer counts.
    fn settings(&self) -> Settings;

    /// Whether interim words are of any use; asked with [`Dialect::settings`].
    fn partials(&self) -> bool {
        true
    }

    /// What to say at the very beginning.
    fn greet(&mut self) -> Vec<Outgoing> {
        Vec::new()
    }

    /// A message has come.
    ///
    /// # Errors
    /// It cannot be served: [`Dialect::refuse`] says how to tell the client.
    fn receive(&mut self, message: Incoming<'_>) -> Result<Vec<Demand>, Refusal>;

    /// Something was heard.
    fn report(&mut self, channel: usize, heard: Heard) -> Vec<Outgoing>;

    /// So much audio has been heard of.
    fn clock(&mut self, _: MediaTime) -> Vec<Outgoing> {
        Vec::new()
    }

    /// Everything has been heard and told.
    fn close(&mut self, duration: Span) -> Vec<Outgoing>;

    /// How this client is told of a message that cannot be served. Where nothing closes the connection, it goes on.
    fn refuse(&mut self, refusal: &Refusal) -> Vec<Outgoing>;
}

/// A closing frame's reason is at most 123 octets (RFC 6455, section 5.5).
pub(crate) fn reason(text: &str) -> String {
    let mut end = text.len().min(123);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A language as clients write it: `en-US`, `zh`; `multi` and `auto` leave it to the server.
pub(crate) fn language(name: &str, tag: &str) -> Result<Option<Language>, Refusal> {
    if matches!(tag, "" | "multi" | "auto") {
        return Ok(None);
    }
    Language::parse(tag).map(Some).ok_or_else(|| Refusal::of(name, tag, "a language tag such as en-US or zh"))
}

/// A text message as JSON.
pub(crate) fn json(text: &str) -> Result<Value, Refusal> {
    serde_json::from_str(text).map_err(|e| Refusal::new(format!("a text message is no JSON: {e}")))
}

/// The phrases of a prompt as OpenAI's clients write them: between commas, semicolons and line breaks.
pub(crate) fn phrases(prompt: &str) -> Vec<String> {
    let phrases = prompt.split([',', '\n', ';', '，', '、']).map(|one| one.trim().to_owned());
    phrases.filter(|one| !one.is_empty() && one.len() <= 60).take(Hints::LIMIT).collect()
}

/// A word without the marks around it.
pub(crate) fn bare(word: &str) -> &str {
    let mark = |c: char| c.is_ascii_punctuation() && c != '*' || matches!(c, '。' | '，' | '？' | '！');
    let bare = word.trim_matches(mark);
    // `$5` and `50%` are words with their signs.
    if bare.chars().any(|c| c.is_ascii_digit()) {
        word.trim_end_matches(['.', ',', '?', '!', '。', '，', '？', '！'])
    } else {
        bare
    }
}

pub(crate) fn secs(time: MediaTime) -> f64 {
    time.millis() as f64 / 1e3
}
