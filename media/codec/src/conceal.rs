//! Concealment of lost packets after ITU-T G.711 Appendix I (09/99).
//!
//! The last pitch cycles are repeated, more of them the longer the loss lasts, and fade to silence by 60 ms. The
//! appendix delays all sound by 3.75 ms to blend into the first repeated cycle; a live call does not pay that here:
//! the step between the last sample and the cycle is spread over the cycle's first quarter instead.

use antiphon_media_frame::{SampleRate, Span};

use crate::mix;

/// Shortest and longest pitch looked for: 200 and 66 Hz (I.2.2). A higher voice is found at a multiple of its period.
const SHORTEST: Span = Span::from_millis(5);
const LONGEST: Span = Span::from_millis(15);
/// How much of the past the pitch is matched over.
const MATCHED: Span = Span::from_millis(20);
/// Concealed sound keeps its level for the first 10 ms and is silent from 60 ms on (I.2.7).
const FULL: Span = Span::from_millis(10);
const SILENT: Span = Span::from_millis(60);
/// Blending into the first good frame: a quarter of the pitch, 4 ms more for each 10 ms lost, at most 10 ms (I.2.8).
const BLEND_PER_FULL: Span = Span::from_millis(4);
const BLEND: Span = Span::from_millis(10);
/// Pitch cycles in use at most; one more for each 10 ms, against the buzz of a single one (I.2.6).
const CYCLES: usize = 3;
/// Rate at which the pitch is first looked for, before it is refined at the full one.
const COARSE_HZ: u32 = 4_000;

/// Fills the gaps of one received stream, at any rate, with frames of any length.
#[derive(Clone, Debug)]
pub struct Concealer {
    rate: SampleRate,
    /// The latest sound played, made up or not, oldest first; holds [`CYCLES`] of the longest pitch and a quarter.
    history: Vec<f32>,
    /// `history` as it was when the loss began.
    source: Vec<f32>,
    loss: Option<Loss>,
}

#[derive(Clone, Debug)]
struct Loss {
    cycles: Cycles,
    /// The cycles in use before, and samples left in which they are blended away.
    previous: Option<(Cycles, usize)>,
    /// Samples made up so far.
    age: usize,
    /// Step between the last sample played and the cycle's first, spread over its first quarter.
    step: f32,
    /// Loudest sample of the source; nothing made up exceeds it.
    peak: f32,
    /// Once good sound is back: samples it has been blended for, and is to be.
    recovery: Option<(usize, usize)>,
}

/// A place in the repeated end of the source.
#[derive(Clone, Copy, Debug)]
struct Cycles {
    pitch: usize,
    count: usize,
    at: usize,
}

impl Concealer {
    /// A concealer that has heard nothing; its gaps are silent until it has.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        let longest = rate.samples(LONGEST).max(8);
        let len = (CYCLES * longest + longest / 4).max(longest + rate.samples(MATCHED));
        Self { rate, history: vec![0.0; len], source: vec![0.0; len], loss: None }
    }

    /// Takes a frame that arrived; the first ones after a loss are cross-faded with what was made up.
    ///
    /// # Realtime safety
    /// No allocation.
    pub fn good(&mut self, pcm: &mut [i16]) {
        if let Some(loss) = &mut self.loss {
            let (mut done, total) = loss.recovery.unwrap_or_else(|| (0, loss.blend(self.rate)));
            for sample in pcm.iter_mut() {
                if done == total {
                    break;
                }
                let made = loss.sample(&self.source, self.rate);
                done += 1;
                let weight = done as f32 / (total + 1) as f32;
                *sample = mix::rounded(made + (f32::from(*sample) - made) * weight);
            }
            loss.recovery = Some((done, total));
            if done == total {
                self.loss = None;
            }
        }
        self.remember(pcm);
    }

    /// Makes up a frame in place of one that did not arrive.
    ///
    /// # Realtime safety
    /// No allocation; the first frame of a loss looks for the pitch, about 5,000 multiplications at 8 kHz.
    pub fn conceal(&mut self, out: &mut [i16]) {
        let running = self.loss.take_if(|loss| loss.recovery.is_none());
        let mut loss = running.unwrap_or_else(|| {
            self.source.copy_from_slice(&self.history);
            Loss::new(&self.source, self.rate)
        });
        for sample in out.iter_mut() {
            *sample = mix::rounded(loss.sample(&self.source, self.rate));
        }
        self.loss = Some(loss);
        self.remember(out);
    }

    /// Forgets what it heard, for a new stream.
    pub fn reset(&mut self) {
        self.history.fill(0.0);
        self.loss = None;
    }

    fn remember(&mut self, pcm: &[i16]) {
        let recent = &pcm[pcm.len().saturating_sub(self.history.len())..];
        self.history.copy_within(recent.len().., 0);
        let start = self.history.len() - recent.len();
        for (old, sample) in self.history[start..].iter_mut().zip(recent) {
            *old = f32::from(*sample);
        }
    }
}

