//! The streaming recogniser that every engine fills.

use std::any::Any;

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

    /// The phrases as sentences, most likely first, in `most` characters at most and without control characters: what a model
    /// is told that continues a text in style and vocabulary.
    #[must_use]
    pub fn prose(&self, most: usize) -> String {
        let mut out = String::new();
        let mut length = 0;
        for phrase in self.phrases.iter().take(Self::LIMIT) {
            length += phrase.chars().count() + 2;
            if length > most {
                break;
            }
            // A zero byte cannot cross to C.
            out.extend(phrase.chars().filter(|c| !c.is_control()));
            out.push_str(". ");
        }
        out
    }
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

/// How much interim words matter to whoever hears a stream. Final words are the same in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partials {
    /// As often as the engine likes to give them.
    #[default]
    Normal,
    /// About once in a second of new sound.
    Thinned,
    /// Nobody wants them.
    Off,
}

impl Partials {
    /// How much new sound lies between two computations of interim words, of an engine that makes them `every` so often, or
    /// `thinned` where they matter less. Zero: none are made.
    #[must_use]
    pub fn every(self, every: Span, thinned: Span) -> Span {
        match self {
            Self::Normal => every,
            Self::Thinned if every > Span::ZERO => every.max(thinned),
            Self::Thinned | Self::Off => Span::ZERO,
        }
    }
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
/// There are two ways to compute. An engine that works through its sound as it comes computes in `push` and `flush` and
/// leaves `owed` and `step` as they are. An engine that gains by computing many streams at once only keeps what `push`
/// gives it; from the moment that a chunk is complete it owes a [`step`](Recognizer::step), or a row of an
/// [`Engine::step`], and after a `flush` as many as the rest takes. What `poll` gives is up to date where nothing is owed.
///
/// The caller gates: between [`Recognizer::flush`] or [`Recognizer::reset`] and the next speech it pushes nothing, so an
/// engine hears speech with a little margin on both sides. Frames of one utterance follow each other in time; where a
/// frame's `at` jumps ahead the engine accounts for the gap itself (by silence or by its own time axis), so that word
/// times stay on the call's clock.
pub trait Recognizer: Send + Any {
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

    /// Says how much interim words matter from now on. An engine that has to compute for them alone computes less where they
    /// matter less; one whose interim words cost nothing may leave this as it is.
    fn partials(&mut self, _wanted: Partials) {}

    /// Ends the utterance: all that was pushed is final and `poll` gives it, if it had words.
    ///
    /// # Errors
    /// The engine's own failure.
    fn flush(&mut self) -> Result<(), RecognizeError>;

    /// Forgets the utterance under way and everything unpolled or owed. Hints stay.
    fn reset(&mut self);

    /// How many steps it owes for what it was given.
    fn owed(&self) -> usize {
        0
    }

    /// Computes one step that is owed; without any it does nothing.
    ///
    /// # Errors
    /// The engine's own failure. The step is still owed and the stream as it was before.
    fn step(&mut self) -> Result<(), RecognizeError> {
        Ok(())
    }
}

/// How an engine likes to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The sound of one step: the finest unit that streams can take turns in.
    pub chunk: Span,
    /// The most streams that one [`Engine::step`] computes together, at least 1.
    pub rows: usize,
}

impl Default for Pace {
    /// A fifth of a second, one stream at a time.
    fn default() -> Self {
        Self { chunk: Span::from_millis(200), rows: 1 }
    }
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

    /// How its streams are computed.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// Whether it computes on another machine: its steps only wait, cost nothing here, and are not to be timed by trying.
    fn elsewhere(&self) -> bool {
        false
    }

    /// Whether a stream that is opened with [`Language::undetermined`] finds out what is spoken and tells it in each
    /// [`Utterance::language`].
    fn identifies(&self) -> bool {
        false
    }

    /// Whether its streams heed [`StreamConfig::hints`]; where not, hints are accepted and change nothing.
    fn heeds_hints(&self) -> bool {
        true
    }

    /// Computes one owed step of each row, together where the engine can. The rows are streams of this engine, each of
    /// which owes a step, at most [`Pace::rows`] of them.
    ///
    /// # Errors
    /// The engine's own failure. Every row that still owes the step is as it was before, so that rows can be tried one by
    /// one to find the one at fault.
    fn step(&self, rows: &mut [&mut dyn Recognizer]) -> Result<(), RecognizeError> {
        rows.iter_mut().try_for_each(|row| row.step())
    }
}
