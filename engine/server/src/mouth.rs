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
/// How far a synthesiser may run ahead of the playing: five seconds.
const AHEAD: usize = 250;
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

    /// Prepares a prompt. Blocks until the first sound is there (all of it, if it was said before).
    pub(crate) fn prepare(
        self: &Arc<Self>,
        prompts: &[Prompt],
        rate: SampleRate,
    ) -> Result<Ready, MouthError> {
        let pieces: Vec<_> = prompts.iter().map(Piece::of).collect();
        let key = (pieces, rate);
        if let Some(pcm) = self.kept().sounds.get(&key).cloned() {
            return Ok(Ready { length: rate.span(pcm.len()), sound: Sound::Whole(pcm, rate) });
        }
        let (writer, reader) = track_ring(rate, AHEAD, FRAME, Doorbell::new());
        let mut sources = Vec::with_capacity(key.0.len());
        let mut length = Span::ZERO;
        for piece in &key.0 {
            let source = self.open(piece)?;
            length += source.estimate(piece);
            sources.push(source);
        }
        let mouth = Arc::clone(self);
        std::thread::Builder::new()
            .name("speak".into())
            .spawn(move || {
                let mut pump = Pump { writer, rate, all: Vec::new(), sent: 0, begun: false };
                for source in sources {
                    if let Err(error) = pump.play(source) {
                        tracing::warn!(%error, "a prompt broke off");
                        return;
                    }
                }
                if pump.finish() {
                    mouth.keep(key, pump.all);
                }
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

    fn keep(&self, key: Key, pcm: Vec<i16>) {
        let mut kept = self.kept();
        if pcm.len() > KEPT_SAMPLES / 4 || kept.sounds.contains_key(&key) {
            return;
        }
        kept.samples += pcm.len();
        kept.order.push_back(key.clone());
        kept.sounds.insert(key, pcm.into());
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

impl Pump {
    fn play(&mut self, source: Source) -> Result<(), SynthesizeError> {
        match source {
            Source::Whole(buf) => {
                // A recording is played as it was made.
                self.begun = true;
                let pcm = resample(&buf.pcm, buf.rate, self.rate);
                self.all.extend(pcm);
                self.send(false);
            }
            Source::Speech { first, mut stream } => {
                let mut resampler = Resampler::new(stream.rate(), self.rate);
                resampler.process(&first.pcm, &mut self.all);
                self.send(false);
                while !self.writer.abandoned() {
                    let Some(chunk) = stream.next_chunk()? else { break };
                    resampler.process(&chunk.pcm, &mut self.all);
                    self.send(false);
                }
                // What the filter still holds back.
                let rest = stream.rate().samples(resampler.delay());
                resampler.process(&vec![0; rest], &mut self.all);
            }
        }
        Ok(())
    }

    /// Sends the last frame; says whether everything was made.
    fn finish(&mut self) -> bool {
        self.send(true);
        self.sent == self.all.len()
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

    fn send(&mut self, last: bool) {
        if !self.begun {
            self.begin(last);
        }
        if !self.begun {
            return;
        }
        let frame = self.rate.samples(FRAME);
        while self.all.len() - self.sent >= frame || (last && self.sent < self.all.len()) {
            let end = (self.sent + frame).min(self.all.len());
            let pcm = &self.all[self.sent..end];
            let buf = AudioFrame { pcm, rate: self.rate, ..AudioBuf::voice(Vec::new(), self.rate).frame() };
            while self.writer.push(buf).is_err() {
                if self.writer.abandoned() {
                    return;
                }
                // The player is five seconds behind us: a pause of a frame costs nothing.
                std::thread::sleep(Duration::from_millis(20));
            }
            self.sent = end;
        }
    }
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
            pump.send(false);
        }
        assert!(pump.finish());
        let mut out = Vec::new();
        while reader.pop(|frame| out.extend_from_slice(frame.pcm)).is_some() {}
        out
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
