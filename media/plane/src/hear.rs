//! What a leg's far side hears besides prompts: tracks of other legs, mixed.
//!
//! A source is heard as it comes, not by its times: its leg's clock is another one. What lies waiting is kept to a frame
//! or so; a backlog never becomes a permanent delay, and every step in a source is blended over.

use antiphon_media_codec::{Concealer, Resampler, mix};
use std::sync::Arc;

use antiphon_media_frame::{Coded, Doorbell, SampleRate, Span, TrackReader, TrackWriter, coded_track_ring};

use crate::ingress::CODED;
use crate::leg::FRAME;

/// Names a source in commands and events; unique within its leg, chosen by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HearId(pub u64);

/// Sources heard at once; more are refused.
pub const SOURCES: usize = 16;

/// Makes a ring by which one leg hears another: its writer for a `Tap` at the rate of the leg that speaks, its reader for
/// a `Hear`. It carries payloads too: where both legs have the same codec and nothing else is to be heard, they are passed
/// on as they came.
#[must_use]
pub fn bridge_ring(rate: SampleRate) -> (TrackWriter, TrackReader) {
    let bell: Arc<Doorbell> = Doorbell::new();
    coded_track_ring(rate, RING, LONGEST, CODED, bell)
}

/// Frames of a bridge: what a leg on another shard may be late by.
const RING: usize = 16;
/// A frame, and what a resampler may owe of the one before.
const LONGEST: Span = Span::from_millis(25);
/// Frames waiting beyond this are dropped at once, all but one.
const BACKLOG: usize = 3;
/// A whole frame that was never needed for this many ticks is delay without a use: one second.
const SPARE_TICKS: u32 = 50;
/// The same while the source is quiet, where a cut is not heard.
const QUIET_SPARE_TICKS: u32 = 10;
/// Blend over a cut.
const BLEND: Span = Span::from_millis(5);
/// Frames made up in a row; the concealer is silent by then.
const MADE_UP: u32 = 3;

/// The sources of one leg.
pub(crate) struct Hearing {
    rate: SampleRate,
    samples: usize,
    sources: Vec<Source>,
    held: bool,
    frame: Vec<i16>,
    sum: Vec<i32>,
}

struct Source {
    id: HearId,
    reader: TrackReader,
    resampler: Resampler,
    /// At the leg's rate, oldest first.
    waiting: Vec<i16>,
    concealer: Concealer,
    /// Frames made up in a row; beyond [`MADE_UP`] it is silent.
    dry: u32,
    /// Factor of the last sample, and where it is going.
    gain: f32,
    goal: f32,
    /// The last frame was heard as it is.
    steady: bool,
    /// It fades out and goes.
    leaving: bool,
    /// The least that was left waiting after a tick, and for how many ticks.
    spare: usize,
    spare_ticks: u32,
    quiet: bool,
    /// The payload of the frame that was filled last, where it was all of it and nothing else.
    coded: Vec<u8>,
    codec: u8,
}

impl Hearing {
    pub(crate) fn new(rate: SampleRate) -> Self {
        Self {
            rate,
            samples: rate.samples(FRAME),
            sources: Vec::new(),
            held: false,
            frame: Vec::new(),
            sum: Vec::new(),
        }
    }

    /// Takes a source in; one of the same name fades out. Says no where there are too many.
    pub(crate) fn add(&mut self, id: HearId, reader: TrackReader, gain: f32) -> bool {
        self.remove(id);
        if self.sources.iter().filter(|source| !source.leaving).count() >= SOURCES {
            return false;
        }
        if self.sources.len() >= 2 * SOURCES {
            // Somebody swaps sources faster than they fade: one that goes, goes at once.
            if let Some(at) = self.sources.iter().position(|source| source.leaving) {
                self.sources.remove(at);
            }
        }
        self.frame.resize(self.samples, 0);
        self.sum.resize(self.samples, 0);
        self.sources.push(Source::new(id, reader, self.rate, gain));
        true
    }

