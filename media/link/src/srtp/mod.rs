//! SRTP and SRTCP, in place and without allocation (RFC 3711, RFC 7714).
//!
//! Our own over block ciphers rather than a library's, for three reasons: a packet is worked on where it lies; nothing
//! is remembered of a source before one of its packets proved to be authentic, so that forged ones cost no memory;
//! and unencrypted RTCP, whose tag a library may forget to check, is refused.

mod cipher;
mod window;

use crate::keys::{SrtpKeys, Suite};
use cipher::Cipher;
use window::Window;

/// Most sources of one direction that are told apart.
const SOURCES: usize = 16;
/// Octets of the index behind an RTCP packet.
const INDEX: usize = 4;
/// Set in the index word: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;
/// Octets of an RTCP packet that stay readable.
const RTCP_HEAD: usize = 8;
/// Longest packet that may begin a source.
const LONGEST: usize = 2_048;

/// Why a packet was not taken or not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Not a whole packet.
    #[error("not a whole packet")]
    Malformed,
    /// The tag is wrong: forged, damaged, or of other keys.
    #[error("wrong authentication tag")]
    Tag,
    /// Seen before, or too old to tell.
    #[error("replayed or too old")]
    Replay,
    /// The buffer has no room for the tag.
    #[error("{needed} octets do not fit into {room}")]
    Room {
        /// Octets needed.
        needed: usize,
        /// Octets of the buffer.
        room: usize,
    },
    /// More sources than are told apart, or a key that has protected as many packets as it may.
    #[error("the key is used up")]
    Exhausted,
}

/// Protects what one side sends with one master key.
pub struct Sealer {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    /// SSRC and highest index so far.
    sources: Vec<(u32, u64)>,
    /// Index of the last RTCP packet, of all sources: unique is all it has to be.
    rtcp_index: u32,
}

impl Sealer {
    /// Derives the session keys.
    #[must_use]
    pub fn new(keys: &SrtpKeys) -> Self {
        Self {
            suite: keys.suite(),
            rtp: Cipher::rtp(keys),
            rtcp: Cipher::rtcp(keys),
            sources: Vec::with_capacity(SOURCES),
            rtcp_index: 0,
        }
    }

    /// Protects the RTP packet in the first `len` octets of `buffer`; returns how many it then has.
    ///
    /// # Errors
    /// If that is no RTP packet, has no room, or the key is used up.
    pub fn rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get(..len).ok_or(SrtpError::Malformed)?;
        let (head, sequence, ssrc) = rtp_head(packet)?;
        let sealed = len + self.suite.rtp_overhead();
        room(buffer, sealed)?;
        let index = self.next(ssrc, sequence)?;
        let (packet, rest) = buffer.split_at_mut(len);
        let (head, body) = packet.split_at_mut(head);
        // The tag of GCM covers the index by its nonce, the one of HMAC by the roll-over counter behind the packet.
        let roc = roll_over(index);
        let tail = if self.rtp.tag_comes_first() { &[][..] } else { &roc };
        let tag = self.rtp.seal(index, ssrc, head, body, tail);
        let tag_len = self.rtp.tag_len();
        rest[..tag_len].copy_from_slice(&tag[..tag_len]);
        Ok(sealed)
    }

    /// Protects the compound RTCP packet in the first `len` octets of `buffer`; returns how many it then has.
    ///
    /// # Errors
    /// If that is no RTCP packet, has no room, or the key is used up.
    pub fn rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get(..len).ok_or(SrtpError::Malformed)?;
        let ssrc = rtcp_ssrc(packet)?;
        let sealed = len + self.suite.rtcp_overhead();
        room(buffer, sealed)?;
        if self.rtcp_index == ENCRYPTED - 1 {
            return Err(SrtpError::Exhausted);
        }
        self.rtcp_index += 1;
        let word = (self.rtcp_index | ENCRYPTED).to_be_bytes();
        let (packet, rest) = buffer.split_at_mut(len);
        let (head, body) = packet.split_at_mut(RTCP_HEAD);
        let tag = self.rtcp.seal(u64::from(self.rtcp_index), ssrc, head, body, &word);
        let tag = &tag[..self.rtcp.tag_len()];
        let (first, second) = if self.rtcp.tag_comes_first() { (tag, &word[..]) } else { (&word[..], tag) };
        rest[..first.len()].copy_from_slice(first);
        rest[first.len()..first.len() + second.len()].copy_from_slice(second);
        Ok(sealed)
    }

    /// The 48-bit index of the next packet of `ssrc`.
    fn next(&mut self, ssrc: u32, sequence: u16) -> Result<u64, SrtpError> {
        let Some((_, top)) = self.sources.iter_mut().find(|(known, _)| *known == ssrc) else {
            // Forgetting a source would begin its key stream anew: that must never be.
            if self.sources.len() == SOURCES {
                return Err(SrtpError::Exhausted);
            }
            self.sources.push((ssrc, u64::from(sequence)));
            return Ok(u64::from(sequence));
        };
        let index = window::nearest(*top, sequence).ok_or(SrtpError::Exhausted)?;
        *top = index.max(*top);
        Ok(index)
    }
}

