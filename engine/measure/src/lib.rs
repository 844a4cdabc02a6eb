//! A conversation as it was heard, track by track on one clock, and what is measured of it. No I/O: whoever inspects a
//! recording and whoever listens to a call in progress hand over the same [`Conversation`] and get the same [`Measures`].

mod conversation;
mod measures;

pub use conversation::{Conversation, Hold, Role, Stretch, Tone, Track, Turn};
pub use measures::{
    Agitation, Backchannel, Interruption, Measures, Reason, Repeat, Response, Silence, SilenceCause, Speaker,
    Topic,
};
