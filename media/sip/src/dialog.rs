//! An established call, whoever began it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver, TerminatedReason, TransactionHandle};
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, Request, StatusCode};
use rsipstack::transaction::key::TransactionRole;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::agent::{Core, SipError};
use crate::gate::ALLOW;

/// Events that may wait for [`Dialog::next`]; a request beyond is refused with 503.
pub(crate) const EVENTS: usize = 16;

/// What happens in an established call.
#[derive(Debug)]
pub enum DialogEvent {
    /// The far side hung up.
    Bye {
        /// Its Reason header (RFC 3326), if it gave one.
        reason: Option<String>,
    },
    /// The far side wants other media. Unanswered (dropped) it is refused with 488 and the call goes on as before.
    ReInvite {
        /// Its offer; without one, the answer has to be an offer.
        sdp: Option<String>,
        /// Where the answer goes.
        responder: Responder,
    },
    /// An INFO request, already answered with 200.
    Info {
        /// Its Content-Type, or nothing.
        content_type: String,
        /// Its body.
        body: Vec<u8>,
    },
    /// The call is over without a BYE from the far side: it never acknowledged, or the agent shut down.
    Lost,
}

/// An established call. Dropping it hangs up.
pub struct Dialog {
    pub(crate) core: Arc<Core>,
    pub(crate) dialog: InviteDialog,
    pub(crate) shared: Arc<Shared>,
    pub(crate) events: mpsc::Receiver<DialogEvent>,
    pub(crate) over: bool,
}

impl Dialog {
    /// The Call-ID both sides know the call by.
    #[must_use]
    pub fn call_id(&self) -> String {
        self.dialog.id().call_id
    }

    /// Waits for the next event. Cancel-safe. After the end it returns the same end again.
    pub async fn next(&mut self) -> DialogEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => self.shared.end(),
        }
    }

    /// Hangs up, with a Reason header if wanted: a code below 200 is a Q.850 cause, above a SIP status (RFC 3326).
    /// Before the caller's ACK has come the BYE waits for it (RFC 3261 §15). The BYE goes out even if the future is
    /// dropped.
    ///
    /// # Errors
    /// If the BYE could not be sent; the call is over all the same.
    pub async fn hang_up(mut self, reason: Option<(u16, &str)>) -> Result<(), SipError> {
        self.over = true;
        let farewell = tokio::spawn(farewell(
            self.dialog.clone(),
            Arc::clone(&self.shared),
            self.core.config.t1 * 64,
            reason.map(|(code, text)| reason_header(code, text)),
        ));
        match farewell.await {
            Ok(sent) => sent,
            Err(error) => Err(SipError::Stack(error.to_string())),
        }
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.over, Handle::try_current()) {
            runtime.spawn(farewell(
                self.dialog.clone(),
                Arc::clone(&self.shared),
                self.core.config.t1 * 64,
                None,
            ));
        }
    }
}

impl fmt::Debug for Dialog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialog").field("over", &self.over).finish_non_exhaustive()
    }
}

async fn farewell(
    dialog: InviteDialog,
    shared: Arc<Shared>,
    patience: Duration,
    reason: Option<Header>,
) -> Result<(), SipError> {
    tokio::time::timeout(patience, shared.left(Phase::Early)).await.ok();
    dialog.bye_with_headers(reason.map(|header| vec![header])).await?;
    Ok(())
}

/// Answers one re-INVITE. Dropping it refuses with 488.
#[derive(Debug)]
pub struct Responder {
    handle: Option<TransactionHandle>,
}

impl Responder {
    /// Accepts with 200 and this description.
    ///
    /// # Errors
    /// If the request is no longer waiting.
    pub async fn answer(mut self, sdp: &str) -> Result<(), SipError> {
        let handle = self.handle.take().ok_or(SipError::Over)?;
        handle
            .respond(StatusCode::OK, Some(session_headers()), Some(sdp.as_bytes().to_vec()))
            .await
            .map_err(|_| SipError::Over)
    }

