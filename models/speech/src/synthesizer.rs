//! The streaming synthesiser that every voice fills.

use antiphon_media_frame::{AudioBuf, SampleRate};

use crate::Language;

/// Something to be said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpeechRequest {
    /// Plain text, at most [`SpeechRequest::LONGEST`] characters.
    pub text: String,
    /// The language of the text.
    pub language: Language,
    /// The engine's own name for a voice; its default for the language where `None`.
    pub voice: Option<String>,
}

impl SpeechRequest {
    /// Longer texts are refused: a prompt of ten minutes is a mistake.
    pub const LONGEST: usize = 10_000;
}

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
pub enum SynthesizeError {
    /// The engine's program or data is not installed.
    #[error("{engine}: {what} not found: {advice}")]
    Missing {
        /// The engine's name.
        engine: &'static str,
        /// What is missing.
        what: String,
        /// What the user can do.
        advice: String,
    },
    /// The engine has no voice for this language or of this name.
    #[error("{engine} has no voice {voice}: {advice}")]
    Voice {
        /// The engine's name.
        engine: &'static str,
        /// What was asked for.
        voice: String,
        /// What the user can do.
        advice: String,
    },
    /// The text was empty, too long or not speakable.
    #[error("{engine} cannot say this text: {reason}")]
    Text {
        /// The engine's name.
        engine: &'static str,
        /// Why.
        reason: String,
    },
    /// The engine failed or took too long.
    #[error("{engine}: {message}")]
    Engine {
        /// The engine's name.
        engine: &'static str,
        /// Its own words.
        message: String,
    },
}

/// A maker of speech. Safe to share; each utterance is a stream of its own.
pub trait Synthesizer: Send + Sync {
    /// The name it is configured by.
    fn name(&self) -> &'static str;

    /// Starts saying `request`. Returns before the speech is complete where the engine can stream.
    ///
    /// # Errors
    /// Anything known before the first sound.
    fn speak(&self, request: &SpeechRequest) -> Result<Box<dyn SpeechStream>, SynthesizeError>;
}

/// One utterance being made. Dropping it stops the work.
pub trait SpeechStream: Send {
    /// The rate of all its chunks.
    fn rate(&self) -> SampleRate;

    /// The next chunk of sound, blocking until it is made; `None` at the end.
    ///
    /// # Errors
    /// The engine's failure in mid-speech.
    fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError>;
}
