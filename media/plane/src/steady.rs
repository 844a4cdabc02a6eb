//! The far side's clock made ours: what it sends in a second becomes a second's sound.
//!
//! Without this its sound would come short, or pile up, by a packet in a hundred seconds where the clocks differ by
//! 200 ppm, and the jitter buffer would make one up or drop one, which is heard.

use antiphon_media_codec::{DriftResampler, Pace};
use antiphon_media_frame::{MediaTime, SampleRate, Span};

/// How often the delay is looked at.
const LOOK: Span = Span::from_secs(1);
/// Clocks that differ by less are left alone: at 10 ppm a packet is too many once in half an hour, and then the jitter
/// buffer waits for a pause. Packets pass unchanged as long.
const LEAST_PPM: f64 = 10.0;
/// So much is believed of the delay alone, before the clocks have been measured for the better part of a minute, and only
/// where the network has been even for some looks: otherwise it is the network that changes.
const PLAIN_PPM: f64 = 60.0;
const EVEN_LOOKS: u32 = 5;
const EVEN: Span = Span::from_millis(2);
/// What the converter looks back on.
const PAST: usize = 32;

/// Keeps one received stream in step with our clock.
pub(crate) struct Steady {
    rate: SampleRate,
    pace: Pace,
    looked: MediaTime,
    ppm: f64,
    /// What the jitter buffer aimed at when that changed last, and looks since.
    target: Span,
    even: u32,
    /// From when on the clocks were found to differ; it stays from then on.
    resampler: Option<Box<DriftResampler>>,
    /// The end of what passed before that.
    past: [i16; PAST],
    out: Vec<i16>,
}

/// How far behind the fastest packets sound is played, and within which bounds that is nobody's fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delay {
    /// As it is, with what is decoded and waits.
    pub(crate) present: Span,
    /// What the jitter buffer aims at.
    pub(crate) target: Span,
    /// How far apart packets come.
    pub(crate) packet: Span,
    /// The far side's clock as the packets' times tell it, in ppm; 0 until known.
    pub(crate) drift_ppm: f64,
}

impl Steady {
    pub(crate) fn new(rate: SampleRate, now: MediaTime) -> Self {
        Self {
            rate,
            pace: Pace::default(),
            looked: now,
            ppm: 0.0,
            target: Span::ZERO,
            even: 0,
            resampler: None,
            past: [0; PAST],
            out: Vec::new(),
        }
    }

    /// The same clock, at another rate of samples.
    pub(crate) fn at_rate(&self, rate: SampleRate, now: MediaTime) -> Self {
        Self { pace: self.pace, ppm: self.ppm, ..Self::new(rate, now) }
    }

    /// Whether sound passes unchanged.
    pub(crate) fn is_idle(&self) -> bool {
        self.resampler.is_none()
    }

    /// Whether a second has passed since the last look.
    pub(crate) fn is_due(&self, now: MediaTime) -> bool {
        now.since(self.looked) >= LOOK
    }

    /// Looks whether the delay grows or shrinks. The converter has to keep back a little of the first sound
    /// it gets, so it begins only where `ahead` says that more is there.
    pub(crate) fn observe(&mut self, now: MediaTime, delay: Delay, ahead: bool) {
        let since = now.since(self.looked);
        self.looked = now;
        let Delay { present, target, packet, drift_ppm } = delay;
        // Anywhere between two packets is as good: where it is depends on when the first one came.
        self.ppm = self.pace.observe(present, present.max(target).min(target + packet), since);
        let moved = target.max(self.target).saturating_sub(target.min(self.target));
        (self.target, self.even) = if moved > EVEN { (target, 0) } else { (self.target, self.even + 1) };
        let differ = drift_ppm.abs() >= LEAST_PPM || (self.ppm.abs() >= PLAIN_PPM && self.even >= EVEN_LOOKS);
        match &mut self.resampler {
            Some(resampler) => resampler.set_drift(self.ppm),
            None if ahead && differ => {
                let mut resampler = Box::new(DriftResampler::after(&self.past));
                resampler.set_drift(self.ppm);
                self.out.reserve(self.rate.samples(crate::ingress::LONGEST_PACKET) + PAST);
                self.resampler = Some(resampler);
            }
            None => {}
        }
    }

    /// Puts sound that belongs at `at` on our clock.
    ///
    /// # Realtime safety
    /// No allocation once it has begun to convert.
    pub(crate) fn convert<'a>(&'a mut self, pcm: &'a [i16], at: MediaTime) -> (&'a [i16], MediaTime) {
        let Some(resampler) = &mut self.resampler else {
            let kept = pcm.len().min(PAST);
            self.past.copy_within(kept.., 0);
            self.past[PAST - kept..].copy_from_slice(&pcm[pcm.len() - kept..]);
            return (pcm, at);
        };
        let at = at - resampler.lag(self.rate);
        self.out.clear();
        resampler.process(pcm, &mut self.out);
        (&self.out, at)
    }
}
