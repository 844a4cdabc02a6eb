//! A call that goes out.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::headers::make_header;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{
    Header, Method, Request, Response, SipMessage, StatusCode, StatusCodeKind, Transport, Uri, Version,
};
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transaction::{make_tag, make_uuid_v4};
use rsipstack::transport::SipConnection;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::agent::{Core, SipError, stack_address};
use crate::credentials::Credentials;
use crate::dialog::{Dialog, EVENTS, keep};
use crate::exchange::{
    Authorizer, Rounds, authorization_of, drop_fork, is_challenge, phrase, prepare, retry_after, transact,
};
use crate::flow::{SipTransport, flow};
use crate::gate::ALLOW;
use crate::leg::{
    Beginning, DialogId, Leg, Role, has_token, lock, record_route, session_description, to_tag, wish,
};
use crate::replaces::Replaces;
use crate::targets::resolve;
use crate::timers::{LEAST, SessionExpires};

/// Early dialogs of one call that are told apart.
const MAX_FORKS: usize = 16;
/// Contacts of a redirection that are passed on.
const MAX_CONTACTS: usize = 16;
/// Proxies a call may be sent through.
const MAX_ROUTES: usize = 8;
/// How often a call is sent anew because the far side wants a longer session interval.
const MAX_STRETCHES: u32 = 2;

/// A call to place.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// Whom to call: `sip:user@host[:port]`.
    pub to_uri: Pii<String>,
    /// Who calls: `sip:user@host`.
    pub from: Pii<String>,
    /// Name to show for the caller.
    pub display_name: Option<Pii<String>>,
    /// Session description offered. Without one the far side offers: its offer comes with [`OutgoingEvent::Answered`], and
    /// [`Dialog::acknowledge`] answers it.
    pub sdp: Option<String>,
    /// Further headers, name and value. Names the protocol itself writes (Via, From, Route, Contact, Authorization,
    /// Content-Type …) are refused.
    pub headers: Vec<(String, String)>,
    /// How long it may go unanswered before it is cancelled.
    pub ring_timeout: Duration,
    /// What carries the signalling.
    pub transport: SipTransport,
    /// For the far side's challenges, by 401 and 407.
    pub credentials: Option<Credentials>,
    /// Where the request goes on the wire, whatever `to_uri` says; for a registered phone, where it registered from.
    pub destination: Option<SocketAddr>,
    /// Proxies on the way, nearest first: an outbound proxy (`sip:host[:port]`), or the `path` of a
    /// [`Binding`](crate::Binding). Without a `destination` the call is sent to the first.
    pub routes: Vec<String>,
    /// The caller as this side vouches for it (P-Asserted-Identity, RFC 3325): `sip:user@host` or `tel:…`.
    pub asserted_identity: Option<Pii<String>>,
    /// The dialog of the far side that this call takes the place of (RFC 3891).
    pub replaces: Option<Replaces>,
    /// Who caused this call by a transfer (RFC 3892): an address, or the whole header value that came with the REFER.
    pub referred_by: Option<Pii<String>>,
}

impl CallRequest {
    /// A call over UDP that may ring for a minute.
    #[must_use]
    pub fn new(to_uri: &str, from: &str, sdp: String) -> Self {
        Self {
            to_uri: Pii::new(to_uri.to_owned()),
            from: Pii::new(from.to_owned()),
            display_name: None,
            sdp: Some(sdp),
            headers: Vec::new(),
            ring_timeout: Duration::from_secs(60),
            transport: SipTransport::Udp,
            credentials: None,
            destination: None,
            routes: Vec::new(),
            asserted_identity: None,
            replaces: None,
            referred_by: None,
        }
    }
}

