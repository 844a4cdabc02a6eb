//! What a leg says: prompts one after another without a gap, silence between them.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_media_codec::Resampler;
use antiphon_media_frame::{MediaTime, SampleRate, Span, TrackReader};

/// Names a clip in events; unique within its leg, chosen by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClipId(pub u32);

/// Sound to be played, at any rate; at the leg's own it is not converted.
pub enum Sound {
    /// All of it is there, at this rate. Shared with the prompt cache; nothing is copied.
    Whole(Arc<[i16]>, SampleRate),
    /// It is still being made: played as it comes, silence where it is late, over when the ring is finished.
    Stream(TrackReader),
}

/// One prompt for a leg.
pub struct Clip {
    /// Names it in [`PlayStarted`](crate::LegEvent::PlayStarted) and [`PlayStopped`](crate::LegEvent::PlayStopped).
    pub id: ClipId,
    /// The sound.
    pub sound: Sound,
    /// Whether the far side's voice or keys cut it.
    pub interruptible: bool,
    /// Whether whole sound begins anew at its end, until it is stopped or cut: hold music. What is queued behind it waits.
    pub repeat: bool,
}

/// How a clip came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipEnd {
    /// Played to the last sample.
    Completed,
    /// Cut at the voice edge.
    BargeIn,
    /// Cut by a key.
    Key,
    /// Stopped by its owner, or never begun because the clip before it was cut.
    Cancelled,
    /// The leg closed.
    Closed,
}

/// What happened to a clip within one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Played {
    Started { id: ClipId, at: MediaTime },
    Stopped { id: ClipId, at: MediaTime, played: Span, end: ClipEnd },
}

/// Clips waiting beyond this are refused: nobody prepares minutes of speech on purpose.
pub const QUEUE: usize = 64;

/// Long enough to hide the step of a cut, short enough to be over within the frame.
const FADE: Span = Span::from_millis(5);

/// What is converted at once of a whole sound.
const BLOCK: Span = Span::from_millis(20);

struct Current {
    clip: Clip,
    /// To the leg's rate, where the sound has another.
    resampler: Option<Resampler>,
    /// Samples taken of a whole sound.
    position: usize,
    /// How much was played, but for the samples since the rate last changed.
    played: Span,
    samples: usize,
    /// What is left of a streamed frame or a converted block, at the leg's rate.
    rest: Vec<i16>,
    rest_from: usize,
    announced: bool,
}

/// The exclusive source of one leg's outgoing sound.
pub(crate) struct Egress {
    rate: SampleRate,
    queue: VecDeque<Clip>,
    current: Option<Current>,
    /// The last frame's tail faded to zero, played when a cut falls between two frames.
    fade: usize,
    last: i16,
}

impl Egress {
    pub(crate) fn new(rate: SampleRate) -> Self {
        Self { rate, queue: VecDeque::new(), current: None, fade: 0, last: 0 }
    }

    /// Queues a clip; hands it back where the queue is full.
    pub(crate) fn play(&mut self, clip: Clip) -> Result<(), Clip> {
        if self.queue.len() >= QUEUE {
            return Err(clip);
        }
        self.queue.push_back(clip);
        Ok(())
    }

    /// Fills one frame; returns whether any of it is a prompt.
    pub(crate) fn fill(&mut self, out: &mut [i16], at: MediaTime, mut tell: impl FnMut(Played)) -> bool {
        out.fill(0);
        self.fade_tail(out);
        let mut filled = 0;
        let mut spoke = false;
        while filled < out.len() {
            if self.current.is_none() {
                let Some(clip) = self.queue.pop_front() else { break };
                self.current = Some(Current::new(clip, self.rate));
            }
            let Some(current) = &mut self.current else { break };
            let (taken, over) = current.take(&mut out[filled..]);
            let from = at + self.rate.span(filled);
            if taken > 0 {
                spoke = true;
                if !current.announced {
                    current.announced = true;
                    tell(Played::Started { id: current.clip.id, at: from });
                }
            }
            filled += taken;
            if over {
                let id = current.clip.id;
                let played = current.played(self.rate);
                if !current.announced {
                    tell(Played::Started { id, at: from });
                }
                tell(Played::Stopped {
                    id,
                    at: at + self.rate.span(filled),
                    played,
                    end: ClipEnd::Completed,
                });
                self.current = None;
            } else if taken == 0 {
                // A stream that is late: silence until it comes.
                break;
            }
        }
        self.last = out.last().copied().unwrap_or(0);
        spoke
    }

