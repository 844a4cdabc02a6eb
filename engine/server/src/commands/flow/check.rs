//! `antiphon flow check`: tells what is wrong with a flow the way a compiler does.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use antiphon_engine_flow::{Flow, FlowErrors, Problem};
use serde_json::json;

use super::{CheckArgs, Format};
use crate::commands::output::to_stdout;

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    to_stdout(|out| {
        let mut broken = false;
        let mut report = Vec::new();
        for file in &args.files {
            let began = Instant::now();
            let result = Flow::load(file);
            let taken = began.elapsed();
            broken |= result.is_err();
            match args.format {
                Format::Text => tell(out, file, &result, taken)?,
                Format::Json => report.push(describe(file, &result, taken)),
            }
        }
        if args.format == Format::Json {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

fn tell(
    out: &mut dyn Write,
    file: &Path,
    result: &Result<Flow, FlowErrors>,
    taken: Duration,
) -> std::io::Result<()> {
    let source = std::fs::read_to_string(file).unwrap_or_default();
    let flow = match result {
        Ok(flow) => flow,
        Err(errors) => {
            for problem in &errors.problems {
                show(out, problem, "error", &source)?;
            }
            let count = match errors.problems.len() {
                1 => "1 error".to_owned(),
                FlowErrors::LIMIT => format!("{} errors or more", FlowErrors::LIMIT),
                count => format!("{count} errors"),
            };
            return writeln!(out, "{}: {count}", file.display());
        }
    };
    for warning in flow.warnings() {
        show(out, warning, "warning", &source)?;
    }
    let (steps, intents, slots) = flow.counts();
    let warnings = match flow.warnings().len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        count => format!(", {count} warnings"),
    };
    writeln!(
        out,
        "{}: {} revision {} ({}): {steps} steps, {intents} intents, {slots} slots; read and trained in {} ms{warnings}",
        file.display(),
        flow.name(),
        flow.version(),
        flow.language().tag(),
        taken.as_millis()
    )
}

/// One problem, with its line and a mark below the place.
pub(super) fn show(
    out: &mut dyn Write,
    problem: &Problem,
    severity: &str,
    source: &str,
) -> std::io::Result<()> {
    let file = problem.file.display();
    let meant = match &problem.suggestion {
        Some(suggestion) => format!("; did you mean `{suggestion}`?"),
        None => String::new(),
    };
    if problem.line == 0 {
        return writeln!(out, "{file}: {severity}: {}{meant}", problem.message);
    }
    writeln!(out, "{file}:{}:{}: {severity}: {}{meant}", problem.line, problem.column, problem.message)?;
    let Some(line) = source.lines().nth(problem.line - 1).filter(|line| line.len() <= 400) else {
        return Ok(());
    };
    // As wide as what stands before the place: a Chinese character takes two columns.
    let indent: String = line
        .chars()
        .take(problem.column.saturating_sub(1))
        .map(|c| match c {
            '\t' => "\t",
            '\u{1100}'.. => "  ",
            _ => " ",
        })
        .collect();
    writeln!(out, "{:5} | {line}\n      | {indent}^", problem.line)
}

fn describe(file: &Path, result: &Result<Flow, FlowErrors>, taken: Duration) -> serde_json::Value {
    match result {
        Err(errors) => json!({"file": file, "ok": false, "errors": errors.problems, "warnings": []}),
        Ok(flow) => {
            let (steps, intents, slots) = flow.counts();
            json!({
                "file": file,
                "ok": true,
                "name": flow.name(),
                "revision": flow.version(),
                "language": flow.language().tag(),
                "steps": steps,
                "intents": intents,
                "slots": slots,
                "training_ms": taken.as_millis() as u64,
                "errors": [],
                "warnings": flow.warnings(),
            })
        }
    }
}
