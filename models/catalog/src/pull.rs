//! Brings a model into a store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use ureq::Agent;

use crate::checksum::Sum;
use crate::fetch::{self, FetchError, Mirror};
use crate::list::{File, Model};
use crate::lock::{Lock, Locked};
use crate::store::{State, Store, StoreError, remove_folder};
use crate::unpack::{self, UnpackError};

/// Watches a pull. All but [`Watch::wait`] may be left as they are.
pub trait Watch {
    /// A file begins to come: the `number`th of `count`.
    fn file(&mut self, name: &str, number: usize, count: usize) {
        let _ = (name, number, count);
    }

    /// Bytes come, after `have` that are there; `total` where the server tells it.
    fn begin(&mut self, have: u64, total: Option<u64>) {
        let _ = (have, total);
    }

    /// More bytes came.
    fn more(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// It broke off and is tried again.
    fn retry(&mut self, reason: &str) {
        let _ = reason;
    }

    /// A file came and is checked, or unpacked.
    fn check(&mut self, name: &str) {
        let _ = name;
    }

    /// Waits: reading clocks and sleeping is the caller's.
    fn wait(&mut self, time: Duration);
}

/// Where models may come from, in order; where they are published comes last.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Tried first.
    pub mirrors: Vec<Mirror>,
    /// Whether where they are published is tried at all.
    pub mirrors_only: bool,
}

/// What a pull did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// It was there.
    Already,
    /// It is there now.
    Now,
}

/// Why a model did not come.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network's or the disk's.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// None of the mirrors has it, and nothing else may be asked.
    #[error("no mirror has {model}/{path}")]
    NoMirror {
        /// The model.
        model: String,
        /// The file.
        path: String,
    },
    /// What came is not what its publisher states.
    #[error("{url}: what came is not the published file: expected {expected}, found {found} ({cited})")]
    Published {
        /// Where it came from.
        url: String,
        /// Checksum or size.
        expected: String,
        /// What came.
        found: String,
        /// The place that states it.
        cited: String,
    },
    /// What came is not what came first.
    #[error(
        "{url}: another file than the first pull recorded in {lock}: expected {expected}, found {found}; \
         if its publisher replaced it on purpose, remove its lines there and pull again"
    )]
    Recorded {
        /// Where it came from.
        url: String,
        /// The record.
        lock: PathBuf,
        /// SHA-256.
        expected: String,
        /// SHA-256.
        found: String,
    },
    /// The disk is too small.
    #[error(
        "{folder} has {free} MB free, {model} needs {needed} MB; free some, or name another folder ([models] dir)"
    )]
    Space {
        /// The store.
        folder: PathBuf,
        /// The model.
        model: String,
        /// Megabytes.
        free: u64,
        /// Megabytes.
        needed: u64,
    },
    /// The archive is not what it should be.
    #[error("{archive}: {error}")]
    Unpack {
        /// Its name.
        archive: String,
        /// Why.
        error: UnpackError,
    },
    /// The archive lacks a file.
    #[error("{archive} has no {path}")]
    Incomplete {
        /// Its name.
        archive: String,
        /// What is missing.
        path: String,
    },
}

/// An archive may grow to so many times its size.
const GROWTH: u64 = 12;
/// Where nobody states a size, nothing is larger.
const LARGEST: u64 = 16 << 30;
/// The disk keeps so much besides.
const RESERVE: u64 = 64 << 20;

