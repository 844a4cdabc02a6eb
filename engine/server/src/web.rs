//! Calls that web pages place: an SDP offer over HTTP in the place of an INVITE, and no SIP at all.
//!
//! The call begins with the offer. Once its media is connected it is answered, or hears what comes before the answer:
//! whatever is said before that, nobody would hear.

pub(crate) mod relay;
mod session;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{CallInput, Cause, Dialogue, Pii, TransferKind, TransferRequest};
use antiphon_engine_flow::{Flow, Session};
use antiphon_media_frame::CallId;
use antiphon_media_link::LinkEvent;
use antiphon_media_plane::{LegEvent, SocketPair};
use antiphon_media_sip::sdp::{Candidate, Codec, LocalMedia, Negotiated, Offer, SdpError};
use antiphon_models_speech::Language;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::begin::{Begun, Joining, Line, Parties, begin};
use crate::config::Dtmf;
use crate::conversation::{Command, Happening, Leaving};
use crate::dial;
use crate::entrance::{OPENING, Unanswered, cause_of, discard};
use crate::inbound::FlowDialogue;
use crate::line::{Profile, Protection};
use crate::patience::Patience;
use crate::quiet::Quiet;
use crate::renegotiate::{self, Media};
use crate::ringing::News;
use crate::setup::{Place, Setup, SetupError, set_up};
use crate::shared::Shared;
use crate::trunks::{Origin, Target};
pub(crate) use session::{Sessions, TrickleError};

/// From our answer to the end of the DTLS handshake. A browser gives up its checks after about as long.
const CONNECT: Duration = Duration::from_secs(20);
/// News of a called side that wait for the page's task.
const NEWS: usize = 16;
/// What a page is called where a number would stand.
const CALLER: &str = "web";
/// Best first: browsers have all of these but G722 on some.
const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

/// What a page asks for.
pub(crate) struct Asked {
    /// Its description.
    pub(crate) offer: String,
    /// A number as routes know it, or `user:NAME`; `None` is the default flow.
    pub(crate) to: Option<String>,
    /// The number or name it calls by, where whoever vouches for the page gave it one.
    pub(crate) caller: Option<String>,
    /// Where the request came from: our address towards it is where media is taken.
    pub(crate) from: SocketAddr,
    /// The name of its token.
    pub(crate) token: Option<String>,
}

/// A call that waits for its media.
pub(crate) struct Opened {
    pub(crate) id: CallId,
    /// Our description.
    pub(crate) answer: String,
    /// What later requests name the state of the session by.
    pub(crate) tag: String,
}

