//! The rules of inspection on a call in progress. It hears the event streams of the call and of those that are joined with
//! it, and nothing else, so that whoever reads those streams later comes to the same findings.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_engine_call::{Event, EventBody, Pii, QaAlert, Side};
use antiphon_engine_measure::{Conversation, Hold, Measures, Role, Stretch, Track, Turn};
use antiphon_engine_qa::{ActionKind, ActionMode, Hit, HitKind, Inspector, Judgement, Known, Scorecard};
use antiphon_media_frame::{CallId, MediaTime, Span};
use antiphon_models_speech::{Hypothesis, Language, Utterance};

use super::job::{CardName, cards};
use crate::assist::Desk;
use crate::config::QaSection;
use crate::sidecar::HIDDEN;
use crate::switch::Mode;

/// What a call's variables, and what its flow finds out, may tell rules of it.
const KNOWN: [&str; 3] = [AGENT, "queue", "product"];
/// Who serves the customer.
pub(crate) const AGENT: &str = "agent";
/// The day of the call, for dates such as tomorrow.
const DATE: &str = "date";
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

/// One conversation under inspection: a call, and whoever is joined with it.
pub(crate) struct Live {
    conversation: Conversation,
    inspectors: Vec<Inspector>,
    /// By track: since when there are words to come.
    voices: Vec<Voice>,
    /// Whoever is joined with the call, by the track of their far side.
    partners: Vec<Partner>,
    holds: Vec<Held>,
    /// How far it has been told: events of several calls come nearly in order.
    told: MediaTime,
    /// When it wants to be asked again.
    next: Option<MediaTime>,
    hang_up: bool,
    /// Whether there is somebody to be called in.
    supervised: bool,
    /// What the first rule that calls somebody in wants of him.
    call_in: Option<Mode>,
    called_in: bool,
    /// Those who serve the customer are helped.
    desk: Option<Arc<Desk>>,
    /// Nothing was left out.
    whole: bool,
}

/// What came of a call that is over.
pub(crate) struct Finished {
    pub(crate) conversation: Conversation,
    /// One a scorecard.
    pub(crate) judgements: Vec<Judgement>,
    /// Whether the conversation is all that was said.
    pub(crate) whole: bool,
}

/// A call that is joined with the one under inspection.
#[derive(Clone, Copy)]
struct Partner {
    call: CallId,
    track: usize,
    /// What our clock shows when its clock shows zero, milliseconds.
    clock_ms: i64,
}

/// Somebody is on hold.
#[derive(Clone, Copy)]
struct Held {
    /// The partner; `None` for the call itself.
    on: Option<CallId>,
    since: MediaTime,
    by: Role,
}

#[derive(Clone, Copy, Default)]
struct Voice {
    /// The first words of it that are not final.
    since: Option<MediaTime>,
    /// When it fell silent; its last words may still come.
    ended: Option<MediaTime>,
}

