//! A flow: a checked dialogue, ready to be walked through by any number of callers.

use std::path::Path;

use antiphon_models_speech::Language;

use crate::problem::{FlowErrors, Problem, Problems};
use crate::yaml::{self, Place};

/// A checked dialogue. Share it with `Arc`; it never changes.
#[derive(Debug)]
pub struct Flow {
    pub(crate) name: String,
    pub(crate) revision: String,
    pub(crate) language: Language,
    pub(crate) warnings: Vec<Problem>,
}

impl Flow {
    /// Reads and checks a flow file. `${env:NAME}` is looked up in the process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with the file, an unreadable file included.
    pub fn load(path: &Path) -> Result<Self, FlowErrors> {
        Self::load_with(path, &|name| std::env::var(name).ok())
    }

    /// Reads and checks a flow file; `secrets` gives the value of `${env:NAME}`.
    ///
    /// # Errors
    /// Everything that is wrong with the file, an unreadable file included.
    pub fn load_with(path: &Path, secrets: &dyn Fn(&str) -> Option<String>) -> Result<Self, FlowErrors> {
        let mut problems = Problems::new(path);
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse_with(&text, path, secrets),
            Err(error) => {
                problems.error(Place::FILE, format!("cannot be read: {error}"));
                problems.finish().map(|_| unreachable!("an error was just reported"))
            }
        }
    }

    /// Checks the text of a flow; `file` is its name in messages and the place recordings are looked for beside.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn parse(text: &str, file: &Path) -> Result<Self, FlowErrors> {
        Self::parse_with(text, file, &|name| std::env::var(name).ok())
    }

    /// Checks the text of a flow; `secrets` gives the value of `${env:NAME}`.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn parse_with(text: &str, file: &Path, secrets: &dyn Fn(&str) -> Option<String>) -> Result<Self, FlowErrors> {
        let _ = secrets;
        let mut problems = Problems::new(file);
        if let Err(error) = yaml::parse(text) {
            problems.error(error.at, error.message);
        }
        Ok(Self { name: String::new(), revision: "1".into(), language: Language::english(), warnings: problems.finish()? })
    }

    /// The flow's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The flow's own version: its `revision` as written.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.revision
    }

    /// What it speaks.
    #[must_use]
    pub fn language(&self) -> &Language {
        &self.language
    }

    /// What is doubtful but not wrong.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}
