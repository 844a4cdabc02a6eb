//! A picture of a call: two waveforms, the words under them, what happened between them.

mod annotations;
mod layout;
mod paint;

use std::path::Path;

use antiphon_media_frame::{MediaTime, SampleRate};
use antiphon_media_record::{Gap, ReadError, read_all};

use crate::fonts::Fonts;
pub use annotations::Annotations;

/// A word at its time.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackWord {
    /// As spoken.
    pub text: String,
    /// When it begins on the call's clock.
    pub start: MediaTime,
    /// When it ends.
    pub end: MediaTime,
    /// 0 to 1; doubtful words are drawn paler.
    pub confidence: f32,
}

impl From<&antiphon_models_speech::Word> for TrackWord {
    fn from(word: &antiphon_models_speech::Word) -> Self {
        Self { text: word.text.clone(), start: word.start, end: word.end, confidence: word.confidence }
    }
}

/// One channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track<'a> {
    /// Its samples from time 0 on.
    pub pcm: &'a [i16],
    /// Its words, in any order.
    pub words: &'a [TrackWord],
    /// Where sound is missing; only holes (missing, refused, concealed) are drawn.
    pub gaps: &'a [Gap],
}

/// Something worth a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: MediaTime,
    /// What.
    pub kind: MarkKind,
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// The caller cut the machine short.
    BargeIn,
    /// The caller pressed a key.
    Key(char),
    /// The machine's first sound after the caller's speech, which ended at `speech_end`.
    Response {
        /// When the caller's last sound was.
        speech_end: MediaTime,
    },
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub struct WaveformInput<'a> {
    /// The heading.
    pub title: &'a str,
    /// Samples per second of both tracks.
    pub rate: SampleRate,
    /// Above.
    pub caller: Track<'a>,
    /// Below.
    pub machine: Track<'a>,
    /// In any order.
    pub marks: &'a [Mark],
}

/// The picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// A PNG file.
    pub png: Vec<u8>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// What could not be drawn, for people: fonts not found, words without room.
    pub notes: Vec<String>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The recording could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The picture could not be encoded.
    #[error("cannot encode the picture: {0}")]
    Encode(String),
}

/// Draws a call: 15 seconds a row (more in calls over 7 minutes), at most 30 rows, 1600 pixels wide.
///
/// # Errors
/// [`RenderError::Encode`].
pub fn render(input: &WaveformInput<'_>) -> Result<Picture, RenderError> {
    let mut text: String =
        input.caller.words.iter().chain(input.machine.words).map(|w| w.text.as_str()).collect();
    text.push_str(input.title);
    paint::picture(input, &Fonts::for_text(&text))
}

/// Draws a recording: the left channel as the caller, the right one (if there is one) as the machine. The samples of
/// `input`'s tracks are ignored, and so is its rate.
///
/// # Errors
/// [`RenderError`]'s variants.
pub fn render_recording(path: &Path, input: &WaveformInput<'_>) -> Result<Picture, RenderError> {
    let sound = read_all(path)?;
    let channel = |n: usize| sound.channels.get(n).map_or(&[][..], Vec::as_slice);
    render(&WaveformInput {
        rate: sound.rate,
        caller: Track { pcm: channel(0), ..input.caller },
        machine: Track { pcm: channel(1), ..input.machine },
        ..*input
    })
}
