//! Where a call may be sent (RFC 3263): a fixed address, or what DNS says, in order.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rsipstack::resolver::SipResolver;
use rsipstack::sip::{Host, Transport, Uri};
use tokio::time::timeout;

use crate::agent::{Core, SipError};
use crate::flow::SipTransport;

/// How long names may take to resolve.
const LIMIT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const MAX_TARGETS: usize = 8;

/// Reads the system's name servers once, when the first name is looked up.
#[derive(Default)]
pub(crate) struct Resolver(OnceLock<SipResolver>);

/// The addresses to try for `uri`, best first: SRV records where no port is named, else the host's addresses.
pub(crate) async fn resolve(
    core: &Arc<Core>,
    uri: &Uri,
    transport: SipTransport,
) -> Result<Vec<SocketAddr>, SipError> {
    let port = uri.host_with_port.port.as_ref().map(rsipstack::sip::Port::value);
    let name = match &uri.host_with_port.host {
        Host::IpAddr(address) => {
            return Ok(vec![SocketAddr::new(*address, port.unwrap_or(transport.default_port()))]);
        }
        Host::Domain(name) => name,
    };
    if port.is_none() && name.0.contains('.') {
        let resolver = core.resolver.0.get_or_init(SipResolver::new);
        let stack: Transport = transport.stack();
        let found = timeout(LIMIT, resolver.lookup(name, None, Some(stack), transport.is_secure())).await;
        if let Ok(Ok(targets)) = found {
            let found: Vec<_> = targets.into_iter().map(|target| target.addr).take(MAX_TARGETS).collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    let lookup = tokio::net::lookup_host((name.0.as_str(), port.unwrap_or(transport.default_port())));
    let found = timeout(LIMIT, lookup).await.map_err(|_| SipError::Unresolved)?;
    let mut found: Vec<_> = found.map_err(|_| SipError::Unresolved)?.take(MAX_TARGETS).collect();
    found.dedup();
    if found.is_empty() { Err(SipError::Unresolved) } else { Ok(found) }
}
