//! One call's stream for its agent: fed by the call's task, read by whoever watches, kept a while after the call.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use antiphon_engine_assist::{Assist, AssistBody, Verdict};
use antiphon_engine_measure::{Conversation, Measures, Role};
use antiphon_engine_qa::{Hit, Judgement};
use antiphon_media_frame::{CallId, MediaTime};
use antiphon_models_speech::{Hypothesis, Utterance};
use tokio::sync::broadcast;

use super::Profile;
use crate::calls::Calls;

/// Events kept for those who come late; a long call has a few thousand. Interim words are not kept.
const HISTORY: usize = 10_000;
/// Events a slow watcher may be behind.
const BEHIND: usize = 1_024;

/// One event as it is sent.
pub(crate) struct Told {
    pub(crate) number: u64,
    /// JSON in one line. Personal data.
    pub(crate) text: String,
}

/// What has been told so far, and what tells the rest; nothing where that was all.
pub(crate) type Watch = (Vec<Arc<Told>>, Option<broadcast::Receiver<Arc<Told>>>);

/// What an agent is helped with in one call.
pub(crate) struct Desk {
    pub(crate) call: CallId,
    pub(crate) profile: Arc<Profile>,
    /// Whose call it is; empty where it is nobody's in particular.
    pub(crate) tenant: Arc<str>,
    pub(crate) began_at: jiff::Timestamp,
    epoch: Instant,
    /// Where what is no word is kept beside the recording.
    file: Option<PathBuf>,
    calls: Weak<Calls>,
    state: Mutex<State>,
}

struct State {
    assist: Assist,
    told: VecDeque<Arc<Told>>,
    /// Gone once the call is over.
    live: Option<broadcast::Sender<Arc<Told>>>,
    /// How many are on the far side of joined calls.
    agents: Vec<CallId>,
}

impl Desk {
    pub(crate) fn open(
        call: CallId,
        profile: &Arc<Profile>,
        tenant: Arc<str>,
        epoch: Instant,
        file: Option<PathBuf>,
        calls: &Arc<Calls>,
    ) -> Arc<Self> {
        let assist = Assist::new(profile.book(), profile.knowledge().iter().cloned());
        let state = State {
            assist,
            told: VecDeque::new(),
            live: Some(broadcast::channel(BEHIND).0),
            agents: Vec::new(),
        };
        let desk = Arc::new(Self {
            call,
            profile: Arc::clone(profile),
            tenant,
            began_at: jiff::Timestamp::now(),
            epoch,
            file,
            calls: Arc::downgrade(calls),
            state: Mutex::new(state),
        });
        // The script's first step.
        desk.publish(&mut desk.lock());
        desk
    }

    /// What has been told after the event of this number, and what tells the rest.
    pub(crate) fn watch(&self, after: u64) -> Watch {
        let state = self.lock();
        let told = state.told.iter().filter(|told| told.number > after).cloned().collect();
        (told, state.live.as_ref().map(broadcast::Sender::subscribe))
    }

    /// Whether the call is over.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().live.is_none()
    }

    /// The calls of those who serve the customer, in the order in which they were joined.
    pub(crate) fn agents(&self) -> Vec<CallId> {
        self.lock().agents.clone()
    }

    pub(crate) fn joined(&self, agent: CallId) {
        let mut state = self.lock();
        if !state.agents.contains(&agent) {
            state.agents.push(agent);
        }
    }

    pub(crate) fn hear_partial(&self, now: MediaTime, track: usize, by: Role, said: &Hypothesis) {
        self.tell(|assist| assist.hear_partial(now, track, by, said));
    }

    pub(crate) fn hear(&self, now: MediaTime, track: usize, by: Role, said: &Utterance) {
        self.tell(|assist| assist.hear(now, track, by, said));
    }

    pub(crate) fn know(&self, now: MediaTime, name: &str, value: &str) {
        self.tell(|assist| assist.know(now, name, value));
    }

    pub(crate) fn judge(&self, now: MediaTime, hits: &[Hit], judgement: &Judgement) {
        self.tell(|assist| assist.judge(now, hits, judgement));
    }

    /// When it wants to be told that time has passed.
    pub(crate) fn next(&self) -> Option<MediaTime> {
        self.lock().assist.poll_timeout()
    }

    pub(crate) fn tick(&self, now: MediaTime) {
        self.tell(|assist| assist.handle_timeout(now));
    }

    /// The call is over: those who watch are told what it was, and that this was all.
    pub(crate) fn finish(&self, now: MediaTime, conversation: &Conversation, measures: &Measures) {
        self.tell(|assist| assist.finish(now, conversation, measures));
        self.lock().live = None;
    }

    /// The agent says whether a suggestion helped; `false` where it was never made.
    pub(crate) fn rate(&self, id: u32, verdict: Verdict) -> bool {
        let now = self.now();
        self.tell(|assist| assist.rate(now, id, verdict))
    }

    /// The agent files the call, also after its end; `false` where the book has no such disposition.
    pub(crate) fn file(&self, disposition: &str) -> bool {
        let now = self.now();
        self.tell(|assist| assist.file(now, disposition))
    }

    fn now(&self) -> MediaTime {
        MediaTime::ZERO + self.epoch.elapsed().into()
    }

    fn tell<T>(&self, work: impl FnOnce(&mut Assist) -> T) -> T {
        let mut state = self.lock();
        let done = work(&mut state.assist);
        self.publish(&mut state);
        done
    }

    fn publish(&self, state: &mut State) {
        if let Some(trouble) = state.assist.take_trouble() {
            tracing::error!(call = %self.call, error = %trouble, "knowledge could not be searched");
        }
        while let Some(event) = state.assist.poll_event() {
            let text = match serde_json::to_string(&event) {
                Ok(text) => text,
                Err(error) => {
                    tracing::error!(call = %self.call, %error, "an event for an agent cannot be written as JSON");
                    continue;
                }
            };
            let told = Arc::new(Told { number: event.number, text });
            // Nobody watching is no error.
            if let Some(live) = &state.live {
                let _ = live.send(Arc::clone(&told));
            }
            let words = matches!(event.body, AssistBody::Words { .. });
            if !words && let (Some(file), Some(calls)) = (&self.file, self.calls.upgrade()) {
                calls.note(file, &told.text);
            }
            if !matches!(event.body, AssistBody::Words { fixed: false, .. }) {
                if state.told.len() == HISTORY {
                    state.told.pop_front();
                }
                state.told.push_back(told);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole before anything that could panic is done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
