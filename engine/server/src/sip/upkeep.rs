//! What trunks need without a call: their names looked up, their hosts asked after, our registrations kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::registration;
use crate::config::Host;
use crate::shared::Shared;
use crate::trunks::HostState;

/// Between look-ups of the names of trunks' hosts.
const RESOLVE: Duration = Duration::from_secs(60);

/// Keeps the trunks up for as long as the server runs. What is returned ends once it is stopping: then our registrations
/// are taken back.
pub(crate) fn keep_up(shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    if !shared.router.unresolved().is_empty() {
        tokio::spawn(resolve(Arc::clone(shared)));
    }
    for probe in shared.router.probes() {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let mut due = tokio::time::interval(probe.interval);
            due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = shared.calls.stopped() => return,
                    _ = due.tick() => {}
                }
                ask(&shared, &probe.trunk, &probe.host).await;
            }
        });
    }
    let registered = shared.config.trunks.iter().filter(|trunk| trunk.register.is_some());
    registered.map(|trunk| tokio::spawn(registration::keep(Arc::clone(shared), trunk.name.clone()))).collect()
}

async fn resolve(shared: Arc<Shared>) {
    loop {
        for (trunk, hosts) in shared.router.unresolved() {
            let mut addresses = Vec::new();
            for host in &hosts {
                let Some(agent) = shared.agent() else { continue };
                match agent.resolve(&format!("sip:{}", host.authority()), host.transport).await {
                    Ok(found) => addresses.extend(found.into_iter().map(|address| address.ip())),
                    Err(error) => {
                        tracing::warn!(trunk, host = host.name, %error, "a trunk's host has no address");
                    }
                }
            }
            // What is known stays known where nothing was found: a name server may be away.
            if !addresses.is_empty() {
                shared.router.resolved(&trunk, addresses);
            }
        }
        tokio::select! {
            () = shared.calls.stopped() => return,
            () = tokio::time::sleep(RESOLVE) => {}
        }
    }
}

/// Asks one host after its health (OPTIONS).
async fn ask(shared: &Arc<Shared>, trunk: &str, host: &Host) {
    let Some(agent) = shared.agent() else { return };
    let outcome = agent.probe(&format!("sip:{}", host.authority()), host.transport).await;
    let outcome = outcome.map_err(|error| tracing::debug!(trunk, %error, "a trunk's host does not answer"));
    match shared.router.report(trunk, host, Instant::now(), outcome) {
        Some(HostState::Down) => tracing::warn!(trunk, host = host.authority(), "a trunk's host is down"),
        Some(HostState::Up) => tracing::info!(trunk, host = host.authority(), "a trunk's host is up"),
        _ => {}
    }
}
