//! One call's assistance.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_engine_knowledge::{Answer, Knowledge, KnowledgeError};
use antiphon_engine_measure::{Conversation, Measures, Role};
use antiphon_engine_qa::{Hit, HitKind, Judgement, RuleState};
use antiphon_media_frame::{MediaTime, Pii, Span};
use antiphon_models_speech::{Hypothesis, Utterance, append};

use crate::Book;
use crate::condition::Known;
use crate::event::{AssistBody, AssistEvent, Choice, Line, Verdict, Withdrawal};
use crate::suggestions::Suggestions;
use crate::words::tokens;

/// Events that wait to be read. Beyond this, words go first and then the oldest: who reads so slowly looks at another
/// screen.
const MOST_WAITING: usize = 1_000;
/// A question that comes in two breaths is looked up as one where they are this near.
const ONE_QUESTION: Span = Span::from_secs(8);
/// Topics of a summary.
const TOPICS: usize = 8;

/// Follows one call and tells the agent what helps. Whoever drives it hands over what is heard and reads
/// [`Assist::poll_event`] until there is nothing.
#[derive(Debug)]
pub struct Assist {
    book: Arc<Book>,
    knowledge: Vec<Arc<Knowledge>>,
    known: Known,
    suggestions: Suggestions,
    done: Vec<bool>,
    /// The step that was told last; its place beyond the end for the script's end.
    told: Option<usize>,
    /// The last words that may be half a question, with their end.
    half: Option<(usize, String, MediaTime)>,
    waiting: VecDeque<(MediaTime, AssistBody)>,
    number: u64,
    dropped: u64,
    trouble: Option<KnowledgeError>,
}

impl Assist {
    /// Begins a call. Of several folders of knowledge the best answers are suggested, without any nothing is. The script's
    /// first step is told at once.
    #[must_use]
    pub fn new(book: Arc<Book>, knowledge: impl IntoIterator<Item = Arc<Knowledge>>) -> Self {
        let mut assist = Self {
            done: vec![false; book.script.len()],
            book,
            knowledge: knowledge.into_iter().collect(),
            known: Known::default(),
            suggestions: Suggestions::default(),
            told: None,
            half: None,
            waiting: VecDeque::new(),
            number: 0,
            dropped: 0,
            trouble: None,
        };
        assist.follow(MediaTime::ZERO);
        assist
    }

    /// Takes interim words. They are shown and nothing else.
    pub fn hear_partial(&mut self, now: MediaTime, track: usize, by: Role, said: &Hypothesis) {
        self.show(now, track, by, said.text.clone(), said.start, false);
    }

    /// Takes final words: they are shown, looked up, and may take the script further.
    pub fn hear(&mut self, now: MediaTime, track: usize, by: Role, said: &Utterance) {
        self.show(now, track, by, said.text.clone(), said.start, true);
        let words = tokens(&said.text);
        for condition in self.book.conditions() {
            condition.hear(by, &words, &mut self.known);
        }
        self.follow(now);
        self.expire(now);
        if self.book.suggest.from.contains(&by) {
            self.suggest(now, track, said);
        }
    }

    /// Takes what an inspector of the same call found: its new hits, and how its rules stand. Hits that cost nothing and
    /// alert nobody are no warnings.
    pub fn judge(&mut self, now: MediaTime, hits: &[Hit], judgement: &Judgement) {
        for outcome in judgement.rules.iter().filter(|outcome| outcome.state == RuleState::Kept) {
            self.known.kept(&outcome.rule);
        }
        for hit in hits {
            self.known.hit(&hit.rule);
            if hit.kind == HitKind::Met {
                self.known.kept(&hit.rule);
            } else if hit.points < 0.0 || hit.fatal || hit.alert.is_some() {
                let rule = judgement.rules.iter().find(|outcome| outcome.rule == hit.rule);
                let warning = AssistBody::Warning {
                    rule: hit.rule.clone(),
                    name: rule.and_then(|outcome| outcome.name.clone()),
                    by: hit.role,
                    quote: hit.quote.clone(),
                    start: hit.start,
                    end: hit.end,
                    fatal: hit.fatal,
                };
                self.tell(now, warning);
            }
        }
        self.follow(now);
    }

    /// Takes what is known of the customer: from a flow before the call was handed on, or found in it.
    pub fn know(&mut self, now: MediaTime, name: &str, value: &str) {
        if self.known.slot(name, value) {
            self.tell(now, AssistBody::Slot { name: name.to_owned(), value: Pii::new(value.to_owned()) });
            self.follow(now);
        }
    }

    /// The agent does not want a suggestion: it does not come back in this call. `false` where it is not shown.
    pub fn dismiss(&mut self, now: MediaTime, id: u32) -> bool {
        let there = self.suggestions.dismiss(id);
        if there {
            self.tell(now, AssistBody::Withdrawn { id, reason: Withdrawal::Dismissed });
        }
        there
    }

    /// The agent says whether a suggestion helped; one that did not is dismissed. `false` where it was never made.
    pub fn rate(&mut self, now: MediaTime, id: u32, verdict: Verdict) -> bool {
        if !self.suggestions.was_told(id) {
            return false;
        }
        self.tell(now, AssistBody::Feedback { id, verdict });
        if verdict == Verdict::NotHelpful {
            self.dismiss(now, id);
        }
        true
    }

    /// The agent files the call under one of the book's dispositions. `false` where there is no such.
    pub fn file(&mut self, now: MediaTime, disposition: &str) -> bool {
        let book = Arc::clone(&self.book);
        let found = book.dispositions.iter().find(|one| one.id == disposition);
        if let Some(one) = found {
            let choice = Choice { id: one.id.clone(), name: one.name.clone() };
            self.tell(now, AssistBody::Filed { choice });
        }
        found.is_some()
    }

