//! Recognisers from published ONNX models, batched across streams, and voices.
//!
//! | engine | models | layout |
//! |---|---|---|
//! | [`TransducerEngine`] | streaming zipformers, conformers: transducers and CTC | k2 and sherpa |
//! | [`ParaformerEngine`] | Paraformer, SenseVoice: utterances heard whole | FunASR, as sherpa publishes them |
//! | [`PiperVoice`] | voices of Piper: phonemes into sound | `NAME.onnx` and `NAME.onnx.json` |
//!
//! The graphs are computed by [`Runtime::Rten`] in Rust alone or, with the feature `ort`, by ONNX Runtime. Features,
//! search, hints and words are our own and equal to sherpa-onnx's: `scripts/tiny_models.py` makes the models and asks
//! it, the tests compare; `scripts/tiny_voices.py` does so with Piper and ONNX Runtime.

mod bank;
mod context;
mod ctc;
mod encoder;
mod engine;
mod error;
#[cfg(test)]
mod fixtures;
mod folder;
mod graph;
mod intake;
mod offline;
mod pieces;
mod piper;
mod runtime;
mod streaming;
mod tensor;
mod tokens;
mod transducer;
mod utterance;
mod wire;

pub use error::{LoadError, RunError};
pub use folder::Precision;
pub use offline::{ParaformerEngine, ParaformerOptions};
pub use piper::{Manner, Phonemes, PiperOptions, PiperVoice};
pub use runtime::Runtime;
pub use streaming::{TransducerEngine, TransducerOptions};
