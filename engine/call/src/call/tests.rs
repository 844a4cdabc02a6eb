use antiphon_models_speech::Language;

use super::*;

/// Says hello at the start, answers each utterance, hangs up on "goodbye".
#[derive(Default)]
struct Parrot {
    effects: VecDeque<Effect>,
    prompts: u32,
    inputs: Vec<SessionInput>,
    wake: Option<MediaTime>,
}

impl Parrot {
    fn say(&mut self, text: &str) {
        self.prompts += 1;
        let prompt = Prompt::Text { text: text.into(), language: Language::english(), voice: None };
        self.effects.push_back(Effect::Say {
            id: PromptId(self.prompts),
            prompts: vec![prompt],
            interruptible: true,
        });
    }
}

impl Dialogue for Parrot {
    fn handle(&mut self, _: MediaTime, input: SessionInput) {
        match &input {
            SessionInput::Started { .. } => self.say("hello there"),
            SessionInput::Heard(utterance) => {
                let text = utterance.text.clone();
                self.say(&text);
                if text == "goodbye" {
                    self.effects.push_back(Effect::HangUp { cause: Cause::FLOW_HUNG_UP });
                }
            }
            _ => {}
        }
        self.inputs.push(input);
    }

    fn handle_timeout(&mut self, _: MediaTime) {
        self.wake = None;
        self.say("still there?");
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn poll_timeout(&self) -> Option<MediaTime> {
        self.wake
    }
}

const LIMITS: Limits = Limits { ringing: Span::from_secs(10), longest: Span::from_secs(600) };

fn at(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis)
}

fn effects(call: &mut Call<Parrot>) -> Vec<Effect> {
    std::iter::from_fn(|| call.poll_effect()).collect()
}

fn events(call: &mut Call<Parrot>) -> Vec<EventBody> {
    let notices = effects(call).into_iter().filter_map(|e| match e {
        Effect::Notify(body) => Some(body),
        _ => None,
    });
    notices.collect()
}

fn answered() -> Call<Parrot> {
    let mut call = Call::new(Parrot::default(), LIMITS, at(0));
    let (from, to) = (Pii::new("alice".into()), Pii::new("bank".into()));
    call.handle(at(0), CallInput::Offered { from, to, direction: "inbound" });
    let variables = BTreeMap::new();
    call.handle(
        at(100),
        CallInput::Answered {
            codec: "G722".into(),
            sample_rate_hz: 16_000,
            security: MediaSecurity::None,
            variables,
        },
    );
    call
}

fn utterance(text: &str, end: i64) -> Utterance {
    Utterance {
        text: text.into(),
        words: Vec::new(),
        start: at(end - 500),
        end: at(end),
        confidence: 0.9,
        language: None,
    }
}

fn closed() -> CallInput {
    CallInput::Closed { received: MediaFigures::default(), sent: MediaFigures::default(), recording: None }
}

#[test]
fn an_answered_call_speaks_first() {
    let mut call = answered();
    let effects = effects(&mut call);
    assert!(matches!(effects[0], Effect::Notify(EventBody::CallStarted { .. })));
    assert!(matches!(effects[1], Effect::Notify(EventBody::CallAnswered { .. })));
    assert!(matches!(effects[2], Effect::Say { id: PromptId(1), .. }));
}

#[test]
fn ringing_for_too_long_ends_the_call_with_its_own_cause() {
    let mut call = Call::new(Parrot::default(), LIMITS, at(0));
    assert_eq!(call.poll_timeout(), Some(at(10_000)));
    call.handle_timeout(at(10_000));
    assert_eq!(effects(&mut call), [Effect::HangUp { cause: Cause::RINGING_TOO_LONG }]);
    assert_eq!(call.poll_timeout(), None);
}

#[test]
fn the_longest_call_ends() {
    let mut call = answered();
    effects(&mut call);
    call.handle_timeout(at(600_100));
    assert!(effects(&mut call).contains(&Effect::HangUp { cause: Cause::LONGEST_CALL }));
}

