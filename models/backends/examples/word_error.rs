//! Measures the word error of pocketsphinx on twenty spoken bank lines: wideband, and through 8 kHz µ-law.
//!
//! ```sh
//! cargo run -p antiphon-models-backends --features pocketsphinx,flite --example word_error [MODELS_FOLDER]
//! ```
//! The folder (default `/work/shared/models/pocketsphinx`) holds the 8 kHz model; without it that part is left out.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use antiphon_media_frame::{MediaTime, SampleRate, Span};
use antiphon_models_backends::{EngineSettings, SphinxModel, VoiceSettings, open_engine, open_voice};
use antiphon_models_speech::{Engine, Hints, Language, SpeechRequest, StreamConfig, Synthesizer};
use measure::{distance, hear, low_pass, through_telephone};

mod measure;

const LINES: [&str; 20] = [
    "what is my balance",
    "i want to check my account balance",
    "i would like to transfer some money",
    "please transfer two hundred dollars to my savings account",
    "i lost my credit card",
    "my card was stolen yesterday",
    "please block my card",
    "i want to speak to an agent",
    "can i talk to a real person please",
    "yes",
    "no thank you",
    "yes that is correct",
    "four two seven one",
    "my account number is one two three four five six seven eight",
    "nine zero three five",
    "i need to change my address",
    "what are your opening hours",
    "when is my next payment due",
    "tell me about the latest transactions",
    "goodbye",
];

/// What a flow would expect: the designer's examples, none of them word for word all of a line's words.
const PHRASES: [&str; 24] = [
    "check my balance",
    "what is my account balance",
    "how much money do i have",
    "transfer money",
    "i want to transfer money to my savings account",
    "please transfer one hundred dollars",
    "i lost my card",
    "my credit card was stolen",
    "block my card",
    "speak to an agent",
    "i would like to talk to a person",
    "yes",
    "no",
    "yes please",
    "no thank you",
    "that is correct",
    "my account number is",
    "change my address",
    "what are your opening hours",
    "when are you open",
    "when is my payment due",
    "what is my next payment",
    "show me my latest transactions",
    "goodbye",
];

const VOICES: [&str; 4] = ["slt", "rms", "awb", "kal16"];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(|| PathBuf::from("/work/shared/models/pocketsphinx"), PathBuf::from);
    let voice = open_voice("flite", &VoiceSettings::default())?;
    let spoken: Vec<Vec<i16>> = LINES
        .iter()
        .enumerate()
        .map(|(n, line)| say(&*voice, line, VOICES[n % VOICES.len()]))
        .collect::<Result<_, _>>()?;
    let mut settings = EngineSettings::default();
    let wide = open_engine("pocketsphinx", &settings)?;
    measure("16 kHz, with hints", &*wide, SampleRate::HZ_16000, &spoken, true)?;
    println!("\nSilence after the last sound, 16 kHz with hints:");
    for millis in [0, 50, 100, 200, 300, 400] {
        println!("{millis:>4} ms: {} errors", errors_at(&*wide, &spoken, Span::from_millis(millis))?);
    }
    println!("\nCommon words beside the phrases, 16 kHz with hints:");
    for common_words in [0, 100, 300, 1_000, 3_000] {
        settings.pocketsphinx.common_words = common_words;
        let engine = open_engine("pocketsphinx", &settings)?;
        let begun = Instant::now();
        let errors = errors_at(&*engine, &spoken, Span::from_millis(200))?;
        println!("{common_words:>4}: {errors} errors in {} ms", begun.elapsed().as_millis());
    }
    settings = EngineSettings::default();
    measure("16 kHz, without hints", &*wide, SampleRate::HZ_16000, &spoken, false)?;
    let narrow: Vec<Vec<i16>> = spoken.iter().map(|pcm| through_telephone(pcm)).collect();
    let upsampled: Vec<Vec<i16>> = narrow.iter().map(|pcm| upsample(pcm)).collect();
    measure(
        "8 kHz mu-law upsampled into the 16 kHz model, with hints",
        &*wide,
        SampleRate::HZ_16000,
        &upsampled,
        true,
    )?;
    let Some(model) = narrowband(&folder) else {
        println!("\n{}: no 8 kHz model there; its part is left out", folder.display());
        return Ok(());
    };
    settings.pocketsphinx.models.push(model);
    let engine = open_engine("pocketsphinx", &settings)?;
    measure("8 kHz mu-law, 8 kHz model, with hints", &*engine, SampleRate::HZ_8000, &narrow, true)?;
    measure("8 kHz mu-law, 8 kHz model, without hints", &*engine, SampleRate::HZ_8000, &narrow, false)
}

