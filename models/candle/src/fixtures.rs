//! The tiny models and what transformers says of them (`scripts/tiny_whisper.py`).

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Frames in the tiny models' window.
pub(crate) const FRAMES: usize = 500;

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Four seconds of something like speech, 16 kHz.
pub(crate) fn pcm() -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx/fixtures/audio.wav");
    let bytes = std::fs::read(path).expect("a fixture");
    bytes[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

pub(crate) fn audio() -> Vec<f32> {
    pcm().iter().map(|s| f32::from(*s) / 32_768.0).collect()
}

pub(crate) fn expected() -> Value {
    let text = std::fs::read_to_string(folder("expected.json")).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|n| n.as_f64().expect("a number")).collect()
}

/// The GGUF of the multilingual model as candle's examples publish it: config and tokenizer named like it.
pub(crate) fn quantised() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    for (from, to) in [
        ("multilingual/config.json", "config-tiny.json"),
        ("multilingual/tokenizer.json", "tokenizer-tiny.json"),
        ("multilingual/generation_config.json", "generation_config-tiny.json"),
        ("model-tiny-q80.gguf", "model-tiny-q80.gguf"),
    ] {
        std::fs::copy(self::folder(from), folder.path().join(to)).expect("copied");
    }
    let path = folder.path().join("model-tiny-q80.gguf");
    (folder, path)
}
