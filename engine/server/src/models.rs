//! Pulled models: where they lie, and which one is taken where nobody chose.

use std::collections::BTreeMap;
use std::path::PathBuf;

use antiphon_media_frame::SampleRate;
use antiphon_models_backends::{PiperSettings, engine_names, voice_names};
use antiphon_models_catalog::{Catalog, Model, Present, State, Store, StoreError, Task, Wanted};

use crate::config::Config;

/// The name of a recogniser or a voice that leaves the choice to us.
pub(crate) const AUTO: &str = "auto";
/// What needs no download.
const BUILT_IN: &str = "pocketsphinx";
/// Recognisers of the list of models, the engine of ours that runs each, and the cargo feature that brings it.
const FED: &[(&str, &str)] = &[
    ("whisper", "whisper"),
    ("transducer", "transducer"),
    ("paraformer", "paraformer"),
    ("sensevoice", "paraformer"),
    ("candle", "candle"),
];
/// The voice that a pulled model is handed to.
const PIPER: &str = "piper";
/// Whatever language has no voice of its own.
const REST: &str = "*";

/// The folder of models: the configured one, or this user's.
pub(crate) fn store(config: &Config) -> Store {
    Store::new(config.models.dir.clone().unwrap_or_else(folder))
}

fn folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ANTIPHON_MODELS")
        .or_else(|| set("XDG_DATA_HOME").map(|data| data.join("antiphon/models")))
        .or_else(|| set("HOME").map(|home| home.join(".local/share/antiphon/models")))
        .unwrap_or_else(|| "antiphon-models".into())
}

/// The engine of ours that runs a model of the list; `None` where nothing here can.
fn engine_of(model: &Model) -> Option<&'static str> {
    if model.engine == PIPER {
        return Some(PIPER);
    }
    FED.iter().find(|(listed, _)| *listed == model.engine).map(|(_, engine)| *engine)
}

/// What has to be done so that a model can be heard or spoken with; `None` where this build does so.
pub(crate) fn wants(model: &Model) -> Option<String> {
    let there = if model.task == Task::Synthesis { voice_names() } else { engine_names() };
    wants_among(model, &there)
}

fn wants_among(model: &Model, engines: &[&str]) -> Option<String> {
    match engine_of(model) {
        Some(engine) if engines.contains(&engine) => None,
        // The feature has the engine's name.
        Some(engine) => Some(format!("this build has no engine {engine}: build with `--features {engine}`")),
        None => Some(format!("no build has an engine {} yet: it is kept for one that has", model.engine)),
    }
}

/// Puts the best recogniser that is present in the place of `auto`, or else what needs no download.
///
/// Of the pulled models that know all of `languages`, primary subtags, and whose engine this build has, one that names the
/// languages goes before one of very many; then one with words while somebody speaks before one that hears utterances
/// whole; then one of the wire's rate; then the higher rank of the list. Where no language is wanted, English goes first
/// and then the languages of the list. A better one that this build cannot run is told in the log, with what it wants.
///
/// # Errors
/// The record of the models is damaged.
pub(crate) fn settle(config: &mut Config, languages: &[String]) -> Result<(), StoreError> {
    if config.recognizer.engine != AUTO {
        return Ok(());
    }
    config.recognizer.engine = BUILT_IN.into();
    let catalog = Catalog::built_in();
    let settled = settle_among(config, &catalog, &engine_names(), languages);
    if let Ok(Some(left)) = &settled {
        tracing::warn!(model = left.name, "a better model is here but cannot be used: {}", left.wants);
    }
    // What was chosen cannot stand in for itself.
    let chosen = config.recognizer.engine.clone();
    config.recognizer.fallback.retain(|name| *name != chosen);
    settled.map(|_| ())
}

/// A pulled model that would have been taken if the build had its engine.
#[derive(Debug, PartialEq)]
struct Left {
    name: String,
    wants: String,
}

