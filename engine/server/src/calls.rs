//! Every call of this process: its events, its state, and the way to end it.

mod files;
mod joined;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use antiphon_engine_call::{Cause, Event, EventBody, QaAlert};
use antiphon_engine_measure::Conversation;
use antiphon_engine_qa::Judgement;
use antiphon_media_frame::{CallId, MediaTime};
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, watch};

use crate::assist::Desk;
use crate::cdr::{CallRecord, Direction, Records};
use crate::qa::insight::Judgements;
use crate::qa::live::{AGENT, Finished, Live};
use crate::switch::Mode;
use crate::telemetry::Meter;
use crate::wording::Wording;
use files::{EventFiles, Line};
use joined::Led;
pub(crate) use joined::{Mail, Standing};

/// Events of one call kept in memory for late watchers; the file has all of them.
const HISTORY: usize = 20_000;
/// Events a slow watcher may be behind before it is told that it missed some.
const BEHIND: usize = 4_096;
/// Events of one call kept for its sidecar: more than the longest call has.
const KEPT: usize = 200_000;
/// Calls that have ended and can still be looked up.
const ENDED: usize = 1_000;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallState {
    /// Offered, not answered.
    Ringing,
    /// Media flows.
    Answered,
    /// Over.
    Ended,
}

/// What the API lists.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CallSummary {
    /// 32 hexadecimal digits.
    pub(crate) id: String,
    pub(crate) state: CallState,
    /// `inbound` or `outbound`.
    pub(crate) direction: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// RFC 3339.
    pub(crate) started_at: String,
    pub(crate) codec: Option<String>,
    /// Code of the catalogue, once the call has ended.
    pub(crate) cause: Option<&'static str>,
    pub(crate) duration_ms: Option<u64>,
    /// Where the recording lies, once it is complete.
    pub(crate) recording: Option<String>,
    /// Events so far.
    pub(crate) events: u64,
}

struct Entry {
    summary: CallSummary,
    history: VecDeque<Arc<Event>>,
    /// Made for the first watcher, since its places alone take 200 kB; gone once the call is over.
    live: Option<broadcast::Sender<Arc<Event>>>,
    end: mpsc::Sender<&'static Cause>,
    /// The name of the token that asked for the end.
    ended_by: Option<String>,
    standing: Standing,
    /// Whether somebody wants to know what is said in its conversation.
    follows: bool,
    /// The call that leads the conversation this one is part of.
    lead: Option<CallId>,
    /// What the agents of its conversation are helped with.
    desk: Option<Arc<Desk>>,
    /// What the others of a conversation tell it by; gone once the call is over.
    mail: Option<mpsc::Sender<Mail>>,
}

struct State {
    calls: BTreeMap<CallId, Entry>,
    ended: VecDeque<CallId>,
    active: usize,
}

/// Every call of this process.
pub(crate) struct Calls {
    state: Mutex<State>,
    all: broadcast::Sender<Arc<Event>>,
    files: EventFiles,
    meter: Meter,
    records: OnceLock<Arc<Records>>,
    judged: OnceLock<mpsc::Sender<Judgements>>,
    stopping: watch::Sender<bool>,
}

/// What has happened so far, and what receives the rest.
pub(crate) type Watched = (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>);

/// Ending a call over the API did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndError {
    Unknown,
    AlreadyEnded,
}

impl Calls {
    pub(crate) fn new() -> std::io::Result<Arc<Self>> {
        let state = State { calls: BTreeMap::new(), ended: VecDeque::new(), active: 0 };
        let files = EventFiles::start()?;
        Ok(Arc::new(Self {
            state: Mutex::new(state),
            all: broadcast::channel(BEHIND).0,
            files,
            meter: Meter::default(),
            records: OnceLock::new(),
            judged: OnceLock::new(),
            stopping: watch::Sender::new(false),
        }))
    }

