//! `antiphon docs`: prints what the documentation is made of.

mod cli;

use std::process::ExitCode;

use antiphon_engine_view::causes_markdown;
use clap::CommandFactory;

use super::output::to_stdout;

/// The configuration reference, checked against the types by the tests.
const CONFIGURATION: &str = include_str!("../../../../docs/CONFIGURATION.md");

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Why a call ended: docs/ERRORS.md
    Errors,
    /// Every setting: docs/CONFIGURATION.md
    Configuration,
    /// Every command and option, as Markdown
    Cli,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let page = match command {
        Command::Errors => causes_markdown(),
        Command::Configuration => CONFIGURATION.to_owned(),
        Command::Cli => cli::reference(crate::Cli::command()),
    };
    to_stdout(|out| {
        out.write_all(page.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    })
}
