//! Voices of Piper: phonemes by espeak-ng, sound by a graph, sentence by sentence.

mod sentences;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_media_frame::{AudioBuf, MediaTime, SampleRate, Span};
use antiphon_models_onnx::{LoadError, Manner, Phonemes, PiperOptions, PiperVoice};
use antiphon_models_speech::{SpeechRequest, SpeechStream, SynthesizeError, Synthesizer};

use crate::espeak::Phonemizer;
use crate::settings::PiperSettings;
use sentences::{Piece, pieces};

const NAME: &str = "piper";
/// Phonemes of one run. A sentence has some 200; one of figures, written out, has more.
const RUN: usize = 1_000;
/// The most sound one utterance may have, as for espeak.
const LONGEST: Span = Span::from_secs(30 * 60);

/// A voice that is ready to speak.
pub(crate) struct Piper {
    voice: Arc<Voice>,
    manner: Manner,
    pause: Span,
}

struct Voice {
    graph: PiperVoice,
    /// `None` where the voice reads letters.
    phonemizer: Option<Phonemizer>,
}

impl Piper {
    /// Loads a voice and looks for espeak-ng where it needs it.
    ///
    /// # Errors
    /// [`SynthesizeError::Missing`] where a file or the program is not there, [`SynthesizeError::Voice`] for a speaker that
    /// the voice does not have, [`SynthesizeError::Engine`] for settings out of range and a graph that is not Piper's.
    pub(crate) fn open(settings: &PiperSettings) -> Result<Self, SynthesizeError> {
        if !(0.25..=4.0).contains(&settings.speed) {
            return Err(failure(format!("speed is {}: 0.25 to 4 are taken", settings.speed)));
        }
        let model = file(&settings.model)?;
        let options = PiperOptions {
            model: model.clone(),
            config: None,
            threads: settings.threads,
            runtime: crate::onnx::runtime("piper", settings.onnxruntime.as_ref()),
        };
        let graph = PiperVoice::open(&options).map_err(|e| refused(&model, &e))?;
        let mut manner = graph.manner();
        manner.length /= settings.speed;
        for (own, theirs, name) in [
            (settings.noise, &mut manner.noise, "noise"),
            (settings.width_noise, &mut manner.width_noise, "width_noise"),
        ] {
            let Some(own) = own else { continue };
            if !(0.0..=2.0).contains(&own) {
                return Err(failure(format!("{name} is {own}: 0 to 2 are taken")));
            }
            *theirs = own;
        }
        if let Some(speaker) = &settings.speaker {
            manner.speaker = speaker_of(&graph, speaker)?;
        }
        let phonemizer = match graph.phonemes() {
            Phonemes::Espeak { voice } => Some(Phonemizer::open(voice)?),
            Phonemes::Text => None,
        };
        let pause = Span::from_millis(settings.pause_ms.min(5_000).into());
        Ok(Self { voice: Arc::new(Voice { graph, phonemizer }), manner, pause })
    }
}

impl Synthesizer for Piper {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Returns at once; each chunk is a sentence, or the first clauses of one.
    fn speak(&self, request: &SpeechRequest) -> Result<Box<dyn SpeechStream>, SynthesizeError> {
        let refuse = |reason: &str| SynthesizeError::Text { engine: NAME, reason: reason.to_owned() };
        if request.text.chars().count() > SpeechRequest::LONGEST {
            return Err(refuse("it is too long"));
        }
        let pieces = pieces(&request.text);
        if pieces.is_empty() {
            return Err(refuse("it has no letters or digits"));
        }
        let mut manner = self.manner;
        if let Some(speaker) = &request.voice {
            manner.speaker = speaker_of(&self.voice.graph, speaker)?;
        }
        Ok(Box::new(Stream {
            voice: Arc::clone(&self.voice),
            manner,
            pause: self.pause,
            pieces: pieces.into(),
            runs: VecDeque::new(),
            gain: None,
            at: MediaTime::ZERO,
        }))
    }
}

/// The graph's file, where a folder may be meant.
fn file(model: &Path) -> Result<PathBuf, SynthesizeError> {
    let missing = |what: String| SynthesizeError::Missing {
        engine: NAME,
        what,
        advice: "name a voice's NAME.onnx, or pull one: `antiphon models list --engine piper`".to_owned(),
    };
    if !model.is_dir() {
        let there = model.is_file();
        return there
            .then(|| model.to_owned())
            .ok_or_else(|| missing(format!("voice {:?}", model.display())));
    }
    let entries = std::fs::read_dir(model).map_err(|e| failure(format!("{}: {e}", model.display())))?;
    let mut graphs: Vec<PathBuf> = entries
        .take(10_000)
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    match (graphs.pop(), graphs.is_empty()) {
        (Some(graph), true) => Ok(graph),
        (Some(_), false) => Err(failure(format!("{} holds several voices: name one", model.display()))),
        (None, _) => Err(missing(format!("voice (NAME.onnx) in {}", model.display()))),
    }
}

