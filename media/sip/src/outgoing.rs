//! A call that goes out, as its holder sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_media_frame::Pii;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::Transport;
use rsipstack::transport::SipConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::{Core, SipError, stack_address};
use crate::call_request::{CallRequest, Draft};
use crate::calling::Calling;
use crate::dialog::{Dialog, EVENTS};
use crate::exchange::Authorizer;
use crate::flow::{SipTransport, flow};
use crate::targets::resolve;

/// How an outgoing call gets on. The last four are final.
#[derive(Debug)]
pub enum OutgoingEvent {
    /// It rings at the far side.
    Ringing,
    /// Early media.
    Progress {
        /// Its session description.
        sdp: String,
        /// Which of the far side's devices speaks, where a proxy has sent the call to several: its tag.
        fork: String,
    },
    /// Answered and, unless the request had no session description, acknowledged.
    Answered {
        /// The session description of the answer; the far side's offer if the request had none. Empty if there was none.
        sdp: String,
        /// The call.
        dialog: Dialog,
    },
    /// To be called elsewhere (3xx), the best first.
    Redirected {
        /// SIP status.
        status: u16,
        /// The addresses.
        contacts: Vec<Pii<String>>,
    },
    /// Refused, cancelled (487), or never reached: 408 stands for no response at all.
    Failed {
        /// SIP status.
        status: u16,
        /// Its phrase.
        reason: String,
        /// When the far side wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Not answered within the ring timeout; it was cancelled.
    TimedOut,
}

/// A call that goes out. Dropping it cancels or hangs up.
pub struct OutgoingCall {
    events: mpsc::Receiver<OutgoingEvent>,
    cancel: CancellationToken,
    call_id: String,
}

impl OutgoingCall {
    /// The Call-ID both sides know the call by.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Waits for the next event. Cancel-safe. After a final one it says `Failed` with 481.
    pub async fn next(&mut self) -> OutgoingEvent {
        let over = || OutgoingEvent::Failed {
            status: 481,
            reason: "the call is over".to_owned(),
            retry_after: None,
        };
        self.events.recv().await.unwrap_or_else(over)
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
    let draft = Draft::new(core, &request)?;
    let transport = request.transport.stack();
    let listeners = core.endpoint.transport_layer.get_listen_addrs();
    if transport == Transport::Udp && !listeners.iter().any(|l| l.r#type == Some(Transport::Udp)) {
        return Err(SipError::NoTransport);
    }
    let hop = draft.routes.first().unwrap_or(&draft.callee);
    let targets = match request.destination {
        Some(destination) => vec![destination],
        None => resolve(core, hop, request.transport).await?,
    };
    let host = hop.host_with_port.host.to_string();
    let mut targets = targets.into_iter();
    let mut first = None;
    let mut failed = SipError::Unresolved;
    // What cannot even be connected to is passed over here.
    for target in targets.by_ref() {
        match connect(core, request.transport, target, &host).await {
            Ok(connection) => {
                first = Some((target, connection));
                break;
            }
            Err(error) => failed = error,
        }
    }
    let Some((target, connection)) = first else { return Err(failed) };
    let (sender, events) = mpsc::channel(EVENTS);
    let cancel = CancellationToken::new();
    let call_id = draft.call_id.clone();
    let calling = Calling {
        core: Arc::clone(core),
        authorizer: Authorizer::new(request.credentials),
        draft,
        transport: request.transport,
        host,
        target,
        connection,
        rest: targets.collect(),
        events: sender,
        cancel: cancel.clone(),
        deadline: Instant::now() + request.ring_timeout,
        permit,
        forks: Vec::new(),
    };
    tokio::spawn(calling.run());
    Ok(OutgoingCall { events, cancel, call_id })
}

/// The stream to a target; none for UDP.
pub(crate) async fn connect(
    core: &Arc<Core>,
    transport: SipTransport,
    target: SocketAddr,
    host: &str,
) -> Result<Option<SipConnection>, SipError> {
    if !transport.is_stream() {
        return Ok(None);
    }
    flow(core, transport, target, host).await?;
    let address = stack_address(transport.stack(), target);
    let (connection, _) = core.endpoint.transport_layer.lookup(&address, None).await?;
    Ok(Some(connection))
}
