//! What the command line offers.

pub(crate) mod call;
pub(crate) mod demo;
pub(crate) mod docs;
pub(crate) mod flow;
pub(crate) mod serve;
#[cfg(feature = "talk")]
pub(crate) mod talk;
pub(crate) mod transcribe;
