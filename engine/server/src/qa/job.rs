//! What a job asks for, as it stands in the store and comes over the API.

use std::collections::BTreeMap;
use std::path::Path;

use antiphon_engine_measure::Role;
use antiphon_engine_qa::Scorecard;
use antiphon_models_speech::{Hints, Language};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::config::QaSection;

/// Files of one job.
pub(crate) const MOST_FILES: usize = 50_000;
/// Scorecards of one job.
const MOST_CARDS: usize = 16;
/// Members of a file's metadata.
const MOST_FACTS: usize = 64;
/// The longest name of a file, and the longest member of metadata.
const LONGEST: usize = 1_024;
/// The largest scorecard.
const LARGEST_CARD: u64 = 1 << 20;

/// A job as it is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobRequest {
    /// The ids of scorecards in `qa.scorecards`, or whole ones.
    pub(crate) scorecards: Vec<CardName>,
    /// The recordings.
    #[serde(default)]
    pub(crate) files: Vec<FileRequest>,
    /// More recordings, as a table.
    #[serde(default)]
    pub(crate) manifest: Option<Manifest>,
    /// What is spoken, where a file does not say otherwise.
    #[serde(default)]
    pub(crate) language: Option<String>,
    /// What is likely to be said.
    #[serde(default)]
    pub(crate) hints: Vec<String>,
    /// Who is on each channel, where a file does not say otherwise.
    #[serde(default)]
    pub(crate) channels: Option<Vec<RoleName>>,
    /// Which words of our own recordings are judged.
    #[serde(default)]
    pub(crate) words: Words,
    /// The higher, the sooner: -10 to 10.
    #[serde(default)]
    pub(crate) priority: i64,
    /// Who is called back when the job is over.
    #[serde(default)]
    pub(crate) callback: Option<String>,
    /// What is known of every call.
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Which words of a recording of ours are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Words {
    /// Those heard while the call went on, where they were kept; else the recording is recognised.
    #[default]
    Live,
    /// The recording is recognised.
    Again,
}

impl Words {
    fn are_live(&self) -> bool {
        *self == Self::Live
    }
}

/// A scorecard by its id, or itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum CardName {
    /// Its `id`.
    Id(String),
    /// Its text.
    Text {
        /// YAML.
        yaml: String,
    },
}

/// A recording as it is asked for: one of the sources, and what is known of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "serde_json::Map<String, serde_json::Value>")]
pub(crate) struct FileRequest {
    pub(crate) source: Source,
    pub(crate) name: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) channels: Option<Vec<RoleName>>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl TryFrom<serde_json::Map<String, serde_json::Value>> for FileRequest {
    type Error = String;

    fn try_from(mut members: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        fn take<T: serde::de::DeserializeOwned + Default>(
            members: &mut serde_json::Map<String, serde_json::Value>,
            name: &str,
        ) -> Result<T, String> {
            let value = members.remove(name).map(serde_json::from_value).transpose();
            Ok(value.map_err(|error| format!("{name}: {error}"))?.unwrap_or_default())
        }
        let (name, language) = (take(&mut members, "name")?, take(&mut members, "language")?);
        let (channels, metadata) = (take(&mut members, "channels")?, take(&mut members, "metadata")?);
        if members.len() != 1 {
            let named: Vec<_> = members.keys().map(String::as_str).collect();
            return Err(format!(
                "it needs exactly one of path, upload, url, s3, recording, sides and result, and has {}",
                if named.is_empty() { "none".to_owned() } else { named.join(" and ") }
            ));
        }
        let source = serde_json::from_value(members.into()).map_err(|error| error.to_string())?;
        Ok(Self { source, name, language, channels, metadata })
    }
}

/// A table of recordings: a header (CSV) or members (JSONL) of the names of [`FileRequest`]'s; what else there is, is
/// metadata.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Manifest {
    /// Comma-separated values (RFC 4180) with a header.
    Csv(String),
    /// A JSON object a line.
    Jsonl(String),
}

/// A role by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RoleName {
    Customer,
    Agent,
    Other,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Customer => Self::Customer,
            RoleName::Agent => Self::Agent,
            RoleName::Other => Self::Other,
        }
    }
}

