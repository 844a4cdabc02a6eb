//! Calls somebody from the running server: the target of a transfer, a user's telephones, a number over a trunk.
//!
//! A user's telephones ring all at once, with those that one of them sends the call on to, and the first who answers has the
//! call; the hosts of a trunk are tried one after
//! another, and of a host that DNS knows by several addresses, those.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_engine_call::{Cause, Dialogue, Pii, TransferOutcome, TransferRequest};
use antiphon_media_frame::CallId;
use antiphon_media_sip::sdp::{self, Negotiated};
use antiphon_media_sip::{Agent, Dialog};
use antiphon_models_pool::{PoolError, Reservation};
use antiphon_models_speech::Language;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::begin::{Begun, Line, Parties, begin};
use crate::cdr::{Attempt, Attempts};
use crate::conversation::Leaving;
use crate::forward::Forwards;
use crate::line::{Plan, Target};
use crate::quiet::{Picked, Quiet};
use crate::renegotiate::Media;
use crate::ringing::{Ear, Missed, News, Sockets, Wait, answer_of, failed};
use crate::setup::{Door, Place, Setup, SetupError, furnish, set_up};
use crate::shared::Shared;
use crate::trunks::{Dialling, Origin, RedirectError};

/// How long the one who picked up may be spoken to before the two are joined.
const LONGEST_ANNOUNCEMENT: Duration = Duration::from_secs(60);
/// News of a call that wait for its task: it reads them as they come.
const NEWS: usize = 64;

/// Hears what happens to a call before its answer. Must not block.
pub(crate) type Teller = Arc<dyn Fn(News) + Send + Sync>;

/// Somebody who is to be joined with a caller.
pub(crate) struct Asked {
    /// On whose behalf: what may be dialled.
    pub(crate) origin: Origin,
    /// The call for whose sake this one is.
    pub(crate) parent: CallId,
    /// What is spoken.
    pub(crate) language: Language,
    pub(crate) request: TransferRequest,
    /// Who hears the target ring, and its early sound.
    pub(crate) tell: Option<Teller>,
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
    /// Who hears what happens before the answer; early sound is for nobody else.
    pub(crate) tell: Option<Teller>,
}

/// Calls the target and returns its call once the two can be joined. Dropping the other end of `cancelled` gives up.
pub(crate) async fn leg(
    shared: Arc<Shared>,
    asked: Asked,
    mut cancelled: oneshot::Receiver<()>,
) -> Result<CallId, TransferOutcome> {
    let Asked { origin, parent, language, request, tell } = asked;
    let plan = shared.plan(&origin, &request.to, request.caller_id.as_deref())?;
    // What is said to the target alone.
    let private = !request.announce.is_empty() || request.screen;
    let apart = tell.clone().filter(|_| private);
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
        tell,
    };
    let (placing, answered) = place(&shared, ticket)
        .map_err(|error| TransferOutcome::Failed { status: 503, reason: error.to_string() })?;
    let id = placing.id();
    tokio::spawn(placing.run());
    let mut wanted = Wanted { shared, id: Some(id) };
    let outcome = tokio::select! {
        outcome = answered => outcome.unwrap_or(Err(failed("the call could not be placed"))),
        // It ends by itself; nobody is told.
        _ = &mut cancelled => return Err(TransferOutcome::NoAnswer),
    };
    outcome?;
    if let Some(tell) = apart {
        tell(News::Quiet);
    }
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
    tell: Option<Teller>,
    answered: oneshot::Sender<Result<(), TransferOutcome>>,
    /// Its stream of the recogniser pool: nobody is rung whom nobody would understand.
    slot: Option<Reservation>,
}

/// Hears whether a call was answered.
type Told = oneshot::Receiver<Result<(), TransferOutcome>>;

