//! What was heard of a call.

use std::collections::BTreeMap;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::wire;

/// Who speaks on a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The one who is served.
    Customer,
    /// The one who serves: a person or the machine.
    Agent,
    /// Anybody else: a supervisor, a third party.
    Other,
}

/// A stretch of time, `start` before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Its first instant. Seconds in JSON.
    #[serde(with = "wire::time")]
    pub start: MediaTime,
    /// The instant after its last. Seconds in JSON.
    #[serde(with = "wire::time")]
    pub end: MediaTime,
}

/// Time during which a side was on hold: nobody can be blamed for its silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When.
    #[serde(flatten)]
    pub at: Stretch,
    /// Who asked for it, where that is known.
    #[serde(default)]
    pub by: Option<Role>,
}

/// How a turn sounded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tone {
    /// Mean power of the voiced frames, dB relative to full scale: about -60 to 0.
    pub loudness_db: f32,
    /// Median fundamental frequency of the voiced frames, hertz: 60 to 500. `None` where too little is voiced.
    #[serde(default)]
    pub pitch_hz: Option<f32>,
    /// Between the tenth and the ninetieth percentile of the fundamental, semitones.
    #[serde(default)]
    pub pitch_range: Option<f32>,
}

/// One side of the call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Whose.
    pub role: Role,
    /// When there is a voice on it, in order, apart from each other. Empty where only words are known: then the words'
    /// times stand for it.
    #[serde(default)]
    pub speech: Vec<Stretch>,
}

/// What somebody said in one breath.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Index into [`Conversation::tracks`].
    pub track: usize,
    /// The words.
    pub said: Utterance,
    /// How it sounded; `None` where only words are known.
    #[serde(default)]
    pub tone: Option<Tone>,
}

/// A call, or as much of it as has been heard. In JSON as `docs/schemas/conversation.json` describes it; read back, it has
/// 1 to 8 tracks, every turn is on one of them, and nothing ends before it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Conversation {
    /// Names it: of a call its identifier, of a file its name.
    pub id: String,
    /// What is spoken, where a turn does not tell otherwise.
    pub language: Language,
    /// The sides: 1 to 8.
    pub tracks: Vec<Track>,
    /// By start, then track.
    pub turns: Vec<Turn>,
    /// In order.
    pub holds: Vec<Hold>,
    /// How much of it has been heard. Seconds in JSON.
    #[serde(with = "wire::length")]
    pub heard: Span,
    /// Whether that is all of it. What depends on how a call ends is not known before.
    pub finished: bool,
    /// What is known besides: `agent`, `queue`, `product`, and what else came along.
    pub metadata: BTreeMap<String, String>,
}

impl Conversation {
    /// Tracks at most.
    pub const TRACKS: usize = 8;

    /// Whose turn it is.
    #[must_use]
    pub fn role(&self, turn: &Turn) -> Role {
        self.tracks.get(turn.track).map_or(Role::Other, |track| track.role)
    }
}

/// Why something is no conversation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConversationError {
    /// Too few or too many tracks.
    #[error("a conversation has 1 to 8 tracks, not {0}")]
    Tracks(usize),
    /// A turn is on none of the tracks.
    #[error("turns[{turn}] is on track {track}, but there are {tracks} tracks, counted from 0")]
    Track {
        /// Index of the turn.
        turn: usize,
        /// Its track.
        track: usize,
        /// How many there are.
        tracks: usize,
    },
    /// Something ends before it begins.
    #[error("{0} ends before it begins")]
    Backwards(String),
}

/// What JSON says, before it is known to hold together.
#[derive(Deserialize)]
struct Unchecked {
    id: String,
    language: Language,
    tracks: Vec<Track>,
    turns: Vec<Turn>,
    #[serde(default)]
    holds: Vec<Hold>,
    #[serde(with = "wire::length")]
    heard: Span,
    finished: bool,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

impl TryFrom<Unchecked> for Conversation {
    type Error = ConversationError;

    fn try_from(said: Unchecked) -> Result<Self, ConversationError> {
        let Unchecked { id, language, tracks, turns, holds, heard, finished, metadata } = said;
        if !(1..=Self::TRACKS).contains(&tracks.len()) {
            return Err(ConversationError::Tracks(tracks.len()));
        }
        let speech = tracks.iter().enumerate().flat_map(|(track, side)| {
            side.speech.iter().enumerate().map(move |(n, at)| (format!("tracks[{track}].speech[{n}]"), *at))
        });
        let holding = holds.iter().enumerate().map(|(n, hold)| (format!("holds[{n}]"), hold.at));
        if let Some((place, _)) = speech.chain(holding).find(|(_, at)| at.end < at.start) {
            return Err(ConversationError::Backwards(place));
        }
        for (index, turn) in turns.iter().enumerate() {
            if turn.track >= tracks.len() {
                return Err(ConversationError::Track {
                    turn: index,
                    track: turn.track,
                    tracks: tracks.len(),
                });
            }
            if turn.said.end < turn.said.start {
                return Err(ConversationError::Backwards(format!("turns[{index}].said")));
            }
            if let Some(word) = turn.said.words.iter().position(|word| word.end < word.start) {
                return Err(ConversationError::Backwards(format!("turns[{index}].said.words[{word}]")));
            }
        }
        Ok(Self { id, language, tracks, turns, holds, heard, finished, metadata })
    }
}
