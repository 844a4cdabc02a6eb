//! Adding, scaling and measuring samples.

/// What [`level_db`] says of digital silence, and the lowest it says at all.
pub const SILENCE_DB: f32 = -96.0;

/// Adds `pcm` to the front of `out`, saturating; what is longer in either is left alone.
pub fn add_into(out: &mut [i16], pcm: &[i16]) {
    for (sum, sample) in out.iter_mut().zip(pcm) {
        *sum = sum.saturating_add(*sample);
    }
}

/// Adds several sources into one frame, without the crackle of clipping.
///
/// Sums up to [`Mixer::KNEE`] pass unchanged, a single source of full gain thus bit by bit. Above it the gain falls within
/// an eighth of the frame, so that at most the first moment of a burst is clipped, and comes back over half a second.
#[derive(Clone, Debug)]
pub struct Mixer {
    sum: Vec<f32>,
    sources: usize,
    /// Of the limiter, at the end of the last frame.
    gain: f32,
}

impl Mixer {
    /// Amplitude up to which nothing is changed: -1 dB of full scale.
    pub const KNEE: f32 = 29_204.0;
    /// What the gain regains in a frame of 20 ms, as a share of what it lacks.
    const RELEASE: f32 = 0.2;

    /// A mixer for frames of `samples` samples.
    #[must_use]
    pub fn new(samples: usize) -> Self {
        Self { sum: vec![0.0; samples], sources: 0, gain: 1.0 }
    }

    /// Adds a source, scaled by `gain` (a factor; 1 leaves it as it is). Samples beyond the mixer's frame are left out.
    ///
    /// # Realtime safety
    /// No allocation.
    pub fn add(&mut self, pcm: &[i16], gain: f32) {
        let gain = if gain.is_finite() { gain } else { 0.0 };
        let sums = self.sum.iter_mut().zip(pcm);
        if self.sources == 0 {
            sums.for_each(|(sum, sample)| *sum = f32::from(*sample) * gain);
            let covered = pcm.len().min(self.sum.len());
            self.sum[covered..].fill(0.0);
        } else {
            sums.for_each(|(sum, sample)| *sum += f32::from(*sample) * gain);
        }
        self.sources += 1;
    }

    /// Writes the frame into the front of `out`, silence where nothing was added, and begins the next.
    ///
    /// # Realtime safety
    /// No allocation.
    pub fn finish(&mut self, out: &mut [i16]) {
        let len = out.len().min(self.sum.len());
        let (mixed, beyond) = out.split_at_mut(len);
        beyond.fill(0);
        if std::mem::take(&mut self.sources) == 0 {
            mixed.fill(0);
            self.gain = 1.0;
            return;
        }
        let peak = self.sum[..len].iter().fold(0f32, |peak, sum| peak.max(sum.abs()));
        let allowed = if peak > Self::KNEE { Self::KNEE / peak } else { 1.0 };
        let goal = allowed.min(self.gain + (1.0 - self.gain) * Self::RELEASE);
        let goal = if goal > 0.99 && allowed >= 1.0 { 1.0 } else { goal };
        if self.gain >= 1.0 && goal >= 1.0 {
            for (sample, sum) in mixed.iter_mut().zip(&self.sum) {
                *sample = rounded(*sum);
            }
        } else {
            // Down within the first eighth of the frame, up over all of it.
            let ramp = if goal < self.gain { (len / 8).max(1) } else { len.max(1) };
            let step = (goal - self.gain) / ramp as f32;
            for (n, (sample, sum)) in mixed.iter_mut().zip(&self.sum).enumerate() {
                let gain = self.gain + step * (n + 1).min(ramp) as f32;
                *sample = rounded(sum * gain);
            }
        }
        self.gain = goal;
    }
}

/// Scales by `db` decibels, saturating. A gain that is not a number leaves the samples as they are.
pub fn gain(pcm: &mut [i16], db: f32) {
    let factor = factor(db);
    if factor.is_nan() {
        return;
    }
    for sample in pcm {
        *sample = rounded(f32::from(*sample) * factor);
    }
}

/// The level in dBFS, from [`SILENCE_DB`] to 0.
#[must_use]
pub fn level_db(pcm: &[i16]) -> f32 {
    if pcm.is_empty() {
        return SILENCE_DB;
    }
    let sum: f64 = pcm.iter().map(|s| f64::from(*s) * f64::from(*s)).sum();
    let rms = (sum / pcm.len() as f64).sqrt() / 32_768.0;
    (20.0 * rms.log10()).max(f64::from(SILENCE_DB)) as f32
}

/// Ramps linearly from full to silence over the whole slice, so that sound may be cut after it without a click.
pub fn fade_out(pcm: &mut [i16]) {
    ramp(pcm, 1.0, 0.0);
}

