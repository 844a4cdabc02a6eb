//! Provisional responses that must arrive (RFC 3262 §3): one at a time, repeated until their PRACK.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, Request, Response, StatusCode};
use rsipstack::transaction::transaction::{TransactionEvent, TransactionEventSender};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::fields::cseq;
use crate::leg::Leg;

/// Responses that may wait for the PRACK of an earlier one.
const WAITING: usize = 8;

/// The called side of RFC 3262 for one call.
pub(crate) struct Reliability {
    queue: mpsc::Sender<Step>,
    /// The number that waits for its PRACK; 0 for none.
    unconfirmed: watch::Sender<u32>,
    /// CSeq number of the INVITE.
    seq: u32,
    /// The response that waits carries an offer: its PRACK carries the answer.
    pub(crate) offered: bool,
}

pub(crate) enum Step {
    /// To be numbered and repeated.
    Provisional(Response),
    /// The 200, held back until everything before it is confirmed (RFC 3262 §3).
    Final(Response),
}

/// What a PRACK is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    /// It fits the response that waits.
    Yes,
    /// It fits nothing: 481.
    Unknown,
}

impl Reliability {
    /// Starts the task that sends, for a call whose INVITE had this number.
    pub(crate) fn start(leg: &Arc<Leg>, invite: &Request, responses: TransactionEventSender) -> Self {
        let (queue, steps) = mpsc::channel(WAITING);
        let unconfirmed = watch::Sender::new(0);
        tokio::spawn(run(Arc::clone(leg), steps, responses, unconfirmed.clone()));
        Self { queue, unconfirmed, seq: cseq(invite).unwrap_or_default(), offered: false }
    }

    /// Queues a response. `false` if too many wait.
    pub(crate) fn send(&self, step: Step) -> bool {
        self.queue.try_send(step).is_ok()
    }

    /// Takes a PRACK.
    pub(crate) fn confirm(&self, prack: &Request) -> Confirmed {
        let fits =
            |waiting: &u32| *waiting != 0 && prack.rack_value() == Some((*waiting, self.seq, Method::Invite));
        let taken = self.unconfirmed.send_if_modified(|waiting| {
            let taken = fits(waiting);
            if taken {
                *waiting = 0;
            }
            taken
        });
        if taken { Confirmed::Yes } else { Confirmed::Unknown }
    }
}

async fn run(
    leg: Arc<Leg>,
    mut steps: mpsc::Receiver<Step>,
    responses: TransactionEventSender,
    unconfirmed: watch::Sender<u32>,
) {
    let t1 = leg.core.config.t1;
    // Any start from 1 to 2^31-1 will do (RFC 3262 §3).
    let mut number = 1 + rand::random::<u32>() % 0xffff;
    loop {
        let step = tokio::select! {
            () = leg.ended() => return,
            step = steps.recv() => step,
        };
        let mut response = match step {
            None => return,
            Some(Step::Final(response)) => {
                responses.send(TransactionEvent::Respond(response)).ok();
                return;
            }
            Some(Step::Provisional(response)) => response,
        };
        response.headers.push(Header::Require("100rel".into()));
        response.headers.push(Header::RSeq(number.to_string().into()));
        unconfirmed.send_replace(number);
        let mut confirmed = unconfirmed.subscribe();
        let end = Instant::now() + t1 * 64;
        let mut pause = t1;
        loop {
            responses.send(TransactionEvent::Respond(response.clone())).ok();
            let wait = pause.min(end.saturating_duration_since(Instant::now()));
            let prack = async { confirmed.wait_for(|waiting| *waiting == 0).await.is_ok() };
            let done = tokio::select! {
                () = leg.ended() => return,
                done = timeout(wait, prack) => done,
            };
            if done.is_ok() {
                break;
            }
            if Instant::now() >= end {
                give_up(&leg, &responses, &response);
                return;
            }
            pause = (pause * 2).min(Duration::from_secs(4).max(t1));
        }
        number += 1;
    }
}

/// Nobody confirms: the call is refused (RFC 3262 §3).
fn give_up(leg: &Arc<Leg>, responses: &TransactionEventSender, last: &Response) {
    let mut refusal = last.clone();
    refusal.status_code = StatusCode::ServerTimeOut;
    refusal.body.clear();
    refusal.headers.retain(|header| {
        !matches!(
            header,
            Header::RSeq(_) | Header::Require(_) | Header::ContentType(_) | Header::ContentLength(_)
        )
    });
    refusal.headers.push(Header::ContentLength(0u32.into()));
    responses.send(TransactionEvent::Respond(refusal)).ok();
    leg.lose();
}
