//! What is measured of calls that are written down.

mod calls;

use antiphon_engine_measure::{Measures, Role, SilenceCause};
use antiphon_media_frame::{MediaTime, Span};
use calls::{AGENT, CUSTOMER, Call, at};

fn ms(span: Span) -> u64 {
    span.millis()
}

#[test]
fn talk_is_shared_by_who_speaks() {
    let measures = Measures::of(&Call::of(10_000).speech(CUSTOMER, 0, 3_000).speech(AGENT, 4_000, 5_000).0);
    assert_eq!((ms(measures.speakers[0].talk), ms(measures.speakers[1].talk)), (3_000, 1_000));
    assert_eq!((measures.speakers[0].ratio, measures.speakers[1].ratio), (0.75, 0.25));
}

#[test]
fn a_silence_is_owed_by_the_one_who_was_spoken_to() {
    let call = Call::of(30_000)
        .turn(AGENT, 1_000, 2_000, "hello")
        .turn(CUSTOMER, 3_000, 5_000, "where is my order")
        .turn(AGENT, 13_000, 14_000, "it is late")
        .turn(AGENT, 20_000, 21_000, "very late");
    let found: Vec<_> = Measures::of(&call.0).silences.iter().map(|s| (s.at, s.cause, s.owed)).collect();
    assert_eq!(
        found,
        [
            (at(0, 1_000), SilenceCause::Opening, None),
            (at(2_000, 3_000), SilenceCause::Owed(Role::Customer), Some(Role::Customer)),
            (at(5_000, 13_000), SilenceCause::Owed(Role::Agent), Some(Role::Agent)),
            (at(14_000, 20_000), SilenceCause::Within(Role::Agent), Some(Role::Customer)),
            (at(21_000, 30_000), SilenceCause::Closing, Some(Role::Customer)),
        ]
    );
}

#[test]
fn who_owes_is_known_while_the_silence_goes_on_and_stays() {
    let call = Call::of(13_000).turn(AGENT, 0, 2_000, "您稍等我查一下").going_on();
    let going = Measures::of(&call.0).silences[0];
    assert_eq!((going.cause, going.owed), (SilenceCause::Owed(Role::Agent), Some(Role::Agent)));
    let mut after = call.turn(CUSTOMER, 13_000, 14_000, "喂您还在吗");
    after.0.heard = Span::from_millis(14_000);
    let ended = Measures::of(&after.0).silences[0];
    assert_eq!((ended.at, ended.owed), (at(2_000, 13_000), going.owed));
}

#[test]
fn a_hold_is_cut_out_of_a_silence_to_the_millisecond() {
    let call = Call::of(60_000)
        .turn(CUSTOMER, 0, 5_000, "I want to pay")
        .hold(6_501, 40_001, Some(Role::Agent))
        .turn(AGENT, 45_000, 60_000, "thank you for waiting");
    let found: Vec<_> = Measures::of(&call.0).silences.iter().map(|s| (s.at, s.cause, s.owed)).collect();
    let owed = SilenceCause::Owed(Role::Agent);
    assert_eq!(
        found,
        [
            (at(5_000, 6_501), owed, Some(Role::Agent)),
            (at(6_501, 40_001), SilenceCause::Hold, None),
            (at(40_001, 45_000), owed, Some(Role::Agent)),
        ]
    );
}

#[test]
fn silences_shorter_than_half_a_second_are_the_rhythm_of_speech() {
    let measures = |gap: u64| {
        let call = Call::of(2_000 + gap).speech(CUSTOMER, 0, 1_000).speech(
            AGENT,
            1_000 + gap as i64,
            2_000 + gap as i64,
        );
        Measures::of(&call.0).silences.len()
    };
    assert_eq!((measures(499), measures(500)), (0, 1));
}

#[test]
fn a_sign_of_listening_does_not_change_who_owes() {
    let call = Call::of(20_000)
        .turn(AGENT, 0, 4_000, "your policy covers the damage")
        .turn(CUSTOMER, 4_300, 4_700, "mhm")
        .turn(AGENT, 14_000, 15_000, "so sign here");
    let silence = Measures::of(&call.0).silences[0];
    assert_eq!((silence.cause, silence.at), (SilenceCause::Within(Role::Agent), at(4_700, 14_000)));
}

