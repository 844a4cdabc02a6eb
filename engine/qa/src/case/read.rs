//! From YAML to dialogues with times.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use antiphon_engine_flow::file::{Fields, Node, Problems, Value, entries, items, nearest, text};
use antiphon_engine_flow::{is_han, tokens_at};
use antiphon_engine_measure::{Conversation, Hold, Role, Stretch, Tone, Track, Turn};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance, Word};

use super::{Case, Expect, ExpectedHit};
use crate::Problem;
use crate::result::RuleState;
use crate::wire::role_named;

const MOST_TURNS: usize = 2_000;
const LONGEST_TEXT: usize = 2_000;
/// A dialogue lasts a day at most.
const LONGEST_MS: i64 = 86_400_000;
const SHARED: [&str; 5] = ["language", "speed", "gap", "confidence", "metadata"];

/// What turns are laid out by.
#[derive(Clone)]
struct Manner {
    language: Language,
    /// Words, or characters, a minute.
    speed: Option<f64>,
    gap: i64,
    confidence: f32,
    metadata: BTreeMap<String, String>,
}

pub(super) fn read(root: &Node, problems: &mut Problems, origin: &Path) -> Vec<Case> {
    let manner = Manner {
        language: Language::english(),
        speed: None,
        gap: 500,
        confidence: 1.0,
        metadata: BTreeMap::new(),
    };
    let many = matches!(&root.value, Value::Map(entries) if entries.iter().any(|entry| entry.key == "cases"));
    let mut cases = Vec::new();
    if !many {
        cases.extend(case(root, problems, origin, &manner));
        return cases;
    }
    let allowed: Vec<&str> = SHARED.into_iter().chain(["cases"]).collect();
    let Some(fields) = Fields::read(problems, root, "a file of cases", &allowed) else { return cases };
    let manner = shared(&fields, problems, manner);
    let mut names = HashSet::new();
    for node in fields.get("cases").map(items).unwrap_or_default() {
        if cases.len() == Case::MOST {
            problems.error(node.at, format!("more than {} cases", Case::MOST));
            break;
        }
        let Some(case) = case(node, problems, origin, &manner) else { continue };
        if !names.insert(case.name.clone()) {
            problems.error(node.at, format!("there is another case `{}`", case.name));
        }
        cases.push(case);
    }
    cases
}

fn shared(fields: &Fields<'_>, problems: &mut Problems, mut manner: Manner) -> Manner {
    if let (Some(tag), Some(node)) = (fields.text(problems, "language"), fields.get("language")) {
        match Language::parse(&tag) {
            Some(language) => manner.language = language,
            None => problems.error(node.at, "`language` wants a tag such as `en` or `zh-CN`"),
        }
    }
    manner.speed = fields.number(problems, "speed", 1.0, 5_000.0).or(manner.speed);
    manner.gap = millis(fields, problems, "gap").unwrap_or(manner.gap);
    manner.confidence =
        fields.number(problems, "confidence", 0.0, 1.0).map_or(manner.confidence, |n| n as f32);
    for entry in
        fields.get("metadata").and_then(|node| entries(problems, node, "metadata")).unwrap_or_default()
    {
        match text(&entry.node) {
            Some(value) => {
                manner.metadata.insert(entry.key.clone(), value.to_owned());
            }
            None => problems.error(entry.node.at, "a value of the metadata is a text"),
        }
    }
    manner
}

fn millis(fields: &Fields<'_>, problems: &mut Problems, key: &str) -> Option<i64> {
    let longest = Duration::from_millis(LONGEST_MS as u64);
    let time = fields.duration(problems, key, Duration::ZERO, longest)?;
    Some(time.as_millis() as i64)
}

fn case(node: &Node, problems: &mut Problems, origin: &Path, manner: &Manner) -> Option<Case> {
    let allowed: Vec<&str> = SHARED.into_iter().chain(["name", "turns", "expect", "finished"]).collect();
    let fields = Fields::read(problems, node, "a case", &allowed)?;
    let manner = shared(&fields, problems, manner.clone());
    let name = match fields.text(problems, "name") {
        Some(name) => name,
        None if fields.get("name").is_none() => {
            origin.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
        }
        None => return None,
    };
    let Some(turns) = fields.get("turns") else {
        problems.error(node.at, "the case has no `turns`: a list such as `- agent: Good morning`");
        return None;
    };
    let mut layout = Layout::new(&manner);
    for (n, item) in items(turns).iter().enumerate() {
        if n == MOST_TURNS {
            problems.error(item.at, format!("more than {MOST_TURNS} turns"));
            break;
        }
        layout.add(item, problems);
    }
    let finished = fields.flag(problems, "finished").unwrap_or(true);
    let expect = fields.get("expect").map_or_else(Expect::default, |node| expected(node, problems));
    let place = Problem {
        file: origin.to_owned(),
        line: node.at.line,
        column: node.at.column,
        message: String::new(),
        suggestion: None,
    };
    let (conversation, agitation) = layout.done(name.clone(), finished);
    Some(Case { name, conversation, agitation, expect, place })
}

