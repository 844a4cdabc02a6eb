//! One agent registers with another, is called, and survives its registrar; a trunk is probed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests own tasks, and fail by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_sip::sdp::{LocalMedia, offer};
use antiphon_media_sip::{
    Access, Agent, AgentConfig, CallRequest, Decision, IncomingCall, OutgoingEvent, Peer, ProbeError,
    Registrar, RegistrarConfig, RegistrationConfig, RegistrationState, RequestFacts, Secret, SipError,
    SipTransport, TlsIdentity, TlsTrust,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);
const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Policy;

impl Access for Policy {
    fn decide(&self, facts: &RequestFacts<'_>) -> Decision {
        match facts.method {
            "REGISTER" => Decision::Authenticate { realm: "pbx.test".into() },
            _ => Decision::Accept(Peer::Anonymous),
        }
    }

    fn secret(&self, user: &str, _realm: &str) -> Option<Secret> {
        (user == "bob-id").then(|| Secret::Password("secret".into()))
    }
}

/// As [`Policy`], with the user name that is registered.
struct Plain;

impl Access for Plain {
    fn decide(&self, facts: &RequestFacts<'_>) -> Decision {
        Policy.decide(facts)
    }

    fn secret(&self, user: &str, _realm: &str) -> Option<Secret> {
        (user == "bob").then(|| Secret::Password("secret".into()))
    }
}

fn everywhere() -> AgentConfig {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let identity =
        TlsIdentity::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
    AgentConfig {
        udp: vec![FREE],
        tcp: vec![FREE],
        tls: vec![FREE],
        ws: vec![FREE],
        wss: vec![FREE],
        tls_identity: Some(identity.unwrap()),
        tls_trust: TlsTrust::everybody(),
        t1: Duration::from_millis(50),
        ..AgentConfig::default()
    }
}

async fn registrar(config: RegistrarConfig) -> (Agent, Arc<Registrar>) {
    let registrar = Registrar::new(config);
    let config =
        AgentConfig { access: Arc::new(Plain), registrar: Some(Arc::clone(&registrar)), ..everywhere() };
    (Agent::bind(config).await.unwrap().0, registrar)
}

fn address(agent: &Agent, transport: SipTransport) -> SocketAddr {
    match transport {
        SipTransport::Udp => agent.udp()[0],
        SipTransport::Tcp => agent.tcp()[0],
        SipTransport::Tls => agent.tls()[0],
        SipTransport::Ws => agent.ws()[0],
        SipTransport::Wss => agent.wss()[0],
    }
}

fn at(address: SocketAddr, transport: SipTransport) -> RegistrationConfig {
    RegistrationConfig { transport, ..RegistrationConfig::new(&format!("sip:{address}"), "bob", "secret") }
}

async fn reaches(
    states: &mut tokio::sync::watch::Receiver<RegistrationState>,
    wanted: impl Fn(&RegistrationState) -> bool,
) -> RegistrationState {
    timeout(LIMIT, states.wait_for(wanted)).await.expect("a state in time").expect("a registration").clone()
}

fn registered(state: &RegistrationState) -> bool {
    matches!(state, RegistrationState::Registered { .. })
}

