//! An INVITE on its way: challenges, forks, failover, CANCEL, and the answer.

use std::net::SocketAddr;
use std::sync::Arc;

use antiphon_media_frame::Pii;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{
    Header, Method, Request, Response, SipMessage, StatusCode, StatusCodeKind, Transport, Uri, Version,
};
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::{SipAddr, SipConnection};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::address::unescape;
use crate::agent::{Core, SipError, stack_address};
use crate::call_request::Draft;
use crate::dialog::{Dialog, EVENTS, keep};
use crate::exchange::{
    Authorizer, Rounds, authorization_of, drop_fork, is_challenge, phrase, prepare, retry_after, transact,
};
use crate::fields::{cseq, has_token, record_route, session_description, to_tag, wish};
use crate::flow::SipTransport;
use crate::leg::{Beginning, DialogId, Leg, Role, lock};
use crate::outgoing::{OutgoingEvent, connect};

/// Early dialogs of one call that are told apart.
const MAX_FORKS: usize = 16;
/// Contacts of a redirection that are passed on.
const MAX_CONTACTS: usize = 16;
/// How often a call is sent anew because the far side wants a longer session interval.
const MAX_STRETCHES: u32 = 2;

/// A call from its INVITE to its final response.
pub(crate) struct Calling {
    pub(crate) core: Arc<Core>,
    pub(crate) draft: Draft,
    pub(crate) authorizer: Authorizer,
    pub(crate) transport: SipTransport,
    pub(crate) host: String,
    pub(crate) target: SocketAddr,
    pub(crate) connection: Option<SipConnection>,
    pub(crate) rest: Vec<SocketAddr>,
    pub(crate) events: mpsc::Sender<OutgoingEvent>,
    pub(crate) cancel: CancellationToken,
    pub(crate) deadline: Instant,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) forks: Vec<Fork>,
}

/// An early dialog.
pub(crate) struct Fork {
    leg: Arc<Leg>,
    last_rseq: Option<u32>,
    sdp: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GivenUp {
    TimedOut,
    Cancelled,
}

impl GivenUp {
    fn event(self) -> OutgoingEvent {
        match self {
            Self::TimedOut => OutgoingEvent::TimedOut,
            Self::Cancelled => failed(487, "Request Terminated"),
        }
    }
}

/// How one INVITE ended.
struct Attempt {
    invite: Request,
    seq: u32,
    response: Option<Response>,
    /// The far side said something of its own, so the next target is not tried for silence.
    heard: bool,
    given_up: Option<GivenUp>,
    told: bool,
}

impl Calling {
    pub(crate) async fn run(mut self) {
        let (mut rounds, mut stretches, mut seq) = (Rounds::default(), 0, 0);
        loop {
            seq += 1;
            let attempt = match self.attempt(seq).await {
                Ok(attempt) => attempt,
                Err(error) => {
                    tracing::debug!(%error, "invite");
                    self.finish(failed(503, "the call could not be sent"));
                    break;
                }
            };
            let Some(response) = attempt.response else {
                if !attempt.told {
                    let end = attempt.given_up.map(GivenUp::event);
                    self.finish(end.unwrap_or_else(|| failed(503, "the call could not be sent")));
                }
                break;
            };
            if response.status_code.kind() == StatusCodeKind::Successful {
                self.answered(attempt.invite, attempt.seq, &response, attempt.given_up, attempt.told).await;
                return;
            }
            if let Some(why) = attempt.given_up {
                if !attempt.told {
                    self.finish(why.event());
                }
                break;
            }
            if is_challenge(&response) && self.authorizer.challenged(&response, &mut rounds) {
                self.drop_forks();
                continue;
            }
            if response.status_code == StatusCode::SessionIntervalTooSmall
                && let Some(least) = wish(&response).min
                && stretches < MAX_STRETCHES
            {
                stretches += 1;
                self.draft.least = self.draft.least.max(least);
                self.draft.interval = self.draft.interval.map(|interval| interval.max(least));
                self.drop_forks();
                continue;
            }
            let silent = !attempt.heard && response.status_code == StatusCode::RequestTimeout;
            if (silent || response.status_code == StatusCode::ServiceUnavailable) && self.next_target().await
            {
                self.drop_forks();
                continue;
            }
            self.finish(end_of(&response));
            break;
        }
        self.drop_forks();
    }

