//! Takes calls that come in: who they come from, where they go, and what answers them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{
    Cause, Dialogue, Effect, Pii, SessionInput, TransferKind, TransferOutcome, TransferRequest,
};
use antiphon_engine_flow::{Flow, Session};
use antiphon_media_frame::{CallId, MediaTime};
use antiphon_media_plane::SocketPair;
use antiphon_media_sip::sdp::{self, LocalMedia, Negotiated, Offer, SdpError};
use antiphon_media_sip::{Dialog, DialogEvent, IncomingCall, Peer, SipError};
use antiphon_models_speech::Language;
use tokio::sync::{mpsc, oneshot};

use crate::begin::{Begun, Joining, Line, Parties, begin};
use crate::conversation::{Command, Happening, Leaving};
use crate::dial;
use crate::line::{self, Profile};
use crate::quiet::Quiet;
use crate::renegotiate::{self, Media};
use crate::setup::{Place, SetupError, set_up};
use crate::shared::Shared;
use crate::trunks::{LimitError, Origin, Target};

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

/// From our 200 to the first word: telephones open their ears when they have read the answer, and some lose what comes
/// with it.
pub(crate) const OPENING: Duration = Duration::from_millis(100);
/// How long the ACK of a delayed offer may take: as long as the 200 is repeated (RFC 3261 section 13.3.1.4).
const LATE_ANSWER: Duration = Duration::from_secs(32);

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
    profile: Profile,
}

/// Handles one call from its INVITE to its end.
async fn take(shared: Arc<Shared>, incoming: IncomingCall) {
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
    let arrival = Arrival { origin, called, caller: incoming.from().user, profile };
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
            refuse(incoming, begun, &Refusal { cause, status, warning: cause.text.to_owned() });
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
    answer(begun, incoming, arrival, answering).await;
}

/// A person or several are to be heard, and nothing else.
async fn quietly(begun: Begun<Quiet>, incoming: IncomingCall, arrival: Arrival, joining: Joining) {
    let answering = Answering {
        language: Language::english(),
        leaving: Leaving::WithPartner,
        joining: Some(joining),
        variables: BTreeMap::new(),
    };
    answer(begun, incoming, arrival, answering).await;
}

