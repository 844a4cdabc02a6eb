//! A leg's two sockets, and what is read from them.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use crate::Transmit;
use crate::streams::Streams;

/// Datagrams taken from one socket at once. A flood beyond this is left to the system, which drops what does not fit.
const BURST: usize = 256;
/// A datagram that says it waited longer came while the clock was set.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Longer datagrams are no audio: the rest is cut off by the system and the packet then found invalid.
const DATAGRAM: usize = 2_048;

pub(crate) struct Sockets {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    pub(crate) streams: Streams,
}

impl Transmit for Sockets {
    fn rtp(&mut self, to: SocketAddr, datagram: &[u8]) {
        // UDP may lose it anyway; a full send buffer or a port closed at the far side is not worth more.
        let _ = self.rtp.send_to(datagram, to);
    }

    fn rtcp(&mut self, to: SocketAddr, datagram: &[u8]) {
        let _ = self.rtcp.send_to(datagram, to);
    }

    fn stream(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.streams.send(to, datagram);
    }
}

/// Reads sockets, one after another.
pub(crate) struct Inbox {
    buffer: Box<[u8; DATAGRAM]>,
    reader: Reader,
    /// One moment by the clock that arrivals are noted by, and by that of the media.
    wall: SystemTime,
    now: Instant,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Box::new([0; DATAGRAM]),
            reader: Reader::new(),
            wall: SystemTime::now(),
            now: Instant::now(),
        }
    }

    /// Compares the clocks; to be called before each round of reading, since one of them may be set.
    pub(crate) fn look_at_clocks(&mut self) {
        (self.wall, self.now) = (SystemTime::now(), Instant::now());
    }

    /// Hands on what waits in connections, as coming now: nobody notes when octets of a stream came.
    pub(crate) fn receive_streams(
        &mut self,
        streams: &mut Streams,
        now: Instant,
        take: impl FnMut(SocketAddr, &mut [u8]),
    ) {
        streams.receive(now, &mut self.buffer[..], take);
    }

    /// Hands on what waits in a socket: when it came, from whom, and what it is. `take` is told whether that time was noted
    /// by the system, and says whether to look for another: finding that there is none costs as much as a datagram.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        mut take: impl FnMut(Arrival, SocketAddr, &mut [u8]) -> bool,
    ) {
        for _ in 0..BURST {
            match self.reader.read(socket, &mut self.buffer[..]) {
                Ok((length, from, came)) => {
                    let arrival = self.arrival(came);
                    if !take(arrival, from, &mut self.buffer[..length]) {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An ICMP "port unreachable" for something we sent: the next read goes on.
                Err(_) => {}
            }
        }
    }

    fn arrival(&self, came: Option<SystemTime>) -> Arrival {
        let Some(came) = came else { return Arrival { at: self.now, age: None } };
        match self.wall.duration_since(came) {
            Ok(age) => {
                let age = age.min(LONGEST_WAIT);
                Arrival { at: self.now.checked_sub(age).unwrap_or(self.now), age: Some(age) }
            }
            // It came since the clocks were compared.
            Err(later) => {
                Arrival { at: self.now + later.duration().min(LONGEST_WAIT), age: Some(Duration::ZERO) }
            }
        }
    }
}

/// When a datagram came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    /// How long it has waited, where the system noted when it came.
    pub(crate) age: Option<Duration>,
}

/// Asks the system to note when each datagram comes.
pub(crate) fn note_arrivals(socket: &impl std::os::fd::AsFd) {
    #[cfg(target_os = "linux")]
    // Without it packets count as coming when they are read, which makes jitter look larger than it is.
    let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::ReceiveTimestampns, &true);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

#[cfg(target_os = "linux")]
mod read {
    use std::io::IoSliceMut;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::time::{Duration, SystemTime};

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

    /// Reads datagrams with the time at which they came.
    pub(crate) struct Reader {
        control: Vec<u8>,
    }

    impl Reader {
        pub(crate) fn new() -> Self {
            Self { control: nix::cmsg_space!(nix::sys::time::TimeSpec) }
        }

        pub(crate) fn read(
            &mut self,
            socket: &UdpSocket,
            buffer: &mut [u8],
        ) -> std::io::Result<(usize, SocketAddr, Option<SystemTime>)> {
            let mut slices = [IoSliceMut::new(buffer)];
            let control = Some(&mut self.control[..]);
            let message =
                recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, control, MsgFlags::MSG_DONTWAIT)?;
            let from = message.address.and_then(|address| {
                let four = address.as_sockaddr_in().map(|four| SocketAddr::from(*four));
                four.or_else(|| address.as_sockaddr_in6().map(|six| SocketAddr::from(*six)))
            });
            let came = message.cmsgs().ok().into_iter().flatten().find_map(|note| match note {
                ControlMessageOwned::ScmTimestampns(time) => {
                    let since =
                        Duration::new(time.tv_sec().try_into().ok()?, time.tv_nsec().try_into().ok()?);
                    SystemTime::UNIX_EPOCH.checked_add(since)
                }
                _ => None,
            });
            let from = from.ok_or_else(|| std::io::Error::other("a datagram without an address"))?;
            Ok((message.bytes, from, came))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod read {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::SystemTime;

    /// Reads datagrams; when they came is when they are read.
    pub(crate) struct Reader;

    impl Reader {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn read(
            &mut self,
            socket: &UdpSocket,
            buffer: &mut [u8],
        ) -> std::io::Result<(usize, SocketAddr, Option<SystemTime>)> {
            socket.recv_from(buffer).map(|(length, from)| (length, from, None))
        }
    }
}

use read::Reader;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_counts_as_coming_when_it_came_not_when_it_is_read() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_nonblocking(true).expect("set");
        note_arrivals(&socket);
        let phone = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut inbox = Inbox::new();
        let mut off = Vec::new();
        // The system begins to note arrivals a moment after the first socket of the machine has asked for it.
        while off.len() < 20 && off.last().is_none_or(|off| *off >= Duration::from_millis(20)) {
            let sent = Instant::now();
            phone.send_to(&[1, 2, 3], socket.local_addr().expect("bound")).expect("sent");
            std::thread::sleep(Duration::from_millis(60));
            let mut seen = Vec::new();
            inbox.look_at_clocks();
            inbox.receive(&socket, |arrival, from, datagram| {
                seen.push((arrival.at, from, datagram.to_vec()));
                true
            });
            let [(arrived, from, datagram)] = &seen[..] else { panic!("{seen:?}") };
            assert_eq!((*from, &datagram[..]), (phone.local_addr().expect("bound"), &[1, 2, 3][..]));
            off.push((*arrived).max(sent).duration_since((*arrived).min(sent)));
        }
        assert!(off.len() < 20 || !cfg!(target_os = "linux"), "from when they were sent: {off:?}");
        inbox.receive(&socket, |_, _, _| panic!("nothing is left"));
    }

    #[test]
    fn who_wants_no_more_leaves_the_rest_in_the_socket() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_nonblocking(true).expect("set");
        let phone = UdpSocket::bind("127.0.0.1:0").expect("a port");
        for octet in 0..3 {
            phone.send_to(&[octet], socket.local_addr().expect("bound")).expect("sent");
        }
        let mut inbox = Inbox::new();
        for expected in 0..3 {
            let mut seen = Vec::new();
            inbox.receive(&socket, |_, _, datagram| {
                seen.push(datagram[0]);
                false
            });
            assert_eq!(seen, [expected]);
        }
    }
}