fn speaker_of(graph: &PiperVoice, name: &str) -> Result<i64, SynthesizeError> {
    graph.speaker(name).ok_or_else(|| {
        let known: Vec<&str> = graph.speakers().take(20).collect();
        let advice = match known.as_slice() {
            [] => "its speakers have numbers, from 0".to_owned(),
            known => format!("its speakers are {}", known.join(", ")),
        };
        SynthesizeError::Voice { engine: NAME, voice: format!("{name:?}"), advice }
    })
}

fn refused(model: &Path, error: &LoadError) -> SynthesizeError {
    match error {
        LoadError::Missing { .. } | LoadError::File { .. } => SynthesizeError::Missing {
            engine: NAME,
            what: format!("all of {}", model.display()),
            advice: error.to_string(),
        },
        _ => failure(format!("{}: {error}", model.display())),
    }
}

fn failure(message: String) -> SynthesizeError {
    SynthesizeError::Engine { engine: NAME, message }
}

struct Stream {
    voice: Arc<Voice>,
    manner: Manner,
    pause: Span,
    pieces: VecDeque<Piece>,
    /// Phonemes of the piece that is being said, and whether a sentence ends with them.
    runs: VecDeque<(String, bool)>,
    /// What the sound is multiplied by; set by the first piece.
    gain: Option<f32>,
    at: MediaTime,
}

impl SpeechStream for Stream {
    fn rate(&self) -> SampleRate {
        self.voice.graph.rate()
    }

    fn next_chunk(&mut self) -> Result<Option<AudioBuf>, SynthesizeError> {
        loop {
            let Some((phonemes, ends)) = self.runs.pop_front() else {
                let Some(piece) = self.pieces.pop_front() else {
                    return match self.gain {
                        Some(_) => Ok(None),
                        None => Err(SynthesizeError::Text {
                            engine: NAME,
                            reason: "the voice knows none of its phonemes".to_owned(),
                        }),
                    };
                };
                self.runs = self.voice.runs(&piece)?;
                continue;
            };
            let (ids, unknown) = self.voice.graph.ids(&phonemes);
            if ids.len() == self.voice.graph.ids("").0.len() {
                continue;
            }
            if unknown > 0 {
                tracing::debug!(unknown, "the voice does not know all phonemes");
            }
            let sound = self.voice.graph.say(&ids, &self.manner).map_err(|e| failure(e.to_string()))?;
            let mut pcm = self.level(&sound);
            if ends && !(self.pieces.is_empty() && self.runs.is_empty()) {
                pcm.resize(pcm.len() + self.rate().samples(self.pause), 0);
            }
            let mut chunk = AudioBuf::voice(pcm, self.rate());
            chunk.at = self.at;
            self.at += chunk.span();
            if self.at.since(MediaTime::ZERO) > LONGEST {
                return Err(failure("the speech does not end".to_owned()));
            }
            return Ok(Some(chunk));
        }
    }
}

impl Stream {
    /// Brings the loudest sample to full scale, as Piper does with each sentence. Pieces after the first keep its gain, so
    /// that a voice is not louder in the middle of a sentence, unless they would be cut off.
    fn level(&mut self, sound: &[f32]) -> Vec<i16> {
        let finite = |sample: f32| if sample.is_finite() { sample } else { 0.0 };
        let peak = sound.iter().fold(0.0f32, |peak, sample| peak.max(finite(*sample).abs()));
        let most = if peak < 1e-8 { 0.0 } else { 1.0 / peak };
        let gain = self.gain.filter(|gain| *gain > 0.0).map_or(most, |gain| gain.min(most));
        if self.gain.is_none_or(|gain| gain == 0.0) {
            self.gain = Some(gain);
        }
        sound
            .iter()
            .map(|sample| (finite(*sample) * gain * 32_767.0).clamp(-32_767.0, 32_767.0) as i16)
            .collect()
    }
}

impl Voice {
    /// What a piece is made of, in runs that the graph takes.
    fn runs(&self, piece: &Piece) -> Result<VecDeque<(String, bool)>, SynthesizeError> {
        let mut all = String::new();
        for clause in &piece.clauses {
            match &self.phonemizer {
                Some(phonemizer) => {
                    let mut text = clause.text.clone();
                    text.extend(clause.mark);
                    all.push_str(&phonemizer.phonemes(&text)?);
                    // Piper's voices have learnt these and no others.
                    all.extend(clause.mark.filter(|mark| ".,:;?!".contains(*mark)));
                }
                None => {
                    all.push_str(&clause.text);
                    all.extend(clause.mark);
                }
            }
            if clause.mark.is_some_and(|mark| ",:;".contains(mark)) {
                all.push(' ');
            }
        }
        let mut runs = VecDeque::new();
        let mut run = String::new();
        for (length, c) in all.chars().enumerate() {
            run.push(c);
            if c == ' ' && run.chars().count() >= RUN || length % (2 * RUN) == 2 * RUN - 1 {
                runs.push_back((std::mem::take(&mut run), false));
            }
        }
        if !run.is_empty() {
            runs.push_back((run, piece.ends));
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests;
