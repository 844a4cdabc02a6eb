//! The streaming recogniser that every engine fills.

use antiphon_media_frame::{AudioFrame, SampleRate, Span};

use crate::{Hypothesis, Language, Utterance};

/// What the speaker may say next. A help, not a fence, unless `closed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Phrases to favour, as they are spoken, most likely first; at most [`Hints::LIMIT`] are used.
    pub phrases: Vec<String>,
    /// Whether digits may be read out one by one ("four two seven").
    pub digits: bool,
    /// Whether nothing but the phrases (and digits) is expected. An engine with grammars may then use one; what falls
    /// outside comes back as no words or with low confidence.
    pub closed: bool,
}

impl Hints {
    /// Phrases beyond this count are ignored.
    pub const LIMIT: usize = 1_000;
}

/// What a stream is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// What is spoken.
    pub language: Language,
    /// What may be said; changed in mid-stream by [`Recognizer::hint`].
    pub hints: Hints,
    /// The rate of the wire: 8 kHz for G.711 even where frames arrive resampled. Engines with models for both choose by
    /// it.
    pub source_rate: SampleRate,
}

/// What a recogniser has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Recognition {
    /// Interim words.
    Partial(Hypothesis),
    /// Final words; an utterance without words is never reported.
    Final(Utterance),
}

/// Why an engine could not go on or be opened.
#[derive(Debug, thiserror::Error)]
pub enum RecognizeError {
    /// A model, dictionary or library is not where it should be.
    #[error("{engine}: {what} not found at {path}: {advice}")]
    MissingModel {
        /// The engine's name.
        engine: &'static str,
        /// What is missing: "acoustic model".
        what: &'static str,
        /// Where it was looked for.
        path: String,
        /// What the user can do.
        advice: String,
    },
    /// The engine has no model for this language.
    #[error("{engine} does not speak {language}: {advice}")]
    Language {
        /// The engine's name.
        engine: &'static str,
        /// The tag asked for.
        language: String,
        /// What the user can do.
        advice: String,
    },
    /// A frame came at another rate than [`Recognizer::rate`].
    #[error("audio at {found} pushed into a recogniser of {expected}")]
    Rate {
        /// What the recogniser takes.
        expected: SampleRate,
        /// What came.
        found: SampleRate,
    },
    /// The engine itself failed.
    #[error("{engine}: {message}")]
    Engine {
        /// The engine's name.
        engine: &'static str,
        /// Its own words.
        message: String,
    },
}

/// One stream of one engine. Used by one thread at a time.
///
/// The caller gates: between [`Recognizer::flush`] or [`Recognizer::reset`] and the next speech it pushes nothing, so an
/// engine hears speech with a little margin on both sides. Frames of one utterance follow each other in time; where a
/// frame's `at` jumps ahead the engine accounts for the gap itself (by silence or by its own time axis), so that word
/// times stay on the call's clock.
pub trait Recognizer: Send {
    /// The rate of the frames it takes.
    fn rate(&self) -> SampleRate;

    /// How much silence it wants after the last sound before a flush, so that the last word is not lost.
    fn tail(&self) -> Span;

    /// Takes sound. May compute; never blocks on anything else.
    ///
    /// # Errors
    /// [`RecognizeError::Rate`], or the engine's own failure, after which only `reset` helps.
    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError>;

    /// The next thing to say, oldest first; `None` when there is nothing new. Partials coalesce to the newest.
    fn poll(&mut self) -> Option<Recognition>;

    /// Changes what may be said, from the next utterance on (at once where the engine can).
    ///
    /// # Errors
    /// The engine's own failure; the old hints stay in force.
    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError>;

    /// Ends the utterance: all that was pushed is final and `poll` gives it, if it had words.
    ///
    /// # Errors
    /// The engine's own failure.
    fn flush(&mut self) -> Result<(), RecognizeError>;

    /// Forgets the utterance under way and everything unpolled. Hints stay.
    fn reset(&mut self);
}

/// A maker of streams: one loaded model, shared by all its streams.
pub trait Engine: Send + Sync {
    /// The name it is configured by.
    fn name(&self) -> &'static str;

    /// The rate its streams take for a track whose wire runs at `source`.
    fn rate(&self, source: SampleRate) -> SampleRate;

    /// Opens a stream. May take as long as loading a model the first time.
    ///
    /// # Errors
    /// Missing models, an unknown language, the engine's own failure.
    fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError>;
}
