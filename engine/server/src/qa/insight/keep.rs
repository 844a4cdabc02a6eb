//! What is kept of a call, so that figures over many need to read no more than that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_measure::{Conversation, Measures};
use antiphon_engine_qa::Judgement;
use antiphon_engine_qa::insight::{Judged, Measured};
use antiphon_engine_store::{JudgedCall, LiveCall, Store, Verdict};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::qa::result::hits_of;

/// Octets of a name that figures are told by.
const LONGEST: usize = 200;
/// Attempts to keep a live call, and the wait between.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of a call besides its words.
pub(crate) struct About {
    /// Names the call wherever it is judged.
    pub(crate) call: String,
    /// Whose it is.
    pub(crate) tenant: String,
    /// What people call it.
    pub(crate) name: String,
    /// When it took place, milliseconds since 1970.
    pub(crate) at_ms: Option<i64>,
}

/// What a call was judged by while it went on.
pub(crate) struct Judgements {
    pub(crate) conversation: Conversation,
    pub(crate) judgements: Vec<Judgement>,
    pub(crate) tenant: String,
    /// When it was offered.
    pub(crate) at: Timestamp,
}

/// What the store keeps of a call, by scorecard.
pub(crate) fn judged_calls(
    conversation: &Conversation,
    judgements: &[Judgement],
    about: &About,
) -> Vec<JudgedCall> {
    let measured = Measured::of(conversation, &Measures::of(conversation));
    let metadata = &conversation.metadata;
    let text = serde_json::to_string(&measured).unwrap_or_default();
    let call = |judgement: &Judgement| JudgedCall {
        card: judgement.scorecard.clone(),
        version: judgement.version.clone(),
        call: about.call.clone(),
        tenant: about.tenant.clone(),
        name: about.name.clone(),
        agent: fact(metadata, &["agent", "user"]),
        queue: fact(metadata, &["queue", "flow"]),
        product: fact(metadata, &["product"]),
        at_ms: about.at_ms,
        verdict: verdict(judgement),
        risk: f64::from(measured.risk),
        topics: format!("\n{}\n", measured.topics.join("\n")),
        measured: text.clone(),
    };
    judgements.iter().map(call).collect()
}

/// How a call does by a scorecard, reviews counted in.
pub(crate) fn verdict(judgement: &Judgement) -> Verdict {
    Verdict {
        score: judgement.score,
        passed: judgement.pass,
        judged: serde_json::to_string(&Judged::of(judgement)).unwrap_or_default(),
        standing: judgement.standing().map(|hit| hit.id.clone()).collect(),
    }
}

/// The first of these that is known, cut short.
pub(super) fn fact(metadata: &BTreeMap<String, String>, names: &[&str]) -> Option<String> {
    let known = names.iter().find_map(|name| metadata.get(*name).map(|value| value.trim()));
    let known = known.filter(|value| !value.is_empty())?;
    let end = (0..=LONGEST.min(known.len())).rev().find(|&end| known.is_char_boundary(end));
    Some(known[..end.unwrap_or(0)].to_owned())
}

/// Keeps what live calls were judged by, until the server stops and nothing waits any more.
pub(crate) async fn keep_live(
    store: Arc<Store>,
    mut calls: mpsc::Receiver<Judgements>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let next = tokio::select! {
            biased;
            next = calls.recv() => next,
            _ = stopping.wait_for(|stop| *stop) => calls.try_recv().ok(),
        };
        let Some(judged) = next else { return };
        // Measuring takes milliseconds of computing, which no call's task should wait for.
        let Ok(call) = tokio::task::spawn_blocking(move || live_call(&judged)).await else { continue };
        for attempt in 1..=ATTEMPTS {
            match store.keep_live(&call).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(%error, call = call.id, attempt, "what a call was judged by could not be kept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn live_call(judged: &Judgements) -> LiveCall {
    let Judgements { conversation, judgements, tenant, at } = judged;
    let about = About {
        call: conversation.id.clone(),
        tenant: tenant.clone(),
        name: conversation.id.clone(),
        at_ms: Some(at.as_millisecond()),
    };
    LiveCall {
        id: conversation.id.clone(),
        judged_ms: Timestamp::now().as_millisecond(),
        calls: judged_calls(conversation, judgements, &about),
        hits: hits_of(judgements),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_letters() {
        let of = |value: &str| fact(&BTreeMap::from([("agent".to_owned(), value.to_owned())]), &["agent"]);
        assert_eq!(of("  ann ").as_deref(), Some("ann"));
        assert_eq!(of(" "), None);
        assert_eq!(of(&"理".repeat(100)), Some("理".repeat(66)));
    }
}
