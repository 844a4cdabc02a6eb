//! Where a called host would have us call instead (3xx, RFC 3261 section 8.1.3.4), and whether we may.
//!
//! Whoever answers for a number could name one that costs a fortune: a contact is called only where a fresh call of the
//! same caller to it could go, and only at a host of the trunks that this call may take.

use std::sync::Arc;

use antiphon_media_frame::Pii;
use antiphon_media_sip::SipTransport;

use super::dialling::{DialError, Dialling, Way, dialled};
use super::number::{NumberError, normal};
use super::{Router, Target, TrunkEntry};
use crate::config::Host;

/// Why a redirection is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedirectError {
    /// Nobody says which redirections of this side may be followed.
    #[error("redirections of the side called are not followed")]
    Off,
    /// The call has been sent on often enough.
    #[error("the call was sent on {limit} times already")]
    Limit {
        /// How often it may be.
        limit: u8,
    },
    /// It was called already, or will be.
    #[error("that target is tried already")]
    Again,
    /// It is no SIP address.
    #[error("that is no SIP address")]
    Address,
    /// Its host is none of the trunks that the call may take.
    #[error("the host is none of the trunk's")]
    Host,
    /// The signalling was encrypted so far and would not be.
    #[error("the way there is not encrypted")]
    Insecure,
    /// What it names is no number.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// No route leads a fresh call of the caller to that number over that trunk.
    #[error("no route leads there")]
    Route,
    /// A list forbids the number, or a limit the call.
    #[error(transparent)]
    Forbidden(DialError),
    /// It is a user who has no telephone just now.
    #[error("no telephone of that user is registered")]
    Unregistered,
}

impl RedirectError {
    /// Its name in events and records.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Limit { .. } => "limit",
            Self::Again => "again",
            Self::Address => "address",
            Self::Host => "host",
            Self::Insecure => "insecure",
            Self::Number(_) => "number",
            Self::Route => "route",
            Self::Forbidden(_) => "forbidden",
            Self::Unregistered => "unregistered",
        }
    }

    /// Whether a rule of ours stands against the target, rather than there being nothing to call.
    pub(crate) const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Host | Self::Insecure | Self::Route | Self::Forbidden(_))
    }
}

/// What a contact names.
struct Contact {
    user: String,
    /// The place it is at; the one that named it where there is none (`tel:`).
    host: Option<Host>,
    /// What carries the signalling, where it says so.
    transport: Option<SipTransport>,
}

impl Contact {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(':')?;
        let secure = scheme.eq_ignore_ascii_case("sips");
        if scheme.eq_ignore_ascii_case("tel") {
            return Some(Self { user: rest.to_owned(), host: None, transport: None });
        }
        if !secure && !scheme.eq_ignore_ascii_case("sip") {
            return None;
        }
        // Headers of the next request (RFC 3261 section 19.1.5) are not for others to write.
        let (user, place) = rest.rsplit_once('@')?;
        let place = place.split('?').next()?;
        let (authority, parameters) = place.split_once(';').unwrap_or((place, ""));
        let host = authority.parse().ok()?;
        let mut told = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        let told = told.find(|(name, _)| name.eq_ignore_ascii_case("transport"));
        let told = told.map(|(_, value)| value.parse::<SipTransport>()).transpose().ok()?;
        let transport = match told {
            Some(SipTransport::Ws) if secure => Some(SipTransport::Wss),
            Some(SipTransport::Wss) => Some(SipTransport::Wss),
            _ if secure => Some(SipTransport::Tls),
            told => told,
        };
        Some(Self { user: user.to_owned(), host: Some(host), transport })
    }
}

/// The number that a telephone's contact names, as routes know it. Whose host it writes behind it is of no account, as with
/// REFER: a telephone's own routes decide where its numbers lead.
pub(crate) fn number_of(contact: &str) -> Result<String, RedirectError> {
    let contact = Contact::parse(contact).ok_or(RedirectError::Address)?;
    Ok(normal(&contact.user)?)
}

