//! A safe face on one decoder of the C library.

#![expect(unsafe_code, reason = "pocketsphinx is a C library")]

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::sync::Once;

use antiphon_models_speech::RecognizeError;

use super::{NAME, ffi};

/// One word of a result, in frames of 10 ms since the utterance began.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) word: String,
    pub(super) first: usize,
    /// The last frame that belongs to it.
    pub(super) last: usize,
    /// Posterior probability, 0 to 1.
    pub(super) posterior: f64,
}

/// A decoder: an acoustic model, a dictionary, and any number of named searches of which one is in force.
pub(super) struct Decoder {
    raw: NonNull<ffi::Decoder>,
    /// The cepstral mean it was made with, to begin each stream from.
    first_mean: Vec<f32>,
}

// SAFETY: the library keeps no thread-local state, and a decoder shares nothing with another but mapped read-only
// files; `&mut self` keeps it to one thread at a time.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Loads a model. `arguments` are name and value in turn.
    pub(super) fn new(arguments: &[(&str, &str)]) -> Result<Self, RecognizeError> {
        silence();
        let mut words = vec![c"antiphon".to_owned()];
        for (name, value) in arguments {
            words.push(text(name)?);
            words.push(text(value)?);
        }
        let mut pointers: Vec<*mut c_char> = words.iter().map(|w| w.as_ptr().cast_mut()).collect();
        let count = i32::try_from(pointers.len()).map_err(|_| failed("too many arguments"))?;
        // SAFETY: the argument vector lives through the call, which copies what it keeps; a configuration that parsed
        // is retained by the decoder, so our reference is given back.
        let raw = unsafe {
            let config = ffi::cmd_ln_parse_r(null_mut(), ffi::ps_args(), count, pointers.as_mut_ptr(), 1);
            if config.is_null() {
                return Err(failed("its settings were refused"));
            }
            let raw = ffi::ps_init(config);
            ffi::cmd_ln_free_r(config);
            raw
        };
        let raw = NonNull::new(raw)
            .ok_or_else(|| failed("the acoustic model or dictionary could not be loaded"))?;
        let mut decoder = Self { raw, first_mean: Vec::new() };
        decoder.first_mean = decoder.mean();
        Ok(decoder)
    }

    fn cmn(&self) -> Option<NonNull<ffi::Cmn>> {
        // SAFETY: the decoder is alive and its features are its own.
        unsafe { ffi::ps_get_feat(self.raw.as_ptr()).as_ref() }.and_then(|f| NonNull::new(f.cmn_struct))
    }

    /// The cepstral mean now subtracted.
    pub(super) fn mean(&self) -> Vec<f32> {
        let Some(cmn) = self.cmn() else { return Vec::new() };
        // SAFETY: `cmn` is the live record of this decoder, and the buffer has the length it names.
        unsafe {
            let mut mean = vec![0.0; usize::try_from(cmn.as_ref().veclen).unwrap_or(0)];
            ffi::cmn_live_get(cmn.as_ptr(), mean.as_mut_ptr());
            mean
        }
    }

    /// Puts the cepstral mean and the noise estimate back to what a new decoder has.
    pub(super) fn begin_stream(&mut self, mean: Option<&[f32]>) {
        let mean = mean.unwrap_or(&self.first_mean);
        if let Some(cmn) = self.cmn() {
            // SAFETY: as in `mean`; the length is compared first.
            unsafe {
                if usize::try_from(cmn.as_ref().veclen).is_ok_and(|length| length == mean.len()) {
                    ffi::cmn_live_set(cmn.as_ptr(), mean.as_ptr());
                }
            }
        }
        // SAFETY: the decoder is alive and between utterances.
        unsafe { ffi::ps_start_stream(self.raw.as_ptr()) };
    }

    /// Adds a word to the dictionary; a second pronunciation is named `word(2)`. Takes effect in searches made later.
    pub(super) fn add_word(&mut self, word: &str, phones: &str) -> Result<(), RecognizeError> {
        let (word, phones) = (text(word)?, text(phones)?);
        // SAFETY: both strings live through the call, which copies them.
        let id = unsafe { ffi::ps_add_word(self.raw.as_ptr(), word.as_ptr(), phones.as_ptr(), 0) };
        if id < 0 { Err(failed("a word was refused")) } else { Ok(()) }
    }

    /// Makes a search from a language model file.
    pub(super) fn add_model(&mut self, name: &str, path: &Path) -> Result<(), RecognizeError> {
        let (name, path) = (text(name)?, text(&path.to_string_lossy())?);
        // SAFETY: both strings live through the call.
        let result = unsafe { ffi::ps_set_lm_file(self.raw.as_ptr(), name.as_ptr(), path.as_ptr()) };
        if result < 0 { Err(failed("the language model could not be loaded")) } else { Ok(()) }
    }

    /// Puts a search in force. Only between utterances.
    pub(super) fn choose(&mut self, name: &str) -> Result<(), RecognizeError> {
        let name = text(name)?;
        // SAFETY: the string lives through the call.
        let result = unsafe { ffi::ps_set_search(self.raw.as_ptr(), name.as_ptr()) };
        if result < 0 { Err(failed("the search is not there")) } else { Ok(()) }
    }

    /// Frees a search that is not in force.
    pub(super) fn remove(&mut self, name: &str) {
        if let Ok(name) = text(name) {
            // SAFETY: the string lives through the call; an unknown name is refused there.
            unsafe { ffi::ps_unset_search(self.raw.as_ptr(), name.as_ptr()) };
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), RecognizeError> {
        // SAFETY: the decoder is alive; a second begin is refused by the library.
        let result = unsafe { ffi::ps_start_utt(self.raw.as_ptr()) };
        if result < 0 { Err(failed("an utterance could not begin")) } else { Ok(()) }
    }

    pub(super) fn process(&mut self, pcm: &[i16]) -> Result<(), RecognizeError> {
        // SAFETY: the samples live through the call and are only read.
        let result = unsafe { ffi::ps_process_raw(self.raw.as_ptr(), pcm.as_ptr(), pcm.len(), 0, 0) };
        if result < 0 { Err(failed("sound was refused")) } else { Ok(()) }
    }

    pub(super) fn end(&mut self) -> Result<(), RecognizeError> {
        // SAFETY: the decoder is alive; an end without a begin is refused by the library.
        let result = unsafe { ffi::ps_end_utt(self.raw.as_ptr()) };
        if result < 0 { Err(failed("an utterance could not end")) } else { Ok(()) }
    }

    /// The words so far, or of the whole utterance once it has ended, without fillers.
    pub(super) fn hypothesis(&mut self) -> Option<String> {
        // SAFETY: the string returned is the decoder's and is copied at once.
        unsafe {
            let words = ffi::ps_get_hyp(self.raw.as_ptr(), null_mut());
            (!words.is_null()).then(|| CStr::from_ptr(words).to_string_lossy().into_owned())
        }
    }

    /// All segments, fillers included. The library counts frames from the start of the stream; here they count from the
    /// start of the utterance, which its first segment always is.
    pub(super) fn segments(&mut self) -> Vec<Segment> {
        let mut out = Vec::new();
        let mut origin = None;
        // SAFETY: the iterator frees itself when it runs out, which the loop always lets it do; each word is copied
        // while its segment is current.
        unsafe {
            let math = ffi::ps_get_logmath(self.raw.as_ptr());
            let mut segment = ffi::ps_seg_iter(self.raw.as_ptr());
            while !segment.is_null() {
                let word = ffi::ps_seg_word(segment);
                let (mut first, mut last) = (0, 0);
                ffi::ps_seg_frames(segment, &raw mut first, &raw mut last);
                let origin = *origin.get_or_insert(first);
                let log = ffi::ps_seg_prob(segment, null_mut(), null_mut(), null_mut());
                if !word.is_null() {
                    out.push(Segment {
                        word: CStr::from_ptr(word).to_string_lossy().into_owned(),
                        first: usize::try_from(first - origin).unwrap_or(0),
                        last: usize::try_from(last - origin).unwrap_or(0),
                        posterior: ffi::logmath_exp(math, log).clamp(0.0, 1.0),
                    });
                }
                segment = ffi::ps_seg_next(segment);
            }
        }
        out
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the one reference that `new` was given.
        unsafe { ffi::ps_free(self.raw.as_ptr()) };
    }
}

