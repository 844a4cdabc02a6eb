//! A flow: a checked dialogue, ready to be walked through by any number of callers.

use std::path::Path;

use antiphon_models_speech::Language;

use crate::check;
use crate::intents::Classifier;
use crate::problem::{FlowErrors, Problem, Problems};
use crate::read::{self, Source};
use crate::yaml::{self, Place};

/// A checked dialogue. Share it with `Arc`; it never changes.
pub struct Flow {
    pub(crate) source: Source,
    pub(crate) classifier: Classifier,
    warnings: Vec<Problem>,
}

impl Flow {
    /// Reads and checks a flow file. `${env:NAME}` is looked up in the process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with the file, an unreadable file included.
    pub fn load(path: &Path) -> Result<Self, FlowErrors> {
        Self::load_with(path, &environment)
    }

    /// Reads and checks a flow file; `secrets` gives the value of `${env:NAME}`.
    ///
    /// # Errors
    /// Everything that is wrong with the file, an unreadable file included.
    pub fn load_with(path: &Path, secrets: &dyn Fn(&str) -> Option<String>) -> Result<Self, FlowErrors> {
        match read_file(path) {
            Ok(text) => Self::parse_with(&text, path, secrets),
            Err(error) => Err(FlowErrors {
                problems: vec![Problem {
                    file: path.to_owned(),
                    line: 0,
                    column: 0,
                    message: format!("cannot be read: {error}"),
                    suggestion: None,
                }],
            }),
        }
    }

    /// Checks the text of a flow; `file` is its name in messages and the place recordings are looked for beside.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn parse(text: &str, file: &Path) -> Result<Self, FlowErrors> {
        Self::parse_with(text, file, &environment)
    }

    /// Checks the text of a flow; `secrets` gives the value of `${env:NAME}`.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn parse_with(
        text: &str,
        file: &Path,
        secrets: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, FlowErrors> {
        let mut problems = Problems::new(file);
        let source = match yaml::parse(text) {
            Ok(root) => {
                let folder = file.parent().unwrap_or(Path::new(""));
                read::read(&root, &mut problems, folder, secrets)
            }
            Err(error) => {
                problems.error(error.at, error.message);
                None
            }
        };
        let Some(source) = source else {
            if !problems.has_errors() {
                problems.error(Place::FILE, "the flow could not be read");
            }
            return Err(problems.into_errors());
        };
        check::check(&source, &mut problems);
        let warnings = problems.finish()?;
        let classifier = Classifier::train(&source.intents, &source.slots, source.tongue);
        Ok(Self { source, classifier, warnings })
    }

    /// The flow's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The flow's own version: its `revision` as written, `1` where it has none.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.source.revision
    }

    /// What it speaks.
    #[must_use]
    pub fn language(&self) -> &Language {
        &self.source.language
    }

    /// Whether a step of it says when the call is answered: what it says before that may be heard earlier.
    #[must_use]
    pub fn answers_itself(&self) -> bool {
        self.source.steps.iter().any(|step| matches!(step.action, crate::model::Action::Answer))
    }

    /// What is doubtful but not wrong.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// How many steps, intents and slots there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.source.steps.len(), self.source.intents.len(), self.source.slots.len())
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("name", &self.source.name)
            .field("revision", &self.source.revision)
            .finish()
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads no more than a flow may hold, whatever lies at `path`.
fn read_file(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(yaml::LARGEST_FILE as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
