//! What all calls together have come to, counted from their events.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use antiphon_engine_call::{Cause, Decision, Event, EventBody, MediaFigures, PromptEnd, Side};
use antiphon_media_frame::CallId;

/// Seconds of a call: from a wrong number to the longest allowed by default.
const CALL_BOUNDS: &[f64] = &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0];
/// Seconds until an answer is heard: people take 0.2 s for granted and talk again after 2 s.
const RESPONSE_BOUNDS: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0];

/// Seconds of interarrival jitter: a local network has 1 ms, jitter buffers give up beyond 200.
const JITTER_BOUNDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2];
/// Seconds to the far side and back: from one building to a satellite.
const ROUND_TRIP_BOUNDS: &[f64] = &[0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
/// Where ITU-T G.107 annex B changes its word for a call, from "nearly all users dissatisfied" (2.6) to "very satisfied" (4.3).
const MOS_BOUNDS: &[f64] = &[1.0, 1.5, 2.0, 2.6, 3.1, 3.6, 4.0, 4.3, 4.5];

/// Counts events. It sees every one of them, because the table of calls tells it before anybody else.
#[derive(Default)]
pub(crate) struct Meter {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: Counts,
    /// The figures last told of calls under way, by track: they count up within a call and may come repeatedly.
    latest: BTreeMap<(CallId, bool), MediaFigures>,
}

/// A reading of the counters.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Calls begun, by direction.
    pub(crate) started: BTreeMap<&'static str, u64>,
    /// Calls over, by the code of their cause; every code is present.
    pub(crate) ended: BTreeMap<&'static str, u64>,
    /// Seconds from answer to end of the calls that were answered.
    pub(crate) duration: Histogram,
    /// Seconds from the end of the caller's speech to our first sample.
    pub(crate) first_audio: Histogram,
    /// Seconds from the end of the caller's speech to the final words.
    pub(crate) recognized: Histogram,
    /// Media received from callers.
    pub(crate) received: Media,
    /// Media sent to callers.
    pub(crate) sent: Media,
    /// How well calls that are over were received.
    pub(crate) received_quality: Quality,
    /// How well they were sent.
    pub(crate) sent_quality: Quality,
    /// Prompts over, by how they ended.
    pub(crate) prompts: BTreeMap<&'static str, u64>,
    /// Utterances classified, by what followed from it.
    pub(crate) intents: BTreeMap<&'static str, u64>,
    pub(crate) no_input: u64,
    pub(crate) no_match: u64,
}

/// Media figures of one direction over all calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) packets: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) duplicate: u64,
    pub(crate) concealed_ms: u64,
}

/// What the last figures of one direction said at the end of each call.
#[derive(Clone, Debug)]
pub(crate) struct Quality {
    /// Seconds of interarrival jitter, of calls that know it; for what was sent, as the far side tells.
    pub(crate) jitter: Histogram,
    /// Seconds of round trip, of calls that know it.
    pub(crate) round_trip: Histogram,
    /// Mean opinion score, of calls that know it.
    pub(crate) mos: Histogram,
}

/// A histogram of fixed bounds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds: the last is beyond them all.
    counts: Vec<u64>,
    sum: f64,
}

impl Meter {
    /// Counts one event.
    pub(crate) fn note(&self, event: &Event) {
        // A count is one addition: nothing is half done where a panic was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).note(event);
    }

    pub(crate) fn read(&self) -> Counts {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            started: ["inbound", "outbound"].map(|direction| (direction, 0)).into(),
            ended: Cause::ALL.iter().map(|cause| (cause.code, 0)).collect(),
            duration: Histogram::new(CALL_BOUNDS),
            first_audio: Histogram::new(RESPONSE_BOUNDS),
            recognized: Histogram::new(RESPONSE_BOUNDS),
            received: Media::default(),
            sent: Media::default(),
            received_quality: Quality::default(),
            sent_quality: Quality::default(),
            prompts: BTreeMap::new(),
            intents: BTreeMap::new(),
            no_input: 0,
            no_match: 0,
        }
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Each bound with the number of values up to it; infinity last.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        }))
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum
    }

    fn observe_ms(&mut self, millis: u64) {
        self.observe(millis as f64 / 1000.0);
    }

    fn observe(&mut self, value: f64) {
        let place = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[place] += 1;
        self.sum += value;
    }
}

impl Media {
    /// Adds what is new in `now` since `before`.
    fn add(&mut self, before: &MediaFigures, now: &MediaFigures) {
        self.packets += now.packets.saturating_sub(before.packets);
        self.lost += now.lost.saturating_sub(before.lost);
        self.late += now.late.saturating_sub(before.late);
        self.duplicate += now.duplicate.saturating_sub(before.duplicate);
        self.concealed_ms += now.concealed_ms.saturating_sub(before.concealed_ms);
    }
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            jitter: Histogram::new(JITTER_BOUNDS),
            round_trip: Histogram::new(ROUND_TRIP_BOUNDS),
            mos: Histogram::new(MOS_BOUNDS),
        }
    }
}

impl Quality {
    fn add(&mut self, last: &MediaFigures) {
        // Nothing came, or the far side never told how it came there.
        if last.mos.is_none() {
            return;
        }
        self.jitter.observe(last.jitter_ms / 1000.0);
        if let Some(trip) = last.round_trip_ms {
            self.round_trip.observe(trip / 1000.0);
        }
        if let Some(mos) = last.mos {
            self.mos.observe(mos);
        }
    }
}

