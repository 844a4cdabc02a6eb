use super::*;

const YES: &str = "<grammar root='a' tag-format='semantics/1.0-literals'><rule id='a'><one-of>\
    <item>yes please<tag>yes</tag></item><item>no thank you<tag>no</tag></item></one-of></rule></grammar>";
const KEYS_ONE: &str = "<grammar mode='dtmf' root='a'><rule id='a'><one-of><item>1<tag>one</tag></item>\
    <item>2 3<tag>two</tag></item></one-of></rule></grammar>";

fn recogniser() -> Recogniser {
    let session = Session {
        channel: "b2@speechrecog".into(),
        language: Language::english(),
        today: Some("2026-11-22".into()),
        unix: Duration::ZERO,
    };
    Recogniser::new(session, Resource::SpeechRecog)
}

fn at(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis)
}

fn recognise(id: u32, grammar: &str) -> Message {
    Message::request("RECOGNIZE", id).with_body("application/srgs+xml", grammar)
}

fn by_uri(id: u32, uri: &str) -> Message {
    Message::request("RECOGNIZE", id).with_body("text/uri-list", uri)
}

/// What it wants, and the bodies of what it sends.
fn wants(recogniser: &mut Recogniser) -> (Vec<String>, String) {
    let mut bodies = String::new();
    let wanted = std::iter::from_fn(|| recogniser.poll_output())
        .map(|output| match output {
            RecogniserOutput::Send(message) => {
                bodies.push_str(&String::from_utf8(message.body.clone()).expect("text"));
                let value = |name| message.headers.value(name).unwrap_or_default();
                let rest = format!(
                    "{}{}{}",
                    value("Completion-Cause"),
                    value("Active-Request-Id-List"),
                    value("Input-Type")
                );
                let text = match &message.start {
                    Start::Response { id, status, state } => format!("{id} {status} {} {rest}", state.name()),
                    Start::Event { name, id, state } => format!("{id} {name} {} {rest}", state.name()),
                    Start::Request { .. } => "a request".to_owned(),
                };
                text.trim_end().to_owned()
            }
            RecogniserOutput::Listen(listening) => format!("listen {}", listening.language.tag()),
            RecogniserOutput::Flush => "flush".to_owned(),
            RecogniserOutput::Close => "close".to_owned(),
            RecogniserOutput::InputStarted => "started".to_owned(),
        })
        .collect();
    (wanted, bodies)
}

fn told(recogniser: &mut Recogniser) -> Vec<String> {
    wants(recogniser).0
}

/// One that listens to request 1.
fn listening(message: &Message) -> Recogniser {
    let mut recogniser = recogniser();
    recogniser.request(at(0), message);
    recogniser.opened(at(5));
    told(&mut recogniser);
    recogniser
}

/// Something is said from `from` to `to`.
fn say(recogniser: &mut Recogniser, from: i64, to: i64, text: &str, confidence: f32) {
    recogniser.speech_started(at(from));
    if !text.is_empty() {
        recogniser.heard(text, confidence);
    }
    recogniser.speech_ended(at(to));
}

#[test]
fn words_that_fit_are_told_with_their_meaning() {
    let mut recogniser = recogniser();
    recogniser.request(at(0), &recognise(1, YES).with("Speech-Language", "en-GB"));
    assert_eq!(told(&mut recogniser), ["listen en-GB"]);
    recogniser.opened(at(5));
    assert_eq!(told(&mut recogniser), ["1 200 IN-PROGRESS"]);
    recogniser.speech_started(at(900));
    assert_eq!(told(&mut recogniser), ["started", "1 START-OF-INPUT IN-PROGRESS speech"]);
    recogniser.heard("Yes please", 0.83);
    recogniser.speech_ended(at(1_900));
    let (wanted, body) = wants(&mut recogniser);
    assert_eq!(wanted, ["close", "1 RECOGNITION-COMPLETE COMPLETE 000 success"]);
    assert!(body.contains("confidence=\"0.83\"") && body.contains("<instance>yes</instance>"), "{body}");
    assert!(body.contains("<input mode=\"speech\">Yes please</input>"), "{body}");
    recogniser.request(at(2_000), &Message::request("GET-RESULT", 2));
    let (wanted, again) = wants(&mut recogniser);
    assert_eq!((wanted, again), (vec!["2 200 COMPLETE 000 success".to_owned()], body));
    assert_eq!(recogniser.poll_timeout(), None);
}

