//! Whatever the network does, every sample lies within 10 ms of its time and both channels are equally long.

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate};
use antiphon_media_record::{Channel, GapCause, StereoRecording, read_all};
use proptest::prelude::*;

const RATE: SampleRate = SampleRate::HZ_8000;
const FRAME: usize = 160;

/// What happens to one frame.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Played,
    Lost,
    Concealed,
    Silent,
    /// Written after the given number of later frames.
    Late(u8),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Played),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Concealed),
        1 => Just(Fate::Silent),
        1 => (1u8..20).prop_map(Fate::Late),
    ]
}

/// The value a speaker sends at a sample of the call's clock: never 0, unique over four seconds.
fn value(sample: i64) -> i16 {
    (sample.rem_euclid(32_000) + 1) as i16
}

/// The samples of a frame whose source stands at `from`.
fn spoken(from: i64) -> Vec<i16> {
    (from..from + FRAME as i64).map(value).collect()
}

struct Sent {
    due: usize,
    channel: Channel,
    at_nanos: i64,
    pcm: Vec<i16>,
    kind: FrameKind,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_sample_stays_within_ten_milliseconds(
        fates in prop::collection::vec((fate(), fate()), 50..400),
        drift_ppm in -3_000i64..3_000,
        wobble_us in 0i64..8_000,
        advance_every in 1usize..30,
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("call.wav");
        let mut recording = StereoRecording::create(&path, RATE).expect("created");

        // The caller's clock drifts and its times wobble; ours does neither.
        let mut queue = Vec::new();
        for (n, (caller, machine)) in fates.iter().enumerate() {
            for (channel, fate) in [(Channel::Caller, caller), (Channel::Machine, machine)] {
                let mut at_nanos = n as i64 * 20_000_000;
                if channel == Channel::Caller {
                    at_nanos += at_nanos / 1_000_000 * drift_ppm;
                    at_nanos += (n as i64 * 7_919 % 100) * wobble_us * 10 ;
                }
                let sample = (at_nanos as f64 * 8e-6).round() as i64;
                let (due, pcm, kind) = match *fate {
                    Fate::Played => (n, spoken(sample), FrameKind::Voice),
                    Fate::Lost => continue,
                    Fate::Concealed => (n, spoken(sample), FrameKind::Concealed),
                    Fate::Silent => (n, vec![0; FRAME], FrameKind::Silence),
                    Fate::Late(by) => (n + usize::from(by), spoken(sample), FrameKind::Voice),
                };
                queue.push(Sent { due, channel, at_nanos, pcm, kind });
            }
        }
        queue.sort_by_key(|sent| sent.due);
        for (n, sent) in queue.iter().enumerate() {
            let at = MediaTime::from_nanos(sent.at_nanos);
            let frame = AudioFrame { pcm: &sent.pcm, rate: RATE, at, kind: sent.kind, active: false, retracted: false };
            recording.write(sent.channel, frame).expect("written");
            if n % advance_every == 0 {
                recording.advance(MediaTime::from_millis(sent.due as i64 * 20)).expect("advanced");
                recording.flush().expect("flushed");
            }
        }
        let end = MediaTime::from_millis(fates.len() as i64 * 20);
        let summary = recording.finish(end).expect("finished");

        let back = read_all(&path).expect("readable");
        prop_assert_eq!(back.channels.len(), 2);
        prop_assert_eq!(back.channels[0].len(), back.channels[1].len());
        prop_assert_eq!(back.duration(), summary.duration);
        prop_assert!(summary.duration.millis() as i64 >= end.millis());

        // Where a channel is silence, concealed or bridged by a ramp, its samples say nothing about time; all others
        // name their own place.
        let mut told = [0usize; 2];
        for (c, pcm) in back.channels.iter().enumerate() {
            for (n, pair) in pcm.windows(2).enumerate() {
                let sequence = pair[0] > 0 && i32::from(pair[1]) == i32::from(pair[0]) + 1;
                let Some(distance) = sequence.then(|| {
                    let raw = (i64::from(pair[0]) - 1 - n as i64).rem_euclid(32_000);
                    if raw > 16_000 { raw - 32_000 } else { raw }
                }) else { continue };
                // A ramp may by chance climb by one a sample; a frame of voice cannot be that short.
                if distance.abs() > 81 {
                    let run = pcm[n..].windows(2).take_while(|w| i32::from(w[1]) == i32::from(w[0]) + 1).count();
                    prop_assert!(run < 17, "channel {c} sample {n} is {distance} samples off its time");
                } else {
                    told[c] += 1;
                }
            }
        }
        // Nothing that came in time is missing: lost, silent and realigned samples are all that may not tell.
        let voiced = |pick: fn(&(Fate, Fate)) -> Fate| {
            fates.iter().map(pick).filter(|f| !matches!(f, Fate::Lost | Fate::Silent)).count() * FRAME
        };
        let floors = [voiced(|f| f.0), voiced(|f| f.1)];
        for c in 0..2 {
            prop_assert!(told[c] * 100 >= floors[c] * 78, "channel {c}: {} of {} samples", told[c], floors[c]);
        }
    }
}

