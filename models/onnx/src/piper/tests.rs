use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::fixtures;

fn folder() -> PathBuf {
    fixtures::folder("piper")
}

fn expected() -> Value {
    let text = fs::read_to_string(folder().join("expected.json")).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn whole(value: &Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|n| n.as_i64().expect("a whole number")).collect()
}

fn voice(config: Option<PathBuf>) -> Result<PiperVoice, LoadError> {
    PiperVoice::open(&PiperOptions { config, ..PiperOptions::new(folder().join("tiny.onnx")) })
}

/// The voice with its settings changed.
fn changed(change: impl FnOnce(&mut Value)) -> Result<PiperVoice, LoadError> {
    let text = fs::read_to_string(folder().join("tiny.onnx.json")).expect("a fixture");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut config);
    let path = std::env::temp_dir().join(format!(
        "antiphon-piper-{}-{:?}.json",
        std::process::id(),
        std::thread::current().id()
    ));
    fs::write(&path, config.to_string()).expect("a temporary folder");
    let opened = voice(Some(path.clone()));
    let _ = fs::remove_file(path);
    opened
}

#[test]
fn sound_is_that_of_onnx_runtime() {
    let voice = voice(None).expect("a voice");
    assert_eq!(voice.rate().hz(), 22_050);
    for case in expected()["spoken"].as_array().expect("a list") {
        let scales = fixtures::numbers(&case["scales"]);
        let manner = Manner {
            speaker: case["speaker"].as_i64().expect("a number"),
            noise: scales[0] as f32,
            length: scales[1] as f32,
            width_noise: scales[2] as f32,
        };
        let ids = whole(&case["ids"]);
        let sound = voice.say(&ids, &manner).expect("sound");
        assert_eq!(
            sound.len() as i64,
            whole(&case["shape"]).iter().product::<i64>(),
            "the lengths of phonemes"
        );
        let peak = sound.iter().fold(0.0f32, |peak, s| peak.max(s.abs()));
        let theirs = case["peak"].as_f64().expect("a number");
        let worst = sound
            .iter()
            .step_by(97)
            .zip(fixtures::numbers(&case["every_97th"]))
            .map(|(ours, theirs)| (f64::from(*ours) - theirs).abs())
            .fold(0.0, f64::max);
        assert!(worst < 2e-5 * theirs.max(0.1), "{worst} of {theirs}");
        assert!((f64::from(peak) - theirs).abs() < 2e-5 * theirs.max(0.1), "{peak} {theirs}");
        assert_eq!(voice.say(&ids, &manner).expect("sound"), sound, "the same each time");
    }
}

#[test]
fn chance_is_in_the_noise_alone() {
    let voice = voice(None).expect("a voice");
    let (ids, unknown) = voice.ids("həlˈoʊ, wˈɜːld.");
    assert_eq!(unknown, 0);
    let say = || voice.say(&ids, &voice.manner()).expect("sound");
    assert_ne!(say(), say());
}

#[test]
fn identifiers_are_those_of_piper() {
    let voice = voice(None).expect("a voice");
    for case in expected()["texts"].as_array().expect("a list") {
        let sentences = fixtures::strings(&case["phonemes"]);
        assert!(!sentences.is_empty());
        for (sentence, ids) in sentences.iter().zip(case["ids"].as_array().expect("a list")) {
            assert_eq!(voice.ids(sentence), (whole(ids), 0), "{sentence}");
        }
    }
}

#[test]
fn a_voice_of_letters_reads_them_small() {
    let letters = voice(Some(folder().join("letters.json"))).expect("a voice");
    assert_eq!(*letters.phonemes(), Phonemes::Text);
    let said = &expected()["spoken"][3]["ids"];
    assert_eq!(letters.ids("Say it AGAIN, please."), (whole(said), 0));
    assert_eq!(letters.ids("é€").1, 2, "an accent and a sign that it does not know");
}

