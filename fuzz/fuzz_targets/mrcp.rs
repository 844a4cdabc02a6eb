//! Any octets on a control channel, and any order of messages, words, keys and times for the resources behind it. What can
//! be read can be written and read again; nothing is answered twice; a machine that is told nothing more comes to rest.
#![no_main]

use std::time::Duration;

use antiphon_engine_mrcp::{
    Cause, Decoder, Ended, Grammar, Message, Recogniser, RecogniserOutput, Resource, Session, Speaker,
    SpeakerOutput, Start, control,
};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::Language;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Operations of one input.
const OPERATIONS: usize = 60;
/// Outputs of one operation: each is bounded by what waits.
const OUTPUTS: usize = 200;
const METHODS: [&str; 14] = [
    "SPEAK",
    "STOP",
    "PAUSE",
    "RESUME",
    "BARGE-IN-OCCURRED",
    "CONTROL",
    "SET-PARAMS",
    "GET-PARAMS",
    "RECOGNIZE",
    "START-INPUT-TIMERS",
    "DEFINE-GRAMMAR",
    "GET-RESULT",
    "INTERPRET",
    "NONE",
];

#[derive(Arbitrary, Debug)]
struct Input {
    octets: Vec<u8>,
    description: String,
    kind: u8,
    grammar: String,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Request { method: u8, skip: u8, header: u8, value: u16, body: u8 },
    Wait { ms: u16 },
    Speech { text: String },
    Key { key: u8 },
    Opened,
    Refused,
    Flushed,
    Failed,
    Began { clip: u8 },
    Ended { clip: u8, how: u8 },
    BargeIn,
}

fn session(resource: &str) -> Session {
    Session {
        channel: format!("a@{resource}"),
        language: Language::english(),
        today: Some("2026-11-22".to_owned()),
        unix: Duration::from_secs(1),
    }
}

fn request(id: u32, method: u8, header: u8, value: u16, body: u8, grammar: &str) -> Message {
    let message = Message::request(METHODS[usize::from(method) % METHODS.len()], id);
    let names = [
        "No-Input-Timeout",
        "Recognition-Timeout",
        "Speech-Incomplete-Timeout",
        "N-Best-List-Length",
        "Active-Request-Id-List",
        "DTMF-Term-Char",
        "Content-ID",
        "Interpret-Text",
    ];
    let message = message.with(names[usize::from(header) % names.len()], value.to_string());
    let message = match header >> 6 {
        1 => message.with("Cancel-If-Queue", "true"),
        2 => message.with("Recognition-Mode", "hotword"),
        3 => message.with("Start-Input-Timers", "false"),
        _ => message,
    };
    match body % 7 {
        0 => message,
        1 => message.with_body("text/plain", "hello there"),
        2 => message
            .with_body("application/ssml+xml", format!("<speak>a<mark name='b'/><break/>{grammar}</speak>")),
        3 => message.with_body("text/uri-list", "builtin:grammar/boolean\r\nbuiltin:dtmf/digits"),
        4 => message
            .with_body("application/srgs+xml", format!("<grammar><rule id='a'>{grammar}</rule></grammar>")),
        5 => message.with_body("application/srgs", format!("#ABNF 1.0;\n$a = {grammar};")),
        _ => message.with_body("text/uri-list", format!("session:{value}")),
    }
}

fuzz_target!(|input: Input| {
    let mut decoder = Decoder::default();
    decoder.push(&input.octets);
    while let Ok(Some(message)) = decoder.next_message() {
        let mut again = Decoder::default();
        again.push(&message.encode());
        assert_eq!(again.next_message(), Ok(Some(message)), "written and read again");
    }
    let _ = control::offers(&input.description);
    let _ = control::answer(&input.description, &[]);
    let kind = ["application/srgs+xml", "application/srgs"][usize::from(input.kind) % 2];
    if let Ok(grammar) = Grammar::read(kind, &input.grammar) {
        let _ = grammar.hints(&Language::english());
        let _ = grammar.fit_words(&input.description, &Language::english(), None);
        let _ = grammar.fit_keys("12#");
    }

    let mut recogniser = Recogniser::new(session("speechrecog"), Resource::SpeechRecog);
    let mut speaker = Speaker::new(session("speechsynth"));
    let (mut now, mut id) = (MediaTime::ZERO, 0_u32);
    let (mut answered, mut spoken) = (0_u32, 0_u32);
    for op in input.ops.iter().take(OPERATIONS) {
        match op {
            Op::Request { method, skip, header, value, body } => {
                id += 1 + u32::from(skip % 3);
                let message = request(id, *method, *header, *value, *body, &input.grammar);
                recogniser.request(now, &message);
                speaker.request(now, &message);
            }
            Op::Wait { ms } => {
                now = now + Span::from_millis((*ms).into());
                recogniser.handle_timeout(now);
            }
            Op::Speech { text } => {
                recogniser.speech_started(now);
                recogniser.heard(text, 0.5);
                recogniser.speech_ended(now);
            }
            Op::Key { key } => recogniser.key(now, char::from(b"0123456789*#ABCD"[usize::from(key % 16)])),
            Op::Opened => recogniser.opened(now),
            Op::Refused => recogniser.refused(now, Cause::RecognizerError, "full"),
            Op::Flushed => recogniser.flushed(now),
            Op::Failed => recogniser.failed(now, "broken"),
            Op::Began { clip } => speaker.began(now, (*clip).into()),
            Op::Ended { clip, how } => {
                let how = match how % 2 {
                    0 => Ended::Played,
                    _ => Ended::Cut { played: Span::from_millis(5) },
                };
                speaker.ended(now, (*clip).into(), how);
            }
            Op::BargeIn => speaker.barge_in(now),
        }
        for n in 0.. {
            assert!(n < OUTPUTS, "no end of outputs");
            match recogniser.poll_output() {
                Some(RecogniserOutput::Send(message)) => {
                    if let Start::Response { id, .. } = message.start {
                        answered = answered.max(id);
                    }
                }
                Some(_) => {}
                None => break,
            }
        }
        for n in 0.. {
            assert!(n < 2_000, "no end of outputs");
            match speaker.poll_output() {
                Some(SpeakerOutput::Send(message)) => {
                    if let Start::Response { id: of, .. } = message.start {
                        assert!(of > spoken && of <= id, "each request is answered once");
                        spoken = of;
                    }
                }
                Some(_) => {}
                None => break,
            }
        }
        assert!(answered <= id && spoken <= id);
    }
    // Time alone brings a recogniser to rest.
    for _ in 0..100 {
        let Some(due) = recogniser.poll_timeout() else { return };
        now = if due > now { due } else { now };
        recogniser.handle_timeout(now);
        recogniser.flushed(now);
        recogniser.opened(now);
    }
    panic!("a recogniser does not come to rest");
});
