//! Drives one answered call: joins the leg, the ears, the mouth and SIP to the call's state machine.
//!
//! Everything that happens to a call comes into one task by one queue, in order; everything the call wants leaves from
//! there. The task never blocks: speaking, web services and disks have threads of their own.

mod away;
mod command;
mod media;
mod pressing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use antiphon_engine_call::{
    ActionId, Call, CallInput, Cause, Dialogue, Effect, EventBody, HttpOutcome, MediaFigures, Pii, Prompt,
    PromptEnd, PromptId, Side,
};
use antiphon_media_frame::{CallId, MediaTime, SampleRate, Span};
use antiphon_media_link::LinkEvent;
use antiphon_media_plane::{Clip, ClipEnd, ClipId, LegCommand, LegEvent, LegFigures, LegHandle};
use antiphon_media_record::{RecordError, RecordingSummary};
use antiphon_media_sip::{Dialog, DialogEvent, SipError, keys};
use antiphon_models_pool::{StreamEvent, StreamHandle};
use antiphon_models_speech::Language;
use tokio::sync::mpsc;

use crate::begin::Joining;
use crate::calls::EventLog;
use crate::config::Dtmf;
use crate::entrance::{Refusal, Unanswered};
use crate::http_action;
use crate::mouth::{MouthError, Ready};
use crate::preview::Preview;
use crate::qa::intervene;
use crate::qa::kept::KeptWords;
use crate::renegotiate::Media;
use crate::shared::Shared;
use crate::switch::{Notice, Station};
use crate::trunks::Origin;
use crate::{shared, sidecar};
use away::Transfer;
pub(crate) use command::{Command, Done};
use pressing::Presser;

/// What waits for the call's task at most. Interim words are left out beyond half of it; anything else that finds the
/// queue full ends the call, because it must not be lost.
const QUEUE: usize = 1_024;
/// How long the parts of a call may take to wind down before the call is closed without them.
const WIND_DOWN: Duration = Duration::from_secs(10);

/// How long a conversation that is inspected waits for the last words of those who were joined with it.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long a voice may take to its first sound.
const PREPARE: Duration = Duration::from_secs(10);

/// Something that happened to a call.
pub(crate) enum Happening {
    Leg(LegEvent),
    Speech(StreamEvent),
    Prepared { id: PromptId, interruptible: bool, ready: Result<Ready, MouthError> },
    Http { id: ActionId, outcome: HttpOutcome },
    Recorded(Result<RecordingSummary, RecordError>),
    Room(Notice),
    Command(Command),
    Done(ActionId, Done),
}

/// What ends a call whose far side was with somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Its own dialogue, which has it back when the other has hung up.
    ByItself,
    /// The other: nobody else wants to speak with it.
    WithPartner,
}

/// The way into a call's task for the threads around it.
#[derive(Clone)]
pub(crate) struct Inlet {
    sender: mpsc::Sender<Happening>,
    overrun: Arc<AtomicBool>,
}

impl Inlet {
    /// Tells the call something. Never blocks.
    pub(crate) fn tell(&self, happening: Happening) {
        let is_partial = matches!(happening, Happening::Speech(StreamEvent::Partial(_)));
        if is_partial && self.sender.capacity() < QUEUE / 2 {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(happening) {
            self.overrun.store(true, Ordering::Release);
        }
    }
}

/// Makes the queue of a call.
pub(crate) fn inlet() -> (Inlet, mpsc::Receiver<Happening>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Inlet { sender, overrun: Arc::default() }, receiver)
}

/// The parts of an answered call.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: CallId,
    /// Whom the far side is to us: what it may dial.
    pub(crate) origin: Origin,
    /// What the dialogue speaks.
    pub(crate) language: Language,
    /// The far side's SIP address; empty where there is none.
    pub(crate) peer: Pii<String>,
    pub(crate) leaving: Leaving,
    /// What is done first.
    pub(crate) joining: Option<Joining>,
    /// Nothing where the call did not come by SIP, or is not answered.
    pub(crate) dialog: Option<Dialog>,
    /// Its dialogue is heard and says when it is answered.
    pub(crate) unanswered: Option<Unanswered>,
    pub(crate) media: Media,
    /// How keys travel.
    pub(crate) keys: Dtmf,
    /// `None` once it is to close.
    pub(crate) leg: Option<LegHandle>,
    pub(crate) ears: Option<StreamHandle>,
    pub(crate) rate: SampleRate,
    pub(crate) epoch: Instant,
    pub(crate) inlet: Inlet,
    pub(crate) happenings: mpsc::Receiver<Happening>,
    pub(crate) end: mpsc::Receiver<&'static Cause>,
    /// Where the recording goes, if the call is recorded.
    pub(crate) recording: Option<PathBuf>,
}

