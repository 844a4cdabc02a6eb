//! The pool: workers, admission, shutdown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon_media_frame::{SampleRate, Span};
use antiphon_models_speech::Engine;

use crate::admission::{Admission, Ask, Refusal};
use crate::calibrate::Calibration;
use crate::figures::Ledger;
use crate::inbox::{Inbox, Shared};
use crate::policy::{Shares, Tenant};
use crate::{PoolFigures, Reservation, worker};

/// How big a pool is.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// Devices, each with a thread that schedules and one that computes, 1 to 256.
    pub workers: usize,
    /// Live and outbound streams admitted at once, at least 1.
    pub streams: usize,
    /// Batch streams admitted at once, at least 1.
    pub batch_streams: usize,
    /// Audio of one stream that is heard before its neighbour's turn comes, where its engine has no chunk of its own.
    /// 20 ms to 10 s.
    pub turn: Span,
    /// How long one step may take before its engine is believed to hang and its streams go to others. 100 ms to 10 min.
    pub stall: Duration,
    /// The part of the computing time that admission promises to live and outbound streams. 0.1 to 1.
    pub utilisation: f64,
    /// What batch work gets until [`Pool::set_shares`].
    pub shares: Shares,
    /// Tenants with limits or weights of their own.
    pub tenants: Vec<Tenant>,
    /// How long a shutdown lets the workers hear what still lies in the rings. At most a minute.
    pub grace: Duration,
}

impl Default for PoolConfig {
    /// A worker a core, 64 streams and 8 of batch work a worker, turns of 200 ms, half a minute to hang, four fifths promised,
    /// 2 s to shut down.
    fn default() -> Self {
        let workers = thread::available_parallelism().map_or(1, usize::from).min(256);
        Self {
            workers,
            streams: 64,
            batch_streams: 8 * workers,
            turn: Span::from_millis(200),
            stall: Duration::from_secs(30),
            utilisation: 0.8,
            shares: Shares::default(),
            tenants: Vec::new(),
            grace: Duration::from_secs(2),
        }
    }
}

/// Why the pool could not do it.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The stream is not let in.
    #[error(transparent)]
    Refused(#[from] Refusal),
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
    shared: Arc<Shared>,
    began: Instant,
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
    pub fn start(config: &PoolConfig) -> Result<Self, PoolError> {
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
        if !(1..=1_000_000).contains(&config.batch_streams) {
            return Err(out_of_range("batch_streams", config.batch_streams.to_string(), "1 to 1000000"));
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&config.stall) {
            return Err(out_of_range("stall", Span::from(config.stall).to_string(), "100 ms to 10 min"));
        }
        if !(0.1..=1.0).contains(&config.utilisation) {
            return Err(out_of_range("utilisation", config.utilisation.to_string(), "0.1 to 1"));
        }
        let places = config.streams + config.batch_streams;
        let shared = Arc::new(Shared {
            admission: Mutex::new(Admission::new(
                config.streams,
                config.batch_streams,
                config.workers,
                config.utilisation,
                &config.tenants,
            )),
            shares: Mutex::new(config.shares),
            calibrations: Mutex::default(),
            ledger: Ledger::default(),
        });
        let (alive, ended) = sync_channel(1);
        let mut inner = Inner {
            inboxes: (0..config.workers).map(|_| Inbox::new(places, Arc::clone(&shared))).collect(),
            shared,
            began: Instant::now(),
            stopped: AtomicBool::new(false),
            grace: config.grace,
            workers: Mutex::new(Workers { threads: Vec::new(), ended }),
        };
        for index in 0..config.workers {
            // Where this fails, dropping `inner` stops the workers before.
            let thread = inner.spawn(index, config.clone(), alive.clone()).map_err(PoolError::Spawn)?;
            inner.workers.get_mut().unwrap_or_else(PoisonError::into_inner).threads.push(thread);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes a place on the least loaded worker: admission, to be done when a call is set up. Decides at once.
    ///
    /// # Errors
    /// [`PoolError::Refused`] with the reason and the time to wait, or [`PoolError::Stopped`].
    pub fn reserve(&self, ask: &Ask) -> Result<Reservation, PoolError> {
        let inner = &*self.inner;
        if inner.stopped.load(Ordering::Acquire) {
            return Err(PoolError::Stopped);
        }
        let tenant = inner.shared.admission().admit(inner.began.elapsed(), ask)?;
        let least = inner.inboxes.iter().min_by_key(|inbox| inbox.load(ask.class));
        match least.and_then(|inbox| Some((inbox, inbox.reserve(ask)?))) {
            Some((inbox, slot)) => Ok(Reservation::new(Arc::clone(inbox), slot, ask.class, tenant)),
            None => {
                // Each worker has as many places as the whole pool, so only a stop in between refuses.
                inner.shared.admission().release(ask);
                Err(PoolError::Stopped)
            }
        }
    }

    /// Takes places for the tracks of one conversation, all on one worker: what is said at the same time is then computed
    /// together. All or none.
    ///
    /// # Errors
    /// As [`Pool::reserve`].
    pub fn reserve_tracks(&self, ask: &Ask, tracks: usize) -> Result<Vec<Reservation>, PoolError> {
        let first = self.reserve(ask)?;
        let mut places = Vec::with_capacity(tracks);
        for _ in 1..tracks {
            let inner = &*self.inner;
            let tenant = inner.shared.admission().admit(inner.began.elapsed(), ask)?;
            let inbox = first.inbox();
            let Some(slot) = inbox.reserve(ask) else {
                inner.shared.admission().release(ask);
                return Err(PoolError::Stopped);
            };
            places.push(Reservation::new(Arc::clone(inbox), slot, ask.class, tenant));
        }
        places.insert(0, first);
        Ok(places)
    }

    /// Changes what batch work gets, on all workers, within half a second.
    pub fn set_shares(&self, shares: Shares) {
        *self.inner.shared.shares.lock().unwrap_or_else(PoisonError::into_inner) = shares;
    }

    /// Makes known what was measured of an engine: admission and schedulers go by it until experience corrects it.
    pub fn calibrated(&self, engine: &Arc<dyn Engine>, calibration: Calibration) {
        let shared = &self.inner.shared;
        shared.admission().calibrate(calibration.speech_cost());
        let mut known = shared.calibrations();
        known.retain(|(of, _)| !Arc::ptr_eq(of, engine));
        known.push((Arc::clone(engine), calibration));
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
                workers: self
                    .inner
                    .inboxes
                    .iter()
                    .filter(|inbox| inbox.devices.load(Ordering::Acquire) > 0)
                    .count(),
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
        let mut figures = PoolFigures::default();
        {
            let admission = self.inner.shared.admission();
            admission.read(&mut figures);
        }
        self.inner.shared.ledger.read(&mut figures);
        for inbox in &self.inner.inboxes {
            inbox.counters.add_to(&mut figures);
        }
        figures
    }
}

impl Inner {
    fn spawn(
        &self,
        index: usize,
        config: PoolConfig,
        alive: SyncSender<()>,
    ) -> std::io::Result<JoinHandle<()>> {
        let inbox = Arc::clone(&self.inboxes[index]);
        let name = format!("ears-{index}");
        thread::Builder::new().name(name.clone()).spawn(move || worker::run(&inbox, &config, &name, &alive))
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
