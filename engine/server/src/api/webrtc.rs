//! Calls of web pages: offer and answer over HTTP (WHIP, RFC 9725).

use std::sync::Arc;

use antiphon_engine_call::Cause;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Api;
use super::guard::{BODY, Rights};
use super::listener::Peer;
use super::listing::parse;
use super::problem::{Problem, catalogue};
use crate::calls::EndError;
use crate::web::{self, Asked, OpenError, TrickleError};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Characters of what is called.
const LONGEST_TARGET: usize = 64;

/// What is called.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Called {
    /// A number as routes know it, or `user:NAME`; the default flow where there is none.
    to: Option<String>,
}

/// `POST /v1/webrtc`: our answer to the page's offer. The call begins with it and is answered once media is connected.
pub(super) async fn open(
    State(api): State<Arc<Api>>,
    Extension(Peer(from)): Extension<Peer>,
    Extension(rights): Extension<Rights>,
    called: Result<Query<Called>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(Called { to }) =
        called.map_err(|error| Problem::because(catalogue::QUERY_INVALID, error.body_text()))?;
    let to = to.filter(|to| !to.is_empty());
    if to.as_deref().is_some_and(|to| !is_target(to)) {
        let detail = format!("`to` is a number or user:NAME of at most {LONGEST_TARGET} characters");
        return Err(Problem::because(catalogue::QUERY_INVALID, detail));
    }
    expect_type(request.headers(), SDP)?;
    let shared = api.shared()?;
    let offer = text(request.into_body(), catalogue::OFFER_INVALID).await?;
    let opened =
        web::open(shared, Asked { offer, to, from, token: rights.token() }).await.map_err(refused)?;
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, format!("/v1/webrtc/{}", opened.id)),
        (header::ETAG, opened.tag),
    ];
    let mut response = (StatusCode::CREATED, headers, opened.answer).into_response();
    if let Ok(patch) = FRAGMENT.parse() {
        response.headers_mut().insert("accept-patch", patch);
    }
    Ok(response)
}

/// `PATCH /v1/webrtc/{id}`: candidates found after the offer was made.
pub(super) async fn trickle(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let call = parse(&id)?;
    expect_type(request.headers(), FRAGMENT)?;
    let shared = api.shared()?;
    let tag = request.headers().get(header::IF_MATCH).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let fragment = text(request.into_body(), catalogue::OFFER_INVALID).await?;
    shared.web.trickle(call, tag.as_deref(), &fragment).map_err(|error| match error {
        TrickleError::Unknown => Problem::of(catalogue::SESSION_UNKNOWN),
        TrickleError::NoTag => Problem::of(catalogue::TAG_MISSING),
        TrickleError::Stale => Problem::of(catalogue::TAG_STALE),
        TrickleError::Restart => Problem::of(catalogue::ICE_RESTART),
        TrickleError::Malformed(what) => Problem::because(catalogue::OFFER_INVALID, what),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/webrtc/{id}`: the page hangs up.
pub(super) async fn close(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let call = parse(&id)?;
    let shared = api.shared()?;
    if !shared.web.holds(call) {
        return Err(Problem::of(catalogue::SESSION_UNKNOWN));
    }
    match shared.calls.end(call, Cause::CALLER_HUNG_UP) {
        Ok(()) => Ok(StatusCode::OK),
        Err(EndError::Unknown | EndError::AlreadyEnded) => Err(Problem::of(catalogue::SESSION_UNKNOWN)),
    }
}

fn is_target(to: &str) -> bool {
    let name = to.strip_prefix("user:").unwrap_or(to);
    !name.is_empty()
        && to.len() <= LONGEST_TARGET
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+*#-_.".contains(&b))
}

fn expect_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Problem::because(catalogue::BODY_TYPE, format!("{wanted} is wanted")))
}

async fn text(body: Body, broken: &'static super::problem::Kind) -> Result<String, Problem> {
    let most = usize::try_from(BODY).unwrap_or(usize::MAX);
    let bytes = to_bytes(body, most).await.map_err(|_| Problem::of(catalogue::BODY_TOO_LARGE))?;
    String::from_utf8(bytes.into()).map_err(|_| Problem::because(broken, "it is not UTF-8"))
}

fn refused(error: OpenError) -> Problem {
    match error {
        OpenError::Stopping => Problem::of(catalogue::STOPPING),
        OpenError::Full => Problem::of(catalogue::CALLS),
        OpenError::NoPorts => Problem::of(catalogue::PORTS),
        OpenError::Offer(error) if error.status() == 400 => {
            Problem::because(catalogue::OFFER_INVALID, error.to_string())
        }
        OpenError::Offer(error) => Problem::because(catalogue::OFFER_REFUSED, error.to_string()),
        OpenError::NoIce => Problem::because(catalogue::OFFER_REFUSED, error.to_string()),
        OpenError::NoRoute { .. } => Problem::because(catalogue::TARGET_REFUSED, error.to_string()),
        // Paths and addresses of ours are nobody's business; the log has them.
        OpenError::SetUp(error) if error.cause() == Cause::BUSY => Problem::of(catalogue::CALLS),
        OpenError::SetUp(_) => Problem::of(catalogue::SETUP_FAILED),
    }
}

#[cfg(test)]
mod tests {
    use super::is_target;

    #[test]
    fn numbers_and_users_can_be_called_and_addresses_cannot() {
        for good in ["1001", "+4930123", "user:anna.b", "*81*anna", "bank"] {
            assert!(is_target(good), "{good}");
        }
        for bad in ["", "user:", "sip:x@evil.example", "a b", "x@y", "1\r\n2"] {
            assert!(!is_target(bad), "{bad}");
        }
        assert!(!is_target(&"1".repeat(65)));
    }
}
