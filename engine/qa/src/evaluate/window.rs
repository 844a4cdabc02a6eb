//! Where something is looked for: beside an anchor, at the beginning, at the end.

use antiphon_media_frame::{MediaTime, Span};

use super::combine::follows;
use super::{EVER, Found, NEVER, Occurrence, Scene, Why};
use crate::explain::Note;
use crate::model::{Card, Condition, Extent, Kind, Reach, Side, Which, Window};
use crate::result::Searched;
use crate::wire::whole;

/// Stretches that a missed rule tells of, at most.
const MOST_SEARCHED: usize = 20;

/// Keeps the occurrences that lie in the window.
pub(super) fn keep(
    window: &Window,
    inner: Found,
    found: &[Found],
    scene: &Scene<'_>,
    why: &mut Why<'_>,
) -> Found {
    match window {
        Window::Anchored { side, anchor, which, reach } => {
            anchored(*side, &found[*anchor], *which, *reach, inner, scene, why)
        }
        Window::First(extent) => at_edge(*extent, true, inner, scene, why),
        Window::Last(extent) => at_edge(*extent, false, inner, scene, why),
    }
}

fn at_edge(extent: Extent, first: bool, inner: Found, scene: &Scene<'_>, why: &mut Why<'_>) -> Found {
    let (start, end) = edge(extent, first, scene);
    let sure = first && !matches!(extent, Extent::Share(_)) || scene.call.finished;
    let Found { list, complete, next } = inner;
    let total = scene.ordinal_at(EVER);
    let within = |one: &Occurrence| match (extent, first) {
        (Extent::Turns(n), true) => scene.ordinal(one) < n,
        (Extent::Turns(n), false) => scene.ordinal(one) + n >= total,
        _ => one.start >= start && one.start < end,
    };
    let mut kept = Vec::new();
    for mut one in list {
        if within(&one) {
            let placed = !matches!(extent, Extent::Turns(_)) || scene.known.words >= one.start;
            one.settled &= sure && placed;
            kept.push(one);
        } else {
            why.say(|| Note::at(&one, "it occurs here, outside the window".to_owned()));
        }
    }
    let complete = match (sure, first) {
        _ if scene.call.finished => EVER,
        (true, true) => {
            let closes = match extent {
                Extent::Turns(n) => scene.turn_begins(n),
                _ => Some(end),
            };
            if closes.is_some_and(|closes| complete >= closes) { EVER } else { complete }
        }
        _ => NEVER,
    };
    let next = match extent {
        Extent::Time(_) if first && complete != EVER => Some(next.map_or(end, |next| next.min(end))),
        _ => next,
    };
    Found { list: kept, complete, next }
}

/// The instants between which a part of the call lies; of turns, their beginnings.
fn edge(extent: Extent, first: bool, scene: &Scene<'_>) -> (MediaTime, MediaTime) {
    let end = scene.end;
    match (extent, first) {
        (Extent::Time(span), true) => (NEVER, MediaTime::ZERO + span),
        (Extent::Time(span), false) => (end - span, EVER),
        (Extent::Share(share), true) => (NEVER, MediaTime::from_nanos((end.nanos() as f64 * share) as i64)),
        (Extent::Share(share), false) => {
            (MediaTime::from_nanos((end.nanos() as f64 * (1.0 - share)) as i64), EVER)
        }
        (Extent::Turns(n), true) => (NEVER, begins(scene, n).unwrap_or(EVER)),
        (Extent::Turns(n), false) => {
            let total = scene.ordinal_at(EVER);
            (begins(scene, total.saturating_sub(n)).unwrap_or(NEVER), EVER)
        }
    }
}

/// When the turn of this number begins, as far as is known.
fn begins(scene: &Scene<'_>, ordinal: u32) -> Option<MediaTime> {
    let n = scene.ordinals.partition_point(|before| *before <= ordinal).checked_sub(1)?;
    (scene.ordinals[n] == ordinal).then(|| scene.call.turns.get(n).map(|turn| turn.said.start))?
}

