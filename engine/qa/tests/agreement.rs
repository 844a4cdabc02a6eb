//! A call in progress is told the same as its recording, whatever is said and however late its words come.

mod dialogue;

use std::sync::Arc;

use antiphon_engine_measure::{Conversation, Hold, Measures, Role, Stretch};
use dialogue::{AGENT, CUSTOMER, at, conversation, scorecard, told_live};
use proptest::prelude::*;

/// Everything that the language has, over a few words.
const RULES: &str = r#"
scorecard: {id: all, version: 1}
groups: [{id: g, cap: -20}]
conditions:
  a: {phrase: 甲}
  b: {phrase: 乙, speaker: agent}
  c: {phrase: 丙, speaker: customer}
  d: {regex: "丁+", negated: count}
  not_a: {phrase: 甲, negated: only}
  near: {near: {a: 甲, b: 乙, max_tokens: 2}}
  like: {similar: 甲乙丙, min: .6}
  sound: {pinyin: jia yi}
  all_turn: {all: [甲, 乙]}
  all_call: {all: [{condition: a}, {condition: c}], in: call}
  none_turn: {none: [甲, 乙, 丙], speaker: agent}
  none_call: {none: [{phrase: 丁}], in: call}
  after_turns: {phrase: 乙, window: {after: a, turns: 2}}
  after_time: {phrase: 乙, window: {after: a, within: 4s}}
  before_turns: {phrase: 乙, window: {before: c, turns: 2}}
  before_time: {phrase: 乙, window: {before: c, within: 4s}}
  around: {phrase: 丁, window: {around: a, turns: 1}}
  first_of: {phrase: 丙, window: {after: a, which: first, turns: 3}}
  last_of: {phrase: 丙, window: {after: a, which: last}}
  opening: {phrase: 甲, window: {first: 6s}}
  opening_turns: {phrase: 甲, window: {first: 3 turns}}
  opening_share: {phrase: 甲, window: {first: 30%}}
  ending: {phrase: 甲, window: {last: 2 turns}}
  often: {phrase: 甲, count_at_least: 2, count_within: 8s}
  steps: {sequence: [a, b, c], max_gap_turns: 4}
  quiet: {silence: {longer_than: 2s, caused_by: agent}}
  any_quiet: {silence: {longer_than: 1500ms}}
  thinks: {silence: {longer_than: 1s, within: customer}}
  held: {silence: {longer_than: 1s, include: hold}}
  cut: {interrupt: {by: agent, overlap_at_least: 300ms}}
  cuts: {interrupt: {count_at_least: 2, include: backchannel}}
  fast: {rate: {above: 250, min_chars: 2}}
  angry: {emotion: {at_least: .2, sustained: 1s}}
  again: {repeat: {similarity: .6, within_turns: 4}}
  long: {duration: {longer_than: 12s}}
  talk: {duration: {of: turn, longer_than: 2s}}
  on_hold: {duration: {of: hold, longer_than: 1s}}
  late: {duration: {of: response, longer_than: 1s}}
  yes: {entity: {kind: yes_no}}
  queue: {metadata: {queue: sales}}
  logic: {expr: "(a || b) && !d"}
  after_quiet: {phrase: 甲, window: {after: any_quiet, within: 3s}}
rules:
  - {id: never, never: a || b, points: -1, group: g}
  - {id: excused, never: c, points: -1, except: [{expr: a, turns: 1}]}
  - {id: excused_time, never: c, points: -1, except: [{expr: b, within: 2s}]}
  - {id: excused_call, never: b, points: -1, except: d}
  - {id: turn, never: d, per: turn, points: -1}
  - {id: call, never: a, per: call, points: -1}
  - {id: must, must: after_turns, when: a, points: -1}
  - {id: must_time, must: after_time, when: a, points: -1}
  - {id: must_first, must: first_of, when: a, points: -1}
  - {id: must_opening, must: opening, points: -1}
  - {id: must_turns, must: opening_turns, points: 2}
  - {id: must_quiet, must: after_quiet, when: any_quiet, points: -1}
  - {id: must_steps, must: steps, points: -1}
  - {id: expr, expr: "a && b || c && !d", points: -1}
  - {id: expr2, expr: "logic && (near || like)", points: -1}
  - {id: x1, never: near || like || sound || not_a, points: -1}
  - {id: x2, never: all_turn || none_turn, points: -1}
  - {id: x3, expr: all_call, points: -1}
  - {id: x4, expr: none_call, points: -1}
  - {id: x5, never: before_turns || before_time || around, points: -1}
  - {id: x6, never: last_of || opening_share || ending || opening, points: -1}
  - {id: x7, never: often, points: -1}
  - {id: x8, never: quiet || held, points: -1}
  - {id: x9, never: any_quiet, points: -1}
  - {id: x10, never: thinks, points: -1}
  - {id: x11, never: cut, points: -1}
  - {id: x12, never: cuts, points: -1}
  - {id: x13, never: fast, points: -1}
  - {id: x14, never: angry, points: -1}
  - {id: x15, never: again, points: -1}
  - {id: x16, never: long, points: -1}
  - {id: x17, never: talk || on_hold, points: -1}
  - {id: x18, never: late, points: -1}
  - {id: x19, never: yes, points: -1, when: queue}
"#;

/// Two who speak, interrupt, fall silent and are put on hold.
fn calls() -> impl Strategy<Value = Conversation> {
    let words = prop::sample::select(vec![
        "甲",
        "乙",
        "丙",
        "丁",
        "不甲",
        "甲乙",
        "乙啊甲",
        "丁丁",
        "嗯",
        "好的",
        "是的",
        "投诉",
        "请稍等",
        "甲乙丙",
        "我们说点别的事",
    ]);
    let turn = (0..2usize, 0..4_000i64, 200..3_000i64, prop::collection::vec(words, 1..4));
    (
        prop::collection::vec(turn, 1..14),
        prop::option::of((0..20_000i64, 500..5_000i64)),
        0..4_000i64,
        any::<bool>(),
    )
        .prop_map(|(turns, hold, rest, sales)| {
            let mut ends = [0i64; 2];
            let mut list: Vec<(usize, i64, i64, String)> = Vec::new();
            for (track, pause, long, words) in turns {
                // From a little before the other ends to long after.
                let start = (ends[1 - track] + pause - 1_500).max(ends[track] + 40).max(0);
                ends[track] = start + long;
                list.push((track, start, start + long, words.concat()));
            }
            let borrowed: Vec<(usize, i64, i64, &str)> =
                list.iter().map(|(track, start, end, text)| (*track, *start, *end, text.as_str())).collect();
            let mut call = conversation("zh", &borrowed);
            call.heard =
                antiphon_media_frame::Span::from_millis((ends[AGENT].max(ends[CUSTOMER]) + rest) as u64);
            if let Some((start, long)) = hold {
                call.holds.push(Hold {
                    at: Stretch { start: at(start), end: at(start + long) },
                    by: Some(Role::Agent),
                });
                let end = antiphon_media_frame::Span::from_millis((start + long) as u64);
                call.heard = call.heard.max(end);
            }
            if sales {
                call.metadata.insert("queue".to_owned(), "sales".to_owned());
            }
            call
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn live_and_batch_agree_on_every_prefix(call in calls(), step in 50..900i64, late in 0..1_500i64) {
        let card = Arc::new(scorecard(RULES));
        let end = call.heard.millis() as i64;
        let instants = (1..).map(|n| n * step).take_while(|until| *until < end);
        if let Err(error) = told_live(card, &call, Measures::of, instants, late) {
            return Err(TestCaseError::fail(error));
        }
    }
}
