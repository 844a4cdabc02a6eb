//! Log mel filter banks as Kaldi computes them: what every model here was trained on.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Samples per second of what goes in.
pub(crate) const RATE_HZ: usize = 16_000;
/// Samples from one frame to the next: 10 ms.
pub(crate) const SHIFT: usize = 160;
/// Samples of one frame: 25 ms.
const WINDOW: usize = 400;
/// The transform's length: the next power of two.
const TRANSFORM: usize = 512;
/// Pre-emphasis.
const EMPHASIS: f32 = 0.97;
/// Where the lowest filter begins.
const LOW_HZ: f32 = 20.0;

/// The shape of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taper {
    /// Kaldi's own, of k2's models.
    Povey,
    /// Of FunASR's models.
    Hamming,
}

/// Which filter bank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BankOptions {
    /// Filters, and so numbers a frame.
    pub(crate) bins: usize,
    pub(crate) taper: Taper,
    /// Where the highest filter ends; counted down from 8 kHz where it is not positive.
    pub(crate) high_hz: f32,
    /// Whether frames begin with the first sample, or are centred on each 10 ms with the sound mirrored at its start.
    pub(crate) snip: bool,
    /// What 16-bit samples are multiplied by.
    pub(crate) scale: f32,
}

/// Tables of a filter bank, shared by all its streams.
pub(crate) struct Bank {
    options: BankOptions,
    window: Vec<f32>,
    /// First transform bin and weights of each filter.
    filters: Vec<(usize, Vec<f32>)>,
    fft: Arc<dyn Fft<f32>>,
}

impl Bank {
    pub(crate) fn new(options: BankOptions) -> Self {
        let turn = std::f32::consts::TAU / (WINDOW - 1) as f32;
        let window = (0..WINDOW).map(|n| {
            let cosine = (turn * n as f32).cos();
            match options.taper {
                Taper::Povey => (0.5 - 0.5 * cosine).powf(0.85),
                Taper::Hamming => 0.54 - 0.46 * cosine,
            }
        });
        let nyquist = RATE_HZ as f32 / 2.0;
        let high = if options.high_hz > 0.0 { options.high_hz } else { nyquist + options.high_hz };
        let (low, high) = (mel(LOW_HZ), mel(high));
        let step = (high - low) / (options.bins + 1) as f32;
        let filters = (0..options.bins).map(|bin| {
            let left = low + bin as f32 * step;
            let (centre, right) = (left + step, left + 2.0 * step);
            let (mut first, mut weights) = (0, Vec::new());
            for n in 0..TRANSFORM / 2 {
                let at = mel(n as f32 * RATE_HZ as f32 / TRANSFORM as f32);
                if at > left && at < right {
                    if weights.is_empty() {
                        first = n;
                    }
                    let rising = at <= centre;
                    weights.push(if rising {
                        (at - left) / (centre - left)
                    } else {
                        (right - at) / (right - centre)
                    });
                }
            }
            (first, weights)
        });
        Self {
            options,
            window: window.collect(),
            filters: filters.collect(),
            fft: FftPlanner::new().plan_fft_forward(TRANSFORM),
        }
    }

    /// The frames that `samples` of sound give: where frames are centred, also those that reach over the end.
    pub(crate) fn frames(&self, samples: usize) -> usize {
        if self.options.snip {
            samples.checked_sub(WINDOW).map_or(0, |rest| 1 + rest / SHIFT)
        } else {
            (samples + SHIFT / 2) / SHIFT
        }
    }

    fn frame(&self, samples: &[f32], scratch: &mut [Complex<f32>], out: &mut Vec<f32>) {
        let mean = samples.iter().sum::<f32>() / WINDOW as f32;
        let mut before = samples[0] - mean;
        for ((slot, sample), taper) in scratch.iter_mut().zip(samples).zip(&self.window) {
            let sample = sample - mean;
            *slot = Complex::new((sample - EMPHASIS * before) * taper, 0.0);
            before = sample;
        }
        scratch[WINDOW..].fill(Complex::default());
        self.fft.process(scratch);
        out.extend(self.filters.iter().map(|(first, weights)| {
            let bins = scratch[*first..].iter().zip(weights);
            bins.map(|(bin, weight)| weight * bin.norm_sqr()).sum::<f32>().max(f32::EPSILON).ln()
        }));
    }
}

fn mel(hz: f32) -> f32 {
    1127.0 * (1.0 + hz / 700.0).ln()
}

