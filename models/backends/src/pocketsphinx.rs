//! The recogniser that needs no download: Debian's libpocketsphinx with its US English model, or any model folder.
//!
//! A stream's hints become a small language model over a floor of common words, or alone where they are closed;
//! without hints the model's own language model decodes everything its dictionary has. Decoders are kept and handed
//! from call to call, their channel estimate put back in between.

mod band;
mod decoder;
mod dictionary;
mod expect;
mod ffi;
mod letters;
mod model;
mod stream;
mod voiced;

use std::sync::Arc;

use antiphon_media_frame::SampleRate;
use antiphon_models_speech::{Engine, RecognizeError, Recognizer, StreamConfig};

use crate::settings::PocketSphinxSettings;
use model::Model;
use stream::Stream;

const NAME: &str = "pocketsphinx";

/// The pocketsphinx engine.
pub struct PocketSphinx {
    models: Vec<Arc<Model>>,
}

impl PocketSphinx {
    /// Checks the models' files. Each is loaded by the first stream that needs it.
    ///
    /// # Errors
    /// [`RecognizeError::MissingModel`] where a configured model is not there, or nothing is configured and Debian's
    /// is not installed.
    pub fn open(settings: &PocketSphinxSettings) -> Result<Self, RecognizeError> {
        let load = |files| Model::new(files, settings.common_words, settings.idle_decoders).map(Arc::new);
        let mut models = settings.models.iter().cloned().map(load).collect::<Result<Vec<_>, _>>()?;
        match load(model::debian()) {
            Ok(model) => models.push(model),
            Err(e) if models.is_empty() => return Err(e),
            Err(_) => {}
        }
        Ok(Self { models })
    }
}

impl Engine for PocketSphinx {
    fn name(&self) -> &'static str {
        NAME
    }

    /// 8 kHz where the wire is narrow and a narrowband model is configured, else 16 kHz. A stream whose language has
    /// a model of the other rate only converts by itself.
    fn rate(&self, source: SampleRate) -> SampleRate {
        let narrow = self.models.iter().any(|m| m.files.rate_hz == SampleRate::HZ_8000.hz());
        if narrow && source == SampleRate::HZ_8000 { SampleRate::HZ_8000 } else { SampleRate::HZ_16000 }
    }

    fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        let rate = self.rate(config.source_rate);
        let primary = config.language.primary();
        let speaks = |m: &&Arc<Model>| m.files.language == primary;
        let model = self
            .models
            .iter()
            .filter(speaks)
            .find(|m| m.files.rate_hz == rate.hz())
            .or_else(|| self.models.iter().find(speaks))
            .ok_or_else(|| RecognizeError::Language {
                engine: NAME,
                language: config.language.tag().to_owned(),
                advice: "configure a model folder for it".to_owned(),
            })?;
        Ok(Box::new(Stream::open(Arc::clone(model), rate, &config.hints)?))
    }
}

#[cfg(test)]
mod tests;
