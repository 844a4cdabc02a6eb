//! What an agent is helped with on a real call that is handed on: one stream of both sides' words, knowledge, the script, what
//! the flow knows, warnings, and a summary.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::server::{Options, Server};
use support::softphone::{Setup, Softphone, speak};
use support::wav::{halve, pad};
use support::{tool_missing, wait_for};

const BINARY: &str = env!("CARGO_BIN_EXE_antiphon");
const LIMIT: Duration = Duration::from_secs(40);
const DESK: &str = "a-token-of-the-desk";
const OTHER: &str = "a-token-of-another-house";
const WORDS: &str = r#"["i lost my card", "what is the overdraft fee"]"#;

const FLOW: &str = r#"
version: 1
name: bank
revision: 1
settings: {language: en-US, no_input: 60s}
slots:
  topic: {type: choice, values: {lost_card: [lost my card]}}
steps:
  main:
    ask: Welcome to the bank.
    slot: topic
    next: handed
  handed:
    transfer: {to: "user:agent", ring: 10s}
    next: end
  end:
    hang_up: Goodbye.
"#;

const BOOK: &str = "
assist: bank
script:
- {id: block, say: Offer to block the card., done: {by: agent, said: [lost ... card]}}
- {id: close, say: Ask what else there is., done: {by: agent, said: [anything else]}}
dispositions:
- {id: lost_card, name: Card lost, when: {by: customer, said: [lost ... card]}}
- {id: fee, name: Question about a fee, when: {by: customer, said: [fee]}}
";

const FAQ: &str = "q,a\nWhat do I do if my card is lost or stolen?,Block it at once in the app.\n\
                   What is the overdraft fee?,It costs 39 % a year.\n";

const CARD: &str = r#"
scorecard: {id: calm, version: 1}
rules:
  - {id: fees, name: Asked for a fee, never: {phrase: overdraft fee, speaker: customer}, points: -1}
"#;

fn get(server: &Server, path: &str, token: &str) -> (u16, String) {
    let request =
        ureq::get(format!("http://{}{path}", server.http())).config().http_status_as_error(false).build();
    let mut response =
        request.header("Authorization", format!("Bearer {token}")).call().expect("the API answers");
    (response.status().as_u16(), response.body_mut().read_to_string().expect("text"))
}

fn post(server: &Server, path: &str, token: &str, body: &Value) -> u16 {
    let request =
        ureq::post(format!("http://{}{path}", server.http())).config().http_status_as_error(false).build();
    let sent = request.header("Authorization", format!("Bearer {token}")).send_json(body);
    sent.expect("the API answers").status().as_u16()
}

/// What server-sent events of a stream are, until it ends.
fn follow(server: &Server, call: &str, last: Option<u64>) -> Vec<(u64, Value)> {
    let mut request = ureq::get(format!("http://{}/v1/calls/{call}/assist", server.http()))
        .header("Authorization", format!("Bearer {DESK}"))
        .header("Accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last.to_string());
    }
    let mut response = request.call().expect("the API answers");
    let mut told = Vec::new();
    let mut number = 0;
    for line in BufReader::new(response.body_mut().as_reader()).lines() {
        let line = line.expect("text");
        if let Some(id) = line.strip_prefix("id: ").or_else(|| line.strip_prefix("id:")) {
            number = id.trim().parse().expect("a number");
        } else if let Some(data) = line.strip_prefix("data:") {
            told.push((number, serde_json::from_str(data).expect("JSON")));
        }
    }
    told
}

fn kinds(told: &[(u64, Value)], kind: &str) -> Vec<Value> {
    told.iter().filter(|(_, event)| event["type"] == kind).map(|(_, event)| event.clone()).collect()
}

