//! Tokens for web pages: each places a few calls to a few targets for a while, and sees nothing but those.
//!
//! They are kept in memory, as the calls they are for are; of each only a hash, so that nothing that shows the memory's
//! table shows a token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use antiphon_media_frame::CallId;
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::config::Secret;

/// What they begin with, so that they are told from the configuration's.
const PREFIX: &str = "page_";
/// Passes at once.
const MOST: usize = 10_000;
/// WebSockets of one pass at once: enough for a page that is loaded anew, too few to take everybody's place.
const WATCHERS: usize = 4;

/// What a pass is for.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// What may be called; the default flow is the empty text.
    pub(super) to: Vec<String>,
    /// The number or name the page calls by.
    pub(super) from: Option<String>,
    /// How many calls it may place.
    pub(super) calls: usize,
    /// How long it may place them.
    pub(super) lifetime: Duration,
    /// The name of the token that made it.
    pub(super) issuer: Option<String>,
}

/// Why a pass does not let a call through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PassError {
    #[error("the pass does not reach this target")]
    Elsewhere,
    #[error("the pass has placed all its calls")]
    Spent,
    #[error("the pass is over")]
    Expired,
}

/// There are as many passes as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST} passes are in force")]
pub(super) struct TooMany;

/// A token's rights, and the calls it has placed.
#[derive(Debug)]
pub(super) struct Pass {
    grant: Grant,
    until: Instant,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    /// Calls that are being placed.
    placing: usize,
    placed: Vec<CallId>,
    /// WebSockets that are open.
    watchers: usize,
}

/// The place of one WebSocket of a pass; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Watching(Arc<Pass>);

/// The place of one call of a pass; free again when it is dropped before the call is there.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Pass>>);

/// All passes in force.
#[derive(Default)]
pub(super) struct Passes {
    known: Mutex<BTreeMap<[u8; 32], Arc<Pass>>>,
}

