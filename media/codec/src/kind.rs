//! The codecs by name, and how their payloads measure time.

use std::fmt;

use antiphon_media_frame::SampleRate;

use crate::opus;

/// A speech codec as RTP knows it (RFC 3551 section 6, RFC 7587).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// G.711 µ-law: 8 kHz, 64 kbit/s.
    Pcmu,
    /// G.711 A-law: 8 kHz, 64 kbit/s.
    Pcma,
    /// G.722 mode 1: 16 kHz, 64 kbit/s.
    G722,
    /// Opus, coded and decoded as 16 kHz mono whatever the far side sends: what recognisers take and telephones
    /// carry. Between two Opus legs the payload passes through untouched, at full band.
    Opus,
    /// G.729 and its annex A: 8 kHz, 8 kbit/s in frames of 10 ms. Needs the feature `g729`; see [`CodecKind::is_available`].
    G729,
}

impl CodecKind {
    /// Every codec, in the order of preference for a bank's telephone line: wideband first.
    pub const ALL: [Self; 5] = [Self::Opus, Self::G722, Self::Pcma, Self::Pcmu, Self::G729];

    /// The sample-based codecs (RFC 3551 section 4.2), one octet a tick of 125 µs, in the order of [`CodecKind::ALL`].
    pub const SAMPLE_BASED: [Self; 3] = [Self::G722, Self::Pcma, Self::Pcmu];

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
            18 => Some(Self::G729),
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
            Self::Opus => "opus",
            Self::G729 => "G729",
        }
    }

    /// The static RTP payload type; for Opus, which has none, the dynamic one that browsers offer.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 111,
            Self::G729 => 18,
        }
    }

    /// Whether this build can code it: [`Decoder::open`](crate::Decoder::open) fails where it cannot.
    #[must_use]
    pub const fn is_available(self) -> bool {
        !matches!(self, Self::G729) || cfg!(feature = "g729")
    }

    /// Rate of the decoded sound.
    #[must_use]
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma | Self::G729 => SampleRate::HZ_8000,
            Self::G722 | Self::Opus => SampleRate::HZ_16000,
        }
    }

    /// Rate of the RTP timestamp: 48 kHz for Opus (RFC 7587 section 4.1), else 8 kHz, for G.722 by the historical error
    /// that RFC 3551 section 4.5.2 keeps.
    #[must_use]
    pub const fn rtp_clock_hz(self) -> u32 {
        match self {
            Self::Opus => opus::CLOCK_HZ,
            _ => 8_000,
        }
    }

    /// RTP ticks that a payload lasts, by its length or, for Opus, by its first octets. 0 for what is no payload of
    /// this codec at all.
    #[must_use]
    pub fn ticks(self, payload: &[u8]) -> u32 {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => len,
            Self::Opus => opus::ticks(payload),
            // Frames of ten octets; two more are a silence descriptor, which lasts a frame (RFC 3551 section 4.5.6).
            Self::G729 => match len % 10 {
                0 => len.saturating_mul(8),
                2 => (len - 2).saturating_mul(8).saturating_add(80),
                _ => 0,
            },
        }
    }

    /// RTP ticks that `samples` last.
    #[must_use]
    pub const fn ticks_of(self, samples: usize) -> u32 {
        let ticks = match self {
            Self::Pcmu | Self::Pcma | Self::G729 => samples,
            Self::G722 => samples / 2,
            Self::Opus => samples.saturating_mul(3),
        };
        if ticks > u32::MAX as usize { u32::MAX } else { ticks as u32 }
    }

    /// Samples that `ticks` of RTP time last.
    #[must_use]
    pub const fn samples(self, ticks: u32) -> usize {
        match self {
            Self::Pcmu | Self::Pcma | Self::G729 => ticks as usize,
            Self::G722 => (ticks as usize).saturating_mul(2),
            Self::Opus => ticks as usize / 3,
        }
    }

    /// Bytes that `samples` take when encoded (rounded down to whole bytes); for Opus the most they may take.
    #[must_use]
    pub const fn payload_len(self, samples: usize) -> usize {
        match self {
            Self::Pcmu | Self::Pcma => samples,
            Self::G722 => samples / 2,
            Self::Opus => opus::most_bytes(samples),
            Self::G729 => samples / 8,
        }
    }

    /// The longest payload worth taking: 120 ms, which is twice what senders use, or for Opus a whole datagram.
    #[must_use]
    pub const fn longest_payload(self) -> usize {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 960,
            Self::Opus => 1_500,
            Self::G729 => 120,
        }
    }
}

impl fmt::Display for CodecKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_milliseconds_of_a_sample_based_codec_are_160_octets_and_ticks() {
        for kind in CodecKind::SAMPLE_BASED {
            let samples = kind.sample_rate().hz() as usize / 50;
            assert_eq!(kind.payload_len(samples), 160, "{kind}");
            assert_eq!(kind.ticks(&[0; 160]), 160, "{kind}");
        }
    }

    #[test]
    fn ticks_and_samples_measure_the_same_time() {
        for kind in CodecKind::ALL {
            let samples = kind.sample_rate().hz() as usize / 50;
            assert_eq!(kind.ticks_of(samples), kind.rtp_clock_hz() / 50, "{kind}");
            assert_eq!(kind.samples(kind.ticks_of(samples)), samples, "{kind}");
        }
    }

    #[test]
    fn g729_counts_frames_and_a_silence_descriptor() {
        for (len, ticks) in [(0, 0), (2, 80), (10, 80), (12, 160), (20, 160), (22, 240), (15, 0)] {
            assert_eq!(CodecKind::G729.ticks(&[0; 22][..len]), ticks, "{len}");
        }
    }

    #[test]
    fn names_and_payload_types_find_their_codec() {
        for kind in CodecKind::ALL {
            assert_eq!(CodecKind::from_name(&kind.name().to_lowercase()), Some(kind));
            let expected = (kind != CodecKind::Opus).then_some(kind);
            assert_eq!(CodecKind::from_payload_type(kind.payload_type()), expected);
        }
        assert_eq!(CodecKind::from_name("G7221"), None);
        assert_eq!(CodecKind::from_payload_type(96), None);
    }
}
