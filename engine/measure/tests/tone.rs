//! How loud and how high sounds are whose fundamental is known.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it found and what it skips")]

use std::f64::consts::TAU;
use std::path::Path;

use antiphon_engine_measure::{Stretch, Tone, ToneMeter};
use antiphon_media_codec::{CodecKind, Decoder, Encoder};
use antiphon_media_frame::{MediaTime, SampleRate, Span};

const KEPT: Span = Span::from_secs(60);

/// A vowel: pulses at the fundamental through three formants, as loud as `peak`. `pitch` tells it at each second.
fn vowel(hz: u32, seconds: f64, pitch: impl Fn(f64) -> f64, peak: f64) -> Vec<i16> {
    let mut phase = 0.0;
    let pulses = (0..(seconds * f64::from(hz)) as usize).map(|n| {
        phase += pitch(n as f64 / f64::from(hz)) / f64::from(hz);
        if phase >= 1.0 {
            phase -= 1.0;
            return 1.0;
        }
        0.0
    });
    let mut sound: Vec<f64> = pulses.collect();
    for (formant, width) in [(700.0, 80.0), (1_200.0, 90.0), (2_600.0, 120.0)] {
        let r = (-std::f64::consts::PI * width / f64::from(hz)).exp();
        let (a, b) = (2.0 * r * (TAU * formant / f64::from(hz)).cos(), -r * r);
        let (mut y1, mut y2) = (0.0, 0.0);
        for x in &mut sound {
            let y = *x + a * y1 + b * y2;
            (y2, y1, *x) = (y1, y, y);
        }
    }
    let loudest = sound.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    sound.into_iter().map(|x| (x / loudest * peak) as i16).collect()
}

fn sine(hz: u32, seconds: f64, pitch: f64, peak: f64) -> Vec<i16> {
    let samples = 0..(seconds * f64::from(hz)) as usize;
    samples.map(|n| (peak * (TAU * pitch * n as f64 / f64::from(hz)).sin()) as i16).collect()
}

fn noise(samples: usize, peak: i32) -> Vec<i16> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 16) as i32 % (2 * peak) - peak) as i16
    };
    (0..samples).map(next).collect()
}

fn at(start: i64, end: i64) -> Stretch {
    Stretch { start: MediaTime::from_millis(start), end: MediaTime::from_millis(end) }
}

/// The whole of a sound, pushed in frames of 20 ms.
fn heard(hz: u32, sound: &[i16]) -> ToneMeter {
    let rate = SampleRate::new(hz).unwrap();
    let mut meter = ToneMeter::new(rate, KEPT);
    let mut pushed = 0;
    for frame in sound.chunks(rate.samples(Span::from_millis(20))) {
        meter.push(MediaTime::ZERO + rate.span(pushed), frame);
        pushed += frame.len();
    }
    meter
}

fn tone(hz: u32, sound: &[i16]) -> Option<Tone> {
    heard(hz, sound).tone(at(0, 60_000))
}

#[test]
fn the_pitch_of_a_tone_is_told_at_every_rate() {
    for hz in [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
        for pitch in [70.0, 110.0, 220.0, 333.0, 480.0] {
            let tone = tone(hz, &sine(hz, 1.0, pitch, 8_000.0)).unwrap();
            let found = f64::from(tone.pitch_hz.unwrap());
            assert!((found / pitch - 1.0).abs() < 0.01, "{found} Hz of {pitch} Hz at {hz} Hz");
            assert!(tone.pitch_range.unwrap() < 0.2, "{tone:?}");
        }
    }
}

#[test]
fn loudness_is_the_power_of_what_is_voiced() {
    // A sine of amplitude 8192 of 32768: -12.04 dB, and 3.01 less for its shape.
    let sound = [sine(8_000, 1.0, 200.0, 8_192.0), vec![0; 16_000]].concat();
    let loud = tone(8_000, &sound).unwrap().loudness_db;
    assert!((loud + 15.05).abs() < 0.3, "{loud} dB");
    let half: Vec<i16> = sound.iter().map(|x| x / 2).collect();
    let softer = tone(8_000, &half).unwrap().loudness_db;
    assert!((loud - softer - 6.02).abs() < 0.1, "{loud} dB and {softer} dB");
}

#[test]
fn vowels_are_told_by_their_fundamental_not_by_their_formants() {
    for hz in [8_000, 16_000, 48_000] {
        for pitch in [85.0, 120.0, 180.0, 240.0, 350.0] {
            let found = tone(hz, &vowel(hz, 1.0, |_| pitch, 9_000.0)).unwrap().pitch_hz.unwrap();
            assert!((f64::from(found) / pitch - 1.0).abs() < 0.02, "{found} Hz of {pitch} Hz at {hz} Hz");
        }
    }
}

#[test]
fn a_telephone_that_cuts_the_fundamental_off_does_not_hide_it() {
    // Two passes of a difference take away what lies low: 24 dB at 120 Hz against 1 kHz.
    let mut sound: Vec<f64> = vowel(8_000, 1.0, |_| 120.0, 9_000.0).into_iter().map(f64::from).collect();
    for _ in 0..2 {
        let mut before = 0.0;
        sound.iter_mut().for_each(|x| (*x, before) = (*x - 0.9 * before, *x));
    }
    let sound: Vec<i16> = sound.into_iter().map(|x| x as i16).collect();
    let found = tone(8_000, &sound).unwrap().pitch_hz.unwrap();
    assert!((found / 120.0 - 1.0).abs() < 0.02, "{found} Hz");
}

#[test]
fn the_range_is_that_of_the_melody() {
    // An octave, evenly: from its tenth to its ninetieth percentile are 9.6 semitones.
    let sound = vowel(16_000, 3.0, |s| 120.0 * 2f64.powf(s / 3.0), 9_000.0);
    let range = tone(16_000, &sound).unwrap().pitch_range.unwrap();
    assert!((range - 9.6).abs() < 0.5, "{range} semitones");
}