    /// Sends one INVITE and stays with it until its final response, or until nobody can wait any more.
    async fn attempt(&mut self, seq: u32) -> Result<Attempt, SipError> {
        let callee = self.draft.callee.to_string();
        let authorization = self.authorizer.headers(Method::Invite, &callee);
        let stack = self.transport.stack();
        let invite = self.draft.invite(&self.core, stack, seq, authorization)?;
        let destination = Some(stack_address(stack, self.target));
        let tx = prepare(&self.core, invite.clone(), self.connection.clone(), destination).await?;
        let (responses, mut incoming) = mpsc::channel(EVENTS);
        let driver = tokio::spawn(drive(tx, responses));
        let _driver = AbortOnDrop(driver);
        let mut attempt = Attempt { invite, seq, response: None, heard: false, given_up: None, told: false };
        let mut cancelled = false;
        loop {
            tokio::select! {
                biased;
                response = incoming.recv() => {
                    let Some(response) = response else { return Ok(attempt) };
                    if response.status_code.kind() != StatusCodeKind::Provisional {
                        attempt.response = Some(response);
                        return Ok(attempt);
                    }
                    attempt.heard = true;
                    // A CANCEL may follow a provisional response only (RFC 3261 §9.1).
                    if attempt.given_up.is_some() && !cancelled {
                        cancelled = true;
                        self.send_cancel(&attempt.invite);
                    }
                    if attempt.given_up.is_none() {
                        self.provisional(&attempt.invite, seq, &response);
                    }
                }
                () = self.core.stop.cancelled() => return Ok(attempt),
                () = given_up(&self.cancel, &self.core.closing), if attempt.given_up.is_none() => {
                    attempt.given_up = Some(GivenUp::Cancelled);
                    self.deadline = Instant::now() + self.core.config.t1 * 8;
                    if attempt.heard {
                        cancelled = true;
                        self.send_cancel(&attempt.invite);
                    }
                }
                () = sleep_until(self.deadline) => match attempt.given_up {
                    None => {
                        attempt.given_up = Some(GivenUp::TimedOut);
                        self.deadline = Instant::now() + self.core.config.t1 * 8;
                        if attempt.heard {
                            cancelled = true;
                            self.send_cancel(&attempt.invite);
                        }
                    }
                    // A far side that never says a word cannot be cancelled (RFC 3261 §9.1), and one that does not
                    // end a cancelled call is not waited for: nobody has to wait for that.
                    Some(why) if !attempt.told => {
                        attempt.told = true;
                        self.finish(why.event());
                        self.deadline = Instant::now() + self.core.config.t1 * 64;
                    }
                    // Rung and cancelled, it never ends by itself: the transaction counts as cancelled (RFC 3261 §9.1), or
                    // its place would be taken for good.
                    Some(_) => return Ok(attempt),
                },
            }
        }
    }

    /// The next address of the called host that can be connected to.
    async fn next_target(&mut self) -> bool {
        while !self.rest.is_empty() {
            let target = self.rest.remove(0);
            if let Ok(connection) = connect(&self.core, self.transport, target, &self.host).await {
                (self.target, self.connection) = (target, connection);
                return true;
            }
        }
        false
    }

    /// The CANCEL of an INVITE (RFC 3261 §9.1): the same branch, on the same way.
    fn send_cancel(&self, invite: &Request) {
        let mut headers: Vec<Header> = Vec::new();
        for header in invite.headers.iter() {
            match header {
                Header::Via(_)
                | Header::From(_)
                | Header::To(_)
                | Header::CallId(_)
                | Header::MaxForwards(_)
                | Header::Route(_) => headers.push(header.clone()),
                Header::CSeq(seq) => {
                    headers.push(Header::CSeq(seq.value().replace("INVITE", "CANCEL").into()));
                }
                _ => {}
            }
        }
        headers.push(Header::ContentLength(0u32.into()));
        let cancel = Request {
            method: Method::Cancel,
            uri: invite.uri.clone(),
            headers: headers.into(),
            body: Vec::new(),
            version: Version::V2,
        };
        let (core, connection) = (Arc::clone(&self.core), self.connection.clone());
        let destination = Some(stack_address(self.transport.stack(), self.target));
        tokio::spawn(async move {
            if let Err(error) = transact(&core, cancel, connection, destination).await {
                tracing::debug!(%error, "cancel");
            }
        });
    }

