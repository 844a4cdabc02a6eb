//! The resources `speechrecog` and `dtmfrecog` (RFC 6787 section 9): one recognition at a time, others waiting.

mod fitting;
mod grammars;
mod settings;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Hints, Language};

use crate::control::Resource;
use crate::grammar::{Grammar, Mode};
use crate::message::{Message, RequestState, Start};
use crate::nlsml::{self, NLSML, Nothing};
use crate::parameters::{Status, Wrong, ids, list, read};
use fitting::{Named, Outcome};
use settings::{ALWAYS, Settings};

/// RECOGNIZEs that wait at most.
const QUEUE: usize = 4;
/// Keys that are kept while nothing is recognised.
const KEYS: usize = 64;
/// Longest that is listened to as words, in octets.
const LONGEST: usize = 4_096;

/// What a channel belongs to.
#[derive(Clone, Debug)]
pub struct Session {
    /// The channel's identifier, `<session>@<resource>`.
    pub channel: String,
    /// What is spoken where nobody says.
    pub language: Language,
    /// The day, as `2026-11-22`, that relative dates are counted from.
    pub today: Option<String>,
    /// The time of the day at [`MediaTime::ZERO`], since 1970.
    pub unix: Duration,
}

impl Session {
    /// The NTP time of an instant (RFC 5905), 64 bits.
    pub(crate) fn ntp(&self, now: MediaTime) -> u64 {
        let at = self.unix + Duration::from_nanos(now.since(MediaTime::ZERO).nanos());
        let fraction = (u64::from(at.subsec_nanos()) << 32) / 1_000_000_000;
        (at.as_secs().wrapping_add(2_208_988_800) << 32) | fraction
    }
}

/// Why a recognition is over (RFC 6787 section 9.4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the RFC")]
pub enum Cause {
    Success,
    NoMatch,
    NoInputTimeout,
    HotwordMaxtime,
    GrammarLoadFailure,
    GrammarCompilationFailure,
    RecognizerError,
    SuccessMaxtime,
    UriFailure,
    LanguageUnsupported,
    Cancelled,
    PartialMatch,
    PartialMatchMaxtime,
    NoMatchMaxtime,
    GrammarDefinitionFailure,
}

impl Cause {
    /// As it is written.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Success => "000 success",
            Self::NoMatch => "001 no-match",
            Self::NoInputTimeout => "002 no-input-timeout",
            Self::HotwordMaxtime => "003 hotword-maxtime",
            Self::GrammarLoadFailure => "004 grammar-load-failure",
            Self::GrammarCompilationFailure => "005 grammar-compilation-failure",
            Self::RecognizerError => "006 recognizer-error",
            Self::SuccessMaxtime => "008 success-maxtime",
            Self::UriFailure => "009 uri-failure",
            Self::LanguageUnsupported => "010 language-unsupported",
            Self::Cancelled => "011 cancelled",
            Self::PartialMatch => "013 partial-match",
            Self::PartialMatchMaxtime => "014 partial-match-maxtime",
            Self::NoMatchMaxtime => "015 no-match-maxtime",
            Self::GrammarDefinitionFailure => "016 grammar-definition-failure",
        }
    }
}

/// How is to be listened.
#[derive(Clone, Debug, PartialEq)]
pub struct Listening {
    /// What is spoken.
    pub language: Language,
    /// What may be said.
    pub hints: Hints,
    /// The silence that ends what is said; the server's own where it is not said.
    pub endpoint: Option<Span>,
}

/// What is wanted of whoever listens.
#[derive(Clone, Debug, PartialEq)]
pub enum RecogniserOutput {
    /// A message for the client.
    Send(Message),
    /// Open an ear; [`Recogniser::opened`] or [`Recogniser::refused`] is to follow.
    Listen(Box<Listening>),
    /// Take what was said so far as all of it; [`Recogniser::flushed`] is to follow.
    Flush,
    /// Close the ear, open or being opened.
    Close,
    /// The caller has begun to speak or to press keys.
    InputStarted,
}

