//! The parts of the media plane, each alone: gate, codecs, resampler, jitter buffer, RTP, ring, recording.

use std::hint::black_box;

use antiphon_media_codec::mix::Mixer;
use antiphon_media_codec::{
    CodecKind, Decoder, DriftResampler, DtmfDetector, Encoder, Gate, GateConfig, NoiseDecoder, NoiseEncoder,
    Resampler,
};
use antiphon_media_frame::{AudioFrame, Doorbell, FrameKind, MediaTime, SampleRate, Span, track_ring};
use antiphon_media_record::{Channel, StereoRecording};
use antiphon_media_rtp::{Receiver, ReceiverConfig, Sender, parse};
use antiphon_media_testkit::speech_like;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const FRAME: Span = Span::from_millis(20);

fn main() {
    divan::main();
}

/// Frames of 20 ms, round and round.
struct Frames {
    pcm: Vec<i16>,
    size: usize,
    at: usize,
}

impl Frames {
    fn new(rate: SampleRate) -> Self {
        Self { pcm: speech_like(1, rate, Span::from_secs(20)), size: rate.samples(FRAME), at: 0 }
    }

    fn take(&mut self) -> &[i16] {
        if self.at + self.size > self.pcm.len() {
            self.at = 0;
        }
        self.at += self.size;
        &self.pcm[self.at - self.size..self.at]
    }
}

#[divan::bench(args = [8_000, 16_000])]
fn gate_frame(bencher: Bencher<'_, '_>, hz: u32) {
    let rate = SampleRate::new(hz).expect("a rate");
    let (mut gate, mut frames) = (Gate::new(rate, GateConfig::default()), Frames::new(rate));
    bencher.bench_local(|| black_box(gate.push(frames.take())));
}

#[divan::bench]
fn gate_frame_of_silence(bencher: Bencher<'_, '_>) {
    let mut gate = Gate::new(SampleRate::HZ_8000, GateConfig::default());
    bencher.bench_local(|| black_box(gate.push(&[0; 160])));
}

#[divan::bench(args = [8_000, 16_000, 48_000])]
fn inband_keys_frame(bencher: Bencher<'_, '_>, hz: u32) {
    let rate = SampleRate::new(hz).expect("a rate");
    let (mut detector, mut frames) = (DtmfDetector::new(rate), Frames::new(rate));
    bencher.bench_local(|| {
        detector.push(frames.take(), |event| {
            black_box(event);
        });
    });
}

const CODECS: [CodecKind; 4] = [CodecKind::Opus, CodecKind::G722, CodecKind::Pcma, CodecKind::Pcmu];

#[divan::bench(args = CODECS)]
fn encode_frame(bencher: Bencher<'_, '_>, kind: CodecKind) {
    let (mut encoder, mut frames) = (Encoder::new(kind), Frames::new(kind.sample_rate()));
    let mut payload = [0; 400];
    bencher.bench_local(|| encoder.encode(frames.take(), black_box(&mut payload)));
}

#[divan::bench(args = CODECS)]
fn decode_frame(bencher: Bencher<'_, '_>, kind: CodecKind) {
    let mut frames = Frames::new(kind.sample_rate());
    let mut encoder = Encoder::new(kind);
    let payloads: Vec<Vec<u8>> = (0..500)
        .map(|_| {
            let mut payload = vec![0; 400];
            let length = encoder.encode(frames.take(), &mut payload).expect("it fits");
            payload.truncate(length);
            payload
        })
        .collect();
    let (mut decoder, mut pcm, mut n) = (Decoder::new(kind), [0; 320], 0);
    bencher.bench_local(|| {
        n = (n + 1) % payloads.len();
        decoder.decode(&payloads[n], black_box(&mut pcm))
    });
}

#[divan::bench(args = [(8_000, 16_000), (16_000, 8_000), (48_000, 16_000)])]
fn resample_frame(bencher: Bencher<'_, '_>, (from, to): (u32, u32)) {
    let (from, to) = (SampleRate::new(from).expect("a rate"), SampleRate::new(to).expect("a rate"));
    let (mut resampler, mut frames) = (Resampler::new(from, to), Frames::new(from));
    let mut out = Vec::with_capacity(2_000);
    bencher.bench_local(|| {
        out.clear();
        resampler.process(frames.take(), &mut out);
        black_box(out.len())
    });
}

