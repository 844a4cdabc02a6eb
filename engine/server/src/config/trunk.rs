//! `[[trunk]]`: a carrier or an exchange, how it is reached and what may be called over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::secret::reveal;
use super::{Host, Length, Network, Pattern, Rewrite, Secret, Template, check_codecs, check_name};

/// Hosts of one trunk, rules of one list, patterns of one list.
const MANY: usize = 1_000;
/// Targets that redirections may add to a call: five in all, with the first.
pub(super) const MOST_REDIRECTS: u8 = 4;
/// Headers that make a message what it is: the stack writes them, and nobody else.
const OWN_HEADERS: [&str; 35] = [
    "accept",
    "allow",
    "allow-events",
    "authorization",
    "call-id",
    "contact",
    "content-encoding",
    "content-length",
    "content-type",
    "cseq",
    "event",
    "expires",
    "from",
    "i",
    "l",
    "m",
    "max-forwards",
    "min-se",
    "p-asserted-identity",
    "privacy",
    "proxy-authorization",
    "proxy-require",
    "rack",
    "record-route",
    "refer-to",
    "referred-by",
    "replaces",
    "require",
    "route",
    "rseq",
    "session-expires",
    "supported",
    "to",
    "user-agent",
    "via",
];
/// The one-letter forms of the headers above (RFC 3261, section 7.3.3).
const SHORT_HEADERS: &str = "abcdefijklmnorstuvxy";

/// Whether media is encrypted by keys in the SDP (RFC 4568).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Srtp {
    /// Plain RTP.
    #[default]
    Off,
    /// Where the far side can.
    Optional,
    /// Or there is no call.
    Required,
}

/// How keys travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dtmf {
    /// RFC 4733.
    #[default]
    Rfc4733,
    /// Tones.
    Inband,
    /// SIP INFO.
    Info,
}

/// Whether the other side is behind address translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Nat {
    /// As it turns out: media goes back to where it really comes from, requests to where a private Contact is seen.
    #[default]
    Auto,
    /// It is: requests always go to where its own came from.
    On,
    /// It is not: media and requests go where SDP and Contact say, and come from nowhere else.
    Off,
}

impl Nat {
    /// Whether media from another address than the one in SDP may be believed.
    pub(crate) const fn latches(self) -> bool {
        !matches!(self, Self::Off)
    }
}

impl From<Nat> for antiphon_media_sip::Nat {
    fn from(nat: Nat) -> Self {
        match nat {
            Nat::Auto => Self::Auto,
            Nat::On => Self::On,
            Nat::Off => Self::Off,
        }
    }
}

/// `[[trunk]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trunk {
    /// What routes, records and figures call it.
    pub(crate) name: String,
    /// Where its calls go, the best first.
    #[serde(default)]
    pub(crate) hosts: Vec<Host>,
    /// Addresses its calls come from; those of `hosts` where there is none.
    #[serde(default, rename = "match")]
    pub(crate) networks: Vec<Network>,
    /// The domain of the From header; the host's name where there is none.
    #[serde(default)]
    pub(crate) from_domain: Option<String>,
    /// How we register with it.
    #[serde(default)]
    pub(crate) register: Option<Register>,
    /// What we answer its challenges with; those of `register` where there is none.
    #[serde(default)]
    pub(crate) credentials: Option<Credentials>,
    /// Codecs, best first; `media.codecs` where there is none.
    #[serde(default)]
    pub(crate) codecs: Vec<String>,
    #[serde(default)]
    pub(crate) srtp: Srtp,
    #[serde(default)]
    pub(crate) dtmf: Dtmf,
    /// What it is told about who calls; the first rule that fits.
    #[serde(default)]
    pub(crate) caller: Vec<CallerRule>,
    /// In what form it wants numbers; the first rule that fits.
    #[serde(default)]
    pub(crate) called: Vec<CalledRule>,
    /// The tenant whose streams of the recogniser pool its calls take.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// Calls at once, both ways.
    #[serde(default)]
    pub(crate) max_calls: Option<usize>,
    /// New calls a second, both ways.
    #[serde(default)]
    pub(crate) calls_per_second: Option<u32>,
    /// Between OPTIONS to each host; 0s asks none.
    #[serde(default = "options_interval")]
    pub(crate) options_interval: Length,
    /// How long a host may take to say anything at all before the next one is tried.
    #[serde(default = "try_limit")]
    pub(crate) try_limit: Length,
    /// How long a call may ring.
    #[serde(default = "ring_limit")]
    pub(crate) ring_limit: Length,
    /// SIP statuses at which the next host is tried.
    #[serde(default = "failover_on")]
    pub(crate) failover_on: Vec<u16>,
    /// How many targets of its redirections (3xx) a call may be sent on to; none where it is 0.
    #[serde(default = "redirects")]
    pub(crate) redirects: u8,
    /// Headers of its INVITEs that become variables: header to variable.
    #[serde(default)]
    pub(crate) headers_in: BTreeMap<String, String>,
    /// Headers put into our INVITEs: header to text with variables.
    #[serde(default)]
    pub(crate) headers_out: BTreeMap<String, Template>,
    /// Session timer (RFC 4028), where it differs from `sip.session_timer`; 0s is none.
    #[serde(default)]
    pub(crate) session_timer: Option<Length>,
    /// Whether its P-Asserted-Identity, Diversion and the like are believed, and ours are told to it.
    #[serde(default)]
    pub(crate) trusted: bool,
    /// Whether it is behind address translation.
    #[serde(default)]
    pub(crate) nat: Nat,
    /// What its callers and called ones hear on hold; `media.hold_music` where there is nothing.
    #[serde(default)]
    pub(crate) hold_music: Option<PathBuf>,
    /// Whether its callers hear us before the answer (183).
    #[serde(default)]
    pub(crate) early_media: bool,
    /// Numbers that may be called over it. None may where it is empty.
    #[serde(default)]
    pub(crate) allow: Vec<Pattern>,
    /// Numbers that may not, whatever `allow` says.
    #[serde(default)]
    pub(crate) deny: Vec<Pattern>,
}

