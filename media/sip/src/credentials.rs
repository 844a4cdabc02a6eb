//! Answering digest challenges (RFC 7616, RFC 8760): pure.

use std::fmt;

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};

/// Longest challenge read.
const LONGEST: usize = 2_048;

/// A name and a password for another side's challenges. The password shows nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// Credentials for whichever realm asks.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha512_256,
    Sha256,
}

impl Algorithm {
    fn read(name: &str) -> Option<(Self, bool)> {
        let lower = name.to_ascii_lowercase();
        let (base, session) =
            lower.strip_suffix("-sess").map_or((lower.as_str(), false), |base| (base, true));
        let algorithm = match base {
            "md5" => Self::Md5,
            "sha-256" => Self::Sha256,
            "sha-512-256" => Self::Sha512_256,
            _ => return None,
        };
        Some((algorithm, session))
    }

    const fn name(self, session: bool) -> &'static str {
        match (self, session) {
            (Self::Md5, false) => "MD5",
            (Self::Md5, true) => "MD5-sess",
            (Self::Sha256, false) => "SHA-256",
            (Self::Sha256, true) => "SHA-256-sess",
            (Self::Sha512_256, false) => "SHA-512-256",
            (Self::Sha512_256, true) => "SHA-512-256-sess",
        }
    }

    fn hash(self, text: &str) -> String {
        fn hex(bytes: &[u8]) -> String {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
            Self::Sha512_256 => hex(&Sha512_256::digest(text)),
        }
    }
}

/// One `Digest` challenge of a WWW-Authenticate or Proxy-Authenticate header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) nonce: String,
    pub(crate) stale: bool,
    opaque: Option<String>,
    algorithm: Algorithm,
    session: bool,
    algorithm_given: bool,
    qop_auth: bool,
}

impl Challenge {
    /// Reads a header value. `None` if it is no digest challenge this side can answer.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        if value.len() > LONGEST || value.contains(|c: char| c.is_control()) {
            return None;
        }
        let value = value.trim();
        let (scheme, rest) = value.split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let (mut realm, mut nonce, mut opaque, mut algorithm, mut qop) = (None, None, None, None, None);
        let mut stale = false;
        for (name, value) in parameters(rest)? {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "nonce" => nonce = Some(value),
                "opaque" => opaque = Some(value),
                "algorithm" => algorithm = Some(value),
                "qop" => qop = Some(value),
                "stale" => stale = value.eq_ignore_ascii_case("true"),
                _ => {}
            }
        }
        let algorithm_given = algorithm.is_some();
        let (algorithm, session) = Algorithm::read(algorithm.as_deref().unwrap_or("MD5"))?;
        let qop_auth = match &qop {
            None => false,
            Some(offered) if offered.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")) => true,
            // auth-int alone is not spoken here.
            Some(_) => return None,
        };
        if session && !qop_auth {
            return None;
        }
        Some(Self {
            realm: realm?,
            nonce: nonce?,
            stale,
            opaque,
            algorithm,
            session,
            algorithm_given,
            qop_auth,
        })
    }

    /// The strongest of several challenges (RFC 8760 §2.4: the first one that is understood, topmost first; servers
    /// that list MD5 first are common, so strength decides here).
    pub(crate) fn strongest<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        values.filter_map(Self::parse).max_by_key(|challenge| challenge.algorithm)
    }

    /// The value of the Authorization or Proxy-Authorization header that answers it. `count` is how often this nonce
    /// was used, from 1; `cnonce` is of this side's choosing.
    pub(crate) fn answer(
        &self,
        credentials: &Credentials,
        method: &str,
        uri: &str,
        cnonce: &str,
        count: u32,
    ) -> String {
        let Credentials { username, password } = credentials;
        let Self { realm, nonce, algorithm, .. } = self;
        let mut secret = algorithm.hash(&format!("{username}:{realm}:{password}"));
        if self.session {
            secret = algorithm.hash(&format!("{secret}:{nonce}:{cnonce}"));
        }
        let what = algorithm.hash(&format!("{method}:{uri}"));
        let response = if self.qop_auth {
            algorithm.hash(&format!("{secret}:{nonce}:{count:08x}:{cnonce}:auth:{what}"))
        } else {
            algorithm.hash(&format!("{secret}:{nonce}:{what}"))
        };
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri=\"{uri}\", response=\"{response}\"",
            quote(username),
            quote(realm),
            quote(nonce)
        );
        if self.algorithm_given {
            value.push_str(", algorithm=");
            value.push_str(algorithm.name(self.session));
        }
        if self.qop_auth {
            value.push_str(&format!(", qop=auth, nc={count:08x}, cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(", opaque=");
            value.push_str(&quote(opaque));
        }
        value
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// `name=value` and `name="value"`, parted by commas.
fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| *c == ',' || c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Some(found);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && *c != ',') {
            name.push(c);
        }
        chars.next_if_eq(&'=')?;
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => value.push(chars.next()?),
                    c => value.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                value.push(c);
            }
        }
        found.push((name.trim().to_owned(), value.trim().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7616 §3.9.1, with their method and address.
    #[test]
    fn the_examples_of_the_rfc_come_out() {
        let credentials = Credentials::new("Mufasa", "Circle of Life");
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = Challenge::parse(&format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"{nonce}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            ))
            .unwrap();
            let answer = challenge.answer(&credentials, "GET", "/dir/index.html", cnonce, 1);
            assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
            assert!(answer.contains("nc=00000001") && answer.contains("opaque=\"FQhe"), "{answer}");
        }
    }

    /// RFC 2617 without qop, as old servers ask.
    #[test]
    fn an_old_challenge_is_answered_the_old_way() {
        let challenge = Challenge::parse("digest realm=\"r\",nonce=n1").unwrap();
        let answer = challenge.answer(&Credentials::new("u", "p"), "INVITE", "sip:a@b", "c", 1);
        let secret = Algorithm::Md5.hash("u:r:p");
        let expected = Algorithm::Md5.hash(&format!("{secret}:n1:{}", Algorithm::Md5.hash("INVITE:sip:a@b")));
        assert!(answer.contains(&expected) && !answer.contains("qop") && !answer.contains("algorithm"));
    }

    #[test]
    fn the_strongest_challenge_is_taken() {
        let of = |algorithm| format!("Digest realm=\"r\", nonce=\"n\", algorithm={algorithm}, qop=\"auth\"");
        let values = [of("MD5"), of("SHA-256"), of("AKAv1-MD5"), "Basic realm=\"r\"".to_owned()];
        assert_eq!(
            Challenge::strongest(values.iter().map(String::as_str)).unwrap().algorithm,
            Algorithm::Sha256
        );
        assert_eq!(Challenge::strongest(["Basic realm=\"r\""].into_iter()), None);
    }

    #[test]
    fn broken_challenges_are_refused() {
        for bad in [
            "",
            "Digest",
            "Digest realm=\"x",
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest realm=r, nonce=n, qop=\"auth-int\"",
            "Digest realm=r, nonce=n\r\nX: y",
            "Digest realm",
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_password_shows_nowhere() {
        let shown = format!("{:?}", Credentials::new("u", "hunter2"));
        assert!(!shown.contains("hunter2"));
    }
}
