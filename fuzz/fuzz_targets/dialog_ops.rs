//! Any order of requests, answers, losses and repetitions in a call, from both sides at once: an agent of ours and a
//! telephone that does what the input says. The agent answers with messages that are whole, not with a flood, and in the
//! end it holds no call and no dialog.
//!
//! The two speak over loopback, for the dialog's state is the agent's own. One agent serves all inputs, as it does in life;
//! every [`ROUND`] inputs it must have come to rest.
#![no_main]

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use antiphon_media_sip::{
    Agent, AgentConfig, CallRequest, Dialog, DialogEvent, IncomingCall, NotifySender, OutgoingCall,
    OutgoingEvent, ReferResponder, Responder,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;

/// Operations of one input.
const OPERATIONS: usize = 40;
/// Inputs between two looks at what the agent still holds.
const ROUND: u32 = 200;
/// T1, so that all that is repeated has been after a third of a second.
const T1: Duration = Duration::from_millis(4);
/// How long the agent may take to come to rest: several times 64 T1.
const REST: Duration = Duration::from_secs(10);
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
/// What answers are made of.
const STATUSES: [&str; 14] = [
    "100 Trying",
    "180 Ringing",
    "183 Session Progress",
    "200 OK",
    "202 Accepted",
    "302 Moved Temporarily",
    "401 Unauthorized",
    "407 Proxy Authentication Required",
    "422 Session Interval Too Small",
    "481 Gone",
    "486 Busy Here",
    "487 Request Terminated",
    "491 Request Pending",
    "503 Service Unavailable",
];

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Update,
    Prack,
    Info,
    Refer,
    Notify,
    Options,
    Message,
    Subscribe,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    /// A request of the telephone: `ahead` is added to the last CSeq, `tag` puts it inside the dialog.
    Request {
        method: Method,
        ahead: i8,
        tag: bool,
        sdp: bool,
        extra: u8,
    },
    /// An answer of the telephone to one of the agent's requests.
    Response {
        which: u8,
        status: u8,
        fork: u8,
        sdp: bool,
        reliable: bool,
    },
    /// The last message of the telephone comes again.
    Repeat,
    /// So many messages of the agent are not read.
    Lose {
        count: u8,
    },
    Wait {
        ms: u8,
    },
    /// What the agent's holder does.
    Ring,
    Progress {
        sdp: bool,
    },
    Answer,
    Reject {
        status: u16,
    },
    Redirect,
    Reinvite,
    Info,
    Refer,
    HangUp,
    Forget,
    Accept {
        sdp: bool,
    },
    Refuse {
        status: u16,
    },
    Referred {
        accept: bool,
        status: u16,
    },
    /// It calls the telephone.
    Call {
        sdp: bool,
    },
}

struct Desk {
    runtime: Runtime,
    agent: Agent,
    calls: RefCell<Receiver<IncomingCall>>,
    rounds: u32,
}

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
}

