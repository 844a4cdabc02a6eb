//! The agent's one ordered stream.

use antiphon_engine_knowledge::Source;
use antiphon_engine_measure::Role;
use antiphon_media_frame::{MediaTime, Pii};
use serde::{Deserialize, Serialize, Serializer};

/// One thing that the agent's client is told; `docs/schemas/assist.json` describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AssistEvent {
    /// Counts from 1 without a hole.
    pub number: u64,
    /// When, on the call's clock. Seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub at: MediaTime,
    /// What.
    #[serde(flatten)]
    pub body: AssistBody,
}

/// What an agent is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum AssistBody {
    /// Somebody says something. Interim words replace those before them on the same track.
    #[serde(rename = "assist.words")]
    Words {
        /// Who.
        by: Role,
        /// The conversation's track.
        track: usize,
        /// The words.
        #[serde(serialize_with = "exposed")]
        text: Pii<String>,
        /// When the first begins. Seconds in JSON.
        #[serde(serialize_with = "seconds")]
        start: MediaTime,
        /// Whether they will not be revised.
        #[serde(rename = "final")]
        fixed: bool,
    },
    /// Knowledge that fits what was said.
    #[serde(rename = "assist.suggestion")]
    Suggestion {
        /// Names it in what follows, from 1.
        id: u32,
        /// The question it answers, or the headings it stands under.
        title: String,
        /// The whole answer.
        text: String,
        /// The part of it that fits best.
        snippet: String,
        /// Where it stands.
        source: Source,
        /// How well it fits, 0 to 1.
        score: f32,
        /// The words that it was found by.
        #[serde(serialize_with = "exposed")]
        heard: Pii<String>,
    },
    /// A suggestion is not to be shown any longer.
    #[serde(rename = "assist.withdrawn")]
    Withdrawn {
        /// Which.
        id: u32,
        /// Why.
        reason: Withdrawal,
    },
    /// The script's next step.
    #[serde(rename = "assist.step")]
    Step {
        /// Its name in the book.
        step: String,
        /// What to say or do.
        say: String,
        /// Counted from 1.
        position: usize,
        /// How many the script has.
        of: usize,
    },
    /// A step of the script is done.
    #[serde(rename = "assist.step_done")]
    StepDone {
        /// Its name in the book.
        step: String,
    },
    /// Nothing of the script is left that applies.
    #[serde(rename = "assist.script_done")]
    ScriptDone,
    /// A rule of inspection was hit.
    #[serde(rename = "assist.warning")]
    Warning {
        /// The rule.
        rule: String,
        /// What people call it.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Who, where it is somebody's.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<Role>,
        /// What was said, where words were.
        #[serde(serialize_with = "exposed")]
        quote: Pii<String>,
        /// Its beginning. Seconds in JSON.
        #[serde(serialize_with = "seconds")]
        start: MediaTime,
        /// Its end. Seconds in JSON.
        #[serde(serialize_with = "seconds")]
        end: MediaTime,
        /// Whether it makes the call fail by itself.
        fatal: bool,
    },
    /// Something is known of the customer.
    #[serde(rename = "assist.slot")]
    Slot {
        /// What.
        name: String,
        /// Its value.
        #[serde(serialize_with = "exposed")]
        value: Pii<String>,
    },
    /// After the call: what it was about.
    #[serde(rename = "assist.summary")]
    Summary {
        /// Why the customer called, in their own words.
        #[serde(serialize_with = "exposed", skip_serializing_if = "unknown")]
        reason: Pii<Option<String>>,
        /// What it was about, the weightiest first.
        #[serde(serialize_with = "exposed")]
        topics: Pii<Vec<String>>,
        /// What tells the most, in order.
        lines: Vec<Line>,
    },
    /// After the call: how it may be filed, in the book's order.
    #[serde(rename = "assist.disposition")]
    Disposition {
        /// The choices that fit; maybe none.
        choices: Vec<Choice>,
    },
    /// The agent said whether a suggestion helped.
    #[serde(rename = "assist.feedback")]
    Feedback {
        /// Which.
        id: u32,
        /// Whether.
        verdict: Verdict,
    },
    /// The agent filed the call.
    #[serde(rename = "assist.filed")]
    Filed {
        /// As what.
        #[serde(flatten)]
        choice: Choice,
    },
}

/// Whether a suggestion helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The agent said or did it.
    Used,
    /// It did not fit.
    NotHelpful,
}

/// Why a suggestion is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawal {
    /// The conversation went on.
    Stale,
    /// A better one took its place.
    Replaced,
    /// The agent did not want it.
    Dismissed,
}

/// One turn of a summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Who.
    pub by: Role,
    /// When. Seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub start: MediaTime,
    /// The words.
    #[serde(serialize_with = "exposed")]
    pub text: Pii<String>,
}

/// A way to file a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Its name in the book.
    pub id: String,
    /// What people call it.
    pub name: String,
}

fn seconds<S: Serializer>(at: &MediaTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.millis() as f64 / 1000.0)
}

fn exposed<T: Serialize, S: Serializer>(value: &Pii<T>, serializer: S) -> Result<S::Ok, S::Error> {
    // The agent's stream is where personal data is meant to go; logs use Debug, which redacts.
    value.expose().serialize(serializer)
}

fn unknown(reason: &Pii<Option<String>>) -> bool {
    reason.expose().is_none()
}