/// Calls the one phone of bob and has the call refused by it.
async fn call_bob(pbx: &Agent, registrar: &Registrar, calls: &mut Receiver<IncomingCall>) {
    let binding = registrar.lookup("bob").remove(0);
    let sdp = offer(&LocalMedia::new(Ipv4Addr::LOCALHOST.into(), 4_000, 1));
    let request = CallRequest {
        transport: binding.transport,
        destination: Some(binding.destination),
        routes: binding.path,
        ..CallRequest::new(binding.contact.expose(), "sip:pbx@pbx.test", sdp)
    };
    let mut call = pbx.call(request).await.unwrap();
    let arrived = timeout(LIMIT, calls.recv()).await.expect("a call in time").unwrap();
    assert_eq!(arrived.transport(), binding.transport);
    arrived.reject(486, "", "").unwrap();
    loop {
        match timeout(LIMIT, call.next()).await.unwrap() {
            OutgoingEvent::Failed { status, .. } => break assert_eq!(status, 486),
            OutgoingEvent::Ringing => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_registers_is_called_and_leaves_over_every_transport() {
    let (pbx, bindings) = registrar(RegistrarConfig::default()).await;
    for transport in
        [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls, SipTransport::Ws, SipTransport::Wss]
    {
        let (phone, mut calls) = Agent::bind(everywhere()).await.unwrap();
        let registration = phone.register(at(address(&pbx, transport), transport)).unwrap();
        let mut states = registration.state();
        reaches(&mut states, registered).await;
        assert_eq!(bindings.lookup("bob")[0].transport, transport);
        call_bob(&pbx, &bindings, &mut calls).await;
        registration.stop().await;
        assert!(bindings.is_empty(), "{transport}: it said good-bye");
        assert_eq!(*states.borrow(), RegistrationState::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_not_tried_at_once_again() {
    let (pbx, _) = registrar(RegistrarConfig::default()).await;
    let (phone, _) = Agent::bind(everywhere()).await.unwrap();
    let config = RegistrationConfig { password: "guess".into(), ..at(pbx.udp()[0], SipTransport::Udp) };
    let registration = phone.register(config).unwrap();
    let state = reaches(&mut registration.state(), |s| matches!(s, RegistrationState::Failed { .. })).await;
    let RegistrationState::Failed { status, retry_at, .. } = state else { unreachable!() };
    assert_eq!(status, 403);
    assert!(retry_at > tokio::time::Instant::now() + Duration::from_secs(10));
    assert_eq!(pbx.stats().limits.failures, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_the_password_may_be_another_than_the_user() {
    let config = AgentConfig {
        access: Arc::new(Policy),
        registrar: Some(Registrar::new(RegistrarConfig::default())),
        ..everywhere()
    };
    let (pbx, _) = Agent::bind(config).await.unwrap();
    let (phone, _) = Agent::bind(everywhere()).await.unwrap();
    let config =
        RegistrationConfig { auth_user: Some("bob-id".into()), ..at(pbx.udp()[0], SipTransport::Udp) };
    let registration = phone.register(config).unwrap();
    let state = reaches(&mut registration.state(), |s| !matches!(s, RegistrationState::Registering)).await;
    // Proved to be bob-id, it may not register bob with our own registrar.
    assert!(matches!(state, RegistrationState::Failed { status: 403, .. }), "{state:?}");
    assert_eq!(pbx.stats().limits.failures, 0, "the password was right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_brief_is_stretched_and_refreshed_in_time() {
    let brief = RegistrarConfig {
        min_expires: Duration::from_secs(4),
        max_expires: Duration::from_secs(4),
        ..RegistrarConfig::default()
    };
    let (pbx, bindings) = registrar(brief).await;
    let (phone, _) = Agent::bind(everywhere()).await.unwrap();
    let config =
        RegistrationConfig { expires: Duration::from_secs(1), ..at(pbx.udp()[0], SipTransport::Udp) };
    let registration = phone.register(config).unwrap();
    let mut states = registration.state();
    reaches(&mut states, registered).await;
    for _ in 0..90 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(bindings.lookup("bob").len(), 1, "never gone for a moment");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_leads_to_a_new_registration() {
    let (pbx, bindings) = registrar(RegistrarConfig::default()).await;
    let (phone, mut calls) = Agent::bind(everywhere()).await.unwrap();
    // A proxy in between that can be cut.
    let between = tokio::net::TcpListener::bind(FREE).await.unwrap();
    let config = at(between.local_addr().unwrap(), SipTransport::Tcp);
    let (behind, cut) = (pbx.tcp()[0], Arc::new(tokio::sync::Notify::new()));
    let cutting = Arc::clone(&cut);
    let proxy = tokio::spawn(async move {
        loop {
            let (mut one, _) = between.accept().await.unwrap();
            let mut other = tokio::net::TcpStream::connect(behind).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut one, &mut other) => {}
                () = cutting.notified() => {}
            }
        }
    });
    let registration = phone.register(config).unwrap();
    let mut events = bindings.subscribe();
    reaches(&mut registration.state(), registered).await;
    timeout(LIMIT, events.recv()).await.unwrap().unwrap();
    let first = bindings.lookup("bob")[0].destination;
    cut.notify_one();
    for _ in 0..2 {
        timeout(LIMIT, events.recv()).await.expect("gone, and there again").unwrap();
    }
    assert_ne!(bindings.lookup("bob")[0].destination, first);
    call_bob(&pbx, &bindings, &mut calls).await;
    proxy.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_told_and_tried_again_later() {
    let (phone, _) = Agent::bind(everywhere()).await.unwrap();
    let closed = std::net::TcpListener::bind(FREE).unwrap().local_addr().unwrap();
    let registration = phone.register(at(closed, SipTransport::Tcp)).unwrap();
    let state = reaches(&mut registration.state(), |s| !matches!(s, RegistrationState::Registering)).await;
    assert!(matches!(state, RegistrationState::Failed { status: 503, .. }), "{state:?}");
    for wrong in ["", "pbx.test", "sip:bob@pbx.test", "tel:+1", "sip:a b"] {
        let config = RegistrationConfig::new(wrong, "bob", "secret");
        assert!(matches!(phone.register(config), Err(SipError::Invalid { what: "registrar" })), "{wrong}");
    }
    let config = RegistrationConfig::new("sip:pbx.test", "bob>\r\n", "secret");
    assert!(matches!(phone.register(config), Err(SipError::Invalid { what: "registered user" })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_tells_who_is_there_over_every_transport() {
    let (pbx, _) = registrar(RegistrarConfig::default()).await;
    let (agent, _) = Agent::bind(everywhere()).await.unwrap();
    for transport in [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls, SipTransport::Ws] {
        let took = agent.probe(&format!("sip:{}", address(&pbx, transport)), transport).await.unwrap();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    let closed = std::net::TcpListener::bind(FREE).unwrap().local_addr().unwrap();
    let refused = agent.probe(&format!("sip:{closed}"), SipTransport::Tcp).await;
    assert!(matches!(refused, Err(ProbeError::Unreachable(SipError::Socket { .. }))), "{refused:?}");
    let nonsense = agent.probe("mailto:x", SipTransport::Udp).await;
    assert!(matches!(nonsense, Err(ProbeError::Unreachable(SipError::Invalid { .. }))), "{nonsense:?}");

    // One that is there and says that it cannot, and one that says nothing.
    let trunk = UdpSocket::bind(FREE).await.unwrap();
    let target = format!("sip:{}", trunk.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        let (len, from) = trunk.recv_from(&mut buffer).await.unwrap();
        let request = String::from_utf8_lossy(&buffer[..len]).into_owned();
        let mut text = "SIP/2.0 503 Maintenance\r\n".to_owned();
        for line in request
            .lines()
            .filter(|l| ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|n| l.starts_with(n)))
        {
            text.push_str(&format!("{line}{}\r\n", if line.starts_with("To:") { ";tag=t" } else { "" }));
        }
        trunk.send_to(format!("{text}Content-Length: 0\r\n\r\n").as_bytes(), from).await.unwrap();
        trunk
    });
    let unwell = agent.probe(&target, SipTransport::Udp).await;
    assert!(
        matches!(&unwell, Err(ProbeError::Unwell { status: 503, reason }) if reason == "Maintenance"),
        "{unwell:?}"
    );
    let _silent = answering.await.unwrap();
    let nothing = agent.probe(&target, SipTransport::Udp).await;
    assert!(
        matches!(nothing, Err(ProbeError::TimedOut | ProbeError::Unwell { status: 408, .. })),
        "{nothing:?}"
    );
}