#[test]
fn overlaps_are_exact_to_the_millisecond() {
    for overlap in [1, 499, 500, 501] {
        let call = Call::of(9_000).turn(CUSTOMER, 0, 5_000, "I bought it last week and then it").turn(
            AGENT,
            5_000 - overlap,
            8_000,
            "let me stop you there",
        );
        let [found] = Measures::of(&call.0).interruptions[..] else {
            panic!("one interruption at {overlap}")
        };
        assert_eq!((found.by, found.of, found.turn), (AGENT, CUSTOMER, Some(1)));
        assert_eq!((ms(found.both), found.overlap), (overlap as u64, at(5_000 - overlap, 5_000)));
        assert_eq!(ms(found.speaking), 5_000 - overlap as u64);
        assert!(found.took_over);
    }
}

#[test]
fn who_only_touches_the_end_or_begins_at_once_does_not_interrupt() {
    let touching = Call::of(9_000).speech(CUSTOMER, 0, 5_000).speech(AGENT, 5_000, 8_000);
    let at_once = Call::of(9_000).speech(CUSTOMER, 0, 5_000).speech(AGENT, 0, 8_000);
    assert!(Measures::of(&touching.0).interruptions.is_empty());
    assert!(Measures::of(&at_once.0).interruptions.is_empty());
}

#[test]
fn pauses_within_an_overlap_do_not_count_as_spoken() {
    let call = Call::of(20_000)
        .speech(CUSTOMER, 0, 3_000)
        .speech(CUSTOMER, 3_200, 6_000)
        .speech(AGENT, 2_500, 3_100)
        .speech(AGENT, 3_400, 4_000);
    let [found] = Measures::of(&call.0).interruptions[..] else { panic!("one interruption") };
    assert_eq!((found.overlap, ms(found.both)), (at(2_500, 4_000), 500 + 600));
    assert!(!found.took_over);
    assert_eq!(found.turn, None);
}

#[test]
fn backchannels_are_neither_turns_nor_interruptions() {
    let call = Call::of(20_000)
        .turn(AGENT, 0, 6_000, "the fee is charged once a year in the month of May")
        .turn(CUSTOMER, 2_000, 2_400, "uh-huh")
        .turn(CUSTOMER, 6_300, 6_700, "嗯嗯好的")
        .turn(AGENT, 7_000, 9_000, "and it can be paid back");
    let measures = Measures::of(&call.0);
    let found: Vec<_> = measures.backchannels.iter().map(|found| found.turn).collect();
    assert_eq!(found, [1, 2]);
    assert!(measures.interruptions.is_empty() && measures.responses.is_empty());
    assert_eq!((measures.speakers[CUSTOMER].turns, measures.speakers[AGENT].turns), (0, 2));
}

#[test]
fn a_yes_that_answers_is_a_turn() {
    let call = Call::of(20_000)
        .turn(AGENT, 0, 3_000, "您确认要购买吗")
        .turn(CUSTOMER, 3_500, 4_000, "好的")
        .turn(AGENT, 5_000, 6_000, "已经为您办理");
    let measures = Measures::of(&call.0);
    assert!(measures.backchannels.is_empty());
    assert_eq!(
        measures.responses.iter().map(|r| (r.by, ms(r.after))).collect::<Vec<_>>(),
        [(CUSTOMER, 500), (AGENT, 1_000)]
    );
}

#[test]
fn a_long_drawn_yes_and_one_out_of_nowhere_are_turns() {
    let long = Call::of(20_000).turn(AGENT, 0, 6_000, "it is so").turn(CUSTOMER, 2_000, 3_501, "yeah");
    let alone = Call::of(20_000).turn(AGENT, 0, 6_000, "it is so").turn(CUSTOMER, 7_001, 7_400, "yeah");
    assert!(Measures::of(&long.0).backchannels.is_empty());
    assert!(Measures::of(&alone.0).backchannels.is_empty());
}

#[test]
fn answers_are_timed_without_the_hold() {
    let call = Call::of(60_000)
        .turn(CUSTOMER, 0, 5_000, "can you look it up")
        .hold(5_500, 40_000, Some(Role::Agent))
        .turn(AGENT, 40_700, 45_000, "your balance is five")
        .turn(CUSTOMER, 44_000, 46_000, "five what");
    let measures = Measures::of(&call.0);
    let found: Vec<_> = measures.responses.iter().map(|r| (r.by, r.at.millis(), ms(r.after))).collect();
    assert_eq!(found, [(AGENT, 5_000, 1_200), (CUSTOMER, 45_000, 0)]);
    assert_eq!(measures.speakers[AGENT].response.map(ms), Some(1_200));
}