/// Checks and opens what one side receives with one master key.
pub struct Opener {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    /// Authenticated ones only; the one heard last comes last.
    sources: Vec<Source>,
}

struct Source {
    ssrc: u32,
    rtp: Option<Window>,
    rtcp: Option<Window>,
}

impl Opener {
    /// Derives the session keys.
    #[must_use]
    pub fn new(keys: &SrtpKeys) -> Self {
        Self {
            suite: keys.suite(),
            rtp: Cipher::rtp(keys),
            rtcp: Cipher::rtcp(keys),
            sources: Vec::with_capacity(SOURCES),
        }
    }

    /// Opens an SRTP packet in place; returns how many of its octets are the RTP packet.
    ///
    /// # Errors
    /// If it is no packet, is not authentic, or came before; its octets are then worth nothing.
    pub fn rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let end = packet.len().checked_sub(self.suite.rtp_overhead()).ok_or(SrtpError::Malformed)?;
        let (head, sequence, ssrc) = rtp_head(&packet[..end])?;
        let at = self.sources.iter().position(|source| source.ssrc == ssrc);
        let window = at.and_then(|at| self.sources[at].rtp);
        let Some(mut window) = window else {
            let index = self.first_rtp(packet, head, end, ssrc, sequence).ok_or(SrtpError::Tag)?;
            self.source(at, ssrc).rtp = Some(Window::new(index));
            return Ok(end);
        };
        // Before the roll-over counter's zero there is nothing.
        let index = window::nearest(window.top(), sequence).ok_or(SrtpError::Replay)?;
        if !window.is_new(index) {
            return Err(SrtpError::Replay);
        }
        if !self.try_rtp(packet, head, end, ssrc, index) {
            return Err(SrtpError::Tag);
        }
        window.mark(index);
        self.source(at, ssrc).rtp = Some(window);
        Ok(end)
    }

    /// Opens a compound SRTCP packet in place; returns how many of its octets are the RTCP packet.
    ///
    /// # Errors
    /// If it is no packet, is not encrypted, is not authentic, or came before; its octets are then worth nothing.
    pub fn rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let end = packet.len().checked_sub(self.suite.rtcp_overhead()).ok_or(SrtpError::Malformed)?;
        let ssrc = rtcp_ssrc(&packet[..end])?;
        let (body, rest) = packet.split_at_mut(end);
        let tag_len = self.rtcp.tag_len();
        let (word, tag) = if self.rtcp.tag_comes_first() {
            let (tag, word) = rest.split_at(tag_len);
            (word, tag)
        } else {
            rest.split_at(INDEX)
        };
        let word = <[u8; INDEX]>::try_from(word).map_err(|_| SrtpError::Malformed)?;
        let number = u32::from_be_bytes(word);
        if number & ENCRYPTED == 0 {
            return Err(SrtpError::Malformed);
        }
        let index = u64::from(number & !ENCRYPTED);
        let at = self.sources.iter().position(|source| source.ssrc == ssrc);
        let window = at.and_then(|at| self.sources[at].rtcp);
        if window.is_some_and(|window| !window.is_new(index)) {
            return Err(SrtpError::Replay);
        }
        let (head, body) = body.split_at_mut(RTCP_HEAD);
        if !self.rtcp.open(index, ssrc, head, body, &word, tag) {
            return Err(SrtpError::Tag);
        }
        let mut window = window.unwrap_or(Window::new(index));
        window.mark(index);
        self.source(at, ssrc).rtcp = Some(window);
        Ok(end)
    }

    /// Opens the first packet of a source; returns its index.
    fn first_rtp(&self, packet: &mut [u8], head: usize, end: usize, ssrc: u32, sequence: u16) -> Option<u64> {
        let first = u64::from(sequence);
        let mut copy = [0; LONGEST];
        let copy = copy.get_mut(..packet.len())?;
        copy.copy_from_slice(packet);
        if self.try_rtp(packet, head, end, ssrc, first) {
            return Some(first);
        }
        // The sender may have begun shortly before a roll-over, and its first packets may be lost.
        packet.copy_from_slice(copy);
        let second = first + 0x1_0000;
        (sequence < 0x8000 && self.try_rtp(packet, head, end, ssrc, second)).then_some(second)
    }

    fn try_rtp(&self, packet: &mut [u8], head: usize, end: usize, ssrc: u32, index: u64) -> bool {
        let (packet, tag) = packet.split_at_mut(end);
        let (head, body) = packet.split_at_mut(head);
        let roc = roll_over(index);
        let tail = if self.rtp.tag_comes_first() { &[][..] } else { &roc };
        self.rtp.open(index, ssrc, head, body, tail, tag)
    }

    /// The source at `at`, or a new one; the one unheard for longest makes room.
    fn source(&mut self, at: Option<usize>, ssrc: u32) -> &mut Source {
        match at {
            Some(at) => self.sources[at..].rotate_left(1),
            None => {
                if self.sources.len() == SOURCES {
                    self.sources.remove(0);
                }
                self.sources.push(Source { ssrc, rtp: None, rtcp: None });
            }
        }
        self.sources.last_mut().expect("one was pushed or rotated to the end")
    }
}

