//! The telephony fact: one call from offer to end, without I/O.
//!
//! The driver tells it what happened ([`Call::handle`]) and carries out what it asks for ([`Call::poll_effect`]). A
//! [`Dialogue`] inside decides what to say; the call adds what no dialogue should have to know: limits, the end of a
//! call once everything has been said, response times, the words of our own side, and the order of events.

use std::collections::{BTreeMap, VecDeque};

use antiphon_media_frame::{MediaTime, Pii, Span};
use antiphon_models_speech::{Hypothesis, Utterance};

use crate::reveal::Reveal;
use crate::{
    ActionId, Cause, Effect, EventBody, HttpOutcome, MediaFigures, MediaSecurity, Prompt, PromptEnd,
    PromptId, ResponseTime, SessionInput, Side, TransferOutcome,
};

/// Who decides what to say: a flow's session, or a script.
pub trait Dialogue {
    /// Takes what happened.
    fn handle(&mut self, now: MediaTime, input: SessionInput);
    /// Called when [`Dialogue::poll_timeout`] has come.
    fn handle_timeout(&mut self, now: MediaTime);
    /// What it asks for, oldest first.
    fn poll_effect(&mut self) -> Option<Effect>;
    /// When it wants to be woken.
    fn poll_timeout(&self) -> Option<MediaTime>;
}

/// How long things may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the offer to the answer.
    pub ringing: Span,
    /// From the answer to the end.
    pub longest: Span,
}

