use std::time::Duration;

use super::*;

fn speaker() -> Speaker {
    Speaker::new(Session {
        channel: "a1@speechsynth".into(),
        language: Language::english(),
        today: None,
        unix: Duration::from_secs(1_000),
    })
}

fn at(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis)
}

fn speak(id: u32, text: &str) -> Message {
    Message::request("SPEAK", id).with_body("text/plain", text)
}

fn ssml(id: u32, body: &str) -> Message {
    Message::request("SPEAK", id).with_body("application/ssml+xml", format!("<speak>{body}</speak>"))
}

/// What it wants: messages as `number status/event state cause`, orders as words.
fn wants(speaker: &mut Speaker) -> Vec<String> {
    std::iter::from_fn(|| speaker.poll_output())
        .map(|output| match output {
            SpeakerOutput::Send(message) => {
                let cause = message.headers.value("Completion-Cause").unwrap_or_default().to_owned();
                let ids = message.headers.value("Active-Request-Id-List").unwrap_or_default();
                let text = match &message.start {
                    Start::Response { id, status, state } => {
                        format!("{id} {status} {} {cause}{ids}", state.name())
                    }
                    Start::Event { name, id, state } => format!("{id} {name} {} {cause}", state.name()),
                    Start::Request { .. } => "a request".to_owned(),
                };
                text.trim_end().to_owned()
            }
            SpeakerOutput::Say { clip, text, skip, .. } => format!("say {clip} {text} +{}", skip.millis()),
            SpeakerOutput::Silence { clip, length } => format!("silence {clip} {}", length.millis()),
            SpeakerOutput::Hush => "hush".to_owned(),
        })
        .collect()
}

#[test]
fn what_is_asked_for_is_said_in_turn() {
    let mut speaker = speaker();
    speaker.request(at(0), &speak(1, "One."));
    assert_eq!(wants(&mut speaker), ["1 200 IN-PROGRESS", "say 0 One. +0"]);
    speaker.request(at(10), &speak(2, "Two."));
    assert_eq!(wants(&mut speaker), ["2 200 PENDING"]);
    speaker.began(at(20), 0);
    speaker.ended(at(900), 0, Ended::Played);
    assert_eq!(
        wants(&mut speaker),
        ["1 SPEAK-COMPLETE COMPLETE 000 normal", "2 SPEECH-MARKER IN-PROGRESS", "say 1 Two. +0"]
    );
    speaker.ended(at(1_800), 1, Ended::Played);
    assert_eq!(wants(&mut speaker), ["2 SPEAK-COMPLETE COMPLETE 000 normal"]);
    assert!(!speaker.speaks());
}

#[test]
fn marks_are_told_when_they_are_reached() {
    let mut speaker = speaker();
    speaker.request(
        at(0),
        &ssml(1, "<mark name='a'/>One.<mark name='b'/><break time='1s'/>Two.<mark name='c'/>"),
    );
    let mut wanted = wants(&mut speaker);
    assert_eq!(wanted.split_off(1), ["say 0 One. +0", "silence 1 1000", "say 2 Two. +0"]);
    let marker = |speaker: &mut Speaker| match speaker.poll_output() {
        Some(SpeakerOutput::Send(message)) => message.headers.value("Speech-Marker").map(str::to_owned),
        _ => None,
    };
    speaker.began(at(5), 0);
    // Seconds since 1900 in the upper half.
    let ntp = (1_000_u64 + 2_208_988_800) << 32;
    let stamp: u64 = marker(&mut speaker)
        .and_then(|marker| marker.strip_prefix("timestamp=")?.strip_suffix(";a")?.parse().ok())
        .expect("a mark");
    assert_eq!(stamp >> 32, ntp >> 32);
    speaker.ended(at(500), 0, Ended::Played);
    assert!(marker(&mut speaker).is_some_and(|marker| marker.ends_with(";b")));
    speaker.ended(at(1_500), 1, Ended::Played);
    assert_eq!(marker(&mut speaker), None);
    speaker.ended(at(2_000), 2, Ended::Played);
    assert!(marker(&mut speaker).is_some_and(|marker| marker.ends_with(";c")));
    assert_eq!(wants(&mut speaker), ["1 SPEAK-COMPLETE COMPLETE 000 normal"]);
}

#[test]
fn a_pause_goes_on_where_it_stopped() {
    let mut speaker = speaker();
    speaker.request(at(0), &ssml(1, "One.<break time='2s'/>Two."));
    wants(&mut speaker);
    speaker.ended(at(800), 0, Ended::Played);
    speaker.request(at(1_000), &Message::request("PAUSE", 2));
    assert_eq!(wants(&mut speaker), ["hush", "2 200 COMPLETE 1"]);
    speaker.ended(at(1_000), 1, Ended::Cut { played: Span::from_millis(200) });
    // It goes on before all that was cut is known.
    speaker.request(at(3_000), &Message::request("RESUME", 3));
    assert_eq!(wants(&mut speaker), ["3 200 COMPLETE 1"]);
    speaker.ended(at(3_000), 2, Ended::Cut { played: Span::ZERO });
    assert_eq!(wants(&mut speaker), ["silence 3 1800", "say 4 Two. +0"]);
    speaker.ended(at(4_800), 3, Ended::Played);
    speaker.request(at(5_000), &Message::request("PAUSE", 4));
    speaker.ended(at(5_000), 4, Ended::Cut { played: Span::from_millis(150) });
    speaker.request(at(6_000), &Message::request("RESUME", 5));
    assert_eq!(wants(&mut speaker), ["hush", "4 200 COMPLETE 1", "5 200 COMPLETE 1", "say 5 Two. +150"]);
    speaker.ended(at(7_000), 5, Ended::Played);
    assert_eq!(wants(&mut speaker), ["1 SPEAK-COMPLETE COMPLETE 000 normal"]);
}