/// Turns one after the other.
struct Layout<'a> {
    manner: &'a Manner,
    /// Turns with the agitation that is set for them.
    turns: Vec<(Turn, Option<f32>)>,
    holds: Vec<Hold>,
    /// Where the last one ended.
    at: i64,
    /// Before the next one.
    gap: i64,
}

const ROLES: [Role; 3] = [Role::Agent, Role::Customer, Role::Other];
const KINDS: [&str; 5] = ["agent", "customer", "other", "silence", "hold"];

impl<'a> Layout<'a> {
    const fn new(manner: &'a Manner) -> Self {
        Self { manner, turns: Vec::new(), holds: Vec::new(), at: 0, gap: 0 }
    }

    fn add(&mut self, node: &Node, problems: &mut Problems) {
        let Some(all) = entries(problems, node, "a turn") else { return };
        let mut kinds = all.iter().filter(|entry| KINDS.contains(&entry.key.as_str()));
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            let meant = all.first().and_then(|entry| nearest(&entry.key, KINDS));
            let message = "a turn is one of `agent: words`, `customer: words`, `other: words`, `silence: 8s` and `hold: 30s`";
            problems.error_meant(node.at, message, meant);
            return;
        };
        match (kind.key.as_str(), role_named(&kind.key)) {
            (_, Some(role)) => self.turn(node, role, &kind.node, problems),
            ("hold", _) => {
                let Some(fields) = Fields::read(problems, node, "a hold", &["hold", "by"]) else { return };
                let Some(long) = millis(&fields, problems, "hold") else { return };
                let by = fields.text(problems, "by").and_then(|by| role_named(&by));
                if by.is_none() && fields.get("by").is_some() {
                    problems.error(node.at, "`by` is `agent`, `customer` or `other`");
                }
                let end = self.at.saturating_add(long).min(LONGEST_MS);
                let at = Stretch { start: MediaTime::from_millis(self.at), end: MediaTime::from_millis(end) };
                self.holds.push(Hold { at, by });
                (self.at, self.gap) = (end, 0);
            }
            _ => {
                let Some(fields) = Fields::read(problems, node, "a silence", &["silence"]) else { return };
                let Some(long) = millis(&fields, problems, "silence") else { return };
                self.at = self.at.saturating_add(long).min(LONGEST_MS);
                self.gap = 0;
            }
        }
    }

    fn turn(&mut self, node: &Node, role: Role, words: &Node, problems: &mut Problems) {
        let keys = [
            "agent",
            "customer",
            "other",
            "at",
            "for",
            "gap",
            "overlap",
            "speed",
            "confidence",
            "loudness",
            "pitch",
            "range",
            "agitation",
        ];
        let Some(fields) = Fields::read(problems, node, "a turn", &keys) else { return };
        let Some(said) = text(words).filter(|said| said.chars().count() <= LONGEST_TEXT) else {
            problems.error(words.at, format!("a turn wants words, {LONGEST_TEXT} characters at most"));
            return;
        };
        let start = match (millis(&fields, problems, "at"), millis(&fields, problems, "overlap")) {
            (Some(at), _) => at,
            (None, Some(overlap)) => (self.at - overlap).max(0),
            (None, None) => self.at + millis(&fields, problems, "gap").unwrap_or(self.gap),
        };
        let tokens = tokens_at(said);
        let long = millis(&fields, problems, "for").unwrap_or_else(|| {
            let dense =
                tokens.iter().filter(|token| token.text.chars().all(is_han)).count() * 2 > tokens.len();
            let speed = fields.number(problems, "speed", 1.0, 5_000.0).or(self.manner.speed);
            let speed = speed.unwrap_or(if dense { 240.0 } else { 150.0 });
            ((tokens.len().max(1) as f64 * 60_000.0 / speed).round() as i64).clamp(1, LONGEST_MS)
        });
        let end = start.saturating_add(long.max(1));
        if end > LONGEST_MS {
            problems.error(node.at, "a dialogue lasts a day at most");
            return;
        }
        let track = ROLES.iter().position(|known| *known == role).unwrap_or(0);
        let own = self.turns.iter().filter(|(turn, _)| turn.track == track);
        if own.clone().any(|(turn, _)| turn.said.start.millis() < end && start < turn.said.end.millis()) {
            problems.error(
                node.at,
                "this one speaks already at this time; give it `at`, `gap` or a shorter `for`",
            );
            return;
        }
        let confidence =
            fields.number(problems, "confidence", 0.0, 1.0).map_or(self.manner.confidence, |n| n as f32);
        let mut parts: Vec<std::ops::Range<usize>> = tokens.into_iter().map(|token| token.at).collect();
        parts.dedup();
        let time =
            |n: usize| MediaTime::from_millis(start + (end - start) * n as i64 / parts.len().max(1) as i64);
        let word = |(n, part): (usize, &std::ops::Range<usize>)| Word {
            text: said[part.clone()].to_owned(),
            start: time(n),
            end: time(n + 1),
            confidence,
        };
        let words = parts.iter().enumerate().map(word).collect();
        let number = |key: &str, low: f64, high: f64, problems: &mut Problems| {
            fields.number(problems, key, low, high).map(|n| n as f32)
        };
        let loudness = number("loudness", -120.0, 0.0, problems);
        let (pitch_hz, pitch_range) =
            (number("pitch", 20.0, 1_000.0, problems), number("range", 0.0, 60.0, problems));
        let tone = (loudness.is_some() || pitch_hz.is_some() || pitch_range.is_some()).then_some(Tone {
            loudness_db: loudness.unwrap_or(-20.0),
            pitch_hz,
            pitch_range,
        });
        let agitation = number("agitation", 0.0, 1.0, problems);
        let said = Utterance {
            text: said.to_owned(),
            words,
            start: MediaTime::from_millis(start),
            end: MediaTime::from_millis(end),
            confidence,
            language: None,
        };
        self.turns.push((Turn { track, said, tone }, agitation));
        self.at = self.at.max(end);
        self.gap = self.manner.gap;
    }

    fn done(mut self, id: String, finished: bool) -> (Conversation, Vec<(usize, MediaTime, f32)>) {
        self.turns.sort_by_key(|(turn, _)| (turn.said.start, turn.track));
        let mut tracks: Vec<Track> = ROLES.map(|role| Track { role, speech: Vec::new() }).to_vec();
        for (turn, _) in &self.turns {
            let speech = &mut tracks[turn.track].speech;
            match speech.last_mut() {
                Some(last) if last.end == turn.said.start => last.end = turn.said.end,
                _ => speech.push(Stretch { start: turn.said.start, end: turn.said.end }),
            }
        }
        // A third party that says nothing is not there.
        if tracks[2].speech.is_empty() {
            tracks.pop();
        }
        let set = |(turn, score): &(Turn, Option<f32>)| Some((turn.track, turn.said.start, (*score)?));
        let agitation = self.turns.iter().filter_map(set).collect();
        let conversation = Conversation {
            id,
            language: self.manner.language.clone(),
            tracks,
            turns: self.turns.into_iter().map(|(turn, _)| turn).collect(),
            holds: self.holds,
            heard: Span::from_millis(self.at.unsigned_abs()),
            finished,
            metadata: self.manner.metadata.clone(),
        };
        (conversation, agitation)
    }
}

