//! Keys in the sound: the limits of ITU-T Q.24, and hours of people who press none.

use std::path::{Path, PathBuf};

use antiphon_media_codec::{
    CodecKind, ComfortNoise, Decoder, DtmfDetector, DtmfEvent, Encoder, mix, resample, tone,
};
use antiphon_media_frame::{SampleRate, Span};

const KEYS: &str = "1234567890*#ABCD";
const RATES: [SampleRate; 3] = [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_48000];
const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// 0 dBm0 in dBFS.
const DBM0: f32 = -6.15;

/// A key as some telephone may send it.
#[derive(Clone, Copy)]
struct Press {
    key: char,
    /// Level of each tone in dBm0, row and column.
    level: [f32; 2],
    /// How far each frequency is off, as a share.
    off: [f64; 2],
    millis: u64,
}

impl Press {
    fn new(key: char) -> Self {
        Self { key, level: [-8.0, -8.0], off: [0.0, 0.0], millis: 60 }
    }

    fn pcm(self, rate: SampleRate) -> Vec<i16> {
        let place = "123A456B789C*0#D".find(self.key).expect("a key");
        let hz = [ROWS[place / 4] * (1.0 + self.off[0]), COLUMNS[place % 4] * (1.0 + self.off[1])];
        let amplitude = self.level.map(|db| 32_768.0 * 2f64.sqrt() * 10f64.powf(f64::from(db + DBM0) / 20.0));
        (0..rate.samples(Span::from_millis(self.millis)))
            .map(|n| {
                let t = n as f64 / f64::from(rate.hz());
                let tone = |i: usize| amplitude[i] * (std::f64::consts::TAU * hz[i] * t + i as f64).sin();
                (tone(0) + tone(1)) as i16
            })
            .collect()
    }
}

fn silence(rate: SampleRate, millis: u64) -> Vec<i16> {
    vec![0; rate.samples(Span::from_millis(millis))]
}

/// Everything told, by a detector that is fed 20 ms at once.
fn events(pcm: &[i16], rate: SampleRate) -> Vec<DtmfEvent> {
    let mut detector = DtmfDetector::new(rate);
    let mut told = Vec::new();
    for frame in pcm.chunks(rate.samples(Span::from_millis(20))) {
        detector.push(frame, |event| told.push(event));
    }
    told
}

/// Keys with their starts and lengths in milliseconds; each must have gone down before it went up.
fn keys(pcm: &[i16], rate: SampleRate) -> Vec<(char, f64, f64)> {
    let told = events(pcm, rate);
    let mut keys = Vec::new();
    for pair in told.chunks(2) {
        let [DtmfEvent::Down { key: down, start: from }, DtmfEvent::Up { key, start, length }] = *pair else {
            panic!("{told:?}")
        };
        assert_eq!((down, from), (key, start));
        keys.push((key, start as f64 * 1e3 / f64::from(rate.hz()), length.nanos() as f64 / 1e6));
    }
    keys
}

fn names(pcm: &[i16], rate: SampleRate) -> String {
    keys(pcm, rate).into_iter().map(|(key, _, _)| key).collect()
}

/// A press between silences, begun at an odd place.
fn alone(press: Press, rate: SampleRate, before: u64) -> Vec<i16> {
    [silence(rate, before), press.pcm(rate), silence(rate, 100)].concat()
}

#[test]
fn every_key_is_told_with_its_start_and_length() {
    for rate in RATES {
        for key in KEYS.chars() {
            for (before, millis) in [(50, 40), (51, 45), (53, 70), (57, 200), (54, 1_000)] {
                let found = keys(&alone(Press { millis, ..Press::new(key) }, rate, before), rate);
                let [(told, start, length)] = found[..] else {
                    panic!("{key} {millis} at {rate}: {found:?}")
                };
                assert_eq!(told, key);
                assert!(
                    (start - before as f64).abs() <= 5.0,
                    "{key} {millis} at {rate}: {start} for {before}"
                );
                assert!((length - millis as f64).abs() <= 5.0, "{key} at {rate}: {length} for {millis}");
            }
        }
    }
}

#[test]
fn levels_from_minus_36_to_0_dbm0_are_taken() {
    for rate in RATES {
        for key in KEYS.chars() {
            for level in [-36.0, -30.0, -20.0, -10.0, -3.0, 0.0] {
                let pcm = alone(Press { level: [level, level], ..Press::new(key) }, rate, 53);
                assert_eq!(names(&pcm, rate), key.to_string(), "{level} dBm0 at {rate}");
            }
        }
    }
}