#[test]
fn a_slow_and_a_fast_clock_are_corrected_and_never_add_up() {
    for drift_ppm in [-400i64, 400] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("call.wav");
        let mut recording = StereoRecording::create(&path, RATE).expect("created");
        for n in 0..15_000i64 {
            // Five minutes: the two clocks end 120 ms apart.
            let at = n * 20_000_000 + n * 20 * drift_ppm;
            let pcm = spoken(at * 8 / 1_000_000);
            let at = MediaTime::from_nanos(at);
            let frame = AudioFrame {
                pcm: &pcm,
                rate: RATE,
                at,
                kind: FrameKind::Voice,
                active: false,
                retracted: false,
            };
            recording.write(Channel::Caller, frame).expect("written");
            recording.advance(at).expect("advanced");
        }
        let summary = recording.finish(MediaTime::ZERO).expect("finished");
        let back = read_all(&path).expect("readable");
        for (n, sample) in back.channels[0].iter().enumerate() {
            let off = (i64::from(*sample) - 1 - n as i64).rem_euclid(32_000);
            let off = off.min(32_000 - off);
            let bridged = summary
                .caller
                .gaps
                .iter()
                .any(|gap| (gap.from.millis() - 3..gap.to.millis() + 3).contains(&(n as i64 / 8)));
            assert!(off <= 100 || bridged || *sample == 0, "sample {n} is {off} off at {drift_ppm} ppm");
        }
        assert!(summary.caller.gaps.iter().all(|gap| gap.cause == GapCause::Missing));
        let corrections = summary.caller.gaps.len();
        assert_eq!(corrections > 0, drift_ppm > 0, "a slow sender leaves gaps, a fast one overlaps");
        assert!(corrections <= 13, "{corrections}");
    }
}

#[test]
fn a_file_reads_back_as_it_was_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("call.wav");
    let rate = SampleRate::HZ_16000;
    let mut recording = StereoRecording::create(&path, rate).expect("created");
    let track = |seed: i32| -> Vec<i16> {
        (0..48_000i32).map(|n| (n.wrapping_mul(n).wrapping_mul(seed) >> 9) as i16).collect()
    };
    let (left, right) = (track(77), track(-31));
    for (n, (l, r)) in left.chunks(320).zip(right.chunks(320)).enumerate() {
        let at = MediaTime::from_millis(n as i64 * 20);
        for (channel, pcm) in [(Channel::Caller, l), (Channel::Machine, r)] {
            let frame = AudioFrame { pcm, rate, at, kind: FrameKind::Voice, active: false, retracted: false };
            recording.write(channel, frame).expect("written");
        }
        recording.advance(at).expect("advanced");
    }
    let summary = recording.finish(MediaTime::from_millis(3_500)).expect("finished");
    let back = read_all(&path).expect("readable");
    assert_eq!(back.rate, rate);
    assert_eq!((&back.channels[0][..48_000], &back.channels[1][..48_000]), (&left[..], &right[..]));
    assert_eq!(back.channels[0].len(), 56_000, "padded to the end of the call");
    assert_eq!(summary.caller.gaps.len(), 1);
}
