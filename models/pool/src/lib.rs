//! Recogniser pool: many streams of speech on a few devices, for live calls, calls that we place, and recordings.
//!
//! The decisions are sans-IO: [`Admission`] lets streams in or says when to come back, [`Scheduler`] chooses what a device
//! computes next, [`Gauge`] what is shed when it gets tight, and [`Lane`] turns frames that the activity gate has marked
//! into utterances. None of them knows a thread or a clock.
//!
//! Around them, [`Pool`] owns the threads, two for each device: one takes sound out of the rings, decides and tells what
//! was said, woken by a [`Doorbell`](antiphon_media_frame::Doorbell); the other computes. So a step may take as long as it
//! takes without keeping sound, words or commands waiting, and an engine that hangs is left behind with its thread while
//! another one hears again what had not become final words.
//!
//! A file can be heard without a pool: push its frames into a [`Lane`] and poll.
#![expect(
    clippy::disallowed_methods,
    reason = "the pool owns the worker threads and measures how long they are busy"
)]

mod admission;
mod calibrate;
mod cost;
mod device;
mod ear;
mod endpoint;
mod engine;
mod event;
mod figures;
mod inbox;
mod lane;
mod order;
mod policy;
mod pool;
mod pressure;
#[cfg(test)]
mod probe;
mod recent;
mod schedule;
mod segment;
mod slots;
mod stream;
mod worker;

pub use admission::{Admission, Ask, Reason, Refusal};
pub use calibrate::{Calibration, calibrate};
pub use cost::StepCost;
pub use endpoint::Endpointing;
pub use event::StreamEvent;
pub use figures::{ClassFigures, PoolFigures, WAITS_MS};
pub use lane::Lane;
pub use policy::{Class, Period, Shares, Tenant, shares_at};
pub use pool::{Pool, PoolConfig, PoolError};
pub use pressure::{Gauge, Pressure};
pub use schedule::{Pick, Row, Scheduler};
pub use slots::SlotId;
pub use stream::{OpenStream, Reservation, StreamHandle};