#[test]
fn the_longest_monologue_ends_where_another_takes_the_word() {
    let call = Call::of(60_000)
        .turn(AGENT, 0, 10_000, "first part of it")
        .turn(CUSTOMER, 4_000, 4_500, "mhm")
        .turn(AGENT, 11_500, 20_000, "second part of it")
        .turn(CUSTOMER, 21_000, 22_000, "I see but no")
        .turn(AGENT, 23_000, 30_000, "third part of it");
    let measures = Measures::of(&call.0);
    assert_eq!(measures.speakers[AGENT].monologue, Some(at(0, 20_000)));
    assert_eq!(measures.speakers[CUSTOMER].monologue, Some(at(21_000, 22_000)));
}

#[test]
fn chinese_is_counted_by_characters_and_english_by_words() {
    let call = Call::of(60_000).turn(AGENT, 0, 6_000, "您好请问有什么可以帮您").turn(
        CUSTOMER,
        7_000,
        9_000,
        "I want to cancel my card today",
    );
    let measures = Measures::of(&call.0);
    assert_eq!((measures.speakers[AGENT].words, measures.speakers[CUSTOMER].words), (11, 7));
    assert_eq!(measures.rates, [Some(110.0), Some(210.0)]);
    assert_eq!(measures.speakers[AGENT].rate, Some(110.0));
}

#[test]
fn pauses_within_a_turn_do_not_slow_it_and_little_has_no_rate() {
    let call = Call::of(60_000)
        .words(AGENT, 0, 8_000, "one two three four five six")
        .speech(AGENT, 0, 2_000)
        .speech(AGENT, 7_000, 8_000)
        .turn(CUSTOMER, 9_000, 11_000, "no no no no");
    assert_eq!(Measures::of(&call.0).rates, [Some(120.0), None]);
}

#[test]
fn words_stand_for_speech_that_nobody_listened_for() {
    let call = Call::of(20_000).words(CUSTOMER, 1_000, 3_000, "where is it").words(
        AGENT,
        5_000,
        6_000,
        "here it is",
    );
    let measures = Measures::of(&call.0);
    assert_eq!(ms(measures.speakers[CUSTOMER].talk), 1_998);
    assert_eq!(measures.silences.len(), 3);
}

#[test]
fn whoever_speaks_above_their_own_manner_sounds_worked_up() {
    let calm = |call: Call, start: i64| {
        call.turn(CUSTOMER, start, start + 3_000, "I ordered it a week ago now").tone(-30.0, 150.0, 4.0)
    };
    let mut call = Call::of(60_000);
    for start in [0, 10_000, 20_000] {
        call = calm(call, start);
    }
    let call = call
        .turn(CUSTOMER, 30_000, 32_000, "this is ridiculous I want my money back now")
        .tone(-20.0, 212.0, 10.0);
    let measures = Measures::of(&call.0);
    assert!(measures.agitation[..3].iter().all(|found| found.score < 0.05), "{:?}", measures.agitation);
    let last = &measures.agitation[3];
    assert!(last.score > 0.9, "{last:?}");
    for feature in ["loudness", "pitch", "range", "rate", "words"] {
        assert!(last.features[feature] > 0.0, "{feature} of {last:?}");
    }
    assert!((last.features.values().sum::<f32>() - last.score).abs() < 1e-5);
}

#[test]
fn what_comes_later_changes_no_score_of_a_turn() {
    let mut call = Call::of(60_000);
    for (index, (loudness, pitch)) in
        [(-30.0, 120.0), (-28.0, 130.0), (-22.0, 160.0), (-12.0, 220.0)].into_iter().enumerate()
    {
        let start = index as i64 * 5_000;
        call =
            call.turn(CUSTOMER, start, start + 3_000, "it does not work at all").tone(loudness, pitch, 5.0);
    }
    let whole = Measures::of(&call.0).agitation;
    let mut early = call.0.clone();
    early.turns.truncate(3);
    early.tracks[CUSTOMER].speech.truncate(3);
    early.heard = Span::from_millis(14_000);
    assert_eq!(Measures::of(&early).agitation, whole[..3]);
}

