//! What a scorecard made of a call, as far as a page shows it.

use antiphon_engine_measure::{Role, Stretch};

/// How a call does by one scorecard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The scorecard's name.
    pub scorecard: String,
    /// Its version.
    pub version: String,
    /// What the call is worth.
    pub score: f64,
    /// The score that is enough.
    pub enough: f64,
    /// Whether it passes.
    pub pass: bool,
    /// Whether something fatal happened.
    pub fatal: bool,
    /// As the scorecard has them.
    pub rules: Vec<RuleLine>,
}

/// A rule's outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleLine {
    /// Its identifier.
    pub rule: String,
    /// What people call it.
    pub name: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// How it stands.
    pub state: Standing,
    /// What it takes or gives.
    pub points: f64,
    /// What was found, by start.
    pub findings: Vec<Finding>,
}

/// How a rule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing against it.
    #[default]
    Kept,
    /// A finding counts.
    Hit,
    /// It is about other calls.
    NotApplicable,
    /// All findings are excused.
    Excused,
    /// The call goes on.
    Open,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FindingKind {
    /// Something happened that should not have.
    #[default]
    Found,
    /// Something should have happened and did not.
    Missed,
    /// Something happened that there are points for.
    Met,
}

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Names it on the page.
    pub id: String,
    /// What kind.
    pub kind: FindingKind,
    /// Who.
    pub role: Option<Role>,
    /// The track.
    pub track: Option<usize>,
    /// When; of what was missed, the search.
    pub at: Stretch,
    /// What was said.
    pub quote: String,
    /// What was measured.
    pub value: Option<f64>,
    /// Of several parts, each: the condition's name, when, what was said.
    pub parts: Vec<(Option<String>, Stretch, String)>,
    /// Of what was missed: where it was searched, and how many turns began there.
    pub searched: Vec<(Stretch, usize)>,
    /// What it takes or gives.
    pub points: f64,
    /// Whether it fails the call by itself.
    pub fatal: bool,
    /// What excuses it.
    pub excused: Option<String>,
    /// Whether people confirmed it (`true`) or overturned it (`false`).
    pub review: Option<bool>,
    /// The sound to play.
    pub clip: Stretch,
}

impl Finding {
    /// Whether it counts.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.excused.is_none() && self.review != Some(false)
    }
}
