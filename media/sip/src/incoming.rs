//! A call that came in and waits for a decision.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
use rsipstack::sip::{Header, Method, Request, Response, SipMessage, StatusCode, Uri};
use rsipstack::transaction::make_tag;
use rsipstack::transaction::transaction::{Transaction, TransactionEvent, TransactionEventSender};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::access::Peer;
use crate::address::unescape;
use crate::agent::{Core, Replying, SipError, refuse_busy, reply};
use crate::call_request::uri;
use crate::dialog::{Dialog, DialogControl, DialogEvent, EVENTS, quoted, reason_header};
use crate::exchange::Authorizer;
use crate::fields::{contact_of, cseq, has_token, record_route, session_description, wish};
use crate::flow::SipTransport;
use crate::gate::RETRY_AFTER;
use crate::ingress::Entry;
use crate::leg::{Beginning, DialogId, End, Leg, Nat, Phase, Role, lock};
use crate::reliable::{Reliability, Step};
use crate::replaces::Replaces;
use crate::timers::{self, SessionExpires};

/// Who calls or is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// User part of the address, mostly a number; empty for an address without one.
    pub user: Pii<String>,
    /// Name to show, if one was sent.
    pub display_name: Option<Pii<String>>,
    /// Host part of the address.
    pub host: String,
}

/// A call that came in. Dropping it undecided refuses it with 480.
pub struct IncomingCall {
    invite: Arc<Invite>,
    request: Request,
    entry: Entry,
    replaces: Option<Replaces>,
    events: Option<mpsc::Receiver<DialogEvent>>,
    decided: bool,
}

/// What was decided about an INVITE; the first decision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Open,
    Answered,
    Refused,
}

/// The INVITE of a call and the way back to it.
struct Invite {
    leg: Arc<Leg>,
    request: Request,
    responses: TransactionEventSender,
    decision: Mutex<Decision>,
    /// What the 200 says about session timers.
    timer: (Vec<Header>, Option<SessionExpires>),
}

