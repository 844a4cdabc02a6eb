//! Where each condition occurs in a conversation, and what is sure of that while it goes on.
//!
//! A [`Found`] tells two things: occurrences, each of which is settled (nothing that is still to come takes it back) or
//! not; and the instant before which no further occurrence will begin. A conversation that has ended is settled whole. So
//! one evaluation serves both the recording and the call in progress, and they cannot disagree.

mod combine;
mod voice;
mod window;
mod words;

use std::ops::Range;

use antiphon_engine_measure::{Conversation, Measures, Role, Turn};
use antiphon_media_frame::{MediaTime, Span};

use crate::Known;
use crate::explain::Note;
use crate::logic::{Logic, Tri};
use crate::model::{Condition, Kind};
use crate::scan::Scanned;
use crate::similar::Meaning;

pub(crate) use combine::joined;
pub(crate) use window::searched;

/// Before and after every instant there is.
pub(crate) const EVER: MediaTime = MediaTime::from_nanos(i64::MAX);
pub(crate) const NEVER: MediaTime = MediaTime::from_nanos(i64::MIN);

/// A conversation with what is known beforehand of each of its turns.
pub(crate) struct Scene<'a> {
    pub(crate) call: &'a Conversation,
    pub(crate) measures: &'a Measures,
    pub(crate) scanned: Vec<&'a Scanned>,
    pub(crate) meaning: Option<&'a dyn Meaning>,
    /// Nothing is added before these instants; [`EVER`] once the conversation has ended.
    pub(crate) known: Known,
    /// How far it has been heard.
    pub(crate) end: MediaTime,
    /// By turn: how many turns that are no backchannels come before it. One more than there are turns.
    ordinals: Vec<u32>,
}

/// One place where a condition holds.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence {
    pub(crate) start: MediaTime,
    pub(crate) end: MediaTime,
    pub(crate) track: Option<usize>,
    pub(crate) turn: Option<usize>,
    /// Of the turn; all of it where `None`.
    pub(crate) tokens: Option<Range<usize>>,
    pub(crate) value: Option<f64>,
    pub(crate) settled: bool,
    /// Whether its end will move.
    pub(crate) running: bool,
    /// What it is made of: conditions and their occurrences.
    pub(crate) parts: Vec<(usize, Occurrence)>,
}

/// Conditions and what fulfils them.
pub(crate) type Parts = Vec<(usize, Occurrence)>;

/// What is found of one condition.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// By start.
    pub(crate) list: Vec<Occurrence>,
    /// No other occurrence will begin before this.
    pub(crate) complete: MediaTime,
    /// When time alone may change something.
    pub(crate) next: Option<MediaTime>,
}

/// Remarks for an explanation; none are made where nobody asks.
pub(crate) struct Why<'a>(pub(crate) Option<&'a mut Vec<Note>>);

impl Why<'_> {
    pub(crate) fn say(&mut self, note: impl FnOnce() -> Note) {
        if let Some(notes) = &mut self.0
            && notes.len() < Note::MOST
        {
            notes.push(note());
        }
    }

    pub(crate) const fn asked(&self) -> bool {
        self.0.is_some()
    }
}

impl<'a> Scene<'a> {
    pub(crate) fn new(
        call: &'a Conversation,
        measures: &'a Measures,
        scanned: Vec<&'a Scanned>,
        meaning: Option<&'a dyn Meaning>,
        known: Known,
    ) -> Self {
        let known = if call.finished { Known { voice: EVER, words: EVER } } else { known };
        let last = call.turns.iter().map(|turn| turn.said.end).max().unwrap_or(MediaTime::ZERO);
        let heard = MediaTime::ZERO + call.heard;
        let mut quiet = vec![false; call.turns.len()];
        for backchannel in &measures.backchannels {
            if let Some(quiet) = quiet.get_mut(backchannel.turn) {
                *quiet = true;
            }
        }
        let mut ordinals = Vec::with_capacity(quiet.len() + 1);
        let mut ordinal = 0;
        for quiet in quiet {
            ordinals.push(ordinal);
            ordinal += u32::from(!quiet);
        }
        ordinals.push(ordinal);
        Self { call, measures, scanned, meaning, known, end: heard.max(last), ordinals }
    }

