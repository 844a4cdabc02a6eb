//! One decoder and one encoder over all codecs.

#[cfg(feature = "g729")]
use crate::g729;
use crate::opus::{self, OpusConfig};
use crate::{CodecKind, g711, g722};

/// A frame was not coded, or a codec not opened. What was coded before is as it was.
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
    /// A frame-based codec codes frames of certain lengths only.
    #[error("{codec} cannot code {samples} samples at once: pass 10 or 20 ms")]
    FrameLength {
        /// The codec.
        codec: CodecKind,
        /// Samples passed.
        samples: usize,
    },
    /// The payload is none of this codec.
    #[error("{octets} octets are no {codec} payload")]
    Malformed {
        /// The codec.
        codec: CodecKind,
        /// Octets of the payload.
        octets: usize,
    },
    /// This build does not have the codec.
    #[error(
        "{codec} is not in this build: build antiphon-media-codec with its feature for it, or leave it out of the codecs offered"
    )]
    Unavailable {
        /// The codec.
        codec: CodecKind,
    },
    /// The codec's library refused.
    #[error("the {codec} library failed with code {code}")]
    Library {
        /// The codec.
        codec: CodecKind,
        /// What the library returned.
        code: i32,
    },
}

impl CodecError {
    pub(crate) const fn check(needed: usize, room: usize) -> Result<(), Self> {
        if needed > room { Err(Self::NoRoom { needed, room }) } else { Ok(()) }
    }
}

/// Turns payloads into samples; one a received stream.
#[derive(Debug)]
pub struct Decoder {
    kind: CodecKind,
    state: Decoding,
}

#[derive(Debug)]
enum Decoding {
    MuLaw,
    ALaw,
    G722(Box<g722::Decoder>),
    Opus(opus::Decoder),
    #[cfg(feature = "g729")]
    G729(g729::Decoder),
    /// Says why at every frame.
    Failed(CodecError),
}

impl Decoder {
    /// A decoder at the start of a stream.
    ///
    /// # Errors
    /// [`CodecError::Unavailable`] for a codec this build does not have ([`CodecKind::is_available`]);
    /// [`CodecError::Library`] where the codec's library has no memory.
    pub fn open(kind: CodecKind) -> Result<Self, CodecError> {
        let state = match kind {
            CodecKind::Pcmu => Decoding::MuLaw,
            CodecKind::Pcma => Decoding::ALaw,
            CodecKind::G722 => Decoding::G722(Box::new(g722::Decoder::new())),
            CodecKind::Opus => Decoding::Opus(opus::Decoder::new()?),
            #[cfg(feature = "g729")]
            CodecKind::G729 => Decoding::G729(g729::Decoder::new()?),
            #[cfg(not(feature = "g729"))]
            CodecKind::G729 => return Err(CodecError::Unavailable { codec: kind }),
        };
        Ok(Self { kind, state })
    }

    /// As [`Decoder::open`], but says at every frame what was wrong, if anything was: for places that cannot fail, after
    /// [`CodecKind::is_available`] was asked.
    #[must_use]
    pub fn new(kind: CodecKind) -> Self {
        Self::open(kind).unwrap_or_else(|error| Self { kind, state: Decoding::Failed(error) })
    }

    /// Decodes one payload of any length into the front of `out`; returns the samples written, as many as
    /// [`CodecKind::samples`] of [`CodecKind::ticks`].
    ///
    /// # Realtime safety
    /// No allocation; time linear in the payload.
    ///
    /// # Errors
    /// [`CodecError::NoRoom`] when `out` is shorter than the payload's samples; [`CodecError::Malformed`] for what is no
    /// payload of the codec (never for the sample-based ones).
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        let needed = self.kind.samples(self.kind.ticks(payload));
        CodecError::check(needed, out.len())?;
        match &mut self.state {
            Decoding::MuLaw => g711::decode(&g711::MU_LAW, payload, out),
            Decoding::ALaw => g711::decode(&g711::A_LAW, payload, out),
            Decoding::G722(g722) => g722.decode(payload, out),
            Decoding::Opus(opus) => return opus.decode(payload, &mut out[..needed]),
            #[cfg(feature = "g729")]
            Decoding::G729(g729) => return g729.decode(payload, out),
            Decoding::Failed(error) => return Err(*error),
        }
        Ok(needed)
    }

    /// Fills `out` in place of a lost packet (`out` is as long as the packet was), or of the pause of a sender that stops
    /// in silence (DTX). `next` is the payload that follows it, where it is already here: Opus puts a coarse copy of
    /// each packet into the one after it (in-band FEC, RFC 7587 section 4.4), and what `next` says of the lost one is used.
    /// It has to be decoded as usual afterwards. Where several packets in a row are lost, `next` belongs to the last one.
    ///
    /// Returns the samples written: all of `out`, or 0 where the codec leaves it to a [`Concealer`](crate::Concealer).
    ///
    /// # Realtime safety
    /// No allocation.
    ///
    /// # Errors
    /// [`CodecError::Malformed`] where `next` is no payload of the codec: then pass `None`.
    pub fn decode_lost(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> Result<usize, CodecError> {
        match &mut self.state {
            Decoding::MuLaw | Decoding::ALaw | Decoding::G722(_) => Ok(0),
            Decoding::Opus(opus) => opus.decode_lost(next, out),
            #[cfg(feature = "g729")]
            Decoding::G729(g729) => Ok(g729.decode_lost(out)),
            Decoding::Failed(error) => Err(*error),
        }
    }

    /// Returns to the start of a stream, for a new synchronisation source.
    pub fn reset(&mut self) {
        match &mut self.state {
            Decoding::MuLaw | Decoding::ALaw | Decoding::Failed(_) => {}
            Decoding::G722(g722) => **g722 = g722::Decoder::new(),
            Decoding::Opus(opus) => opus.reset(),
            #[cfg(feature = "g729")]
            Decoding::G729(g729) => g729.reset(),
        }
    }

    /// The codec.
    #[must_use]
    pub const fn kind(&self) -> CodecKind {
        self.kind
    }
}

