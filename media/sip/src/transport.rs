//! Sockets with the gate in front: datagrams and streams reach the stack only as messages it can bear.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rsipstack::platform::CancellationToken;
use rsipstack::platform::net::UdpSocket as StackSocket;
use rsipstack::sip::{SipMessage, Transport};
use rsipstack::transaction::endpoint::EndpointInner;
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::{SipAddr, SipConnection, TransportEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use crate::flow::SipTransport;
use crate::gate::{Load, Verdict};
use crate::ingress::Ingress;
use crate::limits::Room;
use crate::message::{Frame, frame};

/// A peer that does not read for so long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// A message once begun has to be complete by then.
const MESSAGE_LIMIT: Duration = Duration::from_secs(32);

/// How long a stream pauses whose sender is too fast.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// What the gate needs to know; shared by all sockets.
pub(crate) struct Guard {
    pub(crate) max_message: usize,
    pub(crate) max_transactions: usize,
    pub(crate) stream_idle: Duration,
    pub(crate) calls: Arc<Semaphore>,
    pub(crate) ingress: Ingress,
    /// When the agent began: the zero of the pure parts' time.
    pub(crate) start: Instant,
    /// Set once the endpoint stands, before anything is received. Weak, because the endpoint owns the sockets.
    pub(crate) endpoint: OnceLock<Weak<EndpointInner>>,
}

impl Guard {
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
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
            Ok((_, remote)) if guard.ingress.limits.is_banned(guard.now(), remote.ip()) => {}
            Ok((stream, remote)) => {
                if attach(stream, remote, &guard, &stop, Some(permit)).await.is_none() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors most likely: waiting is the only cure.
                tracing::warn!(%error, "tcp accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Gives a connected stream to the stack, as a connection it can look up by `remote`.
pub(crate) async fn attach(
    stream: TcpStream,
    remote: SocketAddr,
    guard: &Arc<Guard>,
    stop: &CancellationToken,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
) -> Option<SipConnection> {
    let endpoint = guard.endpoint.get()?.upgrade()?;
    stream.set_nodelay(true).ok();
    let token = stop.child_token();
    let (to_stack, from_stream) = mpsc::unbounded_channel();
    let (to_stream, from_stack) = mpsc::unbounded_channel();
    let address = SipAddr { r#type: Some(Transport::Tcp), addr: remote.into() };
    let channel =
        ChannelConnection::create_connection(from_stream, to_stream, address.clone(), Some(token.clone()))
            .await
            .ok()?;
    let connection = SipConnection::Channel(channel);
    endpoint.transport_layer.add_connection(connection.clone());
    let pump = Pump { stream, remote, address, guard: Arc::clone(guard), to_stack, from_stack };
    let held = connection.clone();
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            () = token.cancelled() => {}
            () = pump.run(&held) => {}
        }
        // Dialogs stop using the flow once its token is cancelled; the channel's end retires the connection.
        token.cancel();
    });
    Some(connection)
}

struct Pump {
    stream: TcpStream,
    remote: SocketAddr,
    address: SipAddr,
    guard: Arc<Guard>,
    /// Unbounded as the stack's type demands; its one reader never waits.
    to_stack: mpsc::UnboundedSender<TransportEvent>,
    /// Unbounded as the stack's type demands; nothing is read from the peer while a write waits, so what is queued
    /// stays within what it sent.
    from_stack: mpsc::UnboundedReceiver<TransportEvent>,
}

impl Pump {
    async fn run(mut self, connection: &SipConnection) {
        let mut buffer: Vec<u8> = Vec::new();
        let mut chunk = vec![0; 16 * 1024];
        let mut begun = Instant::now();
        loop {
            loop {
                match frame(&buffer, self.guard.max_message) {
                    Frame::Incomplete => break,
                    Frame::Broken => {
                        // Longer than may be, or without a length: the gate says so.
                        let transport = SipTransport::Tcp;
                        if let Verdict::Answer(answer) = self.guard.judge(self.remote, transport, &buffer) {
                            self.write(&answer).await;
                        }
                        return;
                    }
                    Frame::KeepAlive { len, answer } => {
                        buffer.drain(..len);
                        if answer && !self.write(b"\r\n").await {
                            return;
                        }
                    }
                    Frame::Message(len) => {
                        let raw: Vec<u8> = buffer.drain(..len).collect();
                        if !self.deliver(&raw, connection).await {
                            return;
                        }
                    }
                }
            }
            let deadline = if buffer.is_empty() {
                begun = Instant::now();
                begun + self.guard.stream_idle
            } else {
                begun + MESSAGE_LIMIT
            };
            loop {
                tokio::select! {
                    biased;
                    out = self.from_stack.recv() => match out {
                        Some(TransportEvent::Incoming(message, ..)) => {
                            if !self.write(&message.to_bytes()).await {
                                return;
                            }
                        }
                        Some(_) => {}
                        None => return,
                    },
                    read = tokio::time::timeout_at(deadline, self.stream.read(&mut chunk)) => match read {
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

    /// Whether the stream goes on.
    async fn deliver(&mut self, raw: &[u8], connection: &SipConnection) -> bool {
        let mut waited = Duration::ZERO;
        loop {
            match self.guard.ingress.room(self.guard.now(), self.remote) {
                Room::Free => break,
                // Unlike a datagram it can wait; meanwhile the sender cannot send more.
                Room::Full if waited < MESSAGE_LIMIT => {
                    tokio::time::sleep(FULL_PAUSE).await;
                    waited += FULL_PAUSE;
                }
                Room::Full | Room::Banned => return false,
            }
        }
        match self.guard.judge(self.remote, SipTransport::Tcp, raw) {
            Verdict::Pass(bytes) => {
                let received = SipMessage::try_from(&bytes[..]).ok().and_then(|message| {
                    SipConnection::update_msg_received(message, self.remote, Transport::Tcp).ok()
                });
                let Some(message) = received else { return true };
                let event = TransportEvent::Incoming(message, connection.clone(), self.address.clone());
                self.to_stack.send(event).is_ok()
            }
            Verdict::Answer(answer) => self.write(&answer).await,
            Verdict::Drop(why) => {
                tracing::debug!(remote = %self.remote, why, "dropped");
                true
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        matches!(timeout(WRITE_LIMIT, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }
}
