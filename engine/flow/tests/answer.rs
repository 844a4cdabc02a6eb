//! A flow says when the call is answered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use antiphon_engine_call::{Cause, Effect, MediaTime, PromptEnd, PromptId, SessionInput};
use antiphon_engine_flow::{Chat, Flow, Session};

const FLOW: &str = "version: 1
name: desk
steps:
  open: {say: This call is free until you hear the tone.}
  pick_up: {answer: }
  closed: {hang_up: We are closed.}
";

fn parse(text: &str) -> Flow {
    Flow::parse(text, Path::new("flow.yaml")).unwrap_or_else(|errors| panic!("{errors}"))
}

fn effects(session: &mut Session) -> Vec<Effect> {
    std::iter::from_fn(|| session.poll_effect()).filter(|e| !matches!(e, Effect::Notify(_))).collect()
}

#[test]
fn what_follows_the_answer_waits_for_it() {
    let flow = parse(FLOW);
    assert!(flow.answers_itself() && flow.warnings().is_empty(), "{:?}", flow.warnings());
    let mut session = Session::new(Arc::new(flow));
    session.handle(MediaTime::ZERO, SessionInput::Started { variables: BTreeMap::new() });
    let before = effects(&mut session);
    assert!(matches!(before[..], [Effect::Say { .. }, Effect::Answer]), "{before:?}");
    session.handle(
        MediaTime::from_millis(900),
        SessionInput::PromptEnded { id: PromptId(1), end: PromptEnd::Completed },
    );
    assert!(effects(&mut session).is_empty(), "it is not answered yet");
    session.handle(MediaTime::from_millis(950), SessionInput::Answered);
    let after = effects(&mut session);
    let closed = Effect::HangUp { cause: Cause::FLOW_HUNG_UP };
    assert!(matches!(&after[..], [Effect::Say { .. }, end] if *end == closed), "{after:?}");
    session.handle(MediaTime::from_millis(990), SessionInput::Answered);
    assert!(effects(&mut session).is_empty(), "once");
}

#[test]
fn a_typed_conversation_goes_on_over_the_answer() {
    let turn = Chat::new(Arc::new(parse(FLOW))).start(BTreeMap::new());
    assert_eq!(turn.said, ["This call is free until you hear the tone.", "We are closed."]);
    assert_eq!(turn.ended, Some(Cause::FLOW_HUNG_UP));
}

#[test]
fn a_question_before_the_answer_is_doubted_and_one_after_it_is_not() {
    let text = "version: 1
name: desk
steps:
  early: {ask: 'Which number?', slot: number, save: first, then: bye}
  pick_up: {answer: }
  late: {ask: 'And which now?', slot: number, save: second, then: bye}
  bye: {hang_up: Goodbye.}
";
    let flow = parse(text);
    let warnings: Vec<_> = flow.warnings().iter().map(ToString::to_string).collect();
    assert!(matches!(&warnings[..], [only] if only.contains("`early`")), "{warnings:?}");
    assert!(!parse("version: 1\nname: x\nsteps:\n  a: {hang_up: Bye.}\n").answers_itself());
}

#[test]
fn an_answer_takes_nothing_and_something_follows_it() {
    for (step, part) in
        [("{answer: now, next: bye}", "takes nothing"), ("{answer: , say: Hi}", "unknown key")]
    {
        let text = format!("version: 1\nname: x\nsteps:\n  a: {step}\n  bye: {{hang_up: Bye.}}\n");
        let errors = Flow::parse(&text, Path::new("flow.yaml")).expect_err(step).to_string();
        assert!(errors.contains(part), "{step}: {errors}");
    }
}
