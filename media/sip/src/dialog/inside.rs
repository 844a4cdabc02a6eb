//! Requests of the far side inside a dialog.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, SipMessage, StatusCode};
use rsipstack::transaction::transaction::Transaction;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::refer::{self, Notice};
use super::{Decision, DialogEvent, Responder, reason_text, thinking_time};
use crate::agent::{Core, Replying, capabilities, refuse_busy, reply};
use crate::fields::{cseq, session_description, wish};
use crate::leg::{DialogId, End, Leg, Offering, Pending, Phase, Role, lock};
use crate::reliable::Confirmed;
use crate::timers;

/// Requests of one dialog that may wait for an answer at once.
const MAX_PENDING: usize = 8;
/// How often and how long apart a dialog is looked for that a request came for too early: two tenths of a second in
/// all, before the far side would repeat itself.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(10);

/// What becomes of a request with a To tag.
pub(crate) fn route(core: &Arc<Core>, id: DialogId, tx: Transaction) -> Replying {
    // Of a caller, before its ACK was read, these at once; the others may have overtaken the ACK.
    let early = matches!(
        tx.original.method,
        Method::Bye | Method::PRack | Method::Update | Method::Options | Method::Info
    );
    if let Some(leg) = core.find(&id)
        && (leg.phase() != Phase::Early || leg.role == Role::Called && early)
    {
        return serve(&leg, tx);
    }
    let core = Arc::clone(core);
    Box::pin(async move {
        // It may have come with the answer or the ACK that makes its dialog: that is noted a moment later than
        // datagrams are read.
        for _ in 0..LOOKS {
            if core.find(&id).is_some_and(|leg| leg.phase() != Phase::Early) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        match core.find(&id) {
            Some(leg) => serve(&leg, tx).await,
            None => reply(tx, StatusCode::CallTransactionDoesNotExist, Vec::new()).await,
        }
    })
}

fn serve(leg: &Arc<Leg>, tx: Transaction) -> Replying {
    let method = tx.original.method;
    let gone = StatusCode::CallTransactionDoesNotExist;
    if cseq(&tx.original).is_none_or(|seq| !leg.in_order(seq)) {
        return reply(tx, StatusCode::ServerInternalError, Vec::new());
    }
    let phase = leg.phase();
    match method {
        Method::Bye => bye(leg, tx),
        _ if phase == Phase::Ended => reply(tx, gone, Vec::new()),
        Method::Options => reply(tx, StatusCode::OK, capabilities(&leg.core)),
        Method::PRack => prack(leg, tx),
        Method::Update => update(leg, tx),
        // Before the ACK of the first INVITE (RFC 3261 §14.2 leaves the status open).
        Method::Invite if phase == Phase::Early => reply(tx, StatusCode::RequestPending, Vec::new()),
        Method::Invite => reinvite(leg, tx),
        Method::Info => info(leg, tx),
        Method::Refer if phase == Phase::Established => Box::pin(refer::serve(Arc::clone(leg), tx)),
        Method::Notify => notify(leg, tx),
        _ => reply(tx, gone, Vec::new()),
    }
}

fn bye(leg: &Arc<Leg>, tx: Transaction) -> Replying {
    let reason = tx.original.reason_header().and_then(|reason| reason_text(reason.value()));
    leg.finish(End::Bye(reason));
    let leg = Arc::clone(leg);
    Box::pin(async move {
        reply(tx, StatusCode::OK, Vec::new()).await;
        leg.core.forget(&leg.id);
    })
}

fn prack(leg: &Arc<Leg>, tx: Transaction) -> Replying {
    let confirmed = {
        let mut reliable = lock(&leg.reliable);
        match &mut *reliable {
            None => Confirmed::Unknown,
            Some(reliability) => {
                let offered = reliability.offered;
                let confirmed = reliability.confirm(&tx.original);
                if confirmed == Confirmed::Yes && offered {
                    reliability.offered = false;
                    if let Some(sdp) = session_description(&tx.original.body) {
                        sdp.clone_into(&mut lock(&leg.remote_sdp));
                        leg.tell(DialogEvent::Answer { sdp });
                        return reply(tx, StatusCode::OK, Vec::new());
                    }
                }
                confirmed
            }
        }
    };
    let status = match confirmed {
        Confirmed::Unknown => StatusCode::CallTransactionDoesNotExist,
        // A further offer before the answer is not taken; the response counts as confirmed (RFC 6337 §2.2).
        Confirmed::Yes if !tx.original.body.is_empty() => StatusCode::NotAcceptableHere,
        Confirmed::Yes => StatusCode::OK,
    };
    reply(tx, status, Vec::new())
}

fn info(leg: &Arc<Leg>, tx: Transaction) -> Replying {
    let content_type = tx.original.header_value("Content-Type").unwrap_or_default();
    let event = DialogEvent::Info { content_type, body: tx.original.body.clone() };
    if leg.tell(event) { reply(tx, StatusCode::OK, Vec::new()) } else { refuse_busy(tx) }
}

fn notify(leg: &Arc<Leg>, tx: Transaction) -> Replying {
    let asked = lock(&leg.asked).clone();
    let (Some(asked), Some(notice)) = (asked, Notice::read(&tx.original)) else {
        return reply(tx, StatusCode::CallTransactionDoesNotExist, Vec::new());
    };
    match asked.try_reserve_owned() {
        // The answer goes first: what is told now may well end the call.
        Ok(place) => Box::pin(async move {
            reply(tx, StatusCode::OK, Vec::new()).await;
            place.send(notice);
        }),
        Err(tokio::sync::mpsc::error::TrySendError::Full(_)) => refuse_busy(tx),
        Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => {
            reply(tx, StatusCode::CallTransactionDoesNotExist, Vec::new())
        }
    }
}

/// 422 if the timer asked for is too short.
fn too_small(least: Duration) -> (StatusCode, Vec<Header>) {
    (StatusCode::SessionIntervalTooSmall, vec![Header::MinSE(least.as_secs().to_string().into())])
}

/// Moment after which an offer in the way is answered (RFC 3261 §14.2 wants 0 to 10 s by chance).
fn moment() -> Vec<Header> {
    vec![Header::RetryAfter((rand::random::<u32>() % 11).to_string().into())]
}

/// Takes the place for an offer, or refuses the request.
fn offering(leg: &Arc<Leg>, tx: Transaction) -> Result<(Offering, Transaction), Replying> {
    match leg.begin_offer(Pending::Theirs) {
        Ok(offering) => Ok((offering, tx)),
        Err(Pending::Ours) => Err(reply(tx, StatusCode::RequestPending, Vec::new())),
        Err(Pending::Theirs | Pending::Unconfirmed) => {
            Err(reply(tx, StatusCode::ServerInternalError, moment()))
        }
    }
}

fn update(leg: &Arc<Leg>, mut tx: Transaction) -> Replying {
    let agreed =
        match timers::answer(wish(&tx.original), leg.core.config.session_expires, leg.core.config.min_se) {
            Ok(agreed) => agreed,
            Err(least) => {
                let (status, headers) = too_small(least);
                return reply(tx, status, headers);
            }
        };
    let leg = Arc::clone(leg);
    if tx.original.body.is_empty() {
        return Box::pin(async move {
            leg.learn(&tx.original);
            let (headers, timer) = Leg::timer_headers(agreed);
            let ok = leg.response(&tx.original, StatusCode::OK, headers, None);
            if tx.respond(ok).await.is_ok() && leg.phase() == Phase::Established {
                leg.arm(timer, false);
            }
        });
    }
    if leg.phase() == Phase::Early {
        // The offer of the INVITE is not answered yet (RFC 3311 §5.2).
        return reply(tx, StatusCode::ServerInternalError, moment());
    }
    let (place, mut tx) = match offering(&leg, tx) {
        Ok(taken) => taken,
        Err(refusal) => return refusal,
    };
    Box::pin(async move {
        let status = match ask(&leg, &tx).await {
            Ok(sdp) => {
                drop(place);
                leg.learn(&tx.original);
                let (headers, timer) = Leg::timer_headers(agreed);
                let ok = leg.response(&tx.original, StatusCode::OK, headers, Some(&sdp));
                if tx.respond(ok).await.is_ok() {
                    note_sdp(&leg, &tx, &sdp);
                    leg.arm(timer, false);
                }
                return;
            }
            Err(status) => status,
        };
        tx.reply(status).await.ok();
    })
}

fn reinvite(leg: &Arc<Leg>, tx: Transaction) -> Replying {
    let agreed =
        match timers::answer(wish(&tx.original), leg.core.config.session_expires, leg.core.config.min_se) {
            Ok(agreed) => agreed,
            Err(least) => {
                let (status, headers) = too_small(least);
                return refuse_invite(leg, tx, status, headers);
            }
        };
    let mut tx = tx;
    let place = match leg.begin_offer(Pending::Theirs) {
        Ok(place) => place,
        Err(Pending::Ours) => return refuse_invite(leg, tx, StatusCode::RequestPending, Vec::new()),
        Err(Pending::Theirs | Pending::Unconfirmed) => {
            return refuse_invite(leg, tx, StatusCode::ServerInternalError, moment());
        }
    };
    let leg = Arc::clone(leg);
    Box::pin(async move {
        tx.send_trying().await.ok();
        match ask(&leg, &tx).await {
            Ok(sdp) => {
                leg.learn(&tx.original);
                let delayed = tx.original.body.is_empty();
                let (headers, timer) = Leg::timer_headers(agreed);
                // The next INVITE of this side waits for the ACK (RFC 3261 §14.1); one of theirs may come with it.
                place.answered();
                let ok = leg.response(&tx.original, StatusCode::OK, headers, Some(&sdp));
                if tx.respond(ok).await.is_err() {
                    return;
                }
                note_sdp(&leg, &tx, &sdp);
                leg.arm(timer, false);
                let mut acknowledged = false;
                while let Some(message) = tx.receive().await {
                    if let SipMessage::Request(ack) = message
                        && ack.method == Method::Ack
                    {
                        acknowledged = true;
                        if delayed {
                            let sdp = session_description(&ack.body).unwrap_or_default();
                            sdp.clone_into(&mut lock(&leg.remote_sdp));
                            leg.tell(DialogEvent::Answer { sdp });
                        }
                        break;
                    }
                }
                drop(place);
                if !acknowledged && leg.phase() == Phase::Established {
                    leg.bye(Vec::new(), End::Lost).await.ok();
                }
            }
            Err(status) => {
                drop(place);
                refuse_invite(&leg, tx, status, Vec::new()).await;
            }
        }
    })
}

/// Refuses a re-INVITE and stays until the ACK, since the stack repeats the refusal only that long.
fn refuse_invite(leg: &Arc<Leg>, mut tx: Transaction, status: StatusCode, headers: Vec<Header>) -> Replying {
    let refusal = leg.response(&tx.original, status, headers, None);
    Box::pin(async move {
        if tx.respond(refusal).await.is_err() {
            return;
        }
        while let Some(message) = tx.receive().await {
            if matches!(message, SipMessage::Request(ack) if ack.method == Method::Ack) {
                return;
            }
        }
    })
}

/// Asks the holder of the call about an offer.
async fn ask(leg: &Arc<Leg>, tx: &Transaction) -> Result<String, StatusCode> {
    let Some(_waiting) = leg.begin_request(MAX_PENDING) else {
        return Err(StatusCode::ServiceUnavailable);
    };
    let (decision, decided) = oneshot::channel();
    let sdp = session_description(&tx.original.body);
    let event = DialogEvent::ReInvite { sdp, responder: Responder { decision } };
    if !leg.tell(event) {
        return Err(StatusCode::ServiceUnavailable);
    }
    match timeout(thinking_time(leg.core.config.t1), decided).await {
        Ok(Ok(Decision::Accept(sdp))) => Ok(sdp),
        Ok(Ok(Decision::Reject(status))) => Err(StatusCode::from(status)),
        Ok(Err(_)) | Err(_) => Err(StatusCode::NotAcceptableHere),
    }
}

fn note_sdp(leg: &Leg, tx: &Transaction, ours: &str) {
    ours.clone_into(&mut lock(&leg.local_sdp));
    if let Some(theirs) = session_description(&tx.original.body) {
        *lock(&leg.remote_sdp) = theirs;
    }
}
