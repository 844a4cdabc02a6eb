//! The API is what its own description says, and what it tells is what the published schemas say. Both are judged by
//! programs that know nothing of ours: schemathesis and jsonschema-rs, which `scripts/setup.sh test` installs.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test owns processes, threads and clocks"
)]

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::python::tool;
use support::server::{Options, Server};
use support::wav::{Wav, pad};
use support::{tool_missing, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "secret-of-the-lead-1";
const TABLES: &str = r#"[recognizer.scripted]
utterances = ["good morning", "i guarantee a profit"]
[qa]
scorecards = "@DIR@"
paths = ["@DIR@"]
[[token]]
name = "lead"
secret = "secret-of-the-lead-1"
scopes = ["qa:read", "qa:write"]
"#;
const CARD: &str = r#"
scorecard: {id: service, version: 3, base: 100, pass: 80}
groups: [{id: law, name: The law}]
conditions:
  greet: {phrase: "good evening", speaker: agent}
  guarantee: {phrase: guarantee, speaker: agent}
rules:
  - {id: R1, must: greet, points: -10}
  - {id: R2, never: guarantee, points: -30, group: law}
"#;
/// Reads `{"schema": FILE, "value": ...}` line by line and tells what is not as its schema says.
const VALIDATE: &str = r#"
import json, pathlib, sys
import jsonschema_rs
folder = pathlib.Path(sys.argv[1])
retrieve = lambda uri: json.loads((folder / uri.rsplit("/", 1)[-1]).read_text())
count = 0
for line in sys.stdin:
    line = json.loads(line)
    schema = json.loads((folder / line["schema"]).read_text())
    schema["$id"] = "https://antiphon.example/" + line["schema"]
    validator = jsonschema_rs.validator_for(schema, retriever=retrieve)
    for error in validator.iter_errors(line["value"]):
        print(line["schema"], list(error.instance_path), error.message[:500])
    count += 1
print("validated", count)
"#;

/// A server with a job that is over, and the job's id.
fn inspected() -> (Server, String) {
    let server = Server::start(Options {
        engine: "scripted",
        tables: TABLES,
        files: &[("service.yaml", CARD.as_bytes())],
        ..Options::default()
    });
    let folder = server.data().parent().expect("a folder").to_owned();
    let spoken = folder.join("voice.wav");
    let mut flite = Command::new("flite");
    flite.args(["-voice", "slt", "-t", "good morning to all of you", "-o"]).arg(&spoken);
    assert!(flite.status().expect("flite is installed (Debian: flite)").success());
    let voice = Wav::read(&spoken).channels.swap_remove(0);
    let mut pcm = pad(0.5, &voice, 2.0, 16_000);
    pcm.extend(pad(0.0, &voice, 1.0, 16_000));
    let path = folder.join("call.wav");
    Wav::write_alike(&path, 16_000, &pcm, 2);
    let job = json!({
        "scorecards": ["service"],
        "files": [{ "path": path, "metadata": { "agent": "ann", "queue": "sales" } }, { "path": folder.join("service.yaml") }],
    });
    let answer = ureq::post(format!("http://{}/v1/qa/jobs", server.http()))
        .header("authorization", format!("Bearer {TOKEN}"))
        .send_json(job);
    let taken: Value = answer.expect("taken in").body_mut().read_json().expect("JSON");
    let id = taken["id"].as_str().expect("an id").to_owned();
    wait_for("the job to be over", PATIENCE, || {
        (fetch(&server, &format!("/v1/qa/jobs/{id}"))["state"] == "finished").then_some(())
    });
    (server, id)
}

fn fetch(server: &Server, path: &str) -> Value {
    let request = ureq::get(format!("http://{}{path}", server.http()));
    let answer = request.header("authorization", format!("Bearer {TOKEN}")).call();
    answer.expect("answered").body_mut().read_json().expect("JSON")
}

#[test]
fn the_inspection_api_answers_as_it_is_described() {
    let Some(schemathesis) = tool("schemathesis") else { return };
    if tool_missing(&["flite"]) {
        return;
    }
    let (server, _) = inspected();
    let folder = tempfile::tempdir().expect("a folder");
    // It may not go on for ever, whatever it finds to try.
    let output = Command::new("timeout")
        .arg("170")
        .arg(schemathesis)
        .args(["run", &format!("http://{}/openapi.json", server.http())])
        .args(["--include-path-regex", "^/v1/qa", "--header", &format!("Authorization: Bearer {TOKEN}")])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--max-time", "60"])
        .args(["--seed", "20261122", "--no-shrink", "--generation-deterministic"])
        .args(["--suppress-health-check", "all", "--request-timeout", "10"])
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("passed"), "{said}");
    assert_eq!(server.errors(), Vec::<String>::new(), "nothing broke down");
}

