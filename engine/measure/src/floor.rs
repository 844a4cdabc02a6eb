//! Who has the word: speech with its pauses, the turns that belong to it, and which of it is mere listening.

use antiphon_models_speech::Utterance;

use crate::timeline::{Piece, covered, free, holding, instant, joined, millis};
use crate::units::Text;
use crate::{Conversation, Measures, phrases};

/// A backchannel's words last no longer, and neither does the sound that has no words besides.
const BACKCHANNEL_MS: i64 = 1_500;
const BACKCHANNEL_SOUND_MS: i64 = 2_500;
/// How long after another's speech a sign of listening is one.
const AFTER_MS: i64 = 1_000;
/// How long before the end of a question its answer may begin.
const EARLY_MS: i64 = 500;
/// How far the words' times may lie from the sound they were heard in.
const OFF_MS: i64 = 300;
/// Runs that one turn is looked for in: a turn of more has no times worth following.
const RUNS_A_TURN: usize = 64;

/// Speech of one track with pauses shorter than [`Measures::SHORTEST_SILENCE`] in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) track: usize,
    pub(crate) at: Piece,
    /// The turn heard in most of it, backchannels last.
    pub(crate) turn: Option<usize>,
    /// The turn heard last in it.
    pub(crate) last: Option<usize>,
    /// Nothing but a sign of listening.
    pub(crate) listening: bool,
    heard: (bool, i64),
}

/// What all measures stand on.
pub(crate) struct Floor<'a> {
    pub(crate) conversation: &'a Conversation,
    /// By turn.
    pub(crate) texts: Vec<Text>,
    /// By turn.
    pub(crate) at: Vec<Piece>,
    /// By turn: whether it is a backchannel.
    pub(crate) listening: Vec<bool>,
    /// By track: when there is a voice, in order, apart.
    pub(crate) speech: Vec<Vec<Piece>>,
    /// By track, in order.
    pub(crate) runs: Vec<Vec<Run>>,
    /// Until when it has been heard.
    pub(crate) end: i64,
}

const PAUSE_MS: i64 = Measures::SHORTEST_SILENCE.millis() as i64;

/// Words' times in place of speech that nobody listened for.
fn spoken(said: &Utterance, out: &mut Vec<Piece>) {
    if said.words.is_empty() {
        out.push(Piece::of(said.start, said.end));
    }
    out.extend(said.words.iter().map(|word| Piece::of(word.start, word.end)));
}

impl<'a> Floor<'a> {
    pub(crate) fn new(conversation: &'a Conversation) -> Self {
        let turns = &conversation.turns;
        let mut words: Vec<Vec<Piece>> = vec![Vec::new(); conversation.tracks.len()];
        for turn in turns {
            if let Some(words) = words.get_mut(turn.track) {
                spoken(&turn.said, words);
            }
        }
        let speech: Vec<Vec<Piece>> = conversation
            .tracks
            .iter()
            .zip(words)
            .map(|(track, words)| match track.speech.is_empty() {
                true => joined(words, PAUSE_MS),
                false => joined(track.speech.iter().map(|s| Piece::of(s.start, s.end)).collect(), 0),
            })
            .collect();
        let last = speech.iter().filter_map(|pieces| pieces.last()).map(|piece| piece.end).max();
        let heard = millis(instant(0) + conversation.heard);
        let mut floor = Self {
            conversation,
            texts: turns.iter().map(|turn| Text::new(&turn.said.text)).collect(),
            at: turns.iter().map(|turn| Piece::of(turn.said.start, turn.said.end)).collect(),
            listening: Vec::new(),
            runs: Vec::new(),
            end: last.map_or(heard, |last| last.max(heard)),
            speech,
        };
        floor.listening = floor.backchannels();
        floor.runs = floor.runs();
        floor
    }

    /// Every run in the order it begins, those of mere listening left out.
    pub(crate) fn words_taken(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = self.runs.iter().flatten().filter(|run| !run.listening).copied().collect();
        runs.sort_by_key(|run| (run.at.start, run.track));
        runs
    }

