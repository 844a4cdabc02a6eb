//! A cache on disk in front of any voice: what was said once is read back, not made again.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use antiphon_media_frame::{AudioBuf, MediaTime, SampleRate, Span};
use antiphon_models_speech::{SpeechRequest, SpeechStream, SynthesizeError, Synthesizer};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::settings::CacheSettings;
use crate::wav;

const NAME: &str = "cache";
/// Sound handed out at a time when it comes from disk.
const CHUNK: Span = Span::from_millis(100);
/// Unfinished files older than this were left by a process that died.
const ABANDONED: Duration = Duration::from_secs(3_600);
const UNFINISHED: &str = ".making-";

/// A voice with a memory. Files are named by a hash of engine, variant, voice, language and text, written under
/// another name and renamed when complete, so that a reader never sees half a prompt. Two requests for the same new
/// text at once are both synthesised; the later file replaces the equal earlier one.
pub struct CachedSynthesizer {
    voice: Arc<dyn Synthesizer>,
    variant: String,
    store: Arc<Store>,
}

impl CachedSynthesizer {
    /// Puts a cache in front of `voice`. `variant` names what else the sound depends on (the engine's version, its
    /// default voice), so that a change of it does not play old sound.
    ///
    /// # Errors
    /// [`SynthesizeError::Engine`] where the folder cannot be made.
    pub fn new(
        voice: Arc<dyn Synthesizer>,
        variant: &str,
        settings: &CacheSettings,
    ) -> Result<Self, SynthesizeError> {
        fs::create_dir_all(&settings.folder)
            .map_err(|e| failure(&format!("{}: {e}", settings.folder.display())))?;
        let store = Store { folder: settings.folder.clone(), bytes: settings.bytes, tidying: Mutex::new(()) };
        Ok(Self { voice, variant: variant.to_owned(), store: Arc::new(store) })
    }

    fn path(&self, request: &SpeechRequest) -> PathBuf {
        let mut hash = Sha256::new();
        for part in [
            self.voice.name(),
            &self.variant,
            request.voice.as_deref().unwrap_or_default(),
            request.language.tag(),
            &request.text,
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let name: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
        self.store.folder.join(format!("{name}.wav"))
    }
}

impl Synthesizer for CachedSynthesizer {
    fn name(&self) -> &'static str {
        self.voice.name()
    }

    fn speak(&self, request: &SpeechRequest) -> Result<Box<dyn SpeechStream>, SynthesizeError> {
        let path = self.path(request);
        if let Some(stored) = Stored::open(&path) {
            return Ok(Box::new(stored));
        }
        let inner = self.voice.speak(request)?;
        let copy = Copy::begin(&self.store, path, inner.rate());
        Ok(Box::new(Copying { inner, copy }))
    }
}

struct Store {
    folder: PathBuf,
    bytes: u64,
    /// One thread tidies at a time.
    tidying: Mutex<()>,
}

impl Store {
    /// Removes the files used longest ago until the folder holds no more than it may, and what dead processes left.
    fn tidy(&self) -> io::Result<()> {
        let Ok(_alone) = self.tidying.try_lock() else { return Ok(()) };
        let now = now();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have removed it meanwhile.
            let Ok(meta) = entry.metadata() else { continue };
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(UNFINISHED) {
                if now.duration_since(used).is_ok_and(|age| age > ABANDONED) {
                    let _ = fs::remove_file(entry.path());
                }
            } else if name.ends_with(".wav") && meta.is_file() {
                files.push((used, meta.len(), entry.path()));
            }
        }
        files.sort();
        let mut held: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if held <= self.bytes {
                break;
            }
            match fs::remove_file(&path) {
                Ok(()) => held -= bytes,
                Err(e) if e.kind() == io::ErrorKind::NotFound => held -= bytes,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A prompt read back from disk.
struct Stored {
    file: BufReader<File>,
    rate: SampleRate,
    left: usize,
    at: MediaTime,
}

impl Stored {
    /// `None` where the file is not there or not whole: it is then made again.
    fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut file = BufReader::new(file);
        let format = wav::read_header(&mut file).ok()?;
        let whole = u64::from(format.bytes) + wav::HEADER as u64 == length;
        if !whole || format.bytes == 0 || !format.bytes.is_multiple_of(2) {
            return None;
        }
        // The time of use orders the files when the folder is full; where it cannot be set the order is by age.
        let _ = file.get_ref().set_modified(now());
        Some(Self { file, rate: format.rate, left: format.bytes as usize, at: MediaTime::ZERO })
    }
}

impl SpeechStream for Stored {
    fn rate(&self) -> SampleRate {
        self.rate
    }

    fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; self.left.min(self.rate.samples(CHUNK).max(1) * 2)];
        self.file.read_exact(&mut bytes).map_err(|e| failure(&e.to_string()))?;
        self.left -= bytes.len();
        let pcm = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let mut chunk = AudioBuf::voice(pcm, self.rate);
        chunk.at = self.at;
        self.at += chunk.span();
        Ok(Some(chunk))
    }
}

/// A prompt being made, copied to disk as it goes.
struct Copying {
    inner: Box<dyn SpeechStream>,
    /// `None` once complete, or where the disk failed: the caller is spoken to all the same.
    copy: Option<Copy>,
}

impl SpeechStream for Copying {
    fn rate(&self) -> SampleRate {
        self.inner.rate()
    }

    fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError> {
        let chunk = match self.inner.next_chunk() {
            Ok(chunk) => chunk,
            Err(e) => {
                self.copy = None;
                return Err(e);
            }
        };
        let Some(mut copy) = self.copy.take() else { return Ok(chunk) };
        let result = match &chunk {
            Some(chunk) => copy.add(&chunk.pcm).map(|kept| self.copy = kept.then_some(copy)),
            None => copy.finish(),
        };
        if let Err(e) = result {
            tracing::warn!(error = %e, "a prompt could not be cached");
        }
        Ok(chunk)
    }
}

struct Copy {
    store: Arc<Store>,
    file: NamedTempFile,
    path: PathBuf,
    rate: SampleRate,
    bytes: u32,
}

