//! What engines and voices are opened with. Plain data, compiled whatever features are on, so that one configuration
//! file fits every build.

use std::path::PathBuf;

use serde::Deserialize;

use crate::scripted::Script;

/// Settings of every recogniser; each reads its own part.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineSettings {
    /// What the scripted recogniser hears.
    pub scripted: Script,
    /// Models and limits of pocketsphinx.
    pub pocketsphinx: PocketSphinxSettings,
    /// Model and limits of whisper.
    pub whisper: WhisperSettings,
    /// A service elsewhere.
    pub remote: RemoteSettings,
    /// Model and limits of the streaming transducer.
    pub transducer: TransducerSettings,
    /// Model and limits of Paraformer or SenseVoice.
    pub paraformer: ParaformerSettings,
    /// Model and limits of Whisper on candle.
    pub candle: CandleSettings,
}

/// A secret: shown by nothing, written by nobody.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(key)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How a service is spoken with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemoteShape {
    /// `/v1/listen` over a WebSocket.
    #[default]
    Deepgram,
    /// `/v1/audio/transcriptions` over HTTP: no interim words.
    Openai,
    /// OpenAI's Realtime transcription sessions.
    Realtime,
    /// FunASR's two-pass runtime.
    Funasr,
    /// vosk-server.
    Vosk,
}

/// Settings of a service elsewhere.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteSettings {
    /// How it is spoken with.
    pub shape: RemoteShape,
    /// Where: `wss://api.deepgram.com/v1/listen`, `http://127.0.0.1:8000/v1/audio/transcriptions`.
    pub url: String,
    /// The key it wants.
    pub key: Key,
    /// The environment variable that holds the key.
    pub key_env: Option<String>,
    /// The model, where the service has several.
    pub model: Option<String>,
    /// Seconds for a connection, 0.1 to 60.
    pub connect_s: f64,
    /// Seconds for the last words after the last sound, 0.1 to 600.
    pub answer_s: f64,
    /// Connections opened again for one utterance.
    pub retries: u32,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self {
            shape: RemoteShape::default(),
            url: String::new(),
            key: Key::default(),
            key_env: None,
            model: None,
            connect_s: 5.0,
            answer_s: 10.0,
            retries: 2,
        }
    }
}

impl RemoteSettings {
    /// The time for a connection, brought into range.
    #[must_use]
    pub fn connect(&self) -> antiphon_media_frame::Span {
        span(self.connect_s, 60.0)
    }

    /// The time for an answer, brought into range.
    #[must_use]
    pub fn answer(&self) -> antiphon_media_frame::Span {
        span(self.answer_s, 600.0)
    }
}

fn span(seconds: f64, most: f64) -> antiphon_media_frame::Span {
    let seconds = if seconds.is_finite() { seconds.clamp(0.1, most) } else { most };
    antiphon_media_frame::Span::from_millis((seconds * 1e3) as u64)
}

/// Settings of pocketsphinx.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PocketSphinxSettings {
    /// Models in order of preference. Debian's US English model (`pocketsphinx-en-us`, 16 kHz) stands behind them all
    /// and needs no entry.
    pub models: Vec<SphinxModel>,
    /// Decoders kept for the next call, each 6 to 10 MB, or 95 MB where the stream had no hints (measured with Debian's
    /// model); further ones are freed when their stream closes.
    pub idle_decoders: usize,
    /// How many common words a stream with hints still hears outside its phrases. Errors of 108 words
    /// that `word_error` measures on its cut lines: 16 with none, 13 with 100, 7 with 300, 1000 and 3000; the time is up
    /// by half.
    pub common_words: usize,
}

impl Default for PocketSphinxSettings {
    fn default() -> Self {
        Self { models: Vec::new(), idle_decoders: 4, common_words: 3_000 }
    }
}

/// One model of pocketsphinx: three files that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SphinxModel {
    /// The language's primary subtag: `en`, `zh`.
    pub language: String,
    /// The rate the model was trained at: 8000 or 16000.
    pub rate_hz: u32,
    /// The acoustic model's folder (`mdef`, `means`, …).
    pub acoustic: PathBuf,
    /// The pronunciation dictionary.
    pub dictionary: PathBuf,
    /// The language model of streams without hints (ARPA, gzipped ARPA or binary). Without it such streams hear the
    /// common words only.
    #[serde(default)]
    pub language_model: Option<PathBuf>,
}

