//! Dialogue without I/O: the flow language, its checker, its understanding of speech and keys, and the interpreter.
//!
//! A [`Flow`] is read once and shared; a [`Session`] walks one caller through it; a [`Chat`] does so for somebody who
//! types. The flows under `examples/flows` show the whole language.

mod chat;
mod check;
mod entity;
mod expr;
mod fields;
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

pub mod file {
    //! What every file written by people is read with: a tree that knows its places, and problems that name them.
    pub use crate::fields::{Fields, duration, entries, items, text, within};
    pub use crate::problem::{Problems, nearest};
    pub use crate::yaml::{Entry, LARGEST_FILE, Node, Place, Value, YamlError, parse};
}

pub use chat::{Chat, ChatEvent, ChatRequest, Turn};
pub use flow::Flow;
pub use problem::{FlowErrors, Problem};
pub use session::Session;
pub use slot::{Reading, Slot};
pub use text::{Token, is_han, tokens_at};
