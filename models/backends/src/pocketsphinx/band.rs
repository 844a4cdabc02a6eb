//! Conversion between 8 and 16 kHz, for a model of the other rate than the frames: a half-band filter.

/// Half the filter's length; the stop band lies 50 dB down.
const ARM: usize = 12;

/// Doubles or halves the rate of a stream of samples.
pub(super) enum Band {
    Same,
    Double(Filter),
    Halve(Filter),
}

#[derive(Default)]
pub(super) struct Filter {
    /// The last samples of the input, as many as the filter reaches back.
    past: Vec<f32>,
    odd: bool,
}

impl Band {
    pub(super) fn between(from_hz: u32, to_hz: u32) -> Self {
        match to_hz.cmp(&from_hz) {
            std::cmp::Ordering::Equal => Self::Same,
            std::cmp::Ordering::Greater => Self::Double(Filter::default()),
            std::cmp::Ordering::Less => Self::Halve(Filter::default()),
        }
    }

    pub(super) fn reset(&mut self) {
        if let Self::Double(filter) | Self::Halve(filter) = self {
            *filter = Filter::default();
        }
    }

    /// Samples at the other rate; `None` where the rate stays and the input serves.
    pub(super) fn convert(&mut self, pcm: &[i16]) -> Option<Vec<i16>> {
        match self {
            Self::Same => None,
            Self::Double(filter) => {
                // Zeros between the samples lose half the level, which the factor makes good.
                let wide: Vec<f32> = pcm.iter().flat_map(|s| [f32::from(*s) * 2.0, 0.0]).collect();
                Some(filter.run(&wide).map(round).collect())
            }
            Self::Halve(filter) => {
                let narrow: Vec<f32> = pcm.iter().map(|s| f32::from(*s)).collect();
                let first = usize::from(filter.odd);
                filter.odd ^= narrow.len() % 2 == 1;
                Some(filter.run(&narrow).skip(first).step_by(2).map(round).collect())
            }
        }
    }
}

impl Filter {
    fn run(&mut self, input: &[f32]) -> impl Iterator<Item = f32> {
        let taps = taps();
        let reach = taps.len() - 1;
        let mut all = std::mem::take(&mut self.past);
        all.resize(reach.max(all.len()), 0.0);
        all.extend_from_slice(input);
        self.past = all[all.len() - reach..].to_vec();
        (0..all.len() - reach).map(move |at| all[at..].iter().zip(&taps).map(|(x, h)| x * h).sum())
    }
}

/// A Hamming-windowed low-pass at a quarter of the rate.
fn taps() -> Vec<f32> {
    use std::f32::consts::PI;
    let tap = |n: usize| {
        let x = n as f32 - ARM as f32;
        let sinc = if x == 0.0 { 0.5 } else { (PI * x / 2.0).sin() / (PI * x) };
        sinc * (0.54 + 0.46 * (PI * x / (ARM as f32 + 1.0)).cos())
    };
    (0..=2 * ARM).map(tap).collect()
}

fn round(x: f32) -> i16 {
    // A float cast saturates.
    x.round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32, rate: f32, count: usize) -> Vec<i16> {
        (0..count).map(|n| ((n as f32 * hz / rate * std::f32::consts::TAU).sin() * 10_000.0) as i16).collect()
    }

    fn level(pcm: &[i16]) -> f32 {
        (pcm.iter().map(|s| f32::from(*s).powi(2)).sum::<f32>() / pcm.len() as f32).sqrt()
    }

    #[test]
    fn speech_passes_and_aliases_do_not() {
        let passed =
            Band::between(16_000, 8_000).convert(&tone(1_000.0, 16_000.0, 16_000)).expect("converted");
        assert_eq!(passed.len(), 8_000);
        assert!((level(&passed[100..]) / 7_071.0 - 1.0).abs() < 0.03);
        let stopped =
            Band::between(16_000, 8_000).convert(&tone(6_000.0, 16_000.0, 16_000)).expect("converted");
        assert!(level(&stopped[100..]) < 70.0);
        let wide = Band::between(8_000, 16_000).convert(&tone(1_000.0, 8_000.0, 8_000)).expect("converted");
        assert_eq!(wide.len(), 16_000);
        assert!((level(&wide[100..]) / 7_071.0 - 1.0).abs() < 0.03);
    }

    #[test]
    fn frames_of_any_length_join_without_a_seam() {
        let pcm = tone(700.0, 16_000.0, 4_000);
        let whole = Band::between(16_000, 8_000).convert(&pcm).expect("converted");
        let mut band = Band::between(16_000, 8_000);
        let pieces: Vec<i16> = pcm.chunks(37).flat_map(|c| band.convert(c).expect("converted")).collect();
        assert_eq!(pieces, whole);
    }
}
