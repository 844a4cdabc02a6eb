//! An established call, whoever began it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::sip::{Header, Request};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::agent::SipError;
use crate::exchange::authorization_of;
use crate::leg::{DialogId, End, Leg, Phase, lock};
use crate::replaces::Replaces;

mod control;
pub(crate) mod inside;
pub(crate) mod keep;
pub(crate) mod refer;

pub use control::{DialogControl, ReinviteError, RequestError};
pub use refer::{NotifySender, ReferEvent, ReferProgress, ReferResponder, ReferResult};

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
    /// The far side wants other media, by a re-INVITE or an UPDATE. Unanswered (dropped) it is refused with 488 and the
    /// call goes on as before.
    ReInvite {
        /// Its offer; without one, the answer has to be an offer, and the far side's answer comes as
        /// [`DialogEvent::Answer`].
        sdp: Option<String>,
        /// Where the answer goes.
        responder: Responder,
    },
    /// The far side's answer to an offer of this side that went in a response (delayed offer, RFC 3261 §13.2.1), or
    /// another answer than before to a refresh of the session.
    Answer {
        /// Its session description; empty if the ACK had none.
        sdp: String,
    },
    /// An INFO request, already answered with 200.
    Info {
        /// Its Content-Type, or nothing.
        content_type: String,
        /// Its body.
        body: Vec<u8>,
    },
    /// The far side asks this one to call somebody (RFC 3515). Unanswered (dropped) it is refused with 603.
    Refer {
        /// Whom to call, without header parts.
        target: Pii<String>,
        /// The dialog the new call shall replace (attended transfer).
        replaces: Option<Replaces>,
        /// On whose behalf (RFC 3892), as the far side claims.
        referred_by: Option<Pii<String>>,
        /// Where the answer goes.
        responder: ReferResponder,
    },
    /// The call is over without a BYE from the far side: it never acknowledged, no longer knows the call, or the agent
    /// shut down.
    Lost,
    /// Nobody refreshed the session in time (RFC 4028); the far side was sent a BYE.
    Expired,
}

/// An established call. Dropping it hangs up.
pub struct Dialog {
    pub(crate) leg: Arc<Leg>,
    pub(crate) events: mpsc::Receiver<DialogEvent>,
    pub(crate) over: bool,
    /// The INVITE whose 2xx waits for an ACK with an answer, and its number.
    pub(crate) unacknowledged: Option<Box<(Request, u32)>>,
}

impl Dialog {
    /// The Call-ID both sides know the call by.
    #[must_use]
    pub fn call_id(&self) -> String {
        self.leg.id.call_id.clone()
    }

    /// What tells this dialog from all others.
    #[must_use]
    pub fn id(&self) -> DialogId {
        self.leg.id.clone()
    }

    /// A handle that sends requests in the call while another task waits in [`Self::next`].
    #[must_use]
    pub fn control(&self) -> DialogControl {
        DialogControl { leg: Arc::clone(&self.leg) }
    }

    /// The dialog as a third side has to name it to the far side of it, to take this side's place (attended transfer).
    #[must_use]
    pub fn replaces(&self) -> Replaces {
        self.leg.replaces()
    }

    /// Answers the offer that came with the 2xx to an INVITE without one ([`crate::CallRequest::sdp`] was `None`): it goes
    /// out in the ACK. Until then the far side repeats its 2xx, for 64 T1 at most.
    ///
    /// # Errors
    /// If nothing waits for an answer, or the ACK could not be sent.
    pub async fn acknowledge(&mut self, sdp: &str) -> Result<(), SipError> {
        let (invite, seq) = *self.unacknowledged.take().ok_or(SipError::Over)?;
        sdp.clone_into(&mut lock(&self.leg.local_sdp));
        self.leg.acknowledge(&invite, seq, authorization_of(&invite), Some(sdp)).await
    }

    /// Waits for the next event. Cancel-safe. After the end it returns the same end again.
    pub async fn next(&mut self) -> DialogEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => self.leg.end(),
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
        let reason = reason.map(|(code, text)| reason_header(code, text));
        let farewell = tokio::spawn(farewell(Arc::clone(&self.leg), self.unacknowledged.take(), reason));
        match farewell.await {
            Ok(sent) => sent,
            Err(error) => Err(SipError::Stack(error.to_string())),
        }
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.over, Handle::try_current()) {
            runtime.spawn(farewell(Arc::clone(&self.leg), self.unacknowledged.take(), None));
        }
    }
}

impl fmt::Debug for Dialog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialog").field("over", &self.over).finish_non_exhaustive()
    }
}

/// The BYE, once it may be sent.
pub(crate) async fn farewell(
    leg: Arc<Leg>,
    unacknowledged: Option<Box<(Request, u32)>>,
    reason: Option<Header>,
) -> Result<(), SipError> {
    if let Some((invite, seq)) = unacknowledged.map(|invite| *invite) {
        leg.acknowledge(&invite, seq, authorization_of(&invite), None).await?;
    }
    tokio::time::timeout(leg.core.config.t1 * 64, leg.left(Phase::Early)).await.ok();
    leg.bye(reason.into_iter().collect(), End::Lost).await
}

/// What the holder of a [`Responder`] decided.
#[derive(Debug)]
pub(crate) enum Decision {
    Accept(String),
    Reject(u16),
}

/// Answers one re-INVITE or UPDATE. Dropping it refuses with 488.
#[derive(Debug)]
pub struct Responder {
    pub(crate) decision: oneshot::Sender<Decision>,
}

impl Responder {
    /// Accepts with 200 and this description.
    ///
    /// # Errors
    /// If the request is no longer waiting.
    pub async fn answer(self, sdp: &str) -> Result<(), SipError> {
        self.decision.send(Decision::Accept(sdp.to_owned())).map_err(|_| SipError::Over)
    }

    /// Refuses with a final status; the call goes on as before.
    ///
    /// # Errors
    /// If the request is no longer waiting.
    pub async fn reject(self, status: u16) -> Result<(), SipError> {
        self.decision.send(Decision::Reject(status.clamp(300, 699))).map_err(|_| SipError::Over)
    }
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

/// How long the holder of a call may think about a request in it.
pub(crate) fn thinking_time(t1: Duration) -> Duration {
    // Short of the 64 T1 after which the far side stops waiting.
    t1 * 60
}
