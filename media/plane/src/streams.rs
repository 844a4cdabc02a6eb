//! The connections that far sides opened to a leg (RFC 6544), each carrying datagrams by their length (RFC 4571).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use antiphon_media_link::tcp::{Deframer, frame};

use crate::listener::Accepted;

/// Connections of one leg: the one in use, the next one while a network changes, and as many attempts again.
const MOST: usize = 4;
/// The longest datagram that is taken, as over UDP.
const DATAGRAM: usize = 2_048;
/// Reads of one connection at once, 2 KiB each. A flood beyond this waits at its sender.
const READS: usize = 16;
/// How long a connection may take to show by a signed check that it is the far side's.
const PROOF: Duration = Duration::from_secs(5);
/// As long as consent lasts (RFC 7675): checks come every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// What the system holds of our sound, which it doubles: some 15 packets, a third of a second. What does not fit is
/// dropped, so that a slow network does not become a delay.
const SEND_BUFFER: usize = 8 * 1024;

/// The connections of one leg.
#[derive(Default)]
pub(crate) struct Streams {
    open: Vec<Stream>,
}

struct Stream {
    socket: TcpStream,
    peer: SocketAddr,
    deframer: Deframer,
    /// The rest of a frame that the system has not taken whole.
    unsent: Vec<u8>,
    opened: Instant,
    heard: Instant,
    /// Octets read before the leg knew of it.
    first: Vec<u8>,
    ended: bool,
}

impl Streams {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes a connection. Where there is no more room the oldest goes that has shown nothing, or else the new one.
    pub(crate) fn add(&mut self, accepted: Accepted, now: Instant, knows: impl Fn(SocketAddr) -> bool) {
        let Accepted { socket, peer, first } = accepted;
        if self.open.len() == MOST {
            let Some(unproven) = self.open.iter().position(|stream| !knows(stream.peer)) else { return };
            self.open.remove(unproven);
        }
        // Neither is worth refusing a call.
        let _ = socket.set_nodelay(true);
        let _ = socket2::SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER);
        let deframer = Deframer::new(DATAGRAM);
        let unsent = Vec::new();
        self.open.push(Stream {
            socket,
            peer,
            deframer,
            unsent,
            opened: now,
            heard: now,
            first,
            ended: false,
        });
    }

    /// Hands on what has come, and what waits goes out.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        mut take: impl FnMut(SocketAddr, &mut [u8]),
    ) {
        for stream in &mut self.open {
            stream.flush();
            stream.receive(now, buffer, &mut take);
        }
    }

    /// Lets go of connections that have ended, are silent, or never showed whose they are; `gone` hears of each.
    pub(crate) fn tidy(
        &mut self,
        now: Instant,
        mut knows: impl FnMut(SocketAddr) -> bool,
        mut gone: impl FnMut(SocketAddr),
    ) {
        self.open.retain(|stream| {
            let late = now.saturating_duration_since(stream.opened) > PROOF && !knows(stream.peer);
            let silent = now.saturating_duration_since(stream.heard) > SILENCE;
            let ended = stream.ended || late || silent;
            if ended {
                gone(stream.peer);
            }
            !ended
        });
    }

    /// Sends a datagram whole, or not at all where the connection is gone or full.
    pub(crate) fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        if let Some(stream) = self.open.iter_mut().find(|stream| stream.peer == to && !stream.ended) {
            stream.send(datagram);
        }
    }
}

impl Stream {
    fn receive(&mut self, now: Instant, buffer: &mut [u8], take: &mut impl FnMut(SocketAddr, &mut [u8])) {
        let peer = self.peer;
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() && self.deframer.push(&first, |datagram| take(peer, datagram)).is_err() {
            self.ended = true;
        }
        for _ in 0..READS {
            if self.ended {
                return;
            }
            match self.socket.read(buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.heard = now;
                    self.ended = self.deframer.push(&buffer[..count], |one| take(peer, one)).is_err();
                    if count < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
    }

    fn send(&mut self, datagram: &[u8]) {
        self.flush();
        if self.unsent.is_empty() && frame(datagram, &mut self.unsent) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() && !self.ended {
            match self.socket.write(&self.unsent) {
                Ok(0) => self.ended = true,
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // What is begun has to be finished; what comes meanwhile is dropped.
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
    }
}
