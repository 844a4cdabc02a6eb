//! The codecs by name, and one decoder and encoder over all of them.

use std::fmt;

use antiphon_media_frame::SampleRate;

use crate::{g711, g722};

/// A speech codec with a static RTP payload type (RFC 3551 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// G.711 µ-law: 8 kHz, 64 kbit/s.
    Pcmu,
    /// G.711 A-law: 8 kHz, 64 kbit/s.
    Pcma,
    /// G.722 mode 1: 16 kHz, 64 kbit/s.
    G722,
}

impl CodecKind {
    /// Every codec, in the order of preference for a bank's telephone line: wideband first.
    pub const ALL: [Self; 3] = [Self::G722, Self::Pcma, Self::Pcmu];

    /// Finds a codec by its `a=rtpmap` encoding name; case does not matter (RFC 8866 section 6.6).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Finds a codec by its static RTP payload type.
    #[must_use]
    pub const fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            9 => Some(Self::G722),
            _ => None,
        }
    }

    /// The `a=rtpmap` encoding name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
        }
    }

    /// The static RTP payload type.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
        }
    }

    /// Rate of the decoded sound.
    #[must_use]
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::HZ_8000,
            Self::G722 => SampleRate::HZ_16000,
        }
    }

    /// Rate of the RTP timestamp: 8 kHz for all, for G.722 by the historical error that RFC 3551 section 4.5.2 keeps.
    #[must_use]
    pub const fn rtp_clock_hz(self) -> u32 {
        8_000
    }

    /// RTP ticks that a payload of `payload_len` bytes lasts.
    #[must_use]
    pub const fn ticks(self, payload_len: usize) -> u32 {
        // All three codecs carry 64 kbit/s: one byte a tick of 125 µs.
        if payload_len > u32::MAX as usize { u32::MAX } else { payload_len as u32 }
    }

    /// Samples that `ticks` of RTP time last.
    #[must_use]
    pub const fn samples(self, ticks: u32) -> usize {
        match self {
            Self::Pcmu | Self::Pcma => ticks as usize,
            Self::G722 => (ticks as usize).saturating_mul(2),
        }
    }

    /// Bytes that `samples` take when encoded (rounded down to whole bytes).
    #[must_use]
    pub const fn payload_len(self, samples: usize) -> usize {
        match self {
            Self::Pcmu | Self::Pcma => samples,
            Self::G722 => samples / 2,
        }
    }
}

impl fmt::Display for CodecKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A frame was not coded; the codec's state is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The out-slice is too short.
    #[error("output holds {room} items, the frame needs {needed}")]
    NoRoom {
        /// Samples or bytes the frame needs.
        needed: usize,
        /// Samples or bytes the slice holds.
        room: usize,
    },
    /// G.722 codes samples in pairs.
    #[error("g722 codes pairs of samples, got {samples}")]
    OddSamples {
        /// Samples passed.
        samples: usize,
    },
}

impl CodecError {
    const fn check(needed: usize, room: usize) -> Result<(), Self> {
        if needed > room { Err(Self::NoRoom { needed, room }) } else { Ok(()) }
    }
}

/// Turns payloads into samples; one a received stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    kind: CodecKind,
    g722: g722::Decoder,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(kind: CodecKind) -> Self {
        Self { kind, g722: g722::Decoder::new() }
    }

    /// Decodes one payload of any length into the front of `out`; returns the samples written.
    ///
    /// # Realtime safety
    /// No allocation; time linear in the payload.
    ///
    /// # Errors
    /// [`CodecError::NoRoom`] when `out` is shorter than the payload's samples.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        let needed = match self.kind {
            CodecKind::Pcmu | CodecKind::Pcma => payload.len(),
            CodecKind::G722 => payload.len().saturating_mul(2),
        };
        CodecError::check(needed, out.len())?;
        match self.kind {
            CodecKind::Pcmu => g711::decode(&g711::MU_LAW, payload, out),
            CodecKind::Pcma => g711::decode(&g711::A_LAW, payload, out),
            CodecKind::G722 => self.g722.decode(payload, out),
        }
        Ok(needed)
    }

    /// Returns to the start of a stream, for a new synchronisation source.
    pub fn reset(&mut self) {
        self.g722 = g722::Decoder::new();
    }

    /// The codec.
    #[must_use]
    pub const fn kind(&self) -> CodecKind {
        self.kind
    }
}

