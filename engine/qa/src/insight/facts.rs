//! What is kept of one call: enough for any figure, and little.

use std::collections::BTreeMap;

use antiphon_engine_measure::{Conversation, Escalation, Measures, Role, SilenceCause};
use serde::{Deserialize, Serialize};

use crate::result::{HitKind, Judgement, ReviewState, RuleState};

/// Topics kept of a call.
const TOPICS: usize = 10;
/// Characters kept of a reason.
const REASON: usize = 120;

/// How a call does by one scorecard. Its members are short in JSON, since it is stored once a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The score.
    #[serde(rename = "s")]
    pub score: f64,
    /// Whether it is enough.
    #[serde(rename = "p")]
    pub pass: bool,
    /// Whether a fatal finding stands.
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub fatal: bool,
    /// By group of rules.
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupShare>,
    /// Rules that applied, in the scorecard's order.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleFacts>,
}

/// How much of a group of rules was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupShare {
    /// What people call it; empty for rules without a group.
    #[serde(rename = "g")]
    pub group: String,
    /// Of the weight of the rules that applied, the part of those that were kept: 0 to 1.
    #[serde(rename = "s")]
    pub share: f64,
}

/// How one rule stands in one call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleFacts {
    /// The rule's `id`.
    #[serde(rename = "r")]
    pub rule: String,
    /// What people call it.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Things found that stand.
    #[serde(rename = "h", default, skip_serializing_if = "zero")]
    pub hits: u32,
    /// Things missed that stand.
    #[serde(rename = "m", default, skip_serializing_if = "zero")]
    pub missed: u32,
    /// Its points.
    #[serde(rename = "p", default, skip_serializing_if = "none")]
    pub points: f64,
    /// Findings that people confirmed.
    #[serde(rename = "c", default, skip_serializing_if = "zero")]
    pub confirmed: u32,
    /// Findings that people overturned.
    #[serde(rename = "o", default, skip_serializing_if = "zero")]
    pub overturned: u32,
}

fn zero(count: &u32) -> bool {
    *count == 0
}

fn none(points: &f64) -> bool {
    *points == 0.0
}

impl Judged {
    /// What a judgement says, reviews counted in.
    #[must_use]
    pub fn of(judgement: &Judgement) -> Self {
        let mut shares: BTreeMap<Option<&str>, (f64, f64)> = BTreeMap::new();
        let mut rules = Vec::new();
        for rule in &judgement.rules {
            let standing = || rule.hits.iter().filter(|hit| hit.stands());
            if matches!(rule.state, RuleState::NotApplicable | RuleState::Excused | RuleState::Open) {
                continue;
            }
            let kept = standing().all(|hit| hit.kind == HitKind::Met);
            let (of, all) = shares.entry(rule.group.as_deref()).or_default();
            *all += rule.weight;
            *of += if kept { rule.weight } else { 0.0 };
            let count = |kind: HitKind| standing().filter(|hit| hit.kind == kind).count();
            let said = |state: ReviewState| rule.hits.iter().filter(|hit| hit.review == state).count();
            let short = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            rules.push(RuleFacts {
                rule: rule.rule.clone(),
                name: rule.name.clone(),
                hits: short(count(HitKind::Found)),
                missed: short(count(HitKind::Missed)),
                points: rule.points,
                confirmed: short(said(ReviewState::Confirmed)),
                overturned: short(said(ReviewState::Overturned)),
            });
        }
        let name = |group: Option<&str>| {
            let known = judgement.groups.iter().find(|known| Some(known.group.as_str()) == group);
            known.map(|known| known.name.clone()).or(group.map(str::to_owned)).unwrap_or_default()
        };
        let share = |(group, (of, all)): (Option<&str>, (f64, f64))| {
            (all > 0.0).then(|| GroupShare { group: name(group), share: of / all })
        };
        Self {
            score: judgement.score,
            pass: judgement.pass,
            fatal: judgement.fatal,
            groups: shares.into_iter().filter_map(share).collect(),
            rules,
        }
    }
}

