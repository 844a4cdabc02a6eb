//! How the word is taken: interruptions, answers, monologues.

use crate::floor::{Floor, Run};
use crate::timeline::{Piece, covered, inside, instant, joined, span};
use crate::{Interruption, Response, Stretch};

/// A pause from which a monologue does not go on.
const PAUSE_MS: i64 = 2_000;

impl Floor<'_> {
    /// One a pair of runs: who begins strictly while another is speaking interrupts, whoever stops first.
    pub(crate) fn interruptions(&self) -> Vec<Interruption> {
        let mut found = Vec::new();
        for run in self.words_taken() {
            for of in (0..self.speech.len()).filter(|&of| of != run.track) {
                let Some(other) = self.speaking(of, run.at.start).filter(|other| !other.listening) else {
                    continue;
                };
                let shared = run.at.and(other.at);
                let both = || {
                    inside(&self.speech[run.track], shared)
                        .flat_map(|piece| inside(&self.speech[of], piece))
                        .filter(|piece| !piece.is_empty())
                };
                let (Some(first), Some(last)) = (both().next(), both().last()) else { continue };
                found.push(Interruption {
                    by: run.track,
                    of,
                    speaking: span(run.at.start - other.at.start),
                    overlap: Piece { start: first.start, end: last.end }.stretch(),
                    both: span(both().map(Piece::len).sum()),
                    took_over: other.at.end < run.at.end,
                    turn: run.turn,
                });
            }
        }
        found.sort_by_key(|found| (found.overlap.start, found.by, found.of));
        found
    }

    /// The runs with which the word goes from one to the next: those that another's outlasts do not take it.
    fn holders(&self) -> Vec<Run> {
        let mut holders: Vec<Run> = Vec::new();
        for run in self.words_taken() {
            if holders.last().is_none_or(|last| run.at.end > last.at.end) {
                holders.push(run);
            }
        }
        holders
    }

    /// Answers: how long it took from the end of one's words to another's; time on hold does not count.
    pub(crate) fn responses(&self) -> Vec<Response> {
        let holds = self.conversation.holds.iter().map(|hold| Piece::of(hold.at.start, hold.at.end));
        let holds = joined(holds.collect(), 0);
        let holders = self.holders();
        let pairs = holders.windows(2).filter(|pair| pair[0].track != pair[1].track);
        pairs
            .map(|pair| {
                let gap = Piece { start: pair[0].at.end, end: pair[1].at.start };
                let after = if gap.is_empty() { 0 } else { gap.len() - covered(&holds, gap) };
                Response { by: pair[1].track, at: instant(gap.start), after: span(after) }
            })
            .collect()
    }

    /// By track.
    pub(crate) fn monologues(&self) -> Vec<Option<Stretch>> {
        let mut longest: Vec<Option<Piece>> = vec![None; self.speech.len()];
        let mut going: Option<(usize, Piece)> = None;
        for run in self.holders() {
            let at = match going {
                Some((track, at)) if track == run.track && run.at.start - at.end < PAUSE_MS => {
                    Piece { start: at.start, end: run.at.end }
                }
                _ => run.at,
            };
            going = Some((run.track, at));
            if longest[run.track].is_none_or(|before| before.len() < at.len()) {
                longest[run.track] = Some(at);
            }
        }
        longest.into_iter().map(|at| at.map(Piece::stretch)).collect()
    }
}