#[test]
fn a_column_4_db_above_to_8_db_below_its_row_is_taken() {
    for rate in RATES {
        for key in KEYS.chars() {
            for twist in [4.0, 2.0, -4.0, -8.0] {
                let pcm = alone(Press { level: [-10.0, -10.0 + twist], ..Press::new(key) }, rate, 53);
                assert_eq!(names(&pcm, rate), key.to_string(), "{twist} dB at {rate}");
            }
            let pcm = alone(Press { level: [-20.0, -5.0], ..Press::new(key) }, rate, 53);
            assert_eq!(names(&pcm, rate), "", "15 dB of twist");
        }
    }
}

#[test]
fn frequencies_1_5_percent_off_are_taken_and_3_5_percent_off_are_not() {
    for rate in RATES {
        for key in KEYS.chars() {
            for near in [[0.015, 0.015], [-0.015, 0.015], [0.015, -0.015], [-0.015, -0.015]] {
                let pcm = alone(Press { off: near, ..Press::new(key) }, rate, 53);
                assert_eq!(names(&pcm, rate), key.to_string(), "{near:?} at {rate}");
            }
            for far in [[0.035, 0.0], [-0.035, 0.0], [0.0, 0.035], [0.0, -0.035], [0.035, 0.035]] {
                let press = Press { off: far, millis: 200, ..Press::new(key) };
                assert_eq!(names(&alone(press, rate, 53), rate), "", "{key} {far:?} at {rate}");
            }
        }
    }
}

#[test]
fn what_lasts_40_ms_is_a_key_and_what_lasts_23_ms_is_none_wherever_it_begins() {
    for rate in RATES {
        for key in KEYS.chars() {
            for offset in 0..20 {
                let press = |millis| {
                    let mut pcm = alone(Press { millis, ..Press::new(key) }, rate, 60);
                    pcm.drain(..rate.samples(Span::from_micros(offset * 500)));
                    names(&pcm, rate)
                };
                assert_eq!(press(40), key.to_string(), "{offset} at {rate}");
                assert_eq!(press(23), "", "{key} {offset} at {rate}");
            }
        }
    }
}

#[test]
fn a_pause_of_40_ms_parts_two_presses_and_a_dropout_of_10_ms_does_not() {
    for rate in RATES {
        for key in KEYS.chars() {
            for offset in 0..10 {
                let pcm = |pause| {
                    let press = Press { millis: 60, ..Press::new(key) }.pcm(rate);
                    let start = silence(rate, 50 + offset);
                    [start, press.clone(), silence(rate, pause), press, silence(rate, 100)].concat()
                };
                assert_eq!(names(&pcm(40), rate), format!("{key}{key}"), "{offset} at {rate}");
                assert_eq!(names(&pcm(10), rate), key.to_string(), "{offset} at {rate}");
            }
        }
    }
}

#[test]
fn a_number_dialled_fast_is_told_key_by_key() {
    for rate in RATES {
        let mut pcm = silence(rate, 33);
        for key in KEYS.chars() {
            pcm.extend(Press { millis: 50, ..Press::new(key) }.pcm(rate));
            pcm.extend(silence(rate, 43));
        }
        pcm.extend(silence(rate, 100));
        assert_eq!(names(&pcm, rate), KEYS);
    }
}

#[test]
fn keys_are_heard_through_noise_and_the_codecs() {
    for kind in CodecKind::SAMPLE_BASED {
        let rate = kind.sample_rate();
        let mut pcm = silence(rate, 33);
        for key in KEYS.chars().cycle().take(160) {
            pcm.extend(Press { millis: 50, level: [-12.0, -10.0], ..Press::new(key) }.pcm(rate));
            pcm.extend(silence(rate, 50));
        }
        pcm.extend(silence(rate, 100));
        pcm.truncate(pcm.len() / 2 * 2);
        let mut noise = vec![0; pcm.len()];
        // 15 dB below the keys, as Q.24's noise tests have it.
        ComfortNoise::new(3).fill(&mut noise, DBM0 - 8.0 - 15.0);
        mix::add_into(&mut pcm, &noise);
        let mut payload = vec![0; kind.payload_len(pcm.len())];
        Encoder::new(kind).encode(&pcm, &mut payload).expect("room");
        Decoder::new(kind).decode(&payload, &mut pcm).expect("room");
        let found = names(&pcm, rate);
        assert_eq!(found, KEYS.repeat(10), "{kind}");
    }
}

