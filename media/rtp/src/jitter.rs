//! The adaptive jitter buffer: sorts packets, waits for late ones, conceals what does not come, drains what is too much.
//!
//! Everything is placed on the call's clock, so the buffer never stretches time:
//! - the delay grows by [`Pull::Wait`] while the next packet is not due (its place on the clock stays free for it),
//! - it shrinks by dropping packets (their place stays empty).

use antiphon_media_frame::{MediaTime, Span};

use crate::delay::{Bounds, DelayTarget};
use crate::sequence::Sequence;
use crate::time::TimeMap;

/// Excess that is kept while somebody speaks, on top of a packet: not worth a cut word.
const SLACK_NS: i64 = 20_000_000;
/// Excess that is kept in silence.
const QUIET_SLACK_NS: i64 = 5_000_000;
/// How long excess may wait for silence before it is drained in mid-word.
const PATIENCE: Span = Span::from_millis(1_000);
/// Time between two packets dropped in mid-word: from the largest delay to the least in under a second.
const DRAIN_STEP: Span = Span::from_millis(100);

/// Sizes and delays of a jitter buffer.
#[derive(Clone, Copy, Debug)]
pub struct JitterConfig {
    /// Packets held, 2 to 1024.
    pub slots: usize,
    /// Octets of the longest payload, 1 to 65,535.
    pub max_payload: usize,
    /// The least delay.
    pub min_delay: Span,
    /// The delay before anything is known of the network.
    pub start_delay: Span,
    /// The largest delay; what is later is dropped.
    pub max_delay: Span,
    /// Concealment in a row before the stream counts as paused.
    pub max_conceal: Span,
}

impl Default for JitterConfig {
    fn default() -> Self {
        Self {
            slots: 64,
            max_payload: 1_500,
            min_delay: Span::from_millis(20),
            start_delay: Span::from_millis(40),
            max_delay: Span::from_millis(200),
            max_conceal: Span::from_millis(100),
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull<'a> {
    /// A packet to decode.
    Play {
        /// Its payload.
        payload: &'a [u8],
        /// Its payload type.
        payload_type: u8,
        /// Its place on the call's clock.
        at: MediaTime,
        /// How long it lasts, in ticks of the RTP clock.
        ticks: u32,
    },
    /// A packet that was lost or came too late: make up `ticks` of sound. The place is taken: should the packet
    /// still come, it is dropped.
    Conceal {
        /// The place of the missing sound.
        at: MediaTime,
        /// How long it lasts, in ticks of the RTP clock.
        ticks: u32,
        /// The payload that follows it directly, where it is here already: some codecs carry a copy of the one before.
        next: Option<&'a [u8]>,
    },
    /// Nothing is due: before the first packet, in a pause of the sender, or one tick in which the delay grows.
    /// Nothing has been placed; [`crate::Receiver::settled`] says up to where silence may be written.
    Wait,
}

/// What became of a packet that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    Queued,
    Late,
    Duplicate,
    Oversize,
}

/// A packet on its way in, on the axes without wraps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) number: i64,
    pub(crate) position: i64,
    pub(crate) ticks: u32,
    pub(crate) payload_type: u8,
    pub(crate) payload: &'a [u8],
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JitterCounters {
    pub(crate) queued: u64,
    pub(crate) played: u64,
    pub(crate) late: u64,
    pub(crate) duplicate: u64,
    pub(crate) oversize: u64,
    pub(crate) dropped: u64,
    pub(crate) concealed_ticks: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: i64,
    position: i64,
    ticks: u32,
    payload_type: u8,
}

/// The buffer itself; [`crate::Receiver`] joins it to a sequence and a time map.
///
/// # Realtime safety
/// A slot takes its memory with its first packet, and the slot freed last is used next: a stream takes as much as it lets
/// wait, and allocates only while more waits, or a longer packet comes, than ever before.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    slots: Box<[Slot]>,
    /// Of each slot.
    payloads: Box<[Vec<u8>]>,
    max_payload: usize,
    /// Slots in use, by position.
    order: Vec<u16>,
    free: Vec<u16>,
    tick_ns: f64,
    max_delay: i64,
    max_conceal_ticks: u32,
    pub(crate) delay: DelayTarget,
    /// End of the last output while the stream runs.
    cursor: Option<i64>,
    /// Nothing before this is played any more.
    floor: Option<i64>,
    last_number: i64,
    last_ticks: u32,
    concealed_run: u32,
    quiet: bool,
    excess_since: Option<MediaTime>,
    last_drop: Option<MediaTime>,
    current_delay: i64,
    /// Silence has been written up to here.
    settled: Option<MediaTime>,
    /// From here on the sender says nothing, it said.
    pub(crate) silent_from: Option<i64>,
    pub(crate) counters: JitterCounters,
}

