//! What two sides agreed to send each other.

use antiphon_media_codec::{CodecKind, OpusConfig};

/// A codec and the payload types around it, as negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The codec, both ways.
    pub codec: CodecKind,
    /// Its RTP payload type.
    pub payload_type: u8,
    /// Payload type of telephone-events (RFC 4733), if agreed. Without it keys are sent as tones.
    pub telephone_event: Option<u8>,
    /// Clock of the telephone-events in Hz.
    pub telephone_event_hz: u32,
    /// Payload type of comfort noise (RFC 3389), if agreed. The static one, 13, is understood in any case.
    pub comfort_noise: Option<u8>,
    /// How we encode, where the codec is Opus. Its DTX is what the far side takes; it is used where silence is suppressed.
    pub opus: OpusConfig,
}

impl Format {
    /// A codec with its static payload type, without telephone-events and comfort noise.
    #[must_use]
    pub fn new(codec: CodecKind) -> Self {
        Self {
            codec,
            payload_type: codec.payload_type(),
            telephone_event: None,
            telephone_event_hz: 8_000,
            comfort_noise: None,
            opus: OpusConfig::default(),
        }
    }

    /// Whether a packet of this type is comfort noise.
    pub(crate) fn is_comfort_noise(&self, payload_type: u8) -> bool {
        // RFC 3551 section 6 gives it to everybody, agreed on or not.
        self.comfort_noise == Some(payload_type) || payload_type == 13
    }
}
