//! How likely a call is to become a complaint: a sum of stated features, not a trained predictor.
//!
//! Every feature is 0 to 1 and has a weight, as those of agitation have; together they make `1 - Π(1 - weight · feature)`,
//! and the shares of the features add up to the score.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use antiphon_media_frame::Span;
use serde::Serialize;

use crate::agitation::{denied, together};
use crate::units::{Phrases, Text};
use crate::{Conversation, Measures, Role, SilenceCause};

const ASKS: f32 = 0.75;
const AGITATION: f32 = 0.6;
const UNSETTLED: f32 = 0.4;
const REPEATS: f32 = 0.35;
const INTERRUPTS: f32 = 0.25;
const HOLDS: f32 = 0.3;
const WAITS: f32 = 0.2;

/// What counts in full: so many repeated turns and interruptions of the customer; so long on hold and without an answer.
const FULL_REPEATS: f32 = 3.0;
const FULL_INTERRUPTS: f32 = 4.0;
const HOLD_MS: [f32; 2] = [30_000.0, 240_000.0];
const WAIT_MS: [f32; 2] = [5_000.0, 30_000.0];
/// What the first time one of the words takes of what is left.
const ASKED: f32 = 0.7;
/// Turns of the customer that tell how the call ended.
const LAST: usize = 3;

/// Asking for somebody above, for a complaint, for the law.
const WORDS: &[&str] = &[
    "投诉",
    "主管",
    "经理",
    "领导",
    "负责人",
    "上级",
    "举报",
    "起诉",
    "律师",
    "法院",
    "报警",
    "媒体",
    "曝光",
    "消协",
    "银保监",
    "工信部",
    "监管",
    "12315",
    "12378",
    "12345",
    "销户",
    "supervisor",
    "manager",
    "complaint",
    "complain",
    "complaints",
    "someone else",
    "your boss",
    "in charge",
    "lawyer",
    "attorney",
    "sue",
    "legal action",
    "ombudsman",
    "regulator",
    "trading standards",
    "better business bureau",
    "social media",
    "the press",
    "close my account",
    "cancel everything",
    "never again",
];

/// How likely a call is to become a complaint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Escalation {
    /// 0 to 1: it ranks calls that are worth hearing, and is no probability.
    pub score: f32,
    /// Each feature's share of the score, by name. They add up to it.
    pub features: BTreeMap<&'static str, f32>,
}

impl Escalation {
    /// What the conversation tells, with its measures. Where no track is a customer's, everybody but the agent is.
    ///
    /// Features and weights: `asks` 0.75 (words such as supervisor or 投诉), `agitation` 0.6 (of the customer's most agitated
    /// turn), `unsettled` 0.4 (the most agitated of the last three), `repeats` 0.35 (three count in full), `interrupts` 0.25
    /// (four), `holds` 0.3 (all of them together, from 30 s, in full at 4 min), `waits` 0.2 (the longest silence that the
    /// agent owed, from 5 s, in full at 30 s).
    #[must_use]
    pub fn of(conversation: &Conversation, measures: &Measures) -> Self {
        let known = conversation.tracks.iter().any(|track| track.role == Role::Customer);
        let customers = |track: usize| {
            let role = conversation.tracks.get(track).map(|track| track.role);
            role.is_some_and(|role| if known { role == Role::Customer } else { role != Role::Agent })
        };
        let turns: Vec<usize> =
            (0..conversation.turns.len()).filter(|&turn| customers(conversation.turns[turn].track)).collect();
        let agitation = |turn: usize| measures.agitation.get(turn).map_or(0.0, |found| found.score);
        let highest = |turns: &[usize]| turns.iter().map(|&turn| agitation(turn)).fold(0.0, f32::max);
        let repeated = {
            let mut again: Vec<usize> = measures.repeats.iter().map(|repeat| repeat.turn).collect();
            again.dedup();
            again.into_iter().filter(|turn| turns.binary_search(turn).is_ok()).count()
        };
        let interrupts = measures.interruptions.iter().filter(|one| customers(one.by)).count();
        let millis = |span: Span| span.millis() as f32;
        let holds: f32 = conversation.holds.iter().map(|hold| millis(hold.at.end.since(hold.at.start))).sum();
        // Nobody waits any more at the end of a call.
        let waited = |cause: SilenceCause| !matches!(cause, SilenceCause::Hold | SilenceCause::Closing);
        let owed = measures.silences.iter();
        let owed = owed.filter(|silence| silence.owed == Some(Role::Agent) && waited(silence.cause));
        let waits = owed.map(|silence| millis(silence.at.end.since(silence.at.start))).fold(0.0, f32::max);
        let between = |value: f32, [from, to]: [f32; 2]| (value - from) / (to - from);
        let (score, features) = together(&[
            ("asks", ASKS, Some(asks(conversation, &turns))),
            ("agitation", AGITATION, Some(highest(&turns))),
            ("unsettled", UNSETTLED, Some(highest(&turns[turns.len().saturating_sub(LAST)..]))),
            ("repeats", REPEATS, Some(repeated as f32 / FULL_REPEATS)),
            ("interrupts", INTERRUPTS, Some(interrupts as f32 / FULL_INTERRUPTS)),
            ("holds", HOLDS, Some(between(holds, HOLD_MS))),
            ("waits", WAITS, Some(between(waits, WAIT_MS))),
        ]);
        Self { score, features }
    }
}

/// 0 to 1: each turn with such words takes its part of what is left, unless it denies them.
fn asks(conversation: &Conversation, turns: &[usize]) -> f32 {
    static PHRASES: LazyLock<Phrases> = LazyLock::new(|| Phrases::new(WORDS.iter().copied()));
    let mut calm = 1.0;
    for &turn in turns {
        let text = Text::new(&conversation.turns[turn].said.text);
        if PHRASES.found(&text).any(|(_, at)| !denied(&text, at.start)) {
            calm *= 1.0 - ASKED;
        }
    }
    1.0 - calm
}
