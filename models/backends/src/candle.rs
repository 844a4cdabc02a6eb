//! Whisper on candle, opened as it is configured.

use std::sync::Arc;

use antiphon_media_frame::Span;
use antiphon_models_candle::{CandleEngine, CandleOptions, Device, LoadError};
use antiphon_models_speech::{Engine, RecognizeError};

use crate::settings::{CandleDevice, CandleSettings};

const NAME: &str = "candle";

pub(crate) fn open(settings: &CandleSettings) -> Result<Arc<dyn Engine>, RecognizeError> {
    let engine = CandleEngine::open(CandleOptions {
        model: settings.model.clone(),
        device: match settings.device {
            CandleDevice::Cpu => Device::Cpu,
            CandleDevice::Cuda => Device::Cuda(settings.card),
            CandleDevice::Metal => Device::Metal,
        },
        half: settings.half,
        expand: false,
        languages: settings.languages.clone(),
        detect: settings.detect,
        partial_every: Span::from_millis(settings.partial_ms.into()),
        retries: settings.retries,
        prompt: settings.prompt_tokens,
        rows: settings.rows,
        threads: settings.threads,
    });
    Ok(Arc::new(engine.map_err(|e| refused(settings, &e))?))
}

fn refused(settings: &CandleSettings, error: &LoadError) -> RecognizeError {
    match error {
        LoadError::Missing { .. } | LoadError::File { .. } => RecognizeError::MissingModel {
            engine: NAME,
            what: "model",
            path: settings.model.display().to_string(),
            advice: format!(
                "{error}: set `recognizer.candle.model` to the folder of a published model, a GGUF file or the name of a \
                 pulled model"
            ),
        },
        LoadError::Device { .. } => RecognizeError::Engine {
            engine: NAME,
            message: format!("{error}: build with `--features antiphon-models-candle/cuda` or `/metal`"),
        },
        _ => RecognizeError::Engine { engine: NAME, message: error.to_string() },
    }
}
