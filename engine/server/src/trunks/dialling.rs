//! A call that goes out over a trunk: whether it may, what is told, and which host comes next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_media_frame::Pii;

use super::limits::{LimitError, Permit};
use super::number::{NumberError, escape, normal};
use super::{Origin, Outlet, Router, TrunkEntry, UserEntry};
use crate::config::{Host, Pattern, Secret, Trunk};

/// Why a call may not go out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    /// What is called is no number.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// A list does not let the number through.
    #[error("the number may not be called: see {list}")]
    Forbidden {
        /// The key of the list.
        list: String,
    },
    /// The trunk has been taken out of the configuration.
    #[error("there is no trunk {trunk}")]
    Unknown {
        /// Its name.
        trunk: String,
    },
    /// Too many calls.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

impl DialError {
    /// The SIP status that tells it to the caller.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Number(_) => 484,
            Self::Forbidden { .. } => 403,
            Self::Unknown { .. } => 404,
            Self::Limit(_) => 503,
        }
    }
}

/// Who calls, as the far side is to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller<'c> {
    /// The number; a user's own is taken from the configuration instead.
    pub(crate) number: &'c str,
    /// The name shown; a user's own is taken from the configuration instead.
    pub(crate) display_name: Option<&'c str>,
    /// The call's variables, for the trunk's headers.
    pub(crate) variables: Option<&'c BTreeMap<String, String>>,
}

/// What one INVITE is made of.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The trunk, with its codecs, security and limits.
    pub(crate) trunk: Arc<Trunk>,
    /// Where the INVITE is sent.
    pub(crate) host: Host,
    pub(crate) request_uri: Pii<String>,
    /// The address of the From header.
    pub(crate) from: Pii<String>,
    pub(crate) display_name: Option<Pii<String>>,
    /// The address of P-Asserted-Identity (RFC 3325).
    pub(crate) asserted: Option<Pii<String>>,
    /// Further headers, name and value.
    pub(crate) headers: Vec<(String, Pii<String>)>,
    /// What challenges are answered with.
    pub(crate) login: Option<Login>,
    /// The call's places; they are to be kept as long as the call lasts.
    pub(crate) places: Places,
}

/// What a challenge is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    /// The only realm that is answered, where it is given.
    pub(crate) realm: Option<String>,
    pub(crate) password: Secret,
}

/// The places that one call takes: its trunk's and its user's.
#[derive(Debug)]
pub(crate) struct Places {
    _trunk: Permit,
    _user: Option<Arc<Permit>>,
}

/// A call on its way out: one host after the other.
pub(crate) struct Dialling {
    ways: VecDeque<Way>,
    /// Where redirections lead: tried before the ways that are left.
    pub(super) redirected: VecDeque<Way>,
    /// How many redirections have been followed.
    pub(super) followed: u8,
    pub(super) outlet: Outlet,
    /// The caller's number as routes know it.
    pub(super) number: String,
    caller: String,
    display_name: Option<String>,
    variables: BTreeMap<String, String>,
    user: Option<Arc<Permit>>,
    /// Where the last attempt went.
    pub(super) last: Option<Way>,
    /// Everything that was tried, so that nothing is tried twice.
    pub(super) tried: BTreeSet<Place>,
    refusal: Option<LimitError>,
}

/// A number at a host, in one spelling.
pub(super) type Place = (String, String);

#[derive(Clone)]
pub(super) struct Way {
    pub(super) entry: Arc<TrunkEntry>,
    pub(super) host: Host,
    /// Which of the trunk's hosts it is; none of them where a redirection leads there.
    pub(super) listed: Option<usize>,
    /// In the trunk's form.
    pub(super) number: String,
}

impl Way {
    pub(super) fn place(&self) -> Place {
        let port = self.host.port.or(self.host.ip().map(|_| self.host.transport.default_port()));
        (self.number.clone(), Host { port, ..self.host.clone() }.to_string())
    }
}