    /// A new call; `end` receives the cause when the API ends it. Once it is answered, its events also go to `file`, from
    /// the first one on; those of a call that never is go to `refused.events.jsonl` beside it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        id: CallId,
        direction: &'static str,
        started_at: String,
        file: Option<&Path>,
        end: mpsc::Sender<&'static Cause>,
    ) -> EventLog {
        let way = if direction == "outbound" { Direction::Outbound } else { Direction::Inbound };
        let offered_at = started_at.parse().unwrap_or_else(|_| jiff::Timestamp::now());
        let record = CallRecord::new(id.to_string(), way, offered_at);
        let summary = CallSummary {
            id: id.to_string(),
            state: CallState::Ringing,
            direction: direction.to_owned(),
            from: String::new(),
            to: String::new(),
            started_at,
            codec: None,
            cause: None,
            duration_ms: None,
            recording: None,
            events: 0,
        };
        let (sender, mail) = mpsc::channel(joined::MAIL);
        let inbound = way == Direction::Inbound;
        let entry = Entry {
            summary,
            history: VecDeque::new(),
            live: None,
            end,
            ended_by: None,
            standing: Standing { epoch: Instant::now(), parent: None, user: false, inbound },
            follows: false,
            lead: None,
            desk: None,
            mail: Some(sender),
        };
        let mut state = self.lock();
        state.calls.insert(id, entry);
        state.active += 1;
        drop(state);
        let file = file.map(Path::to_owned);
        let (calls, kept) = (Arc::clone(self), Vec::new());
        EventLog {
            calls,
            id,
            seq: 0,
            file,
            to_file: false,
            kept,
            over: false,
            record,
            wording: None,
            live: None,
            tenant: String::new(),
            far_user: None,
            mail,
            partners: Vec::new(),
            led: None,
        }
    }

    /// From now on the records of calls that are over go there.
    pub(crate) fn keep_records(&self, records: Arc<Records>) {
        records.watch(self.watch_all());
        // The first stays; a server has one.
        let _ = self.records.set(records);
    }

    /// From now on what calls were judged by while they went on goes there.
    pub(crate) fn keep_judgements(&self, judged: mpsc::Sender<Judgements>) {
        // The first stays; a server has one.
        let _ = self.judged.set(judged);
    }

    /// Where records go; `None` in programs that keep none.
    pub(crate) fn records(&self) -> Option<&Arc<Records>> {
        self.records.get()
    }

    pub(crate) fn active(&self) -> usize {
        self.lock().active
    }

    /// Whether every call has been asked to end.
    pub(crate) fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until every call has been asked to end.
    pub(crate) async fn stopped(&self) {
        // The sender lives in `self`: it cannot close.
        self.stopping.subscribe().wait_for(|stopping| *stopping).await.ok();
    }

    /// What all calls have come to.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn list(&self) -> Vec<CallSummary> {
        self.lock().calls.values().map(|entry| entry.summary.clone()).collect()
    }

    pub(crate) fn find(&self, id: CallId) -> Option<CallSummary> {
        self.lock().calls.get(&id).map(|entry| entry.summary.clone())
    }

    /// A call's agents are helped from here on.
    pub(crate) fn seat(&self, id: CallId, desk: &Arc<Desk>) {
        if let Some(entry) = self.lock().calls.get_mut(&id) {
            entry.desk = Some(Arc::clone(desk));
        }
    }

    /// What the agents of a call's conversation are helped with, also for a while after it.
    pub(crate) fn desk(&self, id: CallId) -> Option<Arc<Desk>> {
        self.lock().calls.get(&id)?.desk.clone()
    }

    /// The desks of all calls that lead a conversation, by call.
    pub(crate) fn desks(&self) -> Vec<Arc<Desk>> {
        let state = self.lock();
        let own =
            state.calls.iter().filter_map(|(id, entry)| entry.desk.as_ref().filter(|desk| desk.call == *id));
        own.cloned().collect()
    }

    /// Writes a line into a file that belongs to a call.
    pub(crate) fn note(&self, path: &Path, line: &str) {
        self.files.send(Line::Note(path.to_owned(), line.to_owned()));
    }

    /// Asks a call to end.
    pub(crate) fn end(&self, id: CallId, cause: &'static Cause) -> Result<(), EndError> {
        self.end_for(None, id, cause)
    }

    /// Asks a call to end on behalf of the token of this name, which its record then tells.
    pub(crate) fn end_for(
        &self,
        token: Option<String>,
        id: CallId,
        cause: &'static Cause,
    ) -> Result<(), EndError> {
        let mut state = self.lock();
        let entry = state.calls.get_mut(&id).ok_or(EndError::Unknown)?;
        if entry.summary.state == CallState::Ended {
            return Err(EndError::AlreadyEnded);
        }
        entry.ended_by = entry.ended_by.take().or(token);
        // A full queue means that an end is under way already.
        let _ = entry.end.try_send(cause);
        Ok(())
    }

    /// Asks every call to end; for shutdown.
    pub(crate) fn end_all(&self, cause: &'static Cause) {
        self.stopping.send_replace(true);
        for entry in self.lock().calls.values().filter(|e| e.summary.state != CallState::Ended) {
            let _ = entry.end.try_send(cause);
        }
    }

    /// What has happened so far, and a receiver that goes on without a hole. `None` for an unknown call.
    pub(crate) fn watch(&self, id: CallId) -> Option<Watched> {
        let mut state = self.lock();
        let entry = state.calls.get_mut(&id)?;
        let live = if entry.summary.state == CallState::Ended {
            // Nothing follows a call's end: a receiver whose sender is gone says so.
            broadcast::channel(1).1
        } else {
            entry.live.get_or_insert_with(|| broadcast::channel(BEHIND).0).subscribe()
        };
        Some((entry.history.iter().cloned().collect(), live))
    }

    /// The events of all calls from now on.
    pub(crate) fn watch_all(&self) -> broadcast::Receiver<Arc<Event>> {
        self.all.subscribe()
    }

    fn ended_by(&self, id: CallId) -> Option<String> {
        self.lock().calls.get(&id).and_then(|entry| entry.ended_by.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No state of the table is half written: each change is one assignment or insertion.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, event: &Arc<Event>, to_file: bool) {
        self.meter.note(event);
        if to_file {
            self.files.send(Line::Event(Arc::clone(event)));
        }
        let mut state = self.lock();
        let Some(entry) = state.calls.get_mut(&event.call) else { return };
        entry.summary.note(event);
        if entry.history.len() == HISTORY {
            entry.history.pop_front();
        }
        entry.history.push_back(Arc::clone(event));
        // Nobody watching is no error.
        if let Some(live) = &entry.live {
            let _ = live.send(Arc::clone(event));
        }
        let _ = self.all.send(Arc::clone(event));
        if matches!(event.body, EventBody::CallEnded { .. }) {
            entry.live = None;
            (entry.mail, entry.lead) = (None, None);
            entry.history.retain(|event| !matches!(event.body, EventBody::SpeechPartial { .. }));
            entry.history.shrink_to_fit();
            state.active -= 1;
            state.ended.push_back(event.call);
            if state.ended.len() > ENDED
                && let Some(oldest) = state.ended.pop_front()
            {
                state.calls.remove(&oldest);
            }
        }
    }
}