/// How an outgoing call gets on. The last four are final.
#[derive(Debug)]
pub enum OutgoingEvent {
    /// It rings at the far side.
    Ringing,
    /// Early media.
    Progress {
        /// Its session description.
        sdp: String,
        /// Which of the far side's devices speaks, where a proxy has sent the call to several: its tag.
        fork: String,
    },
    /// Answered and, unless the request had no session description, acknowledged.
    Answered {
        /// The session description of the answer; the far side's offer if the request had none. Empty if there was none.
        sdp: String,
        /// The call.
        dialog: Dialog,
    },
    /// To be called elsewhere (3xx), the best first.
    Redirected {
        /// The addresses.
        contacts: Vec<Pii<String>>,
    },
    /// Refused, cancelled (487), or never reached: 408 stands for no response at all.
    Failed {
        /// SIP status.
        status: u16,
        /// Its phrase.
        reason: String,
        /// When the far side wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Not answered within the ring timeout; it was cancelled.
    TimedOut,
}

/// A call that goes out. Dropping it cancels or hangs up.
pub struct OutgoingCall {
    events: mpsc::Receiver<OutgoingEvent>,
    cancel: CancellationToken,
    call_id: String,
}

impl OutgoingCall {
    /// The Call-ID both sides know the call by.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Waits for the next event. Cancel-safe. After a final one it says `Failed` with 481.
    pub async fn next(&mut self) -> OutgoingEvent {
        let over = || OutgoingEvent::Failed {
            status: 481,
            reason: "the call is over".to_owned(),
            retry_after: None,
        };
        self.events.recv().await.unwrap_or_else(over)
    }

    /// Cancels it. The end still comes as an event: `Failed` with 487, or `Answered` if the answer was first.
    pub fn cancel(&mut self) {
        self.cancel.cancel();
    }
}

impl Drop for OutgoingCall {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl fmt::Debug for OutgoingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingCall").field("cancelled", &self.cancel.is_cancelled()).finish_non_exhaustive()
    }
}

pub(crate) async fn place(core: &Arc<Core>, request: CallRequest) -> Result<OutgoingCall, SipError> {
    let limit = core.config.max_calls;
    let permit = Arc::clone(&core.guard.calls).try_acquire_owned().map_err(|_| SipError::Busy { limit })?;
    let draft = Draft::new(core, &request)?;
    let transport = request.transport.stack();
    let listeners = core.endpoint.transport_layer.get_listen_addrs();
    if transport == Transport::Udp && !listeners.iter().any(|l| l.r#type == Some(Transport::Udp)) {
        return Err(SipError::NoTransport);
    }
    let hop = draft.routes.first().unwrap_or(&draft.callee);
    let targets = match request.destination {
        Some(destination) => vec![destination],
        None => resolve(core, hop, request.transport).await?,
    };
    let host = hop.host_with_port.host.to_string();
    let mut targets = targets.into_iter();
    let mut first = None;
    let mut failed = SipError::Unresolved;
    // What cannot even be connected to is passed over here.
    for target in targets.by_ref() {
        match connect(core, request.transport, target, &host).await {
            Ok(connection) => {
                first = Some((target, connection));
                break;
            }
            Err(error) => failed = error,
        }
    }
    let Some((target, connection)) = first else { return Err(failed) };
    let (sender, events) = mpsc::channel(EVENTS);
    let cancel = CancellationToken::new();
    let call_id = draft.call_id.clone();
    let calling = Calling {
        core: Arc::clone(core),
        authorizer: Authorizer::new(request.credentials),
        draft,
        transport: request.transport,
        host,
        target,
        connection,
        rest: targets.collect(),
        events: sender,
        cancel: cancel.clone(),
        deadline: Instant::now() + request.ring_timeout,
        permit,
        forks: Vec::new(),
    };
    tokio::spawn(calling.run());
    Ok(OutgoingCall { events, cancel, call_id })
}

/// The stream to a target; none for UDP.
async fn connect(
    core: &Arc<Core>,
    transport: SipTransport,
    target: SocketAddr,
    host: &str,
) -> Result<Option<SipConnection>, SipError> {
    if !transport.is_stream() {
        return Ok(None);
    }
    flow(core, transport, target, host).await?;
    let address = stack_address(transport.stack(), target);
    let (connection, _) = core.endpoint.transport_layer.lookup(&address, None).await?;
    Ok(Some(connection))
}