/// What happened to a call.
#[derive(Debug)]
pub enum CallInput {
    /// It exists. First.
    Offered {
        /// Who calls.
        from: Pii<String>,
        /// Who is called.
        to: Pii<String>,
        /// `inbound` or `outbound`.
        direction: &'static str,
    },
    /// It rings.
    Ringing,
    /// Media flows before the answer.
    Early {
        /// The codec's name in SDP.
        codec: String,
        /// The native rate.
        sample_rate_hz: u32,
        /// How the media is protected.
        security: MediaSecurity,
        /// Variables for the dialogue, which begins now; `None` where it waits for the answer.
        variables: Option<BTreeMap<String, String>>,
    },
    /// A host that is called refused.
    Refused {
        /// `HOST[:PORT]`.
        host: String,
        /// SIP status; 408 where nothing came at all.
        status: u16,
        /// Its phrase, or what went wrong.
        reason: String,
    },
    /// A host that is called would have us call elsewhere.
    Redirected {
        /// `HOST[:PORT]`.
        host: String,
        /// SIP status.
        status: u16,
        /// Where to, the best first.
        to: Pii<Vec<String>>,
        /// What becomes of each: `followed`, or the name of the reason why it is not.
        results: Vec<&'static str>,
    },
    /// It is answered, and media flows.
    Answered {
        /// The codec's name in SDP.
        codec: String,
        /// The native rate.
        sample_rate_hz: u32,
        /// How the media is protected.
        security: MediaSecurity,
        /// Variables for the dialogue, unless it has begun.
        variables: BTreeMap<String, String>,
    },
    /// The far side began to speak.
    SpeechStarted {
        /// When.
        at: MediaTime,
    },
    /// Interim words of the far side.
    Partial(Hypothesis),
    /// Final words of the far side.
    Final(Utterance),
    /// The far side stopped speaking.
    SpeechEnded {
        /// When its last sound was.
        at: MediaTime,
    },
    /// The far side pressed a key.
    Key {
        /// Which.
        key: char,
        /// When.
        at: MediaTime,
        /// For how long.
        duration: Span,
    },
    /// A prompt's first sample is on the wire.
    PromptStarted {
        /// Which.
        id: PromptId,
        /// When.
        at: MediaTime,
        /// How long it will be, as far as known.
        length: Span,
    },
    /// A prompt is over.
    PromptStopped {
        /// Which.
        id: PromptId,
        /// When.
        at: MediaTime,
        /// How much was played.
        played: Span,
        /// How.
        end: PromptEnd,
    },
    /// A web service answered, or did not.
    HttpDone {
        /// Which action.
        id: ActionId,
        /// What came of it.
        outcome: HttpOutcome,
    },
    /// The far side is with somebody else from here on (or back): the dialogue neither hears nor speaks meanwhile.
    Away(bool),
    /// A transfer is over and the caller is back.
    TransferDone {
        /// Which action.
        id: ActionId,
        /// What came of it.
        outcome: TransferOutcome,
    },
    /// The call must end, for this reason: hang-up, cancel, RTP silence, a failure.
    End(&'static Cause),
    /// Everything is torn down: the last input.
    Closed {
        /// What was received.
        received: MediaFigures,
        /// What was sent.
        sent: MediaFigures,
        /// Path and length of the recording.
        recording: Option<(String, Span)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Offered,
    /// Not answered, and yet the dialogue is heard.
    Early,
    Answered {
        at: MediaTime,
    },
    /// Asked to be torn down.
    Ending {
        answered: Option<MediaTime>,
        at: MediaTime,
        cause: &'static Cause,
    },
    Closed,
}

struct Said {
    text: String,
    interruptible: bool,
}

/// One call.
pub struct Call<D> {
    dialogue: D,
    limits: Limits,
    state: State,
    offered: MediaTime,
    effects: VecDeque<Effect>,
    /// Prompts asked for and not yet over.
    prompts: BTreeMap<PromptId, Said>,
    speaking: Option<(PromptId, Reveal)>,
    reveal_revision: u32,
    /// The dialogue wants to hang up once its prompts are over.
    leaving: Option<&'static Cause>,
    /// Told to those who watch, each once.
    rang: bool,
    early: bool,
    /// The dialogue wants the call answered once its prompts are over; then, that this has been asked for.
    answering: bool,
    answer_asked: bool,
    /// A transfer that waits for what is being said, and for the answer.
    transferring: Option<Effect>,
    /// The far side is with somebody else.
    away: bool,
    /// End of the far side's speech and arrival of its words, until we answer.
    turn: Option<(MediaTime, MediaTime)>,
}

impl<D: Dialogue> Call<D> {
    /// A call offered at `now`.
    pub fn new(dialogue: D, limits: Limits, now: MediaTime) -> Self {
        Self {
            dialogue,
            limits,
            state: State::Offered,
            offered: now,
            effects: VecDeque::new(),
            prompts: BTreeMap::new(),
            speaking: None,
            reveal_revision: 0,
            leaving: None,
            rang: false,
            early: false,
            answering: false,
            answer_asked: false,
            transferring: None,
            away: false,
            turn: None,
        }
    }

    /// Takes what happened. Inputs after `Closed` are ignored.
    pub fn handle(&mut self, now: MediaTime, input: CallInput) {
        if self.state == State::Closed {
            return;
        }
        match input {
            CallInput::Offered { from, to, direction } => {
                self.notify(EventBody::CallStarted { from, to, direction });
            }
            CallInput::Ringing => {
                if matches!(self.state, State::Offered | State::Early)
                    && !std::mem::replace(&mut self.rang, true)
                {
                    self.notify(EventBody::CallRinging);
                }
            }
            CallInput::Early { codec, sample_rate_hz, security, variables } => {
                if self.state == State::Offered {
                    if !std::mem::replace(&mut self.early, true) {
                        self.notify(EventBody::CallEarly { codec, sample_rate_hz, security });
                    }
                    if let Some(variables) = variables {
                        self.state = State::Early;
                        self.dialogue.handle(now, SessionInput::Started { variables });
                    }
                }
            }
            CallInput::Refused { host, status, reason } => {
                self.notify(EventBody::CallRefused { host, status, reason });
            }
            CallInput::Redirected { host, status, to, results } => {
                self.notify(EventBody::CallRedirected { host, status, to, results });
            }
            CallInput::Answered { codec, sample_rate_hz, security, variables } => {
                let input = match self.state {
                    State::Offered => SessionInput::Started { variables },
                    State::Early => SessionInput::Answered,
                    _ => return,
                };
                self.state = State::Answered { at: now };
                self.notify(EventBody::CallAnswered { codec, sample_rate_hz, security });
                self.dialogue.handle(now, input);
            }
            CallInput::SpeechStarted { at } => {
                self.turn = None;
                self.notify(EventBody::SpeechStarted { side: Side::Caller });
                self.tell(now, SessionInput::SpeechStarted { at });
            }
            CallInput::Partial(hypothesis) => self.notify(EventBody::SpeechPartial {
                side: Side::Caller,
                text: Pii::new(hypothesis.text),
                revision: hypothesis.revision,
                start: seconds(hypothesis.start),
            }),
            CallInput::Final(utterance) => self.heard(now, utterance),
            CallInput::SpeechEnded { at } => {
                self.notify(EventBody::SpeechEnded { side: Side::Caller });
                self.tell(now, SessionInput::SpeechEnded { at });
            }
            CallInput::Key { key, at, duration } => {
                self.turn = None;
                let duration_ms = duration.millis();
                self.notify(EventBody::Dtmf { side: Side::Caller, key: Pii::new(key), duration_ms });
                self.tell(now, SessionInput::Key { key, at });
            }
            CallInput::PromptStarted { id, at, length } => self.prompt_started(id, at, length),
            CallInput::PromptStopped { id, at, played, end } => self.prompt_stopped(now, id, at, played, end),
            CallInput::HttpDone { id, outcome } => self.tell(now, SessionInput::HttpDone { id, outcome }),
            CallInput::Away(away) => self.away = away,
            CallInput::TransferDone { id, outcome } => {
                let (name, status) = (outcome.name(), outcome.status());
                self.notify(EventBody::TransferFinished { id, outcome: name, status });
                // What is said next is no answer to what was heard before.
                self.turn = None;
                self.tell(now, SessionInput::TransferDone { id, outcome });
            }
            CallInput::End(cause) => self.end(now, cause),
            CallInput::Closed { received, sent, recording } => self.close(now, received, sent, recording),
        }
        self.drain_dialogue(now);
    }

    /// To be called when [`Call::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: MediaTime) {
        match self.state {
            State::Offered | State::Early if now >= self.offered + self.limits.ringing => {
                self.end(now, Cause::RINGING_TOO_LONG);
            }
            State::Answered { at } if now >= at + self.limits.longest => self.end(now, Cause::LONGEST_CALL),
            _ => {}
        }
        self.reveal(now);
        if self.talks() && !self.away && self.dialogue.poll_timeout().is_some_and(|at| now >= at) {
            self.dialogue.handle_timeout(now);
        }
        self.drain_dialogue(now);
    }

    /// What is to be done, oldest first. [`Effect::HangUp`] comes at most once and means now.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Call::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<MediaTime> {
        let reveal =
            self.speaking.as_ref().and_then(|(_, reveal)| reveal.next_word(self.reveal_revision as usize));
        match self.state {
            State::Offered => Some(self.offered + self.limits.ringing),
            State::Early => {
                let limit = Some(self.offered + self.limits.ringing);
                [limit, self.dialogue.poll_timeout(), reveal].into_iter().flatten().min()
            }
            State::Answered { at } => {
                let dialogue = self.dialogue.poll_timeout().filter(|_| !self.away);
                [Some(at + self.limits.longest), dialogue, reveal].into_iter().flatten().min()
            }
            State::Ending { .. } | State::Closed => None,
        }
    }

