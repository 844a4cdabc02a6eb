//! Any audio file as blocks of 16-bit samples, channel by channel.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use antiphon_media_frame::{SampleRate, Span};
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use crate::gsm::GsmFile;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system said no.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Not an audio file of a kind we read.
    #[error("{path} is not an audio file this program reads: {reason}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not understood.
        reason: String,
    },
    /// Damaged so that no sound came of it.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// More channels, a higher rate or more sound than is accepted.
    #[error("{path} has {what}, more than {limit}")]
    Limit {
        /// The file.
        path: PathBuf,
        /// What is too much.
        what: String,
        /// What is accepted.
        limit: String,
    },
}

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcm {
    /// Samples per second.
    pub rate: SampleRate,
    /// One vector a channel, equally long.
    pub channels: Vec<Vec<i16>>,
    /// What was wrong with the file, where something was but sound came of it.
    pub warning: Option<String>,
}

impl Pcm {
    /// How long it is.
    #[must_use]
    pub fn duration(&self) -> Span {
        self.rate.span(self.channels.first().map_or(0, Vec::len))
    }

    /// The mean of all channels.
    #[must_use]
    pub fn mono(mut self) -> Vec<i16> {
        if self.channels.len() == 1 {
            return self.channels.swap_remove(0);
        }
        let count = self.channels.len() as i32;
        let length = self.channels.first().map_or(0, Vec::len);
        (0..length)
            .map(|n| (self.channels.iter().map(|c| i32::from(c[n])).sum::<i32>() / count) as i16)
            .collect()
    }
}

/// Reads a whole file.
///
/// # Errors
/// [`ReadError`]; [`ReadError::Limit`] beyond 1 GiB of samples.
pub fn read_all(path: &Path) -> Result<Pcm, ReadError> {
    let mut reader = AudioReader::open(path)?;
    let mut channels = vec![Vec::new(); reader.channels()];
    let mut block = Vec::new();
    while reader.next_block(&mut block)? {
        for (channel, part) in channels.iter_mut().zip(&block) {
            channel.extend_from_slice(part);
        }
        if channels.iter().map(Vec::len).sum::<usize>() > AudioReader::LARGEST_WHOLE {
            return Err(ReadError::Limit {
                path: path.to_owned(),
                what: format!("over {} samples", AudioReader::LARGEST_WHOLE),
                limit: "fits in memory; read it block by block".into(),
            });
        }
    }
    Ok(Pcm { rate: reader.rate(), channels, warning: reader.warning().map(str::to_owned) })
}

/// An audio file being read: WAV (PCM, µ-law, A-law, ADPCM, GSM 06.10), bare GSM frames, AIFF, CAF, FLAC, MP3, AAC and ALAC in MP4, Vorbis and Opus
/// in Ogg and WebM.
pub struct AudioReader {
    path: PathBuf,
    source: Source,
    rate: SampleRate,
    channels: usize,
    duration: Option<Span>,
    warning: Option<String>,
    /// Frames given so far.
    given: u64,
    ended: bool,
    /// The block that told the shape, until it is asked for.
    first: Vec<Vec<i16>>,
    /// Packets in a row that could not be decoded.
    bad: u32,
}

impl AudioReader {
    /// Channels beyond this are refused.
    pub const MOST_CHANNELS: usize = 8;
    /// Samples, all channels together, beyond which [`read_all`] gives up: 1 GiB.
    pub const LARGEST_WHOLE: usize = 512 << 20;
    /// Bad packets in a row after which the rest is given up.
    const PATIENCE: u32 = 1_000;

