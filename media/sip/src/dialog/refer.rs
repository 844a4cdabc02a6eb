//! Transfers (RFC 3515): asking the far side to call somebody, and being asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, Request, StatusCode, StatusCodeKind};
use rsipstack::transaction::transaction::Transaction;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::{DialogEvent, thinking_time};
use crate::agent::SipError;
use crate::leg::Leg;
use crate::replaces::{Replaces, split_target};

/// How far the far side is with a transfer it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferEvent {
    /// It has taken the request and begins.
    Trying,
    /// The target rings.
    Ringing,
    /// It is over. Nothing follows.
    Done(ReferResult),
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferResult {
    /// The target answered.
    Connected,
    /// The target is busy (486, 600).
    Busy {
        /// SIP status the far side told.
        status: u16,
    },
    /// The target does not want the call (603, 403, 401, 407).
    Declined {
        /// SIP status the far side told.
        status: u16,
    },
    /// The target did not answer (408, 480, 487).
    NoAnswer {
        /// SIP status the far side told.
        status: u16,
    },
    /// The target could not be reached.
    Failed {
        /// SIP status the far side told.
        status: u16,
    },
    /// The far side does not do transfers, or not this one.
    Refused {
        /// SIP status of its answer to the REFER; 0 if there was none.
        status: u16,
    },
    /// The far side stopped telling before it told a result.
    Unknown,
    /// Nothing final was heard in time.
    TimedOut,
    /// The call ended meanwhile.
    Ended,
}

impl ReferEvent {
    pub(crate) fn of(status: u16) -> Self {
        match status {
            180..=183 => Self::Ringing,
            ..=199 => Self::Trying,
            _ => Self::Done(ReferResult::of(status)),
        }
    }
}

impl ReferResult {
    pub(crate) fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Connected,
            486 | 600 => Self::Busy { status },
            603 | 607 | 401 | 403 | 407 => Self::Declined { status },
            408 | 480 | 487 => Self::NoAnswer { status },
            _ => Self::Failed { status },
        }
    }
}

/// A transfer under way. Dropping it stops listening; the transfer goes on.
pub struct ReferProgress {
    pub(crate) events: mpsc::Receiver<ReferEvent>,
    pub(crate) deadline: Instant,
    pub(crate) done: Option<ReferResult>,
}

impl ReferProgress {
    /// Waits for the next step. Cancel-safe. After the end it returns the same end again.
    pub async fn next(&mut self) -> ReferEvent {
        if let Some(result) = self.done {
            return ReferEvent::Done(result);
        }
        let event = match timeout_at(self.deadline, self.events.recv()).await {
            Ok(Some(event)) => event,
            Ok(None) => ReferEvent::Done(ReferResult::Ended),
            Err(_) => ReferEvent::Done(ReferResult::TimedOut),
        };
        if let ReferEvent::Done(result) = event {
            self.done = Some(result);
        }
        event
    }

    /// Waits for the end.
    pub async fn result(mut self) -> ReferResult {
        loop {
            if let ReferEvent::Done(result) = self.next().await {
                return result;
            }
        }
    }
}

impl fmt::Debug for ReferProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferProgress").field("done", &self.done).finish_non_exhaustive()
    }
}

/// What the holder of a [`ReferResponder`] decided.
#[derive(Debug)]
pub(crate) enum ReferAnswer {
    Accept(mpsc::Receiver<u16>),
    Reject(u16),
}

/// Answers a REFER. Dropping it refuses with 603.
#[derive(Debug)]
pub struct ReferResponder {
    pub(crate) answer: oneshot::Sender<ReferAnswer>,
}

impl ReferResponder {
    /// Takes the request with 202 and tells the far side that it is being tried. Every further step is told by the
    /// sender; dropping it before [`NotifySender::done`] tells a failure (500).
    ///
    /// # Errors
    /// If the request is no longer waiting.
    pub fn accept(self) -> Result<NotifySender, SipError> {
        let (sender, steps) = mpsc::channel(NOTIFIES);
        self.answer.send(ReferAnswer::Accept(steps)).map_err(|_| SipError::Over)?;
        Ok(NotifySender { steps: sender })
    }

    /// Refuses with a final status, 400 to 699.
    ///
    /// # Errors
    /// If the request is no longer waiting.
    pub fn reject(self, status: u16) -> Result<(), SipError> {
        self.answer.send(ReferAnswer::Reject(status.clamp(400, 699))).map_err(|_| SipError::Over)
    }
}

/// Steps of a transfer that may wait to be told.
const NOTIFIES: usize = 8;

/// Tells the side that asked for a transfer how it goes.
#[derive(Debug)]
pub struct NotifySender {
    steps: mpsc::Sender<u16>,
}

