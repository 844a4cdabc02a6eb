//! Trunks and routes: where a call goes, over which hosts, and whether it may.
//!
//! Nothing here reads a clock or a socket: whoever knows tells it (`now`, health, registrations), so that every rule
//! can be tested. A call reaches a trunk by an [`Outlet`] alone, and only a route or an operator gives one.

mod dialling;
mod health;
mod limits;
mod number;
mod redirect;
mod status;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Config, Host, Network, Route, Trunk, User, Whence};
pub(crate) use dialling::{Attempt, Caller, DialError, Dialling, Places};
use health::Health;
pub(crate) use health::HostState;
use limits::Gate;
pub(crate) use limits::{LimitError, Permit};
pub(crate) use number::normal;
pub(crate) use redirect::{RedirectError, number_of};
pub(crate) use status::{Registration, TrunkStatus};

/// Where a call comes from, as far as that has been proved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// A trunk, by its address or our registration.
    Trunk(String),
    /// A user, by digest.
    User(String),
    /// Anybody.
    Anonymous,
    /// The API, by a token.
    Api,
}

impl Origin {
    /// What kind it is, for logs: names are left out.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Trunk(_) => "trunk",
            Self::User(_) => "user",
            Self::Anonymous => "anonymous",
            Self::Api => "api",
        }
    }
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// The flow of this file.
    Flow(PathBuf),
    /// The flow that answers where no route fits: `flow.numbers`, then `flow.file`.
    DefaultFlow,
    /// A user's telephones.
    User(String),
    /// Out over a trunk: [`Router::outbound`].
    Trunk(Outlet),
    /// A conference.
    Conference(String),
    /// Nowhere.
    Reject {
        /// SIP status.
        status: u16,
    },
}

/// The right to send one call out over certain trunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outlet {
    origin: Origin,
    trunks: Vec<String>,
    number: String,
    /// An operator named the trunk: no route had a say.
    named: bool,
}

/// Trunks, routes and users as configured, and what is known of them now.
pub(crate) struct Router {
    trunks: Vec<Arc<TrunkEntry>>,
    routes: Vec<Route>,
    users: BTreeMap<String, UserEntry>,
    anonymous: bool,
}

struct TrunkEntry {
    config: Arc<Trunk>,
    gate: Arc<Gate>,
    state: Mutex<TrunkState>,
}

struct TrunkState {
    /// One a host, in their order.
    health: Vec<Health>,
    /// Addresses that the names of its hosts resolve to.
    resolved: Vec<IpAddr>,
    registration: Option<Registration>,
}

struct UserEntry {
    config: User,
    gate: Arc<Gate>,
}

/// A host whose health is to be asked after.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Probe {
    /// The trunk's name.
    pub(crate) trunk: String,
    /// Where to ask.
    pub(crate) host: Host,
    /// How often.
    pub(crate) interval: Duration,
}

impl TrunkEntry {
    fn lock(&self) -> MutexGuard<'_, TrunkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Router {
    /// Takes a configuration that has been checked.
    pub(crate) fn new(config: &Config) -> Self {
        let trunk = |trunk: &Trunk| {
            let health = trunk.hosts.iter().map(|_| Health::new()).collect();
            Arc::new(TrunkEntry {
                gate: Gate::new(format!("trunk {}", trunk.name), trunk.max_calls, trunk.calls_per_second),
                state: Mutex::new(TrunkState { health, resolved: Vec::new(), registration: None }),
                config: Arc::new(trunk.clone()),
            })
        };
        let user = |user: &User| {
            let gate = Gate::new(format!("user {}", user.name), Some(user.max_calls), None);
            (user.name.clone(), UserEntry { config: user.clone(), gate })
        };
        Self {
            trunks: config.trunks.iter().map(trunk).collect(),
            routes: config.routes.clone(),
            users: config.users.iter().map(user).collect(),
            anonymous: config.security.anonymous,
        }
    }

    /// Where a call goes. The first route that fits decides; where none does, the flows of `[flow]`.
    pub(crate) fn inbound(&self, origin: &Origin, called: &str, caller: &str) -> Target {
        if *origin == Origin::Anonymous && !self.anonymous {
            return Target::Reject { status: 403 };
        }
        let Ok(called) = normal(called) else { return Target::Reject { status: 404 } };
        // A caller without a number that could be dialled still calls: he fits the patterns that an empty one does.
        let caller = normal(caller).unwrap_or_default();
        for route in &self.routes {
            if !comes_from(route, origin) || !route.caller.fits(&caller) {
                continue;
            }
            let Some(groups) = route.called.groups(&called) else { continue };
            return self.target(route, &groups, origin);
        }
        Target::DefaultFlow
    }

    fn target(&self, route: &Route, groups: &[&str], origin: &Origin) -> Target {
        if let Some(flow) = &route.flow {
            return Target::Flow(flow.clone());
        }
        if let Some(user) = &route.user {
            let user = user.apply(groups);
            let known = self.users.contains_key(&user);
            return if known { Target::User(user) } else { Target::Reject { status: 404 } };
        }
        if let Some(conference) = &route.conference {
            return Target::Conference(conference.apply(groups));
        }
        if let Some(trunks) = &route.trunk {
            let number = route.number.as_ref().map_or_else(|| groups[0].to_owned(), |n| n.apply(groups));
            let (trunks, origin) = (trunks.names().to_vec(), origin.clone());
            return Target::Trunk(Outlet { origin, trunks, number, named: false });
        }
        // One of the five is there; the configuration has been checked.
        Target::Reject { status: route.reject.unwrap_or(404) }
    }

