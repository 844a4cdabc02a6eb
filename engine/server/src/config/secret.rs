//! What must not be printed.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// A secret of the configuration: never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// A secret that lies in an environment variable or a file; none where neither is named.
    pub(crate) fn find(
        key: &str,
        variable: Option<&str>,
        file: Option<&Path>,
    ) -> anyhow::Result<Option<Self>> {
        let mut found = None;
        reveal(key, &mut found, variable, file)?;
        Ok(found)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[secret]")
    }
}

/// Longest file a secret is read from, in bytes.
const LONGEST: u64 = 4_096;

/// Finds a secret that is written out (`key`), or lies in an environment variable (`key_env`) or a file (`key_file`),
/// and leaves it in `text`.
pub(crate) fn reveal(
    key: &str,
    text: &mut Option<Secret>,
    variable: Option<&str>,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let found = match (text.is_some(), variable, file) {
        (false, None, None) => return Ok(()),
        (true, None, None) => text.take(),
        (false, Some(variable), None) => match std::env::var(variable) {
            Ok(value) => Some(Secret::new(value)),
            Err(_) => bail!("configuration: {key}_env: the environment variable {variable} is not set"),
        },
        (false, None, Some(path)) => Some(Secret::new(
            read(path).with_context(|| format!("configuration: {key}_file: {}", path.display()))?,
        )),
        _ => bail!("configuration: write only one of {key}, {key}_env and {key}_file"),
    };
    if found.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
        bail!("configuration: {key} is empty");
    }
    *text = found;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        bail!("the file is longer than {LONGEST} bytes");
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_a_file_without_its_last_line_break() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2\n").expect("written");
        let mut secret = None;
        reveal("trunk.a.password", &mut secret, None, Some(&path)).expect("read");
        assert_eq!(secret.expect("a secret").expose(), "hunter2");
    }

    #[test]
    fn two_places_for_one_secret_and_places_without_one_are_refused() {
        let mut secret = Some(Secret::new("a".into()));
        let error = reveal("user.x.password", &mut secret, Some("HOME"), None).expect_err("two");
        assert!(error.to_string().contains("only one of user.x.password"), "{error}");
        let error = reveal("k", &mut None, Some("ANTIPHON_NO_SUCH_VARIABLE"), None).expect_err("unset");
        assert!(error.to_string().contains("ANTIPHON_NO_SUCH_VARIABLE"), "{error}");
        let error = reveal("k", &mut None, None, Some(Path::new("/no/such/file"))).expect_err("no file");
        assert!(format!("{error:#}").contains("/no/such/file"), "{error:#}");
        assert!(reveal("k", &mut Some(Secret::new(String::new())), None, None).is_err());
    }
}
