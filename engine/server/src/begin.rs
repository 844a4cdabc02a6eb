//! The beginning of every call, whoever places it: its name, its log, its state machine, and the way into its
//! conversation.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_engine_call::{Call, CallInput, Cause, Dialogue, Effect, Hearing, Limits, MediaFigures, Pii};
use antiphon_media_frame::{CallId, MediaTime, Span};
use antiphon_media_plane::LegCommand;
use antiphon_media_sip::Dialog;
use antiphon_models_pool::{Ask, Class};
use antiphon_models_speech::Language;
use jiff::SignedDuration;
use tokio::sync::mpsc;

use crate::assist::{About, Desk};
use crate::calls::{EventLog, Standing};
use crate::cdr::{Attempts, Direction};
use crate::config::Dtmf;
use crate::conversation::{Conversation, Leaving, Outcome, Parts};
use crate::dial::Teller;
use crate::entrance::Unanswered;
use crate::qa::live::Live;
use crate::renegotiate::Media;
use crate::ringing::News;
use crate::setup::Setup;
use crate::shared::{Shared, new_call_id};
use crate::switch::Mode;
use crate::trunks::Origin;
use crate::wording::Wording;

/// A call that is not answered yet.
pub(crate) struct Begun<D> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: CallId,
    pub(crate) epoch: Instant,
    pub(crate) call: Call<D>,
    pub(crate) log: EventLog,
    /// What ends it from outside.
    pub(crate) end: mpsc::Receiver<&'static Cause>,
    /// Where its recording goes, if it is recorded.
    pub(crate) recording: Option<PathBuf>,
}

/// Who calls whom.
pub(crate) struct Parties {
    pub(crate) direction: &'static str,
    pub(crate) from: Pii<String>,
    pub(crate) to: Pii<String>,
    /// How long it may ring.
    pub(crate) ringing: Duration,
    /// The call for whose sake this one is.
    pub(crate) parent: Option<CallId>,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// What an answered call does first.
#[derive(Clone, Debug)]
pub(crate) enum Joining {
    /// It is joined with another.
    Bridge(CallId),
    /// It enters a conference.
    Confer(String),
    /// It supervises another.
    Supervise { target: CallId, mode: Mode, hearing: Hearing },
    /// It ends others, and itself.
    End(Vec<CallId>),
}

/// What a call has once it is answered.
pub(crate) struct Line {
    pub(crate) origin: Origin,
    pub(crate) language: Language,
    /// The far side's SIP address; empty where there is none.
    pub(crate) peer: Pii<String>,
    pub(crate) leaving: Leaving,
    pub(crate) joining: Option<Joining>,
    /// Nothing where the call did not come by SIP, or is not answered.
    pub(crate) dialog: Option<Dialog>,
    /// Its dialogue is heard and says when it is answered.
    pub(crate) unanswered: Option<Unanswered>,
    pub(crate) media: Media,
    pub(crate) setup: Setup,
    /// Variables for the dialogue.
    pub(crate) variables: BTreeMap<String, String>,
    /// How keys travel.
    pub(crate) keys: Dtmf,
}

/// Begins a call and tells those who watch.
pub(crate) fn begin<D: Dialogue>(shared: &Arc<Shared>, parties: Parties, dialogue: D) -> Begun<D> {
    let epoch = Instant::now();
    let id = new_call_id();
    let (end_sender, end) = mpsc::channel(4);
    let config = &shared.config.call;
    let recording = config.record.then(|| shared.recording_path(id));
    let events = recording.as_ref().map(|path| path.with_extension("events.jsonl"));
    let Parties { direction, from, to, ringing, parent, origin } = parties;
    let started = jiff::Timestamp::now().to_string();
    let mut log = shared.calls.begin(id, direction, started, events.as_deref(), end_sender);
    let (user, inbound) = (matches!(origin, Origin::User(_)), direction == "inbound");
    shared.calls.stand(id, Standing { epoch, parent, user, inbound });
    let record = log.record();
    record.parent = parent.map(|parent| parent.to_string());
    match origin {
        Origin::Trunk(name) => record.trunk = Some(name),
        Origin::User(name) => record.user = Some(name),
        Origin::Anonymous | Origin::Api => {}
    }
    let (trunk, user) = (record.trunk.clone(), record.user.clone());
    let leg = record.leg();
    (leg.trunk, leg.user) = (trunk, user);
    let limits = Limits { ringing: Span::from(ringing), longest: config.longest.span() };
    let mut call = Call::new(dialogue, limits, MediaTime::ZERO);
    call.handle(MediaTime::ZERO, CallInput::Offered { from, to, direction });
    let mut begun = Begun { shared: Arc::clone(shared), id, epoch, call, log, end, recording };
    begun.drain();
    begun
}

impl<D: Dialogue> Begun<D> {
    /// The far side hears that it rings.
    pub(crate) fn rings(&mut self) {
        let now = self.now();
        let record = self.log.record();
        let at = record.wall(now);
        record.leg().ring(at);
    }

    /// Whose streams of the recogniser pool its sides are, and how urgent: calls that we place of ourselves yield to
    /// callers.
    pub(crate) fn ask(&mut self) -> Ask {
        let config = &self.shared.config;
        let record = self.log.record();
        let placed = record.direction == Direction::Outbound && record.parent.is_none();
        let trunk =
            record.trunk.as_ref().and_then(|name| config.trunks.iter().find(|trunk| trunk.name == *name));
        let token =
            record.token.as_ref().and_then(|name| config.tokens.iter().find(|token| token.name == *name));
        let tenant = trunk
            .and_then(|trunk| trunk.tenant.clone())
            .or_else(|| token.and_then(|token| token.tenant.clone()));
        Ask {
            class: if placed { Class::Outbound } else { Class::Live },
            tenant: tenant.unwrap_or_default().into(),
        }
    }

