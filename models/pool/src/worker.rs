//! A worker: drains the rings of its streams, decides what is computed next and tells what came of it. The computing
//! itself is done by its [`Device`], so that even an engine that hangs cannot keep sound or words from their streams.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use antiphon_media_frame::{Span, TrackReader};
use antiphon_models_speech::{Engine, Pace, RecognizeError, StreamConfig};

use crate::device::{Computed, Device, Job};
use crate::ear::{Ear, Fate};
use crate::engine::discard_payload;
use crate::inbox::{Command, Inbox, Opening};
use crate::order::Order;
use crate::policy::{Class, Shares};
use crate::pressure::{Gauge, Pressure};
use crate::schedule::{Pick, Row, Scheduler};
use crate::segment::Segmenter;
use crate::slots::SlotId;
use crate::stream::OpenStream;
use crate::{PoolConfig, StreamEvent};

/// Rings wake a worker; this only bounds what a lost one could cost.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Sound that is taken out of a stream's ring ahead of its recogniser; what is beyond it stays in the ring.
const AHEAD: Span = Span::from_secs(20);
/// Recognisers opened at once to take over streams.
const OPENINGS: usize = 4;
/// How often the load is judged.
const WINDOW: Duration = Duration::from_millis(500);
/// A stream that has not grown for so long is in a pause.
const PAUSE: Duration = Duration::from_millis(60);
/// The last words of an utterance go before interim words that have waited less than this.
const HEAD_START: Duration = Duration::from_millis(100);

/// One stream on its worker.
pub(crate) struct Stream {
    slot: SlotId,
    class: Class,
    tenant: u32,
    segmenter: Segmenter,
    ear: Ear,
    audio: TrackReader,
    /// `None` once it has panicked.
    sink: Option<Box<dyn FnMut(StreamEvent) + Send>>,
    /// Frames taken from the ring, ever.
    popped: u64,
    /// Commands, each with the count of frames to be heard before it.
    commands: VecDeque<(u64, Command)>,
    /// Refused frames already counted.
    refused: u64,
    /// What it may run on, the preferred one first; none where its recogniser cannot be replaced.
    engines: Vec<Arc<dyn Engine>>,
    config: StreamConfig,
    /// Which of the engines it runs on.
    engine: usize,
    pace: Pace,
    group: u32,
    /// Since when it has had something to compute.
    ready_since: Option<Duration>,
    /// What its recogniser was given and has not brought back.
    given: Vec<Order>,
    /// Its engine hung, so that the same one is not tried again.
    hung: bool,
    /// How much sound waited at the last look that found more of it, and when that was.
    grown: (Span, Duration),
}

impl Stream {
    pub(crate) fn new(slot: SlotId, class: Class, tenant: u32, open: OpenStream) -> Self {
        let OpenStream { recognizer, engines, config, audio, endpointing, sink } = open;
        let segmenter = Segmenter::new(recognizer.rate(), recognizer.tail(), endpointing);
        Self {
            slot,
            class,
            tenant,
            segmenter,
            ear: Ear::new(recognizer, engines.len() as u32),
            audio,
            sink: Some(sink),
            popped: 0,
            commands: VecDeque::new(),
            refused: 0,
            pace: engines.first().map_or_else(Pace::default, |engine| engine.pace()),
            engines,
            config,
            engine: 0,
            group: 0,
            ready_since: None,
            given: Vec::new(),
            hung: false,
            grown: (Span::ZERO, Duration::ZERO),
        }
    }

    fn order(&mut self, command: Command) {
        self.commands.push_back((self.popped + self.audio.ready() as u64, command));
    }