#[test]
fn hints_are_what_the_grammars_allow() {
    let mut recogniser = recogniser();
    recogniser.request(at(0), &recognise(1, YES).with("Speech-Complete-Timeout", "400"));
    let Some(RecogniserOutput::Listen(listening)) = recogniser.poll_output() else { panic!("an ear") };
    assert_eq!(listening.hints.phrases, ["yes please", "no thank you"]);
    assert!(listening.hints.closed);
    assert_eq!(listening.endpoint, Some(Span::from_millis(400)));
}

#[test]
fn what_does_not_fit_or_is_not_sure_is_no_match() {
    for (text, confidence) in [("maybe later", 0.9), ("yes please", 0.3), ("", 1.0)] {
        let mut recogniser = listening(&recognise(1, YES).with("Confidence-Threshold", "0.5"));
        say(&mut recogniser, 100, 900, text, confidence);
        let (wanted, body) = wants(&mut recogniser);
        assert_eq!(wanted.last().map(String::as_str), Some("1 RECOGNITION-COMPLETE COMPLETE 001 no-match"));
        assert!(body.contains("<nomatch/>"));
    }
}

#[test]
fn whoever_says_nothing_is_told_of() {
    let mut recogniser = listening(&recognise(1, YES).with("No-Input-Timeout", "3000"));
    assert_eq!(recogniser.poll_timeout(), Some(at(3_005)));
    recogniser.handle_timeout(at(3_005));
    assert_eq!(told(&mut recogniser), ["close", "1 RECOGNITION-COMPLETE COMPLETE 002 no-input-timeout"]);

    // The prompt still plays: time runs from its end.
    let mut recogniser =
        listening(&recognise(1, YES).with("No-Input-Timeout", "3000").with("Start-Input-Timers", "false"));
    assert_eq!(recogniser.poll_timeout(), None);
    recogniser.request(at(8_000), &Message::request("START-INPUT-TIMERS", 2));
    assert_eq!(told(&mut recogniser), ["2 200 COMPLETE"]);
    assert_eq!(recogniser.poll_timeout(), Some(at(11_000)));
}

#[test]
fn speech_without_end_is_taken_as_it_is() {
    for (text, cause) in [
        ("yes please", "008 success-maxtime"),
        ("yes", "014 partial-match-maxtime"),
        ("well", "015 no-match-maxtime"),
    ] {
        let mut recogniser = listening(&recognise(1, YES).with("Recognition-Timeout", "4000"));
        recogniser.speech_started(at(1_000));
        told(&mut recogniser);
        assert_eq!(recogniser.poll_timeout(), Some(at(5_000)));
        recogniser.handle_timeout(at(5_000));
        assert_eq!(told(&mut recogniser), ["flush"]);
        recogniser.heard(text, 0.9);
        recogniser.speech_ended(at(5_010));
        recogniser.flushed(at(5_010));
        assert_eq!(
            told(&mut recogniser),
            ["close".to_owned(), format!("1 RECOGNITION-COMPLETE COMPLETE {cause}")]
        );
    }
}

#[test]
fn a_hesitation_is_waited_for() {
    let mut recogniser = listening(&recognise(1, YES).with("Speech-Incomplete-Timeout", "1500"));
    say(&mut recogniser, 100, 600, "no", 0.9);
    assert_eq!(told(&mut recogniser).len(), 2, "nothing but the beginning is told");
    say(&mut recogniser, 1_200, 2_000, "thank you", 0.7);
    let (wanted, body) = wants(&mut recogniser);
    assert_eq!(wanted, ["close", "1 RECOGNITION-COMPLETE COMPLETE 000 success"]);
    assert!(body.contains("confidence=\"0.70\""), "as sure as its least sure part");

    let mut recogniser = listening(&recognise(1, YES).with("Speech-Incomplete-Timeout", "1500"));
    say(&mut recogniser, 100, 600, "no", 0.9);
    told(&mut recogniser);
    assert_eq!(recogniser.poll_timeout(), Some(at(2_100)));
    recogniser.handle_timeout(at(2_100));
    assert_eq!(told(&mut recogniser), ["close", "1 RECOGNITION-COMPLETE COMPLETE 013 partial-match"]);
}