    /// Whether it is answered and not over.
    pub fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered { .. })
    }

    /// Why the call ends, once that is decided.
    pub fn cause(&self) -> Option<&'static Cause> {
        match self.state {
            State::Ending { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// The dialogue inside.
    pub fn dialogue(&self) -> &D {
        &self.dialogue
    }

    /// Tells the dialogue. While the far side is away it hears nothing but the end of its own prompts.
    fn tell(&mut self, now: MediaTime, input: SessionInput) {
        let matters = !self.away || matches!(input, SessionInput::PromptEnded { .. });
        if matters && self.talks() {
            self.dialogue.handle(now, input);
        }
    }

    /// Whether the dialogue is heard.
    fn talks(&self) -> bool {
        matches!(self.state, State::Early | State::Answered { .. })
    }

    fn notify(&mut self, body: EventBody) {
        self.effects.push_back(Effect::Notify(body));
    }

    fn heard(&mut self, now: MediaTime, utterance: Utterance) {
        self.turn = Some((utterance.end, now));
        self.notify(EventBody::SpeechFinal {
            side: Side::Caller,
            text: Pii::new(utterance.text.clone()),
            spoken: Pii::new(None),
            words: Pii::new(utterance.words.clone()),
            start: seconds(utterance.start),
            end: seconds(utterance.end),
            confidence: utterance.confidence,
            language: utterance.language.clone(),
            redactions: Vec::new(),
        });
        self.tell(now, SessionInput::Heard(utterance));
    }

    fn prompt_started(&mut self, id: PromptId, at: MediaTime, length: Span) {
        let Some(said) = self.prompts.get(&id) else { return };
        let (text, interruptible) = (said.text.clone(), said.interruptible);
        if let Some((spoke_until, recognized)) = self.turn.take() {
            self.notify(EventBody::Response(ResponseTime {
                recognized_ms: recognized.since(spoke_until).millis(),
                first_audio_ms: at.since(spoke_until).millis(),
            }));
        }
        self.notify(EventBody::PromptStarted { id, text: Pii::new(text.clone()), interruptible });
        self.reveal_revision = 0;
        self.speaking = Some((id, Reveal::new(text, at, length)));
        self.reveal(at);
    }

    fn prompt_stopped(&mut self, now: MediaTime, id: PromptId, _at: MediaTime, played: Span, end: PromptEnd) {
        if self.prompts.remove(&id).is_none() {
            return;
        }
        if self.speaking.as_ref().is_some_and(|(speaking, _)| *speaking == id)
            && let Some((_, mut reveal)) = self.speaking.take()
        {
            if end == PromptEnd::Completed {
                // The length of a prompt that was streamed is known only now.
                reveal.settle(played);
            }
            let words = reveal.words_within(played);
            if let Some(last) = words.last() {
                let end = seconds(last.end);
                let text = Pii::new(reveal.text_of(words.len()).to_owned());
                let start = seconds(reveal.start());
                let words = Pii::new(words);
                self.notify(EventBody::SpeechFinal {
                    side: Side::Machine,
                    text,
                    spoken: Pii::new(None),
                    words,
                    start,
                    end,
                    confidence: 1.0,
                    language: None,
                    redactions: Vec::new(),
                });
            }
        }
        self.notify(EventBody::PromptStopped { id, reason: end, played_ms: played.millis() });
        self.tell(now, SessionInput::PromptEnded { id, end });
    }

    fn reveal(&mut self, now: MediaTime) {
        let Some((_, reveal)) = &self.speaking else { return };
        let shown = reveal.begun_by(now) as u32;
        if shown > self.reveal_revision {
            self.reveal_revision = shown;
            let text = Pii::new(reveal.text_of(shown as usize).to_owned());
            let start = seconds(reveal.start());
            self.notify(EventBody::SpeechPartial { side: Side::Machine, text, revision: shown, start });
        }
    }

    fn drain_dialogue(&mut self, now: MediaTime) {
        if self.away && matches!(self.state, State::Answered { .. }) {
            return;
        }
        while let Some(effect) = self.dialogue.poll_effect() {
            match effect {
                Effect::Notify(body) => {
                    if matches!(body, EventBody::NoInput { .. }) {
                        // What is said next is no answer to what was heard before.
                        self.turn = None;
                    }
                    self.notify(body);
                }
                _ if !self.talks() => {}
                Effect::Answer if self.is_answered() => self.dialogue.handle(now, SessionInput::Answered),
                Effect::Answer => self.answering = true,
                Effect::HangUp { cause } => {
                    self.leaving.get_or_insert(cause);
                }
                Effect::Say { id, prompts, interruptible } => {
                    let text =
                        prompts.iter().map(spoken).filter(|t| !t.is_empty()).collect::<Vec<_>>().join(" ");
                    self.prompts.insert(id, Said { text, interruptible });
                    self.effects.push_back(Effect::Say { id, prompts, interruptible });
                }
                Effect::Transfer { .. } => {
                    self.transferring.get_or_insert(effect);
                }
                other => self.effects.push_back(other),
            }
        }
        // Whoever is handed on is answered first.
        if self.state == State::Early
            && self.prompts.is_empty()
            && (self.answering || self.transferring.is_some())
            && !std::mem::replace(&mut self.answer_asked, true)
        {
            self.effects.push_back(Effect::Answer);
        }
        if self.prompts.is_empty()
            && self.is_answered()
            && let Some(Effect::Transfer { id, request }) = self.transferring.take()
        {
            let to = Pii::new(request.to.clone());
            self.notify(EventBody::TransferStarted { id, kind: request.kind, to });
            self.effects.push_back(Effect::Transfer { id, request });
        }
        if let Some(cause) = self.leaving
            && self.prompts.is_empty()
        {
            self.end(now, cause);
        }
    }

    fn end(&mut self, now: MediaTime, cause: &'static Cause) {
        let answered = match self.state {
            State::Offered | State::Early => None,
            State::Answered { at } => Some(at),
            State::Ending { .. } | State::Closed => return,
        };
        if self.talks() {
            self.dialogue.handle(now, SessionInput::HungUp);
        }
        self.state = State::Ending { answered, at: now, cause };
        self.effects.push_back(Effect::HangUp { cause });
    }

    fn close(
        &mut self,
        now: MediaTime,
        received: MediaFigures,
        sent: MediaFigures,
        recording: Option<(String, Span)>,
    ) {
        self.end(now, Cause::SIGNALLING_LOST);
        let State::Ending { answered, at, cause } = self.state else { return };
        if answered.is_some() || self.early {
            self.notify(EventBody::Media { side: Side::Caller, figures: received });
            self.notify(EventBody::Media { side: Side::Machine, figures: sent });
        }
        if let Some((path, duration)) = recording {
            self.notify(EventBody::Recording { path, duration_ms: duration.millis() });
        }
        let duration_ms = answered.map_or(0, |from| at.since(from).millis());
        self.notify(EventBody::CallEnded { cause, duration_ms });
        // The state stays readable for `cause`; nothing more is taken in.
        self.prompts.clear();
        self.speaking = None;
        self.drain_dialogue(now);
        self.state = State::Closed;
    }
}

/// Milliseconds are the finest that events mean.
fn seconds(at: MediaTime) -> f64 {
    at.millis() as f64 / 1000.0
}

fn spoken(prompt: &Prompt) -> &str {
    match prompt {
        Prompt::Text { text, .. } | Prompt::Recording { text, .. } => text,
    }
}

#[cfg(test)]
mod tests;
