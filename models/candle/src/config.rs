//! What a model's JSON files say: dimensions, special tokens, what is never said.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::LoadError;
use crate::error::value;
use crate::files::{Files, json};
use crate::tokenizer::Tokenizer;

/// Positions of the encoder a second.
pub(crate) const POSITIONS_HZ: usize = 50;
/// Frames of the filter bank a position.
const STRIDE: usize = 2;

#[derive(Deserialize)]
struct RawConfig {
    vocab_size: usize,
    num_mel_bins: usize,
    d_model: usize,
    encoder_layers: usize,
    encoder_attention_heads: usize,
    encoder_ffn_dim: Option<usize>,
    decoder_layers: usize,
    decoder_attention_heads: usize,
    decoder_ffn_dim: Option<usize>,
    max_source_positions: usize,
    max_target_positions: usize,
    activation_function: Option<String>,
    scale_embedding: Option<bool>,
    median_filter_width: Option<usize>,
    suppress_tokens: Option<Vec<i64>>,
    begin_suppress_tokens: Option<Vec<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawGeneration {
    alignment_heads: Option<Vec<(usize, usize)>>,
    begin_suppress_tokens: Option<Vec<i64>>,
    suppress_tokens: Option<Vec<i64>>,
    max_initial_timestamp_index: Option<usize>,
    lang_to_id: Option<BTreeMap<String, u32>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPreprocessor {
    feature_size: Option<usize>,
    sampling_rate: Option<usize>,
    n_fft: Option<usize>,
    hop_length: Option<usize>,
    chunk_length: Option<usize>,
}

/// Attention layers of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) inner: usize,
}

/// Dimensions of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dimensions {
    pub(crate) vocabulary: usize,
    pub(crate) mels: usize,
    pub(crate) width: usize,
    pub(crate) encoder: Side,
    pub(crate) decoder: Side,
    /// Positions of the encoder: the window in fiftieths of a second.
    pub(crate) positions: usize,
    /// Tokens that the decoder sees at once.
    pub(crate) tokens: usize,
}

impl Dimensions {
    /// Frames of the filter bank in a window.
    pub(crate) fn frames(&self) -> usize {
        self.positions * STRIDE
    }
}

/// Tokens with a meaning, and what is never said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Marks {
    pub(crate) end: u32,
    pub(crate) start: u32,
    /// What is said before is context.
    pub(crate) before: Option<u32>,
    pub(crate) no_speech: u32,
    pub(crate) no_times: u32,
    /// The first time token; one every fiftieth of a second.
    pub(crate) times: u32,
    /// Languages by their tag; empty: English alone.
    pub(crate) languages: BTreeMap<String, u32>,
    pub(crate) transcribe: Option<u32>,
    /// Never said.
    pub(crate) suppressed: Vec<u32>,
    /// Not said first.
    pub(crate) not_first: Vec<u32>,
    /// The first time token is at most this late.
    pub(crate) latest_start: Option<u32>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) dimensions: Dimensions,
    pub(crate) marks: Marks,
    /// Layers and heads of the decoder that follow the sound.
    pub(crate) alignment: Vec<(usize, usize)>,
    /// Odd.
    pub(crate) median: usize,
}

impl Config {
    pub(crate) fn load(files: &Files, tokenizer: &Tokenizer) -> Result<Self, LoadError> {
        let raw: RawConfig = json(&files.config)?;
        let dimensions = dimensions(&files.config, &raw)?;
        if let Some(path) = &files.preprocessor {
            preprocessor(path, &dimensions)?;
        }
        let (path, generation): (_, RawGeneration) = match &files.generation {
            Some(path) => (path.as_path(), json(path)?),
            None => (files.config.as_path(), RawGeneration::default()),
        };
        let marks = marks(path, &files.tokenizer, tokenizer, &dimensions, &raw, &generation)?;
        let alignment = generation.alignment_heads.unwrap_or_default();
        let side = dimensions.decoder;
        if let Some((layer, head)) = alignment.iter().find(|(l, h)| *l >= side.layers || *h >= side.heads) {
            return Err(value(path, "alignment_heads", format!("no head {head} in a layer {layer}")));
        }
        let median = raw.median_filter_width.unwrap_or(7);
        if median.is_multiple_of(2) || median > 99 {
            return Err(value(
                &files.config,
                "median_filter_width",
                format!("{median} is not odd and below 100"),
            ));
        }
        Ok(Self { dimensions, marks, alignment, median })
    }
}

