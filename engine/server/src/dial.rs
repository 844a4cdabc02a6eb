//! Calls somebody from the running server: the target of a transfer, a user's telephones, a number over a trunk.
//!
//! A user's telephones ring all at once and the first who answers has the call; the hosts of a trunk are tried one after
//! another.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_engine_call::{Cause, Dialogue, Pii, TransferOutcome, TransferRequest};
use antiphon_media_frame::CallId;
use antiphon_media_plane::SocketPair;
use antiphon_media_sip::sdp::{self, LocalMedia, Negotiated};
use antiphon_media_sip::{Dialog, OutgoingCall, OutgoingEvent};
use antiphon_models_speech::Language;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use crate::begin::{Begun, Line, Parties, begin};
use crate::cdr::{Attempt, Attempts};
use crate::conversation::Leaving;
use crate::line::{Plan, Target};
use crate::quiet::{Picked, Quiet};
use crate::renegotiate::Media;
use crate::setup::{Place, set_up};
use crate::shared::Shared;
use crate::trunks::{Dialling, Origin};

/// How long the one who picked up may be spoken to before the two are joined.
const LONGEST_ANNOUNCEMENT: Duration = Duration::from_secs(60);

/// Somebody who is to be joined with a caller.
pub(crate) struct Asked {
    /// On whose behalf: what may be dialled.
    pub(crate) origin: Origin,
    /// The call for whose sake this one is.
    pub(crate) parent: CallId,
    /// What is spoken.
    pub(crate) language: Language,
    pub(crate) request: TransferRequest,
}

/// A call to be placed.
pub(crate) struct Ticket<D> {
    pub(crate) plan: Plan,
    pub(crate) from: Pii<String>,
    pub(crate) to: Pii<String>,
    pub(crate) ring: Duration,
    pub(crate) parent: Option<CallId>,
    /// The token that places it over the API.
    pub(crate) token: Option<String>,
    /// The flow that speaks with whoever answers.
    pub(crate) flow: Option<String>,
    pub(crate) language: Language,
    pub(crate) leaving: Leaving,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) dialogue: D,
}

/// Calls the target and returns its call once the two can be joined. Dropping the other end of `cancelled` gives up.
pub(crate) async fn leg(
    shared: Arc<Shared>,
    asked: Asked,
    mut cancelled: oneshot::Receiver<()>,
) -> Result<CallId, TransferOutcome> {
    let Asked { origin, parent, language, request } = asked;
    let plan = shared.plan(&origin, &request.to, request.caller_id.as_deref())?;
    let (ready, picked) = oneshot::channel();
    let ticket = Ticket {
        from: Pii::new(request.caller_id.clone().unwrap_or_default()),
        to: Pii::new(request.to.clone()),
        ring: request.ring,
        parent: Some(parent),
        token: None,
        flow: None,
        language,
        leaving: Leaving::WithPartner,
        variables: BTreeMap::new(),
        dialogue: Quiet::new(request.announce, request.screen, Some(ready)),
        plan,
    };
    let (placing, answered) = place(&shared, ticket);
    let id = placing.id();
    tokio::spawn(placing.run());
    let mut wanted = Wanted { shared, id: Some(id) };
    let outcome = tokio::select! {
        outcome = answered => outcome.unwrap_or(Err(failed("the call could not be placed"))),
        // It ends by itself; nobody is told.
        _ = &mut cancelled => return Err(TransferOutcome::NoAnswer),
    };
    outcome?;
    let picked = tokio::select! {
        picked = tokio::time::timeout(LONGEST_ANNOUNCEMENT, picked) => picked,
        _ = &mut cancelled => return Err(TransferOutcome::NoAnswer),
    };
    match picked {
        Ok(Ok(Picked::Person)) => {
            wanted.id = None;
            Ok(id)
        }
        Ok(Ok(Picked::Machine)) => Err(TransferOutcome::Voicemail),
        // It hung up while it was spoken to.
        Ok(Err(_)) => Err(TransferOutcome::Declined),
        Err(_) => Err(failed("the announcement did not end")),
    }
}

