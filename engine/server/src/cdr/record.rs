//! One record a call, with its legs: what `docs/schemas/cdr.json` describes.

use std::fmt;

use antiphon_engine_call::{Cause, Event, EventBody, Side};
use antiphon_engine_store::{NewCall, NewLeg};
use antiphon_media_frame::MediaTime;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::instant;
use super::leg::{Direction, HungUp, KEPT, LegRecord, Transfer, millis_between};

/// The version of the form; it counts up when a member changes its meaning.
pub(crate) const VERSION: u32 = 1;

/// What a session of MRCP was used for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MrcpUse {
    /// Resources that had a channel, in the order they were asked for.
    pub(crate) resources: Vec<String>,
    /// RECOGNIZE requests that came to their RECOGNITION-COMPLETE.
    pub(crate) recognitions: u64,
    /// Those of them that something was understood in.
    pub(crate) understood: u64,
    /// SPEAK requests that came to their SPEAK-COMPLETE.
    pub(crate) speeches: u64,
}

/// One call, or one session of MRCP.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallRecord {
    pub(crate) version: u32,
    /// 32 hexadecimal digits.
    pub(crate) id: String,
    pub(crate) direction: Direction,
    /// The trunk of the leg that answered, or was tried last.
    pub(crate) trunk: Option<String>,
    /// Our user, where one called or was called.
    pub(crate) user: Option<String>,
    pub(crate) from: String,
    pub(crate) to: String,
    /// The flow that answered.
    pub(crate) flow: Option<String>,
    #[serde(with = "instant")]
    pub(crate) offered_at: Timestamp,
    #[serde(with = "instant::optional")]
    pub(crate) ringing_at: Option<Timestamp>,
    #[serde(with = "instant::optional")]
    pub(crate) answered_at: Option<Timestamp>,
    #[serde(with = "instant")]
    pub(crate) ended_at: Timestamp,
    /// From answer to end.
    pub(crate) duration_ms: u64,
    /// The same in seconds, begun ones whole.
    pub(crate) billable_s: u64,
    /// Code of docs/ERRORS.md.
    pub(crate) cause: String,
    pub(crate) sip_status: Option<u16>,
    /// ITU-T Q.850.
    pub(crate) q850: Option<u8>,
    pub(crate) hung_up: HungUp,
    /// The call for whose sake this one was placed: the one it was bridged to or handed on from.
    pub(crate) parent: Option<String>,
    /// The name of the token that placed it over the API.
    pub(crate) token: Option<String>,
    /// The name of the token that ended it over the API.
    #[serde(default)]
    pub(crate) ended_by: Option<String>,
    /// Where the recording lies on the server.
    pub(crate) recording: Option<String>,
    /// What a session of MRCP was used for; `None` in calls.
    #[serde(default)]
    pub(crate) mrcp: Option<MrcpUse>,
    /// In the order they began.
    pub(crate) legs: Vec<LegRecord>,
    /// Which of them the events are about.
    #[serde(skip)]
    current: usize,
}

impl CallRecord {
    /// As the store keeps it.
    pub(crate) fn stored(&self) -> serde_json::Result<NewCall> {
        let leg = |leg: &LegRecord| {
            let record = serde_json::to_string(leg)?;
            Ok(NewLeg { id: leg.id.clone(), trunk: leg.trunk.clone(), user: leg.user.clone(), record })
        };
        Ok(NewCall {
            id: self.id.clone(),
            offered_ms: self.offered_at.as_millisecond(),
            ended_ms: self.ended_at.as_millisecond(),
            direction: self.direction.name(),
            from: self.from.clone(),
            to: self.to.clone(),
            cause: self.cause.clone(),
            answered: self.answered_at.is_some(),
            duration_ms: i64::try_from(self.duration_ms).unwrap_or(i64::MAX),
            record: serde_json::to_string(self)?,
            legs: self.legs.iter().map(leg).collect::<serde_json::Result<_>>()?,
        })
    }

    /// A call of one leg that begins; others are pushed to `legs` as they come.
    pub(crate) fn new(id: impl Into<String>, direction: Direction, offered_at: Timestamp) -> Self {
        Self {
            version: VERSION,
            id: id.into(),
            direction,
            trunk: None,
            user: None,
            from: String::new(),
            to: String::new(),
            flow: None,
            offered_at,
            ringing_at: None,
            answered_at: None,
            ended_at: offered_at,
            duration_ms: 0,
            billable_s: 0,
            cause: String::new(),
            sip_status: None,
            q850: None,
            hung_up: HungUp::System,
            parent: None,
            token: None,
            ended_by: None,
            recording: None,
            mrcp: None,
            legs: vec![LegRecord::new("1", direction, offered_at)],
            current: 0,
        }
    }

