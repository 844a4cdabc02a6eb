//! What both engines ask of a stream's opening and of a step's rows.

use std::any::Any;
use std::fmt::Display;

use antiphon_models_speech::{RecognizeError, Recognizer, StreamConfig};

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

/// A step's rows as the streams they are, each of which must be `ours`.
pub(crate) fn streams_of<'a, S: Recognizer>(
    engine: &'static str,
    rows: &'a mut [&mut dyn Recognizer],
    ours: impl Fn(&S) -> bool,
) -> Result<Vec<&'a mut S>, RecognizeError> {
    let mut streams = Vec::with_capacity(rows.len());
    for row in rows {
        let any: &mut dyn Any = &mut **row;
        match any.downcast_mut::<S>() {
            Some(stream) if ours(stream) => streams.push(stream),
            _ => return Err(failed(engine, &"a row is no stream of this engine")),
        }
    }
    Ok(streams)
}
