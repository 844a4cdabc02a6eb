//! One call as its agent sees it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use antiphon_engine_assist::{Assist, AssistBody, AssistEvent, Book, Verdict, Withdrawal};
use antiphon_engine_knowledge::{Knowledge, Limits};
use antiphon_engine_measure::{Conversation, Measures, Reason, Role, Topic, Track, Turn};
use antiphon_engine_qa::{Inspector, Known, Scorecard};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Hypothesis, Language, Utterance};
use serde_json::Value;

const BOOK: &str = "
assist: bank
suggest: {keep: 60s, shown: 2}
script:
- {id: greet, say: Greet and give your name., done: {by: agent, said: [my name is]}}
- {id: verify, say: Ask for the date of birth., done: {slot: birth_date}}
- {id: risk, say: Tell the risk., when: {by: customer, said: [fund]}, done: {kept: R1}}
- {id: close, say: Ask what else there is., done: {by: agent, said: [anything else]}}
dispositions:
- {id: lost_card, name: Card lost, when: {by: customer, said: [lost ... card]}}
- {id: sale, when: {all: [{hit: guarantee}, {not: {slot: complaint}}]}}
- {id: other, when: {by: customer, said: [weather]}}
";

fn utterance(at: i64, text: &str) -> Utterance {
    Utterance {
        text: text.to_owned(),
        words: Vec::new(),
        start: MediaTime::from_millis(at),
        end: MediaTime::from_millis(at + 1_000),
        confidence: 0.9,
        language: None,
    }
}

fn events(assist: &mut Assist) -> Vec<AssistEvent> {
    std::iter::from_fn(|| assist.poll_event()).collect()
}

/// Everything but words, in short.
fn told(assist: &mut Assist) -> Vec<String> {
    let short = |body| match body {
        AssistBody::Words { .. } => None,
        AssistBody::Suggestion { id, title, .. } => Some(format!("suggest {id} {title}")),
        AssistBody::Withdrawn { id, reason } => Some(format!("withdraw {id} {reason:?}")),
        AssistBody::Step { step, position, of, .. } => Some(format!("step {step} {position}/{of}")),
        AssistBody::StepDone { step } => Some(format!("done {step}")),
        AssistBody::ScriptDone => Some("script done".to_owned()),
        AssistBody::Warning { rule, .. } => Some(format!("warn {rule}")),
        AssistBody::Slot { name, .. } => Some(format!("slot {name}")),
        AssistBody::Summary { .. } => Some("summary".to_owned()),
        AssistBody::Feedback { id, verdict } => Some(format!("feedback {id} {verdict:?}")),
        AssistBody::Filed { choice } => Some(format!("filed {}", choice.id)),
        AssistBody::Disposition { choices } => Some(format!(
            "file {}",
            choices.iter().map(|choice| choice.id.as_str()).collect::<Vec<_>>().join(",")
        )),
    };
    events(assist).into_iter().filter_map(|event| short(event.body)).collect()
}

struct Call {
    assist: Assist,
    _folder: tempfile::TempDir,
    at: i64,
}

impl Call {
    fn new(book: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faq = "q,a\nWhat do I do if my card is lost or stolen?,Block it at once in the app.\n\
                   What is the overdraft fee?,It costs 39 % a year.\n\
                   How do I cancel a direct debit?,In the app under Payments.\n\
                   How much can I borrow for a mortgage?,Up to four and a half times your income.\n";
        fs::write(folder.path().join("faq.csv"), faq).unwrap();
        let knowledge = Arc::new(Knowledge::open(folder.path(), Limits::default()).unwrap());
        Self {
            assist: Assist::new(Arc::new(Book::parse(book).unwrap()), Some(knowledge)),
            _folder: folder,
            at: 0,
        }
    }

    fn now(&self) -> MediaTime {
        MediaTime::from_millis(self.at)
    }

    fn says(&mut self, by: Role, text: &str) -> Vec<String> {
        self.at += 2_000;
        self.assist.hear(self.now(), usize::from(by == Role::Agent), by, &utterance(self.at - 1_000, text));
        told(&mut self.assist)
    }
}

const CARD: &str = r#"
scorecard: {id: sale, version: 1}
conditions:
  promise: {phrase: a sure thing, speaker: agent}
  told: {phrase: may lose value, speaker: agent}
rules:
- {id: R1, must: told, points: -10}
- {id: guarantee, name: Promised a gain, never: promise, points: -20}
"#;

/// What an inspector finds once the agent has said something.
fn judged(call: &mut Call, text: &str) {
    let conversation = Conversation { turns: vec![turn(1, 0, text)], finished: false, ..conversation().0 };
    let measures = Measures::of(&conversation);
    let mut inspector = Inspector::new(Arc::new(Scorecard::read(CARD, Path::new("sale.yaml")).unwrap()));
    let hits = inspector.hear(&conversation, &measures, Known::heard(&conversation));
    call.assist.judge(call.now(), &hits, inspector.judgement().unwrap());
}

