//! One device on virtual time: streams that speak and pause, recordings that always have more, and policies that decide
//! what is computed next. Our scheduler is the product's own; the others are re-creations of what neighbours do.

#![allow(dead_code, reason = "the re-creations are for the bench, which shares this module")]

use std::time::Duration;

use antiphon_media_frame::Span;
use antiphon_models_pool::{Class, Pick, Row, Scheduler, Shares, SlotId};
use antiphon_models_speech::Pace;

/// The sound of a step.
pub(crate) const CHUNK: Duration = Duration::from_millis(320);
/// The widest step.
pub(crate) const WIDTH: usize = 16;

/// A seeded generator: the same numbers every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() * limit as f64) as usize
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.next()).ln()
    }
}

/// Decides what is computed next.
pub(crate) trait Policy {
    fn pick(&mut self, now: Duration, rows: &mut Vec<Row>, expected: Option<Duration>) -> Pick;
    fn done(&mut self, rows: &[Row], took: Duration);
    /// How long a step of this policy takes.
    fn cost(&self, device: &Cost, rows: usize) -> Duration {
        device.of(rows)
    }
}

/// What the device needs for a step.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) fixed: Duration,
    pub(crate) row: Duration,
}

impl Cost {
    pub(crate) fn of(&self, rows: usize) -> Duration {
        self.fixed + self.row * rows as u32
    }
}

/// The product's scheduler.
pub(crate) struct Antiphon(pub(crate) Scheduler);

impl Antiphon {
    pub(crate) fn new(shares: Shares, device: Cost) -> Self {
        let mut scheduler = Scheduler::new(shares);
        let pace = Pace { chunk: Span::from(CHUNK), rows: WIDTH };
        let group = scheduler.group(pace, device.of(1));
        for rows in [1, 2, 4, 8, 16] {
            scheduler.learn(group, rows, device.of(rows));
        }
        Self(scheduler)
    }
}

impl Policy for Antiphon {
    fn pick(&mut self, now: Duration, rows: &mut Vec<Row>, expected: Option<Duration>) -> Pick {
        self.0.pick(now, rows, expected)
    }

    fn done(&mut self, rows: &[Row], took: Duration) {
        self.0.learn(0, rows.len(), took);
        self.0.done(rows, took);
    }
}

/// Re-creation: whoever came first is served first, as many as fit a step, whatever their class.
pub(crate) struct Fifo;

impl Policy for Fifo {
    fn pick(&mut self, _: Duration, rows: &mut Vec<Row>, _: Option<Duration>) -> Pick {
        rows.sort_by_key(|row| row.due);
        if rows.is_empty() { Pick::Nothing } else { Pick::Step(rows.len().min(WIDTH)) }
    }

    fn done(&mut self, _: &[Row], _: Duration) {}
}

/// Re-creation: a fixed number of slots that are all computed in every step, filled or not, files in slots like calls.
pub(crate) struct FixedSlots;

impl Policy for FixedSlots {
    fn pick(&mut self, now: Duration, rows: &mut Vec<Row>, expected: Option<Duration>) -> Pick {
        Fifo.pick(now, rows, expected)
    }

    fn done(&mut self, _: &[Row], _: Duration) {}

    fn cost(&self, device: &Cost, _: usize) -> Duration {
        device.of(WIDTH)
    }
}

/// Re-creation: a session a stream, each computing for itself and taking turns with all others.
#[derive(Default)]
pub(crate) struct SessionPool {
    turn: usize,
}

impl Policy for SessionPool {
    fn pick(&mut self, _: Duration, rows: &mut Vec<Row>, _: Option<Duration>) -> Pick {
        if rows.is_empty() {
            return Pick::Nothing;
        }
        rows.sort_by_key(|row| row.slot.index);
        let next = rows.iter().position(|row| row.slot.index as usize > self.turn).unwrap_or(0);
        self.turn = rows[next].slot.index as usize;
        rows.swap(0, next);
        Pick::Step(1)
    }

    fn done(&mut self, _: &[Row], _: Duration) {}
}

/// What there is to do.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) live: usize,
    pub(crate) batch: usize,
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
    /// Mean lengths of speech and of the pause after it, in seconds.
    pub(crate) speech: f64,
    pub(crate) pause: f64,
}

