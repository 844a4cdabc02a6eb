//! The tiny models and what the original libraries say of them (`scripts/tiny_models.py`).

use std::path::PathBuf;

use serde_json::Value;

#[cfg(feature = "rten")]
use crate::Runtime;

pub(crate) fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// What computes in the tests: rten, or ONNX Runtime where `ONNXRUNTIME` names its library (and the feature `ort` is on).
#[cfg(feature = "rten")]
pub(crate) fn runtime() -> Runtime {
    match std::env::var_os("ONNXRUNTIME").filter(|library| !library.is_empty()) {
        Some(library) => Runtime::Ort { library: library.into() },
        None => Runtime::Rten,
    }
}

/// Four seconds of something like speech, 16 kHz.
pub(crate) fn audio() -> Vec<i16> {
    let bytes = std::fs::read(folder("audio.wav")).expect("a fixture");
    bytes[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

pub(crate) fn expected() -> Value {
    let text = std::fs::read_to_string(folder("expected.json")).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|n| n.as_f64().expect("a number")).collect()
}

#[cfg(feature = "rten")]
pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|n| n.as_str().expect("text").to_owned()).collect()
}
