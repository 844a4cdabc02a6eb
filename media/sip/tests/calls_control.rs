//! What two of our agents do in and around a call: early media, delayed offer, changes of media, transfers, timers.
#![allow(clippy::disallowed_methods, reason = "tests own tasks")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_media_frame::Pii;
use antiphon_media_sip::{
    Agent, AgentConfig, CallRequest, Dialog, DialogEvent, IncomingCall, OutgoingCall, OutgoingEvent,
    ReferEvent, ReferResult, Replaces, SipError, keys,
};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(10);

async fn agent(change: impl FnOnce(&mut AgentConfig)) -> (Agent, Receiver<IncomingCall>) {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = AgentConfig { udp: vec![free], ..AgentConfig::default() };
    change(&mut config);
    Agent::bind(config).await.expect("loopback can be bound")
}

fn sdp(name: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns={name}\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    )
}

fn request(to: SocketAddr) -> CallRequest {
    CallRequest::new(&format!("sip:4711@{to}"), "sip:0815@127.0.0.1", sdp("offer"))
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

async fn answered(call: &mut OutgoingCall) -> (String, Dialog) {
    loop {
        match next(call).await {
            OutgoingEvent::Ringing | OutgoingEvent::Progress { .. } => {}
            OutgoingEvent::Answered { sdp, dialog } => return (sdp, dialog),
            other => panic!("{other:?}"),
        }
    }
}

async fn establish(a: &Agent, calls: &mut Receiver<IncomingCall>, to: SocketAddr) -> (Dialog, Dialog) {
    let mut call = a.call(request(to)).await.expect("placed");
    let theirs = take(calls).await.answer(&sdp("answer")).expect("still wanted");
    let (_, ours) = answered(&mut call).await;
    // The far side has the ACK once it can be asked something.
    ours.control().info("text/plain", b"ready").await.expect("answered");
    let mut theirs = theirs;
    assert!(matches!(event(&mut theirs).await, DialogEvent::Info { .. }));
    (ours, theirs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_media_comes_before_another_answer() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let mut out = a.call(request(b.udp()[0])).await.unwrap();
    let mut call = take(&mut calls).await;
    call.progress(None).unwrap();
    call.progress(Some(&sdp("early"))).unwrap();
    let OutgoingEvent::Progress { sdp: early, fork } = next(&mut out).await else { panic!("no early media") };
    assert_eq!(early, sdp("early"));
    assert!(!fork.is_empty());
    let dialog = call.answer(&sdp("final")).unwrap();
    let (answer, ours) = answered(&mut out).await;
    assert_eq!(answer, sdp("final"));
    assert_eq!(ours.id().local_tag, dialog.id().remote_tag);
    assert_eq!(fork, ours.id().remote_tag);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_offer_is_answered_in_the_ack() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let placed = CallRequest { sdp: None, ..request(b.udp()[0]) };
    let mut out = a.call(placed).await.unwrap();
    let call = take(&mut calls).await;
    assert_eq!(call.offer(), None);
    let mut theirs = call.answer(&sdp("their offer")).unwrap();
    let (offer, mut ours) = answered(&mut out).await;
    assert_eq!(offer, sdp("their offer"));
    // The 200 is repeated meanwhile, and answered by the same ACK once there is one.
    sleep(Duration::from_millis(700)).await;
    ours.acknowledge(&sdp("our answer")).await.unwrap();
    assert!(ours.acknowledge("again").await.is_err(), "only one answer");
    let DialogEvent::Answer { sdp: answer } = event(&mut theirs).await else { panic!("no answer") };
    assert_eq!(answer, sdp("our answer"));
    ours.hang_up(None).await.unwrap();
    assert!(matches!(event(&mut theirs).await, DialogEvent::Bye { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_offer_never_answered_ends_cleanly() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let mut out = a.call(CallRequest { sdp: None, ..request(b.udp()[0]) }).await.unwrap();
    let mut theirs = take(&mut calls).await.answer(&sdp("offer")).unwrap();
    drop(answered(&mut out).await);
    // The BYE may overtake the ACK.
    match event(&mut theirs).await {
        DialogEvent::Answer { sdp } => {
            assert_eq!(sdp, "");
            assert!(matches!(event(&mut theirs).await, DialogEvent::Bye { .. }));
        }
        other => assert!(matches!(other, DialogEvent::Bye { .. }), "{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_is_changed_from_both_sides_while_another_task_waits() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let (mut ours, mut theirs) = establish(&a, &mut calls, b.udp()[0]).await;
    for round in 0..2 {
        let (asking, answering) =
            if round == 0 { (&mut ours, &mut theirs) } else { (&mut theirs, &mut ours) };
        let control = asking.control();
        let asked = tokio::spawn(async move { control.reinvite(&sdp("hold")).await });
        let DialogEvent::ReInvite { sdp: Some(offer), responder } = event(answering).await else {
            panic!("no re-INVITE");
        };
        assert_eq!(offer, sdp("hold"));
        responder.answer(&sdp("held")).await.unwrap();
        assert_eq!(timeout(LIMIT, asked).await.unwrap().unwrap().unwrap(), sdp("held"));
    }
    let control = ours.control();
    let asked = tokio::spawn(async move { control.reinvite(&sdp("no")).await });
    let DialogEvent::ReInvite { responder, .. } = event(&mut theirs).await else { panic!("no re-INVITE") };
    responder.reject(488).await.unwrap();
    let refused = asked.await.unwrap().unwrap_err();
    assert!(refused.to_string().starts_with("refused with 488"), "{refused}");
    assert!(!ours.control().is_over(), "the call goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_once_both_come_through_after_the_pause() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let (ours, theirs) = establish(&a, &mut calls, b.udp()[0]).await;
    let (left, right) = (ours.control(), theirs.control());
    let mut serving = Vec::new();
    for mut dialog in [ours, theirs] {
        serving.push(tokio::spawn(async move {
            loop {
                match dialog.next().await {
                    DialogEvent::ReInvite { responder, .. } => {
                        responder.answer(&sdp("agreed")).await.unwrap();
                    }
                    _ => return,
                }
            }
        }));
    }
    let offer = sdp("changed");
    let both = async { tokio::join!(left.reinvite(&offer), right.reinvite(&offer)) };
    let (one, other) = timeout(Duration::from_secs(20), both).await.expect("within the pauses");
    assert_eq!(one.unwrap(), sdp("agreed"));
    assert_eq!(other.unwrap(), sdp("agreed"));
    serving.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_by_info() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let (ours, mut theirs) = establish(&a, &mut calls, b.udp()[0]).await;
    ours.control().info("application/dtmf-relay", b"Signal=#\r\nDuration=80\r\n").await.unwrap();
    let DialogEvent::Info { content_type, body } = event(&mut theirs).await else { panic!("no INFO") };
    assert_eq!(keys::from_info(&content_type, &body), Some(('#', Duration::from_millis(80))));
    assert!(ours.control().info("a\r\nX: y", b"").await.is_err(), "no header may be smuggled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blind_transfer_tells_each_step_and_its_result() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let (ours, mut theirs) = establish(&a, &mut calls, b.udp()[0]).await;
    let target = Pii::new("sip:bob@127.0.0.1:5999".to_owned());
    let by = Pii::new("sip:alice@127.0.0.1".to_owned());
    for (status, expected) in [
        (200, ReferResult::Connected),
        (486, ReferResult::Busy { status: 486 }),
        (603, ReferResult::Declined { status: 603 }),
        (480, ReferResult::NoAnswer { status: 480 }),
        (404, ReferResult::Failed { status: 404 }),
    ] {
        let mut progress = ours.control().refer(&target, None, Some(&by)).unwrap();
        let again = ours.control().refer(&target, None, None);
        assert!(matches!(again, Err(SipError::Pending)), "one at a time");
        let DialogEvent::Refer { target: asked, replaces, referred_by, responder } = event(&mut theirs).await
        else {
            panic!("no REFER");
        };
        assert_eq!(asked.expose(), target.expose());
        assert_eq!(replaces, None);
        assert_eq!(referred_by.unwrap().expose(), "<sip:alice@127.0.0.1>");
        let notify = responder.accept().unwrap();
        assert_eq!(timeout(LIMIT, progress.next()).await.unwrap(), ReferEvent::Trying);
        notify.progress(180);
        assert_eq!(timeout(LIMIT, progress.next()).await.unwrap(), ReferEvent::Ringing);
        notify.done(status);
        assert_eq!(timeout(LIMIT, progress.result()).await.unwrap(), expected);
    }
    let progress = ours.control().refer(&target, None, None).unwrap();
    let DialogEvent::Refer { responder, .. } = event(&mut theirs).await else { panic!("no REFER") };
    drop(responder);
    assert_eq!(timeout(LIMIT, progress.result()).await.unwrap(), ReferResult::Refused { status: 603 });
    let progress = ours.control().refer(&target, None, None).unwrap();
    let DialogEvent::Refer { responder, .. } = event(&mut theirs).await else { panic!("no REFER") };
    drop(responder.accept().unwrap());
    let dropped = timeout(LIMIT, progress.result()).await.unwrap();
    assert_eq!(dropped, ReferResult::Failed { status: 500 }, "a forgotten transfer is a failed one");
    assert!(ours.control().refer(&Pii::new("sip:a@b?X=y".into()), None, None).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attended_transfer_names_the_call_it_replaces() {
    // b is asked by a to take a's place in the call with c.
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls_b) = agent(|_| {}).await;
    let (c, mut calls_c) = agent(|_| {}).await;
    let (with_b, mut at_b) = establish(&a, &mut calls_b, b.udp()[0]).await;
    let (with_c, mut at_c) = establish(&a, &mut calls_c, c.udp()[0]).await;
    let target = Pii::new(format!("sip:carol@{}", c.udp()[0]));
    let progress = with_b.control().refer(&target, Some(&with_c.replaces()), None).unwrap();
    let DialogEvent::Refer { target, replaces: Some(replaces), responder, .. } = event(&mut at_b).await
    else {
        panic!("no REFER with Replaces");
    };
    let notify = responder.accept().unwrap();
    let placed = CallRequest {
        replaces: Some(replaces),
        ..CallRequest::new(target.expose(), "sip:b@127.0.0.1", sdp("offer"))
    };
    let mut out = b.call(placed).await.unwrap();
    let call = take(&mut calls_c).await;
    let replaced = call.replaced().expect("c knows which call is meant");
    assert_eq!(replaced.id(), at_c.id());
    let _new = call.answer(&sdp("answer")).unwrap();
    replaced.hang_up(Some((16, "replaced"))).await.unwrap();
    assert!(matches!(event(&mut at_c).await, DialogEvent::Lost));
    let (_, _dialog) = answered(&mut out).await;
    notify.done(200);
    assert_eq!(timeout(LIMIT, progress.result()).await.unwrap(), ReferResult::Connected);
    let mut with_c = with_c;
    assert!(matches!(event(&mut with_c).await, DialogEvent::Bye { reason: Some(_) }));

    let unknown = Replaces::parse("nobody;to-tag=1;from-tag=2");
    let mut out = b.call(CallRequest { replaces: unknown, ..request(c.udp()[0]) }).await.unwrap();
    assert!(matches!(next(&mut out).await, OutgoingEvent::Failed { status: 481, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_sent_elsewhere() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let mut out = a.call(request(b.udp()[0])).await.unwrap();
    let contacts = ["sip:one@127.0.0.1:1", "sip:two@127.0.0.1:2", "sip:three@127.0.0.1:3"].map(str::to_owned);
    take(&mut calls).await.redirect(&contacts).unwrap();
    let OutgoingEvent::Redirected { status: 302, contacts: told } = next(&mut out).await else {
        panic!("not redirected")
    };
    assert_eq!(told.iter().map(|contact| contact.expose().as_str()).collect::<Vec<_>>(), contacts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_kept_alive_from_both_sides() {
    let quick = |config: &mut AgentConfig| {
        config.session_expires = Some(Duration::from_secs(2));
        config.min_se = Duration::from_secs(1);
    };
    let (a, _) = agent(quick).await;
    let (b, mut calls) = agent(quick).await;
    let (mut ours, mut theirs) = establish(&a, &mut calls, b.udp()[0]).await;
    // Unrefreshed, it would be over after 1.4 s.
    let quiet = timeout(Duration::from_secs(4), async { tokio::join!(ours.next(), theirs.next()) }).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert!(!ours.control().is_over() && !theirs.control().is_over());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_protocol_can_be_smuggled_into_a_call() {
    let (a, _) = agent(|_| {}).await;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let bad: [fn(&mut CallRequest); 7] = [
        |r| r.headers = vec![("Via".into(), "x".into())],
        |r| r.headers = vec![("X".into(), "a\r\nVia: b".into())],
        |r| r.routes = vec!["sip:a>\r\nX: y".into()],
        |r| r.asserted_identity = Some(Pii::new("sip:a@b>, <sip:c@d".into())),
        |r| r.referred_by = Some(Pii::new("sip:a@b\nX: y".into())),
        |r| r.display_name = Some(Pii::new("a\" <sip:x@y>".into())),
        |r| {
            r.replaces = Some(Replaces {
                call_id: "a;b".into(),
                to_tag: "1".into(),
                from_tag: "2".into(),
                early_only: false,
            });
        },
    ];
    for (n, change) in bad.iter().enumerate() {
        let mut placed = request(to);
        change(&mut placed);
        assert!(matches!(a.call(placed).await, Err(SipError::Invalid { .. })), "case {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_looked_up() {
    let (a, _) = agent(|_| {}).await;
    let (b, mut calls) = agent(|_| {}).await;
    let to = format!("sip:4711@localhost:{}", b.udp()[0].port());
    let mut out = a.call(CallRequest::new(&to, "sip:me@127.0.0.1", sdp("offer"))).await.unwrap();
    drop(take(&mut calls).await);
    assert!(matches!(next(&mut out).await, OutgoingEvent::Failed { status: 480, .. }));
    let nowhere = CallRequest::new("sip:a@nowhere.invalid", "sip:me@127.0.0.1", sdp("offer"));
    assert!(matches!(a.call(nowhere).await, Err(SipError::Unresolved)));
}
