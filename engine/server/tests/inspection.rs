//! Inspection jobs on the built server, as a quality lead meets them.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test owns processes, threads and clocks"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::server::{Options, Server};
use support::wav::{Wav, pad};
use support::{HOST, tool_missing, wait_for};

const BINARY: &str = env!("CARGO_BIN_EXE_antiphon");
/// Whatever a test waits for comes well before this.
const PATIENCE: Duration = Duration::from_secs(60);
/// What each side says, the first time somebody speaks on it and the second.
const WORDS: &str = r#"[recognizer.scripted]
utterances = ["good morning", "i guarantee a profit"]
"#;
const CARD: &str = r#"
scorecard: {id: service, version: 3, base: 100, pass: 80}
conditions:
  greet: {phrase: "good morning", speaker: agent}
  guarantee: {phrase: guarantee, speaker: agent}
rules:
  - {id: R1, must: greet, points: -10}
  - {id: R2, never: guarantee, points: -30}
"#;
/// Greetings alone.
const MILD: &str = r#"
scorecard: {id: mild, version: 1, base: 100, pass: 80}
conditions:
  greet: {phrase: "good morning", speaker: agent}
rules:
  - {id: M1, must: greet, points: -10}
"#;

/// A voice, at 16 kHz.
fn voice(dir: &Path) -> Vec<i16> {
    let path = dir.join("voice.wav");
    let mut flite = Command::new("flite");
    flite.args(["-voice", "slt", "-t", "good morning to all of you", "-o"]).arg(&path);
    assert!(flite.status().expect("flite is installed (Debian: flite)").success());
    Wav::read(&path).channels.swap_remove(0)
}

/// A call of two stretches of speech, alike on both sides.
fn call(dir: &Path, name: &str) -> PathBuf {
    let voice = voice(dir);
    let mut pcm = pad(0.5, &voice, 2.0, 16_000);
    pcm.extend(pad(0.0, &voice, 1.0, 16_000));
    let path = dir.join(name);
    Wav::write_alike(&path, 16_000, &pcm, 2);
    path
}

