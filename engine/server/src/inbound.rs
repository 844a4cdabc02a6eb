//! Answers a call that comes in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_engine_call::{Call, CallInput, Cause, Dialogue, Effect, Limits, SessionInput};
use antiphon_engine_flow::{Flow, Session};
use antiphon_media_frame::{MediaTime, Pii};
use antiphon_media_sip::sdp::{self, Negotiated, Offer, SdpError};
use antiphon_media_sip::{IncomingCall, SipError};
use tokio::sync::mpsc;

use crate::calls::EventLog;
use crate::conversation::{Conversation, Parts};
use crate::renegotiate::{self, Media};
use crate::setup::{Place, Setup, SetupError, set_up};
use crate::shared::{Shared, new_call_id};

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
const OPENING: Duration = Duration::from_millis(100);

/// Takes calls until the queue of the SIP agent closes.
pub(crate) async fn accept(shared: Arc<Shared>, mut incoming: mpsc::Receiver<IncomingCall>) {
    while let Some(call) = incoming.recv().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { answer(shared, call).await });
    }
}

/// Handles one call from its INVITE to its end.
async fn answer(shared: Arc<Shared>, mut incoming: IncomingCall) {
    let epoch = Instant::now();
    let id = new_call_id();
    let (end_sender, mut end) = mpsc::channel(4);
    let called = incoming.to().user.into_inner();
    let flow = shared.flows().of(&called);
    let config = &shared.config.call;
    let recording = config.record.then(|| shared.recording_path(id));
    let limits = Limits { ringing: config.ringing_limit.span(), longest: config.longest.span() };
    let events = recording.as_ref().map(|path| path.with_extension("events.jsonl"));
    let over_limit = shared.calls.active() >= config.concurrent;
    let mut log =
        shared.calls.begin(id, "inbound", jiff::Timestamp::now().to_string(), events.as_deref(), end_sender);
    let mut call = Call::new(FlowDialogue(Session::new(Arc::clone(&flow))), limits, MediaTime::ZERO);
    let from = incoming.from();
    let offered =
        CallInput::Offered { from: from.user.clone(), to: Pii::new(called.clone()), direction: "inbound" };
    call.handle(MediaTime::ZERO, offered);
    drain(&mut call, &mut log, epoch);
    tracing::info!(call = %id, from = %incoming.source(), flow = flow.name(), "a call came in");

    let outcome = async {
        if over_limit {
            return Err(Refusal::of(Cause::BUSY));
        }
        if shared.calls.stopping() {
            return Err(Refusal::of(Cause::SHUTDOWN));
        }
        let agreed = negotiate(&shared, &incoming)?;
        let ringing = incoming.ring();
        if ringing.is_err() {
            return Err(Refusal::of(Cause::CALLER_CANCELLED));
        }
        let place = Place {
            id,
            agreed: agreed.agreed.clone(),
            language: flow.language().clone(),
            recording: recording.clone(),
            listener: None,
        };
        let limit = tokio::time::sleep(config.ringing_limit.0);
        let ready = tokio::select! {
            ready = set_up(&shared, place, agreed.pair, epoch) => ready.map_err(|e| Refusal::failed(&e))?,
            () = incoming.cancelled() => return Err(Refusal::of(Cause::CALLER_CANCELLED)),
            () = limit => return Err(Refusal::of(Cause::RINGING_TOO_LONG)),
            Some(cause) = end.recv() => return Err(Refusal::of(cause)),
        };
        Ok((agreed.answer, Media::new(agreed.local, agreed.agreed.clone()), agreed.agreed, ready))
    };
    let (answer, media, agreed, ready) = match outcome.await {
        Ok(ready) => ready,
        Err(refusal) => return refuse(incoming, call, log, epoch, &refusal),
    };
    let variables = variables(&incoming, &flow, id);
    let dialog = match incoming.answer(&answer) {
        Ok(dialog) => dialog,
        Err(error) => {
            drop(ready);
            discard(recording);
            if matches!(error, SipError::Over) {
                return finish(call, log, epoch, Cause::CALLER_CANCELLED);
            }
            tracing::warn!(call = %id, %error, "a call could not be answered");
            return finish(call, log, epoch, Cause::SIGNALLING_LOST);
        }
    };
    tokio::time::sleep(OPENING).await;
    let Setup { leg, ears, rate, inlet, happenings } = ready;
    let codec = agreed.codec.name().to_owned();
    let now = MediaTime::ZERO + epoch.elapsed().into();
    call.handle(now, CallInput::Answered { codec, sample_rate_hz: rate.hz(), variables });
    let mouth = Arc::clone(&shared.mouth);
    let dialog = Some(dialog);
    let (leg, endpoint) = (Some(leg), shared.config.recognizer.endpoint.0);
    let parts =
        Parts { dialog, media, leg, ears, mouth, rate, epoch, inlet, happenings, end, endpoint, recording };
    let outcome = Conversation::new(call, log, parts).run().await;
    tracing::info!(call = %id, cause = outcome.cause.code, "the call is over");
}

