//! Takes calls that come in: who they come from, where they go, and what answers them.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_engine_call::{Cause, Dialogue, Effect, Pii, SessionInput, TransferKind, TransferRequest};
use antiphon_engine_flow::{Flow, Session};
use antiphon_media_frame::{CallId, MediaTime};
use antiphon_media_sip::{IncomingCall, Peer};
use antiphon_models_speech::Language;
use tokio::sync::{mpsc, oneshot};

use crate::begin::{Begun, Joining, Line, Parties, begin};
use crate::config::Dtmf;
use crate::conversation::{Command, Happening, Leaving};
use crate::dial;
use crate::entrance::{Entrance, Impatience, OPENING, Refusal, Stopped, refuse};
use crate::line::{self, Profile};
use crate::mrcp;
use crate::patience::Patience;
use crate::quiet::Quiet;
use crate::ringing::News;
use crate::shared::Shared;
use crate::trunks::{Origin, Permit, Target};

/// A flow's session as the call sees it.
pub(crate) struct FlowDialogue(pub(crate) Session);

impl Dialogue for FlowDialogue {
    fn handle(&mut self, now: MediaTime, input: SessionInput) {
        self.0.handle(now, input);
    }

    fn handle_timeout(&mut self, now: MediaTime) {
        self.0.handle_timeout(now);
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.0.poll_effect()
    }

    fn poll_timeout(&self) -> Option<MediaTime> {
        self.0.poll_timeout()
    }
}

/// News of a called side that wait for the caller's task.
const NEWS: usize = 16;

/// Takes calls until the queue of the SIP agent closes.
pub(crate) async fn accept(shared: Arc<Shared>, mut incoming: mpsc::Receiver<IncomingCall>) {
    while let Some(call) = incoming.recv().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { take(shared, call).await });
    }
}

/// A call on its way to whatever answers it.
struct Arrival {
    origin: Origin,
    called: String,
    caller: Pii<String>,
    /// Its SIP address.
    peer: Pii<String>,
    profile: Profile,
}

/// Handles one call from its INVITE to its end.
async fn take(shared: Arc<Shared>, incoming: IncomingCall) {
    let Some(incoming) = mrcp::take(&shared, incoming).await else { return };
    if let Some(replaces) = incoming.replaces().cloned() {
        return replace(&shared, incoming, &replaces);
    }
    let origin = match incoming.peer() {
        Peer::Anonymous => Origin::Anonymous,
        Peer::Trunk(name) => Origin::Trunk(name.clone()),
        Peer::User(name) => Origin::User(name.clone()),
    };
    let called = called(&incoming);
    let profile = shared.profile(&origin);
    let from = incoming.from();
    let peer = Pii::new(format!("sip:{}@{}", from.user.expose(), from.host));
    let arrival = Arrival { origin, called, caller: from.user, peer, profile };
    tracing::info!(from = %incoming.source(), origin = arrival.origin.kind(), "a call came in");
    if let Some(supervision) = shared.supervision(&arrival.origin, &arrival.called) {
        let begun = arrival.begin(&shared, &incoming, Quiet::new(Vec::new(), false, None));
        return match supervision {
            Ok(joining) => quietly(begun, incoming, arrival, joining).await,
            Err(cause) => refuse(incoming, begun, &Refusal::of(cause)),
        };
    }
    let target = shared.router.inbound(&arrival.origin, &arrival.called, arrival.caller.expose());
    let flow = match &target {
        Target::Flow(path) => shared.flows().at(path),
        Target::DefaultFlow => Some(shared.flows().of(&arrival.called)),
        _ => None,
    };
    if let Some(flow) = flow {
        let begun = arrival.begin(&shared, &incoming, FlowDialogue(Session::new(Arc::clone(&flow))));
        return by_flow(begun, incoming, arrival, &flow).await;
    }
    let begun = arrival.begin(&shared, &incoming, Quiet::new(Vec::new(), false, None));
    match target {
        Target::Conference(name) => quietly(begun, incoming, arrival, Joining::Confer(name)).await,
        Target::User(name) => connect(begun, incoming, arrival, format!("user:{name}")).await,
        Target::Trunk(_) => {
            let called = arrival.called.clone();
            connect(begun, incoming, arrival, called).await;
        }
        Target::Reject { status } => {
            let cause = if status == 404 { Cause::NO_ROUTE } else { Cause::FORBIDDEN };
            refuse(incoming, begun, &Refusal::with(cause, status));
        }
        // A flow that left the configuration between two looks.
        Target::Flow(_) | Target::DefaultFlow => refuse(incoming, begun, &Refusal::of(Cause::NO_ROUTE)),
    }
}

