//! The voice activity gate: when somebody begins and stops speaking.
//!
//! A network judges windows of 16 ms, and is most of what a silent call costs. Windows that do not stand out of the
//! background are no speech whatever it would say of them, so it hears them only when speech follows: the last of them
//! are kept and shown to it then, so that it knows what the speech rises from.

mod detector;
mod spectrum;

use std::sync::LazyLock;

use antiphon_media_frame::{SampleRate, Span};

use crate::music::MusicDetector;
use crate::{ComfortNoise, Resampler, mix, tonal};
use detector::Detector;
use spectrum::WINDOW;

/// What the detector takes at once, at 16 kHz.
const LENGTH: Span = Span::from_millis(16);
/// Quiet windows shown to the network before the first that stands out. It compares three windows, and of its memory
/// little is older than this: over 20 minutes of speech and calls 0.9 % of the frames, at the edges of speech, were judged
/// otherwise than with every window shown.
const SHOWN: usize = 4;
/// How far speech must stand out of the background.
const MARGIN_DB: f32 = 6.0;
/// The background is the quietest window of the last one to two of these many, a second each: speech dips that often.
const MEMORY: u32 = 62;
/// Noise added before the detector. Above 4 kHz a narrowband call, transcoded to wideband or not, is emptier than any
/// sound the detector learnt from, and then takes noise for speech: at this level its median probability for pink
/// noise falls from 0.54 to 0.23 and for an idling engine from 0.53 to 0.24, while that for speech rises a little.
const DITHER_DB: f32 = -65.0;
/// Samples of that noise, a second and a little; then it begins again, which the network forgets a hundred times between.
const DITHER: usize = 16_384;
static NOISE: LazyLock<Box<[i16; DITHER]>> = LazyLock::new(|| {
    let mut noise = Box::new([0; DITHER]);
    ComfortNoise::new(0).fill(&mut noise[..], DITHER_DB);
    noise
});
/// No background is louder than this: a caller who shouts from the first sample on is still heard.
const LOUDEST_FLOOR_DB: f32 = -36.0;
/// Unless all windows of a second were as loud as each other to within this: so is hiss, and no speech.
const LEVEL_DB: f32 = 5.0;

/// The quietest and the loudest of no windows.
const NO_RANGE: (f32, f32) = (f32::MAX, f32::MIN);
/// Probability from which an open gate is so sure of a voice that the next window is taken for one as well, unjudged.
const SURE: f32 = 0.9;
/// Predictability from which sound is a tone, not a voice; see [`tonal`].
const TONE_DB: f64 = 25.0;

/// When sound counts as speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateConfig {
    /// Probability of speech, 0 to 1, from which a window of 16 ms counts; half of it keeps speech going.
    pub threshold: f32,
    /// Speech heard before [`Edge::Start`], so that a click does not interrupt a prompt.
    pub start: Span,
    /// Quiet heard before [`Edge::End`].
    pub hangover: Span,
    /// Level in dBFS below which nothing is speech, however quiet the background.
    pub floor_db: f32,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            threshold: 0.6,
            start: Span::from_millis(60),
            hangover: Span::from_millis(200),
            floor_db: -55.0,
        }
    }
}

/// Speech began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Speech began about [`GateConfig::start`] ago.
    Start,
    /// Speech ended about [`GateConfig::hangover`] ago.
    End,
}

/// What the gate makes of the sound so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateDecision {
    /// Whether somebody speaks.
    pub active: bool,
    /// What changed in this push; the last change, should a long push hold several.
    pub edge: Option<Edge>,
    /// Whether what was taken for speech since the last [`Edge::Start`], or up to the last change of this push, was none of
    /// it: music or hiss, which take a second or more to tell from a voice. The gate closes with it.
    pub retracted: bool,
    /// Probability of speech in the last whole window, 0 to 1; 0 where its level alone ruled that out.
    pub probability: f32,
}

