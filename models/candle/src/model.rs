//! One loaded model: what several stretches of sound say.

use std::path::{Path, PathBuf};

use antiphon_media_frame::Span;
use antiphon_models_speech::Language;
use antiphon_models_speech::agree::{Heard, spoken};
use candle_core::DType;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::config::{Config, POSITIONS_HZ};
use crate::error::{LoadError, RunError};
use crate::files::Files;
use crate::mel::{Bank, RATE_HZ};
use crate::network::Network;
use crate::search::{Job, identify, search};
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;
use crate::words::{complete, words};

/// Windows that one utterance is heard in at most: each time what the model left unfinished.
const WINDOWS: usize = 4;
/// The fastest speech there is, in tokens a second, times among them, and a few for the beginning: what goes on beyond is
/// made up.
const TOKENS_HZ: usize = 16;
const TOKENS_FIRST: usize = 24;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A card of NVIDIA's, by number; wants a build with the feature `cuda`.
    Cuda(usize),
    /// Apple's card; wants a build with the feature `metal`.
    Metal,
}

/// What a model is opened with.
#[derive(Clone, Debug, PartialEq)]
pub struct CandleOptions {
    /// The folder of a model as on the Hugging Face hub (`config.json`, `generation_config.json`, `tokenizer.json`,
    /// `preprocessor_config.json`, `model.safetensors` or its parts with their index), or a GGUF file with config and
    /// tokenizer beside it.
    pub model: PathBuf,
    /// What computes.
    pub device: Device,
    /// Whether cards compute in 16-bit floats: half the memory, and no longer equal to the reference. Processors do not.
    pub half: bool,
    /// Whether the quantised matrices of a GGUF file become floats: four times the memory, and equal to the reference
    /// with the same weights.
    pub expand: bool,
    /// The languages it speaks, by primary subtag. Empty: all that the model has.
    pub languages: Vec<String>,
    /// Whether the language of each utterance is recognised, among `languages`, instead of taken from the stream.
    pub detect: bool,
    /// How much more must have been said until interim words are computed; each time it is all of the utterance that is
    /// computed. Zero: no interim words.
    pub partial_every: Span,
    /// How often final words that repeat themselves or are unsure are tried again, at most 5.
    pub retries: usize,
    /// Tokens of hints that the model is told, at most half of what its decoder sees; 0: none.
    pub prompt: usize,
    /// The most streams computed in one step.
    pub rows: usize,
    /// Threads of one step, on a processor.
    pub threads: usize,
}

impl CandleOptions {
    /// On a processor with two threads, interim words each second, two retries, hints, eight streams a step.
    #[must_use]
    pub fn new(model: impl Into<PathBuf>) -> Self {
        Self {
            model: model.into(),
            device: Device::Cpu,
            half: false,
            expand: false,
            languages: Vec::new(),
            detect: false,
            partial_every: Span::from_secs(1),
            retries: 2,
            prompt: 200,
            rows: 8,
            threads: 2,
        }
    }
}

/// One stretch of sound to be written down.
pub(crate) struct Request {
    /// -1 to 1, 16 kHz.
    pub(crate) pcm: Vec<f32>,
    /// The language's token, where it is known.
    pub(crate) language: Option<u32>,
    /// Tokens of hints.
    pub(crate) before: Vec<u32>,
    /// Whether its words will be final: they are then tried again where they are unsure, and get their times.
    pub(crate) last: bool,
}

/// What was heard in a stretch of sound.
pub(crate) struct Transcript {
    /// Its words, as spoken, in hundredths of a second.
    pub(crate) heard: Vec<Heard>,
    /// The language that was recognised, where the request did not say it.
    pub(crate) language: Option<Language>,
}

/// Network, tokens and tables.
pub(crate) struct Model {
    pub(crate) network: Network,
    pub(crate) config: Config,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) options: CandleOptions,
    bank: Bank,
    pool: ThreadPool,
    /// The languages that may be recognised, by token.
    among: Vec<u32>,
}

impl Model {
    pub(crate) fn open(options: CandleOptions) -> Result<Self, LoadError> {
        let device = device(options.device)?;
        let dtype = if options.half && !device.is_cpu() { DType::F16 } else { DType::F32 };
        let files = Files::find(&options.model)?;
        let tokenizer = Tokenizer::load(&files.tokenizer)?;
        let config = Config::load(&files, &tokenizer)?;
        let weights = Weights::open(&files.weights, &device, dtype, options.expand)?;
        let network = Network::load(&weights, &config)?;
        drop(weights);
        Self::new(network, config, tokenizer, options, &files.tokenizer)
    }