/// Turns samples into payloads; one a sent stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    kind: CodecKind,
    g722: g722::Encoder,
}

impl Encoder {
    /// An encoder at the start of a stream.
    #[must_use]
    pub fn new(kind: CodecKind) -> Self {
        Self { kind, g722: g722::Encoder::new() }
    }

    /// Encodes samples at [`CodecKind::sample_rate`] into the front of `out`; returns the bytes written.
    ///
    /// # Realtime safety
    /// No allocation; time linear in the samples.
    ///
    /// # Errors
    /// [`CodecError::NoRoom`] when `out` is shorter than [`CodecKind::payload_len`];
    /// [`CodecError::OddSamples`] for an odd number of samples to G.722.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        if self.kind == CodecKind::G722 && !pcm.len().is_multiple_of(2) {
            return Err(CodecError::OddSamples { samples: pcm.len() });
        }
        let needed = self.kind.payload_len(pcm.len());
        CodecError::check(needed, out.len())?;
        match self.kind {
            CodecKind::Pcmu => g711::encode(g711::mu_law, pcm, out),
            CodecKind::Pcma => g711::encode(g711::a_law, pcm, out),
            CodecKind::G722 => self.g722.encode(pcm, out),
        }
        Ok(needed)
    }

    /// Returns to the start of a stream.
    pub fn reset(&mut self) {
        self.g722 = g722::Encoder::new();
    }

    /// The codec.
    #[must_use]
    pub const fn kind(&self) -> CodecKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_milliseconds_are_160_ticks_whatever_the_codec() {
        for kind in CodecKind::ALL {
            let samples = kind.sample_rate().hz() as usize / 50;
            assert_eq!(kind.payload_len(samples), 160, "{kind}");
            assert_eq!(kind.ticks(160), 160, "{kind}");
            assert_eq!(kind.samples(160), samples, "{kind}");
        }
    }

    #[test]
    fn names_and_payload_types_find_their_codec() {
        for kind in CodecKind::ALL {
            assert_eq!(CodecKind::from_name(&kind.name().to_lowercase()), Some(kind));
            assert_eq!(CodecKind::from_payload_type(kind.payload_type()), Some(kind));
        }
        assert_eq!(CodecKind::from_name("G7221"), None);
        assert_eq!(CodecKind::from_payload_type(96), None);
    }

    #[test]
    fn a_short_out_slice_is_an_error_and_leaves_the_state() {
        let mut decoder = Decoder::new(CodecKind::G722);
        let mut fresh = Decoder::new(CodecKind::G722);
        assert_eq!(
            decoder.decode(&[0x12; 160], &mut [0; 319]),
            Err(CodecError::NoRoom { needed: 320, room: 319 })
        );
        let (mut a, mut b) = ([0; 320], [0; 320]);
        decoder.decode(&[0x34; 160], &mut a).expect("room");
        fresh.decode(&[0x34; 160], &mut b).expect("room");
        assert_eq!(a, b);
        assert_eq!(
            Encoder::new(CodecKind::G722).encode(&[0; 3], &mut [0; 3]),
            Err(CodecError::OddSamples { samples: 3 })
        );
    }

    #[test]
    fn reset_starts_the_stream_again() {
        let payload: Vec<u8> = (0..=255).collect();
        let mut decoder = Decoder::new(CodecKind::G722);
        let (mut first, mut again) = ([0; 512], [0; 512]);
        decoder.decode(&payload, &mut first).expect("room");
        decoder.reset();
        decoder.decode(&payload, &mut again).expect("room");
        assert_eq!(first, again);
    }
}
