//! What an agent is shown while a call goes on, and the simulated customer that trains one. No I/O: words, rule hits and
//! slots come in, one ordered stream of [`AssistEvent`]s goes out.
//!
//! An [`Assist`] follows one call by a [`Book`]: suggestions from the house's knowledge, the script's next step, warnings,
//! slots, and after the call a summary and the dispositions that fit. A [`Partner`] is a customer played by the machine,
//! a `Dialogue` as a flow is one; [`Rehearsal`] lets somebody who types talk to it.

mod assist;
mod book;
mod condition;
mod event;
mod file;
mod partner;
mod rehearsal;
mod suggestions;
mod words;

pub use assist::Assist;
pub use book::Book;
pub use event::{AssistBody, AssistEvent, Choice, Line, Verdict, Withdrawal};
pub use file::FileError;
pub use partner::{Ending, Model, Outcome, Partner, Persona};
pub use rehearsal::Rehearsal;
