//! The thread that runs the media clock of its legs.
//!
//! Every 20 ms each leg takes in what has come, plays, taps and sends one frame. Packets do not wake the thread: nothing is
//! played between ticks, and the system notes when each came. The legs are spread over the 20 ms, so that no tick makes
//! others late, in as few groups as that allows. The loop neither allocates nor locks per frame.
//!
//! Some legs at a time take in, then all of them play, then what they say is sent: the system's code for receiving and for
//! sending stays in the processor's cache from one leg to the next, and ours in between.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antiphon_media_frame::{LegId, MediaTime};
use antiphon_media_link::Remote;

use crate::listener::{Accepted, Expected};
use crate::outbox::Outbox;
use crate::sockets::{Inbox, Sockets};
use crate::streams::Streams;
use crate::{IceListener, Leg, LegCommand, LegEvent, SocketPair};

/// One frame of every leg.
const TICK: Duration = Duration::from_millis(20);
/// Ticks made up for after a stall; what lies further back is skipped, so that delay does not become permanent.
const CATCH_UP: u32 = 5;
/// Parts of a tick; each leg has one of them as its own. 2 ms are short against a frame, and waking up costs little.
const PARTS: usize = 10;
const PART: Duration = Duration::from_millis(2);
/// Legs of a part before another is begun: a good millisecond of work, so that few calls wake the shard seldom.
const FILL: usize = 48;
/// The order in which parts are begun, so that they lie far apart.
const ORDER: [usize; PARTS] = [0, 5, 2, 7, 4, 9, 1, 6, 3, 8];
/// Legs that take in, play and send together: enough to share the way into the system's code, few enough that their sound is
/// still in the processor's cache, and that none waits for others longer than a third of a millisecond.
const TOGETHER: usize = 16;
/// Reports are looked for once in so many ticks: they come once in some five seconds.
const REPORTS: u32 = 12;
/// Legs are named over all shards of the process.
static NEXT_LEG: AtomicU64 = AtomicU64::new(1);
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
    /// The system refused a thread.
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
    /// A connection was opened to a leg.
    Connected(LegId, Accepted),
}

/// Handle of a shard thread. Dropping it closes all its legs.
pub struct Shard {
    sender: SyncSender<Command>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    limit: usize,
    thread: Option<JoinHandle<()>>,
}

