//! A flow after reading: every name resolved, every text parsed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use antiphon_engine_call::{Span, TransferKind};
use regex::Regex;
use serde_json::Value;

use crate::entity::SlotKind;
use crate::expr::Expr;
use crate::template::Template;
use crate::yaml::Place;

/// A step by its position in the file.
pub(crate) type StepId = usize;

/// The value of a variable, before variables are filled in.
#[derive(Clone, Debug)]
pub(crate) enum Assign {
    Literal(Value),
    Text(Template),
    Computed(Expr),
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) voice: Option<String>,
    pub(crate) accept: f32,
    pub(crate) confirm: f32,
    pub(crate) margin: f32,
    pub(crate) sure: f32,
    pub(crate) no_input: Span,
    pub(crate) inter_digit: Span,
    pub(crate) endpoint: Option<Duration>,
    pub(crate) attempts: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) at: Place,
    pub(crate) kind: SlotKind,
}

#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) name: String,
    pub(crate) at: Place,
    /// How a question calls it: "your balance".
    pub(crate) title: String,
    /// As written, with `{slot}` marks.
    pub(crate) examples: Vec<String>,
    /// As tokens; each is enough by itself.
    pub(crate) keywords: Vec<Vec<String>>,
    pub(crate) patterns: Vec<Regex>,
    /// The slots in its examples.
    pub(crate) slots: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) at: Place,
    pub(crate) action: Action,
    /// What follows where the action itself does not say.
    pub(crate) next: Option<StepId>,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Say {
        pieces: Vec<Piece>,
        interruptible: bool,
    },
    /// Answers the call.
    Answer,
    Ask(Box<Ask>),
    Branch(Vec<(Option<Expr>, StepId)>),
    Set(Vec<(String, Assign)>),
    Http(Box<Http>),
    Transfer(Box<Transfer>),
    Goto(StepId),
    HangUp {
        pieces: Vec<Piece>,
    },
}

/// A piece of a prompt.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(Template),
    Recording { path: PathBuf, text: Template },
}

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) prompt: Vec<Piece>,
    pub(crate) barge_in: bool,
    pub(crate) intents: Vec<(usize, StepId)>,
    pub(crate) globals: bool,
    pub(crate) slot: Option<Target>,
    /// Ask even where the slot holds a value.
    pub(crate) again: bool,
    pub(crate) keys: BTreeMap<char, KeyTarget>,
    pub(crate) digits: Option<Collect>,
    pub(crate) no_input: Vec<Vec<Piece>>,
    pub(crate) no_match: Vec<Vec<Piece>>,
    pub(crate) then: Option<StepId>,
    pub(crate) confirm: Option<Confirm>,
    pub(crate) attempts: u32,
    pub(crate) no_input_after: Span,
    pub(crate) inter_digit: Span,
    pub(crate) endpoint: Option<Duration>,
}

/// Where an answer goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) slot: String,
    pub(crate) variable: String,
}

#[derive(Clone, Debug)]
pub(crate) enum KeyTarget {
    Step(StepId),
    Value(Value),
}

/// How keys are collected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collect {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) finish: Option<char>,
}

#[derive(Clone, Debug)]
pub(crate) struct Confirm {
    pub(crate) pieces: Vec<Piece>,
    /// Whether to ask however sure the recogniser was.
    pub(crate) always: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) method: String,
    pub(crate) url: Template,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Option<Body>,
    pub(crate) timeout: Duration,
    /// Variable and JSON pointer (RFC 6901).
    pub(crate) save: Vec<(String, String)>,
    pub(crate) on_ok: Option<StepId>,
    pub(crate) on_status: Vec<(u16, StepId)>,
    pub(crate) on_timeout: Option<StepId>,
    pub(crate) on_error: Option<StepId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) to: Template,
    pub(crate) kind: TransferKind,
    pub(crate) ring: Duration,
    pub(crate) caller_id: Option<Template>,
    pub(crate) music: Vec<Piece>,
    pub(crate) announce: Vec<Piece>,
    pub(crate) screen: bool,
    /// Where the caller goes on for each outcome but `completed`.
    pub(crate) on: Vec<(&'static str, StepId)>,
}

/// A JSON body with variables in its texts. A text that is one variable and nothing else keeps the variable's type.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Literal(Value),
    Text(Template),
    List(Vec<Body>),
    Map(Vec<(String, Body)>),
}
