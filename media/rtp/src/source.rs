//! Symmetric RTP with a lock: media is sent to, and taken from, the one address that really sends.
//!
//! The address in SDP is believed from its first packet on and displaces whoever was believed before it spoke. Behind a
//! NAT that address never speaks; then, where that is allowed, the first consistent sender is believed, sooner if it is
//! the same host. Once a source is locked, strangers are refused, so that nobody can speak into a call, nor have its
//! sound sent to him, by guessing its port.

use std::net::SocketAddr;

use antiphon_media_frame::{MediaTime, Span};

use crate::packet::RtpPacket;

/// A pause this long ends a run: who sends a few packets to each port and comes round again is nobody's far side.
const STEADY: Span = Span::from_millis(250);

/// How quickly a source is believed and how long it may be silent before another may replace it.
#[derive(Clone, Copy, Debug)]
pub struct SourceConfig {
    /// Whether another address than the one in SDP may be believed at all (the far side is behind a NAT).
    pub latch: bool,
    /// Consecutive packets of one address and SSRC that lock it where it is the signalled host or where nothing was
    /// signalled, at least 1.
    pub consecutive: u32,
    /// The same for another host.
    pub stranger: u32,
    /// Silence on a locked source, other than the signalled one, after which another may take over.
    pub silence: Span,
    /// How long a new SSRC of the locked address has to speak alone.
    pub alone: Span,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            latch: true,
            // RFC 3550's probation (A.1) plus one; at 20 ms that is 60 ms of a stranger's sound lost.
            consecutive: 3,
            // A scan for open ports sends a few packets to each: 200 ms of them are somebody who means this port.
            stranger: 10,
            silence: Span::from_secs(5),
            // Three packets of 20 ms.
            alone: Span::from_millis(40),
        }
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
    since: MediaTime,
    last: MediaTime,
}

/// Learns which address and SSRC speak for the far side and holds on to them.
#[derive(Clone, Debug)]
pub struct SourceLock {
    config: SourceConfig,
    signalled: Option<SocketAddr>,
    locked: Option<Locked>,
    candidate: Option<Candidate>,
    /// The next SSRC of the locked address is believed at once.
    restart: bool,
    refused: u64,
}

impl SourceLock {
    /// Starts unlocked; `signalled` is the address in SDP, if there is one.
    #[must_use]
    pub fn new(signalled: Option<SocketAddr>, config: SourceConfig) -> Self {
        Self { config, signalled, locked: None, candidate: None, restart: false, refused: 0 }
    }

    /// Judges a packet. The signalled address is locked by its first packet, any other by its run.
    pub fn accept(&mut self, from: SocketAddr, packet: &RtpPacket<'_>, now: MediaTime) -> Verdict {
        let signalled = self.signalled == Some(from);
        if let Some(locked) = &mut self.locked {
            if locked.from == from {
                if locked.ssrc == packet.ssrc {
                    locked.heard = now;
                    self.candidate = None;
                    return Verdict::Accepted;
                }
                if std::mem::take(&mut self.restart) {
                    return self.lock(from, packet, now);
                }
            } else if signalled {
                return self.lock(from, packet, now);
            } else if !self.may_replace(now) {
                self.refused += 1;
                return Verdict::Refused;
            }
        } else if signalled {
            return self.lock(from, packet, now);
        } else if !self.config.latch {
            self.refused += 1;
            return Verdict::Refused;
        }
        self.probe(from, packet, now)
    }

    /// Believes a packet that has proved whose it is (SRTP), wherever it comes from.
    pub fn trust(&mut self, from: SocketAddr, packet: &RtpPacket<'_>, now: MediaTime) {
        self.lock(from, packet, now);
    }

    /// The far side is about to begin another stream, by agreement: its SSRC is believed at once.
    pub fn expect_restart(&mut self) {
        self.restart = true;
    }

    /// Forgets the lock, so that the next consistent source takes over (re-INVITE).
    pub fn unlock(&mut self) {
        self.locked = None;
        self.candidate = None;
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

    fn lock(&mut self, from: SocketAddr, packet: &RtpPacket<'_>, now: MediaTime) -> Verdict {
        self.locked = Some(Locked { from, ssrc: packet.ssrc, heard: now });
        self.candidate = None;
        Verdict::Accepted
    }

    /// Whether an address that was not signalled may take the place of the locked one.
    fn may_replace(&self, now: MediaTime) -> bool {
        // Where the signalled address itself speaks there is no NAT that could change its mind.
        self.config.latch
            && self.locked.is_some_and(|locked| {
                self.signalled != Some(locked.from) && now.since(locked.heard) >= self.config.silence
            })
    }

    /// Counts a run of packets of a source that is not locked.
    fn probe(&mut self, from: SocketAddr, packet: &RtpPacket<'_>, now: MediaTime) -> Verdict {
        let follows = |c: &Candidate| {
            let next = c.sequence.wrapping_add(1) == packet.sequence && now.since(c.last) < STEADY;
            c.from == from && c.ssrc == packet.ssrc && next
        };
        let before = self.candidate.filter(follows);
        let (run, since) = before.map_or((1, now), |c| (c.run + 1, c.since));
        let same_address = self.locked.is_some_and(|locked| locked.from == from);
        let same_host = self.signalled.is_none_or(|signalled| signalled.ip() == from.ip());
        let needed = if same_address || same_host { self.config.consecutive } else { self.config.stranger };
        if run >= needed && (!same_address || now.since(since) >= self.config.alone) {
            return self.lock(from, packet, now);
        }
        self.candidate =
            Some(Candidate { from, ssrc: packet.ssrc, sequence: packet.sequence, run, since, last: now });
        Verdict::Probing
    }
}
