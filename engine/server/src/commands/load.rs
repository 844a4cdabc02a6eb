//! `antiphon load`: places many calls, bounded in count and time, and says what became of them.

mod calls;
mod far_side;
mod phone;
mod phones;
mod process;
mod report;
mod sound;
mod tally;

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_media_codec::CodecKind;
use antiphon_media_sip::sdp::{Codec, Security};
use antiphon_media_sip::{Agent, AgentConfig, SipTransport};
use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::Length;
use crate::place::{resolve, uri};
use crate::telemetry;
use calls::Plan;
use far_side::FarSide;
use phones::Phones;
use process::Watch;
use report::Report;
use sound::Loop;
use tally::Tally;

/// Load a SIP server with calls and measure it: set-up times, first media, loss, one-way calls, and with --pid what a
/// call costs the server. Every call is a real one with media of its own; all media runs in one thread.
///
/// Addresses that are not this machine's are refused unless you say that they are yours.
///
/// Examples:
///   antiphon load --target sip:bank@127.0.0.1:5060 --total 500 --rate 50 --concurrent 100 --duration 20s
///   antiphon load --target sip:bank@127.0.0.1:5060 --pid $(pidof antiphon) --json
///   antiphon load --target sip:200@127.0.0.1:5060 --listen 127.0.0.1:5090   (answers the calls' far legs as well)
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Whom to call, such as sip:bank@127.0.0.1:5060
    #[arg(long, value_name = "URI")]
    target: String,
    /// Calls begun a second
    #[arg(long, default_value_t = 10.0, value_name = "CALLS", value_parser = rate)]
    rate: f64,
    /// Calls up at once; beyond it the next one waits
    #[arg(long, default_value_t = 100, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrent: u32,
    /// Calls in all
    #[arg(long, default_value_t = 100, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    total: u32,
    /// How long each call stays up once answered
    #[arg(long, default_value = "10s", value_name = "TIME")]
    duration: Length,
    /// How long a call may go unanswered
    #[arg(long, default_value = "30s", value_name = "TIME")]
    ring: Length,
    /// No call is begun after this; those that are up are then ended
    #[arg(long, default_value = "10m", value_name = "TIME")]
    at_most: Length,
    /// Codec to offer: PCMU, PCMA, G722 or opus
    #[arg(long, default_value = "PCMU", value_name = "NAME")]
    codec: String,
    /// Protect the media by SRTP with keys in the descriptions (SDES)
    #[arg(long)]
    srtp: bool,
    /// Signalling alone: offer media, but send and count none
    #[arg(long)]
    no_media: bool,
    /// Signal over this: udp or tcp
    #[arg(long, default_value = "udp", value_name = "NAME")]
    transport: SipTransport,
    /// Who calls
    #[arg(long, default_value = "sip:load@localhost", value_name = "URI")]
    from: String,
    /// Answer calls that come in here, with media as well: the far legs, where the target bridges
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Measure this process beside: its processor time and memory a call
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Load an address that is not this machine's: only ever a server of your own
    #[arg(long)]
    yes_i_own_it: bool,
    /// Log level or filter
    #[arg(long, default_value = "error", value_name = "LEVEL")]
    log: String,
}