/// A call that somebody waits for: it ends when nobody does any more, also where the wait itself is dropped.
struct Wanted {
    shared: Arc<Shared>,
    /// Nothing once whoever waited has it.
    id: Option<CallId>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // It may be over already.
            let _ = self.shared.calls.end(id, Cause::CALLER_CANCELLED);
        }
    }
}

/// A call that is about to be placed.
pub(crate) struct Placing<D> {
    begun: Begun<D>,
    plan: Plan,
    ring: Duration,
    language: Language,
    leaving: Leaving,
    variables: BTreeMap<String, String>,
    answered: oneshot::Sender<Result<(), TransferOutcome>>,
}

/// Begins a call; the receiver hears whether it was answered.
pub(crate) fn place<D: Dialogue + Send + 'static>(
    shared: &Arc<Shared>,
    ticket: Ticket<D>,
) -> (Placing<D>, oneshot::Receiver<Result<(), TransferOutcome>>) {
    let Ticket { plan, from, to, ring, parent, token, flow, language, leaving, variables, dialogue } = ticket;
    let ringing = ring + Duration::from_secs(5);
    let parties = Parties { direction: "outbound", from, to, ringing, parent, origin: Origin::Api };
    let mut begun = begin(shared, parties, dialogue);
    let record = begun.log.record();
    (record.token, record.flow) = (token, flow);
    let (answered, told) = oneshot::channel();
    (Placing { begun, plan, ring, language, leaving, variables, answered }, told)
}

impl<D: Dialogue + Send + 'static> Placing<D> {
    pub(crate) fn id(&self) -> CallId {
        self.begun.id
    }

    /// Rings, and runs the call to its end where somebody answers.
    pub(crate) async fn run(self) {
        let Self { mut begun, plan, ring, language, leaving, variables, answered } = self;
        let shared = Arc::clone(&begun.shared);
        let id = begun.id;
        let attempts = begun.attempts();
        let rung = tokio::select! {
            rung = ring_all(&shared, &attempts, plan, ring) => rung,
            Some(cause) = begun.end.recv() => {
                attempts.finish(begun.log.record(), None);
                begun.finish(cause);
                return;
            }
        };
        attempts.finish(begun.log.record(), rung.as_ref().err().and_then(|refusal| refusal.leg));
        let taken = match rung {
            Ok(taken) => taken,
            Err(Refusal { outcome, cause, .. }) => {
                tracing::info!(call = %id, outcome = outcome.name(), "nobody could be reached");
                begun.finish(cause);
                // Whoever asked may be gone.
                let _ = answered.send(Err(outcome));
                return;
            }
        };
        let Taken { dialog, agreed, local, pair, target } = taken;
        let place = Place {
            id,
            agreed: agreed.clone(),
            local: local.clone(),
            language: language.clone(),
            recording: begun.recording.clone(),
            listener: None,
        };
        let setup = match set_up(&shared, place, pair, begun.epoch).await {
            Ok(setup) => setup,
            Err(error) => {
                tracing::error!(%error, "an answered call could not be set up");
                // Dropping the dialog hangs up.
                begun.finish(error.cause());
                let _ = answered.send(Err(failed(&error.to_string())));
                return;
            }
        };
        let line = Line {
            origin: target.origin.clone(),
            language,
            peer: target.request.to_uri.clone(),
            leaving,
            dialog: Some(dialog),
            media: Media::new(local, agreed, Arc::clone(&shared.identity)),
            setup,
            variables,
            joining: None,
            inband_keys: target.profile.inband_keys,
        };
        let _ = answered.send(Ok(()));
        let outcome = begun.converse(line).await;
        tracing::info!(call = %id, cause = outcome.cause.code, "the call is over");
        // What is limited by trunk and user is free again.
        drop(target);
    }
}

/// Somebody answered.
struct Taken {
    dialog: Dialog,
    agreed: Negotiated,
    local: LocalMedia,
    pair: SocketPair,
    target: Target,
}

/// Nobody answered anywhere.
struct Refusal {
    outcome: TransferOutcome,
    cause: &'static Cause,
    /// Whose failure this is.
    leg: Option<usize>,
}

async fn ring_all(
    shared: &Arc<Shared>,
    attempts: &Attempts,
    plan: Plan,
    ring: Duration,
) -> Result<Taken, Refusal> {
    match plan {
        Plan::Together(targets) => ring_together(shared, attempts, targets, ring).await,
        Plan::Over(dialling) => ring_over(shared, attempts, *dialling, ring).await,
    }
}

