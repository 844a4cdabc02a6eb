//! Whatever somebody calls a conversation is measured without harm, and its sums hold.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::collections::BTreeMap;

use antiphon_engine_measure::{Conversation, Hold, Measures, Role, SilenceCause, Stretch, Tone, Track, Turn};
use antiphon_media_frame::{MediaTime, Span};
use antiphon_models_speech::{Language, Utterance, Word};
use proptest::prelude::*;

fn instant() -> impl Strategy<Value = MediaTime> {
    prop_oneof![
        20 => (-2_000i64..60_000).prop_map(MediaTime::from_millis),
        1 => any::<i64>().prop_map(MediaTime::from_nanos),
    ]
}

fn stretch() -> impl Strategy<Value = Stretch> {
    (instant(), instant()).prop_map(|(start, end)| Stretch { start, end })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("嗯".to_owned()),
        Just("好的".to_owned()),
        Just("mhm yeah".to_owned()),
        Just("what is it?".to_owned()),
        Just("我要投诉这个理财产品".to_owned()),
        Just("this is ridiculous let me check".to_owned()),
        "\\PC{0,30}",
        "[ a-c我的？.]{0,40}",
    ]
}

fn tone() -> impl Strategy<Value = Option<Tone>> {
    let number = || prop_oneof![5 => -60f32..500.0, 1 => any::<f32>()];
    proptest::option::of(
        (number(), proptest::option::of(number()), proptest::option::of(number()))
            .prop_map(|(loudness_db, pitch_hz, pitch_range)| Tone { loudness_db, pitch_hz, pitch_range }),
    )
}

fn word() -> impl Strategy<Value = Word> {
    (stretch(), text()).prop_map(|(at, text)| Word { text, start: at.start, end: at.end, confidence: 1.0 })
}

fn turn() -> impl Strategy<Value = Turn> {
    (0..5usize, stretch(), text(), proptest::collection::vec(word(), 0..4), tone()).prop_map(
        |(track, at, text, words, tone)| {
            let said =
                Utterance { text, words, start: at.start, end: at.end, confidence: 1.0, language: None };
            Turn { track, said, tone }
        },
    )
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Customer), Just(Role::Agent), Just(Role::Other)]
}

fn conversation() -> impl Strategy<Value = Conversation> {
    let track = (role(), proptest::collection::vec(stretch(), 0..8))
        .prop_map(|(role, speech)| Track { role, speech });
    let hold = (stretch(), proptest::option::of(role())).prop_map(|(at, by)| Hold { at, by });
    (
        proptest::collection::vec(track, 0..4),
        proptest::collection::vec(turn(), 0..25),
        proptest::collection::vec(hold, 0..4),
        prop_oneof![10 => 0u64..70_000, 1 => any::<u64>()],
        any::<bool>(),
    )
        .prop_map(|(tracks, turns, holds, heard, finished)| Conversation {
            id: "any".to_owned(),
            language: Language::undetermined(),
            tracks,
            turns,
            holds,
            heard: Span::from_millis(heard.min(u64::MAX / 1_000_000)),
            finished,
            metadata: BTreeMap::new(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn sums_hold_for_whatever_is_measured(conversation in conversation()) {
        let measures = Measures::of(&conversation);
        let turns = conversation.turns.len();
        prop_assert_eq!(measures.speakers.len(), conversation.tracks.len());
        prop_assert_eq!(measures.rates.len(), turns);
        prop_assert_eq!(measures.agitation.len(), turns);
        let ratios: f32 = measures.speakers.iter().map(|speaker| speaker.ratio).sum();
        prop_assert!(ratios == 0.0 || (ratios - 1.0).abs() < 1e-4);
        let own: usize = measures.speakers.iter().map(|speaker| speaker.turns).sum();
        let on_tracks = conversation.turns.iter().filter(|turn| turn.track < conversation.tracks.len()).count();
        prop_assert_eq!(own + measures.backchannels.len(), on_tracks);
        for pair in measures.silences.windows(2) {
            prop_assert!(pair[0].at.end <= pair[1].at.start);
        }
        for silence in &measures.silences {
            let length = silence.at.end.since(silence.at.start);
            prop_assert!(length >= Measures::SHORTEST_SILENCE);
            for track in &conversation.tracks {
                for speech in &track.speech {
                    let apart = speech.end.millis() <= silence.at.start.millis()
                        || silence.at.end.millis() <= speech.start.millis()
                        || speech.end.millis() <= speech.start.millis();
                    prop_assert!(apart, "{:?} in {:?}", speech, silence);
                }
            }
            if silence.cause == SilenceCause::Hold {
                prop_assert!(silence.owed.is_none());
            }
        }
        for found in &measures.interruptions {
            prop_assert!(found.by != found.of);
            prop_assert!(found.both > Span::ZERO);
            prop_assert!(found.both <= found.overlap.end.since(found.overlap.start));
            prop_assert!(found.turn.is_none_or(|turn| conversation.turns[turn].track == found.by));
        }
        for found in &measures.agitation {
            prop_assert!((0.0..=1.0).contains(&found.score));
            prop_assert!((found.features.values().sum::<f32>() - found.score).abs() < 1e-4);
        }
        for found in &measures.repeats {
            prop_assert!(found.earlier < found.turn && (0.5..=1.0).contains(&found.similarity));
        }
        prop_assert!(measures.topics.iter().all(|topic| topic.turns.iter().all(|&turn| turn < turns)));
        prop_assert!(measures.summary.iter().all(|&turn| turn < turns));
        prop_assert_eq!(&measures, &Measures::of(&conversation), "measured twice");
    }

    #[test]
    fn what_is_stored_measures_the_same(conversation in conversation()) {
        let json = serde_json::to_string(&conversation).unwrap();
        // What holds together is read back; what does not is refused with words.
        match serde_json::from_str::<Conversation>(&json) {
            Ok(read) => {
                prop_assert_eq!(Measures::of(&read), Measures::of(&conversation));
                prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
