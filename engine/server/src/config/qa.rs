//! Inspection of calls.

use std::path::PathBuf;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::secret::reveal;
use super::{Length, Secret};

/// `[qa]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QaSection {
    /// Recordings inspected at once.
    pub(crate) workers: usize,
    /// Where scorecards lie, each in a file of its own; jobs name them by their ids.
    pub(crate) scorecards: Option<PathBuf>,
    /// Where uploaded and fetched recordings are kept; `qa` in the data folder where there is none.
    pub(crate) folder: Option<PathBuf>,
    /// Folders on this machine whose recordings jobs may name by their paths.
    pub(crate) paths: Vec<PathBuf>,
    /// Hosts, `HOST` or `HOST:PORT`, from which jobs may have recordings fetched.
    pub(crate) hosts: Vec<String>,
    /// The largest recording, in MiB.
    pub(crate) largest_mib: u64,
    /// Files of one token that may wait.
    pub(crate) waiting: usize,
    /// How often a file is begun before it has failed.
    pub(crate) attempts: usize,
    /// How long jobs that are over are kept, with their recordings; 0s is for ever.
    pub(crate) keep: Length,
    /// Hosts, `HOST` or `HOST:PORT`, that may be called back.
    pub(crate) callback_hosts: Vec<String>,
    /// The key of the call-backs' signature.
    pub(crate) callback_secret: Option<Secret>,
    pub(crate) callback_secret_env: Option<String>,
    pub(crate) callback_secret_file: Option<PathBuf>,
    /// How long one attempt to call back may take, and the fetching of a recording between two of its octets.
    pub(crate) timeout: Length,
    /// After this long a call-back that never succeeded is given up.
    pub(crate) give_up: Length,
}

impl Default for QaSection {
    fn default() -> Self {
        Self {
            workers: 2,
            scorecards: None,
            folder: None,
            paths: Vec::new(),
            hosts: Vec::new(),
            largest_mib: 1_024,
            waiting: 100_000,
            attempts: 3,
            keep: Length::millis(0),
            callback_hosts: Vec::new(),
            callback_secret: None,
            callback_secret_env: None,
            callback_secret_file: None,
            timeout: Length::millis(10_000),
            give_up: Length::millis(86_400_000),
        }
    }
}

impl QaSection {
    pub(super) fn reveal(&mut self) -> anyhow::Result<()> {
        let (variable, file) = (self.callback_secret_env.as_deref(), self.callback_secret_file.as_deref());
        reveal("qa.callback_secret", &mut self.callback_secret, variable, file)
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        let bounds = [
            ("workers", self.workers, 64),
            ("largest_mib", usize::try_from(self.largest_mib).unwrap_or(usize::MAX), 16_384),
            ("waiting", self.waiting, 1_000_000),
            ("attempts", self.attempts, 100),
        ];
        for (key, count, most) in bounds {
            ensure!((1..=most).contains(&count), "configuration: qa.{key} is 1 to {most}");
        }
        let hosts = [("hosts", &self.hosts), ("callback_hosts", &self.callback_hosts)];
        for (key, host) in hosts.iter().flat_map(|(key, hosts)| hosts.iter().map(move |host| (key, host))) {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
            ensure!(
                !host.is_empty() && host.chars().all(fits),
                "configuration: qa.{key}: `{}` is no host; write \"files.example\" or \"files.example:8443\"",
                host.escape_debug()
            );
        }
        ensure!(
            self.callback_hosts.is_empty() || self.callback_secret.is_some(),
            "configuration: qa.callback_hosts needs a secret to sign with; set qa.callback_secret, callback_secret_env or \
             callback_secret_file"
        );
        if let Some(secret) = &self.callback_secret {
            ensure!(
                secret.expose().len() >= 16,
                "configuration: qa.callback_secret is at least 16 characters"
            );
        }
        ensure!((1..=60).contains(&self.timeout.0.as_secs()), "configuration: qa.timeout is 1s to 60s");
        ensure!(
            (60..=604_800).contains(&self.give_up.0.as_secs()),
            "configuration: qa.give_up is 1m to 168h"
        );
        Ok(())
    }
}
