//! Tones of the telephone: keys, ringing, plain sines.

use std::f64::consts::TAU;

use antiphon_media_frame::{SampleRate, Span};

/// Level of each of a key's two tones. ITU-T Q.23 leaves it to the network; this is usual for senders.
const KEY_DB: f32 = -13.0;
/// Level of each tone of ringback, near ITU-T E.180's -10 dBm0 as a whole.
const RING_DB: f32 = -19.0;
/// Rise and fall of a tone, so that it does not click.
const EDGE: Span = Span::from_millis(2);

/// What a caller hears while the far side rings (ITU-T E.180 supplement 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ringback {
    /// 440 and 480 Hz, two seconds on, four off.
    NorthAmerica,
    /// 425 Hz, one second on, four off.
    Europe,
}

/// The two tones of a telephone key, `0-9 * # A-D` in either case, for `span` (ITU-T Q.23). `None` for other characters.
#[must_use]
pub fn dtmf(key: char, rate: SampleRate, span: Span) -> Option<Vec<i16>> {
    const KEYS: [&str; 4] = ["123A", "456B", "789C", "*0#D"];
    const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
    const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
    let key = key.to_ascii_uppercase();
    KEYS.iter().zip(ROWS).find_map(|(keys, row)| {
        keys.find(key).map(|column| tones(&[row, COLUMNS[column]], KEY_DB, rate, span))
    })
}

/// A sine of `db` dBFS (-3 and above is full scale) for `span`. Silence where `hz` reaches half the rate.
#[must_use]
pub fn sine(hz: f64, db: f32, rate: SampleRate, span: Span) -> Vec<i16> {
    tones(&[hz], db, rate, span)
}

/// Ringing with its cadence, beginning with sound, for `span`.
#[must_use]
pub fn ringback(ringback: Ringback, rate: SampleRate, span: Span) -> Vec<i16> {
    let (hz, on): (&[f64], _) = match ringback {
        Ringback::NorthAmerica => (&[440.0, 480.0], Span::from_secs(2)),
        Ringback::Europe => (&[425.0], Span::from_secs(1)),
    };
    let burst = tones(hz, RING_DB, rate, on);
    let period = rate.samples(on + Span::from_secs(4));
    (0..rate.samples(span)).map(|n| burst.get(n % period).copied().unwrap_or(0)).collect()
}

/// The sum of sines of `db` dBFS each, saturating, with soft edges.
fn tones(hz: &[f64], db: f32, rate: SampleRate, span: Span) -> Vec<i16> {
    let amplitude = 32_768.0 * 2f64.sqrt() * 10f64.powf(f64::from(db) / 20.0);
    let len = rate.samples(span);
    let edge = rate.samples(EDGE).min(len / 4).max(1);
    let nyquist = f64::from(rate.hz()) / 2.0;
    (0..len)
        .map(|n| {
            let envelope = ((n + 1).min(len - n) as f64 / edge as f64).min(1.0);
            let phase = TAU * n as f64 / f64::from(rate.hz());
            let sum: f64 = hz.iter().filter(|hz| **hz < nyquist).map(|hz| (phase * hz).sin()).sum();
            (sum * amplitude * envelope).round() as i16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::level_db;

    /// Share of the signal's power at `hz`, by a single Fourier bin.
    fn share(pcm: &[i16], hz: f64, rate: SampleRate) -> f64 {
        let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
        for (n, sample) in pcm.iter().enumerate() {
            let (sin, cos) = (TAU * hz * n as f64 / f64::from(rate.hz())).sin_cos();
            re += f64::from(*sample) * cos;
            im += f64::from(*sample) * sin;
            power += f64::from(*sample).powi(2);
        }
        2.0 * (re * re + im * im) / (power * pcm.len() as f64)
    }

    #[test]
    fn keys_have_the_two_frequencies_of_q23() {
        for (key, low, high) in
            [('1', 697.0, 1_209.0), ('5', 770.0, 1_336.0), ('#', 941.0, 1_477.0), ('d', 941.0, 1_633.0)]
        {
            for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000] {
                let pcm = dtmf(key, rate, Span::from_millis(100)).expect("a key");
                assert_eq!(pcm.len(), rate.samples(Span::from_millis(100)));
                assert!((share(&pcm, low, rate) - 0.5).abs() < 0.05, "{key} low");
                assert!((share(&pcm, high, rate) - 0.5).abs() < 0.05, "{key} high");
            }
        }
        assert_eq!(dtmf('x', SampleRate::HZ_8000, Span::from_millis(100)), None);
        assert_eq!(dtmf('é', SampleRate::HZ_8000, Span::from_millis(100)), None);
    }

    #[test]
    fn a_sine_has_its_level_and_pitch() {
        let pcm = sine(1_000.0, -20.0, SampleRate::HZ_16000, Span::from_secs(1));
        assert!((level_db(&pcm) + 20.0).abs() < 0.1);
        assert!(share(&pcm, 1_000.0, SampleRate::HZ_16000) > 0.98);
        assert!(sine(5_000.0, -20.0, SampleRate::HZ_8000, Span::from_millis(20)).iter().all(|s| *s == 0));
        assert!(sine(5.0, -20.0, SampleRate::HZ_8000, Span::ZERO).is_empty());
    }

    #[test]
    fn ringing_keeps_its_cadence() {
        let rate = SampleRate::HZ_8000;
        let pcm = ringback(Ringback::NorthAmerica, rate, Span::from_secs(7));
        assert!(level_db(&pcm[..16_000]) > -20.0);
        assert!(pcm[16_000..48_000].iter().all(|s| *s == 0));
        assert!(level_db(&pcm[48_000..]) > -20.0);
    }
}
