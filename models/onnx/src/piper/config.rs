//! What stands in a voice's `NAME.onnx.json`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use antiphon_media_frame::SampleRate;
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;

use super::Manner;
use crate::LoadError;

/// Larger files are no settings of a voice: those with 900 speakers have 20 KB.
const LARGEST: u64 = 4 << 20;
/// Before and after a sentence, and between its phonemes.
const BEGIN: &str = "^";
const PAD: &str = "_";
const END: &str = "$";

/// What a voice wants to be given of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phonemes {
    /// The IPA of an espeak-ng voice.
    Espeak {
        /// Which: `en-us`, `cmn`.
        voice: String,
    },
    /// Its characters.
    Text,
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) rate: SampleRate,
    pub(super) phonemes: Phonemes,
    pub(super) manner: Manner,
    /// How many speakers there are, from 1.
    pub(super) speakers: i64,
    pub(super) names: BTreeMap<String, i64>,
    ids: HashMap<String, Vec<i64>>,
    instead: HashMap<String, Vec<String>>,
    /// Phonemes of several characters.
    clusters: BTreeSet<String>,
}

#[derive(Deserialize)]
struct File {
    audio: Audio,
    #[serde(default)]
    espeak: Espeak,
    #[serde(default)]
    inference: Inference,
    #[serde(default)]
    phoneme_type: Option<String>,
    #[serde(default)]
    phoneme_map: Option<HashMap<String, Vec<String>>>,
    phoneme_id_map: HashMap<String, Vec<i64>>,
    num_symbols: i64,
    #[serde(default)]
    num_speakers: i64,
    #[serde(default)]
    speaker_id_map: BTreeMap<String, i64>,
    #[serde(default)]
    default_speaker_id: i64,
    #[serde(default)]
    vowel_clusters: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
struct Audio {
    sample_rate: u32,
}

#[derive(Default, Deserialize)]
struct Espeak {
    #[serde(default)]
    voice: String,
}

#[derive(Deserialize)]
#[serde(default)]
struct Inference {
    noise_scale: f32,
    length_scale: f32,
    noise_w: f32,
}

impl Default for Inference {
    /// What Piper takes where nothing is said.
    fn default() -> Self {
        Self { noise_scale: 0.667, length_scale: 1.0, noise_w: 0.8 }
    }
}

impl Config {
    pub(super) fn load(path: &Path) -> Result<Self, LoadError> {
        let shown = || path.display().to_string();
        let file = |source| LoadError::File { path: shown(), source };
        let format = |reason: String| LoadError::Format { path: shown(), reason };
        let length = std::fs::metadata(path).map_err(file)?.len();
        if length > LARGEST {
            return Err(format(format!("{length} bytes are no settings of a voice")));
        }
        let read: File = serde_json::from_slice(&std::fs::read(path).map_err(file)?)
            .map_err(|e| format(format!("no settings of a voice of Piper: {e}")))?;
        read.check().map_err(format)
    }

    pub(super) fn ids(&self, phonemes: &str) -> (Vec<i64>, usize) {
        let parts: Vec<String> = phonemes.nfd().map(String::from).collect();
        let mut ids = Vec::with_capacity(2 * parts.len() + 3);
        let mut unknown = 0;
        self.put(BEGIN, &mut ids);
        let mut rest = &parts[..];
        while let Some(first) = rest.first() {
            let (phoneme, taken) = self.cluster(rest).unwrap_or_else(|| (first.clone(), 1));
            rest = &rest[taken..];
            match self.instead.get(&phoneme) {
                Some(others) => {
                    unknown += others.iter().filter(|other| !self.put(other, &mut ids)).count();
                }
                None if self.put(&phoneme, &mut ids) => {}
                // Voices that read letters know the small ones.
                None if self.phonemes == Phonemes::Text && self.put(&phoneme.to_lowercase(), &mut ids) => {}
                None => unknown += 1,
            }
        }
        if let Some(end) = self.ids.get(END) {
            ids.extend(end);
        }
        (ids, unknown)
    }

    /// The longest phoneme of several characters at the beginning of `parts`, and how many they are.
    fn cluster(&self, parts: &[String]) -> Option<(String, usize)> {
        let longest = self.clusters.iter().map(|cluster| cluster.chars().count()).max()?;
        (2..=longest.min(parts.len())).rev().find_map(|count| {
            let joined = parts[..count].concat();
            self.clusters.contains(&joined).then_some((joined, count))
        })
    }

    /// Adds what stands for `phoneme` and a pad; returns whether it is known.
    fn put(&self, phoneme: &str, ids: &mut Vec<i64>) -> bool {
        let Some(known) = self.ids.get(phoneme) else { return false };
        ids.extend(known);
        ids.extend(self.ids.get(PAD).into_iter().flatten());
        true
    }
}

impl File {
    fn check(self) -> Result<Config, String> {
        let rate = SampleRate::new(self.audio.sample_rate)
            .filter(|rate| (8_000..=48_000).contains(&rate.hz()))
            .ok_or_else(|| format!("audio.sample_rate is {}", self.audio.sample_rate))?;
        let phonemes = match self.phoneme_type.as_deref() {
            None | Some("espeak") if self.espeak.voice.is_empty() => {
                return Err("espeak.voice is missing".to_owned());
            }
            None | Some("espeak") => Phonemes::Espeak { voice: self.espeak.voice },
            Some("text") => Phonemes::Text,
            Some(other) => {
                return Err(format!(
                    "phoneme_type is {:?}; this program has espeak and text",
                    other.chars().take(40).collect::<String>()
                ));
            }
        };
        for special in [BEGIN, PAD, END] {
            if !self.phoneme_id_map.contains_key(special) {
                return Err(format!("phoneme_id_map lacks {special:?}"));
            }
        }
        let outside = self
            .phoneme_id_map
            .iter()
            .find(|(_, ids)| ids.iter().any(|id| !(0..self.num_symbols).contains(id)));
        if let Some((phoneme, ids)) = outside {
            return Err(format!(
                "phoneme_id_map gives {phoneme:?} {ids:?}, but num_symbols is {}",
                self.num_symbols
            ));
        }
        let speakers = self.num_speakers.max(1);
        let numbers = self.speaker_id_map.values().chain(std::iter::once(&self.default_speaker_id));
        if let Some(number) = numbers.copied().find(|number| !(0..speakers).contains(number)) {
            return Err(format!("there is a speaker {number}, but num_speakers is {}", self.num_speakers));
        }
        let Inference { noise_scale, length_scale, noise_w } = self.inference;
        let sane = |value: f32, least: f32| value.is_finite() && value >= least && value <= 10.0;
        if !sane(noise_scale, 0.0) || !sane(length_scale, 0.05) || !sane(noise_w, 0.0) {
            return Err(format!(
                "inference has {noise_scale}, {length_scale}, {noise_w}: they make no sense"
            ));
        }
        let clusters = self.vowel_clusters.unwrap_or_default();
        Ok(Config {
            rate,
            phonemes,
            manner: Manner {
                speaker: self.default_speaker_id,
                noise: noise_scale,
                length: length_scale,
                width_noise: noise_w,
            },
            speakers,
            names: self.speaker_id_map,
            ids: self.phoneme_id_map,
            instead: self.phoneme_map.unwrap_or_default(),
            clusters: clusters.into_iter().map(|cluster| cluster.concat()).collect(),
        })
    }
}
