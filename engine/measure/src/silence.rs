//! When nobody speaks, and who should have.

use std::collections::HashMap;

use crate::floor::{Floor, Run};
use crate::timeline::{Piece, free, joined};
use crate::{Measures, Role, Silence, SilenceCause, phrases};

impl Floor<'_> {
    /// Silences of at least [`Measures::SHORTEST_SILENCE`], and all of the holds that are silent; a hold parts what is
    /// before it from what is after.
    pub(crate) fn silences(&self) -> Vec<Silence> {
        let spoken = joined(self.speech.iter().flatten().copied().collect(), 0);
        let holds = self.conversation.holds.iter().map(|hold| Piece::of(hold.at.start, hold.at.end));
        let by: HashMap<i64, Option<Role>> =
            holds.clone().map(|at| at.end).zip(self.conversation.holds.iter().map(|hold| hold.by)).collect();
        let holds = joined(holds.collect(), 0);

        let starts = self.words_taken();
        let mut ends = starts.clone();
        ends.sort_by_key(|run| (run.at.end, run.at.start));

        let shortest = Measures::SHORTEST_SILENCE.millis() as i64;
        let mut silences = Vec::new();
        for quiet in free(&spoken, Piece { start: 0, end: self.end }) {
            let mut add = |at: Piece, cause, owed| {
                if at.len() >= shortest {
                    silences.push(Silence { at: at.stretch(), cause, owed });
                }
            };
            let held: Vec<Piece> = crate::timeline::inside(&holds, quiet).collect();
            let before =
                ends.partition_point(|run| run.at.end <= quiet.start).checked_sub(1).map(|at| &ends[at]);
            let after = starts.get(starts.partition_point(|run| run.at.start < quiet.end));
            held.iter().for_each(|&at| add(at, SilenceCause::Hold, None));
            for at in free(&held, quiet) {
                let holder = by.get(&at.start).copied().flatten();
                let owed = before.map(|before| holder.unwrap_or_else(|| self.owes(before)));
                add(at, self.cause(before, after.filter(|_| quiet.end < self.end), owed), owed);
            }
        }
        silences.sort_by_key(|silence| silence.at.start);
        silences
    }

    fn cause(&self, before: Option<&Run>, after: Option<&Run>, owed: Option<Role>) -> SilenceCause {
        match (before, after) {
            (None, _) => SilenceCause::Opening,
            (Some(before), Some(after)) if before.track == after.track => {
                SilenceCause::Within(self.conversation.tracks[before.track].role)
            }
            (Some(_), None) if self.conversation.finished => SilenceCause::Closing,
            (Some(before), _) => {
                SilenceCause::Owed(owed.unwrap_or(self.conversation.tracks[before.track].role))
            }
        }
    }

    /// Who should speak after `last`: the other one, unless that one asked to wait. Alone on the line, one owes to oneself.
    fn owes(&self, last: &Run) -> Role {
        let tracks = &self.conversation.tracks;
        let role = tracks[last.track].role;
        if last.last.is_some_and(|turn| phrases::asks_to_wait(&self.texts[turn])) {
            return role;
        }
        let wanted = if role == Role::Agent { Role::Customer } else { Role::Agent };
        let others = || {
            tracks.iter().enumerate().filter(|&(track, _)| track != last.track).map(|(_, track)| track.role)
        };
        others().find(|&role| role == wanted).or_else(|| others().next()).unwrap_or(role)
    }
}
