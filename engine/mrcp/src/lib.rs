//! MRCPv2 (RFC 6787) without I/O: what an IVR speaks to ears and mouths.
//!
//! [`Decoder`] cuts a connection's octets into [`Message`]s. Each control channel leads to a resource: a [`Recogniser`]
//! (`speechrecog`, `dtmfrecog`) or a [`Speaker`] (`speechsynth`). Both are state machines: they are handed messages and
//! what is heard or played, with the time, and say by outputs what is to be sent and what is to be done. [`Grammar`] reads
//! SRGS and the built-in grammars, [`control`] the channels in a session description.

mod body;
pub mod control;
mod doctype;
mod grammar;
mod message;
mod nlsml;
mod parameters;
mod recogniser;
mod speaker;
mod ssml;

pub use body::{BodyError, MAX_PARTS, Part, parts, uris};
pub use control::Resource;
pub use grammar::{Builtin, Fit, Grammar, GrammarError, MAX_GRAMMAR, Meaning, Mode, Rules};
pub use message::{
    Decoder, Headers, MAX_HEAD, MAX_HEADERS, MAX_MESSAGE, Message, MessageError, RequestState, Start,
};
pub use nlsml::{Interpretation, NLSML};
pub use parameters::Status;
pub use recogniser::{Cause, Listening, Recogniser, RecogniserOutput, Session};
pub use speaker::{Ended, Speaker, SpeakerOutput, SpeechCause};
pub use ssml::{Piece, SsmlError};