#[test]
fn hanging_up_waits_until_the_last_word_is_said() {
    let mut call = answered();
    call.handle(
        at(200),
        CallInput::PromptStarted { id: PromptId(1), at: at(200), length: Span::from_secs(1) },
    );
    let stopped = |id, time| CallInput::PromptStopped {
        id: PromptId(id),
        at: at(time),
        played: Span::from_secs(1),
        end: PromptEnd::Completed,
    };
    call.handle(at(1_200), stopped(1, 1_200));
    call.handle(at(3_000), CallInput::Final(utterance("goodbye", 2_500)));
    assert!(!effects(&mut call).iter().any(|e| matches!(e, Effect::HangUp { .. })));
    call.handle(
        at(3_100),
        CallInput::PromptStarted { id: PromptId(2), at: at(3_100), length: Span::from_secs(1) },
    );
    call.handle(at(4_100), stopped(2, 4_100));
    let last = effects(&mut call).pop();
    assert_eq!(last, Some(Effect::HangUp { cause: Cause::FLOW_HUNG_UP }));
}

#[test]
fn the_response_is_measured_from_the_last_sound_to_the_first() {
    let mut call = answered();
    call.handle(at(3_000), CallInput::Final(utterance("balance please", 2_300)));
    call.handle(at(3_000), CallInput::SpeechEnded { at: at(2_320) });
    call.handle(
        at(3_080),
        CallInput::PromptStarted { id: PromptId(2), at: at(3_060), length: Span::from_secs(1) },
    );
    let responses: Vec<_> = events(&mut call)
        .into_iter()
        .filter_map(|e| match e {
            EventBody::Response(response) => Some(response),
            _ => None,
        })
        .collect();
    assert_eq!(responses, [ResponseTime { recognized_ms: 700, first_audio_ms: 760 }]);
}

#[test]
fn a_cut_prompt_is_transcribed_as_far_as_it_was_heard() {
    let mut call = answered();
    call.handle(
        at(200),
        CallInput::PromptStarted { id: PromptId(1), at: at(200), length: Span::from_secs(2) },
    );
    let stop = CallInput::PromptStopped {
        id: PromptId(1),
        at: at(1_100),
        played: Span::from_millis(900),
        end: PromptEnd::BargeIn,
    };
    call.handle(at(1_100), stop);
    let said: Vec<_> = events(&mut call)
        .into_iter()
        .filter_map(|e| match e {
            EventBody::SpeechFinal { side: Side::Machine, text, .. } => Some(text.into_inner()),
            _ => None,
        })
        .collect();
    assert_eq!(said, ["hello"]);
}

#[test]
fn our_words_appear_as_they_are_spoken() {
    let mut call = answered();
    call.handle(
        at(200),
        CallInput::PromptStarted { id: PromptId(1), at: at(200), length: Span::from_secs(2) },
    );
    let due = call.poll_timeout().expect("the second word is to come");
    assert!(due > at(200) && due < at(2_200));
    call.handle_timeout(due);
    let shown: Vec<_> = events(&mut call)
        .into_iter()
        .filter_map(|e| match e {
            EventBody::SpeechPartial { side: Side::Machine, text, .. } => Some(text.into_inner()),
            _ => None,
        })
        .collect();
    assert_eq!(shown, ["hello", "hello there"]);
}

#[test]
fn the_end_is_told_once_and_nothing_follows() {
    let mut call = answered();
    call.handle(at(5_000), CallInput::End(Cause::CALLER_HUNG_UP));
    call.handle(at(5_001), CallInput::End(Cause::RTP_SILENCE));
    call.handle(at(5_100), closed());
    call.handle(at(5_200), CallInput::SpeechStarted { at: at(5_200) });
    call.handle(at(5_300), closed());
    let effects = effects(&mut call);
    let ends = effects.iter().filter(|e| matches!(e, Effect::HangUp { .. })).count();
    assert_eq!(ends, 1);
    assert_eq!(
        effects.last(),
        Some(&Effect::Notify(EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 4_900 }))
    );
    assert!(call.dialogue().inputs.contains(&SessionInput::HungUp));
}

#[test]
fn a_dialogue_is_woken_at_its_time() {
    let mut call = answered();
    effects(&mut call);
    call.dialogue.wake = Some(at(700));
    assert_eq!(call.poll_timeout(), Some(at(700)));
    call.handle_timeout(at(700));
    assert!(matches!(effects(&mut call)[0], Effect::Say { id: PromptId(2), .. }));
}

/// Asks for a transfer in the same breath as its last words.
struct Operator {
    effects: VecDeque<Effect>,
    outcome: Option<TransferOutcome>,
}

