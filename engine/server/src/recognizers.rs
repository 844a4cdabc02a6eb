//! The recognisers of a server: its own, and those that tenants have instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_models_backends::{EngineSettings, open_engine};
use antiphon_models_speech::{Engine, Language};
use anyhow::Context;

use crate::config::Config;
use crate::models;

/// Who hears whom.
pub(crate) struct Recognizers {
    usual: Vec<Arc<dyn Engine>>,
    tenants: BTreeMap<String, Tenant>,
}

/// A recogniser, and what is spoken to it.
pub(crate) struct Opened<'a> {
    pub(crate) engine: &'a Arc<dyn Engine>,
    /// As far as its tenants say; whatever flows speak where it is the server's own.
    pub(crate) languages: Option<Vec<&'a Language>>,
}

/// What a tenant has of its own.
struct Tenant {
    engines: Vec<Arc<dyn Engine>>,
    language: Option<Language>,
}

impl Recognizers {
    /// Opens the configured recognisers; tenants that name the same one share it.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let usual = open(config)?;
        let mut known: BTreeMap<&str, Arc<dyn Engine>> = BTreeMap::new();
        if let Some(engine) = usual.first() {
            known.insert(&config.recognizer.engine, Arc::clone(engine));
        }
        let mut tenants = BTreeMap::new();
        for section in &config.tenants {
            let mut engines = usual.clone();
            if let Some(name) = &section.engine {
                let engine = match known.get(name.as_str()) {
                    Some(engine) => Arc::clone(engine),
                    None => {
                        let mut config = config.clone();
                        config.recognizer.engine.clone_from(name);
                        config.recognizer.fallback.clear();
                        let opened = open(&config).with_context(|| format!("tenant {}", section.name))?;
                        opened
                            .into_iter()
                            .next()
                            .with_context(|| format!("tenant {}: no engine", section.name))?
                    }
                };
                known.insert(name, Arc::clone(&engine));
                // What hears the others takes over where it fails.
                engines.retain(|usual| !Arc::ptr_eq(usual, &engine));
                engines.insert(0, engine);
            }
            let language = section.language.as_deref().and_then(Language::parse);
            tenants.insert(section.name.clone(), Tenant { engines, language });
        }
        Ok(Self { usual, tenants })
    }

    /// What hears a tenant's calls: the recogniser, and those that take over where it fails; empty where there is none. The
    /// server's own for whoever is no tenant.
    pub(crate) fn of(&self, tenant: &str) -> &[Arc<dyn Engine>] {
        self.tenants.get(tenant).map_or(&self.usual, |tenant| &tenant.engines)
    }

    /// The recogniser among them.
    pub(crate) fn first_of(&self, tenant: &str) -> Option<&Arc<dyn Engine>> {
        self.of(tenant).first()
    }

    /// What a tenant's people speak where nothing else says so.
    pub(crate) fn language_of(&self, tenant: &str) -> Option<&Language> {
        self.tenants.get(tenant)?.language.as_ref()
    }

    /// Each of them once. The server's own come last: what is measured of them counts most.
    pub(crate) fn all(&self) -> Vec<Opened<'_>> {
        let mut all: Vec<Opened<'_>> = Vec::new();
        for tenant in self.tenants.values() {
            let Some(engine) = tenant.engines.first().filter(|engine| !self.is_usual(engine)) else {
                continue;
            };
            let at = all.iter().position(|known| Arc::ptr_eq(known.engine, engine)).unwrap_or_else(|| {
                all.push(Opened { engine, languages: Some(Vec::new()) });
                all.len() - 1
            });
            if let Some(languages) = &mut all[at].languages {
                languages.extend(&tenant.language);
            }
        }
        all.extend(self.usual.iter().map(|engine| Opened { engine, languages: None }));
        all
    }

    fn is_usual(&self, engine: &Arc<dyn Engine>) -> bool {
        self.usual.iter().any(|usual| Arc::ptr_eq(usual, engine))
    }
}

/// Opens the configured recogniser and those that take over; none for the engine `none`.
pub(crate) fn open(config: &Config) -> anyhow::Result<Vec<Arc<dyn Engine>>> {
    if config.recognizer.engine == "none" {
        return Ok(Vec::new());
    }
    let mut config = config.clone();
    models::settle(&mut config, &[])?;
    models::find(&mut config);
    let settings = EngineSettings {
        scripted: config.recognizer.scripted.clone(),
        pocketsphinx: config.recognizer.pocketsphinx.clone(),
        whisper: config.recognizer.whisper.clone(),
        remote: config.recognizer.remote.clone(),
        transducer: config.recognizer.transducer.clone(),
        paraformer: config.recognizer.paraformer.clone(),
        candle: config.recognizer.candle.clone(),
    };
    let names = std::iter::once(&config.recognizer.engine).chain(&config.recognizer.fallback);
    names.map(|name| Ok(open_engine(name, &settings)?)).collect()
}
