//! Requests of this side and their responses: challenges answered, streams reused, every 2xx to an INVITE
//! acknowledged as often as it comes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Method, Request, Response, SipMessage, StatusCode, StatusCodeKind, Transport};
use rsipstack::transaction::endpoint::MessageInspector;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::random_text;
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::{SipAddr, SipConnection};
use tokio::sync::mpsc;

use crate::agent::{Core, SipError};
use crate::calling::fork_leg;
use crate::credentials::{Challenge, Credentials};
use crate::fields::{cseq, has_token, to_tag};
use crate::flow::{SipTransport, flow};
use crate::leg::{End, Leg, lock};

/// Challenges answered for one request: a first one of a server and a proxy, and one stale one each.
const MAX_CHALLENGES: u32 = 4;

/// Answers the challenges of one dialog, and remembers them for its later requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorizer {
    credentials: Option<Credentials>,
    server: Option<Use>,
    proxy: Option<Use>,
}

#[derive(Clone, Debug)]
struct Use {
    challenge: Challenge,
    count: u32,
}

/// How often one request was challenged, and by whom.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    server: u32,
    proxy: u32,
}

impl Authorizer {
    pub(crate) fn new(credentials: Option<Credentials>) -> Self {
        Self { credentials, server: None, proxy: None }
    }

    /// Headers for the next request, with the challenges known so far.
    pub(crate) fn headers(&mut self, method: Method, uri: &str) -> Vec<Header> {
        let Some(credentials) = &self.credentials else { return Vec::new() };
        let method = method.to_string();
        let answer = |known: &mut Option<Use>| {
            let known = known.as_mut()?;
            known.count = known.count.saturating_add(1);
            Some(known.challenge.answer(credentials, &method, uri, &random_text(16), known.count))
        };
        let server = answer(&mut self.server).map(|value| Header::Authorization(value.into()));
        let proxy = answer(&mut self.proxy).map(|value| Header::ProxyAuthorization(value.into()));
        server.into_iter().chain(proxy).collect()
    }

    /// Whether the request is worth sending again: the response is a challenge, there are credentials, and they were
    /// not refused before (a nonce that is not new, or a second challenge that is not stale).
    pub(crate) fn challenged(&mut self, response: &Response, rounds: &mut Rounds) -> bool {
        if self.credentials.is_none() {
            return false;
        }
        let values = response.headers.iter().filter_map(|header| match (&response.status_code, header) {
            (StatusCode::Unauthorized, Header::WwwAuthenticate(value)) => Some(value.value()),
            (StatusCode::ProxyAuthenticationRequired, Header::ProxyAuthenticate(value)) => {
                Some(value.value())
            }
            _ => None,
        });
        let Some(challenge) = Challenge::strongest(values) else { return false };
        let (known, round) = if response.status_code == StatusCode::Unauthorized {
            (&mut self.server, &mut rounds.server)
        } else {
            (&mut self.proxy, &mut rounds.proxy)
        };
        let same = known.as_ref().is_some_and(|known| known.challenge.nonce == challenge.nonce);
        let again = *round > 0 && !challenge.stale;
        *round += 1;
        if same || again || rounds.server + rounds.proxy > MAX_CHALLENGES {
            // Not offered again with the next request either.
            *known = None;
            return false;
        }
        *known = Some(Use { challenge, count: 0 });
        true
    }
}

/// Whether a response asks who we are.
pub(crate) fn is_challenge(response: &Response) -> bool {
    matches!(response.status_code, StatusCode::Unauthorized | StatusCode::ProxyAuthenticationRequired)
}

/// Makes the transaction of a request, on its stream if it has one.
pub(crate) async fn prepare(
    core: &Arc<Core>,
    request: Request,
    connection: Option<SipConnection>,
    destination: Option<SipAddr>,
) -> Result<Transaction, SipError> {
    let key = TransactionKey::from_request(&request, TransactionRole::Client)?;
    let mut destination = destination;
    if connection.is_none() {
        open(core, &request, &mut destination).await?;
    }
    let mut tx = Transaction::new_client(key, request, Arc::clone(&core.endpoint), connection);
    tx.destination = destination;
    Ok(tx)
}

