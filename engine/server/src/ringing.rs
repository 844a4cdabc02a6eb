//! A call on its way to its answer: what is told of it meanwhile, and its sound where that comes early (RFC 3960).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Cause, MediaSecurity, Pii, TransferOutcome};
use antiphon_media_frame::SampleRate;
use antiphon_media_plane::{LegControl, LegEvent, LegHandle, SocketPair};
use antiphon_media_sip::sdp::{self, LocalMedia, Negotiated};
use antiphon_media_sip::{Dialog, OutgoingCall, OutgoingEvent};
use tokio::sync::mpsc;

use crate::config::Dtmf;
use crate::conversation::{Happening, Inlet, inlet};
use crate::renegotiate::Media;
use crate::setup::{self, Door};
use crate::shared::Shared;

/// How long a far side that describes its sound (183) may be silent before it counts as one that merely rings.
const SOUNDLESS: Duration = Duration::from_millis(1_500);

/// What is told of a call before its answer.
#[derive(Clone)]
pub(crate) enum News {
    /// It rings.
    Ringing,
    /// Its sound comes. The newest is the one to be heard.
    Early(EarlySound),
    /// No sound comes any more.
    Quiet,
    /// A host refused.
    Refused { host: String, status: u16, reason: String },
    /// A host would have us call elsewhere; of each place, what becomes of that.
    Redirected { host: String, status: u16, to: Vec<Pii<String>>, results: Vec<&'static str> },
}

/// Where the sound of a call that is not answered yet can be had.
#[derive(Clone)]
pub(crate) struct EarlySound {
    pub(crate) control: LegControl,
    pub(crate) rate: SampleRate,
    pub(crate) codec: &'static str,
    pub(crate) security: MediaSecurity,
    /// How keys travel to it.
    pub(crate) keys: Dtmf,
}

/// Nobody answered there.
pub(crate) struct Missed {
    pub(crate) outcome: TransferOutcome,
    pub(crate) cause: &'static Cause,
    /// SIP status, 408 standing for no answer at all.
    pub(crate) status: u16,
    /// Its phrase, or what went wrong.
    pub(crate) reason: String,
    /// Whether another host could do better.
    pub(crate) go_on: bool,
    /// Its place in the call's record.
    pub(crate) leg: Option<usize>,
    /// Where it would have us call instead (3xx), the best first.
    pub(crate) elsewhere: Vec<Pii<String>>,
}

impl Missed {
    pub(crate) fn unreachable(reason: &str) -> Box<Self> {
        Self::of(failed(reason), Cause::UNREACHABLE, 408, reason, true)
    }

    fn of(
        outcome: TransferOutcome,
        cause: &'static Cause,
        status: u16,
        reason: &str,
        go_on: bool,
    ) -> Box<Self> {
        let reason = reason.to_owned();
        Box::new(Self { outcome, cause, status, reason, go_on, leg: None, elsewhere: Vec::new() })
    }

    /// Something on our side is in the way.
    pub(crate) fn ours(reason: &str, cause: &'static Cause) -> Box<Self> {
        Self::of(failed(reason), cause, 500, reason, false)
    }
}

/// What went wrong, as whoever asked for a transfer is told.
pub(crate) fn failed(reason: &str) -> TransferOutcome {
    TransferOutcome::Failed { status: 0, reason: reason.to_owned() }
}

/// What a wait for an answer needs to know.
pub(crate) struct Wait<'w> {
    /// Where it rings, for those who are told.
    pub(crate) host: &'w str,
    /// How long the far side may say nothing at all.
    pub(crate) try_limit: Duration,
    /// Hears what happens meanwhile.
    pub(crate) tell: &'w (dyn Fn(News) + Sync),
}

/// Waits until a call is answered or will not be. Dropped, it gives the call up.
pub(crate) async fn answer_of(
    mut outgoing: OutgoingCall,
    ear: &mut Ear,
    wait: Wait<'_>,
) -> Result<(Dialog, Negotiated), Box<Missed>> {
    let Wait { host, try_limit, tell } = wait;
    // Of a host known by name, the description has to do.
    ear.offered.signaller = host.parse().or_else(|_| host.parse().map(|at: SocketAddr| at.ip())).ok();
    let silent = tokio::time::sleep(try_limit);
    let soundless = tokio::time::sleep(SOUNDLESS);
    tokio::pin!(silent, soundless);
    let (mut heard, mut described) = (false, false);
    loop {
        let event = tokio::select! {
            event = outgoing.next() => event,
            sound = ear.sound() => {
                described = false;
                tell(News::Early(sound));
                continue;
            }
            () = &mut soundless, if described => {
                described = false;
                tell(News::Ringing);
                continue;
            }
            () = &mut silent, if !heard => return Err(Missed::unreachable("the host says nothing")),
        };
        heard = true;
        let refused = |status: u16, reason: &str| {
            tell(News::Refused { host: host.to_owned(), status, reason: reason.to_owned() });
        };
        match event {
            OutgoingEvent::Ringing => tell(News::Ringing),
            OutgoingEvent::Progress { sdp, .. } => {
                ear.describe(&sdp);
                if !ear.is_sounding() {
                    described = true;
                    soundless.as_mut().reset(tokio::time::Instant::now() + SOUNDLESS);
                }
            }
            OutgoingEvent::Answered { sdp, dialog } => match sdp::accept_answer(&ear.offered, &sdp) {
                Ok(agreed) => return Ok((dialog, agreed)),
                Err(error) => {
                    // Dropping the dialog hangs up.
                    let reason = format!("the answer cannot be used: {error}");
                    return Err(Missed::of(failed(&reason), Cause::SDP_UNSUPPORTED, 488, &reason, true));
                }
            },
            OutgoingEvent::Redirected { status, contacts } => {
                let reason = format!("the far side redirects to {} other addresses", contacts.len());
                let outcome = TransferOutcome::Failed { status, reason: reason.clone() };
                let mut missed = Missed::of(outcome, Cause::REFUSED_BY_PEER, status, &reason, true);
                missed.elsewhere = contacts;
                return Err(missed);
            }
            OutgoingEvent::Failed { status: 408, reason, .. } => {
                refused(408, &reason);
                return Err(Missed::unreachable("the host does not answer"));
            }
            OutgoingEvent::Failed { status, reason, .. } => {
                refused(status, &reason);
                let outcome = TransferOutcome::of_status(status, &reason);
                return Err(Missed::of(outcome, Cause::REFUSED_BY_PEER, status, &reason, true));
            }
            OutgoingEvent::TimedOut => {
                let reason = "nobody answered in time";
                return Err(Missed::of(TransferOutcome::NoAnswer, Cause::NO_ANSWER, 480, reason, false));
            }
        }
    }
}

