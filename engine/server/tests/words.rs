//! Words as they are read, on the built server: in calls by its configuration, in services by what their clients ask for.
//! The scripted recogniser says what the words are; the sound is real speech.

mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::server::{Options, Server};
use support::wait_for;

const LINE: &str = include_str!("scenarios/line.yaml");
const CARD: &str = "four one one one one one one one one one one one one one one one";

/// A recogniser that hears these, one a stretch of speech.
fn hears(utterances: &[&str], more: &str) -> String {
    format!("{more}\n[recognizer.scripted]\nlanguage = \"zh\"\nutterances = {utterances:?}")
}

/// Speech of the server's own voice, as a WAV; `token` where the server wants one.
fn speech(server: &Server, token: Option<&str>) -> Vec<u8> {
    let mut request = ureq::post(format!("http://{}/v1/audio/speech", server.http()));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let asked = json!({ "model": "tts-1", "input": "yes please do that", "response_format": "wav" });
    let mut answer = request.send_json(asked).expect("spoken");
    answer.body_mut().with_config().limit(10 << 20).read_to_vec().expect("sound")
}

/// Posts a recording to `path`; status and answer.
fn listen(server: &Server, path: &str) -> (u16, Value) {
    let wav = speech(server, None);
    let request = ureq::post(format!("http://{}/v1/listen{path}", server.http()));
    let answer = request.config().http_status_as_error(false).build().send(&wav[..]);
    let mut answer = answer.expect("answered");
    (answer.status().as_u16(), answer.body_mut().read_json().expect("JSON"))
}

/// Posts a recording as OpenAI's clients do.
fn transcribe(server: &Server, fields: &[(&str, &str)]) -> (u16, String) {
    let boundary = "antiphon-boundary";
    let mut form = String::new();
    for (name, value) in fields {
        form +=
            &format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    form +=
        &format!("--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n");
    let mut form = form.into_bytes();
    form.extend(speech(server, None));
    form.extend(format!("\r\n--{boundary}--\r\n").bytes());
    let answer = ureq::post(format!("http://{}/v1/audio/transcriptions", server.http()))
        .content_type(format!("multipart/form-data; boundary={boundary}"))
        .config()
        .http_status_as_error(false)
        .build()
        .send(&form[..]);
    let mut answer = answer.expect("answered");
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
}

#[test]
fn a_call_is_written_and_masked_in_all_that_leaves_and_its_flow_hears_what_was_said() {
    let said = format!("my card number is {CARD} and i owe twenty five dollars");
    let recognizer = hears(
        &[&said, "what is my account balance"],
        "punctuation = true\ncapitals = true\nnumbers = true\nmask = [\"card\"]",
    );
    let options =
        Options { engine: "scripted", recognizer: &recognizer, flow: Some(LINE), ..Options::default() };
    let server = Server::start(options);
    let target = format!("sip:line@{}", server.sip());
    let out = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["call", &target, "--engine", "none", "--record"])
        .arg(out.path())
        .args(["--say", "my card number", "--say", "what is my account balance"])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let finals = server.of_type("speech.final");
    let mut theirs = finals.iter().filter(|event| event["side"] == "caller");
    let first = theirs.next().expect("the first words");
    assert_eq!(first["text"], "My card number is **************** and I owe $25.", "{first}");
    let spoken = first["spoken"].as_str().expect("what was said");
    assert!(spoken.starts_with("my card number is ***") && spoken.ends_with("and i owe twenty five dollars"));
    let words = first["words"].as_array().expect("words");
    assert_eq!(words.len(), said.split(' ').count(), "each with its own time");
    let times: Vec<f64> = words.iter().filter_map(|word| word["start"].as_f64()).collect();
    assert!(times.is_sorted() && times.len() == words.len(), "{times:?}");
    assert_eq!(first["redactions"][0]["kind"], "card");
    assert_eq!(first["redactions"][0]["start"], words[4]["start"]);
    let partials = server.of_type("speech.partial");
    assert!(partials.iter().all(|event| event["side"] == "machine"), "{partials:?}");

    let intents = server.of_type("intent");
    assert!(intents.iter().any(|event| event["name"] == "balance"), "{intents:?}");
    assert_eq!(theirs.next().expect("the second words")["text"], "What is my account balance?");

    let sidecar = wait_for("the sidecar", Duration::from_secs(8), || server.sidecars().pop());
    let entry =
        sidecar["transcript"].as_array().expect("a transcript").iter().find(|e| e["side"] == "caller");
    let entry = entry.expect("the caller");
    assert_eq!((&entry["text"], &entry["spoken"]), (&first["text"], &first["spoken"]));
    for (what, text) in [
        ("events", server.events().iter().map(Value::to_string).collect::<String>()),
        ("sidecar", sidecar.to_string()),
        ("log", server.log().join("\n")),
    ] {
        assert!(!text.contains("one one") && !text.contains("4111"), "{what}: {text}");
    }
}

