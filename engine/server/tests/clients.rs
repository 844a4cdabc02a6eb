//! Published clients of other services hear from ours by nothing but another address: OpenAI's and Deepgram's libraries, and
//! what the scripts of vosk and FunASR send.

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::python::tool;
use support::server::{Options, Server};

#[test]
fn clients_of_others_are_served_by_changing_their_address() {
    let Some(python) = tool("python") else { return };
    let server = Server::start(Options { engine: "pocketsphinx", ..Options::default() });
    let asked =
        json!({ "model": "tts-1", "voice": "alloy", "input": "yes please", "response_format": "wav" });
    let url = format!("http://{}/v1/audio/speech", server.http());
    let mut answer = ureq::post(url).send_json(asked).expect("spoken");
    let dir = tempfile::tempdir().expect("a folder");
    let wav = dir.path().join("yes.wav");
    std::fs::write(&wav, answer.body_mut().read_to_vec().expect("sound")).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients.py");
    let output = Command::new(python)
        .arg(script)
        .arg(server.http().port().to_string())
        .arg(&wav)
        .output()
        .expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", server.log().join("\n"));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let plain = |key: &str| {
        let text = told[key].as_str().unwrap_or_default().to_lowercase();
        text.chars().filter(|c| c.is_alphabetic() || *c == ' ').collect::<String>()
    };
    for key in ["openai", "deepgram", "deepgram_live", "vosk", "funasr"] {
        assert!(plain(key).contains("please"), "{key}: {told:#}");
    }
    assert_eq!(told["openai_words"].as_array().map(Vec::len), Some(2), "{told:#}");
    assert_eq!(
        (&told["openai_stream"], &told["openai_speech"]),
        (&json!("transcript.text.done"), &json!("RIFF"))
    );
}