async fn ring_together(
    shared: &Arc<Shared>,
    attempts: &Attempts,
    targets: Vec<Target>,
    ring: Duration,
) -> Result<Taken, Refusal> {
    let mut ringing: FuturesUnordered<_> =
        targets.into_iter().map(|target| ring_one(shared, attempts, target, ring)).collect();
    let mut worst: Option<Missed> = None;
    while let Some(rung) = ringing.next().await {
        match rung {
            // The others are cancelled as they are dropped.
            Ok(taken) => return Ok(*taken),
            Err(missed) => {
                if worst.as_ref().is_none_or(|old| weight(&missed.outcome) > weight(&old.outcome)) {
                    worst = Some(*missed);
                }
            }
        }
    }
    let nobody = Refusal { outcome: failed("there is nobody to call"), cause: Cause::UNREACHABLE, leg: None };
    Err(worst.map_or(nobody, Missed::refusal))
}

async fn ring_over(
    shared: &Arc<Shared>,
    attempts: &Attempts,
    mut dialling: Dialling,
    ring: Duration,
) -> Result<Taken, Refusal> {
    let mut last = None;
    while let Some(attempt) = dialling.next(Instant::now()) {
        match ring_one(shared, attempts, shared.target_of(attempt), ring).await {
            Ok(taken) => {
                dialling.answered(None, Instant::now());
                return Ok(*taken);
            }
            Err(missed) => {
                let tried = dialling.failed(missed.status, Instant::now());
                // One that redirects is as good as one that is overloaded: the next host may take the call.
                let go_on = (tried || (300..400).contains(&missed.status)) && missed.go_on;
                last = Some(missed.refusal());
                if !go_on {
                    break;
                }
            }
        }
    }
    let refused = || {
        let (outcome, cause) = match dialling.refusal() {
            Some(limit) => (TransferOutcome::Failed { status: 503, reason: limit.to_string() }, Cause::BUSY),
            None => (failed("no host is left to try"), Cause::UNREACHABLE),
        };
        Refusal { outcome, cause, leg: None }
    };
    Err(last.unwrap_or_else(refused))
}

/// Which of several failures says most about the person called.
fn weight(outcome: &TransferOutcome) -> u8 {
    match outcome {
        TransferOutcome::Completed | TransferOutcome::Failed { .. } | TransferOutcome::Forbidden => 0,
        TransferOutcome::NoAnswer | TransferOutcome::Voicemail => 1,
        TransferOutcome::Busy => 2,
        TransferOutcome::Declined => 3,
    }
}

/// Nobody answered there.
struct Missed {
    outcome: TransferOutcome,
    cause: &'static Cause,
    /// SIP status, 408 standing for no answer at all.
    status: u16,
    /// Whether another host could do better.
    go_on: bool,
    /// Its place in the call's record.
    leg: Option<usize>,
}

impl Missed {
    fn unreachable(reason: &str) -> Box<Self> {
        Self::new(failed(reason), Cause::UNREACHABLE, 408, true)
    }

    fn new(outcome: TransferOutcome, cause: &'static Cause, status: u16, go_on: bool) -> Box<Self> {
        Box::new(Self { outcome, cause, status, go_on, leg: None })
    }

    fn refusal(self) -> Refusal {
        Refusal { outcome: self.outcome, cause: self.cause, leg: self.leg }
    }
}

/// Rings one target, and keeps in the record what becomes of it.
async fn ring_one(
    shared: &Arc<Shared>,
    attempts: &Attempts,
    target: Target,
    ring: Duration,
) -> Result<Box<Taken>, Box<Missed>> {
    let attempt = attempts.begin(|leg| target.describe(leg));
    let mut rung = ring_leg(shared, &attempt, target, ring).await;
    match &mut rung {
        Ok(_) => attempt.answered(),
        Err(missed) => {
            missed.leg = attempt.place();
            attempt.failed(missed.cause);
        }
    }
    rung
}

