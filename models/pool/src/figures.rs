//! What the pool is doing, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antiphon_media_frame::Span;

/// A reading of the pool's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Places taken: reservations and open streams.
    pub streams: usize,
    /// Places there are.
    pub limit: usize,
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
}

/// One worker's counters. Written by it alone, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    audio_nanos: AtomicU64,
    busy_nanos: AtomicU64,
    backlog_nanos: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
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

    /// Adds this worker's numbers to a reading.
    pub(crate) fn add_to(&self, figures: &mut PoolFigures) {
        figures.audio += Span::from_nanos(self.audio_nanos.load(Ordering::Relaxed));
        figures.busy.push(Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)));
        figures.longest_backlog =
            figures.longest_backlog.max(Span::from_nanos(self.backlog_nanos.load(Ordering::Relaxed)));
        figures.refused += self.refused.load(Ordering::Relaxed);
        figures.failures += self.failures.load(Ordering::Relaxed);
    }
}
