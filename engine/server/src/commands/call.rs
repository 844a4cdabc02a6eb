//! `antiphon call`: a real SIP user agent on the same media plane.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Cause, Event, EventBody, Severity, Side};
use antiphon_engine_view::Summary;
use antiphon_media_sip::SipTransport;
use antiphon_models_speech::Language;
use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use tokio::sync::broadcast::error::RecvError;

use crate::caller::{Action, Caller, Script, Step, keys};
use crate::commands::columns;
use crate::config::{Config, Overrides};
use crate::place::{Target, place, uri};
use crate::shared::Shared;
use crate::telemetry;

/// Place a call. Each step waits until the other side has stopped talking; the words it says are printed as they are
/// recognised. With no step, it listens for a while and hangs up.
///
/// Examples:
///   antiphon call sip:bank@127.0.0.1 --say "what is my account balance" --dtmf 123456
///   antiphon call sip:100@192.168.1.10 --play hello.wav --codecs PCMU --record out
///   antiphon call sip:bank@127.0.0.1 --script examples/callers/balance.yaml
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Whom to call, such as sip:bank@127.0.0.1:5060
    target: String,
    #[command(flatten)]
    steps: Steps,
    /// Say and do what this file says (language, voice, steps: say, play, keys, pause, barge_in)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["say", "play", "dtmf"])]
    script: Option<PathBuf>,
    /// Language spoken on both sides
    #[arg(long, default_value = "en", value_name = "TAG")]
    language: String,
    /// Voice to speak with, such as rms, awb, kal or slt of flite
    #[arg(long, value_name = "NAME")]
    voice: Option<String>,
    /// Who calls
    #[arg(long, default_value = "sip:antiphon@localhost", value_name = "URI")]
    from: String,
    /// Recogniser for what the other side says; none to only wait for its pauses
    #[arg(long, default_value = "pocketsphinx", value_name = "NAME")]
    engine: String,
    /// Codecs to offer, best first
    #[arg(long, value_delimiter = ',', default_value = "G722,PCMU,PCMA")]
    codecs: Vec<String>,
    /// Signal over TCP instead of UDP
    #[arg(long)]
    tcp: bool,
    /// Record both sides into this folder
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// How long to let it ring, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    ring: u64,
    /// Print every event as a line of JSON instead
    #[arg(long)]
    json: bool,
    /// Log level or filter
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    log: String,
}

/// `--say`, `--play` and `--dtmf` in the order they were written.
struct Steps(Vec<Step>);

impl clap::Args for Steps {
    fn augment_args(command: Command) -> Command {
        let step = |name: &'static str, value, help| {
            Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Append)
        };
        command
            .arg(step("say", "TEXT", "Say this (may be repeated and mixed with the next two; order counts)"))
            .arg(step("play", "FILE", "Play this audio file"))
            .arg(step("dtmf", "KEYS", "Press these keys: 0-9 * # A-D"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Steps {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found = Vec::new();
        for name in ["say", "play", "dtmf"] {
            let values = matches.get_many::<String>(name).into_iter().flatten();
            for (index, value) in matches.indices_of(name).into_iter().flatten().zip(values) {
                let action = match name {
                    "say" => Action::Say(value.clone()),
                    "play" => Action::Play(value.into()),
                    _ => Action::Keys(keys(value).map_err(|e| {
                        clap::Error::raw(
                            clap::error::ErrorKind::ValueValidation,
                            format!("--dtmf {value}: {e}\n"),
                        )
                    })?),
                };
                found.push((index, Step { action, barge_in: None }));
            }
        }
        found.sort_by_key(|(index, _)| *index);
        Ok(Self(found.into_iter().map(|(_, step)| step).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    telemetry::init(&args.log)?;
    let script = match &args.script {
        Some(path) => Script::load(path)?,
        None => Script {
            language: Language::parse(&args.language)
                .with_context(|| format!("--language: `{}` is no language tag", args.language))?,
            voice: args.voice.clone(),
            steps: args.steps.0.clone(),
        },
    };
    let config = config(args)?;
    let target = Target {
        uri: uri(&args.target)?,
        from: args.from.clone(),
        transport: if args.tcp { SipTransport::Tcp } else { SipTransport::Udp },
        ring_timeout: Duration::from_secs(args.ring),
    };
    let language = script.language.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (json, quiet) = (args.json, !std::io::stderr().is_terminal());
    let placed = runtime.block_on(async {
        let shared = tokio::task::spawn_blocking(move || Shared::open(config)).await??;
        let mut events = shared.calls.watch_all();
        let printer = tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) => print(&event, json),
                    Err(RecvError::Lagged(missed)) => {
                        eprintln!("({missed} events came too fast to be printed)");
                    }
                    Err(RecvError::Closed) => break,
                }
            }
        });
        end_when_interrupted(&shared);
        let calling = place(&shared, target, Caller::new(script), language, None, |state| {
            if !quiet {
                eprintln!("{state}");
            }
        })
        .await;
        drop(shared);
        // Everything was published before the call was over; the printer ends with the last sender.
        let _ = tokio::time::timeout(Duration::from_secs(1), printer).await;
        calling
    })?;
    if !json {
        print!("{}", Summary::of(&placed.events).table(columns()));
    }
    if let Some((status, reason)) = &placed.refusal {
        eprintln!("not answered: {status} {reason}");
    }
    let failed = placed.refusal.is_some()
        || placed.cause.severity == Severity::Error
        || placed.cause == Cause::NO_ANSWER;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Lets Ctrl-C end the call as it should end: with a BYE, or a CANCEL while it rings.
pub(crate) fn end_when_interrupted(shared: &Arc<Shared>) {
    let calls = Arc::clone(&shared.calls);
    tokio::spawn(async move {
        super::serve::interrupted().await;
        calls.end_all(Cause::OPERATOR_HUNG_UP);
    });
}

fn config(args: &Args) -> anyhow::Result<Config> {
    let overrides =
        Overrides { engine: Some(args.engine.clone()), log: Some(args.log.clone()), ..Overrides::default() };
    let mut config = Config::load(&overrides)?;
    config.call.concurrent = 1;
    config.call.record = args.record.is_some();
    config.media.codecs.clone_from(&args.codecs);
    // A range of its own: a server on the same machine has the default one.
    config.media.rtp_ports = (30_000, 31_999);
    config.data = args.record.clone().unwrap_or_else(|| std::env::temp_dir().join("antiphon-call"));
    config.check()?;
    Ok(config)
}

fn print(event: &Event, json: bool) {
    if json {
        if let Ok(line) = serde_json::to_string(event) {
            println!("{line}");
        }
        return;
    }
    let at = event.at.millis() as f64 / 1000.0;
    match &event.body {
        EventBody::SpeechFinal { side: Side::Caller, text, .. } => {
            println!("{at:7.2}  they: {}", text.expose());
        }
        EventBody::SpeechFinal { side: Side::Machine, text, .. } => {
            println!("{at:7.2}  we:   {}", text.expose());
        }
        EventBody::Dtmf { key, .. } => println!("{at:7.2}  they pressed {}", key.expose()),
        _ => {}
    }
}
