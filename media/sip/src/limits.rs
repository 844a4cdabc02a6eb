//! How much each source may do: rates, failures, bans. Bounded in memory, pure: time enters as an argument.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod network;

use crate::access::Access;
use network::number;
pub use network::{Network, NetworkError};

/// Limits for every source: an IPv4 address or an IPv6 /64.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitConfig {
    /// Messages a second in the long run; more are dropped unread. Zero switches this limit off.
    pub messages_per_second: u32,
    /// Messages at once.
    pub message_burst: u32,
    /// New calls a second in the long run; more get 503. Zero switches this limit off.
    pub calls_per_second: u32,
    /// New calls at once.
    pub call_burst: u32,
    /// Connections at once; more are closed. Zero switches this limit off.
    pub connections: u32,
    /// Wrong passwords, and refusals by policy over a connection, that one source may have within
    /// [`LimitConfig::window`] before it is banned. Zero bans nobody.
    pub failures: u32,
    /// Wrong passwords for one user, from all sources together within the window, before only the source that last
    /// knew the right one is heard for this user. Zero switches this off.
    pub user_failures: u32,
    /// How long failures count.
    pub window: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
    /// Sources and users remembered; beyond, the unknown ones share what one of them has.
    pub max_sources: usize,
    /// Never limited and never banned.
    pub allow: Vec<Network>,
    /// Whether the loopback addresses are limited like all others.
    pub loopback: bool,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            messages_per_second: 1_000,
            message_burst: 2_000,
            calls_per_second: 100,
            call_burst: 200,
            connections: 256,
            failures: 10,
            user_failures: 50,
            window: Duration::from_secs(60),
            ban: Duration::from_secs(600),
            max_sources: 65_536,
            allow: Vec::new(),
            loopback: false,
        }
    }
}

/// What is still let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// All of it.
    Free,
    /// Nothing for now: too fast.
    Full,
    /// Nothing: banned.
    Banned,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitStats {
    /// Messages dropped unread, because their source sent too many.
    pub limited: u64,
    /// New calls refused, because their source made too many.
    pub calls_limited: u64,
    /// Messages dropped unread, because their source is banned.
    pub banned: u64,
    /// Wrong passwords and other failures.
    pub failures: u64,
    /// Bans begun.
    pub bans: u64,
    /// Sources remembered right now.
    pub sources: usize,
}

/// The state of all limits.
pub(crate) struct Limits {
    config: LimitConfig,
    access: Arc<dyn Access>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sources: HashMap<Key, Source>,
    users: HashMap<String, User>,
    /// What sources share that found no place any more.
    rest: Source,
    swept: Duration,
    stats: LimitStats,
}

/// An IPv4 address or the first half of an IPv6 one.
type Key = (u128, bool);

#[derive(Default)]
struct Source {
    messages: Option<Bucket>,
    calls: Option<Bucket>,
    connections: u32,
    failures: u32,
    since: Duration,
    banned_until: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

#[derive(Default)]
struct User {
    failures: u32,
    since: Duration,
    known: Option<Key>,
}

impl Bucket {
    fn take(bucket: &mut Option<Self>, now: Duration, rate: u32, burst: u32) -> bool {
        if rate == 0 {
            return true;
        }
        let most = f64::from(burst.max(1));
        let bucket = bucket.get_or_insert(Self { tokens: most, at: now });
        let earned = now.saturating_sub(bucket.at).as_secs_f64() * f64::from(rate);
        bucket.tokens = (bucket.tokens + earned).min(most);
        bucket.at = bucket.at.max(now);
        let free = bucket.tokens >= 1.0;
        if free {
            bucket.tokens -= 1.0;
        }
        free
    }
}

impl Source {
    /// Whether forgetting it changes nothing.
    fn is_idle(&self, now: Duration, config: &LimitConfig) -> bool {
        let full = |bucket: &Option<Bucket>, rate: u32, burst: u32| {
            bucket.as_ref().is_none_or(|b| {
                b.tokens + now.saturating_sub(b.at).as_secs_f64() * f64::from(rate) >= f64::from(burst)
            })
        };
        self.connections == 0
            && self.banned_until.is_none_or(|until| until <= now)
            && (self.failures == 0 || now.saturating_sub(self.since) >= config.window)
            && full(&self.messages, config.messages_per_second, config.message_burst)
            && full(&self.calls, config.calls_per_second, config.call_burst)
    }
}

impl Limits {
    /// `access` knows further sources that are never limited.
    pub(crate) fn new(config: LimitConfig, access: Arc<dyn Access>) -> Self {
        Self { config, access, state: Mutex::default() }
    }

    /// Whether one more message of `source` is read at all.
    pub(crate) fn message(&self, now: Duration, source: IpAddr) -> Room {
        if self.exempt(source) {
            return Room::Free;
        }
        let mut state = self.state();
        let entry = state.source(now, key(source), &self.config);
        if entry.banned_until.is_some_and(|until| now < until) {
            state.stats.banned += 1;
            return Room::Banned;
        }
        let (rate, burst) = (self.config.messages_per_second, self.config.message_burst);
        if Bucket::take(&mut entry.messages, now, rate, burst) {
            Room::Free
        } else {
            state.stats.limited += 1;
            Room::Full
        }
    }

    /// Whether `source` may have one more connection, which then counts until [`Limits::disconnect`].
    pub(crate) fn connect(&self, now: Duration, source: IpAddr) -> bool {
        if self.exempt(source) {
            return true;
        }
        let mut state = self.state();
        let entry = state.source(now, key(source), &self.config);
        let banned = entry.banned_until.is_some_and(|until| now < until);
        let full = self.config.connections > 0 && entry.connections >= self.config.connections;
        if banned || full {
            state.stats.banned += u64::from(banned);
            state.stats.limited += u64::from(full && !banned);
            return false;
        }
        entry.connections += 1;
        true
    }