/// A job as the store keeps it: what its workers need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Whose share of the pool it takes.
    pub(crate) tenant: String,
    pub(crate) language: Option<String>,
    pub(crate) hints: Vec<String>,
    pub(crate) channels: Option<Vec<RoleName>>,
    #[serde(default, skip_serializing_if = "Words::are_live")]
    pub(crate) words: Words,
    /// The scorecards' texts, so that a job is judged by what was asked for, whatever becomes of the files.
    pub(crate) scorecards: Vec<Card>,
    pub(crate) callback: Option<String>,
}

/// A scorecard with its origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Card {
    /// What errors call it.
    pub(crate) origin: String,
    pub(crate) text: String,
}

impl Card {
    pub(crate) fn read(&self) -> Result<Scorecard, String> {
        Scorecard::read(&self.text, Path::new(&self.origin)).map_err(|error| error.to_string())
    }
}

/// What is known of a file besides, as the store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<Vec<RoleName>>,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Finds scorecards by their names, and reads every one.
pub(crate) fn cards(names: &[CardName], config: &QaSection) -> Result<Vec<Card>, String> {
    if names.is_empty() {
        return Err("scorecards names none: at least one says what is looked for".to_owned());
    }
    if names.len() > MOST_CARDS {
        return Err(format!("scorecards names {}; at most {MOST_CARDS} are taken", names.len()));
    }
    let mut cards = Vec::with_capacity(names.len());
    let mut ids = std::collections::BTreeSet::new();
    for (n, name) in names.iter().enumerate() {
        let card = match name {
            CardName::Text { yaml } => Card { origin: format!("scorecards[{n}]"), text: yaml.clone() },
            CardName::Id(id) => find(id, config)?,
        };
        let read = card.read()?;
        if !ids.insert(read.id().to_owned()) {
            return Err(format!("the scorecard {} is named twice", read.id()));
        }
        cards.push(card);
    }
    Ok(cards)
}

/// The scorecard of an id in the configured folder.
fn find(id: &str, config: &QaSection) -> Result<Card, String> {
    let Some(folder) = &config.scorecards else {
        return Err(format!(
            "there is no scorecard {id}: qa.scorecards names no folder; send {{\"yaml\": \"...\"}}"
        ));
    };
    let mut known = Vec::new();
    for path in card_files(folder)? {
        let card = read_card(&path)?;
        // One that is broken is told when it is asked for, and does not stand in the way of others.
        let Ok(read) = card.read() else {
            if path.file_stem().is_some_and(|stem| stem == id) {
                return card.read().map(|_| card.clone());
            }
            continue;
        };
        if read.id() == id {
            return Ok(card);
        }
        known.push(read.id().to_owned());
    }
    Err(format!("there is no scorecard {id}; there are: {}", known.join(", ")))
}

/// The scorecards' files of a folder, by name.
pub(crate) fn card_files(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let list =
        std::fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let yaml =
        |path: &std::path::PathBuf| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
    let mut files: Vec<_> = list.flatten().map(|entry| entry.path()).filter(yaml).collect();
    files.sort();
    Ok(files)
}

/// A scorecard's file, unread.
pub(crate) fn read_card(path: &Path) -> Result<Card, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let length = path.metadata().map_err(cannot)?.len();
    if length > LARGEST_CARD {
        return Err(format!("{} is larger than {} KiB", path.display(), LARGEST_CARD >> 10));
    }
    Ok(Card { origin: path.display().to_string(), text: std::fs::read_to_string(path).map_err(cannot)? })
}

impl JobRequest {
    /// Every file, those of the manifest last, with what is known of it.
    pub(crate) fn all_files(&self) -> Result<Vec<(FileRequest, Facts)>, String> {
        let mut files = self.files.clone();
        match &self.manifest {
            Some(Manifest::Csv(text)) => files.extend(csv_rows(text)?),
            Some(Manifest::Jsonl(text)) => files.extend(json_rows(text)?),
            None => {}
        }
        if files.is_empty() {
            return Err("files names none".to_owned());
        }
        if files.len() > MOST_FILES {
            return Err(format!("the job has {} files; at most {MOST_FILES} are taken", files.len()));
        }
        let with_facts = |(n, file): (usize, FileRequest)| {
            let facts = self.facts(&file).map_err(|error| format!("files[{n}]: {error}"))?;
            Ok((file, facts))
        };
        files.into_iter().enumerate().map(with_facts).collect()
    }

