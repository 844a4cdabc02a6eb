//! Digest authentication, the server's side (RFC 7616, RFC 8760): challenges that cost no memory, and a bounded
//! store of the nonces in use against replay. Pure: time enters as an argument.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use md5::Md5;
use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::access::Secret;

/// A hash that challenges are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestAlgorithm {
    /// SHA-256 (RFC 8760).
    Sha256,
    /// MD5, for phones that know nothing else.
    Md5,
}

impl DigestAlgorithm {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Md5].into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// The hash of parts joined by colons, in lower-case hexadecimal.
    fn hash(self, parts: &[&str]) -> String {
        match self {
            Self::Sha256 => joined::<Sha256>(parts),
            Self::Md5 => joined::<Md5>(parts),
        }
    }
}

fn joined<D: Digest>(parts: &[&str]) -> String {
    let mut hasher = D::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hasher.update(b":");
        }
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an Authorization header proves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It is this user.
    Valid { user: String },
    /// There is none for this realm; a challenge has to go out. `stale` says that only the nonce was bad.
    Missing { stale: bool },
    /// The nonce is ours and fresh, and the answer is wrong: a guess.
    Wrong { user: String },
    /// The header cannot be read, or speaks of another request.
    Malformed(&'static str),
}

/// A request as digests see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) source: IpAddr,
    /// The same at each retransmission, different for every other request.
    pub(crate) fingerprint: u64,
}

/// Challenges and checks.
pub(crate) struct Authenticator {
    algorithms: Vec<DigestAlgorithm>,
    lifetime: Duration,
    capacity: usize,
    key: [u8; 32],
    used: Mutex<Used>,
}

/// Nonces that let somebody in, until they expire.
#[derive(Default)]
struct Used {
    by_id: HashMap<[u8; NONCE_ID], Counts>,
    by_age: BTreeMap<(u64, [u8; NONCE_ID]), ()>,
    /// Nonces made until then are worth nothing: some of them had to be forgotten.
    floor: Option<u64>,
}

/// The nonce counts seen of one nonce: a window of 64 below the highest (RFC 7616 §3.4), since datagrams overtake
/// each other.
#[derive(Default)]
struct Counts {
    highest: u32,
    seen: u64,
    /// The latest counts and what came with them, so that a retransmission is told from a replay.
    recent: [(u32, u64); 4],
    next: usize,
}

const NONCE_TIME: usize = 8;
const NONCE_ID: usize = 12;
const NONCE_MAC: usize = 16;
/// Longest user name taken: it is hashed and counted.
const MAX_NAME: usize = 128;

impl Authenticator {
    /// `algorithms` in order of preference; nonces live for `lifetime`, and at most `capacity` used ones are kept.
    pub(crate) fn new(algorithms: Vec<DigestAlgorithm>, lifetime: Duration, capacity: usize) -> Self {
        Self {
            algorithms,
            lifetime,
            capacity: capacity.max(1),
            key: rand::rng().random(),
            used: Mutex::default(),
        }
    }

    /// Values of the WWW-Authenticate headers of a challenge, one an algorithm.
    pub(crate) fn challenge(&self, now: Duration, realm: &str, source: IpAddr, stale: bool) -> Vec<String> {
        self.challenge_by(&self.algorithms, now, realm, source, stale)
    }

    /// The same for a telephone in a web page. The libraries there (SIP.js 0.21, JsSIP 3.13) know MD5 alone, and read the
    /// last challenge alone where RFC 8760 section 2.4 has them choose. So it is MD5 by itself, where that can be asked for.
    pub(crate) fn challenge_page(
        &self,
        now: Duration,
        realm: &str,
        source: IpAddr,
        stale: bool,
    ) -> Vec<String> {
        let md5 = self.algorithms.contains(&DigestAlgorithm::Md5).then_some(&[DigestAlgorithm::Md5][..]);
        self.challenge_by(md5.unwrap_or(&self.algorithms), now, realm, source, stale)
    }

