//! What an engine's steps take on this machine, measured before there is any load.

use std::time::{Duration, Instant};

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, Span};
use antiphon_models_speech::{Engine, Pace, RecognizeError, Recognizer, StreamConfig};

/// Steps of each width.
const ROUNDS: usize = 3;
/// The widest batch that is tried.
const WIDEST: usize = 64;

/// Step times by width.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The sound of a row.
    pub chunk: Span,
    /// Rows of a step and how long it took, the middle of three.
    pub steps: Vec<(usize, Duration)>,
}

impl Calibration {
    /// Seconds of computing for a second of speech, at the best width.
    #[must_use]
    pub fn speech_cost(&self) -> f64 {
        let chunk = self.chunk.secs_f64().max(1e-3);
        let each = self.steps.iter().map(|(rows, took)| took.as_secs_f64() / (*rows as f64 * chunk));
        each.fold(f64::INFINITY, f64::min)
    }
}

/// Measures an engine with `speech`, which should be real speech at the engine's rate: silence may cost less. Stops
/// widening when `budget` is spent.
///
/// # Errors
/// The engine's own failure.
pub fn calibrate(
    engine: &dyn Engine,
    config: &StreamConfig,
    speech: &[i16],
    budget: Duration,
) -> Result<Calibration, RecognizeError> {
    let began = Instant::now();
    let Pace { chunk, rows } = engine.pace();
    let mut streams = vec![engine.open(config)?];
    let mut calibration = Calibration { chunk, steps: Vec::new() };
    let mut width = 1;
    while width <= rows.clamp(1, WIDEST) {
        while streams.len() < width {
            streams.push(engine.open(config)?);
        }
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            times.push(one_step(engine, &mut streams[..width], speech, chunk, round)?);
        }
        times.sort_unstable();
        calibration.steps.push((width, times[ROUNDS / 2]));
        if began.elapsed() >= budget {
            break;
        }
        width *= 2;
    }
    Ok(calibration)
}

/// Gives each stream a chunk and times what it takes until nothing is owed, per step of the common kind.
fn one_step(
    engine: &dyn Engine,
    streams: &mut [Box<dyn Recognizer>],
    speech: &[i16],
    chunk: Span,
    round: usize,
) -> Result<Duration, RecognizeError> {
    let mut took = Duration::ZERO;
    let mut steps = 0u32;
    for stream in &mut *streams {
        let rate = stream.rate();
        let samples = rate.samples(chunk).max(1);
        let pieces = (speech.len() / samples).max(1);
        let from = (round % pieces) * samples;
        let mut pcm = speech.get(from..(from + samples).min(speech.len())).unwrap_or_default().to_vec();
        pcm.resize(samples, 0);
        let at = MediaTime::ZERO + chunk.saturating_mul(round as u64);
        let began = Instant::now();
        stream.push(AudioFrame {
            pcm: &pcm,
            rate,
            at,
            kind: FrameKind::Voice,
            active: true,
            retracted: false,
        })?;
        took += began.elapsed();
        while stream.poll().is_some() {}
    }
    loop {
        let mut rows: Vec<&mut dyn Recognizer> =
            streams.iter_mut().filter(|stream| stream.owed() > 0).map(|stream| &mut **stream).collect();
        if rows.is_empty() {
            break;
        }
        let began = Instant::now();
        engine.step(&mut rows)?;
        took += began.elapsed();
        steps += 1;
    }
    Ok(took / steps.max(1))
}
