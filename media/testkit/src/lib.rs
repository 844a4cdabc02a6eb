//! Development only: what tests and benches of the media crates share.
//!
//! A seeded network on virtual time, clocks that run fast or slow, test signals, cross-correlation, and an allocator
//! that counts. Everything is deterministic: the same seed gives the same run.

mod alloc;
mod clock;
mod correlate;
mod network;
pub mod signal;

pub use alloc::CountingAllocator;
pub use clock::SkewedClock;
pub use correlate::correlate;
pub use network::{Impairment, Network};
pub use signal::speech_like;
