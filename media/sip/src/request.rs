//! Requests outside dialogs that this side sends, other than INVITE.

use std::net::SocketAddr;

use rsipstack::sip::{Header, Method, Request, Uri, Version};
use rsipstack::transaction::{make_tag, make_uuid_v4};
use rsipstack::transport::SipAddr;

use crate::agent::{Core, SipError, stack_address};
use crate::flow::SipTransport;

/// What stays the same when a request is repeated with a password or at its next refresh.
pub(crate) struct Draft {
    method: Method,
    target: Uri,
    from: String,
    to: String,
    call_id: String,
}

impl Draft {
    /// `from` and `to` are addresses without brackets.
    pub(crate) fn new(method: Method, target: Uri, from: &str, to: &str) -> Self {
        Self {
            method,
            target,
            from: format!("<{from}>;tag={}", make_tag()),
            to: format!("<{to}>"),
            call_id: make_uuid_v4(),
        }
    }

    /// The Request-URI as it is written, which a digest has to repeat.
    pub(crate) fn uri(&self) -> String {
        self.target.to_string()
    }

    pub(crate) fn request(
        &self,
        core: &Core,
        transport: SipTransport,
        seq: u32,
        extra: Vec<Header>,
    ) -> Result<Request, SipError> {
        let mut headers = vec![
            Header::Via(core.via(transport.stack())?.into()),
            Header::MaxForwards(70.into()),
            Header::From(self.from.clone().into()),
            Header::To(self.to.clone().into()),
            Header::CallId(self.call_id.clone().into()),
            Header::CSeq(format!("{seq} {}", self.method).into()),
        ];
        headers.extend(extra);
        headers.push(Header::ContentLength(0.into()));
        Ok(Request {
            method: self.method,
            uri: self.target.clone(),
            headers: headers.into(),
            body: Vec::new(),
            version: Version::V2,
        })
    }
}

/// Where a request goes on the wire.
pub(crate) fn stack_hop(transport: SipTransport, address: SocketAddr) -> SipAddr {
    stack_address(transport.stack(), address)
}
