//! The header of a WAV file (RIFF, 16-bit PCM, mono), read from a stream and written before its length is known.

use std::io::{self, Read};

use antiphon_media_frame::SampleRate;

/// Length of the header that [`header`] writes.
pub(crate) const HEADER: usize = 44;
/// Chunks before the sound that are longer than this are not skipped: nobody's header is a megabyte.
const LONGEST_CHUNK: u32 = 1 << 20;

/// What a header says of the sound after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) rate: SampleRate,
    /// Bytes of sound, as written; a streaming writer puts a number here that means nothing.
    pub(crate) bytes: u32,
}

/// Reads up to the first byte of sound.
pub(crate) fn read_header(source: &mut impl Read) -> io::Result<Format> {
    let mut riff = [0; 12];
    source.read_exact(&mut riff)?;
    if &riff[..4] != b"RIFF" || &riff[8..] != b"WAVE" {
        return Err(invalid("not a WAV header"));
    }
    let mut rate = None;
    loop {
        let mut chunk = [0; 8];
        source.read_exact(&mut chunk)?;
        let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        match &chunk[..4] {
            b"data" => {
                let rate = rate.ok_or_else(|| invalid("sound before its format"))?;
                return Ok(Format { rate, bytes: length });
            }
            b"fmt " if (16..=64).contains(&length) => {
                let mut format = [0; 64];
                source.read_exact(&mut format[..length as usize])?;
                let word = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
                if (word(0), word(2), word(14)) != (1, 1, 16) {
                    return Err(invalid("not 16-bit mono PCM"));
                }
                let hz = u32::from_le_bytes([format[4], format[5], format[6], format[7]]);
                rate = Some(SampleRate::new(hz).ok_or_else(|| invalid("an impossible sample rate"))?);
            }
            _ if length <= LONGEST_CHUNK => {
                // Chunks are padded to an even length.
                let skipped = u64::from(length) + u64::from(length % 2);
                io::copy(&mut source.by_ref().take(skipped), &mut io::sink())?;
            }
            _ => return Err(invalid("an overlong chunk")),
        }
    }
}

/// The header of `bytes` of sound.
pub(crate) fn header(rate: SampleRate, bytes: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..4].copy_from_slice(b"RIFF");
    out[4..8].copy_from_slice(&bytes.saturating_add(36).to_le_bytes());
    out[8..16].copy_from_slice(b"WAVEfmt ");
    out[16..20].copy_from_slice(&16u32.to_le_bytes());
    out[20..22].copy_from_slice(&1u16.to_le_bytes());
    out[22..24].copy_from_slice(&1u16.to_le_bytes());
    out[24..28].copy_from_slice(&rate.hz().to_le_bytes());
    out[28..32].copy_from_slice(&(rate.hz() * 2).to_le_bytes());
    out[32..34].copy_from_slice(&2u16.to_le_bytes());
    out[34..36].copy_from_slice(&16u16.to_le_bytes());
    out[36..40].copy_from_slice(b"data");
    out[40..].copy_from_slice(&bytes.to_le_bytes());
    out
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_rubbish_is_refused() {
        let written = header(SampleRate::HZ_16000, 320);
        let read = read_header(&mut &written[..]).expect("our own header");
        assert_eq!(read, Format { rate: SampleRate::HZ_16000, bytes: 320 });
        for cut in 0..HEADER {
            assert!(read_header(&mut &written[..cut]).is_err(), "cut at {cut}");
        }
        for at in [0, 8, 20, 22, 24, 34] {
            let mut bad = written;
            bad[at..at + 2].copy_from_slice(&[0xff, 0xff]);
            let _ = read_header(&mut &bad[..]);
            if at != 24 {
                assert!(read_header(&mut &bad[..]).is_err(), "damage at {at}");
            }
        }
    }
}