    /// Opens a file and finds its first audio track.
    ///
    /// # Errors
    /// [`ReadError`]'s variants.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let gsm = GsmFile::open(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        if let Some(gsm) = gsm {
            let rate = SampleRate::new(gsm.rate());
            let rate = rate.filter(|rate| (4_000..=48_000).contains(&rate.hz())).ok_or_else(|| {
                ReadError::Damaged { path: path.to_owned(), reason: format!("a rate of {} Hz", gsm.rate()) }
            })?;
            let duration = Some(rate.span(usize::try_from(gsm.samples()).unwrap_or(usize::MAX)));
            return Self::begin(path, Source::Gsm(Box::new(gsm)), duration, Some((rate, 1)));
        }
        let file = File::open(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        let damaged = |error| Self::error(path, &error);

        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
            hint.with_extension(extension);
        }
        let source = MediaSourceStream::new(Box::new(file), MediaSourceStreamOptions::default());
        let probe = || {
            symphonia::default::get_probe().probe(
                &hint,
                source,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
        };
        let format = guarded(probe)
            .map_err(|reason| ReadError::Damaged { path: path.to_owned(), reason })?
            .map_err(damaged)?;
        let unsupported =
            |reason: &str| ReadError::Unsupported { path: path.to_owned(), reason: reason.into() };
        let track = format.default_track(TrackType::Audio).ok_or_else(|| unsupported("no audio track"))?;
        let params = track
            .codec_params
            .as_ref()
            .and_then(|params| params.audio())
            .ok_or_else(|| unsupported("the codec is not named"))?;

        let decoder = if params.codec == CODEC_ID_OPUS {
            Decoder::Opus(OpusDecoder::new(path, params)?)
        } else {
            let make = || {
                symphonia::default::get_codecs().make_audio_decoder(params, &AudioDecoderOptions::default())
            };
            let made = guarded(make)
                .map_err(|reason| ReadError::Damaged { path: path.to_owned(), reason })?
                .map_err(damaged)?;
            Decoder::Symphonia(made)
        };
        let time = |base: TimeBase, ticks: u64| {
            let nanos = u128::from(ticks) * u128::from(base.numer.get()) * 1_000_000_000
                / u128::from(base.denom.get());
            Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let duration = match (track.num_frames, params.sample_rate, track.time_base, track.duration) {
            (Some(frames), Some(hz), ..) if hz > 0 => {
                Some(time(TimeBase::try_from_recip(hz).ok_or_else(|| unsupported("no rate"))?, frames))
            }
            (.., Some(base), Some(duration)) => Some(time(base, duration.get())),
            _ => None,
        };
        let declared = params.sample_rate.and_then(SampleRate::new).zip(params.channels.as_ref());
        let declared = declared.map(|(rate, channels)| (rate, channels.count()));
        let track = track.id;
        Self::begin(path, Source::Packets { format, decoder, track }, duration, declared)
    }

    /// Decodes the first sound of a file that says it is of this shape.
    fn begin(
        path: &Path,
        source: Source,
        duration: Option<Span>,
        declared: Option<(SampleRate, usize)>,
    ) -> Result<Self, ReadError> {
        let mut reader = Self {
            path: path.to_owned(),
            source,
            rate: SampleRate::HZ_8000,
            channels: 0,
            duration,
            first: Vec::new(),
            warning: None,
            given: 0,
            ended: false,
            bad: 0,
        };
        // The declared shape may be wrong or missing (AAC tells it in the stream): the first sound says what it is.
        let mut first = Vec::new();
        if let Some(rate) = reader.decode_next(&mut first)? {
            (reader.rate, reader.channels) = (rate, first.len());
        } else {
            let reason = reader.warning.clone().unwrap_or_else(|| "no sound in it".into());
            let (rate, channels) =
                declared.ok_or_else(|| ReadError::Damaged { path: path.to_owned(), reason })?;
            (reader.rate, reader.channels) = (rate, channels);
        }
        if !(1..=Self::MOST_CHANNELS).contains(&reader.channels) {
            let what = format!("{} channels", reader.channels);
            let limit = format!("1 to {}", Self::MOST_CHANNELS);
            return Err(ReadError::Limit { path: path.to_owned(), what, limit });
        }
        reader.first = first;
        Ok(reader)
    }

    /// Puts the next block into `out`, one vector a channel, equally long; `false` at the end. Blocks are as the codec
    /// cuts them, at most a few seconds. Vectors are reused.
    ///
    /// # Errors
    /// [`ReadError::Io`]. Damage in mid-file ends the sound early and is told by [`Self::warning`].
    pub fn next_block(&mut self, out: &mut Vec<Vec<i16>>) -> Result<bool, ReadError> {
        if !self.first.is_empty() {
            std::mem::swap(out, &mut self.first);
            self.first = Vec::new();
            self.given += out[0].len() as u64;
            return Ok(true);
        }
        match self.decode_next(out)? {
            Some(rate) if rate == self.rate && out.len() == self.channels => {
                self.given += out[0].len() as u64;
                Ok(true)
            }
            Some(rate) => {
                self.end(format!("it changes to {} channels at {rate} in mid-file", out.len()));
                out.clear();
                Ok(false)
            }
            None => {
                out.clear();
                Ok(false)
            }
        }
    }

    /// Samples per second.
    #[must_use]
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Channels, 1 to [`Self::MOST_CHANNELS`].
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How long the file says it is, if it does. It may be wrong.
    #[must_use]
    pub fn duration(&self) -> Option<Span> {
        self.duration
    }

    /// How much was read so far.
    #[must_use]
    pub fn position(&self) -> Span {
        self.rate.span(usize::try_from(self.given).unwrap_or(usize::MAX))
    }

    /// What is wrong with the file, where something is and sound came of it.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Decodes until there is sound; its rate, or `None` at the end.
    fn decode_next(&mut self, out: &mut Vec<Vec<i16>>) -> Result<Option<SampleRate>, ReadError> {
        while !self.ended {
            let (format, decoder, track) = match &mut self.source {
                Source::Packets { format, decoder, track } => (format, decoder, *track),
                Source::Gsm(gsm) => {
                    out.resize(1, Vec::new());
                    let read = gsm.next_block(&mut out[0]);
                    let rate = SampleRate::new(gsm.rate());
                    match read {
                        Err(reason) => self.end(reason),
                        Ok(()) => self.ended = out[0].is_empty(),
                    }
                    // What was decoded before the damage is sound.
                    if !out[0].is_empty() {
                        return Ok(rate);
                    }
                    continue;
                }
            };
            let next = match guarded(|| format.next_packet()) {
                Ok(next) => next,
                Err(reason) => {
                    self.end(reason);
                    break;
                }
            };
            let packet = match next {
                Ok(Some(packet)) if packet.track_id == track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => {
                    self.ended = true;
                    break;
                }
                Err(SymphoniaError::IoError(source)) if source.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(ReadError::Io { path: self.path.clone(), source });
                }
                Err(SymphoniaError::IoError(_)) => {
                    self.end("it ends in mid-packet".into());
                    break;
                }
                Err(SymphoniaError::ResetRequired) => {
                    self.end("another stream follows in the same file".into());
                    break;
                }
                Err(error) => {
                    self.end(error.to_string());
                    break;
                }
            };
            match guarded(|| decoder.decode(&packet, out)) {
                Err(reason) => self.end(reason),
                Ok(Ok(rate)) => {
                    self.bad = 0;
                    if out.first().is_some_and(|channel| !channel.is_empty()) {
                        return Ok(Some(rate));
                    }
                }
                Ok(Err(reason)) => {
                    self.bad += 1;
                    if self.bad > Self::PATIENCE {
                        self.end(reason);
                    } else if self.warning.is_none() {
                        self.warning = Some(format!("a part of it could not be decoded: {reason}"));
                    }
                }
            }
        }
        if let Some(declared) = self.duration
            && self.warning.is_none()
            && self.position() + Span::from_millis(100) < declared
            && self.channels > 0
        {
            self.warning = Some(format!("it ends after {} of {declared}", self.position()));
        }
        Ok(None)
    }

    fn end(&mut self, reason: String) {
        self.ended = true;
        self.warning = Some(reason);
    }

    fn error(path: &Path, error: &SymphoniaError) -> ReadError {
        let path = path.to_owned();
        match error {
            SymphoniaError::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
                ReadError::Io { path, source: io::Error::new(source.kind(), source.to_string()) }
            }
            SymphoniaError::IoError(_) => ReadError::Damaged { path, reason: "it ends in its header".into() },
            SymphoniaError::DecodeError(reason) => ReadError::Damaged { path, reason: (*reason).into() },
            other => ReadError::Unsupported { path, reason: other.to_string() },
        }
    }
}

