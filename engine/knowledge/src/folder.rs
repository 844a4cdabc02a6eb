//! The files of a folder, and when they changed.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::{KnowledgeError, Limits, Problem, ProblemKind};

/// What kind of file it is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Markdown,
    Html,
    Table,
    JsonLines,
    Synonyms,
}

/// A file that holds knowledge.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Relative to the folder, with `/`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) stamp: Stamp,
}

/// Tells whether a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    modified: Option<SystemTime>,
}

/// Lists the files of a folder by name. Hidden names and unknown kinds are passed over. Links to files are followed as
/// long as they stay within the folder (so are mounted configuration maps made), links to folders never.
pub(crate) fn walk(root: &Path, limits: &Limits) -> Result<(Vec<Found>, Vec<Problem>), KnowledgeError> {
    let failed = |path: &Path, source| KnowledgeError::Folder { path: path.to_owned(), source };
    let root = root.canonicalize().map_err(|error| failed(root, error))?;
    if !root.is_dir() {
        return Err(KnowledgeError::NotAFolder(root));
    }
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    let mut folders = vec![(root.clone(), String::new(), 0_usize)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let listing = fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) if depth == 0 => return Err(failed(&folder, error)),
            Err(error) => {
                problems.push(problem(&prefix, ProblemKind::Unreadable(error.to_string())));
                continue;
            }
        };
        for item in listing {
            let base = item.file_name().to_string_lossy().into_owned();
            if base.starts_with('.') {
                continue;
            }
            let name = if prefix.is_empty() { base } else { format!("{prefix}/{base}") };
            let path = item.path();
            let Ok(kind) = item.file_type() else { continue };
            if kind.is_dir() {
                if depth + 1 > limits.depth {
                    problems.push(problem(&name, ProblemKind::TooDeep { limit: limits.depth }));
                } else {
                    folders.push((path, name, depth + 1));
                }
                continue;
            }
            let Some(format) = format_of(&name) else { continue };
            let real = match path.canonicalize() {
                Ok(real) => real,
                Err(error) => {
                    problems.push(problem(&name, ProblemKind::Unreadable(error.to_string())));
                    continue;
                }
            };
            if !real.starts_with(&root) {
                problems.push(problem(&name, ProblemKind::LinkOut));
                continue;
            }
            let meta = match fs::metadata(&real) {
                Ok(meta) => meta,
                Err(error) => {
                    problems.push(problem(&name, ProblemKind::Unreadable(error.to_string())));
                    continue;
                }
            };
            if !meta.is_file() || !seen.insert(real.clone()) {
                continue;
            }
            if found.len() == limits.files {
                return Err(KnowledgeError::TooManyFiles { limit: limits.files });
            }
            found.push(Found {
                name,
                path: real,
                format,
                stamp: Stamp { bytes: meta.len(), modified: meta.modified().ok() },
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((found, problems))
}

/// Reads a file, no further than the limit, even if it grows meanwhile.
pub(crate) fn read(found: &Found, limits: &Limits) -> Result<Vec<u8>, ProblemKind> {
    let mut bytes = Vec::new();
    fs::File::open(&found.path)
        .and_then(|file| file.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| ProblemKind::Unreadable(error.to_string()))?;
    if bytes.len() as u64 > limits.file_bytes {
        return Err(ProblemKind::TooLarge {
            bytes: found.stamp.bytes.max(bytes.len() as u64),
            limit: limits.file_bytes,
        });
    }
    Ok(bytes)
}

fn format_of(name: &str) -> Option<Format> {
    let base = name.rsplit('/').next().unwrap_or(name);
    if name == "synonyms.txt" {
        return Some(Format::Synonyms);
    }
    match base.rsplit_once('.')?.1.to_lowercase().as_str() {
        "md" | "markdown" => Some(Format::Markdown),
        "html" | "htm" | "xhtml" => Some(Format::Html),
        "csv" | "tsv" => Some(Format::Table),
        "jsonl" | "ndjson" => Some(Format::JsonLines),
        _ => None,
    }
}

fn problem(file: &str, kind: ProblemKind) -> Problem {
    Problem { file: file.to_owned(), line: None, kind }
}