    /// Lets a source fade out.
    pub(crate) fn remove(&mut self, id: HearId) {
        for source in self.named(id) {
            source.leaving = true;
        }
    }

    /// Changes a source's factor, over the next frame.
    pub(crate) fn gain(&mut self, id: HearId, gain: f32) {
        for source in self.named(id) {
            source.goal = sane(gain);
        }
    }

    /// Silences all sources, or lets them be heard again; they go on meanwhile.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Goes on at another rate; what lies waiting is left out and the sources fade in.
    pub(crate) fn change(&mut self, rate: SampleRate) {
        self.rate = rate;
        self.samples = rate.samples(FRAME);
        self.frame.resize(self.samples, 0);
        self.sum.resize(self.samples, 0);
        for source in &mut self.sources {
            source.change(rate);
        }
    }

    /// Lets a frame pass unheard.
    pub(crate) fn pass(&mut self, ended: impl FnMut(HearId)) {
        for source in &mut self.sources {
            source.fill(&mut self.frame);
            (source.gain, source.steady) = (0.0, false);
        }
        self.let_go(ended);
    }

    /// Whether somebody speaks in what was mixed last, as his own leg's gate judged.
    pub(crate) fn is_active(&self) -> bool {
        !self.held && self.sources.iter().any(|source| source.dry == 0 && !source.quiet && source.gain > 0.0)
    }

    /// The payload of the frame that was mixed last, where it was that of one source and nothing else.
    pub(crate) fn whole(&self) -> Option<Coded<'_>> {
        match &self.sources[..] {
            [source] if !self.held => source.whole(),
            _ => None,
        }
    }

    fn named(&mut self, id: HearId) -> impl Iterator<Item = &mut Source> {
        self.sources.iter_mut().filter(move |source| source.id == id && !source.leaving)
    }

    /// Adds the next frame of all sources to `out`; returns whether any of it is somebody's sound. `ended` hears of
    /// sources whose track is over.
    ///
    /// # Realtime safety
    /// No allocation once warm.
    pub(crate) fn mix(&mut self, out: &mut [i16], ended: impl FnMut(HearId)) -> bool {
        if self.sources.is_empty() {
            return false;
        }
        for (sum, sample) in self.sum.iter_mut().zip(&*out) {
            *sum = i32::from(*sample);
        }
        let mut heard = false;
        for source in &mut self.sources {
            source.fill(&mut self.frame);
            let goal = if self.held || source.leaving { 0.0 } else { source.goal };
            if source.gain == 0.0 && goal == 0.0 {
                continue;
            }
            if source.gain != 1.0 || goal != 1.0 {
                mix::ramp(&mut self.frame, source.gain, goal);
            }
            source.steady = source.gain == 1.0 && goal == 1.0;
            source.gain = goal;
            heard |= source.dry == 0;
            for (sum, sample) in self.sum.iter_mut().zip(&self.frame) {
                *sum += i32::from(*sample);
            }
        }
        for (out, sum) in out.iter_mut().zip(&self.sum) {
            *out = (*sum).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
        }
        self.let_go(ended);
        heard
    }

    fn let_go(&mut self, mut ended: impl FnMut(HearId)) {
        self.sources.retain(|source| {
            let over = source.is_over();
            if over && !source.leaving {
                ended(source.id);
            }
            let faded = source.leaving && source.gain == 0.0;
            !(over || faded)
        });
    }
}

impl Source {
    fn new(id: HearId, reader: TrackReader, rate: SampleRate, gain: f32) -> Self {
        let resampler = Resampler::new(reader.rate(), rate);
        Self {
            id,
            waiting: Vec::with_capacity(rate.samples(FRAME) * (BACKLOG + 2)),
            resampler,
            reader,
            concealer: Concealer::new(rate),
            dry: MADE_UP,
            gain: 0.0,
            goal: sane(gain),
            steady: false,
            leaving: false,
            spare: usize::MAX,
            spare_ticks: 0,
            quiet: false,
            coded: Vec::with_capacity(CODED),
            codec: 0,
        }
    }