/// Listens to one track.
pub struct Gate {
    config: GateConfig,
    /// Samples of a window, and those before it that the resampler needs to be warm.
    length: usize,
    warm: usize,
    /// Samples that warm the resampler, [`SHOWN`] windows, and the window being filled.
    past: Vec<i16>,
    /// Samples in `past`.
    filled: usize,
    /// Windows that the network has not been shown.
    unseen: usize,
    resampler: Resampler,
    /// What the resampler made and the network did not take yet.
    wide: Vec<i16>,
    /// Where the noise for it goes on.
    dither: usize,
    /// The end of the window before the last, then the last, as the network saw it.
    window: [i16; tonal::PAST + WINDOW],
    detector: Box<Detector>,
    music: Box<MusicDetector>,
    background: Background,
    probability: f32,
    /// Probability from which every second window is spared: [`SURE`].
    sure: f32,
    /// Whether the last window was taken for what the one before it was.
    spared: bool,
    active: bool,
    /// Whether the present push takes back what was taken for speech.
    retracted: bool,
    /// Quietest and loudest window since the gate opened.
    range_db: (f32, f32),
    /// Closed: windows of speech, less those that were none. Open: windows without speech since the last with it.
    run: u64,
}

impl Gate {
    /// A gate for sound at `rate`, closed.
    #[must_use]
    pub fn new(rate: SampleRate, config: GateConfig) -> Self {
        // Made here rather than on the shard when somebody speaks first.
        LazyLock::force(&NOISE);
        let resampler = Resampler::coarse(rate, SampleRate::HZ_16000);
        let length = rate.samples(LENGTH).max(1);
        let warm = 2 * rate.samples(resampler.delay());
        let most = resampler.most(warm.max(length)) + WINDOW;
        Self {
            config,
            past: vec![0; warm + (SHOWN + 1) * length],
            filled: warm + SHOWN * length,
            unseen: 0,
            wide: Vec::with_capacity(most),
            dither: 0,
            length,
            warm,
            resampler,
            window: [0; tonal::PAST + WINDOW],
            detector: Box::new(Detector::new()),
            music: Box::new(MusicDetector::new()),
            background: Background::new(config.floor_db),
            probability: 0.0,
            sure: SURE,
            spared: false,
            active: false,
            retracted: false,
            range_db: NO_RANGE,
            run: 0,
        }
    }

