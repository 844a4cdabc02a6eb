//! The pool: workers, admission, shutdown.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon_media_frame::{SampleRate, Span};

use crate::inbox::Inbox;
use crate::{PoolFigures, Reservation, worker};

/// How big a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Worker threads, 1 to 256.
    pub workers: usize,
    /// Streams admitted at once, at least 1.
    pub streams: usize,
    /// Audio of one stream that is heard before its neighbour's turn comes. 20 ms to 10 s.
    pub turn: Span,
    /// How long a shutdown lets the workers hear what still lies in the rings. At most a minute.
    pub grace: Duration,
}

impl Default for PoolConfig {
    /// A worker a core, 64 streams, turns of 200 ms, 2 s to shut down.
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().map_or(1, usize::from).min(256),
            streams: 64,
            turn: Span::from_millis(200),
            grace: Duration::from_secs(2),
        }
    }
}

/// Why the pool could not do it.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Every place is taken.
    #[error("all {limit} recogniser streams are in use")]
    Full {
        /// Places there are.
        limit: usize,
    },
    /// The pool has been shut down.
    #[error("the recogniser pool is shut down")]
    Stopped,
    /// The track and the recogniser run at different rates.
    #[error("a track of {track} cannot feed a recogniser of {recognizer}")]
    Rate {
        /// What the recogniser takes.
        recognizer: SampleRate,
        /// What the track carries.
        track: SampleRate,
    },
    /// A setting is out of range.
    #[error("pool setting {name} is {value}, but must be {range}")]
    Setting {
        /// Which one.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// A worker thread could not be started.
    #[error("cannot start a recogniser worker")]
    Spawn(#[source] std::io::Error),
    /// Some workers did not end in time: an engine does not return. Their threads are left behind.
    #[error("{workers} recogniser workers do not end")]
    Stuck {
        /// How many.
        workers: usize,
    },
}

/// Recognisers' worker threads. Clones share one pool; when the last one is dropped, the workers close their streams
/// and end by themselves.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    inboxes: Vec<Arc<Inbox>>,
    total: Arc<AtomicUsize>,
    limit: usize,
    stopped: AtomicBool,
    grace: Duration,
    workers: Mutex<Workers>,
}

struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// Disconnects when the last worker's sender is gone.
    ended: Receiver<()>,
}

impl Pool {
    /// Starts the workers.
    ///
    /// # Errors
    /// [`PoolError::Setting`] or [`PoolError::Spawn`]; workers that had started end again.
    pub fn start(config: PoolConfig) -> Result<Self, PoolError> {
        let out_of_range = |name, value: String, range| PoolError::Setting { name, value, range };
        if !(1..=256).contains(&config.workers) {
            return Err(out_of_range("workers", config.workers.to_string(), "1 to 256"));
        }
        if !(1..=1_000_000).contains(&config.streams) {
            return Err(out_of_range("streams", config.streams.to_string(), "1 to 1000000"));
        }
        if config.turn < Span::from_millis(20) || config.turn > Span::from_secs(10) {
            return Err(out_of_range("turn", config.turn.to_string(), "20 ms to 10 s"));
        }
        if config.grace > Duration::from_secs(60) {
            return Err(out_of_range("grace", Span::from(config.grace).to_string(), "at most a minute"));
        }
        let total = Arc::new(AtomicUsize::new(0));
        let (alive, ended) = sync_channel(1);
        let mut inner = Inner {
            inboxes: (0..config.workers).map(|_| Inbox::new(config.streams, Arc::clone(&total))).collect(),
            total,
            limit: config.streams,
            stopped: AtomicBool::new(false),
            grace: config.grace,
            workers: Mutex::new(Workers { threads: Vec::new(), ended }),
        };
        for index in 0..config.workers {
            // Where this fails, dropping `inner` stops the workers before.
            let thread = inner.spawn(index, config.turn, alive.clone()).map_err(PoolError::Spawn)?;
            inner.workers.get_mut().unwrap_or_else(PoisonError::into_inner).threads.push(thread);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes a place on the least loaded worker: admission, to be done when a call is set up.
    ///
    /// # Errors
    /// [`PoolError::Full`] or [`PoolError::Stopped`].
    pub fn reserve(&self) -> Result<Reservation, PoolError> {
        let inner = &*self.inner;
        if inner.stopped.load(Ordering::Acquire) {
            return Err(PoolError::Stopped);
        }
        let admitted = inner.total.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
            (taken < inner.limit).then_some(taken + 1)
        });
        if admitted.is_err() {
            return Err(PoolError::Full { limit: inner.limit });
        }
        let least = inner.inboxes.iter().min_by_key(|inbox| inbox.load());
        match least.and_then(|inbox| Some((inbox, inbox.reserve()?))) {
            Some((inbox, slot)) => Ok(Reservation::new(Arc::clone(inbox), slot)),
            None => {
                // Each worker has as many places as the whole pool, so only a stop in between refuses.
                inner.total.fetch_sub(1, Ordering::Release);
                Err(PoolError::Stopped)
            }
        }
    }

    /// Closes all streams and ends the workers. Streams hear what is in their rings, as far as [`PoolConfig::grace`]
    /// allows, and get their [`StreamEvent::Closed`](crate::StreamEvent::Closed). Blocks until it is done, at most one
    /// second longer than the grace. Not to be called from a sink.
    ///
    /// # Errors
    /// [`PoolError::Stuck`] where an engine did not return in time.
    pub fn shutdown(&self) -> Result<(), PoolError> {
        self.inner.stop();
        let mut workers = self.inner.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + self.inner.grace + Duration::from_secs(1);
        // Nothing is ever sent: the channel only tells when the last worker has let go of it.
        while workers.ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        let stuck = matches!(workers.ended.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        if stuck {
            return Err(PoolError::Stuck {
                workers: workers.threads.iter().filter(|thread| !thread.is_finished()).count(),
            });
        }
        for thread in workers.threads.drain(..) {
            // A worker's panic has been printed by the hook; its streams are gone either way.
            let _ = thread.join();
        }
        Ok(())
    }

    /// A reading of the counters.
    #[must_use]
    pub fn figures(&self) -> PoolFigures {
        let mut figures = PoolFigures {
            streams: self.inner.total.load(Ordering::Acquire),
            limit: self.inner.limit,
            ..PoolFigures::default()
        };
        for inbox in &self.inner.inboxes {
            inbox.counters.add_to(&mut figures);
        }
        figures
    }
}

impl Inner {
    fn spawn(&self, index: usize, turn: Span, alive: SyncSender<()>) -> std::io::Result<JoinHandle<()>> {
        let inbox = Arc::clone(&self.inboxes[index]);
        let grace = self.grace;
        thread::Builder::new().name(format!("ears-{index}")).spawn(move || {
            worker::run(&inbox, turn, grace);
            drop(alive);
        })
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for inbox in &self.inboxes {
            inbox.stop();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
