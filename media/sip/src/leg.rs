//! One dialog (RFC 3261 §12): its identity, counters and path, and the messages made of them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Request, Response, Transport, Uri};
use rsipstack::transport::{SipAddr, SipConnection};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::Instant;

use crate::address::unescape;
use crate::agent::Core;
use crate::dialog::DialogEvent;
use crate::exchange::Authorizer;
use crate::fields::record_route;
use crate::replaces::Replaces;
use crate::timers::{Agreed, Refresher, SessionExpires};

/// What tells a dialog from all others (RFC 3261 §12), seen from this side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// The Call-ID.
    pub call_id: String,
    /// This side's tag.
    pub local_tag: String,
    /// The far side's tag.
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog an incoming request belongs to; without a To tag, none yet.
    pub(crate) fn of_request(request: &Request) -> Option<Self> {
        Some(Self {
            call_id: request.call_id_header().ok()?.value().to_owned(),
            local_tag: request
                .to_header()
                .ok()?
                .tag()
                .ok()?
                .map(|tag| tag.value().to_owned())
                .unwrap_or_default(),
            remote_tag: request.from_header().ok()?.tag().ok()??.value().to_owned(),
        })
    }
}

/// Who began the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Caller,
    Called,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Undecided, or answered without ACK.
    Early,
    /// Both sides know that it stands.
    Established,
    Ended,
}

/// How a call ended, to be told again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    Bye(Option<String>),
    #[default]
    Lost,
    Expired,
}

/// Whose offer waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Ours,
    Theirs,
    /// Answered, and only the ACK is missing: in the way of this side's offers, not of theirs.
    Unconfirmed,
}

/// Where requests go.
pub(crate) struct Path {
    pub(crate) target: Uri,
    pub(crate) routes: Vec<String>,
    /// The stream the call came or went over.
    pub(crate) flow: Option<SipConnection>,
    /// Where the far side's messages really come from.
    pub(crate) source: Option<SipAddr>,
    pub(crate) nat: Nat,
}

/// Whether requests go to where the far side is seen, instead of to its Contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nat {
    /// Where the Contact is a private address, or none at all, and the far side is seen at another.
    #[default]
    Auto,
    /// Always, unless proxies are in between.
    On,
    /// Never.
    Off,
}

/// An agreed session timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    pub(crate) agreed: SessionExpires,
    /// This side refreshes.
    pub(crate) ours: bool,
    pub(crate) since: Instant,
}

/// What made the leg.
pub(crate) struct Beginning {
    pub(crate) id: DialogId,
    pub(crate) role: Role,
    /// From or To value of this side, tag included.
    pub(crate) local: String,
    /// From or To value of the far side, tag included.
    pub(crate) remote: String,
    pub(crate) contact: Uri,
    pub(crate) transport: Transport,
    pub(crate) target: Uri,
    pub(crate) routes: Vec<String>,
    pub(crate) flow: Option<SipConnection>,
    pub(crate) source: Option<SipAddr>,
    pub(crate) local_seq: u32,
    pub(crate) remote_seq: Option<u32>,
    pub(crate) auth: Authorizer,
}

/// One dialog, early or established; shared by handles, tasks and the dispatcher.
pub(crate) struct Leg {
    pub(crate) core: Arc<Core>,
    pub(crate) id: DialogId,
    pub(crate) role: Role,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) contact: Uri,
    pub(crate) transport: Transport,
    pub(crate) seq: AtomicU32,
    remote_seq: Mutex<Option<u32>>,
    pub(crate) path: Mutex<Path>,
    pub(crate) auth: Mutex<Authorizer>,
    phase: watch::Sender<Phase>,
    end: Mutex<End>,
    events: Mutex<Option<mpsc::Sender<DialogEvent>>>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    pending: Mutex<Option<(Pending, u64)>>,
    offers: AtomicU64,
    waiting: AtomicUsize,
    /// The last description this side sent, for refreshes.
    pub(crate) local_sdp: Mutex<String>,
    /// The last description the far side sent.
    pub(crate) remote_sdp: Mutex<String>,
    takes_update: AtomicBool,
    timer: Mutex<Option<Timer>>,
    pub(crate) rearmed: Notify,
    timing: AtomicBool,
    /// Where NOTIFYs of the transfer this side asked for go.
    pub(crate) asked: Mutex<Option<mpsc::Sender<crate::dialog::refer::Notice>>>,
    /// A transfer the far side asked for is under way.
    pub(crate) referred: AtomicBool,
    pub(crate) reliable: Mutex<Option<crate::reliable::Reliability>>,
}

