//! The engine of streaming models: transducers and CTC in the layout of k2 and sherpa.

mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use antiphon_media_frame::{SampleRate, Span};
use antiphon_models_speech::batch::streams_of;
use antiphon_models_speech::{Engine, Hints, Pace, RecognizeError, Recognizer, StreamConfig};

use crate::bank::{Bank, BankOptions, Taper};
use crate::context::Contexts;
use crate::ctc::Favour;
use crate::encoder::Encoder;
use crate::engine::{failed, speaks};
use crate::folder::{self, Precision};
use crate::intake::RATE;
use crate::pieces::Pieces;
use crate::runtime::{Loader, Runtime};
use crate::tokens::Tokens;
use crate::transducer::{Row, Transducer};
use crate::{LoadError, RunError};
use stream::{Found, Job, Stream};

pub(crate) const NAME: &str = "transducer";

/// What a streaming model is opened with.
#[derive(Clone, Debug, PartialEq)]
pub struct TransducerOptions {
    /// The folder: `encoder*.onnx`, `decoder*.onnx`, `joiner*.onnx` or, of CTC, one `model*.onnx` or `ctc*.onnx`;
    /// `tokens.txt`; `bpe.model` or `bpe.vocab` where there are hints to be cut up.
    pub folder: PathBuf,
    /// Which weights.
    pub precision: Precision,
    /// The languages it speaks, by primary subtag. Empty: whatever it is asked for.
    pub languages: Vec<String>,
    /// Ways of understanding that are followed at once, 1 to 32; 1 is greedy search.
    pub paths: usize,
    /// The same for streams with hints, which need more than one.
    pub hinted_paths: usize,
    /// What a hinted phrase's token is worth, in log-probability: 1.5 is mild, above 3 phrases are heard where none
    /// was said.
    pub boost: f32,
    /// The most streams computed in one run.
    pub rows: usize,
    /// Threads of one run.
    pub threads: usize,
    /// What computes.
    pub runtime: Runtime,
}

impl TransducerOptions {
    /// Greedy search without hints and four paths with them, sixteen streams a run, one thread.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            precision: Precision::default(),
            languages: Vec::new(),
            paths: 1,
            hinted_paths: 4,
            boost: 1.5,
            rows: 16,
            threads: 1,
            runtime: Runtime::default(),
        }
    }
}

/// What turns the encoder's frames into tokens.
enum Head {
    Transducer(Transducer),
    Ctc,
}

/// One loaded model, shared by its streams.
struct Model {
    loader: Loader,
    encoder: Encoder,
    head: Head,
    tokens: Tokens,
    pieces: Pieces,
    bank: Arc<Bank>,
    options: TransducerOptions,
}

/// The engine `transducer`.
pub struct TransducerEngine {
    model: Arc<Model>,
}

impl TransducerEngine {
    /// Loads a model and tries it with a silent chunk.
    ///
    /// # Errors
    /// Missing or damaged files, another layout, metadata that makes no sense, a runtime that refuses the graph.
    pub fn open(options: TransducerOptions) -> Result<Self, LoadError> {
        let loader = Loader::new(&options.runtime, options.threads);
        let folder = &options.folder;
        let find = |stems: &[&str]| folder::model(folder, stems, options.precision);
        let missing = |what| LoadError::Missing { what, folder: folder.display().to_string() };
        let tokens = Tokens::load(&folder.join("tokens.txt"))?;
        let load = |stem: &str, what| loader.load(&find(&[stem])?.ok_or_else(|| missing(what))?);
        let (encoder, head) = if let Some(path) = find(&["encoder"])? {
            let predictor = load("decoder", "decoder*.onnx")?;
            let joiner = load("joiner", "joiner*.onnx")?;
            (loader.load(&path)?, Head::Transducer(Transducer::new(predictor, joiner, &tokens)?))
        } else {
            let path =
                find(&["model", "ctc"])?.ok_or_else(|| missing("encoder*.onnx, model*.onnx or ctc*.onnx"))?;
            (loader.load(&path)?, Head::Ctc)
        };
        let (graph, session) = encoder;
        let encoder = loader.inside(|| Encoder::new(&graph, session))?;
        if matches!(head, Head::Ctc) && encoder.width > tokens.len() {
            let reason = format!("{} tokens in the model, {} in tokens.txt", encoder.width, tokens.len());
            return Err(LoadError::Layout { reason });
        }
        let bank = BankOptions {
            bins: encoder.bins,
            taper: Taper::Povey,
            high_hz: -400.0,
            snip: false,
            scale: 1.0 / 32_768.0,
        };
        let model = Model {
            pieces: Pieces::load(folder)?,
            bank: Arc::new(Bank::new(bank)),
            loader,
            encoder,
            head,
            tokens,
            options,
        };
        Ok(Self { model: Arc::new(model) })
    }