impl Shard {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ShardError::Start`].
    pub fn start(config: ShardConfig) -> Result<Self, ShardError> {
        let (sender, commands) = sync_channel(COMMANDS);
        let counters = Arc::new(Counters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let run = Run {
            commands,
            parts: std::array::from_fn(|_| Vec::new()),
            index: HashMap::new(),
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            counters: Arc::clone(&counters),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name(config.name)
            .spawn(move || run.run())
            .map_err(ShardError::Start)?;
        Ok(Self { sender, counters, stop, limit: config.legs, thread: Some(thread) })
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
        let id = LegId(NEXT_LEG.fetch_add(1, Ordering::Relaxed));
        let new = Box::new(NewLeg { pair, leg: Box::new(leg), epoch, tell });
        send(&self.sender, Command::Add(id, new)).inspect_err(|_| {
            self.counters.legs.fetch_sub(1, Ordering::Relaxed);
        })?;
        Ok(LegHandle { control: LegControl { id, sender: self.sender.clone() }, expected: None })
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
    /// The connections that are for it.
    expected: Option<Expected>,
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

    /// Lets far sides that know our user fragment `ufrag` reach the leg by `listener`, over TCP, for as long as it lives.
    /// The name that was told before is then good no more.
    pub fn expect(&mut self, listener: &IceListener, ufrag: &str) {
        self.expected = None;
        self.expected = Some(listener.expect(ufrag, self.control()));
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

    /// Hands the leg a connection; closed where the leg is.
    pub(crate) fn connect(&self, accepted: Accepted) -> Result<(), ShardError> {
        send(&self.sender, Command::Connected(self.id, accepted))
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

struct Entry {
    id: LegId,
    leg: Box<Leg>,
    sockets: Sockets,
    epoch: Instant,
    /// When it came: it is not played what was due before.
    added: Instant,
    /// Ticks until reports are looked for.
    reports: u32,
    tell: OnLegEvent,
}

impl Entry {
    fn now(&self, instant: Instant) -> MediaTime {
        MediaTime::ZERO + instant.saturating_duration_since(self.epoch).into()
    }

    /// Takes in what has come.
    fn receive(&mut self, due: Instant, inbox: &mut Inbox) {
        let epoch = self.epoch;
        let at = |arrived: Instant| MediaTime::ZERO + arrived.saturating_duration_since(epoch).into();
        let leg = &mut self.leg;
        inbox.receive(&self.sockets.rtp, |arrival, from, datagram| {
            leg.handle_rtp(at(arrival.at), from, datagram);
            arrival.age.is_none_or(|age| leg.wants_more(age.into()))
        });
        if self.reports == 0 {
            self.reports = REPORTS;
            inbox.receive(&self.sockets.rtcp, |arrival, from, datagram| {
                leg.handle_rtcp(at(arrival.at), from, datagram);
                true
            });
        }
        self.reports -= 1;
        if !self.sockets.streams.is_empty() {
            self.serve_streams(due, inbox);
        }
    }

    /// Plays and taps a frame; what is to be sent waits in `outbox`.
    fn tick(&mut self, due: Instant, outbox: &mut Outbox) {
        let now = self.now(due);
        self.leg.tick(now, &mut outbox.of(&mut self.sockets.streams));
        self.tell_events();
    }

    fn serve_streams(&mut self, due: Instant, inbox: &mut Inbox) {
        let now = self.now(due);
        let Self { leg, sockets, .. } = self;
        inbox.receive_streams(&mut sockets.streams, due, |from, datagram| {
            leg.handle_rtp(now, Remote::Tcp(from), datagram);
        });
        let mut gone = Vec::new();
        sockets.streams.tidy(due, |peer| leg.knows(Remote::Tcp(peer)), |peer| gone.push(peer));
        for peer in gone {
            leg.gone(now, Remote::Tcp(peer));
        }
    }

    fn close(&mut self) {
        let now = self.now(Instant::now());
        self.leg.close(now, &mut self.sockets);
        self.tell_events();
    }

    fn tell_events(&mut self) {
        while let Some(event) = self.leg.poll_event() {
            (self.tell)(event);
        }
    }
}

struct Run {
    commands: Receiver<Command>,
    /// The legs of each part of a tick.
    parts: [Vec<Entry>; PARTS],
    /// Which part a leg is in.
    index: HashMap<LegId, usize>,
    inbox: Inbox,
    outbox: Outbox,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
}

impl Run {
    fn run(mut self) {
        // Parts are counted from here; part 0 of each tick is the one whose number is a multiple of `PARTS`.
        let start = Instant::now();
        let mut part = 0;
        while !self.stop.load(Ordering::Acquire) {
            part = self.next_part(part);
            let due = start + PART * part;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let woken = Instant::now();
            self.obey();
            part += self.skip(woken.saturating_duration_since(due)) * PARTS as u32;
            let due = start + PART * part;
            self.inbox.look_at_clocks();
            self.serve(part as usize % PARTS, due);
            self.counters.ticks.store(u64::from(part / PARTS as u32), Ordering::Relaxed);
            self.counters.busy_nanos.fetch_add(woken.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        // Whoever is still on the way in is told of the end too.
        self.obey();
        for entry in self.parts.iter_mut().flatten() {
            entry.close();
            self.counters.legs.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// One frame of every leg of a part.
    fn serve(&mut self, part: usize, due: Instant) {
        let Self { parts, inbox, outbox, .. } = self;
        for some in parts[part].chunks_mut(TOGETHER) {
            let here = |entry: &&mut Entry| entry.added <= due;
            some.iter_mut().filter(here).for_each(|entry| entry.receive(due, inbox));
            for entry in some.iter_mut().filter(here) {
                entry.tick(due, outbox);
                outbox.seal();
            }
            let sockets = some.iter().filter(|entry| entry.added <= due).map(|entry| &entry.sockets);
            outbox.send(sockets);
        }
    }

    /// The next part after this one that has legs; commands wait for a tick at most.
    fn next_part(&self, part: u32) -> u32 {
        let next = part + 1;
        (next..next + PARTS as u32)
            .find(|part| !self.parts[*part as usize % PARTS].is_empty())
            .unwrap_or(part + PARTS as u32)
    }

    /// Ticks to leave out when it is so late.
    fn skip(&self, late: Duration) -> u32 {
        self.counters.worst_nanos.fetch_max(late.as_nanos() as u64, Ordering::Relaxed);
        let behind = (late.as_nanos() / TICK.as_nanos()) as u32;
        let skipped = behind.saturating_sub(CATCH_UP);
        self.counters.skipped.fetch_add(u64::from(skipped), Ordering::Relaxed);
        skipped
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Add(id, new) => self.add(id, *new),
                Command::Leg(id, LegCommand::Close) => self.close(id),
                Command::Leg(id, command) => {
                    if let Some(entry) = self.entry(id) {
                        let now = entry.now(Instant::now());
                        entry.leg.command(now, command);
                        entry.tell_events();
                    }
                }
                Command::Connected(id, accepted) => {
                    let Some(part) = self.index.get(&id) else { continue };
                    if let Some(entry) = self.parts[*part].iter_mut().find(|entry| entry.id == id) {
                        let now = Instant::now();
                        let Entry { leg, sockets, .. } = entry;
                        sockets.streams.add(accepted, now, |peer| leg.knows(Remote::Tcp(peer)));
                        // Its first check is here and shows whose it is, before another connection wants its place.
                        entry.serve_streams(now, &mut self.inbox);
                    }
                }
            }
        }
    }

    fn entry(&mut self, id: LegId) -> Option<&mut Entry> {
        let part = self.index.get(&id)?;
        self.parts[*part].iter_mut().find(|entry| entry.id == id)
    }

    fn add(&mut self, id: LegId, new: NewLeg) {
        let part = part_for(std::array::from_fn(|part| self.parts[part].len()));
        self.parts[part].push(Entry {
            id,
            leg: new.leg,
            sockets: Sockets { rtp: new.pair.rtp, rtcp: new.pair.rtcp, streams: Streams::default() },
            epoch: new.epoch,
            added: Instant::now(),
            reports: 0,
            tell: new.tell,
        });
        self.index.insert(id, part);
    }

    fn close(&mut self, id: LegId) {
        let Some(part) = self.index.remove(&id) else { return };
        let Some(at) = self.parts[part].iter().position(|entry| entry.id == id) else { return };
        self.counters.legs.fetch_sub(1, Ordering::Relaxed);
        self.parts[part].swap_remove(at).close();
    }
}

/// The part that the next leg is to be in, where they have so many.
fn part_for(legs: [usize; PARTS]) -> usize {
    let open = ORDER.into_iter().find(|part| legs[*part] < FILL);
    open.or_else(|| (0..PARTS).min_by_key(|part| legs[*part])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_legs_share_wake_ups_and_many_are_spread_evenly() {
        let mut legs = [0; PARTS];
        let mut add = |count: usize| {
            (0..count).for_each(|_| legs[part_for(legs)] += 1);
            legs
        };
        assert_eq!(add(FILL), [FILL, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(add(1), [FILL, 0, 0, 0, 0, 1, 0, 0, 0, 0], "ten milliseconds later");
        assert_eq!(add(FILL * PARTS - FILL - 1), [FILL; PARTS]);
        assert_eq!(add(PARTS * 100), [FILL + 100; PARTS]);
    }
}
