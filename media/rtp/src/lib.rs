//! RTP without I/O: packets, RTCP, jitter buffer, telephone-event, time mapping.
//!
//! Times are arguments and steady-state calls do not allocate. The way of a packet: [`packet::parse`], then
//! [`source::SourceLock::accept`], then [`Receiver::receive`] (or [`telephone_event::KeyReceiver::push`]), and out
//! by [`Receiver::pull`].

mod delay;
mod jitter;
pub mod packet;
pub mod quality;
mod receiver;
pub mod rtcp;
mod sender;
mod sequence;
pub mod source;
pub mod telephone_event;
pub mod time;

pub use jitter::{JitterConfig, Pull};
pub use packet::{PacketError, RtpPacket, is_rtcp, parse};
pub use quality::mos;
pub use receiver::{Received, Receiver, ReceiverConfig, ReceiverFigures, Reception};
pub use rtcp::{NtpTime, RtcpSession};
pub use sender::{Sender, SenderFigures};
pub use source::{SourceConfig, SourceLock, Verdict};
pub use telephone_event::{KeyEvent, KeyReceiver, KeySender};
pub use time::TimeMap;
