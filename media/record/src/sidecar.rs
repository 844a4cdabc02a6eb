//! The JSON file beside a recording: who, when, what was said, what was lost.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use antiphon_media_frame::MediaTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::timeline::{Channel, Gap, GapCause};

/// Everything known about a recorded call. Times are seconds on the call's clock where they are numbers, RFC 3339 in
/// UTC where they are instants of the wall clock. Holds personal data: it belongs beside the recording and nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// [`Sidecar::VERSION`].
    pub version: u32,
    /// 32 hexadecimal digits.
    pub call: String,
    /// Who called.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// When the call came in or was placed.
    #[serde(with = "instant")]
    pub started_at: Option<SystemTime>,
    /// When it was answered: time 0 of the recording, unless [`Self::recording_starts_at`] says otherwise.
    #[serde(with = "instant")]
    pub answered_at: Option<SystemTime>,
    /// When it ended.
    #[serde(with = "instant")]
    pub ended_at: Option<SystemTime>,
    /// Seconds on the call's clock at the file's first sample.
    pub recording_starts_at: f64,
    /// The recording's file name, beside this file.
    pub recording: String,
    /// How long the recording is, in seconds.
    pub duration: f64,
    /// `PCMU`, `PCMA` or `G722`.
    pub codec: String,
    /// Samples per second of the recording.
    pub sample_rate_hz: u32,
    /// Stable code of the cause the call ended with.
    pub cause: String,
    /// Keys pressed, in order.
    pub dtmf: Vec<Key>,
    /// Stretches that are not what the speaker sent, in order.
    pub gaps: Vec<Stretch>,
    /// Final utterances of both sides, in order of their start.
    pub transcript: Vec<TranscriptEntry>,
    /// How fast the machine answered.
    pub responses: Vec<ResponseEntry>,
    /// What the network did.
    pub media: Vec<MediaEntry>,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Whose.
    pub side: Channel,
    /// `0` to `9`, `*`, `#`, `A` to `D`.
    pub key: char,
    /// When it was pressed.
    pub at: f64,
    /// How long it was held.
    pub duration_ms: u64,
}

/// [`Gap`] in a sidecar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Whose.
    pub side: Channel,
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Why.
    pub cause: GapCause,
}

impl Stretch {
    /// A gap as the sidecar writes it.
    #[must_use]
    pub fn of(side: Channel, gap: &Gap) -> Self {
        Self { side, from: seconds(gap.from), to: seconds(gap.to), cause: gap.cause }
    }
}

/// An utterance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TranscriptEntry {
    /// Whose.
    pub side: Channel,
    /// The whole text, as one reads it.
    pub text: String,
    /// As it was said, where that reads otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoken: Option<String>,
    /// When the first word begins.
    pub start: f64,
    /// When the last word ends.
    pub end: f64,
    /// 0 to 1.
    pub confidence: f32,
    /// What was spoken, where the engine found out: a BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Words with times, where known, as they were said.
    pub words: Vec<TranscriptWord>,
}

/// A word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TranscriptWord {
    /// As spoken.
    pub text: String,
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
    /// 0 to 1.
    pub confidence: f32,
}

/// One answer of the machine, measured from the caller's last sound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseEntry {
    /// When it was measured.
    pub at: f64,
    /// Until the final words.
    pub recognized_ms: u64,
    /// Until the first sample of our answer.
    pub first_audio_ms: u64,
}

/// Media figures of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaEntry {
    /// Which.
    pub side: Channel,
    /// RTP packets.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Interarrival jitter (RFC 3550).
    pub jitter_ms: f64,
    /// Sound made up by concealment.
    pub concealed_ms: u64,
}

