//! The user agent: what it listens on, and where each request goes.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use rsipstack::EndpointBuilder;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::{Method, StatusCode};
use rsipstack::transaction::CallIdFormat;
use rsipstack::transaction::endpoint::EndpointOption;
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipConnection, TransportLayer};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::call_request::CallRequest;
use crate::dialog::{DialogControl, inside};
use crate::digest::Authenticator;
use crate::exchange::{AcknowledgedCalls, Inspector, absorb};
use crate::flow::{Flows, SipTransport};
use crate::gate::Rules;
use crate::incoming::{self, IncomingCall};
use crate::ingress::Ingress;
use crate::leg::{DialogId, End, Leg, Phase, lock};
use crate::limits::{LimitStats, Limits};
use crate::outgoing::{self, OutgoingCall};
use crate::probe::{self, ProbeError};
use crate::registrar::{self, Registrar};
use crate::registration::{self, NAT_REMINDER, Registration, RegistrationConfig};
use crate::targets::{self, Resolver};
use crate::tls;
use crate::transport::{GatedSocket, Guard, Listener, accept};

mod config;
mod error;
mod shared;

pub use config::AgentConfig;
pub use error::SipError;
pub(crate) use shared::{Core, Replying, capabilities, refuse_busy, reply, stack_address};

/// Used nonces remembered against replay; each takes about 120 bytes.
const MAX_NONCES: usize = 65_536;
/// How often registrations are looked through for those that ran out.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(2);
/// Repeated answers that may wait for their ACK; one beyond waits for its next repetition.
const STRAYS: usize = 256;
/// A call may ring for as long as its own limit says: the stack's limit (Timer C) is for proxies.
const TIMER_C: Duration = Duration::from_secs(24 * 3_600);

/// What a call driver needs of a SIP stack, so that tests and other stacks can stand in.
pub trait SipStack: Send + Sync + 'static {
    /// Places a call; its progress comes as events.
    fn call(&self, request: CallRequest) -> impl Future<Output = Result<OutgoingCall, SipError>> + Send;

    /// Ends every call and stops listening.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;

    /// How much is going on.
    fn stats(&self) -> AgentStats;
}

/// What the agent holds right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentStats {
    /// Calls in any state.
    pub calls: usize,
    /// Dialogs known, early ones included.
    pub dialogs: usize,
    /// Transactions still running.
    pub transactions: usize,
    /// Finished transactions kept to answer retransmissions.
    pub finished: usize,
    /// Stack timers pending.
    pub timers: usize,
    /// Stream connections.
    pub connections: usize,
    /// Phones registered.
    pub registered: usize,
    /// Requests answered with a challenge, since the start.
    pub challenged: u64,
    /// Requests refused by the access policy, since the start.
    pub refused: u64,
    /// What the limits for each source did.
    pub limits: LimitStats,
}

/// A SIP user agent over the `rsipstack` crate. Dropping it stops it without farewell; [`Agent::shutdown`] ends the
/// calls first.
pub struct Agent {
    core: Arc<Core>,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    ws: Vec<SocketAddr>,
    wss: Vec<SocketAddr>,
}

