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
