//! Whisper from safetensors and GGUF, on candle: processor, CUDA (feature `cuda`), Metal (feature `metal`).
//!
//! Files are read as they are published, numbers and tokens are those of transformers' implementation: features, encoder,
//! decoder, the rules for times, what is tried again and what counts as no speech, the times of tokens by attention.
//! `scripts/tiny_whisper.py` makes models with random weights and asks it, the tests compare.
//!
//! | part | equal to transformers within |
//! |---|---|
//! | features | 1e-4 |
//! | encoder, scores | 2e-3 |
//! | tokens, times of tokens | all the same |
//!
//! The engine computes a step of many streams together: their windows are encoded, then their tokens are written side by
//! side, and rows that are done leave.

#![cfg(feature = "cpu")]

mod align;
mod config;
mod engine;
mod error;
mod files;
#[cfg(test)]
mod fixtures;
mod layers;
mod mel;
mod model;
mod network;
mod rules;
mod search;
mod stream;
mod tokenizer;
mod weights;
mod words;

pub use engine::CandleEngine;
pub use error::{LoadError, RunError};
pub use model::{CandleOptions, Device};
