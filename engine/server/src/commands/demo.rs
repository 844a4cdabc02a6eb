//! `antiphon demo`: serves the bank line, calls it, and shows what happens.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::{Event, EventBody};
use antiphon_engine_measure::Role;
use antiphon_engine_qa::{RuleState, Scorecard};
use antiphon_engine_view::{
    Annotations, LiveView, Summary, Terminal, Track, WaveformInput, render_recording,
};
use antiphon_media_frame::SampleRate;
use antiphon_media_sip::SipTransport;
use antiphon_models_speech::Language;
use anyhow::Context;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::columns;
use super::serve::Server;
use crate::caller::{Caller, Script};
use crate::config::Config;
use crate::place::{Target, place};
use crate::qa::{self, HeardBy, judge, live};
use crate::shared::Shared;
use crate::telemetry;

/// What the caller says where no script is given.
const CALLER: &str = include_str!("../../../../examples/callers/bank.yaml");
/// What the call is judged by.
const CARD: &str = include_str!("../../../../examples/scorecards/bank.yaml");
/// The demonstration is over by then, whatever happens.
const LONGEST: Duration = Duration::from_secs(180);

/// Serve the bank line on loopback, call it over G.722 with a voice of its own, and show both sides' words as they are
/// spoken. Leaves the recording, its sidecar, the events, a picture of the call and a scored report in a folder.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where everything goes
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    out: PathBuf,
    /// What the caller says and does
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// The flow that answers
    #[arg(long, value_name = "FILE")]
    flow: Option<PathBuf>,
    /// Recogniser of the server
    #[arg(long, default_value = "pocketsphinx", value_name = "NAME")]
    engine: String,
    /// Codec of the call: G722, PCMU or PCMA
    #[arg(long, default_value = "G722", value_name = "NAME")]
    codec: String,
    /// Log level or filter
    #[arg(long, default_value = "error", value_name = "LEVEL")]
    log: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    telemetry::init(&args.log)?;
    let script = match &args.script {
        Some(path) => Script::load(path)?,
        None => Script::parse(CALLER, Path::new("examples/callers/bank.yaml"))?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let events = runtime.block_on(async {
        tokio::time::timeout(LONGEST, demonstrate(args, script))
            .await
            .context("the demonstration did not end within three minutes")?
    })?;
    let picture = picture(&args.out, &events)?;
    let report = report(args, &events)?;
    let mut summary = Summary::of(&events);
    if let Some(path) = picture {
        summary = summary.with_waveform(path.display().to_string());
    }
    println!();
    print!("{}", summary.table(columns()));
    println!("{report}");
    let understood = events.iter().any(|event| matches!(event.body, EventBody::Intent { name: Some(_), .. }));
    Ok(if understood { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The whole of it: a server, a bank, a caller. Returns the server's events of the call.
async fn demonstrate(args: &Args, script: Script) -> anyhow::Result<Vec<Event>> {
    println!("Starting the server: recogniser {}, data in {} ...", args.engine, args.out.display());
    let bank = Bank::start().await?;
    let server = start_server(args).await?;
    println!("Serving SIP on {}, the API on http://{}", server.sip, server.http);
    println!("Calling the bank line over {} ...\n", args.codec);
    let shown = tokio::spawn(show(server.shared.calls.watch_all()));
    let shared = open_caller(args).await?;
    let target = Target {
        uri: format!("sip:bank@{}", server.sip),
        from: "sip:caller@localhost".into(),
        transport: SipTransport::Udp,
        ring_timeout: Duration::from_secs(30),
    };
    let language = script.language.clone();
    let placed = place(&shared, target, Caller::new(script), language, None, |_| ()).await?;
    if let Some((status, reason)) = placed.refusal {
        anyhow::bail!("the call was refused: {status} {reason}");
    }
    let events = shown.await??;
    drop(shared);
    server.stop().await?;
    drop(bank);
    Ok(events)
}

async fn start_server(args: &Args) -> anyhow::Result<Server> {
    let config = |sip: u16, http: u16| {
        let mut config = Config::default();
        config.data.clone_from(&args.out);
        config.sip.listen = SocketAddr::from(([127, 0, 0, 1], sip));
        config.http.listen = SocketAddr::from(([127, 0, 0, 1], http));
        config.flow.file.clone_from(&args.flow);
        config.recognizer.engine.clone_from(&args.engine);
        config
    };
    match Server::start(config(5060, 8080)).await {
        Ok(server) => Ok(server),
        Err(error) => {
            println!("The usual ports are not free ({error:#}); taking others.");
            Server::start(config(0, 0)).await
        }
    }
}

/// The caller has a media plane of its own and hears by its gate alone.
async fn open_caller(args: &Args) -> anyhow::Result<Arc<Shared>> {
    let mut config = Config { data: args.out.join("caller"), ..Config::default() };
    config.recognizer.engine = "none".into();
    config.media.codecs = vec![args.codec.clone()];
    config.media.rtp_ports = (30_000, 31_999);
    config.call.record = false;
    config.check()?;
    tokio::task::spawn_blocking(move || Shared::open(config)).await?
}

/// Shows the first call on the terminal until it is over.
async fn show(mut events: Receiver<Arc<Event>>) -> anyhow::Result<Vec<Event>> {
    let terminal = Terminal::detect(std::io::stdout().is_terminal(), Some(columns()));
    let mut view = LiveView::new(std::io::stdout(), terminal);
    let mut all = Vec::new();
    loop {
        match events.recv().await {
            Ok(event) => {
                view.show(&event)?;
                let over = matches!(event.body, EventBody::CallEnded { .. });
                all.push(Event::clone(&event));
                if over {
                    return Ok(all);
                }
            }
            Err(RecvError::Lagged(missed)) => println!("({missed} events came too fast to be shown)"),
            Err(RecvError::Closed) => anyhow::bail!("the server ended before the call did"),
        }
    }
}

/// Judges the call by the bank's scorecard, and leaves a page to look at and listen to.
fn report(args: &Args, events: &[Event]) -> anyhow::Result<String> {
    let card = Scorecard::read(CARD, Path::new("examples/scorecards/bank.yaml"))?;
    let conversation = live::conversation(events, Language::english(), [Role::Customer, Role::Agent]);
    let result = judge(&conversation, &[card], HeardBy { engine: &args.engine, live: true }, Vec::new())?;
    let path = args.out.join("report.html");
    let recording: Vec<PathBuf> = recording(events).into_iter().collect();
    std::fs::write(&path, qa::report::page(&conversation, &result, &recording))
        .with_context(|| format!("cannot write {}", path.display()))?;
    let (score, passed) = result.score();
    let broken = result.judgements.iter().flat_map(|judged| &judged.rules);
    let broken: Vec<_> =
        broken.filter(|rule| rule.state == RuleState::Hit).map(|rule| rule.rule.as_str()).collect();
    Ok(format!(
        "Inspected by examples/scorecards/bank.yaml: score {} of 100, {}{}. Open {}",
        score.unwrap_or_default(),
        if passed == Some(true) { "pass" } else { "fail" },
        if broken.is_empty() { String::new() } else { format!(" ({})", broken.join(", ")) },
        path.display()
    ))
}

fn recording(events: &[Event]) -> Option<PathBuf> {
    events.iter().find_map(|event| match &event.body {
        EventBody::Recording { path, .. } => Some(PathBuf::from(path)),
        _ => None,
    })
}

/// Draws the call beside its recording.
fn picture(out: &Path, events: &[Event]) -> anyhow::Result<Option<PathBuf>> {
    let Some(recording) = recording(events) else { return Ok(None) };
    let annotations = Annotations::of(events);
    let input = WaveformInput {
        title: "Antiphon: caller above, machine below",
        rate: SampleRate::HZ_16000,
        caller: Track { words: &annotations.caller, ..Track::default() },
        machine: Track { words: &annotations.machine, ..Track::default() },
        marks: &annotations.marks,
    };
    let picture = render_recording(&recording, &input)?;
    for note in &picture.notes {
        println!("(picture: {note})");
    }
    let path = out.join("call.png");
    std::fs::write(&path, picture.png).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(path))
}

/// The bank's own computer, which the flow asks for balances and transfers.
struct Bank(tokio::task::JoinHandle<()>);

impl Bank {
    /// Serves where the example flow looks for it. Where the port is taken, the caller hears the flow's fallback.
    async fn start() -> anyhow::Result<Self> {
        let listener = match tokio::net::TcpListener::bind(("127.0.0.1", 8090)).await {
            Ok(listener) => listener,
            Err(error) => {
                println!("No bank computer on 127.0.0.1:8090 ({error}): the flow will use its fallback.");
                return Ok(Self(tokio::spawn(async {})));
            }
        };
        let router = axum::Router::new()
            .route(
                "/accounts/{account}/balance",
                axum::routing::get(async || axum::Json(serde_json::json!({"balance": 1234.5}))),
            )
            .route(
                "/accounts/{account}/transfers",
                axum::routing::post(async || axum::Json(serde_json::json!({"ok": true}))),
            );
        Ok(Self(tokio::spawn(async move {
            // Ends with the demonstration.
            let _ = axum::serve(listener, router).await;
        })))
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.0.abort();
    }
}
