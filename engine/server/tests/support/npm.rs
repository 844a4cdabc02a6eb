//! JavaScript packages at a pinned version, fetched by npm into the target folder and never committed.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use sha2::{Digest, Sha512};

/// A package that has been published and does not change.
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// SHA-512 of the archive, base64.
    pub(crate) digest: &'static str,
}

/// The folder of a package. Where it cannot be had, says so and returns `None`; on CI that is a failure.
pub(crate) fn fetch(package: &Package) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("{}-{}", package.name, package.version));
    if folder.is_dir() {
        return Some(folder);
    }
    match unpack(package, target, &folder) {
        Ok(()) => Some(folder),
        Err(why) => {
            let on_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!on_ci, "{} {}: {why}", package.name, package.version);
            eprintln!("skipped: this test needs {} {}: {why}", package.name, package.version);
            None
        }
    }
}

fn unpack(package: &Package, target: &Path, folder: &Path) -> Result<(), String> {
    let dir = tempfile::tempdir_in(target).map_err(|error| error.to_string())?;
    let wanted = format!("{}@{}", package.name, package.version);
    let fetched = Command::new("npm")
        .args(["pack", "--silent", &wanted, "--pack-destination"])
        .arg(dir.path())
        .output()
        .map_err(|error| format!("npm does not run ({error}); make setup-test installs it"))?;
    if !fetched.status.success() {
        return Err(format!("npm could not fetch it: {}", String::from_utf8_lossy(&fetched.stderr).trim()));
    }
    let archive = dir.path().join(format!("{}-{}.tgz", package.name, package.version));
    let bytes = std::fs::read(&archive).map_err(|error| format!("{}: {error}", archive.display()))?;
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&bytes));
    assert_eq!(digest, package.digest, "{wanted} is not what was pinned");
    let status = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(dir.path()).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err("tar could not unpack it".to_owned());
    }
    // Tests run side by side: whoever is first has put it there.
    match std::fs::rename(dir.path().join("package"), folder) {
        Err(_) if folder.is_dir() => Ok(()),
        moved => moved.map_err(|error| error.to_string()),
    }
}
