//! `[[route]]`: where a call goes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Config, Pattern, Rewrite, Trunk, check_name};

/// Where calls have to come from for a route to be theirs: `"trunk:carrier"`, `"trunk"`, `"user:alice"`, `"user"`,
/// `"anonymous"`, `"api"`, `"any"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    /// One trunk, or any.
    Trunk(Option<String>),
    /// One registered user, or any.
    User(Option<String>),
    /// Whoever is neither.
    Anonymous,
    /// Calls we are told to place.
    Api,
    /// All of these.
    Any,
}

impl FromStr for Whence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None => match text {
                "trunk" => Ok(Self::Trunk(None)),
                "user" => Ok(Self::User(None)),
                "anonymous" => Ok(Self::Anonymous),
                "api" => Ok(Self::Api),
                "any" => Ok(Self::Any),
                _ => Err(()),
            },
            Some(("trunk", name)) if !name.is_empty() => Ok(Self::Trunk(Some(name.to_owned()))),
            Some(("user", name)) if !name.is_empty() => Ok(Self::User(Some(name.to_owned()))),
            Some(_) => Err(()),
        }
        .map_err(|()| {
            format!(
                "`{text}` is no origin; write \"trunk:NAME\", \"trunk\", \"user:NAME\", \"user\", \"anonymous\", \
                 \"api\" or \"any\""
            )
        })
    }
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trunk(Some(name)) => write!(f, "trunk:{name}"),
            Self::User(Some(name)) => write!(f, "user:{name}"),
            Self::Trunk(None) => f.write_str("trunk"),
            Self::User(None) => f.write_str("user"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Api => f.write_str("api"),
            Self::Any => f.write_str("any"),
        }
    }
}

impl Serialize for Whence {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Whence {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One trunk, or several of which the next is tried where the one before fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a trunk's name or a list of them")]
pub(crate) enum Trunks {
    One(String),
    Several(Vec<String>),
}

impl Trunks {
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// `[[route]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// Numbers called.
    #[serde(default = "Pattern::any")]
    pub(crate) called: Pattern,
    /// Numbers that call.
    #[serde(default = "Pattern::any")]
    pub(crate) caller: Pattern,
    /// Where the call comes from. Empty: anywhere; for a route to a trunk, users and the API only.
    #[serde(default)]
    pub(crate) from: Vec<Whence>,
    /// The flow that answers.
    #[serde(default)]
    pub(crate) flow: Option<PathBuf>,
    /// The user whose telephones ring.
    #[serde(default)]
    pub(crate) user: Option<Rewrite>,
    /// The trunk or trunks it is sent out over.
    #[serde(default)]
    pub(crate) trunk: Option<Trunks>,
    /// The number called there, of the groups of `called`.
    #[serde(default)]
    pub(crate) number: Option<Rewrite>,
    /// The conference it joins.
    #[serde(default)]
    pub(crate) conference: Option<Rewrite>,
    /// The SIP status it is refused with.
    #[serde(default)]
    pub(crate) reject: Option<u16>,
}

impl Route {
    /// `n` counts from 1, as people do.
    pub(super) fn check(&self, n: usize, config: &Config) -> anyhow::Result<()> {
        let key = format!("configuration: route {n}");
        let targets = [
            self.flow.is_some(),
            self.user.is_some(),
            self.trunk.is_some(),
            self.conference.is_some(),
            self.reject.is_some(),
        ];
        if targets.iter().filter(|set| **set).count() != 1 {
            bail!(
                "{key} leads nowhere or to several places; write one of flow, user, trunk, conference, reject"
            );
        }
        for rewrite in [&self.user, &self.number, &self.conference].into_iter().flatten() {
            rewrite.check(&self.called).map_err(|error| anyhow::anyhow!("{key}: {error}"))?;
        }
        ensure!(self.number.is_none() || self.trunk.is_some(), "{key}: number goes with trunk");
        if let Some(status) = self.reject {
            ensure!((400..700).contains(&status), "{key}: reject is a SIP status, 400 to 699");
        }
        for from in &self.from {
            match from {
                Whence::Trunk(Some(name)) => known_trunk(&key, name, &config.trunks)?,
                Whence::User(Some(name)) => ensure!(
                    config.users.iter().any(|user| user.name == *name),
                    "{key}: there is no [[user]] {name}"
                ),
                Whence::Any if self.trunk.is_some() => bail!(
                    "{key}: from = \"any\" lets everybody who can reach us call out at your cost; name \
                     \"user\", \"api\", \"trunk:NAME\" or, if it is truly meant, \"anonymous\""
                ),
                _ => {}
            }
        }
        if let Some(trunks) = &self.trunk {
            ensure!(!trunks.names().is_empty(), "{key}: trunk names none");
            for name in trunks.names() {
                known_trunk(&key, name, &config.trunks)?;
                let trunk = config.trunks.iter().find(|trunk| trunk.name == *name);
                ensure!(
                    trunk.is_some_and(|trunk| !trunk.hosts.is_empty()),
                    "{key}: trunk {name} has no hosts, so nothing can be sent over it"
                );
            }
        }
        if let Some(user) = self.user.as_ref().filter(|user| user.is_fixed()) {
            let name = user.apply(&[]);
            ensure!(config.users.iter().any(|user| user.name == name), "{key}: there is no [[user]] {name}");
        }
        if let Some(name) = self.conference.as_ref().filter(|name| name.is_fixed()) {
            check_name(&format!("route {n}: conference"), &name.apply(&[]))?;
        }
        Ok(())
    }
}

fn known_trunk(key: &str, name: &str, trunks: &[Trunk]) -> anyhow::Result<()> {
    ensure!(trunks.iter().any(|trunk| trunk.name == name), "{key}: there is no [[trunk]] {name}");
    Ok(())
}
