//! Symmetric RTP with a lock: media is sent to, and taken from, the one address that really sends.
//!
//! The address in SDP is believed from its first packet on and displaces whoever was believed before it spoke. Behind a
//! NAT that address never speaks; then, where that is allowed, the first consistent sender is believed, sooner if it is
//! the host that signals, and gives way to that host as well. To be heard is not to be answered: another host is sent our
//! sound only where the address in SDP can lead nowhere but behind a NAT, and only after a second. Once a source is
//! locked, strangers are refused, so that nobody can speak into a call, nor have its sound sent to him, by guessing its
//! port.

use std::net::{IpAddr, SocketAddr};

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
    /// How long another host has to speak before our sound goes there, if the signalled address is a private one that the
    /// signalling does not come from. Where it is not, no time is long enough.
    pub answered: Span,
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
            // A far side that can speak from where it says has done so by then.
            answered: Span::from_secs(1),
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
    standing: Standing,
    /// When its run began.
    since: MediaTime,
}

/// How much speaks for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Nothing, and where the far side says it is it can be.
    Stranger,
    /// Nothing, but the far side is not where it says.
    Translated,
    /// It is the host that was signalled, or that signals.
    Host,
    /// It was signalled.
    Signalled,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    standing: Standing,
    run: u32,
    since: MediaTime,
    last: MediaTime,
}

/// Learns which address and SSRC speak for the far side and holds on to them.
#[derive(Clone, Debug)]
pub struct SourceLock {
    config: SourceConfig,
    signalled: Option<SocketAddr>,
    /// The host that signalling comes from.
    signaller: Option<IpAddr>,
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
        Self { config, signalled, signaller: None, locked: None, candidate: None, restart: false, refused: 0 }
    }

    /// Names the host that the far side's signalling comes from: behind a NAT its media most likely does, too.
    #[must_use]
    pub fn signalled_from(mut self, host: Option<IpAddr>) -> Self {
        self.signaller = host.map(|host| host.to_canonical());
        self
    }

    /// Judges a packet. The signalled address is locked by its first packet, any other by its run.
    pub fn accept(&mut self, from: SocketAddr, packet: &RtpPacket<'_>, now: MediaTime) -> Verdict {
        let standing = self.standing(from);
        if standing < Standing::Signalled && !self.config.latch && !self.holds(from) {
            self.refused += 1;
            return Verdict::Refused;
        }
        let in_reach = self.may_replace(standing, now);
        match &mut self.locked {
            Some(locked) if locked.from == from => {
                if locked.ssrc == packet.ssrc {
                    locked.heard = now;
                    // Only who waits for silence has to begin again: the far side's own host does not.
                    let before = locked.standing;
                    self.candidate = self.candidate.filter(|c| c.from != from && c.standing > before);
                    return Verdict::Accepted;
                }
                if std::mem::take(&mut self.restart) {
                    let since = locked.since;
                    return self.lock(from, packet, now, standing, since);
                }
            }
            _ if standing == Standing::Signalled => return self.lock(from, packet, now, standing, now),
            Some(_) if !in_reach => {
                self.refused += 1;
                return Verdict::Refused;
            }
            _ => {}
        }
        self.probe(from, packet, now, standing)
    }

    /// Believes a packet that has proved whose it is (SRTP), wherever it comes from.
    pub fn trust(&mut self, from: SocketAddr, packet: &RtpPacket<'_>, now: MediaTime) {
        self.lock(from, packet, now, Standing::Signalled, now);
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

    /// Where to send: the locked address if it may be answered, or else the signalled one.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        let answered = |locked: &Locked| match locked.standing {
            Standing::Stranger => false,
            Standing::Translated => locked.heard.since(locked.since) >= self.config.answered,
            Standing::Host | Standing::Signalled => true,
        };
        self.locked.filter(answered).map(|locked| locked.from).or(self.signalled)
    }

    /// The address that is heard, once one is locked.
    #[must_use]
    pub fn heard(&self) -> Option<SocketAddr> {
        self.locked.map(|locked| locked.from)
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

    fn lock(
        &mut self,
        from: SocketAddr,
        packet: &RtpPacket<'_>,
        now: MediaTime,
        standing: Standing,
        since: MediaTime,
    ) -> Verdict {
        self.locked = Some(Locked { from, ssrc: packet.ssrc, heard: now, standing, since });
        self.candidate = None;
        Verdict::Accepted
    }

    fn holds(&self, from: SocketAddr) -> bool {
        self.locked.is_some_and(|locked| locked.from == from)
    }

    fn standing(&self, from: SocketAddr) -> Standing {
        let Some(signalled) = self.signalled else { return Standing::Host };
        let (said, host) = (signalled.ip().to_canonical(), from.ip().to_canonical());
        if signalled == from {
            Standing::Signalled
        } else if said == host || self.signaller == Some(host) {
            Standing::Host
        } else if is_private(said) && self.signaller != Some(said) {
            Standing::Translated
        } else {
            Standing::Stranger
        }
    }

    /// Whether an address of this standing may take the place of the locked one.
    fn may_replace(&self, standing: Standing, now: MediaTime) -> bool {
        // Where the signalled address itself speaks there is no NAT that could change its mind.
        self.locked.is_some_and(|locked| {
            let over =
                locked.standing < Standing::Signalled && now.since(locked.heard) >= self.config.silence;
            over || (standing == Standing::Host && locked.standing < standing)
        })
    }

    /// Counts a run of packets of a source that is not locked.
    fn probe(
        &mut self,
        from: SocketAddr,
        packet: &RtpPacket<'_>,
        now: MediaTime,
        standing: Standing,
    ) -> Verdict {
        let follows = |c: &Candidate| {
            let next = c.sequence.wrapping_add(1) == packet.sequence && now.since(c.last) < STEADY;
            c.from == from && c.ssrc == packet.ssrc && next
        };
        let better = |c: &Candidate| c.from != from && c.standing > standing && now.since(c.last) < STEADY;
        if self.candidate.as_ref().is_some_and(better) {
            return Verdict::Probing;
        }
        let before = self.candidate.filter(follows);
        let (run, since) = before.map_or((1, now), |c| (c.run + 1, c.since));
        let locked = self.locked.filter(|locked| locked.from == from);
        let known = locked.is_some() || standing >= Standing::Host;
        let needed = if known { self.config.consecutive } else { self.config.stranger };
        if run >= needed && (locked.is_none() || now.since(since) >= self.config.alone) {
            // Whoever was answered under another SSRC still is.
            let since = locked.map_or(since, |locked| locked.since);
            return self.lock(from, packet, now, standing, since);
        }
        let (ssrc, sequence) = (packet.ssrc, packet.sequence);
        self.candidate = Some(Candidate { from, ssrc, sequence, standing, run, since, last: now });
        Verdict::Probing
    }
}

/// Whether an address leads nowhere from outside its own network (RFC 1918, RFC 6598, RFC 4193, or none at all).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            shared || v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified()
        }
    }
}