#[test]
fn a_hotword_is_waited_for_whatever_else_is_said() {
    let mut recogniser = listening(
        &recognise(1, YES)
            .with("Recognition-Mode", "hotword")
            .with("Recognition-Timeout", "9000")
            .with("Speech-Incomplete-Timeout", "0"),
    );
    say(&mut recogniser, 100, 600, "and then he said", 0.9);
    assert!(told(&mut recogniser).is_empty());
    say(&mut recogniser, 1_000, 1_600, "yes please", 0.9);
    assert_eq!(
        told(&mut recogniser),
        [
            "started",
            "1 START-OF-INPUT IN-PROGRESS speech",
            "close",
            "1 RECOGNITION-COMPLETE COMPLETE 000 success"
        ]
    );
    let mut recogniser =
        listening(&recognise(1, YES).with("Recognition-Mode", "hotword").with("Recognition-Timeout", "9000"));
    recogniser.handle_timeout(at(9_005));
    assert_eq!(told(&mut recogniser), ["close", "1 RECOGNITION-COMPLETE COMPLETE 003 hotword-maxtime"]);
}

#[test]
fn keys_are_recognised_by_their_grammar() {
    let mut recogniser = recogniser();
    recogniser.request(at(0), &recognise(1, KEYS_ONE));
    assert_eq!(told(&mut recogniser), ["1 200 IN-PROGRESS"], "keys need no ear");
    recogniser.key(at(100), '2');
    assert_eq!(told(&mut recogniser), ["started", "1 START-OF-INPUT IN-PROGRESS dtmf"]);
    assert_eq!(recogniser.poll_timeout(), Some(at(5_100)));
    recogniser.key(at(700), '3');
    let (wanted, body) = wants(&mut recogniser);
    assert_eq!(wanted, ["close", "1 RECOGNITION-COMPLETE COMPLETE 000 success"]);
    assert!(
        body.contains("<instance>two</instance>") && body.contains("<input mode=\"dtmf\">23</input>"),
        "{body}"
    );

    for (keys, cause) in [("9", "001 no-match"), ("22", "001 no-match"), ("1", "000 success")] {
        let mut recogniser = listening(&recognise(1, KEYS_ONE));
        keys.chars().for_each(|key| recogniser.key(at(100), key));
        assert_eq!(told(&mut recogniser).last(), Some(&format!("1 RECOGNITION-COMPLETE COMPLETE {cause}")));
    }
}

#[test]
fn a_key_or_a_pause_ends_keys_of_any_number() {
    let digits = || {
        by_uri(1, "builtin:dtmf/digits").with("DTMF-Interdigit-Timeout", "2000").with("DTMF-Term-Char", "#")
    };
    let mut recogniser = listening(&digits());
    "42#".chars().for_each(|key| recogniser.key(at(100), key));
    let (wanted, body) = wants(&mut recogniser);
    assert_eq!(wanted.last().map(String::as_str), Some("1 RECOGNITION-COMPLETE COMPLETE 000 success"));
    assert!(body.contains("<instance>42</instance>"));
    let mut recogniser = listening(&digits());
    "42".chars().for_each(|key| recogniser.key(at(100), key));
    recogniser.handle_timeout(at(2_100));
    assert_eq!(
        told(&mut recogniser).last().map(String::as_str),
        Some("1 RECOGNITION-COMPLETE COMPLETE 000 success")
    );
    // Four keys are all there can be, and the one that ends them is waited for.
    let mut recogniser = listening(
        &by_uri(1, "builtin:dtmf/digits?length=4")
            .with("DTMF-Term-Char", "#")
            .with("DTMF-Term-Timeout", "1000"),
    );
    "1234".chars().for_each(|key| recogniser.key(at(100), key));
    assert_eq!(recogniser.poll_timeout(), Some(at(1_100)));
}

