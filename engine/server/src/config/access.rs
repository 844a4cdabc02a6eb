//! Who may come in: users, tokens, and what each source may do.

use std::net::SocketAddr;
use std::path::PathBuf;

use antiphon_media_sip::DigestAlgorithm;
use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::secret::reveal;
use super::trunk::{MOST_REDIRECTS, redirects};
use super::{Length, Network, Pattern, Secret, check_name};

/// `[[user]]`: a person with a telephone that registers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    /// The user of the address and of the digest.
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    #[serde(default)]
    pub(crate) password_env: Option<String>,
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
    /// MD5 of `name:realm:password` in hexadecimal, in the password's place.
    #[serde(default)]
    pub(crate) ha1: Option<Secret>,
    /// SHA-256 of the same.
    #[serde(default)]
    pub(crate) ha1_sha256: Option<Secret>,
    #[serde(default)]
    pub(crate) display_name: Option<String>,
    /// The number trunks are shown when the user calls out; the name where there is none.
    #[serde(default)]
    pub(crate) number: Option<String>,
    /// Whether the user may listen in by dialling a code.
    #[serde(default)]
    pub(crate) supervise: bool,
    /// Numbers the user may call over trunks. None where it is empty.
    #[serde(default)]
    pub(crate) may_dial: Vec<Pattern>,
    /// Calls over trunks at once.
    #[serde(default = "user_calls")]
    pub(crate) max_calls: usize,
    /// How many places the user's telephones may send a call on to (3xx); none where it is 0.
    #[serde(default = "redirects")]
    pub(crate) redirects: u8,
}

fn user_calls() -> usize {
    3
}

impl User {
    pub(super) fn reveal(&mut self) -> anyhow::Result<()> {
        reveal(
            &format!("user.{}.password", self.name),
            &mut self.password,
            self.password_env.as_deref(),
            self.password_file.as_deref(),
        )
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        check_name("user.name", &self.name)?;
        let key = format!("configuration: user.{}", self.name);
        let hashed = self.ha1.is_some() || self.ha1_sha256.is_some();
        if self.password.is_some() == hashed {
            bail!(
                "{key} has no password, or one and a hash of it; write password (or password_env, password_file), or ha1 and ha1_sha256"
            );
        }
        for (name, secret, digits) in [("ha1", &self.ha1, 32), ("ha1_sha256", &self.ha1_sha256, 64)] {
            let fits = |secret: &Secret| {
                secret.expose().len() == digits && secret.expose().bytes().all(|b| b.is_ascii_hexdigit())
            };
            ensure!(secret.as_ref().is_none_or(fits), "{key}.{name} is {digits} hexadecimal digits");
        }
        if let Some(number) = &self.number {
            let fits = number.bytes().all(|b| b.is_ascii_alphanumeric() || b"+*#".contains(&b));
            ensure!(fits && (1..=64).contains(&number.len()), "{key}.number is digits, letters, +, * and #");
        }
        ensure!((1..=1_000).contains(&self.max_calls), "{key}.max_calls is 1 to 1000");
        ensure!(self.redirects <= MOST_REDIRECTS, "{key}.redirects is 0 to {MOST_REDIRECTS}");
        Ok(())
    }

