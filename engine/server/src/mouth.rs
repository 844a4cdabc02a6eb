//! Turns prompts into sound at a leg's rate.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_engine_call::Prompt;
use antiphon_media_codec::{Resampler, resample};
use antiphon_media_frame::{AudioBuf, AudioFrame, Doorbell, SampleRate, Span, TrackWriter, track_ring};
use antiphon_media_plane::Sound;
use antiphon_media_record::AudioReader;
use antiphon_models_speech::{Language, SpeechRequest, SpeechStream, SynthesizeError, Synthesizer};

/// Frames in which streamed speech travels to the shard.
const FRAME: Span = Span::from_millis(20);
/// Frames that wait for the shard: two seconds, far more than this side is ever late.
const AHEAD: usize = 100;
/// Sound made but not yet with the shard, in samples, at which the synthesiser waits: two minutes at 16 kHz. Below it,
/// a prompt is made as fast as the voice can, so that the next call finds it whole.
const MADE_AHEAD: usize = 120 * 16_000;
/// Recorded prompts up to this are made ready at once and need no thread.
const AT_ONCE: Span = Span::from_secs(60);
/// Recorded prompts longer than this are refused.
const LONGEST_RECORDING: Span = Span::from_secs(600);
/// Sound kept in memory, in samples: two minutes at 16 kHz is some 4 MB.
const KEPT_SAMPLES: usize = 120 * 16_000 * 8;

