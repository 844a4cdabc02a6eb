//! `antiphon models` as people run it: the built program, a mirror in a folder, a store of its own.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run programs, and fail by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn models(store: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ANTIPHON_")) {
        command.env_remove(name);
    }
    command.env("ANTIPHON_MODELS", store).arg("models").args(args).stdin(Stdio::null()).output().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn a_model_is_pulled_from_a_mirror_verified_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mirror) = (folder.path().join("store"), folder.path().join("mirror"));
    fs::create_dir_all(mirror.join("silero-vad")).unwrap();
    fs::write(mirror.join("silero-vad/model.onnx"), b"weights").unwrap();
    let place = mirror.to_str().unwrap();
    let pulled = models(&store, &["pull", "silero-vad", "--mirror", place, "--mirrors-only"]);
    assert!(pulled.status.success(), "{}", err(&pulled));
    assert!(err(&pulled).contains("silero-vad came (MIT)"), "{}", err(&pulled));
    let path = models(&store, &["path", "silero-vad"]);
    assert_eq!(fs::read(Path::new(out(&path).trim()).join("model.onnx")).unwrap(), b"weights");
    let verified = models(&store, &["verify"]);
    assert_eq!((verified.status.code(), out(&verified)), (Some(0), "silero-vad/model.onnx: good\n"));
    fs::write(store.join("silero-vad/model.onnx"), b"weighty").unwrap();
    let verified = models(&store, &["verify", "silero-vad"]);
    assert_eq!(verified.status.code(), Some(2));
    assert!(out(&verified).contains("CHANGED"), "{}", out(&verified));
    assert!(models(&store, &["rm", "silero-vad"]).status.success());
    let path = models(&store, &["path", "silero-vad"]);
    assert_eq!(path.status.code(), Some(2));
    assert!(err(&path).contains("antiphon models pull silero-vad"), "{}", err(&path));
}

#[test]
fn the_list_tells_what_is_here() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("whisper-tiny")).unwrap();
    fs::write(folder.path().join("whisper-tiny/model.bin"), b"x").unwrap();
    let listed = models(folder.path(), &["list", "--here", "--json"]);
    let row: Value = serde_json::from_str(out(&listed).trim()).unwrap();
    assert_eq!((row["name"].as_str(), row["state"].as_str()), (Some("whisper-tiny"), Some("yes")));
    let listed = models(folder.path(), &["list", "--language", "zh", "--engine", "transducer"]);
    assert!(out(&listed).starts_with("MODEL"), "{}", out(&listed));
    assert!(out(&listed).contains("zipformer-zh-2023-12-12"), "{}", out(&listed));
    assert!(!out(&listed).contains("zipformer-en-2023-06-26"), "{}", out(&listed));
}

#[test]
fn errors_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = models(folder.path(), &["pull", "wisper-small"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).contains("did you mean whisper-small?"), "{}", err(&unknown));
    let empty = folder.path().to_str().unwrap();
    let missing = models(folder.path(), &["pull", "silero-vad", "--mirror", empty, "--mirrors-only"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(err(&missing).contains("no mirror has silero-vad/model.onnx"), "{}", err(&missing));
}
