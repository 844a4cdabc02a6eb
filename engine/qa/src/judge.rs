//! From what is found to hits, points and a score.

use std::collections::HashSet;

use antiphon_engine_measure::Role;
use antiphon_media_frame::{MediaTime, Pii, Span};

use crate::evaluate::{EVER, Found, Occurrence, Scene, evidence, searched};
use crate::logic::{Logic, Tri};
use crate::model::{Asks, Card, Exception, Per, Reach, Rule};
use crate::result::{
    Clip, GroupOutcome, Hit, HitKind, Judgement, Part, ReviewState, RuleOutcome, RuleState, Searched,
};
use crate::said::heard_words;
use crate::wire::whole;

/// Parts that a hit tells of, at most.
const MOST_PARTS: usize = 50;
/// Between the quotes of a finding of several parts.
const BETWEEN: &str = " … ";

/// Judges what is found; of a conversation that goes on, what is settled. Also when time alone may change something.
pub(crate) fn judge(card: &Card, scene: &Scene<'_>, found: &[Found]) -> (Judgement, Option<MediaTime>) {
    let rules = card.rules.iter().map(|rule| outcome(card, rule, scene, found)).collect();
    let groups = card.groups.iter().map(|group| GroupOutcome {
        group: group.id.clone(),
        name: group.name.clone().unwrap_or_else(|| group.id.clone()),
        points: 0.0,
        cap: group.cap,
        weight: group.weight,
    });
    let mut judgement = Judgement {
        conversation: scene.call.id.clone(),
        scorecard: card.id.clone(),
        version: card.version.clone(),
        finished: scene.call.finished,
        score: card.scoring.base,
        pass: false,
        fatal: false,
        scoring: card.scoring,
        groups: groups.collect(),
        rules,
        reviews: Vec::new(),
    };
    judgement.tally();
    let next = if scene.call.finished {
        None
    } else {
        found
            .iter()
            .filter_map(|found| found.next)
            .filter(|next| *next > scene.known.voice.min(scene.known.words))
            .min()
    };
    (judgement, next)
}

fn outcome(card: &Card, rule: &Rule, scene: &Scene<'_>, found: &[Found]) -> RuleOutcome {
    let holds = |n: &usize| found[*n].holds();
    let when = rule.when.as_ref().map_or(Tri::Yes, |when| when.value(&holds));
    let asked = rule.asks.logic().value(&holds);
    let mut hits = if when == Tri::Yes { hits(card, rule, scene, found, asked) } else { Vec::new() };
    hits.sort_by(|a, b| (a.start, a.track, &a.id).cmp(&(b.start, b.track, &b.id)));
    let mut names = HashSet::new();
    for hit in &mut hits {
        // Two findings of one rule at one place: the second has a number.
        let mut number = 1;
        let name = hit.id.clone();
        while !names.insert(hit.id.clone()) {
            number += 1;
            hit.id = format!("{name}.{number}");
        }
    }
    let state = if !hits.is_empty() {
        RuleState::Hit
    } else if when == Tri::No {
        RuleState::NotApplicable
    } else if scene.call.finished || asked == settled_as(&rule.asks) {
        RuleState::Kept
    } else {
        RuleState::Open
    };
    RuleOutcome {
        rule: rule.id.clone(),
        name: rule.name.clone(),
        group: rule.group.clone(),
        state,
        points: 0.0,
        cap: rule.cap,
        weight: rule.weight,
        hits,
    }
}

/// The value of what a rule asks for that keeps it for good.
const fn settled_as(asks: &Asks) -> Tri {
    match asks {
        Asks::Must(_) => Tri::Yes,
        Asks::Never(_) | Asks::Expr(_) => Tri::No,
    }
}

fn hits(card: &Card, rule: &Rule, scene: &Scene<'_>, found: &[Found], asked: Tri) -> Vec<Hit> {
    let settled = |occurrence: &Occurrence| occurrence.settled;
    match &rule.asks {
        Asks::Must(logic) => match asked {
            Tri::No => missed(card, rule, logic, scene, found).into_iter().collect(),
            Tri::Yes if rule.points > 0.0 => {
                let Some((parts, true)) = evidence(logic, found) else { return Vec::new() };
                let one = crate::evaluate::joined(parts);
                hit(card, rule, HitKind::Met, &one, "met", scene, found).into_iter().collect()
            }
            _ => Vec::new(),
        },
        Asks::Never(logic) if logic.alternatives().is_some() && rule.per != Per::Call => {
            let things = logic.alternatives().unwrap_or_default();
            let mut turns = HashSet::new();
            let mut places = HashSet::new();
            let mut hits = Vec::new();
            for thing in things {
                for one in &found[*thing].list {
                    let first = |turns: &mut HashSet<usize>| one.turn.is_none_or(|turn| turns.insert(turn));
                    if !settled(one) || (rule.per == Per::Turn && !first(&mut turns)) {
                        continue;
                    }
                    // The same words under two names are one hit.
                    if !places.insert((one.start, one.end, one.track, one.tokens.clone())) {
                        continue;
                    }
                    hits.extend(hit(card, rule, HitKind::Found, one, &place(one), scene, found));
                }
            }
            hits
        }
        Asks::Never(logic) | Asks::Expr(logic) => {
            if asked != Tri::Yes {
                return Vec::new();
            }
            let Some((parts, true)) = evidence(logic, found) else { return Vec::new() };
            let one = if parts.is_empty() {
                if !scene.call.finished {
                    return Vec::new();
                }
                let end = scene.end;
                Occurrence {
                    start: MediaTime::ZERO,
                    end,
                    track: None,
                    turn: None,
                    tokens: None,
                    value: None,
                    settled: true,
                    running: false,
                    parts: Vec::new(),
                }
            } else {
                crate::evaluate::joined(parts)
            };
            hit(card, rule, HitKind::Found, &one, "call", scene, found).into_iter().collect()
        }
    }
}