    pub(crate) fn turn(&self, occurrence: &Occurrence) -> Option<&'a Turn> {
        self.call.turns.get(occurrence.turn?)
    }

    pub(crate) fn track_role(&self, track: Option<usize>) -> Option<Role> {
        self.call.tracks.get(track?).map(|track| track.role)
    }

    /// Whether a turn is a role's; anybody's where `None`.
    pub(crate) fn is(&self, turn: &Turn, role: Option<Role>) -> bool {
        role.is_none_or(|role| self.call.role(turn) == role)
    }

    /// How many turns come before an instant.
    pub(crate) fn ordinal_at(&self, at: MediaTime) -> u32 {
        self.ordinals[self.call.turns.partition_point(|turn| turn.said.start < at)]
    }

    pub(crate) fn ordinal(&self, occurrence: &Occurrence) -> u32 {
        match occurrence.turn.and_then(|turn| self.ordinals.get(turn)) {
            Some(ordinal) => *ordinal,
            None => self.ordinal_at(occurrence.start),
        }
    }

    /// When the turn begins before which there are `ordinal` others, if nothing can come before it any more.
    pub(crate) fn turn_begins(&self, ordinal: u32) -> Option<MediaTime> {
        // Backchannels before it have the same number: the last of them is it.
        let n = self.ordinals.partition_point(|before| *before <= ordinal).checked_sub(1)?;
        let turn = self.call.turns.get(n)?;
        (self.ordinals[n] == ordinal && turn.said.start <= self.known.words).then_some(turn.said.start)
    }

    /// Whether the voice that sounds on the track at an instant has ended for good, and all its words are known.
    pub(crate) fn is_over(&self, track: usize, at: MediaTime) -> bool {
        const PAUSE: Span = Measures::SHORTEST_SILENCE;
        /// How far words' times may lie from the sound they were heard in.
        const OFF: Span = Span::from_millis(300);
        if self.call.finished {
            return true;
        }
        let mut end = at;
        let mut extend = |start: MediaTime, stop: MediaTime| {
            if start <= end + PAUSE && stop > end {
                end = stop;
            }
        };
        match self.call.tracks.get(track) {
            Some(track) if !track.speech.is_empty() => {
                let from = track.speech.partition_point(|stretch| stretch.end < at);
                track.speech[from..].iter().for_each(|stretch| extend(stretch.start, stretch.end));
            }
            _ => {
                let turns = self.call.turns.iter().filter(|turn| turn.track == track && turn.said.end >= at);
                turns.for_each(|turn| extend(turn.said.start, turn.said.end));
            }
        }
        end + PAUSE <= self.known.voice && end + OFF <= self.known.words
    }

    /// A turn, or tokens of it, as an occurrence. Words are never revised, so it is settled.
    pub(crate) fn said(&self, n: usize, tokens: Option<Range<usize>>, value: Option<f64>) -> Occurrence {
        let turn = &self.call.turns[n];
        let (start, end) = match &tokens {
            Some(tokens) => self.scanned[n].said.heard(turn, tokens),
            None => (turn.said.start, turn.said.end),
        };
        Occurrence {
            start,
            end,
            track: Some(turn.track),
            turn: Some(n),
            tokens,
            value,
            settled: true,
            running: false,
            parts: Vec::new(),
        }
    }
}

impl Found {
    /// Nothing, and nothing is excluded before `complete`.
    pub(crate) const fn nothing(complete: MediaTime) -> Self {
        Self { list: Vec::new(), complete, next: None }
    }

