//! What a stream says.

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::{Hypothesis, RecognizeError, Utterance};

/// What a stream says, in order.
///
/// `SpeechStarted` and `SpeechEnded` alternate; every `Partial` and `Final` lies between the two of its utterance, and
/// `Closed` is the last event of all. What turns out to be music or noise, although it was taken for speech at first, ends
/// without final words, and interim words that were given of it are taken back by a `Partial` without text.
#[derive(Debug)]
pub enum StreamEvent {
    /// Enough speech was heard to begin an utterance.
    SpeechStarted {
        /// When its first active frame began.
        at: MediaTime,
    },
    /// Interim words.
    Partial(Hypothesis),
    /// Final words.
    Final(Utterance),
    /// The utterance is over and all its words have been given. Where silence decided it (`decided_at` after `at`), `at` is a
    /// checkpoint: a stream that is shut until then, see [`Lane::listen`](crate::Lane::listen), and hears the rest gives what
    /// is missing.
    SpeechEnded {
        /// When the last active frame ended.
        at: MediaTime,
        /// The end of the audio that decided it: the difference to `at` is what the endpoint costs the caller.
        decided_at: MediaTime,
    },
    /// The recogniser failed. Where the stream has further engines, another one takes over; else it is reset and hears the
    /// next utterance, and after three failures in a row, or a panic, the stream closes.
    Failed(RecognizeError),
    /// Another recogniser has heard everything again that had not become final words, and goes on.
    TakenOver {
        /// The engine's name.
        engine: &'static str,
    },
    /// The pool is near its capacity: partials come once in a second of speech, or as often as before again. Final words are
    /// not touched.
    Thinned {
        /// Whether they are thinned out now.
        on: bool,
    },
    /// A flush that was asked for is done: all words before it have been given.
    Flushed,
    /// Nothing follows.
    Closed {
        /// The end of the last audio taken in.
        until: MediaTime,
    },
}
