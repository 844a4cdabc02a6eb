//! SIP user agent and SDP negotiation: a thin layer over a SIP stack crate.
//!
//! [`Agent`] listens, answers and calls; no type of the stack crate shows, so that it can be replaced. [`sdp`] is
//! pure. Which stack faults are kept out, and how, is written in the `gate` module.
//!
//! The stack crate logs whole messages, personal data included, at `info` and below under the target `rsipstack`:
//! a subscriber has to keep that target at `error`.
#![allow(
    clippy::disallowed_methods,
    reason = "a user agent is sockets, timers and a task a call; the pure part is `sdp`, `gate` and `message`"
)]

mod access;
mod address;
mod agent;
mod call_request;
mod calling;
mod compose;
mod credentials;
mod dialog;
mod digest;
mod exchange;
mod fields;
mod flow;
mod gate;
mod incoming;
mod ingress;
pub mod keys;
mod leg;
mod limits;
mod message;
mod outgoing;
mod probe;
mod registrar;
mod registration;
mod reliable;
mod replaces;
mod request;
pub mod sdp;
mod targets;
mod timers;
mod tls;
mod transport;
mod websocket;

pub use access::{Access, Address, Decision, OpenAccess, Peer, RequestFacts, Secret};
pub use agent::{Agent, AgentConfig, AgentStats, SipError, SipStack};
pub use call_request::CallRequest;
pub use credentials::Credentials;
pub use dialog::{
    Dialog, DialogControl, DialogEvent, NotifySender, ReferEvent, ReferProgress, ReferResponder, ReferResult,
    ReinviteError, RequestError, Responder,
};
pub use digest::DigestAlgorithm;
pub use flow::SipTransport;
pub use incoming::{IncomingCall, Party};
pub use leg::{DialogId, Nat};
pub use limits::{LimitConfig, LimitStats, Network, NetworkError};
pub use outgoing::{OutgoingCall, OutgoingEvent};
pub use probe::ProbeError;
pub use registrar::{Binding, Gone, Registrar, RegistrarConfig, RegistrarEvent};
pub use registration::{Registration, RegistrationConfig, RegistrationState};
pub use replaces::Replaces;
pub use tls::{TlsError, TlsIdentity, TlsTrust};
