//! Configuration: flags over environment over file over defaults. It runs with none of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_media_codec::CodecKind;
use serde::{Deserialize, Serialize};

mod access;
mod address;
mod assist;
mod ice_server;
mod length;
mod overrides;
mod pattern;
mod pool;
mod qa;
mod records;
mod route;
mod secret;
mod sections;
mod template;
mod trunk;

pub(crate) use access::{Algorithm, Registrar, Security, Tls, Token, User, Ws};
pub(crate) use address::{Host, Network};
pub(crate) use assist::AssistSection;
pub(crate) use ice_server::{IceServer, parse as parse_ice_url};
pub(crate) use length::{Length, parse_length};
pub(crate) use overrides::Overrides;
pub(crate) use pattern::{Pattern, Rewrite};
pub(crate) use pool::{PoolSection, TenantSection};
pub(crate) use qa::{QaSection, S3Section};
pub(crate) use records::{CdrSection, StoreSection, Webhook};
pub(crate) use route::{Route, Whence};
pub(crate) use secret::Secret;
pub(crate) use sections::{
    CallSection, FlowSection, Http, LogSection, Media, ModelsSection, MrcpSection, RecognizerSection, Sip,
    Supervision, VoiceSection,
};
pub(crate) use template::Template;
pub(crate) use trunk::{Dtmf, Nat, Register, Srtp, Trunk};
pub(crate) use {access::Scope, records::Durability};