    /// Takes in what is in the ring, as far as there is room for it; returns how much that was.
    fn drain(&mut self, inbox: &Inbox) -> Span {
        let refused = self.audio.refused();
        inbox.counters.refused(refused - self.refused);
        self.refused = refused;
        let waiting = self.audio.ready() as u64;
        let (mut heard, mut longest) = (Span::ZERO, Span::ZERO);
        loop {
            while self.commands.front().is_some_and(|(due, _)| *due <= self.popped) {
                let Some((_, command)) = self.commands.pop_front() else { break };
                self.obey(command);
            }
            if self.segmenter.closed() || self.segmenter.orders.sound() >= AHEAD {
                break;
            }
            let segmenter = &mut self.segmenter;
            let Some(span) = self.audio.pop(|frame| {
                segmenter.push(frame);
                frame.span()
            }) else {
                if self.audio.finished() {
                    self.segmenter.finish();
                }
                break;
            };
            self.popped += 1;
            heard += span;
            longest = longest.max(span);
        }
        inbox.counters.heard(heard);
        let behind = longest.saturating_mul(waiting).max(self.segmenter.orders.sound());
        if behind > Span::ZERO {
            inbox.counters.waited(behind);
        }
        heard
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Hint(hints) => self.segmenter.hint(hints),
            Command::Partials(wanted) => self.ear.want_partials(wanted),
            Command::Endpoint(endpoint) => self.segmenter.set_endpoint(endpoint),
            Command::Listen(on) => self.segmenter.listen(on),
            Command::Flush => self.segmenter.flush_on_request(),
            Command::Close => self.segmenter.finish(),
        }
    }

    /// Tells its owner what is new.
    fn deliver(&mut self, inbox: &Inbox) {
        self.ear.tell(&mut self.segmenter.orders);
        while let Some(event) = self.ear.events.pop_front() {
            if matches!(event, StreamEvent::Failed(_)) {
                inbox.counters.failed();
            }
            let Some(sink) = &mut self.sink else { continue };
            // The sink is not called again after a panic, so nobody can see it in a broken state.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| sink(event))) {
                discard_payload(payload);
                self.sink = None;
                self.segmenter.finish();
                self.ear.tell(&mut self.segmenter.orders);
            }
        }
    }

    /// Whether its engine only computes whole chunks, so that nothing is gained by asking sooner.
    fn chunked(&self) -> bool {
        self.pace.rows > 1
    }

    /// The sound of one turn.
    fn turn(&self, config: &PoolConfig) -> Span {
        if self.chunked() { self.pace.chunk } else { self.pace.chunk.min(config.turn) }
    }

    fn ready(&self) -> bool {
        let orders = &self.segmenter.orders;
        let least = if self.chunked() { self.pace.chunk } else { Span::from_nanos(1) };
        self.ear.idle() && (orders.marked() || orders.sound() >= least)
    }

    /// Its row where it has something to compute.
    fn row(&mut self, now: Duration) -> Option<Row> {
        if !self.ready() {
            self.ready_since = None;
            return None;
        }
        let since = *self.ready_since.get_or_insert(now);
        let due = if self.segmenter.orders.marked() { since.saturating_sub(HEAD_START) } else { since };
        Some(Row { slot: self.slot, class: self.class, tenant: self.tenant, group: self.group, due })
    }

    /// When its next chunk will be complete, if it is on its way: in a pause nothing comes.
    fn expected(&mut self, now: Duration) -> Option<Duration> {
        if self.class == Class::Batch || !self.chunked() || !self.segmenter.speaking() || !self.ear.idle() {
            return None;
        }
        let sound = self.segmenter.orders.sound();
        if sound != self.grown.0 {
            self.grown = (sound, now);
        }
        let at = self.grown.1 + Duration::from(self.pace.chunk.saturating_sub(sound));
        (now < self.grown.1 + PAUSE).then_some(at)
    }

    fn fate(&mut self, fate: &Fate) -> bool {
        match fate {
            Fate::Well => false,
            Fate::Wants => true,
            Fate::Lost => {
                self.segmenter.abort();
                false
            }
        }
    }

    /// Which engine to try next.
    fn successor(&self) -> usize {
        let attempt = self.ear.attempt() as usize + usize::from(self.hung);
        (self.engine + attempt) % self.engines.len().max(1)
    }
}

/// Runs a worker until its inbox is stopped and its streams are closed, at most about the configured grace after that.
pub(crate) fn run(inbox: &Arc<Inbox>, config: &PoolConfig, name: &str, alive: &SyncSender<()>) {
    let mut worker = Worker::new(inbox, config, name, alive);
    while worker.round() {}
}

struct Worker<'a> {
    inbox: &'a Arc<Inbox>,
    config: &'a PoolConfig,
    name: &'a str,
    alive: &'a SyncSender<()>,
    began: Instant,
    streams: Streams,
    scheduler: Scheduler,
    /// The engines of the scheduler's groups; the first group is of those without.
    engines: Vec<Option<Arc<dyn Engine>>>,
    device: Option<Device>,
    /// Counts the devices.
    number: u64,
    /// Since when the device has been at what rows.
    busy: Option<(Instant, Vec<Row>)>,
    wanting: VecDeque<SlotId>,
    openings: usize,
    stop_by: Option<Instant>,
    window: Window,
    gauge: Gauge,
}

