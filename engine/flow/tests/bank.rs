//! The example flows, walked through by typing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use antiphon_engine_call::{Cause, EventBody, HttpOutcome, HttpRequest};
use antiphon_engine_flow::{Chat, Flow, Turn};
use serde_json::{Value, json};

fn example(name: &str) -> Arc<Flow> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/flows").join(name);
    let flow = Flow::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(flow.warnings().is_empty(), "{:#?}", flow.warnings());
    Arc::new(flow)
}

fn today() -> BTreeMap<String, String> {
    BTreeMap::from([("today".to_owned(), "2026-11-22".to_owned())])
}

fn service(request: &HttpRequest) -> HttpOutcome {
    let reply = |status, body| HttpOutcome::Reply { status, body };
    match (request.method.as_str(), request.url.as_str()) {
        ("GET", "http://127.0.0.1:8090/accounts/123456/balance") => reply(200, json!({"balance": 1234.5})),
        ("GET", "http://127.0.0.1:8090/accounts/999999/balance") => HttpOutcome::TimedOut,
        ("GET", _) => reply(404, Value::Null),
        ("POST", "http://127.0.0.1:8090/accounts/123456/transfers") => reply(201, json!({"id": 7})),
        _ => HttpOutcome::Failed { reason: "unexpected".into() },
    }
}

/// Says each line and checks that the answer contains the words beside it.
fn talk(chat: &mut Chat<'_>, lines: &[(&str, &str)]) -> Turn {
    let mut last = None;
    for (line, expected) in lines {
        let turn = chat.say(line);
        let said = turn.said.join(" | ");
        assert!(said.contains(expected), "after `{line}`: expected `{expected}` in `{said}`\n{turn:#?}");
        last = Some(turn);
    }
    last.expect("at least one line")
}

#[test]
fn a_caller_hears_the_balance_from_the_web_service() {
    let mut chat = Chat::with_http(example("bank.yaml"), service);
    let turn = chat.start(today());
    assert_eq!(turn.said, ["Northwind Bank. This call is recorded.", "Welcome.", "How can I help you?"]);
    let turn = talk(
        &mut chat,
        &[
            ("What's my account balance, please?", "six digit account number"),
            ("it is one two three four five six", "Your balance is 1234.5 dollars"),
        ],
    );
    assert_eq!(turn.http.len(), 1);
    assert_eq!(turn.http[0].outcome, "ok");
    assert_eq!(turn.slots["account"], "123456");
    let turn = talk(&mut chat, &[("no thank you", "Goodbye")]);
    assert_eq!(turn.ended, Some(Cause::FLOW_HUNG_UP));
    assert!(chat.is_finished());
}

#[test]
fn a_caller_with_keys_alone_gets_there_too() {
    let mut chat = Chat::with_http(example("bank.yaml"), service);
    chat.start(today());
    talk(
        &mut chat,
        &[("/key 1", "six digit account"), ("/key 123456", "Your balance is 1234.5"), ("/key 2", "Goodbye")],
    );
    // All of it typed ahead over the legal line.
    let mut chat = Chat::with_http(example("bank.yaml"), service);
    chat.start(today());
    talk(&mut chat, &[("/key 1123456", "Your balance is 1234.5")]);
}

#[test]
fn with_nothing_listening_the_fallback_is_heard() {
    let mut chat = Chat::new(example("bank.yaml"));
    chat.start(today());
    let turn = talk(
        &mut chat,
        &[
            ("how much money do I have", "six digit"),
            ("four five six seven eight nine", "not available right now"),
        ],
    );
    assert_eq!(turn.http[0].outcome, "failed");
    let mut chat = Chat::with_http(example("bank.yaml"), service);
    chat.start(today());
    talk(&mut chat, &[("/key 1", "six digit"), ("/key 999999", "not available right now")]);
    let mut chat = Chat::with_http(example("bank.yaml"), service);
    chat.start(today());
    talk(&mut chat, &[("/key 1", "six digit"), ("/key 111111", "do not know that account number")]);
}

#[test]
fn one_sentence_fills_several_slots_of_a_transfer() {
    let mut chat = Chat::with_http(example("bank.yaml"), service);
    chat.start(today());
    let turn = talk(
        &mut chat,
        &[
            ("transfer two hundred and fifty dollars to my savings account tomorrow", "six digit"),
            (
                "/key 123456",
                "I will transfer 250 dollars to your savings account on Monday, November 23. Is that right?",
            ),
            ("yes that's right", "has been made"),
        ],
    );
    assert_eq!(turn.http[0].body, Some(json!({"amount": 250, "to": "savings", "on": "2026-11-23"})));
    // The second transfer starts anew but remembers the account.
    talk(
        &mut chat,
        &[
            ("make a transfer", "Which account"),
            ("checking account", "How much"),
            (
                "three hundred dollars next Friday",
                "I will transfer 300 dollars to your checking account on Friday, November 27",
            ),
            ("no", "nothing was transferred"),
        ],
    );
}

