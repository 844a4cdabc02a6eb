//! Conversations made by hand.
#![allow(dead_code, reason = "each test uses some of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use antiphon_engine_measure::{Conversation, Measures, Role, Stretch, Track, Turn};
use antiphon_engine_qa::{Hit, Inspector, Known, Scorecard};
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

/// What is known of a call at an instant, if words become final `late` milliseconds after they end.
pub(crate) fn prefix(call: &Conversation, until: i64, late: i64) -> (Conversation, Known) {
    let mut heard = call.clone();
    heard.finished = false;
    heard.heard = Span::from_millis(until as u64);
    let now = at(until);
    for track in &mut heard.tracks {
        track.speech.retain(|stretch| stretch.start < now);
        for stretch in &mut track.speech {
            stretch.end = stretch.end.min(now);
        }
    }
    heard.holds.retain(|hold| hold.at.start < now);
    for hold in &mut heard.holds {
        hold.at.end = hold.at.end.min(now);
    }
    let begun = call.turns.iter().filter(|turn| turn.said.start < now);
    let pending =
        begun.filter(|turn| turn.said.end.millis() + late > until).map(|turn| turn.said.start).min();
    heard.turns.retain(|turn| turn.said.end.millis() + late <= until);
    (heard, Known { voice: now, words: pending.unwrap_or(now) })
}

/// Hears a call as it goes on, at these instants and at those at which the inspector wants to, and compares what was told
/// with the judgement of the whole.
pub(crate) fn told_live(
    card: Arc<Scorecard>,
    call: &Conversation,
    measure: impl Fn(&Conversation) -> Measures,
    instants: impl IntoIterator<Item = i64>,
    late: i64,
) -> Result<Vec<Hit>, String> {
    let whole = card.judge(call, &measure(call));
    let mut inspector = Inspector::new(card);
    let mut told: Vec<Hit> = Vec::new();
    let end = call.heard.millis() as i64;
    for until in instants.into_iter().filter(|until| *until < end) {
        let (heard, known) = prefix(call, until, late);
        told.extend(inspector.hear(&heard, &measure(&heard), known));
    }
    if call.finished {
        let heard = Known::heard(call);
        told.extend(inspector.hear(call, &measure(call), heard));
        if inspector.judgement() != Some(&whole) {
            return Err("the final judgement differs".to_owned());
        }
    }
    let mut ids = std::collections::BTreeSet::new();
    for hit in &told {
        if !ids.insert(hit.id.clone()) {
            return Err(format!("{} is told twice", hit.id));
        }
        let Some(found) = whole.hit(&hit.id) else {
            return Err(format!(
                "{} was told from {} to {}, and is not in the recording",
                hit.id, hit.start, hit.end
            ));
        };
        let mut same = hit.clone();
        if same.ongoing {
            same.ongoing = false;
            same.end = found.end;
            same.value = found.value;
        }
        // Where a call ends is not known while it goes on.
        same.clip.end = found.clip.end;
        if same != *found {
            return Err(format!("{} was told as\n{hit:#?}\nand found as\n{found:#?}", hit.id));
        }
    }
    if call.finished {
        let of = whole.rules.iter().flat_map(|rule| &rule.hits).filter(|hit| hit.excused.is_none());
        if let Some(silent) = of.into_iter().find(|hit| !ids.contains(&hit.id)) {
            return Err(format!("{} was not told", silent.id));
        }
    }
    Ok(told)
}
