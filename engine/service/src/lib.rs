//! The wire shapes of speech services, without I/O: what clients written for Deepgram, OpenAI, FunASR and vosk say, and what
//! they expect to hear. A [`Dialect`] turns their messages into [`Demand`]s on a recogniser and what it heard into messages.
//!
//! A client changes its URL and nothing else; what a dialect cannot give, it refuses in that dialect's own words instead of
//! leaving it out.

mod audio;
pub mod deepgram;
mod dialect;
pub mod funasr;
pub mod openai;
mod query;
pub mod realtime;
mod subtitles;
pub mod vosk;

pub use audio::{Coding, Format};
pub use dialect::{Demand, Dialect, Heard, Identify, Incoming, Outgoing, Refusal, Settings};
pub use query::Query;
