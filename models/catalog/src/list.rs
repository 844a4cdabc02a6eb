//! The list of models.

use std::path::{Component, Path};

use antiphon_media_frame::SampleRate;
use serde::{Deserialize, Serialize};

use crate::checksum::Checksum;

const BUILT_IN: &str = include_str!("../models.toml");

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Speech to words.
    Recognition,
    /// Words to speech.
    Synthesis,
    /// Where speech is.
    Activity,
    /// Where a speaker's turn ends.
    Turn,
}

/// A checksum, and the place where its publisher states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The checksum.
    pub checksum: Checksum,
    /// The address of the page or file that states it.
    pub cited: String,
}

/// One file of a model as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it goes, below the model's folder. An archive's name is the last part of its address.
    pub path: String,
    /// Where it is published.
    pub url: String,
    /// Its size in bytes, where the publisher states it.
    pub bytes: Option<u64>,
    /// Its checksum, where the publisher states one.
    pub stated: Option<Stated>,
    /// Whether it is a `.tar.bz2` whose content is the model.
    pub archive: bool,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What it is asked for by.
    pub name: String,
    /// The engine that runs it, by the name that engine is configured by.
    pub engine: String,
    /// What it does.
    pub task: Task,
    /// Whether words come while somebody speaks.
    pub streaming: bool,
    /// Primary language subtags; `*` for very many.
    pub languages: Vec<String>,
    /// The rates of sound it was trained on.
    pub rates: Vec<SampleRate>,
    /// An SPDX expression, or what its publisher calls it.
    pub licence: String,
    /// How much is downloaded, in bytes; about, where the publisher rounds.
    pub size: u64,
    /// When to take it.
    pub recommended: String,
    /// Among models of one engine and language the higher one is the default.
    pub rank: u32,
    /// What to pull.
    pub files: Vec<File>,
    /// What must be there afterwards, below the model's folder; the files themselves, where none is an archive.
    pub expected: Vec<String>,
}

/// Why a list is not one.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It is no TOML of the right form.
    #[error("the list of models is not well formed: {0}")]
    Form(#[from] Box<toml::de::Error>),
    /// An entry contradicts itself.
    #[error("model {model}: {reason}")]
    Model {
        /// Its name.
        model: String,
        /// What is wrong.
        reason: String,
    },
}

/// All models that are known.
#[derive(Clone, Debug)]
pub struct Catalog {
    models: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawList {
    model: Vec<RawModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    name: String,
    engine: String,
    task: Task,
    #[serde(default)]
    streaming: bool,
    languages: Vec<String>,
    rates_hz: Vec<u32>,
    licence: String,
    size_mb: f64,
    recommended: String,
    #[serde(default)]
    rank: u32,
    #[serde(default)]
    expected: Vec<String>,
    file: Vec<RawFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    path: Option<String>,
    url: String,
    bytes: Option<u64>,
    checksum: Option<String>,
    cited: Option<String>,
    #[serde(default)]
    archive: bool,
}

impl Catalog {
    /// The list that is built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the list in the repository is read by this crate's tests")
    }

    /// Reads a list.
    ///
    /// # Errors
    /// It is not of the right form; a name twice; a path that leaves its folder; a checksum without the place that
    /// states it.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let raw: RawList = toml::from_str(text).map_err(Box::new)?;
        let mut models: Vec<Model> = Vec::with_capacity(raw.model.len());
        for model in raw.model {
            let name = model.name.clone();
            let error = |reason: String| ListError::Model { model: name.clone(), reason };
            if models.iter().any(|other| other.name == name) {
                return Err(error("is listed twice".into()));
            }
            models.push(Model::check(model).map_err(error)?);
        }
        Ok(Self { models })
    }

    /// All of them, in the list's order.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The name most like `name`, for somebody who mistyped it.
    #[must_use]
    pub fn similar(&self, name: &str) -> Option<&str> {
        let common = |other: &str| {
            let pairs = |text: &str| text.as_bytes().windows(2).map(<[u8]>::to_vec).collect::<Vec<_>>();
            let (a, b) = (pairs(name), pairs(other));
            a.iter().filter(|pair| b.contains(pair)).count() * 200 / (a.len() + b.len()).max(1)
        };
        let best = self.models.iter().max_by_key(|model| common(&model.name))?;
        (common(&best.name) >= 40).then_some(best.name.as_str())
    }
}

