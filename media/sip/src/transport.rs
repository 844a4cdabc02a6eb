//! Sockets with the gate in front: datagrams and streams reach the stack only as messages it can bear.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rsipstack::platform::CancellationToken;
use rsipstack::platform::net::UdpSocket as StackSocket;
use rsipstack::sip::SipMessage;
use rsipstack::transaction::endpoint::EndpointInner;
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::{SipAddr, SipConnection, TransportEvent};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, interval, timeout};
use tokio_rustls::TlsAcceptor;

use crate::flow::{Flows, SipTransport};
use crate::gate::{Load, Verdict};
use crate::ingress::Ingress;
use crate::limits::Room;
use crate::message::{Frame, frame};
use crate::registrar::Registrar;
use crate::tls::HANDSHAKE_LIMIT;
use crate::websocket;

/// A peer that does not read for so long is gone.
pub(crate) const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// A message once begun has to be complete by then.
const MESSAGE_LIMIT: Duration = Duration::from_secs(32);

/// How often a connection of this side's making says that it is wanted: below what firewalls forget (RFC 5626 §4.4.1).
const KEEP_ALIVE: Duration = Duration::from_secs(95);
/// How long a stream pauses whose sender is too fast.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// What the gate needs to know; shared by all sockets.
pub(crate) struct Guard {
    pub(crate) max_message: usize,
    pub(crate) max_transactions: usize,
    pub(crate) stream_idle: Duration,
    pub(crate) calls: Arc<Semaphore>,
    pub(crate) ingress: Ingress,
    pub(crate) flows: Flows,
    pub(crate) registrar: Option<Arc<Registrar>>,
    pub(crate) sockets: Mutex<Vec<Weak<GatedSocket>>>,
    /// When the agent began: the zero of the pure parts' time.
    pub(crate) start: Instant,
    /// Set once the endpoint stands, before anything is received. Weak, because the endpoint owns the sockets.
    pub(crate) endpoint: OnceLock<Weak<EndpointInner>>,
}

impl Guard {
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Sends a peer an empty datagram, so that a NAT in between keeps the way open (RFC 5626 §4.4.2).
    pub(crate) async fn remind(&self, peer: SocketAddr) {
        let sockets: Vec<_> = self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let socket = sockets.iter().filter_map(Weak::upgrade).find(|s| s.local.is_ipv4() == peer.is_ipv4());
        if let Some(socket) = socket.and_then(|gated| gated.socket().ok()) {
            socket.send_to(b"\r\n\r\n", peer).await.ok();
        }
    }

    fn judge(&self, source: SocketAddr, transport: SipTransport, raw: &[u8]) -> Verdict {
        self.ingress.judge(self.now(), source, transport, raw, self.load())
    }

    fn load(&self) -> Load {
        let Some(endpoint) = self.endpoint.get().and_then(Weak::upgrade) else {
            return Load::Overrun;
        };
        let held = endpoint.transactions.len() + endpoint.finished_transactions.len();
        if held >= self.max_transactions * 2 {
            Load::Overrun
        } else if held >= self.max_transactions || self.calls.available_permits() == 0 {
            Load::Busy
        } else {
            Load::Normal
        }
    }
}

/// A UDP socket as the stack sees it: what it receives was admitted.
pub(crate) struct GatedSocket {
    /// Taken out at the end: transactions the stack never finishes after that must not keep the port.
    socket: Mutex<Option<Arc<UdpSocket>>>,
    local: SocketAddr,
    guard: Arc<Guard>,
}