impl CallSummary {
    fn note(&mut self, event: &Event) {
        self.events = event.seq;
        match &event.body {
            EventBody::CallStarted { from, to, .. } => {
                self.from.clone_from(from.expose());
                self.to.clone_from(to.expose());
            }
            EventBody::CallEarly { codec, .. } => self.codec = Some(codec.clone()),
            EventBody::CallAnswered { codec, .. } => {
                self.state = CallState::Answered;
                self.codec = Some(codec.clone());
            }
            EventBody::Recording { path, .. } => self.recording = Some(path.clone()),
            EventBody::CallEnded { cause, duration_ms } => {
                self.state = CallState::Ended;
                self.cause = Some(cause.code);
                self.duration_ms = Some(*duration_ms);
            }
            _ => {}
        }
    }
}

/// The one writer of one call's stream. Dropped without a `call.ended`, it writes one.
pub(crate) struct EventLog {
    calls: Arc<Calls>,
    id: CallId,
    seq: u64,
    /// Where the events go once the call is answered, until then.
    file: Option<PathBuf>,
    to_file: bool,
    /// Everything but interim words, for the sidecar.
    kept: Vec<Arc<Event>>,
    over: bool,
    record: CallRecord,
    wording: Option<Wording>,
    /// Judges what is told, where rules are to.
    live: Option<Live>,
    /// Whose call that is.
    tenant: String,
    /// Who of our users is at the far side.
    far_user: Option<String>,
    /// What those tell it who are in one conversation with it.
    mail: mpsc::Receiver<Mail>,
    /// Calls whose conversation this one leads, and the way to them.
    partners: Vec<(CallId, mpsc::Sender<Mail>)>,
    /// The way to the call that leads the conversation this one is part of.
    led: Option<Led>,
}

