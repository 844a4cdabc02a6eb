//! Pure sound: G.711, G.722, Opus, G.729, resampling, tones, concealment, activity gate, mixing.
//!
//! Nothing here reads a clock, opens a file or starts a thread. Everything that runs once a frame works in memory
//! that its constructor allocated and in slices its caller passes, so that the media shard never allocates in the
//! steady state; `tests/no_allocation_per_frame.rs` proves it with a counting allocator.
//!
//! Levels are in dBFS throughout: 20 log10 of the root mean square over 32768. A full-scale sine lies at -3 dBFS.

mod coder;
mod comfort;
mod conceal;
mod drift;
mod dtmf;
mod g711;
mod g722;
#[cfg(feature = "g729")]
mod g729;
mod gate;
pub mod gsm;
mod kind;
pub mod mix;
mod music;
mod noise;
mod opus;
mod resample;
mod tonal;
pub mod tone;

pub use coder::{CodecError, Decoder, Encoder};
pub use comfort::{NoiseDecoder, NoiseEncoder};
pub use conceal::Concealer;
pub use drift::{DriftResampler, Pace};
pub use dtmf::{DtmfDetector, DtmfEvent};
pub use gate::{Edge, Gate, GateConfig, GateDecision};
pub use kind::CodecKind;
pub use noise::ComfortNoise;
pub use opus::OpusConfig;
pub use resample::{Resampler, resample};
