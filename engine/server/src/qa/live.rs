//! The rules of inspection on a call in progress. It hears the call's own event stream and nothing else, so that whoever
//! reads that stream later comes to the same findings.

use std::sync::Arc;

use antiphon_engine_call::{Event, EventBody, Pii, QaAlert, Side};
use antiphon_engine_measure::{Conversation, Hold, Measures, Role, Stretch, Track, Turn};
use antiphon_engine_qa::{ActionKind, ActionMode, Hit, HitKind, Inspector, Judgement, Known, Scorecard};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance};

use super::job::{CardName, cards};
use crate::config::QaSection;
use crate::switch::Mode;

/// Words may begin this much before the event that tells of a voice.
const LEAD: Span = Span::from_millis(600);
/// For the words of a voice that has ended; longer, and it said none.
const WORDS: Span = Span::from_secs(4);
/// Turns of one call that are judged; a call has fewer.
const MOST_TURNS: usize = 20_000;

/// Reads the scorecards by which calls in progress are judged.
pub(crate) fn scorecards(config: &QaSection) -> anyhow::Result<Arc<[Arc<Scorecard>]>> {
    if config.live.is_empty() {
        return Ok(Arc::new([]));
    }
    let names: Vec<_> = config.live.iter().cloned().map(CardName::Id).collect();
    let refuse = |error: String| anyhow::anyhow!("qa.live: {error}");
    let cards = cards(&names, config).map_err(refuse)?;
    let read = cards.iter().map(|card| card.read().map(Arc::new).map_err(refuse));
    read.collect::<anyhow::Result<Vec<_>>>().map(Into::into)
}

/// One call under inspection.
pub(crate) struct Live {
    conversation: Conversation,
    inspectors: Vec<Inspector>,
    /// By track: since when there are words to come.
    voices: [Voice; 2],
    held_since: Option<(MediaTime, bool)>,
    /// When it wants to be asked again.
    next: Option<MediaTime>,
    hang_up: bool,
    /// Whether there is somebody to be called in.
    supervised: bool,
    /// What the first rule that calls somebody in wants of him.
    call_in: Option<Mode>,
    called_in: bool,
}

#[derive(Clone, Copy, Default)]
struct Voice {
    /// The first words of it that are not final.
    since: Option<MediaTime>,
    /// When it fell silent; its last words may still come.
    ended: Option<MediaTime>,
}

/// What was said in a call, by all of its events.
pub(crate) fn conversation(events: &[Event], language: Language) -> Conversation {
    let id = events.first().map(|event| event.call.to_string()).unwrap_or_default();
    let mut live = Live::new(&[], id, language);
    for event in events {
        live.note(event);
    }
    live.finish(events.last().map_or(MediaTime::ZERO, |event| event.at));
    live.conversation
}

const SIDES: [Side; 2] = [Side::Caller, Side::Machine];

impl Live {
    pub(crate) fn new(cards: &[Arc<Scorecard>], id: String, language: Language) -> Self {
        let track = |role| Track { role, speech: Vec::new() };
        Self {
            conversation: Conversation {
                id,
                language,
                tracks: vec![track(Role::Customer), track(Role::Agent)],
                turns: Vec::new(),
                holds: Vec::new(),
                heard: Span::ZERO,
                finished: false,
                metadata: Default::default(),
            },
            inspectors: cards.iter().map(|card| Inspector::new(Arc::clone(card))).collect(),
            voices: [Voice::default(); 2],
            held_since: None,
            next: None,
            hang_up: false,
            supervised: false,
            call_in: None,
            called_in: false,
        }
    }

    /// From now on rules may call a supervisor in.
    pub(crate) fn supervise(&mut self) {
        self.supervised = true;
    }