/// Names the place of an occurrence: track, milliseconds, first token.
fn place(one: &Occurrence) -> String {
    let track = one.track.map_or("-".to_owned(), |track| track.to_string());
    let token = one.tokens.as_ref().map_or(String::new(), |tokens| format!(".{}", tokens.start));
    format!("{track}.{}{token}", one.start.millis())
}

/// A hit, if nothing that is still to come can take it back.
fn hit(
    card: &Card,
    rule: &Rule,
    kind: HitKind,
    one: &Occurrence,
    place: &str,
    scene: &Scene<'_>,
    found: &[Found],
) -> Option<Hit> {
    if kind == HitKind::Met {
        return Some(written(card, rule, kind, one, place, scene, None));
    }
    match excused(rule, Some(one), scene, found) {
        Excuse::Open => None,
        Excuse::No => Some(written(card, rule, kind, one, place, scene, None)),
        Excuse::Yes(by) => Some(written(card, rule, kind, one, place, scene, Some(by))),
    }
}

fn written(
    card: &Card,
    rule: &Rule,
    kind: HitKind,
    one: &Occurrence,
    place: &str,
    scene: &Scene<'_>,
    excused: Option<String>,
) -> Hit {
    let mut leaves = Vec::new();
    flatten(None, one, &mut leaves);
    let quotes: Vec<&str> =
        leaves.iter().map(|(_, leaf)| quote(scene, leaf)).filter(|quote| !quote.is_empty()).collect();
    let together = if one.tokens.is_some() || leaves.len() == 1 {
        quote(scene, one).to_owned()
    } else {
        quotes.join(BETWEEN)
    };
    let words = if one.tokens.is_some() || leaves.len() == 1 {
        words(scene, one)
    } else {
        leaves.iter().flat_map(|(_, leaf)| words(scene, leaf)).collect()
    };
    let parts = if leaves.len() > 1 {
        leaves
            .iter()
            .take(MOST_PARTS)
            .map(|(condition, leaf)| Part {
                condition: condition.and_then(|n| card.conditions[n].name.clone()),
                role: scene.track_role(leaf.track),
                track: leaf.track,
                start: whole(leaf.start),
                end: whole(leaf.end),
                quote: Pii::new(quote(scene, leaf).to_owned()),
            })
            .collect()
    } else {
        Vec::new()
    };
    Hit {
        id: format!("{}.{place}", rule.id),
        rule: rule.id.clone(),
        scorecard: card.id.clone(),
        version: card.version.clone(),
        kind,
        role: scene.track_role(one.track),
        track: one.track,
        start: whole(one.start),
        end: whole(one.end),
        ongoing: one.running && !scene.call.finished,
        quote: Pii::new(together),
        words,
        value: one.value.map(|value| (value * 1e4).round() / 1e4),
        parts,
        searched: Vec::new(),
        points: rule.points,
        fatal: rule.fatal && kind != HitKind::Met,
        excused,
        review: ReviewState::Open,
        clip: clip(card, one.start, one.end, scene),
        alert: rule.alert.clone(),
        action: rule.action,
    }
}