/// Octets of the header with contributing sources and extension, sequence number and SSRC.
fn rtp_head(packet: &[u8]) -> Result<(usize, u16, u32), SrtpError> {
    let Some(&[flags, _, s0, s1, _, _, _, _, c0, c1, c2, c3]) = packet.first_chunk::<12>() else {
        return Err(SrtpError::Malformed);
    };
    if flags >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    let mut head = 12 + usize::from(flags & 0x0f) * 4;
    if flags & 0x10 != 0 {
        let Some(&[_, _, l0, l1]) = packet.get(head..).and_then(|rest| rest.first_chunk()) else {
            return Err(SrtpError::Malformed);
        };
        head += 4 + usize::from(u16::from_be_bytes([l0, l1])) * 4;
    }
    if packet.len() < head {
        return Err(SrtpError::Malformed);
    }
    Ok((head, u16::from_be_bytes([s0, s1]), u32::from_be_bytes([c0, c1, c2, c3])))
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    match packet.first_chunk::<RTCP_HEAD>() {
        Some(&[flags, _, _, _, c0, c1, c2, c3]) if flags >> 6 == 2 => {
            Ok(u32::from_be_bytes([c0, c1, c2, c3]))
        }
        _ => Err(SrtpError::Malformed),
    }
}

/// The roll-over counter as it is authenticated.
fn roll_over(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

fn room(buffer: &[u8], needed: usize) -> Result<(), SrtpError> {
    let room = buffer.len();
    if needed > room { Err(SrtpError::Room { needed, room }) } else { Ok(()) }
}
