//! What calls and dialogs of an agent share, and the replies that need no dialog.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use rsipstack::platform::CancellationToken;
use rsipstack::sip::typed::Via;
use rsipstack::sip::{Header, Scheme, StatusCode, Transport, Uri};
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::SipAddr;
use tokio::sync::mpsc;

use super::{AgentConfig, SipError};
use crate::exchange::AcknowledgedCalls;
use crate::gate::{ALLOW, RETRY_AFTER};
use crate::incoming::IncomingCall;
use crate::leg::{DialogId, End, Leg, lock};
use crate::targets::Resolver;
use crate::transport::Guard;

/// What calls and dialogs share.
pub(crate) struct Core {
    pub(crate) endpoint: EndpointInnerRef,
    pub(crate) guard: Arc<Guard>,
    pub(crate) config: AgentConfig,
    pub(crate) stop: CancellationToken,
    /// No new calls; those under way end.
    pub(crate) closing: CancellationToken,
    /// Held by each task that answers a request.
    pub(crate) answering: Arc<()>,
    pub(crate) incoming: mpsc::Sender<IncomingCall>,
    pub(crate) legs: Mutex<HashMap<DialogId, Arc<Leg>>>,
    pub(crate) acknowledged: AcknowledgedCalls,
    pub(crate) resolver: Resolver,
}

impl Core {
    /// Where the far side reaches this one in a dialog over `transport`.
    pub(crate) fn contact(&self, transport: Transport) -> Result<Uri, SipError> {
        let mut uri = Uri::from(&self.listener(transport)?);
        // `sips:` would forbid every hop that is not TLS (RFC 5630 §3.3); the transport parameter says enough.
        uri.scheme = Some(Scheme::Sip);
        Ok(uri)
    }

    /// The Via of a request over `transport`.
    pub(crate) fn via(&self, transport: Transport) -> Result<Via, SipError> {
        Ok(self.endpoint.get_via(Some(self.listener(transport)?), None)?)
    }

    fn listener(&self, transport: Transport) -> Result<SipAddr, SipError> {
        let listeners = self.endpoint.transport_layer.get_listen_addrs();
        let of_kind = listeners.iter().find(|address| address.r#type == Some(transport));
        let mut address = of_kind.or(listeners.first()).ok_or(SipError::NoTransport)?.clone();
        address.r#type = Some(transport);
        Ok(address)
    }

    /// Value of the Supported header.
    pub(crate) fn supported(&self) -> &'static str {
        "100rel, replaces, timer"
    }

    pub(crate) fn remember(&self, leg: &Arc<Leg>) {
        lock(&self.legs).insert(leg.id.clone(), Arc::clone(leg));
    }

    pub(crate) fn find(&self, id: &DialogId) -> Option<Arc<Leg>> {
        lock(&self.legs).get(id).cloned()
    }

    pub(crate) fn forget(&self, id: &DialogId) {
        lock(&self.legs).remove(id);
    }

    /// Tells every holder of a call that it is over.
    pub(super) fn abandon(&self) {
        let legs: Vec<Arc<Leg>> = lock(&self.legs).drain().map(|(_, leg)| leg).collect();
        for leg in legs {
            leg.finish(End::Lost);
        }
        lock(&self.acknowledged).clear();
    }
}

pub(crate) type Replying = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One reply to a request, after which its transaction ends by itself.
pub(crate) fn reply(mut tx: Transaction, status: StatusCode, headers: Vec<Header>) -> Replying {
    Box::pin(async move {
        if let Err(error) = tx.reply_with(status, headers, None).await {
            tracing::debug!(%error, "reply");
        }
    })
}

/// Says 503 and when to come back.
pub(crate) fn refuse_busy(tx: Transaction) -> Replying {
    reply(tx, StatusCode::ServiceUnavailable, vec![Header::RetryAfter(RETRY_AFTER.into())])
}

/// What OPTIONS tells (RFC 3261 §11.2).
pub(crate) fn capabilities(core: &Core) -> Vec<Header> {
    vec![
        Header::Allow(ALLOW.into()),
        Header::Accept("application/sdp".into()),
        Header::AcceptEncoding("identity".into()),
        Header::AcceptLanguage("en".into()),
        Header::Supported(core.supported().into()),
    ]
}

/// An address as the stack writes it.
pub(crate) fn stack_address(transport: Transport, address: SocketAddr) -> SipAddr {
    SipAddr { r#type: Some(transport), addr: address.into() }
}
