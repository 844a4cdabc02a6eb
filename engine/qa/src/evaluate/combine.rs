//! Conditions made of others: any, all, none, expressions, sequences, counts.

use antiphon_engine_measure::Role;
use antiphon_media_frame::{MediaTime, Span};

use super::{EVER, Found, NEVER, Occurrence, Scene, Why, evidence};
use crate::explain::Note;
use crate::logic::{Logic, Tri};
use crate::model::{Count, Together};

/// Parts of one finding that are kept; a count of thousands needs no proof of each.
const MOST_PARTS: usize = 50;

pub(super) fn any(parts: &[usize], found: &[Found]) -> Found {
    let list = parts.iter().flat_map(|part| found[*part].list.iter().cloned()).collect();
    let complete = parts.iter().map(|part| found[*part].complete).min().unwrap_or(EVER);
    let mut all = Found::of(list, complete);
    all.next = parts.iter().filter_map(|part| found[*part].next).min();
    // Two names for the same words are one saying.
    let mut kept: Vec<Occurrence> = Vec::with_capacity(all.list.len());
    for one in all.list {
        let same = |other: &&mut Occurrence| {
            other.turn.is_some()
                && other.turn == one.turn
                && match (&other.tokens, &one.tokens) {
                    (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
                    (None, None) => true,
                    _ => false,
                }
        };
        match kept.iter_mut().rev().take(8).find(same) {
            Some(other) => {
                if let (Some(a), Some(b)) = (&mut other.tokens, &one.tokens) {
                    a.end = a.end.max(b.end);
                }
                other.end = other.end.max(one.end);
                other.settled &= one.settled;
            }
            None => kept.push(one),
        }
    }
    all.list = kept;
    all
}

pub(super) fn all(
    parts: &[usize],
    together: Together,
    found: &[Found],
    scene: &Scene<'_>,
    why: &mut Why<'_>,
) -> Found {
    let complete = parts.iter().map(|part| found[*part].complete).min().unwrap_or(EVER);
    let next = parts.iter().filter_map(|part| found[*part].next).min();
    let mut here = match together {
        Together::Turn => {
            let mut list = Vec::new();
            for n in 0..scene.call.turns.len() {
                let firsts: Vec<Option<&Occurrence>> = parts
                    .iter()
                    .map(|part| found[*part].list.iter().find(|one| one.turn == Some(n)))
                    .collect();
                if firsts.iter().all(Option::is_some) {
                    let chosen: Vec<(usize, Occurrence)> =
                        parts.iter().copied().zip(firsts.into_iter().flatten().cloned()).collect();
                    list.push(joined(chosen));
                } else if firsts.iter().any(Option::is_some) {
                    why.say(|| {
                        let missing = firsts.iter().filter(|first| first.is_none()).count();
                        Note::at_turn(
                            scene,
                            n,
                            format!("{missing} of {} parts are missing in this turn", parts.len()),
                        )
                    });
                }
            }
            Found::of(list, complete)
        }
        Together::Call => match parts.iter().map(|part| found[*part].first()).collect::<Option<Vec<_>>>() {
            Some(firsts) => {
                let sure = firsts.iter().all(|(_, sure)| *sure);
                let chosen =
                    parts.iter().copied().zip(firsts.into_iter().map(|(one, _)| one.clone())).collect();
                let one = Occurrence { settled: sure, ..joined(chosen) };
                Found { list: vec![one], complete: if sure { EVER } else { NEVER }, next }
            }
            None => Found::nothing(if complete == EVER { EVER } else { NEVER }),
        },
    };
    here.next = next;
    here
}

pub(super) fn none(
    parts: &[usize],
    together: Together,
    speaker: Option<Role>,
    found: &[Found],
    scene: &Scene<'_>,
) -> Found {
    let complete = parts.iter().map(|part| found[*part].complete).min().unwrap_or(EVER);
    match together {
        Together::Turn => {
            let mut list = Vec::new();
            for (n, turn) in scene.call.turns.iter().enumerate().filter(|(_, turn)| scene.is(turn, speaker)) {
                if parts.iter().all(|part| found[*part].list.iter().all(|one| one.turn != Some(n))) {
                    let settled = complete > turn.said.end;
                    list.push(Occurrence { settled, ..scene.said(n, None, None) });
                }
            }
            Found::of(list, complete.min(scene.known.words))
        }
        Together::Call => {
            let nothing = parts.iter().all(|part| found[*part].list.is_empty());
            if !nothing {
                let settled = parts.iter().any(|part| found[*part].list.iter().any(|one| one.settled));
                return Found::nothing(if settled { EVER } else { NEVER });
            }
            let settled = complete == EVER;
            let list = vec![call(scene, settled)];
            Found { list, complete: if settled { EVER } else { NEVER }, next: None }
        }
    }
}

pub(super) fn logic(logic: &Logic<usize>, found: &[Found], scene: &Scene<'_>) -> Found {
    let next = logic.things().into_iter().filter_map(|thing| found[*thing].next).min();
    let mut here = match logic.value(&|n| found[*n].holds()) {
        Tri::No => Found::nothing(EVER),
        Tri::Open => Found::nothing(NEVER),
        Tri::Yes => match evidence(logic, found) {
            Some((parts, sure)) => {
                let one = if parts.is_empty() { call(scene, sure) } else { joined(parts) };
                let one = Occurrence { settled: sure, ..one };
                Found { list: vec![one], complete: if sure { EVER } else { NEVER }, next: None }
            }
            None => Found::nothing(NEVER),
        },
    };
    here.next = next;
    here
}

pub(super) fn sequence(
    steps: &[usize],
    turns: Option<u32>,
    time: Option<Span>,
    found: &[Found],
    scene: &Scene<'_>,
    why: &mut Why<'_>,
) -> Found {
    // By step: its occurrences that can be reached, each with the one before it.
    let mut reached: Vec<Vec<(usize, usize)>> = Vec::with_capacity(steps.len());
    for (n, step) in steps.iter().enumerate() {
        let list = &found[*step].list;
        let mut here: Vec<(usize, usize)> = Vec::new();
        for (at, one) in list.iter().enumerate() {
            let Some(before) = n.checked_sub(1) else {
                here.push((at, 0));
                continue;
            };
            let earlier = &found[steps[before]].list;
            // The nearest before it: the one with the smallest gap.
            let from = reached[before].iter().enumerate().rev().find(|(_, (k, _))| {
                let last = &earlier[*k];
                follows(last, one)
                    && time.is_none_or(|most| one.start.since(last.end) <= most)
                    && turns.is_none_or(|most| scene.ordinal(one).abs_diff(scene.ordinal(last)) <= most)
            });
            if let Some((from, _)) = from {
                here.push((at, from));
            }
        }
        if here.is_empty() {
            why.say(|| {
                let found = if list.is_empty() { "never occurs" } else { "occurs, but not in its place" };
                Note::plain(format!("step {} of {} {found}", n + 1, steps.len()))
            });
            return Found::nothing(if scene.call.finished { EVER } else { NEVER });
        }
        reached.push(here);
    }
    // From the first end back to its beginning.
    let mut chain = Vec::with_capacity(steps.len());
    let mut at = 0;
    for n in (0..steps.len()).rev() {
        let (k, from) = reached[n][at];
        chain.push((steps[n], found[steps[n]].list[k].clone()));
        at = from;
    }
    chain.reverse();
    let one = joined(chain);
    let complete = steps.iter().map(|step| found[*step].complete).min().unwrap_or(EVER);
    let settled = one.settled && complete.min(scene.known.words) >= one.end;
    Found {
        list: vec![Occurrence { settled, ..one }],
        complete: if settled { EVER } else { NEVER },
        next: None,
    }
}

/// Whether `later` comes after `earlier`: by words within a turn, by turns, else by time.
pub(super) fn follows(earlier: &Occurrence, later: &Occurrence) -> bool {
    match (earlier.turn, later.turn) {
        (Some(a), Some(b)) if a == b => match (&earlier.tokens, &later.tokens) {
            (Some(a), Some(b)) => b.start >= a.start && a != b,
            _ => false,
        },
        (Some(a), Some(b)) => b > a,
        _ => later.start >= earlier.end,
    }
}

pub(super) fn count(count: Count, n: usize, found: Found, why: &mut Why<'_>) -> Found {
    let least = count.least as usize;
    let Found { list, complete, next } = found;
    let group = list.windows(least).find(|group| {
        count.within.is_none_or(|within| group[least - 1].start.since(group[0].start) <= within)
    });
    let Some(group) = group else {
        why.say(|| {
            let within = count.within.map_or(String::new(), |within| format!(" within {within}"));
            Note::plain(format!("it occurs {} times, not {least} times{within}", list.len()))
        });
        let complete = match list.first() {
            _ if complete == EVER => EVER,
            Some(first) => complete.min(first.start),
            None => complete,
        };
        return Found { list: Vec::new(), complete, next };
    };
    // Any one before the last of the group would change it.
    let sure = complete > group[least - 1].start
        && list.iter().take_while(|one| one.start <= group[least - 1].start).all(|one| one.settled);
    let one = if least == 1 {
        group[0].clone()
    } else {
        joined(group.iter().take(MOST_PARTS).map(|one| (n, one.clone())).collect())
    };
    let end = group[least - 1].end.max(one.end);
    let one = Occurrence {
        settled: sure,
        end,
        value: if least == 1 { one.value } else { Some(least as f64) },
        ..one
    };
    let complete = if sure { EVER } else { complete.min(one.start) };
    Found { list: vec![one], complete, next }
}

/// Several occurrences as one, in the order of time.
pub(crate) fn joined(mut parts: Vec<(usize, Occurrence)>) -> Occurrence {
    parts.sort_by_key(|(_, one)| (one.start, one.track));
    if let [(_, one)] = &parts[..] {
        return one.clone();
    }
    let first = parts.first().map(|(_, one)| one.clone());
    let same = |of: fn(&Occurrence) -> Option<usize>| {
        let value = first.as_ref().and_then(of);
        if parts.iter().all(|(_, one)| of(one) == value) { value } else { None }
    };
    let turn = same(|one| one.turn);
    let tokens = turn.and_then(|_| {
        let start =
            parts.iter().filter_map(|(_, one)| one.tokens.as_ref().map(|tokens| tokens.start)).min()?;
        let end = parts.iter().filter_map(|(_, one)| one.tokens.as_ref().map(|tokens| tokens.end)).max()?;
        Some(start..end)
    });
    Occurrence {
        start: parts.iter().map(|(_, one)| one.start).min().unwrap_or(MediaTime::ZERO),
        end: parts.iter().map(|(_, one)| one.end).max().unwrap_or(MediaTime::ZERO),
        track: same(|one| one.track),
        turn,
        tokens,
        value: None,
        settled: parts.iter().all(|(_, one)| one.settled),
        running: parts.iter().any(|(_, one)| one.running),
        parts,
    }
}

/// The whole call as an occurrence.
fn call(scene: &Scene<'_>, settled: bool) -> Occurrence {
    Occurrence {
        start: MediaTime::ZERO,
        end: scene.end,
        track: None,
        turn: None,
        tokens: None,
        value: None,
        settled,
        running: false,
        parts: Vec::new(),
    }
}
