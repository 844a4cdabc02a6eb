//! Tokens in frames of log-probabilities: the likeliest of each frame, repetitions and blanks left out; or, with phrases to
//! favour, the likeliest of several ways to understand them (prefix beam search).

use crate::context::{Contexts, Place};
use crate::tensor::Tensor;
use crate::tokens::Heard;

/// Tokens of a frame that each way may go on with, by the ways kept.
const TOKENS: usize = 3;

/// What one utterance has said so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ctc {
    last: u32,
    pub(crate) heard: Vec<Heard>,
    /// The ways that are followed where there are hints, likeliest first; none without.
    ways: Vec<Way>,
}

/// One way to understand an utterance so far.
#[derive(Clone, Debug)]
struct Way {
    heard: Vec<Heard>,
    /// Log-probability of having heard this with a blank at the end, and without.
    blank: f64,
    spoken: f64,
    /// What its phrases are worth.
    worth: f64,
    place: Place,
}

impl Way {
    fn new(heard: Vec<Heard>) -> Self {
        let never = f64::NEG_INFINITY;
        Self { heard, blank: never, spoken: never, worth: 0.0, place: Contexts::START }
    }

    fn sound(&self) -> f64 {
        log_add(self.blank, self.spoken)
    }

    fn score(&self) -> f64 {
        self.sound() + self.worth
    }
}

/// One stream's part of a search with hints.
#[derive(Clone, Copy)]
pub(crate) struct Favour<'a> {
    pub(crate) contexts: &'a Contexts,
    /// Ways kept.
    pub(crate) ways: usize,
}

impl Ctc {
    /// An utterance before which stood `blank`.
    pub(crate) fn new(blank: u32) -> Self {
        Self { last: blank, ..Self::default() }
    }

    /// Goes through the first `count` frames of row `row` of `scores`, of shape (rows, frames, vocabulary): logits or
    /// log-probabilities. `before` frames of the utterance went before.
    pub(crate) fn search(&mut self, scores: &Tensor, row: usize, count: usize, before: usize, blank: u32) {
        self.ways.clear();
        for (frame, scores) in (before..).zip(frames(scores, row, count)) {
            let (token, score) = likeliest(scores);
            if token != blank && token != self.last {
                let sum: f32 = scores.iter().map(|s| (s - score).exp()).sum();
                self.heard.push(Heard { token, frame, surety: 1.0 / sum });
            }
            self.last = token;
        }
    }

    /// The same with phrases to favour: each token that goes on with one is worth a little more than its sound.
    pub(crate) fn search_for(
        &mut self,
        favour: Favour<'_>,
        scores: &Tensor,
        row: usize,
        count: usize,
        before: usize,
        blank: u32,
    ) {
        if self.ways.is_empty() {
            let mut way = Way::new(self.heard.clone());
            if self.last == blank {
                way.blank = 0.0;
            } else {
                way.spoken = 0.0;
            }
            self.ways.push(way);
        }
        for (frame, scores) in (before..).zip(frames(scores, row, count)) {
            self.extend(favour, scores, frame, blank);
        }
        let best = self.ways.iter().max_by(|a, b| {
            // A phrase that is not finished has earned nothing yet.
            let whole = |way: &Way| way.score() + f64::from(favour.contexts.forfeit(way.place));
            whole(a).total_cmp(&whole(b))
        });
        if let Some(best) = best {
            self.last = match best.heard.last() {
                Some(heard) if best.spoken > best.blank => heard.token,
                _ => blank,
            };
            self.heard.clone_from(&best.heard);
        }
    }

    /// Leaves phrases that were begun under `old` hints.
    pub(crate) fn leave(&mut self, old: &Contexts) {
        for way in &mut self.ways {
            way.worth += f64::from(old.forfeit(way.place));
            way.place = Contexts::START;
        }
    }

