//! Keys to be sent, one after another: as events (RFC 4733) or as tones.

use std::collections::VecDeque;

use antiphon_media_codec::tone;
use antiphon_media_frame::{SampleRate, Span};
use antiphon_media_rtp::KeySender;
use antiphon_media_rtp::telephone_event::{KeyStep, code_of};

use crate::leg::FRAME;

/// How long a key is held, and the pause before the next: what every receiver takes (ITU-T Q.24 wants 40 ms each).
const HELD: Span = Span::from_millis(100);
const GAP: Span = Span::from_millis(100);
/// Keys waiting to be sent.
const KEYS: usize = 256;

/// What to do about keys in a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialStep<'a> {
    /// There are none: sound is sent.
    Idle,
    /// The last one is over: sound is sent again.
    Done,
    /// A step of the key that began at this timestamp: no sound is sent.
    Event(KeyStep, u32),
    /// A frame of a key's tones and of the pause behind them, sent as sound.
    Tone(&'a [i16]),
}

/// The keys of one leg.
pub(crate) struct Dial {
    rate: SampleRate,
    /// Clock of the events; `None` where there are none and all keys are tones.
    event_hz: Option<u32>,
    /// Keys, and whether each has to be a tone.
    waiting: VecDeque<(char, bool)>,
    current: Option<Current>,
}

enum Current {
    /// And the timestamp it began at.
    Event(KeySender, u32),
    /// And the samples sent of it.
    Tone(char, Vec<i16>, usize),
}

impl Dial {
    /// For tones at `rate` and events on a clock of `event_hz`, if there are any.
    pub(crate) fn new(rate: SampleRate, event_hz: Option<u32>) -> Self {
        Self { rate, event_hz, waiting: VecDeque::new(), current: None }
    }

    /// Goes on at another rate and clock. A key that is being sent as an event on the old clock is over.
    pub(crate) fn change(&mut self, rate: SampleRate, event_hz: Option<u32>) {
        self.current = match self.current.take() {
            Some(Current::Tone(key, _, sent)) => {
                let done = rate.samples(self.rate.span(sent));
                tones(key, rate).map(|pcm| Current::Tone(key, pcm, done))
            }
            Some(event) if event_hz == self.event_hz => Some(event),
            _ => None,
        };
        self.rate = rate;
        self.event_hz = event_hz;
    }

    /// Takes all keys, as tones in any case if so asked, or none and says so: where one is no key, there are too many, or
    /// there are none at all.
    pub(crate) fn ask(&mut self, keys: &[char], inband: bool) -> bool {
        let fits = keys.len() <= KEYS - self.waiting.len();
        if keys.is_empty() || !fits || keys.iter().any(|key| code_of(*key).is_none()) {
            return false;
        }
        self.waiting.extend(keys.iter().map(|key| (*key, inband)));
        true
    }

    /// The next 20 ms; `timestamp` is the sender's, on the clock of the events.
    pub(crate) fn step(&mut self, timestamp: u32) -> DialStep<'_> {
        if self.current.is_none() && self.waiting.is_empty() {
            return DialStep::Idle;
        }
        let samples = self.rate.samples(FRAME);
        loop {
            match &mut self.current {
                Some(Current::Event(sender, started)) => {
                    if let Some(step) = sender.step() {
                        return DialStep::Event(step, *started);
                    }
                }
                Some(Current::Tone(_, pcm, sent)) if *sent + samples <= pcm.len() => {
                    *sent += samples;
                    break;
                }
                _ => {}
            }
            let Some((key, inband)) = self.waiting.pop_front() else {
                self.current = None;
                return DialStep::Done;
            };
            self.current = match self.event_hz.filter(|_| !inband) {
                Some(hz) => {
                    KeySender::new(key, HELD, GAP, hz).map(|sender| Current::Event(sender, timestamp))
                }
                None => tones(key, self.rate).map(|pcm| Current::Tone(key, pcm, 0)),
            };
        }
        match &self.current {
            Some(Current::Tone(_, pcm, sent)) => DialStep::Tone(&pcm[sent - samples..*sent]),
            _ => DialStep::Idle,
        }
    }
}

/// A key and the pause behind it, in whole frames.
fn tones(key: char, rate: SampleRate) -> Option<Vec<i16>> {
    let mut pcm = tone::dtmf(key, rate, HELD)?;
    let frame = rate.samples(FRAME).max(1);
    pcm.resize((pcm.len() + rate.samples(GAP)).next_multiple_of(frame), 0);
    Some(pcm)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::HZ_8000;

    #[test]
    fn keys_follow_each_other_and_the_end_is_told_once() {
        let mut dial = Dial::new(RATE, Some(8_000));
        assert_eq!(dial.step(0), DialStep::Idle);
        assert!(dial.ask(&['1', '#'], false));
        let mut started = Vec::new();
        for n in 0.. {
            match dial.step(n * 160) {
                DialStep::Event(_, at) => started.push(at),
                DialStep::Done => break,
                other => panic!("{other:?} before it was done"),
            }
        }
        started.dedup();
        // Five packets while it is held, two more ends, five ticks of gap.
        assert_eq!(started, [0, 12 * 160]);
        assert_eq!(dial.step(0), DialStep::Idle);
    }

    #[test]
    fn without_events_keys_are_tones_of_ten_frames_each() {
        let mut dial = Dial::new(RATE, None);
        assert!(dial.ask(&['1', '2'], false));
        let mut loud = Vec::new();
        while let DialStep::Tone(pcm) = dial.step(0) {
            assert_eq!(pcm.len(), 160);
            loud.push(pcm.iter().any(|sample| *sample != 0));
        }
        let key = [true, true, true, true, true, false, false, false, false, false];
        assert_eq!(loud, [key, key].concat());
        assert_eq!(dial.step(0), DialStep::Idle, "the end was told");
    }

    #[test]
    fn a_tone_goes_on_at_another_rate() {
        let mut dial = Dial::new(RATE, Some(8_000));
        assert!(dial.ask(&['1'], true));
        for _ in 0..2 {
            assert!(matches!(dial.step(0), DialStep::Tone(_)));
        }
        dial.change(SampleRate::HZ_16000, None);
        let mut frames = 0;
        while let DialStep::Tone(pcm) = dial.step(0) {
            assert_eq!(pcm.len(), 320);
            frames += 1;
        }
        assert_eq!(frames, 8);
    }

    #[test]
    fn what_cannot_be_sent_whole_is_refused_whole() {
        let mut dial = Dial::new(RATE, Some(8_000));
        assert!(!dial.ask(&[], false));
        assert!(!dial.ask(&['1', 'x'], false));
        assert!(!dial.ask(&['1'; KEYS + 1], false));
        assert_eq!(dial.step(0), DialStep::Idle);
        assert!(dial.ask(&['1'; KEYS], false));
        assert!(!dial.ask(&['1'], false));
    }
}
