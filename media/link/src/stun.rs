//! STUN binding messages as ICE uses them (RFC 8489, RFC 8445 §7): read without copying, authenticated but for the
//! question which address a server sees.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_A442;
const INTEGRITY_VALUE: usize = 20;
/// XORed with the CRC (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554E;
/// Most attributes looked at.
const MOST_ATTRIBUTES: usize = 32;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;

/// The number that pairs a response with its request.
pub(crate) type Transaction = [u8; 12];

/// The role that an ICE agent claims, with its tie-breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Controlling(u64),
    Controlled(u64),
}

/// What kind of message it is. Other methods than Binding are none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A well-formed binding message.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) class: Class,
    pub(crate) transaction: Transaction,
    pub(crate) username: Option<&'a [u8]>,
    pub(crate) priority: Option<u32>,
    pub(crate) use_candidate: bool,
    pub(crate) claim: Option<Claim>,
    pub(crate) error: Option<u16>,
    /// The address that the answering side saw.
    pub(crate) mapped: Option<SocketAddr>,
    /// Whether an attribute must be understood and is not.
    pub(crate) unknown: bool,
    /// The message up to its integrity attribute, and that attribute's value.
    signed: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Message<'a> {
    /// Reads a datagram; `None` for anything but a whole binding message, with the right fingerprint if it has one.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, attributes) = datagram.split_first_chunk::<HEADER>()?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
        if u32::from_be_bytes([c0, c1, c2, c3]) != COOKIE
            || usize::from(u16::from_be_bytes([l0, l1])) != attributes.len()
            || !attributes.len().is_multiple_of(4)
        {
            return None;
        }
        let class = match u16::from_be_bytes([t0, t1]) {
            0x0001 => Class::Request,
            0x0011 => Class::Indication,
            0x0101 => Class::Success,
            0x0111 => Class::Error,
            _ => return None,
        };
        let mut message = Self {
            class,
            transaction,
            username: None,
            priority: None,
            use_candidate: false,
            claim: None,
            error: None,
            mapped: None,
            unknown: false,
            signed: None,
        };
        let mut at = HEADER;
        for _ in 0..MOST_ATTRIBUTES {
            let Some(&[k0, k1, l0, l1]) = datagram[at..].first_chunk() else {
                // Whole attributes only, and nothing behind the last.
                return (at == datagram.len()).then_some(message);
            };
            let (kind, len) = (u16::from_be_bytes([k0, k1]), usize::from(u16::from_be_bytes([l0, l1])));
            let value = datagram.get(at + 4..at + 4 + len)?;
            let next = at + 4 + len.next_multiple_of(4);
            if kind == FINGERPRINT {
                let crc = u32::from_be_bytes(value.try_into().ok()?);
                let right = next == datagram.len() && crc == crc32(&datagram[..at]) ^ FINGERPRINT_XOR;
                return right.then_some(message);
            }
            // What stands behind the integrity is not covered by it, and so is passed over (RFC 8489 §14.5).
            if message.signed.is_none() {
                message.attribute(kind, value, &datagram[..at])?;
            }
            at = next;
            if at > datagram.len() {
                return None;
            }
        }
        None
    }

    fn attribute(&mut self, kind: u16, value: &'a [u8], before: &'a [u8]) -> Option<()> {
        let tie = || value.try_into().ok().map(u64::from_be_bytes);
        match kind {
            USERNAME => self.username = Some(value),
            PRIORITY => self.priority = Some(u32::from_be_bytes(value.try_into().ok()?)),
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLING => self.claim = Some(Claim::Controlling(tie()?)),
            ICE_CONTROLLED => self.claim = Some(Claim::Controlled(tie()?)),
            ERROR_CODE => {
                let [_, _, class, number, ..] = value else { return None };
                self.error = Some(u16::from(class & 7) * 100 + u16::from(*number));
            }
            MESSAGE_INTEGRITY => {
                if value.len() != INTEGRITY_VALUE {
                    return None;
                }
                self.signed = Some((before, value));
            }
            XOR_MAPPED_ADDRESS => self.mapped = Some(mapped(value, &self.transaction)?),
            UNKNOWN_ATTRIBUTES | 0x0001 | 0x0014 | 0x0015 | 0x001C | 0x001D => {}
            0x0000..=0x7FFF => self.unknown = true,
            _ => {}
        }
        Some(())
    }

    /// Whether the message is signed with `password` (short-term credentials, RFC 8489 §9.1).
    pub(crate) fn is_signed_with(&self, password: &[u8]) -> bool {
        let Some((before, value)) = self.signed else {
            return false;
        };
        bool::from(integrity(password, before).ct_eq(value))
    }
}