#[test]
fn keys_typed_ahead_are_kept_until_they_are_forgotten() {
    let mut recogniser = recogniser();
    recogniser.key(at(100), '1');
    recogniser.request(at(500), &recognise(1, KEYS_ONE));
    assert_eq!(
        told(&mut recogniser).last().map(String::as_str),
        Some("1 RECOGNITION-COMPLETE COMPLETE 000 success")
    );
    recogniser.key(at(600), '1');
    recogniser.request(at(700), &recognise(2, KEYS_ONE).with("Clear-DTMF-Buffer", "true"));
    assert_eq!(told(&mut recogniser), ["2 200 IN-PROGRESS"]);
    recogniser.request(at(800), &Message::request("STOP", 3));
    recogniser.key(at(900), '1');
    told(&mut recogniser);
    recogniser.request(at(60_000), &recognise(4, KEYS_ONE));
    assert_eq!(told(&mut recogniser), ["4 200 IN-PROGRESS"], "a minute is too long ago");
}

#[test]
fn either_speaks_or_presses_whoever_is_asked() {
    let both = Message::request("RECOGNIZE", 1)
        .with_body("text/uri-list", "builtin:grammar/boolean\r\nbuiltin:dtmf/boolean\r\n");
    let mut recogniser = listening(&both);
    recogniser.key(at(100), '1');
    let (wanted, body) = wants(&mut recogniser);
    assert_eq!(wanted.last().map(String::as_str), Some("1 RECOGNITION-COMPLETE COMPLETE 000 success"));
    assert!(body.contains("grammar=\"builtin:dtmf/boolean\""), "{body}");
    let mut recogniser = listening(&both);
    say(&mut recogniser, 100, 800, "no thank you", 0.9);
    assert!(wants(&mut recogniser).1.contains("<instance>false</instance>"));
}

#[test]
fn defined_grammars_are_found_and_deleted() {
    let define = |id, body: &str| {
        Message::request("DEFINE-GRAMMAR", id)
            .with("Content-ID", "<yesno@form>")
            .with_body("application/srgs+xml", body)
    };
    let mut recogniser = recogniser();
    recogniser.request(at(0), &define(1, YES));
    assert_eq!(told(&mut recogniser), ["1 200 COMPLETE 000 success"]);
    recogniser.request(at(1), &by_uri(2, "session:yesno@form"));
    recogniser.opened(at(2));
    say(&mut recogniser, 3, 9, "yes please", 0.9);
    assert!(wants(&mut recogniser).1.contains("<interpretation grammar=\"session:yesno@form\""));
    recogniser.request(at(10), &Message::request("DEFINE-GRAMMAR", 3).with("Content-ID", "<yesno@form>"));
    recogniser.request(at(11), &by_uri(4, "session:yesno@form"));
    assert_eq!(
        told(&mut recogniser),
        ["3 200 COMPLETE 000 success", "4 407 COMPLETE 004 grammar-load-failure"]
    );
    recogniser.request(at(12), &define(5, "<grammar>"));
    assert_eq!(told(&mut recogniser), ["5 407 COMPLETE 005 grammar-compilation-failure"]);
}

#[test]
fn n_best_are_the_heaviest_first() {
    let list = "<builtin:grammar/digits>;weight=\"1\"\r\n<builtin:grammar/number>;weight=\"3\"\r\n";
    let message = Message::request("RECOGNIZE", 1).with("N-Best-List-Length", "2");
    let mut recogniser = listening(&message.with_body("text/grammar-ref-list", list));
    say(&mut recogniser, 1, 9, "seven", 0.9);
    let body = wants(&mut recogniser).1;
    let (number, digits) =
        (body.find("builtin:grammar/number\" confidence"), body.find("builtin:grammar/digits\" confidence"));
    assert!(number.is_some() && number < digits, "{body}");
}