/// The filter bank of one stretch of sound.
pub(crate) struct BankStream {
    bank: Arc<Bank>,
    /// Samples that frames still need; the first of them is sample `origin` of the stretch, which a mirrored start
    /// makes negative.
    wave: Vec<f32>,
    origin: isize,
    frames: usize,
    scratch: Vec<Complex<f32>>,
}

impl BankStream {
    pub(crate) fn new(bank: Arc<Bank>) -> Self {
        Self { bank, wave: Vec::new(), origin: 0, frames: 0, scratch: vec![Complex::default(); TRANSFORM] }
    }

    /// Takes 16-bit samples and appends each frame that they complete to `out`.
    pub(crate) fn push(&mut self, pcm: &[i16], out: &mut Vec<f32>) {
        let scale = self.bank.options.scale;
        self.wave.extend(pcm.iter().map(|s| f32::from(*s) * scale));
        self.compute(out);
    }

    /// Takes silence, as long as it takes to complete `frames` frames in all.
    pub(crate) fn pad(&mut self, frames: usize, out: &mut Vec<f32>) {
        let end = self.begin(frames.saturating_sub(1)) + WINDOW as isize;
        let have = self.origin + self.wave.len() as isize;
        if end > have {
            self.wave.resize(self.wave.len() + (end - have).unsigned_abs(), 0.0);
        }
        self.compute(out);
    }

    /// The first sample of a frame.
    fn begin(&self, frame: usize) -> isize {
        let at = (frame * SHIFT).cast_signed();
        if self.bank.options.snip { at } else { at + (SHIFT / 2).cast_signed() - (WINDOW / 2).cast_signed() }
    }

    fn compute(&mut self, out: &mut Vec<f32>) {
        let before = self.begin(0);
        if self.origin == 0 && before < 0 {
            // The mirrored start needs as much sound as it mirrors.
            let lead = before.unsigned_abs();
            if self.wave.len() < lead {
                return;
            }
            let mirrored: Vec<f32> = self.wave[..lead].iter().rev().copied().collect();
            self.wave.splice(0..0, mirrored);
            self.origin = before;
        }
        loop {
            let from = (self.begin(self.frames) - self.origin).unsigned_abs();
            let Some(samples) = self.wave.get(from..from + WINDOW) else { break };
            self.bank.frame(samples, &mut self.scratch, out);
            self.frames += 1;
        }
        let done = (self.begin(self.frames) - self.origin).unsigned_abs().min(self.wave.len());
        self.wave.drain(..done);
        self.origin += done.cast_signed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn options(kind: &str) -> BankOptions {
        match kind {
            "streaming" => BankOptions {
                bins: 80,
                taper: Taper::Povey,
                high_hz: -400.0,
                snip: false,
                scale: 1.0 / 32_768.0,
            },
            _ => BankOptions { bins: 80, taper: Taper::Hamming, high_hz: 0.0, snip: true, scale: 1.0 },
        }
    }

    #[test]
    fn the_numbers_are_those_of_kaldi_native_fbank() {
        let (pcm, expected) = (fixtures::audio(), fixtures::expected());
        for kind in ["streaming", "offline"] {
            let bank = Arc::new(Bank::new(options(kind)));
            let mut stream = BankStream::new(Arc::clone(&bank));
            let mut out = Vec::new();
            // Pieces of odd length, as a wire might give them.
            for piece in pcm.chunks(331) {
                stream.push(piece, &mut out);
            }
            let wanted = &expected["bank"][kind];
            assert_eq!(bank.frames(pcm.len()) as u64, wanted["frames"].as_u64().expect("a count"));
            for (name, at) in [("first", 0), ("middle", 150)] {
                let wanted: Vec<f64> = fixtures::numbers(&wanted[name]);
                for (bin, (have, want)) in out[at * 80..].iter().zip(&wanted).enumerate() {
                    assert!((f64::from(*have) - want).abs() < 2e-3, "{kind} {name} {bin}: {have} {want}");
                }
            }
        }
    }

    #[test]
    fn padding_completes_exactly_the_frames_asked_for() {
        let bank = Arc::new(Bank::new(options("streaming")));
        for pcm in [0, 1, 119, 120, 160, 5_000] {
            let mut stream = BankStream::new(Arc::clone(&bank));
            let mut out = Vec::new();
            stream.push(&vec![100; pcm], &mut out);
            let wanted = bank.frames(pcm) + 7;
            stream.pad(wanted, &mut out);
            assert_eq!((stream.frames, out.len()), (wanted, wanted * 80), "{pcm} samples");
        }
    }
}