    /// Whether the user can answer a challenge of this kind.
    pub(crate) fn answers(&self, algorithm: Algorithm) -> bool {
        self.password.is_some()
            || match algorithm {
                Algorithm::Sha256 => self.ha1_sha256.is_some(),
                Algorithm::Md5 => self.ha1.is_some(),
            }
    }
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Scope {
    /// Lists and watches calls, fetches recordings.
    #[serde(rename = "calls:read")]
    CallsRead,
    /// Places, moves and ends calls.
    #[serde(rename = "calls:write")]
    CallsWrite,
    /// Listens to calls.
    #[serde(rename = "supervise:listen")]
    SuperviseListen,
    /// Speaks to the agent alone.
    #[serde(rename = "supervise:whisper")]
    SuperviseWhisper,
    /// Speaks to all.
    #[serde(rename = "supervise:barge")]
    SuperviseBarge,
    /// Takes calls over and ends them.
    #[serde(rename = "supervise:control")]
    SuperviseControl,
    /// Has speech recognised and spoken: `/v1/listen` and its like.
    #[serde(rename = "speech")]
    Speech,
    /// Reads call records.
    #[serde(rename = "cdr:read")]
    CdrRead,
    /// Reads inspection jobs and their results.
    #[serde(rename = "qa:read")]
    QaRead,
    /// Submits, cancels and reviews them.
    #[serde(rename = "qa:write")]
    QaWrite,
    /// Reads what agents are helped with, and asks the knowledge.
    #[serde(rename = "assist:read")]
    AssistRead,
    /// Says what helped, and files calls.
    #[serde(rename = "assist:write")]
    AssistWrite,
    /// Everything.
    #[serde(rename = "admin")]
    Admin,
}

/// `[[token]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// Whose it is; this is what records say.
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) secret: Option<Secret>,
    #[serde(default)]
    pub(crate) secret_env: Option<String>,
    #[serde(default)]
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) scopes: Vec<Scope>,
    /// The tenant whose streams of the recogniser pool it opens.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
}

impl Token {
    pub(super) fn reveal(&mut self) -> anyhow::Result<()> {
        reveal(
            &format!("token.{}.secret", self.name),
            &mut self.secret,
            self.secret_env.as_deref(),
            self.secret_file.as_deref(),
        )
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        check_name("token.name", &self.name)?;
        let key = format!("configuration: token.{}", self.name);
        let Some(secret) = &self.secret else {
            bail!("{key} has no secret; set secret, secret_env or secret_file");
        };
        let visible = secret.expose().bytes().all(|b| b.is_ascii_graphic());
        ensure!(
            visible && secret.expose().len() >= 16,
            "{key}.secret is at least 16 visible ASCII characters"
        );
        ensure!(!self.scopes.is_empty(), "{key}.scopes is empty: the token may do nothing");
        Ok(())
    }
}

/// `[registrar]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Registrar {
    /// Whether telephones may register.
    pub(crate) enabled: bool,
    /// The realm of challenges.
    pub(crate) realm: String,
    /// The shortest registration.
    pub(crate) min_expires: Length,
    /// The longest.
    pub(crate) max_expires: Length,
    /// Telephones of one user.
    pub(crate) contacts: usize,
    /// What passwords are asked for by, the best first (RFC 8760).
    pub(crate) algorithms: Vec<Algorithm>,
}

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "MD5")]
    Md5,
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }
}

impl From<Algorithm> for DigestAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Md5 => Self::Md5,
        }
    }
}

impl Default for Registrar {
    fn default() -> Self {
        Self {
            enabled: false,
            realm: "antiphon".into(),
            min_expires: Length::millis(60_000),
            max_expires: Length::millis(3_600_000),
            contacts: 10,
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        }
    }
}

impl Registrar {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let visible = |c: char| !c.is_control() && !"\"\\".contains(c);
        ensure!(
            !self.realm.is_empty() && self.realm.len() <= 128 && self.realm.chars().all(visible),
            "configuration: registrar.realm is 1 to 128 bytes without quotes and backslashes"
        );
        let (min, max) = (self.min_expires.0.as_secs(), self.max_expires.0.as_secs());
        ensure!(
            (10..=max).contains(&min) && max <= 86_400,
            "configuration: registrar.min_expires and registrar.max_expires are 10s to 24h, the first below the second"
        );
        ensure!((1..=100).contains(&self.contacts), "configuration: registrar.contacts is 1 to 100");
        let twice = (1..self.algorithms.len()).any(|n| self.algorithms[..n].contains(&self.algorithms[n]));
        ensure!(
            !self.algorithms.is_empty() && !twice,
            "configuration: registrar.algorithms is \"SHA-256\", \"MD5\" or both, each once"
        );
        Ok(())
    }

    /// Somebody who can answer none of the challenges could never register.
    pub(super) fn check_user(&self, user: &User) -> anyhow::Result<()> {
        let can = self.algorithms.iter().any(|algorithm| user.answers(*algorithm));
        let names: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        ensure!(
            can,
            "configuration: user.{}: has no hash for {}, which is all that registrar.algorithms asks by",
            user.name,
            names.join(" or ")
        );
        Ok(())
    }
}

