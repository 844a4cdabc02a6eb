//! What a description says about keys: SDES (RFC 4568, RFC 7714 §14) and DTLS-SRTP (RFC 5763, RFC 8122).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rand::RngCore;

/// An SRTP protection of RFC 4568 §6.2 or RFC 7714.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpSuite {
    /// AES-128 counter mode, 80-bit tag.
    AesCm128HmacSha1_80,
    /// AES-128 counter mode, 32-bit tag on RTP, 80-bit on RTCP.
    AesCm128HmacSha1_32,
    /// AES-128-GCM, 128-bit tag.
    AeadAes128Gcm,
    /// AES-256-GCM, 128-bit tag.
    AeadAes256Gcm,
}

impl SrtpSuite {
    /// Every suite, best first.
    pub const ALL: [Self; 4] =
        [Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1_80, Self::AesCm128HmacSha1_32];

    /// Name as registered for `a=crypto`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Octets of the master key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            _ => 16,
        }
    }

    /// Octets of the master salt.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
        }
    }
}

/// A master key with its salt, for what one side sends.
#[derive(Clone, PartialEq, Eq)]
pub struct SdesKey {
    suite: SrtpSuite,
    octets: Vec<u8>,
}

impl SdesKey {
    /// Draws a new key.
    #[must_use]
    pub fn random(suite: SrtpSuite) -> Self {
        let mut octets = vec![0; suite.key_len() + suite.salt_len()];
        rand::rng().fill_bytes(&mut octets);
        Self { suite, octets }
    }

    /// Takes a key and its salt; `None` if either has another length than the suite wants.
    #[must_use]
    pub fn new(suite: SrtpSuite, key: &[u8], salt: &[u8]) -> Option<Self> {
        (key.len() == suite.key_len() && salt.len() == suite.salt_len())
            .then(|| Self { suite, octets: [key, salt].concat() })
    }

    /// The protection that the key is for.
    #[must_use]
    pub fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// The master key: secret.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.octets[..self.suite.key_len()]
    }

    /// The master salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.octets[self.suite.key_len()..]
    }

    /// The value of an `a=crypto` line.
    pub(super) fn write(&self, tag: u32) -> String {
        format!("{tag} {} inline:{}", self.suite.name(), STANDARD.encode(&self.octets))
    }
}

impl fmt::Debug for SdesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdesKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

/// One `a=crypto` line of the far side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crypto {
    pub(super) tag: u32,
    /// The key, or why this line cannot be used.
    pub(super) key: Result<SdesKey, &'static str>,
}

impl Crypto {
    /// Reads the value of an `a=crypto`; the error says what breaks the grammar.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = text.split_ascii_whitespace();
        let tag = parts
            .next()
            .filter(|tag| tag.len() <= 9 && tag.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|tag| tag.parse().ok())
            .ok_or("crypto tag")?;
        let suite = parts.next().ok_or("crypto without a suite")?;
        let parameters = parts.next().ok_or("crypto without a key")?;
        let Some(suite) = SrtpSuite::ALL.into_iter().find(|known| known.name() == suite) else {
            return Ok(Self { tag, key: Err("unknown suite") });
        };
        if parameters.contains(';') {
            return Ok(Self { tag, key: Err("several master keys") });
        }
        let inline = parameters.strip_prefix("inline:").ok_or("crypto key method")?;
        let mut fields = inline.split('|');
        let encoded = fields.next().unwrap_or_default().trim_end_matches('=');
        let octets = STANDARD_NO_PAD.decode(encoded).map_err(|_| "crypto key encoding")?;
        if octets.len() != suite.key_len() + suite.salt_len() {
            return Err("crypto key length");
        }
        for field in fields {
            if field.contains(':') {
                return Ok(Self { tag, key: Err("a master key identifier (MKI)") });
            }
            lifetime(field).ok_or("crypto key lifetime")?;
        }
        // A window size hint changes nothing for us; what would switch protection off, or change it, is not followed.
        if parts.any(|parameter| !parameter.starts_with("WSH=")) {
            return Ok(Self { tag, key: Err("session parameters") });
        }
        Ok(Self { tag, key: Ok(SdesKey { suite, octets }) })
    }
}

/// Packets a key may be used for, as `2^n` or a number: at most 2^48 (RFC 3711 §9.2).
fn lifetime(text: &str) -> Option<u64> {
    let digits =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let packets = match text.strip_prefix("2^") {
        Some(power) => 1u64.checked_shl(u32::try_from(digits(power)?).ok()?)?,
        None => digits(text)?,
    };
    (1..=1 << 48).contains(&packets).then_some(packets)
}

/// SHA-256 over a certificate's DER encoding (RFC 8122 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads `sha-256 AA:BB:…`. The outer `None` is a broken line, the inner one another hash.
    pub(super) fn parse(text: &str) -> Option<Option<Self>> {
        let (hash, digest) = text.trim().split_once(' ')?;
        let octets: Vec<u8> = digest
            .trim()
            .split(':')
            .map(|pair| {
                (pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))
                    .then(|| u8::from_str_radix(pair, 16).ok())
                    .flatten()
            })
            .collect::<Option<_>>()?;
        if !hash.eq_ignore_ascii_case("sha-256") {
            return Some(None);
        }
        Some(Some(Self(octets.try_into().ok()?)))
    }
}

impl fmt::Display for Fingerprint {
    /// As in `a=fingerprint`: `sha-256 AA:BB:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha-256 ")?;
        for (index, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Who opens the DTLS association (RFC 4145 §4, RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// This side is the DTLS client: it sends the first message.
    Active,
    /// This side is the DTLS server: it waits.
    Passive,
}

impl Setup {
    pub(super) const fn attribute(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }

    pub(super) const fn reversed(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive => Self::Active,
        }
    }
}

/// `a=setup` as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetupOffer {
    Is(Setup),
    ActPass,
    HoldConn,
}

