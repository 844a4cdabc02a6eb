//! Voices of a hundred languages by `espeak-ng`, run as a program: its licence (GPL) binds what links it.

#![allow(clippy::disallowed_methods, reason = "this engine is a subprocess with a time limit; it owns both")]

use std::io::{BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use antiphon_media_frame::{AudioBuf, MediaTime, SampleRate, Span};
use antiphon_models_speech::{SpeechRequest, SpeechStream, SynthesizeError, Synthesizer};

use crate::wav;

#[cfg(feature = "piper")]
mod phonemes;
#[cfg(feature = "piper")]
pub(crate) use phonemes::Phonemizer;

const NAME: &str = "espeak";
const PROGRAM: &str = "espeak-ng";
const ADVICE: &str = "apt-get install espeak-ng";
/// The Mandarin voice that reads pinyin as pinyin.
const PINYIN: &str = "cmn-latn-pinyin";
/// How long an utterance may take without a byte read by us. espeak-ng speaks 100 times faster than real time, and
/// a reader that plays as it reads empties the pipe (64 KiB, 1.5 s of sound) in less.
const STALL: Duration = Duration::from_secs(20);
/// The most sound one utterance may have: the longest text takes about ten minutes to say.
const LONGEST: Span = Span::from_secs(30 * 60);
/// Sound handed out at a time.
const CHUNK: Span = Span::from_millis(100);

/// The espeak-ng program.
pub struct Espeak {
    program: PathBuf,
    voice: Option<String>,
}

impl Espeak {
    /// Finds `espeak-ng` on `PATH`. `voice` is its default voice (`cmn`, `en-us`, `de`, …); the one for the request's
    /// language where `None`.
    ///
    /// # Errors
    /// [`SynthesizeError::Missing`] with what to install; [`SynthesizeError::Voice`] for a name no voice can have.
    pub fn open(voice: Option<&str>) -> Result<Self, SynthesizeError> {
        let program = program()?;
        let voice = voice.map(checked).transpose()?.map(str::to_owned);
        Ok(Self { program, voice })
    }
}

impl Synthesizer for Espeak {
    fn name(&self) -> &'static str {
        NAME
    }

    fn speak(&self, request: &SpeechRequest) -> Result<Box<dyn SpeechStream>, SynthesizeError> {
        if !request.text.chars().any(char::is_alphanumeric) {
            return Err(SynthesizeError::Text {
                engine: NAME,
                reason: "it has no letters or digits".to_owned(),
            });
        }
        if request.text.chars().count() > SpeechRequest::LONGEST {
            return Err(SynthesizeError::Text { engine: NAME, reason: "it is too long".to_owned() });
        }
        let of_language = voice_of(&request.language.primary(), request.language.tag());
        let voice = match (&request.voice, &self.voice) {
            (Some(voice), _) => checked(voice)?.to_owned(),
            (None, Some(voice)) => voice.clone(),
            (None, None) => of_language,
        };
        let voice = reading_pinyin(voice);
        let mut child = Command::new(&self.program)
            .args(["--stdout", "--stdin", "-b", "1", "-v", &voice])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failure(format!("{}: {e}", self.program.display())))?;
        let text: String = request.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // espeak-ng reads all of its input before it speaks, so the pipe never fills for good; a child that died
        // is told of below, by what it wrote.
        let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
        let Some(stdout) = child.stdout.take() else {
            return Err(failure("no pipe to read from".to_owned()));
        };
        let mut stream = Stream {
            stdout: BufReader::new(stdout),
            rate: SampleRate::HZ_16000,
            at: MediaTime::ZERO,
            ended: false,
            watch: Watch::begin(child)?,
        };
        match wav::read_header(&mut stream.stdout) {
            Ok(format) => stream.rate = format.rate,
            Err(e) => return Err(stream.watch.refusal(&voice, &e.to_string())),
        }
        if let Some(Err(e)) = written {
            return Err(failure(e.to_string()));
        }
        Ok(Box::new(stream))
    }
}

fn program() -> Result<PathBuf, SynthesizeError> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let program =
        std::env::split_paths(&folders).map(|folder| folder.join(PROGRAM)).find(|path| path.is_file());
    program.ok_or_else(|| SynthesizeError::Missing {
        engine: NAME,
        what: format!("program {PROGRAM}"),
        advice: ADVICE.to_owned(),
    })
}