/// Begins a call; the receiver hears whether it was answered.
///
/// # Errors
/// The recogniser pool has no room for it, and nobody is rung.
pub(crate) fn place<D: Dialogue + Send + 'static>(
    shared: &Arc<Shared>,
    ticket: Ticket<D>,
) -> Result<(Placing<D>, Told), PoolError> {
    let Ticket { plan, from, to, ring, parent, language, leaving, variables, dialogue, tell, .. } = ticket;
    let ringing = ring + Duration::from_secs(5);
    let parties = Parties { direction: "outbound", from, to, ringing, parent, origin: Origin::Api };
    let mut begun = begin(shared, parties, dialogue);
    let record = begun.log.record();
    (record.token, record.flow) = (ticket.token, ticket.flow);
    let ask = begun.ask();
    let heard = shared.recognizers.first_of(&ask.tenant).map(|_| shared.pool.reserve(&ask));
    let slot = match heard.transpose() {
        Ok(slot) => slot,
        Err(error) => {
            tracing::warn!(call = %begun.id, %error, "a call is not placed: its words would not be heard");
            begun.finish(Cause::BUSY);
            return Err(error);
        }
    };
    let (answered, told) = oneshot::channel();
    Ok((Placing { begun, plan, ring, language, leaving, variables, tell, answered, slot }, told))
}

impl<D: Dialogue + Send + 'static> Placing<D> {
    pub(crate) fn id(&self) -> CallId {
        self.begun.id
    }

    /// Rings, and runs the call to its end where somebody answers.
    pub(crate) async fn run(self) {
        let Self { mut begun, plan, ring, language, leaving, variables, tell, answered, slot } = self;
        let shared = Arc::clone(&begun.shared);
        let id = begun.id;
        let (sender, mut news) = mpsc::channel(NEWS);
        let (epoch, heard, attempts) = (begun.epoch, tell.is_some(), begun.attempts());
        let ringer = Ringer { shared: &shared, id, epoch, heard, attempts: &attempts, news: sender };
        let rung = {
            let ringing = ring_all(&ringer, plan, ring);
            tokio::pin!(ringing);
            loop {
                tokio::select! {
                    biased;
                    Some(told) = news.recv() => begun.tell(told, tell.as_ref()),
                    rung = &mut ringing => break rung,
                    Some(cause) = begun.end.recv() => break Err(Refusal::ours(failed("the call was ended"), cause)),
                }
            }
        };
        attempts.finish(begun.log.record(), rung.as_ref().err().and_then(|refusal| refusal.leg));
        // What was told together with the end.
        while let Ok(told) = news.try_recv() {
            begun.tell(told, tell.as_ref());
        }
        let Taken { dialog, agreed, ear, target } = match rung {
            Ok(taken) => taken,
            Err(Refusal { outcome, cause, .. }) => {
                tracing::info!(call = %id, outcome = outcome.name(), "nobody could be reached");
                begun.finish(cause);
                // Whoever asked may be gone.
                let _ = answered.send(Err(outcome));
                return;
            }
        };
        let nat = target.profile.nat.latches();
        let ready = ready(&mut begun, slot, ear, agreed, language.clone(), nat).await;
        let (setup, media) = match ready {
            Ok(ready) => ready,
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
            unanswered: None,
            media,
            setup,
            variables,
            joining: None,
            keys: target.profile.keys,
        };
        let _ = answered.send(Ok(()));
        let outcome = begun.converse(line).await;
        tracing::info!(call = %id, cause = outcome.cause.code, "the call is over");
        // What is limited by trunk and user is free again.
        drop(target);
    }
}

/// The media of a call that was answered, whether or not some came before.
async fn ready<D: Dialogue>(
    begun: &mut Begun<D>,
    kept: Option<Reservation>,
    ear: Ear,
    agreed: Negotiated,
    language: Language,
    nat: bool,
) -> Result<(Setup, Media), SetupError> {
    let (local, sockets) = ear.into_parts();
    let ears = begun.ask();
    let shared = &begun.shared;
    let place = Place {
        id: begun.id,
        agreed: agreed.clone(),
        local: local.clone(),
        language,
        recording: begun.recording.clone(),
        listener: None,
        nat,
        ears,
        kept,
    };
    match sockets {
        Sockets::Idle(pair) => {
            let setup = set_up(shared, place, pair, begun.epoch).await?;
            Ok((setup, Media::new(local, agreed, Arc::clone(&shared.identity))))
        }
        Sockets::Early(mut early) => {
            early.follow(agreed);
            furnish(shared, place, *early).await
        }
        Sockets::Lost => Err(SetupError::Other("its sockets are gone".to_owned())),
    }
}

