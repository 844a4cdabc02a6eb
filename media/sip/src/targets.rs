//! Where a call may be sent (RFC 3263): a fixed address, or what DNS says, in order.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use rsipstack::sip::{Host, Uri};
use tokio::time::timeout;

use crate::agent::{Core, SipError};
use crate::flow::SipTransport;

/// How long names may take to resolve.
const LIMIT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const MAX_TARGETS: usize = 8;

/// Asks name servers: those it is made with, else the system's, which it reads when the first name is looked up.
#[derive(Default)]
pub(crate) struct Resolver {
    servers: Vec<SocketAddr>,
    dns: OnceLock<Option<TokioResolver>>,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

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
        Host::Domain(name) => name.0.as_str(),
    };
    let found = async {
        let mut found: Vec<SocketAddr> = Vec::new();
        if port.is_none() && name.contains('.') {
            let records = core.resolver.services(name, transport).await;
            // A service that is decidedly not there is not looked for elsewhere.
            if matches!(&records[..], [only] if only.target.is_empty()) {
                return found;
            }
            for record in ordered(records, |below| rand::random_range(0..below)) {
                found.extend(core.resolver.addresses(&record.target, record.port).await);
                if found.len() >= MAX_TARGETS {
                    break;
                }
            }
        }
        if found.is_empty() {
            found = core.resolver.addresses(name, port.unwrap_or(transport.default_port())).await;
        }
        found
    };
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in timeout(LIMIT, found).await.map_err(|_| SipError::Unresolved)? {
        if !all.contains(&address) && all.len() < MAX_TARGETS {
            all.push(address);
        }
    }
    if all.is_empty() { Err(SipError::Unresolved) } else { Ok(all) }
}

impl Resolver {
    /// Asks these servers and no others; the system's where there are none.
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, dns: OnceLock::new() }
    }

    fn dns(&self) -> Option<&TokioResolver> {
        let open = || {
            if self.servers.is_empty() {
                return TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
            }
            let server = |address: &SocketAddr| {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = address.port();
                    connection
                };
                let ways = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
                NameServerConfig::new(address.ip(), true, ways)
            };
            let servers = self.servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
        };
        let dns = self.dns.get_or_init(|| match open() {
            Ok(dns) => Some(dns),
            Err(error) => {
                tracing::warn!(%error, "the name servers cannot be read; SRV records are not looked up");
                None
            }
        });
        dns.as_ref()
    }

    /// The SRV records of a domain; none where there are none, or nobody answers.
    async fn services(&self, name: &str, transport: SipTransport) -> Vec<Srv> {
        let service = match transport {
            SipTransport::Udp => "_sip._udp",
            SipTransport::Tcp => "_sip._tcp",
            SipTransport::Tls => "_sips._tcp",
            // RFC 7118 section 8 has browsers find them by their URI.
            SipTransport::Ws | SipTransport::Wss => return Vec::new(),
        };
        let Some(dns) = self.dns() else { return Vec::new() };
        // Absolute: the system's search list is for hosts of this site.
        let Ok(found) = dns.srv_lookup(format!("{service}.{}.", name.trim_end_matches('.'))).await else {
            return Vec::new();
        };
        let srv = |data: &RData| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string().trim_end_matches('.').to_owned(),
            }),
            _ => None,
        };
        found.answers().iter().filter_map(|record| srv(&record.data)).collect()
    }

    /// The addresses of a host.
    async fn addresses(&self, name: &str, port: u16) -> Vec<SocketAddr> {
        if self.servers.is_empty() {
            // The system knows more than DNS: /etc/hosts, and whatever else it is set up with.
            return tokio::net::lookup_host((name, port)).await.map(Iterator::collect).unwrap_or_default();
        }
        let Some(dns) = self.dns() else { return Vec::new() };
        let found = dns.lookup_ip(format!("{}.", name.trim_end_matches('.'))).await;
        found.map(|found| found.iter().map(|ip| SocketAddr::new(ip, port)).collect()).unwrap_or_default()
    }
}

/// The order in which records are to be tried (RFC 2782): the lowest priority first, among equals by chance, which their
/// weights bias. `random` gives a number below its argument.
fn ordered(mut records: Vec<Srv>, mut random: impl FnMut(u32) -> u32) -> Vec<Srv> {
    // Those of weight 0 stand first within their priority, so that they have a small chance.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut order = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let equals = records.iter().take_while(|record| record.priority == priority);
        let total: u32 = equals.map(|record| u32::from(record.weight)).sum();
        let drawn = random(total + 1);
        let mut sum = 0;
        let chosen = records.iter().position(|record| {
            sum += u32::from(record.weight);
            sum >= drawn
        });
        order.push(records.remove(chosen.unwrap_or(0)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.to_owned() }
    }

    fn names(order: &[Srv]) -> Vec<&str> {
        order.iter().map(|record| record.target.as_str()).collect()
    }

    #[test]
    fn a_lower_priority_is_tried_first_whatever_its_weight() {
        let records = vec![srv(20, 100, "c"), srv(10, 0, "a"), srv(15, 5, "b")];
        for draw in [0, 1] {
            assert_eq!(names(&ordered(records.clone(), |below| draw.min(below - 1))), ["a", "b", "c"]);
        }
    }

    #[test]
    fn equals_are_drawn_by_their_weights() {
        let records = vec![srv(10, 75, "often"), srv(10, 25, "seldom"), srv(10, 0, "hardly")];
        let mut first = std::collections::BTreeMap::new();
        // Every draw there is, once.
        for draw in 0..=100 {
            let mut draws = [draw].into_iter();
            let order = ordered(records.clone(), |below| draws.next().unwrap_or(0).min(below - 1));
            assert_eq!(order.len(), 3, "nobody is lost");
            *first.entry(order[0].target.clone()).or_insert(0) += 1;
        }
        let count = |name: &str| first.get(name).copied().unwrap_or(0);
        assert_eq!((count("often"), count("seldom"), count("hardly")), (75, 25, 1));
    }
}