impl GatedSocket {
    /// Wraps `socket`, and closes it at `stop`.
    pub(crate) fn new(
        socket: UdpSocket,
        guard: Arc<Guard>,
        stop: CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let local = socket.local_addr()?;
        let gated = Arc::new(Self { socket: Mutex::new(Some(Arc::new(socket))), local, guard });
        gated.guard.sockets.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&gated));
        let closing = Arc::clone(&gated);
        tokio::spawn(async move {
            stop.cancelled().await;
            closing.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        Ok(gated)
    }

    fn socket(&self) -> io::Result<Arc<UdpSocket>> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone();
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

#[async_trait::async_trait]
impl StackSocket for GatedSocket {
    async fn recv_from(&self, buf: &mut [u8]) -> rsipstack::Result<(usize, SocketAddr)> {
        let mut raw = vec![0; 65_535];
        loop {
            let Ok(socket) = self.socket() else { return pending().await };
            let (len, source) = match socket.recv_from(&mut raw).await {
                Ok(received) => received,
                Err(error) => {
                    // On Linux an earlier answer's ICMP refusal; the stack would spin on anything lasting.
                    tracing::debug!(%error, "udp receive");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            };
            if raw[..len].iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if self.guard.ingress.room(self.guard.now(), source) != Room::Free {
                continue;
            }
            match self.guard.judge(source, SipTransport::Udp, &raw[..len]) {
                Verdict::Pass(bytes) if bytes.len() <= buf.len() => {
                    buf[..bytes.len()].copy_from_slice(&bytes);
                    return Ok((bytes.len(), source));
                }
                Verdict::Pass(_) => tracing::debug!(%source, len, "dropped: too large"),
                Verdict::Answer(answer) => {
                    socket.send_to(&answer, source).await.ok();
                }
                Verdict::Drop(why) => tracing::debug!(%source, len, why, "dropped"),
            }
        }
    }

    async fn send_to(&self, buf: &[u8], addr: SocketAddr) -> rsipstack::Result<usize> {
        Ok(self.socket()?.send_to(buf, addr).await?)
    }

    fn local_addr(&self) -> rsipstack::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// Takes streams until `stop`, never more than `limit` at once.
pub(crate) async fn accept(
    listener: TcpListener,
    kind: Listener,
    guard: Arc<Guard>,
    limit: Arc<Semaphore>,
    stop: CancellationToken,
) {
    loop {
        let Ok(permit) = Arc::clone(&limit).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                let Some(seat) = Seat::take(&guard, remote, permit) else { continue };
                stream.set_nodelay(true).ok();
                let (kind, guard, stop) = (kind.clone(), Arc::clone(&guard), stop.clone());
                tokio::spawn(async move {
                    let shaken = tokio::select! {
                        () = stop.cancelled() => return,
                        shaken = kind.shake(stream, guard.max_message) => shaken,
                    };
                    match shaken {
                        Ok(carrier) => {
                            attach(carrier, remote, kind.transport, &guard, &stop, Some(seat)).await;
                        }
                        Err(error) => tracing::debug!(%remote, %error, "handshake"),
                    }
                });
            }
            Err(error) => {
                // Out of descriptors most likely: waiting is the only cure.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What a listener speaks.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) transport: SipTransport,
    /// For secure transports.
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// Pages that may connect by WebSocket.
    pub(crate) origins: Arc<[String]>,
}

impl Listener {
    async fn shake(&self, stream: TcpStream, max_message: usize) -> io::Result<Carrier> {
        let wire: Box<dyn Wire> = match &self.acceptor {
            Some(acceptor) => {
                let shaken = timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await;
                Box::new(shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??)
            }
            None => Box::new(stream),
        };
        match self.transport {
            SipTransport::Ws | SipTransport::Wss => {
                let socket = websocket::accept(wire, &self.origins, max_message).await?;
                Ok(Carrier::WebSocket(Box::new(socket)))
            }
            SipTransport::Udp | SipTransport::Tcp | SipTransport::Tls => Ok(Carrier::Stream(wire)),
        }
    }
}

/// A place among the connections, given back when dropped.
pub(crate) struct Seat {
    guard: Arc<Guard>,
    remote: SocketAddr,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    fn take(guard: &Arc<Guard>, remote: SocketAddr, permit: OwnedSemaphorePermit) -> Option<Self> {
        let taken = guard.ingress.limits.connect(guard.now(), remote.ip());
        taken.then(|| Self { guard: Arc::clone(guard), remote, _permit: permit })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guard.ingress.limits.disconnect(self.remote.ip());
    }
}

/// A stream of bytes, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// What messages come over, once hands are shaken.
pub(crate) enum Carrier {
    Stream(Box<dyn Wire>),
    WebSocket(Box<websocket::Socket>),
}

/// Gives a connection to the stack, which looks it up by transport and `remote`.
pub(crate) async fn attach(
    carrier: Carrier,
    remote: SocketAddr,
    transport: SipTransport,
    guard: &Arc<Guard>,
    stop: &CancellationToken,
    seat: Option<Seat>,
) -> Option<SipConnection> {
    let endpoint = guard.endpoint.get()?.upgrade()?;
    let token = stop.child_token();
    let (to_stack, from_stream) = mpsc::unbounded_channel();
    let (to_stream, from_stack) = mpsc::unbounded_channel();
    let address = SipAddr { r#type: Some(transport.stack()), addr: remote.into() };
    let channel =
        ChannelConnection::create_connection(from_stream, to_stream, address.clone(), Some(token.clone()))
            .await
            .ok()?;
    let connection = SipConnection::Channel(channel);
    let flow = guard.flows.add(transport, remote, token.clone());
    endpoint.transport_layer.add_connection(connection.clone());
    let pipe = Pipe {
        remote,
        transport,
        address,
        connection: connection.clone(),
        guard: Arc::clone(guard),
        keep_alive: seat.is_none(),
        to_stack,
        from_stack,
    };
    let guard = Arc::clone(guard);
    tokio::spawn(async move {
        let _seat = seat;
        let pumped = async {
            match carrier {
                Carrier::Stream(wire) => Pump { wire, pipe }.run().await,
                Carrier::WebSocket(socket) => websocket::run(*socket, pipe).await,
            }
        };
        tokio::select! {
            () = token.cancelled() => {}
            () = pumped => {}
        }
        // Dialogs stop using the flow once its token is cancelled; the channel's end retires the connection.
        token.cancel();
        if guard.flows.remove(transport, remote, flow)
            && let Some(registrar) = &guard.registrar
        {
            registrar.flow_lost(transport, remote);
        }
    });
    Some(connection)
}

/// What becomes of a message that arrived.
pub(crate) enum Arrived {
    /// The stack has it, or nobody wants it.
    Taken,
    /// This goes back.
    Answer(Vec<u8>),
    /// The connection is to be closed.
    Over,
}

/// A connection between its peer and the stack.
pub(crate) struct Pipe {
    remote: SocketAddr,
    transport: SipTransport,
    address: SipAddr,
    connection: SipConnection,
    guard: Arc<Guard>,
    /// Whether this side opened it and has to keep it open (RFC 5626 §4.4.1).
    keep_alive: bool,
    /// Unbounded as the stack's type demands; its one reader never waits.
    to_stack: mpsc::UnboundedSender<TransportEvent>,
    /// Unbounded as the stack's type demands; nothing is read from the peer while a write waits, so what is queued
    /// stays within what it sent.
    pub(crate) from_stack: mpsc::UnboundedReceiver<TransportEvent>,
}

impl Pipe {
    /// How long the peer may be silent.
    pub(crate) fn idle(&self) -> Duration {
        self.guard.stream_idle
    }

    /// Waits until the peer may send one more message: unlike a datagram it can wait, and meanwhile its sender
    /// cannot send more. False if it is to be heard no more.
    pub(crate) async fn paced(&self) -> bool {
        let mut waited = Duration::ZERO;
        loop {
            match self.guard.ingress.room(self.guard.now(), self.remote) {
                Room::Free => return true,
                Room::Full if waited < MESSAGE_LIMIT => {
                    tokio::time::sleep(FULL_PAUSE).await;
                    waited += FULL_PAUSE;
                }
                Room::Full | Room::Banned => return false,
            }
        }
    }

    /// Judges a message, and gives it to the stack if it may have it.
    pub(crate) async fn arrived(&mut self, raw: &[u8]) -> Arrived {
        if !self.paced().await {
            return Arrived::Over;
        }
        match self.guard.judge(self.remote, self.transport, raw) {
            Verdict::Pass(bytes) => {
                let received = SipMessage::try_from(&bytes[..]).ok().and_then(|message| {
                    SipConnection::update_msg_received(message, self.remote, self.transport.stack()).ok()
                });
                let Some(message) = received else { return Arrived::Taken };
                let event = TransportEvent::Incoming(message, self.connection.clone(), self.address.clone());
                if self.to_stack.send(event).is_ok() { Arrived::Taken } else { Arrived::Over }
            }
            Verdict::Answer(answer) => Arrived::Answer(answer),
            Verdict::Drop(why) => {
                tracing::debug!(remote = %self.remote, why, "dropped");
                Arrived::Taken
            }
        }
    }
}

struct Pump {
    wire: Box<dyn Wire>,
    pipe: Pipe,
}

impl Pump {
    async fn run(mut self) {
        let mut buffer: Vec<u8> = Vec::new();
        let mut chunk = vec![0; 16 * 1024];
        let mut begun = Instant::now();
        let mut keep_alive = interval(KEEP_ALIVE);
        keep_alive.tick().await;
        loop {
            if !self.take(&mut buffer).await {
                return;
            }
            let deadline = if buffer.is_empty() {
                begun = Instant::now();
                begun + self.pipe.idle()
            } else {
                begun + MESSAGE_LIMIT
            };
            loop {
                tokio::select! {
                    biased;
                    out = self.pipe.from_stack.recv() => match out {
                        Some(TransportEvent::Incoming(message, ..)) => {
                            if !self.write(&message.to_bytes()).await {
                                return;
                            }
                        }
                        Some(_) => {}
                        None => return,
                    },
                    _ = keep_alive.tick(), if self.pipe.keep_alive => {
                        if !self.write(b"\r\n\r\n").await {
                            return;
                        }
                    }
                    read = tokio::time::timeout_at(deadline, self.wire.read(&mut chunk)) => match read {
                        Ok(Ok(len)) if len > 0 => {
                            if buffer.is_empty() {
                                begun = Instant::now();
                            }
                            buffer.extend_from_slice(&chunk[..len]);
                            break;
                        }
                        _ => return,
                    },
                }
            }
        }
    }

    /// Takes all whole messages out of the buffer; whether the stream goes on.
    async fn take(&mut self, buffer: &mut Vec<u8>) -> bool {
        loop {
            match frame(buffer, self.pipe.guard.max_message) {
                Frame::Incomplete => return true,
                Frame::Broken => {
                    // Longer than may be, or without a length: the gate says so.
                    if let Arrived::Answer(answer) = self.pipe.arrived(buffer).await {
                        self.write(&answer).await;
                    }
                    return false;
                }
                Frame::KeepAlive { len, answer } => {
                    buffer.drain(..len);
                    if !self.pipe.paced().await || (answer && !self.write(b"\r\n").await) {
                        return false;
                    }
                }
                Frame::Message(len) => {
                    let raw: Vec<u8> = buffer.drain(..len).collect();
                    match self.pipe.arrived(&raw).await {
                        Arrived::Taken => {}
                        Arrived::Answer(answer) => {
                            if !self.write(&answer).await {
                                return false;
                            }
                        }
                        Arrived::Over => return false,
                    }
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        let all = async {
            self.wire.write_all(bytes).await?;
            self.wire.flush().await
        };
        matches!(timeout(WRITE_LIMIT, all).await, Ok(Ok(())))
    }
}
