//! SIP user agent and SDP negotiation: a thin layer over a SIP stack crate.

pub mod sdp;
