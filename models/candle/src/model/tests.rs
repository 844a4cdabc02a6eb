use std::collections::HashMap;
use std::fs;

use candle_core::safetensors::{load, save};

use super::*;
use crate::fixtures;
use crate::search::Found;

/// How far our floats may be from torch's.
const NEAR: f64 = 2e-3;

fn open(path: PathBuf) -> Model {
    Model::open(CandleOptions { retries: 0, ..CandleOptions::new(path) }).expect("a model")
}

fn refused(path: PathBuf) -> String {
    Model::open(CandleOptions::new(path)).map(|_| ()).expect_err("refused").to_string()
}

fn near(have: &[f32], want: &[f64], within: f64, what: &str) {
    assert_eq!(have.len(), want.len(), "{what}");
    for (n, (have, want)) in have.iter().zip(want).enumerate() {
        assert!((f64::from(*have) - want).abs() < within, "{what}, number {n}: {have} {want}");
    }
}

fn encoded(model: &Model) -> Vec<Vec<f32>> {
    let features = model.bank.features(&fixtures::audio(), fixtures::FRAMES);
    let encoded = model.network.encode(&[features]).expect("encoded");
    encoded.get(0).and_then(|e| e.to_vec2()).expect("numbers")
}

/// One case of the reference as a job: its tokens are those of a single greedy pass.
fn job(model: &Model, case: &serde_json::Value) -> Job {
    let at = |key: &str| case[key].as_u64().map(|n| n as usize);
    let audio = fixtures::audio();
    let pcm = &audio[at("from").unwrap_or(0)..at("to").unwrap_or(audio.len())];
    let before = case["prompt"].as_str().map(|text| model.tokenizer.encode(text)).unwrap_or_default();
    let language = case["language"].as_str().and_then(|tag| model.language(tag));
    let request = Request { pcm: pcm.to_vec(), language, before, last: true };
    Job { most: usize::MAX, ..model.job(&request, pcm) }
}

fn same(model: &Model, found: &Found, case: &serde_json::Value) {
    let wanted: Vec<u32> = fixtures::numbers(&case["tokens"]).iter().map(|n| *n as u32).collect();
    assert_eq!(found.tokens, wanted, "{}", case["prompt"]);
    near(&[found.average], &[case["average"].as_f64().expect("a number")], NEAR, "average");
    // Zlibs differ in how well they pack.
    near(&[found.ratio], &[case["ratio"].as_f64().expect("a number")], 0.1, "ratio");
    if let Some(silence) = case["silence"].as_f64() {
        near(&[found.silence], &[silence], 1e-4, "silence");
    }
    let starts = found.starts.as_ref().expect("times");
    let times: Vec<f64> = fixtures::numbers(&case["times"]);
    for (n, (start, time)) in starts.iter().zip(&times).enumerate() {
        assert!((*start as f64 * 0.02 - time).abs() < 0.011, "token {n}: {starts:?} {times:?}");
    }
    if let Some(heard) = case["heard"].as_str() {
        assert_eq!(found.language, model.language(heard), "{heard}");
    }
}

#[test]
fn the_encoder_and_the_scores_are_those_of_transformers() {
    let model = open(fixtures::folder("multilingual"));
    let expected = fixtures::expected();
    let encoded = encoded(&model);
    for (at, wanted) in expected["encoder"].as_object().expect("positions") {
        let at: usize = at.parse().expect("a number");
        near(&encoded[at], &fixtures::numbers(wanted), NEAR, &format!("position {at}"));
    }
    let prompt: Vec<u32> =
        fixtures::numbers(&expected["logits"]["prompt"]).iter().map(|n| *n as u32).collect();
    let features = model.bank.features(&fixtures::audio(), fixtures::FRAMES);
    let sound = model.network.sound(&model.network.encode(&[features]).expect("encoded")).expect("sound");
    let (state, _) = model.network.begin(std::slice::from_ref(&prompt), &sound).expect("read");
    for (name, place) in [("first", 0), ("last", prompt.len() - 1)] {
        let scores = model.network.scores(&state, place).expect("scores");
        near(&scores[0], &fixtures::numbers(&expected["logits"][name]), NEAR, name);
    }
}

