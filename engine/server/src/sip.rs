//! The SIP side of the server: how the agent listens, who may come in, and the upkeep of trunks.

mod registration;
mod upkeep;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_sip::{
    Access, AgentConfig, Decision, DigestAlgorithm, LimitConfig, Peer, Registrar, RegistrarConfig,
    RequestFacts, Secret, TlsIdentity, TlsTrust,
};
use anyhow::Context;

use crate::config::{Algorithm, Config, Tls};
use crate::shared::Shared;
use crate::trunks::Router;

pub(crate) use upkeep::keep_up;

/// How long a call may wait for our decision beyond its own limit.
const GRACE: Duration = Duration::from_secs(5);

/// Where telephones register, if they may.
pub(crate) fn registrar(config: &Config) -> Option<Arc<Registrar>> {
    let section = &config.registrar;
    section.enabled.then(|| {
        Registrar::new(RegistrarConfig {
            max_contacts: section.contacts,
            min_expires: section.min_expires.0,
            max_expires: section.max_expires.0,
            default_expires: section.max_expires.0,
            ..RegistrarConfig::default()
        })
    })
}

/// How the agent listens.
pub(crate) fn agent_config(shared: &Arc<Shared>) -> anyhow::Result<AgentConfig> {
    let config = &shared.config;
    let security = &config.security;
    let allow = security.allow.iter().map(|network| network.to_string().parse());
    let allow = allow.collect::<Result<_, _>>().context("security.allow")?;
    let tls = &config.tls;
    let (plain, secure) = match config.ws.secure {
        true => (None, config.ws.listen),
        false => (config.ws.listen, None),
    };
    let trust = trust(tls)?;
    Ok(AgentConfig {
        udp: vec![config.sip.listen],
        tcp: vec![config.sip.listen],
        user_agent: Some(config.sip.user_agent.clone()).filter(|agent| !agent.is_empty()),
        session_expires: Some(config.sip.session_timer.0).filter(|expires| !expires.is_zero()),
        max_calls: config.call.concurrent * 2,
        ring_limit: config.call.ringing_limit.0 + GRACE,
        tls: tls.listen.into_iter().collect(),
        ws: plain.into_iter().collect(),
        wss: secure.into_iter().collect(),
        ws_origins: config.ws.origins.clone(),
        tls_identity: shared.certificate.clone(),
        tls_clients: tls.client_certificates.then(|| trust.clone()),
        tls_trust: trust,
        access: Arc::new(Policy { shared: Arc::clone(shared) }),
        registrar: shared.registrar.clone(),
        digest_algorithms: algorithms(config),
        name_servers: config.sip.name_servers.clone(),
        limits: LimitConfig {
            messages_per_second: security.requests_per_second,
            message_burst: security.requests_per_second.saturating_mul(2),
            calls_per_second: security.calls_per_second,
            call_burst: security.calls_per_second.saturating_mul(2),
            failures: security.failures,
            ban: security.ban.0,
            allow,
            ..LimitConfig::default()
        },
        ..AgentConfig::default()
    })
}

/// What passwords are asked for by: nothing that no user could answer. Old telephones give up at a challenge they do not
/// know, also where one they know comes with it.
fn algorithms(config: &Config) -> Vec<DigestAlgorithm> {
    let users = &config.users;
    let known = |algorithm: &Algorithm| users.is_empty() || users.iter().any(|u| u.answers(*algorithm));
    let chosen = config.registrar.algorithms.iter().copied();
    chosen.filter(known).map(Into::into).collect()
}

/// Our certificate for SIP over TLS, if there is one.
pub(crate) fn certificate(tls: &Tls) -> anyhow::Result<Option<Arc<TlsIdentity>>> {
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else { return Ok(None) };
    let (chain, key) = (pem(certificate, "tls.certificate")?, pem(key, "tls.key")?);
    Ok(Some(TlsIdentity::from_pem(&chain, &key).context("tls.certificate and tls.key")?))
}

