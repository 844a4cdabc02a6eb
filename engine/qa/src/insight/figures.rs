//! Sums that become figures.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::{Judged, Measured, RuleFacts};

/// From here on a call is worth a supervisor's ear.
const RISKY: f32 = 0.7;

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.sum += value;
            self.count += 1;
        }
    }

    fn add_some(&mut self, value: Option<f32>) {
        value.into_iter().for_each(|value| self.add(f64::from(value)));
    }

    fn get(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// Calls being counted.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    calls: HashSet<u64>,
    scores: Vec<f64>,
    passed: u64,
    fatal: u64,
    hits: u64,
    missed: u64,
    groups: BTreeMap<String, Mean>,
    length: Mean,
    agent_talk: Mean,
    silence: Mean,
    longest_silence: Mean,
    hold: Mean,
    agent_interrupts: Mean,
    customer_interrupts: Mean,
    agitation: Mean,
    response: Mean,
    rate: Mean,
    risk: Mean,
    risky: u64,
}

/// What many calls come to. Means of nothing are `None`; times are seconds, shares and rates 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Calls, each once.
    pub calls: u64,
    /// Judgements: a call by two scorecards has two.
    pub scored: u64,
    /// Mean of the scores.
    pub mean_score: Option<f64>,
    /// Their median.
    pub median_score: Option<f64>,
    /// The part of the judgements that pass.
    pub pass_rate: Option<f64>,
    /// Judgements with a fatal finding.
    pub fatal: u64,
    /// Things found that stand.
    pub hits: u64,
    /// Things missed that stand.
    pub missed: u64,
    /// Mean length of a call.
    pub length: Option<f64>,
    /// Mean of the agent's part of the talking.
    pub agent_talk: Option<f64>,
    /// Mean part of a call in which nobody speaks, holds left out.
    pub silence: Option<f64>,
    /// Mean of the calls' longest silences.
    pub longest_silence: Option<f64>,
    /// Mean time on hold.
    pub hold: Option<f64>,
    /// Interruptions by the agent, a call.
    pub agent_interrupts: Option<f64>,
    /// Interruptions by the customer, a call.
    pub customer_interrupts: Option<f64>,
    /// Mean of the customers' most agitated turns.
    pub agitation: Option<f64>,
    /// Mean of the agent's mean time to answer.
    pub response: Option<f64>,
    /// Mean of the agent's words (characters) a minute.
    pub rate: Option<f64>,
    /// Mean risk of escalation.
    pub risk: Option<f64>,
    /// Calls whose risk is 0.7 or more.
    pub at_risk: u64,
    /// The ability profile: by group of rules, in alphabetical order.
    pub abilities: Vec<Ability>,
}

/// How well a group of rules is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ability {
    /// The group's name; empty for rules without one.
    pub group: String,
    /// Mean share of kept weight, 0 to 1.
    pub share: f64,
    /// Judgements in which a rule of it applied.
    pub scored: u64,
}

impl Figures {
    /// Counts a call by one scorecard. What was measured counts once a call.
    pub fn add(&mut self, call: u64, judged: &Judged, measured: &Measured) {
        self.scores.push(judged.score);
        self.passed += u64::from(judged.pass);
        self.fatal += u64::from(judged.fatal);
        for rule in &judged.rules {
            self.hits += u64::from(rule.hits);
            self.missed += u64::from(rule.missed);
        }
        for group in &judged.groups {
            match self.groups.get_mut(&group.group) {
                Some(mean) => mean.add(group.share),
                None => self.groups.entry(group.group.clone()).or_default().add(group.share),
            }
        }
        if !self.calls.insert(call) {
            return;
        }
        self.length.add(measured.length);
        self.agent_talk.add_some(measured.agent_talk);
        self.silence.add(f64::from(measured.silence));
        self.longest_silence.add(f64::from(measured.longest_silence));
        self.hold.add(f64::from(measured.hold));
        self.agent_interrupts.add(f64::from(measured.agent_interrupts));
        self.customer_interrupts.add(f64::from(measured.customer_interrupts));
        self.agitation.add_some(measured.agitation);
        self.response.add_some(measured.response);
        self.rate.add_some(measured.rate);
        self.risk.add(f64::from(measured.risk));
        self.risky += u64::from(measured.risk >= RISKY);
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.len() as u64
    }

    pub(super) fn mean_score(&self) -> Option<f64> {
        let count = self.scores.len();
        (count > 0).then(|| round(self.scores.iter().sum::<f64>() / count as f64))
    }

    /// What has come together.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let scored = self.scores.len() as u64;
        let get = |mean: Mean| mean.get().map(round);
        Summary {
            calls: self.calls(),
            scored,
            mean_score: self.mean_score(),
            median_score: median(&self.scores).map(round),
            pass_rate: (scored > 0).then(|| round(self.passed as f64 / scored as f64)),
            fatal: self.fatal,
            hits: self.hits,
            missed: self.missed,
            length: get(self.length),
            agent_talk: get(self.agent_talk),
            silence: get(self.silence),
            longest_silence: get(self.longest_silence),
            hold: get(self.hold),
            agent_interrupts: get(self.agent_interrupts),
            customer_interrupts: get(self.customer_interrupts),
            agitation: get(self.agitation),
            response: get(self.response),
            rate: get(self.rate),
            risk: get(self.risk),
            at_risk: self.risky,
            abilities: self
                .groups
                .iter()
                .filter_map(|(group, mean)| {
                    Some(Ability { group: group.clone(), share: round(mean.get()?), scored: mean.count })
                })
                .collect(),
        }
    }
}

/// One rule being counted.
#[derive(Clone, Debug, Default)]
pub struct RuleFigures {
    sums: RuleSummary,
}

/// What a rule came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuleSummary {
    /// What people call it.
    pub name: Option<String>,
    /// Judgements to which it applied.
    pub applied: u64,
    /// Judgements in which it found something that stands.
    pub calls_hit: u64,
    /// Their part of those to which it applied.
    pub hit_rate: Option<f64>,
    /// Things found that stand.
    pub hits: u64,
    /// Judgements in which something is missed that stands.
    pub calls_missed: u64,
    /// Their part of those to which it applied.
    pub missed_rate: Option<f64>,
    /// All of its points.
    pub points: f64,
    /// Findings that people confirmed.
    pub confirmed: u64,
    /// Findings that people overturned, which count nowhere else.
    pub overturned: u64,
}

impl RuleFigures {
    /// Counts one judgement to which the rule applied.
    pub fn add(&mut self, rule: &RuleFacts) {
        let sums = &mut self.sums;
        // The least, so that the order of calls does not matter.
        if let Some(name) = &rule.name
            && sums.name.as_ref().is_none_or(|known| name < known)
        {
            sums.name = Some(name.clone());
        }
        sums.applied += 1;
        sums.calls_hit += u64::from(rule.hits > 0);
        sums.hits += u64::from(rule.hits);
        sums.calls_missed += u64::from(rule.missed > 0);
        sums.points += rule.points;
        sums.confirmed += u64::from(rule.confirmed);
        sums.overturned += u64::from(rule.overturned);
    }

    pub(super) fn summary(&self) -> RuleSummary {
        let of = |count: u64| (self.sums.applied > 0).then(|| round(count as f64 / self.sums.applied as f64));
        RuleSummary {
            hit_rate: of(self.sums.calls_hit),
            missed_rate: of(self.sums.calls_missed),
            points: round(self.sums.points),
            ..self.sums.clone()
        }
    }
}

/// The mean of the two in the middle where their number is even.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// A ten-thousandth is finer than anybody reads, and hides in which order sums were made.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4 + 0.0
}
