//! What a stream costs: streams a core by runtime, precision and rows in one run; memory a stream. What
//! hints add is in `hints.rs`.
//!
//! ```text
//! scripts/tiny_models.py --large /tmp/large
//! ANTIPHON_MODEL=/tmp/large ONNXRUNTIME=…/libonnxruntime.so.1.31.1 \
//!     cargo bench -p antiphon-models-onnx --features rten,ort --bench streams
//! ```
//!
//! Without a model it takes the tiny one, which shows that the bench works and nothing else. Times are the CPU's, of
//! all threads, so that another program's load shows little.

#![allow(clippy::print_stdout, reason = "a bench shows what it measured")]

use std::path::PathBuf;
use std::time::Duration;

use antiphon_media_frame::{AudioBuf, SampleRate};
use antiphon_models_onnx::{Precision, Runtime, TransducerEngine, TransducerOptions};
use antiphon_models_speech::{Engine, Hints, Language, Recognizer, StreamConfig};

const RATE: SampleRate = SampleRate::HZ_16000;
/// Chunks of each measurement, after a few that warm up.
const STEPS: usize = 20;
const WARM_UP: usize = 3;

fn main() {
    let folder = std::env::var_os("ANTIPHON_MODEL")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/zipformer2"), PathBuf::from);
    let mut runtimes = vec![("rten", Runtime::Rten)];
    if let Some(library) = std::env::var_os("ONNXRUNTIME").filter(|_| cfg!(feature = "ort")) {
        runtimes.push(("ort", Runtime::Ort { library: library.into() }));
    }
    println!("{}", folder.display());
    println!("runtime  weights  rows  ms a row's step  streams a core");
    for (weights, precision) in [("float", Precision::Float), ("int8", Precision::Int8)] {
        for (name, runtime) in &runtimes {
            let options =
                TransducerOptions { precision, runtime: runtime.clone(), ..TransducerOptions::new(&folder) };
            let engine = TransducerEngine::open(options).expect("a model");
            for rows in [1, 4, 8] {
                let cost = step(&engine, rows, &Hints::default());
                let streams = engine.pace().chunk.secs_f64() / cost.as_secs_f64();
                println!(
                    "{name:7}  {weights:7}  {rows:4}  {:15.2}  {streams:14.1}",
                    cost.as_secs_f64() * 1e3
                );
            }
        }
    }
    let options = TransducerOptions { paths: 4, ..TransducerOptions::new(&folder) };
    let engine = TransducerEngine::open(options).expect("a model");
    println!("state a stream: {} KiB", engine.state_bytes() / 1024);
    let (before, count) = (resident(), 200);
    let streams: Vec<_> = (0..count).map(|_| heard(&engine, &Hints::default(), 2)).collect();
    println!("resident a stream in mid-utterance: {} KiB", (resident() - before) / count / 1024);
    drop(streams);
}

fn heard(engine: &TransducerEngine, hints: &Hints, chunks: usize) -> Box<dyn Recognizer> {
    let config = StreamConfig { language: Language::english(), hints: hints.clone(), source_rate: RATE };
    let mut stream = engine.open(&config).expect("a stream");
    let samples = RATE.samples(engine.pace().chunk) * (chunks + 1);
    // A hum with a beat: speech-like enough to be computed, which costs the same for any sound.
    let hum = (0..samples).map(|n| ((n * n / 7_000 % 160) as i16 - 80) * 40);
    stream.push(AudioBuf::voice(hum.collect(), RATE).frame()).expect("taken");
    stream
}

/// The CPU time of one row of one step.
fn step(engine: &TransducerEngine, rows: usize, hints: &Hints) -> Duration {
    let mut streams: Vec<_> = (0..rows).map(|_| heard(engine, hints, WARM_UP + STEPS)).collect();
    let mut run = || {
        let mut rows: Vec<&mut dyn Recognizer> = streams.iter_mut().map(|s| &mut **s).collect();
        engine.step(&mut rows).expect("computed");
    };
    (0..WARM_UP).for_each(|_| run());
    let before = cpu();
    (0..STEPS).for_each(|_| run());
    (cpu() - before) / u32::try_from(STEPS * rows).expect("few")
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

/// Bytes of memory in use.
fn resident() -> usize {
    let line = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = line.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4_096
}
