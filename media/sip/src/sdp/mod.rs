//! SDP offer and answer for one audio stream (RFC 8866, RFC 3264): pure, bounded, never panics.
//!
//! What telephones, trunks and browsers need for speech: G.711, G.722, G.729, Opus, comfort noise and
//! telephone-events; plain RTP, SDES and DTLS-SRTP; ICE; one stream of a bundle. Everything else in an offer is
//! understood far enough to be refused in the right place.

mod agreed;
mod answer;
mod codec;
mod direction;
mod error;
mod ice;
mod local;
mod parse;
mod security;
mod write;

pub use agreed::Negotiated;
pub use answer::{accept_answer, answer, offer};
pub use codec::{Codec, OpusParameters};
pub use direction::MediaDirection;
pub use error::SdpError;
pub use ice::{
    Candidate, CandidateKind, CandidateTransport, IceCredentials, LocalIce, MAX_CANDIDATES, RemoteIce,
};
pub use local::{LocalMedia, Preference, RemotePolicy};
pub use parse::{MAX_BYTES, MAX_FORMATS, MAX_LINES, MAX_STREAMS};
pub use security::{AgreedSecurity, Fingerprint, LocalDtls, SdesKey, Security, Setup, SrtpSuite};

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
