//! A flow hands the caller on, and has him back where that fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{
    ActionId, Cause, Effect, MediaTime, Prompt, SessionInput, TransferKind, TransferOutcome, TransferRequest,
};
use antiphon_engine_flow::{Flow, Session};

const FLOW: &str = "version: 1
name: desk
steps:
  hello: {say: One moment.}
  agent:
    transfer: {to: 'user:{called}', ring: 12s, caller_id: '{caller}', announce: 'A call from {caller}.', voicemail: detect}
    on_busy: busy
    on_failed: sorry
  survey: {hang_up: How was it?}
  busy: {hang_up: All are busy.}
  sorry: {hang_up: 'That failed: {transfer_outcome}.'}
";

fn started(flow: &str) -> Session {
    let flow = Flow::parse(flow, Path::new("flow.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    let mut session = Session::new(Arc::new(flow));
    let variables = BTreeMap::from([("caller", "100"), ("called", "1001")])
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    session.handle(MediaTime::ZERO, SessionInput::Started { variables });
    session
}

fn effects(session: &mut Session) -> Vec<Effect> {
    std::iter::from_fn(|| session.poll_effect()).filter(|e| !matches!(e, Effect::Notify(_))).collect()
}

fn said(effects: &[Effect]) -> String {
    let texts = effects.iter().filter_map(|effect| match effect {
        Effect::Say { prompts, .. } => Some(prompts.iter().map(|prompt| match prompt {
            Prompt::Text { text, .. } | Prompt::Recording { text, .. } => text.as_str(),
        })),
        _ => None,
    });
    texts.flatten().collect::<Vec<_>>().join(" ")
}

fn after(outcome: TransferOutcome) -> (String, Option<Effect>) {
    let mut session = started(FLOW);
    effects(&mut session);
    session.handle(MediaTime::from_millis(9_000), SessionInput::TransferDone { id: ActionId(1), outcome });
    let mut effects = effects(&mut session);
    (said(&effects), effects.pop())
}

#[test]
fn the_request_carries_what_the_flow_says() {
    let mut session = started(FLOW);
    let effects = effects(&mut session);
    let Some(Effect::Transfer { id: ActionId(1), request }) = effects.last() else { panic!("{effects:?}") };
    let TransferRequest { to, kind, ring, caller_id, announce, screen, .. } = request;
    assert_eq!((to.as_str(), *kind, *ring), ("user:1001", TransferKind::Bridge, Duration::from_secs(12)));
    assert_eq!((caller_id.as_deref(), announce.len(), *screen), (Some("100"), 1, true));
    assert!(!session.is_finished(), "the caller comes back");
}

#[test]
fn each_outcome_leads_where_the_flow_says() {
    assert_eq!(after(TransferOutcome::Completed).0, "How was it?");
    assert_eq!(after(TransferOutcome::Busy).0, "All are busy.");
    assert_eq!(after(TransferOutcome::NoAnswer).0, "That failed: no_answer.");
    assert_eq!(after(TransferOutcome::Forbidden).0, "That failed: forbidden.");
}

#[test]
fn words_and_keys_of_the_time_with_the_agent_are_not_the_flows() {
    let mut session = started(FLOW);
    effects(&mut session);
    session.handle(MediaTime::ZERO, SessionInput::Key { key: '1', at: MediaTime::ZERO });
    assert!(effects(&mut session).is_empty());
    let stranger = SessionInput::TransferDone { id: ActionId(7), outcome: TransferOutcome::Busy };
    session.handle(MediaTime::ZERO, stranger);
    assert!(effects(&mut session).is_empty(), "an action nobody asked for");
}

#[test]
fn a_transfer_at_the_end_of_a_flow_ends_the_call() {
    let flow = "version: 1
name: desk
steps:
  agent: {transfer: {to: '1001', how: refer}, on_failed: sorry}
  sorry: {hang_up: Sorry.}
";
    let mut session = started(flow);
    effects(&mut session);
    let done = SessionInput::TransferDone { id: ActionId(1), outcome: TransferOutcome::Completed };
    session.handle(MediaTime::ZERO, done);
    assert_eq!(effects(&mut session), [Effect::HangUp { cause: Cause::TRANSFERRED }]);
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    for (step, problem) in [
        ("{transfer: {how: bridge}, next: end}", "`transfer` wants `to`"),
        ("{transfer: {to: '1', how: brige}, next: end}", "did you mean `bridge`"),
        ("{transfer: {to: '1', how: refer, announce: hi}, next: end}", "`announce` needs `how: bridge`"),
        ("{transfer: {to: '1', voicemail: maybe}, next: end}", "`voicemail` wants"),
        ("{transfer: {to: '1', ring: 1h}, next: end}", "`ring` wants a time"),
        ("{transfer: {to: '1'}, on_bussy: end}", "did you mean `on_busy`"),
    ] {
        let flow = format!("version: 1\nname: x\nsteps:\n  agent: {step}\n  end: {{hang_up: Bye.}}\n");
        let error = Flow::parse(&flow, Path::new("flow.yaml")).expect_err(step).to_string();
        assert!(error.contains(problem) && error.contains("flow.yaml:4"), "{step}: {error}");
    }
}