/// Why a prompt cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MouthError {
    #[error(transparent)]
    Synthesize(#[from] SynthesizeError),
    #[error("no voice is configured for {language}; set voice.engines")]
    NoVoice { language: String },
    #[error("a prompt could not be prepared: {what}")]
    Broken { what: &'static str },
    #[error("recorded prompt {}: {message}", path.display())]
    Recording { path: PathBuf, message: String },
}

/// A prompt ready to be played.
pub(crate) struct Ready {
    pub(crate) sound: Sound,
    /// How long it is, or an estimate where it is still being made.
    pub(crate) length: Span,
}

/// All voices, recorded prompts and the sounds made of late.
pub(crate) struct Mouth {
    voices: BTreeMap<String, Arc<dyn Synthesizer>>,
    kept: Mutex<Kept>,
}

type Key = (Vec<Piece>, SampleRate);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Piece {
    Text(SpeechRequest),
    File(PathBuf),
}

#[derive(Default)]
struct Kept {
    sounds: HashMap<Key, Arc<[i16]>>,
    order: VecDeque<Key>,
    samples: usize,
}

impl Mouth {
    /// Voices by primary language subtag, `*` for the rest.
    pub(crate) fn new(voices: BTreeMap<String, Arc<dyn Synthesizer>>) -> Arc<Self> {
        Arc::new(Self { voices, kept: Mutex::default() })
    }

    /// A prompt that was said before and can be played at once. Never blocks.
    pub(crate) fn at_hand(&self, prompts: &[Prompt], rate: SampleRate) -> Option<Ready> {
        self.find(&(prompts.iter().map(Piece::of).collect(), rate))
    }

    /// Prepares a prompt. Blocks until the first sound is there (all of it, if it was said before).
    pub(crate) fn prepare(
        self: &Arc<Self>,
        prompts: &[Prompt],
        rate: SampleRate,
    ) -> Result<Ready, MouthError> {
        let pieces: Vec<_> = prompts.iter().map(Piece::of).collect();
        let key = (pieces, rate);
        if let Some(ready) = self.find(&key) {
            return Ok(ready);
        }
        let mut sources = Vec::with_capacity(key.0.len());
        let mut length = Span::ZERO;
        for piece in &key.0 {
            let source = self.open(piece)?;
            length += source.estimate(piece);
            sources.push(source);
        }
        let recordings = sources.iter().all(|source| matches!(source, Source::Whole(_)));
        if recordings && length <= AT_ONCE {
            let pcm: Arc<[i16]> = sources.iter().flat_map(|source| source.recording(rate)).collect();
            self.keep(key, &pcm);
            return Ok(Ready { sound: Sound::Whole(pcm, rate), length });
        }
        let (writer, reader) = track_ring(rate, AHEAD, FRAME, Doorbell::new());
        let mouth = Arc::clone(self);
        std::thread::Builder::new()
            .name("speak".into())
            .spawn(move || {
                let mut pump = Pump { writer, rate, all: Vec::new(), sent: 0, begun: false };
                let made = sources.into_iter().try_for_each(|source| pump.play(source));
                let (pcm, rest) = pump.finish();
                match made {
                    Ok(()) => mouth.keep(key, &pcm),
                    Err(Stopped::Unheard) => return,
                    Err(Stopped::Failed(error)) => tracing::warn!(%error, "a prompt broke off"),
                }
                rest.send(&pcm);
            })
            .map_err(|e| SynthesizeError::Engine { engine: "speak", message: e.to_string() })?;
        Ok(Ready { sound: Sound::Stream(reader), length })
    }

    /// All of a prompt's sound, for one that is played over and over. Blocks until it is made.
    pub(crate) fn whole(
        self: &Arc<Self>,
        prompts: &[Prompt],
        rate: SampleRate,
    ) -> Result<Arc<[i16]>, MouthError> {
        match self.prepare(prompts, rate)?.sound {
            Sound::Whole(pcm, _) => Ok(pcm),
            Sound::Stream(mut reader) => {
                let mut all = Vec::new();
                while !reader.finished() {
                    if reader.pop(|frame| all.extend_from_slice(frame.pcm)).is_none() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                Ok(all.into())
            }
        }
    }

    /// Begins to say something, past the prompts that are kept.
    pub(crate) fn speak(&self, request: &SpeechRequest) -> Result<Box<dyn SpeechStream>, MouthError> {
        Ok(self.voice(&request.language)?.speak(request)?)
    }

    fn open(&self, piece: &Piece) -> Result<Source, MouthError> {
        match piece {
            Piece::File(path) => read_prompt(path).map(Source::Whole),
            Piece::Text(request) => {
                let mut stream = self.voice(&request.language)?.speak(request)?;
                let rate = stream.rate();
                let first = stream.next_chunk()?.unwrap_or_else(|| AudioBuf::voice(Vec::new(), rate));
                Ok(Source::Speech { first, stream })
            }
        }
    }

    fn voice(&self, language: &Language) -> Result<&Arc<dyn Synthesizer>, MouthError> {
        let voice = self.voices.get(&language.primary()).or_else(|| self.voices.get("*"));
        voice.ok_or_else(|| MouthError::NoVoice { language: language.tag().to_owned() })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Every state of the cache is valid, whoever panicked.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Option<Ready> {
        let pcm = self.kept().sounds.get(key).cloned()?;
        Some(Ready { length: key.1.span(pcm.len()), sound: Sound::Whole(pcm, key.1) })
    }

    fn keep(&self, key: Key, pcm: &Arc<[i16]>) {
        let mut kept = self.kept();
        if pcm.len() > KEPT_SAMPLES / 4 || kept.sounds.contains_key(&key) {
            return;
        }
        kept.samples += pcm.len();
        kept.order.push_back(key.clone());
        kept.sounds.insert(key, Arc::clone(pcm));
        while kept.samples > KEPT_SAMPLES {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(pcm) = kept.sounds.remove(&oldest) {
                kept.samples -= pcm.len();
            }
        }
    }
}

impl Piece {
    fn of(prompt: &Prompt) -> Self {
        match prompt {
            Prompt::Text { text, language, voice } => Self::Text(SpeechRequest {
                text: text.clone(),
                language: language.clone(),
                voice: voice.clone(),
            }),
            Prompt::Recording { path, .. } => Self::File(path.clone()),
        }
    }
}

enum Source {
    Whole(AudioBuf),
    Speech { first: AudioBuf, stream: Box<dyn SpeechStream> },
}

impl Source {
    /// A recording at `rate`; nothing of a voice.
    fn recording(&self, rate: SampleRate) -> Vec<i16> {
        match self {
            Self::Whole(buf) => resample(&buf.pcm, buf.rate, rate),
            Self::Speech { .. } => Vec::new(),
        }
    }

    fn estimate(&self, piece: &Piece) -> Span {
        match (self, piece) {
            (Self::Whole(buf), _) => buf.span(),
            // Measured on flite `slt` and espeak-ng `cmn`: about 16 letters and 4.5 ideographs a second.
            (Self::Speech { .. }, Piece::Text(request)) => {
                let millis: u64 = request.text.chars().map(|c| if c > '\u{2e80}' { 220 } else { 62 }).sum();
                Span::from_millis(millis)
            }
            (Self::Speech { .. }, Piece::File(_)) => Span::ZERO,
        }
    }
}

fn read_prompt(path: &Path) -> Result<AudioBuf, MouthError> {
    let refuse = |message: String| MouthError::Recording { path: path.to_owned(), message };
    let mut reader = AudioReader::open(path).map_err(|e| refuse(e.to_string()))?;
    let rate = reader.rate();
    let longest = rate.samples(LONGEST_RECORDING);
    let mut mono: Vec<i16> = Vec::new();
    let mut block = Vec::new();
    while reader.next_block(&mut block).map_err(|e| refuse(e.to_string()))? {
        let channels = block.len().max(1) as i32;
        let length = block.iter().map(Vec::len).min().unwrap_or(0);
        mono.extend(
            (0..length).map(|n| (block.iter().map(|c| i32::from(c[n])).sum::<i32>() / channels) as i16),
        );
        if mono.len() > longest {
            return Err(refuse("a prompt is at most 10 minutes long".into()));
        }
    }
    Ok(AudioBuf::voice(mono, rate))
}

/// Moves speech into the ring at the pace of the playing.
struct Pump {
    writer: TrackWriter,
    rate: SampleRate,
    all: Vec<i16>,
    sent: usize,
    /// The silence that voices put before their first sound has been cut off.
    begun: bool,
}

/// Quieter samples before the first sound are silence: -44 dBFS.
const QUIET: u16 = 200;
/// Kept of the silence before the first sound, so that its onset is whole.
const ONSET: Span = Span::from_millis(20);
/// A voice that is silent for longer means it.
const LONGEST_LEAD: Span = Span::from_millis(800);

/// Why a prompt was not made to its end.
enum Stopped {
    /// Nobody listens any more.
    Unheard,
    Failed(SynthesizeError),
}

impl From<SynthesizeError> for Stopped {
    fn from(error: SynthesizeError) -> Self {
        Self::Failed(error)
    }
}

impl Pump {
    fn play(&mut self, source: Source) -> Result<(), Stopped> {
        match source {
            Source::Whole(buf) => {
                // A recording is played as it was made.
                self.begun = true;
                let pcm = resample(&buf.pcm, buf.rate, self.rate);
                self.all.extend(pcm);
                self.offer()
            }
            Source::Speech { first, mut stream } => {
                let mut resampler = Resampler::new(stream.rate(), self.rate);
                resampler.process(&first.pcm, &mut self.all);
                self.offer()?;
                while let Some(chunk) = stream.next_chunk()? {
                    resampler.process(&chunk.pcm, &mut self.all);
                    self.offer()?;
                }
                // What the filter still holds back.
                let rest = stream.rate().samples(resampler.delay());
                resampler.process(&vec![0; rest], &mut self.all);
                Ok(())
            }
        }
    }

    /// Everything that was made, and what is still to be sent of it.
    fn finish(mut self) -> (Arc<[i16]>, Rest) {
        if !self.begun {
            self.begin(true);
        }
        (self.all.into(), Rest { writer: self.writer, rate: self.rate, sent: self.sent })
    }

    /// Cuts what a voice leaves empty before it speaks: flite some 200 ms, which a caller would wait for.
    fn begin(&mut self, last: bool) {
        let first = self.all.iter().position(|sample| sample.unsigned_abs() > QUIET);
        let lead = match first {
            Some(first) => first.saturating_sub(self.rate.samples(ONSET)),
            None if last || self.all.len() > self.rate.samples(LONGEST_LEAD) => 0,
            None => return,
        };
        if lead <= self.rate.samples(LONGEST_LEAD) {
            self.all.drain(..lead);
        }
        self.begun = true;
    }

    /// Sends the whole frames that the ring has room for, and waits only where too much is made.
    fn offer(&mut self) -> Result<(), Stopped> {
        if self.writer.abandoned() {
            return Err(Stopped::Unheard);
        }
        if !self.begun {
            self.begin(false);
        }
        let frame = self.rate.samples(FRAME);
        while self.begun && self.all.len() - self.sent >= frame {
            if self.writer.push(of(&self.all[self.sent..self.sent + frame], self.rate)).is_ok() {
                self.sent += frame;
            } else if self.writer.abandoned() {
                return Err(Stopped::Unheard);
            } else if self.all.len() - self.sent < MADE_AHEAD {
                break;
            } else {
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

/// What a prompt that is made still has to send.
struct Rest {
    writer: TrackWriter,
    rate: SampleRate,
    sent: usize,
}

impl Rest {
    /// Sends it at the pace of the playing, the last frame as long as it is.
    fn send(mut self, pcm: &[i16]) {
        for frame in pcm[self.sent..].chunks(self.rate.samples(FRAME)) {
            while self.writer.push(of(frame, self.rate)).is_err() {
                if self.writer.abandoned() {
                    return;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// The player is two seconds behind: pauses of some frames cost nothing.
const PAUSE: Duration = Duration::from_millis(200);

fn of(pcm: &[i16], rate: SampleRate) -> AudioFrame<'_> {
    AudioFrame { pcm, ..AudioBuf::voice(Vec::new(), rate).frame() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pump sends of `pcm`, said in pieces of 50 ms.
    fn pumped(pcm: &[i16]) -> Vec<i16> {
        let rate = SampleRate::HZ_8000;
        let (writer, mut reader) = track_ring(rate, 500, FRAME, Doorbell::new());
        let mut pump = Pump { writer, rate, all: Vec::new(), sent: 0, begun: false };
        for piece in pcm.chunks(400) {
            pump.all.extend(piece);
            assert!(pump.offer().is_ok());
        }
        let (all, rest) = pump.finish();
        rest.send(&all);
        let mut out = Vec::new();
        while reader.pop(|frame| out.extend_from_slice(frame.pcm)).is_some() {}
        assert_eq!(out, *all, "what is kept is what is played");
        out
    }

    /// Half a second of a tone that never stops, in no time.
    struct Hummer;

    impl Synthesizer for Hummer {
        fn name(&self) -> &'static str {
            "hummer"
        }

        fn speak(&self, _: &SpeechRequest) -> Result<Box<dyn SpeechStream>, SynthesizeError> {
            Ok(Box::new(Humming(60)))
        }
    }

    struct Humming(u32);

    impl SpeechStream for Humming {
        fn rate(&self) -> SampleRate {
            SampleRate::HZ_8000
        }

        fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError> {
            self.0 = self.0.saturating_sub(1);
            Ok((self.0 > 0).then(|| AudioBuf::voice(vec![1_000; 4_000], SampleRate::HZ_8000)))
        }
    }

    #[test]
    fn a_prompt_is_at_hand_for_the_next_call_while_the_first_still_hears_it() {
        let voices: BTreeMap<String, Arc<dyn Synthesizer>> = [("*".to_owned(), Arc::new(Hummer) as _)].into();
        let mouth = Mouth::new(voices);
        let language = Language::parse("en").expect("a tag");
        let prompt = [Prompt::Text { text: "hum".into(), language, voice: None }];
        let rate = SampleRate::HZ_8000;
        let first = mouth.prepare(&prompt, rate).expect("made");
        let Sound::Stream(reader) = first.sound else { panic!("the first is played while it is made") };
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let second = loop {
            match mouth.prepare(&prompt, rate).expect("made").sound {
                Sound::Whole(pcm, _) => break pcm,
                Sound::Stream(_) => assert!(std::time::Instant::now() < deadline, "it is never whole"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(second.len(), 59 * 4_000);
        let Some(Ready { sound: Sound::Whole(third, _), .. }) = mouth.at_hand(&prompt, rate) else {
            panic!("it is at hand")
        };
        assert!(Arc::ptr_eq(&second, &third), "all calls hear one copy");
        assert!(mouth.at_hand(&prompt, SampleRate::HZ_16000).is_none(), "at another rate it has to be made");
        assert!(reader.ready() > 0, "the first call has heard nothing yet");
    }

    #[test]
    fn the_silence_before_a_voice_is_cut_and_nothing_else() {
        let sound: Vec<i16> = (0..4_000).map(|n| if n % 2 == 0 { 3_000 } else { -3_000 }).collect();
        let said = [vec![3; 1_600], sound.clone(), vec![0; 800], sound.clone()].concat();
        assert_eq!(pumped(&said), said[1_600 - 160..]);
        assert_eq!(pumped(&sound), sound, "a voice that begins at once");
        assert_eq!(pumped(&[0; 1_000]), [0; 1_000], "silence alone is played");
        let late = [vec![0; 16_000], sound].concat();
        assert_eq!(pumped(&late).len(), late.len(), "a long silence is meant");
    }
}
