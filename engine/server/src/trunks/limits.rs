//! How many calls at once and how many new ones a second.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Why a call is not let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    /// As many calls as are allowed.
    #[error("{name} is at its limit of {limit} calls")]
    Calls {
        /// The trunk or user.
        name: String,
        /// Calls at once.
        limit: usize,
    },
    /// As many new calls a second as are allowed.
    #[error("{name} is at its limit of {limit} new calls a second")]
    Rate {
        /// The trunk or user.
        name: String,
        /// New calls a second.
        limit: u32,
    },
}

/// What all calls of a trunk or user pass.
#[derive(Debug)]
pub(super) struct Gate {
    name: String,
    calls: Option<usize>,
    rate: Option<u32>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    active: usize,
    admitted: u64,
    refused: u64,
    /// Calls that may begin at once, and when that was so.
    bucket: Option<(f64, Instant)>,
}

/// How much has passed a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) active: usize,
    pub(super) admitted: u64,
    pub(super) refused: u64,
}

/// One call's place. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Gate>);

impl Gate {
    pub(super) fn new(name: String, calls: Option<usize>, rate: Option<u32>) -> Arc<Self> {
        Arc::new(Self { name, calls, rate, state: Mutex::default() })
    }

    /// Takes a place for a call that begins now.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Result<Permit, LimitError> {
        let mut state = self.lock();
        if let Some(limit) = self.calls.filter(|limit| state.active >= *limit) {
            state.refused += 1;
            return Err(LimitError::Calls { name: self.name.clone(), limit });
        }
        if let Some(limit) = self.rate {
            let full = f64::from(limit);
            let (left, at) = state.bucket.unwrap_or((full, now));
            let filled = left + now.saturating_duration_since(at).as_secs_f64() * full;
            let left = filled.min(full);
            if left < 1.0 {
                state.bucket = Some((left, now.max(at)));
                state.refused += 1;
                return Err(LimitError::Rate { name: self.name.clone(), limit });
            }
            state.bucket = Some((left - 1.0, now.max(at)));
        }
        state.active += 1;
        state.admitted += 1;
        Ok(Permit(Arc::clone(self)))
    }

    pub(super) fn passed(&self) -> Passed {
        let state = self.lock();
        Passed { active: state.active, admitted: state.admitted, refused: state.refused }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().active -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_place_comes_back_when_the_call_is_over() {
        let gate = Gate::new("t".into(), Some(2), None);
        let now = Instant::now();
        let first = gate.admit(now).expect("a place");
        let _second = gate.admit(now).expect("a place");
        assert_eq!(gate.admit(now).expect_err("full"), LimitError::Calls { name: "t".into(), limit: 2 });
        drop(first);
        assert!(gate.admit(now).is_ok());
        assert_eq!(gate.passed(), Passed { active: 1, admitted: 3, refused: 1 });
    }

    #[test]
    fn new_calls_are_let_through_at_their_rate() {
        let gate = Gate::new("t".into(), None, Some(10));
        let start = Instant::now();
        let mut admitted = 0;
        // A flood of 1000 attempts a second for five seconds.
        for n in 0..5_000 {
            admitted += usize::from(gate.admit(start + Duration::from_millis(n)).is_ok());
        }
        assert!((59..=60).contains(&admitted), "ten at once, then ten a second: {admitted}");
    }

    #[test]
    fn a_clock_that_seems_to_go_back_gives_nothing_away() {
        let gate = Gate::new("t".into(), None, Some(1));
        let now = Instant::now() + Duration::from_secs(10);
        assert!(gate.admit(now).is_ok());
        assert!(gate.admit(now - Duration::from_secs(5)).is_err());
        assert!(gate.admit(now + Duration::from_millis(500)).is_err());
        assert!(gate.admit(now + Duration::from_millis(1_001)).is_ok());
    }
}
