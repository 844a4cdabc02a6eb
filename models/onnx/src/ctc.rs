//! Tokens in frames of log-probabilities: the likeliest of each frame, repetitions and blanks left out.

use crate::tensor::Tensor;
use crate::tokens::Heard;

/// What one utterance has said so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ctc {
    last: u32,
    pub(crate) heard: Vec<Heard>,
}

impl Ctc {
    /// An utterance before which stood `blank`.
    pub(crate) fn new(blank: u32) -> Self {
        Self { last: blank, heard: Vec::new() }
    }

    /// Goes through the first `count` frames of row `row` of `scores`, of shape (rows, frames, vocabulary): logits or
    /// log-probabilities. `before` frames of the utterance went before.
    pub(crate) fn search(&mut self, scores: &Tensor, row: usize, count: usize, before: usize, blank: u32) {
        let (frames, vocabulary) = (scores.shape[1], scores.shape[2]);
        let whole = &scores.as_floats()[row * frames * vocabulary..(row + 1) * frames * vocabulary];
        for (frame, scores) in (before..).zip(whole.chunks_exact(vocabulary).take(count)) {
            let (token, score) = likeliest(scores);
            if token != blank && token != self.last {
                let sum: f32 = scores.iter().map(|s| (s - score).exp()).sum();
                self.heard.push(Heard { token, frame, surety: 1.0 / sum });
            }
            self.last = token;
        }
    }
}

/// The first of the highest scores.
pub(crate) fn likeliest(scores: &[f32]) -> (u32, f32) {
    let better = |best: (u32, f32), (n, s): (u32, &f32)| if *s > best.1 { (n, *s) } else { best };
    (0u32..).zip(scores).fold((0, f32::NEG_INFINITY), better)
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
}