/// A recognition under way.
struct Active {
    id: u32,
    grammars: Vec<Named>,
    settings: Settings,
    language: Language,
    /// The ear is being opened.
    opening: bool,
    /// The caller has begun.
    started: bool,
    speaking: bool,
    /// What was said so far, and how sure that is.
    words: Vec<(String, f32)>,
    keys: String,
    /// All that was said is being asked for.
    flushing: bool,
    no_input: Option<MediaTime>,
    longest: Option<MediaTime>,
    /// When what was said or pressed has to do.
    patience: Option<MediaTime>,
}

/// What the last recognition came to.
struct Last {
    cause: Cause,
    outcome: Option<Outcome>,
}

/// The state machine.
pub struct Recogniser {
    session: Session,
    resource: Resource,
    settings: Settings,
    grammars: BTreeMap<String, Arc<Grammar>>,
    active: Option<Box<Active>>,
    queue: VecDeque<Message>,
    last: Option<Last>,
    /// Keys that were pressed while nothing was recognised.
    keys: VecDeque<(MediaTime, char)>,
    outputs: VecDeque<RecogniserOutput>,
    last_id: Option<u32>,
    inputs: u32,
}

impl Recogniser {
    /// A recogniser that does nothing yet; `resource` says whether it hears words or keys alone.
    #[must_use]
    pub fn new(session: Session, resource: Resource) -> Self {
        Self {
            session,
            resource,
            settings: Settings::default(),
            grammars: BTreeMap::new(),
            active: None,
            queue: VecDeque::new(),
            last: None,
            keys: VecDeque::new(),
            outputs: VecDeque::new(),
            last_id: None,
            inputs: 0,
        }
    }

    /// The next thing wanted.
    pub fn poll_output(&mut self) -> Option<RecogniserOutput> {
        self.outputs.pop_front()
    }

