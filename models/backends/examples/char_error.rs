//! Measures the character error of pocketsphinx in Mandarin: on one reader of AISHELL, and on spoken bank lines of
//! espeak-ng, through 8 kHz µ-law and at 16 kHz, with and without hints.
//!
//! ```sh
//! cargo run -p antiphon-models-backends --features pocketsphinx,espeak --example char_error [SHARED_FOLDER [EVERY]]
//! ```
//! The folder (default `/work/shared`) holds `models/pocketsphinx` and `audio`; of the reader's clips every EVERY-th
//! (default 5) is taken, decoded by the program `opusdec`.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]
#![allow(clippy::disallowed_methods, reason = "it measures time and runs a decoder")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use antiphon_media_frame::{MediaTime, SampleRate};
use antiphon_models_backends::{EngineSettings, SphinxModel, VoiceSettings, open_engine, open_voice};
use antiphon_models_speech::{Engine, Hints, Language, SpeechRequest, StreamConfig, Synthesizer};
use measure::{distance, hear, through_telephone};

mod measure;

/// What callers say; about half is word for word in [`PHRASES`].
const LINES: [&str; 24] = [
    "查询余额",
    "我想查一下我的账户余额",
    "卡里还剩多少钱",
    "帮我看看还有多少钱",
    "我要转账",
    "我想转五百块钱",
    "转两百元到储蓄账户",
    "明天转一千元到活期账户",
    "我的银行卡丢了",
    "我要挂失",
    "信用卡不见了",
    "我的卡被偷了",
    "你们几点开门",
    "营业时间",
    "周末营业吗",
    "转人工",
    "我要找一个客服",
    "我想和真人说话",
    "没有别的事了",
    "谢谢再见",
    "储蓄账户",
    "是的",
    "一二三四五六",
    "八零三九七幺",
];

/// What the flow `bank_zh` expects at its main question, and the names and answers of its others.
const PHRASES: [&str; 50] = [
    "查询余额",
    "我想查一下余额",
    "我的账户还有多少钱",
    "卡里还剩多少钱",
    "帮我看看账户余额",
    "账户余额",
    "我要转账",
    "我想转一笔钱",
    "转五十块到储蓄账户",
    "转一百元到活期账户",
    "转两百五十块到信用卡",
    "转五百块钱到活期",
    "转一千元到信用卡账户",
    "今天转三千五到储蓄账户",
    "明天转两万元到活期账户",
    "给信用卡转一百元",
    "给储蓄账户转五百块钱",
    "帮我把一千元转到存款账户",
    "转账",
    "我的卡丢了",
    "银行卡不见了",
    "我要挂失银行卡",
    "卡被偷了",
    "我的信用卡丢失了",
    "挂失",
    "你们几点开门",
    "营业时间是什么时候",
    "银行几点关门",
    "周末营业吗",
    "什么时候上班",
    "营业时间",
    "转人工",
    "我要人工服务",
    "找一个客服",
    "我想和真人说话",
    "帮我接客服",
    "人工",
    "客服",
    "再见",
    "没有别的事了",
    "谢谢再见",
    "就这样吧",
    "没事了挂了",
    "储蓄账户",
    "活期账户",
    "信用卡",
    "是的",
    "不是",
    "对",
    "不要",
];

/// An utterance and what was said in it.
struct Clip {
    text: String,
    /// At 16 kHz.
    pcm: Vec<i16>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let shared = arguments.next().map_or_else(|| PathBuf::from("/work/shared"), PathBuf::from);
    let every = arguments.next().map_or(Ok(5), |n| n.parse::<usize>())?.max(1);
    let folder = shared.join("models/pocketsphinx");
    let mut settings = EngineSettings::default();
    settings.pocketsphinx.models.push(SphinxModel {
        language: "zh".to_owned(),
        rate_hz: 8_000,
        acoustic: folder.join("zh-8k-ptm"),
        dictionary: folder.join("mandarin_notone.dic"),
        language_model: Some(folder.join("gigatdt.lm.gz")),
    });
    let engine = open_engine("pocketsphinx", &settings)?;
    let voice = open_voice("espeak", &VoiceSettings::default())?;
    let lines = LINES.iter().map(|line| say(&*voice, line)).collect::<Result<Vec<_>, _>>()?;
    let phrases = Hints { phrases: PHRASES.map(str::to_owned).to_vec(), digits: true, closed: false };
    for (name, hints) in [("the flow's hints", &phrases), ("no hints", &Hints::default())] {
        for narrow in [true, false] {
            measure(&format!("espeak-ng, {name}"), &*engine, narrow, &lines, hints)?;
        }
    }
    let reader = reader(&shared.join("audio"), every)?;
    let mut texts = phrases.clone();
    texts.phrases.extend(reader.iter().map(|clip| clip.text.clone()));
    let both = [("hints of the flow and of these texts", &texts), ("no hints", &Hints::default())];
    for (name, hints) in both {
        for narrow in [true, false] {
            measure(&format!("AISHELL S0252, {name}"), &*engine, narrow, &reader, hints)?;
        }
    }
    Ok(())
}

