//! Programs in Python that know nothing of ours, in a folder that `scripts/setup.sh test` makes beside what cargo builds.
#![allow(clippy::print_stderr, reason = "a test says what it skips")]

use std::path::{Path, PathBuf};

/// A program of that folder. `None`, said aloud, where it was not made; on CI that is a failure.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_antiphon")).parent()?.parent()?;
    let path = target.join("tools/python/bin").join(name);
    if path.is_file() {
        return Some(path);
    }
    let on_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!on_ci, "not installed: {name}; scripts/setup.sh test installs it");
    eprintln!("skipped: this test needs {name}, which this machine does not have (make setup-test)");
    None
}
