//! Figures over many calls, as a quality lead asks for them.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test owns processes, threads and clocks"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::server::{Options, Server};
use support::wav::{Wav, pad};
use support::{tool_missing, wait_for};

const BINARY: &str = env!("CARGO_BIN_EXE_antiphon");
const PATIENCE: Duration = Duration::from_secs(60);
const TABLES: &str = r#"[recognizer.scripted]
utterances = ["good morning", "i guarantee a profit"]
[qa]
scorecards = "@DIR@"
live = ["service"]
paths = ["@DIR@"]
[[tenant]]
name = "north"
[[tenant]]
name = "south"
[[token]]
name = "lead"
secret = "secret-of-the-lead-1"
scopes = ["qa:read", "qa:write"]
tenant = "north"
[[token]]
name = "other"
secret = "secret-of-another-1"
scopes = ["qa:read", "qa:write"]
tenant = "south"
[[token]]
name = "boss"
secret = "secret-of-the-boss-1"
scopes = ["admin"]
"#;
const LEAD: &str = "secret-of-the-lead-1";
const OTHER: &str = "secret-of-another-1";
const BOSS: &str = "secret-of-the-boss-1";
const CARD: &str = r#"
scorecard: {id: service, version: 3, base: 100, pass: 80}
groups: [{id: law, name: The law}]
conditions:
  greet: {phrase: "good morning", speaker: agent}
  guarantee: {phrase: guarantee, speaker: agent}
rules:
  - {id: R1, must: greet, points: -10}
  - {id: R2, never: guarantee, points: -30, group: law}
"#;

/// A call of two stretches of speech, alike on both sides.
fn call(dir: &Path) -> PathBuf {
    let spoken = dir.join("voice.wav");
    let mut flite = Command::new("flite");
    flite.args(["-voice", "slt", "-t", "good morning to all of you", "-o"]).arg(&spoken);
    assert!(flite.status().expect("flite is installed (Debian: flite)").success());
    let voice = Wav::read(&spoken).channels.swap_remove(0);
    let mut pcm = pad(0.5, &voice, 2.0, 16_000);
    pcm.extend(pad(0.0, &voice, 1.0, 16_000));
    let path = dir.join("call.wav");
    Wav::write_alike(&path, 16_000, &pcm, 2);
    path
}

fn get(server: &Server, token: &str, path: &str) -> (u16, Vec<u8>, String) {
    let request = ureq::get(format!("http://{}{path}", server.http()))
        .header("authorization", format!("Bearer {token}"));
    let mut answer = request.config().http_status_as_error(false).build().call().expect("answered");
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.to_owned();
    let status = answer.status().as_u16();
    (status, answer.body_mut().read_to_vec().expect("a body"), kind)
}

fn fetch(server: &Server, token: &str, path: &str) -> Value {
    let (status, body, _) = get(server, token, path);
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}

