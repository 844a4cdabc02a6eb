//! Where users' phones are (RFC 3261 §10, RFC 3327): bindings that keep the way a REGISTER came, so that calls
//! reach phones behind NAT.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use antiphon_media_frame::Pii;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Request, StatusCode};
use rsipstack::transaction::transaction::Transaction;
use tokio::sync::broadcast;

use crate::access::Peer;
use crate::address::{NameAddr, address, list};
use crate::agent::{Replying, reply};
use crate::flow::SipTransport;
use crate::gate::RETRY_AFTER;
use crate::ingress::Entry;

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

/// Answers a REGISTER.
pub(crate) fn serve(registrar: &Registrar, entry: &Entry, tx: Transaction) -> Replying {
    let (status, headers) = match &entry.peer {
        Peer::User(user) => bind(registrar, user, entry, &tx.original),
        // Who proved nothing is nobody's phone.
        _ => (StatusCode::Forbidden, Vec::new()),
    };
    reply(tx, status, headers)
}

fn bind(registrar: &Registrar, user: &str, entry: &Entry, request: &Request) -> (StatusCode, Vec<Header>) {
    let values = |name: &'static str| {
        request.headers.iter().filter(move |h| h.name().eq_ignore_ascii_case(name)).map(Header::value)
    };
    let any = |long: &'static str, short: &'static str| values(long).chain(values(short));
    let to = any("To", "t").next().and_then(NameAddr::parse);
    if to.is_none_or(|to| address(to.uri).user.expose() != user) {
        return (StatusCode::Forbidden, Vec::new());
    }
    let wanted = Wanted {
        user,
        call_id: any("Call-ID", "i").next().unwrap_or_default(),
        cseq: request.cseq_header().and_then(rsipstack::sip::CSeq::seq).unwrap_or_default(),
        contacts: any("Contact", "m").collect(),
        expires: values("Expires").next(),
        path: values("Path").collect(),
        user_agent: values("User-Agent").next(),
        source: entry.source,
        transport: entry.transport,
    };
    match registrar.register(&wanted) {
        Ok(bound) => {
            let contact = |binding: &Binding| {
                let seconds = binding.expires_in.as_secs_f64().ceil();
                Header::Contact(format!("<{}>;expires={seconds}", binding.contact.expose()).into())
            };
            let mut headers: Vec<Header> = bound.iter().map(contact).collect();
            headers.extend(wanted.path.iter().map(|path| Header::Path((*path).into())));
            (StatusCode::OK, headers)
        }
        Err(refused) => {
            tracing::debug!(?refused, "register");
            match refused {
                Refused::Bad(_) => (StatusCode::BadRequest, Vec::new()),
                Refused::TooManyContacts => (StatusCode::Forbidden, Vec::new()),
                Refused::TooBrief(least) => {
                    (StatusCode::IntervalTooBrief, vec![Header::MinExpires(least.to_string().into())])
                }
                Refused::OutOfOrder => (StatusCode::ServerInternalError, Vec::new()),
                Refused::Full => {
                    (StatusCode::ServiceUnavailable, vec![Header::RetryAfter(RETRY_AFTER.into())])
                }
            }
        }
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
mod tests {
    use super::*;

    fn wanted<'a>(contacts: &[&'a str], expires: Option<&'a str>, cseq: u32) -> Wanted<'a> {
        Wanted {
            user: "bob",
            call_id: "c",
            cseq,
            contacts: contacts.to_vec(),
            expires,
            path: Vec::new(),
            user_agent: Some("phone"),
            source: SocketAddr::from(([192, 0, 2, 1], 1_234)),
            transport: SipTransport::Udp,
        }
    }

    fn registrar(change: impl FnOnce(&mut RegistrarConfig)) -> Arc<Registrar> {
        let mut config = RegistrarConfig::default();
        change(&mut config);
        Registrar::new(config)
    }

    #[test]
    fn a_phone_is_found_where_it_registered_from() {
        let registrar = registrar(|_| {});
        let mut events = registrar.subscribe();
        let bound =
            registrar.register(&wanted(&["<sip:bob@10.0.0.9>;q=0.5, <sip:bob@10.0.0.8>"], Some("600"), 1));
        assert_eq!(bound.unwrap().len(), 2);
        let found = registrar.lookup("bob");
        assert_eq!(found[0].contact.expose(), "sip:bob@10.0.0.8");
        assert_eq!(found[1].preference, 500);
        assert_eq!(found[0].destination.to_string(), "192.0.2.1:1234");
        assert!(
            found[0].expires_in <= Duration::from_secs(600) && found[0].expires_in > Duration::from_secs(590)
        );
        assert!(registrar.lookup("eve").is_empty());
        assert_eq!(registrar.behind_nat().len(), 2);
        assert!(matches!(events.try_recv(), Ok(RegistrarEvent::Registered(b)) if b.user == "bob"));
        events.try_recv().unwrap();
        registrar.register(&wanted(&["<sip:bob@10.0.0.8>"], None, 2)).unwrap();
        assert!(events.try_recv().is_err(), "a refresh is no news");
    }

    #[test]
    fn a_phone_leaves_alone_or_with_all_others() {
        let registrar = registrar(|_| {});
        registrar.register(&wanted(&["<sip:a@h>", "<sip:b@h>", "<sip:c@h>"], None, 1)).unwrap();
        let mut events = registrar.subscribe();
        let bound = registrar.register(&wanted(&["<sip:a@h>;expires=0"], None, 2)).unwrap();
        assert_eq!(bound.len(), 2);
        assert!(matches!(events.try_recv(), Ok(RegistrarEvent::Gone { why: Gone::Unregistered, .. })));
        assert_eq!(registrar.register(&wanted(&["*"], Some("0"), 0)), Err(Refused::OutOfOrder));
        assert_eq!(registrar.register(&wanted(&["*"], Some("0"), 3)), Ok(Vec::new()));
        assert!(registrar.is_empty());
        for wrong in [
            wanted(&["*"], None, 4),
            wanted(&["*", "<sip:a@h>"], Some("0"), 4),
            wanted(&["*"], Some("60"), 4),
        ] {
            assert_eq!(registrar.register(&wrong), Err(Refused::Bad("Bad Contact")));
        }
    }

    #[test]
    fn a_query_changes_nothing() {
        let registrar = registrar(|_| {});
        registrar.register(&wanted(&["<sip:a@h>"], None, 1)).unwrap();
        assert_eq!(registrar.register(&wanted(&[], None, 2)).unwrap().len(), 1);
    }

    #[test]
    fn what_is_too_much_too_brief_or_too_late_is_refused() {
        let registrar = registrar(|config| {
            config.max_contacts = 2;
            config.max_bindings = 3;
        });
        assert_eq!(registrar.register(&wanted(&["<sip:a@h>"], Some("5"), 1)), Err(Refused::TooBrief(60)));
        let three = ["<sip:a@h>", "<sip:b@h>", "<sip:c@h>"];
        assert_eq!(registrar.register(&wanted(&three, None, 1)), Err(Refused::TooManyContacts));
        registrar.register(&wanted(&three[..2], None, 1)).unwrap();
        assert_eq!(registrar.register(&wanted(&three[2..], None, 2)), Err(Refused::TooManyContacts));
        assert_eq!(registrar.register(&wanted(&three[..1], None, 0)), Err(Refused::OutOfOrder));
        assert_eq!(
            registrar.register(&Wanted { user: "eve", ..wanted(&three[..2], None, 1) }),
            Err(Refused::Full)
        );
        assert_eq!(registrar.len(), 2, "a refused REGISTER changes nothing");
        for wrong in ["tel:+123", "<sip:a@h", "\"", "<mailto:a@h>"] {
            assert_eq!(
                registrar.register(&wanted(&[wrong], None, 9)),
                Err(Refused::Bad("Bad Contact")),
                "{wrong}"
            );
        }
        assert_eq!(
            registrar.register(&wanted(&["<sip:a@h>"], Some("soon"), 9)),
            Err(Refused::Bad("Bad Expires"))
        );
    }

    #[test]
    fn expiry_is_cut_at_both_ends() {
        let registrar = registrar(|_| {});
        let bound = registrar.register(&wanted(&["<sip:a@h>;expires=99999999999"], None, 1)).unwrap();
        assert_eq!(bound[0].expires_in, Duration::from_secs(3_600));
    }

    #[test]
    fn a_phone_that_comes_back_under_another_address_replaces_itself() {
        let registrar = registrar(|_| {});
        let instance = r#"<sip:x@one.invalid>;+sip.instance="<urn:uuid:1>";reg-id=1"#;
        registrar.register(&wanted(&[instance], None, 1)).unwrap();
        let again = instance.replace("one", "two");
        let bound = registrar.register(&Wanted { call_id: "d", ..wanted(&[&again], None, 1) }).unwrap();
        assert_eq!(bound.len(), 1);
        assert_eq!(bound[0].contact.expose(), "sip:x@two.invalid");
    }

    #[test]
    fn a_lost_connection_takes_its_phones_along() {
        let registrar = registrar(|_| {});
        let over = |transport, cseq| Wanted { transport, ..wanted(&["<sip:a@h>"], None, cseq) };
        registrar.register(&over(SipTransport::Wss, 1)).unwrap();
        let mut events = registrar.subscribe();
        registrar.flow_lost(SipTransport::Tcp, SocketAddr::from(([192, 0, 2, 1], 1_234)));
        registrar.flow_lost(SipTransport::Wss, SocketAddr::from(([192, 0, 2, 2], 1_234)));
        assert_eq!(registrar.len(), 1);
        registrar.flow_lost(SipTransport::Wss, SocketAddr::from(([192, 0, 2, 1], 1_234)));
        assert!(registrar.is_empty());
        assert!(matches!(events.try_recv(), Ok(RegistrarEvent::Gone { why: Gone::FlowLost, .. })));
    }

    #[test]
    fn bindings_run_out() {
        let registrar = registrar(|config| config.min_expires = Duration::ZERO);
        registrar.register(&wanted(&["<sip:a@h>;expires=1"], None, 1)).unwrap();
        let mut events = registrar.subscribe();
        std::thread::sleep(Duration::from_millis(1_010));
        assert!(registrar.lookup("bob").is_empty());
        registrar.expire();
        assert!(matches!(events.try_recv(), Ok(RegistrarEvent::Gone { why: Gone::Expired, .. })));
        assert!(registrar.is_empty());
    }
}
