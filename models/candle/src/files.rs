//! Finding a published model's files: a folder as on the Hugging Face hub, or a GGUF file with the others beside it.

use std::path::{Path, PathBuf};

use crate::LoadError;
use crate::error::file;

/// Entries of a folder that are looked at.
const MOST: usize = 10_000;
/// No description of a model is longer; a tokenizer of 52,000 tokens takes 4 MB.
const LARGEST: u64 = 64 << 20;

/// Where the weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Safetensors(PathBuf),
    /// Several safetensors and the index that says what is where.
    Sharded(PathBuf),
    Gguf(PathBuf),
}

/// A model's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) weights: Stored,
    pub(crate) config: PathBuf,
    pub(crate) tokenizer: PathBuf,
    pub(crate) generation: Option<PathBuf>,
    pub(crate) preprocessor: Option<PathBuf>,
}

impl Files {
    /// Finds the files of the model at `path`.
    pub(crate) fn find(path: &Path) -> Result<Self, LoadError> {
        if path.as_os_str().is_empty() || !path.is_dir() {
            std::fs::metadata(path).map_err(file(path))?;
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return match extension(path) {
                "gguf" => Self::beside(Stored::Gguf(path.to_owned()), folder, &stem(path)),
                "safetensors" => Self::beside(Stored::Safetensors(path.to_owned()), folder, ""),
                _ => Err(crate::error::format(path, &"neither a folder nor .gguf nor .safetensors")),
            };
        }
        let single = path.join("model.safetensors");
        if single.is_file() {
            return Self::beside(Stored::Safetensors(single), path, "");
        }
        let index = path.join("model.safetensors.index.json");
        if index.is_file() {
            return Self::beside(Stored::Sharded(index), path, "");
        }
        let first = names(path)?.into_iter().find(|name| name.ends_with(".gguf"));
        let Some(name) = first else {
            let what = "model.safetensors, model.safetensors.index.json or *.gguf".to_owned();
            return Err(LoadError::Missing { what, folder: path.display().to_string() });
        };
        let weights = path.join(name);
        Self::beside(Stored::Gguf(weights.clone()), path, &stem(&weights))
    }

    fn beside(weights: Stored, folder: &Path, stem: &str) -> Result<Self, LoadError> {
        let names = names(folder)?;
        let find = |what: &str| {
            let plain = folder.join(format!("{what}.json"));
            if plain.is_file() {
                return Some(plain);
            }
            // `config-tiny-en.json` beside `model-tiny-en-q80.gguf`; of several that fit, the longest.
            let own = names.iter().filter(|name| {
                let variant =
                    name.strip_prefix(what).and_then(|n| n.strip_prefix('-')?.strip_suffix(".json"));
                variant.is_some_and(|v| !v.is_empty() && format!("{stem}-").contains(&format!("-{v}-")))
            });
            own.max_by_key(|name| name.len()).map(|name| folder.join(name))
        };
        let wanted = |what: &str| {
            let missing =
                || LoadError::Missing { what: format!("{what}.json"), folder: folder.display().to_string() };
            find(what).ok_or_else(missing)
        };
        Ok(Self {
            config: wanted("config")?,
            tokenizer: wanted("tokenizer")?,
            generation: find("generation_config"),
            preprocessor: find("preprocessor_config"),
            weights,
        })
    }
}

/// Reads a JSON file of bounded size.
pub(crate) fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, LoadError> {
    let length = std::fs::metadata(path).map_err(file(path))?.len();
    if length > LARGEST {
        return Err(crate::error::format(
            path,
            &format!("{length} bytes, more than the {LARGEST} there may be"),
        ));
    }
    let bytes = std::fs::read(path).map_err(file(path))?;
    serde_json::from_slice(&bytes).map_err(|e| crate::error::format(path, &e))
}

fn names(folder: &Path) -> Result<Vec<String>, LoadError> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(file(folder))?.take(MOST) {
        out.extend(entry.map_err(file(folder))?.file_name().into_string());
    }
    out.sort();
    Ok(out)
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            std::fs::write(folder.path().join(name), "{}").expect("written");
        }
        folder
    }

    #[test]
    fn what_lies_beside_a_gguf_is_found_by_its_variant() {
        let names =
            ["config-tiny.json", "config-tiny-en.json", "tokenizer-tiny.json", "tokenizer-tiny-en.json"];
        let folder = folder(&names);
        for (weights, variant) in [("model-tiny-en-q80.gguf", "tiny-en"), ("model-tiny-q4k.gguf", "tiny")] {
            let path = folder.path().join(weights);
            std::fs::write(&path, "").expect("written");
            let found = Files::find(&path).expect("found");
            assert_eq!(found.config, folder.path().join(format!("config-{variant}.json")));
            assert_eq!(found.tokenizer, folder.path().join(format!("tokenizer-{variant}.json")));
            assert_eq!((found.generation, found.preprocessor), (None, None));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let bare = folder(&["model.safetensors"]);
        let refused = Files::find(bare.path()).expect_err("no config");
        assert!(refused.to_string().contains("no config.json in"), "{refused}");
        let refused = Files::find(folder(&[]).path()).expect_err("nothing");
        assert!(refused.to_string().contains("model.safetensors"), "{refused}");
        let refused = Files::find(Path::new("/nowhere/at/all")).expect_err("no path");
        assert!(refused.to_string().contains("/nowhere/at/all"), "{refused}");
        assert!(Files::find(Path::new("")).is_err());
        let odd = folder(&["model.bin"]);
        let refused = Files::find(&odd.path().join("model.bin")).expect_err("another format");
        assert!(refused.to_string().contains("neither a folder"), "{refused}");
    }
}
