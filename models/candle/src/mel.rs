//! Log mel filter banks as transformers' `WhisperFeatureExtractor` computes them.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Samples per second of what goes in.
pub(crate) const RATE_HZ: usize = 16_000;
/// Samples from one frame to the next: 10 ms.
pub(crate) const SHIFT: usize = 160;
/// Samples of one frame, centred on its instant: 25 ms.
const WINDOW: usize = 400;
/// What is quieter counts as this.
const FLOOR: f32 = 1e-10;
/// What is this much quieter than the loudest, in powers of ten, is cut off.
const RANGE: f32 = 8.0;

/// Tables of a filter bank, shared by all streams.
pub(crate) struct Bank {
    window: Vec<f32>,
    /// First transform bin and weights of each filter.
    filters: Vec<(usize, Vec<f32>)>,
    fft: Arc<dyn Fft<f32>>,
}

impl Bank {
    pub(crate) fn new(bins: usize) -> Self {
        let turn = std::f64::consts::TAU / WINDOW as f64;
        let window = (0..WINDOW).map(|n| (0.5 - 0.5 * (turn * n as f64).cos()) as f32).collect();
        let highest = mel(RATE_HZ as f64 / 2.0);
        let edges: Vec<f64> = (0..bins + 2).map(|n| hertz(highest * n as f64 / (bins + 1) as f64)).collect();
        let filters = edges.windows(3).map(|edge| {
            let (left, centre, right) = (edge[0], edge[1], edge[2]);
            let (mut first, mut weights) = (0, Vec::new());
            for n in 0..=WINDOW / 2 {
                let at = (n * RATE_HZ) as f64 / WINDOW as f64;
                let weight = ((at - left) / (centre - left)).min((right - at) / (right - centre));
                if weight > 0.0 {
                    if weights.is_empty() {
                        first = n;
                    }
                    // Each filter has the same area.
                    weights.push((weight * 2.0 / (right - left)) as f32);
                }
            }
            (first, weights)
        });
        Self { window, filters: filters.collect(), fft: FftPlanner::new().plan_fft_forward(WINDOW) }
    }

    /// `frames` frames of sound from -1 to 1, which is cut or followed by silence: filter by filter, each with its
    /// frames.
    pub(crate) fn features(&self, pcm: &[f32], frames: usize) -> Vec<f32> {
        let length = frames * SHIFT;
        let pcm = &pcm[..pcm.len().min(length)];
        let half = WINDOW / 2;
        let sample = |at: isize| {
            // The sound is mirrored at both ends of the window.
            let inside = at.unsigned_abs();
            let inside = if inside >= length { (2 * length).saturating_sub(inside + 2) } else { inside };
            pcm.get(inside).copied().unwrap_or(0.0)
        };
        let mut out = vec![FLOOR.log10(); self.filters.len() * frames];
        let mut scratch = vec![Complex::default(); WINDOW];
        let mut work = vec![Complex::default(); self.fft.get_inplace_scratch_len()];
        // Frames behind the sound are silence: nothing to compute.
        let heard = ((pcm.len() + half) / SHIFT + 1).min(frames);
        for frame in 0..heard {
            let from = (frame * SHIFT).cast_signed() - half.cast_signed();
            for (n, (slot, taper)) in scratch.iter_mut().zip(&self.window).enumerate() {
                *slot = Complex::new(sample(from + n.cast_signed()) * taper, 0.0);
            }
            self.fft.process_with_scratch(&mut scratch, &mut work);
            for (bin, (first, weights)) in self.filters.iter().enumerate() {
                let power = scratch[*first..].iter().zip(weights).map(|(b, weight)| weight * b.norm_sqr());
                out[bin * frames + frame] = power.sum::<f32>().max(FLOOR).log10();
            }
        }
        let loudest = out.iter().copied().fold(f32::MIN, f32::max);
        for value in &mut out {
            *value = (value.max(loudest - RANGE) + 4.0) / 4.0;
        }
        out
    }
}

/// Slaney's scale: even up to 1 kHz, logarithmic above.
fn mel(hz: f64) -> f64 {
    if hz < 1_000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1_000.0).ln() * 27.0 / 6.4f64.ln() }
}

fn hertz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1_000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_numbers_are_those_of_transformers() {
        let expected = fixtures::expected();
        let frames = fixtures::FRAMES;
        for bins in [80, 128] {
            let out = Bank::new(bins).features(&fixtures::audio(), frames);
            for (frame, wanted) in expected[format!("mel{bins}")].as_object().expect("frames") {
                let frame: usize = frame.parse().expect("a number");
                for (bin, want) in fixtures::numbers(wanted).iter().enumerate() {
                    let have = f64::from(out[bin * frames + frame]);
                    assert!(
                        (have - want).abs() < 1e-4,
                        "{bins} filters, frame {frame}, {bin}: {have} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn any_length_of_sound_fills_the_window() {
        let bank = Bank::new(80);
        for samples in [0, 1, 159, 200, 1_599, 1_600, 1_601, 5_000] {
            let out = bank.features(&vec![0.25; samples], 10);
            assert_eq!(out.len(), 800);
            assert!(out.iter().all(|v| v.is_finite()), "{samples}");
        }
    }
}
