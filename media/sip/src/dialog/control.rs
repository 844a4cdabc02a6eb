//! Requests of this side in an established call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::sip::{Header, Method, Response, StatusCode, StatusCodeKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::keep::settle;
use super::refer::{REFER_LIMIT, ReferProgress, STEPS, follow};
use super::{farewell, reason_header};
use crate::agent::SipError;
use crate::call_request::{is_text, uri};
use crate::exchange::{phrase, retry_after};
use crate::fields::session_description;
use crate::leg::{DialogId, Leg, Pending, Phase, Role, lock};
use crate::replaces::Replaces;

/// Re-INVITEs sent for one change of media while the far side says 491 or wants a moment.
const ATTEMPTS: u32 = 5;
/// How often it is looked whether the far side's own offer is answered.
const LOOK: Duration = Duration::from_millis(50);

/// Why a change of media did not come about. The call goes on as before, except after `Over`.
#[derive(Debug, thiserror::Error)]
pub enum ReinviteError {
    /// The far side refused.
    #[error("refused with {status} {reason}")]
    Refused {
        /// SIP status.
        status: u16,
        /// Its phrase.
        reason: String,
    },
    /// Both sides wanted a change each time ({attempts} times).
    #[error("both sides changed the media at once, {attempts} times")]
    Glare {
        /// How often it was tried.
        attempts: u32,
    },
    /// No response.
    #[error("no response")]
    TimedOut,
    /// The far side agreed without saying to what.
    #[error("accepted without a session description")]
    NoAnswer,
    /// The call is over.
    #[error("the call is over")]
    Over,
    /// The request could not be sent.
    #[error(transparent)]
    Sip(#[from] SipError),
}

/// Why a request in a call failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The far side refused.
    #[error("refused with {status} {reason}")]
    Refused {
        /// SIP status.
        status: u16,
        /// Its phrase.
        reason: String,
    },
    /// No response.
    #[error("no response")]
    TimedOut,
    /// The call is over.
    #[error("the call is over")]
    Over,
    /// The request could not be sent.
    #[error(transparent)]
    Sip(#[from] SipError),
}

/// Sends requests in a call; usable while another task waits in [`super::Dialog::next`]. Dropping it changes nothing.
#[derive(Clone)]
pub struct DialogControl {
    pub(crate) leg: Arc<Leg>,
}

impl DialogControl {
    /// What tells this dialog from all others.
    #[must_use]
    pub fn id(&self) -> DialogId {
        self.leg.id.clone()
    }

    /// The Call-ID both sides know the call by.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.leg.id.call_id
    }

    /// See [`super::Dialog::replaces`].
    #[must_use]
    pub fn replaces(&self) -> Replaces {
        self.leg.replaces()
    }

