//! The call as a state machine without I/O: inputs, effects, events and the catalogue of causes.

mod cause;
mod effect;
mod event;
mod input;

pub use cause::{Cause, Severity};
pub use effect::{ActionId, Effect, HttpRequest, Prompt, PromptId};
pub use event::{Decision, Event, EventBody, MediaFigures, ResponseTime, Side};
pub use input::{HttpOutcome, PromptEnd, SessionInput};