#[test]
fn tokens_and_their_times_are_those_of_transformers_alone_and_side_by_side() {
    let model = open(fixtures::folder("multilingual"));
    let expected = fixtures::expected();
    let cases = expected["cases"].as_array().expect("a list");
    let jobs: Vec<Job> = cases.iter().map(|case| job(&model, case)).collect();
    for (case, job) in cases.iter().zip(&jobs) {
        let found =
            search(&model.network, &model.config, std::slice::from_ref(job), &model.among).expect("found");
        same(&model, &found[0], case);
    }
    // Prompts of different lengths, unknown languages and rows that end sooner, all in one.
    let found = search(&model.network, &model.config, &jobs, &model.among).expect("found");
    for (case, found) in cases.iter().zip(&found) {
        same(&model, found, case);
    }
}

#[test]
fn gguf_in_16_bits_says_what_transformers_says_with_its_weights() {
    let model = open(fixtures::folder("f16"));
    let expected = fixtures::expected();
    near(&encoded(&model)[150], &fixtures::numbers(&expected["f16"]["encoder"]), NEAR, "encoder");
    let found =
        search(&model.network, &model.config, &[job(&model, &expected["f16"])], &model.among).expect("found");
    same(&model, &found[0], &expected["f16"]);
}

#[test]
fn gguf_in_8_bits_says_what_transformers_says_with_its_weights() {
    let (_folder, path) = fixtures::quantised();
    let expected = fixtures::expected();
    let case = &expected["q8_0"];
    let options = CandleOptions { retries: 0, expand: true, ..CandleOptions::new(path.clone()) };
    let model = Model::open(options).expect("a model");
    near(&encoded(&model)[150], &fixtures::numbers(&case["encoder"]), NEAR, "encoder");
    let mut job = job(&model, case);
    job.language = model.language("en");
    // The heads of alignment stand in a file that candle's examples leave out.
    let found = search(&model.network, &model.config, &[job], &model.among).expect("found");
    same(&model, &found[0], case);
    // Computed in 8 bits, what it computes with is rounded too.
    let model = open(path);
    let (have, want) = (&encoded(&model)[150], fixtures::numbers(&case["encoder"]));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let have: Vec<f64> = have.iter().map(|n| f64::from(*n)).collect();
    let cosine = dot(&have, &want) / (dot(&have, &have) * dot(&want, &want)).sqrt();
    assert!(cosine > 0.999, "{cosine}");
}

/// A copy of the multilingual model whose files may be changed.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        fs::copy(fixtures::folder("multilingual").join(name), folder.path().join(name)).expect("copied");
    }
    folder
}

