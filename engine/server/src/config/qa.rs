//! Inspection of calls.

use std::path::PathBuf;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::secret::reveal;
use super::{Length, Secret};

/// `[qa.s3]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Section {
    /// Its address, such as `https://s3.eu-west-1.amazonaws.com`.
    pub(crate) endpoint: String,
    /// The region of the signature.
    pub(crate) region: String,
    /// Buckets that jobs may read from.
    pub(crate) buckets: Vec<String>,
    /// Whether the bucket stands in the path and not in the host's name.
    #[serde(default)]
    pub(crate) path_style: bool,
    /// Who reads.
    pub(crate) access_key: String,
    #[serde(default)]
    pub(crate) secret_key: Option<Secret>,
    #[serde(default)]
    pub(crate) secret_key_env: Option<String>,
    #[serde(default)]
    pub(crate) secret_key_file: Option<PathBuf>,
}

impl S3Section {
    fn reveal(&mut self) -> anyhow::Result<()> {
        let (variable, file) = (self.secret_key_env.as_deref(), self.secret_key_file.as_deref());
        reveal("qa.s3.secret_key", &mut self.secret_key, variable, file)
    }

    fn check(&self) -> anyhow::Result<()> {
        let known = ["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme));
        ensure!(
            known && !self.endpoint.contains('@'),
            "configuration: qa.s3.endpoint is no address such as \"https://s3.eu-west-1.amazonaws.com\""
        );
        ensure!(
            self.secret_key.is_some(),
            "configuration: qa.s3 has no key to sign with; set secret_key, secret_key_env or secret_key_file"
        );
        ensure!(
            !self.buckets.is_empty(),
            "configuration: qa.s3.buckets names none, so nothing could be read"
        );
        Ok(())
    }
}

/// `[qa]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QaSection {
    /// Recordings inspected at once.
    pub(crate) workers: usize,
    /// Where scorecards lie, each in a file of its own; jobs name them by their ids.
    pub(crate) scorecards: Option<PathBuf>,
    /// The ids of the scorecards by which calls in progress are judged.
    pub(crate) live: Vec<String>,
    /// Who is rung where a rule takes `listen`, `whisper` or `barge`: a number, `user:NAME` or a SIP address.
    pub(crate) supervisor: Option<String>,
    /// Where uploaded and fetched recordings are kept; `qa` in the data folder where there is none.
    pub(crate) folder: Option<PathBuf>,
    /// Folders on this machine whose recordings jobs may name by their paths.
    pub(crate) paths: Vec<PathBuf>,
    /// Hosts, `HOST` or `HOST:PORT`, from which jobs may have recordings fetched.
    pub(crate) hosts: Vec<String>,
    /// The object store (S3) whose recordings jobs may name.
    pub(crate) s3: Option<S3Section>,
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
            live: Vec::new(),
            supervisor: None,
            folder: None,
            paths: Vec::new(),
            hosts: Vec::new(),
            s3: None,
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
        reveal("qa.callback_secret", &mut self.callback_secret, variable, file)?;
        self.s3.as_mut().map_or(Ok(()), S3Section::reveal)
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
        self.s3.as_ref().map_or(Ok(()), S3Section::check)?;
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