/// What happened since the load was last judged.
struct Window {
    began: Instant,
    /// Computing time of live and outbound streams.
    computed: Duration,
    /// Their audio.
    heard: Span,
    /// The longest that one of them waited for its turn.
    waited: Duration,
}

impl Window {
    fn new() -> Self {
        Self { began: Instant::now(), computed: Duration::ZERO, heard: Span::ZERO, waited: Duration::ZERO }
    }
}

impl<'a> Worker<'a> {
    fn new(inbox: &'a Arc<Inbox>, config: &'a PoolConfig, name: &'a str, alive: &'a SyncSender<()>) -> Self {
        let mut scheduler = Scheduler::new(config.shares);
        let loose = Pace { chunk: config.turn, rows: 1 };
        scheduler.group(loose, Duration::from(config.turn) / 10);
        Self {
            inbox,
            config,
            name,
            alive,
            began: Instant::now(),
            streams: Streams::default(),
            scheduler,
            engines: vec![None],
            device: None,
            number: 0,
            busy: None,
            wanting: VecDeque::new(),
            openings: 0,
            stop_by: None,
            window: Window::new(),
            gauge: Gauge::default(),
        }
    }

    /// Whatever there is to do, then a sleep until there is more. Returns whether the worker goes on.
    fn round(&mut self) -> bool {
        let mail = self.inbox.collect();
        for (_, mut stream) in mail.opened {
            stream.group = self.group_of(&stream);
            self.streams.put(stream);
        }
        for (slot, command) in mail.commands {
            // A command whose stream has ended finds nobody.
            if let Some(stream) = self.streams.at(slot) {
                stream.order(command);
            }
        }
        mail.computed.into_iter().for_each(|computed| self.take_in(computed));
        mail.openings.into_iter().for_each(|opening| self.take_over(opening));
        self.give_up_a_hung_device();
        if mail.stopping && self.stop_by.is_none() {
            self.stop_by = Some(Instant::now() + self.config.grace);
            self.streams.all().for_each(|stream| stream.order(Command::Close));
        }
        let late = self.stop_by.is_some_and(|by| Instant::now() >= by);
        for stream in self.streams.all() {
            let heard = stream.drain(self.inbox);
            if stream.class != Class::Batch {
                self.window.heard += heard;
            }
            if late {
                // What has not been heard by now is not.
                stream.segmenter.abort();
                stream.ear.kill();
            }
            stream.deliver(self.inbox);
        }
        self.streams.drop_closed(self.inbox);
        if self.stop_by.is_some() && (self.streams.is_empty() || late) {
            return false;
        }
        self.look_back();
        self.open_successors();
        let sleep = self.dispatch();
        self.inbox.bell.wait(sleep);
        true
    }

    /// Judges the load of the last while, sheds by it, and tells admission what streams really take.
    fn look_back(&mut self) {
        let passed = self.window.began.elapsed();
        if passed < WINDOW {
            return;
        }
        let Window { computed, heard, waited, .. } = std::mem::replace(&mut self.window, Window::new());
        let shared = &self.inbox.shared;
        shared.admission().experience(heard, computed);
        let pressure = self.gauge.judge(computed.as_secs_f64() / passed.as_secs_f64(), waited);
        self.inbox.counters.pressed(pressure);
        let shares = shared.shares();
        let paused = shares.paused || pressure >= Pressure::BatchPaused;
        self.scheduler.set_shares(Shares { paused, ..shares });
        for (_, tenant, weight) in shared.admission().tenants() {
            self.scheduler.set_weight(tenant, weight);
        }
        for stream in self.streams.all() {
            stream.ear.set_thin(pressure >= Pressure::PartialsThinned && stream.class != Class::Batch);
        }
    }

