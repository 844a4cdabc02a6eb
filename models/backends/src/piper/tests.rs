use std::time::Instant;

use antiphon_models_speech::Language;
use serde_json::Value;

use super::*;

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../onnx/fixtures/piper"))
}

/// Nothing is left to chance.
fn settings() -> PiperSettings {
    PiperSettings { model: fixtures(), noise: Some(0.0), width_noise: Some(0.0), ..PiperSettings::default() }
}

/// `None` where espeak-ng is not installed.
fn open(settings: &PiperSettings) -> Option<Piper> {
    match Piper::open(settings) {
        Ok(piper) => Some(piper),
        Err(SynthesizeError::Missing { what, .. }) if what.contains("espeak-ng") => {
            #[expect(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("skipped: no {what}");
            }
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The voice that reads letters, which needs no program.
fn letters() -> (tempfile::TempDir, PiperSettings) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("letters.onnx");
    std::fs::copy(fixtures().join("tiny.onnx"), &model).expect("copied");
    std::fs::copy(fixtures().join("letters.json"), folder.path().join("letters.onnx.json")).expect("copied");
    let settings = PiperSettings { model, ..settings() };
    (folder, settings)
}

fn request(text: &str, voice: Option<&str>) -> SpeechRequest {
    SpeechRequest { text: text.to_owned(), language: Language::english(), voice: voice.map(str::to_owned) }
}

fn chunks(piper: &Piper, request: &SpeechRequest) -> Result<Vec<AudioBuf>, SynthesizeError> {
    let mut stream = piper.speak(request)?;
    let mut all = Vec::new();
    while let Some(chunk) = stream.next_chunk()? {
        assert_eq!(chunk.rate, stream.rate());
        all.push(chunk);
    }
    Ok(all)
}

#[test]
fn phonemes_are_those_of_piper() {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).expect("a fixture");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let Some(piper) = open(&settings()) else { return };
    for case in expected["texts"].as_array().expect("a list") {
        let espeak = case["voice"].as_str().expect("text");
        if espeak == "cmn" {
            // Mandarin differs between versions of espeak-ng; its sentences are compared below.
            continue;
        }
        let graph = PiperVoice::open(&PiperOptions::new(fixtures().join("tiny.onnx"))).expect("a voice");
        let voice = Voice { graph, phonemizer: Some(Phonemizer::open(espeak).expect("espeak-ng")) };
        let mut ours: Vec<String> = vec![String::new()];
        for piece in pieces(case["text"].as_str().expect("text")) {
            for (run, ends) in voice.runs(&piece).expect("phonemes") {
                // espeak-ng 1.51 writes `oː` in "forty", the one of piper-tts `ɔː`.
                ours.last_mut().expect("one").push_str(&run.replace("oːɹ", "ɔːɹ"));
                if ends {
                    ours.push(String::new());
                }
            }
        }
        ours.pop();
        let theirs: Vec<&str> =
            case["phonemes"].as_array().expect("a list").iter().map(|s| s.as_str().expect("text")).collect();
        assert_eq!(ours, theirs, "{espeak}");
    }
    drop(piper);
}

#[test]
fn mandarin_has_syllables_with_tones_and_no_english() {
    let Ok(phonemizer) = Phonemizer::open("cmn") else { return };
    let ipa = phonemizer.phonemes("查询余额，").expect("phonemes");
    // Piper's own espeak-ng says ts.hˈɑɜ ɕˈyəɜn jˈyɜ ˈo-ɜ.
    assert_eq!(ipa.split(' ').count(), 4, "{ipa}");
    assert!(ipa.starts_with("ts.hˈɑ") && ipa.contains("ɕˈyə"), "{ipa}");
}

