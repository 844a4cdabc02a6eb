//! What only this engine promises; what every engine promises is in `conformance`.

use std::path::Path;

use antiphon_media_frame::AudioBuf;
use antiphon_models_speech::{Hints, Language};

use super::*;
use crate::settings::SphinxModel;

const MODELS: &str = "/work/shared/models/pocketsphinx";

fn narrow(language: &str, acoustic: &str, dictionary: &str) -> Option<SphinxModel> {
    let folder = Path::new(MODELS);
    if !folder.is_dir() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: no 8 kHz models at {MODELS}");
        }
        return None;
    }
    Some(SphinxModel {
        language: language.to_owned(),
        rate_hz: 8_000,
        acoustic: folder.join(acoustic),
        dictionary: folder.join(dictionary),
        language_model: None,
    })
}

fn config(language: &str, phrases: &[&str], source_rate: SampleRate) -> StreamConfig {
    let phrases = phrases.iter().map(|p| (*p).to_owned()).collect();
    StreamConfig {
        language: Language::parse(language).expect("a tag"),
        hints: Hints { phrases, digits: false, closed: false },
        source_rate,
    }
}

#[test]
fn missing_models_are_named_with_advice() {
    let mut settings = PocketSphinxSettings::default();
    let mut model = model::debian();
    model.acoustic = "/nonexistent/en".into();
    settings.models.push(model);
    let refused = PocketSphinx::open(&settings).map(|_| ()).expect_err("missing");
    let text = refused.to_string();
    assert!(text.contains("/nonexistent/en") && text.contains("pocketsphinx-en-us"), "{text}");
}

#[test]
fn the_rate_follows_the_wire_only_where_a_narrow_model_is() {
    let Ok(engine) = PocketSphinx::open(&PocketSphinxSettings::default()) else { return };
    assert_eq!(engine.rate(SampleRate::HZ_8000), SampleRate::HZ_16000);
    let klingon = engine.open(&config("tlh", &[], SampleRate::HZ_16000)).map(|_| ());
    assert!(matches!(klingon, Err(RecognizeError::Language { .. })));
    let Some(model) = narrow("zh", "zh-8k-ptm", "mandarin_notone.dic") else { return };
    let settings = PocketSphinxSettings { models: vec![model], ..PocketSphinxSettings::default() };
    let engine = PocketSphinx::open(&settings).expect("models");
    assert_eq!(engine.rate(SampleRate::HZ_8000), SampleRate::HZ_8000);
    assert_eq!(engine.rate(SampleRate::HZ_16000), SampleRate::HZ_16000);
    // English has a wide model only, and takes narrow frames all the same.
    let mut stream = engine.open(&config("en", &["yes"], SampleRate::HZ_8000)).expect("a stream");
    assert_eq!(stream.rate(), SampleRate::HZ_8000);
    stream.push(AudioBuf::voice(vec![0; 160], SampleRate::HZ_8000).frame()).expect("taken");
    let wide = AudioBuf::voice(vec![0; 160], SampleRate::HZ_16000);
    assert!(matches!(stream.push(wide.frame()), Err(RecognizeError::Rate { .. })));
}

#[test]
fn odd_phrases_never_fail_and_decoders_come_back() {
    let Ok(engine) = PocketSphinx::open(&PocketSphinxSettings::default()) else { return };
    let odd = ["", "Zorblax's \u{1f980} 24/7!", "查询余额", "<s> </s> [NOISE]", "a\0b", "((2)", "xzqwrt"];
    for _ in 0..3 {
        let mut stream = engine.open(&config("en", &odd, SampleRate::HZ_16000)).expect("a stream");
        for n in 0..12 {
            let hints =
                Hints { phrases: vec![format!("phrase number {n}")], digits: n % 2 == 0, closed: n % 3 == 0 };
            stream.hint(&hints).expect("hints");
        }
        stream.push(AudioBuf::voice(vec![100; 320], SampleRate::HZ_16000).frame()).expect("taken");
    }
    assert_eq!(engine.models[0].idle_count(), 1, "one decoder served all three streams");
}