fn anchored(
    side: Side,
    anchors: &Found,
    which: Which,
    reach: Reach,
    inner: Found,
    scene: &Scene<'_>,
    why: &mut Why<'_>,
) -> Found {
    let finished = scene.call.finished;
    let (chosen, sure): (Vec<&Occurrence>, bool) = match which {
        Which::Any => (anchors.list.iter().collect(), true),
        Which::First => match anchors.first() {
            Some((first, sure)) => (vec![first], sure),
            None => (Vec::new(), false),
        },
        Which::Last => (anchors.list.last().into_iter().collect(), finished),
    };
    if chosen.is_empty() {
        why.say(|| Note::plain("the window has no anchor: what it stands beside never occurs".to_owned()));
    }
    let Found { list, complete: inner_complete, next } = inner;
    let mut kept = Vec::new();
    for mut one in list {
        let mut inside = false;
        let mut settled = false;
        for anchor in &chosen {
            if !beside(side, reach, anchor, &one, scene) {
                continue;
            }
            inside = true;
            let counted = reach.turns.is_none() || scene.known.words >= one.start.max(anchor.start);
            settled |= anchor.settled && counted;
        }
        if inside {
            one.settled &= settled && sure;
            kept.push(one);
        } else {
            why.say(|| {
                let far =
                    chosen.iter().map(|anchor| scene.ordinal(&one).abs_diff(scene.ordinal(anchor))).min();
                let far = far.map_or(String::new(), |far| format!(", {far} turns from the anchor"));
                Note::at(&one, format!("it occurs here, outside the window{far}"))
            });
        }
    }
    let before = |at: MediaTime| decided_before(side, reach, at, scene);
    let (complete, mut closes) = match (which, chosen.first()) {
        _ if finished => (EVER, None),
        (Which::Any, _) => (inner_complete.min(before(anchors.complete)), None),
        (Which::First, Some(anchor)) if sure => {
            let closes = closes(side, reach, anchor, scene);
            let closed = closes.is_some_and(|closes| inner_complete >= closes);
            (if closed { EVER } else { inner_complete }, closes)
        }
        (Which::First, _) => (inner_complete.min(before(anchors.complete)), None),
        (Which::Last, _) => (NEVER, None),
    };
    if complete == EVER {
        closes = None;
    }
    let next = [next, closes, anchors.next].into_iter().flatten().min();
    Found { list: kept, complete, next }
}

/// Whether an occurrence lies on that side of the anchor, within reach.
fn beside(side: Side, reach: Reach, anchor: &Occurrence, one: &Occurrence, scene: &Scene<'_>) -> bool {
    let (after, before) = (follows(anchor, one), follows(one, anchor));
    let gap = if after && !before { one.start.since(anchor.end) } else { anchor.start.since(one.end) };
    let placed = match side {
        Side::After => after,
        Side::Before => before,
        Side::Around => after || before,
    };
    placed
        && reach.time.is_none_or(|most| gap <= most)
        && reach.turns.is_none_or(|most| scene.ordinal(anchor).abs_diff(scene.ordinal(one)) <= most)
}

/// Up to where it is decided what lies in a window, if all anchors before `anchors` are known.
fn decided_before(side: Side, reach: Reach, anchors: MediaTime, scene: &Scene<'_>) -> MediaTime {
    if anchors == EVER {
        return EVER;
    }
    let known = anchors.min(scene.known.words);
    match side {
        Side::After => known,
        // An anchor that is still to come reaches back.
        Side::Before | Side::Around => {
            let by_time = reach.time.map(|time| anchors - time - Span::from_nanos(1));
            let by_turns = reach.turns.map(|turns| {
                let ordinal = scene.ordinal_at(known).saturating_sub(turns.saturating_add(1));
                if ordinal == 0 { NEVER } else { begins(scene, ordinal).unwrap_or(NEVER) }
            });
            by_time.into_iter().chain(by_turns).max().unwrap_or(NEVER)
        }
    }
}