/// Puts the folder of a pulled model in the place of its name, where nothing else has that name.
pub(crate) fn find(config: &mut Config) {
    let wanted = &config.recognizer.candle.model;
    let Some(name) = wanted.to_str().filter(|_| wanted.components().count() == 1 && !wanted.exists()) else {
        return;
    };
    if let Some(model) = Catalog::built_in().find(name).filter(|model| model.engine == "candle") {
        config.recognizer.candle.model = store(config).folder(model);
    }
}

fn settle_among(
    config: &mut Config,
    catalog: &Catalog,
    engines: &[&str],
    languages: &[String],
) -> Result<Option<Left>, StoreError> {
    let store = store(config);
    let wanted: Vec<Vec<&str>> = if languages.is_empty() {
        let others = catalog.models().iter().flat_map(|model| &model.languages).map(String::as_str);
        std::iter::once("en").chain(others).map(|language| vec![language]).collect()
    } else {
        vec![languages.iter().map(String::as_str).collect()]
    };
    let best = |fed: &dyn Fn(&str) -> bool| -> Result<Option<Present<'_>>, StoreError> {
        let listed: Vec<&str> =
            FED.iter().filter(|(_, engine)| fed(engine)).map(|(listed, _)| *listed).collect();
        for languages in &wanted {
            let wanted = Wanted {
                task: Task::Recognition,
                languages,
                rate: SampleRate::HZ_8000,
                streaming: false,
                engines: &listed,
            };
            if let Some(present) = catalog.best(&store, &wanted)? {
                return Ok(Some(present));
            }
        }
        Ok(None)
    };
    let taken = best(&|engine| engines.contains(&engine))?;
    let name = taken.as_ref().map(|present| &present.model.name);
    let left = best(&|_| true)?.filter(|present| Some(&present.model.name) != name).and_then(|present| {
        let wants = wants_among(present.model, engines)?;
        Some(Left { name: present.model.name.clone(), wants })
    });
    if let Some(present) = taken {
        feed(config, &present);
    }
    Ok(left)
}

/// Hands a model to its engine.
fn feed(config: &mut Config, present: &Present<'_>) {
    let (section, model) = (&mut config.recognizer, present.model);
    let Some(engine) = engine_of(model) else { return };
    let languages = model.languages.iter().filter(|language| *language != "*").cloned().collect();
    match engine {
        "whisper" => {
            let Some(file) = model.expected.first() else { return };
            section.whisper.model = present.folder.join(file);
        }
        "transducer" => {
            section.transducer.model.clone_from(&present.folder);
            section.transducer.languages = languages;
        }
        "paraformer" => {
            section.paraformer.model.clone_from(&present.folder);
            section.paraformer.languages = languages;
        }
        "candle" => section.candle.model.clone_from(&present.folder),
        _ => return,
    }
    engine.clone_into(&mut section.engine);
}

/// A voice of a language, and what it is opened with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) engine: String,
    pub(crate) piper: PiperSettings,
}

/// Why no voice could be chosen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VoiceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("voice.piper.{language}.model: {name} is not here; `antiphon models pull {name}` brings it")]
    NotPulled { language: String, name: String },
    #[error(
        "voice.engines.{language} is piper, but voice.piper.{language}.model names no voice and none of that language is \
         pulled; `antiphon models list --engine piper` shows those that are published"
    )]
    NoPiper { language: String },
}

/// The voice of every configured language. `auto` is a pulled voice of Piper where there is one and the build can speak
/// with it, or else what needs no download; `*` stands for all languages that have a pulled voice, too.
///
/// # Errors
/// A voice that is not there; the record of the models is damaged.
pub(crate) fn voices(config: &Config) -> Result<BTreeMap<String, Chosen>, VoiceError> {
    voices_among(config, &Catalog::built_in(), &voice_names())
}

