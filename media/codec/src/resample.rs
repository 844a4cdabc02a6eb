//! Sample rate conversion by a polyphase windowed sinc.

use antiphon_media_frame::{SampleRate, Span};
use wide::f32x4;

use crate::mix;

/// 26 is the shortest that keeps the pass-band to 0.42 and the stop-band from 0.5 of the lower rate below -60 dB.
const FINE: Shape = Shape { half: 26, cutoff: 0.46, beta: 6.2 };
/// For listening only: at half of the cost, a stop-band of -40 dB from 0.54 of the lower rate on.
const COARSE: Shape = Shape { half: 12, cutoff: 0.46, beta: 3.4 };
/// Phases tabulated at most. Ratios with more, which no telephone or file uses, interpolate between 512.
const PHASES: u32 = 640;
const INTERPOLATED: u32 = 512;
/// Samples taken in at once, a frame of a telephone: it bounds the memory of a stream.
const BLOCK: usize = 160;

struct Shape {
    /// Half of the filter's length, in samples of the lower of the two rates: its group delay.
    half: u64,
    /// Cut-off (-6 dB) as a fraction of the lower rate, in the middle between pass-band and stop-band.
    cutoff: f64,
    /// Shape of the Kaiser window.
    beta: f64,
}

/// Converts a stream from one rate to another; frames may have any length.
///
/// Pass-band ripple is below 0.1 dB up to 0.42 of the lower rate; images and aliases lie below -60 dB. At most 20 ms in
/// give 20 ms out at once, delayed by [`Resampler::delay`]. Equal rates pass through without delay.
#[derive(Clone, Debug)]
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    /// `None` where the rates are equal.
    filter: Option<Filter>,
}

#[derive(Clone, Debug)]
struct Filter {
    /// Output samples for each `step` input samples, in lowest terms.
    phases: u32,
    step: u32,
    /// Coefficients a phase; they meet `taps` input samples, oldest first.
    taps: usize,
    table: Vec<f32>,
    /// Whether `table` holds `INTERPOLATED + 1` phases rather than `phases`.
    interpolated: bool,
    /// The same for [`Filter::fours`], each coefficient four times over, where the higher rate is a multiple of the lower.
    fours: Vec<f32x4>,
    /// The last `taps` samples, then up to [`BLOCK`] new ones.
    line: Vec<f32>,
    /// Where the next output lies: whole input samples past the start of the new ones, and phases past that.
    index: usize,
    phase: u32,
}

impl Resampler {
    /// A converter that has heard nothing but silence. Takes at most a few milliseconds and kilobytes at telephone
    /// and file rates, and at most 40 MB at the most unequal rates there are.
    #[must_use]
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        Self { from, to, filter: (from != to).then(|| Filter::new(from.hz(), to.hz(), &FINE)) }
    }

    /// As [`Resampler::new`], but for sound that is judged and not heard.
    pub(crate) fn coarse(from: SampleRate, to: SampleRate) -> Self {
        Self { from, to, filter: (from != to).then(|| Filter::new(from.hz(), to.hz(), &COARSE)) }
    }

    /// Converts `pcm` and appends what is ready to `out`.
    ///
    /// # Realtime safety
    /// No allocation while `out` has capacity for [`Resampler::most`] more samples.
    pub fn process(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        let Some(filter) = &mut self.filter else {
            out.extend_from_slice(pcm);
            return;
        };
        for block in pcm.chunks(BLOCK) {
            filter.block(block, out);
        }
    }

    /// The most samples that `input` samples can turn into.
    #[must_use]
    pub fn most(&self, input: usize) -> usize {
        (input as u128 * u128::from(self.to.hz())).div_ceil(u128::from(self.from.hz())) as usize + 1
    }

    /// How much later than it went in a sound comes out.
    #[must_use]
    pub fn delay(&self) -> Span {
        self.filter.as_ref().map_or(Span::ZERO, |filter| self.from.span(filter.taps / 2))
    }

    /// Forgets what it heard.
    pub fn reset(&mut self) {
        if let Some(filter) = &mut self.filter {
            filter.line.fill(0.0);
            filter.index = 0;
            filter.phase = 0;
        }
    }

    /// The rate that goes in.
    #[must_use]
    pub const fn from(&self) -> SampleRate {
        self.from
    }

    /// The rate that comes out.
    #[must_use]
    pub const fn to(&self) -> SampleRate {
        self.to
    }
}