/// Why a page's call is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("the server is being stopped")]
    Stopping,
    #[error("the server is at its limit of concurrent calls")]
    Full,
    #[error(transparent)]
    Offer(#[from] SdpError),
    #[error("without ICE and rtcp-mux there is no way to a web page")]
    NoIce,
    #[error("no RTP port is free")]
    NoPorts,
    #[error("no route leads there (status {status})")]
    NoRoute { status: u16 },
    #[error(transparent)]
    SetUp(#[from] SetupError),
}

/// What answers.
enum Destination {
    Flow(Arc<Flow>),
    Conference(String),
    /// A user's telephones or a number over a trunk.
    Telephones(String),
}

/// Answers a page's offer; the call goes on by itself from there.
///
/// # Errors
/// Why it is not taken; nothing is left of it then.
pub(crate) async fn open(shared: &Arc<Shared>, asked: Asked) -> Result<Opened, OpenError> {
    if shared.calls.stopping() {
        return Err(OpenError::Stopping);
    }
    if shared.calls.active() >= shared.config.call.concurrent {
        return Err(OpenError::Full);
    }
    let offer = Offer::parse(&asked.offer)?;
    let destination = destination(shared, asked.to.as_deref())?;
    let mut ready = negotiate(shared, &offer, asked.from).await?;
    ready.token = asked.token;
    let to = asked.to.unwrap_or_default();
    let caller = asked.caller;
    let from = caller.clone().unwrap_or_else(|| CALLER.to_owned());
    let who = Who { from: from.clone(), to: to.clone() };
    match destination {
        Destination::Flow(flow) => {
            let dialogue = FlowDialogue(Session::new(Arc::clone(&flow)));
            start(shared, ready, who, dialogue, flow.language().clone(), move |begun, setup, media| {
                by_flow(begun, setup, media, flow, Who { from, to })
            })
            .await
        }
        Destination::Conference(name) => {
            let quiet = Quiet::new(Vec::new(), false, None);
            start(shared, ready, who, quiet, Language::english(), move |begun, setup, media| {
                quietly(begun, setup, media, Joining::Confer(name))
            })
            .await
        }
        Destination::Telephones(target) => {
            let quiet = Quiet::new(Vec::new(), false, None);
            start(shared, ready, who, quiet, Language::english(), move |begun, setup, media| {
                connect(begun, setup, media, target, caller)
            })
            .await
        }
    }
}

fn destination(shared: &Shared, to: Option<&str>) -> Result<Destination, OpenError> {
    let Some(to) = to else { return Ok(Destination::Flow(shared.flows().of(""))) };
    if to.starts_with("user:") {
        return Ok(Destination::Telephones(to.to_owned()));
    }
    let flows = shared.flows();
    match shared.router.inbound(&Origin::Api, to, "") {
        Target::Flow(path) => {
            flows.at(&path).map(Destination::Flow).ok_or(OpenError::NoRoute { status: 404 })
        }
        Target::DefaultFlow => Ok(Destination::Flow(flows.of(to))),
        Target::Conference(name) => Ok(Destination::Conference(name)),
        Target::User(name) => Ok(Destination::Telephones(format!("user:{name}"))),
        Target::Trunk(_) => Ok(Destination::Telephones(to.to_owned())),
        Target::Reject { status } => Err(OpenError::NoRoute { status }),
    }
}

/// Who calls whom.
struct Who {
    from: String,
    to: String,
}

/// What both sides agreed on, and the sockets for it.
struct Ready {
    answer: String,
    agreed: Negotiated,
    local: LocalMedia,
    pair: SocketPair,
    /// Where the request came from, and by whose token.
    from: SocketAddr,
    token: Option<String>,
}

async fn negotiate(shared: &Shared, offer: &Offer, from: SocketAddr) -> Result<Ready, OpenError> {
    let profile = Profile::new(CODECS.to_vec(), Protection::Web);
    let address = shared.media_address(from).map_err(|error| {
        tracing::error!(%error, "no media address for a web page");
        OpenError::NoPorts
    })?;
    // The offer is judged before a port is taken for it.
    let draft = shared.media(SocketAddr::new(address, 9), &profile);
    if renegotiate::answer(offer, &draft)?.1.ice.is_none() {
        return Err(OpenError::NoIce);
    }
    let bound = shared.config.sip.listen.ip();
    let pair = shared.ports.bind(bound).map_err(|error| {
        tracing::error!(%error, "no RTP port for a web page");
        OpenError::NoPorts
    })?;
    let port = pair.address().map_err(|_| OpenError::NoPorts)?.port();
    let mut local = shared.media(SocketAddr::new(address, port), &profile);
    let pair = shared.gather(pair, &mut local).await.ok_or(OpenError::NoPorts)?;
    if let Some(ice) = &mut local.ice {
        // Behind a NAT the advertised address is for those outside, the one we listen on for those beside us.
        ice.candidates
            .extend(inner(bound, address).map(|ip| Candidate::host(SocketAddr::new(ip, port), u16::MAX - 1)));
    }
    let (answer, agreed) = renegotiate::answer(offer, &local)?;
    Ok(Ready { answer, agreed, local, pair, from, token: None })
}

/// The address we listen on, where it is another than the one that is told already.
fn inner(bound: IpAddr, told: IpAddr) -> Option<IpAddr> {
    (!bound.is_unspecified() && bound != told && bound.is_ipv4() == told.is_ipv4()).then_some(bound)
}

/// Begins the call, sets its media up and lets `then` run it.
async fn start<D, F>(
    shared: &Arc<Shared>,
    ready: Ready,
    who: Who,
    dialogue: D,
    language: Language,
    then: impl FnOnce(Begun<D>, Setup, Media) -> F,
) -> Result<Opened, OpenError>
where
    D: Dialogue + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Ready { answer, agreed, local, pair, from, token } = ready;
    let parties = Parties {
        direction: "inbound",
        from: Pii::new(who.from),
        to: Pii::new(who.to),
        ringing: CONNECT + shared.config.call.ringing_limit.0,
        parent: None,
        origin: Origin::Api,
    };
    let mut begun = begin(shared, parties, dialogue);
    let record = begun.log.record();
    record.token = token;
    let leg = record.leg();
    leg.host = Some(from.to_string());
    leg.transport = Some("webrtc".to_owned());
    let id = begun.id;
    let ears = begun.ask();
    let place = Place {
        id,
        agreed: agreed.clone(),
        local: local.clone(),
        language,
        recording: begun.recording.clone(),
        listener: None,
        nat: true,
        ears,
        kept: None,
    };
    let setup = match set_up(shared, place, pair, begun.epoch).await {
        Ok(setup) => setup,
        Err(error) => {
            tracing::error!(%error, "a web page's call could not be set up");
            discard(begun.recording.clone());
            begun.finish(error.cause());
            return Err(error.into());
        }
    };
    let ufrag = agreed.ice.as_ref().map(|ice| ice.credentials.ufrag.clone()).unwrap_or_default();
    let full = local.ice.as_ref().is_some_and(|ice| !ice.lite);
    let tag = shared.web.enter(id, ufrag, full.then(|| setup.leg.control()));
    let running = then(begun, setup, Media::new(local, agreed, Arc::clone(&shared.identity)));
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        running.await;
        shared.web.leave(id);
    });
    Ok(Opened { id, answer, tag })
}

