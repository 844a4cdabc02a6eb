//! The thread that runs the media clock of its legs.
//!
//! Packets are taken in within 2 ms of their coming, so that arrival times are true; every 20 ms each leg plays, taps and
//! sends one frame. The loop neither allocates nor locks per frame.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antiphon_media_frame::{LegId, MediaTime};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::{Leg, LegCommand, LegEvent, SocketPair, Transmit};

/// One frame of every leg.
const TICK: Duration = Duration::from_millis(20);
/// Ticks made up for after a stall; what lies further back is skipped, so that delay does not become permanent.
const CATCH_UP: u32 = 5;
/// Datagrams taken from one socket before the others get their turn.
const BURST: usize = 64;
/// Packets that come within this are taken in together. Waking up for each costs more than taking it in; nothing is
/// played between ticks, so nothing is delayed, and arrival times are true to this much.
const GATHER: Duration = Duration::from_millis(2);
/// Commands waiting for the next tick, over all legs.
const COMMANDS: usize = 4_096;

/// Settings of a shard.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Thread name.
    pub name: String,
    /// Legs at once.
    pub legs: usize,
}

/// The shard cannot do it.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The system refused a thread or a poll.
    #[error("cannot start the media shard: {0}")]
    Start(std::io::Error),
    /// More commands wait than a tick handles.
    #[error("the media shard is behind by {COMMANDS} commands")]
    Behind,
    /// The shard has stopped.
    #[error("the media shard has stopped")]
    Stopped,
    /// All places are taken.
    #[error("the media shard carries {limit} legs already")]
    Full {
        /// Its limit.
        limit: usize,
    },
}

/// How a shard is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ShardFigures {
    /// Legs at present, those on their way in included.
    pub legs: u64,
    /// Ticks run.
    pub ticks: u64,
    /// Time spent in ticks and in taking packets in.
    pub busy: Duration,
    /// The latest a tick ever began.
    pub worst_delay: Duration,
    /// Ticks skipped after stalls.
    pub skipped: u64,
}

#[derive(Default)]
struct Counters {
    legs: AtomicU64,
    ticks: AtomicU64,
    busy_nanos: AtomicU64,
    worst_nanos: AtomicU64,
    skipped: AtomicU64,
}

/// Tells a leg's events, on the shard thread: must not block.
pub type OnLegEvent = Box<dyn FnMut(LegEvent) + Send>;

struct NewLeg {
    pair: SocketPair,
    leg: Box<Leg>,
    epoch: Instant,
    tell: OnLegEvent,
}

enum Command {
    Add(LegId, Box<NewLeg>),
    Leg(LegId, LegCommand),
}

