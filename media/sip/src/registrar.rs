//! Where users' phones are (RFC 3261 §10, RFC 3327): bindings that keep the way a REGISTER came, so that calls
//! reach phones behind NAT.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use antiphon_media_frame::Pii;
use tokio::sync::broadcast;

use crate::address::{NameAddr, address, list};
use crate::flow::SipTransport;

mod request;

pub(crate) use request::serve;

/// Changes that may wait for a slow listener; it then misses the oldest and is told how many.
const EVENTS: usize = 1_024;
/// Longest contact address kept.
const MAX_CONTACT: usize = 512;
/// Most Path entries kept, and their length altogether.
const MAX_PATH: usize = 8;

/// How many bindings there may be, and how long they last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// Bindings of all users together; one more is refused with 503.
    pub max_bindings: usize,
    /// Bindings of one user; one more is refused with 403.
    pub max_contacts: usize,
    /// Shorter ones are refused with 423.
    pub min_expires: Duration,
    /// Longer ones are cut to this.
    pub max_expires: Duration,
    /// What a REGISTER gets that names no time.
    pub default_expires: Duration,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            max_bindings: 20_000,
            max_contacts: 10,
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(3_600),
            default_expires: Duration::from_secs(3_600),
        }
    }
}

/// One phone of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The user, as authenticated.
    pub user: String,
    /// What goes into the Request-URI of a call to it.
    pub contact: Pii<String>,
    /// Where the REGISTER came from: where a call has to be sent, whatever the contact says. Over a stream this
    /// names the connection that is to be used again.
    pub destination: SocketAddr,
    /// What carried the REGISTER.
    pub transport: SipTransport,
    /// Proxies on the way to it, nearest first: Route headers of a call to it (RFC 3327 §5.4).
    pub path: Vec<String>,
    /// How long it still lasts.
    pub expires_in: Duration,
    /// What the phone calls itself.
    pub user_agent: Option<String>,
    /// Preference from 0 to 1000, higher first (the `q` parameter times a thousand).
    pub preference: u16,
}

/// Why a phone is no longer registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It was not refreshed in time.
    Expired,
    /// It asked to be removed.
    Unregistered,
    /// Its connection broke.
    FlowLost,
    /// Whoever runs this agent removed it.
    Removed,
}

/// A change of the bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrarEvent {
    /// A phone is there that was not, or at another place.
    Registered(Binding),
    /// A phone is gone.
    Gone {
        /// It, as it was.
        binding: Binding,
        /// Why.
        why: Gone,
    },
}

/// The bindings of all users. Shared between the agent that fills it and whoever looks phones up.
pub struct Registrar {
    config: RegistrarConfig,
    start: Instant,
    users: Mutex<Users>,
    events: broadcast::Sender<RegistrarEvent>,
}

#[derive(Default)]
struct Users {
    bindings: HashMap<String, Vec<Kept>>,
    count: usize,
}

struct Kept {
    binding: Binding,
    /// What makes a second contact the same: instance and registration id (RFC 5626 §6), else the address.
    key: String,
    call_id: String,
    cseq: u32,
    until: Duration,
}

/// What a REGISTER asks for.
pub(crate) struct Wanted<'a> {
    pub(crate) user: &'a str,
    pub(crate) call_id: &'a str,
    pub(crate) cseq: u32,
    /// Values of the Contact headers.
    pub(crate) contacts: Vec<&'a str>,
    /// Value of the Expires header.
    pub(crate) expires: Option<&'a str>,
    /// Values of the Path headers.
    pub(crate) path: Vec<&'a str>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) source: SocketAddr,
    pub(crate) transport: SipTransport,
}

/// Why a REGISTER is refused, each a SIP status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// 400.
    Bad(&'static str),
    /// 403.
    TooManyContacts,
    /// 423, with the least number of seconds.
    TooBrief(u64),
    /// 500: an older request of the same phone (RFC 3261 §10.3 step 7).
    OutOfOrder,
    /// 503.
    Full,
}

impl Registrar {
    /// An empty one.
    #[must_use]
    pub fn new(config: RegistrarConfig) -> Arc<Self> {
        let (events, _) = broadcast::channel(EVENTS);
        Arc::new(Self { config, start: Instant::now(), users: Mutex::default(), events })
    }

    /// The phones of a user, the preferred and most recent first.
    #[must_use]
    pub fn lookup(&self, user: &str) -> Vec<Binding> {
        let now = self.now();
        let users = self.users();
        let kept = users.bindings.get(user).map_or(&[][..], Vec::as_slice);
        let mut found: Vec<&Kept> = kept.iter().filter(|kept| kept.until > now).collect();
        found.sort_by_key(|kept| std::cmp::Reverse((kept.binding.preference, kept.until)));
        found.into_iter().map(|kept| kept.told(now)).collect()
    }