/// After this instant nothing begins that lies beside the one anchor.
fn closes(side: Side, reach: Reach, anchor: &Occurrence, scene: &Scene<'_>) -> Option<MediaTime> {
    if side == Side::Before {
        return Some(anchor.end);
    }
    let by_time = reach.time.map(|time| anchor.end + time + Span::from_nanos(1));
    let by_turns = reach
        .turns
        .and_then(|turns| scene.turn_begins(scene.ordinal(anchor).saturating_add(turns).saturating_add(1)));
    by_time.into_iter().chain(by_turns).min()
}

/// Where a condition was looked for.
pub(crate) fn searched(card: &Card, n: usize, found: &[Found], scene: &Scene<'_>) -> Vec<Searched> {
    let mut stretches = Vec::new();
    collect(&card.conditions, n, found, scene, &mut stretches);
    if stretches.is_empty() {
        stretches.push((MediaTime::ZERO, scene.end));
    }
    stretches.sort_unstable();
    stretches.dedup();
    stretches.truncate(MOST_SEARCHED);
    let turns = |start: MediaTime, end: MediaTime| {
        scene.call.turns.iter().filter(|turn| turn.said.start >= start && turn.said.start < end).count()
    };
    stretches
        .into_iter()
        .map(|(start, end)| Searched { start: whole(start), end: whole(end), turns: turns(start, end) })
        .collect()
}

fn collect(
    conditions: &[Condition],
    n: usize,
    found: &[Found],
    scene: &Scene<'_>,
    out: &mut Vec<(MediaTime, MediaTime)>,
) {
    let condition = &conditions[n];
    let call = |start: MediaTime, end: MediaTime| {
        (start.max(MediaTime::ZERO), end.min(scene.end).max(start.max(MediaTime::ZERO)))
    };
    match &condition.window {
        Some(Window::First(extent)) => {
            let (start, end) = edge(*extent, true, scene);
            out.push(call(start, end));
        }
        Some(Window::Last(extent)) => {
            let (start, end) = edge(*extent, false, scene);
            out.push(call(start, end));
        }
        Some(Window::Anchored { side, anchor, which, reach }) => {
            let list = &found[*anchor].list;
            let chosen: Vec<&Occurrence> = match which {
                Which::Any => list.iter().collect(),
                Which::First => list.first().into_iter().collect(),
                Which::Last => list.last().into_iter().collect(),
            };
            for anchor in chosen.into_iter().take(MOST_SEARCHED) {
                let (start, end) = around(*side, *reach, anchor, scene);
                out.push(call(start, end));
            }
        }
        None => {
            if let Kind::Any(_) | Kind::All { .. } | Kind::Logic(_) = &condition.kind {
                for part in condition.kind.parts() {
                    collect(conditions, part, found, scene, out);
                }
            }
        }
    }
}

fn around(side: Side, reach: Reach, anchor: &Occurrence, scene: &Scene<'_>) -> (MediaTime, MediaTime) {
    let ordinal = scene.ordinal(anchor);
    let last = reach.turns.map(|turns| {
        let after = ordinal.saturating_add(turns);
        let end = (0..scene.call.turns.len())
            .filter(|n| scene.ordinals[*n] <= after && scene.ordinals[*n] >= ordinal);
        end.map(|n| scene.call.turns[n].said.end).max().unwrap_or(anchor.end)
    });
    let first = reach.turns.and_then(|turns| begins(scene, ordinal.saturating_sub(turns)));
    let end = [last, reach.time.map(|time| anchor.end + time)].into_iter().flatten().min().unwrap_or(EVER);
    let start =
        [first, reach.time.map(|time| anchor.start - time)].into_iter().flatten().max().unwrap_or(NEVER);
    match side {
        Side::After => (anchor.start, end),
        Side::Before => (start, anchor.end),
        Side::Around => (start, end),
    }
}