impl JitterBuffer {
    pub(crate) fn new(clock_hz: u32, config: &JitterConfig) -> Self {
        let slots = config.slots.clamp(2, 1_024);
        let max_payload = config.max_payload.clamp(1, 65_535);
        let tick_ns = 1e9 / f64::from(clock_hz.max(1));
        Self {
            slots: vec![Slot::default(); slots].into(),
            payloads: vec![Vec::new(); slots].into(),
            max_payload,
            order: Vec::with_capacity(slots),
            free: (0..slots as u16).collect(),
            tick_ns,
            max_delay: config.max_delay.nanos() as i64,
            max_conceal_ticks: (config.max_conceal.nanos() as f64 / tick_ns) as u32,
            delay: DelayTarget::new(Bounds {
                min: config.min_delay,
                start: config.start_delay,
                max: config.max_delay,
            }),
            cursor: None,
            floor: None,
            last_number: -1,
            last_ticks: 0,
            concealed_run: 0,
            quiet: false,
            excess_since: None,
            last_drop: None,
            current_delay: 0,
            settled: None,
            silent_from: None,
            counters: JitterCounters::default(),
        }
    }

    pub(crate) fn insert(&mut self, packet: &Incoming<'_>) -> Inserted {
        if packet.payload.len() > self.max_payload {
            self.counters.oversize += 1;
            return Inserted::Oversize;
        }
        let tolerance = i64::from(packet.ticks / 4);
        if self.floor.is_some_and(|floor| packet.position + tolerance < floor) {
            self.counters.late += 1;
            return Inserted::Late;
        }
        let mut place = self.order.len();
        while place > 0 && self.slot(place - 1).position > packet.position {
            place -= 1;
        }
        if place > 0 && self.slot(place - 1).position == packet.position {
            self.counters.duplicate += 1;
            return Inserted::Duplicate;
        }
        if self.free.is_empty() {
            if place == 0 {
                self.counters.late += 1;
                return Inserted::Late;
            }
            self.drop_first();
            place -= 1;
        }
        let index = self.free.pop().expect("a slot was just freed where none was free");
        self.slots[usize::from(index)] = Slot {
            number: packet.number,
            position: packet.position,
            ticks: packet.ticks,
            payload_type: packet.payload_type,
        };
        let payload = &mut self.payloads[usize::from(index)];
        payload.clear();
        payload.extend_from_slice(packet.payload);
        self.order.insert(place, index);
        self.counters.queued += 1;
        Inserted::Queued
    }

