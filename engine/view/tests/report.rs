//! Pages of inspected calls: what they hold, and what they never let in.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::collections::BTreeMap;

use antiphon_engine_measure::{
    Conversation, Hold, Measures, Reason, Role, Stretch, Tone, Topic, Track, Turn,
};
use antiphon_engine_qa::{
    Clip, Hit, HitKind, Judgement, Method, Part, ReviewState, RuleOutcome, RuleState, Scoring, Searched,
};
use antiphon_engine_view::{Embed, IndexRow, Report, RuleCount, Sound, index_page};
use antiphon_media_frame::{MediaTime, Pii, SampleRate, Span};
use antiphon_models_speech::{Language, Utterance, Word};

const EVIL: &str = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

fn at(start: i64, end: i64) -> Stretch {
    Stretch { start: MediaTime::from_millis(start), end: MediaTime::from_millis(end) }
}

fn turn(track: usize, start: i64, end: i64, words: &[&str]) -> Turn {
    let step = (end - start) / words.len() as i64;
    let word = |(n, text): (usize, &&str)| Word {
        text: (*text).to_owned(),
        start: MediaTime::from_millis(start + step * n as i64),
        end: MediaTime::from_millis(start + step * (n as i64 + 1)),
        confidence: 0.4 + 0.1 * n as f32,
    };
    let said = Utterance::of(words.iter().enumerate().map(word).collect(), None).unwrap();
    Turn {
        track,
        said,
        tone: Some(Tone { loudness_db: -20.0, pitch_hz: Some(180.0), pitch_range: Some(5.0) }),
    }
}

fn conversation(word: &str) -> Conversation {
    let track = |role, speech| Track { role, speech };
    Conversation {
        id: format!("call {word}"),
        language: Language::parse("zh-CN").unwrap(),
        tracks: vec![
            track(Role::Customer, vec![at(3_000, 5_000), at(9_000, 12_000)]),
            track(Role::Agent, vec![at(0, 2_500), at(11_000, 14_000)]),
        ],
        turns: vec![
            turn(1, 0, 2_500, &["您好", "请问", word]),
            turn(0, 3_000, 5_000, &["我", "要", "投诉", word]),
            turn(0, 9_000, 12_000, &["到底", "怎么", "回事"]),
            turn(1, 11_000, 14_000, &["保证", "收益", word]),
        ],
        holds: vec![Hold { at: at(6_000, 8_000), by: Some(Role::Agent) }],
        heard: Span::from_secs(20),
        finished: true,
        metadata: BTreeMap::from([(format!("key {word}"), format!("value {word}"))]),
    }
}

fn finding(id: &str, word: &str) -> Hit {
    let at = |millis| MediaTime::from_millis(millis);
    Hit {
        id: id.to_owned(),
        rule: "R".to_owned(),
        scorecard: "card".to_owned(),
        version: "7".to_owned(),
        kind: HitKind::Found,
        role: Some(Role::Agent),
        track: Some(1),
        start: at(11_000),
        end: at(14_000),
        ongoing: false,
        quote: Pii::new(format!("保证收益 {word}")),
        words: Vec::new(),
        value: Some(1.5),
        parts: vec![Part {
            condition: Some(format!("condition {word}")),
            role: None,
            track: None,
            start: at(11_000),
            end: at(12_000),
            quote: Pii::new(format!("part {word}")),
        }],
        searched: Vec::new(),
        points: -30.0,
        fatal: true,
        excused: None,
        review: ReviewState::Confirmed,
        clip: Clip { start: at(10_000), end: at(15_000) },
        alert: None,
        action: None,
    }
}

fn judgement(word: &str) -> Judgement {
    let missed = Hit {
        kind: HitKind::Missed,
        quote: Pii::new(String::new()),
        parts: Vec::new(),
        searched: vec![Searched {
            start: MediaTime::from_millis(3_000),
            end: MediaTime::from_millis(12_345),
            turns: 3,
        }],
        excused: Some(format!("excused {word}")),
        review: ReviewState::Overturned,
        fatal: false,
        ..finding(&format!("m{word}"), word)
    };
    let rule = |rule: &str, hits| RuleOutcome {
        rule: format!("{rule}{word}"),
        name: Some(format!("name {word}")),
        group: Some(format!("group {word}")),
        state: RuleState::Hit,
        points: -30.0,
        cap: None,
        weight: 1.0,
        hits,
    };
    Judgement {
        conversation: "call".to_owned(),
        scorecard: format!("card {word}"),
        version: format!("7 {word}"),
        finished: true,
        score: 67.5,
        pass: false,
        fatal: true,
        scoring: Scoring { method: Method::Points, base: 100.0, pass: 80.0, floor: 0.0, ceiling: 100.0 },
        groups: Vec::new(),
        rules: vec![rule("R2", vec![finding(&format!("h{word}"), word)]), rule("R1", vec![missed])],
        reviews: Vec::new(),
    }
}