    /// Listens to the next samples, any number of them, and says whether somebody speaks.
    ///
    /// # Realtime safety
    /// No allocation. Where speech begins, up to four windows of 16 ms are judged in addition, once.
    pub fn push(&mut self, pcm: &[i16]) -> GateDecision {
        let mut edge = None;
        self.retracted = false;
        let mut rest = pcm;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.past.len() - self.filled));
            self.past[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            if self.filled == self.past.len() {
                edge = self.judge().or(edge);
                self.past.copy_within(self.length.., 0);
                self.filled -= self.length;
            }
            rest = later;
        }
        GateDecision { active: self.active, edge, retracted: self.retracted, probability: self.probability }
    }

    /// Closes the gate and forgets what it heard.
    pub fn reset(&mut self) {
        self.resampler.reset();
        self.detector.reset();
        self.music.reset();
        self.past.fill(0);
        self.filled = self.past.len() - self.length;
        self.unseen = 0;
        self.wide.clear();
        self.window.fill(0);
        self.background = Background::new(self.config.floor_db);
        self.probability = 0.0;
        self.spared = false;
        self.active = false;
        self.retracted = false;
        self.run = 0;
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> GateConfig {
        self.config
    }

    fn judge(&mut self) -> Option<Edge> {
        let level = level_with_dither(&self.past[self.past.len() - self.length..]);
        let loud = level > self.config.floor_db && level > self.background.level_db() + MARGIN_DB;
        let speech = if loud {
            self.show();
            let needed = if self.active { self.config.threshold / 2.0 } else { self.config.threshold };
            // The prediction is made only where the others leave it the last word.
            self.probability >= needed
                && !self.music.music()
                && (self.spared || tonal::prediction_gain_db(&self.window) < TONE_DB)
        } else {
            self.unseen = (self.unseen + 1).min(SHOWN + 1);
            self.music.rest();
            (self.probability, self.spared) = (0.0, false);
            false
        };
        self.background.hear(level);
        let (quietest, loudest) = self.range_db;
        self.range_db = (quietest.min(level), loudest.max(level));
        let music = self.music.music();
        let hiss = !loud && self.background.level && self.range_db.1 - self.range_db.0 < LEVEL_DB;

        self.run = match (speech, self.active) {
            (true, true) => 0,
            (false, false) => self.run.saturating_sub(1),
            _ => self.run + 1,
        };
        let patience = match self.active {
            // Music is not what a speaker takes a breath of.
            true if music || hiss => Span::ZERO,
            true => self.config.hangover,
            false => self.config.start,
        };
        if self.run == 0 || SampleRate::HZ_16000.span(WINDOW).saturating_mul(self.run) < patience {
            return None;
        }
        self.run = 0;
        self.active = speech;
        if speech {
            self.music.open();
            self.range_db = NO_RANGE;
        } else {
            self.retracted = hiss || self.music.only();
        }
        Some(if speech { Edge::Start } else { Edge::End })
    }

    /// Shows the network the newest window, after those that it missed, as far as they are kept.
    fn show(&mut self) {
        let missed = std::mem::take(&mut self.unseen);
        let mut gap = missed > SHOWN;
        let mut from = self.past.len() - self.length;
        if missed > 0 {
            from -= missed.min(SHOWN) * self.length;
            self.resampler.reset();
            self.wide.clear();
            self.resampler.process(&self.past[from - self.warm..from], &mut self.wide);
            self.wide.clear();
        }
        while from < self.past.len() {
            let fresh = self.wide.len();
            self.resampler.process(&self.past[from..from + self.length], &mut self.wide);
            from += self.length;
            let mut fresh = &mut self.wide[fresh..];
            while !fresh.is_empty() {
                let (now, later) = fresh.split_at_mut(fresh.len().min(DITHER - self.dither));
                mix::add_into(now, &NOISE[self.dither..]);
                self.dither = (self.dither + now.len()) % DITHER;
                fresh = later;
            }
            while let Some(next) = self.wide.first_chunk() {
                self.window.copy_within(WINDOW.., 0);
                self.window[tonal::PAST..].copy_from_slice(next);
                self.spared = self.active && !self.spared && self.probability >= self.sure;
                if self.spared {
                    self.detector.hear(next);
                } else {
                    self.probability = self.detector.predict(next);
                }
                self.music.hear(next, std::mem::take(&mut gap));
                self.wide.drain(..WINDOW);
            }
        }
    }
}

/// The level in dBFS that `pcm` would have with the noise that the network hears it with.
fn level_with_dither(pcm: &[i16]) -> f32 {
    let power = |db: f32| 10f32.powf(db / 10.0);
    10.0 * (power(mix::level_db(pcm)) + power(DITHER_DB)).log10()
}

/// The level below the speech, by the minimum of the levels heard.
#[derive(Clone, Copy, Debug)]
struct Background {
    /// Quietest window of the last whole second, and whether the loudest was hardly louder.
    last_db: f32,
    level: bool,
    /// Quietest and loudest window of the present second.
    present_db: f32,
    loudest_db: f32,
    /// Windows in the present second.
    windows: u32,
}

impl Background {
    const fn new(level_db: f32) -> Self {
        Self { last_db: level_db, level: false, present_db: 0.0, loudest_db: f32::MIN, windows: 0 }
    }

    fn hear(&mut self, level_db: f32) {
        self.present_db = self.present_db.min(level_db);
        self.loudest_db = self.loudest_db.max(level_db);
        self.windows += 1;
        if self.windows == MEMORY {
            let level = self.loudest_db - self.present_db < LEVEL_DB;
            *self = Self { level, ..Self::new(self.present_db) };
        }
    }

    fn level_db(&self) -> f32 {
        let quietest = self.last_db.min(self.present_db);
        if self.level { quietest } else { quietest.min(LOUDEST_FLOOR_DB) }
    }
}

#[cfg(test)]
mod tests;
