//! `antiphon qa`: inspection of recordings, here or by a server.

mod client;
mod insight;
mod remote;
mod rules;
mod run;
mod table;

use std::process::ExitCode;

/// Inspect recordings by rules
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Inspect recordings on this machine, without a server
    #[command(after_help = run::EXAMPLES)]
    Run(run::Args),
    /// Have a server inspect recordings
    #[command(after_help = remote::EXAMPLES)]
    Submit(remote::SubmitArgs),
    /// Watch a job until it is over
    Watch(remote::JobArgs),
    /// Fetch a job's results
    Report(remote::ReportArgs),
    /// Judge by other rules what a job has heard
    Rescore(remote::RescoreArgs),
    /// Figures over many inspected calls, by agent, queue, product, rule and time
    #[command(after_help = insight::EXAMPLES)]
    Insight(insight::Args),
    /// Try rules on written dialogues, without sound
    #[command(after_help = rules::EXAMPLES)]
    Test(rules::TestArgs),
    /// Find mistakes in rules, and rules that can never fire
    Check(rules::CheckArgs),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Submit(args) => remote::submit(args),
        Command::Watch(args) => remote::watch(args),
        Command::Report(args) => remote::report(args),
        Command::Rescore(args) => remote::rescore(args),
        Command::Insight(args) => insight::run(args),
        Command::Test(args) => rules::test(args),
        Command::Check(args) => rules::check(args),
    }
}