async fn ring_leg(
    shared: &Arc<Shared>,
    attempt: &Attempt<'_>,
    target: Target,
    ring: Duration,
) -> Result<Box<Taken>, Box<Missed>> {
    let Some(agent) = shared.agent() else { return Err(Missed::unreachable("SIP is not up")) };
    let address = our_address(shared, &target).await.ok_or_else(|| Missed::unreachable("no route"))?;
    let pair = shared.ports.bind(address).map_err(|error| {
        tracing::error!(%error, "no RTP port for a call");
        Missed::new(failed("no RTP port is free"), Cause::NO_PORTS, 500, false)
    })?;
    let port = pair.address().map_err(|_| Missed::unreachable("no RTP port"))?.port();
    let local = shared.offer_media(SocketAddr::new(address, port), &target.profile);
    let mut request = target.request.clone();
    request.sdp = Some(sdp::offer(&local));
    request.ring_timeout = ring.min(target.ring_limit);
    let outgoing = agent.call(request).await.map_err(|error| {
        tracing::info!(%error, host = target.host, "a host cannot be called");
        Missed::unreachable("the host cannot be reached")
    })?;
    attempt.sent(outgoing.call_id());
    match wait_for_answer(outgoing, attempt, &local, &target).await {
        Ok((dialog, agreed)) => Ok(Box::new(Taken { dialog, agreed, local, pair, target })),
        Err(missed) => Err(missed),
    }
}

async fn wait_for_answer(
    mut outgoing: OutgoingCall,
    attempt: &Attempt<'_>,
    local: &LocalMedia,
    target: &Target,
) -> Result<(Dialog, Negotiated), Box<Missed>> {
    let silent = tokio::time::sleep(target.try_limit);
    tokio::pin!(silent);
    let mut heard = false;
    loop {
        let event = tokio::select! {
            event = outgoing.next() => event,
            () = &mut silent, if !heard => return Err(Missed::unreachable("the host says nothing")),
        };
        heard = true;
        let missed = |outcome, cause, status, go_on| Err(Missed::new(outcome, cause, status, go_on));
        match event {
            OutgoingEvent::Ringing | OutgoingEvent::Progress { .. } => attempt.ringing(),
            OutgoingEvent::Answered { sdp, dialog } => match sdp::accept_answer(local, &sdp) {
                Ok(agreed) => return Ok((dialog, agreed)),
                Err(error) => {
                    // Dropping the dialog hangs up.
                    let outcome = failed(&format!("the answer cannot be used: {error}"));
                    return missed(outcome, Cause::SDP_UNSUPPORTED, 488, true);
                }
            },
            OutgoingEvent::Redirected { status, contacts } => {
                attempt.redirected(status, &contacts);
                // Where a carrier would have us call instead is not for it to decide: it could be a premium number.
                let reason = format!("the far side redirects to {} other addresses", contacts.len());
                let outcome = TransferOutcome::Failed { status, reason };
                return missed(outcome, Cause::REFUSED_BY_PEER, status, true);
            }
            OutgoingEvent::Failed { status: 408, .. } => {
                attempt.refused(408);
                return missed(failed("the host does not answer"), Cause::UNREACHABLE, 408, true);
            }
            OutgoingEvent::Failed { status, reason, .. } => {
                attempt.refused(status);
                let outcome = TransferOutcome::of_status(status, &reason);
                return missed(outcome, Cause::REFUSED_BY_PEER, status, true);
            }
            OutgoingEvent::TimedOut => {
                return missed(TransferOutcome::NoAnswer, Cause::NO_ANSWER, 480, false);
            }
        }
    }
}

/// Our media address towards a target.
async fn our_address(shared: &Shared, target: &Target) -> Option<IpAddr> {
    let peer = match target.peer {
        Some(peer) => peer,
        None => {
            let host = target.host.as_str();
            let found = tokio::net::lookup_host(host).await.or(Err(()));
            let found = match found {
                Ok(found) => Ok(found.collect::<Vec<_>>()),
                Err(()) => tokio::net::lookup_host((host.trim_matches(['[', ']']), 5060))
                    .await
                    .map(Iterator::collect),
            };
            *found.ok()?.first()?
        }
    };
    shared.media_address(peer).ok()
}

fn failed(reason: &str) -> TransferOutcome {
    TransferOutcome::Failed { status: 0, reason: reason.to_owned() }
}