    /// Takes the end of the call: tells the summary and how the call may be filed.
    pub fn finish(&mut self, now: MediaTime, conversation: &Conversation, measures: &Measures) {
        let lines = measures.summary.iter().filter_map(|turn| conversation.turns.get(*turn));
        let lines = lines.map(|turn| Line {
            by: conversation.role(turn),
            start: turn.said.start,
            text: Pii::new(turn.said.text.clone()),
        });
        let summary = AssistBody::Summary {
            reason: Pii::new(measures.reason.as_ref().map(|reason| reason.text.clone())),
            topics: Pii::new(measures.topics.iter().take(TOPICS).map(|topic| topic.text.clone()).collect()),
            lines: lines.collect(),
        };
        self.tell(now, summary);
        let fitting = self.book.dispositions.iter().filter(|one| one.when.holds(&self.known));
        let choices = fitting.map(|one| Choice { id: one.id.clone(), name: one.name.clone() }).collect();
        self.tell(now, AssistBody::Disposition { choices });
    }

    /// Called when [`Assist::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: MediaTime) {
        self.expire(now);
    }

    /// When it wants to be woken: a suggestion grows stale.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MediaTime> {
        self.suggestions.until(self.book.suggest.keep)
    }

    /// What there is to tell, oldest first.
    pub fn poll_event(&mut self) -> Option<AssistEvent> {
        let (at, body) = self.waiting.pop_front()?;
        self.number += 1;
        Some(AssistEvent { number: self.number, at, body })
    }

    /// How many events nobody read in time. They have no numbers.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Why the last search failed, once: for the log.
    pub const fn take_trouble(&mut self) -> Option<KnowledgeError> {
        self.trouble.take()
    }

    fn suggest(&mut self, now: MediaTime, track: usize, said: &Utterance) {
        let Some(answers) = self.search(&said.text) else { return };
        let before = self.half.take();
        let (heard, answers) = match before {
            Some((on, mut text, end))
                if answers.is_empty() && on == track && said.start < end + ONE_QUESTION =>
            {
                append(&mut text, &said.text);
                let answers = self.search(&text).unwrap_or_default();
                (text, answers)
            }
            _ => (said.text.clone(), answers),
        };
        if answers.is_empty() {
            self.half = Some((track, said.text.clone(), said.end));
        }
        let room = self.book.suggest.shown;
        let mut told = Vec::new();
        self.suggestions.offer(now, answers, &heard, room, &mut |body| told.push(body));
        for body in told {
            self.tell(now, body);
        }
    }

    /// The best answers of all folders; `None` where there is no folder, or none answered.
    fn search(&mut self, text: &str) -> Option<Vec<Answer>> {
        let (room, filter) = (self.book.suggest.shown, &self.book.suggest.filter);
        let mut found: Option<Vec<Answer>> = None;
        for knowledge in &self.knowledge {
            match knowledge.search(text, room, filter) {
                Ok(answers) => found.get_or_insert_default().extend(answers),
                Err(error) => self.trouble = Some(error),
            }
        }
        let mut found = found?;
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(room);
        Some(found)
    }

    fn expire(&mut self, now: MediaTime) {
        let mut told = Vec::new();
        self.suggestions.expire(now, self.book.suggest.keep, &mut |body| told.push(body));
        for body in told {
            self.tell(now, body);
        }
    }

    /// Tells which steps are done and which is next. What is done stays done.
    fn follow(&mut self, now: MediaTime) {
        let book = Arc::clone(&self.book);
        for (n, step) in book.script.iter().enumerate() {
            let applies = step.when.as_ref().is_none_or(|when| when.holds(&self.known));
            if !self.done[n] && applies && step.done.holds(&self.known) {
                self.done[n] = true;
                self.tell(now, AssistBody::StepDone { step: step.id.clone() });
            }
        }
        let open = |(n, step): (usize, &crate::book::Step)| {
            !self.done[n] && step.when.as_ref().is_none_or(|when| when.holds(&self.known))
        };
        let next = book.script.iter().enumerate().position(open).unwrap_or(book.script.len());
        if book.script.is_empty() || self.told == Some(next) {
            return;
        }
        self.told = Some(next);
        let body = match book.script.get(next) {
            Some(step) => AssistBody::Step {
                step: step.id.clone(),
                say: step.say.clone(),
                position: next + 1,
                of: book.script.len(),
            },
            None => AssistBody::ScriptDone,
        };
        self.tell(now, body);
    }

    fn show(&mut self, now: MediaTime, track: usize, by: Role, text: String, start: MediaTime, fixed: bool) {
        self.tell(now, AssistBody::Words { by, track, text: Pii::new(text), start, fixed });
    }

    fn tell(&mut self, now: MediaTime, body: AssistBody) {
        if let AssistBody::Words { track, .. } = &body {
            // Interim words that nobody has read yet are out of date.
            let stale = |other: &(MediaTime, AssistBody)| matches!(&other.1, AssistBody::Words { track: on, fixed: false, .. } if on == track);
            if let Some(at) = self.waiting.iter().rposition(stale) {
                self.waiting.remove(at);
            }
        }
        if self.waiting.len() >= MOST_WAITING {
            let words = self.waiting.iter().position(|(_, body)| matches!(body, AssistBody::Words { .. }));
            self.waiting.remove(words.unwrap_or(0));
            self.dropped += 1;
        }
        self.waiting.push_back((now, body));
    }
}