impl Dialogue for Operator {
    fn handle(&mut self, _: MediaTime, input: SessionInput) {
        match input {
            SessionInput::Started { .. } => {
                let text = "one moment".to_owned();
                let prompts = vec![Prompt::Text { text, language: Language::english(), voice: None }];
                self.effects.push_back(Effect::Say { id: PromptId(1), prompts, interruptible: true });
                let request = crate::TransferRequest {
                    to: "1001".into(),
                    kind: crate::TransferKind::Bridge,
                    ring: std::time::Duration::from_secs(20),
                    caller_id: None,
                    music: Vec::new(),
                    announce: Vec::new(),
                    screen: false,
                };
                self.effects.push_back(Effect::Transfer { id: ActionId(1), request });
            }
            SessionInput::TransferDone { outcome, .. } => self.outcome = Some(outcome),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, _: MediaTime) {}

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn poll_timeout(&self) -> Option<MediaTime> {
        None
    }
}

#[test]
fn a_transfer_begins_when_everything_has_been_said() {
    let operator = Operator { effects: VecDeque::new(), outcome: None };
    let mut call = Call::new(operator, LIMITS, MediaTime::ZERO);
    let answered = CallInput::Answered {
        codec: "PCMU".into(),
        sample_rate_hz: 8_000,
        security: MediaSecurity::None,
        variables: BTreeMap::new(),
    };
    call.handle(at(0), answered);
    let begins = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Transfer { .. }));
    let first: Vec<_> = std::iter::from_fn(|| call.poll_effect()).collect();
    assert!(!begins(&first), "not while the caller is still spoken to");
    let end = PromptEnd::Completed;
    call.handle(
        at(900),
        CallInput::PromptStopped { id: PromptId(1), at: at(900), played: Span::from_millis(900), end },
    );
    let then: Vec<_> = std::iter::from_fn(|| call.poll_effect()).collect();
    assert!(begins(&then));
    assert!(then.iter().any(|e| matches!(e, Effect::Notify(EventBody::TransferStarted { .. }))));
    call.handle(at(9_000), CallInput::TransferDone { id: ActionId(1), outcome: TransferOutcome::Busy });
    assert_eq!(call.dialogue().outcome, Some(TransferOutcome::Busy));
    let told: Vec<_> = std::iter::from_fn(|| call.poll_effect()).collect();
    assert!(told.iter().any(|e| matches!(
        e,
        Effect::Notify(EventBody::TransferFinished { outcome: "busy", status: None, .. })
    )));
}

#[test]
fn a_dialogue_is_deaf_and_mute_while_the_caller_is_with_somebody_else() {
    let mut call = answered();
    while call.poll_effect().is_some() {}
    call.handle(at(2_000), CallInput::Away(true));
    call.handle(at(3_000), CallInput::Final(utterance("goodbye", 2_900)));
    let meanwhile: Vec<_> = std::iter::from_fn(|| call.poll_effect()).collect();
    assert!(meanwhile.iter().all(|e| matches!(e, Effect::Notify(_))), "{meanwhile:?}");
    assert!(meanwhile.iter().any(|e| matches!(e, Effect::Notify(EventBody::SpeechFinal { .. }))));
    call.handle(at(4_000), CallInput::Away(false));
    call.handle(at(5_000), CallInput::Final(utterance("hello again", 4_900)));
    let back: Vec<_> = std::iter::from_fn(|| call.poll_effect()).collect();
    assert!(back.iter().any(|e| matches!(e, Effect::Say { .. })), "{back:?}");
}

/// A call whose dialogue is heard before the answer.
fn early() -> Call<Parrot> {
    let mut call = Call::new(Parrot::default(), LIMITS, at(0));
    let (codec, security, variables) = ("PCMA".into(), MediaSecurity::None, Some(BTreeMap::new()));
    call.handle(at(100), CallInput::Early { codec, sample_rate_hz: 8_000, security, variables });
    call
}

fn answer() -> CallInput {
    CallInput::Answered {
        codec: "PCMA".into(),
        sample_rate_hz: 8_000,
        security: MediaSecurity::None,
        variables: BTreeMap::new(),
    }
}

fn over(id: u32) -> CallInput {
    let end = PromptEnd::Completed;
    CallInput::PromptStopped { id: PromptId(id), at: at(1_000), played: Span::from_millis(900), end }
}

