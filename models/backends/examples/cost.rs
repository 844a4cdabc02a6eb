//! Measures what engines and voices cost: CPU time for a second of speech, and memory.
//!
//! ```sh
//! cargo run --release -p antiphon-models-backends --features pocketsphinx,flite,espeak,transducer,paraformer,piper,ort \
//!     --example cost -- pocketsphinx flite espeak transducer=/tmp/large paraformer=/tmp/large/paraformer \
//!     transducer@/usr/lib/libonnxruntime.so=/tmp/large
//! ```
//! `ENGINE[+float][@LIBRARY][=MODEL]`: eight-bit weights are taken unless `+float` is said, the library is ONNX Runtime's. Each is
//! measured in a process of its own, one stream after the other and alone, with speech of flite's. CPU time is that of all
//! threads and child processes.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use antiphon_media_codec::resample;
use antiphon_media_frame::{AudioBuf, SampleRate};
use antiphon_models_backends::{EngineSettings, VoiceSettings, open_engine, open_voice, voice_names};
use antiphon_models_speech::{Engine, Hints, Language, Recognizer, SpeechRequest, StreamConfig, Synthesizer};

const LINES: [&str; 10] = [
    "what is my balance",
    "i would like to transfer some money",
    "please transfer two hundred dollars to my savings account",
    "i lost my credit card",
    "can i talk to a real person please",
    "four two seven one",
    "my account number is one two three four five six seven eight",
    "i need to change my address",
    "what are your opening hours",
    "tell me about the latest transactions",
];
/// How often the lines are heard.
const ROUNDS: usize = 3;
/// Streams that are held open for the memory of one.
const HELD: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, what] = &asked[..]
        && flag == "--one"
    {
        return one(what);
    }
    println!("{:<44}  CPU a second of speech  loaded   a stream in mid-utterance", "engine");
    for what in &asked {
        let status = Command::new(std::env::current_exe()?).args(["--one", what]).status()?;
        if !status.success() {
            println!("{what:<44}  could not be measured");
        }
    }
    Ok(())
}

fn one(what: &str) -> Result<(), Box<dyn Error>> {
    let (name, model) = what.split_once('=').unwrap_or((what, ""));
    let (name, library) = name.split_once('@').unwrap_or((name, ""));
    let (name, float) = name.strip_suffix("+float").map_or((name, false), |name| (name, true));
    let library = (!library.is_empty()).then(|| PathBuf::from(library));
    let before = resident();
    if voice_names().contains(&name) {
        let mut settings = VoiceSettings::default();
        settings.piper.model = model.into();
        settings.piper.onnxruntime = library;
        return speaks(what, &*open_voice(name, &settings)?, before);
    }
    let mut settings = EngineSettings::default();
    settings.whisper.model = model.into();
    settings.candle.model = model.into();
    (settings.transducer.model, settings.transducer.int8) = (model.into(), !float);
    (settings.paraformer.model, settings.paraformer.int8) = (model.into(), !float);
    settings.paraformer.partial_ms = 0;
    settings.transducer.onnxruntime.clone_from(&library);
    settings.paraformer.onnxruntime = library;
    let engine = open_engine(name, &settings)?;
    // Half of the phrases are lines, as in a flow.
    let phrases: Vec<String> =
        (0..Hints::LIMIT).map(|n| if n % 2 == 0 { LINES[n / 2 % 10].to_owned() } else { words(n) }).collect();
    for count in [0, 10, 100, Hints::LIMIT] {
        if count > 0 && !(engine.heeds_hints() && name == "pocketsphinx") {
            break;
        }
        let hints = Hints { phrases: phrases[..count].to_vec(), ..Hints::default() };
        hears(what, &*engine, &hints, before)?;
    }
    Ok(())
}

/// Three words of the lines, by chance and always the same.
fn words(n: usize) -> String {
    let all: Vec<&str> = LINES.iter().flat_map(|line| line.split(' ')).collect();
    [n * 7 + 3, n * 13 + 5, n * 29 + 11].map(|at| all[at % all.len()]).join(" ")
}