impl NotifySender {
    /// Tells a provisional status (100 to 199) of the new call. One too many for the queue is left out.
    pub fn progress(&self, status: u16) {
        // One place is kept for the end.
        if self.steps.capacity() > 1 {
            self.steps.try_send(status.clamp(100, 199)).ok();
        }
    }

    /// Tells the final status (200 to 699) of the new call; nothing may follow.
    pub fn done(self, status: u16) {
        self.steps.try_send(status.clamp(200, 699)).ok();
    }
}

/// One NOTIFY about a transfer.
#[derive(Debug)]
pub(crate) struct Notice {
    status: Option<u16>,
    last: bool,
}

impl Notice {
    /// Reads a NOTIFY; `None` if it is about something else.
    pub(crate) fn read(request: &Request) -> Option<Self> {
        let event = request.header_value("Event").or_else(|| request.header_value("o"))?;
        if !event.split(';').next()?.trim().eq_ignore_ascii_case("refer") {
            return None;
        }
        let state = request.header_value("Subscription-State").unwrap_or_default();
        let last = state.trim().get(..10).is_some_and(|state| state.eq_ignore_ascii_case("terminated"));
        Some(Self { status: sipfrag(&request.body), last })
    }
}

/// Steps of a transfer that may wait to be read.
pub(crate) const STEPS: usize = 8;

/// Sends the REFER and turns what follows into events, until the end or the limit.
pub(crate) async fn follow(
    leg: Arc<Leg>,
    headers: Vec<Header>,
    mut notices: mpsc::Receiver<Notice>,
    events: mpsc::Sender<ReferEvent>,
) {
    let deadline = Instant::now() + REFER_LIMIT;
    let result = steps(&leg, headers, &mut notices, &events, deadline).await;
    // The place for a further transfer is free before this one's end is told.
    drop(notices);
    events.send(ReferEvent::Done(result)).await.ok();
}

async fn steps(
    leg: &Arc<Leg>,
    headers: Vec<Header>,
    notices: &mut mpsc::Receiver<Notice>,
    events: &mpsc::Sender<ReferEvent>,
    deadline: Instant,
) -> ReferResult {
    let mut answer = Box::pin(leg.send(Method::Refer, headers, None));
    let mut answered = false;
    let mut told = ReferEvent::Trying;
    loop {
        let notice = tokio::select! {
            response = &mut answer, if !answered => {
                answered = true;
                match response {
                    Ok(response) if response.status_code.kind() == StatusCodeKind::Successful => {
                        events.try_send(ReferEvent::Trying).ok();
                        continue;
                    }
                    Ok(response) if response.status_code == StatusCode::CallTransactionDoesNotExist => {
                        leg.lose();
                        return ReferResult::Ended;
                    }
                    Ok(response) => return ReferResult::Refused { status: response.status_code.code() },
                    Err(_) => return ReferResult::Refused { status: 0 },
                }
            }
            notice = timeout_at(deadline, notices.recv()) => match notice {
                Ok(Some(notice)) => notice,
                Ok(None) => return ReferResult::Ended,
                Err(_) => return ReferResult::TimedOut,
            },
        };
        match notice.status.map(ReferEvent::of) {
            Some(ReferEvent::Done(result)) => return result,
            Some(event) if event != told => {
                told = event;
                // A reader that sleeps misses steps, not the end.
                if events.capacity() > 1 {
                    events.try_send(event).ok();
                }
            }
            _ => {}
        }
        if notice.last {
            return ReferResult::Unknown;
        }
    }
}

/// Serves a REFER of the far side: asks the holder of the call, and tells the far side how it goes.
pub(crate) async fn serve(leg: Arc<Leg>, mut tx: Transaction) {
    let Some((target, replaces)) = target_of(&tx.original) else {
        tx.reply(StatusCode::BadRequest).await.ok();
        return;
    };
    if leg.referred.swap(true, Ordering::AcqRel) {
        tx.reply(StatusCode::RequestPending).await.ok();
        return;
    }
    let referred_by = tx.original.referred_by_header().map(|by| Pii::new(by.value().to_owned()));
    let (sender, answer) = oneshot::channel();
    let responder = ReferResponder { answer: sender };
    let event = DialogEvent::Refer { target: Pii::new(target), replaces, referred_by, responder };
    let decided = if leg.tell(event) {
        timeout(thinking_time(leg.core.config.t1), answer).await.ok().and_then(Result::ok)
    } else {
        Some(ReferAnswer::Reject(503))
    };
    match decided {
        Some(ReferAnswer::Accept(steps)) => {
            let accepted = leg.response(&tx.original, StatusCode::Accepted, Vec::new(), None);
            let sent = tx.respond(accepted).await;
            drop(tx);
            if sent.is_ok() && report(&leg, steps).await {
                return;
            }
        }
        refused => {
            let status = if let Some(ReferAnswer::Reject(status)) = refused { status } else { 603 };
            // The next transfer may come with the answer to this.
            leg.referred.store(false, Ordering::Release);
            tx.reply(StatusCode::from(status)).await.ok();
            return;
        }
    }
    leg.referred.store(false, Ordering::Release);
}

