//! What is known of the trunks, for people.

use serde::Serialize;

use super::health::HostState;
use super::{Router, TrunkEntry};

/// Where our registration with a trunk stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Registration {
    /// Asked, not answered.
    Registering,
    /// In force.
    Registered {
        /// Until when, RFC 3339.
        until: String,
    },
    /// Refused or not answered.
    Failed {
        /// SIP status; `None` where nobody answered.
        status: Option<u16>,
        /// Its phrase, or what went wrong.
        text: String,
        /// When it is tried again, RFC 3339.
        retry_at: Option<String>,
    },
}

/// A trunk as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TrunkStatus {
    pub(crate) name: String,
    /// Calls under way, both ways.
    pub(crate) calls: usize,
    pub(crate) max_calls: Option<usize>,
    pub(crate) calls_per_second: Option<u32>,
    /// Calls let through since the start.
    pub(crate) admitted: u64,
    /// Calls refused by the trunk's limits since the start.
    pub(crate) refused: u64,
    pub(crate) hosts: Vec<HostStatus>,
    /// `None` where we do not register with it.
    pub(crate) registration: Option<Registration>,
}

/// A host as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct HostStatus {
    pub(crate) host: String,
    pub(crate) state: HostState,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Of the last answer to OPTIONS.
    pub(crate) round_trip_ms: Option<f64>,
}

impl Router {
    /// All trunks, in the order of the configuration.
    pub(crate) fn status(&self) -> Vec<TrunkStatus> {
        self.trunks.iter().map(|entry| status(entry)).collect()
    }
}

fn status(entry: &TrunkEntry) -> TrunkStatus {
    let passed = entry.gate.passed();
    let state = entry.lock();
    let hosts = entry.config.hosts.iter().zip(&state.health).map(|(host, health)| HostStatus {
        host: host.to_string(),
        state: health.state(),
        failures: health.failures(),
        round_trip_ms: health.round_trip().map(|trip| (trip.as_secs_f64() * 1e6).round() / 1e3),
    });
    TrunkStatus {
        name: entry.config.name.clone(),
        calls: passed.active,
        max_calls: entry.config.max_calls,
        calls_per_second: entry.config.calls_per_second,
        admitted: passed.admitted,
        refused: passed.refused,
        hosts: hosts.collect(),
        registration: entry
            .config
            .register
            .is_some()
            .then(|| state.registration.clone().unwrap_or(Registration::Registering)),
    }
}