    fn challenge_by(
        &self,
        algorithms: &[DigestAlgorithm],
        now: Duration,
        realm: &str,
        source: IpAddr,
        stale: bool,
    ) -> Vec<String> {
        let realm = realm.replace(['"', '\\'], "");
        let stale = if stale { ", stale=true" } else { "" };
        algorithms
            .iter()
            .map(|algorithm| {
                let nonce = self.nonce(now, source);
                let name = algorithm.name();
                format!(r#"Digest realm="{realm}", nonce="{nonce}", algorithm={name}, qop="auth"{stale}"#)
            })
            .collect()
    }

    /// Checks the Authorization headers of a request.
    pub(crate) fn check<'h>(
        &self,
        now: Duration,
        realm: &str,
        request: &Request<'_>,
        headers: impl Iterator<Item = &'h str>,
        secret: impl Fn(&str) -> Option<Secret>,
    ) -> Proof {
        let mut given = None;
        for header in headers {
            let Some(fields) =
                header.trim().split_at_checked(7).filter(|(s, _)| s.eq_ignore_ascii_case("digest "))
            else {
                continue;
            };
            let Some(fields) = parameters(fields.1) else {
                return Proof::Malformed("bad authorization header");
            };
            if fields.get("realm").is_some_and(|r| r == realm) {
                given = Some(fields);
                break;
            }
        }
        let Some(fields) = given else { return Proof::Missing { stale: false } };
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let algorithm = if field("algorithm").is_empty() { "MD5" } else { field("algorithm") };
        let Some(algorithm) = DigestAlgorithm::named(algorithm).filter(|a| self.algorithms.contains(a))
        else {
            return Proof::Missing { stale: false };
        };
        let user = field("username");
        if user.is_empty() || user.len() > MAX_NAME || user.contains(':') {
            return Proof::Malformed("bad user name in authorization");
        }
        let nc = field("nc");
        let count = (nc.len() == 8).then(|| u32::from_str_radix(nc, 16).ok()).flatten().filter(|n| *n > 0);
        let (Some(count), true, false) =
            (count, field("qop").eq_ignore_ascii_case("auth"), field("cnonce").is_empty())
        else {
            return Proof::Malformed("authorization without qop=auth, nc and cnonce");
        };
        if !same_resource(field("uri"), request.uri) {
            return Proof::Malformed("authorization is for another uri");
        }
        // Before the answer is looked at: whoever never got a challenge from here learns nothing about passwords,
        // and a forged source address cannot make somebody else look like a guesser.
        let Some((made, id)) = self.minted(field("nonce"), request.source) else {
            return Proof::Missing { stale: true };
        };
        let known = secret(user);
        let ha1 = match &known {
            Some(Secret::Password(password)) => Some(algorithm.hash(&[user, realm, password])),
            Some(Secret::Ha1 { md5, sha256 }) => match algorithm {
                DigestAlgorithm::Md5 => md5.as_ref().map(|h| h.to_ascii_lowercase()),
                DigestAlgorithm::Sha256 => sha256.as_ref().map(|h| h.to_ascii_lowercase()),
            },
            None => None,
        };
        let exists = ha1.is_some();
        // A user who does not exist takes as long as one who does.
        let ha1 = ha1.unwrap_or_else(|| algorithm.hash(&[user, realm, ""]));
        let ha2 = algorithm.hash(&[request.method, field("uri")]);
        let expected = algorithm.hash(&[&ha1, field("nonce"), nc, field("cnonce"), field("qop"), &ha2]);
        let response = field("response").to_ascii_lowercase();
        if !(bool::from(expected.as_bytes().ct_eq(response.as_bytes())) && exists) {
            return Proof::Wrong { user: user.to_owned() };
        }
        if self.count(now, made, id, count, request.fingerprint) {
            Proof::Valid { user: user.to_owned() }
        } else {
            Proof::Missing { stale: true }
        }
    }