    fn change(&mut self, rate: SampleRate) {
        self.resampler = Resampler::new(self.reader.rate(), rate);
        self.concealer = Concealer::new(rate);
        self.waiting.clear();
        self.waiting.reserve(rate.samples(FRAME) * (BACKLOG + 2));
        self.dry = MADE_UP;
        self.gain = 0.0;
        self.spare_ticks = 0;
    }

    /// The track is over and nothing of it is heard any more.
    fn is_over(&self) -> bool {
        self.dry >= MADE_UP && self.reader.finished()
    }

    /// Writes the next frame.
    fn fill(&mut self, frame: &mut [i16]) {
        self.take(frame.len());
        if self.waiting.len() != frame.len() {
            self.coded.clear();
        }
        if self.waiting.len() >= frame.len() {
            frame.copy_from_slice(&self.waiting[..frame.len()]);
            self.waiting.drain(..frame.len());
            self.concealer.good(frame);
            self.dry = 0;
            self.watch_spare(frame.len());
        } else if self.dry < MADE_UP {
            self.dry += 1;
            self.concealer.conceal(frame);
            self.spare_ticks = 0;
        } else {
            frame.fill(0);
        }
    }

    /// Takes what has come; of a backlog only the newest frame stays.
    fn take(&mut self, samples: usize) {
        let mut frames = self.reader.ready();
        if frames * samples + self.waiting.len() > (BACKLOG + 1) * samples {
            // The next samples that would have been heard fade under those that are heard instead.
            if self.waiting.len() < samples && self.pop() {
                frames -= 1;
            }
            while frames > 1 && self.reader.pop(|_| ()).is_some() {
                frames -= 1;
            }
            self.pop();
            let surplus = self.waiting.len().saturating_sub(samples);
            self.skip(surplus);
            return;
        }
        while frames > 0 && self.pop() {
            frames -= 1;
        }
    }

    /// Takes one frame; says whether there was one.
    fn pop(&mut self) -> bool {
        let Self { resampler, waiting, quiet, coded, codec, .. } = self;
        coded.clear();
        self.reader
            .pop_coded(|frame, payload| {
                *quiet = !frame.active;
                if let Some(payload) = payload.filter(|_| waiting.is_empty() && frame.rate == resampler.to())
                {
                    coded.extend_from_slice(payload.payload);
                    *codec = payload.codec;
                }
                resampler.process(frame.pcm, waiting);
            })
            .is_some()
    }

    /// Drops a frame that was waiting all the time.
    fn watch_spare(&mut self, samples: usize) {
        let left = self.waiting.len();
        self.spare = if self.spare_ticks == 0 { left } else { self.spare.min(left) };
        self.spare_ticks += 1;
        if self.spare < samples {
            if self.spare_ticks >= SPARE_TICKS {
                self.spare_ticks = 0;
            }
        } else if self.spare_ticks >= if self.quiet { QUIET_SPARE_TICKS } else { SPARE_TICKS } {
            self.skip(samples);
            self.spare_ticks = 0;
        }
    }

    /// The payload of the frame that was filled last, where it can stand for it.
    fn whole(&self) -> Option<Coded<'_>> {
        (self.steady && self.dry == 0 && !self.coded.is_empty())
            .then(|| Coded { codec: self.codec, payload: &self.coded })
    }

    /// Drops the first `count` samples that wait; those behind them are blended in.
    fn skip(&mut self, count: usize) {
        let blend = self.resampler.to().samples(BLEND).min(self.waiting.len() - count).min(count);
        for n in 0..blend {
            let (old, new) = (f32::from(self.waiting[n]), f32::from(self.waiting[count + n]));
            let weight = (n + 1) as f32 / (blend + 1) as f32;
            self.waiting[count + n] = (old + (new - old) * weight) as i16;
        }
        self.waiting.drain(..count);
        self.coded.clear();
    }
}

/// A factor from 0 to 16 (24 dB).
fn sane(gain: f32) -> f32 {
    if gain.is_finite() { gain.clamp(0.0, 16.0) } else { 1.0 }
}