impl Passes {
    /// Makes a pass; its token.
    ///
    /// `live` tells whether a call is under way: a pass is kept for the sake of its calls.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn issue(
        &self,
        grant: Grant,
        now: Instant,
        live: impl Fn(CallId) -> bool,
    ) -> Result<Secret, TooMany> {
        let token =
            format!("{PREFIX}{:032x}{:032x}", rand::rng().random::<u128>(), rand::rng().random::<u128>());
        let mut known = self.lock();
        if known.len() >= MOST {
            known.retain(|_, pass| pass.until > now || pass.lock().placed.iter().any(|call| live(*call)));
        }
        if known.len() >= MOST {
            return Err(TooMany);
        }
        let until = now + grant.lifetime;
        known.insert(hash(&token), Arc::new(Pass { grant, until, used: Mutex::default() }));
        Ok(Secret::new(token))
    }

    /// The pass of a token. It may be over: the calls it placed are still its own.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Pass>> {
        // By its hash: the time this takes tells nothing of how much of a guess was right.
        token.starts_with(PREFIX).then(|| self.lock().get(&hash(token)).cloned()).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Arc<Pass>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Takes the place of a call to `to`.
    ///
    /// # Errors
    /// Why the pass is not good for it.
    pub(super) fn admit(self: &Arc<Self>, to: &str, now: Instant) -> Result<Place, PassError> {
        if self.is_over(now) {
            return Err(PassError::Expired);
        }
        if !self.grant.to.iter().any(|target| target == to) {
            return Err(PassError::Elsewhere);
        }
        let mut used = self.lock();
        if used.placing + used.placed.len() >= self.grant.calls {
            return Err(PassError::Spent);
        }
        used.placing += 1;
        Ok(Place(Some(Arc::clone(self))))
    }

    /// Takes the place of a WebSocket; `None` where all are taken.
    pub(super) fn watch(self: &Arc<Self>) -> Option<Watching> {
        let mut used = self.lock();
        if used.watchers >= WATCHERS {
            return None;
        }
        used.watchers += 1;
        Some(Watching(Arc::clone(self)))
    }

    /// The number or name its page calls by.
    pub(super) fn caller(&self) -> Option<&str> {
        self.grant.from.as_deref()
    }

    /// The name of the token that made it.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.grant.issuer.as_deref()
    }

    /// Whether it may place no more, however few it placed.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Whether it placed a call.
    pub(super) fn owns(&self, call: CallId) -> bool {
        self.lock().placed.contains(&call)
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The call is there.
    pub(super) fn taken(mut self, call: CallId) {
        if let Some(pass) = self.0.take() {
            let mut used = pass.lock();
            used.placing -= 1;
            used.placed.push(call);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pass) = &self.0 {
            pass.lock().placing -= 1;
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.lock().watchers -= 1;
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(to: &[&str], calls: usize) -> Grant {
        let to = to.iter().map(|to| (*to).to_owned()).collect();
        Grant { to, from: None, calls, lifetime: Duration::from_secs(60), issuer: None }
    }

    fn pass(passes: &Passes, grant: Grant, now: Instant) -> Arc<Pass> {
        let token = passes.issue(grant, now, |_| false).expect("room");
        passes.find(token.expose()).expect("it is known")
    }

    #[test]
    fn a_pass_reaches_its_targets_and_no_others() {
        let (passes, now) = (Passes::default(), Instant::now());
        let pass = pass(&passes, grant(&["1001", ""], 9), now);
        for (to, reached) in [("1001", true), ("", true), ("10011", false), ("user:1001", false)] {
            assert_eq!(pass.admit(to, now).is_ok(), reached, "{to}");
        }
        assert_eq!(pass.admit("1002", now).expect_err("elsewhere"), PassError::Elsewhere);
    }

    #[test]
    fn a_call_that_did_not_come_about_gives_its_place_back() {
        let (passes, now) = (Passes::default(), Instant::now());
        let pass = pass(&passes, grant(&["1001"], 1), now);
        let place = pass.admit("1001", now).expect("the first");
        assert_eq!(pass.admit("1001", now).expect_err("one is being placed"), PassError::Spent);
        drop(place);
        pass.admit("1001", now).expect("it is free").taken(CallId(7));
        assert_eq!(pass.admit("1001", now).expect_err("one was placed"), PassError::Spent);
        assert!(pass.owns(CallId(7)) && !pass.owns(CallId(8)));
    }

    #[test]
    fn a_pass_has_so_many_watchers_and_no_more() {
        let (passes, now) = (Passes::default(), Instant::now());
        let pass = pass(&passes, grant(&["1001"], 1), now);
        let mut watching: Vec<_> = (0..WATCHERS).map(|_| pass.watch().expect("a place")).collect();
        assert!(pass.watch().is_none());
        watching.pop();
        assert!(pass.watch().is_some(), "whoever leaves makes room");
    }

    #[test]
    fn a_pass_that_is_over_keeps_its_calls_and_places_no_more() {
        let (passes, now) = (Passes::default(), Instant::now());
        let pass = pass(&passes, grant(&["1001"], 2), now);
        pass.admit("1001", now).expect("in time").taken(CallId(7));
        let later = now + Duration::from_secs(60);
        assert_eq!(pass.admit("1001", later).expect_err("too late"), PassError::Expired);
        assert!(pass.owns(CallId(7)));
    }

    #[test]
    fn a_full_table_loses_what_is_over_and_nothing_else() {
        let (passes, now) = (Passes::default(), Instant::now());
        let kept = passes.issue(grant(&["1001"], 1), now, |_| false).expect("room");
        passes.find(kept.expose()).expect("known").admit("1001", now).expect("in time").taken(CallId(7));
        for _ in 1..MOST {
            passes.issue(grant(&[""], 1), now, |_| false).expect("room");
        }
        assert_eq!(passes.issue(grant(&[""], 1), now, |_| false).expect_err("full"), TooMany);
        let later = now + Duration::from_secs(61);
        let next = passes.issue(grant(&[""], 1), later, |call| call == CallId(7)).expect("room again");
        assert!(passes.find(next.expose()).is_some());
        assert!(passes.find(kept.expose()).is_some_and(|pass| pass.owns(CallId(7))), "its call goes on");
        assert_eq!(passes.lock().len(), 2);
    }

    #[test]
    fn what_is_no_token_of_ours_is_nobodys() {
        let passes = Passes::default();
        let token = passes.issue(grant(&[""], 1), Instant::now(), |_| false).expect("room");
        let token = token.expose();
        assert!(token.len() == PREFIX.len() + 64 && passes.find(token).is_some());
        for other in ["", "page_", &token[1..], &format!("{token}0"), &token.replace(PREFIX, "")] {
            assert!(passes.find(other).is_none(), "{other}");
        }
    }
}