impl State {
    fn note(&mut self, event: &Event) {
        let counts = &mut self.counts;
        match &event.body {
            EventBody::CallStarted { direction, .. } => *counts.started.entry(direction).or_default() += 1,
            EventBody::CallEnded { cause, duration_ms } => {
                *counts.ended.entry(cause.code).or_default() += 1;
                if *duration_ms > 0 {
                    counts.duration.observe_ms(*duration_ms);
                }
                if let Some(last) = self.latest.remove(&(event.call, true)) {
                    counts.received_quality.add(&last);
                }
                if let Some(last) = self.latest.remove(&(event.call, false)) {
                    counts.sent_quality.add(&last);
                }
            }
            EventBody::Response(times) => {
                counts.first_audio.observe_ms(times.first_audio_ms);
                counts.recognized.observe_ms(times.recognized_ms);
            }
            EventBody::Media { side, figures } => {
                let received = *side == Side::Caller;
                let before = self.latest.insert((event.call, received), *figures).unwrap_or_default();
                let total = if received { &mut counts.received } else { &mut counts.sent };
                total.add(&before, figures);
            }
            EventBody::PromptStopped { reason, .. } => {
                *counts.prompts.entry(ending(*reason)).or_default() += 1;
            }
            EventBody::Intent { decision, .. } => *counts.intents.entry(decided(*decision)).or_default() += 1,
            EventBody::NoInput { .. } => counts.no_input += 1,
            EventBody::NoMatch { .. } => counts.no_match += 1,
            _ => {}
        }
    }
}

fn ending(reason: PromptEnd) -> &'static str {
    match reason {
        PromptEnd::Completed => "completed",
        PromptEnd::BargeIn => "barge_in",
        PromptEnd::Key => "key",
        PromptEnd::Cancelled => "cancelled",
        PromptEnd::HungUp => "hung_up",
        PromptEnd::Failed => "failed",
    }
}

fn decided(decision: Decision) -> &'static str {
    match decision {
        Decision::Accept => "accept",
        Decision::Confirm => "confirm",
        Decision::NoMatch => "no_match",
    }
}

#[cfg(test)]
mod tests {
    use antiphon_engine_call::ResponseTime;
    use antiphon_media_frame::MediaTime;

    use super::*;

    fn told(bodies: Vec<EventBody>) -> Counts {
        let meter = Meter::default();
        for (n, body) in bodies.into_iter().enumerate() {
            meter.note(&Event { call: CallId(1), seq: n as u64 + 1, at: MediaTime::ZERO, body });
        }
        meter.read()
    }

    #[test]
    fn values_fall_into_the_bucket_that_ends_with_them() {
        let response = |ms| EventBody::Response(ResponseTime { recognized_ms: ms / 2, first_audio_ms: ms });
        let counts = told(vec![response(100), response(101), response(60_000)]);
        let buckets: Vec<_> = counts.first_audio.buckets().collect();
        assert_eq!(buckets[..2], [(0.1, 1), (0.2, 2)]);
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 3)));
        assert_eq!(counts.first_audio.count(), 3);
        assert!((counts.first_audio.sum() - 60.201).abs() < 1e-9);
        assert_eq!(counts.recognized.buckets().next(), Some((0.1, 2)));
    }

    #[test]
    fn repeated_media_figures_are_counted_once() {
        let media = |side, packets, lost| {
            let figures = MediaFigures { packets, lost, ..MediaFigures::default() };
            EventBody::Media { side, figures }
        };
        let counts = told(vec![
            media(Side::Caller, 50, 1),
            media(Side::Machine, 70, 0),
            media(Side::Caller, 120, 3),
            EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 2_400 },
            // Another call under the same id would begin from nothing.
            media(Side::Caller, 10, 0),
        ]);
        assert_eq!((counts.received.packets, counts.received.lost), (130, 3));
        assert_eq!(counts.sent.packets, 70);
        assert_eq!(counts.duration.count(), 1);
    }

    #[test]
    fn a_call_is_rated_once_at_its_end_and_only_where_its_figures_are_known() {
        let media = |side, jitter_ms, round_trip_ms, mos| {
            let figures =
                MediaFigures { packets: 50, jitter_ms, round_trip_ms, mos, ..MediaFigures::default() };
            EventBody::Media { side, figures }
        };
        let end = EventBody::CallEnded { cause: Cause::CALLER_HUNG_UP, duration_ms: 2_400 };
        let mut bodies = vec![
            media(Side::Caller, 90.0, None, Some(1.2)),
            media(Side::Caller, 4.0, Some(42.0), Some(4.1)),
            media(Side::Machine, 0.0, None, None),
        ];
        let counts = told(bodies.clone());
        assert_eq!(counts.received_quality.mos.count(), 0, "it goes on");
        bodies.push(end);
        let counts = told(bodies);
        let (received, sent) = (&counts.received_quality, &counts.sent_quality);
        assert!((received.jitter.sum() - 0.004).abs() < 1e-9 && received.jitter.count() == 1);
        assert!((received.round_trip.sum() - 0.042).abs() < 1e-9 && received.round_trip.count() == 1);
        let better = received.mos.buckets().find(|(_, count)| *count == 1);
        assert_eq!(better, Some((4.3, 1)), "the last figures count");
        assert_eq!((sent.jitter.count(), sent.round_trip.count(), sent.mos.count()), (0, 0, 0));
    }

    #[test]
    fn calls_are_counted_by_cause_and_unanswered_ones_have_no_duration() {
        let counts = told(vec![EventBody::CallEnded { cause: Cause::BUSY, duration_ms: 0 }]);
        assert_eq!(counts.ended["limit.calls"], 1);
        assert_eq!(counts.ended["call.hangup.caller"], 0);
        assert_eq!(counts.ended.len(), Cause::ALL.len());
        assert_eq!(counts.duration.count(), 0);
    }
}
