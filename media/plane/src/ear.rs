//! What a leg makes of the sound it receives: voices, keys, and what they cut.

use antiphon_media_codec::{DtmfDetector, DtmfEvent, Edge, Gate};
use antiphon_media_frame::{AudioFrame, Coded, MediaTime, SampleRate, Span};

use crate::config::LegConfig;
use crate::egress::Egress;
use crate::event::Events;
use crate::keys::{Presses, Way};
use crate::{ClipEnd, LegEvent, Tap};

/// Listens to the received track of one leg.
pub(crate) struct Ear {
    gate: Gate,
    active: bool,
    /// Consecutive active frames.
    voice: Span,
    /// Listens for keys, where that is wanted, and has heard so many samples.
    keys: Option<(Box<DtmfDetector>, u64)>,
    presses: Presses,
}

impl Ear {
    pub(crate) fn new(config: &LegConfig) -> Self {
        let gate = Gate::new(config.format.codec.sample_rate(), config.gate);
        Self { gate, active: false, voice: Span::ZERO, keys: None, presses: Presses::new() }
    }

    /// Listens at another rate from here on; says whether a voice was speaking that would have to speak up again.
    pub(crate) fn change(&mut self, rate: SampleRate, config: &LegConfig) -> bool {
        self.gate = Gate::new(rate, config.gate);
        self.voice = Span::ZERO;
        self.listen_for_keys(self.keys.is_some(), rate);
        std::mem::take(&mut self.active)
    }

    pub(crate) fn listen_for_keys(&mut self, on: bool, rate: SampleRate) {
        self.keys = on.then(|| (Box::new(DtmfDetector::new(rate)), 0));
    }

    /// Hears a frame, cuts a prompt where a voice speaks over it, and hands the frame on; says whether somebody speaks.
    pub(crate) fn hear(
        &mut self,
        (frame, coded): (AudioFrame<'_>, Option<Coded<'_>>),
        now: MediaTime,
        config: &LegConfig,
        egress: &mut Egress,
        events: &mut Events,
        taps: &mut [Tap],
    ) -> bool {
        let decision = self.gate.push(frame.pcm);
        self.active = decision.active;
        match decision.edge {
            Some(Edge::Start) => events.tell(LegEvent::VoiceStarted { at: frame.at - config.gate.start }),
            Some(Edge::End) => events.tell(LegEvent::VoiceEnded { at: frame.at - config.gate.hangover }),
            None => {}
        }
        // The gate itself needed `start` of voice before it said so.
        self.voice = match (decision.active, self.voice) {
            (false, _) => Span::ZERO,
            (true, Span::ZERO) => config.gate.start,
            (true, voice) => voice + frame.span(),
        };
        if self.voice >= config.barge_in && egress.interruptible() {
            // The sound is cut now, some jitter delay after it was interrupted.
            egress.interrupt(now, ClipEnd::BargeIn, |played| events.tell(played.into()));
        }
        self.hear_keys(frame, now, egress, events);
        for tap in taps {
            tap.push(AudioFrame { active: decision.active, retracted: decision.retracted, ..frame }, coded);
        }
        decision.active
    }

    fn hear_keys(&mut self, frame: AudioFrame<'_>, now: MediaTime, egress: &mut Egress, events: &mut Events) {
        let Some((detector, heard)) = &mut self.keys else { return };
        *heard += frame.pcm.len() as u64;
        let (heard, presses) = (*heard, &mut self.presses);
        detector.push(frame.pcm, |event| match event {
            // It is told when it is let go; what it interrupts has no time for that.
            DtmfEvent::Down { .. } => {
                egress.interrupt(now, ClipEnd::Key, |played| events.tell(played.into()));
            }
            DtmfEvent::Up { key, start, length } => {
                let at = frame.end() - frame.rate.span(heard.saturating_sub(start) as usize);
                press(presses, now, Way::Sound, key, (at, length), egress, events);
            }
        });
    }

    /// Tells a press of the far side that began at `at` and lasted so long, unless it was told before.
    pub(crate) fn press(
        &mut self,
        now: MediaTime,
        way: Way,
        key: char,
        when: (MediaTime, Span),
        egress: &mut Egress,
        events: &mut Events,
    ) {
        press(&mut self.presses, now, way, key, when, egress, events);
    }
}

fn press(
    presses: &mut Presses,
    now: MediaTime,
    way: Way,
    key: char,
    (at, duration): (MediaTime, Span),
    egress: &mut Egress,
    events: &mut Events,
) {
    let key = key.to_ascii_uppercase();
    if matches!(key, '0'..='9' | '*' | '#' | 'A'..='D') && presses.is_new(way, key, at, duration) {
        egress.interrupt(now, ClipEnd::Key, |played| events.tell(played.into()));
        events.tell(LegEvent::Key { key, at, duration });
    }
}