/// A flow answers.
async fn by_flow(mut begun: Begun<FlowDialogue>, mut setup: Setup, media: Media, flow: Arc<Flow>, who: Who) {
    begun.log.record().flow = Some(flow.name().to_owned());
    if let Err(cause) = connected(&mut begun, &mut setup).await {
        return give_up(begun, setup, cause);
    }
    let variables = BTreeMap::from([
        ("caller".to_owned(), who.from),
        ("caller_name".to_owned(), String::new()),
        ("called".to_owned(), who.to),
        ("call_id".to_owned(), begun.id.to_string()),
        ("flow".to_owned(), flow.name().to_owned()),
        ("today".to_owned(), jiff::Zoned::now().date().to_string()),
    ]);
    let language = flow.language().clone();
    // What a flow says before its step `answer` is heard all the same: our description has gone out with the first breath.
    let unanswered = flow.answers_itself().then_some(Unanswered::Page);
    let manner = Manner { language, leaving: Leaving::ByItself, joining: None, unanswered, variables };
    converse(begun, setup, media, manner).await;
}

/// A person or several are to be heard, and nothing else.
async fn quietly(mut begun: Begun<Quiet>, mut setup: Setup, media: Media, joining: Joining) {
    match connected(&mut begun, &mut setup).await {
        Ok(()) => joined(begun, setup, media, joining).await,
        Err(cause) => give_up(begun, setup, cause),
    }
}

async fn joined(begun: Begun<Quiet>, setup: Setup, media: Media, joining: Joining) {
    let language = Language::english();
    let (leaving, joining) = (Leaving::WithPartner, Some(joining));
    let (unanswered, variables) = (None, BTreeMap::new());
    converse(begun, setup, media, Manner { language, leaving, joining, unanswered, variables }).await;
}

/// Somebody else is to answer; they are rung once the page can hear that, and what they say before they answer.
async fn connect(
    mut begun: Begun<Quiet>,
    mut setup: Setup,
    media: Media,
    to: String,
    caller_id: Option<String>,
) {
    if let Err(cause) = connected(&mut begun, &mut setup).await {
        return give_up(begun, setup, cause);
    }
    let (cancel, cancelled) = oneshot::channel();
    let request = TransferRequest {
        to,
        kind: TransferKind::Bridge,
        ring: begun.shared.config.call.ringing_limit.0,
        caller_id,
        music: Vec::new(),
        announce: Vec::new(),
        screen: false,
    };
    let (origin, language) = (Origin::Api, Language::english());
    let (told, mut news) = mpsc::channel(NEWS);
    let tell: dial::Teller = Arc::new(move |news| {
        // Read as they come; one that is too much is a repetition.
        let _ = told.try_send(news);
    });
    let asked = dial::Asked { origin, parent: begun.id, language, request, tell: Some(tell) };
    let (leg, rate) = (setup.leg.control(), setup.rate);
    let (mut ear, mut rung) = (Patience::default(), false);
    let outcome = {
        let dialling = dial::leg(Arc::clone(&begun.shared), asked, cancelled);
        tokio::pin!(dialling);
        loop {
            tokio::select! {
                biased;
                outcome = &mut dialling => break Ok(outcome),
                Some(news) = news.recv() => {
                    if matches!(news, News::Ringing | News::Early(_)) && !std::mem::replace(&mut rung, true) {
                        begun.note(CallInput::Ringing);
                        begun.rings();
                    }
                    ear.follow(&news, &leg, rate);
                }
                does = waits(&mut begun, &mut setup) => match does {
                    Does::Gone(cause) => break Err(cause),
                    // A page's keys come as events.
                    Does::Key(key) => ear.press(key, false),
                },
            }
        }
    };
    drop(cancel);
    ear.end(&leg);
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(cause) => return give_up(begun, setup, cause),
    };
    let other = match outcome {
        Ok(other) => other,
        Err(outcome) => {
            let (cause, _) = cause_of(&outcome);
            return give_up(begun, setup, cause);
        }
    };
    let shared = Arc::clone(&begun.shared);
    joined(begun, setup, media, Joining::Bridge(other)).await;
    // Where this side could not be joined, nobody is left to speak with.
    if shared.switch.partners(other).is_empty()
        && let Some(inlet) = shared.switch.inlet(other)
    {
        inlet.tell(Happening::Command(Command::End(Cause::PARTNER_HUNG_UP)));
    }
}

