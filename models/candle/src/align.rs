//! When tokens were said: the path along which attention follows the sound (dynamic time warping), as transformers finds
//! it.

/// Where each token begins, in positions. `heads`: for each head of alignment, tokens times positions; `positions` of
/// them are sound; `median` is the width of the filter along them.
pub(crate) fn starts(heads: Vec<Vec<Vec<f32>>>, positions: usize, median: usize) -> Vec<usize> {
    let count = heads.first().map_or(0, Vec::len);
    let width = heads.first().and_then(|h| h.first()).map_or(0, Vec::len).min(positions);
    if count == 0 || width == 0 {
        return vec![0; count];
    }
    let mut sum = vec![vec![0.0; width]; count];
    let all = heads.len() as f64;
    for mut head in heads {
        normalise(&mut head, width);
        for (row, sums) in head.iter().zip(&mut sum) {
            for (sum, value) in sums.iter_mut().zip(smooth(&row[..width], median)) {
                *sum += f64::from(value) / all;
            }
        }
    }
    path(&sum)
}

/// Brings each position's weights to a mean of 0 and a deviation of 1 over the tokens.
fn normalise(head: &mut [Vec<f32>], width: usize) {
    let count = head.len() as f32;
    for at in 0..width {
        let mean = head.iter().map(|row| row[at]).sum::<f32>() / count;
        let variance = head.iter().map(|row| (row[at] - mean).powi(2)).sum::<f32>() / count;
        let deviation = variance.sqrt();
        for row in head.iter_mut() {
            // One token alone, or weights that are all the same, say nothing.
            row[at] = if deviation > 0.0 { (row[at] - mean) / deviation } else { 0.0 };
        }
    }
}

/// The median of each value's neighbourhood, mirrored at the ends.
fn smooth(row: &[f32], width: usize) -> Vec<f32> {
    let half = (width / 2).cast_signed();
    let last = row.len().cast_signed() - 1;
    if last < half {
        return row.to_vec();
    }
    let mut around = Vec::with_capacity(width);
    let mut median = |at: isize| {
        around.clear();
        around.extend((at - half..=at + half).map(|n| {
            let inside = n.abs();
            row[if inside > last { 2 * last - inside } else { inside }.unsigned_abs()]
        }));
        around.sort_by(f32::total_cmp);
        around[half.unsigned_abs()]
    };
    (0..=last).map(&mut median).collect()
}

/// The first position of each token on the way through `weights` (tokens times positions) that gathers most.
fn path(weights: &[Vec<f64>]) -> Vec<usize> {
    #[derive(Clone, Copy)]
    enum Came {
        Both,
        Token,
        Position,
    }
    let (tokens, positions) = (weights.len(), weights[0].len());
    let mut before = vec![f32::INFINITY; tokens + 1];
    before[0] = 0.0;
    let mut came = vec![Came::Position; tokens * positions];
    for at in 0..positions {
        let mut now = vec![f32::INFINITY; tokens + 1];
        for token in 0..tokens {
            let (both, one, other) = (before[token], now[token], before[token + 1]);
            let (cost, how) = if both < one && both < other {
                (both, Came::Both)
            } else if one < both && one < other {
                (one, Came::Token)
            } else {
                (other, Came::Position)
            };
            now[token + 1] = (f64::from(cost) - weights[token][at]) as f32;
            came[token * positions + at] = how;
        }
        before = now;
    }
    let mut starts = vec![0; tokens];
    let (mut token, mut at) = (tokens - 1, positions - 1);
    loop {
        starts[token] = at;
        let how = match (token, at) {
            (0, 0) => break,
            (0, _) => Came::Position,
            (_, 0) => Came::Token,
            _ => came[token * positions + at],
        };
        match how {
            Came::Both => (token, at) = (token - 1, at - 1),
            Came::Token => token -= 1,
            Came::Position => at -= 1,
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_begin_where_attention_moves_to_them() {
        let peak = |token: usize, at: usize| if at / 10 == token { 1.0 } else { 0.0 };
        let head: Vec<Vec<f32>> = (0..4).map(|t| (0..40).map(|at| peak(t, at)).collect()).collect();
        assert_eq!(starts(vec![head.clone()], 40, 1), [0, 10, 20, 30]);
        assert_eq!(starts(vec![head.clone(), head], 40, 7), [0, 10, 20, 30]);
    }

    #[test]
    fn odd_shapes_give_times_within_the_sound() {
        assert!(starts(Vec::new(), 10, 7).is_empty());
        assert_eq!(starts(vec![vec![vec![0.5; 9]]], 9, 7), [0]);
        assert_eq!(starts(vec![vec![vec![0.5; 2]; 3]], 1, 7), [0, 0, 0]);
        assert_eq!(starts(vec![vec![vec![0.5; 2]; 3]], 0, 7), [0, 0, 0]);
        let nothing = starts(vec![vec![vec![f32::NAN; 20]; 5]], 20, 7);
        assert!(nothing.len() == 5 && nothing.iter().all(|at| *at < 20), "{nothing:?}");
    }
}
