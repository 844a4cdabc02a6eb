//! Where the recordings of jobs lie, and what they are called there.

use std::path::{Path, PathBuf};

use antiphon_engine_store::NewFile;
use sha2::{Digest, Sha256};

use crate::config::Config;

/// Stands for all a job asks for: uploads by what is in them.
pub(super) fn fingerprint(folder: &Path, spec: &str, files: &[NewFile]) -> String {
    let mut hash = Sha256::new();
    hash.update(spec);
    for file in files {
        for part in [&file.name, &file.facts, &file.source] {
            hash.update(part);
            hash.update([0]);
        }
    }
    let mut uploads: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
    uploads.sort_by_key(std::fs::DirEntry::file_name);
    for upload in uploads {
        hash.update(upload.file_name().as_encoded_bytes());
        if let Ok(mut file) = std::fs::File::open(upload.path()) {
            // What cannot be read now fails when it is heard.
            let _ = std::io::copy(&mut file, &mut hash);
        }
    }
    hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Where recordings of jobs are kept.
pub(super) fn folder(config: &Config) -> PathBuf {
    config.qa.folder.clone().unwrap_or_else(|| config.data.join("qa"))
}

/// The name under which an uploaded or fetched file lies: short, of harmless letters, its ending kept, and no two names
/// alike.
pub(crate) fn upload_name(name: &str) -> String {
    let hash: String = Sha256::digest(name).iter().take(6).map(|octet| format!("{octet:02x}")).collect();
    let stem = Path::new(name.split(['?', '#']).next().unwrap_or_default());
    let kept = stem.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let kept: String = kept.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    if kept.is_empty() { hash } else { format!("{hash}.{}", kept.to_ascii_lowercase()) }
}
