//! A call that goes out.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver};
use rsipstack::dialog::invitation::{InviteAsyncResult, InviteOption};
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::headers::make_header;
use rsipstack::sip::{Header, Host, Response, StatusCode, StatusCodeKind, Transport, Uri};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::agent::{Core, SipError, stack_address};
use crate::dialog::{Dialog, EVENTS, Shared, pump};
use crate::flow::{SipTransport, flow};
use crate::gate::ALLOW;

/// A call to place.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// Whom to call: `sip:user@host[:port]`.
    pub to_uri: Pii<String>,
    /// Who calls: `sip:user@host`.
    pub from: Pii<String>,
    /// Name to show for the caller.
    pub display_name: Option<Pii<String>>,
    /// Session description offered.
    pub offer: String,
    /// Further headers, name and value.
    pub headers: Vec<(String, String)>,
    /// How long it may go unanswered before it is cancelled.
    pub ring_timeout: Duration,
    /// What carries the signalling.
    pub transport: SipTransport,
}

impl CallRequest {
    /// A call over UDP that may ring for a minute.
    #[must_use]
    pub fn new(to_uri: &str, from: &str, offer: String) -> Self {
        Self {
            to_uri: Pii::new(to_uri.to_owned()),
            from: Pii::new(from.to_owned()),
            display_name: None,
            offer,
            headers: Vec::new(),
            ring_timeout: Duration::from_secs(60),
            transport: SipTransport::Udp,
        }
    }
}

/// How an outgoing call gets on. The last three are final.
#[derive(Debug)]
pub enum OutgoingEvent {
    /// It rings at the far side.
    Ringing,
    /// Early media.
    Progress {
        /// Its session description.
        sdp: String,
    },
    /// Answered and acknowledged.
    Answered {
        /// The session description of the answer; empty if it had none.
        sdp: String,
        /// The call.
        dialog: Dialog,
    },
    /// Refused, cancelled (487), or never reached: 408 stands for no response at all.
    Failed {
        /// SIP status.
        status: u16,
        /// Its phrase.
        reason: String,
    },
    /// Not answered within the ring timeout; it was cancelled.
    TimedOut,
}

/// A call that goes out. Dropping it cancels or hangs up.
pub struct OutgoingCall {
    events: mpsc::Receiver<OutgoingEvent>,
    cancel: CancellationToken,
}

impl OutgoingCall {
    /// Waits for the next event. Cancel-safe. After a final one it says `Failed` with 481.
    pub async fn next(&mut self) -> OutgoingEvent {
        self.events
            .recv()
            .await
            .unwrap_or_else(|| OutgoingEvent::Failed { status: 481, reason: "the call is over".to_owned() })
    }

    /// Cancels it. The end still comes as an event: `Failed` with 487, or `Answered` if the answer was first.
    pub fn cancel(&mut self) {
        self.cancel.cancel();
    }
}

impl Drop for OutgoingCall {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl fmt::Debug for OutgoingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingCall").field("cancelled", &self.cancel.is_cancelled()).finish_non_exhaustive()
    }
}

pub(crate) async fn place(core: &Arc<Core>, request: CallRequest) -> Result<OutgoingCall, SipError> {
    let limit = core.config.max_calls;
    let permit = Arc::clone(&core.guard.calls).try_acquire_owned().map_err(|_| SipError::Busy { limit })?;
    let callee = uri(request.to_uri.expose()).ok_or(SipError::Invalid { what: "called address" })?;
    let caller = uri(request.from.expose()).ok_or(SipError::Invalid { what: "caller address" })?;
    let display_name = match &request.display_name {
        Some(name) if name.expose().contains(['"', '\\']) || !is_text(name.expose()) => {
            return Err(SipError::Invalid { what: "display name" });
        }
        name => name.as_ref().map(|name| name.expose().clone()),
    };
    let mut headers = vec![Header::Allow(ALLOW.into())];
    for (name, value) in request.headers {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) || !is_text(&value) {
            return Err(SipError::Invalid { what: "header" });
        }
        headers.push(make_header(&name, value));
    }
    let transport = request.transport.stack();
    let listeners = core.endpoint.transport_layer.get_listen_addrs();
    if transport == Transport::Udp && !listeners.iter().any(|l| l.r#type == Some(Transport::Udp)) {
        return Err(SipError::NoTransport);
    }
    let remote = resolve(&callee).await?;
    let destination = stack_address(transport, remote);
    if request.transport.is_stream() {
        let host = callee.host_with_port.host.to_string();
        flow(core, request.transport, remote, &host).await?;
    }
    let option = InviteOption {
        caller_display_name: display_name,
        caller,
        callee,
        destination: Some(destination),
        contact: core.contact(transport)?,
        content_type: Some("application/sdp".to_owned()),
        offer: Some(request.offer.into_bytes()),
        headers: Some(headers),
        ..InviteOption::default()
    };
    let (state_sender, states) = core.layer.new_dialog_state_channel();
    let (dialog, invite) = core.layer.do_invite_async(option, state_sender)?;
    let (sender, events) = mpsc::channel(EVENTS);
    let cancel = CancellationToken::new();
    let ringing = Ringing {
        core: Arc::clone(core),
        dialog,
        invite,
        states,
        events: sender,
        cancel: cancel.clone(),
        deadline: Instant::now() + request.ring_timeout,
        permit,
    };
    tokio::spawn(ringing.run());
    Ok(OutgoingCall { events, cancel })
}

