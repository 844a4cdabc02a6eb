//! One stream: an utterance's sound kept until it is over, and heard again while it grows.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::agree::{Agreement, Heard};
use antiphon_models_speech::batch::Said;
use antiphon_models_speech::{
    Axis, Hints, Hypothesis, Language, Partials, Recognition, RecognizeError, Recognizer, Utterance, Word,
};

use crate::engine::{NAME, RATE};
use crate::mel::RATE_HZ;
use crate::model::{Model, Request, Transcript};

/// Peak below which nothing was said: -46 dBFS. Decoding silence makes Whisper invent.
const QUIET: u16 = 164;
/// Silence wanted after the last sound: its training clips rarely end in mid-word.
const TAIL: Span = Span::from_millis(300);
/// Speech without an end is cut this much before the window's end.
const SPARE: Span = Span::from_millis(400);
/// New sound between two computations of interim words where they are thinned.
const THINNED: Span = Span::from_millis(1_500);
/// Utterances over and not computed; a worker so far behind has lost its caller.
const BEHIND: usize = 16;
/// Each interim computation waits until the utterance has grown by this fraction at least, so that all of them together
/// cost at most a few times the last.
const GROWTH: usize = 4;
/// Characters of hints that are looked at: tokens are at least one each.
const PROSE: usize = 4_000;

struct Segment {
    axis: Axis,
    pcm: Vec<i16>,
    over: bool,
    loud: bool,
    /// Samples that the last interim words were made of.
    looked: usize,
    revision: u32,
    agreement: Agreement,
}

pub(crate) struct Stream {
    model: Arc<Model>,
    language: Option<u32>,
    before: Vec<u32>,
    partials: Partials,
    segments: VecDeque<Segment>,
    said: Said,
}

impl Stream {
    /// `language`: its token; none where it is recognised or there is but one.
    pub(crate) fn new(model: Arc<Model>, language: Option<u32>, hints: &Hints) -> Self {
        let before = before(&model, hints);
        Self {
            model,
            language,
            before,
            partials: Partials::Normal,
            segments: VecDeque::new(),
            said: Said::default(),
        }
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What is to be computed next.
    pub(crate) fn request(&self) -> Option<Request> {
        let front = self.segments.front().filter(|s| s.owed(self.every()))?;
        Some(Request {
            pcm: front.pcm.iter().map(|s| f32::from(*s) / 32_768.0).collect(),
            language: self.language,
            before: self.before.clone(),
            last: front.over,
        })
    }

    /// Takes what was heard in it.
    pub(crate) fn commit(&mut self, Transcript { heard, language }: Transcript) {
        let Some(front) = self.segments.front_mut() else { return };
        if front.over {
            self.said.last(utterance(&heard, &front.axis, language));
            self.segments.pop_front();
            return;
        }
        front.looked = front.axis.samples();
        if let Some(text) = front.agreement.add(&heard) {
            front.revision += 1;
            let (revision, start) = (front.revision, front.axis.start());
            self.said.interim(Some(Hypothesis { revision, text, start }));
        }
    }

    /// New sound between two computations of the growing utterance; zero: none.
    fn every(&self) -> Span {
        self.partials.every(self.model.options.partial_every, THINNED)
    }

    fn end_segment(&mut self) {
        if let Some(back) = self.segments.back_mut().filter(|s| !s.over) {
            back.over = true;
            if !back.loud {
                self.segments.pop_back();
            }
        }
    }
}

/// The tokens of hints: as a text that was said before, of which the beginning is likeliest.
fn before(model: &Model, hints: &Hints) -> Vec<u32> {
    let most = model.options.prompt;
    let prose = hints.prose(PROSE.min(most * 16));
    let text = prose.trim();
    if most == 0 || text.is_empty() {
        return Vec::new();
    }
    let mut tokens = model.tokenizer.encode(&format!(" {text}"));
    tokens.truncate(most);
    tokens
}

/// Words within the sound on the call's clock, in the order they were said. `None` without words.
fn utterance(heard: &[Heard], axis: &Axis, language: Option<Language>) -> Option<Utterance> {
    let sample = |tick: i64| usize::try_from(tick).unwrap_or_default().saturating_mul(RATE_HZ / 100);
    let latest = axis.samples().checked_sub(1)?;
    let mut words: Vec<Word> = Vec::with_capacity(heard.len());
    let mut from = 0;
    for word in heard {
        let start = sample(word.first).max(from).min(latest);
        let end = sample(word.last).clamp(start + 1, axis.samples());
        from = start;
        words.push(Word {
            text: word.text.clone(),
            start: axis.at(start),
            end: axis.until(end),
            confidence: word.confidence.clamp(0.0, 1.0),
        });
    }
    Utterance::of(words, language)
}

impl Segment {
    fn new() -> Self {
        Self {
            axis: Axis::new(RATE),
            pcm: Vec::new(),
            over: false,
            loud: false,
            looked: 0,
            revision: 0,
            agreement: Agreement::default(),
        }
    }

    fn owed(&self, every: Span) -> bool {
        let step = RATE.samples(every).max(self.looked / GROWTH);
        self.over || (self.loud && every > Span::ZERO && self.axis.samples() >= self.looked + step)
    }
}

impl Recognizer for Stream {
    fn rate(&self) -> SampleRate {
        RATE
    }

    fn tail(&self) -> Span {
        TAIL
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        self.said.admit(NAME, RATE, &frame, self.segments.len() > BEHIND)?;
        if frame.pcm.is_empty() {
            return Ok(());
        }
        let longest = self.model.window().saturating_sub(RATE.samples(SPARE));
        if self.segments.back().is_some_and(|s| !s.over && s.pcm.len() + frame.pcm.len() > longest) {
            self.end_segment();
        }
        if self.segments.back().is_none_or(|s| s.over) {
            self.segments.push_back(Segment::new());
        }
        let Some(segment) = self.segments.back_mut() else { return Ok(()) };
        segment.axis.push(&frame);
        segment.loud |= frame.pcm.iter().any(|s| s.unsigned_abs() > QUIET);
        segment.pcm.extend_from_slice(frame.pcm);
        Ok(())
    }

    fn poll(&mut self) -> Option<Recognition> {
        self.said.poll()
    }

    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError> {
        self.before = before(&self.model, hints);
        Ok(())
    }

    fn partials(&mut self, wanted: Partials) {
        self.partials = wanted;
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        self.said.stands(NAME)?;
        self.end_segment();
        Ok(())
    }

    fn reset(&mut self) {
        self.segments.clear();
        self.said.clear();
    }

    fn owed(&self) -> usize {
        let every = self.every();
        self.segments.iter().filter(|s| s.owed(every)).count()
    }

    fn step(&mut self) -> Result<(), RecognizeError> {
        let model = Arc::clone(&self.model);
        crate::engine::step(&model, &mut [self])
    }
}