fn hears(what: &str, engine: &dyn Engine, hints: &Hints, before: usize) -> Result<(), Box<dyn Error>> {
    let rate = engine.rate(SampleRate::HZ_16000);
    let config = StreamConfig {
        language: Language::english(),
        hints: hints.clone(),
        source_rate: SampleRate::HZ_16000,
    };
    let voice = open_voice("flite", &VoiceSettings::default())?;
    let spoken = LINES.map(|line| say(&*voice, line).map(|(pcm, from)| resample(&pcm, from, rate)));
    let spoken = spoken.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut stream = engine.open(&config)?;
    // Whatever is loaded late is loaded by now.
    hear(engine, &mut *stream, &spoken[0])?;
    let loaded = resident().saturating_sub(before);
    let (begun, mut sound) = (cpu(), 0.0);
    for pcm in (0..ROUNDS).flat_map(|_| &spoken) {
        hear(engine, &mut *stream, pcm)?;
        sound += rate.span(pcm.len()).secs_f64();
    }
    let cost = (cpu() - begun) / sound;
    let (held, mut streams) = (resident(), Vec::new());
    for _ in 0..HELD {
        let mut stream = engine.open(&config)?;
        push(engine, &mut *stream, &spoken[2])?;
        streams.push(stream);
    }
    let each = resident().saturating_sub(held) / HELD;
    let name = match hints.phrases.len() {
        0 => what.to_owned(),
        count => format!("  with {count} phrases"),
    };
    println!("{name:<44}  {cost:22.3}  {:4} MiB  {:6.1} MiB", loaded >> 20, each as f64 / 1_048_576.0);
    Ok(())
}

fn push(engine: &dyn Engine, stream: &mut dyn Recognizer, pcm: &[i16]) -> Result<(), Box<dyn Error>> {
    let rate = stream.rate();
    for chunk in pcm.chunks(rate.hz() as usize / 50) {
        stream.push(AudioBuf::voice(chunk.to_vec(), rate).frame())?;
        while stream.owed() > 0 {
            engine.step(&mut [&mut *stream])?;
        }
    }
    Ok(())
}

fn hear(engine: &dyn Engine, stream: &mut dyn Recognizer, pcm: &[i16]) -> Result<(), Box<dyn Error>> {
    let silence = vec![0; stream.rate().samples(stream.tail())];
    push(engine, stream, pcm)?;
    push(engine, stream, &silence)?;
    stream.flush()?;
    while stream.owed() > 0 {
        engine.step(&mut [&mut *stream])?;
    }
    while stream.poll().is_some() {}
    Ok(())
}

fn speaks(what: &str, voice: &dyn Synthesizer, before: usize) -> Result<(), Box<dyn Error>> {
    say(voice, LINES[0])?;
    let loaded = resident().saturating_sub(before);
    let (begun, mut sound) = (cpu(), 0.0);
    for line in (0..ROUNDS).flat_map(|_| LINES) {
        let (pcm, rate) = say(voice, line)?;
        sound += rate.span(pcm.len()).secs_f64();
    }
    println!("{what:<44}  {:22.3}  {:4} MiB", (cpu() - begun) / sound, loaded >> 20);
    Ok(())
}

fn say(voice: &dyn Synthesizer, line: &str) -> Result<(Vec<i16>, SampleRate), Box<dyn Error>> {
    let request = SpeechRequest { text: line.to_owned(), language: Language::english(), voice: None };
    let mut stream = voice.speak(&request)?;
    let mut pcm = Vec::new();
    while let Some(chunk) = stream.next_chunk()? {
        pcm.extend(chunk.pcm);
    }
    Ok((pcm, stream.rate()))
}

/// Seconds of CPU of this process and of its children that are over.
fn cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux").filter_map(|task| {
        let line = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse::<f64>().ok()
    });
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let children: f64 = after.split_whitespace().skip(13).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    threads.sum::<f64>() / 1e9 + children / 100.0
}

/// Bytes of memory in use.
fn resident() -> usize {
    let line = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = line.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4_096
}
