//! The one ordered stream of typed events a call.

use antiphon_media_frame::{CallId, MediaTime, Pii};
use antiphon_models_speech::{Language, Word};
use serde::{Serialize, Serializer};

use crate::{ActionId, Cause, PromptEnd, PromptId, TransferKind};

/// Which of the two tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The far side: left channel.
    Caller,
    /// Our side: right channel.
    Machine,
}

/// What the intent classifier's result amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Sure enough to act.
    Accept,
    /// Likely, but to be confirmed by the caller.
    Confirm,
    /// Not understood.
    NoMatch,
}

/// One measured span from the caller's last sound to our first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResponseTime {
    /// From the end of the caller's speech to the final words.
    pub recognized_ms: u64,
    /// From the end of the caller's speech to the first sample of our answer on the wire.
    pub first_audio_ms: u64,
}

/// How media is protected on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaSecurity {
    /// Plain RTP.
    #[default]
    None,
    /// SRTP with keys from SDP (RFC 4568).
    Sdes,
    /// SRTP with keys from DTLS (RFC 5764).
    Dtls,
}

/// A stretch of speech whose words were hidden.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Redacted {
    /// `profanity`, `telephone`, `identity`, `card`, `email`, `account` or `name`.
    pub kind: &'static str,
    /// Seconds on the call's clock. Before the utterance where half of a number was out already when the other half told
    /// what it is.
    pub start: f64,
    /// Seconds on the call's clock.
    pub end: f64,
}

