//! `antiphon qa check` and `qa test`: rules looked at before they are used.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use antiphon_engine_qa::{Case, Report};
use anyhow::{Context, anyhow, ensure};

use super::super::output::to_stdout;
use crate::qa::job::read_card;

/// The largest file of dialogues.
const LARGEST: u64 = 16 << 20;

pub(super) const EXAMPLES: &str = "\
A dialogue says who says what, and what is to be found in it; docs/QA.md shows one.

Examples:
  antiphon qa test rules.yaml dialogues/
  antiphon qa test rules.yaml dialogues/complaint.yaml --explain

The exit status is 1 where an expectation is not met.";

#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// Rules (YAML)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct TestArgs {
    /// Rules (YAML)
    #[arg(value_name = "RULES")]
    rules: PathBuf,
    /// Dialogues (YAML), or folders of them
    #[arg(required = true, value_name = "FILE|DIR")]
    dialogues: Vec<PathBuf>,
    /// Say of every dialogue why each condition did or did not hold, not only of those that fail
    #[arg(long)]
    explain: bool,
}

pub(super) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    to_stdout(|out| {
        let mut failed = false;
        for path in &args.files {
            match read_card(path).and_then(|card| card.read()) {
                Ok(card) => {
                    let warnings = card.warnings();
                    for warning in warnings {
                        writeln!(out, "{warning}")?;
                    }
                    writeln!(
                        out,
                        "{}: {} version {}, {} rules, {}",
                        path.display(),
                        card.id(),
                        card.version(),
                        card.rules().count(),
                        match warnings.len() {
                            0 => "nothing to complain about".to_owned(),
                            1 => "1 warning".to_owned(),
                            count => format!("{count} warnings"),
                        }
                    )?;
                }
                Err(errors) => {
                    failed = true;
                    writeln!(out, "{errors}")?;
                }
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

pub(super) fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let card = read_card(&args.rules).and_then(|card| card.read()).map_err(|error| anyhow!(error))?;
    let files = files(&args.dialogues)?;
    ensure!(!files.is_empty(), "there is no dialogue: a folder holds files that end in .yaml or .yml");
    to_stdout(|out| {
        let (mut passed, mut failed) = (0, 0);
        for path in &files {
            for case in cases(path)? {
                let report = case.run(&card);
                if report.passed {
                    passed += 1;
                } else {
                    failed += 1;
                }
                tell(&report, args.explain, out)?;
            }
        }
        writeln!(out, "\n{passed} passed, {failed} failed, by {} version {}", card.id(), card.version())?;
        Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

fn tell(report: &Report, explained: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let judged = &report.judgement;
    let mark = if report.passed { "ok    " } else { "FAILED" };
    writeln!(
        out,
        "{mark} {}  score {}{}",
        report.case,
        judged.score,
        if judged.pass { "" } else { ", fails" }
    )?;
    for failure in &report.failures {
        writeln!(out, "       {}: {failure}", report.place)?;
    }
    if explained || !report.passed {
        for line in report.explanation.to_string().lines() {
            writeln!(out, "       {line}")?;
        }
    }
    Ok(())
}

fn cases(path: &Path) -> anyhow::Result<Vec<Case>> {
    let cannot = || format!("cannot read {}", path.display());
    let length = path.metadata().with_context(cannot)?.len();
    ensure!(length <= LARGEST, "{} is larger than {} MiB", path.display(), LARGEST >> 20);
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    Case::read(&text, path).map_err(|errors| anyhow!("{errors}"))
}

/// The files that are named, and those in the folders that are, by name.
fn files(named: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let list = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut inside: Vec<_> = list.flatten().map(|entry| entry.path()).collect();
        inside.sort();
        let yaml = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
        files.extend(inside.iter().filter(|path| yaml(path)).cloned());
        let folders: Vec<_> = inside.into_iter().filter(|path| path.is_dir() && !path.is_symlink()).collect();
        files.extend(self::files(&folders)?);
    }
    Ok(files)
}