/// What was said in a call, by all of its events; `roles` are those of its far side and of ours.
pub(crate) fn conversation(events: &[Event], language: Language, roles: [Role; 2]) -> Conversation {
    let id = events.first().map(|event| event.call.to_string()).unwrap_or_default();
    let mut live = Live::new(&[], id, language);
    for event in events {
        live.note(event);
    }
    live.finish(events.last().map_or(MediaTime::ZERO, |event| event.at));
    for (track, role) in live.conversation.tracks.iter_mut().zip(roles) {
        track.role = role;
    }
    live.conversation
}

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
            voices: vec![Voice::default(); 2],
            partners: Vec::new(),
            holds: Vec::new(),
            told: MediaTime::ZERO,
            next: None,
            hang_up: false,
            supervised: false,
            call_in: None,
            called_in: false,
            desk: None,
            whole: true,
        }
    }

    /// From now on rules may call a supervisor in.
    pub(crate) fn supervise(&mut self) {
        self.supervised = true;
    }

    /// From now on those who serve the customer are helped.
    pub(crate) fn assist(&mut self, desk: Arc<Desk>) {
        self.desk = Some(desk);
    }

    /// Some of what was said was not understood, or comes too late.
    pub(crate) fn miss(&mut self) {
        self.whole = false;
    }

    /// What the dialogue began with.
    pub(crate) fn know_variables(&mut self, variables: &BTreeMap<String, String>) {
        for name in KNOWN {
            if let Some(value) = variables.get(name).filter(|value| !value.is_empty()) {
                self.know(name, value);
            }
        }
        if let Some(today) = variables.get("today") {
            self.know(DATE, today);
        }
    }

    /// What is known of the call besides; the first stays.
    pub(crate) fn know(&mut self, name: &str, value: &str) {
        self.conversation.metadata.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Takes an event of the call; tells what follows from it.
    pub(crate) fn note(&mut self, event: &Event) -> Vec<QaAlert> {
        let at = whole(event.at);
        match &event.body {
            EventBody::SpeechStarted { side } => self.begin_voice(index(*side), at),
            EventBody::PromptStarted { .. } => self.begin_voice(index(Side::Machine), at),
            EventBody::SpeechEnded { side } => self.end_voice(index(*side), at),
            EventBody::PromptStopped { .. } => {
                // Its words were told just before.
                self.voices[index(Side::Machine)] = Voice::default();
                return self.judge(at);
            }
            EventBody::SpeechPartial { side, .. } => self.hear_partial(at, index(*side), 0, &event.body),
            EventBody::SpeechFinal { side, .. } => {
                self.hear(at, index(*side), 0, &event.body);
                return self.judge(at);
            }
            EventBody::Slot { name, value } => {
                let value = value.expose();
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if let Some(desk) = &self.desk {
                    desk.know(at, name, &value);
                }
                if KNOWN.contains(&name.as_str()) {
                    self.know(name, &value);
                }
            }
            EventBody::HoldStarted { by_far_side } => {
                let by = if *by_far_side { Role::Customer } else { Role::Agent };
                self.holds.push(Held { on: None, since: at, by });
                return self.judge(at);
            }
            EventBody::HoldEnded { .. } => {
                self.end_hold(None, at);
                return self.judge(at);
            }
            _ => {}
        }
        Vec::new()
    }

    /// A call is joined with this one, whose clock shows zero when ours shows `clock_ms`: its far side has a track of its
    /// own from here on. Beyond [`Conversation::TRACKS`] it is not heard.
    pub(crate) fn join(&mut self, call: CallId, clock_ms: i64) {
        let _ = self.partner(call, clock_ms);
    }

    /// Takes an event of a call that is joined with this one. What we play to it is no part of the conversation.
    pub(crate) fn note_partner(&mut self, clock_ms: i64, event: &Event) -> Vec<QaAlert> {
        let Some(Partner { call, track, .. }) = self.partner(event.call, clock_ms) else { return Vec::new() };
        let at = whole(event.at).shifted(clock_ms.saturating_mul(1_000_000));
        match &event.body {
            EventBody::SpeechStarted { side: Side::Caller } => self.begin_voice(track, at),
            EventBody::SpeechEnded { side: Side::Caller } => self.end_voice(track, at),
            EventBody::SpeechPartial { side: Side::Caller, .. } => {
                self.hear_partial(at, track, clock_ms, &event.body);
            }
            EventBody::SpeechFinal { side: Side::Caller, .. } => {
                self.hear(at, track, clock_ms, &event.body);
                return self.judge(at);
            }
            EventBody::HoldStarted { .. } => {
                self.holds.push(Held { on: Some(call), since: at, by: Role::Agent });
                return self.judge(at);
            }
            EventBody::HoldEnded { .. } => {
                self.end_hold(Some(call), at);
                return self.judge(at);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Nothing more comes of a partner.
    pub(crate) fn part(&mut self, call: CallId, now: MediaTime) {
        if let Some(partner) = self.partners.iter().find(|partner| partner.call == call) {
            self.voices[partner.track] = Voice::default();
        }
        self.end_hold(Some(call), now);
    }

    /// The finding as it is told on the stream of a call that is joined with this one: on its clock, and from its side.
    pub(crate) fn seen_by(&self, call: CallId, alert: &QaAlert, lead: CallId) -> Option<QaAlert> {
        let partner = self.partners.iter().find(|partner| partner.call == call)?;
        let shift = |seconds: f64| ((seconds * 1_000.0).round() - partner.clock_ms as f64) / 1_000.0;
        Some(QaAlert {
            side: alert.track.map(|track| side(track, partner.track)),
            start: shift(alert.start),
            end: shift(alert.end),
            conversation: Some(lead),
            ..alert.clone()
        })
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: MediaTime) -> Vec<QaAlert> {
        if let Some(desk) = self.desk.as_ref().filter(|desk| desk.next().is_some_and(|next| next <= now)) {
            desk.tick(now);
        }
        if self.next.is_none_or(|next| now < next) { Vec::new() } else { self.judge(now) }
    }

    /// When it wants to be told that time has passed.
    pub(crate) fn next(&self) -> Option<MediaTime> {
        let stale = self.desk.as_ref().and_then(|desk| desk.next());
        self.next.into_iter().chain(stale).min()
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
    pub(crate) fn finish(&mut self, now: MediaTime) -> (Vec<QaAlert>, Vec<EventBody>) {
        self.conversation.finished = true;
        self.voices.fill(Voice::default());
        let found = self.judge(now);
        if let Some(desk) = &self.desk {
            desk.finish(now, &self.conversation, &Measures::of(&self.conversation));
        }
        (self.hang_up, self.call_in) = (false, None);
        let judged = self.inspectors.iter().filter_map(|inspector| {
            let judged = inspector.judgement()?;
            Some(EventBody::QaJudged {
                scorecard: judged.scorecard.clone(),
                version: judged.version.clone(),
                score: judged.score,
                pass: judged.pass,
            })
        });
        let judged = judged.collect();
        (found, judged)
    }

    /// What was heard of a call that has finished, and how it does by every scorecard.
    pub(crate) fn into_judged(self) -> Finished {
        let judgements = self.inspectors.iter().filter_map(|inspector| inspector.judgement().cloned());
        Finished { judgements: judgements.collect(), conversation: self.conversation, whole: self.whole }
    }

    fn begin_voice(&mut self, track: usize, at: MediaTime) {
        self.voices[track] = Voice { since: Some((at - LEAD).max(MediaTime::ZERO)), ended: None };
    }

    /// A voice whose words never come must not keep a silence from being told.
    fn end_voice(&mut self, track: usize, at: MediaTime) {
        self.voices[track].ended = Some(at);
        // Without rules nothing waits for time to pass.
        if self.inspectors.is_empty() {
            return;
        }
        let over = at + WORDS + Span::from_millis(1);
        self.next = Some(self.next.map_or(over, |next| next.min(over)));
    }

    fn hear_partial(&self, at: MediaTime, track: usize, clock_ms: i64, body: &EventBody) {
        if let (Some(desk), EventBody::SpeechPartial { text, revision, start, .. }) = (&self.desk, body) {
            let start = instant(*start).shifted(clock_ms.saturating_mul(1_000_000));
            let said = Hypothesis { revision: *revision, text: text.expose().clone(), start };
            desk.hear_partial(at, track, self.role(track), &said);
        }
    }

    fn role(&self, track: usize) -> Role {
        self.conversation.tracks.get(track).map_or(Role::Other, |track| track.role)
    }

    /// Takes final words, told on a clock that shows zero when ours shows `clock_ms`.
    fn hear(&mut self, at: MediaTime, track: usize, clock_ms: i64, body: &EventBody) {
        let EventBody::SpeechFinal { text, words, start, end, confidence, language, redactions, .. } = body
        else {
            return;
        };
        let shift = clock_ms.saturating_mul(1_000_000);
        let mut words = words.expose().clone();
        for word in &mut words {
            (word.start, word.end) = (whole(word.start).shifted(shift), whole(word.end).shifted(shift));
        }
        for redaction in redactions {
            self.hide(track, instant(redaction.start).shifted(shift), instant(redaction.end).shifted(shift));
        }
        let said = Utterance {
            text: text.expose().clone(),
            words,
            start: instant(*start).shifted(shift),
            end: instant(*end).shifted(shift),
            confidence: *confidence,
            language: language.clone(),
        };
        if let Some(desk) = &self.desk {
            desk.hear(at, track, self.role(track), &said);
        }
        // Its last word may end after it.
        let end = said.words.iter().map(|word| word.end).fold(said.end, MediaTime::max);
        let voice = &mut self.voices[track];
        // Whoever goes on speaking says more; whoever has ended has said it all.
        *voice = match voice.ended {
            None if voice.since.is_some() => Voice { since: Some(end), ended: None },
            _ => Voice::default(),
        };
        let turns = &mut self.conversation.turns;
        if turns.len() == MOST_TURNS {
            self.whole = false;
        } else {
            let place = turns.partition_point(|known| (known.said.start, known.track) <= (said.start, track));
            turns.insert(place, Turn { track, said, tone: None });
        }
    }

    /// Hides what turned out to be half of a number only when the other half was said.
    fn hide(&mut self, track: usize, start: MediaTime, end: MediaTime) {
        let turns = self.conversation.turns.iter_mut();
        for turn in turns.filter(|turn| turn.track == track && turn.said.end > start && turn.said.start < end)
        {
            let said = &mut turn.said;
            let hidden = said.words.iter_mut().filter(|word| word.end > start && word.start < end);
            let count = hidden.map(|word| HIDDEN.clone_into(&mut word.text)).count();
            if count > 0 {
                let words: Vec<_> = said.words.iter().map(|word| word.text.as_str()).collect();
                said.text = words.join(" ");
            } else if said.words.is_empty() {
                HIDDEN.clone_into(&mut said.text);
            }
        }
    }

    /// The partner that this call is, new or known; `None` where there are too many.
    fn partner(&mut self, call: CallId, clock_ms: i64) -> Option<Partner> {
        if let Some(known) = self.partners.iter().find(|partner| partner.call == call) {
            return Some(*known);
        }
        let track = self.conversation.tracks.len();
        if track == Conversation::TRACKS {
            self.whole = false;
            return None;
        }
        self.conversation.tracks.push(Track { role: Role::Agent, speech: Vec::new() });
        self.voices.push(Voice::default());
        let partner = Partner { call, track, clock_ms };
        self.partners.push(partner);
        Some(partner)
    }

    fn end_hold(&mut self, on: Option<CallId>, at: MediaTime) {
        let Some(place) = self.holds.iter().position(|held| held.on == on) else { return };
        let Held { since, by, .. } = self.holds.swap_remove(place);
        if since < at {
            let holds = &mut self.conversation.holds;
            let place = holds.partition_point(|known| known.at.start <= since);
            holds.insert(place, Hold { at: Stretch { start: since, end: at }, by: Some(by) });
        }
    }

    fn judge(&mut self, now: MediaTime) -> Vec<QaAlert> {
        self.told = self.told.max(whole(now));
        let now = self.told;
        for voice in &mut self.voices {
            if voice.ended.is_some_and(|ended| now.since(ended) > WORDS) {
                *voice = Voice::default();
            }
        }
        let last = self.conversation.turns.iter().map(|turn| turn.said.end).max();
        let heard = last.map_or(now, |last| last.max(now));
        self.conversation.heard = heard.since(MediaTime::ZERO);
        self.next = None;
        if self.inspectors.is_empty() {
            return Vec::new();
        }
        // While somebody is on hold nobody is blamed for a silence, and how long it lasts is not known.
        let pending = self.voices.iter().filter_map(|voice| voice.since);
        let known = pending.chain(self.holds.iter().map(|held| held.since)).min().unwrap_or(now).min(now);
        let known = Known { voice: known, words: known };
        let measures = Measures::of(&self.conversation);
        let mut told = Vec::new();
        for inspector in &mut self.inspectors {
            let hits = inspector.hear(&self.conversation, &measures, known);
            if let (Some(desk), Some(judgement)) = (&self.desk, inspector.judgement()) {
                desk.judge(now, &hits, judgement);
            }
            for hit in hits {
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
                told.push(alert);
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
        track: hit.track,
        side: hit.track.map(|track| side(track, index(Side::Caller))),
        start: hit.start.millis() as f64 / 1_000.0,
        end: hit.end.millis() as f64 / 1_000.0,
        quote: Pii::new(hit.quote.expose().clone()),
        points: hit.points,
        fatal: hit.fatal,
        alert: hit.alert.clone(),
        action,
        taken,
        conversation: None,
    }
}

/// On which side of a call a track of the conversation is heard, where `own` is the track of its far side: whoever else
/// speaks, the far side hears them from ours.
fn side(track: usize, own: usize) -> Side {
    if track == own { Side::Caller } else { Side::Machine }
}

fn index(side: Side) -> usize {
    match side {
        Side::Caller => 0,
        Side::Machine => 1,
    }
}

/// A time as it is written down. What is judged now is judged in whole milliseconds, as it will be when it is read again.
fn whole(at: MediaTime) -> MediaTime {
    MediaTime::from_millis(at.millis())
}

/// A time of the event stream, which is told in whole milliseconds.
fn instant(seconds: f64) -> MediaTime {
    MediaTime::from_millis((seconds * 1_000.0).round() as i64)
}
