//! The messages of a dialog, and the way they take.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use rsipstack::sip::uri::ParamsExt;
use rsipstack::sip::{
    Header, Host, Method, Request, Response, StatusCode, StatusCodeKind, Transport, Version,
};
use rsipstack::transport::{SipAddr, SipConnection};

use crate::agent::SipError;
use crate::gate::ALLOW;
use crate::leg::{Leg, Nat, lock};

impl Leg {
    pub(crate) fn next_seq(&self) -> u32 {
        self.seq.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A request inside the dialog (RFC 3261 §12.2.1.1).
    pub(crate) fn request(
        &self,
        method: Method,
        seq: u32,
        extra: Vec<Header>,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Request, SipError> {
        let (target, routes) = {
            let path = lock(&self.path);
            (path.target.clone(), path.routes.clone())
        };
        let mut headers = vec![
            Header::Via(self.core.via(self.transport)?.into()),
            Header::MaxForwards(70.into()),
            Header::From(self.local.clone().into()),
            Header::To(self.remote.clone().into()),
            Header::CallId(self.id.call_id.clone().into()),
            Header::CSeq(format!("{seq} {method}").into()),
        ];
        headers.extend(routes.into_iter().map(|route| Header::Route(route.into())));
        if matches!(method, Method::Invite | Method::Update | Method::Refer | Method::Notify) {
            headers.push(Header::Contact(format!("<{}>", self.contact).into()));
        }
        if matches!(method, Method::Invite | Method::Update | Method::Refer) {
            headers.push(Header::Allow(ALLOW.into()));
            headers.push(Header::Supported(self.core.supported().into()));
        }
        headers.extend(extra);
        let body = body.map(|(kind, body)| {
            headers.push(Header::ContentType(kind.into()));
            body
        });
        let body = body.unwrap_or_default();
        headers.push(Header::ContentLength(u32::try_from(body.len()).unwrap_or(u32::MAX).into()));
        Ok(Request { method, uri: target, headers: headers.into(), body, version: Version::V2 })
    }

    /// A response to a request of the far side.
    pub(crate) fn response(
        &self,
        request: &Request,
        status: StatusCode,
        extra: Vec<Header>,
        body: Option<&str>,
    ) -> Response {
        let mut headers: Vec<Header> = Vec::new();
        let makes_dialog = request.method == Method::Invite && status.code() < 300;
        for header in request.headers.iter() {
            match header {
                Header::Via(_) | Header::From(_) | Header::CallId(_) | Header::CSeq(_) => {
                    headers.push(header.clone());
                }
                Header::RecordRoute(_) if makes_dialog => headers.push(header.clone()),
                Header::To(to) => {
                    let tagged = matches!(to.tag(), Ok(Some(_)));
                    let value = to.value();
                    let to = if tagged || status == StatusCode::Trying {
                        value.to_owned()
                    } else {
                        format!("{value};tag={}", self.id.local_tag)
                    };
                    headers.push(Header::To(to.into()));
                }
                _ => {}
            }
        }
        let refreshes = matches!(request.method, Method::Invite | Method::Update | Method::Refer);
        if refreshes && matches!(status.kind(), StatusCodeKind::Provisional | StatusCodeKind::Successful) {
            headers.push(Header::Contact(format!("<{}>", self.contact).into()));
            headers.push(Header::Allow(ALLOW.into()));
            headers.push(Header::Supported(self.core.supported().into()));
        }
        headers.extend(extra);
        if body.is_some() {
            headers.push(Header::ContentType("application/sdp".into()));
        }
        let body = body.unwrap_or_default().as_bytes().to_vec();
        headers.push(Header::ContentLength(u32::try_from(body.len()).unwrap_or(u32::MAX).into()));
        Response {
            status_code: status,
            wire_reason: None,
            version: Version::V2,
            headers: headers.into(),
            body,
        }
    }

    /// The stream requests go over, while it stands.
    pub(crate) fn flow(&self) -> Option<SipConnection> {
        let flow = lock(&self.path).flow.clone()?;
        let alive = flow.is_reliable() && !flow.cancel_token().is_some_and(|token| token.is_cancelled());
        alive.then_some(flow)
    }

    /// Notes the stream, and where the far side is seen.
    pub(crate) fn set_way(&self, flow: Option<SipConnection>, source: Option<SipAddr>) {
        let mut path = lock(&self.path);
        path.flow = flow;
        path.source = source;
    }

    /// Notes whether the far side is where it says.
    pub(crate) fn set_nat(&self, nat: Nat) {
        lock(&self.path).nat = nat;
    }

    /// Where a request goes that has no stream: `None` leaves it to the stack (first route, else target). A target
    /// that is private while the far side is seen elsewhere sits behind address translation; one that names no
    /// transport is reached by that of the call.
    pub(crate) fn destination(&self) -> Option<SipAddr> {
        let path = lock(&self.path);
        if let Some(source) = &path.source {
            let seen = source.get_socketaddr().ok().map(|address| address.ip());
            let unseen = || match &path.target.host_with_port.host {
                Host::IpAddr(address) => seen.is_some_and(|seen| seen != *address) && is_private(*address),
                Host::Domain(name) => name.0.to_ascii_lowercase().ends_with(".invalid"),
            };
            let hidden = path.routes.is_empty()
                && match path.nat {
                    Nat::Auto => unseen(),
                    Nat::On => true,
                    Nat::Off => false,
                };
            if hidden {
                return Some(source.clone());
            }
        }
        let named = !path.routes.is_empty() || path.target.transport().is_some();
        if named || self.transport == Transport::Udp {
            return None;
        }
        Some(SipAddr { r#type: Some(self.transport), addr: path.target.host_with_port.clone() })
    }

    /// Where the far side is seen.
    pub(crate) fn source(&self) -> Option<SipAddr> {
        lock(&self.path).source.clone()
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_unspecified()
                || v4.is_link_local()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unspecified() || v6.is_unicast_link_local(),
    }
}