/// `[security]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Security {
    /// Whether calls are taken from whoever is neither a trunk nor a user.
    pub(crate) anonymous: bool,
    /// SIP requests a second of one source.
    pub(crate) requests_per_second: u32,
    /// New calls a second of one source.
    pub(crate) calls_per_second: u32,
    /// Failed authentications and malformed messages of one source within a minute before it is banned.
    pub(crate) failures: u32,
    /// How long a source stays banned.
    pub(crate) ban: Length,
    /// Sources that are never limited or banned, besides the trunks.
    pub(crate) allow: Vec<Network>,
    /// Sources nothing is taken from.
    pub(crate) deny: Vec<Network>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            anonymous: true,
            requests_per_second: 200,
            calls_per_second: 50,
            failures: 20,
            ban: Length::millis(600_000),
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

impl Security {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (key, value) in [
            ("requests_per_second", self.requests_per_second),
            ("calls_per_second", self.calls_per_second),
            ("failures", self.failures),
        ] {
            ensure!((1..=1_000_000).contains(&value), "configuration: security.{key} is 1 to 1000000");
        }
        ensure!((1..=86_400).contains(&self.ban.0.as_secs()), "configuration: security.ban is 1s to 24h");
        Ok(())
    }
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    /// Address for SIP over TLS.
    pub(crate) listen: Option<SocketAddr>,
    /// Our certificate and those that vouch for it, PEM.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub(crate) key: Option<PathBuf>,
    /// Certificates that are trusted, PEM; the system's where there is none.
    pub(crate) trust: Vec<PathBuf>,
    /// Whether certificates of those we call are verified.
    pub(crate) verify: bool,
    /// Whether those that call us must have a certificate we trust.
    pub(crate) client_certificates: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: None,
            certificate: None,
            key: None,
            trust: Vec::new(),
            verify: true,
            client_certificates: false,
        }
    }
}

impl Tls {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.certificate.is_some() == self.key.is_some(),
            "configuration: tls.certificate and tls.key go together"
        );
        ensure!(
            self.listen.is_none() || self.certificate.is_some(),
            "configuration: tls.listen wants tls.certificate and tls.key"
        );
        ensure!(
            !self.client_certificates || !self.trust.is_empty(),
            "configuration: tls.client_certificates wants tls.trust, so that it is known which are trusted"
        );
        Ok(())
    }
}

/// `[ws]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ws {
    /// Address for SIP over WebSocket.
    pub(crate) listen: Option<SocketAddr>,
    /// Whether it is encrypted (wss), with the certificate of `[tls]`.
    pub(crate) secure: bool,
    /// Web pages that may connect: their origins.
    pub(crate) origins: Vec<String>,
}

impl Ws {
    pub(super) fn check(&self, tls: &Tls) -> anyhow::Result<()> {
        ensure!(
            !self.secure || tls.certificate.is_some(),
            "configuration: ws.secure wants tls.certificate and tls.key"
        );
        for origin in &self.origins {
            ensure!(
                origin == "*" || is_origin(origin),
                "configuration: ws.origins: `{origin}` is no origin; write \"https://desk.example\" or \"*\""
            );
        }
        Ok(())
    }
}

/// Whether this is the origin of a web page as browsers write it: scheme, host and port.
pub(super) fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, host)| {
        matches!(scheme, "http" | "https")
            && !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
    })
}
