//! Webhooks: what they are sent, how it is signed, when it is tried again.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use rand::Rng;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::{Notify, watch};

use super::Figures;
use crate::config::{QaSection, Secret, Webhook};
use antiphon_engine_store::{Delivery, NewDelivery, Outcome, Store};

/// Attempts of one webhook at once.
const AT_ONCE: usize = 8;
/// Before the second attempt; doubled for each one after.
const FIRST: Duration = Duration::from_secs(5);
/// Between attempts at most.
const LONGEST: Duration = Duration::from_secs(3_600);
/// A look at the store without a reason, should a call to look have been missed.
const ROUND: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read so that its connection can be used again.
const ANSWER: u64 = 64 << 10;

/// The name of deliveries to the call-backs of inspection jobs: each goes to an address of its own.
pub(super) const CALLBACK: &str = "qa.callback";

/// One webhook.
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) give_up: Duration,
    url: Secret,
    secret: Secret,
    events: Vec<String>,
    agent: ureq::Agent,
}

impl Hook {
    /// `None` where there is no secret, which the check of the configuration does not let through.
    pub(super) fn new(config: &Webhook) -> Option<Self> {
        Some(Self {
            name: config.name.clone(),
            give_up: config.give_up.0,
            url: config.url.clone(),
            secret: config.secret.clone()?,
            events: config.events.clone(),
            agent: agent(config.timeout.0),
        })
    }

    /// The call-backs of inspection jobs; `None` where there is nothing to sign with.
    pub(super) fn callbacks(config: &QaSection) -> Option<Self> {
        Some(Self {
            name: CALLBACK.to_owned(),
            give_up: config.give_up.0,
            url: Secret::new(String::new()),
            secret: config.callback_secret.clone()?,
            events: Vec::new(),
            agent: agent(config.timeout.0),
        })
    }

    /// Whether it wants this type of event.
    pub(super) fn wants(&self, event: &str) -> bool {
        self.events.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(group) => event.strip_prefix(group).is_some_and(|rest| rest.starts_with('.')),
            None => wanted == event,
        })
    }

    pub(super) fn wants_events(&self) -> bool {
        self.events.iter().any(|wanted| wanted != "cdr")
    }

    /// What it is to be told. `id` is the same for the same news.
    pub(super) fn news(&self, id: &str, event: &str, now: Timestamp, data: &Value) -> NewDelivery {
        let id = format!("{id}-{}", self.name);
        let body = json!({ "id": id, "type": event, "created_at": now.to_string(), "data": data });
        NewDelivery {
            hook: self.name.clone(),
            event: event.to_owned(),
            body: body.to_string(),
            url: None,
            created_ms: now.as_millisecond(),
            id,
        }
    }

    /// Sends one delivery. The error does not name the address, which may hold credentials.
    fn send(&self, delivery: &Delivery, now: Timestamp) -> Result<u16, String> {
        let signature = signature(self.secret.expose().as_bytes(), now.as_second(), delivery.body.as_bytes());
        let request = self
            .agent
            .post(delivery.url.as_deref().unwrap_or(self.url.expose()))
            .header("content-type", "application/json")
            .header("antiphon-event", &delivery.event)
            .header("antiphon-signature", &signature)
            .header("idempotency-key", &delivery.id);
        let mut response =
            request.send(delivery.body.as_bytes()).map_err(|error| crate::http_action::reason(&error))?;
        let status = response.status().as_u16();
        let _ = std::io::copy(&mut response.body_mut().as_reader().take(ANSWER), &mut std::io::sink());
        Ok(status)
    }
}

fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        // Records go where the configuration says and nowhere else.
        .max_redirects(0)
        .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Delivers one webhook's news until told to stop.
pub(super) async fn deliver(
    hook: &Arc<Hook>,
    store: &Store,
    wake: &Notify,
    figures: &Figures,
    mut stopping: watch::Receiver<bool>,
) {
    while !*stopping.borrow() {
        // Asked for before the store is read: news between the two is not missed.
        let news = wake.notified();
        let now = Timestamp::now().as_millisecond();
        let due = match store.due(&hook.name, now, AT_ONCE).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, webhook = hook.name, "what is to be delivered cannot be read");
                Vec::new()
            }
        };
        if due.is_empty() {
            let next = store.next_due(&hook.name).await.ok().flatten();
            let wait = next.map_or(ROUND, |next| {
                Duration::from_millis(u64::try_from(next - now).unwrap_or(0))
                    .clamp(Duration::from_millis(50), ROUND)
            });
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep(wait) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            continue;
        }
        let outcomes = attempt(hook, due, figures).await;
        // Where that fails they are delivered again: their idempotency keys tell.
        if let Err(error) = store.settle(&outcomes).await {
            tracing::error!(%error, webhook = hook.name, "what was delivered cannot be kept");
            tokio::time::sleep(super::PAUSE).await;
        }
    }
}

