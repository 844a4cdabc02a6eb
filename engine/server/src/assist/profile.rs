//! The books and the knowledge of the configuration, read anew when they change.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use antiphon_engine_assist::Book;
use antiphon_engine_knowledge::{Answer, Filter, Knowledge, KnowledgeError, Limits};
use antiphon_models_speech::Language;
use anyhow::Context;

use crate::config::{AssistSection, Config};
use crate::shared::Shared;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Every entry of `[[assist]]`, with what it names.
pub(crate) struct Profiles(Vec<Arc<Profile>>);

/// One entry of `[[assist]]`.
pub(crate) struct Profile {
    section: AssistSection,
    book: RwLock<(Option<Stamp>, Arc<Book>)>,
    knowledge: Vec<Arc<Knowledge>>,
}

/// What a file was when it was read: when it was changed, and its octets.
type Stamp = (SystemTime, u64);

/// What is known of a call when it is answered.
pub(crate) struct About<'a> {
    pub(crate) trunk: Option<&'a str>,
    pub(crate) flow: Option<&'a str>,
    pub(crate) tenant: &'a str,
    pub(crate) language: &'a Language,
}

impl Profiles {
    /// Reads everything. What cannot be read of a folder of knowledge is told to the log, and the rest taken.
    ///
    /// # Errors
    /// A book or a folder that cannot be read at all.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let open = |section: &AssistSection| {
            Profile::open(section.clone()).with_context(|| format!("assist.{}", section.name)).map(Arc::new)
        };
        Ok(Self(config.assist.iter().map(open).collect::<anyhow::Result<_>>()?))
    }

    /// The first whose conditions a call meets.
    pub(crate) fn of(&self, about: &About<'_>) -> Option<&Arc<Profile>> {
        self.0
            .iter()
            .find(|profile| profile.section.takes(about.trunk, about.flow, about.tenant, about.language))
    }

    /// Those that a tenant may ask; without a tenant all, and with a name that one alone.
    pub(crate) fn open_to<'a>(
        &'a self,
        tenant: Option<&'a str>,
        name: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Profile>> {
        self.0.iter().filter(move |profile| {
            let own = profile.section.tenant.as_deref();
            let theirs = tenant.is_none() || own.is_none() || own == tenant;
            theirs && name.is_none_or(|name| name == profile.section.name)
        })
    }

    fn refresh(&self) {
        self.0.iter().for_each(|profile| profile.refresh());
    }
}

impl Profile {
    fn open(section: AssistSection) -> anyhow::Result<Self> {
        let (stamp, book) = match &section.book {
            Some(path) => (stamp(path), read(path)?),
            None => (None, Book::empty(&section.name)),
        };
        let mut knowledge = Vec::new();
        for folder in &section.knowledge {
            let read = Knowledge::open(folder, Limits::default())?;
            for problem in read.problems() {
                tracing::warn!(assist = section.name, folder = %folder.display(), %problem, "knowledge is left out");
            }
            tracing::info!(assist = section.name, folder = %folder.display(), entries = read.len(), "knowledge");
            knowledge.push(Arc::new(read));
        }
        Ok(Self { section, book: RwLock::new((stamp, Arc::new(book))), knowledge })
    }

    pub(crate) fn name(&self) -> &str {
        &self.section.name
    }

    /// The book as it is now; calls under way keep theirs.
    pub(crate) fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    pub(crate) fn knowledge(&self) -> &[Arc<Knowledge>] {
        &self.knowledge
    }

    /// The best answers of all folders.
    ///
    /// # Errors
    /// An index failed.
    pub(crate) fn search(
        &self,
        query: &str,
        limit: usize,
        filter: &Filter,
    ) -> Result<Vec<Answer>, KnowledgeError> {
        let mut found = Vec::new();
        for knowledge in &self.knowledge {
            found.extend(knowledge.search(query, limit, filter)?);
        }
        found.sort_by(|a: &Answer, b: &Answer| b.score.total_cmp(&a.score));
        found.truncate(limit);
        Ok(found)
    }

    /// Reads what has changed. What cannot be read stays as it was.
    fn refresh(&self) {
        let name = self.name();
        for knowledge in &self.knowledge {
            match knowledge.refresh() {
                Ok(done) if done.read.is_empty() && done.removed.is_empty() => {}
                Ok(done) => {
                    tracing::info!(assist = name, read = ?done.read, removed = ?done.removed, entries = done.entries, "knowledge was read anew");
                    for problem in done.problems {
                        tracing::warn!(assist = name, %problem, "knowledge stays as it was");
                    }
                }
                Err(error) => tracing::warn!(assist = name, %error, "knowledge stays as it was"),
            }
        }
        let Some(path) = &self.section.book else { return };
        let now = stamp(path);
        let known = self.book.read().unwrap_or_else(PoisonError::into_inner).0;
        if now.is_none() || now == known {
            return;
        }
        let mut kept = self.book.write().unwrap_or_else(PoisonError::into_inner);
        // Told once for each change.
        kept.0 = now;
        match read(path) {
            Ok(book) => {
                kept.1 = Arc::new(book);
                tracing::info!(assist = name, "the book was read anew");
            }
            Err(error) => {
                tracing::warn!(assist = name, error = %format_args!("{error:#}"), "the book stays as it was");
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = path.metadata().ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(path: &Path) -> anyhow::Result<Book> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the book {}", path.display()))?;
    Book::parse(&text).with_context(|| path.display().to_string())
}

/// Reads files anew that have changed, until the server stops.
pub(crate) async fn keep_fresh(shared: Arc<Shared>) {
    if shared.config.assist.is_empty() {
        return;
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let shared = Arc::clone(&shared);
        let looked = tokio::task::spawn_blocking(move || shared.assist.refresh()).await;
        if looked.is_err() {
            tracing::error!("books and knowledge are not looked at any more");
            return;
        }
    }
}
