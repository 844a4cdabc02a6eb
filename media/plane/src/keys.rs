//! One press of a key, told once, whichever ways it came: as an event in RTP, as a tone in the sound, by signalling.

use std::collections::VecDeque;

use antiphon_media_frame::{MediaTime, Span};

/// Presses remembered: more than fingers make within the time in which they may come again.
const MEMORY: usize = 16;
/// How far apart the media's two ways may see one press.
const MEDIA: Span = Span::from_millis(150);
/// How much later (or earlier) signalling may bring it: a retransmission or two.
const SIGNALLING: Span = Span::from_millis(1_500);

/// How a key came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// RFC 4733.
    Event,
    /// Two tones in the sound.
    Sound,
    /// SIP INFO.
    Signalling,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    key: char,
    from: MediaTime,
    to: MediaTime,
    /// The ways it has come by, each once.
    ways: [bool; 3],
    /// Whether signalling alone says when it was.
    vague: bool,
}

/// The last presses of one leg.
#[derive(Debug)]
pub(crate) struct Presses {
    told: VecDeque<Press>,
}

impl Presses {
    pub(crate) fn new() -> Self {
        Self { told: VecDeque::with_capacity(MEMORY) }
    }

    /// Whether a press that began at `at` has not come by another way already.
    pub(crate) fn is_new(&mut self, way: Way, key: char, at: MediaTime, duration: Span) -> bool {
        let (from, to) = (at, at + duration);
        let vague = way == Way::Signalling;
        let same = self.told.iter_mut().find(|press| {
            let apart = if vague || press.vague { SIGNALLING } else { MEDIA };
            press.key == key
                && !press.ways[way as usize]
                && from <= press.to + apart
                && press.from <= to + apart
        });
        if let Some(press) = same {
            press.ways[way as usize] = true;
            if press.vague && !vague {
                (press.from, press.to, press.vague) = (from, to, false);
            }
            return false;
        }
        if self.told.len() == MEMORY {
            self.told.pop_front();
        }
        let mut ways = [false; 3];
        ways[way as usize] = true;
        self.told.push_back(Press { key, from, to, ways, vague });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Span = Span::from_millis(100);

    /// How many of these presses are told: way, key, milliseconds.
    fn told(presses: &[(Way, char, i64)]) -> usize {
        let mut memory = Presses::new();
        let new =
            |(way, key, at): &(Way, char, i64)| memory.is_new(*way, *key, MediaTime::from_millis(*at), HELD);
        presses.iter().map(new).filter(|new| *new).count()
    }

    #[test]
    fn a_press_that_comes_three_ways_is_one_in_any_order() {
        let ways = [(Way::Event, '1', 1_000), (Way::Sound, '1', 1_020), (Way::Signalling, '1', 1_700)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            assert_eq!(told(&order.map(|n| ways[n])), 1, "{order:?}");
        }
    }

    #[test]
    fn the_same_key_twice_is_two_presses_whatever_is_late() {
        let (event, info) = (Way::Event, Way::Signalling);
        assert_eq!(told(&[(event, '1', 0), (event, '1', 240), (info, '1', 500), (info, '1', 700)]), 2);
        assert_eq!(told(&[(event, '1', 0), (info, '1', 200), (event, '1', 240), (info, '1', 600)]), 2);
        assert_eq!(told(&[(info, '1', 90), (event, '1', 0), (info, '1', 350), (event, '1', 240)]), 2);
        assert_eq!(
            told(&[(Way::Sound, '1', 0), (Way::Sound, '1', 150), (event, '1', 10), (event, '1', 160)]),
            2
        );
    }

    #[test]
    fn what_one_way_misses_the_other_tells() {
        // The first comes as a tone only, the second by both.
        assert_eq!(told(&[(Way::Sound, '5', 0), (Way::Sound, '5', 400), (Way::Event, '5', 410)]), 2);
        // Another key, and the same one much later, are presses of their own.
        assert_eq!(told(&[(Way::Event, '5', 0), (Way::Sound, '6', 10), (Way::Sound, '5', 400)]), 3);
        assert_eq!(told(&[(Way::Event, '5', 0), (Way::Signalling, '5', 2_000)]), 2);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Presses::new();
        for n in 0..1_000 {
            memory.is_new(Way::Event, '1', MediaTime::from_millis(n * 200), HELD);
        }
        assert_eq!(memory.told.len(), MEMORY);
    }
}