    /// Bytes that one open stream keeps between two chunks for the encoder's state; the predictor's and the tokens'
    /// are less than a tenth of it.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        self.model.encoder.state().bytes()
    }
}

impl Engine for TransducerEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rate(&self, _: SampleRate) -> SampleRate {
        RATE
    }

    fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        speaks(NAME, &self.model.options.languages, config)?;
        Ok(Box::new(Stream::new(Arc::clone(&self.model), &config.hints)))
    }

    fn pace(&self) -> Pace {
        let encoder = &self.model.encoder;
        let rows = if encoder.batches { self.model.options.rows.max(1) } else { 1 };
        Pace { chunk: Span::from_millis(10 * encoder.chunk as u64), rows }
    }

    fn step(&self, rows: &mut [&mut dyn Recognizer]) -> Result<(), RecognizeError> {
        let mut streams = streams_of(NAME, rows, |s: &Stream| Arc::ptr_eq(s.model(), &self.model))?;
        if self.model.encoder.batches {
            self.model.step(&mut streams)
        } else {
            streams.into_iter().try_for_each(|stream| self.model.step(&mut [stream]))
        }
    }
}

impl Model {
    /// Computes one chunk of every stream that owes one.
    fn step(&self, streams: &mut [&mut Stream]) -> Result<(), RecognizeError> {
        self.loader.inside(|| self.compute(streams)).map_err(|e| failed(NAME, &e))
    }

    fn compute(&self, streams: &mut [&mut Stream]) -> Result<(), RunError> {
        let mut jobs: Vec<(&mut &mut Stream, Job)> =
            streams.iter_mut().filter_map(|stream| stream.job().map(|job| (stream, job))).collect();
        if jobs.is_empty() {
            return Ok(());
        }
        let mut features = Vec::with_capacity(jobs.len() * self.encoder.sight * self.encoder.bins);
        for (stream, _) in &jobs {
            features.extend_from_slice(stream.features());
        }
        let states: Vec<_> = jobs.iter().map(|(stream, _)| stream.state()).collect();
        let before: Vec<_> = jobs.iter().map(|(_, job)| job.chunk * self.encoder.chunk).collect();
        let (frames, states) = self.encoder.run(features, &states, &before)?;
        let per_chunk = self.encoder.frames;
        match &self.head {
            Head::Ctc => {
                for (row, (_, job)) in jobs.iter_mut().enumerate() {
                    if let Found::Ctc(ctc) = &mut job.found {
                        let before = job.chunk * per_chunk;
                        match &job.hints {
                            None => ctc.search(&frames, row, per_chunk, before, 0),
                            Some(contexts) => {
                                let favour = Favour { contexts, ways: job.paths };
                                ctc.search_for(favour, &frames, row, per_chunk, before, 0);
                            }
                        }
                    }
                }
            }
            Head::Transducer(transducer) => {
                let mut rows = Vec::with_capacity(jobs.len());
                for (_, job) in &mut jobs {
                    if let Found::Beam(beam) = &mut job.found {
                        rows.push(Row {
                            beam,
                            paths: job.paths,
                            hints: job.hints.as_deref(),
                            before: job.chunk * per_chunk,
                        });
                    }
                }
                transducer.search(&frames, &mut rows)?;
            }
        }
        for ((stream, job), state) in jobs.into_iter().zip(states) {
            stream.commit(job.found, state);
        }
        Ok(())
    }

    /// Feature frames of one output frame.
    fn stride(&self) -> usize {
        self.encoder.chunk / self.encoder.frames
    }

    /// The automaton of a stream's hints; `None` where there are none that the model can say.
    fn contexts(&self, hints: &Hints) -> Option<Arc<Contexts>> {
        let phrases = hints.phrases.iter().take(Hints::LIMIT);
        let cut: Vec<Vec<u32>> = phrases.filter_map(|p| self.pieces.tokens(p, &self.tokens)).collect();
        let contexts = Contexts::new(cut.iter().map(|tokens| (&tokens[..], self.options.boost)));
        (!contexts.is_empty()).then(|| Arc::new(contexts))
    }
}

#[cfg(all(test, feature = "rten"))]
mod tests;