#[test]
fn stop_ends_all_or_some() {
    let mut speaker = speaker();
    for (id, text) in [(1, "One."), (2, "Two."), (3, "Three.")] {
        speaker.request(at(0), &speak(id, text));
    }
    wants(&mut speaker);
    speaker.request(at(10), &Message::request("STOP", 4).with("Active-Request-Id-List", "1, 3"));
    assert_eq!(
        wants(&mut speaker),
        ["hush", "4 200 COMPLETE 1,3", "2 SPEECH-MARKER IN-PROGRESS", "say 1 Two. +0"]
    );
    // What comes back of the first is nothing to the second.
    speaker.ended(at(20), 0, Ended::Cut { played: Span::ZERO });
    speaker.request(at(30), &Message::request("STOP", 5));
    speaker.request(at(40), &Message::request("STOP", 6));
    assert_eq!(wants(&mut speaker), ["hush", "5 200 COMPLETE 2", "6 200 COMPLETE"]);
}

#[test]
fn a_caller_who_speaks_cuts_what_may_be_cut() {
    let mut speaker = speaker();
    speaker.request(at(0), &speak(1, "One."));
    speaker.request(at(0), &speak(2, "Two.").with("Kill-On-Barge-In", "false"));
    wants(&mut speaker);
    speaker.barge_in(at(100));
    assert_eq!(
        wants(&mut speaker),
        ["hush", "1 SPEAK-COMPLETE COMPLETE 001 barge-in", "2 SPEECH-MARKER IN-PROGRESS", "say 1 Two. +0"]
    );
    speaker.request(at(200), &Message::request("BARGE-IN-OCCURRED", 3));
    assert_eq!(wants(&mut speaker), ["3 200 COMPLETE"], "it is not to be cut");
    speaker.request(at(300), &Message::request("STOP", 4));
    speaker.request(at(300), &speak(5, "Three."));
    speaker.request(at(400), &Message::request("BARGE-IN-OCCURRED", 6));
    assert_eq!(
        wants(&mut speaker),
        ["hush", "4 200 COMPLETE 2", "5 200 IN-PROGRESS", "say 2 Three. +0", "hush", "6 200 COMPLETE 5"]
    );
}

#[test]
fn refusals_say_why() {
    let mut speaker = speaker();
    for (message, expected) in [
        (Message::request("CONTROL", 1), "1 401 COMPLETE"),
        (Message::request("PAUSE", 2), "2 402 COMPLETE"),
        (Message::request("RESUME", 3), "3 402 COMPLETE"),
        (Message::request("SPEAK", 4), "4 408 COMPLETE 002 parse-failure"),
        (Message::request("SPEAK", 5).with_body("audio/basic", "a"), "5 408 COMPLETE 002 parse-failure"),
        (
            Message::request("SPEAK", 6).with_body("application/ssml+xml", "<a/>"),
            "6 407 COMPLETE 002 parse-failure",
        ),
        (speak(7, "a").with("Kill-On-Barge-In", "perhaps"), "7 404 COMPLETE"),
        (Message::request("SET-PARAMS", 8).with("Jump-Size", "1"), "8 403 COMPLETE"),
        (speak(8, "again"), "8 410 COMPLETE"),
        (Message::request("SET-PARAMS", 9).with("Voice-Name", "slt"), "9 200 COMPLETE"),
    ] {
        speaker.request(at(0), &message);
        assert_eq!(wants(&mut speaker), [expected]);
    }
    speaker.request(at(0), &Message::request("GET-PARAMS", 10).with("Voice-Name", ""));
    let Some(SpeakerOutput::Send(told)) = speaker.poll_output() else { panic!("an answer") };
    assert_eq!(
        (told.headers.value("Voice-Name"), told.headers.value("Speech-Language")),
        (Some("slt"), None)
    );
    for id in 11..28 {
        speaker.request(at(0), &speak(id, "many"));
    }
    speaker.request(at(0), &speak(28, "too many"));
    assert_eq!(wants(&mut speaker).last().map(String::as_str), Some("28 407 COMPLETE"));
    speaker.ended(
        at(50),
        0,
        Ended::Failed { cause: SpeechCause::LanguageUnsupported, reason: "no voice".into() },
    );
    assert_eq!(wants(&mut speaker)[..2], ["hush", "11 SPEAK-COMPLETE COMPLETE 005 language-unsupported"]);
}

#[test]
fn what_says_nothing_is_over_at_once() {
    let mut speaker = speaker();
    speaker.request(at(0), &ssml(1, "<mark name='only'/>"));
    assert_eq!(
        wants(&mut speaker),
        ["1 200 IN-PROGRESS", "1 SPEECH-MARKER IN-PROGRESS", "1 SPEAK-COMPLETE COMPLETE 000 normal"]
    );
}