/// What is left of a call.
pub(crate) struct Outcome {
    pub(crate) cause: &'static Cause,
}

struct Said {
    id: PromptId,
    prompts: Vec<Prompt>,
    interruptible: bool,
}

struct Preparing {
    interruptible: bool,
    /// It is not wanted any more.
    discard: bool,
}

/// One call under way.
pub(crate) struct Conversation<D> {
    call: Call<D>,
    log: EventLog,
    parts: Parts,
    /// Prompts that wait for the one before them to be prepared.
    waiting: VecDeque<Said>,
    preparing: Option<Preparing>,
    /// Prompts the leg has: how long they are, and whether a voice may cut them.
    on_leg: BTreeMap<PromptId, (Span, bool)>,
    leg_closed: Option<Box<LegFigures>>,
    ears_closed: bool,
    /// Whether the far side is heard by a recogniser, from the answer on.
    recognised: bool,
    recorded: Option<Result<RecordingSummary, RecordError>>,
    /// The speakers the far side is joined with.
    with: BTreeSet<CallId>,
    transfer: Option<Transfer>,
    /// The transfer that joined the far side with somebody, until that is over.
    bridged_by: Option<ActionId>,
    /// The far side has sent its partner away.
    referring: bool,
    held: bool,
    music_wanted: bool,
    music_plays: bool,
    /// What is heard of a transfer's target before it answers.
    preview: Option<Preview>,
    /// Keys that go by INFO.
    presser: Option<Presser>,
    /// When it was answered: silence before that is no sign of anything.
    answered: Option<MediaTime>,
    /// Actions that came from outside.
    outside: u32,
}

impl<D: Dialogue> Conversation<D> {
    pub(crate) fn new(call: Call<D>, log: EventLog, parts: Parts) -> Self {
        Self {
            call,
            log,
            ears_closed: parts.ears.is_none(),
            recognised: parts.ears.is_some(),
            parts,
            waiting: VecDeque::new(),
            preparing: None,
            on_leg: BTreeMap::new(),
            leg_closed: None,
            recorded: None,
            with: BTreeSet::new(),
            transfer: None,
            bridged_by: None,
            referring: false,
            held: false,
            music_wanted: false,
            music_plays: false,
            preview: None,
            presser: None,
            answered: None,
            outside: 0,
        }
    }