/// Settings of whisper.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhisperSettings {
    /// The ggml model file.
    pub model: PathBuf,
    /// Threads of one decode.
    pub threads: u16,
    /// Whether a GPU is used where the build has one.
    pub gpu: bool,
}

impl Default for WhisperSettings {
    fn default() -> Self {
        Self { model: PathBuf::new(), threads: 2, gpu: false }
    }
}

/// Settings of the streaming transducer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransducerSettings {
    /// The model's folder, as published: `encoder*.onnx`, `decoder*.onnx`, `joiner*.onnx` (or one `model*.onnx` of CTC),
    /// `tokens.txt`, `bpe.model`.
    pub model: PathBuf,
    /// Whether eight-bit weights are taken where the folder has them.
    pub int8: bool,
    /// The languages it speaks, by primary subtag; empty: all it is asked for.
    pub languages: Vec<String>,
    /// Ways of understanding that are followed at once, 1 to 32.
    pub paths: usize,
    /// The same where there are hints.
    pub hinted_paths: usize,
    /// What a hinted phrase's token is worth, in log-probability.
    pub boost: f32,
    /// The most streams computed in one run.
    pub rows: usize,
    /// Threads of one run.
    pub threads: usize,
    /// ONNX Runtime's shared library, to compute with it instead of in Rust; wants a build with the feature `ort`.
    pub onnxruntime: Option<PathBuf>,
}

impl Default for TransducerSettings {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            int8: true,
            languages: Vec::new(),
            paths: 1,
            hinted_paths: 4,
            boost: 1.5,
            rows: 16,
            threads: 1,
            onnxruntime: None,
        }
    }
}

/// Settings of Paraformer and SenseVoice.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParaformerSettings {
    /// The model's folder, as published: one `model*.onnx` and `tokens.txt`.
    pub model: PathBuf,
    /// Whether eight-bit weights are taken where the folder has them.
    pub int8: bool,
    /// The languages it speaks, by primary subtag; empty: all it is asked for.
    pub languages: Vec<String>,
    /// Whether SenseVoice writes numbers as figures.
    pub written: bool,
    /// How much more must be said until interim words are computed; 0: none.
    pub partial_ms: u32,
    /// The most streams computed in one run.
    pub rows: usize,
    /// Threads of one run.
    pub threads: usize,
    /// ONNX Runtime's shared library, to compute with it instead of in Rust; wants a build with the feature `ort`.
    pub onnxruntime: Option<PathBuf>,
}

impl Default for ParaformerSettings {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            int8: true,
            languages: Vec::new(),
            written: false,
            partial_ms: 1_000,
            rows: 8,
            threads: 1,
            onnxruntime: None,
        }
    }
}

/// What candle computes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CandleDevice {
    /// The processor.
    #[default]
    Cpu,
    /// A card of NVIDIA's.
    Cuda,
    /// Apple's card.
    Metal,
}

/// Settings of Whisper on candle.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CandleSettings {
    /// The folder of a published model, a GGUF file with config and tokenizer beside it, or the name of a pulled model.
    pub model: PathBuf,
    /// What computes.
    pub device: CandleDevice,
    /// Which card, where there are several.
    pub card: usize,
    /// Whether a card computes in 16-bit floats.
    pub half: bool,
    /// The languages it speaks, by primary subtag; empty: all that the model has.
    pub languages: Vec<String>,
    /// Whether the language of each utterance is recognised instead of taken from the flow.
    pub detect: bool,
    /// How much more must be said until interim words are computed; 0: none.
    pub partial_ms: u32,
    /// How often final words that repeat themselves or are unsure are tried again.
    pub retries: usize,
    /// Tokens of what a flow expects that the model is told; 0: none.
    pub prompt_tokens: usize,
    /// The most streams computed in one step.
    pub rows: usize,
    /// Threads of one step, on a processor.
    pub threads: usize,
}