/// Names that can stand on a command line and in espeak's own variants: `cmn`, `en-us+f3`, `gmw/en`.
fn checked(voice: &str) -> Result<&str, SynthesizeError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_+/".contains(&b);
    if voice.starts_with(|c: char| c.is_ascii_alphanumeric()) && voice.len() <= 64 && voice.bytes().all(fits)
    {
        return Ok(voice);
    }
    Err(unvoiced(voice))
}

/// espeak names most voices by the language's tag.
fn voice_of(primary: &str, tag: &str) -> String {
    let lower = tag.to_ascii_lowercase();
    match primary {
        "zh" if lower.contains("hk") => "yue".to_owned(),
        "zh" => PINYIN.to_owned(),
        "en" if lower == "en" => "en-us".to_owned(),
        "en" => lower,
        _ => primary.to_owned(),
    }
}

/// espeak-ng turns Chinese characters into pinyin and then reads the pinyin by the voice's rules for Latin letters:
/// the plain voice `cmn` reads it as English (1.51: 查 is said "cha five five"), so it is never meant.
fn reading_pinyin(voice: String) -> String {
    let (name, variant) = voice.find('+').map_or((voice.as_str(), ""), |at| voice.split_at(at));
    match name {
        "cmn" | "zh-cmn" | "sit/cmn" => format!("{PINYIN}{variant}"),
        _ => voice,
    }
}

fn unvoiced(voice: &str) -> SynthesizeError {
    SynthesizeError::Voice {
        engine: NAME,
        voice: format!("{voice:?}"),
        advice: "`espeak-ng --voices` lists its voices".to_owned(),
    }
}

fn failure(message: String) -> SynthesizeError {
    SynthesizeError::Engine { engine: NAME, message }
}

struct Stream {
    stdout: BufReader<ChildStdout>,
    rate: SampleRate,
    at: MediaTime,
    ended: bool,
    watch: Watch,
}

impl SpeechStream for Stream {
    fn rate(&self) -> SampleRate {
        self.rate
    }

    fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError> {
        if self.ended {
            return Ok(None);
        }
        let mut bytes = vec![0; self.rate.samples(CHUNK).max(1) * 2];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.stdout.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failure(e.to_string())),
            }
        }
        self.watch.feed();
        if filled < bytes.len() {
            self.ended = true;
            self.watch.outcome()?;
        }
        if self.at.since(MediaTime::ZERO) > LONGEST {
            self.ended = true;
            return Err(failure("the speech does not end".to_owned()));
        }
        let pcm: Vec<i16> =
            bytes[..filled].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        if pcm.is_empty() {
            return Ok(None);
        }
        let mut chunk = AudioBuf::voice(pcm, self.rate);
        chunk.at = self.at;
        self.at += chunk.span();
        Ok(Some(chunk))
    }
}

/// A thread that owns the child: kills it when its reader is gone or nothing moves, and always reaps it.
struct Watch {
    shared: Arc<Watched>,
    thread: Option<thread::JoinHandle<Option<String>>>,
}

#[derive(Default)]
struct Watched {
    fed: AtomicBool,
    over: Mutex<bool>,
    changed: Condvar,
}

impl Watch {
    fn begin(mut child: Child) -> Result<Self, SynthesizeError> {
        let shared = Arc::<Watched>::default();
        let theirs = Arc::clone(&shared);
        // The child is handed over only once the thread is known to run, so that a failure here can still reap it.
        let (give, take) = std::sync::mpsc::sync_channel::<Child>(1);
        let spawned = thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || take.recv().ok().and_then(|child| watch(child, &theirs)));
        match spawned {
            Ok(thread) => {
                give.send(child).map_err(|_| failure("the watching thread is gone".to_owned()))?;
                Ok(Self { shared, thread: Some(thread) })
            }
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failure(e.to_string()))
            }
        }
    }

    fn feed(&self) {
        self.shared.fed.store(true, Ordering::Relaxed);
    }

    /// Waits for the child's end and tells what it complained of.
    fn finish(&mut self) -> Option<String> {
        self.thread.take().and_then(|thread| thread.join().ok().flatten())
    }

    fn outcome(&mut self) -> Result<(), SynthesizeError> {
        self.finish().map_or(Ok(()), |complaint| Err(failure(complaint)))
    }

    fn refusal(&mut self, voice: &str, header: &str) -> SynthesizeError {
        match self.finish() {
            Some(complaint) if complaint.contains("voice") => unvoiced(voice),
            Some(complaint) => failure(complaint),
            None => failure(header.to_owned()),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.shared.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.changed.notify_all();
        let _ = self.finish();
    }
}

