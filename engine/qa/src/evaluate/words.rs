//! Conditions about what is said.

use std::ops::Range;

use antiphon_engine_flow::Slot;
use antiphon_engine_measure::{Role, Turn};

use super::{Found, Scene, Why};
use crate::explain::Note;
use crate::model::{Condition, Kind, Negated, Term};
use crate::negation::{between, negation};
use crate::said::Said;
use crate::scan::Scanned;
use crate::similar::By;
use crate::wire::role_name;

/// Ways to put `near` together that are tried in one turn, at most.
const MOST_TRIES: usize = 20_000;

/// Words beside a yes or no that is an answer.
const MOST_BESIDE_ANSWER: usize = 4;

/// Tokens that match, and those within them that are not part of any term.
struct Match {
    at: Range<usize>,
    gaps: Vec<Range<usize>>,
    value: Option<f64>,
}

pub(super) fn find(condition: &Condition, scene: &Scene<'_>, why: &mut Why<'_>) -> Found {
    let mut list = Vec::new();
    let mut asked = 0;
    for (n, turn) in scene.call.turns.iter().enumerate() {
        let scanned = scene.scanned[n];
        let phrases = matches!(condition.kind, Kind::Phrase(_) | Kind::Near { .. });
        if phrases && scanned.is_blank() && !why.asked() {
            continue;
        }
        let heard = scene.is(turn, condition.speaker);
        asked += usize::from(heard);
        if !heard {
            if why.asked() && !matches(condition, scene, n, &mut Why(None)).is_empty() {
                why.say(|| Note::at_turn(scene, n, format!("it is said here, but by {}", who(scene, turn))));
            }
            continue;
        }
        let mut kept: Vec<(Range<usize>, Option<f64>)> = Vec::new();
        for found in matches(condition, scene, n, why) {
            if !fits(condition, scene, n, &found, why) {
                continue;
            }
            match kept.last_mut() {
                // What overlaps is one saying.
                Some((last, value)) if found.at.start < last.end => {
                    last.end = last.end.max(found.at.end);
                    *value = value.or(found.value);
                }
                _ => kept.push((found.at, found.value)),
            }
        }
        list.extend(kept.into_iter().map(|(at, value)| scene.said(n, Some(at), value)));
    }
    if list.is_empty() {
        let role = condition.speaker.map_or("anybody", role_name);
        why.say(|| Note::plain(format!("looked for in {asked} turns of {role}")));
    }
    Found::of(list, scene.known.words)
}

/// Whether negation and confidence let a match count.
fn fits(condition: &Condition, scene: &Scene<'_>, n: usize, found: &Match, why: &mut Why<'_>) -> bool {
    let said = &scene.scanned[n].said;
    let turn = &scene.call.turns[n];
    let entity = matches!(condition.kind, Kind::Entity { .. });
    if condition.negated != Negated::Count && !(entity && condition.negated == Negated::Skip) {
        let negated = negation(said, &found.at)
            .or_else(|| found.gaps.iter().find_map(|gap| between(said, gap.clone())));
        match (condition.negated, negated) {
            (Negated::Skip, Some(by)) => {
                why.say(|| {
                    let (what, by) = (said.quote(&turn.said, &found.at), said.quote(&turn.said, &by));
                    Note::at_turn(scene, n, format!("“{what}” is negated by “{by}”"))
                });
                return false;
            }
            (Negated::Only, None) => {
                why.say(|| {
                    let what = said.quote(&turn.said, &found.at);
                    Note::at_turn(scene, n, format!("“{what}” is not negated"))
                });
                return false;
            }
            _ => {}
        }
    }
    if condition.confidence > 0.0 {
        let words = said.words(&turn.said, &found.at);
        let confidence = if words.is_empty() {
            turn.said.confidence
        } else {
            words.iter().map(|word| word.confidence).sum::<f32>() / words.len() as f32
        };
        if confidence < condition.confidence {
            why.say(|| {
                let what = said.quote(&turn.said, &found.at);
                let least = condition.confidence;
                Note::at_turn(
                    scene,
                    n,
                    format!("“{what}” was heard with confidence {confidence:.2}, less than {least}"),
                )
            });
            return false;
        }
    }
    true
}