/// Runs a demuxer's or decoder's work on a file that may be hostile. Some of them panic on damaged headers; after that
/// the value is not used again, so what state it is in does not matter.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "its decoder gave up on a damaged part".to_owned())
}

/// Where sound comes from.
enum Source {
    /// A file that symphonia takes apart.
    Packets {
        format: Box<dyn FormatReader>,
        decoder: Decoder,
        /// Which of its tracks.
        track: u32,
    },
    /// One of GSM frames.
    Gsm(Box<GsmFile>),
}

/// What turns packets into samples.
enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(OpusDecoder),
}

impl Decoder {
    /// Frames a packet may come to: four seconds at the highest rate.
    const LONGEST: usize = 4 * 192_000;

    fn decode(&mut self, packet: &Packet, out: &mut Vec<Vec<i16>>) -> Result<SampleRate, String> {
        match self {
            Self::Opus(opus) => opus.decode(packet, out),
            Self::Symphonia(decoder) => {
                let sound = decoder.decode(packet).map_err(|error| error.to_string())?;
                let rate = SampleRate::new(sound.spec().rate())
                    .ok_or_else(|| format!("impossible rate of {} Hz", sound.spec().rate()))?;
                if sound.frames() > Self::LONGEST || sound.num_planes() > AudioReader::MOST_CHANNELS {
                    return Err(format!("a packet of {} frames", sound.frames()));
                }
                sound.copy_to_vecs_planar(out);
                Ok(rate)
            }
        }
    }
}