    fn extend(&mut self, Favour { contexts, ways }: Favour<'_>, scores: &[f32], frame: usize, blank: u32) {
        let sum = f64::from(log_sum(scores));
        let surety =
            |token: u32| scores.get(token as usize).map_or(f64::NEG_INFINITY, |s| f64::from(*s) - sum);
        let likely = likeliest_of(scores, ways * TOKENS);
        let mut next: Vec<Way> = Vec::with_capacity(ways * (ways * TOKENS + 1));
        for way in &self.ways {
            let sound = way.sound();
            let last = way.heard.last().map(|heard| heard.token);
            let here = same(&mut next, &way.heard, None, || Way {
                worth: way.worth,
                place: way.place,
                ..Way::new(way.heard.clone())
            });
            here.blank = log_add(here.blank, sound + surety(blank));
            if let Some(last) = last {
                here.spoken = log_add(here.spoken, way.spoken + surety(last));
            }
            for token in likely.iter().copied().filter(|token| *token != blank) {
                // The same token anew wants a blank between.
                let sound = if last == Some(token) { way.blank } else { sound } + surety(token);
                if sound == f64::NEG_INFINITY {
                    continue;
                }
                let longer = same(&mut next, &way.heard, Some(token), || {
                    let (worth, place) = contexts.step(way.place, token);
                    let mut heard = Vec::with_capacity(way.heard.len() + 1);
                    heard.extend_from_slice(&way.heard);
                    heard.push(Heard { token, frame, surety: surety(token).exp() as f32 });
                    Way { worth: way.worth + f64::from(worth), place, ..Way::new(heard) }
                });
                longer.spoken = log_add(longer.spoken, sound);
            }
        }
        next.sort_unstable_by(|a, b| b.score().total_cmp(&a.score()));
        next.truncate(ways);
        self.ways = next;
    }
}

/// The way among `ways` that heard `tokens` and then `more`, made where there is none.
fn same<'a>(
    ways: &'a mut Vec<Way>,
    tokens: &[Heard],
    more: Option<u32>,
    make: impl FnOnce() -> Way,
) -> &'a mut Way {
    let length = tokens.len() + usize::from(more.is_some());
    let is = |way: &Way| {
        way.heard.len() == length
            && more.is_none_or(|more| way.heard.last().is_some_and(|heard| heard.token == more))
            && way.heard.iter().zip(tokens).rev().all(|(a, b)| a.token == b.token)
    };
    let at = ways.iter().position(is).unwrap_or_else(|| {
        ways.push(make());
        ways.len() - 1
    });
    &mut ways[at]
}

/// The first `count` frames of a row.
fn frames(scores: &Tensor, row: usize, count: usize) -> impl Iterator<Item = &[f32]> {
    let (frames, vocabulary) = (scores.shape[1], scores.shape[2]);
    let whole = &scores.as_floats()[row * frames * vocabulary..(row + 1) * frames * vocabulary];
    whole.chunks_exact(vocabulary).take(count)
}

/// The tokens of the highest scores, highest first.
fn likeliest_of(scores: &[f32], count: usize) -> Vec<u32> {
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
    for (token, score) in (0u32..).zip(scores) {
        if best.len() == count && best[count - 1].0 >= *score {
            continue;
        }
        let at = best.partition_point(|(s, _)| s >= score);
        best.insert(at, (*score, token));
        best.truncate(count);
    }
    best.into_iter().map(|(_, token)| token).collect()
}

/// The first of the highest scores.
pub(crate) fn likeliest(scores: &[f32]) -> (u32, f32) {
    let better = |best: (u32, f32), (n, s): (u32, &f32)| if *s > best.1 { (n, *s) } else { best };
    (0u32..).zip(scores).fold((0, f32::NEG_INFINITY), better)
}

/// The logarithm of the sum of what `scores` are logarithms of.
pub(crate) fn log_sum(scores: &[f32]) -> f32 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    most + scores.iter().map(|score| (score - most).exp()).sum::<f32>().ln()
}