impl EventLog {
    /// From now on what is told passes through `wording`.
    pub(crate) fn word(&mut self, wording: Wording) {
        self.wording = Some(wording);
    }

    /// One of our users is at the far side.
    pub(crate) fn is_of(&mut self, user: &str) {
        self.far_user = Some(user.to_owned());
    }

    /// From now on what is told is followed as one conversation, and judged by rules of inspection.
    pub(crate) fn inspect(&mut self, live: Live, tenant: String) {
        (self.live, self.tenant) = (Some(live), tenant);
        self.calls.follow(self.id);
    }

    /// Whose call it is; empty where nobody's, or where it is not followed.
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What comes next from those who are in one conversation with the call.
    pub(crate) async fn mail(&mut self) -> Mail {
        match self.mail.recv().await {
            Some(mail) => mail,
            // Closed with the call's end.
            None => std::future::pending().await,
        }
    }

    /// Takes what another call of the conversation tells.
    pub(crate) fn take(&mut self, now: MediaTime, mail: Mail) {
        match mail {
            Mail::Joined { call, clock_ms, user, back } => {
                self.partners.push((call, back));
                if let Some(live) = &mut self.live {
                    live.join(call, clock_ms);
                    user.iter().for_each(|user| live.know(AGENT, user));
                }
            }
            Mail::Event { clock_ms, event } => {
                let found = self.live.as_mut().map(|live| live.note_partner(clock_ms, &event));
                self.found(now, found.unwrap_or_default());
            }
            Mail::Gone(call) => {
                self.partners.retain(|(partner, _)| *partner != call);
                if let Some(live) = &mut self.live {
                    live.part(call, now);
                }
            }
            Mail::Missed => self.miss(),
            Mail::Found(alert) => self.tell(now, EventBody::QaAlert(alert)),
        }
    }

    /// Whether those the call was with may still tell what they said to it.
    pub(crate) fn awaits_words(&self) -> bool {
        self.live.is_some() && !self.partners.is_empty()
    }

    /// When the rules want to be asked, should nothing be said until then.
    pub(crate) fn rules_due(&self) -> Option<MediaTime> {
        self.live.as_ref().and_then(Live::next)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: MediaTime) {
        let found = self.live.as_mut().map(|live| live.tick(now)).unwrap_or_default();
        self.found(now, found);
    }

    /// Whether a rule wants the call ended; told once.
    pub(crate) fn rules_hang_up(&mut self) -> bool {
        self.live.as_mut().is_some_and(Live::hangs_up)
    }

    /// How a rule wants a supervisor let into the call; told once.
    pub(crate) fn rules_call_in(&mut self) -> Option<Mode> {
        self.live.as_mut().and_then(Live::calls_in)
    }

    pub(crate) fn write(&mut self, at: MediaTime, body: EventBody) {
        let body = match &mut self.wording {
            Some(wording) => wording.tell(body),
            None => Some(body),
        };
        let Some(body) = body else { return };
        if matches!(body, EventBody::CallEnded { .. }) {
            let _ = self.conclude(at);
        }
        self.tell(at, body);
    }

    /// The conversation is over: what the rules find in it is told. The conversation itself, where all of it was heard.
    pub(crate) fn conclude(&mut self, at: MediaTime) -> Option<Conversation> {
        let (found, judged) = self.live.as_mut()?.finish(at);
        self.found(at, found);
        let live = self.live.take()?;
        judged.into_iter().for_each(|body| self.tell(at, body));
        let Finished { conversation, judgements, whole } = live.into_judged();
        // A call that was placed for another's sake is part of that one.
        if !judgements.is_empty() && self.record.parent.is_none() {
            self.keep(conversation.clone(), judgements);
        }
        whole.then_some(conversation)
    }

