//! Conditions about how something is said, or that nothing is: what is measured.

use antiphon_engine_measure::{Measures, Role, SilenceCause};
use antiphon_media_frame::{MediaTime, Span};

use super::{EVER, Found, NEVER, Occurrence, Scene, Why};
use crate::explain::Note;
use crate::model::{Condition, Fits, Kind, Length, Range, Unit};
use crate::wire::role_name;

/// How far words' times may lie from the sound they were heard in.
const OFF: Span = Span::from_millis(300);

pub(super) fn find(condition: &Condition, scene: &Scene<'_>, why: &mut Why<'_>) -> Found {
    match &condition.kind {
        Kind::Silence { least, owed, within, hold } => silence(*least, *owed, *within, *hold, scene, why),
        Kind::Interrupt { by, of, speaking, overlap, backchannels, took_over } => {
            let asked = Interrupting {
                by: *by,
                of: *of,
                speaking: *speaking,
                overlap: *overlap,
                took_over: *took_over,
            };
            interruptions(asked, *backchannels, scene, why)
        }
        Kind::Rate { range, unit, least, whole } => {
            let asked = Rate { range: *range, unit: *unit, least: *least as usize };
            if *whole {
                whole_rate(&asked, condition.speaker, scene, why)
            } else {
                rates(&asked, condition.speaker, scene, why)
            }
        }
        Kind::Emotion { least, sustained } => emotion(*least, *sustained, condition.speaker, scene, why),
        Kind::Repeat { within, similarity } => repeats(*within, *similarity, condition.speaker, scene, why),
        Kind::Duration { of, longer, shorter } => {
            lengths(*of, *longer, *shorter, condition.speaker, scene, why)
        }
        Kind::Metadata(keys) => metadata(keys, scene, why),
        _ => Found::nothing(EVER),
    }
}

fn stretch(start: MediaTime, end: MediaTime, settled: bool) -> Occurrence {
    Occurrence {
        start,
        end,
        track: None,
        turn: None,
        tokens: None,
        value: Some(end.since(start).secs_f64()),
        settled,
        running: false,
        parts: Vec::new(),
    }
}

fn silence(
    least: Span,
    owed: Option<Role>,
    within: Option<Role>,
    hold: bool,
    scene: &Scene<'_>,
    why: &mut Why<'_>,
) -> Found {
    let finished = scene.call.finished;
    let known = scene.known;
    let mut list = Vec::new();
    let mut complete = known.voice.min(known.words);
    let mut next: Option<MediaTime> = None;
    for silence in &scene.measures.silences {
        let (start, end) = (silence.at.start, silence.at.end);
        let long = end.since(start);
        let running = !finished && end >= known.voice.min(scene.end);
        let here = |text: String| Note { turn: None, start: Some(start), text };
        if silence.cause == SilenceCause::Hold && !hold {
            if long >= least {
                why.say(|| here(format!("{:.3} s of silence, but on hold", long.secs_f64())));
            }
            continue;
        }
        // Who owes the word is known when a silence begins; who breaks it is not.
        let blamed = owed.is_none_or(|owed| silence.owed == Some(owed));
        let broken = finished || !running && end + OFF <= known.words;
        let between = within.is_none_or(|within| !broken || silence.cause == SilenceCause::Within(within));
        if !(blamed && between) {
            if long >= least {
                let owes = silence.owed.map_or("nobody", role_name);
                why.say(|| here(format!("{:.3} s of silence, but {owes} owed the word", long.secs_f64())));
            }
            continue;
        }
        let settled = finished
            || start + least <= known.voice
                && start <= known.words
                && long >= least
                && (within.is_none() || broken);
        if !settled && (running || long >= least) {
            complete = complete.min(start);
            if within.is_none() && long < least {
                next = Some(start + least);
            }
        }
        if long < least {
            why.say(|| {
                here(format!("{:.3} s of silence, less than {:.3} s", long.secs_f64(), least.secs_f64()))
            });
            continue;
        }
        list.push(Occurrence { running, ..stretch(start, end, settled) });
    }
    if !finished && scene.measures.silences.last().is_none_or(|last| last.at.end < known.voice.min(scene.end))
    {
        // A silence shorter than those that are measured may be under way.
        let under_way = known.voice - Measures::SHORTEST_SILENCE;
        complete = complete.min(under_way);
        next = Some(next.map_or(under_way + least, |next| next.min(under_way + least)));
    }
    let mut found = Found::of(list, complete);
    found.next = next;
    found
}

/// What is asked of an interruption.
#[derive(Clone, Copy)]
struct Interrupting {
    by: Option<Role>,
    of: Option<Role>,
    speaking: Span,
    overlap: Span,
    took_over: bool,
}

