//! What was asked of services, to be compared with their bills.

use std::sync::atomic::{AtomicU64, Ordering};

use antiphon_media_frame::Span;

/// A reading of the counters of this process, all services together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteFigures {
    /// Utterances that a service was asked about.
    pub requests: u64,
    /// Sound that was sent, what was sent again included: what services charge for.
    pub sent: Span,
    /// Connections opened again because one broke.
    pub again: u64,
    /// Utterances given up.
    pub failed: u64,
    /// Utterances given up because no answer came in time.
    pub late: u64,
}

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static SENT_NANOS: AtomicU64 = AtomicU64::new(0);
static AGAIN: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
static LATE: AtomicU64 = AtomicU64::new(0);

/// The counters.
#[must_use]
pub fn figures() -> RemoteFigures {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    RemoteFigures {
        requests: read(&REQUESTS),
        sent: Span::from_nanos(read(&SENT_NANOS)),
        again: read(&AGAIN),
        failed: read(&FAILED),
        late: read(&LATE),
    }
}

pub(super) fn requested() {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn sent(sound: Span) {
    SENT_NANOS.fetch_add(sound.nanos(), Ordering::Relaxed);
}

pub(super) fn tried_again() {
    AGAIN.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn gave_up(late: bool) {
    FAILED.fetch_add(1, Ordering::Relaxed);
    LATE.fetch_add(u64::from(late), Ordering::Relaxed);
}
