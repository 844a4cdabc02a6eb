//! English voices by flite 2.2 (BSD-like licence), linked.
//!
//! A thread an utterance speaks a sentence at a time and hands sound over as it is made (flite's audio stream), so that
//! the first word of a long prompt is not kept back by its last. Flite's lexicon and feature code keep unguarded
//! globals, so one sentence is made at a time in the whole process; the cache in front makes that bearable.

#![expect(unsafe_code, reason = "flite is a C library")]
#![allow(
    clippy::disallowed_methods,
    reason = "the engine computes on a thread of its own, so that its caller streams"
)]

mod ffi;
mod text;

use std::collections::VecDeque;
use std::ffi::{CString, c_int};
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use antiphon_media_frame::{AudioBuf, MediaTime, SampleRate, Span};
use antiphon_models_speech::{SpeechRequest, SpeechStream, SynthesizeError, Synthesizer};

const NAME: &str = "flite";
/// Sound made ahead of its reader before the maker waits; it waits between sentences only, so that no reader holds
/// the engine.
const AHEAD: Span = Span::from_secs(10);
/// Sound handed out at a time.
const CHUNK: Span = Span::from_millis(100);
/// Prompts being made at once; more are refused, since they only queue for the one engine.
const MAKERS: usize = 64;

/// The voices, the default first.
const VOICES: [&str; 5] = ["slt", "rms", "awb", "kal16", "kal"];

/// The flite engine.
pub struct Flite {
    voice: &'static str,
    makers: Arc<Mutex<usize>>,
}

impl Flite {
    /// Opens flite with a default voice: `slt` (16 kHz, the default), `rms`, `awb`, `kal16` or `kal` (8 kHz).
    ///
    /// # Errors
    /// [`SynthesizeError::Voice`] for another name.
    pub fn open(voice: Option<&str>) -> Result<Self, SynthesizeError> {
        Ok(Self { voice: named(voice.unwrap_or(VOICES[0]))?, makers: Arc::default() })
    }

    /// The names of its voices, the default first.
    #[must_use]
    pub fn voices() -> &'static [&'static str] {
        &VOICES
    }
}

impl Synthesizer for Flite {
    fn name(&self) -> &'static str {
        NAME
    }

    fn speak(&self, request: &SpeechRequest) -> Result<Box<dyn SpeechStream>, SynthesizeError> {
        let voice = request.voice.as_deref().map_or(Ok(self.voice), named)?;
        if request.language.primary() != "en" {
            return Err(SynthesizeError::Voice {
                engine: NAME,
                voice: format!("for {}", request.language.tag()),
                advice: "flite speaks English; espeak speaks most languages".to_owned(),
            });
        }
        let sentences = text::sentences(&request.text)
            .map_err(|reason| SynthesizeError::Text { engine: NAME, reason: reason.to_owned() })?;
        let maker = Maker::admit(&self.makers)?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("flite".to_owned())
            .spawn(move || {
                let _maker = maker;
                make(voice, &sentences, &theirs);
            })
            .map_err(|e| failure(&e.to_string()))?;
        let rate = if voice == "kal" { SampleRate::HZ_8000 } else { SampleRate::HZ_16000 };
        Ok(Box::new(Stream { shared, rate, at: MediaTime::ZERO }))
    }
}

fn named(voice: &str) -> Result<&'static str, SynthesizeError> {
    VOICES.into_iter().find(|known| *known == voice).ok_or_else(|| SynthesizeError::Voice {
        engine: NAME,
        voice: format!("{voice:?}"),
        advice: format!("it has {}", VOICES.join(", ")),
    })
}

fn failure(message: &str) -> SynthesizeError {
    SynthesizeError::Engine { engine: NAME, message: message.to_owned() }
}

/// Counts the utterances being made.
struct Maker(Arc<Mutex<usize>>);

impl Maker {
    fn admit(count: &Arc<Mutex<usize>>) -> Result<Self, SynthesizeError> {
        let mut busy = lock(count);
        if *busy >= MAKERS {
            return Err(failure("too many prompts at once"));
        }
        *busy += 1;
        Ok(Self(Arc::clone(count)))
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        *lock(&self.0) -= 1;
    }
}

#[derive(Default)]
struct Shared {
    sound: Mutex<Sound>,
    changed: Condvar,
}

#[derive(Default)]
struct Sound {
    ready: VecDeque<i16>,
    finished: bool,
    /// The reader is gone.
    dropped: bool,
    error: Option<String>,
}

struct Stream {
    shared: Arc<Shared>,
    rate: SampleRate,
    at: MediaTime,
}

impl SpeechStream for Stream {
    fn rate(&self) -> SampleRate {
        self.rate
    }

    fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError> {
        let mut sound = lock(&self.shared.sound);
        while sound.ready.is_empty() && !sound.finished {
            sound = self.shared.changed.wait(sound).unwrap_or_else(PoisonError::into_inner);
        }
        if sound.ready.is_empty() {
            return sound.error.take().map_or(Ok(None), |message| Err(failure(&message)));
        }
        let count = sound.ready.len().min(self.rate.samples(CHUNK));
        let mut chunk = AudioBuf::voice(sound.ready.drain(..count).collect(), self.rate);
        drop(sound);
        self.shared.changed.notify_all();
        chunk.at = self.at;
        self.at += chunk.span();
        Ok(Some(chunk))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.shared.sound).dropped = true;
        self.shared.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole after each statement, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The maker's thread.
fn make(voice: &'static str, sentences: &[CString], shared: &Shared) {
    // 16 kHz is the higher of the two rates: at 8 kHz the maker runs twice as far ahead.
    let ahead = SampleRate::HZ_16000.samples(AHEAD);
    let mut error = None;
    for sentence in sentences {
        let mut sound = lock(&shared.sound);
        while sound.ready.len() > ahead && !sound.dropped {
            sound = shared.changed.wait(sound).unwrap_or_else(PoisonError::into_inner);
        }
        if sound.dropped {
            return;
        }
        drop(sound);
        if let Err(message) = library().say(voice, sentence, shared) {
            error = Some(message.to_owned());
            break;
        }
    }
    let mut sound = lock(&shared.sound);
    sound.finished = true;
    sound.error = error;
    drop(sound);
    shared.changed.notify_all();
}

/// The one flite of the process, its voices loaded as they are first used and kept.
#[derive(Default)]
struct Library {
    voices: Vec<(&'static str, NonNull<ffi::Voice>)>,
}

// SAFETY: the voices are used by one thread at a time, under the mutex of `library`; flite ties nothing to a thread.
unsafe impl Send for Library {}

fn library() -> MutexGuard<'static, Library> {
    static LIBRARY: OnceLock<Mutex<Library>> = OnceLock::new();
    lock(LIBRARY.get_or_init(|| {
        // SAFETY: called once, before anything else of flite.
        unsafe { ffi::flite_init() };
        Mutex::default()
    }))
}

impl Library {
    fn voice(&mut self, name: &'static str) -> Option<NonNull<ffi::Voice>> {
        if let Some((_, voice)) = self.voices.iter().find(|(known, _)| *known == name) {
            return Some(*voice);
        }
        let none = std::ptr::null();
        // SAFETY: the folder argument may be null for compiled-in voices; the mutex keeps registration to one thread.
        let voice = unsafe {
            match name {
                "slt" => ffi::register_cmu_us_slt(none),
                "rms" => ffi::register_cmu_us_rms(none),
                "awb" => ffi::register_cmu_us_awb(none),
                "kal16" => ffi::register_cmu_us_kal16(none),
                _ => ffi::register_cmu_us_kal(none),
            }
        };
        let voice = NonNull::new(voice)?;
        self.voices.push((name, voice));
        Some(voice)
    }

    fn say(&mut self, name: &'static str, sentence: &CString, shared: &Shared) -> Result<(), &'static str> {
        let voice = self.voice(name).ok_or("the voice could not be loaded")?;
        let mut delivery = Delivery { shared, samples: 0 };
        // SAFETY: the voice is registered and never freed; the streaming record is owned by the voice's features once
        // set there and freed by their removal; `delivery` outlives the synthesis, which is over when the call
        // returns; the wave is ours to free and its samples are read before that.
        unsafe {
            let info = ffi::new_audio_streaming_info();
            let Some(record) = info.as_mut() else { return Err("out of memory") };
            record.min_buffsize = 800;
            record.asc = Some(deliver);
            record.userdata = (&raw mut delivery).cast();
            let features = voice.as_ref().features;
            ffi::flite_feat_set(features, c"streaming_info".as_ptr(), ffi::audio_streaming_info_val(info));
            let wave = ffi::flite_text_to_wave(sentence.as_ptr(), voice.as_ptr());
            ffi::flite_feat_remove(features, c"streaming_info".as_ptr());
            // A wave that the reader stopped may be missing; that is no failure.
            let Some(whole) = wave.as_ref() else {
                return if lock(&shared.sound).dropped { Ok(()) } else { Err("no sound was made") };
            };
            let made = usize::try_from(whole.num_samples).unwrap_or(0);
            // Voices that do not stream, and what remained after the last full buffer.
            if !whole.samples.is_null() && made > delivery.samples && !lock(&shared.sound).dropped {
                let all = std::slice::from_raw_parts(whole.samples, made);
                delivery.add(&all[delivery.samples..]);
            }
            ffi::delete_wave(wave);
        }
        Ok(())
    }
}

struct Delivery<'a> {
    shared: &'a Shared,
    samples: usize,
}

impl Delivery<'_> {
    fn add(&mut self, pcm: &[i16]) -> c_int {
        self.samples += pcm.len();
        let mut sound = lock(&self.shared.sound);
        sound.ready.extend(pcm);
        let dropped = sound.dropped;
        drop(sound);
        self.shared.changed.notify_all();
        if dropped { ffi::STREAM_STOP } else { ffi::STREAM_CONTINUE }
    }
}

