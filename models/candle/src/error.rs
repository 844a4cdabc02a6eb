//! Why a model could not be loaded or run.

/// Why there is no model at a path that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that belongs to the model is not there.
    #[error("no {what} in {folder}")]
    Missing {
        /// What was looked for: `config.json`.
        what: String,
        /// Where.
        folder: String,
    },
    /// A file could not be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value is missing or makes no sense.
    #[error("{path}: {key}: {reason}")]
    Value {
        /// The file.
        path: String,
        /// The key in it.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is missing or of another shape.
    #[error("{path}: tensor {name}: {reason}")]
    Tensor {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such device, or this build cannot compute on it.
    #[error("device {device}: {reason}")]
    Device {
        /// What was asked for.
        device: String,
        /// Candle's own words.
        reason: String,
    },
    /// The model loads and does not compute.
    #[error("the model does not compute: {0}")]
    Run(#[from] RunError),
}

/// Why a computation failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RunError(#[from] candle_core::Error);

/// A file's error, with its path.
pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> LoadError {
    move |source| LoadError::File { path: path.display().to_string(), source }
}

/// A file that is not what its name says.
pub(crate) fn format(path: &std::path::Path, reason: &dyn std::fmt::Display) -> LoadError {
    LoadError::Format { path: path.display().to_string(), reason: reason.to_string() }
}

/// A value in a file that makes no sense.
pub(crate) fn value(path: &std::path::Path, key: &str, reason: impl Into<String>) -> LoadError {
    LoadError::Value { path: path.display().to_string(), key: key.to_owned(), reason: reason.into() }
}
