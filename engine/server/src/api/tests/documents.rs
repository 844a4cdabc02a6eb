//! What is written about the API is what it does.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_engine_call::{
    ActionId, Decision, Event, MediaFigures, MediaSecurity, PromptEnd, PromptId, QaAlert, Redacted,
    ResponseTime, Side, TransferKind,
};
use antiphon_models_speech::{Language, Word};

use super::*;
use crate::api::page::description;
use crate::api::routes;

const MANUAL: &str = include_str!("../../../../../docs/API.md");

/// One of each, with the words of the manual.
fn examples() -> Vec<(EventBody, &'static str)> {
    let text = |text: &str| Pii::new(text.to_owned());
    let word = |text: &str, start, end| Word {
        text: text.into(),
        start: MediaTime::from_millis(start),
        end: MediaTime::from_millis(end),
        confidence: 0.5,
    };
    let figures = MediaFigures {
        packets: 1_250,
        lost: 3,
        late: 1,
        duplicate: 0,
        jitter_ms: 2.5,
        concealed_ms: 80,
        round_trip_ms: Some(21.5),
        mos: Some(4.3),
    };
    let bodies = vec![
        EventBody::CallStarted { from: text("13800138000"), to: text("bank"), direction: "inbound" },
        EventBody::CallRinging,
        EventBody::CallEarly { codec: "PCMA".into(), sample_rate_hz: 8_000, security: MediaSecurity::None },
        EventBody::CallRefused {
            host: "203.0.113.9:5060".into(),
            status: 503,
            reason: "Service Unavailable".into(),
        },
        EventBody::CallRedirected {
            host: "203.0.113.9:5060".into(),
            status: 302,
            to: Pii::new(vec!["sip:1001@203.0.113.10".into()]),
            results: vec!["followed"],
        },
        EventBody::CallAnswered {
            codec: "G722".into(),
            sample_rate_hz: 16_000,
            security: MediaSecurity::Sdes,
        },
        EventBody::CodecChanged { codec: "PCMA".into() },
        EventBody::HoldStarted { by_far_side: true },
        EventBody::HoldEnded { by_far_side: true },
        EventBody::TransferStarted { id: ActionId(1), kind: TransferKind::Bridge, to: text("1001") },
        EventBody::TransferFinished { id: ActionId(1), outcome: "no_answer", status: None },
        EventBody::BridgeStarted { with: CallId(0x0b0b), clock_ms: 3_120 },
        EventBody::BridgeEnded { with: CallId(0x0b0b) },
        EventBody::SupervisionStarted { by: CallId(0x0c0c), mode: "listen" },
        EventBody::SupervisionEnded { by: CallId(0x0c0c) },
        EventBody::SpeechStarted { side: Side::Caller },
        EventBody::SpeechPartial { side: Side::Caller, text: text("my card"), revision: 2, start: 4.1 },
        EventBody::SpeechFinal {
            side: Side::Caller,
            text: text("My card."),
            spoken: Pii::new(Some("my card".to_owned())),
            words: Pii::new(vec![word("my", 4_100, 4_260), word("card", 4_260, 4_700)]),
            start: 4.1,
            end: 4.7,
            confidence: 0.75,
            language: Language::parse("en"),
            redactions: vec![Redacted { kind: "card", start: 1.2, end: 3.4 }],
        },
        EventBody::SpeechEnded { side: Side::Caller },
        EventBody::PromptStarted { id: PromptId(1), text: text("Welcome."), interruptible: true },
        EventBody::PromptStopped { id: PromptId(1), reason: PromptEnd::BargeIn, played_ms: 640 },
        EventBody::Dtmf { side: Side::Caller, key: Pii::new('5'), duration_ms: 120 },
        EventBody::FlowStep { step: "ask_account".into() },
        EventBody::Intent { name: Some("lost_card".into()), confidence: 0.75, decision: Decision::Accept },
        EventBody::Slot { name: "account".into(), value: Pii::new("12345678".into()) },
        EventBody::NoInput { count: 1 },
        EventBody::NoMatch { count: 2 },
        EventBody::ActionStarted { id: ActionId(1), step: "fetch_balance".into() },
        EventBody::ActionFinished { id: ActionId(1), outcome: "ok", status: Some(200) },
        EventBody::Response(ResponseTime { recognized_ms: 320, first_audio_ms: 480 }),
        EventBody::Media { side: Side::Caller, figures },
        EventBody::Recording {
            path: "antiphon-data/recordings/2026-11-22/….wav".into(),
            duration_ms: 25_000,
        },
        EventBody::QaAlert(Box::new(QaAlert {
            scorecard: "fund_sale".into(),
            version: "7".into(),
            rule: "R2".into(),
            hit: "R2.1.18380.1".into(),
            kind: "found",
            track: Some(1),
            side: Some(Side::Machine),
            start: 18.38,
            end: 20.09,
            quote: text("guarantee you a very good profit"),
            points: -30.0,
            fatal: true,
            alert: Some("supervisor".into()),
            action: Some("listen"),
            taken: false,
            conversation: None,
        })),
        EventBody::QaJudged { scorecard: "fund_sale".into(), version: "7".into(), score: 0.0, pass: false },
        ended(),
    ];
    bodies
        .into_iter()
        .map(|body| {
            let words = meaning(&body);
            (body, words)
        })
        .collect()
}

