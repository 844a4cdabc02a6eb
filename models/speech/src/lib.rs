//! Vocabulary of ears and mouths: the recogniser and synthesiser traits and what they say. No engine lives here.

pub mod agree;
mod axis;
pub mod batch;
mod recognizer;
mod spaces;
mod synthesizer;
mod words;

pub use axis::Axis;
pub use recognizer::{Engine, Hints, Pace, Partials, Recognition, RecognizeError, Recognizer, StreamConfig};
pub use spaces::{ideographic, join};
pub use synthesizer::{SpeechRequest, SpeechStream, SynthesizeError, Synthesizer};
pub use words::{Hypothesis, Language, Utterance, Word, append};
