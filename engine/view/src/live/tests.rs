use antiphon_engine_call::Cause;
use antiphon_media_frame::{CallId, Pii};
use unicode_width::UnicodeWidthChar;

use super::*;

/// As much of a terminal as the view needs: text, line feeds, cursor up, carriage return, erase below, colours.
struct Screen {
    lines: Vec<Vec<(char, String)>>,
    row: usize,
    column: usize,
    columns: usize,
    color: String,
}

impl Screen {
    fn of(columns: usize, bytes: &[u8]) -> Self {
        let mut screen = Self { lines: vec![vec![]], row: 0, column: 0, columns, color: String::new() };
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\u{1b}' => {
                    assert_eq!(chars.next(), Some('['), "only CSI sequences");
                    let mut digits = String::new();
                    let end = chars.by_ref().find(|c| {
                        if c.is_ascii_digit() {
                            digits.push(*c);
                        }
                        c.is_ascii_alphabetic()
                    });
                    match end {
                        Some('A') => screen.row -= digits.parse::<usize>().expect("a count"),
                        Some('J') => {
                            screen.lines.truncate(screen.row + 1);
                            screen.lines[screen.row].truncate(screen.column);
                        }
                        Some('m') => screen.color = if digits == "0" { String::new() } else { digits },
                        other => panic!("unknown sequence {other:?}"),
                    }
                }
                '\n' => {
                    (screen.row, screen.column) = (screen.row + 1, 0);
                    while screen.lines.len() <= screen.row {
                        screen.lines.push(vec![]);
                    }
                }
                '\r' => screen.column = 0,
                c => {
                    let wide: usize = screen.lines[screen.row].iter().filter_map(|(c, _)| c.width()).sum();
                    assert!(wide + c.width().unwrap_or(0) < screen.columns, "a line would wrap");
                    screen.lines[screen.row].push((c, screen.color.clone()));
                    screen.column = screen.lines[screen.row].len();
                }
            }
        }
        screen
    }

    fn text(&self) -> String {
        let line =
            |l: &Vec<(char, String)>| l.iter().map(|(c, _)| *c).collect::<String>().trim_end().to_owned();
        self.lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The colour of the first character of `needle`.
    fn color(&self, needle: &str) -> String {
        let found = self.lines.iter().find_map(|line| {
            let text: String = line.iter().map(|(c, _)| *c).collect();
            let at = text.find(needle)?;
            Some(line[text[..at].chars().count()].1.clone())
        });
        found.unwrap_or_else(|| panic!("{needle} is not on the screen:\n{}", self.text()))
    }
}

fn event(millis: i64, body: EventBody) -> Event {
    Event { call: CallId(1), seq: 1, at: MediaTime::from_millis(millis), body }
}

fn partial(millis: i64, text: &str) -> Event {
    let (side, text) = (Side::Caller, Pii::new(text.to_owned()));
    event(millis, EventBody::SpeechPartial { side, text, revision: 1, start: 2.0 })
}

fn words(side: Side, start: f64, text: &str) -> Event {
    let body = EventBody::SpeechFinal {
        side,
        text: Pii::new(text.to_owned()),
        spoken: Pii::new(None),
        words: Pii::new(vec![]),
        start,
        end: start + 1.0,
        confidence: 1.0,
        language: None,
        redactions: Vec::new(),
    };
    event((start * 1_000.0) as i64 + 1_300, body)
}

fn prompt(millis: i64, id: u32, text: &str) -> Event {
    let text = Pii::new(text.to_owned());
    event(millis, EventBody::PromptStarted { id: PromptId(id), text, interruptible: true })
}

fn stopped(millis: i64, id: u32, reason: PromptEnd) -> Event {
    event(millis, EventBody::PromptStopped { id: PromptId(id), reason, played_ms: 1_250 })
}

fn shown(terminal: Terminal, events: &[Event]) -> Vec<u8> {
    let mut view = LiveView::new(Vec::new(), terminal);
    for event in events {
        view.show(event).expect("a vector takes everything");
    }
    view.into_inner()
}

fn start() -> Event {
    let body = EventBody::CallStarted {
        from: Pii::new("sip:a@b".into()),
        to: Pii::new("sip:bank@c".into()),
        direction: "inbound",
    };
    event(0, body)
}

