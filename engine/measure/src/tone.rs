//! How loud and how high somebody speaks, frame by frame while they speak.
//!
//! The fundamental is found by YIN (de Cheveigné and Kawahara 2002, steps 1 to 5): the lag at which the sound is most like
//! itself, measured by the cumulative mean normalised difference. A frame in which no lag is good enough is unvoiced.

use std::collections::VecDeque;

use antiphon_media_frame::{MediaTime, SampleRate, Span};

use crate::timeline::millis;
use crate::{Stretch, Tone};

/// A frame begins every so many milliseconds.
const HOP_MS: i64 = 10;
/// Sound that is compared with itself.
const WINDOW: Span = Span::from_millis(25);
/// The voice is looked for between these.
const LOWEST_HZ: u32 = 60;
const HIGHEST_HZ: u32 = 500;
/// The rate worked at is the whole fraction of the track's that is nearest above: a fundamental needs no more.
const WORKING_HZ: u32 = 8_000;
/// Difference, as part of the mean one, below which a lag is a period. The paper's tenth is for a clean microphone; a call
/// has gone through G.711 and a telephone's band.
const PERIODIC: f32 = 0.2;
/// Mean power below which a frame is not looked at: -60 dB relative to full scale.
const QUIET: f32 = 1e-6;
/// Voiced frames in a row below which they are taken for chance.
const CHANCE: usize = 3;
/// Voiced frames from which a fundamental is told: a tenth of a second.
const ENOUGH: usize = 10;
/// Farther than this from the median, in semitones, a frame has been taken for its octave.
const OCTAVE: f32 = 9.5;
/// A frame belongs to the hop that its window's middle lies in.
const MIDDLE: i64 = 1;
/// How far the sound's own time may run off the frames' before they begin anew.
const DRIFT_MS: i64 = 15;

/// A frame as it is kept: four octets, 1.4 MB an hour.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    /// Sixty-fourths of a hertz; 0 where unvoiced.
    pitch: u16,
    /// Hundredths of a decibel relative to full scale.
    power: i16,
}

/// Listens to one track and tells the [`Tone`] of any stretch of what it has heard.
#[derive(Debug)]
pub struct ToneMeter {
    /// What is worked at.
    hz: u32,
    /// Samples of the track for one that is worked on.
    every: usize,
    /// Keeps from the latter what it cannot hold; empty where the rates are the same.
    filter: Vec<f32>,
    /// Samples of the track that the next ones need; full scale is 1.
    input: Vec<f32>,
    /// Samples worked on that the next frames need.
    sound: Vec<f32>,
    /// Of the frames since the sound last broke off: the first one's hop, how many there are, and the sample of the sound
    /// that `sound` begins with.
    first: i64,
    count: i64,
    dropped: i64,
    /// When the next sample is due; `None` before the first.
    due: Option<MediaTime>,
    rate: SampleRate,
    /// The hop of the oldest frame that is kept.
    oldest: i64,
    frames: VecDeque<Frame>,
    kept: usize,
    differences: Vec<f32>,
}

impl ToneMeter {
    /// A meter for sound at `rate`, 8 kHz to 48 kHz, that remembers the last `kept`, at least a second and at most a day.
    #[must_use]
    pub fn new(rate: SampleRate, kept: Span) -> Self {
        let every = (rate.hz() / WORKING_HZ).max(1);
        let hz = (rate.hz() / every).max(1);
        let longest = (hz / LOWEST_HZ + 2) as usize;
        Self {
            hz,
            every: every as usize,
            filter: if every == 1 { Vec::new() } else { low_pass(every as usize) },
            input: Vec::new(),
            sound: Vec::new(),
            first: 0,
            count: 0,
            dropped: 0,
            due: None,
            rate,
            oldest: 0,
            frames: VecDeque::new(),
            kept: (kept.millis().clamp(1_000, 86_400_000) as i64 / HOP_MS) as usize,
            differences: vec![0.0; longest + 1],
        }
    }

    /// Listens to samples that begin at `at`. Where time is missing nothing was voiced; where it goes back, what had been
    /// heard from there on is heard again.
    pub fn push(&mut self, at: MediaTime, samples: &[i16]) {
        if self.due.is_none_or(|due| (due.offset_from(at) / 1_000_000).abs() > DRIFT_MS) {
            self.begin(millis(at).div_euclid(HOP_MS));
            self.due = Some(at);
        }
        self.due = self.due.map(|due| due + self.rate.span(samples.len()));
        // A push of any length is taken in pieces, so that what is kept between them stays small.
        for piece in samples.chunks(self.every * 4_096) {
            self.take(piece);
            self.analyse();
        }
    }

    /// How the stretch sounds; `None` where nothing in it is voiced or it is forgotten. The last 50 ms that were pushed
    /// are not known yet.
    #[must_use]
    pub fn tone(&self, at: Stretch) -> Option<Tone> {
        let index = |hop: i64| usize::try_from(hop - self.oldest).unwrap_or(0).min(self.frames.len());
        let from = index(millis(at.start).div_euclid(HOP_MS));
        let to = index((millis(at.end) + HOP_MS - 1).div_euclid(HOP_MS)).max(from);
        let frames: Vec<Frame> = self.frames.range(from..to).copied().collect();
        let runs = frames.chunk_by(|a, b| (a.pitch == 0) == (b.pitch == 0));
        let voiced: Vec<Frame> =
            runs.filter(|run| run[0].pitch > 0 && run.len() >= CHANCE).flatten().copied().collect();
        let power = voiced.iter().map(|frame| 10f32.powf(f32::from(frame.power) / 1_000.0)).sum::<f32>();
        if voiced.is_empty() {
            return None;
        }
        let loudness_db = 10.0 * (power / voiced.len() as f32).log10();
        if voiced.len() < ENOUGH {
            return Some(Tone { loudness_db, pitch_hz: None, pitch_range: None });
        }
        let mut pitch: Vec<f32> = voiced.iter().map(|frame| f32::from(frame.pitch) / 64.0).collect();
        pitch.sort_by(f32::total_cmp);
        let median = pitch[pitch.len() / 2];
        pitch.retain(|hz| (12.0 * (hz / median).log2()).abs() < OCTAVE);
        let tenth = |tenths: usize| pitch[(pitch.len() - 1) * tenths / 10];
        Some(Tone {
            loudness_db,
            pitch_hz: Some(median),
            pitch_range: Some(12.0 * (tenth(9) / tenth(1)).log2()),
        })
    }

