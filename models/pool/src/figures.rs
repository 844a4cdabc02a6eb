//! What the pool is doing, in numbers.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use antiphon_media_frame::Span;

use crate::admission::Admission;
use crate::policy::Class;
use crate::pressure::Pressure;
use crate::schedule::Row;

/// The upper ends of the ranges that waiting is counted in, in milliseconds; what is longer is counted beyond the last.
pub const WAITS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// A reading of the pool's counters. Lists by class are in the order of [`Class::ALL`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolFigures {
    /// Places taken by live and outbound streams: reservations and open streams.
    pub streams: usize,
    /// Places there are for them.
    pub limit: usize,
    /// Streams the devices can carry as far as is known, at most the limit.
    pub capacity: usize,
    /// What is shed at present, on the worker that is pressed hardest.
    pub pressure: Pressure,
    /// Each class by itself.
    pub classes: [ClassFigures; 3],
    /// Steps computed since the start.
    pub steps: u64,
    /// Rows of all those steps: divided by them, how full batches are.
    pub rows: u64,
    /// Audio taken in since the start, all streams together, silence included.
    pub audio: Span,
    /// How long each worker has computed since the start; the rest it slept.
    pub busy: Vec<Duration>,
    /// The most audio that ever lay waiting in one stream's ring.
    pub longest_backlog: Span,
    /// Frames refused by full rings since the start: each is a gap in what was heard.
    pub refused: u64,
    /// Failures of recognisers reported since the start.
    pub failures: u64,
    /// Engines given up since the start because a step did not end.
    pub hung: u64,
}

/// What one class of streams had.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassFigures {
    /// Streams that are in.
    pub streams: usize,
    /// Streams that were not let in.
    pub refused: u64,
    /// Computing time.
    pub busy: Duration,
    /// How often a row waited for its turn so long: a count for each range of [`WAITS_MS`] and one beyond.
    pub waits: [u64; WAITS_MS.len() + 1],
    /// All that waiting together.
    pub waited: Duration,
}

impl ClassFigures {
    /// The waiting that `share` (0 to 1) of the rows did not exceed, as the upper end of its range; `None` where nobody
    /// has waited yet.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.waits.iter().sum();
        let mut left = (all as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        for (count, end) in self.waits.iter().zip(WAITS_MS) {
            if left <= *count && all > 0 {
                return Some(Duration::from_millis(end));
            }
            left -= count;
        }
        (all > 0).then_some(Duration::MAX)
    }
}

impl Admission {
    pub(crate) fn read(&self, figures: &mut PoolFigures) {
        let (taken, refused) = (self.taken(), self.refused());
        for class in Class::ALL {
            figures.classes[class as usize].streams = taken[class as usize];
            figures.classes[class as usize].refused = refused[class as usize];
        }
        figures.streams = taken[Class::Live as usize] + taken[Class::Outbound as usize];
        (figures.limit, figures.capacity) = (self.limit(), self.capacity());
    }
}

/// What steps took and how long rows waited, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Clone, Debug, Default)]
struct Entries {
    classes: [ClassFigures; 3],
    steps: u64,
    rows: u64,
}

impl Ledger {
    /// A step was computed.
    pub(crate) fn stepped(&self, rows: &[Row], took: Duration) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.steps += 1;
        entries.rows += rows.len() as u64;
        for row in rows {
            entries.classes[row.class as usize].busy += took / rows.len() as u32;
        }
    }

    /// A row waited for its turn.
    pub(crate) fn waited(&self, class: Class, wait: Duration) {
        let range = WAITS_MS.iter().position(|end| wait <= Duration::from_millis(*end));
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = &mut entries.classes[class as usize];
        figures.waits[range.unwrap_or(WAITS_MS.len())] += 1;
        figures.waited += wait;
    }

    pub(crate) fn read(&self, figures: &mut PoolFigures) {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (figures.steps, figures.rows) = (entries.steps, entries.rows);
        for (class, known) in figures.classes.iter_mut().zip(entries.classes) {
            *class = ClassFigures { streams: class.streams, refused: class.refused, ..known };
        }
    }
}

/// One worker's counters. Written by it alone, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    audio_nanos: AtomicU64,
    busy_nanos: AtomicU64,
    backlog_nanos: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
    hung: AtomicU64,
    pressure: AtomicU8,
}

impl Counters {
    pub(crate) fn heard(&self, audio: Span) {
        self.audio_nanos.fetch_add(audio.nanos(), Ordering::Relaxed);
    }

    pub(crate) fn worked(&self, busy: Duration) {
        self.busy_nanos.fetch_add(Span::from(busy).nanos(), Ordering::Relaxed);
    }

    pub(crate) fn waited(&self, backlog: Span) {
        self.backlog_nanos.fetch_max(backlog.nanos(), Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, frames: u64) {
        self.refused.fetch_add(frames, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn hung(&self) {
        self.hung.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pressed(&self, pressure: Pressure) {
        self.pressure.store(pressure as u8, Ordering::Relaxed);
    }

    /// Adds this worker's numbers to a reading.
    pub(crate) fn add_to(&self, figures: &mut PoolFigures) {
        figures.audio += Span::from_nanos(self.audio_nanos.load(Ordering::Relaxed));
        figures.busy.push(Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)));
        figures.longest_backlog =
            figures.longest_backlog.max(Span::from_nanos(self.backlog_nanos.load(Ordering::Relaxed)));
        figures.refused += self.refused.load(Ordering::Relaxed);
        figures.failures += self.failures.load(Ordering::Relaxed);
        figures.hung += self.hung.load(Ordering::Relaxed);
        let pressure = match self.pressure.load(Ordering::Relaxed) {
            0 => Pressure::None,
            1 => Pressure::BatchPaused,
            _ => Pressure::PartialsThinned,
        };
        figures.pressure = figures.pressure.max(pressure);
    }
}