/// Reads our certificate anew; connections that stand keep the old one.
pub(crate) fn reload_certificate(shared: &Shared) -> anyhow::Result<()> {
    let tls = &shared.config.tls;
    let (Some(identity), Some(certificate), Some(key)) = (&shared.certificate, &tls.certificate, &tls.key)
    else {
        return Ok(());
    };
    let (chain, key) = (pem(certificate, "tls.certificate")?, pem(key, "tls.key")?);
    identity.reload(&chain, &key).context("tls.certificate and tls.key")
}

fn trust(tls: &Tls) -> anyhow::Result<TlsTrust> {
    if !tls.verify {
        return Ok(TlsTrust::everybody());
    }
    if tls.trust.is_empty() {
        return Ok(TlsTrust::system());
    }
    let mut all = Vec::new();
    for file in &tls.trust {
        all.extend(pem(file, "tls.trust")?);
        all.push(b'\n');
    }
    TlsTrust::roots(&all).context("tls.trust")
}

fn pem(file: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{key}: {} cannot be read", file.display()))
}

/// Who may come in, by the configuration.
struct Policy {
    shared: Arc<Shared>,
}

impl Policy {
    fn router(&self) -> &Router {
        &self.shared.router
    }

    fn denies(&self, source: IpAddr) -> bool {
        self.shared.config.security.deny.iter().any(|network| network.contains(source))
    }

    fn authenticate(&self) -> Decision {
        Decision::Authenticate { realm: self.shared.config.registrar.realm.clone() }
    }

    /// Whether a telephone of ours is registered from just there.
    fn is_telephone(&self, facts: &RequestFacts<'_>) -> bool {
        let bindings = self.shared.registrar.as_ref().map(|r| r.lookup(facts.from.user.expose()));
        bindings.is_some_and(|all| all.iter().any(|binding| binding.destination == facts.source))
    }
}

impl Access for Policy {
    fn decide(&self, facts: &RequestFacts<'_>) -> Decision {
        let source = facts.source.ip();
        if self.denies(source) {
            return Decision::Drop;
        }
        if facts.method == "REGISTER" {
            return self.authenticate();
        }
        let user = self.router().user(facts.from.user.expose()).is_some();
        // A trunk's word is its address; but a telephone behind the same address is a telephone.
        let trunk = self.router().trunk_at(source);
        if user && self.shared.registrar.is_some() && (trunk.is_none() || self.is_telephone(facts)) {
            return self.authenticate();
        }
        match trunk {
            Some(trunk) => Decision::Accept(Peer::Trunk(trunk.name.clone())),
            // For sessions of MRCPv2 alone: whatever else comes from there is refused when its offer is seen.
            None if self.shared.config.mrcp.serves(source) => Decision::Accept(Peer::Anonymous),
            None if self.shared.config.security.anonymous || facts.method == "OPTIONS" => {
                Decision::Accept(Peer::Anonymous)
            }
            None => Decision::Refuse(403),
        }
    }

    fn secret(&self, user: &str, realm: &str) -> Option<Secret> {
        let config = self.router().user(user).filter(|_| realm == self.shared.config.registrar.realm)?;
        Some(match &config.password {
            Some(password) => Secret::Password(password.expose().to_owned()),
            None => {
                let hash = |secret: &Option<crate::config::Secret>| {
                    secret.as_ref().map(|secret| secret.expose().to_ascii_lowercase())
                };
                Secret::Ha1 { md5: hash(&config.ha1), sha256: hash(&config.ha1_sha256) }
            }
        })
    }

    fn exempts(&self, source: IpAddr) -> bool {
        self.router().trunk_at(source).is_some()
    }

    fn trusts(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Trunk(name) => self.router().trunk(name).is_some_and(|trunk| trunk.trusted),
            Peer::Anonymous | Peer::User(_) => false,
        }
    }
}
