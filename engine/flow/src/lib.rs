//! Dialogue without I/O: the flow language, its checker, its understanding of speech and keys, and the interpreter.
//!
//! A [`Flow`] is read once and shared; a [`Session`] walks one caller through it; a [`Chat`] does so for somebody who
//! types. The flows under `examples/flows` show the whole language.

mod chat;
mod check;
mod entity;
mod expr;
mod flow;
mod intents;
mod model;
mod problem;
mod read;
mod session;
mod slot;
mod template;
mod text;
mod yaml;

pub use chat::{Chat, ChatEvent, ChatRequest, Turn};
pub use flow::Flow;
pub use problem::{FlowErrors, Problem};
pub use session::Session;
pub use slot::{Reading, Slot};
