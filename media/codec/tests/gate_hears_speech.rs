//! What opens the activity gate and what does not.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use antiphon_media_codec::{
    CodecKind, ComfortNoise, Decoder, Edge, Encoder, Gate, GateConfig, mix, resample, tone,
};
use antiphon_media_frame::{SampleRate, Span};

const RATES: [SampleRate; 2] = [SampleRate::HZ_8000, SampleRate::HZ_16000];

/// The gate's edges, each with the milliseconds heard by then, in frames of 20 ms.
fn edges(pcm: &[i16], rate: SampleRate) -> Vec<(Edge, usize)> {
    let mut gate = Gate::new(rate, GateConfig::default());
    let frames = pcm.chunks(rate.hz() as usize / 50).enumerate();
    frames.filter_map(|(n, frame)| gate.push(frame).edge.map(|edge| (edge, 20 * (n + 1)))).collect()
}

fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// `pcm` after G.711 or G.722, as a call would bring it.
fn coded(pcm: &[i16], rate: SampleRate) -> Vec<i16> {
    let pcm = &pcm[..pcm.len() & !1];
    let kind = if rate == SampleRate::HZ_8000 { CodecKind::Pcmu } else { CodecKind::G722 };
    let mut payload = vec![0; kind.payload_len(pcm.len())];
    let mut out = vec![0; pcm.len()];
    Encoder::new(kind).encode(pcm, &mut payload).expect("room");
    Decoder::new(kind).decode(&payload, &mut out).expect("room");
    out
}

fn padded(pcm: &[i16], rate: SampleRate) -> Vec<i16> {
    let quiet = vec![0; rate.samples(Span::from_millis(400))];
    [&quiet, pcm, &quiet].concat()
}

#[test]
fn silence_noise_tones_and_hum_leave_it_shut() {
    let span = Span::from_secs(2);
    for rate in RATES {
        let noise = |db: f32| {
            let mut pcm = vec![0; rate.samples(span)];
            ComfortNoise::new(5).fill(&mut pcm, db);
            pcm
        };
        // Pink by Kellet's one-pole filters, from white.
        let mut poles = [0f32; 3];
        let mut pink: Vec<i16> = noise(-20.0)
            .into_iter()
            .map(|white| {
                let white = f32::from(white) * 0.2;
                for (pole, (keep, take)) in
                    poles.iter_mut().zip([(0.997, 0.099), (0.963, 0.296), (0.57, 1.053)])
                {
                    *pole = keep * *pole + take * white;
                }
                (poles.iter().sum::<f32>() + 0.184 * white) as i16
            })
            .collect();
        let level = mix::level_db(&pink);
        mix::gain(&mut pink, -40.0 - level);
        let hum = |hz: f64| {
            let mut pcm = vec![0; rate.samples(span)];
            for harmonic in 1u8..8 {
                let db = -40.0 - 3.0 * f32::from(harmonic);
                mix::add_into(&mut pcm, &tone::sine(hz * f64::from(harmonic), db, rate, span));
            }
            pcm
        };
        let ring = |kind| tone::ringback(kind, rate, Span::from_secs(7));
        let mut sounds = vec![
            ("silence".to_owned(), vec![0; rate.samples(span)]),
            ("white noise".to_owned(), noise(-40.0)),
            ("pink noise".to_owned(), pink),
            ("comfort noise".to_owned(), noise(-60.0)),
            ("hum at 50 Hz".to_owned(), hum(50.0)),
            ("hum at 60 Hz".to_owned(), hum(60.0)),
            ("ringing at 440 and 480 Hz".to_owned(), ring(tone::Ringback::NorthAmerica)),
            ("ringing at 425 Hz".to_owned(), ring(tone::Ringback::Europe)),
            ("a beep".to_owned(), padded(&tone::sine(1_000.0, -15.0, rate, Span::from_millis(500)), rate)),
        ];
        for key in "1234567890*#ABCD".chars() {
            let pcm = tone::dtmf(key, rate, Span::from_millis(200)).expect("a key");
            sounds.push((format!("key {key}"), padded(&pcm, rate)));
        }
        for (name, pcm) in sounds {
            assert_eq!(edges(&pcm, rate), [], "{name} at {rate}");
            assert_eq!(edges(&coded(&pcm, rate), rate), [], "{name} at {rate}, coded");
        }
    }
}

/// A glottal pulse train of gliding pitch through three formants that move from /a/ to /i/ and back four times a second.
fn vowels(rate: SampleRate) -> Vec<i16> {
    let hz = f64::from(rate.hz());
    let mut phase = 0f64;
    let mut state = [[0f64; 2]; 3];
    (0..rate.samples(Span::from_secs(1)))
        .map(|n| {
            let t = n as f64 / hz;
            let glide = 0.5 - 0.5 * (std::f64::consts::TAU * 4.0 * t).cos();
            phase += (130.0 + 25.0 * (5.0 * t).sin()) / hz;
            let mut sound = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase %= 1.0;
            for (memory, (a, i, width)) in state.iter_mut().zip([
                (730.0, 300.0, 80.0),
                (1_090.0, 2_200.0, 100.0),
                (2_440.0, 2_900.0, 140.0),
            ]) {
                let radius = (-std::f64::consts::PI * width / hz).exp();
                let centre = a + (i - a) * glide;
                let turn = 2.0 * radius * (std::f64::consts::TAU * centre / hz).cos();
                let out =
                    sound * (1.0 - turn + radius * radius) + turn * memory[0] - radius * radius * memory[1];
                *memory = [out, memory[0]];
                sound = out;
            }
            (sound * 60_000.0 * (0.4 + 0.6 * glide)) as i16
        })
        .collect()
}

