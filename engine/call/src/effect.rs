//! What pure code may ask for: the only way out of a call or a session.

use std::path::PathBuf;
use std::time::Duration;

use antiphon_models_speech::{Hints, Language};

use crate::{Cause, EventBody, TransferRequest};

/// One prompt of a session, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct PromptId(pub u32);

/// One action of a session, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct ActionId(pub u32);

/// A piece of a prompt; the pieces play one after another without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// To be synthesised.
    Text {
        /// Plain text, variables filled in.
        text: String,
        /// Its language.
        language: Language,
        /// The voice asked for by the flow, if any.
        voice: Option<String>,
    },
    /// A recording: WAV of any rate, path already resolved against the flow file.
    Recording {
        /// Where it lies.
        path: PathBuf,
        /// What it says, for transcripts and `flow chat`; may be empty.
        text: String,
    },
}

/// A request to a web service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Absolute `http://` or `https://` address, variables filled in and escaped.
    pub url: String,
    /// Header fields, in order.
    pub headers: Vec<(String, String)>,
    /// JSON body, if any.
    pub body: Option<serde_json::Value>,
    /// How long the whole exchange may take.
    pub timeout: Duration,
}

/// What a session asks of the world around it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Say these pieces after whatever is being said. Ends with exactly one `SessionInput::PromptEnded`.
    Say {
        /// Names the prompt in what follows.
        id: PromptId,
        /// What to say, in order; never empty.
        prompts: Vec<Prompt>,
        /// Whether the caller's voice cuts it. Keys reach the session either way.
        interruptible: bool,
    },
    /// Answer the call once everything said so far has been played. Ends with exactly one `SessionInput::Answered`, also
    /// where it is answered already, unless the call ends before.
    Answer,
    /// Stop saying anything: the current prompt and all that wait end as `Cancelled`.
    StopSpeaking,
    /// Press these keys: `0` to `9`, `*`, `#`, `A` to `D`.
    SendKeys {
        /// One after another.
        keys: Vec<char>,
    },
    /// From now on this is what the caller may say.
    Listen {
        /// Phrases, digits.
        hints: Hints,
        /// The language spoken.
        language: Language,
        /// How long the caller may pause in mid-utterance before it counts as finished; the server's default if `None`.
        endpoint: Option<Duration>,
    },
    /// Ask a web service. Ends with exactly one `SessionInput::HttpDone`.
    Http {
        /// Names the action in what follows.
        id: ActionId,
        /// The request.
        request: HttpRequest,
    },
    /// Hand the caller on once everything said so far has been played. Ends with exactly one
    /// `SessionInput::TransferDone`, unless the call ends with it.
    Transfer {
        /// Names the action in what follows.
        id: ActionId,
        /// To whom and how.
        request: TransferRequest,
    },
    /// Tell whoever watches the call.
    Notify(EventBody),
    /// End the call once everything said so far has been played (or cut by the caller's hang-up).
    HangUp {
        /// Why.
        cause: &'static Cause,
    },
}
