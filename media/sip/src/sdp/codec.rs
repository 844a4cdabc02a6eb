//! The codecs a description can name, and what may be said about them.

use antiphon_media_frame::SampleRate;

/// A speech codec this side can be told to offer and take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.722 at 64 kbit/s: 16 kHz sound under an 8 kHz RTP clock (RFC 3551 §4.5.2).
    G722,
    /// Opus: 16 kHz sound on our side under a 48 kHz RTP clock (RFC 7587).
    Opus,
    /// G.729 at 8 kbit/s without annex B, 8 kHz.
    G729,
}

impl Codec {
    /// Every codec that can be negotiated.
    pub const ALL: [Self; 5] = [Self::Opus, Self::G722, Self::Pcma, Self::Pcmu, Self::G729];

    /// Finds a codec by its encoding name; case does not matter (RFC 8866 §6.6).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Encoding name as written in `a=rtpmap`.
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

    /// Static payload type (RFC 3551 table 4); Opus has none.
    #[must_use]
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::G729 => Some(18),
            Self::Opus => None,
        }
    }

    /// RTP clock in Hz: 48000 for Opus, 8000 for all others, G.722 included.
    #[must_use]
    pub const fn clock_hz(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma | Self::G722 | Self::G729 => 8_000,
        }
    }

    /// Channels in `a=rtpmap`: always 2 for Opus, whatever is sent (RFC 7587 §7).
    #[must_use]
    pub const fn channels(self) -> u8 {
        if matches!(self, Self::Opus) { 2 } else { 1 }
    }

    /// Rate of the decoded sound.
    #[must_use]
    pub const fn sample_rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma | Self::G729 => SampleRate::HZ_8000,
            Self::G722 | Self::Opus => SampleRate::HZ_16000,
        }
    }
}

/// What one side wishes to receive of Opus (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpusParameters {
    /// Packets may carry a copy of the one before (`useinbandfec`).
    pub fec: bool,
    /// Silence may be left out (`usedtx`).
    pub dtx: bool,
    /// Two channels are preferred (`stereo`).
    pub stereo: bool,
    /// Constant bit rate is wanted (`cbr`).
    pub constant_bitrate: bool,
    /// Highest useful sound rate in Hz, 8000 to 48000 (`maxplaybackrate`).
    pub max_playback_hz: u32,
    /// Highest average rate in bit/s, 6000 to 510000 (`maxaveragebitrate`); `None`: the encoder's choice.
    pub max_average_bitrate: Option<u32>,
}

impl OpusParameters {
    /// What a description without `a=fmtp` means: no FEC, no DTX, mono, full band.
    pub const DEFAULT: Self = Self {
        fec: false,
        dtx: false,
        stereo: false,
        constant_bitrate: false,
        max_playback_hz: 48_000,
        max_average_bitrate: None,
    };

    /// For speech on a telephone line: wideband, with FEC, without DTX.
    pub const SPEECH: Self = Self { fec: true, max_playback_hz: 16_000, ..Self::DEFAULT };

    /// Reads the value of an `a=fmtp` after its payload type. Unknown parameters are passed over (RFC 7587 §7.1).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parameters = Self::DEFAULT;
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let flag = || match value.trim() {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            };
            let number = || value.trim().parse::<u32>().ok().filter(|_| !value.contains('+'));
            // Out of range is told apart from not a number: the first is bent into range, as encoders do.
            match name.trim().to_ascii_lowercase().as_str() {
                "useinbandfec" => parameters.fec = flag()?,
                "usedtx" => parameters.dtx = flag()?,
                "stereo" => parameters.stereo = flag()?,
                "cbr" => parameters.constant_bitrate = flag()?,
                "maxplaybackrate" => parameters.max_playback_hz = number()?.clamp(8_000, 48_000),
                "maxaveragebitrate" => {
                    parameters.max_average_bitrate = Some(number()?.clamp(6_000, 510_000));
                }
                _ => {}
            }
        }
        Some(parameters)
    }

    /// The value of an `a=fmtp` after its payload type; only what differs from the default is written.
    pub(super) fn write(&self) -> String {
        let mut parts = vec!["minptime=10".to_owned()];
        for (name, set) in [
            ("useinbandfec", self.fec),
            ("usedtx", self.dtx),
            ("stereo", self.stereo),
            ("cbr", self.constant_bitrate),
        ] {
            if set {
                parts.push(format!("{name}=1"));
            }
        }
        if self.max_playback_hz != Self::DEFAULT.max_playback_hz {
            parts.push(format!("maxplaybackrate={}", self.max_playback_hz));
        }
        if let Some(bitrate) = self.max_average_bitrate {
            parts.push(format!("maxaveragebitrate={bitrate}"));
        }
        parts.join(";")
    }
}

impl Default for OpusParameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_opus_reads_back() {
        let all = OpusParameters {
            fec: true,
            dtx: true,
            stereo: true,
            constant_bitrate: true,
            max_playback_hz: 16_000,
            max_average_bitrate: Some(24_000),
        };
        for parameters in [all, OpusParameters::DEFAULT, OpusParameters::SPEECH] {
            assert_eq!(OpusParameters::parse(&parameters.write()), Some(parameters));
        }
    }

    #[test]
    fn odd_parameters_are_bent_or_refused() {
        let odd =
            OpusParameters::parse("maxplaybackrate=96000; sprop-stereo=1;x;maxaveragebitrate=1").unwrap();
        assert_eq!((odd.max_playback_hz, odd.max_average_bitrate), (48_000, Some(6_000)));
        assert_eq!(OpusParameters::parse("useinbandfec=yes"), None);
        assert_eq!(OpusParameters::parse("maxplaybackrate=99999999999"), None);
        assert_eq!(OpusParameters::parse("maxplaybackrate=+8000"), None);
    }
}
