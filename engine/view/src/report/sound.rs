//! Sound within a page: G.711 µ-law in WAV at 8 kHz, which every browser plays without a library and which takes 8 kB a
//! second and track, half of what samples take and no encoder's licence.

use antiphon_media_codec::{CodecKind, Encoder, resample};
use antiphon_media_frame::{SampleRate, Span};

/// Tracks of a recording, on one clock.
#[derive(Clone, Copy, Debug)]
pub struct Sound<'a> {
    /// Of all tracks.
    pub rate: SampleRate,
    /// One vector a track, in the conversation's order. The first two are heard, left and right; all are drawn.
    pub tracks: &'a [Vec<i16>],
}

/// How much sound a page may hold: octets before base64, which adds a third.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embed {
    /// The whole call where it takes no more than this.
    pub whole: usize,
    /// Otherwise the findings' clips, as long as they take no more than this together.
    pub clips: usize,
}

impl Default for Embed {
    /// The whole call up to 6.5 minutes of two tracks, else as much in clips.
    fn default() -> Self {
        Self { whole: 6 << 20, clips: 6 << 20 }
    }
}

const RATE: SampleRate = SampleRate::HZ_8000;
/// A clip is no longer, whatever is found.
const LONGEST: Span = Span::from_secs(60);

/// What is heard, ready to be cut.
pub(crate) struct Cutter {
    /// µ-law, the tracks' octets by turns.
    octets: Vec<u8>,
    tracks: usize,
}

impl Cutter {
    /// `None` where there is nothing to hear.
    pub(crate) fn new(sound: Sound<'_>) -> Option<Self> {
        let heard = &sound.tracks[..sound.tracks.len().min(2)];
        let narrow: Vec<Vec<i16>> = heard.iter().map(|track| resample(track, sound.rate, RATE)).collect();
        let length = narrow.iter().map(Vec::len).max().filter(|&length| length > 0)?;
        let mut octets = vec![0xff; length * narrow.len()];
        for (track, pcm) in narrow.iter().enumerate() {
            let mut encoder = Encoder::new(CodecKind::Pcmu);
            let mut payload = [0xff; 160];
            for (block, pcm) in pcm.chunks(payload.len()).enumerate() {
                // G.711 makes an octet of a sample and takes any number of them.
                let made = encoder.encode(pcm, &mut payload).unwrap_or(0);
                for (n, &octet) in payload[..made].iter().enumerate() {
                    octets[(block * 160 + n) * narrow.len() + track] = octet;
                }
            }
        }
        Some(Self { octets, tracks: narrow.len() })
    }

    /// Octets of the whole.
    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    /// A WAV of the whole.
    pub(crate) fn whole(&self) -> Vec<u8> {
        self.wav(&self.octets)
    }

    /// A WAV of what lies between two times in milliseconds, [`LONGEST`] of it; `None` where nothing does.
    pub(crate) fn clip(&self, start: i64, end: i64) -> Option<Vec<u8>> {
        let sample = |millis: i64| RATE.samples(Span::from_millis(u64::try_from(millis).unwrap_or(0)));
        let length = self.octets.len() / self.tracks;
        let (from, to) = (
            sample(start).min(length),
            sample(end.min(start.saturating_add(LONGEST.millis() as i64))).min(length),
        );
        (from < to).then(|| self.wav(&self.octets[from * self.tracks..to * self.tracks]))
    }

    fn wav(&self, octets: &[u8]) -> Vec<u8> {
        let tracks = self.tracks as u16;
        let size = octets.len() as u32;
        let mut wav = Vec::with_capacity(octets.len() + 60);
        wav.extend(b"RIFF");
        wav.extend((size + (size & 1) + 50).to_le_bytes());
        wav.extend(b"WAVEfmt ");
        wav.extend(18u32.to_le_bytes());
        for word in [7, tracks] {
            wav.extend(u16::to_le_bytes(word));
        }
        wav.extend(RATE.hz().to_le_bytes());
        wav.extend((RATE.hz() * u32::from(tracks)).to_le_bytes());
        for word in [tracks, 8, 0] {
            wav.extend(u16::to_le_bytes(word));
        }
        wav.extend(b"fact");
        wav.extend(4u32.to_le_bytes());
        wav.extend((size / u32::from(tracks)).to_le_bytes());
        wav.extend(b"data");
        wav.extend(size.to_le_bytes());
        wav.extend(octets);
        wav.resize(wav.len() + (size & 1) as usize, 0);
        wav
    }
}

/// The loudest sample of each of `columns` equal parts of the time, 0 to 1.
pub(crate) fn peaks(track: &[i16], rate: SampleRate, until_ms: i64, columns: usize) -> Vec<f32> {
    let samples = rate.samples(Span::from_millis(u64::try_from(until_ms).unwrap_or(0))).max(1);
    let at = |column: usize| (samples as u128 * column as u128 / columns as u128) as usize;
    let loudest = |column: usize| {
        let part = &track[at(column).min(track.len())..at(column + 1).min(track.len())];
        part.iter().map(|x| x.unsigned_abs()).max().map_or(0.0, |x| f32::from(x) / 32_768.0)
    };
    (0..columns).map(loudest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_cut_to_the_sample_and_read_back() {
        let tracks = [vec![8_000i16; 16_000], vec![-4_000; 16_000]];
        let cutter = Cutter::new(Sound { rate: RATE, tracks: &tracks }).unwrap();
        assert_eq!(cutter.len(), 32_000);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.wav");
        std::fs::write(&path, cutter.clip(500, 1_501).unwrap()).unwrap();
        let read = antiphon_media_record::read_all(&path).unwrap();
        assert_eq!((read.rate, read.channels.len(), read.channels[0].len()), (RATE, 2, 8_008));
        assert!((read.channels[0][100] - 8_000).abs() < 300 && (read.channels[1][100] + 4_000).abs() < 150);
        assert_eq!(cutter.clip(3_000, 4_000), None);
        assert_eq!(cutter.clip(900, 800), None);
    }

    #[test]
    fn peaks_tell_the_loudest_of_each_part() {
        let track = [vec![0i16; 8_000], vec![16_384; 8_000]].concat();
        assert_eq!(peaks(&track, RATE, 4_000, 4), [0.0, 0.5, 0.0, 0.0]);
    }
}