/// A source whose clock is 100 ppm off, at 8 kHz.
#[divan::bench]
fn drift_frame(bencher: Bencher<'_, '_>) {
    let (mut resampler, mut frames) = (DriftResampler::new(), Frames::new(SampleRate::HZ_8000));
    resampler.set_drift(100.0);
    let mut out = Vec::with_capacity(200);
    bencher.bench_local(|| {
        out.clear();
        resampler.process(frames.take(), &mut out);
        black_box(out.len())
    });
}

#[divan::bench(args = [1, 2, 16])]
fn mix_frame(bencher: Bencher<'_, '_>, sources: usize) {
    let (mut mixer, mut frames) = (Mixer::new(160), Frames::new(SampleRate::HZ_8000));
    let mut out = [0; 160];
    bencher.bench_local(|| {
        (0..sources).for_each(|_| mixer.add(frames.take(), 0.7));
        mixer.finish(black_box(&mut out));
    });
}

/// What a pause costs at 8 kHz: the background described, and made.
#[divan::bench]
fn comfort_noise_frame(bencher: Bencher<'_, '_>) {
    let (mut encoder, mut decoder) = (NoiseEncoder::new(10), NoiseDecoder::new(1));
    let mut frames = Frames::new(SampleRate::HZ_8000);
    let (mut payload, mut pcm) = ([0; NoiseEncoder::LONGEST], [0; 160]);
    bencher.bench_local(|| {
        encoder.hear(frames.take());
        let length = encoder.encode(&mut payload);
        decoder.update(&payload[..length]);
        decoder.fill(black_box(&mut pcm));
    });
}

#[divan::bench]
fn rtp_parse(bencher: Bencher<'_, '_>) {
    let mut wire = [0; 200];
    let length = Sender::new(1, 2, 3, 8_000).packet(0, 160, &[7; 160]).write(&mut wire).expect("it fits");
    bencher.bench_local(|| parse(black_box(&wire[..length])).map(|packet| packet.sequence));
}

#[divan::bench]
fn jitter_buffer_receive_and_pull(bencher: Bencher<'_, '_>) {
    let (mut sender, mut receiver) =
        (Sender::new(1, 65_000, 0xffff_0000, 8_000), Receiver::new(ReceiverConfig::new(8_000)));
    let mut now = MediaTime::ZERO;
    bencher.bench_local(|| {
        now += FRAME;
        receiver.receive(now, sender.packet(0, 160, &[7; 160]), 160);
        black_box(receiver.pull(now));
    });
}

#[divan::bench]
fn track_ring_push_and_pop(bencher: Bencher<'_, '_>) {
    let rate = SampleRate::HZ_8000;
    let (mut writer, mut reader) = track_ring(rate, 16, FRAME, Doorbell::new());
    let mut frames = Frames::new(rate);
    bencher.bench_local(|| {
        let frame = frame(frames.take(), rate, MediaTime::ZERO);
        writer.push(frame).expect("room");
        reader.pop(|frame| black_box(frame.pcm[0]))
    });
}

#[divan::bench(args = [8_000, 16_000])]
fn recording_write_both_tracks(bencher: Bencher<'_, '_>, hz: u32) {
    let rate = SampleRate::new(hz).expect("a rate");
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = StereoRecording::create(&folder.path().join("bench.wav"), rate).expect("created");
    let (mut frames, mut now) = (Frames::new(rate), MediaTime::ZERO);
    bencher.bench_local(|| {
        let pcm = frames.take();
        for channel in Channel::BOTH {
            recording.write(channel, frame(pcm, rate, now)).expect("written");
        }
        now += FRAME;
        recording.advance(now).expect("written");
    });
}

fn frame(pcm: &[i16], rate: SampleRate, at: MediaTime) -> AudioFrame<'_> {
    AudioFrame { pcm, rate, at, kind: FrameKind::Voice, active: true, retracted: false }
}
