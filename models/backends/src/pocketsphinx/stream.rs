//! One call's ear: frames in, words on the call's clock out.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_frame::{AudioFrame, SampleRate, Span};
use antiphon_models_speech::{
    Axis, Hints, Hypothesis, Recognition, RecognizeError, Recognizer, Utterance, Word,
};

use super::band::Band;
use super::decoder::{Segment, failed};
use super::dictionary::{is_filler, join, spoken};
use super::expect::Expected;
use super::model::{Equipped, Model};
use super::voiced::Voiced;

/// New sound between two looks at the hypothesis.
const PARTIAL: Span = Span::from_millis(150);
/// Silence wanted after the last sound. Measured by `word_error` on lines cut at their last sound: 7 errors of 108 with
/// 0, 50, 100, 200, 300 and 400 ms alike; the 100 ms are for last sounds that fade below a gate's floor.
const TAIL: Span = Span::from_millis(100);
/// Speech without an end is cut here: the decoder's tables grow with the utterance.
const LONGEST: Span = Span::from_secs(60);
/// Frames a second of the decoder.
const FRAMES_HZ: u32 = 100;

pub(super) struct Stream {
    model: Arc<Model>,
    /// `None` only after a failure to replace it, and while the stream is dropped.
    equipped: Option<Equipped>,
    rate: SampleRate,
    band: Band,
    axis: Axis,
    /// What the decoder heard of the utterance under way, at the model's rate.
    heard: Vec<i16>,
    voiced: Voiced,
    begun: bool,
    failed: bool,
    /// What is expected from the next utterance on, where it changed during one.
    next: Option<Expected>,
    looked: usize,
    revision: u32,
    told: String,
    partial: Option<Hypothesis>,
    finals: VecDeque<Utterance>,
}

impl Stream {
    pub(super) fn open(model: Arc<Model>, rate: SampleRate, hints: &Hints) -> Result<Self, RecognizeError> {
        let expected = model.expect(hints)?;
        let mut equipped = model.take(&expected)?;
        equipped.decoder.begin_stream(None);
        Ok(Self {
            band: Band::between(rate.hz(), model.files.rate_hz),
            voiced: Voiced::new(model.files.rate_hz),
            model,
            equipped: Some(equipped),
            rate,
            axis: Axis::new(rate),
            heard: Vec::new(),
            begun: false,
            failed: false,
            next: None,
            looked: 0,
            revision: 0,
            told: String::new(),
            partial: None,
            finals: VecDeque::new(),
        })
    }

    fn decoder(&mut self) -> Result<&mut super::decoder::Decoder, RecognizeError> {
        let equipped =
            self.equipped.as_mut().ok_or_else(|| failed("the decoder is gone; reset the stream"))?;
        Ok(&mut equipped.decoder)
    }

    fn expect(&mut self, expected: &Expected) -> Result<(), RecognizeError> {
        let model = Arc::clone(&self.model);
        let equipped = self.equipped.as_mut().ok_or_else(|| failed("the decoder is gone"))?;
        if model.fits(equipped, expected) {
            return equipped.expect(model.dictionary()?, expected);
        }
        let mut other = model.take(expected)?;
        other.decoder.begin_stream(Some(&equipped.decoder.mean()));
        if let Some(old) = self.equipped.replace(other) {
            model.give(old);
        }
        Ok(())
    }

    fn push_inner(&mut self, frame: &AudioFrame<'_>) -> Result<(), RecognizeError> {
        if !self.begun {
            if let Some(expected) = self.next.take() {
                self.expect(&expected)?;
            }
            self.decoder()?.begin()?;
            self.begun = true;
        }
        self.axis.push(frame);
        let converted = self.band.convert(frame.pcm);
        let pcm = converted.as_deref().unwrap_or(frame.pcm);
        self.heard.extend_from_slice(pcm);
        self.voiced.update(&self.heard);
        self.decoder()?.process(pcm)?;
        if self.voiced.enough() && self.axis.samples() - self.looked >= self.rate.samples(PARTIAL) {
            self.looked = self.axis.samples();
            self.look()?;
        }
        if self.axis.samples() >= self.rate.samples(LONGEST) {
            self.finish()?;
        }
        Ok(())
    }

    /// Tells the words so far where they changed.
    fn look(&mut self) -> Result<(), RecognizeError> {
        let Some(words) = self.decoder()?.hypothesis() else { return Ok(()) };
        let text = join(words.split_whitespace().filter(|w| !is_filler(w)).map(spoken));
        if !text.is_empty() && text != self.told {
            self.revision += 1;
            self.told.clone_from(&text);
            self.partial = Some(Hypothesis { revision: self.revision, text, start: self.axis.start() });
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RecognizeError> {
        if self.begun {
            self.begun = false;
            let decoder = self.decoder()?;
            decoder.end()?;
            if self.voiced.enough() {
                let segments = self.decoder()?.segments();
                self.finals.extend(self.utterance(&segments));
            }
        }
        self.clear();
        Ok(())
    }

    fn utterance(&self, segments: &[Segment]) -> Option<Utterance> {
        let per_frame = (self.rate.hz() / FRAMES_HZ) as usize;
        let words: Vec<Word> = segments
            .iter()
            .filter(|s| !is_filler(&s.word))
            .map(|s| Word {
                text: spoken(&s.word).to_owned(),
                start: self.axis.at(s.first * per_frame),
                end: self.axis.until((s.last + 1) * per_frame),
                confidence: s.posterior as f32,
            })
            .collect();
        let (start, end) = (words.first()?.start, words.last()?.end);
        let text = join(words.iter().map(|w| w.text.as_str()));
        let confidence = words.iter().map(|w| w.confidence).sum::<f32>() / words.len() as f32;
        Some(Utterance { text, words, start, end, confidence, language: None })
    }

    fn clear(&mut self) {
        self.begun = false;
        self.axis.clear();
        self.band.reset();
        self.heard.clear();
        self.voiced.clear();
        self.looked = 0;
        self.revision = 0;
        self.told.clear();
        self.partial = None;
    }
}

impl Recognizer for Stream {
    fn rate(&self) -> SampleRate {
        self.rate
    }

    fn tail(&self) -> Span {
        TAIL
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        if frame.rate != self.rate {
            return Err(RecognizeError::Rate { expected: self.rate, found: frame.rate });
        }
        if self.failed {
            return Err(failed("it failed before; reset the stream"));
        }
        let result = self.push_inner(&frame);
        self.failed = result.is_err();
        result
    }

    fn poll(&mut self) -> Option<Recognition> {
        if let Some(utterance) = self.finals.pop_front() {
            return Some(Recognition::Final(utterance));
        }
        self.partial.take().map(Recognition::Partial)
    }

    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError> {
        let expected = self.model.expect(hints)?;
        if self.begun {
            self.next = Some(expected);
            return Ok(());
        }
        self.expect(&expected)?;
        // Hints given during the last utterance are older than these.
        self.next = None;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        if self.failed {
            return Err(failed("it failed before; reset the stream"));
        }
        let result = self.finish();
        self.failed = result.is_err();
        result
    }

    fn reset(&mut self) {
        if self.begun
            && let Ok(decoder) = self.decoder()
        {
            // Ending is the library's only way to leave an utterance; its result is not looked at.
            let _ = decoder.end();
        }
        self.failed = false;
        self.finals.clear();
        self.clear();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let failed = self.failed;
        self.reset();
        if let Some(equipped) = self.equipped.take()
            && !failed
        {
            self.model.give(equipped);
        }
    }
}
