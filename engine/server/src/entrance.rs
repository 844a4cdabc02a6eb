//! The way in for a call: what it is offered, when it hears us, how it is answered or refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{CallInput, Cause, Dialogue, TransferOutcome};
use antiphon_media_frame::SampleRate;
use antiphon_media_plane::{LegControl, LegEvent, SocketPair};
use antiphon_media_sip::sdp::{self, LocalMedia, Negotiated, Offer, SdpError};
use antiphon_media_sip::{Dialog, DialogEvent, IncomingCall, SipError, SipTransport};
use antiphon_models_pool::StreamEvent;
use antiphon_models_speech::Language;

use crate::begin::Begun;
use crate::cdr::LegRecord;
use crate::conversation::Happening;
use crate::line::Profile;
use crate::renegotiate::{self, Media};
use crate::setup::{Place, Setup, SetupError, set_up};
use crate::shared::Shared;
use crate::trunks::LimitError;

/// From our 200 (or 183) to the first word: telephones open their ears when they have read the answer, and some lose what
/// comes with it.
pub(crate) const OPENING: Duration = Duration::from_millis(100);
/// How long the PRACK that answers an offer of ours may take before the call goes on as one that is answered in the ACK.
const EARLY_ANSWER: Duration = Duration::from_secs(5);
/// What happens to a caller's leg before the answer and is kept for then, at most.
const KEPT: usize = 256;
/// How long the ACK of a delayed offer may take: as long as the 200 is repeated (RFC 3261 section 13.3.1.4).
const LATE_ANSWER: Duration = Duration::from_secs(32);

/// A call that waits for our answer.
pub(crate) struct Entrance {
    incoming: IncomingCall,
    /// Our answer, or our offer where there was none.
    answer: String,
    /// Nothing yet where ours is the offer.
    agreed: Option<Negotiated>,
    local: LocalMedia,
    nat: bool,
    sockets: Sockets,
    rung: bool,
    /// Our description went in a 183.
    told: bool,
    /// What happened to the leg meanwhile.
    kept: Vec<Happening>,
}

/// What a caller does who waits for our answer.
pub(crate) enum Impatience {
    /// He gives up.
    Cancelled,
    /// He presses a key.
    Key(char),
}

enum Sockets {
    Bound(SocketPair),
    /// Media runs: it is heard before the answer, or will be with it.
    Open(Box<Setup>),
    /// The set-up failed half way.
    Lost,
}

/// A call that hears us and is not answered.
pub(crate) enum Unanswered {
    /// An INVITE, and what it is answered with.
    Sip { incoming: Box<IncomingCall>, answer: String },
    /// A web page's, whose media flows: nobody but us knows the difference.
    Page,
}

/// Why a call comes to nothing.
pub(crate) enum Stopped {
    /// It is to be told so.
    Refused(Box<IncomingCall>, Refusal),
    /// It knows.
    Over(&'static Cause),
}

impl Entrance {
    /// Agrees on the media of a call and takes the ports for it.
    pub(crate) async fn open(
        shared: &Shared,
        mut incoming: IncomingCall,
        profile: &Profile,
    ) -> Result<Self, Stopped> {
        incoming.set_nat(profile.nat.into());
        match negotiate(shared, &incoming, profile).await {
            Ok((answer, agreed, local, pair)) => {
                let (nat, sockets) = (profile.nat.latches(), Sockets::Bound(pair));
                let (rung, told, kept) = (false, false, Vec::new());
                Ok(Self { incoming, answer, agreed, local, nat, sockets, rung, told, kept })
            }
            Err(refusal) => Err(Stopped::Refused(Box::new(incoming), refusal)),
        }
    }

    /// Whether the caller can hear us before the answer: he has told where, or will when he is asked by a 183.
    pub(crate) fn can_be_early(&self) -> bool {
        self.agreed.is_some() || (!self.told && self.incoming.confirms_early())
    }