impl SetupOffer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.trim() {
            "active" => Self::Is(Setup::Active),
            "passive" => Self::Is(Setup::Passive),
            "actpass" => Self::ActPass,
            "holdconn" => Self::HoldConn,
            _ => return None,
        })
    }
}

/// Our end of DTLS-SRTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalDtls {
    /// Of the certificate that this side presents.
    pub fingerprint: Fingerprint,
    /// The role taken where the far side leaves the choice.
    pub role: Setup,
    /// Whether the role is settled by an association that stands: later offers and answers then repeat it
    /// (RFC 8842 §5.2).
    pub settled: bool,
}

/// Which protections of media this side agrees to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// Whether plain RTP may be agreed on.
    pub plain: bool,
    /// Our key for each SDES suite, best first; empty: no SDES. They stay the same for the whole call.
    pub sdes: Vec<SdesKey>,
    /// Our end of DTLS-SRTP; `None`: not taken.
    pub dtls: Option<LocalDtls>,
}

impl Security {
    /// Plain RTP only.
    #[must_use]
    pub const fn plain() -> Self {
        Self { plain: true, sdes: Vec::new(), dtls: None }
    }

    /// SDES with new keys for AES_CM_128_HMAC_SHA1_80 and _32, the two that phones have; offered as `RTP/SAVP` where
    /// `required`, else as `RTP/AVP` with `a=crypto` (best effort).
    #[must_use]
    pub fn sdes(required: bool) -> Self {
        Self::sdes_of(&[SrtpSuite::AesCm128HmacSha1_80, SrtpSuite::AesCm128HmacSha1_32], required)
    }

    /// SDES with new keys for these suites, best first.
    #[must_use]
    pub fn sdes_of(suites: &[SrtpSuite], required: bool) -> Self {
        Self { plain: !required, sdes: suites.iter().copied().map(SdesKey::random).collect(), dtls: None }
    }

    /// DTLS-SRTP only; passive where the far side leaves the choice, so that its first packet opens its NAT.
    #[must_use]
    pub const fn dtls(fingerprint: Fingerprint) -> Self {
        let dtls = LocalDtls { fingerprint, role: Setup::Passive, settled: false };
        Self { plain: false, sdes: Vec::new(), dtls: Some(dtls) }
    }

    /// Answers whatever is offered; its own offers are for DTLS-SRTP.
    #[must_use]
    pub fn any(fingerprint: Fingerprint) -> Self {
        Self { plain: true, sdes: Self::sdes(false).sdes, dtls: Self::dtls(fingerprint).dtls }
    }
}

impl Default for Security {
    fn default() -> Self {
        Self::plain()
    }
}

/// The protection agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgreedSecurity {
    /// Plain RTP.
    Plain,
    /// SRTP with keys exchanged in the descriptions. Both keys are of one suite.
    Sdes {
        /// What we send is protected with this.
        ours: SdesKey,
        /// What we receive is.
        theirs: SdesKey,
    },
    /// SRTP with keys from a DTLS handshake on the media path.
    Dtls {
        /// What the far side's certificate must hash to.
        fingerprint: Fingerprint,
        /// Our role.
        role: Setup,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

    #[test]
    fn a_key_of_the_rfc_reads_and_writes() {
        // RFC 4568 section 6.1, with its lifetime.
        let crypto = Crypto::parse(&format!("{LINE}|2^20 WSH=64")).unwrap();
        let key = crypto.key.unwrap();
        assert_eq!(
            (crypto.tag, key.suite(), key.key().len(), key.salt().len()),
            (1, SrtpSuite::AesCm128HmacSha1_80, 16, 14)
        );
        assert_eq!(key.write(1), LINE);
        assert!(!format!("{key:?}").contains("PS1u"));
    }

    #[test]
    fn what_cannot_be_honoured_is_told_apart_from_what_cannot_be_read() {
        for (text, why) in [
            (format!("{LINE}|2^20|1:4"), "MKI"),
            (format!("{LINE}|1:4"), "MKI"),
            (format!("{LINE};inline:x"), "several"),
            (format!("{LINE} UNENCRYPTED_SRTP"), "session"),
            (format!("{LINE} KDR=1"), "session"),
            ("2 F8_128_HMAC_SHA1_80 inline:x".to_owned(), "suite"),
        ] {
            assert!(Crypto::parse(&text).unwrap().key.unwrap_err().contains(why), "{text}");
        }
        for text in [
            "",
            "x A inline:",
            "1",
            "1 AES_CM_128_HMAC_SHA1_80",
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "1 AES_CM_128_HMAC_SHA1_80 outline:AAAA",
            "9999999999 A b",
            &format!("{LINE}|2^49"),
            &format!("{LINE}|2^99999999999"),
            &format!("{LINE}|0"),
            &format!("{LINE}|x"),
        ] {
            assert!(Crypto::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_whole_sha_256_is_a_fingerprint() {
        let print = Fingerprint([0xA5; 32]);
        assert_eq!(Fingerprint::parse(&print.to_string()), Some(Some(print)));
        assert_eq!(Fingerprint::parse(&print.to_string().to_lowercase()), Some(Some(print)));
        assert_eq!(Fingerprint::parse("sha-1 00:11"), Some(None));
        for text in ["", "sha-256", "sha-256 A5:A5", "sha-256 zz", "sha-256 +5:A5"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