#[test]
fn one_recognition_waits_for_another_or_cancels_it() {
    let mut recogniser = listening(&recognise(1, YES));
    recogniser.request(at(10), &recognise(2, KEYS_ONE));
    assert_eq!(told(&mut recogniser), ["2 200 PENDING"]);
    recogniser.handle_timeout(at(60_000));
    assert_eq!(
        told(&mut recogniser),
        ["close", "1 RECOGNITION-COMPLETE COMPLETE 002 no-input-timeout", "2 200 IN-PROGRESS"]
    );
    recogniser.request(at(60_010), &recognise(3, YES).with("Cancel-If-Queue", "true"));
    assert_eq!(
        told(&mut recogniser),
        ["close", "2 RECOGNITION-COMPLETE COMPLETE 011 cancelled", "listen en"]
    );
    recogniser.opened(at(60_020));
    recogniser.request(at(60_030), &Message::request("STOP", 4));
    assert_eq!(told(&mut recogniser), ["3 200 IN-PROGRESS", "close", "4 200 COMPLETE 3"]);
    say(&mut recogniser, 60_040, 60_050, "yes please", 0.9);
    assert!(told(&mut recogniser).is_empty(), "nobody listens");
}

#[test]
fn an_ear_that_is_refused_fails_the_request() {
    let mut recogniser = recogniser();
    recogniser.request(at(0), &recognise(1, YES));
    told(&mut recogniser);
    recogniser.refused(at(5), Cause::RecognizerError, "the pool is full");
    assert_eq!(told(&mut recogniser), ["1 407 COMPLETE 006 recognizer-error"]);
    let mut recogniser = listening(&recognise(1, YES));
    recogniser.failed(at(100), "broken");
    assert_eq!(told(&mut recogniser), ["close", "1 RECOGNITION-COMPLETE COMPLETE 006 recognizer-error"]);
}

#[test]
fn refusals_have_their_numbers() {
    let mut recogniser = recogniser();
    for (message, expected) in [
        (Message::request("START-PHRASE-ENROLLMENT", 1), "1 401 COMPLETE"),
        (Message::request("GET-RESULT", 2), "2 402 COMPLETE"),
        (Message::request("START-INPUT-TIMERS", 3), "3 402 COMPLETE"),
        (Message::request("RECOGNIZE", 4), "4 408 COMPLETE 004 grammar-load-failure"),
        (recognise(5, "<grammar/>"), "5 407 COMPLETE 005 grammar-compilation-failure"),
        (by_uri(6, "http://a/b.grxml"), "6 407 COMPLETE 009 uri-failure"),
        (recognise(7, YES).with("No-Input-Timeout", "soon"), "7 404 COMPLETE"),
        (Message::request("DEFINE-GRAMMAR", 8).with_body("application/srgs+xml", YES), "8 406 COMPLETE"),
        (Message::request("INTERPRET", 9).with_body("application/srgs+xml", YES), "9 406 COMPLETE"),
        (Message::request("SET-PARAMS", 10).with("Speed-Vs-Accuracy", "0.5"), "10 403 COMPLETE"),
        (recognise(10, YES), "10 410 COMPLETE"),
        (Message::request("SET-PARAMS", 11).with("No-Input-Timeout", "700"), "11 200 COMPLETE"),
        (Message::request("STOP", 12), "12 200 COMPLETE"),
    ] {
        recogniser.request(at(0), &message);
        assert_eq!(told(&mut recogniser), [expected]);
    }
    recogniser.request(at(0), &Message::request("GET-PARAMS", 13));
    let Some(RecogniserOutput::Send(told)) = recogniser.poll_output() else { panic!("an answer") };
    assert_eq!(told.headers.value("No-Input-Timeout"), Some("700"));
    assert_eq!(told.headers.iter().count(), 13);
}

#[test]
fn text_is_interpreted_without_a_voice() {
    let mut recogniser = recogniser();
    let message = Message::request("INTERPRET", 1).with("Interpret-Text", "no thank you");
    recogniser.request(at(0), &message.with_body("application/srgs+xml", YES));
    let (wanted, body) = wants(&mut recogniser);
    assert_eq!(wanted, ["1 200 IN-PROGRESS", "1 INTERPRETATION-COMPLETE COMPLETE 000 success"]);
    assert!(body.contains("<instance>no</instance>"));
}