fn interruptions(asked: Interrupting, backchannels: bool, scene: &Scene<'_>, why: &mut Why<'_>) -> Found {
    let known = scene.known;
    let mut list = Vec::new();
    let mut complete = known.words.min(known.voice);
    let role = |track: usize| scene.track_role(Some(track));
    for one in &scene.measures.interruptions {
        let settled = scene.is_over(one.by, one.overlap.end);
        if !settled {
            complete = complete.min(one.overlap.start);
        }
        let long = one.both;
        let fits = asked.by.is_none_or(|by| role(one.by) == Some(by))
            && asked.of.is_none_or(|of| role(one.of) == Some(of));
        let refused = if !fits {
            Some(format!("{} interrupts {} here", name(role(one.by)), name(role(one.of))))
        } else if long < asked.overlap {
            Some(format!(
                "they overlap for {:.3} s, less than {:.3} s",
                long.secs_f64(),
                asked.overlap.secs_f64()
            ))
        } else if one.speaking < asked.speaking {
            let (had, least) = (one.speaking.secs_f64(), asked.speaking.secs_f64());
            Some(format!("the other had spoken for {had:.3} s, less than {least:.3} s"))
        } else if asked.took_over && !one.took_over {
            Some("the other went on speaking".to_owned())
        } else {
            None
        };
        if let Some(refused) = refused {
            why.say(|| Note { turn: one.turn, start: Some(one.overlap.start), text: refused });
            continue;
        }
        list.push(Occurrence {
            track: Some(one.by),
            turn: one.turn,
            value: Some(one.both.secs_f64()),
            ..stretch(one.overlap.start, one.overlap.end, settled)
        });
    }
    for one in &scene.measures.backchannels {
        let Some(turn) = scene.call.turns.get(one.turn) else { continue };
        for (n, track) in scene.call.tracks.iter().enumerate().filter(|(n, _)| *n != turn.track) {
            let at = track.speech.partition_point(|stretch| stretch.end <= turn.said.start);
            let Some(other) = track.speech.get(at).filter(|other| other.start < turn.said.start) else {
                continue;
            };
            let end = other.end.min(turn.said.end);
            let long = end.since(turn.said.start);
            let fits = asked.by.is_none_or(|by| role(turn.track) == Some(by))
                && asked.of.is_none_or(|of| role(n) == Some(of))
                && long >= asked.overlap
                && turn.said.start.since(other.start) >= asked.speaking
                && !asked.took_over;
            if !fits {
                continue;
            }
            if backchannels {
                let settled = scene.is_over(turn.track, turn.said.end);
                let at = stretch(turn.said.start, end, settled);
                list.push(Occurrence { track: Some(turn.track), turn: Some(one.turn), ..at });
            } else {
                why.say(|| Note::at_turn(scene, one.turn, "only a sign of listening".to_owned()));
            }
        }
    }
    Found::of(list, complete)
}

fn name(role: Option<Role>) -> &'static str {
    role.map_or("somebody", role_name)
}

/// What is asked of a rate of speech.
struct Rate {
    range: Range,
    unit: Option<Unit>,
    least: usize,
}

fn rates(asked: &Rate, speaker: Option<Role>, scene: &Scene<'_>, why: &mut Why<'_>) -> Found {
    let mut list = Vec::new();
    for (n, _) in scene.call.turns.iter().enumerate().filter(|(_, turn)| scene.is(turn, speaker)) {
        let Some(rate) = scene.measures.rates.get(n).copied().flatten() else { continue };
        let said = &scene.scanned[n].said;
        let unit = if said.is_dense() { Unit::Characters } else { Unit::Words };
        let refused = if asked.unit.is_some_and(|asked| asked != unit) {
            Some("it is counted in the other unit".to_owned())
        } else if said.len() < asked.least {
            Some(format!("{} of them are fewer than {}", said.len(), asked.least))
        } else if !asked.range.fits(f64::from(rate)) {
            Some(format!("{rate:.1} a minute"))
        } else {
            None
        };
        match refused {
            Some(refused) => why.say(|| Note::at_turn(scene, n, refused)),
            None => list.push(scene.said(n, None, Some(f64::from(rate)))),
        }
    }
    Found::of(list, scene.known.words)
}

fn whole_rate(asked: &Rate, speaker: Option<Role>, scene: &Scene<'_>, why: &mut Why<'_>) -> Found {
    if !scene.call.finished {
        return Found::nothing(NEVER);
    }
    let mut list = Vec::new();
    for (n, of) in scene.measures.speakers.iter().enumerate() {
        let Some(rate) = of.rate.filter(|_| speaker.is_none_or(|role| role == of.role)) else { continue };
        if of.words >= asked.least && asked.range.fits(f64::from(rate)) {
            let whole = stretch(MediaTime::ZERO, scene.end, true);
            list.push(Occurrence { track: Some(n), value: Some(f64::from(rate)), ..whole });
        } else {
            why.say(|| Note::plain(format!("{}: {rate:.1} a minute over the call", role_name(of.role))));
        }
    }
    Found::of(list, EVER)
}

