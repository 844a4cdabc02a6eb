//! A customer played by the machine calls a trainee over SIP, and the trainee is scored.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_engine_assist::Persona;
use serde_json::{Value, json};
use support::softphone::{Setup, Softphone, speak};
use support::tool_missing;
use support::wav::{halve, pad};

const BINARY: &str = env!("CARGO_BIN_EXE_antiphon");
/// Heard of the trainee, one a stretch of speech.
const TRAINEE: &str =
    r#"["good morning how can i help", "i am sorry i send you a new card", "it comes by courier tomorrow"]"#;
const CARD: &str = r#"
scorecard: {id: manners, version: 1, base: 100, pass: 80}
rules:
  - {id: apology, must: {phrase: sorry, speaker: agent}, points: -30}
  - {id: name, must: {phrase: my name is, speaker: agent}, points: -10}
  - {id: complaint, expr: {phrase: two weeks, speaker: customer}, points: 0}
"#;

/// A trainee on a softphone takes a call; what came of it, and what the command printed.
fn train(more: &[&str]) -> (Value, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    // Three stretches of speech, then nothing; the customer answers in between.
    let mut says = Vec::new();
    for text in
        ["good morning how can I help", "I am sorry, I send you a new card", "it comes by courier tomorrow"]
    {
        says.extend(pad(1.5, &halve(&speak(text)), 8.0, 8_000));
    }
    let says = pad(0.0, &says, 60.0, 8_000);
    let phone = Softphone::with(Setup { answers: true, ..Setup::of("PCMU", &says) });
    let config = write(
        "antiphon.toml",
        &format!("[recognizer]\nengine = \"scripted\"\n[recognizer.scripted]\nutterances = {TRAINEE}\n"),
    );
    let card = write("manners.yaml", CARD);
    let persona = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/training/angry_customer.yaml");
    let out = dir.path().join("out");
    let ran = Command::new(BINARY)
        .args(["train", "--call", &format!("sip:tester@{}", phone.sip()), "--persona"])
        .arg(persona)
        .arg("--scorecard")
        .arg(card)
        .arg("--out")
        .arg(&out)
        .arg("--config")
        .arg(config)
        .args(more)
        .env("TRAINING_KEY", "a-key-of-the-test")
        .output()
        .expect("the binary runs");
    let printed = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{printed}");
    assert!(!printed.contains("a-key-of-the-test"), "{printed}");
    let files = std::fs::read_dir(&out).expect("results").flatten().map(|file| file.path());
    let files: Vec<_> = files.collect();
    let of = |kind: &str| files.iter().find(|file| file.extension().is_some_and(|end| end == kind));
    let page = std::fs::read_to_string(of("html").expect("a page")).expect("readable");
    assert!(page.contains("manners") && page.contains("<html"), "the report");
    let result = std::fs::read(of("json").expect("a result")).expect("readable");
    (serde_json::from_slice(&result).expect("JSON"), printed)
}

fn said<'a>(result: &'a Value, role: &str) -> Vec<&'a str> {
    let conversation = &result["conversation"];
    let turns = conversation["turns"].as_array().expect("turns").iter();
    let by = |turn: &&Value| {
        let track = turn["track"].as_u64().expect("a track") as usize;
        conversation["tracks"][track]["role"] == role
    };
    turns.filter(by).filter_map(|turn| turn["said"]["text"].as_str()).collect()
}

#[test]
fn a_trainee_is_called_answered_and_scored() {
    if tool_missing(&["baresip", "flite"]) {
        return;
    }
    let (result, printed) = train(&[]);
    let training = &result["training"];
    assert_eq!(training["ended"], "gave_in", "{printed}\n{result:#}");
    assert_eq!((&training["met"], &training["reactions"]), (&json!(["express"]), &json!(["apology"])));
    assert_eq!(said(&result, "agent")[1], "i am sorry i send you a new card");
    assert!(
        said(&result, "customer").iter().any(|text| text.contains("two weeks") || text.contains("Two weeks"))
    );
    let judged = &result["result"]["judgements"][0];
    assert_eq!((&judged["score"], &judged["pass"]), (&json!(90.0), &json!(true)), "{judged:#}");
}

/// The heads and the bodies of requests.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A language model that answers the first question and keeps the second waiting. What it was asked.
fn model() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let asked = Asked::default();
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a head");
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                head += &line;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let count = {
                let mut asked = kept.lock().expect("no panic while asked");
                asked.push((head, serde_json::from_slice(&body).expect("JSON")));
                asked.len()
            };
            let content = "*sighs* A parrot could have told me that card story by now.";
            let answer =
                json!({"choices": [{"message": {"role": "assistant", "content": content}}]}).to_string();
            if count > 1 {
                std::thread::sleep(Duration::from_secs(3));
            }
            let length = answer.len();
            // Whoever has given up does not read it.
            let _ = write!(
                reader.get_mut(),
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
            );
        }
    });
    (format!("http://{address}/v1/chat/completions"), asked)
}

#[test]
fn a_model_finds_the_words_and_the_script_does_where_it_is_slow() {
    if tool_missing(&["baresip", "flite"]) {
        return;
    }
    let (url, asked) = model();
    let more = [
        "--model-url",
        &url,
        "--model",
        "parrot",
        "--model-key-env",
        "TRAINING_KEY",
        "--model-timeout",
        "1s",
    ];
    let (result, printed) = train(&more);
    let training = &result["training"];
    assert_eq!(
        (&training["improvised"], training["fallbacks"].as_u64() > Some(0)),
        (&json!(1), true),
        "{printed}"
    );
    let customer = said(&result, "customer");
    assert!(customer.iter().any(|text| text.contains("A parrot could have told me")), "{customer:?}");
    // What happens is for the rules to say, whatever the words are.
    assert_eq!(training["ended"], "gave_in", "{customer:?}");
    let asked = asked.lock().expect("no panic while asked");
    let (head, body) = &asked[0];
    assert!(head.contains("Bearer a-key-of-the-test"), "{head}");
    let messages = body["messages"].as_array().expect("messages");
    let user: Vec<_> = messages.iter().filter(|message| message["role"] == "user").collect();
    let content: Value =
        serde_json::from_str(user[0]["content"].as_str().expect("text")).expect("one JSON object");
    assert_eq!(content["trainee_said"], "good morning how can i help");
    assert_eq!((&body["model"], messages[0]["role"].as_str()), (&json!("parrot"), Some("system")));
}

#[test]
fn the_examples_are_personas() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/training");
    let mut languages = Vec::new();
    for file in std::fs::read_dir(folder).expect("the examples").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("readable");
        let persona =
            Persona::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.path().display()));
        languages.push(persona.language().primary());
    }
    languages.sort();
    assert_eq!(languages, ["en", "zh"]);
}
