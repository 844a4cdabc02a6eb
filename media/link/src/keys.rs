//! SRTP suites and master keys.

use std::fmt;

/// How SRTP protects packets (RFC 4568 §6.2, RFC 7714).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128 counter mode, 80-bit tags.
    AesCm128HmacSha1_80,
    /// AES-128 counter mode, 32-bit tags on RTP, 80-bit ones on RTCP.
    AesCm128HmacSha1_32,
    /// AES-128-GCM, 128-bit tags.
    AeadAes128Gcm,
    /// AES-256-GCM, 128-bit tags.
    AeadAes256Gcm,
}

impl Suite {
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

    /// Finds a suite by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Octets of the master key and of each session's encryption key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
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

    /// Octets that protection adds to an RTP packet.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Octets that protection adds to a compound RTCP packet: tag and index.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 20,
        }
    }
}

/// A master key and its salt: secret, and so `Debug` leaves them out.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    suite: Suite,
    key: Vec<u8>,
    salt: Vec<u8>,
}

/// A key or salt has another length than its suite wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {found} octets where {} wants {wanted}", suite.name())]
pub struct KeyLengthError {
    /// `key` or `salt`.
    pub what: &'static str,
    /// The suite.
    pub suite: Suite,
    /// Octets there should be.
    pub wanted: usize,
    /// Octets there are.
    pub found: usize,
}

impl SrtpKeys {
    /// Takes a master key and its salt.
    ///
    /// # Errors
    /// If a length is not the suite's.
    pub fn new(suite: Suite, key: &[u8], salt: &[u8]) -> Result<Self, KeyLengthError> {
        for (what, wanted, found) in
            [("key", suite.key_len(), key.len()), ("salt", suite.salt_len(), salt.len())]
        {
            if wanted != found {
                return Err(KeyLengthError { what, suite, wanted, found });
            }
        }
        Ok(Self { suite, key: key.to_vec(), salt: salt.to_vec() })
    }

    /// The suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn salt(&self) -> &[u8] {
        &self.salt
    }
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKeys").field("suite", &self.suite).finish_non_exhaustive()
    }
}
