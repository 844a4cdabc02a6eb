//! Reports of inspected calls in Chromium: clips play, words are jumped to, nothing that was said runs.
#![allow(clippy::disallowed_methods, reason = "a test waits")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use antiphon_engine_measure::{Conversation, Measures, Role, Stretch, Track, Turn};
use antiphon_engine_qa::Scorecard;
use antiphon_engine_view::{Embed, IndexRow, Report, Sound, index_page};
use antiphon_media_frame::{MediaTime, SampleRate, Span};
use antiphon_models_speech::{Language, Utterance, Word};
use support::chromium::Chromium;
use support::tone::sine;
use support::tool_missing;
use support::wav::Wav;
use tempfile::TempDir;

const EVIL: &str = "<img src=x onerror=window.evil=1><script>window.evil=1</script>";
const RULES: &str = "scorecard: {id: desk, version: 3, base: 100, pass: 80}
conditions:
  dead_air: {silence: {longer_than: 4s}}
  sorry: {phrase: sorry, speaker: agent}
rules:
  - {id: R1, never: dead_air, points: -30}
  - {id: R2, must: sorry, points: -10}
";

fn turn(track: usize, start: i64, words: &[&str]) -> Turn {
    let at = |n: usize| MediaTime::from_millis(start + 500 * n as i64);
    let word = |(n, text): (usize, &&str)| Word {
        text: (*text).to_owned(),
        start: at(n),
        end: at(n + 1),
        confidence: 1.0,
    };
    let said = Utterance::of(words.iter().enumerate().map(word).collect(), None).expect("words");
    Turn { track, said, tone: None }
}

/// Two voices, and five seconds of silence that the agent owes.
fn conversation() -> Conversation {
    let at = |start, end| Stretch { start: MediaTime::from_millis(start), end: MediaTime::from_millis(end) };
    Conversation {
        id: format!("call {EVIL}"),
        language: Language::english(),
        tracks: vec![
            Track { role: Role::Customer, speech: vec![at(2_000, 4_000)] },
            Track { role: Role::Agent, speech: vec![at(0, 1_500), at(9_000, 11_000)] },
        ],
        turns: vec![
            turn(1, 0, &["good", "morning", "madam"]),
            turn(0, 2_000, &["where", "is", "it", EVIL]),
            turn(1, 9_000, &["I", "do", "not", "know"]),
        ],
        holds: Vec::new(),
        heard: Span::from_secs(12),
        finished: true,
        metadata: BTreeMap::new(),
    }
}

fn browser(folder: &TempDir) -> Chromium {
    let microphone = folder.path().join("silence.wav");
    Wav::write(&microphone, 16_000, &[0; 16_000]);
    Chromium::start(&microphone)
}

fn write(folder: &Path, name: &str, embed: Embed) -> String {
    let conversation = conversation();
    let measures = Measures::of(&conversation);
    let scorecard = Scorecard::read(RULES, Path::new("rules.yaml")).expect("rules");
    let judgements = [scorecard.judge(&conversation, &measures)];
    let tracks = [sine(440.0, 8_000, 12.0), sine(660.0, 8_000, 12.0)];
    let report = Report {
        conversation: &conversation,
        measures: &measures,
        judgements: &judgements,
        sound: Some(Sound { rate: SampleRate::HZ_8000, tracks: &tracks }),
        embed,
        warnings: &[EVIL.to_owned()],
    };
    let path = folder.join(name);
    std::fs::write(&path, report.page()).expect("written");
    format!("file://{}", path.display())
}

#[test]
fn a_finding_plays_its_clip_and_words_are_jumped_to() {
    if tool_missing(&["chromium"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut page = browser(&folder);
    page.open(&write(folder.path(), "whole.html", Embed::default()));
    page.wait_until("document.getElementById('sound').duration > 11.9");
    let from = page.run("Number(document.querySelector('.play').dataset.play)").as_f64().expect("a time");
    let until = page.run("Number(document.querySelector('.play').dataset.until)").as_f64().expect("a time");
    assert!(from <= 4.0 && (9.0..12.0).contains(&until), "the silence from 4 s to 9 s: {from} to {until}");
    page.click(".play");
    page.wait_until(&format!("document.getElementById('sound').currentTime > {from} + 0.5"));
    assert_eq!(page.run("document.querySelector('.play').classList.contains('on')"), true);
    page.wait_until("document.getElementById('sound').paused");
    let stopped = page.run("document.getElementById('sound').currentTime").as_f64().expect("a time");
    assert!((stopped - until).abs() < 0.3, "{stopped} of {until}");

    page.click(".turns .w[data-t='9.500']");
    page.wait_until("Math.abs(document.getElementById('sound').currentTime - 9.5) < 0.01");
    assert_eq!(page.run("document.querySelector('.words .w.now').textContent"), "do");
    page.run(
        "document.getElementById('strip').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }))",
    );
    page.wait_until("Math.abs(document.getElementById('sound').currentTime - 10) < 0.01");

    assert_eq!(page.run("document.documentElement.dataset.ui"), "en");
    page.click("#language");
    assert_eq!(page.run("getComputedStyle(document.querySelector('h2 .l[lang=en]')).display"), "none");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(page.run("typeof window.evil"), "undefined");
    let inline = "{ const s = document.createElement('script'); s.textContent = 'window.evil = 1'; document.body.append(s); typeof window.evil }";
    assert_eq!(page.run(inline), "undefined", "the policy runs no script but the page's own");
}

#[test]
fn of_a_long_call_each_finding_has_its_own_sound() {
    if tool_missing(&["chromium"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut page = browser(&folder);
    page.open(&write(folder.path(), "clips.html", Embed { whole: 0, clips: 1 << 20 }));
    assert_eq!(page.run("document.getElementById('sound')"), serde_json::Value::Null);
    page.click(".play");
    page.wait_until("document.querySelector('.finding audio').currentTime > 0.5");
    let left =
        page.run("parseFloat(document.getElementById('needle').style.left)").as_f64().expect("a place");
    assert!(left > 110.0 * 2.4, "the needle is at the clip's place in the call: {left}");
    page.click(".play");
    page.wait_until("document.querySelector('.finding audio').paused");
}

#[test]
fn the_index_is_sorted_by_what_is_clicked() {
    if tool_missing(&["chromium"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let row = |file: &str, score: Option<f64>| IndexRow {
        file: file.to_owned(),
        score: score.map(|score| (score, score >= 80.0)),
        failure: score.is_none().then(|| EVIL.to_owned()),
        ..IndexRow::default()
    };
    let rows = [row("b", Some(9.0)), row("c", None), row("a10", Some(100.0)), row("a9", Some(80.0))];
    let path = folder.path().join("index.html");
    std::fs::write(&path, index_page("run", "en", &rows, &[])).expect("written");
    let mut page = browser(&folder);
    page.open(&format!("file://{}", path.display()));
    let files = "[...document.querySelector('table').tBodies[0].rows].map((row) => row.cells[0].textContent).join(' ')";
    page.click("th:nth-child(2) .sort");
    assert_eq!(page.run(files), "b a9 a10 c", "numbers by size, what has none last");
    page.click("th:nth-child(2) .sort");
    assert_eq!(page.run(files), "a10 a9 b c");
    page.click("th:nth-child(1) .sort");
    assert_eq!(page.run(files), "a9 a10 b c", "names as people count");
    assert_eq!(page.run("typeof window.evil"), "undefined");
}
