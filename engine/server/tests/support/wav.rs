//! WAV files, and how much one sound is in another. Kept apart from the product's own code, which is on trial.

use std::path::Path;

/// 16 bit PCM, by channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wav {
    pub(crate) rate_hz: u32,
    pub(crate) channels: Vec<Vec<i16>>,
}

impl Wav {
    /// Reads a file of 16 bit PCM with one or two channels, skipping what it does not know.
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WAVE"[..]), "{}", path.display());
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let long = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (mut at, mut count, mut rate_hz) = (12, 0, 0);
        while at + 8 <= bytes.len() {
            let (name, length) = (&bytes[at..at + 4], long(at + 4) as usize);
            let body = at + 8;
            if name == b"fmt " {
                count = usize::from(word(body + 2));
                rate_hz = long(body + 4);
                assert_eq!(word(body + 14), 16, "16 bit PCM");
            } else if name == b"data" {
                // A file that is still being written has no length yet.
                let end = if length == 0 { bytes.len() } else { (body + length).min(bytes.len()) };
                let pcm: Vec<i16> = bytes[body..end]
                    .chunks_exact(2)
                    .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
                    .collect();
                let channel = |n: usize| pcm.iter().skip(n).step_by(count).copied().collect();
                return Self { rate_hz, channels: (0..count).map(channel).collect() };
            }
            at = body + length + length % 2;
        }
        panic!("{}: no data", path.display());
    }

    /// Writes one channel.
    pub(crate) fn write(path: &Path, rate_hz: u32, pcm: &[i16]) {
        Self::write_alike(path, rate_hz, pcm, 1);
    }

    /// Writes so many channels of one sound.
    pub(crate) fn write_alike(path: &Path, rate_hz: u32, pcm: &[i16], channels: u16) {
        let frame = channels * 2;
        let length = u32::try_from(pcm.len() * usize::from(frame)).expect("a short file");
        let mut bytes = Vec::with_capacity(length as usize + 44);
        bytes.extend(b"RIFF");
        bytes.extend((length + 36).to_le_bytes());
        bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0");
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate_hz.to_le_bytes());
        bytes.extend((rate_hz * u32::from(frame)).to_le_bytes());
        bytes.extend(frame.to_le_bytes());
        bytes.extend(b"\x10\0data");
        bytes.extend(length.to_le_bytes());
        let alike = |sample: &i16| std::iter::repeat_n(sample.to_le_bytes(), channels.into()).flatten();
        bytes.extend(pcm.iter().flat_map(alike));
        std::fs::write(path, bytes).expect("written");
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.channels[0].len() as f64 / f64::from(self.rate_hz)
    }
}

/// Halves the rate: a windowed sinc of 63 taps that stops at a quarter of it, then every other sample.
pub(crate) fn halve(pcm: &[i16]) -> Vec<i16> {
    const HALF: i32 = 31;
    let taps: Vec<f64> = (-HALF..=HALF)
        .map(|n| {
            let x = std::f64::consts::PI * f64::from(n);
            let sinc = if n == 0 { 0.46 } else { (0.46 * x).sin() / x };
            sinc * (0.5 + 0.5 * (x / f64::from(HALF + 1)).cos())
        })
        .collect();
    let at = |index: i64| {
        usize::try_from(index).ok().and_then(|index| pcm.get(index)).map_or(0.0, |s| f64::from(*s))
    };
    (0..pcm.len() as i64)
        .step_by(2)
        .map(|centre| {
            let sum: f64 =
                taps.iter().zip(centre - i64::from(HALF)..).map(|(tap, index)| tap * at(index)).sum();
            sum.clamp(-32_768.0, 32_767.0) as i16
        })
        .collect()
}

/// `pcm` between two silences, in seconds.
pub(crate) fn pad(before: f64, pcm: &[i16], after: f64, rate_hz: u32) -> Vec<i16> {
    let silence = |seconds: f64| vec![0_i16; (seconds * f64::from(rate_hz)) as usize];
    [silence(before), pcm.to_vec(), silence(after)].concat()
}

/// Where `needle` lies in `hay`, in samples, and how alike the two are there: 1 the same up to volume, 0 unrelated.
///
/// The place is looked for by loudness first (frames of 10 ms), then to the sample.
pub(crate) fn correlate(needle: &[i16], hay: &[i16], rate_hz: u32) -> (usize, f64) {
    let frame = rate_hz as usize / 100;
    assert!(
        needle.len() <= hay.len() && needle.len() > 10 * frame,
        "something to look for, and something to look in"
    );
    let loudness = |pcm: &[i16]| -> Vec<f64> {
        pcm.chunks(frame)
            .map(|chunk| {
                (chunk.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / chunk.len() as f64).sqrt()
            })
            .collect()
    };
    let (small, large) = (loudness(needle), loudness(hay));
    let coarse = best(0..=large.len() - small.len().min(large.len()), |at| likeness(&small, &large[at..]));
    let first = (coarse * frame).saturating_sub(2 * frame);
    let last = (coarse * frame + 2 * frame).min(hay.len() - needle.len());
    let wide = |pcm: &[i16]| -> Vec<f64> { pcm.iter().map(|s| f64::from(*s)).collect() };
    let (needle, hay) = (wide(needle), wide(hay));
    let at = best(first..=last.max(first), |at| likeness(&needle, &hay[at..]));
    (at, likeness(&needle, &hay[at..]))
}

fn best(places: std::ops::RangeInclusive<usize>, score: impl Fn(usize) -> f64) -> usize {
    let start = *places.start();
    places.map(|at| (at, score(at))).max_by(|a, b| a.1.total_cmp(&b.1)).map_or(start, |(at, _)| at)
}

fn likeness(a: &[f64], b: &[f64]) -> f64 {
    let (mut product, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        product += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    product / (square_a * square_b).sqrt().max(1.0)
}