    fn facts(&self, file: &FileRequest) -> Result<Facts, String> {
        if let Some(tag) = &file.language {
            language(tag)?;
        }
        let mut metadata = self.metadata.clone();
        metadata.extend(file.metadata.clone());
        if metadata.len() > MOST_FACTS {
            return Err(format!("metadata has {} members; at most {MOST_FACTS} are taken", metadata.len()));
        }
        let long = metadata.iter().find(|(key, value)| key.len().max(value.len()) > LONGEST);
        if let Some((key, _)) = long {
            let key: String = key.chars().take(40).collect();
            return Err(format!("metadata.{key} is longer than {LONGEST} octets"));
        }
        if file.name.as_ref().is_some_and(|name| name.len() > LONGEST) {
            return Err(format!("name is longer than {LONGEST} octets"));
        }
        Ok(Facts { language: file.language.clone(), channels: file.channels.clone(), metadata })
    }

    /// Checks what does not depend on the server.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(tag) = &self.language {
            language(tag)?;
        }
        if !(-10..=10).contains(&self.priority) {
            return Err(format!("priority is {}; it is -10 to 10", self.priority));
        }
        if self.hints.len() > Hints::LIMIT {
            return Err(format!(
                "hints has {} phrases; at most {} are taken",
                self.hints.len(),
                Hints::LIMIT
            ));
        }
        Ok(())
    }
}

pub(crate) fn language(tag: &str) -> Result<Language, String> {
    Language::parse(tag)
        .ok_or_else(|| format!("language `{}` is no tag such as en, en-US or zh", tag.escape_debug()))
}

impl FileRequest {
    /// What results call it.
    pub(crate) fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| title(&self.source))
    }
}

fn title(source: &Source) -> String {
    let last = |text: &str| {
        text.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
    };
    match source {
        Source::Path(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        Source::Upload(name) | Source::Recording(name) => name.clone(),
        Source::Url(url) | Source::S3(url) => last(url),
        Source::Sides { customer, agent } => format!("{} + {}", title(customer), title(agent)),
        Source::Result { job, n } => format!("{job}/{n}"),
    }
}

/// One row as name and value pairs.
fn row(cells: impl Iterator<Item = (String, String)>) -> Result<FileRequest, String> {
    let mut file = FileRequest {
        source: Source::Path(std::path::PathBuf::new()),
        name: None,
        language: None,
        channels: None,
        metadata: BTreeMap::new(),
    };
    let (mut sources, mut sides) = (Vec::new(), (None, None));
    for (name, value) in cells {
        let value = value.trim().to_owned();
        if value.is_empty() {
            continue;
        }
        match name.trim() {
            "path" => sources.push(Source::Path(value.into())),
            "upload" => sources.push(Source::Upload(value)),
            "url" => sources.push(Source::Url(value)),
            "s3" => sources.push(Source::S3(value)),
            "recording" => sources.push(Source::Recording(value)),
            "customer_file" => sides.0 = Some(side(&value)),
            "agent_file" => sides.1 = Some(side(&value)),
            "name" => file.name = Some(value),
            "language" => file.language = Some(value),
            "channels" => {
                let role = |name: &str| {
                    let name = name.trim();
                    RoleName::from_str(name, false).map_err(|_| {
                        format!("channels: `{}` is none of customer, agent, other", name.escape_debug())
                    })
                };
                file.channels = Some(value.split(['+', ' ', '/']).map(role).collect::<Result<_, _>>()?);
            }
            other => {
                file.metadata.insert(other.to_owned(), value);
            }
        }
    }
    match sides {
        (Some(customer), Some(agent)) => {
            sources.push(Source::Sides { customer: Box::new(customer), agent: Box::new(agent) });
        }
        (None, None) => {}
        _ => return Err("customer_file and agent_file go together".to_owned()),
    }
    match (sources.pop(), sources.is_empty()) {
        (Some(source), true) => file.source = source,
        (Some(_), false) => return Err("it names more than one source".to_owned()),
        (None, _) => {
            return Err("it has none of path, upload, url, s3, recording, or customer_file with agent_file"
                .to_owned());
        }
    }
    Ok(file)
}

/// A side's file: an address, or a path.
fn side(text: &str) -> Source {
    match text.split_once(':') {
        Some(("upload", name)) => Source::Upload(name.to_owned()),
        Some(("http" | "https", _)) => Source::Url(text.to_owned()),
        Some(("s3", _)) => Source::S3(text.to_owned()),
        _ => Source::Path(text.into()),
    }
}

fn csv_rows(text: &str) -> Result<Vec<FileRequest>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let header = reader.headers().map_err(|error| format!("manifest: {error}"))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| format!("manifest: {error}"))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells = header.iter().zip(&record).map(|(name, cell)| (name.to_owned(), cell.to_owned()));
        rows.push(row(cells).map_err(|error| format!("manifest, line {line}: {error}"))?);
        if rows.len() > MOST_FILES {
            break;
        }
    }
    Ok(rows)
}

