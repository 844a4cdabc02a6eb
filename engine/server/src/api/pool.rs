//! What the recogniser pool does and could do.

use std::sync::Arc;
use std::time::Duration;

use antiphon_models_pool::{Class, PoolFigures, WAITS_MS};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Api;

/// `GET /v1/pool`
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PoolReport {
    /// The recogniser's name.
    pub(crate) engine: String,
    /// Whether it heeds hints: phrases that it is told to expect.
    pub(crate) hints: bool,
    /// Devices that compute.
    pub(crate) workers: usize,
    /// Live and outbound streams that are in.
    pub(crate) streams: usize,
    /// Places for them.
    pub(crate) limit: usize,
    /// Streams that the devices can carry as far as is known.
    pub(crate) capacity: usize,
    /// What is shed: `none`, `batch paused` or `partials thinned`.
    pub(crate) pressure: String,
    /// Rows a step: how full batches are.
    pub(crate) rows_per_step: f64,
    /// Seconds of audio heard since the start, silence included.
    pub(crate) audio_s: f64,
    /// Seconds each worker has computed since the start.
    pub(crate) busy_s: Vec<f64>,
    /// Engines given up because a step did not end.
    pub(crate) hung: u64,
    /// Failures of recognisers.
    pub(crate) failures: u64,
    /// Each class.
    pub(crate) classes: Vec<ClassReport>,
}

/// One class of streams.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClassReport {
    /// `live`, `outbound` or `batch`.
    pub(crate) class: String,
    /// Streams that are in.
    pub(crate) streams: usize,
    /// Streams that were refused since the start.
    pub(crate) refused: u64,
    /// Seconds of computing since the start.
    pub(crate) busy_s: f64,
    /// Turns waited for since the start.
    pub(crate) turns: u64,
    /// The waiting, in milliseconds, that half of the turns did not exceed, rounded up to a step of the histogram; null
    /// where there was none or more than a second.
    pub(crate) wait_p50_ms: Option<u64>,
    /// The same for 95 in 100.
    pub(crate) wait_p95_ms: Option<u64>,
    /// The same for 99 in 100.
    pub(crate) wait_p99_ms: Option<u64>,
}

impl PoolReport {
    pub(crate) fn new(engine: &str, hints: bool, figures: &PoolFigures) -> Self {
        let class = |class: Class| {
            let known = &figures.classes[class as usize];
            let millis = |share| {
                let wait = known.quantile(share).filter(|wait| *wait < Duration::MAX);
                wait.map(|wait| wait.as_millis() as u64)
            };
            ClassReport {
                class: class.name().to_owned(),
                streams: known.streams,
                refused: known.refused,
                busy_s: known.busy.as_secs_f64(),
                turns: known.waits.iter().sum(),
                wait_p50_ms: millis(0.5),
                wait_p95_ms: millis(0.95),
                wait_p99_ms: millis(0.99),
            }
        };
        Self {
            engine: engine.to_owned(),
            hints,
            workers: figures.busy.len(),
            streams: figures.streams,
            limit: figures.limit,
            capacity: figures.capacity,
            pressure: figures.pressure.name().to_owned(),
            rows_per_step: figures.rows as f64 / figures.steps.max(1) as f64,
            audio_s: figures.audio.secs_f64(),
            busy_s: figures.busy.iter().map(Duration::as_secs_f64).collect(),
            hung: figures.hung,
            failures: figures.failures,
            classes: Class::ALL.map(class).into(),
        }
    }
}

/// `GET /v1/pool`
pub(super) async fn report(State(api): State<Arc<Api>>) -> Json<PoolReport> {
    let readings = (api.readings)();
    Json(PoolReport::new(&readings.engine, readings.hints, &readings.pool))
}

/// The upper ends of the ranges of waiting, in seconds, for the figures of monitoring.
pub(super) fn wait_ends() -> impl Iterator<Item = f64> {
    WAITS_MS.into_iter().map(|millis| millis as f64 / 1e3)
}
