//! The call as a state machine without I/O: inputs, effects, events and the catalogue of causes.

mod call;
mod cause;
mod effect;
mod event;
mod input;
mod reveal;
mod room;
mod transfer;

// What the vocabulary of a call is written in, for crates that import the call and not the media.
pub use antiphon_media_frame::{MediaTime, Pii, Span};
pub use call::{Call, CallInput, Dialogue, Limits};
pub use cause::{Cause, Severity};
pub use effect::{ActionId, Effect, HttpRequest, Prompt, PromptId};
pub use event::{
    Decision, Event, EventBody, MediaFigures, MediaSecurity, QaAlert, Redacted, ResponseTime, Side,
};
pub use input::{HttpOutcome, PromptEnd, SessionInput};
pub use room::{Hearing, Part, ROOM_LIMIT, Rewiring, Room, RoomError, Wire, WireTrack};
pub use transfer::{TransferKind, TransferOutcome, TransferRequest};