fn emotion(
    least: f32,
    sustained: Span,
    speaker: Option<Role>,
    scene: &Scene<'_>,
    why: &mut Why<'_>,
) -> Found {
    let mut list = Vec::new();
    let mut complete = scene.known.words;
    let mut begun: Option<MediaTime> = None;
    for track in 0..scene.call.tracks.len() {
        let mut run: Vec<(usize, f32)> = Vec::new();
        let mut told = false;
        for one in &scene.measures.agitation {
            let Some(turn) = scene.call.turns.get(one.turn).filter(|turn| turn.track == track) else {
                continue;
            };
            if !scene.is(turn, speaker) {
                continue;
            }
            if !scene.is_over(track, turn.said.end) {
                complete = complete
                    .min(run.first().map_or(turn.said.start, |(n, _)| scene.call.turns[*n].said.start));
            }
            if one.score < least {
                (run, told) = (Vec::new(), false);
                why.say(|| Note::at_turn(scene, one.turn, format!("{:.2}, less than {least}", one.score)));
                continue;
            }
            run.push((one.turn, one.score));
            let long = run.iter().fold(Span::ZERO, |sum, (n, _)| sum + scene.call.turns[*n].said.span());
            if told {
                continue;
            }
            if long < sustained {
                let (long, wanted) = (long.secs_f64(), sustained.secs_f64());
                why.say(|| {
                    Note::at_turn(
                        scene,
                        one.turn,
                        format!("{:.2}, but for {long:.3} s so far, less than {wanted:.3} s", one.score),
                    )
                });
                continue;
            }
            told = true;
            let highest = run.iter().map(|(_, score)| *score).fold(0.0, f32::max);
            let first = scene.said(run[0].0, None, None);
            let here = scene.said(one.turn, None, Some(f64::from(highest)));
            // Whether a turn interrupted is known when its voice has ended, and that moves its score.
            let settled = run.iter().all(|(n, _)| scene.is_over(track, scene.call.turns[*n].said.end));
            list.push(Occurrence { start: first.start, settled, ..here });
        }
        if !scene.call.finished
            && !told
            && let Some((first, _)) = run.first()
        {
            let start = scene.call.turns[*first].said.start;
            begun = Some(begun.map_or(start, |begun| begun.min(start)));
        }
    }
    // A run that is not long enough yet begins before what is still to come.
    if let Some(start) = begun {
        complete = complete.min(start);
    }
    Found::of(list, complete)
}

fn repeats(
    within: Option<u32>,
    similarity: f32,
    speaker: Option<Role>,
    scene: &Scene<'_>,
    why: &mut Why<'_>,
) -> Found {
    let mut list = Vec::new();
    for (n, turn) in scene.call.turns.iter().enumerate().filter(|(_, turn)| scene.is(turn, speaker)) {
        let from = scene.measures.repeats.partition_point(|one| one.turn < n);
        let of = scene.measures.repeats[from..].iter().take_while(|one| one.turn == n);
        let far = |earlier: usize| scene.ordinals[n].abs_diff(scene.ordinals[earlier.min(n)]);
        let near = |earlier: usize| within.is_none_or(|within| far(earlier) <= within);
        if let Some(one) = of.clone().find(|one| one.similarity >= similarity && near(one.earlier)) {
            let settled = within.is_none() || scene.known.words > turn.said.start;
            list.push(Occurrence { settled, ..scene.said(n, None, Some(f64::from(one.similarity))) });
            continue;
        }
        for one in of {
            why.say(|| {
                let (earlier, far, alike) = (one.earlier + 1, far(one.earlier), one.similarity);
                Note::at_turn(scene, n, format!("like turn {earlier}, {far} turns before, by {alike:.2}"))
            });
        }
    }
    Found::of(list, scene.known.words)
}