    fn provisional(&mut self, invite: &Request, seq: u32, response: &Response) {
        if response.status_code == StatusCode::Trying {
            return;
        }
        let sdp = session_description(&response.body);
        if let Some(tag) = to_tag(response) {
            let Some(fork) = self.fork(invite, response, &tag) else { return };
            if has_token(response, "Require", "100rel") {
                let leg = Arc::clone(&fork.leg);
                if !leg.acknowledge_provisional(response, seq, &mut fork.last_rseq) {
                    return;
                }
            }
            if let Some(sdp) = &sdp {
                fork.sdp = Some(sdp.clone());
            }
        }
        // The last place belongs to the final event.
        if self.events.capacity() < 2 {
            return;
        }
        match sdp {
            Some(sdp) => {
                let fork = to_tag(response).unwrap_or_default();
                self.events.try_send(OutgoingEvent::Progress { sdp, fork }).ok();
            }
            None if response.status_code == StatusCode::Ringing => {
                self.events.try_send(OutgoingEvent::Ringing).ok();
            }
            None => {}
        }
    }

    /// The early dialog a response belongs to, begun if it is a new one.
    fn fork(&mut self, invite: &Request, response: &Response, tag: &str) -> Option<&mut Fork> {
        if let Some(known) = self.forks.iter().position(|fork| fork.leg.id.remote_tag == tag) {
            return self.forks.get_mut(known);
        }
        if self.forks.len() == MAX_FORKS {
            return None;
        }
        let (auth, contact) = (self.authorizer.clone(), self.draft.contact.clone());
        let leg = fork_leg(&self.core, invite, response, auth, self.transport.stack(), contact)?;
        leg.set_way(self.connection.clone(), self.sent_to());
        leg.set_nat(self.draft.nat);
        self.core.remember(&leg);
        self.forks.push(Fork { leg, last_rseq: None, sdp: None });
        self.forks.last_mut()
    }

    /// Where the INVITE went, and so where the far side is seen.
    fn sent_to(&self) -> Option<SipAddr> {
        Some(stack_address(self.transport.stack(), self.target))
    }

    fn drop_forks(&mut self) {
        for fork in self.forks.drain(..) {
            fork.leg.lose();
        }
    }

    fn finish(&self, event: OutgoingEvent) {
        self.events.try_send(event).ok();
    }

