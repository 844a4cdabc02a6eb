//! What cuts a prompt, and when: voices and keys.

mod world;

use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_plane::{ClipEnd, ClipId, LegCommand, LegEvent};
use antiphon_media_testkit::{Impairment, speech_like};
use world::{Make, World};

/// The first stretch of `speech_like` that is voiced from its first sample on, with silence cut from its front.
fn voice(seed: u64, span: Span) -> Vec<i16> {
    let pcm = speech_like(seed, antiphon_media_frame::SampleRate::HZ_8000, span + Span::from_secs(1));
    let onset = pcm.iter().position(|sample| sample.unsigned_abs() > 2_000).expect("it is loud somewhere");
    pcm[onset..].to_vec()
}

fn stopped(events: &[(MediaTime, LegEvent)], clip: u32) -> Option<(MediaTime, Span, ClipEnd)> {
    events.iter().find_map(|(_, event)| match event {
        LegEvent::PlayStopped { id: ClipId(id), at, played, end } if *id == clip => {
            Some((*at, *played, *end))
        }
        _ => None,
    })
}

#[test]
fn a_voice_cuts_a_prompt_within_two_frames_of_the_time_asked_for() {
    for barge_in in [100, 200, 400] {
        for seed in 1..6 {
            let make = Make { barge_in: Span::from_millis(barge_in), ..Make::default() };
            let mut world = World::new([make, make]);
            world.run(2_000);
            let prompt = speech_like(50, antiphon_media_frame::SampleRate::HZ_8000, Span::from_secs(10));
            world.sides[0].play(1, &prompt, true);
            world.sides[0].play(2, &prompt, true);
            world.run(1_000);
            world.sides[1].play(9, &voice(seed, Span::from_secs(3)), false);
            world.run(2_500);
            let onset = world.sides[1].started(9).expect("said") + World::latency(&make);
            let (at, played, end) = stopped(&world.sides[0].events, 1).expect("the prompt was cut");
            assert_eq!(end, ClipEnd::BargeIn);
            // Counted from when the gate heard the voice begin: how soon it does is the gate's business.
            let voice = world.sides[0].events.iter().rev().find_map(|(_, event)| match event {
                LegEvent::VoiceStarted { at: voice } if *voice < at => Some(*voice),
                _ => None,
            });
            let took = at.since(voice.expect("a voice was heard")).millis();
            // The jitter buffer holds the voice back for 30 to 40 ms before anybody hears it.
            assert!(
                took >= barge_in && took <= barge_in + 40 + 40,
                "cut after {took} ms, asked for {barge_in}"
            );
            assert!(at.since(onset).millis() < barge_in + 350, "the gate slept through {}", at.since(onset));
            let began = world.sides[0].started(1).expect("started");
            assert_eq!(at.since(began), played, "it was played until it was cut");
            assert_eq!(stopped(&world.sides[0].events, 2).expect("told").2, ClipEnd::Cancelled);
            let [first, second] = world.sides.map(world::Side::finish);
            // On the wire it ends there too, and so it does where it is heard.
            let silent = |pcm: &[i16], from: Span| {
                pcm[(from.millis() * 8) as usize..].iter().take(4_000).all(|s| s.unsigned_abs() < 100)
            };
            let cut = at.since(MediaTime::ZERO) + Span::from_millis(5);
            assert!(silent(&first.pcm.channels[1], cut));
            assert!(silent(&second.pcm.channels[0], cut + Span::from_millis(40)));
        }
    }
}

#[test]
fn a_prompt_that_may_not_be_interrupted_is_not() {
    let mut world = World::new([Make::default(); 2]);
    world.run(1_000);
    let prompt = speech_like(50, antiphon_media_frame::SampleRate::HZ_8000, Span::from_secs(3));
    world.sides[0].play(1, &prompt, false);
    world.sides[1].play(9, &voice(3, Span::from_secs(2)), false);
    world.sides[1].leg.command(MediaTime::from_millis(1_000), LegCommand::Keys(vec!['5']));
    world.run(4_000);
    let events = &world.sides[0].events;
    assert!(events.iter().any(|(_, e)| matches!(e, LegEvent::VoiceStarted { .. })));
    assert!(events.iter().any(|(_, e)| matches!(e, LegEvent::Key { key: '5', .. })));
    let (_, played, end) = stopped(events, 1).expect("it ended");
    assert_eq!((played, end), (Span::from_secs(3), ClipEnd::Completed));
}

#[test]
fn a_short_sound_does_not_cut_a_prompt() {
    let make = Make { barge_in: Span::from_millis(400), ..Make::default() };
    let mut world = World::new([make, make]);
    world.run(1_000);
    let prompt = speech_like(50, antiphon_media_frame::SampleRate::HZ_8000, Span::from_secs(3));
    world.sides[0].play(1, &prompt, true);
    world.sides[1].play(9, &voice(3, Span::from_secs(1))[..800], false);
    world.run(4_000);
    assert_eq!(stopped(&world.sides[0].events, 1).expect("it ended").2, ClipEnd::Completed);
}