    /// Tells the caller that it rings, once.
    pub(crate) fn ring<D: Dialogue>(&mut self, begun: &mut Begun<D>) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.rung, true) {
            return Ok(());
        }
        self.incoming.ring().map_err(|_| Refusal::of(Cause::CALLER_CANCELLED))?;
        begun.note(CallInput::Ringing);
        begun.rings();
        Ok(())
    }

    /// Waits for what the caller does. Cancel-safe.
    pub(crate) async fn impatience(&mut self) -> Impatience {
        let Self { incoming, sockets, kept, .. } = self;
        let key = async {
            let Sockets::Open(setup) = sockets else { return std::future::pending().await };
            while let Some(happening) = setup.happenings.recv().await {
                match happening {
                    Happening::Leg(LegEvent::Key { key, .. }) => return key,
                    // Nobody listens yet.
                    Happening::Speech(StreamEvent::Partial(_))
                    | Happening::Leg(LegEvent::VoiceStarted { .. } | LegEvent::VoiceEnded { .. }) => {}
                    other if kept.len() < KEPT => kept.push(other),
                    _ => tracing::warn!("what happens before an answer is not kept any more"),
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = incoming.cancelled() => Impatience::Cancelled,
            key = key => Impatience::Key(key),
        }
    }

    /// Asks a caller who offered nothing by a 183 what he takes, which he says in its PRACK (RFC 3262 section 5): from then
    /// on he can hear us. Without a word in time the call goes on as one that is answered in the ACK.
    pub(crate) async fn agree_early<D: Dialogue>(&mut self, begun: &mut Begun<D>) -> Result<(), Refusal> {
        if self.agreed.is_some() || !self.can_be_early() {
            return Ok(());
        }
        let gone = |_| Refusal::of(Cause::CALLER_CANCELLED);
        self.incoming.progress(Some(&self.answer)).map_err(gone)?;
        self.told = true;
        begun.rings();
        let answer = tokio::select! {
            answer = self.incoming.early_answer() => answer,
            () = tokio::time::sleep(EARLY_ANSWER) => return Ok(()),
            Some(cause) = begun.end.recv() => return Err(Refusal::of(cause)),
        };
        let answer = answer.ok_or_else(|| Refusal::of(Cause::CALLER_CANCELLED))?;
        self.agreed = Some(sdp::accept_answer(&self.local, &answer)?);
        Ok(())
    }

    /// Opens ears, recording and leg, where that can be done before the answer.
    pub(crate) async fn prepare<D: Dialogue>(
        &mut self,
        begun: &mut Begun<D>,
        language: &Language,
    ) -> Result<(), Refusal> {
        let Some(agreed) = &self.agreed else { return Ok(()) };
        let pair = match std::mem::replace(&mut self.sockets, Sockets::Lost) {
            Sockets::Bound(pair) => pair,
            other => {
                self.sockets = other;
                return Ok(());
            }
        };
        let place = place(begun, agreed, &self.local, language, self.nat);
        let limit = tokio::time::sleep(begun.shared.config.call.ringing_limit.0);
        let setup = tokio::select! {
            ready = set_up(&begun.shared, place, pair, begun.epoch) => ready.map_err(|error| Refusal::failed(&error))?,
            () = self.incoming.cancelled() => return Err(Refusal::of(Cause::CALLER_CANCELLED)),
            () = limit => return Err(Refusal::of(Cause::RINGING_TOO_LONG)),
            Some(cause) = begun.end.recv() => return Err(Refusal::of(cause)),
        };
        self.sockets = Sockets::Open(Box::new(setup));
        Ok(())
    }

    /// Lets the caller hear us from here on (183), where media is prepared.
    pub(crate) fn be_heard<D: Dialogue>(&mut self, begun: &mut Begun<D>) -> Result<(), Refusal> {
        if self.leg().is_some() && !std::mem::replace(&mut self.told, true) {
            let told = self.incoming.progress(Some(&self.answer));
            told.map_err(|_| Refusal::of(Cause::CALLER_CANCELLED))?;
            begun.rings();
        }
        Ok(())
    }

    /// What is told of media that flows before the answer.
    pub(crate) fn early(&self) -> Option<CallInput> {
        let (Sockets::Open(setup), Some(agreed)) = (&self.sockets, &self.agreed) else { return None };
        Some(CallInput::Early {
            codec: agreed.codec.name().to_owned(),
            sample_rate_hz: setup.rate.hz(),
            security: renegotiate::security_of(agreed),
            variables: None,
        })
    }

    /// The leg that the caller hears, once there is one.
    pub(crate) fn leg(&self) -> Option<LegControl> {
        self.line().map(|(leg, _)| leg)
    }

    /// The same, with its rate.
    pub(crate) fn line(&self) -> Option<(LegControl, SampleRate)> {
        match &self.sockets {
            Sockets::Open(setup) => Some((setup.leg.control(), setup.rate)),
            Sockets::Bound(_) | Sockets::Lost => None,
        }
    }

    /// A call that hears us and is answered by its own dialogue. `None` where media is not prepared.
    pub(crate) fn into_unanswered(self, shared: &Shared) -> Option<(Unanswered, Media, Setup)> {
        let (Sockets::Open(setup), Some(agreed)) = (self.sockets, self.agreed) else { return None };
        let media = Media::new(self.local, agreed, Arc::clone(&shared.identity));
        let unanswered = Unanswered::Sip { incoming: Box::new(self.incoming), answer: self.answer };
        Some((unanswered, media, *setup))
    }

    /// Answers.
    pub(crate) async fn answer<D: Dialogue>(
        self,
        begun: &mut Begun<D>,
        language: &Language,
    ) -> Result<(Dialog, Media, Setup), Stopped> {
        let Self { incoming, answer, agreed, local, nat, sockets, kept, .. } = self;
        let identity = Arc::clone(&begun.shared.identity);
        if let Sockets::Open(setup) = &sockets {
            kept.into_iter().for_each(|happening| setup.inlet.tell(happening));
        }
        match (agreed, sockets) {
            (Some(agreed), Sockets::Open(setup)) => match incoming.answer(&answer) {
                Ok(dialog) => Ok((dialog, Media::new(local, agreed, identity), *setup)),
                Err(error) => {
                    drop(setup);
                    Err(Stopped::unanswerable(begun, &error))
                }
            },
            (None, Sockets::Bound(pair)) => {
                let dialog =
                    incoming.answer(&answer).map_err(|error| Stopped::unanswerable(begun, &error))?;
                late(begun, dialog, local, pair, language, nat).await.map_err(Stopped::Over)
            }
            _ => Err(Stopped::Refused(Box::new(incoming), Refusal::of(Cause::MEDIA_FAILED))),
        }
    }

    /// Refuses it.
    pub(crate) fn refuse<D: Dialogue>(self, begun: Begun<D>, refusal: &Refusal) {
        if matches!(self.sockets, Sockets::Open(_)) {
            discard(begun.recording.clone());
        }
        refuse(self.incoming, begun, refusal);
    }
}

impl Stopped {
    fn unanswerable<D: Dialogue>(begun: &Begun<D>, error: &SipError) -> Self {
        discard(begun.recording.clone());
        if matches!(error, SipError::Over) {
            return Self::Over(Cause::CALLER_CANCELLED);
        }
        tracing::warn!(call = %begun.id, %error, "a call could not be answered");
        Self::Over(Cause::SIGNALLING_LOST)
    }

    /// Ends the call.
    pub(crate) fn end<D: Dialogue>(self, begun: Begun<D>) {
        match self {
            Self::Refused(incoming, refusal) => refuse(*incoming, begun, &refusal),
            Self::Over(cause) => begun.finish(cause),
        }
    }
}

fn place<D: Dialogue>(
    begun: &mut Begun<D>,
    agreed: &Negotiated,
    local: &LocalMedia,
    language: &Language,
    nat: bool,
) -> Place {
    Place {
        id: begun.id,
        agreed: agreed.clone(),
        local: local.clone(),
        language: language.clone(),
        recording: begun.recording.clone(),
        listener: None,
        nat,
        ears: begun.ask(),
        kept: None,
    }
}

/// Waits for the answer to the offer of our 200, which comes in the ACK, and starts the media.
async fn late<D: Dialogue>(
    begun: &mut Begun<D>,
    mut dialog: Dialog,
    local: LocalMedia,
    pair: SocketPair,
    language: &Language,
    nat: bool,
) -> Result<(Dialog, Media, Setup), &'static Cause> {
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
    let answer = answer.await.unwrap_or(Err(Cause::SDP_MISSING))?;
    let agreed = sdp::accept_answer(&local, &answer).map_err(|error| {
        tracing::info!(%error, "the late answer of a call cannot be used");
        Cause::SDP_UNSUPPORTED
    })?;
    let place = place(begun, &agreed, &local, language, nat);
    let setup = set_up(&begun.shared, place, pair, begun.epoch).await.map_err(|error| {
        tracing::error!(%error, "a call could not be set up");
        error.cause()
    })?;
    let media = Media::new(local, agreed, Arc::clone(&begun.shared.identity));
    Ok((dialog, media, setup))
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

/// Why a call is not answered: the cause, and words for the far side.
pub(crate) struct Refusal {
    cause: &'static Cause,
    status: u16,
    warning: String,
    /// When there may be room again.
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn of(cause: &'static Cause) -> Self {
        // Causes of answered calls have no status; ended before the answer, the call is temporarily unavailable.
        let status = if cause.sip_status == 0 { 480 } else { cause.sip_status };
        Self { cause, status, warning: cause.text.to_owned(), retry_after: None }
    }

    /// With a status that says more than the cause does.
    pub(crate) fn with(cause: &'static Cause, status: u16) -> Self {
        Self { status, ..Self::of(cause) }
    }

    pub(crate) fn limited(error: &LimitError) -> Self {
        Self { warning: error.to_string(), ..Self::of(Cause::BUSY) }
    }

    /// Whoever was to answer did not.
    pub(crate) fn unreached(outcome: &TransferOutcome) -> Self {
        let (cause, status) = cause_of(outcome);
        Self::with(cause, status)
    }

    fn failed(error: &SetupError) -> Self {
        tracing::error!(%error, "a call could not be set up");
        Self { retry_after: error.retry_after(), ..Self::of(error.cause()) }
    }

    /// Why, as the catalogue has it.
    pub(crate) fn cause(&self) -> &'static Cause {
        self.cause
    }

    /// Tells the caller, and the record.
    pub(crate) fn tell(&self, incoming: IncomingCall, leg: &mut LegRecord) {
        // Where the caller gave up there is nobody to refuse.
        if self.cause != Cause::CALLER_CANCELLED {
            leg.sip_status = Some(self.status);
            let told = match self.retry_after {
                Some(after) => incoming.turn_away(after, &self.warning),
                None => incoming.reject(self.status, "", &self.warning),
            };
            if let Err(error) = told {
                tracing::debug!(%error, "a call could not be refused");
            }
        }
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
        Self { cause, status: error.status(), warning: error.to_string(), retry_after: None }
    }
}

