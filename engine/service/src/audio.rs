//! How audio arrives.

use antiphon_media_frame::SampleRate;

use crate::Refusal;

/// The most channels of one stream.
pub(crate) const MOST_CHANNELS: usize = 8;

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// 16 bits, signed, little-endian.
    Linear16,
    /// 32 bits, IEEE 754, little-endian, full scale at 1.
    Float32,
    /// G.711 µ-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
}

impl Coding {
    /// Octets of a sample.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Linear16 => 2,
            Self::Float32 => 4,
            Self::Mulaw | Self::Alaw => 1,
        }
    }
}

/// A raw stream of samples, channels interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How samples are written.
    pub coding: Coding,
    /// Samples a second of each channel.
    pub rate: SampleRate,
    /// Channels, 1 to 8.
    pub channels: usize,
}

impl Format {
    /// Checks what a client said.
    pub(crate) fn new(coding: Coding, hz: u64, channels: u64) -> Result<Self, Refusal> {
        let rate = u32::try_from(hz)
            .ok()
            .filter(|hz| (8_000..=48_000).contains(hz))
            .and_then(SampleRate::new)
            .ok_or_else(|| Refusal::new(format!("a sample rate of {hz} is not taken: 8000 to 48000")))?;
        let channels =
            usize::try_from(channels).ok().filter(|count| (1..=MOST_CHANNELS).contains(count)).ok_or_else(
                || Refusal::new(format!("{channels} channels are not taken: 1 to {MOST_CHANNELS}")),
            )?;
        Ok(Self { coding, rate, channels })
    }
}
