//! Engines that compute in common steps, fail, panic and hang, under the real threads: no word is lost and none is doubled.
#![expect(
    clippy::disallowed_methods,
    reason = "engines that are slow or hang, and a test that waits for them"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span, TrackWriter, track_ring};
use antiphon_models_pool::{
    Ask, Class, Endpointing, OpenStream, Pool, PoolConfig, PoolFigures, StreamEvent, StreamHandle,
};
use antiphon_models_speech::{
    Engine, Hints, Hypothesis, Language, Pace, Recognition, RecognizeError, Recognizer, StreamConfig,
    Utterance,
};

const RATE: SampleRate = SampleRate::HZ_8000;
const CHUNK: Span = Span::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

/// What goes wrong in the step with this number, counted over all streams of an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Vice {
    None,
    Fail(usize),
    Panic(usize),
    Hang(usize),
    /// Each step takes so many milliseconds.
    Slow(u64),
}

/// An engine whose words are the loudness of what it hears: a sample of 7 is the word "7". A word is said once for each
/// chunk it fills, so that lost and doubled sound show.
struct Scribe {
    name: &'static str,
    vice: Vice,
    rows: usize,
    steps: AtomicUsize,
    widths: Mutex<Vec<usize>>,
}

impl Scribe {
    fn new(name: &'static str, rows: usize, vice: Vice) -> Arc<Self> {
        Arc::new(Self { name, vice, rows, steps: AtomicUsize::new(0), widths: Mutex::default() })
    }

    fn misbehave(&self) -> Result<(), RecognizeError> {
        let step = self.steps.fetch_add(1, Ordering::AcqRel);
        match self.vice {
            Vice::Fail(at) if step == at => {
                Err(RecognizeError::Engine { engine: self.name, message: "as asked".into() })
            }
            Vice::Panic(at) if step == at => panic!("as asked"),
            Vice::Hang(at) if step == at => {
                std::thread::sleep(Duration::from_secs(20));
                Ok(())
            }
            Vice::Slow(millis) => {
                std::thread::sleep(Duration::from_millis(millis));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// An engine that is opened by clones of its handle.
struct Shared(Arc<Scribe>);

impl Engine for Shared {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn rate(&self, _: SampleRate) -> SampleRate {
        RATE
    }

    fn open(&self, _: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        Ok(Box::new(Stream {
            scribe: Arc::clone(&self.0),
            pcm: Vec::new(),
            begun: None,
            words: Vec::new(),
            flushing: false,
            said: Vec::new(),
        }))
    }

    fn pace(&self) -> Pace {
        Pace { chunk: CHUNK, rows: self.0.rows }
    }

    fn step(&self, rows: &mut [&mut dyn Recognizer]) -> Result<(), RecognizeError> {
        self.0.misbehave()?;
        self.0.widths.lock().expect("no panic").push(rows.len());
        for row in rows {
            let any: &mut dyn std::any::Any = *row;
            any.downcast_mut::<Stream>().expect("a stream of this engine").compute();
        }
        Ok(())
    }
}

struct Stream {
    scribe: Arc<Scribe>,
    pcm: Vec<i16>,
    begun: Option<(MediaTime, MediaTime)>,
    words: Vec<String>,
    flushing: bool,
    said: Vec<Recognition>,
}

impl Stream {
    fn compute(&mut self) {
        let chunk = RATE.samples(CHUNK);
        let rest: Vec<i16> = self.pcm.drain(..chunk.min(self.pcm.len())).collect();
        // The word of a chunk is its loudest sample.
        let loudest = rest.iter().copied().max().unwrap_or(0);
        if loudest > 0 {
            self.words.push(loudest.to_string());
        }
        let (start, end) = self.begun.unwrap_or_default();
        if self.flushing && self.pcm.is_empty() {
            self.flushing = false;
            let text = std::mem::take(&mut self.words).join(" ");
            if !text.is_empty() {
                let utterance =
                    Utterance { text, words: Vec::new(), start, end, confidence: 1.0, language: None };
                self.said.push(Recognition::Final(utterance));
            }
            self.begun = None;
        } else {
            let text = self.words.join(" ");
            self.said.push(Recognition::Partial(Hypothesis { revision: 1, text, start }));
        }
    }
}

impl Recognizer for Stream {
    fn rate(&self) -> SampleRate {
        RATE
    }

    fn tail(&self) -> Span {
        Span::from_millis(100)
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        let start = self.begun.map_or(frame.at, |(start, _)| start);
        self.begun = Some((start, frame.end()));
        self.pcm.extend_from_slice(frame.pcm);
        Ok(())
    }

    fn poll(&mut self) -> Option<Recognition> {
        if self.said.is_empty() { None } else { Some(self.said.remove(0)) }
    }

    fn hint(&mut self, _: &Hints) -> Result<(), RecognizeError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        self.flushing = true;
        Ok(())
    }

    fn reset(&mut self) {
        self.pcm.clear();
        self.words.clear();
        self.said.clear();
        self.begun = None;
        self.flushing = false;
    }

    fn owed(&self) -> usize {
        let chunks = self.pcm.len() / RATE.samples(CHUNK);
        if self.flushing { chunks.max(1) } else { chunks }
    }

    fn step(&mut self) -> Result<(), RecognizeError> {
        self.scribe.misbehave()?;
        self.compute();
        Ok(())
    }
}

fn pool(config: PoolConfig) -> Pool {
    Pool::start(&PoolConfig { workers: 1, streams: 64, ..config }).expect("a pool")
}

struct Line {
    handle: Option<StreamHandle>,
    track: TrackWriter,
    events: mpsc::Receiver<StreamEvent>,
    at: MediaTime,
}

impl Line {
    fn open(pool: &Pool, class: Class, engines: &[&Arc<Scribe>]) -> Self {
        let engines: Vec<Arc<dyn Engine>> = engines.iter().map(|scribe| shared(scribe)).collect();
        Self::opened_by(&Arc::clone(&engines[0]), pool, class, engines)
    }

    /// A stream of `first` that `engines` may take over.
    fn opened_by(first: &Arc<dyn Engine>, pool: &Pool, class: Class, engines: Vec<Arc<dyn Engine>>) -> Self {
        let ask = Ask { class, tenant: "".into() };
        let place = pool.reserve(&ask).expect("a place");
        let (track, audio) = track_ring(RATE, 1_500, Span::from_millis(20), place.bell());
        let config =
            StreamConfig { language: Language::english(), hints: Hints::default(), source_rate: RATE };
        let (sender, events) = mpsc::channel();
        let handle = place
            .open(OpenStream {
                recognizer: first.open(&config).expect("a stream"),
                engines,
                config,
                audio,
                endpointing: Endpointing {
                    start: Span::from_millis(20),
                    pre_roll: Span::ZERO,
                    endpoint: Span::from_millis(100),
                    ..Endpointing::default()
                },
                sink: Box::new(move |event| {
                    let _ = sender.send(event);
                }),
            })
            .expect("open");
        Self { handle: Some(handle), track, events, at: MediaTime::ZERO }
    }

    /// Says words of 100 ms each and then pauses.
    fn say(&mut self, words: &[i16]) {
        for word in words.iter().copied().chain([0, 0]) {
            for _ in 0..5 {
                self.frame(word);
            }
        }
    }

    fn frame(&mut self, word: i16) {
        let frame = AudioFrame {
            pcm: &[word; 160],
            rate: RATE,
            at: self.at,
            kind: FrameKind::Voice,
            active: word > 0,
            retracted: false,
        };
        self.track.push(frame).expect("room");
        self.at += Span::from_millis(20);
    }

    /// Everything up to the end.
    fn close(mut self) -> Vec<StreamEvent> {
        self.handle.take().expect("open").close();
        let mut all = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) => all.push(event),
                Err(mpsc::RecvTimeoutError::Disconnected) => return all,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the stream does not end: {all:?}"),
            }
        }
    }

