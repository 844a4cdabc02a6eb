use antiphon_media_frame::{FrameKind, MediaTime};
use antiphon_models_speech::{Hints, Partials};

use super::*;
use crate::probe::{Deed, Deeds, Probe, Vice};

const FRAME: i64 = 20;

/// A lane on virtual time, and everything it has said.
struct Bench {
    lane: Lane,
    deeds: Deeds,
    at: i64,
    said: Vec<String>,
}

fn ms(span: u64) -> Span {
    Span::from_millis(span)
}

/// Frames of 20 ms; speech begins after 60 ms, is heard from 100 ms before and ends after 200 ms.
fn rules() -> Endpointing {
    Endpointing {
        start: ms(60),
        pre_roll: ms(100),
        endpoint: ms(200),
        longest: Span::from_secs(30),
        bridge: ms(100),
    }
}

impl Bench {
    fn new(tail: u64, vice: Vice, rules: Endpointing) -> Self {
        let (probe, deeds) = Probe::boxed(ms(tail), vice);
        Self { lane: Lane::new(probe, rules), deeds, at: 0, said: Vec::new() }
    }

    fn plain() -> Self {
        Self::new(60, Vice::None, rules())
    }

    /// Plays frames: `#` active, `.` inactive, `!` inactive and retracting, `_` missing.
    fn play(&mut self, picture: &str) -> &mut Self {
        for mark in picture.chars() {
            if mark != '_' {
                self.lane.push(AudioFrame {
                    pcm: &[if mark == '#' { 1000 } else { 7 }; 160],
                    rate: SampleRate::HZ_8000,
                    at: MediaTime::from_millis(self.at),
                    kind: FrameKind::Voice,
                    active: mark == '#',
                    retracted: mark == '!',
                });
                self.drain();
            }
            self.at += FRAME;
        }
        self
    }

    /// Writes events down; a run of partials counts once.
    fn drain(&mut self) {
        while let Some(event) = self.lane.poll() {
            let line = match event {
                StreamEvent::SpeechStarted { at } => format!("start {}", at.millis()),
                StreamEvent::Partial(words) if words.text.is_empty() => "withdrawn".to_owned(),
                StreamEvent::Partial(_) => "partial".to_owned(),
                StreamEvent::Final(utterance) => format!("final {}", utterance.text),
                StreamEvent::SpeechEnded { at, decided_at } => {
                    format!("end {} at {}", at.millis(), decided_at.millis())
                }
                StreamEvent::Failed(error) => format!("failed: {error}"),
                StreamEvent::Closed { until } => format!("closed {}", until.millis()),
                StreamEvent::Thinned { .. } => continue,
                other => panic!("{other:?} from a lane of its own"),
            };
            if line != "partial" || self.said.last() != Some(&line) {
                self.said.push(line);
            }
        }
    }

    fn finish(&mut self) -> Vec<String> {
        self.lane.finish();
        self.drain();
        std::mem::take(&mut self.said)
    }

    fn deeds(&self) -> Vec<Deed> {
        self.deeds.lock().unwrap().clone()
    }

