use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, TrackWriter, track_ring};
use antiphon_models_speech::{Hints, Language, StreamConfig};

use super::*;
use crate::probe::{Deed, Deeds, Probe, Vice};
use crate::{Class, Endpointing, OpenStream, Reason, StreamEvent, StreamHandle};

const PATIENCE: Duration = Duration::from_secs(20);

fn plain() -> StreamConfig {
    StreamConfig { language: Language::english(), hints: Hints::default(), source_rate: SampleRate::HZ_8000 }
}

fn pool(workers: usize, streams: usize) -> Pool {
    Pool::start(&PoolConfig { workers, streams, ..PoolConfig::default() }).unwrap()
}

/// An open stream with both its ends.
struct Line {
    handle: Option<StreamHandle>,
    track: TrackWriter,
    events: mpsc::Receiver<StreamEvent>,
    deeds: Deeds,
    at: MediaTime,
}

impl Line {
    fn open(pool: &Pool, vice: Vice) -> Self {
        Self::with_ring(pool, vice, 1_000)
    }

    fn with_ring(pool: &Pool, vice: Vice, depth: usize) -> Self {
        let place = pool.reserve(&Ask::live()).unwrap();
        let (track, audio) = track_ring(SampleRate::HZ_8000, depth, Span::from_millis(20), place.bell());
        let (recognizer, deeds) = Probe::boxed(Span::from_millis(60), vice);
        let (sender, events) = mpsc::channel();
        let handle = place
            .open(OpenStream {
                recognizer,
                engines: Vec::new(),
                config: plain(),
                audio,
                endpointing: Endpointing { endpoint: Span::from_millis(200), ..Endpointing::default() },
                sink: Box::new(move |event| {
                    let _ = sender.send(event);
                }),
            })
            .unwrap();
        Self { handle: Some(handle), track, events, deeds, at: MediaTime::ZERO }
    }

    /// Plays frames: `#` active, `.` inactive. Refused frames leave a gap.
    fn play(&mut self, picture: &str) {
        for mark in picture.chars() {
            let _ = self.track.push(AudioFrame {
                pcm: &[1; 160],
                rate: SampleRate::HZ_8000,
                at: self.at,
                kind: FrameKind::Voice,
                active: mark == '#',
                retracted: false,
            });
            self.at += Span::from_millis(20);
        }
    }

    fn next(&self) -> StreamEvent {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }

    /// Waits for the next final words.
    fn words(&self) -> String {
        loop {
            match self.next() {
                StreamEvent::Final(utterance) => return utterance.text,
                StreamEvent::Closed { .. } => panic!("closed without words"),
                _ => {}
            }
        }
    }

    /// Everything up to the end of the channel, which is when the worker has dropped the stream.
    fn rest(&self) -> Vec<StreamEvent> {
        std::iter::from_fn(|| match self.events.recv_timeout(PATIENCE) {
            Ok(event) => Some(event),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the stream does not end"),
        })
        .collect()
    }

