//! Whether there was a voice in what was decoded. A decoder finds words in anything; hiss, tones and silence have none.

/// Windows of 20 ms, 10 ms apart.
const WINDOWS_HZ: usize = 50;
/// Mean square of a window below which nothing is said: -52 dBFS.
const QUIET: f32 = 80.0 * 80.0;
/// Neighbouring samples (at 8 kHz) of a vowel are alike; those of hiss are not: white noise has 0 with a deviation of
/// 0.08 over a window.
const ALIKE: f32 = 0.3;
/// A tone, or two as in DTMF, is foretold by its last four samples almost wholly; a vowel leaves 1 % and more of its
/// energy unforetold in most windows. µ-law leaves 0.05 % to 0.2 % of a tone.
const UNFORETOLD: f32 = 0.003;
/// Windows with a voice that make a word: 60 ms of one vowel.
const ENOUGH: usize = 6;

/// Counts windows that hold a voice.
pub(super) struct Voiced {
    window: usize,
    /// Samples averaged to one, so that all is looked at with 8 kHz: telephone speech brought to 16 kHz has an empty
    /// upper half, which makes every vowel as foretellable as a tone.
    step: usize,
    done: usize,
    voiced: usize,
}

impl Voiced {
    pub(super) fn new(rate_hz: u32) -> Self {
        Self {
            window: rate_hz as usize / WINDOWS_HZ,
            step: (rate_hz / 8_000).max(1) as usize,
            done: 0,
            voiced: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        (self.done, self.voiced) = (0, 0);
    }

    /// Looks at what was added to the utterance's samples since the last time.
    pub(super) fn update(&mut self, heard: &[i16]) {
        while self.done + self.window <= heard.len() {
            self.voiced += usize::from(is_voiced(&heard[self.done..self.done + self.window], self.step));
            self.done += self.window / 2;
        }
    }

    pub(super) fn enough(&self) -> bool {
        self.voiced >= ENOUGH
    }
}

fn is_voiced(window: &[i16], step: usize) -> bool {
    let narrow = window.chunks(step).map(|c| c.iter().map(|s| f32::from(*s)).sum::<f32>() / c.len() as f32);
    let mut x: Vec<f32> = narrow.collect();
    let mean = x.iter().sum::<f32>() / x.len() as f32;
    x.iter_mut().for_each(|s| *s -= mean);
    let energy: f32 = x.iter().map(|s| s * s).sum();
    if energy < QUIET * x.len() as f32 {
        return false;
    }
    let first: f32 = x.windows(2).map(|p| p[0] * p[1]).sum();
    first > ALIKE * energy && unforetold(&x) > UNFORETOLD
}

/// The share of the energy that a forward-backward linear prediction of order 4 leaves (Burg's method, which unlike
/// autocorrelation takes a short tone for what it is).
fn unforetold(x: &[f32]) -> f32 {
    let (mut forward, mut backward) = (x.to_vec(), x.to_vec());
    let mut left = 1.0f32;
    for order in 1..=4 {
        let pairs = (order..x.len()).map(|n| (forward[n], backward[n - 1]));
        let (cross, power) = pairs.fold((0.0f32, 0.0f32), |(c, p), (f, b)| (c + f * b, p + f * f + b * b));
        if power <= f32::EPSILON {
            return 0.0;
        }
        let k = 2.0 * cross / power;
        left *= 1.0 - k * k;
        for n in (order..x.len()).rev() {
            let (f, b) = (forward[n], backward[n - 1]);
            forward[n] = f - k * b;
            backward[n] = b - k * f;
        }
    }
    left
}
