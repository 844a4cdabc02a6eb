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
pub(crate) fn prediction_gain_db(pcm: &[i16]) -> f64 {
    // Normal equations, the last column for the right-hand side.
    let mut system = [[0f64; ORDER + 1]; ORDER];
    let mut energy = 0f64;
    for n in PAST..pcm.len() {
        let present = f64::from(pcm[n]);
        let past: [f64; ORDER] = std::array::from_fn(|i| f64::from(pcm[n - (i + 1) * SPACING]));
        energy += present * present;
        for (row, delayed) in system.iter_mut().zip(past) {
            row.iter_mut().zip(past).for_each(|(sum, other)| *sum += delayed * other);
            row[ORDER] += delayed * present;
        }
    }
    if energy == 0.0 {
        return 0.0;
    }
    let right = system.map(|row| row[ORDER]);
    for (i, row) in system.iter_mut().enumerate() {
        // A single sine leaves the system singular; a grain of noise decides among its solutions.
        row[i] += energy * 1e-7;
    }
    let coefficients = solve(system);
    let explained: f64 = coefficients.iter().zip(right).map(|(a, r)| a * r).sum();
    10.0 * (energy / (energy - explained).max(energy * 1e-9)).log10()
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
            assert!(prediction_gain_db(&pcm[100..404]) > 40.0, "{key}");
        }
        let mut noise = [0; 304];
        ComfortNoise::new(1).fill(&mut noise, -30.0);
        assert!(prediction_gain_db(&noise) < 6.0);
    }

    #[test]
    fn degenerate_input_has_no_gain() {
        assert_eq!(prediction_gain_db(&[]), 0.0);
        assert_eq!(prediction_gain_db(&[5; PAST]), 0.0);
        assert_eq!(prediction_gain_db(&[0; 304]), 0.0);
        assert!(prediction_gain_db(&[i16::MIN; 304]).is_finite());
    }
}