/// The logarithm of the sum of two probabilities; either may be none at all.
pub(crate) fn log_add(a: f64, b: f64) -> f64 {
    let (more, less) = if a > b { (a, b) } else { (b, a) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_one_token_and_a_blank_parts_two() {
        let said = [0, 2, 2, 0, 2, 1, 1];
        let scores: Vec<f32> =
            said.iter().flat_map(|s| (0..3).map(|n| if n == *s { 5.0 } else { 0.0 })).collect();
        let scores = Tensor::floats([1, 7, 3], scores);
        let mut ctc = Ctc::new(0);
        ctc.search(&scores, 0, 3, 10, 0);
        let heard = |c: &Ctc| c.heard.iter().map(|h| (h.token, h.frame)).collect::<Vec<_>>();
        assert_eq!(heard(&ctc), [(2, 11)]);
        assert!((ctc.heard[0].surety - 0.9867).abs() < 1e-3);
        let rest = Tensor::floats([1, 4, 3], scores.as_floats()[9..].to_vec());
        ctc.search(&rest, 0, 4, 13, 0);
        assert_eq!(heard(&ctc), [(2, 11), (2, 14), (1, 15)]);
    }

    fn tensor(frames: &[[f32; 4]]) -> Tensor {
        let logs = frames.iter().flatten().map(|p| p.max(1e-6).ln()).collect();
        Tensor::floats([1, frames.len(), 4], logs)
    }

    fn tokens(ctc: &Ctc) -> Vec<u32> {
        ctc.heard.iter().map(|heard| heard.token).collect()
    }

    #[test]
    fn without_a_phrase_in_it_the_beam_hears_what_the_sound_says() {
        let sure =
            tensor(&[[0.1, 0.8, 0.1, 0.0], [0.9, 0.1, 0.0, 0.0], [0.0, 0.9, 0.0, 0.1], [0.1, 0.0, 0.0, 0.9]]);
        let contexts = Contexts::new([(&[2, 2][..], 1.5)]);
        let mut ctc = Ctc::new(0);
        ctc.search_for(Favour { contexts: &contexts, ways: 4 }, &sure, 0, 4, 0, 0);
        assert_eq!(tokens(&ctc), [1, 1, 3]);
        assert_eq!(ctc.heard.iter().map(|heard| heard.frame).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn a_phrase_that_sounds_a_little_less_likely_is_heard() {
        let doubtful = tensor(&[[0.1, 0.5, 0.4, 0.0], [0.8, 0.1, 0.1, 0.0], [0.1, 0.0, 0.4, 0.5]]);
        let contexts = Contexts::new([(&[2, 2][..], 1.0)]);
        let favour = Favour { contexts: &contexts, ways: 4 };
        let mut plain = Ctc::new(0);
        plain.search(&doubtful, 0, 3, 0, 0);
        assert_eq!(tokens(&plain), [1, 3]);
        let mut hinted = Ctc::new(0);
        hinted.search_for(favour, &doubtful, 0, 3, 0, 0);
        assert_eq!(tokens(&hinted), [2, 2]);
        // Half a phrase is worth nothing in the end, and what is sure is not outweighed.
        let mut half = Ctc::new(0);
        half.search_for(favour, &doubtful, 0, 1, 0, 0);
        assert_eq!(tokens(&half), [1]);
        let sure = tensor(&[[0.01, 0.98, 0.01, 0.0], [0.98, 0.01, 0.01, 0.0], [0.01, 0.0, 0.01, 0.98]]);
        let mut other = Ctc::new(0);
        other.search_for(favour, &sure, 0, 3, 0, 0);
        assert_eq!(tokens(&other), [1, 3]);
    }

    #[test]
    fn hints_that_come_and_go_in_mid_utterance_lose_nothing() {
        let sure = tensor(&[[0.1, 0.8, 0.1, 0.0]]);
        let rest = tensor(&[[0.1, 0.8, 0.1, 0.0], [0.1, 0.0, 0.0, 0.9]]);
        let contexts = Contexts::new([(&[2, 2][..], 1.0)]);
        let mut ctc = Ctc::new(0);
        ctc.search(&sure, 0, 1, 0, 0);
        ctc.search_for(Favour { contexts: &contexts, ways: 4 }, &rest, 0, 2, 1, 0);
        assert_eq!(tokens(&ctc), [1, 3], "the held token is one");
        ctc.leave(&contexts);
        ctc.search(&tensor(&[[0.1, 0.0, 0.0, 0.9], [0.0, 0.0, 1.0, 0.0]]), 0, 2, 3, 0);
        assert_eq!(tokens(&ctc), [1, 3, 2]);
    }
}
