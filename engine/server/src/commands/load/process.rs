//! What a process takes of the machine, read from `/proc`. Linux only.

use std::time::{Duration, Instant};

use anyhow::Context;

/// Linux counts processor time for programs in hundredths of a second, on every architecture we build for.
const TICK: Duration = Duration::from_millis(10);
/// Samples kept: hours at four a second.
const MOST: usize = 100_000;

/// One look.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    /// Processor time so far.
    cpu: Duration,
    resident_kb: u64,
    /// Calls up, and how often that number changed so far.
    calls: u32,
    changes: u64,
}

/// A process that is being watched.
#[derive(Debug)]
pub(super) struct Watch {
    pid: u32,
    began: Instant,
    samples: Vec<Sample>,
}

/// What it took. Memory in MiB, processor time in per cent of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub(super) struct Usage {
    pub(super) pid: u32,
    /// Over the whole load.
    pub(super) cpu_percent: f64,
    pub(super) cpu_seconds: f64,
    /// A call, while the number of calls stood still at its peak; nothing where it never did.
    pub(super) steady_cpu_percent_per_call: Option<f64>,
    /// For how long it did.
    pub(super) steady_seconds: f64,
    pub(super) memory_before: f64,
    pub(super) memory_peak: f64,
    pub(super) memory_after: f64,
    /// From before to peak, divided by the most calls there were at once.
    pub(super) memory_per_call: Option<f64>,
}

impl Watch {
    /// Takes the first look.
    pub(super) fn begin(pid: u32) -> anyhow::Result<Self> {
        let mut watch = Self { pid, began: Instant::now(), samples: Vec::new() };
        let first = watch.look(0, 0).with_context(|| format!("there is no process {pid} to be measured"))?;
        watch.samples.push(first);
        Ok(watch)
    }

    /// Takes another look; a process that is gone leaves none.
    pub(super) fn sample(&mut self, calls: u32, changes: u64) {
        if self.samples.len() < MOST {
            self.samples.extend(self.look(calls, changes));
        }
    }

    pub(super) fn usage(&self) -> Usage {
        usage(self.pid, &self.samples)
    }

    fn look(&self, calls: u32, changes: u64) -> Option<Sample> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let (cpu, resident_kb) = (cpu(&stat)?, resident_kb(&status)?);
        Some(Sample { at: self.began.elapsed(), cpu, resident_kb, calls, changes })
    }
}

/// User and system time, threads that have ended included (proc(5), fields 14 and 15).
fn cpu(stat: &str) -> Option<Duration> {
    // The name, in brackets, may hold anything, brackets and blanks included.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * ticks()?.checked_add(ticks()?)?)
}

fn resident_kb(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn usage(pid: u32, samples: &[Sample]) -> Usage {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Usage::default() };
    let peak_calls = samples.iter().map(|sample| sample.calls).max().unwrap_or(0);
    let peak_kb = samples.iter().map(|sample| sample.resident_kb).max().unwrap_or(0);
    // Pairs of looks between which no call began or ended, with as many calls as ever.
    let (mut cpu, mut time) = (Duration::ZERO, Duration::ZERO);
    for pair in samples.windows(2) {
        let [from, to] = pair else { continue };
        if from.calls == peak_calls && from.changes == to.changes && peak_calls > 0 {
            cpu += to.cpu.saturating_sub(from.cpu);
            time += to.at.saturating_sub(from.at);
        }
    }
    let steady = time >= Duration::from_secs(2);
    let took = (last.at - first.at).as_secs_f64().max(0.001);
    let seconds = last.cpu.saturating_sub(first.cpu).as_secs_f64();
    let mib = |kb: u64| kb as f64 / 1_024.0;
    Usage {
        pid,
        cpu_percent: seconds / took * 100.0,
        cpu_seconds: seconds,
        steady_cpu_percent_per_call: steady
            .then(|| cpu.as_secs_f64() / time.as_secs_f64() / f64::from(peak_calls) * 100.0),
        steady_seconds: time.as_secs_f64(),
        memory_before: mib(first.resident_kb),
        memory_peak: mib(peak_kb),
        memory_after: mib(last.resident_kb),
        memory_per_call: (peak_calls > 0)
            .then(|| mib(peak_kb.saturating_sub(first.resident_kb)) / f64::from(peak_calls)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "42 (a) R (b) S 1 1 1 0 -1 4194304 100 0 0 0 150 50 7 7 20 0 9 0 100 1000 200";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu("nonsense"), None);
        assert_eq!(resident_kb("VmHWM:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2_048));
    }

    #[test]
    fn this_process_is_there_and_a_made_up_one_is_not() {
        let mut watch = Watch::begin(std::process::id()).expect("here");
        watch.sample(1, 1);
        assert!(watch.usage().memory_peak > 1.0);
        let error = Watch::begin(u32::MAX).expect_err("nobody").to_string();
        assert!(error.contains("no process"), "{error}");
    }

    #[test]
    fn a_call_costs_what_was_used_while_nothing_began_or_ended() {
        let sample = |seconds, cpu_ms, resident_kb, calls, changes| Sample {
            at: Duration::from_secs(seconds),
            cpu: Duration::from_millis(cpu_ms),
            resident_kb,
            calls,
            changes,
        };
        let samples = [
            sample(0, 0, 102_400, 0, 0),
            sample(1, 900, 204_800, 60, 60),
            sample(2, 1_500, 204_800, 100, 100),
            sample(4, 1_700, 204_800, 100, 100),
            sample(5, 2_600, 112_640, 0, 200),
        ];
        let usage = usage(1, &samples);
        assert!((usage.steady_cpu_percent_per_call.expect("steady") - 0.1).abs() < 1e-9);
        assert!((usage.memory_per_call.expect("calls") - 1.0).abs() < 1e-9);
        assert!((usage.cpu_percent - 52.0).abs() < 1e-9 && (usage.memory_after - 110.0).abs() < 1e-9);
    }
}