impl Agent {
    /// Binds all addresses and starts to answer. Incoming calls arrive on the receiver; while it is full, callers get
    /// 503.
    ///
    /// # Errors
    /// If an address cannot be bound or none is given.
    pub async fn bind(config: AgentConfig) -> Result<(Self, mpsc::Receiver<IncomingCall>), SipError> {
        let streams = [
            (SipTransport::Tcp, &config.tcp),
            (SipTransport::Tls, &config.tls),
            (SipTransport::Ws, &config.ws),
            (SipTransport::Wss, &config.wss),
        ];
        if config.udp.is_empty() && streams.iter().all(|(_, addresses)| addresses.is_empty()) {
            return Err(SipError::NoTransport);
        }
        let secure = streams.iter().any(|(kind, addresses)| kind.is_secure() && !addresses.is_empty());
        let acceptor = match (&config.tls_identity, secure) {
            (Some(identity), true) => Some(tls::acceptor(identity, config.tls_clients.as_ref())?),
            (None, true) => return Err(SipError::NoIdentity),
            (_, false) => None,
        };
        let stop = CancellationToken::new();
        let guard = Arc::new(Guard {
            max_message: config.max_message,
            max_transactions: config.max_transactions,
            stream_idle: config.stream_idle,
            calls: Arc::new(Semaphore::new(config.max_calls)),
            ingress: Ingress::new(
                // The stack reads datagrams and parts of streams into buffers of its own, of this size.
                Rules { max_message: config.max_message, registrar: config.registrar.is_some() },
                Arc::clone(&config.access),
                Authenticator::new(config.digest_algorithms.clone(), config.nonce_lifetime, MAX_NONCES),
                Limits::new(config.limits.clone(), Arc::clone(&config.access)),
            ),
            flows: Flows::default(),
            registrar: config.registrar.clone(),
            sockets: Mutex::default(),
            start: Instant::now(),
            endpoint: OnceLock::new(),
        });
        let transport = TransportLayer::new(stop.clone());
        let (mut udp, mut listeners) = (Vec::new(), Vec::new());
        for &address in &config.udp {
            let failed = |error| SipError::Socket { address, error };
            let socket = UdpSocket::bind(address).await.map_err(failed)?;
            udp.push(socket.local_addr().map_err(failed)?);
            let gated = GatedSocket::new(socket, Arc::clone(&guard), stop.clone()).map_err(failed)?;
            let connection = UdpConnection::from_socket(gated, None, Some(stop.child_token())).await?;
            transport.add_transport(SipConnection::Udp(connection));
        }
        let origins: Arc<[String]> = config.ws_origins.clone().into();
        for (transport, addresses) in streams {
            for &address in addresses {
                let failed = |error| SipError::Socket { address, error };
                let socket = TcpListener::bind(address).await.map_err(failed)?;
                let acceptor = acceptor.clone().filter(|_| transport.is_secure());
                let bound = socket.local_addr().map_err(failed)?;
                listeners.push((
                    socket,
                    bound,
                    Listener { transport, acceptor, origins: Arc::clone(&origins) },
                ));
            }
        }
        let (strays_sender, strays) = mpsc::channel(STRAYS);
        let acknowledged = AcknowledgedCalls::default();
        let inspector = Inspector {
            name: config.user_agent.clone(),
            acknowledged: Arc::clone(&acknowledged),
            strays: strays_sender,
        };
        let endpoint = EndpointBuilder::new()
            .with_cancel_token(stop.clone())
            .with_transport_layer(transport)
            .with_inspector(Box::new(inspector))
            .with_option(EndpointOption {
                t1: config.t1,
                t1x64: config.t1 * 64,
                timerc: TIMER_C,
                callid_format: CallIdFormat::Uuid,
                auto_ack_2xx: false,
                ..EndpointOption::default()
            })
            .build();
        let inner = Arc::clone(&endpoint.inner);
        guard.endpoint.get_or_init(|| Arc::downgrade(&inner));
        let transactions = endpoint.incoming_transactions()?;
        let mut serve = Box::pin(async move { endpoint.serve().await });
        // The first poll starts the UDP readers. The other listeners join afterwards, so that it does not serve them.
        let done = poll_fn(|cx| Poll::Ready(serve.as_mut().poll(cx).is_ready())).await;
        if done {
            return Err(SipError::Stack("the endpoint did not start".to_owned()));
        }
        let bound = |wanted: SipTransport| {
            listeners.iter().filter(|(_, _, kind)| kind.transport == wanted).map(|(_, at, _)| *at).collect()
        };
        let [tcp, tls, ws, wss] =
            [SipTransport::Tcp, SipTransport::Tls, SipTransport::Ws, SipTransport::Wss].map(bound);
        let limit = Arc::new(Semaphore::new(config.max_connections));
        for (socket, address, kind) in listeners {
            inner.transport_layer.add_transport(known(kind.transport, address).await?);
            tokio::spawn(accept(socket, kind, Arc::clone(&guard), Arc::clone(&limit), stop.clone()));
        }
        tokio::spawn(serve);
        let (incoming, calls) = mpsc::channel(config.incoming_queue.max(1));
        let resolver = Resolver::new(config.name_servers.clone());
        let core = Arc::new(Core {
            endpoint: inner,
            guard,
            config,
            stop,
            closing: CancellationToken::new(),
            answering: Arc::default(),
            incoming,
            legs: Mutex::new(HashMap::new()),
            acknowledged,
            resolver,
        });
        tokio::spawn(absorb(Arc::clone(&core), strays));
        tokio::spawn(dispatch(Arc::clone(&core), transactions));
        if let Some(registrar) = core.config.registrar.clone() {
            tokio::spawn(tend(registrar, Arc::clone(&core.guard), core.stop.clone()));
        }
        Ok((Self { core, udp, tcp, tls, ws, wss }, calls))
    }

