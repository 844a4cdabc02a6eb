//! Once warm, nothing that runs for each frame touches the heap.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use antiphon_media_codec::{
    CodecKind, ComfortNoise, Concealer, Decoder, DriftResampler, DtmfDetector, Encoder, Gate, GateConfig,
    NoiseDecoder, NoiseEncoder, Resampler, mix, tone,
};
use antiphon_media_frame::{SampleRate, Span};

thread_local! {
    /// Allocations of this thread: the test harness's own threads are none of our business.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the trait's promises; counting
// touches only a thread-local of constant initialiser, which does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations that `run` makes.
fn allocations(run: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    run();
    COUNT.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0u8; 10]))), 1);
}

#[test]
fn a_second_of_frames_allocates_nothing() {
    for kind in CodecKind::ALL.into_iter().filter(|kind| kind.is_available()) {
        let rate = kind.sample_rate();
        let other = if rate == SampleRate::HZ_8000 { SampleRate::HZ_16000 } else { SampleRate::HZ_8000 };
        let samples = rate.samples(Span::from_millis(20));
        let voice = tone::sine(180.0, -20.0, rate, Span::from_secs(1));
        let (mut encoder, mut decoder) = (Encoder::new(kind), Decoder::new(kind));
        let mut concealer = Concealer::new(rate);
        let mut gate = Gate::new(rate, GateConfig::default());
        let mut keys = DtmfDetector::new(rate);
        let mut resampler = Resampler::new(rate, other);
        let mut noise = ComfortNoise::new(1);
        let mut drift = DriftResampler::new();
        drift.set_drift(300.0);
        let (mut background, mut comfort) = (NoiseEncoder::new(10), NoiseDecoder::new(1));
        let mut descriptor = [0; NoiseEncoder::LONGEST];
        let mut mixer = mix::Mixer::new(samples);
        let mut payload = vec![0; kind.payload_len(samples)];
        let mut pcm = vec![0; samples];
        let mut converted = Vec::with_capacity(resampler.most(samples).max(drift.most(samples)));
        let mut second = || {
            for (n, frame) in voice.chunks_exact(samples).enumerate() {
                let length = encoder.encode(frame, &mut payload).expect("room");
                let payload = &payload[..length];
                if n % 7 < 2 {
                    if decoder.decode_lost(Some(payload), &mut pcm).expect("a payload") == 0 {
                        concealer.conceal(&mut pcm);
                    }
                    decoder.decode(payload, &mut pcm).expect("room");
                } else {
                    decoder.decode(payload, &mut pcm).expect("room");
                    concealer.good(&mut pcm);
                }
                mix::gain(&mut pcm, -1.0);
                gate.push(&pcm);
                keys.push(&pcm, |_| ());
                converted.clear();
                resampler.process(&pcm, &mut converted);
                converted.clear();
                drift.process(&pcm, &mut converted);
                background.hear(&pcm);
                let length = background.encode(&mut descriptor);
                comfort.update(&descriptor[..length]);
                comfort.fill(&mut pcm);
                mixer.add(&pcm, 0.5);
                mixer.add(frame, 1.0);
                mixer.finish(&mut pcm);
                noise.fill(&mut pcm, -60.0);
                mix::add_into(&mut pcm, frame);
                std::hint::black_box(mix::level_db(&pcm));
            }
        };
        second();
        assert_eq!(allocations(second), 0, "{kind}");
    }
}
