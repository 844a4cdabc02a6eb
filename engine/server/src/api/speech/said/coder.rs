//! Speech in the coding that was asked for, as it is made.

use antiphon_engine_service::openai::{Audio, PCM_RATE};
use antiphon_media_codec::Resampler;
use antiphon_media_frame::SampleRate;
use antiphon_media_record::wav_mono;

use super::flac::Flac;
use super::mp3::Mp3;
use super::ogg_opus::OggOpus;

/// The octets of a size that is not known yet, as other makers of speech write it.
const UNKNOWN: u8 = 0xff;

/// One coding of one stretch of speech.
pub(super) enum Coder {
    /// 16 bits at 24 kHz.
    Pcm(Paced),
    /// RIFF at the voice's rate; whether its header is written.
    Wav(SampleRate, bool),
    /// Ogg Opus.
    Opus(Paced, Box<OggOpus>),
    /// FLAC at the voice's rate.
    Flac(Box<Flac>),
    /// MPEG Audio Layer III at the voice's rate.
    Mp3(Mp3),
}

/// Sound brought to 24 kHz.
pub(super) struct Paced {
    resampler: Resampler,
    pcm: Vec<i16>,
}

impl Paced {
    fn new(rate: SampleRate) -> Self {
        Self { resampler: Resampler::new(rate, PCM_RATE), pcm: Vec::new() }
    }

    fn add(&mut self, pcm: &[i16]) -> &[i16] {
        self.pcm.clear();
        self.resampler.process(pcm, &mut self.pcm);
        &self.pcm
    }

    /// What the filter still holds back.
    fn rest(&mut self) -> &[i16] {
        let held = self.resampler.from().samples(self.resampler.delay());
        self.add(&vec![0; held])
    }
}

impl Coder {
    /// A coder of sound at `rate`.
    pub(super) fn new(format: Audio, rate: SampleRate) -> Result<Self, String> {
        match format {
            Audio::Pcm => Ok(Self::Pcm(Paced::new(rate))),
            Audio::Wav => Ok(Self::Wav(rate, false)),
            Audio::Opus => Ok(Self::Opus(Paced::new(rate), Box::new(OggOpus::new()?))),
            Audio::Flac => Ok(Self::Flac(Box::new(Flac::new(rate)))),
            Audio::Mp3 => Ok(Self::Mp3(Mp3::new(rate)?)),
            Audio::Aac => Err(format!("there is no coder of {}", format.media_type())),
        }
    }

    /// Codes `pcm`; what is ready of it goes to the end of `out`.
    pub(super) fn add(&mut self, pcm: &[i16], out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Pcm(paced) => put(paced.add(pcm), out),
            Self::Wav(rate, begun) => {
                if !std::mem::replace(begun, true) {
                    let mut header = wav_mono(&[], *rate).map_err(|error| error.to_string())?;
                    // Both lengths: of the file and of the sound.
                    header[4..8].fill(UNKNOWN);
                    header[40..44].fill(UNKNOWN);
                    out.append(&mut header);
                }
                put(pcm, out);
            }
            Self::Opus(paced, opus) => opus.add(paced.add(pcm), out)?,
            Self::Flac(flac) => flac.add(pcm, out),
            Self::Mp3(mp3) => mp3.add(pcm, out)?,
        }
        Ok(())
    }

    /// Codes what is held back and ends the stream.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Pcm(paced) => put(paced.rest(), out),
            Self::Wav(..) => self.add(&[], out)?,
            Self::Opus(paced, opus) => {
                opus.add(paced.rest(), out)?;
                opus.finish(out)?;
            }
            Self::Flac(flac) => flac.finish(out),
            Self::Mp3(mp3) => mp3.finish(out)?,
        }
        Ok(())
    }
}

