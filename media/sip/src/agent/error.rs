//! Why a SIP operation failed.

use std::net::SocketAddr;

use crate::tls::TlsError;

/// Why a SIP operation failed.
#[derive(Debug, thiserror::Error)]
pub enum SipError {
    /// An address could not be bound, or a peer not connected to.
    #[error("{address}: {error}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// A peer could not be talked to under TLS.
    #[error("tls with {host}: {error}; trust who signed its certificate, or let this host go unverified")]
    Tls {
        /// The host, as it was addressed.
        host: String,
        /// What is wrong.
        error: std::io::Error,
    },
    /// Own certificates or keys cannot be used.
    #[error(transparent)]
    Certificates(#[from] TlsError),
    /// A TLS address is given without a certificate to show there.
    #[error("a tls or wss address needs a certificate and a key")]
    NoIdentity,
    /// A call request holds something that cannot be put into a message.
    #[error("not a valid {what}")]
    Invalid {
        /// Which part.
        what: &'static str,
    },
    /// The name in a SIP address does not resolve.
    #[error("no address for the called host")]
    Unresolved,
    /// Nothing is bound that could carry the call.
    #[error("no listener for this transport")]
    NoTransport,
    /// As many calls as are allowed.
    #[error("all {limit} calls are in use")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// The call is already over: cancelled, hung up or refused.
    #[error("the call is over")]
    Over,
    /// Something of the same kind is still under way: a transfer, or provisional responses.
    #[error("still waiting for the one before")]
    Pending,
    /// The stack's own words.
    #[error("sip stack: {0}")]
    Stack(String),
}

impl From<rsipstack::Error> for SipError {
    fn from(error: rsipstack::Error) -> Self {
        Self::Stack(error.to_string())
    }
}