/// Media figures of one direction, RFC 3550.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MediaFigures {
    /// RTP packets received (or sent).
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: f64,
    /// Sound made up by concealment, milliseconds.
    pub concealed_ms: u64,
    /// Round trip by RTCP, milliseconds; `None` until a report told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Estimated listening quality (E-model, ITU-T G.107): 1 to 4.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos: Option<f64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum EventBody {
    /// A call came in (or was placed).
    #[serde(rename = "call.started")]
    CallStarted {
        /// Who calls, as in the From header.
        #[serde(serialize_with = "exposed")]
        from: Pii<String>,
        /// Who is called.
        #[serde(serialize_with = "exposed")]
        to: Pii<String>,
        /// `inbound` or `outbound`.
        direction: &'static str,
    },
    /// It rings: the caller was told so, or the called side told us. Once a call.
    #[serde(rename = "call.ringing")]
    CallRinging,
    /// Media flows before the answer (RFC 3960). Once a call.
    #[serde(rename = "call.early")]
    CallEarly {
        /// The codec's name in SDP.
        codec: String,
        /// The recording's and the call's native rate.
        sample_rate_hz: u32,
        /// How the media is protected.
        security: MediaSecurity,
    },
    /// A host that we called refused; others may be called after it.
    #[serde(rename = "call.refused")]
    CallRefused {
        /// Which: `HOST[:PORT]`.
        host: String,
        /// SIP status; 408 where nothing came at all.
        status: u16,
        /// Its phrase, or what went wrong.
        reason: String,
    },
    /// A host that we called would have us call elsewhere (3xx).
    #[serde(rename = "call.redirected")]
    CallRedirected {
        /// Which: `HOST[:PORT]`.
        host: String,
        /// SIP status.
        status: u16,
        /// Where to, the best first.
        #[serde(serialize_with = "exposed")]
        to: Pii<Vec<String>>,
        /// What becomes of each: `followed`, or the name of the reason why it is not.
        results: Vec<&'static str>,
    },
    /// The call is answered, and media flows.
    #[serde(rename = "call.answered")]
    CallAnswered {
        /// The codec's name in SDP: `PCMU`, `G722`, `opus`…
        codec: String,
        /// The recording's and the call's native rate.
        sample_rate_hz: u32,
        /// How the media is protected.
        security: MediaSecurity,
    },
    /// The codec changed in mid-call; the recording goes on at its own rate.
    #[serde(rename = "codec.changed")]
    CodecChanged {
        /// The codec's name in SDP.
        codec: String,
    },
    /// Media stopped flowing by somebody's wish.
    #[serde(rename = "hold.started")]
    HoldStarted {
        /// Whether the far side asked for it, and not we.
        by_far_side: bool,
    },
    /// Media flows again.
    #[serde(rename = "hold.ended")]
    HoldEnded {
        /// As in `hold.started`.
        by_far_side: bool,
    },
    /// The caller is being handed on.
    #[serde(rename = "transfer.started")]
    TransferStarted {
        /// Which.
        id: ActionId,
        /// How.
        kind: TransferKind,
        /// To whom.
        #[serde(serialize_with = "exposed")]
        to: Pii<String>,
    },
    /// A transfer is over.
    #[serde(rename = "transfer.finished")]
    TransferFinished {
        /// Which.
        id: ActionId,
        /// `completed`, `busy`, `declined`, `no_answer`, `voicemail`, `forbidden` or `failed`.
        outcome: &'static str,
        /// SIP status, where there was one.
        status: Option<u16>,
    },
    /// The far side hears another call from here on.
    #[serde(rename = "bridge.started")]
    BridgeStarted {
        /// The other call.
        #[serde(serialize_with = "shown")]
        with: CallId,
        /// What this call's clock shows when the other's shows zero, milliseconds: added to a time of the other stream,
        /// it makes that a time of this one, exact to a millisecond.
        clock_ms: i64,
    },
    /// The other call is gone from the bridge, or this one.
    #[serde(rename = "bridge.ended")]
    BridgeEnded {
        /// The other call.
        #[serde(serialize_with = "shown")]
        with: CallId,
    },
    /// Somebody supervises the call, or does so in another way.
    #[serde(rename = "supervision.started")]
    SupervisionStarted {
        /// The supervisor's call.
        #[serde(serialize_with = "shown")]
        by: CallId,
        /// `listen`, `whisper`, `barge` or `take_over`.
        mode: &'static str,
    },
    /// The supervisor has left.
    #[serde(rename = "supervision.ended")]
    SupervisionEnded {
        /// The supervisor's call.
        #[serde(serialize_with = "shown")]
        by: CallId,
    },
    /// A voice began.
    #[serde(rename = "speech.started")]
    SpeechStarted {
        /// Whose.
        side: Side,
    },
    /// Interim words.
    #[serde(rename = "speech.partial")]
    SpeechPartial {
        /// Whose.
        side: Side,
        /// The words so far.
        #[serde(serialize_with = "exposed")]
        text: Pii<String>,
        /// Counts up within the utterance.
        revision: u32,
        /// Seconds on the call's clock.
        start: f64,
    },
    /// Final words.
    #[serde(rename = "speech.final")]
    SpeechFinal {
        /// Whose.
        side: Side,
        /// The whole text, as one reads it.
        #[serde(serialize_with = "exposed")]
        text: Pii<String>,
        /// As it was said, where that reads otherwise.
        #[serde(serialize_with = "exposed", skip_serializing_if = "none")]
        spoken: Pii<Option<String>>,
        /// Words with times, as they were said.
        #[serde(serialize_with = "exposed")]
        words: Pii<Vec<Word>>,
        /// Seconds on the call's clock.
        start: f64,
        /// Seconds on the call's clock.
        end: f64,
        /// 0 to 1.
        confidence: f32,
        /// What was spoken, where the engine found out.
        #[serde(skip_serializing_if = "Option::is_none")]
        language: Option<Language>,
        /// What was hidden, here or in what was said before.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        redactions: Vec<Redacted>,
    },
    /// A voice ended.
    #[serde(rename = "speech.ended")]
    SpeechEnded {
        /// Whose.
        side: Side,
    },
    /// A prompt's first sample is on its way.
    #[serde(rename = "prompt.started")]
    PromptStarted {
        /// Which.
        id: PromptId,
        /// What it says.
        #[serde(serialize_with = "exposed")]
        text: Pii<String>,
        /// Whether a voice cuts it.
        interruptible: bool,
    },
    /// A prompt is over.
    #[serde(rename = "prompt.stopped")]
    PromptStopped {
        /// Which.
        id: PromptId,
        /// How.
        reason: PromptEnd,
        /// How much of it was played.
        played_ms: u64,
    },
    /// A key, reported once.
    #[serde(rename = "dtmf")]
    Dtmf {
        /// Which side pressed it.
        side: Side,
        /// The key.
        #[serde(serialize_with = "exposed")]
        key: Pii<char>,
        /// How long it was held.
        duration_ms: u64,
    },
    /// The flow moved on.
    #[serde(rename = "flow.step")]
    FlowStep {
        /// The step's name.
        step: String,
    },
    /// The caller's words were classified.
    #[serde(rename = "intent")]
    Intent {
        /// The best intent; `None` where no intent came close.
        name: Option<String>,
        /// 0 to 1.
        confidence: f32,
        /// What follows from it.
        decision: Decision,
    },
    /// A slot was filled.
    #[serde(rename = "slot")]
    Slot {
        /// The variable.
        name: String,
        /// The value, normalised.
        #[serde(serialize_with = "exposed")]
        value: Pii<serde_json::Value>,
    },
    /// Nothing was said or pressed in time.
    #[serde(rename = "no_input")]
    NoInput {
        /// How often at this question.
        count: u32,
    },
    /// What was said or pressed fits nothing.
    #[serde(rename = "no_match")]
    NoMatch {
        /// How often at this question.
        count: u32,
    },
    /// A web service is asked.
    #[serde(rename = "action.started")]
    ActionStarted {
        /// Which.
        id: ActionId,
        /// The step that asks.
        step: String,
    },
    /// A web service answered, or did not.
    #[serde(rename = "action.finished")]
    ActionFinished {
        /// Which.
        id: ActionId,
        /// `ok`, `status`, `timeout` or `failed`.
        outcome: &'static str,
        /// HTTP status, where there was one.
        status: Option<u16>,
    },
    /// A rule of inspection found something.
    #[serde(rename = "qa.alert")]
    QaAlert(Box<QaAlert>),
    /// How the call does by a scorecard, once it is over.
    #[serde(rename = "qa.judged")]
    QaJudged {
        /// The scorecard's id.
        scorecard: String,
        /// Its version.
        version: String,
        /// What the call is worth.
        score: f64,
        /// Whether that is enough.
        pass: bool,
    },
    /// We answered the caller.
    #[serde(rename = "response")]
    Response(ResponseTime),
    /// Media figures, at the end of the call (and now and then before).
    #[serde(rename = "media")]
    Media {
        /// Which track.
        side: Side,
        /// The figures.
        #[serde(flatten)]
        figures: MediaFigures,
    },
    /// A recording is complete.
    #[serde(rename = "recording")]
    Recording {
        /// Where the WAV lies.
        path: String,
        /// How long it is.
        duration_ms: u64,
    },
    /// The call is over; nothing follows.
    #[serde(rename = "call.ended")]
    CallEnded {
        /// Why.
        cause: &'static Cause,
        /// From answer to end; zero where it was never answered.
        duration_ms: u64,
    },
}

