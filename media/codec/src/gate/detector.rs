//! How likely a window of sound is speech.

use earshot::{DefaultPredictor, Predictor};
use wide::f32x4;

use super::spectrum::{self, BANDS, Halves, WINDOW, powers};

/// Removes the tilt of speech before its spectrum is taken.
const PRE_EMPHASIS: f32 = 0.97;
/// Windows of a spectrum.
const SPANNED: usize = 3;
/// Spectra that the network compares.
const COMPARED: usize = 3;
/// Room that the network works in, in floats.
const ROOM: usize = 1_026;

/// Judges windows of 16 ms at 16 kHz, one after another, by the network of the crate `earshot`, whose spectrum it computes in
/// lanes.
pub(super) struct Detector {
    /// The last windows, pre-emphasised; the oldest lies at `oldest`, and others follow it, round and round.
    windows: [Halves; SPANNED],
    oldest: usize,
    last: f32,
    /// Spectra as the network takes them, oldest first.
    spectra: [[f32; BANDS]; COMPARED],
    network: DefaultPredictor,
}

impl Detector {
    /// Makes all tables, so that judging needs none made.
    pub(super) fn new() -> Self {
        spectrum::prepare();
        Self {
            windows: [Halves::SILENT; SPANNED],
            oldest: 0,
            last: 0.0,
            spectra: [[0.0; BANDS]; COMPARED],
            network: DefaultPredictor::new(),
        }
    }

    /// The probability of speech in the next window, 0 to 1.
    pub(super) fn predict(&mut self, window: &[i16; WINDOW]) -> f32 {
        self.hear(window);
        // Not kept from window to window: a call would hold it for ever.
        let mut room = [0.0; ROOM];
        self.network.predict(self.spectra.as_flattened(), &mut room)
    }

    /// Hears the next window without judging it: those after it are compared with it all the same.
    pub(super) fn hear(&mut self, window: &[i16; WINDOW]) {
        let newest = &mut self.windows[self.oldest];
        self.oldest = (self.oldest + 1) % SPANNED;
        let halves = newest.even.iter_mut().zip(&mut newest.odd);
        for ((even, odd), samples) in halves.zip(window.as_chunks::<8>().0) {
            let [a, b, c, d, e, f, g, h] = samples.map(f32::from);
            let (first, second) = (f32x4::new([a, c, e, g]), f32x4::new([b, d, f, h]));
            *even = first - f32x4::new([self.last, b, d, f]) * f32x4::splat(PRE_EMPHASIS);
            *odd = second - first * f32x4::splat(PRE_EMPHASIS);
            self.last = h;
        }
        self.spectra.copy_within(1.., 0);
        let spectrum = &mut self.spectra[COMPARED - 1];
        let in_time = [0, 1, 2].map(|n| &self.windows[(self.oldest + n) % SPANNED]);
        powers(in_time, spectrum);
        for band in spectrum.iter_mut() {
            *band = (*band + 1e-20).ln();
        }
        self.network.normalize(spectrum);
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ComfortNoise, tone};
    use antiphon_media_frame::{SampleRate, Span};

    const RATE: SampleRate = SampleRate::HZ_16000;

    /// Compares every probability with that of the crate whose network this is; says how many there were.
    fn as_earshot(pcm: &[i16]) -> usize {
        let (mut detector, mut other) = (Detector::new(), earshot::Detector::default());
        let (windows, _) = pcm.as_chunks::<WINDOW>();
        for (n, window) in windows.iter().enumerate() {
            let (own, theirs) = (detector.predict(window), other.predict_i16(window));
            assert_eq!(own.to_bits(), theirs.to_bits(), "window {n}: {own} instead of {theirs}");
        }
        windows.len()
    }

    #[test]
    fn probabilities_are_those_of_earshot_to_the_last_bit() {
        let mut noise = vec![0; 32_000];
        ComfortNoise::new(3).fill(&mut noise, -20.0);
        let mut key = tone::dtmf('5', RATE, Span::from_millis(400)).expect("a key");
        key.resize(16_000, 0);
        let square: Vec<i16> =
            (0..16_000).map(|n| if n / 53 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let sounds = [vec![0; 16_000], noise, key, square, tone::sine(440.0, -3.0, RATE, Span::from_secs(1))];
        assert_eq!(sounds.iter().map(|pcm| as_earshot(pcm)).sum::<usize>(), 125 + 62 * 4);
        assert!(as_earshot(&sounds.concat()) > 300, "one after another");
    }

    #[test]
    fn after_a_reset_nothing_is_left_of_what_was_heard() {
        let mut detector = Detector::new();
        let pcm = tone::sine(300.0, -10.0, RATE, Span::from_secs(1));
        let hear = |detector: &mut Detector| -> Vec<f32> {
            pcm.as_chunks().0.iter().map(|window| detector.predict(window)).collect()
        };
        let first = hear(&mut detector);
        detector.reset();
        assert_eq!(hear(&mut detector), first);
    }
}
