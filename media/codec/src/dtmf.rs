//! Telephone keys heard in the sound itself (ITU-T Q.23), within the limits of ITU-T Q.24.
//!
//! The sound is correlated with the eight frequencies in blocks of 1.25 ms. Sixteen blocks under a Hann window tell how
//! strong each frequency is over 20 ms; two such windows 10 ms apart tell by their phases how far off it lies, more
//! sharply than any filter of that length. A key is two frequencies that are right, about equally strong, and nearly all
//! there is, for 30 ms; where it begins and ends, the windows' strength passes through half.

use std::f64::consts::TAU;
use std::sync::{Arc, LazyLock};

use antiphon_media_frame::{SampleRate, Span};

/// The frequencies of Q.23: four rows, four columns.
const HZ: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Blocks a second. Weighing whole blocks lets through what lies this far off a tone, and with 400 that would be the
/// other tone of some keys.
const BLOCKS_HZ: u32 = 800;
/// Blocks in a window, and between the two whose phases are compared.
const WINDOW: usize = 16;
const APART: usize = 8;
/// Blocks between two looks.
const HOP: usize = 4;
/// Blocks remembered, and how far back a key's start is looked for: it has been heard for 30 ms by then.
const PAST: usize = 64;
const BACK: u64 = (PAST - WINDOW - 1) as u64;
/// How far the middle of a window lies before the end of its newest block.
const MIDDLE: f64 = WINDOW as f64 / 2.0;
/// The rate looked at: higher ones are averaged down to the nearest whole fraction.
const RATE_HZ: u32 = 8_000;

/// Least level of each tone in dBFS: -36 dBm0, and a little for what lines do to it. 0 dBm0 is -6.15 dBFS.
const QUIETEST_DB: f32 = -43.5;
/// How far the column may lie above and below the row, in dB: Q.24 has +4 and -8.
const TWIST_DB: (f32, f32) = (6.0, -10.0);
/// How far a frequency may lie off: Q.24 wants 1.5 % taken and 3.5 % refused.
const OFF: f64 = 0.022;
/// Between two looks, 5 ms, a tone moves less than this; a voice's harmonics move more.
const GLIDE_HZ: f64 = 4.0;
/// Share of the sound's power that the two tones make up, until it is known as a key and from then on.
const SHARE: f32 = 0.70;
const HELD_SHARE: f32 = 0.25;
/// A key's other rows and columns lie below it by this factor of power (a neighbour that is 1.5 % off reaches 0.11).
const NEIGHBOUR: f32 = 0.25;
/// A voice's harmonics are rarely this weak, as a share of the tone's power.
const HARMONIC: f32 = 0.03;
/// Power by which the two windows may differ.
const STEADY: f32 = 1.6;
/// Below this share of its power a key is over: half of its amplitude.
const HALF: f32 = 0.25;
/// Least length in blocks: 31 ms, between the 23 ms that Q.24 refuses and the 40 ms it takes.
const SHORTEST: f64 = 25.0;
/// Looks in a row at which everything must be right; a key that is over before makes do with what it had time for, less
/// one, but not with fewer than two.
const HITS: f64 = 5.0;
const LEAST_HITS: f64 = 2.0;
/// A key begins at once, so that this many blocks before its start there is less than this share of its amplitude.
const BEFORE: u64 = 10;
const RISING: f64 = 0.4;
/// Shorter gaps, in blocks, do not end a key: 20 ms.
const GAP: f64 = 16.0;
/// Blocks below this power, -60 dBFS, are taken for silence.
const SILENT: f32 = 1e-6;

/// A key seen in the sound. Places count the samples pushed since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtmfEvent {
    /// A key is being pressed; told about 55 ms after it began, or when it is over.
    Down {
        /// `0-9 * # A-D`.
        key: char,
        /// Where it began.
        start: u64,
    },
    /// It was let go; told about 30 ms later.
    Up {
        /// The same key.
        key: char,
        /// Where it began, as told before.
        start: u64,
        /// How long it was pressed.
        length: Span,
    },
}