#[test]
fn an_agent_is_helped_through_a_call() {
    if tool_missing(&["baresip", "flite"]) {
        return;
    }
    let tables = format!(
        "[recognizer.scripted]\nutterances = {WORDS}\n[qa]\nscorecards = \"@DIR@/cards\"\nlive = [\"calm\"]\n\
         [registrar]\nenabled = true\nalgorithms = [\"MD5\"]\n[[user]]\nname = \"agent\"\npassword = \"between-the-two-of-us\"\n\
         [[tenant]]\nname = \"acme\"\n\
         [[token]]\nname = \"desk\"\nsecret = \"{DESK}\"\nscopes = [\"assist:read\", \"assist:write\"]\n\
         [[token]]\nname = \"other\"\nsecret = \"{OTHER}\"\nscopes = [\"assist:read\"]\ntenant = \"acme\"\n\
         [[assist]]\nname = \"bank\"\nbook = \"@DIR@/book.yaml\"\nknowledge = [\"@DIR@/faq\"]\nflows = [\"bank\"]\nlanguage = \"en\"\n"
    );
    let server = Server::start(Options {
        engine: "scripted",
        flow: Some(FLOW),
        tables: &tables,
        files: &[
            ("book.yaml", BOOK.as_bytes()),
            ("faq/cards.csv", FAQ.as_bytes()),
            ("cards/calm.yaml", CARD.as_bytes()),
        ],
        ..Options::default()
    });
    let registrar = server.sip().to_string();
    let says = pad(1.0, &halve(&speak("I lost my card")), 60.0, 8_000);
    let mut agent = Softphone::with(Setup {
        account: Some(("agent", "between-the-two-of-us", &registrar)),
        answers: true,
        ..Setup::of("PCMU", &says)
    });
    agent.wait_registration("OK");
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("caller.yaml");
    std::fs::write(
        &script,
        "steps:\n  - say: I lost my card\n  - pause: 5s\n  - say: what is the overdraft fee\n  - pause: 4s\n",
    )
    .expect("written");
    let mut caller = Command::new(BINARY)
        .args(["call", &format!("sip:bank@{}", server.sip()), "--engine", "none", "--script"])
        .arg(&script)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the binary runs");
    let joined = server.wait_events("bridge.started", 2, LIMIT);
    let list: Value = serde_json::from_str(&get(&server, "/v1/assist", DESK).1).expect("JSON");
    let shown = &list["calls"][0];
    let (customer, agent_call) = (shown["call"].as_str().expect("a call"), shown["agents"][0].as_str());
    let agent_call = agent_call.expect("the agent's call").to_owned();
    assert!(joined.iter().any(|event| event["call"] == customer && event["with"] == agent_call.as_str()));

    // Who comes late hears what was; others hear nothing.
    let path = format!("/v1/calls/{agent_call}/assist");
    assert_eq!(get(&server, &path, OTHER).0, 404);
    assert_eq!(get(&server, &format!("/v1/calls/{customer}"), DESK).0, 403);
    assert_eq!(post(&server, &format!("{path}/feedback"), OTHER, &json!({"disposition": "fee"})), 403);
    // Its words are found while the flow still has the customer.
    let first = wait_for("the first suggestion", LIMIT, || {
        let told = get(&server, &path, DESK).1;
        let events = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        events.into_iter().find(|event| event["type"] == "assist.suggestion")
    });
    assert_eq!(
        (&first["text"], &first["source"]["file"]),
        (&json!("Block it at once in the app."), &json!("cards.csv"))
    );
    let rated = json!({"suggestion": first["id"], "verdict": "used"});
    assert_eq!(post(&server, &format!("{path}/feedback"), DESK, &rated), 204);
    assert_eq!(
        post(&server, &format!("{path}/feedback"), DESK, &json!({"suggestion": 99, "verdict": "used"})),
        422
    );

    let told = follow(&server, &agent_call, None);
    caller.wait().expect("it ends");
    let numbers: Vec<_> = told.iter().map(|(number, _)| *number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert!(told.iter().all(|(number, event)| event["number"] == *number));
    let words = kinds(&told, "assist.words");
    let said: Vec<_> = words
        .iter()
        .filter(|event| event["final"] == true)
        .map(|event| {
            (
                event["by"].as_str().unwrap_or(""),
                event["track"].as_u64(),
                event["text"].as_str().unwrap_or(""),
            )
        })
        .collect();
    assert!(said.contains(&("customer", Some(0), "i lost my card")), "{said:?}");
    assert!(said.contains(&("agent", Some(2), "i lost my card")), "{said:?}");
    assert!(said.contains(&("customer", Some(0), "what is the overdraft fee")), "{said:?}");
    let found = kinds(&told, "assist.suggestion");
    assert_eq!(found.last().expect("found")["text"], "It costs 39 % a year.");
    // Within milliseconds of the words it was found by.
    let asked = words.iter().rfind(|event| event["text"] == "what is the overdraft fee").expect("said");
    let waited =
        found.last().expect("found")["at"].as_f64().unwrap_or(9.9) - asked["at"].as_f64().unwrap_or(0.0);
    assert!((0.0..0.05).contains(&waited), "{waited} s");
    let steps: Vec<_> = kinds(&told, "assist.step").iter().map(|event| event["step"].clone()).collect();
    assert_eq!(steps, ["block", "close"]);
    assert_eq!(kinds(&told, "assist.warning")[0]["name"], "Asked for a fee");
    let slots = kinds(&told, "assist.slot");
    assert_eq!(
        slots.first().map(|slot| (&slot["name"], &slot["value"])),
        Some((&json!("topic"), &json!("lost_card")))
    );
    assert_eq!(kinds(&told, "assist.feedback").len(), 1);
    let choices = &kinds(&told, "assist.disposition")[0]["choices"];
    assert_eq!(choices[0]["id"], "lost_card");
    assert_eq!(kinds(&told, "assist.summary").len(), 1);

    // After the call: it is filed, and a stream that broke off goes on where it did.
    let customer_path = format!("/v1/calls/{customer}/assist");
    assert_eq!(
        post(&server, &format!("{customer_path}/feedback"), DESK, &json!({"disposition": "nonsense"})),
        422
    );
    assert_eq!(
        post(&server, &format!("{customer_path}/feedback"), DESK, &json!({"disposition": "lost_card"})),
        204
    );
    let last = told.last().expect("events").0;
    let rest = follow(&server, customer, Some(last));
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!((&rest[0].1["type"], &rest[0].1["id"]), (&json!("assist.filed"), &json!("lost_card")));
    // And kept beside the recording.
    let kept = wait_for("the file", LIMIT, || {
        let days = std::fs::read_dir(server.data().join("recordings")).ok()?.flatten();
        let files = days.filter_map(|day| std::fs::read_dir(day.path()).ok()).flatten().flatten();
        let mut ours =
            files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(".assist.jsonl"));
        let text = std::fs::read_to_string(ours.next()?).ok()?;
        text.contains("assist.filed").then_some(text)
    });
    assert!(kept.contains("\"verdict\":\"used\"") && !kept.contains("assist.words"), "{kept}");

    let (status, answers) = get(&server, "/v1/knowledge/search?q=my+card+was+stolen&limit=1", DESK);
    assert!(status == 200 && answers.contains("Block it at once"), "{status} {answers}");
    assert_eq!(get(&server, "/v1/knowledge/search?q=", DESK).0, 400);
}

#[test]
fn the_index_is_tried_on_the_command_line() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("cards.csv"), FAQ).expect("written");
    let run = |args: &[&str]| {
        let ran = Command::new(BINARY).arg("knowledge").args(args).output().expect("the binary runs");
        (
            ran.status.success(),
            String::from_utf8_lossy(&ran.stdout).into_owned(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    let folder = dir.path().to_str().expect("UTF-8");
    let (well, told, _) = run(&["index", folder]);
    assert!(well && told.starts_with("2 entries"), "{told}");
    let (well, told, _) = run(&["search", folder, "uh i think i lost my card"]);
    assert!(well && told.contains("Block it at once") && told.contains("cards.csv:2"), "{told}");
    let (well, told, _) = run(&["search", folder, "what about the weather on mars"]);
    assert!(!well && told.contains("found nothing"), "{told}");
    std::fs::write(dir.path().join("broken.csv"), "q,a\nWhat?,\n").expect("written");
    let (well, _, complaint) = run(&["index", folder]);
    assert!(!well && complaint.contains("broken.csv:2"), "{complaint}");
}