/// Reads an XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn mapped(value: &[u8], transaction: &Transaction) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], octets) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([p0, p1]) ^ (COOKIE >> 16) as u16;
    let ip = match family {
        1 => IpAddr::V4((u32::from_be_bytes(octets.try_into().ok()?) ^ COOKIE).into()),
        2 => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(transaction);
            let octets = u128::from_be_bytes(octets.try_into().ok()?);
            IpAddr::V6((octets ^ u128::from_be_bytes(mask)).into())
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The user fragment that a connectivity check is for: the part before the colon of its USERNAME (RFC 8445 §7.2.2).
/// `None` for whatever else. Whether the check is signed its link finds out.
#[must_use]
pub fn called(datagram: &[u8]) -> Option<&str> {
    let message = Message::parse(datagram).filter(|message| message.class == Class::Request)?;
    let (name, _) = std::str::from_utf8(message.username?).ok()?.split_once(':')?;
    Some(name)
}

/// A question to a STUN server: which address do you see? (RFC 8489 §2, RFC 8445 §5.1.1.2).
///
/// The answer is not signed; whoever can forge it sees the question, and can then do no more than name an address that
/// leads nowhere: media follows checks, which are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reflection {
    transaction: Transaction,
}

impl Reflection {
    /// A question that nobody can answer who has not seen it.
    #[must_use]
    pub fn random() -> Self {
        Self { transaction: rand::random() }
    }

    /// The question as a datagram.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        Writer::new(Class::Request, self.transaction).unsigned()
    }

    /// The address in the answer; `None` if `datagram` is none.
    #[must_use]
    pub fn answer(&self, datagram: &[u8]) -> Option<SocketAddr> {
        let message = Message::parse(datagram)?;
        let ours = message.class == Class::Success && message.transaction == self.transaction;
        message.mapped.filter(|_| ours)
    }
}

/// HMAC over a message up to its integrity attribute, with the length that it has behind it.
fn integrity(password: &[u8], before: &[u8]) -> [u8; INTEGRITY_VALUE] {
    let mut hmac = <Hmac<Sha1> as Mac>::new_from_slice(password).expect("HMAC takes keys of any length");
    let len = (before.len() - HEADER + 4 + INTEGRITY_VALUE) as u16;
    hmac.update(&before[..2]);
    hmac.update(&len.to_be_bytes());
    hmac.update(&before[4..]);
    hmac.finalize().into_bytes().into()
}

/// Writes a message.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(class: Class, transaction: Transaction) -> Self {
        let kind: u16 = match class {
            Class::Request => 0x0001,
            Class::Indication => 0x0011,
            Class::Success => 0x0101,
            Class::Error => 0x0111,
        };
        let mut octets = Vec::with_capacity(160);
        octets.extend(kind.to_be_bytes());
        octets.extend([0, 0]);
        octets.extend(COOKIE.to_be_bytes());
        octets.extend(transaction);
        Self(octets)
    }

    fn put(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        let padded = self.0.len().next_multiple_of(4);
        self.0.resize(padded, 0);
        self
    }

    pub(crate) fn username(self, name: &str) -> Self {
        self.put(USERNAME, name.as_bytes())
    }

    pub(crate) fn priority(self, priority: u32) -> Self {
        self.put(PRIORITY, &priority.to_be_bytes())
    }

    pub(crate) fn use_candidate(self) -> Self {
        self.put(USE_CANDIDATE, &[])
    }

    pub(crate) fn claim(self, claim: Claim) -> Self {
        match claim {
            Claim::Controlling(tie) => self.put(ICE_CONTROLLING, &tie.to_be_bytes()),
            Claim::Controlled(tie) => self.put(ICE_CONTROLLED, &tie.to_be_bytes()),
        }
    }

    pub(crate) fn error(self, code: u16, reason: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.bytes());
        self.put(ERROR_CODE, &value)
    }

    pub(crate) fn mapped(self, address: SocketAddr) -> Self {
        let mut mask = [0; 16];
        mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
        mask[4..].copy_from_slice(&self.0[8..HEADER]);
        let port = address.port() ^ (COOKIE >> 16) as u16;
        let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
        value.extend(port.to_be_bytes());
        let masked =
            |octets: &[u8], value: &mut Vec<u8>| value.extend(octets.iter().zip(mask).map(|(a, b)| a ^ b));
        match address.ip() {
            IpAddr::V4(ip) => masked(&Ipv4Addr::octets(&ip), &mut value),
            IpAddr::V6(ip) => masked(&Ipv6Addr::octets(&ip), &mut value),
        }
        self.put(XOR_MAPPED_ADDRESS, &value)
    }

    /// Signs the message, adds its fingerprint and gives it out.
    pub(crate) fn signed(mut self, password: &[u8]) -> Vec<u8> {
        let value = integrity(password, &self.0);
        self = self.put(MESSAGE_INTEGRITY, &value);
        self.unsigned()
    }

    /// Adds the fingerprint and gives the message out.
    fn unsigned(mut self) -> Vec<u8> {
        let len = (self.0.len() - HEADER + 8) as u16;
        self.0[2..4].copy_from_slice(&len.to_be_bytes());
        let crc = crc32(&self.0) ^ FINGERPRINT_XOR;
        self.put(FINGERPRINT, &crc.to_be_bytes()).0
    }
}