fn turn(track: usize, at: i64, text: &str) -> Turn {
    Turn { track, said: utterance(at, text), tone: None }
}

#[test]
fn the_script_goes_on_as_its_steps_are_done_in_whatever_order() {
    let mut call = Call::new(BOOK);
    assert_eq!(told(&mut call.assist), ["step greet 1/4"]);
    call.assist.know(call.now(), "birth_date", "1980-01-02");
    assert_eq!(told(&mut call.assist), ["slot birth_date", "done verify"]);
    // The customer may say what only counts of the agent.
    assert!(call.says(Role::Customer, "hello my name is Ann").is_empty());
    assert_eq!(call.says(Role::Agent, "Hello, my name is Bo."), ["done greet", "step close 4/4"]);
    assert_eq!(call.says(Role::Customer, "I am interested in a fund"), ["step risk 3/4"]);
    judged(&mut call, "the fund may lose value");
    assert_eq!(told(&mut call.assist), ["done risk", "step close 4/4"]);
    assert_eq!(call.says(Role::Agent, "Is there anything else?"), ["done close", "script done"]);
}

#[test]
fn knowledge_is_suggested_once_and_withdrawn_when_the_conversation_goes_on() {
    let mut call = Call::new("assist: a\nsuggest: {keep: 60s, shown: 2}\n");
    assert!(call.says(Role::Customer, "hello good morning").is_empty());
    assert!(
        call.says(Role::Agent, "what is the overdraft fee").is_empty(),
        "the agent's words are not looked up"
    );
    assert_eq!(
        call.says(Role::Customer, "I lost my card"),
        ["suggest 1 What do I do if my card is lost or stolen?"]
    );
    assert!(call.says(Role::Customer, "my card is lost").is_empty());
    let stale = call.assist.poll_timeout().unwrap();
    assert_eq!(stale, call.now() + Span::from_secs(60));
    call.assist.handle_timeout(stale);
    assert_eq!(told(&mut call.assist), ["withdraw 1 Stale"]);
    assert_eq!(call.assist.poll_timeout(), None);
}

#[test]
fn the_oldest_suggestion_makes_room() {
    let mut call = Call::new("assist: a\nsuggest: {shown: 2}\n");
    call.says(Role::Customer, "I lost my card");
    assert_eq!(
        call.says(Role::Customer, "what is the overdraft fee"),
        ["suggest 2 What is the overdraft fee?"]
    );
    assert_eq!(
        call.says(Role::Customer, "can I cancel the direct debit"),
        ["withdraw 1 Replaced", "suggest 3 How do I cancel a direct debit?"]
    );
}

#[test]
fn a_dismissed_suggestion_does_not_come_back() {
    let mut call = Call::new("assist: a\n");
    call.says(Role::Customer, "I lost my card");
    assert!(call.assist.dismiss(call.now(), 1) && !call.assist.dismiss(call.now(), 1));
    assert_eq!(told(&mut call.assist), ["withdraw 1 Dismissed"]);
    assert!(call.says(Role::Customer, "really my card is lost").is_empty());
}

#[test]
fn a_question_in_two_breaths_is_one_question() {
    let mut call = Call::new("assist: a\nsuggest: {threshold: 0.85}\n");
    assert!(call.says(Role::Customer, "so the overdraft").is_empty());
    assert_eq!(call.says(Role::Customer, "what about the fee"), ["suggest 1 What is the overdraft fee?"]);
}

#[test]
fn warnings_are_told_and_the_summary_and_the_fitting_dispositions_follow_the_call() {
    let mut call = Call::new(BOOK);
    call.says(Role::Customer, "I have lost my bank card");
    judged(&mut call, "it is a sure thing");
    assert_eq!(told(&mut call.assist), ["warn guarantee"]);
    let (conversation, measures) = conversation();
    call.assist.finish(call.now(), &conversation, &measures);
    assert_eq!(told(&mut call.assist), ["summary", "file lost_card,sale"]);
}