impl Loss {
    fn new(source: &[f32], rate: SampleRate) -> Self {
        let pitch = pitch(source, rate);
        let end = source.len();
        Self {
            cycles: Cycles { pitch, count: 1, at: 0 },
            previous: None,
            age: 0,
            step: source[end - 1] - source[end - 1 - pitch],
            peak: source.iter().fold(0.0, |peak, x| x.abs().max(peak)),
            recovery: None,
        }
    }

    /// How many samples of good sound are blended after this loss.
    fn blend(&self, rate: SampleRate) -> usize {
        let longer = self.age / rate.samples(FULL).max(1) * rate.samples(BLEND_PER_FULL);
        (self.cycles.quarter() + longer).min(rate.samples(BLEND))
    }

    /// The next made-up sample.
    fn sample(&mut self, source: &[f32], rate: SampleRate) -> f32 {
        let (full, silent) = (rate.samples(FULL).max(1), rate.samples(SILENT).max(2));
        if self.age >= silent {
            return 0.0;
        }
        let count = (1 + self.age / full).min(CYCLES);
        if count > self.cycles.count {
            self.previous = Some((self.cycles, self.cycles.quarter()));
            self.cycles = Cycles { count, at: self.cycles.at % self.cycles.pitch, ..self.cycles };
        }
        let mut value = self.cycles.next(source);
        let quarter = self.cycles.quarter();
        if let Some((previous, left)) = &mut self.previous {
            let weight = *left as f32 / (quarter + 1) as f32;
            value += (previous.next(source) - value) * weight;
            *left -= 1;
            if *left == 0 {
                self.previous = None;
            }
        }
        if self.age < quarter {
            value += self.step * (1.0 - (self.age + 1) as f32 / (quarter + 1) as f32);
        }
        let gain = 1.0 - self.age.saturating_sub(full) as f32 / (silent - full) as f32;
        self.age += 1;
        value.clamp(-self.peak, self.peak) * gain
    }
}

impl Cycles {
    fn quarter(&self) -> usize {
        (self.pitch / 4).max(1)
    }

    /// The next sample; the end of the last cycle is blended into what came before the first (I.2.4).
    fn next(&mut self, source: &[f32]) -> f32 {
        let len = self.pitch * self.count;
        let index = source.len() - len + self.at;
        let left = len - self.at;
        let mut value = source[index];
        if left <= self.quarter() {
            let weight = (self.quarter() + 1 - left) as f32 / (self.quarter() + 1) as f32;
            value += (source[index - len] - value) * weight;
        }
        self.at = (self.at + 1) % len;
        value
    }
}