    /// Refuses with a final status; the call goes on as before.
    ///
    /// # Errors
    /// If the request is no longer waiting.
    pub async fn reject(mut self, status: u16) -> Result<(), SipError> {
        let handle = self.handle.take().ok_or(SipError::Over)?;
        handle.reply(StatusCode::from(status.clamp(300, 699))).await.map_err(|_| SipError::Over)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let (Some(handle), Ok(runtime)) = (self.handle.take(), Handle::try_current()) {
            runtime.spawn(async move { handle.reply(StatusCode::NotAcceptableHere).await.ok() });
        }
    }
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum End {
    Bye(Option<String>),
    #[default]
    Lost,
}

/// What the dispatcher, the pump and the handles of one call share.
pub(crate) struct Shared {
    phase: watch::Sender<Phase>,
    reason: Mutex<Option<String>>,
    end: Mutex<End>,
    pending: AtomicUsize,
    refused: AtomicBool,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: watch::Sender::new(Phase::Early),
            reason: Mutex::new(None),
            end: Mutex::new(End::Lost),
            pending: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
        })
    }

    /// Waits until the call is no longer in `phase`.
    pub(crate) async fn left(&self, phase: Phase) {
        // The sender lives in `self`: it cannot close.
        self.phase.subscribe().wait_for(|now| *now != phase).await.ok();
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) {
        self.phase.subscribe().wait_for(|now| *now == Phase::Ended).await.ok();
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn note_reason(&self, reason: Option<String>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Counts a request that waits for an answer, up to `limit`.
    pub(crate) fn begin_request(self: &Arc<Self>, limit: usize) -> Option<Pending> {
        let room = |n: usize| (n < limit).then_some(n + 1);
        self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Pending(Arc::clone(self)))
    }

    /// From here on an ACK is that of a refusal.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }

    /// The caller's side stands as soon as it has sent the ACK.
    pub(crate) fn establish(&self) {
        self.set_phase(Phase::Established);
    }

    fn set_phase(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let changes = *now != Phase::Ended && *now != phase;
            if changes {
                *now = phase;
            }
            changes
        });
    }

    fn end(&self) -> DialogEvent {
        match self.end.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            End::Bye(reason) => DialogEvent::Bye { reason },
            End::Lost => DialogEvent::Lost,
        }
    }

    pub(crate) fn finish(&self, role: TransactionRole, why: Option<&TerminatedReason>) {
        let theirs = matches!(
            (role, why),
            (TransactionRole::Server, Some(TerminatedReason::UacBye | TerminatedReason::UacCancel))
                | (TransactionRole::Client, Some(TerminatedReason::UasBye))
        );
        if theirs {
            let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
            *self.end.lock().unwrap_or_else(PoisonError::into_inner) = End::Bye(reason);
        }
        self.set_phase(Phase::Ended);
    }
}

/// One waiting request; counted until dropped.
pub(crate) struct Pending(Arc<Shared>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Turns the stack's states into events until the dialog ends, then forgets it everywhere.
pub(crate) async fn pump(
    core: Arc<Core>,
    dialog: InviteDialog,
    shared: Arc<Shared>,
    mut states: DialogStateReceiver,
    events: mpsc::Sender<DialogEvent>,
    permit: OwnedSemaphorePermit,
) {
    loop {
        let state = tokio::select! {
            () = core.stop.cancelled() => None,
            state = states.recv() => state,
        };
        match state {
            Some(DialogState::Confirmed(..)) if shared.refused.load(Ordering::Acquire) => {
                shared.finish(dialog.role(), None);
                break;
            }
            Some(DialogState::Confirmed(..)) => shared.set_phase(Phase::Established),
            Some(DialogState::Terminated(_, why)) => {
                shared.finish(dialog.role(), Some(&why));
                break;
            }
            Some(DialogState::Updated(_, request, handle)) if request.method == Method::Invite => {
                let responder = Responder { handle: Some(handle) };
                let event = DialogEvent::ReInvite { sdp: session_description(&request), responder };
                if let Err(refused) = events.try_send(event)
                    && let DialogEvent::ReInvite { mut responder, .. } = refused.into_inner()
                    && let Some(handle) = responder.handle.take()
                {
                    handle.reply(StatusCode::ServiceUnavailable).await.ok();
                }
            }
            Some(DialogState::Info(_, request, handle)) => {
                let content_type = request.header_value("Content-Type").unwrap_or_default();
                let taken = events.try_send(DialogEvent::Info { content_type, body: request.body }).is_ok();
                let status = if taken { StatusCode::OK } else { StatusCode::ServiceUnavailable };
                handle.reply(status).await.ok();
            }
            Some(_) => {}
            None => {
                shared.finish(dialog.role(), None);
                break;
            }
        }
    }
    core.forget(&dialog.id());
    drop((events, permit));
}

/// The body of a request as a session description, if it has one.
pub(crate) fn session_description(request: &Request) -> Option<String> {
    (!request.body.is_empty()).then(|| String::from_utf8_lossy(&request.body).into_owned())
}

/// Headers of every message that carries a session description.
pub(crate) fn session_headers() -> Vec<Header> {
    vec![Header::ContentType("application/sdp".into()), Header::Allow(ALLOW.into())]
}

/// `SIP;cause=…;text="…"` (RFC 3326).
pub(crate) fn reason_header(code: u16, text: &str) -> Header {
    let protocol = if code < 200 { "Q.850" } else { "SIP" };
    Header::Reason(format!("{protocol};cause={code};text={}", quoted(text)).into())
}

/// The value of a Reason header that came in, cut to a length that fits a log.
pub(crate) fn reason_text(value: &str) -> Option<String> {
    let text: String = value.chars().filter(|c| !c.is_control()).take(256).collect();
    (!text.is_empty()).then_some(text)
}

/// A quoted string that cannot break out of its header (RFC 3261 §25.1).
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