/// Our answer, what is agreed where there was an offer, our side of it, and the ports.
pub(crate) type Terms = (String, Option<Negotiated>, LocalMedia, SocketPair);

/// Agrees on the media of a call and takes the ports for it.
pub(crate) async fn negotiate(
    shared: &Shared,
    incoming: &IncomingCall,
    profile: &Profile,
) -> Result<Terms, Refusal> {
    let offer = incoming.offer().map(Offer::parse).transpose()?;
    let address = shared.media_address(incoming.source()).map_err(|error| {
        tracing::error!(%error, "no media address for a call");
        Refusal::of(Cause::NO_PORTS)
    })?;
    let draft = shared.media(SocketAddr::new(address, 9), profile);
    // The offer is judged before a port is taken for it.
    let agreed = offer.as_ref().map(|offer| renegotiate::answer(offer, &draft)).transpose()?;
    let bind = shared.config.sip.listen.ip();
    let pair = shared.ports.bind(bind).map_err(|error| {
        tracing::error!(%error, "no RTP port for a call");
        Refusal::of(Cause::NO_PORTS)
    })?;
    let port = pair.address().map_err(|_| Refusal::of(Cause::NO_PORTS))?.port();
    let at = SocketAddr::new(address, port);
    let web = matches!(incoming.transport(), SipTransport::Ws | SipTransport::Wss);
    // An offer of ours is for those who may know of no protection, unless a web page asks for it.
    let mut local = match offer {
        None if !web => shared.offer_media(at, profile),
        _ => shared.media(at, profile),
    };
    local.signaller = Some(incoming.source().ip());
    let mut pair = pair;
    if agreed.is_none_or(|(_, agreed)| agreed.ice.is_some()) {
        pair = shared.gather(pair, &mut local).await.ok_or_else(|| Refusal::of(Cause::NO_PORTS))?;
    }
    Ok(match offer {
        Some(offer) => {
            let (answer, agreed) = renegotiate::answer(&offer, &local)?;
            (answer, Some(agreed), local, pair)
        }
        None => (sdp::offer(&local), None, local, pair),
    })
}

/// Refuses a call that has got no further.
pub(crate) fn refuse<D: Dialogue>(incoming: IncomingCall, mut begun: Begun<D>, refusal: &Refusal) {
    refusal.tell(incoming, begun.log.record().leg());
    tracing::info!(cause = refusal.cause.code, "a call was not answered");
    begun.finish(refusal.cause);
}