impl Arrival {
    fn begin<D: Dialogue>(&self, shared: &Arc<Shared>, incoming: &IncomingCall, dialogue: D) -> Begun<D> {
        let parties = Parties {
            direction: "inbound",
            from: self.caller.clone(),
            to: Pii::new(self.called.clone()),
            ringing: shared.config.call.ringing_limit.0,
            parent: None,
            origin: self.origin.clone(),
        };
        let mut begun = begin(shared, parties, dialogue);
        line::describe(incoming, begun.log.record().leg());
        begun
    }
}

/// A flow answers.
async fn by_flow(mut begun: Begun<FlowDialogue>, incoming: IncomingCall, arrival: Arrival, flow: &Arc<Flow>) {
    begun.log.record().flow = Some(flow.name().to_owned());
    let mut variables = variables(&incoming, flow, begun.id, &arrival.called);
    if let Origin::Trunk(trunk) = &arrival.origin {
        let header = |name: &str| incoming.headers(name).next().map(str::to_owned);
        variables.extend(begun.shared.router.variables(trunk, header));
    }
    let answering =
        Answering { language: flow.language().clone(), leaving: Leaving::ByItself, joining: None, variables };
    let Some((begun, entrance, permit)) = let_in(begun, incoming, &arrival).await else { return };
    if flow.answers_itself() && arrival.profile.early && entrance.can_be_early() {
        by_itself(begun, entrance, arrival, answering).await;
    } else {
        answer(begun, entrance, arrival, answering).await;
    }
    drop(permit);
}

/// A person or several are to be heard, and nothing else.
async fn quietly(begun: Begun<Quiet>, incoming: IncomingCall, arrival: Arrival, joining: Joining) {
    let Some((begun, entrance, permit)) = let_in(begun, incoming, &arrival).await else { return };
    answer(begun, entrance, arrival, Answering::quiet(joining)).await;
    drop(permit);
}

/// Somebody else is to answer: nothing is answered before they have. What they say before that is heard (RFC 3960).
async fn connect(begun: Begun<Quiet>, incoming: IncomingCall, arrival: Arrival, to: String) {
    let Some((mut begun, mut entrance, permit)) = let_in(begun, incoming, &arrival).await else { return };
    let shared = Arc::clone(&begun.shared);
    let request = TransferRequest {
        to,
        kind: TransferKind::Bridge,
        ring: shared.config.call.ringing_limit.0,
        caller_id: Some(arrival.caller.expose().clone()),
        music: Vec::new(),
        announce: Vec::new(),
        screen: false,
    };
    let (told, mut news) = mpsc::channel(NEWS);
    let asked = dial::Asked {
        origin: arrival.origin.clone(),
        parent: begun.id,
        language: Language::english(),
        request,
        tell: Some(Arc::new(move |news| {
            // The caller's task reads them as they come; one that is too much is a repetition.
            let _ = told.try_send(news);
        })),
    };
    let (cancel, cancelled) = oneshot::channel();
    let early = arrival.profile.early && entrance.can_be_early();
    let sounded = arrival.profile.keys == Dtmf::Inband;
    let mut before = Before { early, ear: Patience::default() };
    let outcome = {
        let dialling = dial::leg(Arc::clone(&shared), asked, cancelled);
        tokio::pin!(dialling);
        loop {
            tokio::select! {
                biased;
                outcome = &mut dialling => break outcome.map_err(|outcome| Refusal::unreached(&outcome)),
                Some(news) = news.recv() => if let Err(refusal) = before.take(news, &mut begun, &mut entrance).await {
                    break Err(refusal);
                },
                did = entrance.impatience() => match did {
                    Impatience::Cancelled => break Err(Refusal::of(Cause::CALLER_CANCELLED)),
                    Impatience::Key(key) => before.ear.press(key, sounded),
                },
                Some(cause) = begun.end.recv() => break Err(Refusal::of(cause)),
            }
        }
    };
    drop(cancel);
    let other = match outcome {
        Ok(other) => other,
        Err(refusal) => return entrance.refuse(begun, &refusal),
    };
    if let Some(leg) = entrance.leg() {
        before.ear.end(&leg);
    }
    answer(begun, entrance, arrival, Answering::quiet(Joining::Bridge(other))).await;
    drop(permit);
    // Where this side could not be answered, nobody is left to speak with.
    if shared.switch.partners(other).is_empty()
        && let Some(inlet) = shared.switch.inlet(other)
    {
        inlet.tell(Happening::Command(Command::End(Cause::PARTNER_HUNG_UP)));
    }
}

