//! The background of a pause, described in a few octets (RFC 3389): its level and its colour.
//!
//! The colour is that of an all-pole filter, as reflection coefficients. The RFC leaves their sign open; here, as in
//! WebRTC and FFmpeg, the first one is negative where neighbouring samples are alike.

use crate::{ComfortNoise, mix};

/// Coefficients sent and taken. More describe a narrowband background no better.
const ORDER: usize = 10;
/// Weight of a new frame in the description: a background is learnt in a third of a second at 20 ms a frame.
const WEIGHT: f64 = 0.1;
/// Added to the power, -60 dB: no filter rings.
const FLOOR: f64 = 1e-6;
/// Longest stretch analysed under one window.
const LONGEST: usize = 960;
/// Samples in which the description's parameters move on by [`STEP`] of what is left.
const BLOCK: usize = 40;
const STEP: f32 = 0.1;
/// One step of a coefficient (RFC 3389 section 3.2).
const QUANTUM: f64 = 258.0 / 32_768.0;
const MIDDLE: f64 = 127.0;
/// The quietest level that can be told, in dBov with the sign left out, and the mask of its seven bits.
const QUIETEST: u8 = 127;

/// Listens to a background and describes it.
#[derive(Clone, Debug)]
pub struct NoiseEncoder {
    order: usize,
    /// Power of the samples, and correlation with the samples before, each as a share of full scale.
    power: f64,
    correlation: [f64; ORDER + 1],
    heard: bool,
}

impl NoiseEncoder {
    /// The longest payload.
    pub const LONGEST: usize = ORDER + 1;

    /// An encoder that sends the level and `order` coefficients, at most ten; 0 sends the level alone, which everybody
    /// understands.
    #[must_use]
    pub fn new(order: usize) -> Self {
        Self { order: order.min(ORDER), power: 0.0, correlation: [0.0; ORDER + 1], heard: false }
    }

    /// Takes a frame of the background: sound of a pause, before it is coded, of any rate but always the same.
    ///
    /// # Realtime safety
    /// No allocation.
    pub fn hear(&mut self, pcm: &[i16]) {
        let pcm = &pcm[pcm.len().saturating_sub(LONGEST)..];
        if pcm.len() <= ORDER {
            return;
        }
        let mut windowed = [0f32; LONGEST];
        let windowed = &mut windowed[..pcm.len()];
        let step = std::f32::consts::PI / pcm.len() as f32;
        for (n, (slot, sample)) in windowed.iter_mut().zip(pcm).enumerate() {
            *slot = f32::from(*sample) / 32_768.0 * (step * (n as f32 + 0.5)).sin();
        }
        let weight = if std::mem::replace(&mut self.heard, true) { WEIGHT } else { 1.0 };
        let blend = |old: &mut f64, new: f64| *old += (new - *old) * weight;
        let squares: f64 = pcm.iter().map(|s| f64::from(*s) * f64::from(*s)).sum();
        blend(&mut self.power, squares / (pcm.len() as f64 * 32_768.0 * 32_768.0));
        for (lag, sum) in self.correlation.iter_mut().enumerate() {
            let product: f32 = windowed[lag..].iter().zip(&*windowed).map(|(a, b)| a * b).sum();
            blend(sum, f64::from(product) / pcm.len() as f64);
        }
    }

    /// Writes the description of what was heard into the front of `out`; returns its octets: one for the level and one for
    /// each coefficient, as far as there is room. The payload type is 13 at 8 kHz and a dynamic one else.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let level = if self.power > 0.0 { -10.0 * self.power.log10() } else { f64::from(QUIETEST) };
        let level = level.round().clamp(0.0, f64::from(QUIETEST)) as u8;
        let octets = [level].into_iter().chain(
            self.reflection()
                .into_iter()
                .take(self.order)
                .map(|k| (k / QUANTUM + MIDDLE).round().clamp(0.0, 2.0 * MIDDLE) as u8),
        );
        out.iter_mut().zip(octets).map(|(slot, octet)| *slot = octet).count()
    }

    /// Forgets what it heard.
    pub fn reset(&mut self) {
        *self = Self::new(self.order);
    }

    /// Levinson's recursion.
    fn reflection(&self) -> [f64; ORDER] {
        let mut reflection = [0.0; ORDER];
        let mut predictor = [0.0; ORDER + 1];
        predictor[0] = 1.0;
        let mut error = self.correlation[0] * (1.0 + FLOOR);
        for m in 1..=ORDER {
            if error <= 0.0 {
                break;
            }
            let sum: f64 = (0..m).map(|i| predictor[i] * self.correlation[m - i]).sum();
            let k = (-sum / error).clamp(-0.99, 0.99);
            let before = predictor;
            for i in 1..=m {
                predictor[i] = before[i] + k * before[m - i];
            }
            reflection[m - 1] = k;
            error *= 1.0 - k * k;
        }
        reflection
    }
}

