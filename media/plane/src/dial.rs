//! Keys to be sent, one after another (RFC 4733).

use std::collections::VecDeque;

use antiphon_media_frame::Span;
use antiphon_media_rtp::KeySender;
use antiphon_media_rtp::telephone_event::{KeyStep, code_of};

/// How long a key is held, and the pause before the next: what every receiver takes (ITU-T Q.24 wants 40 ms each).
const HELD: Span = Span::from_millis(100);
const GAP: Span = Span::from_millis(100);
/// Keys waiting to be sent.
const KEYS: usize = 256;

/// What to do about keys in a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialStep {
    /// There are none: sound is sent.
    Idle,
    /// The last one is over: sound is sent again.
    Done,
    /// A step of the key that began at this timestamp: no sound is sent.
    Key(KeyStep, u32),
}

/// The keys of one leg.
pub(crate) struct Dial {
    clock_hz: u32,
    waiting: VecDeque<char>,
    /// The key being sent and the timestamp it began at.
    current: Option<(KeySender, u32)>,
}

impl Dial {
    pub(crate) fn new(clock_hz: u32) -> Self {
        Self { clock_hz, waiting: VecDeque::with_capacity(KEYS), current: None }
    }

    /// Takes all keys, or none and says so: where one is no key, there are too many, or there are none at all.
    pub(crate) fn ask(&mut self, keys: &[char]) -> bool {
        let fits = keys.len() <= KEYS - self.waiting.len();
        if keys.is_empty() || !fits || keys.iter().any(|key| code_of(*key).is_none()) {
            return false;
        }
        self.waiting.extend(keys);
        true
    }

    /// The next 20 ms; `timestamp` is the sender's.
    pub(crate) fn step(&mut self, timestamp: u32) -> DialStep {
        if self.current.is_none() && self.waiting.is_empty() {
            return DialStep::Idle;
        }
        loop {
            if let Some((key, started)) = &mut self.current
                && let Some(step) = key.step()
            {
                return DialStep::Key(step, *started);
            }
            let Some(key) = self.waiting.pop_front() else {
                self.current = None;
                return DialStep::Done;
            };
            self.current = KeySender::new(key, HELD, GAP, self.clock_hz).map(|sender| (sender, timestamp));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_each_other_and_the_end_is_told_once() {
        let mut dial = Dial::new(8_000);
        assert_eq!(dial.step(0), DialStep::Idle);
        assert!(dial.ask(&['1', '#']));
        let mut started = Vec::new();
        for n in 0.. {
            match dial.step(n * 160) {
                DialStep::Key(_, at) => started.push(at),
                DialStep::Done => break,
                DialStep::Idle => panic!("idle before it was done"),
            }
        }
        started.dedup();
        // Five packets while it is held, two more ends, five ticks of gap.
        assert_eq!(started, [0, 12 * 160]);
        assert_eq!(dial.step(0), DialStep::Idle);
    }

    #[test]
    fn what_cannot_be_sent_whole_is_refused_whole() {
        let mut dial = Dial::new(8_000);
        assert!(!dial.ask(&[]));
        assert!(!dial.ask(&['1', 'x']));
        assert!(!dial.ask(&['1'; KEYS + 1]));
        assert_eq!(dial.step(0), DialStep::Idle);
        assert!(dial.ask(&['1'; KEYS]));
        assert!(!dial.ask(&['1']));
    }
}
