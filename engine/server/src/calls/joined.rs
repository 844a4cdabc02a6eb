//! Calls that are joined are one conversation: one of them leads it, the customer's, and is told what is said to the others.

use std::sync::Arc;
use std::time::Instant;

use antiphon_engine_call::{Event, EventBody, QaAlert, Side};
use antiphon_media_frame::{CallId, MediaTime};
use tokio::sync::mpsc;

use super::{Calls, Entry, State};

/// What waits to be taken by a call: a minute of everybody speaking at once.
pub(super) const MAIL: usize = 1_024;

/// What one call of a conversation tells another.
pub(crate) enum Mail {
    /// A call is led by this one from here on, whose clock shows `clock_ms` when its clock shows zero; what is found is
    /// told there too. `user` is who is at its far side, where that is one of ours.
    Joined { call: CallId, clock_ms: i64, user: Option<String>, back: mpsc::Sender<Mail> },
    /// What happened to a call that is led by this one, and what our clock shows when its clock shows zero.
    Event { clock_ms: i64, event: Arc<Event> },
    /// Nothing more comes of that call.
    Gone(CallId),
    /// Some of what is said in a call that is led by this one is not understood.
    Missed,
    /// What the rules found in the conversation that this call is part of.
    Found(Box<QaAlert>),
}

/// What tells whose conversation it is when calls are joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// When the call's clock showed zero.
    pub(crate) epoch: Instant,
    /// The call for whose sake this one is.
    pub(crate) parent: Option<CallId>,
    /// Whether its far side is one of our users.
    pub(crate) user: bool,
    /// Whether its far side called us.
    pub(crate) inbound: bool,
}

impl Standing {
    /// Whether this call is the customer's and the other one's the agent's: who is called for the other's sake is none,
    /// neither is a user of ours, nor who was called where the other one called; of equals the elder is.
    fn leads(&self, id: CallId, other: &Self, other_id: CallId) -> bool {
        if other.parent == Some(id) || self.parent == Some(other_id) {
            return other.parent == Some(id);
        }
        match (self.user != other.user, self.inbound != other.inbound) {
            (true, _) => other.user,
            (_, true) => self.inbound,
            _ => (self.epoch, id) < (other.epoch, other_id),
        }
    }
}

/// The way from a call to the one that leads its conversation.
pub(crate) struct Led {
    pub(crate) lead: CallId,
    to: mpsc::Sender<Mail>,
    pub(super) clock_ms: i64,
    /// A voice whose words are not all told.
    open: bool,
    /// That voice has fallen silent.
    ended: bool,
    /// When they were parted; what was begun before that still belongs to the conversation.
    left: Option<MediaTime>,
}

impl Led {
    /// Passes on what belongs to the conversation; whether nothing more will follow.
    pub(super) fn pass(&mut self, event: &Arc<Event>) -> bool {
        match &event.body {
            EventBody::SpeechStarted { side: Side::Caller } => {
                if self.left.is_some() {
                    return true;
                }
                (self.open, self.ended) = (true, false);
            }
            EventBody::SpeechEnded { side: Side::Caller } => self.ended = true,
            EventBody::SpeechFinal { side: Side::Caller, start, .. } => {
                if self.left.is_some_and(|left| *start >= left.millis() as f64 / 1_000.0) {
                    return true;
                }
                self.open &= !self.ended;
            }
            EventBody::SpeechPartial { side: Side::Caller, .. } if self.left.is_none() => {}
            EventBody::HoldStarted { .. } if self.left.is_none() => {}
            EventBody::HoldEnded { .. } => {}
            EventBody::BridgeEnded { with } if *with == self.lead => {
                self.left = Some(event.at);
                return !self.open;
            }
            EventBody::CallEnded { .. } => return true,
            _ => return false,
        }
        self.send(Mail::Event { clock_ms: self.clock_ms, event: Arc::clone(event) });
        self.left.is_some() && !self.open
    }

    pub(super) fn send(&self, mail: Mail) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.to.try_send(mail) {
            tracing::error!(lead = %self.lead, "a conversation is behind by {MAIL} events; the rules miss some words");
        }
    }
}

impl Calls {
    /// Who a call is, for when it is joined with others.
    pub(crate) fn stand(&self, id: CallId, standing: Standing) {
        if let Some(entry) = self.lock().calls.get_mut(&id) {
            entry.standing = standing;
        }
    }

    /// What the clock of `one` shows when that of `other` shows zero, to a millisecond; zero where either is unknown.
    pub(crate) fn clock_ms(&self, one: CallId, other: CallId) -> i64 {
        let state = self.lock();
        let epoch = |id| state.calls.get(&id).map(|entry| entry.standing.epoch);
        epoch(one).zip(epoch(other)).map_or(0, |(one, other)| between(one, other))
    }

    /// A call's conversation is followed, by rules or for an agent: those who are joined with it tell it what is said.
    pub(super) fn follow(&self, id: CallId) {
        if let Some(entry) = self.lock().calls.get_mut(&id) {
            entry.follows = true;
        }
    }

    /// `one` is joined with `other`, and says so: the way to the call that leads their conversation, where that is not
    /// `one` itself. Both ask, in whatever order. Two calls that lead others already stay two conversations.
    pub(super) fn join(&self, one: CallId, other: CallId) -> Option<(Led, mpsc::Sender<Mail>)> {
        let mut state = self.lock();
        let root = state.calls.get(&other)?.lead.unwrap_or(other);
        if root == one {
            return None;
        }
        let own = state.calls.get(&one)?;
        let lead = match own.lead {
            Some(lead) => lead,
            None => {
                let head = state.calls.get(&root)?;
                let leads = match (state.leads(one), state.leads(root)) {
                    (true, true) => return None,
                    (true, false) => true,
                    (false, true) => false,
                    (false, false) => own.standing.leads(one, &head.standing, root),
                };
                let (led, lead) = if leads { (root, one) } else { (one, root) };
                if !state.calls.get(&lead)?.follows {
                    return None;
                }
                state.calls.get_mut(&led)?.lead = Some(lead);
                if leads {
                    return None;
                }
                lead
            }
        };
        // The agent's own call leads to the same desk.
        let desk = state.calls.get(&lead)?.desk.clone();
        if let Some(desk) = &desk {
            desk.joined(one);
        }
        state.calls.get_mut(&one)?.desk = desk;
        let (own, head) = (state.calls.get(&one)?, state.calls.get(&lead)?);
        let led = Led {
            lead,
            to: head.mail.clone()?,
            clock_ms: between(head.standing.epoch, own.standing.epoch),
            open: false,
            ended: false,
            left: None,
        };
        Some((led, own.mail.clone()?))
    }

    /// A call is led by nobody any more.
    pub(super) fn unlead(&self, id: CallId) {
        if let Some(entry) = self.lock().calls.get_mut(&id) {
            entry.lead = None;
        }
    }
}

impl State {
    fn leads(&self, id: CallId) -> bool {
        self.calls.values().any(|entry: &Entry| entry.lead == Some(id))
    }
}

/// What a clock that began at `one` shows when one that began at `other` shows zero: rounded to the nearest millisecond,
/// so that there and back again is nothing.
fn between(one: Instant, other: Instant) -> i64 {
    let millis =
        |span: std::time::Duration| i64::try_from((span.as_micros() + 500) / 1_000).unwrap_or(i64::MAX);
    match other.checked_duration_since(one) {
        Some(later) => millis(later),
        None => -millis(one.duration_since(other)),
    }
}
