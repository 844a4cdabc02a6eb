//! A recogniser for this crate's tests: writes down what it hears, and misbehaves on request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_media_frame::{AudioFrame, MediaTime, SampleRate, Span};
use antiphon_models_speech::{
    Hints, Hypothesis, Partials, Recognition, RecognizeError, Recognizer, Utterance,
};

/// What was done to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A push: from and to, in milliseconds, and whether it was all zeros.
    Heard(i64, i64, bool),
    Flushed,
    Reset,
    Hinted(usize),
    Partials(Partials),
    Dropped,
}

/// How a probe misbehaves at each push whose number (from 0) satisfies the predicate.
#[derive(Clone, Copy)]
pub(crate) enum Vice {
    None,
    Fail(fn(usize) -> bool),
    Panic(fn(usize) -> bool),
    Slow(Duration),
    /// `poll` never runs dry.
    Endless,
}

pub(crate) type Deeds = Arc<Mutex<Vec<Deed>>>;

pub(crate) struct Probe {
    deeds: Deeds,
    vice: Vice,
    tail: Span,
    rate: SampleRate,
    pushes: usize,
    revision: u32,
    heard: Option<(MediaTime, MediaTime)>,
    said: VecDeque<Recognition>,
}

impl Probe {
    pub(crate) fn boxed(tail: Span, vice: Vice) -> (Box<dyn Recognizer>, Deeds) {
        Self::at(SampleRate::HZ_8000, tail, vice)
    }

    pub(crate) fn at(rate: SampleRate, tail: Span, vice: Vice) -> (Box<dyn Recognizer>, Deeds) {
        let deeds = Deeds::default();
        let probe = Self {
            deeds: Arc::clone(&deeds),
            vice,
            tail,
            rate,
            pushes: 0,
            revision: 0,
            heard: None,
            said: VecDeque::new(),
        };
        (Box::new(probe), deeds)
    }

    fn note(&self, deed: Deed) {
        self.deeds.lock().unwrap().push(deed);
    }
}

fn failure() -> RecognizeError {
    RecognizeError::Engine { engine: "probe", message: "as asked".to_owned() }
}

impl Recognizer for Probe {
    fn rate(&self) -> SampleRate {
        self.rate
    }

    fn tail(&self) -> Span {
        self.tail
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        let number = self.pushes;
        self.pushes += 1;
        match self.vice {
            Vice::Fail(when) if when(number) => return Err(failure()),
            Vice::Panic(when) if when(number) => panic!("probe at push {number}"),
            Vice::Slow(pause) => std::thread::sleep(pause),
            _ => {}
        }
        self.note(Deed::Heard(
            frame.at.millis(),
            frame.end().millis(),
            frame.pcm.iter().all(|sample| *sample == 0),
        ));
        let start = self.heard.map_or(frame.at, |(start, _)| start);
        if let Some((_, end)) = self.heard {
            // Up to the tolerance a lane has for rounded frame times.
            let hole = frame.at.offset_from(end).unsigned_abs();
            assert!(Span::from_nanos(hole) <= Span::from_millis(2), "an utterance has a hole of {hole} ns");
        }
        self.heard = Some((start, frame.end()));
        self.revision += 1;
        self.said.push_back(Recognition::Partial(Hypothesis {
            revision: self.revision,
            text: "word".to_owned(),
            start,
        }));
        Ok(())
    }

    fn poll(&mut self) -> Option<Recognition> {
        if let Vice::Endless = self.vice {
            return Some(Recognition::Partial(Hypothesis {
                revision: 1,
                text: "word".to_owned(),
                start: MediaTime::ZERO,
            }));
        }
        self.said.pop_front()
    }

    fn hint(&mut self, hints: &Hints) -> Result<(), RecognizeError> {
        self.note(Deed::Hinted(hints.phrases.len()));
        if hints.closed { Err(failure()) } else { Ok(()) }
    }

    fn partials(&mut self, wanted: Partials) {
        self.note(Deed::Partials(wanted));
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        self.note(Deed::Flushed);
        self.revision = 0;
        if let Some((start, end)) = self.heard.take() {
            self.said.push_back(Recognition::Final(Utterance {
                text: format!("{}-{}", start.millis(), end.millis()),
                words: Vec::new(),
                start,
                end,
                confidence: 1.0,
                language: None,
            }));
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.note(Deed::Reset);
        self.heard = None;
        self.said.clear();
        self.revision = 0;
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.note(Deed::Dropped);
    }
}
