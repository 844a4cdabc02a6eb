//! What came of a file, as it is stored and sent: `docs/schemas/qa-result.json` describes it.

use antiphon_engine_measure::{Conversation, Measures};
use antiphon_engine_qa::{Judgement, Scorecard};
use antiphon_engine_store::StoredHit;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the form; it counts up when a member changes its meaning.
const VERSION: u32 = 1;

/// What came of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileResult {
    pub(crate) version: u32,
    /// What the recogniser was.
    pub(crate) engine: String,
    /// Whether these are the words that were heard while the call went on.
    #[serde(default)]
    pub(crate) live: bool,
    /// How long the recording is, seconds.
    pub(crate) duration: f64,
    /// What people should know who read this.
    pub(crate) warnings: Vec<String>,
    /// What was measured.
    pub(crate) measures: Value,
    /// One a scorecard, in the order of the job.
    pub(crate) judgements: Vec<Judgement>,
}

/// Where words come from.
#[derive(Clone, Copy)]
pub(crate) struct HeardBy<'a> {
    /// The recogniser.
    pub(crate) engine: &'a str,
    /// Whether it heard them while the call went on.
    pub(crate) live: bool,
}

impl<'a> HeardBy<'a> {
    /// A recording was recognised.
    pub(crate) const fn recording(engine: &'a str) -> Self {
        Self { engine, live: false }
    }
}

/// Judges what was heard by every scorecard.
pub(crate) fn judge(
    conversation: &Conversation,
    cards: &[Scorecard],
    heard: HeardBy<'_>,
    warnings: Vec<String>,
) -> serde_json::Result<FileResult> {
    let measures = Measures::of(conversation);
    Ok(FileResult {
        version: VERSION,
        engine: heard.engine.to_owned(),
        live: heard.live,
        duration: conversation.heard.millis() as f64 / 1_000.0,
        warnings,
        measures: serde_json::to_value(&measures)?,
        judgements: cards.iter().map(|card| card.judge(conversation, &measures)).collect(),
    })
}

impl FileResult {
    /// The first scorecard's score, and whether it passes.
    pub(crate) fn score(&self) -> (Option<f64>, Option<bool>) {
        let first = self.judgements.first();
        (first.map(|judged| judged.score), first.map(|judged| judged.pass))
    }

    /// The findings, as figures over many files need them.
    pub(crate) fn hits(&self) -> Vec<StoredHit> {
        hits_of(&self.judgements)
    }
}

/// The findings of judgements, as figures over many calls need them.
pub(crate) fn hits_of(judgements: &[Judgement]) -> Vec<StoredHit> {
    let hits = judgements.iter().flat_map(|judged| judged.rules.iter()).flat_map(|rule| &rule.hits);
    hits.map(|hit| StoredHit {
        id: hit.id.clone(),
        card: hit.scorecard.clone(),
        version: hit.version.clone(),
        rule: hit.rule.clone(),
        missed: hit.kind == antiphon_engine_qa::HitKind::Missed,
        points: hit.points,
        start_ms: hit.start.millis(),
        end_ms: hit.end.millis(),
        stands: hit.stands(),
    })
    .collect()
}