impl IncomingCall {
    /// The Call-ID both sides know the call by.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.request.call_id_header().map_or("", |id| id.value())
    }

    /// The caller, as the From header claims.
    #[must_use]
    pub fn from(&self) -> Party {
        let typed = self.request.from_header().ok().and_then(|from| from.typed().ok());
        typed.map_or_else(|| party(None, None), |from| party(from.display_name, Some(&from.uri)))
    }

    /// The called party, by the To header.
    #[must_use]
    pub fn to(&self) -> Party {
        let typed = self.request.to_header().ok().and_then(|to| to.typed().ok());
        typed.map_or_else(|| party(None, None), |to| party(to.display_name, Some(&to.uri)))
    }

    /// The Request-URI: where the call was really sent to.
    #[must_use]
    pub fn request_uri(&self) -> Pii<String> {
        Pii::new(self.request.uri.to_string())
    }

    /// All values of a header, by its long name in any case.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.request.headers.iter().filter(move |h| h.name().eq_ignore_ascii_case(name)).map(Header::value)
    }

    /// Where the INVITE came from on the wire.
    #[must_use]
    pub fn source(&self) -> SocketAddr {
        self.entry.source
    }

    /// What carried the INVITE.
    #[must_use]
    pub fn transport(&self) -> SipTransport {
        self.entry.transport
    }

    /// Who calls, as far as it is proven.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.entry.peer
    }

    /// The session description offered, if any. Without one the answer has to be an offer.
    #[must_use]
    pub fn offer(&self) -> Option<&str> {
        std::str::from_utf8(&self.request.body).ok().filter(|body| !body.is_empty())
    }

    /// The dialog this call shall take the place of (RFC 3891). The agent knows it: see [`Self::replaced`].
    #[must_use]
    pub fn replaces(&self) -> Option<&Replaces> {
        self.replaces.as_ref()
    }

    /// The call of ours that this one shall take the place of: answer this one, then hang that one up.
    #[must_use]
    pub fn replaced(&self) -> Option<DialogControl> {
        let replaces = self.replaces.as_ref()?;
        self.invite.leg.core.find(&replaced_id(replaces)).map(|leg| DialogControl { leg })
    }

    /// Who caused this call by a transfer (RFC 3892), as the caller claims: the whole header value.
    #[must_use]
    pub fn referred_by(&self) -> Option<Pii<String>> {
        self.request.referred_by_header().map(|by| Pii::new(by.value().to_owned()))
    }

    /// Says whether the caller is where its Contact says, for the requests that follow.
    pub fn set_nat(&mut self, nat: Nat) {
        self.invite.leg.set_nat(nat);
    }

    /// Sends 180 Ringing.
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn ring(&mut self) -> Result<(), SipError> {
        self.invite.provisional(StatusCode::Ringing, None)
    }

    /// Sends 183 Session Progress, with a session description for early media. Where the caller knows 100rel and there
    /// is a description (or it insists), the response is repeated until the caller confirms it (RFC 3262). On a call
    /// without an offer the description is an offer; its answer comes as [`DialogEvent::Answer`].
    ///
    /// # Errors
    /// If the caller has given up, or too many responses wait to be confirmed.
    pub fn progress(&mut self, sdp: Option<&str>) -> Result<(), SipError> {
        self.invite.provisional(StatusCode::SessionProgress, sdp)
    }

    /// Whether the caller confirms what comes before the answer (100rel, RFC 3262): where he offered nothing, a description
    /// given to [`Self::progress`] is our offer then.
    #[must_use]
    pub fn confirms_early(&self) -> bool {
        ["Require", "Supported"].iter().any(|name| has_token(&self.request, name, "100rel"))
    }

    /// Waits for the answer to an offer that a 183 carried, which comes with its PRACK (RFC 3262 §5); `None` if the caller
    /// has given up. A PRACK without one is no answer: there is nothing more to wait for then. Cancel-safe.
    pub async fn early_answer(&mut self) -> Option<String> {
        let leg = &self.invite.leg;
        let Some(events) = &mut self.events else { return None };
        loop {
            tokio::select! {
                biased;
                // What else is asked for before there is a call is refused with its responder.
                event = events.recv() => if let DialogEvent::Answer { sdp } = event? { return Some(sdp) },
                () = leg.ended() => return None,
            }
        }
    }

    /// Accepts the call with a session description. The 200 is repeated until the ACK; if none comes within 64 T1 the
    /// dialog reports [`DialogEvent::Lost`]. On a call without an offer ([`Self::offer`]) the description is an offer, and
    /// the answer comes as [`DialogEvent::Answer`]; where one came early ([`Self::early_answer`]) the 200 carries none.
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn answer(mut self, sdp: &str) -> Result<Dialog, SipError> {
        let events = self.events.take().ok_or(SipError::Over)?;
        self.invite.accept(sdp)?;
        self.decided = true;
        Ok(Dialog { leg: Arc::clone(&self.invite.leg), events, over: false, unacknowledged: None })
    }

    /// Refuses the call: `status` from 300 to 699, its phrase (empty for the usual one), and words for people in a
    /// Warning and a Reason header.
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn reject(mut self, status: u16, reason_phrase: &str, warning: &str) -> Result<(), SipError> {
        self.decided = true;
        self.invite.refuse(status, reason_phrase, warning, Vec::new())
    }

    /// Refuses with 503 since there is no room: the caller may come back after this time, told in whole seconds, at least one
    /// (RFC 3261 §20.33).
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn turn_away(mut self, retry_after: Duration, warning: &str) -> Result<(), SipError> {
        self.decided = true;
        let seconds = retry_after.as_millis().div_ceil(1_000).max(1);
        let header = Header::RetryAfter(seconds.to_string().into());
        self.invite.refuse(503, "", warning, vec![header])
    }

    /// Sends the caller elsewhere with 302: `sip:` addresses, the best first.
    ///
    /// # Errors
    /// If an address is not valid, there is none, or the caller has given up.
    pub fn redirect(mut self, contacts: &[String]) -> Result<(), SipError> {
        if contacts.is_empty() || contacts.iter().any(|contact| uri(contact).is_none()) {
            return Err(SipError::Invalid { what: "contact" });
        }
        let count = contacts.len().min(MAX_CONTACTS);
        let contact = |(place, contact): (usize, &String)| {
            let quality = 1_000 - place * 1_000 / count;
            Header::Contact(format!("<{contact}>;q={}.{:03}", quality / 1_000, quality % 1_000).into())
        };
        let headers = contacts.iter().take(count).enumerate().map(contact).collect();
        self.decided = true;
        self.invite.refuse(302, "", "", headers)
    }

    /// Waits until the caller gives up (CANCEL, or BYE of the early call) or the ring limit passes. Cancel-safe.
    pub async fn cancelled(&mut self) {
        self.invite.leg.ended().await;
    }
}