impl Router {
    /// Prepares a call: checks the lists, takes the user's place, and puts the hosts in order.
    pub(crate) fn outbound(
        &self,
        outlet: &Outlet,
        caller: &Caller<'_>,
        now: Instant,
    ) -> Result<Dialling, DialError> {
        let number = normal(&outlet.number)?;
        let user = self.dials(&outlet.origin, &number)?;
        let mut ways = VecDeque::new();
        let mut spare = VecDeque::new();
        let mut refused = None;
        for name in &outlet.trunks {
            let entry = self.entry(name).ok_or_else(|| DialError::Unknown { trunk: name.clone() })?;
            let number = match dialled(&entry.config, &number) {
                Ok(number) => number,
                // Another trunk may be allowed to carry it.
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            };
            let state = entry.lock();
            for (host, health) in state.health.iter().enumerate() {
                let (entry, at) = (Arc::clone(entry), entry.config.hosts[host].clone());
                let way = Way { entry, host: at, listed: Some(host), number: number.clone() };
                if health.is_usable(now) { ways.push_back(way) } else { spare.push_back(way) }
            }
        }
        if ways.is_empty() {
            // Where all hosts are down, asking them is still better than giving up.
            ways = spare;
        }
        if let Some(error) = refused.filter(|_| ways.is_empty()) {
            return Err(error);
        }
        let place = user.map(|user| user.gate.admit(now)).transpose()?.map(Arc::new);
        let own = user.map(|user| {
            let config = &user.config;
            (config.number.as_ref().unwrap_or(&config.name).as_str(), config.display_name.as_deref())
        });
        let (who, display_name) = own.unwrap_or((caller.number, caller.display_name));
        let mut variables = caller.variables.cloned().unwrap_or_default();
        variables.insert("called".to_owned(), number);
        variables.insert("caller".to_owned(), who.to_owned());
        Ok(Dialling {
            ways,
            redirected: VecDeque::new(),
            followed: 0,
            outlet: outlet.clone(),
            number: caller.number.to_owned(),
            caller: normal(who).unwrap_or_default(),
            display_name: display_name.map(shown),
            variables,
            user: place,
            last: None,
            tried: BTreeSet::new(),
            refusal: None,
        })
    }

    /// The user who dials, where one does and may dial the number.
    pub(super) fn dials(&self, origin: &Origin, number: &str) -> Result<Option<&UserEntry>, DialError> {
        let Origin::User(name) = origin else { return Ok(None) };
        let unknown = || forbidden(&format!("user.{name}, who is not configured"));
        let user = self.users.get(name).ok_or_else(unknown)?;
        if !fits(&user.config.may_dial, number) {
            return Err(forbidden(&format!("user.{name}.may_dial")));
        }
        Ok(Some(user))
    }
}

