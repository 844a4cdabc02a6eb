//! A scorecard: checked rules, ready to judge any number of conversations.

use std::path::Path;
use std::sync::Arc;

use antiphon_engine_flow::file::{Place, Problems, parse};
use antiphon_engine_measure::{Conversation, Measures};

use crate::check;
use crate::evaluate::{Scene, evaluate};
use crate::explain::{self, Explanation};
use crate::judge::judge;
use crate::live::Known;
use crate::model::{Card, Window};
use crate::result::Judgement;
use crate::scan::{Patterns, Scanned};
use crate::similar::Meaning;
use crate::{Errors, Problem, read};

/// Checked rules. Share it with `Arc`; it never changes.
pub struct Scorecard {
    pub(crate) card: Card,
    pub(crate) patterns: Patterns,
    warnings: Vec<Problem>,
    meaning: Option<Arc<dyn Meaning>>,
}

impl Scorecard {
    /// The largest rule file, bytes.
    pub const LARGEST_FILE: usize = antiphon_engine_flow::file::LARGEST_FILE;

    /// Reads a rule file; `origin` is its name in messages.
    ///
    /// # Errors
    /// Everything that is wrong with the text, with line, column and what to do.
    pub fn read(text: &str, origin: &Path) -> Result<Self, Errors> {
        let mut problems = Problems::new(origin);
        let card = match parse(text) {
            Ok(root) => read::read(&root, &mut problems),
            Err(error) => {
                problems.error(error.at, error.message);
                None
            }
        };
        let Some(mut card) = card else {
            if !problems.has_errors() {
                problems.error(Place::FILE, "the rules could not be read");
            }
            return Err(problems.into_errors());
        };
        let patterns = match Patterns::new(&mut card.conditions) {
            Ok(patterns) => patterns,
            Err(error) => {
                problems.error(
                    Place::FILE,
                    format!("the phrases are too many to be searched for at once: {error}"),
                );
                return Err(problems.into_errors());
            }
        };
        check::check(&card, &mut problems);
        let warnings = problems.finish()?;
        Ok(Self { card, patterns, warnings, meaning: None })
    }

    /// Judges `similar … by: meaning` by this model. Without one such conditions never hold.
    #[must_use]
    pub fn with_meaning(mut self, meaning: Arc<dyn Meaning>) -> Self {
        self.meaning = Some(meaning);
        self
    }

    /// What is doubtful: rules that can never fire, conditions that nothing uses.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Its `id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.card.id
    }

    /// Its `version`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.card.version
    }

    /// What people call it: its `name`, else its `id`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.card.name.as_deref().unwrap_or(&self.card.id)
    }

    /// The `id`s of its rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.card.rules.iter().map(|rule| rule.id.as_str())
    }

    /// Judges what has been heard. Of a conversation that has not ended, everything before [`Conversation::heard`] is
    /// taken as known; use an [`Inspector`](crate::Inspector) where words come late.
    #[must_use]
    pub fn judge(&self, conversation: &Conversation, measures: &Measures) -> Judgement {
        let scanned = self.scan(conversation);
        self.judge_scanned(conversation, measures, scanned.iter().collect(), Known::heard(conversation)).0
    }

    /// Judges, and says of every condition and rule why.
    #[must_use]
    pub fn judge_explained(
        &self,
        conversation: &Conversation,
        measures: &Measures,
    ) -> (Judgement, Explanation) {
        let scanned = self.scan(conversation);
        let scene = self.scene(conversation, measures, scanned.iter().collect(), Known::heard(conversation));
        let mut notes = Some(vec![Vec::new(); self.card.conditions.len()]);
        let found = evaluate(&self.card.conditions, &scene, &mut notes);
        let (judgement, _) = judge(&self.card, &scene, &found);
        let explanation = explain::explain(&self.card, &scene, &found, notes.unwrap_or_default(), &judgement);
        (judgement, explanation)
    }

    pub(crate) fn judge_scanned(
        &self,
        conversation: &Conversation,
        measures: &Measures,
        scanned: Vec<&Scanned>,
        known: Known,
    ) -> (Judgement, Option<antiphon_media_frame::MediaTime>) {
        let scene = self.scene(conversation, measures, scanned, known);
        let found = evaluate(&self.card.conditions, &scene, &mut None);
        judge(&self.card, &scene, &found)
    }

    fn scan(&self, conversation: &Conversation) -> Vec<Scanned> {
        conversation.turns.iter().map(|turn| self.patterns.scan(&turn.said.text)).collect()
    }

    fn scene<'a>(
        &'a self,
        conversation: &'a Conversation,
        measures: &'a Measures,
        scanned: Vec<&'a Scanned>,
        known: Known,
    ) -> Scene<'a> {
        Scene::new(conversation, measures, scanned, self.meaning.as_deref(), known)
    }

    /// Every condition that another one, or a rule, looks at.
    pub(crate) fn used(card: &Card) -> Vec<bool> {
        let mut used = vec![false; card.conditions.len()];
        let mut open: Vec<usize> = Vec::new();
        for rule in &card.rules {
            let logics = [Some(rule.asks.logic()), rule.when.as_ref()];
            let logics = logics.into_iter().flatten().chain(rule.except.iter().map(|except| &except.logic));
            open.extend(logics.flat_map(|logic| logic.things().into_iter().copied()));
        }
        while let Some(n) = open.pop() {
            if std::mem::replace(&mut used[n], true) {
                continue;
            }
            let condition = &card.conditions[n];
            open.extend(condition.kind.parts());
            if let Some(Window::Anchored { anchor, .. }) = &condition.window {
                open.push(*anchor);
            }
        }
        used
    }
}

impl std::fmt::Debug for Scorecard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rules = self.card.rules.len();
        f.debug_struct("Scorecard")
            .field("id", &self.card.id)
            .field("version", &self.card.version)
            .field("rules", &rules)
            .finish()
    }
}
