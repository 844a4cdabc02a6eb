//! Why a model could not be loaded or run.

/// Why a folder is no model that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that belongs to the model is not there.
    #[error("no {what} in {folder}")]
    Missing {
        /// What was looked for: `encoder*.onnx`.
        what: &'static str,
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
    /// The publisher's metadata lacks a value or has one that makes no sense.
    #[error("metadata {key}: {found:?} is not usable")]
    Meta {
        /// The key.
        key: &'static str,
        /// What stands there; empty where nothing does.
        found: String,
    },
    /// The graph's inputs and outputs are not those of the layout.
    #[error("the graph does not fit: {reason}")]
    Layout {
        /// What is in the way.
        reason: String,
    },
    /// The runtime refused the graph, or is not in this build.
    #[error("{runtime}: {message}")]
    Runtime {
        /// Which runtime.
        runtime: &'static str,
        /// Its own words.
        message: String,
    },
}

/// Why a run of a graph failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{runtime}: {message}")]
pub struct RunError {
    /// Which runtime.
    pub runtime: &'static str,
    /// Its own words.
    pub message: String,
}