#[test]
fn made_up_vowels_open_it_within_120_ms_and_quiet_shuts_it() {
    for rate in RATES {
        let mut pcm = vowels(rate);
        let level = mix::level_db(&pcm);
        mix::gain(&mut pcm, -22.0 - level);
        let found = edges(&padded(&pcm, rate), rate);
        let [(Edge::Start, start), .., (Edge::End, end)] = found[..] else { panic!("{rate}: {found:?}") };
        assert!((400..=540).contains(&start), "{rate}: {start}");
        assert!((1_560..=1_780).contains(&end), "{rate}: {end}");
    }
}

/// Samples of a WAV file with the plain 44-byte header that flite and espeak-ng write.
fn wav(path: &Path) -> (Vec<i16>, SampleRate) {
    let bytes = std::fs::read(path).expect("the synthesiser wrote it");
    let hz = u32::from_le_bytes(bytes[24..28].try_into().expect("four bytes"));
    let pcm = bytes[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    (pcm, SampleRate::new(hz).expect("a valid rate"))
}

/// When sound begins: the first 20 ms at -40 dBFS.
fn onset(pcm: &[i16], rate: SampleRate) -> usize {
    let frames = pcm.chunks(rate.hz() as usize / 50);
    20 * frames.take_while(|frame| mix::level_db(frame) < -40.0).count()
}

#[test]
fn synthesised_speech_opens_it_within_120_ms() {
    let text = "Hello, what is my account balance?";
    let path =
        |name: &str| std::env::temp_dir().join(format!("antiphon-gate-{}-{name}.wav", std::process::id()));
    let commands: [(&str, &[&str], PathBuf); 3] = [
        ("flite", &["-voice", "slt", "-t", text, "-o"], path("slt")),
        ("flite", &["-voice", "rms", "-t", text, "-o"], path("rms")),
        ("espeak-ng", &[text, "-w"], path("espeak")),
    ];
    for (program, arguments, path) in commands {
        if !Command::new(program).args(arguments).arg(&path).status().is_ok_and(|status| status.success()) {
            skipped(&format!("{program} is not installed"));
            continue;
        }
        let (pcm, from) = wav(&path);
        std::fs::remove_file(&path).expect("it was there");
        for rate in RATES {
            let pcm = padded(&resample(&pcm, from, rate), rate);
            let (found, onset) = (edges(&coded(&pcm, rate), rate), onset(&pcm, rate));
            let Some((Edge::Start, start)) = found.first() else {
                panic!("{arguments:?} at {rate}: {found:?}")
            };
            assert!((onset..=onset + 140).contains(start), "{arguments:?} at {rate}: {start} after {onset}");
            assert!(matches!(found.last(), Some((Edge::End, _))), "{arguments:?} at {rate}: {found:?}");
        }
    }
}

#[test]
fn people_open_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/audio/librispeech/dev");
    let Ok(entries) = std::fs::read_dir(&folder) else { return skipped(&format!("no {}", folder.display())) };
    let mut clips: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    clips.retain(|path| path.extension().is_some_and(|extension| extension == "opus"));
    clips.sort();
    for clip in clips.iter().step_by(clips.len().div_ceil(6).max(1)) {
        for rate in RATES {
            let pcm = opus(clip, rate);
            let (found, onset) = (edges(&coded(&pcm, rate), rate), onset(&pcm, rate));
            let Some((Edge::Start, start)) = found.first() else { panic!("{} at {rate}", clip.display()) };
            assert!(*start <= onset + 200, "{} at {rate}: {start} after {onset}", clip.display());
        }
    }
}

fn opus(path: &Path, rate: SampleRate) -> Vec<i16> {
    let file = std::fs::File::open(path).expect("a clip");
    let mut packets = ogg::PacketReader::new(std::io::BufReader::new(file));
    let mut decoder = opus::Decoder::new(rate.hz(), opus::Channels::Mono).expect("a rate of Opus");
    let mut frame = vec![0; rate.hz() as usize / 8];
    let mut pcm = Vec::new();
    while let Some(packet) = packets.read_packet().expect("a whole file") {
        if packet.data.starts_with(b"OpusHead") || packet.data.starts_with(b"OpusTags") {
            continue;
        }
        let samples = decoder.decode(&packet.data, &mut frame, false).expect("a valid packet");
        pcm.extend_from_slice(&frame[..samples]);
    }
    pcm
}