    /// The way out for an operator, who names the trunk. `None` where there is no such trunk.
    pub(crate) fn over(&self, trunk: &str, number: &str) -> Option<Outlet> {
        self.entry(trunk)?;
        let (trunks, number) = (vec![trunk.to_owned()], number.to_owned());
        Some(Outlet { origin: Origin::Api, trunks, number, named: true })
    }

    /// The trunk that an address belongs to. Where several claim it, the one that names it most precisely.
    pub(crate) fn trunk_at(&self, source: IpAddr) -> Option<Arc<Trunk>> {
        let claims = |entry: &TrunkEntry| -> Option<u8> {
            let of = |networks: &mut dyn Iterator<Item = Network>| {
                networks.filter(|network| network.contains(source)).map(|network| network.bits()).max()
            };
            if !entry.config.networks.is_empty() {
                return of(&mut entry.config.networks.iter().copied());
            }
            let state = entry.lock();
            let written = entry.config.hosts.iter().filter_map(Host::ip);
            of(&mut written.chain(state.resolved.iter().copied()).map(Network::of))
        };
        let mut best: Option<(u8, &Arc<TrunkEntry>)> = None;
        for entry in &self.trunks {
            if let Some(bits) = claims(entry)
                && best.is_none_or(|(most, _)| bits > most)
            {
                best = Some((bits, entry));
            }
        }
        best.map(|(_, entry)| Arc::clone(&entry.config))
    }

    /// A place for a call that a trunk brings.
    pub(crate) fn admit(&self, trunk: &str, now: Instant) -> Option<Result<Permit, LimitError>> {
        self.entry(trunk).map(|entry| entry.gate.admit(now))
    }

    /// The variables that a trunk's headers become.
    pub(crate) fn variables(
        &self,
        trunk: &str,
        header: impl Fn(&str) -> Option<String>,
    ) -> BTreeMap<String, String> {
        let Some(entry) = self.entry(trunk) else { return BTreeMap::new() };
        let names = entry.config.headers_in.iter();
        names.filter_map(|(name, variable)| Some((variable.clone(), header(name)?))).collect()
    }

    pub(crate) fn trunk(&self, name: &str) -> Option<Arc<Trunk>> {
        self.entry(name).map(|entry| Arc::clone(&entry.config))
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|user| &user.config)
    }

    /// Hosts to ask by OPTIONS.
    pub(crate) fn probes(&self) -> Vec<Probe> {
        let asked = self.trunks.iter().filter(|entry| !entry.config.options_interval.0.is_zero());
        asked
            .flat_map(|entry| {
                let (trunk, interval) = (&entry.config.name, entry.config.options_interval.0);
                entry.config.hosts.iter().map(move |host| Probe {
                    trunk: trunk.clone(),
                    host: host.clone(),
                    interval,
                })
            })
            .collect()
    }

    /// What asking a host came to: the round trip, or no answer. Tells the host's state where that changed.
    pub(crate) fn report(
        &self,
        trunk: &str,
        host: &Host,
        now: Instant,
        outcome: Result<Duration, ()>,
    ) -> Option<HostState> {
        let entry = self.entry(trunk)?;
        let n = entry.config.hosts.iter().position(|one| one == host)?;
        entry.lock().health[n].report(now, outcome.map(Some))
    }

    /// What a registration came to.
    pub(crate) fn registered(&self, trunk: &str, registration: Registration) {
        if let Some(entry) = self.entry(trunk) {
            entry.lock().registration = Some(registration);
        }
    }

    /// Trunks whose calls are known by the addresses of names that have to be looked up.
    pub(crate) fn unresolved(&self) -> Vec<(String, Vec<Host>)> {
        let by_name = |entry: &Arc<TrunkEntry>| {
            let named: Vec<Host> =
                entry.config.hosts.iter().filter(|host| host.ip().is_none()).cloned().collect();
            (entry.config.networks.is_empty() && !named.is_empty())
                .then(|| (entry.config.name.clone(), named))
        };
        self.trunks.iter().filter_map(by_name).collect()
    }

    /// What the names of a trunk's hosts resolve to now.
    pub(crate) fn resolved(&self, trunk: &str, addresses: Vec<IpAddr>) {
        if let Some(entry) = self.entry(trunk) {
            entry.lock().resolved = addresses;
        }
    }

    fn entry(&self, name: &str) -> Option<&Arc<TrunkEntry>> {
        self.trunks.iter().find(|entry| entry.config.name == name)
    }
}

/// Whether a route is for calls from there. A route to a trunk is for users and the API unless it names others.
fn comes_from(route: &Route, origin: &Origin) -> bool {
    if route.from.is_empty() {
        return route.trunk.is_none() || matches!(origin, Origin::User(_) | Origin::Api);
    }
    route.from.iter().any(|from| match (from, origin) {
        (Whence::Any, _) | (Whence::Anonymous, Origin::Anonymous) | (Whence::Api, Origin::Api) => true,
        (Whence::Trunk(wanted), Origin::Trunk(name)) | (Whence::User(wanted), Origin::User(name)) => {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