/// A call from its INVITE to its final response.
struct Ringing {
    core: Arc<Core>,
    dialog: InviteDialog,
    invite: JoinHandle<InviteAsyncResult>,
    states: DialogStateReceiver,
    events: mpsc::Sender<OutgoingEvent>,
    cancel: CancellationToken,
    deadline: Instant,
    permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GivenUp {
    TimedOut,
    Cancelled,
}

impl Ringing {
    async fn run(mut self) {
        let mut given_up = None;
        let mut told = false;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut self.invite => break outcome.ok().and_then(Result::ok),
                Some(state) = self.states.recv() => self.provisional(state),
                () = self.core.stop.cancelled() => {
                    self.invite.abort();
                    break None;
                }
                () = self.cancel.cancelled(), if given_up.is_none() => {
                    given_up = Some(GivenUp::Cancelled);
                    self.give_up();
                }
                () = sleep_until(self.deadline), if !told => match given_up {
                    None => {
                        given_up = Some(GivenUp::TimedOut);
                        self.give_up();
                    }
                    // A far side that never says a word cannot be cancelled (RFC 3261 §9.1); nobody has to wait
                    // for that.
                    Some(why) => {
                        told = true;
                        self.finish(ended(why));
                    }
                },
            }
        };
        let status = outcome.as_ref().and_then(|(_, response)| response.as_ref());
        let answered = status.is_some_and(|r| r.status_code.kind() == StatusCodeKind::Successful)
            && (given_up.is_none() || !self.dialog.state().is_terminated());
        match (outcome, given_up) {
            (Some((_, Some(response))), _) if answered => self.answered(&response).await,
            (_, Some(why)) if !told => self.finish(ended(why)),
            (Some((_, Some(response))), None) => self.finish(failed(&response)),
            (_, None) => {
                self.finish(OutgoingEvent::Failed {
                    status: 503,
                    reason: "the call could not be sent".to_owned(),
                });
            }
            _ => {}
        }
    }

    /// Sends the CANCEL, and allows a moment for what it brings.
    fn give_up(&mut self) {
        self.deadline = Instant::now() + self.core.config.t1 * 8;
        let dialog = self.dialog.clone();
        tokio::spawn(async move { dialog.cancel().await.ok() });
    }

    fn provisional(&self, state: DialogState) {
        let DialogState::Early(_, response) = state else { return };
        // The last place belongs to the final event.
        if self.events.capacity() < 2 {
            return;
        }
        if !response.body.is_empty() {
            let sdp = String::from_utf8_lossy(&response.body).into_owned();
            self.events.try_send(OutgoingEvent::Progress { sdp }).ok();
        } else if response.status_code == StatusCode::Ringing {
            self.events.try_send(OutgoingEvent::Ringing).ok();
        }
    }

    fn finish(&self, event: OutgoingEvent) {
        self.events.try_send(event).ok();
    }

    async fn answered(self, response: &Response) {
        let shared = Shared::new();
        self.core.remember(&self.dialog.id(), &shared);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let dialog = Dialog {
            core: Arc::clone(&self.core),
            dialog: self.dialog.clone(),
            shared: Arc::clone(&shared),
            events,
            over: false,
        };
        shared.establish();
        let sdp = String::from_utf8_lossy(&response.body).into_owned();
        // Refused, because nobody waits any more, the dialog in it hangs up.
        self.events.try_send(OutgoingEvent::Answered { sdp, dialog }).ok();
        drop(self.events);
        // A far side that hung up at once: its end may have been read together with the provisional states.
        if let DialogState::Terminated(_, why) = self.dialog.state() {
            shared.finish(self.dialog.role(), Some(&why));
            self.core.forget(&self.dialog.id());
            return;
        }
        pump(self.core, self.dialog, shared, self.states, event_sender, self.permit).await;
    }
}

fn ended(why: GivenUp) -> OutgoingEvent {
    match why {
        GivenUp::TimedOut => OutgoingEvent::TimedOut,
        GivenUp::Cancelled => OutgoingEvent::Failed { status: 487, reason: "Request Terminated".to_owned() },
    }
}

fn failed(response: &Response) -> OutgoingEvent {
    let reason = response.wire_reason.clone().unwrap_or_else(|| response.status_code.text().to_owned());
    OutgoingEvent::Failed { status: response.status_code.code(), reason }
}

fn uri(text: &str) -> Option<Uri> {
    let scheme = text.split(':').next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("sip")
        || !text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b))
    {
        return None;
    }
    Uri::try_from(text).ok()
}

fn is_text(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

async fn resolve(uri: &Uri) -> Result<SocketAddr, SipError> {
    let port = uri.host_with_port.port.as_ref().map_or(5060, rsipstack::sip::Port::value);
    match &uri.host_with_port.host {
        Host::IpAddr(address) => Ok(SocketAddr::new(*address, port)),
        Host::Domain(name) => {
            let mut found =
                tokio::net::lookup_host((name.0.as_str(), port)).await.map_err(|_| SipError::Unresolved)?;
            found.next().ok_or(SipError::Unresolved)
        }
    }
}
