//! What is wrong with a file, told the way a compiler tells it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::yaml::Place;

/// One thing that is wrong (or doubtful) in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// Counted from 1, in characters; 0 where the whole file is meant.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a file, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowErrors {
    /// The problems, at most [`FlowErrors::LIMIT`].
    pub problems: Vec<Problem>,
}

impl FlowErrors {
    /// Problems beyond this count are not reported.
    pub const LIMIT: usize = 100;
}

impl fmt::Display for FlowErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for FlowErrors {}

/// Collects errors and warnings while a file is read and checked.
pub struct Problems {
    file: PathBuf,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// None yet; `file` is its name in messages.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), errors: Vec::new(), warnings: Vec::new() }
    }

    /// Something is wrong.
    pub fn error(&mut self, at: Place, message: impl Into<String>) {
        self.error_meant(at, message, None);
    }

    /// Something is wrong, and this was probably meant.
    pub fn error_meant(&mut self, at: Place, message: impl Into<String>, meant: Option<String>) {
        if self.errors.len() < FlowErrors::LIMIT {
            let problem = self.problem(at, message.into(), meant);
            self.errors.push(problem);
        }
    }

    /// Something is doubtful.
    pub fn warn(&mut self, at: Place, message: impl Into<String>) {
        if self.warnings.len() < FlowErrors::LIMIT {
            let problem = self.problem(at, message.into(), None);
            self.warnings.push(problem);
        }
    }

    /// The warnings, or all errors.
    ///
    /// # Errors
    /// Where there are any.
    pub fn finish(mut self) -> Result<Vec<Problem>, FlowErrors> {
        if self.has_errors() {
            return Err(self.into_errors());
        }
        self.warnings.sort();
        Ok(self.warnings)
    }

    /// All errors, in the order of the file.
    #[must_use]
    pub fn into_errors(mut self) -> FlowErrors {
        self.errors.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
        self.errors.dedup();
        FlowErrors { problems: self.errors }
    }

    /// Whether anything is wrong so far.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    fn problem(&self, at: Place, message: String, suggestion: Option<String>) -> Problem {
        Problem { file: self.file.clone(), line: at.line, column: at.column, message, suggestion }
    }
}

/// The candidate nearest to `written`, if it is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let written: Vec<char> = written.to_lowercase().chars().take(64).collect();
    let allowed = (written.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| {
            (distance(&written, &candidate.to_lowercase().chars().collect::<Vec<_>>()), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitution = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let keys = ["prompt", "slot", "no_input", "no_match", "interruptible"];
        assert_eq!(nearest("promt", keys).as_deref(), Some("prompt"));
        assert_eq!(nearest("no_inptu", keys).as_deref(), Some("no_input"));
        assert_eq!(nearest("Interuptible", keys).as_deref(), Some("interruptible"));
        assert_eq!(nearest("banana", keys), None);
    }

    #[test]
    fn a_problem_reads_like_a_compilers() {
        let problem = Problem {
            file: "bank.yaml".into(),
            line: 12,
            column: 5,
            message: "unknown key `promt`".into(),
            suggestion: Some("prompt".into()),
        };
        assert_eq!(problem.to_string(), "bank.yaml:12:5: unknown key `promt`; did you mean `prompt`?");
    }
}