#[test]
fn noise_single_tones_and_ringing_are_no_keys() {
    for rate in RATES {
        let span = Span::from_secs(20);
        for level in [-40.0, -20.0] {
            let mut noise = vec![0; rate.samples(span)];
            ComfortNoise::new(5).fill(&mut noise, level);
            assert_eq!(names(&noise, rate), "");
        }
        for ring in [tone::Ringback::Europe, tone::Ringback::NorthAmerica] {
            let pcm = tone::ringback(ring, rate, span);
            assert_eq!(names(&pcm, rate), "");
        }
        for hz in ROWS.iter().chain(&COLUMNS) {
            let pcm = tone::sine(*hz, -15.0, rate, Span::from_secs(1));
            assert_eq!(names(&pcm, rate), "", "{hz}");
        }
    }
}

fn say(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn audio() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/audio");
    if folder.is_dir() {
        return Some(folder);
    }
    say(&format!("skipped: no {}", folder.display()));
    None
}

fn clips(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            clips(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "opus") {
            found.push(path);
        }
    }
}

fn opus(path: &Path) -> Vec<i16> {
    let file = std::fs::File::open(path).expect("a clip");
    let mut packets = ogg::PacketReader::new(std::io::BufReader::new(file));
    let mut decoder = Decoder::open(CodecKind::Opus).expect("libopus");
    let mut frame = vec![0; 1_920];
    let mut pcm = Vec::new();
    while let Some(packet) = packets.read_packet().expect("a whole file") {
        if packet.data.starts_with(b"OpusHead") || packet.data.starts_with(b"OpusTags") {
            continue;
        }
        let samples = decoder.decode(&packet.data, &mut frame).expect("a valid packet");
        pcm.extend_from_slice(&frame[..samples]);
    }
    pcm
}

/// Brought to the level of a loud talker, at 8 kHz.
fn telephone(mut pcm: Vec<i16>) -> Vec<i16> {
    let level = mix::level_db(&pcm);
    mix::gain(&mut pcm, -20.0 - level);
    resample(&pcm, SampleRate::HZ_16000, SampleRate::HZ_8000)
}

/// All the speech and noise there is; one clip in eight unless `ANTIPHON_ALL_SPEECH` is set, for time's sake.
#[test]
fn people_who_talk_press_no_keys() {
    let Some(audio) = audio() else { return };
    let mut found = Vec::new();
    clips(&audio, &mut found);
    found.sort();
    let step = if std::env::var_os("ANTIPHON_ALL_SPEECH").is_some() { 1 } else { 8 };
    let found: Vec<PathBuf> = found.into_iter().step_by(step).collect();
    let share = found.len().div_ceil(2).max(1);
    let (mut samples, mut hits) = (0, Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = found
            .chunks(share)
            .map(|clips| {
                scope.spawn(move || {
                    let (mut samples, mut hits) = (0, Vec::new());
                    for clip in clips {
                        let pcm = telephone(opus(clip));
                        samples += pcm.len();
                        let found = keys(&[pcm, vec![0; 800]].concat(), SampleRate::HZ_8000);
                        hits.extend(found.into_iter().map(|hit| (clip.clone(), hit)));
                    }
                    (samples, hits)
                })
            })
            .collect();
        for worker in workers {
            let (more, found) = worker.join().expect("no panic");
            samples += more;
            hits.extend(found);
        }
    });
    let hours = samples as f64 / 8_000.0 / 3_600.0;
    say(&format!("{} hits in {hours:.2} hours: {hits:?}", hits.len()));
    assert!(hits.len() as f64 <= 2.0 * hours.max(1.0), "{} hits in {hours:.2} hours: {hits:?}", hits.len());
}

#[test]
fn keys_pressed_while_somebody_talks_are_heard() {
    let Some(audio) = audio() else { return };
    let mut found = Vec::new();
    clips(&audio.join("librispeech"), &mut found);
    found.sort();
    let (mut pressed, mut heard) = (0usize, 0);
    for clip in found.iter().step_by(found.len().div_ceil(8).max(1)) {
        let rate = SampleRate::HZ_8000;
        let mut pcm = telephone(opus(clip));
        // Speech 8 dB below the keys, as echo or a second talker is.
        mix::gain(&mut pcm, -5.0);
        let mut at = 4_000;
        while at + 2_000 < pcm.len() {
            let key = KEYS.as_bytes()[pressed % 16] as char;
            let press = Press { millis: 100, level: [-13.0, -13.0], ..Press::new(key) }.pcm(rate);
            mix::add_into(&mut pcm[at..], &press);
            pressed += 1;
            at += 4_000;
        }
        heard += keys(&[pcm, vec![0; 800]].concat(), rate).len();
    }
    say(&format!("{heard} of {pressed} keys"));
    assert!(heard * 100 >= pressed * 90 && heard <= pressed + pressed / 50, "{heard} of {pressed} keys");
}