/// The words of a language model with their probabilities, likeliest first; fillers and unknown-word marks left out.
pub(super) fn unigrams(path: &Path) -> Result<Vec<(String, f64)>, RecognizeError> {
    silence();
    let path = text(&path.to_string_lossy())?;
    let mut out = Vec::new();
    // SAFETY: the model is ours until freed; ids run up to the count the model gives; words are copied.
    unsafe {
        let math = ffi::logmath_init(1.0001, 0, 0);
        let model = ffi::ngram_model_read(null_mut(), path.as_ptr(), ffi::NGRAM_AUTO, math);
        if model.is_null() {
            ffi::logmath_free(math);
            return Err(failed("the language model could not be loaded"));
        }
        let counts = ffi::ngram_model_get_counts(model);
        let count = if counts.is_null() { 0 } else { i32::try_from(*counts).unwrap_or(0) };
        for id in 0..count {
            let word = ffi::ngram_word(model, id);
            if word.is_null() {
                continue;
            }
            let word = CStr::from_ptr(word).to_string_lossy();
            if word.starts_with(['<', '[', '+']) || word.contains('(') {
                continue;
            }
            let mut used = 0;
            let log = ffi::ngram_ng_prob(model, id, std::ptr::null(), 0, &raw mut used);
            out.push((word.into_owned(), ffi::logmath_exp(math, log)));
        }
        ffi::ngram_model_free(model);
        ffi::logmath_free(math);
    }
    out.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(out)
}

/// The library writes pages to standard error unless told not to.
fn silence() {
    static ONCE: Once = Once::new();
    // SAFETY: null stands for no log.
    ONCE.call_once(|| unsafe { ffi::err_set_logfp(null_mut()) });
}

fn text(text: &str) -> Result<CString, RecognizeError> {
    CString::new(text).map_err(|_| failed("a text holds a zero byte"))
}

pub(super) fn failed(message: &str) -> RecognizeError {
    RecognizeError::Engine { engine: NAME, message: message.to_owned() }
}