    /// All phones, ordered by user.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        let now = self.now();
        let users = self.users();
        let kept = users.bindings.values().flatten().filter(|kept| kept.until > now);
        let mut all: Vec<Binding> = kept.map(|kept| kept.told(now)).collect();
        all.sort_by(|a, b| (&a.user, a.destination).cmp(&(&b.user, b.destination)));
        all
    }

    /// How many phones there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users().count
    }

    /// Whether there is no phone at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells of changes from now on. A listener that is 1024 behind misses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<RegistrarEvent> {
        self.events.subscribe()
    }

    /// Removes all phones of a user; how many there were.
    pub fn remove(&self, user: &str) -> usize {
        let removed = self.drop_where(Gone::Removed, |kept| kept.binding.user == user);
        removed.len()
    }

    /// Carries out a REGISTER; what is bound to the user afterwards.
    pub(crate) fn register(&self, wanted: &Wanted<'_>) -> Result<Vec<Binding>, Refused> {
        let now = self.now();
        self.expire();
        let asked = self.asked(wanted)?;
        let mut users = self.users();
        let mut kept = users.bindings.remove(wanted.user).unwrap_or_default();
        let before = kept.len();
        let outcome = self.change(now, wanted, asked, &mut kept, users.count);
        let count = users.count + kept.len() - before;
        users.count = count;
        let bound = kept.iter().map(|kept| kept.told(now)).collect();
        if !kept.is_empty() {
            users.bindings.insert(wanted.user.to_owned(), kept);
        }
        drop(users);
        for event in outcome? {
            self.events.send(event).ok();
        }
        Ok(bound)
    }

    /// Forgets what came over a connection that is no more.
    pub(crate) fn flow_lost(&self, transport: SipTransport, peer: SocketAddr) {
        self.drop_where(Gone::FlowLost, |kept| {
            kept.binding.transport == transport && kept.binding.destination == peer
        });
    }

    /// Forgets what has run out. To be called every few seconds, so that listeners hear of it.
    pub(crate) fn expire(&self) {
        let now = self.now();
        self.drop_where(Gone::Expired, |kept| kept.until <= now);
    }

    /// Phones over UDP whose contact is another address than where they are: their NAT forgets them without traffic.
    pub(crate) fn behind_nat(&self) -> Vec<SocketAddr> {
        let users = self.users();
        let kept = users.bindings.values().flatten();
        kept.filter(|kept| kept.binding.transport == SipTransport::Udp)
            .filter(|kept| {
                address(kept.binding.contact.expose()).host != kept.binding.destination.ip().to_string()
            })
            .map(|kept| kept.binding.destination)
            .collect()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_where(&self, why: Gone, gone: impl Fn(&Kept) -> bool) -> Vec<Binding> {
        let now = self.now();
        let mut removed = Vec::new();
        let mut users = self.users();
        users.bindings.retain(|_, kept| {
            removed.extend(kept.extract_if(.., |kept| gone(kept)).map(|kept| kept.told(now)));
            !kept.is_empty()
        });
        users.count -= removed.len();
        drop(users);
        for binding in &removed {
            self.events.send(RegistrarEvent::Gone { binding: binding.clone(), why }).ok();
        }
        removed
    }

    fn asked(&self, wanted: &Wanted<'_>) -> Result<Asked, Refused> {
        let default = match wanted.expires {
            Some(text) => seconds(text).ok_or(Refused::Bad("Bad Expires"))?,
            None => self.config.default_expires.as_secs(),
        };
        let mut contacts = Vec::new();
        for value in &wanted.contacts {
            if value.trim() == "*" {
                let alone = wanted.contacts.len() == 1 && wanted.expires.is_some() && default == 0;
                return if alone { Ok(Asked::Everything) } else { Err(Refused::Bad("Bad Contact")) };
            }
            for text in list(value).ok_or(Refused::Bad("Bad Contact"))? {
                let contact = NameAddr::parse(text).ok_or(Refused::Bad("Bad Contact"))?;
                let scheme = contact.uri.split(':').next().unwrap_or_default();
                if !(scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips"))
                    || contact.uri.len() > MAX_CONTACT
                {
                    return Err(Refused::Bad("Bad Contact"));
                }
                // What cannot be read counts as the default (RFC 3261 §10.2.1.1).
                let expires = contact.param("expires").and_then(seconds).unwrap_or(default);
                if expires != 0 && expires < self.config.min_expires.as_secs() {
                    return Err(Refused::TooBrief(self.config.min_expires.as_secs()));
                }
                let instance = contact.param("+sip.instance").zip(contact.param("reg-id"));
                let key = match instance {
                    Some((instance, id)) => format!("{instance} {id}"),
                    None => contact.uri.to_ascii_lowercase(),
                };
                contacts.push(AskedContact {
                    uri: contact.uri.to_owned(),
                    key,
                    expires: Duration::from_secs(expires).min(self.config.max_expires),
                    preference: contact.param("q").map_or(1_000, preference),
                });
                if contacts.len() > self.config.max_contacts {
                    return Err(Refused::TooManyContacts);
                }
            }
        }
        Ok(Asked::These(contacts))
    }

    fn change(
        &self,
        now: Duration,
        wanted: &Wanted<'_>,
        asked: Asked,
        kept: &mut Vec<Kept>,
        count: usize,
    ) -> Result<Vec<RegistrarEvent>, Refused> {
        // The same number again is the same request again: the stack does not tell.
        let late = |kept: &Kept| kept.call_id == wanted.call_id && wanted.cseq < kept.cseq;
        let mut events = Vec::new();
        let contacts = match asked {
            Asked::Everything => {
                if kept.iter().any(late) {
                    return Err(Refused::OutOfOrder);
                }
                let gone = kept.drain(..).map(|kept| kept.told(now));
                events.extend(gone.map(|binding| RegistrarEvent::Gone { binding, why: Gone::Unregistered }));
                return Ok(events);
            }
            Asked::These(contacts) => contacts,
        };
        // All or nothing (RFC 3261 §10.3 step 7).
        let find = |kept: &[Kept], key: &str| kept.iter().position(|kept| kept.key == key);
        let added = contacts.iter().filter(|c| !c.expires.is_zero() && find(kept, &c.key).is_none()).count();
        if contacts.iter().any(|c| find(kept, &c.key).is_some_and(|at| late(&kept[at]))) {
            return Err(Refused::OutOfOrder);
        }
        if kept.len() + added > self.config.max_contacts {
            return Err(Refused::TooManyContacts);
        }
        if count + added > self.config.max_bindings {
            return Err(Refused::Full);
        }
        let mut path: Vec<String> =
            wanted.path.iter().filter_map(|value| list(value)).flatten().map(str::to_owned).collect();
        path.truncate(MAX_PATH);
        for contact in contacts {
            let at = find(kept, &contact.key);
            if contact.expires.is_zero() {
                if let Some(at) = at {
                    let binding = kept.remove(at).told(now);
                    events.push(RegistrarEvent::Gone { binding, why: Gone::Unregistered });
                }
                continue;
            }
            let fresh = Kept {
                binding: Binding {
                    user: wanted.user.to_owned(),
                    contact: Pii::new(contact.uri),
                    destination: wanted.source,
                    transport: wanted.transport,
                    path: path.clone(),
                    expires_in: contact.expires,
                    user_agent: wanted.user_agent.map(|text| text.chars().take(128).collect()),
                    preference: contact.preference,
                },
                key: contact.key,
                call_id: wanted.call_id.to_owned(),
                cseq: wanted.cseq,
                until: now + contact.expires,
            };
            let moved = at.is_none_or(|at| {
                let old = &kept[at].binding;
                old.contact != fresh.binding.contact
                    || old.destination != fresh.binding.destination
                    || old.transport != fresh.binding.transport
            });
            if moved {
                events.push(RegistrarEvent::Registered(fresh.binding.clone()));
            }
            match at {
                Some(at) => kept[at] = fresh,
                None => kept.push(fresh),
            }
        }
        Ok(events)
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar").field("bindings", &self.len()).finish_non_exhaustive()
    }
}

enum Asked {
    Everything,
    These(Vec<AskedContact>),
}

struct AskedContact {
    uri: String,
    key: String,
    expires: Duration,
    preference: u16,
}

impl Kept {
    fn told(&self, now: Duration) -> Binding {
        Binding { expires_in: self.until.saturating_sub(now), ..self.binding.clone() }
    }
}

/// Delta-seconds; more than 32 bits hold is as much as they hold (RFC 3261 §20.19).
fn seconds(text: &str) -> Option<u64> {
    let digits = text.trim();
    let fine = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    fine.then(|| digits.parse().unwrap_or(u64::MAX).min(u64::from(u32::MAX)))
}

/// `0.7` as 700.
fn preference(text: &str) -> u16 {
    let value = text.parse::<f32>().unwrap_or(1.0).clamp(0.0, 1.0);
    // In range: clamped, and NaN becomes zero.
    (value * 1_000.0).round() as u16
}

#[cfg(test)]
mod tests;
