//! Calls over loopback, our agent at both ends.
#![allow(clippy::disallowed_methods, reason = "tests own tasks")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_media_sip::sdp::{LocalMedia, Offer, accept_answer, answer, offer};
use antiphon_media_sip::{
    Agent, AgentConfig, AgentStats, CallRequest, Dialog, DialogEvent, IncomingCall, OutgoingCall,
    OutgoingEvent, SipTransport,
};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(10);

async fn agent(change: impl FnOnce(&mut AgentConfig)) -> (Agent, Receiver<IncomingCall>) {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = AgentConfig { udp: vec![free], tcp: vec![free], ..AgentConfig::default() };
    change(&mut config);
    Agent::bind(config).await.expect("loopback can be bound")
}

fn media(port: u16) -> LocalMedia {
    LocalMedia::new(Ipv4Addr::LOCALHOST.into(), port, 1)
}

fn request(to: SocketAddr) -> CallRequest {
    CallRequest::new(&format!("sip:4711@{to}"), "sip:0815@127.0.0.1", offer(&media(4_000)))
}

async fn take(calls: &mut Receiver<IncomingCall>) -> IncomingCall {
    timeout(LIMIT, calls.recv()).await.expect("a call in time").expect("an agent")
}

async fn next(call: &mut OutgoingCall) -> OutgoingEvent {
    timeout(LIMIT, call.next()).await.expect("an event in time")
}

async fn event(dialog: &mut Dialog) -> DialogEvent {
    timeout(LIMIT, dialog.next()).await.expect("an event in time")
}

fn accept(call: IncomingCall) -> Dialog {
    let offered = Offer::parse(call.offer().expect("an offer")).expect("well-formed");
    let (text, _) = answer(&offered, &media(5_000)).expect("a common codec");
    call.answer(&text).expect("still wanted")
}