impl Model {
    fn check(raw: RawModel) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
        if raw.name.is_empty()
            || raw.name.len() > 64
            || raw.name.starts_with('.')
            || !raw.name.chars().all(plain)
        {
            return Err("a name has 1 to 64 lower-case letters, digits, dots, hyphens".into());
        }
        if raw.languages.is_empty() || raw.rates_hz.is_empty() || raw.file.is_empty() {
            return Err("languages, rates and files may not be empty".into());
        }
        let rates = raw
            .rates_hz
            .iter()
            .map(|&hz| SampleRate::new(hz).ok_or(format!("{hz} Hz is no rate of sound")))
            .collect::<Result<_, _>>()?;
        let files = raw.file.into_iter().map(File::check).collect::<Result<Vec<_>, _>>()?;
        let archives = files.iter().filter(|file| file.archive).count();
        if archives > 1 || (archives == 1) == raw.expected.is_empty() {
            return Err("one archive and what is expected in it, or files alone".into());
        }
        let expected =
            if archives == 0 { files.iter().map(|file| file.path.clone()).collect() } else { raw.expected };
        if let Some(path) = expected.iter().find(|path| !inside(path)) {
            return Err(format!("{path} leaves the model's folder"));
        }
        Ok(Self {
            name: raw.name,
            engine: raw.engine,
            task: raw.task,
            streaming: raw.streaming,
            languages: raw.languages,
            rates,
            licence: raw.licence,
            size: (raw.size_mb * 1e6) as u64,
            recommended: raw.recommended,
            rank: raw.rank,
            files,
            expected,
        })
    }

    /// Whether it understands or speaks a language, by its primary subtag.
    #[must_use]
    pub fn speaks(&self, language: &str) -> bool {
        self.languages.iter().any(|known| known == "*" || known == language)
    }
}

impl File {
    fn check(raw: RawFile) -> Result<Self, String> {
        let last = raw.url.rsplit('/').next().unwrap_or_default().to_owned();
        let path = raw.path.unwrap_or(last);
        if !inside(&path) {
            return Err(format!("{path} leaves the model's folder"));
        }
        if raw.archive && !path.ends_with(".tar.bz2") {
            return Err(format!("{path}: archives are .tar.bz2"));
        }
        let stated = match (raw.checksum, raw.cited) {
            (None, None) => None,
            (Some(digits), Some(cited)) => {
                let checksum = Checksum::parse(&digits).ok_or(format!("{digits} is no checksum"))?;
                Some(Stated { checksum, cited })
            }
            _ => return Err(format!("{path}: a checksum comes with the place that states it")),
        };
        Ok(Self { path, url: raw.url, bytes: raw.bytes, stated, archive: raw.archive })
    }
}

/// Whether a path stays below the folder it is taken in.
pub(crate) fn inside(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 512
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
        [[model]]
        name = "a"
        engine = "whisper"
        task = "recognition"
        languages = ["en"]
        rates_hz = [16000]
        licence = "MIT"
        size_mb = 1.5
        recommended = "never"
        [[model.file]]
        url = "https://example.test/a.bin"
    "#;

    #[test]
    fn the_list_of_the_repository_is_well_formed() {
        let catalog = Catalog::built_in();
        assert!(catalog.models().len() >= 25, "{}", catalog.models().len());
        for model in catalog.models() {
            for file in &model.files {
                assert!(file.url.starts_with("https://"), "{}", file.url);
                if let Some(stated) = &file.stated {
                    assert!(stated.cited.starts_with("https://"), "{}", model.name);
                }
            }
        }
        for (engine, task, language) in [
            ("transducer", Task::Recognition, "en"),
            ("transducer", Task::Recognition, "zh"),
            ("whisper", Task::Recognition, "en"),
            ("candle", Task::Recognition, "en"),
            ("paraformer", Task::Recognition, "zh"),
            ("sensevoice", Task::Recognition, "zh"),
            ("piper", Task::Synthesis, "en"),
            ("piper", Task::Synthesis, "zh"),
        ] {
            let found = catalog
                .models()
                .iter()
                .any(|model| model.engine == engine && model.task == task && model.speaks(language));
            assert!(found, "{engine} {language}");
        }
    }

    #[test]
    fn a_model_is_read() {
        let catalog = Catalog::parse(ONE).unwrap();
        let model = catalog.find("a").unwrap();
        assert_eq!((model.size, model.files[0].path.as_str()), (1_500_000, "a.bin"));
        assert!(model.speaks("en") && !model.speaks("zh"));
    }

    #[test]
    fn entries_that_contradict_themselves_are_refused_by_name() {
        let twice = format!("{ONE}{ONE}");
        let outside = ONE
            .replace("url = \"https://example.test/a.bin\"", "url = \"https://x.test/a\"\npath = \"../a\"");
        let uncited = format!("{ONE}checksum = \"900150983cd24fb0d6963f7d28e17f72\"\n");
        let archive = format!("{ONE}archive = true\n");
        for (list, reason) in
            [(twice, "twice"), (outside, "leaves"), (uncited, "place"), (archive, ".tar.bz2")]
        {
            let error = Catalog::parse(&list).unwrap_err().to_string();
            assert!(error.contains("model a") && error.contains(reason), "{error}");
        }
        assert!(Catalog::parse("[[model]]\nname = 1").is_err());
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_right_one() {
        let catalog = Catalog::built_in();
        assert_eq!(catalog.similar("whisper-tin"), Some("whisper-tiny"));
        assert_eq!(catalog.similar("qqqq"), None);
    }
}
