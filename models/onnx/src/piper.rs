//! Voices of Piper: VITS graphs that turn phonemes into sound.

mod config;

use std::path::{Path, PathBuf};

use antiphon_media_frame::SampleRate;

use crate::graph::{Graph, Kind};
use crate::runtime::{Loader, Runtime, Session};
use crate::tensor::{Data, Tensor};
use crate::{LoadError, RunError};
use config::Config;
pub use config::Phonemes;

const NAME: &str = "piper";
/// The most identifiers of one run: four times the longest sentence that [`PiperVoice::say`] should be given. Time and
/// memory grow with the square of it in the encoder.
const LONGEST: usize = 4_096;

/// How a voice is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PiperOptions {
    /// The graph: `NAME.onnx`.
    pub model: PathBuf,
    /// Its settings; `NAME.onnx.json` where it is not said.
    pub config: Option<PathBuf>,
    /// Threads of one run.
    pub threads: usize,
    /// What computes the graph.
    pub runtime: Runtime,
}

impl PiperOptions {
    /// The graph at `model` with its settings beside it, on one thread in Rust.
    #[must_use]
    pub fn new(model: PathBuf) -> Self {
        Self { model, config: None, threads: 1, runtime: Runtime::default() }
    }
}

/// How something is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manner {
    /// Which of the speakers, from 0; ignored by a voice of one.
    pub speaker: i64,
    /// How much the sound varies by chance; 0: never.
    pub noise: f32,
    /// How long everything takes; 2 is half as fast as 1.
    pub length: f32,
    /// How much the lengths of phonemes vary by chance; 0: never.
    pub width_noise: f32,
}

/// What an input of the graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Ids,
    Length,
    Scales,
    Speaker,
}

/// A loaded voice.
pub struct PiperVoice {
    loader: Loader,
    session: Box<dyn Session>,
    inputs: Vec<Input>,
    config: Config,
}

impl PiperVoice {
    /// Loads a voice and has it say one phoneme.
    ///
    /// # Errors
    /// Missing or damaged files, settings that make no sense, another graph than Piper's, a runtime that lacks one of
    /// its operators (which it names).
    pub fn open(options: &PiperOptions) -> Result<Self, LoadError> {
        let beside = || {
            let mut path = options.model.clone().into_os_string();
            path.push(".json");
            PathBuf::from(path)
        };
        if !options.model.is_file() {
            let folder = options.model.parent().unwrap_or(Path::new("")).display().to_string();
            return Err(LoadError::Missing { what: "voice (NAME.onnx)", folder });
        }
        let config = Config::load(&options.config.clone().unwrap_or_else(beside))?;
        let loader = Loader::new(&options.runtime, options.threads);
        let (graph, session) = loader.load(&options.model)?;
        let inputs = inputs(&graph)?;
        if config.speakers > 1 && !inputs.contains(&Input::Speaker) {
            let reason = format!("{} speakers, but the graph has no input `sid`", config.speakers);
            return Err(LoadError::Layout { reason });
        }
        let voice = Self { loader, session, inputs, config };
        let (ids, _) = voice.ids("a");
        voice.say(&ids, &voice.manner()).map_err(|e| LoadError::Layout { reason: e.to_string() })?;
        Ok(voice)
    }

    /// The rate of its sound.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.config.rate
    }

    /// What it wants to be given of a text.
    #[must_use]
    pub fn phonemes(&self) -> &Phonemes {
        &self.config.phonemes
    }

    /// The manner its publisher chose, of the first speaker.
    #[must_use]
    pub fn manner(&self) -> Manner {
        self.config.manner
    }

    /// The names of its speakers; none where it has only one or they have only numbers.
    pub fn speakers(&self) -> impl Iterator<Item = &str> {
        self.config.names.keys().map(String::as_str)
    }

    /// The speaker of a name or of a number.
    #[must_use]
    pub fn speaker(&self, name: &str) -> Option<i64> {
        let numbered = || name.parse().ok().filter(|n| (0..self.config.speakers).contains(n));
        self.config.names.get(name).copied().or_else(numbered)
    }

    /// What the graph is given for `phonemes` (IPA of espeak-ng, punctuation among it, or plain text, as
    /// [`PiperVoice::phonemes`] says) of one sentence: beginning, every phoneme with a pad after it, end. The other
    /// number says how many phonemes the voice does not know; they are left out.
    #[must_use]
    pub fn ids(&self, phonemes: &str) -> (Vec<i64>, usize) {
        self.config.ids(phonemes)
    }

    /// The sound of one sentence; full scale is 1, but voices hardly ever reach it. The same each time where both noises
    /// of `manner` are 0.
    ///
    /// # Errors
    /// Too long a sentence; the runtime's failure.
    pub fn say(&self, ids: &[i64], manner: &Manner) -> Result<Vec<f32>, RunError> {
        let failed = |message: String| RunError { runtime: NAME, message };
        if ids.is_empty() || ids.len() > LONGEST {
            return Err(failed(format!("a sentence of {} identifiers: 1 to {LONGEST} are taken", ids.len())));
        }
        let length = ids.len();
        let inputs: Vec<Tensor> = self
            .inputs
            .iter()
            .map(|input| match input {
                Input::Ids => Tensor::whole([1, length], ids.to_vec()),
                Input::Length => Tensor::whole([1], vec![length as i64]),
                Input::Scales => Tensor::floats([3], vec![manner.noise, manner.length, manner.width_noise]),
                Input::Speaker => Tensor::whole([1], vec![manner.speaker]),
            })
            .collect();
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let mut outputs = self.loader.inside(|| self.session.run(&inputs))?;
        match (!outputs.is_empty()).then(|| outputs.swap_remove(0).data) {
            Some(Data::F32(sound)) => Ok(sound),
            _ => Err(failed("the graph's output is no sound".to_owned())),
        }
    }
}

/// The inputs by name, in the graph's order.
fn inputs(graph: &Graph) -> Result<Vec<Input>, LoadError> {
    let mut found = Vec::with_capacity(graph.inputs.len());
    for port in &graph.inputs {
        let (input, kind) = match port.name.as_str() {
            "input" => (Input::Ids, Kind::I64),
            "input_lengths" => (Input::Length, Kind::I64),
            "scales" => (Input::Scales, Kind::F32),
            "sid" => (Input::Speaker, Kind::I64),
            other => {
                return Err(LoadError::Layout { reason: format!("no voice of Piper has an input {other}") });
            }
        };
        if port.kind != kind {
            return Err(LoadError::Layout { reason: format!("the input {} is of another kind", port.name) });
        }
        found.push(input);
    }
    for (input, name) in [(Input::Ids, "input"), (Input::Length, "input_lengths"), (Input::Scales, "scales")]
    {
        if !found.contains(&input) {
            return Err(LoadError::Layout { reason: format!("a voice of Piper has an input {name}") });
        }
    }
    Ok(found)
}

#[cfg(all(test, feature = "rten"))]
mod tests;
