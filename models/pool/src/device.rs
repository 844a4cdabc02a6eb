//! The thread that computes: one for each worker, replaced when an engine hangs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use antiphon_models_speech::{Engine, Recognizer};

use crate::ear::Work;
use crate::engine::{Fault, guard};
use crate::inbox::Inbox;
use crate::slots::SlotId;

/// Work for one step: recognisers of one engine, or a single one.
pub(crate) struct Job {
    pub(crate) works: Vec<(SlotId, Work)>,
    pub(crate) engine: Option<Arc<dyn Engine>>,
}

/// What came of a job.
pub(crate) struct Computed {
    /// Counts the devices of a worker: what comes from one that was given up is stale.
    pub(crate) device: u64,
    pub(crate) works: Vec<(SlotId, Work)>,
    /// The steps computed together: rows and time each.
    pub(crate) steps: Vec<(usize, Duration)>,
    pub(crate) took: Duration,
}

/// A computing thread as its worker sees it. Dropping it lets the thread end after the job in hand.
pub(crate) struct Device {
    jobs: SyncSender<Job>,
}

impl Device {
    /// Starts the thread; its results come to `inbox` under `number`. `alive` goes when the thread does.
    pub(crate) fn start(
        inbox: &Arc<Inbox>,
        name: &str,
        number: u64,
        alive: SyncSender<()>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(1);
        let inbox = Arc::clone(inbox);
        inbox.devices.fetch_add(1, Ordering::AcqRel);
        let counted = Arc::clone(&inbox);
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
            run(&inbox, &queue, number);
            inbox.devices.fetch_sub(1, Ordering::AcqRel);
            drop(alive);
        });
        match spawned {
            Ok(_) => Ok(Self { jobs }),
            Err(error) => {
                counted.devices.fetch_sub(1, Ordering::AcqRel);
                Err(error)
            }
        }
    }

    /// Hands the thread its next job; the job comes back where the thread is gone.
    pub(crate) fn send(&self, job: Job) -> Result<(), Box<Job>> {
        self.jobs.send(job).map_err(|refused| Box::new(refused.0))
    }
}

fn run(inbox: &Arc<Inbox>, queue: &Receiver<Job>, device: u64) {
    while let Ok(Job { mut works, engine }) = queue.recv() {
        let began = Instant::now();
        let mut steps = Vec::new();
        match &engine {
            Some(engine) => compute(&mut works, &**engine, &mut steps),
            None => works.iter_mut().for_each(|(_, work)| work.run()),
        }
        inbox.compute(Computed { device, works, steps, took: began.elapsed() });
    }
}

/// Brings all rows as far as they get, a common step at a time.
fn compute(works: &mut [(SlotId, Work)], engine: &dyn Engine, steps: &mut Vec<(usize, Duration)>) {
    let most = engine.pace().rows.max(1);
    loop {
        let mut owing: Vec<&mut Work> = works
            .iter_mut()
            .map(|(_, work)| work)
            .filter_map(|work| work.advance().then_some(work))
            .collect();
        if owing.is_empty() {
            return;
        }
        let waits = engine.elsewhere();
        for batch in owing.chunks_mut(most) {
            let began = Instant::now();
            step(batch, engine);
            steps.push((batch.len(), began.elapsed()));
        }
        if waits {
            // Nothing is computed here by asking on: others have their turn before the next look.
            return;
        }
    }
}

/// One common step. Where it fails, each row is tried alone, so that the one at fault does not take the others along.
fn step(batch: &mut [&mut Work], engine: &dyn Engine) {
    let outcome = {
        let mut rows: Vec<&mut dyn Recognizer> = batch.iter_mut().filter_map(|work| work.row()).collect();
        guard(|| engine.step(&mut rows))
    };
    match outcome {
        Ok(()) => {}
        Err(Fault::Error(_)) => batch.iter_mut().for_each(|work| work.step()),
        Err(Fault::Panic(error)) => {
            let message = error.to_string();
            for work in batch {
                work.broke(Fault::engine(&message));
            }
        }
    }
}
