//! What is measured of a conversation.

use std::collections::BTreeMap;

use antiphon_media_frame::{MediaTime, Span};
use serde::Serialize;

use crate::floor::Floor;
use crate::{Conversation, Role, Stretch, wire};

/// Who is to blame for a silence: whose turn it would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "cause", content = "by", rename_all = "lowercase")]
pub enum SilenceCause {
    /// The other one had spoken last: this one owed an answer.
    Owed(Role),
    /// The same one spoke before and after it.
    Within(Role),
    /// Nobody has spoken yet.
    Opening,
    /// Nobody speaks any more.
    Closing,
    /// The call is on hold.
    Hold,
}

/// No voice on any track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Silence {
    /// When. A silence that is going on ends where the conversation has been heard to.
    #[serde(flatten)]
    pub at: Stretch,
    /// Why, as far as is known when it has been heard to its end: [`SilenceCause::Owed`] while it goes on.
    #[serde(flatten)]
    pub cause: SilenceCause,
    /// Who should have said something, by what had been said before alone: the other one, or who had asked to wait.
    /// It does not change once the silence has begun, so that what listens to a call and what reads its recording
    /// blame the same one. `None` on hold and before anybody spoke.
    pub owed: Option<Role>,
}

/// One speaks while another does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interruption {
    /// The track that began later.
    pub by: usize,
    /// The track that had the word.
    pub of: usize,
    /// How long the other had been speaking when it began.
    #[serde(with = "wire::length")]
    pub speaking: Span,
    /// From the first to the last instant at which both spoke.
    pub overlap: Stretch,
    /// How long both spoke: the overlap without the pauses in it. To the millisecond.
    #[serde(with = "wire::length")]
    pub both: Span,
    /// Whether the other one stopped while this one went on.
    pub took_over: bool,
    /// Index of the interrupting turn, where it has words.
    pub turn: Option<usize>,
}

/// A short sign of listening (`mhm`, 嗯, 好的) while or right after another speaks: no turn of its own, no interruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Backchannel {
    /// Index of the turn.
    pub turn: usize,
}

/// From the end of one side's speech to the beginning of the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Response {
    /// The track that answers.
    pub by: usize,
    /// When the other one had ended.
    #[serde(with = "wire::time")]
    pub at: MediaTime,
    /// How long it took; zero where they overlap.
    #[serde(with = "wire::length")]
    pub after: Span,
}

/// How worked up a turn sounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agitation {
    /// Index of the turn.
    pub turn: usize,
    /// 0 (calm) to 1.
    pub score: f32,
    /// What it was made of, by name: each feature's share of the score.
    pub features: BTreeMap<&'static str, f32>,
}

/// Somebody says again what they have said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Repeat {
    /// Index of the turn.
    pub turn: usize,
    /// Index of the earlier one of the same track.
    pub earlier: usize,
    /// 0 to 1, 1 where they are equal.
    pub similarity: f32,
}

/// A word or phrase that the conversation is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Topic {
    /// As it was said.
    pub text: String,
    /// The higher, the more it stands out in this conversation.
    pub weight: f32,
    /// Indices of the turns that say it.
    pub turns: Vec<usize>,
}

/// Why the customer called, in their own words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// Index of the turn that tells.
    pub turn: usize,
    /// Its words.
    pub text: String,
}

/// One track's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speaker {
    /// Whose.
    pub role: Role,
    /// How long there is a voice.
    #[serde(with = "wire::length")]
    pub talk: Span,
    /// Of all the talking, 0 to 1.
    pub ratio: f32,
    /// Turns, backchannels left out.
    pub turns: usize,
    /// Words; characters of a language that is written without spaces.
    pub words: usize,
    /// Words (or characters) a minute of talking; `None` where too little was said.
    pub rate: Option<f32>,
    /// The longest speech that nobody else takes the word in.
    pub monologue: Option<Stretch>,
    /// Mean time to answer.
    #[serde(serialize_with = "wire::maybe_length::serialize")]
    pub response: Option<Span>,
    /// Mean of the turns, dB relative to full scale.
    pub loudness_db: Option<f32>,
    /// Median of the turns, hertz.
    pub pitch_hz: Option<f32>,
}

/// Everything measured of a conversation. Each finding has its times or names the turn that has. In JSON as
/// `docs/schemas/measures.json` describes it: times and lengths in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measures {
    /// By track.
    pub speakers: Vec<Speaker>,
    /// Of at least [`Measures::SHORTEST_SILENCE`], in order.
    pub silences: Vec<Silence>,
    /// In order. Backchannels are none.
    pub interruptions: Vec<Interruption>,
    /// In order.
    pub backchannels: Vec<Backchannel>,
    /// In order.
    pub responses: Vec<Response>,
    /// Words (or characters) a minute, by turn; `None` where it is too short to tell.
    pub rates: Vec<Option<f32>>,
    /// By turn; a turn without tone is judged by its words alone.
    pub agitation: Vec<Agitation>,
    /// In order.
    pub repeats: Vec<Repeat>,
    /// The weightiest first.
    pub topics: Vec<Topic>,
    /// Why the customer called, where that is told.
    pub reason: Option<Reason>,
    /// Indices of the turns that tell the most, in order: the summary by extraction.
    pub summary: Vec<usize>,
}

impl Measures {
    /// Shorter silences are the rhythm of speech.
    pub const SHORTEST_SILENCE: Span = Span::from_millis(500);

    /// Measures what has been heard. Times count to the whole millisecond, rounded towards the past, as they are kept in
    /// JSON: a call and its stored record measure the same. Speech out of order, turns on tracks that there are not and
    /// words outside all speech do no harm. Takes time in proportion to what was said: see `benches/`.
    #[must_use]
    pub fn of(conversation: &Conversation) -> Self {
        let floor = Floor::new(conversation);
        let rates: Vec<Option<f32>> = (0..conversation.turns.len()).map(|turn| floor.rate([turn])).collect();
        let responses = floor.responses();
        let interruptions = floor.interruptions();
        let topics = floor.topics();
        let reason = floor.reason();
        Self {
            speakers: floor.speakers(&responses),
            silences: floor.silences(),
            backchannels: (0..conversation.turns.len())
                .filter(|&turn| floor.listening[turn])
                .map(|turn| Backchannel { turn })
                .collect(),
            agitation: floor.agitation(&rates, &interruptions),
            repeats: floor.repeats(),
            summary: floor.summary(&topics, reason.as_ref()),
            responses,
            interruptions,
            rates,
            topics,
            reason,
        }
    }
}
