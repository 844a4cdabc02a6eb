//! Tones, and which of them are in a sound: what tells who is heard where.

use std::f64::consts::TAU;

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
    let levels: Vec<_> = tones.iter().map(|hz| (*hz, level(pcm, rate_hz, *hz))).collect();
    let unclear: Vec<_> = levels.iter().filter(|(_, level)| (ABSENT..PRESENT).contains(level)).collect();
    assert!(unclear.is_empty(), "neither there nor not there: {unclear:?} of {levels:?}");
    levels.into_iter().filter(|(_, level)| *level >= PRESENT).map(|(hz, _)| hz).collect()
}
