//! What can be wrong with a folder and with its files.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no index, or no newer one.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// The folder cannot be read.
    #[error("cannot read the knowledge folder {path}: {source}", path = path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a file.
    #[error("{path} is no folder: knowledge is a folder of Markdown, HTML, CSV and JSONL files", path = .0.display())]
    NotAFolder(PathBuf),
    /// More files than [`Limits::files`](crate::Limits::files).
    #[error("more than {limit} files of knowledge: raise the limit or split the folder")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// More than [`Limits::total_bytes`](crate::Limits::total_bytes).
    #[error("more than {limit} bytes of knowledge (passed at {file}): raise the limit or split the folder")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Where it was passed.
        file: String,
    },
    /// More than [`Limits::entries`](crate::Limits::entries).
    #[error("more than {limit} entries of knowledge (passed at {file}): raise the limit or split the folder")]
    TooManyEntries {
        /// The limit.
        limit: usize,
        /// Where it was passed.
        file: String,
    },
    /// The index itself failed.
    #[error("the index of knowledge failed: {0}")]
    Index(#[from] tantivy::TantivyError),
}

/// A file that was not taken. What it held before, if anything, stays in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the folder.
    pub file: String,
    /// The line, counted from 1, where one is to blame.
    pub line: Option<u32>,
    /// What is wrong.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.kind),
            None => write!(f, "{}: {}", self.file, self.kind),
        }
    }
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// The system would not give it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// More than [`Limits::file_bytes`](crate::Limits::file_bytes).
    #[error("{bytes} bytes, at most {limit} are read: split it")]
    TooLarge {
        /// What it has.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A link that leads out of the folder.
    #[error("a link out of the folder is not followed: copy the file")]
    LinkOut,
    /// Deeper than [`Limits::depth`](crate::Limits::depth).
    #[error("more than {limit} folders deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Neither UTF-8 nor UTF-16 nor GB18030.
    #[error("neither UTF-8 nor GB18030: save it as UTF-8")]
    Encoding,
    /// A table without the columns it needs.
    #[error("no column for the {missing} in the first row ({found}): name one `{missing}`")]
    Column {
        /// `question` or `answer`.
        missing: &'static str,
        /// The columns it has.
        found: String,
    },
    /// A row without a question or an answer.
    #[error("the {missing} is empty")]
    Empty {
        /// `question` or `answer`.
        missing: &'static str,
    },
    /// An answer that nobody reads while somebody talks.
    #[error("the answer has {chars} characters, at most {limit} are taken: divide it, or make it a document")]
    TooLong {
        /// What it has.
        chars: usize,
        /// The limit.
        limit: usize,
    },
    /// A table that cannot be parsed.
    #[error("not a table: {0}")]
    Table(String),
    /// A line of JSONL that is none.
    #[error("not a JSON object of texts: {0}")]
    Json(String),
}