/// Contacts of a redirection that are passed on.
const MAX_CONTACTS: usize = 16;

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if !self.decided {
            self.invite.refuse(480, "", "", Vec::new()).ok();
        }
    }
}

impl fmt::Debug for IncomingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall")
            .field("source", &self.entry.source)
            .field("decided", &self.decided)
            .finish_non_exhaustive()
    }
}

impl Invite {
    fn provisional(&self, status: StatusCode, sdp: Option<&str>) -> Result<(), SipError> {
        let decision = lock(&self.decision);
        if *decision != Decision::Open || self.leg.phase() == Phase::Ended {
            return Err(SipError::Over);
        }
        let response = self.leg.response(&self.request, status, Vec::new(), sdp);
        if let Some(sdp) = sdp {
            sdp.clone_into(&mut lock(&self.leg.local_sdp));
        }
        let required = has_token(&self.request, "Require", "100rel");
        let reliable = required || sdp.is_some() && has_token(&self.request, "Supported", "100rel");
        if !reliable {
            return self.respond(response);
        }
        let mut slot = lock(&self.leg.reliable);
        let reliability =
            slot.get_or_insert_with(|| Reliability::start(&self.leg, &self.request, self.responses.clone()));
        if sdp.is_some() && self.request.body.is_empty() {
            reliability.offered = true;
        }
        if reliability.send(Step::Provisional(response)) { Ok(()) } else { Err(SipError::Pending) }
    }

    fn accept(&self, sdp: &str) -> Result<(), SipError> {
        let mut decision = lock(&self.decision);
        if *decision != Decision::Open || self.leg.phase() == Phase::Ended {
            return Err(SipError::Over);
        }
        // Once an offer of ours was answered, a description in the 200 would be another (RFC 3261 §13.2.1).
        let agreed = self.request.body.is_empty() && !lock(&self.leg.remote_sdp).is_empty();
        let body = (!agreed).then_some(sdp);
        let response = self.leg.response(&self.request, StatusCode::OK, self.timer.0.clone(), body);
        match &*lock(&self.leg.reliable) {
            Some(reliability) if !reliability.send(Step::Final(response.clone())) => {
                return Err(SipError::Pending);
            }
            Some(_) => {}
            None => self.respond(response)?,
        }
        sdp.clone_into(&mut lock(&self.leg.local_sdp));
        *decision = Decision::Answered;
        Ok(())
    }

    fn refuse(
        &self,
        status: u16,
        phrase: &str,
        warning: &str,
        mut headers: Vec<Header>,
    ) -> Result<(), SipError> {
        {
            let mut decision = lock(&self.decision);
            if *decision != Decision::Open {
                return Err(SipError::Over);
            }
            *decision = Decision::Refused;
        }
        let code = status.clamp(300, 699);
        let phrase: String = phrase.chars().filter(|c| !c.is_control()).take(128).collect();
        let status = if phrase.is_empty() { StatusCode::from(code) } else { StatusCode::Other(code, phrase) };
        if !warning.is_empty() {
            let text: String = warning.chars().take(256).collect();
            headers.push(Header::Warning(format!("399 antiphon {}", quoted(&text)).into()));
            headers.push(reason_header(code, &text));
        }
        if code == 503 && !headers.iter().any(|header| matches!(header, Header::RetryAfter(_))) {
            headers.push(Header::RetryAfter(RETRY_AFTER.into()));
        }
        let response = self.leg.response(&self.request, status, headers, None);
        let sent = self.respond(response);
        self.leg.lose();
        sent
    }

