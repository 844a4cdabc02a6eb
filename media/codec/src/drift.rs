//! Between two clocks of the same name: a source whose 8000 samples are not quite our second.
//!
//! [`DriftResampler`] stretches or shrinks sound by up to a thousandth, sample by sample, where dropping and repeating
//! samples would click. [`Pace`] finds out by how much, from how much of the source's sound waits to be played.

use std::sync::LazyLock;

use antiphon_media_frame::{SampleRate, Span};

use crate::mix;
use crate::resample::{dot, kernel};

/// Length of the filter; half of it is the delay. With [`BETA`], images of what lies below 0.42 of the rate are below
/// -60 dB.
const TAPS: usize = 32;
const BETA: f64 = 6.2;
/// Places between two samples that are tabulated; between those lie straight lines, 90 dB below the sound.
const PHASES: usize = 512;
/// Samples taken in at once.
const BLOCK: usize = 256;
/// The most that is corrected. Oscillators keep 100 ppm, software clocks 500.
const MOST_PPM: f64 = 1_000.0;

/// Converts a stream between two clocks of the same nominal rate; frames may have any length.
///
/// Without drift the samples pass unchanged, delayed by [`DriftResampler::delay`].
#[derive(Clone, Debug)]
pub struct DriftResampler {
    /// The last [`TAPS`] samples, then the new ones.
    line: Vec<f32>,
    /// Where the next output lies, in input samples past the first new one.
    at: f64,
    /// Input samples an output.
    step: f64,
}

impl DriftResampler {
    /// A converter that has heard nothing but silence, without drift.
    #[must_use]
    pub fn new() -> Self {
        LazyLock::force(&TABLE);
        Self { line: vec![0.0; TAPS + BLOCK], at: 0.0, step: 1.0 }
    }

    /// A converter that takes over in the middle of a sound: it goes on where `past` ended, at once and without a step.
    /// Of the first sound it keeps back as much as [`DriftResampler::delay`] says. Only the end of `past` matters.
    #[must_use]
    pub fn after(past: &[i16]) -> Self {
        let mut new = Self::new();
        let past = &past[past.len().saturating_sub(TAPS)..];
        for (slot, sample) in new.line[TAPS - past.len()..TAPS].iter_mut().zip(past) {
            *slot = f32::from(*sample);
        }
        new.at = (TAPS / 2) as f64;
        new
    }

    /// How far before the first sample of what comes next the next output lies, at `rate`.
    #[must_use]
    pub fn lag(&self, rate: SampleRate) -> Span {
        let samples = ((TAPS / 2) as f64 - self.at).max(0.0);
        Span::from_nanos((samples * 1e9 / f64::from(rate.hz())) as u64)
    }

    /// Sets how far the source's clock is off, in parts per million: positive where it is slow, so that its sound has to be
    /// stretched. The sign is that of the receiver's drift. At most 1000 either way are corrected; what is not a number
    /// counts as none. May change at any time without a click.
    pub fn set_drift(&mut self, ppm: f64) {
        let ppm = if ppm.is_nan() { 0.0 } else { ppm.clamp(-MOST_PPM, MOST_PPM) };
        self.step = 1.0 / (1.0 + ppm * 1e-6);
    }

    /// Converts `pcm` and appends what is ready to `out`.
    ///
    /// # Realtime safety
    /// No allocation while `out` has capacity for [`DriftResampler::most`] more samples.
    pub fn process(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        let table: &[f32] = &TABLE;
        // A length that the compiler does not know: it would unroll the sums until nothing runs side by side.
        let taps = self.line.len() - BLOCK;
        for block in pcm.chunks(BLOCK) {
            for (slot, sample) in self.line[TAPS..].iter_mut().zip(block) {
                *slot = f32::from(*sample);
            }
            while self.at < block.len() as f64 {
                let whole = self.at as usize;
                let place = (self.at - whole as f64) * PHASES as f64;
                let phase = (place as usize).min(PHASES - 1);
                let weight = (place - phase as f64) as f32;
                let seen = &self.line[whole + 1..=whole + taps];
                let rows = &table[phase * taps..(phase + 2) * taps];
                let (a, b) = (dot(&rows[..taps], seen), dot(&rows[taps..], seen));
                out.push(mix::rounded(a + (b - a) * weight));
                self.at += self.step;
            }
            self.at -= block.len() as f64;
            self.line.copy_within(block.len()..block.len() + TAPS, 0);
        }
    }

    /// The most samples that `input` samples can turn into.
    #[must_use]
    pub fn most(&self, input: usize) -> usize {
        input + input.div_ceil(999) + 1
    }

