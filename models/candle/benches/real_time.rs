//! What a stream costs: computing time a second of sound, alone and side by side.
//!
//! ```text
//! cargo bench -p antiphon-models-candle --features cpu
//! ```
//!
//! It makes a model of Whisper tiny's size (39 million numbers) with random weights. Such a model never ends, so that each
//! window costs as many tokens as may be written of its sound: more than speech has. Run as a test it takes the tiny model
//! of the tests, which shows that the bench works and nothing else.

#![allow(clippy::print_stdout, reason = "a bench shows what it measured")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_media_frame::{AudioBuf, SampleRate, Span};
use antiphon_models_candle::{CandleEngine, CandleOptions};
use antiphon_models_speech::{Engine, Hints, Language, Recognizer, StreamConfig};
use candle_core::{DType, Device, Tensor};

const RATE: SampleRate = SampleRate::HZ_16000;
/// Whisper tiny: width, layers, heads, vocabulary, positions, tokens.
const WIDTH: usize = 384;
const LAYERS: usize = 4;
const HEADS: usize = 6;
const VOCABULARY: usize = 51_865;
const POSITIONS: usize = 1_500;
const TOKENS: usize = 448;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = std::env::args().any(|argument| argument == "--bench");
    let (path, seconds) = if whole {
        write(folder.path());
        (folder.path().to_owned(), 10)
    } else {
        (PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/multilingual"), 4)
    };
    println!("rows  threads  CPU seconds a second of sound");
    for (rows, threads) in [(1, 1), (4, 1), (1, 2)] {
        let options =
            CandleOptions { retries: 0, partial_every: Span::ZERO, threads, ..CandleOptions::new(&path) };
        let engine = CandleEngine::open(options).expect("a model");
        let mut streams: Vec<_> = (0..rows).map(|_| heard(&engine, seconds)).collect();
        let mut streams: Vec<&mut dyn Recognizer> = streams.iter_mut().map(|s| &mut **s).collect();
        let before = cpu();
        engine.step(&mut streams).expect("computed");
        let cost = (cpu() - before).as_secs_f64() / (rows * seconds) as f64;
        println!("{rows:4}  {threads:7}  {cost:.3}");
    }
}

fn heard(engine: &CandleEngine, seconds: usize) -> Box<dyn Recognizer> {
    let config = StreamConfig { language: Language::english(), hints: Hints::default(), source_rate: RATE };
    let mut stream = engine.open(&config).expect("a stream");
    // A hum with a beat: any sound costs the same.
    let hum = (0..seconds * 16_000).map(|n| ((n * n / 7_000 % 160) as i16 - 80) * 40);
    stream.push(AudioBuf::voice(hum.collect(), RATE).frame()).expect("taken");
    stream.flush().expect("flushed");
    stream
}

/// A model of Whisper tiny's size with random weights.
fn write(folder: &Path) {
    let config = serde_json::json!({
        "vocab_size": VOCABULARY, "num_mel_bins": 80, "d_model": WIDTH, "encoder_layers": LAYERS,
        "encoder_attention_heads": HEADS, "decoder_layers": LAYERS, "decoder_attention_heads": HEADS,
        "max_source_positions": POSITIONS, "max_target_positions": TOKENS,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("written");
    // 256 single bytes, then pieces; the marks where the multilingual models have them.
    let mut vocab = serde_json::Map::new();
    let printable = |c: u32| matches!(c, 33..=126 | 161..=172 | 174..=255);
    let bytes = (0..=255u32).filter(|c| printable(*c)).chain(256..324).filter_map(char::from_u32);
    for (id, byte) in bytes.enumerate() {
        vocab.insert(byte.to_string(), id.into());
    }
    let first = vocab.len();
    for id in first..50_257 {
        // Three letters for bytes, all different.
        let n = id - first;
        let text: String =
            [n % 90, n / 90 % 90, n / 8_100].iter().map(|d| char::from(33 + *d as u8)).collect();
        vocab.insert(format!("Ġ{text}"), id.into());
    }
    let marks = [
        ("<|endoftext|>", 50_257),
        ("<|startoftranscript|>", 50_258),
        ("<|en|>", 50_259),
        ("<|transcribe|>", 50_359),
        ("<|startofprev|>", 50_361),
        ("<|nospeech|>", 50_362),
        ("<|notimestamps|>", 50_363),
    ];
    let added: Vec<_> =
        marks.iter().map(|(name, id)| serde_json::json!({ "id": id, "content": name })).collect();
    let tokenizer = serde_json::json!({ "added_tokens": added, "model": { "vocab": vocab, "merges": [] } });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("written");
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    let mut seed = 7u32;
    let mut put = |name: String, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let norm = name.contains("norm.weight");
        let values: Vec<f32> = (0..count)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = ((seed >> 8) as f32 / (1 << 24) as f32 - 0.5) * 0.1;
                if norm { 1.0 + value } else { value }
            })
            .collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).and_then(|t| t.to_dtype(DType::F16));
        tensors.insert(name, tensor.expect("a tensor"));
    };
    for (name, input) in [("conv1", 80), ("conv2", WIDTH)] {
        put(format!("model.encoder.{name}.weight"), &[WIDTH, input, 3]);
        put(format!("model.encoder.{name}.bias"), &[WIDTH]);
    }
    put("model.decoder.embed_tokens.weight".to_owned(), &[VOCABULARY, WIDTH]);
    put("model.decoder.embed_positions.weight".to_owned(), &[TOKENS, WIDTH]);
    for side in ["encoder", "decoder"] {
        for layer in 0..LAYERS {
            let base = format!("model.{side}.layers.{layer}");
            let cross = (side == "decoder").then_some("encoder_attn");
            for attention in std::iter::once("self_attn").chain(cross) {
                for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                    put(format!("{base}.{attention}.{part}.weight"), &[WIDTH, WIDTH]);
                    put(format!("{base}.{attention}.{part}.bias"), &[WIDTH]);
                }
                put(format!("{base}.{attention}_layer_norm.weight"), &[WIDTH]);
                put(format!("{base}.{attention}_layer_norm.bias"), &[WIDTH]);
            }
            for (part, input, output) in [("fc1", WIDTH, 4 * WIDTH), ("fc2", 4 * WIDTH, WIDTH)] {
                put(format!("{base}.{part}.weight"), &[output, input]);
                put(format!("{base}.{part}.bias"), &[output]);
            }
            put(format!("{base}.final_layer_norm.weight"), &[WIDTH]);
            put(format!("{base}.final_layer_norm.bias"), &[WIDTH]);
        }
        put(format!("model.{side}.layer_norm.weight"), &[WIDTH]);
        put(format!("model.{side}.layer_norm.bias"), &[WIDTH]);
    }
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).expect("saved");
}

/// The CPU time of all our threads.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanos = tasks.filter_map(|task| {
        let line = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
