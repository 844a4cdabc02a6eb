//! A recogniser behind a wall: its panics stop here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use antiphon_models_speech::{RecognizeError, Recognizer};

/// A call into the engine went wrong.
pub(crate) enum Fault {
    /// It said so; a reset helps.
    Error(RecognizeError),
    /// It panicked and is gone.
    Panic(RecognizeError),
}

/// A recogniser until its first panic, nothing afterwards.
pub(crate) struct Guarded(Option<Box<dyn Recognizer>>);

impl Guarded {
    pub(crate) fn new(recognizer: Box<dyn Recognizer>) -> Self {
        Self(Some(recognizer))
    }

    /// Calls the engine. After a panic the engine is dropped and every later call does nothing but fail.
    pub(crate) fn call<T>(
        &mut self,
        use_engine: impl FnOnce(&mut dyn Recognizer) -> Result<T, RecognizeError>,
    ) -> Result<T, Fault> {
        let Some(engine) = &mut self.0 else {
            return Err(Fault::Panic(panicked("used after a panic")));
        };
        // The engine is dropped on a panic, so nobody can see it in a broken state.
        match catch_unwind(AssertUnwindSafe(|| use_engine(engine.as_mut()))) {
            Ok(outcome) => outcome.map_err(Fault::Error),
            Err(payload) => {
                let message = message(payload);
                self.discard();
                Err(Fault::Panic(panicked(&message)))
            }
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
