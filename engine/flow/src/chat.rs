//! A typed conversation: the same interpreter on a virtual clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_engine_call::{Cause, EventBody, HttpOutcome, HttpRequest, MediaTime};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::{Flow, Session};

/// Something that happened in a turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatEvent {
    /// When, on the chat's clock. Seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub at: MediaTime,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

/// A web service that was asked in a turn. Header fields are left out: they may hold secrets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatRequest {
    /// The HTTP method.
    pub method: String,
    /// The address.
    pub url: String,
    /// The JSON body.
    pub body: Option<Value>,
    /// `ok`, `status`, `timeout` or `failed`.
    pub outcome: &'static str,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
}

/// What followed from one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// The line; `None` for the start of the conversation.
    pub input: Option<String>,
    /// When the turn was over, on the chat's clock. Seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub at: MediaTime,
    /// What the machine said, prompt by prompt.
    pub said: Vec<String>,
    /// What happened, in order.
    pub events: Vec<ChatEvent>,
    /// The web services that were asked, in order.
    pub http: Vec<ChatRequest>,
    /// The slots that hold a value.
    pub slots: BTreeMap<String, Value>,
    /// Why the conversation ended, if it did.
    pub ended: Option<&'static Cause>,
}

fn seconds<S: Serializer>(at: &MediaTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.millis() as f64 / 1000.0)
}

type Http<'a> = Box<dyn FnMut(&HttpRequest) -> HttpOutcome + Send + 'a>;

/// A conversation by typing. Web services are asked through a closure, so that the caller decides how.
pub struct Chat<'a> {
    session: Session,
    http: Http<'a>,
    now: MediaTime,
}

impl<'a> Chat<'a> {
    /// A conversation in which every web service fails.
    #[must_use]
    pub fn new(flow: Arc<Flow>) -> Self {
        Self::with_http(flow, |_| HttpOutcome::Failed { reason: "no web services in this chat".into() })
    }

    /// A conversation in which `http` answers for the web services.
    #[must_use]
    pub fn with_http(flow: Arc<Flow>, http: impl FnMut(&HttpRequest) -> HttpOutcome + Send + 'a) -> Self {
        Self { session: Session::new(flow), http: Box::new(http), now: MediaTime::ZERO }
    }

    /// Starts with variables of the call; `today` (`2026-11-22`) is what relative dates count from.
    pub fn start(&mut self, variables: BTreeMap<String, String>) -> Turn {
        let _ = (variables, &mut self.http);
        self.turn(None)
    }

    /// Says a line. `/key 123#` presses keys, `/silence` lets the no-input timer pass, `/hangup` ends the call.
    pub fn say(&mut self, line: &str) -> Turn {
        self.turn(Some(line.to_owned()))
    }

    /// The variables as they stand.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, Value> {
        self.session.variables()
    }

    /// Whether the conversation is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.session.is_finished()
    }

    fn turn(&mut self, input: Option<String>) -> Turn {
        Turn {
            input,
            at: self.now,
            said: Vec::new(),
            events: Vec::new(),
            http: Vec::new(),
            slots: BTreeMap::new(),
            ended: None,
        }
    }
}