    /// Gives a connection back.
    pub(crate) fn disconnect(&self, source: IpAddr) {
        let exempt = self.exempt(source);
        let mut state = self.state();
        let state = &mut *state;
        // A source with connections is never forgotten, so this is where it was counted. One that was let free meanwhile
        // has a place of its own or was never counted.
        let shared = (!exempt).then_some(&mut state.rest);
        if let Some(entry) = state.sources.get_mut(&key(source)).or(shared) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }

    /// Whether `source` may begin one more call.
    pub(crate) fn call(&self, now: Duration, source: IpAddr) -> bool {
        if self.exempt(source) {
            return true;
        }
        let mut state = self.state();
        let entry = state.source(now, key(source), &self.config);
        let free = Bucket::take(&mut entry.calls, now, self.config.calls_per_second, self.config.call_burst);
        if !free {
            state.stats.calls_limited += 1;
        }
        free
    }

    /// Notes a failure that `source` is to blame for; whether it is banned for it. Only for failures that a forger of
    /// source addresses cannot bring about.
    pub(crate) fn fail(&self, now: Duration, source: IpAddr) -> bool {
        let mut state = self.state();
        state.stats.failures += 1;
        if self.exempt(source) || self.config.failures == 0 {
            return false;
        }
        // Those without a place of their own are not banned together.
        if !state.has_room(now, key(source), &self.config) {
            return false;
        }
        let entry = state.source(now, key(source), &self.config);
        if now.saturating_sub(entry.since) >= self.config.window {
            entry.failures = 0;
            entry.since = now;
        }
        entry.failures += 1;
        if entry.failures < self.config.failures {
            return false;
        }
        entry.failures = 0;
        entry.banned_until = Some(now + self.config.ban);
        state.stats.bans += 1;
        true
    }

    /// Whether `source` may try to be `user`: many failures from everywhere leave only who knew the password before.
    pub(crate) fn may_try(&self, now: Duration, source: IpAddr, user: &str) -> bool {
        if self.config.user_failures == 0 {
            return true;
        }
        let state = self.state();
        state.users.get(user).is_none_or(|entry| {
            entry.failures < self.config.user_failures
                || now.saturating_sub(entry.since) >= self.config.window
                || entry.known == Some(key(source))
        })
    }

    /// Notes whether `source` knew the password of `user`.
    pub(crate) fn tried(&self, now: Duration, source: IpAddr, user: &str, right: bool) {
        let mut state = self.state();
        if !state.users.contains_key(user) && state.users.len() >= self.config.max_sources {
            let window = self.config.window;
            state.users.retain(|_, entry| entry.failures > 0 && now.saturating_sub(entry.since) < window);
            if state.users.len() >= self.config.max_sources {
                return;
            }
        }
        let window = self.config.window;
        let entry = state.users.entry(user.to_owned()).or_default();
        if right {
            entry.known = Some(key(source));
        } else {
            if now.saturating_sub(entry.since) >= window {
                entry.failures = 0;
                entry.since = now;
            }
            entry.failures += 1;
        }
    }

    /// Who is banned, and for how long still.
    pub(crate) fn bans(&self, now: Duration) -> Vec<(IpAddr, Duration)> {
        let state = self.state();
        let mut bans: Vec<_> = state
            .sources
            .iter()
            .filter_map(|(key, entry)| {
                let left = entry.banned_until?.checked_sub(now).filter(|left| !left.is_zero())?;
                Some((address(*key), left))
            })
            .collect();
        bans.sort_unstable();
        bans
    }

    /// Lifts a ban; whether there was one.
    pub(crate) fn unban(&self, now: Duration, source: IpAddr) -> bool {
        let mut state = self.state();
        let ban = state.sources.get_mut(&key(source)).and_then(|entry| entry.banned_until.take());
        ban.is_some_and(|until| now < until)
    }

    pub(crate) fn stats(&self) -> LimitStats {
        let state = self.state();
        LimitStats { sources: state.sources.len(), ..state.stats }
    }

    fn exempt(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        (source.is_loopback() && !self.config.loopback)
            || self.config.allow.iter().any(|network| network.contains(source))
            || self.access.exempts(source)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn source(&mut self, now: Duration, key: Key, config: &LimitConfig) -> &mut Source {
        if self.has_room(now, key, config) { self.sources.entry(key).or_default() } else { &mut self.rest }
    }

    /// Whether the source has a place of its own or can get one.
    fn has_room(&mut self, now: Duration, key: Key, config: &LimitConfig) -> bool {
        if self.sources.contains_key(&key) || self.sources.len() < config.max_sources {
            return true;
        }
        // Looking at all of them is not for every datagram of a flood.
        if now.saturating_sub(self.swept) < Duration::from_secs(1) {
            return false;
        }
        self.swept = now;
        self.sources.retain(|_, entry| !entry.is_idle(now, config));
        self.sources.len() < config.max_sources
    }
}

fn key(source: IpAddr) -> Key {
    let (value, v6) = number(source);
    (if v6 { value & !u128::from(u64::MAX) } else { value }, v6)
}

fn address((value, v6): Key) -> IpAddr {
    if v6 {
        return IpAddr::V6(Ipv6Addr::from(value));
    }
    let value = u32::try_from(value).expect("IPv4 keys are made of 32 bits");
    IpAddr::V4(value.into())
}

#[cfg(test)]
mod tests;