    /// Hands over what the call was judged by; never waits.
    fn keep(&self, conversation: Conversation, judgements: Vec<Judgement>) {
        let Some(judged) = self.calls.judged.get() else { return };
        let (tenant, at) = (self.tenant.clone(), self.record.offered_at);
        if judged.try_send(Judgements { conversation, judgements, tenant, at }).is_err() {
            tracing::error!(call = %self.id, "the store is behind; the call is left out of the figures");
        }
    }

    /// Some of what was said was not understood: whoever wants all of the words has to hear the recording.
    pub(crate) fn miss(&mut self) {
        if let Some(live) = &mut self.live {
            live.miss();
        }
        if let Some(led) = &self.led {
            led.send(Mail::Missed);
        }
    }

    /// Tells what the rules found, here and wherever else it was said.
    fn found(&mut self, at: MediaTime, found: Vec<QaAlert>) {
        for alert in found {
            for (call, back) in &self.partners {
                let seen = self.live.as_ref().and_then(|live| live.seen_by(*call, &alert, self.id));
                if let Some(seen) = seen
                    && let Err(mpsc::error::TrySendError::Full(_)) =
                        back.try_send(Mail::Found(Box::new(seen)))
                {
                    tracing::error!(%call, "a joined call does not take what the rules found");
                }
            }
            self.tell(at, EventBody::QaAlert(Box::new(alert)));
        }
    }

    /// A call that is joined with the one of another's conversation is judged there, and by itself no more.
    fn be_led(&mut self, with: CallId) {
        if let Some((led, back)) = self.calls.join(self.id, with) {
            self.live = None;
            let user = self.far_user.clone();
            led.send(Mail::Joined { call: self.id, clock_ms: led.clock_ms, user, back });
            self.led = Some(led);
        }
    }

    /// Tells what may be told.
    fn tell(&mut self, at: MediaTime, body: EventBody) {
        self.seq += 1;
        let over = matches!(body, EventBody::CallEnded { .. });
        let event = Arc::new(Event { call: self.id, seq: self.seq, at, body });
        if matches!(event.body, EventBody::CallAnswered { .. } | EventBody::CallEarly { .. })
            && let Some(path) = self.file.take()
        {
            self.to_file = true;
            self.calls.files.send(Line::Open(self.id, path));
            for earlier in &self.kept {
                self.calls.files.send(Line::Event(Arc::clone(earlier)));
            }
        }
        if self.kept.len() < KEPT && !matches!(event.body, EventBody::SpeechPartial { .. }) {
            self.kept.push(Arc::clone(&event));
        }
        self.record.note(&event);
        self.calls.publish(&event, self.to_file);
        if let Some(live) = &mut self.live {
            let facts =
                [("trunk", &self.record.trunk), ("user", &self.record.user), ("flow", &self.record.flow)];
            for (name, value) in facts {
                value.iter().for_each(|value| live.know(name, value));
            }
            let found = live.note(&event);
            self.found(at, found);
        }
        if let Some(led) = &mut self.led {
            if led.pass(&event) {
                led.send(Mail::Gone(self.id));
                self.calls.unlead(self.id);
                self.led = None;
            }
        } else if let EventBody::BridgeStarted { with, .. } = event.body {
            self.be_led(with);
        }
        if over {
            self.record.ended_by = self.calls.ended_by(self.id);
            if let Some(records) = self.calls.records() {
                records.submit(self.record.clone());
            }
            self.close();
            if let Some(path) = self.file.take() {
                // Never answered: one file a day holds them all, so that a flood does not fill a folder.
                let events = std::mem::take(&mut self.kept);
                self.calls.files.send(Line::Refused(path.with_file_name("refused.events.jsonl"), events));
            }
        }
    }

    /// The call's record, for what no event tells: trunk, user, further legs, who hung up. It goes out with `call.ended`.
    pub(crate) fn record(&mut self) -> &mut CallRecord {
        &mut self.record
    }

    /// Everything so far and one event more, which is not published yet.
    pub(crate) fn history_with(&self, at: MediaTime, body: &EventBody) -> Vec<Event> {
        let mut events: Vec<_> = self.kept.iter().map(|event| Event::clone(event)).collect();
        events.push(Event { call: self.id, seq: self.seq + 1, at, body: body.clone() });
        events
    }

