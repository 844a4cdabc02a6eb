//! `antiphon`: a real-time voice AI engine for contact centres.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the binary owns tasks, threads and clocks, and a command line prints"
)]

mod ahead;
mod api;
mod assist;
mod begin;
mod caller;
mod calls;
mod cdr;
mod commands;
mod config;
mod conversation;
mod dial;
mod ears;
mod entrance;
mod forward;
mod hearing;
mod http_action;
mod inbound;
mod line;
mod media_address;
mod models;
mod mouth;
mod mrcp;
mod patience;
mod place;
mod preview;
mod qa;
mod quiet;
mod recognizers;
mod renegotiate;
mod ringing;
mod secure;
mod setup;
mod shared;
mod sidecar;
mod sip;
mod switch;
mod telemetry;
mod trunks;
mod web;
mod wording;

use clap::{Parser, Subcommand};

/// Answers calls, understands them, speaks back, records both sides.
#[derive(Parser)]
#[command(name = "antiphon", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer SIP calls with a flow
    Serve(commands::serve::Args),
    /// Place a call: wait for the other side to finish, speak, report what was heard
    Call(commands::call::Args),
    /// Place a call with a microphone and a loudspeaker
    #[cfg(feature = "talk")]
    Talk(commands::talk::Args),
    /// Load a SIP server with many calls, and measure it
    Load(commands::load::Args),
    /// Turn audio files into words, each channel by itself
    Transcribe(commands::transcribe::Args),
    /// Check a flow, or talk to it by typing
    #[command(subcommand)]
    Flow(commands::flow::Command),
    /// Published models: list, pull, verify, remove
    #[command(subcommand)]
    Models(commands::models::Command),
    /// Show call records
    #[command(subcommand)]
    Cdr(commands::cdr::Command),
    /// Measure what this machine can recognise
    #[command(subcommand)]
    Pool(commands::pool::Command),
    /// Inspect recordings by rules, here or by a server
    #[command(subcommand)]
    Qa(commands::qa::Command),
    /// Try the index of documents and answers that agents are helped with
    #[command(subcommand)]
    Knowledge(commands::knowledge::Command),
    /// Call a trainee as a customer, and score how it went
    Train(commands::train::Args),
    /// Serve the bank line, call it, and show what happens
    Demo(commands::demo::Args),
    /// Print what the documentation is generated from
    #[command(hide = true, subcommand)]
    Docs(commands::docs::Command),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(args) => commands::serve::run(&args),
        Command::Call(args) => commands::call::run(&args),
        #[cfg(feature = "talk")]
        Command::Talk(args) => commands::talk::run(&args),
        Command::Load(args) => commands::load::run(&args),
        Command::Transcribe(args) => commands::transcribe::run(&args),
        Command::Flow(command) => commands::flow::run(&command),
        Command::Models(command) => commands::models::run(&command),
        Command::Cdr(command) => commands::cdr::run(&command),
        Command::Pool(command) => commands::pool::run(&command),
        Command::Qa(command) => commands::qa::run(&command),
        Command::Knowledge(command) => commands::knowledge::run(&command),
        Command::Train(args) => commands::train::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Docs(command) => commands::docs::run(&command),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("antiphon: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