/// Listens for keys in one track, of any rate from 8 kHz on.
#[derive(Clone, Debug)]
pub struct DtmfDetector {
    rate: SampleRate,
    table: Arc<Table>,
    /// Samples averaged into one, their sum so far and their count.
    factor: usize,
    sum: i32,
    summed: usize,
    /// The last [`WINDOW`] blocks of sound; the one being filled stands where the oldest was.
    sound: Vec<f32>,
    /// Samples in the block being filled.
    filled: usize,
    past: Box<[Block; PAST]>,
    /// What brings the next block's phases onto one clock.
    turn: Waves,
    /// Whole blocks heard.
    blocks: u64,
    state: State,
}

/// A complex number for each frequency.
#[derive(Clone, Copy, Debug, Default)]
struct Waves {
    re: [f32; 8],
    im: [f32; 8],
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Correlation with each frequency.
    tones: Waves,
    /// Sum of squares.
    energy: f32,
}

/// What depends on the rate only.
#[derive(Debug)]
struct Table {
    /// Conjugate waves over a block.
    waves: Vec<Waves>,
    /// How far each of them turns in a block.
    turn: Waves,
    /// Hann window, a weight a block.
    window: [f32; WINDOW],
    /// From squared sums under the window to powers of full scale, less what averaging took.
    tone_scale: [f32; 8],
    energy_scale: f32,
    /// The rate looked at.
    hz: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Tones {
    row: usize,
    column: usize,
    /// Of both together.
    power: f32,
    /// How far the two are off, in Hz.
    off: [f64; 2],
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    tones: Tones,
    /// Looks in a row at which everything was right, now and at most.
    hits: u32,
    most_hits: u32,
    told: bool,
    /// In blocks from the start, as `end`.
    start: f64,
    /// Where its strength fell through half, while it is not clear that it stays so.
    end: Option<f64>,
    /// Amplitude at the last look, as a share of the whole.
    share: f64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    Pressed(Pressed),
}

impl DtmfDetector {
    /// A detector that has heard nothing.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        static USUAL: LazyLock<Arc<Table>> = LazyLock::new(|| Arc::new(Table::new(f64::from(RATE_HZ), 1)));
        let factor = ((rate.hz() + RATE_HZ / 2) / RATE_HZ).max(1);
        let table = match rate.hz() {
            RATE_HZ => USUAL.clone(),
            hz => Arc::new(Table::new(f64::from(hz) / f64::from(factor), factor)),
        };
        Self {
            rate,
            factor: factor as usize,
            sum: 0,
            summed: 0,
            sound: vec![0.0; table.waves.len() * WINDOW],
            filled: 0,
            past: Box::new([Block::default(); PAST]),
            turn: Waves { re: [1.0; 8], im: [0.0; 8] },
            blocks: 0,
            state: State::Idle,
            table,
        }
    }

