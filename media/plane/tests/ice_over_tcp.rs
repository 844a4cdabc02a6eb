//! Far sides that can only connect: ICE over TCP, on loopback.
#![expect(clippy::disallowed_methods, reason = "sockets live in real time")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use antiphon_media_codec::CodecKind;
use antiphon_media_frame::{MediaTime, Span};
use antiphon_media_link::tcp::{Deframer, frame};
use antiphon_media_link::{
    DtlsConfig, DtlsRole, IceConfig, IceCredentials, IceRole, Identity, Input, Link, LinkConfig, LinkEvent,
    OVERHEAD, Protection, RemoteCandidate,
};
use antiphon_media_plane::{
    IceListener, IceListenerConfig, Leg, LegConfig, LegEvent, LegHandle, PortPool, Shard, ShardConfig, Taps,
};
use antiphon_media_rtp::Sender;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LONGEST: Duration = Duration::from_secs(10);
/// The client believes in UDP: its transport is what differs.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9);

fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: name.to_owned(), password: format!("{name}-password-of-22-chars") }
}

fn listener(change: impl FnOnce(&mut IceListenerConfig)) -> IceListener {
    let mut config = IceListenerConfig::new(SocketAddr::new(HOST, 0));
    change(&mut config);
    IceListener::start(config).expect("a port")
}

/// The two ends of a call over DTLS: a lite server and a full client.
fn configs(server: &str, client: &str) -> (LinkConfig, LinkConfig) {
    let [ours, theirs] = [0; 2].map(|_| Arc::new(Identity::generate().expect("a certificate")));
    let dtls = |identity: &Arc<Identity>, other: &Arc<Identity>, role| {
        Protection::Dtls(DtlsConfig {
            identity: Arc::clone(identity),
            fingerprint: other.fingerprint(),
            role,
            peer: NOWHERE,
            latch: false,
        })
    };
    let ice = |local, remote, lite, role| IceConfig {
        local: credentials(local),
        remote: credentials(remote),
        lite,
        remote_lite: !lite,
        role,
        candidates: Vec::new(),
    };
    let lite = ice(server, client, true, IceRole::Controlled);
    let full = ice(client, server, false, IceRole::Controlling);
    (
        LinkConfig { protection: dtls(&ours, &theirs, DtlsRole::Server), ice: Some(lite) },
        LinkConfig { protection: dtls(&theirs, &ours, DtlsRole::Client), ice: Some(full) },
    )
}

struct Call {
    _shard: Shard,
    handle: LegHandle,
    events: Receiver<LegEvent>,
}

impl Call {
    fn place(listener: &IceListener, ufrag: &str, link: LinkConfig, ports: u16) -> Self {
        let shard = Shard::start(ShardConfig { name: "shard".into(), legs: 4 }).expect("a thread");
        let pair = PortPool::new(ports..=ports + 9).expect("pairs").bind(HOST).expect("free ports");
        let config = LegConfig { rtcp_mux: true, remote: Some(NOWHERE), ..LegConfig::new(CodecKind::Pcmu) };
        let leg = Leg::new(config, Taps::default(), MediaTime::ZERO);
        let leg = leg.over(Link::new(link, MediaTime::ZERO).expect("a link"));
        let (tell, events) = channel();
        let tell = Box::new(move |event| {
            let _ = tell.send(event);
        });
        let mut handle = shard.add(pair, leg, Instant::now(), tell).expect("room");
        handle.expect(listener, ufrag);
        Self { _shard: shard, handle, events }
    }

    fn wait(&self, what: &str, wanted: impl Fn(&LegEvent) -> bool) {
        let end = Instant::now() + LONGEST;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).unwrap_or_else(|e| panic!("no {what}: {e}"));
            if wanted(&event) {
                return;
            }
        }
    }
}

/// A far side that connects.
struct Client {
    link: Link,
    to: SocketAddr,
    socket: TcpStream,
    deframer: Deframer,
    start: Instant,
    heard: usize,
}

impl Client {
    fn connect(mut config: LinkConfig, to: SocketAddr) -> Self {
        let ice = config.ice.as_mut().expect("ice");
        ice.candidates = vec![RemoteCandidate { address: to, priority: 1 }];
        let socket = connect(to);
        let link = Link::new(config, MediaTime::ZERO).expect("a link");
        Self { link, to, socket, deframer: Deframer::new(2_048), start: Instant::now(), heard: 0 }
    }