fn voices_among(
    config: &Config,
    catalog: &Catalog,
    built: &[&str],
) -> Result<BTreeMap<String, Chosen>, VoiceError> {
    let store = store(config);
    let mut voices = BTreeMap::new();
    for (language, engine) in &config.voice.engines {
        let own = config.voice.piper.get(language).cloned().unwrap_or_default();
        let (engine, piper) = match engine.as_str() {
            PIPER => {
                let missing = || VoiceError::NoPiper { language: language.clone() };
                (PIPER, named(catalog, &store, language, own)?.ok_or_else(missing)?)
            }
            AUTO if built.contains(&PIPER) => match named(catalog, &store, language, own.clone())? {
                Some(piper) => (PIPER, piper),
                None => (spoken_without(language, built), own),
            },
            AUTO => (spoken_without(language, built), own),
            other => (other, own),
        };
        voices.insert(language.clone(), Chosen { engine: engine.to_owned(), piper });
    }
    let rest = config.voice.engines.get(REST).is_some_and(|engine| engine == AUTO);
    if rest && built.contains(&PIPER) {
        let known = catalog.models().iter().filter(|model| model.engine == PIPER);
        for language in known.flat_map(|model| &model.languages).filter(|language| *language != REST) {
            if voices.contains_key(language) {
                continue;
            }
            if let Some(piper) = pulled(catalog, &store, language, PiperSettings::default())? {
                voices.insert(language.clone(), Chosen { engine: PIPER.to_owned(), piper });
            }
        }
    }
    Ok(voices)
}

/// What speaks a language without a download.
fn spoken_without(language: &str, built: &[&str]) -> &'static str {
    if language == "en" && built.contains(&"flite") { "flite" } else { "espeak" }
}

/// The settings with the place of the model: a file or folder, the name of a pulled model, or the best one pulled.
fn named(
    catalog: &Catalog,
    store: &Store,
    language: &str,
    own: PiperSettings,
) -> Result<Option<PiperSettings>, VoiceError> {
    if own.model.as_os_str().is_empty() {
        return pulled(catalog, store, language, own);
    }
    let model = own.model.to_str().filter(|_| !own.model.exists()).and_then(|name| catalog.find(name));
    let Some(model) = model else { return Ok(Some(own)) };
    if store.state(model)? != State::Present {
        return Err(VoiceError::NotPulled { language: language.to_owned(), name: model.name.clone() });
    }
    Ok(Some(PiperSettings { model: store.folder(model), ..own }))
}

