//! The example of the rule language, judged.

mod dialogue;

use antiphon_engine_measure::Measures;
use antiphon_engine_qa::{ActionKind, ActionMode, HitKind, Judgement, RuleState, Scorecard};
use dialogue::{AGENT, CUSTOMER, FUND, conversation, scorecard};

fn judged(card: &Scorecard, turns: &[(usize, i64, i64, &str)]) -> Judgement {
    let call = conversation("zh", turns);
    card.judge(&call, &Measures::of(&call))
}

#[test]
fn a_guarantee_is_a_hit_with_all_its_evidence() {
    let card = scorecard(FUND);
    let judgement = judged(
        &card,
        &[
            (AGENT, 0, 2000, "您好，这款理财保证您的收益"),
            (CUSTOMER, 2500, 3000, "确认一下"),
            (AGENT, 3500, 5000, "投资有风险"),
        ],
    );
    let hit = judgement.hit("R2.0.996.6").unwrap_or_else(|| panic!("{judgement:#?}"));
    assert_eq!(hit.quote.expose(), "保证您的收益");
    assert_eq!((hit.start.millis(), hit.end.millis()), (996, 1992));
    assert_eq!(hit.words.len(), 6);
    assert_eq!(hit.kind, HitKind::Found);
    assert_eq!(hit.alert.as_deref(), Some("supervisor"));
    let action = hit.action.expect("an action");
    assert_eq!((action.what, action.mode), (ActionKind::Barge, ActionMode::Take));
    assert_eq!(judgement.score, 68.0, "and it is said too fast");
    assert!(!judgement.pass && !judgement.fatal);
    let json = serde_json::to_string(&judgement).expect("JSON");
    let back: Judgement = serde_json::from_str(&json).expect("read back");
    assert_eq!(back, judgement);
}

#[test]
fn what_is_missed_carries_where_it_was_searched() {
    let card = scorecard(FUND);
    let judgement = judged(
        &card,
        &[
            (AGENT, 0, 2000, "您好，这款理财很好，我们不保证收益"),
            (CUSTOMER, 2500, 3000, "好的谢谢"),
            (AGENT, 3500, 5000, "再见"),
        ],
    );
    let hit = judgement.hit("R1.missed").unwrap_or_else(|| panic!("{judgement:#?}"));
    assert_eq!(hit.kind, HitKind::Missed);
    assert_eq!(hit.searched.len(), 1);
    assert_eq!(hit.searched[0].end.millis(), 5000);
    assert_eq!(hit.track, Some(AGENT));
    assert!(judgement.fatal && !judgement.pass);
    assert_eq!(judgement.score, 0.0);
    assert_eq!(judgement.rules[1].state, RuleState::Kept, "a negated guarantee is none");
}