/// Makes noise that sounds like the description of it.
#[derive(Clone, Debug)]
pub struct NoiseDecoder {
    noise: ComfortNoise,
    /// Backward errors of the lattice.
    state: [f32; ORDER],
    present: Sound,
    wanted: Sound,
    /// Samples left until the parameters move on.
    left: usize,
    heard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sound {
    level_db: f32,
    reflection: [f32; ORDER],
}

impl NoiseDecoder {
    /// A decoder that makes silence until it is told what to make; any seed will do.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        let silence = Sound { level_db: mix::SILENCE_DB, reflection: [0.0; ORDER] };
        Self {
            noise: ComfortNoise::new(seed),
            state: [0.0; ORDER],
            present: silence,
            wanted: silence,
            left: 0,
            heard: false,
        }
    }

    /// Takes a description. Further coefficients than ten are left out of account, and so is an empty payload; says
    /// whether there was one.
    pub fn update(&mut self, payload: &[u8]) -> bool {
        let Some((level, coefficients)) = payload.split_first() else { return false };
        self.wanted = Sound { level_db: -f32::from(level & QUIETEST), reflection: [0.0; ORDER] };
        for (k, octet) in self.wanted.reflection.iter_mut().zip(coefficients) {
            // 255 is reserved.
            if *octet != u8::MAX {
                *k = ((f64::from(*octet) - MIDDLE) * QUANTUM) as f32;
            }
        }
        if !std::mem::replace(&mut self.heard, true) {
            self.present = self.wanted;
        }
        true
    }

    /// Overwrites `out` with noise. Level and colour move to a new description within a tenth of a second.
    ///
    /// # Realtime safety
    /// No allocation.
    pub fn fill(&mut self, mut out: &mut [i16]) {
        while !out.is_empty() {
            if self.left == 0 {
                self.left = BLOCK;
                self.present.approach(&self.wanted);
            }
            let (now, later) = out.split_at_mut(out.len().min(self.left));
            self.left -= now.len();
            self.synthesize(now);
            out = later;
        }
    }

    /// Whether a description has come.
    #[must_use]
    pub const fn is_told(&self) -> bool {
        self.heard
    }

    /// Forgets the description, for a new pause.
    pub fn reset(&mut self) {
        let silence = Sound { level_db: mix::SILENCE_DB, reflection: [0.0; ORDER] };
        (self.present, self.wanted, self.heard) = (silence, silence, false);
        self.state = [0.0; ORDER];
    }

    fn synthesize(&mut self, out: &mut [i16]) {
        let Sound { level_db, reflection } = self.present;
        if level_db <= mix::SILENCE_DB {
            out.fill(0);
            self.state = [0.0; ORDER];
            return;
        }
        let kept: f32 = reflection.iter().map(|k| 1.0 - k * k).product();
        // Uniform values of ±1 have a variance of a third.
        let scale = mix::factor(level_db) * 32_768.0 * (3.0 * kept).sqrt();
        for sample in out {
            let mut forward = self.noise.uniform() * scale;
            for m in (0..ORDER).rev() {
                forward -= reflection[m] * self.state[m];
                if m + 1 < ORDER {
                    self.state[m + 1] = self.state[m] + reflection[m] * forward;
                }
            }
            self.state[0] = forward;
            *sample = mix::rounded(forward);
        }
    }
}