/// The stack opens streams past the gate: the ones it will want are opened here first.
async fn open(
    core: &Arc<Core>,
    request: &Request,
    destination: &mut Option<SipAddr>,
) -> Result<(), SipError> {
    let hop = match destination {
        Some(address) => address.clone(),
        None => SipAddr::try_from(&request.destination())?,
    };
    let transport = match hop.r#type {
        None | Some(Transport::Udp) => return Ok(()),
        Some(transport) => SipTransport::of_stack(transport),
    };
    let host = hop.addr.host.to_string();
    let port = hop.addr.port.as_ref().map_or(transport.default_port(), rsipstack::sip::Port::value);
    let address = match hop.get_socketaddr() {
        Ok(address) => SocketAddr::new(address.ip(), port),
        Err(_) => tokio::net::lookup_host((host.as_str(), port))
            .await
            .ok()
            .and_then(|mut found| found.next())
            .ok_or(SipError::Unresolved)?,
    };
    flow(core, transport, address, &host).await?;
    *destination = Some(crate::agent::stack_address(transport.stack(), address));
    Ok(())
}

/// Sends a request that is no INVITE and waits for its final response; 408 stands for none.
pub(crate) async fn transact(
    core: &Arc<Core>,
    request: Request,
    connection: Option<SipConnection>,
    destination: Option<SipAddr>,
) -> Result<Response, SipError> {
    let mut tx = prepare(core, request, connection, destination).await?;
    tx.send().await?;
    while let Some(message) = tx.receive().await {
        if let SipMessage::Response(response) = message
            && response.status_code.kind() != StatusCodeKind::Provisional
        {
            return Ok(response);
        }
    }
    Err(SipError::Over)
}

impl Leg {
    /// Sends a request inside the dialog, which is no INVITE, answering challenges.
    pub(crate) async fn send(
        &self,
        method: Method,
        extra: Vec<Header>,
        body: Option<(&str, &[u8])>,
    ) -> Result<Response, SipError> {
        let mut rounds = Rounds::default();
        loop {
            let body = body.map(|(kind, body)| (kind, body.to_vec()));
            let mut request = self.request(method, self.next_seq(), extra.clone(), body)?;
            let uri = request.uri.to_string();
            let authorization = lock(&self.auth).headers(method, &uri);
            request.headers.extend(authorization);
            let response = transact(&self.core, request, self.flow(), self.destination()).await?;
            if is_challenge(&response) && lock(&self.auth).challenged(&response, &mut rounds) {
                continue;
            }
            return Ok(response);
        }
    }

    /// Sends a re-INVITE and acknowledges its end, answering challenges.
    pub(crate) async fn send_invite(
        self: &Arc<Self>,
        extra: Vec<Header>,
        sdp: &str,
    ) -> Result<Response, SipError> {
        let mut rounds = Rounds::default();
        loop {
            let body = ("application/sdp", sdp.as_bytes().to_vec());
            let seq = self.next_seq();
            let mut request = self.request(Method::Invite, seq, extra.clone(), Some(body))?;
            let uri = request.uri.to_string();
            let authorization = lock(&self.auth).headers(Method::Invite, &uri);
            request.headers.extend(authorization.clone());
            let mut tx = prepare(&self.core, request.clone(), self.flow(), self.destination()).await?;
            tx.send().await?;
            let mut last_rseq = None;
            let response = loop {
                match tx.receive().await {
                    Some(SipMessage::Response(response))
                        if response.status_code.kind() == StatusCodeKind::Provisional =>
                    {
                        self.acknowledge_provisional(&response, seq, &mut last_rseq);
                    }
                    Some(SipMessage::Response(response)) => break response,
                    Some(SipMessage::Request(_)) => {}
                    None => return Err(SipError::Over),
                }
            };
            if response.status_code.kind() == StatusCodeKind::Successful {
                self.learn(&response);
                self.acknowledge(&request, seq, authorization, None).await?;
                return Ok(response);
            }
            // The stack acknowledges a refusal itself.
            if is_challenge(&response) && lock(&self.auth).challenged(&response, &mut rounds) {
                continue;
            }
            return Ok(response);
        }
    }

    /// Sends the PRACK that a reliable provisional response wants (RFC 3262 §4), in order and once each. Whether the
    /// response is new.
    pub(crate) fn acknowledge_provisional(
        self: &Arc<Self>,
        response: &Response,
        seq: u32,
        last: &mut Option<u32>,
    ) -> bool {
        if !has_token(response, "Require", "100rel") {
            return true;
        }
        let Some(rseq) = sent_rseq(response) else { return true };
        if last.is_some_and(|last| rseq != last.wrapping_add(1)) {
            return false;
        }
        *last = Some(rseq);
        let leg = Arc::clone(self);
        tokio::spawn(async move {
            let rack = Header::RAck(format!("{rseq} {seq} INVITE").into());
            if let Err(error) = leg.send(Method::PRack, vec![rack], None).await {
                tracing::debug!(%error, "prack");
            }
        });
        true
    }

