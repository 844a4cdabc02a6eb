//! A recogniser behind a wall: its panics stop here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use antiphon_media_frame::AudioFrame;
use antiphon_models_speech::{Hints, Partials, Recognition, RecognizeError, Recognizer};

/// A call into the engine went wrong.
pub(crate) enum Fault {
    /// It said so; a reset helps.
    Error(RecognizeError),
    /// It panicked and is gone.
    Panic(RecognizeError),
}

/// A recogniser until its first panic, nothing afterwards.
#[derive(Default)]
pub(crate) struct Guarded(Option<Box<dyn Recognizer>>);

impl Guarded {
    pub(crate) fn new(recognizer: Box<dyn Recognizer>) -> Self {
        Self(Some(recognizer))
    }

    pub(crate) fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), Fault> {
        self.call(|engine| engine.push(frame))
    }

    pub(crate) fn poll(&mut self) -> Result<Option<Recognition>, Fault> {
        self.call(|engine| Ok(engine.poll()))
    }

    pub(crate) fn hint(&mut self, hints: &Hints) -> Result<(), Fault> {
        self.call(|engine| engine.hint(hints))
    }

    pub(crate) fn partials(&mut self, wanted: Partials) -> Result<(), Fault> {
        self.call(|engine| {
            engine.partials(wanted);
            Ok(())
        })
    }

    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        self.call(Recognizer::flush)
    }

    pub(crate) fn reset(&mut self) -> Result<(), Fault> {
        self.call(|engine| {
            engine.reset();
            Ok(())
        })
    }

    pub(crate) fn owed(&mut self) -> Result<usize, Fault> {
        self.call(|engine| Ok(engine.owed()))
    }

    pub(crate) fn step(&mut self) -> Result<(), Fault> {
        self.call(Recognizer::step)
    }

    /// The recogniser itself; whoever calls it stops its panics.
    pub(crate) fn row(&mut self) -> Option<&mut dyn Recognizer> {
        self.0.as_deref_mut()
    }

    /// Calls the engine. After a panic the engine is dropped and every later call does nothing but fail.
    fn call<T>(
        &mut self,
        use_engine: impl FnOnce(&mut dyn Recognizer) -> Result<T, RecognizeError>,
    ) -> Result<T, Fault> {
        let Some(engine) = &mut self.0 else {
            return Err(Fault::Panic(panicked("used after a panic")));
        };
        match guard(|| use_engine(engine.as_mut())) {
            Err(fault @ Fault::Panic(_)) => {
                self.discard();
                Err(fault)
            }
            outcome => outcome,
        }
    }

    /// Drops the engine, whatever its destructor does.
    pub(crate) fn discard(&mut self) {
        let engine = self.0.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(engine))) {
            discard_payload(payload);
        }
    }
}

/// Runs foreign code; its panic becomes a fault. Whatever it could have left broken must not be used after one.
pub(crate) fn guard<T>(run: impl FnOnce() -> Result<T, RecognizeError>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome.map_err(Fault::Error),
        Err(payload) => Err(Fault::Panic(panicked(&message(payload)))),
    }
}

impl Fault {
    /// A panic told to each of those it concerns.
    pub(crate) fn engine(message: &str) -> Self {
        Self::Panic(RecognizeError::Engine { engine: "recognizer", message: message.to_owned() })
    }

    pub(crate) fn error(self) -> RecognizeError {
        match self {
            Self::Error(error) | Self::Panic(error) => error,
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Drops what a panic carried; a payload whose own destructor panics is leaked rather than let loose.
pub(crate) fn discard_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

fn panicked(message: &str) -> RecognizeError {
    RecognizeError::Engine { engine: "recognizer", message: format!("panicked: {message}") }
}

fn message(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned());
    discard_payload(payload);
    text
}
