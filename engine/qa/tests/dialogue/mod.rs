//! Conversations made by hand.
#![allow(dead_code, reason = "each test uses some of it")]

use std::collections::BTreeMap;
use std::path::Path;

use antiphon_engine_measure::{Conversation, Role, Stretch, Track, Turn};
use antiphon_engine_qa::Scorecard;
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance, Word};

pub(crate) const AGENT: usize = 0;
pub(crate) const CUSTOMER: usize = 1;

pub(crate) fn at(ms: i64) -> MediaTime {
    MediaTime::from_millis(ms)
}

/// Agent on track 0, customer on track 1; each turn is track, start, end in milliseconds and words.
pub(crate) fn conversation(language: &str, turns: &[(usize, i64, i64, &str)]) -> Conversation {
    let mut tracks: Vec<Track> =
        [Role::Agent, Role::Customer].map(|role| Track { role, speech: Vec::new() }).to_vec();
    let mut list: Vec<Turn> = turns
        .iter()
        .map(|(track, start, end, text)| {
            tracks[*track].speech.push(Stretch { start: at(*start), end: at(*end) });
            let units: Vec<String> = antiphon_engine_flow::tokens_at(text)
                .into_iter()
                .map(|token| text[token.at].to_owned())
                .collect();
            let step = (end - start) / units.len().max(1) as i64;
            let word = |(n, text): (usize, String)| {
                let from = start + n as i64 * step;
                Word { text, start: at(from), end: at(from + step), confidence: 0.9 }
            };
            let words = units.into_iter().enumerate().map(word).collect();
            let said = Utterance {
                text: (*text).to_owned(),
                words,
                start: at(*start),
                end: at(*end),
                confidence: 0.9,
                language: None,
            };
            Turn { track: *track, said, tone: None }
        })
        .collect();
    list.sort_by_key(|turn| (turn.said.start, turn.track));
    let end = turns.iter().map(|(_, _, end, _)| *end).max().unwrap_or(0);
    Conversation {
        id: "test".to_owned(),
        language: Language::parse(language).expect("a tag"),
        tracks,
        turns: list,
        holds: Vec::new(),
        heard: Span::from_millis(end as u64),
        finished: true,
        metadata: BTreeMap::new(),
    }
}

pub(crate) fn scorecard(text: &str) -> Scorecard {
    Scorecard::read(text, Path::new("rules.yaml")).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) const FUND: &str = r#"
scorecard: {id: fund_sale, version: 7, base: 100, pass: 80}
conditions:
  risk: {any: [{phrase: "投资有风险"}, {similar: "不保证本金", min: .82}, {pinyin: "bubaoben"}], speaker: agent, window: {after: product, turns: 6}}
  product:   {regex: "理财|基金", not_regex: "不买", speaker: agent}
  guarantee: {near: {a: "保证", b: "收益", max_tokens: 6, ordered: true}, speaker: agent}
  dead_air:  {silence: {longer_than: 8s, caused_by: agent, exclude: hold}}
  talk_over: {interrupt: {by: agent, speaking_at_least: 1s, overlap_at_least: 500ms, exclude: backchannel, count_at_least: 2}}
  fast:      {rate: {speaker: agent, unit: chars_per_min, above: 300, min_chars: 10}}
  angry:     {emotion: {speaker: customer, label: anger, at_least: .7, sustained: 3s}}
  greet: 您好
  confirm: {phrase: ["确认", "好的"], speaker: customer}
  script:    {sequence: [greet, product, confirm], max_gap_turns: 20}
  loop:      {repeat: {speaker: agent, within_turns: 5, similarity: .8}}
rules:
  - {id: R1, must: risk, when: product, points: -20, fatal: true}
  - {id: R2, never: guarantee, points: -30, alert: supervisor, action: {take: barge}}
  - {id: R3, expr: "talk_over && !angry", points: -5, cap: -10}
  - {id: R4, never: dead_air, points: -5}
  - {id: R5, must: script, points: -1}
  - {id: R6, never: fast || loop, points: -2}
"#;