    /// The track's run that is going on strictly after it began and before it ends.
    pub(crate) fn speaking(&self, track: usize, at: i64) -> Option<&Run> {
        let runs = &self.runs[track];
        let next = runs.partition_point(|run| run.at.end <= at);
        runs.get(next).filter(|run| run.at.start < at)
    }

    fn backchannels(&self) -> Vec<bool> {
        // By track: its turns by start, to find what had been said last.
        let mut order: Vec<Vec<usize>> = vec![Vec::new(); self.speech.len()];
        for (index, turn) in self.conversation.turns.iter().enumerate() {
            if let Some(order) = order.get_mut(turn.track) {
                order.push(index);
            }
        }
        for order in &mut order {
            order.sort_by_key(|&turn| self.at[turn].start);
        }
        let turns = self.conversation.turns.iter().enumerate();
        turns.map(|(index, turn)| self.is_backchannel(index, turn.track, &order)).collect()
    }

    fn is_backchannel(&self, index: usize, track: usize, order: &[Vec<usize>]) -> bool {
        let at = self.at[index];
        if track >= order.len() || at.len() > BACKCHANNEL_MS || !phrases::listens(&self.texts[index]) {
            return false;
        }
        let own = &self.speech[track];
        let own_last = own[..own.partition_point(|piece| piece.end <= at.start - OFF_MS)].last();
        (0..order.len()).filter(|&other| other != track).any(|other| {
            let speech = &self.speech[other];
            let ended = match holding(speech, at.start) {
                Some(piece) => piece.end,
                None => {
                    let before = speech[..speech.partition_point(|piece| piece.end <= at.start)].last();
                    let Some(before) = before.filter(|before| at.start - before.end <= AFTER_MS) else {
                        return false;
                    };
                    if own_last.is_some_and(|own| own.end > before.end) {
                        return false;
                    }
                    before.end
                }
            };
            let said = order[other].partition_point(|&turn| self.at[turn].start <= at.start);
            let asked = said.checked_sub(1).map(|last| order[other][last]).is_some_and(|turn| {
                ended.min(self.at[turn].end) <= at.start + EARLY_MS && phrases::asks(&self.texts[turn])
            });
            !asked
        })
    }

    fn runs(&self) -> Vec<Vec<Run>> {
        let mut runs: Vec<Vec<Run>> = Vec::with_capacity(self.speech.len());
        for (track, speech) in self.speech.iter().enumerate() {
            let run =
                |at| Run { track, at, turn: None, last: None, listening: false, heard: (false, i64::MIN) };
            runs.push(joined(speech.clone(), PAUSE_MS).into_iter().map(run).collect());
        }
        for (index, turn) in self.conversation.turns.iter().enumerate() {
            let (at, listening) = (self.at[index], self.listening[index]);
            let Some(runs) = runs.get_mut(turn.track) else { continue };
            let first = runs.partition_point(|run| run.at.end + OFF_MS <= at.start);
            for run in
                runs[first..].iter_mut().take_while(|run| run.at.start < at.end + OFF_MS).take(RUNS_A_TURN)
            {
                // Never empty twice over: words a little beside the sound count, the nearer the more.
                let both = run.at.and(at);
                let weight = (!listening, both.end - both.start);
                run.listening = match run.turn {
                    None => listening && run.at.len() <= BACKCHANNEL_SOUND_MS,
                    Some(_) => run.listening && listening,
                };
                if run.turn.is_none() || weight > run.heard {
                    (run.turn, run.heard) = (Some(index), weight);
                }
                if run.last.is_none_or(|last| (self.at[last].end, last) <= (at.end, index)) {
                    run.last = Some(index);
                }
            }
        }
        runs
    }

    /// How long the turn's own voice sounds, its pauses left out.
    pub(crate) fn voiced(&self, turn: usize) -> i64 {
        let at = self.at[turn];
        let Some(speech) = self.speech.get(self.conversation.turns[turn].track) else { return at.len() };
        // Words heard beside the sound: their own times are all there is.
        if covered(speech, at) == 0 {
            return at.len();
        }
        let pauses = free(speech, at).into_iter().map(Piece::len).filter(|&len| len >= PAUSE_MS);
        at.len() - pauses.sum::<i64>()
    }
}
