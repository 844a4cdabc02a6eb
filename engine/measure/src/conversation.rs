//! What was heard of a call.

use std::collections::BTreeMap;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance};

/// Who speaks on a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The one who is served.
    Customer,
    /// The one who serves: a person or the machine.
    Agent,
    /// Anybody else: a supervisor, a third party.
    Other,
}

/// A stretch of time, `start` before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first instant.
    pub start: MediaTime,
    /// The instant after its last.
    pub end: MediaTime,
}

/// Time during which a side was on hold: nobody can be blamed for its silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// When.
    pub at: Stretch,
    /// Who asked for it, where that is known.
    pub by: Option<Role>,
}

/// How a turn sounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Mean power of the voiced frames, dB relative to full scale: about -60 to 0.
    pub loudness_db: f32,
    /// Median fundamental frequency of the voiced frames, hertz: 60 to 500. `None` where too little is voiced.
    pub pitch_hz: Option<f32>,
    /// Between the tenth and the ninetieth percentile of the fundamental, semitones.
    pub pitch_range: Option<f32>,
}

/// One side of the call.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Whose.
    pub role: Role,
    /// When there is a voice on it, in order, apart from each other. Empty where only words are known: then the words'
    /// times stand for it.
    pub speech: Vec<Stretch>,
}

/// What somebody said in one breath.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Index into [`Conversation::tracks`].
    pub track: usize,
    /// The words.
    pub said: Utterance,
    /// How it sounded; `None` where only words are known.
    pub tone: Option<Tone>,
}

/// A call, or as much of it as has been heard.
#[derive(Clone, Debug, PartialEq)]
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
    /// How much of it has been heard.
    pub heard: Span,
    /// Whether that is all of it. What depends on how a call ends is not known before.
    pub finished: bool,
    /// What is known besides: `agent`, `queue`, `product`, and what else came along.
    pub metadata: BTreeMap<String, String>,
}

impl Conversation {
    /// Whose turn it is.
    #[must_use]
    pub fn role(&self, turn: &Turn) -> Role {
        self.tracks.get(turn.track).map_or(Role::Other, |track| track.role)
    }
}
