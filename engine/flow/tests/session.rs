//! A session against a scripted world: timers, barge-in, keys and circles.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use antiphon_engine_call::{Cause, Effect, EventBody, MediaTime, Prompt, PromptEnd, PromptId, SessionInput};
use antiphon_engine_flow::{Flow, Session};
use antiphon_models_speech::Utterance;
use proptest::prelude::*;

const FLOW: &str = "version: 1
name: test
settings: {no_input: 5s, inter_digit: 2s, attempts: 3}
variables: {n: 0}
slots:
  code: {type: digits, min: 4, max: 6}
intents:
  balance: [what is my balance, check my balance, tell me the balance]
steps:
  legal: {say: Legal line., interruptible: false}
  hello: {say: Hello.}
  code:
    ask: Your code?
    slot: code
    intents: {balance: done}
    no_input: [Still there?, Hello?]
    no_match: [Pardon?]
    confirm: {prompt: \"Is it {code}?\", when: unsure}
    then: circle
  done: {hang_up: \"Code {code}.\"}
  circle: {set: {n: \"= n + 1\"}}
  round:
    branch: [{if: n >= 0, goto: circle}, {else: done}]
";

fn at(ms: i64) -> MediaTime {
    MediaTime::from_millis(ms)
}

fn session() -> Session {
    let flow = Flow::parse(FLOW, Path::new("flow.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    let mut session = Session::new(Arc::new(flow));
    session.handle(at(0), SessionInput::Started { variables: BTreeMap::new() });
    session
}

fn heard(text: &str, confidence: f32) -> SessionInput {
    SessionInput::Heard(Utterance {
        text: text.into(),
        words: Vec::new(),
        start: at(0),
        end: at(0),
        confidence,
        language: None,
    })
}

fn key(key: char) -> SessionInput {
    SessionInput::Key { key, at: at(0) }
}

fn ended(id: u32, end: PromptEnd) -> SessionInput {
    SessionInput::PromptEnded { id: PromptId(id), end }
}

/// What came out, in short.
fn out(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.poll_effect())
        .filter_map(|effect| match effect {
            Effect::Say { id, prompts, interruptible } => {
                let Prompt::Text { text, .. } = &prompts[0] else { panic!("only texts here") };
                Some(format!("say {} {text}{}", id.0, if interruptible { "" } else { " !" }))
            }
            Effect::StopSpeaking => Some("stop".into()),
            Effect::Listen { hints, .. } => {
                Some(format!("listen digits={} {}", hints.digits, hints.phrases[0]))
            }
            Effect::HangUp { cause } => Some(format!("hang up {}", cause.code)),
            Effect::Notify(EventBody::NoInput { count }) => Some(format!("no input {count}")),
            Effect::Notify(EventBody::NoMatch { count }) => Some(format!("no match {count}")),
            _ => None,
        })
        .collect()
}

/// Up to the question, all prompts played.
fn asked() -> Session {
    let mut session = session();
    assert_eq!(
        out(&mut session),
        ["say 1 Legal line. !", "say 2 Hello.", "listen digits=true what is my balance", "say 3 Your code?"]
    );
    for id in 1..=3 {
        assert_eq!(session.poll_timeout(), None, "no clock of silence while we speak");
        session.handle(at(1_000), ended(id, PromptEnd::Completed));
    }
    assert_eq!(session.poll_timeout(), Some(at(6_000)));
    session
}

#[test]
fn silence_is_counted_from_the_end_of_the_prompt_and_not_while_somebody_speaks() {
    let mut session = asked();
    session.handle(at(5_000), SessionInput::SpeechStarted { at: at(5_000) });
    session.handle_timeout(at(6_000));
    assert!(out(&mut session).is_empty(), "the caller is speaking");
    session.handle(at(7_000), SessionInput::SpeechEnded { at: at(7_000) });
    assert_eq!(session.poll_timeout(), Some(at(12_000)), "speech without words starts the clock again");
    session.handle_timeout(at(12_000));
    assert_eq!(out(&mut session), ["no input 1", "say 4 Still there?"]);
    session.handle(at(13_000), ended(4, PromptEnd::Completed));
    session.handle_timeout(at(18_000));
    assert_eq!(out(&mut session), ["no input 2", "say 5 Hello?"]);
}

#[test]
fn barge_in_keeps_the_words_and_a_cough_does_not_lose_the_question() {
    let mut session = session();
    out(&mut session);
    session.handle(at(900), ended(1, PromptEnd::Completed));
    session.handle(at(1_000), SessionInput::SpeechStarted { at: at(1_000) });
    session.handle(at(1_000), ended(2, PromptEnd::BargeIn));
    session.handle(at(1_000), ended(3, PromptEnd::Cancelled));
    session.handle(at(1_300), SessionInput::SpeechEnded { at: at(1_300) });
    assert_eq!(out(&mut session), ["say 4 Hello."], "said again after a cough");
    session.handle(at(1_500), SessionInput::SpeechStarted { at: at(1_500) });
    session.handle(at(1_500), ended(4, PromptEnd::BargeIn));
    session.handle(at(2_500), heard("one two three four", 1.0));
    assert_eq!(out(&mut session), ["say 5 Code 1 2 3 4.", "hang up call.hangup.flow"]);
    assert!(session.is_finished());
}

#[test]
fn keys_wait_for_what_must_be_heard_and_then_clear_the_rest() {
    let mut session = session();
    out(&mut session);
    for digit in "1234#".chars() {
        session.handle(at(500), key(digit));
    }
    assert!(out(&mut session).is_empty(), "the legal line is heard to its end");
    session.handle(at(1_000), ended(1, PromptEnd::Completed));
    assert_eq!(out(&mut session), ["stop", "say 4 Code 1 2 3 4.", "hang up call.hangup.flow"]);
}

#[test]
fn digits_end_by_time_too_and_too_few_are_no_match() {
    let mut session = asked();
    session.handle(at(2_000), key('1'));
    assert_eq!(session.poll_timeout(), Some(at(4_000)));
    session.handle_timeout(at(4_000));
    assert_eq!(out(&mut session), ["no match 1", "say 4 Pardon?"]);
    session.handle(at(5_000), ended(4, PromptEnd::Completed));
    for digit in "987654".chars() {
        session.handle(at(5_500), key(digit));
    }
    assert_eq!(out(&mut session), ["say 5 Code 9 8 7 6 5 4.", "hang up call.hangup.flow"]);
}

#[test]
fn a_caller_may_pause_while_reading_digits_out() {
    let mut session = asked();
    session.handle(at(2_000), heard("one two three", 1.0));
    assert!(out(&mut session).is_empty());
    session.handle(at(3_000), heard("four five", 1.0));
    assert_eq!(out(&mut session), ["say 4 Code 1 2 3 4 5.", "hang up call.hangup.flow"]);
}

#[test]
fn unsure_values_are_confirmed_and_corrected() {
    let mut session = asked();
    session.handle(at(2_000), heard("one two three four", 0.2));
    assert_eq!(out(&mut session), ["listen digits=true yes", "say 4 Is it 1 2 3 4?"]);
    session.handle(at(3_000), ended(4, PromptEnd::Completed));
    session.handle(at(4_000), heard("no one two three five", 0.9));
    assert_eq!(out(&mut session), ["say 5 Code 1 2 3 5.", "hang up call.hangup.flow"]);
}

#[test]
fn a_flow_that_runs_in_circles_is_stopped() {
    let mut session = asked();
    for n in 0..3 {
        session.handle(at(2_000 + n), heard("xylophone", 1.0));
    }
    assert!(session.is_finished());
    assert_eq!(
        out(&mut session).last().map(String::as_str),
        Some(format!("hang up {}", Cause::FLOW_FAILED.code)).as_deref()
    );
}

#[test]
fn after_the_caller_is_gone_nothing_is_asked_for() {
    let mut session = session();
    session.handle(at(10), SessionInput::HungUp);
    assert!(out(&mut session).is_empty());
    assert_eq!(session.poll_timeout(), None);
    session.handle(at(20), key('1'));
    assert!(session.is_finished() && session.poll_effect().is_none());
}

fn input() -> impl Strategy<Value = SessionInput> {
    prop_oneof![
        Just(SessionInput::SpeechStarted { at: at(0) }),
        Just(SessionInput::SpeechEnded { at: at(0) }),
        ("[a-z0-9 一两万点周月号]{0,30}", 0.0f32..1.0)
            .prop_map(|(text, confidence)| heard(&text, confidence)),
        prop::sample::select(vec!["one two", "what is my balance", "yes", "no one two three four", "repeat"])
            .prop_map(|text| heard(text, 0.3)),
        prop::sample::select("0123456789*#AB".chars().collect::<Vec<_>>()).prop_map(key),
        (0u32..12, prop::sample::select(vec![PromptEnd::Completed, PromptEnd::BargeIn, PromptEnd::Failed]))
            .prop_map(|(id, end)| ended(id, end)),
        Just(SessionInput::Started { variables: BTreeMap::new() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_inputs_is_borne(inputs in prop::collection::vec((input(), 0i64..4_000), 0..60)) {
        let mut session = session();
        let mut now = 0;
        for (input, passes) in inputs {
            now += passes;
            session.handle_timeout(at(now));
            session.handle(at(now), input);
            while session.poll_effect().is_some() {}
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,300}") {
        let _ = Flow::parse(&text, Path::new("flow.yaml"));
    }

    #[test]
    fn a_damaged_flow_is_read_or_refused(cut in 0usize..700, insert in "[\\-{}\\[\\]:\"'*&a-z0-9 \n]{0,12}", drop in 0usize..20) {
        let start = cut.min(FLOW.len());
        let end = (start + drop).min(FLOW.len());
        let text = format!("{}{insert}{}", &FLOW[..start], &FLOW[end..]);
        if let Ok(flow) = Flow::parse(&text, Path::new("flow.yaml")) {
            let mut chat = antiphon_engine_flow::Chat::new(Arc::new(flow));
            chat.start(BTreeMap::new());
            chat.say("one two three four");
            chat.say("/silence");
        }
    }
}

#[test]
fn a_finish_key_after_the_last_digit_is_no_answer_to_the_next_question() {
    const TWO: &str = "version: 1\nname: two\nsettings: {language: en}\nslots:\n  code: {type: digits, min: 4, max: 4}\n  sure: yes_no\nsteps:\n  first:\n    ask: Code?\n    slot: code\n    then: end\n  second:\n    ask: Sure?\n    slot: sure\n    then: end\n  end:\n    hang_up: Bye.\n";
    for (pause, expected) in [(100, false), (60_000, true)] {
        let flow = Flow::parse(TWO, Path::new("two.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
        let mut session = Session::new(Arc::new(flow));
        session.handle(at(0), SessionInput::Started { variables: BTreeMap::new() });
        session.handle(at(100), ended(1, PromptEnd::Completed));
        for digit in "1234".chars() {
            session.handle(at(200), key(digit));
        }
        session.handle(at(200 + pause), key('#'));
        let missed = out(&mut session).iter().any(|line| line.starts_with("no match"));
        assert_eq!(missed, expected, "after {pause} ms");
    }
}
