//! Tones, and which of them are in a sound: what tells who is heard where.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use super::wav::Wav;

/// Below this level, in dB of full scale, a tone is not there: codecs and comfort noise stay under it.
const ABSENT: f64 = -52.0;
/// From this level on, it is heard.
const PRESENT: f64 = -38.0;

/// A sine at a tenth of full scale (-20 dB).
pub(crate) fn sine(hz: f64, rate_hz: u32, seconds: f64) -> Vec<i16> {
    let samples = (seconds * f64::from(rate_hz)) as usize;
    (0..samples).map(|n| (3_277.0 * (TAU * hz * n as f64 / f64::from(rate_hz)).sin()) as i16).collect()
}

/// The level of one frequency, in dB of a full-scale sine (Goertzel with a Hann window).
pub(crate) fn level(pcm: &[i16], rate_hz: u32, hz: f64) -> f64 {
    let count = pcm.len() as f64;
    let factor = 2.0 * (TAU * hz / f64::from(rate_hz)).cos();
    let (mut one, mut two) = (0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let window = 0.5 - 0.5 * (TAU * n as f64 / count).cos();
        let next = f64::from(*sample) * window + factor * one - two;
        (two, one) = (one, next);
    }
    let power = one * one + two * two - factor * one * two;
    let amplitude = power.max(0.0).sqrt() * 4.0 / count;
    20.0 * (amplitude / 32_768.0).max(1e-6).log10()
}

/// Which of `tones` are heard in the last `seconds` of a channel; a level between there and not there is nobody's wish.
pub(crate) fn heard(wav: &Wav, channel: usize, seconds: f64, tones: &[f64]) -> Vec<f64> {
    let pcm = &wav.channels[channel];
    let from = pcm.len().saturating_sub((seconds * f64::from(wav.rate_hz)) as usize);
    within(&pcm[from..], wav.rate_hz, tones)
}

/// Which of `tones` are heard in a sound.
pub(crate) fn within(pcm: &[i16], rate_hz: u32, tones: &[f64]) -> Vec<f64> {
    clearly(pcm, rate_hz, tones).unwrap_or_else(|levels| panic!("neither there nor not there: {levels:?}"))
}

/// The same where that can be told; the levels where it cannot.
pub(crate) fn clearly(pcm: &[i16], rate_hz: u32, tones: &[f64]) -> Result<Vec<f64>, Vec<(f64, f64)>> {
    let levels: Vec<_> = tones.iter().map(|hz| (*hz, level(pcm, rate_hz, *hz))).collect();
    if levels.iter().any(|(_, level)| (ABSENT..PRESENT).contains(level)) {
        return Err(levels);
    }
    Ok(levels.into_iter().filter(|(_, level)| *level >= PRESENT).map(|(hz, _)| hz).collect())
}

/// Waits until exactly `expected` of `tones` are heard: on a busy machine sound comes late.
pub(crate) fn wait_heard(
    what: &str,
    tones: &[f64],
    expected: &[f64],
    mut sound: impl FnMut() -> (Vec<i16>, u32),
) {
    let mut heard = None;
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let (pcm, rate_hz) = sound();
        heard = Some(clearly(&pcm, rate_hz, tones));
        if heard.as_ref().is_some_and(|heard| heard.as_ref().is_ok_and(|heard| heard == expected)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}: {expected:?} should be heard, not {heard:?}");
}
