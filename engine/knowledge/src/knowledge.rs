//! The folder, indexed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tantivy::Searcher;

use crate::analysis::{TermId, terms};
use crate::entry::{Answer, Entry, Filter};
use crate::folder::{Format, Found, Stamp, read, walk};
use crate::index::{Fields, Inverted, candidates, each_term};
use crate::query::Query;
use crate::rank::{Terms, score, snippet};
use crate::synonyms::Synonyms;
use crate::vocabulary::Vocabulary;
use crate::{KnowledgeError, Limits, Problem, ProblemKind, read as reader};

/// Most answers to one question.
const MOST_ANSWERS: usize = 50;

/// What a refresh did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Files that were read, by name: new ones and changed ones.
    pub read: Vec<String>,
    /// Files that are gone, by name.
    pub removed: Vec<String>,
    /// Entries there are now.
    pub entries: usize,
    /// Every file that could not be taken, also those that were broken before.
    pub problems: Vec<Problem>,
}

/// An index over a folder. Shared freely: searching takes no lock for longer than it takes to clone a pointer.
#[derive(Debug)]
pub struct Knowledge {
    folder: PathBuf,
    limits: Limits,
    now: RwLock<Arc<Snapshot>>,
    state: Mutex<State>,
}

impl Knowledge {
    /// Reads a folder and indexes it in memory. Files that cannot be read are left out and are
    /// [`Knowledge::problems`]; the rest is there.
    ///
    /// # Errors
    /// The folder cannot be read, or holds more than the limits allow.
    pub fn open(folder: impl AsRef<Path>, limits: Limits) -> Result<Self, KnowledgeError> {
        let inverted = Inverted::new();
        let searcher = inverted.change(std::iter::empty(), std::iter::empty())?;
        let knowledge = Self {
            folder: folder.as_ref().to_owned(),
            limits,
            now: RwLock::new(Arc::new(Snapshot {
                searcher,
                fields: inverted.fields,
                entries: HashMap::new(),
                vocabulary: Vocabulary::default(),
                synonyms: Arc::default(),
            })),
            state: Mutex::new(State { inverted, files: BTreeMap::new(), stray: Vec::new(), next: 0 }),
        };
        knowledge.refresh()?;
        Ok(knowledge)
    }

    /// Reads what changed since: by size and time of change, so that nothing else is opened. Searches that go on see the
    /// old entries or the new ones, never a mixture. A file that broke keeps its old entries and is named in the problems.
    ///
    /// # Errors
    /// The folder cannot be read, or holds more than the limits allow; then all stays as it was.
    pub fn refresh(&self) -> Result<Refreshed, KnowledgeError> {
        let mut state = self.state();
        let before = self.snapshot();
        let (found, stray) = walk(&self.folder, &self.limits)?;
        let mut plan = Plan::of(&state, &found, &stray, &self.limits)?;
        let mut fresh: Vec<(u64, Arc<Indexed>, String)> = Vec::new();
        let mut next = state.next;
        let mut entries = plan.kept;
        let mut synonyms = None;
        for file in &plan.changed {
            let name = file.name.clone();
            let outcome = match read(file, &self.limits) {
                Err(kind) => Err((None, kind)),
                Ok(bytes) if file.format == Format::Synonyms => Synonyms::read(&bytes).map(|read| {
                    synonyms = Some(Arc::new(read));
                    Vec::new()
                }),
                Ok(bytes) => reader::entries(&name, file.format, &bytes),
            };
            let old = state.files.get(&name).map(|file| file.ids.clone()).unwrap_or_default();
            let (ids, problem) = match outcome {
                Err((line, kind)) => {
                    entries += old.len();
                    (old, Some(Problem { file: name.clone(), line, kind }))
                }
                Ok(read) => {
                    entries += read.len();
                    plan.dropped.extend(old);
                    if entries > self.limits.entries {
                        return Err(KnowledgeError::TooManyEntries {
                            limit: self.limits.entries,
                            file: name,
                        });
                    }
                    let first = next;
                    for entry in read {
                        let (indexed, text) = Indexed::of(entry);
                        fresh.push((next, Arc::new(indexed), text));
                        next += 1;
                    }
                    ((first..next).collect(), None)
                }
            };
            plan.files.insert(name, File { stamp: file.stamp, ids, problem });
        }
        if plan.synonyms_gone {
            synonyms = Some(Arc::default());
        }
        let idle = plan.dropped.is_empty() && fresh.is_empty();
        let mut searcher = before.searcher.clone();
        if !idle {
            let new = fresh.iter_mut().map(|(id, indexed, text)| (*id, &indexed.entry, std::mem::take(text)));
            searcher = state.inverted.change(plan.dropped.iter().copied(), new)?;
        }
        if !idle || synonyms.is_some() {
            let dropped: HashSet<u64> = plan.dropped.iter().copied().collect();
            let kept = before
                .entries
                .iter()
                .filter(|(id, _)| !dropped.contains(id))
                .map(|(id, kept)| (*id, Arc::clone(kept)));
            let entries = kept.chain(fresh.into_iter().map(|(id, indexed, _)| (id, indexed))).collect();
            let synonyms = synonyms.unwrap_or_else(|| Arc::clone(&before.synonyms));
            let snapshot = Snapshot::of(searcher, state.inverted.fields, entries, synonyms)?;
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        }
        let refreshed = Refreshed {
            read: plan.changed.iter().map(|file| file.name.clone()).collect(),
            removed: plan.removed,
            entries,
            problems: Vec::new(),
        };
        state.next = next;
        state.files = plan.files;
        state.stray = stray;
        Ok(Refreshed { problems: state.problems(), ..refreshed })
    }