    /// Sends the ACK of a 2xx (RFC 3261 §13.2.2.4) and keeps it for when the 2xx comes again.
    pub(crate) async fn acknowledge(
        self: &Arc<Self>,
        invite: &Request,
        seq: u32,
        authorization: Vec<Header>,
        sdp: Option<&str>,
    ) -> Result<(), SipError> {
        let body = sdp.map(|sdp| ("application/sdp", sdp.as_bytes().to_vec()));
        let ack = self.request(Method::Ack, seq, authorization, body)?;
        let key = (self.id.call_id.clone(), seq);
        let kept = Acknowledged {
            leg: Arc::clone(self),
            invite: invite.clone(),
            ack: ack.clone(),
            forks: Vec::new(),
        };
        lock(&self.core.acknowledged).insert(key.clone(), kept);
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            tokio::select! {
                () = core.stop.cancelled() => {}
                () = tokio::time::sleep(core.config.t1 * 64) => {}
            }
            lock(&core.acknowledged).remove(&key);
        });
        self.send_ack(ack).await
    }

    async fn send_ack(&self, ack: Request) -> Result<(), SipError> {
        if let Some(flow) = self.flow() {
            return Ok(flow.send(ack.into(), None).await?);
        }
        let mut destination = self.destination();
        open(&self.core, &ack, &mut destination).await?;
        let hop = match destination {
            Some(address) => address,
            None => SipAddr::try_from(&ack.destination())?,
        };
        let (connection, address) = self.core.endpoint.transport_layer.lookup(&hop, None).await?;
        Ok(connection.send(ack.into(), Some(&address)).await?)
    }

    /// Hangs up: tells everybody here, then the far side. The dialog is forgotten in any case.
    pub(crate) async fn bye(&self, reason: Vec<Header>, end: End) -> Result<(), SipError> {
        if !self.finish(end) {
            return Ok(());
        }
        let sent = self.send(Method::Bye, reason, None).await;
        self.core.forget(&self.id);
        sent.map(drop)
    }
}

/// An acknowledged INVITE, for 2xx responses that come again or from other forks.
pub(crate) struct Acknowledged {
    leg: Arc<Leg>,
    invite: Request,
    ack: Request,
    /// Tags of forks that were hung up.
    forks: Vec<String>,
}

pub(crate) type AcknowledgedCalls = Arc<Mutex<HashMap<(String, u32), Acknowledged>>>;

/// Forks of one call that are hung up one by one; what comes after them is left to time out.
const MAX_FORKS: usize = 16;

/// Acknowledges stray 2xx responses; those of other forks are hung up (RFC 3261 §13.2.2.4).
pub(crate) async fn absorb(core: Arc<Core>, mut strays: mpsc::Receiver<Response>) {
    loop {
        let response = tokio::select! {
            () = core.stop.cancelled() => return,
            response = strays.recv() => response,
        };
        let Some(response) = response else { return };
        let (Some(key), Some(tag)) = (stray_key(&response), to_tag(&response)) else { continue };
        let mut fork = None;
        let repeated = {
            let mut acknowledged = lock(&core.acknowledged);
            let Some(known) = acknowledged.get_mut(&key) else { continue };
            if known.leg.id.remote_tag == tag {
                Some((Arc::clone(&known.leg), known.ack.clone()))
            } else {
                if !known.forks.contains(&tag) && known.forks.len() < MAX_FORKS {
                    known.forks.push(tag);
                    fork = Some((Arc::clone(&known.leg), known.invite.clone()));
                }
                None
            }
        };
        if let Some((leg, ack)) = repeated
            && let Err(error) = leg.send_ack(ack).await
        {
            tracing::debug!(%error, "ack");
        }
        if let Some((winner, invite)) = fork {
            tokio::spawn(async move { drop_fork(&winner, &invite, &response, key.1).await });
        }
    }
}