/// What a caller hears before the one who is called has answered.
struct Before {
    /// The caller may be told of it by 183.
    early: bool,
    ear: Patience,
}

impl Before {
    async fn take(
        &mut self,
        news: News,
        begun: &mut Begun<Quiet>,
        entrance: &mut Entrance,
    ) -> Result<(), Refusal> {
        match news {
            News::Early(sound) if self.early => {
                if !self.ear.is_heard() {
                    entrance.agree_early(begun).await?;
                    entrance.prepare(begun, &Language::english()).await?;
                    entrance.be_heard(begun)?;
                    if let Some(early) = entrance.early() {
                        begun.note(early);
                    }
                }
                if let Some((leg, rate)) = entrance.line() {
                    self.ear.sound(&sound, &leg, rate);
                }
                Ok(())
            }
            // Whoever hears us already no longer rings by itself.
            News::Quiet => {
                if let Some(leg) = entrance.leg() {
                    self.ear.quiet(&leg);
                }
                Ok(())
            }
            News::Ringing | News::Early(_) if !self.ear.is_heard() => entrance.ring(begun),
            _ => Ok(()),
        }
    }
}

/// A call that takes the place of another (RFC 3891): that call's own task answers it.
fn replace(shared: &Arc<Shared>, incoming: IncomingCall, replaces: &antiphon_media_sip::Replaces) {
    let found = shared.dialogs.find(replaces).and_then(|call| shared.switch.inlet(call));
    match found {
        Some(inlet) => inlet.tell(Happening::Command(Command::Replace(Box::new(incoming)))),
        None => {
            if let Err(error) = incoming.reject(481, "", "there is no such call to replace") {
                tracing::debug!(%error, "a call could not be refused");
            }
        }
    }
}

/// What answers, and what follows.
struct Answering {
    language: Language,
    leaving: Leaving,
    joining: Option<Joining>,
    variables: BTreeMap<String, String>,
}

impl Answering {
    fn quiet(joining: Joining) -> Self {
        Self {
            language: Language::english(),
            leaving: Leaving::WithPartner,
            joining: Some(joining),
            variables: BTreeMap::new(),
        }
    }
}

/// Lets a call in where there is room for it and its media can be agreed on; refuses it otherwise.
async fn let_in<D: Dialogue>(
    begun: Begun<D>,
    incoming: IncomingCall,
    arrival: &Arrival,
) -> Option<(Begun<D>, Entrance, Option<Permit>)> {
    let entered = match admit(&begun.shared, arrival) {
        Ok(permit) => {
            let entrance = Entrance::open(&begun.shared, incoming, &arrival.profile).await;
            entrance.map(|entrance| (entrance, permit))
        }
        Err(refusal) => Err(Stopped::Refused(Box::new(incoming), refusal)),
    };
    match entered {
        Ok((entrance, permit)) => Some((begun, entrance, permit)),
        Err(stopped) => {
            stopped.end(begun);
            None
        }
    }
}

