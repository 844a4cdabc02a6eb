//! Frames of sound: a borrowed view and its owned twin.

use crate::{MediaTime, SampleRate, Span};

/// Where a frame's samples came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Decoded from what the far side sent (or played by us).
    #[default]
    Voice = 0,
    /// Made up by loss concealment in place of a packet that did not come.
    Concealed = 1,
    /// Nothing was sent: discontinuous transmission, hold, or no media yet. The samples are zeros or comfort noise.
    Silence = 2,
}

/// A stretch of mono 16-bit sound on the call's clock, borrowed from whoever decoded it.
#[derive(Clone, Copy, Debug)]
pub struct AudioFrame<'a> {
    /// Signed 16-bit samples, mono.
    pub pcm: &'a [i16],
    /// Samples per second of `pcm`.
    pub rate: SampleRate,
    /// When the first sample belongs on the call's clock.
    pub at: MediaTime,
    /// Where the samples came from.
    pub kind: FrameKind,
    /// Whether the activity gate heard speech in this frame. Set once, on the shard; `false` before the gate.
    pub active: bool,
    /// Whether the gate takes something back with this frame: what it took for speech up to here, since it last heard none,
    /// was music or noise.
    pub retracted: bool,
}

impl AudioFrame<'_> {
    /// How long the frame lasts.
    #[must_use]
    pub fn span(&self) -> Span {
        self.rate.span(self.pcm.len())
    }

    /// When the frame is over.
    #[must_use]
    pub fn end(&self) -> MediaTime {
        self.at + self.span()
    }

    /// Copies the frame into one that owns its samples.
    #[must_use]
    pub fn to_buf(&self) -> AudioBuf {
        AudioBuf {
            pcm: self.pcm.to_vec(),
            rate: self.rate,
            at: self.at,
            kind: self.kind,
            active: self.active,
            retracted: self.retracted,
        }
    }
}

/// [`AudioFrame`] that owns its samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioBuf {
    /// Signed 16-bit samples, mono.
    pub pcm: Vec<i16>,
    /// Samples per second of `pcm`.
    pub rate: SampleRate,
    /// When the first sample belongs on the call's clock.
    pub at: MediaTime,
    /// Where the samples came from.
    pub kind: FrameKind,
    /// Whether the activity gate heard speech.
    pub active: bool,
    /// Whether the gate takes back what it took for speech before.
    pub retracted: bool,
}

impl AudioBuf {
    /// Voice at the clock's start, for prompts and files.
    #[must_use]
    pub fn voice(pcm: Vec<i16>, rate: SampleRate) -> Self {
        Self { pcm, rate, at: MediaTime::ZERO, kind: FrameKind::Voice, active: false, retracted: false }
    }

    /// A borrowed view of the whole buffer.
    #[must_use]
    pub fn frame(&self) -> AudioFrame<'_> {
        AudioFrame {
            pcm: &self.pcm,
            rate: self.rate,
            at: self.at,
            kind: self.kind,
            active: self.active,
            retracted: self.retracted,
        }
    }

    /// How long the buffer lasts.
    #[must_use]
    pub fn span(&self) -> Span {
        self.rate.span(self.pcm.len())
    }
}
