//! Hold music: four chords, a melody over them that never repeats, a rhythm.

use std::f64::consts::TAU;

/// What plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Broken chords and a melody on a piano.
    Piano,
    /// Held chords of strings, a flute with vibrato.
    Strings,
    /// Drums, bass, plucked chords, and a saxophone, which of all instruments is most like a voice.
    Band,
}

/// Semitones above the key of the chords' roots, and whether each is minor: I V vi IV.
const CHORDS: [(i32, bool); 4] = [(0, false), (7, false), (9, true), (5, false)];
/// The notes that a melody takes: the major pentatonic over two octaves.
const SCALE: [i32; 10] = [0, 2, 4, 7, 9, 12, 14, 16, 19, 21];
/// Bars until the key changes.
const VERSE: i64 = 16;

/// The value at `t` seconds; `noise` is white, -1 to 1.
pub(super) fn value(style: Style, t: f64, noise: f64) -> f64 {
    let beat_s = match style {
        Style::Piano => 0.75,
        Style::Strings => 0.9,
        Style::Band => 0.55,
    };
    let beats = t / beat_s;
    let beat = beats as i64;
    let bar = beat / 4;
    let key = 48 + [0, 5, 2, 7, 3, 10][(bar / VERSE) as usize % 6];
    let (root, minor) = CHORDS[bar as usize % 4];
    let chord = [key + root, key + root + if minor { 3 } else { 4 }, key + root + 7];
    let since = |start: f64| (beats - start) * beat_s;
    // The melody's note: each lasts one beat or two, some are rests.
    let (first, long) = if chance(beat / 2, 1) < 0.35 { (beat / 2 * 2, true) } else { (beat, false) };
    let rest = chance(first, 2) < 0.15;
    let note = key + 12 + SCALE[(chance(first, 3) * SCALE.len() as f64) as usize];
    let melody = (!rest).then(|| (hz(note), since(first as f64), beat_s * if long { 2.0 } else { 1.0 }));
    match style {
        Style::Piano => {
            let eighth = (beats * 2.0) as i64;
            // What the pedal holds of the last notes of the broken chord.
            let mut sum = 0.0;
            for past in 0..4 {
                let n = eighth - past;
                if n >= 0 && n / 8 == bar {
                    let pitch = chord[[0, 1, 2, 1][n as usize % 4]];
                    sum += 0.6 * piano(hz(pitch), since(n as f64 / 2.0));
                }
            }
            sum += melody.map_or(0.0, |(hz, t, _)| 1.2 * piano(hz, t));
            0.14 * sum
        }
        Style::Strings => {
            let t_bar = since((bar * 4) as f64);
            let held: f64 = chord.iter().map(|pitch| strings(hz(*pitch), t, t_bar, 4.0 * beat_s)).sum();
            let flute = melody.map_or(0.0, |(hz, t, length)| flute(2.0 * hz, t, length, noise));
            0.07 * held + 0.2 * flute
        }
        Style::Band => {
            let eighth = (beats * 2.0) as i64;
            let bass = pluck(hz(chord[0] - 12), since(beat as f64), 4.0);
            let chords: f64 = chord.iter().map(|p| pluck(hz(*p), since(eighth as f64 / 2.0), 7.0)).sum();
            let t_beat = since(beat as f64);
            let kick =
                (TAU * (50.0 * t_beat + 4.0 * (1.0 - (-30.0 * t_beat).exp()))).sin() * (-12.0 * t_beat).exp();
            let snare = noise * (-18.0 * t_beat).exp();
            let hat = noise * (-60.0 * since(eighth as f64 / 2.0)).exp();
            let drums = if beat % 2 == 0 { kick } else { 0.6 * snare } + 0.15 * hat;
            let solo = melody.map_or(0.0, |(hz, t, length)| saxophone(hz, t, length, noise));
            0.16 * bass + 0.06 * chords + 0.18 * drums + 0.2 * solo
        }
    }
}

fn hz(note: i32) -> f64 {
    440.0 * 2f64.powf(f64::from(note - 69) / 12.0)
}

/// A number from 0 to 1 for the `n`th of something.
fn chance(n: i64, what: u64) -> f64 {
    let mut x = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Partials `1..` below 3.6 kHz, each with its strength by `gain`.
fn partials(hz: f64, phase: f64, gain: impl Fn(f64) -> f64) -> f64 {
    let count = ((3_600.0 / hz) as u32).clamp(1, 12);
    (1..=count).map(f64::from).map(|k| gain(k) * (TAU * (k * phase).fract()).sin()).sum()
}

fn piano(hz: f64, t: f64) -> f64 {
    let attack = (t / 0.004).min(1.0);
    attack * partials(hz, hz * t, |k| k.powf(-1.3) * (-t * (1.2 + 0.7 * k)).exp())
}

fn pluck(hz: f64, t: f64, decay: f64) -> f64 {
    (t / 0.002).min(1.0) * partials(hz, hz * t, |k| (1.0 / k) * (-t * (decay + k)).exp())
}

fn strings(hz: f64, t: f64, since: f64, length: f64) -> f64 {
    let envelope = (since / 0.2).min(1.0) * ((length - since) / 0.15).clamp(0.0, 1.0);
    // Three players who are not quite at one, each with a vibrato of their own.
    let player = |n: f64| {
        let sway = 0.004 * hz / (TAU * (5.1 + 0.4 * n)) * (TAU * (5.1 + 0.4 * n) * t).sin();
        partials(hz, hz * (1.0 + 0.0015 * (n - 1.0)) * t + sway, |k| 1.0 / k)
    };
    envelope * (player(0.0) + player(1.0) + player(2.0)) / 2.0
}

fn flute(hz: f64, t: f64, length: f64, noise: f64) -> f64 {
    let envelope = (t / 0.06).min(1.0) * ((length - t) / 0.06).clamp(0.0, 1.0);
    let sway = 0.006 * hz / (TAU * 5.0) * (TAU * 5.0 * t).sin() * (t / 0.3).min(1.0);
    envelope * (partials(hz, hz * t + sway, |k| k.powf(-2.2)) + 0.04 * noise)
}

/// A reed: all partials, strongest about 1 kHz, a scoop into the note, a late vibrato, breath.
fn saxophone(hz: f64, t: f64, length: f64, noise: f64) -> f64 {
    let envelope = (t / 0.03).min(1.0) * ((length - t) / 0.05).clamp(0.0, 1.0);
    let scoop = -0.03 * hz * 0.04 * (1.0 - (-t / 0.04).exp());
    let sway = 0.008 * hz / (TAU * 5.5) * (TAU * 5.5 * t).sin() * ((t - 0.2) / 0.3).clamp(0.0, 1.0);
    let formant = |k: f64| {
        let f = k * hz;
        k.powf(-0.6) * (0.35 + (-((f - 1_000.0) / 500.0).powi(2)).exp()) / (1.0 + (f / 2_500.0).powi(4))
    };
    envelope * (0.6 * partials(hz, hz * t + scoop + sway, formant) + 0.03 * noise)
}
