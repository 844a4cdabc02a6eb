//! What a recogniser says: words, hypotheses, utterances.

use crate::join;
use antiphon_media_frame::{MediaTime, Span};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

fn seconds<S: Serializer>(at: &MediaTime, serializer: S) -> Result<S::Ok, S::Error> {
    // Milliseconds are the finest a recogniser means; more digits would pretend.
    serializer.serialize_f64(at.millis() as f64 / 1000.0)
}

fn from_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MediaTime, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    // A century; and a number that is none fails the comparison too.
    if seconds.abs() <= 3_155_760_000.0 {
        return Ok(MediaTime::from_millis((seconds * 1000.0).round() as i64));
    }
    Err(D::Error::custom(format!("{seconds} is no time of a call: seconds are wanted")))
}

/// A BCP 47 language tag, compared by its primary subtag: `en`, `en-US`, `zh-CN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Language(String);

impl Language {
    /// Accepts a tag of two or three letters, with further subtags of one to eight letters or digits after hyphens.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        let mut subtags = tag.split('-');
        let primary = subtags.next()?;
        let primary_fits =
            (2..=3).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_alphabetic());
        let rest_fits =
            subtags.all(|s| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric()));
        (primary_fits && rest_fits).then(|| Self(tag.to_owned()))
    }

    /// English, unspecified region.
    #[must_use]
    pub fn english() -> Self {
        Self("en".to_owned())
    }

    /// Not known: an engine that can finds out (BCP 47 `und`).
    #[must_use]
    pub fn undetermined() -> Self {
        Self("und".to_owned())
    }

    /// Whether it is not known.
    #[must_use]
    pub fn is_undetermined(&self) -> bool {
        self.primary() == "und"
    }

    /// The whole tag as written.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.0
    }

    /// The first subtag in lower case: `en` of `en-US`.
    #[must_use]
    pub fn primary(&self) -> String {
        self.0.split('-').next().unwrap_or_default().to_ascii_lowercase()
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tag = String::deserialize(deserializer)?;
        Self::parse(&tag)
            .ok_or_else(|| D::Error::custom(format!("`{tag}` is no language tag such as `zh-CN`")))
    }
}

/// One recognised word on the call's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word as spoken, without punctuation.
    pub text: String,
    /// When its first sound begins. Seconds in JSON.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    pub start: MediaTime,
    /// When its last sound ends. Seconds in JSON.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    pub end: MediaTime,
    /// 0 to 1, as far as the engine knows; 1 where it does not say.
    pub confidence: f32,
}

/// Interim words. Replaces the hypothesis before it, whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hypothesis {
    /// Counts up within an utterance, from 1.
    pub revision: u32,
    /// The words so far.
    pub text: String,
    /// When the utterance began. Seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub start: MediaTime,
}

/// Final words. Never revised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utterance {
    /// The whole text.
    pub text: String,
    /// Its words with times; empty only where an engine cannot say.
    #[serde(default)]
    pub words: Vec<Word>,
    /// When the first word begins. Seconds in JSON.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    pub start: MediaTime,
    /// When the last word ends. Seconds in JSON.
    #[serde(serialize_with = "seconds", deserialize_with = "from_seconds")]
    pub end: MediaTime,
    /// 0 to 1 for the whole.
    pub confidence: f32,
    /// What was spoken, where the engine found out by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
}

/// Puts more text behind a text: with a space between, except between characters that are written without.
pub fn append(text: &mut String, more: &str) {
    let dense = |c: Option<char>| c.is_some_and(|c| c >= '\u{2e80}');
    let touching = dense(text.chars().last()) && dense(more.chars().next());
    if !text.is_empty() && !more.is_empty() && !touching {
        text.push(' ');
    }
    text.push_str(more);
}

impl Utterance {
    /// Words as an utterance: their texts put together by [`join`], the mean of their confidences. `None` without words.
    #[must_use]
    pub fn of(words: Vec<Word>, language: Option<Language>) -> Option<Self> {
        let (start, end) = (words.first()?.start, words.last()?.end);
        let text = join(words.iter().map(|word| word.text.as_str()));
        let confidence = words.iter().map(|word| word.confidence).sum::<f32>() / words.len() as f32;
        Some(Self { text, words, start, end, confidence, language })
    }

    /// Utterances as one text, put together by [`append`].
    #[must_use]
    pub fn joined(said: &[Self]) -> String {
        let mut text = String::new();
        said.iter().for_each(|said| append(&mut text, &said.text));
        text
    }

    /// How long the words last.
    #[must_use]
    pub fn span(&self) -> Span {
        self.end.since(self.start)
    }
}