fn post(server: &Server, token: &str, path: &str, body: &Value) -> Value {
    let request = ureq::post(format!("http://{}{path}", server.http()))
        .header("authorization", format!("Bearer {token}"));
    let mut answer = request.config().http_status_as_error(false).build().send_json(body).expect("answered");
    let text = answer.body_mut().read_to_string().expect("a body");
    assert!(answer.status().is_success(), "{path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// A job of these agents' calls, each of the same sound; when it is over, its id.
fn job(server: &Server, token: &str, sound: &Path, agents: &[(&str, &str)]) -> String {
    let file = |(agent, at): &(&str, &str)| {
        json!({ "path": sound, "name": agent, "metadata":
            { "agent": agent, "queue": "sales", "started_at": at, "call": format!("{agent} {at}") } })
    };
    let body = json!({ "scorecards": ["service"], "files": agents.iter().map(file).collect::<Vec<_>>() });
    let taken = post(server, token, "/v1/qa/jobs", &body);
    let id = taken["id"].as_str().expect("an id").to_owned();
    wait_for("the job to be over", PATIENCE, || {
        (fetch(server, token, &format!("/v1/qa/jobs/{id}"))["state"] == "finished").then_some(())
    });
    id
}

#[test]
fn figures_lead_from_agents_to_calls_and_their_clips() {
    if tool_missing(&["flite"]) {
        return;
    }
    let server = Server::start(Options {
        engine: "scripted",
        tables: TABLES,
        files: &[("service.yaml", CARD.as_bytes())],
        ..Options::default()
    });
    let folder = server.data().parent().expect("a folder").to_owned();
    let sound = call(&folder);
    let agents =
        [("ann", "2026-11-02T08:00:00Z"), ("ann", "2026-11-03T20:00:00Z"), ("bob", "2026-11-03T08:00:00Z")];
    let id = job(&server, LEAD, &sound, &agents);
    let other = job(&server, OTHER, &sound, &[("eve", "2026-11-03T08:00:00Z")]);

    // Told by agent, and by day of a time zone.
    let during = "since=2026-11-01&until=2026-11-30";
    let told = fetch(&server, LEAD, &format!("/v1/qa/insight?by=agent&{during}"));
    let rows = told["rows"].as_array().expect("rows");
    let brief: Vec<_> = rows
        .iter()
        .map(|row| (row["agent"].as_str(), row["calls"].as_u64(), row["mean_score"].as_f64()))
        .collect();
    assert_eq!(brief, [(Some("ann"), Some(2), Some(70.0)), (Some("bob"), Some(1), Some(70.0))], "{told}");
    assert_eq!((&told["total"]["calls"], &told["total"]["pass_rate"]), (&json!(3), &json!(0.0)));
    assert_eq!(rows[0]["abilities"], json!({ "": 1.0, "The law": 0.0 }));
    let days = fetch(&server, LEAD, &format!("/v1/qa/insight?per=day&tz=Asia/Shanghai&{during}"));
    let labels: Vec<_> = days["rows"].as_array().expect("rows").iter().map(|row| &row["period"]).collect();
    assert_eq!(labels, ["2026-11-02", "2026-11-03", "2026-11-04"], "{days}");

    // From a row to its calls, from there to the file and the clip.
    let calls = fetch(&server, LEAD, days["rows"][2]["href"].as_str().expect("a path"));
    let found = &calls["calls"][0];
    assert_eq!(
        (calls["calls"].as_array().map(Vec::len), &found["agent"]),
        (Some(1), &json!("ann")),
        "{calls}"
    );
    let file = fetch(&server, LEAD, found["href"].as_str().expect("a path"));
    assert_eq!(file["score"], json!(70.0));
    let hit = &found["hits"][0];
    assert_eq!(hit["rule"], "R2", "{found}");
    let (status, clip, kind) = get(&server, LEAD, hit["clip"].as_str().expect("a path"));
    assert_eq!((status, kind.as_str(), &clip[..4]), (200, "audio/wav", &b"RIFF"[..]));

    // What is overturned counts no more, anywhere.
    let rules = format!("/v1/qa/insight/rules?{during}");
    let rate = |rule: usize, name: &str| fetch(&server, LEAD, &rules)["rows"][rule][name].clone();
    assert_eq!((rate(1, "rule"), rate(1, "hit_rate")), (json!("R2"), json!(1.0)));
    let n = found["n"].as_i64().expect("a number");
    for (reviewer, verdict) in [("ann", "confirm"), ("bob", "overturn")] {
        let said = json!({ "hit": hit["hit"], "verdict": verdict, "reviewer": reviewer });
        post(&server, LEAD, &format!("/v1/qa/jobs/{id}/files/{n}/reviews"), &said);
    }
    assert_eq!((rate(1, "hit_rate"), rate(1, "overturned")), (json!(0.6667), json!(1)));
    let total = &fetch(&server, LEAD, &format!("/v1/qa/insight?{during}"))["total"];
    assert_eq!(
        (&total["mean_score"], &total["median_score"], &total["hits"]),
        (&json!(80.0), &json!(70.0), &json!(2))
    );
    let agreement = fetch(&server, LEAD, "/v1/qa/agreement?by=rule");
    let row = agreement["rows"].as_array().expect("rows").iter().find(|row| row["rule"] == "R2").expect("R2");
    assert_eq!(
        (&row["hits"], &row["reviewed"], &row["overturned"], &row["both"], &row["agreement"]),
        (&json!(3), &json!(1), &json!(1), &json!(1), &json!(0.0)),
        "{agreement}"
    );
    let people = fetch(&server, LEAD, "/v1/qa/agreement?by=reviewer");
    let names: Vec<_> = people["rows"].as_array().expect("rows").iter().map(|row| &row["reviewer"]).collect();
    assert_eq!(names, ["ann", "bob"]);

    // Judged again it is the same call.
    let again =
        post(&server, LEAD, &format!("/v1/qa/jobs/{id}/rescore"), &json!({ "scorecards": ["service"] }));
    wait_for("the second judgement", PATIENCE, || {
        let job = again["id"].as_str().expect("an id");
        (fetch(&server, LEAD, &format!("/v1/qa/jobs/{job}"))["state"] == "finished").then_some(())
    });
    let calls =
        |token: &str| fetch(&server, token, &format!("/v1/qa/insight?{during}"))["total"]["calls"].clone();
    assert_eq!(
        (calls(LEAD), calls(OTHER), calls(BOSS)),
        (json!(3), json!(1), json!(4)),
        "each sees their own"
    );
    let (status, ..) = get(&server, LEAD, &format!("/v1/qa/jobs/{other}/files/0/clip?start=0&end=1"));
    assert_eq!(status, 404);

    // As tables and as a page.
    let (_, csv, kind) = get(&server, LEAD, &format!("/v1/qa/insight?by=agent&format=csv&{during}"));
    let csv = String::from_utf8(csv).expect("text");
    assert!(kind.starts_with("text/csv") && csv.starts_with("agent,calls,scored,mean_score"), "{csv}");
    assert!(csv.contains("ability:The law") && csv.contains("\nann,2,"), "{csv}");
    let (status, page, _) = get(&server, LEAD, &format!("/v1/qa/insight/page?{during}"));
    let page = String::from_utf8(page).expect("text");
    assert!(status == 200 && page.contains("The law") && page.contains("class=\"trend\""), "{status} {page}");
    let table = Command::new(BINARY)
        .args(["qa", "insight", "--by", "rule", "--since", "2026-11-01"])
        .env("ANTIPHON_SERVER", format!("http://{}", server.http()))
        .env("ANTIPHON_TOKEN", LEAD)
        .output()
        .expect("the binary runs");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("card") && table.contains("service  R2"), "{table}");

    for wrong in [
        "by=colour",
        "per=year",
        "tz=Mars/Base",
        "since=yesterday",
        "since=2026-11-02&until=2026-11-02",
        "risk=2",
        "sort=time",
        "colour=red",
        "agent=%00",
    ] {
        let (status, body, _) = get(&server, LEAD, &format!("/v1/qa/insight?{wrong}"));
        let text = String::from_utf8_lossy(&body);
        assert!(status == 400 && text.contains("qa.insight_query"), "{wrong}: {status} {text}");
    }
}

#[test]
fn real_call_counts_in_figures_beside_its_recording() {
    if tool_missing(&["flite"]) {
        return;
    }
    let server = Server::start(Options {
        engine: "scripted",
        flow: Some(include_str!("scenarios/line.yaml")),
        tables: TABLES,
        files: &[("service.yaml", CARD.as_bytes())],
        ..Options::default()
    });
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("caller.yaml");
    std::fs::write(&script, "language: en\nsteps:\n  - pause: 1s\n  - say: Good morning\n  - pause: 2s\n")
        .expect("written");
    let called = Command::new(BINARY)
        .args(["call", &format!("sip:bank@{}", server.sip()), "--engine", "none", "--script"])
        .arg(&script)
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&called.stderr).into_owned();
    let ended = server.wait_events("call.ended", 1, PATIENCE);
    let call = ended[0]["call"].as_str().expect("an id").to_owned();
    let told = wait_for("the call to be kept", PATIENCE, || {
        let told = fetch(&server, BOSS, "/v1/qa/insight/calls");
        (!told["calls"].as_array()?.is_empty()).then_some(told)
    });
    let live = &told["calls"][0];
    assert_eq!(
        (&live["live"], &live["call"], &live["job"]),
        (&json!(true), &json!(call), &Value::Null),
        "{told} {said}"
    );
    assert_eq!(
        fetch(&server, LEAD, "/v1/qa/insight/calls")["calls"],
        json!([]),
        "it is of no tenant of theirs"
    );
    let clip = format!("/v1/qa/calls/{call}/clip?start=0&end=1");
    assert_eq!(get(&server, LEAD, &clip).0, 404);
    wait_for("the recording", PATIENCE, || (get(&server, BOSS, &clip).0 == 200).then_some(()));

    // Inspected from its recording it is the same call.
    let body = json!({ "scorecards": ["service"], "files": [{ "recording": call }] });
    let id = post(&server, BOSS, "/v1/qa/jobs", &body)["id"].as_str().expect("an id").to_owned();
    let told = wait_for("the recording to be judged", PATIENCE, || {
        let told = fetch(&server, BOSS, "/v1/qa/insight/calls");
        (told["calls"][0]["job"] == json!(id)).then_some(told)
    });
    assert_eq!(told["calls"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!((&told["calls"][0]["call"], &told["calls"][0]["at"]), (&json!(call), &live["at"]));
}