/// Answers a call and runs it to its end.
async fn answer<D: Dialogue>(
    mut begun: Begun<D>,
    mut entrance: Entrance,
    arrival: Arrival,
    answering: Answering,
) {
    if entrance.leg().is_none() {
        if let Err(refusal) = entrance.ring(&mut begun) {
            return entrance.refuse(begun, &refusal);
        }
        if let Err(refusal) = entrance.prepare(&mut begun, &answering.language).await {
            return entrance.refuse(begun, &refusal);
        }
    }
    let (dialog, media, setup) = match entrance.answer(&mut begun, &answering.language).await {
        Ok(answered) => answered,
        Err(stopped) => return stopped.end(begun),
    };
    tokio::time::sleep(OPENING).await;
    let line = Line {
        origin: arrival.origin,
        language: answering.language,
        peer: arrival.peer,
        leaving: answering.leaving,
        joining: answering.joining,
        dialog: Some(dialog),
        unanswered: None,
        media,
        setup,
        variables: answering.variables,
        keys: arrival.profile.keys,
    };
    run(begun, line).await;
}

/// Runs a call whose own dialogue says when it is answered: until then it is heard early.
async fn by_itself<D: Dialogue>(
    mut begun: Begun<D>,
    mut entrance: Entrance,
    arrival: Arrival,
    answering: Answering,
) {
    let heard = async {
        entrance.agree_early(&mut begun).await?;
        entrance.prepare(&mut begun, &answering.language).await?;
        entrance.be_heard(&mut begun)
    };
    if let Err(refusal) = heard.await {
        return entrance.refuse(begun, &refusal);
    }
    if entrance.leg().is_none() {
        // A caller who offered nothing and does not say what he takes before the answer.
        return answer(begun, entrance, arrival, answering).await;
    }
    tokio::time::sleep(OPENING).await;
    let Some((unanswered, media, setup)) = entrance.into_unanswered(&begun.shared) else {
        // Prepared just above.
        return begun.finish(Cause::MEDIA_FAILED);
    };
    let line = Line {
        origin: arrival.origin,
        language: answering.language,
        peer: arrival.peer,
        leaving: answering.leaving,
        joining: answering.joining,
        dialog: None,
        unanswered: Some(unanswered),
        media,
        setup,
        variables: answering.variables,
        keys: arrival.profile.keys,
    };
    run(begun, line).await;
}

async fn run<D: Dialogue>(begun: Begun<D>, line: Line) {
    let id = begun.id;
    let outcome = begun.converse(line).await;
    tracing::info!(call = %id, cause = outcome.cause.code, "the call is over");
}

/// Whether there is room for one call more.
fn admit(shared: &Shared, arrival: &Arrival) -> Result<Option<Permit>, Refusal> {
    // This call is counted already.
    if shared.calls.active() > shared.config.call.concurrent {
        return Err(Refusal::of(Cause::BUSY));
    }
    if shared.calls.stopping() {
        return Err(Refusal::of(Cause::SHUTDOWN));
    }
    let Origin::Trunk(trunk) = &arrival.origin else { return Ok(None) };
    match shared.router.admit(trunk, std::time::Instant::now()) {
        Some(Ok(permit)) => Ok(Some(permit)),
        Some(Err(error)) => Err(Refusal::limited(&error)),
        None => Ok(None),
    }
}

/// What was called: the user of the Request-URI, which is where the call was really sent to, else that of the To header.
pub(crate) fn called(incoming: &IncomingCall) -> String {
    let uri = incoming.request_uri();
    let rest = uri.expose().split_once(':').map_or("", |(_, rest)| rest);
    match rest.split_once('@').map(|(user, _)| user.split([';', ':']).next().unwrap_or_default()) {
        Some(user) if !user.is_empty() => user.to_owned(),
        _ => incoming.to().user.into_inner(),
    }
}

fn variables(incoming: &IncomingCall, flow: &Flow, id: CallId, called: &str) -> BTreeMap<String, String> {
    let from = incoming.from();
    let name = from.display_name.map(Pii::into_inner).unwrap_or_default();
    BTreeMap::from([
        ("caller".to_owned(), from.user.into_inner()),
        ("caller_name".to_owned(), name),
        ("called".to_owned(), called.to_owned()),
        ("call_id".to_owned(), id.to_string()),
        ("sip_call_id".to_owned(), incoming.call_id().to_owned()),
        ("flow".to_owned(), flow.name().to_owned()),
        ("today".to_owned(), jiff::Zoned::now().date().to_string()),
    ])
}
