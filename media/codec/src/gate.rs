//! The voice activity gate: when somebody begins and stops speaking.

use antiphon_media_frame::{SampleRate, Span};
use earshot::Detector;

use crate::{Resampler, mix};

/// What the detector takes at once: 16 ms at 16 kHz.
const WINDOW: usize = 256;
/// How far speech must stand out of the background.
const MARGIN_DB: f32 = 6.0;
/// How fast the idea of the background may rise; it falls at once.
const RISE_DB: f32 = 0.1;
/// No background is louder than this: a caller who shouts from the first sample on is still heard.
const LOUDEST_FLOOR_DB: f32 = -40.0;

/// When sound counts as speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateConfig {
    /// Probability of speech, 0 to 1, from which a window of 16 ms counts. Half of it less keeps speech going.
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
            threshold: 0.5,
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
    window: [i16; WINDOW],
    filled: usize,
    detector: Box<Detector>,
    background_db: f32,
    probability: f32,
    active: bool,
    /// Windows that contradict `active`, in a row.
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
            chunk,
            resampler,
            window: [0; WINDOW],
            filled: 0,
            detector: Box::default(),
            background_db: config.floor_db,
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
            for at in 0..self.wide.len() {
                self.window[self.filled] = self.wide[at];
                self.filled += 1;
                if self.filled == WINDOW {
                    self.filled = 0;
                    edge = self.judge().or(edge);
                }
            }
        }
        GateDecision { active: self.active, edge, probability: self.probability }
    }

    /// Closes the gate and forgets what it heard.
    pub fn reset(&mut self) {
        self.resampler.reset();
        self.detector.reset();
        self.filled = 0;
        self.background_db = self.config.floor_db;
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
        self.probability = self.detector.predict_i16(&self.window).clamp(0.0, 1.0);
        let level = mix::level_db(&self.window);
        let loud = level > self.config.floor_db && level > self.background_db + MARGIN_DB;
        let needed = if self.active { self.config.threshold / 2.0 } else { self.config.threshold };
        let speech = loud && self.probability >= needed;
        self.background_db = if level < self.background_db {
            level
        } else if speech {
            self.background_db
        } else {
            (self.background_db + RISE_DB).min(level).min(LOUDEST_FLOOR_DB)
        };

        self.run = if speech == self.active { 0 } else { self.run + 1 };
        let patience = if self.active { self.config.hangover } else { self.config.start };
        if self.run == 0 || SampleRate::HZ_16000.span(WINDOW).saturating_mul(self.run) < patience {
            return None;
        }
        self.run = 0;
        self.active = speech;
        Some(if speech { Edge::Start } else { Edge::End })
    }
}
