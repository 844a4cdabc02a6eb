//! The RIFF WAVE header, the repair of one whose writer died, and small mono files.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use antiphon_media_frame::{SampleRate, Span};

/// Length of the header: RIFF, `fmt ` of 16 bytes, and the head of `data`.
pub(crate) const HEADER: usize = 44;

/// The most sample data a 32-bit RIFF size can count, whole stereo samples, with a little to spare.
pub(crate) const MOST_DATA: u32 = u32::MAX - 1_023;

/// Writes 16-bit mono sound as a WAV file, replacing what was there.
///
/// # Errors
/// The file system's; `InvalidInput` for more than 4 GiB.
pub fn write_wav_mono(path: &Path, pcm: &[i16], rate: SampleRate) -> io::Result<()> {
    // What does not fit must not leave an empty file.
    data_of(pcm)?;
    let mut out = BufWriter::new(File::create(path)?);
    write_mono(&mut out, pcm, rate)?;
    out.flush()
}

/// The same as octets.
///
/// # Errors
/// `InvalidInput` for more than 4 GiB.
pub fn wav_mono(pcm: &[i16], rate: SampleRate) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(HEADER + pcm.len() * 2);
    write_mono(&mut out, pcm, rate)?;
    Ok(out)
}

fn write_mono(out: &mut impl Write, pcm: &[i16], rate: SampleRate) -> io::Result<()> {
    out.write_all(&header(rate, 1, data_of(pcm)?))?;
    pcm.iter().try_for_each(|sample| out.write_all(&sample.to_le_bytes()))
}

fn data_of(pcm: &[i16]) -> io::Result<u32> {
    let bytes = u32::try_from(pcm.len().saturating_mul(2)).ok().filter(|bytes| *bytes <= MOST_DATA);
    bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "more sound than a WAV file can hold"))
}

/// Why a recording could not be repaired.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The file system said no.
    #[error("cannot repair {path}: {source}")]
    Io {
        /// The recording.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Not a recording of ours: another kind of file, or shorter than a header.
    #[error("{path} is not a recording: {reason}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: &'static str,
    },
}

/// What [`recover`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whether the header was wrong and is right now.
    pub repaired: bool,
    /// The recording's rate.
    pub rate: SampleRate,
    /// How much sound there is.
    pub duration: Span,
}

/// Makes the header of a recording right whose writer died: sizes are taken from the file's length, an unfinished last
/// sample is cut off. A sound file is left as it is.
///
/// # Errors
/// [`RecoverError::Foreign`] for files that [`crate::StereoRecording`] did not write; [`RecoverError::Io`].
pub fn recover(path: &Path) -> Result<Recovered, RecoverError> {
    let io = |source| RecoverError::Io { path: path.to_owned(), source };
    let foreign = |reason| RecoverError::Foreign { path: path.to_owned(), reason };

    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length < HEADER as u64 {
        return Err(foreign("shorter than a header"));
    }
    let mut found = [0u8; HEADER];
    file.read_exact(&mut found).map_err(io)?;
    let rate = SampleRate::new(u32::from_le_bytes([found[24], found[25], found[26], found[27]]))
        .ok_or_else(|| foreign("no sample rate"))?;
    let channels = u16::from_le_bytes([found[22], found[23]]);
    if !(1..=2).contains(&channels) {
        return Err(foreign("not mono or stereo"));
    }
    let mut blank = header(rate, channels, 0);
    blank[4..8].copy_from_slice(&found[4..8]);
    blank[40..44].copy_from_slice(&found[40..44]);
    if blank != found {
        return Err(foreign("not a plain 16-bit WAV header"));
    }
    let block = 2 * u64::from(channels);
    let data = (length - HEADER as u64).min(u64::from(MOST_DATA)) / block * block;
    let right = header(rate, channels, data as u32);
    let repaired = right != found || HEADER as u64 + data != length;
    if repaired {
        file.set_len(HEADER as u64 + data).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        file.write_all(&right).map_err(io)?;
        file.sync_all().map_err(io)?;
    }
    Ok(Recovered { repaired, rate, duration: rate.span((data / block) as usize) })
}

/// A header for `data` bytes of 16-bit samples.
pub(crate) fn header(rate: SampleRate, channels: u16, data: u32) -> [u8; HEADER] {
    let block = channels * 2;
    let mut out = [0; HEADER];
    out[0..4].copy_from_slice(b"RIFF");
    out[4..8].copy_from_slice(&(data + HEADER as u32 - 8).to_le_bytes());
    out[8..16].copy_from_slice(b"WAVEfmt ");
    out[16..20].copy_from_slice(&16u32.to_le_bytes());
    out[20..22].copy_from_slice(&1u16.to_le_bytes());
    out[22..24].copy_from_slice(&channels.to_le_bytes());
    out[24..28].copy_from_slice(&rate.hz().to_le_bytes());
    out[28..32].copy_from_slice(&(rate.hz() * u32::from(block)).to_le_bytes());
    out[32..34].copy_from_slice(&block.to_le_bytes());
    out[34..36].copy_from_slice(&16u16.to_le_bytes());
    out[36..40].copy_from_slice(b"data");
    out[40..44].copy_from_slice(&data.to_le_bytes());
    out
}
