//! The same rules on a call in progress.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use antiphon_engine_measure::{Conversation, Measures};
use antiphon_media_frame::MediaTime;

use crate::result::{Hit, Judgement};
use crate::scan::Scanned;
use crate::scorecard::Scorecard;

/// How much of a growing conversation will not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// No voice is added before this instant: how far the activity gate has heard.
    pub voice: MediaTime,
    /// No turn is added that begins before this instant: where the earliest words begin that are not final yet.
    pub words: MediaTime,
}

impl Known {
    /// All that has been heard, words included.
    #[must_use]
    pub fn heard(conversation: &Conversation) -> Self {
        let heard = MediaTime::ZERO + conversation.heard;
        Self { voice: heard, words: heard }
    }
}

/// Applies a scorecard to one call as it goes on.
///
/// It is told the whole conversation again and again, as it grows, and tells each hit once, as soon as nothing that is
/// still to come can take it back. What it has told when the call has ended is exactly what [`Scorecard::judge`] finds
/// in the recording (ends of what was going on when it was told apart). For that, what is known must stay: turns,
/// voices and holds before [`Known`] are not changed, and a value of the metadata, once there, is not either.
pub struct Inspector {
    scorecard: Arc<Scorecard>,
    /// By track and start, with the text they are of.
    turns: HashMap<(usize, i64), (String, Scanned)>,
    told: HashSet<String>,
    judgement: Option<Judgement>,
    next: Option<MediaTime>,
}

impl Inspector {
    /// An inspector for one call.
    #[must_use]
    pub fn new(scorecard: Arc<Scorecard>) -> Self {
        Self { scorecard, turns: HashMap::new(), told: HashSet::new(), judgement: None, next: None }
    }

    /// Takes the conversation as far as it has been heard; tells the hits that are new and for good, excused ones left
    /// out. With [`Conversation::finished`] everything is.
    pub fn hear(&mut self, conversation: &Conversation, measures: &Measures, known: Known) -> Vec<Hit> {
        for turn in &conversation.turns {
            let key = (turn.track, turn.said.start.nanos());
            if self.turns.get(&key).is_none_or(|(text, _)| *text != turn.said.text) {
                let scanned = self.scorecard.patterns.scan(&turn.said.text);
                self.turns.insert(key, (turn.said.text.clone(), scanned));
            }
        }
        let scanned = conversation.turns.iter().filter_map(|turn| {
            self.turns.get(&(turn.track, turn.said.start.nanos())).map(|(_, scanned)| scanned)
        });
        let (judgement, next) =
            self.scorecard.judge_scanned(conversation, measures, scanned.collect(), known);
        let hits = judgement.rules.iter().flat_map(|rule| &rule.hits).filter(|hit| hit.excused.is_none());
        let new: Vec<Hit> = hits.filter(|hit| self.told.insert(hit.id.clone())).cloned().collect();
        self.judgement = Some(judgement);
        self.next = next;
        new
    }

    /// When it wants to hear again even if nothing is said until then: when a silence would be too long, or a window
    /// closes. `None` where only words or the end can change anything.
    #[must_use]
    pub const fn next(&self) -> Option<MediaTime> {
        self.next
    }

    /// The judgement of what has been heard so far; final once the conversation was finished.
    #[must_use]
    pub const fn judgement(&self) -> Option<&Judgement> {
        self.judgement.as_ref()
    }

    /// By what it judges.
    #[must_use]
    pub fn scorecard(&self) -> &Scorecard {
        &self.scorecard
    }
}