/// What was measured of a call. Times are seconds, shares 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// How long it is.
    pub length: f64,
    /// The agent's part of the talking.
    pub agent_talk: Option<f32>,
    /// The part of it, holds left out, in which nobody speaks.
    pub silence: f32,
    /// The longest silence off hold.
    pub longest_silence: f32,
    /// How long it was on hold.
    pub hold: f32,
    /// How often the agent interrupted.
    pub agent_interrupts: u32,
    /// How often the customer did.
    pub customer_interrupts: u32,
    /// Of the customer's most agitated turn.
    pub agitation: Option<f32>,
    /// The agent's mean time to answer.
    pub response: Option<f32>,
    /// The agent's words (characters) a minute.
    pub rate: Option<f32>,
    /// What it was about, the weightiest first, in small letters.
    pub topics: Vec<String>,
    /// Why the customer called, in their own words, cut short.
    pub reason: Option<String>,
    /// The topic of the turn that tells the reason.
    pub about: Option<String>,
    /// [`Escalation`]'s score.
    pub risk: f32,
    /// Its features' shares.
    pub features: BTreeMap<String, f32>,
}

impl Measured {
    /// What the conversation's measures say.
    #[must_use]
    pub fn of(conversation: &Conversation, measures: &Measures) -> Self {
        let role = |track: usize| conversation.tracks.get(track).map(|track| track.role);
        let agent = measures.speakers.iter().find(|speaker| speaker.role == Role::Agent);
        let seconds = |at: antiphon_engine_measure::Stretch| at.end.since(at.start).secs_f64();
        let length = conversation.heard.secs_f64();
        let hold: f64 = conversation.holds.iter().map(|hold| seconds(hold.at)).sum();
        let silences = measures.silences.iter().filter(|silence| silence.cause != SilenceCause::Hold);
        let (mut silent, mut longest) = (0.0, 0.0f64);
        for silence in silences {
            silent += seconds(silence.at);
            longest = longest.max(seconds(silence.at));
        }
        let interrupts = |who: Role| {
            let count = measures.interruptions.iter().filter(|one| role(one.by) == Some(who)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let customers = conversation.turns.iter().zip(&measures.agitation);
        let customers = customers.filter(|(turn, _)| role(turn.track) == Some(Role::Customer));
        let agitation = customers.map(|(_, found)| found.score).reduce(f32::max);
        let reason = measures.reason.as_ref();
        let about = reason.and_then(|reason| {
            measures.topics.iter().find(|topic| topic.turns.contains(&reason.turn)).map(|topic| &topic.text)
        });
        let escalation = Escalation::of(conversation, measures);
        Self {
            length,
            agent_talk: agent.map(|agent| agent.ratio),
            silence: (silent / (length - hold).max(0.001)).clamp(0.0, 1.0) as f32,
            longest_silence: longest as f32,
            hold: hold as f32,
            agent_interrupts: interrupts(Role::Agent),
            customer_interrupts: interrupts(Role::Customer),
            agitation,
            response: agent.and_then(|agent| agent.response).map(|span| span.secs_f64() as f32),
            rate: agent.and_then(|agent| agent.rate),
            topics: measures.topics.iter().take(TOPICS).map(|topic| topic.text.to_lowercase()).collect(),
            reason: reason.map(|reason| reason.text.chars().take(REASON).collect()),
            about: about.map(|text| text.to_lowercase()),
            risk: thousandths(escalation.score),
            features: escalation
                .features
                .into_iter()
                .filter(|(_, share)| *share >= 0.0005)
                .map(|(name, share)| (name.to_owned(), thousandths(share)))
                .collect(),
        }
    }
}

/// Finer than anybody reads, and short in JSON.
fn thousandths(value: f32) -> f32 {
    (value * 1_000.0).round() / 1_000.0
}