#[test]
fn a_model_in_parts_is_the_same_model() {
    let folder = copy();
    let whole = folder.path().join("model.safetensors");
    let tensors = load(&whole, &candle_core::Device::Cpu).expect("tensors");
    fs::remove_file(&whole).expect("removed");
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    let mut map = serde_json::Map::new();
    for (part, names) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", part + 1);
        let some: HashMap<&str, _> = names.iter().map(|n| (n.as_str(), tensors[*n].clone())).collect();
        save(&some, folder.path().join(&file)).expect("saved");
        map.extend(names.iter().map(|n| ((*n).clone(), serde_json::Value::from(file.clone()))));
    }
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).expect("written");
    let expected = fixtures::expected();
    let model = open(folder.path().to_owned());
    near(&encoded(&model)[150], &fixtures::numbers(&expected["encoder"]["150"]), NEAR, "encoder");
    fs::write(&index, r#"{"weight_map":{"a":"../../etc/passwd"}}"#).expect("written");
    let told = refused(folder.path().to_owned());
    assert!(told.contains("weight_map: \"../../etc/passwd\" is not the name"), "{told}");
    fs::write(&index, r#"{"weight_map":{"a":"gone.safetensors"}}"#).expect("written");
    assert!(refused(folder.path().to_owned()).contains("gone.safetensors"));
}

#[test]
fn wrong_values_are_told_with_file_and_key() {
    for (file, from, to, told) in [
        (
            "config.json",
            "\"d_model\": 32",
            "\"d_model\": 33",
            "encoder_attention_heads: 2 heads do not share",
        ),
        ("config.json", "\"d_model\": 32", "\"d_model\": 0", "d_model: 0 is not from 1"),
        ("config.json", "\"decoder_layers\": 2", "\"decoder_layers\": 3", "model.decoder.layers.2"),
        ("config.json", "\"encoder_ffn_dim\": 32", "\"encoder_ffn_dim\": 48", "fc1.bias: is [32] where"),
        ("config.json", "\"gelu\"", "\"relu\"", "activation_function"),
        (
            "config.json",
            "\"num_mel_bins\": 80",
            "\"num_mel_bins\": 128",
            "feature_size: 80 where the model has 128",
        ),
        ("config.json", "\"vocab_size\"", "\"size\"", "missing field `vocab_size`"),
        (
            "config.json",
            "\"max_target_positions\": 128",
            "\"max_target_positions\": 4",
            "max_target_positions: 4",
        ),
        ("generation_config.json", "[[0,1],", "[[0,4],", "alignment_heads: no head 4 in a layer 0"),
        ("generation_config.json", "{\"alignment", "alignment", "generation_config.json: expected value"),
        ("preprocessor_config.json", "16000", "8000", "sampling_rate: 8000 where"),
        ("tokenizer.json", "<|endoftext|>", "<|over|>", "<|endoftext|>: no such token"),
    ] {
        let folder = copy();
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(&path, text.replace(from, to)).expect("written");
        let error = refused(folder.path().to_owned());
        assert!(error.contains(told), "{error}\nwanted {told}");
    }
}

#[test]
fn damaged_weights_are_refused() {
    let folder = copy();
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("a file");
    for length in [0, 7, 100, bytes.len() / 2] {
        fs::write(&path, &bytes[..length]).expect("written");
        assert!(refused(folder.path().to_owned()).contains("model.safetensors"));
    }
    let (_folder, path) = fixtures::quantised();
    let bytes = fs::read(&path).expect("a file");
    for length in [0, 3, 40, bytes.len() / 2] {
        fs::write(&path, &bytes[..length]).expect("written");
        let told = refused(path.clone());
        assert!(told.contains("model-tiny-q80.gguf"), "{told}");
    }
}

#[test]
fn what_a_build_cannot_compute_on_is_told() {
    let path = fixtures::folder("multilingual");
    let device = if cfg!(feature = "cuda") { Device::Metal } else { Device::Cuda(0) };
    let told = Model::open(CandleOptions { device, ..CandleOptions::new(path.clone()) })
        .map(|_| ())
        .expect_err("none");
    assert!(matches!(told, LoadError::Device { .. }), "{told}");
    let languages = vec!["en".to_owned(), "xx".to_owned()];
    let told =
        Model::open(CandleOptions { languages, ..CandleOptions::new(path) }).map(|_| ()).expect_err("none");
    assert!(told.to_string().contains("xx: no such language"), "{told}");
}

#[test]
fn unsure_words_are_tried_again_a_bounded_number_of_times_and_the_same_each_time() {
    let model = open(fixtures::folder("multilingual"));
    let expected = fixtures::expected();
    let once = job(&model, &expected["cases"][0]);
    let twice = Job { retries: 3, ..once.clone() };
    let find = |job: &Job| {
        search(&model.network, &model.config, std::slice::from_ref(job), &model.among)
            .expect("found")
            .remove(0)
    };
    // Random weights are unsure of everything, so chance has its turn.
    assert!(find(&once).average < crate::search::UNSURE);
    assert_ne!(find(&once).tokens, find(&twice).tokens);
    assert_eq!(find(&twice), find(&twice));
    let short = find(&Job { most: 3, ..once });
    assert_eq!((short.tokens.len(), short.sureties.len()), (3, 3));
}