#[test]
fn phonemes_are_replaced_and_put_together_as_the_settings_say() {
    let voice = changed(|config| {
        config["phoneme_map"] = json!({ "r": ["ɹ", "ə"] });
        config["vowel_clusters"] = json!([["a", "ɪ"]]);
    });
    assert_eq!(voice.expect("a voice").ids("raɪ").0, [1, 0, 88, 0, 59, 0, 161, 0, 2]);
}

#[test]
fn speakers_have_names_and_numbers() {
    let voice = voice(None).expect("a voice");
    assert_eq!(voice.speakers().collect::<Vec<_>>(), ["ann", "bob", "eve"]);
    assert_eq!(
        ["eve", "1", "3", "-1", "dan"].map(|name| voice.speaker(name)),
        [Some(2), Some(1), None, None, None]
    );
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let refused = |change: fn(&mut Value)| changed(change).map(|_| ()).expect_err("refused").to_string();
    for (change, what) in [
        (
            (|c| c["phoneme_type"] = json!("pinyin")) as fn(&mut Value),
            "\"pinyin\"; this program has espeak and text",
        ),
        (|c| c["audio"]["sample_rate"] = json!(3), "audio.sample_rate is 3"),
        (|c| c["espeak"]["voice"] = json!(""), "espeak.voice"),
        (|c| c["num_symbols"] = json!(100), "num_symbols is 100"),
        (|c| c["speaker_id_map"]["dan"] = json!(9), "a speaker 9"),
        (|c| c["inference"]["length_scale"] = json!(0), "make no sense"),
        (|c| c["phoneme_id_map"] = json!({ "_": [0], "^": [1] }), "lacks \"$\""),
        (|c| *c = json!([]), "no settings of a voice"),
    ] {
        let text = refused(change);
        assert!(text.contains(what), "{text}");
    }
}

#[test]
fn other_models_and_missing_files_are_refused() {
    let open = |model: PathBuf, config: Option<PathBuf>| {
        let options = PiperOptions { config, ..PiperOptions::new(model) };
        PiperVoice::open(&options).map(|_| ()).expect_err("refused").to_string()
    };
    let config = Some(folder().join("tiny.onnx.json"));
    let text = open(fixtures::folder("zipformer2").join("joiner.onnx"), config.clone());
    assert!(text.contains("no voice of Piper has an input"), "{text}");
    assert!(open(folder().join("nobody.onnx"), config.clone()).contains("no voice (NAME.onnx)"));
    let text = open(folder().join("expected.json"), config);
    assert!(text.contains("not a protocol buffer"), "{text}");
    let text = open(fixtures::folder("zipformer2").join("joiner.onnx"), None);
    assert!(text.contains("joiner.onnx.json"), "{text}");
}

#[test]
fn an_operator_that_the_runtime_lacks_is_named() {
    let temporary = std::env::temp_dir().join(format!("antiphon-piper-operator-{}.onnx", std::process::id()));
    let mut graph = fs::read(folder().join("tiny.onnx")).expect("a fixture");
    let ours: Vec<usize> =
        graph.windows(8).enumerate().filter(|(_, name)| name == b"Softplus").map(|(at, _)| at).collect();
    assert!(!ours.is_empty());
    ours.into_iter().for_each(|at| graph[at..at + 8].copy_from_slice(b"Softmore"));
    fs::write(&temporary, graph).expect("a temporary folder");
    let options = PiperOptions {
        config: Some(folder().join("tiny.onnx.json")),
        ..PiperOptions::new(temporary.clone())
    };
    let refused = PiperVoice::open(&options).map(|_| ()).expect_err("refused").to_string();
    let _ = fs::remove_file(temporary);
    assert!(refused.contains("rten") && refused.contains("Softmore"), "{refused}");
}

#[test]
fn a_sentence_has_a_length() {
    let voice = voice(None).expect("a voice");
    for ids in [Vec::new(), vec![3; LONGEST + 1]] {
        assert!(voice.say(&ids, &voice.manner()).is_err_and(|e| e.message.contains("1 to 4096")));
    }
}
