//! Symmetric RTP with a lock: media is sent to, and taken from, the one address that really sends.
//!
//! Behind a NAT the address in SDP is often not the one packets come from, so the first consistent sender is
//! believed; once it is, strangers are refused, so that nobody can speak into a call by guessing its port.

use std::net::SocketAddr;

use antiphon_media_frame::{MediaTime, Span};

use crate::packet::RtpPacket;

/// How quickly a source is believed and how long it may be silent before another may replace it.
#[derive(Clone, Copy, Debug)]
pub struct SourceConfig {
    /// Consecutive packets of one address and SSRC that lock it, at least 1.
    pub consecutive: u32,
    /// Silence on the locked source after which another may take over.
    pub silence: Span,
}

impl Default for SourceConfig {
    fn default() -> Self {
        // Three packets are RFC 3550's probation (A.1) plus one; at 20 ms that is 60 ms of a stranger's sound lost.
        Self { consecutive: 3, silence: Span::from_secs(5) }
    }
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the call.
    Accepted,
    /// Its source is not believed yet: do not play it.
    Probing,
    /// It comes from a stranger: drop it.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Locked {
    from: SocketAddr,
    ssrc: u32,
    heard: MediaTime,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    run: u32,
}

/// Learns which address and SSRC speak for the far side and holds on to them.
#[derive(Clone, Debug)]
pub struct SourceLock {
    config: SourceConfig,
    signalled: Option<SocketAddr>,
    locked: Option<Locked>,
    candidate: Option<Candidate>,
    /// When the signalled address was last heard while nothing was locked.
    signalled_heard: Option<MediaTime>,
    refused: u64,
}

impl SourceLock {
    /// Starts unlocked; `signalled` is the address in SDP, if there is one.
    #[must_use]
    pub fn new(signalled: Option<SocketAddr>, config: SourceConfig) -> Self {
        Self { config, signalled, locked: None, candidate: None, signalled_heard: None, refused: 0 }
    }

    /// Judges a packet. Packets of the signalled address are accepted while it is being learnt; of any other only
    /// once it is locked.
    pub fn accept(&mut self, from: SocketAddr, packet: &RtpPacket<'_>, now: MediaTime) -> Verdict {
        if let Some(locked) = &mut self.locked {
            if locked.from == from && locked.ssrc == packet.ssrc {
                locked.heard = now;
                self.candidate = None;
                return Verdict::Accepted;
            }
            // The same address may change its SSRC (a B2BUA switching media); anybody else must wait for silence.
            if locked.from != from && now.since(locked.heard) < self.config.silence {
                self.refused += 1;
                return Verdict::Refused;
            }
        } else if self.signalled == Some(from) {
            self.signalled_heard = Some(now);
        } else if self.signalled_heard.is_some_and(|heard| now.since(heard) < self.config.silence) {
            self.refused += 1;
            return Verdict::Refused;
        }
        let follows = |c: &Candidate| {
            c.from == from && c.ssrc == packet.ssrc && c.sequence.wrapping_add(1) == packet.sequence
        };
        let run = self.candidate.filter(follows).map_or(1, |c| c.run + 1);
        if run >= self.config.consecutive {
            self.locked = Some(Locked { from, ssrc: packet.ssrc, heard: now });
            self.candidate = None;
            return Verdict::Accepted;
        }
        self.candidate = Some(Candidate { from, ssrc: packet.ssrc, sequence: packet.sequence, run });
        if self.locked.is_none() && self.signalled == Some(from) {
            Verdict::Accepted
        } else {
            Verdict::Probing
        }
    }

    /// Forgets the lock, so that the next consistent source takes over (re-INVITE).
    pub fn unlock(&mut self) {
        self.locked = None;
        self.candidate = None;
        self.signalled_heard = None;
    }

    /// Takes a new address from SDP and forgets the lock; the same address again changes nothing.
    pub fn signal(&mut self, signalled: Option<SocketAddr>) {
        if self.signalled != signalled {
            self.signalled = signalled;
            self.unlock();
        }
    }

    /// Where to send: the locked address, or else the signalled one.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.locked.map_or(self.signalled, |locked| Some(locked.from))
    }

    /// The locked source's SSRC.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.locked.map(|locked| locked.ssrc)
    }

    /// Whether a source is locked.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.locked.is_some()
    }

    /// Packets refused as a stranger's.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}
