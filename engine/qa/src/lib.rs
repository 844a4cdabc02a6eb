//! Rules by which conversations are judged, and scorecards that weigh them. No I/O.
//!
//! A [`Scorecard`] is read from YAML once and shared; [`Scorecard::judge`] is a pure function of a conversation and its
//! measures. An [`Inspector`] applies the same rules to a call in progress and tells each hit once, as soon as nothing
//! that is still to come can take it back. `docs/QA.md` is the rule language.

mod case;
mod check;
mod evaluate;
mod explain;
pub mod insight;
mod judge;
mod live;
mod logic;
mod model;
mod negation;
mod read;
mod result;
mod review;
mod said;
mod scan;
mod scorecard;
mod similar;
mod sound;
mod wire;

pub use antiphon_engine_flow::{FlowErrors as Errors, Problem};
pub use case::{Case, Report};
pub use explain::{ConditionStory, Explanation, Note, RuleStory};
pub use live::{Inspector, Known};
pub use result::{
    Action, ActionKind, ActionMode, Clip, GroupOutcome, HeardWord, Hit, HitKind, Judgement, Method, Part,
    ReviewState, RuleOutcome, RuleState, Scoring, Searched,
};
pub use review::{Agreement, Agreements, NoSuchHit, PairAgreement, Review, Verdict, agreement};
pub use scorecard::Scorecard;
pub use similar::Meaning;
