//! What the measuring programs share: a telephone line, a listener and the edit distance.

use std::error::Error;
use std::time::{Duration, Instant};

use antiphon_media_frame::{AudioBuf, MediaTime, Span};
use antiphon_models_speech::{Recognition, Recognizer};

/// Pushes an utterance frame by frame with its tail. Gives the text, its confidence and the time the flush took.
pub(crate) fn hear(
    stream: &mut dyn Recognizer,
    pcm: &[i16],
    at: MediaTime,
    tail: Span,
) -> Result<(String, f32, Duration), Box<dyn Error>> {
    let rate = stream.rate();
    let mut padded = pcm.to_vec();
    padded.resize(pcm.len() + rate.samples(tail), 0);
    let mut heard = Vec::new();
    let mut confidence = 0.0;
    let mut pushed = 0;
    for chunk in padded.chunks(rate.hz() as usize / 50) {
        let mut frame = AudioBuf::voice(chunk.to_vec(), rate);
        frame.at = at + rate.span(pushed);
        pushed += chunk.len();
        stream.push(frame.frame())?;
    }
    let begun = Instant::now();
    stream.flush()?;
    let flush = begun.elapsed();
    while let Some(said) = stream.poll() {
        if let Recognition::Final(utterance) = said {
            confidence = utterance.confidence;
            heard.push(utterance.text);
        }
    }
    Ok((heard.join(" "), confidence, flush))
}

/// Units to insert, remove or replace.
pub(crate) fn distance<T: PartialEq>(expected: &[T], heard: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (n, unit) in expected.iter().enumerate() {
        let mut corner = row[0];
        row[0] = n + 1;
        for (m, other) in heard.iter().enumerate() {
            let replaced = corner + usize::from(unit != other);
            corner = row[m + 1];
            row[m + 1] = replaced.min(row[m] + 1).min(corner + 1);
        }
    }
    row[heard.len()]
}

/// A windowed sinc that cuts at 3.6 kHz of 16 kHz.
pub(crate) fn low_pass(pcm: &[f32]) -> Vec<f32> {
    const ARM: isize = 32;
    let cut = 3_600.0 / 16_000.0;
    let tap = |n: isize| {
        let x = n as f32;
        let sinc = if n == 0 {
            2.0 * cut
        } else {
            (std::f32::consts::TAU * cut * x).sin() / (std::f32::consts::PI * x)
        };
        sinc * (0.54 + 0.46 * (std::f32::consts::PI * x / (ARM + 1) as f32).cos())
    };
    let taps: Vec<(isize, f32)> = (-ARM..=ARM).map(|n| (n, tap(n))).collect();
    let at = |n: isize| usize::try_from(n).ok().and_then(|n| pcm.get(n)).copied().unwrap_or(0.0);
    (0..pcm.len() as isize).map(|n| taps.iter().map(|(k, h)| h * at(n + k)).sum()).collect()
}

/// 16 kHz sound as it comes out of a telephone: 8 kHz, µ-law.
pub(crate) fn through_telephone(pcm: &[i16]) -> Vec<i16> {
    let wide: Vec<f32> = pcm.iter().map(|s| f32::from(*s)).collect();
    low_pass(&wide).iter().step_by(2).map(|s| companded(*s as i16)).collect()
}

/// What µ-law (ITU-T G.711) leaves of a sample: eight segments of sixteen steps on either side.
fn companded(sample: i16) -> i16 {
    const BIAS: i32 = 132;
    let magnitude = i32::from(sample).abs().min(32_635) + BIAS;
    let segment = 24 - magnitude.leading_zeros() as i32;
    let step = (magnitude >> (segment + 3)) & 15;
    let value = (((step << 3) + BIAS) << segment) - BIAS;
    (if sample < 0 { -value } else { value }) as i16
}