/// The sockets of a call that is not answered, and its sound once some comes.
pub(crate) struct Ear {
    /// What we offered.
    offered: LocalMedia,
    /// For whom it is opened; nothing where nobody would hear it.
    door: Option<(Arc<Shared>, Door)>,
    /// How keys travel.
    keys: Dtmf,
    sockets: Sockets,
}

/// What a call is spoken over when it is answered.
pub(crate) enum Sockets {
    /// Nothing has come yet.
    Idle(SocketPair),
    /// Sound comes already.
    Early(Box<EarlyLeg>),
    /// They were lost: the shard would not have the leg.
    Lost,
}

/// A leg that hears its far side before the answer.
pub(crate) struct EarlyLeg {
    pub(crate) leg: LegHandle,
    pub(crate) rate: SampleRate,
    pub(crate) inlet: Inlet,
    pub(crate) happenings: mpsc::Receiver<Happening>,
    pub(crate) media: Media,
    sounding: bool,
}

impl Ear {
    /// Hears what comes early, for whoever `door` is for.
    pub(crate) fn new(
        offered: LocalMedia,
        pair: SocketPair,
        door: Option<(Arc<Shared>, Door)>,
        keys: Dtmf,
    ) -> Self {
        Self { offered, door, keys, sockets: Sockets::Idle(pair) }
    }

    /// What we offered, and the sockets.
    pub(crate) fn into_parts(self) -> (LocalMedia, Sockets) {
        (self.offered, self.sockets)
    }

    /// Whether sound has come.
    pub(crate) fn is_sounding(&self) -> bool {
        matches!(&self.sockets, Sockets::Early(early) if early.sounding)
    }

    /// A device of the far side describes its sound. Several may (RFC 3261 section 13.2.2.4): the newest that is heard is
    /// believed, since media is taken from wherever a description points to as soon as it comes from there.
    fn describe(&mut self, sdp: &str) {
        let Some((shared, door)) = &self.door else { return };
        let agreed = match sdp::accept_answer(&self.offered, sdp) {
            Ok(agreed) => agreed,
            Err(error) => return tracing::info!(%error, "early media cannot be used"),
        };
        if let Sockets::Early(early) = &mut self.sockets {
            return early.follow(agreed);
        }
        let Sockets::Idle(pair) = std::mem::replace(&mut self.sockets, Sockets::Lost) else { return };
        let (inlet, happenings) = inlet();
        let local = self.offered.clone();
        match setup::open(shared, door, &agreed, &local, pair, &inlet) {
            Ok((leg, rate)) => {
                let media = Media::new(local, agreed, Arc::clone(&shared.identity));
                let early = EarlyLeg { leg, rate, inlet, happenings, media, sounding: false };
                self.sockets = Sockets::Early(Box::new(early));
            }
            Err(error) => tracing::error!(%error, "early media could not be set up"),
        }
    }

    /// Waits for the first sound. Cancel-safe.
    async fn sound(&mut self) -> EarlySound {
        if let Sockets::Early(early) = &mut self.sockets {
            while let Some(happening) = early.happenings.recv().await {
                if matches!(happening, Happening::Leg(LegEvent::Locked { .. })) && !early.sounding {
                    early.sounding = true;
                    return EarlySound {
                        control: early.leg.control(),
                        rate: early.rate,
                        codec: early.media.agreed().codec.name(),
                        security: early.media.security(),
                        keys: self.keys,
                    };
                }
            }
        }
        std::future::pending().await
    }
}

impl EarlyLeg {
    /// Keeps to another description.
    pub(crate) fn follow(&mut self, agreed: Negotiated) {
        for command in self.media.settle(agreed).commands {
            if let Err(error) = self.leg.send(command) {
                tracing::warn!(%error, "early media does not follow its description");
            }
        }
    }
}
