//! What was heard of a call while it went on, kept beside its recording as `ID.heard.json`: whoever inspects the call later
//! judges the words that the rules judged then, and need not have them recognised again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use antiphon_engine_measure::Conversation;
use antiphon_media_record::write_whole;
use serde::{Deserialize, Serialize};

/// The version of the form; it counts up when a member changes its meaning.
const VERSION: u32 = 1;
/// A conversation of the most turns has less.
const LARGEST: u64 = 64 << 20;

/// A conversation as it was heard.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptWords {
    version: u32,
    /// The recogniser that heard it.
    pub(crate) engine: String,
    pub(crate) conversation: Conversation,
}

/// Why there are no words to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{path} is not what this version writes: {what}")]
    Form { path: PathBuf, what: String },
}

impl KeptWords {
    pub(crate) fn new(engine: &str, conversation: Conversation) -> Self {
        Self { version: VERSION, engine: engine.to_owned(), conversation }
    }

    /// Writes it beside the recording, whole or not at all. Only the owner may read it.
    pub(crate) fn write(&self, recording: &Path) -> Result<(), KeptError> {
        let path = beside(recording);
        let json = serde_json::to_vec(self).map_err(std::io::Error::from);
        json.and_then(|json| write_whole(&path, &json)).map_err(|error| KeptError::Io { path, error })
    }

    /// Reads what was kept beside a recording; `None` where nothing was.
    pub(crate) fn read(recording: &Path) -> Result<Option<Self>, KeptError> {
        let path = beside(recording);
        let io = |error| KeptError::Io { path: path.clone(), error };
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let form = |what: String| KeptError::Form { path: path.clone(), what };
        if length > LARGEST {
            return Err(form(format!("it is larger than {} MiB", LARGEST >> 20)));
        }
        let kept: Self = serde_json::from_slice(&std::fs::read(&path).map_err(io)?)
            .map_err(|error| form(error.to_string()))?;
        if kept.version != VERSION {
            return Err(form(format!("its version is {}, not {VERSION}", kept.version)));
        }
        Ok(Some(kept))
    }
}

fn beside(recording: &Path) -> PathBuf {
    recording.with_extension("heard.json")
}

#[cfg(test)]
mod tests {
    use antiphon_engine_call::Event;
    use antiphon_engine_measure::Role;
    use antiphon_models_speech::Language;

    use super::*;
    use crate::qa::live::conversation;

    fn kept() -> KeptWords {
        let events: [Event; 0] = [];
        KeptWords::new("scripted", conversation(&events, Language::english(), [Role::Customer, Role::Agent]))
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let recording = dir.path().join("0a.wav");
        assert_eq!(KeptWords::read(&recording).expect("nothing is no error"), None);
        kept().write(&recording).expect("written");
        assert_eq!(KeptWords::read(&recording).expect("read"), Some(kept()));
        let names: Vec<_> = std::fs::read_dir(dir.path()).expect("a folder").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn what_is_damaged_or_newer_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let recording = dir.path().join("0a.wav");
        for (text, said) in [("{", "0a.heard.json"), (r#"{"version": 2"#, "0a.heard.json")] {
            std::fs::write(beside(&recording), text).expect("written");
            let error = KeptWords::read(&recording).expect_err("broken").to_string();
            assert!(error.contains(said), "{error}");
        }
        let newer = KeptWords { version: VERSION + 1, ..kept() };
        newer.write(&recording).expect("written");
        let error = KeptWords::read(&recording).expect_err("newer").to_string();
        assert!(error.contains("version is 2"), "{error}");
    }
}
