//! The deterministic recogniser of tests: it hears what its script says, one utterance a stretch of speech.

use std::collections::VecDeque;

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span};
use antiphon_models_speech::{
    Axis, Engine, Hints, Hypothesis, Language, Recognition, RecognizeError, Recognizer, StreamConfig,
    Utterance, Word,
};
use serde::Deserialize;

const NAME: &str = "scripted";
/// Speech that each further word of a partial takes: about the pace of clear telephone English.
const WORD: Span = Span::from_millis(250);
/// Frames with a mean magnitude below this (about -56 dBFS) are silence, whatever they are labelled.
const QUIET: u64 = 50;

/// What a scripted recogniser hears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Texts in the order of the stretches of speech that a stream is given; each stream starts at the first. Beyond
    /// the last nothing is heard. An empty text stands for a stretch that is not understood.
    pub utterances: Vec<String>,
    /// Whether the list starts again after the last.
    pub repeat: bool,
    /// What a stream that is to find out by itself tells that was spoken.
    pub language: Option<String>,
    /// The push, counted from 1 over the stream's life, that fails; the stream then fails until it is reset.
    pub fail_at_push: Option<u64>,
}

impl Script {
    /// A script that says `utterances` once.
    pub fn new<T: Into<String>>(utterances: impl IntoIterator<Item = T>) -> Self {
        Self { utterances: utterances.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// The engine of [`Script`]s.
pub struct Scripted {
    script: Script,
}

impl Scripted {
    /// An engine each of whose streams plays `script`.
    #[must_use]
    pub fn new(script: Script) -> Self {
        Self { script }
    }
}

impl Engine for Scripted {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rate(&self, source: SampleRate) -> SampleRate {
        source
    }

    fn identifies(&self) -> bool {
        self.script.language.is_some()
    }

    fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        let language = self.script.language.as_deref().filter(|_| config.language.is_undetermined());
        Ok(Box::new(Stream {
            language: language.and_then(Language::parse),
            script: self.script.clone(),
            hints: config.hints.clone(),
            next: 0,
            pushes: 0,
            failed: false,
            heard: Axis::new(config.source_rate),
            rate: config.source_rate,
            told: 0,
            revision: 0,
            partial: None,
            finals: VecDeque::new(),
        }))
    }
}

struct Stream {
    language: Option<Language>,
    script: Script,
    hints: Hints,
    next: usize,
    pushes: u64,
    failed: bool,
    /// The frames with speech in them, and no others.
    heard: Axis,
    rate: SampleRate,
    told: usize,
    revision: u32,
    partial: Option<Hypothesis>,
    finals: VecDeque<Utterance>,
}

impl Stream {
    fn failure(&self) -> RecognizeError {
        RecognizeError::Engine { engine: NAME, message: format!("told to fail at push {}", self.pushes) }
    }

    fn words(&self) -> Vec<String> {
        let count = self.script.utterances.len();
        let text = match self.next {
            n if n < count => &self.script.utterances[n],
            n if self.script.repeat && count > 0 => &self.script.utterances[n % count],
            _ => return Vec::new(),
        };
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn begin_utterance(&mut self) {
        self.heard.clear();
        self.told = 0;
        self.revision = 0;
        self.partial = None;
    }
}

impl Recognizer for Stream {
    fn rate(&self) -> SampleRate {
        self.rate
    }

    fn tail(&self) -> Span {
        Span::ZERO
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        if frame.rate != self.rate {
            return Err(RecognizeError::Rate { expected: self.rate, found: frame.rate });
        }
        if self.failed {
            return Err(self.failure());
        }
        self.pushes += 1;
        if self.script.fail_at_push == Some(self.pushes) {
            self.failed = true;
            return Err(self.failure());
        }
        if frame.kind == FrameKind::Silence || quiet(frame.pcm) {
            return Ok(());
        }
        self.heard.push(&frame);
        let words = self.words();
        let spoken = self.heard.end().since(self.heard.start());
        let due = ((spoken.nanos() / WORD.nanos()) as usize).min(words.len());
        if due > self.told {
            self.told = due;
            self.revision += 1;
            self.partial = Some(Hypothesis {
                revision: self.revision,
                text: words[..due].join(" "),
                start: self.heard.start(),
            });
        }
        Ok(())
    }

    fn poll(&mut self) -> Option<Recognition> {
        if let Some(utterance) = self.finals.pop_front() {
            return Some(Recognition::Final(utterance));
        }
        self.partial.take().map(Recognition::Partial)
    }

    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError> {
        self.hints = hints.clone();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        if self.failed {
            return Err(self.failure());
        }
        let (start, end) = (self.heard.start(), self.heard.end());
        if end > start {
            let words = self.words();
            self.next += 1;
            if !words.is_empty() {
                let language = self.language.clone();
                self.finals.push_back(Utterance { language, ..spread(&words, start, end) });
            }
        }
        self.begin_utterance();
        Ok(())
    }

    fn reset(&mut self) {
        self.failed = false;
        self.finals.clear();
        self.begin_utterance();
    }
}

fn quiet(pcm: &[i16]) -> bool {
    let sum: u64 = pcm.iter().map(|s| u64::from(s.unsigned_abs())).sum();
    sum < QUIET * pcm.len() as u64 || pcm.is_empty()
}

/// Gives each word an equal share of the speech.
fn spread(words: &[String], start: MediaTime, end: MediaTime) -> Utterance {
    let whole = end.since(start).nanos();
    let count = words.len() as u64;
    let instant =
        |n: u64| start + Span::from_nanos((u128::from(whole) * u128::from(n) / u128::from(count)) as u64);
    Utterance {
        text: words.join(" "),
        words: (0u64..)
            .zip(words)
            .map(|(n, text)| Word {
                text: text.clone(),
                start: instant(n),
                end: instant(n + 1),
                confidence: 1.0,
            })
            .collect(),
        start,
        end,
        confidence: 1.0,
        language: None,
    }
}
