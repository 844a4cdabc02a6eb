//! What the calls of a load came to, counted as they go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::phone::Figures;

/// A call shorter than this may well end before any media comes.
const TELLING: Duration = Duration::from_millis(500);

/// How calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// Refused with this SIP status.
    Status(u16),
    /// Sent elsewhere (3xx), where we do not go: that is not the address to be loaded.
    Redirected,
    /// Nobody answered in time.
    Unanswered,
    /// It never left: no socket, no route, no room.
    Unsent,
    /// Answered with a description that cannot be used.
    BadAnswer,
}

/// Media of all calls of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) calls: u64,
    pub(super) sent: u64,
    pub(super) unsent: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    /// Calls that talked and heard nothing.
    pub(super) one_way: u64,
}

/// Everything counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) attempted: u64,
    pub(super) answered: u64,
    pub(super) failed: BTreeMap<Failure, u64>,
    /// Why the first call failed that never left.
    pub(super) why_unsent: Option<String>,
    /// Calls that the far side ended before their time.
    pub(super) cut_short: u64,
    /// Calls up at present, and the most there ever were.
    pub(super) up: u32,
    pub(super) peak: u32,
    /// Begins and ends so far: while it stands still, the number of calls does.
    pub(super) changes: u64,
    /// From the first attempt to the last.
    pub(super) attempts_took: Duration,
    /// From the INVITE to the 200, of each answered call, in microseconds.
    pub(super) set_up_us: Vec<u64>,
    /// From the 200 to the first packet.
    pub(super) first_rtp_us: Vec<u64>,
    /// All answered calls' time together.
    pub(super) call_time: Duration,
    pub(super) near: Heard,
    /// Calls that came in at `--listen`, now and ever.
    pub(super) far_up: u32,
    pub(super) far_answered: u64,
    pub(super) far: Heard,
}

/// For the progress line and the process samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) attempted: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) up: u32,
    pub(super) changes: u64,
}

/// Shared by all calls.
#[derive(Default)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
    finished: AtomicBool,
    far_side_left: Notify,
}

impl Tally {
    pub(super) fn attempt(&self, since_first: Duration) {
        let mut counts = self.lock();
        counts.attempted += 1;
        counts.changes += 1;
        counts.attempts_took = since_first;
    }

    pub(super) fn fail(&self, failure: Failure, why: Option<String>) {
        let mut counts = self.lock();
        *counts.failed.entry(failure).or_default() += 1;
        counts.changes += 1;
        if counts.why_unsent.is_none() {
            counts.why_unsent = why;
        }
    }

    pub(super) fn answer(&self, set_up: Duration) {
        let mut counts = self.lock();
        counts.answered += 1;
        counts.changes += 1;
        counts.up += 1;
        counts.peak = counts.peak.max(counts.up);
        counts.set_up_us.push(set_up.as_micros() as u64);
    }

    /// An answered call is over.
    pub(super) fn end(&self, lasted: Duration, cut_short: bool, figures: Option<Figures>) {
        let mut counts = self.lock();
        counts.up -= 1;
        counts.changes += 1;
        counts.cut_short += u64::from(cut_short);
        counts.call_time += lasted;
        if let Some(figures) = figures {
            counts.near.add(&figures, lasted);
            counts.first_rtp_us.extend(figures.first.map(|first| first.as_micros() as u64));
        }
    }

    pub(super) fn far_side_answered(&self) {
        let mut counts = self.lock();
        counts.far_answered += 1;
        counts.far_up += 1;
    }

    pub(super) fn far_side_ended(&self, lasted: Duration, figures: Option<Figures>) {
        let mut counts = self.lock();
        counts.far_up -= 1;
        if let Some(figures) = figures {
            counts.far.add(&figures, lasted);
        }
        drop(counts);
        self.far_side_left.notify_one();
    }

    /// Waits until no call is up that came in.
    pub(super) async fn far_side_empty(&self) {
        while self.lock().far_up > 0 {
            self.far_side_left.notified().await;
        }
    }

    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(super) fn progress(&self) -> Progress {
        let counts = self.lock();
        let Counts { attempted, answered, up, changes, .. } = *counts;
        Progress { attempted, answered, failed: counts.failed.values().sum(), up, changes }
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Every state of the counts is valid.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn add(&mut self, figures: &Figures, lasted: Duration) {
        self.calls += 1;
        self.sent += figures.sent;
        self.unsent += figures.unsent;
        self.received += figures.received;
        self.lost += figures.lost;
        self.one_way += u64::from(figures.received == 0 && lasted >= TELLING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_call_that_hears_nothing_is_one_way_unless_it_was_too_short_to_tell() {
        let tally = Tally::default();
        let deaf = Figures { sent: 50, ..Figures::default() };
        let heard = Figures { sent: 50, received: 49, lost: 1, ..Figures::default() };
        for (lasted, figures) in [(SECOND, deaf), (SECOND / 10, deaf), (SECOND, heard)] {
            tally.answer(SECOND / 50);
            tally.end(lasted, false, Some(figures));
        }
        let counts = tally.counts();
        assert_eq!((counts.near.one_way, counts.near.calls, counts.near.lost), (1, 3, 1));
        assert_eq!((counts.up, counts.peak, counts.answered), (0, 1, 3));
    }

    #[test]
    fn failures_are_counted_by_kind() {
        let tally = Tally::default();
        tally.fail(Failure::Status(486), None);
        tally.fail(Failure::Status(486), None);
        tally.fail(Failure::Unsent, Some("no socket".into()));
        assert_eq!(tally.progress().failed, 3);
        assert_eq!(tally.counts().failed[&Failure::Status(486)], 2);
        assert_eq!(tally.counts().why_unsent.as_deref(), Some("no socket"));
    }
}
