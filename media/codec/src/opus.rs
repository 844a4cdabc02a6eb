//! Opus (RFC 6716) as RFC 7587 carries it, by libopus: 16 kHz mono on our side.

use ::opus::{Application, Bandwidth, Bitrate, Channels, ErrorCode, Signal};

use crate::{CodecError, CodecKind};

/// The RTP clock, whatever the rate of the sound (RFC 7587 section 4.1).
pub(crate) const CLOCK_HZ: u32 = 48_000;
/// Our rate. Recognisers take it, telephones carry no more, and the decoder costs a third of what it does at 48 kHz.
const RATE_HZ: u32 = 16_000;
/// libopus conceals in steps of 2.5 ms.
const STEP: usize = 40;
/// The longest packet there is: 120 ms.
const LONGEST: usize = 1_920;
const LONGEST_TICKS: u32 = 5_760;
/// The longest Opus frame is 20 ms or is packed as such.
const FRAME: usize = 320;
/// An Opus frame takes at most this many octets (RFC 6716 section 3.4).
const FRAME_OCTETS: usize = 1_275;
/// libopus asks not to send packets of up to this many octets while DTX is on.
const UNSENT: usize = 2;

/// How Opus is encoded. Both sides understand every setting without its being negotiated; SDP only tells wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusConfig {
    /// Bits a second, 6,000 to 128,000 (what lies outside counts as the nearest); on average, for the rate varies.
    pub bitrate: u32,
    /// Whether each packet carries a coarse copy of the one before, as far as the loss told to
    /// [`Encoder::set_loss`](crate::Encoder::set_loss) makes that worth its bits.
    pub fec: bool,
    /// Whether silence is not sent, but for a packet in 400 ms. Saves bandwidth and costs the far side its certainty
    /// that we are there; some telephones take it for a broken call.
    pub dtx: bool,
    /// Effort, 0 to 10. On six read sentences at 24 kbit/s a frame of 20 ms took 33 µs at 1, 61 at 2, 111 at 5 and 181 at
    /// 9, for a segmental signal-to-noise ratio of 9.9, 10.1, 10.2 and 10.4 dB: hence 1.
    pub complexity: u8,
}

impl OpusConfig {
    /// The fewest octets of room in which a frame is encoded.
    pub const LEAST_ROOM: usize = 128;
}

impl Default for OpusConfig {
    fn default() -> Self {
        Self { bitrate: 24_000, fec: true, dtx: false, complexity: 1 }
    }
}

/// RTP ticks of a packet, by its table of contents (RFC 6716 section 3.1); 0 for what is no packet.
pub(crate) fn ticks(payload: &[u8]) -> u32 {
    let Some(toc) = payload.first() else { return 0 };
    let configuration = usize::from(toc >> 3);
    let frame = match configuration {
        0..12 => [480, 960, 1_920, 2_880][configuration % 4],
        12..16 => [480, 960][configuration % 2],
        _ => [120, 240, 480, 960][configuration % 4],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => payload.get(1).map_or(0, |count| u32::from(count & 0x3f)),
    };
    let ticks = frame * frames;
    if ticks > LONGEST_TICKS { 0 } else { ticks }
}

/// The most octets that `samples` can take.
pub(crate) const fn most_bytes(samples: usize) -> usize {
    // A table of contents, a count of frames, and a length of two octets for each frame but the last.
    let frames = samples.div_ceil(FRAME);
    frames.saturating_mul(FRAME_OCTETS + 2)
}

#[derive(Debug)]
pub(crate) struct Decoder {
    inner: ::opus::Decoder,
}

impl Decoder {
    pub(crate) fn new() -> Result<Self, CodecError> {
        Ok(Self { inner: ::opus::Decoder::new(RATE_HZ, Channels::Mono).map_err(library)? })
    }

