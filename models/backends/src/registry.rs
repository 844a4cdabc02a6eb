//! Engines and voices by name.

use std::sync::Arc;

use antiphon_models_speech::{Engine, RecognizeError, SynthesizeError, Synthesizer};

use crate::cache::CachedSynthesizer;
use crate::scripted::Scripted;
use crate::settings::{EngineSettings, VoiceSettings};

/// Every recogniser there is, and whether this build has it.
const ENGINES: [(&str, bool); 7] = [
    ("scripted", true),
    ("pocketsphinx", cfg!(feature = "pocketsphinx")),
    ("whisper", cfg!(feature = "whisper")),
    ("remote", cfg!(feature = "remote")),
    ("transducer", cfg!(feature = "transducer")),
    ("paraformer", cfg!(feature = "paraformer")),
    ("candle", cfg!(feature = "candle")),
];

/// Every voice there is, and whether this build has it.
const VOICES: [(&str, bool); 4] = [
    ("flite", cfg!(feature = "flite")),
    ("espeak", cfg!(feature = "espeak")),
    ("piper", cfg!(feature = "piper")),
    ("remote", cfg!(feature = "remote")),
];

/// The recognisers of this build.
#[must_use]
pub fn engine_names() -> Vec<&'static str> {
    compiled(&ENGINES)
}

/// The voices of this build.
#[must_use]
pub fn voice_names() -> Vec<&'static str> {
    compiled(&VOICES)
}

/// Opens a recogniser by name. Checks that its models are there; loads them where the engine loads them once.
///
/// # Errors
/// An unknown name, an engine left out of this build (both say what there is), or a missing model.
pub fn open_engine(name: &str, settings: &EngineSettings) -> Result<Arc<dyn Engine>, RecognizeError> {
    match name {
        "scripted" => Ok(Arc::new(Scripted::new(settings.scripted.clone()))),
        #[cfg(feature = "pocketsphinx")]
        "pocketsphinx" => Ok(Arc::new(crate::pocketsphinx::PocketSphinx::open(&settings.pocketsphinx)?)),
        #[cfg(feature = "remote")]
        "remote" => Ok(Arc::new(crate::remote::Remote::open(&settings.remote)?)),
        #[cfg(feature = "whisper")]
        "whisper" => Ok(Arc::new(crate::whisper::Whisper::open(&settings.whisper)?)),
        #[cfg(feature = "transducer")]
        "transducer" => crate::onnx::transducer(&settings.transducer),
        #[cfg(feature = "paraformer")]
        "paraformer" => crate::onnx::paraformer(&settings.paraformer),
        #[cfg(feature = "candle")]
        "candle" => crate::candle::open(&settings.candle),
        _ => Err(RecognizeError::Engine { engine: "engines", message: unknown(name, &ENGINES) }),
    }
}

/// Opens a voice by name, behind a cache where the settings name one.
///
/// # Errors
/// An unknown name, a voice left out of this build (both say what there is), a program that is not installed, or a
/// cache folder that cannot be made.
pub fn open_voice(name: &str, settings: &VoiceSettings) -> Result<Arc<dyn Synthesizer>, SynthesizeError> {
    let voice = bare_voice(name, settings)?;
    match &settings.cache {
        Some(cache) => Ok(Arc::new(CachedSynthesizer::new(voice, &variant(name, settings), cache)?)),
        None => Ok(voice),
    }
}

/// What the sound depends on beside the request.
fn variant(name: &str, settings: &VoiceSettings) -> String {
    let version = env!("CARGO_PKG_VERSION");
    match name {
        "piper" => {
            // Another voice may have been put in the same place.
            let made = std::fs::metadata(&settings.piper.model).and_then(|meta| meta.modified()).ok();
            format!("{version} {:?} {made:?}", settings.piper)
        }
        // Keys show nothing of themselves.
        "remote" => format!("{version} {:?}", settings.remote),
        _ => format!("{version} {}", settings.voice.as_deref().unwrap_or_default()),
    }
}

/// The settings go unread where no voice is compiled in.
fn bare_voice(name: &str, _settings: &VoiceSettings) -> Result<Arc<dyn Synthesizer>, SynthesizeError> {
    match name {
        #[cfg(feature = "flite")]
        "flite" => Ok(Arc::new(crate::flite::Flite::open(_settings.voice.as_deref())?)),
        #[cfg(feature = "espeak")]
        "espeak" => Ok(Arc::new(crate::espeak::Espeak::open(_settings.voice.as_deref())?)),
        #[cfg(feature = "piper")]
        "piper" => Ok(Arc::new(crate::piper::Piper::open(&_settings.piper)?)),
        #[cfg(feature = "remote")]
        "remote" => Ok(Arc::new(crate::remote::RemoteVoice::open(&_settings.remote)?)),
        _ => Err(SynthesizeError::Engine { engine: "voices", message: unknown(name, &VOICES) }),
    }
}

fn compiled(all: &[(&'static str, bool)]) -> Vec<&'static str> {
    all.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect()
}

fn unknown(name: &str, all: &[(&'static str, bool)]) -> String {
    let mut there = compiled(all).join(", ");
    if there.is_empty() {
        there.push_str("nothing");
    }
    if all.iter().any(|(known, _)| *known == name) {
        format!(
            "{name} is not in this build, which has {there}: build with `--features {name}` or choose another"
        )
    } else {
        let known: Vec<_> = all.iter().map(|(known, _)| *known).collect();
        format!("{name:?} is unknown: this build has {there} (of {})", known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_say_what_there_is() {
        let refused = open_engine("wisper", &EngineSettings::default()).map(|_| ()).expect_err("unknown");
        let text = refused.to_string();
        assert!(text.contains("\"wisper\" is unknown") && text.contains("scripted"), "{text}");
        let refused = open_voice("", &VoiceSettings::default()).map(|_| ()).expect_err("unknown");
        assert!(refused.to_string().contains("flite, espeak"), "{refused}");
    }

    #[test]
    fn engines_left_out_say_how_to_have_them() {
        for (name, there) in ENGINES {
            if !there {
                let refused =
                    open_engine(name, &EngineSettings::default()).map(|_| ()).expect_err("left out");
                assert!(refused.to_string().contains(&format!("--features {name}")), "{refused}");
            }
        }
        assert!(engine_names().contains(&"scripted"));
    }
}
