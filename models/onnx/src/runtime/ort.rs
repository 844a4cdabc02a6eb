//! ONNX Runtime, from a shared library that is loaded at run time.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynValue, TensorRef};

use super::Session;
use crate::graph::{Graph, Kind};
use crate::tensor::{Data, Tensor};
use crate::{LoadError, RunError};

const NAME: &str = "ort";

/// The library of this process: a second one cannot be loaded beside it.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

pub(super) struct Ort {
    /// A session's run wants it for itself: workers that share an engine take turns.
    session: Mutex<OrtSession>,
    inputs: Vec<Kind>,
    outputs: usize,
}

impl Ort {
    pub(super) fn load(
        bytes: &[u8],
        graph: &Graph,
        library: &Path,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let refused =
            |e: &dyn std::fmt::Display| LoadError::Runtime { runtime: NAME, message: e.to_string() };
        let environment = environment(library)?;
        let session = OrtSession::builder(&environment)
            .map_err(|e| refused(&e))?
            .with_intra_threads(threads)
            .map_err(|e| refused(&e))?
            .with_intra_op_spinning(false)
            .map_err(|e| refused(&e))?
            .commit_from_memory(bytes)
            .map_err(|e| refused(&e))?;
        let inputs = graph.inputs.iter().map(|port| port.kind).collect();
        Ok(Self { session: Mutex::new(session), inputs, outputs: graph.outputs.len() })
    }
}

/// Loads the library the first time; later it must be the same one.
fn environment(library: &Path) -> Result<Environment, LoadError> {
    let refused = |message: String| LoadError::Runtime { runtime: NAME, message };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((path, environment)) = &*loaded {
        if path == library {
            return Ok(environment.clone());
        }
        let reason = "is loaded already, and one process loads only one: name it for every engine";
        return Err(refused(format!("{} {reason}", path.display())));
    }
    if !library.is_file() {
        let advice = "install ONNX Runtime 1.24 or newer and name its libonnxruntime.so";
        return Err(refused(format!("no library at {}: {advice}", library.display())));
    }
    let builder = ort::init_from(library).map_err(|e| refused(e.to_string()))?;
    let environment = builder.with_telemetry(false).build().map_err(|e| refused(e.to_string()))?;
    *loaded = Some((library.to_owned(), environment.clone()));
    Ok(environment)
}

impl Session for Ort {
    fn run(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, RunError> {
        let failed = |e: &dyn std::fmt::Display| RunError { runtime: NAME, message: e.to_string() };
        if inputs.len() != self.inputs.len() {
            return Err(failed(&format!("{} inputs of {}", inputs.len(), self.inputs.len())));
        }
        let narrow: Vec<Vec<i32>> = inputs
            .iter()
            .zip(&self.inputs)
            .map(|(tensor, kind)| match kind {
                Kind::I32 => {
                    tensor.as_whole().iter().map(|n| i32::try_from(*n).unwrap_or(i32::MAX)).collect()
                }
                _ => Vec::new(),
            })
            .collect();
        let mut values: Vec<SessionInputValue<'_>> = Vec::with_capacity(inputs.len());
        for ((tensor, kind), narrow) in inputs.iter().zip(&self.inputs).zip(&narrow) {
            let shape = tensor.shape.clone();
            values.push(match (&tensor.data, kind) {
                (Data::F32(data), _) => {
                    TensorRef::from_array_view((shape, &data[..])).map_err(|e| failed(&e))?.into()
                }
                (Data::I64(_), Kind::I32) => {
                    TensorRef::from_array_view((shape, &narrow[..])).map_err(|e| failed(&e))?.into()
                }
                (Data::I64(data), _) => {
                    TensorRef::from_array_view((shape, &data[..])).map_err(|e| failed(&e))?.into()
                }
            });
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let out = session.run(&values[..]).map_err(|e| failed(&e))?;
        if out.len() != self.outputs {
            return Err(failed(&format!("{} outputs of {}", out.len(), self.outputs)));
        }
        (0..out.len()).map(|n| tensor(&out[n]).ok_or_else(|| failed(&"an output of no number"))).collect()
    }
}

fn tensor(value: &DynValue) -> Option<Tensor> {
    let sizes = |shape: &[i64]| shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect::<Vec<_>>();
    if let Ok((shape, data)) = value.try_extract_tensor::<f32>() {
        return Some(Tensor::floats(sizes(shape), data.to_vec()));
    }
    if let Ok((shape, data)) = value.try_extract_tensor::<i64>() {
        return Some(Tensor::whole(sizes(shape), data.to_vec()));
    }
    let (shape, data) = value.try_extract_tensor::<i32>().ok()?;
    Some(Tensor::whole(sizes(shape), data.iter().map(|n| i64::from(*n)).collect()))
}