/// Converts a whole recording: `round(n * to / from)` samples, without delay.
#[must_use]
pub fn resample(pcm: &[i16], from: SampleRate, to: SampleRate) -> Vec<i16> {
    let mut resampler = Resampler::new(from, to);
    let Some(filter) = &mut resampler.filter else {
        return pcm.to_vec();
    };
    let (from, to) = (u128::from(from.hz()), u128::from(to.hz()));
    let len = ((pcm.len() as u128 * to * 2 + from) / (from * 2)) as usize;
    // The first output looks at the filter's middle rather than at its end.
    filter.index = filter.taps / 2;
    let mut tail = filter.taps;
    let mut out = Vec::with_capacity(len + BLOCK);
    resampler.process(pcm, &mut out);
    while out.len() < len && tail > 0 {
        let zeros = tail.min(BLOCK);
        resampler.process(&[0; BLOCK][..zeros], &mut out);
        tail -= zeros;
    }
    out.resize(len, 0);
    out
}

impl Filter {
    fn new(from: u32, to: u32, shape: &Shape) -> Self {
        let divisor = gcd(from, to);
        let (phases, step) = (to / divisor, from / divisor);
        // Half a filter in input samples, rounded up so that both halves are whole.
        let half = (shape.half * u64::from(from)).div_ceil(u64::from(from.min(to))) as usize;
        let taps = 2 * half;
        let interpolated = phases > PHASES;
        let rows = if interpolated { INTERPOLATED + 1 } else { phases };
        let divisions = if interpolated { INTERPOLATED } else { phases };
        let cutoff = shape.cutoff * f64::from(from.min(to)) / f64::from(from);
        let mut table = Vec::with_capacity(rows as usize * taps);
        for row in 0..rows {
            let fraction = f64::from(row) / f64::from(divisions);
            let start = table.len();
            // Tap k meets the sample that lies `half - 1 - k` before the output's whole sample, less the delay.
            table.extend((0..taps).map(|k| {
                kernel(k as f64 - (half as f64 - 1.0) - fraction, half as f64, cutoff, shape.beta) as f32
            }));
            // Each phase passes a constant exactly, or the phases' differences would sound as a tone.
            let sum: f32 = table[start..].iter().sum();
            table[start..].iter_mut().for_each(|h| *h /= sum);
        }
        let fours = if step == 1 && !interpolated {
            table.iter().map(|coefficient| f32x4::splat(*coefficient)).collect()
        } else {
            Vec::new()
        };
        let line = vec![0.0; taps + BLOCK];
        Self { phases, step, taps, table, interpolated, fours, line, index: 0, phase: 0 }
    }

    fn block(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        for (slot, sample) in self.line[self.taps..].iter_mut().zip(pcm) {
            *slot = f32::from(*sample);
        }
        if !self.fours.is_empty() {
            self.fours(pcm.len(), out);
        }
        while self.index < pcm.len() {
            // The newest sample this output may see is line[taps + index].
            let seen = &self.line[self.index + 1..=self.index + self.taps];
            let value = if self.interpolated {
                let place = f64::from(self.phase) * f64::from(INTERPOLATED) / f64::from(self.phases);
                let row = place as usize;
                let weight = (place - row as f64) as f32;
                let (a, b) = (self.row(row, seen), self.row(row + 1, seen));
                a + (b - a) * weight
            } else {
                self.row(self.phase as usize, seen)
            };
            out.push(mix::rounded(value));
            let next = u64::from(self.phase) + u64::from(self.step);
            self.index += (next / u64::from(self.phases)) as usize;
            self.phase = (next % u64::from(self.phases)) as u32;
        }
        self.index -= pcm.len();
        self.line.copy_within(pcm.len()..pcm.len() + self.taps, 0);
    }