/// What the manual says of a type. A new type does not compile until it has a line here; its writer adds it to
/// `examples` in the same breath.
fn meaning(body: &EventBody) -> &'static str {
    match body {
        EventBody::CallStarted { .. } => "A call came in or was placed.",
        EventBody::CallRinging => "It rings: the caller was told so, or the called side told us.",
        EventBody::CallEarly { .. } => "Media flows before the answer.",
        EventBody::CallRefused { .. } => {
            "A host that we called refused, with 408 where nothing came; others may be called after it."
        }
        EventBody::CallRedirected { .. } => {
            "A host that we called would have us call elsewhere (3xx). `results` says of each place whether it is `followed`, or why not."
        }
        EventBody::CallAnswered { .. } => "Media flows. `security` is `none`, `sdes` or `dtls`.",
        EventBody::CodecChanged { .. } => "The codec changed; the recording goes on at its own rate.",
        EventBody::HoldStarted { .. } => "Media stopped flowing, by the far side's wish or by ours.",
        EventBody::HoldEnded { .. } => "Media flows again.",
        EventBody::TransferStarted { .. } => "The caller is being handed on: `bridge` or `refer`.",
        EventBody::TransferFinished { .. } => {
            "It is over: `completed`, `busy`, `declined`, `no_answer`, `voicemail`, `forbidden` or `failed`."
        }
        EventBody::BridgeStarted { .. } => "The far side hears another call, and is heard there.",
        EventBody::BridgeEnded { .. } => "The two are apart.",
        EventBody::SupervisionStarted { .. } => {
            "Somebody supervises the call: `listen`, `whisper`, `barge` or `take_over`."
        }
        EventBody::SupervisionEnded { .. } => "The supervisor has left.",
        EventBody::SpeechStarted { .. } => "A voice began. `side` is `caller` or `machine`.",
        EventBody::SpeechPartial { .. } => {
            "Interim words; each replaces the one before, and one without text takes it back. `start` in seconds."
        }
        EventBody::SpeechFinal { .. } => {
            "Final words. `text` is what one reads; `spoken`, where it differs, and `words`, with their times in seconds on the call's clock, are what was said. `language` stands where the engine found out, `redactions` where something was hidden."
        }
        EventBody::SpeechEnded { .. } => "A voice ended.",
        EventBody::PromptStarted { .. } => "A prompt's first sample is on its way.",
        EventBody::PromptStopped { .. } => {
            "A prompt is over: `completed`, `barge_in`, `key`, `cancelled`, `hung_up` or `failed`."
        }
        EventBody::Dtmf { .. } => "A key was pressed.",
        EventBody::FlowStep { .. } => "The flow moved to a step.",
        EventBody::Intent { .. } => "The caller's words were classified: `accept`, `confirm` or `no_match`.",
        EventBody::Slot { .. } => "A variable was filled.",
        EventBody::NoInput { .. } => "Nothing was said or pressed in time; `count` at this question.",
        EventBody::NoMatch { .. } => "What was said or pressed fits nothing; `count` at this question.",
        EventBody::ActionStarted { .. } => "A web service is asked.",
        EventBody::QaAlert(_) => {
            "A rule of inspection found something: `found`, `missed` or `met`. `hit` is what an inspection of the finished call calls it too; `action` (`listen`, `whisper`, `barge`, `hang_up`) is for a supervisor to decide, or was `taken` at once."
        }
        EventBody::QaJudged { .. } => "How the call does by a scorecard of `qa.live`; told at its end.",
        EventBody::ActionFinished { .. } => "It answered or did not: `ok`, `status`, `timeout` or `failed`.",
        EventBody::Response(_) => "We answered; both times count from the end of the caller's speech.",
        EventBody::Media { .. } => "Figures of one direction, every ten seconds and at the end of the call.",
        EventBody::Recording { .. } => "The recording is complete.",
        EventBody::CallEnded { .. } => "The call is over; nothing follows. Causes are in ERRORS.md.",
    }
}