unsafe extern "C" fn deliver(
    wave: *const ffi::Wave,
    start: c_int,
    size: c_int,
    _last: c_int,
    info: *mut ffi::StreamingInfo,
) -> c_int {
    // SAFETY: flite calls with the wave under way, a stretch inside it, and the record `say` made, whose user data is
    // its `Delivery`, alive until the synthesis returns.
    unsafe {
        let delivery = (*info).userdata.cast::<Delivery<'_>>();
        let (Ok(start), Ok(size)) = (usize::try_from(start), usize::try_from(size)) else {
            return ffi::STREAM_STOP;
        };
        // Where a stretch does not continue the last, the remainder is taken from the whole wave instead.
        if start != (*delivery).samples || (*wave).samples.is_null() {
            return ffi::STREAM_CONTINUE;
        }
        (*delivery).add(std::slice::from_raw_parts((*wave).samples.add(start), size))
    }
}

#[cfg(test)]
mod tests {
    use antiphon_models_speech::Language;

    use super::*;

    fn request(text: &str, voice: Option<&str>) -> SpeechRequest {
        SpeechRequest {
            text: text.to_owned(),
            language: Language::english(),
            voice: voice.map(str::to_owned),
        }
    }

    fn say(text: &str, voice: &str) -> (SampleRate, Vec<i16>) {
        let mut stream =
            Flite::open(None).expect("flite").speak(&request(text, Some(voice))).expect("speech");
        let mut pcm = Vec::new();
        while let Some(chunk) = stream.next_chunk().expect("no failure") {
            assert_eq!(chunk.at.millis(), stream.rate().span(pcm.len()).millis() as i64);
            pcm.extend(chunk.pcm);
        }
        (stream.rate(), pcm)
    }

    #[test]
    fn every_voice_says_a_line_of_plausible_length() {
        for voice in Flite::voices() {
            let (rate, pcm) = say("Welcome to the bank. How may I help you today?", voice);
            let millis = rate.span(pcm.len()).millis();
            assert!((1_500..6_000).contains(&millis), "{voice}: {millis} ms");
            assert!(pcm.iter().any(|s| s.unsigned_abs() > 3_000), "{voice} is audible");
        }
    }

    #[test]
    fn sums_are_read_out_as_words() {
        let (rate, sum) = say("your balance is $1,234.50", "slt");
        let (_, words) =
            say("your balance is one thousand two hundred thirty four dollars fifty cents", "slt");
        let (sum, words) = (rate.span(sum.len()).millis(), rate.span(words.len()).millis());
        assert!(sum.abs_diff(words) < 300, "{sum} ms against {words} ms");
    }

    #[test]
    fn the_first_chunk_of_a_long_prompt_comes_before_its_end_and_dropping_stops_it() {
        let flite = Flite::open(None).expect("flite");
        let long = "This sentence is said again and again until nobody listens. ".repeat(160);
        let mut stream = flite.speak(&request(&long, None)).expect("speech");
        stream.next_chunk().expect("no failure").expect("sound");
        let makers = Arc::clone(&flite.makers);
        assert_eq!(*lock(&makers), 1, "still being made");
        drop(stream);
        // The maker stops within a buffer; the next utterance gets the engine.
        let (_, pcm) = say("yes", "slt");
        assert!(!pcm.is_empty());
    }

    #[test]
    fn many_threads_speak_at_once_without_mixing() {
        let (_, expected) = say("thank you for calling", "rms");
        thread::scope(|scope| {
            for voice in ["rms", "kal", "rms"] {
                let expected = &expected;
                scope.spawn(move || {
                    let (_, pcm) = say("thank you for calling", voice);
                    // The vocoder's noise differs from run to run; the length does not.
                    assert!(voice != "rms" || pcm.len() == expected.len());
                });
            }
        });
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let flite = Flite::open(None).expect("flite");
        for bad in ["", " \n", "。", &"x".repeat(SpeechRequest::LONGEST + 1)] {
            assert!(
                matches!(flite.speak(&request(bad, None)), Err(SynthesizeError::Text { .. })),
                "{bad:.9}"
            );
        }
        assert!(matches!(flite.speak(&request("hi", Some("siri"))), Err(SynthesizeError::Voice { .. })));
        let chinese =
            SpeechRequest { language: Language::parse("zh").expect("a tag"), ..request("hi", None) };
        assert!(matches!(flite.speak(&chinese), Err(SynthesizeError::Voice { .. })));
        assert!(Flite::open(Some("nobody")).is_err());
    }
}
