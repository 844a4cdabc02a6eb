//! One caller's way through a flow.

mod hints;
pub(crate) use hints::samples;
mod question;
mod speak;
mod transfer;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use antiphon_engine_call::{
    ActionId, Cause, Effect, EventBody, HttpOutcome, HttpRequest, MediaTime, Pii, PromptEnd, PromptId,
    SessionInput, Span,
};
use antiphon_models_speech::Hints;
use serde_json::Value;

use crate::Flow;
use crate::entity::calendar::Date;
use crate::expr::plain;
use crate::model::{Action, Assign, Body, Http, Piece, StepId};
use crate::template::{Style, Template};
use question::Question;

/// Steps without a word from the caller before the flow is taken to run in circles.
const MOST_STEPS: u32 = 1_000;
/// Keys typed ahead beyond this count are dropped.
const MOST_KEYS: usize = 64;
/// How long a voice may go on without words before the caller counts as silent.
const LONGEST_SPEECH: Span = Span::from_secs(60);
/// How much later than its time-out an action's answer may come before it is given up.
const ACTION_GRACE: Span = Span::from_secs(5);
/// Longer values of variables are cut.
const LONGEST_VALUE: usize = 4_096;

/// One conversation of a flow with a caller: inputs in, effects out, no clock and no I/O of its own.
#[derive(Debug)]
pub struct Session {
    flow: Arc<Flow>,
    variables: BTreeMap<String, Value>,
    effects: VecDeque<Effect>,
    state: State,
    /// Prompts said and not yet over, in order, and whether a voice may cut them.
    speaking: VecDeque<(PromptId, bool)>,
    prompts: u32,
    actions: u32,
    /// Keys nobody has asked for yet.
    keys: VecDeque<char>,
    /// The finish key of digits that were complete without it, and how long it still belongs to them.
    spare_finish: Option<(char, MediaTime)>,
    voice: Voice,
    timer: Option<MediaTime>,
    listening: Option<(Hints, Option<std::time::Duration>)>,
    /// What was said since the caller last had a say; "repeat" says it again.
    last_said: Vec<Piece>,
    /// The slots of the intent under way, filled from any answer.
    open_slots: Vec<String>,
    steps: u32,
}

#[derive(Debug)]
enum State {
    /// Waiting for [`SessionInput::Started`].
    New,
    /// Waiting for the caller.
    Asking(Box<Question>),
    /// Waiting for the call to be answered.
    Answering {
        step: StepId,
    },
    /// Waiting for a web service.
    Acting {
        id: ActionId,
        step: StepId,
    },
    /// The caller is with somebody else, or on the way there.
    Transferring {
        id: ActionId,
        step: StepId,
    },
    Finished,
}

/// What the gate says about the caller's voice.
#[derive(Debug, Default)]
struct Voice {
    active: bool,
    /// Whether words came since the voice began.
    words: bool,
    /// Whether it cut a prompt off.
    cut: bool,
    /// When it counts as noise.
    until: Option<MediaTime>,
}

impl Session {
    /// A conversation that waits for [`SessionInput::Started`].
    #[must_use]
    pub fn new(flow: Arc<Flow>) -> Self {
        Self {
            variables: flow.source.variables.clone(),
            flow,
            effects: VecDeque::new(),
            state: State::New,
            speaking: VecDeque::new(),
            prompts: 0,
            actions: 0,
            keys: VecDeque::new(),
            spare_finish: None,
            voice: Voice::default(),
            timer: None,
            listening: None,
            last_said: Vec::new(),
            open_slots: Vec::new(),
            steps: 0,
        }
    }

    /// Takes what happened. Afterwards [`Session::poll_effect`] gives what follows from it.
    ///
    /// Relative dates ("tomorrow") are understood where the call brings the variable `today` as `2026-11-22`.
    pub fn handle(&mut self, now: MediaTime, input: SessionInput) {
        if self.is_finished() {
            return;
        }
        match input {
            SessionInput::Started { variables } => {
                if matches!(self.state, State::New) {
                    for (name, value) in variables {
                        self.assign(&name, value.into());
                    }
                    let start = self.flow.source.start;
                    self.run(now, Some(start));
                }
            }
            SessionInput::Answered => {
                if let State::Answering { step } = self.state {
                    let next = self.flow.source.steps[step].next;
                    self.run(now, next);
                }
            }
            SessionInput::SpeechStarted { .. } => {
                let until = Some(now + LONGEST_SPEECH);
                self.voice = Voice { active: true, words: false, cut: self.voice.cut, until };
                if let State::Asking(_) = self.state {
                    self.timer = None;
                }
            }
            SessionInput::SpeechEnded { .. } => {
                let silent = self.voice.active && !self.voice.words;
                self.voice.active = false;
                self.voice.until = None;
                self.speech_ended(now, silent);
                self.voice.cut = false;
            }
            SessionInput::Heard(utterance) => {
                self.voice.words = true;
                if let State::Asking(_) = self.state {
                    self.heard(now, &utterance.text, utterance.confidence);
                }
            }
            SessionInput::Key { key, .. } => {
                if self.spare_finish.take().is_some_and(|(finish, until)| key == finish && now <= until) {
                    return;
                }
                if self.keys.len() < MOST_KEYS {
                    self.keys.push_back(key);
                }
                self.keys_pressed(now);
            }
            SessionInput::PromptEnded { id, end } => self.prompt_ended(now, id, end),
            SessionInput::HttpDone { id, outcome } => self.action_done(now, id, outcome),
            SessionInput::TransferDone { id, outcome } => self.transfer_done(now, id, &outcome),
            SessionInput::HungUp => {
                self.effects.retain(|effect| matches!(effect, Effect::Notify(_)));
                self.finish();
            }
        }
    }