    fn new(
        network: Network,
        config: Config,
        tokenizer: Tokenizer,
        options: CandleOptions,
        path: &Path,
    ) -> Result<Self, LoadError> {
        let known = &config.marks.languages;
        let mut among: Vec<u32> = known.values().copied().collect();
        if !options.languages.is_empty() && !known.is_empty() {
            let token = |tag: &String| language(known, tag);
            if let Some(tag) = options.languages.iter().find(|tag| token(tag).is_none()) {
                return Err(crate::error::value(path, tag, "no such language among the model's"));
            }
            among = options.languages.iter().filter_map(token).collect();
        }
        let threads = options.threads.clamp(1, 64);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|e| LoadError::Device { device: format!("{threads} threads"), reason: e.to_string() })?;
        let bank = Bank::new(config.dimensions.mels);
        let model = Self { network, config, tokenizer, options, bank, pool, among };
        let silence = Request { pcm: vec![0.0; 1_600], language: None, before: Vec::new(), last: false };
        model.transcribe(&[silence])?;
        Ok(model)
    }

    /// The token of a language by its primary subtag; none where the model has only English.
    pub(crate) fn language(&self, primary: &str) -> Option<u32> {
        language(&self.config.marks.languages, primary)
    }

    /// Sound that is heard in one window.
    pub(crate) fn window(&self) -> usize {
        self.config.dimensions.positions * RATE_HZ / POSITIONS_HZ
    }

    /// The words of each stretch of sound.
    pub(crate) fn transcribe(&self, requests: &[Request]) -> Result<Vec<Transcript>, RunError> {
        self.pool.install(|| self.transcribe_here(requests))
    }

    fn transcribe_here(&self, requests: &[Request]) -> Result<Vec<Transcript>, RunError> {
        let mut languages: Vec<Option<u32>> = vec![None; requests.len()];
        let mut out: Vec<Vec<Heard>> = requests.iter().map(|_| Vec::new()).collect();
        // Where each one's next window begins, in positions.
        let mut offsets: Vec<Option<usize>> = requests.iter().map(|_| Some(0)).collect();
        for round in 1..=WINDOWS {
            let open: Vec<usize> = (0..requests.len()).filter(|n| offsets[*n].is_some()).collect();
            if open.is_empty() {
                break;
            }
            let part = |n: usize, offset: Option<usize>| {
                let from = offset.unwrap_or_default() * RATE_HZ / POSITIONS_HZ;
                let pcm = &requests[n].pcm[from.min(requests[n].pcm.len())..];
                &pcm[..pcm.len().min(self.window())]
            };
            let jobs: Vec<Job> =
                open.iter().map(|n| self.job(&requests[*n], part(*n, offsets[*n]))).collect();
            let found = search(&self.network, &self.config, &jobs, &self.among)?;
            for (n, found) in open.into_iter().zip(found) {
                let (offset, positions) = (offsets[n].unwrap_or_default(), positions(part(n, offsets[n])));
                if requests[n].language.is_none() && round == 1 {
                    languages[n] = found.language;
                }
                let marks = &self.config.marks;
                let whole = (found.tokens.len(), None);
                let cut = requests[n].last && round < WINDOWS && !found.nothing();
                let (count, next) = if cut { complete(&found, marks, positions) } else { whole };
                offsets[n] = next.map(|next| offset + next);
                if !found.nothing() {
                    out[n].extend(words(&self.tokenizer, marks, &found, count, offset, positions));
                }
            }
        }
        let transcripts = out.into_iter().zip(languages).map(|(heard, language)| Transcript {
            heard: spoken(heard),
            language: language.and_then(|id| self.tag(id)),
        });
        Ok(transcripts.collect())
    }

    /// The BCP 47 tag of a language's token.
    fn tag(&self, id: u32) -> Option<Language> {
        let (own, _) = self.config.marks.languages.iter().find(|(_, known)| **known == id)?;
        Language::parse(if own == "jw" { "jv" } else { own })
    }

    fn job(&self, request: &Request, pcm: &[f32]) -> Job {
        let seconds = pcm.len() / RATE_HZ + 1;
        Job {
            features: self.bank.features(pcm, self.config.dimensions.frames()),
            before: request.before.clone(),
            language: request.language,
            most: TOKENS_FIRST + TOKENS_HZ * seconds,
            retries: if request.last { self.options.retries.min(5) } else { 0 },
            positions: request.last.then(|| positions(pcm)),
        }
    }

    /// How likely each language is, likeliest first.
    pub(crate) fn identify(&self, pcm: &[f32]) -> Result<Vec<(String, f32)>, RunError> {
        if self.among.is_empty() {
            return Ok(vec![("en".to_owned(), 1.0)]);
        }
        let features = self.bank.features(pcm, self.config.dimensions.frames());
        let marks = &self.config.marks;
        let likely = self.pool.install(|| {
            let sound = self.network.sound(&self.network.encode(&[features])?)?;
            identify(&self.network, marks, &sound, 1, &self.among)
        })?;
        let likely = likely.into_iter().next().unwrap_or_default();
        let surety = |id: &u32| likely.get(id).copied();
        let named = marks.languages.iter().filter_map(|(tag, id)| Some((tag.clone(), surety(id)?)));
        let mut out: Vec<(String, f32)> = named.collect();
        out.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(out)
    }
}

fn positions(pcm: &[f32]) -> usize {
    pcm.len() * POSITIONS_HZ / RATE_HZ
}

/// Whisper's own names where they differ from BCP 47.
fn language(known: &std::collections::BTreeMap<String, u32>, primary: &str) -> Option<u32> {
    let own = match primary {
        "jv" => "jw",
        "nb" => "no",
        "fil" => "tl",
        "cmn" => "zh",
        "yue" if !known.contains_key("yue") => "zh",
        other => other,
    };
    known.get(own).copied()
}

fn device(wanted: Device) -> Result<candle_core::Device, LoadError> {
    let refused = |device: &str| {
        let device = device.to_owned();
        move |e: candle_core::Error| LoadError::Device { device, reason: e.to_string() }
    };
    match wanted {
        Device::Cpu => Ok(candle_core::Device::Cpu),
        Device::Cuda(card) => candle_core::Device::new_cuda(card).map_err(refused("cuda")),
        Device::Metal => candle_core::Device::new_metal(0).map_err(refused("metal")),
    }
}

#[cfg(test)]
mod tests;
