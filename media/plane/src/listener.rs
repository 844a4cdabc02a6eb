//! ICE over TCP (RFC 6544): one port to which far sides connect that cannot use UDP.
//!
//! A connection says by its first message whom it is for: a connectivity check names the user fragment of a leg
//! (RFC 8445 §7.2.2). It is then handed to that leg's shard. Everything else is closed without a word.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antiphon_media_link::called;
use nix::poll::{PollFd, PollFlags, poll};

use crate::LegControl;

/// The longest check that is taken: browsers send about 120 octets.
const LONGEST_CHECK: usize = 1_000;
/// How often the thread looks whether it is to stop, and who has waited too long.
const LOOK: u16 = 500;
/// When the system refuses a connection that it announced (no descriptors left), the next is tried after this long.
const REFUSED: Duration = Duration::from_millis(100);

/// How connections are taken.
#[derive(Clone, Copy, Debug)]
pub struct IceListenerConfig {
    /// Where they are taken; port 0 is any.
    pub listen: SocketAddr,
    /// Connections that have not said yet whom they are for, at once; the next is closed.
    pub waiting: usize,
    /// The same from one address.
    pub waiting_each: usize,
    /// How long they may take to say it.
    pub patience: Duration,
}

impl IceListenerConfig {
    /// 256 that wait, 16 of one address, for five seconds.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, waiting: 256, waiting_each: 16, patience: Duration::from_secs(5) }
    }
}

/// What a listener counted. Numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IceListenerFigures {
    /// Connections handed to a leg.
    pub taken: u64,
    /// Connections closed: too many, too slow, for nobody, or not ICE at all.
    pub refused: u64,
}

/// Takes connections and hands each to the leg that its first message names. Dropping it stops it; connections that
/// were handed on live on.
pub struct IceListener {
    address: SocketAddr,
    names: Arc<Names>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl IceListener {
    /// Binds the port and starts the thread.
    ///
    /// # Errors
    /// The system's, where the address cannot be bound or there is no thread.
    pub fn start(config: IceListenerConfig) -> std::io::Result<Self> {
        let listener = TcpListener::bind(config.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (names, counters, stop) =
            (Arc::new(Names::default()), Arc::new(Counters::default()), Arc::new(AtomicBool::new(false)));
        let door = Door {
            config,
            listener,
            waiting: Vec::new(),
            names: Arc::clone(&names),
            counters: Arc::clone(&counters),
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("ice-tcp".into()).spawn(move || door.run(&stopped))?;
        Ok(Self { address, names, counters, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted.
    #[must_use]
    pub fn figures(&self) -> IceListenerFigures {
        IceListenerFigures {
            taken: self.counters.taken.load(Ordering::Relaxed),
            refused: self.counters.refused.load(Ordering::Relaxed),
        }
    }

    /// Hands connections for the user fragment `ufrag` to `leg` until what is returned is dropped.
    pub(crate) fn expect(&self, ufrag: &str, leg: LegControl) -> Expected {
        self.names.lock().insert(ufrag.to_owned(), leg);
        Expected { ufrag: ufrag.to_owned(), names: Arc::clone(&self.names) }
    }
}

impl Drop for IceListener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Connections of a user fragment go to a leg as long as this lives.
pub(crate) struct Expected {
    ufrag: String,
    names: Arc<Names>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.names.lock().remove(&self.ufrag);
    }
}

/// A connection whose leg is known, and the octets read from it so far.
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) first: Vec<u8>,
}

/// Legs by user fragment.
#[derive(Default)]
struct Names(Mutex<HashMap<String, LegControl>>);

impl Names {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, LegControl>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Counters {
    taken: AtomicU64,
    refused: AtomicU64,
}

/// A connection that has not said yet whom it is for.
struct Waiting {
    socket: TcpStream,
    peer: SocketAddr,
    since: Instant,
    first: Vec<u8>,
}

/// What is known of a connection.
enum Said {
    /// Not enough.
    Nothing,
    /// Whom it is for.
    Leg(LegControl),
    /// That it is of no use.
    Nonsense,
}

struct Door {
    config: IceListenerConfig,
    listener: TcpListener,
    waiting: Vec<Waiting>,
    names: Arc<Names>,
    counters: Arc<Counters>,
}

impl Door {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let (came, ready) = self.wait();
            let now = Instant::now();
            self.hear(&ready);
            self.hurry(now);
            if came {
                self.accept(now);
            }
        }
    }

    /// Waits for something to happen: whether there is a new connection, and which of those that wait have said
    /// something.
    fn wait(&self) -> (bool, Vec<bool>) {
        let all = std::iter::once(self.listener.as_fd()).chain(self.waiting.iter().map(|w| w.socket.as_fd()));
        let mut asked: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if poll(&mut asked, LOOK).is_err() {
            // Interrupted; nothing is lost by looking again.
            return (false, vec![false; self.waiting.len()]);
        }
        let mut said = asked.iter().map(|fd| fd.any().unwrap_or(false));
        (said.next().unwrap_or(false), said.collect())
    }

    fn accept(&mut self, now: Instant) {
        loop {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    let each = self.waiting.iter().filter(|w| host(w.peer) == host(peer)).count();
                    if self.waiting.len() >= self.config.waiting
                        || each >= self.config.waiting_each
                        || socket.set_nonblocking(true).is_err()
                    {
                        self.refuse(peer, "too many connections wait");
                        continue;
                    }
                    self.waiting.push(Waiting { socket, peer, since: now, first: Vec::new() });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection for ICE cannot be accepted");
                    std::thread::sleep(REFUSED);
                    return;
                }
            }
        }
    }

