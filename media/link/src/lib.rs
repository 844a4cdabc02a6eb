//! The way between a leg and its far side, without I/O: ICE (RFC 8445), DTLS (RFC 5764) and SRTP (RFC 3711).
//!
//! A [`Link`] stands between a leg's socket and its packets. Datagrams go in by [`Link::handle`], which tells media
//! from the rest (RFC 7983) and opens it where it lies; media goes out by [`Link::protect_rtp`] and
//! [`Link::protect_rtcp`]; what the link itself has to say waits in [`Link::poll_transmit`].

mod dtls;
mod ice;
mod keys;
mod link;
mod remote;
pub mod srtp;
mod stun;
pub mod tcp;

pub use dtls::{DtlsConfig, DtlsError, DtlsRole, Fingerprint, Identity};
pub use ice::{IceConfig, IceCredentials, IceFigures, IceRole, RemoteCandidate};
pub use keys::{KeyLengthError, SrtpKeys, Suite};
pub use link::{Input, Link, LinkConfig, LinkEvent, LinkFigures, OVERHEAD, Protection};
pub use remote::Remote;
pub use stun::{Reflection, called};