    fn close(&mut self) -> Vec<StreamEvent> {
        self.handle.take().unwrap().close();
        self.rest()
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn words_come_out_while_the_stream_is_open() {
    let pool = pool(1, 1);
    let mut line = Line::open(&pool, Vice::None);
    line.play("..........#####..........");
    assert_eq!(line.words(), "0-360");
    assert!(matches!(line.next(), StreamEvent::SpeechEnded { at, .. } if at.millis() == 300));
    let rest = line.close();
    assert!(matches!(rest[..], [StreamEvent::Closed { until }] if until.millis() == 500), "{rest:?}");
    wait_until("the place is free", || pool.figures().streams == 0);
    assert_eq!(pool.figures().audio, Span::from_millis(500));
    pool.shutdown().unwrap();
}

#[test]
fn close_hears_what_lies_in_the_ring() {
    let pool = pool(1, 1);
    let mut line = Line::open(&pool, Vice::Slow(Duration::from_millis(2)));
    line.play(&"#".repeat(200));
    let events = line.close();
    assert!(matches!(events.last(), Some(StreamEvent::Closed { until }) if until.millis() == 4_000));
    let closings = events.iter().filter(|event| matches!(event, StreamEvent::Closed { .. })).count();
    assert_eq!(closings, 1);
    assert!(events.iter().any(|event| matches!(event, StreamEvent::Final(u) if u.text == "0-4060")));
}

#[test]
fn a_stream_ends_with_its_track() {
    let pool = pool(1, 1);
    let mut line = Line::open(&pool, Vice::None);
    line.play("#####");
    let Line { handle, track, events, .. } = line;
    drop(track);
    let all: Vec<_> = std::iter::from_fn(|| events.recv_timeout(PATIENCE).ok()).collect();
    assert!(matches!(all[..], [.., StreamEvent::SpeechEnded { .. }, StreamEvent::Closed { .. }]), "{all:?}");
    wait_until("the place is free", || pool.figures().streams == 0);
    // The handle outlives its stream; its place has a new tenant that it must not touch.
    let mut next = Line::open(&pool, Vice::None);
    let stale = handle.unwrap();
    assert_eq!(stale.slot().index, next.handle.as_ref().unwrap().slot().index);
    stale.hint(Hints::default());
    stale.listen(false);
    stale.close();
    next.play("#####..........");
    assert_eq!(next.words(), "0-160");
    assert!(!next.deeds.lock().unwrap().contains(&Deed::Hinted(0)));
}

#[test]
fn admission_holds_the_limit_and_places_come_back() {
    let pool = pool(3, 5);
    let mut places: Vec<_> = (0..5).map(|_| pool.reserve(&Ask::live()).unwrap()).collect();
    assert!(matches!(
        pool.reserve(&Ask::live()),
        Err(PoolError::Refused(Refusal { reason: Reason::Full { limit: 5 }, .. }))
    ));
    places.pop();
    places.push(pool.reserve(&Ask::live()).unwrap());
    assert_eq!(pool.figures().streams, 5);
    let mut loads: Vec<_> = pool.inner.inboxes.iter().map(|inbox| inbox.load(Class::Live)).collect();
    loads.sort_unstable();
    assert_eq!(loads, [1, 2, 2], "spread over the workers");
    drop(places);
    assert_eq!(pool.figures().streams, 0);
}

#[test]
fn a_track_of_another_rate_is_refused_and_frees_the_place() {
    let pool = pool(1, 1);
    let place = pool.reserve(&Ask::live()).unwrap();
    let (_track, audio) = track_ring(SampleRate::HZ_16000, 4, Span::from_millis(20), place.bell());
    let (recognizer, _) = Probe::boxed(Span::ZERO, Vice::None);
    let opened = place.open(OpenStream {
        recognizer,
        engines: Vec::new(),
        config: plain(),
        audio,
        endpointing: Endpointing::default(),
        sink: Box::new(|event| panic!("{event:?} from a stream that never was")),
    });
    assert!(matches!(
        opened.err(),
        Some(PoolError::Rate { recognizer: SampleRate::HZ_8000, track: SampleRate::HZ_16000 })
    ));
    assert!(pool.reserve(&Ask::live()).is_ok());
}

#[test]
fn commands_take_effect_after_the_audio_before_them() {
    let pool = pool(1, 1);
    let mut line = Line::open(&pool, Vice::Slow(Duration::from_millis(1)));
    line.play(&"#".repeat(50));
    line.handle.as_ref().unwrap().flush();
    assert_eq!(line.words(), "0-1060");
    line.handle.as_ref().unwrap().listen(false);
    wait_until("all commands are taken", || line.handle.as_ref().is_some() && pool.inner.inboxes[0].idle());
    line.play(&"#".repeat(50));
    line.handle.as_ref().unwrap().listen(true);
    wait_until("all commands are taken", || pool.inner.inboxes[0].idle());
    line.play("#####..........");
    assert_eq!(line.words(), "2000-2160", "what was said to a shut ear is gone");
}

#[test]
fn a_thousand_commands_wait_as_one_of_each_kind() {
    let pool = pool(1, 2);
    let inbox = Inbox::new(2, Arc::clone(&pool.inner.shared));
    let slot = inbox.reserve(&Ask::live()).unwrap();
    let other = inbox.reserve(&Ask::live()).unwrap();
    for n in 0..1_000 {
        inbox.tell(slot, crate::inbox::Command::Hint(Hints::default()));
        inbox.tell(slot, crate::inbox::Command::Listen(n % 2 == 0));
        inbox.tell(other, crate::inbox::Command::Flush);
    }
    let mail = inbox.collect();
    assert_eq!(mail.commands.len(), 3);
    assert!(
        mail.commands.iter().any(|(s, c)| *s == slot && matches!(c, crate::inbox::Command::Listen(false)))
    );
}

#[test]
fn a_slow_engine_does_not_starve_its_neighbour() {
    let pool = pool(1, 2);
    // A backlog of 10 s that takes at least 5 s to hear.
    let mut slow = Line::open(&pool, Vice::Slow(Duration::from_millis(10)));
    slow.play(&"#".repeat(500));
    let began = Instant::now();
    let mut quick = Line::open(&pool, Vice::None);
    quick.play("#####..........");
    assert_eq!(quick.words(), "0-160");
    // Two turns of ten slow frames each are 200 ms; the rest is for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(pool.figures().longest_backlog >= Span::from_secs(5), "{:?}", pool.figures());
    let heard = slow.deeds.lock().unwrap().len();
    assert!(heard < 490, "the slow one was still at it ({heard})");
}

#[test]
fn full_rings_are_counted_and_become_gaps() {
    let pool = pool(1, 2);
    let mut slow = Line::with_ring(&pool, Vice::Slow(Duration::from_millis(20)), 4);
    slow.play(&"#".repeat(100));
    let events = slow.close();
    assert!(matches!(events.last(), Some(StreamEvent::Closed { .. })));
    wait_until("refusals are counted", || pool.figures().refused > 50);
}

#[test]
fn a_panicking_engine_takes_nobody_along() {
    let pool = pool(1, 2);
    let mut bad = Line::open(&pool, Vice::Panic(|push| push == 1));
    let mut good = Line::open(&pool, Vice::None);
    bad.play("##########");
    let events = bad.rest();
    assert!(
        matches!(
            events[..],
            [.., StreamEvent::Failed(_), StreamEvent::SpeechEnded { .. }, StreamEvent::Closed { .. }]
        ),
        "{events:?}"
    );
    good.play("#####..........");
    assert_eq!(good.words(), "0-160");
    assert_eq!(pool.figures().failures, 1);
    assert_eq!(pool.figures().streams, 1);
}

#[test]
fn a_panicking_sink_takes_nobody_along() {
    let pool = pool(1, 2);
    let place = pool.reserve(&Ask::live()).unwrap();
    let (mut track, audio) = track_ring(SampleRate::HZ_8000, 64, Span::from_millis(20), place.bell());
    let (recognizer, deeds) = Probe::boxed(Span::ZERO, Vice::None);
    let called = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&called);
    let _handle = place
        .open(OpenStream {
            recognizer,
            engines: Vec::new(),
            config: plain(),
            audio,
            endpointing: Endpointing::default(),
            sink: Box::new(move |_| {
                assert!(!seen.swap(true, Ordering::AcqRel), "called again");
                panic!("sink")
            }),
        })
        .unwrap();
    for n in 0..10 {
        let _ = track.push(AudioFrame {
            pcm: &[1; 160],
            rate: SampleRate::HZ_8000,
            at: MediaTime::from_millis(n * 20),
            kind: FrameKind::Voice,
            active: true,
            retracted: false,
        });
    }
    wait_until("the stream is closed", || deeds.lock().unwrap().last() == Some(&Deed::Dropped));
    assert!(called.load(Ordering::Acquire));
    let mut good = Line::open(&pool, Vice::None);
    good.play("#####..........");
    assert_eq!(good.words(), "0-160");
}

#[test]
fn thousands_of_streams_come_and_go_without_a_trace() {
    let pool = pool(2, 4);
    let mut first = None;
    for _ in 0..3_000 {
        let mut line = loop {
            // The place of the stream before may take a moment to come back.
            match pool.reserve(&Ask::live()) {
                Ok(place) => {
                    drop(place);
                    break Line::with_ring(&pool, Vice::None, 16);
                }
                Err(error) => assert!(matches!(error, PoolError::Refused(_))),
            }
        };
        line.play("#####");
        let events = line.close();
        assert!(matches!(events.last(), Some(StreamEvent::Closed { .. })));
        assert_eq!(line.deeds.lock().unwrap().last(), Some(&Deed::Dropped));
        assert_eq!(Arc::strong_count(&line.deeds), 1, "the recogniser is gone");
        first.get_or_insert(line.deeds);
    }
    wait_until("all places are free", || pool.figures().streams == 0);
    for inbox in &pool.inner.inboxes {
        assert_eq!(inbox.load(Class::Live), 0);
        assert!(inbox.idle());
        assert!(inbox.places() <= 4, "{} places were made", inbox.places());
    }
    pool.shutdown().unwrap();
}

#[test]
fn shutdown_closes_open_streams() {
    let pool = pool(2, 8);
    let mut lines: Vec<_> = (0..6).map(|_| Line::open(&pool, Vice::None)).collect();
    lines.iter_mut().for_each(|line| line.play("#####"));
    pool.shutdown().unwrap();
    for line in &lines {
        let events = line.rest();
        assert!(matches!(events[..], [.., StreamEvent::SpeechEnded { .. }, StreamEvent::Closed { .. }]));
        assert!(events.iter().any(|event| matches!(event, StreamEvent::Final(_))));
    }
    assert!(matches!(pool.reserve(&Ask::live()), Err(PoolError::Stopped)));
    pool.shutdown().expect("again is harmless");
    assert_eq!(pool.figures().streams, 0);
}

#[test]
fn shutdown_does_not_wait_for_a_long_backlog() {
    let config =
        PoolConfig { workers: 1, streams: 1, grace: Duration::from_millis(100), ..PoolConfig::default() };
    let pool = Pool::start(&config).unwrap();
    let mut line = Line::open(&pool, Vice::Slow(Duration::from_millis(20)));
    line.play(&"#".repeat(1_000));
    let began = Instant::now();
    pool.shutdown().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(matches!(line.rest().last(), Some(StreamEvent::Closed { .. })));
}

#[test]
fn shutdown_names_workers_that_hang() {
    let config = PoolConfig { workers: 2, streams: 2, grace: Duration::ZERO, ..PoolConfig::default() };
    let pool = Pool::start(&config).unwrap();
    let mut line = Line::open(&pool, Vice::Slow(Duration::from_secs(5)));
    line.play("##########");
    wait_until("the engine is at it", || pool.figures().audio >= Span::from_millis(60));
    thread::sleep(Duration::from_millis(50));
    assert!(matches!(pool.shutdown(), Err(PoolError::Stuck { workers: 1 })));
}

#[test]
fn dropping_the_pool_ends_its_streams() {
    let pool = pool(1, 1);
    let mut line = Line::open(&pool, Vice::None);
    line.play("#####");
    drop(pool);
    assert!(matches!(line.rest().last(), Some(StreamEvent::Closed { .. })));
}

#[test]
fn settings_out_of_range_are_named() {
    for (config, name) in [
        (PoolConfig { workers: 0, ..PoolConfig::default() }, "workers"),
        (PoolConfig { streams: 0, ..PoolConfig::default() }, "streams"),
        (PoolConfig { turn: Span::ZERO, ..PoolConfig::default() }, "turn"),
        (PoolConfig { grace: Duration::MAX, ..PoolConfig::default() }, "grace"),
    ] {
        match Pool::start(&config).err() {
            Some(PoolError::Setting { name: found, .. }) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}