impl Router {
    /// Takes what the last host that was tried answered with 3xx, the best first: what of it will be called, before anything
    /// else is, and why the rest will not.
    pub(crate) fn redirect(
        &self,
        dialling: &mut Dialling,
        contacts: &[Pii<String>],
    ) -> Vec<Result<(), RedirectError>> {
        let mut ways = Vec::new();
        let follow = |contact: &Pii<String>| {
            let way = self.follow(dialling, contact.expose(), &ways)?;
            ways.push(way);
            Ok(())
        };
        let results = contacts.iter().map(follow).collect();
        // Never above the limit, which is a byte.
        dialling.followed = dialling.followed.saturating_add(u8::try_from(ways.len()).unwrap_or(u8::MAX));
        for way in ways.into_iter().rev() {
            dialling.redirected.push_front(way);
        }
        results
    }

    fn follow(&self, dialling: &Dialling, contact: &str, more: &[Way]) -> Result<Way, RedirectError> {
        let Some(last) = &dialling.last else { return Err(RedirectError::Off) };
        let limit = last.entry.config.redirects;
        if limit == 0 {
            return Err(RedirectError::Off);
        }
        let contact = Contact::parse(contact).ok_or(RedirectError::Address)?;
        let number = normal(&contact.user)?;
        let (entry, host) = match contact.host {
            None => (&last.entry, last.host.clone()),
            Some(host) => {
                let entry = self.owner(dialling, last, &host).ok_or(RedirectError::Host)?;
                let listed =
                    entry.config.hosts.iter().find(|one| (&one.name, one.port) == (&host.name, host.port));
                let usual = listed.map_or(last.host.transport, |listed| listed.transport);
                (entry, Host { transport: contact.transport.unwrap_or(usual), ..host })
            }
        };
        let encrypted = |transport| matches!(transport, SipTransport::Tls | SipTransport::Wss);
        if encrypted(last.host.transport) && !encrypted(host.transport) {
            return Err(RedirectError::Insecure);
        }
        // What is called already was let through; the carrier knows it in its own form.
        let same = number == last.number && Arc::ptr_eq(entry, &last.entry);
        let number = if same { number } else { self.fresh(dialling, entry, &number)? };
        let listed = entry.config.hosts.iter().position(|listed| *listed == host);
        let way = Way { entry: Arc::clone(entry), host, listed, number };
        let place = way.place();
        let waits = dialling.redirected.iter().chain(more).any(|other| other.place() == place);
        if waits || dialling.tried.contains(&place) {
            return Err(RedirectError::Again);
        }
        if usize::from(dialling.followed) + more.len() >= usize::from(limit) {
            return Err(RedirectError::Limit { limit });
        }
        Ok(way)
    }

    /// The trunk that a host belongs to, of those the call may take; the one that names it before others.
    fn owner<'r>(
        &'r self,
        dialling: &'r Dialling,
        last: &'r Way,
        host: &Host,
    ) -> Option<&'r Arc<TrunkEntry>> {
        let others = dialling.outlet.trunks.iter().filter_map(|name| self.entry(name));
        let claimed = host.ip().and_then(|ip| self.trunk_at(ip));
        std::iter::once(&last.entry).chain(others).find(|entry| {
            let named = entry.config.hosts.iter().any(|one| one.name == host.name);
            named || claimed.as_ref().is_some_and(|claimed| claimed.name == entry.config.name)
        })
    }

    /// What a fresh call of the same caller to `number` would dial over that trunk.
    fn fresh(&self, dialling: &Dialling, entry: &TrunkEntry, number: &str) -> Result<String, RedirectError> {
        let Dialling { outlet, number: caller, .. } = dialling;
        let made = if outlet.named {
            number.to_owned()
        } else {
            match self.inbound(&outlet.origin, number, caller) {
                Target::Trunk(fresh) if fresh.trunks.contains(&entry.config.name) => normal(&fresh.number)?,
                _ => return Err(RedirectError::Route),
            }
        };
        self.dials(&outlet.origin, &made).map_err(RedirectError::Forbidden)?;
        dialled(&entry.config, &made).map_err(RedirectError::Forbidden)
    }
}

#[cfg(test)]
mod tests;