/// Pulls `model` into `store`. What broke off is gone on with; nothing is seen in the model's folder before all of it
/// has come and was checked.
///
/// # Errors
/// See [`PullError`]; each says what can be done. What came so far stays for the next pull.
pub fn pull(
    model: &Model,
    store: &Store,
    source: &Source,
    watch: &mut dyn Watch,
) -> Result<Pulled, PullError> {
    if store.state(model)? == State::Present {
        return Ok(Pulled::Already);
    }
    let _hold = store.hold(model)?;
    // Whoever held it before may have brought it.
    if store.state(model)? == State::Present {
        return Ok(Pulled::Already);
    }
    let staging = store.staging(model);
    create(&staging)?;
    check_space(model, store, &staging)?;
    let job = Job { agent: fetch::agent(), model, store, source, lock: store.lock()?, staging: &staging };
    let mut records = Vec::new();
    for (number, file) in model.files.iter().enumerate() {
        watch.file(&file.path, number + 1, model.files.len());
        records.push((file.path.clone(), job.bring(file, watch)?));
    }
    let mut whole = staging.clone();
    if let Some(archive) = model.files.iter().find(|file| file.archive) {
        watch.check(&archive.path);
        whole = job.open(archive, &mut records)?;
    }
    let folder = store.folder(model);
    let io_error = |error| StoreError::Io { path: folder.clone(), error };
    // Only a damaged one can be there.
    remove_folder(&folder)?;
    fs::rename(&whole, &folder).map_err(io_error)?;
    if whole != staging {
        remove_folder(&staging)?;
    }
    store.record(|lock| {
        for (path, locked) in records {
            lock.insert(&model.name, &path, locked);
        }
    })?;
    Ok(Pulled::Now)
}

struct Job<'a> {
    agent: Agent,
    model: &'a Model,
    store: &'a Store,
    source: &'a Source,
    lock: Lock,
    staging: &'a Path,
}