#[test]
fn keys_cut_and_are_told_once_each_whatever_is_lost() {
    let keys: Vec<char> = "123456789*0#A11".chars().collect();
    for seed in 0..10 {
        let impairment = Impairment {
            loss: 0.12,
            jitter: Span::from_millis(30),
            reorder: 0.05,
            duplicate: 0.1,
            delay: Span::from_millis(30),
            ..Impairment::default()
        };
        let make = Make { impairment, seed, ..Make::default() };
        let mut world = World::new([make, make]);
        world.run(1_000);
        let prompt = speech_like(50, antiphon_media_frame::SampleRate::HZ_8000, Span::from_secs(10));
        world.sides[0].play(1, &prompt, true);
        world.run(1_000);
        let now = world.sides[1].local();
        world.sides[1].leg.command(now, LegCommand::Keys(keys.clone()));
        world.run(6_000);
        let told: Vec<_> = world.sides[0]
            .events
            .iter()
            .filter_map(|(_, event)| match event {
                LegEvent::Key { key, at, duration } => Some((*key, *at, *duration)),
                _ => None,
            })
            .collect();
        assert_eq!(told.iter().map(|k| k.0).collect::<Vec<_>>(), keys, "seed {seed}");
        for (n, (_, at, duration)) in told.iter().enumerate() {
            let pressed = now + Span::from_millis(30 + n as u64 * 240);
            let off = at.offset_from(pressed) as f64 / 1e6;
            assert!((-25.0..120.0).contains(&off), "key {n} is {off} ms off, seed {seed}");
            assert!((20..=100).contains(&duration.millis()), "{duration}");
        }
        assert_eq!(stopped(&world.sides[0].events, 1).expect("cut").2, ClipEnd::Key);
        let sent = world.sides[1].events.iter().filter(|(_, e)| *e == LegEvent::KeysSent).count();
        assert_eq!(sent, 1);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let mut world = World::new([Make::default(); 2]);
    for keys in [vec!['x'], vec![], vec!['1'; 300]] {
        world.sides[0].leg.command(MediaTime::ZERO, LegCommand::Keys(keys));
    }
    world.run(500);
    let refused = world.sides[0].events.iter().filter(|(_, e)| *e == LegEvent::KeysRefused).count();
    assert_eq!(refused, 3);
}

#[test]
fn a_prompt_waits_while_the_call_is_on_hold_and_goes_on_behind_it() {
    let mut world = World::new([Make::default(); 2]);
    world.run(1_000);
    let prompt = speech_like(50, antiphon_media_frame::SampleRate::HZ_8000, Span::from_secs(4));
    world.sides[0].play(1, &prompt, true);
    world.run(1_000);
    let now = world.sides[0].local();
    world.sides[0].leg.command(now, LegCommand::Flow { send: false, receive: true });
    world.run(5_000);
    assert_eq!(stopped(&world.sides[0].events, 1), None);
    let now = world.sides[0].local();
    world.sides[0].leg.command(now, LegCommand::Flow { send: true, receive: true });
    world.run(4_000);
    let (at, played, end) = stopped(&world.sides[0].events, 1).expect("it ended");
    assert_eq!((played, end), (Span::from_secs(4), ClipEnd::Completed));
    let whole = at.since(world.sides[0].started(1).expect("started"));
    assert_eq!(whole.millis(), 9_000);
    let [_, heard] = world.sides.map(world::Side::finish);
    // The far side hears no delay: the second part stands 9 s after the start.
    let from = 8 * (at.since(MediaTime::ZERO).millis() as usize + 30 - 1_500);
    let (lag, peak) = antiphon_media_testkit::correlate(
        &prompt[8 * 2_500..],
        &heard.pcm.channels[0][from..from + 12_000],
        480,
    );
    assert!(lag.abs() < 160 && peak > 0.9, "{lag} samples off, {peak} alike");
}

#[test]
fn after_a_stall_what_follows_is_on_time() {
    // The far side's timestamps must show the stall, or its jitter buffer takes it for delay.
    let mut world = World::new([Make::default(); 2]);
    world.run(1_000);
    world.sides[0].stall(Span::from_millis(700));
    world.run(1_000);
    let pcm = voice(4, Span::from_secs(2));
    world.sides[0].play(1, &pcm, false);
    world.run(4_000);
    let start = world.sides[0].started(1).expect("started");
    let [_, heard] = world.sides.map(world::Side::finish);
    let from = 8 * (start.since(MediaTime::ZERO).millis() as usize + 30);
    let (lag, peak) =
        antiphon_media_testkit::correlate(&pcm[..8_000], &heard.pcm.channels[0][from..from + 8_000], 480);
    assert!(lag.abs() < 80 && peak > 0.9, "{lag} samples off, {peak} alike");
    let figures = heard.figures();
    assert_eq!((figures.late, figures.drained), (0, 0), "{figures:?}");
}
