//! Makes a report of a recording: `cargo run -p antiphon-engine-view --example report -- CALL.wav WORDS.json RULES.yaml OUT.html`.
//!
//! `WORDS.json` is what `antiphon transcribe --format json` wrote of the recording; the first channel is the customer's. Beside the page an
//! `index.html` of a run is made.

use std::collections::BTreeMap;
use std::path::Path;

use antiphon_engine_measure::{Conversation, Measures, Role, Stretch, ToneMeter, Track, Turn};
use antiphon_engine_qa::Scorecard;
use antiphon_engine_view::{Embed, IndexRow, Report, RuleCount, Sound, index_page};
use antiphon_media_codec::{Edge, Gate, GateConfig};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance, Word};
use serde_json::Value;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sound, words, card, out] = &arguments[..] else {
        return Err("four paths are wanted: sound, words, scorecard, page".into());
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
    let rules = std::fs::read_to_string(card)?;
    let scorecard = Scorecard::read(&rules, Path::new(card)).map_err(|errors| errors.to_string())?;
    let judgement = scorecard.judge(&conversation, &measures);
    let report = Report {
        conversation: &conversation,
        measures: &measures,
        judgements: &[judgement],
        sound: Some(Sound { rate: pcm.rate, tracks: &pcm.channels }),
        embed: Embed::default(),
        warnings: &scorecard.warnings().iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    std::fs::write(out, report.page())?;
    let judgement = &report.judgements[0];
    let row = IndexRow {
        file: conversation.id.clone(),
        report: Path::new(out).file_name().map(|name| name.to_string_lossy().into_owned()),
        score: Some((judgement.score, judgement.pass)),
        findings: judgement.standing().count(),
        duration: Some(conversation.heard),
        agent_ratio: measures
            .speakers
            .iter()
            .find(|speaker| speaker.role == Role::Agent)
            .map(|speaker| speaker.ratio),
        failure: None,
    };
    let broken = IndexRow {
        file: "broken.wav".to_owned(),
        failure: Some("broken.wav: the header promises 8000 bytes, the file has 44".to_owned()),
        ..IndexRow::default()
    };
    let rules: Vec<RuleCount> = judgement
        .rules
        .iter()
        .map(|rule| RuleCount {
            rule: rule.rule.clone(),
            name: rule.name.clone(),
            files: usize::from(!rule.hits.is_empty()),
            findings: rule.hits.len(),
            points: rule.points,
        })
        .collect();
    std::fs::write(
        Path::new(out).with_file_name("index.html"),
        index_page("Run", "en", &[row, broken], &rules),
    )?;
    Ok(())
}

fn said(words: &Value, track: usize) -> Vec<Utterance> {
    let seconds = |value: &Value| MediaTime::from_millis((value.as_f64().unwrap_or(0.0) * 1000.0) as i64);
    let channel = &words["channels"][track];
    let utterances = words["utterances"].as_array().cloned().unwrap_or_default();
    let word = |word: &Value| Word {
        text: word["text"].as_str().unwrap_or_default().to_owned(),
        start: seconds(&word["start"]),
        end: seconds(&word["end"]),
        confidence: word["confidence"].as_f64().unwrap_or(1.0) as f32,
    };
    utterances
        .iter()
        .filter(|said| said["channel"] == *channel)
        .filter_map(|said| Utterance::of(said["words"].as_array()?.iter().map(word).collect(), None))
        .collect()
}