/// Ramps linearly from silence to full over the whole slice.
pub fn fade_in(pcm: &mut [i16]) {
    ramp(pcm, 0.0, 1.0);
}

/// Scales by a factor that moves linearly from `from` (just before the first sample) to `to` (at the last), saturating.
pub fn ramp(pcm: &mut [i16], from: f32, to: f32) {
    let step = (to - from) / pcm.len().max(1) as f32;
    for (n, sample) in pcm.iter_mut().enumerate() {
        *sample = rounded(f32::from(*sample) * (from + step * (n + 1) as f32));
    }
}

/// The factor of a gain in decibels.
pub(crate) fn factor(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

/// The nearest sample, clipped. `f32::round` is a library call on processors without SSE 4.1, which is what is compiled
/// for by default: it took a tenth of the media shard's time.
pub(crate) fn rounded(value: f32) -> i16 {
    (value + 0.5f32.copysign(value)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate() {
        let mut out = [30_000, -30_000, 1, 5];
        add_into(&mut out, &[10_000, -10_000, 2]);
        assert_eq!(out, [i16::MAX, i16::MIN, 3, 5]);
    }

    fn loud(hz: f32, amplitude: f32) -> Vec<i16> {
        (0..160)
            .map(|n| ((n as f32 * hz * std::f32::consts::TAU / 8_000.0).sin() * amplitude) as i16)
            .collect()
    }

    #[test]
    fn a_single_source_and_quiet_sums_pass_bit_by_bit() {
        let mut mixer = Mixer::new(160);
        let (a, b) = (loud(400.0, 14_000.0), loud(700.0, 14_000.0));
        let mut out = [1; 200];
        mixer.finish(&mut out);
        assert_eq!(out, [0; 200], "nothing was added");
        mixer.add(&a, 1.0);
        mixer.finish(&mut out);
        assert_eq!((&out[..160], &out[160..]), (&a[..], &[0; 40][..]));
        mixer.add(&a, 1.0);
        mixer.add(&b, 0.5);
        mixer.finish(&mut out);
        for n in 0..160 {
            assert!((f32::from(out[n]) - f32::from(a[n]) - f32::from(b[n]) * 0.5).abs() <= 1.0);
        }
        mixer.add(&a, f32::NAN);
        mixer.finish(&mut out);
        assert_eq!(out, [0; 200]);
    }

    #[test]
    fn many_loud_sources_are_turned_down_instead_of_clipped_and_up_again() {
        let mut mixer = Mixer::new(160);
        let mut out = [0; 160];
        for _ in 0..5 {
            for hz in [400.0, 650.0, 900.0, 1_150.0] {
                mixer.add(&loud(hz, 20_000.0), 1.0);
            }
            mixer.finish(&mut out);
        }
        assert!(out.iter().all(|s| s.unsigned_abs() <= Mixer::KNEE as u16 + 1), "{out:?}");
        let quiet = loud(400.0, 5_000.0);
        let mut levels = Vec::new();
        for _ in 0..40 {
            mixer.add(&quiet, 1.0);
            mixer.finish(&mut out);
            levels.push(level_db(&out));
        }
        assert!(levels.windows(2).all(|pair| pair[1] >= pair[0] - 0.05), "{levels:?}");
        assert_eq!(out[..], quiet[..], "back to full gain");
    }

    #[test]
    fn gain_moves_the_level_by_its_decibels() {
        let mut pcm: Vec<i16> = (0..800).map(|n| ((n as f32 * 0.3).sin() * 8_000.0) as i16).collect();
        let before = level_db(&pcm);
        gain(&mut pcm, -6.0);
        assert!((level_db(&pcm) - before + 6.0).abs() < 0.01);
        gain(&mut pcm, 90.0);
        assert_eq!(pcm.iter().max(), Some(&i16::MAX));
        let loud = pcm.clone();
        gain(&mut pcm, f32::NAN);
        assert_eq!(pcm, loud);
    }

    #[test]
    fn levels_lie_between_silence_and_full_scale() {
        assert_eq!(level_db(&[]), SILENCE_DB);
        assert_eq!(level_db(&[0; 160]), SILENCE_DB);
        assert_eq!(level_db(&[i16::MIN; 160]), 0.0);
        assert!((level_db(&[3_277; 160]) + 20.0).abs() < 0.01);
    }

    #[test]
    fn a_fade_has_no_step_and_ends_in_silence() {
        let mut pcm = [10_000; 160];
        fade_out(&mut pcm);
        assert_eq!(pcm[159], 0);
        assert!(pcm[0] > 9_900);
        assert!(pcm.windows(2).all(|w| (0..=64).contains(&(w[0] - w[1]))));
        fade_out(&mut []);
        let mut rise = [10_000; 160];
        fade_in(&mut rise);
        assert_eq!(rise[159], 10_000);
        assert!(rise[0] < 100);
    }
}
