//! A conversation as it was heard, track by track on one clock, and what is measured of it. No I/O: whoever inspects a
//! recording and whoever listens to a call in progress hand over the same [`Conversation`] and get the same [`Measures`].

mod agitation;
mod conversation;
mod edges;
mod escalation;
mod floor;
mod gist;
mod measures;
mod ordinary;
mod phrases;
mod repeat;
mod silence;
mod speakers;
mod taking;
mod timeline;
mod tone;
mod topics;
mod units;
mod wire;

pub use conversation::{Conversation, ConversationError, Hold, Role, Stretch, Tone, Track, Turn};
pub use edges::SpeechEdges;
pub use escalation::Escalation;
pub use measures::{
    Agitation, Backchannel, Interruption, Measures, Reason, Repeat, Response, Silence, SilenceCause, Speaker,
    Topic,
};
pub use repeat::similarity;
pub use tone::ToneMeter;