    /// The leg that the call's events are about: its only one, the one that answered, or who took its place.
    pub(crate) fn leg(&mut self) -> &mut LegRecord {
        if self.legs.is_empty() {
            self.legs.push(LegRecord::new("1", self.direction, self.offered_at));
        }
        let last = self.legs.len() - 1;
        &mut self.legs[self.current.min(last)]
    }

    /// The wall clock's time at a time of the call's clock.
    pub(crate) fn wall(&self, at: MediaTime) -> Timestamp {
        self.offered_at + SignedDuration::from_millis(at.millis())
    }

    /// Takes the legs that a call on its way out has tried; events are about `current` from here on.
    pub(super) fn tried(&mut self, legs: Vec<LegRecord>, current: usize) {
        if legs.is_empty() {
            return;
        }
        self.legs = legs;
        self.current = current;
        let leg = self.leg();
        let (trunk, user) = (leg.trunk.clone(), leg.user.clone());
        (self.trunk, self.user) = (trunk, user);
    }

    /// Somebody else took the far side's place (RFC 3891): the leg ends, and `with` goes on with its media.
    pub(crate) fn replace(&mut self, at: Timestamp, mut with: LegRecord) {
        let by = HungUp::of(Cause::REPLACED, self.direction);
        let place = self.legs.len().min(KEPT - 1);
        let old = self.leg();
        old.end(at, Cause::REPLACED, None, by);
        with.id = (place + 1).to_string();
        with.to.clone_from(&old.to);
        with.security = old.security;
        if let Some(used) = old.codecs.last() {
            with.codec(&used.codec, at);
        }
        with.answer(at);
        self.legs.truncate(place);
        self.legs.push(with);
        self.current = place;
    }

    /// Takes in what an event tells of the call and its leg. The event `call.ended` closes the record; whoever knows
    /// better (a SIP status, who hung up) ends the leg before.
    pub(crate) fn note(&mut self, event: &Event) {
        let at = self.wall(event.at);
        match &event.body {
            EventBody::CallStarted { from, to, .. } => {
                self.from.clone_from(from.expose());
                self.to.clone_from(to.expose());
                let (from, to) = (self.from.clone(), self.to.clone());
                let leg = self.leg();
                leg.from = from;
                leg.to = to;
            }
            EventBody::CallAnswered { codec, security, .. } => {
                let leg = self.leg();
                leg.answer(at);
                leg.codec(codec, at);
                leg.secure(*security);
            }
            EventBody::CodecChanged { codec } => self.leg().codec(codec, at),
            EventBody::BridgeStarted { with, .. } => self.leg().join(&with.to_string()),
            EventBody::TransferStarted { kind, to, .. } => {
                let kind = serde_json::to_value(kind).ok().and_then(|kind| Some(kind.as_str()?.to_owned()));
                let target = to.expose().clone();
                let kind = kind.unwrap_or_default();
                self.leg().transfer(Transfer { at, kind, target, outcome: None });
            }
            EventBody::TransferFinished { outcome, .. } => {
                // One at a time: the last is the one under way.
                if let Some(transfer) = self.leg().transfers.last_mut() {
                    transfer.outcome = Some((*outcome).to_owned());
                }
            }
            EventBody::Media { side, figures } => {
                let leg = self.leg();
                let quality = match side {
                    Side::Caller => &mut leg.received,
                    Side::Machine => &mut leg.sent,
                };
                quality.take(figures);
            }
            EventBody::Recording { path, .. } => self.recording = Some(path.clone()),
            EventBody::CallEnded { cause, .. } => self.end(at, cause),
            _ => {}
        }
    }

    /// The call is over; legs that are not yet end with it.
    pub(crate) fn end(&mut self, at: Timestamp, cause: &Cause) {
        let by = HungUp::of(cause, self.direction);
        for leg in &mut self.legs {
            leg.end(at, cause, None, by);
        }
        self.ended_at = at;
        cause.code.clone_into(&mut self.cause);
        let leg = self.leg();
        let (status, q850, hung_up) = (leg.sip_status, leg.q850, leg.hung_up);
        (self.sip_status, self.q850) = (status, q850);
        self.hung_up = hung_up.unwrap_or(by);
        self.ringing_at = self.legs.iter().filter_map(|leg| leg.ringing_at).min();
        self.answered_at = self.legs.iter().filter_map(|leg| leg.answered_at).min();
        self.duration_ms = self.answered_at.map_or(0, |answered| millis_between(answered, at));
        self.billable_s = self.duration_ms.div_ceil(1_000);
    }
}

/// Records are personal data: logs show which one it is and no more.
impl fmt::Debug for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallRecord").field("id", &self.id).field("cause", &self.cause).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
