//! What came of a judgement, in the shape in which it is stored and sent. Times are seconds with milliseconds.

use antiphon_engine_measure::Role;
use antiphon_media_frame::{MediaTime, Pii};
use serde::{Deserialize, Serialize};

use crate::review::Review;
use crate::wire;

/// How a conversation does by a scorecard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Names the conversation.
    pub conversation: String,
    /// The scorecard's `id`.
    pub scorecard: String,
    /// The scorecard's `version`.
    pub version: String,
    /// Whether the conversation had ended. Of one that has not, only what nothing can change is told.
    pub finished: bool,
    /// The points it is worth now, reviews counted in.
    pub score: f64,
    /// Whether the score is enough and nothing fatal stands.
    pub pass: bool,
    /// Whether a fatal hit stands.
    pub fatal: bool,
    /// By what the score is made.
    pub scoring: Scoring,
    /// By group, as the scorecard has them.
    pub groups: Vec<GroupOutcome>,
    /// By rule, as the scorecard has them.
    pub rules: Vec<RuleOutcome>,
    /// Every review that has been applied, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Review>,
}

/// The scorecard's arithmetic: enough to make the score again after a review.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// How points become a score.
    pub method: Method,
    /// Where it begins.
    pub base: f64,
    /// The score that is enough.
    pub pass: f64,
    /// The lowest score, which a fatal hit gives at once.
    pub floor: f64,
    /// The highest score.
    pub ceiling: f64,
}

/// How rules become a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The base and the points of every hit.
    #[default]
    Points,
    /// Of the base, the share that the weights of the kept rules have in those of all that apply.
    Weights,
}

/// A group's part of the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupOutcome {
    /// Names it.
    pub group: String,
    /// What people call it.
    pub name: String,
    /// Points of its rules, its cap obeyed.
    pub points: f64,
    /// No more than these points count (no less, where negative).
    pub cap: Option<f64>,
    /// Its share among the groups, where the score is made by weights.
    pub weight: f64,
}

/// What a rule says of the conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleOutcome {
    /// The rule's `id`.
    pub rule: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How it stands, reviews counted in.
    pub state: RuleState,
    /// Its points, its cap obeyed.
    pub points: f64,
    /// No more than these points count (no less, where negative).
    pub cap: Option<f64>,
    /// What it counts for, where the score is made by weights.
    pub weight: f64,
    /// By start. Excused and overturned ones stay, and count for nothing.
    pub hits: Vec<Hit>,
}

/// How a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// It was kept; for a rule that gives points, they were not earned.
    Kept,
    /// It was broken, or its points were earned: a hit stands.
    Hit,
    /// Its `when` does not hold.
    NotApplicable,
    /// All its hits are excused.
    Excused,
    /// The conversation goes on, and it is not decided.
    Open,
}

/// One finding of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Names it within the judgement; the same for the same conversation, live or not.
    pub id: String,
    /// The rule's `id`.
    pub rule: String,
    /// The scorecard's `id`.
    pub scorecard: String,
    /// The scorecard's `version`.
    pub version: String,
    /// What kind of finding.
    pub kind: HitKind,
    /// Who, where it is somebody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The track it is on, where it is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<usize>,
    /// Its beginning; of what was missed, the beginning of the search.
    #[serde(with = "wire::seconds")]
    pub start: MediaTime,
    /// Its end; of what was missed, the end of the search.
    #[serde(with = "wire::seconds")]
    pub end: MediaTime,
    /// Whether it goes on, so that its end will move. Only of live hits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ongoing: bool,
    /// What was said; nothing for silences and what was missed.
    #[serde(with = "wire::words")]
    pub quote: Pii<String>,
    /// The words of the quote.
    pub words: Vec<HeardWord>,
    /// What was measured, where something was: seconds of silence or overlap, words a minute, a similarity or score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What each of the parts was, of findings that are made of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Of what was missed: where it was searched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searched: Vec<Searched>,
    /// What it takes or gives, before any cap.
    pub points: f64,
    /// Whether it makes the conversation fail by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fatal: bool,
    /// The exception that excuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excused: Option<String>,
    /// What reviewers said of it.
    pub review: ReviewState,
    /// The sound to play: the hit with a margin, within the call.
    pub clip: Clip,
    /// Whom to alert while the call is going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// What to do while the call is going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HitKind {
    /// Something happened that a rule names.
    Found,
    /// Something had to happen and did not.
    Missed,
    /// Something had to happen and did, for which there are points.
    Met,
}

/// A word of a quote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeardWord {
    /// As it was heard.
    #[serde(with = "wire::words")]
    pub text: Pii<String>,
    /// Its beginning.
    #[serde(with = "wire::seconds")]
    pub start: MediaTime,
    /// Its end.
    #[serde(with = "wire::seconds")]
    pub end: MediaTime,
    /// 0 to 1.
    pub confidence: f32,
}

/// One part of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The condition it fulfils, where that has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<usize>,
    /// Its beginning.
    #[serde(with = "wire::seconds")]
    pub start: MediaTime,
    /// Its end.
    #[serde(with = "wire::seconds")]
    pub end: MediaTime,
    /// What was said.
    #[serde(with = "wire::words")]
    pub quote: Pii<String>,
}

