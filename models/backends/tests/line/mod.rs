//! What a telephone line carries where nobody speaks: silence, tones, ringing, hiss, and music made by rule, without end
//! and never twice the same.

mod music;

use antiphon_media_frame::SampleRate;
use music::Style;

/// A sound without a voice in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sound {
    /// Zeros.
    Silence,
    /// One sine, -12 dBFS.
    Tone(f64),
    /// Two frequencies, and seconds on and off in turns.
    Ringing([f64; 2], &'static [f64]),
    /// White noise of so many dBFS.
    Hiss(f64),
    /// Hold music.
    Music(Style),
}

/// Each sound with its name, in the order of the table of docs/PERFORMANCE.md.
pub(crate) const SOUNDS: [(&str, Sound); 13] = [
    ("silence", Sound::Silence),
    ("tone of 440 Hz", Sound::Tone(440.0)),
    ("ringing, United Kingdom", Sound::Ringing([400.0, 450.0], &[0.4, 0.2, 0.4, 2.0])),
    ("ringing, United States", Sound::Ringing([440.0, 480.0], &[2.0, 4.0])),
    ("ringing, ETSI", Sound::Ringing([425.0, 425.0], &[1.0, 4.0])),
    ("busy, ETSI", Sound::Ringing([425.0, 425.0], &[0.5, 0.5])),
    ("hiss, -60 dBFS", Sound::Hiss(-60.0)),
    ("hiss, -45 dBFS", Sound::Hiss(-45.0)),
    ("hiss, -30 dBFS", Sound::Hiss(-30.0)),
    ("hiss, -15 dBFS", Sound::Hiss(-15.0)),
    ("music: piano", Sound::Music(Style::Piano)),
    ("music: strings and flute", Sound::Music(Style::Strings)),
    ("music: band with saxophone", Sound::Music(Style::Band)),
];

/// A sound as it goes on.
pub(crate) struct Line {
    sound: Sound,
    hz: f64,
    at: usize,
    noise: u64,
}

impl Line {
    pub(crate) fn new(sound: Sound, rate: SampleRate) -> Self {
        Self { sound, hz: f64::from(rate.hz()), at: 0, noise: 0x9e37_79b9_7f4a_7c15 }
    }

    /// The next samples.
    pub(crate) fn fill(&mut self, pcm: &mut [i16]) {
        for sample in pcm {
            let value = self.value(self.at as f64 / self.hz);
            *sample = (value * 32_767.0).round() as i16;
            self.at += 1;
        }
    }

    /// The value at `t` seconds, -1 to 1.
    fn value(&mut self, t: f64) -> f64 {
        let sine = |hz: f64| (t * hz).fract() * std::f64::consts::TAU;
        match self.sound {
            Sound::Silence => 0.0,
            Sound::Tone(hz) => 0.25 * sine(hz).sin(),
            Sound::Ringing([low, high], cadence) => {
                let mut left = t % cadence.iter().sum::<f64>();
                let on = cadence.iter().position(|part| {
                    left -= part;
                    left < 0.0
                });
                if on.is_some_and(|n| n % 2 == 0) { 0.1 * (sine(low).sin() + sine(high).sin()) } else { 0.0 }
            }
            // Uniform noise has a third of a square's power.
            Sound::Hiss(db) => (self.next() * 3f64.sqrt() * 10f64.powf(db / 20.0)).clamp(-1.0, 1.0),
            Sound::Music(style) => {
                let noise = self.next();
                music::value(style, t, noise).clamp(-1.0, 1.0)
            }
        }
    }

    /// Uniform noise, -1 to 1.
    fn next(&mut self) -> f64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        (self.noise >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}
