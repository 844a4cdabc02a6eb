//! A stream as its owner sees it: first a reserved place, then a handle.

use std::sync::Arc;

use antiphon_media_frame::{Doorbell, Span, TrackReader};
use antiphon_models_speech::{Engine, Hints, Recognizer, StreamConfig};

use crate::inbox::{Command, Inbox};
use crate::policy::Class;
use crate::slots::SlotId;
use crate::worker::Stream;
use crate::{Endpointing, PoolError, StreamEvent};

/// A place on a worker, to be filled by a stream. Dropping it gives the place back.
pub struct Reservation {
    inbox: Arc<Inbox>,
    slot: SlotId,
    class: Class,
    tenant: u32,
    /// The place now belongs to a stream on the worker.
    filled: bool,
}

/// What a stream is opened with.
pub struct OpenStream {
    /// Opened by the caller beforehand: loading a model must not hold up a worker.
    pub recognizer: Box<dyn Recognizer>,
    /// The engine that it is a stream of, then those that may take over where that one fails, in the order in which they
    /// are tried; the first is tried anew before the next. Without any, a failure costs its utterance. All must take
    /// audio at the track's rate.
    pub engines: Vec<Arc<dyn Engine>>,
    /// What recognisers that take over are opened with.
    pub config: StreamConfig,
    /// The track, made with [`Reservation::bell`]; its frames carry the gate's activity marks.
    pub audio: TrackReader,
    /// How activity becomes utterances.
    pub endpointing: Endpointing,
    /// Is given every event, on the worker's thread: it must not block. A sink that panics closes its stream.
    pub sink: Box<dyn FnMut(StreamEvent) + Send>,
}

impl Reservation {
    pub(crate) fn new(inbox: Arc<Inbox>, slot: SlotId, class: Class, tenant: u32) -> Self {
        Self { inbox, slot, class, tenant, filled: false }
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// The worker's bell: a track made with another one is not heard in time.
    #[must_use]
    pub fn bell(&self) -> Arc<Doorbell> {
        Arc::clone(&self.inbox.bell)
    }

    /// Starts the stream.
    ///
    /// # Errors
    /// [`PoolError::Rate`] where track and recogniser differ, [`PoolError::Stopped`] after a shutdown. The place is
    /// given back and the sink is never called.
    pub fn open(mut self, open: OpenStream) -> Result<StreamHandle, PoolError> {
        let rate = open.recognizer.rate();
        if open.audio.rate() != rate {
            return Err(PoolError::Rate { recognizer: rate, track: open.audio.rate() });
        }
        let stream = Stream::new(self.slot, self.class, self.tenant, open);
        if self.inbox.open(self.slot, stream).is_err() {
            return Err(PoolError::Stopped);
        }
        self.filled = true;
        Ok(StreamHandle { inbox: Arc::clone(&self.inbox), slot: self.slot })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.filled {
            self.inbox.release(self.slot);
        }
    }
}

/// A running stream. Dropping it closes the stream.
///
/// Commands never block. Each takes effect after the audio that lay in the ring when the worker read it; of several
/// waiting commands of one kind only the newest counts. After the stream has ended they do nothing.
pub struct StreamHandle {
    inbox: Arc<Inbox>,
    slot: SlotId,
}

impl StreamHandle {
    /// Changes what may be said; see [`Lane::hint`](crate::Lane::hint).
    pub fn hint(&self, hints: Hints) {
        self.inbox.tell(self.slot, Command::Hint(hints));
    }

    /// Says whether interim words are wanted; see [`Lane::want_partials`](crate::Lane::want_partials).
    pub fn want_partials(&self, wanted: bool) {
        self.inbox.tell(self.slot, Command::Partials(wanted));
    }

    /// Changes the silence that ends an utterance, 50 ms to 10 s.
    pub fn set_endpoint(&self, endpoint: Span) {
        self.inbox.tell(self.slot, Command::Endpoint(endpoint));
    }

    /// Opens or shuts the ear; see [`Lane::listen`](crate::Lane::listen).
    pub fn listen(&self, on: bool) {
        self.inbox.tell(self.slot, Command::Listen(on));
    }

    /// Ends the utterance under way now; [`StreamEvent::Flushed`] follows its words, or comes at once where there is none.
    pub fn flush(&self) {
        self.inbox.tell(self.slot, Command::Flush);
    }

    /// Hears what is in the ring, ends the utterance under way and closes the stream: [`StreamEvent::Closed`] follows,
    /// once.
    pub fn close(self) {
        drop(self);
    }

    /// The stream's place, for logs.
    #[must_use]
    pub fn slot(&self) -> SlotId {
        self.slot
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        self.inbox.tell(self.slot, Command::Close);
    }
}
