//! Named tensors out of safetensors and GGUF files.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use candle_core::quantized::{QMatMul, QTensor, gguf_file};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::LayerNorm;
use serde::Deserialize;

use crate::LoadError;
use crate::error::{file, format, value};
use crate::files::{Stored, json};

/// No published model is in more parts.
const PARTS: usize = 256;
/// Of Whisper's layer norms.
const EPSILON: f64 = 1e-5;

enum Source {
    Plain(HashMap<String, Tensor>),
    Gguf { content: gguf_file::Content, file: RefCell<BufReader<File>> },
}

/// A model's tensors.
pub(crate) struct Weights {
    path: PathBuf,
    source: Source,
    device: Device,
    dtype: DType,
    /// Whether quantised matrices become floats.
    expand: bool,
}

/// The index of a model in parts.
#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Weights {
    /// Reads safetensors whole, or a GGUF file's list of tensors.
    pub(crate) fn open(
        stored: &Stored,
        device: &Device,
        dtype: DType,
        expand: bool,
    ) -> Result<Self, LoadError> {
        let (path, source) = match stored {
            Stored::Safetensors(path) => (path, Source::Plain(plain(path)?)),
            Stored::Sharded(path) => (path, Source::Plain(parts(path)?)),
            Stored::Gguf(path) => {
                let mut file = BufReader::new(File::open(path).map_err(file(path))?);
                let content = gguf_file::Content::read(&mut file).map_err(|e| format(path, &e))?;
                (path, Source::Gguf { content, file: RefCell::new(file) })
            }
        };
        Ok(Self { path: path.clone(), source, device: device.clone(), dtype, expand })
    }

    /// The tensor `name` of `shape`, as floats.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        self.find(name, shape)?.ok_or_else(|| self.wrong(name, &"is not there"))
    }

    /// The same where it may be missing.
    pub(crate) fn find(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>, LoadError> {
        let found = match &self.source {
            Source::Plain(tensors) => tensors.get(name).or_else(|| tensors.get(bare(name))).cloned(),
            Source::Gguf { .. } => {
                let quantised = self.quantised(name)?;
                quantised.map(|q| q.dequantize(&self.device)).transpose().map_err(|e| self.wrong(name, &e))?
            }
        };
        let Some(tensor) = found else { return Ok(None) };
        if tensor.dims() != shape {
            return Err(self.wrong(name, &format!("is {:?} where the model wants {shape:?}", tensor.dims())));
        }
        let ready = tensor.to_device(&self.device).and_then(|t| t.to_dtype(self.dtype)?.contiguous());
        ready.map(Some).map_err(|e| self.wrong(name, &e))
    }

    /// The matrix `name`, from `input` numbers to `output`, with `bias` or without.
    pub(crate) fn linear(
        &self,
        name: &str,
        input: usize,
        output: usize,
        bias: bool,
    ) -> Result<Linear, LoadError> {
        let bias = bias.then(|| self.tensor(&format!("{name}.bias"), &[output])).transpose()?;
        Ok(Linear { matrix: self.matrix(&format!("{name}.weight"), input, output)?, bias })
    }

    /// The matrix `name` alone: quantised where it is so in the file.
    pub(crate) fn matrix(&self, name: &str, input: usize, output: usize) -> Result<Matrix, LoadError> {
        if let Source::Gguf { .. } = self.source {
            let quantised = self.quantised(name)?.ok_or_else(|| self.wrong(name, &"is not there"))?;
            if quantised.shape().dims() != [output, input] {
                let found = quantised.shape().dims().to_vec();
                return Err(
                    self.wrong(name, &format!("is {found:?} where the model wants {:?}", [output, input]))
                );
            }
            use candle_core::quantized::GgmlDType::{BF16, F16, F32};
            if !self.expand && !matches!(quantised.dtype(), F32 | F16 | BF16) {
                let matrix = QMatMul::from_qtensor(quantised).map_err(|e| self.wrong(name, &e))?;
                return Ok(Matrix::Quantised(matrix));
            }
        }
        self.tensor(name, &[output, input]).map(Matrix::Plain)
    }

    pub(crate) fn norm(&self, name: &str, width: usize) -> Result<LayerNorm, LoadError> {
        let weight = self.tensor(&format!("{name}.weight"), &[width])?;
        let bias = self.tensor(&format!("{name}.bias"), &[width])?;
        Ok(LayerNorm::new(weight, bias, EPSILON))
    }

    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    fn quantised(&self, name: &str) -> Result<Option<QTensor>, LoadError> {
        let Source::Gguf { content, file } = &self.source else { return Ok(None) };
        let there = [name, bare(name)].into_iter().find(|name| content.tensor_infos.contains_key(*name));
        let Some(there) = there else { return Ok(None) };
        let read = content.tensor(&mut *file.borrow_mut(), there, &self.device);
        read.map(Some).map_err(|e| self.wrong(name, &e))
    }

    fn wrong(&self, name: &str, reason: &dyn std::fmt::Display) -> LoadError {
        LoadError::Tensor {
            path: self.path.display().to_string(),
            name: name.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Some files leave the first part of the name out.
fn bare(name: &str) -> &str {
    name.strip_prefix("model.").unwrap_or(name)
}

fn plain(path: &Path) -> Result<HashMap<String, Tensor>, LoadError> {
    let bytes = std::fs::read(path).map_err(file(path))?;
    candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|e| format(path, &e))
}

fn parts(index: &Path) -> Result<HashMap<String, Tensor>, LoadError> {
    let names: Index = json(index)?;
    let files: BTreeSet<&String> = names.weight_map.values().collect();
    if files.len() > PARTS {
        return Err(value(index, "weight_map", format!("{} files, more than {PARTS}", files.len())));
    }
    let mut out = HashMap::new();
    for name in files {
        // A name from a file that others wrote stays inside its folder.
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(value(index, "weight_map", format!("{name:?} is not the name of a file beside it")));
        }
        out.extend(plain(&index.with_file_name(name))?);
    }
    Ok(out)
}

/// A matrix.
#[derive(Debug)]
pub(crate) enum Matrix {
    Plain(Tensor),
    Quantised(QMatMul),
}

impl Matrix {
    /// `x` (…, input) times the matrix: (…, output).
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Plain(weight) => {
                let width = x.dims().last().copied().unwrap_or_default();
                let mut shape = x.dims().to_vec();
                shape.pop();
                shape.push(weight.dim(0)?);
                let rows = x.elem_count() / width.max(1);
                x.reshape((rows, width))?.matmul(&weight.t()?)?.reshape(shape)
            }
            // Quantised matrices take and give 32-bit floats.
            Self::Quantised(matrix) => {
                matrix.forward(&x.to_dtype(DType::F32)?.contiguous()?)?.to_dtype(x.dtype())
            }
        }
    }
}

/// A matrix with a bias.
#[derive(Debug)]
pub(crate) struct Linear {
    matrix: Matrix,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let out = self.matrix.forward(x)?;
        match &self.bias {
            Some(bias) => out.broadcast_add(bias),
            None => Ok(out),
        }
    }
}
