//! What both engines ask of a stream's opening, and how they fail.

use std::fmt::Display;

use antiphon_models_speech::{RecognizeError, StreamConfig};

/// Refuses a language that the model does not speak.
pub(crate) fn speaks(
    engine: &'static str,
    languages: &[String],
    config: &StreamConfig,
) -> Result<(), RecognizeError> {
    let primary = config.language.primary();
    if languages.is_empty() || languages.contains(&primary) {
        return Ok(());
    }
    Err(RecognizeError::Language {
        engine,
        language: config.language.tag().to_owned(),
        advice: format!("its model speaks {}: configure another one", languages.join(", ")),
    })
}

pub(crate) fn failed(engine: &'static str, message: &dyn Display) -> RecognizeError {
    RecognizeError::Engine { engine, message: message.to_string() }
}
