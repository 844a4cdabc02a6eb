//! `antiphon pool report`: what this machine can recognise, to plan with.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::SampleRate;
use antiphon_models_pool::Calibration;
use antiphon_models_speech::Synthesizer;
use anyhow::Context;

use super::output::to_stdout;
use crate::config::{Config, Overrides};
use crate::{ears, recognizers, shared};

/// The part of the time that somebody speaks on one side of a call, in the plans.
const SPOKEN: f64 = 0.5;
/// How long an engine is measured.
const BUDGET: Duration = Duration::from_secs(20);

const EXAMPLES: &str = "\
Examples:
  antiphon pool report
  antiphon pool report --engine whisper --rate 16000
  curl -s http://127.0.0.1:8080/v1/pool | jq        (what a running server does)

It measures on this machine, with the whole machine to itself: stop what else computes.";

/// The recogniser pool
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Measure the configured engines and print what this machine can carry
    #[command(after_help = EXAMPLES)]
    Report(ReportArgs),
}

#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    /// Configuration file (TOML)
    #[arg(long, env = "ANTIPHON_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The recogniser, instead of the configured one
    #[arg(long, env = "ANTIPHON_ENGINE", value_name = "NAME")]
    engine: Option<String>,
    /// The rate of the calls: 8000 for G.711, 16000 for G.722
    #[arg(long, value_name = "HZ", default_value_t = 8_000)]
    rate: u32,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Report(args) = command;
    let overrides =
        Overrides { config: args.config.clone(), engine: args.engine.clone(), ..Overrides::default() };
    let config = Config::load(&overrides)?;
    let rate = SampleRate::new(args.rate)
        .with_context(|| format!("--rate {} is no sample rate; 8000 and 16000 are usual", args.rate))?;
    let engines = recognizers::open(&config)?;
    anyhow::ensure!(!engines.is_empty(), "recognizer.engine is \"none\": there is nothing to measure");
    let voices: BTreeMap<String, Arc<dyn Synthesizer>> = shared::voices(&config).unwrap_or_default();
    let voice = voices.get("en").or_else(|| voices.get("*"));
    let mut measured = Vec::new();
    for engine in &engines {
        if !args.json {
            eprintln_progress(engine.name());
        }
        let calibration = ears::measure(&**engine, voice.map(|voice| &**voice), rate, BUDGET)?;
        measured.push((engine.name(), calibration));
    }
    to_stdout(|out| {
        if args.json {
            let list: Vec<_> = measured.iter().map(|(name, known)| json(name, known, &config)).collect();
            writeln!(out, "{}", serde_json::json!({ "rate_hz": rate.hz(), "engines": list }))?;
        } else {
            for (name, known) in &measured {
                print(name, known, &config, out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

#[expect(clippy::print_stderr, reason = "progress is for the terminal, not for the report")]
fn eprintln_progress(engine: &str) {
    eprintln!("measuring {engine} ...");
}

/// What follows from a measurement.
struct Plan {
    /// Seconds of computing for a second of speech.
    cost: f64,
    /// Sides of calls, of which half the time is speech, that the promised part of the machine carries.
    live: usize,
    /// Hours of recorded speech an hour, with the whole machine.
    hours: f64,
}

fn plan(known: &Calibration, config: &Config) -> Plan {
    let cost = known.speech_cost().max(1e-9);
    let workers = config.recognizer.workers as f64;
    Plan { cost, live: (workers * config.pool.utilisation / (cost * SPOKEN)) as usize, hours: workers / cost }
}

fn json(name: &str, known: &Calibration, config: &Config) -> serde_json::Value {
    let Plan { cost, live, hours } = plan(known, config);
    let steps: Vec<_> = known
        .steps
        .iter()
        .map(|(rows, took)| serde_json::json!({ "rows": rows, "ms": took.as_secs_f64() * 1e3 }))
        .collect();
    serde_json::json!({
        "engine": name,
        "chunk_ms": known.chunk.millis(),
        "steps": steps,
        "speech_cost": cost,
        "workers": config.recognizer.workers,
        "utilisation": config.pool.utilisation,
        "live_sides": live,
        "speech_hours_an_hour": hours,
    })
}

fn print(name: &str, known: &Calibration, config: &Config, out: &mut dyn Write) -> std::io::Result<()> {
    let Plan { cost, live, hours } = plan(known, config);
    let workers = config.recognizer.workers;
    writeln!(out, "\n{name}: steps of {} ms of sound", known.chunk.millis())?;
    writeln!(out, "  {:>5}  {:>9}  {:>14}  {:>16}", "rows", "step", "a row", "x real time")?;
    for (rows, took) in &known.steps {
        let each = took.as_secs_f64() / *rows as f64;
        writeln!(
            out,
            "  {rows:>5}  {:>6.1} ms  {:>11.1} ms  {:>16.1}",
            took.as_secs_f64() * 1e3,
            each * 1e3,
            known.chunk.secs_f64() / each.max(1e-9)
        )?;
    }
    writeln!(out, "  a second of speech costs {:.0} ms of a core", cost * 1e3)?;
    writeln!(
        out,
        "  {workers} workers carry about {live} sides of calls ({:.0} % of the time speech, {:.0} % of the machine promised)",
        SPOKEN * 100.0,
        config.pool.utilisation * 100.0
    )?;
    writeln!(out, "  or {hours:.1} hours of recorded speech an hour, when there are no calls")?;
    writeln!(
        out,
        "  recordings get {:.0} % of the machine however many calls there are (pool.batch_share)",
        config.pool.batch_share * 100.0
    )
}