fn narrowband(folder: &Path) -> Option<SphinxModel> {
    let model = SphinxModel {
        language: "en".to_owned(),
        rate_hz: 8_000,
        acoustic: folder.join("en-8k-ptm256"),
        dictionary: folder.join("cmudict-en-us.dict"),
        language_model: Some(folder.join("gutenberg-3gram.lm.gz")),
    };
    model.acoustic.is_dir().then_some(model)
}

fn say(voice: &dyn Synthesizer, line: &str, name: &str) -> Result<Vec<i16>, Box<dyn Error>> {
    let request =
        SpeechRequest { text: line.to_owned(), language: Language::english(), voice: Some(name.to_owned()) };
    let mut stream = voice.speak(&request)?;
    let mut pcm = Vec::new();
    while let Some(chunk) = stream.next_chunk()? {
        pcm.extend(chunk.pcm);
    }
    Ok(pcm)
}

/// One stream hears all the lines, as a call would.
fn measure(
    title: &str,
    engine: &dyn Engine,
    source: SampleRate,
    spoken: &[Vec<i16>],
    hinted: bool,
) -> Result<(), Box<dyn Error>> {
    let hints = if hinted { expected() } else { Hints::default() };
    let begun = Instant::now();
    let config = StreamConfig { language: Language::english(), hints, source_rate: source };
    let mut stream = engine.open(&config)?;
    let opened = begun.elapsed();
    let tail = stream.tail();
    println!("\n{title} (opened in {} ms)\n{:-<110}", opened.as_millis(), "");
    let (mut errors, mut words, mut sound, mut work, mut slowest) =
        (0, 0, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut at = MediaTime::ZERO;
    for (line, pcm) in LINES.iter().zip(spoken) {
        let begun = Instant::now();
        let (heard, confidence, flush) = hear(&mut *stream, pcm, at, tail)?;
        work += begun.elapsed();
        slowest = slowest.max(flush);
        sound += Duration::from(source.span(pcm.len()));
        at += source.span(pcm.len() * 2);
        let wrong = word_distance(line, &heard);
        errors += wrong;
        words += line.split_whitespace().count();
        println!("{line:<60} {wrong:>2} {confidence:.2} {}", if wrong == 0 { "" } else { &heard });
    }
    println!(
        "word error {:.1} % ({errors} of {words}); {:.2} of real time; slowest flush {} ms",
        100.0 * errors as f64 / words as f64,
        work.as_secs_f64() / sound.as_secs_f64(),
        slowest.as_millis()
    );
    Ok(())
}

fn expected() -> Hints {
    Hints { phrases: PHRASES.map(str::to_owned).to_vec(), digits: true, closed: false }
}

/// Word errors where a gate cuts at the last sound (below 1 % of full scale) and pads with `tail`.
fn errors_at(engine: &dyn Engine, spoken: &[Vec<i16>], tail: Span) -> Result<usize, Box<dyn Error>> {
    let source_rate = SampleRate::HZ_16000;
    let config = StreamConfig { language: Language::english(), hints: expected(), source_rate };
    let mut stream = engine.open(&config)?;
    let mut errors = 0;
    for (line, pcm) in LINES.iter().zip(spoken) {
        let end = pcm.iter().rposition(|s| s.unsigned_abs() > 330).map_or(0, |last| last + 1);
        let (heard, _, _) = hear(&mut *stream, &pcm[..end], MediaTime::ZERO, tail)?;
        errors += word_distance(line, &heard);
    }
    Ok(errors)
}

/// Words to insert, remove or replace.
fn word_distance(expected: &str, heard: &str) -> usize {
    let words = |text| str::split_whitespace(text).collect::<Vec<_>>();
    distance(&words(expected), &words(heard))
}

fn upsample(pcm: &[i16]) -> Vec<i16> {
    let wide: Vec<f32> = pcm.iter().flat_map(|s| [f32::from(*s) * 2.0, 0.0]).collect();
    low_pass(&wide).iter().map(|s| *s as i16).collect()
}
