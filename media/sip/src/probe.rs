//! Whether a trunk is there: one OPTIONS (RFC 3261 §11).

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::{Method, Request, Response};
use tokio::time::{Instant, timeout};

use crate::agent::{Core, SipError};
use crate::call_request::uri;
use crate::exchange::{phrase, transact};
use crate::flow::{SipTransport, flow};
use crate::request::{Draft, stack_hop};
use crate::targets::resolve;

/// How long the answer may take: time for four repetitions over UDP.
const LIMIT: Duration = Duration::from_secs(8);

/// Why a probe found nobody.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The address is not valid, its name does not resolve, or there is no connection.
    #[error(transparent)]
    Unreachable(#[from] SipError),
    /// Nobody answered.
    #[error("no answer within {} seconds", LIMIT.as_secs())]
    TimedOut,
    /// It answered that it cannot serve.
    #[error("answered {status} {reason}")]
    Unwell {
        /// SIP status, 408 or from 500 to 599.
        status: u16,
        /// Its phrase.
        reason: String,
    },
}

/// Sends one OPTIONS to `target`; how long its answer took, the set-up of a connection not counted.
pub(crate) async fn probe(
    core: &Arc<Core>,
    target: &str,
    transport: SipTransport,
) -> Result<Duration, ProbeError> {
    let asked = async {
        let callee = uri(target).ok_or(SipError::Invalid { what: "probed address" })?;
        let host = callee.host_with_port.host.to_string();
        let mut failed = SipError::Unresolved;
        for address in resolve(core, &callee, transport).await? {
            if let Err(error) = flow(core, transport, address, &host).await {
                failed = error;
                continue;
            }
            let contact = core.contact(transport.stack())?;
            let draft = Draft::new(Method::Options, callee.clone(), &contact.to_string(), target);
            let request: Request = draft.request(core, transport, 1, Vec::new())?;
            let begun = Instant::now();
            let response = transact(core, request, None, Some(stack_hop(transport, address))).await?;
            return Ok((begun.elapsed(), response));
        }
        Err(failed)
    };
    let answered: Result<(Duration, Response), SipError> =
        timeout(LIMIT, asked).await.map_err(|_| ProbeError::TimedOut)?;
    let (took, response) = answered?;
    let status = response.status_code.code();
    // Whoever refuses is there: many trunks know no OPTIONS, or want a password.
    if status == 408 || (500..600).contains(&status) {
        return Err(ProbeError::Unwell { status, reason: phrase(&response) });
    }
    Ok(took)
}