/// Sends deliveries at the same time.
async fn attempt(hook: &Arc<Hook>, due: Vec<Delivery>, figures: &Figures) -> Vec<(String, Outcome)> {
    let attempts: Vec<_> = due
        .into_iter()
        .map(|delivery| {
            let hook = Arc::clone(hook);
            tokio::task::spawn_blocking(move || {
                let answer = hook.send(&delivery, Timestamp::now());
                (delivery, answer)
            })
        })
        .collect();
    let mut outcomes = Vec::with_capacity(attempts.len());
    for attempt in attempts {
        // An attempt that panicked is tried again by and by: it stays due.
        let Ok((delivery, answer)) = attempt.await else { continue };
        let now = Timestamp::now().as_millisecond();
        let outcome = judge(hook, &delivery, answer, now, rand::rng().random_range(0.8..1.2));
        match &outcome {
            Outcome::Done => figures.delivered.fetch_add(1, Ordering::Relaxed),
            Outcome::Failed { next_ms: None, status, error } => {
                tracing::error!(
                    webhook = hook.name,
                    delivery = delivery.id,
                    status,
                    error,
                    "a delivery was given up"
                );
                figures.failed.fetch_add(1, Ordering::Relaxed);
                figures.dead.fetch_add(1, Ordering::Relaxed)
            }
            Outcome::Failed { status, error, .. } => {
                tracing::debug!(webhook = hook.name, status, error, "a delivery failed and is tried again");
                figures.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        outcomes.push((delivery.id, outcome));
    }
    outcomes
}

/// What follows from an answer. `jitter` spreads attempts, 0.8 to 1.2.
fn judge(hook: &Hook, delivery: &Delivery, answer: Result<u16, String>, now_ms: i64, jitter: f64) -> Outcome {
    let (status, error) = match answer {
        Ok(status) if (200..300).contains(&status) => return Outcome::Done,
        Ok(status) => (Some(status), format!("the answer was {status}")),
        Err(error) => (None, error),
    };
    let limit = delivery.since_ms.saturating_add(i64::try_from(hook.give_up.as_millis()).unwrap_or(i64::MAX));
    // 410: the receiver asks not to be told again.
    if status == Some(410) || now_ms >= limit {
        return Outcome::Failed { status, error, next_ms: None };
    }
    let doublings = u32::try_from(delivery.attempts).unwrap_or(0).min(20);
    let wait = FIRST.saturating_mul(1 << doublings).min(LONGEST).mul_f64(jitter);
    let next = now_ms.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    Outcome::Failed { status, error, next_ms: Some(next.min(limit)) }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over `SECONDS.BODY`.
fn signature(secret: &[u8], seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let mut text = format!("t={seconds},v1=");
    for byte in mac.finalize().into_bytes() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Length;
    use antiphon_engine_store::DeliveryState;

    fn hook(events: &[&str]) -> Hook {
        let config = Webhook {
            name: "crm".into(),
            url: Secret::new("http://127.0.0.1:9/hook".into()),
            secret: Some(Secret::new("key".into())),
            secret_env: None,
            secret_file: None,
            events: events.iter().map(|&event| event.to_owned()).collect(),
            timeout: Length::millis(1_000),
            give_up: Length::millis(86_400_000),
        };
        Hook::new(&config).expect("a secret")
    }

    fn delivery(attempts: i64) -> Delivery {
        Delivery {
            id: "cdr-1-crm".into(),
            hook: "crm".into(),
            event: "cdr".into(),
            body: "{}".into(),
            url: None,
            state: DeliveryState::Pending,
            created_ms: 0,
            since_ms: 0,
            next_ms: 0,
            attempts,
            last_status: None,
            last_error: None,
        }
    }

    #[test]
    fn the_signature_is_the_documented_one() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature(b"key", 1_700_000_000, b"{\"a\":1}"),
            "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
        );
    }

    #[test]
    fn groups_of_events_are_wanted_by_their_stem() {
        let hook = hook(&["cdr", "call.*"]);
        assert!(hook.wants("cdr") && hook.wants("call.ended") && hook.wants_events());
        assert!(!hook.wants("call") && !hook.wants("caller.x") && !hook.wants("dtmf"));
    }

    #[test]
    fn attempts_come_further_and_further_apart_and_end_after_a_day() {
        let hook = hook(&["cdr"]);
        let (mut now, mut waits) = (0, Vec::new());
        for attempts in 0..1_000 {
            let outcome = judge(&hook, &delivery(attempts), Ok(500), now, 1.0);
            let Outcome::Failed { next_ms, .. } = outcome else { panic!("500 is no success") };
            let Some(next) = next_ms else { break };
            waits.push((next - now) / 1_000);
            now = next;
        }
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits.iter().max(), Some(&3_600));
        assert_eq!((now, waits.len()), (86_400_000, 33), "the last attempt is made when the day is over");
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        let hook = hook(&["cdr"]);
        let judge = |answer| judge(&hook, &delivery(0), answer, 1, 1.0);
        assert_eq!(judge(Ok(204)), Outcome::Done);
        for answer in [Ok(301), Ok(404), Ok(429), Err("no connection".to_owned())] {
            assert!(matches!(judge(answer), Outcome::Failed { next_ms: Some(_), .. }));
        }
        assert!(matches!(judge(Ok(410)), Outcome::Failed { next_ms: None, status: Some(410), .. }));
    }

    #[test]
    fn an_error_does_not_name_the_address() {
        let error = hook(&["cdr"]).send(&delivery(0), Timestamp::UNIX_EPOCH).expect_err("nobody listens");
        assert!(!error.contains("127.0.0.1") && !error.contains("hook"), "{error}");
    }
}
