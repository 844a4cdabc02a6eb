//! One model on disk and the decoders that were made of it.

use std::collections::{BTreeSet, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use antiphon_models_speech::{Hints, RecognizeError};
use tempfile::NamedTempFile;

use super::NAME;
use super::decoder::{self, Decoder, failed};
use super::dictionary::Dictionary;
use super::expect::Expected;
use crate::settings::SphinxModel;

/// Searches kept in one decoder: the questions of a flow come back. Each costs a few hundred kilobytes.
const SEARCHES: usize = 8;
/// A decoder whose dictionary has grown by more words than this is not kept.
const WORDS: usize = 20_000;
const FULL: &str = "everything";

/// A model's files, its dictionary once read, and its idle decoders.
pub(super) struct Model {
    pub(super) files: SphinxModel,
    dictionary: OnceLock<Dictionary>,
    common: OnceLock<Vec<(String, f64)>>,
    common_words: usize,
    idle: Mutex<Vec<Equipped>>,
    idle_decoders: usize,
    loading: Mutex<()>,
}

impl Model {
    /// Checks that the files are there; reads none.
    pub(super) fn new(
        files: SphinxModel,
        common_words: usize,
        idle_decoders: usize,
    ) -> Result<Self, RecognizeError> {
        let advice = "apt-get install pocketsphinx-en-us, or set the model's paths";
        let present = |what, path: &Path, there: bool| {
            if there {
                return Ok(());
            }
            Err(RecognizeError::MissingModel {
                engine: NAME,
                what,
                path: path.display().to_string(),
                advice: advice.to_owned(),
            })
        };
        if ![8_000, 16_000].contains(&files.rate_hz) {
            return Err(failed(&format!("a model of {} Hz: it is 8000 or 16000", files.rate_hz)));
        }
        present("acoustic model", &files.acoustic, files.acoustic.join("mdef").is_file())?;
        present("dictionary", &files.dictionary, files.dictionary.is_file())?;
        if let Some(path) = &files.language_model {
            present("language model", path, path.is_file())?;
        }
        Ok(Self {
            files,
            dictionary: OnceLock::new(),
            common: OnceLock::new(),
            common_words,
            idle: Mutex::default(),
            idle_decoders,
            loading: Mutex::default(),
        })
    }

    /// The dictionary, read on first use.
    pub(super) fn dictionary(&self) -> Result<&Dictionary, RecognizeError> {
        let _one = lock(&self.loading);
        if let Some(dictionary) = self.dictionary.get() {
            return Ok(dictionary);
        }
        let loaded = Dictionary::load(&self.files.dictionary, self.files.language == "en")?;
        Ok(self.dictionary.get_or_init(|| loaded))
    }

    /// The commonest words of the language model that the dictionary has.
    fn common(&self) -> Result<&[(String, f64)], RecognizeError> {
        let dictionary = self.dictionary()?;
        let _one = lock(&self.loading);
        if let Some(common) = self.common.get() {
            return Ok(common);
        }
        let mut words = match &self.files.language_model {
            Some(path) => decoder::unigrams(path)?,
            None => Vec::new(),
        };
        words.retain(|(word, _)| dictionary.contains(word));
        words.truncate(self.common_words);
        Ok(self.common.get_or_init(|| words))
    }

    pub(super) fn expect(&self, hints: &Hints) -> Result<Expected, RecognizeError> {
        Ok(Expected::new(hints, self.dictionary()?, self.common()?))
    }

    /// Whether speech that nothing is expected of is decoded with the language model.
    fn full(&self, expected: &Expected) -> bool {
        expected.is_empty() && self.files.language_model.is_some()
    }

    /// An idle decoder, or a new one, ready for what is expected.
    pub(super) fn take(self: &Arc<Self>, expected: &Expected) -> Result<Equipped, RecognizeError> {
        let full = self.full(expected);
        let kept = {
            let mut idle = lock(&self.idle);
            let at = idle.iter().rposition(|e| e.full == full);
            at.map(|at| idle.swap_remove(at))
        };
        let mut equipped = match kept {
            Some(equipped) => equipped,
            None => self.make(full, expected)?,
        };
        equipped.expect(self.dictionary()?, expected)?;
        Ok(equipped)
    }

    /// Keeps a decoder for the next stream, unless enough are kept.
    pub(super) fn give(&self, equipped: Equipped) {
        let mut idle = lock(&self.idle);
        if idle.len() < self.idle_decoders && equipped.words.len() <= WORDS {
            idle.push(equipped);
        }
    }

    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        lock(&self.idle).len()
    }

    /// Whether `equipped` can be given what is expected, or another kind of decoder is needed.
    pub(super) fn fits(&self, equipped: &Equipped, expected: &Expected) -> bool {
        equipped.full == self.full(expected)
    }

    fn make(&self, full: bool, expected: &Expected) -> Result<Equipped, RecognizeError> {
        let dictionary = self.dictionary()?;
        let mut words = HashSet::new();
        // A dictionary of the words that can be heard loads in 20 ms and 6 MB; the whole of cmudict takes 100 ms and 28 MB.
        let small = if full {
            None
        } else {
            let mut file = temporary(".dict")?;
            let mut text = String::new();
            for word in expected.words() {
                for (name, phones) in entries(dictionary, word) {
                    text.push_str(&format!("{name} {phones}\n"));
                }
                words.insert(word.to_owned());
            }
            file.write_all(text.as_bytes()).map_err(|e| failed(&e.to_string()))?;
            Some(file)
        };
        let path = small.as_ref().map_or(self.files.dictionary.as_path(), |file| file.path());
        let acoustic = self.files.acoustic.to_string_lossy();
        let rate = self.files.rate_hz.to_string();
        let path = path.to_string_lossy();
        let arguments: [(&str, &str); 6] = [
            ("-hmm", &acoustic),
            ("-dict", &path),
            ("-samprate", &rate),
            // The gate in front has taken silence out; what it left belongs to the time axis.
            ("-remove_silence", "no"),
            ("-remove_noise", "no"),
            // Padding is digital silence, whose logarithm the narrow models were not trained on: noise of one bit takes
            // their insertions at the end of an utterance away. The wide model errs no less with it.
            ("-dither", if self.files.rate_hz == 8_000 { "yes" } else { "no" }),
        ];
        let decoder = Decoder::new(&arguments)?;
        let mut equipped = Equipped { decoder, full, words, searches: Vec::new(), made: 0 };
        if let (true, Some(path)) = (full, &self.files.language_model) {
            equipped.decoder.add_model(FULL, path)?;
        }
        Ok(equipped)
    }
}

