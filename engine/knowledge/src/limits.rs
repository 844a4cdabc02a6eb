//! How much a folder may hold.

/// Bounds of what is read. Whatever passes one of a file is a [`Problem`](crate::Problem) of that file; whatever passes
/// one of the whole is a [`KnowledgeError`](crate::KnowledgeError).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of one file.
    pub file_bytes: u64,
    /// Octets of all files together.
    pub total_bytes: u64,
    /// Files.
    pub files: usize,
    /// Entries of all files together.
    pub entries: usize,
    /// Folders within folders.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, total_bytes: 256 << 20, files: 10_000, entries: 200_000, depth: 16 }
    }
}