    fn respond(&self, response: Response) -> Result<(), SipError> {
        self.responses.send(TransactionEvent::Respond(response)).map_err(|_| SipError::Over)
    }

    /// The caller takes the call back: 487, unless it was decided before.
    fn cancel(&self) {
        {
            let mut decision = lock(&self.decision);
            if *decision != Decision::Open {
                return;
            }
            *decision = Decision::Refused;
        }
        let response = self.leg.response(&self.request, StatusCode::RequestTerminated, Vec::new(), None);
        self.respond(response).ok();
        self.leg.finish(End::Bye(None));
        self.leg.core.forget(&self.leg.id);
    }
}

/// The dialog of this side that a Replaces header of the far side names.
fn replaced_id(replaces: &Replaces) -> DialogId {
    DialogId {
        call_id: replaces.call_id.clone(),
        local_tag: replaces.to_tag.clone(),
        remote_tag: replaces.from_tag.clone(),
    }
}

/// Reads the Replaces header of an INVITE and looks its dialog up (RFC 3891 §3).
fn replaced(core: &Core, request: &Request) -> Result<Option<Replaces>, StatusCode> {
    let mut values = request.headers.iter().filter(|header| matches!(header, Header::Replaces(_)));
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(StatusCode::BadRequest);
    }
    let replaces = Replaces::parse(value.value()).ok_or(StatusCode::BadRequest)?;
    let leg = core.find(&replaced_id(&replaces)).ok_or(StatusCode::CallTransactionDoesNotExist)?;
    match leg.phase() {
        Phase::Ended => Err(StatusCode::Decline),
        Phase::Established if replaces.early_only => Err(StatusCode::BusyHere),
        // An early dialog may only be replaced by the side that began it.
        Phase::Early if leg.role == Role::Called => Err(StatusCode::CallTransactionDoesNotExist),
        _ => Ok(Some(replaces)),
    }
}

/// Takes a new INVITE, or says what refuses it.
pub(crate) fn begin(core: &Arc<Core>, tx: Transaction, entry: Entry) -> Option<Replying> {
    let Ok(permit) = Arc::clone(&core.guard.calls).try_acquire_owned() else {
        return Some(refuse_busy(tx));
    };
    let Ok(slot) = core.incoming.clone().try_reserve_owned() else {
        return Some(refuse_busy(tx));
    };
    let request = tx.original.clone();
    let config = &core.config;
    let timer = match timers::answer(wish(&request), config.session_expires, config.min_se) {
        Ok(agreed) => Leg::timer_headers(agreed),
        Err(least) => {
            let least = Header::MinSE(least.as_secs().to_string().into());
            return Some(reply(tx, StatusCode::SessionIntervalTooSmall, vec![least]));
        }
    };
    let replaces = match replaced(core, &request) {
        Ok(replaces) => replaces,
        Err(status) => return Some(reply(tx, status, Vec::new())),
    };
    let Some(leg) = called_leg(core, &tx, entry.transport) else {
        return Some(reply(tx, StatusCode::BadRequest, Vec::new()));
    };
    leg.learn(&request);
    if let Some(sdp) = session_description(&request.body) {
        *lock(&leg.remote_sdp) = sdp;
    }
    let (event_sender, events) = mpsc::channel(EVENTS);
    leg.hold(permit, event_sender);
    core.remember(&leg);
    let invite = Arc::new(Invite {
        leg: Arc::clone(&leg),
        request: request.clone(),
        responses: tx.tu_sender.clone(),
        decision: Mutex::new(Decision::Open),
        timer,
    });
    let call = IncomingCall {
        invite: Arc::clone(&invite),
        request,
        entry,
        replaces,
        events: Some(events),
        decided: false,
    };
    tokio::spawn(limit_ringing(config.ring_limit, Arc::clone(&invite)));
    slot.send(call);
    Some(Box::pin(serve(invite, tx)))
}

