//! Why a description cannot be used.

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
    /// Audio is offered only over a profile that this side's [`Security`](super::Security) does not take.
    #[error("no audio over an acceptable profile: {profile}")]
    Profile {
        /// The last profile refused.
        profile: String,
    },
    /// SRTP is wanted by this side or by the profile, and no `a=crypto` line can be used.
    #[error("no usable a=crypto: {why}")]
    Crypto {
        /// What is wrong with the last one.
        why: &'static str,
    },
    /// DTLS-SRTP without a SHA-256 fingerprint, or on hold before it began.
    #[error("no usable DTLS parameters: {why}")]
    Dtls {
        /// What is wrong.
        why: &'static str,
    },
    /// Nothing among the formats can be decoded.
    #[error("no common codec")]
    NoCommonCodec,
    /// Media would have to go to a host name, a multicast group, another address family, or, where
    /// [`RemotePolicy`](super::RemotePolicy) does not let it, to this machine or a privileged port.
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
            Self::Profile { .. } | Self::Crypto { .. } | Self::Dtls { .. } => 302,
            Self::Address => 300,
            Self::Malformed { .. } | Self::TooLarge { .. } => 399,
        }
    }
}
