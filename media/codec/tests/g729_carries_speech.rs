//! G.729 both ways, against itself and against FFmpeg's decoder.
#![cfg(feature = "g729")]

use std::io::Write as _;
use std::process::Command;

use antiphon_media_codec::{CodecError, CodecKind, Decoder, Encoder, mix};

const CODEC: CodecKind = CodecKind::G729;
const FRAME: usize = 160;

/// Harmonics that glide, in syllables.
fn voice() -> Vec<i16> {
    let mut phase = 0.0;
    (0..32_000)
        .map(|n| {
            let t = f64::from(n) / 8_000.0;
            phase += (120.0 + 30.0 * (t * 4.0).sin()) / 8_000.0;
            let colour = 600.0 + 250.0 * (t * 9.0).sin();
            let sum: f64 = (1..24)
                .map(|k| {
                    let apart = (f64::from(k) * 120.0 - colour) / 250.0;
                    (std::f64::consts::TAU * f64::from(k) * phase).sin() / (1.0 + apart * apart)
                })
                .sum();
            (sum * 2_500.0 * (0.6 + 0.4 * (t * 15.0).sin())) as i16
        })
        .collect()
}

fn coded(pcm: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::open(CODEC).expect("the feature is on");
    pcm.chunks_exact(FRAME)
        .map(|pcm| {
            let mut payload = vec![0; 20];
            assert_eq!(encoder.encode(pcm, &mut payload), Ok(20));
            payload
        })
        .collect()
}

fn decoded(payloads: &[Vec<u8>]) -> Vec<i16> {
    let mut decoder = Decoder::open(CODEC).expect("the feature is on");
    let mut heard = Vec::new();
    for payload in payloads {
        let mut out = [0; FRAME];
        assert_eq!(decoder.decode(payload, &mut out), Ok(FRAME));
        heard.extend_from_slice(&out);
    }
    heard
}

/// The greatest normalised correlation over delays of up to 20 ms.
fn likeness(a: &[i16], b: &[i16]) -> f64 {
    let dot =
        |a: &[i16], b: &[i16]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let a = &a[..a.len() - FRAME];
    (0..FRAME)
        .map(|delay| {
            dot(a, &b[delay..]) / (dot(a, a) * dot(&b[delay..][..a.len()], &b[delay..][..a.len()])).sqrt()
        })
        .fold(f64::MIN, f64::max)
}

#[test]
fn a_voice_survives_a_round_trip() {
    let pcm = voice();
    let heard = decoded(&coded(&pcm));
    assert!(likeness(&pcm, &heard) > 0.8, "{:.3}", likeness(&pcm, &heard));
    assert!((mix::level_db(&pcm) - mix::level_db(&heard)).abs() < 2.0);
}

#[test]
fn another_decoder_hears_the_same_in_another_process() {
    let payloads = coded(&voice());
    let folder = std::env::temp_dir();
    let (bits, sound) = (
        folder.join(format!("antiphon-{}.g729", std::process::id())),
        folder.join(format!("antiphon-{}.raw", std::process::id())),
    );
    std::fs::write(&bits, payloads.concat()).expect("a writable temporary folder");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "g729", "-i"])
        .arg(&bits)
        .args(["-f", "s16le"])
        .arg(&sound)
        .status();
    let theirs = std::fs::read(&sound);
    let _ = (std::fs::remove_file(&bits), std::fs::remove_file(&sound));
    let Ok(true) = status.map(|status| status.success()) else {
        let _ = writeln!(std::io::stderr(), "skipped: no ffmpeg that decodes G.729");
        return;
    };
    let theirs: Vec<i16> = theirs
        .expect("it was written")
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let ours = decoded(&payloads);
    assert!(likeness(&ours[..ours.len().min(theirs.len()) - FRAME], &theirs) > 0.95);
}

#[test]
fn losses_are_concealed_and_silence_descriptors_understood() {
    let payloads = coded(&voice());
    let mut decoder = Decoder::open(CODEC).expect("the feature is on");
    let mut out = [0; FRAME];
    for payload in &payloads[..40] {
        decoder.decode(payload, &mut out).expect("a payload");
    }
    let before = mix::level_db(&out);
    let mut lost = [0; 200];
    assert_eq!(decoder.decode_lost(Some(&payloads[41]), &mut lost), Ok(200));
    assert!((mix::level_db(&lost) - before).abs() < 12.0);
    // A frame and a descriptor: 20 ms.
    assert_eq!(CODEC.ticks(&payloads[42][..10]), 80);
    assert_eq!(decoder.decode(&[&payloads[42][..10], &[0x12, 0x34]].concat(), &mut out), Ok(FRAME));
    assert_eq!(decoder.decode(&[0x12, 0x34], &mut out), Ok(80));
    decoder.reset();
    assert!(decoder.decode(&payloads[0], &mut out).is_ok());
}

#[test]
fn what_is_no_frame_is_an_error() {
    let mut decoder = Decoder::open(CODEC).expect("the feature is on");
    for octets in [0, 1, 3, 9, 11, 15] {
        assert_eq!(
            decoder.decode(&vec![7; octets], &mut [0; 400]),
            Err(CodecError::Malformed { codec: CODEC, octets })
        );
    }
    assert_eq!(decoder.decode(&[7; 20], &mut [0; 100]), Err(CodecError::NoRoom { needed: 160, room: 100 }));
    let mut encoder = Encoder::open(CODEC).expect("the feature is on");
    for samples in [0, 79, 100] {
        assert_eq!(
            encoder.encode(&vec![0; samples], &mut [0; 100]),
            Err(CodecError::FrameLength { codec: CODEC, samples })
        );
    }
}
