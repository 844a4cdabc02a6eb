//! `antiphon flow`: checks a flow, or talks to it by typing.

mod chat;
mod check;

use std::path::PathBuf;
use std::process::ExitCode;

const CHECK_EXAMPLES: &str = "\
Examples:
  antiphon flow check examples/flows/bank.yaml
  antiphon flow check flows/*.yaml
  antiphon flow check --format json bank.yaml | jq '.[].errors'

The exit status is 1 where a flow has errors; warnings alone leave it 0.";

const CHAT_EXAMPLES: &str = "\
Examples:
  antiphon flow chat
  antiphon flow chat --var caller=5550123 --var today=2026-11-22 bank.yaml
  printf 'my balance\\n/key 123456#\\n/hangup\\n' | antiphon flow chat --json --no-http bank.yaml

While it runs: /key 123# presses keys, /silence says nothing, /vars shows the variables, /hangup ends the call.";

/// Check a flow, or talk to it by typing
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check flows: every error and warning with file, line and what was probably meant
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Talk to a flow by typing: the same interpreter that answers calls
    #[command(after_help = CHAT_EXAMPLES)]
    Chat(ChatArgs),
}

#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// Flow files (YAML)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One array, an object a file
    Json,
}

#[derive(clap::Args)]
pub(crate) struct ChatArgs {
    /// Flow file (YAML) [default: the built-in bank line]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// One JSON object a turn: what was said, events, actions, slots
    #[arg(long)]
    json: bool,
    /// A variable the call brings along; may be given again
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// Ask no web service: every request fails at once
    #[arg(long)]
    no_http: bool,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write a name and a value, such as caller=5550123".to_owned()),
    }
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(args) => check::run(args),
        Command::Chat(args) => chat::run(args),
    }
}
