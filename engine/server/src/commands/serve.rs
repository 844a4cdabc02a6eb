//! `antiphon serve`: answers SIP calls with a flow.

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use antiphon_engine_call::Cause;
use antiphon_media_record::recover;
use antiphon_media_sip::Agent;
use anyhow::Context;
use tokio::net::TcpListener;

use crate::cdr::Records;
use crate::config::{Config, Overrides};
use crate::qa::Inspection;
use crate::shared::Shared;
use crate::web::relay;
use crate::{api, assist, ears, inbound, mrcp, sip, telemetry};

/// How long taking back our registrations may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long calls may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(15);

/// Answer SIP calls with a flow. It runs with no flag at all: the built-in bank line on 127.0.0.1.
///
/// A call: sip:bank@127.0.0.1:5060. Events of all calls: ws://127.0.0.1:8080/v1/events.
/// SIGHUP loads the flows anew; calls under way keep theirs.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    overrides: Overrides,
    /// Print the configuration in force and stop
    #[arg(long)]
    print_config: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.overrides)?;
    if args.print_config {
        print!("{}", toml::to_string_pretty(&config)?);
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::init(&config.log.level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::start(config).await?;
        tracing::info!(sip = %server.sip, http = %server.http, "ready");
        server.run(interrupted()).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A running server.
pub(crate) struct Server {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sip: SocketAddr,
    pub(crate) http: SocketAddr,
    agent: Arc<Agent>,
    inspection: Arc<Inspection>,
    /// Our registrations; they end once the server is stopping.
    kept: Vec<tokio::task::JoinHandle<()>>,
    stop_api: tokio::sync::oneshot::Sender<()>,
    api: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Server {
    /// Binds everything; calls are answered from here on.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("cannot make the data folder {}", config.data.display()))?;
        let shared = tokio::task::spawn_blocking(move || Shared::open(config)).await??;
        let config = &shared.config;
        let (agent, incoming) = Agent::bind(sip::agent_config(&shared)?).await?;
        let agent = Arc::new(agent);
        shared.set_agent(Arc::clone(&agent));
        let sip = agent.udp().first().copied().unwrap_or(config.sip.listen);
        let listener = TcpListener::bind(config.http.listen)
            .await
            .with_context(|| format!("cannot listen on http.listen {}", config.http.listen))?;
        let http = listener.local_addr()?;
        // Not before the ports are ours: a second server on the same folder must not touch what the first one writes.
        repair(config);
        let records = Records::start(config).await?;
        shared.calls.keep_records(Arc::clone(&records));
        let inspection = Inspection::start(&shared, &records).await?;
        if let Some(listen) = config.mrcp.listen {
            let listener = TcpListener::bind(listen)
                .await
                .with_context(|| format!("cannot listen on mrcp.listen {listen}"))?;
            tokio::spawn(mrcp::accept(Arc::clone(&shared), listener));
        }
        tokio::spawn(inbound::accept(Arc::clone(&shared), incoming));
        tokio::spawn(ears::keep_time(Arc::clone(&shared)));
        tokio::spawn(assist::keep_fresh(Arc::clone(&shared)));
        tokio::spawn(relay::try_all(config.ice_servers.clone()));
        let kept = sip::keep_up(&shared);
        let (stop_api, stopped) = tokio::sync::oneshot::channel::<()>();
        let api = tokio::spawn(api::serve(Arc::clone(&shared), Arc::clone(&inspection), listener, async {
            // Sent or dropped: either way the server is stopping.
            let _ = stopped.await;
        }));
        Ok(Self { shared, sip, http, agent, inspection, kept, stop_api, api })
    }

    /// Serves until `stop`, then ends all calls and winds down.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let reload = reload_on_hangup(Arc::clone(&self.shared));
        tokio::select! {
            () = stop => {}
            never = reload => never?,
        }
        tracing::info!("stopping: calls are ended");
        self.stop().await
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shared.calls.end_all(Cause::SHUTDOWN);
        self.shared.mrcp.end_all();
        let deadline = tokio::time::Instant::now() + DRAIN;
        while self.shared.calls.active() + self.shared.mrcp.active() > 0
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let farewells = futures_util::future::join_all(self.kept);
        tokio::time::timeout(FAREWELL, farewells).await.ok();
        self.agent.shutdown().await;
        let _ = self.stop_api.send(());
        self.api.await??;
        self.inspection.shutdown().await;
        if let Some(records) = self.shared.calls.records() {
            records.shutdown().await;
        }
        let pool = self.shared.pool.clone();
        tokio::task::spawn_blocking(move || pool.shutdown()).await??;
        Ok(())
    }
}

/// Mends recordings that a killed server left behind.
fn repair(config: &Config) {
    let Ok(days) = std::fs::read_dir(config.data.join("recordings")) else { return };
    for day in days.flatten() {
        let Ok(files) = std::fs::read_dir(day.path()) else { continue };
        for file in files.flatten() {
            let path = file.path();
            // A recording without its sidecar was never finished.
            if path.extension().is_none_or(|e| e != "wav") || path.with_extension("json").exists() {
                continue;
            }
            match recover(&path) {
                Ok(recovered) if recovered.repaired => {
                    tracing::warn!(file = %path.display(), duration = %recovered.duration, "mended a recording that was cut off");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a recording that was cut off cannot be mended"),
            }
        }
    }
}

async fn reload_on_hangup(shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut hangups = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    while hangups.recv().await.is_some() {
        let again = Arc::clone(&shared);
        let reload = move || again.reload_flows().and_then(|()| sip::reload_certificate(&again));
        match tokio::task::spawn_blocking(reload).await? {
            Ok(()) => tracing::info!("flows and certificate loaded anew"),
            Err(error) => tracing::error!("what is in force stays: {error:#}"),
        }
    }
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