#[test]
fn who_says_it_again_is_found_with_the_nearest_and_the_likest() {
    let call = Call::of(90_000)
        .turn(AGENT, 0, 2_000, "please tell me your full name")
        .turn(CUSTOMER, 3_000, 4_000, "please tell me your full name")
        .turn(AGENT, 5_000, 7_000, "please tell me your name")
        .turn(AGENT, 8_000, 9_000, "good morning")
        .turn(AGENT, 10_000, 12_000, "Please tell me your full name.");
    let found: Vec<_> =
        Measures::of(&call.0).repeats.iter().map(|r| (r.turn, r.earlier, r.similarity > 0.99)).collect();
    assert_eq!(found, [(2, 0, false), (4, 2, false), (4, 0, true)]);
}

#[test]
fn topics_are_what_ordinary_talk_does_not_say() {
    let call = Call::of(90_000)
        .turn(CUSTOMER, 0, 4_000, "I want to ask about my travel insurance for the trip")
        .turn(AGENT, 5_000, 8_000, "the travel insurance covers lost luggage")
        .turn(CUSTOMER, 9_000, 12_000, "and lost luggage is paid when I have travel insurance")
        .turn(AGENT, 13_000, 14_000, "yes it is so thank you thank you");
    let topics = Measures::of(&call.0).topics;
    assert_eq!(topics[0].text, "travel insurance");
    assert_eq!(topics[0].turns, [0, 1, 2]);
    assert_eq!(topics[1].text, "lost luggage");
    assert!(
        topics.iter().all(|topic| topic.text != "insurance" && !topic.text.contains("thank")),
        "{topics:?}"
    );
}

#[test]
fn chinese_topics_are_whole_phrases() {
    let call = Call::of(90_000)
        .turn(CUSTOMER, 0, 4_000, "您好我想问一下这个理财产品的收益")
        .turn(AGENT, 5_000, 8_000, "这款理财产品是有风险等级的")
        .turn(CUSTOMER, 9_000, 12_000, "那理财产品的风险等级高吗")
        .turn(AGENT, 13_000, 14_000, "风险等级是中等您好请问还有什么问题");
    let topics: Vec<String> = Measures::of(&call.0).topics.into_iter().map(|topic| topic.text).collect();
    assert_eq!(topics, ["理财产品", "风险等级"]);
}

#[test]
fn the_customer_tells_the_reason_and_the_summary_begins_with_it() {
    let call = Call::of(90_000)
        .turn(AGENT, 0, 2_000, "thank you for calling how can I help you")
        .turn(CUSTOMER, 3_000, 4_000, "hello good morning")
        .turn(CUSTOMER, 5_000, 9_000, "I'm calling because my washing machine stopped working yesterday")
        .turn(AGENT, 10_000, 12_000, "sorry to hear that")
        .turn(AGENT, 13_000, 16_000, "I'll book a technician for you on Friday at 10")
        .turn(CUSTOMER, 17_000, 18_000, "okay thanks bye");
    let measures = Measures::of(&call.0);
    assert_eq!(measures.reason.map(|reason| reason.turn), Some(2));
    assert!(measures.summary.starts_with(&[2]) || measures.summary.contains(&2));
    assert!(measures.summary.contains(&4), "{:?}", measures.summary);

    let chinese = Call::of(30_000)
        .turn(AGENT, 0, 2_000, "您好请问有什么可以帮您")
        .turn(CUSTOMER, 3_000, 6_000, "喂你好")
        .turn(CUSTOMER, 7_000, 9_000, "我的信用卡被多扣了两百块钱我想查一下怎么回事");
    assert_eq!(Measures::of(&chinese.0).reason.map(|reason| reason.turn), Some(2));
    let nothing = Call::of(30_000).turn(AGENT, 0, 2_000, "I want you to listen");
    assert_eq!(Measures::of(&nothing.0).reason, None);
}

#[test]
fn times_before_the_clock_and_turns_of_no_track_do_no_harm() {
    let mut call =
        Call::of(0).turn(CUSTOMER, -5_000, -4_000, "early words").words(7, 1_000, 2_000, "of nobody here");
    call.0.tracks[AGENT].speech.push(antiphon_engine_measure::Stretch {
        start: MediaTime::from_nanos(i64::MIN),
        end: MediaTime::from_nanos(i64::MAX),
    });
    let measures = Measures::of(&call.0);
    assert_eq!(measures.speakers.len(), 2);
    assert_eq!(measures.rates.len(), 2);
}