use trunk::check_session_timer;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where recordings, sidecars, events and the prompt cache go.
    pub(crate) data: PathBuf,
    pub(crate) sip: Sip,
    pub(crate) http: Http,
    pub(crate) media: Media,
    pub(crate) call: CallSection,
    pub(crate) recognizer: RecognizerSection,
    pub(crate) pool: PoolSection,
    pub(crate) models: ModelsSection,
    pub(crate) voice: VoiceSection,
    pub(crate) flow: FlowSection,
    pub(crate) log: LogSection,
    pub(crate) registrar: Registrar,
    pub(crate) supervision: Supervision,
    pub(crate) mrcp: MrcpSection,
    pub(crate) security: Security,
    pub(crate) tls: Tls,
    pub(crate) ws: Ws,
    pub(crate) cdr: CdrSection,
    pub(crate) qa: QaSection,
    pub(crate) store: StoreSection,
    /// Carriers and exchanges.
    #[serde(rename = "trunk")]
    pub(crate) trunks: Vec<Trunk>,
    /// Where calls go; the first that fits.
    #[serde(rename = "route")]
    pub(crate) routes: Vec<Route>,
    /// People with telephones that register.
    #[serde(rename = "user")]
    pub(crate) users: Vec<User>,
    /// Whose streams of the recogniser pool are whose.
    #[serde(rename = "tenant")]
    pub(crate) tenants: Vec<TenantSection>,
    /// Who may use the API for what, besides `http.token`, which may do everything.
    #[serde(rename = "token")]
    pub(crate) tokens: Vec<Token>,
    /// What agents are helped with on calls in progress; the first entry that takes a call.
    pub(crate) assist: Vec<AssistSection>,
    /// STUN and TURN servers that web pages are told of.
    #[serde(rename = "ice_server")]
    pub(crate) ice_servers: Vec<IceServer>,
    /// Who is told of records and events.
    #[serde(rename = "webhook")]
    pub(crate) webhooks: Vec<Webhook>,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            data: "antiphon-data".into(),
            sip: Sip::default(),
            http: Http::default(),
            media: Media::default(),
            call: CallSection::default(),
            recognizer: RecognizerSection::default(),
            pool: PoolSection::default(),
            models: ModelsSection::default(),
            voice: VoiceSection::default(),
            flow: FlowSection::default(),
            log: LogSection::default(),
            registrar: Registrar::default(),
            supervision: Supervision::default(),
            mrcp: MrcpSection::default(),
            security: Security::default(),
            tls: Tls::default(),
            ws: Ws::default(),
            cdr: CdrSection::default(),
            qa: QaSection::default(),
            store: StoreSection::default(),
            trunks: Vec::new(),
            routes: Vec::new(),
            users: Vec::new(),
            tenants: Vec::new(),
            tokens: Vec::new(),
            assist: Vec::new(),
            ice_servers: Vec::new(),
            webhooks: Vec::new(),
        }
    }
}
impl Config {
    /// Reads the file, if any, and lays the flags (and the environment, which clap reads) over it.
    pub(crate) fn load(overrides: &Overrides) -> anyhow::Result<Self> {
        let mut config = match &overrides.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        let over = overrides.clone();
        config.sip.listen = over.sip.unwrap_or(config.sip.listen);
        config.http.listen = over.http.unwrap_or(config.http.listen);
        config.data = over.data.unwrap_or(config.data);
        config.flow.file = over.flow.or(config.flow.file);
        config.recognizer.engine = over.engine.unwrap_or(config.recognizer.engine);
        config.media.rtp_ports = over.rtp_ports.unwrap_or(config.media.rtp_ports);
        config.log.level = over.log.unwrap_or(config.log.level);
        if let Ok(token) = std::env::var("ANTIPHON_TOKEN")
            && !token.is_empty()
        {
            config.http.token = Some(Secret::new(token));
        }
        config.reveal()?;
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| anyhow::anyhow!("cannot read the configuration {}: {e}", path.display()))?;
        toml::from_str(&text).map_err(|e| {
            let line =
                e.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            anyhow::anyhow!("{}:{line}: {}", path.display(), e.message().trim())
        })
    }

    /// Fetches the secrets that lie elsewhere.
    fn reveal(&mut self) -> anyhow::Result<()> {
        self.trunks.iter_mut().try_for_each(Trunk::reveal)?;
        self.users.iter_mut().try_for_each(User::reveal)?;
        self.tokens.iter_mut().try_for_each(Token::reveal)?;
        self.ice_servers.iter_mut().try_for_each(IceServer::reveal)?;
        self.store.reveal()?;
        self.qa.reveal()?;
        self.webhooks.iter_mut().try_for_each(Webhook::reveal)
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let refuse = |what: &str| Err(anyhow::anyhow!("configuration: {what}"));
        if !self.http.listen.ip().is_loopback() && self.http.token.is_none() && self.tokens.is_empty() {
            return refuse(
                "http.listen is reachable from other machines, so http.token (or ANTIPHON_TOKEN) or a [[token]] must be set",
            );
        }
        for origin in &self.http.origins {
            if !access::is_origin(origin) {
                return Err(anyhow::anyhow!(
                    "configuration: http.origins: `{origin}` is no origin; write \"https://desk.example\""
                ));
            }
        }
        if self.call.concurrent == 0 || self.call.concurrent > 10_000 {
            return refuse("call.concurrent is 1 to 10000");
        }
        if self.recognizer.workers == 0 || self.recognizer.workers > 256 {
            return refuse("recognizer.workers is 1 to 256");
        }
        if !(200..=5_000).contains(&self.recognizer.endpoint.0.as_millis()) {
            return refuse("recognizer.endpoint is 200ms to 5s");
        }
        let mut engines = std::collections::BTreeSet::from([&self.recognizer.engine]);
        if let Some(twice) = self.recognizer.fallback.iter().find(|name| !engines.insert(name)) {
            return Err(anyhow::anyhow!(
                "configuration: recognizer.fallback names {} again; an engine that fails is tried anew anyway",
                twice.escape_debug()
            ));
        }
        self.pool.check()?;
        self.mrcp.check()?;
        self.store.check()?;
        self.qa.check()?;
        self.tenants.iter().try_for_each(TenantSection::check)?;
        unique("tenant", self.tenants.iter().map(|tenant| &tenant.name))?;
        if !(40..=2_000).contains(&self.media.barge_in.0.as_millis()) {
            return refuse("media.barge_in is 40ms to 2s");
        }
        if self.call.rtp_silence.0 < Duration::from_secs(1) {
            return refuse("call.rtp_silence is at least 1s");
        }
        check_codecs("media.codecs", &self.media.codecs)?;
        if self.media.codecs.is_empty() {
            return refuse("media.codecs names no codec");
        }
        if let Some(stun) = &self.media.stun
            && !stun
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse().is_ok_and(|port: u16| port > 0))
        {
            return refuse("media.stun is `host:port`, such as \"stun.example:3478\"");
        }
        check_session_timer("configuration: sip.session_timer", self.sip.session_timer)?;
        self.registrar.check()?;
        self.security.check()?;
        self.tls.check()?;
        self.ws.check(&self.tls)?;
        self.trunks.iter().try_for_each(Trunk::check)?;
        self.users.iter().try_for_each(User::check)?;
        self.users.iter().try_for_each(|user| self.registrar.check_user(user))?;
        self.tokens.iter().try_for_each(Token::check)?;
        anyhow::ensure!(self.ice_servers.len() <= 8, "configuration: there are more than 8 [[ice_server]]");
        self.assist.iter().try_for_each(|entry| entry.check(self))?;
        self.ice_servers.iter().try_for_each(IceServer::check)?;
        self.webhooks.iter().try_for_each(Webhook::check)?;
        let of_tokens = self.tokens.iter().map(|token| ("token", &token.name, &token.tenant));
        let of_trunks = self.trunks.iter().map(|trunk| ("trunk", &trunk.name, &trunk.tenant));
        if let Some(tenant) = &self.mrcp.tenant
            && !self.tenants.iter().any(|known| known.name == *tenant)
        {
            return Err(anyhow::anyhow!(
                "configuration: mrcp.tenant: there is no [[tenant]] of the name {}",
                tenant.escape_debug()
            ));
        }
        for (section, name, tenant) in of_tokens.chain(of_trunks) {
            if let Some(tenant) = tenant
                && !self.tenants.iter().any(|known| known.name == *tenant)
            {
                return Err(anyhow::anyhow!(
                    "configuration: {section}.{name}.tenant: there is no [[tenant]] of the name {}",
                    tenant.escape_debug()
                ));
            }
        }
        unique("trunk", self.trunks.iter().map(|trunk| &trunk.name))?;
        if let Some(supervisor) = &self.qa.supervisor {
            let known = |name: &str| self.users.iter().any(|user| user.name == name);
            anyhow::ensure!(
                !supervisor.is_empty() && supervisor.strip_prefix("user:").is_none_or(known),
                "configuration: qa.supervisor: write a number, a SIP address or `user:NAME` with the name of a [[user]]"
            );
        }
        unique("user", self.users.iter().map(|user| &user.name))?;
        unique("token", self.tokens.iter().map(|token| &token.name))?;
        unique("webhook", self.webhooks.iter().map(|webhook| &webhook.name))?;
        for (n, route) in self.routes.iter().enumerate() {
            route.check(n + 1, self)?;
        }
        Ok(())
    }
}