impl Dialling {
    /// The next place: where redirections lead, then the hosts. Trunks at their limits are passed over. `None` where nothing is left: [`Dialling::refusal`] says
    /// whether limits were why.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Attempt> {
        while let Some(way) = self.redirected.pop_front().or_else(|| self.ways.pop_front()) {
            if self.tried.contains(&way.place()) {
                continue;
            }
            let permit = match way.entry.gate.admit(now) {
                Ok(permit) => permit,
                Err(error) => {
                    self.refusal = Some(error);
                    let elsewhere = |other: &Way| !Arc::ptr_eq(&other.entry, &way.entry);
                    self.redirected.retain(elsewhere);
                    self.ways.retain(elsewhere);
                    continue;
                }
            };
            let places = Places { _trunk: permit, _user: self.user.clone() };
            self.tried.insert(way.place());
            self.last = Some(way.clone());
            return Some(self.attempt(&way, places));
        }
        None
    }

    /// What the last attempt came to: a SIP status, 408 standing for no answer at all. Keeps the host's health, and tells
    /// whether the next place is to be tried: another that a redirection named (RFC 3261 section 8.1.3.4) unless nobody
    /// anywhere would answer, or the next host.
    pub(crate) fn failed(&mut self, status: u16, now: Instant) -> bool {
        let Some(Way { entry, listed, .. }) = &self.last else { return false };
        let outcome = if matches!(status, 408 | 503) { Err(()) } else { Ok(None) };
        if let Some(host) = listed {
            entry.lock().health[*host].report(now, outcome);
        }
        if status < 600 && !self.redirected.is_empty() {
            return true;
        }
        // One that redirects is as good as one that is overloaded: the next host may take the call.
        let next = (300..400).contains(&status) || entry.config.failover_on.contains(&status);
        next && !self.ways.is_empty()
    }

    /// The last attempt was answered, with this round trip of its first answer where that was measured.
    pub(crate) fn answered(&mut self, round_trip: Option<Duration>, now: Instant) {
        if let Some(Way { entry, listed: Some(host), .. }) = &self.last {
            entry.lock().health[*host].report(now, Ok(round_trip));
        }
    }

    /// Whether redirections are followed.
    pub(crate) fn is_redirected(&self) -> bool {
        self.followed > 0
    }

    /// The limit that left no host to try.
    pub(crate) fn refusal(&self) -> Option<&LimitError> {
        self.refusal.as_ref()
    }

    fn attempt(&self, way: &Way, places: Places) -> Attempt {
        let trunk = &way.entry.config;
        let host = way.host.clone();
        let own = Host { port: None, ..host.clone() }.authority();
        let domain = trunk.from_domain.clone().unwrap_or(own);
        let address = |user: &str| match user {
            "" => format!("sip:{domain}"),
            user => format!("sip:{}@{domain}", escape(user)),
        };
        let rule = trunk.caller.iter().find_map(|rule| Some((rule, rule.pattern.groups(&self.caller)?)));
        let mut headers: Vec<(String, Pii<String>)> = trunk
            .headers_out
            .iter()
            .map(|(name, template)| {
                let value = template.render(|variable| match variable {
                    "trunk" => Some(trunk.name.as_str()),
                    variable => self.variables.get(variable).map(String::as_str),
                });
                (name.clone(), Pii::new(value))
            })
            .collect();
        let unknown = "sip:anonymous@anonymous.invalid";
        let mut from = if self.caller.is_empty() { unknown.to_owned() } else { address(&self.caller) };
        let mut display_name = self.display_name.clone();
        let mut asserted = None;
        if let Some((rule, groups)) = rule {
            let user = rule.from.apply(&groups);
            if !user.is_empty() {
                from = address(&user);
            }
            display_name = rule.display_name.clone().or(display_name);
            asserted = rule.asserted.as_ref().map(|user| address(&user.apply(&groups)));
            if rule.privacy {
                // RFC 3323, section 4.1: the header that everybody reads says nothing.
                from = unknown.to_owned();
                display_name = Some("Anonymous".to_owned());
                headers.push(("Privacy".to_owned(), Pii::new("id".to_owned())));
            }
        }
        Attempt {
            request_uri: Pii::new(format!(
                "sip:{}@{}{}",
                escape(&way.number),
                host.authority(),
                host.parameter()
            )),
            from: Pii::new(from),
            display_name: display_name.map(Pii::new),
            asserted: asserted.filter(|_| trunk.trusted).map(Pii::new),
            headers,
            login: login(trunk),
            trunk: Arc::clone(trunk),
            host,
            places,
        }
    }
}

/// What a trunk's challenges are answered with.
fn login(trunk: &Trunk) -> Option<Login> {
    if let Some(credentials) = &trunk.credentials {
        let (user, realm) = (credentials.user.clone(), credentials.realm.clone());
        return Some(Login { user, realm, password: credentials.password.clone()? });
    }
    let register = trunk.register.as_ref()?;
    let user = register.auth_user.as_ref().unwrap_or(&register.user).clone();
    Some(Login { user, realm: None, password: register.password.clone()? })
}

/// The number as the trunk wants it, where its lists let it through.
pub(super) fn dialled(trunk: &Trunk, number: &str) -> Result<String, DialError> {
    let denied = |number: &str| {
        let fits = fits(&trunk.deny, number);
        if fits { Err(forbidden(&format!("trunk.{}.deny", trunk.name))) } else { Ok(()) }
    };
    denied(number)?;
    if !fits(&trunk.allow, number) {
        return Err(forbidden(&format!("trunk.{}.allow", trunk.name)));
    }
    let Some((rule, groups)) =
        trunk.called.iter().find_map(|rule| Some((rule, rule.pattern.groups(number)?)))
    else {
        return Ok(number.to_owned());
    };
    let made: String = rule.number.apply(&groups).chars().skip(rule.strip).collect();
    if made.is_empty() {
        return Err(NumberError::Empty.into());
    }
    let made = normal(&format!("{}{made}", rule.prefix))?;
    // A rule must not make what may not be called of what may.
    denied(&made)?;
    Ok(made)
}

fn fits(patterns: &[Pattern], number: &str) -> bool {
    patterns.iter().any(|pattern| pattern.fits(number))
}

fn forbidden(list: &str) -> DialError {
    DialError::Forbidden { list: list.to_owned() }
}

/// A name that fits between quotes.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).take(64).collect()
}