    /// How much later than it went in a sound comes out, at `rate`: 2 ms at 8 kHz.
    #[must_use]
    pub const fn delay(rate: SampleRate) -> Span {
        rate.span(TAPS / 2)
    }

    /// Forgets what it heard; the drift stays.
    pub fn reset(&mut self) {
        self.line.fill(0.0);
        self.at = 0.0;
    }
}

impl Default for DriftResampler {
    fn default() -> Self {
        Self::new()
    }
}

/// The filter at each tabulated place, [`TAPS`] coefficients each; each passes a constant exactly.
static TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let mut table = Vec::with_capacity((PHASES + 1) * TAPS);
    for phase in 0..=PHASES {
        let fraction = phase as f64 / PHASES as f64;
        let half = (TAPS / 2) as f64;
        let row: [f64; TAPS] =
            std::array::from_fn(|k| kernel(k as f64 - (half - 1.0) - fraction, half, 0.5, BETA));
        let sum: f64 = row.iter().sum();
        table.extend(row.map(|h| (h / sum) as f32));
    }
    table
});

/// Finds the drift of a source from how much of its sound waits: a loop that settles within three minutes and does not
/// follow jitter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// What waits too much, in milliseconds, averaged over some seconds.
    excess: f64,
    /// The drift that it takes to keep it there.
    ppm: f64,
}

impl Pace {
    /// Seconds over which the excess is averaged.
    const AVERAGE_S: f64 = 4.0;
    /// Correction for a millisecond too much, in ppm: an excess is worked off in about 25 seconds.
    const PROPORTIONAL: f64 = 40.0;
    /// And for each second that it stays, in ppm.
    const INTEGRAL: f64 = 0.4;

    /// For a source whose drift has been measured otherwise; the sign is that of [`DriftResampler::set_drift`].
    #[must_use]
    pub fn starting_at(ppm: f64) -> Self {
        let ppm = if ppm.is_nan() { 0.0 } else { ppm.clamp(-MOST_PPM, MOST_PPM) };
        Self { excess: 0.0, ppm }
    }

    /// Takes note that `waiting` was there and `wanted` was to be, `since` the last time; returns the drift for
    /// [`DriftResampler::set_drift`].
    pub fn observe(&mut self, waiting: Span, wanted: Span, since: Span) -> f64 {
        let seconds = (since.nanos() as f64 / 1e9).min(1.0);
        let excess = (waiting.nanos() as f64 - wanted.nanos() as f64) / 1e6;
        self.excess += (excess - self.excess) * (seconds / Self::AVERAGE_S);
        self.ppm = (self.ppm - self.excess * Self::INTEGRAL * seconds).clamp(-MOST_PPM, MOST_PPM);
        (self.ppm - self.excess * Self::PROPORTIONAL).clamp(-MOST_PPM, MOST_PPM)
    }

    /// Starts again, for another source.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::sine;

    const RATE: SampleRate = SampleRate::HZ_8000;

    /// Power of all that is not a sine of `hz` in `pcm`, below that sine, in dB.
    fn noise_db(pcm: &[i16], hz: f64) -> f64 {
        let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
        // A window of whole cycles of both it and its double is not to be had; Hann leaks less than what is measured.
        let len = pcm.len() as f64;
        let mut weights = 0.0;
        let turns = std::f64::consts::TAU * hz / f64::from(RATE.hz());
        for (n, sample) in pcm.iter().enumerate() {
            let weight = (std::f64::consts::PI * (n as f64 + 0.5) / len).sin().powi(2);
            let (sin, cos) = (turns * n as f64).sin_cos();
            re += f64::from(*sample) * cos * weight;
            im += f64::from(*sample) * sin * weight;
            weights += weight;
        }
        let (re, im) = (2.0 * re / weights, 2.0 * im / weights);
        for (n, sample) in pcm.iter().enumerate() {
            let (sin, cos) = (turns * n as f64).sin_cos();
            power += (f64::from(*sample) - re * cos - im * sin).powi(2);
        }
        10.0 * (power / len / ((re * re + im * im) / 2.0)).log10()
    }

    fn drifted(pcm: &[i16], ppm: f64) -> Vec<i16> {
        let mut resampler = DriftResampler::new();
        resampler.set_drift(ppm);
        let mut out = Vec::new();
        for frame in pcm.chunks(160) {
            let before = out.len();
            resampler.process(frame, &mut out);
            assert!(out.len() - before <= resampler.most(frame.len()));
        }
        out
    }

