//! Opus in Ogg (RFC 7845), page by page.

use ogg::writing::{PacketWriteEndInfo, PacketWriter};
use opus::{Application, Bitrate, Channels, Encoder};

/// The rate of the sound that is given.
const RATE_HZ: u32 = 24_000;
/// 20 ms of it.
const FRAME: usize = 480;
/// Samples at 48 kHz, by which Ogg counts, for one of ours.
const TICKS: u64 = 2;
/// Speech of full bandwidth sounds as good as it gets at 32 kbit/s.
const BITRATE: i32 = 32_000;
/// Frames of a page after the first ones: 200 ms.
const PAGE: u64 = 10;
/// The most octets of a packet (RFC 6716, section 3.4).
const LARGEST: usize = 1_275;
/// One stream a file: any number names it.
const SERIAL: u32 = 0x616e_7469;

/// A file that is being written.
pub(super) struct OggOpus {
    encoder: Encoder,
    writer: PacketWriter<'static, Vec<u8>>,
    /// Samples that do not fill a frame yet.
    pcm: Vec<i16>,
    /// Samples that were given.
    given: u64,
    frames: u64,
    /// Samples that the decoder is to leave out at the beginning, at 48 kHz.
    skip: u64,
    /// The packet that may be the last one.
    held: Option<Vec<u8>>,
    begun: bool,
}

impl OggOpus {
    pub(super) fn new() -> Result<Self, String> {
        let words = |error: opus::Error| error.to_string();
        let mut encoder = Encoder::new(RATE_HZ, Channels::Mono, Application::Audio).map_err(words)?;
        encoder.set_bitrate(Bitrate::Bits(BITRATE)).map_err(words)?;
        let ahead = u64::try_from(encoder.get_lookahead().map_err(words)?).unwrap_or(0);
        Ok(Self {
            encoder,
            writer: PacketWriter::new(Vec::new()),
            pcm: Vec::new(),
            given: 0,
            frames: 0,
            skip: ahead * TICKS,
            held: None,
            begun: false,
        })
    }

    /// Codes samples at 24 kHz; whole pages go to the end of `out`.
    pub(super) fn add(&mut self, pcm: &[i16], out: &mut Vec<u8>) -> Result<(), String> {
        self.begin()?;
        self.given += pcm.len() as u64;
        self.pcm.extend_from_slice(pcm);
        let whole = self.pcm.len() / FRAME * FRAME;
        let pcm: Vec<i16> = self.pcm.drain(..whole).collect();
        for frame in pcm.chunks_exact(FRAME) {
            self.code(frame)?;
        }
        out.append(self.writer.inner_mut());
        Ok(())
    }

    /// Codes what is left; the last page says where the sound ends.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.begin()?;
        let end = self.given * TICKS + self.skip;
        // The encoder is behind by what is skipped.
        while self.frames * FRAME as u64 * TICKS < end || self.held.is_none() {
            let mut frame = std::mem::take(&mut self.pcm);
            frame.resize(FRAME, 0);
            self.code(&frame)?;
        }
        if let Some(last) = self.held.take() {
            self.write(last, PacketWriteEndInfo::EndStream, end)?;
        }
        out.append(self.writer.inner_mut());
        Ok(())
    }

    /// The two headers (RFC 7845, section 5), each a page of its own.
    fn begin(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let mut head = b"OpusHead\x01\x01".to_vec();
        head.extend_from_slice(&u16::try_from(self.skip).unwrap_or(u16::MAX).to_le_bytes());
        head.extend_from_slice(&RATE_HZ.to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]);
        self.write(head, PacketWriteEndInfo::EndPage, 0)?;
        let maker = b"Antiphon";
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(maker.len() as u32).to_le_bytes());
        tags.extend_from_slice(maker);
        tags.extend_from_slice(&0u32.to_le_bytes());
        self.write(tags, PacketWriteEndInfo::EndPage, 0)
    }

    fn code(&mut self, frame: &[i16]) -> Result<(), String> {
        let packet = self.encoder.encode_vec(frame, LARGEST).map_err(|error| error.to_string())?;
        if let Some(held) = self.held.replace(packet) {
            // The first page is short, so that the first sound comes soon.
            let info = if self.frames == PAGE / 2 || self.frames.is_multiple_of(PAGE) {
                PacketWriteEndInfo::EndPage
            } else {
                PacketWriteEndInfo::NormalPacket
            };
            self.write(held, info, self.frames * FRAME as u64 * TICKS)?;
        }
        self.frames += 1;
        Ok(())
    }

    fn write(&mut self, packet: Vec<u8>, info: PacketWriteEndInfo, end: u64) -> Result<(), String> {
        self.writer.write_packet(packet, SERIAL, info, end).map_err(|error| error.to_string())
    }
}