    /// Makes what four input samples at a time turn into, each phase of all four at once. Sums are formed as in [`dot`].
    fn fours(&mut self, input: usize, out: &mut Vec<i16>) {
        let phases = self.phases as usize;
        while self.index + 4 <= input {
            let seen = &self.line[self.index + 1..self.index + self.taps + 4];
            let from = out.len();
            out.resize(from + 4 * phases, 0);
            let made = &mut out[from..];
            for (phase, row) in self.fours.chunks_exact(self.taps).enumerate() {
                let (eights, rest) = row.as_chunks::<8>();
                let mut sums = [f32x4::ZERO; 8];
                for (n, eight) in eights.iter().enumerate() {
                    let seen = &seen[n * 8..n * 8 + 11];
                    for lane in 0..8 {
                        sums[lane] += eight[lane] * four(&seen[lane..]);
                    }
                }
                let mut last = f32x4::ZERO;
                for (n, coefficient) in rest.iter().enumerate() {
                    last += *coefficient * four(&seen[eights.len() * 8 + n..]);
                }
                let [a, b, c, d, e, f, g, h] = sums;
                let value = a + b + c + d + e + f + g + h + last;
                for (n, value) in value.to_array().into_iter().enumerate() {
                    made[n * phases + phase] = mix::rounded(value);
                }
            }
            self.index += 4;
        }
    }

    fn row(&self, row: usize, seen: &[f32]) -> f32 {
        dot(&self.table[row * self.taps..(row + 1) * self.taps], seen)
    }
}

/// The first four of them.
fn four(samples: &[f32]) -> f32x4 {
    samples.first_chunk().map_or(f32x4::ZERO, |four| f32x4::new(*four))
}

