//! SDP offer and answer for one audio stream (RFC 8866, RFC 3264): pure, bounded, never panics.
//!
//! Only what a telephony leg needs: plain RTP, G.711, G.722 and telephone-events. Everything else in an offer is
//! understood far enough to be refused in the right place.

mod answer;
mod parse;

use std::net::{IpAddr, SocketAddr};

use antiphon_media_frame::SampleRate;

pub use answer::{accept_answer, answer, offer};
pub use parse::{MAX_BYTES, MAX_FORMATS, MAX_LINES, MAX_STREAMS};

/// A speech codec this side can encode and decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.722 at 64 kbit/s: 16 kHz sound under an 8 kHz RTP clock (RFC 3551 §4.5.2).
    G722,
}

impl Codec {
    /// Encoding name as written in `a=rtpmap`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
        }
    }

    /// Static payload type (RFC 3551 table 4).
    #[must_use]
    pub const fn static_payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
        }
    }

    /// RTP clock in Hz: 8000 for all three, G.722 included.
    #[must_use]
    pub const fn clock_hz(self) -> u32 {
        8_000
    }

    /// Rate of the decoded sound.
    #[must_use]
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::HZ_8000,
            Self::G722 => SampleRate::HZ_16000,
        }
    }
}

/// Which way media may flow, seen from this side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MediaDirection {
    /// Both ways.
    #[default]
    SendRecv,
    /// This side only sends.
    SendOnly,
    /// This side only receives.
    RecvOnly,
    /// Neither way: full hold.
    Inactive,
}

impl MediaDirection {
    /// Whether this side may send.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether this side should expect media.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    const fn from_flags(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The same direction seen from the other side.
    const fn reversed(self) -> Self {
        Self::from_flags(self.receives(), self.sends())
    }

    const fn and(self, other: Self) -> Self {
        Self::from_flags(self.sends() && other.sends(), self.receives() && other.receives())
    }

    const fn attribute(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// Whose order of codecs decides when several are common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The order of [`LocalMedia::codecs`]: wideband is used wherever it is offered.
    #[default]
    Ours,
    /// The order of the offer's format list (RFC 3264 §6.1).
    Offerer,
}

/// What this side offers or answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where the far side sends RTP to.
    pub address: IpAddr,
    /// RTP port; RTCP is on the next one unless multiplexed.
    pub port: u16,
    /// Acceptable codecs, best first.
    pub codecs: Vec<Codec>,
    /// Whose codec order wins in [`answer`].
    pub preference: Preference,
    /// Session id of the `o=` line; the same for the whole call.
    pub session_id: u64,
    /// Version of the `o=` line; to be raised at each change of the description.
    pub session_version: u64,
    /// Packet time this side prefers, in milliseconds, written as `a=ptime`.
    pub ptime_ms: u16,
    /// Whether RTCP may share the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// Whether keys are taken as telephone-events (RFC 4733).
    pub telephone_event: bool,
    /// What this side wants to do; what is agreed is never more.
    pub direction: MediaDirection,
}

impl LocalMedia {
    /// Wideband first, 20 ms, events, both ways, our preference, separate RTCP port.
    #[must_use]
    pub fn new(address: IpAddr, port: u16, session_id: u64) -> Self {
        Self {
            address,
            port,
            codecs: vec![Codec::G722, Codec::Pcmu, Codec::Pcma],
            preference: Preference::Ours,
            session_id,
            session_version: 1,
            ptime_ms: 20,
            rtcp_mux: false,
            telephone_event: true,
            direction: MediaDirection::SendRecv,
        }
    }
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The one codec of the call.
    pub codec: Codec,
    /// Its RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Payload type of telephone-events at 8000 Hz, if agreed.
    pub telephone_event: Option<u8>,
    /// Where RTP goes. The address is unspecified when the far side holds the old way (`c=0.0.0.0`).
    pub remote: SocketAddr,
    /// Where RTCP goes.
    pub remote_rtcp: SocketAddr,
    /// Whether RTCP shares the RTP port both ways.
    pub rtcp_mux: bool,
    /// Packet time to send with, in milliseconds.
    pub ptime_ms: u16,
    /// Who may send, seen from this side.
    pub direction: MediaDirection,
}

/// A parsed offer, ready to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    description: parse::Description,
}

impl Offer {
    /// Parses an offer.
    ///
    /// # Errors
    /// [`SdpError::Malformed`] and the limits: never an opinion about codecs, which is [`answer`]'s.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        Ok(Self { description: parse::Description::parse(text)? })
    }

    /// Number of `m=` lines.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.description.media.len()
    }

    /// Version of the offer's `o=` line: a re-offer with the same one changes nothing (RFC 3264 §8).
    #[must_use]
    pub fn version(&self) -> u64 {
        self.description.version
    }
}

/// Why a description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not SDP, or a line that breaks its grammar.
    #[error("line {line}: {what}")]
    Malformed {
        /// Counted from one; one past the last for something missing.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More bytes, lines, streams or formats than are read.
    #[error("{what}: more than {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is read.
        limit: usize,
    },
    /// No audio stream is offered, or all are switched off.
    #[error("no audio stream")]
    NoAudio,
    /// Audio is offered only over secure or other profiles than plain RTP.
    #[error("no audio over plain RTP: {profile}")]
    Profile {
        /// The last profile refused.
        profile: String,
    },
    /// Nothing among the formats can be decoded.
    #[error("no common codec")]
    NoCommonCodec,
    /// Media would have to go to a host name, a multicast group or another address family.
    #[error("no usable media address")]
    Address,
    /// Packets would have to be shorter than 10 ms.
    #[error("no common packet time: at most {max_ms} ms wanted")]
    PacketTime {
        /// The far side's longest packet.
        max_ms: u16,
    },
    /// The answer does not fit the offer: another number of streams, or a format never offered.
    #[error("answer does not match the offer: {what}")]
    Mismatch {
        /// What differs.
        what: &'static str,
    },
    /// The answer switches the stream off.
    #[error("the far side refused the audio stream")]
    Refused,
}

impl SdpError {
    /// SIP status that says so to whoever sent the offer: 400 for what cannot be read, 488 for what cannot be met.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed { .. } | Self::TooLarge { .. } => 400,
            _ => 488,
        }
    }

    /// Warning code (RFC 3261 §20.43) to go with [`Self::status`].
    #[must_use]
    pub const fn warning_code(&self) -> u16 {
        match self {
            Self::NoAudio | Self::Refused => 304,
            Self::NoCommonCodec | Self::Mismatch { .. } | Self::PacketTime { .. } => 305,
            Self::Profile { .. } => 302,
            Self::Address => 300,
            Self::Malformed { .. } | Self::TooLarge { .. } => 399,
        }
    }
}
