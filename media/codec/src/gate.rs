//! The voice activity gate: when somebody begins and stops speaking.

use antiphon_media_frame::{SampleRate, Span};
use earshot::Detector;

use crate::{ComfortNoise, Resampler, mix, tonal};

/// What the detector takes at once: 16 ms at 16 kHz.
const WINDOW: usize = 256;
/// How far speech must stand out of the background.
const MARGIN_DB: f32 = 6.0;
/// The background is the quietest window of the last one to two of these many, a second each: speech dips that often.
const MEMORY: u32 = 62;
/// Noise added before the detector. Above 4 kHz a narrowband call, transcoded to wideband or not, is emptier than any
/// sound the detector learnt from, and then takes noise for speech: at this level its median probability for pink
/// noise falls from 0.54 to 0.23 and for an idling engine from 0.53 to 0.24, while that for speech rises a little.
const DITHER_DB: f32 = -65.0;
/// No background is louder than this: a caller who shouts from the first sample on is still heard.
const LOUDEST_FLOOR_DB: f32 = -36.0;

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
    /// Probability of speech in the last whole window, 0 to 1.
    pub probability: f32,
}

/// Listens to one track.
pub struct Gate {
    config: GateConfig,
    resampler: Resampler,
    /// Samples taken from a push at once, and room for them at 16 kHz.
    chunk: usize,
    wide: Vec<i16>,
    dither: ComfortNoise,
    dithered: Vec<i16>,
    /// The end of the last window, then the one being filled.
    window: [i16; tonal::PAST + WINDOW],
    /// Samples in `window`.
    filled: usize,
    detector: Box<Detector>,
    background: Background,
    probability: f32,
    active: bool,
    /// Closed: windows of speech, less those that were none. Open: windows without speech since the last with it.
    run: u64,
}

impl Gate {
    /// A gate for sound at `rate`, closed.
    #[must_use]
    pub fn new(rate: SampleRate, config: GateConfig) -> Self {
        let resampler = Resampler::new(rate, SampleRate::HZ_16000);
        let chunk = (rate.hz() as usize / 50).max(1);
        Self {
            config,
            wide: Vec::with_capacity(resampler.most(chunk)),
            dither: ComfortNoise::new(0),
            dithered: Vec::with_capacity(resampler.most(chunk)),
            chunk,
            resampler,
            window: [0; tonal::PAST + WINDOW],
            filled: tonal::PAST,
            detector: Box::default(),
            background: Background::new(config.floor_db),
            probability: 0.0,
            active: false,
            run: 0,
        }
    }

    /// Listens to the next samples, any number of them, and says whether somebody speaks.
    ///
    /// # Realtime safety
    /// No allocation.
    pub fn push(&mut self, pcm: &[i16]) -> GateDecision {
        let mut edge = None;
        for chunk in pcm.chunks(self.chunk) {
            self.wide.clear();
            self.resampler.process(chunk, &mut self.wide);
            self.dithered.resize(self.wide.len(), 0);
            self.dither.fill(&mut self.dithered, DITHER_DB);
            mix::add_into(&mut self.wide, &self.dithered);
            for at in 0..self.wide.len() {
                self.window[self.filled] = self.wide[at];
                self.filled += 1;
                if self.filled == self.window.len() {
                    edge = self.judge().or(edge);
                    self.window.copy_within(WINDOW.., 0);
                    self.filled = tonal::PAST;
                }
            }
        }
        GateDecision { active: self.active, edge, probability: self.probability }
    }

    /// Closes the gate and forgets what it heard.
    pub fn reset(&mut self) {
        self.resampler.reset();
        self.detector.reset();
        self.window.fill(0);
        self.filled = tonal::PAST;
        self.background = Background::new(self.config.floor_db);
        self.probability = 0.0;
        self.active = false;
        self.run = 0;
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> GateConfig {
        self.config
    }

    fn judge(&mut self) -> Option<Edge> {
        let window = &self.window[tonal::PAST..];
        self.probability = self.detector.predict_i16(window).clamp(0.0, 1.0);
        let level = mix::level_db(window);
        let loud = level > self.config.floor_db && level > self.background.level_db() + MARGIN_DB;
        let needed = if self.active { self.config.threshold / 2.0 } else { self.config.threshold };
        // The prediction is the dearest of the three; it is made only where the others leave it the last word.
        let speech = loud && self.probability >= needed && tonal::prediction_gain_db(&self.window) < TONE_DB;
        self.background.hear(level);

        self.run = match (speech, self.active) {
            (true, true) => 0,
            (false, false) => self.run.saturating_sub(1),
            _ => self.run + 1,
        };
        let patience = if self.active { self.config.hangover } else { self.config.start };
        if self.run == 0 || SampleRate::HZ_16000.span(WINDOW).saturating_mul(self.run) < patience {
            return None;
        }
        self.run = 0;
        self.active = speech;
        Some(if speech { Edge::Start } else { Edge::End })
    }
}

/// The level below the speech, by the minimum of the levels heard.
#[derive(Clone, Copy, Debug)]
struct Background {
    /// Quietest window of the last whole second, and of the present one.
    last_db: f32,
    present_db: f32,
    /// Windows in the present second.
    windows: u32,
}

impl Background {
    const fn new(level_db: f32) -> Self {
        Self { last_db: level_db, present_db: 0.0, windows: 0 }
    }

    fn hear(&mut self, level_db: f32) {
        self.present_db = self.present_db.min(level_db);
        self.windows += 1;
        if self.windows == MEMORY {
            *self = Self::new(self.present_db);
        }
    }

    fn level_db(&self) -> f32 {
        self.last_db.min(self.present_db).min(LOUDEST_FLOOR_DB)
    }
}
