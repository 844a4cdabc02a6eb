//! What engines share that compute many streams together: what a stream has said until it is asked for it, and the rows of a
//! step as the streams they are.

use std::any::Any;
use std::collections::VecDeque;

use antiphon_media_frame::{AudioFrame, SampleRate};

use crate::{Hypothesis, Recognition, RecognizeError, Recognizer, Utterance};

/// What a stream has said, until somebody asks, and whether it can say more.
#[derive(Default)]
pub struct Said {
    partial: Option<Hypothesis>,
    finals: VecDeque<Utterance>,
    failed: bool,
}

impl Said {
    /// Checks a frame for a stream that takes sound at `rate`, before it is taken in. A stream that is too far `behind` takes
    /// nothing more until it is reset.
    ///
    /// # Errors
    /// [`RecognizeError::Rate`]; [`RecognizeError::Engine`] where it takes nothing more.
    pub fn admit(
        &mut self,
        engine: &'static str,
        rate: SampleRate,
        frame: &AudioFrame<'_>,
        behind: bool,
    ) -> Result<(), RecognizeError> {
        if frame.rate != rate {
            return Err(RecognizeError::Rate { expected: rate, found: frame.rate });
        }
        self.failed |= behind;
        self.stands(engine)
    }

    /// Refuses where it takes nothing more.
    ///
    /// # Errors
    /// [`RecognizeError::Engine`].
    pub fn stands(&self, engine: &'static str) -> Result<(), RecognizeError> {
        if self.failed {
            let message = "its sound was not computed in time; reset the stream".to_owned();
            return Err(RecognizeError::Engine { engine, message });
        }
        Ok(())
    }

    /// Takes interim words, which replace those before.
    pub fn interim(&mut self, words: Option<Hypothesis>) {
        if words.is_some() {
            self.partial = words;
        }
    }

    /// Takes an utterance's last words; interim words of it are of no use any more.
    pub fn last(&mut self, words: Option<Utterance>) {
        self.finals.extend(words);
        self.partial = None;
    }

    /// The next thing to say; see [`Recognizer::poll`].
    pub fn poll(&mut self) -> Option<Recognition> {
        if let Some(utterance) = self.finals.pop_front() {
            return Some(Recognition::Final(utterance));
        }
        self.partial.take().map(Recognition::Partial)
    }

    /// Forgets everything, the failure too.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A step's rows as the streams they are, each of which must be `ours`.
///
/// # Errors
/// [`RecognizeError::Engine`] where one is not.
pub fn streams_of<'a, S: Recognizer>(
    engine: &'static str,
    rows: &'a mut [&mut dyn Recognizer],
    ours: impl Fn(&S) -> bool,
) -> Result<Vec<&'a mut S>, RecognizeError> {
    let mut streams = Vec::with_capacity(rows.len());
    for row in rows {
        let any: &mut dyn Any = &mut **row;
        match any.downcast_mut::<S>() {
            Some(stream) if ours(stream) => streams.push(stream),
            _ => {
                let message = "a row is no stream of this engine".to_owned();
                return Err(RecognizeError::Engine { engine, message });
            }
        }
    }
    Ok(streams)
}