#[test]
fn noise_and_silence_have_no_tone() {
    assert_eq!(tone(8_000, &vec![0; 16_000]), None);
    assert_eq!(tone(8_000, &noise(16_000, 8_000)), None);
}

#[test]
fn a_voice_in_noise_keeps_its_pitch() {
    let mut sound = vowel(8_000, 2.0, |_| 150.0, 9_000.0);
    // 20 dB below the voice.
    sound.iter_mut().zip(noise(16_000, 350)).for_each(|(x, n)| *x += n);
    let found = tone(8_000, &sound).unwrap().pitch_hz.unwrap();
    assert!((found / 150.0 - 1.0).abs() < 0.02, "{found} Hz");
}

#[test]
fn each_stretch_has_its_own_tone() {
    let sound = [sine(8_000, 1.0, 120.0, 4_000.0), vec![0; 4_000], sine(8_000, 1.0, 240.0, 8_000.0)].concat();
    let meter = heard(8_000, &sound);
    let (low, high) = (meter.tone(at(0, 1_000)).unwrap(), meter.tone(at(1_500, 2_400)).unwrap());
    assert!(
        (low.pitch_hz.unwrap() - 120.0).abs() < 2.0 && (high.pitch_hz.unwrap() - 240.0).abs() < 2.0,
        "{low:?} {high:?}"
    );
    assert!((high.loudness_db - low.loudness_db - 6.0).abs() < 0.3);
    assert_eq!(meter.tone(at(1_050, 1_440)), None);
    assert_eq!(meter.tone(at(9_000, 8_000)), None);
}

#[test]
fn little_that_is_voiced_has_loudness_and_no_pitch() {
    let sound = [vec![0; 4_000], sine(8_000, 0.06, 200.0, 8_000.0), vec![0; 4_000]].concat();
    let tone = tone(8_000, &sound).unwrap();
    assert_eq!((tone.pitch_hz, tone.pitch_range), (None, None));
}

#[test]
fn missing_time_is_kept_and_time_that_goes_back_is_heard_again() {
    let rate = SampleRate::HZ_8000;
    let mut meter = ToneMeter::new(rate, KEPT);
    meter.push(MediaTime::from_millis(1_000), &sine(8_000, 1.0, 120.0, 8_000.0));
    meter.push(MediaTime::from_millis(5_000), &sine(8_000, 1.0, 240.0, 8_000.0));
    let pitch = |meter: &ToneMeter, start, end| {
        meter.tone(at(start, end)).and_then(|tone| tone.pitch_hz).map(f32::round)
    };
    assert_eq!((pitch(&meter, 1_000, 2_000), pitch(&meter, 5_000, 5_900)), (Some(120.0), Some(240.0)));
    assert_eq!(pitch(&meter, 2_100, 4_900), None);
    meter.push(MediaTime::from_millis(5_000), &sine(8_000, 1.0, 180.0, 8_000.0));
    assert_eq!((pitch(&meter, 1_000, 2_000), pitch(&meter, 5_000, 5_900)), (Some(120.0), Some(180.0)));
    meter.push(MediaTime::from_nanos(i64::MAX), &[1; 400]);
    meter.push(MediaTime::from_nanos(i64::MIN), &[1; 400]);
    assert_eq!(pitch(&meter, 1_000, 2_000), None);
}

#[test]
fn what_is_older_than_kept_is_forgotten() {
    let mut meter = ToneMeter::new(SampleRate::HZ_8000, Span::from_secs(2));
    meter.push(MediaTime::ZERO, &sine(8_000, 5.0, 120.0, 8_000.0));
    assert_eq!(meter.tone(at(0, 2_500)), None);
    assert!(meter.tone(at(3_500, 4_500)).is_some());
}

#[test]
fn readers_are_heard_at_the_height_of_their_voices() {
    // The reader of LJ Speech is a woman.
    let folder = Path::new("/work/shared/audio/ljspeech/train");
    let Ok(files) = folder.read_dir() else {
        println!("skipped: there is no {}", folder.display());
        return;
    };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let mut pitches = Vec::new();
    for path in paths.iter().take(8) {
        let Ok(pcm) = antiphon_media_record::read_all(path) else { continue };
        let rate = pcm.rate;
        let mono = pcm.mono();
        let wide = tone(rate.hz(), &mono).unwrap();
        pitches.push(wide.pitch_hz.unwrap());
        // Read over the telephone it is the same voice.
        let narrow = antiphon_media_codec::resample(&mono, rate, SampleRate::HZ_8000);
        let (mut encoder, mut decoder) = (Encoder::new(CodecKind::Pcma), Decoder::new(CodecKind::Pcma));
        let mut law = vec![0; narrow.len() / 160 * 160];
        for (pcm, out) in narrow.chunks_exact(160).zip(law.chunks_exact_mut(160)) {
            let mut payload = [0; 160];
            encoder.encode(pcm, &mut payload).unwrap();
            decoder.decode(&payload, out).unwrap();
        }
        let phone = tone(8_000, &law).unwrap();
        assert!((phone.pitch_hz.unwrap() / wide.pitch_hz.unwrap() - 1.0).abs() < 0.04, "{wide:?} {phone:?}");
        assert!((phone.loudness_db - wide.loudness_db).abs() < 1.5, "{wide:?} {phone:?}");
    }
    assert!(!pitches.is_empty(), "none of {} could be read", folder.display());
    println!("{pitches:?}");
    assert!(pitches.iter().all(|pitch| (160.0..280.0).contains(pitch)), "{pitches:?}");
}