    fn close(&mut self) {
        self.over = true;
        if self.to_file {
            self.calls.files.send(Line::Close(self.id));
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        if !self.over {
            self.write(MediaTime::ZERO, EventBody::CallEnded { cause: Cause::FLOW_FAILED, duration_ms: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    const ID: CallId = CallId(1);

    fn ended() -> EventBody {
        EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 5 }
    }

    #[test]
    fn late_watchers_miss_nothing() {
        let calls = Calls::new().expect("a thread");
        let (end, _ends) = mpsc::channel(1);
        let mut log = calls.begin(ID, "inbound", String::new(), None, end);
        log.write(MediaTime::ZERO, EventBody::NoInput { count: 1 });
        let (history, mut live) = calls.watch(ID).expect("known");
        log.write(MediaTime::ZERO, EventBody::NoMatch { count: 1 });
        assert_eq!(history.iter().map(|e| e.seq).collect::<Vec<_>>(), [1]);
        assert_eq!(live.try_recv().expect("live").seq, 2);
        assert!(calls.watch(CallId(2)).is_none());
    }

    #[test]
    fn watchers_of_a_call_that_is_over_are_told_its_events_and_its_end() {
        let calls = Calls::new().expect("a thread");
        let (end, _ends) = mpsc::channel(1);
        let mut log = calls.begin(ID, "inbound", String::new(), None, end);
        let (_, mut early) = calls.watch(ID).expect("known");
        log.write(MediaTime::ZERO, ended());
        assert_eq!(early.try_recv().expect("live").seq, 1);
        assert_eq!(early.try_recv().expect_err("over"), TryRecvError::Closed);
        let (history, mut late) = calls.watch(ID).expect("still listed");
        assert_eq!((history.len(), late.try_recv().expect_err("over")), (1, TryRecvError::Closed));
    }

    #[test]
    fn calls_end_once_and_stay_listed() {
        let calls = Calls::new().expect("a thread");
        let (end, mut ends) = mpsc::channel(1);
        let mut log = calls.begin(ID, "inbound", String::new(), None, end);
        assert_eq!(calls.active(), 1);
        assert_eq!(calls.end(ID, Cause::OPERATOR_HUNG_UP), Ok(()));
        assert_eq!(ends.try_recv(), Ok(Cause::OPERATOR_HUNG_UP));
        log.write(MediaTime::ZERO, ended());
        assert_eq!(calls.end(ID, Cause::OPERATOR_HUNG_UP), Err(EndError::AlreadyEnded));
        assert_eq!(calls.end(CallId(9), Cause::OPERATOR_HUNG_UP), Err(EndError::Unknown));
        assert_eq!((calls.active(), calls.list().len()), (0, 1));
    }

    #[test]
    fn a_lost_driver_still_ends_its_call() {
        let calls = Calls::new().expect("a thread");
        let (end, _ends) = mpsc::channel(1);
        drop(calls.begin(ID, "inbound", String::new(), None, end));
        assert_eq!(calls.find(ID).expect("listed").cause, Some(Cause::FLOW_FAILED.code));
    }

    #[test]
    fn events_are_written_as_json_lines() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("2026-11-22").join("events.jsonl");
        let calls = Calls::new().expect("a thread");
        let (end, _ends) = mpsc::channel(1);
        let mut log = calls.begin(ID, "inbound", String::new(), Some(&path), end);
        log.write(MediaTime::ZERO, EventBody::NoInput { count: 1 });
        assert!(!path.exists(), "a file begins with the answer");
        log.write(
            MediaTime::ZERO,
            EventBody::CallAnswered {
                codec: "PCMU".into(),
                sample_rate_hz: 8_000,
                security: antiphon_engine_call::MediaSecurity::None,
            },
        );
        log.write(MediaTime::from_millis(20), ended());
        drop((log, calls));
        let text = std::fs::read_to_string(path).expect("written");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines.iter().map(|line| &line["seq"]).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(lines[2]["type"], "call.ended");
        assert_eq!(lines[2]["cause"], "call.hangup.caller");
    }
}