    /// Runs the call from its answer, or from where it is heard before that, to its end.
    pub(crate) async fn run(mut self, variables: BTreeMap<String, String>) -> Outcome {
        if self.parts.unanswered.is_none() {
            self.answered(variables);
        } else {
            let agreed = self.parts.media.agreed();
            self.tell(CallInput::Early {
                codec: agreed.codec.name().to_owned(),
                sample_rate_hz: self.parts.rate.hz(),
                security: self.parts.media.security(),
                variables: Some(variables),
            });
        }
        self.obey();
        while self.call.cause().is_none() {
            let due = [self.call.poll_timeout(), self.log.rules_due()].into_iter().flatten().min();
            let due = due.map(|at| {
                let nanos = u64::try_from(at.nanos()).unwrap_or(0);
                tokio::time::Instant::from_std(self.parts.epoch + Duration::from_nanos(nanos))
            });
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(cause) = self.parts.end.recv() => self.tell(CallInput::End(cause)),
                event = signal(&mut self.parts.dialog) => self.take_signal(event).await,
                () = cancelled(&mut self.parts.unanswered) => {
                    self.parts.unanswered = None;
                    self.tell(CallInput::End(Cause::CALLER_CANCELLED));
                }
                Some(happening) = self.parts.happenings.recv() => match happening {
                    Happening::Command(command) => self.command(command).await,
                    other => self.take(other),
                },
                mail = self.log.mail() => {
                    let now = now(self.parts.epoch);
                    self.log.take(now, mail);
                }
                () = timer => {
                    let now = self.now();
                    self.call.handle_timeout(now);
                    self.log.tick(now);
                }
            }
            if self.log.rules_hang_up() {
                self.tell(CallInput::End(Cause::RULE_HUNG_UP));
            }
            if let Some(mode) = self.log.rules_call_in() {
                intervene::call_in(&self.parts.shared, self.parts.id, mode, self.parts.language.clone());
            }
            if self.parts.inlet.overrun.load(Ordering::Acquire) {
                self.tell(CallInput::End(Cause::OVERRUN));
            }
            self.obey();
        }
        self.wind_down().await
    }

    /// Answers a call whose dialogue has been heard already.
    fn answer(&mut self) {
        let (incoming, answer) = match self.parts.unanswered.take() {
            None => return,
            Some(Unanswered::Page) => return self.answered(BTreeMap::new()),
            Some(Unanswered::Sip { incoming, answer }) => (incoming, answer),
        };
        match incoming.answer(&answer) {
            Ok(dialog) => {
                self.parts.dialog = Some(dialog);
                self.answered(BTreeMap::new());
            }
            Err(SipError::Over) => self.tell(CallInput::End(Cause::CALLER_CANCELLED)),
            Err(error) => {
                tracing::warn!(call = %self.parts.id, %error, "a call could not be answered");
                self.tell(CallInput::End(Cause::SIGNALLING_LOST));
            }
        }
    }

    fn answered(&mut self, variables: BTreeMap<String, String>) {
        self.answered = Some(self.now());
        // Before the answer many say nothing: the far side's silence counts from here on.
        let direction = self.parts.media.agreed().direction;
        self.send(LegCommand::Flow { send: direction.sends(), receive: direction.receives() });
        // Others can reach it before its dialogue says a word.
        self.enter();
        let codec = self.parts.media.agreed().codec.name().to_owned();
        let (sample_rate_hz, security) = (self.parts.rate.hz(), self.parts.media.security());
        self.tell(CallInput::Answered { codec, sample_rate_hz, security, variables });
    }

    /// From here on others may be joined with this call.
    fn enter(&mut self) {
        let Parts { shared, id, dialog, leg, inlet, rate, origin, peer, .. } = &self.parts;
        if let Some(leg) = leg {
            let (control, inlet, origin) = (leg.control(), inlet.clone(), origin.clone());
            shared.switch.enter(*id, Station { control, rate: *rate, inlet, origin });
        }
        if let Some(dialog) = dialog {
            shared.dialogs.enter(*id, dialog, peer.clone());
        }
        let joined = match self.parts.joining.clone() {
            None => Ok(()),
            Some(Joining::Bridge(with)) => shared.switch.bridge(*id, with),
            Some(Joining::Confer(name)) => shared.switch.confer(*id, &name),
            Some(Joining::Supervise { target, mode, hearing }) => {
                shared.switch.supervise(*id, target, mode, hearing)
            }
            Some(Joining::End(calls)) => {
                for call in calls {
                    // One that is over already is what was asked for.
                    let _ = shared.calls.end(call, Cause::SUPERVISOR_HUNG_UP);
                }
                return self.tell(CallInput::End(Cause::SUPERVISOR_HUNG_UP));
            }
        };
        if let Err(error) = joined {
            tracing::info!(call = %id, %error, "a call finds nobody to be joined with");
            self.tell(CallInput::End(Cause::PARTNER_HUNG_UP));
        }
    }

    fn now(&self) -> MediaTime {
        now(self.parts.epoch)
    }

    fn tell(&mut self, input: CallInput) {
        let now = self.now();
        self.call.handle(now, input);
    }

    async fn take_signal(&mut self, event: DialogEvent) {
        match event {
            DialogEvent::Bye { .. } => {
                self.parts.dialog = None;
                self.tell(CallInput::End(Cause::CALLER_HUNG_UP));
            }
            DialogEvent::Lost => {
                self.parts.dialog = None;
                self.tell(CallInput::End(Cause::SIGNALLING_LOST));
            }
            DialogEvent::Expired => {
                self.parts.dialog = None;
                self.tell(CallInput::End(Cause::SESSION_EXPIRED));
            }
            DialogEvent::ReInvite { sdp, responder } => self.renegotiate(sdp.as_deref(), responder).await,
            DialogEvent::Answer { sdp } => self.late_answer(&sdp),
            DialogEvent::Info { content_type, body } => {
                if let Some((key, held)) = keys::from_info(&content_type, &body) {
                    self.send(LegCommand::KeyFromSignalling { key, duration: held.into() });
                }
            }
            DialogEvent::Refer { target, replaces, responder, .. } => {
                self.referred(&target, replaces.as_ref(), responder);
            }
        }
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Leg(event) => self.take_leg(event),
            Happening::Speech(event) => self.take_speech(event),
            Happening::Prepared { id, interruptible, ready } => self.take_prepared(id, interruptible, ready),
            Happening::Http { id, outcome } => self.tell(CallInput::HttpDone { id, outcome }),
            Happening::Recorded(result) => {
                if let Err(error) = &result {
                    tracing::error!(%error, "a recording failed; the call goes on without it");
                }
                self.recorded = Some(result);
            }
            Happening::Room(notice) => self.room(notice),
            Happening::Done(id, done) => self.done(id, done),
            // Taken by the loop; one that comes later comes too late.
            Happening::Command(_) => {}
        }
    }

    fn take_leg(&mut self, event: LegEvent) {
        match event {
            LegEvent::VoiceStarted { at } if self.parts.ears.is_none() => {
                self.tell(CallInput::SpeechStarted { at });
            }
            LegEvent::VoiceEnded { at } if self.parts.ears.is_none() => {
                self.tell(CallInput::SpeechEnded { at });
            }
            LegEvent::Key { key, at, duration } => {
                self.pass_key(key);
                self.tell(CallInput::Key { key, at, duration });
            }
            LegEvent::PlayStarted { id, at } => {
                let id = PromptId(id.0);
                let length = self.on_leg.get(&id).map_or(Span::ZERO, |(length, _)| *length);
                self.tell(CallInput::PromptStarted { id, at, length });
            }
            LegEvent::PlayStopped { id, at, played, end } => {
                let id = PromptId(id.0);
                // A prompt stopped by the session is not known any more: what waits now was said after it. What may
                // not be interrupted guards all that comes behind it.
                let was_current = self.on_leg.remove(&id).is_some();
                let is_guarded = self.on_leg.values().any(|(_, interruptible)| !interruptible);
                if was_current && !is_guarded && matches!(end, ClipEnd::BargeIn | ClipEnd::Key) {
                    self.cancel_waiting(true);
                }
                self.tell(CallInput::PromptStopped { id, at, played, end: prompt_end(end) });
            }
            LegEvent::Silent { since } if self.answered.is_some_and(|answered| since >= answered) => {
                self.tell(CallInput::End(Cause::RTP_SILENCE));
            }
            LegEvent::Closed { figures, .. } => {
                self.leg_closed = Some(figures);
                // Ignored where the call is ending already, which is why legs usually close.
                self.tell(CallInput::End(Cause::MEDIA_FAILED));
            }
            LegEvent::KeysRefused => {
                tracing::warn!("keys were to be sent, but the far side takes no telephone-events");
            }
            LegEvent::Quality { figures, .. } => {
                self.publish(EventBody::Media { side: Side::Caller, figures: received(&figures) });
                self.publish(EventBody::Media { side: Side::Machine, figures: sent(&figures) });
            }
            LegEvent::Link(LinkEvent::Failed { why }) => {
                tracing::warn!(call = %self.parts.id, why, "the media of a call finds no way");
                self.tell(CallInput::End(Cause::NO_WAY));
            }
            LegEvent::Link(LinkEvent::ConsentLost) => self.tell(CallInput::End(Cause::CONSENT_LOST)),
            // A web page that is closed says goodbye here and nowhere else.
            LegEvent::Link(LinkEvent::Closed) if self.parts.dialog.is_none() => match self.parts.unanswered {
                None => self.tell(CallInput::End(Cause::CALLER_HUNG_UP)),
                Some(Unanswered::Page) => self.tell(CallInput::End(Cause::CALLER_CANCELLED)),
                Some(Unanswered::Sip { .. }) => {}
            },
            LegEvent::Link(_) => {}
            LegEvent::LinkRefused { why } => {
                tracing::warn!(call = %self.parts.id, why, "new keys of a call cannot be used; the old ones stay");
            }
            LegEvent::VoiceStarted { .. }
            | LegEvent::VoiceEnded { .. }
            | LegEvent::Locked { .. }
            | LegEvent::HearEnded { .. }
            | LegEvent::Silent { .. }
            | LegEvent::KeysSent => {}
        }
    }

    fn take_speech(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::SpeechStarted { at } => self.tell(CallInput::SpeechStarted { at }),
            StreamEvent::Partial(hypothesis) => self.tell(CallInput::Partial(hypothesis)),
            StreamEvent::Final(utterance) => self.tell(CallInput::Final(utterance)),
            StreamEvent::SpeechEnded { at, .. } => self.tell(CallInput::SpeechEnded { at }),
            StreamEvent::Failed(error) => {
                tracing::error!(%error, "the recogniser failed in mid-call");
                self.log.miss();
            }
            StreamEvent::Flushed => {}
            StreamEvent::TakenOver { engine } => {
                tracing::warn!(engine, "another recogniser has taken over; no words were lost");
            }
            StreamEvent::Thinned { on } => {
                tracing::warn!(on, "interim words are thinned out: the pool is at its limit");
            }
            StreamEvent::Closed { .. } => {
                self.ears_closed = true;
                self.tell(CallInput::End(Cause::ENGINE_FAILED));
            }
        }
    }

    fn take_prepared(&mut self, id: PromptId, interruptible: bool, ready: Result<Ready, MouthError>) {
        let discard = self.preparing.take().is_some_and(|preparing| preparing.discard);
        let stopped = match ready {
            _ if discard => Some(PromptEnd::Cancelled),
            Err(error) => {
                tracing::error!(%error, "a prompt cannot be played");
                Some(PromptEnd::Failed)
            }
            Ok(ready) => {
                self.play(id, interruptible, ready);
                None
            }
        };
        if let Some(end) = stopped {
            self.stopped_unheard(id, end);
        }
        self.prepare_next();
    }

    /// Carries out what the call asks for.
    fn obey(&mut self) {
        while let Some(effect) = self.call.poll_effect() {
            match effect {
                Effect::Notify(body) => self.publish(body),
                Effect::Say { id, prompts, interruptible } => {
                    self.waiting.push_back(Said { id, prompts, interruptible });
                    self.prepare_next();
                }
                Effect::StopSpeaking => {
                    self.cancel_waiting(false);
                    self.on_leg.clear();
                    self.send(LegCommand::Stop);
                }
                Effect::Listen { hints, endpoint, .. } => {
                    if let Some(ears) = &self.parts.ears {
                        ears.hint(hints);
                        let usual = self.parts.shared.config.recognizer.endpoint.0;
                        ears.set_endpoint(shared::endpoint(endpoint.unwrap_or(usual)));
                    }
                }
                Effect::Transfer { id, request } => self.transfer(id, request),
                Effect::SendKeys { keys } => self.press(keys),
                Effect::Http { id, request } => {
                    let inlet = self.parts.inlet.clone();
                    tokio::spawn(async move {
                        inlet.tell(Happening::Http { id, outcome: http_action::perform(request).await });
                    });
                }
                Effect::Answer => self.answer(),
                // The loop sees the cause and winds down.
                Effect::HangUp { .. } => {}
            }
        }
    }

    fn publish(&mut self, body: EventBody) {
        let at = self.now();
        self.log.write(at, body);
    }

    fn send(&mut self, command: LegCommand) {
        let Some(leg) = &self.parts.leg else { return };
        if let Err(error) = leg.send(command) {
            tracing::error!(%error, "the media plane does not take a command; the call ends");
            self.tell(CallInput::End(Cause::OVERRUN));
        }
    }

    fn prepare_next(&mut self) {
        if self.preparing.is_some() {
            return;
        }
        let mouth = Arc::clone(&self.parts.shared.mouth);
        let (rate, inlet) = (self.parts.rate, self.parts.inlet.clone());
        let (id, prompts, interruptible) = loop {
            let Some(Said { id, prompts, interruptible }) = self.waiting.pop_front() else { return };
            // What was said before needs no task and no thread.
            match mouth.at_hand(&prompts, rate) {
                Some(ready) => self.play(id, interruptible, ready),
                None => break (id, prompts, interruptible),
            }
        };
        self.preparing = Some(Preparing { interruptible, discard: false });
        tokio::spawn(async move {
            let work = tokio::task::spawn_blocking(move || mouth.prepare(&prompts, rate));
            // A voice that panics or hangs must not leave the call mute.
            let ready = match tokio::time::timeout(PREPARE, work).await {
                Ok(Ok(ready)) => ready,
                Ok(Err(_)) => Err(MouthError::Broken { what: "it panicked" }),
                Err(_) => Err(MouthError::Broken { what: "no sound came in time" }),
            };
            inlet.tell(Happening::Prepared { id, interruptible, ready });
        });
    }

    fn play(&mut self, id: PromptId, interruptible: bool, ready: Ready) {
        self.on_leg.insert(id, (ready.length, interruptible));
        let clip = Clip { id: ClipId(id.0), sound: ready.sound, interruptible, repeat: false };
        self.send(LegCommand::Play(clip));
    }

    /// Drops prompts that were not begun; with `spare`, only up to the first that may not be interrupted.
    fn cancel_waiting(&mut self, spare: bool) {
        if let Some(preparing) = &mut self.preparing {
            if spare && !preparing.interruptible {
                return;
            }
            preparing.discard = true;
        }
        while let Some(said) = self.waiting.front() {
            if spare && !said.interruptible {
                break;
            }
            let id = said.id;
            self.waiting.pop_front();
            self.stopped_unheard(id, PromptEnd::Cancelled);
        }
    }

    fn stopped_unheard(&mut self, id: PromptId, end: PromptEnd) {
        let at = self.now();
        self.tell(CallInput::PromptStopped { id, at, played: Span::ZERO, end });
    }

    /// Hangs up, lets every part say its last, closes the call.
    async fn wind_down(mut self) -> Outcome {
        let cause = self.call.cause().unwrap_or(Cause::SIGNALLING_LOST);
        self.abandon_transfer();
        self.parts.shared.switch.leave(self.parts.id);
        self.parts.shared.dialogs.leave(self.parts.id);
        if let Some(Unanswered::Sip { incoming, .. }) = self.parts.unanswered.take() {
            Refusal::of(cause).tell(*incoming, self.log.record().leg());
        }
        if let Some(dialog) = self.parts.dialog.take() {
            tokio::spawn(async move {
                if let Err(error) = dialog.hang_up(Some((16, cause.text))).await {
                    tracing::debug!(%error, "the BYE could not be sent");
                }
            });
        }
        if let Some(ears) = self.parts.ears.take() {
            ears.close();
        }
        // Dropping the handle closes the leg even where the shard's queue is full just now.
        drop(self.parts.leg.take());
        self.waiting.clear();
        let deadline = tokio::time::sleep(WIND_DOWN);
        tokio::pin!(deadline);
        while !self.is_wound_down() {
            tokio::select! {
                Some(happening) = self.parts.happenings.recv() => self.take(happening),
                mail = self.log.mail() => self.log.take(now(self.parts.epoch), mail),
                () = &mut deadline => {
                    tracing::error!(
                        leg = self.leg_closed.is_some(),
                        ears = self.ears_closed,
                        recording = self.recorded.is_some(),
                        "a call is closed although a part of it has not ended"
                    );
                    break;
                }
            }
            self.obey();
        }
        let deadline = tokio::time::sleep(LAST_WORDS);
        tokio::pin!(deadline);
        while self.log.awaits_words() {
            tokio::select! {
                mail = self.log.mail() => self.log.take(now(self.parts.epoch), mail),
                () = &mut deadline => break,
            }
        }
        self.close().await;
        Outcome { cause }
    }

    fn is_wound_down(&self) -> bool {
        let recorded = self.parts.recording.is_none() || self.recorded.is_some();
        self.leg_closed.is_some() && self.ears_closed && recorded
    }

    /// Closes the state machine; the sidecar is on disk before anybody hears of the end.
    async fn close(&mut self) {
        let figures = self.leg_closed.take().unwrap_or_default();
        let summary = self.recorded.as_ref().and_then(|result| result.as_ref().ok()).cloned();
        let recording = summary.as_ref().map(|s| (s.path.display().to_string(), s.duration));
        self.tell(CallInput::Closed { received: received(&figures), sent: sent(&figures), recording });
        while let Some(effect) = self.call.poll_effect() {
            let Effect::Notify(body) = effect else { continue };
            let at = self.now();
            if let (EventBody::CallEnded { .. }, Some(summary)) = (&body, &summary) {
                self.write_beside(at, &body, summary.clone()).await;
            }
            self.log.write(at, body);
        }
    }

    /// Writes what is known of a call that is over beside its recording: its sidecar, and what was heard of it.
    async fn write_beside(&mut self, at: MediaTime, end: &EventBody, summary: RecordingSummary) {
        let heard = self.log.conclude(at).filter(|_| self.recognised);
        let engine = self.parts.shared.recognizers.first_of(self.log.tenant());
        let engine = engine.map_or("none", |engine| engine.name());
        let kept = heard.map(|conversation| KeptWords::new(engine, conversation));
        let events = self.log.history_with(at, end);
        let written = tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = kept.map(|kept| kept.write(&summary.path)) {
                tracing::error!(%error, "the words of a call could not be kept beside its recording");
            }
            sidecar::write(&events, &summary)
        });
        if let Ok(Err(error)) = written.await {
            tracing::error!(%error, "the sidecar of a recording could not be written");
        }
    }
}

