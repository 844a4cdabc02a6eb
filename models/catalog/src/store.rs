//! The folder where pulled models lie.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::checksum::Sum;
use crate::list::Model;
use crate::lock::{Lock, LockError};

/// A folder of models: `<model>/<file>`, the record `models.lock`, and what is on its way in `.pull`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// How much of a model is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A pull broke off; the next one goes on there.
    Begun,
    /// Files are missing or shorter than when they were pulled.
    Damaged,
    /// All of it.
    Present,
}

/// What a file of a model was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it was pulled.
    Good,
    /// Something else.
    Changed,
    /// Not there.
    Missing,
    /// There, but no pull recorded it: it was put there by hand.
    Unrecorded,
}

/// One file that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Below the model's folder.
    pub path: String,
    /// What it is.
    pub verdict: Verdict,
}

/// Why the store cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system's reason.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// The record's.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Somebody else works on it.
    #[error("{model} is being pulled by another process; wait for it, or end it")]
    Busy {
        /// The model.
        model: String,
    },
}

/// The right to change a model, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    // Held, never read: the lock ends when the file closes.
    _file: File,
}

impl Store {
    /// The store at `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a model, whether it is there or not.
    #[must_use]
    pub fn folder(&self, model: &Model) -> PathBuf {
        self.root.join(&model.name)
    }

    /// How much of `model` is there, by the names and lengths of its files.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn state(&self, model: &Model) -> Result<State, StoreError> {
        let folder = self.folder(model);
        if !folder.is_dir() {
            let begun = self.staging(model).is_dir();
            return Ok(if begun { State::Begun } else { State::Absent });
        }
        let lock = self.lock()?;
        let whole = model.expected.iter().all(|path| {
            let length = fs::metadata(folder.join(path)).map(|meta| meta.len());
            match (length, lock.file(&model.name, path)) {
                (Ok(length), Some(locked)) => length == locked.bytes,
                (Ok(_), None) => true,
                (Err(_), _) => false,
            }
        });
        Ok(if whole { State::Present } else { State::Damaged })
    }

    /// Reads all of a model's files and compares them with what was pulled. `seen` is told of bytes as they are read.
    ///
    /// # Errors
    /// The record or a file cannot be read.
    pub fn verify(&self, model: &Model, mut seen: impl FnMut(u64)) -> Result<Vec<Verified>, StoreError> {
        let folder = self.folder(model);
        let lock = self.lock()?;
        let mut paths: Vec<String> = model.expected.clone();
        let archives: Vec<&str> =
            model.files.iter().filter(|file| file.archive).map(|file| file.path.as_str()).collect();
        for path in lock.model(&model.name).into_iter().flatten().map(|(path, _)| path) {
            if !paths.contains(path) && !archives.contains(&path.as_str()) {
                paths.push(path.clone());
            }
        }
        let mut verified = Vec::with_capacity(paths.len());
        for path in paths {
            let file = folder.join(&path);
            let verdict = match (File::open(&file), lock.file(&model.name, &path)) {
                (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Verdict::Missing,
                (Err(error), _) => return Err(StoreError::Io { path: file, error }),
                (Ok(_), None) => Verdict::Unrecorded,
                (Ok(open), Some(locked)) => {
                    let sum = Sum::of(open, &mut seen)
                        .map_err(|error| StoreError::Io { path: file.clone(), error })?;
                    if sum.sha256 == locked.sha256 { Verdict::Good } else { Verdict::Changed }
                }
            };
            verified.push(Verified { path, verdict });
        }
        Ok(verified)
    }

    /// Removes a model and what is on its way of it; the record stays, so that it comes back as it was or not at all.
    /// Returns whether there was anything.
    ///
    /// # Errors
    /// Somebody pulls it, or the file system's.
    pub fn remove(&self, model: &Model) -> Result<bool, StoreError> {
        let any = self.folder(model).exists() || self.staging(model).exists();
        if !any {
            return Ok(false);
        }
        let _hold = self.hold(model)?;
        for folder in [self.folder(model), self.staging(model)] {
            remove_folder(&folder)?;
        }
        Ok(true)
    }

    /// What earlier pulls recorded.
    ///
    /// # Errors
    /// The record is damaged.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        Ok(Lock::read(&self.lock_path())?)
    }

    /// Where a model is put together.
    pub(crate) fn staging(&self, model: &Model) -> PathBuf {
        self.root.join(".pull").join(&model.name)
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.root.join("models.lock")
    }

    /// Takes the right to change `model`.
    pub(crate) fn hold(&self, model: &Model) -> Result<Hold, StoreError> {
        let pulls = self.root.join(".pull");
        let io_error = |path: &Path, error| StoreError::Io { path: path.to_owned(), error };
        fs::create_dir_all(&pulls).map_err(|error| io_error(&pulls, error))?;
        let path = pulls.join(format!("{}.hold", model.name));
        let file = File::create(&path).map_err(|error| io_error(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Hold { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Busy { model: model.name.clone() }),
            Err(fs::TryLockError::Error(error)) => Err(io_error(&path, error)),
        }
    }

    /// Changes the record, one process at a time.
    pub(crate) fn record(&self, change: impl FnOnce(&mut Lock)) -> Result<(), StoreError> {
        let path = self.root.join(".pull").join("record.hold");
        let io_error = |error| StoreError::Io { path: path.clone(), error };
        let file = File::create(&path).map_err(io_error)?;
        file.lock().map_err(io_error)?;
        let mut lock = self.lock()?;
        change(&mut lock);
        Ok(lock.write(&self.lock_path())?)
    }
}

pub(crate) fn remove_folder(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::Io { path: folder.to_owned(), error })
        }
        _ => Ok(()),
    }
}