    /// Lets a frame pass in which something else is sent; what is queued waits.
    pub(crate) fn rest(&mut self) {
        self.fade = 0;
        self.last = 0;
    }

    /// Goes on at another rate.
    pub(crate) fn change(&mut self, rate: SampleRate) {
        self.rest();
        if let Some(current) = &mut self.current {
            current.change(self.rate, rate);
        }
        self.rate = rate;
    }

    /// Whether nothing is played, waits or fades.
    pub(crate) fn is_silent(&self) -> bool {
        self.current.is_none() && self.queue.is_empty() && self.fade == 0
    }

    /// Whether something interruptible is being played or would be next.
    pub(crate) fn interruptible(&self) -> bool {
        self.current.as_ref().map(|c| c.clip.interruptible).or(self.queue.front().map(|c| c.interruptible))
            == Some(true)
    }

    /// Cuts the current clip and what waits behind it, up to the first clip that may not be interrupted.
    pub(crate) fn interrupt(&mut self, at: MediaTime, end: ClipEnd, tell: impl FnMut(Played)) {
        self.cut(at, end, true, tell);
    }

    /// Stops everything, interruptible or not.
    pub(crate) fn stop(&mut self, at: MediaTime, end: ClipEnd, tell: impl FnMut(Played)) {
        self.cut(at, end, false, tell);
    }

    fn cut(&mut self, at: MediaTime, end: ClipEnd, spare: bool, mut tell: impl FnMut(Played)) {
        if let Some(current) = self.current.take() {
            if spare && !current.clip.interruptible {
                self.current = Some(current);
                return;
            }
            if current.announced {
                self.fade = self.rate.samples(FADE);
            }
            let played = current.played(self.rate);
            tell(Played::Stopped { id: current.clip.id, at, played, end });
        }
        let waiting_end = if end == ClipEnd::Closed { ClipEnd::Closed } else { ClipEnd::Cancelled };
        while let Some(next) = self.queue.front() {
            if spare && !next.interruptible {
                break;
            }
            tell(Played::Stopped { id: next.id, at, played: Span::ZERO, end: waiting_end });
            self.queue.pop_front();
        }
    }

    fn fade_tail(&mut self, out: &mut [i16]) {
        if self.fade == 0 {
            return;
        }
        let length = self.fade.min(out.len());
        let last = i32::from(self.last);
        for (n, sample) in out[..length].iter_mut().enumerate() {
            *sample = (last * (length - n) as i32 / (length as i32 + 1)) as i16;
        }
        self.fade = 0;
    }
}

impl Current {
    fn new(clip: Clip, rate: SampleRate) -> Self {
        let mut current = Self {
            clip,
            resampler: None,
            position: 0,
            played: Span::ZERO,
            samples: 0,
            rest: Vec::new(),
            rest_from: 0,
            announced: false,
        };
        current.convert(rate);
        current
    }

    /// What is converted already is played by neither rate; it is at most a frame.
    fn change(&mut self, from: SampleRate, to: SampleRate) {
        self.played = self.played(from);
        self.samples = 0;
        self.rest.clear();
        self.rest_from = 0;
        self.convert(to);
    }

    /// Converts to `rate` from here on.
    fn convert(&mut self, rate: SampleRate) {
        let from = match &self.clip.sound {
            Sound::Whole(_, rate) => *rate,
            Sound::Stream(reader) => reader.rate(),
        };
        self.resampler = (from != rate).then(|| Resampler::new(from, rate));
    }

    fn played(&self, rate: SampleRate) -> Span {
        self.played + rate.span(self.samples)
    }

    /// Copies what there is into `out`; says how much and whether the clip is over.
    fn take(&mut self, out: &mut [i16]) -> (usize, bool) {
        let mut taken = 0;
        let mut over = false;
        while taken < out.len() && !over {
            let left = &self.rest[self.rest_from..];
            if !left.is_empty() {
                let some = left.len().min(out.len() - taken);
                out[taken..taken + some].copy_from_slice(&left[..some]);
                self.rest_from += some;
                taken += some;
                continue;
            }
            self.rest.clear();
            self.rest_from = 0;
            match self.next(&mut out[taken..]) {
                Next::Direct(some) => taken += some,
                Next::Rest => {}
                Next::Late => break,
                Next::Over => over = true,
            }
        }
        self.samples += taken;
        (taken, over || (self.rest_from >= self.rest.len() && self.is_exhausted()))
    }

