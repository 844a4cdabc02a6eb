//! Opus both ways: round trips, lost packets, pauses, and packets of other makers.

use antiphon_media_codec::{CodecError, CodecKind, Decoder, Encoder, OpusConfig, mix, tone};
use antiphon_media_frame::{SampleRate, Span};

const RATE: SampleRate = SampleRate::HZ_16000;
const FRAME: usize = 320;
/// libopus looks 6.5 ms ahead at most.
const LATEST: usize = 110;

/// Something like a voice: syllables of harmonics whose pitch and colour move, so that no repetition foretells them.
fn voice(span: Span) -> Vec<i16> {
    let mut phase = 0.0;
    (0..RATE.samples(span))
        .map(|n| {
            let t = n as f64 / 16_000.0;
            phase += (140.0 + 50.0 * (t * 5.0).sin()) / 16_000.0;
            let colour = 700.0 + 400.0 * (t * 11.0).sin();
            let sum: f64 = (1..20)
                .map(|k| {
                    let hz = f64::from(k) * 140.0;
                    (std::f64::consts::TAU * f64::from(k) * phase).sin()
                        / (1.0 + ((hz - colour) / 300.0).powi(2))
                })
                .sum();
            (sum * 3_000.0 * (0.6 + 0.4 * (t * 17.0).sin())) as i16
        })
        .collect()
}

fn packets(encoder: &mut Encoder, pcm: &[i16], frame: usize) -> Vec<Vec<u8>> {
    pcm.chunks_exact(frame)
        .map(|pcm| {
            let mut payload = vec![0; 1_500];
            let length = encoder.encode(pcm, &mut payload).expect("room");
            payload.truncate(length);
            payload
        })
        .collect()
}

/// How far `pcm` lies below the error it is heard with, in dB.
fn snr(clean: &[i16], heard: &[i16]) -> f64 {
    let power: f64 = clean.iter().map(|s| f64::from(*s).powi(2)).sum();
    let error: f64 = clean.iter().zip(heard).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (power / error.max(1.0)).log10()
}

#[test]
fn a_voice_survives_a_round_trip_in_packets_of_every_length() {
    let pcm = voice(Span::from_secs(3));
    for millis in [10, 20, 40, 60] {
        let frame = RATE.samples(Span::from_millis(millis));
        let mut encoder =
            Encoder::opus(&OpusConfig { bitrate: 32_000, ..OpusConfig::default() }).expect("libopus");
        let mut decoder = Decoder::open(CodecKind::Opus).expect("libopus");
        let mut heard = Vec::new();
        for payload in packets(&mut encoder, &pcm, frame) {
            assert_eq!(CodecKind::Opus.ticks(&payload), millis as u32 * 48);
            assert!(payload.len() <= CodecKind::Opus.payload_len(frame));
            let mut out = [0; 960];
            assert_eq!(decoder.decode(&payload, &mut out), Ok(frame));
            heard.extend_from_slice(&out[..frame]);
        }
        let best =
            (0..=LATEST).map(|delay| snr(&pcm[FRAME..], &heard[FRAME + delay..])).fold(f64::MIN, f64::max);
        assert!(best > 9.0, "{millis} ms: {best:.1} dB");
    }
}

