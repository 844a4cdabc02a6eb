//! What the house knows: documents and answers, found in milliseconds.
//!
//! [`Knowledge`] is an index over a folder of Markdown, HTML and tables of questions and answers. It is asked in the
//! words of a conversation, in English, Chinese or both, with the fillers and the recognition errors that these have,
//! and answers with passages, where they stand, and how well they fit: 0 to 1, with a floor below which nothing is said.
//!
//! Searching neither waits for [`Knowledge::refresh`] nor is changed by it in mid-search. Nothing here starts a thread
//! that lives on; reading the folder blocks, so a server does it where blocking is allowed.

mod analysis;
mod entry;
mod error;
mod folder;
mod index;
mod knowledge;
mod limits;
mod query;
mod rank;
mod read;
mod stopwords;
mod synonyms;
mod vocabulary;

pub use entry::{Answer, Filter, Source};
pub use error::{KnowledgeError, Problem, ProblemKind};
pub use knowledge::{Knowledge, Refreshed};
pub use limits::Limits;
