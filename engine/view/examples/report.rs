//! Makes a report of a recording: `cargo run -p antiphon-engine-view --example report -- CALL.wav WORDS.json OUT.html`.
//!
//! `WORDS.json` is what `antiphon transcribe --format json` wrote of the recording; the first channel is the customer's.
//! The findings are every silence of three seconds and every interruption: an example, not an inspection.

use std::collections::BTreeMap;
use std::path::Path;

use antiphon_engine_measure::{Conversation, Measures, Role, SilenceCause, Stretch, ToneMeter, Track, Turn};
use antiphon_engine_view::{Embed, Finding, FindingKind, Report, RuleLine, Sound, Standing, Verdict};
use antiphon_media_codec::{Edge, Gate, GateConfig};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance, Word};
use serde_json::Value;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sound, words, out] = &arguments[..] else {
        return Err("three paths are wanted: sound, words, page".into());
    };
    let pcm = antiphon_media_record::read_all(Path::new(sound))?;
    let words: Value = serde_json::from_slice(&std::fs::read(words)?)?;
    let frame = pcm.rate.samples(Span::from_millis(20));
    let mut turns = Vec::new();
    let mut tracks = Vec::new();
    for (track, samples) in pcm.channels.iter().enumerate() {
        let config = GateConfig::default();
        let (mut gate, mut meter) =
            (Gate::new(pcm.rate, config), ToneMeter::new(pcm.rate, Span::from_secs(86_400)));
        let mut edges = antiphon_engine_measure::SpeechEdges::new(pcm.rate);
        let mut speech = Vec::new();
        for (n, part) in samples.chunks(frame).enumerate() {
            let at = MediaTime::from_millis(20 * n as i64);
            let heard = at + Span::from_millis(20);
            meter.push(at, part);
            edges.push(at, part);
            match gate.push(part).edge {
                Some(Edge::Start) => _ = edges.begin(heard - config.start),
                Some(Edge::End) => speech.extend(edges.end(heard - config.hangover)),
                None => {}
            }
        }
        speech.extend(edges.end(MediaTime::ZERO + pcm.duration()));
        tracks.push(Track { role: if track == 0 { Role::Customer } else { Role::Agent }, speech });
        for said in said(&words, track) {
            let tone = meter.tone(Stretch { start: said.start, end: said.end });
            turns.push(Turn { track, said, tone });
        }
    }
    turns.sort_by_key(|turn| (turn.said.start, turn.track));
    let conversation = Conversation {
        id: Path::new(sound).file_name().unwrap_or_default().to_string_lossy().into_owned(),
        language: Language::english(),
        tracks,
        turns,
        holds: Vec::new(),
        heard: pcm.duration(),
        finished: true,
        metadata: BTreeMap::from([
            ("agent".to_owned(), "A-17".to_owned()),
            ("queue".to_owned(), "repairs".to_owned()),
        ]),
    };
    let measures = Measures::of(&conversation);
    let verdict = verdict(&measures);
    let report = Report {
        conversation: &conversation,
        measures: &measures,
        verdicts: &[verdict],
        sound: Some(Sound { rate: pcm.rate, tracks: &pcm.channels }),
        embed: Embed::default(),
        warnings: &["The findings of this page are an example.".to_owned()],
    };
    std::fs::write(out, report.page())?;
    Ok(())
}

fn said(words: &Value, track: usize) -> Vec<Utterance> {
    let seconds = |value: &Value| MediaTime::from_millis((value.as_f64().unwrap_or(0.0) * 1000.0) as i64);
    let utterances = words["channels"][track]["utterances"].as_array().cloned().unwrap_or_default();
    let word = |word: &Value| Word {
        text: word["text"].as_str().unwrap_or_default().to_owned(),
        start: seconds(&word["start"]),
        end: seconds(&word["end"]),
        confidence: word["confidence"].as_f64().unwrap_or(1.0) as f32,
    };
    utterances
        .iter()
        .filter_map(|said| Utterance::of(said["words"].as_array()?.iter().map(word).collect(), None))
        .collect()
}

fn verdict(measures: &Measures) -> Verdict {
    let finding = |id: String, at: Stretch, track: Option<usize>, value: Span, points: f64| Finding {
        id,
        kind: FindingKind::Found,
        role: None,
        track,
        at,
        quote: String::new(),
        value: Some(value.secs_f64()),
        parts: Vec::new(),
        searched: Vec::new(),
        points,
        fatal: false,
        excused: None,
        review: None,
        clip: Stretch { start: at.start - Span::from_secs(1), end: at.end + Span::from_secs(1) },
    };
    let silences = measures
        .silences
        .iter()
        .filter(|s| matches!(s.cause, SilenceCause::Owed(_) | SilenceCause::Within(_)));
    let silences =
        silences.map(|s| (s.at, s.at.end.since(s.at.start))).filter(|(_, long)| *long >= Span::from_secs(3));
    let silences: Vec<Finding> =
        silences.enumerate().map(|(n, (at, long))| finding(format!("s{n}"), at, None, long, -2.0)).collect();
    let overlaps =
        measures.interruptions.iter().filter(|found| found.both >= Span::from_millis(500)).enumerate();
    let overlaps: Vec<Finding> = overlaps
        .map(|(n, found)| finding(format!("o{n}"), found.overlap, Some(found.by), found.both, -1.0))
        .collect();
    let missed = Finding {
        kind: FindingKind::Missed,
        searched: vec![(Stretch { start: MediaTime::ZERO, end: MediaTime::from_millis(30_000) }, 6)],
        ..finding(
            "m0".to_owned(),
            Stretch { start: MediaTime::ZERO, end: MediaTime::from_millis(30_000) },
            None,
            Span::ZERO,
            -10.0,
        )
    };
    let line = |rule: &str, name: &str, findings: Vec<Finding>| RuleLine {
        rule: rule.to_owned(),
        name: Some(name.to_owned()),
        group: Some("manner".to_owned()),
        state: if findings.is_empty() { Standing::Kept } else { Standing::Hit },
        points: findings.iter().map(|finding| finding.points).sum(),
        findings,
    };
    let rules = vec![
        line("greet", "Greets by name", vec![Finding { value: None, ..missed }]),
        line("dead-air", "No dead air", silences),
        line("talk-over", "Does not talk over", overlaps),
        line("privacy", "Asks for no card number", Vec::new()),
    ];
    let score = 100.0 + rules.iter().map(|rule| rule.points).sum::<f64>();
    Verdict {
        scorecard: "example".to_owned(),
        version: "1".to_owned(),
        score,
        enough: 80.0,
        pass: score >= 80.0,
        fatal: false,
        rules,
    }
}
