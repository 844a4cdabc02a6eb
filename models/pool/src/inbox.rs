//! What a worker is told from outside: new streams and commands, in a queue that cannot overflow.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_media_frame::{Doorbell, Span};
use antiphon_models_speech::Hints;

use crate::figures::Counters;
use crate::slots::{SlotId, Slots};
use crate::worker::Stream;

/// Something to be done to a stream.
pub(crate) enum Command {
    Hint(Hints),
    Endpoint(Span),
    Listen(bool),
    Flush,
    Close,
}

/// Everything for a worker since it last looked.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) opened: Vec<(SlotId, Stream)>,
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
    /// Places taken on this worker.
    load: AtomicUsize,
    /// Places taken in the whole pool.
    total: Arc<AtomicUsize>,
    state: Mutex<State>,
}

struct State {
    slots: Slots,
    mail: Mail,
    stopped: bool,
}

impl Inbox {
    pub(crate) fn new(limit: usize, total: Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            bell: Doorbell::new(),
            counters: Counters::default(),
            load: AtomicUsize::new(0),
            total,
            state: Mutex::new(State { slots: Slots::new(limit), mail: Mail::default(), stopped: false }),
        })
    }

    /// Takes a place. The caller has already counted it in the pool's total; `None`, where the worker is stopped or has
    /// no place, leaves that for the caller to undo.
    pub(crate) fn reserve(&self) -> Option<SlotId> {
        let mut state = self.lock();
        if state.stopped {
            return None;
        }
        let slot = state.slots.take()?;
        self.load.fetch_add(1, Ordering::Relaxed);
        Some(slot)
    }

    /// Gives a place back. Commands that still wait for its tenant are forgotten. Does nothing for a stale slot.
    pub(crate) fn release(&self, slot: SlotId) {
        let mut state = self.lock();
        if state.slots.free(slot) {
            state.mail.commands.retain(|(waiting, _)| *waiting != slot);
            self.load.fetch_sub(1, Ordering::Relaxed);
            self.total.fetch_sub(1, Ordering::Release);
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

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
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