fn dimensions(path: &Path, raw: &RawConfig) -> Result<Dimensions, LoadError> {
    let limits = [
        ("vocab_size", raw.vocab_size, 1_000_000),
        ("num_mel_bins", raw.num_mel_bins, 512),
        ("d_model", raw.d_model, 8_192),
        ("encoder_layers", raw.encoder_layers, 256),
        ("encoder_attention_heads", raw.encoder_attention_heads, 256),
        ("decoder_layers", raw.decoder_layers, 256),
        ("decoder_attention_heads", raw.decoder_attention_heads, 256),
        ("max_source_positions", raw.max_source_positions, 6_000),
        ("max_target_positions", raw.max_target_positions, 8_192),
        ("encoder_ffn_dim", raw.encoder_ffn_dim.unwrap_or(1), 65_536),
        ("decoder_ffn_dim", raw.decoder_ffn_dim.unwrap_or(1), 65_536),
    ];
    for (key, number, most) in limits {
        if !(1..=most).contains(&number) {
            return Err(value(path, key, format!("{number} is not from 1 to {most}")));
        }
    }
    for (key, heads) in [
        ("encoder_attention_heads", raw.encoder_attention_heads),
        ("decoder_attention_heads", raw.decoder_attention_heads),
    ] {
        if !raw.d_model.is_multiple_of(heads) {
            return Err(value(path, key, format!("{heads} heads do not share a width of {}", raw.d_model)));
        }
    }
    if raw.max_target_positions < 16 {
        return Err(value(path, "max_target_positions", format!("{} is below 16", raw.max_target_positions)));
    }
    if raw.activation_function.as_deref().is_some_and(|name| name != "gelu") {
        return Err(value(path, "activation_function", "only gelu is known"));
    }
    if raw.scale_embedding == Some(true) {
        return Err(value(path, "scale_embedding", "scaled embeddings are not known"));
    }
    let side =
        |layers, heads, inner: Option<usize>| Side { layers, heads, inner: inner.unwrap_or(4 * raw.d_model) };
    Ok(Dimensions {
        vocabulary: raw.vocab_size,
        mels: raw.num_mel_bins,
        width: raw.d_model,
        encoder: side(raw.encoder_layers, raw.encoder_attention_heads, raw.encoder_ffn_dim),
        decoder: side(raw.decoder_layers, raw.decoder_attention_heads, raw.decoder_ffn_dim),
        positions: raw.max_source_positions,
        tokens: raw.max_target_positions,
    })
}

/// Other features than Whisper's own are refused.
fn preprocessor(path: &Path, dimensions: &Dimensions) -> Result<(), LoadError> {
    let raw: RawPreprocessor = json(path)?;
    let wanted = [
        ("feature_size", raw.feature_size, dimensions.mels),
        ("sampling_rate", raw.sampling_rate, 16_000),
        ("n_fft", raw.n_fft, 400),
        ("hop_length", raw.hop_length, 160),
        ("chunk_length", raw.chunk_length, dimensions.positions / POSITIONS_HZ),
    ];
    for (key, found, wanted) in wanted {
        if found.is_some_and(|found| found != wanted) {
            return Err(value(
                path,
                key,
                format!("{} where the model has {wanted}", found.unwrap_or_default()),
            ));
        }
    }
    Ok(())
}

fn marks(
    path: &Path,
    tokens: &Path,
    tokenizer: &Tokenizer,
    dimensions: &Dimensions,
    raw: &RawConfig,
    generation: &RawGeneration,
) -> Result<Marks, LoadError> {
    let fits = |id: u32| (id as usize) < dimensions.vocabulary;
    let named = |name: &str| tokenizer.id(name).filter(|id| fits(*id));
    let wanted = |name: &str| {
        named(name).ok_or_else(|| value(tokens, name, "no such token among those that the model has"))
    };
    let no_times = wanted("<|notimestamps|>")?;
    // It stands before the mark of no time under two names.
    let no_speech = named("<|nospeech|>").or_else(|| named("<|nocaptions|>"));
    let languages: BTreeMap<String, u32> = match &generation.lang_to_id {
        Some(map) => {
            if let Some((name, id)) = map.iter().find(|(_, id)| !fits(**id)) {
                return Err(value(
                    path,
                    "lang_to_id",
                    format!("{name} is {id}, which the model does not have"),
                ));
            }
            map.iter().map(|(name, id)| (bare(name).to_owned(), *id)).collect()
        }
        None => tokenizer
            .special()
            .filter(|(name, id)| fits(*id) && language(bare(name)))
            .map(|(name, id)| (bare(name).to_owned(), id))
            .collect(),
    };
    let list = |own: &Option<Vec<i64>>, old: &Option<Vec<i64>>| -> Vec<u32> {
        let ids = own.as_ref().or(old.as_ref()).into_iter().flatten();
        // Published lists begin with -1 where a library fills them in.
        ids.filter_map(|id| u32::try_from(*id).ok().filter(|id| fits(*id))).collect()
    };
    let times = no_times + 1;
    if times as usize + dimensions.positions >= dimensions.vocabulary {
        return Err(value(
            tokens,
            "<|notimestamps|>",
            format!("no room for {} times after it", dimensions.positions),
        ));
    }
    Ok(Marks {
        end: wanted("<|endoftext|>")?,
        start: wanted("<|startoftranscript|>")?,
        before: named("<|startofprev|>"),
        no_speech: no_speech.unwrap_or(no_times - 1),
        no_times,
        times,
        transcribe: named("<|transcribe|>").filter(|_| !languages.is_empty()),
        languages,
        suppressed: list(&generation.suppress_tokens, &raw.suppress_tokens),
        not_first: list(&generation.begin_suppress_tokens, &raw.begin_suppress_tokens),
        latest_start: generation.max_initial_timestamp_index.map(|n| times.saturating_add(n as u32)),
    })
}

fn bare(name: &str) -> &str {
    name.trim_start_matches("<|").trim_end_matches("|>")
}

/// Whether a special token's name is a language's: two or three small letters.
fn language(name: &str) -> bool {
    (2..=3).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase())
}
