//! REGISTER requests (RFC 3261 §10.3): what they ask for, and the answers.

use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Request, StatusCode};
use rsipstack::transaction::transaction::Transaction;

use super::{Binding, Refused, Registrar, Wanted};
use crate::access::Peer;
use crate::address::{NameAddr, address};
use crate::agent::{Replying, reply};
use crate::gate::RETRY_AFTER;
use crate::ingress::Entry;

/// Answers a REGISTER.
pub(crate) fn serve(registrar: &Registrar, entry: &Entry, tx: Transaction) -> Replying {
    let (status, headers) = match &entry.peer {
        Peer::User(user) => bind(registrar, user, entry, &tx.original),
        // Who proved nothing is nobody's phone.
        _ => (StatusCode::Forbidden, Vec::new()),
    };
    reply(tx, status, headers)
}

fn bind(registrar: &Registrar, user: &str, entry: &Entry, request: &Request) -> (StatusCode, Vec<Header>) {
    let values = |name: &'static str| {
        request.headers.iter().filter(move |h| h.name().eq_ignore_ascii_case(name)).map(Header::value)
    };
    let any = |long: &'static str, short: &'static str| values(long).chain(values(short));
    let to = any("To", "t").next().and_then(NameAddr::parse);
    if to.is_none_or(|to| address(to.uri).user.expose() != user) {
        return (StatusCode::Forbidden, Vec::new());
    }
    let wanted = Wanted {
        user,
        call_id: any("Call-ID", "i").next().unwrap_or_default(),
        cseq: request.cseq_header().and_then(rsipstack::sip::CSeq::seq).unwrap_or_default(),
        contacts: any("Contact", "m").collect(),
        expires: values("Expires").next(),
        path: values("Path").collect(),
        user_agent: values("User-Agent").next(),
        source: entry.source,
        transport: entry.transport,
    };
    match registrar.register(&wanted) {
        Ok(bound) => {
            let contact = |binding: &Binding| {
                let seconds = binding.expires_in.as_secs_f64().ceil();
                Header::Contact(format!("<{}>;expires={seconds}", binding.contact.expose()).into())
            };
            let mut headers: Vec<Header> = bound.iter().map(contact).collect();
            headers.extend(wanted.path.iter().map(|path| Header::Path((*path).into())));
            (StatusCode::OK, headers)
        }
        Err(refused) => {
            tracing::debug!(?refused, "register");
            match refused {
                Refused::Bad(_) => (StatusCode::BadRequest, Vec::new()),
                Refused::TooManyContacts => (StatusCode::Forbidden, Vec::new()),
                Refused::TooBrief(least) => {
                    (StatusCode::IntervalTooBrief, vec![Header::MinExpires(least.to_string().into())])
                }
                Refused::OutOfOrder => (StatusCode::ServerInternalError, Vec::new()),
                Refused::Full => {
                    (StatusCode::ServiceUnavailable, vec![Header::RetryAfter(RETRY_AFTER.into())])
                }
            }
        }
    }
}
