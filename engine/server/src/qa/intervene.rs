//! What a rule that takes its action does besides ending the call: it rings the supervisor and lets him into the call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Cause, Hearing};
use antiphon_media_frame::{CallId, Pii};
use antiphon_models_speech::Language;
use tokio::sync::oneshot;

use crate::conversation::Leaving;
use crate::dial::{self, Ticket};
use crate::quiet::Quiet;
use crate::shared::Shared;
use crate::switch::Mode;
use crate::trunks::Origin;

/// How long the supervisor's telephone rings.
const RING: Duration = Duration::from_secs(30);

/// Rings `qa.supervisor` and joins whoever answers to the call `target` as `mode`. What becomes of it is told by the
/// events of both calls.
pub(crate) fn call_in(shared: &Arc<Shared>, target: CallId, mode: Mode, language: Language) {
    let Some(supervisor) = &shared.config.qa.supervisor else { return };
    let plan = match shared.plan(&Origin::Api, supervisor, None) {
        Ok(plan) => plan,
        Err(outcome) => {
            tracing::warn!(call = %target, outcome = outcome.name(), "qa.supervisor cannot be called");
            return;
        }
    };
    let (ready, picked_up) = oneshot::channel();
    let ticket = Ticket {
        plan,
        from: Pii::new(String::new()),
        to: Pii::new(supervisor.clone()),
        ring: RING,
        parent: Some(target),
        token: None,
        flow: None,
        language,
        leaving: Leaving::WithPartner,
        variables: BTreeMap::new(),
        dialogue: Quiet::new(Vec::new(), false, Some(ready)),
        tell: None,
    };
    let Ok((placing, _)) = dial::place(shared, ticket) else {
        tracing::warn!(call = %target, "the supervisor cannot be called: the recognisers are full");
        return;
    };
    let id = placing.id();
    tokio::spawn(placing.run());
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if picked_up.await.is_err() {
            tracing::warn!(call = %target, "the supervisor does not answer");
            return;
        }
        if let Err(error) = shared.switch.supervise(id, target, mode, Hearing::default()) {
            tracing::info!(call = %target, %error, "the supervisor finds nothing to supervise");
            // It may be over already.
            let _ = shared.calls.end(id, Cause::PARTNER_HUNG_UP);
        }
    });
}