    /// Listens to the next samples, any number of them, and tells what keys did in them.
    ///
    /// # Realtime safety
    /// No allocation.
    pub fn push(&mut self, pcm: &[i16], mut tell: impl FnMut(DtmfEvent)) {
        let block = self.table.waves.len();
        if self.factor == 1 {
            let mut rest = pcm;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(block - self.filled));
                let at = (self.blocks % WINDOW as u64) as usize * block + self.filled;
                for (slot, sample) in self.sound[at..].iter_mut().zip(now) {
                    *slot = f32::from(*sample);
                }
                self.filled += now.len();
                self.finish_block(&mut tell);
                rest = later;
            }
            return;
        }
        for sample in pcm {
            self.sum += i32::from(*sample);
            self.summed += 1;
            if self.summed == self.factor {
                let at = (self.blocks % WINDOW as u64) as usize * block + self.filled;
                self.sound[at] = self.sum as f32 / self.factor as f32;
                (self.sum, self.summed) = (0, 0);
                self.filled += 1;
                self.finish_block(&mut tell);
            }
        }
    }

    /// Forgets what it heard; places count from here.
    pub fn reset(&mut self) {
        *self = Self { table: self.table.clone(), ..Self::new(self.rate) };
    }

    /// The rate that goes in.
    #[must_use]
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }

    fn finish_block(&mut self, tell: &mut impl FnMut(DtmfEvent)) {
        let block = self.table.waves.len();
        if self.filled < block {
            return;
        }
        self.filled = 0;
        let at = (self.blocks % WINDOW as u64) as usize * block;
        let sound = &self.sound[at..at + block];
        let mut squares = [0f32; 4];
        for quad in sound.chunks(4) {
            for (sum, x) in squares.iter_mut().zip(quad) {
                *sum += x * x;
            }
        }
        let energy: f32 = squares.iter().sum();
        let silent = energy < SILENT * 32_768.0 * 32_768.0 * block as f32;
        let tones = if silent { Waves::default() } else { self.table.correlate(sound).times(&self.turn) };
        self.past[(self.blocks % PAST as u64) as usize] = Block { tones, energy };
        self.turn = self.turn.times(&self.table.turn).normal();
        self.blocks += 1;
        if self.blocks.is_multiple_of(HOP as u64) && self.blocks >= (WINDOW + APART) as u64 {
            self.look(tell);
        }
    }

    fn look(&mut self, tell: &mut impl FnMut(DtmfEvent)) {
        let middle = self.blocks as f64 - MIDDLE;
        let energy = self.energy();
        let quiet = energy < 2.0 * power(QUIETEST_DB);
        let State::Pressed(mut pressed) = self.state else {
            if !quiet
                && let Some(tones) = self.tones(energy)
                && let Some(start) = self.start(tones)
            {
                self.state = State::Pressed(Pressed::new(tones, start));
            }
            return;
        };
        let now = self.power(pressed.tones, self.blocks);
        let held = now >= HALF * pressed.tones.power && now >= HELD_SHARE * energy;
        let hit = if quiet { None } else { self.tones(energy) };
        let other = hit.filter(|hit| (hit.row, hit.column) != (pressed.tones.row, pressed.tones.column));
        let share = f64::from(now / pressed.tones.power).sqrt();
        if held && other.is_none() {
            pressed.hits = match hit {
                Some(hit) if hit.follows(pressed.tones) => pressed.hits + 1,
                hit => u32::from(hit.is_some()),
            };
            if let Some(hit) = hit {
                pressed.tones.off = hit.off;
            }
            pressed.most_hits = pressed.most_hits.max(pressed.hits);
            pressed.end = None;
        } else if pressed.end.is_none() {
            // Between the last look and this one it passed through half.
            let back = if share < 0.5 { (0.5 - share) / (pressed.share - share).max(0.1) } else { 0.0 };
            pressed.end = Some(middle - back.clamp(0.0, 1.0) * HOP as f64);
        }
        pressed.share = share;
        let length = pressed.end.unwrap_or(middle) - pressed.start;
        let hits = if pressed.end.is_some() {
            ((length - (WINDOW + APART) as f64) / HOP as f64 - 1.0).clamp(LEAST_HITS, HITS)
        } else {
            HITS
        };
        if !pressed.told && f64::from(pressed.most_hits) >= hits && length >= SHORTEST {
            pressed.told = true;
            tell(DtmfEvent::Down { key: pressed.tones.key(), start: self.place(pressed.start) });
        }
        self.state = State::Pressed(pressed);
        if let Some(end) = pressed.end
            && (middle - end >= GAP || other.is_some() || !pressed.told)
        {
            if pressed.told {
                let (start, end) = (self.place(pressed.start), self.place(end));
                let length = self.rate.span(end.saturating_sub(start) as usize);
                tell(DtmfEvent::Up { key: pressed.tones.key(), start, length });
            }
            self.state = State::Idle;
            if let Some(tones) = other
                && let Some(start) = self.start(tones)
            {
                self.state = State::Pressed(Pressed::new(tones, start.max(end)));
            }
        }
    }

    /// The key in the newest windows, if all is right about it.
    fn tones(&self, energy: f32) -> Option<Tones> {
        let newest = self.window(self.blocks);
        let strength = self.table.powers(&newest);
        let strongest = |range: std::ops::Range<usize>| {
            range.max_by(|a, b| strength[*a].total_cmp(&strength[*b])).unwrap_or(0)
        };
        let (row, column) = (strongest(0..4), strongest(4..8));
        // Before the phases, which cost more: what is no key at all shows here.
        if strength[row] + strength[column] < SHARE * 0.35 * energy {
            return None;
        }
        let alone = |best: usize, range: std::ops::Range<usize>| {
            range.into_iter().all(|n| n == best || strength[n] < NEIGHBOUR * strength[best])
        };
        if !alone(row, 0..4) || !alone(column, 4..8) {
            return None;
        }
        let older = self.window(self.blocks - APART as u64);
        let before = self.table.powers(&older);
        let mut tone = [(0f32, 0f64); 2];
        for (n, tone) in [row, column].into_iter().zip(&mut tone) {
            let change = strength[n] / before[n].max(f32::MIN_POSITIVE);
            if !(1.0 / STEADY..=STEADY).contains(&change) {
                return None;
            }
            let turned = newest.turned_since(&older, n);
            let off = turned / TAU * f64::from(BLOCKS_HZ) / APART as f64;
            if off.abs() > OFF * HZ[n] {
                return None;
            }
            *tone = (strength[n] / hann(off * WINDOW as f64 / f64::from(BLOCKS_HZ)), HZ[n] + off);
        }
        let [(row_power, row_hz), (column_power, column_hz)] = tone;
        let twist = column_power / row_power;
        let right = row_power.min(column_power) >= power(QUIETEST_DB)
            && (power(TWIST_DB.1)..=power(TWIST_DB.0)).contains(&twist)
            && row_power + column_power >= SHARE * energy
            // The second harmonic of some rows lies beside a column and cannot be told from it.
            && ((2.0 * row_hz - column_hz).abs() < 150.0 || self.at(2.0 * row_hz) < HARMONIC * row_power)
            && self.at(2.0 * column_hz) < HARMONIC * column_power;
        let off = [row_hz - HZ[row], column_hz - HZ[column]];
        right.then_some(Tones { row, column, power: strength[row] + strength[column], off })
    }

    /// Where the two tones rose through half of their strength, in blocks; `None` if they did not do so at once.
    fn start(&self, tones: Tones) -> Option<f64> {
        let oldest = self.blocks.saturating_sub(BACK).max(WINDOW as u64);
        let share = |end| f64::from(self.power(tones, end) / tones.power).sqrt();
        let mut after = 1.0;
        for end in (oldest..self.blocks).rev() {
            let here = share(end);
            if here < 0.5 {
                let between = (0.5 - here) / (after - here).max(0.05);
                let before = end.saturating_sub(BEFORE - 1).max(WINDOW as u64);
                return (share(before) < RISING).then_some(end as f64 - MIDDLE + between.clamp(0.0, 1.0));
            }
            after = here;
        }
        // Heard from the very start, or too long ago.
        (oldest == WINDOW as u64).then_some(0.0)
    }

    /// Power of both tones in the window that ends before block `end`.
    fn power(&self, tones: Tones, end: u64) -> f32 {
        let powers = self.table.powers(&self.window(end));
        powers[tones.row] + powers[tones.column]
    }

    /// Power of all there is in the newest window.
    fn energy(&self) -> f32 {
        let first = self.blocks - WINDOW as u64;
        let weigh = |(n, weight): (usize, &f32)| self.block(first + n as u64).energy * weight;
        self.table.window.iter().enumerate().map(weigh).sum::<f32>() * self.table.energy_scale
    }

    /// The correlations under the window that ends before block `end`.
    fn window(&self, end: u64) -> Waves {
        let first = end - WINDOW as u64;
        let mut sum = Waves::default();
        for (n, weight) in self.table.window.iter().enumerate() {
            let block = &self.block(first + n as u64).tones;
            for lane in 0..8 {
                sum.re[lane] += block.re[lane] * weight;
                sum.im[lane] += block.im[lane] * weight;
            }
        }
        sum
    }

    fn block(&self, number: u64) -> &Block {
        &self.past[(number % PAST as u64) as usize]
    }

    /// Power of the last 20 ms at any frequency.
    fn at(&self, hz: f64) -> f32 {
        let angle = TAU * hz / self.table.hz;
        let coefficient = (2.0 * angle.cos()) as f32;
        let (mut last, mut before) = (0f32, 0f32);
        // In the order it was heard: the next block's place holds the oldest.
        let oldest = (self.blocks % WINDOW as u64) as usize * self.table.waves.len();
        for x in self.sound[oldest..].iter().chain(&self.sound[..oldest]) {
            (last, before) = (x + coefficient * last - before, last);
        }
        let squared = last * last + before * before - coefficient * last * before;
        let len = self.sound.len() as f32;
        2.0 * squared / (len * len * 32_768.0 * 32_768.0)
    }

    /// From blocks to samples pushed.
    fn place(&self, blocks: f64) -> u64 {
        (blocks.max(0.0) * (self.table.waves.len() * self.factor) as f64).round() as u64
    }
}