/// A decoder with what it has been taught.
pub(super) struct Equipped {
    pub(super) decoder: Decoder,
    /// Whether it has the whole dictionary and the language model, or only the words it was given.
    full: bool,
    words: HashSet<String>,
    /// Searches by the text they were made of, oldest use first.
    searches: Vec<(String, String)>,
    made: u64,
}

impl Equipped {
    /// Puts the search for what is expected in force, made now or found.
    pub(super) fn expect(
        &mut self,
        dictionary: &Dictionary,
        expected: &Expected,
    ) -> Result<(), RecognizeError> {
        if self.full {
            return self.decoder.choose(FULL);
        }
        let content = expected.arpa();
        if let Some(at) = self.searches.iter().position(|(known, _)| *known == content) {
            let found = self.searches.remove(at);
            let result = self.decoder.choose(&found.1);
            self.searches.push(found);
            return result;
        }
        self.learn(dictionary, &expected.words())?;
        self.made += 1;
        let name = format!("expected-{}", self.made);
        let mut file = temporary(".lm")?;
        file.write_all(content.as_bytes()).map_err(|e| failed(&e.to_string()))?;
        self.decoder.add_model(&name, file.path())?;
        self.decoder.choose(&name)?;
        self.searches.push((content, name));
        if self.searches.len() > SEARCHES {
            let (_, oldest) = self.searches.remove(0);
            self.decoder.remove(&oldest);
        }
        Ok(())
    }

    fn learn(&mut self, dictionary: &Dictionary, words: &BTreeSet<&str>) -> Result<(), RecognizeError> {
        for word in words {
            if self.words.contains(*word) {
                continue;
            }
            for (name, phones) in entries(dictionary, word) {
                self.decoder.add_word(&name, &phones)?;
            }
            self.words.insert((*word).to_owned());
        }
        Ok(())
    }
}

/// The dictionary's lines for a word, alternates numbered from 2.
fn entries(dictionary: &Dictionary, word: &str) -> Vec<(String, String)> {
    let named = |(n, phones): (usize, String)| match n {
        0 => (word.to_owned(), phones),
        n => (format!("{word}({})", n + 1), phones),
    };
    dictionary.pronounce(word).into_iter().enumerate().map(named).collect()
}

fn temporary(suffix: &str) -> Result<NamedTempFile, RecognizeError> {
    tempfile::Builder::new()
        .prefix("antiphon-")
        .suffix(suffix)
        .tempfile()
        .map_err(|e| failed(&format!("a temporary file: {e}")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole after each statement, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Debian's `pocketsphinx-en-us`.
pub(super) fn debian() -> SphinxModel {
    let folder = PathBuf::from("/usr/share/pocketsphinx/model/en-us");
    SphinxModel {
        language: "en".to_owned(),
        rate_hz: 16_000,
        acoustic: folder.join("en-us"),
        dictionary: folder.join("cmudict-en-us.dict"),
        language_model: Some(folder.join("en-us.lm.bin")),
    }
}