impl Desk {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = AgentConfig {
            udp: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            t1: T1,
            ring_limit: Duration::from_millis(500),
            min_se: Duration::from_secs(1),
            max_transactions: 200_000,
            max_calls: 10_000,
            ..AgentConfig::default()
        };
        let (agent, calls) = runtime.block_on(Agent::bind(config)).expect("a port");
        Self { runtime, agent, calls: RefCell::new(calls), rounds: 0 }
    }

    /// Nothing is left of all the calls so far.
    fn rest(&self) {
        self.runtime.block_on(async {
            let begun = Instant::now();
            loop {
                while self.calls.borrow_mut().try_recv().is_ok() {}
                let stats = self.agent.stats();
                if stats.calls == 0 && stats.dialogs == 0 {
                    return;
                }
                assert!(begun.elapsed() < REST, "left over: {stats:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
}

/// The telephone, and what the agent's holder has in hand.
struct Scene<'a> {
    desk: &'a Desk,
    socket: UdpSocket,
    here: SocketAddr,
    agent: SocketAddr,
    call_id: String,
    seq: u32,
    branch: u32,
    /// The agent's tag.
    tag: String,
    rseq: u32,
    last: Vec<u8>,
    /// Requests of the agent, whole.
    asked: Vec<String>,
    lose: u32,
    heard: usize,
    incoming: Option<IncomingCall>,
    outgoing: Option<OutgoingCall>,
    dialog: Option<Dialog>,
    responders: Vec<Responder>,
    referrals: Vec<ReferResponder>,
    notifying: Vec<NotifySender>,
}

impl Scene<'_> {
    async fn send(&mut self, message: Vec<u8>) {
        self.socket.send_to(&message, self.agent).await.ok();
        self.last = message;
    }

    async fn request(&mut self, method: Method, ahead: i8, tag: bool, sdp: bool, extra: u8) {
        let name = match method {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Info => "INFO",
            Method::Refer => "REFER",
            Method::Notify => "NOTIFY",
            Method::Options => "OPTIONS",
            Method::Message => "MESSAGE",
            Method::Subscribe => "SUBSCRIBE",
        };
        // A CANCEL and the ACK of a refusal go the way of their INVITE.
        if !matches!(method, Method::Cancel | Method::Ack) {
            self.seq = self.seq.saturating_add_signed(i32::from(ahead.clamp(-2, 3)));
            self.branch += 1;
        }
        let here = self.here;
        let mut text = format!(
            "{name} sip:bank@{} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{}x{};rport\r\n\
             From: <sip:phone@{here}>;tag=far\r\nTo: <sip:bank@{}>{}\r\nCall-ID: {}\r\nCSeq: {} {name}\r\n\
             Contact: <sip:phone@{here}>\r\nMax-Forwards: 70\r\n",
            self.agent,
            here.port(),
            self.branch,
            self.agent,
            if tag && !self.tag.is_empty() { format!(";tag={}", self.tag) } else { String::new() },
            self.call_id,
            self.seq,
        );
        match extra % 8 {
            1 => text += "Supported: 100rel, timer\r\n",
            2 => text += "Require: 100rel\r\n",
            3 => text += "Session-Expires: 2;refresher=uac\r\nSupported: timer\r\n",
            4 => text += "Session-Expires: 1\r\nMin-SE: 1\r\n",
            5 => text += &format!("Replaces: {};to-tag={};from-tag=far\r\n", self.call_id, self.tag),
            6 => text += "Allow: INVITE, ACK, BYE, UPDATE\r\n",
            _ => {}
        }
        match method {
            Method::Prack => {
                text += &format!("RAck: {} {} INVITE\r\n", self.rseq, self.seq.saturating_sub(1))
            }
            Method::Refer => text += "Refer-To: <sip:1002@127.0.0.1>\r\n",
            Method::Notify => {
                text += "Event: refer\r\nSubscription-State: active\r\nContent-Type: message/sipfrag\r\nContent-Length: 14\r\n\r\nSIP/2.0 200 OK";
                return self.send(text.into_bytes()).await;
            }
            Method::Subscribe => text += "Event: dialog\r\n",
            _ => {}
        }
        self.finish(text, sdp).await;
    }

    async fn finish(&mut self, mut text: String, sdp: bool) {
        if sdp {
            text += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}", SDP.len());
        } else {
            text += "Content-Length: 0\r\n\r\n";
        }
        self.send(text.into_bytes()).await;
    }

    async fn respond(&mut self, which: u8, status: u8, fork: u8, sdp: bool, reliable: bool) {
        let Some(request) = self.asked.get(usize::from(which) % self.asked.len().max(1)) else { return };
        let line = |name: &str| request.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let status = STATUSES[usize::from(status) % STATUSES.len()];
        let to = line("To: ");
        let tag = if to.contains("tag=") { String::new() } else { format!(";tag=far{}", fork % 3) };
        let mut text = format!(
            "SIP/2.0 {status}\r\n{}\r\n{}\r\n{to}{tag}\r\n{}\r\n{}\r\nContact: <sip:phone@{}>\r\n",
            line("Via: "),
            line("From: "),
            line("Call-ID: "),
            line("CSeq: "),
            self.here
        );
        if status.starts_with("401") {
            text += "WWW-Authenticate: Digest realm=\"far\", nonce=\"n\", algorithm=MD5, qop=\"auth\"\r\n";
        }
        if status.starts_with("422") {
            text += "Min-SE: 120\r\n";
        }
        if reliable {
            text += "Require: 100rel\r\nRSeq: 7\r\n";
        }
        self.finish(text, sdp).await;
    }

    /// Lets the agent work, and reads what it says.
    async fn settle(&mut self) {
        for _ in 0..12 {
            tokio::task::yield_now().await;
        }
        let mut buffer = [0; 16_384];
        while let Ok((length, from)) = self.socket.try_recv_from(&mut buffer) {
            assert_eq!(from, self.agent, "only the agent knows the telephone");
            self.heard += 1;
            if self.lose > 0 {
                self.lose -= 1;
                continue;
            }
            let text = std::str::from_utf8(&buffer[..length]).expect("a message is text");
            assert!(text.contains("\r\n\r\n") && text.contains("\r\nCSeq: "), "a whole message: {text}");
            let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
            if let Some(to) = text.starts_with("SIP/2.0 ").then(|| header("To: ")).flatten() {
                if let Some((_, tag)) = to.split_once("tag=") {
                    tag.clone_into(&mut self.tag);
                }
                if let Some(number) = header("RSeq: ").and_then(|number| number.trim().parse().ok()) {
                    self.rseq = number;
                }
            } else if self.asked.len() < 32 {
                self.asked.push(text.to_owned());
            }
        }
        self.take();
    }

    /// What has come for the agent's holder.
    fn take(&mut self) {
        while let Ok(call) = self.desk.calls.borrow_mut().try_recv() {
            // Those of inputs before are let go.
            if call.call_id() == self.call_id {
                self.incoming = Some(call);
            }
        }
        while let Some(event) = self.outgoing.as_mut().and_then(|outgoing| at_once(outgoing.next())) {
            match event {
                OutgoingEvent::Ringing | OutgoingEvent::Progress { .. } => {}
                OutgoingEvent::Answered { dialog, .. } => {
                    self.outgoing = None;
                    self.dialog = Some(dialog);
                }
                OutgoingEvent::Redirected { .. } | OutgoingEvent::Failed { .. } | OutgoingEvent::TimedOut => {
                    self.outgoing = None;
                }
            }
        }
        while let Some(event) = self.dialog.as_mut().and_then(|dialog| at_once(dialog.next())) {
            match event {
                DialogEvent::ReInvite { responder, .. } => self.responders.push(responder),
                DialogEvent::Refer { responder, .. } => self.referrals.push(responder),
                DialogEvent::Bye { .. } | DialogEvent::Lost | DialogEvent::Expired => self.dialog = None,
                DialogEvent::Answer { .. } | DialogEvent::Info { .. } => {}
            }
        }
    }

    async fn operate(&mut self, op: Op) {
        match op {
            Op::Request { method, ahead, tag, sdp, extra } => {
                self.request(method, ahead, tag, sdp, extra).await
            }
            Op::Response { which, status, fork, sdp, reliable } => {
                self.respond(which, status, fork, sdp, reliable).await;
            }
            Op::Repeat => {
                let last = std::mem::take(&mut self.last);
                self.send(last).await;
            }
            Op::Lose { count } => self.lose += u32::from(count % 4),
            Op::Wait { ms } => tokio::time::sleep(Duration::from_millis(u64::from(ms % 8))).await,
            Op::Ring => {
                if let Some(call) = &mut self.incoming {
                    call.ring().ok();
                }
            }
            Op::Progress { sdp } => {
                if let Some(call) = &mut self.incoming {
                    call.progress(sdp.then_some(SDP)).ok();
                }
            }
            Op::Answer => {
                if let Some(call) = self.incoming.take() {
                    self.dialog = call.answer(SDP).ok();
                }
            }
            Op::Reject { status } => {
                if let Some(call) = self.incoming.take() {
                    call.reject(status, "", "").ok();
                }
            }
            Op::Redirect => {
                if let Some(call) = self.incoming.take() {
                    call.redirect(&["sip:1002@127.0.0.1".to_owned()]).ok();
                }
            }
            Op::Reinvite => {
                if let Some(dialog) = &self.dialog {
                    let control = dialog.control();
                    tokio::spawn(async move { control.reinvite(SDP).await });
                }
            }
            Op::Info => {
                if let Some(dialog) = &self.dialog {
                    let control = dialog.control();
                    tokio::spawn(async move { control.info("application/dtmf-relay", b"Signal=1").await });
                }
            }
            Op::Refer => {
                if let Some(dialog) = &self.dialog {
                    let target = antiphon_media_frame::Pii::new("sip:1003@127.0.0.1".to_owned());
                    if let Ok(progress) = dialog.control().refer(&target, None, None) {
                        tokio::spawn(async move { tokio::time::timeout(REST, progress.result()).await });
                    }
                }
            }
            Op::HangUp => {
                if let Some(dialog) = self.dialog.take() {
                    tokio::spawn(async move { dialog.hang_up(Some((16, "over"))).await });
                }
            }
            Op::Forget => {
                (self.incoming, self.outgoing, self.dialog) = (None, None, None);
            }
            Op::Accept { sdp } => {
                if let Some(responder) = self.responders.pop() {
                    responder.answer(if sdp { SDP } else { "" }).await.ok();
                }
            }
            Op::Refuse { status } => {
                if let Some(responder) = self.responders.pop() {
                    responder.reject(status).await.ok();
                }
            }
            Op::Referred { accept, status } => match self.referrals.pop() {
                Some(responder) if accept => self.notifying.extend(responder.accept().ok()),
                Some(responder) => drop(responder.reject(status)),
                None => {
                    if let Some(notify) = self.notifying.pop() {
                        notify.progress(180);
                        notify.done(status);
                    }
                }
            },
            Op::Call { sdp } => {
                let to = format!("sip:phone@{}", self.here);
                let mut request = CallRequest::new(&to, "sip:bank@127.0.0.1", SDP.to_owned());
                request.sdp = sdp.then(|| SDP.to_owned());
                request.ring_timeout = Duration::from_millis(200);
                if let Ok(call) = self.desk.agent.call(request).await {
                    self.outgoing = Some(call);
                }
            }
        }
    }
}

/// What a future has to say without waiting.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The agent runs the stack's parsers behind a wall, and panics there are its business: libFuzzer's own hook would end
/// the process at the first one. Those of our own tasks end it all the same.
fn quiet() {
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_some_and(|at| at.file().contains("rsipstack")) {
            return;
        }
        eprintln!("{panic}");
        std::process::abort();
    }));
}

fuzz_target!(init: quiet(), |ops: Vec<Op>| {
    DESK.with_borrow_mut(|slot| {
        let desk = slot.get_or_insert_with(Desk::open);
        desk.runtime.block_on(async {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
            let here = socket.local_addr().expect("bound");
            let mut scene = Scene {
                desk,
                socket,
                here,
                agent: desk.agent.udp()[0],
                call_id: format!("{}-{}", here.port(), desk.rounds),
                seq: 1,
                branch: 0,
                tag: String::new(),
                rseq: 1,
                last: Vec::new(),
                asked: Vec::new(),
                lose: 0,
                heard: 0,
                incoming: None,
                outgoing: None,
                dialog: None,
                responders: Vec::new(),
                referrals: Vec::new(),
                notifying: Vec::new(),
            };
            let ops = &ops[..ops.len().min(OPERATIONS)];
            for op in ops {
                scene.operate(*op).await;
                scene.settle().await;
            }
            // Each of a few transactions an operation is repeated some eleven times at most.
            let most = 64 + 48 * ops.len();
            assert!(scene.heard <= most, "{} messages for {} operations", scene.heard, ops.len());
        });
        desk.rounds += 1;
        if desk.rounds % ROUND == 0 {
            desk.rest();
        }
    });
});