/// The dialog of a call that came in.
fn called_leg(core: &Arc<Core>, tx: &Transaction, transport: SipTransport) -> Option<Arc<Leg>> {
    let request = &tx.original;
    let mut id = DialogId::of_request(request)?;
    id.local_tag = make_tag().to_string();
    let local = format!("{};tag={}", request.to_header().ok()?.value(), id.local_tag);
    let source = tx.connection.as_ref().and_then(|connection| connection.get_remote_addr().cloned());
    let transport = transport.stack();
    let flow = tx.connection.clone().filter(rsipstack::transport::SipConnection::is_reliable);
    Some(Leg::new(
        core,
        Beginning {
            id,
            role: Role::Called,
            local,
            remote: request.from_header().ok()?.value().to_owned(),
            contact: core.contact(transport).ok()?,
            transport,
            target: contact_of(request)?,
            routes: record_route(request),
            flow,
            source,
            local_seq: rand::random::<u32>() & 0xffff,
            remote_seq: cseq(request),
            auth: Authorizer::default(),
        },
    ))
}

/// The INVITE's transaction, from its 100 to the ACK.
async fn serve(invite: Arc<Invite>, mut tx: Transaction) {
    let leg = &invite.leg;
    tx.send_trying().await.ok();
    let mut ack = None;
    while let Some(message) = tx.receive().await {
        match message {
            SipMessage::Request(request) if request.method == Method::Ack => {
                ack = Some(request);
                break;
            }
            SipMessage::Request(request) if request.method == Method::Cancel => invite.cancel(),
            _ => {}
        }
        // An early call that was hung up is not waited for any longer than its refusal takes.
        if leg.phase() == Phase::Ended {
            invite.cancel();
        }
    }
    if *lock(&invite.decision) != Decision::Answered {
        invite.refuse(500, "", "", Vec::new()).ok();
        return;
    }
    let Some(ack) = ack else {
        // No ACK within 64 T1 (RFC 3261 §13.3.1.4).
        leg.bye(Vec::new(), End::Lost).await.ok();
        return;
    };
    leg.establish();
    leg.arm(invite.timer.1, false);
    if invite.request.body.is_empty() {
        let sdp = session_description(&ack.body);
        // Confirmed early, the answer has come in the PRACK.
        if sdp.is_some() || lock(&leg.remote_sdp).is_empty() {
            let sdp = sdp.unwrap_or_default();
            sdp.clone_into(&mut lock(&leg.remote_sdp));
            leg.tell(DialogEvent::Answer { sdp });
        }
    }
}

/// Refuses what stays undecided; ends an early call that the caller hung up.
async fn limit_ringing(limit: Duration, invite: Arc<Invite>) {
    let closing = invite.leg.core.closing.clone();
    tokio::select! {
        biased;
        () = invite.leg.left(Phase::Early) => invite.cancel(),
        () = closing.cancelled() => {
            invite.refuse(503, "", "", Vec::new()).ok();
        }
        () = sleep(limit) => {
            invite.refuse(480, "", "not answered in time", Vec::new()).ok();
        }
    }
}

fn party(display_name: Option<String>, uri: Option<&Uri>) -> Party {
    Party {
        user: Pii::new(uri.and_then(|u| unescape(u.clone()).auth).map(|a| a.user).unwrap_or_default()),
        display_name: display_name.map(Pii::new),
        host: uri.map(|u| u.host_with_port.host.to_string()).unwrap_or_default(),
    }
}
