//! Call records: where they are kept and who is told.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::secret::reveal;
use super::{Length, Secret, check_name};

/// When lines reach the disk for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// After each batch of records.
    Batch,
    /// When the system thinks fit.
    Never,
}

/// `[cdr]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CdrSection {
    /// The folder of the JSON lines, one file a day (UTC); `cdr` in the data folder where there is none.
    pub(crate) folder: Option<PathBuf>,
    /// When lines reach the disk for certain.
    pub(crate) sync: Durability,
    /// How long the store keeps them; 0s is for ever.
    pub(crate) keep: Length,
}

impl Default for CdrSection {
    fn default() -> Self {
        Self { folder: None, sync: Durability::Batch, keep: Length::millis(0) }
    }
}

/// `[store]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreSection {
    /// The database (SQLite); `antiphon.db` in the data folder where there is none.
    pub(crate) file: Option<PathBuf>,
    /// A database of PostgreSQL instead: `postgres://USER:PASSWORD@HOST/DATABASE`. It may hold credentials, and so is never
    /// printed.
    pub(crate) url: Option<Secret>,
    pub(crate) url_env: Option<String>,
    pub(crate) url_file: Option<PathBuf>,
}

impl StoreSection {
    pub(super) fn reveal(&mut self) -> anyhow::Result<()> {
        reveal("store.url", &mut self.url, self.url_env.as_deref(), self.url_file.as_deref())
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.file.is_none() || self.url.is_none(),
            "configuration: store.file and store.url name two databases; leave one out"
        );
        Ok(())
    }
}

/// `[[webhook]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webhook {
    /// What the list of deliveries calls it.
    pub(crate) name: String,
    /// Where it is sent. It may hold credentials, and so is never printed.
    pub(crate) url: Secret,
    /// The key of the signature.
    #[serde(default)]
    pub(crate) secret: Option<Secret>,
    #[serde(default)]
    pub(crate) secret_env: Option<String>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
    /// What is sent: `"cdr"`, a type of event such as `"call.ended"`, or a group of them such as `"call.*"`.
    #[serde(default = "events")]
    pub(crate) events: Vec<String>,
    /// How long one attempt may take.
    #[serde(default = "timeout")]
    pub(crate) timeout: Length,
    /// After this long a delivery that never succeeded is given up.
    #[serde(default = "give_up")]
    pub(crate) give_up: Length,
}

fn events() -> Vec<String> {
    vec!["cdr".to_owned()]
}

fn timeout() -> Length {
    Length::millis(10_000)
}

fn give_up() -> Length {
    Length::millis(86_400_000)
}

impl Webhook {
    pub(super) fn reveal(&mut self) -> anyhow::Result<()> {
        reveal(
            &format!("webhook.{}.secret", self.name),
            &mut self.secret,
            self.secret_env.as_deref(),
            self.secret_file.as_deref(),
        )
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        check_name("webhook.name", &self.name)?;
        ensure!(
            !self.name.starts_with("qa."),
            "configuration: webhook.name: names that begin with `qa.` are those of inspection's own call-backs"
        );
        let key = format!("configuration: webhook.{}", self.name);
        let host = ["http://", "https://"]
            .iter()
            .find_map(|scheme| self.url.expose().strip_prefix(scheme))
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        if !host || self.url.expose().chars().any(|c| c.is_whitespace() || c.is_control()) {
            bail!("{key}.url is no address such as \"https://crm.example/calls\"");
        }
        let Some(secret) = &self.secret else {
            bail!("{key} has no secret to sign with; set secret, secret_env or secret_file");
        };
        ensure!(secret.expose().len() >= 16, "{key}.secret is at least 16 characters");
        ensure!(!self.events.is_empty(), "{key}.events is empty: nothing would be sent");
        for event in &self.events {
            let stem = event.strip_suffix(".*").unwrap_or(event);
            let fits = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
            ensure!(
                !stem.is_empty() && stem.chars().all(fits),
                "{key}.events: `{event}` is no type of event; write \"cdr\", \"call.ended\" or \"call.*\""
            );
        }
        ensure!((1..=60).contains(&self.timeout.0.as_secs()), "{key}.timeout is 1s to 60s");
        ensure!((60..=604_800).contains(&self.give_up.0.as_secs()), "{key}.give_up is 1m to 168h");
        Ok(())
    }
}