/// Reads a Parquet file and tells its rows as JSON.
const ROWS: &str = r#"
import json, sys
import pyarrow.parquet
print(json.dumps(pyarrow.parquet.read_table(sys.argv[1]).to_pylist()))
"#;

#[test]
fn another_program_reads_our_parquet_files() {
    let Some(python) = tool("python") else { return };
    if tool_missing(&["flite"]) {
        return;
    }
    let (server, _) = inspected();
    let folder = tempfile::tempdir().expect("a folder");
    for path in [
        "insight?by=agent",
        "insight/calls",
        "insight/rules",
        "insight/topics",
        "insight?agent=nobody&by=queue",
    ] {
        let sign = if path.contains('?') { '&' } else { '?' };
        let request = ureq::get(format!("http://{}/v1/qa/{path}{sign}format=parquet", server.http()));
        let answer = request.header("authorization", format!("Bearer {TOKEN}")).call();
        let octets = answer.expect("answered").body_mut().read_to_vec().expect("read");
        let file = folder.path().join("rows.parquet");
        std::fs::write(&file, octets).expect("written");
        let output = Command::new(&python).args(["-c", ROWS]).arg(&file).output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        let rows: Vec<Value> = serde_json::from_str(&told).expect("JSON");
        let same = fetch(&server, &format!("/v1/qa/{path}"));
        let same = same["rows"].as_array().or(same["calls"].as_array()).expect("rows");
        assert_eq!(rows.len(), same.len(), "{path}");
        for (row, same) in rows.iter().zip(same) {
            for (name, value) in row.as_object().expect("an object") {
                let expected = match name.strip_prefix("ability:") {
                    Some(group) => &same["abilities"][group],
                    None => &same[name.as_str()],
                };
                // A text in tables, a number in JSON; and the time of the question has gone on.
                if name != "n" && name != "href" {
                    assert_eq!(value, expected, "{path}: {name}");
                }
            }
        }
    }
}

#[test]
fn what_is_told_is_as_the_published_schemas_say() {
    let Some(python) = tool("python") else { return };
    if tool_missing(&["flite"]) {
        return;
    }
    let (server, job) = inspected();
    let file = fetch(&server, &format!("/v1/qa/jobs/{job}/files/0"));
    let mut values = vec![
        ("qa-result.json", file["result"].clone()),
        ("conversation.json", file["conversation"].clone()),
        ("measures.json", file["result"]["measures"].clone()),
        ("judgement.json", file["result"]["judgements"][0].clone()),
    ];
    let hit = &file["result"]["judgements"][0]["rules"][1]["hits"][0]["id"];
    let review = json!({ "hit": hit, "verdict": "confirm", "reviewer": "ann" });
    let posted = ureq::post(format!("http://{}/v1/qa/jobs/{job}/files/0/reviews", server.http()))
        .header("authorization", format!("Bearer {TOKEN}"))
        .send_json(review);
    let reviewed: Value = posted.expect("kept").body_mut().read_json().expect("JSON");
    values.push(("qa-result.json", reviewed["result"].clone()));
    for path in [
        "insight?by=agent&per=day",
        "insight",
        "insight/rules?by=queue",
        "insight/topics",
        "insight/reasons",
        "insight/calls",
        "agreement",
        "agreement?by=reviewer",
    ] {
        values.push(("insight.json", fetch(&server, &format!("/v1/qa/{path}"))));
    }
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    let validate = |values: &[(&str, Value)]| {
        let mut child = Command::new(&python)
            .args(["-c", VALIDATE])
            .arg(&schemas)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut input = child.stdin.take().expect("piped");
        for (schema, value) in values {
            writeln!(input, "{}", json!({ "schema": schema, "value": value })).expect("taken");
        }
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(validate(&values), format!("validated {}\n", values.len()));
    // It would have told what is wrong.
    let mut wrong = file["result"].clone();
    wrong["measures"]["speakers"][0]["ratio"] = json!("half");
    let told = validate(&[("qa-result.json", wrong), ("insight.json", json!({ "rows": 1 }))]);
    assert!(told.contains("ratio") && told.contains("insight.json"), "{told}");
}