    /// The next of the sound: straight into `out`, or into the empty `rest`.
    fn next(&mut self, out: &mut [i16]) -> Next {
        match &mut self.clip.sound {
            Sound::Whole(pcm, rate) => {
                if self.position >= pcm.len() {
                    if !self.clip.repeat || pcm.is_empty() {
                        return Next::Over;
                    }
                    self.position = 0;
                }
                let left = &pcm[self.position..];
                let Some(resampler) = &mut self.resampler else {
                    let some = left.len().min(out.len());
                    out[..some].copy_from_slice(&left[..some]);
                    self.position += some;
                    return Next::Direct(some);
                };
                let block = left.len().min(rate.samples(BLOCK).max(1));
                resampler.process(&left[..block], &mut self.rest);
                self.position += block;
                Next::Rest
            }
            Sound::Stream(reader) => {
                let (rest, resampler) = (&mut self.rest, &mut self.resampler);
                let popped = reader.pop(|frame| match resampler {
                    Some(resampler) => resampler.process(frame.pcm, rest),
                    None => rest.extend_from_slice(frame.pcm),
                });
                match popped {
                    Some(()) => Next::Rest,
                    None if reader.finished() => Next::Over,
                    None => Next::Late,
                }
            }
        }
    }

    /// Whether nothing more will come.
    fn is_exhausted(&self) -> bool {
        match &self.clip.sound {
            Sound::Whole(pcm, _) => self.position >= pcm.len() && (!self.clip.repeat || pcm.is_empty()),
            Sound::Stream(reader) => reader.finished(),
        }
    }
}

/// Where the next of a sound went.
enum Next {
    Direct(usize),
    Rest,
    /// A stream has nothing yet.
    Late,
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(id: u32, samples: usize, interruptible: bool) -> Clip {
        let sound = Sound::Whole(vec![1_000; samples].into(), SampleRate::HZ_8000);
        Clip { id: ClipId(id), sound, interruptible, repeat: false }
    }

    fn egress(clips: Vec<Clip>) -> Egress {
        let mut egress = Egress::new(SampleRate::HZ_8000);
        for clip in clips {
            assert!(egress.play(clip).is_ok());
        }
        egress
    }

    #[test]
    fn clips_follow_each_other_within_a_frame() {
        let mut egress = egress(vec![clip(1, 100, true), clip(2, 100, true)]);
        let mut seen = Vec::new();
        let mut out = [0; 160];
        assert!(egress.fill(&mut out, MediaTime::ZERO, |p| seen.push(p)));
        assert!(out.iter().all(|s| *s == 1_000));
        let ids: Vec<_> = seen
            .iter()
            .map(|p| match p {
                Played::Started { id, at } => (id.0, "start", at.nanos()),
                Played::Stopped { id, at, .. } => (id.0, "stop", at.nanos()),
            })
            .collect();
        assert_eq!(ids, [(1, "start", 0), (1, "stop", 12_500_000), (2, "start", 12_500_000)]);
        egress.fill(&mut out, MediaTime::from_millis(20), |p| seen.push(p));
        assert_eq!(out[40], 0, "silence after the last clip");
        assert!(egress.is_silent());
    }

    #[test]
    fn a_cut_fades_and_spares_what_may_not_be_interrupted() {
        let mut egress = egress(vec![clip(1, 1_000, true), clip(2, 50, true), clip(3, 400, false)]);
        let mut out = [0; 160];
        egress.fill(&mut out, MediaTime::ZERO, |_| ());
        let mut seen = Vec::new();
        egress.interrupt(MediaTime::from_millis(20), ClipEnd::BargeIn, |p| seen.push(p));
        assert_eq!(
            seen,
            [
                Played::Stopped {
                    id: ClipId(1),
                    at: MediaTime::from_millis(20),
                    played: Span::from_millis(20),
                    end: ClipEnd::BargeIn
                },
                Played::Stopped {
                    id: ClipId(2),
                    at: MediaTime::from_millis(20),
                    played: Span::ZERO,
                    end: ClipEnd::Cancelled
                },
            ]
        );
        assert!(!egress.interruptible());
        egress.stop(MediaTime::from_millis(20), ClipEnd::Cancelled, |_| ());
        egress.fill(&mut out, MediaTime::from_millis(20), |_| ());
        assert!(out[0] > 900 && out[39] < 60 && out[45] == 0, "a ramp, not a step: {:?}", &out[..46]);
    }

    #[test]
    fn an_empty_clip_still_starts_and_stops() {
        let mut egress = egress(vec![clip(1, 0, true)]);
        let mut seen = Vec::new();
        egress.fill(&mut [0; 160], MediaTime::ZERO, |p| seen.push(p));
        assert_eq!(seen.len(), 2);
    }
}