    /// When [`Recogniser::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MediaTime> {
        let active = self.active.as_ref()?;
        [active.no_input, active.longest, active.patience].into_iter().flatten().min()
    }

    /// A request came; anything else is left alone.
    pub fn request(&mut self, now: MediaTime, message: &Message) {
        let Start::Request { method, id } = &message.start else { return };
        let (method, id) = (method.clone(), *id);
        if self.last_id.is_some_and(|last| id <= last) {
            return self.refuse(id, Status::OutOfOrder, "the number of a request is above the one before");
        }
        self.last_id = Some(id);
        let done = match method.as_str() {
            "RECOGNIZE" => self.recognise(now, id, message),
            "INTERPRET" => self.interpret(now, id, message),
            "DEFINE-GRAMMAR" => {
                self.define(id, message);
                Ok(())
            }
            "START-INPUT-TIMERS" => {
                self.start_timers(now, id);
                Ok(())
            }
            "STOP" => self.stop(now, id, message),
            "GET-RESULT" => self.tell_result(id, message),
            "SET-PARAMS" => self.set(id, message),
            "GET-PARAMS" => {
                let response = self.response(id, Status::Success);
                let response = self.settings.tell(message, response);
                self.send(response);
                Ok(())
            }
            other => {
                let other: String = other.chars().take(64).collect();
                self.refuse(id, Status::NotAllowed, &format!("{other} is not served"));
                Ok(())
            }
        };
        if let Err(wrong) = done {
            self.wrong(id, &wrong, message);
        }
    }

    /// The ear is open.
    pub fn opened(&mut self, now: MediaTime) {
        if let Some(active) = &mut self.active
            && std::mem::replace(&mut active.opening, false)
        {
            self.begin(now);
        }
    }

    /// The ear could not be opened.
    pub fn refused(&mut self, now: MediaTime, cause: Cause, reason: &str) {
        if let Some(active) = self.active.take_if(|active| active.opening) {
            let response = self
                .response(active.id, Status::Failed)
                .with("Completion-Cause", cause.text())
                .with("Completion-Reason", reason);
            self.send(response);
            self.next(now);
        }
    }

    /// The caller speaks.
    pub fn speech_started(&mut self, now: MediaTime) {
        let Some(active) = self.listening() else { return };
        active.speaking = true;
        active.patience = None;
        if !active.settings.hotword {
            self.start(now, "speech");
        }
    }

    /// Words that are final, with a confidence of 0 to 1.
    pub fn heard(&mut self, text: &str, confidence: f32) {
        let Some(active) = self.listening() else { return };
        let so_far: usize = active.words.iter().map(|(text, _)| text.len()).sum();
        if so_far + text.len() <= LONGEST {
            active.words.push((text.to_owned(), confidence.clamp(0.0, 1.0)));
        }
    }

    /// The caller has fallen silent, and all words have been told.
    pub fn speech_ended(&mut self, now: MediaTime) {
        let (language, today) = (self.language(), self.session.today.clone());
        let Some(active) = self.listening() else { return };
        active.speaking = false;
        if active.flushing {
            return;
        }
        let outcome = fitting::words(&active.grammars, &active.words, &language, today.as_deref());
        match outcome {
            Outcome::Begun(_) if active.settings.incomplete > Span::ZERO => {
                active.patience = Some(now + active.settings.incomplete);
            }
            // A hotword is waited for whatever else is said.
            Outcome::Begun(_) | Outcome::Nothing if active.settings.hotword => active.words.clear(),
            outcome => {
                if active.settings.hotword && outcome.sure(active.settings.confidence) {
                    self.start(now, "speech");
                }
                self.judge(now, outcome);
            }
        }
    }

    /// What was asked for by [`RecogniserOutput::Flush`] has all been told.
    pub fn flushed(&mut self, now: MediaTime) {
        let (language, today) = (self.language(), self.session.today.clone());
        let Some(active) = self.listening().filter(|active| active.flushing) else { return };
        let outcome = fitting::words(&active.grammars, &active.words, &language, today.as_deref());
        let sure = outcome.sure(active.settings.confidence);
        let cause = match &outcome {
            Outcome::Whole(_) if sure => Cause::SuccessMaxtime,
            Outcome::Begun(_) => Cause::PartialMatchMaxtime,
            _ => Cause::NoMatchMaxtime,
        };
        self.complete(now, cause, Some(outcome), None);
    }

    /// The caller pressed a key: `0` to `9`, `*`, `#`, `A` to `D`.
    pub fn key(&mut self, now: MediaTime, key: char) {
        let takes = |active: &&mut Box<Active>| !active.opening && fitting::takes_keys(&active.grammars);
        let Some(active) = self.active.as_mut().filter(takes) else {
            if self.keys.len() == KEYS {
                self.keys.pop_front();
            }
            self.keys.push_back((now, key));
            return;
        };
        active.patience = None;
        active.words.clear();
        let ends = active.settings.term_char == Some(key) && !active.keys.is_empty();
        if !ends {
            active.keys.push(key);
        }
        let (outcome, more) = fitting::keys(&active.grammars, &active.keys);
        let settings = &active.settings;
        let wait = match &outcome {
            _ if ends => None,
            Outcome::Nothing => None,
            Outcome::Whole(_) if !more => {
                settings.term_char.map(|_| settings.term).filter(|term| *term > Span::ZERO)
            }
            Outcome::Whole(_) | Outcome::Begun(_) => Some(settings.interdigit),
        };
        active.patience = wait.map(|wait| now + wait);
        self.start(now, "dtmf");
        if wait.is_none() {
            self.judge_keys(now, outcome);
        }
    }

    /// The recogniser failed.
    pub fn failed(&mut self, now: MediaTime, reason: &str) {
        if self.active.as_ref().is_some_and(|active| !active.opening) {
            self.complete(now, Cause::RecognizerError, None, Some(reason));
        }
    }

    /// A time has come.
    pub fn handle_timeout(&mut self, now: MediaTime) {
        let (language, today) = (self.language(), self.session.today.clone());
        let Some(active) = &mut self.active else { return };
        let due = |at: Option<MediaTime>| at.is_some_and(|at| at <= now);
        if due(active.patience) {
            active.patience = None;
            if active.keys.is_empty() {
                let outcome = fitting::words(&active.grammars, &active.words, &language, today.as_deref());
                if active.settings.hotword && !matches!(outcome, Outcome::Whole(_)) {
                    active.words.clear();
                } else {
                    self.judge(now, outcome);
                }
            } else {
                let (outcome, _) = fitting::keys(&active.grammars, &active.keys);
                self.judge_keys(now, outcome);
            }
        } else if due(active.no_input) {
            self.complete(now, Cause::NoInputTimeout, None, None);
        } else if due(active.longest) {
            active.longest = None;
            if active.settings.hotword {
                self.complete(now, Cause::HotwordMaxtime, None, None);
            } else if active.keys.is_empty() {
                active.flushing = true;
                self.outputs.push_back(RecogniserOutput::Flush);
            }
        }
    }

    /// The recognition whose ear is open, as long as nothing was pressed.
    fn listening(&mut self) -> Option<&mut Box<Active>> {
        self.active.as_mut().filter(|active| !active.opening && active.keys.is_empty())
    }

    fn language(&self) -> Language {
        self.active.as_ref().map_or_else(|| self.session.language.clone(), |active| active.language.clone())
    }

    fn recognise(&mut self, now: MediaTime, id: u32, message: &Message) -> Result<(), Wrong> {
        if self.active.is_some() {
            let cancels = read(message, "Cancel-If-Queue", crate::parameters::flag)?.unwrap_or(false);
            if !cancels {
                if self.queue.len() == QUEUE {
                    self.refuse(id, Status::Failed, "4 requests wait already");
                    return Ok(());
                }
                self.queue.push_back(message.clone());
                let response = self.stated(id, Status::Success, RequestState::Pending);
                self.send(response);
                return Ok(());
            }
            let waiting: Vec<u32> = self.queue.drain(..).filter_map(|message| request_id(&message)).collect();
            self.complete(now, Cause::Cancelled, None, None);
            for id in waiting {
                let event = self.event("RECOGNITION-COMPLETE", id, RequestState::Complete);
                self.send(event.with("Completion-Cause", Cause::Cancelled.text()));
            }
        }
        self.prepare(now, id, message)
    }

    /// Reads a RECOGNIZE and opens an ear for it.
    fn prepare(&mut self, now: MediaTime, id: u32, message: &Message) -> Result<(), Wrong> {
        let settings = self.settings.with(message)?;
        let grammars = match self.grammars_of(id, message) {
            Ok(grammars) => grammars,
            Err(failure) => {
                self.fail(id, failure);
                return Ok(());
            }
        };
        let spoken = grammars.iter().find_map(|named| named.grammar.language().cloned());
        let language = settings.language.clone().or(spoken).unwrap_or_else(|| self.session.language.clone());
        if settings.clear_keys {
            self.keys.clear();
        }
        self.last = None;
        let listens = grammars.iter().any(|named| named.grammar.mode() == Mode::Voice);
        let listening = listens.then(|| Listening {
            language: language.clone(),
            hints: fitting::hints(&grammars, &language),
            endpoint: settings.complete,
        });
        self.active = Some(Box::new(Active {
            id,
            grammars,
            settings,
            language,
            opening: listens,
            started: false,
            speaking: false,
            words: Vec::new(),
            keys: String::new(),
            flushing: false,
            no_input: None,
            longest: None,
            patience: None,
        }));
        match listening {
            Some(listening) => self.outputs.push_back(RecogniserOutput::Listen(Box::new(listening))),
            None => self.begin(now),
        }
        Ok(())
    }

    /// It is recognised from here on.
    fn begin(&mut self, now: MediaTime) {
        let Some(active) = &mut self.active else { return };
        let (id, settings) = (active.id, &active.settings);
        if settings.timers {
            active.no_input = Some(now + settings.no_input).filter(|_| !settings.hotword);
        }
        if settings.hotword {
            active.longest = Some(now + settings.longest);
        }
        let kept = settings.key_buffer;
        let response = self.stated(id, Status::Success, RequestState::InProgress);
        self.send(response);
        // What was typed ahead comes first, unless it is too old.
        for (at, key) in std::mem::take(&mut self.keys) {
            if now.since(at) <= kept {
                self.key(now, key);
            }
        }
    }

    /// The caller has begun.
    fn start(&mut self, now: MediaTime, by: &str) {
        let Some(active) = &mut self.active else { return };
        if std::mem::replace(&mut active.started, true) {
            return;
        }
        active.no_input = None;
        if !active.settings.hotword {
            active.longest = Some(now + active.settings.longest);
        }
        let id = active.id;
        self.inputs += 1;
        self.outputs.push_back(RecogniserOutput::InputStarted);
        let sync = format!("{}-{}", self.session.channel.split('@').next().unwrap_or_default(), self.inputs);
        let event = self.event("START-OF-INPUT", id, RequestState::InProgress);
        self.send(event.with("Input-Type", by).with("Proxy-Sync-Id", sync));
    }

    /// Ends with what the words fit.
    fn judge(&mut self, now: MediaTime, outcome: Outcome) {
        let threshold = self.active.as_ref().map_or(0.0, |active| active.settings.confidence);
        let cause = match &outcome {
            Outcome::Whole(_) if outcome.sure(threshold) => Cause::Success,
            Outcome::Begun(_) => Cause::PartialMatch,
            _ => Cause::NoMatch,
        };
        self.complete(now, cause, Some(outcome), None);
    }

    /// Ends with what the keys fit.
    fn judge_keys(&mut self, now: MediaTime, outcome: Outcome) {
        let cause = if matches!(outcome, Outcome::Whole(_)) { Cause::Success } else { Cause::NoMatch };
        self.complete(now, cause, Some(outcome), None);
    }

    fn complete(&mut self, now: MediaTime, cause: Cause, outcome: Option<Outcome>, reason: Option<&str>) {
        let Some(active) = self.active.take() else { return };
        self.outputs.push_back(RecogniserOutput::Close);
        let mut event = self
            .event("RECOGNITION-COMPLETE", active.id, RequestState::Complete)
            .with("Completion-Cause", cause.text());
        if let Some(reason) = reason {
            event = event.with("Completion-Reason", reason);
        }
        // Not a word of one that never began: the client has seen no more than that it asked.
        if active.opening {
            let response = self.stated(active.id, Status::Success, RequestState::InProgress);
            self.send(response);
        }
        let last = Last { cause, outcome };
        if let Some(body) = last.body(active.settings.confidence, active.settings.n_best) {
            event = event.with_body(NLSML, body);
        }
        self.send(event);
        self.last = Some(last);
        self.next(now);
    }

    /// One that waited has its turn.
    fn next(&mut self, now: MediaTime) {
        while self.active.is_none()
            && let Some(message) = self.queue.pop_front()
        {
            let Some(id) = request_id(&message) else { continue };
            if let Err(wrong) = self.prepare(now, id, &message) {
                self.wrong(id, &wrong, &message);
            }
        }
    }

    fn interpret(&mut self, _: MediaTime, id: u32, message: &Message) -> Result<(), Wrong> {
        if self.active.is_some() {
            self.refuse(id, Status::NotValidInState, "a recognition is under way");
            return Ok(());
        }
        let missing = Wrong { status: Status::MissingHeader, header: "Interpret-Text" };
        let text = message.headers.value("Interpret-Text").ok_or(missing)?;
        let settings = self.settings.with(message)?;
        let language = settings.language.unwrap_or_else(|| self.session.language.clone());
        let grammars = match self.grammars_of(id, message) {
            Ok(grammars) => grammars,
            Err(failure) => {
                self.fail(id, failure);
                return Ok(());
            }
        };
        let response = self.stated(id, Status::Success, RequestState::InProgress);
        self.send(response);
        let words = [(text.chars().take(LONGEST).collect(), 1.0)];
        let outcome = fitting::words(&grammars, &words, &language, self.session.today.as_deref());
        let cause = if matches!(outcome, Outcome::Whole(_)) { Cause::Success } else { Cause::NoMatch };
        let last = Last { cause, outcome: Some(outcome) };
        let mut event = self
            .event("INTERPRETATION-COMPLETE", id, RequestState::Complete)
            .with("Completion-Cause", cause.text());
        if let Some(body) = last.body(0.0, settings.n_best) {
            event = event.with_body(NLSML, body);
        }
        self.send(event);
        self.last = Some(last);
        Ok(())
    }

    fn start_timers(&mut self, now: MediaTime, id: u32) {
        match &mut self.active {
            Some(active) if !active.opening => {
                if !active.started && !active.settings.hotword {
                    active.no_input = Some(now + active.settings.no_input);
                }
                // One that has not begun yet starts them when it does.
                let response = self.response(id, Status::Success);
                self.send(response);
            }
            Some(active) => {
                active.settings.timers = true;
                let response = self.response(id, Status::Success);
                self.send(response);
            }
            None => self.refuse(id, Status::NotValidInState, "nothing is being recognised"),
        }
    }

    fn stop(&mut self, now: MediaTime, id: u32, message: &Message) -> Result<(), Wrong> {
        let only = read(message, "Active-Request-Id-List", ids)?;
        let ends = |id: u32| only.as_ref().is_none_or(|only| only.contains(&id));
        let mut stopped = Vec::new();
        if let Some(active) = self.active.take_if(|active| ends(active.id)) {
            self.outputs.push_back(RecogniserOutput::Close);
            // Its client has had no answer yet.
            if active.opening {
                let response = self.stated(active.id, Status::Success, RequestState::InProgress);
                self.send(response);
            }
            stopped.push(active.id);
        }
        self.queue.retain(|message| {
            let waiting = request_id(message).filter(|id| ends(*id));
            stopped.extend(waiting);
            waiting.is_none()
        });
        let mut response = self.response(id, Status::Success);
        if !stopped.is_empty() {
            response = response.with("Active-Request-Id-List", list(&stopped));
        }
        self.send(response);
        self.next(now);
        Ok(())
    }

    fn tell_result(&mut self, id: u32, message: &Message) -> Result<(), Wrong> {
        let settings = self.settings.with(message)?;
        let mut response = self.response(id, Status::Success);
        match self.last.as_ref().filter(|_| self.active.is_none()) {
            None => self.refuse(id, Status::NotValidInState, "there is no result"),
            Some(last) => {
                response = response.with("Completion-Cause", last.cause.text());
                if let Some(body) = last.body(settings.confidence, settings.n_best) {
                    response = response.with_body(NLSML, body);
                }
                self.send(response);
            }
        }
        Ok(())
    }

    fn set(&mut self, id: u32, message: &Message) -> Result<(), Wrong> {
        let unknown = message.headers.iter().find(|(name, _)| {
            !ALWAYS.iter().any(|known| known.eq_ignore_ascii_case(name)) && !Settings::knows(name)
        });
        if let Some((name, value)) = unknown {
            let response = self.response(id, Status::UnsupportedHeader).with(name, value);
            self.send(response);
            return Ok(());
        }
        self.settings = self.settings.with(message)?;
        let response = self.response(id, Status::Success);
        self.send(response);
        Ok(())
    }

    fn fail(&mut self, id: u32, (status, cause, reason): Failure) {
        let response = self
            .response(id, status)
            .with("Completion-Cause", cause.text())
            .with("Completion-Reason", reason);
        self.send(response);
    }

    fn wrong(&mut self, id: u32, wrong: &Wrong, message: &Message) {
        let value = message.headers.value(wrong.header).unwrap_or_default();
        let response = self.response(id, wrong.status).with(wrong.header, value);
        self.send(response);
    }

    fn refuse(&mut self, id: u32, status: Status, reason: &str) {
        let response = self.response(id, status).with("Completion-Reason", reason);
        self.send(response);
    }

    fn response(&self, id: u32, status: Status) -> Message {
        self.stated(id, status, RequestState::Complete)
    }

    fn stated(&self, id: u32, status: Status, state: RequestState) -> Message {
        Message::response(id, status.code(), state).with("Channel-Identifier", self.session.channel.clone())
    }

    fn event(&self, name: &str, id: u32, state: RequestState) -> Message {
        Message::event(name, id, state).with("Channel-Identifier", self.session.channel.clone())
    }

    fn send(&mut self, message: Message) {
        self.outputs.push_back(RecogniserOutput::Send(message));
    }
}

/// A status, a cause, and words for people.
type Failure = (Status, Cause, String);

impl Last {
    /// The result as a body; none where nothing was said.
    fn body(&self, confidence: f32, n_best: usize) -> Option<String> {
        match &self.outcome {
            Some(Outcome::Whole(all) | Outcome::Begun(all)) => {
                let sure: Vec<_> =
                    all.iter().filter(|one| one.confidence >= confidence).take(n_best).cloned().collect();
                Some(if sure.is_empty() { nlsml::nothing(Nothing::Match) } else { nlsml::result(&sure) })
            }
            Some(Outcome::Nothing) => Some(nlsml::nothing(Nothing::Match)),
            None if self.cause == Cause::NoInputTimeout => Some(nlsml::nothing(Nothing::Input)),
            None => None,
        }
    }
}

fn request_id(message: &Message) -> Option<u32> {
    match &message.start {
        Start::Request { id, .. } => Some(*id),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
