//! What a worker is told from outside: new streams and commands, in a queue that cannot overflow.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_media_frame::{Doorbell, Span};
use antiphon_models_speech::{Engine, Hints, RecognizeError, Recognizer};

use crate::admission::{Admission, Ask};
use crate::calibrate::Calibration;
use crate::device::Computed;
use crate::figures::{Counters, Ledger};
use crate::policy::{Class, Shares};
use crate::slots::{SlotId, Slots};
use crate::worker::Stream;

/// Something to be done to a stream.
pub(crate) enum Command {
    Hint(Hints),
    Partials(bool),
    Endpoint(Span),
    Listen(bool),
    Flush,
    Close,
}

/// A recogniser that was opened to take over a stream, and which of the stream's engines it is of.
pub(crate) struct Opening {
    pub(crate) slot: SlotId,
    pub(crate) engine: usize,
    pub(crate) opened: Result<Box<dyn Recognizer>, RecognizeError>,
}

/// Everything for a worker since it last looked.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) opened: Vec<(SlotId, Stream)>,
    pub(crate) openings: Vec<Opening>,
    pub(crate) computed: Vec<Computed>,
    pub(crate) commands: VecDeque<(SlotId, Command)>,
    pub(crate) stopping: bool,
}

/// The outside of one worker, shared by the pool, its reservations and its handles.
///
/// The queue is bounded by construction: a stream needs a place, and of each kind of command a stream has at most one
/// waiting, the newest. So a command never blocks and a close is never lost.
pub(crate) struct Inbox {
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) counters: Counters,
    /// Places taken on this worker, without those of batch streams, and those of batch streams.
    load: [AtomicUsize; 2],
    /// Computing threads that have not ended, those of engines that hang included.
    pub(crate) devices: AtomicUsize,
    pub(crate) shared: Arc<Shared>,
    state: Mutex<State>,
}

struct State {
    slots: Slots,
    /// What each place was asked for with.
    asks: Vec<Option<Ask>>,
    mail: Mail,
    stopped: bool,
}

/// What all workers of a pool share.
pub(crate) struct Shared {
    pub(crate) admission: Mutex<Admission>,
    /// What batch work gets at present.
    pub(crate) shares: Mutex<Shares>,
    /// What was measured of engines before they had any load.
    pub(crate) calibrations: Mutex<Vec<(Arc<dyn Engine>, Calibration)>>,
    /// Computing by class, waiting, steps.
    pub(crate) ledger: Ledger,
}

impl Shared {
    pub(crate) fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shares(&self) -> Shares {
        *self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calibrations(&self) -> MutexGuard<'_, Vec<(Arc<dyn Engine>, Calibration)>> {
        self.calibrations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kind(class: Class) -> usize {
        usize::from(class == Class::Batch)
    }
}

impl Inbox {
    pub(crate) fn new(limit: usize, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            bell: Doorbell::new(),
            counters: Counters::default(),
            load: [AtomicUsize::new(0), AtomicUsize::new(0)],
            devices: AtomicUsize::new(0),
            shared,
            state: Mutex::new(State {
                slots: Slots::new(limit),
                asks: Vec::new(),
                mail: Mail::default(),
                stopped: false,
            }),
        })
    }

    /// Takes a place for what was admitted; `None`, where the worker is stopped or has no place, leaves the admission for
    /// the caller to undo.
    pub(crate) fn reserve(&self, ask: &Ask) -> Option<SlotId> {
        let mut state = self.lock();
        if state.stopped {
            return None;
        }
        let slot = state.slots.take()?;
        let index = slot.index as usize;
        if state.asks.len() <= index {
            state.asks.resize(index + 1, None);
        }
        state.asks[index] = Some(ask.clone());
        self.load[Shared::kind(ask.class)].fetch_add(1, Ordering::Relaxed);
        Some(slot)
    }

    /// Gives a place back. Commands that still wait for its tenant are forgotten. Does nothing for a stale slot.
    pub(crate) fn release(&self, slot: SlotId) {
        let mut state = self.lock();
        if state.slots.free(slot) {
            state.mail.commands.retain(|(waiting, _)| *waiting != slot);
            let ask = state.asks[slot.index as usize].take();
            drop(state);
            if let Some(ask) = ask {
                self.load[Shared::kind(ask.class)].fetch_sub(1, Ordering::Relaxed);
                self.shared.admission().release(&ask);
            }
        }
    }

    /// Hands a stream to the worker, or back where the worker has stopped.
    pub(crate) fn open(&self, slot: SlotId, stream: Stream) -> Result<(), Box<Stream>> {
        let mut state = self.lock();
        if state.stopped {
            return Err(Box::new(stream));
        }
        state.mail.opened.push((slot, stream));
        drop(state);
        self.bell.ring();
        Ok(())
    }

    /// Queues a command for the tenant of `slot`; for a stale slot it does nothing.
    pub(crate) fn tell(&self, slot: SlotId, command: Command) {
        let mut state = self.lock();
        if state.stopped || !state.slots.holds(slot) {
            return;
        }
        let kind = discriminant(&command);
        let queue = &mut state.mail.commands;
        if let Some(older) = queue.iter().position(|(s, c)| *s == slot && discriminant(c) == kind) {
            queue.remove(older);
        }
        queue.push_back((slot, command));
        drop(state);
        self.bell.ring();
    }

    /// Hands in a recogniser that was asked for.
    pub(crate) fn hand_in(&self, opening: Opening) {
        self.lock().mail.openings.push(opening);
        self.bell.ring();
    }

    /// Hands in what a device has computed.
    pub(crate) fn compute(&self, computed: Computed) {
        self.lock().mail.computed.push(computed);
        self.bell.ring();
    }

    /// Asks the worker to close all its streams and end; from now on it takes no new ones.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.mail.stopping = true;
        drop(state);
        self.bell.ring();
    }

    /// Everything since the last call.
    pub(crate) fn collect(&self) -> Mail {
        let mut state = self.lock();
        let stopping = state.stopped;
        Mail { stopping, ..std::mem::take(&mut state.mail) }
    }

    /// Places taken by streams of this class's kind: batch streams are spread apart from the others.
    pub(crate) fn load(&self, class: Class) -> usize {
        self.load[Shared::kind(class)].load(Ordering::Relaxed)
    }

    /// Whether nothing waits for the worker.
    #[cfg(test)]
    pub(crate) fn idle(&self) -> bool {
        let state = self.lock();
        state.mail.opened.is_empty() && state.mail.commands.is_empty()
    }

    /// How many places have ever been made.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.lock().slots.made()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock runs foreign code, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
