//! Checksums as publishers state them.

use std::fmt;
use std::io::{self, Read};

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A checksum and how it is computed. MD5 and SHA-1 tell a damaged file, not a forged one; they are taken because they
/// are what some publishers state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// SHA-256, 64 hexadecimal digits.
    Sha256(String),
    /// SHA-1, 40 hexadecimal digits.
    Sha1(String),
    /// MD5, 32 hexadecimal digits.
    Md5(String),
}

impl Checksum {
    /// Tells the kind by the number of digits; `None` where it is no checksum.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let digits = digits.to_ascii_lowercase();
        match digits.len() {
            64 => Some(Self::Sha256(digits)),
            40 => Some(Self::Sha1(digits)),
            32 => Some(Self::Md5(digits)),
            _ => None,
        }
    }

    /// The digits, in lower case.
    #[must_use]
    pub fn digits(&self) -> &str {
        match self {
            Self::Sha256(digits) | Self::Sha1(digits) | Self::Md5(digits) => digits,
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Sha256(_) => "sha256",
            Self::Sha1(_) => "sha1",
            Self::Md5(_) => "md5",
        };
        write!(f, "{name} {}", self.digits())
    }
}

/// What a file is, all of it read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    sha1: String,
    md5: String,
}

impl Sum {
    /// Reads all of `source`, telling `seen` how many bytes came at each step.
    pub(crate) fn of(mut source: impl Read, mut seen: impl FnMut(u64)) -> io::Result<Self> {
        let (mut sha256, mut sha1, mut md5) = (Sha256::new(), Sha1::new(), Md5::new());
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sha256.update(&buffer[..count]);
            sha1.update(&buffer[..count]);
            md5.update(&buffer[..count]);
            bytes += count as u64;
            seen(count as u64);
        }
        Ok(Self {
            bytes,
            sha256: hex(&sha256.finalize()),
            sha1: hex(&sha1.finalize()),
            md5: hex(&md5.finalize()),
        })
    }

    /// Whether the file is the one `stated`.
    pub(crate) fn is(&self, stated: &Checksum) -> bool {
        match stated {
            Checksum::Sha256(digits) => *digits == self.sha256,
            Checksum::Sha1(digits) => *digits == self.sha1,
            Checksum::Md5(digits) => *digits == self.md5,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_recognised_by_any_of_its_checksums() {
        let sum = Sum::of(&b"abc"[..], |_| {}).unwrap();
        assert_eq!(sum.bytes, 3);
        for digits in [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "A9993E364706816ABA3E25717850C26C9CD0D89D",
            "900150983cd24fb0d6963f7d28e17f72",
        ] {
            assert!(sum.is(&Checksum::parse(digits).unwrap()), "{digits}");
        }
        assert!(!sum.is(&Checksum::parse("900150983cd24fb0d6963f7d28e17f73").unwrap()));
    }

    #[test]
    fn other_lengths_and_letters_are_no_checksums() {
        for digits in ["", "abc", "zz0150983cd24fb0d6963f7d28e17f72"] {
            assert_eq!(Checksum::parse(digits), None);
        }
    }
}
