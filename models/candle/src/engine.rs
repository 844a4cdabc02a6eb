//! The engine `candle`.

use std::sync::Arc;

use antiphon_media_frame::{SampleRate, Span};
use antiphon_models_speech::batch::streams_of;
use antiphon_models_speech::{Engine, Pace, RecognizeError, Recognizer, StreamConfig};

use crate::error::{LoadError, RunError};
use crate::model::{CandleOptions, Model};
use crate::stream::Stream;

pub(crate) const NAME: &str = "candle";
pub(crate) const RATE: SampleRate = SampleRate::HZ_16000;

/// Whisper on candle; one loaded model for all streams, computed many at a time.
///
/// Whisper hears utterances whole. Interim words are made by hearing the growing utterance again; of them only those are
/// told on which two times in a row agree.
pub struct CandleEngine {
    model: Arc<Model>,
}

impl CandleEngine {
    /// Loads a model and tries it with silence.
    ///
    /// # Errors
    /// Missing or damaged files, values and tensors that make no sense, with file and key; a device that is not there or
    /// not in this build; a language that the model does not have.
    pub fn open(options: CandleOptions) -> Result<Self, LoadError> {
        Ok(Self { model: Arc::new(Model::open(options)?) })
    }

    /// How likely each of its languages is in sound of 16 kHz, of which one window is heard: subtags as Whisper names them
    /// and probabilities, likeliest first.
    ///
    /// # Errors
    /// The computation's own.
    pub fn identify(&self, pcm: &[i16]) -> Result<Vec<(String, f32)>, RunError> {
        let pcm: Vec<f32> = pcm.iter().take(self.model.window()).map(|s| f32::from(*s) / 32_768.0).collect();
        self.model.identify(&pcm)
    }

    /// The language's token, or none where it is recognised.
    fn language(&self, config: &StreamConfig) -> Result<Option<u32>, RecognizeError> {
        let model = &self.model;
        let primary = config.language.primary();
        let refused = |advice: String| RecognizeError::Language {
            engine: NAME,
            language: config.language.tag().to_owned(),
            advice,
        };
        let english = model.config.marks.languages.is_empty();
        if english {
            let advice = "this model is English only; take a multilingual one";
            return if primary == "en" { Ok(None) } else { Err(refused(advice.to_owned())) };
        }
        if model.options.detect || primary == "und" || primary == "mul" {
            return Ok(None);
        }
        if !(model.options.languages.is_empty() || model.options.languages.contains(&primary)) {
            let spoken = model.options.languages.join(", ");
            return Err(refused(format!("its model speaks {spoken}: configure another one")));
        }
        let advice =
            || refused("the model does not have it; `recognizer.candle.detect` recognises others".to_owned());
        model.language(&primary).map(Some).ok_or_else(advice)
    }
}

pub(crate) fn failed(error: &dyn std::fmt::Display) -> RecognizeError {
    RecognizeError::Engine { engine: NAME, message: error.to_string() }
}

/// Computes what each of the streams owes next; nothing changes where that fails.
pub(crate) fn step(model: &Model, streams: &mut [&mut Stream]) -> Result<(), RecognizeError> {
    let mut requests = Vec::with_capacity(streams.len());
    let mut owing = Vec::with_capacity(streams.len());
    for stream in streams.iter_mut() {
        if let Some(request) = stream.request() {
            requests.push(request);
            owing.push(stream);
        }
    }
    let heard = model.transcribe(&requests).map_err(|e| failed(&e))?;
    for (stream, heard) in owing.into_iter().zip(heard) {
        stream.commit(heard);
    }
    Ok(())
}

impl Engine for CandleEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rate(&self, _: SampleRate) -> SampleRate {
        RATE
    }

    fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        let language = self.language(config)?;
        Ok(Box::new(Stream::new(Arc::clone(&self.model), language, &config.hints)))
    }

    fn identifies(&self) -> bool {
        !self.model.config.marks.languages.is_empty()
    }

    fn pace(&self) -> Pace {
        let every = self.model.options.partial_every;
        let chunk = if every > Span::ZERO { every } else { Span::from_secs(1) };
        Pace { chunk, rows: self.model.options.rows.max(1) }
    }

    fn step(&self, rows: &mut [&mut dyn Recognizer]) -> Result<(), RecognizeError> {
        let ours = |stream: &Stream| Arc::ptr_eq(stream.model(), &self.model);
        let mut streams = streams_of(NAME, rows, ours)?;
        step(&self.model, &mut streams)
    }
}

#[cfg(test)]
mod tests;
