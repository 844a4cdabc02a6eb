//! Pulled models: where they lie, and which one is taken where nobody chose.

use std::path::PathBuf;

use antiphon_media_frame::SampleRate;
use antiphon_models_backends::engine_names;
use antiphon_models_catalog::{Catalog, Model, Store, StoreError, Task, Wanted};

use crate::config::Config;

/// The recogniser's name that leaves the choice to us.
pub(crate) const AUTO: &str = "auto";
/// What needs no download.
const BUILT_IN: &str = "pocketsphinx";
/// Engines that a pulled model can be handed to, by name.
const FED: &[&str] = &["whisper"];

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

/// Whether this build has the engine of a model.
pub(crate) fn runs(model: &Model) -> bool {
    FED.contains(&model.engine.as_str()) && engine_names().contains(&model.engine.as_str())
}

/// Puts the best recogniser that is present in the place of `auto`: a pulled model that knows all of `languages`, primary
/// subtags, and whose engine this build has; or else what needs no download. Where no language is wanted, English goes
/// first and then the languages of the list.
///
/// # Errors
/// The record of the models is damaged.
pub(crate) fn settle(config: &mut Config, languages: &[String]) -> Result<(), StoreError> {
    if config.recognizer.engine != AUTO {
        return Ok(());
    }
    config.recognizer.engine = BUILT_IN.into();
    let engines: Vec<&str> = FED.iter().copied().filter(|name| engine_names().contains(name)).collect();
    let settled = settle_among(config, &Catalog::built_in(), &engines, languages);
    // What was chosen cannot stand in for itself.
    let chosen = config.recognizer.engine.clone();
    config.recognizer.fallback.retain(|name| *name != chosen);
    settled
}

fn settle_among(
    config: &mut Config,
    catalog: &Catalog,
    engines: &[&str],
    languages: &[String],
) -> Result<(), StoreError> {
    let store = store(config);
    let wanted: Vec<Vec<&str>> = if languages.is_empty() {
        let others = catalog.models().iter().flat_map(|model| &model.languages).map(String::as_str);
        std::iter::once("en").chain(others).map(|language| vec![language]).collect()
    } else {
        vec![languages.iter().map(String::as_str).collect()]
    };
    for languages in wanted {
        let wanted = Wanted {
            task: Task::Recognition,
            languages: &languages,
            rate: SampleRate::HZ_8000,
            streaming: false,
            engines,
        };
        let Some(present) = catalog.best(&store, &wanted)? else { continue };
        if let Some(file) = present.model.expected.first().filter(|_| present.model.engine == "whisper") {
            config.recognizer.whisper.model = present.folder.join(file);
            config.recognizer.engine.clone_from(&present.model.engine);
            return Ok(());
        }
    }
    Ok(())
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

    #[test]
    fn a_pulled_model_goes_before_it_where_the_build_has_its_engine() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("whisper-base")).unwrap();
        fs::write(folder.path().join("whisper-base/model.bin"), "x").unwrap();
        let catalog = Catalog::built_in();
        let mut config = config(&folder);
        settle_among(&mut config, &catalog, &[], &[]).unwrap();
        assert_eq!(config.recognizer.engine, AUTO, "nothing was chosen");
        settle_among(&mut config, &catalog, &["whisper"], &["zh".into(), "en".into()]).unwrap();
        assert_eq!(config.recognizer.engine, "whisper");
        assert_eq!(config.recognizer.whisper.model, folder.path().join("whisper-base/model.bin"));
    }

    #[test]
    fn what_somebody_chose_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        config.recognizer.engine = "scripted".into();
        settle(&mut config, &[]).unwrap();
        assert_eq!(config.recognizer.engine, "scripted");
    }
}
