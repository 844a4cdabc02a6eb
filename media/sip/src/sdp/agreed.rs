//! What both sides agreed on.

use std::net::SocketAddr;

use super::{AgreedSecurity, Codec, MediaDirection, OpusParameters, RemoteIce};

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The one codec of the call.
    pub codec: Codec,
    /// Its RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Payload type of telephone-events (RFC 4733), if agreed: the ones at the codec's clock, else those at 8000 Hz.
    pub telephone_event: Option<u8>,
    /// Clock of the telephone-events in Hz: 8000, or 48000 beside Opus.
    pub telephone_event_hz: u32,
    /// Payload type of comfort noise at 8000 Hz (RFC 3389), if agreed.
    pub comfort_noise: Option<u8>,
    /// What the far side wishes to receive, where the codec is Opus; else the defaults.
    pub opus: OpusParameters,
    /// Where RTP goes. The address is unspecified when the far side holds the old way (`c=0.0.0.0`), and may be so
    /// where ICE will show it.
    pub remote: SocketAddr,
    /// Where RTCP goes.
    pub remote_rtcp: SocketAddr,
    /// Whether RTCP shares the RTP port both ways. Without it, ICE is not agreed on and DTLS covers RTP alone.
    pub rtcp_mux: bool,
    /// Whether reduced-size RTCP may be sent (RFC 5506).
    pub rtcp_rsize: bool,
    /// Packet time to send with, in milliseconds.
    pub ptime_ms: u16,
    /// Longest packet that the far side takes, in milliseconds, where it says.
    pub max_ptime_ms: Option<u16>,
    /// Who may send, seen from this side.
    pub direction: MediaDirection,
    /// How media is protected.
    pub security: AgreedSecurity,
    /// The far side's end of ICE, where both sides do it.
    pub ice: Option<RemoteIce>,
    /// The profile agreed on, as written: `RTP/AVP` and its kin.
    pub profile: String,
    /// Name of the stream (`a=mid`, RFC 5888).
    pub mid: Option<String>,
    /// What the stream is called (`a=label`, RFC 4574).
    pub label: Option<String>,
}