/// Says a Mandarin line with espeak-ng, as it comes out of a telephone or at 16 kHz, and hears it with the hints of the
/// flow `bank_zh`. `None`, said plainly, where the voice or the model is missing.
#[cfg(feature = "espeak")]
fn mandarin(line: &str, source: SampleRate) -> Option<antiphon_models_speech::Utterance> {
    use antiphon_models_speech::{Recognition, SpeechRequest, Synthesizer};

    let model = narrow("zh", "zh-8k-ptm", "mandarin_notone.dic")?;
    let Ok(voice) = crate::espeak::Espeak::open(None) else {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: no espeak-ng");
        }
        return None;
    };
    let language = Language::parse("zh-CN").expect("a tag");
    let mut speech =
        voice.speak(&SpeechRequest { text: line.to_owned(), language, voice: None }).expect("speech");
    let (from, mut pcm) = (speech.rate().hz(), Vec::new());
    while let Some(chunk) = speech.next_chunk().expect("sound") {
        pcm.extend(chunk.pcm);
    }
    let settings = PocketSphinxSettings { models: vec![model], ..PocketSphinxSettings::default() };
    let engine = PocketSphinx::open(&settings).expect("models");
    let phrases = [
        "查询余额",
        "我要转账",
        "我的卡丢了",
        "我要挂失银行卡",
        "卡被偷了",
        "挂失",
        "周末营业吗",
        "营业时间",
        "找一个客服",
        "转人工",
        "没有别的事了",
        "再见",
    ];
    let mut stream = engine.open(&config("zh-CN", &phrases, source)).expect("a stream");
    assert_eq!(stream.rate(), source, "frames come as the engine's rate promises");
    let wide = at_rate(&pcm, from, 16_000);
    let pcm = match source {
        SampleRate::HZ_8000 => {
            let narrow = band::Band::between(16_000, 8_000).convert(&wide).expect("converted");
            narrow.into_iter().map(mu_law).collect()
        }
        _ => wide,
    };
    for chunk in pcm.chunks(source.hz() as usize / 50) {
        stream.push(AudioBuf::voice(chunk.to_vec(), source).frame()).expect("taken");
    }
    let tail = vec![0; source.samples(stream.tail())];
    stream.push(AudioBuf::voice(tail, source).frame()).expect("taken");
    stream.flush().expect("flushed");
    std::iter::from_fn(|| stream.poll()).find_map(|said| match said {
        Recognition::Final(utterance) => Some(utterance),
        Recognition::Partial(_) => None,
    })
}

#[cfg(feature = "espeak")]
fn at_rate(pcm: &[i16], from: u32, to: u32) -> Vec<i16> {
    let count = pcm.len() as u64 * u64::from(to) / u64::from(from);
    (0..count).map(|n| pcm[(n * u64::from(from) / u64::from(to)) as usize]).collect()
}

/// What µ-law (ITU-T G.711) leaves of a sample.
#[cfg(feature = "espeak")]
fn mu_law(sample: i16) -> i16 {
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let segment = 24 - magnitude.leading_zeros() as i32;
    let step = (magnitude >> (segment + 3)) & 15;
    let value = (((step << 3) + 132) << segment) - 132;
    (if sample < 0 { -value } else { value }) as i16
}

#[cfg(feature = "espeak")]
#[test]
fn mandarin_callers_are_understood_on_narrow_and_wide_lines() {
    // Each with the word by which `bank_zh` tells the intent.
    for (line, telling) in [
        ("我要挂失", "挂失"),
        ("我的卡被偷了", "卡被偷了"),
        ("周末营业吗", "营业吗"),
        ("我要找一个客服", "客服"),
    ] {
        for source in [SampleRate::HZ_8000, SampleRate::HZ_16000] {
            let Some(said) = mandarin(line, source) else { continue };
            assert!(said.text.contains(telling), "{line} at {source}: {said:?}");
            assert!(!said.text.contains(' '), "written together: {said:?}");
            assert!(said.words.len() > 1 && said.words.iter().all(|w| w.start < w.end), "{said:?}");
        }
    }
}
