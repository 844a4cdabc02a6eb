//! How well the example flows understand sentences that are not among their examples.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Decision, EventBody};
use antiphon_engine_flow::{Chat, Flow};

/// The intent accepted or offered for confirmation, `-` for no match.
fn understood(flow: &Arc<Flow>, line: &str) -> (String, Decision) {
    let mut chat = Chat::new(Arc::clone(flow));
    chat.start(BTreeMap::from([("today".to_owned(), "2026-11-22".to_owned())]));
    let turn = chat.say(line);
    let intent = turn.events.iter().find_map(|event| match &event.body {
        EventBody::Intent { name, decision, .. } => Some((name.clone(), *decision)),
        _ => None,
    });
    match intent {
        Some((Some(name), decision)) if decision != Decision::NoMatch => (name, decision),
        _ => ("-".to_owned(), Decision::NoMatch),
    }
}

/// Checks a held-out set against floors: the share understood (a confirmation of the right intent counts) and how many
/// sentences may be acted upon wrongly without asking.
fn measure(file: &str, table: &[(&str, &str)], floor: f32, most_false: usize) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/flows").join(file);
    let flow = Arc::new(Flow::load(&path).unwrap_or_else(|errors| panic!("{errors}")));
    let (mut right, mut accepted, mut falsely) = (0, 0, 0);
    let mut report = String::new();
    for (line, expected) in table {
        let (found, decision) = understood(&flow, line);
        right += usize::from(found == *expected);
        accepted += usize::from(found == *expected && decision == Decision::Accept);
        falsely += usize::from(found != *expected && decision == Decision::Accept);
        if found != *expected {
            report += &format!("`{line}`: expected {expected}, found {found} ({decision:?})\n");
        }
    }
    let share = right as f32 / table.len() as f32;
    let summary = format!(
        "{file}: {right} of {} right ({share:.3}), {accepted} of them without asking, {falsely} falsely accepted\n{report}",
        table.len()
    );
    assert!(share >= floor && falsely <= most_false, "{summary}");
    eprintln_summary(&summary);
}

#[expect(clippy::print_stderr, reason = "the measured figures are what this test is for")]
fn eprintln_summary(summary: &str) {
    eprintln!("{summary}");
}

#[test]
fn held_out_english_sentences_are_understood() {
    let table = [
        ("what's the balance on my account", "balance"),
        ("could you tell me my current balance", "balance"),
        ("how much have i got in my account", "balance"),
        ("i want to know how much money i have", "balance"),
        ("balance please", "balance"),
        ("what is my a count balance", "balance"),
        ("i need to transfer some money", "transfer"),
        ("please send one hundred dollars to my checking account", "transfer"),
        ("transfer fifty dollars to savings", "transfer"),
        ("move three hundred dollars into my savings account", "transfer"),
        ("i'd like to make a money transfer", "transfer"),
        ("can you transfer two thousand dollars next friday", "transfer"),
        ("my credit card has been stolen", "lost_card"),
        ("i think i lost my bank card", "lost_card"),
        ("i can't find my card it is missing", "lost_card"),
        ("somebody stole my credit card", "lost_card"),
        ("my card is gone i lost it", "lost_card"),
        ("when do you open", "hours"),
        ("what are the opening times of the bank", "hours"),
        ("at what time does the bank close", "hours"),
        ("is the bank open tomorrow", "hours"),
        ("i want to talk to an agent", "agent"),
        ("can i speak to somebody", "agent"),
        ("give me a human please", "agent"),
        ("put me through to customer service", "agent"),
        ("ok thank you bye bye", "goodbye"),
        ("that is all goodbye", "goodbye"),
        ("no thank you nothing else", "goodbye"),
        ("could you please repeat that", "repeat"),
        ("sorry what did you say", "repeat"),
        ("purple elephants dance on mars", "-"),
        ("do you like chocolate ice cream", "-"),
        ("the cat sat on the mat", "-"),
        ("my brother plays football on saturdays", "-"),
        ("can you recommend a good restaurant", "-"),
        ("what is the capital of france", "-"),
        ("i would like a large cheese pizza", "-"),
        ("we are having a great time here", "-"),
        ("mumble mumble", "-"),
        ("turn left at the traffic lights", "-"),
    ];
    measure("bank.yaml", &table, 0.9, 1);
}

#[test]
fn held_out_chinese_sentences_are_understood() {
    let table = [
        ("我想查询一下账户余额", "balance"),
        ("帮我查一下余额", "balance"),
        ("我卡里还有多少钱", "balance"),
        ("看看我的账户里还剩多少", "balance"),
        ("余额是多少", "balance"),
        ("查余额", "balance"),
        ("我想转账", "transfer"),
        ("给储蓄账户转五百块", "transfer"),
        ("把两千元转到活期账户", "transfer"),
        ("明天转三千五到信用卡", "transfer"),
        ("我要转一笔钱", "transfer"),
        ("麻烦办理一下转账", "transfer"),
        ("我的银行卡丢了", "lost_card"),
        ("信用卡被偷了怎么办", "lost_card"),
        ("卡找不到了要挂失", "lost_card"),
        ("我的卡不见了", "lost_card"),
        ("银行卡丢失了", "lost_card"),
        ("你们什么时候开门", "hours"),
        ("请问营业到几点", "hours"),
        ("周末开门吗", "hours"),
        ("几点上班", "hours"),
        ("请帮我转人工服务", "agent"),
        ("我要找客服", "agent"),
        ("让我和真人说话", "agent"),
        ("好的谢谢再见", "goodbye"),
        ("没别的事了", "goodbye"),
        ("请再说一遍", "repeat"),
        ("我没听清楚", "repeat"),
        ("紫色的大象在跳舞", "-"),
        ("你喜欢吃冰淇淋吗", "-"),
        ("法国的首都是哪里", "-"),
        ("我弟弟周六踢足球", "-"),
        ("给我推荐一家餐厅", "-"),
        ("今天天气真不错", "-"),
        ("前面路口左转", "-"),
        ("我要一个大披萨", "-"),
        ("这部电影很好看", "-"),
        ("啦啦啦啦", "-"),
    ];
    measure("bank_zh.yaml", &table, 0.9, 1);
}

#[test]
fn training_takes_milliseconds_and_gives_the_same_twice() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/flows/bank.yaml");
    #[expect(clippy::disallowed_methods, reason = "a test may time what it runs")]
    let begin = std::time::Instant::now();
    let first = Arc::new(Flow::load(&path).expect("valid"));
    let took = begin.elapsed();
    eprintln_summary(&format!("load, check and training: {took:?}"));
    assert!(took < Duration::from_secs(2), "{took:?}");
    let second = Arc::new(Flow::load(&path).expect("valid"));
    for line in ["my balance", "lost", "transfer", "open the bank"] {
        let say = |flow: &Arc<Flow>| {
            let mut chat = Chat::new(Arc::clone(flow));
            chat.start(BTreeMap::new());
            serde_json::to_string(&chat.say(line)).expect("serialisable")
        };
        assert_eq!(say(&first), say(&second));
    }
}