fn expected(node: &Node, problems: &mut Problems) -> Expect {
    let keys = ["score", "pass", "fatal", "hits", "misses", "excused", "rules"];
    let Some(fields) = Fields::read(problems, node, "what is expected", &keys) else {
        return Expect::default();
    };
    let names = |key: &str, problems: &mut Problems| {
        let list = items(fields.get(key)?).iter().filter_map(|node| {
            let name = text(node).map(str::to_owned);
            if name.is_none() {
                problems.error(node.at, "expected a rule's id");
            }
            name
        });
        Some(list.collect::<Vec<String>>())
    };
    let mut states = BTreeMap::new();
    for entry in fields.get("rules").and_then(|node| entries(problems, node, "rules")).unwrap_or_default() {
        let state = match text(&entry.node) {
            Some("kept") => RuleState::Kept,
            Some("hit") => RuleState::Hit,
            Some("not_applicable") => RuleState::NotApplicable,
            Some("excused") => RuleState::Excused,
            Some("open") => RuleState::Open,
            _ => {
                problems
                    .error(entry.node.at, "a rule is `kept`, `hit`, `not_applicable`, `excused` or `open`");
                continue;
            }
        };
        states.insert(entry.key.clone(), state);
    }
    let misses = names("misses", problems);
    let excused = names("excused", problems);
    let most = 1e9;
    Expect {
        score: fields.number(problems, "score", -most, most),
        pass: fields.flag(problems, "pass"),
        fatal: fields.flag(problems, "fatal"),
        hits: fields
            .get("hits")
            .map(|node| items(node).iter().filter_map(|node| hit(node, problems)).collect()),
        misses,
        excused,
        rules: states,
    }
}

fn hit(node: &Node, problems: &mut Problems) -> Option<ExpectedHit> {
    let plain = |rule: String| ExpectedHit {
        rule,
        count: 1,
        quote: None,
        turn: None,
        start: None,
        end: None,
        points: None,
    };
    if let Some(rule) = text(node) {
        return Some(plain(rule.to_owned()));
    }
    let keys = ["rule", "count", "quote", "turn", "start", "end", "points"];
    let fields = Fields::read(problems, node, "an expected hit", &keys)?;
    let Some(rule) = fields.text(problems, "rule") else {
        problems.error(node.at, "an expected hit wants its `rule`");
        return None;
    };
    Some(ExpectedHit {
        count: fields.count(problems, "count", 0, 100_000).unwrap_or(1) as usize,
        quote: fields.text(problems, "quote"),
        turn: fields.count(problems, "turn", 1, MOST_TURNS as u32).map(|turn| turn as usize),
        start: millis(&fields, problems, "start"),
        end: millis(&fields, problems, "end"),
        points: fields.number(problems, "points", -1e9, 1e9),
        ..plain(rule)
    })
}
