//! One interface over the runtimes that compute graphs.

use std::path::{Path, PathBuf};
#[cfg(feature = "rten")]
use std::sync::Arc;

use crate::graph::Graph;
use crate::tensor::Tensor;
use crate::{LoadError, RunError};

#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "rten")]
mod rten;

/// Larger files are refused: one protocol buffer holds 2 GiB.
const LARGEST: u64 = 2 << 30;

/// What computes the graphs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// The pure-Rust runtime (feature `rten`).
    #[default]
    Rten,
    /// ONNX Runtime (feature `ort`) from a shared library, 1.24 or newer. One path serves the whole process: the first
    /// engine that is opened decides.
    Ort {
        /// The library: `libonnxruntime.so.1.31.0`.
        library: PathBuf,
    },
}

/// A loaded graph. Inputs and outputs are in the graph's order.
pub(crate) trait Session: Send + Sync {
    /// Computes every output. The inputs are checked by the runtime.
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, RunError>;
}

/// Loads graphs into one runtime that computes them with the same threads.
pub(crate) struct Loader {
    #[cfg(feature = "rten")]
    pool: Arc<::rten::ThreadPool>,
    runtime: Runtime,
    #[cfg_attr(not(feature = "ort"), expect(dead_code, reason = "read by ort alone"))]
    threads: usize,
}

impl Loader {
    pub(crate) fn new(runtime: &Runtime, threads: usize) -> Self {
        let threads = threads.clamp(1, 64);
        Self {
            #[cfg(feature = "rten")]
            pool: Arc::new(::rten::ThreadPool::with_num_threads(threads)),
            runtime: runtime.clone(),
            threads,
        }
    }

    /// Reads a model and makes it ready to run.
    pub(crate) fn load(&self, path: &Path) -> Result<(Graph, Box<dyn Session>), LoadError> {
        let shown = || path.display().to_string();
        let file = |source| LoadError::File { path: shown(), source };
        let length = std::fs::metadata(path).map_err(file)?.len();
        if length > LARGEST {
            let reason = format!("{length} bytes are more than the 2 GiB of a model file");
            return Err(LoadError::Format { path: shown(), reason });
        }
        let bytes = std::fs::read(path).map_err(file)?;
        let graph =
            Graph::read(&bytes).map_err(|e| LoadError::Format { path: shown(), reason: e.to_string() })?;
        let session = self.session(bytes, &graph)?;
        Ok((graph, session))
    }

    fn session(&self, bytes: Vec<u8>, graph: &Graph) -> Result<Box<dyn Session>, LoadError> {
        #[cfg(not(any(feature = "rten", feature = "ort")))]
        let _ = (bytes, graph);
        match &self.runtime {
            #[cfg(feature = "rten")]
            Runtime::Rten => Ok(Box::new(rten::Rten::load(bytes, graph, Arc::clone(&self.pool))?)),
            #[cfg(not(feature = "rten"))]
            Runtime::Rten => Err(absent("rten")),
            #[cfg(feature = "ort")]
            Runtime::Ort { library } => Ok(Box::new(ort::Ort::load(&bytes, graph, library, self.threads)?)),
            #[cfg(not(feature = "ort"))]
            Runtime::Ort { .. } => Err(absent("ort")),
        }
    }

    /// Calls `work` where the runtime's threads are, so that its many small runs need not change threads.
    pub(crate) fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        #[cfg(feature = "rten")]
        if self.runtime == Runtime::Rten {
            return self.pool.run(work);
        }
        work()
    }
}

#[cfg(not(all(feature = "rten", feature = "ort")))]
fn absent(runtime: &'static str) -> LoadError {
    LoadError::Runtime {
        runtime,
        message: format!("not in this build: build with the feature `{runtime}` or choose another runtime"),
    }
}
