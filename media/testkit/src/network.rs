//! A one-way network on virtual time that loses, delays, reorders and repeats as its seed says.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use antiphon_media_frame::{MediaTime, Span};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Datagrams under way at most; what comes on top is lost, as in a router.
const IN_FLIGHT: usize = 4_096;
/// A burst of loss goes on with this probability from one datagram to the next: four in a row on average.
const BURST_STAYS: f64 = 0.75;

/// What a network does to datagrams. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Probability that a datagram is lost on its own, 0 to 1.
    pub loss: f64,
    /// Share of datagrams lost in bursts of four on average (Gilbert's model), 0 to 0.5.
    pub burst_loss: f64,
    /// The most a datagram is delayed on top of `delay`: uniform from zero. Order is kept, as in a queue.
    pub jitter: Span,
    /// Probability that a datagram is held back so that about two later ones overtake it, 0 to 1.
    pub reorder: f64,
    /// Probability that a datagram arrives twice, 0 to 1.
    pub duplicate: f64,
    /// What every datagram takes.
    pub delay: Span,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    arrives: MediaTime,
    /// Keeps datagrams that arrive at one moment in the order they were sent.
    serial: u64,
    bytes: Vec<u8>,
}

/// One direction between two peers.
#[derive(Debug)]
pub struct Network {
    impairment: Impairment,
    random: SmallRng,
    flying: BinaryHeap<Reverse<Flying>>,
    serial: u64,
    bursting: bool,
    last_arrival: Option<MediaTime>,
    lost: u64,
}

impl Network {
    /// A network whose chances follow `seed`.
    #[must_use]
    pub fn new(seed: u64, impairment: Impairment) -> Self {
        Self {
            impairment,
            random: SmallRng::seed_from_u64(seed),
            flying: BinaryHeap::new(),
            serial: 0,
            bursting: false,
            last_arrival: None,
            lost: 0,
        }
    }

    /// Changes what the network does from here on; what is under way is not touched.
    pub fn impair(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Sends a datagram at `now`. Calls need not be in order of time.
    pub fn send(&mut self, now: MediaTime, bytes: impl Into<Vec<u8>>) {
        let Impairment { loss, jitter, reorder, duplicate, delay, .. } = self.impairment;
        let burst = self.in_burst();
        // Every chance is drawn for every datagram, so that one setting does not shift the others' luck.
        let [lost, held, twice]: [f64; 3] = self.random.random();
        let queued: f64 = self.random.random();
        if burst || lost < loss || self.flying.len() >= IN_FLIGHT {
            self.lost += 1;
            return;
        }
        let mut arrives = now + delay + Span::from_nanos((jitter.nanos() as f64 * queued) as u64);
        if held < reorder {
            arrives += Span::from_millis(50);
        } else {
            arrives = self.last_arrival.map_or(arrives, |last| last.max(arrives));
            self.last_arrival = Some(arrives);
        }
        let bytes = bytes.into();
        if twice < duplicate {
            self.fly(arrives + Span::from_millis(5), bytes.clone());
        }
        self.fly(arrives, bytes);
    }

    /// The next datagram that has arrived by `now`.
    pub fn recv(&mut self, now: MediaTime) -> Option<Vec<u8>> {
        self.recv_timed(now).map(|(_, bytes)| bytes)
    }

    /// The next datagram that has arrived by `now`, and when it did.
    pub fn recv_timed(&mut self, now: MediaTime) -> Option<(MediaTime, Vec<u8>)> {
        if self.next_arrival()? > now {
            return None;
        }
        self.flying.pop().map(|Reverse(flying)| (flying.arrives, flying.bytes))
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<MediaTime> {
        self.flying.peek().map(|Reverse(flying)| flying.arrives)
    }

    /// Datagrams lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn fly(&mut self, arrives: MediaTime, bytes: Vec<u8>) {
        self.flying.push(Reverse(Flying { arrives, serial: self.serial, bytes }));
        self.serial += 1;
    }

    fn in_burst(&mut self) -> bool {
        let share = self.impairment.burst_loss.clamp(0.0, 0.5);
        let chance: f64 = self.random.random();
        let starts = share * (1.0 - BURST_STAYS) / (1.0 - share);
        self.bursting = chance < if self.bursting && share > 0.0 { BURST_STAYS } else { starts };
        self.bursting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, impairment: Impairment) -> Vec<(i64, u16)> {
        let mut network = Network::new(seed, impairment);
        let mut got = Vec::new();
        for n in 0..10_100 {
            let now = MediaTime::from_millis(n * 20);
            if n < 10_000 {
                network.send(now, (n as u16).to_be_bytes());
            }
            while let Some((at, bytes)) = network.recv_timed(now) {
                got.push((at.millis(), u16::from_be_bytes([bytes[0], bytes[1]])));
            }
        }
        got
    }

    #[test]
    fn the_same_seed_gives_the_same_network() {
        let bad = Impairment {
            loss: 0.1,
            burst_loss: 0.05,
            jitter: Span::from_millis(60),
            reorder: 0.05,
            duplicate: 0.05,
            delay: Span::from_millis(30),
        };
        assert_eq!(run(7, bad), run(7, bad));
        assert_ne!(run(7, bad), run(8, bad));
    }

    #[test]
    fn an_unimpaired_network_only_delays() {
        let got = run(1, Impairment { delay: Span::from_millis(30), ..Impairment::default() });
        assert_eq!(got.len(), 10_000);
        assert!(got.iter().enumerate().all(|(n, got)| *got == (n as i64 * 20 + 30, n as u16)));
    }

    #[test]
    fn loss_comes_in_the_share_asked_for() {
        let single = 10_000 - run(2, Impairment { loss: 0.1, ..Impairment::default() }).len();
        assert!((900..1_100).contains(&single), "{single} of 10000 lost");
        let burst = run(3, Impairment { burst_loss: 0.1, ..Impairment::default() });
        let lost = 10_000 - burst.len();
        assert!((800..1_200).contains(&lost), "{lost} of 10000 lost");
        let bursts = burst.windows(2).filter(|w| w[1].1 > w[0].1 + 1).count();
        assert!((3.0..5.0).contains(&(lost as f64 / bursts as f64)), "{lost} lost in {bursts} bursts");
    }

    #[test]
    fn reordering_overtakes_and_duplicates_repeat() {
        let got = run(4, Impairment { reorder: 0.1, duplicate: 0.1, ..Impairment::default() });
        assert!((10_900..11_100).contains(&got.len()), "{}", got.len());
        let overtaken = got.windows(2).filter(|w| w[1].1 < w[0].1).count();
        assert!(overtaken > 500, "{overtaken} overtaken");
    }
}
