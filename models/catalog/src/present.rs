//! Which model to take where nobody chose one.

use std::path::PathBuf;

use antiphon_media_frame::SampleRate;

use crate::list::{Catalog, Model, Task};
use crate::store::{State, Store, StoreError};

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What it should do.
    pub task: Task,
    /// Primary language subtags, all of which it must know.
    pub languages: &'a [&'a str],
    /// The rate of the wire. A model of another rate is taken too: sound is resampled.
    pub rate: SampleRate,
    /// Whether words must come while somebody speaks.
    pub streaming: bool,
    /// Engines that this program has, by name.
    pub engines: &'a [&'a str],
}

/// A model that is there.
#[derive(Clone, Debug)]
pub struct Present<'a> {
    /// Which.
    pub model: &'a Model,
    /// Where its files lie.
    pub folder: PathBuf,
}

impl Catalog {
    /// The best model in `store` for what is wanted; `None` where none is there. One that names the languages goes before
    /// one of very many, one of the wire's rate before one of another, the higher rank before the lower.
    ///
    /// # Errors
    /// The store's record is damaged.
    pub fn best(&self, store: &Store, wanted: &Wanted<'_>) -> Result<Option<Present<'_>>, StoreError> {
        let mut best = None;
        for model in self.models() {
            let fits = model.task == wanted.task
                && wanted.languages.iter().all(|language| model.speaks(language))
                && (model.streaming || !wanted.streaming)
                && wanted.engines.contains(&model.engine.as_str());
            if !fits || store.state(model)? != State::Present {
                continue;
            }
            let named =
                wanted.languages.iter().all(|language| model.languages.iter().any(|known| known == language));
            let score = (named, model.streaming, model.rates.contains(&wanted.rate), model.rank);
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, model));
            }
        }
        Ok(best.map(|(_, model)| Present { model, folder: store.folder(model) }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn wanted<'a>(languages: &'a [&'a str], engines: &'a [&'a str]) -> Wanted<'a> {
        Wanted { task: Task::Recognition, languages, rate: SampleRate::HZ_8000, streaming: false, engines }
    }

    fn put(store: &Store, catalog: &Catalog, name: &str) {
        let model = catalog.find(name).unwrap();
        for path in &model.expected {
            let path = store.folder(model).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
    }

    #[test]
    fn the_best_present_model_of_an_engine_that_is_built_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let catalog = Catalog::built_in();
        let engines = ["whisper", "transducer"];
        assert!(catalog.best(&store, &wanted(&["en"], &engines)).unwrap().is_none());
        put(&store, &catalog, "whisper-tiny");
        let name = |language: &str, engines: &[&str]| {
            let best = catalog.best(&store, &wanted(&[language], engines)).unwrap();
            best.map(|present| present.model.name.clone())
        };
        assert_eq!(name("en", &engines).as_deref(), Some("whisper-tiny"));
        assert_eq!(name("zh", &engines).as_deref(), Some("whisper-tiny"));
        assert_eq!(name("en", &["transducer"]), None, "an engine that is not built");
        put(&store, &catalog, "zipformer-en-2023-06-26");
        assert_eq!(name("en", &engines).as_deref(), Some("zipformer-en-2023-06-26"), "it names the language");
        assert_eq!(name("zh", &engines).as_deref(), Some("whisper-tiny"));
        put(&store, &catalog, "whisper-small");
        assert_eq!(name("zh", &engines).as_deref(), Some("whisper-small"), "the higher rank");
        let both = catalog.best(&store, &wanted(&["en", "zh"], &engines)).unwrap().unwrap();
        assert_eq!(both.model.name, "whisper-small", "it knows them all");
    }

    #[test]
    fn a_model_with_a_file_missing_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let catalog = Catalog::built_in();
        put(&store, &catalog, "zipformer-en-2023-06-26");
        let model = catalog.find("zipformer-en-2023-06-26").unwrap();
        fs::remove_file(store.folder(model).join(&model.expected[0])).unwrap();
        assert!(catalog.best(&store, &wanted(&["en"], &["transducer"])).unwrap().is_none());
        assert_eq!(store.state(model).unwrap(), State::Damaged);
    }
}
