//! Keys in RTP (RFC 4733): each key told exactly once, however many of its packets are lost or repeated.

use antiphon_media_frame::{MediaTime, Span};

/// Octets of one event.
pub const EVENT_BYTES: usize = 4;
/// A key whose end never comes is over after this much silence: three lost packets of 50 ms.
const TIMEOUT: Span = Span::from_millis(200);
/// The longest key that is believed; then it is reported and what follows of it ignored.
const LONGEST: Span = Span::from_secs(60);
/// Times the end is sent (RFC 4733 section 2.5.1.4).
const ENDS: u32 = 3;
/// -10 dBm0.
const VOLUME: u8 = 10;
const STEP_MS: u32 = 20;

/// A key that was pressed and released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// `0` to `9`, `*`, `#` or `A` to `D`.
    pub key: char,
    /// When it was pressed, on the call's clock.
    pub at: MediaTime,
    /// How long, as far as its packets came.
    pub duration: Span,
}

/// The key of an event code, `None` for codes above 15 (flash and fax tones are no keys).
#[must_use]
pub fn key_of(code: u8) -> Option<char> {
    "0123456789*#ABCD".chars().nth(usize::from(code))
}

/// The event code of a key.
#[must_use]
pub fn code_of(key: char) -> Option<u8> {
    let code = "0123456789*#ABCD".chars().position(|c| c == key.to_ascii_uppercase())?;
    Some(code as u8)
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    code: u8,
    /// Timestamp of the first segment, and of the newest.
    first: u32,
    segment: u32,
    /// Ticks of the newest segment.
    segment_ticks: u16,
    at: MediaTime,
    heard: MediaTime,
}

/// Joins the packets of each key into one event.
#[derive(Clone, Debug)]
pub struct KeyReceiver {
    clock_hz: u32,
    pressed: Option<Pressed>,
    /// A key that was over when the one before it was reported.
    waiting: Option<KeyEvent>,
    /// Newest timestamp that is already reported.
    reported: Option<(u32, MediaTime)>,
}

impl KeyReceiver {
    /// For events on a clock of `clock_hz` (8000 for `telephone-event/8000`; 0 counts as that).
    #[must_use]
    pub fn new(clock_hz: u32) -> Self {
        Self {
            clock_hz: if clock_hz == 0 { 8_000 } else { clock_hz },
            pressed: None,
            waiting: None,
            reported: None,
        }
    }

    /// Takes a packet's timestamp, marker and payload. `now` is when it came, not when its key began: all packets of a
    /// key carry one timestamp, so only arrival tells that a key is still held. Returns a key that is over by it: the one it
    /// ends, or the one before whose own end was lost. Payloads that are no key are ignored.
    pub fn push(&mut self, timestamp: u32, marker: bool, payload: &[u8], now: MediaTime) -> Option<KeyEvent> {
        let &[code, flags, d0, d1, ..] = payload else {
            return self.poll(now);
        };
        if key_of(code).is_none() {
            return self.poll(now);
        }
        let ticks = u16::from_be_bytes([d0, d1]);
        let ended = flags & 0x80 != 0;
        if self.is_over(timestamp, now) {
            return self.poll(now);
        }
        let mut before = self.waiting.take();
        match &mut self.pressed {
            Some(pressed) if pressed.code == code && pressed.continues(timestamp, marker) => {
                if timestamp != pressed.segment {
                    pressed.segment = timestamp;
                    pressed.segment_ticks = 0;
                }
                pressed.segment_ticks = pressed.segment_ticks.max(ticks);
                pressed.heard = now;
            }
            // Reordered from an earlier segment of the pressed key.
            Some(pressed) if pressed.code == code && pressed.covers(timestamp) => pressed.heard = now,
            _ => {
                let over = self.release();
                if before.is_none() {
                    before = over;
                } else {
                    self.waiting = over;
                }
                self.pressed = Some(Pressed {
                    code,
                    first: timestamp,
                    segment: timestamp,
                    segment_ticks: ticks,
                    at: now - self.span(u64::from(ticks)),
                    heard: now,
                });
            }
        }
        let too_long = self.pressed.is_some_and(|pressed| now.since(pressed.at) >= LONGEST);
        if ended || too_long {
            let over = self.release();
            if before.is_some() && self.waiting.is_none() {
                self.waiting = over;
            } else if before.is_none() {
                return over;
            }
        }
        before
    }

    /// Returns a key whose end was lost, once 200 ms have passed without a packet of it. To be called every tick.
    pub fn poll(&mut self, now: MediaTime) -> Option<KeyEvent> {
        if let Some(event) = self.waiting.take() {
            return Some(event);
        }
        if self.pressed.is_some_and(|pressed| now.since(pressed.heard) >= TIMEOUT) {
            return self.release();
        }
        None
    }

