//! The clock of a session timer (RFC 4028 §7, §10): refreshes the session, or ends it when nobody does.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::{Method, StatusCode, StatusCodeKind};
use tokio::time::{Instant, sleep_until};

use crate::agent::SipError;
use crate::dialog::{DialogEvent, reason_header};
use crate::fields::{session_description, wish};
use crate::leg::{End, Leg, Pending, Phase, lock};
use crate::timers::{SessionExpires, patience};

/// After a refresh that failed, and may yet work.
const RETRY: Duration = Duration::from_secs(5);

/// Runs as long as the call.
pub(crate) async fn keep(leg: Arc<Leg>) {
    let mut retry_at: Option<Instant> = None;
    while leg.phase() != Phase::Ended {
        let Some(timer) = leg.timer() else {
            tokio::select! {
                () = leg.ended() => return,
                () = leg.rearmed.notified() => continue,
            }
        };
        let interval = timer.agreed.interval;
        let end = timer.since + patience(interval);
        let due = if timer.ours { retry_at.unwrap_or(timer.since + interval / 2).min(end) } else { end };
        tokio::select! {
            () = leg.ended() => return,
            () = leg.rearmed.notified() => {
                retry_at = None;
                continue;
            }
            () = sleep_until(due) => {}
        }
        if due >= end {
            let reason = vec![reason_header(408, "session expired")];
            leg.bye(reason, End::Expired).await.ok();
            return;
        }
        match refresh(&leg).await {
            Ok(()) => retry_at = None,
            Err(error) => {
                tracing::debug!(%error, "session refresh");
                retry_at = Some(Instant::now() + RETRY.min(interval / 8));
            }
        }
    }
}

/// One refresh: UPDATE where the far side takes it, else a re-INVITE with the description that stands.
async fn refresh(leg: &Arc<Leg>) -> Result<(), SipError> {
    let headers = leg.timer_wish();
    let response = if leg.takes_update() {
        leg.send(Method::Update, headers, None).await?
    } else {
        let Ok(_offering) = leg.begin_offer(Pending::Ours) else {
            // An offer under way is a refresh of its own.
            return Err(SipError::Pending);
        };
        let sdp = lock(&leg.local_sdp).clone();
        let response = leg.send_invite(headers, &sdp).await?;
        if response.status_code.kind() == StatusCodeKind::Successful
            && let Some(answer) = session_description(&response.body)
        {
            let changed = std::mem::replace(&mut *lock(&leg.remote_sdp), answer.clone()) != answer;
            if changed {
                leg.tell(DialogEvent::Answer { sdp: answer });
            }
        }
        response
    };
    settle(leg, &response)
}

/// Arms the timer by a 2xx to a request of this side, or says why there is none.
pub(crate) fn settle(leg: &Arc<Leg>, response: &rsipstack::sip::Response) -> Result<(), SipError> {
    match response.status_code.kind() {
        StatusCodeKind::Successful => {
            leg.learn(response);
            // Without the header the far side keeps no timer; then this side has one no longer either.
            leg.arm(wish(response).expires, true);
            Ok(())
        }
        _ if response.status_code == StatusCode::CallTransactionDoesNotExist => {
            leg.lose();
            Err(SipError::Over)
        }
        _ if response.status_code == StatusCode::SessionIntervalTooSmall => {
            if let (Some(least), Some(timer)) = (wish(response).min, leg.timer()) {
                let longer = SessionExpires { interval: least.max(timer.agreed.interval), ..timer.agreed };
                leg.stretch(longer);
            }
            Err(SipError::Stack("session interval too small".to_owned()))
        }
        _ => Err(SipError::Stack(format!("refused with {}", response.status_code.code()))),
    }
}