#[test]
fn what_is_said_early_is_heard_out_before_the_call_is_answered() {
    let mut call = early();
    let first = effects(&mut call);
    assert!(
        matches!(first[0], Effect::Notify(EventBody::CallEarly { sample_rate_hz: 8_000, .. })),
        "{first:?}"
    );
    assert!(matches!(first[1], Effect::Say { id: PromptId(1), .. }), "{first:?}");
    call.dialogue.effects.push_back(Effect::Answer);
    call.handle(at(500), CallInput::SpeechStarted { at: at(500) });
    assert!(!effects(&mut call).contains(&Effect::Answer), "the prompt is not over");
    call.handle(at(1_000), over(1));
    assert_eq!(effects(&mut call).iter().filter(|effect| **effect == Effect::Answer).count(), 1);
    assert!(!call.is_answered());
    call.handle(at(1_010), answer());
    assert!(call.is_answered());
    assert_eq!(call.dialogue.inputs.last(), Some(&SessionInput::Answered));
    call.handle(at(4_010), CallInput::End(Cause::CALLER_HUNG_UP));
    call.handle(at(4_020), closed());
    let ended = events(&mut call).pop().expect("an end");
    assert_eq!(ended, EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 3_000 });
}

#[test]
fn a_call_that_is_answered_already_is_answered_at_once() {
    let mut call = answered();
    effects(&mut call);
    call.dialogue.effects.push_back(Effect::Answer);
    call.handle(at(500), CallInput::SpeechStarted { at: at(500) });
    assert!(!effects(&mut call).contains(&Effect::Answer));
    assert_eq!(call.dialogue.inputs.last(), Some(&SessionInput::Answered));
}

#[test]
fn an_early_call_is_ended_by_its_dialogue_or_by_the_ringing_limit() {
    let mut call = early();
    assert_eq!(call.poll_timeout(), Some(at(10_000)));
    call.handle_timeout(at(10_000));
    assert_eq!(call.cause(), Some(Cause::RINGING_TOO_LONG));
    assert_eq!(call.dialogue.inputs.last(), Some(&SessionInput::HungUp));

    let mut call = early();
    call.dialogue.effects.push_back(Effect::HangUp { cause: Cause::FLOW_HUNG_UP });
    call.handle(at(1_000), over(1));
    assert_eq!(call.cause(), Some(Cause::FLOW_HUNG_UP));
    call.handle(at(1_100), closed());
    let all = events(&mut call);
    assert_eq!(all.last(), Some(&EventBody::CallEnded { cause: Cause::FLOW_HUNG_UP, duration_ms: 0 }));
    assert!(all.iter().any(|body| matches!(body, EventBody::Media { .. })), "media did flow");
}

#[test]
fn whoever_is_handed_on_early_is_answered_first() {
    let mut call = early();
    effects(&mut call);
    let request = crate::TransferRequest {
        to: "1001".into(),
        kind: crate::TransferKind::Bridge,
        ring: std::time::Duration::from_secs(20),
        caller_id: None,
        music: Vec::new(),
        announce: Vec::new(),
        screen: false,
    };
    call.dialogue.effects.push_back(Effect::Transfer { id: ActionId(1), request });
    call.handle(at(1_000), over(1));
    let asked = effects(&mut call);
    assert!(asked.contains(&Effect::Answer), "{asked:?}");
    assert!(!asked.iter().any(|effect| matches!(effect, Effect::Transfer { .. })), "{asked:?}");
    call.handle(at(1_010), answer());
    assert!(effects(&mut call).iter().any(|effect| matches!(effect, Effect::Transfer { .. })));
}

#[test]
fn ringing_and_refusals_are_told_as_they_come() {
    let mut call = Call::new(Parrot::default(), LIMITS, at(0));
    call.handle(at(1), CallInput::Ringing);
    call.handle(at(2), CallInput::Ringing);
    let (host, reason) = ("203.0.113.9".to_owned(), "Service Unavailable".to_owned());
    call.handle(at(3), CallInput::Refused { host: host.clone(), status: 503, reason: reason.clone() });
    let (codec, security) = ("PCMA".to_owned(), MediaSecurity::None);
    for _ in 0..2 {
        let codec = codec.clone();
        call.handle(at(4), CallInput::Early { codec, sample_rate_hz: 8_000, security, variables: None });
    }
    let expected = [
        EventBody::CallRinging,
        EventBody::CallRefused { host, status: 503, reason },
        EventBody::CallEarly { codec, sample_rate_hz: 8_000, security },
    ];
    assert_eq!(events(&mut call), expected);
    assert!(call.dialogue.inputs.is_empty(), "the dialogue waits for the answer");
}
