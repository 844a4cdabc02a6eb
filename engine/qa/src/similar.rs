//! How like two sayings are: edits over tokens, where what sounds alike costs little.

use std::ops::Range;

use crate::said::Said;
use crate::sound::Readings;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Characters and words alone.
    Characters,
    /// Sounds alone: homophones are equal.
    Pinyin,
    /// Both: homophones are nearly equal.
    Both,
    /// Sense, by embeddings.
    Meaning,
}

/// A homophone, and what an accent makes of it, as a part of a wrong token. A recogniser that writes another character of
/// the same sound has heard right.
const HOMOPHONE: f32 = 0.1;
const ACCENT: f32 = 0.3;

/// A saying to look for.
#[derive(Clone, Debug)]
pub(crate) struct Saying {
    pub(crate) tokens: Vec<String>,
    readings: Vec<Readings>,
}

impl Saying {
    pub(crate) fn new(tokens: Vec<String>) -> Self {
        let readings = tokens.iter().map(|token| Readings::of(token)).collect();
        Self { tokens, readings }
    }

    /// The part of the turn that is most like the saying, and how like: 1 is equal, 0 nothing in common. The first of
    /// equals (Sellers 1980: edits against any part of a text).
    pub(crate) fn best(&self, said: &Said, by: By) -> Option<(Range<usize>, f32)> {
        if self.tokens.is_empty() || said.len() == 0 {
            return None;
        }
        let n = self.tokens.len();
        // By length of the saying: the cost of ending here, and where that match began.
        let mut before: Vec<(f32, usize)> = (0..=n).map(|i| (i as f32, 0)).collect();
        let mut best = (f32::MAX, 0..0);
        for j in 0..said.len() {
            let mut row = Vec::with_capacity(n + 1);
            row.push((0.0, j + 1));
            for i in 1..=n {
                let changed = before[i - 1].0 + self.cost(i - 1, said, j, by);
                let extra = before[i].0 + 1.0;
                let left_out = row[i - 1].0 + 1.0;
                // Of equals the longer: 不能保证 is nearer to 不保证 with its 不 than without.
                let start = |from: usize, fresh: usize| if i == 1 { fresh } else { from };
                row.push(if changed < extra && changed <= left_out {
                    (changed, start(before[i - 1].1, j))
                } else if extra <= left_out {
                    (extra, before[i].1)
                } else {
                    (left_out, row[i - 1].1)
                });
            }
            if row[n].0 < best.0 && row[n].1 <= j {
                best = (row[n].0, row[n].1..j + 1);
            }
            before = row;
        }
        (best.0 < n as f32).then(|| (best.1, (1.0 - best.0 / n as f32).max(0.0)))
    }

    fn cost(&self, i: usize, said: &Said, j: usize, by: By) -> f32 {
        let (a, b) = (&self.tokens[i], &said.tokens[j].text);
        if a == b {
            return 0.0;
        }
        if by != By::Characters {
            let (a, b) = (&self.readings[i], &said.readings()[j]);
            if a.alike(b, false) {
                return if by == By::Pinyin { 0.0 } else { HOMOPHONE };
            }
            if a.alike(b, true) {
                return ACCENT;
            }
        }
        letters(a, b)
    }
}

/// The share of letters in which two words differ; characters of Chinese differ or do not.
fn letters(a: &str, b: &str) -> f32 {
    if !(a.is_ascii() && b.is_ascii()) {
        return 1.0;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let longest = a.len().max(b.len());
    if longest > 32 || a.len().abs_diff(b.len()) * 2 > longest {
        return 1.0;
    }
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = last[0];
        last[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = last[j + 1];
            last[j + 1] = changed.min(last[j] + 1).min(diagonal + 1);
        }
    }
    last[b.len()] as f32 / longest as f32
}

/// What sayings mean, by a model of sentences.
pub trait Meaning: Send + Sync {
    /// How like the senses of two texts are, from -1 to 1; `None` where the model cannot tell.
    fn likeness(&self, a: &str, b: &str) -> Option<f32>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use antiphon_engine_flow::tokens_at;

    fn best(saying: &str, text: &str, by: By) -> (Range<usize>, f32) {
        let saying = Saying::new(tokens_at(saying).into_iter().map(|token| token.text).collect());
        saying.best(&Said::new(text), by).expect("something in common")
    }

    #[test]
    fn the_likest_part_is_found_and_measured() {
        assert_eq!(best("不保证本金", "产品不保证本金安全", By::Characters), (2..7, 1.0));
        let (at, score) = best("不保证本金", "我们不能保证本金", By::Characters);
        assert_eq!(at, 2..8);
        assert!((score - 0.8).abs() < 1e-6, "{score}");
        let (_, score) = best("不保证本金", "这里不保证本今", By::Both);
        assert!((score - 0.98).abs() < 1e-6, "{score}");
        assert_eq!(best("不保证本金", "这里不保证本今", By::Pinyin).1, 1.0);
        assert!((best("不保证本金", "这里不保证本今", By::Characters).1 - 0.8).abs() < 1e-6);
        let (at, score) = best("returns are guaranteed", "well returns are guarantee yes", By::Both);
        assert_eq!(at, 1..4);
        assert!(score > 0.9, "{score}");
    }
}