/// `[trunk.register]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    pub(crate) user: String,
    /// The user name of the digest; `user` where there is none.
    #[serde(default)]
    pub(crate) auth_user: Option<String>,
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    #[serde(default)]
    pub(crate) password_env: Option<String>,
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
    /// Where to register; the first of the trunk's hosts where there is none.
    #[serde(default)]
    pub(crate) registrar: Option<Host>,
    /// The user of our Contact, which calls to us are sent to; `user` where there is none.
    #[serde(default)]
    pub(crate) contact: Option<String>,
    #[serde(default = "expires")]
    pub(crate) expires: Length,
}

/// `[trunk.credentials]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    /// The only realm that is answered, where it is given.
    #[serde(default)]
    pub(crate) realm: Option<String>,
    #[serde(default)]
    pub(crate) password: Option<Secret>,
    #[serde(default)]
    pub(crate) password_env: Option<String>,
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
}

/// `[[trunk.caller]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallerRule {
    /// Callers it is for.
    #[serde(default = "Pattern::any", rename = "match")]
    pub(crate) pattern: Pattern,
    /// The user of the From header.
    #[serde(default = "Rewrite::whole")]
    pub(crate) from: Rewrite,
    /// The name of the From header.
    #[serde(default)]
    pub(crate) display_name: Option<String>,
    /// The user of P-Asserted-Identity (RFC 3325), for a trusted trunk.
    #[serde(default)]
    pub(crate) asserted: Option<Rewrite>,
    /// Whether the number is withheld from the called one: an anonymous From and `Privacy: id`.
    #[serde(default)]
    pub(crate) privacy: bool,
}

/// `[[trunk.called]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalledRule {
    /// Numbers it is for.
    #[serde(default = "Pattern::any", rename = "match")]
    pub(crate) pattern: Pattern,
    /// Characters taken away at the front, after `number`.
    #[serde(default)]
    pub(crate) strip: usize,
    /// Characters put at the front after that.
    #[serde(default)]
    pub(crate) prefix: String,
    /// The number made of the pattern's groups.
    #[serde(default = "Rewrite::whole")]
    pub(crate) number: Rewrite,
}

fn options_interval() -> Length {
    Length::millis(30_000)
}

fn try_limit() -> Length {
    Length::millis(4_000)
}

fn ring_limit() -> Length {
    Length::millis(120_000)
}

fn failover_on() -> Vec<u16> {
    vec![408, 500, 502, 503, 504]
}

pub(super) fn redirects() -> u8 {
    MOST_REDIRECTS
}

fn expires() -> Length {
    Length::millis(3_600_000)
}

