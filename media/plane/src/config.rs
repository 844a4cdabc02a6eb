//! What a leg is made of and where its packets go.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_media_codec::{CodecKind, GateConfig};
use antiphon_media_frame::Span;

/// Where a leg's packets go.
pub trait Transmit {
    /// Sends an RTP packet.
    fn rtp(&mut self, to: SocketAddr, datagram: &[u8]);
    /// Sends a compound RTCP packet.
    fn rtcp(&mut self, to: SocketAddr, datagram: &[u8]);
}

/// What a leg is made with.
#[derive(Clone, Debug)]
pub struct LegConfig {
    /// The codec agreed on, both ways.
    pub codec: CodecKind,
    /// Its RTP payload type.
    pub payload_type: u8,
    /// Payload type of telephone-events (RFC 4733), if agreed.
    pub telephone_event: Option<u8>,
    /// Where SDP says the far side receives RTP; media goes there until its packets show otherwise.
    pub remote: Option<SocketAddr>,
    /// Where it receives RTCP.
    pub remote_rtcp: Option<SocketAddr>,
    /// Whether we may send.
    pub send: bool,
    /// Whether we expect to receive.
    pub receive: bool,
    /// The activity gate on what we receive.
    pub gate: GateConfig,
    /// Voice needed before an interruptible clip is cut.
    pub barge_in: Span,
    /// Nothing received for this long is told as [`LegEvent::Silent`](crate::LegEvent::Silent).
    pub silence: Span,
    /// Our SSRC, first sequence number and first timestamp: random (RFC 3550 section 5.1).
    pub ssrc: u32,
    /// See `ssrc`.
    pub first_sequence: u16,
    /// See `ssrc`.
    pub first_timestamp: u32,
    /// Canonical name for RTCP (RFC 3550 section 6.5.1).
    pub cname: String,
    /// Time since the Unix epoch at time zero of the leg's clock, for sender reports.
    pub wallclock: Duration,
}