/// ACK and BYE for an answer nobody waits for.
pub(crate) async fn drop_fork(sibling: &Arc<Leg>, invite: &Request, response: &Response, seq: u32) {
    let auth = lock(&sibling.auth).clone();
    let Some(leg) =
        fork_leg(&sibling.core, invite, response, auth, sibling.transport, sibling.contact.clone())
    else {
        return;
    };
    leg.set_way(sibling.flow(), sibling.source());
    let authorization = authorization_of(invite);
    let ended = async {
        let ack = leg.request(Method::Ack, seq, authorization, None)?;
        leg.send_ack(ack).await?;
        leg.bye(Vec::new(), End::Lost).await
    };
    if let Err(error) = ended.await {
        tracing::debug!(%error, "fork");
    }
}

/// The credentials a request carried; its ACK carries the same.
pub(crate) fn authorization_of(request: &Request) -> Vec<Header> {
    let is_one =
        |header: &&Header| matches!(header, Header::Authorization(_) | Header::ProxyAuthorization(_));
    request.headers.iter().filter(is_one).cloned().collect()
}

fn stray_key(response: &Response) -> Option<(String, u32)> {
    Some((response.call_id_header().ok()?.value().to_owned(), cseq(response)?))
}

/// Sees every message on its way: names this side as configured, and picks out 2xx responses whose transaction is
/// over.
pub(crate) struct Inspector {
    pub(crate) name: Option<String>,
    pub(crate) acknowledged: AcknowledgedCalls,
    pub(crate) strays: mpsc::Sender<Response>,
}

impl MessageInspector for Inspector {
    fn before_send(&self, mut message: SipMessage, _: Option<&SipAddr>) -> SipMessage {
        let headers = match &mut message {
            SipMessage::Request(request) => &mut request.headers,
            SipMessage::Response(response) => &mut response.headers,
        };
        headers.retain(|header| !matches!(header, Header::UserAgent(_) | Header::Server(_)));
        if let Some(name) = &self.name {
            let name = match &message {
                SipMessage::Request(_) => Header::UserAgent(name.as_str().into()),
                SipMessage::Response(_) => Header::Server(name.as_str().into()),
            };
            match &mut message {
                SipMessage::Request(request) => request.headers.push(name),
                SipMessage::Response(response) => response.headers.push(name),
            }
        }
        message
    }

    fn after_received(&self, mut message: SipMessage, _: Option<&SipAddr>) -> SipMessage {
        if let SipMessage::Response(response) = &mut message
            && response.status_code.kind() == StatusCodeKind::Provisional
        {
            tell_forks_apart(response);
        }
        if let SipMessage::Response(response) = &message
            && response.status_code.kind() == StatusCodeKind::Successful
            && response.cseq_header().is_ok_and(|cseq| matches!(cseq.method(), Ok(Method::Invite)))
            && stray_key(response).is_some_and(|key| lock(&self.acknowledged).contains_key(&key))
        {
            // Full, the 2xx is left for its next repetition.
            self.strays.try_send(response.clone()).ok();
        }
        message
    }
}

/// Where a provisional response keeps the number it came with.
const SENT_RSEQ: &str = "RSeq-As-Sent";

/// The stack drops a provisional response as repeated when status, body and RSeq are those of the one before, also
/// when another fork sent it: the RSeq it looks at is made to tell forks apart, and the one sent is kept aside.
fn tell_forks_apart(response: &mut Response) {
    let Some(tag) = to_tag(response) else { return };
    let sent = response.rseq_value();
    let mut hasher = DefaultHasher::new();
    (tag, sent).hash(&mut hasher);
    let mark = hasher.finish() & u64::from(u32::MAX);
    let ours = |header: &Header| header.name().eq_ignore_ascii_case(SENT_RSEQ);
    response.headers.retain(|header| !matches!(header, Header::RSeq(_)) && !ours(header));
    response.headers.push(Header::RSeq(mark.to_string().into()));
    if let Some(sent) = sent {
        response.headers.push(Header::Other(SENT_RSEQ.to_owned(), sent.to_string()));
    }
}

fn sent_rseq(response: &Response) -> Option<u32> {
    response.header_value(SENT_RSEQ)?.parse().ok()
}

/// How long a far side wants to be left alone, from its Retry-After header: an hour at most.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.header_value("Retry-After")?;
    let digits: String = value.trim().chars().take_while(char::is_ascii_digit).take(6).collect();
    digits.parse().ok().map(|seconds: u64| Duration::from_secs(seconds.min(3_600)))
}

/// The phrase of a response, without what could break a log.
pub(crate) fn phrase(response: &Response) -> String {
    let text = response.wire_reason.clone().unwrap_or_else(|| response.status_code.text().to_owned());
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}