fn now(epoch: Instant) -> MediaTime {
    MediaTime::ZERO + epoch.elapsed().into()
}

async fn signal(dialog: &mut Option<Dialog>) -> DialogEvent {
    match dialog {
        Some(dialog) => dialog.next().await,
        None => std::future::pending().await,
    }
}

async fn cancelled(unanswered: &mut Option<Unanswered>) {
    match unanswered {
        Some(Unanswered::Sip { incoming, .. }) => incoming.cancelled().await,
        // A page that is gone says so by its media, or by the API.
        Some(Unanswered::Page) | None => std::future::pending().await,
    }
}

pub(crate) fn received(figures: &LegFigures) -> MediaFigures {
    MediaFigures {
        packets: figures.received,
        lost: figures.lost,
        late: figures.late,
        duplicate: figures.duplicate,
        jitter_ms: millis(figures.jitter),
        concealed_ms: figures.concealed.millis(),
        round_trip_ms: figures.round_trip.map(millis),
        mos: quality(figures.mos),
    }
}

pub(crate) fn sent(figures: &LegFigures) -> MediaFigures {
    // What became of our packets only the far side knows; RTCP tells its share of loss.
    let lost = figures.remote_loss.map_or(0, |share| (f64::from(share) * figures.sent as f64).round() as u64);
    MediaFigures {
        packets: figures.sent,
        lost,
        jitter_ms: figures.remote_jitter.map_or(0.0, millis),
        round_trip_ms: figures.round_trip.map(millis),
        mos: figures.remote_mos.and_then(quality),
        ..MediaFigures::default()
    }
}

/// Milliseconds with two places.
fn millis(span: Span) -> f64 {
    (span.secs_f64() * 1e5).round() / 100.0
}

/// A quality as people read it; none where nothing was received.
fn quality(mos: f32) -> Option<f64> {
    (mos >= 1.0).then(|| (f64::from(mos) * 100.0).round() / 100.0)
}

fn prompt_end(end: ClipEnd) -> PromptEnd {
    match end {
        ClipEnd::Completed => PromptEnd::Completed,
        ClipEnd::BargeIn => PromptEnd::BargeIn,
        ClipEnd::Key => PromptEnd::Key,
        ClipEnd::Cancelled => PromptEnd::Cancelled,
        ClipEnd::Closed => PromptEnd::HungUp,
    }
}