    /// How many used nonces are kept.
    #[cfg(test)]
    fn kept(&self) -> usize {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).by_id.len()
    }

    fn nonce(&self, now: Duration, source: IpAddr) -> String {
        let mut bytes = [0; NONCE_TIME + NONCE_ID + NONCE_MAC];
        let made = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        bytes[..NONCE_TIME].copy_from_slice(&made.to_be_bytes());
        rand::rng().fill(&mut bytes[NONCE_TIME..NONCE_TIME + NONCE_ID]);
        let mac = self.mac(&bytes[..NONCE_TIME + NONCE_ID], source);
        bytes[NONCE_TIME + NONCE_ID..].copy_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// When a nonce was made and its id, if it was made here for this source.
    fn minted(&self, nonce: &str, source: IpAddr) -> Option<(u64, [u8; NONCE_ID])> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?;
        let (head, mac) = bytes.split_at_checked(NONCE_TIME + NONCE_ID)?;
        if !bool::from(self.mac(head, source).ct_eq(mac)) {
            return None;
        }
        let (time, id) = head.split_at(NONCE_TIME);
        Some((u64::from_be_bytes(time.try_into().ok()?), id.try_into().ok()?))
    }

    fn mac(&self, head: &[u8], source: IpAddr) -> [u8; NONCE_MAC] {
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(head);
        match source {
            IpAddr::V4(address) => mac.update(&address.octets()),
            IpAddr::V6(address) => mac.update(&address.octets()),
        }
        let mut cut = [0; NONCE_MAC];
        cut.copy_from_slice(&mac.finalize().into_bytes()[..NONCE_MAC]);
        cut
    }

    /// Whether this use of a nonce is the first, or a retransmission of it.
    fn count(&self, now: Duration, made: u64, id: [u8; NONCE_ID], count: u32, fingerprint: u64) -> bool {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let oldest = now.saturating_sub(u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX));
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((&(age, old), ())) = used.by_age.first_key_value()
            && age < oldest
        {
            used.by_age.remove(&(age, old));
            used.by_id.remove(&old);
        }
        if made < oldest || used.floor.is_some_and(|floor| made <= floor) {
            return false;
        }
        if !used.by_id.contains_key(&id) {
            if used.by_id.len() >= self.capacity
                && let Some(((age, old), ())) = used.by_age.pop_first()
            {
                used.by_id.remove(&old);
                used.floor = Some(age);
                if made <= age {
                    return false;
                }
            }
            used.by_age.insert((made, id), ());
        }
        used.by_id.entry(id).or_default().take(count, fingerprint)
    }
}

impl Counts {
    fn take(&mut self, count: u32, fingerprint: u64) -> bool {
        if self.recent.contains(&(count, fingerprint)) {
            return true;
        }
        let fresh = if count > self.highest {
            let ahead = count - self.highest;
            self.seen = if ahead >= 64 { 0 } else { self.seen << ahead };
            self.highest = count;
            true
        } else {
            let behind = self.highest - count;
            behind < 64 && self.seen & (1 << behind) == 0
        };
        if fresh {
            self.seen |= 1 << (self.highest - count);
            self.recent[self.next] = (count, fingerprint);
            self.next = (self.next + 1) % self.recent.len();
        }
        fresh
    }
}

/// A number that retransmissions share.
pub(crate) fn fingerprint(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// Phones leave parameters away or differ in case; who and where have to agree.
fn same_resource(given: &str, wanted: &str) -> bool {
    let core = |uri: &str| uri.split([';', '?']).next().unwrap_or_default().to_ascii_lowercase();
    !given.is_empty() && (given == wanted || core(given) == core(wanted))
}

/// `name=value` pairs with commas between, values quoted or not. `None` where that grammar is broken or a name stands
/// twice.
pub(crate) fn parameters(text: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '"' || c == ',') {
            return None;
        }
        let after = after.trim_start();
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at + 1,
                    (_, '\\') => text.push(chars.next()?.1),
                    (_, c) => text.push(c),
                }
            };
            value = text;
            rest = quoted[end..].trim_start();
        } else {
            let end = after.find(',').unwrap_or(after.len());
            value = after[..end].trim().to_owned();
            rest = &after[end..];
        }
        if fields.insert(name, value).is_some() {
            return None;
        }
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(fields)
}

#[cfg(test)]
mod tests;