/// Handle of a shard thread. Dropping it closes all its legs.
pub struct Shard {
    sender: SyncSender<Command>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    limit: usize,
    next_leg: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl Shard {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ShardError::Start`].
    pub fn start(config: ShardConfig) -> Result<Self, ShardError> {
        let poll = Poll::new().map_err(ShardError::Start)?;
        let (sender, commands) = sync_channel(COMMANDS);
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let run = Run {
            poll,
            commands,
            entries: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            backlog: Vec::with_capacity(64),
            retried: Vec::with_capacity(64),
            counters: Arc::clone(&counters),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name(config.name)
            .spawn(move || run.run())
            .map_err(ShardError::Start)?;
        let next_leg = AtomicU64::new(1);
        Ok(Self { sender, counters, stop, limit: config.legs, next_leg, thread: Some(thread) })
    }

    /// Takes a leg in. Its clock runs from `epoch`. It ticks from the next tick on and lives until its handle is dropped
    /// or told to close; `tell` then hears [`LegEvent::Closed`].
    ///
    /// # Errors
    /// [`ShardError::Full`], [`ShardError::Behind`], [`ShardError::Stopped`].
    pub fn add(
        &self,
        pair: SocketPair,
        leg: Leg,
        epoch: Instant,
        tell: OnLegEvent,
    ) -> Result<LegHandle, ShardError> {
        let place = |legs: u64| (legs < self.limit as u64).then_some(legs + 1);
        if self.counters.legs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place).is_err() {
            return Err(ShardError::Full { limit: self.limit });
        }
        let id = LegId(self.next_leg.fetch_add(1, Ordering::Relaxed));
        let new = Box::new(NewLeg { pair, leg: Box::new(leg), epoch, tell });
        send(&self.sender, Command::Add(id, new)).inspect_err(|_| {
            self.counters.legs.fetch_sub(1, Ordering::Relaxed);
        })?;
        Ok(LegHandle { control: LegControl { id, sender: self.sender.clone() } })
    }

    /// How it is doing.
    #[must_use]
    pub fn figures(&self) -> ShardFigures {
        let counters = &*self.counters;
        let nanos = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed));
        ShardFigures {
            legs: counters.legs.load(Ordering::Relaxed),
            ticks: counters.ticks.load(Ordering::Relaxed),
            busy: nanos(&counters.busy_nanos),
            worst_delay: nanos(&counters.worst_nanos),
            skipped: counters.skipped.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// A leg on a shard. Dropping it closes the leg.
pub struct LegHandle {
    control: LegControl,
}

/// Speaks to a leg without owning it: dropping it changes nothing, and commands to a leg that is closed are ignored.
#[derive(Clone)]
pub struct LegControl {
    id: LegId,
    sender: SyncSender<Command>,
}

impl LegHandle {
    /// The leg's name within the process.
    #[must_use]
    pub fn id(&self) -> LegId {
        self.control.id
    }

    /// Asks something of the leg; done at the next tick.
    ///
    /// # Errors
    /// [`ShardError::Behind`] or [`ShardError::Stopped`].
    pub fn send(&self, command: LegCommand) -> Result<(), ShardError> {
        self.control.send(command)
    }

    /// A way to speak to the leg that does not keep it open.
    #[must_use]
    pub fn control(&self) -> LegControl {
        self.control.clone()
    }
}

impl LegControl {
    /// The leg's name within the process.
    #[must_use]
    pub fn id(&self) -> LegId {
        self.id
    }

    /// Asks something of the leg; done at the next tick.
    ///
    /// # Errors
    /// [`ShardError::Behind`] or [`ShardError::Stopped`].
    pub fn send(&self, command: LegCommand) -> Result<(), ShardError> {
        send(&self.sender, Command::Leg(self.id, command))
    }
}

impl Drop for LegHandle {
    fn drop(&mut self) {
        let mut command = Command::Leg(self.control.id, LegCommand::Close);
        // A leg that is never closed would leak sockets. The queue empties every tick, so this ends.
        while let Err(TrySendError::Full(back)) = self.control.sender.try_send(command) {
            command = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn send(sender: &SyncSender<Command>, command: Command) -> Result<(), ShardError> {
    sender.try_send(command).map_err(|e| match e {
        TrySendError::Full(_) => ShardError::Behind,
        TrySendError::Disconnected(_) => ShardError::Stopped,
    })
}

struct Sockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Transmit for Sockets {
    fn rtp(&mut self, to: SocketAddr, datagram: &[u8]) {
        // UDP may lose it anyway; a full send buffer or a port closed at the far side is not worth more.
        let _ = self.rtp.send_to(datagram, to);
    }

    fn rtcp(&mut self, to: SocketAddr, datagram: &[u8]) {
        let _ = self.rtcp.send_to(datagram, to);
    }
}

struct Entry {
    id: LegId,
    leg: Box<Leg>,
    sockets: Sockets,
    epoch: Instant,
    /// When it came: it is not played what was due before.
    added: Instant,
    tell: OnLegEvent,
}

impl Entry {
    fn now(&self, instant: Instant) -> MediaTime {
        MediaTime::ZERO + instant.saturating_duration_since(self.epoch).into()
    }

    fn tell_events(&mut self) {
        while let Some(event) = self.leg.poll_event() {
            (self.tell)(event);
        }
    }
}

struct Run {
    poll: Poll,
    commands: Receiver<Command>,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    index: HashMap<LegId, usize>,
    /// Sockets that may hold more than one burst.
    backlog: Vec<Token>,
    /// Those being read again; kept for its memory.
    retried: Vec<Token>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
}

impl Run {
    fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        let mut next = Instant::now() + TICK;
        while !self.stop.load(Ordering::Acquire) {
            let wait = if self.backlog.is_empty() {
                next.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "the media shard cannot poll its sockets and stops");
                break;
            }
            let woken = Instant::now();
            std::mem::swap(&mut self.backlog, &mut self.retried);
            while let Some(token) = self.retried.pop() {
                self.receive(token);
            }
            for event in &events {
                self.receive(event.token());
            }
            if woken >= next {
                next = self.ticks(next, woken);
            }
            self.count_busy(woken.elapsed());
            if !events.is_empty() {
                std::thread::sleep(GATHER.min(next.saturating_duration_since(Instant::now())));
            }
        }
        // Whoever is still on the way in is told of the end too.
        self.obey();
        for at in 0..self.entries.len() {
            self.close(at);
        }
    }

    /// Runs the ticks that are due; returns when the next one is.
    fn ticks(&mut self, mut due: Instant, woken: Instant) -> Instant {
        let late = woken.saturating_duration_since(due);
        self.counters.worst_nanos.fetch_max(late.as_nanos() as u64, Ordering::Relaxed);
        self.obey();
        let behind = (late.as_nanos() / TICK.as_nanos()) as u32;
        if behind > CATCH_UP {
            let skipped = behind - CATCH_UP;
            self.counters.skipped.fetch_add(u64::from(skipped), Ordering::Relaxed);
            due += TICK * skipped;
        }
        while due <= woken {
            for entry in self.entries.iter_mut().flatten().filter(|entry| entry.added <= due) {
                let now = entry.now(due);
                entry.leg.tick(now, &mut entry.sockets);
                entry.tell_events();
            }
            self.counters.ticks.fetch_add(1, Ordering::Relaxed);
            due += TICK;
        }
        due
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Add(id, new) => self.add(id, *new),
                Command::Leg(id, command) => {
                    let Some(&at) = self.index.get(&id) else { continue };
                    if matches!(command, LegCommand::Close) {
                        self.close(at);
                    } else if let Some(entry) = &mut self.entries[at] {
                        let now = entry.now(Instant::now());
                        entry.leg.command(now, command);
                        entry.tell_events();
                    }
                }
            }
        }
    }

    fn add(&mut self, id: LegId, new: NewLeg) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let mut sockets =
            Sockets { rtp: UdpSocket::from_std(new.pair.rtp), rtcp: UdpSocket::from_std(new.pair.rtcp) };
        let registry = self.poll.registry();
        let registered = registry
            .register(&mut sockets.rtp, Token(at * 2), Interest::READABLE)
            .and_then(|()| registry.register(&mut sockets.rtcp, Token(at * 2 + 1), Interest::READABLE));
        let added = Instant::now();
        let mut entry = Entry { id, leg: new.leg, sockets, epoch: new.epoch, added, tell: new.tell };
        if let Err(error) = registered {
            tracing::error!(%error, "the media shard cannot watch a leg's sockets; the leg is closed");
            entry.leg.close(entry.now(Instant::now()), &mut entry.sockets);
            entry.tell_events();
            self.free.push(at);
            self.counters.legs.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.entries[at] = Some(entry);
        // Packets may have come before the sockets were watched.
        self.backlog.extend([Token(at * 2), Token(at * 2 + 1)]);
        self.index.insert(id, at);
    }

    fn close(&mut self, at: usize) {
        let Some(mut entry) = self.entries[at].take() else { return };
        self.index.remove(&entry.id);
        self.counters.legs.fetch_sub(1, Ordering::Relaxed);
        self.free.push(at);
        let registry = self.poll.registry();
        // They are closed next; a failure to unwatch them changes nothing.
        let _ = registry.deregister(&mut entry.sockets.rtp);
        let _ = registry.deregister(&mut entry.sockets.rtcp);
        entry.leg.close(entry.now(Instant::now()), &mut entry.sockets);
        entry.tell_events();
    }

    fn receive(&mut self, token: Token) {
        let Some(Some(entry)) = self.entries.get_mut(token.0 / 2) else { return };
        let is_rtcp = token.0 % 2 == 1;
        // Longer datagrams are no audio: the rest is cut off by the system and the packet then found invalid.
        let mut buffer = [0; 2_048];
        let mut received = false;
        for _ in 0..BURST {
            let socket = if is_rtcp { &entry.sockets.rtcp } else { &entry.sockets.rtp };
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    received = true;
                    let now = entry.now(Instant::now());
                    if is_rtcp {
                        entry.leg.handle_rtcp(now, from, &mut buffer[..length]);
                    } else {
                        entry.leg.handle_rtp(now, from, &mut buffer[..length]);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    entry.tell_events();
                    return;
                }
                // An ICMP "port unreachable" for something we sent: the next read goes on.
                Err(_) => {}
            }
        }
        entry.tell_events();
        // A socket that only ever fails is not tried again before something comes.
        if received {
            self.backlog.push(token);
        }
    }

    fn count_busy(&self, spent: Duration) {
        self.counters.busy_nanos.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
    }
}