#[test]
fn a_lost_packet_is_better_made_from_the_copy_in_the_next() {
    let pcm = voice(Span::from_secs(10));
    let mut encoder = Encoder::open(CodecKind::Opus).expect("libopus");
    encoder.set_loss(20);
    let packets = packets(&mut encoder, &pcm, FRAME);
    let mut whole = Decoder::new(CodecKind::Opus);
    let (mut copied, mut concealed) = (Decoder::new(CodecKind::Opus), Decoder::new(CodecKind::Opus));
    let (mut clean, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for (n, payload) in packets.iter().enumerate() {
        let (mut a, mut b, mut c) = ([0; FRAME], [0; FRAME], [0; FRAME]);
        whole.decode(payload, &mut a).expect("a packet");
        if n % 5 == 3 && n + 1 < packets.len() {
            assert_eq!(copied.decode_lost(Some(&packets[n + 1]), &mut b), Ok(FRAME));
            assert_eq!(concealed.decode_lost(None, &mut c), Ok(FRAME));
            clean.extend(a);
            with.extend(b);
            without.extend(c);
        } else {
            copied.decode(payload, &mut b).expect("a packet");
            concealed.decode(payload, &mut c).expect("a packet");
        }
    }
    let (with, without) = (snr(&clean, &with), snr(&clean, &without));
    assert!(with > without + 3.0, "{with:.1} dB by the copy, {without:.1} dB by concealment");
}

#[test]
fn a_loss_of_any_length_is_filled_and_fades() {
    let pcm = voice(Span::from_secs(1));
    let packets = packets(&mut Encoder::new(CodecKind::Opus), &pcm, FRAME);
    for length in [1, 39, 40, 161, 320, 500, 960, 1_921, 16_000] {
        for next in [None, packets.get(25).map(Vec::as_slice)] {
            let mut decoder = Decoder::new(CodecKind::Opus);
            let mut out = [0; FRAME];
            for payload in &packets[..24] {
                decoder.decode(payload, &mut out).expect("a packet");
            }
            let mut lost = vec![i16::MAX; length];
            assert_eq!(decoder.decode_lost(next, &mut lost), Ok(length));
            assert!(lost.iter().all(|s| *s != i16::MAX));
            if length == 16_000 {
                assert!(mix::level_db(&lost[8_000..15_000]) < mix::level_db(&pcm) - 30.0);
            }
        }
    }
}

#[test]
fn silence_is_not_sent_when_asked_but_now_and_then() {
    let config = OpusConfig { dtx: true, ..OpusConfig::default() };
    let mut encoder = Encoder::opus(&config).expect("libopus");
    let mut pcm = voice(Span::from_secs(1));
    let spoken = pcm.len() / FRAME;
    pcm.resize(pcm.len() + 3 * 16_000, 0);
    let packets = packets(&mut encoder, &pcm, FRAME);
    assert!(packets[..spoken].iter().all(|payload| payload.len() > 2), "a voice is sent whole");
    let sent = packets[spoken + 25..].iter().filter(|payload| !payload.is_empty()).count();
    assert!((1..=10).contains(&sent), "{sent} of 125 packets sent");
    let mut decoder = Decoder::new(CodecKind::Opus);
    let mut loudest = f32::MIN;
    for (n, payload) in packets.iter().enumerate() {
        let mut out = [0; FRAME];
        if payload.is_empty() {
            decoder.decode_lost(None, &mut out).expect("a pause");
        } else {
            decoder.decode(payload, &mut out).expect("a packet");
        }
        if n > spoken + 25 {
            loudest = loudest.max(mix::level_db(&out));
        }
    }
    assert!(loudest < -60.0, "{loudest} dBFS in the pause");
}

#[test]
fn stereo_at_full_band_comes_as_16_khz_mono() {
    let mut encoder =
        opus::Encoder::new(48_000, opus::Channels::Stereo, opus::Application::Audio).expect("libopus");
    let sound = tone::sine(1_000.0, -12.0, SampleRate::HZ_48000, Span::from_secs(1));
    let both: Vec<i16> = sound.iter().flat_map(|s| [*s, *s]).collect();
    let mut decoder = Decoder::new(CodecKind::Opus);
    let mut heard = Vec::new();
    for frame in both.chunks_exact(1_920) {
        let payload = encoder.encode_vec(frame, 1_500).expect("room");
        let mut out = [0; FRAME];
        assert_eq!(decoder.decode(&payload, &mut out), Ok(FRAME));
        heard.extend(out);
    }
    let level = mix::level_db(&heard[3_200..12_800]);
    assert!((level + 12.0).abs() < 1.0, "{level}");
}

#[test]
fn what_cannot_be_coded_is_an_error() {
    let codec = CodecKind::Opus;
    let mut encoder = Encoder::new(codec);
    assert_eq!(
        encoder.encode(&[0; 300], &mut [0; 500]),
        Err(CodecError::FrameLength { codec, samples: 300 })
    );
    assert_eq!(
        encoder.encode(&[0; FRAME], &mut [0; 50]),
        Err(CodecError::NoRoom { needed: OpusConfig::LEAST_ROOM, room: 50 })
    );
    let mut decoder = Decoder::new(codec);
    assert_eq!(decoder.decode(&[], &mut [0; FRAME]), Err(CodecError::Malformed { codec, octets: 0 }));
    // Two frames of the same length cannot share an odd number of octets.
    assert_eq!(
        decoder.decode(&[0x41, 0, 0, 0], &mut [0; 640]),
        Err(CodecError::Malformed { codec, octets: 4 })
    );
    assert_eq!(
        decoder.decode(&[0x48, 1, 2], &mut [0; 100]),
        Err(CodecError::NoRoom { needed: 320, room: 100 })
    );
    assert_eq!(
        decoder.decode_lost(Some(&[]), &mut [0; FRAME]),
        Err(CodecError::Malformed { codec, octets: 0 })
    );
}