    /// What is known of the call besides; the first stays.
    pub(crate) fn know(&mut self, name: &str, value: &str) {
        self.conversation.metadata.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Takes an event of the call; tells what follows from it.
    pub(crate) fn note(&mut self, event: &Event) -> Vec<EventBody> {
        let at = event.at;
        match &event.body {
            EventBody::SpeechStarted { side } => {
                self.voices[index(*side)] =
                    Voice { since: Some((at - LEAD).max(MediaTime::ZERO)), ended: None };
                return Vec::new();
            }
            EventBody::PromptStarted { .. } => {
                let since = Some((at - LEAD).max(MediaTime::ZERO));
                self.voices[index(Side::Machine)] = Voice { since, ended: None };
                return Vec::new();
            }
            EventBody::SpeechEnded { side } => {
                self.voices[index(*side)].ended = Some(at);
                return Vec::new();
            }
            EventBody::PromptStopped { .. } => {
                // Its words were told just before.
                self.voices[index(Side::Machine)] = Voice::default();
            }
            EventBody::SpeechFinal { side, text, words, start, end, confidence, language, .. } => {
                let said = Utterance {
                    text: text.expose().clone(),
                    words: words.expose().clone(),
                    start: instant(*start),
                    end: instant(*end),
                    confidence: *confidence,
                    language: language.clone(),
                };
                let voice = &mut self.voices[index(*side)];
                // Whoever goes on speaking says more; whoever has ended has said it all.
                *voice = match voice.ended {
                    None if voice.since.is_some() => Voice { since: Some(said.end), ended: None },
                    _ => Voice::default(),
                };
                if self.conversation.turns.len() < MOST_TURNS {
                    let turn = Turn { track: index(*side), said, tone: None };
                    let turns = &mut self.conversation.turns;
                    let place = turns.partition_point(|known| {
                        (known.said.start, known.track) <= (turn.said.start, turn.track)
                    });
                    turns.insert(place, turn);
                }
            }
            EventBody::HoldStarted { by_far_side } => self.held_since = Some((at, *by_far_side)),
            EventBody::HoldEnded { .. } => self.end_hold(at),
            EventBody::CallEnded { .. } => return Vec::new(),
            _ => return Vec::new(),
        }
        self.judge(at)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: MediaTime) -> Vec<EventBody> {
        if self.next.is_none_or(|next| now < next) { Vec::new() } else { self.judge(now) }
    }

    /// When it wants to be told that time has passed.
    pub(crate) fn next(&self) -> Option<MediaTime> {
        self.next
    }

    /// Whether a rule wants the call ended; told once.
    pub(crate) fn hangs_up(&mut self) -> bool {
        std::mem::take(&mut self.hang_up)
    }

    /// How a supervisor is to be let into the call; told once, of the first rule that calls one in.
    pub(crate) fn calls_in(&mut self) -> Option<Mode> {
        let mode = self.call_in.take()?;
        self.called_in = true;
        Some(mode)
    }

    /// The call is over: the last findings, and how it does.
    pub(crate) fn finish(&mut self, now: MediaTime) -> Vec<EventBody> {
        self.conversation.finished = true;
        self.voices = [Voice::default(); 2];
        let mut told = self.judge(now);
        (self.hang_up, self.call_in) = (false, None);
        told.extend(self.inspectors.iter().filter_map(|inspector| {
            let judged = inspector.judgement()?;
            Some(EventBody::QaJudged {
                scorecard: judged.scorecard.clone(),
                version: judged.version.clone(),
                score: judged.score,
                pass: judged.pass,
            })
        }));
        told
    }

    /// What was heard of a call that has finished, and how it does by every scorecard.
    pub(crate) fn into_judged(self) -> (Conversation, Vec<Judgement>) {
        let judged = self.inspectors.iter().filter_map(|inspector| inspector.judgement().cloned()).collect();
        (self.conversation, judged)
    }

    fn end_hold(&mut self, at: MediaTime) {
        let Some((start, by_far_side)) = self.held_since.take().filter(|(start, _)| *start < at) else {
            return;
        };
        let by = Some(if by_far_side { Role::Customer } else { Role::Agent });
        self.conversation.holds.push(Hold { at: Stretch { start, end: at }, by });
    }

    fn judge(&mut self, now: MediaTime) -> Vec<EventBody> {
        for voice in &mut self.voices {
            if voice.ended.is_some_and(|ended| now.since(ended) > WORDS) {
                *voice = Voice::default();
            }
        }
        let last = self.conversation.turns.iter().map(|turn| turn.said.end).max();
        let heard = last.map_or(now, |last| last.max(now));
        self.conversation.heard = heard.since(MediaTime::ZERO);
        // While it is on hold nobody is blamed for a silence, and how long it lasts is not known.
        let pending = self.voices.iter().filter_map(|voice| voice.since);
        let known = pending.chain(self.held_since.map(|(since, _)| since)).min().unwrap_or(now).min(now);
        let known = Known { voice: known, words: known };
        let measures = Measures::of(&self.conversation);
        let mut told = Vec::new();
        self.next = None;
        for inspector in &mut self.inspectors {
            for hit in inspector.hear(&self.conversation, &measures, known) {
                let takes = hit.action.filter(|action| action.mode == ActionMode::Take);
                let mode = match takes.map(|action| action.what) {
                    Some(ActionKind::Listen) => Some(Mode::Listen),
                    Some(ActionKind::Whisper) => Some(Mode::Whisper),
                    Some(ActionKind::Barge) => Some(Mode::Barge),
                    Some(ActionKind::HangUp) | None => None,
                };
                let hang_up = takes.is_some() && mode.is_none();
                // One supervisor is enough.
                let call_in = mode.filter(|_| self.supervised && !self.called_in && self.call_in.is_none());
                let alert = alert(&hit, hang_up || call_in.is_some());
                self.hang_up |= hang_up;
                self.call_in = self.call_in.or(call_in);
                told.push(EventBody::QaAlert(Box::new(alert)));
            }
            self.next = [self.next, inspector.next()].into_iter().flatten().min();
        }
        // A voice whose words never come must not keep a silence from being told.
        let waiting =
            self.voices.iter().filter_map(|voice| Some(voice.ended? + WORDS + Span::from_millis(1)));
        self.next = waiting.chain(self.next).min();
        // Asked again at once it would know no more.
        self.next = self.next.map(|next| next.max(now + Span::from_millis(20)));
        told
    }
}

fn alert(hit: &Hit, taken: bool) -> QaAlert {
    let action = hit.action.map(|action| match action.what {
        ActionKind::Listen => "listen",
        ActionKind::Whisper => "whisper",
        ActionKind::Barge => "barge",
        ActionKind::HangUp => "hang_up",
    });
    QaAlert {
        scorecard: hit.scorecard.clone(),
        version: hit.version.clone(),
        rule: hit.rule.clone(),
        hit: hit.id.clone(),
        kind: match hit.kind {
            HitKind::Found => "found",
            HitKind::Missed => "missed",
            HitKind::Met => "met",
        },
        side: hit.track.and_then(|track| SIDES.get(track).copied()),
        start: hit.start.millis() as f64 / 1_000.0,
        end: hit.end.millis() as f64 / 1_000.0,
        quote: Pii::new(hit.quote.expose().clone()),
        points: hit.points,
        fatal: hit.fatal,
        alert: hit.alert.clone(),
        action,
        taken,
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::Caller => 0,
        Side::Machine => 1,
    }
}

/// A time of the event stream, which is told in whole milliseconds.
fn instant(seconds: f64) -> MediaTime {
    MediaTime::from_millis((seconds * 1_000.0).round() as i64)
}