    /// The UDP addresses bound, in the order of [`AgentConfig::udp`].
    #[must_use]
    pub fn udp(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// The TCP addresses bound, in the order of [`AgentConfig::tcp`].
    #[must_use]
    pub fn tcp(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// The TLS addresses bound, in the order of [`AgentConfig::tls`].
    #[must_use]
    pub fn tls(&self) -> &[SocketAddr] {
        &self.tls
    }

    /// The WebSocket addresses bound, in the order of [`AgentConfig::ws`].
    #[must_use]
    pub fn ws(&self) -> &[SocketAddr] {
        &self.ws
    }

    /// The WebSocket addresses under TLS bound, in the order of [`AgentConfig::wss`].
    #[must_use]
    pub fn wss(&self) -> &[SocketAddr] {
        &self.wss
    }

    /// Places a call; its progress comes as events of the returned handle.
    ///
    /// # Errors
    /// If the request is not valid, its host unknown or (TCP) unreachable, or too many calls are up.
    pub async fn call(&self, request: CallRequest) -> Result<OutgoingCall, SipError> {
        outgoing::place(&self.core, request).await
    }

    /// The addresses to try for a `sip:` address, the best first (RFC 3263): by SRV records, in the order of their
    /// priorities and drawn by their weights, where it names no port, else the host's own. At most 8.
    ///
    /// # Errors
    /// If `uri` is not valid, or nothing is found within five seconds.
    pub async fn resolve(&self, uri: &str, transport: SipTransport) -> Result<Vec<SocketAddr>, SipError> {
        let uri = crate::call_request::uri(uri).ok_or(SipError::Invalid { what: "address" })?;
        targets::resolve(&self.core, &uri, transport).await
    }

    /// The call that a dialog identity names, while it lasts.
    #[must_use]
    pub fn dialog(&self, id: &DialogId) -> Option<DialogControl> {
        self.core.find(id).filter(|leg| leg.phase() != Phase::Ended).map(|leg| DialogControl { leg })
    }

    /// Registers with somebody else's registrar, and keeps it up until the handle is dropped or stopped.
    ///
    /// # Errors
    /// If an address or a name in `config` is not valid. What the registrar says is told by the handle.
    pub fn register(&self, config: RegistrationConfig) -> Result<Registration, SipError> {
        registration::register(&self.core, config)
    }

    /// Asks by one OPTIONS whether `target` (`sip:host[:port]`) is there; how long the answer took.
    ///
    /// # Errors
    /// If it cannot be reached, does not answer within eight seconds, or answers that it cannot serve.
    pub async fn probe(&self, target: &str, transport: SipTransport) -> Result<Duration, ProbeError> {
        probe::probe(&self.core, target, transport).await
    }

    /// Ends every call (BYE, CANCEL or 503, whatever fits), waits a little for the farewells, and stops listening.
    pub async fn shutdown(&self) {
        self.core.closing.cancel();
        let mut farewells = Vec::new();
        let legs: Vec<Arc<Leg>> = lock(&self.core.legs).values().cloned().collect();
        for leg in legs {
            farewells.push(tokio::spawn(async move {
                // Who answered a call may not say BYE before the ACK has come (RFC 3261 §15).
                leg.left(Phase::Early).await;
                leg.bye(Vec::new(), End::Lost).await.ok();
            }));
        }
        let all = async {
            for farewell in farewells {
                farewell.await.ok();
            }
            // Refusals and CANCELs have to leave.
            while self.stats().calls > 0 || Arc::strong_count(&self.core.answering) > 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(self.core.config.t1 * 8, all).await.ok();
        self.core.stop.cancel();
    }

    /// How much is going on.
    #[must_use]
    pub fn stats(&self) -> AgentStats {
        let Core { endpoint, legs, guard, config, .. } = &*self.core;
        AgentStats {
            calls: config.max_calls - guard.calls.available_permits(),
            dialogs: lock(legs).len(),
            transactions: endpoint.transactions.len(),
            finished: endpoint.finished_transactions.len(),
            timers: endpoint.timers.len(),
            connections: endpoint.transport_layer.connections_count(),
            registered: config.registrar.as_ref().map_or(0, |registrar| registrar.len()),
            challenged: guard.ingress.counts().0,
            refused: guard.ingress.counts().1,
            limits: guard.ingress.limits.stats(),
        }
    }

    /// Who is banned, and for how long still. An IPv6 address stands for its /64.
    #[must_use]
    pub fn bans(&self) -> Vec<(IpAddr, Duration)> {
        self.core.guard.ingress.limits.bans(self.core.guard.now())
    }

    /// Lifts a ban; whether there was one.
    pub fn unban(&self, address: IpAddr) -> bool {
        self.core.guard.ingress.limits.unban(self.core.guard.now(), address)
    }
}

impl SipStack for Agent {
    async fn call(&self, request: CallRequest) -> Result<OutgoingCall, SipError> {
        Self::call(self, request).await
    }

    async fn shutdown(&self) {
        Self::shutdown(self).await;
    }

    fn stats(&self) -> AgentStats {
        Self::stats(self)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

async fn dispatch(core: Arc<Core>, mut transactions: mpsc::UnboundedReceiver<Transaction>) {
    loop {
        let tx = tokio::select! {
            () = core.stop.cancelled() => None,
            tx = transactions.recv() => tx,
        };
        let Some(tx) = tx else {
            core.abandon();
            return;
        };
        // A task a request: the gate bounds how many transactions there are.
        if let Some(task) = route(&core, tx) {
            let (stop, answering) = (core.stop.clone(), Arc::clone(&core.answering));
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = task => {}
                }
                drop(answering);
            });
        }
    }
}

/// A listener as the stack knows it: by its address, for Via and Contact. Accepting, which the stack would do without
/// limits, is the gate's.
async fn known(transport: SipTransport, address: SocketAddr) -> Result<SipConnection, SipError> {
    let address = stack_address(transport.stack(), SipConnection::resolve_bind_address(address));
    let ((_, from_nowhere), (to_nowhere, _)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let channel = ChannelConnection::create_connection(from_nowhere, to_nowhere, address, None).await?;
    Ok(SipConnection::Channel(channel))
}

/// Looks after the registered phones: forgets those that ran out, and keeps the way open to those behind NAT.
async fn tend(registrar: Arc<Registrar>, guard: Arc<Guard>, stop: CancellationToken) {
    let mut reminded = Instant::now();
    while tokio::time::timeout(EXPIRY_INTERVAL, stop.cancelled()).await.is_err() {
        registrar.expire();
        if reminded.elapsed() >= NAT_REMINDER {
            reminded = Instant::now();
            for phone in registrar.behind_nat() {
                guard.remind(phone).await;
            }
        }
    }
}

fn route(core: &Arc<Core>, mut tx: Transaction) -> Option<Replying> {
    // First of all: whatever becomes of the request, the mark ends here.
    let entry = core.guard.ingress.entry(&mut tx.original);
    let Some(id) = DialogId::of_request(&tx.original) else {
        return Some(reply(tx, StatusCode::BadRequest, Vec::new()));
    };
    if !id.local_tag.is_empty() {
        return Some(inside::route(core, id, tx));
    }
    // Read one way by the gate and another way by the stack: let in by nobody.
    let Some(entry) = entry else { return Some(reply(tx, StatusCode::Forbidden, Vec::new())) };
    match (tx.original.method, &core.config.registrar) {
        (Method::Options, _) => Some(reply(tx, StatusCode::OK, capabilities(core))),
        (Method::Invite, _) if core.closing.is_cancelled() => Some(refuse_busy(tx)),
        (Method::Invite, _) => incoming::begin(core, tx, entry),
        (Method::Register, Some(registrar)) => Some(registrar::serve(registrar, &entry, tx)),
        _ => Some(reply(tx, StatusCode::CallTransactionDoesNotExist, Vec::new())),
    }
}
