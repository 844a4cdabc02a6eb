//! One track's figures.

use crate::floor::Floor;
use crate::timeline::span;
use crate::{Response, Speaker, Tone};

/// Too little to tell a rate by.
const UNITS: usize = 5;
const SHORTEST_MS: i64 = 1_000;

impl Floor<'_> {
    /// Words (or characters) a minute of talking over these turns, pauses from [`crate::Measures::SHORTEST_SILENCE`] on left
    /// out. `None` below five words or a second.
    pub(crate) fn rate(&self, turns: impl IntoIterator<Item = usize>) -> Option<f32> {
        let (units, millis) = turns.into_iter().fold((0, 0), |(units, millis), turn| {
            (units + self.texts[turn].len(), millis + self.voiced(turn))
        });
        (units >= UNITS && millis >= SHORTEST_MS).then(|| (units as f64 * 60_000.0 / millis as f64) as f32)
    }

    pub(crate) fn speakers(&self, responses: &[Response]) -> Vec<Speaker> {
        let talk: Vec<i64> =
            self.speech.iter().map(|speech| speech.iter().map(|piece| piece.len()).sum()).collect();
        let all: i64 = talk.iter().sum();
        let mut turns: Vec<Vec<usize>> = vec![Vec::new(); self.speech.len()];
        for (index, turn) in self.conversation.turns.iter().enumerate() {
            if let Some(turns) = turns.get_mut(turn.track) {
                turns.push(index);
            }
        }
        let tracks = self.conversation.tracks.iter().zip(turns).zip(self.monologues()).enumerate();
        tracks
            .map(|(track, ((side, turns), monologue))| {
                let answers: Vec<u64> = responses
                    .iter()
                    .filter(|response| response.by == track)
                    .map(|response| response.after.millis())
                    .collect();
                let own = || turns.iter().copied().filter(|&turn| !self.listening[turn]);
                let tones: Vec<Tone> = own().filter_map(|turn| self.conversation.turns[turn].tone).collect();
                let loudness: Vec<f32> =
                    tones.iter().map(|tone| tone.loudness_db).filter(|db| db.is_finite()).collect();
                let mut pitch: Vec<f32> =
                    tones.iter().filter_map(|tone| tone.pitch_hz).filter(|hz| hz.is_finite()).collect();
                pitch.sort_by(f32::total_cmp);
                Speaker {
                    role: side.role,
                    talk: span(talk[track]),
                    ratio: if all == 0 { 0.0 } else { (talk[track] as f64 / all as f64) as f32 },
                    turns: own().count(),
                    words: turns.iter().map(|&turn| self.texts[turn].len()).sum(),
                    rate: self.rate(own()),
                    monologue,
                    response: answers
                        .iter()
                        .sum::<u64>()
                        .checked_div(answers.len() as u64)
                        .map(|ms| span(ms as i64)),
                    loudness_db: (!loudness.is_empty())
                        .then(|| loudness.iter().sum::<f32>() / loudness.len() as f32),
                    pitch_hz: pitch.get(pitch.len() / 2).copied(),
                }
            })
            .collect()
    }
}