/// Returns what went wrong, if anything did.
fn watch(mut child: Child, shared: &Watched) -> Option<String> {
    /// How often an exit is looked for; the reader sees the end of the pipe on its own, so this delays no sound.
    const LOOK: Duration = Duration::from_millis(20);
    let mut fed = Instant::now();
    let mut stalled = false;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) => {}
            Err(_) => break None,
        }
        if shared.fed.swap(false, Ordering::Relaxed) {
            fed = Instant::now();
        }
        let over = shared.over.lock().unwrap_or_else(PoisonError::into_inner);
        stalled = fed.elapsed() > STALL;
        if *over || stalled {
            drop(over);
            let _ = child.kill();
            break child.wait().ok();
        }
        let _ = shared.changed.wait_timeout(over, LOOK);
    };
    if stalled {
        return Some(format!("nothing moved for {} s", STALL.as_secs()));
    }
    match status {
        Some(status) if status.success() => None,
        Some(status) => {
            let mut complaint = String::new();
            if let Some(stderr) = child.stderr.take() {
                let _ = stderr.take(1_000).read_to_string(&mut complaint);
            }
            Some(format!("{status}: {}", complaint.trim()))
        }
        None => Some("its end could not be learnt".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use antiphon_models_speech::Language;

    use super::*;

    fn espeak() -> Option<Espeak> {
        let found = Espeak::open(None);
        if let Err(e) = &found {
            #[expect(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("skipped: {e}");
            }
        }
        found.ok()
    }

    fn request(text: &str, language: &str, voice: Option<&str>) -> SpeechRequest {
        SpeechRequest {
            text: text.to_owned(),
            language: Language::parse(language).expect("a tag"),
            voice: voice.map(str::to_owned),
        }
    }

    fn say(espeak: &Espeak, request: &SpeechRequest) -> Result<u64, SynthesizeError> {
        let mut stream = espeak.speak(request)?;
        let mut pcm = Vec::new();
        while let Some(chunk) = stream.next_chunk()? {
            pcm.extend(chunk.pcm);
        }
        assert!(pcm.iter().any(|s| s.unsigned_abs() > 3_000), "audible");
        Ok(stream.rate().span(pcm.len()).millis())
    }

    #[test]
    fn mandarin_and_english_have_plausible_lengths() {
        let Some(espeak) = espeak() else { return };
        let millis =
            say(&espeak, &request("欢迎致电示例银行，请问需要什么帮助？", "zh-CN", None)).expect("speech");
        assert!((2_000..9_000).contains(&millis), "{millis} ms");
        let millis = say(&espeak, &request("Good morning.", "en", None)).expect("speech");
        assert!((400..2_500).contains(&millis), "{millis} ms");
    }

    #[test]
    fn mandarin_is_never_read_by_english_rules() {
        assert_eq!(reading_pinyin(voice_of("zh", "zh-CN")), PINYIN);
        assert_eq!(reading_pinyin("cmn+f3".to_owned()), "cmn-latn-pinyin+f3");
        assert_eq!(reading_pinyin("yue".to_owned()), "yue");
        let Some(espeak) = espeak() else { return };
        // Four syllables; the numbers of the tones, read out in English, would take three seconds.
        for voice in [None, Some("cmn")] {
            let millis = say(&espeak, &request("查询余额", "zh-CN", voice)).expect("speech");
            assert!((700..1_400).contains(&millis), "{millis} ms");
        }
    }

    #[test]
    fn a_text_cannot_become_an_option_and_a_voice_cannot_become_a_path() {
        let Some(espeak) = espeak() else { return };
        say(&espeak, &request("--help -f /etc/passwd", "en", None)).expect("speech");
        for voice in ["-f", "../x y", "", "klingon-nobody"] {
            let refused = espeak.speak(&request("hello", "en", Some(voice))).map(|_| ()).expect_err(voice);
            assert!(matches!(refused, SynthesizeError::Voice { .. }), "{voice}: {refused}");
        }
        assert!(espeak.speak(&request("\u{7} …", "en", None)).is_err());
    }

    #[test]
    fn a_dropped_stream_ends_its_child_at_once() {
        let Some(espeak) = espeak() else { return };
        let long = "this goes on and on ".repeat(400);
        let begun = Instant::now();
        let mut stream = espeak.speak(&request(&long, "en", None)).expect("speech");
        stream.next_chunk().expect("no failure").expect("sound");
        drop(stream);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let absent = Espeak { program: PathBuf::from("/nonexistent/espeak-ng"), voice: None };
        let refused = absent.speak(&request("hello", "en", None)).map(|_| ()).expect_err("absent");
        assert!(refused.to_string().contains("/nonexistent/espeak-ng"));
    }
}
