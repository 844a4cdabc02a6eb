//! Which knowledge is on the agent's screen.

use std::collections::HashSet;

use antiphon_engine_knowledge::{Answer, Source};
use antiphon_media_frame::{MediaTime, Pii, Span};

use crate::event::{AssistBody, Withdrawal};

/// A better suggestion has to be better by this much to take the place of a fresh one.
const CLEARLY: f32 = 0.05;
/// Dismissed suggestions are remembered, so many of them.
const MOST_DISMISSED: usize = 1_000;

#[derive(Clone, Debug)]
struct Shown {
    id: u32,
    key: Key,
    score: f32,
    /// When it was last asked for.
    asked: MediaTime,
}

/// The same passage, also after its file was read anew.
type Key = (String, String);

#[derive(Debug, Default)]
pub(crate) struct Suggestions {
    shown: Vec<Shown>,
    dismissed: HashSet<Key>,
    last: u32,
}

impl Suggestions {
    /// Takes what was found for some words, the best first, and tells what changes.
    pub(crate) fn offer(
        &mut self,
        now: MediaTime,
        answers: Vec<Answer>,
        heard: &str,
        room: usize,
        tell: &mut impl FnMut(AssistBody),
    ) {
        for answer in answers.into_iter().take(room) {
            let key = key(&answer.source, &answer.title);
            if self.dismissed.contains(&key) {
                continue;
            }
            if let Some(shown) = self.shown.iter_mut().find(|shown| shown.key == key) {
                shown.asked = now;
                shown.score = shown.score.max(answer.score);
                continue;
            }
            if self.shown.len() >= room {
                // What was asked for longest ago goes first; among what was asked for now, the worst.
                let Some(out) = (0..self.shown.len()).min_by(|&a, &b| {
                    let (a, b) = (&self.shown[a], &self.shown[b]);
                    a.asked.cmp(&b.asked).then(a.score.total_cmp(&b.score))
                }) else {
                    continue;
                };
                if self.shown[out].asked == now && self.shown[out].score + CLEARLY > answer.score {
                    continue;
                }
                let out = self.shown.remove(out);
                tell(AssistBody::Withdrawn { id: out.id, reason: Withdrawal::Replaced });
            }
            self.last += 1;
            self.shown.push(Shown { id: self.last, key, score: answer.score, asked: now });
            tell(AssistBody::Suggestion {
                id: self.last,
                title: answer.title,
                text: answer.text,
                snippet: answer.snippet,
                source: answer.source,
                score: answer.score,
                heard: Pii::new(heard.to_owned()),
            });
        }
    }

    /// Takes away what was not asked for again in time.
    pub(crate) fn expire(&mut self, now: MediaTime, keep: Span, tell: &mut impl FnMut(AssistBody)) {
        self.shown.retain(|shown| {
            let fresh = now < shown.asked + keep;
            if !fresh {
                tell(AssistBody::Withdrawn { id: shown.id, reason: Withdrawal::Stale });
            }
            fresh
        });
    }

    /// When the next one expires.
    pub(crate) fn until(&self, keep: Span) -> Option<MediaTime> {
        self.shown.iter().map(|shown| shown.asked + keep).min()
    }

    /// Whether there ever was one of this name.
    pub(crate) fn was_told(&self, id: u32) -> bool {
        (1..=self.last).contains(&id)
    }

    /// Takes one away for good; `false` where it is not shown.
    pub(crate) fn dismiss(&mut self, id: u32) -> bool {
        let Some(at) = self.shown.iter().position(|shown| shown.id == id) else {
            return false;
        };
        let out = self.shown.remove(at);
        if self.dismissed.len() < MOST_DISMISSED {
            self.dismissed.insert(out.key);
        }
        true
    }
}

fn key(source: &Source, title: &str) -> Key {
    (source.file.clone(), title.to_owned())
}