    /// Whether the call is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.leg.phase() == Phase::Ended
    }

    /// Offers other media and returns the far side's answer. When both sides try at once (491), it is tried again after
    /// the pause of RFC 3261 §14.1, five times in all. Dropping the future stops the tries, not the one under way.
    ///
    /// # Errors
    /// See [`ReinviteError`].
    pub async fn reinvite(&self, sdp: &str) -> Result<String, ReinviteError> {
        for _ in 0..ATTEMPTS {
            // On its own, so that a caller who waits no longer leaves no answer unacknowledged.
            let (control, sdp) = (self.clone(), sdp.to_owned());
            let offered = tokio::spawn(async move { control.offer(&sdp).await });
            match offered.await.map_err(|error| SipError::Stack(error.to_string()))?? {
                Offered::Answered(answer) => return Ok(answer),
                Offered::Again(pause) => {
                    tokio::select! {
                        () = self.leg.ended() => return Err(ReinviteError::Over),
                        () = sleep(pause) => {}
                    }
                }
            }
        }
        Err(ReinviteError::Glare { attempts: ATTEMPTS })
    }

    async fn offer(&self, sdp: &str) -> Result<Offered, ReinviteError> {
        let leg = &self.leg;
        if leg.phase() == Phase::Early {
            leg.left(Phase::Early).await;
        }
        if leg.phase() == Phase::Ended {
            return Err(ReinviteError::Over);
        }
        let limit = Instant::now() + leg.core.config.t1 * 64;
        let _offering = loop {
            match leg.begin_offer(Pending::Ours) {
                Ok(offering) => break offering,
                // Theirs, or another task's: it is answered within the limit of its transaction.
                Err(_) if Instant::now() < limit && leg.phase() != Phase::Ended => sleep(LOOK).await,
                Err(_) => return Err(ReinviteError::Glare { attempts: 1 }),
            }
        };
        let response = leg.send_invite(leg.timer_wish(), sdp).await?;
        match response.status_code.kind() {
            StatusCodeKind::Successful => {
                sdp.clone_into(&mut lock(&leg.local_sdp));
                settle(leg, &response)?;
                let answer = session_description(&response.body).ok_or(ReinviteError::NoAnswer)?;
                answer.clone_into(&mut lock(&leg.remote_sdp));
                Ok(Offered::Answered(answer))
            }
            _ => refused(leg, &response),
        }
    }

    /// Sends an INFO request.
    ///
    /// # Errors
    /// See [`RequestError`]; a Content-Type that does not fit a header is refused.
    pub async fn info(&self, content_type: &str, body: &[u8]) -> Result<(), RequestError> {
        if content_type.is_empty() || !is_text(content_type) {
            return Err(SipError::Invalid { what: "content type" }.into());
        }
        if self.is_over() {
            return Err(RequestError::Over);
        }
        let response = self.leg.send(Method::Info, Vec::new(), Some((content_type, body))).await?;
        match response.status_code {
            ref status if status.kind() == StatusCodeKind::Successful => Ok(()),
            StatusCode::RequestTimeout => Err(RequestError::TimedOut),
            StatusCode::CallTransactionDoesNotExist => {
                self.leg.lose();
                Err(RequestError::Over)
            }
            ref status => Err(RequestError::Refused { status: status.code(), reason: phrase(&response) }),
        }
    }

    /// Asks the far side to call `target` (blind transfer), or to take `replaces`' place in a call with it (attended).
    /// The call itself goes on: hang it up when the result is there, or take the caller back.
    ///
    /// # Errors
    /// If an address is not valid, the call is over, or a transfer is already under way.
    pub fn refer(
        &self,
        target: &Pii<String>,
        replaces: Option<&Replaces>,
        referred_by: Option<&Pii<String>>,
    ) -> Result<ReferProgress, SipError> {
        let invalid = |what| SipError::Invalid { what };
        let address = uri(target.expose()).ok_or(invalid("transfer target"))?;
        if !address.headers.is_empty() {
            return Err(invalid("transfer target: header parts are not allowed"));
        }
        let refer_to = match replaces {
            None => format!("<{}>", target.expose()),
            Some(replaces) => {
                let escaped = replaces.escaped().ok_or(invalid("replaced dialog"))?;
                format!("<{}?Replaces={escaped}>", target.expose())
            }
        };
        let mut headers = vec![Header::ReferTo(refer_to.into())];
        if let Some(by) = referred_by {
            uri(by.expose()).ok_or(invalid("referring address"))?;
            headers.push(Header::ReferredBy(format!("<{}>", by.expose()).into()));
        }
        if self.leg.phase() != Phase::Established {
            return Err(SipError::Over);
        }
        let (notices_sender, notices) = mpsc::channel(STEPS);
        {
            let mut asked = lock(&self.leg.asked);
            if asked.as_ref().is_some_and(|sender| !sender.is_closed()) {
                return Err(SipError::Pending);
            }
            *asked = Some(notices_sender);
        }
        let (sender, events) = mpsc::channel(STEPS);
        tokio::spawn(follow(Arc::clone(&self.leg), headers, notices, sender));
        Ok(ReferProgress { events, deadline: Instant::now() + REFER_LIMIT, done: None })
    }

    /// Hangs up, as [`super::Dialog::hang_up`]; the holder of the dialog is told [`super::DialogEvent::Lost`].
    ///
    /// # Errors
    /// If the BYE could not be sent; the call is over all the same.
    pub async fn hang_up(&self, reason: Option<(u16, &str)>) -> Result<(), SipError> {
        let reason = reason.map(|(code, text)| reason_header(code, text));
        let farewell = tokio::spawn(farewell(Arc::clone(&self.leg), None, reason));
        farewell.await.map_err(|error| SipError::Stack(error.to_string()))?
    }
}

impl fmt::Debug for DialogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialogControl").field("leg", &self.leg).finish()
    }
}

enum Offered {
    Answered(String),
    Again(Duration),
}

fn refused(leg: &Arc<Leg>, response: &Response) -> Result<Offered, ReinviteError> {
    match response.status_code {
        StatusCode::RequestPending => Ok(Offered::Again(glare_pause(leg.role))),
        StatusCode::RequestTimeout => Err(ReinviteError::TimedOut),
        StatusCode::CallTransactionDoesNotExist => {
            leg.lose();
            Err(ReinviteError::Over)
        }
        StatusCode::SessionIntervalTooSmall => {
            settle(leg, response).ok();
            Ok(Offered::Again(Duration::ZERO))
        }
        // The far side has not yet answered a request of its own making (RFC 3261 §14.2).
        StatusCode::ServerInternalError if retry_after(response).is_some_and(|wait| wait.as_secs() <= 10) => {
            Ok(Offered::Again(retry_after(response).unwrap_or_default()))
        }
        ref status => Err(ReinviteError::Refused { status: status.code(), reason: phrase(response) }),
    }
}

/// RFC 3261 §14.1: the owner of the Call-ID waits 2.1 to 4 s, the other side up to 2 s, in steps of 10 ms.
fn glare_pause(role: Role) -> Duration {
    let steps = match role {
        Role::Caller => 210 + rand::random::<u32>() % 191,
        Role::Called => rand::random::<u32>() % 201,
    };
    Duration::from_millis(u64::from(steps) * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_glare_depends_on_the_role() {
        for _ in 0..200 {
            let (caller, called) = (glare_pause(Role::Caller), glare_pause(Role::Called));
            assert!((2_100..=4_000).contains(&caller.as_millis()));
            assert!(called.as_millis() <= 2_000);
        }
    }
}
