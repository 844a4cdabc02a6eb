//! `GET /metrics`: the Prometheus text format, version 0.0.4. No label holds personal data or a call's id.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use antiphon_models_pool::{Class, ClassFigures, PoolFigures};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::pool::wait_ends;
use super::{Api, Readings};
use crate::cdr::Reading;
use crate::mrcp::Mrcp;
use crate::qa::Inspected;
use crate::telemetry::{Counts, Histogram};

/// `GET /metrics`
pub(super) async fn render(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let readings = (api.readings)();
    let watchers = api.limits.watchers - api.watchers.available_permits();
    let mut page = Page::default();
    page.process(&readings, watchers);
    page.calls(&api.calls.meter().read(), api.calls.active(), readings.calls);
    page.plane(&readings);
    page.pool(&readings);
    if let Some(records) = api.calls.records() {
        page.records(&records.figures());
    }
    if let Some(shared) = api.desk.as_ref().filter(|shared| shared.config.mrcp.listen.is_some()) {
        page.mrcp(&shared.mrcp);
    }
    if let Some(inspection) = &api.inspection {
        page.inspection(&inspection.figures());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.text)
}

/// The text so far.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn records(&mut self, read: &Reading) {
        for (name, help, value) in [
            ("antiphon_cdr_written_total", "Call records written to the journal.", read.written),
            ("antiphon_cdr_lost_total", "Call records for which the disk was too far behind.", read.lost),
            ("antiphon_cdr_stored_total", "Call records taken in by the store.", read.stored),
            ("antiphon_webhook_delivered_total", "Deliveries that webhooks took.", read.delivered),
            ("antiphon_webhook_failed_total", "Attempts of deliveries that failed.", read.failed),
            ("antiphon_webhook_dead_total", "Deliveries given up.", read.dead),
            ("antiphon_webhook_refused_total", "Deliveries for which too many were waiting.", read.refused),
        ] {
            self.counter(name, help, value as f64);
        }
    }

    fn mrcp(&mut self, mrcp: &Mrcp) {
        self.gauge("antiphon_mrcp_sessions", "Sessions of MRCP under way.", mrcp.active() as f64);
        self.gauge("antiphon_mrcp_sessions_limit", "Sessions of MRCP allowed at once.", mrcp.limit() as f64);
        self.gauge("antiphon_mrcp_connections", "Connections of MRCP clients.", mrcp.connections() as f64);
        let counts = mrcp.counts();
        let help = "Sessions of MRCP over or refused, by cause (docs/ERRORS.md).";
        self.counters("antiphon_mrcp_sessions_ended_total", help, "cause", &counts.ended);
        let help = "RECOGNIZE requests complete, by completion cause.";
        self.counters("antiphon_mrcp_recognitions_total", help, "cause", &counts.recognitions);
        let help = "SPEAK requests complete, by completion cause.";
        self.counters("antiphon_mrcp_speeches_total", help, "cause", &counts.speeches);
        let help = "Requests of MRCP answered with an error, by status.";
        let refused = counts.refused.iter().map(|(status, count)| (status.to_string(), *count)).collect();
        self.counters("antiphon_mrcp_requests_refused_total", help, "status", &refused);
    }

    fn inspection(&mut self, read: &Inspected) {
        self.gauge("antiphon_qa_files_running", "Recordings being inspected.", read.running as f64);
        for (name, help, value) in [
            ("antiphon_qa_files_done_total", "Recordings inspected.", read.done as f64),
            ("antiphon_qa_files_failed_total", "Recordings that could not be inspected.", read.failed as f64),
            ("antiphon_qa_audio_seconds_total", "Sound of the recordings inspected.", read.seconds),
        ] {
            self.counter(name, help, value);
        }
    }

    fn process(&mut self, readings: &Readings, watchers: usize) {
        self.family("antiphon_build_info", "gauge", "The version that runs and its recogniser; always 1.");
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("recognizer", readings.engine.as_str())];
        self.sample("antiphon_build_info", &labels, 1.0);
        self.gauge("antiphon_uptime_seconds", "Since the server was opened.", readings.uptime.as_secs_f64());
        self.gauge("antiphon_http_websockets", "WebSockets open.", watchers as f64);
    }

    fn calls(&mut self, counts: &Counts, active: usize, limit: usize) {
        self.gauge("antiphon_calls_active", "Calls under way, ringing ones included.", active as f64);
        self.gauge("antiphon_calls_limit", "Calls allowed at once.", limit as f64);
        self.counters("antiphon_calls_started_total", "Calls begun.", "direction", &counts.started);
        self.counters(
            "antiphon_calls_ended_total",
            "Calls over, by cause (docs/ERRORS.md).",
            "cause",
            &counts.ended,
        );
        self.histogram(
            "antiphon_call_duration_seconds",
            "From answer to end, of calls that were answered.",
            &counts.duration,
        );
        self.histogram(
            "antiphon_response_first_audio_seconds",
            "From the end of the caller's speech to the first sample of our answer.",
            &counts.first_audio,
        );
        self.histogram(
            "antiphon_response_recognized_seconds",
            "From the end of the caller's speech to its final words.",
            &counts.recognized,
        );
        self.counters(
            "antiphon_prompts_stopped_total",
            "Prompts over, by how they ended.",
            "reason",
            &counts.prompts,
        );
        self.counters(
            "antiphon_intents_total",
            "Utterances classified, by what followed.",
            "decision",
            &counts.intents,
        );
        self.counter(
            "antiphon_no_input_total",
            "Questions without an answer in time.",
            counts.no_input as f64,
        );
        self.counter("antiphon_no_match_total", "Answers that fit nothing.", counts.no_match as f64);
        let (received, sent) = (counts.received, counts.sent);
        for (name, help, figures) in [
            (
                "antiphon_media_packets_total",
                "RTP packets of calls that are over.",
                [received.packets as f64, sent.packets as f64],
            ),
            (
                "antiphon_media_packets_lost_total",
                "RTP packets that never came; for those sent, as the far side told.",
                [received.lost as f64, sent.lost as f64],
            ),
            (
                "antiphon_media_packets_late_total",
                "RTP packets that came too late to be played.",
                [received.late as f64, sent.late as f64],
            ),
            (
                "antiphon_media_packets_duplicate_total",
                "RTP packets that came twice.",
                [received.duplicate as f64, sent.duplicate as f64],
            ),
            (
                "antiphon_media_concealed_seconds_total",
                "Sound made up for packets that were missing.",
                [received.concealed_ms as f64 / 1000.0, sent.concealed_ms as f64 / 1000.0],
            ),
        ] {
            self.family(name, "counter", help);
            self.sample(name, &[("direction", "received")], figures[0]);
            self.sample(name, &[("direction", "sent")], figures[1]);
        }
        let (received, sent) = (&counts.received_quality, &counts.sent_quality);
        for (name, help, histograms) in [
            (
                "antiphon_media_jitter_seconds",
                "Interarrival jitter (RFC 3550) at the end of each call; for what was sent, as the far side told.",
                [&received.jitter, &sent.jitter],
            ),
            (
                "antiphon_media_round_trip_seconds",
                "Round trip by RTCP at the end of each call that knows it.",
                [&received.round_trip, &sent.round_trip],
            ),
            (
                "antiphon_media_mos",
                "Estimated listening quality (E-model, ITU-T G.107) over each call; for what was sent, as the far side told.",
                [&received.mos, &sent.mos],
            ),
        ] {
            self.family(name, "histogram", help);
            self.buckets(name, Some("received"), histograms[0]);
            self.buckets(name, Some("sent"), histograms[1]);
        }
    }

    fn plane(&mut self, readings: &Readings) {
        let shard = &readings.shard;
        self.gauge("antiphon_shard_legs", "Media endpoints running.", shard.legs as f64);
        self.counter("antiphon_shard_ticks_total", "Ticks of the media clock.", shard.ticks as f64);
        self.counter(
            "antiphon_shard_ticks_skipped_total",
            "Ticks skipped after stalls.",
            shard.skipped as f64,
        );
        self.counter(
            "antiphon_shard_busy_seconds_total",
            "Time the media thread worked.",
            shard.busy.as_secs_f64(),
        );
        self.gauge(
            "antiphon_shard_worst_delay_seconds",
            "The latest a tick began since the start.",
            shard.worst_delay.as_secs_f64(),
        );
    }

    fn pool(&mut self, readings: &Readings) {
        let pool = &readings.pool;
        self.gauge("antiphon_pool_streams", "Places for recognition taken.", pool.streams as f64);
        self.gauge("antiphon_pool_streams_limit", "Places for recognition there are.", pool.limit as f64);
        self.counter("antiphon_pool_audio_seconds_total", "Audio taken in.", pool.audio.secs_f64());
        let name = "antiphon_pool_busy_seconds_total";
        self.family(name, "counter", "Time each worker computed.");
        for (worker, busy) in pool.busy.iter().enumerate() {
            self.sample(name, &[("worker", &worker.to_string())], busy.as_secs_f64());
        }
        self.gauge(
            "antiphon_pool_longest_backlog_seconds",
            "The most audio that ever waited in one stream.",
            pool.longest_backlog.secs_f64(),
        );
        self.counter(
            "antiphon_pool_frames_refused_total",
            "Frames lost because a stream's ring was full.",
            pool.refused as f64,
        );
        self.counter("antiphon_pool_failures_total", "Failures of recognisers.", pool.failures as f64);
        self.counter("antiphon_pool_hung_total", "Engines given up in mid-step.", pool.hung as f64);
        self.gauge("antiphon_pool_capacity", "Streams the devices can carry.", pool.capacity as f64);
        self.gauge(
            "antiphon_pool_pressure",
            "What is shed: 0 nothing, 1 batch work, 2 partials.",
            f64::from(pool.pressure as u8),
        );
        #[cfg(feature = "remote")]
        self.remote();
        self.counter("antiphon_pool_steps_total", "Steps computed.", pool.steps as f64);
        self.counter("antiphon_pool_rows_total", "Rows of those steps.", pool.rows as f64);
        self.family("antiphon_pool_class_streams", "gauge", "Streams that are in, by class.");
        for (class, known) in classes(pool) {
            self.sample("antiphon_pool_class_streams", &[("class", class)], known.streams as f64);
        }
        self.family("antiphon_pool_refused_total", "counter", "Streams that were not let in, by class.");
        for (class, known) in classes(pool) {
            self.sample("antiphon_pool_refused_total", &[("class", class)], known.refused as f64);
        }
        self.family("antiphon_pool_class_busy_seconds_total", "counter", "Computing time, by class.");
        for (class, known) in classes(pool) {
            let busy = known.busy.as_secs_f64();
            self.sample("antiphon_pool_class_busy_seconds_total", &[("class", class)], busy);
        }
        self.family("antiphon_pool_wait_seconds", "histogram", "Waiting for a turn, by class.");
        for (class, known) in classes(pool) {
            let mut below = 0;
            for (count, end) in known.waits.iter().zip(wait_ends()) {
                below += count;
                let labels = [("class", class), ("le", &*end.to_string())];
                self.sample("antiphon_pool_wait_seconds_bucket", &labels, below as f64);
            }
            let all = known.waits.iter().sum::<u64>() as f64;
            self.sample("antiphon_pool_wait_seconds_bucket", &[("class", class), ("le", "+Inf")], all);
            self.sample("antiphon_pool_wait_seconds_sum", &[("class", class)], known.waited.as_secs_f64());
            self.sample("antiphon_pool_wait_seconds_count", &[("class", class)], all);
        }
    }

    /// What services elsewhere were asked for, to be compared with their bills.
    #[cfg(feature = "remote")]
    fn remote(&mut self) {
        let asked = antiphon_models_backends::remote::figures();
        for (name, help, value) in [
            ("requests", "Utterances that services were asked about.", asked.requests as f64),
            ("audio_seconds", "Sound sent to services, again included.", asked.sent.secs_f64()),
            ("reconnections", "Connections to services opened again.", asked.again as f64),
            ("failures", "Utterances that services gave no words for.", asked.failed as f64),
            ("timeouts", "Those of them that had no answer in time.", asked.late as f64),
        ] {
            self.counter(&format!("antiphon_remote_{name}_total"), help, value);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    fn counters<V: AsRef<str>>(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<V, u64>) {
        self.family(name, "counter", help);
        for (value, count) in values {
            self.sample(name, &[(label, value.as_ref())], *count as f64);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        self.buckets(name, None, histogram);
    }

    /// The samples of a histogram, of one direction where there are several.
    fn buckets(&mut self, name: &str, direction: Option<&str>, histogram: &Histogram) {
        let labels: Vec<_> = direction.map(|direction| ("direction", direction)).into_iter().collect();
        for (bound, count) in histogram.buckets() {
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
            self.sample(&format!("{name}_bucket"), &labels, count as f64);
        }
        self.sample(&format!("{name}_sum"), &labels, histogram.sum());
        self.sample(&format!("{name}_count"), &labels, histogram.count() as f64);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a `String` does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            let open = if n == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

fn classes(pool: &PoolFigures) -> impl Iterator<Item = (&'static str, &ClassFigures)> {
    Class::ALL.into_iter().map(Class::name).zip(&pool.classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.sample("x", &[("a", "1"), ("b", "q\"\\\nz")], 0.5);
        assert_eq!(page.text, "x{a=\"1\",b=\"q\\\"\\\\\\nz\"} 0.5\n");
    }
}