/// Waits until media flows both ways, or says why it never will.
async fn connected<D: Dialogue>(begun: &mut Begun<D>, setup: &mut Setup) -> Result<(), &'static Cause> {
    let until = Instant::now() + CONNECT;
    loop {
        tokio::select! {
            biased;
            Some(cause) = begun.end.recv() => return Err(cause),
            happening = setup.happenings.recv() => match happening {
                Some(Happening::Leg(LegEvent::Link(LinkEvent::Connected))) => break,
                happening => if let Some(cause) = fatal(happening.as_ref()) { return Err(cause) },
            },
            () = tokio::time::sleep_until(until) => return Err(Cause::NO_WAY),
        }
    }
    // The page has its keys a little later than we do.
    tokio::time::sleep(OPENING).await;
    Ok(())
}

/// What a page does that waits for somebody.
enum Does {
    /// It is gone.
    Gone(&'static Cause),
    /// It presses a key.
    Key(char),
}

/// Waits for what the page does. Cancel-safe.
async fn waits<D: Dialogue>(begun: &mut Begun<D>, setup: &mut Setup) -> Does {
    loop {
        tokio::select! {
            biased;
            Some(cause) = begun.end.recv() => return Does::Gone(cause),
            happening = setup.happenings.recv() => match happening {
                Some(Happening::Leg(LegEvent::Key { key, .. })) => return Does::Key(key),
                happening => if let Some(cause) = fatal(happening.as_ref()) { return Does::Gone(cause) },
            },
        }
    }
}

/// What ends a call that is not answered yet.
fn fatal(happening: Option<&Happening>) -> Option<&'static Cause> {
    match happening {
        Some(Happening::Leg(LegEvent::Link(LinkEvent::Failed { why }))) => {
            tracing::info!(why, "the media of a web page's call finds no way");
            Some(Cause::NO_WAY)
        }
        Some(Happening::Leg(LegEvent::Link(LinkEvent::ConsentLost))) => Some(Cause::CONSENT_LOST),
        Some(Happening::Leg(LegEvent::Link(LinkEvent::Closed))) => Some(Cause::CALLER_CANCELLED),
        Some(Happening::Leg(LegEvent::Silent { .. })) => Some(Cause::RTP_SILENCE),
        None | Some(Happening::Leg(LegEvent::Closed { .. })) => Some(Cause::MEDIA_FAILED),
        Some(_) => None,
    }
}

/// The part of a [`Line`] that differs from destination to destination.
struct Manner {
    language: Language,
    leaving: Leaving,
    joining: Option<Joining>,
    unanswered: Option<Unanswered>,
    variables: BTreeMap<String, String>,
}

async fn converse<D: Dialogue>(begun: Begun<D>, setup: Setup, media: Media, line: Manner) {
    let Manner { language, leaving, joining, unanswered, variables } = line;
    let id = begun.id;
    let line = Line {
        origin: Origin::Api,
        language,
        peer: Pii::new(String::new()),
        leaving,
        joining,
        dialog: None,
        media,
        setup,
        variables,
        unanswered,
        keys: Dtmf::Rfc4733,
    };
    let outcome = begun.converse(line).await;
    tracing::info!(call = %id, cause = outcome.cause.code, "a web page's call is over");
}

/// Ends a call that was never answered.
fn give_up<D: Dialogue>(begun: Begun<D>, setup: Setup, cause: &'static Cause) {
    tracing::info!(call = %begun.id, cause = cause.code, "a web page's call was not answered");
    drop(setup);
    discard(begun.recording.clone());
    begun.finish(cause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_address_is_told_beside_the_advertised_one_only() {
        let (own, outside) =
            ("10.0.0.5".parse().expect("an address"), "192.0.2.1".parse().expect("an address"));
        assert_eq!(inner(own, outside), Some(own));
        assert_eq!(inner(own, own), None);
        assert_eq!(inner("0.0.0.0".parse().expect("an address"), outside), None);
    }
}
