//! Places a call for a program that does nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Cause, Dialogue, Event};
use antiphon_media_frame::{Pii, SampleRate, TrackReader, TrackWriter};
use antiphon_media_plane::{Clip, ClipId, LegCommand, SocketPair, Sound};
use antiphon_media_sip::sdp::{self, Negotiated};
use antiphon_media_sip::{Agent, AgentConfig, CallRequest, Dialog, SipTransport};
use antiphon_models_speech::Language;
use anyhow::{Context, bail};
use tokio::sync::mpsc;

use crate::begin::{Begun, Line, Parties, begin};
use crate::config::Dtmf;
use crate::conversation::Leaving;
use crate::renegotiate::Media;
use crate::ringing::{Ear, Missed, News, Sockets, Wait, answer_of};
use crate::setup::{Place, set_up};
use crate::shared::Shared;
use crate::trunks::{Origin, RedirectError};

/// A person's end of a call instead of a script: a microphone and a loudspeaker.
pub(crate) trait Handset {
    /// Starts both at the call's rate: where the microphone is read, where the far side's sound goes, and what keeps the
    /// devices running.
    fn attach(&self, rate: SampleRate) -> anyhow::Result<(TrackReader, TrackWriter, Box<dyn std::any::Any>)>;
}

/// News of a call that wait to be read.
const NEWS: usize = 64;
/// The clip that carries the microphone; no prompt of a call has this number.
const MICROPHONE: ClipId = ClipId(0);

/// What is to be called.
pub(crate) struct Target {
    pub(crate) uri: String,
    pub(crate) from: String,
    pub(crate) transport: SipTransport,
    pub(crate) ring_timeout: Duration,
}

/// What became of a placed call.
pub(crate) struct Placed {
    pub(crate) cause: &'static Cause,
    /// SIP status and phrase where the far side refused.
    pub(crate) refusal: Option<(u16, String)>,
    pub(crate) events: Vec<Event>,
}

/// Checks and completes what the user typed: `bank@127.0.0.1` becomes `sip:bank@127.0.0.1`.
pub(crate) fn uri(text: &str) -> anyhow::Result<String> {
    let uri = if text.starts_with("sip:") { text.to_owned() } else { format!("sip:{text}") };
    if text.starts_with("sips:") {
        bail!("sips: addresses are not served; use sip:");
    }
    host(&uri).with_context(|| format!("`{text}` is no address such as sip:bank@127.0.0.1:5060"))?;
    Ok(uri)
}

fn host(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("sip:")?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = rest.split([';', '?']).next()?;
    (!host.is_empty()).then_some(host)
}

/// The address that a SIP address names.
pub(crate) fn resolve(uri: &str) -> anyhow::Result<SocketAddr> {
    let host = host(uri).context("the address has no host")?;
    let mut found = match host.to_socket_addrs() {
        Ok(found) => found,
        Err(_) => (host.trim_matches(['[', ']']), 5060)
            .to_socket_addrs()
            .with_context(|| format!("cannot find the host {host}"))?,
    };
    found.next().with_context(|| format!("the host {host} has no address"))
}