    #[test]
    fn distortion_and_noise_lie_60_db_below_a_tone() {
        for (hz, ppm) in
            [(1_000.0, 100.0), (1_000.0, -500.0), (300.0, 500.0), (3_300.0, 100.0), (3_300.0, -500.0)]
        {
            let pcm = sine(hz, -6.0, RATE, Span::from_secs(6));
            let out = drifted(&pcm, ppm);
            let heard = noise_db(&out[4_000..44_000], hz / (1.0 + ppm * 1e-6));
            assert!(heard < -60.0, "{hz} Hz at {ppm} ppm: {heard:.1} dB");
        }
    }

    #[test]
    fn a_minute_becomes_as_much_longer_as_the_clock_is_slow() {
        for ppm in [-500.0, -100.0, 0.0, 100.0, 500.0] {
            let pcm = vec![100; 480_000];
            let out = drifted(&pcm, ppm);
            let expected = 480_000.0 * (1.0 + ppm * 1e-6);
            assert!((out.len() as f64 - expected).abs() <= 1.5, "{ppm}: {} for {expected}", out.len());
            assert!(out[100..].iter().all(|s| *s == 100));
        }
    }

    #[test]
    fn without_drift_the_samples_pass_unchanged() {
        let pcm = sine(1_234.0, -3.0, RATE, Span::from_millis(500));
        let out = drifted(&pcm, 0.0);
        let delay = RATE.samples(DriftResampler::delay(RATE));
        assert_eq!(out[delay..], pcm[..pcm.len() - delay]);
        assert_eq!(drifted(&pcm, f64::NAN), out);
    }

    #[test]
    fn taking_over_in_mid_sound_is_not_heard() {
        let pcm = sine(700.0, -6.0, RATE, Span::from_secs(2));
        let mut resampler = DriftResampler::after(&pcm[..8_000]);
        assert_eq!(resampler.lag(RATE), Span::ZERO);
        let mut out = pcm[..8_000].to_vec();
        for frame in pcm[8_000..].chunks(160) {
            resampler.process(frame, &mut out);
        }
        // Only what is kept back is missing.
        assert_eq!(out[..], pcm[..16_000 - 16]);
        assert_eq!(resampler.lag(RATE), DriftResampler::delay(RATE));
        resampler.set_drift(200.0);
        for frame in pcm.chunks(160).take(50) {
            resampler.process(frame, &mut out);
        }
        // It owes less and less as it stretches: 1.6 samples in a second.
        assert!(resampler.lag(RATE) < DriftResampler::delay(RATE) + Span::from_micros(130));
    }

    #[test]
    fn a_drift_that_changes_does_not_click() {
        let pcm = sine(1_000.0, -6.0, RATE, Span::from_secs(4));
        let mut resampler = DriftResampler::new();
        let mut out = Vec::new();
        for (n, frame) in pcm.chunks(160).enumerate() {
            resampler.set_drift(if n % 2 == 0 { 500.0 } else { -500.0 });
            resampler.process(frame, &mut out);
        }
        let steepest = |pcm: &[i16]| pcm.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max();
        // The tone's samples lie at eight places of its cycle only; between them it is 8 % steeper.
        assert!(steepest(&out[400..31_000]) <= steepest(&pcm).map(|step| step + step / 11));
        // A click would bend it more sharply than the tone itself bends.
        let bent = |w: &[i16]| (i32::from(w[2]) - 2 * i32::from(w[1]) + i32::from(w[0])).abs();
        let sharpest = |pcm: &[i16]| pcm.windows(3).map(bent).max();
        assert!(sharpest(&out[400..31_000]) <= sharpest(&pcm).map(|bend| bend + bend / 50));
    }

    #[test]
    fn the_pace_of_a_source_is_found_and_kept() {
        for ppm in [-400.0, -50.0, 0.0, 200.0, 500.0] {
            let mut pace = Pace::default();
            let (mut waiting, mut correction, wanted) = (60.0f64, 0.0, 40.0);
            let mut worst: f64 = 0.0;
            for tick in 0..15_000u32 {
                // Sound comes by the source's clock, in packets of 20 ms that jitter by 10, and is used by ours.
                waiting += 20.0 * ((correction - ppm) * 1e-6);
                let jitter = f64::from(tick.wrapping_mul(2_654_435_761) >> 16) / 65_536.0 * 20.0 - 10.0;
                let seen = Span::from_micros(((waiting + jitter).max(0.0) * 1e3) as u64);
                correction = pace.observe(seen, Span::from_millis(wanted as u64), Span::from_millis(20));
                assert!((0.0..100.0).contains(&waiting), "{ppm} ppm: {waiting} ms at {tick}");
                if tick > 9_000 {
                    worst = worst.max((waiting - wanted).abs());
                }
            }
            assert!(worst < 4.0, "{ppm} ppm: {worst:.2} ms off after three minutes");
        }
    }
}