fn antiphon(server: &Server, args: &[&str]) -> Output {
    Command::new(BINARY)
        .arg("qa")
        .args(args)
        .env("ANTIPHON_SERVER", format!("http://{}", server.http()))
        .env_remove("ANTIPHON_TOKEN")
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The job that a command tells.
fn job_of(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().next().expect("an id").to_owned()
}

fn over(server: &Server, job: &str) -> Value {
    wait_for("the job to be over", PATIENCE, || {
        let job = server.fetch(&format!("/v1/qa/jobs/{job}"));
        (job["state"] == "finished").then_some(job)
    })
}

/// A web server that answers with these statuses, one request after the other, and passes on what it got.
fn site(answers: Vec<(u16, Vec<u8>)>) -> (SocketAddr, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind((HOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let (send, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut reader = BufReader::new(&stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                head.push_str(&line);
            }
            let mut sent = vec![0; length];
            let _ = reader.read_exact(&mut sent);
            let head_out =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = (&stream).write_all(head_out.as_bytes()).and_then(|()| (&stream).write_all(&body));
            let _ = send.send((head, sent));
        }
    });
    (address, requests)
}

#[test]
fn recordings_are_uploaded_inspected_reviewed_and_judged_again() {
    if tool_missing(&["flite"]) {
        return;
    }
    let (site, told) = site(vec![(500, Vec::new()), (204, Vec::new())]);
    let tables = format!(
        "{WORDS}\n[qa]\nscorecards = \"@DIR@/cards\"\ncallback_hosts = [\"{site}\"]\ncallback_secret = \"0123456789abcdef\"\n"
    );
    let server = Server::start(Options { engine: "scripted", tables: &tables, ..Options::default() });
    let dir = tempfile::tempdir().expect("a folder");
    let cards = server.data().parent().expect("a folder").join("cards");
    std::fs::create_dir(&cards).expect("made");
    std::fs::write(cards.join("service.yaml"), CARD).expect("written");
    let good = call(dir.path(), "good.wav");
    let broken = dir.path().join("broken.mp3");
    std::fs::write(&broken, "this is no sound, whatever its name says ".repeat(50)).expect("written");

    let callback = format!("http://{site}/done?key=hunter2");
    let (good, broken) = (good.display().to_string(), broken.display().to_string());
    let submit =
        ["submit", &good, &broken, "--scorecard", "service", "--key", "night", "--callback", &callback];
    let job = job_of(&antiphon(&server, &submit));
    let done = over(&server, &job);
    assert_eq!((&done["files"]["done"], &done["files"]["failed"]), (&json!(1), &json!(1)), "{done}");

    let file = server.fetch(&format!("/v1/qa/jobs/{job}/files/0"));
    assert_eq!((&file["score"], &file["passed"]), (&json!(70.0), &json!(false)), "{file}");
    let said: Vec<_> = file["conversation"]["turns"].as_array().expect("turns").iter().collect();
    assert_eq!(said.len(), 4, "{said:?}");
    let failed = server.fetch(&format!("/v1/qa/jobs/{job}/files/1"));
    assert_eq!(failed["error"]["code"], "audio.unreadable", "{failed}");

    // The finding has a clip, and a person may overturn it.
    let rules = file["result"]["judgements"][0]["rules"].as_array().expect("rules");
    let hit = &rules[1]["hits"][0];
    let url = format!(
        "http://{}/v1/qa/jobs/{job}/files/0/clip?start={}&end={}",
        server.http(),
        hit["clip"]["start"],
        hit["clip"]["end"]
    );
    let mut clip = Vec::new();
    ureq::get(&url).call().expect("a clip").body_mut().as_reader().read_to_end(&mut clip).expect("read");
    let path = dir.path().join("clip.wav");
    std::fs::write(&path, clip).expect("written");
    let length =
        hit["clip"]["end"].as_f64().expect("seconds") - hit["clip"]["start"].as_f64().expect("seconds");
    assert!((Wav::read(&path).seconds() - length).abs() < 0.05);
    let review = json!({ "hit": hit["id"], "verdict": "overturn", "reviewer": "ann", "comment": "a joke" });
    let (status, reviewed) = server.post(&format!("/v1/qa/jobs/{job}/files/0/reviews"), &review);
    assert_eq!(
        (status, &reviewed["score"], &reviewed["passed"]),
        (201, &json!(100.0), &json!(true)),
        "{reviewed}"
    );
    let (status, _) = server
        .post(&format!("/v1/qa/jobs/{job}/files/0/reviews"), &json!({ "hit": "R9", "verdict": "confirm" }));
    assert_eq!(status, 404);

    // The same again is no second job; something else under the same key is refused.
    assert_eq!(job_of(&antiphon(&server, &submit)), job);
    let other = antiphon(&server, &["submit", &good, "--scorecard", "service", "--key", "night"]);
    assert!(
        !other.status.success() && text(&other.stderr).contains("idempotency"),
        "{}",
        text(&other.stderr)
    );
    let uploads = std::fs::read_dir(server.data().join("qa")).expect("a folder").count();
    assert_eq!(uploads, 1, "what was uploaded for nothing is gone");

    // Judged by other rules without being heard again.
    let mild = dir.path().join("mild.yaml");
    std::fs::write(&mild, MILD).expect("written");
    let again = antiphon(&server, &["rescore", &job, "--scorecard", &mild.display().to_string(), "--watch"]);
    let table = text(&again.stdout);
    assert!(
        again.status.success() && table.contains("1 of 1 judged, 1 pass"),
        "{table}{}",
        text(&again.stderr)
    );

    // The call-back was refused once and is told again, signed and the same.
    let news: Vec<_> = (0..2).map(|_| told.recv_timeout(PATIENCE).expect("a call-back")).collect();
    for (head, body) in &news {
        let body: Value = serde_json::from_slice(body).expect("JSON");
        assert!(
            head.starts_with("POST /done?key=hunter2 ") && head.contains("antiphon-signature: t="),
            "{head}"
        );
        assert_eq!((&body["type"], &body["data"]["job"]), (&json!("qa.finished"), &json!(job)));
    }
    assert!(!server.log().iter().any(|line| line.contains("hunter2")), "{:?}", server.log());

    // Gone when it is forgotten.
    let url = format!("http://{}/v1/qa/jobs/{job}", server.http());
    assert_eq!(ureq::delete(&url).call().expect("forgotten").status(), 204);
    let gone = ureq::get(&url).config().http_status_as_error(false).build().call().expect("an answer");
    assert_eq!(gone.status(), 404);
    assert!(!server.data().join("qa").join(&job).exists());
}

#[test]
fn recordings_come_from_where_the_configuration_lets_them() {
    if tool_missing(&["flite"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let inside = dir.path().join("calls");
    std::fs::create_dir(&inside).expect("made");
    let wav = call(&inside, "one.wav");
    let octets = std::fs::read(&wav).expect("written");
    let (site, _told) =
        site(vec![(503, Vec::new()), (200, octets.clone()), (404, Vec::new()), (302, Vec::new())]);
    let tables = format!("{WORDS}\n[qa]\nworkers = 1\npaths = [{inside:?}]\nhosts = [\"{site}\"]\n");
    let server = Server::start(Options { engine: "scripted", tables: &tables, ..Options::default() });

    let voice = voice(&inside);
    let mono = inside.join("agent.wav");
    Wav::write(&mono, 16_000, &pad(0.5, &voice, 1.0, 16_000));
    let silent = inside.join("customer.wav");
    Wav::write(&silent, 16_000, &vec![0; 16_000]);
    let csv =
        format!("customer_file,agent_file,name,agent\n{},{},pair,ann\n", silent.display(), mono.display());
    let job = json!({
        "scorecards": [{ "yaml": CARD }],
        "files": [
            { "path": wav },
            { "url": format!("http://{site}/fetched.wav?token=x") },
            { "url": format!("http://{site}/missing.wav") },
            { "url": format!("http://{site}/elsewhere.wav") },
            { "path": mono, "metadata": { "queue": "sales" } },
            { "path": mono, "channels": ["agent"] },
            { "path": wav, "channels": ["agent"] },
        ],
        "manifest": { "csv": csv },
    });
    let (status, accepted) = server.post("/v1/qa/jobs", &job);
    assert_eq!(status, 202, "{accepted}");
    let job = accepted["id"].as_str().expect("an id").to_owned();
    over(&server, &job);
    let files = server.fetch(&format!("/v1/qa/jobs/{job}/files"));
    let came: Vec<_> = files["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| match file["error"]["code"].as_str() {
            Some(code) => format!("{} {code}", file["name"].as_str().unwrap_or_default()),
            None => format!("{} {}", file["name"].as_str().unwrap_or_default(), file["score"]),
        })
        .collect();
    assert_eq!(
        came,
        [
            "one.wav 70.0",
            "fetched.wav 70.0",
            "missing.wav source.missing",
            "elsewhere.wav source.forbidden",
            "agent.wav 90.0",
            "agent.wav 100.0",
            "one.wav audio.roles",
            "pair 100.0",
        ]
    );
    let one_channel = server.fetch(&format!("/v1/qa/jobs/{job}/files/4"));
    let warning = one_channel["result"]["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("one channel"), "{one_channel}");
    assert_eq!(one_channel["metadata"]["queue"], "sales");

    // The same in a folder, to look at.
    let out = dir.path().join("report");
    let watched = antiphon(&server, &["watch", &job]);
    assert_eq!(watched.status.code(), Some(1), "some failed: {}", text(&watched.stdout));
    antiphon(&server, &["report", &job, "--out", &out.display().to_string()]);
    let table = std::fs::read_to_string(out.join("results.csv")).expect("a table");
    assert_eq!(csv::Reader::from_reader(table.as_bytes()).records().count(), 8, "{table}");
    let index = std::fs::read_to_string(out.join("index.html")).expect("an index");
    assert!(index.contains("source.missing") || index.contains("404"), "{index}");
    let first: Value =
        serde_json::from_slice(&std::fs::read(out.join("00000.json")).expect("a result")).expect("JSON");
    assert_eq!(first["result"]["judgements"][0]["score"], 70.0, "{first:#}");

    // What is forbidden is refused before anything is heard.
    for (file, code) in [
        (json!({ "path": "/etc/passwd" }), "qa.forbidden"),
        (json!({ "url": "http://169.254.169.254/latest" }), "qa.forbidden"),
        (json!({ "s3": "s3://calls/one.wav" }), "qa.forbidden"),
        (json!({ "path": inside.join("none.wav") }), "qa.invalid"),
        (json!({ "upload": "one.wav" }), "qa.invalid"),
        (json!({ "recording": "none" }), "qa.invalid"),
        (json!({ "file": "one.wav" }), "qa.invalid"),
    ] {
        let (_, refused) =
            server.post("/v1/qa/jobs", &json!({ "scorecards": [{ "yaml": CARD }], "files": [file] }));
        assert_eq!(refused["error"]["code"], code, "{refused}");
    }
    let bad = json!({ "scorecards": [{ "yaml": "scorecard: {id: x, version: 1}\nrules: [{id: R, never: nothing}]\n" }], "files": [] });
    let (status, refused) = server.post("/v1/qa/jobs", &bad);
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(status == 422 && !message.is_empty(), "{refused}");
}

/// Kill the server at random moments of a 200-file job, twenty times: every file exactly once, no result lost.
#[test]
fn a_server_killed_twenty_times_inspects_every_file_once() {
    const FILES: usize = 200;
    const KILLS: usize = 20;
    if tool_missing(&["flite"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let wav = call(dir.path(), "call.wav");
    let tables = format!("{WORDS}\n[qa]\nworkers = 2\nattempts = 100\npaths = [{:?}]\n", dir.path());
    let options = Options { engine: "scripted", tables: &tables, ..Options::default() };
    let mut server = Server::start(options);
    let files: Vec<_> = (0..FILES).map(|n| json!({ "path": wav, "name": format!("{n}.wav") })).collect();
    let (status, accepted) =
        server.post("/v1/qa/jobs", &json!({ "scorecards": [{ "yaml": CARD }], "files": files }));
    assert_eq!(status, 202, "{accepted}");
    let job = accepted["id"].as_str().expect("an id").to_owned();

    // When each file was done, as it was first told.
    let mut ended: BTreeMap<i64, String> = BTreeMap::new();
    let note = |server: &Server, ended: &mut BTreeMap<i64, String>| {
        let page = server.fetch(&format!("/v1/qa/jobs/{job}/files?state=done&limit=1000"));
        for file in page["files"].as_array().expect("files") {
            let at = file["ended_at"].as_str().expect("a time").to_owned();
            let first = ended.entry(file["n"].as_i64().expect("a number")).or_insert_with(|| at.clone());
            assert_eq!(*first, at, "file {} was inspected again", file["n"]);
        }
    };
    let mut left = usize::MAX;
    for kill in 0..KILLS {
        let wanted = ended.len() + rand::random_range(0..FILES / KILLS);
        let began = Instant::now();
        while server.fetch(&format!("/v1/qa/jobs/{job}"))["files"]["done"].as_u64().unwrap_or(0)
            < wanted as u64
        {
            assert!(began.elapsed() < PATIENCE, "no progress after {kill} kills");
        }
        std::thread::sleep(Duration::from_millis(rand::random_range(0..40)));
        note(&server, &mut ended);
        left = FILES - ended.len();
        server = server.killed_and_started_again(options);
    }
    assert!(left > 0, "the job was over before the last kill");
    over(&server, &job);
    note(&server, &mut ended);
    assert_eq!(ended.keys().copied().collect::<Vec<_>>(), (0..FILES as i64).collect::<Vec<_>>());

    // Each with its result, in order, in one stream.
    let url = format!("http://{}/v1/qa/jobs/{job}/results", server.http());
    let mut response = ureq::get(&url).call().expect("results");
    let lines: Vec<Value> = BufReader::new(response.body_mut().as_reader())
        .lines()
        .map(|line| serde_json::from_str(&line.expect("whole lines")).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), FILES);
    for (n, file) in lines.iter().enumerate() {
        assert_eq!((&file["n"], &file["score"]), (&json!(n), &json!(70.0)), "{file}");
        assert_eq!(file["conversation"]["turns"].as_array().map(Vec::len), Some(4), "{file}");
    }
}

#[test]
fn recordings_are_inspected_without_a_server_and_a_broken_one_fails_alone() {
    if tool_missing(&["flite"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    let wav = call(dir.path(), "good.wav");
    std::fs::write(at("broken.mp3"), "this is no sound").expect("written");
    std::fs::write(at("card.yaml"), CARD).expect("written");
    let config = format!("data = {:?}\n[recognizer]\nengine = \"scripted\"\n{WORDS}", at("data"));
    std::fs::write(at("antiphon.toml"), config).expect("written");
    let run = |files: &[&Path]| {
        let mut command = Command::new(BINARY);
        command.args(["qa", "run"]).args(files).arg("--scorecard").arg(at("card.yaml"));
        command.arg("--config").arg(at("antiphon.toml")).arg("--out").arg(at("report"));
        command.output().expect("the binary runs")
    };
    let output = run(&[&wav, &at("broken.mp3")]);
    let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "one of them could not be inspected: {told}");
    assert!(
        told.contains("good.wav") && told.contains("broken.mp3") && told.contains("index.html"),
        "{told}"
    );
    let whole = std::fs::read_to_string(at("report/good.json")).expect("its result");
    let whole: Value = serde_json::from_str(&whole).expect("JSON");
    assert_eq!(whole["result"]["judgements"][0]["score"], 70.0, "{whole:#}");
    assert_eq!((&whole["result"]["engine"], &whole["result"]["live"]), (&json!("scripted"), &json!(false)));
    let table = std::fs::read_to_string(at("report/results.csv")).expect("a table");
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<_> = rows.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows.iter().any(|row| row.iter().any(|cell| cell == "R2")), "what was found: {table}");
    let index = std::fs::read_to_string(at("report/index.html")).expect("an index");
    assert!(index.contains("good.html") && index.contains("broken.mp3"), "{index}");
    let page = std::fs::read_to_string(at("report/good.html")).expect("a page");
    assert!(page.contains("guarantee") && !page.contains("src=\"http"), "self-contained");
    assert!(at("report/insight.html").is_file() && at("report/rules.csv").is_file());
    assert!(!at("report/broken.json").exists());

    // Two files that would be called the same are refused before anything is heard.
    std::fs::create_dir(at("other")).expect("made");
    let twin = call(&at("other"), "good.wav");
    let refused = run(&[&wav, &twin]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("two files would be called good"));
}

#[test]
fn the_examples_pass_their_own_dialogues() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/scorecards");
    for name in ["bank", "fund_sale"] {
        let (card, cases) =
            (folder.join(format!("{name}.yaml")), folder.join(format!("dialogues/{name}.yaml")));
        let tested =
            Command::new(BINARY).args(["qa", "test"]).args([&card, &cases]).output().expect("it runs");
        assert!(tested.status.success(), "{}{}", text(&tested.stdout), text(&tested.stderr));
        assert!(text(&tested.stdout).contains("4 passed, 0 failed"));
        let checked = Command::new(BINARY).args(["qa", "check"]).arg(&card).output().expect("it runs");
        assert!(text(&checked.stdout).contains("nothing to complain about"), "{}", text(&checked.stdout));
    }
}

/// Judges calls in progress: what the line says, what the caller does not say, and what ends a call.
const LIVE: &str = r#"
scorecard: {id: live, version: 2, base: 100, pass: 80}
conditions:
  welcome: {phrase: "how can i help", speaker: agent}
  lost: {phrase: "lost my card", speaker: customer}
  dead_air: {silence: {longer_than: 2s, caused_by: customer}}
rules:
  - {id: L1, must: welcome, points: -10}
  - {id: L2, never: dead_air, points: -5, alert: supervisor, action: {offer: listen}}
  - {id: L3, never: lost, points: -50, action: {take: hang_up}}
"#;

#[test]
fn real_call_is_judged_while_it_goes_on() {
    if tool_missing(&["flite"]) {
        return;
    }
    let tables = "[recognizer.scripted]\nutterances = [\"i lost my card\"]\n[qa]\nscorecards = \"@DIR@\"\nlive = [\"live\"]\n";
    let server = Server::start(Options {
        engine: "scripted",
        flow: Some(include_str!("scenarios/line.yaml")),
        tables,
        files: &[("live.yaml", LIVE.as_bytes())],
        ..Options::default()
    });
    // The caller says nothing for a while, and then something that a rule ends the call for.
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("caller.yaml");
    std::fs::write(&script, "language: en\nsteps:\n  - pause: 4s\n  - say: I lost my card\n")
        .expect("written");
    let called = Command::new(BINARY)
        .args(["call", &format!("sip:bank@{}", server.sip()), "--engine", "none", "--script"])
        .arg(&script)
        .output()
        .expect("the binary runs");
    let ended = server.wait_events("call.ended", 1, PATIENCE);
    let events = server.events();
    let log = || format!("{}{}\n{events:#?}", text(&called.stdout), text(&called.stderr));
    assert_eq!(ended[0]["cause"], "call.hangup.rule", "{}", log());
    let alerts = server.of_type("qa.alert");
    let rules: Vec<_> = alerts.iter().map(|alert| alert["rule"].as_str().unwrap_or_default()).collect();
    assert_eq!(rules, ["L2", "L3"], "{}", log());
    assert_eq!((&alerts[0]["action"], &alerts[0]["taken"]), (&json!("listen"), &json!(false)));
    assert_eq!((&alerts[1]["side"], &alerts[1]["taken"]), (&json!("caller"), &json!(true)));
    let judged = &server.of_type("qa.judged")[0];
    assert_eq!((&judged["score"], &judged["pass"]), (&json!(45.0), &json!(false)), "{}", log());

    // Inspected later, it is the same call: the words that were heard then, and the same findings (but for the end of a
    // silence that was told while it went on).
    let id = judged["call"].as_str().expect("an id");
    let job = job_of(&antiphon(&server, &["submit", "--call", id, "--scorecard", "live", "--watch"]));
    let file = server.fetch(&format!("/v1/qa/jobs/{job}/files/0"));
    let result = &file["result"];
    assert_eq!((&result["live"], &result["engine"]), (&json!(true), &json!("scripted")), "{file:#}");
    let told: Vec<_> = alerts.iter().map(|alert| finding(alert, "hit")).collect();
    let found = result["judgements"][0]["rules"].as_array().expect("rules").iter();
    let found: Vec<_> = found.flat_map(|rule| rule["hits"].as_array().expect("hits")).collect();
    assert_eq!(found.iter().map(|hit| finding(hit, "id")).collect::<Vec<_>>(), told, "{file:#}");
    assert_eq!(result["judgements"][0]["score"], judged["score"]);
    let clip = format!("http://{}/v1/qa/jobs/{job}/files/0/clip?start=4&end=5", server.http());
    let clip = ureq::get(&clip).call().expect("its findings can be heard").body_mut().read_to_vec();
    assert!(clip.expect("read").len() > 16_000);

    // Whoever wants it heard again has it recognised anew: of what we said, only the sound is left.
    let again = ["submit", "--call", id, "--again", "--scorecard", "live", "--watch"];
    let job = job_of(&antiphon(&server, &again));
    let file = server.fetch(&format!("/v1/qa/jobs/{job}/files/0"));
    assert_eq!(file["result"]["live"], false, "{file:#}");
}

/// What a finding is, on the event stream as in a result: `id` names it there.
fn finding(hit: &Value, id: &str) -> Vec<Value> {
    [id, "rule", "version", "start", "quote", "points", "track"].map(|key| hit[key].clone()).to_vec()
}

#[test]
fn real_call_gets_the_supervisor_whom_a_rule_calls_in() {
    if tool_missing(&["flite"]) {
        return;
    }
    let flow = Some(include_str!("scenarios/line.yaml"));
    let desk = Server::start(Options { engine: "none", flow, ..Options::default() });
    let tables = format!(
        "[recognizer.scripted]\nutterances = [\"i lost my card\"]\n[qa]\nscorecards = \"@DIR@\"\nlive = [\"live\"]\n\
         supervisor = \"sip:lead@{}\"\n",
        desk.sip()
    );
    let card = LIVE.replace("{take: hang_up}", "{take: listen}");
    let server = Server::start(Options {
        engine: "scripted",
        flow,
        tables: &tables,
        files: &[("live.yaml", card.as_bytes())],
        ..Options::default()
    });
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("caller.yaml");
    std::fs::write(&script, "language: en\nsteps:\n  - say: I lost my card\n  - pause: 5s\n")
        .expect("written");
    let called = Command::new(BINARY)
        .args(["call", &format!("sip:bank@{}", server.sip()), "--engine", "none", "--script"])
        .arg(&script)
        .output()
        .expect("the binary runs");
    let ended = server.wait_events("call.ended", 2, PATIENCE);
    let events = server.events();
    let log = || format!("{}{}\n{events:#?}", text(&called.stdout), text(&called.stderr));
    let taken: Vec<_> = server.of_type("qa.alert").into_iter().filter(|a| a["taken"] == true).collect();
    assert_eq!((taken.len(), &taken[0]["rule"]), (1, &json!("L3")), "{}", log());
    let started = server.of_type("supervision.started");
    let on_call = started.iter().find(|event| event["call"] == taken[0]["call"]).expect("it is told");
    assert_eq!(on_call["mode"], "listen", "{}", log());
    assert_eq!(desk.of_type("call.answered").len(), 1, "the supervisor's telephone rang");
    assert!(ended.iter().all(|event| event["cause"] != "call.hangup.rule"), "{}", log());
}