fn page_of(word: &str, sound: Option<Sound<'_>>, embed: Embed) -> String {
    // What is measured is the same for every word, so that pages differ in their texts alone.
    let mut measures = Measures::of(&conversation("x"));
    let conversation = conversation(word);
    measures.reason = Some(Reason { turn: 1, text: format!("because {word}") });
    measures.topics = vec![Topic { text: format!("topic {word}"), weight: 1.0, turns: vec![0] }];
    let warnings = [format!("warning {word}")];
    let judgements = [judgement(word)];
    let report = Report {
        conversation: &conversation,
        measures: &measures,
        judgements: &judgements,
        sound,
        embed,
        warnings: &warnings,
    };
    report.page()
}

fn count(page: &str, what: &str) -> usize {
    page.matches(what).count()
}

#[test]
fn nothing_that_people_say_or_call_files_becomes_markup() {
    let tracks = [vec![1_000i16; 160_000], vec![2_000; 160_000]];
    let sound = Some(Sound { rate: SampleRate::HZ_8000, tracks: &tracks });
    let (plain, evil) = (page_of("x", sound, Embed::default()), page_of(EVIL, sound, Embed::default()));
    for tag in ["<script", "</script", "<img", "<svg", "<audio", "<style", "<button", "<li"] {
        assert_eq!(count(&evil, tag), count(&plain, tag), "{tag}");
    }
    assert_eq!(count(&evil, "onerror=alert"), count(&evil, "&lt;img src=x onerror=alert"), "only as text");
    assert!(evil.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn an_index_lets_no_name_and_no_reason_in() {
    let page = |word: &str| {
        let row = IndexRow {
            file: format!("{word}.wav"),
            report: Some(format!("javascript:{word}.html")),
            score: Some((80.0, true)),
            failure: Some(format!("because {word}")),
            ..IndexRow::default()
        };
        let rule = RuleCount { rule: word.to_owned(), name: Some(word.to_owned()), ..RuleCount::default() };
        index_page(word, "en", &[row], &[rule])
    };
    let (plain, evil) = (page("x"), page(EVIL));
    for tag in ["<script", "</script", "<img", "<a ", "<td"] {
        assert_eq!(count(&evil, tag), count(&plain, tag), "{tag}");
    }
    assert!(!evil.contains("href=\"javascript:"));
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = page_of("x", None, Embed::default());
    assert!(page.contains("default-src 'none'") && page.contains("script-src 'sha256-"));
    for outside in ["http://", "https://", "src=\"//", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn findings_show_who_when_what_and_why_not() {
    let page = page_of("x", None, Embed::default());
    for shown in [
        "保证收益 x",
        "data-play=\"10.000\" data-until=\"15.000\"",
        ">-30<",
        "card x",
        "7 x",
        "67.5",
        "warning x",
        "excused x",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    // What was missed: where it was looked for.
    assert!(page.contains("data-t=\"3.000\"") && page.contains("0:12.3"));
    assert!(page.contains("disabled>▷"), "there is no sound to play");
}

#[test]
fn a_short_call_is_whole_and_of_a_long_one_only_clips_are_kept() {
    let tracks = [vec![1_000i16; 160_000], vec![2_000; 160_000]];
    let sound = Some(Sound { rate: SampleRate::HZ_8000, tracks: &tracks });
    let whole = page_of("x", sound, Embed { whole: 320_000, clips: 0 });
    assert_eq!((count(&whole, "<audio id=\"sound\""), count(&whole, "data:audio/wav")), (1, 1));
    let clips = page_of("x", sound, Embed { whole: 319_999, clips: 1 << 20 });
    assert_eq!((count(&clips, "<audio id=\"sound\""), count(&clips, "data:audio/wav")), (0, 2));
    assert!(clips.len() < whole.len());
    // A clip of five seconds of two tracks is 80 kB: the second no longer fits.
    let tight = page_of("x", sound, Embed { whole: 0, clips: 100_000 });
    assert_eq!((count(&tight, "data:audio/wav"), count(&tight, "disabled>▷")), (1, 1));
}

#[test]
fn every_label_is_there_in_chinese_and_in_english() {
    let page = page_of("x", None, Embed::default());
    assert!(page.contains("<html data-ui=\"zh\" lang=\"zh\">"));
    let (chinese, english) = ("class=\"l\" lang=\"zh\"", "class=\"l\" lang=\"en\"");
    assert!(count(&page, chinese) > 30);
    assert_eq!(count(&page, chinese), count(&page, english));
}

#[test]
fn odd_calls_have_pages_too() {
    let mut empty = conversation("x");
    (empty.turns, empty.tracks, empty.holds) = (Vec::new(), Vec::new(), Vec::new());
    empty.heard = Span::ZERO;
    let mut late = conversation("x");
    late.turns[0].said.end = MediaTime::from_nanos(i64::MAX);
    late.turns[1].said.start = MediaTime::from_nanos(i64::MIN);
    late.turns[2].track = 9;
    for call in [empty, late] {
        let measures = Measures::of(&call);
        let tracks = [vec![1i16; 10]];
        for sound in [None, Some(Sound { rate: SampleRate::HZ_48000, tracks: &tracks })] {
            let report = Report {
                conversation: &call,
                measures: &measures,
                judgements: &[judgement("x")],
                sound,
                embed: Embed::default(),
                warnings: &[],
            };
            assert!(report.page().ends_with("</html>\n"));
        }
    }
}
