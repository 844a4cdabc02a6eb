//! Engines of published ONNX models, opened as they are configured.

#[cfg(any(feature = "transducer", feature = "paraformer"))]
use std::path::Path;
use std::path::PathBuf;
#[cfg(any(feature = "transducer", feature = "paraformer"))]
use std::sync::Arc;

#[cfg(any(feature = "transducer", feature = "paraformer"))]
use antiphon_models_onnx::LoadError;
#[cfg(any(feature = "transducer", feature = "paraformer"))]
use antiphon_models_onnx::Precision;
use antiphon_models_onnx::Runtime;
#[cfg(any(feature = "transducer", feature = "paraformer"))]
use antiphon_models_speech::{Engine, RecognizeError};

#[cfg(feature = "transducer")]
pub(crate) fn transducer(settings: &crate::TransducerSettings) -> Result<Arc<dyn Engine>, RecognizeError> {
    use antiphon_models_onnx::{TransducerEngine, TransducerOptions};

    let engine = TransducerEngine::open(TransducerOptions {
        folder: settings.model.clone(),
        precision: precision(settings.int8),
        languages: settings.languages.clone(),
        paths: settings.paths,
        hinted_paths: settings.hinted_paths,
        boost: settings.boost,
        rows: settings.rows,
        threads: settings.threads,
        runtime: runtime("transducer", settings.onnxruntime.as_ref()),
    });
    Ok(Arc::new(engine.map_err(|e| refused("transducer", &settings.model, &e))?))
}

#[cfg(feature = "paraformer")]
pub(crate) fn paraformer(settings: &crate::ParaformerSettings) -> Result<Arc<dyn Engine>, RecognizeError> {
    use antiphon_media_frame::Span;
    use antiphon_models_onnx::{ParaformerEngine, ParaformerOptions};

    let engine = ParaformerEngine::open(ParaformerOptions {
        folder: settings.model.clone(),
        precision: precision(settings.int8),
        languages: settings.languages.clone(),
        written: settings.written,
        partial_every: Span::from_millis(settings.partial_ms.into()),
        rows: settings.rows,
        threads: settings.threads,
        runtime: runtime("paraformer", settings.onnxruntime.as_ref()),
    });
    Ok(Arc::new(engine.map_err(|e| refused("paraformer", &settings.model, &e))?))
}

#[cfg(any(feature = "transducer", feature = "paraformer"))]
fn precision(int8: bool) -> Precision {
    if int8 { Precision::Int8 } else { Precision::Float }
}

/// ONNX Runtime where a library is configured, or named by `ORT_DYLIB_PATH` as for other programs that load it.
pub(crate) fn runtime(engine: &'static str, library: Option<&PathBuf>) -> Runtime {
    let named = || std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let named = || named().filter(|path| cfg!(feature = "ort") && !path.as_os_str().is_empty());
    match library.cloned().or_else(named) {
        Some(library) => {
            tracing::info!(engine, library = %library.display(), "computed by ONNX Runtime");
            Runtime::Ort { library }
        }
        None => {
            tracing::info!(engine, "computed by rten");
            Runtime::Rten
        }
    }
}

#[cfg(any(feature = "transducer", feature = "paraformer"))]
fn refused(engine: &'static str, folder: &Path, error: &LoadError) -> RecognizeError {
    match error {
        LoadError::Missing { .. } | LoadError::File { .. } => RecognizeError::MissingModel {
            engine,
            what: "model",
            path: folder.display().to_string(),
            advice: format!("{error}: set `recognizer.{engine}.model` to the folder of a published model"),
        },
        _ => RecognizeError::Engine { engine, message: format!("{}: {error}", folder.display()) },
    }
}
