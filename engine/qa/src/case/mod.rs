//! Dialogues that rules are tested with, without any sound.

mod read;
mod run;

use std::collections::BTreeMap;
use std::path::Path;

use antiphon_engine_flow::file::{Place, Problems, parse};
use antiphon_engine_measure::{Conversation, Measures};
use antiphon_media_frame::MediaTime;

use crate::explain::Explanation;
use crate::result::{Judgement, RuleState};
use crate::{Errors, Problem};

/// A dialogue, laid out in time, with what is expected of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What people call it; unique in its file.
    pub name: String,
    /// The dialogue.
    pub conversation: Conversation,
    /// Agitation that is set by hand: track, beginning of the turn, score.
    agitation: Vec<(usize, MediaTime, f32)>,
    expect: Expect,
    place: Problem,
}

/// What should come of a case; what is `None` may be anything.
#[derive(Clone, Debug, Default)]
struct Expect {
    score: Option<f64>,
    pass: Option<bool>,
    fatal: Option<bool>,
    hits: Option<Vec<ExpectedHit>>,
    misses: Option<Vec<String>>,
    excused: Option<Vec<String>>,
    rules: BTreeMap<String, RuleState>,
}

/// Hits that are expected of a rule.
#[derive(Clone, Debug)]
struct ExpectedHit {
    rule: String,
    count: usize,
    quote: Option<String>,
    /// Counted from 1, in the order of their beginnings.
    turn: Option<usize>,
    start: Option<i64>,
    end: Option<i64>,
    points: Option<f64>,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Report {
    /// The case's name.
    pub case: String,
    /// Its file and line, as problems are told: `dialogues/sales.yaml:12:3`.
    pub place: String,
    /// Whether everything came as expected.
    pub passed: bool,
    /// What did not, in words.
    pub failures: Vec<String>,
    /// The judgement.
    pub judgement: Judgement,
    /// Why it is so.
    pub explanation: Explanation,
}

impl Case {
    /// The most cases of a file.
    pub const MOST: usize = 1_000;

    /// Reads the cases of a file; `origin` is its name in messages.
    ///
    /// # Errors
    /// Everything that is wrong with the text, with line, column and what to do.
    pub fn read(text: &str, origin: &Path) -> Result<Vec<Self>, Errors> {
        let mut problems = Problems::new(origin);
        let cases = match parse(text) {
            Ok(root) => read::read(&root, &mut problems, origin),
            Err(error) => {
                problems.error(error.at, error.message);
                Vec::new()
            }
        };
        if !problems.has_errors() && cases.is_empty() {
            problems.error(Place::FILE, "there is no case in this file");
        }
        problems.finish()?;
        Ok(cases)
    }

    /// What is measured of the dialogue.
    #[must_use]
    pub fn measures(&self) -> Measures {
        self.measures_of(&self.conversation)
    }

    /// What is measured of a beginning of the dialogue, with the agitation that is set by hand.
    #[must_use]
    pub fn measures_of(&self, conversation: &Conversation) -> Measures {
        let mut measures = Measures::of(conversation);
        for one in &mut measures.agitation {
            let Some(turn) = conversation.turns.get(one.turn) else { continue };
            let set = |(track, start, _): &&(usize, MediaTime, f32)| {
                *track == turn.track && *start == turn.said.start
            };
            if let Some((.., score)) = self.agitation.iter().find(set) {
                one.score = *score;
            }
        }
        measures
    }
}
