//! A call that is handed on is one conversation: what the flow said, the customer's words and the agent's on one clock,
//! judged while it goes on exactly as it is judged afterwards.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use antiphon_engine_measure::{Conversation, Measures};
use antiphon_engine_qa::Scorecard;
use serde_json::{Value, json};
use support::server::{Options, Server};
use support::softphone::{Setup, Softphone, speak};
use support::wav::{halve, pad};
use support::{tool_missing, wait_for};

const BINARY: &str = env!("CARGO_BIN_EXE_antiphon");
const LIMIT: Duration = Duration::from_secs(40);
/// Each stream of the scripted recogniser hears this, one a stretch of speech: the customer to the flow and the agent on
/// the telephone the first, the customer to the agent the second.
const WORDS: &str = r#"["tell me about the fund risk", "yes i agree"]"#;

const FLOW: &str = r#"
version: 1
name: sale
revision: 1
settings: {language: en-US, no_input: 60s}
intents:
  risk: {title: a fund, examples: [tell me about the fund risk], keywords: [fund risk]}
steps:
  main:
    ask: Welcome to the fund line.
    intents: {risk: agent}
    then: end
  agent:
    transfer: {to: "user:agent", ring: 10s}
    next: end
  end:
    hang_up: Goodbye.
"#;

const CARD: &str = r#"
scorecard: {id: sale, version: 1, base: 100, pass: 80}
conditions:
  welcome: {phrase: welcome to the fund line, speaker: agent}
  asked: {phrase: fund risk, speaker: agent}
  agreed: {phrase: yes i agree, speaker: customer}
  closed: {sequence: [asked, agreed], max_gap: 20s}
rules:
  - {id: consent, expr: closed, points: 5, alert: desk}
  - {id: unasked, never: {phrase: fund risk, speaker: customer}, points: -3}
  - {id: greeted, must: welcome, points: -10}
  - {id: served, must: {metadata: {agent: agent}}, points: -11}
  - {id: farewell, must: {phrase: have a nice day, speaker: agent}, points: -7}
"#;

/// The call of the customer and that of the agent, with their events.
fn calls(server: &Server) -> (Vec<Value>, Vec<Value>) {
    let mut calls: Vec<_> = server.calls().into_values().collect();
    calls.sort_by_key(|events| events[0]["direction"] != "inbound");
    let [customer, agent] = <[Vec<Value>; 2]>::try_from(calls).expect("two calls");
    (customer, agent)
}

fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

fn millis(seconds: &Value) -> i64 {
    (seconds.as_f64().expect("seconds") * 1_000.0).round() as i64
}

/// The conversation as anybody puts it together from the two streams.
fn conversation(customer: &[Value], agent: &[Value]) -> Conversation {
    let bridge = of_type(customer, "bridge.started")[0];
    let clock = bridge["clock_ms"].as_i64().expect("the clocks' difference");
    let back = of_type(agent, "bridge.started")[0]["clock_ms"].as_i64();
    assert_eq!(back, Some(-clock), "there and back again is nothing");
    let from = of_type(agent, "bridge.started")[0]["seq"].as_u64();
    let turn = |event: &Value, track: usize, clock: i64| {
        let shifted = |at: &Value| json!((millis(at) + clock) as f64 / 1_000.0);
        let words = event["words"].as_array().expect("words").iter().map(|word| {
            let mut word = word.clone();
            (word["start"], word["end"]) = (shifted(&word["start"]), shifted(&word["end"]));
            word
        });
        let words: Vec<_> = words.collect();
        let said = json!({
            "text": event["text"], "words": words, "start": shifted(&event["start"]), "end": shifted(&event["end"]),
            "confidence": event["confidence"],
        });
        json!({"track": track, "said": said})
    };
    let ours = of_type(customer, "speech.final").into_iter().map(|event| {
        let track = if event["side"] == "caller" { 0 } else { 1 };
        turn(event, track, 0)
    });
    let theirs = of_type(agent, "speech.final")
        .into_iter()
        .filter(|event| event["side"] == "caller" && event["seq"].as_u64() > from)
        .map(|event| turn(event, 2, clock));
    let mut turns: Vec<_> = ours.chain(theirs).collect();
    turns.sort_by_key(|turn| (millis(&turn["said"]["start"]), turn["track"].as_u64()));
    let role = |role: &str| json!({"role": role});
    serde_json::from_value(json!({
        "id": customer[0]["call"], "language": "en-US", "tracks": [role("customer"), role("agent"), role("agent")],
        "turns": turns, "heard": customer.last().expect("events")["at"], "finished": true,
        "metadata": {"agent": "agent"},
    }))
    .expect("a conversation")
}

type Finding = (String, i64, i64, String, Option<usize>);

/// What a job finds in a recording of ours.
fn inspected(server: &Server, call: &Value, words: &str) -> (Vec<Finding>, Option<f64>) {
    let job = json!({"scorecards": ["sale"], "files": [{"recording": call}], "words": words});
    let (status, accepted) = server.post("/v1/qa/jobs", &job);
    assert_eq!(status, 202, "{accepted}");
    let job = accepted["id"].as_str().expect("an id").to_owned();
    wait_for("the job's end", LIMIT, || {
        (server.fetch(&format!("/v1/qa/jobs/{job}"))["state"] == "finished").then_some(())
    });
    let file = server.fetch(&format!("/v1/qa/jobs/{job}/files/0"));
    assert_eq!(file["result"]["live"], true, "{file:#}");
    assert_eq!(file["conversation"]["metadata"]["agent"], "agent", "who answered is who served: {file:#}");
    let judged = &file["result"]["judgements"][0];
    let hits = judged["rules"].as_array().expect("rules").iter().filter_map(|rule| rule["hits"].as_array());
    let hits = hits.flatten().map(|hit| {
        let text = |key: &str| hit[key].as_str().unwrap_or_default().to_owned();
        let track = hit["track"].as_u64().map(|track| track as usize);
        (text("id"), millis(&hit["start"]), millis(&hit["end"]), text("quote"), track)
    });
    let mut hits: Vec<_> = hits.collect();
    hits.sort();
    (hits, judged["score"].as_f64())
}