/// Every match in a turn, by start.
fn matches(condition: &Condition, scene: &Scene<'_>, n: usize, why: &mut Why<'_>) -> Vec<Match> {
    let (turn, scanned) = (&scene.call.turns[n], scene.scanned[n]);
    let said = &scanned.said;
    let whole = |at: Range<usize>, value| Match { at, gaps: Vec::new(), value };
    let mut found: Vec<Match> = match &condition.kind {
        Kind::Phrase(terms) => {
            terms.iter().flat_map(|term| scanned.places(term)).map(|at| whole(at, None)).collect()
        }
        Kind::Regex { pattern, not } => {
            let text = said.plain();
            if let Some(hit) = not.as_ref().and_then(|not| not.find(text))
                && pattern.is_match(text)
            {
                let what = hit.as_str().to_owned();
                why.say(|| {
                    Note::at_turn(scene, n, format!("`regex` matches, but so does `not_regex`: “{what}”"))
                });
                return Vec::new();
            }
            // An empty match says nothing.
            let hits = pattern.find_iter(text).filter(|hit| !hit.is_empty());
            hits.map(|hit| whole(said.plain_tokens(hit.range()), None)).collect()
        }
        Kind::Near { terms, gap, ordered } => near(terms, *gap, *ordered, scene, n, scanned, why),
        Kind::Similar { saying, text, least, by } => {
            let best = match by {
                By::Meaning => scene
                    .meaning
                    .and_then(|meaning| meaning.likeness(text, &turn.said.text))
                    .map(|score| (0..said.len(), score)),
                by => saying.best(said, *by),
            };
            match best {
                // Similarities are quotients: what is written as .8 is met by four of five.
                Some((at, score)) if score + 1e-6 >= *least && !at.is_empty() => {
                    vec![whole(at, Some(f64::from((score * 1e4).round()) / 1e4))]
                }
                Some((at, score)) if score >= *least / 2.0 => {
                    why.say(|| {
                        let what = said.quote(&turn.said, &at);
                        Note::at_turn(
                            scene,
                            n,
                            format!("“{what}” is similar by {score:.2}, less than {least}"),
                        )
                    });
                    Vec::new()
                }
                _ => Vec::new(),
            }
        }
        Kind::Pinyin { sounds, accent } => {
            let readings = said.readings();
            let ends =
                |at: usize| sounds.iter().filter_map(move |sound| sound.matches(readings, at, *accent)).max();
            (0..readings.len()).filter_map(|at| Some(whole(at..ends(at)?, None))).collect()
        }
        Kind::Entity { slot, range, equals } => {
            let language = turn.said.language.as_ref().unwrap_or(&scene.call.language);
            let today = scene.call.metadata.get("date").map(String::as_str);
            let Some(reading) = slot.read(&turn.said.text, language, today) else { return Vec::new() };
            // The readers of flows know what was asked; here a bare number is no money, and a word within a speech no answer.
            let asked_for = match slot {
                Slot::Amount => reading.currency.is_some(),
                Slot::YesNo => reading.rest.len() <= MOST_BESIDE_ANSWER,
                _ => true,
            };
            if !asked_for {
                return Vec::new();
            }
            let value = reading.value.as_f64();
            let written = reading.value.as_str().map_or_else(|| reading.value.to_string(), str::to_owned);
            let fits = value.is_none_or(|value| range.fits(value))
                && equals.as_ref().is_none_or(|equals| *equals == written);
            if !fits {
                why.say(|| {
                    Note::at_turn(scene, n, format!("the value is {written}, which is not what is asked for"))
                });
                return Vec::new();
            }
            vec![whole(reading.at, value)]
        }
        _ => Vec::new(),
    };
    found.sort_by_key(|found| (found.at.start, std::cmp::Reverse(found.at.end)));
    found
}