    pub(crate) fn pull(&mut self, now: MediaTime, map: &mut TimeMap, sequence: &Sequence) -> Pull<'_> {
        loop {
            let Some(first) = self.order.first().map(|index| self.slots[usize::from(*index)]) else {
                return self.dry(now, map);
            };
            let delay = now.offset_from(map.peek(first.position));
            let Some(cursor) = self.cursor else {
                if delay < self.delay.target_ns() {
                    return Pull::Wait;
                }
                if self.must_drop(now, delay, first.ticks) {
                    self.drop_first();
                    continue;
                }
                return self.play(delay, map);
            };
            if first.position <= cursor + i64::from(self.last_ticks / 4) {
                if self.must_drop(now, delay, first.ticks) {
                    self.drop_first();
                    continue;
                }
                if self.quiet && delay + self.length_ns(first.ticks) <= self.delay.target_ns() {
                    return Pull::Wait;
                }
                return self.play(delay, map);
            }
            if sequence.missing_between(self.last_number, first.number) == 0 {
                // The sender sent nothing in between: a pause, not a loss.
                self.pause();
                continue;
            }
            let overdue = now.offset_from(map.peek(cursor));
            if overdue < self.delay.target_ns() {
                return Pull::Wait;
            }
            let gap = u32::try_from(first.position - cursor).unwrap_or(u32::MAX);
            if overdue > self.max_delay || self.concealed_run >= self.max_conceal_ticks {
                self.pause();
                continue;
            }
            return self.conceal(cursor, gap, map);
        }
    }

    /// Whether the track is quiet just now: then a packet more or less is not heard.
    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// How far behind the fastest packets the last one was played.
    pub(crate) fn current_delay(&self) -> Span {
        Span::from_nanos(self.current_delay.max(0) as u64)
    }

    /// Whether the packet that comes next is here.
    pub(crate) fn is_ready(&self) -> bool {
        let next = |index: &u16| {
            let tolerance = i64::from(self.last_ticks / 4);
            self.cursor.is_none_or(|cursor| self.slots[usize::from(*index)].position <= cursor + tolerance)
        };
        self.order.first().is_some_and(next)
    }

    /// How long the packet played last was; 0 before the first.
    pub(crate) fn packet_ns(&self) -> i64 {
        self.length_ns(self.last_ticks)
    }

    pub(crate) fn buffered(&self) -> usize {
        self.order.len()
    }

    /// Up to where nothing will be played any more; takes the place up to there.
    pub(crate) fn settle(&mut self, now: MediaTime, map: &mut TimeMap) -> MediaTime {
        let end = map.placed_end();
        if self.cursor.is_some()
            && let Some(end) = end
        {
            return end;
        }
        let mut settled = now.shifted(-self.delay.target_ns());
        if let Some(first) = self.order.first() {
            settled = settled.min(map.peek(self.slots[usize::from(*first)].position));
        }
        if map.is_empty() {
            // Nothing has come, so nothing can belong before now.
            settled = now;
        }
        let settled = settled.max(self.settled.unwrap_or(settled)).max(end.unwrap_or(settled));
        self.settled = Some(settled);
        if let Some(position) = map.pin(settled) {
            self.floor = self.floor.max(Some(position));
        }
        settled
    }

    fn dry(&mut self, now: MediaTime, map: &mut TimeMap) -> Pull<'_> {
        let Some(cursor) = self.cursor else {
            return Pull::Wait;
        };
        if self.silent_from.is_some_and(|silent| cursor + i64::from(self.last_ticks / 4) >= silent) {
            self.silent_from = None;
            self.pause();
            return Pull::Wait;
        }
        let overdue = now.offset_from(map.peek(cursor));
        if overdue < self.delay.target_ns() {
            return Pull::Wait;
        }
        if overdue > self.max_delay || self.concealed_run >= self.max_conceal_ticks {
            self.pause();
            return Pull::Wait;
        }
        self.conceal(cursor, u32::MAX, map)
    }

    fn play(&mut self, delay: i64, map: &mut TimeMap) -> Pull<'_> {
        let index = self.order.remove(0);
        self.free.push(index);
        let slot = self.slots[usize::from(index)];
        if let Some(settled) = self.settled.take() {
            map.pin(settled);
        }
        self.current_delay = delay;
        self.last_number = slot.number;
        self.last_ticks = slot.ticks;
        self.concealed_run = 0;
        self.advance(slot.position + i64::from(slot.ticks));
        self.counters.played += 1;
        Pull::Play {
            payload: &self.payloads[usize::from(index)],
            payload_type: slot.payload_type,
            at: map.place(slot.position, slot.ticks),
            ticks: slot.ticks,
        }
    }

    fn conceal(&mut self, cursor: i64, gap: u32, map: &mut TimeMap) -> Pull<'_> {
        let ticks = self.last_ticks.min(gap).min(self.max_conceal_ticks - self.concealed_run).max(1);
        self.concealed_run += ticks;
        self.counters.concealed_ticks += u64::from(ticks);
        let end = cursor + i64::from(ticks);
        self.advance(end);
        let next = self.order.first().filter(|index| self.slots[usize::from(**index)].position == end);
        let next = next.map(|index| &self.payloads[usize::from(*index)][..]);
        Pull::Conceal { at: map.place(cursor, ticks), ticks, next }
    }

    fn must_drop(&mut self, now: MediaTime, delay: i64, ticks: u32) -> bool {
        if delay > self.max_delay {
            return true;
        }
        let excess = delay - self.length_ns(ticks) - self.delay.target_ns();
        if excess < QUIET_SLACK_NS || self.order.len() < 2 {
            self.excess_since = None;
            return false;
        }
        if self.quiet {
            return true;
        }
        if excess < SLACK_NS {
            self.excess_since = None;
            return false;
        }
        let since = *self.excess_since.get_or_insert(now);
        if now.since(since) < PATIENCE || self.last_drop.is_some_and(|last| now.since(last) < DRAIN_STEP) {
            return false;
        }
        self.last_drop = Some(now);
        true
    }

    fn drop_first(&mut self) {
        let index = self.order.remove(0);
        self.free.push(index);
        let slot = self.slots[usize::from(index)];
        self.last_number = slot.number;
        self.advance(slot.position + i64::from(slot.ticks));
        self.counters.dropped += 1;
    }

    /// Moves the end of what is over; the cursor follows only while the stream runs.
    fn advance(&mut self, end: i64) {
        let end = self.floor.map_or(end, |floor| floor.max(end));
        self.floor = Some(end);
        self.cursor = Some(end);
    }

    fn pause(&mut self) {
        self.cursor = None;
        self.concealed_run = 0;
        self.excess_since = None;
    }

    fn length_ns(&self, ticks: u32) -> i64 {
        (f64::from(ticks) * self.tick_ns) as i64
    }

    fn slot(&self, place: usize) -> &Slot {
        &self.slots[usize::from(self.order[place])]
    }
}