impl Job<'_> {
    /// Brings one file into the staging folder and checks it.
    fn bring(&self, file: &File, watch: &mut dyn Watch) -> Result<Locked, PullError> {
        let target = self.staging.join(&file.path);
        if let Some(parent) = target.parent() {
            create(parent)?;
        }
        if target.is_file() {
            // It came in a pull that broke off at another file.
            watch.check(&file.path);
            let url = file.url.clone();
            return match self.check(file, &url, &target) {
                Err(PullError::Published { .. } | PullError::Recorded { .. }) => {
                    fetch::remove(&target)?;
                    self.bring(file, watch)
                }
                result => result,
            };
        }
        let partial = self.staging.join(format!("{}.part", file.path));
        let locked = match self.download(file, &partial, watch)? {
            (url, true) => match self.checked(file, &url, &partial, watch) {
                // The part that was there may have been of another version: once more, from the beginning.
                Err(PullError::Published { .. } | PullError::Recorded { .. }) => {
                    let (url, _) = self.download(file, &partial, watch)?;
                    self.checked(file, &url, &partial, watch)?
                }
                result => result?,
            },
            (url, false) => self.checked(file, &url, &partial, watch)?,
        };
        fetch::forget_tag(&partial);
        fs::rename(&partial, &target).map_err(|error| StoreError::Io { path: target, error })?;
        Ok(locked)
    }

    fn checked(
        &self,
        file: &File,
        url: &str,
        partial: &Path,
        watch: &mut dyn Watch,
    ) -> Result<Locked, PullError> {
        watch.check(&file.path);
        let result = self.check(file, url, partial);
        if result.is_err() {
            fetch::remove(partial)?;
        }
        result
    }

    /// Downloads one file from the first place that has it: from where, and whether an earlier part was gone on with.
    fn download(
        &self,
        file: &File,
        partial: &Path,
        watch: &mut dyn Watch,
    ) -> Result<(String, bool), PullError> {
        let most = file.bytes.unwrap_or_else(|| {
            // Sizes in the list are rounded, and those of archives guessed from their content.
            if self.model.size > 0 {
                (self.model.size.saturating_mul(4) + RESERVE).min(LARGEST)
            } else {
                LARGEST
            }
        });
        for mirror in &self.source.mirrors {
            match mirror {
                Mirror::Folder(folder) => {
                    let from = folder.join(&self.model.name).join(&file.path);
                    if fetch::copy(&from, partial, most, watch)? {
                        return Ok((from.display().to_string(), false));
                    }
                }
                Mirror::Http(base) => {
                    let url = format!("{base}/{}/{}", self.model.name, file.path);
                    match fetch::fetch(&self.agent, &url, partial, most, watch) {
                        Ok(resumed) => return Ok((url, resumed)),
                        Err(FetchError::Status { status, .. }) => {
                            watch.retry(&format!("{url} answers {status}"));
                        }
                        Err(FetchError::Unreachable { reason, .. }) if !self.source.mirrors_only => {
                            watch.retry(&format!("{url}: {reason}"));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        if self.source.mirrors_only {
            return Err(PullError::NoMirror { model: self.model.name.clone(), path: file.path.clone() });
        }
        let resumed = fetch::fetch(&self.agent, &file.url, partial, most, watch)?;
        Ok((file.url.clone(), resumed))
    }

    /// Compares a file with what its publisher states and with what came first.
    fn check(&self, file: &File, url: &str, path: &Path) -> Result<Locked, PullError> {
        let io_error = |error| StoreError::Io { path: path.to_owned(), error };
        let sum = Sum::of(fs::File::open(path).map_err(io_error)?, |_| {}).map_err(io_error)?;
        if let Some(bytes) = file.bytes.filter(|bytes| *bytes != sum.bytes) {
            return Err(PullError::Published {
                url: url.to_owned(),
                expected: format!("{bytes} bytes"),
                found: format!("{} bytes", sum.bytes),
                cited: file.stated.as_ref().map_or("the list of models", |stated| &stated.cited).to_owned(),
            });
        }
        if let Some(stated) = file.stated.as_ref().filter(|stated| !sum.is(&stated.checksum)) {
            return Err(PullError::Published {
                url: url.to_owned(),
                expected: stated.checksum.to_string(),
                found: format!("sha256 {}", sum.sha256),
                cited: stated.cited.clone(),
            });
        }
        if let Some(locked) =
            self.lock.file(&self.model.name, &file.path).filter(|it| it.sha256 != sum.sha256)
        {
            return Err(PullError::Recorded {
                url: url.to_owned(),
                lock: self.store.lock_path(),
                expected: locked.sha256.clone(),
                found: sum.sha256,
            });
        }
        Ok(Locked { sha256: sum.sha256, bytes: sum.bytes, from: url.to_owned() })
    }

    /// Unpacks an archive beside it, records what was in it, and gives the folder that is the model.
    fn open(&self, archive: &File, records: &mut Vec<(String, Locked)>) -> Result<PathBuf, PullError> {
        let path = self.staging.join(&archive.path);
        let folder = self.staging.join(".unpacked");
        remove_folder(&folder)?;
        create(&folder)?;
        let unpack_error = |error| PullError::Unpack { archive: archive.path.clone(), error };
        let size = fs::metadata(&path).map_err(|error| unpack_error(error.into()))?.len();
        let files =
            unpack::unpack(&path, &folder, size.saturating_mul(GROWTH).min(LARGEST)).map_err(unpack_error)?;
        if let Some(missing) = self.model.expected.iter().find(|expected| !files.contains(expected)) {
            return Err(PullError::Incomplete { archive: archive.path.clone(), path: missing.clone() });
        }
        for name in files {
            let path = folder.join(&name);
            let io_error = |error| StoreError::Io { path: path.clone(), error };
            let sum = Sum::of(fs::File::open(&path).map_err(io_error)?, |_| {}).map_err(io_error)?;
            let locked = Locked { sha256: sum.sha256, bytes: sum.bytes, from: archive.path.clone() };
            records.push((name, locked));
        }
        Ok(folder)
    }
}

fn create(folder: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(|error| StoreError::Io { path: folder.to_owned(), error })
}

fn check_space(model: &Model, store: &Store, staging: &Path) -> Result<(), PullError> {
    let io_error = |error: nix::Error| StoreError::Io {
        path: store.root().to_owned(),
        error: io::Error::from_raw_os_error(error as i32),
    };
    let disk = statvfs(store.root()).map_err(io_error)?;
    let free = disk.fragment_size() * disk.blocks_available();
    let archive = model.files.iter().any(|file| file.archive);
    let there = walk(staging);
    let needed = (model.size * if archive { 5 } else { 1 } + RESERVE).saturating_sub(there);
    if free < needed {
        return Err(PullError::Space {
            folder: store.root().to_owned(),
            model: model.name.clone(),
            free: free / 1_000_000,
            needed: needed.div_ceil(1_000_000),
        });
    }
    Ok(())
}

/// The bytes of the files in a folder of a pull.
fn walk(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => walk(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