    /// The sound begins anew at a hop.
    fn begin(&mut self, hop: i64) {
        self.input.clear();
        // The filter's own delay, filled with nothing, keeps frames in place.
        self.input.resize(self.filter.len() / 2, 0.0);
        self.sound.clear();
        (self.first, self.count, self.dropped) = (hop, 0, 0);
        let next = self.oldest + self.frames.len() as i64;
        let place = hop + MIDDLE;
        if self.frames.is_empty() || place <= self.oldest || place - next > self.kept as i64 {
            self.frames.clear();
            self.oldest = place;
            return;
        }
        self.frames.resize((place - self.oldest) as usize, Frame::default());
        self.forget();
    }

    fn forget(&mut self) {
        let over = self.frames.len().saturating_sub(self.kept);
        self.frames.drain(..over);
        self.oldest += over as i64;
    }

    fn take(&mut self, samples: &[i16]) {
        let scaled = samples.iter().map(|&sample| f32::from(sample) / 32_768.0);
        if self.filter.is_empty() {
            self.sound.extend(scaled);
            return;
        }
        self.input.extend(scaled);
        let mut from = 0;
        while let Some(window) = self.input.get(from..from + self.filter.len()) {
            self.sound.push(window.iter().zip(&self.filter).map(|(a, b)| a * b).sum());
            from += self.every;
        }
        self.input.drain(..from);
    }

    fn analyse(&mut self) {
        let hz = i64::from(self.hz);
        let window = (WINDOW.millis() as usize * self.hz as usize / 1_000).max(2);
        let needed = window + self.differences.len();
        loop {
            let start = (self.count * hz * HOP_MS / 1_000 - self.dropped) as usize;
            let Some(sound) = self.sound.get(start..start + needed) else {
                let done = start.min(self.sound.len());
                self.sound.drain(..done);
                self.dropped += done as i64;
                return;
            };
            let frame = frame(sound, window, self.hz, &mut self.differences);
            self.frames.push_back(frame);
            self.count += 1;
            self.forget();
        }
    }
}

/// A windowed sinc that lets pass what `1 / every` of the rate can hold: eight samples of the result to each side of it
/// halve the error of four, and are cheap beside YIN.
fn low_pass(every: usize) -> Vec<f32> {
    let half = 8 * every as i64;
    let cutoff = 0.45 / every as f64;
    let tap = |n: i64| {
        let x = n as f64;
        let sinc = if n == 0 {
            2.0 * cutoff
        } else {
            (std::f64::consts::TAU * cutoff * x).sin() / (std::f64::consts::PI * x)
        };
        sinc * (0.5 + 0.5 * (std::f64::consts::PI * x / (half as f64 + 1.0)).cos())
    };
    let taps: Vec<f64> = (-half..=half).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    taps.into_iter().map(|tap| (tap / sum) as f32).collect()
}

fn frame(sound: &[f32], window: usize, hz: u32, differences: &mut [f32]) -> Frame {
    let here = &sound[..window];
    let mean = here.iter().sum::<f32>() / window as f32;
    let power = here.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / window as f32;
    if power < QUIET {
        return Frame { pitch: 0, power: -12_000 };
    }
    let pitch = period(sound, window, hz, differences).map_or(0.0, |period| hz as f32 / period);
    Frame {
        pitch: (pitch * 64.0).round().min(65_535.0) as u16,
        power: (1_000.0 * power.log10()).round() as i16,
    }
}

/// In samples, between the lags of the highest and the lowest voice.
fn period(sound: &[f32], window: usize, hz: u32, differences: &mut [f32]) -> Option<f32> {
    let here = &sound[..window];
    let shortest = (hz / HIGHEST_HZ).max(2) as usize;
    let longest = differences.len() - 1;
    differences[0] = 1.0;
    let mut sum = 0.0f32;
    for lag in 1..=longest {
        let difference: f32 = here.iter().zip(&sound[lag..]).map(|(a, b)| (a - b) * (a - b)).sum();
        sum += difference;
        differences[lag] = if sum > 0.0 { difference * lag as f32 / sum } else { 1.0 };
    }
    let mut lag = (shortest..longest).find(|&lag| differences[lag] < PERIODIC)?;
    while lag + 1 < longest && differences[lag + 1] < differences[lag] {
        lag += 1;
    }
    let [before, at, after] = [differences[lag - 1], differences[lag], differences[lag + 1]];
    if before < at || after < at {
        return None;
    }
    let bend = before - 2.0 * at + after;
    let offset = if bend > 0.0 { ((before - after) / (2.0 * bend)).clamp(-0.5, 0.5) } else { 0.0 };
    Some(lag as f32 + offset)
}