/// A stretch of the call in which something was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Searched {
    /// Its beginning.
    #[serde(with = "wire::seconds")]
    pub start: MediaTime,
    /// Its end.
    #[serde(with = "wire::seconds")]
    pub end: MediaTime,
    /// How many turns began in it.
    pub turns: usize,
}

/// A piece of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Its beginning.
    #[serde(with = "wire::seconds")]
    pub start: MediaTime,
    /// Its end.
    #[serde(with = "wire::seconds")]
    pub end: MediaTime,
}

/// What a rule wants done on a call in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Action {
    /// What.
    #[serde(rename = "do")]
    pub what: ActionKind,
    /// Whether a person is asked first.
    pub mode: ActionMode,
}

/// What can be done to a call in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// A supervisor hears the call.
    Listen,
    /// A supervisor is heard by the agent alone.
    Whisper,
    /// A supervisor is heard by all.
    Barge,
    /// The call ends.
    HangUp,
}

/// Whether an action is offered or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionMode {
    /// A supervisor decides.
    Offer,
    /// It is done at once.
    Take,
}

/// What reviewers said of a hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewState {
    /// Nothing yet.
    #[default]
    Open,
    /// It is right.
    Confirmed,
    /// It is wrong, and counts for nothing.
    Overturned,
}

impl Hit {
    /// Whether it counts: neither excused nor overturned.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.excused.is_none() && self.review != ReviewState::Overturned
    }
}

impl Judgement {
    /// Every hit that counts, rule by rule.
    pub fn standing(&self) -> impl Iterator<Item = &Hit> {
        self.rules.iter().flat_map(|rule| &rule.hits).filter(|hit| hit.stands())
    }

    /// The hit of this name.
    #[must_use]
    pub fn hit(&self, id: &str) -> Option<&Hit> {
        self.rules.iter().flat_map(|rule| &rule.hits).find(|hit| hit.id == id)
    }

    /// Makes points, states, score and pass from the hits that stand.
    pub(crate) fn tally(&mut self) {
        let fatal = self.standing().any(|hit| hit.fatal);
        self.fatal = fatal;
        for rule in &mut self.rules {
            let sum: f64 = rule.hits.iter().filter(|hit| hit.stands()).map(|hit| hit.points).sum();
            rule.points = capped(sum, rule.cap);
            if matches!(rule.state, RuleState::Hit | RuleState::Kept | RuleState::Excused) {
                rule.state = if rule.hits.iter().any(Hit::stands) {
                    RuleState::Hit
                } else if !rule.hits.is_empty() && rule.hits.iter().all(|hit| hit.excused.is_some()) {
                    RuleState::Excused
                } else {
                    RuleState::Kept
                };
            }
        }
        for group in &mut self.groups {
            let of = self.rules.iter().filter(|rule| rule.group.as_ref() == Some(&group.group));
            group.points = capped(of.map(|rule| rule.points).sum(), group.cap);
        }
        let raw = match self.scoring.method {
            Method::Points => {
                let alone = self.rules.iter().filter(|rule| rule.group.is_none());
                self.scoring.base
                    + self.groups.iter().map(|group| group.points).sum::<f64>()
                    + alone.map(|rule| rule.points).sum::<f64>()
            }
            Method::Weights => self.scoring.base * self.share(),
        };
        let score = if self.fatal { self.scoring.floor } else { raw };
        // Weights make endless fractions; a ten-thousandth of a point is finer than anybody counts.
        let score = (score * 1e4).round() / 1e4;
        self.score = score.clamp(self.scoring.floor, self.scoring.ceiling.max(self.scoring.floor));
        self.pass = !self.fatal && self.score >= self.scoring.pass;
    }

    /// The share of kept weight, group by group where there are groups; all of it where nothing applies.
    fn share(&self) -> f64 {
        let kept = |group: Option<&String>| {
            let mut sums = (0.0, 0.0);
            for rule in self.rules.iter().filter(|rule| rule.group.as_ref() == group) {
                let met = rule.hits.iter().filter(|hit| hit.stands()).all(|hit| hit.kind == HitKind::Met);
                let counted = match rule.state {
                    RuleState::NotApplicable | RuleState::Excused | RuleState::Open => None,
                    RuleState::Hit => Some(met),
                    RuleState::Kept => Some(true),
                };
                if let Some(counted) = counted {
                    sums.0 += if counted { rule.weight } else { 0.0 };
                    sums.1 += rule.weight;
                }
            }
            (sums.1 > 0.0).then(|| sums.0 / sums.1)
        };
        let mut parts: Vec<(f64, f64)> = Vec::new();
        parts.extend(kept(None).map(|share| (share, 1.0)));
        for group in &self.groups {
            parts.extend(kept(Some(&group.group)).map(|share| (share, group.weight)));
        }
        let all: f64 = parts.iter().map(|(_, weight)| weight).sum();
        if all > 0.0 { parts.iter().map(|(share, weight)| share * weight).sum::<f64>() / all } else { 1.0 }
    }
}

/// A sum within its cap: a negative cap is the least, a positive one the most.
fn capped(sum: f64, cap: Option<f64>) -> f64 {
    // The sum of nothing is -0.0, which nobody should read.
    let sum = sum + 0.0;
    match cap {
        Some(cap) if cap <= 0.0 => sum.max(cap),
        Some(cap) => sum.min(cap),
        None => sum,
    }
}