impl Leg {
    pub(crate) fn new(core: &Arc<Core>, beginning: Beginning) -> Arc<Self> {
        let Beginning { id, role, local, remote, contact, transport, target, routes, flow, source, .. } =
            beginning;
        Arc::new(Self {
            core: Arc::clone(core),
            id,
            role,
            local,
            remote,
            contact,
            transport,
            seq: AtomicU32::new(beginning.local_seq),
            remote_seq: Mutex::new(beginning.remote_seq),
            path: Mutex::new(Path { target, routes, flow, source, nat: Nat::Auto }),
            auth: Mutex::new(beginning.auth),
            phase: watch::Sender::new(Phase::Early),
            end: Mutex::new(End::Lost),
            events: Mutex::new(None),
            permit: Mutex::new(None),
            pending: Mutex::new(None),
            offers: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            local_sdp: Mutex::new(String::new()),
            remote_sdp: Mutex::new(String::new()),
            takes_update: AtomicBool::new(false),
            timer: Mutex::new(None),
            rearmed: Notify::new(),
            timing: AtomicBool::new(false),
            asked: Mutex::new(None),
            referred: AtomicBool::new(false),
            reliable: Mutex::new(None),
        })
    }

    /// The identity as a Replaces header names it to the far side.
    pub(crate) fn replaces(&self) -> Replaces {
        Replaces {
            call_id: self.id.call_id.clone(),
            to_tag: self.id.remote_tag.clone(),
            from_tag: self.id.local_tag.clone(),
            early_only: false,
        }
    }

    // ── life ──────────────────────────────────────────────────────────────

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the call is no longer in `phase`.
    pub(crate) async fn left(&self, phase: Phase) {
        // The sender lives in `self`: it cannot close.
        self.phase.subscribe().wait_for(|now| *now != phase).await.ok();
    }

    pub(crate) async fn ended(&self) {
        self.phase.subscribe().wait_for(|now| *now == Phase::Ended).await.ok();
    }

    /// Whether it was early until now.
    pub(crate) fn establish(&self) -> bool {
        self.set_phase(Phase::Established)
    }

    fn set_phase(&self, phase: Phase) -> bool {
        self.phase.send_if_modified(|now| {
            let changes = *now != Phase::Ended && *now != phase;
            if changes {
                *now = phase;
            }
            changes
        })
    }

    /// Ends the call for everybody who holds a handle, once, and gives its place free. `false` if it was over.
    pub(crate) fn finish(&self, end: End) -> bool {
        let mut slot = lock(&self.end);
        if !self.set_phase(Phase::Ended) {
            return false;
        }
        *slot = end;
        drop(slot);
        lock(&self.events).take();
        lock(&self.permit).take();
        lock(&self.asked).take();
        true
    }

    /// Ends it without a word to the far side, which does not know it any more.
    pub(crate) fn lose(&self) {
        self.finish(End::Lost);
        self.core.forget(&self.id);
    }

    pub(crate) fn end(&self) -> DialogEvent {
        match lock(&self.end).clone() {
            End::Bye(reason) => DialogEvent::Bye { reason },
            End::Lost => DialogEvent::Lost,
            End::Expired => DialogEvent::Expired,
        }
    }

    pub(crate) fn hold(&self, permit: OwnedSemaphorePermit, events: mpsc::Sender<DialogEvent>) {
        *lock(&self.permit) = Some(permit);
        *lock(&self.events) = Some(events);
    }

    /// Hands an event to the holder of the dialog. Whether there is one with room for it.
    pub(crate) fn tell(&self, event: DialogEvent) -> bool {
        lock(&self.events).as_ref().is_some_and(|events| events.try_send(event).is_ok())
    }

    /// Counts a request that waits for its holder's answer, up to `limit`.
    pub(crate) fn begin_request(self: &Arc<Self>, limit: usize) -> Option<Waiting> {
        let room = |n: usize| (n < limit).then_some(n + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Waiting(Arc::clone(self)))
    }

    /// Takes the one place for an offer (RFC 3261 §14). `Err` says whose offer is in the way.
    pub(crate) fn begin_offer(self: &Arc<Self>, whose: Pending) -> Result<Offering, Pending> {
        let mut pending = lock(&self.pending);
        match *pending {
            Some((Pending::Unconfirmed, _)) if whose == Pending::Theirs => {}
            Some((other, _)) => return Err(other),
            None => {}
        }
        let number = self.offers.fetch_add(1, Ordering::Relaxed);
        *pending = Some((whose, number));
        Ok(Offering { leg: Arc::clone(self), number })
    }

