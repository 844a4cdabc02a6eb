//! Arbitrary bytes, samples, rates, lengths and settings: an error or a sound, never a panic.

use antiphon_media_codec::{
    CodecKind, ComfortNoise, Concealer, Decoder, Encoder, Gate, GateConfig, Resampler, mix, resample, tone,
};
use antiphon_media_frame::{SampleRate, Span};
use proptest::collection::vec;
use proptest::prelude::*;

fn kind() -> impl Strategy<Value = CodecKind> {
    prop::sample::select(&CodecKind::SAMPLE_BASED[..])
}

/// Rates of telephones and files, and odd ones; the extremes are in a test of their own, for they are slow.
fn rate() -> impl Strategy<Value = SampleRate> {
    prop_oneof![
        prop::sample::select(&[8_000u32, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000][..]),
        1_000u32..=60_000,
    ]
    .prop_map(|hz| SampleRate::new(hz).expect("a valid rate"))
}

fn frames() -> impl Strategy<Value = Vec<Vec<i16>>> {
    vec(vec(prop_oneof![any::<i16>(), Just(i16::MIN), Just(i16::MAX)], 0..700), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sound_passes_the_key_detector(
        pcm in prop::collection::vec(any::<i16>(), 0..4_000),
        hz in prop::sample::select(vec![8_000u32, 11_025, 16_000, 44_100, 48_000, 192_000]),
    ) {
        let mut detector = antiphon_media_codec::DtmfDetector::new(SampleRate::new(hz).expect("a rate"));
        for frame in pcm.chunks(pcm.len() / 3 + 1) {
            detector.push(frame, |_| ());
        }
    }

    #[test]
    fn any_octets_pass_the_frame_based_decoders(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..8),
        room in 0usize..2_000,
        lost in 0usize..3_000,
    ) {
        for kind in [CodecKind::Opus, CodecKind::G729] {
            let mut decoder = Decoder::new(kind);
            for payload in &payloads {
                let mut out = vec![0; room];
                if let Ok(samples) = decoder.decode(payload, &mut out) {
                    prop_assert_eq!(samples, kind.samples(kind.ticks(payload)));
                }
                if let Ok(samples) = decoder.decode_lost(Some(payload), &mut vec![0; lost]) {
                    prop_assert!(samples == 0 || samples == lost);
                }
            }
        }
    }

    #[test]
    fn codecs(kind in kind(), payload in vec(any::<u8>(), 0..500), pcm in vec(any::<i16>(), 0..500), room in 0usize..1_100) {
        let mut out = vec![0; room];
        if let Ok(samples) = Decoder::new(kind).decode(&payload, &mut out) {
            prop_assert_eq!(samples, kind.samples(kind.ticks(&payload)));
        } else {
            prop_assert!(room < kind.samples(kind.ticks(&payload)));
        }
        let mut out = vec![0; room];
        if let Ok(bytes) = Encoder::new(kind).encode(&pcm, &mut out) {
            prop_assert_eq!(bytes, kind.payload_len(pcm.len()));
        }
    }

    #[test]
    fn concealment(rate in rate(), frames in frames(), lost in any::<u8>()) {
        let mut concealer = Concealer::new(rate);
        let mut peak = 0;
        for (n, mut frame) in frames.into_iter().enumerate() {
            if lost & (1 << n) != 0 {
                concealer.conceal(&mut frame);
                prop_assert!(frame.iter().all(|s| s.unsigned_abs() <= peak));
            } else {
                peak = frame.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0).max(peak);
                concealer.good(&mut frame);
            }
        }
    }

    #[test]
    fn conversion(from in rate(), to in rate(), frames in frames()) {
        let mut resampler = Resampler::new(from, to);
        for frame in &frames {
            let mut out = Vec::with_capacity(resampler.most(frame.len()));
            let room = out.capacity();
            resampler.process(frame, &mut out);
            prop_assert_eq!(out.capacity(), room);
        }
        let pcm = frames.concat();
        let exact = pcm.len() as f64 * f64::from(to.hz()) / f64::from(from.hz());
        prop_assert!((resample(&pcm, from, to).len() as f64 - exact).abs() <= 0.5);
    }

    #[test]
    fn gates(
        rate in rate(), frames in frames(), threshold in any::<f32>(), floor_db in any::<f32>(),
        start in any::<u64>(), hangover in any::<u64>(),
    ) {
        let (start, hangover) = (Span::from_nanos(start), Span::from_nanos(hangover));
        let mut gate = Gate::new(rate, GateConfig { threshold, start, hangover, floor_db });
        for frame in &frames {
            let decision = gate.push(frame);
            prop_assert!((0.0..=1.0).contains(&decision.probability));
        }
    }

    #[test]
    fn tones_and_levels(
        rate in rate(), hz in any::<f64>(), db in any::<f32>(), key in any::<char>(), mut pcm in vec(any::<i16>(), 0..300),
        seed in any::<u64>(),
    ) {
        let span = Span::from_millis(5);
        let _ = tone::sine(hz, db, rate, span);
        let _ = tone::dtmf(key, rate, span);
        ComfortNoise::new(seed).fill(&mut pcm, db);
        mix::gain(&mut pcm, db);
        mix::ramp(&mut pcm, db, hz as f32);
        prop_assert!((-96.0..=0.0).contains(&mix::level_db(&pcm)));
    }
}

#[test]
fn the_most_unequal_rates_convert() {
    let rate = |hz| SampleRate::new(hz).expect("a valid rate");
    for (from, to) in [(1, 192_000), (192_000, 1), (191_999, 192_000), (191_999, 7), (3, 2)] {
        let out = resample(&[1_000; 3], rate(from), rate(to));
        assert_eq!(out.len() as f64, (3.0 * f64::from(to) / f64::from(from)).round(), "{from} to {to}");
        Gate::new(rate(from), GateConfig::default()).push(&[1_000; 3]);
        let mut concealer = Concealer::new(rate(from));
        concealer.good(&mut [1_000; 3]);
        concealer.conceal(&mut [0; 3]);
    }
}