impl Sound {
    fn approach(&mut self, wanted: &Self) {
        if self == wanted {
            return;
        }
        self.level_db += (wanted.level_db - self.level_db) * STEP;
        for (k, wanted) in self.reflection.iter_mut().zip(wanted.reflection) {
            *k += (wanted - *k) * STEP;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::level_db;

    /// White noise through two poles and a zero: dull, with a bump.
    fn background(len: usize, db: f32) -> Vec<i16> {
        let mut white = ComfortNoise::new(11);
        let (mut a, mut b) = (0.0, 0.0);
        let mut pcm: Vec<i16> = (0..len)
            .map(|_| {
                let sound = white.uniform() * 2_000.0 + 1.3 * a - 0.6 * b;
                (a, b) = (sound, a);
                sound as i16
            })
            .collect();
        let level = level_db(&pcm);
        mix::gain(&mut pcm, db - level);
        pcm
    }

    /// Mean power in eight bands, in dB.
    fn bands(pcm: &[i16]) -> [f64; 8] {
        const SIZE: usize = 128;
        let mut bands = [0f64; 8];
        for frame in pcm.chunks_exact(SIZE) {
            for bin in 0..SIZE / 2 {
                let (mut re, mut im) = (0.0, 0.0);
                for (n, sample) in frame.iter().enumerate() {
                    let window = (std::f64::consts::PI * (n as f64 + 0.5) / SIZE as f64).sin();
                    let angle = std::f64::consts::TAU * ((bin as f64 + 0.5) * n as f64) / SIZE as f64;
                    re += f64::from(*sample) * window * angle.cos();
                    im += f64::from(*sample) * window * angle.sin();
                }
                bands[bin / 8] += re * re + im * im;
            }
        }
        bands.map(|power| 10.0 * power.log10())
    }

    fn described(pcm: &[i16], order: usize) -> Vec<u8> {
        let mut encoder = NoiseEncoder::new(order);
        pcm.chunks(160).for_each(|frame| encoder.hear(frame));
        let mut payload = [0; 20];
        let length = encoder.encode(&mut payload);
        payload[..length].to_vec()
    }

    #[test]
    fn a_background_keeps_its_level_within_1_db_and_its_colour_within_3_db() {
        for db in [-60.0, -50.0, -35.0] {
            let pcm = background(16_000, db);
            let payload = described(&pcm, 10);
            assert_eq!(payload.len(), 11);
            assert!((f32::from(payload[0]) + db).abs() <= 1.0, "{payload:?}");
            assert!(payload[1] < 100, "alike neighbours are negative: {payload:?}");
            let mut decoder = NoiseDecoder::new(5);
            assert!(decoder.update(&payload));
            let mut made = vec![0; 16_000];
            made.chunks_mut(160).for_each(|frame| decoder.fill(frame));
            assert!((level_db(&made) - db).abs() < 1.0, "{db}: {}", level_db(&made));
            if db > -55.0 {
                for (n, (a, b)) in bands(&pcm).into_iter().zip(bands(&made)).enumerate() {
                    assert!((a - b).abs() < 3.0, "{db} dBov, band {n}: {a:.1} became {b:.1} dB");
                }
            }
        }
    }

    #[test]
    fn a_new_level_is_reached_smoothly() {
        let mut decoder = NoiseDecoder::new(5);
        decoder.update(&[70]);
        let mut out = vec![0; 1_600];
        decoder.fill(&mut out);
        assert!((level_db(&out) + 70.0).abs() < 1.5);
        decoder.update(&[40]);
        let mut steps = Vec::new();
        for _ in 0..10 {
            let mut frame = [0; 160];
            decoder.fill(&mut frame);
            steps.push(level_db(&frame));
        }
        assert!(steps[0] < -50.0 && (steps[9] + 40.0).abs() < 2.0, "{steps:?}");
    }

    #[test]
    fn any_description_makes_sound_that_stays_in_bounds() {
        for level in [0, 20, 127, 128, 255] {
            for k in [0, 1, 127, 200, 254, 255] {
                let mut payload = vec![k; 40];
                payload[0] = level;
                let mut decoder = NoiseDecoder::new(1);
                assert!(decoder.update(&payload));
                let mut out = vec![1; 3_000];
                decoder.fill(&mut out);
                if level == 127 {
                    assert_eq!(out, vec![0; 3_000]);
                }
            }
        }
        let mut decoder = NoiseDecoder::new(1);
        assert!(!decoder.update(&[]) && !decoder.is_told());
        let mut out = [9; 160];
        decoder.fill(&mut out);
        assert_eq!(out, [0; 160]);
    }

    #[test]
    fn nothing_and_silence_are_described_as_silence() {
        let mut payload = [9; 20];
        assert_eq!(NoiseEncoder::new(99).encode(&mut payload), NoiseEncoder::LONGEST);
        assert_eq!(payload[..3], [127, 127, 127]);
        assert_eq!(described(&[0; 480], 0), [127]);
        let mut encoder = NoiseEncoder::new(4);
        encoder.hear(&[]);
        encoder.hear(&[i16::MIN; 4_000]);
        assert_eq!(encoder.encode(&mut payload[..2]), 2);
        assert_eq!(payload[0], 0);
    }
}