    /// Looks for passages that answer what somebody says, the best first, at most 50. Of one title and text only one is
    /// given. Words beyond 500 characters are passed over.
    ///
    /// # Errors
    /// The index failed; an index in memory does not.
    pub fn search(&self, query: &str, limit: usize, filter: &Filter) -> Result<Vec<Answer>, KnowledgeError> {
        let now = self.snapshot();
        let query = Query::of(query, &now.vocabulary, &now.synonyms);
        let mut scored: Vec<(f32, u64, &Indexed)> = candidates(&now.searcher, now.fields, &query, filter)?
            .into_iter()
            .filter_map(|id| now.entries.get(&id).map(|indexed| (id, &**indexed)))
            .map(|(id, indexed)| (score(&query, &indexed.terms, &now.vocabulary), id, indexed))
            .filter(|&(score, _, _)| score > 0.0 && score >= filter.floor)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut answers: Vec<Answer> = Vec::new();
        for (score, _, Indexed { entry, .. }) in scored {
            if answers.len() == limit.min(MOST_ANSWERS) {
                break;
            }
            if answers.iter().any(|answer| answer.title == entry.title && answer.text == entry.text) {
                continue;
            }
            answers.push(Answer {
                title: entry.title.clone(),
                text: entry.text.clone(),
                snippet: snippet(&query, &entry.text),
                source: entry.source.clone(),
                language: entry.language.clone(),
                tags: entry.tags.clone(),
                score,
            });
        }
        Ok(answers)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.snapshot().entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The files that could not be taken when they were last read, by name.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.state().problems()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is changed in it before everything that can fail is done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything a search needs.
#[derive(Debug)]
struct Snapshot {
    searcher: Searcher,
    fields: Fields,
    entries: HashMap<u64, Arc<Indexed>>,
    vocabulary: Vocabulary,
    synonyms: Arc<Synonyms>,
}

impl Snapshot {
    fn of(
        searcher: Searcher,
        fields: Fields,
        entries: HashMap<u64, Arc<Indexed>>,
        synonyms: Arc<Synonyms>,
    ) -> Result<Self, KnowledgeError> {
        let ids = entries.values().flat_map(|indexed| indexed.terms.all.iter());
        let mut vocabulary = Vocabulary::count(entries.len(), ids);
        let mut seen = HashSet::new();
        each_term(&searcher, fields, |term| {
            if seen.insert(TermId::of(term)) {
                vocabulary.add(term);
            }
        })?;
        Ok(Self { searcher, fields, entries, vocabulary, synonyms })
    }
}

#[derive(Debug)]
struct Indexed {
    entry: Entry,
    terms: Terms,
}

impl Indexed {
    /// Cuts an entry into terms; also as the index is to see them.
    fn of(entry: Entry) -> (Self, String) {
        let titles: Vec<Vec<String>> = std::iter::once(&entry.title)
            .chain(&entry.variants)
            .map(|title| terms(title).collect())
            .collect();
        let text: Vec<String> = terms(&entry.text).collect();
        // What stands in a title counts twice.
        let indexed =
            titles.iter().chain(&titles).flatten().chain(&text).fold(String::new(), |mut indexed, term| {
                indexed.push_str(term);
                indexed.push(' ');
                indexed
            });
        let ids = |terms: &[String]| sorted(terms.iter().map(|term| TermId::of(term)));
        let all = sorted(titles.iter().flatten().chain(&text).map(|term| TermId::of(term)));
        let terms = Terms { titles: titles.iter().map(|title| ids(title)).collect(), all };
        (Self { entry, terms }, indexed)
    }
}

fn sorted(ids: impl Iterator<Item = TermId>) -> Box<[TermId]> {
    let mut ids: Vec<TermId> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into()
}

#[derive(Debug)]
struct State {
    inverted: Inverted,
    files: BTreeMap<String, File>,
    /// Problems of what is no file.
    stray: Vec<Problem>,
    next: u64,
}

impl State {
    fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.files.values().filter_map(|file| file.problem.clone()).collect();
        problems.extend(self.stray.iter().cloned());
        problems.sort_by(|a, b| a.file.cmp(&b.file));
        problems
    }
}

#[derive(Clone, Debug)]
struct File {
    stamp: Stamp,
    ids: Vec<u64>,
    problem: Option<Problem>,
}

/// What a refresh will do.
#[derive(Debug)]
struct Plan<'a> {
    files: BTreeMap<String, File>,
    changed: Vec<&'a Found>,
    removed: Vec<String>,
    dropped: Vec<u64>,
    kept: usize,
    synonyms_gone: bool,
}

