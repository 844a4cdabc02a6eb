//! Test signals, deterministic to the sample.

use std::f64::consts::TAU;

use antiphon_media_frame::{SampleRate, Span};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A sine of `hz` at `dbfs` (0 is full scale, peak).
#[must_use]
pub fn tone(rate: SampleRate, span: Span, hz: f64, dbfs: f64) -> Vec<i16> {
    let peak = peak_of(dbfs);
    let step = TAU * hz / f64::from(rate.hz());
    (0..rate.samples(span)).map(|n| (peak * (step * n as f64).sin()).round() as i16).collect()
}

/// A sine that sweeps from `from_hz` to `to_hz` in a straight line: one sharp peak of correlation, in any codec.
#[must_use]
pub fn chirp(rate: SampleRate, span: Span, from_hz: f64, to_hz: f64, dbfs: f64) -> Vec<i16> {
    let peak = peak_of(dbfs);
    let samples = rate.samples(span);
    let length = samples.max(1) as f64;
    (0..samples)
        .map(|n| {
            let cycles = from_hz * n as f64 + (to_hz - from_hz) * (n as f64).powi(2) / (2.0 * length);
            (peak * (TAU * cycles / f64::from(rate.hz())).sin()).round() as i16
        })
        .collect()
}

/// White noise, uniform up to `dbfs`.
#[must_use]
pub fn noise(seed: u64, rate: SampleRate, span: Span, dbfs: f64) -> Vec<i16> {
    let peak = peak_of(dbfs);
    let mut random = SmallRng::seed_from_u64(seed);
    (0..rate.samples(span)).map(|_| (peak * random.random_range(-1.0..=1.0)).round() as i16).collect()
}

/// Something with the gait of speech: syllables of a glottal pulse through two moving resonances and now and then a
/// hiss, words of one to four syllables, and pauses between them. No words are in it.
#[must_use]
pub fn speech_like(seed: u64, rate: SampleRate, span: Span) -> Vec<i16> {
    let mut random = SmallRng::seed_from_u64(seed);
    let hz = f64::from(rate.hz());
    let total = rate.samples(span);
    let mut out = Vec::with_capacity(total);
    let base_pitch = random.random_range(90.0..220.0);
    while out.len() < total {
        for _ in 0..random.random_range(1..=4) {
            if random.random_bool(0.4) {
                let hiss = (hz * random.random_range(0.04..0.09)) as usize;
                let mut last = 0.0;
                for n in 0..hiss {
                    let white: f64 = random.random_range(-1.0..1.0);
                    out.push((2_500.0 * arch(n, hiss) * (white - last)) as i16);
                    last = white;
                }
            }
            let syllable = (hz * random.random_range(0.11..0.24)) as usize;
            let pitch = base_pitch * random.random_range(0.85..1.2);
            let mut formants = [
                Resonance::new(random.random_range(300.0..800.0), 80.0, hz),
                Resonance::new(random.random_range(900.0..2_300.0), 110.0, hz),
            ];
            let mut phase = 0.0;
            for n in 0..syllable {
                phase += pitch * (1.0 - 0.1 * n as f64 / syllable as f64) / hz;
                let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
                phase %= 1.0;
                let voice: f64 = formants.iter_mut().map(|formant| formant.filter(pulse)).sum();
                out.push((9_000.0 * arch(n, syllable) * voice).clamp(-30_000.0, 30_000.0) as i16);
            }
        }
        let pause = if random.random_bool(0.2) { 0.3..0.7 } else { 0.05..0.15 };
        let pause = (hz * random.random_range(pause)) as usize;
        out.extend((0..pause).map(|_| random.random_range(-12i16..=12)));
    }
    out.truncate(total);
    out
}

struct Resonance {
    a1: f64,
    a2: f64,
    y1: f64,
    y2: f64,
}

impl Resonance {
    fn new(centre: f64, width: f64, hz: f64) -> Self {
        let radius = (-std::f64::consts::PI * width / hz).exp();
        Self { a1: 2.0 * radius * (TAU * centre / hz).cos(), a2: -radius * radius, y1: 0.0, y2: 0.0 }
    }

    fn filter(&mut self, input: f64) -> f64 {
        let y = input + self.a1 * self.y1 + self.a2 * self.y2;
        self.y2 = self.y1;
        self.y1 = y;
        y
    }
}

/// Rises and falls over a stretch, 0 to 1.
fn arch(n: usize, of: usize) -> f64 {
    (std::f64::consts::PI * n as f64 / of.max(1) as f64).sin().sqrt()
}

fn peak_of(dbfs: f64) -> f64 {
    32_767.0 * 10f64.powf(dbfs.min(0.0) / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_like_has_loud_and_silent_stretches_and_repeats_by_seed() {
        let rate = SampleRate::HZ_16000;
        let a = speech_like(5, rate, Span::from_secs(10));
        assert_eq!(a.len(), 160_000);
        assert_eq!(a, speech_like(5, rate, Span::from_secs(10)));
        assert_ne!(a, speech_like(6, rate, Span::from_secs(10)));
        let levels: Vec<f64> = a
            .chunks(320)
            .map(|c| (c.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / c.len() as f64).sqrt())
            .collect();
        let loud = levels.iter().filter(|l| **l > 1_000.0).count();
        let silent = levels.iter().filter(|l| **l < 20.0).count();
        assert!(loud > 150 && silent > 50, "{loud} loud and {silent} silent of {}", levels.len());
    }

    #[test]
    fn a_tone_has_its_frequency_and_level() {
        let pcm = tone(SampleRate::HZ_8000, Span::from_secs(1), 440.0, -6.0);
        let crossings = pcm.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
        assert!((439..=440).contains(&crossings), "{crossings}");
        let peak = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        assert!((16_300..16_500).contains(&peak), "{peak}");
    }
}