impl Trunk {
    pub(super) fn reveal(&mut self) -> anyhow::Result<()> {
        let key = format!("trunk.{}", self.name);
        if let Some(register) = &mut self.register {
            reveal(
                &format!("{key}.register.password"),
                &mut register.password,
                register.password_env.as_deref(),
                register.password_file.as_deref(),
            )?;
        }
        if let Some(credentials) = &mut self.credentials {
            reveal(
                &format!("{key}.credentials.password"),
                &mut credentials.password,
                credentials.password_env.as_deref(),
                credentials.password_file.as_deref(),
            )?;
        }
        Ok(())
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        check_name("trunk.name", &self.name)?;
        let key = format!("configuration: trunk.{}", self.name);
        if self.hosts.is_empty() && self.networks.is_empty() {
            bail!("{key} has neither hosts (where its calls go) nor match (where they come from)");
        }
        let (caller, called) = (self.caller.len(), self.called.len());
        for (list, length) in
            [("hosts", self.hosts.len()), ("match", self.networks.len()), ("caller", caller)]
                .into_iter()
                .chain([("called", called), ("allow", self.allow.len()), ("deny", self.deny.len())])
        {
            ensure!(length <= MANY, "{key}.{list} holds {length}; at most {MANY} are taken");
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.hosts.iter().find(|host| !seen.insert(host.to_string())) {
            bail!("{key}.hosts names {twice} twice");
        }
        if let Some(register) = &self.register {
            check_user(&format!("{key}.register.user"), &register.user)?;
            ensure!(
                register.password.is_some(),
                "{key}.register has no password; set password, password_env or password_file"
            );
            ensure!(
                register.registrar.is_some() || !self.hosts.is_empty(),
                "{key}.register has no registrar, and the trunk no hosts"
            );
            let expires = register.expires.0.as_secs();
            ensure!((60..=86_400).contains(&expires), "{key}.register.expires is 60s to 24h");
        }
        if let Some(credentials) = &self.credentials {
            ensure!(!credentials.user.is_empty(), "{key}.credentials.user is empty");
            ensure!(
                credentials.password.is_some(),
                "{key}.credentials has no password; set password, password_env or password_file"
            );
        }
        check_codecs(&format!("trunk.{}.codecs", self.name), &self.codecs)?;
        for rule in &self.caller {
            for rewrite in [Some(&rule.from), rule.asserted.as_ref()].into_iter().flatten() {
                rewrite.check(&rule.pattern).map_err(|error| anyhow::anyhow!("{key}.caller: {error}"))?;
            }
            if let Some(name) = &rule.display_name {
                let fits = name.len() <= 128 && !name.chars().any(|c| c.is_control() || "\"\\".contains(c));
                ensure!(
                    fits,
                    "{key}.caller.display_name is at most 128 bytes without quotes and backslashes"
                );
            }
            ensure!(
                rule.asserted.is_none() || self.trusted,
                "{key}.caller.asserted tells who calls to a trunk that is not trusted; set trusted = true"
            );
        }
        for rule in &self.called {
            rule.number.check(&rule.pattern).map_err(|error| anyhow::anyhow!("{key}.called: {error}"))?;
            let fits = rule.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"+*#".contains(&b));
            ensure!(fits && rule.prefix.len() <= 32, "{key}.called.prefix is digits, letters, +, * and #");
        }
        ensure!(self.max_calls != Some(0), "{key}.max_calls is at least 1; leave it out for no limit");
        ensure!(
            self.calls_per_second != Some(0),
            "{key}.calls_per_second is at least 1; leave it out for no limit"
        );
        let interval = self.options_interval.0.as_secs();
        ensure!(
            interval == 0 || (5..=3_600).contains(&interval),
            "{key}.options_interval is 0s, or 5s to 1h"
        );
        ensure!((500..=60_000).contains(&self.try_limit.0.as_millis()), "{key}.try_limit is 500ms to 60s");
        ensure!((1..=600).contains(&self.ring_limit.0.as_secs()), "{key}.ring_limit is 1s to 10m");
        if let Some(status) = self.failover_on.iter().find(|status| !(400..700).contains(*status)) {
            bail!("{key}.failover_on: {status} is no status that refuses a call (400 to 699)");
        }
        ensure!(self.redirects <= MOST_REDIRECTS, "{key}.redirects is 0 to {MOST_REDIRECTS}");
        if let Some(timer) = self.session_timer {
            check_session_timer(&format!("{key}.session_timer"), timer)?;
        }
        for (header, variable) in &self.headers_in {
            check_header(&format!("{key}.headers_in"), header)?;
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            ensure!(
                !variable.is_empty() && variable.chars().all(word),
                "{key}.headers_in: `{variable}` is no variable; names are letters, digits and underscores"
            );
        }
        for header in self.headers_out.keys() {
            check_header(&format!("{key}.headers_out"), header)?;
            let lower = header.to_ascii_lowercase();
            let own =
                OWN_HEADERS.contains(&lower.as_str()) || (lower.len() == 1 && SHORT_HEADERS.contains(&lower));
            ensure!(
                !own,
                "{key}.headers_out: {header} is written by the SIP stack; choose another, such as X-{header}"
            );
        }
        if let Some(domain) = &self.from_domain {
            let host: Result<Host, String> = domain.parse();
            ensure!(
                host.is_ok_and(|host| host.parameter().is_empty()),
                "{key}.from_domain: `{domain}` is no host name"
            );
        }
        Ok(())
    }
}

fn check_user(key: &str, user: &str) -> anyhow::Result<()> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,".contains(&b);
    ensure!(
        !user.is_empty() && user.len() <= 64 && user.bytes().all(fits),
        "{key} is 1 to 64 letters, digits and -_.!~*'()&=+$,"
    );
    Ok(())
}

pub(super) fn check_session_timer(key: &str, timer: Length) -> anyhow::Result<()> {
    let seconds = timer.0.as_secs();
    // RFC 4028, section 5: no shorter than 90 s.
    ensure!(seconds == 0 || (90..=86_400).contains(&seconds), "{key} is 0s (none), or 90s to 24h");
    Ok(())
}

fn check_header(key: &str, name: &str) -> anyhow::Result<()> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    ensure!(
        !name.is_empty() && name.len() <= 64 && name.bytes().all(token),
        "{key}: `{name}` is no name of a header"
    );
    Ok(())
}