#[test]
fn a_lost_card_and_a_person() {
    let mut chat = Chat::new(example("bank.yaml"));
    chat.start(today());
    talk(
        &mut chat,
        &[
            ("somebody stole my card", "block your card"),
            ("yes please", "is blocked"),
            ("when does the bank open", "nine to five"),
            ("I want to speak to an agent", "Goodbye"),
        ],
    );
}

#[test]
fn silence_and_rubbish_escalate_to_goodbye() {
    let mut chat = Chat::new(example("bank.yaml"));
    chat.start(today());
    let turn = talk(
        &mut chat,
        &[
            ("/silence", "I did not hear you"),
            ("purple elephants dance on mars", "You can say, what is my account balance"),
            ("/silence", "Somebody will call you back"),
        ],
    );
    assert!(turn.events.iter().any(|event| event.body == EventBody::NoInput { count: 2 }));
    assert_eq!(turn.ended, Some(Cause::FLOW_HUNG_UP));
}

#[test]
fn repeat_says_the_question_again() {
    let mut chat = Chat::new(example("bank.yaml"));
    chat.start(today());
    talk(
        &mut chat,
        &[("report a lost card", "block your card"), ("could you repeat that please", "block your card")],
    );
}

#[test]
fn a_turn_is_json_with_events_slots_and_actions() {
    let mut chat = Chat::with_http(example("bank.yaml"), service);
    chat.start(today());
    chat.say("/key 1");
    let turn = serde_json::to_value(chat.say("/key 123456")).expect("serialisable");
    assert_eq!(turn["input"], "/key 123456");
    assert_eq!(turn["slots"]["account"], "123456");
    assert_eq!(turn["http"][0]["url"], "http://127.0.0.1:8090/accounts/123456/balance");
    let types: Vec<_> =
        turn["events"].as_array().expect("a list").iter().map(|event| &event["type"]).collect();
    assert!(types.iter().any(|name| *name == "action.started") && types.iter().any(|name| *name == "slot"));
}

#[test]
fn the_chinese_line_understands_a_whole_call() {
    let mut chat = Chat::with_http(example("bank_zh.yaml"), service);
    let turn = chat.start(today());
    assert_eq!(turn.said, ["北风银行，本次通话将被录音。", "欢迎您。", "请问您要办理什么业务？"]);
    let turn = talk(
        &mut chat,
        &[
            ("我想查一下账户的余额", "六位账号"),
            ("幺二三四五六", "您的余额是1234.5元"),
            ("帮我下周三转两万五到储蓄账户", "11月25日星期三转25000元到您的储蓄账户，对吗？"),
            ("对的", "转账成功"),
        ],
    );
    assert_eq!(turn.http[0].body, Some(json!({"amount": 25000, "to": "savings", "on": "2026-11-25"})));
    talk(
        &mut chat,
        &[
            ("我的银行卡丢了", "冻结您的卡吗"),
            ("你说什么", "冻结您的卡吗"),
            ("不用了", "没有冻结"),
            ("你们几点开门啊", "九点到五点"),
            ("不需要了", "再见"),
        ],
    );
    assert!(chat.is_finished());
}

#[test]
fn the_chinese_line_escalates_and_falls_back() {
    let mut chat = Chat::new(example("bank_zh.yaml"));
    chat.start(today());
    talk(&mut chat, &[("/key 1", "六位账号"), ("/key 654321", "现在无法查询余额"), ("转人工", "再见")]);
    let mut chat = Chat::new(example("bank_zh.yaml"));
    chat.start(today());
    talk(&mut chat, &[("/silence", "没有听到"), ("今天天气真好啊", "没有听懂"), ("/silence", "回电")]);
}

#[test]
fn what_is_likely_but_not_sure_is_confirmed_first() {
    // Only an example word for word is sure enough here.
    let text = "version: 1
name: careful
settings: {accept: 1.0, confirm: 0.3}
slots: {amount: amount}
intents:
  transfer: {title: a transfer, examples: ['transfer {amount} now', please make a transfer, i want a money transfer]}
  hours: [when do you open, opening hours please, what time do you close]
steps:
  main:
    ask: What?
    intents: {transfer: how_much, hours: bye}
    confirm: Did you mean {title}?
    no_match: Pardon?
  how_much:
    ask: How much?
    slot: amount
  tell: {hang_up: 'Transferring {amount}.'}
  bye: {hang_up: Bye.}
";
    let flow =
        Flow::parse(text, std::path::Path::new("flow.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    let flow = Arc::new(flow);
    let start = || {
        let mut chat = Chat::new(Arc::clone(&flow));
        chat.start(BTreeMap::new());
        chat
    };
    talk(
        &mut start(),
        &[("please transfer fifty dollars", "Did you mean a transfer?"), ("yes", "Transferring 50 dollars.")],
    );
    talk(
        &mut start(),
        &[
            ("could you make a transfer", "Did you mean a transfer?"),
            ("no", "What?"),
            ("when do you open", "Bye."),
        ],
    );
    talk(&mut start(), &[("please make a transfer", "How much?"), ("ten bucks", "Transferring 10 dollars.")]);
    talk(&mut start(), &[("could you make a transfer", "Did you mean a transfer?"), ("/key 1", "How much?")]);
}
