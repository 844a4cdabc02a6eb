//! What a thousand phrases to favour cost: the CPU time of steps with and without them, on the same sound, in turns.
//!
//! ```text
//! scripts/tiny_models.py --large /tmp/large
//! ANTIPHON_MODEL=/tmp/large cargo bench -p antiphon-models-onnx --features rten,ort --bench hints
//! ```
//!
//! A step is a whole one: features, encoder, search. `ONNXRUNTIME` adds that runtime, `ANTIPHON_SOUND` names the sound (WAV of
//! 16 kHz, 16 bits, one channel). Of `ANTIPHON_MODEL` the folder `ctc` is measured, too. Half of the phrases are made of what the
//! model hears in that sound, so that they are walked through; the other half of its other tokens. Without a model it takes
//! the tiny ones, which shows that the bench works and nothing else.

#![allow(clippy::print_stdout, reason = "a bench shows what it measured")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_media_frame::{AudioBuf, SampleRate};
use antiphon_models_onnx::{Precision, Runtime, TransducerEngine, TransducerOptions};
use antiphon_models_speech::{Engine, Hints, Language, Recognition, Recognizer, StreamConfig};

const RATE: SampleRate = SampleRate::HZ_16000;
/// Steps of a turn, after a few that warm up.
const STEPS: usize = 25;
const WARM_UP: usize = 2;
const PHRASES: usize = 1_000;

/// One way to hear.
struct Way {
    name: &'static str,
    /// Ways of understanding that are followed at once.
    paths: usize,
    phrases: usize,
}

const WAYS: [Way; 4] = [
    Way { name: "greedy, as without hints", paths: 1, phrases: 0 },
    Way { name: "4 paths, no phrase", paths: 4, phrases: 0 },
    Way { name: "4 paths, 1 phrase", paths: 4, phrases: 1 },
    Way { name: "4 paths, 1,000 phrases", paths: 4, phrases: PHRASES },
];

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let turns = if whole { 16 } else { 1 };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let models = match std::env::var_os("ANTIPHON_MODEL").map(PathBuf::from) {
        Some(folder) => vec![folder.clone(), folder.join("ctc")],
        None => vec![fixtures.join("zipformer2"), fixtures.join("zipformer2-ctc")],
    };
    let sound = std::env::var_os("ANTIPHON_SOUND").map_or_else(|| fixtures.join("audio.wav"), PathBuf::from);
    let pcm = wav(&sound);
    let mut runtimes = vec![("rten", Runtime::Rten)];
    if let Some(library) = std::env::var_os("ONNXRUNTIME").filter(|_| cfg!(feature = "ort")) {
        runtimes.push(("ort", Runtime::Ort { library: library.into() }));
    }
    for folder in models.iter().filter(|folder| folder.is_dir()) {
        for (runtime, kind) in &runtimes {
            for (weights, precision) in [("float", Precision::Float), ("int8", Precision::Int8)] {
                println!("{}, {runtime}, {weights}", folder.display());
                for rows in [1, 8] {
                    measure(folder, kind, precision, rows, turns, &pcm);
                }
            }
        }
    }
}

fn measure(folder: &Path, runtime: &Runtime, precision: Precision, rows: usize, turns: usize, pcm: &[i16]) {
    let engine = |paths| {
        let runtime = runtime.clone();
        let options = TransducerOptions { precision, runtime, paths, ..TransducerOptions::new(folder) };
        TransducerEngine::open(options).expect("a model")
    };
    let (greedy, beam) = (engine(1), engine(4));
    let phrases = phrases(folder, &heard(&greedy, pcm));
    let mut costs = [const { Vec::new() }; WAYS.len()];
    for turn in 0..turns {
        // Each goes first as often as the others.
        for n in 0..WAYS.len() {
            let n = (n + turn) % WAYS.len();
            let way = &WAYS[n];
            let engine = if way.paths == 1 { &greedy } else { &beam };
            let hints = Hints { phrases: phrases[..way.phrases].to_vec(), ..Hints::default() };
            costs[n].push(step(engine, rows, &hints, pcm));
        }
    }
    // What disturbs only adds: the quietest quarter of the turns is nearest to the cost.
    let cost = costs.map(|mut turns| {
        turns.sort_unstable();
        turns.truncate(turns.len().div_ceil(4));
        turns.iter().sum::<Duration>().as_secs_f64() / turns.len() as f64
    });
    for (way, cost_of) in WAYS.iter().zip(cost) {
        let against = |other: f64| (cost_of / other - 1.0) * 100.0;
        println!(
            "  {rows} rows  {:26} {:8.3} ms a row's step  {:+6.1} % of greedy  {:+6.1} % of the same paths",
            way.name,
            cost_of * 1e3,
            against(cost[0]),
            against(cost[usize::from(way.paths > 1)])
        );
    }
}

/// What a model hears.
fn heard(engine: &TransducerEngine, pcm: &[i16]) -> String {
    let mut stream = open(engine, &Hints::default(), pcm);
    stream.flush().expect("flushed");
    while stream.owed() > 0 {
        engine.step(&mut [&mut *stream]).expect("computed");
    }
    let mut said = Vec::new();
    while let Some(recognition) = stream.poll() {
        if let Recognition::Final(utterance) = recognition {
            said.push(utterance.text);
        }
    }
    said.join(" ")
}

/// A thousand phrases of two to four words, the first and every second one of what was heard.
fn phrases(folder: &Path, heard: &str) -> Vec<String> {
    let spoken: Vec<&str> = heard.split_whitespace().collect();
    let tokens = std::fs::read_to_string(folder.join("tokens.txt")).expect("tokens");
    let words: Vec<&str> = tokens
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.strip_prefix('\u{2581}'))
        .filter(|piece| !piece.is_empty())
        .collect();
    let mut seed = 3u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below.max(1)
    };
    (0..PHRASES)
        .map(|n| {
            let length = 2 + random(3);
            if n % 2 == 0 && spoken.len() > length {
                let at = random(spoken.len() - length);
                return spoken[at..at + length].join(" ");
            }
            let words: Vec<&str> = (0..length).map(|_| words[random(words.len())]).collect();
            words.join(" ")
        })
        .collect()
}

fn open(engine: &TransducerEngine, hints: &Hints, pcm: &[i16]) -> Box<dyn Recognizer> {
    let config = StreamConfig { language: Language::english(), hints: hints.clone(), source_rate: RATE };
    let mut stream = engine.open(&config).expect("a stream");
    stream.push(AudioBuf::voice(pcm.to_vec(), RATE).frame()).expect("taken");
    stream
}

/// The CPU time of one row of one step.
fn step(engine: &TransducerEngine, rows: usize, hints: &Hints, pcm: &[i16]) -> Duration {
    let wanted = RATE.samples(engine.pace().chunk) * (WARM_UP + STEPS + 1);
    let pcm: Vec<i16> = pcm.iter().copied().cycle().take(wanted).collect();
    let mut streams: Vec<_> = (0..rows).map(|_| open(engine, hints, &pcm)).collect();
    let mut run = || {
        let mut rows: Vec<&mut dyn Recognizer> = streams.iter_mut().map(|s| &mut **s).collect();
        engine.step(&mut rows).expect("computed");
    };
    (0..WARM_UP).for_each(|_| run());
    let before = cpu();
    (0..STEPS).for_each(|_| run());
    (cpu() - before) / u32::try_from(STEPS * rows).expect("few")
}

/// The samples of a plain WAV file.
fn wav(path: &Path) -> Vec<i16> {
    let octets = std::fs::read(path).expect("a WAV file");
    octets[44..].chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect()
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
