//! The media plane: the only media crate with sockets and threads.
//!
//! A [`Shard`] thread runs the media clock of its legs. A [`Leg`] is sans-IO and can be driven on virtual time. A
//! [`RecordWriter`] thread writes recordings.
#![expect(clippy::disallowed_methods, reason = "the plane owns the media clock and its threads")]

mod command;
mod config;
mod dial;
mod ear;
mod egress;
mod event;
mod format;
mod hear;
mod ingress;
mod keys;
mod leg;
mod listener;
mod outbox;
mod outgoing;
mod pending;
mod ports;
mod reflexive;
mod shard;
mod shards;
mod sockets;
mod steady;
mod streams;
mod taps;
mod wire;
mod writer;

pub use command::LegCommand;
pub use config::{LegConfig, Transmit};
pub use egress::{Clip, ClipEnd, ClipId, QUEUE, Sound};
pub use event::{LegEvent, LegFigures};
pub use format::Format;
pub use hear::{HearId, SOURCES, bridge_ring};
pub use leg::Leg;
pub use listener::{IceListener, IceListenerConfig, IceListenerFigures};
pub use ports::{PortError, PortPool, SocketPair};
pub use reflexive::ReflexiveError;
pub use shard::{LegControl, LegHandle, OnLegEvent, Shard, ShardConfig, ShardError, ShardFigures};
pub use shards::Shards;
pub use taps::{TAPS, Tap, TapId, Taps};
pub use writer::{OnRecorded, RecordTaps, RecordWriter, WriterError};