/// What rings on behalf of a call.
struct Ringer<'r> {
    shared: &'r Arc<Shared>,
    id: CallId,
    epoch: Instant,
    /// Somebody hears the sound that comes before the answer.
    heard: bool,
    attempts: &'r Attempts,
    news: mpsc::Sender<News>,
}

/// Somebody answered.
struct Taken {
    dialog: Dialog,
    agreed: Negotiated,
    ear: Ear,
    target: Target,
}

struct Answered {
    dialog: Dialog,
    agreed: Negotiated,
    ear: Ear,
}

/// Nobody answered anywhere.
struct Refusal {
    outcome: TransferOutcome,
    cause: &'static Cause,
    /// Whose failure this is.
    leg: Option<usize>,
}

impl Refusal {
    /// No far side is to blame.
    fn ours(outcome: TransferOutcome, cause: &'static Cause) -> Self {
        Self { outcome, cause, leg: None }
    }
}

impl From<Missed> for Refusal {
    fn from(missed: Missed) -> Self {
        Self { outcome: missed.outcome, cause: missed.cause, leg: missed.leg }
    }
}

async fn ring_all(ringer: &Ringer<'_>, plan: Plan, ring: Duration) -> Result<Taken, Refusal> {
    match plan {
        Plan::Together(targets) => ring_together(ringer, targets, ring).await,
        Plan::Over(dialling) => ring_over(ringer, *dialling, ring).await,
    }
}

/// What became of one of several that ring at once.
enum Rung {
    Taken(Box<Taken>),
    /// A telephone did not take the call, and perhaps knows who would.
    Missed(Box<Missed>, Box<Target>),
    /// Neither did anybody over a trunk.
    Refused(Refusal),
}

type Ringing<'r> = FuturesUnordered<Pin<Box<dyn Future<Output = Rung> + Send + 'r>>>;

async fn ring_together(ringer: &Ringer<'_>, targets: Vec<Target>, ring: Duration) -> Result<Taken, Refusal> {
    let (begun, mut forwards) = (Instant::now(), Forwards::default());
    let mut ringing = Ringing::new();
    add(&mut ringing, &mut forwards, ringer, Plan::Together(targets), ring);
    let mut worst: Option<Refusal> = None;
    while let Some(rung) = ringing.next().await {
        let refusal = match rung {
            // The others are cancelled as they are dropped.
            Rung::Taken(taken) => return Ok(*taken),
            Rung::Refused(refusal) => refusal,
            Rung::Missed(mut missed, target) => {
                let plans = match &target.origin {
                    Origin::User(user) if !missed.elsewhere.is_empty() => {
                        let from = &target.request.from;
                        ringer.shared.forward(user, from, &missed.elsewhere, &mut forwards)
                    }
                    // No list says whom an address that a flow wrote down may send calls on to.
                    _ => missed.elsewhere.iter().map(|_| Err(RedirectError::Off)).collect(),
                };
                let results: Vec<_> =
                    plans.iter().map(|plan| plan.as_ref().map(|_| ()).map_err(Clone::clone)).collect();
                ringer.redirected(&target, &mut missed, &results);
                let followed = results.iter().any(Result::is_ok);
                // Whoever is called instead rings as long as is left of the time, beside those who ring already.
                let left = ring.saturating_sub(begun.elapsed());
                for plan in plans.into_iter().flatten() {
                    add(&mut ringing, &mut forwards, ringer, plan, left);
                }
                if followed {
                    continue;
                }
                Refusal::from(*missed)
            }
        };
        if worst.as_ref().is_none_or(|old| weight(&refusal.outcome) > weight(&old.outcome)) {
            worst = Some(refusal);
        }
    }
    let nobody = || Refusal::ours(failed("there is nobody to call"), Cause::UNREACHABLE);
    Err(worst.unwrap_or_else(nobody))
}

