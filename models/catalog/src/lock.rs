//! What was pulled before: the record that later pulls must agree with.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a file was when it first came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Where it came from; the archive's name for what was in one.
    pub from: String,
}

/// Why the record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file system's reason.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// It is no record.
    #[error("{path} is damaged: {error}; mend it, or remove it to record what is pulled next")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<toml::de::Error>,
    },
}

/// The record `models.lock` of a store: by model, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    #[serde(flatten)]
    models: BTreeMap<String, BTreeMap<String, Locked>>,
}

impl Lock {
    /// Reads the record; an absent one is empty.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(LockError::Io { path: path.to_owned(), error }),
        };
        toml::from_str(&text)
            .map_err(|error| LockError::Form { path: path.to_owned(), error: Box::new(error) })
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let error = |error| LockError::Io { path: path.to_owned(), error };
        let text = toml::to_string(self).map_err(|e| error(io::Error::other(e)))?;
        let new = path.with_extension("lock.new");
        let mut file = fs::File::create(&new).map_err(error)?;
        file.write_all(b"# What each file was when it first came; later pulls must agree.\n")
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&new, path))
            .map_err(error)
    }

    /// What is recorded of a model.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&BTreeMap<String, Locked>> {
        self.models.get(name)
    }

    /// What is recorded of one file.
    #[must_use]
    pub fn file(&self, model: &str, path: &str) -> Option<&Locked> {
        self.models.get(model)?.get(path)
    }

    /// Records a file.
    pub fn insert(&mut self, model: &str, path: &str, locked: Locked) {
        self.models.entry(model.to_owned()).or_default().insert(path.to_owned(), locked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_survives_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.lock");
        let mut lock = Lock::read(&path).unwrap();
        assert_eq!(lock, Lock::default());
        lock.insert(
            "a.b",
            "c/d.bin",
            Locked { sha256: "00".repeat(32), bytes: 7, from: "https://x.test".into() },
        );
        lock.write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), lock);
        assert_eq!(lock.file("a.b", "c/d.bin").unwrap().bytes, 7);
    }

    #[test]
    fn a_damaged_record_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.lock");
        fs::write(&path, "[a]\nb = 1").unwrap();
        let error = Lock::read(&path).unwrap_err().to_string();
        assert!(error.contains("models.lock is damaged"), "{error}");
    }
}