impl Load {
    /// So many live streams that speak 3 s and are silent for 4, and so many recordings, for five minutes.
    pub(crate) fn new(live: usize, batch: usize) -> Self {
        Self { live, batch, seconds: 300, seed: 1, speech: 3.0, pause: 4.0 }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From the moment that a live chunk is complete to its words, in milliseconds, sorted.
    pub(crate) live: Vec<f64>,
    /// Rows of recordings computed.
    pub(crate) batch: usize,
    /// The longest that a recording with something to do had nothing done.
    pub(crate) starved: Duration,
    /// The part of the time that the device computed.
    pub(crate) busy: f64,
    /// Rows a step.
    pub(crate) fill: f64,
}

impl Outcome {
    pub(crate) fn live_ms(&self, share: f64) -> f64 {
        let index = ((self.live.len() as f64 * share) as usize).min(self.live.len().saturating_sub(1));
        self.live.get(index).copied().unwrap_or(0.0)
    }

    /// From the first sound of a chunk to its words: what a person watching waits.
    pub(crate) fn partial_ms(&self, share: f64) -> f64 {
        CHUNK.as_secs_f64() * 1e3 + self.live_ms(share)
    }
}

struct Live {
    /// When the next chunk is complete, and how many follow in this utterance.
    next: f64,
    left: usize,
    /// Complete chunks not yet computed.
    waiting: std::collections::VecDeque<f64>,
}

/// Runs a load under a policy.
pub(crate) fn run(policy: &mut dyn Policy, device: Cost, load: Load) -> Outcome {
    let mut random = Random::new(load.seed);
    let chunk = CHUNK.as_secs_f64();
    let utterance = |random: &mut Random, from: f64| {
        let begins = from + random.exponential(load.pause);
        let chunks = (random.exponential(load.speech) / chunk).ceil().max(1.0) as usize;
        (begins + chunk, chunks)
    };
    let mut lives: Vec<Live> = (0..load.live)
        .map(|_| {
            let (next, left) = utterance(&mut random, 0.0);
            Live { next, left, waiting: Default::default() }
        })
        .collect();
    let mut served = vec![0.0f64; load.batch];
    let (mut now, end) = (0.0, load.seconds as f64);
    let mut outcome = Outcome::default();
    let (mut busy, mut steps, mut all_rows) = (0.0, 0usize, 0usize);
    let time = |seconds: f64| Duration::from_secs_f64(seconds);
    while now < end {
        for live in &mut lives {
            while live.next <= now {
                live.waiting.push_back(live.next);
                live.left -= 1;
                if live.left == 0 {
                    (live.next, live.left) = utterance(&mut random, live.next);
                } else {
                    live.next += chunk;
                }
            }
        }
        let row = |index: usize, class, due: f64| Row {
            slot: SlotId { index: index as u32, generation: 0 },
            class,
            tenant: 0,
            group: 0,
            due: time(due),
        };
        let mut rows: Vec<Row> = lives
            .iter()
            .enumerate()
            .filter_map(|(n, live)| live.waiting.front().map(|since| row(n, Class::Live, *since)))
            .collect();
        rows.extend((0..load.batch).map(|n| row(load.live + n, Class::Batch, served[n])));
        // A worker sees an utterance that has begun; its first chunk comes as a surprise.
        let coming = |live: &&Live| live.next - now < chunk && live.waiting.is_empty();
        let expected = lives.iter().filter(coming).map(|live| live.next).fold(f64::INFINITY, f64::min);
        let expected = expected.is_finite().then(|| time(expected));
        match policy.pick(time(now), &mut rows, expected) {
            Pick::Step(count) => {
                rows.truncate(count);
                let took = policy.cost(&device, count).as_secs_f64();
                now += took;
                busy += took;
                steps += 1;
                all_rows += count;
                for row in &rows {
                    let index = row.slot.index as usize;
                    if let Some(live) = lives.get_mut(index) {
                        let since = live.waiting.pop_front().expect("a ready row has a chunk");
                        outcome.live.push((now - since) * 1e3);
                    } else {
                        let last = &mut served[index - load.live];
                        outcome.starved = outcome.starved.max(time(now - *last));
                        *last = now;
                        outcome.batch += 1;
                    }
                }
                policy.done(&rows, time(took));
            }
            Pick::Until(at) => now = at.as_secs_f64().max(now + 1e-4),
            Pick::Nothing => {
                now = lives.iter().map(|live| live.next).fold(end, f64::min).max(now + 1e-6);
            }
        }
    }
    for last in served {
        outcome.starved = outcome.starved.max(time((now - last).max(0.0)));
    }
    outcome.live.sort_by(f64::total_cmp);
    outcome.busy = busy / now;
    outcome.fill = all_rows as f64 / steps.max(1) as f64;
    outcome
}
