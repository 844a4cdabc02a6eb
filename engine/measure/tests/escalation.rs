//! How likely calls are to become complaints, and what tells so.

mod calls;

use antiphon_engine_measure::{Escalation, Measures, Role};
use calls::{AGENT, CUSTOMER, Call};

fn of(call: &Call) -> Escalation {
    Escalation::of(&call.0, &Measures::of(&call.0))
}

fn share(escalation: &Escalation, feature: &str) -> f32 {
    escalation.features[feature]
}

fn quiet() -> Call {
    Call::of(20_000)
        .turn(AGENT, 0, 2_000, "good morning how can I help you")
        .turn(CUSTOMER, 2_500, 5_000, "I would like to know the balance of my account")
        .turn(AGENT, 6_000, 8_000, "it is two hundred and ten dollars")
        .turn(CUSTOMER, 8_500, 10_000, "thank you goodbye")
}

#[test]
fn an_ordinary_call_has_no_risk() {
    let found = of(&quiet());
    assert!(found.score < 0.01, "{found:?}");
    assert_eq!(
        found.features.keys().copied().collect::<Vec<_>>(),
        ["agitation", "asks", "holds", "interrupts", "repeats", "unsettled", "waits"]
    );
}

#[test]
fn asking_for_somebody_above_is_told_unless_it_is_denied_or_the_agents() {
    for text in ["我要投诉你们叫主管来", "let me speak to your supervisor right now"] {
        let found = of(&quiet().turn(CUSTOMER, 11_000, 13_000, text));
        assert!(share(&found, "asks") > 0.3, "{text}: {found:?}");
    }
    for (track, text) in [
        (CUSTOMER, "我不投诉"),
        (CUSTOMER, "there is no complaint"),
        (AGENT, "shall I call my supervisor for you"),
    ] {
        let found = of(&quiet().turn(track, 11_000, 13_000, text));
        assert!(share(&found, "asks") < 1e-6, "{text}: {found:?}");
    }
}

#[test]
fn holds_and_unanswered_silences_are_told_in_full_from_their_bounds_on() {
    let held =
        |ms: i64| of(&Call::of(600_000).turn(CUSTOMER, 0, 1_000, "hello").hold(2_000, 2_000 + ms, None));
    assert!(share(&held(30_000), "holds") < 1e-6);
    let full = held(240_000);
    assert!((share(&full, "holds") - 0.3).abs() < 1e-4, "{full:?}");
    assert!((share(&held(500_000), "holds") - 0.3).abs() < 1e-4, "no more than that");
    let waits = of(&Call::of(60_000).turn(CUSTOMER, 0, 1_000, "where is it").turn(
        AGENT,
        31_000,
        32_000,
        "here it is",
    ));
    assert!((share(&waits, "waits") - 0.2).abs() < 1e-4, "{waits:?}");
}

#[test]
fn repeats_are_the_customers_alone() {
    let text = "my parcel has not arrived since monday";
    let call = |track| {
        (0..4).fold(Call::of(60_000), |call, n| call.turn(track, n * 10_000, n * 10_000 + 3_000, text))
    };
    assert!(share(&of(&call(CUSTOMER)), "repeats") > 0.2);
    assert!(share(&of(&call(AGENT)), "repeats") < 1e-6);
}

#[test]
fn shares_add_up_and_a_call_of_nothing_is_calm() {
    let angry = quiet().turn(CUSTOMER, 10_500, 12_000, "this is ridiculous I want your manager").turn(
        CUSTOMER,
        13_000,
        15_000,
        "this is ridiculous I want your manager",
    );
    let found = of(&angry);
    assert!(found.score > 0.7, "{found:?}");
    assert!((found.features.values().sum::<f32>() - found.score).abs() < 1e-4);
    assert!(of(&Call::of(0)).score < 1e-6);
    let mut mono = angry;
    mono.0.tracks[CUSTOMER].role = Role::Other;
    assert!(of(&mono).score > 0.7, "where no track is a customer's, everybody but the agent is");
}
