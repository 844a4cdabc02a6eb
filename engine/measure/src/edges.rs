//! When exactly speech begins and ends.
//!
//! A gate is sure of a voice only some time into it, and of softer first and last sounds hardly ever: over flite's
//! sentences it opens up to 180 ms late. What is sure is that there is speech; where it begins and ends is then told by
//! how loud it was around that.

use std::collections::VecDeque;

use antiphon_media_frame::{MediaTime, SampleRate};

use crate::Stretch;
use crate::timeline::{instant, millis};

const HOP_MS: i64 = 10;
/// How far from where the gate saw it an edge is looked for.
const REACH_MS: i64 = 300;
/// Sound so far above the background belongs to the speech beside it.
const MARGIN_DB: f32 = 9.0;
/// Quieter is nothing, however quiet the background.
const FLOOR_DB: f32 = -60.0;
/// Softer sound for as long is inside of speech: the closure before a plosive.
const CLOSURE: usize = 6;
/// Levels that are kept: what the gate's hangover and the reach need, and more.
const KEPT: usize = 200;
/// The background is the quietest of the last four blocks of so many hops, the present one aside.
const BLOCK: usize = 50;
/// How far the sound's own time may run off the hops' before they begin anew.
const DRIFT_MS: i64 = 15;

/// Hears one track beside its gate, and puts the edges of speech where the sound has them, to about 10 ms where it stands
/// out of the background, as the gate saw them where it does not.
#[derive(Debug)]
pub struct SpeechEdges {
    rate: SampleRate,
    due: Option<MediaTime>,
    /// When the oldest level's hop begins.
    first: i64,
    levels: VecDeque<f32>,
    /// Samples since the sound last broke off, and the power of those in the hop going on.
    samples: u64,
    hops: u64,
    power: f64,
    begun_at: usize,
    blocks: VecDeque<f32>,
    quietest: f32,
    in_block: usize,
    open: Option<i64>,
    ended: i64,
}

impl SpeechEdges {
    /// For sound at `rate`.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        Self {
            rate,
            due: None,
            first: 0,
            levels: VecDeque::with_capacity(KEPT + 1),
            samples: 0,
            hops: 0,
            power: 0.0,
            begun_at: 0,
            blocks: VecDeque::new(),
            quietest: 0.0,
            in_block: 0,
            open: None,
            ended: i64::MIN,
        }
    }

    /// Hears samples that begin at `at`: each before the edge that the gate makes of it is told.
    pub fn push(&mut self, at: MediaTime, samples: &[i16]) {
        if self.due.is_none_or(|due| (due.offset_from(at) / 1_000_000).abs() > DRIFT_MS) {
            self.levels.clear();
            (self.first, self.samples, self.hops, self.power, self.begun_at) = (millis(at), 0, 0, 0.0, 0);
            self.due = Some(at);
        }
        self.due = self.due.map(|due| due + self.rate.span(samples.len()));
        for &sample in samples {
            let x = f64::from(sample) / 32_768.0;
            self.power += x * x;
            self.samples += 1;
            self.begun_at += 1;
            if self.samples * 100 >= (self.hops + 1) * u64::from(self.rate.hz()) {
                let level = 10.0 * (self.power / self.begun_at as f64).max(1e-12).log10();
                self.hop(level as f32);
                (self.power, self.begun_at) = (0.0, 0);
                self.hops += 1;
            }
        }
    }

    /// The gate saw speech begin at `at`, now or before; says where it did.
    pub fn begin(&mut self, at: MediaTime) -> MediaTime {
        let seen = millis(at);
        let threshold = self.threshold();
        let mut start = seen;
        if let Some(from) = self.hop_at(seen) {
            let mut soft = 0;
            for hop in (0..=from).rev() {
                let begins = self.first + hop as i64 * HOP_MS;
                if seen - begins > REACH_MS || soft > CLOSURE {
                    break;
                }
                soft += 1;
                if self.levels[hop] > threshold {
                    (start, soft) = (begins.min(seen), 0);
                }
            }
        }
        let start = start.max(self.ended);
        self.open = Some(start);
        instant(start)
    }

    /// The gate saw speech end at `at`, now or before; the stretch since [`Self::begin`], `None` where nothing had begun.
    pub fn end(&mut self, at: MediaTime) -> Option<Stretch> {
        let start = self.open.take()?;
        let seen = millis(at);
        let threshold = self.threshold();
        let from = self.hop_at((seen - REACH_MS).max(start));
        let loud = from.and_then(|from| {
            (from..self.levels.len()).rev().find(|&hop| {
                self.levels[hop] > threshold && self.first + hop as i64 * HOP_MS <= seen + REACH_MS
            })
        });
        let end = loud.map_or(seen, |hop| self.first + (hop as i64 + 1) * HOP_MS);
        self.ended = end.max(start + 1);
        Some(Stretch { start: instant(start), end: instant(self.ended) })
    }

    /// Since when there has been speech, while there is.
    #[must_use]
    pub fn open(&self) -> Option<MediaTime> {
        self.open.map(instant)
    }

    fn hop(&mut self, level: f32) {
        self.levels.push_back(level);
        if self.levels.len() > KEPT {
            self.levels.pop_front();
            self.first += HOP_MS;
        }
        self.quietest = if self.in_block == 0 { level } else { self.quietest.min(level) };
        self.in_block += 1;
        if self.in_block == BLOCK {
            self.blocks.push_back(self.quietest);
            self.in_block = 0;
            if self.blocks.len() > 4 {
                self.blocks.pop_front();
            }
        }
    }

    fn threshold(&self) -> f32 {
        let background = self.blocks.iter().copied().chain((self.in_block > 0).then_some(self.quietest));
        let background = background.fold(0.0, f32::min);
        (background + MARGIN_DB).max(FLOOR_DB)
    }

    fn hop_at(&self, at: i64) -> Option<usize> {
        let hop = usize::try_from((at - self.first).max(0) / HOP_MS).ok()?;
        (hop < self.levels.len()).then_some(hop)
    }
}