fn put(pcm: &[i16], out: &mut Vec<u8>) {
    out.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use antiphon_media_record::AudioReader;

    use super::*;

    /// Something like speech: a tone that swells, and a little noise.
    fn sound(rate: SampleRate, samples: usize) -> Vec<i16> {
        let mut seed = 1u32;
        (0..samples)
            .map(|n| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let t = n as f64 / f64::from(rate.hz());
                let swell = (t * 3.0).sin().abs() * 9_000.0;
                ((t * 440.0 * std::f64::consts::TAU).sin() * swell) as i16 + (seed >> 26) as i16
            })
            .collect()
    }

    /// Codes in uneven pieces, and returns the length of each output.
    fn coded(format: Audio, rate: SampleRate, pcm: &[i16]) -> (Vec<u8>, Vec<usize>) {
        let mut coder = Coder::new(format, rate).expect("a coder");
        let (mut out, mut steps) = (Vec::new(), Vec::new());
        for piece in pcm.chunks(2_711) {
            coder.add(piece, &mut out).expect("coded");
            steps.push(out.len());
        }
        coder.finish(&mut out).expect("coded");
        (out, steps)
    }

    /// What another program's decoders make of it.
    fn decoded(octets: &[u8], suffix: &str) -> (Vec<i16>, SampleRate) {
        let file = tempfile::Builder::new().suffix(suffix).tempfile().expect("a file");
        std::fs::write(file.path(), octets).expect("written");
        let mut reader = AudioReader::open(file.path()).expect("a format that is known");
        let (mut pcm, mut block) = (Vec::new(), Vec::new());
        while reader.next_block(&mut block).expect("sound") {
            pcm.extend_from_slice(&block[0]);
        }
        (pcm, reader.rate())
    }

    #[test]
    fn flac_loses_nothing_and_comes_while_it_is_made() {
        let rate = SampleRate::HZ_16000;
        for samples in [0, 1, 3, 17, 4_095, 4_096, 4_097, 40_000] {
            let pcm = sound(rate, samples);
            let (octets, steps) = coded(Audio::Flac, rate, &pcm);
            if samples > 0 {
                assert_eq!(decoded(&octets, ".flac"), (pcm, rate), "{samples}");
            }
            if samples == 40_000 {
                assert!(octets.len() < samples * 2 * 3 / 4, "{} octets", octets.len());
                assert!(steps[2] > 1_000, "two frames: {steps:?}");
            }
        }
    }

    #[test]
    fn flac_takes_whatever_a_sample_can_be() {
        let rate = SampleRate::new(22_050).expect("a rate");
        let wild: Vec<i16> = (0..9_000).map(|n| if n % 3 == 0 { i16::MIN } else { i16::MAX }).collect();
        let quiet = vec![0; 5_000];
        let flat = vec![-5; 5_000];
        for pcm in [wild, quiet, flat] {
            let (octets, _) = coded(Audio::Flac, rate, &pcm);
            assert_eq!(decoded(&octets, ".flac"), (pcm, rate));
        }
    }

    #[test]
    fn mp3_sounds_like_what_went_in_and_comes_while_it_is_made() {
        if !super::super::mp3::available() {
            eprintln!("skipped: there is no libmp3lame here");
            return;
        }
        for hz in [8_000, 16_000, 22_050, 44_100] {
            let rate = SampleRate::new(hz).expect("a rate");
            let pcm = sound(rate, hz as usize * 2);
            let (octets, steps) = coded(Audio::Mp3, rate, &pcm);
            assert!((15_500..18_500).contains(&octets.len()), "two seconds at 64 kbit/s: {}", octets.len());
            assert!(steps[steps.len() / 2] > 5_000, "half is out at half time: {steps:?}");
            let (heard, found) = decoded(&octets, ".mp3");
            assert_eq!(found, rate);
            // The coder's delay is at most three frames of 1,152.
            let delay = (0..4_000).min_by_key(|delay| {
                let apart = heard.iter().skip(*delay).step_by(7).zip(pcm.iter().step_by(7));
                apart.take(2_000).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
            });
            let heard = &heard[delay.expect("some")..];
            let power = |pcm: &mut dyn Iterator<Item = f64>| pcm.map(|s| s * s).sum::<f64>();
            let signal = power(&mut pcm.iter().map(|s| f64::from(*s)));
            let noise = power(&mut heard.iter().zip(&pcm).map(|(a, b)| f64::from(*a) - f64::from(*b)));
            let decibels = 10.0 * (signal / noise).log10();
            assert!(decibels > 15.0, "{hz} Hz: {decibels:.1} dB above what coding adds");
        }
    }

    #[test]
    fn a_wav_has_its_header_first_and_once() {
        let rate = SampleRate::HZ_16000;
        let pcm = sound(rate, 9_000);
        let (octets, steps) = coded(Audio::Wav, rate, &pcm);
        assert_eq!(octets.len(), 44 + 18_000);
        assert_eq!(
            (&octets[..4], &octets[36..40], &octets[40..44]),
            (&b"RIFF"[..], &b"data"[..], &[0xff; 4][..])
        );
        assert_eq!(steps[0], 44 + 2 * 2_711, "all of it at once");
        assert_eq!(decoded(&octets, ".wav"), (pcm, rate));
        assert_eq!(coded(Audio::Wav, rate, &[]).0.len(), 44);
    }

    #[test]
    fn pcm_is_at_its_rate_and_whole() {
        let (octets, steps) = coded(Audio::Pcm, SampleRate::HZ_16000, &sound(SampleRate::HZ_16000, 16_000));
        assert!((48_000..48_400).contains(&octets.len()), "{}", octets.len());
        assert!(steps[0] > 7_000);
    }

    #[test]
    fn opus_is_as_long_as_the_sound_and_comes_while_it_is_made() {
        let pcm = sound(SampleRate::HZ_16000, 40_000);
        let (octets, steps) = coded(Audio::Opus, SampleRate::HZ_16000, &pcm);
        assert!(octets.len() < 20_000, "{} octets for 2.5 s", octets.len());
        assert!(steps[1] > 200 && steps.windows(4).all(|steps| steps[0] < steps[3]), "{steps:?}");
        let mut packets = ogg::PacketReader::new(std::io::Cursor::new(&octets));
        let head = packets.read_packet_expected().expect("a header").data;
        assert_eq!((&head[..8], head[8], head[9]), (&b"OpusHead"[..], 1, 1));
        let skip = u64::from(u16::from_le_bytes([head[10], head[11]]));
        assert_eq!(&packets.read_packet_expected().expect("tags").data[..8], b"OpusTags");
        let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).expect("a decoder");
        let (mut heard, mut end) = (Vec::new(), 0);
        while let Some(packet) = packets.read_packet().expect("a page") {
            let mut pcm = [0; 5_760];
            let count = decoder.decode(&packet.data, &mut pcm, false).expect("a packet");
            heard.extend_from_slice(&pcm[..count]);
            assert!(packet.absgp_page() >= end, "time goes on");
            end = packet.absgp_page();
        }
        // 2.5 s and what the resampler holds back.
        assert!((120_000..121_000).contains(&(end - skip)), "{end} {skip}");
        assert!(heard.len() as u64 >= end, "enough to cut the end from");
        let loud = |pcm: &[i16]| pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / pcm.len() as f64;
        let ratio = loud(&heard) / loud(&pcm);
        assert!((0.7..1.3).contains(&ratio), "{ratio}");
    }
}
