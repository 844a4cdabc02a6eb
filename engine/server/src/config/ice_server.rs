//! `[[ice_server]]`: the way to us for web pages behind firewalls.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::secret::reveal;
use super::{Host, Length, Secret};

/// Addresses of one server.
const MANY: usize = 8;

/// A STUN or TURN server that web pages are told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IceServer {
    /// Its addresses (RFC 7064, RFC 7065): `"turn:turn.example:3478?transport=udp"`.
    pub(crate) urls: Vec<String>,
    /// What a TURN server and we share; each call's credentials are made of it.
    #[serde(default)]
    pub(crate) secret: Option<Secret>,
    #[serde(default)]
    pub(crate) secret_env: Option<String>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
    /// How long credentials hold.
    #[serde(default = "lifetime")]
    pub(crate) lifetime: Length,
}

fn lifetime() -> Length {
    Length::millis(3_600_000)
}

impl IceServer {
    pub(super) fn reveal(&mut self) -> anyhow::Result<()> {
        let key = format!("ice_server {}", self.urls.first().map_or("", String::as_str));
        reveal(
            &format!("{key}: secret"),
            &mut self.secret,
            self.secret_env.as_deref(),
            self.secret_file.as_deref(),
        )
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Some(first) = self.urls.first() else {
            bail!(
                "configuration: an ice_server has no urls; write urls = [\"turn:turn.example:3478?transport=udp\"]"
            );
        };
        let key = format!("configuration: ice_server {first}");
        ensure!(self.urls.len() <= MANY, "{key}: urls holds {}; at most {MANY} are taken", self.urls.len());
        let mut relays = 0;
        for url in &self.urls {
            match parse(url) {
                Some(relay) => relays += usize::from(relay),
                None => bail!(
                    "configuration: ice_server: `{}` is no address; write \"stun:HOST:PORT\", \
                     \"turn:HOST:PORT?transport=udp\" (or tcp) or \"turns:HOST:PORT?transport=tcp\"",
                    url.escape_debug()
                ),
            }
        }
        ensure!(
            relays == 0 || self.secret.is_some(),
            "{key} is a TURN server and has no secret; set secret, secret_env or secret_file to its static-auth-secret"
        );
        ensure!(relays > 0 || self.secret.is_none(), "{key} has a secret, which STUN has no use for");
        ensure!((60..=86_400).contains(&self.lifetime.0.as_secs()), "{key}: lifetime is 1m to 24h");
        Ok(())
    }
}

/// Whether an address is a relay's (TURN) and not STUN's; `None` where it is no address.
pub(crate) fn parse(url: &str) -> Option<bool> {
    let (scheme, rest) = url.split_once(':')?;
    let relay = match scheme {
        "stun" | "stuns" => false,
        "turn" | "turns" => true,
        _ => return None,
    };
    let host = match rest.split_once('?') {
        Some((host, "transport=udp" | "transport=tcp")) if relay => host,
        Some(_) => return None,
        None => rest,
    };
    let host = host.parse::<Host>().ok()?;
    host.parameter().is_empty().then_some(relay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str], secret: Option<&str>) -> IceServer {
        IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            secret: secret.map(|secret| Secret::new(secret.to_owned())),
            secret_env: None,
            secret_file: None,
            lifetime: lifetime(),
        }
    }

    #[test]
    fn addresses_of_stun_and_turn_are_told_from_others() {
        for (url, relay) in [
            ("stun:stun.example", Some(false)),
            ("stun:192.0.2.1:3478", Some(false)),
            ("turn:turn.example:3478?transport=udp", Some(true)),
            ("turns:[2001:db8::1]:5349?transport=tcp", Some(true)),
            ("turn:", None),
            ("turn:turn.example?transport=sctp", None),
            ("stun:stun.example?transport=udp", None),
            ("http://turn.example", None),
            ("turn:turn.example\">; rel=x", None),
            ("turn:turn.example:port", None),
        ] {
            assert_eq!(parse(url), relay, "{url}");
        }
    }

    #[test]
    fn a_relay_wants_a_secret_and_stun_none() {
        assert!(server(&["turn:turn.example"], Some("north")).check().is_ok());
        assert!(server(&["stun:stun.example"], None).check().is_ok());
        for (wrong, part) in [
            (server(&["turn:turn.example"], None), "static-auth-secret"),
            (server(&["stun:stun.example"], Some("north")), "no use"),
            (server(&[], None), "no urls"),
            (server(&["turn.example"], None), "`turn.example` is no address"),
        ] {
            let error = wrong.check().expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