/// Turns samples into payloads; one a sent stream.
#[derive(Debug)]
pub struct Encoder {
    kind: CodecKind,
    state: Encoding,
}

#[derive(Debug)]
enum Encoding {
    MuLaw,
    ALaw,
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
    #[cfg(feature = "g729")]
    G729(g729::Encoder),
    /// Says why at every frame.
    Failed(CodecError),
}

impl Encoder {
    /// An encoder at the start of a stream; Opus with [`OpusConfig::default`].
    ///
    /// # Errors
    /// As [`Decoder::open`].
    pub fn open(kind: CodecKind) -> Result<Self, CodecError> {
        let state = match kind {
            CodecKind::Pcmu => Encoding::MuLaw,
            CodecKind::Pcma => Encoding::ALaw,
            CodecKind::G722 => Encoding::G722(Box::new(g722::Encoder::new())),
            CodecKind::Opus => return Self::opus(&OpusConfig::default()),
            #[cfg(feature = "g729")]
            CodecKind::G729 => Encoding::G729(g729::Encoder::new()?),
            #[cfg(not(feature = "g729"))]
            CodecKind::G729 => return Err(CodecError::Unavailable { codec: kind }),
        };
        Ok(Self { kind, state })
    }

    /// An encoder for Opus as agreed on in SDP.
    ///
    /// # Errors
    /// [`CodecError::Library`] where libopus has no memory.
    pub fn opus(config: &OpusConfig) -> Result<Self, CodecError> {
        Ok(Self { kind: CodecKind::Opus, state: Encoding::Opus(opus::Encoder::new(config)?) })
    }

    /// As [`Encoder::open`], but says at every frame what was wrong, if anything was: for places that cannot fail, after
    /// [`CodecKind::is_available`] was asked.
    #[must_use]
    pub fn new(kind: CodecKind) -> Self {
        Self::open(kind).unwrap_or_else(|error| Self { kind, state: Encoding::Failed(error) })
    }

    /// Encodes samples at [`CodecKind::sample_rate`] into the front of `out`; returns the bytes written.
    ///
    /// 0 bytes say that there is nothing to send, only time to pass: silence with [`OpusConfig::dtx`]. The
    /// timestamp goes on, the sequence number does not.
    ///
    /// # Realtime safety
    /// No allocation; time linear in the samples.
    ///
    /// # Errors
    /// [`CodecError::NoRoom`] when `out` is shorter than [`CodecKind::payload_len`] (Opus makes do with what there is, from
    /// [`OpusConfig::LEAST_ROOM`] on);
    /// [`CodecError::OddSamples`] for an odd number of samples to G.722;
    /// [`CodecError::FrameLength`] for anything but 2.5, 5, 10, 20, 40, 60, 80, 100 or 120 ms to Opus and for anything but
    /// tens of milliseconds to G.729.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        if let Encoding::Opus(opus) = &mut self.state {
            return opus.encode(pcm, out);
        }
        if self.kind == CodecKind::G722 && !pcm.len().is_multiple_of(2) {
            return Err(CodecError::OddSamples { samples: pcm.len() });
        }
        let needed = self.kind.payload_len(pcm.len());
        CodecError::check(needed, out.len())?;
        match &mut self.state {
            Encoding::MuLaw => g711::encode(g711::mu_law, pcm, out),
            Encoding::ALaw => g711::encode(g711::a_law, pcm, out),
            Encoding::G722(g722) => g722.encode(pcm, out),
            Encoding::Opus(opus) => return opus.encode(pcm, out),
            #[cfg(feature = "g729")]
            Encoding::G729(g729) => return g729.encode(pcm, out),
            Encoding::Failed(error) => return Err(*error),
        }
        Ok(needed)
    }

    /// Tells how much of what is sent gets lost, in percent, as the far side's RTCP reports it: the more, the more of
    /// each Opus packet goes into the copy of the one before. No other codec makes anything of it.
    pub fn set_loss(&mut self, percent: u8) {
        if let Encoding::Opus(opus) = &mut self.state {
            opus.set_loss(percent);
        }
    }

    /// Returns to the start of a stream.
    pub fn reset(&mut self) {
        match &mut self.state {
            Encoding::MuLaw | Encoding::ALaw | Encoding::Failed(_) => {}
            Encoding::G722(g722) => **g722 = g722::Encoder::new(),
            Encoding::Opus(opus) => opus.reset(),
            #[cfg(feature = "g729")]
            Encoding::G729(g729) => g729.reset(),
        }
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

    #[test]
    fn a_codec_this_build_lacks_says_so_when_opened_and_at_every_frame() {
        for codec in CodecKind::ALL.into_iter().filter(|kind| !kind.is_available()) {
            let missing = CodecError::Unavailable { codec };
            assert_eq!(Decoder::open(codec).err(), Some(missing));
            assert_eq!(Encoder::open(codec).err(), Some(missing));
            assert_eq!(Decoder::new(codec).decode(&[0; 20], &mut [0; 160]), Err(missing));
            assert_eq!(Decoder::new(codec).decode_lost(None, &mut [0; 160]), Err(missing));
            assert_eq!(Encoder::new(codec).encode(&[0; 160], &mut [0; 20]), Err(missing));
        }
        for codec in CodecKind::ALL.into_iter().filter(|kind| kind.is_available()) {
            assert!(Decoder::open(codec).is_ok() && Encoder::open(codec).is_ok(), "{codec}");
        }
    }
}