/// Lets those of a plan ring beside others.
fn add<'r>(
    ringing: &mut Ringing<'r>,
    forwards: &mut Forwards,
    ringer: &'r Ringer<'r>,
    plan: Plan,
    ring: Duration,
) {
    match plan {
        Plan::Together(targets) => {
            for target in targets {
                if let Origin::User(user) = &target.origin {
                    forwards.rings(user);
                }
                ringing.push(Box::pin(async move {
                    match ringer.ring(&target, ring).await {
                        Ok(Answered { dialog, agreed, ear }) => {
                            Rung::Taken(Box::new(Taken { dialog, agreed, ear, target }))
                        }
                        Err(missed) => Rung::Missed(missed, Box::new(target)),
                    }
                }));
            }
        }
        Plan::Over(dialling) => ringing.push(Box::pin(async move {
            let rung = ring_over(ringer, *dialling, ring).await;
            rung.map_or_else(Rung::Refused, |taken| Rung::Taken(Box::new(taken)))
        })),
    }
}

async fn ring_over(ringer: &Ringer<'_>, mut dialling: Dialling, ring: Duration) -> Result<Taken, Refusal> {
    let mut last = None;
    let begun = Instant::now();
    while let Some(attempt) = dialling.next(Instant::now()) {
        let target = ringer.shared.target_of(attempt);
        // Whoever is called instead rings as long as is left of the time; a host is tried for no more than `try_limit`.
        let left = if dialling.is_redirected() { ring.saturating_sub(begun.elapsed()) } else { ring };
        match ringer.ring(&target, left).await {
            Ok(Answered { dialog, agreed, ear }) => {
                dialling.answered(None, Instant::now());
                return Ok(Taken { dialog, agreed, ear, target });
            }
            Err(mut missed) => {
                let results = ringer.shared.router.redirect(&mut dialling, &missed.elsewhere);
                ringer.redirected(&target, &mut missed, &results);
                let go_on = dialling.failed(missed.status, Instant::now()) && missed.go_on;
                last = Some(Refusal::from(*missed));
                if !go_on {
                    break;
                }
            }
        }
    }
    let refused = || match dialling.refusal() {
        Some(limit) => {
            let outcome = TransferOutcome::Failed { status: 503, reason: limit.to_string() };
            Refusal::ours(outcome, Cause::BUSY)
        }
        None => Refusal::ours(failed("no host is left to try"), Cause::UNREACHABLE),
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

impl Ringer<'_> {
    /// Rings at one target: at the first of its addresses that has anything to say (RFC 3263 section 4.3).
    async fn ring(&self, target: &Target, ring: Duration) -> Result<Answered, Box<Missed>> {
        let Some(agent) = self.shared.agent() else { return Err(Missed::unreachable("SIP is not up")) };
        if let Some(peer) = target.peer {
            return self.ring_at(agent, target, peer, ring).await;
        }
        let uri = target.request.to_uri.expose();
        let found = agent.resolve(uri, target.request.transport).await.map_err(|error| {
            tracing::info!(%error, host = target.host, "a host has no address");
            Missed::unreachable("the host has no address")
        })?;
        let mut last = Missed::unreachable("the host has no address");
        for peer in found {
            match self.ring_at(agent, target, peer, ring).await {
                Err(missed) if missed.go_on && matches!(missed.status, 408 | 503) => last = missed,
                settled => return settled,
            }
        }
        Err(last)
    }

    /// Rings at one address, and keeps in the record what becomes of it.
    async fn ring_at(
        &self,
        agent: &Agent,
        target: &Target,
        peer: SocketAddr,
        ring: Duration,
    ) -> Result<Answered, Box<Missed>> {
        let attempt = self.attempts.begin(|leg| {
            target.describe(leg);
            leg.host = Some(peer.to_string());
        });
        let mut rung = self.ring_leg(agent, &attempt, target, peer, ring).await;
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
        &self,
        agent: &Agent,
        attempt: &Attempt<'_>,
        target: &Target,
        peer: SocketAddr,
        ring: Duration,
    ) -> Result<Answered, Box<Missed>> {
        let address =
            self.shared.media_address(peer).map_err(|_| Missed::unreachable("no route to the host"))?;
        let pair = self.shared.ports.bind(address).map_err(|error| {
            tracing::error!(%error, "no RTP port for a call");
            Missed::ours("no RTP port is free", Cause::NO_PORTS)
        })?;
        let port = pair.address().map_err(|_| Missed::ours("no RTP port is free", Cause::NO_PORTS))?.port();
        let mut local = self.shared.offer_media(SocketAddr::new(address, port), &target.profile);
        let pair = self.shared.gather(pair, &mut local).await;
        let pair = pair.ok_or_else(|| Missed::ours("no RTP port is free", Cause::NO_PORTS))?;
        let mut request = target.request.clone();
        request.sdp = Some(sdp::offer(&local));
        request.ring_timeout = ring.min(target.ring_limit);
        request.destination.get_or_insert(peer);
        let outgoing = agent.call(request).await.map_err(|error| {
            tracing::info!(%error, host = target.host, "a host cannot be called");
            Missed::unreachable("the host cannot be reached")
        })?;
        attempt.sent(outgoing.call_id());
        let door = Door { id: self.id, epoch: self.epoch, nat: target.profile.nat.latches() };
        let door = self.heard.then(|| (Arc::clone(self.shared), door));
        let mut ear = Ear::new(local, pair, door, target.profile.keys);
        let tell = |news| {
            match &news {
                News::Ringing | News::Early(_) => attempt.ringing(),
                News::Refused { status, .. } => attempt.refused(*status),
                // Told once it is known what becomes of it.
                News::Redirected { .. } | News::Quiet => {}
            }
            self.tell(news);
        };
        let wait = Wait { host: &target.host, try_limit: target.try_limit, tell: &tell };
        match answer_of(outgoing, &mut ear, wait).await {
            Ok((dialog, agreed)) => Ok(Answered { dialog, agreed, ear }),
            Err(missed) => {
                if !missed.elsewhere.is_empty() {
                    attempt.refused(missed.status);
                }
                if ear.is_sounding() {
                    self.tell(News::Quiet);
                }
                Err(missed)
            }
        }
    }

    /// Tells, and keeps in the record, where a target would have us call instead and what becomes of that.
    fn redirected(&self, target: &Target, missed: &mut Missed, results: &[Result<(), RedirectError>]) {
        if missed.elsewhere.is_empty() {
            return;
        }
        let name = |result: &Result<(), RedirectError>| {
            result.as_ref().map_or_else(RedirectError::name, |()| "followed")
        };
        let names: Vec<_> = results.iter().map(name).collect();
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            tracing::info!(call = %self.id, host = target.host, %error, "a redirection is not followed");
        }
        // Where no rule stands against it, there was merely nobody else to call.
        if results.iter().all(Result::is_err)
            && results.iter().flat_map(|result| result.as_ref().err()).any(RedirectError::is_forbidden)
        {
            missed.outcome = TransferOutcome::Forbidden;
        }
        let to = std::mem::take(&mut missed.elsewhere);
        self.attempts.redirected(missed.leg, &to, &names);
        self.tell(News::Redirected { host: target.host.clone(), status: missed.status, to, results: names });
    }

    fn tell(&self, news: News) {
        // Read by the very task that rings; what does not fit is one of very many.
        if self.news.try_send(news).is_err() {
            tracing::debug!(call = %self.id, "news of a call are left out");
        }
    }
}