    /// Decodes a packet that lasts as long as `out`.
    pub(crate) fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        if out.is_empty() {
            return Err(malformed(payload));
        }
        self.inner.decode(payload, out, false).map_err(|error| decoding(payload, &error))
    }

    /// Fills `out` by the copy in `next`, as far as it has one, and else by concealment.
    pub(crate) fn decode_lost(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> Result<usize, CodecError> {
        if next.is_some_and(|next| ticks(next) == 0) {
            return Err(malformed(next.unwrap_or_default()));
        }
        let mut done = 0;
        // What is no whole step is concealed first, so that the copy stands at the end, where it belongs.
        let odd = out.len() % STEP;
        if odd > 0 {
            let mut step = [0; STEP];
            self.conceal(&mut step)?;
            out[..odd].copy_from_slice(&step[..odd]);
            done = odd;
        }
        while out.len() - done > LONGEST {
            self.conceal(&mut out[done..done + LONGEST])?;
            done += LONGEST;
        }
        let rest = &mut out[done..];
        if rest.is_empty() {
            return Ok(out.len());
        }
        match next {
            Some(next) => {
                self.inner.decode(next, rest, true).map_err(|error| decoding(next, &error))?;
            }
            None => self.conceal(rest)?,
        }
        Ok(out.len())
    }

    pub(crate) fn reset(&mut self) {
        // Fails for an unknown request only.
        let _ = self.inner.reset_state();
    }

    fn conceal(&mut self, out: &mut [i16]) -> Result<(), CodecError> {
        self.inner.decode(&[], out, false).map(|_| ()).map_err(library)
    }
}

#[derive(Debug)]
pub(crate) struct Encoder {
    inner: ::opus::Encoder,
    dtx: bool,
}

impl Encoder {
    pub(crate) fn new(config: &OpusConfig) -> Result<Self, CodecError> {
        let mut inner = ::opus::Encoder::new(RATE_HZ, Channels::Mono, Application::Voip).map_err(library)?;
        let bitrate = config.bitrate.clamp(6_000, 128_000) as i32;
        inner
            .set_bitrate(Bitrate::Bits(bitrate))
            .and_then(|()| inner.set_complexity(i32::from(config.complexity.min(10))))
            .and_then(|()| inner.set_signal(Signal::Voice))
            .and_then(|()| inner.set_max_bandwidth(Bandwidth::Wideband))
            .and_then(|()| inner.set_inband_fec(config.fec))
            .and_then(|()| inner.set_dtx(config.dtx))
            .map_err(library)?;
        Ok(Self { inner, dtx: config.dtx })
    }

    /// Encodes a frame; 0 for one that need not be sent.
    pub(crate) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        CodecError::check(OpusConfig::LEAST_ROOM, out.len())?;
        if !matches!(pcm.len(), 40 | 80 | 160 | 320 | 640 | 960 | 1_280 | 1_600 | 1_920) {
            return Err(CodecError::FrameLength { codec: CodecKind::Opus, samples: pcm.len() });
        }
        let length = self.inner.encode(pcm, out).map_err(library)?;
        Ok(if self.dtx && length <= UNSENT { 0 } else { length })
    }

    pub(crate) fn set_loss(&mut self, percent: u8) {
        // Fails outside 0 to 100 only.
        let _ = self.inner.set_packet_loss_perc(i32::from(percent.min(100)));
    }

    pub(crate) fn reset(&mut self) {
        // Fails for an unknown request only.
        let _ = self.inner.reset_state();
    }
}

const fn malformed(payload: &[u8]) -> CodecError {
    CodecError::Malformed { codec: CodecKind::Opus, octets: payload.len() }
}

fn decoding(payload: &[u8], error: &::opus::Error) -> CodecError {
    match error.code() {
        ErrorCode::InvalidPacket | ErrorCode::BadArg | ErrorCode::BufferTooSmall => malformed(payload),
        code => CodecError::Library { codec: CodecKind::Opus, code: code as i32 },
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the error of map_err")]
fn library(error: ::opus::Error) -> CodecError {
    CodecError::Library { codec: CodecKind::Opus, code: error.code() as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every first octet, with every count of frames behind it.
    #[test]
    fn ticks_are_those_that_libopus_counts() {
        for toc in 0..=u8::MAX {
            for count in 0..64 {
                let payload = [toc, count, 0, 0, 0, 0];
                let counted = ::opus::packet::get_nb_samples(&payload, CLOCK_HZ).unwrap_or(0);
                assert_eq!(ticks(&payload) as usize, counted, "{toc:#x} {count}");
            }
        }
        assert_eq!((ticks(&[]), ticks(&[3])), (0, 0));
    }
}