impl<'a> Plan<'a> {
    fn of(
        state: &State,
        found: &'a [Found],
        stray: &[Problem],
        limits: &Limits,
    ) -> Result<Self, KnowledgeError> {
        let mut plan = Self {
            files: BTreeMap::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            dropped: Vec::new(),
            kept: 0,
            synonyms_gone: false,
        };
        let mut bytes = 0_u64;
        let mut there = HashSet::new();
        for file in found {
            there.insert(file.name.as_str());
            // A file too large is not read, so it does not count.
            if file.stamp.bytes <= limits.file_bytes {
                bytes = bytes.saturating_add(file.stamp.bytes);
            }
            if bytes > limits.total_bytes {
                return Err(KnowledgeError::TooLarge { limit: limits.total_bytes, file: file.name.clone() });
            }
            match state.files.get(&file.name) {
                Some(known) if known.stamp == file.stamp => plan.keep(&file.name, known),
                _ => plan.changed.push(file),
            }
        }
        for (name, known) in &state.files {
            if there.contains(name.as_str()) {
                continue;
            }
            let unreadable = stray.iter().any(|problem| {
                let within = name
                    .strip_prefix(&problem.file)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                within && matches!(problem.kind, ProblemKind::Unreadable(_))
            });
            if unreadable {
                plan.keep(name, known);
                continue;
            }
            plan.synonyms_gone |= name == "synonyms.txt";
            plan.removed.push(name.clone());
            plan.dropped.extend(&known.ids);
        }
        Ok(plan)
    }

    fn keep(&mut self, name: &str, file: &File) {
        self.kept += file.ids.len();
        self.files.insert(name.to_owned(), file.clone());
    }
}