/// The lag at which the end of `source` is most like itself: normalised cross-correlation (I.2.2).
fn pitch(source: &[f32], rate: SampleRate) -> usize {
    let shortest = rate.samples(SHORTEST).max(4);
    let longest = rate.samples(LONGEST).max(8);
    let recent = &source[longest.min(source.len() - 1)..];
    let recent = &recent[recent.len() - rate.samples(MATCHED).clamp(1, recent.len())..];
    let likeness = |lag: usize, stride: usize| {
        let start = source.len() - recent.len() - lag;
        let earlier = &source[start..start + recent.len()];
        let (mut product, mut energy) = (0.0, 1.0);
        for (x, y) in recent.iter().zip(earlier).step_by(stride) {
            product += x * y;
            energy += y * y;
        }
        product / f32::sqrt(energy)
    };
    let best = |lags: &mut dyn Iterator<Item = usize>, stride: usize| {
        lags.map(|lag| (lag, likeness(lag, stride)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(longest, |(lag, _)| lag)
    };
    let stride = (rate.hz() / COARSE_HZ).max(1) as usize;
    let coarse = best(&mut (shortest..=longest).step_by(stride), stride);
    let around = (coarse + 1).saturating_sub(stride).max(shortest)..=(coarse + stride - 1).min(longest);
    best(&mut around.into_iter(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::level_db;

    /// A voice of 125 Hz with falling harmonics and a slow tremble.
    fn voice(rate: SampleRate, len: usize) -> Vec<i16> {
        let sample = |n: usize| {
            let t = n as f32 / rate.hz() as f32;
            let wave: f32 = (1u8..12)
                .map(|h| (std::f32::consts::TAU * 125.0 * f32::from(h) * t).sin() / f32::from(h))
                .sum();
            (wave * (1.0 + 0.2 * (t * 19.0).sin()) * 6_000.0) as i16
        };
        (0..len).map(sample).collect()
    }

    fn error(a: &[i16], b: &[i16]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    }

    #[test]
    fn a_lost_frame_of_voice_comes_closer_than_silence() {
        for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000] {
            let frame = rate.samples(Span::from_millis(20));
            let clean = voice(rate, 30 * frame);
            let mut heard = clean.clone();
            let mut concealer = Concealer::new(rate);
            for (n, frame) in heard.chunks_mut(frame).enumerate() {
                if n % 7 == 6 { concealer.conceal(frame) } else { concealer.good(frame) }
            }
            let lost = 6 * frame..7 * frame;
            let silence = vec![0; frame];
            let gain = 10.0
                * (error(&clean[lost.clone()], &silence) / error(&clean[lost.clone()], &heard[lost])).log10();
            assert!(gain > 10.0, "{rate}: {gain} dB");
            // No step is steeper than the voice's own.
            let steepest =
                |pcm: &[i16]| pcm.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max();
            assert!(steepest(&heard) <= steepest(&clean).map(|step| step * 11 / 10), "{rate}");
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_by_60_ms_in_frames_of_any_length() {
        for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000] {
            for millis in [1, 10, 20, 30, 60] {
                let mut concealer = Concealer::new(rate);
                let mut pcm = voice(rate, rate.samples(Span::from_millis(200)));
                concealer.good(&mut pcm);
                let loudest = pcm.iter().map(|s| s.unsigned_abs()).max().expect("samples");
                let mut made = vec![0; rate.samples(Span::from_millis(120))];
                made.chunks_mut(rate.samples(Span::from_millis(millis)))
                    .for_each(|frame| concealer.conceal(frame));
                let (sound, silence) = made.split_at(rate.samples(SILENT));
                assert!(silence.iter().all(|s| *s == 0));
                assert!(
                    sound.iter().all(|s| s.unsigned_abs() <= loudest),
                    "never louder than what was heard"
                );
                let third = rate.samples(Span::from_millis(20));
                assert!(level_db(&sound[..third]) > level_db(&sound[2 * third..]) + 6.0);
            }
        }
    }

    #[test]
    fn nothing_heard_conceals_as_silence() {
        let mut concealer = Concealer::new(SampleRate::HZ_8000);
        let mut out = [5; 160];
        concealer.conceal(&mut out);
        assert_eq!(out, [0; 160]);
        concealer.good(&mut [9_000; 160]);
        concealer.reset();
        concealer.conceal(&mut out);
        assert_eq!(out, [0; 160]);
    }

    #[test]
    fn good_sound_is_untouched_except_after_a_loss() {
        let rate = SampleRate::HZ_8000;
        let clean = voice(rate, 480);
        let mut concealer = Concealer::new(rate);
        let mut heard = clean.clone();
        concealer.good(&mut heard[..160]);
        assert_eq!(heard, clean);
        concealer.conceal(&mut [0; 160]);
        concealer.good(&mut heard[320..]);
        assert_ne!(heard[320..400], clean[320..400]);
        assert_eq!(heard[400..], clean[400..], "blended for 10 ms at most");
    }
}