/// A finding of a rule on a call in progress.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QaAlert {
    /// The scorecard's id.
    pub scorecard: String,
    /// Its version.
    pub version: String,
    /// The rule's id.
    pub rule: String,
    /// Names the finding: the same that an inspection of the finished call gives it.
    pub hit: String,
    /// `found`, `missed` or `met`.
    pub kind: &'static str,
    /// Whose, where it is somebody's, as a track of the conversation: 0 the customer, 1 the machine, from 2 on whoever
    /// was joined with them, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<usize>,
    /// Whose, as this call has it: `caller` is its far side, and everybody else is heard from ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// Seconds on the call's clock.
    pub start: f64,
    /// Seconds on the call's clock.
    pub end: f64,
    /// What was said.
    #[serde(serialize_with = "exposed")]
    pub quote: Pii<String>,
    /// What it takes or gives.
    pub points: f64,
    /// Whether it makes the call fail by itself.
    pub fatal: bool,
    /// Whom to alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// What is to be done: `listen`, `whisper`, `barge` or `hang_up`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// Whether it was done at once; otherwise a supervisor decides.
    pub taken: bool,
    /// The call whose conversation it was found in, where that is another: the finding is on that stream too, under the
    /// same `hit`.
    #[serde(serialize_with = "shown_if", skip_serializing_if = "Option::is_none")]
    pub conversation: Option<CallId>,
}

fn exposed<T: Serialize, S: Serializer>(value: &Pii<T>, serializer: S) -> Result<S::Ok, S::Error> {
    // The event stream is where personal data is meant to go; logs use Debug, which redacts.
    value.expose().serialize(serializer)
}

fn none(value: &Pii<Option<String>>) -> bool {
    value.expose().is_none()
}

fn seconds<S: Serializer>(at: &MediaTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.millis() as f64 / 1000.0)
}

fn shown_if<T: std::fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn shown<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// One event of one call. `seq` counts from 1 without a hole, so that a watcher knows it missed nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The call.
    #[serde(serialize_with = "shown")]
    pub call: CallId,
    /// Position in the call's stream.
    pub seq: u64,
    /// When, on the call's clock. Seconds in JSON.
    #[serde(serialize_with = "seconds")]
    pub at: MediaTime,
    /// What.
    #[serde(flatten)]
    pub body: EventBody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_carries_the_words_and_logs_do_not() {
        let event = Event {
            call: CallId(7),
            seq: 3,
            at: MediaTime::from_millis(1_250),
            body: EventBody::SpeechPartial {
                side: Side::Caller,
                text: Pii::new("my card was stolen".into()),
                revision: 2,
                start: 0.9,
            },
        };
        let json = serde_json::to_value(&event).expect("serialisable");
        assert_eq!(json["type"], "speech.partial");
        assert_eq!(json["at"], 1.25);
        assert_eq!(json["text"], "my card was stolen");
        assert!(!format!("{event:?}").contains("stolen"));
    }
}