#[test]
fn partial_words_are_grey_and_rewritten_in_place() {
    let so_far = [start(), prompt(500, 1, "Welcome to the bank."), partial(2_400, "my car")];
    let screen = Screen::of(60, &shown(Terminal::ansi(60), &so_far));
    let expected = "\
00:00.0 inbound call: sip:a@b → sip:bank@c
        caller                   │ machine
00:00.5 my car                   │ Welcome to the bank.
";
    assert_eq!(screen.text(), expected);
    assert_eq!((screen.color("my car"), screen.color("Welcome")), ("90".into(), "90".into()));

    let mut all = so_far.to_vec();
    all.extend([
        partial(2_600, "my card was sto"),
        stopped(2_700, 1, PromptEnd::BargeIn),
        words(Side::Caller, 2.0, "my card was stolen yesterday evening"),
        event(
            3_400,
            EventBody::Intent {
                name: Some("lost_card".into()),
                confidence: 0.91,
                decision: Decision::Accept,
            },
        ),
        event(9_000, EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 9_000 }),
    ]);
    let screen = Screen::of(60, &shown(Terminal::ansi(60), &all));
    let expected = "\
00:00.0 inbound call: sip:a@b → sip:bank@c
        caller                   │ machine
00:00.5                          │ Welcome to the bank.
00:02.7                          │ barge-in after 1.2 s
00:02.0 my card was stolen       │
        yesterday evening        │
00:03.4 intent lost_card (0.91)  │
00:09.0 The caller hung up. (call.hangup.caller)
";
    assert_eq!(screen.text(), expected);
    assert_eq!(screen.color("my card"), "");
    assert_eq!(screen.color("barge-in"), "31");
    assert_eq!(screen.color("intent"), "2");
}

#[test]
fn chinese_keeps_the_columns_straight() {
    let events = [
        prompt(0, 1, "您好，请问您要办理什么业务？可以说转账、查询余额或者挂失银行卡。"),
        stopped(4_000, 1, PromptEnd::Completed),
        words(Side::Caller, 5.0, "我要给张三转账三百元"),
    ];
    let screen = Screen::of(60, &shown(Terminal::ansi(60), &events));
    for line in screen.text().lines() {
        let bar = line.find('│').expect("two columns");
        assert_eq!(unicode_width::UnicodeWidthStr::width(&line[..bar]), 33, "{line}");
    }
    assert!(screen.text().contains("我要给张三转账三百元"));
}

#[test]
fn a_very_long_partial_shows_its_end_and_leaves_nothing_behind() {
    let long: String = (0..200).map(|n| format!("word{n} ")).collect();
    let events = [partial(1_000, &long), words(Side::Caller, 2.0, "short")];
    let screen = Screen::of(60, &shown(Terminal::ansi(60), &events[..1]));
    assert!(screen.text().contains("word199") && !screen.text().contains("word0 "));
    let screen = Screen::of(60, &shown(Terminal::ansi(60), &events));
    assert_eq!(screen.text(), "00:02.0 short                    │\n");
}

#[test]
fn a_pipe_gets_one_line_for_each_final_thing_and_no_escapes() {
    let events = [
        start(),
        prompt(500, 1, "Welcome."),
        partial(2_000, "my"),
        stopped(2_100, 1, PromptEnd::BargeIn),
        words(Side::Caller, 2.0, "my card"),
        words(Side::Machine, 0.5, "welcome"),
        event(3_000, EventBody::Dtmf { side: Side::Caller, key: Pii::new('5'), duration_ms: 100 }),
    ];
    let text = String::from_utf8(shown(Terminal::plain(), &events)).expect("UTF-8");
    let expected = "\
00:00.0 inbound call: sip:a@b → sip:bank@c
00:00.5 machine  Welcome.
00:02.1 machine  [barge-in after 1.2 s]
00:02.0 caller   my card
00:03.0 caller   [key 5]
";
    assert_eq!(text, expected);
}

#[test]
fn words_recognised_on_the_far_machine_are_shown_where_we_play_no_prompts() {
    let events = [words(Side::Machine, 1.0, "how may i help")];
    let text = String::from_utf8(shown(Terminal::plain(), &events)).expect("UTF-8");
    assert_eq!(text, "00:01.0 machine  how may i help\n");
}

#[test]
fn text_cannot_steer_the_terminal() {
    let evil = "\u{1b}[2J\u{1b}[1A\r\nno\u{7}";
    let events = [partial(1_000, evil), words(Side::Caller, 2.0, evil), prompt(3_000, 1, evil)];
    let screen = Screen::of(60, &shown(Terminal::ansi(60), &events));
    assert!(screen.text().contains("[2J"), "shown as text");
    let plain = shown(Terminal::plain(), &events);
    assert!(!plain.contains(&0x1b) && !plain.contains(&7));
}