async fn answered(call: &mut OutgoingCall) -> Dialog {
    loop {
        match next(call).await {
            OutgoingEvent::Ringing => {}
            OutgoingEvent::Answered { sdp, dialog } => {
                let negotiated = accept_answer(&media(4_000), &sdp).expect("a fitting answer");
                assert_eq!(negotiated.remote.port(), 5_000);
                return dialog;
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn establish(
    a: &Agent,
    calls: &mut Receiver<IncomingCall>,
    request: CallRequest,
) -> (Dialog, Dialog, OutgoingCall) {
    let mut call = a.call(request).await.expect("placed");
    let theirs = accept(take(calls).await);
    let ours = answered(&mut call).await;
    (ours, theirs, call)
}

/// Waits until `stats` says that nothing is left of any call.
async fn idle(agent: &Agent, within: Duration) -> AgentStats {
    let end = Instant::now() + within;
    loop {
        let stats = agent.stats();
        if (stats.calls == 0 && stats.dialogs == 0) || Instant::now() > end {
            return stats;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_rings_is_answered_and_ended_by_the_caller() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let mut placed = request(b.udp()[0]);
    placed.headers = vec![("X-Campaign".into(), "spring".into())];
    let mut out = a.call(placed).await.unwrap();
    let mut call = take(&mut calls).await;
    assert_eq!(call.from().user.expose(), "0815");
    assert_eq!(call.to().user.expose(), "4711");
    assert_eq!(call.headers("x-campaign").collect::<Vec<_>>(), ["spring"]);
    assert_eq!(call.source(), a.udp()[0]);
    assert!(call.request_uri().expose().starts_with("sip:4711@127.0.0.1"));
    call.ring().unwrap();
    assert!(matches!(next(&mut out).await, OutgoingEvent::Ringing));
    let id = call.call_id().to_owned();
    let mut theirs = accept(call);
    let ours = answered(&mut out).await;
    assert_eq!((ours.call_id(), theirs.call_id()), (id.clone(), id));
    ours.hang_up(Some((16, "Normal \"clearing\""))).await.unwrap();
    let DialogEvent::Bye { reason: Some(reason) } = event(&mut theirs).await else { panic!("no BYE") };
    assert_eq!(reason, "Q.850;cause=16;text=\"Normal \\\"clearing\\\"\"");
    assert!(matches!(event(&mut theirs).await, DialogEvent::Bye { .. }), "the end stays the end");
    assert_eq!(idle(&a, LIMIT).await.calls, 0);
    assert_eq!(idle(&b, LIMIT).await.dialogs, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_over_tcp_is_ended_by_the_called_side() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let placed = CallRequest { transport: SipTransport::Tcp, ..request(b.tcp()[0]) };
    let (mut ours, theirs, _call) = establish(&a, &mut calls, placed).await;
    theirs.hang_up(None).await.unwrap();
    assert!(matches!(event(&mut ours).await, DialogEvent::Bye { reason: None }));
    assert_eq!(b.stats().connections, 1, "the BYE went back over the caller's stream");
    assert_eq!(idle(&a, LIMIT).await.calls, 0);
    assert_eq!(idle(&b, LIMIT).await.calls, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_carries_its_status_and_phrase() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let mut out = a.call(request(b.udp()[0])).await.unwrap();
    take(&mut calls).await.reject(488, "No Codec Here", "no common codec").unwrap();
    let OutgoingEvent::Failed { status, reason, .. } = next(&mut out).await else { panic!("not refused") };
    assert_eq!((status, reason.as_str()), (488, "No Codec Here"));
    let mut out = a.call(request(b.udp()[0])).await.unwrap();
    drop(take(&mut calls).await);
    assert!(matches!(next(&mut out).await, OutgoingEvent::Failed { status: 480, .. }));
    assert_eq!(idle(&b, LIMIT).await.calls, 0);
    assert_eq!(idle(&a, LIMIT).await.calls, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_ends_at_both_sides() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let mut out = a.call(request(b.udp()[0])).await.unwrap();
    let mut call = take(&mut calls).await;
    call.ring().unwrap();
    assert!(matches!(next(&mut out).await, OutgoingEvent::Ringing));
    out.cancel();
    timeout(LIMIT, call.cancelled()).await.expect("the CANCEL arrives");
    assert!(call.answer("v=0").is_err(), "too late");
    assert!(matches!(next(&mut out).await, OutgoingEvent::Failed { status: 487, .. }));
    assert_eq!(idle(&a, LIMIT).await.calls, 0);
    assert_eq!(idle(&b, LIMIT).await.calls, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_and_answer_may_cross_and_nothing_stays() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    for round in 0..20u64 {
        let mut out = a.call(request(b.udp()[0])).await.unwrap();
        let mut call = take(&mut calls).await;
        call.ring().unwrap();
        let answering = tokio::spawn(async move {
            sleep(Duration::from_micros(100 * (round % 5))).await;
            let offered = Offer::parse(call.offer().unwrap()).unwrap();
            call.answer(&answer(&offered, &media(5_000)).unwrap().0).ok()
        });
        out.cancel();
        let outcome = loop {
            match next(&mut out).await {
                OutgoingEvent::Ringing => {}
                other => break other,
            }
        };
        match outcome {
            OutgoingEvent::Answered { dialog, .. } => dialog.hang_up(None).await.unwrap(),
            OutgoingEvent::Failed { status: 487, .. } => {}
            other => panic!("{other:?}"),
        }
        if let Some(mut theirs) = answering.await.unwrap() {
            assert!(matches!(event(&mut theirs).await, DialogEvent::Bye { .. } | DialogEvent::Lost));
        }
    }
    assert_eq!(idle(&a, LIMIT).await.dialogs, 0);
    assert_eq!(idle(&b, LIMIT).await.dialogs, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_handles_hang_up() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let (ours, mut theirs, call) = establish(&a, &mut calls, request(b.udp()[0])).await;
    drop((ours, call));
    assert!(matches!(event(&mut theirs).await, DialogEvent::Bye { .. }));
    // Hung up by the called side at once: the caller still sees an answer and an end.
    for _ in 0..20 {
        let mut out = a.call(request(b.udp()[0])).await.unwrap();
        drop(accept(take(&mut calls).await));
        let mut ours = answered(&mut out).await;
        assert!(matches!(event(&mut ours).await, DialogEvent::Bye { .. }));
    }
    // Dropped while it rings: cancelled.
    let out = a.call(request(b.udp()[0])).await.unwrap();
    let mut call = take(&mut calls).await;
    call.ring().unwrap();
    drop(out);
    timeout(LIMIT, call.cancelled()).await.expect("the CANCEL arrives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answering_times_out_at_both_sides() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|config| config.ring_limit = Duration::from_millis(300)).await;
    let mut out = a.call(request(b.udp()[0])).await.unwrap();
    let mut call = take(&mut calls).await;
    timeout(LIMIT, call.cancelled()).await.expect("the ring limit passes");
    assert!(matches!(next(&mut out).await, OutgoingEvent::Failed { status: 480, .. }));

    let (b, mut calls) = agent(|_| {}).await;
    let placed = CallRequest { ring_timeout: Duration::from_millis(300), ..request(b.udp()[0]) };
    let mut out = a.call(placed).await.unwrap();
    let mut call = take(&mut calls).await;
    call.ring().unwrap();
    assert!(matches!(next(&mut out).await, OutgoingEvent::Ringing));
    assert!(matches!(next(&mut out).await, OutgoingEvent::TimedOut));
    timeout(LIMIT, call.cancelled()).await.expect("the CANCEL arrives");

    // Nobody there at all: the far port is closed.
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (quick, _) = agent(|config| config.t1 = Duration::from_millis(10)).await;
    let mut out = quick.call(request(gone)).await.unwrap();
    assert!(matches!(next(&mut out).await, OutgoingEvent::Failed { status: 408, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_agent_says_503_and_recovers() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|config| config.max_calls = 2).await;
    let first = establish(&a, &mut calls, request(b.udp()[0])).await;
    let second = establish(&a, &mut calls, request(b.udp()[0])).await;
    let mut third = a.call(request(b.udp()[0])).await.unwrap();
    assert!(matches!(next(&mut third).await, OutgoingEvent::Failed { status: 503, .. }));
    first.0.hang_up(None).await.unwrap();
    drop((first.1, second));
    assert_eq!(idle(&b, LIMIT).await.calls, 0);
    let _fourth = establish(&a, &mut calls, request(b.udp()[0])).await;

    // A receiver nobody reads is a full queue.
    let (c, _calls) = agent(|config| config.incoming_queue = 1).await;
    let mut waiting = a.call(request(c.udp()[0])).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    let mut refused = a.call(request(c.udp()[0])).await.unwrap();
    assert!(matches!(next(&mut refused).await, OutgoingEvent::Failed { status: 503, .. }));
    waiting.cancel();
    assert!(matches!(next(&mut waiting).await, OutgoingEvent::Failed { status: 487, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_the_calls() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let (mut ours, mut theirs, _call) = establish(&a, &mut calls, request(b.udp()[0])).await;
    let mut ringing = a.call(request(b.udp()[0])).await.unwrap();
    let undecided = take(&mut calls).await;
    timeout(LIMIT, b.shutdown()).await.expect("a bounded farewell");
    assert!(matches!(event(&mut ours).await, DialogEvent::Bye { .. }));
    assert!(matches!(event(&mut theirs).await, DialogEvent::Lost));
    assert!(matches!(next(&mut ringing).await, OutgoingEvent::Failed { status: 503, .. }));
    drop(undecided);
    let free = async {
        while std::net::UdpSocket::bind(b.udp()[0]).is_err()
            || std::net::TcpListener::bind(b.tcp()[0]).is_err()
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, free).await.expect("the sockets are closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the one figure of this file, seen with --nocapture")]
async fn five_hundred_calls_leave_nothing_behind() {
    // Everything a call leaves is kept for 64 T1.
    let quick = |config: &mut AgentConfig| config.t1 = Duration::from_millis(20);
    let (a, _) = agent(quick).await;
    let (b, mut calls) = agent(quick).await;
    let answering = tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            let mut dialog = accept(call);
            tokio::spawn(async move { dialog.next().await });
        }
    });
    let begun = Instant::now();
    for _ in 0..50 {
        let mut batch = Vec::new();
        for _ in 0..10 {
            batch.push(a.call(request(b.udp()[0])).await.unwrap());
        }
        for mut call in batch {
            answered(&mut call).await.hang_up(None).await.unwrap();
        }
    }
    let rate = 500.0 / begun.elapsed().as_secs_f64();
    let end = Instant::now() + LIMIT;
    loop {
        let left = (a.stats(), b.stats());
        let nothing = AgentStats::default();
        if left == (nothing, nothing) {
            break;
        }
        assert!(Instant::now() < end, "left after {rate:.0} calls a second: {left:?}");
        sleep(Duration::from_millis(100)).await;
    }
    answering.abort();
    eprintln!("{rate:.0} calls a second, both ends in one process");
}
