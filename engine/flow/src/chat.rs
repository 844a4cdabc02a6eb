//! A typed conversation: the same interpreter on a virtual clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use antiphon_engine_call::{
    Cause, Effect, EventBody, HttpOutcome, HttpRequest, MediaTime, Prompt, PromptEnd, PromptId, SessionInput,
    Span, TransferOutcome,
};
use antiphon_models_speech::Utterance;
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

/// How fast prompts pass on the chat's clock, milliseconds a character: about the pace of a voice.
const PACE_MS: u64 = 60;
/// Effects in one turn beyond which the flow is taken to be broken. A session bounds its own steps well below this.
const MOST_EFFECTS: usize = 20_000;

/// A conversation by typing. Web services are asked through a closure, so that the caller decides how.
pub struct Chat<'a> {
    session: Session,
    http: Http<'a>,
    now: MediaTime,
    /// Prompts that are being said, with their ends on the clock.
    speaking: VecDeque<(PromptId, MediaTime)>,
    ended: Option<&'static Cause>,
}

impl std::fmt::Debug for Chat<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").field("now", &self.now).field("ended", &self.ended).finish_non_exhaustive()
    }
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
        Self {
            session: Session::new(flow),
            http: Box::new(http),
            now: MediaTime::ZERO,
            speaking: VecDeque::new(),
            ended: None,
        }
    }

    /// Starts with variables of the call; `today` (`2026-11-22`) is what relative dates count from.
    pub fn start(&mut self, variables: BTreeMap<String, String>) -> Turn {
        self.session.handle(self.now, SessionInput::Started { variables });
        self.turn(None)
    }

    /// Says a line. `/key 123#` presses keys, `/silence` lets the no-input time pass, `/hangup` ends the call.
    ///
    /// An unknown command is said as it stands; an empty line is silence.
    pub fn say(&mut self, line: &str) -> Turn {
        let line = line.trim();
        let input = Some(line.to_owned());
        if self.is_finished() {
            return self.turn(input);
        }
        self.now += Span::from_millis(500);
        if let Some(keys) = line.strip_prefix("/key") {
            let mut turn = self.empty_turn(input);
            for key in keys
                .chars()
                .map(|key| key.to_ascii_uppercase())
                .filter(|key| "0123456789*#ABCD".contains(*key))
            {
                self.now += Span::from_millis(200);
                self.session.handle(self.now, SessionInput::Key { key, at: self.now });
                self.settle(&mut turn);
            }
            // Keys that wait for a next one that never comes.
            if let Some(at) = self.session.poll_timeout()
                && turn.events.is_empty()
                && turn.said.is_empty()
            {
                self.pass(at, &mut turn);
            }
            return self.close(turn);
        }
        match line {
            "/hangup" => {
                self.session.handle(self.now, SessionInput::HungUp);
                self.ended = Some(Cause::CALLER_HUNG_UP);
                self.turn(input)
            }
            "/silence" | "" => {
                let mut turn = self.empty_turn(input);
                if let Some(at) = self.session.poll_timeout() {
                    self.pass(at, &mut turn);
                }
                self.close(turn)
            }
            words => {
                let start = self.now;
                self.session.handle(start, SessionInput::SpeechStarted { at: start });
                self.now += Span::from_millis(300 + 60 * words.chars().count().min(500) as u64);
                let utterance = Utterance {
                    text: words.to_owned(),
                    words: Vec::new(),
                    start,
                    end: self.now,
                    confidence: 1.0,
                    language: None,
                };
                self.session.handle(self.now, SessionInput::Heard(utterance));
                self.session.handle(self.now, SessionInput::SpeechEnded { at: self.now });
                self.turn(input)
            }
        }
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

    fn pass(&mut self, at: MediaTime, turn: &mut Turn) {
        self.now = self.now.max(at);
        self.session.handle_timeout(self.now);
        self.settle(turn);
    }

    fn turn(&mut self, input: Option<String>) -> Turn {
        let mut turn = self.empty_turn(input);
        self.settle(&mut turn);
        self.close(turn)
    }

    fn empty_turn(&self, input: Option<String>) -> Turn {
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

    fn close(&mut self, mut turn: Turn) -> Turn {
        turn.at = self.now;
        turn.slots = self.session.slots();
        turn.ended = self.ended;
        turn
    }

    /// Lets everything happen that happens without the caller.
    fn settle(&mut self, turn: &mut Turn) {
        for _ in 0..MOST_EFFECTS {
            match self.session.poll_effect() {
                Some(effect) => self.perform(effect, turn),
                None => {
                    let Some((id, end)) = self.speaking.pop_front() else { return };
                    self.now = self.now.max(end);
                    self.session
                        .handle(self.now, SessionInput::PromptEnded { id, end: PromptEnd::Completed });
                }
            }
        }
    }

    fn perform(&mut self, effect: Effect, turn: &mut Turn) {
        match effect {
            Effect::Say { id, prompts, .. } => {
                let text = prompts
                    .iter()
                    .map(|prompt| match prompt {
                        Prompt::Text { text, .. } => text.clone(),
                        Prompt::Recording { path, text } if text.is_empty() => {
                            format!("[{}]", path.display())
                        }
                        Prompt::Recording { text, .. } => text.clone(),
                    })
                    .collect::<Vec<_>>()
                    .join(" ");
                let begin = self.speaking.back().map_or(self.now, |(_, end)| *end);
                self.speaking
                    .push_back((id, begin + Span::from_millis(PACE_MS * text.chars().count() as u64)));
                turn.said.push(text);
            }
            Effect::StopSpeaking => {
                while let Some((id, _)) = self.speaking.pop_front() {
                    self.session
                        .handle(self.now, SessionInput::PromptEnded { id, end: PromptEnd::Cancelled });
                }
            }
            Effect::Http { id, request } => {
                let outcome = (self.http)(&request);
                let (name, status) = match &outcome {
                    HttpOutcome::Reply { status, .. } if (200..300).contains(status) => ("ok", Some(*status)),
                    HttpOutcome::Reply { status, .. } => ("status", Some(*status)),
                    HttpOutcome::TimedOut => ("timeout", None),
                    HttpOutcome::Failed { .. } => ("failed", None),
                };
                let HttpRequest { method, url, body, .. } = request;
                turn.http.push(ChatRequest { method, url, body, outcome: name, status });
                self.session.handle(self.now, SessionInput::HttpDone { id, outcome });
            }
            Effect::Answer => self.session.handle(self.now, SessionInput::Answered),
            Effect::Transfer { id, request } => {
                turn.said.push(format!("[the caller is put through to {}]", request.to));
                let outcome = TransferOutcome::Completed;
                self.session.handle(self.now, SessionInput::TransferDone { id, outcome });
            }
            Effect::Notify(body) => turn.events.push(ChatEvent { at: self.now, body }),
            Effect::HangUp { cause } => {
                self.ended = Some(cause);
                self.speaking.clear();
            }
            Effect::Listen { .. } | Effect::SendKeys { .. } => {}
        }
    }
}