/// The sum of products of two slices of one length.
pub(crate) fn dot(coefficients: &[f32], seen: &[f32]) -> f32 {
    // Eight sums side by side, so that the compiler may use vector registers.
    let mut sums = [0f32; 8];
    let (h, x) = (coefficients.chunks_exact(8), seen.chunks_exact(8));
    let rest: f32 = h.remainder().iter().zip(x.remainder()).map(|(h, x)| h * x).sum();
    for (h, x) in h.zip(x) {
        for lane in 0..8 {
            sums[lane] += h[lane] * x[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The windowed sinc at `x` input samples from its middle.
pub(crate) fn kernel(x: f64, half: f64, cutoff: f64, beta: f64) -> f64 {
    let place = x / half;
    if place.abs() >= 1.0 {
        return 0.0;
    }
    let angle = std::f64::consts::TAU * cutoff * x;
    let sinc = if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle };
    sinc * bessel(beta * (1.0 - place * place).sqrt())
}

/// The modified Bessel function of the first kind, order zero, by its power series.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..32 {
        term *= (x / (2.0 * f64::from(n))).powi(2);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mix::level_db, tone::sine};

    const PAIRS: [(u32, u32); 6] = [
        (8_000, 16_000),
        (16_000, 8_000),
        (22_050, 16_000),
        (48_000, 8_000),
        (44_100, 48_000),
        (16_001, 8_000),
    ];

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).expect("a valid rate")
    }

    /// The middle of a second, away from the edges.
    fn middle(pcm: &[i16]) -> &[i16] {
        &pcm[pcm.len() / 4..pcm.len() * 3 / 4]
    }

    #[test]
    fn the_pass_band_is_flat() {
        for (from, to) in PAIRS {
            for share in [0.02, 0.1, 0.25, 0.35, 0.42] {
                let pcm = sine(share * f64::from(from.min(to)), -6.0, rate(from), Span::from_secs(1));
                let level = level_db(middle(&resample(&pcm, rate(from), rate(to))));
                assert!((level + 6.0).abs() < 0.2, "{from} to {to} at {share}: {level}");
            }
        }
    }

    #[test]
    fn aliases_and_images_are_below_60_db() {
        for (from, to) in PAIRS {
            if to < from {
                let pcm = sine(0.52 * f64::from(to), -6.0, rate(from), Span::from_secs(1));
                assert!(level_db(middle(&resample(&pcm, rate(from), rate(to)))) < -66.0, "{from} to {to}");
            } else {
                let (low, hz) = (
                    sine(0.4 * f64::from(from), -6.0, rate(from), Span::from_secs(1)),
                    0.4 * f64::from(from),
                );
                let made = resample(&low, rate(from), rate(to));
                let ideal = sine(hz, -6.0, rate(to), Span::from_secs(1));
                let rest: Vec<i16> = made.iter().zip(&ideal).map(|(a, b)| a - b).collect();
                assert!(level_db(middle(&rest)) < -40.0, "{from} to {to}: {}", level_db(middle(&rest)));
            }
        }
    }

    #[test]
    fn a_whole_buffer_keeps_its_times() {
        for (from, to) in PAIRS {
            let mut pcm = vec![0; from as usize];
            pcm[from as usize / 2] = 30_000;
            let out = resample(&pcm, rate(from), rate(to));
            assert_eq!(out.len(), to as usize);
            let peak = (0..out.len()).max_by_key(|n| out[*n]).expect("samples");
            assert!(peak.abs_diff(to as usize / 2) <= 1, "{from} to {to}: {peak}");
        }
    }

    #[test]
    fn a_stream_is_the_buffer_delayed_whatever_the_frames() {
        for (from, to) in PAIRS {
            let pcm = sine(440.0, -6.0, rate(from), Span::from_millis(300));
            let whole = |frame: usize| {
                let mut resampler = Resampler::new(rate(from), rate(to));
                let mut out = Vec::new();
                pcm.chunks(frame).for_each(|frame| resampler.process(frame, &mut out));
                out
            };
            let once = whole(pcm.len());
            for frame in [1, 7, 160, 441] {
                assert!(whole(frame) == once, "{from} to {to} in frames of {frame}");
            }
            let resampler = Resampler::new(rate(from), rate(to));
            assert!(resampler.delay() <= Span::from_micros(3_350), "{}", resampler.delay());
            assert!(once.len() <= resampler.most(pcm.len()));
        }
    }

    #[test]
    fn delay_is_what_it_says() {
        let mut resampler = Resampler::new(SampleRate::HZ_8000, SampleRate::HZ_16000);
        let mut pcm = [0; 800];
        pcm[100] = 30_000;
        let mut out = Vec::new();
        resampler.process(&pcm, &mut out);
        let peak = (0..out.len()).max_by_key(|n| out[*n]).expect("samples");
        assert_eq!(peak, 200 + SampleRate::HZ_16000.samples(resampler.delay()));
        out.clear();
        resampler.reset();
        resampler.process(&[0; 160], &mut out);
        assert_eq!(out, [0; 320], "20 ms in, 20 ms out, and nothing of before");
    }

    #[test]
    fn equal_rates_pass_through() {
        let mut resampler = Resampler::new(SampleRate::HZ_8000, SampleRate::HZ_8000);
        let mut out = Vec::new();
        resampler.process(&[1, -2, 3], &mut out);
        assert_eq!((out.as_slice(), resampler.delay()), ([1, -2, 3].as_slice(), Span::ZERO));
        assert_eq!(resample(&[1, -2, 3], SampleRate::HZ_8000, SampleRate::HZ_8000), [1, -2, 3]);
    }
}