/// NOTIFYs from the first to the last. Whether the last was sent, and the place for a further transfer is free.
async fn report(leg: &Arc<Leg>, mut steps: mpsc::Receiver<u16>) -> bool {
    let mut status = 100;
    loop {
        let last = status >= 200;
        let state = if last {
            "terminated;reason=noresource".to_owned()
        } else {
            format!("active;expires={}", REFER_LIMIT.as_secs())
        };
        if last {
            // The next transfer may come with the answer to this.
            leg.referred.store(false, Ordering::Release);
        }
        let headers = vec![Header::Event("refer".into()), Header::SubscriptionState(state.into())];
        let code = StatusCode::from(status);
        let body = format!("SIP/2.0 {status} {}\r\n", code.text());
        let sent =
            leg.send(Method::Notify, headers, Some(("message/sipfrag;version=2.0", body.as_bytes()))).await;
        let heard = sent.is_ok_and(|response| response.status_code.kind() == StatusCodeKind::Successful);
        if last || !heard {
            return last;
        }
        status = tokio::select! {
            () = leg.ended() => return false,
            step = timeout(REFER_LIMIT, steps.recv()) => step.ok().flatten().unwrap_or(500),
        };
    }
}

/// The one target of a REFER.
fn target_of(request: &Request) -> Option<(String, Option<Replaces>)> {
    let mut values = request.headers.iter().filter(|header| matches!(header, Header::ReferTo(_)));
    match (values.next(), values.next()) {
        (Some(target), None) => address_of(target.value()),
        _ => None,
    }
}

/// The address in a Refer-To value, and the dialog it asks to replace.
fn address_of(value: &str) -> Option<(String, Option<Replaces>)> {
    let value = value.trim();
    let address = match value.find('<') {
        Some(start) => {
            let rest = &value[start + 1..];
            rest[..rest.find('>')?].trim()
        }
        None => value.split(';').next()?.trim(),
    };
    let fits = !address.is_empty() && address.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
    fits.then(|| split_target(address))
}

/// The status line of a `message/sipfrag` body (RFC 3420).
pub(crate) fn sipfrag(body: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(body).ok()?;
    let mut parts = text.lines().next()?.split_ascii_whitespace();
    if !parts.next()?.eq_ignore_ascii_case("SIP/2.0") {
        return None;
    }
    parts.next()?.parse().ok().filter(|status| (100..700).contains(status))
}

/// How long a transfer may take before nobody waits any more.
pub(crate) const REFER_LIMIT: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_kind() {
        assert_eq!(ReferEvent::of(100), ReferEvent::Trying);
        assert_eq!(ReferEvent::of(180), ReferEvent::Ringing);
        assert_eq!(ReferEvent::of(200), ReferEvent::Done(ReferResult::Connected));
        assert_eq!(ReferResult::of(486), ReferResult::Busy { status: 486 });
        assert_eq!(ReferResult::of(603), ReferResult::Declined { status: 603 });
        assert_eq!(ReferResult::of(480), ReferResult::NoAnswer { status: 480 });
        assert_eq!(ReferResult::of(404), ReferResult::Failed { status: 404 });
    }

    #[test]
    fn a_target_is_read_in_each_form() {
        let plain = Some(("sip:bob@host;x=y".to_owned(), None));
        assert_eq!(address_of("<sip:bob@host;x=y>;method=INVITE"), plain);
        assert_eq!(address_of("\"Bob, B.\" <sip:bob@host;x=y?Subject=hi>"), plain);
        assert_eq!(address_of("sip:bob@host;x=y"), Some(("sip:bob@host".to_owned(), None)));
        let (_, replaces) = address_of("<sip:bob@host?Replaces=1%40h%3Bto-tag%3D2%3Bfrom-tag%3D3>").unwrap();
        assert_eq!(replaces.unwrap().call_id, "1@h");
        for bad in ["", "<sip:bob@host", "<>", "<sip:a b@host>"] {
            assert_eq!(address_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_fragment_tells_its_status() {
        assert_eq!(sipfrag(b"SIP/2.0 180 Ringing\r\n"), Some(180));
        assert_eq!(sipfrag(b"SIP/2.0 200 OK"), Some(200));
        for bad in [
            &b""[..],
            b"SIP/2.0",
            b"SIP/2.0 abc",
            b"SIP/2.0 99 X",
            b"SIP/2.0 700 X",
            b"HTTP/1.1 200",
            &[0xff],
        ] {
            assert_eq!(sipfrag(bad), None);
        }
    }
}
