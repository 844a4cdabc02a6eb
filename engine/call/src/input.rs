//! What a session is told.

use std::collections::BTreeMap;

use antiphon_media_frame::MediaTime;
use antiphon_models_speech::Utterance;
use serde::Serialize;

use crate::{ActionId, PromptId, TransferOutcome};

/// How a prompt came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptEnd {
    /// Played to the last sample.
    Completed,
    /// Cut on the shard because the caller spoke.
    BargeIn,
    /// Cut because the caller pressed a key.
    Key,
    /// Stopped by the session, or never begun because an earlier prompt was cut.
    Cancelled,
    /// The call ended.
    HungUp,
    /// It could not be synthesised or read; nothing was heard.
    Failed,
}

/// A web service's answer, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum HttpOutcome {
    /// An answer with any status.
    Reply {
        /// HTTP status.
        status: u16,
        /// The body as JSON; `Null` where it was empty or not JSON.
        body: serde_json::Value,
    },
    /// Nothing came within the time-out.
    TimedOut,
    /// No connection, no valid answer, or an answer too large.
    Failed {
        /// What went wrong, without secrets.
        reason: String,
    },
}

/// What a session is told, in the order it happened.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionInput {
    /// The caller hears us: the call is answered, or its media flows before that. Variables of the call: `caller`, `called`, `call_id`, SIP header fields.
    Started {
        /// By name.
        variables: BTreeMap<String, String>,
    },
    /// The call is answered: what `Effect::Answer` asked for.
    Answered,
    /// The caller began to speak.
    SpeechStarted {
        /// When, on the call's clock.
        at: MediaTime,
    },
    /// The caller stopped speaking; the words, if there are any, came before this as `Heard`.
    SpeechEnded {
        /// When the last sound was, on the call's clock.
        at: MediaTime,
    },
    /// Final words of the caller.
    Heard(Utterance),
    /// The caller pressed a key: `0` to `9`, `*`, `#`, `A` to `D`.
    Key {
        /// The key.
        key: char,
        /// When, on the call's clock.
        at: MediaTime,
    },
    /// A prompt is over.
    PromptEnded {
        /// Which.
        id: PromptId,
        /// How.
        end: PromptEnd,
    },
    /// A web service answered, or did not.
    HttpDone {
        /// Which action.
        id: ActionId,
        /// What came of it.
        outcome: HttpOutcome,
    },
    /// A transfer is over and the caller is back with the session.
    TransferDone {
        /// Which action.
        id: ActionId,
        /// What came of it.
        outcome: TransferOutcome,
    },
    /// The far side is gone. The session ends; effects other than `Notify` are ignored from here on.
    HungUp,
}