#[test]
fn a_bridged_call_is_one_conversation_live_as_afterwards() {
    if tool_missing(&["baresip", "flite"]) {
        return;
    }
    let tables = format!(
        "[recognizer.scripted]\nutterances = {WORDS}\n[qa]\nscorecards = \"@DIR@\"\nlive = [\"sale\"]\n\
         [registrar]\nenabled = true\nalgorithms = [\"MD5\"]\n[[user]]\nname = \"agent\"\npassword = \"between-the-two-of-us\"\n"
    );
    let server = Server::start(Options {
        engine: "scripted",
        flow: Some(FLOW),
        tables: &tables,
        files: &[("sale.yaml", CARD.as_bytes())],
        ..Options::default()
    });
    let registrar = server.sip().to_string();
    let says = pad(1.0, &halve(&speak("tell me about the fund risk")), 60.0, 8_000);
    let mut agent = Softphone::with(Setup {
        account: Some(("agent", "between-the-two-of-us", &registrar)),
        answers: true,
        ..Setup::of("PCMU", &says)
    });
    agent.wait_registration("OK");
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("caller.yaml");
    // The second waits until the agent has finished, and has not mistaken our ringing for that.
    std::fs::write(
        &script,
        "steps:\n  - say: tell me about the fund risk\n  - pause: 5s\n  - say: yes I agree\n  - pause: 3s\n",
    )
    .expect("written");
    let called = Command::new(BINARY)
        .args(["call", &format!("sip:sale@{}", server.sip()), "--engine", "none", "--script"])
        .arg(&script)
        .output()
        .expect("the binary runs");
    assert!(called.status.success(), "{}", String::from_utf8_lossy(&called.stderr));
    wait_for("both calls' end", LIMIT, || (server.of_type("call.ended").len() == 2).then_some(()));

    let (customer, agent) = calls(&server);
    // Once each on both streams, judged once.
    let alerts = of_type(&customer, "qa.alert");
    let rules: Vec<_> = alerts.iter().map(|alert| alert["rule"].as_str().expect("a rule")).collect();
    assert_eq!(rules.iter().filter(|rule| **rule == "consent").count(), 1, "{rules:?}");
    assert_eq!((of_type(&customer, "qa.judged").len(), of_type(&agent, "qa.judged").len()), (1, 0));
    let clock = of_type(&customer, "bridge.started")[0]["clock_ms"].as_i64().expect("a difference");
    let consent = alerts.iter().find(|alert| alert["rule"] == "consent").expect("found");
    let seen: Vec<_> = of_type(&agent, "qa.alert");
    let there: Vec<_> = seen.iter().filter(|alert| alert["rule"] == "consent").collect();
    assert_eq!(there.len(), 1, "{seen:?}");
    let there = there[0];
    assert_eq!(
        (&there["hit"], &there["conversation"], millis(&there["start"]) + clock),
        (&consent["hit"], &customer[0]["call"], millis(&consent["start"]))
    );

    // While it went on: within half a second of the words that made it so.
    let agreed = of_type(&customer, "speech.final");
    let agreed = agreed.iter().find(|event| event["text"] == "yes i agree").expect("heard");
    let waited = millis(&consent["at"]) - millis(&agreed["at"]);
    assert!((0..500).contains(&waited), "told {waited} ms after the words");
    let waited = millis(&there["at"]) + clock - millis(&agreed["at"]);
    assert!((0..500).contains(&waited), "told the agent {waited} ms after the words");

    // Afterwards, from the two streams alone.
    let conversation = conversation(&customer, &agent);
    let judged = Scorecard::read(CARD, Path::new("sale.yaml"))
        .expect("a scorecard")
        .judge(&conversation, &Measures::of(&conversation));
    let mut batch: Vec<_> = judged
        .rules
        .iter()
        .flat_map(|rule| &rule.hits)
        .map(|hit| {
            (hit.id.clone(), hit.start.millis(), hit.end.millis(), hit.quote.expose().clone(), hit.track)
        })
        .collect();
    let mut live: Vec<Finding> = alerts
        .iter()
        .map(|alert| {
            let text = |key: &str| alert[key].as_str().unwrap_or_default().to_owned();
            let track = alert["track"].as_u64().map(|track| track as usize);
            (text("hit"), millis(&alert["start"]), millis(&alert["end"]), text("quote"), track)
        })
        .collect();
    batch.sort();
    live.sort();
    assert_eq!(live, batch, "{conversation:#?}");
    let told = of_type(&customer, "qa.judged")[0];
    assert_eq!((told["score"].as_f64(), told["pass"].as_bool()), (Some(judged.score), Some(judged.pass)));
    assert_eq!(inspected(&server, &customer[0]["call"], "live"), (live, Some(judged.score)));
    let agents = server.fetch("/v1/qa/insight?by=agent");
    assert_eq!(agents["rows"][0]["agent"], "agent", "{agents:#}");
    assert!(
        rules.contains(&"unasked") && !rules.contains(&"greeted"),
        "what the flow heard and said counts: {rules:?}"
    );
}