#[test]
fn three_sentences_come_one_after_the_other() {
    let Some(piper) = open(&settings()) else { return };
    let one = chunks(&piper, &request("Good morning.", None)).expect("speech");
    let three = request("Good morning. Your balance is forty two dollars. Nothing is due.", None);
    let all = chunks(&piper, &three).expect("speech");
    assert_eq!(all.len(), 3);
    let rate = all[0].rate;
    let pause = rate.samples(Span::from_millis(200));
    assert_eq!(all[0].pcm.len(), one[0].pcm.len() + pause, "the pause is between sentences");
    assert_eq!(all[0].pcm[..one[0].pcm.len()], one[0].pcm, "the same each time");
    assert!(all[0].pcm.iter().any(|sample| sample.unsigned_abs() > 32_000), "at full scale");
    assert_eq!(all[1].at.since(MediaTime::ZERO), all[0].span());
    assert_ne!(all[2].pcm.last_chunk::<8>(), Some(&[0; 8]), "no pause after the last one");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how soon the first sound comes is measured")]
fn the_first_sound_takes_one_sentence_of_many() {
    let Some(piper) = open(&settings()) else { return };
    let text = "This sentence is said by the tiny voice again and again. ".repeat(40);
    let begun = Instant::now();
    let mut stream = piper.speak(&request(&text, None)).expect("a stream");
    stream.next_chunk().expect("no failure").expect("sound");
    let first = begun.elapsed();
    while stream.next_chunk().expect("no failure").is_some() {}
    assert!(first * 10 < begun.elapsed(), "{first:?} of {:?}", begun.elapsed());
}

#[test]
fn a_long_sentence_begins_at_its_first_clause_and_stays_as_loud() {
    let Some(piper) = open(&settings()) else { return };
    let text = "Thank you for calling, we are glad that you are here, and will be with you in a minute.";
    let all = chunks(&piper, &request(text, None)).expect("speech");
    assert_eq!(all.len(), 2);
    assert!(all[0].span() < all[1].span());
}

#[test]
fn speed_and_speaker_are_heard() {
    let (_folder, usual) = letters();
    let say = |settings: &PiperSettings, voice: Option<&str>| {
        let piper = Piper::open(settings).expect("a voice");
        chunks(&piper, &request("say it again, please.", voice)).expect("speech").remove(0).pcm
    };
    let plain = say(&usual, None);
    let slow = say(&PiperSettings { speed: 0.25, ..usual.clone() }, None);
    assert!(slow.len() > 2 * plain.len(), "{} {}", slow.len(), plain.len());
    let eve = say(&PiperSettings { speaker: Some("eve".to_owned()), ..usual.clone() }, None);
    assert_eq!(eve, say(&usual, Some("2")));
    assert_ne!(eve, plain);
}

#[test]
fn what_cannot_be_said_is_refused() {
    let (_folder, usual) = letters();
    let piper = Piper::open(&usual).expect("a voice");
    let refused = |request: &SpeechRequest| chunks(&piper, request).expect_err("refused");
    assert!(matches!(refused(&request("?!…", None)), SynthesizeError::Text { .. }));
    assert!(
        matches!(refused(&request("你好", None)), SynthesizeError::Text { reason, .. } if reason.contains("none"))
    );
    assert!(matches!(refused(&request(&"a".repeat(10_001), None)), SynthesizeError::Text { .. }));
    let text = refused(&request("hello", Some("dan"))).to_string();
    assert!(text.contains("\"dan\"") && text.contains("ann, bob, eve"), "{text}");
}

#[test]
fn settings_that_fit_no_voice_are_refused_by_name() {
    let (folder, usual) = letters();
    let refused =
        |settings: PiperSettings| Piper::open(&settings).map(|_| ()).expect_err("refused").to_string();
    for (settings, what) in [
        (PiperSettings { speed: 0.0, ..usual.clone() }, "speed is 0"),
        (PiperSettings { speed: f32::NAN, ..usual.clone() }, "speed is NaN"),
        (PiperSettings { noise: Some(-1.0), ..usual.clone() }, "noise is -1"),
        (PiperSettings { speaker: Some("dan".to_owned()), ..usual.clone() }, "ann, bob, eve"),
        (PiperSettings { model: PathBuf::new(), ..usual.clone() }, "antiphon models list --engine piper"),
        (PiperSettings { model: folder.path().join("nobody.onnx"), ..usual.clone() }, "nobody.onnx"),
    ] {
        let text = refused(settings);
        assert!(text.contains(what), "{text}");
    }
    std::fs::copy(&usual.model, folder.path().join("second.onnx")).expect("copied");
    let text = refused(PiperSettings { model: folder.path().to_owned(), ..usual });
    assert!(text.contains("several voices"), "{text}");
}