fn near(
    terms: &[Vec<Term>],
    gap: usize,
    ordered: bool,
    scene: &Scene<'_>,
    n: usize,
    scanned: &Scanned,
    why: &mut Why<'_>,
) -> Vec<Match> {
    let places: Vec<Vec<Range<usize>>> = terms
        .iter()
        .map(|slot| {
            let mut places: Vec<Range<usize>> = slot.iter().flat_map(|term| scanned.places(term)).collect();
            places.sort_by_key(|place| (place.start, place.end));
            places
        })
        .collect();
    if places.iter().any(Vec::is_empty) {
        if places.iter().any(|places| !places.is_empty()) {
            why.say(|| {
                let missing =
                    places.iter().position(Vec::is_empty).map_or("", |slot| &terms[slot][0].tokens[0]);
                Note::at_turn(
                    scene,
                    n,
                    format!("only some of the terms are said here; the one with “{missing}” is not"),
                )
            });
        }
        return Vec::new();
    }
    let mut tries = 0;
    let mut starts: Vec<(usize, Range<usize>)> = Vec::new();
    for (slot, places) in places.iter().enumerate().take(if ordered { 1 } else { places.len() }) {
        starts.extend(places.iter().map(|place| (slot, place.clone())));
    }
    starts.sort_by_key(|(_, place)| (place.start, place.end));
    let mut found = Vec::new();
    let mut after = 0;
    for (slot, place) in starts {
        if place.start < after {
            continue;
        }
        let mut chain = vec![place];
        if extend(&places, 1 << slot, gap, ordered, &mut chain, &mut tries) {
            let (start, end) = (chain[0].start, chain[chain.len() - 1].end);
            after = end;
            let gaps = chain.windows(2).map(|pair| pair[0].end..pair[1].start).collect();
            found.push(Match { at: start..end, gaps, value: None });
        }
    }
    if found.is_empty() {
        why.say(|| {
            let nearest = nearest(&places, &scanned.said);
            Note::at_turn(scene, n, format!("all terms are said here, but {nearest}"))
        });
    }
    found
}

/// Adds terms that have no place in the chain yet, each at most `gap` tokens behind the last.
fn extend(
    places: &[Vec<Range<usize>>],
    used: usize,
    gap: usize,
    ordered: bool,
    chain: &mut Vec<Range<usize>>,
    tries: &mut usize,
) -> bool {
    if chain.len() == places.len() {
        return true;
    }
    let end = chain[chain.len() - 1].end;
    for (slot, places_here) in places.iter().enumerate() {
        if used & (1 << slot) != 0 || (ordered && slot != chain.len()) {
            continue;
        }
        let from = places_here.partition_point(|place| place.start < end);
        for place in places_here[from..].iter().take_while(|place| place.start - end <= gap) {
            *tries += 1;
            if *tries > MOST_TRIES {
                return false;
            }
            chain.push(place.clone());
            if extend(places, used | 1 << slot, gap, ordered, chain, tries) {
                return true;
            }
            chain.pop();
        }
    }
    false
}

fn nearest(places: &[Vec<Range<usize>>], said: &Said) -> String {
    let mut pairs = places.windows(2).filter_map(|pair| {
        pair[0]
            .iter()
            .flat_map(|a| {
                pair[1].iter().map(move |b| {
                    (b.start.saturating_sub(a.end).max(a.start.saturating_sub(b.end)), b.start < a.start)
                })
            })
            .min()
    });
    match pairs.find(|(distance, turned)| *distance > 0 || *turned) {
        Some((distance, true)) => format!("in another order, {distance} tokens apart"),
        Some((distance, false)) => format!("{distance} tokens apart"),
        None => format!("not beside one another in these {} tokens", said.len()),
    }
}

fn who(scene: &Scene<'_>, turn: &Turn) -> &'static str {
    let role: Role = scene.call.role(turn);
    role_name(role)
}