/// Removes the recording of a call that was never answered, once its writer has closed it.
fn discard(recording: Option<std::path::PathBuf>) {
    if let Some(path) = recording {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            // It may never have been created.
            let _ = std::fs::remove_file(path);
        });
    }
}

struct Agreed {
    answer: String,
    agreed: Negotiated,
    local: sdp::LocalMedia,
    pair: antiphon_media_plane::SocketPair,
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

fn negotiate(shared: &Shared, incoming: &IncomingCall) -> Result<Agreed, Refusal> {
    let text = incoming.offer().ok_or_else(|| Refusal::of(Cause::SDP_MISSING))?;
    let offer = Offer::parse(text)?;
    let address = shared.media_address(incoming.source()).map_err(|error| {
        tracing::error!(%error, "no media address for a call");
        Refusal::of(Cause::NO_PORTS)
    })?;
    // The offer is judged before a port is taken for it.
    let mut local = shared.local_media(address, 9);
    renegotiate::answer(&offer, &local)?;
    let bind = shared.config.sip.listen.ip();
    let pair = shared.ports.bind(bind).map_err(|error| {
        tracing::error!(%error, "no RTP port for a call");
        Refusal::of(Cause::NO_PORTS)
    })?;
    local.port = pair.address().map_err(|_| Refusal::of(Cause::NO_PORTS))?.port();
    let (answer, agreed) = renegotiate::answer(&offer, &local)?;
    Ok(Agreed { answer, agreed, local, pair })
}

fn variables(
    incoming: &IncomingCall,
    flow: &Flow,
    id: antiphon_media_frame::CallId,
) -> BTreeMap<String, String> {
    let from = incoming.from();
    let name = from.display_name.map(Pii::into_inner).unwrap_or_default();
    BTreeMap::from([
        ("caller".to_owned(), from.user.into_inner()),
        ("caller_name".to_owned(), name),
        ("called".to_owned(), incoming.to().user.into_inner()),
        ("call_id".to_owned(), id.to_string()),
        ("sip_call_id".to_owned(), incoming.call_id().to_owned()),
        ("flow".to_owned(), flow.name().to_owned()),
        ("today".to_owned(), jiff::Zoned::now().date().to_string()),
    ])
}

fn refuse(
    incoming: IncomingCall,
    call: Call<FlowDialogue>,
    log: EventLog,
    epoch: Instant,
    refusal: &Refusal,
) {
    // Where the caller gave up there is nobody to refuse.
    if refusal.cause != Cause::CALLER_CANCELLED
        && let Err(error) = incoming.reject(refusal.status, "", &refusal.warning)
    {
        tracing::debug!(%error, "a call could not be refused");
    }
    tracing::info!(cause = refusal.cause.code, "a call was not answered");
    finish(call, log, epoch, refusal.cause);
}

/// Ends a call that was never answered.
pub(crate) fn finish<D: Dialogue>(
    mut call: Call<D>,
    mut log: EventLog,
    epoch: Instant,
    cause: &'static Cause,
) {
    let now = MediaTime::ZERO + epoch.elapsed().into();
    call.handle(now, CallInput::End(cause));
    let none = antiphon_engine_call::MediaFigures::default();
    call.handle(now, CallInput::Closed { received: none, sent: none, recording: None });
    drain(&mut call, &mut log, epoch);
}

/// Publishes what an unanswered call has to say; it asks for nothing else that could be done.
pub(crate) fn drain<D: Dialogue>(call: &mut Call<D>, log: &mut EventLog, epoch: Instant) {
    while let Some(effect) = call.poll_effect() {
        if let Effect::Notify(body) = effect {
            log.write(MediaTime::ZERO + epoch.elapsed().into(), body);
        }
    }
}
