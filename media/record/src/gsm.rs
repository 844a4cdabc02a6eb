//! Files of GSM 06.10: WAV of format 0x31, as Windows and Asterisk (`.WAV`, wav49) write it, and bare frames (`.gsm`).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use antiphon_media_codec::gsm::{FRAME, GsmDecoder, OCTETS, PAIR};

/// WAVE_FORMAT_GSM610.
const FORMAT: u16 = 0x31;
/// Chunks before the sound; a file with more is none that anybody wrote.
const CHUNKS: usize = 64;
/// Units decoded at once: half a second and more.
const AT_ONCE: usize = 16;

/// A file being read.
pub(crate) struct GsmFile {
    file: BufReader<File>,
    decoder: GsmDecoder,
    /// Octets of a unit: two frames of WAV, or a frame.
    unit: usize,
    /// Octets of sound that are left.
    left: u64,
    rate: u32,
    /// Samples of all of it.
    samples: u64,
}

impl GsmFile {
    /// Opens a file where it is one of GSM; `None` where it is something else.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = BufReader::new(File::open(path)?);
        let length = file.get_ref().metadata()?.len();
        let mut head = [0; 12];
        if file.read_exact(&mut head).is_err() {
            return Ok(None);
        }
        let bare = path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("gsm"));
        let (unit, left, rate) = if &head[..4] == b"RIFF" && &head[8..] == b"WAVE" {
            match sound(&mut file)? {
                Some((declared, rate)) => (PAIR, declared.min(length - file.stream_position()?), rate),
                None => return Ok(None),
            }
        } else if bare && head[0] >> 4 == 0xd {
            file.seek(SeekFrom::Start(0))?;
            (OCTETS, length, 8_000)
        } else {
            return Ok(None);
        };
        let samples = left / unit as u64 * (if unit == PAIR { 2 * FRAME } else { FRAME }) as u64;
        Ok(Some(Self { file, decoder: GsmDecoder::default(), unit, left, rate, samples }))
    }

    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Decodes the next block; an empty one at the end. The error is what is wrong with the sound.
    pub(crate) fn next_block(&mut self, out: &mut Vec<i16>) -> Result<(), String> {
        out.clear();
        let mut octets = [0; PAIR];
        for _ in 0..AT_ONCE {
            if self.left < self.unit as u64 {
                return match self.left {
                    0 => Ok(()),
                    _ => Err("it ends in mid-frame".to_owned()),
                };
            }
            let unit = &mut octets[..self.unit];
            self.file.read_exact(unit).map_err(|_| "it ends in mid-frame".to_owned())?;
            self.left -= self.unit as u64;
            if self.unit == PAIR {
                let pair = self.decoder.decode_pair(unit).map_err(|error| error.to_string())?;
                out.extend(pair.as_flattened());
            } else {
                out.extend(self.decoder.decode(unit).map_err(|error| error.to_string())?);
            }
        }
        Ok(())
    }
}

/// Finds the sound of a WAV file of GSM: its octets and rate. `None` where it is of another format.
fn sound(file: &mut BufReader<File>) -> io::Result<Option<(u64, u32)>> {
    let mut rate = None;
    for _ in 0..CHUNKS {
        let mut head = [0; 8];
        if file.read_exact(&mut head).is_err() {
            return Ok(None);
        }
        let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        match &head[..4] {
            b"fmt " => {
                let mut format = [0; 16];
                if size < 16 || file.read_exact(&mut format).is_err() {
                    return Ok(None);
                }
                let tag = u16::from_le_bytes([format[0], format[1]]);
                let channels = u16::from_le_bytes([format[2], format[3]]);
                let align = u16::from_le_bytes([format[12], format[13]]);
                if tag != FORMAT || channels != 1 || usize::from(align) != PAIR {
                    return Ok(None);
                }
                rate = Some(u32::from_le_bytes([format[4], format[5], format[6], format[7]]));
                skip(file, size - 16 + size % 2)?;
            }
            b"data" => return Ok(rate.map(|rate| (size, rate))),
            _ => skip(file, size + size % 2)?,
        }
    }
    Ok(None)
}

fn skip(file: &mut BufReader<File>, octets: u64) -> io::Result<()> {
    file.seek_relative(i64::try_from(octets).unwrap_or(i64::MAX))
}
