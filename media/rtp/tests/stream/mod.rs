//! A sender with a clock of its own, a network, and a plane that pulls 20 ms a tick, on virtual time.

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_rtp::{Pull, Receiver, ReceiverConfig, Sender, parse};
use antiphon_media_testkit::{Impairment, Network, SkewedClock};

pub(crate) const HZ: u32 = 8_000;

/// One thing the receiver put out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) pulled: MediaTime,
    pub(crate) at: MediaTime,
    pub(crate) ticks: u32,
    /// The number of the packet played; `None` where it is concealed.
    pub(crate) played: Option<u32>,
}

/// What the sender does in one step: packets of this many ticks, sent or not.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) ticks: u32,
    pub(crate) talks: bool,
}

pub(crate) struct Stream {
    pub(crate) receiver: Receiver,
    pub(crate) network: Network,
    pub(crate) sender: Sender,
    pub(crate) clock: SkewedClock,
    pub(crate) outputs: Vec<Output>,
    /// When each packet was taken from the air, on the true clock, without the network's delay.
    pub(crate) captured: Vec<MediaTime>,
    /// What the sender's own clock shows.
    local: MediaTime,
    now: MediaTime,
    fifo: Span,
}

impl Stream {
    pub(crate) fn new(seed: u64, ppm: f64, impairment: Impairment) -> Self {
        Self {
            receiver: Receiver::new(ReceiverConfig::new(HZ)),
            network: Network::new(seed, impairment),
            sender: Sender::new(7, 65_500, 0xffff_f000, HZ),
            clock: SkewedClock { ppm },
            outputs: Vec::new(),
            captured: Vec::new(),
            local: MediaTime::ZERO,
            now: MediaTime::ZERO,
            fifo: Span::ZERO,
        }
    }

    /// Runs for `span` of true time; `step` says what the sender does next, by its own clock.
    pub(crate) fn run(&mut self, span: Span, mut step: impl FnMut(MediaTime) -> Step) {
        let end = self.now + span;
        while self.now < end {
            self.now += Span::from_millis(20);
            while self.clock.truth(self.local) <= self.now {
                let Step { ticks, talks } = step(self.local);
                if talks {
                    let number = self.captured.len() as u32;
                    // Padded to the size of G.711, so that octets match durations.
                    let mut payload = vec![0; ticks as usize];
                    payload[..4].copy_from_slice(&number.to_be_bytes());
                    let mut wire = [0; 1_500];
                    let length = self.sender.packet(0, ticks, &payload).write(&mut wire).expect("it fits");
                    self.captured.push(self.clock.truth(self.local));
                    self.network.send(self.clock.truth(self.local), &wire[..length]);
                } else {
                    self.sender.skip(ticks);
                }
                self.local += Span::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(HZ));
            }
            self.tick();
        }
    }

    fn tick(&mut self) {
        while let Some((arrived, bytes)) = self.network.recv_timed(self.now) {
            let packet = parse(&bytes).expect("a packet");
            self.receiver.receive(arrived, packet, packet.payload.len() as u32);
        }
        while self.fifo < Span::from_millis(20) {
            let (at, ticks, played) = match self.receiver.pull(self.now) {
                Pull::Play { payload, at, ticks, payload_type: 0 } => {
                    let number = payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                    (at, ticks, Some(number.expect("a number")))
                }
                Pull::Play { payload_type, .. } => panic!("payload type {payload_type}"),
                Pull::Conceal { at, ticks, .. } => (at, ticks, None),
                Pull::Wait => break,
            };
            self.fifo += Span::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(HZ));
            self.outputs.push(Output { pulled: self.now, at, ticks, played });
        }
        self.fifo = self.fifo.saturating_sub(Span::from_millis(20));
    }

    /// How far each played packet lies from the truth, in milliseconds: capture plus the least the network takes.
    pub(crate) fn errors_ms(&self, delay: Span) -> Vec<(MediaTime, f64)> {
        let played = self.outputs.iter().filter_map(|output| Some((output, output.played?)));
        played
            .map(|(output, number)| {
                let truth = self.captured[number as usize] + delay;
                (output.pulled, output.at.offset_from(truth) as f64 / 1e6)
            })
            .collect()
    }

    pub(crate) fn now(&self) -> MediaTime {
        self.now
    }
}

/// A sender that never pauses, in packets of `ticks`.
pub(crate) fn steady(ticks: u32) -> impl FnMut(MediaTime) -> Step {
    move |_| Step { ticks, talks: true }
}
