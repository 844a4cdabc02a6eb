//! What the callers say: a loop that sounds like speech to a voice detector, encoded once for all calls.

use std::f32::consts::TAU;

use antiphon_media_codec::{CodecError, CodecKind, Encoder};

/// Frames of 20 ms in the loop.
const FRAMES: usize = 400;
/// A stretch of speech and the pause after it.
const SPOKEN: f32 = 1.7;
const PAUSE: f32 = 0.6;
/// Syllables a second.
const SYLLABLES: f32 = 4.5;

/// A loop of encoded packets of 20 ms.
pub(super) struct Loop {
    /// RTP ticks that each lasts.
    pub(super) ticks: u32,
    /// Ticks a second.
    pub(super) clock_hz: u32,
    packets: Vec<Box<[u8]>>,
}

impl Loop {
    /// Eight seconds of it.
    pub(super) fn speech_like(kind: CodecKind) -> Result<Self, CodecError> {
        let rate = kind.sample_rate();
        let frame = rate.hz() as usize / 50;
        let mut encoder = Encoder::open(kind)?;
        let mut out = vec![0; kind.payload_len(frame)];
        let packets = samples(rate.hz(), frame * FRAMES)
            .chunks_exact(frame)
            .map(|pcm| encoder.encode(pcm, &mut out).map(|len| out[..len].into()))
            .collect::<Result<_, _>>()?;
        Ok(Self { ticks: kind.ticks_of(frame), clock_hz: kind.rtp_clock_hz(), packets })
    }

    /// A packet of the loop; any number will do.
    pub(super) fn packet(&self, number: usize) -> &[u8] {
        &self.packets[number % self.packets.len()]
    }
}

/// Voice-like: harmonics of a gliding pitch under two formants, cut into syllables, with pauses.
fn samples(hz: u32, count: usize) -> Vec<i16> {
    let hz = hz as f32;
    let mut phase = 0.0f32;
    (0..count)
        .map(|n| {
            let at = n as f32 / hz;
            let within = at % (SPOKEN + PAUSE);
            if within > SPOKEN {
                return 0;
            }
            let pitch = 130.0 + 25.0 * (TAU * 0.7 * at).sin();
            phase = (phase + pitch / hz).fract();
            // The first formant moves, as if vowels changed.
            let first = 500.0 + 200.0 * (TAU * 1.3 * at).sin();
            let voice: f32 = (1..=20u8)
                .map(|harmonic| {
                    let harmonic = f32::from(harmonic);
                    let frequency = pitch * harmonic;
                    let near = |formant: f32, width: f32| (-((frequency - formant) / width).powi(2)).exp();
                    (near(first, 150.0) + 0.5 * near(1_500.0, 250.0)) * (TAU * phase * harmonic).sin()
                })
                .sum();
            let syllable = (TAU * SYLLABLES * within / 2.0).sin().abs();
            (4_000.0 * syllable * voice) as i16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use antiphon_media_codec::{Gate, GateConfig};
    use antiphon_media_frame::SampleRate;

    use super::*;

    #[test]
    fn a_voice_detector_takes_it_for_speech_with_pauses() {
        let rate = SampleRate::HZ_8000;
        let mut gate = Gate::new(rate, GateConfig::default());
        let speaking: Vec<bool> =
            samples(8_000, 160 * FRAMES).chunks_exact(160).map(|pcm| gate.push(pcm).active).collect();
        let share = speaking.iter().filter(|speaks| **speaks).count() * 100 / speaking.len();
        assert!((50..98).contains(&share), "{share} % of it is taken for speech");
    }

    #[test]
    fn every_codec_gets_packets_of_20_ms() {
        for kind in CodecKind::ALL.into_iter().filter(|kind| kind.is_available()) {
            let sound = Loop::speech_like(kind).expect("encoded");
            assert_eq!(sound.packets.len(), FRAMES, "{kind}");
            assert!((0..FRAMES * 2).all(|n| kind.ticks(sound.packet(n)) == sound.ticks), "{kind}");
        }
    }
}