impl Default for CandleSettings {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            device: CandleDevice::Cpu,
            card: 0,
            half: false,
            languages: Vec::new(),
            detect: false,
            partial_ms: 1_000,
            retries: 2,
            prompt_tokens: 200,
            rows: 8,
            threads: 2,
        }
    }
}

/// Settings of every voice; each reads its own part.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VoiceSettings {
    /// The voice where a request names none: `slt` for flite, `cmn` for espeak. `None` leaves it to the engine.
    pub voice: Option<String>,
    /// Where spoken prompts are kept; `None` keeps none.
    pub cache: Option<CacheSettings>,
    /// Model and manner of Piper.
    pub piper: PiperSettings,
    /// A service elsewhere.
    pub remote: RemoteVoiceSettings,
}

/// Settings of a voice of Piper.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PiperSettings {
    /// The voice as published, `NAME.onnx` with `NAME.onnx.json` beside it; or a folder that holds one.
    pub model: PathBuf,
    /// The speaker where a request names none, by name or number; the publisher's choice where it is not set.
    pub speaker: Option<String>,
    /// How fast it speaks: 2 is twice as fast as its publisher meant; 0.25 to 4.
    pub speed: f32,
    /// How much the sound varies by chance, 0 to 2; the publisher's choice where it is not set.
    pub noise: Option<f32>,
    /// How much the lengths of phonemes vary by chance, 0 to 2; the publisher's choice where it is not set.
    pub width_noise: Option<f32>,
    /// Silence between sentences, 0 to 5000.
    pub pause_ms: u32,
    /// Threads of one run.
    pub threads: usize,
    /// ONNX Runtime's shared library, to compute with it instead of in Rust; wants a build with the feature `ort`.
    pub onnxruntime: Option<PathBuf>,
}

impl Default for PiperSettings {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            speaker: None,
            speed: 1.0,
            noise: None,
            width_noise: None,
            pause_ms: 200,
            threads: 1,
            onnxruntime: None,
        }
    }
}

/// What a service that speaks is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemoteFormat {
    /// 16 bits, little-endian, mono, without a header.
    #[default]
    Pcm,
    /// The same with a header that says its rate.
    Wav,
}

/// Settings of a service elsewhere that speaks as OpenAI's does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteVoiceSettings {
    /// Where: `https://api.openai.com/v1/audio/speech`, `http://127.0.0.1:8000/v1/audio/speech`.
    pub url: String,
    /// The key it wants.
    pub key: Key,
    /// The environment variable that holds the key.
    pub key_env: Option<String>,
    /// The model.
    pub model: String,
    /// Its voice where a request names none.
    pub voice: String,
    /// What it is asked for.
    pub format: RemoteFormat,
    /// The rate of `pcm`, 8000 to 48000.
    pub rate_hz: u32,
    /// Seconds for a connection, 0.1 to 60.
    pub connect_s: f64,
    /// Seconds for the first sound, and for more of it after a pause, 0.1 to 600.
    pub answer_s: f64,
    /// Requests made again where one failed before the first sound, at most 10.
    pub retries: u32,
}

impl Default for RemoteVoiceSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            key: Key::default(),
            key_env: None,
            model: "tts-1".to_owned(),
            voice: "alloy".to_owned(),
            format: RemoteFormat::default(),
            rate_hz: 24_000,
            connect_s: 5.0,
            answer_s: 10.0,
            retries: 1,
        }
    }
}

impl RemoteVoiceSettings {
    /// The time for a connection, brought into range.
    #[must_use]
    pub fn connect(&self) -> antiphon_media_frame::Span {
        span(self.connect_s, 60.0)
    }

    /// The time for an answer, brought into range.
    #[must_use]
    pub fn answer(&self) -> antiphon_media_frame::Span {
        span(self.answer_s, 600.0)
    }
}

/// Settings of the cache of spoken prompts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// The folder; made where it is missing.
    pub folder: PathBuf,
    /// The most it may hold, in bytes; the files read longest ago go first.
    #[serde(default = "CacheSettings::default_bytes")]
    pub bytes: u64,
}

impl CacheSettings {
    /// A cache of the default size in `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), bytes: Self::default_bytes() }
    }

    /// 512 MiB: four and a half hours of prompts at 16 kHz.
    const fn default_bytes() -> u64 {
        512 << 20
    }
}
