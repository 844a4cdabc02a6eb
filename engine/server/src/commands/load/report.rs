//! What a load came to, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::phones::Clock;
use super::process::{Usage, Watch};
use super::tally::{Counts, Failure, Heard};

/// What a load came to.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    attempted: u64,
    answered: u64,
    /// By SIP status, and `redirected`, `unanswered`, `unsent`, `bad_answer`.
    failed: BTreeMap<String, u64>,
    why_unsent: Option<String>,
    /// Calls that the far side ended before their time.
    cut_short: u64,
    most_at_once: u32,
    seconds: f64,
    /// Calls begun a second.
    rate: f64,
    /// INVITE to 200.
    set_up_ms: Option<Spread>,
    /// 200 to the first packet.
    first_rtp_ms: Option<Spread>,
    media: Media,
    /// The legs that came in at `--listen`.
    far_legs: Option<FarLegs>,
    /// This program's own share.
    generator: Generator,
    /// The process of `--pid`.
    server: Option<Server>,
}

/// How measurements lie, in milliseconds: nearest-rank percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    n: usize,
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Media {
    calls: u64,
    packets_sent: u64,
    packets_unsent: u64,
    packets_received: u64,
    packets_lost: u64,
    lost_percent: f64,
    one_way_calls: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct FarLegs {
    answered: u64,
    media: Media,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Generator {
    cpu_percent: f64,
    /// How late the media thread was at worst, and the turns of 4 ms it left out.
    worst_turn_ms: Option<f64>,
    turns_skipped: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Server {
    #[serde(flatten)]
    usage: Usage,
    /// All its processor time, by answered calls.
    cpu_ms_per_call: Option<f64>,
    /// All its processor time, by all calls' time.
    cpu_percent_per_call: Option<f64>,
}

impl Report {
    pub(super) fn of(
        counts: &Counts,
        took: Duration,
        clock: Option<Clock>,
        own: &Watch,
        server: Option<&Watch>,
    ) -> Self {
        let attempts = counts.attempts_took.as_secs_f64();
        Self {
            attempted: counts.attempted,
            answered: counts.answered,
            failed: counts.failed.iter().map(|(failure, count)| (name(*failure), *count)).collect(),
            why_unsent: counts.why_unsent.clone(),
            cut_short: counts.cut_short,
            most_at_once: counts.peak,
            seconds: took.as_secs_f64(),
            // One call has no rate.
            rate: if attempts > 0.0 { (counts.attempted - 1) as f64 / attempts } else { 0.0 },
            set_up_ms: Spread::of(&counts.set_up_us),
            first_rtp_ms: Spread::of(&counts.first_rtp_us),
            media: Media::of(&counts.near),
            far_legs: (counts.far_answered > 0)
                .then(|| FarLegs { answered: counts.far_answered, media: Media::of(&counts.far) }),
            generator: Generator {
                cpu_percent: own.usage().cpu_percent,
                worst_turn_ms: clock.map(|clock| clock.worst.as_secs_f64() * 1e3),
                turns_skipped: clock.map(|clock| clock.skipped),
            },
            server: server.map(|watch| Server::of(watch.usage(), counts)),
        }
    }

    /// Whether every call was answered and heard.
    pub(super) fn is_clean(&self) -> bool {
        let far = self.far_legs.map_or(0, |far| far.media.one_way_calls);
        self.answered > 0 && self.failed.is_empty() && self.media.one_way_calls + far == 0
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a `String` does not fail.
            let _ = writeln!(out, "{name:<24} {value}");
        };
        row(
            "calls attempted",
            format!("{} in {:.1} s, {:.1} a second", self.attempted, self.seconds, self.rate),
        );
        row("calls answered", format!("{}, {} at once", self.answered, self.most_at_once));
        if self.failed.is_empty() {
            row("calls failed", "0".to_owned());
        }
        for (failure, count) in &self.failed {
            row("calls failed", format!("{count}: {failure}"));
        }
        if let Some(why) = &self.why_unsent {
            row("  the first unsent", why.clone());
        }
        if self.cut_short > 0 {
            row("ended by the far side", self.cut_short.to_string());
        }
        row("set-up, INVITE to 200", Spread::text(self.set_up_ms));
        if self.media.calls > 0 {
            row("first RTP after 200", Spread::text(self.first_rtp_ms));
            row("packets heard", self.media.text());
            row("one-way calls", self.media.one_way_calls.to_string());
        }
        if let Some(far) = &self.far_legs {
            row("far legs answered", far.answered.to_string());
            row("  packets heard", far.media.text());
            row("  one-way calls", far.media.one_way_calls.to_string());
        }
        let late =
            self.generator.worst_turn_ms.map_or_else(String::new, |ms| format!(", at worst {ms:.1} ms late"));
        row("this program", format!("{:.1} % of a core{late}", self.generator.cpu_percent));
        if let Some(server) = &self.server {
            server.rows(&mut row);
        }
        out
    }
}

impl Server {
    fn of(usage: Usage, counts: &Counts) -> Self {
        let time = counts.call_time.as_secs_f64();
        Self {
            usage,
            cpu_ms_per_call: (counts.answered > 0).then(|| usage.cpu_seconds * 1e3 / counts.answered as f64),
            cpu_percent_per_call: (time > 0.0).then(|| usage.cpu_seconds / time * 100.0),
        }
    }

    fn rows(&self, row: &mut impl FnMut(&str, String)) {
        let usage = &self.usage;
        row("server", format!("process {}, {:.1} % of a core over all", usage.pid, usage.cpu_percent));
        if let Some(steady) = usage.steady_cpu_percent_per_call {
            row(
                "  a call that stands",
                format!("{steady:.3} % of a core, over {:.0} s", usage.steady_seconds),
            );
        }
        if let (Some(ms), Some(percent)) = (self.cpu_ms_per_call, self.cpu_percent_per_call) {
            row("  a call, all of it", format!("{ms:.2} ms of processor time, {percent:.3} % of a core"));
        }
        let each = usage.memory_per_call.map_or_else(String::new, |each| format!(": {each:.3} a call"));
        row(
            "  memory, MiB",
            format!(
                "{:.1} before, {:.1} at most{each}, {:.1} after",
                usage.memory_before, usage.memory_peak, usage.memory_after
            ),
        );
    }
}

impl Media {
    fn of(heard: &Heard) -> Self {
        let expected = heard.received + heard.lost;
        Self {
            calls: heard.calls,
            packets_sent: heard.sent,
            packets_unsent: heard.unsent,
            packets_received: heard.received,
            packets_lost: heard.lost,
            lost_percent: if expected == 0 { 0.0 } else { heard.lost as f64 * 100.0 / expected as f64 },
            one_way_calls: heard.one_way,
        }
    }

    fn text(&self) -> String {
        format!(
            "{} (sent {}), lost {} ({:.3} %)",
            self.packets_received, self.packets_sent, self.packets_lost, self.lost_percent
        )
    }
}

impl Spread {
    fn of(micros: &[u64]) -> Option<Self> {
        let mut micros = micros.to_vec();
        micros.sort_unstable();
        let rank = |percent: usize| {
            let index = (micros.len() * percent).div_ceil(100).saturating_sub(1);
            micros.get(index).map(|micros| *micros as f64 / 1e3)
        };
        Some(Self { n: micros.len(), p50: rank(50)?, p95: rank(95)?, p99: rank(99)?, max: rank(100)? })
    }

    fn text(spread: Option<Self>) -> String {
        spread.map_or_else(
            || "none".to_owned(),
            |Self { p50, p95, p99, max, .. }| {
                format!("p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, at most {max:.1} ms")
            },
        )
    }
}

fn name(failure: Failure) -> String {
    match failure {
        Failure::Status(status) => status.to_string(),
        Failure::Redirected => "redirected".to_owned(),
        Failure::Unanswered => "unanswered".to_owned(),
        Failure::Unsent => "unsent".to_owned(),
        Failure::BadAnswer => "bad_answer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counts: &Counts) -> Report {
        let own = Watch::begin(std::process::id()).expect("this process");
        Report::of(counts, Duration::from_secs(4), None, &own, Some(&own))
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let micros: Vec<u64> = (1..=200).rev().map(|n| n * 1_000).collect();
        let spread = Spread::of(&micros).expect("values");
        assert_eq!((spread.p50, spread.p95, spread.p99, spread.max), (100.0, 190.0, 198.0, 200.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn the_table_names_what_failed_and_json_says_the_same() {
        let counts = Counts {
            attempted: 5,
            answered: 3,
            attempts_took: Duration::from_secs(2),
            failed: BTreeMap::from([(Failure::Status(503), 2)]),
            set_up_us: vec![1_500, 2_500, 9_000],
            call_time: Duration::from_secs(30),
            near: Heard { calls: 3, sent: 1_500, received: 999, lost: 1, one_way: 1, ..Heard::default() },
            ..Counts::default()
        };
        let report = report(&counts);
        let table = report.table();
        for part in ["5 in 4.0 s, 2.0 a second", "2: 503", "p50 2.5 ms", "lost 1 (0.100 %)", "memory, MiB"] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["failed"]["503"], 2);
        assert_eq!(json["media"]["one_way_calls"], 1);
        assert_eq!(json["server"]["pid"], std::process::id());
        assert!(!report.is_clean());
    }

    #[test]
    fn one_way_calls_make_a_load_fail() {
        let mut counts = Counts { attempted: 1, answered: 1, ..Counts::default() };
        assert!(report(&counts).is_clean());
        counts.far_answered = 1;
        counts.far.one_way = 1;
        assert!(!report(&counts).is_clean());
    }
}
