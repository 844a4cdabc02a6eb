//! The one thread that runs the media of all calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::phone::{Figures, Line, Phone};
use super::sound::Loop;

/// The phones take turns, as real ones are spread over the 20 ms of a packet.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_millis(4);
/// Behind by more than this, the thread gives up catching up.
const HOPELESS: Duration = Duration::from_millis(200);
/// Of so many packets a phone reads all there is; else it reads the one it expects, which saves a system call.
const SWEEP: u64 = 16;

/// How well the thread kept its time: of a load that stumbles itself, nothing follows about the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// The latest a turn began.
    pub(super) worst: Duration,
    /// Turns that were left out.
    pub(super) skipped: u64,
}

/// All phones of a load.
pub(super) struct Phones {
    sound: Arc<Loop>,
    commands: SyncSender<Command>,
    next: AtomicU64,
    clock: Arc<Late>,
}

#[derive(Default)]
struct Late {
    worst_us: AtomicU64,
    skipped: AtomicU64,
}

enum Command {
    Talk(u64, Box<Phone>),
    HangUp(u64, oneshot::Sender<Figures>),
}

/// A phone in its thread's hands.
pub(super) struct Talking {
    id: u64,
    commands: SyncSender<Command>,
}

impl Talking {
    /// Stops it and says what it saw.
    pub(super) async fn hang_up(self) -> Figures {
        let (sender, figures) = oneshot::channel();
        // The thread outlives every phone: nobody is left to answer only where it panicked.
        self.commands.send(Command::HangUp(self.id, sender)).ok();
        figures.await.unwrap_or_default()
    }
}

impl Phones {
    /// Starts the thread, for up to `most` phones at once. It ends when this and every phone are dropped.
    pub(super) fn start(sound: Loop, most: usize) -> std::io::Result<Self> {
        // One command to begin and one to end each: there is always room.
        let (commands, inbox) = sync_channel(most * 2);
        let (sound, clock) = (Arc::new(sound), Arc::new(Late::default()));
        let exchange = Exchange {
            turns: std::array::from_fn(|_| Vec::new()),
            sound: Arc::clone(&sound),
            clock: Arc::clone(&clock),
        };
        std::thread::Builder::new().name("phones".into()).spawn(move || exchange.run(&inbox))?;
        Ok(Self { sound, commands, next: AtomicU64::new(0), clock })
    }

    /// Lets a phone talk from now on.
    pub(super) fn talk(&self, line: Line) -> std::io::Result<Talking> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let phone = Box::new(Phone::new(line, &self.sound)?);
        self.commands
            .send(Command::Talk(id, phone))
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        Ok(Talking { id, commands: self.commands.clone() })
    }

    pub(super) fn clock(&self) -> Clock {
        Clock {
            worst: Duration::from_micros(self.clock.worst_us.load(Ordering::Relaxed)),
            skipped: self.clock.skipped.load(Ordering::Relaxed),
        }
    }
}

/// What the thread owns.
struct Exchange {
    turns: [Vec<(u64, Box<Phone>)>; TURNS],
    sound: Arc<Loop>,
    clock: Arc<Late>,
}

impl Exchange {
    fn run(mut self, inbox: &Receiver<Command>) {
        let (mut due, mut number) = (Instant::now(), 0u64);
        loop {
            loop {
                match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(command) => self.obey(command),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            let late = due.elapsed();
            self.clock.worst_us.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
            if late > HOPELESS {
                self.clock.skipped.fetch_add((late.as_micros() / TURN.as_micros()) as u64, Ordering::Relaxed);
                due = Instant::now();
            }
            self.turn(number);
            (due, number) = (due + TURN, number + 1);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Talk(id, phone) => {
                if let Some(turn) = self.turns.iter_mut().min_by_key(|turn| turn.len()) {
                    turn.push((id, phone));
                }
            }
            Command::HangUp(id, sender) => {
                for turn in &mut self.turns {
                    if let Some(index) = turn.iter().position(|(known, _)| *known == id) {
                        // Who asked may be gone: the figures were for them alone.
                        let _ = sender.send(turn.swap_remove(index).1.close());
                        return;
                    }
                }
            }
        }
    }

    fn turn(&mut self, number: u64) {
        let turns = self.turns.len() as u64;
        let (round, mine) = (number / turns, (number % turns) as usize);
        let most = if round.is_multiple_of(SWEEP) { usize::MAX } else { 1 };
        for (index, turn) in self.turns.iter_mut().enumerate() {
            for (_, phone) in turn {
                if index == mine {
                    phone.talk(&self.sound);
                    phone.hear(most);
                } else if !phone.hears() {
                    // The first packet is timed: within a turn instead of a round.
                    phone.hear(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use antiphon_media_codec::CodecKind;
    use antiphon_media_link::Link;

    use super::*;

    fn line(socket: UdpSocket, to: &UdpSocket, ssrc: u32) -> Line {
        let remote = to.local_addr().expect("bound");
        Line { socket, remote, link: Link::plain(), payload_type: 0, ssrc, answered: Instant::now() }
    }

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").expect("bound")
    }

    fn phones() -> Phones {
        Phones::start(Loop::speech_like(CodecKind::Pcmu).expect("encoded"), 4).expect("a thread")
    }

    #[tokio::test]
    async fn two_phones_hear_each_other_without_loss() {
        let phones = phones();
        let (one, other) = (socket(), socket());
        let (to_other, to_one) = (other.try_clone().expect("cloned"), one.try_clone().expect("cloned"));
        let one = phones.talk(line(one, &to_other, 7)).expect("talks");
        let other = phones.talk(line(other, &to_one, 8)).expect("talks");
        tokio::time::sleep(Duration::from_millis(600)).await;
        let (one, other) = (one.hang_up().await, other.hang_up().await);
        for (figures, peer) in [(one, other), (other, one)] {
            assert!(figures.sent >= 20 && figures.received >= 20, "{figures:?}");
            assert!(figures.received + 2 >= peer.sent.min(figures.sent), "{figures:?} of {peer:?}");
            assert_eq!(figures.lost, 0);
            assert!(figures.first.expect("heard") < Duration::from_millis(300), "{figures:?}");
        }
    }

    #[tokio::test]
    async fn a_phone_that_hears_nothing_says_so_and_strangers_are_not_heard() {
        let phones = phones();
        let (deaf, silent, stranger) = (socket(), socket(), socket());
        let address = deaf.local_addr().expect("bound");
        let talking = phones.talk(line(deaf, &silent, 9)).expect("talks");
        stranger.send_to(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 1], address).expect("sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let figures = talking.hang_up().await;
        assert_eq!((figures.received, figures.first), (0, None));
        assert!(figures.sent > 0);
    }
}