impl Pressed {
    const fn new(tones: Tones, start: f64) -> Self {
        Self { tones, hits: 1, most_hits: 1, told: false, start, end: None, share: 1.0 }
    }
}

impl Tones {
    const fn key(self) -> char {
        KEYS[self.row][self.column - 4]
    }

    /// Whether both stand where they stood in the look before.
    fn follows(self, before: Self) -> bool {
        self.off.iter().zip(before.off).all(|(now, then)| (now - then).abs() < GLIDE_HZ)
    }
}

impl Waves {
    fn times(&self, other: &Self) -> Self {
        let mut product = Self::default();
        for lane in 0..8 {
            product.re[lane] = self.re[lane] * other.re[lane] - self.im[lane] * other.im[lane];
            product.im[lane] = self.re[lane] * other.im[lane] + self.im[lane] * other.re[lane];
        }
        product
    }

    /// Numbers near one in size, made to stay there: the first term of the inverse square root.
    fn normal(mut self) -> Self {
        for lane in 0..8 {
            let size = self.re[lane] * self.re[lane] + self.im[lane] * self.im[lane];
            let factor = 1.5 - 0.5 * size;
            self.re[lane] *= factor;
            self.im[lane] *= factor;
        }
        self
    }

    /// The angle from another window's to this one's, in -pi..pi.
    fn turned_since(&self, other: &Self, lane: usize) -> f64 {
        let re = self.re[lane] * other.re[lane] + self.im[lane] * other.im[lane];
        let im = self.im[lane] * other.re[lane] - self.re[lane] * other.im[lane];
        f64::from(im).atan2(f64::from(re))
    }
}