/// Calls `target`, lets `dialogue` speak with it, returns when the call is over. `tell` hears what happens before the answer.
pub(crate) async fn place(
    shared: &Arc<Shared>,
    target: Target,
    dialogue: impl Dialogue + Send,
    language: Language,
    handset: Option<Box<dyn Handset>>,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<Placed> {
    let peer = resolve(&target.uri)?;
    let probe = UdpSocket::bind((if peer.is_ipv4() { "0.0.0.0" } else { "::" }, 0))?;
    probe.connect(peer).with_context(|| format!("no route to {peer}"))?;
    let address = probe.local_addr()?.ip();
    let here = SocketAddr::new(address, 0);
    let config = AgentConfig {
        udp: vec![here],
        tcp: vec![here],
        user_agent: Some("Antiphon".into()),
        ..AgentConfig::default()
    };
    let (agent, _incoming) = Agent::bind(config).await?;
    let placed = attempt(&agent, shared, address, target, dialogue, language, handset, &mut tell).await;
    // Also after a failure: what was said last (a BYE, a CANCEL) still has to leave.
    agent.shutdown().await;
    placed
}

#[expect(clippy::too_many_arguments, reason = "what is called, by whom, and what hears of it")]
async fn attempt(
    agent: &Agent,
    shared: &Arc<Shared>,
    address: IpAddr,
    target: Target,
    dialogue: impl Dialogue + Send,
    language: Language,
    handset: Option<Box<dyn Handset>>,
    tell: &mut impl FnMut(&str),
) -> anyhow::Result<Placed> {
    let parties = Parties {
        direction: "outbound",
        from: Pii::new(target.from.clone()),
        to: Pii::new(target.uri.clone()),
        ringing: target.ring_timeout + Duration::from_secs(5),
        parent: None,
        origin: Origin::Api,
    };
    let mut begun = begin(shared, parties, dialogue);
    let id = begun.id;
    let pair = match shared.ports.bind(address) {
        Ok(pair) => pair,
        Err(error) => {
            begun.finish(Cause::NO_PORTS);
            return Err(error.into());
        }
    };
    let profile = shared.profile(&Origin::Api);
    let local = shared.offer_media(SocketAddr::new(address, pair.address()?.port()), &profile);
    let mut request = CallRequest::new(&target.uri, &target.from, sdp::offer(&local));
    request.ring_timeout = target.ring_timeout;
    request.transport = target.transport;
    let outgoing = match agent.call(request).await {
        Ok(outgoing) => outgoing,
        Err(error) => {
            begun.finish(Cause::UNREACHABLE);
            return Err(error.into());
        }
    };
    let mut ear = Ear::new(local, pair, None, profile.keys);
    let (news, mut told) = mpsc::channel(NEWS);
    let tell_news = |what| {
        // Read below as it comes; a script's call has one target.
        let _ = news.try_send(what);
    };
    let host = host(&target.uri).unwrap_or_default().to_owned();
    let wait = Wait { host: &host, try_limit: target.ring_timeout, tell: &tell_news };
    let answered = {
        let answer = answer_of(outgoing, &mut ear, wait);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                Some(news) = told.recv() => {
                    if matches!(news, News::Ringing) {
                        tell("ringing");
                    }
                    begun.tell(news, None);
                }
                answered = &mut answer => break answered.map_err(|missed| {
                    if !missed.elsewhere.is_empty() {
                        let (host, status, to) = (host.clone(), missed.status, missed.elsewhere.clone());
                        let results = vec![RedirectError::Off.name(); to.len()];
                        begun.tell(News::Redirected { host, status, to, results }, None);
                    }
                    NotAnswered::of(*missed)
                }),
                // Dropped, the call is cancelled.
                Some(cause) = begun.end.recv() => break Err(NotAnswered { cause, refusal: None }),
            }
        }
    };
    while let Ok(news) = told.try_recv() {
        begun.tell(news, None);
    }
    let (cause, refusal) = match (answered, ear.into_parts()) {
        (Ok((dialog, agreed)), (local, Sockets::Idle(pair))) => {
            let answered = Answered { dialog, agreed, local, pair, peer: Pii::new(target.uri), language };
            (talk(begun, answered, handset).await?, None)
        }
        // Without a door for early sound the sockets are idle.
        (Ok(_), _) => {
            begun.finish(Cause::MEDIA_FAILED);
            (Cause::MEDIA_FAILED, None)
        }
        (Err(NotAnswered { cause, refusal }), _) => {
            begun.finish(cause);
            (cause, refusal)
        }
    };
    let history = shared.calls.watch(id).map(|(history, _)| history).unwrap_or_default();
    Ok(Placed { cause, refusal, events: history.iter().map(|event| Event::clone(event)).collect() })
}

struct NotAnswered {
    cause: &'static Cause,
    refusal: Option<(u16, String)>,
}

impl NotAnswered {
    fn of(missed: Missed) -> Self {
        let Missed { cause, status, reason, .. } = missed;
        let refusal = (cause != Cause::NO_ANSWER).then_some((status, reason));
        Self { cause, refusal }
    }
}

/// The far side has answered.
struct Answered {
    dialog: Dialog,
    agreed: Negotiated,
    local: sdp::LocalMedia,
    pair: SocketPair,
    peer: Pii<String>,
    language: Language,
}

async fn talk(
    mut begun: Begun<impl Dialogue + Send>,
    answered: Answered,
    held: Option<Box<dyn Handset>>,
) -> anyhow::Result<&'static Cause> {
    let Answered { dialog, agreed, local, pair, peer, language } = answered;
    let shared = Arc::clone(&begun.shared);
    let ears = begun.ask();
    let mut place = Place {
        id: begun.id,
        agreed: agreed.clone(),
        local: local.clone(),
        language: language.clone(),
        recording: begun.recording.clone(),
        listener: None,
        nat: true,
        ears,
        kept: None,
    };
    let mut handset = None;
    if let Some(held) = &held {
        let (microphone, loudspeaker, running) = held.attach(agreed.codec.sample_rate())?;
        place.listener = Some(loudspeaker);
        handset = Some((microphone, running));
    }
    let setup = match set_up(&shared, place, pair, begun.epoch).await {
        Ok(setup) => setup,
        Err(error) => {
            begun.finish(error.cause());
            return Err(error.into());
        }
    };
    let mut devices = None;
    if let Some((mut microphone, running)) = handset {
        // What was said while the models loaded would be heard late, and everything after it.
        while microphone.ready() > 2 {
            microphone.pop(|_| ());
        }
        setup.leg.send(LegCommand::Play(Clip {
            id: MICROPHONE,
            sound: Sound::Stream(microphone),
            interruptible: false,
            repeat: false,
        }))?;
        devices = Some(running);
    }
    let line = Line {
        origin: Origin::Api,
        language,
        peer,
        leaving: Leaving::ByItself,
        joining: None,
        dialog: Some(dialog),
        media: Media::new(local, agreed, Arc::clone(&shared.identity)),
        setup,
        variables: BTreeMap::new(),
        unanswered: None,
        keys: Dtmf::Rfc4733,
    };
    let outcome = begun.converse(line).await;
    drop(devices);
    Ok(outcome.cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_and_checked() {
        assert_eq!(uri("bank@127.0.0.1:5060").expect("valid"), "sip:bank@127.0.0.1:5060");
        assert_eq!(resolve("sip:bank@127.0.0.1:5070;transport=udp").expect("valid").port(), 5070);
        assert_eq!(resolve("sip:127.0.0.1").expect("valid").port(), 5060);
        assert!(uri("sip:bank@").is_err());
        assert!(uri("sips:bank@127.0.0.1").is_err());
    }
}
