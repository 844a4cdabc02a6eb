//! One caller's way through a flow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use antiphon_engine_call::{Effect, MediaTime, SessionInput};
use serde_json::Value;

use crate::Flow;

/// One conversation of a flow with a caller: inputs in, effects out, no clock and no I/O of its own.
#[derive(Debug)]
pub struct Session {
    flow: Arc<Flow>,
    variables: BTreeMap<String, Value>,
    effects: VecDeque<Effect>,
    finished: bool,
}

impl Session {
    /// A conversation that waits for [`SessionInput::Started`].
    #[must_use]
    pub fn new(flow: Arc<Flow>) -> Self {
        Self { flow, variables: BTreeMap::new(), effects: VecDeque::new(), finished: false }
    }

    /// Takes what happened. Afterwards [`Session::poll_effect`] gives what follows from it.
    pub fn handle(&mut self, now: MediaTime, input: SessionInput) {
        let _ = (now, &self.flow);
        self.finished = matches!(input, SessionInput::HungUp);
    }

    /// To be called when the time of [`Session::poll_timeout`] has come; harmless before.
    pub fn handle_timeout(&mut self, now: MediaTime) {
        let _ = now;
    }

    /// The next thing to do, in order; `None` when there is nothing to do now.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Session::handle_timeout`] is to be called, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MediaTime> {
        None
    }

    /// The variables as they stand: the call's, the flow's and the filled slots. May hold personal data.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, Value> {
        &self.variables
    }

    /// Whether the conversation is over: it hung up, failed, or the caller is gone.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }
}