impl Copy {
    fn begin(store: &Arc<Store>, path: PathBuf, rate: SampleRate) -> Option<Self> {
        let begun =
            tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&store.folder).and_then(|mut file| {
                file.write_all(&wav::header(rate, 0))?;
                Ok(file)
            });
        match begun {
            Ok(file) => Some(Self { store: Arc::clone(store), file, path, rate, bytes: 0 }),
            Err(e) => {
                tracing::warn!(error = %e, "a prompt could not be cached");
                None
            }
        }
    }

    /// Returns whether to go on: a prompt larger than the whole cache is not kept.
    fn add(&mut self, pcm: &[i16]) -> io::Result<bool> {
        let bytes: Vec<u8> = pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
        let total = u64::from(self.bytes) + bytes.len() as u64;
        if total + wav::HEADER as u64 > self.store.bytes.min(u64::from(u32::MAX / 2)) {
            return Ok(false);
        }
        self.file.write_all(&bytes)?;
        self.bytes = total as u32;
        Ok(true)
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&wav::header(self.rate, self.bytes))?;
        self.file.flush()?;
        self.file.persist(&self.path).map_err(|e| e.error)?;
        self.store.tidy()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "file times are kept by the wall clock; no call depends on them"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn failure(message: &str) -> SynthesizeError {
    SynthesizeError::Engine { engine: NAME, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use antiphon_models_speech::Language;

    use super::*;

    /// Says as many samples as the text has letters times 100, each the letter's number; "fail" fails half way.
    #[derive(Default)]
    struct Speller {
        spoken: AtomicUsize,
    }

    struct Spelling {
        letters: std::vec::IntoIter<char>,
        fails: bool,
    }

    impl Synthesizer for Speller {
        fn name(&self) -> &'static str {
            "speller"
        }

        fn speak(&self, request: &SpeechRequest) -> Result<Box<dyn SpeechStream>, SynthesizeError> {
            self.spoken.fetch_add(1, Ordering::Relaxed);
            let letters: Vec<char> = request.text.chars().collect();
            Ok(Box::new(Spelling { letters: letters.into_iter(), fails: request.text == "fail" }))
        }
    }

    impl SpeechStream for Spelling {
        fn rate(&self) -> SampleRate {
            SampleRate::HZ_8000
        }

        fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError> {
            let Some(letter) = self.letters.next() else { return Ok(None) };
            if self.fails && letter == 'i' {
                return Err(failure("as told"));
            }
            Ok(Some(AudioBuf::voice(vec![letter as i16; 100], SampleRate::HZ_8000)))
        }
    }

    struct Bench {
        folder: tempfile::TempDir,
        speller: Arc<Speller>,
        cache: CachedSynthesizer,
    }

    fn bench(bytes: u64) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let speller = Arc::<Speller>::default();
        let settings = CacheSettings { folder: folder.path().join("prompts"), bytes };
        let voice: Arc<dyn Synthesizer> = Arc::<Speller>::clone(&speller);
        let cache = CachedSynthesizer::new(voice, "1", &settings).expect("a cache");
        Bench { folder, speller, cache }
    }

    fn request(text: &str) -> SpeechRequest {
        SpeechRequest { text: text.to_owned(), language: Language::english(), voice: None }
    }

    impl Bench {
        fn say(&self, text: &str) -> Vec<i16> {
            let mut stream = self.cache.speak(&request(text)).expect("speech");
            let mut pcm = Vec::new();
            while let Some(chunk) = stream.next_chunk().expect("no failure") {
                pcm.extend(chunk.pcm);
            }
            pcm
        }

        fn spoken(&self) -> usize {
            self.speller.spoken.load(Ordering::Relaxed)
        }

        fn files(&self) -> usize {
            fs::read_dir(self.folder.path().join("prompts")).expect("the folder").count()
        }
    }

    #[test]
    fn the_second_time_comes_from_disk_and_is_equal() {
        let bench = bench(1 << 20);
        let first = bench.say("welcome to the bank of examples");
        assert_eq!(bench.say("welcome to the bank of examples"), first);
        assert_eq!((bench.spoken(), bench.files()), (1, 1));
        bench.say("another");
        assert_eq!((bench.spoken(), bench.files()), (2, 2));
    }

    #[test]
    fn damaged_files_are_made_again() {
        let bench = bench(1 << 20);
        let first = bench.say("hello");
        let path = bench.cache.path(&request("hello"));
        for damage in [0usize, 10, 44, 101] {
            let file = fs::OpenOptions::new().write(true).open(&path).expect("the file");
            file.set_len(damage as u64).expect("cut");
            assert_eq!(bench.say("hello"), first, "cut to {damage}");
            assert!(Stored::open(&path).is_some(), "whole again");
        }
        assert_eq!(bench.spoken(), 5);
    }

    #[test]
    fn failures_and_dropped_streams_leave_nothing() {
        let bench = bench(1 << 20);
        let mut stream = bench.cache.speak(&request("fail")).expect("speech");
        let end = std::iter::from_fn(|| stream.next_chunk().transpose()).find(Result::is_err);
        assert!(end.is_some());
        let mut dropped = bench.cache.speak(&request("dropped")).expect("speech");
        dropped.next_chunk().expect("a chunk");
        drop((stream, dropped));
        assert_eq!(bench.files(), 0);
    }

    #[test]
    fn the_folder_never_holds_more_than_it_may() {
        // Each one-letter prompt is 244 bytes: room for three.
        let bench = bench(800);
        for (age, text) in ["a", "b", "c"].into_iter().enumerate() {
            bench.say(text);
            let file = File::open(bench.cache.path(&request(text))).expect("the file");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(age as u64)).expect("a time");
        }
        bench.say("a");
        bench.say("d");
        let kept = |text| bench.cache.path(&request(text)).exists();
        assert_eq!((kept("a"), kept("b"), kept("c"), kept("d")), (true, false, true, true));
        bench.say("longer than the cache");
        assert!(!kept("longer than the cache"));
    }

    #[test]
    fn language_voice_and_variant_are_different_prompts() {
        let bench = bench(1 << 20);
        let base = request("one");
        let other_language =
            SpeechRequest { language: Language::parse("zh").expect("a tag"), ..base.clone() };
        let other_voice = SpeechRequest { voice: Some("kal".to_owned()), ..base.clone() };
        let voice: Arc<dyn Synthesizer> = Arc::<Speller>::clone(&bench.speller);
        let settings = CacheSettings { folder: bench.cache.store.folder.clone(), bytes: 1 << 20 };
        let next = CachedSynthesizer::new(voice, "2", &settings).expect("a cache");
        let paths = std::collections::HashSet::from([
            bench.cache.path(&base),
            bench.cache.path(&other_language),
            bench.cache.path(&other_voice),
            next.path(&base),
        ]);
        assert_eq!(paths.len(), 4);
    }
}
