//! The leaf of the workspace: times, rates, audio frames, track rings, ids and personal data.
//!
//! `media` and `models` meet only here. No dependencies, no I/O, no clock.

mod audio;
mod ids;
mod ring;
mod time;

pub use audio::{AudioBuf, AudioFrame, FrameKind};
pub use ids::{CallId, Direction, InvalidCallId, LegId, Pii, TrackId};
pub use ring::{Coded, Doorbell, Refused, TrackReader, TrackWriter, coded_track_ring, track_ring};
pub use time::{MediaTime, SampleRate, Span};