/// Somebody else is to answer: nothing is answered before they have.
async fn connect(mut begun: Begun<Quiet>, mut incoming: IncomingCall, arrival: Arrival, to: String) {
    if incoming.ring().is_err() {
        return refuse(incoming, begun, &Refusal::of(Cause::CALLER_CANCELLED));
    }
    begun.rings();
    let (cancel, cancelled) = oneshot::channel();
    let request = TransferRequest {
        to,
        kind: TransferKind::Bridge,
        ring: begun.shared.config.call.ringing_limit.0,
        caller_id: Some(arrival.caller.expose().clone()),
        music: Vec::new(),
        announce: Vec::new(),
        screen: false,
    };
    let asked = dial::Asked {
        origin: arrival.origin.clone(),
        parent: begun.id,
        language: Language::english(),
        request,
    };
    let dialling = dial::leg(Arc::clone(&begun.shared), asked, cancelled);
    let outcome = tokio::select! {
        outcome = dialling => outcome,
        () = incoming.cancelled() => {
            drop(cancel);
            return refuse(incoming, begun, &Refusal::of(Cause::CALLER_CANCELLED));
        }
        Some(cause) = begun.end.recv() => {
            drop(cancel);
            return refuse(incoming, begun, &Refusal::of(cause));
        }
    };
    match outcome {
        Ok(other) => {
            let shared = Arc::clone(&begun.shared);
            quietly(begun, incoming, arrival, Joining::Bridge(other)).await;
            // Where this side could not be answered, nobody is left to speak with.
            if shared.switch.partners(other).is_empty()
                && let Some(inlet) = shared.switch.inlet(other)
            {
                inlet.tell(Happening::Command(Command::End(Cause::PARTNER_HUNG_UP)));
            }
        }
        Err(outcome) => refuse(incoming, begun, &Refusal::unreached(&outcome)),
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

/// Answers a call and runs it to its end.
async fn answer<D: Dialogue>(
    mut begun: Begun<D>,
    mut incoming: IncomingCall,
    arrival: Arrival,
    answering: Answering,
) {
    let shared = Arc::clone(&begun.shared);
    let permit = match admit(&shared, &arrival) {
        Ok(permit) => permit,
        Err(refusal) => return refuse(incoming, begun, &refusal),
    };
    let negotiated = match negotiate(&shared, &incoming, &arrival.profile) {
        Ok(negotiated) => negotiated,
        Err(refusal) => return refuse(incoming, begun, &refusal),
    };
    if incoming.ring().is_err() {
        return refuse(incoming, begun, &Refusal::of(Cause::CALLER_CANCELLED));
    }
    begun.rings();
    let from = incoming.from();
    let peer = Pii::new(format!("sip:{}@{}", from.user.expose(), from.host));
    let Negotiating { answer, agreed, local, pair } = negotiated;
    let answered = match agreed {
        Some(agreed) => {
            let ready =
                get_ready(&mut begun, &mut incoming, &agreed, &local, pair, &answering.language).await;
            let setup = match ready {
                Ok(setup) => setup,
                Err(refusal) => return refuse(incoming, begun, &refusal),
            };
            match incoming.answer(&answer) {
                Ok(dialog) => Ok((dialog, agreed, setup)),
                Err(error) => {
                    drop(setup);
                    Err(error)
                }
            }
        }
        None => match late(&mut begun, incoming, &answer, &local, pair, &answering.language).await {
            Ok(answered) => Ok(answered),
            Err(Late::Sip(error)) => Err(error),
            Err(Late::Cause(cause)) => return begun.finish(cause),
        },
    };
    let (dialog, agreed, setup) = match answered {
        Ok(answered) => answered,
        Err(error) => {
            discard(begun.recording.clone());
            if matches!(error, SipError::Over) {
                return begun.finish(Cause::CALLER_CANCELLED);
            }
            tracing::warn!(call = %begun.id, %error, "a call could not be answered");
            return begun.finish(Cause::SIGNALLING_LOST);
        }
    };
    tokio::time::sleep(OPENING).await;
    let id = begun.id;
    let line = Line {
        origin: arrival.origin,
        language: answering.language,
        peer,
        leaving: answering.leaving,
        joining: answering.joining,
        dialog: Some(dialog),
        media: Media::new(local, agreed, Arc::clone(&shared.identity)),
        setup,
        variables: answering.variables,
        inband_keys: arrival.profile.inband_keys,
    };
    let outcome = begun.converse(line).await;
    drop(permit);
    tracing::info!(call = %id, cause = outcome.cause.code, "the call is over");
}

/// Whether there is room for one call more.
fn admit(shared: &Shared, arrival: &Arrival) -> Result<Option<crate::trunks::Permit>, Refusal> {
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

/// Opens ears, recording and leg while it rings.
async fn get_ready<D: Dialogue>(
    begun: &mut Begun<D>,
    incoming: &mut IncomingCall,
    agreed: &Negotiated,
    local: &LocalMedia,
    pair: SocketPair,
    language: &Language,
) -> Result<crate::setup::Setup, Refusal> {
    let place = Place {
        id: begun.id,
        agreed: agreed.clone(),
        local: local.clone(),
        language: language.clone(),
        recording: begun.recording.clone(),
        listener: None,
    };
    let limit = tokio::time::sleep(begun.shared.config.call.ringing_limit.0);
    tokio::select! {
        ready = set_up(&begun.shared, place, pair, begun.epoch) => ready.map_err(|error| Refusal::failed(&error)),
        () = incoming.cancelled() => Err(Refusal::of(Cause::CALLER_CANCELLED)),
        () = limit => Err(Refusal::of(Cause::RINGING_TOO_LONG)),
        Some(cause) = begun.end.recv() => Err(Refusal::of(cause)),
    }
}

enum Late {
    Sip(SipError),
    Cause(&'static Cause),
}

/// Answers an INVITE without an offer: ours goes with the 200, and media starts with the answer in the ACK.
async fn late<D: Dialogue>(
    begun: &mut Begun<D>,
    incoming: IncomingCall,
    offer: &str,
    local: &LocalMedia,
    pair: SocketPair,
    language: &Language,
) -> Result<(Dialog, Negotiated, crate::setup::Setup), Late> {
    let mut dialog = incoming.answer(offer).map_err(Late::Sip)?;
    let answer = tokio::time::timeout(LATE_ANSWER, async {
        loop {
            match dialog.next().await {
                DialogEvent::Answer { sdp } => return Ok(sdp),
                DialogEvent::Bye { .. } => return Err(Cause::CALLER_HUNG_UP),
                DialogEvent::Lost | DialogEvent::Expired => return Err(Cause::SIGNALLING_LOST),
                // Unanswered, what it asks for is refused.
                _ => {}
            }
        }
    });
    // Dropping the dialog hangs up.
    let answer = answer.await.unwrap_or(Err(Cause::SDP_MISSING)).map_err(Late::Cause)?;
    let agreed = sdp::accept_answer(local, &answer).map_err(|error| {
        tracing::info!(%error, "the late answer of a call cannot be used");
        Late::Cause(Cause::SDP_UNSUPPORTED)
    })?;
    let place = Place {
        id: begun.id,
        agreed: agreed.clone(),
        local: local.clone(),
        language: language.clone(),
        recording: begun.recording.clone(),
        listener: None,
    };
    let setup = set_up(&begun.shared, place, pair, begun.epoch).await.map_err(|error| {
        tracing::error!(%error, "a call could not be set up");
        Late::Cause(error.cause())
    })?;
    Ok((dialog, agreed, setup))
}

/// Removes the recording of a call that was never answered, once its writer has closed it.
pub(crate) fn discard(recording: Option<std::path::PathBuf>) {
    if let Some(path) = recording {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            // It may never have been created.
            let _ = std::fs::remove_file(path);
        });
    }
}

struct Negotiating {
    /// Our answer, or our offer where there was none.
    answer: String,
    /// Nothing yet where ours is the offer.
    agreed: Option<Negotiated>,
    local: LocalMedia,
    pair: SocketPair,
}

/// Why a call is not answered: the cause, and words for the far side.
struct Refusal {
    cause: &'static Cause,
    status: u16,
    warning: String,
}

impl Refusal {
    fn of(cause: &'static Cause) -> Self {
        // Causes of answered calls have no status; ended before the answer, the call is temporarily unavailable.
        let status = if cause.sip_status == 0 { 480 } else { cause.sip_status };
        Self { cause, status, warning: cause.text.to_owned() }
    }

    fn failed(error: &SetupError) -> Self {
        tracing::error!(%error, "a call could not be set up");
        Self::of(error.cause())
    }

    fn limited(error: &LimitError) -> Self {
        Self { warning: error.to_string(), ..Self::of(Cause::BUSY) }
    }

    /// Whoever was to answer did not.
    fn unreached(outcome: &TransferOutcome) -> Self {
        let (cause, status) = cause_of(outcome);
        Self { cause, status, warning: cause.text.to_owned() }
    }
}

/// What ends the call of someone whose target was not reached, and the SIP status that says so.
pub(crate) fn cause_of(outcome: &TransferOutcome) -> (&'static Cause, u16) {
    match outcome {
        TransferOutcome::Busy => (Cause::REFUSED_BY_PEER, 486),
        TransferOutcome::Declined => (Cause::REFUSED_BY_PEER, 603),
        TransferOutcome::NoAnswer | TransferOutcome::Voicemail | TransferOutcome::Completed => {
            (Cause::NO_ANSWER, 480)
        }
        TransferOutcome::Forbidden => (Cause::FORBIDDEN, 403),
        TransferOutcome::Failed { status: 404, .. } => (Cause::NO_ROUTE, 404),
        TransferOutcome::Failed { status: 503, .. } => (Cause::UNREACHABLE, 503),
        TransferOutcome::Failed { .. } => (Cause::UNREACHABLE, 480),
    }
}

impl From<SdpError> for Refusal {
    fn from(error: SdpError) -> Self {
        let cause = match &error {
            SdpError::Malformed { .. } | SdpError::TooLarge { .. } => Cause::SDP_INVALID,
            SdpError::NoCommonCodec | SdpError::PacketTime { .. } => Cause::CODEC_MISMATCH,
            _ => Cause::SDP_UNSUPPORTED,
        };
        Self { cause, status: error.status(), warning: error.to_string() }
    }
}

fn negotiate(shared: &Shared, incoming: &IncomingCall, profile: &Profile) -> Result<Negotiating, Refusal> {
    let offer = incoming.offer().map(Offer::parse).transpose()?;
    let address = shared.media_address(incoming.source()).map_err(|error| {
        tracing::error!(%error, "no media address for a call");
        Refusal::of(Cause::NO_PORTS)
    })?;
    let draft = shared.media(SocketAddr::new(address, 9), profile);
    // The offer is judged before a port is taken for it.
    if let Some(offer) = &offer {
        renegotiate::answer(offer, &draft)?;
    }
    let bind = shared.config.sip.listen.ip();
    let pair = shared.ports.bind(bind).map_err(|error| {
        tracing::error!(%error, "no RTP port for a call");
        Refusal::of(Cause::NO_PORTS)
    })?;
    let port = pair.address().map_err(|_| Refusal::of(Cause::NO_PORTS))?.port();
    let local = shared.media(SocketAddr::new(address, port), profile);
    Ok(match offer {
        Some(offer) => {
            let (answer, agreed) = renegotiate::answer(&offer, &local)?;
            Negotiating { answer, agreed: Some(agreed), local, pair }
        }
        None => Negotiating { answer: sdp::offer(&local), agreed: None, local, pair },
    })
}

/// What was called: the user of the Request-URI, which is where the call was really sent to, else that of the To header.
fn called(incoming: &IncomingCall) -> String {
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

fn refuse<D: Dialogue>(incoming: IncomingCall, mut begun: Begun<D>, refusal: &Refusal) {
    // Where the caller gave up there is nobody to refuse.
    if refusal.cause != Cause::CALLER_CANCELLED {
        begun.log.record().leg().sip_status = Some(refusal.status);
        if let Err(error) = incoming.reject(refusal.status, "", &refusal.warning) {
            tracing::debug!(%error, "a call could not be refused");
        }
    }
    tracing::info!(cause = refusal.cause.code, "a call was not answered");
    begun.finish(refusal.cause);
}