fn pulled(
    catalog: &Catalog,
    store: &Store,
    language: &str,
    own: PiperSettings,
) -> Result<Option<PiperSettings>, VoiceError> {
    if language == REST {
        return Ok(None);
    }
    let wanted = Wanted {
        task: Task::Synthesis,
        languages: &[language],
        rate: SampleRate::HZ_8000,
        streaming: false,
        engines: &[PIPER],
    };
    let best = catalog.best(store, &wanted)?;
    Ok(best.map(|present| PiperSettings { model: present.folder, ..own }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(folder: &tempfile::TempDir) -> Config {
        let mut config = Config::default();
        config.models.dir = Some(folder.path().to_owned());
        config
    }

    #[test]
    fn without_a_pulled_model_it_is_what_needs_no_download() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        assert_eq!(config.recognizer.engine, AUTO, "the default");
        config.recognizer.fallback = vec!["pocketsphinx".into()];
        settle(&mut config, &[]).unwrap();
        assert_eq!(config.recognizer.engine, "pocketsphinx");
        assert!(config.recognizer.fallback.is_empty(), "it cannot stand in for itself");
    }

    /// Puts empty files where a model's would lie.
    fn pull(config: &Config, name: &str) -> PathBuf {
        let catalog = Catalog::built_in();
        let (store, model) = (store(config), catalog.find(name).unwrap());
        for path in &model.expected {
            let path = store.folder(model).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        store.folder(model)
    }

    /// The engine that is chosen, and the model that was left.
    fn choose(config: &Config, engines: &[&str], languages: &[&str]) -> (Config, Option<Left>) {
        let mut config = config.clone();
        let languages: Vec<String> = languages.iter().map(|language| (*language).to_owned()).collect();
        let left = settle_among(&mut config, &Catalog::built_in(), engines, &languages).unwrap();
        (config, left)
    }

    const ALL: [&str; 3] = ["whisper", "transducer", "paraformer"];

    #[test]
    fn a_pulled_model_goes_before_it_where_the_build_has_its_engine() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let whisper = pull(&config, "whisper-base");
        let (chosen, left) = choose(&config, &["pocketsphinx"], &[]);
        assert_eq!(chosen.recognizer.engine, AUTO, "nothing was chosen");
        let left = left.unwrap();
        assert_eq!(left.name, "whisper-base");
        assert!(left.wants.contains("--features whisper"), "{left:?}");
        let (chosen, left) = choose(&config, &ALL, &["zh", "en"]);
        assert_eq!(chosen.recognizer.engine, "whisper");
        assert_eq!(chosen.recognizer.whisper.model, whisper.join("model.bin"));
        assert_eq!(left, None);
    }

    #[test]
    fn models_that_name_the_language_and_stream_go_first_then_the_rank_decides() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let taken = |languages: &[&str], engines: &[&str]| {
            let section = choose(&config, engines, languages).0.recognizer;
            let folder = match section.engine.as_str() {
                "transducer" => section.transducer.model,
                "paraformer" => section.paraformer.model,
                "whisper" => section.whisper.model.parent().unwrap().to_owned(),
                _ => return String::new(),
            };
            folder.file_name().unwrap().to_str().unwrap().to_owned()
        };
        pull(&config, "whisper-large-v3-turbo");
        assert_eq!(taken(&["zh"], &ALL), "whisper-large-v3-turbo");
        pull(&config, "sensevoice-2024-07-17");
        assert_eq!(taken(&["zh"], &ALL), "sensevoice-2024-07-17", "it names the language");
        pull(&config, "paraformer-zh-2023-09-14");
        assert_eq!(taken(&["zh"], &ALL), "paraformer-zh-2023-09-14", "the higher rank");
        assert_eq!(taken(&["yue"], &ALL), "sensevoice-2024-07-17", "the only one that names it");
        pull(&config, "zipformer-zh-14m-2023-02-23");
        assert_eq!(taken(&["zh"], &ALL), "zipformer-zh-14m-2023-02-23", "words while somebody speaks");
        assert_eq!(taken(&["zh", "en"], &ALL), "paraformer-zh-2023-09-14", "it knows both");
        assert_eq!(taken(&["fr"], &ALL), "whisper-large-v3-turbo", "nothing names it");
        assert_eq!(taken(&["zh"], &["whisper"]), "whisper-large-v3-turbo", "what the build has");
    }

    #[test]
    fn a_chosen_model_answers_for_its_languages_alone() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let zipformer = pull(&config, "zipformer-zh-en-2023-02-20");
        let section = choose(&config, &ALL, &["en"]).0.recognizer;
        assert_eq!((section.engine.as_str(), &section.transducer.model), ("transducer", &zipformer));
        assert_eq!(section.transducer.languages, ["zh", "en"]);
    }

    #[test]
    fn a_better_model_whose_engine_is_not_built_is_told_with_the_way_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        pull(&config, "whisper-base");
        pull(&config, "sensevoice-2024-07-17");
        let (chosen, left) = choose(&config, &["whisper"], &["zh"]);
        assert_eq!(chosen.recognizer.engine, "whisper");
        let left = left.unwrap();
        assert_eq!(left.name, "sensevoice-2024-07-17");
        assert!(left.wants.ends_with("build with `--features paraformer`"), "{left:?}");
        assert_eq!(choose(&config, &ALL, &["zh"]).1, None);
        let catalog = Catalog::built_in();
        let moonshine = wants_among(catalog.find("moonshine-tiny-en").unwrap(), &ALL).unwrap();
        assert!(moonshine.contains("no build has an engine moonshine"), "{moonshine}");
    }

    #[test]
    fn candle_takes_a_pulled_model_by_name_or_as_the_best_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::built_in();
        let name = "whisper-base-safetensors";
        let pulled = folder.path().join(name);
        fs::create_dir(&pulled).unwrap();
        for file in &catalog.find(name).unwrap().expected {
            fs::write(pulled.join(file), "x").unwrap();
        }
        let mut config = config(&folder);
        settle_among(&mut config, &catalog, &["whisper", "candle"], &["de".into()]).unwrap();
        assert_eq!((config.recognizer.engine.as_str(), &config.recognizer.candle.model), ("candle", &pulled));
        config.recognizer.candle.model = name.into();
        find(&mut config);
        assert_eq!(config.recognizer.candle.model, pulled);
        for other in ["./whisper-base-safetensors", "whisper-base", "src"] {
            config.recognizer.candle.model = other.into();
            find(&mut config);
            assert_eq!(config.recognizer.candle.model, PathBuf::from(other));
        }
    }

    #[test]
    fn what_somebody_chose_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        config.recognizer.engine = "scripted".into();
        settle(&mut config, &[]).unwrap();
        assert_eq!(config.recognizer.engine, "scripted");
    }

    /// Language and engine of every voice.
    fn chosen(config: &Config, built: &[&str]) -> Vec<(String, String)> {
        let voices = voices_among(config, &Catalog::built_in(), built).unwrap();
        voices.into_iter().map(|(language, chosen)| (language, chosen.engine)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(language, engine)| ((*language).to_owned(), (*engine).to_owned())).collect()
    }

    #[test]
    fn voices_need_no_download_and_a_pulled_one_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let all = ["flite", "espeak", "piper"];
        assert_eq!(chosen(&config, &all), pairs(&[("*", "espeak"), ("en", "flite")]), "the default");
        assert_eq!(chosen(&config, &["espeak"]), pairs(&[("*", "espeak"), ("en", "espeak")]));
        pull(&config, "piper-zh-cn-huayan-medium");
        assert_eq!(chosen(&config, &all), pairs(&[("*", "espeak"), ("en", "flite"), ("zh", "piper")]));
        pull(&config, "piper-en-us-lessac-medium");
        let voices = voices_among(&config, &Catalog::built_in(), &all).unwrap();
        assert_eq!(voices["en"].piper.model, folder.path().join("piper-en-us-lessac-medium"));
        assert_eq!(voices["zh"].piper.model, folder.path().join("piper-zh-cn-huayan-medium"));
        let without = pairs(&[("*", "espeak"), ("en", "flite")]);
        assert_eq!(chosen(&config, &["flite", "espeak"]), without, "a build that cannot speak with them");
    }

    #[test]
    fn a_voice_is_named_by_its_file_or_by_its_name_in_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        config.voice.engines = [("en".to_owned(), "piper".to_owned())].into();
        let voices = |config: &Config| voices_among(config, &Catalog::built_in(), &["piper"]);
        let refused = voices(&config).unwrap_err().to_string();
        assert!(refused.contains("antiphon models list --engine piper"), "{refused}");
        let own = |model: PathBuf| PiperSettings { model, speed: 1.5, ..PiperSettings::default() };
        config.voice.piper = [("en".to_owned(), own("piper-en-us-amy-medium".into()))].into();
        let refused = voices(&config).unwrap_err().to_string();
        assert!(refused.contains("antiphon models pull piper-en-us-amy-medium"), "{refused}");
        pull(&config, "piper-en-us-amy-medium");
        let expected = own(folder.path().join("piper-en-us-amy-medium"));
        assert_eq!(voices(&config).unwrap()["en"].piper, expected);
        let elsewhere = own("/somewhere/voice.onnx".into());
        config.voice.piper = [("en".to_owned(), elsewhere.clone())].into();
        assert_eq!(voices(&config).unwrap()["en"].piper, elsewhere, "opening it says what is wrong");
    }
}