    /// Gives the device its next job, where it is free and there is one. Returns how long to sleep at most.
    fn dispatch(&mut self) -> Duration {
        if let Some((since, _)) = &self.busy {
            return self.config.stall.saturating_sub(since.elapsed()).max(Duration::from_millis(1));
        }
        let now = self.began.elapsed();
        let mut rows: Vec<Row> = self.streams.all().filter_map(|stream| stream.row(now)).collect();
        let expected = self.streams.all().filter_map(|stream| stream.expected(now)).min();
        if !self.streams.all().any(|stream| stream.class == Class::Batch) {
            self.scheduler.forget_credit();
        }
        let count = match self.scheduler.pick(now, &mut rows, expected) {
            Pick::Step(count) => count,
            Pick::Until(at) => return at.saturating_sub(now).clamp(Duration::from_millis(1), WINDOW),
            Pick::Nothing if self.streams.is_empty() => return LONGEST_SLEEP,
            // Pressure eases with time, not with sound.
            Pick::Nothing => return WINDOW,
        };
        rows.truncate(count);
        let mut works = Vec::with_capacity(count);
        for row in &rows {
            let Some(stream) = self.streams.at(row.slot) else { continue };
            let turn = stream.turn(self.config);
            if let Some(work) = stream.ear.take(&mut stream.segmenter.orders, turn) {
                stream.given = work.orders();
                let waited = now.saturating_sub(stream.ready_since.take().unwrap_or(now));
                self.inbox.shared.ledger.waited(row.class, waited);
                if row.class != Class::Batch {
                    self.window.waited = self.window.waited.max(waited);
                }
                works.push((stream.slot, work));
            }
        }
        let engine = rows.first().and_then(|row| self.engines[row.group as usize].clone());
        let mut job = Job { works, engine };
        for _ in 0..2 {
            if self.device.is_none() {
                self.number += 1;
                let name = format!("{}-{}", self.name, self.number);
                self.device = Device::start(self.inbox, &name, self.number, self.alive.clone()).ok();
            }
            match self.device.as_ref().map(|device| device.send(job)) {
                Some(Ok(())) => {
                    self.busy = Some((Instant::now(), rows));
                    return self.config.stall;
                }
                Some(Err(back)) => job = *back,
                // No thread to be had: nothing was computed, and the bell tells when to try again.
                None => return Duration::from_millis(100),
            }
            self.device = None;
        }
        Duration::from_millis(100)
    }

    fn take_in(&mut self, computed: Computed) {
        if computed.device != self.number {
            return;
        }
        let Some((_, rows)) = self.busy.take() else { return };
        self.inbox.counters.worked(computed.took);
        self.inbox.shared.ledger.stepped(&rows, computed.took);
        let urgent = rows.iter().filter(|row| row.class != Class::Batch).count();
        self.window.computed += computed.took.mul_f64(urgent as f64 / rows.len().max(1) as f64);
        let group = rows.first().map_or(0, |row| row.group);
        if let [(_, work)] = &computed.works[..]
            && self.scheduler.rows(group) == 1
        {
            // A turn of less than a chunk says little; its cost is brought to that of a whole one.
            let chunk = self.scheduler.chunk(group);
            if work.sound.nanos() >= chunk.nanos() / 4 {
                let took = computed.took.mul_f64(chunk.nanos() as f64 / work.sound.nanos() as f64);
                self.scheduler.learn(group, 1, took);
            }
        } else {
            computed.steps.iter().for_each(|(rows, took)| self.scheduler.learn(group, *rows, *took));
        }
        self.scheduler.done(&rows, computed.took);
        for (slot, work) in computed.works {
            let Some(stream) = self.streams.at(slot) else { continue };
            stream.given.clear();
            let fate = stream.ear.give_back(work, &mut stream.segmenter.orders);
            if stream.fate(&fate) {
                stream.hung = false;
                self.wanting.push_back(slot);
            }
        }
    }

    /// An engine that has been computing one step for longer than any step takes is left behind with its thread.
    fn give_up_a_hung_device(&mut self) {
        if self.busy.as_ref().is_none_or(|(since, _)| since.elapsed() < self.config.stall) {
            return;
        }
        let Some((_, rows)) = self.busy.take() else { return };
        self.device = None;
        // Whatever the old device still says bears its own number.
        self.number += 1;
        self.inbox.counters.hung();
        for row in rows {
            let Some(stream) = self.streams.at(row.slot) else { continue };
            let name = stream.engines.get(stream.engine).map_or("recognizer", |engine| engine.name());
            let error = RecognizeError::Engine {
                engine: name,
                message: format!("has computed for {} without an end", Span::from(self.config.stall)),
            };
            let given = std::mem::take(&mut stream.given);
            let fate = stream.ear.bereave(given, &mut stream.segmenter.orders, error);
            if stream.fate(&fate) {
                stream.hung = true;
                self.wanting.push_back(row.slot);
            }
        }
    }

