//! Calls of web pages: offer and answer over HTTP (WHIP, RFC 9725).

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use antiphon_engine_call::Cause;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::control::{Sent, read};
use super::guard::{BODY, Rights};
use super::listener::Peer;
use super::listing::parse;
use super::pass::{Grant, PassError};
use super::problem::{Problem, catalogue};
use super::{Api, ice};
use crate::calls::{CallState, EndError};
use crate::config::Length;
use crate::web::{self, Asked, OpenError, TrickleError};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Characters of what is called.
const LONGEST_TARGET: usize = 64;
/// Targets of one token.
const MOST_TARGETS: usize = 32;
/// Calls of one token.
const MOST_CALLS: usize = 1_000;
/// How long a token may hold.
const LIFETIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(86_400);

/// What is called.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Called {
    /// A number as routes know it, or `user:NAME`; the default flow where there is none.
    to: Option<String>,
}

/// `POST /v1/webrtc/tokens`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// Numbers, `user:NAME`, or the empty text for the default flow.
    to: Vec<String>,
    /// The number or name the page calls by.
    from: Option<String>,
    #[serde(default = "one")]
    calls: usize,
    #[serde(default = "lifetime")]
    lifetime: Length,
}

fn one() -> usize {
    1
}

fn lifetime() -> Length {
    Length(Duration::from_secs(120))
}

/// A token that was made.
#[derive(Serialize)]
pub(super) struct Issued {
    token: String,
    /// RFC 3339.
    expires_at: String,
}

/// Makes a token that a page can be trusted with: it places calls to named targets for a while, and sees only those.
pub(super) async fn issue(
    State(api): State<Arc<Api>>,
    Extension(rights): Extension<Rights>,
    body: Sent<NewToken>,
) -> Result<(StatusCode, Json<Issued>), Problem> {
    let NewToken { to, from, calls, lifetime } = read(body)?;
    let invalid = |detail: String| Err(Problem::because(catalogue::BODY_INVALID, detail));
    if to.is_empty() || to.len() > MOST_TARGETS || !to.iter().all(|to| to.is_empty() || is_target(to)) {
        return invalid(format!(
            "`to` is 1 to {MOST_TARGETS} of: a number or user:NAME of at most {LONGEST_TARGET} characters, or \"\" for \
             the default flow"
        ));
    }
    if from.as_deref().is_some_and(|from| !is_name(from)) {
        return invalid(format!("`from` is a number or a name of at most {LONGEST_TARGET} characters"));
    }
    if !(1..=MOST_CALLS).contains(&calls) {
        return invalid(format!("`calls` is 1 to {MOST_CALLS}"));
    }
    if !LIFETIMES.contains(&lifetime.0) {
        return invalid("`lifetime` is 10s to 24h".to_owned());
    }
    let expires = jiff::Timestamp::try_from(SystemTime::now() + lifetime.0);
    let grant = Grant { to, from, calls, lifetime: lifetime.0, issuer: rights.token() };
    let live = |call| api.calls.find(call).is_some_and(|call| call.state != CallState::Ended);
    let token = api.passes.issue(grant, Instant::now(), live).map_err(|_| Problem::of(catalogue::TOKENS))?;
    let expires_at = expires.map(|time| time.to_string()).unwrap_or_default();
    Ok((StatusCode::CREATED, Json(Issued { token: token.expose().to_owned(), expires_at })))
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
    let place = rights
        .pass()
        .map(|pass| pass.admit(to.as_deref().unwrap_or_default(), Instant::now()))
        .transpose()
        .map_err(|error| match error {
            PassError::Elsewhere => {
                Problem::because(catalogue::SCOPE_MISSING, "it does not reach this target")
            }
            PassError::Spent => Problem::of(catalogue::TOKEN_SPENT),
            PassError::Expired => Problem::of(catalogue::TOKEN_OVER),
        })?;
    let caller = rights.pass().and_then(|pass| pass.caller()).map(str::to_owned);
    let offer = text(request.into_body(), catalogue::OFFER_INVALID).await?;
    let asked = Asked { offer, to, caller, from, token: rights.token() };
    let opened = web::open(shared, asked).await.map_err(refused)?;
    if let Some(place) = place {
        place.taken(opened.id);
    }
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, format!("/v1/webrtc/{}", opened.id)),
        (header::ETAG, opened.tag),
    ];
    let mut response = (StatusCode::CREATED, headers, opened.answer).into_response();
    if let Ok(patch) = FRAGMENT.parse() {
        response.headers_mut().insert("accept-patch", patch);
    }
    ice::tell(response.headers_mut(), api.ice_servers(), &opened.id.to_string(), SystemTime::now());
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
    to.len() <= LONGEST_TARGET && is_name(to.strip_prefix("user:").unwrap_or(to))
}

fn is_name(name: &str) -> bool {
    (1..=LONGEST_TARGET).contains(&name.len())
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
