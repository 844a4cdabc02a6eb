//! Recogniser pool: many streams of speech on a few worker threads.
//!
//! The decisions are sans-IO: [`Lane`] turns frames that the activity gate has marked into utterances and drives one
//! recogniser with them; it knows no thread and no clock but the frames'. Around it, [`Pool`] owns the worker threads:
//! each waits at one [`Doorbell`](antiphon_media_frame::Doorbell) and, when it rings, hears all audio that is ready on
//! each of its streams, a bounded stretch a turn, so that a slow engine delays its neighbours by one turn at most.
//!
//! Files take the same way: push a file's frames into a [`Lane`] and poll.
#![expect(
    clippy::disallowed_methods,
    reason = "the pool owns the worker threads and measures how long they are busy"
)]

mod endpoint;
mod engine;
mod event;
mod figures;
mod inbox;
mod lane;
mod pool;
#[cfg(test)]
mod probe;
mod recent;
mod slots;
mod stream;
mod worker;

pub use endpoint::Endpointing;
pub use event::StreamEvent;
pub use figures::PoolFigures;
pub use lane::Lane;
pub use pool::{Pool, PoolConfig, PoolError};
pub use slots::SlotId;
pub use stream::{OpenStream, Reservation, StreamHandle};