    // ── requests of the far side ──────────────────────────────────────────

    /// Whether a request is in order (RFC 3261 §12.2.2), and notes its number.
    pub(crate) fn in_order(&self, seq: u32) -> bool {
        let mut last = lock(&self.remote_seq);
        let fits = last.is_none_or(|last| seq > last);
        if fits {
            *last = Some(seq);
        }
        fits
    }

    /// Takes over what a target refresh or a response says about the far side: Contact and Allow.
    pub(crate) fn learn(&self, message: &impl HeadersExt) {
        if let Some(contact) = message.typed_contact_headers().ok().and_then(|found| found.into_iter().next())
        {
            lock(&self.path).target = unescape(contact.uri);
        }
        if let Some(allow) = message.header_value("Allow") {
            let takes = allow.split(',').any(|method| method.trim().eq_ignore_ascii_case("UPDATE"));
            self.takes_update.store(takes, Ordering::Relaxed);
        }
    }

    /// The route set of a caller's dialog is that of the response which made it (RFC 3261 §12.1.2).
    pub(crate) fn learn_route(&self, response: &Response) {
        lock(&self.path).routes = record_route(response).into_iter().rev().collect();
        self.learn(response);
    }

    pub(crate) fn takes_update(&self) -> bool {
        self.takes_update.load(Ordering::Relaxed)
    }

    // ── session timer ─────────────────────────────────────────────────────

    pub(crate) fn timer(&self) -> Option<Timer> {
        *lock(&self.timer)
    }

    /// Arms the timer anew after a successful INVITE or UPDATE. `sent`: this side sent that request.
    pub(crate) fn arm(self: &Arc<Self>, agreed: Option<SessionExpires>, sent: bool) {
        let timer = agreed.map(|agreed| {
            let refresher = agreed.refresher.unwrap_or(Refresher::Uac);
            Timer { agreed, ours: (refresher == Refresher::Uac) == sent, since: Instant::now() }
        });
        *lock(&self.timer) = timer;
        self.rearmed.notify_one();
        if timer.is_some() && !self.timing.swap(true, Ordering::Relaxed) {
            tokio::spawn(crate::dialog::keep::keep(Arc::clone(self)));
        }
    }

    /// Lengthens a running timer that the far side finds too short.
    pub(crate) fn stretch(&self, agreed: SessionExpires) {
        if let Some(timer) = &mut *lock(&self.timer) {
            timer.agreed = agreed;
        }
    }

    /// Headers by which a 2xx of this side agrees to a timer, and the timer.
    pub(crate) fn timer_headers(agreed: Option<Agreed>) -> (Vec<Header>, Option<SessionExpires>) {
        let Some(agreed) = agreed else { return (Vec::new(), None) };
        let expires = SessionExpires { interval: agreed.interval, refresher: Some(agreed.refresher) };
        let mut headers = vec![Header::SessionExpires(expires.value().into())];
        if agreed.require {
            headers.push(Header::Require("timer".into()));
        }
        (headers, Some(expires))
    }

    /// Headers by which an INVITE or UPDATE of this side asks for a timer.
    pub(crate) fn timer_wish(&self) -> Vec<Header> {
        let config = &self.core.config;
        let running = self.timer();
        let Some(interval) = running.map(|timer| timer.agreed.interval).or(config.session_expires) else {
            return Vec::new();
        };
        let refresher = running.map(|timer| if timer.ours { Refresher::Uac } else { Refresher::Uas });
        let least = config.min_se;
        let expires = SessionExpires { interval: interval.max(least), refresher };
        vec![
            Header::SessionExpires(expires.value().into()),
            Header::MinSE(least.as_secs().to_string().into()),
        ]
    }
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg").field("role", &self.role).field("phase", &self.phase()).finish_non_exhaustive()
    }
}

/// One waiting request; counted until dropped.
pub(crate) struct Waiting(Arc<Leg>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of the one offer under way; free again when dropped.
pub(crate) struct Offering {
    leg: Arc<Leg>,
    number: u64,
}

impl Offering {
    /// From here on only the ACK is missing.
    pub(crate) fn answered(&self) {
        if let Some((pending, number)) = &mut *lock(&self.leg.pending)
            && *number == self.number
        {
            *pending = Pending::Unconfirmed;
        }
    }
}

impl Drop for Offering {
    fn drop(&mut self) {
        lock(&self.leg.pending).take_if(|(_, number)| *number == self.number);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
