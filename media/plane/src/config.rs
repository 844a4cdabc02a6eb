//! What a leg is made of and where its packets go.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use antiphon_media_codec::{CodecKind, GateConfig};
use antiphon_media_frame::Span;

use crate::Format;

/// Where a leg's packets go.
pub trait Transmit {
    /// Sends an RTP packet.
    fn rtp(&mut self, to: SocketAddr, datagram: &[u8]);
    /// Sends a compound RTCP packet.
    fn rtcp(&mut self, to: SocketAddr, datagram: &[u8]);
    /// Sends a datagram over the connection that was opened from `to`. Where there are no connections it is lost.
    fn stream(&mut self, to: SocketAddr, datagram: &[u8]) {
        let _ = (to, datagram);
    }
}

/// What a leg is made with.
#[derive(Clone, Debug)]
pub struct LegConfig {
    /// What both sides send.
    pub format: Format,
    /// Where SDP says the far side receives RTP; media goes there until its packets show otherwise.
    pub remote: Option<SocketAddr>,
    /// Where it receives RTCP.
    pub remote_rtcp: Option<SocketAddr>,
    /// Whether RTCP shares the RTP port both ways (RFC 5761).
    pub rtcp_mux: bool,
    /// Whether packets of another address than `remote` may win the leg (the far side is behind a NAT). Of no account where
    /// packets prove whose they are.
    pub nat: bool,
    /// The host that the far side's signalling comes from: with `nat`, its packets win the leg as soon as those of the host
    /// of `remote` do.
    pub signaller: Option<IpAddr>,
    /// Whether what we say is left unsent where it is silence, and its background described instead (RFC 3389), where
    /// comfort noise was agreed on.
    pub suppress_silence: bool,
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
    /// How often [`LegEvent::Quality`](crate::LegEvent::Quality) is told; never where it is zero.
    pub quality: Span,
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

impl LegConfig {
    /// A leg both ways on `codec`, with its static payload type and nowhere to send to yet. Numbers that should be random
    /// are 0 and the wall clock stands at the epoch.
    #[must_use]
    pub fn new(codec: CodecKind) -> Self {
        Self {
            format: Format::new(codec),
            remote: None,
            remote_rtcp: None,
            rtcp_mux: false,
            nat: true,
            signaller: None,
            suppress_silence: false,
            send: true,
            receive: true,
            gate: GateConfig::default(),
            barge_in: Span::from_millis(200),
            silence: Span::from_secs(10),
            quality: Span::from_secs(5),
            ssrc: 0,
            first_sequence: 0,
            first_timestamp: 0,
            cname: String::new(),
            wallclock: Duration::ZERO,
        }
    }
}
