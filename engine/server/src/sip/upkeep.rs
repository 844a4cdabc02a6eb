//! What trunks need without a call: their names looked up, their hosts asked after, our registrations kept.

use std::sync::Arc;
use std::time::Duration;

use crate::shared::Shared;

/// Between look-ups of the names of trunks' hosts.
const RESOLVE: Duration = Duration::from_secs(60);

/// Keeps the trunks up for as long as the server runs.
pub(crate) fn keep_up(shared: &Arc<Shared>) {
    if !shared.router.unresolved().is_empty() {
        tokio::spawn(resolve(Arc::clone(shared)));
    }
}

async fn resolve(shared: Arc<Shared>) {
    while !shared.calls.stopping() {
        for (trunk, hosts) in shared.router.unresolved() {
            let mut addresses = Vec::new();
            for host in &hosts {
                let port = host.port.unwrap_or_else(|| host.transport.default_port());
                match tokio::net::lookup_host((host.name.as_str(), port)).await {
                    Ok(found) => addresses.extend(found.map(|address| address.ip())),
                    Err(error) => {
                        tracing::warn!(trunk, host = host.name, %error, "a trunk's host has no address")
                    }
                }
            }
            // What is known stays known where nothing was found: a name server may be away.
            if !addresses.is_empty() {
                shared.router.resolved(&trunk, addresses);
            }
        }
        tokio::time::sleep(RESOLVE).await;
    }
}