    fn release(&mut self) -> Option<KeyEvent> {
        let pressed = self.pressed.take()?;
        self.reported = Some((pressed.segment, pressed.heard));
        let ticks = u64::from(pressed.segment.wrapping_sub(pressed.first)) + u64::from(pressed.segment_ticks);
        Some(KeyEvent { key: key_of(pressed.code)?, at: pressed.at, duration: self.span(ticks) })
    }

    /// Whether the timestamp is that of a reported key or shortly before it. A sender that restarts its timestamps
    /// does so after a pause.
    fn is_over(&self, timestamp: u32, now: MediaTime) -> bool {
        self.reported.is_some_and(|(reported, heard)| {
            let behind = reported.wrapping_sub(timestamp);
            behind == 0 || (behind < 10 * self.clock_hz && now.since(heard) < Span::from_secs(1))
        })
    }

    fn span(&self, ticks: u64) -> Span {
        Span::from_nanos(ticks * 1_000_000_000 / u64::from(self.clock_hz))
    }
}

impl Pressed {
    /// The same key still: the same timestamp, or the next segment of a key longer than 16 bits of ticks
    /// (RFC 4733 section 2.5.1.3).
    fn continues(&self, timestamp: u32, marker: bool) -> bool {
        let step = timestamp.wrapping_sub(self.segment);
        step == 0 || (!marker && self.segment_ticks >= 0xf000 && (0xf000..=0x1_0000).contains(&step))
    }

    fn covers(&self, timestamp: u32) -> bool {
        timestamp.wrapping_sub(self.first) < self.segment.wrapping_sub(self.first)
    }
}

/// One packet of a key to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPacket {
    /// What to add to the timestamp of the key's start.
    pub timestamp_offset: u32,
    /// Set on the first packet.
    pub marker: bool,
    /// The event.
    pub payload: [u8; EVENT_BYTES],
}

/// What to do in one 20 ms tick of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// Send this packet; no audio goes with it.
    Send(KeyPacket),
    /// Send nothing: the gap that lets the far side tell two keys apart.
    Gap,
}

/// Makes the packets of one key: one a tick while it is held, its end three times, then the gap.
///
/// The timestamp of the key's start belongs to the caller ([`crate::Sender::stamped`]); each step is a tick of
/// [`crate::Sender::skip`].
#[derive(Clone, Debug)]
pub struct KeySender {
    code: u8,
    step_ticks: u32,
    hold_steps: u32,
    gap_steps: u32,
    step: u32,
}

impl KeySender {
    /// A key held for `length` (40 ms to 60 s) and followed by `gap` (at most 10 s), rounded up to ticks of 20 ms.
    /// `None` where `key` is none.
    #[must_use]
    pub fn new(key: char, length: Span, gap: Span, clock_hz: u32) -> Option<Self> {
        let steps = |span: Span| span.millis().div_ceil(u64::from(STEP_MS)) as u32;
        Some(Self {
            code: code_of(key)?,
            step_ticks: if clock_hz == 0 { 160 } else { clock_hz / (1_000 / STEP_MS) },
            hold_steps: steps(length.clamp(Span::from_millis(40), LONGEST)),
            gap_steps: steps(gap.min(Span::from_secs(10))),
            step: 0,
        })
    }

    /// What to do in the next 20 ms; `None` when the key and its gap are over.
    pub fn step(&mut self) -> Option<KeyStep> {
        let step = self.step;
        self.step += 1;
        if step < self.hold_steps {
            return Some(KeyStep::Send(self.packet(step + 1, step == 0, step + 1 == self.hold_steps)));
        }
        if step < self.hold_steps + ENDS - 1 {
            return Some(KeyStep::Send(self.packet(self.hold_steps, false, true)));
        }
        if step < self.hold_steps + ENDS - 1 + self.gap_steps {
            return Some(KeyStep::Gap);
        }
        self.step = step;
        None
    }

    fn packet(&self, steps: u32, marker: bool, end: bool) -> KeyPacket {
        let ticks = steps * self.step_ticks;
        // A segment holds as many whole steps as fit into 16 bits.
        let segment_ticks = 0xffff / self.step_ticks.max(1) * self.step_ticks;
        let segment = (ticks - 1) / segment_ticks.max(1);
        let timestamp_offset = segment * segment_ticks;
        let [d0, d1] = ((ticks - timestamp_offset) as u16).to_be_bytes();
        KeyPacket { timestamp_offset, marker, payload: [self.code, u8::from(end) << 7 | VOLUME, d0, d1] }
    }
}
