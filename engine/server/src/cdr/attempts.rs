//! The legs of a call on its way out: one a telephone that is rung, or a host that is tried.

use std::sync::{Mutex, MutexGuard, PoisonError};

use antiphon_engine_call::{Cause, Pii};
use jiff::Timestamp;

use super::leg::{Direction, HungUp, KEPT, LegRecord};
use super::record::CallRecord;

/// Collects legs for the record of their call; several may ring at once.
pub(crate) struct Attempts {
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    tried: Mutex<Tried>,
}

#[derive(Default)]
struct Tried {
    legs: Vec<LegRecord>,
    answered: Option<usize>,
}

/// One of them.
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    /// `None` where the record is full.
    place: Option<usize>,
}

impl Attempts {
    /// None yet; `now` tells the time.
    pub(crate) fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Box::new(now), tried: Mutex::default() }
    }

    /// An INVITE is about to be sent; `describe` says to whom.
    pub(crate) fn begin(&self, describe: impl FnOnce(&mut LegRecord)) -> Attempt<'_> {
        let mut tried = self.lock();
        let place = (tried.legs.len() < KEPT).then_some(tried.legs.len());
        if place.is_some() {
            let id = (tried.legs.len() + 1).to_string();
            let mut leg = LegRecord::new(id, Direction::Outbound, (self.now)());
            describe(&mut leg);
            tried.legs.push(leg);
        }
        Attempt { attempts: self, place }
    }

    /// Gives the legs to their call's record. Where one was answered, those that still rang lost to it; otherwise they end
    /// as the call will. `reported` is the leg whose failure is the call's.
    pub(crate) fn finish(self, record: &mut CallRecord, reported: Option<usize>) {
        let now = (self.now)();
        let Tried { mut legs, answered } = self.tried.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(answered) = answered {
            let lost = legs.iter_mut().enumerate().filter(|(place, _)| *place != answered);
            for (_, leg) in lost {
                leg.end(now, Cause::ELSEWHERE, None, HungUp::System);
            }
        }
        let last = legs.len().saturating_sub(1);
        record.tried(legs, answered.or(reported).unwrap_or(last));
    }

    /// The far side of a leg sends the call on (3xx): where to, and what becomes of that.
    pub(crate) fn redirected(&self, place: Option<usize>, contacts: &[Pii<String>], results: &[&str]) {
        let now = (self.now)();
        let mut tried = self.lock();
        let Some(leg) = place.and_then(|place| tried.legs.get_mut(place)) else { return };
        contacts.iter().zip(results).for_each(|(to, result)| leg.redirect(to.expose(), result, now));
    }

    fn lock(&self) -> MutexGuard<'_, Tried> {
        // Each change is one assignment.
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Which it is, for [`Attempts::finish`].
    pub(crate) fn place(&self) -> Option<usize> {
        self.place
    }

    /// The INVITE was sent with this Call-ID.
    pub(crate) fn sent(&self, call_id: &str) {
        self.change(|leg, _| leg.sip_call_id = Some(call_id.to_owned()));
    }

    /// It rings, or plays what is heard before an answer.
    pub(crate) fn ringing(&self) {
        self.change(LegRecord::ring);
    }

    /// The far side's final status.
    pub(crate) fn refused(&self, status: u16) {
        self.change(|leg, _| leg.sip_status = Some(status));
    }

    /// Nobody answered there.
    pub(crate) fn failed(&self, cause: &Cause) {
        let by = HungUp::of(cause, Direction::Outbound);
        self.change(|leg, now| leg.end(now, cause, None, by));
    }

    /// Somebody answered: events are about this leg from here on.
    pub(crate) fn answered(&self) {
        self.change(LegRecord::answer);
        self.attempts.lock().answered = self.place;
    }

    fn change(&self, change: impl FnOnce(&mut LegRecord, Timestamp)) {
        let now = (self.attempts.now)();
        if let Some(place) = self.place
            && let Some(leg) = self.attempts.lock().legs.get_mut(place)
        {
            change(leg, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts() -> Attempts {
        Attempts::new(|| Timestamp::UNIX_EPOCH)
    }

    fn record() -> CallRecord {
        CallRecord::new("a", Direction::Outbound, Timestamp::UNIX_EPOCH)
    }

    fn over(trunk: &str) -> impl FnOnce(&mut LegRecord) {
        |leg| leg.trunk = Some(trunk.to_owned())
    }

    #[test]
    fn each_host_that_was_tried_is_a_leg_and_the_last_one_speaks_for_the_call() {
        let (attempts, mut record) = (attempts(), record());
        let first = attempts.begin(over("one"));
        first.sent("x");
        first.refused(503);
        first.failed(Cause::REFUSED_BY_PEER);
        let second = attempts.begin(over("two"));
        second.ringing();
        second.answered();
        attempts.finish(&mut record, None);
        record.end(Timestamp::UNIX_EPOCH, Cause::CALLER_HUNG_UP);
        let told: Vec<_> = record.legs.iter().map(|leg| (leg.cause.as_str(), leg.sip_status)).collect();
        assert_eq!(told, [("sip.refused", Some(503)), ("call.hangup.caller", Some(200))]);
        assert_eq!((record.trunk.as_deref(), record.sip_status), (Some("two"), Some(200)));
        assert_eq!(record.legs[0].sip_call_id.as_deref(), Some("x"));
        assert!(record.ringing_at.is_some() && record.legs[0].ringing_at.is_none());
    }

    #[test]
    fn telephones_that_rang_on_lost_to_the_one_that_was_picked_up() {
        let (attempts, mut record) = (attempts(), record());
        let (desk, home) = (attempts.begin(over("a")), attempts.begin(over("b")));
        desk.ringing();
        home.answered();
        attempts.finish(&mut record, None);
        record.end(Timestamp::UNIX_EPOCH, Cause::FLOW_HUNG_UP);
        let told: Vec<_> = record.legs.iter().map(|leg| (leg.cause.as_str(), leg.sip_status)).collect();
        assert_eq!(told, [("call.elsewhere", Some(487)), ("call.hangup.flow", Some(200))]);
    }

    #[test]
    fn where_nobody_answers_the_call_says_what_the_reported_leg_says() {
        let (attempts, mut record) = (attempts(), record());
        let (busy, silent) = (attempts.begin(over("a")), attempts.begin(over("b")));
        busy.refused(486);
        busy.failed(Cause::REFUSED_BY_PEER);
        silent.failed(Cause::NO_ANSWER);
        let reported = busy.place();
        attempts.finish(&mut record, reported);
        record.end(Timestamp::UNIX_EPOCH, Cause::REFUSED_BY_PEER);
        assert_eq!((record.sip_status, record.q850, record.hung_up), (Some(486), Some(17), HungUp::Callee));
        assert_eq!((record.legs[1].sip_status, record.legs[1].q850), (None, Some(19)));
    }

    #[test]
    fn what_nobody_waited_for_ends_as_its_call() {
        let (attempts, mut record) = (attempts(), record());
        let leg = attempts.begin(over("a"));
        leg.refused(302);
        attempts.redirected(leg.place(), &[Pii::new("sip:1002@192.0.2.1".to_owned())], &["followed"]);
        attempts.finish(&mut record, None);
        record.end(Timestamp::UNIX_EPOCH, Cause::OPERATOR_HUNG_UP);
        let leg = &record.legs[0];
        assert_eq!((leg.cause.as_str(), leg.sip_status), ("call.hangup.operator", Some(302)));
        let redirection = &leg.redirections[0];
        assert_eq!((&*redirection.target, &*redirection.result), ("sip:1002@192.0.2.1", "followed"));
    }

    #[test]
    fn a_record_keeps_a_bounded_number_of_legs() {
        let (attempts, mut record) = (attempts(), record());
        for _ in 0..1_000 {
            attempts.begin(over("a")).failed(Cause::UNREACHABLE);
        }
        attempts.finish(&mut record, None);
        assert_eq!(record.legs.len(), KEPT);
    }
}