/// The CRC-32 of ISO 3309, a nibble at a time: checks are few and short.
fn crc32(octets: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0u32; 16];
        let mut n = 0;
        while n < 16 {
            let (mut value, mut bit) = (n as u32, 0);
            while bit < 4 {
                value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[n] = value;
            n += 1;
        }
        table
    };
    let step = |crc: u32, nibble: u32| TABLE[((crc ^ nibble) & 15) as usize] ^ (crc >> 4);
    !octets.iter().fold(!0, |crc, octet| {
        let octet = u32::from(*octet);
        step(step(crc, octet), octet >> 4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    #[test]
    fn the_sample_request_of_rfc_5769_is_read_and_verified() {
        let request =
            hex("00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 5354554e 20746573 7420636c 69656e74
             00240004 6e0001ff 80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 59202020
             00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf");
        let message = Message::parse(&request).unwrap();
        assert_eq!(message.class, Class::Request);
        assert_eq!(message.username, Some(&b"evtj:h6vY"[..]));
        assert_eq!(message.priority, Some(0x6e00_01ff));
        assert_eq!(message.claim, Some(Claim::Controlled(0x932f_f9b1_5126_3b36)));
        assert!(message.is_signed_with(PASSWORD));
        assert!(!message.is_signed_with(b"another"));
        for at in 0..100 {
            let mut damaged = request.clone();
            damaged[at] ^= 1;
            assert!(Message::parse(&damaged).is_none(), "octet {at}");
        }
    }

    #[test]
    fn a_response_gives_the_address_as_rfc_5769_does() {
        // Section 2.2, with our own signature order: address, integrity, fingerprint.
        let transaction = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let v4 = Writer::new(Class::Success, transaction)
            .mapped("192.0.2.1:32853".parse().unwrap())
            .signed(PASSWORD);
        assert_eq!(v4[20..32], hex("00200008 0001a147 e112a643"));
        let address = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        let v6 = Writer::new(Class::Success, transaction).mapped(address).signed(PASSWORD);
        assert_eq!(v6[20..44], hex("00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9"));
        assert!(Message::parse(&v6).unwrap().is_signed_with(PASSWORD));
    }

    #[test]
    fn what_is_written_reads_back() {
        let written = Writer::new(Class::Request, [7; 12])
            .username("them:us")
            .priority(99)
            .claim(Claim::Controlling(5))
            .use_candidate()
            .signed(PASSWORD);
        let message = Message::parse(&written).unwrap();
        assert!(message.use_candidate && !message.unknown && message.is_signed_with(PASSWORD));
        assert_eq!((message.claim, message.priority), (Some(Claim::Controlling(5)), Some(99)));
        let written = Writer::new(Class::Error, [7; 12]).error(487, "Role Conflict").signed(PASSWORD);
        assert_eq!(Message::parse(&written).unwrap().error, Some(487));
    }

    #[test]
    fn the_address_that_a_server_saw_is_read_from_the_answer_alone() {
        let question = Reflection::random();
        let request = question.request();
        assert_eq!(Message::parse(&request).unwrap().transaction, question.transaction);
        for address in ["192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"] {
            let address: SocketAddr = address.parse().unwrap();
            let answer = Writer::new(Class::Success, question.transaction).mapped(address).unsigned();
            assert_eq!(question.answer(&answer), Some(address));
            assert_eq!(Reflection::random().answer(&answer), None, "the answer to another question");
        }
        assert_eq!(question.answer(&request), None);
        let failed = Writer::new(Class::Error, question.transaction).error(400, "Bad Request").unsigned();
        assert_eq!(question.answer(&failed), None);
    }

    #[test]
    fn a_check_names_whom_it_is_for() {
        let check = |name| Writer::new(Class::Request, [7; 12]).username(name).signed(PASSWORD);
        assert_eq!(called(&check("ours:theirs")), Some("ours"));
        assert_eq!(called(&check("ours")), None);
        assert_eq!(called(&Reflection::random().request()), None);
        assert_eq!(called(b"GET / HTTP/1.1\r\n\r\n"), None);
    }

    proptest! {
        #[test]
        fn no_datagram_panics(mut octets in prop::collection::vec(any::<u8>(), 0..120), whole in any::<bool>()) {
            if whole && octets.len() >= HEADER {
                let len = (octets.len() - HEADER) as u16;
                octets[..2].copy_from_slice(&[0, 1]);
                octets[2..4].copy_from_slice(&len.to_be_bytes());
                octets[4..8].copy_from_slice(&COOKIE.to_be_bytes());
            }
            if let Some(message) = Message::parse(&octets) {
                message.is_signed_with(PASSWORD);
            }
            let _ = called(&octets);
        }
    }
}