    async fn answered(
        mut self,
        invite: Request,
        seq: u32,
        response: &Response,
        given_up: Option<GivenUp>,
        told: bool,
    ) {
        let tag = to_tag(response).unwrap_or_default();
        let known = self.forks.iter().position(|fork| fork.leg.id.remote_tag == tag);
        let fork = known.map(|at| self.forks.swap_remove(at));
        let early_sdp = fork.as_ref().and_then(|fork| fork.sdp.clone());
        let (auth, contact) = (self.authorizer.clone(), self.draft.contact.clone());
        let leg = match fork {
            Some(fork) => Some(fork.leg),
            None => fork_leg(&self.core, &invite, response, auth, self.transport.stack(), contact),
        };
        self.drop_forks();
        let Some(leg) = leg else {
            self.finish(failed(502, "the answer names no contact"));
            return;
        };
        leg.set_way(self.connection.clone(), self.sent_to());
        leg.set_nat(self.draft.nat);
        leg.learn_route(response);
        if let Some(why) = given_up {
            // The CANCEL came too late (RFC 3261 §9.1): the call stands, and is hung up.
            if !told {
                self.finish(why.event());
            }
            drop_fork(&leg, &invite, response, seq).await;
            leg.lose();
            return;
        }
        let (event_sender, events) = mpsc::channel(EVENTS);
        leg.hold(self.permit, event_sender);
        self.core.remember(&leg);
        if let Some(sdp) = &self.draft.sdp {
            sdp.clone_into(&mut lock(&leg.local_sdp));
        }
        let sdp = session_description(&response.body).or(early_sdp).unwrap_or_default();
        sdp.clone_into(&mut lock(&leg.remote_sdp));
        let mut unacknowledged = None;
        if self.draft.sdp.is_some() {
            let authorization = authorization_of(&invite);
            if let Err(error) = leg.acknowledge(&invite, seq, authorization, None).await {
                // The 2xx comes again, and with it the next try.
                tracing::debug!(%error, "ack");
            }
        } else {
            unacknowledged = Some(Box::new((invite, seq)));
        }
        leg.establish();
        keep::settle(&leg, response).ok();
        let dialog = Dialog { leg, events, over: false, unacknowledged };
        // Refused, because nobody waits any more, the dialog in it hangs up.
        self.events.try_send(OutgoingEvent::Answered { sdp, dialog }).ok();
    }
}

/// Owns the transaction: what it receives must not be lost with a dropped future.
async fn drive(mut tx: Transaction, responses: mpsc::Sender<Response>) {
    if let Err(error) = tx.send().await {
        tracing::debug!(%error, "invite");
        return;
    }
    while let Some(message) = tx.receive().await {
        if let SipMessage::Response(response) = message {
            let last = response.status_code.kind() != StatusCodeKind::Provisional;
            if responses.send(response).await.is_err() || last {
                return;
            }
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn given_up(cancel: &CancellationToken, closing: &CancellationToken) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = closing.cancelled() => {}
    }
}

/// The dialog that a response with a To tag makes on the calling side (RFC 3261 §12.1.2).
pub(crate) fn fork_leg(
    core: &Arc<Core>,
    invite: &Request,
    response: &Response,
    auth: Authorizer,
    transport: Transport,
    contact: Uri,
) -> Option<Arc<Leg>> {
    let id = DialogId {
        call_id: invite.call_id_header().ok()?.value().to_owned(),
        local_tag: invite.from_header().ok()?.tag().ok()??.value().to_owned(),
        remote_tag: to_tag(response)?,
    };
    let target = response.typed_contact_headers().ok().and_then(|found| found.into_iter().next());
    // An early response may lack it; then only the way the INVITE took is known.
    let target = target.map_or_else(|| invite.uri.clone(), |contact| unescape(contact.uri));
    let leg = Leg::new(
        core,
        Beginning {
            id,
            role: Role::Caller,
            local: invite.from_header().ok()?.value().to_owned(),
            remote: response.to_header().ok()?.value().to_owned(),
            contact,
            transport,
            target,
            routes: record_route(response).into_iter().rev().collect(),
            flow: None,
            source: None,
            local_seq: cseq(invite)?,
            remote_seq: None,
            auth,
        },
    );
    leg.learn(response);
    Some(leg)
}

fn failed(status: u16, reason: &str) -> OutgoingEvent {
    OutgoingEvent::Failed { status, reason: reason.to_owned(), retry_after: None }
}

/// What a refusal means to the holder of the call.
fn end_of(response: &Response) -> OutgoingEvent {
    if response.status_code.kind() == StatusCodeKind::Redirection {
        let mut contacts = response.typed_contact_headers().unwrap_or_default();
        let quality = |contact: &rsipstack::sip::typed::Contact| {
            let q = contact.params.iter().find_map(|param| match param {
                rsipstack::sip::Param::Q(q) => q.value().parse::<f32>().ok(),
                _ => None,
            });
            q.filter(|q| q.is_finite()).unwrap_or(1.0)
        };
        contacts.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
        let contacts: Vec<_> = contacts
            .into_iter()
            .take(MAX_CONTACTS)
            .map(|contact| Pii::new(unescape(contact.uri).to_string()))
            .collect();
        if !contacts.is_empty() {
            return OutgoingEvent::Redirected { status: response.status_code.code(), contacts };
        }
    }
    OutgoingEvent::Failed {
        status: response.status_code.code(),
        reason: phrase(response),
        retry_after: retry_after(response),
    }
}
