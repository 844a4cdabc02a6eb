//! A simulated customer and what a trainee says to it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_engine_assist::{Ending, Partner, Persona, Rehearsal};
use antiphon_engine_call::{Dialogue, Effect, PromptEnd, SessionInput};
use antiphon_media_frame::{MediaTime, Span};

const PERSONA: &str = include_str!("../../../examples/partners/overdraft-fee.yaml");

fn persona(text: &str) -> Arc<Persona> {
    Arc::new(Persona::parse(text).unwrap())
}

fn rehearsal() -> Rehearsal {
    Rehearsal::new(persona(PERSONA), 1)
}

#[test]
fn a_trainee_who_does_it_well_wins_the_customer_over() {
    let mut call = rehearsal();
    let opening = call.say("Good morning, this is the bank, my name is Bo, how can I help you?");
    assert!(opening[0].contains("fee"), "{opening:?}");
    call.say("I am so sorry to hear that. Let me have a look at your account.");
    assert!(call.outcome().temper < 5, "{:?}", call.outcome());
    let objection = call.say("I can refund the fee.");
    assert_eq!(call.outcome().raised, ["how_long"], "{objection:?}");
    let last = call.say("It is on your account today.");
    assert_eq!(call.outcome().met, ["how_long"]);
    assert_eq!(call.outcome().ended, Some(Ending::GaveIn), "{last:?}");
    assert!(call.say("hello?").is_empty(), "the call is over");
}

#[test]
fn a_trainee_who_brushes_the_customer_off_is_hung_up_on() {
    let mut call = rehearsal();
    call.say("Hello, bank.");
    for _ in 0..10 {
        call.say("That is our policy, there is nothing I can do, calm down.");
    }
    assert_eq!(call.outcome().ended, Some(Ending::Furious));
    assert_eq!(call.outcome().worst, 10);
}

#[test]
fn an_objection_is_raised_once_and_pressed_until_it_is_met() {
    let mut call = rehearsal();
    call.say("Hello, bank.");
    call.say("I will refund the fee.");
    let before = call.outcome().temper;
    call.say("As I said, a refund.");
    assert_eq!(call.outcome().raised, ["how_long"]);
    assert!(call.outcome().temper > before);
    assert_eq!(call.outcome().ended, None);
}

#[test]
fn a_reaction_that_counts_once_counts_once() {
    let mut call = rehearsal();
    call.say("Hello, bank.");
    call.say("I am sorry.");
    let calmed = call.outcome().temper;
    call.say("I am sorry, I am sorry.");
    assert_eq!(call.outcome().temper, calmed);
    assert_eq!(call.outcome().reactions.iter().filter(|one| *one == "apology").count(), 1);
}

#[test]
fn silence_is_complained_of_and_then_the_customer_is_gone() {
    let mut call = rehearsal();
    let opening = call.say("");
    assert!(!opening.is_empty(), "the customer speaks first where nobody greets");
    for _ in 0..4 {
        call.say("");
    }
    assert_eq!(call.outcome().ended, Some(Ending::Unheard));
}

#[test]
fn a_call_that_leads_nowhere_ends() {
    let mut call = rehearsal();
    for _ in 0..100 {
        call.say("Well, well.");
    }
    assert!(matches!(call.outcome().ended, Some(Ending::TooLong | Ending::Furious)), "{:?}", call.outcome());
}

#[test]
fn the_same_seed_gives_the_same_call_and_another_one_another() {
    let lines = ["Hello, bank.", "I see.", "Hm.", "Right.", "That is our policy.", "Sorry."];
    let run = |seed| {
        let mut call = Rehearsal::new(persona(PERSONA), seed);
        lines.map(|line| call.say(line)).to_vec()
    };
    assert_eq!(run(7), run(7));
    assert!((0..20).any(|seed| run(seed) != run(7)));
    for pair in run(7).windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

#[test]
fn a_trainee_who_hangs_up_ends_it() {
    let mut call = rehearsal();
    call.say("Hello, bank.");
    call.hang_up();
    assert_eq!(call.outcome().ended, Some(Ending::HungUp));
    let outcome = serde_json::to_value(call.outcome()).unwrap();
    assert_eq!(
        (outcome["ended"].as_str(), outcome["partner"].as_str()),
        (Some("hung_up"), Some("overdraft_fee"))
    );
}

#[test]
fn as_a_dialogue_it_listens_waits_for_a_breath_and_minds_being_interrupted() {
    let mut partner = Partner::new(persona(PERSONA), 1);
    let at = MediaTime::from_millis;
    partner.handle(at(0), SessionInput::Started { variables: BTreeMap::new() });
    assert!(matches!(partner.poll_effect(), Some(Effect::Listen { .. })));
    partner.handle(at(500), SessionInput::SpeechStarted { at: at(500) });
    assert_eq!(partner.poll_timeout(), None, "it lets the trainee speak");
    let heard = |text: &str| {
        SessionInput::Heard(antiphon_models_speech::Utterance {
            text: text.to_owned(),
            words: Vec::new(),
            start: at(500),
            end: at(1_500),
            confidence: 1.0,
            language: None,
        })
    };
    partner.handle(at(1_600), heard("Hello"));
    partner.handle(at(1_600), SessionInput::SpeechEnded { at: at(1_500) });
    let due = partner.poll_timeout().unwrap();
    partner.handle(at(1_900), SessionInput::SpeechStarted { at: at(1_900) });
    partner.handle_timeout(due);
    assert_eq!(partner.poll_effect(), None, "the trainee went on");
    partner.handle(at(2_500), heard("this is the bank"));
    let due = partner.poll_timeout().unwrap();
    assert_eq!(due, at(2_500) + Span::from_millis(700));
    partner.handle_timeout(due);
    let Some(Effect::Say { id, interruptible: true, .. }) = partner.poll_effect() else {
        panic!("it speaks")
    };
    let temper = partner.outcome().temper;
    partner.handle(at(4_000), SessionInput::SpeechStarted { at: at(3_900) });
    partner.handle(at(4_000), SessionInput::PromptEnded { id, end: PromptEnd::BargeIn });
    assert_eq!(partner.outcome().temper, temper + 1);
}

#[test]
fn chinese_is_heard_as_well() {
    let text = "partner: fee\nlanguage: zh-CN\nopening: [你们乱扣费]\nreactions: [{id: sorry, when: {said: [抱歉, 对不起]}, temper: -2, once: true, say: [好吧。]}]\n\
                gives_in: {when: {said: [退...年费]}, say: [那行，谢谢。]}\notherwise: [然后呢？]\nleaves: [不说了。]\n";
    let mut call = Rehearsal::new(persona(text), 3);
    assert_eq!(call.say("您好，这里是银行"), ["你们乱扣费"]);
    assert_eq!(call.say("非常抱歉"), ["好吧。"]);
    assert_eq!(call.say("我们会退给您年费"), ["那行，谢谢。"]);
    assert_eq!(call.outcome().ended, Some(Ending::GaveIn));
}