    /// Reads from those that said something.
    fn hear(&mut self, ready: &[bool]) {
        // Backwards, so that those before keep their places.
        for at in (0..ready.len()).rev().filter(|at| ready[*at]) {
            let waiting = &mut self.waiting[at];
            match waiting.read(&self.names) {
                Said::Nothing => {}
                Said::Nonsense => {
                    let waiting = self.waiting.swap_remove(at);
                    self.refuse(waiting.peer, "its first message is for no call here");
                }
                Said::Leg(leg) => {
                    let Waiting { socket, peer, first, .. } = self.waiting.swap_remove(at);
                    if leg.connect(Accepted { socket, peer, first }).is_ok() {
                        self.counters.taken.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.refuse(peer, "the media shard cannot take it");
                    }
                }
            }
        }
    }

    /// Closes those that have waited too long.
    fn hurry(&mut self, now: Instant) {
        let Self { config, waiting, counters, .. } = self;
        waiting.retain(|waiting| {
            let late = now.saturating_duration_since(waiting.since) >= config.patience;
            counters.refused.fetch_add(u64::from(late), Ordering::Relaxed);
            !late
        });
    }

    fn refuse(&self, peer: SocketAddr, why: &str) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, why, "a connection for ICE is closed");
    }
}

impl Waiting {
    fn read(&mut self, names: &Names) -> Said {
        let mut buffer = [0; LONGEST_CHECK + 2];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Said::Nonsense,
            Ok(count) => self.first.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Said::Nothing;
            }
            Err(_) => return Said::Nonsense,
        }
        let Some((length, rest)) = self.first.split_first_chunk::<2>() else { return Said::Nothing };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > LONGEST_CHECK {
            return Said::Nonsense;
        }
        let Some(check) = rest.get(..length) else { return Said::Nothing };
        let leg = called(check).and_then(|ufrag| names.lock().get(ufrag).cloned());
        leg.map_or(Said::Nonsense, Said::Leg)
    }
}

/// Whom connections are counted by: a host of IPv6 has all of its network's addresses.
fn host(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & (u128::MAX << 64)).into()),
        four => four,
    }
}