    fn send(&mut self) {
        self.link.handle_timeout(MediaTime::ZERO + Span::from(self.start.elapsed()));
        while let Some((_, datagram)) = self.link.poll_transmit() {
            let mut framed = Vec::new();
            assert!(frame(datagram, &mut framed));
            // In pieces, as networks deliver streams.
            for piece in framed.chunks(50) {
                self.socket.write_all(piece).expect("written");
            }
        }
    }

    /// Takes and sends what is due; `false` once the connection has ended.
    fn run(&mut self) -> bool {
        let now = MediaTime::ZERO + Span::from(self.start.elapsed());
        self.send();
        let mut buffer = [0; 1_000];
        let Self { link, deframer, heard, to, .. } = self;
        match self.socket.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => {
                let pushed = deframer.push(&buffer[..count], |datagram| {
                    if let Input::Rtp(_) = link.handle(now, *to, datagram) {
                        *heard += 1;
                    }
                });
                pushed.expect("framed");
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
        self.send();
        true
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + LONGEST;
        while !done(self) {
            assert!(Instant::now() < end, "never {what}");
            assert!(self.run(), "the connection ended before {what}");
        }
    }

    fn say(&mut self, packets: usize) {
        let mut sender = Sender::new(9, 1, 1, 8_000);
        for _ in 0..packets {
            let (mut wire, mut framed) = ([0; 400], Vec::new());
            let length = sender.packet(0, 160, &[0x55; 160]).write(&mut wire).expect("it fits");
            let sealed = self.link.protect_rtp(&mut wire[..length + OVERHEAD], length).expect("keys");
            assert!(frame(&wire[..sealed], &mut framed));
            self.socket.write_all(&framed).expect("written");
        }
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect_timeout(&to, LONGEST).expect("connected");
    socket.set_read_timeout(Some(Duration::from_millis(10))).expect("set");
    socket.set_nodelay(true).expect("set");
    socket
}

/// Whether the other end closes within the time that tests have.
fn is_closed(socket: &mut TcpStream) -> bool {
    let end = Instant::now() + LONGEST;
    let mut buffer = [0; 100];
    while Instant::now() < end {
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
fn a_far_side_that_can_only_connect_is_heard_and_hears() {
    let listener = listener(|_| ());
    let (server, client) = configs("ours", "theirs");
    let call = Call::place(&listener, "ours", server, 44_800);
    let mut client = Client::connect(client, listener.address());
    client.run_until("connected", |client| client.link.ready());
    call.wait("connection", |event| *event == LegEvent::Link(LinkEvent::Connected));
    client.say(25);
    client.run_until("heard", |client| client.heard >= 25);
    let from = client.socket.local_addr().expect("bound");
    call.wait("lock", |event| *event == LegEvent::Locked { remote: from });
    drop(call.handle);
    let end = Instant::now() + LONGEST;
    let closed = loop {
        let event = call.events.recv_timeout(end.saturating_duration_since(Instant::now())).expect("told");
        if let LegEvent::Closed { figures, .. } = event {
            break figures;
        }
    };
    assert!(closed.received >= 25 && closed.forged == 0, "{closed:?}");
    assert!(is_closed(&mut client.socket), "a closed leg lets go of its connections");
    assert_eq!((listener.figures().taken, listener.figures().refused), (1, 0));
}

#[test]
fn a_far_side_whose_connection_breaks_comes_again_by_another() {
    let listener = listener(|_| ());
    let (server, client) = configs("ours", "theirs");
    let call = Call::place(&listener, "ours", server, 44_810);
    let mut client = Client::connect(client, listener.address());
    client.run_until("connected", |client| client.link.ready());
    call.wait("connection", |event| *event == LegEvent::Link(LinkEvent::Connected));
    client.run_until("heard", |client| client.heard >= 3);
    client.socket = connect(listener.address());
    client.deframer = Deframer::new(2_048);
    let heard = client.heard;
    // The check for consent, some five seconds after the last, goes by the new connection.
    client.run_until("heard again", |client| client.heard > heard + 10);
    assert_eq!(listener.figures().taken, 2);
}

#[test]
fn who_names_nobody_or_talks_nonsense_is_closed() {
    let listener = listener(|_| ());
    let (server, _) = configs("ours", "theirs");
    let call = Call::place(&listener, "ours", server, 44_820);
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff, 0xff, 0, 0], &[0, 3, 1, 2, 3], &[0, 0]] {
        let mut socket = connect(listener.address());
        socket.write_all(first).expect("written");
        assert!(is_closed(&mut socket), "{first:?}");
    }
    let (_, stranger) = configs("nobody", "theirs");
    let mut client = Client::connect(stranger, listener.address());
    client.send();
    assert!(is_closed(&mut client.socket));
    assert_eq!((listener.figures().taken, listener.figures().refused), (0, 5));
    drop(call);
}

#[test]
fn who_knows_the_name_but_not_the_password_is_closed_and_changes_nothing() {
    let listener = listener(|_| ());
    let (server, client) = configs("ours", "theirs");
    let call = Call::place(&listener, "ours", server, 44_830);
    let mut forged = client.clone();
    forged.ice.as_mut().expect("ice").remote.password = "another-password-of-22".into();
    let mut strangers: Vec<_> = (0..8).map(|_| Client::connect(forged.clone(), listener.address())).collect();
    for stranger in &mut strangers {
        stranger.send();
    }
    let mut client = Client::connect(client, listener.address());
    client.run_until("connected", |client| client.link.ready());
    call.wait("connection", |event| *event == LegEvent::Link(LinkEvent::Connected));
    for stranger in &mut strangers {
        assert!(is_closed(&mut stranger.socket));
    }
    client.run_until("heard", |client| client.heard >= 3);
}

#[test]
fn connections_that_say_nothing_are_few_and_closed_soon() {
    let listener = listener(|config| {
        config.patience = Duration::from_millis(300);
        config.waiting_each = 3;
    });
    let mut silent: Vec<_> = (0..3).map(|_| connect(listener.address())).collect();
    let mut fourth = connect(listener.address());
    let begun = Instant::now();
    assert!(is_closed(&mut fourth));
    let soon = begun.elapsed();
    for socket in &mut silent {
        assert!(is_closed(socket));
    }
    assert!(begun.elapsed() >= soon && begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(listener.figures().refused, 4);
    // One octet at a time is no way to stay either.
    let mut slow = connect(listener.address());
    for octet in [0, 100, 0, 1] {
        let _ = slow.write_all(&[octet]);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(is_closed(&mut slow));
}

#[test]
fn a_stun_server_says_at_which_address_it_sees_us() {
    let ports = PortPool::new(44_850..=44_859).expect("pairs");
    let pair = ports.bind(HOST).expect("free ports");
    let server = UdpSocket::bind((HOST, 0)).expect("a port");
    let at = server.local_addr().expect("bound");
    let silent = pair.reflexive(at, Duration::from_millis(250)).expect_err("nobody answers");
    assert!(silent.to_string().contains("did not answer within 250 ms"), "{silent}");
    let asked = std::thread::spawn(move || {
        let mut buffer = [0; 100];
        // Those of the first question are still there.
        server.set_nonblocking(true).expect("set");
        while server.recv_from(&mut buffer).is_ok() {}
        server.set_nonblocking(false).expect("set");
        let (length, from) = server.recv_from(&mut buffer).expect("asked");
        assert_eq!((length, buffer[..2].to_vec()), (28, vec![0, 1]));
        // Success, the same transaction, 192.0.2.1:32853 as RFC 5769 section 2.2 writes it.
        let mut answer = vec![1, 1, 0, 12];
        answer.extend(&buffer[4..20]);
        answer.extend([0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        server.send_to(b"noise", from).expect("sent");
        server.send_to(&answer, from).expect("sent");
    });
    std::thread::sleep(Duration::from_millis(50));
    let seen = pair.reflexive(at, Duration::from_secs(5)).expect("an answer");
    assert_eq!(seen, "192.0.2.1:32853".parse::<SocketAddr>().expect("an address"));
    asked.join().expect("no panic");
}