/// One stream hears all the clips, as a call would.
fn measure(
    title: &str,
    engine: &dyn Engine,
    narrow: bool,
    clips: &[Clip],
    hints: &Hints,
) -> Result<(), Box<dyn Error>> {
    let source_rate = if narrow { SampleRate::HZ_8000 } else { SampleRate::HZ_16000 };
    let language = Language::parse("zh-CN").ok_or("a tag")?;
    let begun = Instant::now();
    let mut stream = engine.open(&StreamConfig { language, hints: hints.clone(), source_rate })?;
    let wire = if narrow { "8 kHz mu-law" } else { "16 kHz" };
    println!("\n{title}, {wire} (opened in {} ms)\n{:-<110}", begun.elapsed().as_millis(), "");
    let tail = stream.tail();
    let (mut errors, mut characters, mut whole) = (0, 0, 0);
    let (mut sound, mut work) = (Duration::ZERO, Duration::ZERO);
    let mut at = MediaTime::ZERO;
    for clip in clips {
        let pcm = if narrow { through_telephone(&clip.pcm) } else { clip.pcm.clone() };
        let begun = Instant::now();
        let (heard, confidence, _) = hear(&mut *stream, &pcm, at, tail)?;
        work += begun.elapsed();
        sound += Duration::from(source_rate.span(pcm.len()));
        at += source_rate.span(pcm.len() * 2);
        let (said, told) = (plain(&clip.text), plain(&heard));
        let wrong = distance(&said, &told);
        errors += wrong;
        characters += said.len();
        whole += usize::from(wrong == 0);
        println!("{wrong:>2} {confidence:.2} {}  {}", clip.text, if wrong == 0 { "" } else { &heard });
    }
    println!(
        "character error {:.1} % ({errors} of {characters}); {whole} of {} whole; {:.2} of real time",
        100.0 * errors as f64 / characters as f64,
        clips.len(),
        work.as_secs_f64() / sound.as_secs_f64(),
    );
    Ok(())
}

/// Characters alone, one way of writing each; "幺" is another way to say one.
fn plain(text: &str) -> Vec<char> {
    let letters = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    letters.map(|c| if c == '幺' { '一' } else { c }).collect()
}

fn say(voice: &dyn Synthesizer, line: &str) -> Result<Clip, Box<dyn Error>> {
    let language = Language::parse("zh-CN").ok_or("a tag")?;
    let mut stream = voice.speak(&SpeechRequest { text: line.to_owned(), language, voice: None })?;
    let rate = stream.rate();
    let mut pcm = Vec::new();
    while let Some(chunk) = stream.next_chunk()? {
        pcm.extend(chunk.pcm);
    }
    Ok(Clip { text: line.to_owned(), pcm: to_16k(&pcm, rate) })
}

/// Linear interpolation: what it folds down lies above 5 kHz, which a telephone and the 8 kHz model leave out.
fn to_16k(pcm: &[i16], rate: SampleRate) -> Vec<i16> {
    if rate == SampleRate::HZ_16000 {
        return pcm.to_vec();
    }
    let ratio = f64::from(rate.hz()) / 16_000.0;
    let count = (pcm.len() as f64 / ratio) as usize;
    let between = |n: usize| {
        let place = n as f64 * ratio;
        let (at, part) = (place as usize, place.fract());
        let next = pcm.get(at + 1).copied().unwrap_or(0);
        (f64::from(pcm[at]) * (1.0 - part) + f64::from(next) * part) as i16
    };
    (0..count).map(between).collect()
}

/// Every n-th clip of the reader held out for measuring.
fn reader(audio: &Path, every: usize) -> Result<Vec<Clip>, Box<dyn Error>> {
    let manifest = std::fs::read_to_string(audio.join("manifest.jsonl"))?;
    let mut clips = Vec::new();
    let dev = manifest.lines().filter(|line| line.contains("aishell-sample/dev/"));
    for line in dev.step_by(every) {
        let entry: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| entry[name].as_str().ok_or("a manifest line lacks a field");
        let decoded = Command::new("opusdec")
            .args(["--quiet", "--rate", "16000"])
            .arg(audio.join(field("path")?))
            .arg("-")
            .output()?;
        let pcm = decoded.stdout.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        clips.push(Clip { text: field("text")?.to_owned(), pcm });
    }
    Ok(clips)
}