    /// What collects the legs of a call on its way out.
    pub(crate) fn attempts(&mut self) -> Attempts {
        let (epoch, offered_at) = (self.epoch, self.log.record().offered_at);
        // A call lasts nowhere near the 292 years that would not fit.
        Attempts::new(move || offered_at + SignedDuration::try_from(epoch.elapsed()).unwrap_or_default())
    }

    /// Takes what happened before the answer.
    pub(crate) fn note(&mut self, input: CallInput) {
        let now = self.now();
        self.call.handle(now, input);
        self.drain();
    }

    /// Takes news of the one who is called, and passes them on.
    pub(crate) fn tell(&mut self, news: News, tell: Option<&Teller>) {
        match &news {
            News::Ringing => self.note(CallInput::Ringing),
            News::Early(sound) => self.note(CallInput::Early {
                codec: sound.codec.to_owned(),
                sample_rate_hz: sound.rate.hz(),
                security: sound.security,
                variables: None,
            }),
            News::Refused { host, status, reason } => {
                let (host, reason) = (host.clone(), reason.clone());
                self.note(CallInput::Refused { host, status: *status, reason });
            }
            News::Redirected { host, status, to, results } => {
                let (host, status, results) = (host.clone(), *status, results.clone());
                let to = Pii::new(to.iter().map(|contact| contact.expose().clone()).collect());
                self.note(CallInput::Redirected { host, status, to, results });
            }
            News::Quiet => {}
        }
        if let Some(tell) = tell {
            tell(news);
        }
    }

    /// Ends the call, which was never answered.
    pub(crate) fn finish(mut self, cause: &'static Cause) {
        let now = self.now();
        self.call.handle(now, CallInput::End(cause));
        let none = MediaFigures::default();
        self.call.handle(now, CallInput::Closed { received: none, sent: none, recording: None });
        self.drain();
    }

    /// What the agents of this call are helped with; none where it is itself an agent's.
    fn desk(&mut self, tenant: &Arc<str>, language: &Language) -> Option<Arc<Desk>> {
        let record = self.log.record();
        if record.parent.is_some() {
            return None;
        }
        let (trunk, flow) = (record.trunk.as_deref(), record.flow.as_deref());
        let about = About { trunk, flow, tenant, language };
        let profile = self.shared.assist.of(&about)?;
        let file = self.recording.as_ref().map(|path| path.with_extension("assist.jsonl"));
        Some(Desk::open(self.id, profile, Arc::clone(tenant), self.epoch, file, &self.shared.calls))
    }

    /// Runs the answered call to its end.
    pub(crate) async fn converse(mut self, line: Line) -> Outcome {
        let tenant = self.ask().tenant;
        let style = self.shared.config.style(&tenant);
        let desk = self.desk(&tenant, &line.language);
        if !self.shared.scorecards.is_empty() || desk.is_some() || self.recording.is_some() {
            let mut live = Live::new(&self.shared.scorecards, self.id.to_string(), line.language.clone());
            // A call that was placed for another's sake is that one's agent or supervisor.
            if self.shared.config.qa.supervisor.is_some() && self.log.record().parent.is_none() {
                live.supervise();
            }
            if let Some(desk) = desk {
                self.shared.calls.seat(self.id, &desk);
                live.assist(desk);
            }
            live.know_variables(&line.variables);
            self.log.inspect(live, tenant.to_string());
        }
        if let Origin::User(user) = &line.origin {
            self.log.is_of(user);
        }
        if !style.is_idle() {
            match Wording::new(&line.language, &style) {
                Ok(wording) => self.log.word(wording),
                // The configuration was checked; a call that could tell what is to be hidden is not taken.
                Err(error) => {
                    tracing::error!(call = %self.id, %error, "a call's words cannot be hidden");
                    let cause = Cause::ENGINE_FAILED;
                    self.finish(cause);
                    return Outcome { cause };
                }
            }
        }
        let Line { origin, language, peer, leaving, joining, dialog, unanswered, media, .. } = line;
        let Setup { leg, ears, rate, inlet, happenings } = line.setup;
        if line.keys == Dtmf::Inband
            && let Err(error) = leg.send(LegCommand::InbandKeys(true))
        {
            tracing::warn!(call = %self.id, %error, "keys as tones will not be heard");
        }
        let parts = Parts {
            shared: self.shared,
            id: self.id,
            origin,
            language,
            peer,
            leaving,
            joining,
            dialog,
            unanswered,
            media,
            keys: line.keys,
            leg: Some(leg),
            ears,
            rate,
            epoch: self.epoch,
            inlet,
            happenings,
            end: self.end,
            recording: self.recording,
        };
        Conversation::new(self.call, self.log, parts).run(line.variables).await
    }

    fn now(&self) -> MediaTime {
        MediaTime::ZERO + self.epoch.elapsed().into()
    }

    /// Publishes what an unanswered call has to say; it asks for nothing else that could be done.
    fn drain(&mut self) {
        while let Some(effect) = self.call.poll_effect() {
            if let Effect::Notify(body) = effect {
                let now = self.now();
                self.log.write(now, body);
            }
        }
    }
}
