//! Which hosts of a trunk answer.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Failures in a row after which a host counts as down.
const FAILURES: u32 = 3;
/// A host that is down and of which nothing was heard for this long is tried with a call again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// What is known of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HostState {
    /// Not asked yet.
    Unknown,
    /// It answers.
    Up,
    /// It did not answer several times in a row.
    Down,
}

/// The bookkeeping of one host.
#[derive(Clone, Debug)]
pub(super) struct Health {
    state: HostState,
    failures: u32,
    heard: Option<Instant>,
    round_trip: Option<Duration>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { state: HostState::Unknown, failures: 0, heard: None, round_trip: None }
    }

    /// An answer, with its round trip where that was measured, or none. Tells the new state where it changed.
    pub(super) fn report(
        &mut self,
        now: Instant,
        outcome: Result<Option<Duration>, ()>,
    ) -> Option<HostState> {
        let before = self.state;
        self.heard = Some(now);
        match outcome {
            Ok(round_trip) => {
                self.failures = 0;
                self.round_trip = round_trip.or(self.round_trip);
                self.state = HostState::Up;
            }
            Err(()) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES {
                    self.state = HostState::Down;
                    self.round_trip = None;
                }
            }
        }
        (self.state != before).then_some(self.state)
    }

    /// Whether calls are sent to it.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        self.state != HostState::Down
            || self.heard.is_none_or(|heard| now.saturating_duration_since(heard) >= FORGIVEN)
    }

    pub(super) fn state(&self) -> HostState {
        self.state
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_take_a_host_out_and_one_answer_brings_it_back() {
        let now = Instant::now();
        let mut health = Health::new();
        assert!(health.is_usable(now), "a host nobody asked yet is tried");
        assert_eq!(health.report(now, Ok(Some(Duration::from_millis(9)))), Some(HostState::Up));
        assert_eq!(health.report(now, Err(())), None);
        assert_eq!(health.report(now, Err(())), None);
        assert_eq!(health.report(now, Ok(None)), None);
        assert_eq!(health.round_trip(), Some(Duration::from_millis(9)));
        for _ in 0..2 {
            assert_eq!(health.report(now, Err(())), None, "an answer in between starts the count anew");
        }
        assert_eq!(health.report(now, Err(())), Some(HostState::Down));
        assert!(!health.is_usable(now));
        assert_eq!(health.report(now, Ok(None)), Some(HostState::Up));
        assert!(health.is_usable(now));
    }

    #[test]
    fn a_host_that_nobody_asks_is_forgiven_after_a_minute() {
        let now = Instant::now();
        let mut health = Health::new();
        for _ in 0..FAILURES {
            health.report(now, Err(()));
        }
        assert!(!health.is_usable(now + FORGIVEN - Duration::from_millis(1)));
        assert!(health.is_usable(now + FORGIVEN));
    }
}