/// How often what goes on is looked at.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    telemetry::init(&args.log)?;
    let target = uri(&args.target)?;
    let server = resolve(&target)?;
    ensure!(
        args.yes_i_own_it || server.ip().is_loopback(),
        "{} is not this machine: a load there is an attack unless the server is yours; if it is, say --yes-i-own-it",
        server.ip()
    );
    if !matches!(args.transport, SipTransport::Udp | SipTransport::Tcp) {
        bail!("--transport: write udp or tcp");
    }
    let (codec, kind) = codec(&args.codec)?;
    let sound = match args.no_media {
        true => None,
        false => Some(Loop::speech_like(kind).with_context(|| format!("--codec {}", args.codec))?),
    };
    let watch = args.pid.map(Watch::begin).transpose()?;
    let plan = Plan {
        target,
        from: uri(&args.from)?,
        address: own_address(server)?,
        transport: args.transport,
        codec,
        // Keys of one call would do for all: this is a load, no secret.
        security: if args.srtp { Security::sdes(true) } else { Security::plain() },
        rate: args.rate,
        concurrent: args.concurrent,
        total: args.total,
        duration: args.duration.0,
        ring: args.ring.0,
        at_most: args.at_most.0,
    };
    // One thread for signalling and one for media: what they cost is ours and not the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(load(plan, sound, args.listen, watch))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.table());
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn load(
    plan: Plan,
    sound: Option<Loop>,
    listen: Option<SocketAddr>,
    watch: Option<Watch>,
) -> anyhow::Result<Report> {
    let here = listen.unwrap_or(SocketAddr::new(plan.address, 0));
    let config = AgentConfig {
        udp: vec![here],
        tcp: vec![here],
        user_agent: Some("Antiphon load".into()),
        // As many again for the far legs, and for calls that are on their way out.
        max_calls: plan.concurrent as usize * 4,
        max_transactions: 1_000_000,
        incoming_queue: plan.concurrent as usize,
        ..AgentConfig::default()
    };
    let (agent, incoming) = Agent::bind(config).await?;
    let phones = sound.map(|sound| Phones::start(sound, plan.concurrent as usize * 2)).transpose()?;
    let phones = phones.map(Arc::new);
    let tally = Arc::new(Tally::default());
    let far_side = listen.map(|_| {
        let far_side = FarSide {
            phones: phones.clone(),
            tally: Arc::clone(&tally),
            codec: plan.codec,
            address: plan.address,
        };
        tokio::spawn(far_side.answer_all(incoming))
    });
    let own = Watch::begin(std::process::id())?;
    let looking = tokio::spawn(look(Arc::clone(&tally), own, watch, plan.total));
    let agent = Arc::new(agent);
    let began = Instant::now();
    calls::place_all(plan, Arc::clone(&agent), phones.clone(), Arc::clone(&tally)).await;
    let took = began.elapsed();
    if let Some(far_side) = far_side {
        // What still stands there has a moment to hear of the end.
        tokio::time::timeout(Duration::from_secs(2), tally.far_side_empty()).await.ok();
        far_side.abort();
    }
    tally.finish();
    let (own, server) = looking.await?;
    agent.shutdown().await;
    let clock = phones.map(|phones| phones.clock());
    Ok(Report::of(&tally.counts(), took, clock, &own, server.as_ref()))
}

/// Samples processes and shows where the load stands, until it is over.
async fn look(
    tally: Arc<Tally>,
    mut own: Watch,
    mut server: Option<Watch>,
    total: u32,
) -> (Watch, Option<Watch>) {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(u64::from(total)), target);
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {pos} of {len} calls, {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let began = Instant::now();
    while !tally.is_finished() {
        tokio::time::sleep(LOOK).await;
        let now = tally.progress();
        own.sample(now.up, now.changes);
        if let Some(server) = &mut server {
            server.sample(now.up, now.changes);
        }
        bar.set_position(now.attempted);
        bar.set_message(format!(
            "{} up, {} answered, {} failed, {:.0} s",
            now.up,
            now.answered,
            now.failed,
            began.elapsed().as_secs_f64()
        ));
    }
    bar.finish_and_clear();
    if let Some(server) = &mut server {
        // The last calls' recordings are closed after their end.
        tokio::time::sleep(Duration::from_secs(3)).await;
        server.sample(0, u64::MAX);
    }
    (own, server)
}

/// Our address towards the server.
fn own_address(server: SocketAddr) -> anyhow::Result<IpAddr> {
    let any =
        if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    // No packet is sent: connecting a UDP socket only asks the routing table.
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect(server).with_context(|| format!("no route to {server}"))?;
    Ok(probe.local_addr()?.ip())
}

fn codec(name: &str) -> anyhow::Result<(Codec, CodecKind)> {
    let known = Codec::from_name(name).zip(CodecKind::from_name(name));
    let Some((codec, kind)) = known.filter(|(_, kind)| kind.is_available()) else {
        bail!("--codec: `{name}` cannot be coded here; write PCMU, PCMA, G722 or opus");
    };
    Ok((codec, kind))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "write a number of calls a second".to_owned())?;
    if (0.01..=10_000.0).contains(&rate) { Ok(rate) } else { Err("0.01 to 10000 calls a second".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn refused(words: &[&str]) -> String {
        let line = ["load"].iter().chain(words);
        match Line::try_parse_from(line) {
            Err(error) => error.to_string(),
            Ok(line) => run(&line.args).expect_err("refused").to_string(),
        }
    }

    #[test]
    fn somebody_elses_server_is_refused() {
        let error = refused(&["--target", "sip:x@192.0.2.1"]);
        assert!(error.contains("192.0.2.1") && error.contains("--yes-i-own-it"), "{error}");
    }

    #[test]
    fn what_has_no_bound_is_refused() {
        for words in [["--rate", "0"], ["--rate", "NaN"], ["--total", "0"], ["--concurrent", "99999"]] {
            let error = refused(&["--target", "sip:x@127.0.0.1", words[0], words[1]]);
            assert!(error.contains(words[0]), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_codec_that_cannot_be_coded_is_named() {
        assert!(codec("GSM").expect_err("unknown").to_string().contains("GSM"));
        assert_eq!(codec("pcma").expect("known").1, CodecKind::Pcma);
    }
}
