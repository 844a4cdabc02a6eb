//! Conversations written down: who speaks when, in milliseconds, and what.
#![allow(dead_code, reason = "each test uses its own part")]

use std::collections::BTreeMap;

use antiphon_engine_measure::{Conversation, Hold, Role, Stretch, Tone, Track, Turn};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance, Word};

pub(crate) const CUSTOMER: usize = 0;
pub(crate) const AGENT: usize = 1;

pub(crate) fn at(start: i64, end: i64) -> Stretch {
    Stretch { start: MediaTime::from_millis(start), end: MediaTime::from_millis(end) }
}

/// Its words evenly spread over the time.
pub(crate) fn said(start: i64, end: i64, text: &str) -> Utterance {
    let texts: Vec<&str> = text.split_whitespace().collect();
    let step = (end - start) / texts.len().max(1) as i64;
    let word = |(index, text): (usize, &&str)| Word {
        text: (*text).to_owned(),
        start: MediaTime::from_millis(start + step * index as i64),
        end: MediaTime::from_millis(start + step * (index as i64 + 1)),
        confidence: 0.9,
    };
    Utterance {
        text: text.to_owned(),
        words: texts.iter().enumerate().map(word).collect(),
        start: MediaTime::from_millis(start),
        end: MediaTime::from_millis(end),
        confidence: 0.9,
        language: None,
    }
}

pub(crate) struct Call(pub(crate) Conversation);

impl Call {
    /// The customer on the first track, the agent on the second, for so many milliseconds.
    pub(crate) fn of(heard: u64) -> Self {
        let track = |role| Track { role, speech: Vec::new() };
        Self(Conversation {
            id: "call".to_owned(),
            language: Language::english(),
            tracks: vec![track(Role::Customer), track(Role::Agent)],
            turns: Vec::new(),
            holds: Vec::new(),
            heard: Span::from_millis(heard),
            finished: true,
            metadata: BTreeMap::new(),
        })
    }

    pub(crate) fn speech(mut self, track: usize, start: i64, end: i64) -> Self {
        self.0.tracks[track].speech.push(at(start, end));
        self
    }

    /// Words and speech at once.
    pub(crate) fn turn(self, track: usize, start: i64, end: i64, text: &str) -> Self {
        self.words(track, start, end, text).speech(track, start, end)
    }

    pub(crate) fn words(mut self, track: usize, start: i64, end: i64, text: &str) -> Self {
        self.0.turns.push(Turn { track, said: said(start, end, text), tone: None });
        self
    }

    /// Of the turn before.
    pub(crate) fn tone(mut self, loudness_db: f32, pitch_hz: f32, pitch_range: f32) -> Self {
        let tone = Tone { loudness_db, pitch_hz: Some(pitch_hz), pitch_range: Some(pitch_range) };
        self.0.turns.last_mut().expect("a turn before").tone = Some(tone);
        self
    }

    pub(crate) fn hold(mut self, start: i64, end: i64, by: Option<Role>) -> Self {
        self.0.holds.push(Hold { at: at(start, end), by });
        self
    }

    pub(crate) fn going_on(mut self) -> Self {
        self.0.finished = false;
        self
    }
}
