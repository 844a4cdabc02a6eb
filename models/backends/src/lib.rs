//! Engines behind the speech traits, one cargo feature each.
//!
//! | name | feature | what |
//! |---|---|---|
//! | `scripted` | always there | [`scripted`]: says what a script says; for tests |
//! | `pocketsphinx` | `pocketsphinx` | Debian's libpocketsphinx, any model folder |
//! | `whisper` | `whisper` | whisper.cpp, any ggml file |
//! | `remote` | `remote` | services in the shapes of Deepgram, OpenAI, FunASR, vosk |
//! | `transducer` | `transducer` | streaming zipformers and conformers, CTC: any k2 or sherpa folder |
//! | `paraformer` | `paraformer` | Paraformer and SenseVoice: any sherpa folder |
//! | `candle` | `candle` | Whisper from safetensors and GGUF: any folder of the Hugging Face hub |
//! | `flite` | `flite` | English voices, linked |
//! | `espeak` | `espeak` | a hundred languages, as a subprocess |
//! | `piper` | `piper` | voices of Piper: any `NAME.onnx` with its `NAME.onnx.json` |
//! | `remote` (voice) | `remote` | services in the shape of OpenAI's speech |
//!
//! [`open_engine`] and [`open_voice`] open them by name; [`cache::CachedSynthesizer`] keeps what any voice said.

pub mod cache;
#[cfg(feature = "candle")]
mod candle;
#[cfg(test)]
mod conformance;
#[cfg(feature = "espeak")]
pub mod espeak;
#[cfg(feature = "flite")]
pub mod flite;
#[cfg(any(feature = "transducer", feature = "paraformer", feature = "piper"))]
mod onnx;
#[cfg(feature = "piper")]
mod piper;
#[cfg(feature = "pocketsphinx")]
pub mod pocketsphinx;
mod registry;
#[cfg(feature = "remote")]
pub mod remote;
pub mod scripted;
mod settings;
#[cfg(test)]
mod spoken;
mod wav;
#[cfg(feature = "whisper")]
pub mod whisper;

pub use registry::{engine_names, open_engine, open_voice, voice_names};
pub use scripted::Script;
pub use settings::{
    CacheSettings, CandleDevice, CandleSettings, EngineSettings, Key, ParaformerSettings, PiperSettings,
    PocketSphinxSettings, RemoteFormat, RemoteSettings, RemoteShape, RemoteVoiceSettings, SphinxModel,
    TransducerSettings, VoiceSettings, WhisperSettings,
};
