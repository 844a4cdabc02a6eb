//! The signalling of the calls a load places.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_media_link::{Link, SrtpKeys, Suite};
use antiphon_media_sip::sdp::{self, AgreedSecurity, Codec, LocalMedia, Negotiated, SdesKey, Security};
use antiphon_media_sip::{Agent, CallRequest, Dialog, DialogEvent, OutgoingEvent, SipTransport};
use rand::Rng;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::phone::Line;
use super::phones::{Phones, Talking};
use super::tally::{Failure, Tally};
use crate::commands::serve::interrupted;

/// A call begun late by at most this is made up for; more shifts all that follow.
const MADE_UP: Duration = Duration::from_millis(100);
/// How long calls may take to end once all have been asked to.
const WIND_DOWN: Duration = Duration::from_secs(10);

/// What is to be done.
pub(super) struct Plan {
    pub(super) target: String,
    pub(super) from: String,
    /// Ours, towards the target.
    pub(super) address: IpAddr,
    pub(super) transport: SipTransport,
    pub(super) codec: Codec,
    pub(super) security: Security,
    /// Calls a second.
    pub(super) rate: f64,
    pub(super) concurrent: u32,
    pub(super) total: u32,
    pub(super) duration: Duration,
    pub(super) ring: Duration,
    pub(super) at_most: Duration,
}

/// What the calls share.
struct Load {
    plan: Plan,
    agent: Arc<Agent>,
    phones: Option<Arc<Phones>>,
    tally: Arc<Tally>,
    /// True once every call is to end.
    stop: watch::Receiver<bool>,
}

/// Places all calls of the plan, or as many as there are until its time or the user ends it; returns when all are over.
pub(super) async fn place_all(plan: Plan, agent: Arc<Agent>, phones: Option<Arc<Phones>>, tally: Arc<Tally>) {
    let (stopper, stop) = watch::channel(false);
    let room = Arc::new(Semaphore::new(plan.concurrent as usize));
    let load = Arc::new(Load { plan, agent, phones, tally, stop });
    let mut calls = JoinSet::new();
    let begun = {
        let placing = begin_all(&load, &room, &mut calls);
        tokio::select! {
            () = placing => true,
            () = tokio::time::sleep(load.plan.at_most) => false,
            () = interrupted() => false,
        }
    };
    if begun {
        let longest = load.plan.ring + load.plan.duration + WIND_DOWN;
        tokio::select! {
            () = all(&mut calls) => return,
            () = tokio::time::sleep(longest) => {}
            () = interrupted() => {}
        }
    }
    // Nobody listens only where no call is left.
    let _ = stopper.send(true);
    tokio::time::timeout(WIND_DOWN, all(&mut calls)).await.ok();
}

async fn all(calls: &mut JoinSet<()>) {
    while calls.join_next().await.is_some() {}
}

/// Begins call after call at the plan's rate, each as soon as there is room.
async fn begin_all(load: &Arc<Load>, room: &Arc<Semaphore>, calls: &mut JoinSet<()>) {
    let first = tokio::time::Instant::now();
    let pace = Duration::from_secs_f64(1.0 / load.plan.rate);
    let mut due = first;
    for _ in 0..load.plan.total {
        tokio::time::sleep_until(due).await;
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
        let load = Arc::clone(load);
        load.tally.attempt(first.elapsed());
        calls.spawn(async move {
            load.call().await;
            drop(permit);
        });
        // Those that are over need not be kept.
        while calls.try_join_next().is_some() {}
        let late = tokio::time::Instant::now().saturating_duration_since(due);
        due += pace + late.saturating_sub(MADE_UP);
    }
}