fn name(event: &Event) -> String {
    serde_json::to_value(event).expect("JSON")["type"].as_str().expect("a type").to_owned()
}

#[test]
fn the_manual_has_an_example_of_every_event() {
    let mut section = String::new();
    for (n, (body, words)) in examples().into_iter().enumerate() {
        let at = MediaTime::from_millis(500 * n as i64);
        let event =
            Event { call: CallId(0x6f1d_0000_0000_0000_0000_0000_0000_0a11), seq: n as u64 + 1, at, body };
        let json = serde_json::to_string(&event).expect("JSON");
        section += &format!("`{}`: {words}\n\n```json\n{json}\n```\n\n", name(&event));
    }
    assert!(MANUAL.contains(&section), "docs/API.md must contain exactly this:\n\n{section}");
}

#[test]
fn the_description_names_every_event() {
    let described = &description()["components"]["schemas"]["Event"]["properties"]["type"]["enum"];
    let described: Vec<_> = described.as_array().expect("names").iter().filter_map(Value::as_str).collect();
    let known: Vec<_> = examples()
        .into_iter()
        .map(|(body, _)| name(&Event { call: CallId(1), seq: 1, at: MediaTime::ZERO, body }))
        .collect();
    assert_eq!(described, known);
}

#[test]
fn every_route_is_described_and_in_the_manual() {
    const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
    let document = description();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let described: BTreeMap<_, BTreeSet<_>> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .map(|(path, item)| {
            let item = item.as_object().expect("an item");
            (path.as_str(), item.keys().filter(|k| METHODS.contains(&k.as_str())).cloned().collect())
        })
        .collect();
    let routed: BTreeMap<_, BTreeSet<_>> = routes()
        .into_iter()
        .map(|(path, methods, _)| (path, methods.iter().map(|m| m.as_str().to_ascii_lowercase()).collect()))
        .collect();
    assert_eq!(described, routed);
    for (path, methods) in routed {
        for method in methods {
            let cell = format!("| `{} {path}` |", method.to_ascii_uppercase());
            assert!(MANUAL.contains(&cell), "docs/API.md lacks the row {cell}");
        }
    }
}

#[test]
fn references_of_the_description_lead_somewhere() {
    fn visit<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| visit(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| visit(item, found)),
            _ => {}
        }
    }
    let document = description();
    let mut found = Vec::new();
    visit(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn every_described_path_answers_as_described() {
    let server = Server::start().await;
    let _call = server.call(1);
    let document = server.get("/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in
            item.as_object().expect("an item").iter().filter(|(key, _)| *key != "parameters")
        {
            let target = path.replace("{id}", "00000000000000000000000000000001");
            let reply = server.ask(&method.to_ascii_uppercase(), &target, &[]).await;
            let described = &operation["responses"][reply.status.to_string()];
            assert!(described.is_object(), "{method} {path} answers {} undescribed", reply.status);
            let kind =
                reply.header("content-type").expect("a type").split(';').next().expect("a type").to_owned();
            assert!(
                described["content"][&kind].is_object() || path == "/v1/events",
                "{method} {path}: {kind}"
            );
        }
        let wrong = server.ask("PUT", &path.replace("{id}", "1"), &[]).await;
        assert_eq!(wrong.status, 405, "{path}");
    }
}

#[tokio::test]
async fn a_call_has_the_members_described() {
    let server = Server::start().await;
    let _call = server.call(1);
    let call = server.get("/v1/calls/00000000000000000000000000000001").await.json();
    let members =
        |value: &Value| value.as_object().expect("members").keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(members(&call), members(&description()["components"]["schemas"]["Call"]["properties"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_is_served_as_it_runs() {
    let data = tempfile::tempdir().expect("a folder");
    let config = Config { data: data.path().into(), ..Config::default() };
    let server = Server::open(config).await;
    assert_eq!(server.get("/readyz").await.status, 200);
    let metrics = server.get("/metrics").await;
    assert!(
        metrics.text().contains("recognizer=\"none\"")
            && metrics.text().contains("antiphon_pool_streams_limit 200")
    );
    server.stop().await;
}
