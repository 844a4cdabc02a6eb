//! Ten thousand streams, one after the other, a hundred at a time: what one costs the pool beside its engine, and whether
//! anything is left of it. And how long whoever is one too many waits for his refusal.
//!
//! `cargo bench --package antiphon-models-pool --bench churn`

#![expect(clippy::disallowed_methods, reason = "a bench times the real pool")]

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use antiphon_media_frame::{AudioFrame, FrameKind, MediaTime, SampleRate, Span, TrackWriter, track_ring};
use antiphon_models_pool::{
    Ask, Endpointing, OpenStream, Pool, PoolConfig, PoolError, StreamEvent, StreamHandle,
};
use antiphon_models_speech::{
    Engine, Hints, Language, Recognition, RecognizeError, Recognizer, StreamConfig, Utterance,
};

const RATE: SampleRate = SampleRate::HZ_8000;
const FRAME: Span = Span::from_millis(20);
const OPEN: usize = 100;
/// Frames of a stream: a second of speech and its pause.
const SPOKEN: usize = 50;
const PAUSE: usize = 35;
const PATIENCE: Duration = Duration::from_secs(30);

#[expect(clippy::print_stdout, reason = "the table is what the bench is for")]
fn main() {
    // `cargo test` runs benches once, to see that they run.
    let once = std::env::args().any(|arg| arg == "--test") || !std::env::args().any(|arg| arg == "--bench");
    let total = if once { 300 } else { 10_000 };
    let config = PoolConfig { workers: 1, streams: OPEN, ..PoolConfig::default() };
    let pool = Pool::start(&config).expect("a pool");
    let engine: Arc<dyn Engine> = Arc::new(Listener);
    let mut open: VecDeque<Line> = VecDeque::new();
    println!("{:>8} {:>14} {:>16}", "streams", "resident KiB", "CPU µs a stream");
    let (mut processor, mut words) = (processor_time(), 0);
    for n in 1..=total {
        if open.len() == OPEN {
            words += open.pop_front().map_or(0, Line::finish);
        }
        open.push_back(Line::open(&pool, &engine));
        if n % (total / 10) == 0 {
            let now = processor_time();
            let each = (now - processor).as_secs_f64() * 1e6 / (total / 10) as f64;
            println!("{n:>8} {:>14} {each:>16.0}", resident() / 1_024);
            processor = now;
        }
    }
    while open.len() < OPEN {
        open.push_back(Line::open(&pool, &engine));
    }
    let mut waits: Vec<Duration> = (0..if once { 100 } else { 20_000 })
        .map(|_| {
            let asked = Instant::now();
            assert!(matches!(pool.reserve(&Ask::live()), Err(PoolError::Refused(_))), "all places are taken");
            asked.elapsed()
        })
        .collect();
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!(
        "\n{} refused beside {OPEN} streams: p50 {:.1} µs, p99 {:.1} µs, worst {:.1} µs",
        waits.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    words += open.into_iter().map(Line::finish).sum::<usize>();
    assert!(words >= total, "every stream said its words: {words}");
    pool.shutdown().expect("nobody hangs");
}

/// A stream that has been given its sound.
struct Line {
    handle: StreamHandle,
    _track: TrackWriter,
    events: mpsc::Receiver<StreamEvent>,
}

impl Line {
    fn open(pool: &Pool, engine: &Arc<dyn Engine>) -> Self {
        let asked = Instant::now();
        // The place of a stream that says `Closed` is free a moment later.
        let place = loop {
            match pool.reserve(&Ask::live()) {
                Ok(place) => break place,
                Err(error) => assert!(asked.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        let (mut track, audio) = track_ring(RATE, SPOKEN + PAUSE + 1, FRAME, place.bell());
        let config =
            StreamConfig { language: Language::english(), hints: Hints::default(), source_rate: RATE };
        let (sender, events) = mpsc::channel();
        let handle = place
            .open(OpenStream {
                recognizer: engine.open(&config).expect("a stream"),
                engines: vec![Arc::clone(engine)],
                config,
                audio,
                endpointing: Endpointing::default(),
                sink: Box::new(move |event| {
                    let _ = sender.send(event);
                }),
            })
            .expect("open");
        for n in 0..SPOKEN + PAUSE {
            let frame = AudioFrame {
                pcm: &[if n < SPOKEN { 900 } else { 0 }; 160],
                rate: RATE,
                at: MediaTime::from_millis(n as i64 * 20),
                kind: FrameKind::Voice,
                active: n < SPOKEN,
                retracted: false,
            };
            track.push(frame).expect("room for all of it");
        }
        Self { handle, _track: track, events }
    }

    /// Waits until it has ended; how many utterances it had.
    fn finish(self) -> usize {
        self.handle.close();
        let mut words = 0;
        loop {
            match self.events.recv_timeout(PATIENCE).expect("an end in time") {
                StreamEvent::Final(_) => words += 1,
                StreamEvent::Closed { .. } => return words,
                _ => {}
            }
        }
    }
}

/// Keeps what it hears and has a word for it: an engine that costs nothing.
struct Listener;

struct Heard {
    pcm: Vec<i16>,
    from: MediaTime,
    to: MediaTime,
    word: Option<Utterance>,
}

impl Engine for Listener {
    fn name(&self) -> &'static str {
        "listener"
    }

    fn rate(&self, _: SampleRate) -> SampleRate {
        RATE
    }

    fn open(&self, _: &StreamConfig) -> Result<Box<dyn Recognizer>, RecognizeError> {
        Ok(Box::new(Heard { pcm: Vec::new(), from: MediaTime::ZERO, to: MediaTime::ZERO, word: None }))
    }
}

impl Recognizer for Heard {
    fn rate(&self) -> SampleRate {
        RATE
    }

    fn tail(&self) -> Span {
        Span::from_millis(100)
    }

    fn push(&mut self, frame: AudioFrame<'_>) -> Result<(), RecognizeError> {
        if self.pcm.is_empty() {
            self.from = frame.at;
        }
        self.pcm.extend_from_slice(frame.pcm);
        self.to = frame.end();
        Ok(())
    }

    fn poll(&mut self) -> Option<Recognition> {
        self.word.take().map(Recognition::Final)
    }

    fn hint(&mut self, _: &Hints) -> Result<(), RecognizeError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecognizeError> {
        let loud = self.pcm.drain(..).any(|sample| sample != 0);
        self.word = loud.then(|| Utterance {
            text: "heard".to_owned(),
            words: Vec::new(),
            start: self.from,
            end: self.to,
            confidence: 1.0,
            language: None,
        });
        Ok(())
    }

    fn reset(&mut self) {
        self.pcm.clear();
        self.word = None;
    }
}

/// Memory of this process in RAM, in octets.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// Processor time of this process, all its threads.
fn processor_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok()))
        .sum();
    Duration::from_nanos(nanos)
}
