//! Why a condition did or did not hold, for people who write rules.

use std::fmt;

use antiphon_media_frame::MediaTime;
use serde::Serialize;

use crate::evaluate::{Found, Occurrence, Scene};
use crate::logic::Tri;
use crate::model::Card;
use crate::result::{HitKind, Judgement, RuleState};
use crate::wire::role_name;

/// Occurrences of one condition that are told.
const MOST_TOLD: usize = 20;

/// Why everything is as it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// In the order of the file; conditions within others come before them.
    pub conditions: Vec<ConditionStory>,
    /// In the order of the file.
    pub rules: Vec<RuleStory>,
}

/// Why a condition did or did not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConditionStory {
    /// Its name; of one within another, that one's.
    pub name: Option<String>,
    /// What it is about: `phrase`, `silence` and so on.
    pub kind: &'static str,
    /// Its line in the file.
    pub line: usize,
    /// Its column.
    pub column: usize,
    /// Whether it holds anywhere.
    pub holds: bool,
    /// Where it holds.
    pub found: Vec<Note>,
    /// Where it nearly did, and what was missing.
    pub missed: Vec<Note>,
}

/// Why a rule has hits, or none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleStory {
    /// The rule's `id`.
    pub rule: String,
    /// How it stands.
    pub state: RuleState,
    /// Its points.
    pub points: f64,
    /// In words.
    pub text: String,
}

/// A remark about a place in the conversation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Note {
    /// The turn, counted from 0.
    pub turn: Option<usize>,
    /// When.
    #[serde(serialize_with = "seconds")]
    pub start: Option<MediaTime>,
    /// What.
    pub text: String,
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn seconds<S: serde::Serializer>(at: &Option<MediaTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_some(&(at.millis() as f64 / 1000.0)),
        None => serializer.serialize_none(),
    }
}

impl Note {
    /// Remarks of one condition, at most.
    pub(crate) const MOST: usize = 50;

    pub(crate) const fn plain(text: String) -> Self {
        Self { turn: None, start: None, text }
    }

    pub(crate) fn at_turn(scene: &Scene<'_>, n: usize, text: String) -> Self {
        Self { turn: Some(n), start: scene.call.turns.get(n).map(|turn| turn.said.start), text }
    }

    pub(crate) const fn at(one: &Occurrence, text: String) -> Self {
        Self { turn: one.turn, start: Some(one.start), text }
    }
}

pub(crate) fn explain(
    card: &Card,
    scene: &Scene<'_>,
    found: &[Found],
    notes: Vec<Vec<Note>>,
    judgement: &Judgement,
) -> Explanation {
    let story = |((n, found), missed): ((usize, &Found), Vec<Note>)| {
        let condition = &card.conditions[n];
        ConditionStory {
            name: condition.name.clone(),
            kind: condition.kind.key(),
            line: condition.at.line,
            column: condition.at.column,
            holds: found.holds() == Tri::Yes,
            found: found.list.iter().take(MOST_TOLD).map(|one| Note::at(one, told(scene, one))).collect(),
            missed,
        }
    };
    let conditions = found.iter().enumerate().zip(notes).map(story).collect();
    let rules = judgement
        .rules
        .iter()
        .zip(&card.rules)
        .map(|(outcome, rule)| {
            let standing = outcome.hits.iter().filter(|hit| hit.stands()).count();
            let text = match outcome.state {
                RuleState::NotApplicable => "does not apply: its `when` does not hold".to_owned(),
                RuleState::Open => "is not decided while the conversation goes on".to_owned(),
                RuleState::Excused => {
                    let by = outcome.hits.iter().find_map(|hit| hit.excused.as_deref()).unwrap_or_default();
                    format!("is excused by `{by}`")
                }
                RuleState::Kept if rule.points > 0.0 => {
                    "earns nothing: what it asks for did not happen".to_owned()
                }
                RuleState::Kept => "is kept".to_owned(),
                RuleState::Hit => match outcome.hits.iter().find(|hit| hit.stands()).map(|hit| hit.kind) {
                    Some(HitKind::Missed) => {
                        let searched = outcome.hits.iter().flat_map(|hit| &hit.searched);
                        let places: Vec<String> =
                            searched.map(|stretch| format!("{} to {}", stretch.start, stretch.end)).collect();
                        format!("is broken: what must happen did not, from {}", places.join(", "))
                    }
                    Some(HitKind::Met) => "is met".to_owned(),
                    _ => format!("has {standing} {}", if standing == 1 { "hit" } else { "hits" }),
                },
            };
            RuleStory { rule: outcome.rule.clone(), state: outcome.state, points: outcome.points, text }
        })
        .collect();
    Explanation { conditions, rules }
}

/// What occurs, in words.
fn told(scene: &Scene<'_>, one: &Occurrence) -> String {
    let mut text = String::new();
    if let (Some(n), Some(turn)) = (one.turn, scene.turn(one)) {
        let quote = one
            .tokens
            .as_ref()
            .map_or(turn.said.text.as_str(), |tokens| scene.scanned[n].said.quote(&turn.said, tokens));
        text = format!("“{quote}”");
    }
    if let Some(role) = scene.track_role(one.track) {
        text = format!("{}{}{text}", role_name(role), if text.is_empty() { "" } else { " " });
    }
    if let Some(value) = one.value {
        let value = (value * 1e3).round() / 1e3;
        text = if text.is_empty() { value.to_string() } else { format!("{text} ({value})") };
    }
    if !one.parts.is_empty() {
        let parts: Vec<String> = one.parts.iter().take(8).map(|(_, part)| told(scene, part)).collect();
        text = parts.join(", then ");
    }
    if text.is_empty() { "the whole call".to_owned() } else { text }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.turn, self.start) {
            (Some(turn), Some(start)) => write!(f, "turn {} at {start}: {}", turn + 1, self.text),
            (None, Some(start)) => write!(f, "at {start}: {}", self.text),
            _ => f.write_str(&self.text),
        }
    }
}

/// Plain text, for a terminal.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for story in &self.conditions {
            let name = story.name.as_deref().unwrap_or("(in a rule)");
            let holds = if story.holds { "holds" } else { "does not hold" };
            writeln!(f, "{name} ({}, line {}) {holds}", story.kind, story.line)?;
            for note in &story.found {
                writeln!(f, "  + {note}")?;
            }
            for note in &story.missed {
                writeln!(f, "  - {note}")?;
            }
        }
        for rule in &self.rules {
            writeln!(f, "rule {} {} ({:+} points)", rule.rule, rule.text, rule.points)?;
        }
        Ok(())
    }
}