impl Table {
    fn new(hz: f64, factor: u32) -> Self {
        let block = (hz / f64::from(BLOCKS_HZ)).round().max(1.0) as usize;
        let turn = |n: f64| {
            let mut waves = Waves::default();
            for (lane, tone) in HZ.iter().enumerate() {
                let (sin, cos) = (TAU * tone * n / hz).sin_cos();
                (waves.re[lane], waves.im[lane]) = (cos as f32, -sin as f32);
            }
            waves
        };
        let window =
            std::array::from_fn(|n| (TAU / 2.0 * (n as f64 + 0.5) / WINDOW as f64).sin().powi(2) as f32);
        let weight = f64::from(window.iter().sum::<f32>()) * block as f64 * 32_768.0;
        let tone_scale = HZ.map(|tone| {
            let angle = TAU / 2.0 * tone / (hz * f64::from(factor));
            let kept = (angle * f64::from(factor)).sin() / (angle.sin() * f64::from(factor));
            (2.0 / (weight * weight * kept * kept)) as f32
        });
        let waves = (0..block).map(|n| turn(n as f64)).collect();
        let energy_scale = (1.0 / (weight * 32_768.0)) as f32;
        Self { waves, turn: turn(block as f64), window, tone_scale, energy_scale, hz }
    }

    fn correlate(&self, sound: &[f32]) -> Waves {
        let mut sum = Waves::default();
        for (x, wave) in sound.iter().zip(&self.waves) {
            for lane in 0..8 {
                sum.re[lane] += x * wave.re[lane];
                sum.im[lane] += x * wave.im[lane];
            }
        }
        sum
    }

    fn powers(&self, window: &Waves) -> [f32; 8] {
        std::array::from_fn(|n| {
            (window.re[n] * window.re[n] + window.im[n] * window.im[n]) * self.tone_scale[n]
        })
    }
}

/// What a Hann window leaves of the power of a tone that lies `bins` off.
fn hann(bins: f64) -> f32 {
    let angle = TAU / 2.0 * bins;
    let amplitude = if angle.abs() < 1e-6 { 1.0 } else { angle.sin() / (angle * (1.0 - bins * bins)) };
    (amplitude * amplitude) as f32
}

fn power(db: f32) -> f32 {
    10f32.powf(db / 10.0)
}