#[test]
fn interim_words_nobody_read_give_way_and_the_queue_is_bounded() {
    let mut call = Call::new(BOOK);
    events(&mut call.assist);
    for revision in 1..=5 {
        let said = Hypothesis { revision, text: format!("word {revision}"), start: MediaTime::ZERO };
        call.assist.hear_partial(call.now(), 0, Role::Customer, &said);
    }
    assert_eq!(events(&mut call.assist).len(), 1);
    for n in 0..3_000 {
        call.assist.hear(call.now(), 1, Role::Agent, &utterance(n, "well"));
    }
    judged(&mut call, "it is a sure thing");
    let events = events(&mut call.assist);
    assert_eq!((events.len() as u64, call.assist.dropped()), (1_000, 2_001));
    assert!(matches!(events.last().unwrap().body, AssistBody::Warning { .. }));
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn logs_do_not_show_what_was_said() {
    let mut call = Call::new("assist: a\n");
    call.at += 2_000;
    call.assist.hear(call.now(), 0, Role::Customer, &utterance(0, "I lost my card, I am Ann Example"));
    call.assist.know(call.now(), "name", "Ann Example");
    assert!(!format!("{:?}", events(&mut call.assist)).contains("Ann"));
}

fn conversation() -> (Conversation, Measures) {
    let conversation = Conversation {
        id: "1".to_owned(),
        language: Language::english(),
        tracks: [Role::Customer, Role::Agent].map(|role| Track { role, speech: Vec::new() }).to_vec(),
        turns: vec![turn(0, 0, "I have lost my bank card"), turn(1, 2_000, "I block it for you")],
        holds: Vec::new(),
        heard: Span::from_secs(5),
        finished: true,
        metadata: BTreeMap::new(),
    };
    let mut measures = Measures::of(&conversation);
    measures.reason = Some(Reason { turn: 0, text: "I have lost my bank card".to_owned() });
    measures.topics = vec![Topic { text: "bank card".to_owned(), weight: 1.0, turns: vec![0] }];
    measures.summary = vec![0, 1];
    (conversation, measures)
}

#[test]
fn every_event_is_as_the_published_schema_says() {
    let mut call = Call::new(BOOK);
    call.at += 2_000;
    let said = Hypothesis { revision: 1, text: "I have".to_owned(), start: MediaTime::ZERO };
    call.assist.hear_partial(call.now(), 0, Role::Customer, &said);
    let mut all = events(&mut call.assist);
    call.assist.hear(call.now(), 0, Role::Customer, &utterance(0, "I have lost my card and want a fund"));
    call.assist.hear(call.now(), 1, Role::Agent, &utterance(0, "my name is Bo, anything else"));
    call.assist.know(call.now(), "birth_date", "1980-01-02");
    judged(&mut call, "it is a sure thing and may lose value");
    call.assist.rate(call.now(), 1, Verdict::Used);
    call.assist.dismiss(call.now(), 1);
    call.assist.file(call.now(), "lost_card");
    let (conversation, measures) = conversation();
    call.assist.finish(call.now(), &conversation, &measures);
    all.extend(events(&mut call.assist));
    let schema: Value = serde_json::from_str(include_str!("../../../docs/schemas/assist.json")).unwrap();
    let mut kinds = BTreeSet::new();
    for event in &all {
        let event = serde_json::to_value(event).unwrap();
        let kind = event["type"].as_str().unwrap().to_owned();
        let properties = properties(&schema, &kind);
        let described: BTreeSet<_> = properties["properties"].as_object().unwrap().keys().cloned().collect();
        let sent: BTreeSet<_> = event.as_object().unwrap().keys().cloned().collect();
        let common: BTreeSet<_> = ["number", "at", "type"].map(str::to_owned).into();
        assert!(sent.is_subset(&described.union(&common).cloned().collect()), "{kind}: {sent:?}");
        for name in properties["required"].as_array().unwrap() {
            assert!(sent.contains(name.as_str().unwrap()), "{kind} lacks {name}");
        }
        for (name, value) in event.as_object().unwrap() {
            if let Some(wanted) = properties["properties"][name]["type"].as_str() {
                let is = match value {
                    Value::String(_) => "string",
                    Value::Number(n) if n.is_u64() && wanted == "integer" => "integer",
                    Value::Number(_) => "number",
                    Value::Bool(_) => "boolean",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                    Value::Null => "null",
                };
                assert_eq!(is, wanted, "{kind}.{name}");
            }
        }
        kinds.insert(kind);
    }
    let published: BTreeSet<_> = schema["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["properties"]["type"]["const"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, published);
    assert_eq!(serde_json::to_value(Withdrawal::Stale).unwrap(), "stale");
}

fn properties<'a>(schema: &'a Value, kind: &str) -> &'a Value {
    let of = |one: &&Value| one["properties"]["type"]["const"] == kind;
    schema["oneOf"].as_array().unwrap().iter().find(of).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn what_the_agent_says_of_a_suggestion_and_of_the_call_is_told() {
    let mut call = Call::new(BOOK);
    told(&mut call.assist);
    assert!(call.says(Role::Customer, "my card is lost").iter().any(|line| line.starts_with("suggest 1")));
    let now = call.now();
    assert!(call.assist.rate(now, 1, Verdict::Used) && !call.assist.rate(now, 2, Verdict::Used));
    assert_eq!(told(&mut call.assist), ["feedback 1 Used"]);
    assert!(call.assist.rate(now, 1, Verdict::NotHelpful));
    assert_eq!(told(&mut call.assist), ["feedback 1 NotHelpful", "withdraw 1 Dismissed"]);
    assert!(call.assist.file(now, "lost_card") && !call.assist.file(now, "nonsense"));
    assert_eq!(told(&mut call.assist), ["filed lost_card"]);
}