    /// Opens recognisers that take over, on threads of their own: loading a model takes its time.
    fn open_successors(&mut self) {
        while self.openings < OPENINGS {
            let Some(slot) = self.wanting.pop_front() else { return };
            let Some(stream) = self.streams.at(slot) else { continue };
            let index = stream.successor();
            let Some(engine) = stream.engines.get(index).map(Arc::clone) else { continue };
            let config = stream.config.clone();
            let inbox = Arc::clone(self.inbox);
            let spawned = thread::Builder::new().name(format!("{}-open", self.name)).spawn(move || {
                let opened =
                    crate::engine::guard(|| engine.open(&config)).map_err(crate::engine::Fault::error);
                inbox.hand_in(Opening { slot, engine: index, opened });
            });
            match spawned {
                Ok(_) => self.openings += 1,
                Err(_) => {
                    self.wanting.push_front(slot);
                    return;
                }
            }
        }
    }

    fn take_over(&mut self, opening: Opening) {
        let Opening { slot, engine, opened } = opening;
        self.openings = self.openings.saturating_sub(1);
        let Some(stream) = self.streams.at(slot) else { return };
        let rate = stream.segmenter.rate();
        let fitting = opened.and_then(|recognizer| {
            let found = recognizer.rate();
            if found == rate {
                Ok(recognizer)
            } else {
                Err(RecognizeError::Rate { expected: found, found: rate })
            }
        });
        match fitting {
            Ok(recognizer) => {
                let of = Arc::clone(&stream.engines[engine]);
                stream.segmenter.set_tail(recognizer.tail());
                stream.ear.succeed(recognizer, of.name(), &mut stream.segmenter.orders);
                stream.engine = engine;
                stream.pace = of.pace();
                let group = group_of(self.inbox, &mut self.engines, &mut self.scheduler, Some(&of));
                stream.group = group;
            }
            Err(error) => {
                let fate = stream.ear.retry(error);
                if stream.fate(&fate) {
                    self.wanting.push_back(slot);
                }
            }
        }
    }

    fn group_of(&mut self, stream: &Stream) -> u32 {
        group_of(self.inbox, &mut self.engines, &mut self.scheduler, stream.engines.first())
    }
}

/// The group of an engine's streams.
fn group_of(
    inbox: &Inbox,
    engines: &mut Vec<Option<Arc<dyn Engine>>>,
    scheduler: &mut Scheduler,
    engine: Option<&Arc<dyn Engine>>,
) -> u32 {
    let Some(engine) = engine else { return 0 };
    let same =
        |known: &Option<Arc<dyn Engine>>| known.as_ref().is_some_and(|known| Arc::ptr_eq(known, engine));
    if let Some(index) = engines.iter().position(same) {
        return index as u32;
    }
    engines.push(Some(Arc::clone(engine)));
    let pace = engine.pace();
    let group = scheduler.group(pace, Duration::from(pace.chunk) / 10);
    if let Some((_, known)) = inbox.shared.calibrations().iter().find(|(of, _)| Arc::ptr_eq(of, engine)) {
        known.steps.iter().for_each(|(rows, took)| scheduler.learn(group, *rows, *took));
    }
    group
}

/// Streams by their slots.
#[derive(Default)]
struct Streams {
    places: Vec<Option<Stream>>,
    open: usize,
}

impl Streams {
    fn put(&mut self, stream: Stream) {
        let index = stream.slot.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        self.places[index] = Some(stream);
        self.open += 1;
    }

    /// The present tenant of a place; a former one finds nobody.
    fn at(&mut self, slot: SlotId) -> Option<&mut Stream> {
        self.places.get_mut(slot.index as usize)?.as_mut().filter(|stream| stream.slot == slot)
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.places.iter_mut().flatten()
    }

    fn is_empty(&self) -> bool {
        self.open == 0
    }

    fn drop_closed(&mut self, inbox: &Inbox) {
        for place in &mut self.places {
            if let Some(closed) = place.take_if(|stream| stream.ear.closed()) {
                inbox.release(closed.slot);
                self.open -= 1;
            }
        }
    }
}