fn json_rows(text: &str) -> Result<Vec<FileRequest>, String> {
    let mut rows = Vec::new();
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let members: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(line).map_err(|error| format!("manifest, line {}: {error}", n + 1))?;
        // In full, as in a job; or flat, as in a table.
        let file = if members.values().any(|value| value.is_object() || value.is_array()) {
            serde_json::from_str(line).map_err(|error| error.to_string())
        } else {
            row(members.into_iter().map(|(name, value)| (name, plain(&value))))
        };
        rows.push(file.map_err(|error| format!("manifest, line {}: {error}", n + 1))?);
        if rows.len() > MOST_FILES {
            break;
        }
    }
    Ok(rows)
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<Vec<(FileRequest, Facts)>, String> {
        let request: JobRequest = serde_json::from_str(json).map_err(|error| error.to_string())?;
        request.check()?;
        request.all_files()
    }

    #[test]
    fn files_are_named_one_by_one_or_in_a_table() {
        let files = request(
            r#"{"scorecards": ["a"], "metadata": {"queue": "sales"},
                "files": [{"path": "/calls/one.wav"}, {"url": "https://x.example/two.mp3?k=1", "metadata": {"queue": "support"}},
                          {"sides": {"customer": {"path": "c.wav"}, "agent": {"path": "a.wav"}}, "name": "pair"}],
                "manifest": {"csv": "path,agent,language\n\"/calls/a, b.wav\",ann,zh\n/calls/c.wav,,\n"}}"#,
        )
        .expect("valid");
        let names: Vec<_> = files.iter().map(|(file, _)| file.title()).collect();
        assert_eq!(names, ["one.wav", "two.mp3", "pair", "a, b.wav", "c.wav"]);
        let queues: Vec<_> = files.iter().map(|(_, facts)| facts.metadata["queue"].as_str()).collect();
        assert_eq!(queues, ["sales", "support", "sales", "sales", "sales"]);
        assert_eq!(files[3].1.metadata["agent"], "ann");
        assert_eq!((files[3].1.language.as_deref(), files[4].1.language.as_deref()), (Some("zh"), None));
    }

    #[test]
    fn lines_of_json_are_flat_or_full() {
        let manifest = r#"{"path":"a.wav","agent":"ann","score":3}
            {"upload":"b.wav","channels":["agent","customer"],"metadata":{"agent":"bob"}}"#;
        let json = serde_json::json!({ "scorecards": ["a"], "manifest": { "jsonl": manifest } }).to_string();
        let files = request(&json).expect("valid");
        assert_eq!(
            (files[0].1.metadata["agent"].as_str(), files[0].1.metadata["score"].as_str()),
            ("ann", "3")
        );
        assert_eq!(files[1].1.channels, Some(vec![RoleName::Agent, RoleName::Customer]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let csv =
            |text: &str| serde_json::json!({ "scorecards": ["a"], "manifest": { "csv": text } }).to_string();
        for (json, told) in [
            (csv("path,url\na.wav,\n,http://x\nb.wav,http://x\n"), "line 4"),
            (csv("agent\nann\n"), "line 2"),
            (csv("path,channels\na.wav,agent+boss\n"), "boss"),
            (r#"{"scorecards": ["a"]}"#.to_owned(), "none"),
            (r#"{"scorecards": ["a"], "files": [{"path": "a"}], "priority": 11}"#.to_owned(), "-10 to 10"),
            (
                r#"{"scorecards": ["a"], "files": [{"path": "a"}], "language": "english?"}"#.to_owned(),
                "english?",
            ),
            (r#"{"scorecards": ["a"], "files": [{"file": "a"}]}"#.to_owned(), "unknown variant `file`"),
            (r#"{"scorecards": ["a"], "colour": 1, "files": []}"#.to_owned(), "colour"),
        ] {
            let error = request(&json).expect_err(&json);
            assert!(error.contains(told), "{json}: {error}");
        }
    }
}