/// What stays the same in every INVITE of one call.
struct Draft {
    callee: Uri,
    routes: Vec<Uri>,
    from: String,
    call_id: String,
    contact: Uri,
    extra: Vec<Header>,
    sdp: Option<String>,
    interval: Option<Duration>,
    least: Duration,
}

impl Draft {
    fn new(core: &Arc<Core>, request: &CallRequest) -> Result<Self, SipError> {
        let invalid = |what| SipError::Invalid { what };
        let callee = uri(request.to_uri.expose()).ok_or(invalid("called address"))?;
        let caller = uri(request.from.expose()).ok_or(invalid("caller address"))?;
        let name = match &request.display_name {
            Some(name) if name.expose().contains(['"', '\\']) || !is_text(name.expose()) => {
                return Err(invalid("display name"));
            }
            Some(name) => format!("\"{}\" ", name.expose()),
            None => String::new(),
        };
        let route = |text: &String| uri(text.trim().trim_start_matches('<').trim_end_matches('>'));
        let routes: Option<Vec<Uri>> = request.routes.iter().map(route).collect();
        let routes = routes.filter(|routes| routes.len() <= MAX_ROUTES).ok_or(invalid("route"))?;
        let mut extra = Vec::new();
        if let Some(identity) = &request.asserted_identity {
            let value = identity.expose();
            if !is_address(value) {
                return Err(invalid("asserted identity"));
            }
            extra.push(Header::PAssertedIdentity(format!("<{value}>").into()));
        }
        if let Some(by) = &request.referred_by {
            let value = by.expose();
            if !is_text(value) || value.is_empty() {
                return Err(invalid("referring address"));
            }
            let value = if value.contains('<') { value.clone() } else { format!("<{value}>") };
            extra.push(Header::ReferredBy(value.into()));
        }
        if let Some(replaces) = &request.replaces {
            extra.push(Header::Replaces(replaces.value().ok_or(invalid("replaced dialog"))?.into()));
            extra.push(Header::Require("replaces".into()));
        }
        for (name, value) in &request.headers {
            if !is_free_header(name) || !is_text(value) {
                return Err(invalid("header"));
            }
            extra.push(make_header(name, value.clone()));
        }
        let tag = make_tag().to_string();
        Ok(Self {
            from: format!("{name}<{caller}>;tag={tag}"),
            callee,
            routes,
            call_id: make_uuid_v4(),
            contact: core.contact(request.transport.stack())?,
            extra,
            sdp: request.sdp.clone(),
            interval: core.config.session_expires,
            least: core.config.min_se.max(LEAST),
        })
    }

    fn invite(
        &self,
        core: &Core,
        transport: Transport,
        seq: u32,
        authorization: Vec<Header>,
    ) -> Result<Request, SipError> {
        let mut headers = vec![
            Header::Via(core.via(transport)?.into()),
            Header::MaxForwards(70.into()),
            Header::From(self.from.clone().into()),
            Header::To(format!("<{}>", self.callee).into()),
            Header::CallId(self.call_id.clone().into()),
            Header::CSeq(format!("{seq} INVITE").into()),
            Header::Contact(format!("<{}>", self.contact).into()),
            Header::Allow(ALLOW.into()),
            Header::Supported(core.supported().into()),
        ];
        for route in &self.routes {
            let loose = if route.to_string().to_ascii_lowercase().contains(";lr") { "" } else { ";lr" };
            headers.push(Header::Route(format!("<{route}{loose}>").into()));
        }
        if let Some(interval) = self.interval {
            let expires = SessionExpires { interval: interval.max(self.least), refresher: None };
            headers.push(Header::SessionExpires(expires.value().into()));
            headers.push(Header::MinSE(self.least.as_secs().to_string().into()));
        }
        headers.extend(self.extra.iter().cloned());
        headers.extend(authorization);
        let body = self.sdp.as_deref().unwrap_or_default().as_bytes().to_vec();
        if !body.is_empty() {
            headers.push(Header::ContentType("application/sdp".into()));
        }
        headers.push(Header::ContentLength(u32::try_from(body.len()).unwrap_or(u32::MAX).into()));
        Ok(Request {
            method: Method::Invite,
            uri: self.callee.clone(),
            headers: headers.into(),
            body,
            version: Version::V2,
        })
    }
}