    /// What was heard: from, to, and how much of it were zeros.
    fn heard(&self) -> Vec<(i64, i64, bool)> {
        self.deeds()
            .into_iter()
            .filter_map(|deed| match deed {
                Deed::Heard(from, to, zeros) => Some((from, to, zeros)),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn an_utterance_is_heard_from_pre_roll_to_tail() {
    let mut bench = Bench::plain();
    // Speech from 200 to 400 ms.
    bench.play("..........##########...............");
    assert_eq!(bench.finish(), ["start 200", "partial", "final 100-460", "end 400 at 600", "closed 700"]);
    assert_eq!(bench.heard().first(), Some(&(100, 240, false)), "pre-roll and onset in one piece");
    assert!(bench.heard().iter().all(|(_, _, zeros)| !zeros), "the tail was real audio");
}

#[test]
fn what_was_no_speech_ends_without_words() {
    let mut bench = Bench::plain();
    bench.play("..........##########!..............##########..........");
    assert_eq!(
        bench.finish(),
        [
            "start 200",
            "partial",
            "withdrawn",
            "end 400 at 400",
            "start 700",
            "partial",
            "final 600-960",
            "end 900 at 1100",
            "closed 1100"
        ]
    );
    let again =
        bench.deeds().iter().filter(|deed| matches!(deed, Deed::Heard(from, ..) if *from < 600)).count();
    assert_eq!(again, 9, "nothing of it is heard again");
}

#[test]
fn speech_before_what_was_none_keeps_its_words() {
    let mut bench = Bench::plain();
    // Speech from 200 to 400 ms, a breath of 80 ms, then music.
    bench.play("..........##########....####################!...............");
    assert_eq!(bench.finish(), ["start 200", "partial", "final 100-480", "end 400 at 880", "closed 1200"]);
    let mut bench = Bench::new(150, Vice::None, rules());
    bench.play("..........##########..####################!...............");
    assert_eq!(bench.finish()[2], "final 100-550", "the rest of the tail is made up");
}

#[test]
fn unwanted_partials_are_not_made_and_not_told() {
    let mut bench = Bench::plain();
    bench.lane.want_partials(false);
    bench.play("#####...............");
    bench.lane.want_partials(true);
    bench.play("#####...............");
    assert_eq!(
        bench.finish(),
        [
            "start 0",
            "final 0-160",
            "end 100 at 300",
            "start 400",
            "partial",
            "final 300-560",
            "end 500 at 700",
            "closed 800"
        ]
    );
    let told: Vec<Deed> =
        bench.deeds().into_iter().filter(|deed| matches!(deed, Deed::Partials(_))).collect();
    assert_eq!(told, [Deed::Partials(Partials::Off), Deed::Partials(Partials::Normal)]);
}

#[test]
fn a_recogniser_is_told_of_thinning_once() {
    let mut bench = Bench::plain();
    bench.lane.ear.set_thin(true);
    bench.play("#####...............#####...............");
    let told: Vec<Deed> =
        bench.deeds().into_iter().filter(|deed| matches!(deed, Deed::Partials(_))).collect();
    assert_eq!(told, [Deed::Partials(Partials::Thinned)]);
}

#[test]
fn nothing_is_heard_outside_speech() {
    let mut bench = Bench::plain();
    bench.play(&"....#...##.....".repeat(100));
    assert_eq!(bench.finish(), ["closed 30000"]);
    assert_eq!(bench.deeds(), [Deed::Dropped]);
}

#[test]
fn the_first_utterance_may_begin_with_the_track() {
    let mut bench = Bench::plain();
    bench.play("#####..........");
    assert_eq!(bench.finish()[..3], ["start 0", "partial", "final 0-160"]);
}

#[test]
fn a_tail_longer_than_the_endpoint_is_made_up_at_once() {
    let mut bench = Bench::new(500, Vice::None, rules());
    bench.play("#####..........");
    assert_eq!(bench.said, ["start 0", "partial", "final 0-600", "end 100 at 300"]);
    assert_eq!(bench.heard().last(), Some(&(300, 600, true)));
}

#[test]
fn a_pause_inside_an_utterance_is_heard_whole() {
    let mut bench = Bench::plain();
    // The pause of 160 ms is longer than the tail of 60 ms and shorter than the endpoint.
    bench.play("#####........#####..........");
    assert_eq!(bench.finish(), ["start 0", "partial", "final 0-420", "end 360 at 560", "closed 560"]);
    assert!(bench.heard().contains(&(160, 260, false)), "what was withheld comes when speech goes on");
}

#[test]
fn the_next_utterance_does_not_hear_the_last_one_again() {
    let mut bench = Bench::plain();
    bench.play("#####..........###..........");
    let finals: Vec<_> = bench.said.iter().filter(|line| line.starts_with("final")).collect();
    assert_eq!(finals, ["final 0-160", "final 200-420"]);
    // With the pause exactly the endpoint, the silence before is pre-roll as far as it was silence.
    let mut tight = Bench::new(60, Vice::None, Endpointing { pre_roll: ms(500), ..rules() });
    tight.play("#####..........###..........");
    assert!(tight.said.contains(&"final 100-420".to_owned()), "{:?}", tight.said);
}

#[test]
fn finals_come_before_the_end_of_their_speech() {
    let mut bench = Bench::plain();
    bench.play(&"#####............".repeat(50));
    let said = bench.finish();
    let order: Vec<_> = said.iter().filter_map(|line| line.split(' ').next()).collect();
    let (closed, speech) = order.split_last().unwrap();
    assert_eq!(*closed, "closed");
    assert_eq!(speech.len(), 200);
    for utterance in speech.chunks(4) {
        assert_eq!(utterance, ["start", "partial", "final", "end"]);
    }
}

#[test]
fn short_gaps_are_bridged_with_silence() {
    let mut bench = Bench::plain();
    bench.play("#####___#####..........");
    assert_eq!(bench.said, ["start 0", "partial", "final 0-320", "end 260 at 460"]);
    assert_eq!(bench.heard()[4], (100, 160, true));
}

#[test]
fn long_gaps_end_the_utterance() {
    let mut bench = Bench::plain();
    bench.play("#####______#####..........");
    assert_eq!(
        bench.said,
        [
            "start 0",
            "partial",
            "final 0-160",
            "end 100 at 220",
            "start 220",
            "partial",
            "final 220-380",
            "end 320 at 520"
        ]
    );
}

#[test]
fn gaps_between_utterances_cost_nothing_and_leave_no_old_pre_roll() {
    let mut bench = Bench::plain();
    bench.play("..........").play(&"_".repeat(5_000)).play("..#####..........");
    assert_eq!(bench.said[..3], ["start 100240", "partial", "final 100200-100400"]);
}

#[test]
fn old_frames_are_discarded_and_a_clock_set_back_is_a_new_one() {
    let mut bench = Bench::plain();
    bench.play("#####");
    bench.at = 40;
    bench.play("###");
    assert_eq!(bench.heard().last().map(|(_, to, _)| *to), Some(100), "late copies are not heard twice");
    bench.play("#####");
    assert_eq!(bench.heard().last().map(|(_, to, _)| *to), Some(200));
    bench.at = -5_000;
    bench.play("#####..........");
    assert_eq!(bench.said[2..4], ["final 0-260", "end 200 at 200"]);
    assert_eq!(bench.said[4..], ["start -5000", "partial", "final -5000--4840", "end -4900 at -4700"]);
}

#[test]
fn a_long_utterance_is_cut_without_losing_or_repeating_sound() {
    let mut bench = Bench::new(60, Vice::None, Endpointing { longest: Span::from_secs(1), ..rules() });
    bench.play(&"#".repeat(120));
    assert_eq!(
        bench.finish(),
        [
            "start 0",
            "partial",
            "final 0-1060",
            "end 1000 at 1000",
            "start 1000",
            "partial",
            "final 1000-2060",
            "end 2000 at 2000",
            "start 2000",
            "partial",
            "final 2000-2460",
            "end 2400 at 2400",
            "closed 2400"
        ]
    );
}

#[test]
fn a_shut_ear_ends_the_utterance_and_keeps_the_clock() {
    let mut bench = Bench::plain();
    bench.play("#####");
    bench.lane.listen(false);
    bench.drain();
    assert_eq!(bench.said[2..], ["final 0-160", "end 100 at 100"]);
    let heard = bench.heard().len();
    bench.play(&"#".repeat(100));
    assert_eq!(bench.heard().len(), heard, "nothing is heard");
    bench.lane.listen(true);
    bench.said.clear();
    bench.play("#####..........");
    assert_eq!(bench.said, ["start 2100", "partial", "final 2100-2260", "end 2200 at 2400"]);
}

#[test]
fn flush_ends_now_and_says_nothing_in_silence() {
    let mut bench = Bench::plain();
    bench.lane.flush();
    bench.play("...").lane.flush();
    bench.drain();
    assert!(bench.said.is_empty());
    bench.play("#####.").lane.flush();
    bench.drain();
    assert_eq!(bench.said[2..], ["final 0-220", "end 160 at 180"]);
    bench.lane.flush();
    bench.drain();
    assert_eq!(bench.said.len(), 4, "once");
}

#[test]
fn the_endpoint_changes_in_mid_utterance() {
    let mut bench = Bench::plain();
    bench.play("#####....");
    bench.lane.set_endpoint(ms(1_000));
    bench.play(&".".repeat(40));
    assert_eq!(bench.said.len(), 2, "still speaking");
    bench.play("......");
    assert_eq!(bench.said.last().map(String::as_str), Some("end 100 at 1100"));
}

#[test]
fn hints_reach_the_engine_and_refusals_are_told() {
    let mut bench = Bench::plain();
    bench.lane.hint(&Hints { phrases: vec!["yes".to_owned()], ..Hints::default() });
    bench.lane.hint(&Hints { closed: true, ..Hints::default() });
    bench.play("#####..........");
    assert_eq!(bench.deeds()[..2], [Deed::Hinted(1), Deed::Hinted(0)]);
    assert_eq!(bench.said[..3], ["failed: probe: as asked", "start 0", "partial"]);
    assert!(!bench.deeds().contains(&Deed::Reset));
}

#[test]
fn a_failure_costs_its_utterance_only() {
    let mut bench = Bench::new(60, Vice::Fail(|push| push == 1), rules());
    bench.play("#####..........#####..........");
    assert_eq!(
        bench.said,
        [
            "start 0",
            "partial",
            "failed: probe: as asked",
            "end 100 at 300",
            "start 300",
            "partial",
            "final 200-460",
            "end 400 at 600"
        ]
    );
    assert_eq!(bench.deeds().iter().filter(|deed| **deed == Deed::Reset).count(), 1);
}

#[test]
fn three_failures_in_a_row_close_the_stream() {
    let mut bench = Bench::new(60, Vice::Fail(|_| true), rules());
    bench.play(&"#####..........".repeat(5));
    let kinds: Vec<_> = bench.said.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        kinds,
        ["start", "failed:", "end", "start", "failed:", "end", "start", "failed:", "end", "closed"]
    );
    assert_eq!(bench.deeds().last(), Some(&Deed::Dropped), "the engine is gone");
    assert!(bench.finish().len() == 10, "and nothing follows");
}

#[test]
fn failures_with_successes_between_do_not_close() {
    // An utterance takes 7 pushes; one whose first fails takes that one.
    let mut bench = Bench::new(60, Vice::Fail(|push| push % 8 == 0), rules());
    bench.play(&"#####..........".repeat(20));
    assert_eq!(bench.said.iter().filter(|line| line.starts_with("failed")).count(), 10);
    assert!(!bench.lane.closed());
}

#[test]
fn a_panic_closes_the_stream_and_goes_no_further() {
    let mut bench = Bench::new(60, Vice::Panic(|push| push == 2), rules());
    bench.play("#####..........#####..........");
    assert_eq!(
        bench.said,
        ["start 0", "partial", "failed: recognizer: panicked: probe at push 2", "end 80 at 80", "closed 80"]
    );
    assert_eq!(bench.deeds().last(), Some(&Deed::Dropped));
}

#[test]
fn an_engine_that_never_stops_talking_does_not_hang_the_lane() {
    let mut bench = Bench::new(60, Vice::Endless, rules());
    bench.play("#####..........");
    assert_eq!(bench.finish(), ["start 0", "partial", "end 100 at 300", "closed 300"]);
}

#[test]
fn frames_of_another_rate_are_failures() {
    let mut bench = Bench::plain();
    for _ in 0..4 {
        bench.lane.push(AudioFrame {
            pcm: &[0; 320],
            rate: SampleRate::HZ_16000,
            at: MediaTime::ZERO,
            kind: FrameKind::Voice,
            active: true,
            retracted: false,
        });
    }
    bench.drain();
    let wrong = "failed: audio at 16000 Hz pushed into a recogniser of 8000 Hz";
    assert_eq!(bench.said, [wrong, wrong, wrong, "closed 0"]);
}

#[test]
fn extreme_times_neither_panic_nor_fill_memory() {
    let mut bench = Bench::plain();
    for at in [i64::MAX, i64::MIN, 0, i64::MAX - 1, -1, i64::MIN + 1, i64::MAX] {
        for active in [true, false, true, true, true, true] {
            bench.lane.push(AudioFrame {
                pcm: &[1; 160],
                rate: SampleRate::HZ_8000,
                at: MediaTime::from_nanos(at),
                kind: FrameKind::Voice,
                active,
                retracted: false,
            });
        }
    }
    bench.drain();
    bench.finish();
}

#[test]
fn memory_stays_bounded_in_long_silence_and_long_speech() {
    let mut bench = Bench::new(60, Vice::None, Endpointing { endpoint: Span::from_secs(10), ..rules() });
    bench.play(&"#####".repeat(400)).play(&".".repeat(2_000)).play(&".#".repeat(1_000));
    assert!(
        bench
            .lane
            .segmenter
            .recent
            .between(MediaTime::from_nanos(i64::MIN), MediaTime::from_nanos(i64::MAX))
            .1
            .len()
            <= 8_000
    );
    assert!(bench.lane.segmenter.zeros.len() <= 8_000 && bench.lane.ear.events.is_empty());
}

/// Any order of frames, gaps and commands, at odd rates and with failing engines, keeps the grammar of events:
/// started, words, ended, over and over, and closed once at the end. The probe itself checks that utterances have no holes.
#[test]
fn whatever_happens_the_events_keep_their_grammar() {
    for seed in 1..=400u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let rate = SampleRate::new([8_000, 11_025, 16_000, 44_100][random(4) as usize]).unwrap();
        let vice = if random(2) == 0 { Vice::None } else { Vice::Fail(|push| push % 37 == 36) };
        let (probe, _deeds) = Probe::at(rate, ms(random(800)), vice);
        let mut lane = Lane::new(
            probe,
            Endpointing {
                start: ms(random(120)),
                pre_roll: ms(random(400)),
                endpoint: ms(random(900)),
                longest: ms(1_000 + random(3_000)),
                bridge: ms(random(400)),
            },
        );
        let pcm = vec![5i16; 4_000];
        let (mut at, mut active, mut speaking, mut closed) =
            (MediaTime::from_millis(-500), false, false, false);
        for step in 0..1_500 {
            match random(200) {
                0 => lane.flush(),
                1 => lane.listen(random(3) != 0),
                2 => lane.set_endpoint(ms(random(2_000))),
                3 => at += ms(random(1_500)),
                4 => at = at.shifted(-(random(3_000_000_000) as i64)),
                5..=24 => active = !active,
                _ => {}
            }
            let frame = AudioFrame {
                pcm: &pcm[..rate.samples(ms([10, 20, 23, 60][random(4) as usize]))],
                rate,
                at,
                kind: FrameKind::Voice,
                active: active ^ (random(30) == 0),
                retracted: random(40) == 0,
            };
            lane.push(frame);
            at = frame.end();
            if step == 1_499 {
                lane.finish();
            }
            while let Some(event) = lane.poll() {
                assert!(!closed, "seed {seed}: {event:?} after the end");
                match event {
                    StreamEvent::SpeechStarted { .. } => {
                        assert!(!speaking, "seed {seed}: begun twice");
                        speaking = true;
                    }
                    StreamEvent::SpeechEnded { at, decided_at } => {
                        assert!(speaking, "seed {seed}: ended twice");
                        assert!(at <= decided_at, "seed {seed}: decided before it ended");
                        speaking = false;
                    }
                    StreamEvent::Partial(_) | StreamEvent::Final(_) => {
                        assert!(speaking, "seed {seed}: {event:?}");
                    }
                    StreamEvent::Failed(error) => {
                        assert!(!error.to_string().contains("hole"), "seed {seed}: {error}");
                    }
                    StreamEvent::Closed { .. } => closed = true,
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
        }
        assert!(closed && !speaking, "seed {seed}");
    }
}