    /// To be called when the time of [`Session::poll_timeout`] has come; harmless before.
    pub fn handle_timeout(&mut self, now: MediaTime) {
        if self.voice.until.is_some_and(|until| until <= now) {
            self.voice = Voice::default();
            self.speech_ended(now, true);
        }
        if self.timer.is_none_or(|at| at > now) {
            return;
        }
        self.timer = None;
        match self.state {
            State::Acting { id, .. } => self.action_done(now, id, HttpOutcome::TimedOut),
            State::Asking(_) => self.question_timeout(now),
            State::New | State::Answering { .. } | State::Transferring { .. } | State::Finished => {}
        }
    }

    /// The next thing to do, in order; `None` when there is nothing to do now.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Session::handle_timeout`] is to be called, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MediaTime> {
        [self.timer, self.voice.until].into_iter().flatten().min()
    }

    /// The variables as they stand: the call's, the flow's and the filled slots. May hold personal data.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, Value> {
        &self.variables
    }

    /// Whether the conversation is over: it hung up, failed, or the caller is gone.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// The filled slots, by variable.
    pub(crate) fn slots(&self) -> BTreeMap<String, Value> {
        self.variables
            .iter()
            .filter(|(name, value)| self.slot_of(name).is_some() && !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Walks on from `next` until the caller or a web service is waited for, or the call is over.
    fn run(&mut self, now: MediaTime, next: Option<StepId>) {
        let flow = Arc::clone(&self.flow);
        let mut next = next;
        loop {
            self.steps += 1;
            let (Some(id), true) = (next, self.steps <= MOST_STEPS) else {
                return self.hang_up(Cause::FLOW_FAILED);
            };
            let step = &flow.source.steps[id];
            self.effects.push_back(Effect::Notify(EventBody::FlowStep { step: step.name.clone() }));
            next = match &step.action {
                Action::Say { pieces, interruptible } => {
                    // What had to be heard was heard.
                    if *interruptible {
                        self.last_said.extend(pieces.iter().cloned());
                    }
                    self.say(pieces, *interruptible);
                    step.next
                }
                Action::Answer => {
                    self.timer = None;
                    self.state = State::Answering { step: id };
                    self.effects.push_back(Effect::Answer);
                    return;
                }
                Action::Set(assignments) => {
                    for (name, value) in assignments {
                        let value = match value {
                            Assign::Literal(value) => value.clone(),
                            Assign::Text(template) => self.fill(template, Style::Raw).into(),
                            Assign::Computed(expr) => expr.value(&self.variables),
                        };
                        self.assign(name, value);
                    }
                    step.next
                }
                Action::Branch(ways) => ways
                    .iter()
                    .find(|(condition, _)| condition.as_ref().is_none_or(|c| c.holds(&self.variables)))
                    .map(|(_, step)| *step),
                Action::Goto(to) => Some(*to),
                Action::HangUp { pieces } => {
                    self.say(pieces, true);
                    return self.hang_up(Cause::FLOW_HUNG_UP);
                }
                Action::Http(http) => return self.act(now, id, http),
                Action::Transfer(transfer) => return self.transfer(id, transfer),
                Action::Ask(ask) => {
                    let filled = ask.slot.as_ref().is_some_and(|target| {
                        self.variables.get(&target.variable).is_some_and(|value| !value.is_null())
                    });
                    if !filled || ask.again {
                        return self.ask(now, id);
                    }
                    step.next
                }
            };
        }
    }

    fn say(&mut self, pieces: &[Piece], interruptible: bool) {
        let prompts: Vec<_> = pieces.iter().filter_map(|piece| self.prompt(piece)).collect();
        if prompts.is_empty() {
            return;
        }
        self.prompts += 1;
        let id = PromptId(self.prompts);
        self.speaking.push_back((id, interruptible));
        self.timer = None;
        self.effects.push_back(Effect::Say { id, prompts, interruptible });
    }

    fn stop_speaking(&mut self) {
        if !self.speaking.is_empty() {
            self.effects.push_back(Effect::StopSpeaking);
        }
    }

    /// Whether something is being said (or waits to be) that must be heard to its end.
    fn must_be_heard(&self) -> bool {
        self.speaking.iter().any(|(_, interruptible)| !interruptible)
    }

    fn prompt_ended(&mut self, now: MediaTime, id: PromptId, end: PromptEnd) {
        let before = self.speaking.len();
        self.speaking.retain(|(speaking, _)| *speaking != id);
        if self.speaking.len() == before {
            return;
        }
        self.voice.cut |= end == PromptEnd::BargeIn;
        if let State::Asking(_) = self.state {
            self.quieter(now);
        }
    }

    fn act(&mut self, now: MediaTime, step: StepId, http: &Http) {
        self.actions += 1;
        let id = ActionId(self.actions);
        let request = HttpRequest {
            method: http.method.clone(),
            url: self.url(&http.url),
            headers: http
                .headers
                .iter()
                // A line break in a value would begin another field.
                .map(|(name, value)| (name.clone(), self.fill(value, Style::Raw).replace(['\r', '\n'], " ")))
                .collect(),
            body: http.body.as_ref().map(|body| self.body(body)),
            timeout: http.timeout,
        };
        let name = self.flow.source.steps[step].name.clone();
        self.timer = Some(now + Span::from(http.timeout) + ACTION_GRACE);
        self.state = State::Acting { id, step };
        self.effects.push_back(Effect::Notify(EventBody::ActionStarted { id, step: name }));
        self.effects.push_back(Effect::Http { id, request });
    }

    fn action_done(&mut self, now: MediaTime, done: ActionId, outcome: HttpOutcome) {
        let State::Acting { id, step } = self.state else { return };
        if id != done {
            return;
        }
        self.timer = None;
        let flow = Arc::clone(&self.flow);
        let step = &flow.source.steps[step];
        let Action::Http(http) = &step.action else { return };
        let fallback = http.on_error.or(step.next);
        let (outcome, status, next) = match outcome {
            HttpOutcome::Reply { status, body } if (200..300).contains(&status) => {
                for (variable, pointer) in &http.save {
                    self.assign(variable, body.pointer(pointer).cloned().unwrap_or(Value::Null));
                }
                let special = http.on_status.iter().find(|(code, _)| *code == status).map(|(_, step)| *step);
                ("ok", Some(status), special.or(http.on_ok).or(step.next))
            }
            HttpOutcome::Reply { status, .. } => {
                let special = http.on_status.iter().find(|(code, _)| *code == status).map(|(_, step)| *step);
                ("status", Some(status), special.or(fallback))
            }
            HttpOutcome::TimedOut => ("timeout", None, http.on_timeout.or(fallback)),
            HttpOutcome::Failed { .. } => ("failed", None, fallback),
        };
        self.effects.push_back(Effect::Notify(EventBody::ActionFinished { id, outcome, status }));
        self.run(now, next);
    }

    fn hang_up(&mut self, cause: &'static Cause) {
        self.effects.push_back(Effect::HangUp { cause });
        self.finish();
    }

    fn finish(&mut self) {
        self.state = State::Finished;
        self.timer = None;
        self.voice = Voice::default();
        self.keys.clear();
    }

    fn assign(&mut self, name: &str, value: Value) {
        let value = match value {
            Value::String(text) if text.chars().count() > LONGEST_VALUE => {
                text.chars().take(LONGEST_VALUE).collect::<String>().into()
            }
            // Numbers, texts and lists that are as small as a variable should be.
            other if other.to_string().len() > 4 * LONGEST_VALUE => Value::Null,
            other => other,
        };
        self.variables.insert(name.to_owned(), value);
    }

    fn fill_slot(&mut self, variable: &str, value: Value) {
        self.effects.push_back(Effect::Notify(EventBody::Slot {
            name: variable.to_owned(),
            value: Pii::new(value.clone()),
        }));
        self.assign(variable, value);
    }

    fn today(&self) -> Option<Date> {
        self.variables.get("today").and_then(Value::as_str).and_then(Date::parse)
    }

    /// The address with variables escaped (RFC 3986 section 2.1), except one that begins it.
    fn url(&self, template: &Template) -> String {
        let mut first = true;
        let begins = matches!(template.parts.first(), Some(crate::template::Part::Variable { .. }));
        template.fill(|name, _| {
            let value = plain(self.variables.get(name).unwrap_or(&Value::Null));
            if std::mem::take(&mut first) && begins {
                return value.trim_end_matches('/').to_owned();
            }
            value
                .bytes()
                .map(|b| match b {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        char::from(b).to_string()
                    }
                    _ => format!("%{b:02X}"),
                })
                .collect()
        })
    }

    fn body(&self, body: &Body) -> Value {
        match body {
            Body::Literal(value) => value.clone(),
            Body::Text(template) => match template.parts.as_slice() {
                [crate::template::Part::Variable { name, style: Style::Spoken }] => {
                    self.variables.get(name).cloned().unwrap_or(Value::Null)
                }
                _ => self.fill(template, Style::Raw).into(),
            },
            Body::List(items) => Value::Array(items.iter().map(|item| self.body(item)).collect()),
            Body::Map(entries) => {
                Value::Object(entries.iter().map(|(key, body)| (key.clone(), self.body(body))).collect())
            }
        }
    }
}