/// A call from its INVITE to its final response.
struct Calling {
    core: Arc<Core>,
    draft: Draft,
    authorizer: Authorizer,
    transport: SipTransport,
    host: String,
    target: SocketAddr,
    connection: Option<SipConnection>,
    rest: Vec<SocketAddr>,
    events: mpsc::Sender<OutgoingEvent>,
    cancel: CancellationToken,
    deadline: Instant,
    permit: OwnedSemaphorePermit,
    forks: Vec<Fork>,
}

/// An early dialog.
struct Fork {
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
    async fn run(mut self) {
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
                () = sleep_until(self.deadline), if !attempt.told => match attempt.given_up {
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
                    Some(why) => {
                        attempt.told = true;
                        self.finish(why.event());
                    }
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
        leg.set_flow(self.connection.clone());
        self.core.remember(&leg);
        self.forks.push(Fork { leg, last_rseq: None, sdp: None });
        self.forks.last_mut()
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
        leg.set_flow(self.connection.clone());
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
    let target = target.map_or_else(|| invite.uri.clone(), |contact| contact.uri);
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
            local_seq: crate::leg::cseq(invite)?,
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
            .map(|contact| Pii::new(contact.uri.to_string()))
            .collect();
        if !contacts.is_empty() {
            return OutgoingEvent::Redirected { contacts };
        }
    }
    OutgoingEvent::Failed {
        status: response.status_code.code(),
        reason: phrase(response),
        retry_after: retry_after(response),
    }
}

/// A `sip:` or `sips:` address that can stand between angle brackets.
pub(crate) fn uri(text: &str) -> Option<Uri> {
    let scheme = text.split(':').next().unwrap_or_default();
    if !(scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")) || !is_address(text) {
        return None;
    }
    Uri::try_from(text).ok()
}

fn is_address(text: &str) -> bool {
    text.contains(':') && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b))
}

pub(crate) fn is_text(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whether a header may be added to a call: a token, and not one the protocol writes itself.
fn is_free_header(name: &str) -> bool {
    const OWN: [&str; 40] = [
        "via",
        "v",
        "from",
        "f",
        "to",
        "t",
        "call-id",
        "i",
        "cseq",
        "max-forwards",
        "contact",
        "m",
        "route",
        "record-route",
        "content-length",
        "l",
        "content-type",
        "c",
        "content-encoding",
        "e",
        "allow",
        "supported",
        "k",
        "require",
        "proxy-require",
        "authorization",
        "proxy-authorization",
        "www-authenticate",
        "proxy-authenticate",
        "session-expires",
        "x",
        "min-se",
        "rseq",
        "rack",
        "replaces",
        "refer-to",
        "r",
        "event",
        "user-agent",
        "server",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    !name.is_empty() && name.bytes().all(token) && !OWN.iter().any(|own| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_protocol_cannot_be_smuggled() {
        for name in [
            "Via",
            "v",
            "FROM",
            "route",
            "Contact",
            "Content-Length",
            "l",
            "Authorization",
            "",
            "A B",
            "X:",
            "X\r\nVia",
        ] {
            assert!(!is_free_header(name), "{name:?}");
        }
        for name in ["X-Campaign", "Diversion", "History-Info", "P-Preferred-Identity", "Subject"] {
            assert!(is_free_header(name), "{name:?}");
        }
        assert!(!is_text("a\r\nVia: b") && !is_text("a\0"));
    }
}
