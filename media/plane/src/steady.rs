//! The far side's clock made ours: what it sends in a second becomes a second's sound.
//!
//! Without this its sound would come short, or pile up, by a packet in a hundred seconds where the clocks differ by
//! 200 ppm, and the jitter buffer would make one up or drop one, which is heard.

use antiphon_media_codec::{DriftResampler, Pace};
use antiphon_media_frame::{MediaTime, SampleRate, Span};

/// How often the clocks are compared.
const LOOK: Span = Span::from_secs(1);
/// Clocks that differ by less are left alone: at 10 ppm a packet is too many once in half an hour, and then the jitter
/// buffer waits for a pause. Packets pass unchanged as long.
const LEAST_PPM: f64 = 10.0;
/// So much slip is believed before the clocks have been measured for the better part of a minute, where the network has
/// been even for some looks: otherwise it is the network that changes.
const SLIPPED: f64 = 3e6;
const EVEN_LOOKS: u32 = 5;
const EVEN: Span = Span::from_millis(2);
/// A step by more is a hole, or a jump of the far side's timestamps.
const STEP: i64 = 10_000_000;
/// The loop wants spans; slip is told as what is too much of this, or too little.
const MIDDLE: Span = Span::from_secs(1);
/// What the converter looks back on.
const PAST: usize = 32;

/// Keeps one received stream in step with our clock.
pub(crate) struct Steady {
    rate: SampleRate,
    pace: Pace,
    looked: MediaTime,
    /// How far the sound's places on the clock have run ahead of the sound itself, in nanoseconds, since it was last placed
    /// exactly: positive where the far side is slow.
    slip: f64,
    settled: bool,
    /// What the jitter buffer aimed at when that changed last, and looks since.
    target: Span,
    even: u32,
    /// From when on the clocks were found to differ; it stays from then on.
    resampler: Option<Box<DriftResampler>>,
    /// The end of what passed before that.
    past: [i16; PAST],
    out: Vec<i16>,
}

impl Steady {
    pub(crate) fn new(rate: SampleRate, now: MediaTime) -> Self {
        Self {
            rate,
            pace: Pace::default(),
            looked: now,
            slip: 0.0,
            settled: true,
            target: Span::ZERO,
            even: 0,
            resampler: None,
            past: [0; PAST],
            out: Vec::new(),
        }
    }

    /// The same clock, at another rate of samples.
    pub(crate) fn at_rate(&self, rate: SampleRate, now: MediaTime) -> Self {
        Self { pace: self.pace, ..Self::new(rate, now) }
    }

    /// Whether sound passes unchanged.
    pub(crate) fn is_idle(&self) -> bool {
        self.resampler.is_none()
    }

    /// Whether a second has passed since the last look.
    pub(crate) fn is_due(&self, now: MediaTime) -> bool {
        now.since(self.looked) >= LOOK
    }

    /// What comes next is placed exactly, behind silence.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    /// Compares the clocks: by how far the sound has slipped, by `drift_ppm` as the packets' times tell it (0 until
    /// known), while the jitter buffer aims at `target`. The converter has to keep back a little of the first sound it
    /// gets, so it begins only where `ahead` says that more is there.
    pub(crate) fn observe(&mut self, now: MediaTime, drift_ppm: f64, target: Span, ahead: bool) {
        let since = now.since(self.looked);
        self.looked = now;
        let moved = target.max(self.target).saturating_sub(target.min(self.target));
        (self.target, self.even) = if moved > EVEN { (target, 0) } else { (self.target, self.even + 1) };
        if self.resampler.is_none() {
            let slipped = self.slip.abs() >= SLIPPED && self.even >= EVEN_LOOKS;
            if !ahead || !(drift_ppm.abs() >= LEAST_PPM || slipped) {
                return;
            }
            self.pace = Pace::starting_at(drift_ppm);
            self.out.reserve(self.rate.samples(crate::ingress::LONGEST_PACKET) + PAST);
            self.resampler = Some(Box::new(DriftResampler::after(&self.past)));
        }
        // Too few samples for the time are as if more were wanted than wait.
        let wanted = MIDDLE.nanos() as f64 + self.slip;
        let ppm = self.pace.observe(MIDDLE, Span::from_nanos(wanted.max(0.0) as u64), since);
        if let Some(resampler) = &mut self.resampler {
            resampler.set_drift(ppm);
        }
    }

    /// Puts sound that belongs at `at`, and is played right behind what ended at `end`, on our clock.
    ///
    /// # Realtime safety
    /// No allocation once it has begun to convert.
    pub(crate) fn convert<'a>(
        &'a mut self,
        pcm: &'a [i16],
        at: MediaTime,
        end: MediaTime,
    ) -> (&'a [i16], MediaTime) {
        let at = at - self.resampler.as_ref().map_or(Span::ZERO, |resampler| resampler.lag(self.rate));
        let step = at.offset_from(end);
        let exact = std::mem::take(&mut self.settled) || step.abs() >= STEP;
        self.slip = if exact { 0.0 } else { self.slip + step as f64 };
        let Some(resampler) = &mut self.resampler else {
            let kept = pcm.len().min(PAST);
            self.past.copy_within(kept.., 0);
            self.past[PAST - kept..].copy_from_slice(&pcm[pcm.len() - kept..]);
            return (pcm, at);
        };
        self.out.clear();
        resampler.process(pcm, &mut self.out);
        (&self.out, at)
    }
}