    pub(crate) fn of(mut list: Vec<Occurrence>, complete: MediaTime) -> Self {
        list.sort_by_key(|one| (one.start, one.track, one.tokens.as_ref().map(|tokens| tokens.start)));
        Self { list, complete, next: None }
    }

    /// Whether it occurs at all.
    pub(crate) fn holds(&self) -> Tri {
        if self.list.iter().any(|one| one.settled) {
            Tri::Yes
        } else if self.list.is_empty() && self.complete == EVER {
            Tri::No
        } else {
            Tri::Open
        }
    }

    /// The first occurrence, and whether none can come before it.
    pub(crate) fn first(&self) -> Option<(&Occurrence, bool)> {
        let first = self.list.first()?;
        Some((first, first.settled && self.complete > first.start))
    }
}

/// Finds every condition, in their order; each may look at those before it.
pub(crate) fn evaluate(
    conditions: &[Condition],
    scene: &Scene<'_>,
    notes: &mut Option<Vec<Vec<Note>>>,
) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::with_capacity(conditions.len());
    for (n, condition) in conditions.iter().enumerate() {
        let mut why = Why(notes.as_mut().and_then(|notes| notes.get_mut(n)));
        let mut here = match &condition.kind {
            Kind::Any(parts) => combine::any(parts, &found),
            Kind::All { parts, together } => combine::all(parts, *together, &found, scene, &mut why),
            Kind::None { parts, together } => {
                combine::none(parts, *together, condition.speaker, &found, scene)
            }
            Kind::Logic(logic) => combine::logic(logic, &found, scene),
            Kind::Sequence { steps, turns, time } => {
                combine::sequence(steps, *turns, *time, &found, scene, &mut why)
            }
            kind if kind.reads_words() => words::find(condition, scene, &mut why),
            _ => voice::find(condition, scene, &mut why),
        };
        if let Some(window) = &condition.window {
            here = window::keep(window, here, &found, scene, &mut why);
        }
        if let Some(count) = condition.count {
            here = combine::count(count, n, here, &mut why);
        }
        found.push(here);
    }
    found
}

/// What an expression shows for itself: occurrences of what it names without `!`, and whether nothing can change them.
pub(crate) fn evidence(logic: &Logic<usize>, found: &[Found]) -> Option<(Parts, bool)> {
    match logic {
        Logic::Is(n) => {
            let (first, sure) = found[*n].first()?;
            Some((vec![(*n, first.clone())], sure))
        }
        Logic::Not(_) => Some((Vec::new(), true)),
        Logic::All(parts) => {
            let mut all = Vec::new();
            let mut sure = true;
            for part in parts {
                let (list, here) = evidence(part, found)?;
                all.extend(list);
                sure &= here;
            }
            Some((all, sure))
        }
        Logic::Any(parts) => {
            let start =
                |list: &[(usize, Occurrence)]| list.iter().map(|(_, one)| one.start).min().unwrap_or(NEVER);
            let holds = |n: &usize| found[*n].holds();
            let mut best: Option<(usize, Parts, bool)> = None;
            for (n, part) in parts.iter().enumerate().filter(|(_, part)| part.value(&holds) == Tri::Yes) {
                let Some((list, sure)) = evidence(part, found) else { continue };
                if best.as_ref().is_none_or(|(_, best, _)| start(&list) < start(best)) {
                    best = Some((n, list, sure));
                }
            }
            let (chosen, list, mut sure) = best?;
            let at = start(&list);
            for (n, part) in parts.iter().enumerate().filter(|(n, _)| *n != chosen) {
                let value = part.value(&holds);
                // What may come to hold begins after the chosen one: neither what is there nor what comes is earlier.
                sure &= value == Tri::No
                    || part.things().into_iter().all(|thing| {
                        let found = &found[*thing];
                        let later = |one: &Occurrence| one.start > at || (one.start == at && n > chosen);
                        found.complete > at && (value == Tri::Yes || found.list.first().is_none_or(later))
                    });
            }
            Some((list, sure))
        }
    }
}
