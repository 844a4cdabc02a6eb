//! When a call in progress is told of a hit.

mod dialogue;

use std::sync::Arc;

use antiphon_engine_measure::{Conversation, Measures};
use antiphon_engine_qa::{HitKind, Inspector, Review, ReviewState, Verdict, agreement};
use dialogue::{AGENT, CUSTOMER, FUND, conversation, prefix, scorecard};

/// At which instant, looked at every 10 ms, each hit of a rule is told.
fn told_at(rules: &str, call: &Conversation, late: i64, rule: &str) -> Vec<i64> {
    let mut inspector = Inspector::new(Arc::new(scorecard(rules)));
    let end = call.heard.millis() as i64;
    let mut told = Vec::new();
    for until in (0..end).step_by(10) {
        let (heard, known) = prefix(call, until, late);
        let hits = inspector.hear(&heard, &Measures::of(&heard), known);
        told.extend(hits.iter().filter(|hit| hit.rule == rule).map(|_| until));
    }
    told
}

#[test]
fn words_are_told_of_when_they_are_final() {
    let turns = [
        (CUSTOMER, 0, 6000, "我想问一下你们的产品怎么样啊"),
        (AGENT, 4000, 5000, "保证收益"),
        (CUSTOMER, 9000, 9500, "谢谢"),
    ];
    let call = conversation("zh", &turns);
    assert_eq!(told_at(FUND, &call, 300, "R2"), [5300], "though the customer goes on speaking");
}

#[test]
fn a_silence_is_told_of_at_its_threshold() {
    let turns =
        [(CUSTOMER, 0, 2000, "在吗请问"), (AGENT, 14_000, 15_000, "您好"), (CUSTOMER, 16_000, 17_000, "好")];
    let call = conversation("zh", &turns);
    assert_eq!(told_at(FUND, &call, 500, "R4"), [10_000]);
    let mut inspector = Inspector::new(Arc::new(scorecard(FUND)));
    let (heard, known) = prefix(&call, 3_000, 500);
    inspector.hear(&heard, &Measures::of(&heard), known);
    assert_eq!(
        inspector.next().map(antiphon_media_frame::MediaTime::millis),
        Some(10_000),
        "it knows when to look again"
    );
}

#[test]
fn what_must_be_said_is_missed_when_its_window_closes() {
    let mut turns = vec![(AGENT, 0, 1000, "这款理财很好")];
    let rest = (0..9).map(|n| (n as usize % 2, 1500 * (n + 1), 1500 * (n + 1) + 1000, "我们来说点别的事"));
    turns.extend(rest.map(|(track, start, end, text)| (1 - track, start, end, text)));
    let call = conversation("zh", &turns);
    // Six turns after the first; the seventh begins at 10.5 s and is final 1.2 s later.
    assert_eq!(told_at(FUND, &call, 200, "R1"), [11_700]);
}

#[test]
fn what_was_said_in_time_is_never_missed() {
    let turns = [
        (AGENT, 0, 1000, "这款理财很好"),
        (CUSTOMER, 1500, 2500, "哦"),
        (AGENT, 3000, 4000, "投资有风险"),
        (CUSTOMER, 5000, 6000, "好"),
    ];
    let call = conversation("zh", &turns);
    assert_eq!(told_at(FUND, &call, 200, "R1"), [0; 0]);
}

#[test]
fn reviews_change_the_score_and_make_figures() {
    let card = scorecard(FUND);
    let call = conversation(
        "zh",
        &[(AGENT, 0, 4000, "您好我们保证收益，真的保证您收益"), (CUSTOMER, 5000, 6000, "好的")],
    );
    let mut judgement = card.judge(&call, &Measures::of(&call));
    let ids: Vec<String> =
        judgement.standing().filter(|hit| hit.kind == HitKind::Found).map(|hit| hit.id.clone()).collect();
    assert_eq!(ids.len(), 2);
    let before = judgement.score;
    let review = |hit: &str, reviewer: &str, verdict| Review {
        hit: hit.to_owned(),
        reviewer: reviewer.to_owned(),
        verdict,
        comment: None,
        at: None,
    };
    judgement.review(review(&ids[0], "ann", Verdict::Confirm)).expect("there");
    judgement.review(review(&ids[0], "bob", Verdict::Confirm)).expect("there");
    judgement.review(review(&ids[1], "ann", Verdict::Overturn)).expect("there");
    assert!((judgement.score - before - 30.0).abs() < 1e-9, "an overturned hit counts for nothing");
    judgement.review(review(&ids[1], "bob", Verdict::Comment)).expect("there");
    assert_eq!(judgement.hit(&ids[1]).expect("there").review, ReviewState::Overturned);
    assert!(judgement.review(review("R9.nothing", "ann", Verdict::Confirm)).is_err());
    let json = serde_json::to_string(&judgement).expect("JSON");
    let back = serde_json::from_str(&json).expect("read back");
    assert_eq!(judgement, back);
    let figures = agreement([&judgement]);
    let of = figures.iter().find(|figures| figures.rule == "R2").expect("figures of the rule");
    assert_eq!((of.hits, of.confirmed, of.overturned, of.precision), (2, 1, 1, Some(0.5)));
    assert_eq!((of.pairs[0].judged, of.pairs[0].agreed), (1, 1));
    judgement.review(review(&ids[1], "bob", Verdict::Overturn)).expect("there");
    assert_eq!(agreement([&judgement])[1].pairs[0].agreed, 2);
    judgement.review(review(&ids[1], "ann", Verdict::Confirm)).expect("there");
    assert!((judgement.score - before).abs() < 1e-9, "and counts again when it is confirmed");
}