/// Opus, mono or stereo, at 48 kHz (RFC 6716).
struct OpusDecoder {
    decoder: opus::Decoder,
    /// Frames still to be dropped at the start (RFC 7845 section 4.2).
    pre_skip: usize,
    channels: usize,
    interleaved: Vec<i16>,
}

impl OpusDecoder {
    /// The longest packet there is: 120 ms.
    const LONGEST: usize = 5_760;

    fn new(path: &Path, params: &AudioCodecParameters) -> Result<Self, ReadError> {
        let channels = params.channels.as_ref().map_or(0, Channels::count);
        let layout = match channels {
            1 => opus::Channels::Mono,
            2 => opus::Channels::Stereo,
            _ => {
                let what = format!("{channels} channels of Opus");
                return Err(ReadError::Limit { path: path.to_owned(), what, limit: "1 or 2".into() });
            }
        };
        let decoder = opus::Decoder::new(48_000, layout)
            .map_err(|error| ReadError::Unsupported { path: path.to_owned(), reason: error.to_string() })?;
        // Bytes 10 and 11 of the identification header, which Ogg and WebM both carry (RFC 7845 section 5.1).
        let pre_skip = match params.extra_data.as_deref() {
            Some([_, _, _, _, _, _, _, _, _, _, low, high, ..]) => u16::from_le_bytes([*low, *high]),
            _ => 0,
        };
        let interleaved = vec![0; Self::LONGEST * channels];
        Ok(Self { decoder, pre_skip: pre_skip.into(), channels, interleaved })
    }

    fn decode(&mut self, packet: &Packet, out: &mut Vec<Vec<i16>>) -> Result<SampleRate, String> {
        let frames = self
            .decoder
            .decode(&packet.data, &mut self.interleaved, false)
            .map_err(|error| error.to_string())?;
        let trim = |ticks: u64| usize::try_from(ticks).unwrap_or(usize::MAX).min(frames);
        // The demuxer knows where the stream ends but leaves the pre-skip in (symphonia 0.6.1); should it ever cut
        // it, the larger of the two is right.
        let start = trim(packet.trim_start.get()).max(self.pre_skip.min(frames));
        self.pre_skip = self.pre_skip.saturating_sub(start);
        let end = frames.saturating_sub(trim(packet.trim_end.get())).max(start);
        out.resize_with(self.channels, Vec::new);
        for (n, channel) in out.iter_mut().enumerate() {
            channel.clear();
            let kept = &self.interleaved[start * self.channels..end * self.channels];
            channel.extend(kept.iter().skip(n).step_by(self.channels));
        }
        Ok(SampleRate::HZ_48000)
    }
}