fn lengths(
    of: Length,
    longer: Option<Span>,
    shorter: Option<Span>,
    speaker: Option<Role>,
    scene: &Scene<'_>,
    why: &mut Why<'_>,
) -> Found {
    let finished = scene.call.finished;
    let known = scene.known;
    let fits =
        |long: Span| longer.is_none_or(|least| long >= least) && shorter.is_none_or(|most| long < most);
    let of_role = |track: usize| speaker.is_none_or(|role| scene.track_role(Some(track)) == Some(role));
    let mut list: Vec<Occurrence> = Vec::new();
    let mut complete = if finished { EVER } else { known.words };
    let mut next = None;
    match of {
        Length::Call => {
            let whole = stretch(MediaTime::ZERO, scene.end, finished);
            if finished {
                list.push(whole);
            } else {
                complete = NEVER;
                if let (Some(least), None) = (longer, shorter) {
                    let heard = known.voice.max(MediaTime::ZERO);
                    if heard.since(MediaTime::ZERO) >= least {
                        list.push(Occurrence { settled: true, running: true, ..whole });
                        complete = EVER;
                    } else {
                        next = Some(MediaTime::ZERO + least);
                    }
                }
            }
        }
        Length::Turn => {
            let turns = scene.call.turns.iter().enumerate().filter(|(_, turn)| scene.is(turn, speaker));
            list.extend(turns.map(|(n, turn)| scene.said(n, None, Some(turn.said.span().secs_f64()))));
        }
        Length::Hold => {
            complete = known.voice;
            for hold in scene.call.holds.iter().filter(|hold| speaker.is_none() || hold.by == speaker) {
                let running = !finished && hold.at.end >= known.voice.min(scene.end);
                let enough =
                    longer.is_some_and(|least| hold.at.start + least <= known.voice) && shorter.is_none();
                if running && !enough {
                    complete = complete.min(hold.at.start);
                    next = longer.map(|least| hold.at.start + least);
                }
                let settled = finished || !running || enough;
                list.push(Occurrence { running, ..stretch(hold.at.start, hold.at.end, settled) });
            }
        }
        Length::Response => {
            for response in scene.measures.responses.iter().filter(|response| of_role(response.by)) {
                let end = response.at + response.after;
                // A run without words may turn out to be a sign of listening.
                let settled = scene.is_over(response.by, end)
                    || response.after > Span::ZERO && end + OFF < known.words && end <= known.voice;
                if !settled {
                    complete = complete.min(response.at);
                }
                list.push(Occurrence { track: Some(response.by), ..stretch(response.at, end, settled) });
            }
            // The answer to what ended last is still to come.
            if !finished {
                let last =
                    scene.call.turns.iter().map(|turn| turn.said.end).filter(|end| *end <= known.words).max();
                complete = complete.min(last.unwrap_or(NEVER));
            }
        }
        Length::Monologue | Length::Talk if !finished => return Found::nothing(NEVER),
        Length::Monologue => {
            for (n, one) in scene.measures.speakers.iter().enumerate().filter(|(n, _)| of_role(*n)) {
                if let Some(at) = one.monologue {
                    list.push(Occurrence { track: Some(n), ..stretch(at.start, at.end, true) });
                }
            }
        }
        Length::Talk => {
            for (n, one) in scene.measures.speakers.iter().enumerate().filter(|(n, _)| of_role(*n)) {
                let whole = stretch(MediaTime::ZERO, scene.end, true);
                list.push(Occurrence { track: Some(n), value: Some(one.talk.secs_f64()), ..whole });
            }
        }
    }
    list.retain(|one| {
        let long = match of {
            Length::Talk => {
                one.value.map_or(Span::ZERO, |value| Span::from_nanos((value * 1e9).round() as u64))
            }
            _ => one.end.since(one.start),
        };
        let kept = fits(long);
        if !kept {
            why.say(|| Note::at(one, format!("it lasts {:.3} s", long.secs_f64())));
        }
        kept
    });
    let mut found = Found::of(list, complete);
    found.next = next;
    found
}

fn metadata(keys: &[(String, Fits)], scene: &Scene<'_>, why: &mut Why<'_>) -> Found {
    let mut known = true;
    for (key, fits) in keys {
        let value = scene.call.metadata.get(key);
        // What is not there yet may come while the call goes on.
        let sure = value.is_some() || scene.call.finished;
        known &= sure;
        let holds = match (fits, value) {
            (Fits::OneOf(values), Some(value)) => values.contains(value),
            (Fits::NoneOf(values), Some(value)) => !values.contains(value),
            (Fits::NoneOf(_), None) => true,
            (Fits::Matches(regex), Some(value)) => regex.is_match(value),
            (Fits::Present, Some(_)) => true,
            (Fits::OneOf(_) | Fits::Matches(_) | Fits::Present, None) => false,
        };
        if !holds {
            why.say(|| {
                let value = value.map_or("not there".to_owned(), |value| format!("“{value}”"));
                Note::plain(format!("`{key}` is {value}"))
            });
            return Found::nothing(if sure { EVER } else { NEVER });
        }
    }
    let whole = Occurrence { value: None, ..stretch(MediaTime::ZERO, MediaTime::ZERO, known) };
    Found { list: vec![whole], complete: if known { EVER } else { NEVER }, next: None }
}
