//! The recogniser pool of this installation: opened by the configuration, timed at the start, adjusted by the clock.

use std::sync::Arc;
use std::time::Duration;

use antiphon_media_codec::resample;
use antiphon_media_frame::SampleRate;
use antiphon_models_pool::{Calibration, Pool, calibrate, shares_at};
use antiphon_models_speech::{Engine, Hints, Language, SpeechRequest, StreamConfig, Synthesizer};
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::config::Config;
use crate::shared::Shared;

/// What an engine is timed with at the start: enough for the first calls; experience corrects it.
const BUDGET: Duration = Duration::from_millis(500);
/// How often the time of the day is looked at.
const CLOCK: Duration = Duration::from_secs(20);
/// What is said to an engine that is timed.
const SAID: &str = "please transfer two hundred dollars from my savings to my checking account on friday";

/// Times the engine and tells the pool. Takes about half a second, on a thread that may block.
pub(crate) fn time(pool: &Pool, engine: &Arc<dyn Engine>, voice: Option<&dyn Synthesizer>) {
    if engine.elsewhere() {
        return;
    }
    match measure(&**engine, voice, SampleRate::HZ_8000, BUDGET) {
        Ok(calibration) => {
            tracing::info!(
                engine = engine.name(),
                speech_cost = format_args!("{:.3}", calibration.speech_cost()),
                "timed: seconds of computing for a second of speech"
            );
            pool.calibrated(engine, calibration);
        }
        Err(error) => tracing::warn!(engine = engine.name(), %error, "the engine could not be timed"),
    }
}

/// Measures an engine's steps for calls of `source` rate with spoken words, or with a rough likeness of them where there
/// is no voice.
pub(crate) fn measure(
    engine: &dyn Engine,
    voice: Option<&dyn Synthesizer>,
    source: SampleRate,
    budget: Duration,
) -> anyhow::Result<Calibration> {
    let rate = engine.rate(source);
    let phrases = ["transfer two hundred dollars", "my savings", "my checking account", "on friday"];
    let config = StreamConfig {
        language: Language::english(),
        hints: Hints { phrases: phrases.map(Into::into).to_vec(), digits: true, closed: false },
        source_rate: source,
    };
    let speech = spoken(voice, rate).unwrap_or_else(|| likeness(rate));
    Ok(calibrate(engine, &config, &speech, budget)?)
}

fn spoken(voice: Option<&dyn Synthesizer>, rate: SampleRate) -> Option<Vec<i16>> {
    let request = SpeechRequest { text: SAID.to_owned(), language: Language::english(), voice: None };
    let mut stream = voice?.speak(&request).ok()?;
    let mut pcm = Vec::new();
    while let Some(chunk) = stream.next_chunk().ok()? {
        pcm.extend(chunk.pcm);
    }
    let pcm = resample(&pcm, stream.rate(), rate);
    (pcm.len() > rate.hz() as usize).then_some(pcm)
}

/// Three seconds of a buzz of 120 Hz that swells four times a second: what speech costs, roughly.
fn likeness(rate: SampleRate) -> Vec<i16> {
    let hz = f64::from(rate.hz());
    let sample = |n: usize| {
        let t = n as f64 / hz;
        let swell = 0.5 - 0.5 * (t * 4.0 * std::f64::consts::TAU).cos();
        let buzz: f64 =
            (1..=20).map(|k| (t * 120.0 * f64::from(k) * std::f64::consts::TAU).sin() / f64::from(k)).sum();
        (buzz * swell * 6_000.0) as i16
    };
    (0..3 * rate.hz() as usize).map(sample).collect()
}

/// Keeps to the periods of the day until the server stops.
pub(crate) async fn keep_time(shared: Arc<Shared>) {
    let section = &shared.config.pool;
    let periods = section.periods();
    if periods.is_empty() {
        return;
    }
    let mut held = None;
    loop {
        let shares = shares_at(minute(&shared.config), &periods, section.shares());
        if held != Some(shares) {
            tracing::info!(batch_share = shares.batch, "the pool's shares for this time of the day");
            shared.pool.set_shares(shares);
            held = Some(shares);
        }
        tokio::time::sleep(CLOCK).await;
    }
}

/// The minute of the day where the pool is.
fn minute(config: &Config) -> u16 {
    let zone = config.pool.time_zone.as_deref().and_then(|zone| TimeZone::get(zone).ok());
    let now = Zoned::now();
    let now = zone.map_or_else(|| now.clone(), |zone| now.with_time_zone(zone));
    now.hour() as u16 * 60 + now.minute() as u16
}
