//! A call that came in and waits for a decision.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::dialog::dialog::Dialog as StackDialog;
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
use rsipstack::sip::{Header, Request, StatusCode, Uri};
use rsipstack::transaction::transaction::{Transaction, TransactionEvent, TransactionEventSender};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::access::Peer;
use crate::agent::{Core, Replying, SipError, refuse_busy, reply};
use crate::dialog::{
    Dialog, DialogEvent, EVENTS, Phase, Shared, pump, quoted, reason_header, session_headers,
};
use crate::flow::SipTransport;
use crate::gate::RETRY_AFTER;
use crate::ingress::Entry;

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
    core: Arc<Core>,
    dialog: InviteDialog,
    leg: Leg,
    request: Request,
    entry: Entry,
    shared: Arc<Shared>,
    events: Option<mpsc::Receiver<DialogEvent>>,
    decided: bool,
}

/// The sending side of a call's INVITE transaction.
#[derive(Clone)]
struct Leg {
    core: Arc<Core>,
    dialog: InviteDialog,
    shared: Arc<Shared>,
    responses: TransactionEventSender,
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

    /// Sends 180 Ringing.
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn ring(&mut self) -> Result<(), SipError> {
        self.still_wanted()?;
        Ok(self.dialog.ringing(None, None)?)
    }

    /// Accepts the call with a session description. The 200 is repeated until the ACK; if none comes within 64 T1 the
    /// dialog reports [`DialogEvent::Lost`].
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn answer(mut self, sdp: &str) -> Result<Dialog, SipError> {
        self.still_wanted()?;
        self.dialog.accept(Some(session_headers()), Some(sdp.as_bytes().to_vec()))?;
        self.decided = true;
        Ok(Dialog {
            core: Arc::clone(&self.core),
            dialog: self.dialog.clone(),
            shared: Arc::clone(&self.shared),
            events: self.events.take().ok_or(SipError::Over)?,
            over: false,
        })
    }

    /// Refuses the call: `status` from 300 to 699, its phrase (empty for the usual one), and words for people in a
    /// Warning and a Reason header.
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn reject(mut self, status: u16, reason_phrase: &str, warning: &str) -> Result<(), SipError> {
        self.still_wanted()?;
        self.decided = true;
        self.leg.refuse(status, reason_phrase, warning)
    }

    /// Waits until the caller gives up (CANCEL, or BYE of the early call) or the ring limit passes. Cancel-safe.
    pub async fn cancelled(&mut self) {
        self.shared.ended().await;
    }

    fn still_wanted(&self) -> Result<(), SipError> {
        if self.shared.phase() == Phase::Ended || self.dialog.state().is_terminated() {
            return Err(SipError::Over);
        }
        Ok(())
    }
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if !self.decided {
            self.leg.refuse(480, "", "").ok();
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

impl Leg {
    /// The stack's own refusal has no room for a phrase and a warning: this response goes first, and the stack's,
    /// which then only ends the dialog, is no longer allowed by the transaction. If the ACK is faster than that, the
    /// stack takes it for the start of a call; the pump knows better.
    fn refuse(&self, status: u16, phrase: &str, warning: &str) -> Result<(), SipError> {
        let code = status.clamp(300, 699);
        let phrase: String = phrase.chars().filter(|c| !c.is_control()).take(128).collect();
        let status = if phrase.is_empty() { StatusCode::from(code) } else { StatusCode::Other(code, phrase) };
        let request = self.dialog.initial_request();
        let mut response = self.core.endpoint.make_response(&request, status.clone(), None);
        let to = request.to_header().map_err(rsipstack::Error::from)?.clone();
        let tagged = to.typed().map_err(rsipstack::Error::from)?.with_tag(self.dialog.id().local_tag.into());
        response.headers.unique_push(Header::To(tagged.into()));
        if !warning.is_empty() {
            let text: String = warning.chars().take(256).collect();
            response.headers.push(Header::Warning(format!("399 antiphon {}", quoted(&text)).into()));
            response.headers.push(reason_header(code, &text));
        }
        if code == 503 {
            response.headers.push(Header::RetryAfter(RETRY_AFTER.into()));
        }
        self.shared.refuse();
        self.responses.send(TransactionEvent::Respond(response)).map_err(|_| SipError::Over)?;
        self.dialog.reject(Some(status), None)?;
        Ok(())
    }
}

/// Takes a new INVITE, or says what refuses it.
pub(crate) fn begin(core: &Arc<Core>, mut tx: Transaction, entry: Entry) -> Option<Replying> {
    let Ok(permit) = Arc::clone(&core.guard.calls).try_acquire_owned() else {
        return Some(refuse_busy(tx));
    };
    let Ok(slot) = core.incoming.clone().try_reserve_owned() else {
        return Some(refuse_busy(tx));
    };
    let transport = entry.transport.stack();
    let Ok(contact) = core.contact(transport) else {
        return Some(reply(tx, StatusCode::ServerInternalError, Vec::new()));
    };
    let (state_sender, states) = core.layer.new_dialog_state_channel();
    let dialog = match core.layer.get_or_create_server_invite(&tx, state_sender, None, Some(contact)) {
        Ok(dialog) => dialog,
        Err(error) => {
            tracing::debug!(%error, "invite refused by the stack");
            return Some(reply(tx, StatusCode::BadRequest, Vec::new()));
        }
    };
    let shared = Shared::new();
    let (event_sender, events) = mpsc::channel(EVENTS);
    let leg = Leg {
        core: Arc::clone(core),
        dialog: dialog.clone(),
        shared: Arc::clone(&shared),
        responses: tx.tu_sender.clone(),
    };
    let call = IncomingCall {
        core: Arc::clone(core),
        dialog: dialog.clone(),
        leg: leg.clone(),
        request: tx.original.clone(),
        entry,
        shared: Arc::clone(&shared),
        events: Some(events),
        decided: false,
    };
    core.remember(&dialog.id(), &shared);
    tokio::spawn(pump(Arc::clone(core), dialog.clone(), Arc::clone(&shared), states, event_sender, permit));
    tokio::spawn(limit_ringing(core.config.ring_limit, leg));
    slot.send(call);
    Some(Box::pin(async move {
        let mut stack = StackDialog::Invite(dialog.clone());
        if let Err(error) = stack.handle(&mut tx).await {
            tracing::debug!(%error, "invite");
        }
        // Whatever went wrong, the pump has to hear of an end.
        if !dialog.state().is_confirmed() {
            dialog.reject(Some(StatusCode::ServerInternalError), None).ok();
        }
    }))
}

async fn limit_ringing(limit: Duration, leg: Leg) {
    if timeout(limit, leg.shared.left(Phase::Early)).await.is_err() && leg.dialog.state().can_cancel() {
        leg.refuse(480, "", "not answered in time").ok();
    }
}

fn party(display_name: Option<String>, uri: Option<&Uri>) -> Party {
    Party {
        user: Pii::new(uri.and_then(|u| u.auth.as_ref()).map(|a| a.user.clone()).unwrap_or_default()),
        display_name: display_name.map(Pii::new),
        host: uri.map(|u| u.host_with_port.host.to_string()).unwrap_or_default(),
    }
}