    fn finals(&self, count: usize) -> Vec<String> {
        let mut words = Vec::new();
        while words.len() < count {
            if let StreamEvent::Final(utterance) = self.events.recv_timeout(PATIENCE).expect("words in time")
            {
                words.push(utterance.text);
            }
        }
        words
    }
}

/// One engine object for each scribe: the pool tells engines apart by their address.
fn shared(scribe: &Arc<Scribe>) -> Arc<dyn Engine> {
    static KNOWN: Mutex<Vec<(usize, Arc<Shared>)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().expect("no panic");
    let key = Arc::as_ptr(scribe) as usize;
    if let Some((_, engine)) = known.iter().find(|(of, _)| *of == key) {
        return Arc::clone(engine) as Arc<dyn Engine>;
    }
    let engine = Arc::new(Shared(Arc::clone(scribe)));
    known.push((key, Arc::clone(&engine)));
    engine
}

fn words(events: &[StreamEvent]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| match event {
            StreamEvent::Final(utterance) => Some(utterance.text.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn streams_of_one_engine_are_computed_together() {
    let engine = Scribe::new("scribe", 8, Vice::Slow(30));
    let pool = pool(PoolConfig::default());
    let mut lines: Vec<Line> = (0..8).map(|_| Line::open(&pool, Class::Live, &[&engine])).collect();
    for line in &mut lines {
        line.say(&[1, 2, 3, 4, 5]);
    }
    for line in lines {
        assert_eq!(words(&line.close()), ["1 2 3 4 5"]);
    }
    let widths = engine.widths.lock().unwrap().clone();
    assert!(widths.iter().sum::<usize>() >= 8 * 6, "each word and the end: {widths:?}");
    assert!(widths.contains(&8), "{widths:?}");
    assert!(widths.len() < 30, "48 rows in few steps: {widths:?}");
}

#[test]
fn whatever_an_engine_does_no_word_is_lost_and_none_doubled() {
    let second = Scribe::new("second", 4, Vice::None);
    for vice in
        (0..14).flat_map(|step| [Vice::Fail(step), Vice::Panic(step)]).chain([Vice::Hang(2), Vice::Hang(5)])
    {
        let first = Scribe::new("first", 4, vice);
        let pool = pool(PoolConfig { stall: Duration::from_millis(300), ..PoolConfig::default() });
        let mut lines: Vec<Line> =
            (0..3).map(|_| Line::open(&pool, Class::Live, &[&first, &second])).collect();
        for line in &mut lines {
            line.say(&[1, 2, 3]);
            line.say(&[4, 5]);
        }
        for line in lines {
            let events = line.close();
            assert_eq!(words(&events), ["1 2 3", "4 5"], "{vice:?}: {events:?}");
            let failed = events.iter().any(|event| matches!(event, StreamEvent::Failed(_)));
            let taken = events.iter().any(|event| matches!(event, StreamEvent::TakenOver { .. }));
            assert_eq!(failed, taken, "{vice:?}: {events:?}");
        }
        if let Vice::Hang(_) = vice {
            assert_eq!(pool.figures().hung, 1);
        }
    }
}

#[test]
fn a_row_that_fails_alone_takes_nobody_along() {
    // Fails in the first common step, then in the first of the rows tried alone.
    struct Twice(Arc<Scribe>);
    impl Engine for Twice {
        fn name(&self) -> &'static str {
            "twice"
        }
        fn rate(&self, _: SampleRate) -> SampleRate {
            RATE
        }
        fn open(&self, config: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
            Shared(Arc::clone(&self.0)).open(config)
        }
        fn pace(&self) -> Pace {
            Pace { chunk: CHUNK, rows: 4 }
        }
        fn step(&self, _: &mut [&mut dyn Recognizer]) -> Result<(), RecognizeError> {
            Err(RecognizeError::Engine { engine: "twice", message: "never together".into() })
        }
    }
    let scribe = Scribe::new("twice", 4, Vice::None);
    let engine: Arc<dyn Engine> = Arc::new(Twice(scribe));
    let pool = pool(PoolConfig::default());
    let mut line = Line::opened_by(&engine, &pool, Class::Live, vec![Arc::clone(&engine)]);
    line.say(&[3; 4]);
    let all = line.close();
    assert_eq!(words(&all), ["3 3 3 3"], "steps alone did it: {all:?}");
    assert!(!all.iter().any(|event| matches!(event, StreamEvent::Failed(_))));
}

#[test]
fn a_stream_whose_engines_all_fail_ends_and_says_so() {
    struct Never;
    impl Engine for Never {
        fn name(&self) -> &'static str {
            "never"
        }
        fn rate(&self, _: SampleRate) -> SampleRate {
            RATE
        }
        fn open(&self, _: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
            Err(RecognizeError::Engine { engine: "never", message: "no model".into() })
        }
    }
    let pool = pool(PoolConfig::default());
    let first = shared(&Scribe::new("first", 4, Vice::Panic(0)));
    let mut line = Line::opened_by(&first, &pool, Class::Live, vec![Arc::new(Never), Arc::new(Never)]);
    line.say(&[3; 4]);
    let all = line.close();
    let failures = all.iter().filter(|event| matches!(event, StreamEvent::Failed(_))).count();
    assert_eq!(failures, 3, "its own and those of both openings: {all:?}");
    assert!(matches!(all[..], [.., StreamEvent::SpeechEnded { .. }, StreamEvent::Closed { .. }]), "{all:?}");
}

#[test]
fn recordings_wait_for_a_caller_no_longer_than_a_step() {
    let engine = Scribe::new("scribe", 1, Vice::Slow(10));
    let pool = pool(PoolConfig::default());
    // Eight recordings with some thirty steps each.
    let mut files: Vec<Line> = (0..8).map(|_| Line::open(&pool, Class::Batch, &[&engine])).collect();
    for file in &mut files {
        (0..6).for_each(|_| file.say(&[1, 2, 3, 4]));
    }
    let began = Instant::now();
    let mut caller = Line::open(&pool, Class::Live, &[&engine]);
    caller.say(&[7, 8]);
    assert_eq!(caller.finals(1), ["7 8"]);
    let waited = began.elapsed();
    let PoolFigures { classes, .. } = pool.figures();
    let done: Vec<String> = files.into_iter().flat_map(|file| words(&file.close())).collect();
    assert_eq!(done.len(), 48, "and they are all heard in the end");
    assert!(done.iter().all(|text| text == "1 2 3 4"), "{done:?}");
    // Eight recordings at 30 steps of 10 ms: had they come first, it would have been 2.4 s.
    assert!(waited < Duration::from_millis(1_500), "{waited:?}, {classes:?}");
    assert!(classes[Class::Live as usize].waits.iter().sum::<u64>() >= 1);
    caller.close();
}
