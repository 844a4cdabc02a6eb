//! Two links and a bad network between them, on virtual time.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::{
    DtlsConfig, DtlsRole, Fingerprint, IceConfig, IceCredentials, IceRole, Identity, Input, Link, LinkConfig,
    LinkEvent, OVERHEAD, Protection, Remote, RemoteCandidate,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// One for all tests of a file: making a key takes its time.
pub(crate) static HERE: LazyLock<Arc<Identity>> = LazyLock::new(identity);
pub(crate) static THERE: LazyLock<Arc<Identity>> = LazyLock::new(identity);

pub(crate) fn identity() -> Arc<Identity> {
    Arc::new(Identity::generate().expect("a certificate"))
}

pub(crate) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 4_000))
}

pub(crate) fn dtls(
    identity: &Arc<Identity>,
    expected: Fingerprint,
    role: DtlsRole,
    peer: SocketAddr,
) -> DtlsConfig {
    DtlsConfig { identity: Arc::clone(identity), fingerprint: expected, role, peer, latch: false }
}

pub(crate) fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: name.to_owned(), password: format!("{name}-password-of-22-chars") }
}

/// ICE of `us` towards `them`, who are at `candidates`.
pub(crate) fn ice(us: &str, them: &str, role: IceRole, candidates: &[SocketAddr]) -> IceConfig {
    IceConfig {
        local: credentials(us),
        remote: credentials(them),
        lite: false,
        remote_lite: false,
        role,
        candidates: candidates
            .iter()
            .zip(0..)
            .map(|(address, n)| RemoteCandidate { address: *address, priority: 2_130_706_431 - n * 1_000 })
            .collect(),
    }
}

pub(crate) fn secured(config: DtlsConfig, ice: Option<IceConfig>) -> LinkConfig {
    LinkConfig { protection: Protection::Dtls(config), ice }
}

pub(crate) fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend([0x55; 160]);
    packet
}

pub(crate) struct End {
    pub(crate) link: Link,
    /// Where others reach it, and what they see its packets come from.
    pub(crate) address: SocketAddr,
    pub(crate) events: Vec<LinkEvent>,
    pub(crate) media: Vec<Vec<u8>>,
    pub(crate) sent: usize,
}

struct Datagram {
    at: MediaTime,
    from: SocketAddr,
    to: SocketAddr,
    octets: Vec<u8>,
}

/// The network. Datagrams to an address that nobody has are lost.
pub(crate) struct World {
    pub(crate) now: MediaTime,
    pub(crate) ends: [End; 2],
    pub(crate) loss: f64,
    pub(crate) delay: (Span, Span),
    flying: Vec<Datagram>,
    random: SmallRng,
}

impl World {
    pub(crate) fn new(here: LinkConfig, there: LinkConfig) -> Self {
        let end = |config, host| End {
            link: Link::new(config, MediaTime::ZERO).expect("a link"),
            address: address(host),
            events: Vec::new(),
            media: Vec::new(),
            sent: 0,
        };
        Self {
            now: MediaTime::ZERO,
            ends: [end(here, 1), end(there, 2)],
            loss: 0.0,
            delay: (Span::from_millis(10), Span::from_millis(20)),
            flying: Vec::new(),
            random: SmallRng::seed_from_u64(7),
        }
    }

    pub(crate) fn seeded(mut self, seed: u64) -> Self {
        self.random = SmallRng::seed_from_u64(seed);
        self
    }

    /// Runs until `done` or `limit`; whether `done` was reached.
    pub(crate) fn run(&mut self, limit: Span, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.collect();
            if done(self) {
                return true;
            }
            let timers = self.ends.iter().filter_map(|end| end.link.poll_timeout());
            let Some(next) = timers.chain(self.flying.iter().map(|datagram| datagram.at)).min() else {
                return false;
            };
            if next > end {
                self.now = end;
                return done(self);
            }
            self.now = self.now.max(next);
            for end in &mut self.ends {
                if end.link.poll_timeout().is_some_and(|at| at <= self.now) {
                    end.link.handle_timeout(self.now);
                }
            }
            let mut arrived: Vec<Datagram> = Vec::new();
            for datagram in std::mem::take(&mut self.flying) {
                if datagram.at <= self.now { &mut arrived } else { &mut self.flying }.push(datagram);
            }
            arrived.sort_by_key(|datagram| datagram.at);
            for Datagram { from, to, octets, .. } in arrived {
                self.arrive(from, to, octets);
            }
        }
    }

    pub(crate) fn arrive(&mut self, from: SocketAddr, to: SocketAddr, mut octets: Vec<u8>) {
        let Some(end) = self.ends.iter_mut().find(|end| end.address == to) else { return };
        if let Input::Rtp(packet) | Input::Rtcp(packet) = end.link.handle(self.now, from, &mut octets) {
            end.media.push(packet.to_vec());
        }
    }

    fn collect(&mut self) {
        for index in 0..2 {
            while let Some(event) = self.ends[index].link.poll_event() {
                self.ends[index].events.push(event);
            }
            let from = self.ends[index].address;
            while let Some((to, octets)) = self.ends[index].link.poll_transmit() {
                let octets = octets.to_vec();
                self.ends[index].sent += 1;
                self.fly(from, to.address(), octets);
            }
        }
    }

    pub(crate) fn fly(&mut self, from: SocketAddr, to: SocketAddr, octets: Vec<u8>) {
        if self.random.random_bool(self.loss) {
            return;
        }
        let (least, most) = self.delay;
        let delay = Span::from_nanos(self.random.random_range(least.nanos()..=most.nanos()));
        self.flying.push(Datagram { at: self.now + delay, from, to, octets });
    }

    pub(crate) fn both_ready(&self) -> bool {
        self.ends.iter().all(|end| end.link.ready())
    }

    /// Whether a packet each way arrives, sent by the way each end believes in.
    pub(crate) fn media_flows(&mut self) -> bool {
        let loss = std::mem::take(&mut self.loss);
        let mut all = true;
        for index in 0..2 {
            let other = 1 - index;
            let before = self.ends[other].media.len();
            let packet = rtp(before as u16);
            let mut buffer = packet.clone();
            buffer.resize(packet.len() + OVERHEAD, 0);
            let (from, default) = (self.ends[index].address, self.ends[other].address);
            let Some(len) = self.ends[index].link.protect_rtp(&mut buffer, packet.len()) else {
                all = false;
                continue;
            };
            buffer.truncate(len);
            let to = self.ends[index].link.remote().map_or(default, Remote::address);
            self.fly(from, to, buffer);
            let arrived = self.run(Span::from_millis(400), |world| world.ends[other].media.len() > before);
            all &= arrived && self.ends[other].media.last() == Some(&packet);
        }
        self.loss = loss;
        all
    }
}
