//! Telling tones from speech.
//!
//! A sum of a few sines is predicted without error by as many pairs of its own earlier samples, at any spacing. At a
//! spacing of half a millisecond the harmonics and formants of speech are not, so that the gain of such a prediction
//! parts the two: keys, ringing and beeps reach 29 dB through µ-law and 38 dB through G.722, while
//! nine in ten windows of speech stay under 20 dB.

/// Coefficients of the predictor: three sines.
const ORDER: usize = 6;
/// Samples between the ones predicted from: 0.5 ms at 16 kHz.
const SPACING: usize = 8;
/// Samples before a window that its prediction needs.
pub(crate) const PAST: usize = ORDER * SPACING;

/// How far prediction lowers the level of `pcm`, in dB, by least squares over all but its first [`PAST`] samples.
/// Zero for silence and for slices with nothing to predict.
pub(crate) fn prediction_gain_db<const SAMPLES: usize>(pcm: &[i16; SAMPLES]) -> f64 {
    let Some(last) = SAMPLES.checked_sub(PAST) else { return 0.0 };
    let x = pcm.map(f64::from);
    // Each sum of products of two delayed copies; sums of whole numbers this small are exact.
    let mut sums = [[0f64; ORDER + 1]; ORDER + 1];
    for (j, sum) in sums[0].iter_mut().enumerate() {
        *sum = dot(&x[PAST..], &x[PAST - j * SPACING..][..last]);
    }
    for i in 0..ORDER {
        for j in i..ORDER {
            // Both delayed by one spacing more: the stretch begins as much earlier, and ends so.
            let product = |n: usize| x[n - i * SPACING] * x[n - j * SPACING];
            let come: f64 = (PAST - SPACING..PAST).map(product).sum();
            let gone: f64 = (SAMPLES - SPACING..SAMPLES).map(product).sum();
            sums[i + 1][j + 1] = sums[i][j] + come - gone;
        }
    }
    let energy = sums[0][0];
    if energy <= 0.0 {
        return 0.0;
    }
    // Normal equations, the last column for the right-hand side.
    let mut system = [[0f64; ORDER + 1]; ORDER];
    for (i, row) in system.iter_mut().enumerate() {
        for j in 0..ORDER {
            row[j] = sums[i.min(j) + 1][i.max(j) + 1];
        }
        row[ORDER] = sums[0][i + 1];
        // A single sine leaves the system singular; a grain of noise decides among its solutions.
        row[i] += energy * 1e-7;
    }
    let right = system.map(|row| row[ORDER]);
    let coefficients = solve(system);
    let explained: f64 = coefficients.iter().zip(right).map(|(a, r)| a * r).sum();
    10.0 * (energy / (energy - explained).max(energy * 1e-9)).log10()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Eight sums side by side, so that the compiler may use vector registers.
    let mut sums = [0f64; 8];
    let ((eights, rest), (others, other_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in eights.iter().zip(others) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest.iter().zip(other_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// Gauss-Jordan elimination; the matrix is symmetric and positive definite, so that no pivot is sought.
fn solve(mut system: [[f64; ORDER + 1]; ORDER]) -> [f64; ORDER] {
    for pivot in 0..ORDER {
        let scale = system[pivot][pivot];
        let row = system[pivot].map(|x| x / scale);
        for (other, target) in system.iter_mut().enumerate() {
            let factor = target[pivot];
            if other == pivot {
                *target = row;
            } else {
                target.iter_mut().zip(row).for_each(|(x, r)| *x -= factor * r);
            }
        }
    }
    system.map(|row| row[ORDER])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ComfortNoise, tone};
    use antiphon_media_frame::{SampleRate, Span};

    #[test]
    fn tones_are_predicted_and_noise_is_not() {
        let (rate, span) = (SampleRate::HZ_16000, Span::from_millis(30));
        for key in "123456789*0#ABCD".chars() {
            let pcm = tone::dtmf(key, rate, span).expect("a key");
            assert!(prediction_gain_db(pcm[100..].first_chunk::<304>().expect("30 ms")) > 40.0, "{key}");
        }
        let mut noise = [0; 304];
        ComfortNoise::new(1).fill(&mut noise, -30.0);
        assert!(prediction_gain_db(&noise) < 6.0);
    }

    #[test]
    fn degenerate_input_has_no_gain() {
        assert_eq!(prediction_gain_db(&[0; 0]), 0.0);
        assert_eq!(prediction_gain_db(&[5; PAST]), 0.0);
        assert_eq!(prediction_gain_db(&[0; 304]), 0.0);
        assert!(prediction_gain_db(&[i16::MIN; 304]).is_finite());
    }
}