#[test]
fn each_client_of_a_recording_gets_the_words_it_asked_for() {
    let said = format!("call me on friday at five thirty pm my card is {CARD} damn shit");
    let server =
        Server::start(Options { engine: "scripted", recognizer: &hears(&[&said], ""), ..Options::default() });
    let transcript = |path: &str| {
        let (status, answer) = listen(&server, path);
        assert_eq!(status, 200, "{answer}");
        answer["results"]["channels"][0]["alternatives"][0].clone()
    };
    let plain = transcript("?language=en");
    assert_eq!(plain["transcript"], said.as_str(), "as it was said");
    assert!(plain["words"][0].get("punctuated_word").is_none());
    let smart = transcript("?language=en&smart_format=true&redact=pci&profanity_filter=true");
    let text = smart["transcript"].as_str().expect("text");
    assert!(text.starts_with("Call me on Friday at 5:30 pm"), "{text}");
    assert!(!smart.to_string().contains("shit") && !smart.to_string().contains("4111"), "{smart}");
    let words = smart["words"].as_array().expect("words");
    assert_eq!((&words[0]["word"], &words[0]["punctuated_word"]), (&json!("call"), &json!("Call")));
    let time = words.iter().find(|word| word["word"] == "5:30 pm").expect("one word of three");
    let spoken = plain["words"].as_array().expect("words");
    assert_eq!((&time["start"], &time["end"]), (&spoken[5]["start"], &spoken[7]["end"]));

    let (status, refused) = listen(&server, "?redact=pii");
    assert_eq!(
        (status, refused["err_msg"].as_str().map(|m| m.contains("redact is `pii`"))),
        (400, Some(true))
    );
    let (status, refused) = listen(&server, "?paragraphs=true");
    assert_eq!((status, &refused["err_msg"]), (400, &json!("paragraphs is not available")));

    let (_, text) = transcribe(&server, &[("response_format", "text"), ("language", "en")]);
    assert!(text.starts_with("Call me on Friday at 5:30 pm"), "always written: {text}");
    let (status, text) = transcribe(&server, &[("include[]", "logprobs")]);
    assert_eq!(status, 400, "{text}");
}

#[test]
fn what_is_spoken_is_found_out_where_nobody_says_it() {
    let server = Server::start(Options {
        engine: "scripted",
        recognizer: &hears(&["我要充一百二十块话费"], ""),
        ..Options::default()
    });
    let (_, answer) = transcribe(&server, &[("response_format", "verbose_json")]);
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((&answer["language"], &answer["text"]), (&json!("chinese"), &json!("我要充120块话费。")));
    let (_, answer) = listen(&server, "?detect_language=true&numerals=true");
    let channel = &answer["results"]["channels"][0];
    assert_eq!(channel["detected_language"], "zh", "{answer}");
    assert_eq!(channel["alternatives"][0]["transcript"], "我要充120块话费");

    let known = "[recognizer.scripted]\nutterances = [\"yes\"]";
    let server = Server::start(Options { engine: "scripted", recognizer: known, ..Options::default() });
    let (status, refused) = listen(&server, "?detect_language=true");
    assert_eq!(status, 400, "{refused}");
    assert!(refused["err_msg"].as_str().is_some_and(|m| m.contains("say the language")), "{refused}");
}

#[test]
fn a_tenant_hides_from_its_own_clients_what_it_hides_in_its_calls() {
    let token = "a-secret-of-sixteen-characters";
    let tables = format!(
        "[[tenant]]\nname = \"bank\"\nmask = [\"card\"]\n[[token]]\nname = \"desk\"\nsecret = \"{token}\"\nscopes = [\"speech\"]\ntenant = \"bank\"\n[[token]]\nname = \"all\"\nsecret = \"another-secret-of-this-kind\"\nscopes = [\"speech\"]\n"
    );
    let server = Server::start(Options {
        engine: "scripted",
        recognizer: &hears(&[&format!("it is {CARD} right")], ""),
        tables: &tables,
        ..Options::default()
    });
    let wav = speech(&server, Some(token));
    let post = |token: &str| -> Value {
        let request = ureq::post(format!("http://{}/v1/listen?language=en", server.http()));
        let request = request.header("authorization", format!("Token {token}"));
        request.send(&wav[..]).expect("served").body_mut().read_json().expect("JSON")
    };
    let theirs = post(token).to_string();
    assert!(theirs.contains("it is ***") && theirs.contains("right") && !theirs.contains("one"), "{theirs}");
    assert!(post("another-secret-of-this-kind").to_string().contains(CARD));
}

#[test]
fn a_transcript_of_the_command_line_is_written_and_masked_by_its_flags() {
    let dir = tempfile::tempdir().expect("a folder");
    let (config, wav) = (dir.path().join("antiphon.toml"), dir.path().join("call.wav"));
    let said = format!("pay twenty five dollars from {CARD}");
    std::fs::write(&config, format!("[recognizer.scripted]\nutterances = [{said:?}]\n")).expect("written");
    let voice = Server::start(Options { engine: "none", ..Options::default() });
    std::fs::write(&wav, speech(&voice, None)).expect("written");
    let transcribe = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(["transcribe", "--engine", "scripted", "--config"]).arg(&config);
        command.args(flags).arg(&wav).output().expect("runs")
    };
    let json = |flags: &[&str]| -> Value {
        let output = transcribe(flags);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let whole: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        whole["utterances"][0].clone()
    };
    let plain = json(&["--format", "json"]);
    assert_eq!((&plain["text"], &plain["spoken"]), (&json!(said), &Value::Null));
    let flags = ["--format", "json", "--numbers", "--capitals", "--punctuation", "--mask", "card,email"];
    let written = json(&flags);
    assert_eq!(written["text"], "Pay $25 from ****************.");
    assert!(written["spoken"].as_str().is_some_and(|s| s.starts_with("pay twenty five dollars from ***")));
    assert_eq!(
        (&written["words"][1]["text"], &written["words"][1]["start"]),
        (&json!("$25"), &plain["words"][1]["start"])
    );
    assert!(!written.to_string().contains("four"), "{written}");

    let wrong = transcribe(&["--mask", "secrets"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("profanity, telephone, identity"));
    let out = dir.path().join("out");
    let kept = transcribe(&["--mask", "card", "--resume", "--output", out.to_str().expect("a path")]);
    assert!(String::from_utf8_lossy(&kept.stderr).contains("nothing can be masked with it"));
}
