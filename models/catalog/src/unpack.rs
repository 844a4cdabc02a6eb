//! Archives, unpacked within bounds: no path leaves the folder, no link is followed, nothing grows without end.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use bzip2::read::MultiBzDecoder;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is damaged, or the disk is.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// An entry's path is not below the folder.
    #[error("the entry {0:?} leaves the folder")]
    Path(PathBuf),
    /// An entry is neither file nor folder.
    #[error("the entry {0:?} is a link or a device")]
    Link(PathBuf),
    /// It holds more than it may.
    #[error("it holds more than {most} {what}")]
    Large {
        /// How many.
        most: u64,
        /// Bytes or entries.
        what: &'static str,
    },
}

/// Archives of models have a few dozen entries.
const MOST_ENTRIES: u64 = 10_000;

/// Unpacks a `.tar.bz2` into `folder`, without the one folder at its top. Returns the files, below `folder`.
pub(crate) fn unpack(archive: &Path, folder: &Path, most: u64) -> Result<Vec<String>, UnpackError> {
    let mut tar = tar::Archive::new(MultiBzDecoder::new(BufReader::new(File::open(archive)?)));
    let mut left = most;
    let mut files = Vec::new();
    for (entry, count) in tar.entries()?.zip(0..) {
        if count >= MOST_ENTRIES {
            return Err(UnpackError::Large { most: MOST_ENTRIES, what: "entries" });
        }
        let entry = entry?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        let safe = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !safe {
            return Err(UnpackError::Path(path));
        }
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() {
            return Err(UnpackError::Link(path));
        }
        let inner: PathBuf = path.components().filter(|part| *part != Component::CurDir).skip(1).collect();
        let Some(name) = inner.to_str().filter(|name| !name.is_empty() && name.len() <= 512) else {
            return Err(UnpackError::Path(path));
        };
        let target = folder.join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        // One over another would be a trick.
        let mut file = File::create_new(&target)?;
        left = write(entry, &mut file, left).map_err(|error| match error {
            UnpackError::Large { what, .. } => UnpackError::Large { most, what },
            error => error,
        })?;
        file.sync_all()?;
        files.push(name.to_owned());
    }
    Ok(files)
}

/// Writes an entry; what is left of the bytes that all of them may have.
fn write(mut entry: impl Read, file: &mut File, mut left: u64) -> Result<u64, UnpackError> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = entry.read(&mut buffer)?;
        if count == 0 {
            return Ok(left);
        }
        left = left.checked_sub(count as u64).ok_or(UnpackError::Large { most: left, what: "bytes" })?;
        file.write_all(&buffer[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use bzip2::Compression;
    use bzip2::write::BzEncoder;

    use super::*;

    fn archive(folder: &Path, entries: &[(&str, tar::EntryType, &[u8])]) -> PathBuf {
        let path = folder.join("a.tar.bz2");
        let mut tar = tar::Builder::new(BzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // Written past the builder's own checks, as an attacker would.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        path
    }

    #[test]
    fn the_folder_at_the_top_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = tar::EntryType::Regular;
        let path = archive(
            folder.path(),
            &[
                ("m/", tar::EntryType::Directory, b""),
                ("m/tokens.txt", file, b"a"),
                ("./m/deep/b.onnx", file, b"bc"),
            ],
        );
        let out = folder.path().join("out");
        assert_eq!(unpack(&path, &out, 100).unwrap(), ["tokens.txt", "deep/b.onnx"]);
        assert_eq!(fs::read(out.join("deep/b.onnx")).unwrap(), b"bc");
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for name in ["../evil", "m/../../evil", "/etc/evil", "m"] {
            let folder = tempfile::tempdir().unwrap();
            let path = archive(folder.path(), &[(name, tar::EntryType::Regular, b"x")]);
            let error = unpack(&path, &folder.path().join("out"), 100).unwrap_err();
            assert!(matches!(error, UnpackError::Path(_)), "{name}: {error}");
        }
    }

    #[test]
    fn links_are_refused() {
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
            let folder = tempfile::tempdir().unwrap();
            let path = archive(folder.path(), &[("m/l", kind, b"")]);
            assert!(matches!(unpack(&path, &folder.path().join("out"), 100), Err(UnpackError::Link(_))));
        }
    }

    #[test]
    fn what_grows_without_end_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let zeros = vec![0; 1 << 20];
        let path = archive(folder.path(), &[("m/z", tar::EntryType::Regular, &zeros)]);
        assert!(fs::metadata(&path).unwrap().len() < 10_000, "a bomb is small");
        let error = unpack(&path, &folder.path().join("out"), 100_000).unwrap_err();
        assert!(matches!(error, UnpackError::Large { most: 100_000, what: "bytes" }), "{error}");
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = archive(folder.path(), &[("m/z", tar::EntryType::Regular, &[7; 5_000])]);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(unpack(&path, &folder.path().join("out"), 100_000), Err(UnpackError::Io(_))));
    }
}