/// Why a sidecar could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// The file system said no.
    #[error("sidecar {path}: {source}")]
    Io {
        /// The sidecar.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Not a sidecar, or not one we understand.
    #[error("sidecar {path}: {source}")]
    Json {
        /// The sidecar.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Written by a newer Antiphon.
    #[error("sidecar {path} has version {found}, this program reads {known}", known = Sidecar::VERSION)]
    Version {
        /// The sidecar.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Larger than any sidecar of ours.
    #[error("sidecar {path} has {found} bytes, more than {limit}", limit = Sidecar::LARGEST)]
    TooLarge {
        /// The sidecar.
        path: PathBuf,
        /// Its size.
        found: u64,
    },
}

impl Sidecar {
    /// The version this program writes.
    pub const VERSION: u32 = 1;
    /// Bytes beyond which a file is not read.
    pub const LARGEST: u64 = 256 << 20;

    /// A sidecar of a call of which only the id is known.
    #[must_use]
    pub fn new(call: String) -> Self {
        Self {
            version: Self::VERSION,
            call,
            from: String::new(),
            to: String::new(),
            direction: String::new(),
            started_at: None,
            answered_at: None,
            ended_at: None,
            recording_starts_at: 0.0,
            recording: String::new(),
            duration: 0.0,
            codec: String::new(),
            sample_rate_hz: 0,
            cause: String::new(),
            dtmf: Vec::new(),
            gaps: Vec::new(),
            transcript: Vec::new(),
            responses: Vec::new(),
            media: Vec::new(),
        }
    }

    /// Writes the file whole or not at all: beside its place first, then renamed. Readable by the owner only.
    ///
    /// # Errors
    /// [`SidecarError::Io`], [`SidecarError::Json`].
    pub fn write_atomically(&self, path: &Path) -> Result<(), SidecarError> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|source| SidecarError::Json { path: path.to_owned(), source })?;
        json.push(b'\n');
        write_whole(path, &json).map_err(|source| SidecarError::Io { path: path.to_owned(), source })
    }

    /// Reads a sidecar back.
    ///
    /// # Errors
    /// [`SidecarError`]'s variants.
    pub fn read(path: &Path) -> Result<Self, SidecarError> {
        let io = |source| SidecarError::Io { path: path.to_owned(), source };
        let size = fs::metadata(path).map_err(io)?.len();
        if size > Self::LARGEST {
            return Err(SidecarError::TooLarge { path: path.to_owned(), found: size });
        }
        let json = |source| SidecarError::Json { path: path.to_owned(), source };
        let value: serde_json::Value = serde_json::from_slice(&fs::read(path).map_err(io)?).map_err(json)?;
        // The version first: a newer file may lack what this one needs, and that would be the wrong complaint.
        if let Some(found) = value["version"].as_u64().filter(|v| *v != u64::from(Self::VERSION)) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(SidecarError::Version { path: path.to_owned(), found });
        }
        serde_json::from_value(value).map_err(json)
    }
}

/// Seconds as a sidecar writes them: whole milliseconds.
fn seconds(at: MediaTime) -> f64 {
    (at.secs_f64() * 1_000.0).round() / 1_000.0
}

/// An instant of the wall clock as RFC 3339 in UTC, milliseconds.
mod instant {
    use jiff::{Timestamp, Unit};
    use serde::de::Error as _;
    use serde::ser::Error as _;

    use super::{Deserialize, Deserializer, Serialize, Serializer, SystemTime};

    pub(super) fn serialize<S: Serializer>(at: &Option<SystemTime>, out: S) -> Result<S::Ok, S::Error> {
        let Some(at) = at else { return out.serialize_none() };
        let at = Timestamp::try_from(*at).map_err(S::Error::custom)?;
        at.round(Unit::Millisecond).map_err(S::Error::custom)?.serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        text.parse::<Timestamp>().map(|at| Some(at.into())).map_err(D::Error::custom)
    }
}

/// Writes a file that belongs to a call whole or not at all: beside its place first, then renamed. Readable by the owner only.
///
/// # Errors
/// The system's; nothing is left beside the place then.
pub fn write_whole(path: &Path, octets: &[u8]) -> std::io::Result<()> {
    let part = path.with_added_extension("part");
    let write = || {
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&part)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().inspect_err(|_| {
        // The error that stopped the write is the one worth telling.
        let _ = fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn sample() -> Sidecar {
        Sidecar {
            started_at: Some(UNIX_EPOCH + Duration::from_millis(1_760_000_000_250)),
            transcript: vec![TranscriptEntry {
                side: Channel::Caller,
                text: "转账。".into(),
                spoken: Some("转账".into()),
                start: 1.25,
                end: 1.75,
                confidence: 0.5,
                language: Some("zh".into()),
                words: vec![],
            }],
            ..Sidecar::new("0".repeat(32))
        }
    }

    #[test]
    fn a_sidecar_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("call.json");
        sample().write_atomically(&path).expect("written");
        assert_eq!(Sidecar::read(&path).expect("read"), sample());
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("readable")).expect("json");
        assert_eq!(json["version"], 1);
        assert_eq!(json["started_at"], "2025-10-09T08:53:20.25Z");
        assert_eq!(json["transcript"][0]["side"], "caller");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "no part file is left");
    }

    #[test]
    fn a_newer_version_is_named_as_such() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("call.json");
        fs::write(&path, r#"{"version": 2}"#).expect("written");
        assert!(matches!(Sidecar::read(&path), Err(SidecarError::Version { found: 2, .. })));
        fs::write(&path, "{").expect("written");
        assert!(matches!(Sidecar::read(&path), Err(SidecarError::Json { .. })));
    }
}