fn missed(card: &Card, rule: &Rule, logic: &Logic<usize>, scene: &Scene<'_>, found: &[Found]) -> Option<Hit> {
    let excused = match excused(rule, None, scene, found) {
        Excuse::Open => return None,
        Excuse::No => None,
        Excuse::Yes(by) => Some(by),
    };
    let mut stretches: Vec<Searched> = Vec::new();
    for thing in logic.things() {
        for stretch in searched(card, *thing, found, scene) {
            if !stretches.contains(&stretch) {
                stretches.push(stretch);
            }
        }
    }
    // A turn that nobody has heard yet may begin before the last one in the window ends.
    if stretches.iter().any(|stretch| stretch.end > scene.known.words) {
        return None;
    }
    let start = stretches.iter().map(|stretch| stretch.start).min().unwrap_or(MediaTime::ZERO);
    let end = stretches.iter().map(|stretch| stretch.end).max().unwrap_or(scene.end);
    let roles: Vec<Option<Role>> =
        logic.things().into_iter().map(|thing| card.conditions[*thing].speaker).collect();
    let role =
        roles.first().copied().flatten().filter(|role| roles.iter().all(|other| *other == Some(*role)));
    let track = role.and_then(|role| {
        let mut of = scene.call.tracks.iter().enumerate().filter(|(_, track)| track.role == role);
        let first = of.next().map(|(n, _)| n);
        if of.next().is_none() { first } else { None }
    });
    Some(Hit {
        id: format!("{}.missed", rule.id),
        rule: rule.id.clone(),
        scorecard: card.id.clone(),
        version: card.version.clone(),
        kind: HitKind::Missed,
        role,
        track,
        start,
        end,
        ongoing: false,
        quote: Pii::new(String::new()),
        words: Vec::new(),
        value: None,
        parts: Vec::new(),
        searched: stretches,
        // Points that are to be earned are not lost too.
        points: rule.points.min(0.0),
        fatal: rule.fatal,
        excused,
        review: ReviewState::Open,
        clip: clip(card, start, end, scene),
        alert: rule.alert.clone(),
        action: rule.action,
    })
}

fn clip(card: &Card, start: MediaTime, end: MediaTime, scene: &Scene<'_>) -> Clip {
    let (before, after) = (start - card.margin, end + card.margin);
    // While a call goes on its end is not known, so that only a finished one bounds a clip.
    let after = if scene.call.finished { after.min(scene.end.max(end)) } else { after };
    Clip { start: whole(before.max(MediaTime::ZERO.min(start))), end: whole(after) }
}

/// The parts that have no parts, with the condition each fulfils.
fn flatten<'o>(
    condition: Option<usize>,
    one: &'o Occurrence,
    out: &mut Vec<(Option<usize>, &'o Occurrence)>,
) {
    if one.parts.is_empty() {
        out.push((condition, one));
    }
    for (n, part) in &one.parts {
        flatten(Some(*n), part, out);
    }
}

fn quote<'a>(scene: &Scene<'a>, one: &Occurrence) -> &'a str {
    let (Some(n), Some(turn)) = (one.turn, scene.turn(one)) else { return "" };
    match &one.tokens {
        Some(tokens) => scene.scanned[n].said.quote(&turn.said, tokens),
        None => &turn.said.text,
    }
}

fn words(scene: &Scene<'_>, one: &Occurrence) -> Vec<crate::result::HeardWord> {
    let (Some(n), Some(turn)) = (one.turn, scene.turn(one)) else { return Vec::new() };
    match &one.tokens {
        Some(tokens) => heard_words(scene.scanned[n].said.words(&turn.said, tokens)),
        None => heard_words(&turn.said.words),
    }
}

enum Excuse {
    No,
    Open,
    Yes(String),
}

/// Whether an exception excuses a hit; of what was missed, only those for the whole call can.
fn excused(rule: &Rule, one: Option<&Occurrence>, scene: &Scene<'_>, found: &[Found]) -> Excuse {
    let mut open = false;
    for exception in &rule.except {
        let holds = match (exception.near, one) {
            (Some(reach), Some(one)) => near(exception, reach, one, scene, found),
            _ => exception.logic.value(&|n| found[*n].holds()),
        };
        match holds {
            Tri::Yes => return Excuse::Yes(exception.text.clone()),
            Tri::Open => open = true,
            Tri::No => {}
        }
    }
    if open { Excuse::Open } else { Excuse::No }
}

/// Whether an exception occurs near a hit.
fn near(exception: &Exception, reach: Reach, one: &Occurrence, scene: &Scene<'_>, found: &[Found]) -> Tri {
    let ordinal = scene.ordinal(one);
    let mut known = true;
    for thing in exception.logic.alternatives().unwrap_or_default() {
        for other in &found[*thing].list {
            let gap = other.start.since(one.end).max(one.start.since(other.end));
            let inside = reach.time.is_none_or(|most| gap <= most)
                && reach.turns.is_none_or(|most| scene.ordinal(other).abs_diff(ordinal) <= most);
            if inside {
                let counted = reach.turns.is_none() || scene.known.words >= one.start.max(other.start);
                if other.settled && counted {
                    return Tri::Yes;
                }
                known = false;
            }
        }
        let last = [
            reach.time.map(|time| one.end + time + Span::from_nanos(1)),
            reach.turns.and_then(|turns| scene.turn_begins(ordinal.saturating_add(turns).saturating_add(1))),
        ];
        let complete = found[*thing].complete;
        known &= complete == EVER || last.into_iter().flatten().min().is_some_and(|last| complete >= last);
    }
    if known { Tri::No } else { Tri::Open }
}
