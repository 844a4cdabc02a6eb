//! Draws a made-up call to `waveform.png` (or the path given): what the picture looks like, without a call.

use std::path::PathBuf;

use antiphon_engine_view::{Mark, MarkKind, RenderError, Track, TrackWord, WaveformInput, render};
use antiphon_media_frame::{MediaTime, SampleRate};
use antiphon_media_record::{Gap, GapCause};

const RATE: SampleRate = SampleRate::HZ_16000;

fn words(from: f64, each: f64, text: &str) -> Vec<TrackWord> {
    let time = |secs: f64| MediaTime::from_millis((secs * 1_000.0) as i64);
    let mut start = from;
    text.split(' ')
        .map(|word| {
            let end = start + each * (0.4 + 0.12 * word.chars().count() as f64);
            let confidence = if word.len() == 3 { 0.4 } else { 0.9 };
            let placed =
                TrackWord { text: word.to_owned(), start: time(start), end: time(end - 0.03), confidence };
            start = end;
            placed
        })
        .collect()
}

/// A buzz with an envelope wherever there is a word.
fn sound(words: &[TrackWord], secs: usize, pitch: f32) -> Vec<i16> {
    let mut pcm = vec![0i16; RATE.hz() as usize * secs];
    for word in words {
        let first = RATE.samples(word.start.since(MediaTime::ZERO));
        let count = RATE.samples(word.end.since(word.start));
        for n in 0..count {
            let Some(sample) = pcm.get_mut(first + n) else { break };
            let t = n as f32 / RATE.hz() as f32;
            let swell = (n as f32 / count as f32 * std::f32::consts::PI).sin();
            let flutter = 0.7 + 0.3 * (t * 40.0).sin();
            let wave = (t * pitch * std::f32::consts::TAU).sin() + 0.5 * (t * pitch * 21.7).sin();
            *sample = (wave * swell * flutter * 7_000.0) as i16;
        }
    }
    pcm
}

fn main() -> Result<(), RenderError> {
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("waveform.png"), PathBuf::from);
    let mut machine =
        words(0.4, 0.45, "Welcome to Antiphon Bank. How may I help you today? You can say transfer");
    machine.extend(words(10.3, 0.4, "I am sorry to hear that. Please say your account number"));
    machine.extend(words(21.0, 0.4, "Thank you. 您的卡片已经挂失。 Goodbye."));
    let mut caller = words(6.1, 0.36, "my card was stolen yesterday evening in the city");
    caller.extend(words(16.8, 0.45, "four two seven one nine"));
    let at = MediaTime::from_millis;
    let marks = [
        Mark { at: at(6_250), kind: MarkKind::BargeIn },
        Mark { at: at(10_300), kind: MarkKind::Response { speech_end: at(9_650) } },
        Mark { at: at(19_900), kind: MarkKind::Key('5') },
        Mark { at: at(21_000), kind: MarkKind::Response { speech_end: at(20_380) } },
    ];
    let gaps = [
        Gap { from: at(12_000), to: at(12_300), cause: GapCause::Missing },
        Gap { from: at(13_000), to: at(13_060), cause: GapCause::Concealed },
    ];
    let (caller_pcm, machine_pcm) = (sound(&caller, 26, 190.0), sound(&machine, 26, 120.0));
    let picture = render(&WaveformInput {
        title: "A made-up call",
        rate: RATE,
        caller: Track { pcm: &caller_pcm, words: &caller, gaps: &gaps },
        machine: Track { pcm: &machine_pcm, words: &machine, gaps: &[] },
        marks: &marks,
    })?;
    std::fs::write(&path, &picture.png).map_err(|error| RenderError::Encode(error.to_string()))
}