/// Codecs there are; a build may lack some of them, which opening one then says.
fn check_codecs(key: &str, codecs: &[String]) -> anyhow::Result<()> {
    for codec in codecs {
        // What this build cannot code (G.729 without its library) is no codec of it.
        let known = || CodecKind::ALL.into_iter().filter(|kind| kind.is_available()).map(CodecKind::name);
        if !known().any(|known| known.eq_ignore_ascii_case(codec)) {
            let known = known().collect::<Vec<_>>().join(", ");
            anyhow::bail!("configuration: {key}: `{codec}` is none of {known}");
        }
    }
    Ok(())
}

/// Names stand in URLs, in file names and in figures.
fn check_name(key: &str, name: &str) -> anyhow::Result<()> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        anyhow::bail!(
            "configuration: {key}: `{}` is not 1 to 64 letters, digits, -, _ and .",
            name.escape_debug()
        );
    }
    Ok(())
}

fn unique<'n>(section: &str, names: impl Iterator<Item = &'n String>) -> anyhow::Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        anyhow::ensure!(seen.insert(name), "configuration: there are two [[{section}]] of the name {name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("antiphon.toml");
        std::fs::write(&path, text).expect("written");
        Config::load(&Overrides { config: Some(path), ..Overrides::default() })
    }

    #[test]
    fn nothing_need_be_configured() {
        assert_eq!(Config::load(&Overrides::default()).expect("defaults"), Config::default());
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("antiphon.toml");
        std::fs::write(&path, "data = \"/from/file\"\n[sip]\nlisten = \"127.0.0.1:5070\"\n")
            .expect("written");
        let overrides =
            Overrides { config: Some(path), sip: "127.0.0.1:5080".parse().ok(), ..Overrides::default() };
        let config = Config::load(&overrides).expect("valid");
        assert_eq!(config.sip.listen.port(), 5080);
        assert_eq!(config.data, Path::new("/from/file"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = read("[call]\nconcurrent = 5\nlongst = \"1h\"\n").expect_err("a slip").to_string();
        assert!(
            error.contains("antiphon.toml:3:") && error.contains("longst") && error.contains("longest"),
            "{error}"
        );
    }

    #[test]
    fn impossible_values_are_refused_with_their_range() {
        for (text, part) in [
            ("[call]\nconcurrent = 0", "1 to 10000"),
            ("[pool]\nbatch_share = 1.0", "pool.batch_share is 0 to 0.9"),
            ("[pool]\ntime_zone = \"Mars\"", "no time zone"),
            ("[[pool.period]]\nfrom = \"24:00\"\nto = \"07:00\"", "no time of the day"),
            ("[[pool.period]]\nfrom = \"07:00\"\nto = \"07:00\"", "begins when it ends"),
            ("[[tenant]]\nname = \"a\"\nweight = 0.0", "tenant.a.weight"),
            ("[mrcp]\nlisten = \"127.0.0.1:1544\"", "mrcp.allow names nobody"),
            ("[mrcp]\nsessions = 0", "mrcp.sessions is 1 to 10000"),
            ("[mrcp]\ntenant = \"nobody\"", "mrcp.tenant: there is no [[tenant]]"),
            (
                "[recognizer]\nengine = \"pocketsphinx\"\nfallback = [\"pocketsphinx\"]",
                "names pocketsphinx again",
            ),
            ("[recognizer]\nendpoint = \"20\"", "no length of time"),
            ("[http]\nlisten = \"0.0.0.0:8080\"", "http.token"),
            ("[media]\ncodecs = [\"G729\"]", "G729"),
            ("[media]\nstun = \"stun.example\"", "host:port"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let config = read("[http]\ntoken = \"hunter2\"").expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!toml::to_string(&config).expect("printable").contains("hunter2"));
    }

    #[test]
    fn the_defaults_survive_a_round_trip() {
        let text = toml::to_string_pretty(&Config::default()).expect("printable");
        assert_eq!(read(&text).expect("readable"), Config::default());
    }
}
