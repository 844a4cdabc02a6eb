//! The engine of models that hear an utterance whole: Paraformer and SenseVoice, in the layout of FunASR and sherpa.

mod layout;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use antiphon_media_frame::{SampleRate, Span};
use antiphon_models_speech::batch::streams_of;
use antiphon_models_speech::{Engine, Pace, RecognizeError, Recognizer, StreamConfig};

use crate::LoadError;
use crate::bank::Bank;
use crate::engine::{failed, speaks};
use crate::folder::{self, Precision};
use crate::intake::RATE;
use crate::runtime::{Loader, Runtime};
use crate::tokens::Tokens;
use layout::Layout;
use stream::Stream;

pub(crate) const NAME: &str = "paraformer";

/// What an offline model is opened with.
#[derive(Clone, Debug, PartialEq)]
pub struct ParaformerOptions {
    /// The folder: one `model*.onnx` (Paraformer or SenseVoice, told apart by its inputs) and `tokens.txt`.
    pub folder: PathBuf,
    /// Which weights.
    pub precision: Precision,
    /// The languages it speaks, by primary subtag. Empty: whatever it is asked for.
    pub languages: Vec<String>,
    /// Whether SenseVoice writes numbers as figures and sets punctuation.
    pub written: bool,
    /// How much more must have been said until interim words are computed; each time it is all of the utterance that
    /// is computed. Zero: no interim words.
    pub partial_every: Span,
    /// The most streams computed in one run.
    pub rows: usize,
    /// Threads of one run.
    pub threads: usize,
    /// What computes.
    pub runtime: Runtime,
}

impl ParaformerOptions {
    /// Words as spoken, interim words each second, eight streams a run, one thread.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            precision: Precision::default(),
            languages: Vec::new(),
            written: false,
            partial_every: Span::from_secs(1),
            rows: 8,
            threads: 1,
            runtime: Runtime::default(),
        }
    }
}

/// One loaded model, shared by its streams.
struct Model {
    loader: Loader,
    layout: Layout,
    tokens: Tokens,
    bank: Arc<Bank>,
    options: ParaformerOptions,
}

/// The engine `paraformer`.
pub struct ParaformerEngine {
    model: Arc<Model>,
}

impl ParaformerEngine {
    /// Loads a model and tries it with a second of silence.
    ///
    /// # Errors
    /// Missing or damaged files, another layout, metadata that makes no sense, a runtime that refuses the graph.
    pub fn open(options: ParaformerOptions) -> Result<Self, LoadError> {
        let loader = Loader::new(&options.runtime, options.threads);
        let tokens = Tokens::load(&options.folder.join("tokens.txt"))?;
        let path = folder::model(&options.folder, &["model", "paraformer", "sense"], options.precision)?;
        let missing =
            || LoadError::Missing { what: "model*.onnx", folder: options.folder.display().to_string() };
        let (graph, session) = loader.load(&path.ok_or_else(missing)?)?;
        let layout = Layout::new(&graph, session, &tokens)?;
        let bank = Arc::new(Bank::new(layout.bank()));
        let model = Model { loader, layout, tokens, bank, options };
        model.warm_up()?;
        Ok(Self { model: Arc::new(model) })
    }
}

impl Engine for ParaformerEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rate(&self, _: SampleRate) -> SampleRate {
        RATE
    }

    fn heeds_hints(&self) -> bool {
        false
    }

    fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        if !(config.language.is_undetermined() && self.identifies()) {
            speaks(NAME, &self.model.options.languages, config)?;
        }
        Ok(Box::new(Stream::new(Arc::clone(&self.model), &config.language)))
    }

    fn identifies(&self) -> bool {
        self.model.layout.identifies()
    }

    fn pace(&self) -> Pace {
        let every = self.model.options.partial_every;
        let chunk = if every > Span::ZERO { every } else { Span::from_secs(1) };
        Pace { chunk, rows: self.model.options.rows.max(1) }
    }

    fn step(&self, rows: &mut [&mut dyn Recognizer]) -> Result<(), RecognizeError> {
        let mut streams = streams_of(NAME, rows, |s: &Stream| Arc::ptr_eq(s.model(), &self.model))?;
        self.model.step(&mut streams)
    }
}

impl Model {
    fn warm_up(&self) -> Result<(), LoadError> {
        let silence = vec![0.0; self.layout.width() * 16];
        let found =
            self.loader.inside(|| self.layout.run(&[&silence], &[self.layout.language("auto")], false));
        found.map(|_| ()).map_err(|e| LoadError::Layout { reason: e.to_string() })
    }

    /// Computes the front utterance of every stream that owes a step.
    fn step(&self, streams: &mut [&mut Stream]) -> Result<(), RecognizeError> {
        let mut owing: Vec<_> = streams.iter_mut().filter(|s| s.owed() > 0).collect();
        let prepared: Vec<Vec<f32>> = owing.iter().map(|s| self.layout.prepare(s.features())).collect();
        // Too short for one frame: nothing was said.
        let filled: Vec<usize> = (0..prepared.len()).filter(|n| !prepared[*n].is_empty()).collect();
        let rows: Vec<&[f32]> = filled.iter().map(|n| &prepared[*n][..]).collect();
        let languages: Vec<i64> = filled.iter().map(|n| owing[*n].language()).collect();
        let mut found = vec![Vec::new(); owing.len()];
        if !rows.is_empty() {
            let run = self.loader.inside(|| self.layout.run(&rows, &languages, self.options.written));
            for (n, heard) in filled.into_iter().zip(run.map_err(|e| failed(NAME, &e))?) {
                found[n] = heard;
            }
        }
        for (stream, heard) in owing.iter_mut().zip(found) {
            stream.commit(&heard);
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "rten"))]
mod tests;