impl Load {
    /// One call from its INVITE to its end.
    async fn call(&self) {
        let socket = match UdpSocket::bind((self.plan.address, 0)) {
            Ok(socket) => socket,
            Err(error) => return self.tally.fail(Failure::Unsent, Some(error.to_string())),
        };
        let local = match local_media(&socket, self.plan.codec, &self.plan.security) {
            Ok(local) => local,
            Err(error) => return self.tally.fail(Failure::Unsent, Some(error.to_string())),
        };
        let mut request = CallRequest::new(&self.plan.target, &self.plan.from, sdp::offer(&local));
        request.ring_timeout = self.plan.ring;
        request.transport = self.plan.transport;
        let began = Instant::now();
        let mut outgoing = match self.agent.call(request).await {
            Ok(outgoing) => outgoing,
            Err(error) => return self.tally.fail(Failure::Unsent, Some(error.to_string())),
        };
        let mut stop = self.stop.clone();
        let (sdp, dialog) = loop {
            let event = tokio::select! {
                event = outgoing.next() => event,
                () = told(&mut stop) => {
                    outgoing.cancel();
                    outgoing.next().await
                }
            };
            match event {
                OutgoingEvent::Ringing | OutgoingEvent::Progress { .. } => {}
                OutgoingEvent::Answered { sdp, dialog, .. } => break (sdp, dialog),
                OutgoingEvent::Failed { status, .. } => {
                    return self.tally.fail(Failure::Status(status), None);
                }
                OutgoingEvent::Redirected { .. } => return self.tally.fail(Failure::Redirected, None),
                OutgoingEvent::TimedOut => return self.tally.fail(Failure::Unanswered, None),
            }
        };
        let answered = Instant::now();
        let Ok(agreed) = sdp::accept_answer(&local, &sdp) else {
            self.tally.fail(Failure::BadAnswer, None);
            dialog.hang_up(None).await.ok();
            return;
        };
        self.tally.answer(answered - began);
        let talking = talk(self.phones.as_deref(), socket, &agreed, answered);
        let cut_short = self.stay(dialog).await;
        let figures = match talking {
            Some(talking) => Some(talking.hang_up().await),
            None => None,
        };
        self.tally.end(answered.elapsed(), cut_short, figures);
    }

    /// Stays in the call for its time and hangs up; says whether the far side did before.
    async fn stay(&self, mut dialog: Dialog) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = over(&mut dialog) => true,
            () = async {
                tokio::select! {
                    () = tokio::time::sleep(self.plan.duration) => {}
                    () = told(&mut stop) => {}
                }
            } => {
                // A far side that is gone by now has hung up by itself.
                dialog.hang_up(None).await.ok();
                false
            }
        }
    }
}

/// Waits until every call is to end.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error would say that the sender is gone: then nobody waits for this call either.
    stop.wait_for(|stop| *stop).await.ok();
}

/// Waits for the end of a call. Offers in mid-call are refused, which leaves the call as it is.
pub(super) async fn over(dialog: &mut Dialog) {
    loop {
        match dialog.next().await {
            DialogEvent::Bye { .. } | DialogEvent::Lost | DialogEvent::Expired => return,
            _ => {}
        }
    }
}

/// What a call brings to its negotiation.
pub(super) fn local_media(
    socket: &UdpSocket,
    codec: Codec,
    security: &Security,
) -> std::io::Result<LocalMedia> {
    let address = socket.local_addr()?;
    let mut local =
        LocalMedia::new(address.ip(), address.port(), rand::rng().random_range(1..=u64::MAX >> 1));
    local.codecs = vec![codec];
    local.security = security.clone();
    Ok(local)
}

/// Lets a phone talk, where there is media and both sides want it.
pub(super) fn talk(
    phones: Option<&Phones>,
    socket: UdpSocket,
    agreed: &Negotiated,
    answered: Instant,
) -> Option<Talking> {
    let phones = phones.filter(|_| agreed.direction.sends() && agreed.direction.receives())?;
    let Some(link) = link(&agreed.security) else {
        tracing::error!("a phone does not know this kind of protection");
        return None;
    };
    let line = Line {
        socket,
        remote: agreed.remote,
        link,
        payload_type: agreed.payload_type,
        ssrc: rand::rng().random(),
        answered,
    };
    match phones.talk(line) {
        Ok(talking) => Some(talking),
        Err(error) => {
            tracing::error!(%error, "a phone cannot talk");
            None
        }
    }
}

/// The protection agreed on; nothing for DTLS-SRTP, which is never offered here.
fn link(security: &AgreedSecurity) -> Option<Link> {
    let keys =
        |key: &SdesKey| SrtpKeys::new(Suite::from_name(key.suite().name())?, key.key(), key.salt()).ok();
    match security {
        AgreedSecurity::Plain => Some(Link::plain()),
        AgreedSecurity::Sdes { ours, theirs } => Some(Link::sdes(keys(ours)?, keys(theirs)?)),
        AgreedSecurity::Dtls { .. } => None,
    }
}
